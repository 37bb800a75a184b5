//! M's step: attest what was built, with the build key.

use std::path::{Path, PathBuf};

use serde_json::value::{RawValue, to_raw_value};

use super::build_key::{BuildKey, BuildKeyError, SECRET_KEYS, Secret};
use crate::domain::artifact::{Artifact, ArtifactList, no_artifact, sum_line};
use crate::domain::build_key::BuildKeyLabel;
use crate::domain::evidence::{EvidenceFiles, EvidenceKind, MOST_DELIVERED};
use crate::domain::first_line::FirstLine;
use crate::domain::grant::{Bounds, listed};
use crate::domain::key::HashAlgorithm;
use crate::domain::malformed::Malformed;
use crate::domain::manifest::Manifest;
use crate::domain::name::ArtifactName;
use crate::domain::reserved::{
    ENVELOPE, MAC, MANIFEST, MANIFEST_MAC, MANIFEST_SIGNATURE, SIGNATURE,
};
use crate::domain::statement::{SLSA_PROVENANCE, Statement, names_only, provenance};
use crate::domain::text::cut;
use crate::domain::time::Timestamp;
use crate::dsse::{Envelope, seal};
use crate::files::{FileError, FileFault, Folder, InputFile, parent, refuse_foreign, replace};
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

/// Why nothing was attested. The build key is kept: the signing host would refuse the build too.
#[expect(missing_docs, reason = "each message says what it means")]
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum AttestError {
    #[error("the {what} expired at {at}")]
    #[diagnostic(
        code(refused::grant_or_build_key_expired),
        help(
            "ask the signing host's operator for a new grant, with a new key if this one was made \
             here"
        )
    )]
    Expired { what: &'static str, at: Timestamp },
    #[error("the signing host would refuse this build: {0}")]
    #[diagnostic(
        code(refused::build_not_allowed),
        help(
            "change the build, or ask for a grant that allows it; the build key is kept for the \
             next try"
        )
    )]
    NotAllowed(#[from] Malformed),
    #[error(
        "the signing host would refuse what is beside the artifacts in `{}`: {strays}",
        folder.display()
    )]
    #[diagnostic(
        code(refused::files_beside_artifacts),
        help(
            "move it away, or let the evidence go elsewhere with `-o DIR` and send only the \
             artifacts with it; the build key is kept for the next try"
        )
    )]
    Beside { folder: PathBuf, strays: String },
    #[error("the build key cannot be used: {0}")]
    #[diagnostic(forward(0))]
    Key(#[from] BuildKeyError),
    #[error("{message}")]
    #[diagnostic(code(usage::attest_options), help("{help}"))]
    Options { message: String, help: &'static str },
    #[error("`{}` is a secret key, and would become public as an artifact", .0.display())]
    #[diagnostic(
        code(usage::not_an_artifact),
        help("leave it out of the artifacts, and keep keys out of their folder")
    )]
    SecretKey(PathBuf),
    #[error(transparent)]
    #[diagnostic(transparent)]
    File(#[from] FileError),
}

/// What is to be attested.
#[derive(Debug)]
pub struct AttestRequest<'a> {
    /// What was built.
    pub artifacts: &'a [PathBuf],
    /// What a DSSE envelope contains beside that.
    pub predicate: Option<Predicate>,
    /// The folder for the evidence, or else the artifacts'.
    pub output: Option<&'a Path>,
    /// The file of the key, where it is removed after this.
    pub leaving: Option<&'a Path>,
}

/// Reads the artifacts, and writes the evidence. What authenticates a list is written after it.
/// Whatever the grant does not allow is refused before anything is written.
pub fn attest(
    mut key: BuildKey<'_>,
    request: AttestRequest<'_>,
    now: Timestamp,
    progress: &mut dyn Progress,
) -> Result<Attestation, AttestError> {
    let label = key.label()?.clone();
    let bounds = &label.bounds;
    let ends = [
        ("grant", Some(bounds.expires)),
        ("build key", key.expires()),
    ];
    for (what, end) in ends {
        if let Some(at) = end.filter(|end| *end <= now) {
            return Err(AttestError::Expired { what, at });
        }
    }
    let by_clock = |fault: Malformed| fault.within("by this machine's clock");
    bounds.judge_time(now).map_err(by_clock)?;
    let predicate = request.predicate;
    if predicate.is_some() && bounds.kind != EvidenceKind::Envelope {
        return Err(AttestError::Options {
            message: "a predicate needs a DSSE envelope; this grant asks for other evidence"
                .to_owned(),
            help: "leave `--predicate` out, or ask for a grant of scheme dsse",
        });
    }
    let common = common_folder(request.artifacts);
    let beside = match (&common, request.output) {
        (Ok(common), Some(folder)) => is_same(common, folder),
        (_, output) => output.is_none(),
    };
    let folder = request
        .output
        .map_or(common, |folder| Ok(folder.to_owned()))?;

    let names = judged(request.artifacts, bounds)?;
    if beside {
        check_beside(&folder, bounds, &names, request.leaving)?;
    }
    let mut read = Vec::new();
    let mut left = bounds.artifacts.max_bytes;
    for (path, name) in request.artifacts.iter().zip(names) {
        read.push(read_one(
            path,
            name,
            &mut left,
            key.secret.hash(),
            progress,
        )?);
    }
    let list = read.iter().map(|(artifact, _)| artifact.clone()).collect();
    let list = ArtifactList::sort(list)?;
    refuse_foreign_evidence(&folder, bounds.kind, &list)?;
    let evidence = evidence(&mut key.secret, &label, &list, &read, predicate, now)?;
    for (name, bytes) in &evidence {
        let limit = bounds.kind.limit(name).expect("it is of this kind");
        if bytes.len() as u64 > limit {
            let text = format!("`{name}` would be larger than {limit} bytes");
            return Err(Malformed::new(text).into());
        }
    }
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

/// The files of the evidence, each with its name.
fn evidence(
    secret: &mut Secret<'_>,
    label: &BuildKeyLabel,
    list: &ArtifactList,
    read: &[(Artifact, HashState)],
    predicate: Option<Predicate>,
    now: Timestamp,
) -> Result<Vec<(String, Vec<u8>)>, AttestError> {
    Ok(match label.bounds.kind {
        EvidenceKind::SignedManifest | EvidenceKind::ManifestMac => {
            let text = manifest(label, list).to_text();
            let (name, proof) = match secret {
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
            let Secret::Ed25519(secret) = secret else {
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
                    let predicate = to_raw_value(&provenance(label, &system, now))
                        .expect("it can be written as JSON");
                    (SLSA_PROVENANCE.to_owned(), predicate)
                }
            };
            let statement = Statement::write(label, list, &kind, &predicate);
            check_statement(&statement, label)?;
            vec![(ENVELOPE.to_owned(), seal(&statement, secret))]
        }
        EvidenceKind::Signatures | EvidenceKind::Macs => {
            let mut files = Vec::new();
            for (artifact, state) in read {
                files.push(one_proof(secret, label, artifact, state, now)?);
            }
            files
        }
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
        EvidenceKind::Envelope => Envelope::parse(bytes)
            .and_then(|envelope| Statement::parse(envelope.unverified()))
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

/// The names of the artifacts, if the grant allows them and their size.
fn judged(artifacts: &[PathBuf], bounds: &Bounds) -> Result<Vec<ArtifactName>, AttestError> {
    let mut names = Vec::new();
    let mut bytes = 0_u64;
    for path in artifacts {
        let name = path.file_name().ok_or_else(|| {
            let fault = FileFault::Kind {
                found: "a folder",
                wanted: "a regular file",
            };
            FileError::new(path, fault)
        })?;
        names.push(name.to_string_lossy());
    }
    bounds.judge_names(names.iter().map(|name| &**name))?;
    for path in artifacts {
        bytes = bytes.saturating_add(InputFile::open(path)?.size());
    }
    bounds.judge_bytes(bytes)?;
    Ok(names
        .iter()
        .map(|name| name.parse())
        .collect::<Result<_, _>>()?)
}

/// Refuses what is in the artifacts' folder beside them and their evidence: with the evidence in
/// it, it is the folder that the signing host will get.
fn check_beside(
    folder: &Path,
    bounds: &Bounds,
    artifacts: &[ArtifactName],
    leaving: Option<&Path>,
) -> Result<(), AttestError> {
    let leaving = leaving
        .filter(|path| is_same(parent(path), folder))
        .and_then(Path::file_name);
    let found = Folder::open(folder)?.names(MOST_DELIVERED)?;
    let found = found
        .iter()
        .filter(|name| Some(name.as_os_str()) != leaving);
    let strays = bounds.strays(found.map(|name| name.to_string_lossy()), artifacts);
    if strays.is_empty() {
        return Ok(());
    }
    let strays: Vec<_> = strays
        .iter()
        .map(|name| format!("`{}`", cut(name, 200)))
        .collect();
    Err(AttestError::Beside {
        folder: folder.to_owned(),
        strays: listed(&strays, ", "),
    })
}

/// Whether both are one folder.
fn is_same(one: &Path, other: &Path) -> bool {
    let same = || Folder::open(one)?.is_same_as(&Folder::open(other)?);
    same().unwrap_or(false)
}

/// The signing host reads it in the same way.
fn check_statement(payload: &[u8], label: &BuildKeyLabel) -> Result<(), Malformed> {
    let statement = Statement::parse(payload)?;
    if !names_only(&statement.grants, label.grant) {
        return Err(Malformed::new("the predicate names another grant"));
    }
    for at in statement.times {
        label
            .bounds
            .judge_time(at)
            .map_err(|fault| fault.within("the predicate"))?;
    }
    Ok(())
}

/// Reads an artifact, of which `left` bytes are allowed.
fn read_one(
    path: &Path,
    name: ArtifactName,
    left: &mut u64,
    hash: HashAlgorithm,
    progress: &mut dyn Progress,
) -> Result<(Artifact, HashState), AttestError> {
    let file = InputFile::open(path)?;
    progress.file(name.as_str(), file.size());
    let mut state = HashState::new(hash);
    let mut first = true;
    let mut first_line = FirstLine::default();
    *left -= file.read_once::<AttestError>(*left, |piece| {
        let begins = |secret: &str| piece.trim_ascii_start().starts_with(secret.as_bytes());
        if std::mem::take(&mut first) && SECRET_KEYS.into_iter().any(begins) {
            return Err(AttestError::SecretKey(path.to_owned()));
        }
        state.update(piece);
        first_line.update(piece);
        progress.read(piece.len() as u64);
        Ok(())
    })?;
    first_line.check(&name)?;
    let digest = state.sha256();
    Ok((Artifact { name, digest }, state))
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
