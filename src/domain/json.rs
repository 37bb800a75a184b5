//! JSON from other machines: what is ambiguous, or would fill a log, is refused.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserializer;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};

use super::malformed::Malformed;
use super::text::cut;

/// The longest message of the JSON reader that is kept, in characters: it repeats the input.
const LONGEST_REASON: usize = 200;

/// Defines `Format`, a field whose one value this is.
macro_rules! one_format {
    ($format:expr) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        struct Format;

        impl std::str::FromStr for Format {
            type Err = $crate::domain::malformed::Malformed;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                if text == $format {
                    return Ok(Self);
                }
                let text = $crate::domain::text::cut(text, 60);
                Err(Self::Err::new(format!(
                    "format `{text}` is not `{}`",
                    $format
                )))
            }
        }

        impl std::fmt::Display for Format {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str($format)
            }
        }

        $crate::domain::digest::as_text!(Format);
    };
}
pub(super) use one_format;

/// A value that is written as an object. A derived reader also accepts an array of the fields,
/// which no other tool does.
#[derive(Debug)]
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        object(from).map(Self)
    }
}

/// As [`Object`], for a field.
pub fn object<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    from.deserialize_map(ObjectVisitor(PhantomData))
}

/// As [`Object`], for each item of a field.
pub fn objects<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    from: D,
) -> Result<Vec<T>, D::Error> {
    let items: Vec<Object<T>> = Deserialize::deserialize(from)?;
    Ok(items.into_iter().map(|Object(item)| item).collect())
}

/// Reads one JSON object, with nothing after it. Anything else is not repeated in the message: it
/// may be a PIN, whose file was named by mistake.
pub fn parse<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, Malformed> {
    if !bytes.trim_ascii_start().starts_with(b"{") {
        return Err(Malformed::new("the text is not a JSON object"));
    }
    serde_json::from_slice(bytes)
        .map(|Object(value)| value)
        .map_err(malformed)
}

fn malformed(error: serde_json::Error) -> Malformed {
    Malformed::new(cut(&error.to_string(), LONGEST_REASON))
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(fields))
    }
}

/// Refuses JSON in which an object has a key twice.
pub fn check_keys(json: &[u8]) -> Result<(), Malformed> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    Unambiguous
        .deserialize(&mut reader)
        .and_then(|()| reader.end())
        .map_err(malformed)
}

/// Reads any JSON and keeps nothing, but refuses an object that has a key twice: readers differ in
/// which of the two they use.
struct Unambiguous;

impl<'de> DeserializeSeed<'de> for Unambiguous {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Unambiguous {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(Unambiguous)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        let mut seen = std::collections::HashSet::new();
        while let Some(key) = fields.next_key::<String>()? {
            if let Some(twice) = seen.replace(key) {
                let twice = cut(&twice, 60);
                return Err(A::Error::custom(format_args!(
                    "key `{twice}` is twice in one object"
                )));
            }
            fields.next_value_seed(Unambiguous)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Pair {
        a: u8,
        #[serde(default, deserialize_with = "objects")]
        more: Vec<Pair>,
    }

    #[test]
    fn an_array_is_not_an_object() {
        let pair: Pair = parse(br#"{"a":1,"more":[{"a":2}]}"#).expect("an object");
        assert_eq!((pair.a, pair.more[0].a, pair.more[0].more.len()), (1, 2, 0));
        for wrong in [
            "[1]",
            "[1,[]]",
            r#"{"a":1,"more":[[2]]}"#,
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"b":1}"#,
            r#"{"a":1} 2"#,
            "",
        ] {
            assert!(parse::<Pair>(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn text_that_is_not_an_object_is_not_repeated() {
        for pin in ["13572468", "\"13572468\"", " 13572468\n"] {
            let message = parse::<Pair>(pin.as_bytes())
                .expect_err("not an object")
                .to_string();
            assert!(!message.contains("1357"), "{message}");
        }
    }

    #[test]
    fn a_message_about_bad_json_is_short() {
        let long = format!("{{\"{}\":1}}", "x".repeat(1_000_000));
        assert_eq!(
            parse::<Pair>(long.as_bytes())
                .expect_err("refused")
                .to_string()
                .chars()
                .count(),
            LONGEST_REASON
        );
    }
}
