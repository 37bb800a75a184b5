//! What makes each grant unique.

use std::fmt;
use std::str::FromStr;

use crate::domain::digest::as_text;
use crate::domain::malformed::Malformed;

/// 32 random bytes, in hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Nonce([u8; 32]);

impl Nonce {
    /// 32 bytes from the operating system.
    pub fn random() -> Self {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).expect("the operating system has random bytes");
        Self(bytes)
    }
}

impl FromStr for Nonce {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let mut bytes = [0; 32];
        let lower_case = !text.bytes().any(|b| b.is_ascii_uppercase());
        if lower_case && hex::decode_to_slice(text, &mut bytes).is_ok() {
            Ok(Self(bytes))
        } else {
            Err(Malformed::new(
                "the nonce is not 64 lower-case hexadecimal digits",
            ))
        }
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

as_text!(Nonce);
