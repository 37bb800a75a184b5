//! What holds the release key: a PKCS#11 token, or (for tests) a file.
//!
//! A [`Token`] has two duties: its public key and a signature over a digest. Finding it, telling several apart and
//! unlocking it come before, through [`find`] and [`LockedToken`]; whoever sits at the terminal is asked through
//! [`Interaction`]. This module knows neither OpenPGP nor what is signed, and it prints nothing.

mod file;
mod pin;
mod pkcs11;
mod uri;

use secrecy::SecretString;
use serde::Serialize;

use crate::domain::key::{KeyKind, MessageDigest, PublicKey, RawSignature};

pub use pin::{PinError, PinSource};
pub use uri::{Pkcs11Uri, TokenUri, UriError};

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
}

/// How a token's PIN stands, as far as the token tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PinState {
    /// No try was lost, or the token does not count.
    Untouched,
    /// At least one wrong PIN was given since the last right one.
    CountLow,
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
    /// Its public half; the reason in its place when this is not a key that can sign a release.
    pub public: Result<PublicKey, String>,
}

/// What a PIN is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinRequest {
    /// The token, as its label and serial number.
    pub token: String,
    /// How its PIN stands.
    pub state: PinState,
}

/// Whoever can answer while a token is unlocked.
pub trait Interaction {
    /// Asks for the PIN, once. `None`: there is nobody to ask, or they declined.
    fn pin(&mut self, request: &PinRequest) -> Option<SecretString>;

    /// One wrong PIN more locks the token: may it be tried? Asked before [`Interaction::pin`].
    fn final_try(&mut self, request: &PinRequest) -> bool;
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
    #[error("wrong PIN for token `{token}`")]
    PinWrong {
        /// The token.
        token: String,
        /// How the PIN stands now.
        state: PinState,
    },
    /// The PIN is locked.
    #[error("the PIN of token `{token}` is locked")]
    PinLocked {
        /// The token.
        token: String,
    },
    /// One try is left and nobody consented to use it.
    #[error("token `{token}` has one PIN try left; not trying unattended")]
    FinalTry {
        /// The token.
        token: String,
    },
    /// The token was never given a PIN.
    #[error("token `{token}` is not initialised: it has no user PIN")]
    PinNotSet {
        /// The token.
        token: String,
    },
    /// No PIN could be had.
    #[error("no PIN for token `{token}`: {source}")]
    Pin {
        /// The token.
        token: String,
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
    /// An answer that the standard does not allow.
    #[error("token `{token}` answered {call} with {answer}")]
    Unexpected {
        /// The token.
        token: String,
        /// The PKCS#11 function.
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

/// Finds the one token and key that `uri` names, without a PIN.
pub fn find(uri: &TokenUri) -> Result<Box<dyn LockedToken>, TokenError> {
    match uri {
        TokenUri::Pkcs11(uri) => pkcs11::find(uri),
        TokenUri::File(path) => file::find(path),
    }
}

/// Lists the keys on the tokens that `uri` names, without a PIN; the URI's `object` and `id` narrow the list.
pub fn list_keys(uri: &TokenUri) -> Result<Vec<FoundKey>, TokenError> {
    match uri {
        TokenUri::Pkcs11(uri) => pkcs11::list_keys(uri),
        TokenUri::File(path) => file::list_keys(path),
    }
}

/// Generates a key pair on the token; the private half is sensitive and not extractable. The answer names exactly that
/// key, and is ready to sign with it: one PIN serves both.
/// A key that bears the name already is never replaced.
pub fn generate(
    uri: &TokenUri,
    kind: KeyKind,
    interaction: &mut dyn Interaction,
) -> Result<(TokenUri, Box<dyn Token>), TokenError> {
    match uri {
        TokenUri::Pkcs11(uri) => {
            let (uri, token) = pkcs11::generate(uri, kind, interaction)?;
            Ok((TokenUri::Pkcs11(uri), token))
        }
        TokenUri::File(path) => Ok((TokenUri::File(path.clone()), file::generate(path, kind)?)),
    }
}
