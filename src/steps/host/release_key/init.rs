//! Setting up the signing host: a key pair on the token, its certificate, and the proof that both
//! work together.

use std::path::{Path, PathBuf};

use super::error::KeyError;
use super::key_log::{Begun, KeyLog, Use, counter_of};
use super::{expiry, own_key, self_test};
use crate::config::Config;
use crate::domain::digest::Sha256;
use crate::domain::event::Event;
use crate::domain::key::{HashAlgorithm, KeyKind, PublicKey};
use crate::domain::name::is_domain;
use crate::domain::signing::Message;
use crate::domain::time::{Clock, Period, Timestamp};
use crate::files::Wait;
use crate::home::{Home, NewHome};
use crate::openpgp::{
    Certificate, NewCertificate, SigningKey, fingerprint_of, mail_domain, make_certificate,
};
use crate::token::{
    self, Interaction, LockedToken, NewKey, RefusedPins, Token, TokenDescription, TokenUri,
};

/// The signatures of a new certificate, and a self-test.
const NEW_CERTIFICATE: Use = Use::certify(3 + 1);

/// What a new signing host is to be.
#[derive(Debug)]
pub struct Setup {
    /// The token.
    pub token: TokenUri,
    /// Where the release key comes from.
    pub origin: Origin,
    /// The domain of notations in release signatures; without it, that of the user ID.
    pub notation_domain: Option<String>,
}

/// Where the release key comes from.
#[derive(Debug)]
pub enum Origin {
    /// A new key pair.
    Generate {
        /// Its kind.
        kind: KeyKind,
        /// Whether it may replace the signing key on a card.
        replace: bool,
        /// What its certificate says.
        identity: Identity,
    },
    /// A key on the token, which needs a certificate.
    Existing(Identity),
    /// A key on the token: the primary key or a subkey of this certificate.
    Certified(Box<Certificate>),
}

/// What a new certificate says.
#[derive(Debug, Clone)]
pub struct Identity {
    /// User ID, `Project Releases <release@example.org>`.
    pub user_id: String,
    /// How long it is valid; `None` for ever.
    pub valid_for: Option<Period>,
}

/// A signing host that is set up.
#[derive(Debug)]
pub struct Ready {
    /// Its home.
    pub home: Home,
    /// The release key.
    pub key: SigningKey,
    /// The file of the revocation certificate, if one was made.
    pub revocation: Option<PathBuf>,
}

/// The token with the release key, unlocked.
struct Unlocked {
    uri: TokenUri,
    token: Box<dyn Token>,
    used: Begun,
}

/// A certificate, with its revocation if it is new.
type Certified = (Certificate, Option<String>);

/// Makes H's home at `path`. Each use of the token is logged before it begins. The configuration is
/// written last, when a signature of the key has been checked with the certificate.
pub fn init(
    path: &Path,
    setup: Setup,
    people: &mut dyn Interaction,
    clock: Clock,
    wait: Wait,
) -> Result<Ready, KeyError> {
    let now = clock.now();
    let Setup {
        token,
        origin,
        notation_domain,
    } = setup;
    let expires = match &origin {
        Origin::Generate { identity, .. } | Origin::Existing(identity) => identity.check(now)?,
        Origin::Certified(certificate) => certificate.signing_keys(now).map(|_| None)?,
    };
    let domain = domain(&origin, notation_domain)?;
    let (new_home, lock, mut ledger) = NewHome::begin(path, wait)?;
    let log_key = new_home
        .log_key(&format!("{domain}/countersign-log"))?
        .public();
    ledger.begin(clock, &log_key)?;

    let pins = &new_home.refused_pins();
    let mut log = KeyLog::new(&mut ledger, clock);
    let (mut unlocked, certified) = match origin {
        Origin::Generate {
            kind,
            replace,
            identity,
        } => {
            let new = NewKey {
                kind,
                created: now,
                fingerprint: &|public| fingerprint_of(public, now),
                replace,
            };
            let mut unlocked = generate(&token, &new, pins, &mut log, people)?;
            let certified = unlocked.certify(identity, &domain, now, expires, people, now);
            (unlocked, certified)
        }
        Origin::Existing(identity) => {
            let locked = token::find(&token, pins, people)?;
            let uri = locked.description().uri.clone();
            let created = created(locked.description(), locked.public());
            let created = created.filter(|created| *created <= now).unwrap_or(now);
            let mut unlocked = unlock(NEW_CERTIFICATE, uri, locked, &mut log, people)?;
            let certified = unlocked.certify(identity, &domain, created, expires, people, now);
            (unlocked, certified)
        }
        Origin::Certified(certificate) => {
            let uri = find_certified(&token, &certificate, people, now)?;
            let locked = token::find(&uri, pins, people)?;
            let unlocked = unlock(Use::SELF_TEST, uri, locked, &mut log, people)?;
            (unlocked, Ok((*certificate, None)))
        }
    };
    let tested = certified.and_then(|(certificate, revocation)| {
        let key = own_key(&certificate, &*unlocked.token, now)?;
        self_test(&key, &domain, &mut *unlocked.token, people, now)?;
        Ok((certificate, revocation, key))
    });
    let Unlocked { uri, token, used } = unlocked;
    let (certificate, revocation, key) = log.end(used, tested, token.counter())?;

    let revocation = new_home.keep_certificate(&certificate, revocation.as_deref())?;
    // Logged first, as in `Host::extend`: with the configuration, this cannot be run again.
    let event = Event::KeyReady {
        token: uri.public(),
        key: key.fingerprint(),
        certificate: Sha256::of(&certificate.binary()),
    };
    ledger.append(clock, event)?;
    let config = Config::template(&uri, key.fingerprint(), &domain, &log_key);
    let home = new_home.finish(&config)?;
    drop(lock);
    Ok(Ready {
        home,
        key,
        revocation,
    })
}

impl Identity {
    /// When its certificate expires; refuses a user ID that other tools would not show as it is.
    fn check(&self, now: Timestamp) -> Result<Option<Timestamp>, KeyError> {
        let user_id = &self.user_id;
        let controls = user_id.chars().any(char::is_control);
        if user_id.trim().is_empty() || user_id.len() > 200 || controls {
            let shown = user_id.chars().filter(|c| !c.is_control()).take(200);
            return Err(KeyError::Parameters(format!(
                "user ID `{}` is empty, longer than 200 bytes, or has control characters",
                shown.collect::<String>()
            )));
        }
        expiry(self.valid_for, now)
    }
}

fn domain(origin: &Origin, given: Option<String>) -> Result<String, KeyError> {
    let domain = given.or_else(|| match origin {
        Origin::Generate { identity, .. } | Origin::Existing(identity) => {
            mail_domain(&identity.user_id)
        }
        Origin::Certified(certificate) => certificate.mail_domain(),
    });
    let domain = domain.ok_or(KeyError::NoDomain)?;
    if is_domain(&domain) {
        Ok(domain)
    } else {
        let message = format!("`{domain}` is not a domain name");
        Err(KeyError::Parameters(message))
    }
}

/// Makes the key pair, and begins the use of it for its certificate.
fn generate(
    token: &TokenUri,
    new: &NewKey<'_>,
    pins: &RefusedPins,
    log: &mut KeyLog<'_>,
    people: &mut dyn Interaction,
) -> Result<Unlocked, KeyError> {
    let begun = log.begin(Use::GENERATE, token, counter_of(token, people))?;
    let made = token::generate(token, new, pins, people).map_err(KeyError::from);
    let counter = match &made {
        Ok((_, token)) => token.counter(),
        // The counter shows whether the old key is still there.
        Err(_) if begun.is_of_card() => counter_of(token, people),
        Err(_) => None,
    };
    let (uri, token) = log.end(begun, made, counter)?;
    let used = log.begin(NEW_CERTIFICATE, &uri, token.counter())?;
    Ok(Unlocked { uri, token, used })
}

fn unlock(
    what: Use,
    uri: TokenUri,
    locked: Box<dyn LockedToken>,
    log: &mut KeyLog<'_>,
    people: &mut dyn Interaction,
) -> Result<Unlocked, KeyError> {
    let (used, token) = log.unlock(what, &uri, locked, people)?;
    Ok(Unlocked { uri, token, used })
}

impl Unlocked {
    fn certify(
        &mut self,
        identity: Identity,
        domain: &str,
        created: Timestamp,
        expires: Option<Timestamp>,
        people: &mut dyn Interaction,
        now: Timestamp,
    ) -> Result<Certified, KeyError> {
        let public = self.token.public().clone();
        let new = NewCertificate {
            user_id: identity.user_id,
            created,
            signed: now,
            expires,
            hash: public.least_hash().max(HashAlgorithm::Sha512),
            domain: Some(domain.to_owned()),
        };
        let mut sign = |message: &Message<'_>| token::sign(&mut *self.token, message, people);
        let (certificate, revocation) = make_certificate(&public, &new, &mut sign)?;
        Ok((certificate, Some(revocation)))
    }
}

/// The creation time of the OpenPGP key on a card, if the card's fingerprint confirms it.
fn created(token: &TokenDescription, public: Option<&PublicKey>) -> Option<Timestamp> {
    let card = token.card.as_ref()?;
    let created = card.created?;
    let proven = card.fingerprint.is_some()
        && public.and_then(|public| fingerprint_of(public, created)) == card.fingerprint;
    proven.then_some(created)
}

/// The one key on the token that is a signing key of the certificate.
fn find_certified(
    token: &TokenUri,
    certificate: &Certificate,
    people: &mut dyn Interaction,
    now: Timestamp,
) -> Result<TokenUri, KeyError> {
    let keys = certificate.signing_keys(now)?;
    let is_ours = |public: &PublicKey| keys.iter().any(|key| key.public() == public);
    let found: Vec<TokenUri> = token::list_keys(token, people)?
        .into_iter()
        .filter(|found| found.public.as_ref().is_ok_and(&is_ours))
        .map(|found| found.token.uri)
        .collect();
    let fingerprint = certificate.fingerprint();
    match found.as_slice() {
        [one] => Ok(one.clone()),
        [] => {
            let keys: Vec<_> = keys
                .iter()
                .map(|key| format!("{} ({})", key.fingerprint(), key.public().algorithm()))
                .collect();
            Err(KeyError::NotUnique(format!(
                "no token that `{token}` names has a signing key of certificate {fingerprint}, \
                 which has {}",
                keys.join(", ")
            )))
        }
        [_, ..] => {
            let keys: Vec<_> = found.iter().map(TokenUri::to_string).collect();
            Err(KeyError::NotUnique(format!(
                "`{token}` names several signing keys of certificate {fingerprint}: {}",
                keys.join(", ")
            )))
        }
    }
}
