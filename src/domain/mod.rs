//! Values and rules, no I/O: what a grant, a manifest and a release *are*, and what makes them
//! invalid.
//!
//! Everything that M, L or a file could have written is parsed here once, into a value that cannot
//! be wrong any more. This module knows no OpenPGP, no token, no file system, and imports nothing
//! of the crate above itself.

pub mod admission;
pub mod artifact;
pub mod build_key;
pub mod card;
pub mod claims;
pub mod contents;
pub mod digest;
pub mod event;
pub mod evidence;
pub mod first_line;
pub mod grant;
pub mod intent;
pub mod json;
pub mod key;
pub mod malformed;
pub mod manifest;
pub mod name;
pub mod policy;
pub mod release;
pub mod reserved;
pub mod signing;
pub mod statement;
pub mod text;
pub mod time;
pub mod version;
pub mod withdrawal;
