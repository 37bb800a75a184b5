//! The state of a grant, in words.

use crate::domain::grant::Grant;
use crate::domain::time::Timestamp;
use crate::ledger::GrantRecord;
use crate::steps::host::policy::{self, Approval};

/// Whether a release can still be signed under the grant, as the log has it.
pub(super) fn is_open(record: &GrantRecord, expires: Timestamp, now: Timestamp) -> bool {
    let is_valid = record.accepted.is_some() || now < expires;
    record.revoked.is_none() && record.signed.is_none() && is_valid
}

/// The state that the log has; `None` while the grant waits for a build.
pub(super) fn logged(record: &GrantRecord, expires: Timestamp, now: Timestamp) -> Option<String> {
    if let Some(withdrawn) = record.withdrawn {
        return Some(format!("withdrawn (entry {withdrawn})"));
    }
    match (record.revoked, record.signed, record.accepted) {
        (Some(revoked), Some(signed), _) => Some(format!(
            "revoked (entry {revoked}), signed before (entry {signed})"
        )),
        (Some(revoked), None, _) => Some(format!("revoked (entry {revoked})")),
        (None, Some(signed), _) => Some(format!("signed (entry {signed})")),
        (None, None, Some(accepted)) => {
            Some(format!("accepted, not signed yet (entry {accepted})"))
        }
        (None, None, None) if now >= expires => Some(format!("expired at {expires}")),
        (None, None, None) => None,
    }
}

/// The state of a grant that waits for a build: whether one could be signed now.
pub(super) fn waiting(
    grant: &Grant,
    approvals: &[Approval],
    needed: u32,
    now: Timestamp,
) -> String {
    let terms = grant.terms();
    let count = policy::in_favour(approvals).len();
    if now < terms.not_before {
        format!("not valid before {}", terms.not_before)
    } else if count < needed as usize {
        format!("waits for approvals, {count} of {needed}")
    } else {
        format!("open until {}", terms.expires)
    }
}
