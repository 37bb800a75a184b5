//! What a grant demands of the artifacts of a build. M asks before it attests, H before it signs, L
//! before it publishes: they ask the same functions.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::pattern::NamePattern;
use crate::domain::artifact::{MOST_ARTIFACTS, clash, no_artifact, too_many_artifacts};
use crate::domain::evidence::{EvidenceFiles, EvidenceKind};
use crate::domain::malformed::Malformed;
use crate::domain::name::{ArtifactName, case_clashes};
use crate::domain::reserved::signed_by;
use crate::domain::signing::ReleaseForm;
use crate::domain::time::Timestamp;

pub(super) const MOST_GLOBS: usize = 100;
/// How far a builder's clock may be behind, in seconds: its evidence may say that it is so much
/// older than the grant.
pub const SLOW_CLOCK: u32 = 600;

/// Maximum number of faults, and of names in one, that a message lists.
const MOST_SHOWN: usize = 10;

/// What a build may contain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Each artifact's name must match one of these.
    #[serde(deserialize_with = "few_patterns")]
    pub names: Vec<NamePattern>,
    /// Maximum number of artifacts.
    pub max_count: u32,
    /// Maximum size of all artifacts together, in bytes.
    pub max_bytes: u64,
}

/// The demands of one grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounds {
    /// How its artifacts may be named, how many and how large they may be.
    pub artifacts: Limits,
    /// The evidence that it requires, which is delivered beside the artifacts.
    pub kind: EvidenceKind,
    /// Which files of the release will have a signature beside them.
    pub form: ReleaseForm,
    /// When it becomes valid.
    pub not_before: Timestamp,
    /// When it expires: it is not valid from then on.
    pub expires: Timestamp,
}

impl Limits {
    /// Refuses limits that no build keeps to.
    pub(super) fn check(&self) -> Result<(), Malformed> {
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
        self.names.iter().any(|pattern| pattern.matches(name))
    }
}

impl Bounds {
    /// Whether a build may have artifacts of these names: each of them, and all together. Every
    /// name at fault is in the message, or counted.
    pub fn judge_names<'a>(
        &self,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Result<(), Malformed> {
        let names: Vec<&str> = names.into_iter().collect();
        let mut faults = Vec::new();
        if let Err(fault) = self.judge_count(names.len()) {
            faults.push(fault.to_string());
        }
        let mut strange = Vec::new();
        for name in &names {
            match name.parse::<ArtifactName>() {
                Err(fault) => faults.push(fault.to_string()),
                Ok(parsed) if !self.artifacts.allow(&parsed) => strange.push(*name),
                Ok(_) => {}
            }
        }
        if !strange.is_empty() {
            let verb = if strange.len() == 1 { "is" } else { "are" };
            let patterns = self.artifacts.names.iter();
            let patterns: Vec<_> = patterns.map(|pattern| format!("`{pattern}`")).collect();
            faults.push(format!(
                "{} {verb} not among the names that the grant allows: {}",
                artifacts(&strange),
                patterns.join(", ")
            ));
        }
        for (first, second) in case_clashes(names.iter().copied()) {
            faults.push(clash(first, second).to_string());
        }
        faults.extend(self.clashes_with_ours(&names));
        if faults.is_empty() {
            return Ok(());
        }
        Err(Malformed::new(listed(&faults, "; ")))
    }

    /// The artifacts whose names files of ours would have: signatures in the release, or proofs in
    /// the builder's folder.
    fn clashes_with_ours(&self, names: &[&str]) -> Vec<String> {
        let folded: HashSet<_> = names.iter().map(|name| name.to_ascii_lowercase()).collect();
        let mut faults = Vec::new();
        for name in names {
            let mut signed = signed_by(name);
            if self.form == ReleaseForm::Each
                && let Some(other) =
                    signed.find(|other| folded.contains(&other.to_ascii_lowercase()))
            {
                faults.push(format!(
                    "artifact `{name}` has the name of the release's signature of artifact \
                     `{other}`: that needs a grant of form `{}`",
                    ReleaseForm::ListOnly
                ));
            }
            if let EvidenceFiles::Each { suffix, .. } = self.kind.files()
                && name.to_ascii_lowercase().ends_with(suffix)
            {
                faults.push(format!(
                    "artifact `{name}` has the name of a builder's evidence: that needs a grant \
                     with evidence for all artifacts together"
                ));
            }
        }
        faults
    }

    /// Whether a build may have so many artifacts.
    pub fn judge_count(&self, count: usize) -> Result<(), Malformed> {
        let limit = self.artifacts.max_count;
        match count {
            0 => Err(no_artifact()),
            _ if count > MOST_ARTIFACTS => Err(too_many_artifacts()),
            _ if count > usize::try_from(limit).unwrap_or(usize::MAX) => Err(Malformed::new(
                format!("the build has {count} artifacts, but the grant allows {limit}"),
            )),
            _ => Ok(()),
        }
    }

    /// Whether the artifacts may have so many bytes together.
    pub fn judge_bytes(&self, bytes: u64) -> Result<(), Malformed> {
        let limit = self.artifacts.max_bytes;
        if bytes <= limit {
            return Ok(());
        }
        Err(Malformed::new(format!(
            "the artifacts have {bytes} bytes together, but the grant allows {limit}"
        )))
    }

    /// Whether evidence may say that it was made at this time.
    pub fn judge_time(&self, at: Timestamp) -> Result<(), Malformed> {
        judge_time(at, self.not_before, self.expires)
    }

    /// Which of the names in a builder's folder are neither those of its artifacts nor those of
    /// the evidence for them.
    pub fn strays<'a>(
        &self,
        found: impl IntoIterator<Item = Cow<'a, str>>,
        artifacts: impl IntoIterator<Item = &'a ArtifactName>,
    ) -> Vec<Cow<'a, str>> {
        let artifacts = artifacts.into_iter().map(ArtifactName::as_str);
        let artifacts: HashSet<&str> = artifacts.collect();
        let is_evidence = |name: &str| match self.kind.files() {
            EvidenceFiles::Named(files) => files.iter().any(|(file, _)| *file == name),
            EvidenceFiles::Each { suffix, .. } => name
                .strip_suffix(suffix)
                .is_some_and(|name| artifacts.contains(name)),
        };
        let is_stray = |name: &Cow<'_, str>| !artifacts.contains(&**name) && !is_evidence(name);
        found.into_iter().filter(is_stray).collect()
    }
}

/// Patterns are compiled as they are read, so one too many is refused before it is compiled.
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

#[cfg(test)]
impl Bounds {
    /// For a release of form each, a signed manifest and at most 100 artifacts of these names.
    pub(crate) fn example(patterns: &[&str]) -> Self {
        let pattern = |text: &&str| text.parse().expect("a pattern");
        Self {
            artifacts: Limits {
                names: patterns.iter().map(pattern).collect(),
                max_count: 100,
                max_bytes: 1 << 30,
            },
            kind: EvidenceKind::SignedManifest,
            form: ReleaseForm::Each,
            not_before: "2026-11-22T10:00:00Z".parse().expect("a time"),
            expires: "2026-11-22T16:00:00Z".parse().expect("a time"),
        }
    }
}

/// Whether evidence under a grant of this time may say that it was made at `at`. Its clock may be
/// slow.
pub fn judge_time(
    at: Timestamp,
    not_before: Timestamp,
    expires: Timestamp,
) -> Result<(), Malformed> {
    if at >= not_before.before(SLOW_CLOCK) && at < expires {
        return Ok(());
    }
    Err(Malformed::new(format!(
        "{at} is not in the time of the grant, from {not_before} until {expires}"
    )))
}

/// Some artifacts, for people.
fn artifacts(names: &[&str]) -> String {
    let quoted: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    let word = if names.len() == 1 {
        "artifact"
    } else {
        "artifacts"
    };
    format!("{word} {}", listed(&quoted, ", "))
}

/// The first of several texts, and how many more there are.
pub fn listed(texts: &[String], between: &str) -> String {
    let shown = &texts[..texts.len().min(MOST_SHOWN)];
    match texts.len() - shown.len() {
        0 => shown.join(between),
        more => format!("{}{between}and {more} more", shown.join(between)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::reserved::{EVIDENCE, RELEASE_SIGNATURE, SUMS};
    use proptest::prelude::*;

    const KINDS: [EvidenceKind; 5] = [
        EvidenceKind::SignedManifest,
        EvidenceKind::Signatures,
        EvidenceKind::Envelope,
        EvidenceKind::ManifestMac,
        EvidenceKind::Macs,
    ];

    fn bounds(kind: EvidenceKind, form: ReleaseForm) -> Bounds {
        Bounds {
            kind,
            form,
            ..Bounds::example(&["*"])
        }
    }

    fn fault(bounds: &Bounds, names: &[&str]) -> String {
        let judged = bounds.judge_names(names.iter().copied());
        judged.map_or_else(|fault| fault.to_string(), |()| String::new())
    }

    #[test]
    fn names_that_clash_are_refused() {
        use EvidenceKind::{Envelope, Macs, Signatures, SignedManifest};
        use ReleaseForm::{Each, ListOnly};

        let signature = "has the name of the release's signature of artifact";
        let proof = "has the name of a builder's evidence";
        let one = "are both listed, but are one name on some file systems";
        for (kind, form, names, expected) in [
            (SignedManifest, Each, &["foo.tar", "a.deb"][..], ""),
            (SignedManifest, Each, &[], "no artifact is listed"),
            (SignedManifest, Each, &["-foo"], "begins with a dash"),
            (SignedManifest, Each, &["SHA256SUMS.asc"], "could pass for"),
            (SignedManifest, Each, &["foo", "Foo"], one),
            (
                SignedManifest,
                Each,
                &["foo", "foo"],
                "`foo` is listed twice",
            ),
            (SignedManifest, Each, &["foo", "foo.asc"], signature),
            (SignedManifest, Each, &["Foo", "foo.ASC"], signature),
            (SignedManifest, Each, &["foo.asc", "foo.sig"], ""),
            (
                SignedManifest,
                Each,
                &["a", "a.0123456789abcdef.asc"],
                signature,
            ),
            (SignedManifest, Each, &["a", "a.0123456789abcde.asc"], ""),
            (SignedManifest, ListOnly, &["foo", "foo.asc", "foo.sig"], ""),
            (
                SignedManifest,
                ListOnly,
                &["a", "a.0123456789abcdef.asc"],
                "",
            ),
            (Signatures, ListOnly, &["foo", "foo.asc"], ""),
            (Signatures, ListOnly, &["foo", "foo.sig"], proof),
            (Signatures, ListOnly, &["foo.SIG"], proof),
            (Signatures, Each, &["foo", "foo.mac"], ""),
            (Macs, Each, &["foo.mac"], proof),
            (Macs, Each, &["foo", "foo.sig"], ""),
            (Envelope, Each, &["foo", "foo.sig", "foo.mac"], ""),
        ] {
            let found = fault(&bounds(kind, form), names);
            assert_eq!(found.is_empty(), expected.is_empty(), "{names:?}: {found}");
            assert!(found.contains(expected), "{names:?}: {found}");
        }
    }

    #[test]
    fn every_name_at_fault_is_shown_or_counted() {
        let bounds = Bounds::example(&["foo*", "*.deb"]);
        assert_eq!(
            fault(
                &bounds,
                &["a.tar", "-x", "foo", "b.tar", "FOO.deb", "foo.deb"]
            ),
            "artifact name `-x` begins with a dash; artifacts `a.tar`, `b.tar` are not among the \
             names that the grant allows: `foo*`, `*.deb`; `FOO.deb` and `foo.deb` are both \
             listed, but are one name on some file systems"
        );
        let many: Vec<String> = (0..101).map(|number| number.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(
            fault(&bounds, &many),
            "the build has 101 artifacts, but the grant allows 100; artifacts `0`, `1`, `2`, `3`, \
             `4`, `5`, `6`, `7`, `8`, `9`, and 91 more are not among the names that the grant \
             allows: `foo*`, `*.deb`"
        );
    }

    #[test]
    fn bytes_and_times_have_a_first_and_a_last() {
        let bounds = Bounds::example(&["*"]);
        let limit = bounds.artifacts.max_bytes;
        assert!(bounds.judge_bytes(limit).is_ok() && bounds.judge_bytes(limit + 1).is_err());
        let first = bounds.not_before.before(SLOW_CLOCK);
        for (at, is_in) in [
            (first.before(1), false),
            (first, true),
            (bounds.expires.before(1), true),
            (bounds.expires, false),
        ] {
            assert_eq!(bounds.judge_time(at).is_ok(), is_in, "{at}");
        }
    }

    #[test]
    fn what_is_neither_artifact_nor_evidence_is_a_stray() {
        let artifacts = ["foo", "bar.sig"].map(|name| name.parse().expect("a name"));
        let found = [
            "foo",
            "foo.sig",
            "bar.sig",
            "old.sig",
            "build.manifest",
            "x",
        ];
        for (kind, expected) in [
            (
                EvidenceKind::SignedManifest,
                &["foo.sig", "old.sig", "x"][..],
            ),
            (
                EvidenceKind::Signatures,
                &["old.sig", "build.manifest", "x"],
            ),
        ] {
            let strays = bounds(kind, ReleaseForm::Each).strays(found.map(Cow::from), &artifacts);
            assert_eq!(strays, expected);
        }
    }

    fn names() -> impl Strategy<Value = Vec<String>> {
        let ending = "|\\.asc|\\.ASC|\\.sig|\\.mac|\\.0123456789abcdef\\.asc";
        let whole = "SHA256SUMS|sha256sums|evidence|build\\.manifest|build\\.dsse\\.json|con|a b";
        let any = format!("(a|A|b|{whole})({ending}){{1,2}}");
        let any = proptest::string::string_regex(&any).expect("a regex");
        // Often enough that one is the other's signature and nothing else is wrong.
        let good = "[aAb](\\.asc|\\.ASC|\\.sig|\\.0123456789abcdef\\.asc)?";
        prop::collection::vec(prop_oneof![4 => good, 1 => any], 1..5)
    }

    proptest! {
        /// The files of a release, and of a builder's folder, all have names of their own, in any
        /// case; and what is refused of well-formed names would not.
        #[test]
        fn no_two_files_have_one_name(
            names in names(),
            kind in prop::sample::select(&KINDS[..]),
            form in prop::sample::select(&ReleaseForm::ALL[..]),
        ) {
            let signature = |name: &str| format!("{name}{RELEASE_SIGNATURE}");
            let by_one = |name: &str| format!("{name}.0123456789abcdef{RELEASE_SIGNATURE}");
            let mut release = vec![SUMS.to_owned(), EVIDENCE.to_owned()];
            release.extend([signature(SUMS), by_one(SUMS)]);
            release.extend(names.iter().cloned());
            let mut delivery = names.clone();
            if form == ReleaseForm::Each {
                release.extend(names.iter().flat_map(|name| [signature(name), by_one(name)]));
            }
            match kind.files() {
                EvidenceFiles::Named(files) => {
                    delivery.extend(files.iter().map(|(name, _)| (*name).to_owned()));
                }
                EvidenceFiles::Each { suffix, .. } => {
                    delivery.extend(names.iter().map(|name| format!("{name}{suffix}")));
                }
            }
            let clashes = |all: &[String]| case_clashes(all.iter().map(String::as_str)).count() > 0;
            let judged = bounds(kind, form).judge_names(names.iter().map(String::as_str));
            if judged.is_ok() {
                prop_assert!(!clashes(&release) && !clashes(&delivery), "{names:?}");
            } else if names.iter().all(|name| name.parse::<ArtifactName>().is_ok()) {
                let ambiguous = matches!(kind.files(), EvidenceFiles::Each { suffix, .. }
                    if names.iter().any(|name| name.to_ascii_lowercase().ends_with(suffix)));
                prop_assert!(clashes(&release) || clashes(&delivery) || ambiguous, "{names:?}");
            }
        }
    }
}
