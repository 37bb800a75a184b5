//! Reading a ledger where nothing can be written: on a file system that is read-only or full.
//!
//! To read a database with a write-ahead log, SQLite makes that log and an index of it in shared
//! memory, a file too, and says that it cannot open the database where it cannot make them
//! (<https://sqlite.org/wal.html#readonly>). What it says then depends on which of the files there
//! are, and a log that a killed process left has commits that the database itself lacks.

use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::error::LedgerError;
use super::store::{Ledger, Result, database};

impl Ledger {
    /// Opens the ledger at `path`, which must be there, to read it: also where that leaves no
    /// trace. It can be appended to only if [`Ledger::open`] could open it too.
    pub fn open_to_read(path: &Path) -> Result<Self> {
        Self::check_there(path)?;
        let opened = match database(path) {
            Err(error) if cannot_write(&error) => Ok(Self::of(without_writing(path, error)?, path)),
            opened => Self::durable(opened?, path),
        };
        opened?.of_this_schema()
    }
}

/// Whether it may be that SQLite could not make a file, or make one larger.
fn cannot_write(error: &rusqlite::Error) -> bool {
    use ErrorCode::{CannotOpen, DiskFull, ReadOnly, SystemIoFailure};
    let code = error.sqlite_error_code();
    code.is_some_and(|code| [CannotOpen, DiskFull, ReadOnly, SystemIoFailure].contains(&code))
}

/// Opens the database so that SQLite neither makes nor changes a file. Nobody else can write to it
/// either: where another process has it open, the files that could not be made are there.
fn without_writing(path: &Path, error: rusqlite::Error) -> Result<Connection> {
    let beside = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let is_empty = |file: PathBuf| file.metadata().map_or(true, |file| file.len() == 0);
    // A transaction of before there was a write-ahead log, which was not ended.
    if !is_empty(beside("-journal")) {
        return Err(LedgerError::Unusable(format!(
            "`{}-journal` has to be rolled back, and nothing can be written here: copy the home \
             to where there is room, and name the copy with `--home`",
            path.display()
        )));
    }
    let opened = if is_empty(beside("-wal")) {
        still(path)
    } else {
        with_its_log(path)
    };
    opened.map_err(|_| error.into())
}

/// The database alone. Without locks and a log, SQLite must take it for one that does not change.
fn still(path: &Path) -> rusqlite::Result<Connection> {
    let encoded = path.to_string_lossy();
    let encoded = encoded
        .replace('%', "%25")
        .replace('?', "%3f")
        .replace('#', "%23");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_URI;
    let database = Connection::open_with_flags(format!("file:{encoded}?immutable=1"), flags)?;
    database.pragma_query(None, "user_version", |_| Ok(()))?;
    Ok(database)
}

/// The database with a write-ahead log, whose index is in memory of this process.
fn with_its_log(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    // A lock that it does not get on a read-only file would be for writing.
    let database = Connection::open_with_flags_and_vfs(path, flags, "unix-none")?;
    database.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    database.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    database.pragma_query(None, "user_version", |_| Ok(()))?;
    Ok(database)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::domain::digest::GrantId;
    use crate::domain::event::Event;
    use crate::domain::time::Timestamp;

    fn append(ledger: &mut Ledger, grant: &[u8]) {
        let event = Event::EvidenceRefused {
            grant: GrantId::of(grant),
            reason: "r".to_owned(),
            differences: [].into(),
        };
        let at = Timestamp::from_unix(0);
        ledger.append(at, event).expect("appended");
    }

    fn denied() -> rusqlite::Error {
        rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(14), None)
    }

    fn size(path: &Path) -> u64 {
        let database = without_writing(path, denied()).expect("opened");
        Ledger::of(database, path).size().expect("a size")
    }

    /// A killed process leaves commits in the log alone: they are read, and it stays as it is.
    #[test]
    fn what_is_in_the_log_alone_is_read_and_nothing_is_written() {
        let (folder, mut ledger) = Ledger::example();
        append(&mut ledger, b"1");
        drop(ledger);
        let path = folder.path().join("ledger.sqlite");
        assert_eq!(size(&path), 1);
        let mut ledger = Ledger::open(&path).expect("opened");
        append(&mut ledger, b"2");
        // As it is on the disk now.
        let copy = folder.path().join("a copy? 100%#");
        fs::create_dir(&copy).expect("a folder");
        for name in ["ledger.sqlite", "ledger.sqlite-wal"] {
            let to = copy.join(name);
            fs::copy(folder.path().join(name), &to).expect("copied");
            fs::set_permissions(to, fs::Permissions::from_mode(0o400)).expect("changed");
        }
        drop(ledger);
        let path = copy.join("ledger.sqlite");
        let log = || fs::read(copy.join("ledger.sqlite-wal")).expect("the log");
        let before = log();
        assert_eq!(size(&path), 2);
        assert_eq!(log(), before);
        assert_eq!(fs::read_dir(&copy).expect("a folder").count(), 2);
        fs::remove_file(copy.join("ledger.sqlite-wal")).expect("removed");
        assert_eq!(size(&path), 1, "it was in the log alone");
    }

    #[test]
    fn what_must_be_rolled_back_is_not_read() {
        let (folder, ledger) = Ledger::example();
        drop(ledger);
        let path = folder.path().join("ledger.sqlite");
        fs::write(folder.path().join("ledger.sqlite-journal"), b"hot").expect("written");
        let error = without_writing(&path, denied()).expect_err("not read");
        assert!(error.to_string().contains("copy the home"), "{error}");
    }
}
