//! The Merkle tree of the entries: its hashes stand beside them, each written with the entry that completes it.

use rusqlite::{Connection, OptionalExtension, params};

use super::{Ledger, LedgerFault, Result};
use crate::tlog::checkpoint::Checkpoint;
use crate::tlog::proof::Proof;
use crate::tlog::tile::LARGEST_ENTRY;
use crate::tlog::tree::{self, Hash};

/// Writes the hashes that entry `index` adds. Costs as many reads as the tree has levels, and two writes on average.
pub(super) fn append(database: &Connection, index: u64, entry: &[u8]) -> Result<(), LedgerFault> {
    if entry.len() > LARGEST_ENTRY {
        return Err(LedgerFault::TooLarge { bytes: entry.len() });
    }
    let first = tree::first_hash(index);
    let kept: Option<u64> = database.query_row("SELECT max(number) FROM hashes", [], |row| row.get(0))?;
    // Whoever adds to a log that somebody else has added to would vouch for that.
    if kept.map_or(0, |last| last + 1) != first {
        return Err(LedgerFault::NotOurs);
    }
    let hashes = tree::new_hashes(index, entry, |number| read(database, number))?;
    let mut insert = database.prepare_cached("INSERT INTO hashes (number, hash) VALUES (?1, ?2)")?;
    for (number, hash) in (first..).zip(hashes) {
        insert.execute(params![number, hash.0])?;
    }
    Ok(())
}

fn read(database: &Connection, number: u64) -> Result<Hash, LedgerFault> {
    let mut query = database.prepare_cached("SELECT hash FROM hashes WHERE number = ?1")?;
    let hash = query.query_row([number], |row| row.get(0)).optional()?;
    hash.map(Hash).ok_or(LedgerFault::NoHash(number))
}

impl Ledger {
    /// How many entries it has.
    pub fn size(&self) -> Result<u64> {
        let size = self.database.query_row("SELECT coalesce(max(idx) + 1, 0) FROM entries", [], |row| row.get(0));
        size.map_err(|error| self.fail(error))
    }

    /// The root hash of the tree of its first `size` entries.
    pub fn root(&self, size: u64) -> Result<Hash> {
        tree::root(size, |number| self.hash(number))
    }

    /// What it is now, as a checkpoint says it.
    pub fn head(&self) -> Result<Checkpoint> {
        let size = self.size()?;
        Ok(Checkpoint { size, root: self.root(size)? })
    }

    /// The proof that entry `index` is in the log as `head` describes it. `checkpoint` is the note that says so.
    pub fn prove(&self, index: u64, head: &Checkpoint, checkpoint: String) -> Result<Proof> {
        let entry = self.text(index)?;
        let path = tree::prove(head.size, index, |number| self.hash(number))?;
        Ok(Proof { extra: Some(entry.into_bytes()), index, path, checkpoint })
    }

    pub(super) fn hash(&self, number: u64) -> Result<Hash> {
        read(&self.database, number).map_err(|fault| self.with(fault))
    }
}
