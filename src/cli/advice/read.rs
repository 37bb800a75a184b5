//! What to do next about what was read, whoever reads it: files, certificates, releases.

use super::code::Code::{Refused, Trouble};
use super::code::{Advice, Code, diagnosed, hint};
use crate::files::{FileError, FileFault};
use crate::steps::release::verify::ReleaseError;

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

pub(super) fn release(error: &ReleaseError) -> Advice {
    match error {
        ReleaseError::File(error) => file(error, Refused),
        ReleaseError::Copy(error) => file(error, Trouble),
        ReleaseError::Missing(_) => hint(Refused, "fetch the release again, complete"),
        ReleaseError::ListOnly(_) => hint(
            Refused,
            "verify the folder that it is in: the list stands for each file",
        ),
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
