//! What a token tells of itself before it is unlocked: its name, its keys, how its PIN stands.

use std::fmt;

use serde::Serialize;

use super::uri::TokenUri;
use crate::domain::key::{Fingerprint, PublicKey};
use crate::domain::time::Timestamp;

/// What a token tells about itself without a PIN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenDescription {
    /// The URI that names exactly this token and key, with the module and PIN source it was found
    /// by.
    pub uri: TokenUri,
    /// The token's label.
    pub label: String,
    /// Who made it.
    pub manufacturer: String,
    /// Model, as the maker calls it.
    pub model: String,
    /// Serial number.
    pub serial: String,
    /// How its PIN stands.
    pub pin: PinState,
    /// What it tells beside, if it is an OpenPGP card.
    pub card: Option<CardState>,
}

impl TokenDescription {
    /// How often it has signed, if it is a card.
    pub fn counter(&self) -> Option<CardCounter> {
        let card = self.card.as_ref()?;
        Some(CardCounter {
            card: self.label.clone(),
            signatures: card.signatures,
        })
    }
}

/// What an OpenPGP card tells about its signing key (OpenPGP smart card application 3.4, section
/// 4.4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CardState {
    /// Whether a signature waits for a touch.
    pub touch: TouchPolicy,
    /// Whether each signature takes the PIN anew.
    pub pin_per_signature: bool,
    /// How many signatures the key has made, where the card tells.
    pub signatures: Option<u32>,
    /// How the admin PIN stands.
    pub admin_pin: PinState,
    /// The OpenPGP fingerprint that was written to the card beside the key.
    pub fingerprint: Option<Fingerprint>,
    /// The creation time of the OpenPGP key that was written to the card beside it.
    pub created: Option<Timestamp>,
}

/// When a card waits for a touch before it signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TouchPolicy {
    /// Never, or the card knows no touch.
    Off,
    /// Before each signature.
    On,
    /// Before each signature, and only a factory reset changes that.
    Fixed,
    /// Before a signature, unless it was touched some seconds ago.
    Cached,
    /// As `Cached`, and only a factory reset changes that.
    CachedFixed,
}

/// How a token's PIN stands, as far as the token tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PinState {
    /// No try was lost, or the token does not count.
    Untouched,
    /// At least one wrong PIN was given since the last right one.
    CountLow,
    /// So many tries are left: two at least.
    Left(u8),
    /// One wrong PIN more locks it.
    FinalTry,
    /// Locked.
    Locked,
    /// Takes no PIN.
    NotNeeded,
}

/// A key found on a token without unlocking it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundKey {
    /// The token, with the URI that names exactly this key.
    pub token: TokenDescription,
    /// The key's label.
    pub label: String,
    /// The key's id.
    pub id: Vec<u8>,
    /// Its public half.
    pub public: Result<PublicKey, NoSuchKey>,
}

/// Why there is no key that can sign a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoSuchKey {
    /// The place on the card is empty.
    Absent,
    /// It is of another kind.
    Unsuitable(String),
}

impl fmt::Display for NoSuchKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("none yet"),
            Self::Unsuitable(reason) => write!(f, "unsuitable: {reason}"),
        }
    }
}

/// A card, and how many signatures its key has made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardCounter {
    /// Manufacturer and serial number.
    pub card: String,
    /// The signatures, as far as they are known.
    pub signatures: Option<u32>,
}

/// What a PIN is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinRequest {
    /// The token, as its label and serial number.
    pub token: String,
    /// Which PIN.
    pub pin: Pin,
    /// How it stands.
    pub state: PinState,
}

/// Which of a token's PINs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pin {
    /// The one for signing (PKCS#11: the user's PIN; OpenPGP card: PW1).
    User,
    /// The one for changing a card (OpenPGP card: PW3).
    Admin,
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::User => "PIN",
            Self::Admin => "admin PIN",
        })
    }
}
