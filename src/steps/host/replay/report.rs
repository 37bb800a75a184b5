//! What comes out of a replay.

use serde::Serialize;

use crate::domain::event::Finding;
use crate::domain::key::Fingerprint;

/// The card as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardNow {
    /// Its manufacturer and serial number, as in the log.
    pub card: String,
    /// How many signatures its key has made.
    pub counter: u32,
    /// The OpenPGP fingerprint of its key; nothing if there is no key, or its fingerprint is not
    /// known.
    pub key: Option<Fingerprint>,
}

/// The comparison of a card's counter with the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// How many entries were read.
    pub entries: u64,
    /// Where the log of this card begins: what the card signed before is not in it.
    pub begins: Reading,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// What was wrong, and was acknowledged.
    pub known: Vec<Known>,
    /// Signatures that lost answers explain.
    pub lost: Vec<Lost>,
    /// Runs that may explain the findings when they are finished.
    pub unfinished: Vec<Unfinished>,
    /// The other cards of the log.
    pub others: Vec<OtherCard>,
}

/// A counter as an entry has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Reading {
    /// The entry.
    pub entry: u64,
    /// How many signatures the card's key had made.
    pub counter: u32,
}

/// A finding that an operator has acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Known {
    /// The finding.
    #[serde(flatten)]
    pub finding: Finding,
    /// The entry that acknowledges it.
    #[serde(rename = "acknowledged")]
    pub entry: u64,
    /// The operator's reason.
    pub reason: String,
}

/// Signatures whose answers may have been lost, in runs that stopped or were cut off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lost {
    /// The entries that began the runs, or recorded their end.
    pub runs: Vec<u64>,
    /// How many.
    pub signatures: u64,
}

/// A run whose number of kept signatures is not known yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unfinished {
    /// The entry of its intent.
    pub intent: u64,
    /// Maximum number of signatures that it may explain beyond those it explains now.
    pub signatures: u64,
}

/// Another card of the log, which was not read now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OtherCard {
    /// Its manufacturer and serial number.
    pub card: String,
    /// Its last counter in the log.
    #[serde(flatten)]
    pub last: Reading,
    /// What is wrong between the entries about it, and was not acknowledged.
    pub findings: Vec<Finding>,
}
