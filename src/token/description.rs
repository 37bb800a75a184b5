//! What a token reports before it is unlocked: its name, its keys, the state of its PIN.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::uri::TokenUri;
use crate::domain::key::{Fingerprint, PublicKey};
use crate::domain::time::Timestamp;

/// What a token reports of itself without a PIN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenDescription {
    /// The URI of exactly this token and key, with the module and PIN source of the URI that was
    /// asked for.
    pub uri: TokenUri,
    /// The token's label.
    pub label: String,
    /// Its manufacturer.
    pub manufacturer: String,
    /// The manufacturer's name of the model.
    pub model: String,
    /// Serial number.
    pub serial: String,
    /// The state of its PIN.
    pub pin: PinState,
    /// What else it reports, if it is an OpenPGP card.
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

/// What an OpenPGP card reports of its signing key (OpenPGP smart card application 3.4, section
/// 4.4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CardState {
    /// Whether a signature waits for a touch.
    pub touch: TouchPolicy,
    /// Whether each signature requires the PIN again.
    pub pin_per_signature: bool,
    /// How many signatures the key has made, if the card reports it.
    pub signatures: Option<u32>,
    /// The state of the admin PIN.
    pub admin_pin: PinState,
    /// The OpenPGP fingerprint that is stored on the card with the key.
    pub fingerprint: Option<Fingerprint>,
    /// The creation time of the OpenPGP key that is stored on the card with the key.
    pub created: Option<Timestamp>,
}

/// When a card requires a touch before it signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TouchPolicy {
    /// Never, or the card does not support it.
    Off,
    /// Before each signature.
    On,
    /// Before each signature, until a factory reset.
    Fixed,
    /// Before a signature, unless touched a few seconds ago.
    Cached,
    /// As `Cached`, until a factory reset.
    CachedFixed,
}

/// The state of a token's PIN, as far as the token reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PinState {
    /// No try was lost, or the token does not count.
    Untouched,
    /// At least one wrong PIN was tried since the last right one.
    CountLow,
    /// This number of tries is left, at least two.
    Left(u8),
    /// One try is left: another wrong PIN locks it.
    FinalTry,
    /// Locked.
    Locked,
    /// The token needs no PIN.
    NotNeeded,
}

/// A key found on a token without unlocking it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundKey {
    /// The token, with the URI of exactly this key.
    pub token: TokenDescription,
    /// The key's label.
    pub label: String,
    /// The key's id.
    pub id: Vec<u8>,
    /// Its public half.
    pub public: Result<PublicKey, NoSuchKey>,
}

/// Why a token has no key that can sign a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoSuchKey {
    /// The slot of the card is empty.
    Absent,
    /// It cannot sign a release, for this reason.
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
    /// The signatures, if they are known.
    pub signatures: Option<u32>,
}

/// A request for a PIN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinRequest {
    /// The token, as its label and serial number.
    pub token: String,
    /// Which PIN.
    pub pin: Pin,
    /// Its state.
    pub state: PinState,
}

/// Which of a token's PINs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
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
