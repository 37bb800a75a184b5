//! The grant: the approval of one build, and what it demands of the evidence.
//!
//! A grant is a JSON file whose bytes are what is hashed, approved and logged. They are kept as
//! they came and never written anew.

use std::fmt;
use std::str::FromStr;

use globset::{Glob, GlobMatcher};
use serde::{Deserialize, Serialize};

use super::digest::{GrantId, as_text};
use super::evidence::{EvidenceForm, EvidenceKind, Scheme};
use super::json;
use super::key::Fingerprint;
use super::malformed::Malformed;
use super::name::{ArtifactName, BuilderName, ProjectName, Version, case_clash, is_domain};
use super::text::cut;
use super::time::Timestamp;

/// The largest grant that is read, in bytes.
pub const LARGEST_GRANT: u64 = 1 << 20;

const FORMAT: &str = "countersign-grant/1";
const MOST_BUILDERS: usize = 64;
const MOST_GLOBS: usize = 100;
/// The longest part of what a grant notes of its source, in bytes.
const LONGEST_SOURCE: usize = 500;

/// The approval of one build, with the bytes that say so.
#[derive(Debug, Clone)]
pub struct Grant {
    id: GrantId,
    bytes: Vec<u8>,
    terms: Terms,
}

/// What a grant says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    format: Format,
    /// What is built.
    pub project: ProjectName,
    /// Its version.
    pub version: Version,
    /// The source it is built from.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "source"
    )]
    pub source: Option<Source>,
    /// How builders authenticate their evidence.
    pub scheme: Scheme,
    /// The form their evidence has.
    pub evidence: EvidenceForm,
    /// The domain of the notations in signatures of single artifacts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// Who may build.
    #[serde(deserialize_with = "json::objects")]
    pub builders: Vec<Builder>,
    /// How many builders must have attested the same digest for every artifact.
    pub quorum: u32,
    /// What they may build.
    #[serde(deserialize_with = "json::object")]
    pub artifacts: Limits,
    /// From when on the grant counts.
    pub not_before: Timestamp,
    /// From when on it counts no more.
    pub expires: Timestamp,
    /// The fingerprint of the OpenPGP key that will sign the release.
    pub release_key: Fingerprint,
    /// Makes two grants differ, whatever else they say.
    pub nonce: Nonce,
}

/// The one format of a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Format;

/// Where the source of a build is from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Where it is.
    pub uri: String,
    /// What it is: a commit or a digest, `sha1:…`, `sha256:…`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// One builder, by name and key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Builder {
    /// Its name.
    pub name: BuilderName,
    /// The public half of its build key: an armoured OpenPGP certificate, an Ed25519 key in PEM
    /// (RFC 8410), or of a nonce its SHA-256.
    pub key: String,
}

/// What a build may contain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Each artifact's name must match one of these.
    #[serde(deserialize_with = "few_patterns")]
    pub names: Vec<NamePattern>,
    /// The most artifacts.
    pub max_count: u32,
    /// The most bytes, of all artifacts together.
    pub max_bytes: u64,
}

/// A pattern for artifact names: `*`, `?`, `[a-z]` and `{a,b}` as in a shell.
#[derive(Clone)]
pub struct NamePattern {
    text: String,
    matcher: GlobMatcher,
}

/// 32 random bytes, in hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Nonce([u8; 32]);

/// What to put into a new grant; [`Grant::issue`] adds the rest.
#[derive(Debug, Clone)]
pub struct NewGrant {
    /// See [`Terms::project`].
    pub project: ProjectName,
    /// See [`Terms::version`].
    pub version: Version,
    /// See [`Terms::source`].
    pub source: Option<Source>,
    /// See [`Terms::scheme`].
    pub scheme: Scheme,
    /// See [`Terms::evidence`].
    pub evidence: EvidenceForm,
    /// See [`Terms::domain`]; left out where nothing needs it.
    pub domain: String,
    /// See [`Terms::builders`].
    pub builders: Vec<Builder>,
    /// See [`Terms::quorum`].
    pub quorum: u32,
    /// See [`Terms::artifacts`].
    pub artifacts: Limits,
    /// See [`Terms::not_before`].
    pub not_before: Timestamp,
    /// See [`Terms::expires`].
    pub expires: Timestamp,
    /// See [`Terms::release_key`].
    pub release_key: Fingerprint,
}

impl Grant {
    /// Makes the grant that says `new`, with a nonce of its own.
    pub fn issue(new: NewGrant) -> Result<Self, Malformed> {
        let NewGrant {
            project,
            version,
            source,
            scheme,
            evidence,
            domain,
            builders,
            quorum,
            ..
        } = new;
        let NewGrant {
            artifacts,
            not_before,
            expires,
            release_key,
            ..
        } = new;
        let notes = EvidenceKind::of(scheme, evidence) == Some(EvidenceKind::Signatures);
        let terms = Terms {
            format: Format,
            project,
            version,
            source,
            scheme,
            evidence,
            domain: notes.then_some(domain),
            builders,
            quorum,
            artifacts,
            not_before,
            expires,
            release_key,
            nonce: Nonce::random(),
        };
        let mut bytes = serde_json::to_vec_pretty(&terms).expect("a grant can be written as JSON");
        bytes.push(b'\n');
        Self::parse(&bytes)
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

    /// Its bytes, as they came.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What it says.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }
}

impl Terms {
    /// What its builders' evidence has to be.
    pub fn kind(&self) -> EvidenceKind {
        EvidenceKind::of(self.scheme, self.evidence)
            .expect("a grant with other evidence is not read")
    }

    fn check(&self) -> Result<(), Malformed> {
        self.check_builders()?;
        self.check_evidence()?;
        self.check_source()?;
        self.artifacts.check()?;
        let Self {
            not_before,
            expires,
            ..
        } = self;
        if not_before >= expires {
            return Err(Malformed::new(format!(
                "`expires` ({expires}) is not after `not_before` ({not_before})"
            )));
        }
        Ok(())
    }

    fn check_builders(&self) -> Result<(), Malformed> {
        let count = self.builders.len();
        if count == 0 {
            return Err(Malformed::new("`builders` is empty"));
        }
        if count > MOST_BUILDERS {
            return Err(Malformed::new(format!(
                "`builders` has {count} entries; the maximum is {MOST_BUILDERS}"
            )));
        }
        if let Some((_, twice)) = case_clash(self.builders.iter().map(|b| b.name.as_str())) {
            return Err(Malformed::new(format!("builder `{twice}` is listed twice")));
        }
        let quorum = usize::try_from(self.quorum).unwrap_or(usize::MAX);
        if !(1..=count).contains(&quorum) {
            return Err(Malformed::new(format!(
                "`quorum` is {quorum}, but must be from 1 to {count}, the number of builders"
            )));
        }
        Ok(())
    }

    fn check_evidence(&self) -> Result<(), Malformed> {
        let Self {
            scheme, evidence, ..
        } = self;
        let kind = EvidenceKind::of(*scheme, *evidence).ok_or_else(|| {
            Malformed::new(format!(
                "scheme {scheme} has no evidence of form {evidence}: \
                 one envelope covers all artifacts"
            ))
        })?;
        let domain = self.domain.as_deref();
        let has_domain = domain.is_some_and(is_domain);
        if (kind == EvidenceKind::Signatures && has_domain)
            || (kind != EvidenceKind::Signatures && domain.is_none())
        {
            return Ok(());
        }
        Err(Malformed::new(
            "`domain` must be a domain name where each artifact has an OpenPGP signature, \
             and left out otherwise",
        ))
    }

    /// A source must not pass for other lines of what an approver reads.
    fn check_source(&self) -> Result<(), Malformed> {
        let harmless = |text: &String| {
            (1..=LONGEST_SOURCE).contains(&text.len())
                && text.bytes().all(|byte| byte.is_ascii_graphic())
        };
        let source = self.source.as_ref();
        if source.is_none_or(|it| harmless(&it.uri) && it.digest.as_ref().is_none_or(harmless)) {
            return Ok(());
        }
        Err(Malformed::new(format!(
            "`source` has a `uri` or `digest` that is not 1 to {LONGEST_SOURCE} printable \
             characters without a space"
        )))
    }
}

impl Limits {
    fn check(&self) -> Result<(), Malformed> {
        if self.names.is_empty() {
            return Err(Malformed::new("`artifacts.names` is empty"));
        }
        if self.max_count == 0 || self.max_bytes == 0 {
            return Err(Malformed::new(
                "`artifacts` allows no artifact: `max_count` or `max_bytes` is 0",
            ));
        }
        Ok(())
    }

    /// Whether an artifact may have this name.
    pub fn allow(&self, name: &ArtifactName) -> bool {
        self.names.iter().any(|pattern| pattern.fits(name))
    }
}

impl NamePattern {
    /// Whether it fits the name.
    pub fn fits(&self, name: &ArtifactName) -> bool {
        self.matcher.is_match(name.as_str())
    }
}

impl Nonce {
    fn random() -> Self {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).expect("the operating system has random bytes");
        Self(bytes)
    }
}

fn source<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Source>, D::Error> {
    json::object(from).map(Some)
}

/// A pattern is compiled as it is read: one too many is refused before it costs anything.
fn few_patterns<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<NamePattern>, D::Error> {
    struct Few;

    impl<'de> serde::de::Visitor<'de> for Few {
        type Value = Vec<NamePattern>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "at most {MOST_GLOBS} name patterns")
        }

        fn visit_seq<A: serde::de::SeqAccess<'de>>(
            self,
            mut items: A,
        ) -> Result<Self::Value, A::Error> {
            let mut patterns = Vec::new();
            while let Some(pattern) = items.next_element()? {
                if patterns.len() == MOST_GLOBS {
                    return Err(serde::de::Error::invalid_length(MOST_GLOBS + 1, &self));
                }
                patterns.push(pattern);
            }
            Ok(patterns)
        }
    }

    from.deserialize_seq(Few)
}

impl FromStr for Format {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        if text == FORMAT {
            return Ok(Self);
        }
        let text = cut(text, 60);
        Err(Malformed::new(format!("format `{text}` is not `{FORMAT}`")))
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(FORMAT)
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
        // Shown between backticks, it must not look as if it ended there.
        if text.contains(['`']) || text.contains("  ") || text.trim() != text {
            return Err(bad(
                "no name has a backtick, two spaces in a row or a space at an end",
            ));
        }
        let glob = Glob::new(text).map_err(|error| bad(&error.kind().to_string()))?;
        Ok(Self {
            text: text.to_owned(),
            matcher: glob.compile_matcher(),
        })
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

impl FromStr for Nonce {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let mut bytes = [0; 32];
        let lower_case = !text.bytes().any(|b| b.is_ascii_uppercase());
        if lower_case && hex::decode_to_slice(text, &mut bytes).is_ok() {
            Ok(Self(bytes))
        } else {
            Err(Malformed::new(
                "the nonce is not 64 lower-case hexadecimal digits",
            ))
        }
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

as_text!(Format, NamePattern, Nonce);

#[cfg(test)]
mod tests {
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
    fn what_could_mean_two_things_is_refused() {
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
            ("quorum of none", "\"quorum\": 1,", "\"quorum\": 0,"),
            ("quorum out of reach", "\"quorum\": 1,", "\"quorum\": 2,"),
            ("negative quorum", "\"quorum\": 1,", "\"quorum\": -1,"),
            ("other format", "grant/1", "grant/2"),
            ("unknown scheme", "\"openpgp\"", "\"telepathy\""),
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
                "{\n    \"names\": [\n      \"foo*\"\n    ],\n    \"max_count\": 100,\n    \"max_bytes\": 1073741824\n  }",
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
            ("begins after it ends", "2026-11-22T10", "2026-11-23T10"),
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

        #[test]
        fn no_pattern_makes_it_panic(text in ".{0,40}") {
            let _ = text.parse::<NamePattern>();
        }
    }
}
