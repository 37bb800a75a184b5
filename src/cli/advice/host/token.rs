//! What to do next about a token, its URI and its PIN.

use crate::cli::advice::code::Code::{Refused, Trouble, Usage};
use crate::cli::advice::code::{Advice, hint};
use crate::token::{Pin, PinError, PinState, TokenError, UriError};

pub(super) fn uri(_: &UriError) -> Advice {
    hint(
        Usage,
        "for example `card:` or `pkcs11:token=release;object=r2026?module-path=/usr/lib/softhsm/libsofthsm2.so`",
    )
}

pub(super) fn token(error: &TokenError) -> Advice {
    match error {
        TokenError::Module { .. } => hint(
            Usage,
            "check `module-path` in the token URI, and the module's own configuration (SoftHSM2: $SOFTHSM2_CONF)",
        ),
        TokenError::NoModule { .. } => hint(Usage, "add `?module-path=/path/to/module.so`"),
        TokenError::TokenAbsent { uri, .. } => hint(
            Trouble,
            match uri.starts_with("card:") {
                true => {
                    "insert the card; if gpg uses it past the smart card service, `gpgconf --kill scdaemon` frees it"
                }
                false => {
                    "insert the token, or correct `token` and `serial` in its URI; SoftHSM2 finds its tokens by $SOFTHSM2_CONF"
                }
            },
        ),
        TokenError::TokenAmbiguous { uri, .. } => hint(
            Usage,
            match uri.starts_with("card:") {
                true => "name one of them in the token URI",
                false => "name one by `serial=` in the token URI",
            },
        ),
        TokenError::KeyAbsent { .. } => hint(
            Usage,
            "correct `object` and `id` in the token URI; `countersign key list` shows what there is",
        ),
        TokenError::KeyAmbiguous { .. } => hint(Usage, "name one by `id=` in the token URI"),
        TokenError::KeyExists { .. } => hint(
            Usage,
            "choose another `object`, or with `init` leave `--generate` out to use that key",
        ),
        TokenError::KeyUnnamed { .. } => hint(Usage, "add its name to the URI: `;object=NAME`"),
        TokenError::KeyUnsuitable { .. } => hint(
            Usage,
            "ed25519, p256, p384, p521 and rsa from 2048 bits can sign releases; see `countersign key list`",
        ),
        TokenError::MechanismUnsupported { .. } => {
            hint(Usage, "use a kind of key that this token supports")
        }
        TokenError::PinWrong {
            state: PinState::Locked,
            pin,
            ..
        } => hint(Trouble, format!("that was the last try: {}", unlock(*pin))),
        TokenError::PinWrong {
            state: PinState::FinalTry,
            ..
        } => hint(
            Trouble,
            "one try is left, and it will not be used unattended: make sure of the PIN first",
        ),
        TokenError::PinWrong {
            state: PinState::Left(tries),
            ..
        } => hint(
            Trouble,
            format!(
                "it was tried once and will not be tried again, {tries} tries are left; run the command anew with the right one"
            ),
        ),
        TokenError::PinWrong {
            state: PinState::Untouched | PinState::CountLow | PinState::NotNeeded,
            ..
        } => hint(
            Trouble,
            "it was tried once and will not be tried again; run the command anew with the right PIN",
        ),
        TokenError::PinLocked { pin, .. } => hint(Trouble, unlock(*pin)),
        TokenError::FinalTry { .. } => hint(
            Trouble,
            "use the PIN once at a terminal, with the token's own tools or a prompt here",
        ),
        TokenError::PinNotSet { .. } => hint(
            Usage,
            "initialise it with the token's own tools (`softhsm2-util`, `pkcs11-tool --init-pin`)",
        ),
        TokenError::Pin { source, .. } => pin(source),
        TokenError::SessionLost { .. } => hint(
            Trouble,
            "run the same command again: what was signed is kept",
        ),
        TokenError::Busy { .. } => hint(
            Trouble,
            "end the program that holds it, then run the same command again",
        ),
        TokenError::Held { holders, .. }
            if holders.iter().any(|holder| holder.starts_with("scdaemon ")) =>
        {
            hint(
                Trouble,
                "run `gpgconf --kill scdaemon` and the same command again, or wait for it with `--wait`",
            )
        }
        TokenError::Held { .. } => hint(
            Trouble,
            "end that program and run the same command again, or wait for it with `--wait`",
        ),
        TokenError::NoCardService { .. } => hint(
            Trouble,
            "install and start it: `apt install pcscd`, `systemctl start pcscd.socket`",
        ),
        TokenError::SlotEmpty { .. } => hint(
            Usage,
            "insert the card with the release key, or make one on this card: `countersign init --generate`",
        ),
        TokenError::SlotTaken { .. } => hint(
            Usage,
            "leave `--generate` out to use that key; `--replace-key` destroys it, and what only it can sign",
        ),
        TokenError::TouchMissing { .. } => hint(
            Trouble,
            "run the same command again and touch the card when it says so: what was signed is kept",
        ),
        TokenError::Counter { .. } => hint(
            Refused,
            "nothing was released; find out what else signs with this card before you use it again",
        ),
        TokenError::Unexpected { .. } => hint(
            Trouble,
            "run the same command again; if it stays so, the token or its module is at fault",
        ),
        TokenError::File { .. } => (Trouble, None),
    }
}

fn unlock(pin: Pin) -> &'static str {
    match pin {
        Pin::User => {
            "unlock it with the token's own tools and the security officer's or admin PIN (a card: `gpg --card-edit`, admin, passwd)"
        }
        Pin::Admin => "nothing unlocks it but a factory reset, which destroys the keys on the card",
    }
}

fn pin(error: &PinError) -> Advice {
    match error {
        PinError::Declined => hint(
            Usage,
            "run this at a terminal, or add `pin-source=file:/PATH`, `fd:NUMBER` or `credential:NAME` to the token URI",
        ),
        PinError::TooOpen { path, .. } => hint(Usage, format!("run `chmod 600 {path}`")),
        PinError::NoCredentials { name } => hint(
            Usage,
            format!("add `LoadCredential={name}:/PATH` to the systemd unit"),
        ),
        PinError::Source | PinError::Unreadable { .. } => {
            hint(Usage, "correct `pin-source` in the token URI")
        }
        PinError::Empty { .. } | PinError::Malformed { .. } => {
            hint(Usage, "it must hold the PIN and nothing else")
        }
    }
}
