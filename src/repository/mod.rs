//! L, seen from here: an inbox that anybody may have written, and the releases that were verified.

mod directory;

pub use directory::{Inbox, Releases};
