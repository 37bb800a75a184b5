//! The release key: whether it is on the token and works, and the expiry of its certificate.

mod error;
mod init;
mod key_log;

pub use error::KeyError;
pub use init::{Identity, Origin, Ready, Setup, init};
pub(super) use key_log::{KeyLog, Use};

use super::Host;
use crate::domain::digest::Sha256;
use crate::domain::event::Event;
use crate::domain::key::HashAlgorithm;
use crate::domain::signing::{Message, Statement};
use crate::domain::time::{Period, Timestamp};
use crate::home::Home;
use crate::openpgp::{
    Certificate, HashState, SigningKey, extend_certificate, make_release_signature,
};
use crate::token::{self, Interaction, LockedToken, Token, TokenDescription};

/// The text of a self-test: it says what it is, so that the signature is of no use elsewhere.
const SELF_TEST: &[u8] = b"countersign self-test: this signature vouches for nothing\n";

/// The release key on its token.
#[derive(Debug)]
pub struct Checked {
    /// The key.
    pub key: SigningKey,
    /// The token.
    pub token: TokenDescription,
    /// Whether the token shows the key without a PIN, and it is the release key.
    pub seen: bool,
}

/// Finds the token and compares its key with the release certificate, without a PIN.
pub fn check(
    home: &Home,
    people: &mut dyn Interaction,
    now: Timestamp,
) -> Result<Checked, KeyError> {
    find(home, people, now).map(|(checked, _)| checked)
}

pub(super) fn find(
    home: &Home,
    people: &mut dyn Interaction,
    now: Timestamp,
) -> Result<(Checked, Box<dyn LockedToken>), KeyError> {
    let token = token::find(&home.config.token, &home.refused_pins(), people)?;
    let key = home.certificate.signing_key(home.config.signing_key, now)?;
    let public = token.public();
    if public.is_some_and(|public| public != key.public()) {
        return Err(KeyError::OtherKey(key.fingerprint()));
    }
    let checked = Checked {
        key,
        token: token.description().clone(),
        seen: public.is_some(),
    };
    Ok((checked, token))
}

impl Host {
    /// Lets the release key sign a test text, and checks the signature. The use is logged.
    pub fn try_key(&mut self, people: &mut dyn Interaction) -> Result<Checked, KeyError> {
        self.check_anchors()?;
        let _queue = self.home.hold_token(self.wait)?;
        let now = self.clock.now();
        let (checked, locked) = find(&self.home, people, now)?;
        let key = &checked.key;
        let uri = &self.home.config.token;
        let mut log = KeyLog::new(&mut self.ledger, self.clock).announced_by(&self.home);
        let (used, mut unlocked) = log.unlock(Use::SELF_TEST, uri, locked, people)?;
        let tested = if unlocked.public() == key.public() {
            let domain = &self.home.config.notation_domain;
            self_test(key, domain, &mut *unlocked, people, now)
        } else {
            Err(KeyError::OtherKey(key.fingerprint()))
        };
        log.end(used, tested, unlocked.counter())?;
        drop(unlocked);
        // The right PIN and a signature change the state of the token.
        let token = token::find(uri, &self.home.refused_pins(), people)?;
        let token = token.description().clone();
        Ok(Checked { token, ..checked })
    }

    /// Changes the expiry of the release certificate, which may have expired; `None` for never. Its
    /// primary key must be on the token. The use is logged.
    pub fn extend(
        &mut self,
        valid_for: Option<Period>,
        people: &mut dyn Interaction,
    ) -> Result<SigningKey, KeyError> {
        self.check_anchors()?;
        let alone = self.home.alone(&mut self.lock, self.wait)?;
        let home = &mut self.home;
        let uri = &home.config.token;
        let locked = token::find(uri, &home.refused_pins(), people)?;
        let certificate = &home.certificate;
        let ours = home.config.signing_key;
        if certificate.fingerprint() != ours {
            return Err(KeyError::PrimaryElsewhere(certificate.fingerprint()));
        }
        let now = self.clock.now();
        let expires = expiry(valid_for, now)?;
        let what = Use::certify(1 + certificate.user_ids().len());
        let mut log = KeyLog::new(&mut self.ledger, self.clock).announced_by(home);
        let (used, mut unlocked) = log.unlock(what, uri, locked, people)?;
        let hash = unlocked.public().least_hash().max(HashAlgorithm::Sha512);
        // Each signature is checked with the certificate's primary key: a token with another key
        // cannot make them.
        let mut sign = |message: &Message<'_>| token::sign(&mut *unlocked, message, people);
        let statement = Statement::key(now, hash, Some(&home.config.notation_domain));
        let extended =
            extend_certificate(certificate, expires, &statement, &mut sign).map_err(KeyError::from);
        let extended = log.end(used, extended, unlocked.counter())?;
        let key = extended.signing_key(ours, now)?;
        // Logged first: no certificate is ever in use that is not in the log. If it is logged and
        // not in use, the same command makes another.
        let event = Event::KeyReady {
            token: uri.public(),
            key: ours,
            certificate: Sha256::of(&extended.binary()),
        };
        self.ledger.append(self.clock, event)?;
        home.replace_certificate(&alone, extended)?;
        Ok(key)
    }
}

/// The end of a certificate that is valid for so long from now on; `None` for never.
fn expiry(valid_for: Option<Period>, now: Timestamp) -> Result<Option<Timestamp>, KeyError> {
    let Some(period) = valid_for else {
        return Ok(None);
    };
    let too_long = || KeyError::Parameters(format!("a certificate cannot be valid for {period}"));
    now.after(period).map(Some).ok_or_else(too_long)
}

/// The key of the certificate that is on the token.
fn own_key(
    certificate: &Certificate,
    token: &dyn Token,
    now: Timestamp,
) -> Result<SigningKey, KeyError> {
    let keys = certificate.signing_keys(now)?;
    let own = keys.into_iter().find(|key| key.public() == token.public());
    own.ok_or(KeyError::OtherKey(certificate.fingerprint()))
}

/// Lets the key sign a text that says that this is a test, and checks the signature.
fn self_test(
    key: &SigningKey,
    domain: &str,
    token: &mut dyn Token,
    people: &mut dyn Interaction,
    now: Timestamp,
) -> Result<(), KeyError> {
    let hash = key.public().least_hash();
    let statement = Statement::self_test(now, hash, domain);
    let state = HashState::of(SELF_TEST, hash);
    let mut sign = |message: &Message<'_>| token::sign(token, message, people);
    make_release_signature(key, &state, &statement, &mut sign)?;
    Ok(())
}
