//! `SHA256SUMS`: the list of everything in the release but its signatures, which `sha256sum -c`
//! reads.

use super::{Content, File};
use crate::domain::release::Sums;
use crate::domain::reserved::SUMS;

pub(super) fn file(sums: &Sums) -> File {
    File {
        name: SUMS.to_owned(),
        content: Content::Bytes(sums.to_text().into_bytes()),
    }
}
