//! How far the signing of a build came, as the ledger tells it.

use crate::domain::digest::GrantId;
use crate::domain::event::{Event, Intent, RunResult};
use crate::ledger::{Ledger, LedgerError};

/// What was begun under an intent, and what is left of it to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Journal {
    /// The index of the intent.
    pub index: u64,
    /// The intent.
    pub intent: Intent,
    /// The files that have no kept signature yet, in the order in which the token is asked.
    pub missing: Vec<String>,
    /// The file for which the token may have been asked, and may have made a signature that is not kept. Files are signed
    /// one after the other and each answer is kept before the next is asked for, so there is never more than one.
    pub unsettled: Option<String>,
    /// Whether the last run under the intent told how it ended. One that was killed did not.
    pub ended: bool,
    /// Whether the log says that every file is signed.
    pub signed: bool,
    /// Whether the log says that the release appeared.
    pub released: bool,
}

impl Journal {
    /// That of a grant's build; nothing before the token was to be used for it.
    pub fn read(grant: GrantId, ledger: &Ledger) -> Result<Option<Self>, LedgerError> {
        let (Some(record), Some((index, intent))) = (ledger.grant(grant)?, ledger.intent(grant)?) else {
            return Ok(None);
        };
        let mut missing = Vec::new();
        for file in intent.signed_files() {
            if ledger.signature(index, file)?.is_none() {
                missing.push(file.to_owned());
            }
        }
        let (mut ended, mut unsettled) = (false, None);
        for entry in ledger.history(grant)? {
            match entry.event {
                Event::Intent(_) | Event::Resumed { .. } => (ended, unsettled) = (false, None),
                Event::Outcome { result, .. } => {
                    ended = true;
                    unsettled = match result {
                        RunResult::Stopped { unsettled, .. } => unsettled,
                        RunResult::Signed { .. } => None,
                    };
                }
                _ => {}
            }
        }
        if !ended {
            unsettled = missing.first().cloned();
        }
        let (signed, released) = (record.signed.is_some(), record.released.is_some());
        Ok(Some(Self { index, intent, missing, unsettled, ended, signed, released }))
    }

    /// How many signatures are kept.
    pub fn kept(&self) -> usize {
        self.intent.signed_files().count() - self.missing.len()
    }
}
