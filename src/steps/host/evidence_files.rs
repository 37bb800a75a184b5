//! What a release carries beside its artifacts, so that everybody can make H's checks again.

use std::collections::BTreeMap;

use super::inspection::Inspection;
use super::policy::Approval;
use super::refusal::BuildError;
use crate::domain::artifact::ArtifactList;
use crate::domain::contents::Contents;
use crate::domain::digest::Sha256;
use crate::domain::name::BuilderName;
use crate::domain::release::{LARGEST_EVIDENCE, LARGEST_SIGNATURE, LARGEST_SUMS, Sums};
use crate::domain::reserved::{APPROVALS, EVIDENCE, GRANT, RELEASE, SUMS};
use crate::files::{FileError, FileFault, StagedFolder};
use crate::steps::evidence::Files;

/// Writes into the release what it carries beside the artifacts. Returns the list of
/// everything.
pub(super) fn keep_evidence(
    build: &Inspection<'_>,
    contents: &Contents,
    list: ArtifactList,
    approvals: &[Approval],
    staged: &StagedFolder,
) -> Result<Sums, BuildError> {
    let key_file = build.grant.terms().kind().public_key().map(str::to_owned);
    let mut files = BTreeMap::<&BuilderName, Files>::new();
    for (delivery, attested) in build.deliveries.iter().zip(&build.attested) {
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
    let sums = Sums::new(contents, list, of_builders, of_approvals.collect());
    let contents = contents.to_text();
    // Envelopes of many builders can be larger than anybody reads who verifies the release.
    let evidence = files.values().flat_map(Files::values).map(Vec::len);
    let evidence = evidence.chain(approvals.iter().map(|approval| approval.bytes.len()));
    let evidence = evidence.sum::<usize>() + build.grant.bytes().len() + contents.len();
    check_size(SUMS, sums.to_text().len(), LARGEST_SUMS)?;
    check_size(EVIDENCE, evidence, LARGEST_EVIDENCE - LARGEST_SIGNATURE)?;

    let keep = |path: &str, bytes: &[u8]| staged.write(path, bytes).map_err(BuildError::output);
    keep(&format!("{EVIDENCE}/{RELEASE}"), contents.as_bytes())?;
    for (builder, files) in &files {
        for (name, bytes) in files {
            keep(&format!("{EVIDENCE}/{builder}/{name}"), bytes)?;
        }
    }
    keep(&format!("{EVIDENCE}/{GRANT}"), build.grant.bytes())?;
    for approval in approvals {
        keep(
            &format!("{EVIDENCE}/{APPROVALS}/{}", approval.file),
            &approval.bytes,
        )?;
    }
    Ok(sums)
}

fn check_size(name: &str, size: usize, limit: u64) -> Result<(), BuildError> {
    if size as u64 <= limit {
        return Ok(());
    }
    let error = FileError::new(name, FileFault::TooLarge { limit });
    Err(BuildError::Unfit(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_would_read_is_refused() {
        assert!(check_size(EVIDENCE, 10, 10).is_ok());
        let refused = check_size(EVIDENCE, 11, 10).expect_err("too large");
        assert!(refused.is_refusal());
        assert_eq!(refused.to_string(), "`evidence` is larger than 10 bytes");
    }
}
