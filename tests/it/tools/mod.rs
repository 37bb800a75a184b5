//! Other people's tools as judges.

mod interop;
