//! Other people's tools as judges.

mod differential;
mod interop;
