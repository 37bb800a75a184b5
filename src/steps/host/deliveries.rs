//! What the builders delivered: a folder each, with their evidence in it.

use std::ffi::OsString;

use super::refusal::{Awaited, BuildError};
use crate::domain::digest::Sha256;
use crate::domain::evidence::{EvidenceFiles, MOST_DELIVERED, digest_of_all};
use crate::domain::grant::{Bounds, Grant};
use crate::domain::name::{ArtifactName, BuilderName};
use crate::domain::text::cut;
use crate::files::{FileError, FileFault, Folder};
use crate::steps::evidence::builders::Builders;
use crate::steps::evidence::kept::kept;
use crate::steps::evidence::{self, Files};

/// What one builder delivered.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) builder: BuilderName,
    pub(super) folder: Folder,
    /// Everything that is in the folder, sorted.
    pub(super) names: Vec<OsString>,
    /// The evidence among it, in the form in which it is kept.
    pub(super) files: Files,
}

impl Delivery {
    /// The builder, with the digest of its evidence.
    pub(super) fn named_digest(&self) -> (BuilderName, Sha256) {
        let files = self
            .files
            .iter()
            .map(|(name, bytes)| (name.as_str(), Sha256::of(bytes)));
        (self.builder.clone(), digest_of_all(files))
    }

    /// The file of evidence that is not there yet, if `stray` can be an artifact that needs one of
    /// its own.
    pub(super) fn evidence_for(&self, bounds: &Bounds, stray: &str) -> Option<FileError> {
        let EvidenceFiles::Each { suffix, .. } = bounds.kind.files() else {
            return None;
        };
        let can_be_one = bounds.judge_names([stray]).is_ok() && self.folder.file(stray).is_ok();
        let evidence = self.folder.path().join(format!("{stray}{suffix}"));
        can_be_one.then(|| FileError::new(evidence, FileFault::Missing))
    }

    /// Whether the artifact is in its folder.
    pub(super) fn has(&self, name: &ArtifactName) -> bool {
        self.names.binary_search(&name.as_str().into()).is_ok()
    }
}

/// What each builder delivered: in `from` itself where there is one builder, else in a folder of
/// its name. Builders whose evidence is not all there are awaited.
pub(super) fn deliveries(
    grant: &Grant,
    builders: &Builders,
    from: &Folder,
    awaited: &mut Awaited,
) -> Result<Vec<Delivery>, BuildError> {
    if let [(only, _)] = builders.iter().as_slice() {
        let delivery = awaited.unless_refused(delivery(grant, only, from.again()?))?;
        return Ok(Vec::from_iter(delivery));
    }
    // As many as one builder's folder may have, which may have been named by mistake.
    let present = from.names(MOST_DELIVERED)?;
    let is_builder = |name: &&OsString| {
        builders
            .iter()
            .any(|(builder, _)| *name == builder.as_str())
    };
    if let Some(extra) = present.iter().find(|name| !is_builder(name)) {
        return Err(BuildError::NotABuilder {
            folder: from.path().to_owned(),
            name: cut(&extra.to_string_lossy(), 200),
        });
    }
    let mut found = Vec::new();
    for (builder, _) in builders
        .iter()
        .filter(|(builder, _)| present.contains(&builder.as_str().into()))
    {
        let folder = from.subfolder(builder.as_str())?;
        found.extend(awaited.unless_refused(delivery(grant, builder, folder))?);
    }
    found.sort_by(|one, other| one.builder.cmp(&other.builder));
    Ok(found)
}

/// Reads the evidence in one builder's folder, each file up to what it may have.
fn delivery(grant: &Grant, builder: &BuilderName, folder: Folder) -> Result<Delivery, BuildError> {
    let kind = grant.terms().kind();
    let names = folder.names(MOST_DELIVERED)?;
    let wanted: Vec<(String, u64)> = match kind.files() {
        EvidenceFiles::Named(files) => files
            .iter()
            .map(|(name, limit)| ((*name).to_owned(), *limit))
            .collect(),
        EvidenceFiles::Each { suffix, .. } => {
            let names = names.iter().filter_map(|name| name.to_str());
            let wanted: Vec<_> = names
                .filter_map(|name| Some((name.to_owned(), kind.limit(name)?)))
                .collect();
            if wanted.is_empty() {
                let any = folder.path().join(format!("*{suffix}"));
                return Err(FileError::new(any, FileFault::Missing).into());
            }
            // Before anything is read: there can be many.
            evidence::check::check_count(&grant.terms().bounds(), wanted.len())
                .map_err(|fault| BuildError::of_one(grant, builder, fault))?;
            wanted
        }
    };
    let mut files = Files::new();
    let mut missing = None;
    for (name, limit) in wanted {
        match folder.read(&name, limit) {
            Ok(bytes) => _ = files.insert(name.clone(), kept(&name, bytes)),
            // Of the others one may be refused.
            Err(error) if matches!(error.fault, FileFault::Missing) => {
                _ = missing.get_or_insert(error)
            }
            Err(error) => return Err(error.into()),
        }
    }
    if let Some(error) = missing {
        return Err(error.into());
    }
    Ok(Delivery {
        builder: builder.clone(),
        folder,
        names,
        files,
    })
}
