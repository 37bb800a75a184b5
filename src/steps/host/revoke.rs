//! Revoking a grant.

use super::trouble::Trouble;
use crate::domain::digest::GrantId;
use crate::domain::event::Event;
use crate::domain::time::Timestamp;
use crate::files::Wait;
use crate::home::{Home, HomeError};

/// Why a grant was not revoked.
#[expect(missing_docs, reason = "each message says what it means")]
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum RevokeError {
    #[error("grant {} was not issued by this signing host", .0.short())]
    #[diagnostic(
        code(usage::grant_to_revoke_not_issued),
        help("`countersign grants list` shows the grants of this host")
    )]
    NotIssued(GrantId),

    #[error("grant {} was revoked before, in ledger entry {entry}", grant.short())]
    #[diagnostic(code(usage::grant_revoked_already))]
    Again { grant: GrantId, entry: u64 },

    #[error(transparent)]
    #[diagnostic(transparent)]
    Trouble(Trouble),
}

impl<E: Into<Trouble>> From<E> for RevokeError {
    fn from(error: E) -> Self {
        Self::Trouble(error.into())
    }
}

/// Revokes the grant at once, and returns the entry in the ledger. This waits for no lock, which a
/// run may have for as long as its token waits for a touch.
pub fn revoke(
    grant: GrantId,
    reason: Option<String>,
    home: &Home,
    now: Timestamp,
) -> Result<u64, RevokeError> {
    let event = Event::GrantRevoked { grant, reason };
    let entry = match log(&event, grant, home, now) {
        // The disk may be full, which must not keep a grant valid.
        Err(RevokeError::Trouble(_)) if home.give_ballast() => log(&event, grant, home, now)?,
        logged => logged?,
    };
    home.keep_ballast();
    match home.hold_grant(grant, Wait::NOT) {
        Ok(_held) => home.forget_nonces(grant)?,
        // A run reads them just now. The next command wipes them.
        Err(HomeError::Busy { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(entry)
}

fn log(event: &Event, grant: GrantId, home: &Home, now: Timestamp) -> Result<u64, RevokeError> {
    let mut ledger = home.ledger()?;
    let record = ledger.grant(grant)?;
    let record = record.ok_or(RevokeError::NotIssued(grant))?;
    if let Some(entry) = record.revoked {
        // The process that revoked it may have been killed before this.
        home.forget_nonces(grant)?;
        return Err(RevokeError::Again { grant, entry });
    }
    Ok(ledger.append(now, event.clone())?)
}
