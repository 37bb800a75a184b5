//! What the builders delivered: a folder each, with their evidence in it.

use std::ffi::OsString;

use super::refusal::BuildError;
use crate::domain::digest::Sha256;
use crate::domain::evidence::{EvidenceFiles, MOST_DELIVERED, digest_of_all};
use crate::domain::grant::Grant;
use crate::domain::name::{ArtifactName, BuilderName};
use crate::domain::text::cut;
use crate::files::Folder;
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

    /// Whether the artifact is in its folder.
    pub(super) fn has(&self, name: &ArtifactName) -> bool {
        self.names.binary_search(&name.as_str().into()).is_ok()
    }
}

/// What each builder delivered: in `from` itself where there is one builder, else in a folder of
/// its name.
pub(super) fn deliveries(
    grant: &Grant,
    builders: &Builders,
    from: &Folder,
) -> Result<Vec<Delivery>, BuildError> {
    if let [(only, _)] = builders.iter().as_slice() {
        return Ok(vec![delivery(grant, only, from.again()?)?]);
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
        found.push(delivery(grant, builder, from.subfolder(builder.as_str())?)?);
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
        EvidenceFiles::Each { .. } => {
            let names = names.iter().filter_map(|name| name.to_str());
            let wanted: Vec<_> = names
                .filter_map(|name| Some((name.to_owned(), kind.limit(name)?)))
                .collect();
            // Before anything is read: there can be many.
            evidence::check::check_count(&grant.terms().bounds(), wanted.len())
                .map_err(|fault| BuildError::of_one(grant, builder, fault))?;
            wanted
        }
    };
    let mut files = Files::new();
    for (name, limit) in wanted {
        let bytes = kept(&name, folder.read(&name, limit)?);
        files.insert(name, bytes);
    }
    Ok(Delivery {
        builder: builder.clone(),
        folder,
        names,
        files,
    })
}
