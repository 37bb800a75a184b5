//! What can go wrong with a token, and with the source of its PIN.

use super::description::{Pin, PinState};

/// Where systemd puts the credentials of a service (systemd.exec(5)).
pub(super) const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";

/// What can go wrong with a token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The module cannot be loaded or initialised.
    #[error("PKCS#11 module `{module}` cannot be used: {reason}")]
    Module {
        /// Its path.
        module: String,
        /// What the loader or the module said.
        reason: String,
    },
    /// The URI names no module.
    #[error("token URI `{uri}` names no PKCS#11 module")]
    NoModule {
        /// The URI.
        uri: String,
    },
    /// No token fits.
    #[error("no token fits `{uri}`; present: {}", list(present))]
    TokenAbsent {
        /// What was looked for.
        uri: String,
        /// The tokens there are.
        present: Vec<String>,
    },
    /// Several tokens fit.
    #[error("{} tokens fit `{uri}`: {}", candidates.len(), list(candidates))]
    TokenAmbiguous {
        /// What was looked for.
        uri: String,
        /// Those that fit.
        candidates: Vec<String>,
    },
    /// No key fits.
    #[error("no key on token `{token}` fits `{uri}`; present: {}", list(present))]
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
    KeyExists {
        /// The token.
        token: String,
        /// The key, by label or id.
        key: String,
    },
    /// The URI does not say what a new key is to be called.
    #[error("token URI `{uri}` does not name the key to make")]
    KeyUnnamed {
        /// The URI.
        uri: String,
    },
    /// The key is of a kind that cannot sign a release.
    #[error("key {key} on token `{token}` cannot sign a release: {reason}")]
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
    MechanismUnsupported {
        /// The token.
        token: String,
        /// The PKCS#11 name of the mechanism.
        mechanism: String,
    },
    /// The PIN was wrong; one try is gone.
    #[error("wrong {pin} for token `{token}`")]
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
    PinLocked {
        /// The token.
        token: String,
        /// Which PIN.
        pin: Pin,
    },
    /// One try is left and nobody consented to use it.
    #[error("token `{token}` has one try left for the {pin}; not trying unattended")]
    FinalTry {
        /// The token.
        token: String,
        /// Which PIN.
        pin: Pin,
    },
    /// The token was never given a PIN.
    #[error("token `{token}` is not initialised: it has no user PIN")]
    PinNotSet {
        /// The token.
        token: String,
    },
    /// No PIN could be had.
    #[error("no {pin} for token `{token}`: {source}")]
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
    SessionLost {
        /// The token.
        token: String,
        /// What the module said.
        reason: String,
    },
    /// Another program holds the token, or its sessions are used up.
    #[error("token `{token}` is busy: {reason}")]
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
    Held {
        /// The reader.
        reader: String,
        /// Programs that use the smart card service, as far as can be seen.
        holders: Vec<String>,
    },
    /// The smart card service does not answer.
    #[error("the smart card service cannot be used: {reason}")]
    NoCardService {
        /// What it said.
        reason: String,
    },
    /// There is no signing key on the card.
    #[error("card `{token}` has no signing key")]
    SlotEmpty {
        /// The card.
        token: String,
    },
    /// There is a signing key on the card already.
    #[error("card `{token}` has a signing key already: {key}")]
    SlotTaken {
        /// The card.
        token: String,
        /// The key.
        key: String,
    },
    /// The token waited for a touch, and none came.
    #[error("token `{token}` was not touched in time")]
    TouchMissing {
        /// The token.
        token: String,
    },
    /// The token's signature counter did not go up by one with its signature.
    #[error(
        "the signature counter of token `{token}` went from {before} to {after} with one signature"
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

/// Why no PIN could be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PinError {
    /// Not the name of a source. The text is not repeated: it could be a PIN in the wrong place.
    #[error("a PIN source is `prompt`, `file:/PATH`, `fd:NUMBER` or `credential:NAME`")]
    Source,
    /// There is no terminal, or nobody answered.
    #[error("nobody gave it at the prompt")]
    Declined,
    /// The source cannot be read.
    #[error("cannot read `{from}`: {reason}")]
    Unreadable {
        /// The source, as a path or descriptor.
        from: String,
        /// What the operating system said.
        reason: String,
    },
    /// Others than the owner can read or write the file.
    #[error("PIN file `{path}` has mode {mode:04o}: others than its owner can use it")]
    TooOpen {
        /// Its path.
        path: String,
        /// Its permission bits.
        mode: u32,
    },
    /// The source holds nothing.
    #[error("`{from}` gave an empty PIN")]
    Empty {
        /// The source.
        from: String,
    },
    /// The source holds something that is no PIN.
    #[error("`{from}` gave no PIN: {reason}")]
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
    NoCredentials {
        /// The credential.
        name: String,
    },
}
