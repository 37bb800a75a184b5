//! What ends a command early: the error of a step, or one of the command line's own. Each brings
//! its code and its help; the class of the code decides the exit code.

use std::path::PathBuf;

use crate::domain::malformed::Malformed;

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
    #[error("{message}")]
    #[diagnostic(code(usage::build_key_unavailable), help("{help}"))]
    NoBuildKey { message: String, help: String },
    /// A command that had more than one thing to check.
    #[error("{refused} of {all} {what}")]
    #[diagnostic(code(refused::some_of_several), help("{help}"))]
    Some {
        refused: usize,
        all: usize,
        what: &'static str,
        help: &'static str,
    },
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

/// An error of a step, with what it happened to in front.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("{what}: {error}")]
#[diagnostic(forward(error))]
pub(super) struct Within<E: miette::Diagnostic + 'static> {
    pub(super) what: String,
    pub(super) error: E,
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
