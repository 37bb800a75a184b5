//! What the token is about to be asked for, of one release.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::card::CardUse;
use super::digest::{GrantId, Sha256};
use super::key::{Fingerprint, HashAlgorithm};
use super::name::{ArtifactName, ProjectName, Version};
use super::signing::{Plan, ReleaseForm, Signing};
use super::time::Timestamp;

/// Everything that the bytes of a release's signatures depend on, and the card that makes them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// The grant.
    pub grant: GrantId,
    /// The project of the release.
    pub project: ProjectName,
    /// The version of the release.
    pub version: Version,
    /// The key.
    pub key: Fingerprint,
    /// The hash function of the signatures.
    pub hash: HashAlgorithm,
    /// The creation time that the signatures carry.
    pub created: Timestamp,
    /// The domain of the notations that the signatures carry.
    pub notation_domain: String,
    /// The artifacts that will be signed; none if they are in entries of their own.
    pub artifacts: BTreeMap<ArtifactName, Sha256>,
    /// The first of the entries before this one that list the artifacts, where one entry cannot
    /// hold them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifacts_from: Option<u64>,
    /// SHA-256 of the list that will be signed last.
    pub sums: Sha256,
    /// The form of the release, as in the grant.
    pub form: ReleaseForm,
    /// The card that is about to sign, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card: Option<CardUse>,
    /// The entry of the intent that this replaces, for which the token was never asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<u64>,
}

impl Intent {
    /// What all statements of the release have in common; `log` is the value of their `log@`.
    pub fn signing(&self, log: String) -> Signing {
        Signing {
            created: self.created,
            hash: self.hash,
            domain: self.notation_domain.clone(),
            project: self.project.clone(),
            version: self.version.clone(),
            grant: self.grant,
            log,
        }
    }

    /// Some of its artifacts in an entry of their own.
    pub fn part(&self, artifacts: BTreeMap<ArtifactName, Sha256>) -> Self {
        Self {
            artifacts,
            artifacts_from: None,
            card: None,
            replaces: None,
            ..self.clone()
        }
    }

    /// The files of the release that are signed.
    pub fn plan(&self) -> Plan {
        Plan::new(self.form, self.artifacts.keys())
    }
}

#[cfg(test)]
impl Intent {
    /// To sign `a`, whose bytes are `a` too, and the list `s`, under the grant `g`.
    pub(crate) fn example() -> Self {
        Self {
            grant: GrantId::of(b"g"),
            project: "foo".parse().expect("a name"),
            version: "1.2.3".parse().expect("a version"),
            key: "A1B2C3D4E5F60718293A4B5C6D7E8F9001122334"
                .parse()
                .expect("a fingerprint"),
            hash: HashAlgorithm::Sha256,
            created: "2026-11-22T10:00:00Z".parse().expect("a time"),
            notation_domain: "example.org".to_owned(),
            artifacts: [("a".parse().expect("a name"), Sha256::of(b"a"))].into(),
            artifacts_from: None,
            sums: Sha256::of(b"s"),
            form: ReleaseForm::Each,
            card: None,
            replaces: None,
        }
    }
}
