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
    /// A certificate or a key that was given.
    #[error("{what}: {fault}")]
    #[diagnostic(code(usage::input_malformed), help("{help}"))]
    Malformed {
        what: String,
        fault: Malformed,
        help: &'static str,
    },
    #[error("{message}")]
    #[diagnostic(code(usage::build_key_unavailable), help("{help}"))]
    NoBuildKey { message: String, help: String },
    #[error("refused {refused} of {all} submissions")]
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
