//! What builders of one grant differ in.

use super::deliveries::deliveries;
use super::inspection::Inspection;
use super::refusal::{Awaited, BuildError};
use crate::domain::evidence::{Differences, EvidenceFiles};
use crate::domain::grant::Grant;
use crate::domain::key::HashAlgorithm;
use crate::domain::time::Timestamp;
use crate::files::Folder;
use crate::home::Home;
use crate::ledger::Ledger;
use crate::steps::Unwatched;
use crate::steps::evidence::builders::Builders;
use crate::steps::evidence::quorum;

/// What the builders in `from` differ in. Their evidence must be valid; whether they are enough,
/// or in time, is not checked.
pub fn compare(
    grant: &Grant,
    from: &Folder,
    home: &Home,
    ledger: &Ledger,
    now: Timestamp,
) -> Result<Differences, BuildError> {
    let builders = Builders::of(grant.terms()).map_err(BuildError::of_all)?;
    let mut awaited = Awaited::default();
    let deliveries = deliveries(grant, &builders, from, &mut awaited)?;
    let build = Inspection::new(grant, &builders, deliveries, home, ledger, now)?;
    awaited.end()?;
    if let EvidenceFiles::Named(_) = grant.terms().kind().files() {
        return Ok(quorum::differences(&build.attested));
    }
    // What is attested one by one shows its digest only when it is read: each builder's own.
    let mut all = Differences::new();
    for (delivery, attested) in build.deliveries.iter().zip(&build.attested) {
        for artifact in attested.names() {
            let mut state = build.state(artifact, HashAlgorithm::Sha256);
            build.read_own(delivery, artifact, &mut state, &mut Unwatched)?;
            build
                .confirm(attested, artifact, &state)
                .map_err(|fault| BuildError::of_one(grant, &delivery.builder, fault))?;
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
