//! What builders said of a build, whoever asks: H before it signs, L and anybody after.

pub mod builders;
mod check;
pub mod error;
pub mod quorum;

pub use check::{Attested, Files, MacCheck, check};
pub(in crate::steps) use check::{SLOW_CLOCK, check_count};
