//! A hardware-backed release signer: the signing host verifies what the build machine made, and
//! only then drives the token that holds the release key.
//!
//! # The journey of one artifact
//!
//! 1. [`steps::host::grant`] approves a build and makes the key that is valid for it alone.
//! 2. [`steps::builder::attest`] lists on the build machine what was built, and signs the list.
//! 3. [`steps::host::release`] is the signing host's order, as one function: it makes a
//!    [`VerifiedBuild`](steps::host::build::VerifiedBuild), for which each artifact is read once,
//!    and has the token sign each [`Statement`](domain::signing::Statement) of its release, from
//!    the hash states of that one read.
//! 4. [`steps::host::hand_over`] pushes the release to the location, and exports the log.
//! 5. [`steps::release::admit`] and [`steps::release::verify`] check the release with the
//!    certificate alone.
//!
//! # The map
//!
//! | module | knows | does not know |
//! |---|---|---|
//! | [`domain`] | grants, manifests, releases, and what is signed | any I/O |
//! | [`formats`] | the files of a release, as pure functions | keys, any I/O |
//! | [`files`] | reading hostile files, writing complete ones | any format |
//! | [`openpgp`] | OpenPGP | where a key is |
//! | [`dsse`], [`mac`] | the two other schemes of evidence | what the signed bytes say |
//! | [`tlog`] | notes, checkpoints, proofs and tiles of a transparency log | its entries, any I/O |
//! | [`ssh`] | signatures made with `ssh-keygen` | who may approve |
//! | [`approver`] | a person's keys, of either kind | what makes an approval valid |
//! | `token` | OpenPGP cards, PKCS#11, PINs | OpenPGP |
//! | `ledger` | the log and the journal of runs | how an event came about |
//! | [`location`] | where releases are read from and published to | what makes a release good |
//! | `home`, `config` | the signing host's folder | the steps |
//! | [`steps`] | the order of checks, by machine | command line, tokens, OpenPGP library |
//! | [`cli`] | arguments, wording, exit codes | everything else |
//!
//! Without the feature `host` the modules for tokens, the ledger and the home are left out: what
//! remains is the builder's and the location's program.

#![cfg_attr(
    not(feature = "host"),
    allow(
        rustdoc::broken_intra_doc_links,
        reason = "the journey of an artifact leads through the steps of the host"
    )
)]

pub mod approver;
pub mod cli;
#[cfg(feature = "host")]
pub mod config;
pub mod domain;
pub mod dsse;
pub mod files;
pub mod formats;
#[cfg(feature = "host")]
pub mod home;
#[cfg(feature = "host")]
pub mod ledger;
pub mod location;
pub mod mac;
pub mod openpgp;
pub mod ssh;
pub mod steps;
pub mod tlog;
#[cfg(feature = "host")]
pub mod token;
