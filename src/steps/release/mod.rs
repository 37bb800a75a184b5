//! A release, checked with the release certificate alone: at L, and by anybody.

pub mod admit;
pub mod error;
mod evidence;
pub mod logged;
pub mod policy;
mod reader;
pub mod single;
pub mod verify;
pub mod wanted;
pub mod withdrawal;
