//! What is done with grants, builds, releases, keys and the log, by the machine that does it. The
//! order of checks lives here and nowhere else.
//!
//! Steps take folders, parsed values and traits; they know no command line, no card, no PKCS#11 and
//! no OpenPGP library, and they print nothing.

pub mod builder;
pub mod evidence;
#[cfg(feature = "host")]
pub mod host;
pub mod release;

/// An observer of long reads.
pub trait Progress {
    /// A file of this size in bytes is about to be read.
    fn file(&mut self, name: &str, bytes: u64);

    /// This many more of its bytes were read.
    fn read(&mut self, bytes: u64);
}

/// No observer.
#[derive(Debug, Clone, Copy)]
pub struct Unwatched;

impl Progress for Unwatched {
    fn file(&mut self, _: &str, _: u64) {}

    fn read(&mut self, _: u64) {}
}
