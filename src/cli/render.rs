//! The one place where an outcome or an error becomes text, hint and exit code.

use std::fmt::Write as _;
#[cfg(feature = "host")]
use std::io::BufWriter;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;
use serde_json::json;

use crate::domain::grant::BadGrant;
use crate::domain::text::{clean, is_harmful};
use crate::files::{FileError, FileFault};
use crate::openpgp::{BadBuildKey, BadCertificate};
use crate::steps::admit::AdmitError;
use crate::steps::attest::AttestError;
use crate::steps::build_key::KeyFault;
use crate::steps::logged::NotLogged;
use crate::steps::verify::ReleaseError;
use crate::tlog::note::BadNoteKey;
#[cfg(feature = "host")]
use host::*;

#[cfg(feature = "host")]
mod host {
    pub(super) use crate::domain::artifact::BadList;
    pub(super) use crate::domain::digest::Sha256;
    pub(super) use crate::domain::release::Coverage;
    pub(super) use crate::home::HomeError;
    pub(super) use crate::ledger::{BadLog, ExportError, LedgerError, LedgerFault};
    pub(super) use crate::openpgp::{BadSignature, KeyTrouble, MakeError};
    pub(super) use crate::ssh::BadSshSignature;
    pub(super) use crate::steps::approval::BadApproval;
    pub(super) use crate::steps::approve::ApproveError;
    pub(super) use crate::steps::bad_evidence::EvidenceError;
    pub(super) use crate::steps::build::BuildError;
    pub(super) use crate::steps::countersign::CountersignError;
    pub(super) use crate::steps::grant::GrantError;
    pub(super) use crate::steps::kept::NotKept;
    pub(super) use crate::steps::policy::PolicyError;
    pub(super) use crate::steps::push::PushError;
    pub(super) use crate::steps::reconcile::ReconcileError;
    pub(super) use crate::steps::release_key::KeyError;
    pub(super) use crate::steps::revoke::RevokeError;
    pub(super) use crate::tlog::checkpoint::BadCheckpoint;
    pub(super) use crate::token::{Pin, PinError, PinState, TokenError, UriError};
}

/// Everything that ends a command early.
#[derive(Debug, thiserror::Error)]
pub(super) enum CliError {
    #[error("{0}")]
    Usage(String),
    #[error("standard output cannot be written: {0}")]
    Unwritten(std::io::Error),
    #[error("certificate `{}` {fault}", path.display())]
    Certificate { path: PathBuf, fault: BadCertificate },
    #[error("build key `{}` {fault}", path.display())]
    BuildKey { path: PathBuf, fault: KeyFault },
    #[error("build key `{}` does not exist", .0.display())]
    NoBuildKey(PathBuf),
    #[error("build key `{}` has mode {mode:04o}: others can read it", path.display())]
    BuildKeyOpen { path: PathBuf, mode: u32 },
    #[error("no systemd credential `{name}`: {reason}")]
    Credential { name: String, reason: &'static str },
    #[error("{refused} of {all} submissions were refused")]
    NotAdmitted { refused: usize, all: usize },
    #[error("{refused} of {all} did not hold")]
    DidNotHold { refused: usize, all: usize },
    #[error(transparent)]
    Attest(#[from] AttestError),
    #[error(transparent)]
    Admit(#[from] AdmitError),
    #[error(transparent)]
    Release(#[from] ReleaseError),
    #[error(transparent)]
    File(#[from] FileError),
    #[error("proof `{}` {fault}", path.display())]
    Proof { path: PathBuf, fault: NotLogged },
    #[error("log key `{key}` {fault}")]
    LogKey { key: String, fault: BadNoteKey },
    #[cfg(feature = "host")]
    #[error("checkpoint `{}` {fault}", path.display())]
    Checkpoint { path: PathBuf, fault: BadCheckpoint },
    #[cfg(feature = "host")]
    #[error("release `{}` {fault}", path.display())]
    KeptRelease { path: PathBuf, fault: Box<NotKept> },
    #[cfg(feature = "host")]
    #[error("the log has no intent to sign `{}`, SHA-256 {digest}", file.display())]
    NotLogged { file: PathBuf, digest: Sha256 },
    #[cfg(feature = "host")]
    #[error("several entries speak of `{}`: {}", file.display(), entries.iter().map(u64::to_string).collect::<Vec<_>>().join(", "))]
    SeveralEntries { file: PathBuf, entries: Vec<u64> },
    #[cfg(feature = "host")]
    #[error(transparent)]
    BadLog(#[from] BadLog),
    #[cfg(feature = "host")]
    #[error(transparent)]
    Export(#[from] ExportError),
    #[error("grant `{}` {fault}", path.display())]
    BadGrant { path: PathBuf, fault: BadGrant },
    #[cfg(feature = "host")]
    #[error("neither $HOME nor $XDG_DATA_HOME says where the signing host's home is")]
    Nowhere,
    #[cfg(feature = "host")]
    #[error("`{0}` is neither a file that is there nor at least eight digits of a grant's id")]
    NoGrant(String),
    #[cfg(feature = "host")]
    #[error("the log has no entry {0}")]
    NoEntry(u64),
    #[cfg(feature = "host")]
    #[error("card `{card}` and the log do not agree: {}", findings.join("; "))]
    NotReconciled { card: String, findings: Vec<String>, other_key: bool },
    #[cfg(feature = "host")]
    #[error("card `{card}` and the exported log do not agree: {}", findings.join("; "))]
    ExportNotReconciled { card: String, findings: Vec<String>, other_key: bool, unfinished: Vec<u64> },
    #[cfg(feature = "host")]
    #[error(transparent)]
    Reconcile(#[from] ReconcileError),
    #[cfg(feature = "host")]
    #[error("{program} made no signature: {reason}")]
    Signer { program: String, reason: String },
    #[cfg(feature = "host")]
    #[error("the grant was not approved: another text than its version was typed")]
    NotApproved,
    #[cfg(feature = "host")]
    #[error("the log knows of no build under grant {0} whose builders differed")]
    NothingToCompare(String),
    #[cfg(feature = "host")]
    #[error(transparent)]
    Approve(#[from] ApproveError),
    #[cfg(feature = "host")]
    #[error(transparent)]
    Revoke(#[from] RevokeError),
    #[cfg(feature = "host")]
    #[error(transparent)]
    Policy(#[from] PolicyError),
    #[cfg(feature = "host")]
    #[error(transparent)]
    Make(#[from] MakeError<TokenError>),
    #[cfg(feature = "host")]
    #[error("the demonstration ended with {0}")]
    Demo(std::process::ExitStatus),
    #[cfg(feature = "host")]
    #[error(transparent)]
    Grant(#[from] GrantError),
    #[cfg(feature = "host")]
    #[error(transparent)]
    Build(#[from] BuildError),
    #[cfg(feature = "host")]
    #[error(transparent)]
    Countersign(#[from] CountersignError),
    #[cfg(feature = "host")]
    #[error("the release is signed and in `{}`, but was not pushed: {fault}", folder.display())]
    NotPushed { folder: PathBuf, fault: Box<PushError> },
    #[cfg(feature = "host")]
    #[error("the log was not exported: {0}")]
    NotExported(PushError),
    #[cfg(feature = "host")]
    #[error(transparent)]
    Push(#[from] PushError),
    #[cfg(feature = "host")]
    #[error(transparent)]
    Key(#[from] KeyError),
    #[cfg(feature = "host")]
    #[error(transparent)]
    Token(#[from] TokenError),
    #[cfg(feature = "host")]
    #[error(transparent)]
    Uri(#[from] UriError),
    #[cfg(feature = "host")]
    #[error(transparent)]
    Home(#[from] HomeError),
    #[cfg(feature = "host")]
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// The exit code of a command: what whoever started it should think of next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Code {
    /// A check failed: what was given is not to be trusted.
    Refused = 1,
    /// The command or the configuration must change.
    Usage = 2,
    /// The token, the disk or the repository: try again.
    Trouble = 3,
}
use Code::{Refused, Trouble, Usage};

/// What to do next.
type Advice = (Code, Option<String>);

fn advice(error: &CliError) -> Advice {
    match error {
        CliError::Certificate { fault, .. } => (Usage, certificate_hint(fault)),
        CliError::BuildKey { fault, .. } => build_key_hint(fault),
        CliError::NoBuildKey(_) => {
            hint(Usage, "`attest` removes a build key when it has used it: another build takes another grant and key")
        }
        CliError::BuildKeyOpen { path, .. } => hint(Usage, format!("run `chmod 600 {}`", path.display())),
        CliError::Credential { .. } => {
            hint(Usage, "pass it with `LoadCredential=` or `systemd-creds`, or name a file instead")
        }
        CliError::NotAdmitted { .. } => hint(Refused, "the reason stands beside each submission, in `NAME.refused`"),
        CliError::DidNotHold { .. } => {
            hint(Refused, "do not use these files; fetch the release again, or ask its maintainers")
        }
        CliError::Attest(error) => attest(error),
        CliError::Admit(error) => admit(error),
        CliError::Release(error) => release(error),
        CliError::File(error) => file(error, Usage),
        CliError::Usage(_) => (Usage, None),
        CliError::Unwritten(_) => (Trouble, None),
        CliError::BadGrant { .. } => hint(Refused, "give the grant file that `countersign grant` wrote"),
        CliError::Proof { fault: NotLogged::File(error), .. } => file(error, Usage),
        CliError::Proof { .. } => {
            hint(Refused, "ask for a proof of this very file, and compare the log's key with the published one")
        }
        CliError::LogKey { .. } => hint(Usage, "give the key as `countersign log export` prints it"),
        #[cfg(feature = "host")]
        CliError::Checkpoint { .. } => hint(Refused, "it says nothing about this log: find out where it comes from"),
        #[cfg(feature = "host")]
        CliError::KeptRelease { fault, .. } => kept(fault),
        #[cfg(feature = "host")]
        CliError::NotLogged { .. } => hint(Refused, "if it is not a file of a release of this host, nothing is wrong"),
        #[cfg(feature = "host")]
        CliError::SeveralEntries { .. } => {
            hint(Usage, "say which with `--entry INDEX`: each signature names its own, as `log@`")
        }
        #[cfg(feature = "host")]
        CliError::BadLog(BadLog::Ledger(error)) => ledger(error),
        #[cfg(feature = "host")]
        CliError::BadLog(_) => hint(Refused, LEDGER_CHANGED),
        #[cfg(feature = "host")]
        CliError::Export(error) => export(error),
        #[cfg(feature = "host")]
        CliError::Nowhere => hint(Usage, "name it with `--home DIR` or in $COUNTERSIGN_HOME"),
        #[cfg(feature = "host")]
        CliError::NoGrant(_) => hint(Usage, "`countersign grants list` shows which were issued here"),
        #[cfg(feature = "host")]
        CliError::NoEntry(_) => hint(Usage, "`countersign log list` shows which there are"),
        #[cfg(feature = "host")]
        CliError::NotReconciled { other_key: true, .. } => {
            hint(Refused, "insert the card with the release key; `countersign key list` shows what this one holds")
        }
        #[cfg(feature = "host")]
        CliError::NotReconciled { other_key: false, .. } => hint(
            Refused,
            "find out what else signs with this card; when that is known, `--acknowledge REASON` notes it in the log",
        ),
        #[cfg(feature = "host")]
        CliError::ExportNotReconciled { other_key, unfinished, .. } => {
            (Refused, Some(exported(*other_key, unfinished)))
        }
        #[cfg(feature = "host")]
        CliError::Reconcile(error) => reconcile(error),
        #[cfg(feature = "host")]
        CliError::Signer { .. } => hint(Trouble, "see what it said above; then run the same command again"),
        #[cfg(feature = "host")]
        CliError::NotApproved => (Refused, None),
        #[cfg(feature = "host")]
        CliError::NothingToCompare(_) => {
            hint(Usage, "give the builders' folders with `--from DIR` to compare what is in them")
        }
        #[cfg(feature = "host")]
        CliError::Approve(error) => approve(error),
        #[cfg(feature = "host")]
        CliError::Revoke(error) => match error {
            RevokeError::NotIssued(_) => hint(Usage, "`countersign grants list` shows which were issued here"),
            RevokeError::Again { .. } => (Usage, None),
            RevokeError::Home(error) => home(error),
        },
        #[cfg(feature = "host")]
        CliError::Policy(error) => policy(error),
        #[cfg(feature = "host")]
        CliError::Make(error) => make(error),
        #[cfg(feature = "host")]
        CliError::Demo(status) => (if status.code() == Some(2) { Usage } else { Trouble }, None),
        #[cfg(feature = "host")]
        CliError::Grant(error) => grant(error),
        #[cfg(feature = "host")]
        CliError::Build(error) => build(error),
        #[cfg(feature = "host")]
        CliError::Countersign(error) => countersign(error),
        #[cfg(feature = "host")]
        CliError::NotPushed { fault, .. } => push(fault),
        #[cfg(feature = "host")]
        CliError::NotExported(fault) | CliError::Push(fault) => push(fault),
        #[cfg(feature = "host")]
        CliError::Key(error) => key(error),
        #[cfg(feature = "host")]
        CliError::Token(error) => token(error),
        #[cfg(feature = "host")]
        CliError::Uri(error) => uri(error),
        #[cfg(feature = "host")]
        CliError::Home(error) => home(error),
        #[cfg(feature = "host")]
        CliError::Ledger(error) => ledger(error),
    }
}

fn hint(code: Code, text: impl Into<String>) -> Advice {
    (code, Some(text.into()))
}

/// `missing`: what a file that is not there, or is of the wrong kind, means where it was looked for.
fn file(error: &FileError, missing: Code) -> Advice {
    match &error.fault {
        FileFault::Missing | FileFault::Kind { .. } | FileFault::TooLarge { .. } | FileFault::TooMany { .. } => {
            (missing, None)
        }
        FileFault::Exists => hint(Usage, "move it away, or name another place"),
        FileFault::Busy => hint(Trouble, "run the same command again when it is done"),
        FileFault::Io(error) if error.kind() == std::io::ErrorKind::StorageFull => {
            hint(Trouble, "make room and run the same command again: nothing is lost")
        }
        FileFault::Io(error) if error.kind() == std::io::ErrorKind::PermissionDenied => (Usage, None),
        FileFault::Io(_) => hint(Trouble, "run the same command again when this is mended"),
    }
}

fn certificate_hint(fault: &BadCertificate) -> Option<String> {
    let text = match fault {
        BadCertificate::Malformed(_) => "export it with `countersign key export` or `gpg --export KEY`",
        BadCertificate::NotOne(_) => "export one certificate: `gpg --export FINGERPRINT`",
        BadCertificate::Secret => "export the public half: `gpg --export FINGERPRINT`",
        BadCertificate::TooManyParts => {
            "export it without what it does not need: `gpg --export-options export-minimal --export KEY`"
        }
        BadCertificate::SmallOrder => "make another key: whoever made this one made it for everybody",
        BadCertificate::Version => "gpgv and apt of today read OpenPGP v4: make a v4 key",
    };
    Some(text.to_owned())
}

fn build_key_hint(fault: &KeyFault) -> Advice {
    match fault {
        KeyFault::OpenPgp(BadBuildKey::Malformed(_))
        | KeyFault::Ed25519(_)
        | KeyFault::Nonce(_)
        | KeyFault::NotText => {
            hint(Usage, "give the file that `countersign grant` or `countersign build-key` wrote, unchanged")
        }
        KeyFault::OpenPgp(BadBuildKey::Label(_) | BadBuildKey::NoSecret(_)) | KeyFault::Label(_) => hint(
            Usage,
            "give the `.key` file that `countersign grant` wrote: importing and exporting it loses its headers",
        ),
        KeyFault::Empty => hint(Usage, "hand the secret over again: nothing of it arrived here"),
        KeyFault::Public => hint(Usage, "give the secret half: the file without `.pub` at the end of its name"),
        KeyFault::OtherScheme { .. } => hint(Usage, "give the key that was made for this grant"),
        KeyFault::NoGrant => {
            hint(Usage, "give the grant with `--grant FILE`, or the `.key` file that `countersign grant` wrote")
        }
        KeyFault::OtherGrant(_) | KeyFault::NotInGrant(_) => hint(
            Usage,
            "compare with `countersign grants show`, or ask for a grant with this key: `grant --builder NAME=FILE.pub`",
        ),
        KeyFault::Grant(_) => (Refused, None),
        #[cfg(feature = "host")]
        KeyFault::Token(error) => make(error),
    }
}

fn attest(error: &AttestError) -> Advice {
    match error {
        AttestError::Expired { .. } | AttestError::GrantExpired { .. } => {
            hint(Refused, "ask the signing host's operator for a new grant, with a new key if this one was made here")
        }
        AttestError::Key(fault) => build_key_hint(fault),
        AttestError::NoPredicate => hint(Usage, "leave `--predicate` out, or ask for a grant of scheme dsse"),
        AttestError::Name { .. } => hint(Usage, "rename it; the signing host would refuse it"),
        AttestError::NotAllowed { .. } => {
            hint(Refused, "leave it out, or ask for a grant that allows it; the build key is kept for the next try")
        }
        AttestError::SecretKey { .. } => hint(Usage, "keep keys out of the folder of artifacts"),
        AttestError::OwnFile { .. } => hint(Usage, "remove it, or leave it out of the artifacts"),
        AttestError::SeveralFolders { .. } => hint(Usage, "say with `-o DIR` where the evidence goes"),
        AttestError::List(_) => (Usage, None),
        AttestError::File(error) => file(error, Usage),
    }
}

fn admit(error: &AdmitError) -> Advice {
    match error {
        AdmitError::Name(_) | AdmitError::OtherName { .. } => (Refused, None),
        AdmitError::Release(error) => release(error),
        AdmitError::NotAnInbox(_) | AdmitError::NotReleases(_) => hint(
            Usage,
            "first the folder that is pushed to, then the folder that is served: each holds releases, one folder each",
        ),
        AdmitError::SameFolder(_) => hint(Usage, "what is pushed and what is served must be two folders"),
        AdmitError::Occupied(_) => hint(Refused, "a version is released once: give the build a new version"),
        AdmitError::Certificate(_) => hint(Refused, "get the renewed certificate from its owner"),
        AdmitError::File(error) => file(error, Usage),
    }
}

fn release(error: &ReleaseError) -> Advice {
    match error {
        ReleaseError::File(error) => file(error, Refused),
        ReleaseError::Copy(error) => file(error, Trouble),
        ReleaseError::Missing(_) => hint(Refused, "fetch the release again, complete"),
        ReleaseError::ListOnly(_) => hint(Refused, "verify the folder that it is in: the list stands for each file"),
        ReleaseError::TooLarge { .. }
        | ReleaseError::Extra(_)
        | ReleaseError::Signature { .. }
        | ReleaseError::OtherForm(_)
        | ReleaseError::OtherGrant { .. }
        | ReleaseError::OtherKey { .. }
        | ReleaseError::Sums(_)
        | ReleaseError::Digest { .. }
        | ReleaseError::Grant(_)
        | ReleaseError::Evidence { .. }
        | ReleaseError::EvidenceMisplaced { .. }
        | ReleaseError::Quorum(_)
        | ReleaseError::NotABuilder { .. }
        | ReleaseError::NotAttested => (Refused, None),
    }
}

#[cfg(feature = "host")]
fn kept(error: &NotKept) -> Advice {
    match error {
        NotKept::Release(ReleaseError::Signature { .. }) => {
            hint(Refused, "one of another release key says nothing about this log; name an earlier key's with `--cert`")
        }
        NotKept::Release(error) => release(error),
        NotKept::NoRoot => {
            hint(Refused, "it says nothing about this log: compare it with another release, or a checkpoint")
        }
        NotKept::NotAnnounced { .. } => hint(
            Refused,
            "the release key signed what the log does not have: sign nothing more, and find out who could use the token",
        ),
    }
}

#[cfg(feature = "host")]
const LEDGER_CHANGED: &str = "sign nothing more; keep the ledger as it is, and find out who changed it";

#[cfg(feature = "host")]
fn ledger(error: &LedgerError) -> Advice {
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
        | LedgerFault::Io(_) => hint(
            Trouble,
            "check the disk, and that it is not full; then run the same command again; never delete the ledger",
        ),
    }
}

#[cfg(feature = "host")]
fn home(error: &HomeError) -> Advice {
    match error {
        HomeError::Missing(_) => hint(Usage, "set it up with `countersign init`, or name it with `--home`"),
        HomeError::Exists(_) => hint(Usage, "name another one with `--home`, or use this one as it is"),
        HomeError::Within(_) => {
            hint(Usage, "name a folder outside of the home; if you did, somebody put a link to the home in its place")
        }
        HomeError::Open { path, wanted, .. } => hint(Usage, format!("run `chmod {wanted:03o} {}`", path.display())),
        HomeError::Owner { .. } => hint(Usage, "run this as the home's owner"),
        HomeError::Busy(_) => hint(Trouble, "run the same command again when it is done"),
        HomeError::NoSuchGrant(_) => {
            hint(Usage, "give a grant file, or at least eight digits of an id from `countersign grants list`")
        }
        HomeError::AmbiguousGrant(_) => hint(Usage, "give more digits"),
        HomeError::Config(_) => (Usage, None),
        HomeError::Certificate { fault, .. } => (Usage, certificate_hint(fault)),
        HomeError::ApproverCertificate { fault, .. } => (Usage, certificate_hint(fault)),
        HomeError::Nonce { .. } => hint(Usage, "issue a new grant: what is kept for this one cannot be used"),
        HomeError::LogKey { .. } | HomeError::OtherLogKey(_) => hint(
            Usage,
            "restore the file from a backup; a log that goes on under another key cannot be told from a forged one",
        ),
        HomeError::Grant { .. } => (Usage, None),
        HomeError::Ledger(error) => ledger(error),
        HomeError::File(error) => file(error, Usage),
    }
}

#[cfg(feature = "host")]
fn grant(error: &GrantError) -> Advice {
    match error {
        GrantError::ReleaseKey(_) => hint(Refused, "see `countersign key check`"),
        GrantError::NoEnrolment(_) => hint(Usage, "leave `=FILE` out, or choose scheme openpgp or dsse"),
        GrantError::EnrolledKey { .. } => hint(
            Usage,
            "give the `.pub` file that `countersign build-key` wrote, of the same scheme: `--scheme dsse` has PEM keys, openpgp has certificates",
        ),
        GrantError::EnrolledTrouble { .. } => hint(Refused, "let the builder make a new key: `countersign build-key`"),
        GrantError::Builders(_) => hint(Refused, "each builder needs a key of its own"),
        GrantError::Grant(BadGrant::Quorum { .. }) => hint(
            Usage,
            "name each builder with a `--builder` of its own; the quorum is at least one, and at most all of them",
        ),
        GrantError::Grant(BadGrant::NoSuchEvidence { .. }) => {
            hint(Usage, "leave `--evidence` out: an envelope speaks of all artifacts at once")
        }
        GrantError::Grant(_) | GrantError::TooLong(_) => (Usage, None),
        GrantError::Older { .. } => hint(Refused, "if that is right, add `--allow-older`"),
        GrantError::Home(error) => home(error),
        GrantError::Ledger(error) => ledger(error),
        GrantError::File(error) => file(error, Usage),
    }
}

#[cfg(feature = "host")]
fn build(error: &BuildError) -> Advice {
    match error {
        BuildError::NotIssued(_) => {
            hint(Refused, "use the file as `countersign grant` wrote it, on the host that issued it")
        }
        BuildError::NotYetValid { .. } => hint(Refused, "compare this host's clock with the grant's"),
        BuildError::Expired { .. } => {
            hint(Refused, "issue a new grant and build again; `--valid-for` gives the build more time")
        }
        BuildError::ReleaseKey(_) => hint(Refused, "see `countersign key check`"),
        BuildError::OtherReleaseKey { .. } => hint(Refused, "issue a new grant under the key that this host has now"),
        BuildError::Policy(error) => policy(error),
        BuildError::Evidence { fault, .. } => evidence(fault),
        BuildError::NonceGone { .. } => {
            hint(Refused, "a grant is for one build; issue a new one if this build is right")
        }
        BuildError::NonceChanged { .. } => {
            hint(Refused, "find out who changed the home; issue a new grant and build again")
        }
        BuildError::Closed { .. } => hint(Refused, "a grant is for one build; issue a new one if this build is right"),
        BuildError::Extra { builder: Some(_), .. } => {
            hint(Refused, "a builder's folder holds its artifacts and its evidence, and nothing else")
        }
        BuildError::Extra { builder: None, .. } => {
            hint(Refused, "the grant names several builders: name the folder that has one for each, by its name")
        }
        BuildError::MissingArtifact { .. } => hint(Refused, "fetch the build again, complete"),
        BuildError::TooLarge { .. } => hint(Refused, "issue a new grant with a larger `--max-bytes` if this is right"),
        BuildError::File(FileError { fault: FileFault::Missing, .. }) => {
            hint(Refused, "name the folder with the artifacts, and with the evidence that `attest` wrote beside them")
        }
        BuildError::File(error) => file(error, Refused),
        BuildError::Output(error) => file(error, Usage),
        BuildError::IntoItself(_) => hint(Usage, "name another place with `-o`"),
        BuildError::Home(error) => home(error),
    }
}

#[cfg(feature = "host")]
fn evidence(error: &EvidenceError) -> Advice {
    match error {
        EvidenceError::Dissent(_) => hint(
            Refused,
            "find out which builder is right, with `countersign grants diff GRANT --from DIR`; only then set aside what the other made",
        ),
        EvidenceError::Quorum { .. } => hint(Refused, "wait for more builders, and run the same command again"),
        EvidenceError::TooFew { .. } => hint(
            Refused,
            "wait for more builders, or compare what each built with `countersign grants diff GRANT --from DIR`",
        ),
        EvidenceError::Digest { .. } => {
            hint(Refused, "fetch the build again; if it stays so, it was changed after the builder attested it")
        }
        EvidenceError::ByOther { .. } => hint(Refused, "put what each builder made into the folder of its own name"),
        EvidenceError::List(BadList::Empty) | EvidenceError::Name { .. } => hint(
            Refused,
            "name the folder with the artifacts, and with the evidence that the grant asks for: see `countersign grants show GRANT`",
        ),
        _ => hint(
            Refused,
            "fetch the build again; if it stays so, it is not what this grant approved: issue a new one and build again",
        ),
    }
}

#[cfg(feature = "host")]
fn policy(error: &PolicyError) -> Advice {
    match error {
        PolicyError::Revoked { .. } => hint(Refused, "issue a new grant if this build is right after all"),
        PolicyError::Approvals { .. } => hint(
            Refused,
            "let approvers sign the grant's file, and record that with `countersign approve GRANT --signature FILE`",
        ),
        PolicyError::Changed { .. } => {
            hint(Refused, "bring the file back from a backup of the home, or issue a new grant")
        }
        PolicyError::Embargo { .. } => hint(Refused, "run the same command again after that time"),
        PolicyError::Older { .. } => hint(Refused, "if that is right, add `--allow-older`"),
        PolicyError::Home(error) => home(error),
    }
}

#[cfg(feature = "host")]
fn approve(error: &ApproveError) -> Advice {
    match error {
        ApproveError::NotIssued(_) => {
            hint(Refused, "use the file as `countersign grant` wrote it, on the host that issued it")
        }
        ApproveError::Over { .. } | ApproveError::Again { .. } => (Refused, None),
        ApproveError::Approval { fault: BadApproval::Stranger(_), .. } => {
            hint(Refused, "approvers and their keys stand in config.toml, `[[approver]]`")
        }
        ApproveError::Approval { fault: BadApproval::Key(_), .. } => {
            hint(Refused, "sign with a key that is valid now, or bring the certificate among the approvers up to date")
        }
        ApproveError::Approval { fault: BadApproval::Ssh(BadSshSignature::Untouched), .. } => {
            hint(Refused, "sign again and touch the key; one made with `-O no-touch-required` cannot approve")
        }
        ApproveError::Approval { .. } => hint(
            Refused,
            "sign the grant's file itself: `gpg --detach-sign GRANT`, or `ssh-keygen -Y sign -n countersign-grant -f KEY GRANT`",
        ),
        ApproveError::Policy(error) => policy(error),
        ApproveError::Home(error) => home(error),
    }
}

#[cfg(feature = "host")]
fn countersign(error: &CountersignError) -> Advice {
    match error {
        CountersignError::OtherKey { .. } => {
            hint(Refused, "insert the token with the release key; see `countersign key list`")
        }
        CountersignError::OtherEvidence { .. } => {
            hint(Refused, "bring back the evidence that was signed with, or issue a new grant")
        }
        CountersignError::OtherCoverage { began: Coverage::Each } => {
            hint(Refused, "run the same command without `--sums-only`: what was signed is kept")
        }
        CountersignError::OtherCoverage { began: Coverage::ListOnly } => {
            hint(Refused, "run the same command with `--sums-only`: what was signed is kept")
        }
        CountersignError::Revoked(..) => (Refused, None),
        CountersignError::Kept { .. } => {
            hint(Trouble, "the ledger or the certificate changed; see `countersign log verify`")
        }
        CountersignError::KeptOther(_) | CountersignError::KeptGone(_) => {
            hint(Refused, "somebody changed the ledger: see `countersign log verify`, and sign nothing more")
        }
        CountersignError::Sign { fault, .. } => make(fault),
        CountersignError::Token(error) => token(error),
        CountersignError::Occupied(_) => hint(Usage, "move it away, or name another place with `-o`"),
        CountersignError::File(error) => file(error, Trouble),
        CountersignError::Home(error) => home(error),
        CountersignError::Ledger(error) => ledger(error),
    }
}

#[cfg(feature = "host")]
fn push(error: &PushError) -> Advice {
    match error {
        PushError::NoInbox => hint(Usage, "name it in config.toml: `inbox`, below `[repository]`"),
        PushError::NotAnInbox(_) => {
            hint(Usage, "name in config.toml the folder that is pushed to, then run `countersign push`")
        }
        PushError::NotOurs(_) => hint(Refused, "finish it, or make it again, with `sign`: what was signed is kept"),
        PushError::Revoked(_) => hint(Refused, "issue a new grant if this build is right after all"),
        PushError::Occupied(_) => {
            hint(Usage, "remove it there if it is not wanted, then run `countersign push`: the token is not needed")
        }
        PushError::Release(ReleaseError::File(FileError { fault: FileFault::Missing, .. })) => {
            hint(Usage, "if it was moved, name its folder: `countersign push FOLDER`; else make it again with `sign`")
        }
        PushError::Release(ReleaseError::Copy(_) | ReleaseError::File(FileError { fault: FileFault::Io(_), .. }))
        | PushError::File(_)
        | PushError::Export(ExportError::File(_) | ExportError::Strange(_)) => {
            hint(Trouble, "when this is mended, run `countersign push`: the token is not needed")
        }
        PushError::Release(ReleaseError::Signature { fault: BadSignature::Future { .. }, .. }) => {
            hint(Trouble, "set the clock of this host, then run `countersign push`: the token is not needed")
        }
        PushError::Release(ReleaseError::Signature { fault: BadSignature::Key(_), .. }) => hint(
            Refused,
            "the location would not admit it either; `countersign key extend` helps if the key has expired and was not revoked",
        ),
        PushError::Release(_) | PushError::Exchanged(_) => hint(
            Refused,
            "it was changed after it was signed: make it again with the same `sign` and another `-o`, without the token",
        ),
        PushError::Home(error) => home(error),
        PushError::Ledger(error) => ledger(error),
        PushError::Export(error) => export(error),
    }
}

#[cfg(feature = "host")]
fn make(error: &MakeError<TokenError>) -> Advice {
    match error {
        MakeError::Token(error) => token(error),
        MakeError::WrongAnswer => hint(Refused, "nothing was released; do not trust this token before you know why"),
        MakeError::Invalid(_) => (Usage, None),
    }
}

#[cfg(feature = "host")]
fn key(error: &KeyError) -> Advice {
    match error {
        KeyError::UserId(_) | KeyError::Domain(_) | KeyError::TooLong(_) => (Usage, None),
        KeyError::NoDomain => hint(Usage, "give one with `--notation-domain`"),
        KeyError::Trouble(KeyTrouble::CertificateExpired { .. } | KeyTrouble::KeyExpired { .. }) => {
            hint(Refused, "run `countersign key extend`, and publish the certificate anew")
        }
        KeyError::Trouble(_) => {
            hint(Refused, "this key signs no more releases: set up another one with `countersign init`")
        }
        KeyError::PrimaryElsewhere(_) => hint(
            Usage,
            "extend the certificate where its primary key is, and put it in place of release.asc in the home",
        ),
        KeyError::NotOnToken { .. } => hint(Usage, "`countersign key list --token URI` shows what the token holds"),
        KeyError::Several { .. } => hint(Usage, "name one of them with `object=` or `id=` in the token URI"),
        KeyError::OtherKey(_) => hint(Refused, "insert the token with the release key; see `countersign key list`"),
        KeyError::Make(error) => make(error),
        KeyError::Token(error) => token(error),
        KeyError::Home(error) => home(error),
        KeyError::Ledger(error) => ledger(error),
    }
}

#[cfg(feature = "host")]
fn export(error: &ExportError) -> Advice {
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

/// What to do about a card that does not agree with a log that was exported.
#[cfg(feature = "host")]
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

#[cfg(feature = "host")]
fn reconcile(error: &ReconcileError) -> Advice {
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

#[cfg(feature = "host")]
fn uri(_: &UriError) -> Advice {
    hint(
        Usage,
        "for example `card:` or `pkcs11:token=release;object=r2026?module-path=/usr/lib/softhsm/libsofthsm2.so`",
    )
}

#[cfg(feature = "host")]
fn token(error: &TokenError) -> Advice {
    match error {
        TokenError::Module { .. } => hint(
            Usage,
            "check `module-path` in the token URI, and the module's own configuration (SoftHSM2: $SOFTHSM2_CONF)",
        ),
        TokenError::NoModule { .. } => hint(Usage, "add `?module-path=/path/to/module.so`"),
        TokenError::TokenAbsent { uri, .. } => hint(
            Trouble,
            match uri.starts_with("card:") {
                true => {
                    "insert the card; if gpg uses it past the smart card service, `gpgconf --kill scdaemon` frees it"
                }
                false => {
                    "insert the token, or correct `token` and `serial` in its URI; SoftHSM2 finds its tokens by $SOFTHSM2_CONF"
                }
            },
        ),
        TokenError::TokenAmbiguous { uri, .. } => hint(
            Usage,
            match uri.starts_with("card:") {
                true => "name one of them in the token URI",
                false => "name one by `serial=` in the token URI",
            },
        ),
        TokenError::KeyAbsent { .. } => {
            hint(Usage, "correct `object` and `id` in the token URI; `countersign key list` shows what there is")
        }
        TokenError::KeyAmbiguous { .. } => hint(Usage, "name one by `id=` in the token URI"),
        TokenError::KeyExists { .. } => {
            hint(Usage, "choose another `object`, or with `init` leave `--generate` out to use that key")
        }
        TokenError::KeyUnnamed { .. } => hint(Usage, "add its name to the URI: `;object=NAME`"),
        TokenError::KeyUnsuitable { .. } => hint(
            Usage,
            "ed25519, p256, p384, p521 and rsa from 2048 bits can sign releases; see `countersign key list`",
        ),
        TokenError::MechanismUnsupported { .. } => hint(Usage, "use a kind of key that this token supports"),
        TokenError::PinWrong { state: PinState::Locked, pin, .. } => {
            hint(Trouble, format!("that was the last try: {}", unlock(*pin)))
        }
        TokenError::PinWrong { state: PinState::FinalTry, .. } => {
            hint(Trouble, "one try is left, and it will not be used unattended: make sure of the PIN first")
        }
        TokenError::PinWrong { state: PinState::Left(tries), .. } => hint(
            Trouble,
            format!(
                "it was tried once and will not be tried again, {tries} tries are left; run the command anew with the right one"
            ),
        ),
        TokenError::PinWrong { state: PinState::Untouched | PinState::CountLow | PinState::NotNeeded, .. } => {
            hint(Trouble, "it was tried once and will not be tried again; run the command anew with the right PIN")
        }
        TokenError::PinLocked { pin, .. } => hint(Trouble, unlock(*pin)),
        TokenError::FinalTry { .. } => {
            hint(Trouble, "use the PIN once at a terminal, with the token's own tools or a prompt here")
        }
        TokenError::PinNotSet { .. } => {
            hint(Usage, "initialise it with the token's own tools (`softhsm2-util`, `pkcs11-tool --init-pin`)")
        }
        TokenError::Pin { source, .. } => pin(source),
        TokenError::SessionLost { .. } => hint(Trouble, "run the same command again: what was signed is kept"),
        TokenError::Busy { .. } => hint(Trouble, "end the program that holds it, then run the same command again"),
        TokenError::Held { holders, .. } if holders.iter().any(|holder| holder.starts_with("scdaemon ")) => {
            hint(Trouble, "run `gpgconf --kill scdaemon` and the same command again, or wait for it with `--wait`")
        }
        TokenError::Held { .. } => {
            hint(Trouble, "end that program and run the same command again, or wait for it with `--wait`")
        }
        TokenError::NoCardService { .. } => {
            hint(Trouble, "install and start it: `apt install pcscd`, `systemctl start pcscd.socket`")
        }
        TokenError::SlotEmpty { .. } => {
            hint(Usage, "insert the card with the release key, or make one on this card: `countersign init --generate`")
        }
        TokenError::SlotTaken { .. } => hint(
            Usage,
            "leave `--generate` out to use that key; `--replace-key` destroys it, and what only it can sign",
        ),
        TokenError::TouchMissing { .. } => {
            hint(Trouble, "run the same command again and touch the card when it says so: what was signed is kept")
        }
        TokenError::Counter { .. } => {
            hint(Refused, "nothing was released; find out what else signs with this card before you use it again")
        }
        TokenError::Unexpected { .. } => {
            hint(Trouble, "run the same command again; if it stays so, the token or its module is at fault")
        }
        TokenError::File { .. } => (Trouble, None),
    }
}

#[cfg(feature = "host")]
fn unlock(pin: Pin) -> &'static str {
    match pin {
        Pin::User => {
            "unlock it with the token's own tools and the security officer's or admin PIN (a card: `gpg --card-edit`, admin, passwd)"
        }
        Pin::Admin => "nothing unlocks it but a factory reset, which destroys the keys on the card",
    }
}

#[cfg(feature = "host")]
fn pin(error: &PinError) -> Advice {
    match error {
        PinError::Declined => hint(
            Usage,
            "run this at a terminal, or add `pin-source=file:/PATH`, `fd:NUMBER` or `credential:NAME` to the token URI",
        ),
        PinError::TooOpen { path, .. } => hint(Usage, format!("run `chmod 600 {path}`")),
        PinError::NoCredentials { name } => {
            hint(Usage, format!("add `LoadCredential={name}:/PATH` to the systemd unit"))
        }
        PinError::Source | PinError::Unreadable { .. } => hint(Usage, "correct `pin-source` in the token URI"),
        PinError::Empty { .. } | PinError::Malformed { .. } => hint(Usage, "it must hold the PIN and nothing else"),
    }
}

/// Where results, talk and errors go: data to standard output, talk to standard error.
pub(super) struct Output {
    json: bool,
    text: String,
    value: Option<serde_json::Value>,
}

impl Output {
    pub(super) fn new(json: bool) -> Self {
        Self { json, text: String::new(), value: None }
    }

    /// A line of the result, for people. Nothing in it can steer a terminal.
    pub(super) fn line(&mut self, line: impl AsRef<str>) {
        self.text += &clean(line.as_ref());
        self.text.push('\n');
    }

    /// The result for programs, instead of the lines when `--json` was given.
    pub(super) fn value(&mut self, value: impl Serialize) {
        self.value = Some(serde_json::to_value(value).expect("a result can be written as JSON"));
    }

    /// The lines so far.
    #[cfg(feature = "host")]
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// A warning, at once.
    pub(super) fn warn(&self, text: &str) {
        let _closed = writeln!(std::io::stderr(), "{} {}", paint("warning:", "33"), clean(text));
    }

    /// A list that is all of the result, and is printed as it comes.
    #[cfg(feature = "host")]
    pub(super) fn list(&self, name: &'static str) -> List {
        List { json: self.json, name, items: 0, out: BufWriter::new(std::io::stdout()) }
    }

    /// Prints what there is to print and ends the command.
    pub(super) fn end(self, result: Result<(), CliError>) -> ExitCode {
        let text = match &self.value {
            Some(value) if self.json => json_text(value),
            _ => self.text,
        };
        let written = std::io::stdout().write_all(text.as_bytes()).map_err(CliError::Unwritten);
        match result.and(written) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                let (code, _) = advice(&error);
                let text = match &error {
                    // Whoever closed it has seen enough.
                    CliError::Unwritten(error) if error.kind() == std::io::ErrorKind::BrokenPipe => String::new(),
                    error if self.json => error_json(error),
                    error => error_text(error),
                };
                let _closed = std::io::stderr().write_all(text.as_bytes());
                ExitCode::from(code as u8)
            }
        }
    }
}

/// A list on its way to standard output. One that breaks off is no JSON, so that nobody takes it for the whole.
#[cfg(feature = "host")]
pub(super) struct List {
    json: bool,
    name: &'static str,
    items: u64,
    out: BufWriter<std::io::Stdout>,
}

#[cfg(feature = "host")]
impl List {
    /// The next item: a line for people, or the value for programs.
    pub(super) fn item(&mut self, line: impl AsRef<str>, value: &impl Serialize) -> Result<(), CliError> {
        let text = if self.json {
            let value = serde_json::to_value(value).expect("a result can be written as JSON");
            let before = if self.items == 0 { format!("{{\n  \"{}\": [", self.name) } else { ",".to_owned() };
            format!("{before}\n    {}", json_text(&value).trim_end().replace('\n', "\n    "))
        } else {
            clean(line.as_ref()) + "\n"
        };
        self.items += 1;
        self.out.write_all(text.as_bytes()).map_err(CliError::Unwritten)
    }

    /// Ends it.
    pub(super) fn end(mut self) -> Result<(), CliError> {
        let end = match self.items {
            _ if !self.json => String::new(),
            0 => format!("{{\n  \"{}\": []\n}}\n", self.name),
            _ => "\n  ]\n}\n".to_owned(),
        };
        let written = self.out.write_all(end.as_bytes()).and_then(|()| self.out.flush());
        written.map_err(CliError::Unwritten)
    }
}

/// Something to know or to do while a command goes on, at once.
#[cfg(feature = "host")]
pub(super) fn note(text: &str) {
    let _closed = writeln!(std::io::stderr(), "{} {}", paint("note:", "36"), clean(text));
}

/// The end of a process that panicked.
pub(super) fn bug() -> ExitCode {
    const BUG: u8 = 70;
    let text = "this is a bug; please report it with the lines above, and run the same command again: what the token signed is kept";
    let _closed = writeln!(std::io::stderr(), "{} {text}", paint("error:", "31"));
    ExitCode::from(BUG)
}

fn error_text(error: &CliError) -> String {
    let mut text = format!("{} {}\n", paint("error:", "31"), clean(&error.to_string()));
    if let (_, Some(hint)) = advice(error) {
        let _infallible = writeln!(text, "{} {}", paint(" hint:", "36"), clean(&hint));
    }
    text
}

fn error_json(error: &CliError) -> String {
    let (code, hint) = advice(error);
    json_text(&json!({ "error": error.to_string(), "hint": hint, "code": code as u8 }))
}

/// JSON that is as harmless on a terminal as [`clean`] text: it need not escape more than the control characters below 0x20.
fn json_text(value: &serde_json::Value) -> String {
    let text = format!("{value:#}\n");
    let escape = |c: char| if is_harmful(c) && c != '\n' { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() };
    text.chars().map(escape).collect()
}

fn paint(text: &str, colour: &str) -> String {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) || !std::io::stderr().is_terminal();
    if plain { text.to_owned() } else { format!("\u{1b}[1;{colour}m{text}\u{1b}[0m") }
}

#[cfg(all(test, feature = "host"))]
mod tests;
