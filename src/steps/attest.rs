//! M's step: list what was built, sign the list, and let the key go.

use std::path::{Path, PathBuf};

use super::Progress;
use crate::domain::artifact::{Artifact, ArtifactList, BadList};
use crate::domain::grant::NamePattern;
use crate::domain::key::HashAlgorithm;
use crate::domain::manifest::{MANIFEST, MANIFEST_SIGNATURE, Manifest};
use crate::domain::name::BadName;
use crate::domain::time::Timestamp;
use crate::files::{FileError, InputFile, replace};
use crate::openpgp::{BadBuildKey, BuildKey, HashState};

/// How the build key's file begins, which `dist/*` may catch too.
const SECRET_KEY: &[u8] = b"-----BEGIN PGP PRIVATE KEY BLOCK-----";

/// What M leaves beside its artifacts.
#[derive(Debug)]
pub struct Attestation {
    /// What was listed.
    pub manifest: Manifest,
    /// Where the list is.
    pub manifest_path: PathBuf,
    /// Where its signature is.
    pub signature_path: PathBuf,
}

/// Why nothing was attested.
#[derive(Debug, thiserror::Error)]
pub enum AttestError {
    /// The key's time is over.
    #[error("the build key expired at {at}, with its grant")]
    Expired {
        /// When.
        at: Timestamp,
    },
    /// The key cannot sign.
    #[error("build key {0}")]
    Key(#[from] BadBuildKey),
    /// An artifact has a name that no release can have.
    #[error("`{}`: {fault}", path.display())]
    Name {
        /// The artifact.
        path: PathBuf,
        /// What is wrong with its name.
        fault: BadName,
    },
    /// A file that an earlier attestation wrote.
    #[error("`{}` is no artifact: an earlier attestation wrote it", path.display())]
    OwnFile {
        /// The file.
        path: PathBuf,
    },
    /// A name that the grant does not allow: the signing host would refuse the build when the key is gone.
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
    #[error("the build {0}")]
    List(#[from] BadList),
    /// A file that cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Reads the artifacts, and writes the manifest and its signature into `out`, or else into the artifacts' folder.
/// The signature is written last.
pub fn attest(
    key: &BuildKey,
    artifacts: &[PathBuf],
    out: Option<&Path>,
    now: Timestamp,
    progress: &mut dyn Progress,
) -> Result<Attestation, AttestError> {
    if let Some(at) = key.expires().filter(|end| *end <= now) {
        return Err(AttestError::Expired { at });
    }
    let folder = match out {
        Some(folder) => folder.to_owned(),
        None => common_folder(artifacts)?,
    };

    let names = &key.label().names;
    let listed = artifacts.iter().map(|path| list_one(path, names, progress)).collect::<Result<_, AttestError>>()?;
    let label = key.label();
    let manifest = Manifest {
        grant: label.grant,
        builder: label.builder.clone(),
        project: label.project.clone(),
        version: label.version.clone(),
        artifacts: ArtifactList::sort(listed)?,
    };
    let text = manifest.to_text();
    let signature = key.sign(&HashState::of(text.as_bytes(), HashAlgorithm::Sha256), now)?;

    let (manifest_path, signature_path) = (folder.join(MANIFEST), folder.join(MANIFEST_SIGNATURE));
    replace(&manifest_path, text.as_bytes(), 0o644)?;
    replace(&signature_path, &signature, 0o644)?;
    Ok(Attestation { manifest, manifest_path, signature_path })
}

fn list_one(path: &Path, names: &[NamePattern], progress: &mut dyn Progress) -> Result<Artifact, AttestError> {
    let shown = path.file_name().unwrap_or_default().to_string_lossy();
    if [MANIFEST, MANIFEST_SIGNATURE].contains(&&*shown) {
        return Err(AttestError::OwnFile { path: path.to_owned() });
    }
    let name = shown.parse().map_err(|fault| AttestError::Name { path: path.to_owned(), fault })?;
    if !names.iter().any(|pattern| pattern.fits(&name)) {
        let patterns = names.iter().map(|pattern| format!("`{pattern}`")).collect();
        return Err(AttestError::NotAllowed { path: path.to_owned(), patterns });
    }
    let file = InputFile::open(path)?;
    progress.file(&shown, file.size());
    let mut state = HashState::new(HashAlgorithm::Sha256);
    let mut first = true;
    file.read_once::<AttestError>(u64::MAX, |piece| {
        if std::mem::take(&mut first) && piece.trim_ascii_start().starts_with(SECRET_KEY) {
            return Err(AttestError::SecretKey { path: path.to_owned() });
        }
        state.update(piece);
        progress.read(piece.len() as u64);
        Ok(())
    })?;
    Ok(Artifact { name, digest: state.sha256() })
}

fn common_folder(artifacts: &[PathBuf]) -> Result<PathBuf, AttestError> {
    let folder = |path: &PathBuf| match path.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let first = artifacts.first().map(folder).ok_or(BadList::Empty)?;
    match artifacts.iter().map(folder).find(|other| *other != first) {
        None => Ok(first),
        Some(second) => Err(AttestError::SeveralFolders { first, second }),
    }
}
