//! Compares a card's own count of signatures with the log, and logs the result.

use std::collections::BTreeMap;

use super::replay::{CardNow, Incomparable, Known, Replay, Report};
use crate::domain::event::{Event, Finding};
use crate::domain::key::{Fingerprint, PublicKey};
use crate::domain::time::Timestamp;
use crate::home::{Home, HomeError, HomeLock};
use crate::ledger::{ExportError, ExportedLog, LedgerError};
use crate::openpgp::{Certificate, fingerprint_of};
use crate::token::{self, Interaction, TokenDescription, TokenError, TokenUri};

/// Why a card was not compared with the log.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The card, or the log.
    #[error(transparent)]
    Incomparable(#[from] Incomparable),
    /// There is nothing that could be acknowledged.
    #[error("card `{0}` has no finding to acknowledge")]
    NothingToAcknowledge(String),
    /// The token.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// H's home.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The exported log.
    #[error(transparent)]
    Export(#[from] ExportError),
}

impl From<LedgerError> for ReconcileError {
    fn from(error: LedgerError) -> Self {
        Self::Home(error.into())
    }
}

/// The most findings that an entry lists, so that it is never too large.
const MOST_FINDINGS: usize = 100;

/// What a card tells now. Costs no PIN. Its key is named by the release certificate, or else by the
/// card itself.
pub fn look(
    certificate: Option<&Certificate>,
    uri: &TokenUri,
    interaction: &mut dyn Interaction,
) -> Result<CardNow, ReconcileError> {
    let (description, public) = match token::find(uri, interaction) {
        Ok(found) => (found.description().clone(), found.public().cloned()),
        // A card without its key counts all the same.
        Err(error @ (TokenError::SlotEmpty { .. } | TokenError::KeyUnsuitable { .. })) => {
            let mut found = token::list_keys(uri, interaction)?.into_iter();
            match (found.next(), found.next()) {
                (Some(one), None) => (one.token, None),
                _ => return Err(error.into()),
            }
        }
        Err(error) => return Err(error.into()),
    };
    let uncounted = || Incomparable::Uncounted(description.label.clone());
    let counter = description.counter().ok_or_else(uncounted)?;
    let key = public.and_then(|public| {
        let certified = certificate.and_then(|certificate| certificate.key_with(&public));
        certified.or_else(|| named(&description, &public))
    });
    Ok(CardNow {
        counter: counter.signatures.ok_or_else(uncounted)?,
        card: counter.card,
        key,
    })
}

/// The fingerprint of the OpenPGP key that this key is with the creation time that is written on
/// the card.
fn named(description: &TokenDescription, public: &PublicKey) -> Option<Fingerprint> {
    fingerprint_of(public, description.card.as_ref()?.created?)
}

/// Compares a card with H's ledger, and logs the result. The entry; and the report, in which
/// everything is known that was acknowledged now.
pub fn reconcile(
    home: &Home,
    _lock: &HomeLock,
    card: &CardNow,
    acknowledge: Option<String>,
    now: Timestamp,
) -> Result<(Report, u64), ReconcileError> {
    let mut ledger = home.ledger()?;
    let mut replay = Replay::default();
    ledger.each::<LedgerError>(|entry| {
        replay.see(&entry);
        Ok(())
    })?;
    let mut kept = BTreeMap::new();
    for intent in replay.open_runs() {
        kept.insert(intent, ledger.signatures(intent)?);
    }
    let mut report = replay.compare(card, &kept)?;
    let (other_key, acknowledgeable): (Vec<_>, Vec<_>) = report
        .findings
        .iter()
        .cloned()
        .partition(|finding| matches!(finding, Finding::OtherKey { .. }));
    if acknowledge.is_some() && acknowledgeable.is_empty() {
        return Err(ReconcileError::NothingToAcknowledge(card.card.clone()));
    }
    let entry = ledger.append(
        now,
        Event::Reconciled {
            card: card.card.clone(),
            counter: other_key.is_empty().then_some(card.counter),
            findings: report
                .findings
                .iter()
                .take(MOST_FINDINGS)
                .cloned()
                .collect(),
            acknowledged: acknowledge.clone(),
        },
    )?;
    if let Some(reason) = acknowledge {
        report.findings = other_key;
        report
            .known
            .extend(acknowledgeable.into_iter().map(|finding| Known {
                finding,
                entry,
                reason: reason.clone(),
            }));
    }
    Ok((report, entry))
}

/// Compares a card with a log that was exported. Nothing is logged, and what a run that is
/// unfinished has kept is not known.
pub fn compare_exported(log: &ExportedLog, card: &CardNow) -> Result<Report, ReconcileError> {
    let mut replay = Replay::default();
    log.each::<ExportError>(|entry| {
        replay.see(&entry);
        Ok(())
    })?;
    Ok(replay.compare(card, &BTreeMap::new())?)
}
