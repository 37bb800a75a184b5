//! The attributes of a token URI, and their percent-encoding (RFC 3986 and RFC 7512).

use crate::domain::malformed::Malformed;
use crate::token::pin_source::PinSource;

/// The name and the value of `name=value`.
pub(super) fn name_and_value(attribute: &str) -> Result<(&str, &str), Malformed> {
    attribute.split_once('=').ok_or_else(|| {
        // Up to the first character that a name cannot have: a PIN could follow.
        let end = attribute
            .find(|c: char| !c.is_alphanumeric() && c != '-')
            .unwrap_or(attribute.len());
        let name = shown(&attribute[..end]);
        Malformed::new(format!("`{name}` is not of the form `name=value`"))
    })
}

/// Fills `slot`, which must still be empty.
pub(super) fn once<T>(
    name: &'static str,
    slot: &mut Option<T>,
    value: impl FnOnce() -> Result<T, Malformed>,
) -> Result<(), Malformed> {
    if slot.is_some() {
        return Err(Malformed::new(format!("attribute `{name}` is given twice")));
    }
    *slot = Some(value()?);
    Ok(())
}

pub(super) fn path_text(name: &'static str, value: &str) -> Result<String, Malformed> {
    utf8(name, decoded(name, value, is_path_character)?)
}

pub(super) fn query_text(name: &'static str, value: &str) -> Result<String, Malformed> {
    utf8(name, decoded(name, value, is_query_character)?)
}

pub(super) fn path_bytes(name: &'static str, value: &str) -> Result<Vec<u8>, Malformed> {
    decoded(name, value, is_path_character)
}

pub(super) fn number(name: &'static str, value: &str) -> Result<u64, Malformed> {
    // `parse` alone would accept a sign.
    let digits = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
    let parsed = digits.then(|| value.parse().ok()).flatten();
    parsed.ok_or_else(|| bad_value(name, "is not a decimal number"))
}

pub(super) fn pin_source(name: &'static str, value: &str) -> Result<PinSource, Malformed> {
    query_text(name, value)?
        .parse()
        .map_err(|error: Malformed| error.within(format!("`{name}`")))
}

pub(super) fn bad_value(name: &str, reason: &str) -> Malformed {
    Malformed::new(format!("value of `{name}` {reason}"))
}

pub(super) fn unknown(place: &str, name: &str) -> Malformed {
    Malformed::new(format!("unknown {place} attribute `{}`", shown(name)))
}

pub(super) fn unsupported(name: &str, reason: &str) -> Malformed {
    Malformed::new(format!("attribute `{name}` is not supported: {reason}"))
}

/// The error for a PIN in a URI.
pub(super) fn pin_value() -> Malformed {
    unsupported(
        "pin-value",
        "a PIN in a URI would be in the shell's history and in the list of processes; \
         use `pin-source`",
    )
}

/// The beginning of a text that was refused, without control characters.
pub(super) fn shown(text: &str) -> String {
    let plain = |c: char| {
        if c.is_control() {
            char::REPLACEMENT_CHARACTER
        } else {
            c
        }
    };
    text.chars().take(40).map(plain).collect()
}

/// The attributes that have a value, as `name=value`.
pub(super) fn joined<const N: usize>(
    attributes: [(&str, Option<String>); N],
    separator: &str,
) -> String {
    let given = attributes
        .into_iter()
        .filter_map(|(name, value)| value.map(|value| format!("{name}={value}")));
    given.collect::<Vec<_>>().join(separator)
}

pub(super) fn in_path(text: &str) -> String {
    encoded(text.as_bytes(), is_path_character)
}

pub(super) fn in_query(text: &str) -> String {
    encoded(text.as_bytes(), is_query_character)
}

/// Every byte encoded, as RFC 7512 recommends for an id.
pub(super) fn all_encoded(bytes: &[u8]) -> String {
    encoded(bytes, |_| false)
}

fn utf8(name: &'static str, bytes: Vec<u8>) -> Result<String, Malformed> {
    let text = String::from_utf8(bytes).map_err(|_| bad_value(name, "is not UTF-8"))?;
    if text.contains('\0') {
        return Err(bad_value(name, "contains a NUL"));
    }
    Ok(text)
}

/// Reverses the percent-encoding (RFC 3986, section 2.1).
fn decoded(name: &'static str, value: &str, allowed: fn(u8) -> bool) -> Result<Vec<u8>, Malformed> {
    if value.is_empty() {
        return Err(bad_value(name, "is empty"));
    }
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        if first == b'%' {
            let byte = after.get(..2).and_then(hex_byte);
            bytes.push(
                byte.ok_or_else(|| bad_value(name, "has a `%` without two hexadecimal digits"))?,
            );
            rest = &after[2..];
        } else if allowed(first) {
            bytes.push(first);
            rest = after;
        } else {
            return Err(bad_value(
                name,
                "has a character that must be percent-encoded",
            ));
        }
    }
    Ok(bytes)
}

fn hex_byte(digits: &[u8]) -> Option<u8> {
    let mut byte = [0];
    hex::decode_to_slice(digits, &mut byte).ok()?;
    Some(byte[0])
}

fn encoded(bytes: &[u8], allowed: fn(u8) -> bool) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        // An `=` in a value could make it look like an attribute.
        if allowed(byte) && byte != b'=' {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

/// `unreserved` of RFC 3986, and `pk11-res-avail` of RFC 7512, section 2.3.
fn is_unencoded(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~:[]@!$'()*+,=".contains(&byte)
}

/// `pk11-pchar` of RFC 7512, section 2.3.
fn is_path_character(byte: u8) -> bool {
    is_unencoded(byte) || byte == b'&'
}

/// `pk11-qchar` of RFC 7512, section 2.3.
fn is_query_character(byte: u8) -> bool {
    is_unencoded(byte) || b"/?|".contains(&byte)
}
