//! A build while it is checked: what each builder said, and the one read of each artifact.

use std::collections::BTreeMap;

use super::deliveries::Delivery;
use super::refusal::{Awaited, BuildError};
use crate::domain::evidence::Differences;
use crate::domain::first_line::FirstLine;
use crate::domain::grant::Grant;
use crate::domain::key::HashAlgorithm;
use crate::domain::name::{ArtifactName, BuilderName};
use crate::domain::text::cut;
use crate::domain::time::Timestamp;
use crate::files::{FileError, FileFault, StagedFolder};
use crate::home::{Home, is_open};
use crate::ledger::Ledger;
use crate::mac::MacKey;
use crate::openpgp::HashState;
use crate::steps::Progress;
use crate::steps::evidence::builders::{BuilderKey, Builders};
use crate::steps::evidence::error::{Dissent, EvidenceError};
use crate::steps::evidence::quorum::Agreed;
use crate::steps::evidence::{self, Attested, MacCheck};

/// A build while it is checked.
pub(super) struct Inspection<'a> {
    pub(super) grant: &'a Grant,
    pub(super) builders: &'a Builders,
    pub(super) deliveries: Vec<Delivery>,
    /// What each delivery says, in the same order.
    pub(super) attested: Vec<Attested>,
    pub(super) nonces: BTreeMap<BuilderName, MacKey>,
    pub(super) now: Timestamp,
}

fn macs<'a>(nonces: &'a BTreeMap<BuilderName, MacKey>, builder: &BuilderName) -> MacCheck<'a> {
    nonces
        .get(builder)
        .map_or(MacCheck::Elsewhere, MacCheck::With)
}

impl<'a> Inspection<'a> {
    /// Checks the evidence of each delivery.
    pub(super) fn new(
        grant: &'a Grant,
        builders: &'a Builders,
        deliveries: Vec<Delivery>,
        home: &Home,
        ledger: &Ledger,
        now: Timestamp,
    ) -> Result<Self, BuildError> {
        let nonces = nonces(grant, &deliveries, builders, home, ledger, now)?;
        let attested = attested(grant, builders, &deliveries, &nonces, now)?;
        Ok(Self {
            grant,
            builders,
            deliveries,
            attested,
            nonces,
            now,
        })
    }

    /// Each folder contains what its builder attested and nothing else; each artifact is in one
    /// of them, or awaited, as is the evidence that an artifact has for itself.
    pub(super) fn check_folders(
        &self,
        agreed: &Agreed,
        awaited: &mut Awaited,
    ) -> Result<(), BuildError> {
        let bounds = self.grant.terms().bounds();
        for (delivery, attested) in self.deliveries.iter().zip(&self.attested) {
            let found = delivery.names.iter().map(|name| name.to_string_lossy());
            for stray in bounds.strays(found, attested.names()) {
                let Some(evidence) = delivery.evidence_for(&bounds, &stray) else {
                    return Err(BuildError::Extra {
                        folder: delivery.folder.path().to_owned(),
                        name: cut(&stray, 200),
                        builder: delivery.builder.clone(),
                    });
                };
                awaited.add(evidence.into());
            }
        }
        let missing = agreed
            .keys()
            .find(|name| !self.deliveries.iter().any(|delivery| delivery.has(name)));
        if let Some(name) = missing {
            awaited.add(BuildError::MissingArtifact {
                name: name.clone(),
                folder: self.deliveries[0].folder.path().to_owned(),
            });
        }
        Ok(())
    }

    /// The one read of each artifact that is there: into the hash state, and into the release if
    /// there is to be one. Each further builder's copy of it, if it delivered one, is read too, and
    /// compared.
    pub(super) fn read_artifacts(
        &self,
        agreed: &Agreed,
        hash: HashAlgorithm,
        staged: Option<&StagedFolder>,
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
            let mut deliveries = self.deliveries.iter();
            let Some(source) = deliveries.find(|delivery| delivery.has(artifact)) else {
                continue;
            };
            let file = source.folder.file(name)?;
            progress.file(name, file.size());
            let copy = staged.map(|staged| staged.file(name)).transpose();
            let mut copy = copy.map_err(BuildError::output)?;
            let mut state = self.state(artifact, hash);
            let mut first_line = FirstLine::default();
            let read = file.read_once::<BuildError>(left, |piece| {
                state.update(piece);
                first_line.update(piece);
                progress.read(piece.len() as u64);
                match &mut copy {
                    Some(copy) => copy.write(piece).map_err(BuildError::output),
                    None => Ok(()),
                }
            });
            let fits = |error| match error {
                BuildError::Unfit(FileError {
                    fault: FileFault::TooLarge { .. },
                    ..
                }) => too_large(),
                other => other,
            };
            left -= read.map_err(fits)?;
            if let Some(copy) = copy {
                copy.finish().map_err(BuildError::output)?;
            }
            first_line.check(artifact).map_err(BuildError::LikeList)?;
            let all = self.deliveries.iter().zip(&self.attested);
            for (delivery, attested) in all.filter(|(_, it)| it.covers(artifact)) {
                if delivery.builder != source.builder && delivery.has(artifact) {
                    let mut own = self.state(artifact, HashAlgorithm::Sha256);
                    let read = self.read_own(delivery, artifact, &mut own, progress);
                    read.map_err(BuildError::from).map_err(fits)?;
                    self.compare((source, &state), (delivery, &own), attested, artifact)?;
                }
                self.confirm(attested, artifact, &state)
                    .map_err(|fault| self.of_one(attested, fault))?;
            }
            states.insert(artifact.clone(), state);
        }
        Ok(states)
    }

    /// A hash state from which the release can be signed, and each builder's evidence checked.
    pub(super) fn state(&self, artifact: &ArtifactName, hash: HashAlgorithm) -> HashState {
        HashState::for_all(
            self.attested
                .iter()
                .filter_map(|attested| attested.hash(artifact))
                .chain([hash]),
        )
    }

    /// Checks what one builder attested of an artifact against its one read.
    pub(super) fn confirm(
        &self,
        attested: &Attested,
        artifact: &ArtifactName,
        state: &HashState,
    ) -> Result<(), EvidenceError> {
        let macs = macs(&self.nonces, attested.builder());
        attested.confirm(self.grant, self.builders, artifact, state, macs, self.now)
    }

    /// Reads a builder's own copy of an artifact, to find out whether it differs.
    pub(super) fn read_own(
        &self,
        delivery: &Delivery,
        artifact: &ArtifactName,
        state: &mut HashState,
        progress: &mut dyn Progress,
    ) -> Result<(), FileError> {
        let limit = self.grant.terms().artifacts.max_bytes;
        let file = delivery.folder.file(artifact.as_str())?;
        progress.file(artifact.as_str(), file.size());
        file.read_once::<FileError>(limit, |piece| {
            state.update(piece);
            progress.read(piece.len() as u64);
            Ok(())
        })?;
        Ok(())
    }

    /// Checks that a builder's own copy of an artifact is what that builder attested, and the same
    /// as the one that was read from another's folder.
    fn compare(
        &self,
        (source, state): (&Delivery, &HashState),
        (own, its): (&Delivery, &HashState),
        attested: &Attested,
        artifact: &ArtifactName,
    ) -> Result<(), BuildError> {
        self.confirm(attested, artifact, its)
            .map_err(|fault| self.of_one(attested, fault))?;
        if its.sha256() == state.sha256() {
            return Ok(());
        }
        let one = (source.builder.clone(), state.sha256());
        let other = (own.builder.clone(), its.sha256());
        let both = [&one, &other].map(|(builder, digest)| (builder.clone(), Some(*digest)));
        let differences = Differences::from([(artifact.clone(), both.into())]);
        Err(BuildError::of_all(
            Box::new(Dissent {
                name: artifact.clone(),
                one,
                other,
                differences,
            })
            .into(),
        ))
    }

    fn of_one(&self, attested: &Attested, fault: EvidenceError) -> BuildError {
        BuildError::of_one(self.grant, attested.builder(), fault)
    }
}

/// The nonces that MACs are checked with. Evidence that was accepted before needs none: it is wiped
/// by then, or an interrupted run was about to.
fn nonces(
    grant: &Grant,
    deliveries: &[Delivery],
    builders: &Builders,
    home: &Home,
    ledger: &Ledger,
    now: Timestamp,
) -> Result<BTreeMap<BuilderName, MacKey>, BuildError> {
    let accepted = ledger.accepted(grant.id())?;
    let mut nonces = BTreeMap::new();
    for delivery in deliveries {
        let (builder, digest) = delivery.named_digest();
        let Some(BuilderKey::Nonce(commitment)) = builders.key(&builder) else {
            continue;
        };
        let known = accepted.as_ref().and_then(|it| it.builders.get(&builder));
        if known == Some(&digest) {
            continue;
        }
        match home.nonce(grant.id(), &builder)? {
            Some(nonce) if nonce.commitment() == *commitment => {
                nonces.insert(builder, nonce);
            }
            Some(_) => {
                let what = "is not the grant's";
                return Err(BuildError::NonceChanged { builder, what });
            }
            None if is_open(grant.id(), ledger, now)? => {
                let what = "is missing, although its grant is open";
                return Err(BuildError::NonceChanged { builder, what });
            }
            None => {
                return Err(BuildError::Closed(format!(
                    "the nonce of grant {} was wiped when it closed or expired, and this is not \
                     evidence that was accepted before",
                    grant.id().short()
                )));
            }
        }
    }
    Ok(nonces)
}

/// What each builder attests, if its evidence is authentic.
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
        attested.push(one.map_err(|fault| BuildError::of_one(grant, builder, fault))?);
    }
    Ok(attested)
}
