//! A file that a format adds to a release.

use crate::domain::signing::SignedFile;

/// A file that the signing host adds to a release.
#[derive(Debug, PartialEq, Eq)]
pub struct File {
    /// Its name in the release.
    pub name: String,
    /// What is in it.
    pub content: Content,
}

/// The content of a file that the signing host adds to a release.
#[derive(Debug, PartialEq, Eq)]
pub enum Content {
    /// These bytes.
    Bytes(Vec<u8>),
    /// The armoured signature of this file, once the token has made it.
    SignatureOf(SignedFile),
}
