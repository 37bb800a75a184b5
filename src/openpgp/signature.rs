//! Detached signatures, and what makes one valid.

use std::borrow::Cow;
use std::io::Read;
use std::time::Duration;

use sequoia_openpgp as openpgp;

use openpgp::crypto::hash::Hash;
use openpgp::packet::Signature;
use openpgp::parse::{PacketParser, PacketParserResult, Parse};
use openpgp::policy::{HashAlgoSecurity, Policy, StandardPolicy};
use openpgp::serialize::{MarshalInto, Serialize};
use openpgp::types::SignatureType;
use openpgp::{Packet, armor};

use super::certificate::Certificate;
use super::hash::{self, HashState};
use super::key::PublicHalf;
use super::packet::{is_packet, not_a_signature, signature_body};
use super::reason::first_line;
use super::signing_key::KeyTrouble;
use super::subpackets::{self, Maker, Over};
use crate::domain::key::{Fingerprint, HashAlgorithm};
use crate::domain::malformed::Malformed;
use crate::domain::signing;
use crate::domain::text::cut;
use crate::domain::time::Timestamp;

/// How far the signer's clock may be ahead of ours.
pub(super) const CLOCK_TOLERANCE: Duration = Duration::from_secs(30 * 60);

const BEGIN: &[u8] = b"-----BEGIN PGP SIGNATURE-----";
const END: &[u8] = b"-----END PGP SIGNATURE-----";

/// One detached OpenPGP v4 signature over a file's bytes, not yet checked.
#[derive(Debug, Clone)]
pub struct DetachedSignature {
    signature: Signature,
    hash: HashAlgorithm,
    maker: Maker,
}

/// What a valid signature says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// The key that made it.
    pub key: Fingerprint,
    /// When it was made, by the signer's clock.
    pub created: Timestamp,
    /// Its notations that are text: names and values, authenticated.
    pub notations: Vec<(String, String)>,
}

impl Signed {
    /// What it says as the signature of a file of a release, which was read with
    /// [`DetachedSignature::parse_release`].
    pub fn claims(&self) -> Result<signing::Claims, Malformed> {
        signing::Claims::read(&self.notations)
    }
}

/// Why a signature is not valid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSignature {
    /// It does not have its form, or does not match what it should be over.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// No key of the certificate made it.
    #[error("the signature is by key {issuer}, which certificate {certificate} does not have")]
    OtherKey {
        /// Who made it, according to the signature.
        issuer: String,
        /// The certificate it was checked with.
        certificate: Fingerprint,
    },
    /// The key could not vouch for anything when the signature was made.
    #[error(transparent)]
    Key(#[from] KeyTrouble),
    /// Its creation time is in the future.
    #[error("the signature is dated in the future ({created})")]
    Future {
        /// Its creation time.
        created: Timestamp,
    },
}

impl DetachedSignature {
    /// Reads one signature in the one form that
    /// [`make_release_signature`](super::make_release_signature) gives it: armour with nothing
    /// around it, nothing in its unhashed area, and notations that are text. So nobody can add to
    /// it on the way, and nothing that it says is passed over.
    pub fn parse_release(bytes: &[u8]) -> Result<Self, BadSignature> {
        let parsed = Self::parse(&dearmoured(bytes)?)?;
        let of_bytes = parsed
            .signature
            .notation_data()
            .find(|notation| !notation.flags().human_readable());
        if let Some(notation) = of_bytes {
            let name = cut(notation.name(), 60);
            return Err(malformed(format!(
                "the signature's notation `{name}` is not human-readable text"
            )));
        }
        let canonical = armored(armor::Kind::Signature, parsed.signature.clone());
        let unhashed = parsed.signature.unhashed_area().iter().next();
        if canonical.as_bytes() == bytes && unhashed.is_none() {
            return Ok(parsed);
        }
        Err(malformed(
            "the signature was rewritten since the signing host made it: \
             it is not in the one form that it has there",
        ))
    }

    /// Reads one signature as a builder leaves it: binary, with any header of its packet.
    pub fn parse_evidence(bytes: &[u8]) -> Result<Self, BadSignature> {
        if !is_packet(bytes) {
            return Err(malformed(
                "the signature is not in binary form, as `gpg --detach-sign` makes it",
            ));
        }
        Self::parse(bytes)
    }

    /// Reads one signature as an approver leaves it: as a builder does, or in armour with nothing
    /// around it. Headers in the armour are dropped.
    pub fn parse_approval(bytes: &[u8]) -> Result<Self, BadSignature> {
        if is_packet(bytes) {
            return Self::parse(bytes);
        }
        let text = bytes.trim_ascii_end();
        if !text.starts_with(BEGIN) {
            return Err(not_a_signature("there is text before it").into());
        }
        let ends = text.windows(END.len()).filter(|part| *part == END).count();
        if !text.ends_with(END) || ends != 1 {
            return Err(not_a_signature("there is text behind it, or no end").into());
        }
        Self::parse(&dearmoured(text)?)
    }

    /// Reads one signature in the form of [`DetachedSignature::to_packet`].
    pub fn parse_kept(bytes: &[u8]) -> Result<Self, BadSignature> {
        let parsed = Self::parse_evidence(bytes)?;
        if parsed.to_packet() == bytes {
            return Ok(parsed);
        }
        Err(malformed(
            "the signature is not in the form in which the signing host keeps it",
        ))
    }

    /// Its packet, as it is kept: with a header in the new format, and the shortest length.
    pub fn to_packet(&self) -> Vec<u8> {
        let packet = Packet::from(self.signature.clone());
        packet.to_vec().expect("memory can be written")
    }

    /// Reads the packet of one signature. Nothing of it but its header can be written in two ways,
    /// and nothing in it is signed by nobody, but for whose signature it is.
    fn parse(packet: &[u8]) -> Result<Self, BadSignature> {
        let body = signature_body(packet)?;
        // This parser drops what is behind the numbers, which is looked for below.
        let PacketParserResult::Some(parser) =
            PacketParser::from_bytes(packet).map_err(|error| unreadable(&error))?
        else {
            return Err(not_a_signature("it is empty").into());
        };
        let (parsed, _) = parser.next().map_err(|error| unreadable(&error))?;
        let signature = match parsed {
            Packet::Signature(signature) => signature,
            Packet::Unknown(unknown) => return Err(unreadable(&unknown.into_error())),
            other => return Err(not_a_signature(&format!("it is a `{}`", other.tag())).into()),
        };
        let version = signature.version();
        if version != 4 {
            return Err(malformed(format!(
                "the signature is an OpenPGP v{version} signature; expected v4"
            )));
        }
        let kind = signature.typ();
        if kind != SignatureType::Binary {
            return Err(malformed(format!(
                "the signature is a signature of type `{kind}`; expected one over a binary document"
            )));
        }
        // What is accepted today would be refused later.
        if signature.signature_validity_period().is_some() {
            return Err(malformed(
                "the signature has an expiry time of its own; evidence must not expire",
            ));
        }
        let function = signature.hash_algo();
        let hash = hash::from_openpgp(function).ok_or_else(|| {
            malformed(format!(
                "the signature uses the hash function {function}; \
                 expected SHA-256, SHA-384 or SHA-512"
            ))
        })?;
        let maker = subpackets::maker(&signature, Over::File)?;
        let again = signature.to_vec().expect("memory can be written");
        if again != body {
            return Err(malformed(if body.starts_with(&again) {
                "the signature has bytes behind its numbers, which nobody signed"
            } else {
                "the signature is not in its shortest form"
            }));
        }
        Ok(Self {
            signature,
            hash,
            maker,
        })
    }

    /// Whether it has this notation. Not verified.
    pub fn names(&self, name: &str, value: &str) -> bool {
        let mut notations = self.signature.notation_data();
        notations.any(|it| it.name() == name && it.value() == value.as_bytes())
    }

    /// Whether it names a key of this certificate as its own. Not verified.
    pub fn is_of(&self, certificate: &Certificate) -> bool {
        let Maker { issuer, created } = &self.maker;
        let found = certificate.signing_key_with(issuer, *created);
        !matches!(found, Err(KeyTrouble::NoSuchKey { .. }))
    }

    /// Its hash function: it can only be checked with a state that has this function.
    pub fn hash(&self) -> HashAlgorithm {
        self.hash
    }

    /// Checks it with the keys of `certificate` over the bytes of `state`. Errors call them `name`.
    ///
    /// The key must have been usable when the signature was made, according to the certificate as
    /// it is now: a revocation for compromise reaches back, an expiry does not.
    pub fn check(
        &self,
        certificate: &Certificate,
        state: &HashState,
        name: &str,
        now: Timestamp,
    ) -> Result<Signed, BadSignature> {
        let signature = &self.signature;
        StandardPolicy::new()
            .signature(signature, HashAlgoSecurity::CollisionResistance)
            .map_err(|error| {
                let reason = first_line(&error);
                malformed(format!("the signature is not acceptable: {reason}"))
            })?;
        let Maker { issuer, created } = &self.maker;
        let created = *created;
        let key = match certificate.signing_key_with(issuer, created) {
            Err(KeyTrouble::NoSuchKey { .. }) => Err(BadSignature::OtherKey {
                issuer: issuer.to_string(),
                certificate: certificate.fingerprint(),
            }),
            found => Ok(found?),
        }?;
        if created.since(now) > CLOCK_TOLERANCE {
            return Err(BadSignature::Future { created });
        }
        let mut context = state
            .context(self.hash)
            .expect("the state was made for this signature's hash function");
        let digest = signature
            .hash(&mut context)
            .and_then(|()| context.into_digest());
        let digest = digest.expect("a v4 signature can be hashed");
        if !is_by(signature, &key.key, &digest) {
            return Err(malformed(format!("the signature does not match `{name}`")));
        }

        let notations = signature
            .notation_data()
            .filter(|notation| notation.flags().human_readable());
        let notations = notations.filter_map(|notation| {
            Some((
                notation.name().to_owned(),
                String::from_utf8(notation.value().to_vec()).ok()?,
            ))
        });
        Ok(Signed {
            key: key.fingerprint(),
            created,
            notations: notations.collect(),
        })
    }
}

/// Whether `key` made a signature over this digest. gpgv refuses one in which the first bytes of
/// the digest or the algorithm of the key differ.
pub(super) fn is_by(signature: &Signature, key: &PublicHalf, digest: &[u8]) -> bool {
    digest.starts_with(signature.digest_prefix())
        && signature.pk_algo() == key.pk_algo()
        && signature.verify_digest(key, digest).is_ok()
}

pub(super) fn armored(kind: armor::Kind, signature: Signature) -> String {
    let mut bytes = Vec::new();
    let mut writer = armor::Writer::new(&mut bytes, kind).expect("memory can be written");
    Packet::from(signature)
        .serialize(&mut writer)
        .expect("memory can be written");
    writer.finalize().expect("memory can be written");
    String::from_utf8(bytes).expect("armour is ASCII")
}

/// What is in armour.
fn dearmoured(bytes: &[u8]) -> Result<Vec<u8>, BadSignature> {
    let mode = armor::ReaderMode::Tolerant(Some(armor::Kind::Signature));
    let mut packet = Vec::new();
    armor::Reader::from_bytes(bytes, mode)
        .read_to_end(&mut packet)
        .map_err(|error| not_a_signature(&error.to_string()))?;
    Ok(packet)
}

fn unreadable(error: &openpgp::anyhow::Error) -> BadSignature {
    not_a_signature(&first_line(error)).into()
}

fn malformed(message: impl Into<Cow<'static, str>>) -> BadSignature {
    BadSignature::Malformed(Malformed::new(message))
}
