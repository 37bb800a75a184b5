//! Detached signatures, and what makes one valid.

use std::borrow::Cow;
use std::time::Duration;

use sequoia_openpgp as openpgp;

use openpgp::packet::Signature;
use openpgp::parse::{PacketParser, PacketParserResult, Parse};
use openpgp::policy::{HashAlgoSecurity, Policy, StandardPolicy};
use openpgp::serialize::{MarshalInto, Serialize};
use openpgp::types::SignatureType;
use openpgp::{Packet, armor};

use super::certificate::Certificate;
use super::hash::{self, HashState};
use super::reason::first_line;
use super::signing_key::KeyTrouble;
use crate::domain::key::{Fingerprint, HashAlgorithm};
use crate::domain::malformed::Malformed;
use crate::domain::time::Timestamp;

/// How far the signer's clock may be ahead of ours.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(30 * 60);

/// Maximum size of the unhashed area of a builder's signature, in bytes. Tools put the issuer
/// there.
const MOST_UNHASHED: usize = 1000;

/// One detached OpenPGP v4 signature over a file's bytes, not yet checked.
#[derive(Debug, Clone)]
pub struct DetachedSignature {
    signature: Signature,
    hash: HashAlgorithm,
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
    /// The grant that it names, if any.
    pub fn grant(&self) -> Option<&str> {
        self.noted("grant@")
    }

    /// The value of the first notation whose name begins with this. The rest of the name is the
    /// domain of its author.
    pub fn noted(&self, name: &str) -> Option<&str> {
        self.notations
            .iter()
            .find(|(found, _)| found.starts_with(name))
            .map(|(_, value)| value.as_str())
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
    /// Reads one signature, armoured or binary, with no other packet beside it.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadSignature> {
        let signature = only_signature(bytes)?;
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
        Ok(Self { signature, hash })
    }

    /// Reads one signature in the one form that
    /// [`make_release_signature`](super::make_release_signature) gives it: armour with nothing
    /// around it, and nothing in its unhashed area. So nobody can add to it on the way.
    pub fn parse_release(bytes: &[u8]) -> Result<Self, BadSignature> {
        let parsed = Self::parse(bytes)?;
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

    /// Reads one signature as a builder leaves it: binary, and with little in its unhashed area.
    /// gpgv refuses one with much there, and a later check of the evidence must come to the same
    /// result as the signing host.
    pub fn parse_evidence(bytes: &[u8]) -> Result<Self, BadSignature> {
        if !is_binary(bytes) {
            return Err(malformed(
                "the signature is not in binary form, as `gpg --detach-sign` makes it",
            ));
        }
        Self::parse(bytes)?.with_little_unhashed()
    }

    /// Reads one signature as an approver leaves it: binary, or in armour with nothing before it,
    /// and with little in its unhashed area. It becomes part of the release, which must not carry
    /// anybody's unsigned text.
    pub fn parse_approval(bytes: &[u8]) -> Result<Self, BadSignature> {
        if !is_binary(bytes) && !bytes.starts_with(b"-----BEGIN PGP SIGNATURE-----") {
            return Err(not_a_signature("there is text before it"));
        }
        Self::parse(bytes)?.with_little_unhashed()
    }

    fn with_little_unhashed(self) -> Result<Self, BadSignature> {
        let unhashed: usize = self
            .signature
            .unhashed_area()
            .iter()
            .map(|subpacket| subpacket.serialized_len())
            .sum();
        if unhashed > MOST_UNHASHED {
            return Err(malformed(format!(
                "the signature has more than {MOST_UNHASHED} bytes in its unhashed area"
            )));
        }
        Ok(self)
    }

    /// Whether it names a grant, as a builder's signature of one artifact does. Not verified.
    pub fn names_grant(&self) -> bool {
        self.signature
            .notation_data()
            .any(|notation| notation.name().starts_with("grant@"))
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
        let created = signature.signature_creation_time().map(Timestamp::from);
        let created = created.ok_or_else(|| malformed("the signature has no creation time"))?;

        let mut key = None;
        for issuer in signature.get_issuers() {
            match certificate.signing_key_with(&issuer, created) {
                Err(KeyTrouble::NoSuchKey { .. }) => continue,
                found => key = Some(found?),
            }
            break;
        }
        let key = key.ok_or_else(|| BadSignature::OtherKey {
            issuer: signature
                .get_issuers()
                .first()
                .map_or_else(|| "unknown".to_owned(), ToString::to_string),
            certificate: certificate.fingerprint(),
        })?;

        if created.since(now) > CLOCK_TOLERANCE {
            return Err(BadSignature::Future { created });
        }
        let context = state
            .context(self.hash)
            .expect("the state was made for this signature's hash function");
        signature
            .verify_hash(&key.key, context)
            .map_err(|_| malformed(format!("the signature does not match `{name}`")))?;

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

pub(super) fn armored(kind: armor::Kind, signature: Signature) -> String {
    let mut bytes = Vec::new();
    let mut writer = armor::Writer::new(&mut bytes, kind).expect("memory can be written");
    Packet::from(signature)
        .serialize(&mut writer)
        .expect("memory can be written");
    writer.finalize().expect("memory can be written");
    String::from_utf8(bytes).expect("armour is ASCII")
}

/// The first bit of a packet's header is set (RFC 9580, section 4.2), and never in armour.
fn is_binary(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|byte| byte & 0x80 != 0)
}

fn only_signature(bytes: &[u8]) -> Result<Signature, BadSignature> {
    let unreadable = |error: openpgp::anyhow::Error| not_a_signature(&first_line(&error));
    let not_one =
        |found: &str| malformed(format!("expected one detached signature, found {found}"));
    let mut found = Vec::new();
    let mut parser = PacketParser::from_bytes(bytes).map_err(unreadable)?;
    while let PacketParserResult::Some(packet) = parser {
        if found.len() == 2 {
            return Err(not_one("several packets"));
        }
        let (packet, next) = packet.next().map_err(unreadable)?;
        found.push(packet);
        parser = next;
    }
    match (found.pop(), found.is_empty()) {
        (Some(Packet::Signature(signature)), true) => Ok(signature),
        (Some(other), true) => Err(not_one(&format!("a packet of type `{}`", other.tag()))),
        (None, _) => Err(not_one("nothing")),
        (Some(_), false) => Err(not_one("several packets")),
    }
}

fn not_a_signature(reason: &str) -> BadSignature {
    malformed(format!("the file is not an OpenPGP signature: {reason}"))
}

fn malformed(message: impl Into<Cow<'static, str>>) -> BadSignature {
    BadSignature::Malformed(Malformed::new(message))
}
