//! Uses of a card, and what its counter shows about them.

use serde::{Deserialize, Serialize};

use super::key::Fingerprint;

/// A card, and its counter: how many signatures its key had made, which nobody can turn back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CardUse {
    /// Its manufacturer and serial number, `0006:12345678`.
    pub card: String,
    /// How many before it was used, as far as it is known: in what announces a use, before the PIN;
    /// in what records its end, after the PIN, when no other program could reach the card.
    pub before: Option<u32>,
    /// How many after it was used, as far as it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u32>,
}

impl CardUse {
    /// As it is before the first signature was asked for.
    pub fn unchanged(self) -> Self {
        Self {
            after: self.before,
            ..self
        }
    }
}

/// A difference between a card's counter and the log. `after` is the entry with the counter before
/// it, `before` the entry with the counter after it; `None` if the card was read just now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum Finding {
    /// The card made signatures that no entry accounts for.
    Unlogged {
        /// After this entry.
        after: u64,
        /// Before this entry.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<u64>,
        /// How many, at least.
        signatures: u64,
    },
    /// The counter is lower than it must be: the key was imported again, or the card was reset.
    Fell {
        /// After this entry.
        after: u64,
        /// Before this entry.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<u64>,
        /// What it must have counted at least.
        from: u64,
        /// What it counted.
        to: u32,
    },
    /// The card has a key that differs from the log's, or none.
    OtherKey {
        /// The log's.
        logged: Fingerprint,
        /// That on the card, if there is one that has a name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        found: Option<Fingerprint>,
    },
}
