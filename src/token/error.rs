//! What can go wrong with a token, and with the source of its PIN.

use super::description::{Pin, PinState};

/// Where systemd puts the credentials of a service (systemd.exec(5)).
pub(super) const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";

/// What can go wrong with a token.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum TokenError {
    /// The module cannot be loaded or initialised.
    #[error("PKCS#11 module `{module}` cannot be used: {reason}")]
    #[diagnostic(
        code(usage::pkcs11_module),
        help(
            "check `module-path` in the token URI, and the module's own configuration \
             (SoftHSM2: $SOFTHSM2_CONF)"
        )
    )]
    Module {
        /// Its path.
        module: String,
        /// What the loader or the module said.
        reason: String,
    },
    /// The URI names no module.
    #[error("token URI `{uri}` names no PKCS#11 module")]
    #[diagnostic(code(usage::no_module), help("add `?module-path=/path/to/module.so`"))]
    NoModule {
        /// The URI.
        uri: String,
    },
    /// No token fits.
    #[error("no token fits `{uri}`; present: {}", list(present))]
    #[diagnostic(code(trouble::token_absent), help("{}", find_token(uri)))]
    TokenAbsent {
        /// What was looked for.
        uri: String,
        /// The tokens there are.
        present: Vec<String>,
    },
    /// Several tokens fit.
    #[error("{} tokens fit `{uri}`: {}", candidates.len(), list(candidates))]
    #[diagnostic(code(usage::token_ambiguous), help("{}", choose_token(uri)))]
    TokenAmbiguous {
        /// What was looked for.
        uri: String,
        /// Those that fit.
        candidates: Vec<String>,
    },
    /// No key fits.
    #[error("no key on token `{token}` fits `{uri}`; present: {}", list(present))]
    #[diagnostic(
        code(usage::key_absent),
        help(
            "correct `object` and `id` in the token URI; `countersign key list` shows what there is"
        )
    )]
    KeyAbsent {
        /// The token.
        token: String,
        /// What was looked for.
        uri: String,
        /// The keys there are.
        present: Vec<String>,
    },
    /// Several keys fit.
    #[error("{} keys on token `{token}` fit `{uri}`: {}", candidates.len(), list(candidates))]
    #[diagnostic(code(usage::key_ambiguous), help("name one by `id=` in the token URI"))]
    KeyAmbiguous {
        /// The token.
        token: String,
        /// What was looked for.
        uri: String,
        /// Those that fit.
        candidates: Vec<String>,
    },
    /// The name for a new key is taken.
    #[error("token `{token}` already holds a key {key}")]
    #[diagnostic(
        code(usage::key_exists),
        help("choose another `object`, or with `init` leave `--generate` out to use that key")
    )]
    KeyExists {
        /// The token.
        token: String,
        /// The key, by label or id.
        key: String,
    },
    /// The URI does not say what a new key is to be called.
    #[error("token URI `{uri}` does not name the key to make")]
    #[diagnostic(
        code(usage::key_unnamed),
        help("add its name to the URI: `;object=NAME`")
    )]
    KeyUnnamed {
        /// The URI.
        uri: String,
    },
    /// The key is of a kind that cannot sign a release.
    #[error("key {key} on token `{token}` cannot sign a release: {reason}")]
    #[diagnostic(
        code(usage::key_unsuitable),
        help(
            "ed25519, p256, p384, p521 and rsa from 2048 bits can sign releases; \
             see `countersign key list`"
        )
    )]
    KeyUnsuitable {
        /// The token.
        token: String,
        /// The key.
        key: String,
        /// Why not.
        reason: String,
    },
    /// The token lacks a mechanism.
    #[error("token `{token}` does not support {mechanism}")]
    #[diagnostic(
        code(usage::mechanism_unsupported),
        help("use a kind of key that this token supports")
    )]
    MechanismUnsupported {
        /// The token.
        token: String,
        /// The PKCS#11 name of the mechanism.
        mechanism: String,
    },
    /// The PIN was wrong; one try is gone.
    #[error("wrong {pin} for token `{token}`")]
    #[diagnostic(code(trouble::pin_wrong), help("{}", after_wrong_pin(*pin, *state)))]
    PinWrong {
        /// The token.
        token: String,
        /// Which PIN.
        pin: Pin,
        /// How the PIN stands now.
        state: PinState,
    },
    /// The PIN is locked.
    #[error("the {pin} of token `{token}` is locked")]
    #[diagnostic(code(trouble::pin_locked), help("{}", unlock(*pin)))]
    PinLocked {
        /// The token.
        token: String,
        /// Which PIN.
        pin: Pin,
    },
    /// One try is left and nobody consented to use it.
    #[error("token `{token}` has one try left for the {pin}; not trying unattended")]
    #[diagnostic(
        code(trouble::final_try),
        help("use the PIN once at a terminal, with the token's own tools or a prompt here")
    )]
    FinalTry {
        /// The token.
        token: String,
        /// Which PIN.
        pin: Pin,
    },
    /// The token was never given a PIN.
    #[error("token `{token}` is not initialised: it has no user PIN")]
    #[diagnostic(
        code(usage::pin_not_set),
        help(
            "initialise it with the token's own tools (`softhsm2-util`, `pkcs11-tool --init-pin`)"
        )
    )]
    PinNotSet {
        /// The token.
        token: String,
    },
    /// No PIN could be had.
    #[error("no {pin} for token `{token}`: {source}")]
    #[diagnostic(forward(source))]
    Pin {
        /// The token.
        token: String,
        /// Which PIN.
        pin: Pin,
        /// What was wrong with its source.
        source: PinError,
    },
    /// The session or the token went away and did not come back at once.
    #[error("token `{token}` went away: {reason}")]
    #[diagnostic(
        code(trouble::token_lost),
        help("run the same command again: what was signed is kept")
    )]
    SessionLost {
        /// The token.
        token: String,
        /// What the module said.
        reason: String,
    },
    /// Another program holds the token, or its sessions are used up.
    #[error("token `{token}` is busy: {reason}")]
    #[diagnostic(
        code(trouble::token_busy),
        help("end the program that holds it, then run the same command again")
    )]
    Busy {
        /// The token.
        token: String,
        /// What the module said.
        reason: String,
    },
    /// Another program holds the card for itself alone.
    #[error(
        "the card in reader `{reader}` is held by another program{}",
        by(holders)
    )]
    #[diagnostic(code(trouble::card_held), help("{}", free_card(holders)))]
    Held {
        /// The reader.
        reader: String,
        /// Programs that use the smart card service, as far as can be seen.
        holders: Vec<String>,
    },
    /// The smart card service does not answer.
    #[error("the smart card service cannot be used: {reason}")]
    #[diagnostic(
        code(trouble::no_card_service),
        help("install and start it: `apt install pcscd`, `systemctl start pcscd.socket`")
    )]
    NoCardService {
        /// What it said.
        reason: String,
    },
    /// There is no signing key on the card.
    #[error("card `{token}` has no signing key")]
    #[diagnostic(
        code(usage::no_signing_key),
        help(
            "insert the card with the release key, or make one on this card: \
             `countersign init --generate`"
        )
    )]
    SlotEmpty {
        /// The card.
        token: String,
    },
    /// There is a signing key on the card already.
    #[error("card `{token}` has a signing key already: {key}")]
    #[diagnostic(
        code(usage::signing_key_exists),
        help(
            "leave `--generate` out to use that key; `--replace-key` destroys it, and what only it \
             can sign"
        )
    )]
    SlotTaken {
        /// The card.
        token: String,
        /// The key.
        key: String,
    },
    /// The token waited for a touch, and none came.
    #[error("token `{token}` was not touched in time")]
    #[diagnostic(
        code(trouble::no_touch),
        help(
            "run the same command again and touch the card when it says so: what was signed is kept"
        )
    )]
    TouchMissing {
        /// The token.
        token: String,
    },
    /// The token's signature counter did not go up by one with its signature.
    #[error(
        "the signature counter of token `{token}` went from {before} to {after} with one signature"
    )]
    #[diagnostic(
        code(refused::signature_counter),
        help(
            "nothing was released; find out what else signs with this card before you use it again"
        )
    )]
    Counter {
        /// The token.
        token: String,
        /// Before the signature.
        before: u32,
        /// After it.
        after: u32,
    },
    /// An answer that the standard does not allow.
    #[error("token `{token}` answered {call} with {answer}")]
    #[diagnostic(
        code(trouble::unexpected_answer),
        help("run the same command again; if it stays so, the token or its module is at fault")
    )]
    Unexpected {
        /// The token.
        token: String,
        /// The PKCS#11 function, or the card's command.
        call: &'static str,
        /// The answer, or what was wrong with it.
        answer: String,
    },
    /// A `file:` token that cannot be used.
    #[error("token file `{path}` cannot be used: {reason}")]
    #[diagnostic(code(trouble::token_file))]
    File {
        /// Its path.
        path: String,
        /// Why not.
        reason: String,
    },
}

fn list(items: &[String]) -> String {
    if items.is_empty() {
        "none".to_owned()
    } else {
        items.join(", ")
    }
}

fn by(holders: &[String]) -> String {
    if holders.is_empty() {
        String::new()
    } else {
        format!(": {}", holders.join(", "))
    }
}

fn find_token(uri: &str) -> &'static str {
    if uri.starts_with("card:") {
        "insert the card; if gpg uses it past the smart card service, `gpgconf --kill scdaemon` \
         frees it"
    } else {
        "insert the token, or correct `token` and `serial` in its URI; SoftHSM2 finds its tokens \
         by $SOFTHSM2_CONF"
    }
}

fn choose_token(uri: &str) -> &'static str {
    if uri.starts_with("card:") {
        "name one of them in the token URI"
    } else {
        "name one by `serial=` in the token URI"
    }
}

fn free_card(holders: &[String]) -> &'static str {
    if holders.iter().any(|holder| holder.starts_with("scdaemon ")) {
        "run `gpgconf --kill scdaemon` and the same command again, or wait for it with `--wait`"
    } else {
        "end that program and run the same command again, or wait for it with `--wait`"
    }
}

fn after_wrong_pin(pin: Pin, state: PinState) -> String {
    match state {
        PinState::Locked => format!("that was the last try: {}", unlock(pin)),
        PinState::FinalTry => {
            "one try is left, and it will not be used unattended: make sure of the PIN first".into()
        }
        PinState::Left(tries) => format!(
            "it was tried once and will not be tried again, {tries} tries are left; run the \
             command anew with the right one"
        ),
        PinState::Untouched | PinState::CountLow | PinState::NotNeeded => {
            "it was tried once and will not be tried again; run the command anew with the right PIN"
                .into()
        }
    }
}

fn unlock(pin: Pin) -> &'static str {
    match pin {
        Pin::User => {
            "unlock it with the token's own tools and the security officer's or admin PIN \
             (a card: `gpg --card-edit`, admin, passwd)"
        }
        Pin::Admin => "nothing unlocks it but a factory reset, which destroys the keys on the card",
    }
}

/// Why no PIN could be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
pub enum PinError {
    /// Not the name of a source. The text is not repeated: it could be a PIN in the wrong place.
    #[error("a PIN source is `prompt`, `file:/PATH`, `fd:NUMBER` or `credential:NAME`")]
    #[diagnostic(code(usage::pin_source), help("correct `pin-source` in the token URI"))]
    Source,
    /// There is no terminal, or nobody answered.
    #[error("nobody gave it at the prompt")]
    #[diagnostic(
        code(usage::no_pin),
        help(
            "run this at a terminal, or add `pin-source=file:/PATH`, `fd:NUMBER` or \
             `credential:NAME` to the token URI"
        )
    )]
    Declined,
    /// The source cannot be read.
    #[error("cannot read `{from}`: {reason}")]
    #[diagnostic(
        code(usage::pin_unreadable),
        help("correct `pin-source` in the token URI")
    )]
    Unreadable {
        /// The source, as a path or descriptor.
        from: String,
        /// What the operating system said.
        reason: String,
    },
    /// Others than the owner can read or write the file.
    #[error("PIN file `{path}` has mode {mode:04o}: others than its owner can use it")]
    #[diagnostic(code(usage::pin_file_open), help("run `chmod 600 {path}`"))]
    TooOpen {
        /// Its path.
        path: String,
        /// Its permission bits.
        mode: u32,
    },
    /// The source holds nothing.
    #[error("`{from}` gave an empty PIN")]
    #[diagnostic(code(usage::empty_pin), help("it must hold the PIN and nothing else"))]
    Empty {
        /// The source.
        from: String,
    },
    /// The source holds something that is no PIN.
    #[error("`{from}` gave no PIN: {reason}")]
    #[diagnostic(
        code(usage::malformed_pin),
        help("it must hold the PIN and nothing else")
    )]
    Malformed {
        /// The source.
        from: String,
        /// What was wrong, without what was read.
        reason: &'static str,
    },
    /// A credential is named, and systemd passed none.
    #[error(
        "PIN credential `{name}`: the environment has no {CREDENTIALS_DIRECTORY}; the program was not started by systemd with this credential"
    )]
    #[diagnostic(
        code(usage::no_credential),
        help("add `LoadCredential={name}:/PATH` to the systemd unit")
    )]
    NoCredentials {
        /// The credential.
        name: String,
    },
}
