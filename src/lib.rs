//! A hardware-backed release signer: the signing host verifies what the build machine made, and only then drives the
//! token that holds the release key.
//!
//! [`domain`] holds values and rules without I/O, [`files`] reads what is hostile and writes what must be whole.

pub mod domain;
pub mod files;
pub mod openpgp;
