//! What to do next about the log: the ledger, an export, and what is compared with them.

use crate::cli::advice::code::Code::{Refused, Trouble, Usage};
use crate::cli::advice::code::{Advice, hint};
use crate::cli::advice::read::{file, release};
use crate::ledger::{BadLog, ExportError, LedgerError, LedgerFault};
use crate::steps::host::release_checkpoint::NoCheckpoint;
use crate::steps::release::verify::ReleaseError;

const LEDGER_CHANGED: &str =
    "sign nothing more; keep the ledger as it is, and find out who changed it";

pub(super) fn ledger(error: &LedgerError) -> Advice {
    match error.fault {
        LedgerFault::Entry { .. }
        | LedgerFault::NotOurs
        | LedgerFault::NoHash(_)
        | LedgerFault::Row(_)
        | LedgerFault::UnknownGrant(_)
        | LedgerFault::Twice(_)
        | LedgerFault::NoIntent(_) => hint(Refused, LEDGER_CHANGED),
        LedgerFault::Revoked(_) => (Refused, None),
        LedgerFault::Schema(_) => hint(Usage, "use the version of countersign that made it"),
        LedgerFault::Missing
        | LedgerFault::TooLarge { .. }
        | LedgerFault::Database(_)
        | LedgerFault::Mode(_)
        | LedgerFault::Reserve(_)
        | LedgerFault::Unsettled(_)
        | LedgerFault::Io(_) => hint(
            Trouble,
            "check the disk, and that it is not full; then run the same command again; never delete the ledger",
        ),
    }
}

pub(super) fn bad_log(error: &BadLog) -> Advice {
    match error {
        BadLog::Ledger(error) => ledger(error),
        BadLog::Missing(_)
        | BadLog::Misplaced(_)
        | BadLog::Altered(_)
        | BadLog::Appended(_)
        | BadLog::Hash { .. }
        | BadLog::CutOff(_)
        | BadLog::Unreadable { .. }
        | BadLog::NotBegun
        | BadLog::OtherKey { .. }
        | BadLog::Table { .. }
        | BadLog::Surplus { .. }
        | BadLog::Structure(_)
        | BadLog::Shorter { .. }
        | BadLog::Forked { .. } => hint(Refused, LEDGER_CHANGED),
    }
}

pub(super) fn export(error: &ExportError) -> Advice {
    match error {
        ExportError::Ledger(error) => ledger(error),
        ExportError::File(error) => file(error, Usage),
        ExportError::Strange(_) => hint(
            Usage,
            "find out who put that there; then get another copy, or remove it and export the log again",
        ),
        ExportError::Checkpoint { .. }
        | ExportError::Forked { .. }
        | ExportError::Longer { .. }
        | ExportError::Altered(_)
        | ExportError::AlteredFrom { .. } => hint(
            Refused,
            "keep these files as they are, and find out whether they or the ledger were changed; then export to a new folder",
        ),
        ExportError::Log(BadLog::Unreadable { .. }) => hint(
            Refused,
            "use a countersign as new as the signing host's; if this one is, keep these files as they are, and find out who made them",
        ),
        ExportError::Missing(_)
        | ExportError::Entry { .. }
        | ExportError::NoEntry { .. }
        | ExportError::Surplus { .. }
        | ExportError::Size { .. }
        | ExportError::Hash { .. }
        | ExportError::Root { .. }
        | ExportError::Log(_) => hint(
            Refused,
            "keep these files as they are, and get the newest export; if that is no better, run `countersign log verify` on the signing host",
        ),
    }
}

pub(super) fn kept(error: &NoCheckpoint) -> Advice {
    match error {
        NoCheckpoint::Release(ReleaseError::Signature { .. }) => hint(
            Refused,
            "one of another release key says nothing about this log; name an earlier key's with `--cert`",
        ),
        NoCheckpoint::Release(error) => release(error),
        NoCheckpoint::NoRoot => hint(
            Refused,
            "it says nothing about this log: compare it with another release, or a checkpoint",
        ),
        NoCheckpoint::NotAnnounced { .. } => hint(
            Refused,
            "the release key signed what the log does not have: sign nothing more, and find out who could use the token",
        ),
    }
}
