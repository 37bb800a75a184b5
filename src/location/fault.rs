//! What can be wrong at a location, whatever its kind.

use std::io;

use crate::files::{FileError, FileFault};

/// What is wrong at a location, as a sentence.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum Fault {
    /// Something that should be there is not.
    #[error("{0}")]
    #[diagnostic(code(usage::missing_at_location))]
    Missing(String),
    /// Something is there that must not be replaced.
    #[error("{0}")]
    #[diagnostic(
        code(usage::location_occupied),
        help("move it away, or name another place")
    )]
    Occupied(String),
    /// More bytes or more files than can be right.
    #[error("{0}")]
    #[diagnostic(code(usage::too_large_at_location))]
    TooLarge(String),
    /// Not a file, such as a link.
    #[error("{0}")]
    #[diagnostic(code(usage::strange_at_location))]
    Strange(String),
    /// A person must act before it can work.
    #[error("{0}")]
    #[diagnostic(code(usage::location_denied))]
    Refused(String),
    /// It can work the next time.
    #[error("{0}")]
    #[diagnostic(
        code(trouble::location_unreachable),
        help("run the same command again when this is fixed")
    )]
    Unreachable(String),
    /// It cannot be what it is called, or cannot keep what such a location promises.
    #[error("{0}")]
    #[diagnostic(
        code(usage::unfit_location),
        help(
            "first the folder that is pushed to, then another one that is served: each contains \
             releases, one folder each"
        )
    )]
    Unfit(String),
}

impl From<FileError> for Fault {
    fn from(error: FileError) -> Self {
        let text = error.to_string();
        match error.fault {
            FileFault::Missing => Self::Missing(text),
            FileFault::Exists => Self::Occupied(text),
            FileFault::TooLarge { .. } | FileFault::TooMany { .. } => Self::TooLarge(text),
            FileFault::Kind { .. } => Self::Strange(text),
            FileFault::Denied(_) => Self::Refused(text),
            FileFault::Busy(_) | FileFault::Full(_) | FileFault::Io(_) => Self::Unreachable(text),
        }
    }
}

impl Fault {
    /// That of a place which a person named.
    pub(super) fn of_named(error: FileError) -> Self {
        match Self::from(error) {
            Self::Missing(text) | Self::Strange(text) => Self::Unfit(text),
            other => other,
        }
    }
}

impl From<Fault> for io::Error {
    fn from(fault: Fault) -> Self {
        Self::other(fault)
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        error
            .downcast()
            .unwrap_or_else(|error| Self::Unreachable(error.to_string()))
    }
}
