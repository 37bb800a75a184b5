//! The builds that are not completely signed and released, and what is left to do for each.

use super::journal::Journal;
use crate::domain::digest::GrantId;
use crate::domain::event::Event;
use crate::domain::name::{ProjectName, Version};
use crate::domain::time::Timestamp;
use crate::ledger::{Ledger, LedgerError};

/// A build that was accepted and whose release has not appeared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    /// Its grant.
    pub grant: GrantId,
    /// Its project.
    pub project: ProjectName,
    /// Its version.
    pub version: Version,
    /// The time of its last entry in the log.
    pub last: Timestamp,
    /// What is left to do.
    pub left: Left,
}

/// What is left to do for a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Left {
    /// Every signature: the token was not used yet.
    All,
    /// Some signatures, and the release.
    Signatures(Journal),
    /// Only the release. The token is not needed.
    Release(Journal),
}

/// The unfinished runs, first granted to last; none under a revoked grant. A run in progress is one
/// of them.
pub fn unfinished(ledger: &Ledger) -> Result<Vec<Unfinished>, LedgerError> {
    let mut found = Vec::new();
    for record in ledger.unfinished()? {
        let history = ledger.history(record.grant)?;
        let (Some(first), Some(last)) = (history.first(), history.last()) else {
            continue;
        };
        let Event::GrantIssued {
            project, version, ..
        } = &first.event
        else {
            continue;
        };
        let left = match Journal::read(record.grant, ledger)? {
            None => Left::All,
            Some(journal) if journal.missing.is_empty() => Left::Release(journal),
            Some(journal) => Left::Signatures(journal),
        };
        found.push(Unfinished {
            grant: record.grant,
            project: project.clone(),
            version: version.clone(),
            last: last.at,
            left,
        });
    }
    Ok(found)
}
