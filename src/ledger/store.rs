//! The database of a ledger: opening it, and transactions that are durable when they end.

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use super::error::LedgerError;
use super::schema::{self, SCHEMA};
use crate::files::{self, FileError, FileFault};

/// The ledger of one home, open.
#[derive(Debug)]
pub struct Ledger {
    pub(super) database: Connection,
    pub(super) path: PathBuf,
    /// Whether the names of its files are on the disk.
    named: bool,
}

pub(super) type Result<T, E = LedgerError> = std::result::Result<T, E>;

impl Ledger {
    /// Opens the ledger at `path`, making an empty one where none is.
    pub fn open_or_create(path: &Path) -> Result<Self> {
        // SQLite gives its other files the permissions of this one.
        match fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
        {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(FileError::io(path)(error).into()),
        }
        let ledger = Self::connect(path)?;
        match schema::version(&ledger.database)? {
            SCHEMA => {}
            0 => schema::create(&ledger.database)?,
            other => return Err(LedgerError::Schema(other)),
        }
        Ok(ledger)
    }

    /// Opens the ledger at `path`, which must be there.
    pub fn open(path: &Path) -> Result<Self> {
        Self::check_there(path)?;
        Self::connect(path)?.of_this_schema()
    }

    pub(super) fn check_there(path: &Path) -> Result<()> {
        if path.is_file() {
            return Ok(());
        }
        Err(FileError::new(path, FileFault::Missing).into())
    }

    pub(super) fn of_this_schema(self) -> Result<Self> {
        match schema::version(&self.database)? {
            SCHEMA => Ok(self),
            0 => Err(LedgerError::Changed(format!(
                "the ledger `{}` is empty, or was not made by countersign",
                self.path.display()
            ))),
            other => Err(LedgerError::Schema(other)),
        }
    }

    fn connect(path: &Path) -> Result<Self> {
        Self::durable(database(path)?, path)
    }

    /// A database whose commits are on the disk when they return: an intent must outlive a power
    /// cut.
    pub(super) fn durable(database: Connection, path: &Path) -> Result<Self> {
        let mode =
            database.pragma_query_value(None, "journal_mode", |row| row.get::<_, String>(0))?;
        if mode != "wal" {
            return Err(LedgerError::Unusable(format!(
                "SQLite stays with journal mode `{mode}`, and a commit must be in a write-ahead log"
            )));
        }
        database.pragma_update(None, "synchronous", "FULL")?;
        Ok(Self::of(database, path))
    }

    pub(super) fn of(database: Connection, path: &Path) -> Self {
        Self {
            database,
            path: path.to_owned(),
            named: false,
        }
    }

    /// Reads one state of the database, whatever other processes append meanwhile.
    pub(super) fn in_one_state<T, E: From<LedgerError>>(
        &self,
        read: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let _state = match self.database.is_autocommit() {
            true => Some(self.database.unchecked_transaction()),
            // It is read in a transaction already.
            false => None,
        }
        .transpose()
        .map_err(LedgerError::from)?;
        read()
    }

    /// Runs `work` in one transaction, durable when this returns. No other process appends
    /// meanwhile.
    pub(super) fn transact<T, E: From<LedgerError>>(
        &mut self,
        work: impl FnOnce(&Self) -> Result<T, E>,
    ) -> Result<T, E> {
        self.flush_names()?;
        let immediate = TransactionBehavior::Immediate;
        let transaction = Transaction::new_unchecked(&self.database, immediate);
        let transaction = transaction.map_err(LedgerError::from)?;
        let value = work(self)?;
        transaction.commit().map_err(LedgerError::from)?;
        Ok(value)
    }

    /// Flushes the names of its files to the disk. They exist from opening to closing. SQLite does
    /// the same when it commits, but ignores a failure (`unixSync` in its `os_unix.c`): a power cut
    /// could then remove the write-ahead log, and with it what was committed.
    fn flush_names(&mut self) -> Result<()> {
        if !self.named {
            let folder =
                files::Folder::open(files::parent(&self.path)).and_then(|folder| folder.sync());
            folder.map_err(|error| {
                LedgerError::Unusable(format!("it may be gone after a power cut: {error}"))
            })?;
            self.named = true;
        }
        Ok(())
    }
}

/// Opens a database with a write-ahead log.
pub(super) fn database(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let database = Connection::open_with_flags(path, flags)?;
    database.busy_timeout(Duration::from_secs(10))?;
    database.pragma_update(None, "journal_mode", "WAL")?;
    // SQLite switches to WAL only after answering this pragma, and does not report a failure: it
    // then stays with the mode that there was, as it finds out when it reads. In that mode a commit
    // ends with the removal of a file, and a power cut that restores the file undoes the commit.
    database.pragma_query(None, "user_version", |_| Ok(()))?;
    Ok(database)
}

#[cfg(test)]
impl Ledger {
    /// An empty one in a temporary folder.
    pub(super) fn example() -> (tempfile::TempDir, Self) {
        let folder = tempfile::tempdir().expect("a folder");
        let ledger = Self::open_or_create(&folder.path().join("ledger.sqlite")).expect("made");
        (folder, ledger)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A commit of such a database is undone by a power cut, or always.
    #[test]
    fn a_database_without_a_write_ahead_log_is_no_ledger() {
        let error = Ledger::connect(Path::new(":memory:")).expect_err("not on the disk");
        assert!(
            error.to_string().contains("journal mode `memory`"),
            "{error}"
        );
    }

    /// It lost its content, and is not of another version.
    #[test]
    fn an_empty_file_was_a_ledger() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ledger.sqlite");
        fs::write(&path, b"").expect("written");
        let error = Ledger::open(&path).expect_err("refused");
        assert!(matches!(error, LedgerError::Changed(_)), "{error}");
        assert!(error.to_string().contains("is empty"), "{error}");
    }

    /// It is neither read nor changed.
    #[test]
    fn a_ledger_of_another_schema_is_refused() {
        let (folder, ledger) = Ledger::example();
        let path = folder.path().join("ledger.sqlite");
        for other in [SCHEMA - 1, SCHEMA + 1] {
            ledger
                .database
                .pragma_update(None, "user_version", other)
                .expect("set");
            for opened in [Ledger::open(&path), Ledger::open_or_create(&path)] {
                let error = opened.expect_err("refused").to_string();
                assert_eq!(
                    error,
                    format!("the ledger has schema {other}; this program knows schema {SCHEMA}")
                );
            }
        }
    }
}
