//! What goes from the signing host to the location.

mod push;
