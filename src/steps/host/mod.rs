//! H, the signing host: from the grant to the exported log.

pub mod approval;
pub mod approve;
pub mod build;
pub mod countersign;
pub mod export;
pub mod grant;
pub mod journal;
pub mod policy;
pub mod push;
pub mod reconcile;
pub mod release_checkpoint;
pub mod release_key;
pub mod revoke;
pub mod status;

use crate::domain::event::CardUse;
use crate::token::CardCounter;

/// What the log says of a card before it is used.
fn card_use(counter: CardCounter) -> CardUse {
    CardUse {
        card: counter.card,
        before: counter.signatures,
        after: None,
    }
}
