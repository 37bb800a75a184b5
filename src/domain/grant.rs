//! The grant: the approval of one build, and what it demands of the evidence.
//!
//! A grant is a JSON file. Its bytes are hashed, approved and logged as they are, and never
//! serialized again.

mod bounds;
mod nonce;
mod pattern;
mod terms;

use super::digest::GrantId;
use super::json;
use super::malformed::Malformed;

pub use bounds::{Bounds, Limits, SLOW_CLOCK, judge_time, listed};
pub use nonce::Nonce;
pub use pattern::NamePattern;
pub(super) use terms::MOST_BUILDERS;
pub use terms::{Builder, NewGrant, Source, Terms};

/// The largest grant that is read, in bytes.
pub const LARGEST_GRANT: u64 = 1 << 20;

/// The approval of one build, with its bytes.
#[derive(Debug, Clone)]
pub struct Grant {
    id: GrantId,
    bytes: Vec<u8>,
    terms: Terms,
}

impl Grant {
    /// Makes the grant that `new` describes, with a nonce of its own.
    pub fn issue(new: NewGrant) -> Result<Self, Malformed> {
        let terms = Terms::new(new);
        let mut bytes = serde_json::to_vec_pretty(&terms).expect("a grant can be written as JSON");
        bytes.push(b'\n');
        let grant = Self::parse(&bytes)?;
        grant.terms.check_list()?;
        Ok(grant)
    }

    /// Reads a grant: unknown and duplicate fields are refused, and so is a grant that nothing
    /// could satisfy.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let terms: Terms = json::parse(bytes)
            .map_err(|error: Malformed| error.within("the file is not a grant"))?;
        terms.check()?;
        Ok(Self {
            id: GrantId::of(bytes),
            bytes: bytes.to_vec(),
            terms,
        })
    }

    /// The SHA-256 of its bytes.
    pub fn id(&self) -> GrantId {
        self.id
    }

    /// Its bytes, unchanged.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its fields.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }
}

#[cfg(test)]
mod tests {
    use super::bounds::MOST_GLOBS;
    use super::*;
    use proptest::prelude::*;

    const VECTOR: &str = include_str!("../../tests/data/grant.json");

    #[test]
    fn the_documented_vector_is_read() {
        let grant = Grant::parse(VECTOR.as_bytes()).expect("the vector");
        assert_eq!(grant.id(), GrantId::of(VECTOR.as_bytes()));
        assert_eq!(grant.terms().project.as_str(), "foo");
        assert_eq!(grant.terms().builders.len(), 1);
        assert!(
            grant
                .terms()
                .artifacts
                .allow(&"foo-1.2.3.tar.xz".parse().expect("a name"))
        );
        assert!(
            !grant
                .terms()
                .artifacts
                .allow(&"bar-1.2.3.tar.xz".parse().expect("a name"))
        );
    }

    #[test]
    fn ambiguous_or_impossible_grants_are_refused() {
        for (what, from, to) in [
            (
                "unknown field",
                "\"quorum\": 1,",
                "\"quorum\": 1, \"colour\": \"red\",",
            ),
            (
                "field twice",
                "\"quorum\": 1,",
                "\"quorum\": 1, \"quorum\": 1,",
            ),
            ("quorum of zero", "\"quorum\": 1,", "\"quorum\": 0,"),
            ("quorum out of reach", "\"quorum\": 1,", "\"quorum\": 2,"),
            ("negative quorum", "\"quorum\": 1,", "\"quorum\": -1,"),
            ("other format", "grant/1", "grant/2"),
            ("unknown scheme", "\"openpgp\"", "\"telepathy\""),
            ("unknown form", "\"each\"", "\"some\""),
            ("no form", "\"form\": \"each\",", ""),
            (
                "form that dsse does not have",
                "\"openpgp\",\n  \"evidence\": \"manifest\"",
                "\"dsse\",\n  \"evidence\": \"per-artifact\"",
            ),
            (
                "signatures without a domain",
                "\"manifest\"",
                "\"per-artifact\"",
            ),
            (
                "a domain for nothing",
                "\"manifest\",",
                "\"manifest\",\n  \"domain\": \"example.org\",",
            ),
            (
                "array for an object",
                "{\n    \"names\": [\n      \"foo*\"\n    ],\n    \"max_count\": 100,\n    \
                 \"max_bytes\": 1073741824\n  }",
                "[[\"foo*\"], 100, 1073741824]",
            ),
            (
                "pattern that seems to end",
                "\"foo*\"",
                "\"foo`; at most 1\"",
            ),
            ("pattern with much space", "\"foo*\"", "\"foo  *\""),
            (
                "project with a path",
                "\"project\": \"foo\"",
                "\"project\": \"../foo\"",
            ),
            ("no pattern", "\"foo*\"", ""),
            (
                "too many patterns",
                "\"foo*\"",
                &vec!["\"x\""; MOST_GLOBS + 1].join(", "),
            ),
            ("pattern with a folder", "\"foo*\"", "\"dir/foo*\""),
            ("no artifact", "\"max_count\": 100", "\"max_count\": 0"),
            ("no bytes", "\"max_bytes\": 1073741824", "\"max_bytes\": 0"),
            ("broken pattern", "\"foo*\"", "\"foo[\""),
            ("time with an offset", "16:00:00Z", "16:00:00+00:00"),
            ("beginning after the end", "2026-11-22T10", "2026-11-23T10"),
            (
                "lower-case fingerprint",
                "\"release_key\": \"A",
                "\"release_key\": \"a",
            ),
            ("trailing text", "\n}\n", "\n} {}\n"),
        ] {
            let changed = VECTOR.replacen(from, to, 1);
            assert_ne!(changed, VECTOR, "{what} changed nothing");
            assert!(Grant::parse(changed.as_bytes()).is_err(), "{what}");
        }
    }

    #[test]
    fn two_grants_are_never_the_same_bytes() {
        let terms = Grant::parse(VECTOR.as_bytes()).expect("the vector").terms;
        let new = NewGrant {
            project: terms.project,
            version: terms.version,
            source: None,
            scheme: terms.scheme,
            evidence: terms.evidence,
            domain: "example.org".to_owned(),
            builders: terms.builders,
            quorum: 1,
            artifacts: terms.artifacts,
            form: terms.form,
            not_before: terms.not_before,
            expires: terms.expires,
            release_key: terms.release_key,
        };
        let ids = [new.clone(), new].map(|new| Grant::issue(new).expect("a grant").id());
        assert_ne!(ids[0], ids[1]);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = Grant::parse(&bytes);
        }
    }
}
