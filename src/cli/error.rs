//! What ends a command early: the error of a step, or one of the command line's own. Each brings
//! its code and its help; the class of the code decides the exit code.

use std::path::PathBuf;

use crate::domain::malformed::Malformed;
use crate::steps::builder::build_key::BuildKeyError;

/// What ends a command early.
pub(super) type CliError = miette::Report;

/// An error of the command line itself.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(super) enum CommandError {
    #[error("{0}")]
    #[diagnostic(code(usage::arguments))]
    Usage(String),
    #[error("standard output cannot be written: {0}")]
    #[diagnostic(code(trouble::output_unwritten))]
    Unwritten(std::io::Error),
    #[error("certificate `{}`: {fault}", path.display())]
    #[diagnostic(
        code(usage::certificate_unusable),
        help("export one certificate with `countersign key export` or `gpg --export FINGERPRINT`")
    )]
    Certificate { path: PathBuf, fault: Malformed },
    #[error("build key `{}`: {fault}", path.display())]
    #[diagnostic(forward(fault))]
    BuildKey { path: PathBuf, fault: BuildKeyError },
    #[error("build key `{}` does not exist", .0.display())]
    #[diagnostic(
        code(usage::build_key_missing),
        help(
            "`attest` removes a build key when it has used it: another build takes another grant \
             and key"
        )
    )]
    NoBuildKey(PathBuf),
    #[error("build key `{}` has mode {mode:04o}: others can read it", path.display())]
    #[diagnostic(code(usage::build_key_open), help("run `chmod 600 {}`", path.display()))]
    BuildKeyOpen { path: PathBuf, mode: u32 },
    #[error("there is no systemd credential `{name}`: {reason}")]
    #[diagnostic(
        code(usage::credential_missing),
        help("pass it with `LoadCredential=` or `systemd-creds`, or name a file instead")
    )]
    Credential { name: String, reason: &'static str },
    #[error("{refused} of {all} submissions were refused")]
    #[diagnostic(
        code(refused::submissions_refused),
        help("the reason is beside each submission, in `NAME.refused`")
    )]
    NotAdmitted { refused: usize, all: usize },
    #[error("{refused} of {all} could not be verified")]
    #[diagnostic(
        code(refused::not_verified),
        help("do not use these files; fetch the release again, or ask its maintainers")
    )]
    NotVerified { refused: usize, all: usize },
    #[error("log key `{key}`: {fault}")]
    #[diagnostic(
        code(usage::log_key_malformed),
        help("give the key as `countersign log export` prints it")
    )]
    LogKey { key: String, fault: Malformed },
    #[error("grant `{}`: {fault}", path.display())]
    #[diagnostic(
        code(refused::grant_malformed),
        help("give the grant file that `countersign grant` wrote")
    )]
    BadGrant { path: PathBuf, fault: Malformed },
}

/// The exit code and the reason of an error, from its code.
pub(super) fn exit_and_reason(error: &CliError) -> (u8, String) {
    let code = error.code().expect("every error has a code").to_string();
    let (class, reason) = code.split_once("::").expect("a class and a name");
    let exit = match class {
        "refused" => 1,
        "usage" => 2,
        "trouble" => 3,
        class => panic!("no exit code for `{class}`"),
    };
    (exit, reason.to_owned())
}
