//! Setting up the release key: a key pair on the token, its certificate, and the proof that both
//! work together.

use std::path::{Path, PathBuf};

use super::card_use;
use crate::config::Config;
use crate::domain::digest::Sha256;
use crate::domain::event::{CardUse, Event, KeyPurpose};
use crate::domain::key::{Fingerprint, HashAlgorithm, KeyKind, PublicKey};
use crate::domain::name::is_domain;
use crate::domain::time::{Period, Timestamp};
use crate::home::{Home, HomeError, HomeLock, NewHome};
use crate::ledger::{Ledger, LedgerError};
use crate::openpgp::{
    Certificate, HashState, KeyTrouble, MakeError, NewCertificate, SignatureContent, SigningKey,
    extend_certificate, fingerprint_of, mail_domain, make_certificate, make_release_signature,
};
use crate::token::{
    self, Batch, CardCounter, Interaction, LockedToken, NewKey, Token, TokenDescription,
    TokenError, TokenUri,
};

/// What a self-test signs: bytes that say what they are, so that the signature is of no use
/// elsewhere.
const SELF_TEST: &[u8] = b"countersign self-test: this signature vouches for nothing\n";

/// Where the release key comes from.
#[derive(Debug)]
pub enum Origin {
    /// Made on the token.
    Generate {
        /// Its kind.
        kind: KeyKind,
        /// Whether it may take the place of the signing key that is on a card.
        replace: bool,
        /// Whom its certificate names.
        identity: Identity,
    },
    /// On the token already, without a certificate.
    Existing(Identity),
    /// On the token already, as the primary key or a subkey of this certificate.
    Certified(Box<Certificate>),
}

/// Whom a new certificate names, and for how long.
#[derive(Debug, Clone)]
pub struct Identity {
    /// User id, `Project Releases <release@example.org>`.
    pub user_id: String,
    /// How long it is valid; `None` for ever.
    pub valid_for: Option<Period>,
}

/// A home that is set up.
#[derive(Debug)]
pub struct Ready {
    /// The home.
    pub home: Home,
    /// The key that will sign.
    pub key: SigningKey,
    /// Where the revocation certificate is, if one was made.
    pub revocation: Option<PathBuf>,
}

/// Why a release key could not be set up or does not work.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A user id that tools would not show as it is.
    #[error("user id `{0}` is empty, longer than 200 bytes, or has control characters")]
    UserId(String),
    /// No domain for the notations.
    #[error("the user id has no mail address to take the domain of notations from")]
    NoDomain,
    /// Not a domain.
    #[error("`{0}` is not a domain name")]
    Domain(String),
    /// It would last past the year 2105.
    #[error("a certificate cannot be valid for {0}")]
    TooLong(Period),
    /// The certificate has no key that can sign now.
    #[error("{0}")]
    Trouble(#[from] KeyTrouble),
    /// The token has no key of the certificate.
    #[error("no token that `{uri}` names holds a signing key of certificate {certificate}; it has {}", keys.join(", "))]
    NotOnToken {
        /// Where it was looked for.
        uri: String,
        /// The certificate.
        certificate: Fingerprint,
        /// Its signing keys.
        keys: Vec<String>,
    },
    /// Several keys of the certificate are there.
    #[error("`{uri}` names several signing keys of certificate {certificate}: {}", keys.join(", "))]
    Several {
        /// Where it was looked for.
        uri: String,
        /// The certificate.
        certificate: Fingerprint,
        /// The keys, as URIs.
        keys: Vec<String>,
    },
    /// The primary key, which alone can extend, is somewhere else.
    #[error("the primary key {0} of the release certificate is not the key on this token")]
    PrimaryElsewhere(Fingerprint),
    /// The token holds another key now.
    #[error("the token holds another key than the release certificate's {0}")]
    OtherKey(Fingerprint),
    /// The token, or its answer.
    #[error("the release key does not work: {0}")]
    Make(#[from] MakeError<TokenError>),
    /// The token, before it was asked to sign.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// H's home.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// H's ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// Makes H's home at `path`. Each use of the token is logged before it happens; the configuration
/// is written last, when a signature of the key has been checked with the certificate.
pub fn init(
    path: &Path,
    token: &TokenUri,
    origin: Origin,
    notation_domain: Option<String>,
    interaction: &mut dyn Interaction,
    now: Timestamp,
) -> Result<Ready, KeyError> {
    let expires = match &origin {
        Origin::Generate { identity, .. } | Origin::Existing(identity) => checked(identity, now)?,
        Origin::Certified(certificate) => certificate.signing_keys(now).map(|_| None)?,
    };
    let domain = domain(&origin, notation_domain)?;
    let (new_home, lock, mut ledger) = NewHome::begin(path)?;
    let log_key = new_home
        .log_key(&format!("{domain}/countersign-log"))?
        .public();
    ledger.begin(now, &log_key)?;

    let (uri, mut unlocked, used, certified) = match origin {
        Origin::Generate {
            kind,
            replace,
            identity,
        } => {
            let card = counted(token, interaction);
            let used = intend(&mut ledger, token, KeyPurpose::Generate, 0, card, now)?;
            let new = NewKey {
                kind,
                created: now,
                fingerprint: &|public| fingerprint_of(public, now),
                replace,
            };
            let made = token::generate(token, &new, interaction).map_err(KeyError::from);
            let counter = match &made {
                Ok((_, token)) => token.counter(),
                // Whether the old key is there still, its count tells.
                Err(_) => used.card.as_ref().and_then(|_| counted(token, interaction)),
            };
            let (uri, mut unlocked) = used.ended(&mut ledger, made, counter, now)?;
            let signatures = CERTIFICATE_SIGNATURES + 1;
            let used = intend(
                &mut ledger,
                &uri,
                KeyPurpose::Certify,
                signatures,
                unlocked.counter(),
                now,
            )?;
            let certified = certify(&mut *unlocked, identity, now, expires, interaction, now);
            (uri, unlocked, used, certified)
        }
        Origin::Existing(identity) => {
            let locked = token::find(token, interaction)?;
            let uri = locked.description().uri.clone();
            let created = created(locked.description(), locked.public())
                .filter(|made| *made <= now)
                .unwrap_or(now);
            let signatures = CERTIFICATE_SIGNATURES + 1;
            let counter = locked.description().counter();
            let mut used = intend(
                &mut ledger,
                &uri,
                KeyPurpose::Certify,
                signatures,
                counter,
                now,
            )?;
            announce(&*locked, signatures, interaction);
            let unlocked = locked.unlock(interaction);
            let mut unlocked = used.unlocked(&mut ledger, unlocked, now)?;
            let certified = certify(&mut *unlocked, identity, created, expires, interaction, now);
            (uri, unlocked, used, certified)
        }
        Origin::Certified(certificate) => {
            let uri = find_certified(token, &certificate, interaction, now)?;
            let locked = token::find(&uri, interaction)?;
            let mut used = intend(
                &mut ledger,
                &uri,
                KeyPurpose::SelfTest,
                1,
                locked.description().counter(),
                now,
            )?;
            announce(&*locked, 1, interaction);
            let unlocked = locked.unlock(interaction);
            let unlocked = used.unlocked(&mut ledger, unlocked, now)?;
            (uri, unlocked, used, Ok((*certificate, None)))
        }
    };
    let tested = certified.and_then(|(certificate, revocation)| {
        let key = own_key(&certificate, &*unlocked, now)?;
        self_test(&key, &mut *unlocked, interaction, now)?;
        Ok((certificate, revocation, key))
    });
    let (certificate, revocation, key) =
        used.ended(&mut ledger, tested, unlocked.counter(), now)?;

    let revocation = new_home.keep_certificate(&certificate, revocation.as_deref())?;
    let digest = Sha256::of(&certificate.binary());
    // The log tells first, see `extend`: once the configuration is there, nobody runs this again.
    ledger.append(
        now,
        Event::KeyReady {
            token: uri.to_string(),
            key: key.fingerprint(),
            certificate: digest,
        },
    )?;
    let home = new_home.finish(&Config::template(
        &uri,
        key.fingerprint(),
        &domain,
        &log_key,
    ))?;
    drop(lock);
    Ok(Ready {
        home,
        key,
        revocation,
    })
}

/// Whether the token that the home's configuration names holds the release key. Costs no PIN.
pub fn check(home: &Home, token: &dyn LockedToken, now: Timestamp) -> Result<SigningKey, KeyError> {
    let key = home.certificate.signing_key(home.config.signing_key, now)?;
    match token.public() {
        Some(public) if public != key.public() => Err(KeyError::OtherKey(key.fingerprint())),
        _ => Ok(key),
    }
}

/// Lets the release key sign a text that says so, and checks the answer. The use of the token is
/// logged first.
pub fn try_out(
    home: &Home,
    _lock: &HomeLock,
    token: Box<dyn LockedToken>,
    interaction: &mut dyn Interaction,
    now: Timestamp,
) -> Result<(), KeyError> {
    let key = check(home, &*token, now)?;
    let mut ledger = home.ledger()?;
    let counter = token.description().counter();
    let mut used = intend(
        &mut ledger,
        &home.config.token,
        KeyPurpose::SelfTest,
        1,
        counter,
        now,
    )?;
    announce(&*token, 1, interaction);
    let unlocked = token.unlock(interaction);
    let mut unlocked = used.unlocked(&mut ledger, unlocked, now)?;
    let tested = match unlocked.public() == key.public() {
        true => self_test(&key, &mut *unlocked, interaction, now),
        false => Err(KeyError::OtherKey(key.fingerprint())),
    };
    used.ended(&mut ledger, tested, unlocked.counter(), now)
}

/// Gives the release certificate another expiry, which may have passed. Its primary key must be on
/// the token.
pub fn extend(
    home: &mut Home,
    lock: &HomeLock,
    token: Box<dyn LockedToken>,
    valid_for: Option<Period>,
    interaction: &mut dyn Interaction,
    now: Timestamp,
) -> Result<SigningKey, KeyError> {
    let ours = home.config.signing_key;
    if home.certificate.fingerprint() != ours {
        return Err(KeyError::PrimaryElsewhere(home.certificate.fingerprint()));
    }
    let expires = valid_for
        .map(|period| now.after(period).ok_or(KeyError::TooLong(period)))
        .transpose()?;
    let mut ledger = home.ledger()?;
    let signatures = 1 + home.certificate.user_ids().len();
    let counter = token.description().counter();
    let mut used = intend(
        &mut ledger,
        &home.config.token,
        KeyPurpose::Certify,
        signatures,
        counter,
        now,
    )?;
    announce(&*token, signatures, interaction);
    let unlocked = token.unlock(interaction);
    let mut unlocked = used.unlocked(&mut ledger, unlocked, now)?;
    let hash = unlocked.public().least_hash().max(HashAlgorithm::Sha512);
    // A token with another key cannot make these signatures: each is checked with the certificate's
    // primary key.
    let mut sign = |digest: &_| token::sign(&mut *unlocked, digest, interaction);
    let extended = extend_certificate(&home.certificate, expires, now, hash, &mut sign)
        .map_err(KeyError::from);
    let extended = used.ended(&mut ledger, extended, unlocked.counter(), now)?;
    let key = extended.signing_key(ours, now)?;
    let digest = Sha256::of(&extended.binary());
    // The log tells first: no certificate is ever in use that it does not tell of. Of one that it
    // tells of and that did not get into its place nothing is lost but signatures that were
    // announced: the same command makes another.
    ledger.append(
        now,
        Event::KeyReady {
            token: home.config.token.to_string(),
            key: ours,
            certificate: digest,
        },
    )?;
    home.replace_certificate(lock, extended)?;
    Ok(key)
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
        Err(KeyError::Domain(domain))
    }
}

fn checked(identity: &Identity, now: Timestamp) -> Result<Option<Timestamp>, KeyError> {
    let user_id = &identity.user_id;
    if user_id.trim().is_empty() || user_id.len() > 200 || user_id.chars().any(char::is_control) {
        return Err(KeyError::UserId(
            user_id
                .chars()
                .filter(|c| !c.is_control())
                .take(200)
                .collect(),
        ));
    }
    let end = |period| now.after(period).ok_or(KeyError::TooLong(period));
    identity.valid_for.map(end).transpose()
}

/// How many signatures a new certificate takes.
const CERTIFICATE_SIGNATURES: usize = 3;

fn announce(token: &dyn LockedToken, signatures: usize, interaction: &mut dyn Interaction) {
    interaction.begins(&Batch {
        signatures,
        token: token.description().clone(),
    });
}

/// The creation time of the OpenPGP key that a card keeps, if its fingerprint proves that this key
/// was made then.
fn created(token: &TokenDescription, public: Option<&PublicKey>) -> Option<Timestamp> {
    let card = token.card.as_ref()?;
    card.created.filter(|created| {
        card.fingerprint.is_some()
            && public.and_then(|public| fingerprint_of(public, *created)) == card.fingerprint
    })
}

fn certify(
    token: &mut dyn Token,
    identity: Identity,
    created: Timestamp,
    expires: Option<Timestamp>,
    interaction: &mut dyn Interaction,
    now: Timestamp,
) -> Result<(Certificate, Option<String>), KeyError> {
    let public = token.public().clone();
    let hash = public.least_hash().max(HashAlgorithm::Sha512);
    let new = NewCertificate {
        user_id: identity.user_id,
        created,
        signed: now,
        expires,
        hash,
    };
    let (certificate, revocation) = make_certificate(&public, &new, &mut |digest| {
        token::sign(token, digest, interaction)
    })?;
    Ok((certificate, Some(revocation)))
}

/// The one key on the token that is a signing key of the certificate.
fn find_certified(
    token: &TokenUri,
    certificate: &Certificate,
    interaction: &mut dyn Interaction,
    now: Timestamp,
) -> Result<TokenUri, KeyError> {
    let keys = certificate.signing_keys(now)?;
    let is_ours = |public: &PublicKey| keys.iter().any(|key| key.public() == public);
    let found = token::list_keys(token, interaction)?.into_iter();
    let found = found.filter(|found| found.public.as_ref().is_ok_and(&is_ours));
    let found: Vec<TokenUri> = found.map(|found| found.token.uri).collect();
    let (uri, certificate) = (token.to_string(), certificate.fingerprint());
    match found.as_slice() {
        [one] => Ok(one.clone()),
        [_, ..] => Err(KeyError::Several {
            uri,
            certificate,
            keys: found.iter().map(ToString::to_string).collect(),
        }),
        [] => {
            let keys = keys
                .iter()
                .map(|key| format!("{} ({})", key.fingerprint(), key.public().algorithm()))
                .collect();
            Err(KeyError::NotOnToken {
                uri,
                certificate,
                keys,
            })
        }
    }
}

fn own_key(
    certificate: &Certificate,
    token: &dyn Token,
    now: Timestamp,
) -> Result<SigningKey, KeyError> {
    let keys = certificate.signing_keys(now)?;
    let own = keys.into_iter().find(|key| key.public() == token.public());
    own.ok_or(KeyError::OtherKey(certificate.fingerprint()))
}

fn self_test(
    key: &SigningKey,
    token: &mut dyn Token,
    interaction: &mut dyn Interaction,
    now: Timestamp,
) -> Result<(), KeyError> {
    let hash = key.public().least_hash();
    let what = SignatureContent {
        created: now,
        hash,
        notations: vec![],
    };
    let mut sign = |digest: &_| token::sign(token, digest, interaction);
    make_release_signature(key, &HashState::of(SELF_TEST, hash), &what, &mut sign)?;
    Ok(())
}

/// A use of the token that was logged before it began.
struct Used {
    intent: u64,
    card: Option<CardUse>,
}

/// Logs what the token is about to be used for.
fn intend(
    ledger: &mut Ledger,
    token: &TokenUri,
    purpose: KeyPurpose,
    signatures: usize,
    card: Option<CardCounter>,
    now: Timestamp,
) -> Result<Used, KeyError> {
    let (token, signatures, card) = (token.to_string(), signatures as u64, card.map(card_use));
    let intent = ledger.append(
        now,
        Event::KeyIntended {
            token,
            purpose,
            signatures,
            card: card.clone(),
        },
    )?;
    Ok(Used { intent, card })
}

/// How often the one card that `uri` names has signed, whether it has a key or not; nothing if that
/// cannot be told.
fn counted(uri: &TokenUri, interaction: &mut dyn Interaction) -> Option<CardCounter> {
    match uri {
        TokenUri::Card(_) => match token::list_keys(uri, interaction).ok()?.as_slice() {
            [one] => one.token.counter(),
            _ => None,
        },
        TokenUri::Pkcs11(_) | TokenUri::File(_) => None,
    }
}

impl Used {
    /// Logs how it ended, well or not, and how many signatures a card had made by then.
    fn ended<T>(
        self,
        ledger: &mut Ledger,
        result: Result<T, KeyError>,
        counter: Option<CardCounter>,
        now: Timestamp,
    ) -> Result<T, KeyError> {
        let card = match (self.card, counter) {
            (Some(card), counter) => Some(CardUse {
                after: counter.and_then(|counter| counter.signatures),
                ..card
            }),
            (None, counter) => counter.map(|it| CardUse {
                card: it.card,
                before: None,
                after: it.signatures,
            }),
        };
        let logged = log(ledger, self.intent, result.as_ref().err(), card, now);
        // Why it failed matters more than that this could not be logged either.
        let value = result?;
        logged.map(|()| value)
    }

    /// Takes what the card counts once nobody else reaches it; or logs that it was not unlocked, so
    /// that nothing was asked of it.
    fn unlocked(
        &mut self,
        ledger: &mut Ledger,
        unlocked: Result<Box<dyn Token>, TokenError>,
        now: Timestamp,
    ) -> Result<Box<dyn Token>, KeyError> {
        match unlocked {
            Ok(token) => {
                self.card = token.counter().map(card_use);
                Ok(token)
            }
            Err(error) => {
                let error = KeyError::from(error);
                let card = self.card.clone().map(CardUse::unchanged);
                let _the_error_matters_more = log(ledger, self.intent, Some(&error), card, now);
                Err(error)
            }
        }
    }
}

fn log(
    ledger: &mut Ledger,
    intent: u64,
    failed: Option<&KeyError>,
    card: Option<CardUse>,
    now: Timestamp,
) -> Result<(), KeyError> {
    ledger.append(
        now,
        Event::KeyOutcome {
            intent,
            failed: failed.map(ToString::to_string),
            card,
        },
    )?;
    Ok(())
}
