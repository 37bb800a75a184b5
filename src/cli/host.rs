//! The signing host, while one command works there.

use std::path::Path;

use super::error::CliError;
use crate::domain::time::Timestamp;
use crate::home::{Home, HomeLock};
use crate::ledger::Ledger;

/// The home, which no other command changes meanwhile, with its ledger, and the time at which the command began.
pub(super) struct Host {
    pub(super) home: Home,
    pub(super) lock: HomeLock,
    pub(super) ledger: Ledger,
    pub(super) now: Timestamp,
}

impl Host {
    pub(super) fn open(home: &Path) -> Result<Self, CliError> {
        let now = Timestamp::now();
        let home = Home::open(home)?;
        let lock = home.lock()?;
        let ledger = home.ledger()?;
        Ok(Self { home, lock, ledger, now })
    }
}
