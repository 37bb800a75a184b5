//! A token as it reports itself (C_GetTokenInfo).

use std::fmt;

use cryptoki::error::Result;
use cryptoki::slot::Slot;

use super::module::Module;
use crate::token::{PinState, Pkcs11Uri, TokenDescription, TokenUri};

/// A token as it reports itself.
#[derive(Debug, Clone)]
pub(super) struct TokenInfo {
    pub(super) slot: Slot,
    pub(super) label: String,
    manufacturer: String,
    model: String,
    pub(super) serial: String,
    pub(super) login_required: bool,
    /// It has a keypad of its own (CKF_PROTECTED_AUTHENTICATION_PATH).
    pub(super) has_pinpad: bool,
    pub(super) pin_is_set: bool,
    pub(super) pin: PinState,
}

impl TokenInfo {
    /// `None` for a token that is not initialised.
    pub(super) fn read(module: &Module, slot: Slot) -> Result<Option<Self>> {
        let info = module.call(|context| context.get_token_info(slot))?;
        let pin = match () {
            () if !info.login_required() => PinState::NotNeeded,
            () if info.user_pin_locked() => PinState::Locked,
            () if info.user_pin_final_try() => PinState::FinalTry,
            () if info.user_pin_count_low() => PinState::CountLow,
            () => PinState::Untouched,
        };
        let token = Self {
            slot,
            label: sanitised(info.label()),
            manufacturer: sanitised(info.manufacturer_id()),
            model: sanitised(info.model()),
            serial: sanitised(info.serial_number()),
            login_required: info.login_required(),
            has_pinpad: info.protected_authentication_path(),
            pin_is_set: info.user_pin_initialized(),
            pin,
        };
        Ok(info.token_initialized().then_some(token))
    }

    pub(super) fn fits(&self, uri: &Pkcs11Uri) -> bool {
        let same = |wanted: &Option<String>, is: &String| {
            wanted.as_ref().is_none_or(|wanted| wanted == is)
        };
        same(&uri.token, &self.label)
            && same(&uri.serial, &self.serial)
            && same(&uri.manufacturer, &self.manufacturer)
            && same(&uri.model, &self.model)
            && uri.slot_id.is_none_or(|wanted| wanted == self.slot.id())
    }

    /// Whether it is SoftHSM2 by its own account: its module may be behind another one.
    pub(super) fn is_softhsm(&self) -> bool {
        self.manufacturer.contains("SoftHSM") || self.model.contains("SoftHSM")
    }

    /// Its name in errors.
    pub(super) fn name(&self) -> &str {
        if self.label.is_empty() {
            return &self.serial;
        }
        &self.label
    }

    /// Its name where a person must recognise it.
    pub(super) fn full_name(&self) -> String {
        format!("{} (serial {})", self.label, self.serial)
    }

    pub(super) fn description(&self, uri: &Pkcs11Uri) -> TokenDescription {
        TokenDescription {
            uri: TokenUri::Pkcs11(uri.clone()),
            label: self.label.clone(),
            manufacturer: self.manufacturer.clone(),
            model: self.model.clone(),
            serial: self.serial.clone(),
            pin: self.pin,
            card: None,
        }
    }
}

impl fmt::Display for TokenInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "label `{}` serial `{}`", self.label, self.serial)
    }
}

/// A text of a module, safe for a terminal and for a URI.
pub(super) fn sanitised(text: &str) -> String {
    let plain = |c: char| {
        if c.is_control() {
            char::REPLACEMENT_CHARACTER
        } else {
            c
        }
    };
    let text = text.trim_matches(|c: char| c == '\0' || c == ' ');
    text.chars().map(plain).collect()
}
