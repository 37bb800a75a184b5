//! JSON from elsewhere: what could mean two things, or fill a log, is refused.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserializer;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};

/// How much of what a reader says of bad JSON is kept, in characters: it repeats what stands there.
const MOST_SAID: usize = 200;

/// A value that stands there as an object. A derived reader takes an array of its fields as well,
/// which no other tool reads so.
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

/// Reads bytes that hold one object and nothing else. What stands there in the place of an object
/// is not repeated: it may be a PIN, whose file was named by mistake.
pub fn parse<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, String> {
    if !bytes.trim_ascii_start().starts_with(b"{") {
        return Err("there is no JSON object in it".to_owned());
    }
    serde_json::from_slice(bytes)
        .map(|Object(value)| value)
        .map_err(said)
}

/// What a reader says, cut short.
pub fn said(error: serde_json::Error) -> String {
    error.to_string().chars().take(MOST_SAID).collect()
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
pub fn check_keys(json: &[u8]) -> Result<(), serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    Unambiguous.deserialize(&mut reader)?;
    reader.end()
}

/// Reads any JSON and keeps nothing, but refuses an object that has a key twice: which of two
/// counts is anybody's guess.
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
                let twice: String = twice.chars().take(60).collect();
                return Err(A::Error::custom(format_args!(
                    "key `{twice}` stands twice in one object"
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
    fn an_array_is_no_object() {
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
    fn what_stands_in_the_place_of_an_object_is_not_repeated() {
        for pin in ["13572468", "\"13572468\"", " 13572468\n"] {
            let said = parse::<Pair>(pin.as_bytes()).expect_err("no object");
            assert!(!said.contains("1357"), "{said}");
        }
    }

    #[test]
    fn what_is_said_of_bad_json_is_short() {
        let long = format!("{{\"{}\":1}}", "x".repeat(1_000_000));
        assert_eq!(
            parse::<Pair>(long.as_bytes())
                .expect_err("refused")
                .chars()
                .count(),
            MOST_SAID
        );
    }
}
