//! The only module that knows SSH keys, and whose a signature is.

use std::fmt;

use ssh_key::public::{EcdsaPublicKey, KeyData};
use ssh_key::{Algorithm, HashAlg, SshSig};

use super::{Blob, malformed};
use crate::domain::key::{Curve, LONGEST_RSA, PublicKey as Numbers};
use crate::domain::malformed::Malformed;
use crate::domain::text::cut;

/// The flag of a FIDO key that was touched (PROTOCOL.u2f).
const USER_PRESENT: u8 = 1;

/// An SSH public key: Ed25519, ECDSA (P-256, P-384), RSA of 2048 to 4096 bits, and the FIDO kinds
/// of the first two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey(ssh_key::PublicKey);

/// One signature, not yet checked.
#[derive(Debug, Clone)]
pub struct Signature(SshSig);

/// Why a signature is not valid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSshSignature {
    /// Not a signature of this key, namespace and message.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// Nobody touched the FIDO key.
    #[error("the signature was made by a FIDO key that nobody touched")]
    Untouched,
}

impl PublicKey {
    /// Reads one line of `id_ed25519.pub`, and drops its comment.
    pub fn parse(line: &str) -> Result<Self, Malformed> {
        let line = line.trim();
        if line.contains(char::is_control) {
            return Err(Malformed::new("an SSH public key is one line"));
        }
        let mut key: ssh_key::PublicKey = line.parse().map_err(|error: ssh_key::Error| {
            Malformed::new(format!(
                "the key is not an SSH public key, as ssh-keygen writes it: {error}"
            ))
        })?;
        key.set_comment("");
        if numbers(&key).is_some_and(|numbers| numbers.is_of_small_order()) {
            return Err(Malformed::new(
                "the SSH key is a point of small order, for which anybody can make signatures",
            ));
        }
        if is_supported(&key) {
            return Ok(Self(key));
        }
        let kind = key.algorithm();
        Err(Malformed::new(format!(
            "the key is an SSH key of kind `{kind}`; expected Ed25519, ECDSA (P-256, P-384), RSA \
             of 2048 to {LONGEST_RSA} bits, or a FIDO kind of the first two"
        )))
    }

    /// The numbers of the key; `None` for a FIDO key, whose secret no other key can have.
    pub fn numbers(&self) -> Option<Numbers> {
        numbers(&self.0)
    }
}

fn is_supported(key: &ssh_key::PublicKey) -> bool {
    match key.algorithm() {
        Algorithm::Ed25519 | Algorithm::SkEd25519 | Algorithm::SkEcdsaSha2NistP256 => true,
        Algorithm::Ecdsa { curve } => curve != ssh_key::EcdsaCurve::NistP521,
        Algorithm::Rsa { .. } => {
            let rsa = key.key_data().rsa();
            rsa.and_then(|rsa| rsa.n.as_positive_bytes())
                .is_some_and(|modulus| (256..=LONGEST_RSA / 8).contains(&modulus.len()))
        }
        _ => false,
    }
}

fn numbers(key: &ssh_key::PublicKey) -> Option<Numbers> {
    match key.key_data() {
        KeyData::Ed25519(key) => Some(Numbers::Ed25519(key.0)),
        KeyData::Ecdsa(EcdsaPublicKey::NistP256(point)) => Some(Numbers::Ecdsa {
            curve: Curve::P256,
            point: point.as_bytes().to_vec(),
        }),
        KeyData::Ecdsa(EcdsaPublicKey::NistP384(point)) => Some(Numbers::Ecdsa {
            curve: Curve::P384,
            point: point.as_bytes().to_vec(),
        }),
        KeyData::Rsa(key) => {
            let n = key.n.as_positive_bytes()?.to_vec();
            let e = key.e.as_positive_bytes()?.to_vec();
            Some(Numbers::Rsa { n, e })
        }
        _ => None,
    }
}

impl PublicKey {
    fn is_fido(&self) -> bool {
        matches!(
            self.0.algorithm(),
            Algorithm::SkEd25519 | Algorithm::SkEcdsaSha2NistP256
        )
    }
}

impl fmt::Display for PublicKey {
    /// Its fingerprint, as `ssh-keygen -l` shows it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.fingerprint(HashAlg::Sha256))
    }
}

impl Signature {
    /// Reads one signature.
    pub fn parse(blob: &Blob) -> Result<Self, BadSshSignature> {
        let signature = SshSig::from_pem(blob.to_armour());
        let signature = signature.map_err(|error| malformed(&error.to_string()))?;
        Ok(Self(signature))
    }

    /// Whether it names this key as its maker.
    pub fn is_by(&self, key: &PublicKey) -> bool {
        self.0.public_key() == key.0.key_data()
    }

    /// The fingerprint of the key that it names as its maker.
    pub fn issuer(&self) -> String {
        self.0.public_key().fingerprint(HashAlg::Sha256).to_string()
    }

    /// Checks that `key` made it over `message` in this namespace.
    pub fn check(
        &self,
        key: &PublicKey,
        namespace: &str,
        message: &[u8],
    ) -> Result<(), BadSshSignature> {
        let found = self.0.namespace();
        if found != namespace {
            let found = cut(found, 60);
            return Err(BadSshSignature::Malformed(Malformed::new(format!(
                "the signature is in the namespace `{found}`, not `{namespace}`"
            ))));
        }
        self.check_algorithm(key)?;
        key.0.verify(namespace, message, &self.0).map_err(|_| {
            Malformed::new("the signature does not match the signed text or its key")
        })?;
        if key.is_fido() && self.flags() & USER_PRESENT == 0 {
            return Err(BadSshSignature::Untouched);
        }
        Ok(())
    }

    /// Nothing signs the name of the algorithm, and the library accepts the key under any name: a
    /// FIDO key's signature could pass for one without flags.
    fn check_algorithm(&self, key: &PublicKey) -> Result<(), Malformed> {
        let expected = key.0.algorithm();
        let found = self.0.algorithm();
        let matches = match (&expected, &found) {
            // An RSA key makes signatures with more than one hash function.
            (Algorithm::Rsa { .. }, Algorithm::Rsa { hash: Some(_) }) => true,
            (expected, found) => expected == found,
        };
        if matches {
            return Ok(());
        }
        let found = cut(found.as_str(), 60);
        Err(Malformed::new(format!(
            "the signature is of kind `{found}`, but its key is of kind `{expected}`"
        )))
    }

    /// The flags of a FIDO signature: the byte before the counter, which is the last four.
    fn flags(&self) -> u8 {
        let bytes = self.0.signature_bytes();
        bytes.iter().rev().nth(4).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ssh_key::LineEnding;
    use ssh_key::private::{Ed25519Keypair, PrivateKey};
    use ssh_key::public::{KeyData, SkEd25519};

    const NAMESPACE: &str = "test";

    /// A FIDO key and its signature with these flags, under this name of an algorithm.
    fn fido(flags: u8, algorithm: Algorithm) -> (PublicKey, Signature) {
        let pair = Ed25519Keypair::from_seed(&[7; 32]);
        let key = KeyData::SkEd25519(SkEd25519::new(pair.public, "ssh:"));
        let message = SshSig::signed_data(NAMESPACE, HashAlg::Sha512, b"grant").expect("a message");
        let flags_and_counter = [flags, 0, 0, 0, 1];
        let signed = [
            &HashAlg::Sha256.digest(b"ssh:"),
            &flags_and_counter[..],
            &HashAlg::Sha256.digest(&message),
        ];
        let answer = signed_by(&PrivateKey::from(pair), &signed.concat());
        let bytes = [answer.as_bytes(), &flags_and_counter].concat();
        let signature = ssh_key::Signature::new(algorithm, bytes).expect("a signature");
        let signature =
            SshSig::new(key.clone(), NAMESPACE, HashAlg::Sha512, signature).expect("a signature");
        let line = ssh_key::PublicKey::new(key, "")
            .to_openssh()
            .expect("a line");
        let pem = signature.to_pem(LineEnding::LF).expect("armour");
        (
            PublicKey::parse(&line).expect("a key"),
            Signature::parse(&Blob::parse(pem.as_bytes()).expect("armour")).expect("a signature"),
        )
    }

    fn signed_by(key: &impl ssh_key::SigningKey, message: &[u8]) -> ssh_key::Signature {
        key.try_sign(message).expect("a signature")
    }

    #[test]
    fn a_key_is_one_line() {
        let line = |seed| {
            let pair = Ed25519Keypair::from_seed(&[seed; 32]);
            let key = ssh_key::PublicKey::new(KeyData::Ed25519(pair.public), "bob");
            key.to_openssh().expect("a line")
        };
        let (one, other) = (line(1), line(2));
        assert!(PublicKey::parse(&format!("{one}\n")).is_ok());
        for two in [format!("{one}\n{other}"), format!("{one}\r{other}")] {
            let refused = PublicKey::parse(&two).expect_err("two").to_string();
            assert_eq!(refused, "an SSH public key is one line");
        }
    }

    #[test]
    fn a_fido_key_must_be_touched() {
        let check =
            |(key, signature): (PublicKey, Signature)| signature.check(&key, NAMESPACE, b"grant");
        assert_eq!(check(fido(USER_PRESENT, Algorithm::SkEd25519)), Ok(()));
        assert_eq!(check(fido(USER_PRESENT | 4, Algorithm::SkEd25519)), Ok(()));
        assert_eq!(
            check(fido(4, Algorithm::SkEd25519)),
            Err(BadSshSignature::Untouched)
        );
        // The name of the algorithm is not signed: a signature under another one is refused.
        for flags in [0, USER_PRESENT] {
            let refused = check(fido(
                flags,
                Algorithm::Rsa {
                    hash: Some(HashAlg::Sha512),
                },
            ));
            let refused = refused.expect_err("of another kind").to_string();
            assert!(
                refused.starts_with("the signature is of kind `rsa-sha2-512`"),
                "{refused}"
            );
        }
    }
}
