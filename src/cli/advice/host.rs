//! What to do next on the signing host.

use super::code::Code::{Refused, Trouble, Usage};
use super::code::{Advice, diagnosed, hint};
use crate::cli::error::HostError;

/// The advice for an error of the signing host.
pub(super) fn host(error: &HostError) -> Advice {
    match error {
        HostError::Checkpoint { .. } => hint(
            Refused,
            "it says nothing about this log: find out where it comes from",
        ),
        HostError::KeptRelease { fault, .. } => diagnosed(&**fault),
        HostError::NotLogged { .. } => hint(
            Refused,
            "if it is not a file of a release of this host, nothing is wrong",
        ),
        HostError::SeveralEntries { .. } => hint(
            Usage,
            "say which with `--entry INDEX`: each signature names its own, as `log@`",
        ),
        HostError::BadLog(error) => diagnosed(error),
        HostError::Export(error) => diagnosed(error),
        HostError::Nowhere => hint(Usage, "name it with `--home DIR` or in $COUNTERSIGN_HOME"),
        HostError::NoGrant(_) => hint(
            Usage,
            "`countersign grants list` shows which were issued here",
        ),
        HostError::NoEntry(_) => hint(Usage, "`countersign log list` shows which there are"),
        HostError::NotReconciled {
            other_key: true, ..
        } => hint(
            Refused,
            "insert the card with the release key; `countersign key list` shows what this one holds",
        ),
        HostError::NotReconciled {
            other_key: false, ..
        } => hint(
            Refused,
            "find out what else signs with this card; when that is known, `--acknowledge REASON` notes it in the log",
        ),
        HostError::ExportNotReconciled {
            other_key,
            unfinished,
            ..
        } => (Refused, Some(exported(*other_key, unfinished))),
        HostError::Reconcile(error) => diagnosed(error),
        HostError::Signer { .. } => hint(
            Trouble,
            "see what it said above; then run the same command again",
        ),
        HostError::NotApproved => (Refused, None),
        HostError::NothingToCompare(_) => hint(
            Usage,
            "give the builders' folders with `--from DIR` to compare what is in them",
        ),
        HostError::Approve(error) => diagnosed(error),
        HostError::Revoke(error) => diagnosed(error),
        HostError::Policy(error) => diagnosed(error),
        HostError::Make(error) => diagnosed(error),
        HostError::Grant(error) => diagnosed(error),
        HostError::Build(error) => diagnosed(error),
        HostError::Sign(error) => diagnosed(error),
        HostError::NotPushed { fault, .. } => diagnosed(&**fault),
        HostError::NotExported(error) => diagnosed(error),
        HostError::Push(fault) => diagnosed(fault),
        HostError::Key(error) => diagnosed(error),
        HostError::Token(error) => diagnosed(error),
        HostError::Uri(error) => diagnosed(error),
        HostError::Home(error) => diagnosed(error),
        HostError::Ledger(error) => diagnosed(error),
    }
}

/// What to do about a card that does not agree with a log that was exported.
fn exported(other_key: bool, unfinished: &[u64]) -> String {
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
