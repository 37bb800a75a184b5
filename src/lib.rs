//! A hardware-backed release signer: the signing host verifies what the build machine made, and
//! only then drives the token that holds the release key.
//!
//! # One artifact's way through this crate
//!
//! 1. [`steps::grant`] approves a build and makes the key that will live for it alone.
//! 2. [`steps::attest`] lists on the build machine what was built, and signs the list.
//! 3. [`steps::build`] checks on the signing host everything that must hold, reading each artifact
//!    once, and returns a [`VerifiedBuild`](steps::build::VerifiedBuild).
//! 4. [`steps::countersign`] takes that value, and nothing else, to the token; the signatures are
//!    finished from the hash states of that one read.
//! 5. [`steps::push`] brings the release to the location, where it can be reached from the signing
//!    host.
//! 6. [`steps::admit`] and [`steps::verify`] check the release with the certificate alone.
//!
//! # The map
//!
//! | module | knows | does not know |
//! |---|---|---|
//! | [`domain`] | what grants, manifests and releases are | any I/O |
//! | [`files`] | reading what is hostile, writing what must be whole | any format |
//! | [`openpgp`] | OpenPGP | where a key lives |
//! | [`dsse`], [`mac`] | the two other schemes of evidence | what the signed bytes say |
//! | [`tlog`] | notes, checkpoints, proofs and tiles of a transparency log | what its entries say, any I/O |
//! | `ssh` | signatures made with `ssh-keygen` | who may approve |
//! | `token` | OpenPGP cards, PKCS#11, PINs | OpenPGP, what is signed |
//! | `ledger` | the audit log and the journal of runs | how an event came about |
//! | [`location`] | the folders of the location | what makes a release good |
//! | `home`, `config` | the signing host's folder | the steps |
//! | [`steps`] | the order of checks | command line, cards, PKCS#11, OpenPGP library |
//! | [`cli`] | arguments, wording, exit codes | everything else |
//!
//! Without the feature `host` the modules for tokens, the ledger and the home are left out: what
//! remains is the builder's and the location's program.

#![cfg_attr(
    not(feature = "host"),
    allow(
        rustdoc::broken_intra_doc_links,
        reason = "the way of an artifact leads through the steps of the host"
    )
)]

pub mod cli;
#[cfg(feature = "host")]
pub mod config;
pub mod domain;
pub mod dsse;
pub mod files;
#[cfg(feature = "host")]
pub mod home;
#[cfg(feature = "host")]
pub mod ledger;
pub mod location;
pub mod mac;
pub mod openpgp;
#[cfg(feature = "host")]
pub mod ssh;
pub mod steps;
pub mod tlog;
#[cfg(feature = "host")]
pub mod token;
