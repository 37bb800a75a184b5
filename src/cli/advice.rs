//! What to do next: for each error one advice, and the exit code.

mod code;
#[cfg(feature = "host")]
mod host;
mod read;

use code::Code::{Refused, Trouble, Usage};
use code::{Advice, diagnosed, hint};
use read::CERTIFICATE_HELP;

use super::error::CliError;

/// The advice for an error.
pub(super) fn advice(error: &CliError) -> Advice {
    match error {
        CliError::Certificate { .. } => hint(Usage, CERTIFICATE_HELP),
        CliError::BuildKey { fault, .. } => diagnosed(fault),
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
        CliError::Attest(error) => diagnosed(error),
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
