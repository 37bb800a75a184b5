//! What holds the release key: an OpenPGP card, a PKCS#11 token, or (for tests) a file.
//!
//! A [`Token`] has two duties: its public key and a signature over a digest. Finding it, telling several apart and
//! unlocking it come before, through [`find`] and [`LockedToken`]; whoever sits at the terminal is asked through
//! [`Interaction`]. This module knows neither OpenPGP nor what is signed, and it prints nothing.

mod card;
mod file;
mod pin;
mod pkcs11;
mod raw;
mod uri;

use std::fmt;

use secrecy::SecretString;
use serde::Serialize;

use crate::domain::key::{Fingerprint, KeyKind, MessageDigest, PublicKey, RawSignature};
use crate::domain::time::Timestamp;

pub use pin::{PinError, PinSource};
pub use uri::{CardUri, Pkcs11Uri, TokenUri, UriError};

/// A token that is found and not yet unlocked. Nothing it tells has cost a PIN try.
pub trait LockedToken {
    /// The public half of its signing key; `None` where the token shows it only after the PIN.
    fn public(&self) -> Option<&PublicKey>;

    /// What it tells about itself.
    fn description(&self) -> &TokenDescription;

    /// Unlocks it: at most one PIN is tried.
    fn unlock(self: Box<Self>, interaction: &mut dyn Interaction) -> Result<Box<dyn Token>, TokenError>;
}

/// A token that is ready to sign.
pub trait Token {
    /// The public half of the signing key.
    fn public(&self) -> &PublicKey;

    /// Signs one digest: RSA with PKCS#1 v1.5, ECDSA over the digest cut to the field's size, Ed25519 with the digest as
    /// the message (RFC 9580, section 5.2.3). The answer is as the token gave it: checking it is for whoever asked.
    fn sign(&mut self, digest: &MessageDigest) -> Result<RawSignature, TokenError>;

    /// Whether each signature waits until somebody touches the token.
    fn waits_for_touch(&self) -> bool {
        false
    }

    /// How often it has signed, if it is a card.
    fn counter(&self) -> Option<CardCounter> {
        None
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

/// Lets the token sign, and says so when it waits for a touch.
pub fn sign(
    token: &mut dyn Token,
    digest: &MessageDigest,
    interaction: &mut dyn Interaction,
) -> Result<RawSignature, TokenError> {
    if token.waits_for_touch() {
        interaction.touch();
    }
    token.sign(digest)
}

/// What a token tells about itself without a PIN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenDescription {
    /// The URI that names exactly this token and key, with the module and PIN source it was found by.
    pub uri: String,
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
        Some(CardCounter { card: self.label.clone(), signatures: card.signatures })
    }
}

/// What an OpenPGP card tells about its signing key (OpenPGP smart card application 3.4, section 4.4).
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
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoSuchKey {
    /// The place on the card is empty.
    #[error("none yet")]
    Absent,
    /// It is of another kind.
    #[error("unsuitable: {0}")]
    Unsuitable(String),
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

/// A key to be made on a token.
pub struct NewKey<'a> {
    /// Its kind.
    pub kind: KeyKind,
    /// The creation time of the OpenPGP key, which a card keeps beside it.
    pub created: Timestamp,
    /// The OpenPGP fingerprint of a key made then, which a card keeps too.
    pub fingerprint: &'a dyn Fn(&PublicKey) -> Option<Fingerprint>,
    /// Whether it may take the place of the signing key that is on a card.
    pub replace: bool,
}

/// A run of signatures that is about to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// How many signatures.
    pub signatures: usize,
    /// The token.
    pub token: TokenDescription,
}

/// Whoever can answer while a token is unlocked.
pub trait Interaction {
    /// Asks for the PIN, once. `None`: there is nobody to ask, or they declined.
    fn pin(&mut self, request: &PinRequest) -> Option<SecretString>;

    /// One wrong PIN more locks the token: may it be tried? Asked before [`Interaction::pin`].
    fn final_try(&mut self, request: &PinRequest) -> bool;

    /// The PIN is now to be typed on the keypad of the token or of its reader.
    fn at_keypad(&mut self, _request: &PinRequest) {}

    /// Signatures are about to be asked for; the token is not unlocked yet.
    fn begins(&mut self, _batch: &Batch) {}

    /// The token waits to be touched.
    fn touch(&mut self) {}

    /// This key on the token is about to be lost for ever, in favour of a new one.
    fn replaces(&mut self, _token: &str, _key: &str) {}

    /// Another program holds the token, as the error says: wait for it?
    fn held(&mut self, _error: &TokenError) -> bool {
        false
    }
}

/// What can go wrong with a token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The module cannot be loaded or initialised.
    #[error("PKCS#11 module `{module}` cannot be used: {reason}")]
    Module {
        /// Its path.
        module: String,
        /// What the loader or the module said.
        reason: String,
    },
    /// The URI names no module.
    #[error("token URI `{uri}` names no PKCS#11 module")]
    NoModule {
        /// The URI.
        uri: String,
    },
    /// No token fits.
    #[error("no token fits `{uri}`; present: {}", list(present))]
    TokenAbsent {
        /// What was looked for.
        uri: String,
        /// The tokens there are.
        present: Vec<String>,
    },
    /// Several tokens fit.
    #[error("{} tokens fit `{uri}`: {}", candidates.len(), list(candidates))]
    TokenAmbiguous {
        /// What was looked for.
        uri: String,
        /// Those that fit.
        candidates: Vec<String>,
    },
    /// No key fits.
    #[error("no key on token `{token}` fits `{uri}`; present: {}", list(present))]
    KeyAbsent {
        /// The token.
        token: String,
        /// What was looked for.
        uri: String,
        /// The keys there are.
        present: Vec<String>,
    },
    /// Several keys fit.
    #[error("{} keys on token `{token}` fit `{uri}`: {}", candidates.len(), list(candidates))]
    KeyAmbiguous {
        /// The token.
        token: String,
        /// What was looked for.
        uri: String,
        /// Those that fit.
        candidates: Vec<String>,
    },
    /// The name for a new key is taken.
    #[error("token `{token}` already holds a key {key}")]
    KeyExists {
        /// The token.
        token: String,
        /// The key, by label or id.
        key: String,
    },
    /// The URI does not say what a new key is to be called.
    #[error("token URI `{uri}` does not name the key to make")]
    KeyUnnamed {
        /// The URI.
        uri: String,
    },
    /// The key is of a kind that cannot sign a release.
    #[error("key {key} on token `{token}` cannot sign a release: {reason}")]
    KeyUnsuitable {
        /// The token.
        token: String,
        /// The key.
        key: String,
        /// Why not.
        reason: String,
    },
    /// The token lacks a mechanism.
    #[error("token `{token}` does not support {mechanism}")]
    MechanismUnsupported {
        /// The token.
        token: String,
        /// The PKCS#11 name of the mechanism.
        mechanism: String,
    },
    /// The PIN was wrong; one try is gone.
    #[error("wrong {pin} for token `{token}`")]
    PinWrong {
        /// The token.
        token: String,
        /// Which PIN.
        pin: Pin,
        /// How the PIN stands now.
        state: PinState,
    },
    /// The PIN is locked.
    #[error("the {pin} of token `{token}` is locked")]
    PinLocked {
        /// The token.
        token: String,
        /// Which PIN.
        pin: Pin,
    },
    /// One try is left and nobody consented to use it.
    #[error("token `{token}` has one try left for the {pin}; not trying unattended")]
    FinalTry {
        /// The token.
        token: String,
        /// Which PIN.
        pin: Pin,
    },
    /// The token was never given a PIN.
    #[error("token `{token}` is not initialised: it has no user PIN")]
    PinNotSet {
        /// The token.
        token: String,
    },
    /// No PIN could be had.
    #[error("no {pin} for token `{token}`: {source}")]
    Pin {
        /// The token.
        token: String,
        /// Which PIN.
        pin: Pin,
        /// What was wrong with its source.
        source: PinError,
    },
    /// The session or the token went away and did not come back at once.
    #[error("token `{token}` went away: {reason}")]
    SessionLost {
        /// The token.
        token: String,
        /// What the module said.
        reason: String,
    },
    /// Another program holds the token, or its sessions are used up.
    #[error("token `{token}` is busy: {reason}")]
    Busy {
        /// The token.
        token: String,
        /// What the module said.
        reason: String,
    },
    /// Another program holds the card for itself alone.
    #[error("the card in reader `{reader}` is held by another program{}", by(holders))]
    Held {
        /// The reader.
        reader: String,
        /// Programs that use the smart card service, as far as can be seen.
        holders: Vec<String>,
    },
    /// The smart card service does not answer.
    #[error("the smart card service cannot be used: {reason}")]
    NoCardService {
        /// What it said.
        reason: String,
    },
    /// There is no signing key on the card.
    #[error("card `{token}` has no signing key")]
    SlotEmpty {
        /// The card.
        token: String,
    },
    /// There is a signing key on the card already.
    #[error("card `{token}` has a signing key already: {key}")]
    SlotTaken {
        /// The card.
        token: String,
        /// The key.
        key: String,
    },
    /// The token waited for a touch, and none came.
    #[error("token `{token}` was not touched in time")]
    TouchMissing {
        /// The token.
        token: String,
    },
    /// The token's signature counter did not go up by one with its signature.
    #[error("the signature counter of token `{token}` went from {before} to {after} with one signature")]
    Counter {
        /// The token.
        token: String,
        /// Before the signature.
        before: u32,
        /// After it.
        after: u32,
    },
    /// An answer that the standard does not allow.
    #[error("token `{token}` answered {call} with {answer}")]
    Unexpected {
        /// The token.
        token: String,
        /// The PKCS#11 function, or the card's command.
        call: &'static str,
        /// The answer, or what was wrong with it.
        answer: String,
    },
    /// A `file:` token that cannot be used.
    #[error("token file `{path}` cannot be used: {reason}")]
    File {
        /// Its path.
        path: String,
        /// Why not.
        reason: String,
    },
}

fn list(items: &[String]) -> String {
    if items.is_empty() { "none".to_owned() } else { items.join(", ") }
}

fn by(holders: &[String]) -> String {
    if holders.is_empty() { String::new() } else { format!(": {}", holders.join(", ")) }
}

/// Finds the one token and key that `uri` names, without a PIN.
pub fn find(uri: &TokenUri, interaction: &mut dyn Interaction) -> Result<Box<dyn LockedToken>, TokenError> {
    match uri {
        TokenUri::Card(uri) => card::find(uri, interaction),
        TokenUri::Pkcs11(uri) => pkcs11::find(uri),
        TokenUri::File(path) => file::find(path),
    }
}

/// Lists the keys on the tokens that `uri` names, without a PIN; the URI's `object` and `id` narrow the list.
pub fn list_keys(uri: &TokenUri, interaction: &mut dyn Interaction) -> Result<Vec<FoundKey>, TokenError> {
    match uri {
        TokenUri::Card(uri) => card::list_keys(uri, interaction),
        TokenUri::Pkcs11(uri) => pkcs11::list_keys(uri),
        TokenUri::File(path) => file::list_keys(path),
    }
}

/// Lists the signing keys of all OpenPGP cards there are, without a PIN, and what went wrong with others.
pub fn list_cards(interaction: &mut dyn Interaction) -> Result<(Vec<FoundKey>, Vec<TokenError>), TokenError> {
    card::list_all(interaction)
}

/// Generates a key pair on the token; the private half is sensitive and not extractable. The answer names exactly that
/// key, and is ready to sign with it. A key that bears the name already is never replaced; the one signing key of a card
/// is, where [`NewKey::replace`] says so.
pub fn generate(
    uri: &TokenUri,
    new: &NewKey<'_>,
    interaction: &mut dyn Interaction,
) -> Result<(TokenUri, Box<dyn Token>), TokenError> {
    match uri {
        TokenUri::Card(uri) => {
            let (uri, token) = card::generate(uri, new, interaction)?;
            Ok((TokenUri::Card(uri), token))
        }
        TokenUri::Pkcs11(uri) => {
            let (uri, token) = pkcs11::generate(uri, new.kind, interaction)?;
            Ok((TokenUri::Pkcs11(uri), token))
        }
        TokenUri::File(path) => Ok((TokenUri::File(path.clone()), file::generate(path, new.kind)?)),
    }
}
