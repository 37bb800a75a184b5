//! The whole chain behind the artifacts of a release: the grant, its approvals as they are listed,
//! and what its builders attested.

use super::error::ReleaseError;
use super::reader::Reader;
use crate::domain::contents::Contents;
use crate::domain::evidence::EvidenceFiles;
use crate::domain::grant::{Grant, LARGEST_GRANT};
use crate::domain::key::HashAlgorithm;
use crate::domain::name::{ArtifactName, BuilderName};
use crate::domain::release::{FileDigests, LARGEST_SIGNATURE, Sums};
use crate::domain::reserved::{APPROVALS, EVIDENCE, GRANT};
use crate::domain::time::Timestamp;
use crate::openpgp::{HashState, LARGEST_CERTIFICATE};
use crate::steps::evidence::builders::Builders;
use crate::steps::evidence::error::EvidenceError;
use crate::steps::evidence::kept::check_approval;
use crate::steps::evidence::{self, Attested, Files, MacCheck, quorum};

/// The grant of a release, and what its builders attested. MACs are not checked: anyone who could
/// check them could have made them.
pub(super) struct Evidence {
    pub(super) grant: Grant,
    /// Signatures over it, in the form in which they are kept, by anybody.
    pub(super) approvals: Vec<Vec<u8>>,
    /// How many builders attested each artifact: the least number of any.
    pub(super) least_builders: usize,
    builders: Builders,
    attested: Vec<Attested>,
}

impl Evidence {
    /// Checks all of it that can be checked before the artifacts are read.
    pub(super) fn read(
        reader: &mut Reader<'_>,
        sums: &Sums,
        contents: &Contents,
        now: Timestamp,
    ) -> Result<Self, ReleaseError> {
        let name = format!("{EVIDENCE}/{GRANT}");
        let grant = Grant::parse(&reader.listed(&name, LARGEST_GRANT, sums.grant())?)
            .map_err(|error| ReleaseError::Evidence(format!("`{name}`: {error}")))?;
        let terms = grant.terms();
        if (&terms.project, &terms.version) != (&contents.project, &contents.version) {
            return Err(ReleaseError::Evidence(format!(
                "the grant is for {} {}, but the release is {} {}",
                terms.project, terms.version, contents.project, contents.version
            )));
        }
        if terms.form != contents.form {
            return Err(ReleaseError::Evidence(format!(
                "the grant asks for a release of form `{}`, but this has form `{}`",
                terms.form, contents.form
            )));
        }
        let mut approvals = Vec::new();
        for (file, digest) in sums.approvals() {
            let name = format!("{EVIDENCE}/{APPROVALS}/{file}");
            let approval = reader.listed(&name, LARGEST_SIGNATURE, *digest)?;
            check_approval(file, &approval)
                .map_err(|error| ReleaseError::Evidence(format!("`{name}`: {error}")))?;
            approvals.push(approval);
        }
        let builders = Builders::of(grant.terms()).map_err(not_enough)?;
        let mut attested = Vec::new();
        for (builder, digests) in sums.builders() {
            attested.push(check_builder(
                reader, &grant, &builders, builder, digests, now,
            )?);
        }
        let agreed = quorum::check(grant.terms(), &attested).map_err(not_enough)?;
        let listed = sums.artifacts().iter().map(|artifact| &artifact.name);
        if !agreed.keys().eq(listed) {
            return Err(ReleaseError::Evidence(
                "the builders did not attest exactly the artifacts that SHA256SUMS lists"
                    .to_owned(),
            ));
        }
        let least_builders = agreed.values().map(Vec::len).min();
        Ok(Self {
            grant,
            approvals,
            least_builders: least_builders.expect("a list has artifacts"),
            builders,
            attested,
        })
    }

    /// A state with which the evidence for an artifact can be checked, and a signature that uses
    /// `also`.
    pub(super) fn state(&self, artifact: &ArtifactName, also: HashAlgorithm) -> HashState {
        let hashes = self.attested.iter().filter_map(|it| it.hash(artifact));
        HashState::for_all(hashes.chain([also]))
    }

    /// Checks what each builder attested of an artifact that was read.
    pub(super) fn confirm(
        &self,
        artifact: &ArtifactName,
        state: &HashState,
        now: Timestamp,
    ) -> Result<(), ReleaseError> {
        let grant = &self.grant;
        let builders = &self.builders;
        for attested in self.attested.iter().filter(|it| it.covers(artifact)) {
            attested
                .confirm(grant, builders, artifact, state, MacCheck::Elsewhere, now)
                .map_err(|error| of_builder(attested.builder(), &error))?;
        }
        Ok(())
    }
}

fn not_enough(error: EvidenceError) -> ReleaseError {
    ReleaseError::Evidence(format!("not enough evidence for this release: {error}"))
}

fn of_builder(builder: &BuilderName, error: &EvidenceError) -> ReleaseError {
    ReleaseError::Evidence(format!("evidence of builder `{builder}`: {error}"))
}

fn check_builder(
    reader: &mut Reader<'_>,
    grant: &Grant,
    builders: &Builders,
    builder: &BuilderName,
    digests: &FileDigests,
    now: Timestamp,
) -> Result<Attested, ReleaseError> {
    let key = builders.key(builder).ok_or_else(|| {
        ReleaseError::Evidence(format!(
            "there is evidence of `{builder}`, who is not a builder of the grant"
        ))
    })?;
    let misplaced = || {
        ReleaseError::Evidence(format!(
            "evidence of builder `{builder}` has not exactly the files of the grant's scheme, or \
             has a key that differs from the grant's"
        ))
    };
    let kind = grant.terms().kind();
    let key_file = kind.public_key();
    let all_there = match kind.files() {
        EvidenceFiles::Named(files) => files.iter().all(|(name, _)| digests.contains_key(*name)),
        EvidenceFiles::Each { .. } => true,
    };
    if !all_there || key_file.is_some_and(|name| !digests.contains_key(name)) {
        return Err(misplaced());
    }
    let mut files = Files::new();
    for (name, digest) in digests {
        let path = format!("{EVIDENCE}/{builder}/{name}");
        if key_file == Some(name.as_str()) {
            let bytes = reader.listed(&path, LARGEST_CERTIFICATE, *digest)?;
            if key.public_file() != Some(bytes) {
                return Err(misplaced());
            }
        } else {
            let limit = kind.limit(name).ok_or_else(misplaced)?;
            let bytes = reader.listed(&path, limit, *digest)?;
            files.insert(name.clone(), bytes);
        }
    }
    evidence::check(grant, builders, builder, &files, MacCheck::Elsewhere, now)
        .map_err(|error| of_builder(builder, &error))
}
