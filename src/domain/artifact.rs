//! Artifacts, and lists of them as `sha256sum` writes them.

use super::digest::Sha256;
use super::malformed::Malformed;
use super::name::{ArtifactName, case_clashes};

/// Maximum number of artifacts in one build or release.
pub const MOST_ARTIFACTS: usize = 10_000;

/// One file of a build.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Artifact {
    /// Its file name.
    pub name: ArtifactName,
    /// The SHA-256 of its bytes.
    pub digest: Sha256,
}

/// The artifacts of one build: at least one, sorted by name, and no two whose names differ in case
/// alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtifactList(Vec<Artifact>);

impl ArtifactList {
    /// The list of these artifacts, in any order.
    pub fn sort(mut artifacts: Vec<Artifact>) -> Result<Self, Malformed> {
        artifacts.sort();
        Self::sorted(artifacts)
    }

    /// The list of these artifacts, which must be sorted already.
    pub fn sorted(artifacts: Vec<Artifact>) -> Result<Self, Malformed> {
        if artifacts.is_empty() {
            return Err(no_artifact());
        }
        if artifacts.len() > MOST_ARTIFACTS {
            return Err(too_many_artifacts());
        }
        let names = artifacts.iter().map(|a| a.name.as_str());
        if let Some((first, second)) = case_clashes(names).next() {
            return Err(clash(first, second));
        }
        let unsorted = artifacts
            .windows(2)
            .find(|pair| pair[0].name > pair[1].name);
        if let Some(pair) = unsorted {
            let name = &pair[1].name;
            return Err(Malformed::new(format!(
                "`{name}` is listed out of order; entries are sorted by name"
            )));
        }
        Ok(Self(artifacts))
    }

    /// The artifacts in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Artifact> {
        self.0.iter()
    }

    /// Number of artifacts; never 0.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The digest of its lines as `sha256sum` writes them, which identifies the build.
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

/// A build without artifacts is refused.
pub fn no_artifact() -> Malformed {
    Malformed::new("no artifact is listed")
}

/// A build with more than [`MOST_ARTIFACTS`] is refused.
pub fn too_many_artifacts() -> Malformed {
    Malformed::new(format!("more than {MOST_ARTIFACTS} artifacts are listed"))
}

/// Two artifacts whose names differ in case alone are refused.
pub fn clash(first: &str, second: &str) -> Malformed {
    Malformed::new(if first == second {
        format!("`{first}` is listed twice")
    } else {
        format!("`{first}` and `{second}` are both listed, but are one name on some file systems")
    })
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

/// Parses a line that [`sum_line`] could have written; the path is not checked yet.
pub(super) fn parse_sum_line(line: &str) -> Option<(Sha256, &str)> {
    let (digest, path) = line.split_once("  ")?;
    Some((digest.parse().ok()?, path))
}

/// The lines of a text file that ends in a newline and has no carriage return.
pub(super) fn strict_lines(bytes: &[u8]) -> Result<std::str::Split<'_, char>, Malformed> {
    let text = std::str::from_utf8(bytes).map_err(|_| Malformed::new("the text is not UTF-8"))?;
    if text.contains('\r') {
        return Err(Malformed::new(
            "the text has a carriage return; lines end in LF alone",
        ));
    }
    text.strip_suffix('\n')
        .map(|lines| lines.split('\n'))
        .ok_or_else(|| Malformed::new("the text does not end in a newline"))
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
        for (names, message) in [
            (&[][..], "no artifact is listed"),
            (
                &["b", "a"],
                "`a` is listed out of order; entries are sorted by name",
            ),
            (&["a", "a"], "`a` is listed twice"),
            (
                &["Tool", "tool"],
                "`Tool` and `tool` are both listed, but are one name on some file systems",
            ),
        ] {
            let refused = ArtifactList::sorted(artifacts(names)).expect_err(message);
            assert_eq!(refused.to_string(), message);
        }
        let many: Vec<String> = (0..=MOST_ARTIFACTS).map(|n| n.to_string()).collect();
        let many = artifacts(&many.iter().map(String::as_str).collect::<Vec<_>>());
        let refused = ArtifactList::sort(many).expect_err("one too many");
        assert_eq!(refused.to_string(), "more than 10000 artifacts are listed");
        let list = ArtifactList::sort(artifacts(&["b", "a"])).expect("a list");
        assert!(list.contains("a") && list.contains("b") && !list.contains("c"));
    }
}
