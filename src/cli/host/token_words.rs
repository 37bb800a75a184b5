//! The words for a token: its PIN, its card, a warning.

use crate::cli::render::Output;
use crate::token::{PinState, TokenDescription, TokenUri, TouchPolicy};

/// The state of a PIN.
pub(super) fn pin_state(state: PinState) -> String {
    match state {
        PinState::Untouched => "no failed try (as far as the token reports)".to_owned(),
        PinState::CountLow => "at least one failed try since the last correct one".to_owned(),
        PinState::Left(tries) => format!("{tries} tries left"),
        PinState::FinalTry => "one try left".to_owned(),
        PinState::Locked => "locked".to_owned(),
        PinState::NotNeeded => "none needed".to_owned(),
    }
}

/// What else an OpenPGP card reports: the name and the value of each line.
pub(super) fn card_lines(token: &TokenDescription) -> Vec<(&'static str, String)> {
    let Some(card) = &token.card else {
        return Vec::new();
    };
    let touch = match card.touch {
        TouchPolicy::Off => "not needed",
        TouchPolicy::On => "for each signature",
        TouchPolicy::Fixed => "for each signature, until a factory reset",
        TouchPolicy::Cached => "for a signature, unless touched a few seconds before",
        TouchPolicy::CachedFixed => {
            "for a signature, unless touched a few seconds before, until a factory reset"
        }
    };
    let pin = if card.pin_per_signature {
        "for each signature"
    } else {
        "once, for all signatures"
    };
    let signatures = card.signatures.map_or_else(
        || "not reported".to_owned(),
        |count| {
            format!(
                "{} so far",
                counted(count.into(), "signature", "signatures")
            )
        },
    );
    vec![
        ("touch", touch.to_owned()),
        ("PIN asked", pin.to_owned()),
        ("admin PIN", pin_state(card.admin_pin)),
        ("counter", signatures),
    ]
}

/// A number with its noun: `1 touch`, `3 touches`.
pub(super) fn counted(number: u64, one: &str, many: &str) -> String {
    let noun = if number == 1 { one } else { many };
    format!("{number} {noun}")
}

/// Warns that a key in a file is not protected.
pub(super) fn warn_of_file_token(uri: &TokenUri, output: &Output) {
    if uri.is_file() {
        output.warn(
            "the release key is a plain file, which is only for tests: \
             anyone who can read it can sign as you",
        );
    }
}
