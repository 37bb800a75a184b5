//! H's verification: everything that must hold before the token is touched, in this order.
//!
//! 1. the grant was issued here, is not revoked and was approved, and its time is now (or was, when
//!    this very evidence was first accepted, for which its bytes are read, as many as the grant
//!    allows, and nothing is concluded from them);
//! 2. the release certificate's key may sign now, and is the key that the grant names;
//! 3. each builder's evidence: what authenticates it first, and only then what it says;
//! 4. it speaks of this grant, and only of what the grant allows; enough builders speak of every
//!    artifact, and no two differ;
//! 5. each folder holds what its builder attested and nothing else, regular files all of them;
//! 6. each artifact, read once, is what every builder says that speaks of it;
//! 7. no other build closed the grant before.
//!
//! What comes out is a [`VerifiedBuild`]. Nothing else makes one, nothing but one can be signed,
//! and nothing in it depends on the scheme of the evidence.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::policy::{self, Approval, PolicyError};
use crate::domain::artifact::{Artifact, ArtifactList, MOST_ARTIFACTS};
use crate::domain::digest::{GrantId, Sha256};
use crate::domain::evidence::{Differences, EvidenceFiles, digest_of_all};
use crate::domain::grant::Grant;
use crate::domain::key::{Fingerprint, HashAlgorithm};
use crate::domain::malformed::Malformed;
use crate::domain::name::{ArtifactName, BuilderName};
use crate::domain::release::{Coverage, LARGEST_SUMS, Sums};
use crate::domain::reserved::{APPROVALS, EVIDENCE, GRANT, SUMS};
use crate::domain::time::Timestamp;
use crate::files::{FileError, FileFault, Folder, StagedFolder, parent};
use crate::home::{Home, HomeError};
use crate::ledger::{Accepted, Ledger, LedgerError};
use crate::mac::MacKey;
use crate::openpgp::{HashState, KeyTrouble, SigningKey};
use crate::steps::Progress;
use crate::steps::evidence::builders::{BuilderKey, Builders};
use crate::steps::evidence::error::{Dissent, EvidenceError};
use crate::steps::evidence::quorum;
use crate::steps::evidence::{self, Attested, Files, MacCheck};

/// A build that passed every check, with the hash state of each artifact's one read and a copy of
/// the very bytes that went into it.
#[derive(Debug)]
pub struct VerifiedBuild {
    pub(super) grant: Grant,
    pub(super) agreement: Agreement,
    pub(super) accepted: bool,
    pub(super) signing_key: SigningKey,
    pub(super) hash: HashAlgorithm,
    pub(super) artifacts: BTreeMap<ArtifactName, HashState>,
    pub(super) sums: Sums,
    pub(super) staged: StagedFolder,
    /// Not visible beyond this file: nobody else can make the value.
    _every_check_passed: (),
}

/// Who says what: builders that agree in everything they both speak of.
#[derive(Debug, Clone)]
pub struct Agreement {
    /// The builders who left evidence, each with the digest of it.
    pub builders: BTreeMap<BuilderName, Sha256>,
    /// The builders who attested each artifact.
    pub artifacts: BTreeMap<ArtifactName, Vec<BuilderName>>,
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
    /// Not approved, revoked, too soon or too old.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The evidence of one builder.
    #[error("{}{fault}", builder.as_ref().map_or_else(String::new, |builder| format!("evidence of builder `{builder}`: ")))]
    Evidence {
        /// The builder, where there are several.
        builder: Option<BuilderName>,
        /// What is wrong.
        fault: Box<EvidenceError>,
    },
    /// The nonce that this evidence would be checked with is gone.
    #[error(
        "the nonce of grant {grant} was wiped when it closed or expired, and this is not evidence that was accepted before"
    )]
    NonceGone {
        /// The grant.
        grant: String,
    },
    /// The nonce that is kept is not that of the grant.
    #[error("the nonce kept for builder `{builder}` is not the grant's")]
    NonceChanged {
        /// The builder.
        builder: BuilderName,
    },
    /// The grant is used up.
    #[error(
        "grant {grant} was closed by another build, of {}, at {at}",
        names(builders)
    )]
    Closed {
        /// The grant.
        grant: String,
        /// Whose build it was.
        builders: Vec<BuilderName>,
        /// When it was accepted.
        at: Timestamp,
    },
    /// A file or folder that belongs to no builder's evidence.
    #[error("`{}` holds `{name}`, which {}", folder.display(), match builder {
        Some(builder) => format!("builder `{builder}` did not attest"),
        None => "is no builder of the grant".to_owned(),
    })]
    Extra {
        /// The folder.
        folder: PathBuf,
        /// The file, as it is called: not fit for a terminal.
        name: String,
        /// The builder whose folder it is; nothing for the folder of all of them.
        builder: Option<BuilderName>,
    },
    /// An artifact that is not there.
    #[error("artifact `{name}` is attested, but not in `{}`", folder.display())]
    MissingArtifact {
        /// Its name.
        name: ArtifactName,
        /// The folder.
        folder: PathBuf,
    },
    /// More bytes than allowed.
    #[error(
        "artifacts have more than {limit} bytes together, which is all that the grant allows (at `{name}`)"
    )]
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
    /// H's home, or its ledger.
    #[error(transparent)]
    Home(#[from] HomeError),
}

impl From<LedgerError> for BuildError {
    fn from(error: LedgerError) -> Self {
        Self::Home(error.into())
    }
}

fn names(builders: &[BuilderName]) -> String {
    builders
        .iter()
        .map(|builder| format!("builder `{builder}`"))
        .collect::<Vec<_>>()
        .join(" and ")
}

impl BuildError {
    fn evidence(builder: Option<BuilderName>, fault: EvidenceError) -> Self {
        Self::Evidence {
            builder,
            fault: Box::new(fault),
        }
    }

    fn list(fault: Malformed) -> Self {
        Self::evidence(None, fault.within("the evidence is refused").into())
    }

    /// What builders differ in, if that is why.
    pub fn differences(&self) -> Option<&Differences> {
        match self {
            Self::Evidence { fault, .. } => match &**fault {
                EvidenceError::Dissent(dissent) => Some(&dissent.differences),
                _ => None,
            },
            _ => None,
        }
    }

    /// Whether the build is at fault, and not a disk of ours.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::File(error) => !error.is_io(),
            Self::Output(_) | Self::IntoItself(_) | Self::Home(_) => false,
            Self::Policy(error) => !matches!(error, PolicyError::Trouble(_)),
            Self::NotIssued(_)
            | Self::NotYetValid { .. }
            | Self::Expired { .. }
            | Self::ReleaseKey(_)
            | Self::OtherReleaseKey { .. }
            | Self::Evidence { .. }
            | Self::NonceGone { .. }
            | Self::NonceChanged { .. }
            | Self::Closed { .. }
            | Self::Extra { .. }
            | Self::MissingArtifact { .. }
            | Self::TooLarge { .. } => true,
        }
    }
}

/// What a build is checked for.
#[derive(Debug)]
pub struct BuildRequest<'a> {
    /// The grant it is said to be made under.
    pub grant: Grant,
    /// A builder's folder; where the grant names several builders, a folder with a folder for each
    /// that is there.
    pub from: &'a Folder,
    /// What the release will be called.
    pub release: &'a Path,
    /// Whether a version that is older than what was signed before is right.
    pub allow_older: bool,
}

/// Checks a build. The artifacts are copied, in their one read, into a folder aside that will
/// become the release.
pub fn verify(
    request: BuildRequest<'_>,
    home: &Home,
    ledger: &Ledger,
    now: Timestamp,
    progress: &mut dyn Progress,
) -> Result<VerifiedBuild, BuildError> {
    let BuildRequest {
        grant,
        from,
        release,
        allow_older,
    } = request;
    if !ledger.issued(grant.id())? {
        return Err(BuildError::NotIssued(grant.id()));
    }
    let builders =
        Builders::of(grant.terms()).map_err(|fault| BuildError::evidence(None, fault))?;
    let accepted = ledger.accepted(grant.id())?;
    let permitted = |at| -> Result<_, BuildError> {
        let approvals = policy::check(&grant, home, ledger, at, allow_older)?;
        check_window(&grant, at)?;
        Ok(approvals)
    };
    // What may not be signed at all is not worth reading.
    let permitted_now = accepted.is_none().then(|| permitted(now)).transpose()?;
    let deliveries = deliveries(&grant, &builders, from)?;
    check_place(release, from, &deliveries)?;

    // A run that was interrupted may be finished after its grant expired: the grant's time is
    // judged once, at acceptance.
    let same = |accepted: &&Accepted| {
        deliveries
            .iter()
            .map(Delivery::named_digest)
            .eq(accepted.builders.clone())
    };
    let judged_at = accepted
        .as_ref()
        .filter(same)
        .map_or(now, |accepted| accepted.at);
    let approvals = permitted_now.map_or_else(|| permitted(judged_at), Ok)?;

    let signing_key = release_key(&grant, home, now)?;
    let hash = match ledger.intent(grant.id())? {
        Some((_, intent)) => intent.hash,
        None => signing_key.public().least_hash().max(home.config.digest),
    };

    let nonces = nonces(&grant, &deliveries, &builders, accepted.as_ref(), home)?;
    let attested = attested(&grant, &builders, &deliveries, &nonces, now)?;
    let build = Build {
        grant: &grant,
        builders: &builders,
        deliveries,
        attested,
        nonces,
        now,
    };
    let agreed = quorum::settle(grant.terms(), &build.attested)
        .map_err(|fault| BuildError::evidence(None, fault))?;
    build.check_folders(&agreed)?;

    let staged = StagedFolder::new(release).map_err(BuildError::Output)?;
    let artifacts = build.read_artifacts(&agreed, hash, &staged, progress)?;
    let list = artifacts.iter().map(|(name, state)| Artifact {
        name: name.clone(),
        digest: state.sha256(),
    });
    let list = ArtifactList::sort(list.collect()).map_err(BuildError::list)?;
    if let Some(accepted) = accepted
        .as_ref()
        .filter(|accepted| accepted.artifacts != list.digest())
    {
        let builders = accepted.builders.keys().cloned().collect();
        return Err(BuildError::Closed {
            grant: grant.id().short(),
            builders,
            at: accepted.at,
        });
    }

    let sums = build.keep_evidence(list, &approvals, &staged)?;
    let builders = build
        .deliveries
        .iter()
        .map(Delivery::named_digest)
        .collect();
    let agreement = Agreement {
        builders,
        artifacts: agreed,
    };
    let accepted = accepted.is_some();
    let _every_check_passed = ();
    Ok(VerifiedBuild {
        agreement,
        accepted,
        signing_key,
        hash,
        artifacts,
        sums,
        staged,
        grant,
        _every_check_passed,
    })
}

/// Refuses to make the release among what it is made from.
fn check_place(release: &Path, from: &Folder, deliveries: &[Delivery]) -> Result<(), BuildError> {
    let parent = Folder::open(parent(release)).map_err(BuildError::Output)?;
    for folder in deliveries
        .iter()
        .map(|delivery| &delivery.folder)
        .chain([from])
    {
        if parent.is_same_as(folder)? {
            return Err(BuildError::IntoItself(folder.path().to_owned()));
        }
    }
    Ok(())
}

/// The release key, if it may sign now and is the one that the grant names.
fn release_key(grant: &Grant, home: &Home, now: Timestamp) -> Result<SigningKey, BuildError> {
    let key = home.certificate.signing_key(home.config.signing_key, now)?;
    let (granted, ours) = (grant.terms().release_key, key.fingerprint());
    if granted == ours {
        Ok(key)
    } else {
        Err(BuildError::OtherReleaseKey { granted, ours })
    }
}

/// What is wrong with the evidence of one builder; it is named where there could be several.
fn fault_of(grant: &Grant, builder: &BuilderName, fault: EvidenceError) -> BuildError {
    let several = grant.terms().builders.len() > 1;
    BuildError::evidence(several.then(|| builder.clone()), fault)
}

/// What one builder delivered.
#[derive(Debug)]
struct Delivery {
    builder: BuilderName,
    folder: Folder,
    /// Everything that is in the folder, sorted.
    names: Vec<OsString>,
    /// The evidence among it.
    files: Files,
}

impl Delivery {
    fn named_digest(&self) -> (BuilderName, Sha256) {
        let files = self
            .files
            .iter()
            .map(|(name, bytes)| (name.as_str(), Sha256::of(bytes)));
        (self.builder.clone(), digest_of_all(files))
    }

    fn has(&self, name: &ArtifactName) -> bool {
        self.names.binary_search(&name.as_str().into()).is_ok()
    }
}

/// What each builder delivered: in `from` itself where there is one builder, else in a folder of
/// its name.
fn deliveries(
    grant: &Grant,
    builders: &Builders,
    from: &Folder,
) -> Result<Vec<Delivery>, BuildError> {
    if let [(only, _)] = builders.iter().as_slice() {
        return Ok(vec![delivery(grant, only, from.again()?)?]);
    }
    // As many as one builder's folder may hold, which may have been named by mistake.
    let present = from.names(2 * MOST_ARTIFACTS + 2)?;
    let is_builder = |name: &&OsString| {
        builders
            .iter()
            .any(|(builder, _)| *name == builder.as_str())
    };
    if let Some(extra) = present.iter().find(|name| !is_builder(name)) {
        return Err(extra_in(from, extra, None));
    }
    let mut found = Vec::new();
    for (builder, _) in builders
        .iter()
        .filter(|(builder, _)| present.contains(&builder.as_str().into()))
    {
        found.push(delivery(grant, builder, from.subfolder(builder.as_str())?)?);
    }
    found.sort_by(|one, other| one.builder.cmp(&other.builder));
    Ok(found)
}

/// Reads the evidence in one builder's folder, each file up to what it may have.
fn delivery(grant: &Grant, builder: &BuilderName, folder: Folder) -> Result<Delivery, BuildError> {
    let kind = grant.terms().kind();
    let names = folder.names(2 * MOST_ARTIFACTS + 2)?;
    let wanted: Vec<(String, u64)> = match kind.files() {
        EvidenceFiles::Named(files) => files
            .iter()
            .map(|(name, limit)| ((*name).to_owned(), *limit))
            .collect(),
        EvidenceFiles::Each { .. } => {
            let names = names.iter().filter_map(|name| name.to_str());
            let wanted: Vec<_> = names
                .filter_map(|name| Some((name.to_owned(), kind.limit(name)?)))
                .collect();
            // Before anything is read: there can be many.
            evidence::check::check_count(grant.terms(), wanted.len())
                .map_err(|fault| fault_of(grant, builder, fault))?;
            wanted
        }
    };
    let mut files = Files::new();
    for (name, limit) in wanted {
        let bytes = folder.read(&name, limit)?;
        files.insert(name, bytes);
    }
    Ok(Delivery {
        builder: builder.clone(),
        folder,
        names,
        files,
    })
}

fn extra_in(folder: &Folder, name: &OsString, builder: Option<&BuilderName>) -> BuildError {
    let name = name.to_string_lossy().chars().take(200).collect();
    BuildError::Extra {
        folder: folder.path().to_owned(),
        name,
        builder: builder.cloned(),
    }
}

/// The nonces that MACs are checked with. None is needed for evidence that was checked with it
/// before: it is gone by then, or a run was cut off while it wiped it.
fn nonces(
    grant: &Grant,
    deliveries: &[Delivery],
    builders: &Builders,
    accepted: Option<&Accepted>,
    home: &Home,
) -> Result<BTreeMap<BuilderName, MacKey>, BuildError> {
    let mut nonces = BTreeMap::new();
    for delivery in deliveries {
        let (builder, digest) = delivery.named_digest();
        let Some(BuilderKey::Nonce(commitment)) = builders.key(&builder) else {
            continue;
        };
        if accepted.is_some_and(|accepted| accepted.builders.get(&builder) == Some(&digest)) {
            continue;
        }
        match home.nonce(grant.id(), &builder)? {
            Some(nonce) if nonce.commitment() == *commitment => {
                nonces.insert(builder, nonce);
            }
            Some(_) => return Err(BuildError::NonceChanged { builder }),
            None => {
                return Err(BuildError::NonceGone {
                    grant: grant.id().short(),
                });
            }
        }
    }
    Ok(nonces)
}

/// What each delivery says.
fn attested(
    grant: &Grant,
    builders: &Builders,
    deliveries: &[Delivery],
    nonces: &BTreeMap<BuilderName, MacKey>,
    now: Timestamp,
) -> Result<Vec<Attested>, BuildError> {
    let mut attested = Vec::new();
    for Delivery { builder, files, .. } in deliveries {
        let one = evidence::check(grant, builders, builder, files, macs(nonces, builder), now);
        attested.push(one.map_err(|fault| fault_of(grant, builder, fault))?);
    }
    Ok(attested)
}

/// What the builders in `from` differ in. Their evidence must hold; whether they are enough, or not
/// too late, is not asked.
pub fn compare(
    grant: &Grant,
    from: &Folder,
    home: &Home,
    ledger: &Ledger,
    now: Timestamp,
) -> Result<Differences, BuildError> {
    let builders =
        Builders::of(grant.terms()).map_err(|fault| BuildError::evidence(None, fault))?;
    let deliveries = deliveries(grant, &builders, from)?;
    let nonces = nonces(
        grant,
        &deliveries,
        &builders,
        ledger.accepted(grant.id())?.as_ref(),
        home,
    )?;
    let attested = attested(grant, &builders, &deliveries, &nonces, now)?;
    if let EvidenceFiles::Named(_) = grant.terms().kind().files() {
        return Ok(quorum::differences(&attested));
    }
    // What is attested one by one shows its digest only when it is read: each builder's own.
    let build = Build {
        grant,
        builders: &builders,
        deliveries,
        attested,
        nonces,
        now,
    };
    let mut all = Differences::new();
    for (delivery, attested) in build.deliveries.iter().zip(&build.attested) {
        for artifact in attested.names() {
            let mut state = build.state(artifact, HashAlgorithm::Sha256);
            build.read_own(delivery, artifact, &mut state)?;
            build
                .confirm(attested, artifact, &state)
                .map_err(|fault| fault_of(grant, &delivery.builder, fault))?;
            let everybody = || {
                build
                    .deliveries
                    .iter()
                    .map(|delivery| (delivery.builder.clone(), None))
                    .collect()
            };
            let digests = all.entry(artifact.clone()).or_insert_with(everybody);
            digests.insert(delivery.builder.clone(), Some(state.sha256()));
        }
    }
    Ok(quorum::differing(all))
}

fn check_window(grant: &Grant, at: Timestamp) -> Result<(), BuildError> {
    let (not_before, expires) = (grant.terms().not_before, grant.terms().expires);
    if at < not_before {
        Err(BuildError::NotYetValid {
            grant: grant.id().short(),
            not_before,
        })
    } else if at >= expires {
        Err(BuildError::Expired {
            grant: grant.id().short(),
            expires,
        })
    } else {
        Ok(())
    }
}

/// A build while it is checked.
struct Build<'a> {
    grant: &'a Grant,
    builders: &'a Builders,
    deliveries: Vec<Delivery>,
    /// What each delivery says, in the same order.
    attested: Vec<Attested>,
    nonces: BTreeMap<BuilderName, MacKey>,
    now: Timestamp,
}

fn macs<'a>(nonces: &'a BTreeMap<BuilderName, MacKey>, builder: &BuilderName) -> MacCheck<'a> {
    nonces
        .get(builder)
        .map_or(MacCheck::Elsewhere, MacCheck::With)
}

impl Build<'_> {
    /// Each folder holds what its builder attested and nothing else; each artifact is in one of
    /// them.
    fn check_folders(
        &self,
        agreed: &BTreeMap<ArtifactName, Vec<BuilderName>>,
    ) -> Result<(), BuildError> {
        for (delivery, attested) in self.deliveries.iter().zip(&self.attested) {
            let known = |name: &&OsString| {
                let Some(name) = name.to_str() else {
                    return false;
                };
                delivery.files.contains_key(name)
                    || name.parse().is_ok_and(|name| attested.covers(&name))
            };
            if let Some(extra) = delivery.names.iter().find(|name| !known(name)) {
                return Err(extra_in(&delivery.folder, extra, Some(&delivery.builder)));
            }
        }
        let missing = agreed
            .keys()
            .find(|name| !self.deliveries.iter().any(|delivery| delivery.has(name)));
        match missing {
            Some(name) => Err(BuildError::MissingArtifact {
                name: name.clone(),
                folder: self.deliveries[0].folder.path().to_owned(),
            }),
            None => Ok(()),
        }
    }

    /// The one read of each artifact: into the hash state, and into the release.
    fn read_artifacts(
        &self,
        agreed: &BTreeMap<ArtifactName, Vec<BuilderName>>,
        hash: HashAlgorithm,
        staged: &StagedFolder,
        progress: &mut dyn Progress,
    ) -> Result<BTreeMap<ArtifactName, HashState>, BuildError> {
        let limit = self.grant.terms().artifacts.max_bytes;
        let mut left = limit;
        let mut states = BTreeMap::new();
        for artifact in agreed.keys() {
            let name = artifact.as_str();
            let too_large = || BuildError::TooLarge {
                name: artifact.clone(),
                limit,
            };
            let source = self
                .deliveries
                .iter()
                .find(|delivery| delivery.has(artifact))
                .expect("it is in one of them");
            let file = source.folder.file(name)?;
            progress.file(name, file.size());
            let mut copy = staged.file(name).map_err(BuildError::Output)?;
            let mut state = self.state(artifact, hash);
            let read = file.read_once::<BuildError>(left, |piece| {
                state.update(piece);
                progress.read(piece.len() as u64);
                copy.write(piece).map_err(BuildError::Output)
            });
            left -= read.map_err(|error| match error {
                BuildError::File(FileError {
                    fault: FileFault::TooLarge { .. },
                    ..
                }) => too_large(),
                other => other,
            })?;
            copy.finish().map_err(BuildError::Output)?;
            for attested in self
                .attested
                .iter()
                .filter(|attested| attested.covers(artifact))
            {
                self.confirm(attested, artifact, &state)
                    .map_err(|fault| self.explain(fault, source, attested, artifact, &state))?;
            }
            states.insert(artifact.clone(), state);
        }
        Ok(states)
    }

    /// Writes into the release what it carries beside the artifacts. Returns the list of
    /// everything.
    fn keep_evidence(
        &self,
        list: ArtifactList,
        approvals: &[Approval],
        staged: &StagedFolder,
    ) -> Result<Sums, BuildError> {
        let key_file = self.grant.terms().kind().public_key().map(str::to_owned);
        let mut files = BTreeMap::<&BuilderName, Files>::new();
        for (delivery, attested) in self.deliveries.iter().zip(&self.attested) {
            let key = key_file.clone().zip(attested.key().public_file());
            files.insert(
                &delivery.builder,
                delivery.files.clone().into_iter().chain(key).collect(),
            );
        }
        let digests = |files: &Files| {
            files
                .iter()
                .map(|(name, bytes)| (name.clone(), Sha256::of(bytes)))
                .collect()
        };
        let of_builders = files
            .iter()
            .map(|(builder, files)| ((*builder).clone(), digests(files)))
            .collect();
        let of_approvals = approvals
            .iter()
            .map(|approval| (approval.file.clone(), Sha256::of(&approval.bytes)));
        let sums = Sums::new(
            list,
            Sha256::of(self.grant.bytes()),
            of_builders,
            of_approvals.collect(),
        );
        // Many builders that sign many artifacts one by one would make it longer than anybody reads
        // who verifies it.
        if sums.to_text().len() as u64 > LARGEST_SUMS {
            return Err(BuildError::Output(FileError::new(
                SUMS,
                FileFault::TooLarge {
                    limit: LARGEST_SUMS,
                },
            )));
        }

        let keep = |path: &str, bytes: &[u8]| staged.write(path, bytes).map_err(BuildError::Output);
        for (builder, files) in &files {
            for (name, bytes) in files {
                keep(&format!("{EVIDENCE}/{builder}/{name}"), bytes)?;
            }
        }
        keep(&format!("{EVIDENCE}/{GRANT}"), self.grant.bytes())?;
        for approval in approvals {
            keep(
                &format!("{EVIDENCE}/{APPROVALS}/{}", approval.file),
                &approval.bytes,
            )?;
        }
        Ok(sums)
    }

    /// A state that the release can be signed from, and with which each builder's word can be
    /// checked.
    fn state(&self, artifact: &ArtifactName, hash: HashAlgorithm) -> HashState {
        HashState::for_all(
            self.attested
                .iter()
                .filter_map(|attested| attested.hash(artifact))
                .chain([hash]),
        )
    }

    fn confirm(
        &self,
        attested: &Attested,
        artifact: &ArtifactName,
        state: &HashState,
    ) -> Result<(), EvidenceError> {
        let macs = macs(&self.nonces, attested.builder());
        attested.confirm(self.grant, self.builders, artifact, state, macs, self.now)
    }

    /// Reads a builder's own copy of an artifact, which only tells what it differs in.
    fn read_own(
        &self,
        delivery: &Delivery,
        artifact: &ArtifactName,
        state: &mut HashState,
    ) -> Result<(), FileError> {
        let limit = self.grant.terms().artifacts.max_bytes;
        delivery
            .folder
            .file(artifact.as_str())?
            .read_once::<FileError>(limit, |piece| {
                state.update(piece);
                Ok(())
            })?;
        Ok(())
    }

    /// Why a builder's word does not hold for an artifact that was read from another's folder:
    /// perhaps it holds for its own, and the two differ.
    fn explain(
        &self,
        fault: EvidenceError,
        source: &Delivery,
        attested: &Attested,
        artifact: &ArtifactName,
        state: &HashState,
    ) -> BuildError {
        let builder = attested.builder();
        let own = self
            .deliveries
            .iter()
            .find(|delivery| delivery.builder == *builder && delivery.has(artifact));
        let Some(own) = own.filter(|own| own.builder != source.builder) else {
            return fault_of(self.grant, builder, fault);
        };
        let mut other = self.state(artifact, HashAlgorithm::Sha256);
        let read = self.read_own(own, artifact, &mut other);
        if read.is_err() || self.confirm(attested, artifact, &other).is_err() {
            return fault_of(self.grant, builder, fault);
        }
        let (one, other) = (
            (source.builder.clone(), state.sha256()),
            (builder.clone(), other.sha256()),
        );
        let both = [&one, &other].map(|(builder, digest)| (builder.clone(), Some(*digest)));
        let differences = Differences::from([(artifact.clone(), both.into())]);
        BuildError::evidence(
            None,
            Box::new(Dissent {
                name: artifact.clone(),
                one,
                other,
                differences,
            })
            .into(),
        )
    }
}

impl VerifiedBuild {
    /// The grant it was built under.
    pub fn grant(&self) -> &Grant {
        &self.grant
    }

    /// Which builders say so.
    pub fn agreement(&self) -> &Agreement {
        &self.agreement
    }

    /// What was built.
    pub fn artifacts(&self) -> &ArtifactList {
        self.sums.artifacts()
    }

    /// How many signatures the token makes for its release: one for all artifacts of the same
    /// bytes.
    pub fn signatures(&self) -> usize {
        let artifacts = match self.sums.coverage() {
            Coverage::Each => self
                .artifacts()
                .iter()
                .map(|artifact| artifact.digest)
                .collect::<BTreeSet<_>>()
                .len(),
            Coverage::ListOnly => 0,
        };
        artifacts + 1
    }

    /// The same build, for a release of which this will be signed.
    #[must_use]
    pub fn covering(self, coverage: Coverage) -> Self {
        Self {
            sums: self.sums.covering(coverage),
            ..self
        }
    }

    /// The key that will sign it.
    pub fn signing_key(&self) -> &SigningKey {
        &self.signing_key
    }
}
