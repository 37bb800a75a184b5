//! What a release has beside its artifacts and its evidence, format by format.
//!
//! A format is a pure function: from a verified build to files, with holes where a signature will
//! be. It knows no key, no token and no I/O. A new format is a file here and a line in [`files`].

mod detached;
mod sums;

pub use detached::signature_name;

use crate::domain::release::Sums;
use crate::domain::signing::SignedFile;

/// A file that the signing host adds to a release.
#[derive(Debug, PartialEq, Eq)]
pub struct File<'a> {
    /// Its name in the release.
    pub name: String,
    /// What is in it.
    pub content: Content<'a>,
}

/// The content of a file that the signing host adds to a release.
#[derive(Debug, PartialEq, Eq)]
pub enum Content<'a> {
    /// These bytes.
    Bytes(Vec<u8>),
    /// The armoured signature of this file, once the token has made it.
    SignatureOf(SignedFile<'a>),
}

/// Every file that the signing host adds to the release with this list.
pub fn files(sums: &Sums) -> Vec<File<'_>> {
    let mut files = vec![sums::file(sums)];
    files.extend(detached::files(sums));
    files
}
