//! OpenPGP cards (functional specification 3.4), by way of the PC/SC service: YubiKey, Nitrokey and
//! their like.
//!
//! From the PIN to the end one transaction is held, in which no other program reaches the card;
//! then the PIN is taken back and the card is reset. Each signature must raise the card's counter
//! by one, on the spot.
//!
//! A card that wants its PIN before each signature is given it again from memory, where it stays
//! until the token value is dropped: it was right once, so no try can be lost.

mod facts;
#[cfg(test)]
mod fake;
mod reader;
mod worker;

use std::ffi::{CStr, CString};
use std::thread;
use std::time::Duration;

use card_backend::{CardBackend, SmartcardError};
use openpgp_card::ocard::algorithm::AlgoSimple;
use openpgp_card::ocard::data::{Fingerprint as CardFingerprint, KeyGenerationTime};
use openpgp_card::ocard::{KeyType, StatusBytes};
use openpgp_card::state::Open;
use openpgp_card::{Card, Error};
use secrecy::{ExposeSecret as _, SecretString};

use self::facts::Facts;
use self::reader::NoCard;
use self::worker::{Desk, OpenCard, Started, Starting, Worker};
use super::pin::{Given, obtain};
use super::uri::CardUri;
use super::{
    CardCounter, FoundKey, Interaction, LockedToken, NewKey, NoSuchKey, Pin, PinError, PinState,
    Token, TokenDescription, TokenError, TokenUri, TouchPolicy, raw,
};
use crate::domain::key::{KeyKind, PublicKey, RawSignature};
use crate::domain::signing::Message;

/// How long a card may take to answer before somebody else is taken to hold it.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long to wait before a card that another program holds is looked for again.
const PAUSE: Duration = Duration::from_millis(300);

/// The least characters of a PIN (OpenPGP card 3.4, section 4.3.1).
const SHORTEST_PIN: usize = 6;

/// The least characters of an admin PIN.
const SHORTEST_ADMIN_PIN: usize = 8;

/// A card that was found.
struct Locked {
    reader: CString,
    uri: CardUri,
    facts: Facts,
    public: PublicKey,
    description: TokenDescription,
}

/// A card that was unlocked.
struct Unlocked {
    session: Session,
    public: PublicKey,
    /// For a card that wants the PIN before each signature.
    each_signature: Option<Given>,
    /// The PIN was given, and no signature made since.
    fresh: bool,
}

/// A card in an open transaction.
struct Session {
    worker: Worker,
    facts: Facts,
}

/// The one card that `uri` names.
pub(super) fn find(
    uri: &CardUri,
    interaction: &mut dyn Interaction,
) -> Result<Box<dyn LockedToken>, TokenError> {
    let (reader, facts) = the_card(uri, interaction)?;
    let token = facts.name();
    let public = match &facts.key {
        Some(Ok(public)) => public.clone(),
        Some(Err(reason)) => {
            let key = facts.key_name();
            return Err(TokenError::KeyUnsuitable {
                token,
                key,
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
    }))
}

/// The signing keys of the cards that `uri` names, with the place for one where a card has none.
pub(super) fn list_keys(
    uri: &CardUri,
    interaction: &mut dyn Interaction,
) -> Result<Vec<FoundKey>, TokenError> {
    let Survey { cards, troubles } = survey(interaction)?;
    let fitting: Vec<_> = cards.iter().filter(|(_, facts)| fits(uri, facts)).collect();
    match troubles.into_iter().next() {
        Some(trouble) if fitting.is_empty() || uri.ident.is_none() => Err(trouble),
        _ if fitting.is_empty() && uri.ident.is_some() => Err(absent(uri, &cards)),
        _ => Ok(fitting
            .into_iter()
            .map(|(_, facts)| found(uri, facts))
            .collect()),
    }
}

/// The signing keys of all cards there are, and what went wrong with others.
pub(super) fn list_all(
    interaction: &mut dyn Interaction,
) -> Result<(Vec<FoundKey>, Vec<TokenError>), TokenError> {
    let Survey { cards, troubles } = survey(interaction)?;
    Ok((
        cards
            .iter()
            .map(|(_, facts)| found(&CardUri::default(), facts))
            .collect(),
        troubles,
    ))
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

/// Makes a signing key on the card.
pub(super) fn generate(
    uri: &CardUri,
    new: &NewKey<'_>,
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
    let admin = ask(&facts, Pin::Admin, uri, interaction)?;
    let user = ask(&facts, Pin::User, uri, interaction)?;

    let mut session = Session::again(&reader, &facts, interaction)?;
    session.demand(new.kind)?;
    // The PIN that will sign comes first: a wrong one must not be found out after a key is
    // replaced.
    session.verify(Pin::User, &user)?;
    session.verify(Pin::Admin, &admin)?;
    let public = session.make(new)?;
    let exact = uri.exactly(facts.ident);
    Ok((exact, Box::new(Unlocked::new(session, public, user))))
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
        let given = ask(&self.facts, Pin::User, &self.uri, interaction)?;
        let session = Session::again(&self.reader, &self.facts, interaction)?;
        if session.facts.key != Some(Ok(self.public.clone())) {
            return Err(session.lost("another key is on it now"));
        }
        session.verify(Pin::User, &given)?;
        Ok(Box::new(Unlocked::new(session, self.public, given)))
    }
}

impl Unlocked {
    fn new(session: Session, public: PublicKey, given: Given) -> Self {
        let each_signature = session.facts.state.pin_per_signature.then_some(given);
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
        let digest = message.digest();
        if let Some(given) = self.each_signature.as_ref().filter(|_| !self.fresh) {
            self.session.verify(Pin::User, given)?;
        }
        self.fresh = false;
        let answer = self.session.sign(raw::to_be_signed(&self.public, digest))?;
        raw::signature(&self.public, &answer)
            .map_err(|answer| self.session.unexpected(SIGN, answer))
    }

    fn waits_for_touch(&self) -> bool {
        self.session.facts.state.touch != TouchPolicy::Off
    }

    fn counter(&self) -> Option<CardCounter> {
        let Facts { state, .. } = &self.session.facts;
        Some(CardCounter {
            card: self.session.facts.name(),
            signatures: state.signatures,
        })
    }
}

const SIGN: &str = "PSO: COMPUTE DIGITAL SIGNATURE";
const VERIFY: &str = "VERIFY";
const GENERATE: &str = "GENERATE ASYMMETRIC KEY PAIR";

/// The one card that `uri` names, and its reader. What a card that cannot be looked at may be, is
/// not guessed.
fn the_card(
    uri: &CardUri,
    interaction: &mut dyn Interaction,
) -> Result<(CString, Facts), TokenError> {
    loop {
        let Survey { cards, troubles } = survey(interaction)?;
        let fitting = cards.iter().filter(|(_, facts)| fits(uri, facts)).count();
        let trouble = troubles
            .into_iter()
            .next()
            .filter(|_| fitting == 0 || uri.ident.is_none());
        match trouble {
            Some(held @ TokenError::Held { .. }) if interaction.held(&held) => thread::sleep(PAUSE),
            Some(trouble) => return Err(trouble),
            None if fitting == 0 => return Err(absent(uri, &cards)),
            None if fitting > 1 => {
                return Err(TokenError::Ambiguous {
                    uri: plain(uri),
                    what: "tokens".to_owned(),
                    candidates: named(&cards),
                    by: "",
                });
            }
            None => {
                let mut fitting = cards.into_iter().filter(|(_, facts)| fits(uri, facts));
                return Ok(fitting.next().expect("one fits"));
            }
        }
    }
}

fn fits(uri: &CardUri, facts: &Facts) -> bool {
    uri.ident.is_none_or(|ident| ident == facts.ident)
}

fn absent(uri: &CardUri, cards: &[(CString, Facts)]) -> TokenError {
    TokenError::TokenAbsent {
        uri: plain(uri),
        present: named(cards),
    }
}

fn plain(uri: &CardUri) -> Box<TokenUri> {
    Box::new(TokenUri::Card(uri.without_pins()))
}

fn named(cards: &[(CString, Facts)]) -> Vec<String> {
    cards
        .iter()
        .map(|(_, facts)| format!("`card:{}`", facts.ident))
        .collect()
}

/// What is in the readers.
struct Survey {
    /// Every OpenPGP card, with its reader.
    cards: Vec<(CString, Facts)>,
    /// What went wrong with other readers.
    troubles: Vec<TokenError>,
}

fn survey(interaction: &mut dyn Interaction) -> Result<Survey, TokenError> {
    let (mut cards, mut troubles) = (Vec::new(), Vec::new());
    for reader in reader::readers()? {
        match Session::open(&reader, interaction) {
            Ok(Some(session)) => cards.push((reader, session.facts)),
            Ok(None) => {}
            Err(error) => troubles.push(error),
        }
    }
    Ok(Survey { cards, troubles })
}

/// The PIN, if it may be tried and can be one.
fn ask(
    facts: &Facts,
    pin: Pin,
    uri: &CardUri,
    interaction: &mut dyn Interaction,
) -> Result<Given, TokenError> {
    let (source, shortest) = match pin {
        Pin::User => (uri.pin_source(), SHORTEST_PIN),
        Pin::Admin => (uri.admin_pin_source(), SHORTEST_ADMIN_PIN),
    };
    let given = obtain(
        &facts.request(pin),
        &facts.name(),
        facts.keypad,
        &source,
        interaction,
    )?;
    match &given {
        Given::Pin(text) if text.expose_secret().len() < shortest => {
            let reason = "it is shorter than any that an OpenPGP card takes, and was not tried";
            let source = PinError::malformed(&source.to_string(), reason);
            Err(TokenError::Pin {
                token: facts.name(),
                pin,
                source,
            })
        }
        _ => Ok(given),
    }
}

impl Session {
    /// Opens the card in `reader`; `None` when there is no OpenPGP card in it.
    fn open(reader: &CStr, interaction: &mut dyn Interaction) -> Result<Option<Self>, TokenError> {
        let name = reader::named(reader);
        let reader = reader.to_owned();
        let mut starting = Starting::new(move |desk| attend(&reader, &desk));
        loop {
            match starting.wait(PATIENCE) {
                Started::Yes(worker, Ok(Some(facts))) => return Ok(Some(Self { worker, facts })),
                Started::Yes(_, Ok(None)) => return Ok(None),
                Started::Yes(_, Err(error)) => return Err(error),
                Started::Gone => {
                    return Err(TokenError::Unexpected {
                        token: name,
                        call: "SELECT",
                        answer: PANIC.into(),
                    });
                }
                Started::NotYet(still) => {
                    let error = TokenError::Held {
                        reader: name.clone(),
                        holders: reader::holders(),
                    };
                    if !interaction.held(&error) {
                        return Err(error);
                    }
                    starting = still;
                }
            }
        }
    }

    /// Opens the card that was seen before. Its PIN may stand otherwise now.
    fn again(
        reader: &CStr,
        before: &Facts,
        interaction: &mut dyn Interaction,
    ) -> Result<Self, TokenError> {
        let token = before.name();
        let gone = |reason: &str| TokenError::SessionLost {
            token: token.clone(),
            reason: reason.to_owned(),
        };
        let session = Self::open(reader, interaction)?
            .ok_or_else(|| gone("it is not in its reader any more"))?;
        if session.facts.ident != before.ident {
            return Err(gone("another card is in its reader now"));
        }
        for (pin, before, now) in [
            (Pin::User, before.pin, session.facts.pin),
            (
                Pin::Admin,
                before.state.admin_pin,
                session.facts.state.admin_pin,
            ),
        ] {
            match now {
                PinState::Locked if before != now => {
                    return Err(TokenError::PinLocked {
                        token: token.clone(),
                        pin,
                    });
                }
                // Whoever was asked was told of more tries than that.
                PinState::FinalTry if before != now => {
                    return Err(TokenError::FinalTry {
                        token: token.clone(),
                        pin,
                    });
                }
                _ => {}
            }
        }
        Ok(session)
    }

    /// Gives the card one PIN, once.
    fn verify(&self, pin: Pin, given: &Given) -> Result<(), TokenError> {
        let given = match given {
            Given::Pin(text) => Some(text.clone()),
            Given::AtKeypad => None,
            Given::Nothing => return Ok(()),
        };
        let answer = self.run(VERIFY, move |card| {
            let answer = verify(card, pin, given);
            // Asked anew: what the library remembers is from before.
            let now = answer.is_err().then(|| Facts::of(card).ok()).flatten();
            (answer, now)
        })?;
        let (error, now) = match answer {
            (Ok(()), _) => return Ok(()),
            (Err(error), now) => (error, now.map(|facts| facts.request(pin).state)),
        };
        let (token, before) = (self.facts.name(), self.facts.request(pin).state);
        match error {
            Error::CardStatus(StatusBytes::AuthenticationMethodBlocked) if now != Some(before) => {
                Err(TokenError::PinWrong {
                    token,
                    pin,
                    state: PinState::Locked,
                })
            }
            Error::CardStatus(StatusBytes::AuthenticationMethodBlocked) => {
                Err(TokenError::PinLocked { token, pin })
            }
            // Cards differ in the status for a wrong PIN, but each counts it.
            Error::CardStatus(_) if now.is_some_and(|now| now != before) => {
                Err(TokenError::PinWrong {
                    token,
                    pin,
                    state: now.unwrap_or(before),
                })
            }
            Error::CardStatus(
                StatusBytes::PasswordNotChecked(_) | StatusBytes::SecurityStatusNotSatisfied,
            ) => Err(TokenError::PinWrong {
                token,
                pin,
                state: now.unwrap_or(before),
            }),
            error => Err(self.fault(VERIFY, &error)),
        }
    }

    /// Refuses a kind of key that the card does not know.
    fn demand(&self, kind: KeyKind) -> Result<(), TokenError> {
        let known = self.run(GENERATE, move |card| {
            simple(kind).matching_algorithm_attributes(card.card(), KeyType::Signing)
        })?;
        known.map(|_| ()).map_err(|error| match error {
            Error::UnsupportedAlgo(_) => TokenError::MechanismUnsupported {
                token: self.facts.name(),
                mechanism: kind.to_string(),
            },
            error => self.fault(GENERATE, &error),
        })
    }

    /// Makes a signing key, and writes its creation time and fingerprint beside it.
    fn make(&mut self, new: &NewKey<'_>) -> Result<PublicKey, TokenError> {
        let kind = new.kind;
        let made = self.run(GENERATE, move |card| {
            let card = card.card();
            let attributes = simple(kind).matching_algorithm_attributes(card, KeyType::Signing)?;
            if card.extended_capabilities()?.algo_attrs_changeable() {
                card.set_algorithm_attributes(KeyType::Signing, &attributes)?;
            }
            // Until it is whole it has no fingerprint, and is no key to anybody.
            card.generate_key(
                |_, _, _| CardFingerprint::try_from(&[0; 20][..]),
                KeyType::Signing,
            )
        })?;
        let (material, _) = made.map_err(|error| self.fault(GENERATE, &error))?;
        let token = || self.facts.name();
        let unsuitable = |reason| TokenError::KeyUnsuitable {
            token: token(),
            key: "just made".to_owned(),
            reason,
        };
        let public = facts::public_key(&material).map_err(unsuitable)?;
        if public.algorithm() != kind.name() {
            return Err(unsuitable(format!(
                "the card made {} instead of {kind}",
                public.algorithm()
            )));
        }
        let fingerprint = (new.fingerprint)(&public)
            .ok_or_else(|| unsuitable("it has no fingerprint".to_owned()))?;
        let created = new.created.unix();
        let written = self.run("PUT DATA", move |card| {
            let print = CardFingerprint::try_from(&fingerprint.bytes()[..])?;
            card.card()
                .set_creation_time(KeyGenerationTime::from(created), KeyType::Signing)?;
            card.card().set_fingerprint(print, KeyType::Signing)?;
            Facts::of(card)
        })?;
        self.facts = written.map_err(|error| self.fault("PUT DATA", &error))?;
        Ok(public)
    }

    /// One signature, with which the counter goes up by one.
    fn sign(&mut self, input: Vec<u8>) -> Result<Vec<u8>, TokenError> {
        // It may sign, and then go away before it tells.
        let before = self.facts.state.signatures.take();
        let (answer, after) = self.run(SIGN, move |card| {
            let answer = card.card().pso_compute_digital_signature(input);
            let gone = matches!(answer, Err(Error::Smartcard(_) | Error::ResponseLength(_)));
            let after = if gone {
                None
            } else {
                facts::counter(card.card()).ok().flatten()
            };
            (answer, after)
        })?;
        self.facts.state.signatures = after;
        let answer = answer.map_err(|error| match error {
            // 6982 and 6985 by the applet of Nitrokey and others; 6600 is what the specification
            // has for it.
            Error::CardStatus(
                StatusBytes::SecurityStatusNotSatisfied
                | StatusBytes::SecurityRelatedIssues
                | StatusBytes::ConditionOfUseNotSatisfied,
            ) if self.facts.state.touch != TouchPolicy::Off => TokenError::TouchMissing {
                token: self.facts.name(),
            },
            error => self.fault(SIGN, &error),
        })?;
        // A card that is pulled out right now has signed all the same.
        match (before, after) {
            (Some(before), Some(after)) if after != before.wrapping_add(1) & COUNTER => {
                Err(TokenError::Counter {
                    token: self.facts.name(),
                    before,
                    after,
                })
            }
            _ => Ok(answer),
        }
    }

    fn run<R: Send + 'static>(
        &self,
        call: &'static str,
        job: impl FnOnce(&mut OpenCard<'_>) -> R + Send + 'static,
    ) -> Result<R, TokenError> {
        self.worker
            .run(job)
            .map_err(|worker::Gone| self.unexpected(call, PANIC.to_owned()))
    }

    fn fault(&self, call: &'static str, error: &Error) -> TokenError {
        match error {
            Error::Smartcard(SmartcardError::Error(reason)) => {
                self.lost(&format!("{PULLED} ({reason})"))
            }
            Error::Smartcard(_) | Error::ResponseLength(_) => {
                self.lost(&format!("{PULLED} ({error})"))
            }
            error => self.unexpected(call, error.to_string()),
        }
    }

    fn lost(&self, reason: &str) -> TokenError {
        TokenError::SessionLost {
            token: self.facts.name(),
            reason: reason.to_owned(),
        }
    }

    fn unexpected(&self, call: &'static str, answer: String) -> TokenError {
        TokenError::Unexpected {
            token: self.facts.name(),
            call,
            answer,
        }
    }
}

/// The counter has three bytes (OpenPGP card 3.4, section 4.4.1, tag 93).
const COUNTER: u32 = 0x00ff_ffff;

const PULLED: &str = "it was pulled out, or its reader does not answer";

const PANIC: &str = "something that the card library does not expect";

/// On the card's thread: opens the card in `reader`, says what it is, and does what is asked.
fn attend(reader: &CStr, desk: &Desk<Result<Option<Facts>, TokenError>>) {
    let lost = |error: Error| TokenError::SessionLost {
        token: reader::named(reader),
        reason: error.to_string(),
    };
    let backend: Box<dyn CardBackend + Send + Sync> = match reader::connect(reader) {
        Ok(card) => Box::new(card),
        Err(NoCard::Empty) => {
            desk.answer(Ok(None));
            return;
        }
        Err(NoCard::Trouble(error)) => {
            desk.answer(Err(error));
            return;
        }
    };
    let mut card = match Card::<Open>::new(backend) {
        Ok(card) => card,
        // A card of another kind does not know the application.
        Err(Error::CardStatus(_)) => {
            desk.answer(Ok(None));
            return;
        }
        Err(error) => {
            desk.answer(Err(lost(error)));
            return;
        }
    };
    let opened = card
        .transaction()
        .and_then(|mut card| Facts::of(&mut card).map(|facts| (card, facts)));
    match opened {
        Ok((mut card, facts)) => {
            if desk.answer(Ok(Some(facts))) {
                desk.serve(&mut card);
            }
        }
        Err(error) => {
            desk.answer(Err(lost(error)));
        }
    }
}

fn verify(card: &mut OpenCard<'_>, pin: Pin, given: Option<SecretString>) -> Result<(), Error> {
    // Whether the card wants the PIN hashed must be known for sure: the library would take "cannot
    // be read" for "no", and lose a try.
    if let Err(error @ (Error::Smartcard(_) | Error::ResponseLength(_))) = card.card().kdf_do() {
        return Err(error);
    }
    match (pin, given) {
        (Pin::User, Some(text)) => card.verify_user_signing_pin(text),
        (Pin::User, None) => card.verify_user_signing_pinpad(&|| {}),
        (Pin::Admin, Some(text)) => card.verify_admin_pin(text),
        (Pin::Admin, None) => card.verify_admin_pinpad(&|| {}),
    }
}

fn simple(kind: KeyKind) -> AlgoSimple {
    match kind {
        KeyKind::Ed25519 => AlgoSimple::Curve25519,
        KeyKind::P256 => AlgoSimple::NIST256,
        KeyKind::P384 => AlgoSimple::NIST384,
        KeyKind::P521 => AlgoSimple::NIST521,
        KeyKind::Rsa2048 => AlgoSimple::RSA2k,
        KeyKind::Rsa3072 => AlgoSimple::RSA3k,
        KeyKind::Rsa4096 => AlgoSimple::RSA4k,
    }
}

#[cfg(test)]
mod tests {
    /// At `trace` the library writes whole commands to a logger, VERIFY with its PIN among them.
    #[test]
    fn nothing_below_info_can_be_logged() {
        assert!(log::STATIC_MAX_LEVEL <= log::LevelFilter::Info);
    }
}
