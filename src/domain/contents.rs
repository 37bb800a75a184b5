//! `evidence/release.json`: what a release is, and what it consists of.
//!
//! The first line of `SHA256SUMS` names it, so that a user with `sha256sum` alone sees which
//! release the signed list is of. It is JSON in the one spelling that [`Contents::to_text`] has.

use serde::{Deserialize, Serialize};

use super::artifact::{Artifact, ArtifactList};
use super::digest::{GrantId, Sha256};
use super::json;
use super::malformed::Malformed;
use super::name::{ArtifactName, ProjectName, Version};
use super::signing::{Plan, ReleaseForm};

const FORMAT: &str = "countersign-release/1";

/// The largest such file that is read, in bytes.
pub const LARGEST_CONTENTS: u64 = 8 << 20;

/// What a release is, and what it consists of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contents {
    format: Format,
    /// The project.
    pub project: ProjectName,
    /// The version.
    pub version: Version,
    /// What of it is signed.
    pub form: ReleaseForm,
    /// The grant that it was built under.
    pub grant: GrantId,
    /// Its artifacts, as in the list.
    #[serde(deserialize_with = "json::objects")]
    artifacts: Vec<SizedArtifact>,
    /// SHA-256 of an older list of the same artifacts, which this one succeeds: the release was
    /// signed anew with another key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub successor_of: Option<Sha256>,
}

json::one_format!(FORMAT);

/// An artifact of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SizedArtifact {
    /// Its name.
    pub name: ArtifactName,
    /// Its size, in bytes.
    pub size: u64,
    /// The SHA-256 of its bytes.
    pub sha256: Sha256,
}

impl Contents {
    /// What a new release consists of; its artifacts come sorted by name.
    pub fn new(
        project: ProjectName,
        version: Version,
        form: ReleaseForm,
        grant: GrantId,
        artifacts: Vec<SizedArtifact>,
    ) -> Result<Self, Malformed> {
        let contents = Self {
            format: Format,
            project,
            version,
            form,
            grant,
            artifacts,
            successor_of: None,
        };
        contents.list().map(|_| contents)
    }

    /// Its artifacts, sorted by name.
    pub fn artifacts(&self) -> &[SizedArtifact] {
        &self.artifacts
    }

    /// Its artifacts with their digests alone.
    fn list(&self) -> Result<ArtifactList, Malformed> {
        let artifacts = self.artifacts.iter().map(|it| Artifact {
            name: it.name.clone(),
            digest: it.sha256,
        });
        ArtifactList::sorted(artifacts.collect())
    }

    /// Whether these are its artifacts.
    pub fn has(&self, artifacts: &ArtifactList) -> bool {
        let ours = self.artifacts.iter().map(|it| (&it.name, it.sha256));
        ours.eq(artifacts.iter().map(|it| (&it.name, it.digest)))
    }

    /// Its files that have a signature.
    pub fn plan(&self) -> Plan {
        Plan::new(self.form, self.artifacts.iter().map(|it| &it.name))
    }

    /// The bytes of `evidence/release.json`.
    pub fn to_text(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("it can be written as JSON");
        text.push('\n');
        text
    }

    /// Reads one. Only bytes that [`Contents::to_text`] could have written are accepted.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let contents: Self = json::parse(bytes)?;
        contents.list()?;
        if contents.to_text().as_bytes() == bytes {
            Ok(contents)
        } else {
            Err(Malformed::new("it is not written as countersign writes it"))
        }
    }
}

#[cfg(test)]
impl Contents {
    /// Release 1.2.3 of `foo` with these artifacts, each of them empty.
    pub(crate) fn example(form: ReleaseForm, names: &[&str]) -> Self {
        let artifact = |name: &&str| SizedArtifact {
            name: name.parse().expect("a name"),
            size: 0,
            sha256: Sha256::of(b""),
        };
        Self::new(
            "foo".parse().expect("a name"),
            "1.2.3".parse().expect("a version"),
            form,
            GrantId::of(b""),
            names.iter().map(artifact).collect(),
        )
        .expect("sorted names")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const VECTOR: &str = include_str!("../../tests/data/release/foo-1.2.3/evidence/release.json");

    #[test]
    fn the_documented_vector_is_read_and_written_back() {
        let contents = Contents::parse(VECTOR.as_bytes()).expect("the vector");
        assert_eq!(contents.to_text(), VECTOR);
        assert_eq!(contents.project.as_str(), "foo");
        assert_eq!(contents.form, ReleaseForm::Each);
        let artifacts = contents.artifacts().iter();
        let names: Vec<_> = artifacts.map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["foo-1.2.3.txt", "foo.c"]);
    }

    #[test]
    fn a_successor_names_the_list_before_it() {
        let successor = Contents {
            successor_of: Some(Sha256::of(b"list")),
            ..Contents::example(ReleaseForm::Each, &["a"])
        };
        let text = successor.to_text();
        assert!(text.ends_with(&format!(
            "  ],\n  \"successor_of\": \"{}\"\n}}\n",
            Sha256::of(b"list")
        )));
        assert_eq!(Contents::parse(text.as_bytes()), Ok(successor));
        let none = text.replace(&format!("\"{}\"\n}}", Sha256::of(b"list")), "null\n}");
        assert!(Contents::parse(none.as_bytes()).is_err());
    }

    #[test]
    fn every_change_to_the_form_is_refused() {
        let text = Contents::example(ReleaseForm::Each, &["a", "b"]).to_text();
        assert!(Contents::parse(text.as_bytes()).is_ok());
        for (what, from, to) in [
            ("other format", "release/1", "release/2"),
            ("other form", "\"each\"", "\"some\""),
            ("blank", "\": \"", "\":  \""),
            ("one line", "{\n  ", "{ "),
            ("no newline at the end", "}\n", "}"),
            ("two newlines at the end", "  ]\n}\n", "  ]\n}\n\n"),
            ("escape", "\"foo\"", "\"f\\u006fo\""),
            ("unknown field", "\"size\"", "\"mode\": 0,\n      \"size\""),
            ("size with a sign", "\"size\": 0", "\"size\": -0"),
            ("size with a fraction", "\"size\": 0", "\"size\": 0.0"),
            ("out of order", "\"name\": \"a\"", "\"name\": \"c\""),
            ("a name twice", "\"name\": \"a\"", "\"name\": \"b\""),
            ("project with a path", "\"foo\"", "\"../foo\""),
        ] {
            let changed = text.replacen(from, to, 1);
            assert_ne!(changed, text, "{what} changed nothing");
            assert!(Contents::parse(changed.as_bytes()).is_err(), "{what}");
        }
        let none = Contents {
            artifacts: Vec::new(),
            ..Contents::example(ReleaseForm::Each, &["a"])
        };
        assert!(Contents::parse(none.to_text().as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn what_is_accepted_is_written_back_the_same(at in 0..VECTOR.len(), byte: u8) {
            let mut bytes = VECTOR.as_bytes().to_vec();
            bytes[at] = byte;
            if let Ok(contents) = Contents::parse(&bytes) {
                prop_assert_eq!(contents.to_text().into_bytes(), bytes);
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = Contents::parse(&bytes);
        }
    }
}
