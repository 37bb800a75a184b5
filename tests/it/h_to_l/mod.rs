//! What goes from the signing host to the location.

mod admit;
mod meaning;
mod policy;
mod push;
mod withdraw;
