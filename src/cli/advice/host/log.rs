//! What to do next about the log: the ledger, an export, and what is compared with them.

use super::home;
use super::token::token;
use crate::cli::advice::Code::{Refused, Trouble, Usage};
use crate::cli::advice::{Advice, file, hint, release};
use crate::ledger::{BadLog, ExportError, LedgerError, LedgerFault};
use crate::steps::reconcile::ReconcileError;
use crate::steps::release_checkpoint::NoCheckpoint;
use crate::steps::verify::ReleaseError;

const LEDGER_CHANGED: &str = "sign nothing more; keep the ledger as it is, and find out who changed it";

pub(super) fn ledger(error: &LedgerError) -> Advice {
    match error.fault {
        LedgerFault::Entry { .. } | LedgerFault::NotOurs | LedgerFault::NoHash(_) | LedgerFault::Row(_) => {
            hint(Refused, LEDGER_CHANGED)
        }
        LedgerFault::Revoked(_) => (Refused, None),
        LedgerFault::Schema(_) => hint(Usage, "use the version of countersign that made it"),
        LedgerFault::Missing
        | LedgerFault::TooLarge { .. }
        | LedgerFault::UnknownGrant(_)
        | LedgerFault::Database(_)
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
        ExportError::Strange(_) => {
            hint(Usage, "find out who put that there; then get another copy, or remove it and export the log again")
        }
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
        NoCheckpoint::Release(ReleaseError::Signature { .. }) => {
            hint(Refused, "one of another release key says nothing about this log; name an earlier key's with `--cert`")
        }
        NoCheckpoint::Release(error) => release(error),
        NoCheckpoint::NoRoot => {
            hint(Refused, "it says nothing about this log: compare it with another release, or a checkpoint")
        }
        NoCheckpoint::NotAnnounced { .. } => hint(
            Refused,
            "the release key signed what the log does not have: sign nothing more, and find out who could use the token",
        ),
    }
}

pub(super) fn reconcile(error: &ReconcileError) -> Advice {
    match error {
        // Not "done": whoever asked must not take it for an answer.
        ReconcileError::Uncounted(_) => {
            hint(Usage, "only OpenPGP cards count; what an HSM signs, its own audit log may tell")
        }
        ReconcileError::UnknownCard { .. } => {
            hint(Refused, "insert a card that the log knows; everything that this one has signed is outside the log")
        }
        ReconcileError::NothingToAcknowledge(_) => hint(Usage, "leave `--acknowledge` out"),
        ReconcileError::Token(error) => token(error),
        ReconcileError::Home(error) => home(error),
        ReconcileError::Export(error) => export(error),
    }
}

/// What to do about a card that does not agree with a log that was exported.
pub(super) fn exported(other_key: bool, unfinished: &[u64]) -> String {
    let again = "export the log again, and compare again";
    match unfinished {
        _ if other_key => {
            "insert the card with the release key; if this is it, name its certificate with `--cert`".into()
        }
        [] => format!("if something was signed since, {again}; else find out what else signs with this card"),
        runs => {
            let entries = runs.iter().map(u64::to_string).collect::<Vec<_>>().join(" and ");
            format!(
                "the unfinished run of entry {entries} may explain some or all of it: finish it with `sign`, {again}"
            )
        }
    }
}
