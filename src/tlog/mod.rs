//! The formats of a transparency log (C2SP): what H publishes of its log, and anybody can verify.
//!
//! | module | format |
//! |---|---|
//! | [`note`] | signed notes and their keys, <https://c2sp.org/signed-note> |
//! | [`checkpoint`] | the state of a log, in a signed note, <https://c2sp.org/tlog-checkpoint> |
//! | [`proof`] | that an entry is in a log, in one file, <https://c2sp.org/tlog-proof> |
//! | [`tile`] | the log as files for any web server, <https://c2sp.org/tlog-tiles> |
//! | [`tree`] | the Merkle tree of them all, RFC 6962 |
//!
//! Input may come from L: sizes are bounded, and each value has one spelling. This module does no
//! I/O, and does not know what entries contain.

pub mod checkpoint;
pub mod note;
pub mod proof;
pub mod tile;
pub mod tree;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Decodes base64 (RFC 4648, section 4); `None` for any text that [`to_base64`] does not write.
fn from_base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

fn to_base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// A decimal number as these formats write it: no sign, no leading zeros, and at most 2^63 - 1, the
/// maximum in SQLite, Go and Java.
fn number(text: &str) -> Option<u64> {
    let number: i64 = text.parse().ok()?;
    (number.to_string() == text).then(|| u64::try_from(number).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_and_a_text_in_base64_have_one_spelling() {
        assert_eq!(
            (number("0"), number("9223372036854775807")),
            (Some(0), Some(i64::MAX as u64))
        );
        for wrong in [
            "",
            "-1",
            "-0",
            "+1",
            "01",
            "1 ",
            "1e3",
            "9223372036854775808",
        ] {
            assert_eq!(number(wrong), None, "{wrong}");
        }
        assert_eq!(from_base64("AAE=").as_deref(), Some(&[0, 1][..]));
        for wrong in ["AAE", "AAF=", "AAE=\n", "AA_=", "AAE==", " AAE="] {
            assert_eq!(from_base64(wrong), None, "{wrong:?}");
        }
    }
}
