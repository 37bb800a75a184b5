//! Where the release key is: an OpenPGP card, a PKCS#11 token, or (for tests) a file.
//!
//! A [`Token`] has two duties: its public key and a signature over a digest. Finding, choosing and
//! unlocking it come before, through [`find`] and [`LockedToken`]; the user at the terminal is
//! asked through [`Interaction`]. This module knows neither OpenPGP nor what is signed, and prints
//! nothing.

mod card;
mod contract;
mod description;
mod error;
mod file;
mod pin;
mod pin_source;
mod pkcs11;
mod raw;
mod refused;
mod uri;

pub use contract::{Batch, Interaction, LockedToken, NewKey, Token, sign};
pub use description::{
    CardCounter, CardState, FoundKey, NoSuchKey, Pin, PinRequest, PinState, TokenDescription,
    TouchPolicy,
};
pub use error::{PinError, TokenError};
pub use pin_source::PinSource;
pub use refused::RefusedPins;
pub use uri::{CardUri, Pkcs11Uri, TokenUri, UriError};

/// Finds the one token and key that `uri` names, without a PIN. Unlocking it consults `pins`.
pub fn find(
    uri: &TokenUri,
    pins: &RefusedPins,
    interaction: &mut dyn Interaction,
) -> Result<Box<dyn LockedToken>, TokenError> {
    match uri {
        TokenUri::Card(uri) => card::find(uri, pins, interaction),
        TokenUri::Pkcs11(uri) => pkcs11::find(uri, pins),
        TokenUri::File(path) => file::find(path),
    }
}

/// Lists the keys on the tokens that `uri` names, without a PIN; the URI's `object` and `id` narrow
/// the list.
pub fn list_keys(
    uri: &TokenUri,
    interaction: &mut dyn Interaction,
) -> Result<Vec<FoundKey>, TokenError> {
    match uri {
        TokenUri::Card(uri) => card::list_keys(uri, interaction),
        TokenUri::Pkcs11(uri) => pkcs11::list_keys(uri),
        TokenUri::File(path) => file::list_keys(path),
    }
}

/// Lists the signing keys of all OpenPGP cards present, without a PIN, and the errors of readers
/// that could not be read.
pub fn list_cards(
    interaction: &mut dyn Interaction,
) -> Result<(Vec<FoundKey>, Vec<TokenError>), TokenError> {
    card::list_all(interaction)
}

/// Generates a key pair on the token; the private half is sensitive and not extractable. Returns
/// the URI of exactly that key, and the token ready to sign with it. A key that has the name
/// already is never replaced; the one signing key of a card is, where [`NewKey::replace`] says
/// so.
pub fn generate(
    uri: &TokenUri,
    new: &NewKey<'_>,
    pins: &RefusedPins,
    interaction: &mut dyn Interaction,
) -> Result<(TokenUri, Box<dyn Token>), TokenError> {
    match uri {
        TokenUri::Card(uri) => {
            let (uri, token) = card::generate(uri, new, pins, interaction)?;
            Ok((TokenUri::Card(uri), token))
        }
        TokenUri::Pkcs11(uri) => {
            let (uri, token) = pkcs11::generate(uri, new.kind, pins, interaction)?;
            Ok((TokenUri::Pkcs11(uri), token))
        }
        TokenUri::File(path) => Ok((
            TokenUri::File(path.clone()),
            file::generate(path, new.kind)?,
        )),
    }
}
