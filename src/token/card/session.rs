//! A card in an open transaction, and the commands that it is given.

use std::ffi::CStr;
use std::time::Duration;

use card_backend::{CardBackend, SmartcardError};
use openpgp_card::ocard::algorithm::AlgoSimple;
use openpgp_card::ocard::data::{Fingerprint as CardFingerprint, KeyGenerationTime};
use openpgp_card::ocard::{KeyType, StatusBytes};
use openpgp_card::state::Open;
use openpgp_card::{Card, Error};
use secrecy::{ExposeSecret as _, SecretString};

use super::facts::{self, Facts};
use super::reader::{self, NoCard};
use super::worker::{self, Desk, OpenCard, Started, Starting, Worker};
use crate::domain::key::{KeyKind, PublicKey};
use crate::token::pin::{Given, secret};
use crate::token::{Interaction, NewKey, Pin, PinState, TokenError, TouchPolicy};

/// How long a card may take to answer before another program is assumed to use it.
const PATIENCE: Duration = Duration::from_secs(3);

/// The counter has three bytes (OpenPGP card 3.4, section 4.4.1, tag 93).
const COUNTER: u32 = 0x00ff_ffff;

// Commands, as errors name them.
pub(super) const SIGN: &str = "PSO: COMPUTE DIGITAL SIGNATURE";
const VERIFY: &str = "VERIFY";
const GENERATE: &str = "GENERATE ASYMMETRIC KEY PAIR";

const PULLED: &str = "it was pulled out, or its reader does not answer";
const PANIC: &str = "something that the card library does not expect";

/// A card in an open transaction.
pub(super) struct Session {
    worker: Worker,
    pub(super) facts: Facts,
}

impl Session {
    /// Opens the card in `reader`; `None` when it contains no OpenPGP card.
    pub(super) fn open(
        reader: &CStr,
        interaction: &mut dyn Interaction,
    ) -> Result<Option<Self>, TokenError> {
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

    /// Opens the card that was seen before. The state of its PINs may have changed since.
    pub(super) fn again(
        reader: &CStr,
        before: &Facts,
        interaction: &mut dyn Interaction,
    ) -> Result<Self, TokenError> {
        let gone = |reason: &str| TokenError::SessionLost {
            token: before.name(),
            reason: reason.to_owned(),
        };
        let session = Self::open(reader, interaction)?
            .ok_or_else(|| gone("it is not in its reader any more"))?;
        if session.facts.ident != before.ident {
            return Err(gone("another card is in its reader now"));
        }
        for pin in [Pin::User, Pin::Admin] {
            let token = before.name();
            let now = session.facts.request(pin).state;
            if before.request(pin).state == now {
                continue;
            }
            match now {
                PinState::Locked => return Err(TokenError::PinLocked { token, pin }),
                // The user consented to a try when more of them were left.
                PinState::FinalTry => return Err(TokenError::FinalTry { token, pin }),
                _ => {}
            }
        }
        Ok(session)
    }

    /// Gives the card one PIN, once.
    pub(super) fn verify(&self, pin: Pin, given: &Given) -> Result<(), TokenError> {
        let given = match given {
            Given::Pin(text) => Some(secret(text.expose_secret())),
            Given::AtKeypad => None,
            Given::Nothing => return Ok(()),
        };
        let answer = self.run(VERIFY, move |card| {
            let answer = verify(card, pin, given);
            // Read again: what the library remembers is from before.
            let now = answer.is_err().then(|| Facts::of(card).ok()).flatten();
            (answer, now)
        })?;
        let (error, now) = match answer {
            (Ok(()), _) => return Ok(()),
            (Err(error), now) => (error, now.map(|facts| facts.request(pin).state)),
        };
        let token = self.facts.name();
        let before = self.facts.request(pin).state;
        let wrong = |token, state| TokenError::PinWrong {
            token,
            pin,
            state,
            odd: None,
        };
        match error {
            Error::CardStatus(StatusBytes::AuthenticationMethodBlocked) if now != Some(before) => {
                Err(wrong(token, PinState::Locked))
            }
            Error::CardStatus(StatusBytes::AuthenticationMethodBlocked) => {
                Err(TokenError::PinLocked { token, pin })
            }
            // Cards differ in the status for a wrong PIN, but each counts it.
            Error::CardStatus(_) if now.is_some_and(|now| now != before) => {
                Err(wrong(token, now.unwrap_or(before)))
            }
            Error::CardStatus(
                StatusBytes::PasswordNotChecked(_) | StatusBytes::SecurityStatusNotSatisfied,
            ) => Err(wrong(token, now.unwrap_or(before))),
            error => Err(self.fault(VERIFY, &error)),
        }
    }

    /// Refuses a kind of key that the card does not support.
    pub(super) fn demand(&self, kind: KeyKind) -> Result<(), TokenError> {
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

    /// Generates a signing key, and writes its creation time and fingerprint to the card.
    pub(super) fn generate(&mut self, new: &NewKey<'_>) -> Result<PublicKey, TokenError> {
        let kind = new.kind;
        let made = self.run(GENERATE, move |card| {
            let card = card.card();
            let attributes = simple(kind).matching_algorithm_attributes(card, KeyType::Signing)?;
            if card.extended_capabilities()?.algo_attrs_changeable() {
                card.set_algorithm_attributes(KeyType::Signing, &attributes)?;
            }
            // Until it is complete it has no fingerprint, and nobody takes it for a key.
            card.generate_key(
                |_, _, _| CardFingerprint::try_from(&[0; 20][..]),
                KeyType::Signing,
            )
        })?;
        let (material, _) = made.map_err(|error| self.fault(GENERATE, &error))?;
        let unsuitable = |reason| TokenError::KeyUnsuitable {
            token: self.facts.name(),
            key: "just generated".to_owned(),
            reason,
        };
        let public = facts::public_key(&material).map_err(unsuitable)?;
        if public.algorithm() != kind.name() {
            return Err(unsuitable(format!(
                "the card generated {} instead of {kind}",
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

    /// Makes one signature, which must raise the counter by one.
    pub(super) fn sign(&mut self, input: Vec<u8>) -> Result<Vec<u8>, TokenError> {
        // The card may sign, and then be gone before it answers.
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
            // 6982 and 6985 by the applet of Nitrokey and others; the specification says 6600.
            Error::CardStatus(
                StatusBytes::SecurityStatusNotSatisfied
                | StatusBytes::SecurityRelatedIssues
                | StatusBytes::ConditionOfUseNotSatisfied,
            ) if self.facts.state.touch != TouchPolicy::Off => TokenError::TouchMissing {
                token: self.facts.name(),
            },
            error => self.fault(SIGN, &error),
        })?;
        // Without a second count: a card that is pulled out now has signed nevertheless.
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

    pub(super) fn lost(&self, reason: &str) -> TokenError {
        TokenError::SessionLost {
            token: self.facts.name(),
            reason: reason.to_owned(),
        }
    }

    pub(super) fn unexpected(&self, call: &'static str, answer: String) -> TokenError {
        TokenError::Unexpected {
            token: self.facts.name(),
            call,
            answer,
        }
    }
}

/// On the card's thread: opens the card in `reader`, answers with its facts, and serves.
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
        // A card of another kind does not have the application.
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
    // Whether the card wants the PIN hashed must be certain: the library would take "cannot be
    // read" for "no", and lose a try.
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
    /// At `trace` the library writes whole commands to a logger, including VERIFY with its PIN.
    #[test]
    fn nothing_below_info_can_be_logged() {
        assert!(log::STATIC_MAX_LEVEL <= log::LevelFilter::Info);
    }
}
