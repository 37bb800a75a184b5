//! Recording an approval: a detached signature over the grant's bytes, from any tool.

use std::path::{Path, PathBuf};

use super::Host;
use super::policy::{self, PolicyError};
use super::trouble::Trouble;
use crate::domain::digest::{GrantId, Sha256};
use crate::domain::event::Event;
use crate::domain::grant::Grant;
use crate::domain::release::{LARGEST_SIGNATURE, approval_name};
use crate::domain::time::Timestamp;
use crate::files::InputFile;
use crate::ledger::Ledger;
use crate::steps::evidence::approval::{Approved, BadApproval, check};

/// Why an approval was not recorded.
#[expect(missing_docs, reason = "each message says what it means")]
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ApproveError {
    #[error("an approval of grant {} has no effect: {reason}", grant.short())]
    #[diagnostic(code(refused::approval_without_effect))]
    NoEffect { grant: GrantId, reason: String },

    #[error("approval `{}` is not valid: {source}", path.display())]
    #[diagnostic(forward(source))]
    Approval { path: PathBuf, source: BadApproval },

    #[error(transparent)]
    #[diagnostic(transparent)]
    Policy(#[from] PolicyError),

    #[error(transparent)]
    #[diagnostic(transparent)]
    Trouble(Trouble),
}

impl<E: Into<Trouble>> From<E> for ApproveError {
    fn from(error: E) -> Self {
        Self::Trouble(error.into())
    }
}

/// An approval that was recorded.
#[derive(Debug)]
pub struct Recorded {
    /// What was checked.
    pub approved: Approved,
    /// Its entry in the ledger.
    pub entry: u64,
}

impl Host {
    /// Checks the signature in the file `path` as an approval of the grant, and records it.
    pub fn approve(&mut self, grant: &Grant, path: &Path) -> Result<Recorded, ApproveError> {
        let now = self.clock.now();
        self.home.forget_unneeded_nonces(&self.ledger, now)?;
        self.check_anchors()?;
        let id = grant.id();
        let _held = self.home.hold_grant(id, self.wait)?;
        check_open(grant, &self.ledger, now)?;
        // What is kept of it becomes a file of the release, where no more than this is read.
        let signature = InputFile::open_named(path)?.read_whole(LARGEST_SIGNATURE)?;
        let checked = check(grant, &signature, self.home.approvers(), now);
        let approved = checked.map_err(|source| ApproveError::Approval {
            path: path.to_owned(),
            source,
        })?;
        // An approval that is not valid any more is replaced.
        let approvals = policy::approvals(grant, &self.home, &self.ledger, now)?;
        if policy::in_favour(&approvals).contains_key(&approved.approver) {
            let reason = format!("{} has approved it already", approved.approver);
            return Err(ApproveError::NoEffect { grant: id, reason });
        }
        let name = approval_name(&approved.approver, approved.form);
        self.home.keep_approval(id, &name, &approved.kept)?;
        let event = Event::GrantApproved {
            grant: id,
            approver: approved.approver.clone(),
            key: approved.key.clone(),
            file: name,
            signature: Sha256::of(&approved.kept),
        };
        let entry = self.ledger.append_if(self.clock, event, |ledger, at| {
            check_open(grant, ledger, at)
        })?;
        Ok(Recorded { approved, entry })
    }
}

/// Refuses an approval that nothing would depend on.
fn check_open(grant: &Grant, ledger: &Ledger, at: Timestamp) -> Result<(), ApproveError> {
    let id = grant.id();
    let record = ledger.grant(id)?.ok_or(PolicyError::NotIssued(id))?;
    let expires = grant.terms().expires;
    let reason = if record.revoked.is_some() {
        "it was revoked".to_owned()
    } else if record.accepted.is_some() {
        "it was closed by a build".to_owned()
    } else if at >= expires {
        format!("it expired at {expires}")
    } else {
        return Ok(());
    };
    Err(ApproveError::NoEffect { grant: id, reason })
}
