//! What to do next: for each error one advice, and the exit code.

mod code;
#[cfg(feature = "host")]
mod host;
mod read;

use code::Code::{Refused, Trouble, Usage};
use code::{Advice, diagnosed, hint};
use read::CERTIFICATE_HELP;

use super::error::CliError;
use crate::steps::builder::attest::AttestError;
use crate::steps::builder::build_key::KeyFault;

/// The advice for an error.
pub(super) fn advice(error: &CliError) -> Advice {
    match error {
        CliError::Certificate { .. } => hint(Usage, CERTIFICATE_HELP),
        CliError::BuildKey { fault, .. } => build_key_hint(fault),
        CliError::NoBuildKey(_) => hint(
            Usage,
            "`attest` removes a build key when it has used it: another build takes another grant and key",
        ),
        CliError::BuildKeyOpen { path, .. } => {
            hint(Usage, format!("run `chmod 600 {}`", path.display()))
        }
        CliError::Credential { .. } => hint(
            Usage,
            "pass it with `LoadCredential=` or `systemd-creds`, or name a file instead",
        ),
        CliError::NotAdmitted { .. } => hint(
            Refused,
            "the reason stands beside each submission, in `NAME.refused`",
        ),
        CliError::DidNotHold { .. } => hint(
            Refused,
            "do not use these files; fetch the release again, or ask its maintainers",
        ),
        CliError::Attest(error) => attest(error),
        CliError::Admit(error) => diagnosed(error),
        CliError::Release(error) => diagnosed(error),
        CliError::File(error) => diagnosed(error),
        CliError::Usage(_) => (Usage, None),
        CliError::Unwritten(_) => (Trouble, None),
        CliError::BadGrant { .. } => hint(
            Refused,
            "give the grant file that `countersign grant` wrote",
        ),
        CliError::NotLogged(error) => diagnosed(error),
        CliError::LogKey { .. } => {
            hint(Usage, "give the key as `countersign log export` prints it")
        }
        #[cfg(feature = "host")]
        CliError::Host(error) => host::host(error),
    }
}

fn build_key_hint(fault: &KeyFault) -> Advice {
    match fault {
        KeyFault::Malformed(_) => hint(
            Usage,
            "give the `.key` file that `countersign grant` or `countersign build-key` wrote, \
             unchanged: importing and exporting it loses its headers",
        ),
        KeyFault::Empty => hint(
            Usage,
            "hand the secret over again: nothing of it arrived here",
        ),
        KeyFault::Public => hint(
            Usage,
            "give the secret half: the file without `.pub` at the end of its name",
        ),
        KeyFault::OtherScheme { .. } => hint(Usage, "give the key that was made for this grant"),
        KeyFault::NoGrant => hint(
            Usage,
            "give the grant with `--grant FILE`, or the `.key` file that `countersign grant` wrote",
        ),
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
        AttestError::Expired { .. } | AttestError::GrantExpired { .. } => hint(
            Refused,
            "ask the signing host's operator for a new grant, with a new key if this one was made here",
        ),
        AttestError::Key(fault) => build_key_hint(fault),
        AttestError::NoPredicate => hint(
            Usage,
            "leave `--predicate` out, or ask for a grant of scheme dsse",
        ),
        AttestError::Name { .. } => hint(Usage, "rename it; the signing host would refuse it"),
        AttestError::NotAllowed { .. } => hint(
            Refused,
            "leave it out, or ask for a grant that allows it; the build key is kept for the next try",
        ),
        AttestError::SecretKey { .. } => hint(Usage, "keep keys out of the folder of artifacts"),
        AttestError::OwnFile { .. } => hint(Usage, "remove it, or leave it out of the artifacts"),
        AttestError::SeveralFolders { .. } => {
            hint(Usage, "say with `-o DIR` where the evidence goes")
        }
        AttestError::List(_) => (Usage, None),
        AttestError::File(error) => diagnosed(error),
    }
}
