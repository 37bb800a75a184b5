//! Which entries are about which grant, and what state the grant is in because of them.
//!
//! The entries are the state; the table `about` is the way to them. The entries of a grant are a
//! chain: each row has the index of the next, so that a row that was removed, moved or changed is
//! noticed by whatever reads the grant, and not only by [`Ledger::verify`]. If the last rows of a
//! grant were removed and the one before them was changed to end there, only that notices.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, params};

use super::error::LedgerError;
use super::folders::{check_folder, folder_in_any_case};
use super::milestone::Milestone;
use super::store::{Ledger, Result};
use crate::domain::digest::{GrantId, Sha256};
use crate::domain::event::{Entry, Event, Intent};
use crate::domain::name::{BuilderName, ProjectName};
use crate::domain::time::Timestamp;

/// The state of a grant: the indices of the entries that set it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantRecord {
    /// The grant.
    pub grant: GrantId,
    /// It was issued.
    pub issued: u64,
    /// A build was accepted, which closed it; the last one, if its evidence was replaced.
    pub accepted: Option<u64>,
    /// Its release was about to be signed; the last time that was announced anew.
    pub intent: Option<u64>,
    /// Its release was signed, every file.
    pub signed: Option<u64>,
    /// Its release appeared.
    pub released: Option<u64>,
    /// Its release appeared in the location's inbox.
    pub pushed: Option<u64>,
    /// It was revoked.
    pub revoked: Option<u64>,
    /// Its release was withdrawn.
    pub withdrawn: Option<u64>,
    /// The statement of that appeared in the location's inbox.
    pub withdrawal_pushed: Option<u64>,
}

impl GrantRecord {
    /// What the entries about the grant say; `None` if none says that it was issued.
    fn of(grant: GrantId, history: &[Entry]) -> Option<Self> {
        // What can be replaced is what was recorded last.
        let index = |milestone| {
            let mut entries = history.iter().rev();
            let entry = entries.find(|entry| Milestone::of(&entry.event) == Some(milestone));
            entry.map(|entry| entry.index)
        };
        Some(Self {
            grant,
            issued: index(Milestone::Issued)?,
            accepted: index(Milestone::Accepted),
            intent: index(Milestone::Intended),
            signed: index(Milestone::Signed),
            released: index(Milestone::Released),
            pushed: index(Milestone::Pushed),
            revoked: index(Milestone::Revoked),
            withdrawn: index(Milestone::Withdrawn),
            withdrawal_pushed: index(Milestone::WithdrawalPushed),
        })
    }
}

/// The build that closed a grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// Its entry.
    pub index: u64,
    /// When it was accepted.
    pub at: Timestamp,
    /// Which build it is: the digest of its list of artifacts.
    pub artifacts: Sha256,
    /// Its builders, with the digest of each one's evidence.
    pub builders: BTreeMap<BuilderName, Sha256>,
}

/// What the table has of one entry.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) index: u64,
    pub(super) grant: String,
    milestone: Option<String>,
    project: Option<String>,
    folder: Option<String>,
    next: Option<u64>,
}

impl Row {
    pub(super) const COLUMNS: &'static str = "idx, grant_id, milestone, project, folder, next";

    pub(super) fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            index: row.get(0)?,
            grant: row.get(1)?,
            milestone: row.get(2)?,
            project: row.get(3)?,
            folder: row.get(4)?,
            next: row.get(5)?,
        })
    }

    /// What it must be for an entry about a grant that is followed by `next`.
    pub(super) fn of(entry: &Entry, grant: GrantId, next: Option<u64>) -> Self {
        let milestone = Milestone::of(&entry.event);
        let (project, folder) = match &entry.event {
            Event::GrantIssued {
                project, version, ..
            } => (
                Some(project.as_str().to_owned()),
                Some(folder_in_any_case(project, version)),
            ),
            _ => (None, None),
        };
        Self {
            index: entry.index,
            grant: grant.hex(),
            milestone: milestone.map(|milestone| milestone.name().to_owned()),
            project,
            folder,
            next,
        }
    }

    pub(super) fn next(&self) -> Option<u64> {
        self.next
    }
}

/// Adds an entry to those of its grant, if it is about one. Refuses what is recorded already, and
/// what a revoked grant no longer allows.
pub(super) fn append(database: &Connection, entry: &Entry) -> Result<()> {
    let Some(grant) = grant_of(database, &entry.event)? else {
        return Ok(());
    };
    if let Some(milestone) = Milestone::of(&entry.event) {
        admit(database, grant, milestone, &entry.event)?;
    }
    if let Event::GrantIssued {
        project, version, ..
    } = &entry.event
    {
        check_folder(database, project, version)?;
    }
    let row = Row::of(entry, grant, None);
    let mut link = database.prepare_cached(
        "UPDATE about SET next = ?1 WHERE next IS NULL
                AND idx = (SELECT max(idx) FROM about WHERE grant_id = ?2)",
    )?;
    link.execute(params![row.index, row.grant])?;
    let mut insert = database.prepare_cached(
        "INSERT INTO about (idx, grant_id, milestone, project, folder)
            VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    insert.execute(params![
        row.index,
        row.grant,
        row.milestone,
        row.project,
        row.folder
    ])?;
    Ok(())
}

/// The index of the last entry about a grant.
pub(super) fn last(database: &Connection, grant: GrantId) -> Result<Option<u64>> {
    let mut query = database.prepare_cached("SELECT max(idx) FROM about WHERE grant_id = ?1")?;
    Ok(query.query_row([grant.hex()], |row| row.get(0))?)
}

/// The grants that are not revoked and are of the release that `intent` is of.
pub(super) fn to_revoke(database: &Connection, intent: Option<u64>) -> Result<Vec<GrantId>> {
    let mut query = database.prepare_cached(
        "SELECT grant_id FROM about AS it
            WHERE folder = (SELECT folder FROM about WHERE milestone = 'issued'
                    AND grant_id = (SELECT grant_id FROM about WHERE idx = ?1))
                AND NOT EXISTS (SELECT 1 FROM about
                    WHERE milestone = 'revoked' AND grant_id = it.grant_id)
            ORDER BY idx",
    )?;
    let grants = query.query_map([intent], |row| row.get::<_, String>(0))?;
    let grants = grants.collect::<rusqlite::Result<Vec<_>>>()?;
    grants.iter().map(|hex| grant_id(hex)).collect()
}

/// The grant that an event is about: the event names it, or its intent does.
fn grant_of(database: &Connection, event: &Event) -> Result<Option<GrantId>> {
    let Some(intent) = event.follows() else {
        return Ok(event.grant());
    };
    let mut query = database.prepare_cached(
        "SELECT grant_id FROM about AS it WHERE idx = ?1 AND milestone = 'intended'
            AND NOT EXISTS (SELECT 1 FROM about WHERE milestone = 'intended'
                AND grant_id = it.grant_id AND idx > it.idx)",
    )?;
    let hex: Option<String> = query.query_row([intent], |row| row.get(0)).optional()?;
    let hex = hex.ok_or_else(|| {
        LedgerError::Changed(format!(
            "the ledger has no intent that an entry `{}` could follow there",
            event.kind()
        ))
    })?;
    grant_id(&hex).map(Some)
}

fn admit(database: &Connection, grant: GrantId, milestone: Milestone, event: &Event) -> Result<()> {
    let kind = event.kind();
    let query = "SELECT milestone, idx FROM about WHERE grant_id = ?1 AND milestone IS NOT NULL
        ORDER BY idx";
    let mut query = database.prepare_cached(query)?;
    let recorded = query.query_map([grant.hex()], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let recorded: BTreeMap<String, u64> = recorded.collect::<rusqlite::Result<_>>()?;
    let last = |milestone: Milestone| recorded.get(milestone.name()).copied();
    if milestone != Milestone::Issued && last(Milestone::Issued).is_none() {
        return Err(LedgerError::Changed(format!(
            "the ledger has no grant {grant}"
        )));
    }
    if let Some(before) = milestone.needs().filter(|before| last(*before).is_none()) {
        return Err(LedgerError::Changed(format!(
            "the ledger has no entry `{}` about grant {}, which an entry `{kind}` follows",
            before.name(),
            grant.short()
        )));
    }
    // A revocation takes effect even for a process that looked before it.
    if milestone.needs_valid_grant() && last(Milestone::Revoked).is_some() {
        return Err(LedgerError::Revoked(grant));
    }
    let replaces = match event {
        Event::EvidenceAccepted { replaces, .. } | Event::Intent(Intent { replaces, .. }) => {
            *replaces
        }
        _ => None,
    };
    if last(milestone) != replaces {
        return Err(LedgerError::Changed(format!(
            "the ledger has an entry `{kind}` about grant {} already, which is recorded once",
            grant.short()
        )));
    }
    let asked = last(Milestone::Intended).map(|intent| is_asked(database, intent));
    if replaces.is_some() && asked.transpose()? == Some(true) {
        return Err(LedgerError::Changed(format!(
            "the token was asked for signatures under grant {}, and an entry `{kind}` would \
             replace what they were announced with",
            grant.short()
        )));
    }
    Ok(())
}

/// Whether the token was asked for a signature of this intent, or is about to be.
pub(super) fn is_asked(database: &Connection, intent: u64) -> Result<bool> {
    let mut query = database.prepare_cached("SELECT 1 FROM asked WHERE intent = ?1")?;
    Ok(query.exists([intent])?)
}

fn grant_id(hex: &str) -> Result<GrantId> {
    format!("sha256:{hex}").parse().map_err(|_| {
        LedgerError::Changed(format!("the ledger's table `about` has a grant `{hex}`"))
    })
}

impl Ledger {
    /// Whether the grant was issued here.
    pub fn issued(&self, grant: GrantId) -> Result<bool> {
        Ok(self.grant(grant)?.is_some())
    }

    /// Whether the grant was revoked, by one look into the database: for a run that read its state
    /// before, and asks whether this changed.
    pub fn is_revoked(&self, grant: GrantId) -> Result<bool> {
        let mut query = self
            .database
            .prepare_cached("SELECT 1 FROM about WHERE milestone = 'revoked' AND grant_id = ?1")?;
        Ok(query.exists([grant.hex()])?)
    }

    /// The state of the grant; `None` if it was not issued here.
    pub fn grant(&self, grant: GrantId) -> Result<Option<GrantRecord>> {
        self.in_one_state(|| self.read_record(grant))
    }

    /// Everything that was logged about a grant, first to last.
    pub fn history(&self, grant: GrantId) -> Result<Vec<Entry>> {
        self.in_one_state(|| self.read_history(grant))
    }

    /// Marks that the token is about to be asked for the signatures of an intent: from now on it
    /// is not replaced. Durable when it returns.
    pub fn mark_asked(&mut self, intent: u64) -> Result<()> {
        if self.is_asked(intent)? {
            return Ok(());
        }
        self.transact(|Self { database, .. }| {
            database
                .prepare_cached("INSERT INTO asked (intent) VALUES (?1)")?
                .execute([intent])?;
            Ok(())
        })
    }

    /// Whether [`Ledger::mark_asked`] was called for an intent.
    pub fn is_asked(&self, intent: u64) -> Result<bool> {
        is_asked(&self.database, intent)
    }

    /// The build that closed the grant, if one did, with the evidence of it that is valid.
    pub fn accepted(&self, grant: GrantId) -> Result<Option<Accepted>> {
        let Some(index) = self.grant(grant)?.and_then(|record| record.accepted) else {
            return Ok(None);
        };
        match self.known(index)? {
            Entry {
                at,
                index,
                event:
                    Event::EvidenceAccepted {
                        builders,
                        artifacts,
                        ..
                    },
            } => Ok(Some(Accepted {
                index,
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

    /// The intent at `index`, with the artifacts that are in entries before it.
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
                    event: Event::Artifacts(part),
                    ..
                } if part == intent.part(part.artifacts.clone()) => {
                    intent.artifacts.extend(part.artifacts);
                }
                other => return Err(self.misplaced(&other)),
            }
        }
        Ok(intent)
    }

    /// The state of each grant, first issued to last.
    pub fn grants(&self) -> Result<Vec<GrantRecord>> {
        self.records(
            "SELECT grant_id FROM about WHERE milestone = 'issued' AND ?1 = ''",
            "",
        )
    }

    /// The state of each grant of a project, first issued to last.
    pub fn grants_of(&self, project: &ProjectName) -> Result<Vec<GrantRecord>> {
        self.records(
            "SELECT grant_id FROM about WHERE project = ?1 COLLATE NOCASE AND project = ?1",
            project.as_str(),
        )
    }

    /// The state of each grant of which a build was accepted whose release has not appeared, and
    /// that was not revoked.
    pub fn unfinished(&self) -> Result<Vec<GrantRecord>> {
        self.records(
            "SELECT DISTINCT grant_id FROM about AS it WHERE milestone = 'accepted' AND ?1 = ''
                AND NOT EXISTS (SELECT 1 FROM about
                    WHERE milestone = 'released' AND grant_id = it.grant_id)
                AND NOT EXISTS (SELECT 1 FROM about
                    WHERE milestone = 'revoked' AND grant_id = it.grant_id)",
            "",
        )
    }

    /// The state of each grant whose release appeared and was not pushed, first issued to last.
    pub fn not_pushed(&self) -> Result<Vec<GrantRecord>> {
        self.records(
            "SELECT grant_id FROM about AS it WHERE milestone = 'released' AND ?1 = ''
                AND NOT EXISTS (SELECT 1 FROM about
                    WHERE milestone = 'pushed' AND grant_id = it.grant_id)",
            "",
        )
    }

    /// The state of each grant whose release was pushed, first issued to last.
    pub fn pushed(&self) -> Result<Vec<GrantRecord>> {
        self.records(
            "SELECT grant_id FROM about WHERE milestone = 'pushed' AND ?1 = ''",
            "",
        )
    }

    /// The state of each grant whose release was withdrawn, first issued to last.
    pub fn withdrawn(&self) -> Result<Vec<GrantRecord>> {
        self.records(
            "SELECT grant_id FROM about WHERE milestone = 'withdrawn' AND ?1 = ''",
            "",
        )
    }

    /// The state of the grants that `query` selects, first issued to last.
    fn records(&self, query: &'static str, value: &str) -> Result<Vec<GrantRecord>> {
        self.in_one_state(|| {
            let mut statement = self.database.prepare_cached(query)?;
            let grants = statement.query_map([value], |row| row.get::<_, String>(0))?;
            let mut records = Vec::new();
            for hex in grants.collect::<rusqlite::Result<Vec<_>>>()? {
                let grant = grant_id(&hex)?;
                records.push(self.read_record(grant)?.ok_or_else(|| wrong_rows(grant))?);
            }
            records.sort_by_key(|record| record.issued);
            Ok(records)
        })
    }

    fn read_record(&self, grant: GrantId) -> Result<Option<GrantRecord>> {
        let history = self.read_history(grant)?;
        match GrantRecord::of(grant, &history) {
            None if !history.is_empty() => Err(wrong_rows(grant)),
            record => Ok(record),
        }
    }

    /// The entries that the rows lead to, each of which must be about the grant and what its row
    /// says, and followed by the one that its row names.
    fn read_history(&self, grant: GrantId) -> Result<Vec<Entry>> {
        let query = format!(
            "SELECT {} FROM about WHERE grant_id = ?1 ORDER BY idx",
            Row::COLUMNS
        );
        let mut statement = self.database.prepare_cached(&query)?;
        let rows = statement.query_map([grant.hex()], Row::read)?;
        let rows = rows.collect::<rusqlite::Result<Vec<_>>>()?;
        let mut history = Vec::with_capacity(rows.len());
        let mut intent = None;
        for (at, row) in rows.iter().enumerate() {
            let entry = self.known(row.index)?;
            if matches!(entry.event, Event::Intent(_)) {
                intent = Some(entry.index);
            }
            let is_about = match entry.event.follows() {
                Some(index) => intent == Some(index),
                None => entry.event.grant() == Some(grant),
            };
            let next = rows.get(at + 1).map(|row| row.index);
            if !is_about || *row != Row::of(&entry, grant, next) {
                return Err(wrong_rows(grant));
            }
            history.push(entry);
        }
        Ok(history)
    }
}

fn wrong_rows(grant: GrantId) -> LedgerError {
    LedgerError::Changed(format!(
        "the ledger's table `about` differs from the entries about grant {}",
        grant.short()
    ))
}
