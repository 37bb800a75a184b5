//! What is wrong with a ledger, or with a log.

use rusqlite::ffi::SQLITE_ERROR;

use super::schema::SCHEMA;
use crate::domain::digest::GrantId;
use crate::domain::time::Timestamp;
use crate::files::FileError;

/// Why a ledger cannot be read or appended to.
#[expect(missing_docs, reason = "each message says what it means")]
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum LedgerError {
    #[error("{0}")]
    #[diagnostic(
        code(refused::ledger_changed),
        help(
            "sign nothing more and keep the ledger as it is: `countersign log verify` shows what \
             was changed; find out who changed it"
        )
    )]
    Changed(String),
    #[error("grant {} was revoked", .0.short())]
    #[diagnostic(code(refused::grant_revoked))]
    Revoked(GrantId),
    #[error("{0}")]
    #[diagnostic(
        code(refused::release_name_taken),
        help(
            "name the build otherwise; if the other grant is the mistake and nothing was signed \
             under it, revoke it: `countersign grants revoke GRANT`"
        )
    )]
    Taken(String),
    #[error("the clock of this host shows {now}, and the newest entry of the log has {newest}")]
    #[diagnostic(
        code(trouble::clock_behind_log),
        help(
            "set the clock; if it is right, and had run ahead before, say so: `countersign log \
             clock --acknowledge REASON`"
        )
    )]
    ClockBehind { now: Timestamp, newest: Timestamp },
    #[error("the ledger has schema {0}; this program knows schema {SCHEMA}")]
    #[diagnostic(
        code(usage::ledger_schema),
        help("use the version of countersign that made it")
    )]
    Schema(u32),
    #[error("the ledger cannot be used: {0}")]
    #[diagnostic(
        code(trouble::ledger_unusable),
        help(
            "check the disk, and that it is not full; then run the same command again; never \
             delete the ledger"
        )
    )]
    Unusable(String),
}

impl From<rusqlite::Error> for LedgerError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::Error::{
            FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType, SqlInputError,
            SqliteFailure,
        };
        let is_changed = match &error {
            // The statements are fixed: a table or a column that they name is not there.
            SqlInputError { .. } => true,
            SqliteFailure(failure, _) => failure.extended_code == SQLITE_ERROR,
            InvalidColumnType(..) | IntegralValueOutOfRange(..) | FromSqlConversionFailure(..) => {
                true
            }
            _ => false,
        };
        let why = match error {
            // Without the statement.
            SqlInputError { msg, .. } => msg,
            error => error.to_string(),
        };
        if is_changed {
            Self::Changed(format!("the ledger is not as countersign made it: {why}"))
        } else {
            Self::Unusable(why)
        }
    }
}

impl From<FileError> for LedgerError {
    fn from(error: FileError) -> Self {
        Self::Unusable(error.to_string())
    }
}

/// Why a log is not the one that was written.
#[expect(missing_docs, reason = "each message says what it means")]
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum BadLog {
    #[error("{0}")]
    #[diagnostic(
        code(refused::log_changed),
        help("sign nothing more; keep the ledger as it is, and find out who changed it")
    )]
    Changed(String),
    #[error("entry {index} cannot be read: {reason}")]
    #[diagnostic(
        code(refused::log_unreadable),
        help("sign nothing more; keep the ledger as it is, and find out who changed it")
    )]
    Unreadable { index: u64, reason: String },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Ledger(#[from] LedgerError),
}

impl BadLog {
    pub(super) fn altered(index: u64) -> Self {
        Self::Changed(format!(
            "entry {index} was altered: its hash does not match the tree"
        ))
    }

    pub(super) fn missing(index: u64) -> Self {
        Self::Changed(format!("entry {index} is missing"))
    }

    pub(super) fn table(index: u64, table: &str) -> Self {
        Self::Changed(format!("entry {index} and the table `{table}` differ"))
    }

    pub(super) fn not_begun() -> Self {
        Self::Changed("entry 0 does not name the key of the log".to_owned())
    }
}

impl From<rusqlite::Error> for BadLog {
    fn from(error: rusqlite::Error) -> Self {
        Self::Ledger(error.into())
    }
}
