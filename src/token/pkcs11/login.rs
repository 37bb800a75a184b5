//! One PIN, tried once.

use std::sync::Arc;

use cryptoki::error::{Error, RvError};
use cryptoki::session::UserType;
use secrecy::SecretString;

use super::answer::{Failure, described, is_busy};
use super::opened::Opened;
use super::token_info::TokenInfo;
use crate::token::pin::{Given, OnePin, obtain};
use crate::token::{Interaction, Pin, PinRequest, PinSource, PinState, RefusedPins, TokenError};

impl Given {
    /// The PIN as C_Login takes it.
    pub(super) fn pin(&self) -> Option<&SecretString> {
        match self {
            Self::Pin(pin) => Some(pin),
            Self::Nothing | Self::AtKeypad => None,
        }
    }
}

/// Logs in to the token, with a PIN from the source that its URI names. At most one PIN is tried,
/// and none if by the token's flags it would be in vain or could be the last.
pub(super) fn login(
    opened: Opened,
    pins: &RefusedPins,
    interaction: &mut dyn Interaction,
) -> Result<(Opened, OnePin), TokenError> {
    let module = Arc::clone(&opened.module);
    let uri = opened.uri.clone();
    let read_write = opened.read_write;
    let opened = match opened
        .refreshed()
        .filter(|opened| !is_half_read(&opened.info))
    {
        Some(opened) => opened,
        None => module.patiently(|| {
            let opened = Opened::new(&module, &uri, read_write)?;
            if is_half_read(&opened.info) {
                let error = TokenError::PinNotSet {
                    token: opened.info.name().to_owned(),
                };
                return Err(Failure {
                    error,
                    transient: true,
                });
            }
            Ok(opened)
        })?,
    };
    let source = uri.pin_source();
    let pin = ask(&opened.info, &source, pins, interaction)?;
    if matches!(pin.given(), Given::Nothing) {
        return Ok((opened, pin));
    }
    let mut opened = Some(opened);
    let mut attempt = |given: &Given| {
        let opened = match opened.take() {
            Some(opened) => opened,
            None => Opened::new(&module, &uri, read_write)?,
        };
        match opened
            .session
            .call(|session| session.login(UserType::User, given.pin()))
        {
            // Login is per token, not per session: another session of this process is logged in.
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(opened),
            // SoftHSM2 read the token's file while another process wrote it: without its end, where
            // the PIN is, or not at all. It detects both before it checks this PIN, and never locks
            // one, so the same PIN may be given again. This is true of no other token:
            // CKR_GENERAL_ERROR does not reveal whether the try was counted.
            Err(
                error @ Error::Pkcs11(RvError::GeneralError | RvError::UserPinNotInitialized, _),
            ) if opened.info.is_softhsm() => Err(Failure {
                error: refused(&opened, &error),
                transient: true,
            }),
            Err(error) => Err(refused(&opened, &error).into()),
        }
    };
    let opened = pin.try_once(|given| module.patiently(|| attempt(given)))?;
    Ok((opened, pin))
}

/// Whether SoftHSM2 may have read the token's file while another process wrote it, and so missed
/// its PIN.
fn is_half_read(token: &TokenInfo) -> bool {
    token.is_softhsm() && !token.pin_is_set
}

/// Gets the PIN, if one is needed and may be tried.
fn ask(
    token: &TokenInfo,
    source: &PinSource,
    pins: &RefusedPins,
    interaction: &mut dyn Interaction,
) -> Result<OnePin, TokenError> {
    if !token.pin_is_set && !matches!(token.pin, PinState::NotNeeded | PinState::Locked) {
        return Err(TokenError::PinNotSet {
            token: token.name().to_owned(),
        });
    }
    let request = PinRequest {
        token: token.full_name(),
        pin: Pin::User,
        state: token.pin,
    };
    obtain(
        request,
        token.name(),
        token.has_pinpad,
        source,
        pins,
        interaction,
    )
}

/// Why C_Login failed, with the state of the PIN as the token reports it now.
pub(super) fn refused(opened: &Opened, error: &Error) -> TokenError {
    let token = opened.info.name().to_owned();
    let Error::Pkcs11(answer, _) = error else {
        return opened.fault(error).error;
    };
    match answer {
        RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange => {
            let state = opened.pin_state().unwrap_or(opened.info.pin);
            TokenError::PinWrong {
                token,
                pin: Pin::User,
                state,
                odd: None,
            }
        }
        RvError::PinLocked => TokenError::PinLocked {
            token,
            pin: Pin::User,
        },
        RvError::UserPinNotInitialized => TokenError::PinNotSet { token },
        // At the keypad of the token.
        RvError::FunctionCanceled | RvError::FunctionRejected | RvError::Cancel => {
            TokenError::Declined {
                token,
                pin: Pin::User,
            }
        }
        _ if is_busy(answer) => TokenError::Busy {
            token,
            reason: described(error),
        },
        _ => opened.fault(error).error,
    }
}
