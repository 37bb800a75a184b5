//! Keys and signatures as a token knows them: numbers, without OpenPGP packets.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::digest::as_text;
use super::malformed::Malformed;
use super::text::cut;

/// A hash function that a release signature may use (RFC 9580, section 9.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HashAlgorithm {
    /// SHA-256
    Sha256,
    /// SHA-384
    Sha384,
    /// SHA-512
    Sha512,
}

impl HashAlgorithm {
    /// Bytes in a digest.
    pub const fn size(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }
}

/// The digest of a message, which a token signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageDigest {
    /// The function that made it.
    pub algorithm: HashAlgorithm,
    /// Its value, [`HashAlgorithm::size`] bytes.
    pub bytes: Vec<u8>,
}

/// A NIST curve (FIPS 186-4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Curve {
    /// NIST P-256
    P256,
    /// NIST P-384
    P384,
    /// NIST P-521
    P521,
}

impl Curve {
    /// Bytes in a coordinate, and in each half of a signature.
    pub const fn field_size(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }
}

/// The public half of a key on a token. Integers are big-endian without leading zeros; a point is
/// uncompressed (SEC 1: `04 ‖ x ‖ y`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublicKey {
    /// RSA: modulus and public exponent.
    Rsa {
        /// Modulus.
        n: Vec<u8>,
        /// Public exponent.
        e: Vec<u8>,
    },
    /// ECDSA over a NIST curve.
    Ecdsa {
        /// The curve.
        curve: Curve,
        /// The point, uncompressed.
        point: Vec<u8>,
    },
    /// Ed25519 (RFC 8032): the encoded point.
    Ed25519([u8; 32]),
}

/// The points of Ed25519 of small order, in every encoding that decodes, without the sign in the
/// last bit: the list of libsodium (`ge25519_has_small_order`). Anybody can make signatures for a
/// key that is one of them.
const SMALL_ORDER: [&str; 7] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

/// The longest RSA modulus, in bits: the libraries that verify here accept no longer one.
pub const LONGEST_RSA: usize = 4096;

impl PublicKey {
    /// Whether it is longer than anybody here can use: an RSA key of more than [`LONGEST_RSA`]
    /// bits.
    pub fn is_too_long(&self) -> bool {
        match self {
            Self::Rsa { n, .. } => bits(n) > LONGEST_RSA,
            Self::Ecdsa { .. } | Self::Ed25519(_) => false,
        }
    }

    /// Whether anybody can make signatures for it: an Ed25519 point of small order.
    pub fn is_of_small_order(&self) -> bool {
        let Self::Ed25519(point) = self else {
            return false;
        };
        let mut unsigned = *point;
        unsigned[31] &= 0x7f;
        SMALL_ORDER.contains(&hex::encode(unsigned).as_str())
    }

    /// Whether both keys have the same secret.
    pub fn is_one_with(&self, other: &Self) -> bool {
        match (self, other) {
            // The factors of the modulus give the secret for any exponent.
            (Self::Rsa { n: ours, .. }, Self::Rsa { n: theirs, .. }) => ours == theirs,
            (ours, theirs) => ours == theirs,
        }
    }

    /// The shortest hash function that verifiers accept: gpgv requires SHA-384 for P-384 and
    /// SHA-512 for P-521.
    pub fn least_hash(&self) -> HashAlgorithm {
        match self {
            Self::Ecdsa {
                curve: Curve::P384, ..
            } => HashAlgorithm::Sha384,
            Self::Ecdsa {
                curve: Curve::P521, ..
            } => HashAlgorithm::Sha512,
            Self::Rsa { .. }
            | Self::Ed25519(_)
            | Self::Ecdsa {
                curve: Curve::P256, ..
            } => HashAlgorithm::Sha256,
        }
    }

    /// Its name for people: `rsa4096`, `p256`, `ed25519`.
    pub fn algorithm(&self) -> String {
        match self {
            Self::Rsa { n, .. } => format!("rsa{}", bits(n)),
            Self::Ecdsa {
                curve: Curve::P256, ..
            } => "p256".into(),
            Self::Ecdsa {
                curve: Curve::P384, ..
            } => "p384".into(),
            Self::Ecdsa {
                curve: Curve::P521, ..
            } => "p521".into(),
            Self::Ed25519(_) => "ed25519".into(),
        }
    }
}

fn bits(number: &[u8]) -> usize {
    let significant = number
        .iter()
        .position(|b| *b != 0)
        .map_or(&[][..], |first| &number[first..]);
    significant.first().map_or(0, |first| {
        significant.len() * 8 - first.leading_zeros() as usize
    })
}

/// A signature from the token. Each number is big-endian and of the full width of its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RawSignature {
    /// RSA PKCS#1 v1.5.
    Rsa(Vec<u8>),
    /// ECDSA.
    Ecdsa {
        /// r
        r: Vec<u8>,
        /// s
        s: Vec<u8>,
    },
    /// Ed25519: `R ‖ S`.
    Ed25519([u8; 64]),
}

/// A kind of key that can be generated on a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// Ed25519
    Ed25519,
    /// ECDSA over NIST P-256
    P256,
    /// ECDSA over NIST P-384
    P384,
    /// ECDSA over NIST P-521
    P521,
    /// RSA with a modulus of 2048 bits
    Rsa2048,
    /// RSA with a modulus of 3072 bits
    Rsa3072,
    /// RSA with a modulus of 4096 bits
    Rsa4096,
}

impl KeyKind {
    /// Each kind, in the order of the help.
    pub const ALL: [Self; 7] = [
        Self::Ed25519,
        Self::P256,
        Self::P384,
        Self::P521,
        Self::Rsa2048,
        Self::Rsa3072,
        Self::Rsa4096,
    ];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => "ed25519",
            Self::P256 => "p256",
            Self::P384 => "p384",
            Self::P521 => "p521",
            Self::Rsa2048 => "rsa2048",
            Self::Rsa3072 => "rsa3072",
            Self::Rsa4096 => "rsa4096",
        }
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The fingerprint of an OpenPGP v4 key (RFC 9580, section 5.5.4.2), written as 40 upper-case
/// hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 20]);

impl Fingerprint {
    /// The fingerprint with these bytes.
    pub const fn from_bytes(bytes: [u8; 20]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn bytes(self) -> [u8; 20] {
        self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode_upper(self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Fingerprint {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let mut bytes = [0; 20];
        let upper_case = !text.bytes().any(|b| b.is_ascii_lowercase());
        if upper_case && hex::decode_to_slice(text, &mut bytes).is_ok() {
            return Ok(Self(bytes));
        }
        let text = cut(text, 60);
        Err(Malformed::new(format!(
            "`{text}` is not the fingerprint of an OpenPGP v4 key \
             in 40 upper-case hexadecimal digits"
        )))
    }
}

as_text!(Fingerprint);

/// Each pair of them, once: to find two that have the same key.
pub fn pairs<T>(all: &[T]) -> impl Iterator<Item = (&T, &T)> {
    all.iter()
        .enumerate()
        .flat_map(|(at, first)| all[at + 1..].iter().map(move |second| (first, second)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_rsa_key_is_named_after_its_modulus() {
        let named = |n: Vec<u8>| {
            PublicKey::Rsa {
                n,
                e: vec![1, 0, 1],
            }
            .algorithm()
        };
        assert_eq!(named([vec![0x80], vec![0; 255]].concat()), "rsa2048");
        assert_eq!(named([vec![0, 0x80], vec![0; 255]].concat()), "rsa2048");
        assert_eq!(named([vec![0x7f], vec![0; 255]].concat()), "rsa2047");
        assert_eq!(named(vec![0]), "rsa0");
    }
}
