//! The tables and triggers of the database, and whether it has these and no others: with one of its
//! own somebody can let a query lie, or undo what is written.

use std::collections::BTreeMap;

use rusqlite::Connection;

use super::{BadLog, Ledger, LedgerError, Result};

/// Counts the changes of what follows.
pub(super) const SCHEMA: u32 = 5;

const TABLES: &str = "
    CREATE TABLE entries (idx INTEGER PRIMARY KEY, entry TEXT NOT NULL);
    CREATE TRIGGER entries_stay BEFORE UPDATE ON entries BEGIN SELECT raise(ABORT, 'entries are never changed'); END;
    CREATE TRIGGER entries_last BEFORE DELETE ON entries BEGIN SELECT raise(ABORT, 'entries are never removed'); END;
    CREATE TRIGGER entries_once BEFORE INSERT ON entries WHEN EXISTS (SELECT 1 FROM entries WHERE idx = NEW.idx)
        BEGIN SELECT raise(ABORT, 'entries are never replaced'); END;
    CREATE TABLE hashes (number INTEGER PRIMARY KEY, hash BLOB NOT NULL);
    CREATE TRIGGER hashes_stay BEFORE UPDATE ON hashes BEGIN SELECT raise(ABORT, 'hashes are never changed'); END;
    CREATE TRIGGER hashes_last BEFORE DELETE ON hashes BEGIN SELECT raise(ABORT, 'hashes are never removed'); END;
    CREATE TRIGGER hashes_once BEFORE INSERT ON hashes WHEN EXISTS (SELECT 1 FROM hashes WHERE number = NEW.number)
        BEGIN SELECT raise(ABORT, 'hashes are never replaced'); END;
    CREATE TABLE grants (grant_id TEXT PRIMARY KEY, project TEXT NOT NULL, issued INTEGER NOT NULL, accepted INTEGER,
        intent INTEGER, signed INTEGER, released INTEGER, pushed INTEGER, revoked INTEGER);
    CREATE INDEX grants_of_project ON grants (project);
    CREATE INDEX grants_of_intent ON grants (intent);
    CREATE TABLE grant_entries (grant_id TEXT, idx INTEGER, PRIMARY KEY (grant_id, idx)) WITHOUT ROWID;
    CREATE TABLE digests (digest TEXT, idx INTEGER, PRIMARY KEY (digest, idx)) WITHOUT ROWID;
    CREATE TABLE signatures (intent INTEGER, file TEXT, signature TEXT NOT NULL, PRIMARY KEY (intent, file));
";

impl Ledger {
    pub(super) fn schema(&self) -> Result<u32> {
        Ok(self
            .database
            .query_row("PRAGMA user_version", [], |row| row.get(0))?)
    }

    pub(super) fn prepare(&self) -> Result<()> {
        match self.schema()? {
            SCHEMA => Ok(()),
            0 => Ok(self.database.execute_batch(&format!(
                "BEGIN; {TABLES} PRAGMA user_version = {SCHEMA}; COMMIT;"
            ))?),
            other => Err(LedgerError::Schema(other)),
        }
    }
}

/// Refuses a database of another structure, and one whose indices do not lead to their rows.
pub(super) fn check(ledger: &Ledger) -> Result<(), BadLog> {
    match find(&ledger.database)? {
        None => Ok(()),
        Some(what) => Err(BadLog::Changed(format!(
            "the structure of the database is not as countersign made it: {what}"
        ))),
    }
}

fn find(database: &Connection) -> rusqlite::Result<Option<String>> {
    let made = Connection::open_in_memory()?;
    made.execute_batch(TABLES)?;
    let (made, found) = (objects(&made)?, objects(database)?);
    let differs = |name: &&String| made.get(*name) != found.get(*name);
    if let Some(name) = made.keys().chain(found.keys()).find(differs) {
        return Ok(Some(name.clone()));
    }
    // The other tables have no index beside them.
    for table in ["grants", "signatures"] {
        let said: String =
            database.query_row(&format!("PRAGMA integrity_check({table})"), [], |row| {
                row.get(0)
            })?;
        if said != "ok" {
            return Ok(Some(format!("an index of table {table}: {said}")));
        }
    }
    Ok(None)
}

/// What there is, `trigger entries_stay`, and how it was made, whatever the white space.
fn objects(database: &Connection) -> rusqlite::Result<BTreeMap<String, String>> {
    let mut statement =
        database.prepare("SELECT type || ' ' || name, coalesce(sql, '') FROM sqlite_master")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get::<_, String>(1)?)))?;
    rows.map(|row| {
        row.map(|(name, sql)| (name, sql.split_whitespace().collect::<Vec<_>>().join(" ")))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Timestamp;
    use crate::tlog::note::SignerKey;

    /// By nothing that does not mean to: whoever drops the triggers first is found by `log verify`.
    #[test]
    fn entries_and_hashes_are_neither_changed_nor_removed_nor_replaced() {
        let temp = tempfile::tempdir().expect("a folder");
        let path = temp.path().join("ledger.sqlite");
        let mut ledger = Ledger::open_or_create(&path).expect("made");
        let key = SignerKey::generate("example.org/log")
            .expect("a key")
            .public();
        ledger.begin(Timestamp::from_unix(0), &key).expect("begun");
        // As any other program that opens the file.
        let other = Connection::open(&path).expect("opened");
        for (change, why) in [
            ("UPDATE entries SET entry = ''", "entries are never changed"),
            ("DELETE FROM entries", "entries are never removed"),
            (
                "INSERT OR REPLACE INTO entries SELECT idx, '' FROM entries",
                "entries are never replaced",
            ),
            (
                "UPDATE hashes SET hash = zeroblob(32)",
                "hashes are never changed",
            ),
            ("DELETE FROM hashes", "hashes are never removed"),
            (
                "INSERT OR REPLACE INTO hashes SELECT number, zeroblob(32) FROM hashes",
                "hashes are never replaced",
            ),
        ] {
            let said = other.execute(change, []).expect_err(change).to_string();
            assert_eq!(said, why, "{change}");
        }
        ledger.verify(&key, &[]).expect("as it was logged");
    }
}
