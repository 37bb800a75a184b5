//! M's step: attest what was built, with the build key.

use std::path::{Path, PathBuf};

use serde_json::value::{RawValue, to_raw_value};

use super::build_key::{BuildKey, BuildKeyError, SECRET_KEYS, Secret};
use super::earlier::foreign_evidence;
use crate::domain::artifact::{Artifact, ArtifactList, no_artifact, sum_line};
use crate::domain::build_key::BuildKeyLabel;
use crate::domain::evidence::{EvidenceKind, MOST_DELIVERED};
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
use crate::dsse::seal;
use crate::files::{FileError, FileFault, Folder, InputFile, parent, replace};
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
    #[error(
        "`{}` has {names} already, not made with this key under this grant for these artifacts",
        folder.display()
    )]
    #[diagnostic(
        code(usage::file_exists),
        help(
            "move it away, or let the evidence go elsewhere with `-o DIR`; the build key is kept \
             for the next try"
        )
    )]
    Foreign { folder: PathBuf, names: String },
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

impl AttestError {
    fn several(one: &Folder, other: &Folder) -> Self {
        let (one, other) = (one.path().display(), other.path().display());
        Self::Options {
            message: format!("artifacts are in several folders, `{one}` and `{other}`"),
            help: "choose the folder for the evidence with `-o DIR`",
        }
    }
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
    let names = judged(request.artifacts, bounds)?;
    let sources = folders(request.artifacts)?;
    let folder = match (request.output, &sources[..]) {
        (Some(folder), _) => folder,
        (None, [one, other, ..]) => return Err(AttestError::several(one, other)),
        (None, sources) => sources.first().ok_or_else(no_artifact)?.path(),
    };
    let opened = Folder::open(folder)?;
    if is_among(&opened, &sources)? {
        check_beside(&opened, bounds, &names, request.leaving)?;
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
    let foreign = foreign_evidence(folder, &key.secret, &label, &list);
    if !foreign.is_empty() {
        return Err(AttestError::Foreign {
            folder: folder.to_owned(),
            names: quoted(&foreign),
        });
    }
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
            let text = Manifest::of(label, list.clone()).to_text();
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
    Ok((
        format!("{name}{SIGNATURE}"),
        secret.sign(state, &label.notations(name), now)?,
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
    folder: &Folder,
    bounds: &Bounds,
    artifacts: &[ArtifactName],
    leaving: Option<&Path>,
) -> Result<(), AttestError> {
    let leaving = match leaving {
        Some(path) if Folder::open(parent(path))?.is_same_as(folder)? => path.file_name(),
        _ => None,
    };
    let found = folder.names(MOST_DELIVERED)?;
    let found = found
        .iter()
        .filter(|name| Some(name.as_os_str()) != leaving);
    let strays = bounds.strays(found.map(|name| name.to_string_lossy()), artifacts);
    if strays.is_empty() {
        return Ok(());
    }
    Err(AttestError::Beside {
        folder: folder.path().to_owned(),
        strays: quoted(&strays),
    })
}

/// Some names, for people.
fn quoted(names: &[impl AsRef<str>]) -> String {
    let names = names.iter().map(|name| cut(name.as_ref(), 200));
    let names: Vec<_> = names.map(|name| format!("`{name}`")).collect();
    listed(&names, ", ")
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
        if std::mem::take(&mut first) && is_secret_key(piece) {
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

/// Whether a file begins like a secret key, or is one that could be used here, with text around it.
fn is_secret_key(begin: &[u8]) -> bool {
    let text = String::from_utf8_lossy(begin);
    let start = text.trim_start_matches('\u{feff}').trim_start();
    let mut secrets = SECRET_KEYS.into_iter();
    secrets.clone().any(|secret| start.starts_with(secret))
        || secrets.any(|secret| text.contains(secret)) && BuildKey::parse(begin).is_ok()
}

/// The folders of the artifacts, each once, by whatever paths.
fn folders(artifacts: &[PathBuf]) -> Result<Vec<Folder>, FileError> {
    let mut folders: Vec<Folder> = Vec::new();
    for path in artifacts.iter().map(|path| parent(path)) {
        if folders.iter().any(|folder| folder.path() == path) {
            continue;
        }
        let folder = Folder::open(path)?;
        if !is_among(&folder, &folders)? {
            folders.push(folder);
        }
    }
    Ok(folders)
}

fn is_among(folder: &Folder, folders: &[Folder]) -> Result<bool, FileError> {
    for other in folders {
        if folder.is_same_as(other)? {
            return Ok(true);
        }
    }
    Ok(false)
}
