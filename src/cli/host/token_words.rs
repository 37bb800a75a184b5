//! What there is to say of a token, in words.

use crate::cli::render::Output;
use crate::token::{PinState, TokenDescription, TokenUri, TouchPolicy};

/// How a PIN stands, in words.
pub(super) fn pin_state(state: PinState) -> String {
    match state {
        PinState::Untouched => "no failed try (as far as the token tells)".to_owned(),
        PinState::CountLow => "at least one failed try since the last right one".to_owned(),
        PinState::Left(tries) => format!("{tries} tries left"),
        PinState::FinalTry => "one try left".to_owned(),
        PinState::Locked => "locked".to_owned(),
        PinState::NotNeeded => "none needed".to_owned(),
    }
}

/// What an OpenPGP card tells beside, a line each: its name and its value.
pub(super) fn card_lines(token: &TokenDescription) -> Vec<(&'static str, String)> {
    let Some(card) = &token.card else {
        return Vec::new();
    };
    let touch = match card.touch {
        TouchPolicy::Off => "not needed",
        TouchPolicy::On => "for each signature",
        TouchPolicy::Fixed => "for each signature, until a factory reset",
        TouchPolicy::Cached => "for a signature, unless touched some seconds before",
        TouchPolicy::CachedFixed => {
            "for a signature, unless touched some seconds before, until a factory reset"
        }
    };
    let pin = if card.pin_per_signature {
        "for each signature"
    } else {
        "once, for all signatures"
    };
    let counted = card.signatures.map_or_else(
        || "not told".to_owned(),
        |count| format!("{count} signatures so far"),
    );
    vec![
        ("touch", touch.to_owned()),
        ("PIN asked", pin.to_owned()),
        ("admin PIN", pin_state(card.admin_pin)),
        ("counter", counted),
    ]
}

/// A key in a file protects nothing.
pub(super) fn warn_of_file_token(uri: &TokenUri, output: &Output) {
    if matches!(uri, TokenUri::File(_)) {
        output.warn("the release key is a plain file, which is for tests alone: whoever reads it can sign as you");
    }
}
