//! Whether enough builders agree, and in what they differ.

use std::collections::BTreeMap;

use super::check::{Attested, check_names};
use super::error::{Dissent, EvidenceError};
use crate::domain::evidence::Differences;
use crate::domain::grant::Terms;
use crate::domain::name::{ArtifactName, BuilderName};

/// Which builders attested each artifact.
pub type Agreed = BTreeMap<ArtifactName, Vec<BuilderName>>;

/// Which builders attested each artifact, if there are enough of them for every one and no two are
/// known to differ.
pub fn check(terms: &Terms, attested: &[Attested]) -> Result<Agreed, EvidenceError> {
    let agreed = agreed(terms, attested)?;
    enough(terms, attested, &agreed)?;
    Ok(agreed)
}

/// Which builders attested each artifact, if no two are known to differ.
pub fn agreed(terms: &Terms, attested: &[Attested]) -> Result<Agreed, EvidenceError> {
    let mut artifacts = Agreed::new();
    for attested in attested {
        for name in attested.names() {
            artifacts
                .entry(name.clone())
                .or_default()
                .push(attested.builder().clone());
        }
    }
    if !attested.is_empty() {
        check_names(&terms.bounds(), artifacts.keys())?;
    }
    for name in artifacts.keys() {
        let mut digests = attested
            .iter()
            .filter_map(|it| Some((it.builder().clone(), it.digest(name)?)));
        let Some(one) = digests.next() else { continue };
        if let Some(other) = digests.find(|(_, digest)| *digest != one.1) {
            let differences = differences(attested);
            return Err(Box::new(Dissent {
                name: name.clone(),
                one,
                other,
                differences,
            })
            .into());
        }
    }
    Ok(artifacts)
}

/// Whether there are enough builders for every artifact, or can be once the others deliver.
pub fn enough(terms: &Terms, attested: &[Attested], agreed: &Agreed) -> Result<(), EvidenceError> {
    let quorum = usize::try_from(terms.quorum).expect("no more than there are builders");
    let absent = terms.builders.len() - attested.len();
    let by_fewer_than = |builders: usize| {
        let (name, by) = agreed.iter().find(|(_, by)| by.len() < builders)?;
        Some(format!("artifact `{name}` was attested by {}", listed(by)))
    };
    if let Some(found) = by_fewer_than(quorum.saturating_sub(absent)) {
        return Err(EvidenceError::TooFew {
            quorum: terms.quorum,
            found,
        });
    }
    let found = if attested.len() < quorum {
        let builders = attested.iter().map(Attested::builder);
        Some(format!("there is evidence of {}", listed(builders)))
    } else {
        by_fewer_than(quorum)
    };
    let quorum = terms.quorum;
    found.map_or(Ok(()), |found| {
        Err(EvidenceError::Awaited { quorum, found })
    })
}

/// The artifacts of which builders give different digests, or that some of them did not build. Of
/// those that are attested one by one, nothing is known before they are read.
pub fn differences(attested: &[Attested]) -> Differences {
    let mut all = Differences::new();
    for name in attested.iter().flat_map(Attested::names) {
        all.entry(name.clone()).or_insert_with(|| {
            attested
                .iter()
                .map(|attested| (attested.builder().clone(), attested.digest(name)))
                .collect()
        });
    }
    differing(all)
}

/// Those of the artifacts that not every builder attested alike.
pub(in crate::steps) fn differing(mut all: Differences) -> Differences {
    all.retain(|_, said| {
        said.values()
            .any(|digest| Some(digest) != said.values().next())
    });
    all
}

/// Builders, for people.
fn listed<'a>(builders: impl IntoIterator<Item = &'a BuilderName>) -> String {
    let names: Vec<_> = builders
        .into_iter()
        .map(|name| format!("`{name}`"))
        .collect();
    match names.as_slice() {
        [] => "none".to_owned(),
        [one] => format!("one ({one})"),
        all => format!("{} ({})", all.len(), all.join(", ")),
    }
}
