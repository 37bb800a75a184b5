//! Reading entries: one by its index, those that cover a file, or all of them.

use rusqlite::{Connection, OptionalExtension};

use super::error::LedgerError;
use super::store::{Ledger, Result};
use super::tree;
use crate::domain::digest::Sha256;
use crate::domain::event::Entry;
use crate::tlog::tree::{first_hash, leaf_hash};

impl Ledger {
    /// The entry at `index`, if there is one, as it was logged.
    pub fn entry(&self, index: u64) -> Result<Option<Entry>> {
        find_text(&self.database, index)?
            .map(|text| read(index, &text))
            .transpose()
    }

    /// Shows each entry to `see`, first to last, until it returns an error. They are read as they
    /// are: [`Ledger::verify`] is there to compare them with the tree.
    pub fn each<E: From<LedgerError>>(
        &self,
        mut see: impl FnMut(Entry) -> Result<(), E>,
    ) -> Result<(), E> {
        let fail = |error| E::from(LedgerError::from(error));
        let mut statement = self
            .database
            .prepare("SELECT idx, entry FROM entries ORDER BY idx")
            .map_err(fail)?;
        let mut rows = statement.query([]).map_err(fail)?;
        while let Some(row) = rows.next().map_err(fail)? {
            let index = row.get(0).map_err(fail)?;
            let text: String = row.get(1).map_err(fail)?;
            see(read(index, &text)?)?;
        }
        Ok(())
    }

    /// The entries that announce a file with this digest, or the intents of a signature with it,
    /// first to last.
    pub fn covering(&self, digest: Sha256) -> Result<Vec<u64>> {
        let query = "SELECT idx FROM digests WHERE digest = ?1 ORDER BY idx";
        let mut statement = self.database.prepare(query)?;
        let rows = statement.query_map([digest.to_string()], |row| row.get(0))?;
        Ok(rows.collect::<rusqlite::Result<Vec<u64>>>()?)
    }

    pub(super) fn known(&self, index: u64) -> Result<Entry> {
        known(&self.database, index)
    }

    /// The bytes of the entry at `index`, which must be there.
    pub(super) fn text(&self, index: u64) -> Result<String> {
        text(&self.database, index)
    }

    pub(super) fn misplaced(&self, entry: &Entry) -> LedgerError {
        LedgerError::Changed(format!(
            "entry {} of the ledger is of kind `{}`, which does not belong there",
            entry.index,
            entry.event.kind()
        ))
    }
}

/// The entry at `index`, which must be there.
pub(super) fn known(database: &Connection, index: u64) -> Result<Entry> {
    text(database, index).and_then(|text| read(index, &text))
}

fn text(database: &Connection, index: u64) -> Result<String> {
    find_text(database, index)?
        .ok_or_else(|| LedgerError::Changed(format!("entry {index} of the ledger is missing")))
}

/// The bytes of the entry at `index`, if there is one. They must match the tree: the caller acts on
/// them, or publishes them.
fn find_text(database: &Connection, index: u64) -> Result<Option<String>> {
    // More than SQLite can count.
    if i64::try_from(index).is_err() {
        return Ok(None);
    }
    let mut query = database.prepare_cached("SELECT entry FROM entries WHERE idx = ?1")?;
    let text = query
        .query_row([index], |row| row.get::<_, String>(0))
        .optional()?;
    let Some(text) = text else {
        return Ok(None);
    };
    if tree::read(database, first_hash(index))? == leaf_hash(text.as_bytes()) {
        Ok(Some(text))
    } else {
        let reason = "was altered: its hash does not match the tree";
        Err(LedgerError::Changed(format!(
            "entry {index} of the ledger {reason}"
        )))
    }
}

fn read(index: u64, text: &str) -> Result<Entry> {
    Entry::parse(index, text.as_bytes()).map_err(|error| {
        LedgerError::Changed(format!(
            "entry {index} of the ledger cannot be read: {error}"
        ))
    })
}
