//! The only module that knows SSH keys: signatures made with `ssh-keygen -Y sign` (OpenSSH's
//! PROTOCOL.sshsig).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ssh_key::public::{EcdsaPublicKey, KeyData};
use ssh_key::{Algorithm, HashAlg, SshSig};

use crate::domain::key::{Curve, PublicKey as Numbers};

const BEGIN: &str = "-----BEGIN SSH SIGNATURE-----";
const END: &str = "-----END SSH SIGNATURE-----";
/// The one version of the format (PROTOCOL.sshsig).
const VERSION: u32 = 1;

/// Set by a FIDO key when its owner touched it (PROTOCOL.u2f).
const USER_PRESENT: u8 = 1;

/// An SSH public key: Ed25519, ECDSA (P-256, P-384), RSA from 2048 bits, and the FIDO kinds of the
/// first two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey(ssh_key::PublicKey);

/// One signature, not yet checked.
#[derive(Debug, Clone)]
pub struct Signature(SshSig);

/// A text that is not such a public key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSshKey {
    /// Not one line as in `id_ed25519.pub`.
    #[error("is not an SSH public key, as ssh-keygen writes it: {0}")]
    Malformed(String),
    /// A kind of key that is not taken.
    #[error(
        "is an SSH key of kind `{0}`; Ed25519, ECDSA (P-256, P-384), RSA from 2048 bits and their FIDO kinds are taken"
    )]
    Kind(String),
    /// A key that is everybody's.
    #[error("is a point of small order, for which anybody can make signatures")]
    SmallOrder,
}

/// Why a signature does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSshSignature {
    /// Not armour of one signature and nothing else.
    #[error("is not a signature as `ssh-keygen -Y sign` writes it: {0}")]
    Malformed(String),
    /// Its key makes no such signatures.
    #[error("is by a key of kind `{key}`, but says that it is of kind `{found}`")]
    Algorithm {
        /// The key's kind.
        key: String,
        /// What it says.
        found: String,
    },
    /// Made for something else: a mail, a commit, a login.
    #[error("is in the namespace `{found}`, not `{expected}`")]
    Namespace {
        /// The one it has.
        found: String,
        /// The one it should have.
        expected: &'static str,
    },
    /// Not by this key, or over other bytes.
    #[error("does not fit these bytes")]
    Mismatch,
    /// A FIDO key signed that nobody touched.
    #[error("was made by a FIDO key that nobody touched")]
    Untouched,
}

impl PublicKey {
    /// Reads one line of `id_ed25519.pub`. What its comment says counts for nothing.
    pub fn parse(line: &str) -> Result<Self, BadSshKey> {
        let mut key: ssh_key::PublicKey = line
            .trim()
            .parse()
            .map_err(|error: ssh_key::Error| BadSshKey::Malformed(error.to_string()))?;
        key.set_comment("");
        if numbers(&key).is_some_and(|numbers| numbers.is_of_small_order()) {
            return Err(BadSshKey::SmallOrder);
        }
        let taken = match key.algorithm() {
            Algorithm::Ed25519 | Algorithm::SkEd25519 | Algorithm::SkEcdsaSha2NistP256 => true,
            Algorithm::Ecdsa { curve } => curve != ssh_key::EcdsaCurve::NistP521,
            Algorithm::Rsa { .. } => {
                let modulus = key
                    .key_data()
                    .rsa()
                    .and_then(|rsa| rsa.n.as_positive_bytes());
                modulus.is_some_and(|modulus| modulus.len() >= 256)
            }
            _ => false,
        };
        if taken {
            Ok(Self(key))
        } else {
            Err(BadSshKey::Kind(key.algorithm().to_string()))
        }
    }
}

impl PublicKey {
    /// The numbers of the key; none for a FIDO key, whose secret nothing else can have.
    pub fn numbers(&self) -> Option<Numbers> {
        numbers(&self.0)
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
            let (n, e) = (key.n.as_positive_bytes()?, key.e.as_positive_bytes()?);
            Some(Numbers::Rsa {
                n: n.to_vec(),
                e: e.to_vec(),
            })
        }
        _ => None,
    }
}

impl fmt::Display for PublicKey {
    /// Its fingerprint, as `ssh-keygen -l` shows it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.fingerprint(HashAlg::Sha256))
    }
}

impl Signature {
    /// Whether bytes could be one, for whoever has to choose.
    pub fn is_likely(bytes: &[u8]) -> bool {
        bytes.starts_with(BEGIN.as_bytes())
    }

    /// Reads one. Nothing may stand around it.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadSshSignature> {
        let malformed = |reason: &str| BadSshSignature::Malformed(reason.to_owned());
        let signature = SshSig::from_pem(bytes).map_err(|error| malformed(&error.to_string()))?;
        if signature.version() != VERSION {
            return Err(malformed("it is of another version"));
        }
        if !signature.reserved().is_empty() {
            return Err(malformed("its reserved field is not empty"));
        }
        // One signature has one spelling, apart from the width of its lines. The library cannot be
        // asked to write it again: it does not write FIDO keys of P-256 as ssh-keygen does.
        let text: String = String::from_utf8_lossy(bytes).split('\n').collect();
        let base64 = text
            .strip_prefix(BEGIN)
            .and_then(|rest| rest.strip_suffix(END));
        match base64.is_some_and(|base64| STANDARD.decode(base64).is_ok()) {
            true => Ok(Self(signature)),
            false => Err(malformed("it is not written as ssh-keygen writes it")),
        }
    }

    /// Whether it says that this key made it.
    pub fn is_by(&self, key: &PublicKey) -> bool {
        self.0.public_key() == key.0.key_data()
    }

    /// The key that made it, by its own word: a fingerprint.
    pub fn issuer(&self) -> String {
        self.0.public_key().fingerprint(HashAlg::Sha256).to_string()
    }

    /// Checks that `key` made it over `message` in this namespace.
    pub fn check(
        &self,
        key: &PublicKey,
        namespace: &'static str,
        message: &[u8],
    ) -> Result<(), BadSshSignature> {
        if self.0.namespace() != namespace {
            let found = self.0.namespace().chars().take(60).collect();
            return Err(BadSshSignature::Namespace {
                found,
                expected: namespace,
            });
        }
        // What a signature says of its own algorithm nobody signed, and the library checks it with
        // the key under any name: what a FIDO key made could pass for a signature without flags.
        let (by, found) = (key.0.algorithm(), self.0.algorithm());
        let fits = match (&by, &found) {
            // A key of RSA makes signatures with more than one hash function.
            (Algorithm::Rsa { .. }, Algorithm::Rsa { hash: Some(_) }) => true,
            (by, found) => by == found,
        };
        if !fits {
            let found = found.to_string().chars().take(60).collect();
            return Err(BadSshSignature::Algorithm {
                key: by.to_string(),
                found,
            });
        }
        key.0
            .verify(namespace, message, &self.0)
            .map_err(|_| BadSshSignature::Mismatch)?;
        let by_fido = matches!(by, Algorithm::SkEd25519 | Algorithm::SkEcdsaSha2NistP256);
        // Behind the signature's own bytes stand the flags and a counter of four bytes.
        let flags = self
            .0
            .signature_bytes()
            .iter()
            .rev()
            .nth(4)
            .copied()
            .unwrap_or(0);
        match by_fido && flags & USER_PRESENT == 0 {
            true => Err(BadSshSignature::Untouched),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ssh_key::LineEnding;
    use ssh_key::private::{Ed25519Keypair, PrivateKey};
    use ssh_key::public::{KeyData, SkEd25519};

    const NAMESPACE: &str = "test";

    /// A FIDO key, and what it answers to a demand for a signature with these flags, under this
    /// name of an algorithm.
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
            Signature::parse(pem.as_bytes()).expect("a signature"),
        )
    }

    fn signed_by(key: &impl ssh_key::SigningKey, message: &[u8]) -> ssh_key::Signature {
        key.try_sign(message).expect("a signature")
    }

    #[test]
    fn a_fido_key_counts_when_it_was_touched() {
        let check =
            |(key, signature): (PublicKey, Signature)| signature.check(&key, NAMESPACE, b"grant");
        assert_eq!(check(fido(USER_PRESENT, Algorithm::SkEd25519)), Ok(()));
        assert_eq!(check(fido(USER_PRESENT | 4, Algorithm::SkEd25519)), Ok(()));
        assert_eq!(
            check(fido(4, Algorithm::SkEd25519)),
            Err(BadSshSignature::Untouched)
        );
        // The name of the algorithm is not signed: under another it is nobody's, touched or not.
        for flags in [0, USER_PRESENT] {
            let refused = check(fido(
                flags,
                Algorithm::Rsa {
                    hash: Some(HashAlg::Sha512),
                },
            ));
            assert!(
                matches!(refused, Err(BadSshSignature::Algorithm { .. })),
                "{refused:?}"
            );
        }
    }
}
