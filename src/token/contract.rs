//! What every token can do, and how it asks the user.

use secrecy::SecretString;

use super::description::{CardCounter, PinRequest, TokenDescription};
use super::error::TokenError;
use crate::domain::key::{Fingerprint, KeyKind, PublicKey, RawSignature};
use crate::domain::signing::Message;
use crate::domain::time::Timestamp;

/// A token that is found and not yet unlocked. Reading it has not cost a PIN try.
pub trait LockedToken {
    /// The public half of its signing key; `None` if the token reveals it only after the PIN.
    fn public(&self) -> Option<&PublicKey>;

    /// What it reports of itself.
    fn description(&self) -> &TokenDescription;

    /// Unlocks it: at most one PIN is tried.
    fn unlock(
        self: Box<Self>,
        interaction: &mut dyn Interaction,
    ) -> Result<Box<dyn Token>, TokenError>;
}

/// A token that is ready to sign.
pub trait Token {
    /// The public half of the signing key.
    fn public(&self) -> &PublicKey;

    /// Signs the digest of one statement: RSA with PKCS#1 v1.5, ECDSA over the digest cut to the
    /// field's size, Ed25519 with the digest as the message (RFC 9580, section 5.2.3). The caller
    /// checks the answer.
    fn sign(&mut self, message: &Message<'_>) -> Result<RawSignature, TokenError>;

    /// Whether each signature waits for a touch.
    fn waits_for_touch(&self) -> bool {
        false
    }

    /// How often it has signed, if it is a card.
    fn counter(&self) -> Option<CardCounter> {
        None
    }
}

/// Lets the token sign, and announces when it waits for a touch.
pub fn sign(
    token: &mut dyn Token,
    message: &Message<'_>,
    interaction: &mut dyn Interaction,
) -> Result<RawSignature, TokenError> {
    if token.waits_for_touch() {
        interaction.touch();
    }
    token.sign(message)
}

/// A key to generate on a token.
pub struct NewKey<'a> {
    /// Its kind.
    pub kind: KeyKind,
    /// The creation time of the OpenPGP key, which a card stores.
    pub created: Timestamp,
    /// The OpenPGP fingerprint of a key with this creation time, which a card stores too.
    pub fingerprint: &'a dyn Fn(&PublicKey) -> Option<Fingerprint>,
    /// Whether it may replace the signing key that is on a card.
    pub replace: bool,
}

/// Signatures that are about to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// How many signatures.
    pub signatures: usize,
    /// The token.
    pub token: TokenDescription,
}

/// The user, who can be asked and informed while a token is used.
pub trait Interaction {
    /// Asks for the PIN, once. `None` if there is nobody to ask; an empty one if they declined.
    fn pin(&mut self, request: &PinRequest) -> Option<SecretString>;

    /// Another wrong PIN locks the token: may it be tried? Asked before [`Interaction::pin`].
    /// `None` if there is nobody to ask.
    fn final_try(&mut self, request: &PinRequest) -> Option<bool>;

    /// The PIN is now to be typed on the keypad of the token or of its reader.
    fn at_keypad(&mut self, _request: &PinRequest) {}

    /// Signatures are about to be made; the token is not unlocked yet.
    fn begins(&mut self, _batch: &Batch) {}

    /// The token waits for a touch.
    fn touch(&mut self) {}

    /// This key on the token is about to be replaced by a new one, and lost for ever.
    fn replaces(&mut self, _token: &str, _key: &str) {}

    /// Another program uses the token, as the error shows. Whether to wait for it.
    fn held(&mut self, _error: &TokenError) -> bool {
        false
    }
}
