//! A token that is logged in to and signs.

use std::sync::Arc;

use cryptoki::error::Error;
use cryptoki::object::ObjectHandle;
use cryptoki::session::UserType;
use secrecy::SecretString;

use super::answer::{described, is_busy, is_lost};
use super::attributes;
use super::key::SigningKey;
use super::login::{self, login};
use super::module::Module;
use super::opened::Opened;
use crate::domain::key::{PublicKey, RawSignature};
use crate::domain::signing::Message;
use crate::token::pin::OnePin;
use crate::token::{Interaction, PinRequest, Pkcs11Uri, RefusedPins, Token, TokenError, raw};

pub(super) const ANOTHER_KEY: &str = "another key has its name now";

/// A token that is logged in to.
pub(super) struct Unlocked {
    /// The token and the handle of the key; `None` after an error, when neither is used again.
    live: Option<(Opened, ObjectHandle)>,
    public: PublicKey,
    /// Names exactly this token and key.
    uri: Pkcs11Uri,
    name: String,
    module: Arc<Module>,
    /// Of the module, when the session was opened.
    generation: u64,
    /// For a key that requires the PIN before each signature.
    each_signature: Option<OnePin>,
    pins: RefusedPins,
    /// A lost session is reopened only once.
    reopened: bool,
}

/// Why a signature failed.
enum NotSigned {
    /// The session is lost. Another one might work.
    Lost(String),
    /// It would fail again.
    Refused(TokenError),
}

impl Unlocked {
    pub(super) fn new(opened: Opened, key: SigningKey, pin: OnePin, pins: RefusedPins) -> Self {
        Self {
            public: key.public,
            uri: opened.uri.clone(),
            name: opened.info.name().to_owned(),
            module: Arc::clone(&opened.module),
            generation: opened.session.generation(),
            live: Some((opened, key.handle)),
            each_signature: key.always_authenticate.then_some(pin),
            pins,
            reopened: false,
        }
    }

    /// Makes one signature in the session. After an error it is closed: the state that an error
    /// leaves (an operation that did not end, an invalid handle) differs between modules.
    fn sign_once(&mut self, input: &[u8]) -> Result<Vec<u8>, NotSigned> {
        let Some((opened, key)) = self.live.take() else {
            return Err(NotSigned::Lost(
                "its session was closed after an error".to_owned(),
            ));
        };
        let (mechanism, _) = attributes::signing_mechanism(&self.public);
        let answer = opened.session.sign(&mechanism, key, input, |session| {
            match &self.each_signature {
                Some(pin) => session
                    .login(UserType::ContextSpecific, pin.given().pin())
                    .map_err(SignError::Login),
                None => Ok(()),
            }
        });
        match answer {
            Ok(answer) => {
                self.live = Some((opened, key));
                Ok(answer)
            }
            Err(SignError::Login(error)) => {
                // Never given again: the token would count each try.
                self.reopened = true;
                let refused = Err(login::refused(&opened, &error));
                let refused = match &self.each_signature {
                    Some(pin) => pin.repeated(refused),
                    None => refused,
                };
                refused.map_err(NotSigned::Refused)
            }
            Err(SignError::Sign(error)) => Err(match &error {
                Error::Pkcs11(answer, _) if is_lost(answer) => NotSigned::Lost(described(&error)),
                Error::Pkcs11(answer, _) if is_busy(answer) => {
                    NotSigned::Refused(TokenError::Busy {
                        token: self.name.clone(),
                        reason: described(&error),
                    })
                }
                _ => NotSigned::Refused(opened.fault(&error).error),
            }),
        }
    }

    /// Opens the session again, once in the life of this value: one that is lost twice would be
    /// lost again. The module is initialised again, because otherwise most do not notice that their
    /// token is back.
    fn reopen(&mut self, reason: String) -> Result<(), TokenError> {
        let lost = |why: &str| self.lost(format!("{reason}{why}"));
        if self.reopened {
            return Err(lost(""));
        }
        self.reopened = true;
        self.module
            .renew(self.generation)
            .map_err(|error| self.lost(format!("{reason}; {}", described(&error))))?;
        let opened = self
            .module
            .patiently(|| Opened::new(&self.module, &self.uri, false));
        let lost = |why: &str| self.lost(format!("{reason}; {why}"));
        let opened = opened.map_err(|error| lost(&error.to_string()))?;

        let source = self.uri.pin_source();
        let needs_pin = opened.info.login_required && !opened.is_logged_in();
        if needs_pin && (opened.info.has_pinpad || !source.is_repeatable()) {
            return Err(lost("its PIN would have to be given again"));
        }
        let (opened, pin) = if needs_pin {
            let (opened, pin) = login(opened, &self.pins, &mut Nobody)?;
            (opened, Some(pin))
        } else {
            (opened, None)
        };

        let key = opened
            .signing_key()
            .map_err(|failure| lost(&failure.error.to_string()))?;
        if key.public != self.public {
            return Err(lost(ANOTHER_KEY));
        }
        if key.always_authenticate && pin.is_some() {
            self.each_signature = pin;
        }
        self.generation = opened.session.generation();
        self.live = Some((opened, key.handle));
        Ok(())
    }

    fn lost(&self, reason: String) -> TokenError {
        TokenError::SessionLost {
            token: self.name.clone(),
            reason,
        }
    }
}

impl Token for Unlocked {
    fn public(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&mut self, message: &Message<'_>) -> Result<RawSignature, TokenError> {
        let input = raw::to_be_signed(&self.public, message.digest());
        let answer = match self.sign_once(&input) {
            Err(NotSigned::Lost(reason)) => {
                self.reopen(reason)?;
                self.sign_once(&input)
            }
            other => other,
        };
        let answer = answer.map_err(|error| match error {
            NotSigned::Lost(reason) => self.lost(reason),
            NotSigned::Refused(error) => error,
        })?;
        raw::signature(&self.public, &answer).map_err(|answer| TokenError::Unexpected {
            token: self.name.clone(),
            call: "C_Sign",
            answer,
        })
    }
}

/// Where a signature failed: C_Login has answers of its own.
enum SignError {
    Login(Error),
    Sign(Error),
}

impl From<Error> for SignError {
    fn from(error: Error) -> Self {
        Self::Sign(error)
    }
}

/// Nobody can be asked while a release is signed.
struct Nobody;

impl Interaction for Nobody {
    fn pin(&mut self, _: &PinRequest) -> Option<SecretString> {
        None
    }

    fn final_try(&mut self, _: &PinRequest) -> Option<bool> {
        None
    }
}
