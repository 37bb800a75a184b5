//! The framing of a signature's packet (RFC 9580, section 4.2), which nobody signed: it is accepted
//! in each form that has a length, and kept in one.

use sequoia_openpgp as openpgp;

use openpgp::packet::Tag;

use crate::domain::malformed::Malformed;

/// The body of the one packet in `bytes`, a signature. gpg writes its header in the old format.
pub(super) fn signature_body(bytes: &[u8]) -> Result<&[u8], Malformed> {
    let (tag, length, rest) = header(bytes).map_err(not_a_signature)?;
    let (body, behind) = rest
        .split_at_checked(length)
        .ok_or_else(|| not_a_signature("it ends early"))?;
    let found = match behind {
        [] if tag == Tag::Signature => return Ok(body),
        [] => format!("a packet of type `{tag}`"),
        behind if is_packet(behind) => "several packets".to_owned(),
        _ => "one with other bytes behind it".to_owned(),
    };
    Err(Malformed::new(format!(
        "expected one detached signature, found {found}"
    )))
}

/// Whether these bytes begin a packet: the first bit is set, which it never is in armour.
pub(super) fn is_packet(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|byte| byte & 0x80 != 0)
}

pub(super) fn not_a_signature(reason: &str) -> Malformed {
    Malformed::new(format!("the file is not an OpenPGP signature: {reason}"))
}

/// Type and length of the first packet, and what follows its header.
fn header(bytes: &[u8]) -> Result<(Tag, usize, &[u8]), &'static str> {
    let (&first, rest) = bytes
        .split_first()
        .filter(|_| is_packet(bytes))
        .ok_or("it does not begin with a packet")?;
    let is_new = first & 0x40 != 0;
    let tag = if is_new {
        first & 0x3f
    } else {
        first >> 2 & 0x0f
    };
    let length = match (is_new, first & 3, rest) {
        (true, _, [0..=191, ..]) | (false, 0, _) => number(rest, 1),
        (true, _, [192..=223, ..]) => {
            number(rest, 2).map(|(value, rest)| (value - (192 << 8) + 192, rest))
        }
        (true, _, [255, rest @ ..]) => number(rest, 4),
        (true, _, [_, ..]) => return Err("its length is in parts"),
        (true, _, []) => None,
        (false, 1, _) => number(rest, 2),
        (false, 2, _) => number(rest, 4),
        (false, _, _) => return Err("it has no length"),
    };
    let (length, rest) = length.ok_or("it ends early")?;
    Ok((Tag::from(tag), length, rest))
}

/// The number in the first `width` bytes, and what follows them.
fn number(bytes: &[u8], width: usize) -> Option<(usize, &[u8])> {
    let (number, rest) = bytes.split_at_checked(width)?;
    let value = number
        .iter()
        .fold(0, |value, byte| value << 8 | usize::from(*byte));
    Some((value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_header_with_a_length_has_the_same_body() {
        let short = [7; 100];
        let long = [7; 300];
        for (header, body) in [
            (&[0xc2, 100][..], &short[..]),
            (&[0xc2, 255, 0, 0, 0, 100], &short),
            (&[0x88, 100], &short),
            (&[0x89, 0, 100], &short),
            (&[0x8a, 0, 0, 0, 100], &short),
            (&[0xc2, 192, 108], &long),
            (&[0xc2, 255, 0, 0, 1, 44], &long),
            (&[0x89, 1, 44], &long),
        ] {
            let packet = [header, body].concat();
            assert_eq!(signature_body(&packet), Ok(body), "{header:02x?}");
            for length in 0..packet.len() {
                assert!(signature_body(&packet[..length]).is_err());
            }
        }
    }

    #[test]
    fn what_is_not_one_signature_is_refused() {
        for (bytes, reason) in [
            (&b"-----BEGIN PGP SIGNATURE-----"[..], "begin with a packet"),
            (&[0x8b, 1, 2], "it has no length"),
            (&[0xc2, 224, 1, 1, 2], "its length is in parts"),
            (&[0xc2, 255, 255, 255, 255, 255], "it ends early"),
            (&[0xcb, 1, 2], "a packet of type `Literal Data Packet`"),
            (&[0xc2, 1, 2, 0xc2, 1, 2], "several packets"),
            (&[0xc2, 1, 2, 0], "other bytes behind it"),
        ] {
            let refused = signature_body(bytes).expect_err(reason).to_string();
            assert!(refused.contains(reason), "{refused}");
        }
    }
}
