//! Whether the database has the tables and triggers that countersign made, and no others: with one of its own somebody can
//! let a query lie, or undo what is written.

use std::collections::BTreeMap;

use rusqlite::Connection;

use super::{BadLog, Ledger, TABLES};

/// Refuses a database of another structure, and one whose indices do not lead to their rows.
pub(super) fn check(ledger: &Ledger) -> Result<(), BadLog> {
    match find(&ledger.database) {
        Ok(None) => Ok(()),
        Ok(Some(what)) => Err(BadLog::Structure(what)),
        Err(error) => Err(ledger.fail(error).into()),
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
        let said: String = database.query_row(&format!("PRAGMA integrity_check({table})"), [], |row| row.get(0))?;
        if said != "ok" {
            return Ok(Some(format!("an index of table {table}: {said}")));
        }
    }
    Ok(None)
}

/// What there is, `trigger entries_stay`, and how it was made, whatever the white space.
fn objects(database: &Connection) -> rusqlite::Result<BTreeMap<String, String>> {
    let mut statement = database.prepare("SELECT type || ' ' || name, coalesce(sql, '') FROM sqlite_master")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get::<_, String>(1)?)))?;
    rows.map(|row| row.map(|(name, sql)| (name, sql.split_whitespace().collect::<Vec<_>>().join(" ")))).collect()
}
