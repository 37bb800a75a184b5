//! The Ed25519 keys of signed notes, as text.

use std::fmt;
use std::str::FromStr;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::domain::digest::as_text;
use crate::domain::malformed::Malformed;
use crate::tlog::{from_base64, to_base64};

/// The longest name of a key, in bytes.
const LONGEST_NAME: usize = 500;
/// The specification's number for Ed25519.
const ED25519: u8 = 1;
const SECRET: &str = "PRIVATE+KEY+";

/// The public half of a key for notes, written `NAME+ID+BASE64`.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: [u8; 4],
    key: VerifyingKey,
}

/// The secret half, written `PRIVATE+KEY+NAME+ID+BASE64`. Never shown; wiped when dropped.
pub struct SignerKey {
    name: String,
    key: SigningKey,
}

impl VerifierKey {
    /// Its name: for a log, the log's origin.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn id(&self) -> [u8; 4] {
        self.id
    }

    /// Strict: neither another spelling of a signature nor a point of small order is accepted.
    pub(super) fn verifies(&self, text: &str, signature: &[u8]) -> bool {
        Signature::from_slice(signature)
            .is_ok_and(|signature| self.key.verify_strict(text.as_bytes(), &signature).is_ok())
    }

    fn new(name: &str, key: VerifyingKey) -> Self {
        Self {
            name: name.to_owned(),
            id: id(name, &key),
            key,
        }
    }
}

fn id(name: &str, key: &VerifyingKey) -> [u8; 4] {
    let hash = Sha256::new_with_prefix(name)
        .chain_update([b'\n', ED25519])
        .chain_update(key.as_bytes())
        .finalize();
    [hash[0], hash[1], hash[2], hash[3]]
}

/// Whether a key can have this name.
pub(super) fn is_name(name: &str) -> bool {
    let bad = |c: char| c.is_whitespace() || c.is_control() || c == '+';
    (1..=LONGEST_NAME).contains(&name.len()) && !name.contains(bad)
}

fn not_a_key() -> Malformed {
    Malformed::new("the key is not of the form `NAME+ID+BASE64`")
}

fn bad_name() -> Malformed {
    Malformed::new(
        "the key's name is empty, too long, or has a space, a `+` or a control character",
    )
}

fn not_ed25519() -> Malformed {
    Malformed::new("the key is not an Ed25519 key")
}

fn other_id() -> Malformed {
    Malformed::new("the key's id does not match its name and its bytes")
}

fn not_a_point() -> Malformed {
    Malformed::new("the key is a point of small order, or not a point of the curve")
}

type KeyBytes = Zeroizing<[u8; 32]>;

/// The name, id and bytes in a key's text.
fn parts(text: &str) -> Result<(&str, [u8; 4], KeyBytes), Malformed> {
    let mut parts = text.splitn(3, '+');
    let (Some(name), Some(hex), Some(base64)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(not_a_key());
    };
    if !is_name(name) {
        return Err(bad_name());
    }
    let mut id = [0; 4];
    if hex.bytes().any(|b| b.is_ascii_uppercase()) || hex::decode_to_slice(hex, &mut id).is_err() {
        return Err(not_a_key());
    }
    let bytes = Zeroizing::new(from_base64(base64).ok_or_else(not_a_key)?);
    match bytes.split_first() {
        Some((&ED25519, key)) => Ok((
            name,
            id,
            Zeroizing::new(key.try_into().map_err(|_| not_a_key())?),
        )),
        Some(_) => Err(not_ed25519()),
        None => Err(not_a_key()),
    }
}

impl FromStr for VerifierKey {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let (name, id, bytes) = parts(text)?;
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| not_a_point())?;
        let key = Self::new(name, key);
        if key.id != id {
            return Err(other_id());
        }
        if key.key.is_weak() {
            return Err(not_a_point());
        }
        Ok(key)
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = to_base64(&[&[ED25519], &self.key.as_bytes()[..]].concat());
        write!(f, "{}+{}+{key}", self.name, hex::encode(self.id))
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

as_text!(VerifierKey);

impl SignerKey {
    /// A new key of this name, from the operating system's random bytes.
    pub fn generate(name: &str) -> Result<Self, Malformed> {
        if !is_name(name) {
            return Err(bad_name());
        }
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *seed).expect("the operating system has random bytes");
        Ok(Self {
            name: name.to_owned(),
            key: SigningKey::from_bytes(&seed),
        })
    }

    /// Reads a key.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let (name, id, seed) = parts(text.strip_prefix(SECRET).ok_or_else(not_a_key)?)?;
        let key = Self {
            name: name.to_owned(),
            key: SigningKey::from_bytes(&seed),
        };
        if key.public().id == id {
            Ok(key)
        } else {
            Err(other_id())
        }
    }

    /// The key as text.
    pub fn to_text(&self) -> Zeroizing<String> {
        let bytes = Zeroizing::new([&[ED25519], &self.key.as_bytes()[..]].concat());
        let base64 = Zeroizing::new(to_base64(&bytes));
        let id = hex::encode(self.public().id);
        Zeroizing::new([SECRET, &self.name, "+", &id, "+", &base64].concat())
    }

    /// Its public half.
    pub fn public(&self) -> VerifierKey {
        VerifierKey::new(&self.name, self.key.verifying_key())
    }

    /// The note of `text`, signed. The text is whole lines without control characters.
    pub fn sign(&self, text: &str) -> String {
        assert!(
            is_text(text) && text.ends_with('\n'),
            "a note is lines of text"
        );
        let signature = self.key.sign(text.as_bytes()).to_bytes();
        let signature = to_base64(&[&self.public().id[..], &signature].concat());
        format!("{text}\n\u{2014} {} {signature}\n", self.name)
    }
}

impl fmt::Debug for SignerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SignerKey")
    }
}

/// Whether a text has no control characters but line ends.
pub(super) fn is_text(text: &str) -> bool {
    !text.bytes().any(|b| b < 0x20 && b != b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    // A key pair of the tests of Go's golang.org/x/mod/sumdb/note.
    const PUBLIC: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const PRIVATE: &str =
        "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";

    #[test]
    fn a_key_with_anything_changed_is_refused() {
        let changed = |text: &str, at: usize| {
            let mut bytes = text.as_bytes().to_vec();
            bytes[at] += 1;
            String::from_utf8(bytes).expect("ASCII")
        };
        for at in 0..PUBLIC.len() {
            assert!(changed(PUBLIC, at).parse::<VerifierKey>().is_err(), "{at}");
            assert!(
                PUBLIC[..at].parse::<VerifierKey>().is_err()
                    && PUBLIC[at + 1..].parse::<VerifierKey>().is_err()
            );
        }
        for at in 0..PRIVATE.len() {
            assert!(SignerKey::parse(&changed(PRIVATE, at)).is_err(), "{at}");
        }
        // A different length and a different kind, with ids that match.
        let other = "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==";
        assert_eq!(other.parse::<VerifierKey>(), Err(not_a_key()));
        let other = "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
        assert_eq!(other.parse::<VerifierKey>(), Err(not_ed25519()));
        for name in ["", "a b", "a+b", "a\u{2003}b", "a\nb", &"a".repeat(501)] {
            assert!(SignerKey::generate(name).is_err(), "{name}");
        }
        // Anybody can sign for a point of small order.
        let weak = VerifyingKey::from_bytes(&[0; 32]).expect("a point");
        assert_eq!(
            VerifierKey::new("weak", weak)
                .to_string()
                .parse::<VerifierKey>(),
            Err(not_a_point())
        );
    }
}
