//! Reading entries: one by its index, those that speak of a file, or all of them.

use rusqlite::OptionalExtension;

use super::{Ledger, LedgerError, LedgerFault, Result};
use crate::domain::digest::Sha256;
use crate::domain::event::Entry;
use crate::tlog::tree::{first_hash, leaf_hash};

impl Ledger {
    /// The entry at `index`, if there is one, as it was logged.
    pub fn entry(&self, index: u64) -> Result<Option<Entry>> {
        self.find_text(index)?
            .map(|text| self.read(index, &text))
            .transpose()
    }

    /// Shows each entry to `see`, first to last, until it returns an error. They are read as they
    /// are: [`Ledger::verify`] is there to compare them with the tree.
    pub fn each<E: From<LedgerError>>(
        &self,
        mut see: impl FnMut(Entry) -> Result<(), E>,
    ) -> Result<(), E> {
        let fail = |error| E::from(self.fail(error));
        let mut statement = self
            .database
            .prepare("SELECT idx, entry FROM entries ORDER BY idx")
            .map_err(fail)?;
        let mut rows = statement.query([]).map_err(fail)?;
        while let Some(row) = rows.next().map_err(fail)? {
            let (index, text) = (
                row.get(0).map_err(fail)?,
                row.get::<_, String>(1).map_err(fail)?,
            );
            see(self.read(index, &text)?)?;
        }
        Ok(())
    }

    /// The entries that say that a file with this digest is to be signed, or the intents whose
    /// signature it is, first to last.
    pub fn speaking_of(&self, digest: Sha256) -> Result<Vec<u64>> {
        let read = || {
            let query = "SELECT idx FROM digests WHERE digest = ?1 ORDER BY idx";
            let mut statement = self.database.prepare(query)?;
            let rows = statement.query_map([digest.to_string()], |row| row.get(0))?;
            rows.collect::<rusqlite::Result<Vec<u64>>>()
        };
        read().map_err(|error| self.fail(error))
    }

    pub(super) fn known(&self, index: u64) -> Result<Entry> {
        self.text(index).and_then(|text| self.read(index, &text))
    }

    /// The bytes of the entry at `index`, which must be there.
    pub(super) fn text(&self, index: u64) -> Result<String> {
        self.find_text(index)?
            .ok_or_else(|| self.wrong(index, "it is missing"))
    }

    /// The bytes of the entry at `index`, if there is one. They must be what was logged: whoever
    /// reads them acts on them, or vouches for them.
    fn find_text(&self, index: u64) -> Result<Option<String>> {
        let find = || {
            let mut query = self
                .database
                .prepare_cached("SELECT entry FROM entries WHERE idx = ?1")?;
            query
                .query_row([index], |row| row.get::<_, String>(0))
                .optional()
        };
        let Some(text) = find().map_err(|error| self.fail(error))? else {
            return Ok(None);
        };
        match self.hash(first_hash(index))? == leaf_hash(text.as_bytes()) {
            true => Ok(Some(text)),
            false => Err(self.wrong(
                index,
                "it is not what was logged; see `countersign log verify`",
            )),
        }
    }

    fn read(&self, index: u64, text: &str) -> Result<Entry> {
        Entry::parse(index, text.as_bytes()).map_err(|fault| self.wrong(index, &fault.to_string()))
    }

    fn wrong(&self, index: u64, reason: &str) -> LedgerError {
        self.with(LedgerFault::Entry {
            index,
            reason: reason.to_owned(),
        })
    }

    pub(super) fn misplaced(&self, entry: &Entry) -> LedgerError {
        let reason = format!(
            "it is of kind `{}`, which another was expected to be",
            entry.event.kind()
        );
        LedgerError {
            path: self.path.clone(),
            fault: LedgerFault::Entry {
                index: entry.index,
                reason,
            },
        }
    }
}
