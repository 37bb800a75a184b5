//! Digests and the ids made of them.

use std::fmt;
use std::str::FromStr;

use sha2::Digest as _;

use super::malformed::Malformed;
use super::text::cut;

/// A SHA-256 digest (FIPS 180-4), written as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sha256([u8; 32]);

impl Sha256 {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// The digest with these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Sha256 {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let mut bytes = [0; 32];
        let lower_case = !text.bytes().any(|b| b.is_ascii_uppercase());
        if lower_case && hex::decode_to_slice(text, &mut bytes).is_ok() {
            Ok(Self(bytes))
        } else {
            Err(not_a_digest(text, ""))
        }
    }
}

/// The id of a grant: the SHA-256 of its bytes, written `sha256:<hex>`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GrantId(Sha256);

impl GrantId {
    /// The id of the grant with these bytes.
    pub fn of(grant: &[u8]) -> Self {
        Self(Sha256::of(grant))
    }

    /// The first twelve hexadecimal digits, for people.
    pub fn short(&self) -> String {
        self.0.to_string()[..12].to_owned()
    }

    /// The SHA-256 of the grant's bytes.
    pub fn sha256(&self) -> Sha256 {
        self.0
    }

    /// The 64 hexadecimal digits without the `sha256:` in front.
    pub fn hex(&self) -> String {
        self.0.to_string()
    }
}

impl fmt::Display for GrantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.0)
    }
}

impl fmt::Debug for GrantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for GrantId {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let digest = text.strip_prefix("sha256:").map(str::parse);
        digest
            .and_then(Result::ok)
            .map(Self)
            .ok_or_else(|| not_a_digest(text, "`sha256:` and "))
    }
}

fn not_a_digest(text: &str, prefix: &str) -> Malformed {
    let text = cut(text, 80);
    Malformed::new(format!(
        "`{text}` is not a SHA-256 digest in {prefix}64 lower-case hexadecimal digits"
    ))
}

macro_rules! as_text {
    ($($name:ty),*) => {$(
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                <String as serde::Deserialize>::deserialize(from)?
                    .parse()
                    .map_err(serde::de::Error::custom)
            }
        }
    )*};
}
pub(crate) use as_text;
as_text!(Sha256, GrantId);

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn the_digest_of_nothing_is_the_published_one() {
        assert_eq!(Sha256::of(b"").to_string(), EMPTY);
        assert_eq!(GrantId::of(b"").to_string(), format!("sha256:{EMPTY}"));
    }

    #[test]
    fn a_digest_has_one_spelling() {
        assert!(EMPTY.parse::<Sha256>().is_ok());
        for wrong in [
            EMPTY.to_uppercase(),
            EMPTY[1..].to_owned(),
            format!("{EMPTY}0"),
            format!(" {EMPTY}"),
            String::new(),
        ] {
            assert!(wrong.parse::<Sha256>().is_err(), "{wrong}");
        }
        assert!(EMPTY.parse::<GrantId>().is_err());
        assert!(format!("SHA256:{EMPTY}").parse::<GrantId>().is_err());
    }
}
