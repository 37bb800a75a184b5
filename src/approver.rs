//! A person who may approve grants, by their keys: at H one in the configuration, for a verifier
//! one in its policy.

use crate::domain::key::{PublicKey, pairs};
use crate::domain::malformed::Malformed;
use crate::domain::name::ApproverName;
use crate::openpgp::Certificate;
use crate::ssh::key::PublicKey as SshKey;

/// A person who may approve grants.
#[derive(Debug)]
pub struct Approver {
    /// Their name.
    pub name: ApproverName,
    /// Their OpenPGP certificates.
    pub certificates: Vec<Certificate>,
    /// Their SSH keys.
    pub ssh_keys: Vec<SshKey>,
}

impl Approver {
    /// Whether the two have a key in common, as an OpenPGP or an SSH key.
    fn shares_key_with(&self, other: &Self) -> bool {
        let numbers = |approver: &Self| -> Vec<PublicKey> {
            let certificates = approver.certificates.iter().flat_map(Certificate::numbers);
            certificates
                .chain(approver.ssh_keys.iter().filter_map(SshKey::numbers))
                .collect()
        };
        let theirs = numbers(other);
        numbers(self)
            .iter()
            .any(|key| theirs.iter().any(|other| key.is_one_with(other)))
            || self.ssh_keys.iter().any(|key| other.ssh_keys.contains(key))
            || self
                .certificates
                .iter()
                .any(|ours| other.certificates.iter().any(|it| ours.shares_key_with(it)))
    }
}

/// Refuses two approvers with a key in common: they would be one person with two voices.
pub fn check_distinct(approvers: &[Approver]) -> Result<(), Malformed> {
    let mut pairs = pairs(approvers);
    match pairs.find(|(one, other)| one.shares_key_with(other)) {
        Some((one, _)) => Err(Malformed::new(format!(
            "a key of approver `{}` is also another approver's",
            one.name
        ))),
        None => Ok(()),
    }
}
