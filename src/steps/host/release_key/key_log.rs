//! The uses of the token for something other than a release: each is logged before it begins and
//! when it ends.

use std::convert::Infallible;

use super::error::KeyError;
use crate::domain::event::{CardUse, Event, KeyPurpose};
use crate::domain::time::Clock;
use crate::home::Home;
use crate::ledger::{Ledger, LedgerError};
use crate::steps::host::anchor::announce;
use crate::steps::host::card_use;
use crate::steps::host::trouble::{self, Trouble, reason};
use crate::token::{self, Batch, CardCounter, Interaction, LockedToken, Token, TokenUri};

/// What a token is used for.
#[derive(Debug, Clone, Copy)]
pub(in crate::steps::host) struct Use {
    purpose: KeyPurpose,
    signatures: usize,
}

impl Use {
    /// A new key pair.
    pub(in crate::steps::host) const GENERATE: Self = Self {
        purpose: KeyPurpose::Generate,
        signatures: 0,
    };
    /// A signature that proves that the key works.
    pub(in crate::steps::host) const SELF_TEST: Self = Self {
        purpose: KeyPurpose::SelfTest,
        signatures: 1,
    };

    /// The signature of the statement that a release is withdrawn.
    pub(in crate::steps::host) const WITHDRAW: Self = Self {
        purpose: KeyPurpose::Withdraw,
        signatures: 1,
    };

    /// The signatures of a certificate.
    pub(in crate::steps::host) const fn certify(signatures: usize) -> Self {
        Self {
            purpose: KeyPurpose::Certify,
            signatures,
        }
    }
}

/// The log of such uses.
pub(in crate::steps::host) struct KeyLog<'a> {
    ledger: &'a mut Ledger,
    clock: Clock,
    /// The home whose anchors have what is logged before it is done.
    home: Option<&'a Home>,
}

/// A use that is logged and has not ended.
pub(in crate::steps::host) struct Begun {
    intent: u64,
    card: Option<CardUse>,
}

impl Begun {
    /// Whether the use is of a card.
    pub(in crate::steps::host) fn is_of_card(&self) -> bool {
        self.card.is_some()
    }
}

impl<'a> KeyLog<'a> {
    pub(in crate::steps::host) fn new(ledger: &'a mut Ledger, clock: impl Into<Clock>) -> Self {
        let clock = clock.into();
        Self {
            ledger,
            clock,
            home: None,
        }
    }

    /// The same, where others have the log before the token is used.
    pub(in crate::steps::host) fn announced_by(self, home: &'a Home) -> Self {
        Self {
            home: Some(home),
            ..self
        }
    }

    /// Logs a use before it begins.
    pub(in crate::steps::host) fn begin(
        &mut self,
        what: Use,
        token: &TokenUri,
        counter: Option<CardCounter>,
    ) -> Result<Begun, LedgerError> {
        let card = counter.map(card_use);
        let event = Event::KeyIntended {
            token: token.public(),
            purpose: what.purpose,
            signatures: what.signatures as u64,
            card: card.clone(),
        };
        let intent = self.ledger.append(self.clock, event)?;
        Ok(Begun { intent, card })
    }

    /// Logs a use, and unlocks the token for it.
    pub(in crate::steps::host) fn unlock(
        &mut self,
        what: Use,
        uri: &TokenUri,
        locked: Box<dyn LockedToken>,
        people: &mut dyn Interaction,
    ) -> Result<(Begun, Box<dyn Token>), KeyError> {
        let token = locked.description().clone();
        let begun = self.begin(what, uri, token.counter())?;
        if let Some(Err(error)) = self.home.map(|home| announce(home, self.ledger)) {
            return Err(self.not_unlocked(begun, Trouble::from(error).into()));
        }
        people.begins(&Batch {
            signatures: what.signatures,
            token,
        });
        match locked.unlock(people) {
            Ok(token) => {
                // No other program reaches the card any more.
                let card = token.counter().map(card_use);
                Ok((Begun { card, ..begun }, token))
            }
            Err(error) => Err(self.not_unlocked(begun, error.into())),
        }
    }

    /// Nothing was asked of the card.
    fn not_unlocked(&mut self, begun: Begun, error: KeyError) -> KeyError {
        let card = begun.card.map(CardUse::unchanged);
        let logged = self.log(begun.intent, Some(&error), card);
        let never = trouble::logged::<Infallible, _>(Err(error), logged);
        never.expect_err("it is an error")
    }

    /// Logs how a use ended, and the card's counter by then.
    pub(in crate::steps::host) fn end<T>(
        &mut self,
        begun: Begun,
        result: Result<T, KeyError>,
        counter: Option<CardCounter>,
    ) -> Result<T, KeyError> {
        let card = match begun.card {
            Some(card) => Some(CardUse {
                after: counter.and_then(|counter| counter.signatures),
                ..card
            }),
            None => counter.map(|counter| CardUse {
                card: counter.card,
                before: None,
                after: counter.signatures,
            }),
        };
        let logged = self.log(begun.intent, result.as_ref().err(), card);
        trouble::logged(result, logged)
    }

    fn log(
        &mut self,
        intent: u64,
        failed: Option<&KeyError>,
        card: Option<CardUse>,
    ) -> Result<u64, LedgerError> {
        let event = Event::KeyOutcome {
            intent,
            failed: failed.map(|error| reason(error)),
            card,
        };
        self.ledger.append(self.clock, event)
    }
}

/// The counter of the one card that `uri` names, whether it has a key or not.
pub(in crate::steps::host) fn counter_of(
    uri: &TokenUri,
    people: &mut dyn Interaction,
) -> Option<CardCounter> {
    if !uri.is_card() {
        return None;
    }
    match token::list_keys(uri, people).ok()?.as_slice() {
        [one] => one.token.counter(),
        _ => None,
    }
}
