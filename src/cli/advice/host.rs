//! What to do next on the signing host.

use super::code::Code::{Refused, Trouble, Usage};
use super::code::{Advice, diagnosed, hint};
use super::read::file;
use crate::cli::error::HostError;
use crate::domain::release::Coverage;
use crate::files::{FileError, FileFault};
use crate::steps::host::build::BuildError;
use crate::steps::host::countersign::CountersignError;

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
        HostError::Build(error) => build(error),
        HostError::Countersign(error) => countersign(error),
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

fn build(error: &BuildError) -> Advice {
    match error {
        BuildError::NotIssued(_) => hint(
            Refused,
            "use the file as `countersign grant` wrote it, on the host that issued it",
        ),
        BuildError::NotYetValid { .. } => {
            hint(Refused, "compare this host's clock with the grant's")
        }
        BuildError::Expired { .. } => hint(
            Refused,
            "issue a new grant and build again; `--valid-for` gives the build more time",
        ),
        BuildError::ReleaseKey(_) => hint(Refused, "see `countersign key check`"),
        BuildError::OtherReleaseKey { .. } => hint(
            Refused,
            "issue a new grant under the key that this host has now",
        ),
        BuildError::Policy(error) => diagnosed(error),
        BuildError::Evidence { fault, .. } => diagnosed(&**fault),
        BuildError::NonceGone { .. } => hint(
            Refused,
            "a grant is for one build; issue a new one if this build is right",
        ),
        BuildError::NonceChanged { .. } => hint(
            Refused,
            "find out who changed the home; issue a new grant and build again",
        ),
        BuildError::Closed { .. } => hint(
            Refused,
            "a grant is for one build; issue a new one if this build is right",
        ),
        BuildError::Extra {
            builder: Some(_), ..
        } => hint(
            Refused,
            "a builder's folder holds its artifacts and its evidence, and nothing else",
        ),
        BuildError::Extra { builder: None, .. } => hint(
            Refused,
            "the grant names several builders: name the folder that has one for each, by its name",
        ),
        BuildError::MissingArtifact { .. } => hint(Refused, "fetch the build again, complete"),
        BuildError::TooLarge { .. } => hint(
            Refused,
            "issue a new grant with a larger `--max-bytes` if this is right",
        ),
        BuildError::File(FileError {
            fault: FileFault::Missing,
            ..
        }) => hint(
            Refused,
            "name the folder with the artifacts, and with the evidence that `attest` wrote beside them",
        ),
        BuildError::File(error) => file(error, Refused),
        BuildError::Output(error) => file(error, Usage),
        BuildError::IntoItself(_) => hint(Usage, "name another place with `-o`"),
        BuildError::Home(error) => diagnosed(error),
    }
}

fn countersign(error: &CountersignError) -> Advice {
    match error {
        CountersignError::OtherKey { .. } => hint(
            Refused,
            "insert the token with the release key; see `countersign key list`",
        ),
        CountersignError::OtherEvidence { .. } => hint(
            Refused,
            "bring back the evidence that was signed with, or issue a new grant",
        ),
        CountersignError::OtherCoverage {
            began: Coverage::Each,
        } => hint(
            Refused,
            "run the same command without `--sums-only`: what was signed is kept",
        ),
        CountersignError::OtherCoverage {
            began: Coverage::ListOnly,
        } => hint(
            Refused,
            "run the same command with `--sums-only`: what was signed is kept",
        ),
        CountersignError::Revoked(..) => (Refused, None),
        CountersignError::Kept { .. } => hint(
            Trouble,
            "the ledger or the certificate changed; see `countersign log verify`",
        ),
        CountersignError::KeptOther(_) | CountersignError::KeptGone(_) => hint(
            Refused,
            "somebody changed the ledger: see `countersign log verify`, and sign nothing more",
        ),
        CountersignError::Sign { fault, .. } => diagnosed(fault),
        CountersignError::Token(error) => diagnosed(error),
        CountersignError::Occupied(_) => {
            hint(Usage, "move it away, or name another place with `-o`")
        }
        CountersignError::File(error) => file(error, Trouble),
        CountersignError::Home(error) => diagnosed(error),
        CountersignError::Ledger(error) => diagnosed(error),
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
