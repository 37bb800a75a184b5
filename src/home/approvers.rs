//! The keys of the people who may approve grants, as the configuration names them.

use std::path::Path;

use super::error::HomeError;
use super::private;
use crate::approver::{Approver, check_distinct};
use crate::config::{CONFIG, Config, ConfigError};
use crate::domain::malformed::Malformed;
use crate::files::InputFile;
use crate::openpgp::{Certificate, LARGEST_CERTIFICATE};
use crate::ssh::key::PublicKey as SshKey;

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
    check_distinct(&approvers).map_err(|error| fail(error.to_string()))?;
    Ok(approvers)
}
