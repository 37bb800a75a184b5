//! H, the signing host: from the grant to the exported log.

pub mod anchor;
pub mod approve;
pub mod build;
mod deliveries;
pub mod differences;
mod evidence_files;
pub mod export;
pub mod grant;
pub mod hand_over;
mod inspection;
pub mod journal;
pub mod policy;
pub mod push;
mod pushable;
pub mod reconcile;
pub mod refusal;
pub mod release;
pub mod release_checkpoint;
pub mod release_key;
pub mod replay;
pub mod revoke;
pub mod run;
pub mod status;
pub mod token_build_key;
pub mod trouble;
pub mod withdraw;

use std::path::Path;

use crate::domain::event::CardUse;
use crate::domain::time::Clock;
use crate::files::Wait;
use crate::home::{Home, HomeError, HomeLock};
use crate::ledger::Ledger;
use crate::token::CardCounter;

/// The signing host as one value: its home, which several processes can use at the same time, and
/// its ledger. What H does is a method of it, in the file that is named after it.
#[derive(Debug)]
pub struct Host {
    /// The folder with everything that H keeps.
    pub home: Home,
    /// Held for as long as the host is.
    pub(crate) lock: HomeLock,
    /// The log, and the journal of runs.
    pub ledger: Ledger,
    /// What time it is.
    pub clock: Clock,
    /// How long it waits for what other processes have locked.
    pub wait: Wait,
    /// What a person should know of what was done, beside its result.
    pub warnings: Vec<String>,
}

impl Host {
    /// Opens the home at `path`, for this process among others.
    pub fn open(path: &Path, clock: Clock, wait: Wait) -> Result<Self, HomeError> {
        let (home, lock) = Home::open_to_change(path, wait)?;
        let ledger = home.ledger()?;
        Ok(Self {
            home,
            lock,
            ledger,
            clock,
            wait,
            warnings: Vec::new(),
        })
    }
}

/// What the log says of a card before it is used.
fn card_use(counter: CardCounter) -> CardUse {
    CardUse {
        card: counter.card,
        before: counter.signatures,
        after: None,
    }
}
