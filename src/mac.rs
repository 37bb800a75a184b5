//! The MAC scheme: a nonce that a builder and the signing host share, and HMAC-SHA256 (RFC 2104)
//! with it.

use std::fmt;

use hmac::{Hmac, Mac};
use zeroize::Zeroizing;

use crate::domain::digest::Sha256;
use crate::domain::malformed::Malformed;

/// The 32 bytes that one builder and the signing host share. Never shown; wiped when dropped.
#[derive(Clone)]
pub struct MacKey(Zeroizing<[u8; 32]>);

/// An HMAC-SHA256 from a file of 64 lower-case hexadecimal digits and a newline, not checked yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag([u8; 32]);

impl MacKey {
    /// 32 bytes from the operating system.
    pub fn generate() -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *bytes).expect("the operating system has random bytes");
        Self(bytes)
    }

    /// Reads what [`MacKey::to_line`] wrote.
    pub fn parse(line: &[u8]) -> Result<Self, Malformed> {
        let mut bytes = Zeroizing::new([0; 32]);
        decode(line, &mut bytes).ok_or_else(|| {
            Malformed::new("the nonce is not 64 lower-case hexadecimal digits and a newline")
        })?;
        Ok(Self(bytes))
    }

    /// 64 hexadecimal digits and a newline.
    pub fn to_line(&self) -> Zeroizing<Vec<u8>> {
        let mut line = Zeroizing::new(vec![b'\n'; 65]);
        hex::encode_to_slice(*self.0, &mut line[..64]).expect("64 digits for 32 bytes");
        line
    }

    /// Its SHA-256, which the grant has: 32 random bytes cannot be found from it.
    pub fn commitment(&self) -> Sha256 {
        Sha256::of(&*self.0)
    }

    /// The MAC of `message`, as the text of its file.
    pub fn tag(&self, message: &[u8]) -> String {
        format!(
            "{}\n",
            hex::encode(self.mac(message).finalize().into_bytes())
        )
    }

    /// Checks that `tag` is the MAC of `message`, in constant time. Errors call the message `what`.
    pub fn check(&self, tag: &Tag, message: &[u8], what: &str) -> Result<(), Malformed> {
        self.mac(message)
            .verify_slice(&tag.0)
            .map_err(|_| Malformed::new(format!("the MAC does not match {what}")))
    }

    fn mac(&self, message: &[u8]) -> Hmac<sha2::Sha256> {
        let mut mac = Hmac::new_from_slice(&*self.0).expect("HMAC takes any key");
        mac.update(message);
        mac
    }
}

impl fmt::Debug for MacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MacKey")
    }
}

impl Tag {
    /// Reads a MAC's file.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut tag = [0; 32];
        decode(bytes, &mut tag).ok_or_else(|| {
            Malformed::new("the MAC is not 64 lower-case hexadecimal digits and a newline")
        })?;
        Ok(Self(tag))
    }
}

fn decode(line: &[u8], into: &mut [u8; 32]) -> Option<()> {
    let digits = line.strip_suffix(b"\n")?;
    let lower = !digits.iter().any(u8::is_ascii_uppercase);
    hex::decode_to_slice(digits, into).ok().filter(|()| lower)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn macs_match_the_published_vectors() {
        // RFC 4231, test case 2, has a shorter key, which HMAC pads with zeros.
        let mut key = [0; 32];
        key[..4].copy_from_slice(b"Jefe");
        let tag = MacKey(Zeroizing::new(key)).tag(b"what do ya want for nothing?");
        assert_eq!(
            tag,
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843\n"
        );
    }

    #[test]
    fn a_mac_matches_its_message_and_key_alone() {
        let key = MacKey::generate();
        let other = MacKey::generate();
        let tag = Tag::parse(key.tag(b"message").as_bytes()).expect("a MAC");
        let mismatch = Malformed::new("the MAC does not match it");
        assert_eq!(key.check(&tag, b"message", "it"), Ok(()));
        assert_eq!(key.check(&tag, b"massage", "it"), Err(mismatch.clone()));
        assert_eq!(other.check(&tag, b"message", "it"), Err(mismatch));
        let again = MacKey::parse(&key.to_line()).expect("a nonce");
        assert_eq!(
            (again.check(&tag, b"message", "it"), again.commitment()),
            (Ok(()), key.commitment())
        );
        assert_eq!(format!("{key:?}"), "MacKey");
    }

    #[test]
    fn a_mac_has_one_spelling() {
        let right = MacKey::generate().tag(b"message");
        assert!(Tag::parse(right.as_bytes()).is_ok());
        for wrong in [
            &right[..64],
            &right[1..],
            &right[..32],
            &format!("{right}\n"),
            &format!("{right}x"),
            &format!("0{right}"),
            &right.replace('\n', "\r\n"),
            &format!("sha256 {right}"),
            &"A".repeat(64),
            "\n",
            "",
        ] {
            let refused = Tag::parse(wrong.as_bytes()).expect_err(wrong).to_string();
            assert!(refused.starts_with("the MAC is not 64"), "{wrong:?}");
        }
        let refused = MacKey::parse(b"secret").expect_err("refused").to_string();
        assert!(refused.starts_with("the nonce is not 64"), "{refused}");
    }
}
