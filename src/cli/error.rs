//! What ends a command early: the error of a step, or one of the command line's own. Each has
//! its code and its help; the class of the code decides the exit code.

use std::path::PathBuf;
use std::{fmt, io};

use miette::Diagnostic;

use crate::domain::malformed::Malformed;

/// What ends a command early. Less than `miette::Report`, whose handlers would make the
/// builder's binary larger.
#[derive(Debug)]
pub(super) struct CliError(Box<dyn Diagnostic + Send + Sync>);

impl<E: Diagnostic + Send + Sync + 'static> From<E> for CliError {
    fn from(error: E) -> Self {
        Self(Box::new(error))
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl CliError {
    pub(super) fn help(&self) -> Option<String> {
        self.0.help().map(|help| help.to_string())
    }

    /// Whether the reader of standard output has closed it.
    pub(super) fn is_broken_pipe(&self) -> bool {
        let cause = self
            .0
            .source()
            .and_then(|cause| cause.downcast_ref::<io::Error>());
        cause.is_some_and(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
    }

    /// The exit code and the reason, from the code of the error.
    pub(super) fn exit_and_reason(&self) -> (u8, String) {
        let code = self.0.code().expect("every error has a code").to_string();
        let (class, reason) = code.split_once("::").expect("a class and a name");
        let exit = match class {
            "refused" => 1,
            "usage" => 2,
            "trouble" => 3,
            "notyet" => 4,
            class => panic!("no exit code for `{class}`"),
        };
        (exit, reason.to_owned())
    }
}

/// An error of the command line itself.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(super) enum CommandError {
    #[error("{0}")]
    #[diagnostic(code(usage::arguments))]
    Usage(String),
    #[error("standard output cannot be written: {0}")]
    #[diagnostic(code(trouble::output_unwritten))]
    Unwritten(#[source] io::Error),
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
