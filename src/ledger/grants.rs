//! Where each grant stands: its row, which must say what the entries about it say.

use std::collections::BTreeMap;

use super::{Ledger, LedgerFault, Result};
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
        self.in_one_state(|| match self.read_records("grant_id = ?1", &grant.hex())?.pop() {
            None if !self.history(grant)?.is_empty() => Err(self.with(LedgerFault::Row(grant))),
            record => Ok(record),
        })
    }

    /// The build that closed the grant, if any did.
    pub fn accepted(&self, grant: GrantId) -> Result<Option<Accepted>> {
        let Some(index) = self.grant(grant)?.and_then(|record| record.accepted) else { return Ok(None) };
        match self.known(index)? {
            Entry { at, event: Event::EvidenceAccepted { builders, artifacts, .. }, .. } => {
                Ok(Some(Accepted { at, artifacts, builders }))
            }
            other => Err(self.misplaced(&other)),
        }
    }

    /// The intent of the grant's signing run, if there was one, with its index.
    pub fn intent(&self, grant: GrantId) -> Result<Option<(u64, Intent)>> {
        let Some(index) = self.grant(grant)?.and_then(|record| record.intent) else { return Ok(None) };
        self.whole_intent(index).map(|intent| Some((index, intent)))
    }

    /// The intent at `index`, with the artifacts that stand in entries before it.
    pub(super) fn whole_intent(&self, index: u64) -> Result<Intent> {
        let mut intent = match self.known(index)? {
            Entry { event: Event::Intent(intent), .. } => intent,
            other => return Err(self.misplaced(&other)),
        };
        for before in intent.artifacts_from.map_or(0..0, |first| first..index) {
            match self.known(before)? {
                Entry { event: Event::Artifacts { grant, artifacts }, .. } if grant == intent.grant => {
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

    /// Where each grant stands of which a build was accepted, its release has not appeared, and that was not taken back.
    pub fn unfinished(&self) -> Result<Vec<GrantRecord>> {
        self.records("?1 = '' AND accepted IS NOT NULL AND released IS NULL AND revoked IS NULL", "")
    }

    /// Where each grant stands whose release has appeared and was not pushed, first to last.
    pub fn not_pushed(&self) -> Result<Vec<GrantRecord>> {
        self.records("?1 = '' AND released IS NOT NULL AND pushed IS NULL", "")
    }

    /// Where each grant stands whose release was pushed, first to last.
    pub fn pushed(&self) -> Result<Vec<GrantRecord>> {
        self.records("?1 = '' AND pushed IS NOT NULL", "")
    }

    /// The rows that `which` selects, first issued to last. Each must say what the entries about its grant say.
    fn records(&self, which: &'static str, value: &str) -> Result<Vec<GrantRecord>> {
        self.in_one_state(|| self.read_records(which, value))
    }

    fn read_records(&self, which: &'static str, value: &str) -> Result<Vec<GrantRecord>> {
        let columns = "grant_id, project, issued, accepted, intent, signed, released, pushed, revoked";
        let query = format!("SELECT {columns} FROM grants WHERE {which} ORDER BY issued");
        let read = || {
            let mut statement = self.database.prepare(&query)?;
            let rows = statement.query_map([value], Row::read)?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        let rows = read().map_err(|error| self.fail(error))?;
        rows.into_iter().map(|row| self.record(row)).collect()
    }

    fn record(&self, row: Row) -> Result<GrantRecord> {
        let entry = self.known(row.issued)?;
        let Event::GrantIssued { grant, project, .. } = &entry.event else { return Err(self.misplaced(&entry)) };
        let record = row.record(*grant);
        let is_told =
            row.grant == grant.hex() && row.project == project.as_str() && record.is_told_by(&self.history(*grant)?);
        if is_told { Ok(record) } else { Err(self.with(LedgerFault::Row(*grant))) }
    }

    /// Everything that was logged about a grant, first to last.
    pub fn history(&self, grant: GrantId) -> Result<Vec<Entry>> {
        let read = || {
            let query = "SELECT idx FROM grant_entries WHERE grant_id = ?1 ORDER BY idx";
            let mut statement = self.database.prepare_cached(query)?;
            let rows = statement.query_map([grant.hex()], |row| row.get(0))?;
            rows.collect::<rusqlite::Result<Vec<u64>>>()
        };
        let indices = read().map_err(|error| self.fail(error))?;
        indices.into_iter().map(|index| self.known(index)).collect()
    }
}

impl GrantRecord {
    /// Whether the entries about the grant say the same.
    fn is_told_by(&self, history: &[Entry]) -> bool {
        let last = |is: fn(&Event) -> bool| history.iter().rfind(|entry| is(&entry.event)).map(|entry| entry.index);
        last(|event| matches!(event, Event::GrantIssued { .. })) == Some(self.issued)
            && last(|event| matches!(event, Event::EvidenceAccepted { .. })) == self.accepted
            && last(|event| matches!(event, Event::Intent(_))) == self.intent
            && last(|event| matches!(event, Event::Outcome { result: RunResult::Signed { .. }, .. })) == self.signed
            && last(|event| matches!(event, Event::Released { .. })) == self.released
            && last(|event| matches!(event, Event::Pushed { .. })) == self.pushed
            && last(|event| matches!(event, Event::GrantRevoked { .. })) == self.revoked
    }
}

/// The row of a grant, as the table has it.
struct Row {
    grant: String,
    project: String,
    issued: u64,
    /// Of the entries after that one: accepted, intent, signed, released, pushed, revoked.
    later: [Option<u64>; 6],
}

impl Row {
    fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        let later = [row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?, row.get(7)?, row.get(8)?];
        Ok(Self { grant: row.get(0)?, project: row.get(1)?, issued: row.get(2)?, later })
    }

    fn record(&self, grant: GrantId) -> GrantRecord {
        let (issued, [accepted, intent, signed, released, pushed, revoked]) = (self.issued, self.later);
        GrantRecord { grant, issued, accepted, intent, signed, released, pushed, revoked }
    }
}
