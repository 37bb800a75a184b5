//! M's word under a grant: the check that H makes before it signs and that everybody else can make again.

use crate::domain::digest::GrantId;
use crate::domain::grant::{Builder, Grant};
use crate::domain::key::Fingerprint;
use crate::domain::manifest::{BadManifest, MANIFEST, Manifest};
use crate::domain::name::{ArtifactName, BuilderName, ProjectName, Version};
use crate::domain::time::Timestamp;
use crate::openpgp::{BadCertificate, BadSignature, Certificate, DetachedSignature, HashState, Signed};

/// A manifest that a builder of the grant signed and that speaks of this grant. Made by [`check`] alone.
#[derive(Debug, Clone)]
pub struct Attested {
    manifest: Manifest,
    signed: Signed,
    build_key: Certificate,
}

/// Why evidence is refused.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// The key that a grant holds for a builder cannot be read.
    #[error("the key of builder `{builder}` in the grant {fault}")]
    BuildKey {
        /// The builder.
        builder: BuilderName,
        /// What is wrong with its key.
        fault: BadCertificate,
    },
    /// The signature file, or what it says.
    #[error("`build.manifest.sig` {0}")]
    Signature(#[from] BadSignature),
    /// None of the grant's builders signed.
    #[error("`build.manifest.sig` is by key {issuer}, which is no build key of this grant ({})", join(builders))]
    NotABuilder {
        /// Who signed, by their own word.
        issuer: String,
        /// The builders and their keys.
        builders: Vec<(BuilderName, Fingerprint)>,
    },
    /// The manifest's form.
    #[error("`build.manifest` {0}")]
    Manifest(#[from] BadManifest),
    /// Made for another grant.
    #[error("`build.manifest` is for grant {found}, not for {expected}")]
    OtherGrant {
        /// What it says.
        found: GrantId,
        /// What it is checked against.
        expected: GrantId,
    },
    /// Signed with one builder's key in the name of another.
    #[error("`build.manifest` says builder `{found}`, but builder `{signer}` signed it")]
    OtherBuilder {
        /// What it says.
        found: BuilderName,
        /// Whose key signed.
        signer: BuilderName,
    },
    /// Another project or version.
    #[error("`build.manifest` is for {found}, but the grant is for {expected}")]
    OtherBuild {
        /// What it says.
        found: String,
        /// What the grant says.
        expected: String,
    },
    /// A name that the grant does not allow.
    #[error("artifact `{name}` is not among the names that the grant allows: {}", patterns.join(", "))]
    NameNotAllowed {
        /// The name.
        name: ArtifactName,
        /// The grant's patterns.
        patterns: Vec<String>,
    },
    /// More artifacts than allowed.
    #[error("`build.manifest` lists {count} artifacts, but the grant allows {limit}")]
    TooMany {
        /// How many there are.
        count: usize,
        /// How many the grant allows.
        limit: u32,
    },
    /// Too few builders.
    #[error("the grant asks for {quorum} builders that agree, but there is evidence of one")]
    Quorum {
        /// What the grant asks for.
        quorum: u32,
    },
}

fn join(builders: &[(BuilderName, Fingerprint)]) -> String {
    builders.iter().map(|(name, key)| format!("`{name}` has {key}")).collect::<Vec<_>>().join(", ")
}

fn build_name(project: &ProjectName, version: &Version) -> String {
    format!("{project} {version}")
}

/// Checks one builder's manifest against the grant: first the signature over its bytes, then what they say.
pub fn check(grant: &Grant, manifest: &[u8], signature: &[u8], now: Timestamp) -> Result<Attested, EvidenceError> {
    let terms = grant.terms();
    let (builder, build_key, signed) = signer(&terms.builders, manifest, signature, now)?;

    let manifest = Manifest::parse(manifest)?;
    if manifest.grant != grant.id() {
        return Err(EvidenceError::OtherGrant { found: manifest.grant, expected: grant.id() });
    }
    if manifest.builder != builder.name {
        return Err(EvidenceError::OtherBuilder { found: manifest.builder, signer: builder.name.clone() });
    }
    if manifest.project != terms.project || manifest.version != terms.version {
        return Err(EvidenceError::OtherBuild {
            found: build_name(&manifest.project, &manifest.version),
            expected: build_name(&terms.project, &terms.version),
        });
    }
    if terms.quorum > 1 {
        return Err(EvidenceError::Quorum { quorum: terms.quorum });
    }
    if let Some(artifact) = manifest.artifacts.iter().find(|artifact| !terms.artifacts.allow(&artifact.name)) {
        let patterns = terms.artifacts.names.iter().map(|pattern| format!("`{pattern}`")).collect();
        return Err(EvidenceError::NameNotAllowed { name: artifact.name.clone(), patterns });
    }
    let count = manifest.artifacts.count();
    if count > usize::try_from(terms.artifacts.max_count).unwrap_or(usize::MAX) {
        return Err(EvidenceError::TooMany { count, limit: terms.artifacts.max_count });
    }
    Ok(Attested { manifest, signed, build_key })
}

/// The builder whose key made the signature. Nothing of the manifest is parsed for it.
fn signer<'a>(
    builders: &'a [Builder],
    manifest: &[u8],
    signature: &[u8],
    now: Timestamp,
) -> Result<(&'a Builder, Certificate, Signed), EvidenceError> {
    let signature = DetachedSignature::parse_evidence(signature)?;
    let state = HashState::of(manifest, signature.hash());
    let mut tried = Vec::new();
    let mut issuer = None;
    for builder in builders {
        let key = Certificate::parse(builder.key.as_bytes())
            .map_err(|fault| EvidenceError::BuildKey { builder: builder.name.clone(), fault })?;
        match signature.check(&key, &state, MANIFEST, now) {
            Ok(signed) => return Ok((builder, key, signed)),
            Err(BadSignature::OtherKey { issuer: by, .. }) => issuer = Some(by),
            Err(error) => return Err(error.into()),
        }
        tried.push((builder.name.clone(), key.fingerprint()));
    }
    Err(EvidenceError::NotABuilder { issuer: issuer.unwrap_or_default(), builders: tried })
}

impl Attested {
    /// What the builder says.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// What its signature says.
    pub fn signed(&self) -> &Signed {
        &self.signed
    }

    /// The public half of the key that signed.
    pub fn build_key(&self) -> &Certificate {
        &self.build_key
    }
}
