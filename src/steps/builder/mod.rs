//! M, the build machine: its key, and the evidence that it leaves beside what it built.

pub mod attest;
pub mod build_key;
mod earlier;
