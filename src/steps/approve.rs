//! An approver's step: a detached signature over the grant's bytes, made with whatever tool they have, recorded on H.

use super::policy::{self, PolicyError};
use crate::domain::digest::Sha256;
use crate::domain::event::Event;
use crate::domain::grant::Grant;
use crate::domain::name::ApproverName;
use crate::domain::release::{ApprovalForm, LARGEST_SIGNATURE, approval_name};
use crate::domain::time::Timestamp;
use crate::files::{FileError, FileFault};
use crate::home::{Approver, Home, HomeError, HomeLock};
use crate::ledger::{Ledger, LedgerError};
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

/// Why a signature does not count as an approval. The display says what is wrong with it, not which it is.
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

/// Why an approval was not recorded.
#[derive(Debug, thiserror::Error)]
pub enum ApproveError {
    /// Not one of ours.
    #[error("grant {0} was not issued by this signing host")]
    NotIssued(String),
    /// Too late.
    #[error("grant {grant} {reason}: an approval changes nothing any more")]
    Over {
        /// The grant.
        grant: String,
        /// Why.
        reason: String,
    },
    /// The signature.
    #[error("approval `{file}` {fault}")]
    Approval {
        /// Its file.
        file: String,
        /// What is wrong.
        fault: BadApproval,
    },
    /// One person is one approval, with however many keys.
    #[error("{approver} has approved grant {grant} already")]
    Again {
        /// Who.
        approver: ApproverName,
        /// The grant.
        grant: String,
    },
    /// The approvals that were recorded before.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// H's home.
    #[error(transparent)]
    Home(#[from] HomeError),
}

impl From<LedgerError> for ApproveError {
    fn from(error: LedgerError) -> Self {
        Self::Home(error.into())
    }
}

/// Whose approval of the grant these bytes are, at `at`. A key that has expired or is revoked by then speaks for nobody,
/// whenever the signature says that it was made.
pub fn check(grant: &Grant, signature: &[u8], approvers: &[Approver], at: Timestamp) -> Result<Approved, BadApproval> {
    if ssh::Signature::is_likely(signature) {
        return check_ssh(grant, signature, approvers);
    }
    let signature = DetachedSignature::parse_approval(signature).map_err(BadApproval::OpenPgp)?;
    let state = HashState::of(grant.bytes(), signature.hash());
    let mut fault = BadApproval::Stranger("unknown".to_owned());
    let certificates = approvers.iter().flat_map(|approver| approver.certificates.iter().map(move |it| (approver, it)));
    for (approver, certificate) in certificates {
        match signature.check(certificate, &state, "the grant", at) {
            Ok(signed) => match certificate.signing_key(signed.key, at) {
                Ok(_) => {
                    let (approver, key) = (approver.name.clone(), signed.key.to_string());
                    return Ok(Approved { approver, key, form: ApprovalForm::OpenPgp });
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

fn check_ssh(grant: &Grant, signature: &[u8], approvers: &[Approver]) -> Result<Approved, BadApproval> {
    let signature = ssh::Signature::parse(signature)?;
    let keys = approvers.iter().flat_map(|approver| approver.ssh_keys.iter().map(move |key| (approver, key)));
    let Some((approver, key)) = keys.into_iter().find(|(_, key)| signature.is_by(key)) else {
        return Err(BadApproval::Stranger(signature.issuer()));
    };
    signature.check(key, NAMESPACE, grant.bytes())?;
    Ok(Approved { approver: approver.name.clone(), key: key.to_string(), form: ApprovalForm::Ssh })
}

/// Records an approval, whose file is called `file` in errors. Returns whose it is, and its entry in the ledger.
pub fn record(
    grant: &Grant,
    signature: &[u8],
    file: &str,
    home: &Home,
    _lock: &HomeLock,
    ledger: &mut Ledger,
    now: Timestamp,
) -> Result<(Approved, u64), ApproveError> {
    let short = grant.id().short();
    let record = ledger.grant(grant.id())?.ok_or_else(|| ApproveError::NotIssued(short.clone()))?;
    let over = |reason: String| ApproveError::Over { grant: short.clone(), reason };
    if record.revoked.is_some() {
        return Err(over("was revoked".to_owned()));
    }
    if record.accepted.is_some() {
        return Err(over("was closed by a build".to_owned()));
    }
    if now >= grant.terms().expires {
        return Err(over(format!("expired at {}", grant.terms().expires)));
    }
    // It becomes a file of the release, where nobody would read more.
    if signature.len() as u64 > LARGEST_SIGNATURE {
        let fault = FileFault::TooLarge { limit: LARGEST_SIGNATURE };
        return Err(HomeError::from(FileError::new(file, fault)).into());
    }
    let approved = check(grant, signature, home.approvers(), now)
        .map_err(|fault| ApproveError::Approval { file: file.to_owned(), fault })?;
    // One that does not count any more is replaced.
    let approvals = policy::approvals(grant, home, ledger, now)?;
    if policy::in_favour(&approvals).contains_key(&approved.approver) {
        return Err(ApproveError::Again { approver: approved.approver, grant: short });
    }
    let name = approval_name(&approved.approver, approved.form);
    home.keep_approval(grant.id(), &name, signature)?;
    let event = Event::GrantApproved {
        grant: grant.id(),
        approver: approved.approver.clone(),
        key: approved.key.clone(),
        file: name,
        signature: Sha256::of(signature),
    };
    let entry = ledger.append(now, event)?;
    Ok((approved, entry))
}
