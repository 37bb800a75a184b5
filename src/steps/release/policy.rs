//! What a verifier brings: the release certificate, a policy of its own, and its clock.

use std::collections::BTreeSet;

use super::error::ReleaseError;
use super::evidence::Evidence;
use crate::approver::{Approver, check_distinct};
use crate::domain::digest::Sha256;
use crate::domain::malformed::Malformed;
use crate::domain::name::{ProjectName, Version};
use crate::domain::policy::{ApproverKeys, Facts, Policy, Shown};
use crate::domain::signing::Claims;
use crate::domain::time::Timestamp;
use crate::openpgp::Certificate;
use crate::ssh::key::PublicKey as SshKey;
use crate::steps::evidence::approval;

/// What releases are checked with.
#[derive(Debug, Clone, Copy)]
pub struct Verifier<'a> {
    /// The release certificate.
    pub certificate: &'a Certificate,
    /// Which of the good releases are accepted.
    pub policy: &'a VerifierPolicy,
    /// What time it is.
    pub now: Timestamp,
}

/// A policy with the approvers' keys. The default accepts each release.
#[derive(Debug, Default)]
pub struct VerifierPolicy {
    rules: Policy,
    approvers: Vec<Approver>,
    /// Of its bytes, if it was read.
    digest: Option<Sha256>,
}

impl VerifierPolicy {
    /// Reads a policy, and the keys in it.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let rules = Policy::parse(bytes)?;
        let approvers = rules.approvers().iter().map(approver);
        let approvers = approvers.collect::<Result<Vec<_>, _>>()?;
        check_distinct(&approvers)?;
        Ok(Self {
            rules,
            approvers,
            digest: Some(Sha256::of(bytes)),
        })
    }

    /// The SHA-256 of its bytes; `None` for the default.
    pub fn digest(&self) -> Option<Sha256> {
        self.digest
    }

    /// Whether it requires proofs from the log, which a whole release does not have.
    pub fn requires_proof(&self) -> bool {
        self.rules.requires_proof()
    }

    /// Refuses a release by its name alone.
    pub(super) fn judge_name(
        &self,
        project: &ProjectName,
        version: &Version,
    ) -> Result<(), ReleaseError> {
        let judged = self.rules.judge_name(project, version);
        judged.map_err(ReleaseError::Policy)
    }

    /// Refuses a release whose evidence is good, and whose list was signed at `at`: approvers' keys
    /// must be valid then.
    pub(super) fn judge_whole(
        &self,
        evidence: &Evidence,
        at: Timestamp,
    ) -> Result<(), ReleaseError> {
        let grant = &evidence.grant;
        let approved = evidence
            .approvals
            .iter()
            .filter_map(|bytes| approval::check(grant, bytes, &self.approvers, at).ok());
        let approvers: BTreeSet<_> = approved.map(|approved| approved.approver).collect();
        let facts = Facts {
            project: &grant.terms().project,
            version: &grant.terms().version,
            shown: Shown::Whole {
                scheme: grant.terms().scheme,
                builders: evidence.least_builders,
                approvers: &approvers,
            },
        };
        self.rules.judge(&facts).map_err(ReleaseError::Policy)
    }

    /// Refuses a file with these claims, and with a proof from the log or without.
    pub(super) fn judge_file(&self, claims: &Claims, proof: bool) -> Result<(), ReleaseError> {
        let facts = Facts {
            project: &claims.project,
            version: &claims.version,
            shown: Shown::File { proof },
        };
        self.rules.judge(&facts).map_err(ReleaseError::Policy)
    }
}

fn approver(keys: &ApproverKeys) -> Result<Approver, Malformed> {
    let of = |error: Malformed| error.within(format_args!("approver `{}`", keys.name));
    let certificates = keys.openpgp.iter();
    let certificates = certificates.map(|text| Certificate::parse(text.as_bytes()).map_err(of));
    let ssh_keys = keys.ssh.iter();
    let ssh_keys = ssh_keys.map(|line| SshKey::parse(line).map_err(of));
    Ok(Approver {
        name: keys.name.clone(),
        certificates: certificates.collect::<Result<_, _>>()?,
        ssh_keys: ssh_keys.collect::<Result<_, _>>()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_vector_has_keys() {
        let vector = include_bytes!("../../../tests/data/policy.json");
        let policy = VerifierPolicy::parse(vector).expect("the vector");
        assert_eq!(policy.approvers.len(), 2);
        assert_eq!(policy.digest(), Some(Sha256::of(vector)));
    }
}
