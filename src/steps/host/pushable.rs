//! Releases that are finished on H, and withdrawals of them: which are still to be pushed or
//! reported on.

use std::path::{Path, PathBuf};

use crate::domain::digest::{GrantId, Sha256};
use crate::domain::event::{Entry, Event, Intent, Verdict};
use crate::domain::key::{Fingerprint, HashAlgorithm};
use crate::domain::name::{ProjectName, Version};
use crate::domain::release::folder_name;
use crate::domain::reserved::{WITHDRAWAL, WITHDRAWN};
use crate::domain::time::Timestamp;
use crate::domain::withdrawal::Withdrawal;
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

/// A withdrawal as the ledger has it.
#[derive(Debug, Clone)]
pub struct Statement {
    /// The grant of the release.
    pub grant: GrantId,
    /// What it says.
    pub withdrawal: Withdrawal,
    /// The entry that says so.
    pub entry: u64,
    /// Its signature, once the token has made it.
    pub signature: Option<String>,
    pub(super) pushed: Option<u64>,
    pub(super) intent: u64,
    pub(super) key: Fingerprint,
    pub(super) hash: HashAlgorithm,
    pub(super) at: Timestamp,
}

/// What L can report on: a release, or the statement that one is withdrawn.
#[derive(Debug)]
pub struct Subject {
    /// The grant of the release.
    pub grant: GrantId,
    /// The name of its folder at L.
    pub name: String,
    pub(super) intent: u64,
    /// SHA-256 of the release's list, or of the statement.
    pub(super) digest: Sha256,
    pub(super) key: Fingerprint,
    pub(super) is_withdrawal: bool,
}

impl From<&Release> for Subject {
    fn from(release: &Release) -> Self {
        Self {
            grant: release.grant,
            name: release.name(),
            intent: release.intent,
            digest: release.sums,
            key: release.key,
            is_withdrawal: false,
        }
    }
}

impl From<&Statement> for Subject {
    fn from(statement: &Statement) -> Self {
        Self {
            grant: statement.grant,
            name: statement.name(),
            intent: statement.intent,
            digest: statement.digest(),
            key: statement.key,
            is_withdrawal: true,
        }
    }
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

    pub(super) fn read(record: &GrantRecord, ledger: &Ledger) -> Result<Option<Self>, LedgerError> {
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

impl Statement {
    /// The name of its folder, at L and here.
    pub fn name(&self) -> String {
        let Withdrawal {
            project, version, ..
        } = &self.withdrawal;
        format!("{}{WITHDRAWN}", folder_name(project, version))
    }

    /// Whether it is in the location's inbox, as the log has it.
    pub fn is_pushed(&self) -> bool {
        self.pushed.is_some()
    }

    pub(super) fn digest(&self) -> Sha256 {
        Sha256::of(self.withdrawal.to_text().as_bytes())
    }

    pub(super) fn read(record: &GrantRecord, ledger: &Ledger) -> Result<Option<Self>, LedgerError> {
        let Some(entry) = record.withdrawn else {
            return Ok(None);
        };
        let changed = || {
            LedgerError::Changed(format!(
                "entry {entry} of the ledger is not the withdrawal of a release of this host"
            ))
        };
        let release = Release::read(record, ledger)?.ok_or_else(changed)?;
        let Some(Entry {
            at,
            event:
                Event::Withdrawn {
                    intent,
                    key,
                    hash,
                    statement,
                    reason,
                },
            ..
        }) = ledger.entry(entry)?
        else {
            return Err(changed());
        };
        let Release {
            project, version, ..
        } = release;
        let withdrawal = Withdrawal::new(project, version, record.grant, reason);
        let found = Self {
            grant: record.grant,
            withdrawal: withdrawal.map_err(|_| changed())?,
            entry,
            signature: ledger.signature(entry, WITHDRAWAL)?,
            pushed: record.withdrawal_pushed,
            intent,
            key,
            hash,
            at,
        };
        if found.digest() == statement {
            Ok(found.into())
        } else {
            Err(changed())
        }
    }
}

/// Each withdrawal, in the order of the grants.
pub fn withdrawals(ledger: &Ledger) -> Result<Vec<Statement>, LedgerError> {
    let records = ledger.withdrawn()?;
    let read = |record| Statement::read(record, ledger).transpose();
    records.iter().filter_map(read).collect()
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

/// The releases that were pushed and that L has not reported as admitted, and the withdrawals that
/// it has not reported as done.
pub fn unanswered(ledger: &Ledger) -> Result<Vec<Subject>, LedgerError> {
    let mut pushed = ledger.pushed()?;
    pushed.retain(|record| record.withdrawn.is_none());
    let releases = finished(&pushed, ledger)?;
    let statements = withdrawals(ledger)?;
    let statements = statements.iter().filter(|it| it.pushed.is_some());
    let mut found = Vec::new();
    for subject in releases
        .iter()
        .map(Subject::from)
        .chain(statements.map(Subject::from))
    {
        if !verdicts(subject.grant, ledger)?
            .iter()
            .any(|it| subject.is_done(it))
        {
            found.push(subject);
        }
    }
    Ok(found)
}

impl Subject {
    /// Whether L need report no more.
    fn is_done(&self, verdict: &Verdict) -> bool {
        match verdict {
            Verdict::Admitted { .. } => !self.is_withdrawal,
            Verdict::Withdrawn { .. } => self.is_withdrawal,
            Verdict::Refused { .. } => false,
        }
    }
}

/// The withdrawals that are signed and were not pushed.
pub fn waiting_withdrawals(ledger: &Ledger) -> Result<Vec<Statement>, LedgerError> {
    let mut statements = withdrawals(ledger)?;
    statements.retain(|it| it.signature.is_some() && it.pushed.is_none());
    Ok(statements)
}

fn finished(records: &[GrantRecord], ledger: &Ledger) -> Result<Vec<Release>, LedgerError> {
    records
        .iter()
        .filter_map(|record| Release::read(record, ledger).transpose())
        .collect()
}

/// What was logged of L's reports on the release under a grant.
pub(super) fn verdicts(grant: GrantId, ledger: &Ledger) -> Result<Vec<Verdict>, LedgerError> {
    let reported = ledger
        .history(grant)?
        .into_iter()
        .filter_map(|entry| match entry.event {
            Event::Admission { result, .. } => Some(result),
            _ => None,
        });
    Ok(reported.collect())
}
