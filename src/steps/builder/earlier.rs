//! The evidence that an earlier run left, which the next one with the same key may replace.

use std::path::Path;

use super::build_key::Secret;
use crate::domain::artifact::{Artifact, ArtifactList, sum_line};
use crate::domain::build_key::BuildKeyLabel;
use crate::domain::evidence::EvidenceFiles;
use crate::domain::manifest::Manifest;
use crate::domain::reserved::{ENVELOPE, MANIFEST};
use crate::domain::statement::{Statement, names_only};
use crate::dsse::Envelope;
use crate::files::{InputFile, refuse_foreign};

/// What is in `folder` under the names of the evidence of these artifacts, and was not made with
/// this key under this grant.
pub(super) fn foreign_evidence(
    folder: &Path,
    secret: &Secret<'_>,
    label: &BuildKeyLabel,
    list: &ArtifactList,
) -> Vec<String> {
    let files: Vec<_> = match label.bounds.kind.files() {
        EvidenceFiles::Named(files) => files
            .iter()
            .map(|(name, limit)| ((*name).to_owned(), *limit, None))
            .collect(),
        EvidenceFiles::Each { suffix, limit } => list
            .iter()
            .map(|artifact| (format!("{}{suffix}", artifact.name), limit, Some(artifact)))
            .collect(),
    };
    let is_foreign = |name: &str, limit, artifact| {
        let is_own = |there: &[u8]| match (artifact, name) {
            (Some(artifact), _) => is_own_proof(secret, label, artifact, there),
            (None, MANIFEST) => is_own_manifest(label, there),
            (None, ENVELOPE) => is_own_envelope(secret, label, there),
            (None, _) => is_own_manifest_proof(secret, label, list, folder, there),
        };
        refuse_foreign(&folder.join(name), limit, is_own).is_err()
    };
    files
        .into_iter()
        .filter(|(name, limit, artifact)| is_foreign(name, *limit, *artifact))
        .map(|(name, _, _)| name)
        .collect()
}

fn is_own_manifest(label: &BuildKeyLabel, bytes: &[u8]) -> bool {
    Manifest::parse(bytes).is_ok_and(|it| it.grant == label.grant && it.builder == label.builder)
}

fn is_own_envelope(secret: &Secret<'_>, label: &BuildKeyLabel, bytes: &[u8]) -> bool {
    let Secret::Ed25519(key) = secret else {
        return false;
    };
    let statement = Envelope::parse(bytes);
    let statement = statement.and_then(|it| Statement::parse(it.open(&key.public())?));
    statement.is_ok_and(|it| names_only(&it.grants, label.grant))
}

/// A run that was killed can have left it without its manifest, or with the one that is to be
/// written now.
fn is_own_manifest_proof(
    secret: &Secret<'_>,
    label: &BuildKeyLabel,
    list: &ArtifactList,
    folder: &Path,
    bytes: &[u8],
) -> bool {
    let Secret::Nonce(nonce) = secret else {
        return secret.signature(bytes).is_some();
    };
    let limit = label.bounds.kind.limit(MANIFEST).unwrap_or_default();
    let there = InputFile::open(&folder.join(MANIFEST)).and_then(|file| file.read_whole(limit));
    let made = Manifest::of(label, list.clone()).to_text().into_bytes();
    let manifests = [made, there.unwrap_or_default()];
    let mut macs = manifests.iter().map(|manifest| nonce.tag(manifest));
    macs.any(|mac| mac.as_bytes() == bytes)
}

/// The MAC of an artifact that was built again since could be anybody's.
fn is_own_proof(
    secret: &Secret<'_>,
    label: &BuildKeyLabel,
    artifact: &Artifact,
    bytes: &[u8],
) -> bool {
    if let Secret::Nonce(nonce) = secret {
        let line = sum_line(&artifact.digest, artifact.name.as_str());
        return nonce.tag(line.as_bytes()).as_bytes() == bytes;
    }
    secret.signature(bytes).is_some_and(|signature| {
        let notations = label.notations(&artifact.name);
        notations
            .iter()
            .all(|(name, value)| signature.names(name, value))
    })
}
