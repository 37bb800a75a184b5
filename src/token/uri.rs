//! Token URIs: `card:`, `pkcs11:` after RFC 7512, and `file:` for the token of tests.
//!
//! A parser of our own, because strictness is the point: an attribute that is misspelt, doubled or
//! not understood widens what a URI fits, and the wrong key is then found without a word. So
//! everything unknown is refused by name. This module opens nothing.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::error::PinError;
use super::pin::PinSource;
use crate::domain::digest::as_text;

/// The longest URI that is read, in bytes.
const LONGEST: usize = 4096;

/// Path attributes of RFC 7512 that are not matched here.
const UNMATCHED: [&str; 5] = [
    "library-manufacturer",
    "library-description",
    "library-version",
    "slot-description",
    "slot-manufacturer",
];

/// What names a token and a key on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenUri {
    /// An OpenPGP card.
    Card(CardUri),
    /// A PKCS#11 token.
    Pkcs11(Pkcs11Uri),
    /// A key in a file, for tests.
    File(PathBuf),
}

/// An OpenPGP card: `card:` is the only one present, `card:0006:12345678` the one with this
/// manufacturer and serial number.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CardUri {
    /// Which card.
    pub(super) ident: Option<CardIdent>,
    pin_source: Option<PinSource>,
    admin_pin_source: Option<PinSource>,
}

/// Manufacturer and serial number of a card, from its application identifier (OpenPGP card 3.4,
/// section 4.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CardIdent {
    pub(super) manufacturer: u16,
    pub(super) serial: u32,
}

/// A PKCS#11 URI (RFC 7512). An attribute that is not given fits every token or key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pkcs11Uri {
    pub(super) token: Option<String>,
    pub(super) manufacturer: Option<String>,
    pub(super) serial: Option<String>,
    pub(super) model: Option<String>,
    pub(super) slot_id: Option<u64>,
    pub(super) object: Option<String>,
    pub(super) id: Option<Vec<u8>>,
    kind: Option<ObjectKind>,
    module_path: Option<PathBuf>,
    pin_source: Option<PinSource>,
}

/// `type`: a key pair is named whichever half is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ObjectKind {
    Private,
    Public,
}

/// What to do about a text that is not a token URI.
const EXAMPLE: &str = "for example `card:` or \
    `pkcs11:token=release;object=r2026?module-path=/usr/lib/softhsm/libsofthsm2.so`";

/// A text that is not the URI of a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
pub enum UriError {
    /// Neither `card:` nor `pkcs11:` nor `file:`.
    #[error("token URI `{0}` begins with neither `card:` nor `pkcs11:` nor `file:`")]
    #[diagnostic(code(usage::token_uri), help("{EXAMPLE}"))]
    Scheme(String),
    /// `card:` followed by something else than manufacturer and serial number.
    #[error(
        "token URI `card:{0}` names no card: a card is `card:MANUFACTURER:SERIAL` in 4 and 8 hexadecimal digits, or `card:`"
    )]
    #[diagnostic(code(usage::token_uri), help("{EXAMPLE}"))]
    NotACard(String),
    /// Too long.
    #[error("token URI has {0} bytes; at most {LONGEST} are read")]
    #[diagnostic(code(usage::token_uri), help("{EXAMPLE}"))]
    TooLong(usize),
    /// `file:` without a path, or with one that cannot be.
    #[error("token URI `file:` is not followed by a path")]
    #[diagnostic(code(usage::token_uri), help("{EXAMPLE}"))]
    NoPath,
    /// An attribute without `=`.
    #[error("token URI: `{0}` is not of the form `name=value`")]
    #[diagnostic(code(usage::token_uri), help("{EXAMPLE}"))]
    NotAnAttribute(String),
    /// An attribute that RFC 7512 does not define, or not in this place.
    #[error("token URI: unknown {place} attribute `{name}`")]
    #[diagnostic(code(usage::token_uri), help("{EXAMPLE}"))]
    Unknown {
        /// Its name.
        name: String,
        /// `path` or `query`.
        place: &'static str,
    },
    /// An attribute that RFC 7512 defines and this program refuses.
    #[error("token URI: attribute `{name}` is not supported: {reason}")]
    #[diagnostic(code(usage::token_uri), help("{EXAMPLE}"))]
    Unsupported {
        /// Its name.
        name: &'static str,
        /// Why not.
        reason: &'static str,
    },
    /// An attribute that is given twice.
    #[error("token URI: attribute `{0}` is given twice")]
    #[diagnostic(code(usage::token_uri), help("{EXAMPLE}"))]
    Duplicate(&'static str),
    /// A value that is not encoded as RFC 7512 wants it.
    #[error("token URI: value of `{name}` {reason}")]
    #[diagnostic(code(usage::token_uri), help("{EXAMPLE}"))]
    Value {
        /// The attribute.
        name: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A PIN source that is none.
    #[error("token URI: `pin-source` cannot be used")]
    #[diagnostic(code(usage::token_uri), help("{EXAMPLE}"))]
    PinSource(#[source] PinError),
}

impl FromStr for TokenUri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        if text.len() > LONGEST {
            return Err(UriError::TooLong(text.len()));
        }
        match text.split_once(':') {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("card") => {
                rest_of_card(rest).map(Self::Card)
            }
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("pkcs11") => {
                rest_of_pkcs11(rest).map(Self::Pkcs11)
            }
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("file") => {
                rest_of_file(rest).map(Self::File)
            }
            // Only what stands before the colon: whatever follows could hold a PIN.
            Some((scheme, _)) => Err(UriError::Scheme(shown(scheme))),
            None => Err(UriError::Scheme(shown(
                text.split(['=', ';', '?', '&']).next().unwrap_or_default(),
            ))),
        }
    }
}

impl TokenUri {
    /// The URI of every token that the module of this one has.
    #[must_use]
    pub fn all_tokens(&self) -> Self {
        match self {
            Self::Card(_) => Self::Card(CardUri::default()),
            Self::Pkcs11(uri) => Self::Pkcs11(Pkcs11Uri {
                module_path: uri.module_path.clone(),
                ..Default::default()
            }),
            Self::File(path) => Self::File(path.clone()),
        }
    }
}

impl FromStr for Pkcs11Uri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        match text.parse()? {
            TokenUri::Pkcs11(uri) => Ok(uri),
            TokenUri::Card(_) => Err(UriError::Scheme("card".to_owned())),
            TokenUri::File(_) => Err(UriError::Scheme("file".to_owned())),
        }
    }
}

/// What follows `file:`. A path as it is, because that is what a shell completes; `file:///tmp/key`
/// is taken for `/tmp/key`.
fn rest_of_file(rest: &str) -> Result<PathBuf, UriError> {
    let path = if rest.starts_with("///") {
        &rest[2..]
    } else {
        rest
    };
    if path.is_empty() || path.starts_with("//") || path.contains(char::is_control) {
        return Err(UriError::NoPath);
    }
    Ok(PathBuf::from(path))
}

fn rest_of_card(rest: &str) -> Result<CardUri, UriError> {
    let (ident, query) = match rest.split_once('?') {
        Some((ident, query)) => (ident, query),
        None => (rest, ""),
    };
    let mut uri = CardUri::default();
    if !ident.is_empty() {
        uri.ident = Some(ident.parse()?);
    }
    for attribute in query.split('&').filter(|_| !query.is_empty()) {
        let (name, value) = name_and_value(attribute)?;
        let source = |name, value| {
            query_text(name, value)?
                .parse()
                .map_err(UriError::PinSource)
        };
        match name {
            "pin-source" => once("pin-source", &mut uri.pin_source, || {
                source("pin-source", value)
            })?,
            "admin-pin-source" => {
                once("admin-pin-source", &mut uri.admin_pin_source, || {
                    source("admin-pin-source", value)
                })?;
            }
            "pin-value" => return Err(pin_value()),
            _ => {
                return Err(UriError::Unknown {
                    name: shown(name),
                    place: "query",
                });
            }
        }
    }
    Ok(uri)
}

impl FromStr for CardIdent {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        let digits =
            |text: &str, count| text.len() == count && text.bytes().all(|b| b.is_ascii_hexdigit());
        let parts = text
            .split_once(':')
            .filter(|(maker, serial)| digits(maker, 4) && digits(serial, 8));
        // What is no ident could be a PIN in the wrong place: not more of it is shown than an ident
        // is long.
        let (maker, serial) =
            parts.ok_or_else(|| UriError::NotACard(shown(text).chars().take(13).collect()))?;
        Ok(Self {
            manufacturer: u16::from_str_radix(maker, 16).expect("four hexadecimal digits"),
            serial: u32::from_str_radix(serial, 16).expect("eight hexadecimal digits"),
        })
    }
}

impl fmt::Display for CardIdent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04X}:{:08X}", self.manufacturer, self.serial)
    }
}

impl CardUri {
    /// Where the PIN comes from; [`PinSource::Prompt`] unless the URI says otherwise.
    pub fn pin_source(&self) -> PinSource {
        self.pin_source.clone().unwrap_or(PinSource::Prompt)
    }

    /// Where the admin PIN comes from; [`PinSource::Prompt`] unless the URI says otherwise.
    pub fn admin_pin_source(&self) -> PinSource {
        self.admin_pin_source.clone().unwrap_or(PinSource::Prompt)
    }

    /// The URI of the card `ident`, to sign with: where the admin PIN comes from is left out.
    #[must_use]
    pub(super) fn exactly(&self, ident: CardIdent) -> Self {
        Self {
            ident: Some(ident),
            pin_source: self.pin_source.clone(),
            admin_pin_source: None,
        }
    }
}

fn rest_of_pkcs11(rest: &str) -> Result<Pkcs11Uri, UriError> {
    // Also where it stands in a value, behind the wrong separator: RFC 7512 allows `&` and `=` in a
    // label.
    if rest.contains("pin-value=") {
        return Err(pin_value());
    }
    let mut uri = Pkcs11Uri::default();
    let (path, query) = match rest.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (rest, None),
    };
    for attribute in path.split(';').filter(|_| !path.is_empty()) {
        uri.take_path_attribute(attribute)?;
    }
    for attribute in query
        .iter()
        .flat_map(|query| query.split('&'))
        .filter(|_| query != Some(""))
    {
        uri.take_query_attribute(attribute)?;
    }
    Ok(uri)
}

impl Pkcs11Uri {
    fn take_path_attribute(&mut self, attribute: &str) -> Result<(), UriError> {
        let (name, value) = name_and_value(attribute)?;
        match name {
            "token" => once("token", &mut self.token, || text("token", value)),
            "manufacturer" => once("manufacturer", &mut self.manufacturer, || {
                text("manufacturer", value)
            }),
            "serial" => once("serial", &mut self.serial, || text("serial", value)),
            "model" => once("model", &mut self.model, || text("model", value)),
            "object" => once("object", &mut self.object, || text("object", value)),
            "id" => once("id", &mut self.id, || {
                decoded("id", value, is_path_character)
            }),
            "slot-id" => once("slot-id", &mut self.slot_id, || number("slot-id", value)),
            "type" => once("type", &mut self.kind, || object_kind(value)),
            "pin-value" => Err(pin_value()),
            _ => Err(
                match UNMATCHED.iter().find(|unmatched| **unmatched == name) {
                    Some(name) => UriError::Unsupported {
                        name,
                        reason: "name the token by `token`, `serial`, `manufacturer`, `model` or `slot-id`",
                    },
                    None => UriError::Unknown {
                        name: shown(name),
                        place: "path",
                    },
                },
            ),
        }
    }

    fn take_query_attribute(&mut self, attribute: &str) -> Result<(), UriError> {
        let (name, value) = name_and_value(attribute)?;
        match name {
            "module-path" => {
                once("module-path", &mut self.module_path, || {
                    let path = PathBuf::from(query_text("module-path", value)?);
                    // The code that is loaded must not depend on the folder that a command is run
                    // in.
                    let relative = UriError::Value {
                        name: "module-path",
                        reason: "is not an absolute path",
                    };
                    if path.is_absolute() {
                        Ok(path)
                    } else {
                        Err(relative)
                    }
                })
            }
            "pin-source" => once("pin-source", &mut self.pin_source, || {
                query_text("pin-source", value)?
                    .parse()
                    .map_err(UriError::PinSource)
            }),
            "pin-value" => Err(pin_value()),
            "module-name" => Err(UriError::Unsupported {
                name: "module-name",
                reason: "where a module of that name lies differs between systems; give its `module-path`",
            }),
            _ => Err(UriError::Unknown {
                name: shown(name),
                place: "query",
            }),
        }
    }

    /// The path of the PKCS#11 module, where one is named.
    pub fn module_path(&self) -> Option<&Path> {
        self.module_path.as_deref()
    }

    /// Where the PIN comes from; [`PinSource::Prompt`] unless the URI says otherwise.
    pub fn pin_source(&self) -> PinSource {
        self.pin_source.clone().unwrap_or(PinSource::Prompt)
    }

    /// The label of the key (`object`), where one is named.
    pub fn object(&self) -> Option<&str> {
        self.object.as_deref()
    }

    /// The id of the key (`CKA_ID`), where one is named.
    pub fn id(&self) -> Option<&[u8]> {
        self.id.as_deref()
    }

    /// This URI, naming the key by `label` and `id` and by nothing else. What cannot stand in a URI
    /// is left out: an empty label or id, a label with a NUL.
    #[must_use]
    pub fn with_key(self, label: Option<&str>, id: &[u8]) -> Self {
        let object = label
            .filter(|label| stands_in_a_uri(label))
            .map(str::to_owned);
        Self {
            object,
            id: (!id.is_empty()).then(|| id.to_vec()),
            kind: None,
            ..self
        }
    }

    /// This URI, naming the token by `label` and `serial` beside what it names it by already. A
    /// slot number is not kept: SoftHSM2, for one, gives its slots new numbers.
    #[must_use]
    pub(super) fn with_token(self, label: &str, serial: &str) -> Self {
        let known = |text: &str| stands_in_a_uri(text).then(|| text.to_owned());
        Self {
            token: known(label).or(self.token),
            serial: known(serial).or(self.serial),
            slot_id: None,
            ..self
        }
    }
}

fn stands_in_a_uri(text: &str) -> bool {
    !text.is_empty() && !text.contains('\0')
}

fn name_and_value(attribute: &str) -> Result<(&str, &str), UriError> {
    attribute.split_once('=').ok_or_else(|| {
        // Up to the first character that a name cannot have: after it a PIN could stand.
        let end = attribute
            .find(|c: char| !c.is_alphanumeric() && c != '-')
            .unwrap_or(attribute.len());
        UriError::NotAnAttribute(shown(&attribute[..end]))
    })
}

/// Fills `slot`, which must still be empty.
fn once<T>(
    name: &'static str,
    slot: &mut Option<T>,
    value: impl FnOnce() -> Result<T, UriError>,
) -> Result<(), UriError> {
    if slot.is_some() {
        return Err(UriError::Duplicate(name));
    }
    *slot = Some(value()?);
    Ok(())
}

fn text(name: &'static str, value: &str) -> Result<String, UriError> {
    utf8(name, decoded(name, value, is_path_character)?)
}

fn query_text(name: &'static str, value: &str) -> Result<String, UriError> {
    utf8(name, decoded(name, value, is_query_character)?)
}

fn utf8(name: &'static str, bytes: Vec<u8>) -> Result<String, UriError> {
    let text = String::from_utf8(bytes).map_err(|_| UriError::Value {
        name,
        reason: "is not UTF-8",
    })?;
    if text.contains('\0') {
        Err(UriError::Value {
            name,
            reason: "contains a NUL",
        })
    } else {
        Ok(text)
    }
}

fn number(name: &'static str, value: &str) -> Result<u64, UriError> {
    // `parse` alone would take a sign.
    let digits = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
    let refuse = UriError::Value {
        name,
        reason: "is not a decimal number",
    };
    digits.then(|| value.parse().ok()).flatten().ok_or(refuse)
}

fn object_kind(value: &str) -> Result<ObjectKind, UriError> {
    match value {
        "private" => Ok(ObjectKind::Private),
        "public" => Ok(ObjectKind::Public),
        _ => Err(UriError::Value {
            name: "type",
            reason: "is neither `private` nor `public`",
        }),
    }
}

fn pin_value() -> UriError {
    UriError::Unsupported {
        name: "pin-value",
        reason: "a PIN in a URI would be in the shell's history and in the list of processes; use `pin-source`",
    }
}

/// Undoes the percent-encoding (RFC 3986, section 2.1).
fn decoded(name: &'static str, value: &str, allowed: fn(u8) -> bool) -> Result<Vec<u8>, UriError> {
    if value.is_empty() {
        return Err(UriError::Value {
            name,
            reason: "is empty",
        });
    }
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        if first == b'%' {
            let byte = after.get(..2).and_then(|digits| {
                let mut byte = [0];
                hex::decode_to_slice(digits, &mut byte)
                    .ok()
                    .map(|()| byte[0])
            });
            bytes.push(byte.ok_or(UriError::Value {
                name,
                reason: "has a `%` without two hexadecimal digits",
            })?);
            rest = &after[2..];
        } else if allowed(first) {
            bytes.push(first);
            rest = after;
        } else {
            return Err(UriError::Value {
                name,
                reason: "has a character that must be percent-encoded",
            });
        }
    }
    Ok(bytes)
}

/// `unreserved` of RFC 3986, and `pk11-res-avail` of RFC 7512, section 2.3.
fn is_unencoded(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~:[]@!$'()*+,=".contains(&byte)
}

/// `pk11-pchar`
fn is_path_character(byte: u8) -> bool {
    is_unencoded(byte) || byte == b'&'
}

/// `pk11-qchar`
fn is_query_character(byte: u8) -> bool {
    is_unencoded(byte) || b"/?|".contains(&byte)
}

/// The beginning of a text that was refused, without what could disturb a terminal.
fn shown(text: &str) -> String {
    text.chars()
        .take(40)
        .map(|c| {
            if c.is_control() {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            }
        })
        .collect()
}

impl fmt::Display for TokenUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Card(uri) => uri.fmt(f),
            Self::Pkcs11(uri) => uri.fmt(f),
            Self::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

impl fmt::Display for CardUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            ident,
            pin_source,
            admin_pin_source,
        } = self;
        f.write_str("card:")?;
        if let Some(ident) = ident {
            ident.fmt(f)?;
        }
        let query = |source: &PinSource| encoded(source.to_string().as_bytes(), is_query_character);
        let query = joined(
            [
                ("pin-source", pin_source.as_ref().map(query)),
                ("admin-pin-source", admin_pin_source.as_ref().map(query)),
            ],
            "&",
        );
        if query.is_empty() {
            Ok(())
        } else {
            write!(f, "?{query}")
        }
    }
}

impl fmt::Display for Pkcs11Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            token,
            manufacturer,
            serial,
            model,
            slot_id,
            object,
            id,
            kind,
            module_path,
            pin_source,
        } = self;
        let path = |bytes: &[u8]| encoded(bytes, is_path_character);
        let query = |text: String| encoded(text.as_bytes(), is_query_character);
        let in_path = [
            ("token", token.as_ref().map(|text| path(text.as_bytes()))),
            (
                "manufacturer",
                manufacturer.as_ref().map(|text| path(text.as_bytes())),
            ),
            ("serial", serial.as_ref().map(|text| path(text.as_bytes()))),
            ("model", model.as_ref().map(|text| path(text.as_bytes()))),
            ("slot-id", slot_id.map(|number| number.to_string())),
            ("object", object.as_ref().map(|text| path(text.as_bytes()))),
            // RFC 7512 recommends that every byte of an id is encoded.
            ("id", id.as_ref().map(|bytes| encoded(bytes, |_| false))),
            ("type", kind.map(|kind| kind.name().to_owned())),
        ];
        let in_query = [
            (
                "module-path",
                module_path
                    .as_ref()
                    .map(|path| query(path.display().to_string())),
            ),
            (
                "pin-source",
                pin_source.as_ref().map(|source| query(source.to_string())),
            ),
        ];
        f.write_str("pkcs11:")?;
        f.write_str(&joined(in_path, ";"))?;
        let in_query = joined(in_query, "&");
        if in_query.is_empty() {
            Ok(())
        } else {
            write!(f, "?{in_query}")
        }
    }
}

impl ObjectKind {
    const fn name(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::Public => "public",
        }
    }
}

fn joined<const N: usize>(attributes: [(&str, Option<String>); N], separator: &str) -> String {
    let given = attributes
        .into_iter()
        .filter_map(|(name, value)| value.map(|value| format!("{name}={value}")));
    given.collect::<Vec<_>>().join(separator)
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

as_text!(TokenUri);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> Pkcs11Uri {
        text.parse()
            .unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn refused(text: &str) -> String {
        match text.parse::<TokenUri>() {
            Ok(uri) => panic!("{text} was taken for {uri:?}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_card_is_written_as_it_is_read() {
        for (text, written) in [
            ("card:", "card:"),
            ("CARD:0006:1234abcd", "card:0006:1234ABCD"),
            ("card:?pin-source=prompt", "card:?pin-source=prompt"),
            ("card:?", "card:"),
            (
                "card:FFFE:00000001?admin-pin-source=fd:3&pin-source=file:/run/pin",
                "card:FFFE:00000001?pin-source=file:/run/pin&admin-pin-source=fd:3",
            ),
        ] {
            let uri: TokenUri = text.parse().expect("a card's URI");
            assert_eq!(uri.to_string(), written);
            assert_eq!(written.parse(), Ok(uri));
        }
    }

    #[test]
    fn what_names_no_card_is_refused() {
        for text in [
            "card:0006",
            "card:0006:",
            "card:0006:123",
            "card:6:12345678",
            "card:+006:12345678",
            "card://",
            "card:*",
        ] {
            assert!(
                matches!(text.parse::<TokenUri>(), Err(UriError::NotACard(_))),
                "{text}"
            );
        }
        for text in [
            "card:?pin-value=123456",
            "card:?pin-source=123456",
            "card:?pin-source=prompt&pin-source=prompt",
            "card:?object=x",
            "card:?pin-source",
            "card:0006:12345678;object=x",
        ] {
            let error = text.parse::<TokenUri>().expect_err(text);
            assert!(
                !error.to_string().contains("123456\"") && !error.to_string().contains("=123456"),
                "{error}"
            );
        }
    }

    #[test]
    fn every_attribute_is_understood() {
        let text = "PKCS11:token=My%20token;manufacturer=Acme;serial=0%31;model=v2;slot-id=7;object=r%C3%A9lease;\
            id=%00%ff;type=private?module-path=/usr/lib/m.so&pin-source=file:/run/pin";
        let uri = parsed(text);
        assert_eq!(uri.token.as_deref(), Some("My token"));
        assert_eq!(uri.manufacturer.as_deref(), Some("Acme"));
        assert_eq!(uri.serial.as_deref(), Some("01"));
        assert_eq!(uri.model.as_deref(), Some("v2"));
        assert_eq!(uri.slot_id, Some(7));
        assert_eq!(uri.object(), Some("rélease"));
        assert_eq!(uri.id(), Some(&[0, 0xff][..]));
        assert_eq!(uri.module_path(), Some(Path::new("/usr/lib/m.so")));
        assert_eq!(uri.pin_source(), PinSource::File("/run/pin".into()));
        assert_eq!(
            uri.to_string(),
            "pkcs11:token=My%20token;manufacturer=Acme;serial=01;model=v2;slot-id=7;object=r%C3%A9lease;id=%00%FF;\
            type=private?module-path=/usr/lib/m.so&pin-source=file:/run/pin"
        );
    }

    #[test]
    fn nothing_given_fits_everything() {
        assert_eq!(parsed("pkcs11:"), Pkcs11Uri::default());
        assert_eq!(parsed("pkcs11:?"), Pkcs11Uri::default());
        assert_eq!(parsed("pkcs11:?").pin_source(), PinSource::Prompt);
        assert_eq!(Pkcs11Uri::default().to_string(), "pkcs11:");
    }

    #[test]
    fn what_is_not_understood_is_refused_by_name() {
        assert_eq!(
            refused("pkcs11:tokn=x"),
            "token URI: unknown path attribute `tokn`"
        );
        assert_eq!(
            refused("pkcs11:TOKEN=x"),
            "token URI: unknown path attribute `TOKEN`"
        );
        assert_eq!(
            refused("pkcs11:pin-source=x"),
            "token URI: unknown path attribute `pin-source`"
        );
        assert_eq!(
            refused("pkcs11:?token=x"),
            "token URI: unknown query attribute `token`"
        );
        assert_eq!(
            refused("pkcs11:token=a;token=a"),
            "token URI: attribute `token` is given twice"
        );
        assert_eq!(
            refused("pkcs11:token"),
            "token URI: `token` is not of the form `name=value`"
        );
        assert_eq!(
            refused("pkcs11:token=x;"),
            "token URI: `` is not of the form `name=value`"
        );
        assert_eq!(
            refused("pkcs11:token=x?&"),
            "token URI: `` is not of the form `name=value`"
        );
        assert!(
            refused("pkcs11:library-version=1.2").contains("`library-version` is not supported")
        );
        assert!(
            refused("pkcs11:slot-description=x").contains("`slot-description` is not supported")
        );
        assert!(refused("pkcs11:?module-name=softhsm2").contains("give its `module-path`"));
    }

    #[test]
    fn what_is_encoded_wrongly_is_refused() {
        for value in ["%", "%0", "%zz", "a%2", "%+1"] {
            assert_eq!(
                refused(&format!("pkcs11:id={value}")),
                "token URI: value of `id` has a `%` without two hexadecimal digits"
            );
        }
        for value in ["a b", "a/b", "a#b", "a\"b", "a|b", "é", "a\u{7}"] {
            assert_eq!(
                refused(&format!("pkcs11:token={value}")),
                "token URI: value of `token` has a character that must be percent-encoded"
            );
        }
        assert_eq!(
            refused("pkcs11:token=%ff"),
            "token URI: value of `token` is not UTF-8"
        );
        assert_eq!(
            refused("pkcs11:token=a%00"),
            "token URI: value of `token` contains a NUL"
        );
        assert_eq!(
            refused("pkcs11:token="),
            "token URI: value of `token` is empty"
        );
        assert_eq!(refused("pkcs11:id="), "token URI: value of `id` is empty");
        for number in ["", "+1", "-1", "0x1", "99999999999999999999999"] {
            assert!(
                refused(&format!("pkcs11:slot-id={number}")).contains("decimal"),
                "{number}"
            );
        }
        assert!(refused("pkcs11:type=cert").contains("neither `private` nor `public`"));
    }

    #[test]
    fn a_pin_in_a_uri_is_refused_and_not_repeated() {
        for text in [
            "pkcs11:token=t?pin-value=493027",
            "pkcs11:token=t&pin-value=493027",
            "pkcs11:pin-value=493027",
            "pkcs11:?pin-value=493027&pin-value=493027",
            "pkcs11:?pin-value:493027",
            "pkcs11?pin-value=493027",
            "pkcs11:?pin-source=493027",
            "hsm:?pin-value=493027",
        ] {
            let error = text.parse::<TokenUri>().expect_err("a PIN in a URI");
            assert!(!format!("{error} {error:?}").contains("493027"), "{error}");
        }
        assert!(refused("pkcs11:?pin-value=1").contains("shell's history"));
    }

    #[test]
    fn a_file_is_named_by_the_rest() {
        let path = |text: &str| match text.parse() {
            Ok(TokenUri::File(path)) => path,
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(path("file:/tmp/key"), Path::new("/tmp/key"));
        assert_eq!(path("FILE:keys/a b.pem"), Path::new("keys/a b.pem"));
        assert_eq!(path("file:///tmp/key"), Path::new("/tmp/key"));
        for wrong in ["file:", "file://host/key", "file:a\nb", "file:a\0b"] {
            assert_eq!(
                refused(wrong),
                "token URI `file:` is not followed by a path"
            );
        }
    }

    #[test]
    fn no_other_scheme_is_taken() {
        assert_eq!(
            refused("/usr/lib/softhsm2.so"),
            "token URI `/usr/lib/softhsm2.so` begins with neither `card:` nor `pkcs11:` nor `file:`"
        );
        assert_eq!(
            refused("http://x"),
            "token URI `http` begins with neither `card:` nor `pkcs11:` nor `file:`"
        );
        assert_eq!(
            refused(&format!("pkcs11:token={}", "a".repeat(5000))),
            "token URI has 5013 bytes; at most 4096 are read"
        );
    }

    #[test]
    fn the_exact_uri_names_label_and_id_only() {
        let uri = parsed("pkcs11:token=t;object=old;id=%01;type=public?module-path=/m.so");
        assert_eq!(
            uri.clone()
                .with_key(Some("release"), &[0xca, 0xfe])
                .to_string(),
            "pkcs11:token=t;object=release;id=%CA%FE?module-path=/m.so"
        );
        assert_eq!(
            uri.with_key(Some("a\0b"), b"").to_string(),
            "pkcs11:token=t?module-path=/m.so"
        );
    }

    fn value() -> impl Strategy<Value = Option<String>> {
        proptest::option::of("[^\0]{1,20}")
    }

    fn any_uri() -> impl Strategy<Value = Pkcs11Uri> {
        let token = (
            value(),
            value(),
            value(),
            value(),
            proptest::option::of(any::<u64>()),
        );
        let kind = proptest::option::of(prop_oneof![
            Just(ObjectKind::Private),
            Just(ObjectKind::Public)
        ]);
        let key = (
            value(),
            proptest::option::of(proptest::collection::vec(any::<u8>(), 1..20)),
            kind,
        );
        let pin = proptest::option::of(prop_oneof![
            Just(PinSource::Prompt),
            (0..100).prop_map(PinSource::Fd),
            "/[^\0-\u{1f}\u{7f}-\u{9f}/][^\0-\u{1f}\u{7f}-\u{9f}]{0,20}"
                .prop_map(|path| PinSource::File(path.into())),
            "[a-z][a-z.]{0,8}".prop_map(PinSource::Credential),
        ]);
        (token, key, value(), pin).prop_map(|(token, key, module, pin_source)| {
            let ((token, manufacturer, serial, model, slot_id), (object, id, kind)) = (token, key);
            let module_path = module.map(|path| PathBuf::from(format!("/{path}")));
            Pkcs11Uri {
                token,
                manufacturer,
                serial,
                model,
                slot_id,
                object,
                id,
                kind,
                module_path,
                pin_source,
            }
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(uri in any_uri()) {
            let text = uri.to_string();
            prop_assert!(text.is_ascii());
            prop_assert_eq!(text.parse::<Pkcs11Uri>(), Ok(uri));
        }

        #[test]
        fn files_are_read_again(path in "(/|[^\0-\u{1f}\u{7f}-\u{9f}/])[^\0-\u{1f}\u{7f}-\u{9f}/]{0,30}") {
            let uri = TokenUri::File(path.into());
            prop_assert_eq!(uri.to_string().parse(), Ok(uri));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,60}", scheme in "(card:|pkcs11:|file:|)") {
            let _ = format!("{scheme}{text}").parse::<TokenUri>();
        }

        #[test]
        fn no_likely_text_panics_or_keeps_a_pin(
            text in "((token|id|object|pin-value|module-path|pin-source)=[%0-9a-f;&?é]{0,6}[;?&]){0,5}"
        ) {
            if let Ok(uri) = format!("pkcs11:{text}").parse::<TokenUri>() {
                prop_assert!(!uri.to_string().contains("pin-value"));
                prop_assert!(!text.contains("pin-value="));
            }
        }
    }
}
