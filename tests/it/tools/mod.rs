//! Other people's tools as judges.

mod certificates;
mod differential;
mod interop;
