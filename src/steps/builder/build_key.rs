//! What a builder signs with, whatever the scheme: a secret in a file, or a key elsewhere.

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
use crate::openpgp::{self, Certificate, DetachedSignature, GeneratedKey, HashState};
use crate::steps::evidence::builders::{BuilderKey, Builders};
use crate::steps::evidence::error::EvidenceError;
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
}

pub(super) enum Secret<'a> {
    OpenPgp(Box<openpgp::BuildKey>),
    Ed25519(Box<SecretKey>),
    Nonce(MacKey),
    Elsewhere(Box<dyn EvidenceSigner + 'a>),
}

/// An OpenPGP key whose secret half is not in this process.
pub trait EvidenceSigner {
    /// Its public half.
    fn certificate(&self) -> &Certificate;

    /// When it expires.
    fn expires(&self) -> Option<Timestamp>;

    /// The hash function that its signatures use.
    fn hash(&self) -> HashAlgorithm;

    /// An OpenPGP signature over the bytes that `state` has seen.
    fn sign(
        &mut self,
        state: &HashState,
        notations: &[(String, String)],
        now: Timestamp,
    ) -> Result<Vec<u8>, BuildKeyError>;
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

/// Why a build key cannot be used.
#[expect(missing_docs, reason = "each message says what it means")]
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum BuildKeyError {
    #[error("{0}")]
    #[diagnostic(
        code(usage::build_key_malformed),
        help(
            "give the `.key` file that `countersign grant` or `countersign build-key` wrote, \
             unchanged: importing and exporting it loses its headers"
        )
    )]
    Malformed(#[from] Malformed),
    /// A key of a kind, or for a grant, that is not the one needed.
    #[error("{message}")]
    #[diagnostic(code(usage::build_key_unfit), help("{help}"))]
    Unfit { message: String, help: &'static str },
    #[error("the key cannot be looked for in the grant: {0}")]
    #[diagnostic(code(refused::grant_keys_invalid))]
    Grant(#[from] EvidenceError),
    /// That of an [`EvidenceSigner`].
    #[error("the key cannot sign: {0}")]
    #[diagnostic(forward(0))]
    Elsewhere(Box<dyn miette::Diagnostic + Send + Sync>),
}

const COMPARE: &str = "compare with `countersign grants show`, or ask for a grant with this key: \
                       `grant --builder NAME=FILE.pub`";

impl BuildKeyError {
    fn unfit(message: impl Into<String>, help: &'static str) -> Self {
        Self::Unfit {
            message: message.into(),
            help,
        }
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

    /// What a grant has of it.
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
    pub fn parse(bytes: &[u8]) -> Result<Self, BuildKeyError> {
        let text = std::str::from_utf8(bytes).map_err(|_| Malformed::new("the key is not text"))?;
        if text.trim_ascii().is_empty() {
            return Err(BuildKeyError::unfit(
                "the key is empty",
                "hand the secret over again: nothing of it arrived here",
            ));
        }
        if text.contains(PGP_BEGIN) {
            let key = openpgp::BuildKey::parse(bytes)?;
            let label = key.label().cloned();
            return Self {
                secret: Secret::OpenPgp(Box::new(key)),
                label,
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
                return Err(BuildKeyError::unfit(
                    "this is the public half of a key",
                    "give the secret half: the file without `.pub` at the end of its name",
                ));
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
        Self { secret, label }.checked()
    }

    /// The key of a builder of `grant` whose secret half is not in this process.
    pub fn elsewhere(
        grant: &Grant,
        builder: &BuilderName,
        signer: Box<dyn EvidenceSigner + 'a>,
    ) -> Self {
        Self {
            secret: Secret::Elsewhere(signer),
            label: Some(BuildKeyLabel::of(grant, builder)),
        }
    }

    fn checked(self) -> Result<Self, BuildKeyError> {
        let found = self.scheme();
        match self
            .label
            .as_ref()
            .map(|label| label.bounds.kind.scheme_and_form().0)
        {
            Some(expected) if expected != found => Err(BuildKeyError::unfit(
                format!(
                    "the key is of scheme {found}, but was made for a grant of scheme \
                         {expected}"
                ),
                "give the key that was made for this grant",
            )),
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
    pub fn under(self, grant: &Grant) -> Result<Self, BuildKeyError> {
        let builder = self.builder_in(grant)?.ok_or_else(|| not_in(grant))?;
        let label = BuildKeyLabel::of(grant, &builder);
        match &self.label {
            Some(own) if *own != label => Err(BuildKeyError::unfit(
                format!(
                    "the key was made for a grant that differs from {}",
                    grant.id().short()
                ),
                COMPARE,
            )),
            _ => Self {
                label: Some(label),
                ..self
            }
            .checked(),
        }
    }

    fn builder_in(&self, grant: &Grant) -> Result<Option<BuilderName>, BuildKeyError> {
        let own = self.secret.public();
        let builders = Builders::of(grant.terms())?;
        Ok(builders
            .iter()
            .find(|(_, key)| key.is_one_with(&own))
            .map(|(builder, _)| builder.clone()))
    }

    /// What it was made for.
    pub fn label(&self) -> Result<&BuildKeyLabel, BuildKeyError> {
        self.label.as_ref().ok_or_else(|| {
            BuildKeyError::unfit(
                "the key does not name its grant",
                "give the grant with `--grant FILE`, or the `.key` file that `countersign grant` \
                 wrote",
            )
        })
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

/// A key that the grant does not have.
pub(in crate::steps) fn not_in(grant: &Grant) -> BuildKeyError {
    BuildKeyError::unfit(
        format!("the key is not in grant {}", grant.id().short()),
        COMPARE,
    )
}

impl Secret<'_> {
    fn public(&self) -> BuilderKey {
        match self {
            Self::OpenPgp(key) => BuilderKey::OpenPgp(key.certificate().clone().into()),
            Self::Ed25519(key) => BuilderKey::Ed25519(key.public()),
            Self::Nonce(nonce) => BuilderKey::Nonce(nonce.commitment()),
            Self::Elsewhere(key) => BuilderKey::OpenPgp(key.certificate().clone().into()),
        }
    }

    /// The OpenPGP signature in a file, if it names this key. Not verified.
    pub(super) fn signature(&self, bytes: &[u8]) -> Option<DetachedSignature> {
        let BuilderKey::OpenPgp(certificate) = self.public() else {
            return None;
        };
        let signature = DetachedSignature::parse_evidence(bytes).ok()?;
        signature.is_of(&certificate).then_some(signature)
    }

    /// An OpenPGP signature over the bytes that `state` has seen.
    pub(super) fn sign(
        &mut self,
        state: &HashState,
        notations: &[(String, String)],
        now: Timestamp,
    ) -> Result<Vec<u8>, BuildKeyError> {
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

impl fmt::Debug for BuildKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BuildKey")
            .field("label", &self.label)
            .finish_non_exhaustive()
    }
}
