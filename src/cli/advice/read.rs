//! What to do next about what was read, whoever reads it: files, certificates, releases.

use super::code::{Advice, Code, diagnosed};
use crate::files::{FileError, FileFault};

/// `missing`: what a file that is not there, or is of the wrong kind, means where it was looked
/// for.
pub(super) fn file(error: &FileError, missing: Code) -> Advice {
    match &error.fault {
        FileFault::Missing
        | FileFault::Kind { .. }
        | FileFault::TooLarge { .. }
        | FileFault::TooMany { .. } => (missing, None),
        FileFault::Exists
        | FileFault::Busy
        | FileFault::Full(_)
        | FileFault::Denied(_)
        | FileFault::Io(_) => diagnosed(error),
    }
}

pub(super) const CERTIFICATE_HELP: &str =
    "export one certificate with `countersign key export` or `gpg --export FINGERPRINT`";
