//! Which of two versions is newer.

use std::cmp::Ordering;

use super::name::Version;

impl Version {
    /// The epoch, and the version without it.
    fn split(&self) -> (&str, &str) {
        self.as_str().split_once(':').unwrap_or(("", self.as_str()))
    }

    /// The version without its epoch, as it is in the names of files and folders.
    pub fn without_epoch(&self) -> &str {
        self.split().1
    }

    /// Which of two versions of one project is newer. An epoch decides first; a version without one
    /// has epoch 0. Numbers are compared as numbers. A part after
    /// `~`, or after `-` and with a letter first (`1.0.0-beta.1`), or named `alpha`, `beta`, `pre`,
    /// `rc` or `dev` (`1.0rc1`, `1.0.dev3`), sorts before the version without it. Otherwise the
    /// order of Debian's versions applies (Debian Policy, section 5.6.12).
    pub fn order(&self, other: &Self) -> Ordering {
        let mut left = self.pieces();
        let mut right = other.pieces();
        let longest = left.len().max(right.len());
        left.resize(longest, Piece::End);
        right.resize(longest, Piece::End);
        // Epochs have no leading zeros.
        let epoch = |version: &Self| {
            let digits = version.split().0;
            (digits.len(), digits.to_owned())
        };
        epoch(self).cmp(&epoch(other)).then(left.cmp(&right))
    }

    /// Whether it is of a series: begins with the same epoch and `series`, and there is a separator
    /// or a word for a pre-release behind that. `1.9.3`, `1.9-2` and `1.9rc1` are in `1.9`, and
    /// `1.90` and `1.9a` are not. What sorts as equal is in the same series.
    pub fn is_in(&self, series: &Self) -> bool {
        let own = self.pieces();
        let rest = own.strip_prefix(series.pieces().as_slice());
        let ends = |rest: &[Piece]| match rest.first() {
            None | Some(Piece::Mark(_) | Piece::Before | Piece::Early(_) | Piece::End) => true,
            Some(Piece::Word(_) | Piece::Number(..)) => false,
        };
        self.split().0 == series.split().0 && rest.is_some_and(ends)
    }

    fn pieces(&self) -> Vec<Piece> {
        let text = self.without_epoch().to_ascii_lowercase();
        let text = text
            .strip_prefix('v')
            .filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
            .unwrap_or(&text);
        Piece::split(text)
    }
}

/// A part of a version, from the earliest to the latest in order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Piece {
    /// The rest makes the version older than without it.
    Before,
    /// A word for a pre-release.
    Early(String),
    /// The end of the version.
    End,
    /// Letters.
    Word(String),
    /// A separator.
    Mark(char),
    /// The number of digits without leading zeros, and the digits: a longer number is larger.
    Number(usize, String),
}

/// Words for pre-releases.
const EARLY: [&str; 5] = ["alpha", "beta", "dev", "pre", "rc"];

/// The leading letters of a text.
fn word(text: &str) -> &str {
    &text[..text
        .find(|c: char| !c.is_ascii_lowercase())
        .unwrap_or(text.len())]
}

impl Piece {
    fn split(mut text: &str) -> Vec<Self> {
        let mut pieces = Vec::new();
        while let Some(first) = text.chars().next() {
            let same = |c: char| match first {
                '0'..='9' => c.is_ascii_digit(),
                'a'..='z' => c.is_ascii_lowercase(),
                _ => false,
            };
            let (part, rest) = text.split_at(text.find(|c| !same(c)).unwrap_or(text.len()).max(1));
            text = rest;
            pieces.push(match first {
                // `1.0.rc1` is another spelling of `1.0rc1`.
                '.' | '_' if EARLY.contains(&word(rest)) => continue,
                '~' => Self::Before,
                '-' if rest.starts_with(|c: char| c.is_ascii_lowercase()) => Self::Before,
                '0'..='9' => {
                    let digits = part.trim_start_matches('0');
                    Self::Number(digits.len(), digits.to_owned())
                }
                'a'..='z' if EARLY.contains(&part) => Self::Early(part.to_owned()),
                'a'..='z' => Self::Word(part.to_owned()),
                mark => Self::Mark(mark),
            });
        }
        pieces
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn versions_are_ordered_as_people_expect() {
        let version = |text: &str| text.parse::<Version>().expect("a version");
        for (older, newer) in [
            ("1.2.9", "1.2.10"),
            ("1.9", "1.10"),
            ("1.0", "1.0.1"),
            ("1.0", "2"),
            ("1.0.0-rc1", "1.0.0"),
            ("1.0.0-rc.2", "1.0.0-rc.10"),
            ("1.0-rc1", "1.0"),
            ("1.0rc1", "1.0"),
            ("1.0beta2", "1.0rc1"),
            ("1.0alpha", "1.0beta"),
            ("1.0.rc1", "1.0"),
            ("1.0.dev3", "1.0"),
            ("1.0_beta1", "1.0"),
            ("1.0.rc1", "1.0.1"),
            ("0.9", "1.0.dev1"),
            ("1.0~rc1", "1.0"),
            ("1.0~~", "1.0~"),
            ("1.2.3-1~deb12u1", "1.2.3-1"),
            ("1.2.3", "1.2.3-1"),
            ("1.2.3-9", "1.2.3-10"),
            ("1.1.1", "1.1.1a"),
            ("1.1.1a", "1.1.1b"),
            ("1.0", "1.0+git1"),
            ("r9", "r10"),
            ("v1.9", "v1.10"),
            ("v1.9", "1.10"),
            ("20261122", "20261123"),
            ("99999999999999999999999", "100000000000000000000000"),
            ("2026.2.3", "2026.11.1"),
            ("2", "1:1"),
            ("9:2", "10:1"),
            ("1:1~rc1", "1:1"),
        ] {
            assert_eq!(
                version(older).order(&version(newer)),
                Ordering::Less,
                "{older} {newer}"
            );
            assert_eq!(
                version(newer).order(&version(older)),
                Ordering::Greater,
                "{newer} {older}"
            );
        }
        for (one, same) in [
            ("1.0", "1.0"),
            ("v1.0", "1.0"),
            ("1.02", "1.2"),
            ("1.0RC1", "1.0rc1"),
            ("1.0.rc1", "1.0rc1"),
            ("1:v1.0", "1:1.0"),
        ] {
            assert_eq!(
                version(one).order(&version(same)),
                Ordering::Equal,
                "{one} {same}"
            );
        }
    }

    #[test]
    fn a_series_goes_up_to_a_separator() {
        let version = |text: &str| text.parse::<Version>().expect("a version");
        for (series, inside, outside) in [
            (
                "1.9",
                "1.9 1.9.3 1.9-2 1.9~rc1 1.9rc1 1.9.rc1 1.9+git1 1.9_2 v1.9.1 01.9.1",
                "1.90 1.91.3 1.9a 1 1.8 1.8.9 11.9 2.1.9 1:1.9.3",
            ),
            ("1", "1 1.9 1-2", "10 10.1 2 1a"),
            ("1:1.9", "1:1.9 1:1.9.3", "1.9.3 2:1.9.3"),
            ("v2", "2.1 v2.1", "v20 v3"),
            ("2026", "2026.1", "20261122"),
            ("1.1.1", "1.1.1-2", "1.1.1a 1.1.10"),
        ] {
            for (texts, expected) in [(inside, true), (outside, false)] {
                for text in texts.split(' ') {
                    let found = version(text).is_in(&version(series));
                    assert_eq!(found, expected, "{text} in {series}");
                }
            }
        }
    }

    const PARTS: &str = "([1-9]:)?([0-9a-c.~+_-]|rc|dev){1,6}";

    proptest! {
        #[test]
        fn the_order_of_versions_is_one(a in PARTS, b in PARTS, c in PARTS) {
            let versions = [a, b, c].map(|text| text.parse::<Version>());
            if let [Ok(a), Ok(b), Ok(c)] = versions {
                prop_assert_eq!(a.order(&b), b.order(&a).reverse());
                if a.order(&b).is_le() && b.order(&c).is_le() {
                    prop_assert!(a.order(&c).is_le());
                }
            }
        }

        /// What a series has does not depend on the spelling, series are nested or apart, and one
        /// that its text begins has a separator next.
        #[test]
        fn series_are_nested_or_apart(
            a in PARTS, b in "[1-2]([.-][0-3]){0,2}", c in "[1-2]([.-][0-3]){0,2}", more in PARTS
        ) {
            let texts = [a.clone(), b.clone(), c, format!("{b}{more}")];
            if let [Ok(a), Ok(b), Ok(c), Ok(longer)] = texts.map(|text| text.parse::<Version>()) {
                prop_assert!(a.is_in(&a) && b.is_in(&b));
                if a.order(&b).is_eq() {
                    prop_assert_eq!(a.is_in(&c), b.is_in(&c));
                    prop_assert_eq!(longer.is_in(&a), longer.is_in(&b));
                }
                for version in [&a, &longer] {
                    if version.is_in(&b) && version.is_in(&c) {
                        prop_assert!(b.is_in(&c) || c.is_in(&b));
                    }
                }
                if more.starts_with(|next: char| ('1'..='9').contains(&next)) {
                    prop_assert!(!longer.is_in(&b), "{longer} in {b}");
                }
                if more.starts_with(['.', '-', '~', '+']) {
                    prop_assert!(longer.is_in(&b), "{longer} in {b}");
                }
            }
        }
    }
}
