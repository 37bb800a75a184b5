//! An approver's step: a detached signature over the grant's bytes, made with whatever tool they
//! have, recorded on H.

use super::approval::{Approved, BadApproval, check};
use super::policy::{self, PolicyError};
use crate::domain::digest::Sha256;
use crate::domain::event::Event;
use crate::domain::grant::Grant;
use crate::domain::name::ApproverName;
use crate::domain::release::{LARGEST_SIGNATURE, approval_name};
use crate::domain::time::Timestamp;
use crate::files::{FileError, FileFault};
use crate::home::{Home, HomeError, HomeLock};
use crate::ledger::{Ledger, LedgerError};

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

/// Records an approval, whose file is called `file` in errors. Returns whose it is, and its entry
/// in the ledger.
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
    let record = ledger
        .grant(grant.id())?
        .ok_or_else(|| ApproveError::NotIssued(short.clone()))?;
    let over = |reason: String| ApproveError::Over {
        grant: short.clone(),
        reason,
    };
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
        let fault = FileFault::TooLarge {
            limit: LARGEST_SIGNATURE,
        };
        return Err(HomeError::from(FileError::new(file, fault)).into());
    }
    let approved =
        check(grant, signature, home.approvers(), now).map_err(|fault| ApproveError::Approval {
            file: file.to_owned(),
            fault,
        })?;
    // One that does not count any more is replaced.
    let approvals = policy::approvals(grant, home, ledger, now)?;
    if policy::in_favour(&approvals).contains_key(&approved.approver) {
        return Err(ApproveError::Again {
            approver: approved.approver,
            grant: short,
        });
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
