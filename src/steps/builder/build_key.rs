//! What a builder signs with, whatever the scheme: a secret in a file, or a key on a token of its
//! own.

use std::fmt;

use zeroize::Zeroizing;

use crate::domain::build_key::BuildKeyLabel;
use crate::domain::evidence::Scheme;
use crate::domain::grant::Grant;
use crate::domain::key::HashAlgorithm;
use crate::domain::malformed::Malformed;
use crate::domain::name::BuilderName;
use crate::domain::time::Timestamp;
use crate::dsse::SecretKey;
use crate::mac::MacKey;
use crate::openpgp::{self, Certificate, GeneratedKey, HashState};
use crate::steps::evidence::builders::{BuilderKey, Builders};
use crate::steps::evidence::error::EvidenceError;
#[cfg(feature = "host")]
use host::*;

#[cfg(feature = "host")]
mod host {
    pub(super) use crate::domain::key::KeyKind;
    pub(super) use crate::openpgp::{
        MakeError, NewCertificate, SignatureContent, SigningKey, make_certificate,
        make_evidence_signature,
    };
    pub(super) use crate::token::{self, Interaction, Token, TokenError, TokenUri};
}

/// The first line of a build key's file, where OpenPGP has no armour headers for what follows.
const FORMAT: &str = "# countersign-build-key/1";
const PGP_BEGIN: &str = "-----BEGIN PGP PRIVATE KEY BLOCK-----";
const PEM_BEGIN: &str = "-----BEGIN PRIVATE KEY-----";

/// How the file of a public half begins.
const PUBLIC_KEYS: [&str; 2] = [
    "-----BEGIN PGP PUBLIC KEY BLOCK-----",
    "-----BEGIN PUBLIC KEY-----",
];

/// How the file of any secret key begins that would do harm as an artifact.
pub(super) const SECRET_KEYS: [&str; 3] = [PGP_BEGIN, PEM_BEGIN, FORMAT];

/// A builder's key, and what it was made for.
pub struct BuildKey<'a> {
    pub(super) secret: Secret<'a>,
    label: Option<BuildKeyLabel>,
    /// When the grant expires, where it is given.
    grant_expires: Option<Timestamp>,
}

pub(super) enum Secret<'a> {
    OpenPgp(Box<openpgp::BuildKey>),
    Ed25519(Box<SecretKey>),
    Nonce(MacKey),
    #[cfg_attr(
        not(feature = "host"),
        expect(dead_code, reason = "without tokens every key is in a file")
    )]
    Elsewhere(Box<dyn EvidenceSigner + 'a>),
}

/// An OpenPGP key whose secret half is not in this process.
pub(super) trait EvidenceSigner {
    /// Its public half.
    fn certificate(&self) -> &Certificate;

    /// When it expires.
    fn expires(&self) -> Option<Timestamp>;

    /// The hash function that its signatures use.
    fn hash(&self) -> HashAlgorithm;

    /// As [`Secret::sign`].
    fn sign(
        &mut self,
        state: &HashState,
        notations: &[(String, String)],
        now: Timestamp,
    ) -> Result<Vec<u8>, KeyFault>;
}

/// A new key, whose grant is still to be written.
pub enum NewKey {
    /// Of the OpenPGP scheme.
    OpenPgp(Box<GeneratedKey>),
    /// Of the DSSE scheme.
    Ed25519(SecretKey),
    /// Of the MAC scheme.
    Nonce(MacKey),
}

/// A build key that cannot be used. The display says what is wrong with it, not which it is.
#[derive(Debug, thiserror::Error)]
pub enum KeyFault {
    /// Text that is not that of a build key.
    #[error("cannot be used: {0}")]
    Malformed(#[from] Malformed),
    /// A secret that was not handed over.
    #[error("is empty")]
    Empty,
    /// What goes to the signing host, not what stays on the build machine.
    #[error("is the public half of a key")]
    Public,
    /// Its header says one thing, its secret is another.
    #[error("is a key of scheme {found}, but was made for a grant of scheme {expected}")]
    OtherScheme {
        /// What its secret is.
        found: Scheme,
        /// What its header says.
        expected: Scheme,
    },
    /// Made before any grant, and none is given.
    #[error("does not say for which grant it is")]
    NoGrant,
    /// Made for another grant than is given.
    #[error("was made for another grant than {0}")]
    OtherGrant(String),
    /// The grant does not have it.
    #[error("is no key of grant {0}")]
    NotInGrant(String),
    /// The grant's own keys.
    #[error("cannot be looked for in the grant: {0}")]
    Grant(Box<EvidenceError>),
    /// The token.
    #[cfg(feature = "host")]
    #[error("cannot sign: {0}")]
    Token(#[from] MakeError<TokenError>),
}

impl From<EvidenceError> for KeyFault {
    fn from(error: EvidenceError) -> Self {
        Self::Grant(Box::new(error))
    }
}

impl NewKey {
    /// Makes a key, for a builder who is described by `user_id` where the scheme has a place for
    /// that.
    pub fn generate(scheme: Scheme, user_id: &str, created: Timestamp, expires: Timestamp) -> Self {
        match scheme {
            Scheme::OpenPgp => Self::OpenPgp(Box::new(openpgp::BuildKey::generate(
                user_id, created, expires,
            ))),
            Scheme::Dsse => Self::Ed25519(SecretKey::generate()),
            Scheme::Hmac => Self::Nonce(MacKey::generate()),
        }
    }

    /// What a grant holds of it.
    pub fn public(&self) -> BuilderKey {
        match self {
            Self::OpenPgp(key) => BuilderKey::OpenPgp(key.certificate().into()),
            Self::Ed25519(key) => BuilderKey::Ed25519(key.public()),
            Self::Nonce(nonce) => BuilderKey::Nonce(nonce.commitment()),
        }
    }

    /// The file for M, with `label` in its header once the grant is known.
    pub fn to_file(&self, label: Option<&BuildKeyLabel>) -> Zeroizing<Vec<u8>> {
        let text = |secret: &[u8]| {
            // Space for the whole file at once: a vector that grows leaves copies of the secret
            // behind.
            let mut file = Zeroizing::new(Vec::with_capacity(openpgp::LARGEST_BUILD_KEY as usize));
            let lines = label.map(BuildKeyLabel::to_lines).unwrap_or_default();
            let head = lines.iter().map(|line| format!("# {line}\n"));
            file.extend(
                std::iter::once(format!("{FORMAT}\n"))
                    .chain(head)
                    .collect::<String>()
                    .as_bytes(),
            );
            file.extend(secret);
            file
        };
        match self {
            Self::OpenPgp(key) => key.to_file(label),
            Self::Ed25519(key) => text(key.to_pem().as_bytes()),
            Self::Nonce(nonce) => text(&nonce.to_line()),
        }
    }
}

impl<'a> BuildKey<'a> {
    /// Reads the file that [`NewKey::to_file`] made, or a PEM key as `openssl genpkey -algorithm
    /// ed25519` makes it.
    pub fn parse(bytes: &[u8]) -> Result<Self, KeyFault> {
        let text = std::str::from_utf8(bytes).map_err(|_| Malformed::new("the key is not text"))?;
        if text.trim_ascii().is_empty() {
            return Err(KeyFault::Empty);
        }
        if text.contains(PGP_BEGIN) {
            let key = openpgp::BuildKey::parse(bytes)?;
            let label = key.label().cloned();
            return Self {
                secret: Secret::OpenPgp(Box::new(key)),
                label,
                grant_expires: None,
            }
            .checked();
        }
        let label =
            BuildKeyLabel::from_lines(text.lines().filter_map(|line| line.strip_prefix("# ")))?;
        let secret = match text.find(PEM_BEGIN) {
            Some(begin) => Secret::Ed25519(Box::new(SecretKey::parse(&text[begin..])?)),
            None if PUBLIC_KEYS
                .iter()
                .any(|begin| text.trim_start().starts_with(begin)) =>
            {
                return Err(KeyFault::Public);
            }
            None => {
                let last = text
                    .trim_end_matches('\n')
                    .rfind('\n')
                    .map_or(0, |newline| newline + 1);
                Secret::Nonce(MacKey::parse(&bytes[last..]).map_err(|error| {
                    error.within("the file is not a secret key in OpenPGP or PEM")
                })?)
            }
        };
        Self {
            secret,
            label,
            grant_expires: None,
        }
        .checked()
    }

    /// A builder's key on its own token, whose public half is among those of `grant`.
    #[cfg(feature = "host")]
    pub fn on_token(
        grant: &Grant,
        token: Box<dyn Token>,
        interaction: &'a mut dyn Interaction,
        now: Timestamp,
    ) -> Result<Self, KeyFault> {
        for (builder, key) in Builders::of(grant.terms())?.iter() {
            let BuilderKey::OpenPgp(certificate) = key else {
                continue;
            };
            let keys = certificate.signing_keys(now).unwrap_or_default();
            if let Some(key) = keys.into_iter().find(|key| key.public() == token.public()) {
                let certificate = (**certificate).clone();
                let label = Some(BuildKeyLabel::of(grant, builder));
                let key = TokenKey {
                    certificate,
                    key,
                    token,
                    interaction,
                };
                let secret = Secret::Elsewhere(Box::new(key));
                return Ok(Self {
                    secret,
                    label,
                    grant_expires: Some(grant.terms().expires),
                });
            }
        }
        Err(KeyFault::NotInGrant(grant.id().short()))
    }

    fn checked(self) -> Result<Self, KeyFault> {
        let found = self.scheme();
        match self
            .label
            .as_ref()
            .map(|label| label.kind.scheme_and_form().0)
        {
            Some(expected) if expected != found => Err(KeyFault::OtherScheme { found, expected }),
            _ => Ok(self),
        }
    }

    /// Its scheme.
    pub fn scheme(&self) -> Scheme {
        match &self.secret {
            Secret::OpenPgp(_) | Secret::Elsewhere(_) => Scheme::OpenPgp,
            Secret::Ed25519(_) => Scheme::Dsse,
            Secret::Nonce(_) => Scheme::Hmac,
        }
    }

    /// The same key for this grant, among whose builders it must be.
    pub fn under(self, grant: &Grant) -> Result<Self, KeyFault> {
        let builder = self
            .builder_in(grant)?
            .ok_or_else(|| KeyFault::NotInGrant(grant.id().short()))?;
        let label = BuildKeyLabel::of(grant, &builder);
        match &self.label {
            Some(own) if *own != label => Err(KeyFault::OtherGrant(grant.id().short())),
            _ => {
                let grant_expires = Some(grant.terms().expires);
                Self {
                    label: Some(label),
                    grant_expires,
                    ..self
                }
                .checked()
            }
        }
    }

    fn builder_in(&self, grant: &Grant) -> Result<Option<BuilderName>, KeyFault> {
        let own = match &self.secret {
            Secret::OpenPgp(key) => BuilderKey::OpenPgp(key.certificate().into()),
            Secret::Ed25519(key) => BuilderKey::Ed25519(key.public()),
            Secret::Nonce(nonce) => BuilderKey::Nonce(nonce.commitment()),
            Secret::Elsewhere(key) => BuilderKey::OpenPgp(key.certificate().clone().into()),
        };
        let builders = Builders::of(grant.terms())?;
        Ok(builders
            .iter()
            .find(|(_, key)| key.is_one_with(&own))
            .map(|(builder, _)| builder.clone()))
    }

    /// What it was made for.
    pub fn label(&self) -> Result<&BuildKeyLabel, KeyFault> {
        self.label.as_ref().ok_or(KeyFault::NoGrant)
    }

    /// When the grant that it is for expires, if that was given.
    pub fn grant_expires(&self) -> Option<Timestamp> {
        self.grant_expires
    }

    /// When it expires, if it does by itself.
    pub fn expires(&self) -> Option<Timestamp> {
        match &self.secret {
            Secret::OpenPgp(key) => key.expires(),
            Secret::Elsewhere(key) => key.expires(),
            Secret::Ed25519(_) | Secret::Nonce(_) => None,
        }
    }
}

impl Secret<'_> {
    /// An OpenPGP signature over the bytes that `state` has seen.
    pub(super) fn sign(
        &mut self,
        state: &HashState,
        notations: &[(String, String)],
        now: Timestamp,
    ) -> Result<Vec<u8>, KeyFault> {
        match self {
            Self::OpenPgp(key) => Ok(key.sign(state, notations, now)?),
            Self::Elsewhere(key) => key.sign(state, notations, now),
            Self::Ed25519(_) | Self::Nonce(_) => {
                unreachable!("keys of other schemes make no OpenPGP signatures")
            }
        }
    }

    /// The hash function with which it signs.
    pub(super) fn hash(&self) -> HashAlgorithm {
        match self {
            Self::Elsewhere(key) => key.hash(),
            Self::OpenPgp(_) | Self::Ed25519(_) | Self::Nonce(_) => HashAlgorithm::Sha256,
        }
    }
}

/// A builder's OpenPGP key on a token.
#[cfg(feature = "host")]
struct TokenKey<'a> {
    certificate: Certificate,
    key: SigningKey,
    token: Box<dyn Token>,
    interaction: &'a mut dyn Interaction,
}

#[cfg(feature = "host")]
impl EvidenceSigner for TokenKey<'_> {
    fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    fn expires(&self) -> Option<Timestamp> {
        self.key.expires()
    }

    fn hash(&self) -> HashAlgorithm {
        self.key.public().least_hash()
    }

    fn sign(
        &mut self,
        state: &HashState,
        notations: &[(String, String)],
        now: Timestamp,
    ) -> Result<Vec<u8>, KeyFault> {
        let what = SignatureContent {
            created: now,
            hash: self.hash(),
            notations: notations.to_vec(),
        };
        let mut sign = |digest: &_| token::sign(&mut *self.token, digest, &mut *self.interaction);
        Ok(make_evidence_signature(&self.key, state, &what, &mut sign)?)
    }
}

impl fmt::Debug for BuildKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BuildKey")
            .field("label", &self.label)
            .finish_non_exhaustive()
    }
}

/// Makes an OpenPGP key on a builder's own token, and the certificate that a grant takes.
#[cfg(feature = "host")]
pub fn generate_on(
    uri: &TokenUri,
    kind: KeyKind,
    user_id: &str,
    now: Timestamp,
    expires: Timestamp,
    interaction: &mut dyn Interaction,
) -> Result<(TokenUri, BuilderKey), MakeError<TokenError>> {
    let fingerprint = |public: &_| openpgp::fingerprint_of(public, now);
    let new = token::NewKey {
        kind,
        created: now,
        fingerprint: &fingerprint,
        replace: false,
    };
    let (uri, mut token) = token::generate(uri, &new, interaction).map_err(MakeError::Token)?;
    let public = token.public().clone();
    let hash = public.least_hash();
    let new = NewCertificate {
        user_id: user_id.to_owned(),
        created: now,
        signed: now,
        expires: Some(expires),
        hash,
    };
    let mut sign = |digest: &_| token::sign(&mut *token, digest, interaction);
    let (certificate, _revocation) = make_certificate(&public, &new, &mut sign)?;
    Ok((uri, BuilderKey::OpenPgp(certificate.into())))
}
