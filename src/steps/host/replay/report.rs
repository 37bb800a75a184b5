//! What a replay finds.

use serde::Serialize;

use crate::domain::event::Finding;
use crate::domain::key::Fingerprint;

/// A card as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardNow {
    /// Its manufacturer and serial number, as in the log.
    pub card: String,
    /// How many signatures its key has made.
    pub counter: u32,
    /// The OpenPGP fingerprint of its key; nothing if there is no key, or none that can be named.
    pub key: Option<Fingerprint>,
}

/// What a card's count and the log say of each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// How many entries were looked at.
    pub entries: u64,
    /// The entry that tells the card's count first, and that count: what came before is not in this
    /// log.
    pub begins: (u64, u32),
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// What was wrong, and was acknowledged.
    pub known: Vec<Known>,
    /// What lost answers explain.
    pub lost: Vec<Lost>,
    /// What may explain the findings when it is finished.
    pub unfinished: Vec<Undecided>,
    /// The other cards of the log.
    pub others: Vec<OtherCard>,
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
    /// The operator's words.
    pub reason: String,
}

/// Signatures whose answers can have been lost in a run that stopped or was cut off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lost {
    /// The entries that began the use, or told its end.
    pub runs: Vec<u64>,
    /// How many.
    pub signatures: u64,
}

/// A run of which nobody tells yet how many signatures it has kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Undecided {
    /// The entry of its intent.
    pub intent: u64,
    /// How many more it may have made than it explains now, at most.
    pub signatures: u64,
}

/// Another card of the log, at which nobody looked now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OtherCard {
    /// Which.
    pub card: String,
    /// The last entry that tells its count.
    pub entry: u64,
    /// That count.
    pub counter: u32,
    /// What is wrong between the entries about it, and was not acknowledged.
    pub findings: Vec<Finding>,
}
