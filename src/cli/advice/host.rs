//! What to do next on the signing host.

use super::code::Code::{Refused, Trouble, Usage};
use super::code::{Advice, diagnosed, hint};
use super::read::file;
use crate::cli::error::HostError;
use crate::domain::release::Coverage;
use crate::files::{FileError, FileFault};
use crate::openpgp::{KeyTrouble, MakeError};
use crate::ssh::BadSshSignature;
use crate::steps::evidence::error::EvidenceError;
use crate::steps::host::approval::BadApproval;
use crate::steps::host::approve::ApproveError;
use crate::steps::host::build::BuildError;
use crate::steps::host::countersign::CountersignError;
use crate::steps::host::grant::GrantError;
use crate::steps::host::policy::PolicyError;
use crate::steps::host::reconcile::ReconcileError;
use crate::steps::host::release_key::KeyError;
use crate::steps::host::replay::Incomparable;
use crate::steps::host::revoke::RevokeError;
use crate::token::TokenError;

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
        HostError::Reconcile(error) => reconcile(error),
        HostError::Signer { .. } => hint(
            Trouble,
            "see what it said above; then run the same command again",
        ),
        HostError::NotApproved => (Refused, None),
        HostError::NothingToCompare(_) => hint(
            Usage,
            "give the builders' folders with `--from DIR` to compare what is in them",
        ),
        HostError::Approve(error) => approve(error),
        HostError::Revoke(error) => revoke(error),
        HostError::Policy(error) => policy(error),
        HostError::Make(error) => make(error),
        HostError::Grant(error) => grant(error),
        HostError::Build(error) => build(error),
        HostError::Countersign(error) => countersign(error),
        HostError::NotPushed { fault, .. } => diagnosed(&**fault),
        HostError::NotExported(error) => diagnosed(error),
        HostError::Push(fault) => diagnosed(fault),
        HostError::Key(error) => key(error),
        HostError::Token(error) => diagnosed(error),
        HostError::Uri(error) => diagnosed(error),
        HostError::Home(error) => diagnosed(error),
        HostError::Ledger(error) => diagnosed(error),
    }
}

fn grant(error: &GrantError) -> Advice {
    match error {
        GrantError::ReleaseKey(_) => hint(Refused, "see `countersign key check`"),
        GrantError::NoEnrolment(_) => {
            hint(Usage, "leave `=FILE` out, or choose scheme openpgp or dsse")
        }
        GrantError::EnrolledKey { .. } => hint(
            Usage,
            "give the `.pub` file that `countersign build-key` wrote, of the same scheme: `--scheme dsse` has PEM keys, openpgp has certificates",
        ),
        GrantError::EnrolledTrouble { .. } => hint(
            Refused,
            "let the builder make a new key: `countersign build-key`",
        ),
        GrantError::Builders(_) => hint(Refused, "each builder needs a key of its own"),
        GrantError::Grant(_) | GrantError::TooLong(_) => (Usage, None),
        GrantError::There {
            issued: Some(_), ..
        } => hint(
            Usage,
            "use that one if it still counts, or name another place for a new one with `-o`",
        ),
        GrantError::There { issued: None, .. } => hint(
            Usage,
            "if no other signing host issued it, a run that was cut off has left it: remove it and the keys beside it, then run the same command again",
        ),
        GrantError::Older { .. } => hint(Refused, "if that is right, add `--allow-older`"),
        GrantError::Home(error) => diagnosed(error),
        GrantError::Ledger(error) => diagnosed(error),
        GrantError::File(error) => file(error, Usage),
    }
}

fn approve(error: &ApproveError) -> Advice {
    match error {
        ApproveError::NotIssued(_) => hint(
            Refused,
            "use the file as `countersign grant` wrote it, on the host that issued it",
        ),
        ApproveError::Over { .. } | ApproveError::Again { .. } => (Refused, None),
        ApproveError::Approval { fault, .. } => approval(fault),
        ApproveError::Policy(error) => policy(error),
        ApproveError::Home(error) => diagnosed(error),
    }
}

fn approval(fault: &BadApproval) -> Advice {
    match fault {
        BadApproval::Stranger(_) => hint(
            Refused,
            "approvers and their keys stand in config.toml, `[[approver]]`",
        ),
        BadApproval::Key(_) => hint(
            Refused,
            "sign with a key that is valid now, or bring the certificate among the approvers up to date",
        ),
        BadApproval::Ssh(BadSshSignature::Untouched) => hint(
            Refused,
            "sign again and touch the key; one made with `-O no-touch-required` cannot approve",
        ),
        BadApproval::Other(_) | BadApproval::OpenPgp(_) | BadApproval::Ssh(_) => hint(
            Refused,
            "sign the grant's file itself: `gpg --detach-sign GRANT`, or `ssh-keygen -Y sign -n countersign-grant -f KEY GRANT`",
        ),
    }
}

fn policy(error: &PolicyError) -> Advice {
    match error {
        PolicyError::Revoked { .. } => hint(
            Refused,
            "issue a new grant if this build is right after all",
        ),
        PolicyError::Approvals { .. } => hint(
            Refused,
            "let approvers sign the grant's file, and record that with `countersign approve GRANT --signature FILE`",
        ),
        PolicyError::Changed { .. } => hint(
            Refused,
            "bring the file back from a backup of the home, or issue a new grant",
        ),
        PolicyError::Embargo { .. } => hint(Refused, "run the same command again after that time"),
        PolicyError::Older { .. } => hint(Refused, "if that is right, add `--allow-older`"),
        PolicyError::Home(error) => diagnosed(error),
    }
}

fn revoke(error: &RevokeError) -> Advice {
    match error {
        RevokeError::NotIssued(_) => hint(
            Usage,
            "`countersign grants list` shows which were issued here",
        ),
        RevokeError::Again { .. } => (Usage, None),
        RevokeError::Home(error) => diagnosed(error),
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
        BuildError::Policy(error) => policy(error),
        BuildError::Evidence { fault, .. } => evidence(fault),
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

fn evidence(error: &EvidenceError) -> Advice {
    match error {
        EvidenceError::Dissent(_) => hint(
            Refused,
            "find out which builder is right, with `countersign grants diff GRANT --from DIR`; only then set aside what the other made",
        ),
        EvidenceError::Quorum { .. } => hint(
            Refused,
            "wait for more builders, and run the same command again",
        ),
        EvidenceError::TooFew { .. } => hint(
            Refused,
            "wait for more builders, or compare what each built with `countersign grants diff GRANT --from DIR`",
        ),
        EvidenceError::Digest { .. } => hint(
            Refused,
            "fetch the build again; if it stays so, it was changed after the builder attested it",
        ),
        EvidenceError::ByOther { .. } => hint(
            Refused,
            "put what each builder made into the folder of its own name",
        ),
        EvidenceError::NoArtifact | EvidenceError::Name { .. } => hint(
            Refused,
            "name the folder with the artifacts, and with the evidence that the grant asks for: see `countersign grants show GRANT`",
        ),
        EvidenceError::BuildKey { .. }
        | EvidenceError::SharedKey { .. }
        | EvidenceError::Missing(_)
        | EvidenceError::Signature { .. }
        | EvidenceError::Malformed { .. }
        | EvidenceError::NotABuilder { .. }
        | EvidenceError::OtherGrant { .. }
        | EvidenceError::OtherBuilder { .. }
        | EvidenceError::OtherBuild { .. }
        | EvidenceError::OtherArtifact { .. }
        | EvidenceError::List(_)
        | EvidenceError::NameNotAllowed { .. }
        | EvidenceError::TooMany { .. }
        | EvidenceError::OutOfTime { .. } => hint(
            Refused,
            "fetch the build again; if it stays so, it is not what this grant approved: issue a new one and build again",
        ),
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
        CountersignError::Sign { fault, .. } => make(fault),
        CountersignError::Token(error) => diagnosed(error),
        CountersignError::Occupied(_) => {
            hint(Usage, "move it away, or name another place with `-o`")
        }
        CountersignError::File(error) => file(error, Trouble),
        CountersignError::Home(error) => diagnosed(error),
        CountersignError::Ledger(error) => diagnosed(error),
    }
}

pub(super) fn make(error: &MakeError<TokenError>) -> Advice {
    match error {
        MakeError::Token(error) => diagnosed(error),
        MakeError::WrongAnswer => hint(
            Refused,
            "nothing was released; do not trust this token before you know why",
        ),
        MakeError::Invalid(_) => (Usage, None),
    }
}

fn key(error: &KeyError) -> Advice {
    match error {
        KeyError::UserId(_) | KeyError::Domain(_) | KeyError::TooLong(_) => (Usage, None),
        KeyError::NoDomain => hint(Usage, "give one with `--notation-domain`"),
        KeyError::Trouble(fault) => key_trouble(fault),
        KeyError::PrimaryElsewhere(_) => hint(
            Usage,
            "extend the certificate where its primary key is, and put it in place of release.asc in the home",
        ),
        KeyError::NotOnToken { .. } => hint(
            Usage,
            "`countersign key list --token URI` shows what the token holds",
        ),
        KeyError::Several { .. } => hint(
            Usage,
            "name one of them with `object=` or `id=` in the token URI",
        ),
        KeyError::OtherKey(_) => hint(
            Refused,
            "insert the token with the release key; see `countersign key list`",
        ),
        KeyError::Make(error) => make(error),
        KeyError::Token(error) => diagnosed(error),
        KeyError::Home(error) => diagnosed(error),
        KeyError::Ledger(error) => diagnosed(error),
    }
}

fn key_trouble(fault: &KeyTrouble) -> Advice {
    match fault {
        KeyTrouble::CertificateExpired { .. } | KeyTrouble::KeyExpired { .. } => hint(
            Refused,
            "run `countersign key extend`, and publish the certificate anew",
        ),
        KeyTrouble::Certificate { .. }
        | KeyTrouble::CertificateRevoked { .. }
        | KeyTrouble::KeyRevoked { .. }
        | KeyTrouble::NotForSigning { .. }
        | KeyTrouble::NoSuchKey { .. } => hint(
            Refused,
            "this key signs no more releases: set up another one with `countersign init`",
        ),
    }
}

fn reconcile(error: &ReconcileError) -> Advice {
    match error {
        // Not "done": whoever asked must not take it for an answer.
        ReconcileError::Incomparable(Incomparable::Uncounted(_)) => hint(
            Usage,
            "only OpenPGP cards count; what an HSM signs, its own audit log may tell",
        ),
        ReconcileError::Incomparable(Incomparable::UnknownCard { .. }) => hint(
            Refused,
            "insert a card that the log knows; everything that this one has signed is outside the log",
        ),
        ReconcileError::NothingToAcknowledge(_) => hint(Usage, "leave `--acknowledge` out"),
        ReconcileError::Token(error) => diagnosed(error),
        ReconcileError::Home(error) => diagnosed(error),
        ReconcileError::Export(error) => diagnosed(error),
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
