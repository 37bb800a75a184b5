//! The tables and triggers of the database, and whether it has these and no others: another
//! one could falsify a query, or undo what is written.

use std::collections::BTreeMap;

use rusqlite::Connection;

/// Number of the schema that follows; each change increments it.
pub(super) const SCHEMA: u32 = 11;

const TABLES: &str = "
    CREATE TABLE entries (idx INTEGER PRIMARY KEY, entry TEXT NOT NULL);
    CREATE TRIGGER entries_stay BEFORE UPDATE ON entries
        BEGIN SELECT raise(ABORT, 'entries are never changed'); END;
    CREATE TRIGGER entries_last BEFORE DELETE ON entries
        BEGIN SELECT raise(ABORT, 'entries are never removed'); END;
    CREATE TRIGGER entries_once BEFORE INSERT ON entries
        WHEN EXISTS (SELECT 1 FROM entries WHERE idx = NEW.idx)
        BEGIN SELECT raise(ABORT, 'entries are never replaced'); END;
    CREATE TABLE hashes (number INTEGER PRIMARY KEY, hash BLOB NOT NULL);
    CREATE TRIGGER hashes_stay BEFORE UPDATE ON hashes
        BEGIN SELECT raise(ABORT, 'hashes are never changed'); END;
    CREATE TRIGGER hashes_last BEFORE DELETE ON hashes
        BEGIN SELECT raise(ABORT, 'hashes are never removed'); END;
    CREATE TRIGGER hashes_once BEFORE INSERT ON hashes
        WHEN EXISTS (SELECT 1 FROM hashes WHERE number = NEW.number)
        BEGIN SELECT raise(ABORT, 'hashes are never replaced'); END;
    CREATE TABLE about (idx INTEGER PRIMARY KEY, grant_id TEXT NOT NULL, milestone TEXT,
        project TEXT, folder TEXT, next INTEGER);
    CREATE UNIQUE INDEX about_milestone ON about (milestone, grant_id)
        WHERE milestone IS NOT NULL AND milestone NOT IN ('accepted', 'intended');
    CREATE INDEX about_repeated ON about (milestone, grant_id)
        WHERE milestone IN ('accepted', 'intended');
    CREATE INDEX about_grant ON about (grant_id);
    CREATE INDEX about_project ON about (project COLLATE NOCASE, project)
        WHERE project IS NOT NULL;
    CREATE INDEX about_folder ON about (folder) WHERE folder IS NOT NULL;
    CREATE TRIGGER about_stay BEFORE UPDATE ON about
        WHEN OLD.next IS NOT NULL OR NEW.idx <> OLD.idx OR NEW.grant_id <> OLD.grant_id
            OR NEW.milestone IS NOT OLD.milestone OR NEW.project IS NOT OLD.project
            OR NEW.folder IS NOT OLD.folder
        BEGIN SELECT raise(ABORT, 'rows of entries are never changed'); END;
    CREATE TRIGGER about_last BEFORE DELETE ON about
        BEGIN SELECT raise(ABORT, 'rows of entries are never removed'); END;
    CREATE TRIGGER about_once BEFORE INSERT ON about
        WHEN EXISTS (SELECT 1 FROM about WHERE idx = NEW.idx)
        BEGIN SELECT raise(ABORT, 'rows of entries are never replaced'); END;
    CREATE TABLE digests (digest TEXT, idx INTEGER, PRIMARY KEY (digest, idx)) WITHOUT ROWID;
    CREATE TRIGGER digests_stay BEFORE UPDATE ON digests
        BEGIN SELECT raise(ABORT, 'digests are never changed'); END;
    CREATE TRIGGER digests_last BEFORE DELETE ON digests
        BEGIN SELECT raise(ABORT, 'digests are never removed'); END;
    CREATE TABLE signatures (intent INTEGER, file TEXT, signature TEXT NOT NULL,
        PRIMARY KEY (intent, file));
    CREATE TRIGGER signatures_stay BEFORE UPDATE ON signatures
        BEGIN SELECT raise(ABORT, 'signatures are never changed'); END;
    CREATE TRIGGER signatures_last BEFORE DELETE ON signatures
        BEGIN SELECT raise(ABORT, 'signatures are never removed'); END;
    CREATE TRIGGER signatures_once BEFORE INSERT ON signatures
        WHEN EXISTS (SELECT 1 FROM signatures WHERE intent = NEW.intent AND file = NEW.file)
        BEGIN SELECT raise(ABORT, 'signatures are never replaced'); END;
    CREATE TABLE asked (intent INTEGER PRIMARY KEY);
    CREATE TRIGGER asked_stay BEFORE UPDATE ON asked
        BEGIN SELECT raise(ABORT, 'asked are never changed'); END;
    CREATE TRIGGER asked_last BEFORE DELETE ON asked
        BEGIN SELECT raise(ABORT, 'asked are never removed'); END;
    CREATE TRIGGER asked_once BEFORE INSERT ON asked
        WHEN EXISTS (SELECT 1 FROM asked WHERE intent = NEW.intent)
        BEGIN SELECT raise(ABORT, 'asked are never replaced'); END;
    CREATE TABLE backwards (idx INTEGER PRIMARY KEY, newest INTEGER NOT NULL);
    CREATE TRIGGER backwards_stay BEFORE UPDATE ON backwards
        BEGIN SELECT raise(ABORT, 'backwards are never changed'); END;
    CREATE TRIGGER backwards_last BEFORE DELETE ON backwards
        BEGIN SELECT raise(ABORT, 'backwards are never removed'); END;
    CREATE TRIGGER backwards_once BEFORE INSERT ON backwards
        WHEN EXISTS (SELECT 1 FROM backwards WHERE idx = NEW.idx)
        BEGIN SELECT raise(ABORT, 'backwards are never replaced'); END;
    CREATE TABLE anchored (place TEXT PRIMARY KEY) WITHOUT ROWID;
    CREATE TRIGGER anchored_stay BEFORE UPDATE ON anchored
        BEGIN SELECT raise(ABORT, 'anchored are never changed'); END;
    CREATE TRIGGER anchored_last BEFORE DELETE ON anchored
        BEGIN SELECT raise(ABORT, 'anchored are never removed'); END;
    CREATE TRIGGER anchored_once BEFORE INSERT ON anchored
        WHEN EXISTS (SELECT 1 FROM anchored WHERE place = NEW.place)
        BEGIN SELECT raise(ABORT, 'anchored are never replaced'); END;
    CREATE TABLE places (idx INTEGER PRIMARY KEY, folder BLOB NOT NULL);
    CREATE TRIGGER places_stay BEFORE UPDATE ON places
        BEGIN SELECT raise(ABORT, 'places are never changed'); END;
    CREATE TRIGGER places_last BEFORE DELETE ON places
        BEGIN SELECT raise(ABORT, 'places are never removed'); END;
    CREATE TRIGGER places_once BEFORE INSERT ON places
        WHEN EXISTS (SELECT 1 FROM places WHERE idx = NEW.idx)
        BEGIN SELECT raise(ABORT, 'places are never replaced'); END;
";

/// The schema number of a database; 0 if it is empty.
pub(super) fn version(database: &Connection) -> rusqlite::Result<u32> {
    database.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// Makes the tables, in an empty database.
pub(super) fn create(database: &Connection) -> rusqlite::Result<()> {
    database.execute_batch(&format!(
        "BEGIN; {TABLES} PRAGMA user_version = {SCHEMA}; COMMIT;"
    ))
}

/// What in a database is not as [`create`] made it, or is an index that does not lead to its rows.
pub(super) fn difference(database: &Connection) -> rusqlite::Result<Option<String>> {
    let made = Connection::open_in_memory()?;
    made.execute_batch(TABLES)?;
    let made = objects(&made)?;
    let found = objects(database)?;
    let differs = |name: &&String| made.get(*name) != found.get(*name);
    if let Some(name) = made.keys().chain(found.keys()).find(differs) {
        return Ok(Some(name.clone()));
    }
    // The other tables have no index.
    for table in ["about", "signatures"] {
        let found: String =
            database.query_row(&format!("PRAGMA integrity_check({table})"), [], |row| {
                row.get(0)
            })?;
        if found != "ok" {
            return Ok(Some(format!("an index of table {table}: {found}")));
        }
    }
    Ok(None)
}

/// Each object, as in `trigger entries_stay`, and how it was made, without its white space.
fn objects(database: &Connection) -> rusqlite::Result<BTreeMap<String, String>> {
    let mut statement =
        database.prepare("SELECT type || ' ' || name, coalesce(sql, '') FROM sqlite_master")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get::<_, String>(1)?)))?;
    rows.map(|row| {
        row.map(|(name, sql)| (name, sql.split_whitespace().collect::<Vec<_>>().join(" ")))
    })
    .collect()
}
