//! The operator's second thought: a grant is taken back.

use crate::domain::digest::GrantId;
use crate::domain::event::Event;
use crate::domain::time::Timestamp;
use crate::home::{Home, HomeError};
use crate::ledger::LedgerError;

/// Why a grant was not taken back.
#[derive(Debug, thiserror::Error)]
pub enum RevokeError {
    /// Not one of ours.
    #[error("grant {0} was not issued by this signing host")]
    NotIssued(String),
    /// It was before.
    #[error("grant {grant} was revoked before, in ledger entry {entry}")]
    Again {
        /// The grant.
        grant: String,
        /// Where that was logged.
        entry: u64,
    },
    /// H's home.
    #[error(transparent)]
    Home(#[from] HomeError),
}

impl From<LedgerError> for RevokeError {
    fn from(error: LedgerError) -> Self {
        Self::Home(error.into())
    }
}

/// Takes the grant back, at once: without the home's lock, which a run may hold for as long as its
/// token waits for a touch. The nonces that were kept for it are wiped, by this process or by the
/// next one that has the lock. Returns the entry in the ledger.
pub fn revoke(
    grant: GrantId,
    reason: Option<String>,
    home: &Home,
    now: Timestamp,
) -> Result<u64, RevokeError> {
    let mut ledger = home.ledger()?;
    let short = grant.short();
    let record = ledger
        .grant(grant)?
        .ok_or_else(|| RevokeError::NotIssued(short.clone()))?;
    if let Some(entry) = record.revoked {
        // The process that revoked it may have been killed before it came to that.
        home.forget_nonces(grant)?;
        return Err(RevokeError::Again {
            grant: short,
            entry,
        });
    }
    let entry = ledger.append(now, Event::GrantRevoked { grant, reason })?;
    match home.lock() {
        Ok(_lock) => home.forget_nonces(grant)?,
        Err(HomeError::Busy(_)) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(entry)
}
