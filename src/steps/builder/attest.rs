//! M's step: say under its key what was built, and let the key go.

use std::path::{Path, PathBuf};

use serde_json::value::{RawValue, to_raw_value};

use super::build_key::{BuildKey, KeyFault, SECRET_KEYS, Secret};
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
use crate::dsse::seal;
use crate::files::{FileError, FileFault, InputFile, replace};
use crate::openpgp::HashState;
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

/// What the statement of a DSSE envelope says beside its subjects.
#[derive(Debug, Clone)]
pub enum Predicate {
    /// SLSA provenance of what this machine says of itself.
    Provenance {
        /// What it runs on.
        system: String,
    },
    /// What the builder brings.
    Given {
        /// Its type, a URI.
        predicate_type: String,
        /// The predicate, as it is written.
        predicate: Box<RawValue>,
    },
}

/// Why nothing was attested.
#[derive(Debug, thiserror::Error)]
pub enum AttestError {
    /// The key's time is over.
    #[error("the build key expired at {at}")]
    Expired {
        /// When.
        at: Timestamp,
    },
    /// The grant's time is over: the signing host would refuse the build when the key is gone.
    #[error("the grant expired at {at}")]
    GrantExpired {
        /// When.
        at: Timestamp,
    },
    /// The key cannot sign.
    #[error("build key {0}")]
    Key(#[from] KeyFault),
    /// A predicate where the evidence has no place for one.
    #[error("a predicate belongs into a DSSE envelope, and this grant asks for other evidence")]
    NoPredicate,
    /// An artifact has a name that no release can have.
    #[error("`{}`: {fault}", path.display())]
    Name {
        /// The artifact.
        path: PathBuf,
        /// What is wrong with its name.
        fault: Malformed,
    },
    /// A file that an earlier attestation wrote.
    #[error("`{}` is no artifact: an earlier attestation wrote it", path.display())]
    OwnFile {
        /// The file.
        path: PathBuf,
    },
    /// A name that the grant does not allow: the signing host would refuse the build when the key
    /// is gone.
    #[error("`{}` is not among the names that the grant allows: {}", path.display(), patterns.join(", "))]
    NotAllowed {
        /// The artifact.
        path: PathBuf,
        /// The grant's patterns.
        patterns: Vec<String>,
    },
    /// A secret key, by mistake.
    #[error("`{}` is a secret key, and would become public as an artifact", path.display())]
    SecretKey {
        /// The file.
        path: PathBuf,
    },
    /// The artifacts are in several folders.
    #[error("artifacts are in several folders, `{}` and `{}`", first.display(), second.display())]
    SeveralFolders {
        /// One.
        first: PathBuf,
        /// Another.
        second: PathBuf,
    },
    /// The list as a whole.
    #[error("the artifacts cannot be attested: {0}")]
    List(#[from] Malformed),
    /// A file that cannot be read or written.
    #[error(transparent)]
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
        return Err(AttestError::GrantExpired { at });
    }
    if let Some(at) = key.expires().filter(|end| *end <= now) {
        return Err(AttestError::Expired { at });
    }
    if predicate.is_some() && label.kind != EvidenceKind::Envelope {
        return Err(AttestError::NoPredicate);
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
) -> Result<(String, Vec<u8>), KeyFault> {
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
        .expect("a key for such signatures says their domain");
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
        return Err(AttestError::OwnFile {
            path: path.to_owned(),
        });
    }
    let name = shown.parse().map_err(|fault| AttestError::Name {
        path: path.to_owned(),
        fault,
    })?;
    if !label.names.iter().any(|pattern| pattern.fits(&name)) {
        let patterns = label
            .names
            .iter()
            .map(|pattern| format!("`{pattern}`"))
            .collect();
        return Err(AttestError::NotAllowed {
            path: path.to_owned(),
            patterns,
        });
    }
    let file = InputFile::open(path)?;
    progress.file(&shown, file.size());
    let mut state = HashState::new(hash);
    let mut first = true;
    file.read_once::<AttestError>(u64::MAX, |piece| {
        let begins = |secret: &str| piece.trim_ascii_start().starts_with(secret.as_bytes());
        if std::mem::take(&mut first) && SECRET_KEYS.into_iter().any(begins) {
            return Err(AttestError::SecretKey {
                path: path.to_owned(),
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
        Some(second) => Err(AttestError::SeveralFolders { first, second }),
    }
}
