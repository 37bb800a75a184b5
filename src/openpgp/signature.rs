//! Detached signatures, and what it takes for one to count.

use std::time::Duration;

use sequoia_openpgp as openpgp;

use openpgp::packet::Signature;
use openpgp::parse::{PacketParser, PacketParserResult, Parse};
use openpgp::policy::{HashAlgoSecurity, Policy, StandardPolicy};
use openpgp::serialize::{MarshalInto, Serialize};
use openpgp::types::SignatureType;
use openpgp::{Packet, armor};

use super::certificate::{Certificate, KeyTrouble, first_line};
use super::hash::{self, HashState};
use crate::domain::key::{Fingerprint, HashAlgorithm};
use crate::domain::time::Timestamp;

/// How far the clock of whoever signed may run ahead of ours.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(30 * 60);

/// The most that a builder's signature may have in its unhashed area, in bytes. Tools put the
/// issuer there.
const MOST_UNHASHED: usize = 1000;

/// One detached OpenPGP v4 signature over a file's bytes, not yet checked.
#[derive(Debug, Clone)]
pub struct DetachedSignature {
    signature: Signature,
    hash: HashAlgorithm,
}

/// What a signature that holds says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// The key that made it.
    pub key: Fingerprint,
    /// When, by the clock of whoever made it.
    pub created: Timestamp,
    /// Its notations that are text: names and values, authenticated.
    pub notations: Vec<(String, String)>,
}

impl Signed {
    /// The grant that it names, as text, if it names one.
    pub fn grant(&self) -> Option<&str> {
        self.noted("grant@")
    }

    /// The value of the first notation whose name begins so: what comes after is the domain of
    /// whoever defined it.
    pub fn noted(&self, name: &str) -> Option<&str> {
        self.notations
            .iter()
            .find(|(found, _)| found.starts_with(name))
            .map(|(_, value)| value.as_str())
    }
}

/// Why a signature does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSignature {
    /// Not OpenPGP.
    #[error("is not an OpenPGP signature: {0}")]
    Malformed(String),
    /// Something beside it, or nothing at all.
    #[error("holds {0} where exactly one detached signature must be")]
    NotOne(String),
    /// Evidence in armour, around which anything could stand.
    #[error("is not in binary form, as `gpg --detach-sign` makes it")]
    Armoured,
    /// Evidence with much that is not signed.
    #[error("has more than {MOST_UNHASHED} bytes in its unhashed area")]
    Unhashed,
    /// A release signature with something around or in it that is not signed.
    #[error(
        "was rewritten since the signing host made it: it is not in the one form that it has there"
    )]
    Rewritten,
    /// Another version than 4.
    #[error("is an OpenPGP v{0} signature; v4 is expected")]
    Version(u8),
    /// A signature over text, a certification and so on.
    #[error("is a signature of type `{0}`; a signature over a binary document is expected")]
    WrongType(String),
    /// A hash function that is not, or no longer, good enough.
    #[error("uses the hash function {0}; SHA-256, SHA-384 or SHA-512 is expected")]
    Hash(String),
    /// It does not say when or by whom it was made, or demands what we do not know.
    #[error("is not acceptable: {0}")]
    Policy(String),
    /// No key of the certificate made it.
    #[error("is by key {issuer}, which certificate {certificate} does not have")]
    OtherKey {
        /// Who made it, by its own word.
        issuer: String,
        /// The certificate it was checked with.
        certificate: Fingerprint,
    },
    /// The key could not vouch for anything when the signature was made.
    #[error("does not count: {0}")]
    Key(#[from] KeyTrouble),
    /// Made in the future.
    #[error("was made at {created}, which has not come yet")]
    Future {
        /// When, by its own word.
        created: Timestamp,
    },
    /// It says of itself that it will be worth nothing one day: what was accepted today would be
    /// refused then.
    #[error("carries an expiry time of its own; a signature that ends is no evidence")]
    Ends,
    /// It is over other bytes.
    #[error("does not fit the bytes of `{0}`")]
    Mismatch(String),
}

impl DetachedSignature {
    /// Reads one signature, armoured or binary. Nothing may stand beside it.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadSignature> {
        let signature = only_signature(bytes)?;
        if signature.version() != 4 {
            return Err(BadSignature::Version(signature.version()));
        }
        if signature.typ() != SignatureType::Binary {
            return Err(BadSignature::WrongType(signature.typ().to_string()));
        }
        if signature.signature_validity_period().is_some() {
            return Err(BadSignature::Ends);
        }
        let hash = hash::from_openpgp(signature.hash_algo());
        let hash = hash.ok_or_else(|| BadSignature::Hash(signature.hash_algo().to_string()))?;
        Ok(Self { signature, hash })
    }

    /// Reads one signature in the one form that
    /// [`make_release_signature`](super::make_release_signature) gives it: armour with nothing
    /// around it, and nothing in its unhashed area. Whoever passes a release on can change neither.
    pub fn parse_release(bytes: &[u8]) -> Result<Self, BadSignature> {
        let parsed = Self::parse(bytes)?;
        let canonical =
            armored(armor::Kind::Signature, parsed.signature.clone()).as_bytes() == bytes;
        match canonical && parsed.signature.unhashed_area().iter().next().is_none() {
            true => Ok(parsed),
            false => Err(BadSignature::Rewritten),
        }
    }

    /// Reads one signature as a builder leaves it: binary, and with little in its unhashed area.
    /// gpgv refuses one with much there, and whoever checks the evidence later must come to the
    /// same answer as the signing host.
    pub fn parse_evidence(bytes: &[u8]) -> Result<Self, BadSignature> {
        if bytes.first().is_none_or(|byte| byte & 0x80 == 0) {
            return Err(BadSignature::Armoured);
        }
        Self::parse(bytes)?.with_little_unhashed()
    }

    /// Reads one signature as an approver leaves it: binary, or in armour with nothing before it,
    /// and with little in its unhashed area. It goes with the release, where nobody else's words
    /// must stand.
    pub fn parse_approval(bytes: &[u8]) -> Result<Self, BadSignature> {
        if bytes.first().is_none_or(|byte| byte & 0x80 == 0)
            && !bytes.starts_with(b"-----BEGIN PGP SIGNATURE-----")
        {
            return Err(BadSignature::Malformed(
                "it begins with something else".to_owned(),
            ));
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
            Err(BadSignature::Unhashed)
        } else {
            Ok(self)
        }
    }

    /// The hash function it uses: the state it is checked with must have been made for it.
    pub fn hash(&self) -> HashAlgorithm {
        self.hash
    }

    /// Checks it with the keys of `certificate` over the bytes that `state` has seen, which are
    /// called `name` in errors.
    ///
    /// The key must have been usable when the signature was made, by what the certificate says now:
    /// a revocation for compromise reaches back, an expiry does not.
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
            .map_err(|error| BadSignature::Policy(first_line(&error)))?;
        let created = signature.signature_creation_time().map(Timestamp::from);
        let created =
            created.ok_or_else(|| BadSignature::Policy("it has no creation time".to_owned()))?;

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
            .map_err(|_| BadSignature::Mismatch(name.to_owned()))?;

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

fn only_signature(bytes: &[u8]) -> Result<Signature, BadSignature> {
    let malformed = |error: openpgp::anyhow::Error| BadSignature::Malformed(first_line(&error));
    let mut found = Vec::new();
    let mut parser = PacketParser::from_bytes(bytes).map_err(malformed)?;
    while let PacketParserResult::Some(packet) = parser {
        if found.len() == 2 {
            return Err(BadSignature::NotOne("several packets".to_owned()));
        }
        let (packet, next) = packet.next().map_err(malformed)?;
        found.push(packet);
        parser = next;
    }
    match (found.pop(), found.is_empty()) {
        (Some(Packet::Signature(signature)), true) => Ok(signature),
        (Some(other), true) => Err(BadSignature::NotOne(format!(
            "a packet of type `{}`",
            other.tag()
        ))),
        (None, _) => Err(BadSignature::NotOne("nothing".to_owned())),
        (Some(_), false) => Err(BadSignature::NotOne("several packets".to_owned())),
    }
}
