//! The program from outside, sorted by the boundary that a test is about.

mod common;

#[cfg(feature = "host")]
mod cli;
#[cfg(feature = "host")]
mod docs;
#[cfg(feature = "host")]
mod faults;
#[cfg(feature = "host")]
mod h;
#[cfg(feature = "host")]
mod h_to_l;
#[cfg(not(feature = "host"))]
mod m;
#[cfg(feature = "host")]
mod m_to_h;
#[cfg(feature = "host")]
mod tools;
