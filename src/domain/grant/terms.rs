//! The fields of a grant.

use serde::{Deserialize, Serialize};

use super::bounds::{Bounds, Limits};
use super::nonce::Nonce;
use crate::domain::artifact::MOST_ARTIFACTS;
use crate::domain::evidence::{EvidenceFiles, EvidenceForm, EvidenceKind, Scheme};
use crate::domain::json;
use crate::domain::key::Fingerprint;
use crate::domain::malformed::Malformed;
use crate::domain::name::{
    BuilderName, LONGEST, LONGEST_PART, ProjectName, Version, case_clashes, is_domain,
};
use crate::domain::release::LARGEST_SUMS;
use crate::domain::signing::ReleaseForm;
use crate::domain::time::Timestamp;

const FORMAT: &str = "countersign-grant/1";
pub(in crate::domain) const MOST_BUILDERS: usize = 64;
/// The longest `uri` or `digest` of a source, in bytes.
const LONGEST_SOURCE: usize = 500;

/// The longest line of the list of a release for an artifact, and for evidence of one: a digest,
/// two spaces, a path and a line break.
const LONGEST_LINE: u64 = 64 + 2 + LONGEST as u64 + 1;
const LONGEST_EVIDENCE_LINE: u64 =
    LONGEST_LINE + "evidence//.sig".len() as u64 + LONGEST_PART as u64;
/// What a list has room for beside a thousand approvals, and the keys of all builders.
const LARGEST_OF_ARTIFACTS: u64 = LARGEST_SUMS - (512 << 10);

/// The fields of a grant.
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
    /// Which files of the release are signed.
    pub form: ReleaseForm,
    /// When the grant becomes valid.
    pub not_before: Timestamp,
    /// When it expires: it is not valid from then on.
    pub expires: Timestamp,
    /// The fingerprint of the OpenPGP key that will sign the release.
    pub release_key: Fingerprint,
    /// Makes any two grants differ.
    pub nonce: Nonce,
}

json::one_format!(FORMAT);

/// Where the source of a build is from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Its address.
    pub uri: String,
    /// Its commit or digest, `sha1:…`, `sha256:…`.
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

/// What to put into a new grant; the grant adds the rest.
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
    /// See [`Terms::form`].
    pub form: ReleaseForm,
    /// See [`Terms::not_before`].
    pub not_before: Timestamp,
    /// See [`Terms::expires`].
    pub expires: Timestamp,
    /// See [`Terms::release_key`].
    pub release_key: Fingerprint,
}

impl Terms {
    /// The terms of a new grant, with a nonce of its own. They are not checked yet.
    pub(super) fn new(new: NewGrant) -> Self {
        let notes = EvidenceKind::of(new.scheme, new.evidence) == Some(EvidenceKind::Signatures);
        Self {
            format: Format,
            project: new.project,
            version: new.version,
            source: new.source,
            scheme: new.scheme,
            evidence: new.evidence,
            domain: notes.then_some(new.domain),
            builders: new.builders,
            quorum: new.quorum,
            artifacts: new.artifacts,
            form: new.form,
            not_before: new.not_before,
            expires: new.expires,
            release_key: new.release_key,
            nonce: Nonce::random(),
        }
    }

    /// The kind of evidence that its builders must give.
    pub fn kind(&self) -> EvidenceKind {
        EvidenceKind::of(self.scheme, self.evidence)
            .expect("a grant with other evidence is not read")
    }

    /// What it demands of the artifacts.
    pub fn bounds(&self) -> Bounds {
        Bounds {
            artifacts: self.artifacts.clone(),
            kind: self.kind(),
            form: self.form,
            not_before: self.not_before,
            expires: self.expires,
        }
    }

    /// Refuses terms that nothing could satisfy.
    pub(super) fn check(&self) -> Result<(), Malformed> {
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

    /// Refuses more evidence than the list of a release can have, whatever the names of the
    /// artifacts and builders are.
    pub(super) fn check_list(&self) -> Result<(), Malformed> {
        let each = match self.kind().files() {
            EvidenceFiles::Each { .. } => self.builders.len() as u64,
            EvidenceFiles::Named(_) => 0,
        };
        let limit = LARGEST_OF_ARTIFACTS / (LONGEST_LINE + each * LONGEST_EVIDENCE_LINE);
        if u64::from(self.artifacts.max_count).min(MOST_ARTIFACTS as u64) <= limit {
            return Ok(());
        }
        Err(Malformed::new(format!(
            "`artifacts.max_count` is {}, but a release can list the evidence that {each} builders \
             give for each of {limit} artifacts",
            self.artifacts.max_count
        )))
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
        let names = self.builders.iter().map(|builder| builder.name.as_str());
        if let Some((_, twice)) = case_clashes(names).next() {
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

fn source<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Source>, D::Error> {
    json::object(from).map(Some)
}
