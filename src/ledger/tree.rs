//! The Merkle tree of the entries: its hashes are in a table beside them, each written with the
//! entry that completes it.

use rusqlite::{Connection, OptionalExtension, params};

use super::error::LedgerError;
use super::store::{Ledger, Result};
use crate::tlog::checkpoint::Checkpoint;
use crate::tlog::proof::Proof;
use crate::tlog::tile::LARGEST_ENTRY;
use crate::tlog::tree::{self, Hash};

/// How many hashes there are, as the tree numbers them; how many entries.
const HASHES: &str = "SELECT coalesce(max(number) + 1, 0) FROM hashes";
const ENTRIES: &str = "SELECT coalesce(max(idx) + 1, 0) FROM entries";

/// Writes the hashes that entry `index` adds. Costs as many reads as the tree has levels, and two
/// writes on average.
pub(super) fn append(database: &Connection, index: u64, entry: &[u8]) -> Result<()> {
    if entry.len() > LARGEST_ENTRY {
        return Err(LedgerError::Unusable(format!(
            "an entry may have {LARGEST_ENTRY} bytes, not {}",
            entry.len()
        )));
    }
    let first = tree::first_hash(index);
    // Appending to a log that something else appended to would publish that too.
    if count(database, HASHES)? != first {
        return Err(not_ours());
    }
    let hashes = tree::new_hashes(index, entry, |number| read(database, number))?;
    let mut insert =
        database.prepare_cached("INSERT INTO hashes (number, hash) VALUES (?1, ?2)")?;
    for (number, hash) in (first..).zip(hashes) {
        insert.execute(params![number, hash.0])?;
    }
    Ok(())
}

/// How many entries there are.
pub(super) fn size(database: &Connection) -> Result<u64> {
    count(database, ENTRIES)
}

fn count(database: &Connection, query: &str) -> Result<u64> {
    let mut query = database.prepare_cached(query)?;
    Ok(query.query_row([], |row| row.get(0))?)
}

pub(super) fn read(database: &Connection, number: u64) -> Result<Hash> {
    let mut query = database.prepare_cached("SELECT hash FROM hashes WHERE number = ?1")?;
    let hash = query.query_row([number], |row| row.get(0)).optional()?;
    hash.map(Hash).ok_or_else(|| {
        LedgerError::Changed(format!("hash {number} of the ledger's tree is missing"))
    })
}

fn not_ours() -> LedgerError {
    LedgerError::Changed(
        "the ledger has entries that countersign did not write: nothing is added to it, and no \
         checkpoint of it is signed"
            .to_owned(),
    )
}

impl Ledger {
    /// How many entries it has.
    pub fn size(&self) -> Result<u64> {
        size(&self.database)
    }

    /// The root hash of the tree of its first `size` entries.
    pub fn root(&self, size: u64) -> Result<Hash> {
        tree::root(size, |number| self.hash(number))
    }

    /// A checkpoint of the log as it is now.
    pub fn head(&self) -> Result<Checkpoint> {
        // In one query: another process may append meanwhile.
        let both = self
            .database
            .query_row(&format!("SELECT ({ENTRIES}), ({HASHES})"), [], |row| {
                Ok((row.get::<_, u64>(0)?, row.get::<_, u64>(1)?))
            });
        let (size, hashes) = both?;
        if hashes != tree::first_hash(size) {
            return Err(not_ours());
        }
        Ok(Checkpoint {
            size,
            root: self.root(size)?,
        })
    }

    /// The proof that entry `index` is in the log as `head` describes it. `checkpoint` is the note
    /// that says so.
    pub fn prove(&self, index: u64, head: &Checkpoint, checkpoint: String) -> Result<Proof> {
        let entry = self.text(index)?;
        let path = tree::prove(head.size, index, |number| self.hash(number))?;
        if !tree::proves(
            &path,
            head.size,
            head.root,
            index,
            tree::leaf_hash(entry.as_bytes()),
        ) {
            return Err(not_ours());
        }
        Ok(Proof {
            extra: Some(entry.into_bytes()),
            index,
            path,
            checkpoint,
        })
    }

    pub(super) fn hash(&self, number: u64) -> Result<Hash> {
        read(&self.database, number)
    }
}
