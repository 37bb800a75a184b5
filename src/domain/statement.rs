//! What a builder attests that it built, as an in-toto Statement v1 (in-toto Attestation Framework,
//! v1), which the DSSE scheme signs.
//!
//! Its subjects are the artifacts. It names the grant, in a SLSA provenance predicate as the
//! external parameter `grant`, or in the annotations of its subjects. Nothing else of the predicate
//! is checked but its times.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::artifact::{Artifact, ArtifactList};
use super::build_key::BuildKeyLabel;
use super::digest::GrantId;
use super::json;
use super::malformed::Malformed;
use super::name::ArtifactName;
use super::text::cut;
use super::time::Timestamp;

/// The type of the default predicate.
pub const SLSA_PROVENANCE: &str = "https://slsa.dev/provenance/v1";

const STATEMENT: &str = "https://in-toto.io/Statement/v1";
/// The names of `attest` and its builders: URNs of our own, which lead to no document.
const BUILD_TYPE: &str = "urn:x-countersign:attest:1";
const BUILDER: &str = "urn:x-countersign:builder:";
/// Where SLSA provenance has the grant and the times of the build, as JSON pointers.
const PROVENANCE_GRANT: &str = "/buildDefinition/externalParameters/grant";
const PROVENANCE_TIMES: [&str; 2] = [
    "/runDetails/metadata/startedOn",
    "/runDetails/metadata/finishedOn",
];

/// What the signing host checks of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Its subjects.
    pub artifacts: ArtifactList,
    /// The grants that it names, in each place where it names one.
    pub grants: Vec<String>,
    /// When the build began and ended, as far as its provenance has that.
    pub times: Vec<Timestamp>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Raw {
    #[serde(rename = "_type")]
    kind: String,
    #[serde(deserialize_with = "json::objects")]
    subject: Vec<Subject>,
    predicate_type: String,
    #[serde(default)]
    predicate: Value,
}

/// A statement to be written.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    #[serde(rename = "_type")]
    kind: &'static str,
    subject: Vec<Value>,
    predicate_type: &'a str,
    predicate: &'a RawValue,
}

/// A ResourceDescriptor of the framework.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Subject {
    name: String,
    digest: BTreeMap<String, String>,
    #[serde(default)]
    annotations: Value,
    #[serde(default, rename = "uri")]
    _uri: Option<String>,
    #[serde(default, rename = "content")]
    _content: Option<String>,
    #[serde(default, rename = "downloadLocation")]
    _download_location: Option<String>,
    #[serde(default, rename = "mediaType")]
    _media_type: Option<String>,
}

impl Statement {
    /// Reads a statement. Refuses a key that is there twice, at any depth, and unknown fields.
    pub fn parse(payload: &[u8]) -> Result<Self, Malformed> {
        let not_one = |error: Malformed| error.within("the text is not an in-toto statement");
        json::check_keys(payload).map_err(not_one)?;
        let raw: Raw = json::parse(payload).map_err(not_one)?;
        if raw.kind != STATEMENT {
            let kind = cut(&raw.kind, 80);
            return Err(Malformed::new(format!(
                "the statement is of type `{kind}`, not `{STATEMENT}`"
            )));
        }

        let mut artifacts = Vec::new();
        let mut grants = Vec::new();
        for subject in &raw.subject {
            artifacts.push(subject.artifact()?);
            grants.extend(named(subject.annotations.get("grant")));
        }
        let mut times = Vec::new();
        if raw.predicate_type == SLSA_PROVENANCE {
            grants.extend(named(raw.predicate.pointer(PROVENANCE_GRANT)));
            times = provenance_times(&raw.predicate)?;
        }
        Ok(Self {
            artifacts: ArtifactList::sort(artifacts)?,
            grants,
            times,
        })
    }

    /// The bytes of a statement about `artifacts`, for the build that `label` names. `predicate` is
    /// of the type `predicate_type` and is copied as it is. The grant is in the annotations too,
    /// because the predicate may have no place for it.
    pub fn write(
        label: &BuildKeyLabel,
        artifacts: &ArtifactList,
        predicate_type: &str,
        predicate: &RawValue,
    ) -> Vec<u8> {
        let subject = |artifact: &Artifact| {
            json!({
                "name": artifact.name,
                "digest": { "sha256": artifact.digest },
                "annotations": { "grant": label.grant },
            })
        };
        let subject = artifacts.iter().map(subject).collect();
        let statement = Written {
            kind: STATEMENT,
            subject,
            predicate_type,
            predicate,
        };
        serde_json::to_vec(&statement).expect("a statement can be written as JSON")
    }
}

impl Subject {
    fn artifact(&self) -> Result<Artifact, Malformed> {
        let name: ArtifactName = self.name.parse()?;
        let digest = self
            .digest
            .get("sha256")
            .ok_or_else(|| Malformed::new(format!("subject `{name}` has no SHA-256")))?;
        let digest = digest
            .parse()
            .map_err(|error: Malformed| error.within(format_args!("subject `{name}`")))?;
        Ok(Artifact { name, digest })
    }
}

/// When a build began and ended, as far as its SLSA provenance gives that.
fn provenance_times(predicate: &Value) -> Result<Vec<Timestamp>, Malformed> {
    let time = |found: &Value| {
        let time = found.as_str().and_then(Timestamp::from_rfc3339);
        time.ok_or_else(|| {
            let found = cut(&found.to_string(), 60);
            Malformed::new(format!("time `{found}` is not as RFC 3339 writes it"))
        })
    };
    PROVENANCE_TIMES
        .iter()
        .filter_map(|pointer| predicate.pointer(pointer))
        .map(time)
        .collect()
}

/// The SLSA provenance (v1) of a build of which `attest` knows only the label of its key. `system`
/// is the operating system.
pub fn provenance(label: &BuildKeyLabel, system: &str, finished: Timestamp) -> Value {
    json!({
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {
                "grant": label.grant,
                "project": label.project,
                "version": label.version,
            },
            "internalParameters": { "system": system },
        },
        "runDetails": {
            "builder": {
                "id": format!("{BUILDER}{}", label.builder),
                "version": { "countersign": env!("CARGO_PKG_VERSION") },
            },
            "metadata": { "finishedOn": finished },
        },
    })
}

/// The value where a grant should be named, cut short.
fn named(found: Option<&Value>) -> Option<String> {
    let text = found.map(|value| {
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    })?;
    Some(cut(&text, 80))
}

/// Whether at least one grant is named, and all of them are this one.
pub fn names_only(grants: &[String], grant: GrantId) -> bool {
    let grant = grant.to_string();
    !grants.is_empty() && grants.iter().all(|named| *named == grant)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::digest::Sha256;
    use crate::domain::evidence::EvidenceKind;
    use crate::domain::grant::Bounds;
    use proptest::prelude::*;

    fn label() -> BuildKeyLabel {
        BuildKeyLabel {
            grant: GrantId::of(b"grant"),
            builder: "m1".parse().expect("a name"),
            project: "foo".parse().expect("a name"),
            version: "1.2.3".parse().expect("a version"),
            domain: None,
            bounds: Bounds {
                kind: EvidenceKind::Envelope,
                ..Bounds::example(&["*"])
            },
        }
    }

    fn written() -> String {
        let now = "2026-11-22T10:00:00Z".parse().expect("a time");
        let artifact = |name: &str| Artifact {
            name: name.parse().expect("a name"),
            digest: Sha256::of(name.as_bytes()),
        };
        let artifacts =
            ArtifactList::sort(vec![artifact("b.deb"), artifact("a.tar.xz")]).expect("a list");
        let predicate =
            serde_json::value::to_raw_value(&provenance(&label(), "Linux", now)).expect("JSON");
        let bytes = Statement::write(&label(), &artifacts, SLSA_PROVENANCE, &predicate);
        String::from_utf8(bytes).expect("JSON is text")
    }

    #[test]
    fn a_statement_reads_back_as_it_was_written() {
        let statement = Statement::parse(written().as_bytes()).expect("a statement");
        let names: Vec<_> = statement
            .artifacts
            .iter()
            .map(|artifact| artifact.name.as_str())
            .collect();
        assert_eq!(names, ["a.tar.xz", "b.deb"]);
        assert!(
            names_only(&statement.grants, label().grant),
            "{:?}",
            statement.grants
        );
        assert!(
            !names_only(&statement.grants, GrantId::of(b"other"))
                && !names_only(&[], label().grant)
        );
        assert_eq!(
            statement.times,
            ["2026-11-22T10:00:00Z".parse().expect("a time")]
        );
    }

    #[test]
    fn ambiguous_statements_are_refused() {
        let text = written();
        for (what, from, to) in [
            (
                "unknown field",
                "{\"_type\"",
                "{\"colour\":\"red\",\"_type\"",
            ),
            (
                "field twice",
                "{\"_type\"",
                "{\"predicateType\":\"x\",\"_type\"",
            ),
            (
                "key twice in the predicate",
                "\"externalParameters\":{",
                "\"externalParameters\":{\"grant\":\"x\",",
            ),
            (
                "key twice in a digest",
                "\"digest\":{",
                "\"digest\":{\"sha256\":\"\",",
            ),
            (
                "the same key, spelt differently",
                "\"digest\":{",
                "\"digest\":{\"sha\\u0032\\u0035\\u0036\":\"\",",
            ),
            ("other type", "Statement/v1", "Statement/v0.1"),
            ("path as a name", "\"a.tar.xz\"", "\"../a.tar.xz\""),
            ("name twice", "\"b.deb\"", "\"a.tar.xz\""),
            ("names that differ in case", "\"b.deb\"", "\"A.tar.xz\""),
            ("no SHA-256", "\"sha256\"", "\"sha1\""),
            ("invalid time", "2026-11-22T10:00:00Z", "yesterday"),
            ("text behind it", "}}}", "}}} {}"),
        ] {
            let changed = text.replacen(from, to, 1);
            assert_ne!(changed, text, "{what} changed nothing");
            assert!(Statement::parse(changed.as_bytes()).is_err(), "{what}");
        }
        let none = text.replacen(
            &text[text.find('[').expect("a list")..=text.find(']').expect("its end")],
            "[]",
            1,
        );
        let refused = Statement::parse(none.as_bytes()).expect_err("no subject");
        assert_eq!(refused.to_string(), "no artifact is listed");
    }

    #[test]
    fn a_grant_is_found_in_each_place() {
        let other = GrantId::of(b"other").to_string();
        for place in [
            "\"annotations\":{\"grant\":\"",
            "\"externalParameters\":{\"grant\":\"",
        ] {
            let own = format!("{place}{}", label().grant);
            let changed = written().replacen(&own, &format!("{place}{other}"), 1);
            let statement = Statement::parse(changed.as_bytes()).expect("a statement");
            assert!(
                statement.grants.contains(&other) && !names_only(&statement.grants, label().grant),
                "{place}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, at in 0..written().len(), byte: u8) {
            let _ = Statement::parse(&bytes);
            let mut changed = written().into_bytes();
            changed[at] = byte;
            let _ = Statement::parse(&changed);
        }
    }
}
