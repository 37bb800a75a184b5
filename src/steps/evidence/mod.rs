//! What builders attested of a build: H asks before it signs, L and anybody after.

pub mod approval;
pub mod builders;
pub mod check;
pub mod error;
pub mod kept;
pub mod quorum;

pub use check::{Attested, Files, MacCheck, check};
