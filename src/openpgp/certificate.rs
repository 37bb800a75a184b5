//! OpenPGP certificates: the release key's, and those of build keys.

use sequoia_openpgp as openpgp;

use openpgp::Cert;
use openpgp::cert::CertParser;
use openpgp::packet::UserID;
use openpgp::parse::Parse;
use openpgp::serialize::{Marshal, SerializeInto};

use super::key;
use super::reason::first_line;
use super::signing_key::{KeyTrouble, SigningKey};
use crate::domain::key::{Fingerprint, LONGEST_RSA, PublicKey};
use crate::domain::malformed::Malformed;
use crate::domain::time::Timestamp;

/// The largest certificate that is read, in bytes.
pub const LARGEST_CERTIFICATE: u64 = 256 << 10;
/// Maximum number of keys, user ids and the like in a certificate.
const MOST_PARTS: usize = 100;

/// One OpenPGP certificate (RFC 9580, section 10.1) with a v4 primary key, without secrets.
#[derive(Debug, Clone, PartialEq)]
pub struct Certificate(Cert);

impl Certificate {
    /// Reads one certificate, armoured or binary.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let not_one = |error: openpgp::anyhow::Error| {
            let reason = first_line(&error);
            Malformed::new(format!("it is not an OpenPGP certificate: {reason}"))
        };
        let certs = CertParser::from_bytes(bytes).map_err(not_one)?.take(100);
        let mut certs = certs
            .collect::<openpgp::Result<Vec<_>>>()
            .map_err(not_one)?;
        match (certs.pop(), certs.len()) {
            (Some(cert), 0) => Self::of(cert)?.check_exportable(),
            (last, others) => {
                let found = others + usize::from(last.is_some());
                Err(Malformed::new(format!(
                    "expected one certificate, found {found}"
                )))
            }
        }
    }

    pub(super) fn of(cert: Cert) -> Result<Self, Malformed> {
        if cert.is_tsk() {
            return Err(Malformed::new(
                "the file has a secret key; export the public half alone",
            ));
        }
        if cert
            .keys()
            .any(|ka| key::fingerprint(&ka.key().fingerprint()).is_none())
        {
            return Err(Malformed::new(
                "the certificate has a key that is not OpenPGP v4, which gpgv and apt need",
            ));
        }
        // Each is compared with each of the others.
        let parts = cert.keys().count()
            + cert.userids().count()
            + cert.user_attributes().count()
            + cert.unknowns().count();
        if parts > MOST_PARTS {
            return Err(Malformed::new(format!(
                "the certificate has more than {MOST_PARTS} keys and user ids; \
                 `gpg --export-options export-minimal` leaves some out"
            )));
        }
        let certificate = Self(cert);
        if certificate.numbers().any(|key| key.is_of_small_order()) {
            return Err(Malformed::new(
                "the certificate has a key that is a point of small order, \
                 for which anybody can make signatures: it needs another key",
            ));
        }
        if let Some(key) = certificate.numbers().find(PublicKey::is_too_long) {
            let kind = key.algorithm();
            return Err(Malformed::new(format!(
                "the certificate has an {kind} key; an RSA key has at most {LONGEST_RSA} bits here"
            )));
        }
        Ok(certificate)
    }

    /// Refuses a certificate that [`Certificate::binary`] could not write, or of which it would
    /// leave nothing.
    fn check_exportable(self) -> Result<Self, Malformed> {
        let copy = self.0.export_to_vec();
        if copy.is_ok_and(|copy| !copy.is_empty()) {
            return Ok(self);
        }
        Err(Malformed::new(
            "the certificate cannot be exported: \
             it has no valid signature by its own key, or a part of an unknown version",
        ))
    }

    /// The numbers of its keys of those kinds that tokens have.
    pub fn numbers(&self) -> impl Iterator<Item = PublicKey> {
        self.0
            .keys()
            .filter_map(|ka| key::numbers(ka.key().role_as_unspecified()))
    }

    pub(super) fn cert(&self) -> &Cert {
        &self.0
    }

    /// Its fingerprint: that of its primary key.
    pub fn fingerprint(&self) -> Fingerprint {
        key::fingerprint(&self.0.fingerprint()).expect("only v4 certificates are accepted")
    }

    /// Its user ids, not cleaned for a terminal.
    pub fn user_ids(&self) -> Vec<String> {
        self.0
            .userids()
            .map(|id| String::from_utf8_lossy(id.userid().value()).into_owned())
            .collect()
    }

    /// The domain of the first mail address among its user ids.
    pub fn mail_domain(&self) -> Option<String> {
        self.user_ids()
            .iter()
            .find_map(|user_id| mail_domain(user_id))
    }

    /// Whether a key of it and a key of `other` have the same secret, whatever their fingerprints.
    pub fn shares_key_with(&self, other: &Self) -> bool {
        self.0.keys().any(|ours| {
            other.0.keys().any(|theirs| {
                key::is_one(
                    ours.key().role_as_unspecified(),
                    theirs.key().role_as_unspecified(),
                )
            })
        })
    }

    /// The fingerprint of the key with these numbers, even if it cannot sign any more.
    pub fn key_with(&self, public: &PublicKey) -> Option<Fingerprint> {
        let found = self
            .0
            .keys()
            .find(|ka| key::numbers(ka.key()).is_some_and(|numbers| numbers == *public))?;
        key::fingerprint(&found.key().fingerprint())
    }

    /// In binary form: the keyring that gpgv and sqv read.
    pub fn binary(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.0.export(&mut bytes).expect("memory can be written");
        bytes
    }

    /// In armour.
    pub fn armored(&self) -> String {
        let bytes = self
            .0
            .armored()
            .export_to_vec()
            .expect("memory can be written");
        String::from_utf8(bytes).expect("armour is ASCII")
    }

    /// The key with this fingerprint, if it may sign at `at`.
    pub fn signing_key(
        &self,
        fingerprint: Fingerprint,
        at: Timestamp,
    ) -> Result<SigningKey, KeyTrouble> {
        let fingerprint = openpgp::Fingerprint::V4(fingerprint.bytes());
        self.signing_key_with(&fingerprint.into(), at)
    }

    pub(super) fn signing_key_with(
        &self,
        handle: &openpgp::KeyHandle,
        at: Timestamp,
    ) -> Result<SigningKey, KeyTrouble> {
        SigningKey::find(&self.0, handle, at)
    }

    /// Every key that may sign at `at`; if there is none, why the first may not.
    pub fn signing_keys(&self, at: Timestamp) -> Result<Vec<SigningKey>, KeyTrouble> {
        let mut trouble = None;
        let mut usable = Vec::new();
        for ka in self.0.keys() {
            match self.signing_key_with(&ka.key().key_handle(), at) {
                Ok(key) => usable.push(key),
                Err(error) => trouble = trouble.or(Some(error)),
            }
        }
        match (usable.is_empty(), trouble) {
            (true, Some(trouble)) => Err(trouble),
            _ => Ok(usable),
        }
    }
}

/// The domain of the mail address in a user id, `Project Releases <release@example.org>`.
pub fn mail_domain(user_id: &str) -> Option<String> {
    let user_id = UserID::from(user_id);
    let (_, domain) = user_id.email().ok()??.rsplit_once('@')?;
    Some(domain.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_that_cannot_be_exported_is_refused() {
        let vector = include_bytes!("../../tests/data/release/release.pgp");
        let certificate = Certificate::parse(vector).expect("the vector");
        assert_eq!(Certificate::parse(&certificate.binary()), Ok(certificate));
        // With another creation time it is another key, which signed nothing.
        let mut unsigned = vector.to_vec();
        unsigned[6] ^= 1;
        // The fingerprint of the issuer of a signature is one of version 128.
        let mut unknown = vector.to_vec();
        let issuer = unknown.windows(3).rposition(|it| it == [22, 33, 4]);
        unknown[issuer.expect("it") + 2] = 128;
        for changed in [unsigned, unknown] {
            let refused = Certificate::parse(&changed).expect_err("refused");
            let refused = refused.to_string();
            assert!(refused.contains("cannot be exported"), "{refused}");
        }
    }

    #[test]
    fn a_certificate_has_no_rsa_key_that_is_too_long_to_verify() {
        let of = |bytes| {
            let public = PublicKey::Rsa {
                n: vec![0x81; bytes],
                e: vec![1, 0, 1],
            };
            let key = key::primary_key(&public, Timestamp::from_unix(0)).expect("a key");
            let packets = std::iter::once(openpgp::Packet::from(key));
            Certificate::of(Cert::from_packets(packets).expect("a certificate"))
        };
        assert!(of(512).is_ok());
        let refused = of(640).expect_err("refused").to_string();
        assert!(refused.contains("has an rsa5120 key"), "{refused}");
    }
}
