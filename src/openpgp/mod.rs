//! The only module that knows OpenPGP (RFC 9580) and the library for it.
//!
//! Signatures are made and checked over a [`HashState`] from the one read of a file, so that the
//! verified bytes are the signed bytes. This module does not know where a key is: a caller who
//! makes a signature gives a function that signs a digest.

mod build_key;
mod certificate;
mod hash;
mod kept;
mod key;
mod make;
mod packet;
mod parts;
mod reason;
mod signature;
mod signing_key;
mod subpackets;

pub use build_key::{BuildKey, GeneratedKey, LARGEST_BUILD_KEY};
pub use certificate::{Certificate, LARGEST_CERTIFICATE, mail_domain};
pub use hash::HashState;
pub use make::{
    MakeError, NewCertificate, extend_certificate, fingerprint_of, make_certificate,
    make_evidence_signature, make_release_signature,
};
pub use signature::{BadSignature, DetachedSignature, Signed};
pub use signing_key::{KeyTrouble, SigningKey};
