//! What to do next: for each error one advice, and the exit code.

#[cfg(feature = "host")]
mod host;

use super::error::CliError;
use crate::files::{FileError, FileFault};
use crate::openpgp::{BadBuildKey, BadCertificate};
use crate::steps::admit::AdmitError;
use crate::steps::attest::AttestError;
use crate::steps::build_key::KeyFault;
use crate::steps::logged::NotLogged;
use crate::steps::verify::ReleaseError;

/// The exit code of a command: what whoever started it should think of next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    /// A check failed: what was given is not to be trusted.
    Refused = 1,
    /// The command or the configuration must change.
    Usage = 2,
    /// The token, the disk or the repository: try again.
    Trouble = 3,
}
use Code::{Refused, Trouble, Usage};

/// The exit code, and what to do next, if there is anything to say.
pub(super) type Advice = (Code, Option<String>);

/// The advice for an error.
pub(super) fn advice(error: &CliError) -> Advice {
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
        CliError::Host(error) => host::host(error),
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
        KeyFault::Token(error) => host::make(error),
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

#[cfg(all(test, feature = "host"))]
mod tests;
