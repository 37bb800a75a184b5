//! Everything that ends a command early. What to do next is for [`advice`](super::advice) to say.

#[cfg(feature = "host")]
mod host;

use std::path::PathBuf;

#[cfg(feature = "host")]
pub(super) use host::HostError;

use crate::domain::malformed::Malformed;
use crate::files::FileError;
use crate::steps::builder::attest::AttestError;
use crate::steps::builder::build_key::BuildKeyError;
use crate::steps::release::admit::AdmitError;
use crate::steps::release::error::ReleaseError;
use crate::steps::release::logged::NotLogged;

/// Everything that ends a command early.
#[derive(Debug, thiserror::Error)]
pub(super) enum CliError {
    #[error("{0}")]
    Usage(String),
    #[error("standard output cannot be written: {0}")]
    Unwritten(std::io::Error),
    #[error("certificate `{}`: {fault}", path.display())]
    Certificate { path: PathBuf, fault: Malformed },
    #[error("build key `{}`: {fault}", path.display())]
    BuildKey { path: PathBuf, fault: BuildKeyError },
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
    #[error(transparent)]
    NotLogged(#[from] NotLogged),
    #[error("log key `{key}`: {fault}")]
    LogKey { key: String, fault: Malformed },
    #[error("grant `{}`: {fault}", path.display())]
    BadGrant { path: PathBuf, fault: Malformed },
    #[cfg(feature = "host")]
    #[error(transparent)]
    Host(HostError),
}

/// So that `?` takes whatever [`HostError`] is made from.
#[cfg(feature = "host")]
impl<E: Into<HostError>> From<E> for CliError {
    fn from(error: E) -> Self {
        Self::Host(error.into())
    }
}
