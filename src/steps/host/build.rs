//! H's verification: everything that must be true before the token is touched, in this order.
//!
//! 1. The grant was issued here, is not revoked and was approved, and its time is now; or was, when
//!    this very evidence was accepted, for which its bytes are read, as many as the grant allows,
//!    and nothing is concluded from them.
//! 2. The release certificate's key may sign now, and is the key that the grant names.
//! 3. Each builder's evidence: what authenticates it first, and only then what it says.
//! 4. It names this grant, and only what the grant allows; enough builders name every artifact,
//!    and no two differ.
//! 5. Each folder contains what its builder attested and nothing else, regular files all of them.
//! 6. Each artifact, read once from each folder that has it, is what every builder attested that
//!    names it.
//! 7. No other build closed the grant before.
//!
//! What is not here yet does not end this: only when all that is here was judged is it reported. So
//! a refusal takes precedence. But by a clock that is behind the grant nothing is judged.
//!
//! The result is a [`VerifiedBuild`]. Nothing else makes one, nothing but one can be signed, and
//! nothing in it depends on the scheme of the evidence.

use std::collections::BTreeMap;
use std::path::Path;

use super::Host;
use super::deliveries::{Delivery, deliveries};
use super::evidence_files::keep_evidence;
use super::inspection::Inspection;
use super::journal::Journal;
use super::policy::{self, PolicyError};
use super::refusal::{Awaited, BuildError};
use crate::domain::artifact::{Artifact, ArtifactList};
use crate::domain::contents::{Contents, SizedArtifact};
use crate::domain::digest::Sha256;
use crate::domain::event::{CardUse, Intent};
use crate::domain::grant::Grant;
use crate::domain::key::{Fingerprint, HashAlgorithm};
use crate::domain::name::{ArtifactName, BuilderName};
use crate::domain::release::Sums;
use crate::domain::signing::Plan;
use crate::domain::time::Timestamp;
use crate::files::{FileFault, Folder, StagedFolder, parent};
use crate::ledger::Accepted;
use crate::openpgp::{HashState, SigningKey};
use crate::steps::Progress;
use crate::steps::evidence::builders::Builders;
use crate::steps::evidence::quorum;

/// A build that passed every check, with the hash state of each artifact's one read and a copy of
/// the very bytes that went into it.
#[derive(Debug)]
pub struct VerifiedBuild {
    grant: Grant,
    agreement: Agreement,
    accepted: Option<Accepted>,
    signing_key: SigningKey,
    hash: HashAlgorithm,
    states: BTreeMap<ArtifactName, HashState>,
    contents: Contents,
    sums: Sums,
    /// The text of `sums`.
    list: String,
    staged: StagedFolder,
}

/// A verified build, as people are shown it.
#[derive(Debug)]
pub struct Summary {
    /// The grant it was built under.
    pub grant: Grant,
    /// Which builders attested it.
    pub agreement: Agreement,
    /// Its artifacts.
    pub artifacts: ArtifactList,
    /// The key that signs it.
    pub key: Fingerprint,
}

/// Which builders attested what. They agree about every artifact that more than one of them names.
#[derive(Debug, Clone)]
pub struct Agreement {
    /// The builders who left evidence, each with the digest of it.
    pub builders: BTreeMap<BuilderName, Sha256>,
    /// The builders who attested each artifact.
    pub artifacts: BTreeMap<ArtifactName, Vec<BuilderName>>,
}

/// Which build is to be signed, and how.
#[derive(Debug)]
pub struct SignRequest<'a> {
    /// Its grant, as the operator names it.
    pub grant: Grant,
    /// A builder's folder; where the grant names several builders, a folder with a folder for each
    /// that delivered.
    pub from: &'a Path,
    /// The folder of the release.
    pub release: &'a Path,
    /// Whether a version that is older than what was signed before is right.
    pub allow_older: bool,
}

impl Host {
    /// Checks a build. The artifacts are copied, in their one read, into a folder aside that will
    /// become the release.
    pub(super) fn verify_build(
        &self,
        request: SignRequest<'_>,
        now: Timestamp,
        progress: &mut dyn Progress,
    ) -> Result<VerifiedBuild, BuildError> {
        let SignRequest { grant, from, .. } = &request;
        let mut awaited = Awaited::default();
        // 1
        if !self.ledger.issued(grant.id())? {
            return Err(PolicyError::NotIssued(grant.id()).into());
        }
        let builders = Builders::of(grant.terms()).map_err(BuildError::of_all)?;
        let accepted = self.ledger.accepted(grant.id())?;
        let permitted =
            |at| policy::check(grant, &self.home, &self.ledger, at, request.allow_older);
        // What may not be signed at all is not worth reading.
        let permitted_now = match accepted {
            Some(_) => None,
            None => awaited.unless_refused(permitted(now))?,
        };
        if accepted.is_none() {
            policy::check_begun(grant, now)?;
        }
        let mut late = Awaited::default();
        let deliveries = match Folder::open(from) {
            Ok(from) => {
                let deliveries = deliveries(grant, &builders, &from, &mut late)?;
                check_place(request.release, &from, &deliveries)?;
                deliveries
            }
            Err(error) if matches!(error.fault, FileFault::Missing) => {
                late.add(error.into());
                Vec::new()
            }
            Err(error) => return Err(BuildError::Trouble(error.into())),
        };
        let approvals = match accepted.as_ref() {
            Some(accepted) => {
                let at = judged_at(accepted, &deliveries, late.is_nothing(), now);
                awaited.unless_refused(permitted(at))?
            }
            None => permitted_now,
        };
        awaited.unless_refused(late.end())?;
        // 2
        let signing_key = self.key_of(grant, now)?;
        // Once the token was asked, everything stays as it was announced.
        let journal = Journal::read(grant.id(), &self.ledger)?.filter(|journal| journal.asked);
        let hash = match journal {
            Some(journal) => journal.intent.hash,
            None => signing_key
                .public()
                .least_hash()
                .max(self.home.config.digest),
        };
        // 3
        let build = Inspection::new(grant, &builders, deliveries, &self.home, &self.ledger, now)?;
        // 4
        let agreed = quorum::agreed(grant.terms(), &build.attested).map_err(BuildError::of_all)?;
        let enough = quorum::enough(grant.terms(), &build.attested, &agreed);
        awaited.unless_refused(enough.map_err(BuildError::of_all))?;
        // 5
        build.check_folders(&agreed, &mut awaited)?;
        // 6
        if !awaited.is_nothing() {
            build.read_artifacts(&agreed, hash, None, progress)?;
        }
        awaited.end()?;
        let owner = self.home.owner().map_err(BuildError::output)?;
        let staged = StagedFolder::new(request.release, &owner).map_err(BuildError::output)?;
        let states = build.read_artifacts(&agreed, hash, Some(&staged), progress)?;
        let approvals = approvals.expect("nothing is awaited");
        let artifacts = artifacts(&states)?;
        // 7
        check_unused(grant, accepted.as_ref(), &artifacts)?;

        let contents = contents(grant, &states)?;
        let sums = keep_evidence(&build, &contents, artifacts, &approvals, &staged)?;
        Ok(VerifiedBuild {
            agreement: Agreement {
                builders: build
                    .deliveries
                    .iter()
                    .map(Delivery::named_digest)
                    .collect(),
                artifacts: agreed,
            },
            accepted,
            signing_key,
            hash,
            states,
            list: sums.to_text(),
            contents,
            sums,
            staged,
            grant: request.grant,
        })
    }

    /// The release key, if it may sign now and is the one that the grant names.
    pub(super) fn key_of(&self, grant: &Grant, now: Timestamp) -> Result<SigningKey, BuildError> {
        let key = self
            .home
            .certificate
            .signing_key(self.home.config.signing_key, now)?;
        let granted = grant.terms().release_key;
        let ours = key.fingerprint();
        if granted == ours {
            Ok(key)
        } else {
            Err(BuildError::OtherReleaseKey { granted, ours })
        }
    }
}

/// The time by which a build is judged: that of its acceptance, so that an interrupted run can be
/// finished after its grant expired; now, if other evidence was accepted. Of evidence that is not
/// all there, what is there decides.
fn judged_at(
    accepted: &Accepted,
    deliveries: &[Delivery],
    all_there: bool,
    now: Timestamp,
) -> Timestamp {
    let before = &accepted.builders;
    let mut evidence = deliveries.iter().map(Delivery::named_digest);
    let same = evidence.all(|(builder, digest)| before.get(&builder) == Some(&digest));
    if same && (!all_there || deliveries.len() == before.len()) {
        accepted.at
    } else {
        now
    }
}

/// Refuses to make the release among what it is made from.
fn check_place(release: &Path, from: &Folder, deliveries: &[Delivery]) -> Result<(), BuildError> {
    let parent = Folder::open(parent(release)).map_err(BuildError::output)?;
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

fn artifacts(states: &BTreeMap<ArtifactName, HashState>) -> Result<ArtifactList, BuildError> {
    let artifacts = states.iter().map(|(name, state)| Artifact {
        name: name.clone(),
        digest: state.sha256(),
    });
    ArtifactList::sort(artifacts.collect()).map_err(BuildError::list)
}

/// What the release consists of, with the sizes of the one read.
fn contents(
    grant: &Grant,
    states: &BTreeMap<ArtifactName, HashState>,
) -> Result<Contents, BuildError> {
    let terms = grant.terms();
    let artifacts = states.iter().map(|(name, state)| SizedArtifact {
        name: name.clone(),
        size: state.size(),
        sha256: state.sha256(),
    });
    Contents::new(
        terms.project.clone(),
        terms.version.clone(),
        terms.form,
        grant.id(),
        artifacts.collect(),
    )
    .map_err(BuildError::list)
}

/// Refuses a build that differs from the one that closed the grant.
fn check_unused(
    grant: &Grant,
    accepted: Option<&Accepted>,
    artifacts: &ArtifactList,
) -> Result<(), BuildError> {
    match accepted {
        Some(accepted) if accepted.artifacts != artifacts.digest() => {
            let builders = accepted.builders.keys();
            let builders: Vec<_> = builders.map(|name| format!("builder `{name}`")).collect();
            Err(BuildError::Closed(format!(
                "grant {} was closed by another build, of {}, at {}",
                grant.id().short(),
                builders.join(" and "),
                accepted.at
            )))
        }
        _ => Ok(()),
    }
}

impl VerifiedBuild {
    /// The grant it was built under.
    pub fn grant(&self) -> &Grant {
        &self.grant
    }

    /// Which builders attested what.
    pub fn agreement(&self) -> &Agreement {
        &self.agreement
    }

    /// Its acceptance, if the log has one: perhaps with other evidence.
    pub(super) fn accepted(&self) -> Option<&Accepted> {
        self.accepted.as_ref()
    }

    /// What was built.
    pub fn artifacts(&self) -> &ArtifactList {
        self.sums.artifacts()
    }

    /// The key that signs it.
    pub fn signing_key(&self) -> &SigningKey {
        &self.signing_key
    }

    /// The files of its release that are signed.
    pub fn plan(&self) -> Plan {
        self.contents.plan()
    }

    /// What its release consists of.
    pub(super) fn contents(&self) -> &Contents {
        &self.contents
    }

    /// Its list.
    pub(super) fn sums(&self) -> &Sums {
        &self.sums
    }

    /// The text of its `SHA256SUMS`.
    pub(super) fn list(&self) -> &str {
        &self.list
    }

    /// The state after the one read of each artifact.
    pub(super) fn states(&self) -> impl Iterator<Item = (&str, &HashState)> {
        self.states
            .iter()
            .map(|(name, state)| (name.as_str(), state))
    }

    /// What the token is to be asked for.
    pub(super) fn intent(&self, domain: &str, card: Option<CardUse>, now: Timestamp) -> Intent {
        let artifacts = self.artifacts().iter();
        Intent {
            grant: self.grant.id(),
            project: self.contents.project.clone(),
            version: self.contents.version.clone(),
            key: self.signing_key.fingerprint(),
            hash: self.hash,
            created: now,
            notation_domain: domain.to_owned(),
            artifacts: artifacts.map(|it| (it.name.clone(), it.digest)).collect(),
            artifacts_from: None,
            replaces: None,
            sums: Sha256::of(self.list.as_bytes()),
            form: self.contents.form,
            card,
        }
    }

    /// The folder that will become the release, with the artifacts and the evidence in it.
    pub(super) fn staged(&self) -> &StagedFolder {
        &self.staged
    }

    /// The same, when everything else of the build is no longer needed.
    pub(super) fn into_staged(self) -> StagedFolder {
        self.staged
    }

    /// What people are shown of it.
    pub(super) fn summary(&self) -> Summary {
        Summary {
            grant: self.grant.clone(),
            agreement: self.agreement.clone(),
            artifacts: self.artifacts().clone(),
            key: self.signing_key.fingerprint(),
        }
    }
}
