//! Comparing a card's signature counter with the log, and logging the result.

use std::collections::BTreeMap;

use super::Host;
use super::replay::{CardNow, Incomparable, Known, Replay, Report};
use super::trouble::Trouble;
use crate::domain::event::{Event, Finding};
use crate::domain::key::{Fingerprint, PublicKey};
use crate::ledger::{ExportError, ExportedLog, LedgerError};
use crate::openpgp::{Certificate, fingerprint_of};
use crate::token::{self, Interaction, RefusedPins, TokenDescription, TokenError, TokenUri};

/// Why a card was not compared with the log.
#[expect(missing_docs, reason = "each message says what it means")]
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ReconcileError {
    #[error(transparent)]
    #[diagnostic(transparent)]
    Incomparable(#[from] Incomparable),

    #[error("card `{0}` has no finding to acknowledge")]
    #[diagnostic(code(usage::nothing_to_acknowledge), help("leave `--acknowledge` out"))]
    NothingToAcknowledge(String),

    #[error(transparent)]
    #[diagnostic(transparent)]
    Export(#[from] ExportError),

    #[error(transparent)]
    #[diagnostic(transparent)]
    Trouble(Trouble),
}

impl<E: Into<Trouble>> From<E> for ReconcileError {
    fn from(error: E) -> Self {
        Self::Trouble(error.into())
    }
}

/// A card that was compared with the log.
#[derive(Debug)]
pub struct Reconciled {
    /// The card.
    pub card: CardNow,
    /// The comparison. What was acknowledged now is known in it.
    pub report: Report,
    /// The entry of the result.
    pub entry: u64,
}

/// Maximum number of findings in an entry, which has a maximum size.
const MOST_FINDINGS: usize = 100;

impl Host {
    /// Compares a card with the ledger, without a PIN, and logs the result. Without `card`, it is
    /// the one in the configuration.
    pub fn reconcile(
        &mut self,
        card: Option<&TokenUri>,
        acknowledge: Option<String>,
        people: &mut dyn Interaction,
    ) -> Result<Reconciled, ReconcileError> {
        let uri = card.unwrap_or(&self.home.config.token);
        // Nothing is signed between reading the card and reading the log.
        let _queue = self.home.hold_token(self.wait)?;
        let card = look(Some(&self.home.certificate), uri, people)?;
        let mut report = self.replayed(&card)?;
        let is_other_key = |finding: &Finding| matches!(finding, Finding::OtherKey { .. });
        let (other_key, acknowledgeable): (Vec<_>, Vec<_>) =
            report.findings.iter().cloned().partition(is_other_key);
        if acknowledge.is_some() && acknowledgeable.is_empty() {
            return Err(ReconcileError::NothingToAcknowledge(card.card));
        }
        let findings = report.findings.iter().take(MOST_FINDINGS);
        let event = Event::Reconciled {
            card: card.card.clone(),
            counter: other_key.is_empty().then_some(card.counter),
            findings: findings.cloned().collect(),
            acknowledged: acknowledge.clone(),
        };
        let entry = self.ledger.append(self.clock, event)?;
        if let Some(reason) = acknowledge {
            report.findings = other_key;
            let known = acknowledgeable.into_iter().map(|finding| Known {
                finding,
                entry,
                reason: reason.clone(),
            });
            report.known.extend(known);
        }
        Ok(Reconciled {
            card,
            report,
            entry,
        })
    }

    fn replayed(&self, card: &CardNow) -> Result<Report, ReconcileError> {
        let mut replay = Replay::default();
        self.ledger.each::<LedgerError>(|entry| {
            replay.see(&entry);
            Ok(())
        })?;
        let mut kept = BTreeMap::new();
        for intent in replay.open_runs() {
            match self.ledger.is_asked(intent)? {
                true => drop(kept.insert(intent, self.ledger.signatures(intent)?)),
                false => replay.never_asked(intent),
            }
        }
        Ok(replay.compare(card, &kept)?)
    }
}

/// Compares a card with an exported log, without a PIN. Nothing is logged, and it is not known how
/// many signatures an unfinished run has kept.
pub fn compare_exported(
    log: &ExportedLog,
    certificate: Option<&Certificate>,
    card: &TokenUri,
    people: &mut dyn Interaction,
) -> Result<(CardNow, Report), ReconcileError> {
    // The card first: more may be signed while a long log is read.
    let card = look(certificate, card, people)?;
    let mut replay = Replay::default();
    log.each::<ExportError>(|entry| {
        replay.see(&entry);
        Ok(())
    })?;
    let report = replay.compare(&card, &BTreeMap::new())?;
    Ok((card, report))
}

/// Reads a card's counter, without a PIN. The fingerprint of its key is that of the release
/// certificate, or else from the card's own data.
fn look(
    certificate: Option<&Certificate>,
    uri: &TokenUri,
    people: &mut dyn Interaction,
) -> Result<CardNow, ReconcileError> {
    let (description, public) = match token::find(uri, &RefusedPins::none(), people) {
        Ok(found) => (found.description().clone(), found.public().cloned()),
        // A card without its key has a counter all the same.
        Err(error @ (TokenError::SlotEmpty { .. } | TokenError::KeyUnsuitable { .. })) => {
            let mut found = token::list_keys(uri, people)?.into_iter();
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

/// The OpenPGP fingerprint of the key, with the creation time that is on the card.
fn named(description: &TokenDescription, public: &PublicKey) -> Option<Fingerprint> {
    fingerprint_of(public, description.card.as_ref()?.created?)
}
