//! H's audit log and the journal of signing runs, in one SQLite file that is durable at each step.
//!
//! Entries are appended and never changed: each is a leaf of a Merkle tree, whose hashes stand beside it. What a step must find again at once (whether a grant was issued here, which
//! build closed it, what its intent says, which signatures came back) stands in tables beside the entries, written in
//! the same transaction. This module knows what events say, and nothing of how they came about.

mod export;
mod exported;
mod pass;
mod schema;
mod tree;
mod verify;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, params};

use crate::domain::digest::{GrantId, Sha256};
use crate::domain::event::{Entry, Event, Intent, RunResult};
use crate::domain::evidence::Scheme;
use crate::domain::name::{BuilderName, ProjectName};
use crate::domain::time::Timestamp;
use crate::files::{self, FileError};
use crate::tlog::note::VerifierKey;
use crate::tlog::tile::LARGEST_ENTRY;
use crate::tlog::tree::{first_hash, leaf_hash};

pub use export::{ExportError, Exported};
pub use exported::ExportedLog;
pub use verify::BadLog;

const SCHEMA: u32 = 5;

/// How much of an intent's entry its artifacts may take, in bytes, before they get entries of their own. What else is in an
/// entry has room in the rest.
const MOST_OF_AN_ENTRY: usize = LARGEST_ENTRY - (16 << 10);
/// The most of a reason that is logged, in bytes.
const LONGEST_REASON: usize = 8 << 10;

/// Space on the disk for one signature and what is logged after it, in bytes.
const RESERVE: usize = 256 << 10;

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

/// The ledger of one home, open.
#[derive(Debug)]
pub struct Ledger {
    database: Connection,
    path: PathBuf,
    /// Whether the names of its files are on the disk.
    named: bool,
}

/// The build that closed a grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// When it was accepted.
    pub at: Timestamp,
    /// Which build it is: the digest of its list of artifacts.
    pub artifacts: Sha256,
    /// Whose it is, with the digest of each builder's evidence.
    pub builders: BTreeMap<BuilderName, Sha256>,
}

/// Where a grant stands: the entries that say so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantRecord {
    /// The grant.
    pub grant: GrantId,
    /// When it was issued.
    pub issued: u64,
    /// When a build was accepted, which closed it.
    pub accepted: Option<u64>,
    /// When its release was to be signed.
    pub intent: Option<u64>,
    /// When its release was signed, every file.
    pub signed: Option<u64>,
    /// When its release appeared.
    pub released: Option<u64>,
    /// When its release appeared in the location's inbox.
    pub pushed: Option<u64>,
    /// When it was taken back.
    pub revoked: Option<u64>,
}

impl GrantRecord {
    /// Whether the entries about the grant say the same.
    fn is_told_by(&self, history: &[Entry]) -> bool {
        let last = |is: fn(&Event) -> bool| history.iter().rfind(|entry| is(&entry.event)).map(|entry| entry.index);
        last(|event| matches!(event, Event::GrantIssued { .. })) == Some(self.issued)
            && last(|event| matches!(event, Event::EvidenceAccepted { .. })) == self.accepted
            && last(|event| matches!(event, Event::Intent(_))) == self.intent
            && last(|event| matches!(event, Event::Outcome { result: RunResult::Signed { .. }, .. })) == self.signed
            && last(|event| matches!(event, Event::Released { .. })) == self.released
            && last(|event| matches!(event, Event::Pushed { .. })) == self.pushed
            && last(|event| matches!(event, Event::GrantRevoked { .. })) == self.revoked
    }
}

/// The row of a grant, as the table has it.
struct Row {
    grant: String,
    project: String,
    issued: u64,
    /// Of the entries after that one: accepted, intent, signed, released, pushed, revoked.
    later: [Option<u64>; 6],
}

impl Row {
    fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        let later = [row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?, row.get(7)?, row.get(8)?];
        Ok(Self { grant: row.get(0)?, project: row.get(1)?, issued: row.get(2)?, later })
    }

    fn record(&self, grant: GrantId) -> GrantRecord {
        let (issued, [accepted, intent, signed, released, pushed, revoked]) = (self.issued, self.later);
        GrantRecord { grant, issued, accepted, intent, signed, released, pushed, revoked }
    }
}

/// What is wrong with a ledger.
#[derive(Debug, thiserror::Error)]
#[error("ledger `{}` {fault}", path.display())]
pub struct LedgerError {
    /// Its file.
    pub path: PathBuf,
    /// What is wrong.
    pub fault: LedgerFault,
}

/// What is wrong with a ledger.
#[derive(Debug, thiserror::Error)]
pub enum LedgerFault {
    /// Not there.
    #[error("does not exist")]
    Missing,
    /// Made by another version.
    #[error("has schema {0}; this program knows schema {SCHEMA}")]
    Schema(u32),
    /// An entry that cannot be read.
    #[error("has an entry {index} that cannot be read: {reason}")]
    Entry {
        /// Its index.
        index: u64,
        /// Why not.
        reason: String,
    },
    /// An entry that no bundle of entries could hold.
    #[error("takes entries of {LARGEST_ENTRY} bytes, not one of {bytes}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Somebody else wrote to it.
    #[error(
        "has other entries than countersign wrote: nothing is added to it, and no checkpoint of it is signed; see `countersign log verify`"
    )]
    NotOurs,
    /// Its tree has a gap.
    #[error("has lost hash {0} of its tree; see `countersign log verify`")]
    NoHash(u64),
    /// The row of a grant was changed.
    #[error("does not say of grant {} what its entries say; see `countersign log verify`", .0.short())]
    Row(GrantId),
    /// It was asked for what it does not know.
    #[error("does not know grant {0}")]
    UnknownGrant(GrantId),
    /// A grant under which nothing may be done any more.
    #[error("says that grant {} was revoked", .0.short())]
    Revoked(GrantId),
    /// The database or its disk said no.
    #[error("cannot be used: {0}")]
    Database(#[from] rusqlite::Error),
    /// No space to keep what the token would answer.
    #[error("has no room for a signature: {0}")]
    Reserve(FileError),
    /// The names of its files are not on the disk.
    #[error("may be gone after a power cut: {0}")]
    Unsettled(FileError),
    /// The operating system said no.
    #[error("cannot be made: {0}")]
    Io(#[from] std::io::Error),
}

type Result<T, E = LedgerError> = std::result::Result<T, E>;

impl Ledger {
    /// Opens the ledger at `path`, making an empty one where none is.
    pub fn open_or_create(path: &Path) -> Result<Self> {
        let fail = |fault| LedgerError { path: path.to_owned(), fault };
        // SQLite gives its other files the permissions of this one.
        match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(fail(error.into())),
        }
        let ledger = Self::connect(path)?;
        ledger.prepare().map_err(fail)?;
        Ok(ledger)
    }

    /// Opens the ledger at `path`, which must be there.
    pub fn open(path: &Path) -> Result<Self> {
        let fail = |fault| LedgerError { path: path.to_owned(), fault };
        if !path.is_file() {
            return Err(fail(LedgerFault::Missing));
        }
        let ledger = Self::connect(path)?;
        match ledger.schema().map_err(fail)? {
            SCHEMA => Ok(ledger),
            other => Err(fail(LedgerFault::Schema(other))),
        }
    }

    fn connect(path: &Path) -> Result<Self> {
        let connect = || {
            let database =
                Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
            database.busy_timeout(Duration::from_secs(10))?;
            database.pragma_update(None, "journal_mode", "WAL")?;
            // A commit returns when it is on the disk: an intent must outlive a power cut.
            database.pragma_update(None, "synchronous", "FULL")?;
            Ok(database)
        };
        let database =
            connect().map_err(|error: rusqlite::Error| LedgerError { path: path.to_owned(), fault: error.into() })?;
        Ok(Self { database, path: path.to_owned(), named: false })
    }

    fn schema(&self) -> Result<u32, LedgerFault> {
        Ok(self.database.query_row("PRAGMA user_version", [], |row| row.get(0))?)
    }

    fn prepare(&self) -> Result<(), LedgerFault> {
        match self.schema()? {
            SCHEMA => Ok(()),
            0 => {
                Ok(self.database.execute_batch(&format!("BEGIN; {TABLES} PRAGMA user_version = {SCHEMA}; COMMIT;"))?)
            }
            other => Err(LedgerFault::Schema(other)),
        }
    }

    /// Begins the log, unless that was done: its first entry says under which key.
    pub fn begin(&mut self, at: Timestamp, key: &VerifierKey) -> Result<()> {
        match self.size()? {
            0 => {
                let event = Event::LogCreated { origin: key.name().to_owned(), key: key.to_string() };
                self.append(at, event).map(|_| ())
            }
            _ => Ok(()),
        }
    }

    /// Appends an event that belongs to no grant, or changes nothing about one. Durable when it returns.
    pub fn append(&mut self, at: Timestamp, event: Event) -> Result<u64> {
        self.transact(|transaction| append(transaction, at, event))
    }

    /// Appends that a grant was issued, and knows it from now on.
    pub fn issue(&mut self, at: Timestamp, grant: GrantId, project: &ProjectName, event: Event) -> Result<u64> {
        self.transact(|transaction| {
            let index = append(transaction, at, event)?;
            let values = params![grant.hex(), project.as_str(), index];
            transaction.execute("INSERT INTO grants (grant_id, project, issued) VALUES (?1, ?2, ?3)", values)?;
            Ok(index)
        })
    }

    /// Whether the grant was issued here.
    pub fn issued(&self, grant: GrantId) -> Result<bool> {
        Ok(self.grant(grant)?.is_some())
    }

    /// Appends that a build was accepted: this closes the grant for every other.
    pub fn accept(
        &mut self,
        at: Timestamp,
        grant: GrantId,
        scheme: Scheme,
        builders: BTreeMap<BuilderName, Sha256>,
        artifacts: Sha256,
    ) -> Result<u64> {
        self.transact(|transaction| {
            let index = append(transaction, at, Event::EvidenceAccepted { grant, scheme, builders, artifacts })?;
            set_once(transaction, grant, "accepted", index)?;
            Ok(index)
        })
    }

    /// The build that closed the grant, if any did.
    pub fn accepted(&self, grant: GrantId) -> Result<Option<Accepted>> {
        let Some(index) = self.grant(grant)?.and_then(|record| record.accepted) else { return Ok(None) };
        match self.known(index)? {
            Entry { at, event: Event::EvidenceAccepted { builders, artifacts, .. }, .. } => {
                Ok(Some(Accepted { at, artifacts, builders }))
            }
            other => Err(self.misplaced(&other)),
        }
    }

    /// Appends that a grant was taken back.
    pub fn revoke(&mut self, at: Timestamp, grant: GrantId, reason: Option<String>) -> Result<u64> {
        self.transact(|transaction| {
            let index = append(transaction, at, Event::GrantRevoked { grant, reason })?;
            set_once(transaction, grant, "revoked", index)?;
            Ok(index)
        })
    }

    /// Where the grant stands; nothing if it was not issued here.
    pub fn grant(&self, grant: GrantId) -> Result<Option<GrantRecord>> {
        self.in_one_state(|| match self.read_records("grant_id = ?1", &grant.hex())?.pop() {
            None if !self.history(grant)?.is_empty() => Err(self.with(LedgerFault::Row(grant))),
            record => Ok(record),
        })
    }

    /// Where each grant of a project stands, first to last.
    pub fn grants_of(&self, project: &ProjectName) -> Result<Vec<GrantRecord>> {
        self.records("project = ?1", project.as_str())
    }

    /// Where each grant stands whose release has appeared and was not pushed, first to last.
    pub fn not_pushed(&self) -> Result<Vec<GrantRecord>> {
        self.records("?1 = '' AND released IS NOT NULL AND pushed IS NULL", "")
    }

    /// Where each grant stands whose release was pushed, first to last.
    pub fn pushed(&self) -> Result<Vec<GrantRecord>> {
        self.records("?1 = '' AND pushed IS NOT NULL", "")
    }

    /// Where each grant stands, first to last.
    pub fn grants(&self) -> Result<Vec<GrantRecord>> {
        self.records("?1 = ''", "")
    }

    /// Where each grant stands of which a build was accepted, its release has not appeared, and that was not taken back.
    pub fn unfinished(&self) -> Result<Vec<GrantRecord>> {
        self.records("?1 = '' AND accepted IS NOT NULL AND released IS NULL AND revoked IS NULL", "")
    }

    /// The rows that `which` selects, first issued to last. Each must say what the entries about its grant say.
    fn records(&self, which: &'static str, value: &str) -> Result<Vec<GrantRecord>> {
        self.in_one_state(|| self.read_records(which, value))
    }

    fn read_records(&self, which: &'static str, value: &str) -> Result<Vec<GrantRecord>> {
        let columns = "grant_id, project, issued, accepted, intent, signed, released, pushed, revoked";
        let query = format!("SELECT {columns} FROM grants WHERE {which} ORDER BY issued");
        let read = || {
            let mut statement = self.database.prepare(&query)?;
            let rows = statement.query_map([value], Row::read)?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        let rows = read().map_err(|error| self.fail(error))?;
        rows.into_iter().map(|row| self.record(row)).collect()
    }

    fn record(&self, row: Row) -> Result<GrantRecord> {
        let entry = self.known(row.issued)?;
        let Event::GrantIssued { grant, project, .. } = &entry.event else { return Err(self.misplaced(&entry)) };
        let record = row.record(*grant);
        let is_told =
            row.grant == grant.hex() && row.project == project.as_str() && record.is_told_by(&self.history(*grant)?);
        if is_told { Ok(record) } else { Err(self.with(LedgerFault::Row(*grant))) }
    }

    /// Everything that was logged about a grant, first to last.
    pub fn history(&self, grant: GrantId) -> Result<Vec<Entry>> {
        let read = || {
            let query = "SELECT idx FROM grant_entries WHERE grant_id = ?1 ORDER BY idx";
            let mut statement = self.database.prepare_cached(query)?;
            let rows = statement.query_map([grant.hex()], |row| row.get(0))?;
            rows.collect::<rusqlite::Result<Vec<u64>>>()
        };
        let indices = read().map_err(|error| self.fail(error))?;
        indices.into_iter().map(|index| self.known(index)).collect()
    }

    /// Appends what the token is about to be asked for. Durable when it returns: only then may the token be used.
    pub fn intend(&mut self, at: Timestamp, mut intent: Intent) -> Result<u64> {
        self.transact(|transaction| {
            let grant = intent.grant;
            set_apart(transaction, at, &mut intent)?;
            let index = append(transaction, at, Event::Intent(intent))?;
            set_once(transaction, grant, "intent", index)?;
            Ok(index)
        })
    }

    /// The intent of the grant's signing run, if there was one, with its index.
    pub fn intent(&self, grant: GrantId) -> Result<Option<(u64, Intent)>> {
        let Some(index) = self.grant(grant)?.and_then(|record| record.intent) else { return Ok(None) };
        self.whole_intent(index).map(|intent| Some((index, intent)))
    }

    /// The intent at `index`, with the artifacts that stand in entries before it.
    fn whole_intent(&self, index: u64) -> Result<Intent> {
        let mut intent = match self.known(index)? {
            Entry { event: Event::Intent(intent), .. } => intent,
            other => return Err(self.misplaced(&other)),
        };
        for before in intent.artifacts_from.map_or(0..0, |first| first..index) {
            match self.known(before)? {
                Entry { event: Event::Artifacts { grant, artifacts }, .. } if grant == intent.grant => {
                    intent.artifacts.extend(artifacts);
                }
                other => return Err(self.misplaced(&other)),
            }
        }
        Ok(intent)
    }

    /// The entries that say that a file with this digest is to be signed, or the intents whose signature it is, first to last.
    pub fn speaking_of(&self, digest: Sha256) -> Result<Vec<u64>> {
        let read = || {
            let query = "SELECT idx FROM digests WHERE digest = ?1 ORDER BY idx";
            let mut statement = self.database.prepare(query)?;
            let rows = statement.query_map([digest.to_string()], |row| row.get(0))?;
            rows.collect::<rusqlite::Result<Vec<u64>>>()
        };
        read().map_err(|error| self.fail(error))
    }

    /// Makes sure that a signature can be kept: to be called before the token is asked for one. On a disk that is full
    /// this fails, and not what comes after.
    pub fn reserve(&self) -> Result<()> {
        let path = self.reserve_path();
        if path.metadata().is_ok_and(|status| status.len() == RESERVE as u64) {
            return Ok(());
        }
        files::replace(&path, &vec![0x55; RESERVE], 0o600)
            .map_err(|error| LedgerError { path: self.path.clone(), fault: LedgerFault::Reserve(error) })
    }

    /// Keeps a signature that came back from the token and held; with the space that was reserved, if there is no other.
    pub fn keep_signature(&mut self, intent: u64, file: &str, signature: &str) -> Result<()> {
        let reserve = self.reserve_path();
        let mut keep = || {
            self.transact(|transaction| {
                let values = params![intent, file, signature];
                transaction.execute("INSERT INTO signatures (intent, file, signature) VALUES (?1, ?2, ?3)", values)?;
                find_by(transaction, Sha256::of(signature.as_bytes()), intent)
            })
        };
        keep().or_else(|error| {
            fs::remove_file(&reserve).map_err(|_| error)?;
            keep()
        })
    }

    fn reserve_path(&self) -> PathBuf {
        self.path.with_extension("reserve")
    }

    /// The signature kept for a file of the run that `intent` began.
    pub fn signature(&self, intent: u64, file: &str) -> Result<Option<String>> {
        let query = "SELECT signature FROM signatures WHERE intent = ?1 AND file = ?2";
        let found = self.database.query_row(query, params![intent, file], |row| row.get(0)).optional();
        found.map_err(|error| self.fail(error))
    }

    /// How many signatures are kept of the run that `intent` began.
    pub fn signatures(&self, intent: u64) -> Result<u64> {
        let query = "SELECT count(*) FROM signatures WHERE intent = ?1";
        self.database.query_row(query, [intent], |row| row.get(0)).map_err(|error| self.fail(error))
    }

    /// The entry at `index`, if there is one, as it was logged.
    pub fn entry(&self, index: u64) -> Result<Option<Entry>> {
        self.find_text(index)?.map(|text| self.read(index, &text)).transpose()
    }

    /// The bytes of the entry at `index`, which must be there.
    fn text(&self, index: u64) -> Result<String> {
        self.find_text(index)?.ok_or_else(|| self.wrong(index, "it is missing"))
    }

    /// The bytes of the entry at `index`, if there is one. They must be what was logged: whoever reads them acts on them, or
    /// vouches for them.
    fn find_text(&self, index: u64) -> Result<Option<String>> {
        let find = || {
            let mut query = self.database.prepare_cached("SELECT entry FROM entries WHERE idx = ?1")?;
            query.query_row([index], |row| row.get::<_, String>(0)).optional()
        };
        let Some(text) = find().map_err(|error| self.fail(error))? else { return Ok(None) };
        match self.hash(first_hash(index))? == leaf_hash(text.as_bytes()) {
            true => Ok(Some(text)),
            false => Err(self.wrong(index, "it is not what was logged; see `countersign log verify`")),
        }
    }

    fn wrong(&self, index: u64, reason: &str) -> LedgerError {
        self.with(LedgerFault::Entry { index, reason: reason.to_owned() })
    }

    /// Shows each entry to `see`, first to last, until it returns an error. They are read as they are: [`Ledger::verify`] is
    /// there to compare them with the tree.
    pub fn each<E: From<LedgerError>>(&self, mut see: impl FnMut(Entry) -> Result<(), E>) -> Result<(), E> {
        let fail = |error| E::from(self.fail(error));
        let mut statement = self.database.prepare("SELECT idx, entry FROM entries ORDER BY idx").map_err(fail)?;
        let mut rows = statement.query([]).map_err(fail)?;
        while let Some(row) = rows.next().map_err(fail)? {
            let (index, text) = (row.get(0).map_err(fail)?, row.get::<_, String>(1).map_err(fail)?);
            see(self.read(index, &text)?)?;
        }
        Ok(())
    }

    /// Reads one state of the database, whatever other processes append meanwhile.
    fn in_one_state<T, E: From<LedgerError>>(&self, read: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let _state = self.database.unchecked_transaction().map_err(|error| self.fail(error))?;
        read()
    }

    /// Durable when it returns.
    fn transact<T>(&mut self, work: impl FnOnce(&Transaction<'_>) -> Result<T, LedgerFault>) -> Result<T> {
        self.settle()?;
        let path = self.path.clone();
        let run = || {
            let transaction = self.database.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let value = work(&transaction)?;
            transaction.commit()?;
            Ok(value)
        };
        run().map_err(|fault| LedgerError { path, fault })
    }

    /// Brings the names of its files to the disk. They are there since it was opened, and stay until it is closed. SQLite does the
    /// same when it commits, but goes on when that fails (`unixSync` in its `os_unix.c`): with the name of the write-ahead log,
    /// a power cut would take what was committed.
    fn settle(&mut self) -> Result<()> {
        if !self.named {
            let folder = files::Folder::open(files::parent(&self.path)).and_then(|folder| folder.sync());
            folder.map_err(|error| self.with(LedgerFault::Unsettled(error)))?;
            self.named = true;
        }
        Ok(())
    }

    fn known(&self, index: u64) -> Result<Entry> {
        self.text(index).and_then(|text| self.read(index, &text))
    }

    fn read(&self, index: u64, text: &str) -> Result<Entry> {
        Entry::parse(index, text.as_bytes()).map_err(|fault| self.wrong(index, &fault.to_string()))
    }

    fn misplaced(&self, entry: &Entry) -> LedgerError {
        let reason = format!("it is of kind `{}`, which another was expected to be", entry.event.kind());
        LedgerError { path: self.path.clone(), fault: LedgerFault::Entry { index: entry.index, reason } }
    }

    fn fail(&self, error: rusqlite::Error) -> LedgerError {
        self.with(error.into())
    }

    fn with(&self, fault: LedgerFault) -> LedgerError {
        LedgerError { path: self.path.clone(), fault }
    }
}

fn append(transaction: &Transaction<'_>, at: Timestamp, event: Event) -> Result<u64, LedgerFault> {
    let index = transaction.query_row("SELECT coalesce(max(idx) + 1, 0) FROM entries", [], |row| row.get(0))?;
    let entry = Entry { index, at, event: fitting(event) };
    let text = entry.to_text();
    transaction.execute("INSERT INTO entries (idx, entry) VALUES (?1, ?2)", params![index, text])?;
    tree::append(transaction, index, text.as_bytes())?;
    for digest in digests_of(&entry.event) {
        find_by(transaction, digest, index)?;
    }
    if let Some(grant) = entry.event.grant() {
        let values = params![grant.hex(), index];
        transaction.execute("INSERT INTO grant_entries (grant_id, idx) VALUES (?1, ?2)", values)?;
    }
    if let Some(intent) = entry.event.follows() {
        let of_intent = "SELECT grant_id, ?2 FROM grants WHERE intent = ?1";
        let insert = format!("INSERT INTO grant_entries (grant_id, idx) {of_intent}");
        transaction.execute(&insert, params![intent, index])?;
    }
    if let Event::Outcome { intent, result: RunResult::Signed { .. }, .. } = &entry.event {
        transaction.execute("UPDATE grants SET signed = ?1 WHERE intent = ?2", params![index, intent])?;
    }
    if let Event::Released { intent, .. } = &entry.event {
        transaction.execute("UPDATE grants SET released = ?1 WHERE intent = ?2", params![index, intent])?;
    }
    if let Event::Pushed { intent, .. } = &entry.event {
        transaction.execute("UPDATE grants SET pushed = ?1 WHERE intent = ?2", params![index, intent])?;
    }
    Ok(index)
}

/// The digests by which an entry is found again: those of what is to be signed.
fn digests_of(event: &Event) -> BTreeSet<Sha256> {
    match event {
        Event::Intent(intent) => intent.artifacts.values().copied().chain([intent.sums]).collect(),
        Event::Artifacts { artifacts, .. } => artifacts.values().copied().collect(),
        _ => BTreeSet::new(),
    }
}

/// Two artifacts with the same bytes have one digest, and their signatures too.
fn find_by(transaction: &Transaction<'_>, digest: Sha256, index: u64) -> Result<(), LedgerFault> {
    let mut insert = transaction.prepare_cached("INSERT OR IGNORE INTO digests (digest, idx) VALUES (?1, ?2)")?;
    insert.execute(params![digest.to_string(), index])?;
    Ok(())
}

/// What an entry can hold of an event whose size others decide: of a refusal, the beginning of its reason and the first
/// differences.
fn fitting(event: Event) -> Event {
    let Event::EvidenceRefused { grant, mut reason, mut differences } = event else { return event };
    if reason.len() > LONGEST_REASON {
        let end = (0..=LONGEST_REASON).rev().find(|end| reason.is_char_boundary(*end)).unwrap_or(0);
        reason.truncate(end);
        reason.push('…');
    }
    let mut room = MOST_OF_AN_ENTRY / 2;
    differences.retain(|name, builders| {
        let size = json_size(&(name, builders));
        let fits = size <= room;
        room = if fits { room - size } else { 0 };
        fits
    });
    Event::EvidenceRefused { grant, reason, differences }
}

/// Gives the artifacts of an intent entries of their own, if its own cannot hold them.
fn set_apart(transaction: &Transaction<'_>, at: Timestamp, intent: &mut Intent) -> Result<(), LedgerFault> {
    if json_size(&intent.artifacts) <= MOST_OF_AN_ENTRY {
        return Ok(());
    }
    let (mut part, mut size) = (BTreeMap::new(), 0);
    let mut parts = Vec::new();
    for (name, digest) in std::mem::take(&mut intent.artifacts) {
        let more = json_size(&(&name, digest));
        if size + more > MOST_OF_AN_ENTRY {
            parts.push(std::mem::take(&mut part));
            size = 0;
        }
        size += more;
        part.insert(name, digest);
    }
    parts.push(part);
    for artifacts in parts {
        let index = append(transaction, at, Event::Artifacts { grant: intent.grant, artifacts })?;
        intent.artifacts_from.get_or_insert(index);
    }
    Ok(())
}

fn json_size(value: &impl serde::Serialize) -> usize {
    serde_json::to_string(value).expect("names and digests can be written as JSON").len()
}

/// A grant is accepted once and intended once.
fn set_once(
    transaction: &Transaction<'_>,
    grant: GrantId,
    column: &'static str,
    index: u64,
) -> Result<(), LedgerFault> {
    // A grant that was taken back is closed at once, for a process too that looked before.
    let update =
        format!("UPDATE grants SET {column} = ?1 WHERE grant_id = ?2 AND {column} IS NULL AND revoked IS NULL");
    if transaction.execute(&update, params![index, grant.hex()])? == 1 {
        return Ok(());
    }
    let revoked = "SELECT revoked IS NOT NULL FROM grants WHERE grant_id = ?1";
    match transaction.query_row(revoked, [grant.hex()], |row| row.get(0)).optional()? {
        Some(true) => Err(LedgerFault::Revoked(grant)),
        _ => Err(LedgerFault::UnknownGrant(grant)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn time() -> Timestamp {
        "2026-11-22T10:00:00Z".parse().expect("a time")
    }

    fn issue(ledger: &mut Ledger, grant: GrantId) -> u64 {
        ledger.issue(time(), grant, &"foo".parse().expect("a name"), Event::example_grant(grant)).expect("issued")
    }

    #[test]
    fn what_was_written_is_there_after_it_was_closed() {
        let temp = tempfile::tempdir().expect("a folder");
        let path = temp.path().join("ledger.sqlite");
        let (grant, artifacts) = (GrantId::of(b"g"), Sha256::of(b"m"));
        let builders: BTreeMap<BuilderName, Sha256> = [("m1".parse().expect("a name"), Sha256::of(b"e"))].into();
        let mut ledger = Ledger::open_or_create(&path).expect("made");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        assert!(!ledger.issued(grant).expect("asked"));
        assert_eq!(issue(&mut ledger, grant), 0);
        assert_eq!(ledger.accepted(grant).expect("asked"), None);
        let index = ledger.accept(time(), grant, Scheme::OpenPgp, builders.clone(), artifacts).expect("accepted");
        assert_eq!(index, 1);
        drop(ledger);

        let mut ledger = Ledger::open(&path).expect("opened");
        assert!(ledger.issued(grant).expect("asked"));
        let accepted = Accepted { at: time(), artifacts, builders: builders.clone() };
        assert_eq!(ledger.accepted(grant).expect("asked"), Some(accepted));
        let again = ledger.accept(time(), grant, Scheme::OpenPgp, builders, Sha256::of(b"other"));
        assert!(again.is_err(), "a grant closes once");
        ledger.keep_signature(1, "file", "signature").expect("kept");
        assert!(ledger.keep_signature(1, "file", "another").is_err(), "a signature is kept once");
        assert_eq!(ledger.signature(1, "file").expect("asked").as_deref(), Some("signature"));
        assert_eq!((ledger.signatures(1).expect("asked"), ledger.signatures(0).expect("asked")), (1, 0));
        let mut kinds = Vec::new();
        ledger
            .each::<LedgerError>(|entry| {
                kinds.push(entry.event.kind());
                Ok(())
            })
            .expect("listed");
        assert_eq!(kinds, ["grant-issued", "evidence-accepted"]);
        let history = ledger.history(grant).expect("asked");
        assert_eq!(history.iter().map(|entry| entry.event.kind()).collect::<Vec<_>>(), kinds);
        assert_eq!(ledger.revoke(time(), grant, None).expect("revoked"), 2);
        assert!(ledger.revoke(time(), grant, None).is_err(), "a grant is taken back once");
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
        assert_eq!(ledger.grants_of(&project).expect("asked"), std::slice::from_ref(&record));
        assert_eq!(ledger.grants().expect("asked"), std::slice::from_ref(&record));
        assert_eq!(ledger.grants_of(&"bar".parse().expect("a name")).expect("asked"), []);
    }

    /// Whoever takes a grant back does not wait for a run that looked before.
    #[test]
    fn nothing_is_accepted_or_intended_under_a_grant_that_was_taken_back() {
        let temp = tempfile::tempdir().expect("a folder");
        let mut ledger = Ledger::open_or_create(&temp.path().join("ledger.sqlite")).expect("made");
        let grant = GrantId::of(b"g");
        issue(&mut ledger, grant);
        ledger.revoke(time(), grant, None).expect("revoked");
        let accepted = ledger.accept(time(), grant, Scheme::OpenPgp, [].into(), Sha256::of(b"m"));
        assert!(matches!(accepted.map_err(|error| error.fault), Err(LedgerFault::Revoked(id)) if id == grant));
        let intended = ledger.intend(time(), Intent::example());
        assert!(matches!(intended.map_err(|error| error.fault), Err(LedgerFault::Revoked(id)) if id == grant));
        assert_eq!(ledger.size().expect("asked"), 2, "nothing of it is logged");
    }

    /// By nothing that does not mean to: whoever drops the triggers first is found by `log verify`.
    #[test]
    fn entries_and_hashes_are_neither_changed_nor_removed_nor_replaced() {
        let temp = tempfile::tempdir().expect("a folder");
        let path = temp.path().join("ledger.sqlite");
        let mut ledger = Ledger::open_or_create(&path).expect("made");
        let key = crate::tlog::note::SignerKey::generate("example.org/log").expect("a key").public();
        ledger.begin(time(), &key).expect("begun");
        // As any other program that opens the file.
        let other = Connection::open(&path).expect("opened");
        for (change, why) in [
            ("UPDATE entries SET entry = ''", "entries are never changed"),
            ("DELETE FROM entries", "entries are never removed"),
            ("INSERT OR REPLACE INTO entries SELECT idx, '' FROM entries", "entries are never replaced"),
            ("UPDATE hashes SET hash = zeroblob(32)", "hashes are never changed"),
            ("DELETE FROM hashes", "hashes are never removed"),
            ("INSERT OR REPLACE INTO hashes SELECT number, zeroblob(32) FROM hashes", "hashes are never replaced"),
        ] {
            let said = other.execute(change, []).expect_err(change).to_string();
            assert_eq!(said, why, "{change}");
        }
        ledger.verify(&key, &[]).expect("as it was logged");
    }

    #[test]
    fn an_intent_of_more_than_an_entry_holds_is_found_whole() {
        let temp = tempfile::tempdir().expect("a folder");
        let mut ledger = Ledger::open_or_create(&temp.path().join("ledger.sqlite")).expect("made");
        let key = crate::tlog::note::SignerKey::generate("example.org/log").expect("a key").public();
        ledger.begin(time(), &key).expect("begun");
        ledger.begin(time(), &key).expect("begun already");
        let grant = GrantId::of(b"g");
        issue(&mut ledger, grant);
        let name = |n: u32| format!("{n:0>200}").parse().expect("a name");
        let artifacts = (0..10_000).map(|n| (name(n), Sha256::of(&n.to_be_bytes()))).collect();
        let intent = Intent { artifacts, ..Intent::example() };
        let index = ledger.intend(time(), intent.clone()).expect("intended");
        assert!((50..70).contains(&index), "{index}");
        let (found, whole) = ledger.intent(grant).expect("asked").expect("there");
        assert_eq!((found, &whole.artifacts, whole.artifacts_from), (index, &intent.artifacts, Some(2)));
        let [of_one] = ledger.speaking_of(Sha256::of(&7_000_u32.to_be_bytes())).expect("asked")[..] else {
            panic!("one entry speaks of each")
        };
        assert!((2..index).contains(&of_one));
        assert_eq!(ledger.speaking_of(intent.sums).expect("asked"), [index]);
        ledger.verify(&key, &[]).expect("as it was logged");
        for index in 0..=index {
            assert!(ledger.text(index).expect("an entry").len() <= LARGEST_ENTRY);
        }
    }

    #[test]
    fn a_refusal_of_any_length_fits_an_entry() {
        let temp = tempfile::tempdir().expect("a folder");
        let mut ledger = Ledger::open_or_create(&temp.path().join("ledger.sqlite")).expect("made");
        let name = |n: u32| format!("{n:0>200}").parse().expect("a name");
        let builders: BTreeMap<BuilderName, _> = [("m1".parse().expect("a name"), Some(Sha256::of(b"e")))].into();
        let differences = (0..10_000).map(|n| (name(n), builders.clone())).collect();
        let event = Event::EvidenceRefused { grant: GrantId::of(b"g"), reason: "\u{1}é".repeat(50_000), differences };
        let index = ledger.append(time(), event).expect("appended");
        match ledger.known(index).expect("there").event {
            Event::EvidenceRefused { reason, differences, .. } => {
                assert!(reason.ends_with('…') && differences.contains_key(&name(0)) && differences.len() > 50);
            }
            other => panic!("{other:?}"),
        }
        let event = Event::GrantRevoked { grant: GrantId::of(b"g"), reason: Some("x".repeat(LARGEST_ENTRY)) };
        assert!(matches!(ledger.append(time(), event).map_err(|error| error.fault), Err(LedgerFault::TooLarge { .. })));
        assert_eq!(ledger.size().expect("asked"), 1, "nothing of it is left");
    }
}
