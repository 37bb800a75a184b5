//! OpenPGP cards (functional specification 3.4) by way of the PC/SC service: YubiKey, Nitrokey and
//! others.
//!
//! From the PIN to the last signature one transaction is open, in which no other program reaches
//! the card; then the PIN is withdrawn and the card is reset. Each signature must raise the card's
//! counter by one, which is checked at once.
//!
//! A card that requires its PIN before each signature gets it again from memory, where it stays
//! until the token value is dropped: it was right once, so no try can be lost.

mod facts;
#[cfg(test)]
mod fake;
mod reader;
mod session;
mod survey;
mod worker;

use std::ffi::CString;

use secrecy::ExposeSecret as _;

use self::facts::Facts;
use self::session::{SIGN, Session};
use self::survey::{Survey, the_card};
use super::pin::{Given, OnePin, obtain};
use super::uri::CardUri;
use super::{
    CardCounter, FoundKey, Interaction, LockedToken, NewKey, NoSuchKey, Pin, PinError, RefusedPins,
    Token, TokenDescription, TokenError, TouchPolicy, raw,
};
use crate::domain::key::{PublicKey, RawSignature};
use crate::domain::signing::Message;

/// The minimum length of a PIN (OpenPGP card 3.4, section 4.3.1).
const SHORTEST_PIN: usize = 6;

/// The minimum length of an admin PIN.
const SHORTEST_ADMIN_PIN: usize = 8;

/// A card that was found.
struct Locked {
    reader: CString,
    uri: CardUri,
    facts: Facts,
    public: PublicKey,
    description: TokenDescription,
    pins: RefusedPins,
}

/// A card that was unlocked.
struct Unlocked {
    session: Session,
    public: PublicKey,
    /// For a card that requires the PIN before each signature.
    each_signature: Option<OnePin>,
    /// The PIN was given, and no signature made since.
    fresh: bool,
}

/// The one card that `uri` names.
pub(super) fn find(
    uri: &CardUri,
    pins: &RefusedPins,
    interaction: &mut dyn Interaction,
) -> Result<Box<dyn LockedToken>, TokenError> {
    let (reader, facts) = the_card(uri, interaction)?;
    let token = facts.name();
    let public = match &facts.key {
        Some(Ok(public)) => public.clone(),
        Some(Err(reason)) => {
            return Err(TokenError::KeyUnsuitable {
                token,
                key: facts.key_name(),
                reason: reason.clone(),
            });
        }
        None => return Err(TokenError::SlotEmpty { token }),
    };
    let description = facts.description(uri);
    Ok(Box::new(Locked {
        reader,
        uri: uri.exactly(facts.ident),
        facts,
        public,
        description,
        pins: pins.clone(),
    }))
}

/// The signing keys of the cards that `uri` names, or their empty slots.
pub(super) fn list_keys(
    uri: &CardUri,
    interaction: &mut dyn Interaction,
) -> Result<Vec<FoundKey>, TokenError> {
    let cards = survey::cards(uri, interaction)?;
    Ok(cards.iter().map(|facts| found(uri, facts)).collect())
}

/// The signing keys of all cards present, and the errors of readers that could not be read.
pub(super) fn list_all(
    interaction: &mut dyn Interaction,
) -> Result<(Vec<FoundKey>, Vec<TokenError>), TokenError> {
    let Survey { cards, troubles } = survey::survey(interaction)?;
    let uri = CardUri::default();
    let keys = cards.iter().map(|(_, facts)| found(&uri, facts)).collect();
    Ok((keys, troubles))
}

fn found(uri: &CardUri, facts: &Facts) -> FoundKey {
    let public = match &facts.key {
        Some(key) => key.clone().map_err(NoSuchKey::Unsuitable),
        None => Err(NoSuchKey::Absent),
    };
    FoundKey {
        token: facts.description(uri),
        label: "signing key".to_owned(),
        id: Vec::new(),
        public,
    }
}

/// Generates a signing key on the card.
pub(super) fn generate(
    uri: &CardUri,
    new: &NewKey<'_>,
    pins: &RefusedPins,
    interaction: &mut dyn Interaction,
) -> Result<(CardUri, Box<dyn Token>), TokenError> {
    let (reader, facts) = the_card(uri, interaction)?;
    if facts.key.is_some() {
        if !new.replace {
            return Err(TokenError::KeyExists {
                token: facts.name(),
                key: facts.key_name(),
                alternative: "leave `--generate` out to use that key; `--replace-key` destroys it, \
                              and what only it can sign",
            });
        }
        interaction.replaces(&facts.name(), &facts.key_name());
    }
    let admin = ask(&facts, Pin::Admin, uri, pins, interaction)?;
    let user = ask(&facts, Pin::User, uri, pins, interaction)?;

    let mut session = Session::again(&reader, &facts, interaction)?;
    session.demand(new.kind)?;
    // The PIN that will sign comes first: a wrong one must be found before a key is replaced.
    user.try_once(|given| session.verify(Pin::User, given))?;
    admin.try_once(|given| session.verify(Pin::Admin, given))?;
    let public = session.generate(new)?;
    let exact = uri.exactly(facts.ident);
    Ok((exact, Box::new(Unlocked::new(session, public, user))))
}

/// Gets the PIN, if it may be tried and is long enough.
fn ask(
    facts: &Facts,
    pin: Pin,
    uri: &CardUri,
    pins: &RefusedPins,
    interaction: &mut dyn Interaction,
) -> Result<OnePin, TokenError> {
    let (source, shortest) = match pin {
        Pin::User => (uri.pin_source(), SHORTEST_PIN),
        Pin::Admin => (uri.admin_pin_source(), SHORTEST_ADMIN_PIN),
    };
    let one = obtain(
        facts.request(pin),
        &facts.name(),
        facts.keypad,
        &source,
        pins,
        interaction,
    )?;
    match one.given() {
        Given::Pin(text) if text.expose_secret().len() < shortest => Err(TokenError::Pin {
            token: facts.name(),
            pin,
            source: PinError::malformed(
                &source.to_string(),
                "it is shorter than any PIN of an OpenPGP card, and was not tried",
            ),
        }),
        _ => Ok(one),
    }
}

impl LockedToken for Locked {
    fn public(&self) -> Option<&PublicKey> {
        Some(&self.public)
    }

    fn description(&self) -> &TokenDescription {
        &self.description
    }

    fn unlock(
        self: Box<Self>,
        interaction: &mut dyn Interaction,
    ) -> Result<Box<dyn Token>, TokenError> {
        let pin = ask(&self.facts, Pin::User, &self.uri, &self.pins, interaction)?;
        let session = Session::again(&self.reader, &self.facts, interaction)?;
        if session.facts.key != Some(Ok(self.public.clone())) {
            return Err(session.lost("its key was replaced"));
        }
        pin.try_once(|given| session.verify(Pin::User, given))?;
        Ok(Box::new(Unlocked::new(session, self.public, pin)))
    }
}

impl Unlocked {
    fn new(session: Session, public: PublicKey, pin: OnePin) -> Self {
        let each_signature = session.facts.state.pin_per_signature.then_some(pin);
        Self {
            session,
            public,
            each_signature,
            fresh: true,
        }
    }
}

impl Token for Unlocked {
    fn public(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&mut self, message: &Message<'_>) -> Result<RawSignature, TokenError> {
        if let Some(pin) = &self.each_signature
            && !self.fresh
        {
            pin.repeated(self.session.verify(Pin::User, pin.given()))?;
        }
        self.fresh = false;
        let input = raw::to_be_signed(&self.public, message.digest());
        let answer = self.session.sign(input)?;
        raw::signature(&self.public, &answer)
            .map_err(|answer| self.session.unexpected(SIGN, answer))
    }

    fn waits_for_touch(&self) -> bool {
        self.session.facts.state.touch != TouchPolicy::Off
    }

    fn counter(&self) -> Option<CardCounter> {
        let facts = &self.session.facts;
        Some(CardCounter {
            card: facts.name(),
            signatures: facts.state.signatures,
        })
    }
}
