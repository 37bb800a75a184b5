//! Releases that are finished on H, and which of them are still to be pushed or reported on.

use std::path::{Path, PathBuf};

use crate::domain::digest::{GrantId, Sha256};
use crate::domain::event::{Entry, Event, Intent, Verdict};
use crate::domain::key::Fingerprint;
use crate::domain::name::{ProjectName, Version};
use crate::domain::release::folder_name;
use crate::files::{FileError, real_path};
use crate::ledger::{GrantRecord, Ledger, LedgerError};

/// A release that is complete on H.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// Its grant.
    pub grant: GrantId,
    /// Its project.
    pub project: ProjectName,
    /// Its version.
    pub version: Version,
    /// Where it is.
    pub folder: PathBuf,
    pub(super) pushed: Option<u64>,
    pub(super) intent: u64,
    pub(super) sums: Sha256,
    pub(super) key: Fingerprint,
    /// Whether there was an inbox to push it to when it was signed.
    wanted: bool,
    pub(super) revoked: bool,
}

impl Release {
    /// Name of its folder at L, whatever it is called here.
    pub fn name(&self) -> String {
        folder_name(&self.project, &self.version)
    }

    /// The entry that says that it was pushed, and where to; nothing if it was not.
    pub fn pushed(&self, ledger: &Ledger) -> Result<Option<(u64, PathBuf)>, LedgerError> {
        let place = |index| ledger.place(index).map(|folder| (index, folder));
        self.pushed.map(place).transpose()
    }

    /// The same release in another folder on H.
    pub fn standing_in(self, folder: &Path) -> Result<Self, FileError> {
        Ok(Self {
            folder: real_path(folder)?,
            ..self
        })
    }

    fn read(record: &GrantRecord, ledger: &Ledger) -> Result<Option<Self>, LedgerError> {
        let Some(released) = record.released else {
            return Ok(None);
        };
        let event = |index: Option<u64>| -> Result<Option<Event>, LedgerError> {
            let entry = index
                .map(|index| ledger.entry(index))
                .transpose()?
                .flatten();
            Ok(entry.map(|Entry { event, .. }| event))
        };
        let entries = (
            event(Some(record.issued))?,
            event(record.intent)?,
            event(Some(released))?,
        );
        let (
            Some(Event::GrantIssued {
                project, version, ..
            }),
            Some(Event::Intent(Intent { key, .. })),
            Some(Event::Released {
                intent,
                sums,
                to_push,
            }),
        ) = entries
        else {
            return Ok(None);
        };
        Ok(Some(Self {
            grant: record.grant,
            project,
            version,
            folder: ledger.place(released)?,
            pushed: record.pushed,
            intent,
            sums,
            key,
            wanted: to_push,
            revoked: record.revoked.is_some(),
        }))
    }
}

/// The release under a grant, if it is finished.
pub fn release_under(grant: GrantId, ledger: &Ledger) -> Result<Option<Release>, LedgerError> {
    ledger
        .grant(grant)?
        .map_or(Ok(None), |record| Release::read(&record, ledger))
}

/// The releases that are to be pushed, first granted to last: those that were signed when there was
/// an inbox to push to, except for those revoked since.
pub fn waiting(ledger: &Ledger) -> Result<Vec<Release>, LedgerError> {
    let mut releases = finished(&ledger.not_pushed()?, ledger)?;
    releases.retain(|release| release.wanted && !release.revoked);
    Ok(releases)
}

/// The releases that were pushed and that L has not reported as admitted.
pub fn unanswered(ledger: &Ledger) -> Result<Vec<Release>, LedgerError> {
    let mut found = Vec::new();
    for release in finished(&ledger.pushed()?, ledger)? {
        if !verdicts(&release, ledger)?
            .iter()
            .any(|verdict| matches!(verdict, Verdict::Admitted { .. }))
        {
            found.push(release);
        }
    }
    Ok(found)
}

fn finished(records: &[GrantRecord], ledger: &Ledger) -> Result<Vec<Release>, LedgerError> {
    records
        .iter()
        .filter_map(|record| Release::read(record, ledger).transpose())
        .collect()
}

/// What was logged of L's reports on a release.
pub(super) fn verdicts(release: &Release, ledger: &Ledger) -> Result<Vec<Verdict>, LedgerError> {
    let reported = ledger
        .history(release.grant)?
        .into_iter()
        .filter_map(|entry| match entry.event {
            Event::Admission { result, .. } => Some(result),
            _ => None,
        });
    Ok(reported.collect())
}
