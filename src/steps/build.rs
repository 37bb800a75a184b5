//! H's verification: everything that must hold before the token is touched, in this order.
//!
//! 1. the grant was issued here, and its time is now (or was, when this very manifest was first accepted);
//! 2. the release certificate's key may sign now, and is the key that the grant names;
//! 3. M's signature holds over the manifest's bytes; only then is the manifest parsed;
//! 4. the manifest speaks of this grant, its builder, project and version, and only of what the grant allows;
//! 5. no other manifest closed the grant before;
//! 6. the folder holds the manifest's artifacts and nothing else, regular files all of them;
//! 7. each artifact, read once, has the digest that the manifest says.
//!
//! What comes out is a [`VerifiedBuild`]. Nothing else makes one, and nothing but one can be signed.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::Progress;
use super::evidence::{self, Attested, EvidenceError};
use crate::domain::artifact::MOST_ARTIFACTS;
use crate::domain::digest::{GrantId, Sha256};
use crate::domain::grant::{GRANT, Grant};
use crate::domain::key::{Fingerprint, HashAlgorithm};
use crate::domain::manifest::{LARGEST_MANIFEST, MANIFEST, MANIFEST_SIGNATURE};
use crate::domain::name::{ArtifactName, BuilderName};
use crate::domain::release::{BUILD_KEY, Coverage, EVIDENCE, EvidenceDigests, LARGEST_SIGNATURE, Sums};
use crate::domain::time::Timestamp;
use crate::files::{FileError, FileFault, Folder, StagedFolder, parent};
use crate::home::Home;
use crate::ledger::{Ledger, LedgerError};
use crate::openpgp::{HashState, KeyTrouble, SigningKey};

/// A build that passed every check, with the hash state of each artifact's one read and a copy of the very bytes that
/// went into it.
#[derive(Debug)]
pub struct VerifiedBuild {
    pub(super) grant: Grant,
    pub(super) attested: Attested,
    pub(super) manifest: Sha256,
    pub(super) accepted: bool,
    pub(super) signing_key: SigningKey,
    pub(super) hash: HashAlgorithm,
    pub(super) artifacts: BTreeMap<ArtifactName, HashState>,
    pub(super) sums: Sums,
    pub(super) staged: StagedFolder,
    /// Not visible beyond this file: nobody else can make the value.
    _every_check_passed: (),
}

/// Why a build is refused. The token was not used.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Not one of ours, or not as we issued it.
    #[error("grant {0} was not issued by this signing host")]
    NotIssued(GrantId),
    /// Too early.
    #[error("grant {grant} is not valid before {not_before}")]
    NotYetValid {
        /// The grant.
        grant: String,
        /// From when on it counts.
        not_before: Timestamp,
    },
    /// Too late.
    #[error("grant {grant} expired at {expires}")]
    Expired {
        /// The grant.
        grant: String,
        /// When.
        expires: Timestamp,
    },
    /// The release key may not sign now.
    #[error("the release key cannot sign: {0}")]
    ReleaseKey(#[from] KeyTrouble),
    /// The grant is for another release key.
    #[error("the grant is for release key {granted}, but this signing host's is {ours}")]
    OtherReleaseKey {
        /// The key that the grant names.
        granted: Fingerprint,
        /// The key that the configuration names.
        ours: Fingerprint,
    },
    /// M's evidence.
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
    /// The grant is used up.
    #[error("grant {grant} was closed by another manifest, sha256 {accepted}, of builder `{builder}` at {at}")]
    Closed {
        /// The grant.
        grant: String,
        /// The manifest that was accepted.
        accepted: Sha256,
        /// Whose it was.
        builder: BuilderName,
        /// When it was accepted.
        at: Timestamp,
    },
    /// A file that the manifest does not list.
    #[error("`{}` holds `{name}`, which the manifest does not list", folder.display())]
    Extra {
        /// The folder.
        folder: PathBuf,
        /// The file, as it is called: not fit for a terminal.
        name: String,
    },
    /// An artifact that is not there.
    #[error("artifact `{name}` is in the manifest, but not in `{}`", folder.display())]
    MissingArtifact {
        /// Its name.
        name: ArtifactName,
        /// The folder.
        folder: PathBuf,
    },
    /// An artifact that is not what M built.
    #[error("artifact `{name}` has SHA-256 {found}, but the manifest says {expected}")]
    Digest {
        /// Its name.
        name: ArtifactName,
        /// What it has.
        found: Sha256,
        /// What the manifest says.
        expected: Sha256,
    },
    /// More bytes than allowed.
    #[error("artifacts have more than {limit} bytes together, which is all that the grant allows (at `{name}`)")]
    TooLarge {
        /// The artifact that went over it.
        name: ArtifactName,
        /// What the grant allows.
        limit: u64,
    },
    /// A file of the build that is not what it must be, or cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The release's folder, which is filled while the artifacts are read.
    #[error("the release cannot be written: {0}")]
    Output(FileError),
    /// The release would stand among the artifacts.
    #[error("the release cannot be written into `{}`, which it is made from", .0.display())]
    IntoItself(PathBuf),
    /// H's ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl BuildError {
    /// Whether the build is at fault, and not a disk of ours.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::File(error) => !matches!(error.fault, FileFault::Io(_)),
            Self::Output(_) | Self::IntoItself(_) | Self::Ledger(_) => false,
            Self::NotIssued(_)
            | Self::NotYetValid { .. }
            | Self::Expired { .. }
            | Self::ReleaseKey(_)
            | Self::OtherReleaseKey { .. }
            | Self::Evidence(_)
            | Self::Closed { .. }
            | Self::Extra { .. }
            | Self::MissingArtifact { .. }
            | Self::Digest { .. }
            | Self::TooLarge { .. } => true,
        }
    }
}

/// Checks the build in `from` under `grant`. The artifacts are copied, in their one read, into a folder aside that will
/// become `release`.
pub fn verify(
    grant: Grant,
    from: &Folder,
    release: &Path,
    home: &Home,
    ledger: &Ledger,
    now: Timestamp,
    progress: &mut dyn Progress,
) -> Result<VerifiedBuild, BuildError> {
    let parent = Folder::open(parent(release)).map_err(BuildError::Output)?;
    if parent.is_same_as(from)? {
        return Err(BuildError::IntoItself(from.path().to_owned()));
    }
    if !ledger.issued(grant.id())? {
        return Err(BuildError::NotIssued(grant.id()));
    }
    let manifest_bytes = from.read(MANIFEST, LARGEST_MANIFEST)?;
    let signature_bytes = from.read(MANIFEST_SIGNATURE, LARGEST_SIGNATURE)?;
    let manifest = Sha256::of(&manifest_bytes);
    let accepted = ledger.accepted(grant.id())?;
    // A run that was interrupted may be finished after its grant expired: the grant's time is judged once, at acceptance.
    let judged_at =
        accepted.as_ref().filter(|accepted| accepted.manifest == manifest).map_or(now, |accepted| accepted.at);
    check_window(&grant, judged_at)?;

    let signing_key = home.certificate.signing_key(home.config.signing_key, now)?;
    if signing_key.fingerprint() != grant.terms().release_key {
        return Err(BuildError::OtherReleaseKey {
            granted: grant.terms().release_key,
            ours: signing_key.fingerprint(),
        });
    }
    let hash = match ledger.intent(grant.id())? {
        Some((_, intent)) => intent.hash,
        None => signing_key.public().least_hash().max(home.config.digest),
    };

    let attested = evidence::check(&grant, &manifest_bytes, &signature_bytes, now)?;
    if let Some(accepted) = accepted.as_ref().filter(|accepted| accepted.manifest != manifest) {
        let (accepted, builder, at) = (accepted.manifest, accepted.builder.clone(), accepted.at);
        return Err(BuildError::Closed { grant: grant.id().short(), accepted, builder, at });
    }

    check_names(&attested, from)?;
    let staged = StagedFolder::new(release).map_err(BuildError::Output)?;
    let artifacts = read_artifacts(&grant, &attested, from, hash, &staged, progress)?;

    let build_key = attested.build_key().binary();
    let builder = &attested.manifest().builder;
    for (file, bytes) in [(MANIFEST, &manifest_bytes), (MANIFEST_SIGNATURE, &signature_bytes), (BUILD_KEY, &build_key)]
    {
        staged.write(&format!("{EVIDENCE}/{builder}/{file}"), bytes).map_err(BuildError::Output)?;
    }
    staged.write(&format!("{EVIDENCE}/{GRANT}"), grant.bytes()).map_err(BuildError::Output)?;
    let digests = EvidenceDigests { manifest, signature: Sha256::of(&signature_bytes), key: Sha256::of(&build_key) };
    let builders = BTreeMap::from([(builder.clone(), digests)]);
    let sums = Sums::new(attested.manifest().artifacts.clone(), Sha256::of(grant.bytes()), builders);

    let accepted = accepted.is_some();
    Ok(VerifiedBuild {
        grant,
        attested,
        manifest,
        accepted,
        signing_key,
        hash,
        artifacts,
        sums,
        staged,
        _every_check_passed: (),
    })
}

fn check_window(grant: &Grant, at: Timestamp) -> Result<(), BuildError> {
    let (not_before, expires) = (grant.terms().not_before, grant.terms().expires);
    if at < not_before {
        Err(BuildError::NotYetValid { grant: grant.id().short(), not_before })
    } else if at >= expires {
        Err(BuildError::Expired { grant: grant.id().short(), expires })
    } else {
        Ok(())
    }
}

/// The manifest's artifacts, all of them, and nothing else.
fn check_names(attested: &Attested, from: &Folder) -> Result<(), BuildError> {
    let listed = &attested.manifest().artifacts;
    let present = from.names(MOST_ARTIFACTS + 2)?;
    let ours = |name: &OsString| name == MANIFEST || name == MANIFEST_SIGNATURE;
    let known = |name: &OsString| name.to_str().is_some_and(|name| listed.contains(name));
    if let Some(extra) = present.iter().find(|name| !ours(name) && !known(name)) {
        let name = extra.to_string_lossy().chars().take(200).collect();
        return Err(BuildError::Extra { folder: from.path().to_owned(), name });
    }
    let missing = listed.iter().find(|artifact| present.binary_search(&artifact.name.as_str().into()).is_err());
    match missing {
        Some(artifact) => {
            Err(BuildError::MissingArtifact { name: artifact.name.clone(), folder: from.path().to_owned() })
        }
        None => Ok(()),
    }
}

/// The one read of each artifact: into the hash state, and into the release.
fn read_artifacts(
    grant: &Grant,
    attested: &Attested,
    from: &Folder,
    hash: HashAlgorithm,
    staged: &StagedFolder,
    progress: &mut dyn Progress,
) -> Result<BTreeMap<ArtifactName, HashState>, BuildError> {
    let limit = grant.terms().artifacts.max_bytes;
    let mut left = limit;
    let mut states = BTreeMap::new();
    for artifact in &attested.manifest().artifacts {
        let name = artifact.name.as_str();
        let too_large = || BuildError::TooLarge { name: artifact.name.clone(), limit };
        let file = from.file(name)?;
        progress.file(name, file.size());
        let mut copy = staged.file(name).map_err(BuildError::Output)?;
        let mut state = HashState::new(hash);
        let read = file.read_once::<BuildError>(left, |piece| {
            state.update(piece);
            progress.read(piece.len() as u64);
            copy.write(piece).map_err(BuildError::Output)
        });
        left -= read.map_err(|error| match error {
            BuildError::File(FileError { fault: FileFault::TooLarge { .. }, .. }) => too_large(),
            other => other,
        })?;
        copy.finish().map_err(BuildError::Output)?;
        let found = state.sha256();
        if found != artifact.digest {
            return Err(BuildError::Digest { name: artifact.name.clone(), found, expected: artifact.digest });
        }
        states.insert(artifact.name.clone(), state);
    }
    Ok(states)
}

impl VerifiedBuild {
    /// The grant it was built under.
    pub fn grant(&self) -> &Grant {
        &self.grant
    }

    /// What its builder says.
    pub fn attested(&self) -> &Attested {
        &self.attested
    }

    /// How many signatures its release has.
    pub fn signatures(&self) -> usize {
        self.sums.signed_files().count()
    }

    /// The same build, for a release of which this will be signed.
    #[must_use]
    pub fn covering(self, coverage: Coverage) -> Self {
        Self { sums: self.sums.covering(coverage), ..self }
    }

    /// The key that will sign it.
    pub fn signing_key(&self) -> &SigningKey {
        &self.signing_key
    }
}
