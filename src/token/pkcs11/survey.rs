//! The tokens of a module, and which of them a URI names.

use cryptoki::error::{Error, RvError};

use super::answer::{Failure, described, is_transient};
use super::module::Module;
use super::token_info::TokenInfo;
use crate::token::{Pkcs11Uri, TokenError};

/// The tokens of a module.
pub(super) struct Survey {
    /// Those that fit a URI, each with the URI of exactly this token.
    pub(super) fitting: Vec<(TokenInfo, Pkcs11Uri)>,
    present: Vec<TokenInfo>,
}

impl Survey {
    /// The tokens of `module`, compared with `uri`.
    pub(super) fn new(module: &Module, uri: &Pkcs11Uri) -> Result<Self, Failure> {
        let refused = |error: &Error| {
            let module = uri.module_path().unwrap_or("".as_ref());
            Failure {
                error: TokenError::Module {
                    module: module.display().to_string(),
                    reason: described(error),
                },
                transient: is_transient(error),
            }
        };
        let slots = module
            .call(|context| context.get_slots_with_token())
            .map_err(|error| refused(&error))?;
        let mut present = Vec::new();
        let mut fault = None;
        for slot in slots {
            match TokenInfo::read(module, slot) {
                Ok(info) => present.extend(info),
                // Pulled out since the list was made.
                Err(Error::Pkcs11(RvError::TokenNotPresent, _)) => {}
                Err(error) => fault = Some(error),
            }
        }
        let fitting = present.iter().filter(|token| token.fits(uri));
        let fitting: Vec<_> = fitting
            .map(|token| (token.clone(), exact(token, uri, &present)))
            .collect();
        match fault {
            // It could be the one that cannot be read.
            Some(error) if fitting.is_empty() => Err(refused(&error)),
            _ => Ok(Self { fitting, present }),
        }
    }

    /// The one token that fits `uri`.
    pub(super) fn the_token(
        mut self,
        module: &Module,
        uri: &Pkcs11Uri,
    ) -> Result<(TokenInfo, Pkcs11Uri), Failure> {
        if self.fitting.len() > 1 {
            let fitting = self.fitting.iter();
            return Err(TokenError::Ambiguous {
                uri: uri.into(),
                what: "tokens".to_owned(),
                candidates: fitting.map(|(token, _)| token.to_string()).collect(),
                by: " by `serial=`",
            }
            .into());
        }
        let token = self.fitting.pop();
        token.ok_or_else(|| self.token_absent(module, uri))
    }

    /// The error that no token fits, with those that are present.
    pub(super) fn token_absent(&self, module: &Module, uri: &Pkcs11Uri) -> Failure {
        Failure {
            error: TokenError::TokenAbsent {
                uri: uri.into(),
                present: self.present.iter().map(ToString::to_string).collect(),
            },
            transient: module.is_softhsm,
        }
    }
}

/// `uri` with label and serial number, and with the slot only where another token has the same.
fn exact(token: &TokenInfo, uri: &Pkcs11Uri, present: &[TokenInfo]) -> Pkcs11Uri {
    let mut exact = uri.clone().with_token(&token.label, &token.serial);
    if present.iter().filter(|other| other.fits(&exact)).count() != 1 {
        exact.slot_id = uri.slot_id;
    }
    exact
}
