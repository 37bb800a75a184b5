//! What can go wrong with a token, and with the source of its PIN.

use std::fmt::Display;

use super::description::{Pin, PinState};
use super::uri::TokenUri;
use crate::domain::time::Timestamp;

/// Where systemd puts the credentials of a service (systemd.exec(5)).
pub(super) const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";

/// What can go wrong with a token. `token` is its label, or the number of a card.
#[expect(missing_docs, reason = "the message of each variant says it")]
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum TokenError {
    #[error("PKCS#11 module `{module}` cannot be used: {reason}")]
    #[diagnostic(
        code(usage::pkcs11_module),
        help(
            "check `module-path` in the token URI, and the module's own configuration \
             (SoftHSM2: $SOFTHSM2_CONF)"
        )
    )]
    Module { module: String, reason: String },
    #[error("token URI `{uri}` does not name {missing}")]
    #[diagnostic(code(usage::incomplete_token_uri), help("add `{attribute}`"))]
    Incomplete {
        uri: Box<TokenUri>,
        missing: &'static str,
        attribute: &'static str,
    },
    #[error("no token matches `{uri}`; present: {present}", present = list(present))]
    #[diagnostic(code(trouble::token_absent), help("{}", insert(uri)))]
    TokenAbsent {
        uri: Box<TokenUri>,
        present: Vec<String>,
    },
    /// Several tokens or several keys: `what`.
    #[error(
        "{number} {what} match `{uri}`: {list}",
        number = candidates.len(),
        list = list(candidates)
    )]
    #[diagnostic(
        code(usage::ambiguous_token_uri),
        help("name one of them in the token URI{by}")
    )]
    Ambiguous {
        uri: Box<TokenUri>,
        what: String,
        candidates: Vec<String>,
        by: &'static str,
    },
    #[error(
        "no key on token `{token}` matches `{uri}`; present: {present}",
        present = list(present)
    )]
    #[diagnostic(
        code(usage::key_absent),
        help("correct `object` and `id` in the token URI; `countersign key list` lists the keys")
    )]
    KeyAbsent {
        token: String,
        uri: Box<TokenUri>,
        present: Vec<String>,
    },
    #[error("token `{token}` already has a key: {key}")]
    #[diagnostic(code(usage::key_exists), help("{alternative}"))]
    KeyExists {
        token: String,
        key: String,
        alternative: &'static str,
    },
    #[error("key {key} on token `{token}` cannot sign a release: {reason}")]
    #[diagnostic(
        code(usage::key_unsuitable),
        help(
            "ed25519, p256, p384, p521 and rsa of 2048 to 4096 bits can sign releases; \
             see `countersign key list`"
        )
    )]
    KeyUnsuitable {
        token: String,
        key: String,
        reason: String,
    },
    /// `mechanism` is its name in PKCS#11, or the kind of key.
    #[error("token `{token}` does not support {mechanism}")]
    #[diagnostic(
        code(usage::mechanism_unsupported),
        help("use a kind of key that this token supports")
    )]
    MechanismUnsupported { token: String, mechanism: String },
    /// `state` is that of the PIN after the try, `odd` what is odd about the PIN's source.
    #[error("wrong {pin} for token `{token}`")]
    #[diagnostic(
        code(trouble::wrong_pin),
        help("{}", after_wrong_pin(*pin, *state, odd.as_deref()))
    )]
    PinWrong {
        token: String,
        pin: Pin,
        state: PinState,
        odd: Option<String>,
    },
    /// `renewal` is what allows another try.
    #[error(
        "token `{token}` did not accept the {pin} from `{source_of_pin}` at {at}, and is not given \
         it again"
    )]
    #[diagnostic(
        code(trouble::pin_refused_before),
        help(
            "{renewal}use the token once at a prompt: on the signing host \
             `countersign key check --sign --prompt`"
        )
    )]
    PinRefusedBefore {
        token: String,
        pin: Pin,
        source_of_pin: String,
        at: Timestamp,
        renewal: &'static str,
    },
    #[error("the record of refused PINs cannot be used: `{path}` {reason}")]
    #[diagnostic(
        code(trouble::refused_pins),
        help(
            "no PIN was tried; make the file usable, or remove it if the PIN of each source is \
             right by now"
        )
    )]
    RefusedPins { path: String, reason: String },
    #[error("the {pin} of token `{token}` is locked")]
    #[diagnostic(code(trouble::pin_locked), help("{}", unlock(*pin)))]
    PinLocked { token: String, pin: Pin },
    #[error("token `{token}` has one try left for the {pin}; not trying unattended")]
    #[diagnostic(
        code(trouble::final_pin_try),
        help(
            "use the PIN once at a terminal, with the token's own tools or with \
             `countersign key check --sign --prompt`"
        )
    )]
    FinalTry { token: String, pin: Pin },
    #[error("the {pin} of token `{token}` was asked for, and not given")]
    #[diagnostic(
        code(notyet::pin_declined),
        help("run the same command again when the PIN may be used")
    )]
    Declined { token: String, pin: Pin },
    #[error("token `{token}` is not initialised: it has no user PIN")]
    #[diagnostic(
        code(usage::pin_not_set),
        help("initialise it with its own tools (`softhsm2-util`, `pkcs11-tool --init-pin`)")
    )]
    PinNotSet { token: String },
    #[error("no {pin} for token `{token}`: {source}")]
    #[diagnostic(forward(source))]
    Pin {
        token: String,
        pin: Pin,
        source: PinError,
    },
    /// The session or the token is gone, and did not come back at once.
    #[error("token `{token}` went away: {reason}")]
    #[diagnostic(
        code(trouble::token_lost),
        help("run the same command again: what was signed is kept")
    )]
    SessionLost { token: String, reason: String },
    /// Another program uses the token, or its sessions or its memory are used up.
    #[error("token `{token}` is busy: {reason}")]
    #[diagnostic(
        code(trouble::token_busy),
        help("end the program that uses it, then run the same command again")
    )]
    Busy { token: String, reason: String },
    /// `holders` are programs that use the smart card service, as far as can be seen.
    #[error(
        "the card in reader `{reader}` is in use by another program{holders}",
        holders = by(holders)
    )]
    #[diagnostic(code(trouble::card_held), help("{}", release_card(holders)))]
    Held {
        reader: String,
        holders: Vec<String>,
    },
    #[error("the smart card service cannot be used: {reason}")]
    #[diagnostic(
        code(trouble::no_card_service),
        help("install and start it: `apt install pcscd`, `systemctl start pcscd.socket`")
    )]
    NoCardService { reason: String },
    #[error("card `{token}` has no signing key")]
    #[diagnostic(
        code(usage::no_signing_key),
        help(
            "insert the card with the release key, or generate one on this card: \
             `countersign init --generate`"
        )
    )]
    SlotEmpty { token: String },
    #[error("token `{token}` was not touched in time")]
    #[diagnostic(
        code(trouble::not_touched),
        help(
            "run the same command again and touch the card when asked to: \
             what was signed is kept"
        )
    )]
    TouchMissing { token: String },
    #[error(
        "the signature counter of token `{token}` went from {before} to {after} with one signature"
    )]
    #[diagnostic(
        code(refused::wrong_counter),
        help(
            "nothing was released; find out what else signs with this card before using it again"
        )
    )]
    Counter {
        token: String,
        before: u32,
        after: u32,
    },
    /// An answer that the standard does not allow. `call` is the PKCS#11 function or the card's
    /// command.
    #[error("token `{token}` answered {call} with {answer}")]
    #[diagnostic(
        code(trouble::unexpected_answer),
        help("run the same command again; if it fails again, the token or its module is at fault")
    )]
    Unexpected {
        token: String,
        call: &'static str,
        answer: String,
    },
    #[error("token file `{path}` cannot be used: {reason}")]
    #[diagnostic(code(trouble::token_file))]
    File { path: String, reason: String },
}

/// Why a source gave no PIN. It contains nothing of what was read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
#[error("{message}")]
#[diagnostic(code(usage::no_pin))]
pub struct PinError {
    message: String,
    #[help]
    help: String,
}

impl PinError {
    fn new(message: String, help: impl Into<String>) -> Self {
        Self {
            message,
            help: help.into(),
        }
    }

    /// There is no terminal, nor a program that asks in a window.
    pub(super) fn nobody() -> Self {
        Self::new(
            "there is nobody to ask".to_owned(),
            "run this at a terminal, or add `pin-source=file:/PATH`, `fd:NUMBER` or \
             `credential:NAME` to the token URI",
        )
    }

    pub(super) fn unreadable(from: &str, reason: impl Display) -> Self {
        Self::new(
            format!("cannot read `{from}`: {reason}"),
            "correct `pin-source` in the token URI",
        )
    }

    /// Others can change the file, as `reason` says.
    pub(super) fn changeable(path: &str, reason: &str) -> Self {
        Self::new(
            format!("PIN file `{path}` is not used: {reason}"),
            "let only root or the user who runs this own and write it",
        )
    }

    /// Others than the owner can read or write the file.
    pub(super) fn too_open(path: &str, mode: u32) -> Self {
        Self::new(
            format!("PIN file `{path}` has mode {mode:04o}: others than its owner can use it"),
            format!("run `chmod 600 {path}`"),
        )
    }

    pub(super) fn malformed(from: &str, reason: &str) -> Self {
        Self::new(
            format!("`{from}` gave no PIN: {reason}"),
            "it must contain the PIN and nothing else",
        )
    }

    pub(super) fn no_credentials(name: &str) -> Self {
        Self::new(
            format!(
                "PIN credential `{name}`: the environment has no {CREDENTIALS_DIRECTORY}; \
                 systemd did not start the program with this credential"
            ),
            format!("add `LoadCredential={name}:/PATH` to the systemd unit"),
        )
    }
}

fn list(items: &[String]) -> String {
    if items.is_empty() {
        return "none".to_owned();
    }
    items.join(", ")
}

fn by(holders: &[String]) -> String {
    if holders.is_empty() {
        return String::new();
    }
    format!(": {}", holders.join(", "))
}

fn insert(uri: &TokenUri) -> &'static str {
    match uri {
        TokenUri::Card(_) => {
            "insert the card; if gpg uses it without the smart card service, \
             `gpgconf --kill scdaemon` releases it"
        }
        TokenUri::Pkcs11(_) | TokenUri::File(_) => {
            "insert the token, or correct `token` and `serial` in its URI; SoftHSM2 finds its \
             tokens by $SOFTHSM2_CONF"
        }
    }
}

fn release_card(holders: &[String]) -> &'static str {
    if holders.iter().any(|holder| holder.starts_with("scdaemon ")) {
        return "run `gpgconf --kill scdaemon` and the same command again, or wait with `--wait`";
    }
    "end that program and run the same command again, or wait for it with `--wait`"
}

fn after_wrong_pin(pin: Pin, state: PinState, odd: Option<&str>) -> String {
    let odd = odd.map(|odd| format!("{odd}; ")).unwrap_or_default();
    let next = match state {
        PinState::Locked => format!("that was the last try: {}", unlock(pin)),
        PinState::FinalTry => {
            "one try is left, and it is not used unattended: make sure of the PIN first".to_owned()
        }
        PinState::Left(tries) => format!(
            "it was tried once and is not tried again, {tries} tries are left; \
             run the command again with the right one"
        ),
        PinState::Untouched | PinState::CountLow | PinState::NotNeeded => {
            "it was tried once and is not tried again; run the command again with the right PIN"
                .to_owned()
        }
    };
    odd + &next
}

fn unlock(pin: Pin) -> &'static str {
    match pin {
        Pin::User => {
            "unlock it with the token's own tools and the security officer's or admin PIN \
             (a card: `gpg --card-edit`, admin, passwd)"
        }
        Pin::Admin => {
            "it can be unlocked only by a factory reset, which destroys the keys on the card"
        }
    }
}
