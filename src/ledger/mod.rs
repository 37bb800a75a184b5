//! H's audit log and the journal of signing runs, in one SQLite file that is durable at each step.
//!
//! Entries are appended and never changed: each is a leaf of a Merkle tree, whose hashes stand
//! beside it. What a step must find again at once (whether a grant was issued here, which build
//! closed it, what its intent says, which signatures came back) stands in tables beside the
//! entries, written in the same transaction. This module knows what events say, and nothing of how
//! they came about.
//!
//! | file | what it has |
//! |---|---|
//! | `schema` | the tables, and the check of them |
//! | `append`, `tree` | what an event writes: its entry, the hashes of it, and rows |
//! | `entries`, `grants`, `signatures` | what is read again: entries, where a grant stands, the signatures that came back |
//! | `verify`, `pass` | the check of the whole |
//! | `export`, `exported` | the log as files, and the log from files |

mod append;
mod entries;
mod error;
mod export;
mod exported;
mod grants;
mod pass;
mod schema;
mod signatures;
mod tree;
mod verify;

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use crate::domain::event::Event;
use crate::domain::time::Timestamp;
use crate::files::{self, FileError, FileFault};
use crate::tlog::note::VerifierKey;

pub use error::{BadLog, LedgerError};
pub use export::{ExportError, Exported};
pub use exported::ExportedLog;
pub use grants::{Accepted, GrantRecord};
use schema::SCHEMA;

/// The ledger of one home, open.
#[derive(Debug)]
pub struct Ledger {
    database: Connection,
    path: PathBuf,
    /// Whether the names of its files are on the disk.
    named: bool,
}

type Result<T, E = LedgerError> = std::result::Result<T, E>;

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
        ledger.prepare()?;
        Ok(ledger)
    }

    /// Opens the ledger at `path`, which must be there.
    pub fn open(path: &Path) -> Result<Self> {
        if !path.is_file() {
            return Err(FileError::new(path, FileFault::Missing).into());
        }
        let ledger = Self::connect(path)?;
        match ledger.schema()? {
            SCHEMA => Ok(ledger),
            other => Err(LedgerError::Schema(other)),
        }
    }

    fn connect(path: &Path) -> Result<Self> {
        let database = Connection::open_with_flags(
            path,
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )?;
        database.busy_timeout(Duration::from_secs(10))?;
        database.pragma_update(None, "journal_mode", "WAL")?;
        // What that commits it commits after its answer, and tells nobody when it fails: SQLite
        // then stays with the mode that there was, as it finds out when it reads. There, a
        // commit ends with the removal of a file, and a power cut that brings the file back
        // takes the commit back.
        database.pragma_query(None, "user_version", |_| Ok(()))?;
        let mode =
            database.pragma_query_value(None, "journal_mode", |row| row.get::<_, String>(0))?;
        if mode != "wal" {
            return Err(LedgerError::Unusable(format!(
                "SQLite stays with journal mode `{mode}`, and a commit must be in a write-ahead log"
            )));
        }
        // A commit returns when it is on the disk: an intent must outlive a power cut.
        database.pragma_update(None, "synchronous", "FULL")?;
        Ok(Self {
            database,
            path: path.to_owned(),
            named: false,
        })
    }

    /// Begins the log, unless that was done: its first entry says under which key.
    pub fn begin(&mut self, at: Timestamp, key: &VerifierKey) -> Result<()> {
        match self.size()? {
            0 => {
                let event = Event::LogCreated {
                    origin: key.name().to_owned(),
                    key: key.to_string(),
                };
                self.append(at, event).map(|_| ())
            }
            _ => Ok(()),
        }
    }

    /// Reads one state of the database, whatever other processes append meanwhile.
    fn in_one_state<T, E: From<LedgerError>>(
        &self,
        read: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let _state = self
            .database
            .unchecked_transaction()
            .map_err(LedgerError::from)?;
        read()
    }

    /// Durable when it returns.
    fn transact<T>(&mut self, work: impl FnOnce(&Transaction<'_>) -> Result<T>) -> Result<T> {
        self.settle()?;
        let transaction = self
            .database
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let value = work(&transaction)?;
        transaction.commit()?;
        Ok(value)
    }

    /// Brings the names of its files to the disk. They are there since it was opened, and stay
    /// until it is closed. SQLite does the same when it commits, but goes on when that fails
    /// (`unixSync` in its `os_unix.c`): with the name of the write-ahead log, a power cut would
    /// take what was committed.
    fn settle(&mut self) -> Result<()> {
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

#[cfg(test)]
impl Ledger {
    /// An empty one, in a folder of its own.
    fn example() -> (tempfile::TempDir, Self) {
        let folder = tempfile::tempdir().expect("a folder");
        let ledger = Self::open_or_create(&folder.path().join("ledger.sqlite")).expect("made");
        (folder, ledger)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    use crate::domain::digest::{GrantId, Sha256};

    fn time() -> Timestamp {
        Timestamp::from_unix(0)
    }

    /// A commit of such a database is undone by a power cut, or always.
    #[test]
    fn a_database_without_a_write_ahead_log_is_no_ledger() {
        let error = Ledger::connect(Path::new(":memory:")).expect_err("not on the disk");
        assert!(
            error.to_string().contains("journal mode `memory`"),
            "{error}"
        );
    }

    #[test]
    fn what_was_written_is_there_after_it_was_closed() {
        let temp = tempfile::tempdir().expect("a folder");
        let path = temp.path().join("ledger.sqlite");
        let grant = GrantId::of(b"g");
        let mut ledger = Ledger::open_or_create(&path).expect("made");
        assert_eq!(
            fs::metadata(&path).expect("there").permissions().mode() & 0o777,
            0o600
        );
        assert!(!ledger.issued(grant).expect("asked"));
        assert_eq!(
            ledger
                .append(time(), Event::example_grant(grant))
                .expect("issued"),
            0
        );
        assert_eq!(ledger.accepted(grant).expect("asked"), None);
        assert_eq!(
            ledger
                .append(time(), Event::example_acceptance(grant))
                .expect("accepted"),
            1
        );
        drop(ledger);

        let mut ledger = Ledger::open(&path).expect("opened");
        assert!(ledger.issued(grant).expect("asked"));
        let accepted = Accepted {
            at: time(),
            artifacts: Sha256::of(b"m"),
            builders: [].into(),
        };
        assert_eq!(ledger.accepted(grant).expect("asked"), Some(accepted));
        let mut kinds = Vec::new();
        ledger
            .each::<LedgerError>(|entry| {
                kinds.push(entry.event.kind());
                Ok(())
            })
            .expect("listed");
        assert_eq!(kinds, ["grant-issued", "evidence-accepted"]);
        let history = ledger.history(grant).expect("asked");
        assert_eq!(
            history
                .iter()
                .map(|entry| entry.event.kind())
                .collect::<Vec<_>>(),
            kinds
        );
        let revoked = Event::GrantRevoked {
            grant,
            reason: None,
        };
        assert_eq!(ledger.append(time(), revoked).expect("revoked"), 2);
        let project = "foo".parse().expect("a name");
        let record = GrantRecord {
            grant,
            issued: 0,
            accepted: Some(1),
            intent: None,
            signed: None,
            released: None,
            pushed: None,
            revoked: Some(2),
        };
        assert_eq!(
            ledger.grants_of(&project).expect("asked"),
            std::slice::from_ref(&record)
        );
        assert_eq!(
            ledger.grants().expect("asked"),
            std::slice::from_ref(&record)
        );
        assert_eq!(
            ledger
                .grants_of(&"bar".parse().expect("a name"))
                .expect("asked"),
            []
        );
    }

    /// What this program does not know it neither reads nor changes.
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
                let said = opened.expect_err("refused").to_string();
                assert_eq!(
                    said,
                    format!("the ledger has schema {other}; this program knows schema {SCHEMA}")
                );
            }
        }
    }
}
