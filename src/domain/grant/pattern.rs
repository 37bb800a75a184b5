//! Patterns for artifact names.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use crate::domain::digest::as_text;
use crate::domain::malformed::Malformed;
use crate::domain::name::ArtifactName;
use crate::domain::text::cut;

/// How deep braces may be in braces.
const DEEPEST: usize = 16;

/// A pattern for artifact names: `*`, `?`, `[a-z]` and `{a,b}` as in a shell.
#[derive(Clone)]
pub struct NamePattern {
    text: String,
    parts: Vec<Part>,
}

/// What matches a piece of a name.
#[derive(Clone)]
enum Part {
    /// One byte that is in these ranges, or is not.
    Byte { ranges: Vec<(u8, u8)>, within: bool },
    /// Any bytes, or none.
    Star,
    /// What one of these matches.
    OneOf(Vec<Vec<Part>>),
}

impl NamePattern {
    /// Whether it matches the name. Takes the length of the pattern times that of the name at most.
    pub fn matches(&self, name: &ArtifactName) -> bool {
        let name = name.as_str().as_bytes();
        ends(&self.parts, name, vec![0]).contains(&name.len())
    }
}

/// Where in the name the parts can end that begin at one of these places, all in ascending order.
fn ends(parts: &[Part], name: &[u8], begins: Vec<usize>) -> Vec<usize> {
    parts.iter().fold(begins, |mut at, part| match part {
        Part::Byte { ranges, within } => {
            let fits = |byte: &u8| ranges.iter().any(|(a, z)| (a..=z).contains(&byte)) == *within;
            at.retain_mut(|at| {
                let here = name.get(*at);
                *at += 1;
                here.is_some_and(fits)
            });
            at
        }
        Part::Star => at
            .first()
            .map_or_else(Vec::new, |first| (*first..=name.len()).collect()),
        Part::OneOf(branches) => {
            let ends = branches
                .iter()
                .flat_map(|parts| ends(parts, name, at.clone()));
            ends.collect::<BTreeSet<_>>().into_iter().collect()
        }
    })
}

type Read<T> = Result<T, &'static str>;

/// Reads what is before the end of the text or, within braces, of the branch.
fn parts(text: &mut &[u8], depth: usize) -> Read<Vec<Part>> {
    let mut parts = Vec::new();
    while text
        .first()
        .is_some_and(|byte| depth == 0 || !b",}".contains(byte))
    {
        let byte = |ranges, within| Part::Byte { ranges, within };
        parts.extend(match take(text) {
            Some(b'*') => Some(Part::Star),
            Some(b'?') => Some(byte(vec![], false)),
            Some(b'[') => Some(class(text)?),
            Some(b'{') => one_of(text, depth + 1)?,
            Some(b'}') => return Err("it has a `}` without a `{`"),
            other => other.map(|it| byte(vec![(it, it)], true)),
        });
    }
    Ok(parts)
}

/// Reads what is behind a `{`, to its `}`. An empty branch is none.
fn one_of(text: &mut &[u8], depth: usize) -> Read<Option<Part>> {
    if depth > DEEPEST {
        return Err("its braces are nested too deep");
    }
    let mut branches = vec![parts(text, depth)?];
    while take(text).ok_or("it has a `{` without a `}`")? == b',' {
        branches.push(parts(text, depth)?);
    }
    branches.retain(|parts| !parts.is_empty());
    Ok((!branches.is_empty()).then_some(Part::OneOf(branches)))
}

/// Reads what is behind a `[`, to its `]`. A `]` is one of the bytes if it is the first of them, a
/// `-` if it is the first or the last.
fn class(text: &mut &[u8]) -> Read<Part> {
    let within = !text.first().is_some_and(|byte| b"!^".contains(byte));
    if !within {
        take(text);
    }
    let mut ranges: Vec<(u8, u8)> = Vec::new();
    let mut to = false;
    loop {
        let byte = take(text).ok_or("it has a `[` without a `]`")?;
        match (byte, ranges.last_mut()) {
            (b']', Some(_)) => break,
            (b'-', Some(_)) if !to => to = true,
            (end, Some((start, _))) if to && end < *start => return Err("a range in it is empty"),
            (_, Some((_, end))) if to => (*end, to) = (byte, false),
            _ => ranges.push((byte, byte)),
        }
    }
    ranges.extend(to.then_some((b'-', b'-')));
    Ok(Part::Byte { ranges, within })
}

fn take(text: &mut &[u8]) -> Option<u8> {
    text.split_off_first().copied()
}

impl FromStr for NamePattern {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let bad = |reason: &str| {
            let pattern = cut(text, 80);
            Malformed::new(format!(
                "`{pattern}` is not a pattern for artifact names: {reason}"
            ))
        };
        if text.is_empty() || text.len() > 200 || !text.bytes().all(|b| (0x20..0x7f).contains(&b)) {
            return Err(bad("it must be 1 to 200 printable ASCII characters"));
        }
        if text.contains(['/', '\\']) {
            return Err(bad("artifacts have plain names, without folders"));
        }
        // It is shown between backticks, and must not seem to end early.
        if text.contains(['`']) || text.contains("  ") || text.trim() != text {
            return Err(bad(
                "it must not have a backtick, two spaces in a row or a space at an end",
            ));
        }
        let parts = parts(&mut text.as_bytes(), 0).map_err(bad)?;
        let text = text.to_owned();
        Ok(Self { text, parts })
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

impl PartialEq for NamePattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for NamePattern {}

as_text!(NamePattern);

#[cfg(test)]
mod tests {
    use super::*;
    use globset::Glob;
    use proptest::prelude::*;

    /// Pieces that are well made, most of them.
    fn likely() -> impl Strategy<Value = String> {
        prop::collection::vec("[ab*?]|\\{[ab],[ab*]{0,2}\\}|\\[[!^]?[]ab-]{1,3}\\]", 1..9)
            .prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn is_read_and_matches_as_globset_does(
            text in prop_oneof!["[a-c*?{},!^\\[\\]-]{1,12}", likely()],
            names in prop::collection::vec("[a-c,]{1,6}", 9),
        ) {
            let glob = Glob::new(&text);
            let pattern = text.parse::<NamePattern>();
            prop_assert_eq!(pattern.is_ok(), glob.is_ok(), "{:?}", pattern);
            for name in names {
                if let (Ok(pattern), Ok(glob)) = (&pattern, &glob) {
                    let expected = glob.compile_matcher().is_match(&name);
                    let name = name.parse().expect("a name");
                    prop_assert_eq!(pattern.matches(&name), expected, "{}", name);
                }
            }
        }
    }

    /// A name of 200 bytes is not matched in each way that the stars and braces could share it.
    #[test]
    fn a_pattern_of_many_ways_takes_no_longer() {
        let name = "a".repeat(200).parse().expect("a name");
        for (piece, matches) in [("*", true), ("*a", true), ("{a,*}", true), ("*b", false)] {
            let pattern = piece.repeat(200 / piece.len());
            let pattern: NamePattern = pattern.parse().expect("a pattern");
            assert_eq!(pattern.matches(&name), matches, "{pattern}");
        }
    }

    #[test]
    fn braces_are_nested_up_to_a_limit() {
        let nested = |depth| format!("{}a{}", "{".repeat(depth), "}".repeat(depth));
        let pattern: NamePattern = nested(DEEPEST).parse().expect("a pattern");
        assert!(pattern.matches(&"a".parse().expect("a name")));
        let refused = nested(DEEPEST + 1)
            .parse::<NamePattern>()
            .expect_err("refused");
        assert!(refused.to_string().contains("nested too deep"), "{refused}");
    }
}
