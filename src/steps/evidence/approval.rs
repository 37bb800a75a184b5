//! What a valid approval is: a signature over a grant's bytes, by an approver. At H that is one in
//! the configuration, for others one in their policy.

use crate::approver::Approver;
use crate::domain::grant::Grant;
use crate::domain::name::ApproverName;
use crate::domain::release::ApprovalForm;
use crate::domain::time::Timestamp;
use crate::openpgp::{BadSignature, DetachedSignature, HashState, KeyTrouble};
use crate::ssh;
use crate::ssh::key::{BadSshSignature, Signature};

/// The namespace of SSH signatures over grants.
pub const NAMESPACE: &str = "countersign-grant";

/// A valid approval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approved {
    /// Who approved.
    pub approver: ApproverName,
    /// Their key: an OpenPGP fingerprint, or that of an SSH key.
    pub key: String,
    /// The form of the signature.
    pub form: ApprovalForm,
    /// The signature, in the form in which it is kept.
    pub kept: Vec<u8>,
}

/// Why a signature is not a valid approval.
#[expect(missing_docs, reason = "each message says what it means")]
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
pub enum BadApproval {
    #[error("key {0} is not an approver's")]
    #[diagnostic(
        code(refused::not_an_approver),
        help("list approvers and their keys in config.toml, `[[approver]]`")
    )]
    Stranger(String),

    #[error("the approver's key cannot be used: {0}")]
    #[diagnostic(
        code(refused::approver_key_unusable),
        help("sign with a key that is valid now, or update the approver's certificate")
    )]
    Key(KeyTrouble),

    #[error("nobody touched the FIDO key that made the signature")]
    #[diagnostic(
        code(refused::untouched_approval),
        help("sign again and touch the key; one made with `-O no-touch-required` cannot approve")
    )]
    Untouched,

    #[error("{reason}")]
    #[diagnostic(code(refused::bad_approval), help("{help}"))]
    Signature { reason: String, help: &'static str },
}

impl BadApproval {
    /// A signature that is not one over the grant.
    pub(in crate::steps) fn signature(reason: String) -> Self {
        let help = "sign the grant's file itself: `gpg --detach-sign GRANT`, or \
                    `ssh-keygen -Y sign -n countersign-grant -f KEY GRANT`";
        Self::Signature { reason, help }
    }
}

impl From<BadSignature> for BadApproval {
    fn from(error: BadSignature) -> Self {
        match error {
            BadSignature::Future { .. } => Self::Signature {
                reason: error.to_string(),
                help: "compare this host's clock with that of the approver's machine; correct \
                       the wrong one, and sign again if it was the approver's",
            },
            error => Self::signature(error.to_string()),
        }
    }
}

impl From<BadSshSignature> for BadApproval {
    fn from(error: BadSshSignature) -> Self {
        match error {
            BadSshSignature::Untouched => Self::Untouched,
            BadSshSignature::Malformed(error) => Self::signature(error.to_string()),
        }
    }
}

/// Checks a signature over the grant with the approvers' keys. The key must be valid at `at`: the
/// time in the signature could be false.
pub fn check(
    grant: &Grant,
    signature: &[u8],
    approvers: &[Approver],
    at: Timestamp,
) -> Result<Approved, BadApproval> {
    if ssh::Blob::is_likely(signature) {
        return check_ssh(grant, signature, approvers);
    }
    let signature = DetachedSignature::parse_approval(signature)?;
    let state = HashState::of(grant.bytes(), signature.hash());
    let name = grant.id().short();
    let mut fault = BadApproval::Stranger("unknown".to_owned());
    let certificates = approvers
        .iter()
        .flat_map(|approver| approver.certificates.iter().map(move |it| (approver, it)));
    for (approver, certificate) in certificates {
        match signature.check(certificate, &state, &name, at) {
            Ok(signed) => match certificate.signing_key(signed.key, at) {
                Ok(_) => {
                    return Ok(Approved {
                        approver: approver.name.clone(),
                        key: signed.key.to_string(),
                        form: ApprovalForm::OpenPgp,
                        kept: signature.to_packet(),
                    });
                }
                // Another copy of the certificate may be newer.
                Err(trouble) => fault = BadApproval::Key(trouble),
            },
            Err(BadSignature::OtherKey { issuer, .. }) => {
                if let BadApproval::Stranger(key) = &mut fault {
                    *key = issuer;
                }
            }
            Err(error) => fault = error.into(),
        }
    }
    Err(fault)
}

fn check_ssh(
    grant: &Grant,
    signature: &[u8],
    approvers: &[Approver],
) -> Result<Approved, BadApproval> {
    let blob = ssh::Blob::parse(signature).map_err(BadSshSignature::from)?;
    let signature = Signature::parse(&blob)?;
    let mut keys = approvers
        .iter()
        .flat_map(|approver| approver.ssh_keys.iter().map(move |key| (approver, key)));
    let Some((approver, key)) = keys.find(|(_, key)| signature.is_by(key)) else {
        return Err(BadApproval::Stranger(signature.issuer()));
    };
    signature.check(key, NAMESPACE, grant.bytes())?;
    Ok(Approved {
        approver: approver.name.clone(),
        key: key.to_string(),
        form: ApprovalForm::Ssh,
        kept: blob.to_armour().into_bytes(),
    })
}

#[cfg(test)]
mod tests {
    use miette::Diagnostic as _;

    use super::*;
    use crate::domain::malformed::Malformed;

    #[test]
    fn an_approval_from_the_future_is_a_matter_of_clocks() {
        let created = Timestamp::from_unix(0);
        for (fault, word) in [
            (BadSignature::Future { created }, "clock"),
            (
                Malformed::new("no signature").into(),
                "sign the grant's file itself",
            ),
        ] {
            let help = BadApproval::from(fault).help().expect("a help").to_string();
            assert!(help.contains(word), "{help}");
        }
    }
}
