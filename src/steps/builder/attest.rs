//! M's step: attest what was built, with the build key.

use std::path::{Path, PathBuf};

use serde_json::value::{RawValue, to_raw_value};

use super::build_key::{BuildKey, BuildKeyError, SECRET_KEYS, Secret};
use crate::domain::artifact::{Artifact, ArtifactList, no_artifact, sum_line};
use crate::domain::build_key::BuildKeyLabel;
use crate::domain::evidence::{EvidenceFiles, EvidenceKind};
use crate::domain::key::HashAlgorithm;
use crate::domain::malformed::Malformed;
use crate::domain::manifest::Manifest;
use crate::domain::reserved::{
    ENVELOPE, MAC, MANIFEST, MANIFEST_MAC, MANIFEST_SIGNATURE, SIGNATURE,
};
use crate::domain::statement::{SLSA_PROVENANCE, Statement, provenance};
use crate::domain::time::Timestamp;
use crate::dsse::{seal, unverified};
use crate::files::{FileError, FileFault, InputFile, refuse_foreign, replace};
use crate::mac::Tag;
use crate::openpgp::{DetachedSignature, HashState};
use crate::steps::Progress;

/// What M leaves beside its artifacts.
#[derive(Debug)]
pub struct Attestation {
    /// What it was made for.
    pub label: BuildKeyLabel,
    /// What was built.
    pub artifacts: ArtifactList,
    /// The files of the evidence.
    pub files: Vec<PathBuf>,
}

/// What the statement of a DSSE envelope contains beside its subjects.
#[derive(Debug, Clone)]
pub enum Predicate {
    /// SLSA provenance, from what this machine reports of itself.
    Provenance {
        /// What it runs on.
        system: String,
    },
    /// What the builder gives.
    Given {
        /// Its type, a URI.
        predicate_type: String,
        /// The predicate, as it is written.
        predicate: Box<RawValue>,
    },
}

/// Why nothing was attested.
#[expect(missing_docs, reason = "each message says what it means")]
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum AttestError {
    /// When the key is gone, the signing host would refuse the build.
    #[error("the {what} expired at {at}")]
    #[diagnostic(
        code(refused::grant_or_build_key_expired),
        help(
            "ask the signing host's operator for a new grant, with a new key if this one was made \
             here"
        )
    )]
    Expired { what: &'static str, at: Timestamp },
    #[error("the build key cannot be used: {0}")]
    #[diagnostic(forward(0))]
    Key(#[from] BuildKeyError),
    #[error("{message}")]
    #[diagnostic(code(usage::attest_options), help("{help}"))]
    Options { message: String, help: &'static str },
    #[error("`{}` {what}", path.display())]
    #[diagnostic(
        code(usage::not_an_artifact),
        help(
            "rename it, or leave it out of the artifacts, and keep keys out of their folder; the \
             signing host would refuse it"
        )
    )]
    NotAnArtifact { path: PathBuf, what: String },
    /// When the key is gone, the signing host would refuse the build.
    #[error("`{}` is not among the names that the grant allows: {patterns}", path.display())]
    #[diagnostic(
        code(refused::artifact_not_allowed),
        help(
            "leave it out, or ask for a grant that allows it; the build key is kept for the next \
             try"
        )
    )]
    NotAllowed { path: PathBuf, patterns: String },
    #[error("the artifacts cannot be attested: {0}")]
    #[diagnostic(code(usage::artifacts_invalid))]
    List(#[from] Malformed),
    #[error(transparent)]
    #[diagnostic(transparent)]
    File(#[from] FileError),
}

/// Reads the artifacts, and writes the evidence into `out`, or else into the artifacts' folder.
/// What authenticates a list is written after it.
pub fn attest(
    mut key: BuildKey<'_>,
    artifacts: &[PathBuf],
    predicate: Option<Predicate>,
    out: Option<&Path>,
    now: Timestamp,
    progress: &mut dyn Progress,
) -> Result<Attestation, AttestError> {
    let label = key.label()?.clone();
    if let Some(at) = key.grant_expires().filter(|end| *end <= now) {
        return Err(AttestError::Expired { what: "grant", at });
    }
    if let Some(at) = key.expires().filter(|end| *end <= now) {
        let what = "build key";
        return Err(AttestError::Expired { what, at });
    }
    if predicate.is_some() && label.kind != EvidenceKind::Envelope {
        return Err(AttestError::Options {
            message: "a predicate needs a DSSE envelope; this grant asks for other evidence"
                .to_owned(),
            help: "leave `--predicate` out, or ask for a grant of scheme dsse",
        });
    }
    let folder = match out {
        Some(folder) => folder.to_owned(),
        None => common_folder(artifacts)?,
    };

    let mut read = Vec::new();
    for path in artifacts {
        read.push(read_one(path, &label, key.secret.hash(), progress)?);
    }
    let list = read.iter().map(|(artifact, _)| artifact.clone()).collect();
    let list = ArtifactList::sort(list)?;
    refuse_foreign_evidence(&folder, label.kind, &list)?;
    let evidence = match label.kind {
        EvidenceKind::SignedManifest | EvidenceKind::ManifestMac => {
            let text = manifest(&label, &list).to_text();
            let (name, proof) = match &mut key.secret {
                Secret::Nonce(nonce) => (MANIFEST_MAC, nonce.tag(text.as_bytes()).into_bytes()),
                secret => {
                    let state = HashState::of(text.as_bytes(), secret.hash());
                    (MANIFEST_SIGNATURE, secret.sign(&state, &[], now)?)
                }
            };
            vec![
                (MANIFEST.to_owned(), text.into_bytes()),
                (name.to_owned(), proof),
            ]
        }
        EvidenceKind::Envelope => {
            let Secret::Ed25519(secret) = &key.secret else {
                unreachable!("the key is of its label's scheme")
            };
            let (kind, predicate) = match predicate.unwrap_or_else(|| Predicate::Provenance {
                system: String::new(),
            }) {
                Predicate::Given {
                    predicate_type,
                    predicate,
                } => (predicate_type, predicate),
                Predicate::Provenance { system } => {
                    let predicate = to_raw_value(&provenance(&label, &system, now))
                        .expect("it can be written as JSON");
                    (SLSA_PROVENANCE.to_owned(), predicate)
                }
            };
            vec![(
                ENVELOPE.to_owned(),
                seal(&Statement::write(&label, &list, &kind, &predicate), secret),
            )]
        }
        EvidenceKind::Signatures | EvidenceKind::Macs => {
            let mut files = Vec::new();
            for (artifact, state) in &read {
                files.push(one_proof(&mut key.secret, &label, artifact, state, now)?);
            }
            files
        }
    };

    let mut files = Vec::new();
    for (name, bytes) in evidence {
        let path = folder.join(name);
        replace(&path, &bytes, 0o644)?;
        files.push(path);
    }
    Ok(Attestation {
        label,
        artifacts: list,
        files,
    })
}

/// Refuses to write over anything but the evidence of an earlier attestation, before the key is
/// used.
fn refuse_foreign_evidence(
    folder: &Path,
    kind: EvidenceKind,
    list: &ArtifactList,
) -> Result<(), FileError> {
    let names: Vec<_> = match kind.files() {
        EvidenceFiles::Named(files) => files
            .iter()
            .map(|(name, limit)| ((*name).to_owned(), *limit))
            .collect(),
        EvidenceFiles::Each { suffix, limit } => list
            .iter()
            .map(|artifact| (format!("{}{suffix}", artifact.name), limit))
            .collect(),
    };
    names.iter().try_for_each(|(name, limit)| {
        refuse_foreign(&folder.join(name), *limit, |there| {
            is_evidence(kind, name, there)
        })
    })
}

/// Whether a file is evidence of this kind, by its form.
fn is_evidence(kind: EvidenceKind, name: &str, bytes: &[u8]) -> bool {
    let signature = || DetachedSignature::parse_evidence(bytes).ok();
    match kind {
        _ if name == MANIFEST => Manifest::parse(bytes).is_ok(),
        EvidenceKind::SignedManifest => signature().is_some(),
        EvidenceKind::Signatures => signature().is_some_and(|it| it.names_grant()),
        EvidenceKind::Envelope => unverified(bytes)
            .and_then(|payload| Statement::parse(&payload))
            .is_ok_and(|statement| !statement.grants.is_empty()),
        EvidenceKind::ManifestMac | EvidenceKind::Macs => Tag::parse(bytes).is_ok(),
    }
}

fn manifest(label: &BuildKeyLabel, list: &ArtifactList) -> Manifest {
    Manifest {
        grant: label.grant,
        builder: label.builder.clone(),
        project: label.project.clone(),
        version: label.version.clone(),
        artifacts: list.clone(),
    }
}

/// The signature or MAC of one artifact, with the name of its file.
fn one_proof(
    secret: &mut Secret<'_>,
    label: &BuildKeyLabel,
    artifact: &Artifact,
    state: &HashState,
    now: Timestamp,
) -> Result<(String, Vec<u8>), BuildKeyError> {
    let name = &artifact.name;
    if let Secret::Nonce(nonce) = secret {
        let line = sum_line(&artifact.digest, name.as_str());
        return Ok((
            format!("{name}{MAC}"),
            nonce.tag(line.as_bytes()).into_bytes(),
        ));
    }
    let domain = label
        .domain
        .as_ref()
        .expect("a key for such signatures has their domain");
    let notations = [
        (format!("artifact@{domain}"), name.to_string()),
        (format!("grant@{domain}"), label.grant.to_string()),
    ];
    Ok((
        format!("{name}{SIGNATURE}"),
        secret.sign(state, &notations, now)?,
    ))
}

fn read_one(
    path: &Path,
    label: &BuildKeyLabel,
    hash: HashAlgorithm,
    progress: &mut dyn Progress,
) -> Result<(Artifact, HashState), AttestError> {
    let Some(shown) = path.file_name().map(|name| name.to_string_lossy()) else {
        let fault = FileFault::Kind {
            found: "a folder",
            wanted: "a regular file",
        };
        return Err(FileError::new(path, fault).into());
    };
    if is_own(label.kind, &shown) {
        return Err(AttestError::NotAnArtifact {
            path: path.to_owned(),
            what: "is not an artifact: an earlier attestation wrote it".to_owned(),
        });
    }
    let name = shown
        .parse()
        .map_err(|fault: Malformed| AttestError::NotAnArtifact {
            path: path.to_owned(),
            what: format!("cannot be an artifact: {fault}"),
        })?;
    if !label.names.iter().any(|pattern| pattern.matches(&name)) {
        let patterns = label.names.iter();
        let patterns: Vec<_> = patterns.map(|pattern| format!("`{pattern}`")).collect();
        return Err(AttestError::NotAllowed {
            path: path.to_owned(),
            patterns: patterns.join(", "),
        });
    }
    let file = InputFile::open(path)?;
    progress.file(&shown, file.size());
    let mut state = HashState::new(hash);
    let mut first = true;
    file.read_once::<AttestError>(u64::MAX, |piece| {
        let begins = |secret: &str| piece.trim_ascii_start().starts_with(secret.as_bytes());
        if std::mem::take(&mut first) && SECRET_KEYS.into_iter().any(begins) {
            return Err(AttestError::NotAnArtifact {
                path: path.to_owned(),
                what: "is a secret key, and would become public as an artifact".to_owned(),
            });
        }
        state.update(piece);
        progress.read(piece.len() as u64);
        Ok(())
    })?;
    Ok((
        Artifact {
            name,
            digest: state.sha256(),
        },
        state,
    ))
}

/// Whether an earlier attestation of the same kind wrote a file of this name.
fn is_own(kind: EvidenceKind, name: &str) -> bool {
    match kind.files() {
        EvidenceFiles::Named(files) => files.iter().any(|(own, _)| *own == name),
        EvidenceFiles::Each { suffix, .. } => name.ends_with(suffix),
    }
}

fn common_folder(artifacts: &[PathBuf]) -> Result<PathBuf, AttestError> {
    let folder = |path: &PathBuf| match path.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let first = artifacts.first().map(folder).ok_or_else(no_artifact)?;
    match artifacts.iter().map(folder).find(|other| *other != first) {
        None => Ok(first),
        Some(second) => Err(AttestError::Options {
            message: format!(
                "artifacts are in several folders, `{}` and `{}`",
                first.display(),
                second.display()
            ),
            help: "choose the folder for the evidence with `-o DIR`",
        }),
    }
}
