//! What counts as an approval: a signature over a grant's bytes, by somebody whom the configuration
//! names.

use crate::domain::grant::Grant;
use crate::domain::name::ApproverName;
use crate::domain::release::ApprovalForm;
use crate::domain::time::Timestamp;
use crate::home::Approver;
use crate::openpgp::{BadSignature, DetachedSignature, HashState, KeyTrouble};
use crate::ssh::{self, BadSshSignature};

/// The namespace of SSH signatures over grants.
pub const NAMESPACE: &str = "countersign-grant";

/// An approval that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approved {
    /// Who.
    pub approver: ApproverName,
    /// With which key: an OpenPGP fingerprint, or that of an SSH key.
    pub key: String,
    /// How.
    pub form: ApprovalForm,
}

/// Why a signature does not count as an approval. The display says what is wrong with it, not which
/// it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadApproval {
    /// By nobody whom the configuration names.
    #[error("is by key {0}, which is no approver's")]
    Stranger(String),
    /// By somebody else than was recorded: the configuration changed.
    #[error("is by a key that is now that of {0}")]
    Other(ApproverName),
    /// An OpenPGP signature.
    #[error(transparent)]
    OpenPgp(BadSignature),
    /// The key cannot speak for its owner any more.
    #[error("does not count: {0}")]
    Key(KeyTrouble),
    /// An SSH signature.
    #[error(transparent)]
    Ssh(#[from] BadSshSignature),
}

/// Whose approval of the grant these bytes are, at `at`. A key that has expired or is revoked by
/// then speaks for nobody, whenever the signature says that it was made.
pub fn check(
    grant: &Grant,
    signature: &[u8],
    approvers: &[Approver],
    at: Timestamp,
) -> Result<Approved, BadApproval> {
    if ssh::Signature::is_likely(signature) {
        return check_ssh(grant, signature, approvers);
    }
    let signature = DetachedSignature::parse_approval(signature).map_err(BadApproval::OpenPgp)?;
    let state = HashState::of(grant.bytes(), signature.hash());
    let mut fault = BadApproval::Stranger("unknown".to_owned());
    let certificates = approvers
        .iter()
        .flat_map(|approver| approver.certificates.iter().map(move |it| (approver, it)));
    for (approver, certificate) in certificates {
        match signature.check(certificate, &state, "the grant", at) {
            Ok(signed) => match certificate.signing_key(signed.key, at) {
                Ok(_) => {
                    let (approver, key) = (approver.name.clone(), signed.key.to_string());
                    return Ok(Approved {
                        approver,
                        key,
                        form: ApprovalForm::OpenPgp,
                    });
                }
                // Another copy of the certificate may be newer.
                Err(trouble) => fault = BadApproval::Key(trouble),
            },
            Err(BadSignature::OtherKey { issuer, .. }) => {
                if let BadApproval::Stranger(by) = &mut fault {
                    *by = issuer;
                }
            }
            Err(error) => fault = BadApproval::OpenPgp(error),
        }
    }
    Err(fault)
}

fn check_ssh(
    grant: &Grant,
    signature: &[u8],
    approvers: &[Approver],
) -> Result<Approved, BadApproval> {
    let signature = ssh::Signature::parse(signature)?;
    let keys = approvers
        .iter()
        .flat_map(|approver| approver.ssh_keys.iter().map(move |key| (approver, key)));
    let Some((approver, key)) = keys.into_iter().find(|(_, key)| signature.is_by(key)) else {
        return Err(BadApproval::Stranger(signature.issuer()));
    };
    signature.check(key, NAMESPACE, grant.bytes())?;
    Ok(Approved {
        approver: approver.name.clone(),
        key: key.to_string(),
        form: ApprovalForm::Ssh,
    })
}
