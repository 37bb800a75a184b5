//! The nonces of open grants, which a home keeps to check MACs.

use std::path::Path;

use super::error::HomeError;
use super::folder::{Home, read_if_there};
use super::locks::Alone;
use crate::domain::digest::GrantId;
use crate::domain::event::Event;
use crate::domain::name::BuilderName;
use crate::domain::time::Timestamp;
use crate::files::{FileError, FileFault, Folder, sweep_files, wipe, write_new};
use crate::ledger::{Ledger, LedgerError};
use crate::mac::MacKey;

const NONCES: &str = "nonces";
const LARGEST_NONCE: u64 = 100;

impl Home {
    /// Keeps the nonce of a builder's MACs, for as long as its grant is open.
    pub fn keep_nonce(
        &self,
        grant: GrantId,
        builder: &BuilderName,
        nonce: &MacKey,
    ) -> Result<(), HomeError> {
        let path = self.folder(NONCES)?.join(nonce_name(grant, builder));
        Ok(write_new(&path, &nonce.to_line(), 0o600)?)
    }

    /// A kept nonce; `None` if it was wiped.
    pub fn nonce(
        &self,
        grant: GrantId,
        builder: &BuilderName,
    ) -> Result<Option<MacKey>, HomeError> {
        let path = self.path.join(NONCES).join(nonce_name(grant, builder));
        let line = read_if_there(&path, |file| file.read_secret(LARGEST_NONCE))?;
        let nonce = line.map(|line| MacKey::parse(&line)).transpose();
        nonce.map_err(|error| HomeError::Kept {
            what: "nonce",
            path,
            reason: error.to_string(),
            help: "issue a new grant: what is kept for this one cannot be used",
        })
    }

    /// Wipes the nonces of a grant that is no longer open.
    pub fn forget_nonces(&self, grant: GrantId) -> Result<(), HomeError> {
        for name in self.nonce_names()? {
            if name.starts_with(&grant.hex()) {
                wipe_if_there(&self.path.join(NONCES).join(name))?;
            }
        }
        Ok(())
    }

    /// Wipes the nonces of grants that expired or were closed, by other processes too.
    pub fn forget_unneeded_nonces(&self, ledger: &Ledger, now: Timestamp) -> Result<(), HomeError> {
        self.wipe_nonces(self.nonce_names()?, |grant| {
            grant.map_or(Ok(false), |grant| {
                Ok(ledger.issued(grant)? && !is_open(grant, ledger, now)?)
            })
        })
    }

    /// Removes what killed processes left: temporary files, locks, and nonces of grants that they
    /// did not issue.
    pub(super) fn sweep(&self, alone: &Alone<'_>) -> Result<(), HomeError> {
        sweep_files(&self.path)?;
        self.sweep_locks(alone)?;
        let names = self.nonce_names()?;
        if names.is_empty() {
            return Ok(());
        }
        let ledger = self.ledger()?;
        self.wipe_nonces(names, |grant| {
            grant.map_or(Ok(true), |grant| Ok(!ledger.issued(grant)?))
        })
    }

    fn wipe_nonces(
        &self,
        names: Vec<String>,
        unneeded: impl Fn(Option<GrantId>) -> Result<bool, LedgerError>,
    ) -> Result<(), HomeError> {
        for name in names {
            let hex = name.split('.').next();
            let grant = hex.and_then(|hex| format!("sha256:{hex}").parse().ok());
            if unneeded(grant)? {
                wipe_if_there(&self.path.join(NONCES).join(name))?;
            }
        }
        Ok(())
    }

    fn nonce_names(&self) -> Result<Vec<String>, HomeError> {
        match Folder::open(&self.path.join(NONCES)) {
            // With temporary files of processes that were killed: they may have a nonce too.
            Ok(folder) => Ok(folder
                .names(usize::MAX)?
                .into_iter()
                .filter_map(|name| name.into_string().ok())
                .collect()),
            Err(FileError {
                fault: FileFault::Missing,
                ..
            }) => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Another process may have done it.
fn wipe_if_there(path: &Path) -> Result<(), FileError> {
    match wipe(path) {
        Err(FileError {
            fault: FileFault::Missing,
            ..
        }) => Ok(()),
        done => done,
    }
}

/// Whether evidence under the grant can still be accepted.
pub(crate) fn is_open(
    grant: GrantId,
    ledger: &Ledger,
    now: Timestamp,
) -> Result<bool, LedgerError> {
    let Some(record) = ledger.grant(grant)? else {
        return Ok(false);
    };
    let issued = ledger.entry(record.issued)?.map(|entry| entry.event);
    let in_time = matches!(issued, Some(Event::GrantIssued { expires, .. }) if now < expires);
    Ok(in_time && record.accepted.is_none() && record.revoked.is_none())
}

fn nonce_name(grant: GrantId, builder: &BuilderName) -> String {
    format!("{}.{builder}", grant.hex())
}
