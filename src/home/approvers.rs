//! The people who may approve grants, and their keys.

use std::path::Path;

use super::error::HomeError;
use super::private;
use crate::config::{CONFIG, Config, ConfigError};
use crate::domain::key::{PublicKey, pairs};
use crate::domain::malformed::Malformed;
use crate::domain::name::ApproverName;
use crate::files::InputFile;
use crate::openpgp::{Certificate, LARGEST_CERTIFICATE};
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

/// Reads the approvers' keys; refuses two approvers with a key in common.
pub(super) fn read(home: &Path, config: &Config) -> Result<Vec<Approver>, HomeError> {
    let fail = |reason: String| ConfigError {
        path: home.join(CONFIG),
        reason: Malformed::new(reason),
    };
    let mut approvers = Vec::new();
    for keys in &config.approver {
        let mut approver = Approver {
            name: keys.name.clone(),
            certificates: Vec::new(),
            ssh_keys: Vec::new(),
        };
        for path in &keys.openpgp {
            let path = home.join(path);
            private::check_unwritable(&path)?;
            let bytes = InputFile::open_named(&path)?.read_whole(LARGEST_CERTIFICATE)?;
            let certificate =
                Certificate::parse(&bytes).map_err(|source| HomeError::Certificate {
                    which: format!("certificate of approver `{}`", keys.name),
                    path,
                    source,
                    help: "export one certificate with `gpg --export FINGERPRINT`",
                })?;
            approver.certificates.push(certificate);
        }
        for line in &keys.ssh {
            let key = SshKey::parse(line);
            let key =
                key.map_err(|error| fail(format!("SSH key of approver `{}`: {error}", keys.name)))?;
            approver.ssh_keys.push(key);
        }
        approvers.push(approver);
    }
    if let Some((one, _)) = pairs(&approvers).find(|(one, other)| one.shares_key_with(other)) {
        let reason = format!(
            "a key of approver `{}` is also another approver's",
            one.name
        );
        return Err(fail(reason).into());
    }
    Ok(approvers)
}
