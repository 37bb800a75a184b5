//! Where each grant stands: its row, which must say what the entries about it say.

use std::collections::BTreeMap;

use super::{Ledger, LedgerError, Result};
use crate::domain::digest::{GrantId, Sha256};
use crate::domain::event::{Entry, Event, Intent, RunResult};
use crate::domain::name::{BuilderName, ProjectName};
use crate::domain::time::Timestamp;

/// Where a grant stands: the entries that say so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantRecord {
    /// The grant.
    pub grant: GrantId,
    /// When it was issued.
    pub issued: u64,
    /// When a build was accepted, which closed it.
    pub accepted: Option<u64>,
    /// When its release was to be signed.
    pub intent: Option<u64>,
    /// When its release was signed, every file.
    pub signed: Option<u64>,
    /// When its release appeared.
    pub released: Option<u64>,
    /// When its release appeared in the location's inbox.
    pub pushed: Option<u64>,
    /// When it was taken back.
    pub revoked: Option<u64>,
}

/// The build that closed a grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// When it was accepted.
    pub at: Timestamp,
    /// Which build it is: the digest of its list of artifacts.
    pub artifacts: Sha256,
    /// Whose it is, with the digest of each builder's evidence.
    pub builders: BTreeMap<BuilderName, Sha256>,
}

impl Ledger {
    /// Whether the grant was issued here.
    pub fn issued(&self, grant: GrantId) -> Result<bool> {
        Ok(self.grant(grant)?.is_some())
    }

    /// Where the grant stands; nothing if it was not issued here.
    pub fn grant(&self, grant: GrantId) -> Result<Option<GrantRecord>> {
        self.in_one_state(
            || match self.read_records("grant_id = ?1", &grant.hex())?.pop() {
                None if !self.history(grant)?.is_empty() => Err(wrong_row(grant)),
                record => Ok(record),
            },
        )
    }

    /// The build that closed the grant, if any did.
    pub fn accepted(&self, grant: GrantId) -> Result<Option<Accepted>> {
        let Some(index) = self.grant(grant)?.and_then(|record| record.accepted) else {
            return Ok(None);
        };
        match self.known(index)? {
            Entry {
                at,
                event:
                    Event::EvidenceAccepted {
                        builders,
                        artifacts,
                        ..
                    },
                ..
            } => Ok(Some(Accepted {
                at,
                artifacts,
                builders,
            })),
            other => Err(self.misplaced(&other)),
        }
    }

    /// The intent of the grant's signing run, if there was one, with its index.
    pub fn intent(&self, grant: GrantId) -> Result<Option<(u64, Intent)>> {
        let Some(index) = self.grant(grant)?.and_then(|record| record.intent) else {
            return Ok(None);
        };
        self.whole_intent(index).map(|intent| Some((index, intent)))
    }

    /// The intent at `index`, with the artifacts that stand in entries before it.
    pub(super) fn whole_intent(&self, index: u64) -> Result<Intent> {
        let mut intent = match self.known(index)? {
            Entry {
                event: Event::Intent(intent),
                ..
            } => intent,
            other => return Err(self.misplaced(&other)),
        };
        for before in intent.artifacts_from.map_or(0..0, |first| first..index) {
            match self.known(before)? {
                Entry {
                    event: Event::Artifacts { grant, artifacts },
                    ..
                } if grant == intent.grant => {
                    intent.artifacts.extend(artifacts);
                }
                other => return Err(self.misplaced(&other)),
            }
        }
        Ok(intent)
    }

    /// Where each grant stands, first to last.
    pub fn grants(&self) -> Result<Vec<GrantRecord>> {
        self.records("?1 = ''", "")
    }

    /// Where each grant of a project stands, first to last.
    pub fn grants_of(&self, project: &ProjectName) -> Result<Vec<GrantRecord>> {
        self.records("project = ?1", project.as_str())
    }

    /// Where each grant stands of which a build was accepted, its release has not appeared, and
    /// that was not taken back.
    pub fn unfinished(&self) -> Result<Vec<GrantRecord>> {
        self.records(
            "?1 = '' AND accepted IS NOT NULL AND released IS NULL AND revoked IS NULL",
            "",
        )
    }

    /// Where each grant stands whose release has appeared and was not pushed, first to last.
    pub fn not_pushed(&self) -> Result<Vec<GrantRecord>> {
        self.records("?1 = '' AND released IS NOT NULL AND pushed IS NULL", "")
    }

    /// Where each grant stands whose release was pushed, first to last.
    pub fn pushed(&self) -> Result<Vec<GrantRecord>> {
        self.records("?1 = '' AND pushed IS NOT NULL", "")
    }

    /// The rows that `which` selects, first issued to last. Each must say what the entries about
    /// its grant say.
    fn records(&self, which: &'static str, value: &str) -> Result<Vec<GrantRecord>> {
        self.in_one_state(|| self.read_records(which, value))
    }

    fn read_records(&self, which: &'static str, value: &str) -> Result<Vec<GrantRecord>> {
        let query = format!("SELECT * FROM grants WHERE {which} ORDER BY issued");
        let mut statement = self.database.prepare_cached(&query)?;
        let rows = statement.query_map([value], Row::read)?;
        let rows = rows.collect::<rusqlite::Result<Vec<_>>>()?;
        rows.into_iter().map(|row| self.record(row)).collect()
    }

    /// The entry by which a grant was issued says whose the row is.
    fn record(&self, row: Row) -> Result<GrantRecord> {
        let entry = self.known(row.columns[Column::Issued as usize].unwrap_or_default())?;
        let Event::GrantIssued { grant, project, .. } = &entry.event else {
            return Err(self.misplaced(&entry));
        };
        let told = GrantRecord::told_by(*grant, &self.history(*grant)?);
        let is_theirs = row.grant == grant.hex() && row.project == project.as_str();
        match told
            .filter(|told| is_theirs && Some(told) == GrantRecord::of(*grant, row.columns).as_ref())
        {
            Some(record) => Ok(record),
            None => Err(wrong_row(*grant)),
        }
    }

    /// Everything that was logged about a grant, first to last.
    pub fn history(&self, grant: GrantId) -> Result<Vec<Entry>> {
        let query = "SELECT idx FROM grant_entries WHERE grant_id = ?1 ORDER BY idx";
        let mut statement = self.database.prepare_cached(query)?;
        let rows = statement.query_map([grant.hex()], |row| row.get(0))?;
        let indices = rows.collect::<rusqlite::Result<Vec<u64>>>()?;
        indices.into_iter().map(|index| self.known(index)).collect()
    }
}

fn wrong_row(grant: GrantId) -> LedgerError {
    LedgerError::Changed(format!(
        "the ledger's row of grant {} differs from its entries",
        grant.short()
    ))
}

impl GrantRecord {
    /// What the entries about the grant say of it; nothing if none says that it was issued.
    fn told_by(grant: GrantId, history: &[Entry]) -> Option<Self> {
        let mut columns = Columns::default();
        for Entry { index, event, .. } in history {
            if let Some(column) = Column::told_by(event) {
                columns[column as usize] = Some(*index);
            }
        }
        Self::of(grant, columns)
    }

    fn of(grant: GrantId, columns: Columns) -> Option<Self> {
        let [issued, accepted, intent, signed, released, pushed, revoked] = columns;
        Some(Self {
            grant,
            issued: issued?,
            accepted,
            intent,
            signed,
            released,
            pushed,
            revoked,
        })
    }
}

/// A column of a grant's row: the index of the entry that tells this of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    Issued,
    Accepted,
    Intent,
    Signed,
    Released,
    Pushed,
    Revoked,
}

/// What a row has in each column.
type Columns = [Option<u64>; Column::ALL.len()];

impl Column {
    /// In the order in which they are declared.
    pub(super) const ALL: [Self; 7] = [
        Self::Issued,
        Self::Accepted,
        Self::Intent,
        Self::Signed,
        Self::Released,
        Self::Pushed,
        Self::Revoked,
    ];

    /// What it is called in the database.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Issued => "issued",
            Self::Accepted => "accepted",
            Self::Intent => "intent",
            Self::Signed => "signed",
            Self::Released => "released",
            Self::Pushed => "pushed",
            Self::Revoked => "revoked",
        }
    }

    /// The one that an event sets in the row of its grant.
    pub(super) fn told_by(event: &Event) -> Option<Self> {
        match event {
            Event::GrantIssued { .. } => Some(Self::Issued),
            Event::EvidenceAccepted { .. } => Some(Self::Accepted),
            Event::Intent(_) => Some(Self::Intent),
            Event::Outcome {
                result: RunResult::Signed { .. },
                ..
            } => Some(Self::Signed),
            Event::Released { .. } => Some(Self::Released),
            Event::Pushed { .. } => Some(Self::Pushed),
            Event::GrantRevoked { .. } => Some(Self::Revoked),
            Event::LogCreated { .. }
            | Event::KeyIntended { .. }
            | Event::KeyOutcome { .. }
            | Event::KeyReady { .. }
            | Event::GrantApproved { .. }
            | Event::EvidenceRefused { .. }
            | Event::Artifacts { .. }
            | Event::Resumed { .. }
            | Event::Outcome {
                result: RunResult::Stopped { .. },
                ..
            }
            | Event::Admission { .. }
            | Event::Reconciled { .. } => None,
        }
    }

    /// Whether nothing sets it any more once the grant was taken back. What the token signed before
    /// that is told to its end.
    pub(super) fn uses_grant(self) -> bool {
        match self {
            Self::Accepted | Self::Intent | Self::Revoked => true,
            Self::Issued | Self::Signed | Self::Released | Self::Pushed => false,
        }
    }
}

/// The row of a grant, as the table has it.
struct Row {
    grant: String,
    project: String,
    columns: Columns,
}

impl Row {
    fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        let mut columns = Columns::default();
        for column in Column::ALL {
            columns[column as usize] = row.get(column.name())?;
        }
        Ok(Self {
            grant: row.get("grant_id")?,
            project: row.get("project")?,
            columns,
        })
    }
}
