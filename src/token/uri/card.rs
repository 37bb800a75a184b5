//! The URI of an OpenPGP card.

use std::fmt;
use std::str::FromStr;

use super::text;
use crate::domain::malformed::Malformed;
use crate::token::pin_source::PinSource;

/// An OpenPGP card: `card:` is the only one present, `card:0006:12345678` the one with this
/// manufacturer and serial number.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CardUri {
    pub(in crate::token) ident: Option<CardIdent>,
    pin_source: Option<PinSource>,
    admin_pin_source: Option<PinSource>,
}

/// Manufacturer and serial number of a card, from its application identifier (OpenPGP card 3.4,
/// section 4.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::token) struct CardIdent {
    pub(in crate::token) manufacturer: u16,
    pub(in crate::token) serial: u32,
}

impl CardUri {
    /// Parses what follows `card:`.
    pub(super) fn parse(rest: &str) -> Result<Self, Malformed> {
        let (ident, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut uri = Self::default();
        if !ident.is_empty() {
            uri.ident = Some(ident.parse()?);
        }
        if !query.is_empty() {
            query
                .split('&')
                .try_for_each(|attribute| uri.take_attribute(attribute))?;
        }
        Ok(uri)
    }

    fn take_attribute(&mut self, attribute: &str) -> Result<(), Malformed> {
        let (name, value) = text::name_and_value(attribute)?;
        match name {
            "pin-source" => text::once("pin-source", &mut self.pin_source, || {
                text::pin_source("pin-source", value)
            }),
            "admin-pin-source" => {
                text::once("admin-pin-source", &mut self.admin_pin_source, || {
                    text::pin_source("admin-pin-source", value)
                })
            }
            "pin-value" => Err(text::pin_value()),
            _ => Err(text::unknown("query", name)),
        }
    }

    /// Where the PIN comes from; [`PinSource::Prompt`] unless the URI says otherwise.
    pub fn pin_source(&self) -> PinSource {
        self.pin_source.clone().unwrap_or(PinSource::Prompt)
    }

    /// Where the admin PIN comes from; [`PinSource::Prompt`] unless the URI says otherwise.
    pub fn admin_pin_source(&self) -> PinSource {
        self.admin_pin_source.clone().unwrap_or(PinSource::Prompt)
    }

    /// The URI of the card `ident`, to sign with: without the source of the admin PIN.
    #[must_use]
    pub(in crate::token) fn exactly(&self, ident: CardIdent) -> Self {
        Self {
            ident: Some(ident),
            pin_source: self.pin_source.clone(),
            admin_pin_source: None,
        }
    }

    /// This URI without PIN sources.
    #[must_use]
    pub(in crate::token) fn without_pins(&self) -> Self {
        Self {
            ident: self.ident,
            ..Self::default()
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
        let query = |source: &PinSource| text::in_query(&source.to_string());
        let query = text::joined(
            [
                ("pin-source", pin_source.as_ref().map(query)),
                ("admin-pin-source", admin_pin_source.as_ref().map(query)),
            ],
            "&",
        );
        if query.is_empty() {
            return Ok(());
        }
        write!(f, "?{query}")
    }
}

impl FromStr for CardIdent {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let digits =
            |text: &str, count| text.len() == count && text.bytes().all(|b| b.is_ascii_hexdigit());
        let parts = text
            .split_once(':')
            .filter(|(maker, serial)| digits(maker, 4) && digits(serial, 8));
        let (maker, serial) = parts.ok_or_else(|| {
            // It could be a PIN in the wrong place: at most the length of an ident is shown.
            let start: String = text::shown(text).chars().take(13).collect();
            Malformed::new(format!(
                "`card:{start}` does not name a card: a card is `card:MANUFACTURER:SERIAL` \
                 in 4 and 8 hexadecimal digits, or `card:`"
            ))
        })?;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(rest: &str) -> String {
        match CardUri::parse(rest) {
            Ok(uri) => panic!("{rest} was parsed as {uri:?}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_card_is_written_as_it_is_read() {
        for (text, written) in [
            ("", "card:"),
            ("0006:1234abcd", "card:0006:1234ABCD"),
            ("?pin-source=prompt", "card:?pin-source=prompt"),
            ("?", "card:"),
            (
                "FFFE:00000001?admin-pin-source=fd:3&pin-source=file:/run/pin",
                "card:FFFE:00000001?pin-source=file:/run/pin&admin-pin-source=fd:3",
            ),
        ] {
            let uri = CardUri::parse(text).expect("a card's URI");
            assert_eq!(uri.to_string(), written);
            assert_eq!(CardUri::parse(&written["card:".len()..]), Ok(uri));
        }
    }

    #[test]
    fn what_does_not_name_a_card_is_refused() {
        for text in [
            "0006",
            "0006:",
            "0006:123",
            "6:12345678",
            "+006:12345678",
            "//",
            "*",
        ] {
            assert!(refused(text).contains("does not name a card"), "{text}");
        }
        for text in [
            "?pin-value=123456",
            "?pin-source=123456",
            "?pin-source=prompt&pin-source=prompt",
            "?object=x",
            "?pin-source",
            "0006:12345678;object=x",
        ] {
            let error = refused(text);
            assert!(
                !error.contains("123456\"") && !error.contains("=123456"),
                "{error}"
            );
        }
    }
}
