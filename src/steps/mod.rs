//! What is done with grants, builds, releases, keys and the log, and what is checked for it: an act
//! in each file, or a noun that several acts ask about. The order of checks lives here and nowhere
//! else.
//!
//! Steps take folders, parsed values and traits; they know no command line, no card, no PKCS#11 and
//! no OpenPGP library, and they print nothing.

#[cfg(feature = "host")]
use crate::domain::event::CardUse;
#[cfg(feature = "host")]
use crate::token::CardCounter;

pub mod admit;
#[cfg(feature = "host")]
pub mod approval;
#[cfg(feature = "host")]
pub mod approve;
pub mod attest;
pub mod bad_evidence;
#[cfg(feature = "host")]
pub mod build;
pub mod build_key;
pub mod builder;
#[cfg(feature = "host")]
pub mod countersign;
pub mod evidence;
#[cfg(feature = "host")]
pub mod export;
#[cfg(feature = "host")]
pub mod grant;
#[cfg(feature = "host")]
pub mod journal;
pub mod logged;
#[cfg(feature = "host")]
pub mod policy;
#[cfg(feature = "host")]
pub mod push;
pub mod quorum;
#[cfg(feature = "host")]
pub mod reconcile;
#[cfg(feature = "host")]
pub mod release_checkpoint;
#[cfg(feature = "host")]
pub mod release_key;
#[cfg(feature = "host")]
pub mod revoke;
#[cfg(feature = "host")]
pub mod status;
pub mod verify;

/// What the log says of a card before it is used.
#[cfg(feature = "host")]
fn card_use(counter: CardCounter) -> CardUse {
    CardUse {
        card: counter.card,
        before: counter.signatures,
        after: None,
    }
}

/// Whoever watches a long read.
pub trait Progress {
    /// A file of so many bytes is read from now on.
    fn file(&mut self, name: &str, bytes: u64);

    /// So many more of its bytes were read.
    fn read(&mut self, bytes: u64);
}

/// Nobody watches.
#[derive(Debug, Clone, Copy)]
pub struct Unwatched;

impl Progress for Unwatched {
    fn file(&mut self, _: &str, _: u64) {}

    fn read(&mut self, _: u64) {}
}
