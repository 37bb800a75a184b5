//! Patterns for artifact names.

use std::fmt;
use std::str::FromStr;

use globset::Glob;
use regex_lite::Regex;

use crate::domain::digest::as_text;
use crate::domain::malformed::Malformed;
use crate::domain::name::ArtifactName;
use crate::domain::text::cut;

/// A pattern for artifact names: `*`, `?`, `[a-z]` and `{a,b}` as in a shell.
#[derive(Clone)]
pub struct NamePattern {
    text: String,
    matcher: Regex,
}

impl NamePattern {
    /// Whether it matches the name.
    pub fn matches(&self, name: &ArtifactName) -> bool {
        self.matcher.is_match(name.as_str())
    }
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
                "no name has a backtick, two spaces in a row or a space at an end",
            ));
        }
        let glob = Glob::new(text).map_err(|error| bad(&error.kind().to_string()))?;
        let matcher = Regex::new(glob.regex()).map_err(|error| bad(&error.to_string()))?;
        let text = text.to_owned();
        Ok(Self { text, matcher })
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
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn matches_as_globset_does(text in ".{0,40}|[ab*?{},!^\\[\\]-]{1,9}", name in "[ab]{1,6}") {
            let name = name.parse().expect("a name");
            if let Ok(pattern) = text.parse::<NamePattern>() {
                let matcher = Glob::new(&text).expect("a glob").compile_matcher();
                prop_assert_eq!(pattern.matches(&name), matcher.is_match(name.as_str()));
            }
        }
    }
}
