//! The builders of a grant: each has a name, and a key that is nobody else's.

use super::error::EvidenceError;
use crate::domain::digest::Sha256;
use crate::domain::evidence::Scheme;
use crate::domain::grant::Terms;
use crate::domain::key::pairs;
use crate::domain::malformed::Malformed;
use crate::domain::name::BuilderName;
use crate::dsse;
use crate::openpgp::Certificate;

/// The public half of a builder's key.
#[derive(Debug, Clone, PartialEq)]
pub enum BuilderKey {
    /// Of the OpenPGP scheme.
    OpenPgp(Box<Certificate>),
    /// Of the DSSE scheme.
    Ed25519(dsse::PublicKey),
    /// Of the MAC scheme: the SHA-256 of the nonce, of no use to anybody else.
    Nonce(Sha256),
}

/// The builders of a grant and their keys, no two of which are one.
#[derive(Debug, Clone)]
pub struct Builders(Vec<(BuilderName, BuilderKey)>);

impl BuilderKey {
    /// Reads a key of this scheme, as it is in a grant.
    pub fn parse(scheme: Scheme, text: &str) -> Result<Self, Malformed> {
        let key = Self::read(scheme, text)?;
        let is_ours = match &key {
            // What it is called depends on the time.
            Self::OpenPgp(certificate) => certificate.is_in_our_armour(text),
            Self::Ed25519(_) | Self::Nonce(_) => key.to_text() == text,
        };
        if is_ours {
            return Ok(key);
        }
        Err(Malformed::new(
            "it is not in the form in which the signing host writes it",
        ))
    }

    /// Reads a key of this scheme, in any framing.
    pub fn read(scheme: Scheme, text: &str) -> Result<Self, Malformed> {
        Ok(match scheme {
            Scheme::OpenPgp => Self::OpenPgp(Certificate::parse_own(text.as_bytes())?.into()),
            Scheme::Dsse => Self::Ed25519(dsse::PublicKey::parse(text)?),
            Scheme::Hmac => Self::Nonce(text.parse()?),
        })
    }

    /// As it is in a grant.
    pub fn to_text(&self) -> String {
        match self {
            Self::OpenPgp(certificate) => certificate.armored(),
            Self::Ed25519(key) => key.to_pem(),
            Self::Nonce(commitment) => commitment.to_string(),
        }
    }

    /// As it is in a release; `None` where nobody could do anything with it.
    pub fn public_file(&self) -> Option<Vec<u8>> {
        match self {
            Self::OpenPgp(certificate) => Some(certificate.binary()),
            Self::Ed25519(key) => Some(key.to_pem().into_bytes()),
            Self::Nonce(_) => None,
        }
    }

    /// Its name in the log: the fingerprint of an OpenPGP key, otherwise the SHA-256 of what is in
    /// the grant.
    pub fn id(&self) -> String {
        match self {
            Self::OpenPgp(certificate) => certificate.fingerprint().to_string(),
            Self::Ed25519(key) => format!("sha256:{}", Sha256::of(key.to_pem().as_bytes())),
            Self::Nonce(commitment) => format!("sha256:{commitment}"),
        }
    }

    /// Whether both are one key, under whatever fingerprints.
    pub(in crate::steps) fn is_one_with(&self, other: &Self) -> bool {
        match (self, other) {
            // The same numbers have another fingerprint with another creation time.
            (Self::OpenPgp(one), Self::OpenPgp(other)) => one.shares_key_with(other),
            (one, other) => one == other,
        }
    }
}

impl Builders {
    /// The builders of a grant.
    pub fn of(terms: &Terms) -> Result<Self, EvidenceError> {
        let mut builders = Vec::new();
        for builder in &terms.builders {
            let key = BuilderKey::parse(terms.scheme, &builder.key).map_err(|fault| {
                EvidenceError::invalid(format!(
                    "the key of builder `{}` in the grant cannot be used: {fault}",
                    builder.name
                ))
            })?;
            builders.push((builder.name.clone(), key));
        }
        if let Some(((first, _), (second, _))) =
            pairs(&builders).find(|((_, one), (_, other))| one.is_one_with(other))
        {
            return Err(EvidenceError::invalid(format!(
                "builders `{first}` and `{second}` of the grant have the same key"
            )));
        }
        Ok(Self(builders))
    }

    /// Each builder with its key, in the grant's order.
    pub fn iter(&self) -> std::slice::Iter<'_, (BuilderName, BuilderKey)> {
        self.0.iter()
    }

    /// The key of one; `None` for somebody else.
    pub fn key(&self, builder: &BuilderName) -> Option<&BuilderKey> {
        self.0
            .iter()
            .find(|(name, _)| name == builder)
            .map(|(_, key)| key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Timestamp;
    use crate::openpgp::BuildKey;

    #[test]
    fn a_grant_has_a_key_in_its_one_form() {
        let time = Timestamp::from_unix;
        let key = BuildKey::generate("m1", time(1), time(2)).certificate();
        let text = key.armored();
        let parse = |text: &str| BuilderKey::parse(Scheme::OpenPgp, text);
        assert_eq!(parse(&text).expect("a key").to_text(), text);
        for framed in [
            format!("Approve this: it is harmless\n\n{text}"),
            text.replacen("\n\n", "\nComment: it is harmless\n\n", 1),
        ] {
            let read = BuilderKey::read(Scheme::OpenPgp, &framed).expect("a key");
            assert_eq!(read.to_text(), text);
            assert!(parse(&framed).is_err(), "{framed}");
        }
    }
}
