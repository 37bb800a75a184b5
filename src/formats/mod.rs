//! What a release has beside its artifacts and its evidence, format by format.
//!
//! A format is a pure function: from a verified build to files, with holes where a signature will
//! be. It knows no key, no token and no I/O. A new format is a file here and a line in [`files`].

mod detached;
mod file;
mod sums;

pub use detached::signature_name;
pub use file::{Content, File};

use crate::domain::contents::Contents;
use crate::domain::release::Sums;

/// Every file that the signing host adds to the release with these contents and this list.
pub fn files(contents: &Contents, sums: &Sums) -> Vec<File> {
    let mut files = vec![sums::file(sums)];
    files.extend(detached::files(&contents.plan()));
    files
}
