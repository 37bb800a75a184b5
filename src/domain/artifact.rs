//! Artifacts, and lists of them as `sha256sum` writes them.

use super::digest::Sha256;
use super::name::{ArtifactName, case_clash};

/// The most artifacts in one build or release.
pub const MOST_ARTIFACTS: usize = 10_000;

/// One file of a build.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Artifact {
    /// Its file name.
    pub name: ArtifactName,
    /// The SHA-256 of its bytes.
    pub digest: Sha256,
}

/// The artifacts of one build: at least one, sorted by name, each name once, none that clashes with
/// another in case alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtifactList(Vec<Artifact>);

/// A list of artifacts that is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadList {
    /// Nothing in it.
    #[error("lists no artifact")]
    Empty,
    /// More than [`MOST_ARTIFACTS`].
    #[error("lists more than {MOST_ARTIFACTS} artifacts")]
    TooMany,
    /// Out of order.
    #[error("lists `{name}` out of order; entries are sorted by name")]
    Unsorted {
        /// The first entry that is out of place.
        name: ArtifactName,
    },
    /// Twice the same, or the same but for upper and lower case.
    #[error("lists {}", match first == second {
        true => format!("`{first}` twice"),
        false => format!("both `{first}` and `{second}`, which some file systems cannot tell apart"),
    })]
    Clash {
        /// The one that came first.
        first: String,
        /// The other.
        second: String,
    },
}

impl ArtifactList {
    /// The list of these artifacts, which may come in any order.
    pub fn sort(mut artifacts: Vec<Artifact>) -> Result<Self, BadList> {
        artifacts.sort();
        Self::sorted(artifacts)
    }

    /// The list of these artifacts, which must be sorted already.
    pub fn sorted(artifacts: Vec<Artifact>) -> Result<Self, BadList> {
        match artifacts.len() {
            0 => return Err(BadList::Empty),
            count if count > MOST_ARTIFACTS => return Err(BadList::TooMany),
            _ => {}
        }
        if let Some((first, second)) = case_clash(artifacts.iter().map(|a| a.name.as_str())) {
            return Err(BadList::Clash {
                first: first.to_owned(),
                second: second.to_owned(),
            });
        }
        if let Some(pair) = artifacts
            .windows(2)
            .find(|pair| pair[0].name > pair[1].name)
        {
            return Err(BadList::Unsorted {
                name: pair[1].name.clone(),
            });
        }
        Ok(Self(artifacts))
    }

    /// The artifacts in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Artifact> {
        self.0.iter()
    }

    /// How many there are; never 0.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The digest of its lines as `sha256sum` writes them: which build it is.
    pub fn digest(&self) -> Sha256 {
        let lines: String = self
            .0
            .iter()
            .map(|artifact| sum_line(&artifact.digest, artifact.name.as_str()))
            .collect();
        Sha256::of(lines.as_bytes())
    }

    /// Whether one has this name.
    pub fn contains(&self, name: &str) -> bool {
        self.0
            .binary_search_by(|a| a.name.as_str().cmp(name))
            .is_ok()
    }
}

impl<'a> IntoIterator for &'a ArtifactList {
    type Item = &'a Artifact;
    type IntoIter = std::slice::Iter<'a, Artifact>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// A line as `sha256sum` writes it: digest, two spaces, path, newline.
pub fn sum_line(digest: &Sha256, path: &str) -> String {
    format!("{digest}  {path}\n")
}

/// Reads a line that [`sum_line`] could have written; the path is still anything.
pub(super) fn parse_sum_line(line: &str) -> Option<(Sha256, &str)> {
    let (digest, path) = line.split_once("  ")?;
    Some((digest.parse().ok()?, path))
}

/// The lines of a text file that ends in a newline and has no carriage return.
pub(super) fn strict_lines(bytes: &[u8]) -> Result<std::str::Split<'_, char>, BadText> {
    let text = std::str::from_utf8(bytes).map_err(|_| BadText::NotUtf8)?;
    if text.contains('\r') {
        return Err(BadText::CarriageReturn);
    }
    text.strip_suffix('\n')
        .map(|lines| lines.split('\n'))
        .ok_or(BadText::NoFinalNewline)
}

/// A text file that is not in the one form that is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadText {
    /// Not UTF-8.
    #[error("is not UTF-8")]
    NotUtf8,
    /// `\r`
    #[error("has a carriage return; lines end in LF alone")]
    CarriageReturn,
    /// The last line is not ended.
    #[error("does not end in a newline")]
    NoFinalNewline,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn artifacts(names: &[&str]) -> Vec<Artifact> {
        names
            .iter()
            .map(|name| Artifact {
                name: name.parse().expect("a name"),
                digest: Sha256::of(b""),
            })
            .collect()
    }

    #[test]
    fn a_list_is_sorted_and_has_each_name_once() {
        assert_eq!(ArtifactList::sorted(vec![]), Err(BadList::Empty));
        assert!(matches!(
            ArtifactList::sorted(artifacts(&["b", "a"])),
            Err(BadList::Unsorted { .. })
        ));
        assert!(matches!(
            ArtifactList::sorted(artifacts(&["a", "a"])),
            Err(BadList::Clash { .. })
        ));
        assert!(matches!(
            ArtifactList::sorted(artifacts(&["Tool", "tool"])),
            Err(BadList::Clash { .. })
        ));
        let list = ArtifactList::sort(artifacts(&["b", "a"])).expect("a list");
        assert!(list.contains("a") && list.contains("b") && !list.contains("c"));
    }
}
