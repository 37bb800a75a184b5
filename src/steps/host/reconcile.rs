//! Whether every signature that a card has counted is in the log.
//!
//! An OpenPGP card counts the signatures of its key, and nobody can turn that back but with a new
//! key. Each entry that announces a use of the card, and each that tells how it ended, has the
//! card's count. [`Replay`] takes entries from wherever they come, first to last, and holds of each
//! card what it must have counted; [`Replay::compare`] ends with the card's count now.
//!
//! What an answer that was lost explains, and what it does not:
//!
//! - A run that ended tells how many answers of the card it had. If it stopped, one more can have
//!   been made, whose answer never came.
//! - A run that was cut off left no outcome. What it kept is told by `resumed` of the same intent,
//!   by its outcome, or by the journal; one more can have been made. An exported log has no
//!   journal: where nobody tells what a run kept, it explains that one more, and the others are an
//!   alarm until the run is finished and the log is exported again.
//! - The signatures of a certificate and of a self-test are not kept. Cut off, they explain at most
//!   what they announced.
//! - A count that fell is explained by a key that the log says was to be made on that card, and by
//!   nothing else.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::domain::digest::Sha256;
use crate::domain::event::{CardUse, Entry, Event, Finding, Intent, KeyPurpose, RunResult};
use crate::domain::key::{Fingerprint, PublicKey};
use crate::domain::time::Timestamp;
use crate::home::{Home, HomeError, HomeLock};
use crate::ledger::{ExportError, ExportedLog, LedgerError};
use crate::openpgp::{Certificate, fingerprint_of};
use crate::token::{self, Interaction, TokenDescription, TokenError, TokenUri};

/// A card as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardNow {
    /// Its manufacturer and serial number, as in the log.
    pub card: String,
    /// How many signatures its key has made.
    pub counter: u32,
    /// The OpenPGP fingerprint of its key; nothing if there is no key, or none that can be named.
    pub key: Option<Fingerprint>,
}

/// What a card's count and the log say of each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// How many entries were looked at.
    pub entries: u64,
    /// The entry that tells the card's count first, and that count: what came before is not in this
    /// log.
    pub begins: (u64, u32),
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// What was wrong, and was acknowledged.
    pub known: Vec<Known>,
    /// What lost answers explain.
    pub lost: Vec<Lost>,
    /// What may explain the findings when it is finished.
    pub unfinished: Vec<Undecided>,
    /// The other cards of the log.
    pub others: Vec<OtherCard>,
}

/// A finding that an operator has acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Known {
    /// The finding.
    #[serde(flatten)]
    pub finding: Finding,
    /// The entry that acknowledges it.
    #[serde(rename = "acknowledged")]
    pub entry: u64,
    /// The operator's words.
    pub reason: String,
}

/// Signatures whose answers can have been lost in a run that stopped or was cut off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lost {
    /// The entries that began the use, or told its end.
    pub runs: Vec<u64>,
    /// How many.
    pub signatures: u64,
}

/// A run of which nobody tells yet how many signatures it has kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Undecided {
    /// The entry of its intent.
    pub intent: u64,
    /// How many more it may have made than it explains now, at most.
    pub signatures: u64,
}

/// Another card of the log, at which nobody looked now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OtherCard {
    /// Which.
    pub card: String,
    /// The last entry that tells its count.
    pub entry: u64,
    /// That count.
    pub counter: u32,
    /// What is wrong between the entries about it, and was not acknowledged.
    pub findings: Vec<Finding>,
}

/// Why a card cannot be compared with the log.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The token counts nothing.
    #[error(
        "whether all signatures of token `{0}` are in the log cannot be told: it does not count them"
    )]
    Uncounted(String),
    /// The card is not in the log.
    #[error("card `{card}` is in no entry of the log, which tells of {}", if known.is_empty() { "no card".to_owned() } else { known.join(", ") })]
    UnknownCard {
        /// The card.
        card: String,
        /// Those in the log.
        known: Vec<String>,
    },
    /// There is nothing that could be acknowledged.
    #[error("nothing of card `{0}` is to be acknowledged")]
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
    let uncounted = || ReconcileError::Uncounted(description.label.clone());
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
    replay.compare(card, &BTreeMap::new())
}

/// How many signatures a run that was cut off has kept, by the entries of its intent and of its
/// beginning.
type Kept = BTreeMap<(u64, u64), u64>;

/// What the entries so far say of cards.
#[derive(Debug, Default)]
pub struct Replay {
    entries: u64,
    cards: BTreeMap<String, Card>,
    /// How many artifacts of the intent that follows stand in entries of their own.
    listed: BTreeSet<Sha256>,
    /// Intents whose release is not signed yet.
    runs: BTreeMap<u64, Run>,
    /// Uses for other than releases that have not ended.
    key_uses: BTreeMap<u64, KeyUse>,
    kept: Kept,
    /// The card of the use that has just ended.
    ended: Option<String>,
}

#[derive(Debug, Default)]
struct Card {
    begins: Option<(u64, u32)>,
    last: Option<Last>,
    key: Option<Fingerprint>,
    /// The entry of a key that was to be made, and may have taken the place of the one that
    /// counted.
    replacing: Option<u64>,
    /// What is still to be judged, or was found.
    spans: Vec<Span>,
    acknowledged: Vec<(u64, String)>,
}

/// The last entry that tells a card's count, and what was asked of the card since.
#[derive(Debug)]
struct Last {
    entry: u64,
    counter: u32,
    asked: Vec<Asked>,
}

/// Signatures that a card was asked for.
#[derive(Debug, Clone)]
enum Asked {
    /// So many at least, and at most; told by this entry.
    Between { entry: u64, least: u64, most: u64 },
    /// In a run of which nothing more is known yet.
    CutOff {
        intent: u64,
        start: u64,
        missing: u64,
    },
}

/// From one count of a card to the next.
#[derive(Debug)]
struct Span {
    last: Last,
    entry: Option<u64>,
    counter: u32,
    replacing: Option<u64>,
}

#[derive(Debug)]
struct Run {
    files: u64,
    /// The entry that began the latest run.
    start: u64,
    /// How many signatures had been kept by then.
    kept: u64,
}

#[derive(Debug)]
struct KeyUse {
    purpose: KeyPurpose,
    signatures: u64,
}

impl Replay {
    /// Takes the next entry.
    pub fn see(&mut self, entry: &Entry) {
        let index = entry.index;
        self.entries = index + 1;
        match &entry.event {
            Event::KeyIntended {
                token,
                purpose,
                signatures,
                card,
            } => {
                self.key_uses.insert(
                    index,
                    KeyUse {
                        purpose: *purpose,
                        signatures: *signatures,
                    },
                );
                let asked = Asked::Between {
                    entry: index,
                    least: 0,
                    most: *signatures,
                };
                self.begin(card.as_ref(), index, asked);
                if *purpose == KeyPurpose::Generate {
                    let on_card = matches!(token.parse(), Ok(TokenUri::Card(_)));
                    let named = |name: &String| card.as_ref().is_none_or(|card| card.card == *name);
                    let cards = self
                        .cards
                        .iter_mut()
                        .filter(|(name, _)| on_card && named(name));
                    cards.for_each(|(_, card)| card.replacing = Some(index));
                }
            }
            Event::KeyOutcome {
                intent,
                failed,
                card,
            } => self.end_key_use(*intent, failed.is_some(), card, index),
            Event::KeyReady { key, .. } => {
                if let Some(card) = self.ended.take().and_then(|name| self.cards.get_mut(&name)) {
                    card.key = Some(*key);
                }
            }
            Event::Artifacts { artifacts, .. } => self.listed.extend(artifacts.values()),
            Event::Intent(intent) => self.intend(intent, index),
            Event::Resumed {
                intent, kept, card, ..
            } => {
                let Some(run) = self.runs.get_mut(intent) else {
                    return;
                };
                self.kept
                    .insert((*intent, run.start), kept.saturating_sub(run.kept));
                (run.start, run.kept) = (index, *kept);
                let asked = Asked::CutOff {
                    intent: *intent,
                    start: index,
                    missing: run.files.saturating_sub(*kept),
                };
                self.begin(card.as_ref(), index, asked);
            }
            Event::Outcome {
                intent,
                result,
                card,
            } => self.end_run(*intent, result, card, index),
            Event::Reconciled {
                card,
                counter,
                acknowledged,
                ..
            } => {
                if let Some(counter) = counter {
                    self.count(card, *counter, index);
                }
                if let (Some(reason), Some(card)) = (acknowledged, self.cards.get_mut(card)) {
                    card.acknowledged.push((index, reason.clone()));
                }
            }
            Event::LogCreated { .. }
            | Event::Released { .. }
            | Event::Pushed { .. }
            | Event::Admission { .. }
            | Event::GrantIssued { .. }
            | Event::GrantApproved { .. }
            | Event::GrantRevoked { .. }
            | Event::EvidenceAccepted { .. }
            | Event::EvidenceRefused { .. } => {}
        }
    }

    fn intend(&mut self, intent: &Intent, index: u64) {
        let mut artifacts = std::mem::take(&mut self.listed);
        artifacts.extend(intent.artifacts.values());
        let files = if intent.sums_only {
            1
        } else {
            artifacts.len() as u64 + 1
        };
        self.runs.insert(
            index,
            Run {
                files,
                start: index,
                kept: 0,
            },
        );
        self.begin(
            intent.card.as_ref(),
            index,
            Asked::CutOff {
                intent: index,
                start: index,
                missing: files,
            },
        );
        if let Some(card) = intent
            .card
            .as_ref()
            .and_then(|card| self.cards.get_mut(&card.card))
        {
            card.key = Some(intent.key);
        }
    }

    fn end_run(&mut self, intent: u64, result: &RunResult, card: &Option<CardUse>, index: u64) {
        let Some(run) = self.runs.get(&intent) else {
            return;
        };
        let (start, missing) = (run.start, run.files.saturating_sub(run.kept));
        let signed = matches!(result, RunResult::Signed { .. });
        let (RunResult::Signed { token_signatures }
        | RunResult::Stopped {
            token_signatures, ..
        }) = result;
        if signed {
            self.runs.remove(&intent);
        }
        let Some(card) = card else {
            // The release is whole, and no token was used now: the run before was cut off after its
            // last signature.
            if signed && *token_signatures == 0 {
                self.kept.insert((intent, start), missing);
            }
            return;
        };
        let most = token_signatures.saturating_add(u64::from(!signed));
        let asked = Asked::Between {
            entry: index,
            least: *token_signatures,
            most,
        };
        self.end(
            card,
            index,
            asked,
            |asked| matches!(asked, Asked::CutOff { start: of, .. } if *of == start),
        );
    }

    fn end_key_use(&mut self, intent: u64, failed: bool, card: &Option<CardUse>, index: u64) {
        self.ended = card.as_ref().map(|card| card.card.clone());
        let Some(KeyUse {
            purpose,
            signatures,
        }) = self.key_uses.remove(&intent)
        else {
            return;
        };
        let generated = purpose == KeyPurpose::Generate;
        // Where no card was found there was none to make a key on; where one tells its count, that
        // says all.
        if generated && (card.is_none() || !failed) {
            self.cards
                .values_mut()
                .filter(|card| card.replacing == Some(intent))
                .for_each(|card| card.replacing = None);
        }
        let Some(card) = card else { return };
        if generated {
            match (failed, card.after) {
                (true, Some(after)) => self.count(&card.card, after, index),
                (true, None) => {}
                (false, after) => {
                    let card = self.cards.entry(card.card.clone()).or_default();
                    let counter = after.unwrap_or(0);
                    card.begins = card.begins.or(Some((index, counter)));
                    card.last = Some(Last {
                        entry: index,
                        counter,
                        asked: Vec::new(),
                    });
                    card.key = None;
                }
            }
            return;
        }
        let asked = Asked::Between {
            entry: index,
            least: if failed { 0 } else { signatures },
            most: signatures,
        };
        self.end(
            card,
            index,
            asked,
            |asked| matches!(asked, Asked::Between { entry, .. } if *entry == intent),
        );
    }

    /// A card is about to be asked for signatures.
    fn begin(&mut self, card: Option<&CardUse>, index: u64, asked: Asked) {
        let Some(CardUse { card, before, .. }) = card else {
            return;
        };
        if let Some(before) = before {
            self.count(card, *before, index);
        }
        self.ask(card, asked);
    }

    /// What was asked of a card has ended; `begun` recognises what stood for it until now.
    fn end(&mut self, card: &CardUse, index: u64, asked: Asked, begun: impl Fn(&Asked) -> bool) {
        let CardUse {
            card,
            before,
            after,
        } = card;
        if let Some(last) = self.cards.get_mut(card).and_then(|card| card.last.as_mut()) {
            last.asked.retain(|asked| !begun(asked));
        }
        if let Some(before) = before {
            self.count(card, *before, index);
        }
        self.ask(card, asked);
        if let Some(after) = after {
            self.count(card, *after, index);
        }
    }

    fn ask(&mut self, card: &str, asked: Asked) {
        let card = self.cards.entry(card.to_owned()).or_default();
        if let Some(last) = &mut card.last {
            last.asked.push(asked);
        }
    }

    /// An entry tells a card's count.
    fn count(&mut self, card: &str, counter: u32, entry: u64) {
        let card = self.cards.entry(card.to_owned()).or_default();
        card.begins = card.begins.or(Some((entry, counter)));
        let last = card.last.replace(Last {
            entry,
            counter,
            asked: Vec::new(),
        });
        let Some(last) = last else { return };
        let span = Span {
            last,
            entry: Some(entry),
            counter,
            replacing: card.replacing.take(),
        };
        let settled = span
            .last
            .asked
            .iter()
            .all(|asked| matches!(asked, Asked::Between { .. }));
        if !settled || span.judge(&self.kept) != Judgement::default() {
            card.spans.push(span);
        }
    }

    /// The intents of which the entries do not tell how many signatures are kept by now.
    pub fn open_runs(&self) -> impl Iterator<Item = u64> {
        self.runs.keys().copied()
    }

    /// Ends with what a card tells now, and with how many signatures are kept of
    /// [`Replay::open_runs`], as far as that is known.
    pub fn compare(
        mut self,
        now: &CardNow,
        kept: &BTreeMap<u64, u64>,
    ) -> Result<Report, ReconcileError> {
        for (intent, run) in &self.runs {
            if let Some(kept) = kept.get(intent) {
                self.kept
                    .insert((*intent, run.start), kept.saturating_sub(run.kept));
            }
        }
        let known: Vec<String> = self.cards.keys().cloned().collect();
        let unknown = || ReconcileError::UnknownCard {
            card: now.card.clone(),
            known,
        };
        let mut card = self.cards.remove(&now.card).ok_or_else(unknown)?;
        let uncounted = || ReconcileError::Uncounted(now.card.clone());
        let (begins, last) = card.begins.zip(card.last.take()).ok_or_else(uncounted)?;
        let other_key = match card.key {
            Some(logged) if now.key != Some(logged) => Some(Finding::OtherKey {
                logged,
                found: now.key,
            }),
            _ => None,
        };
        // What another key has counted says nothing.
        if other_key.is_none() {
            card.spans.push(Span {
                last,
                entry: None,
                counter: now.counter,
                replacing: card.replacing,
            });
        }
        let Verdict {
            mut findings,
            known,
            lost,
            unfinished,
        } = card.judge(&self.kept);
        findings.extend(other_key);
        let others = self.cards.into_iter().filter_map(|(name, card)| {
            let Verdict { findings, .. } = card.judge(&self.kept);
            let Last { entry, counter, .. } = card.last?;
            Some(OtherCard {
                card: name,
                entry,
                counter,
                findings,
            })
        });
        Ok(Report {
            entries: self.entries,
            begins,
            findings,
            known,
            lost,
            unfinished,
            others: others.collect(),
        })
    }
}

/// What is to say of all the spans of a card.
#[derive(Debug, Default)]
struct Verdict {
    findings: Vec<Finding>,
    known: Vec<Known>,
    lost: Vec<Lost>,
    unfinished: Vec<Undecided>,
}

impl Card {
    fn judge(&self, kept: &Kept) -> Verdict {
        let mut verdict = Verdict::default();
        for span in &self.spans {
            let Judgement { finding, lost } = span.judge(kept);
            verdict.lost.extend(lost);
            let acknowledged = self
                .acknowledged
                .iter()
                .find(|(entry, _)| span.entry.is_some_and(|it| it <= *entry));
            match (finding, acknowledged) {
                (Some(finding), Some((entry, reason))) => {
                    verdict.known.push(Known {
                        finding,
                        entry: *entry,
                        reason: reason.clone(),
                    });
                }
                (Some(finding), None) => {
                    if matches!(finding, Finding::Unlogged { .. }) {
                        verdict.unfinished.extend(
                            span.last
                                .asked
                                .iter()
                                .filter_map(|asked| asked.unfinished(kept)),
                        );
                    }
                    verdict.findings.push(finding);
                }
                (None, _) => {}
            }
        }
        verdict
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Judgement {
    finding: Option<Finding>,
    lost: Option<Lost>,
}

impl Span {
    fn judge(&self, kept: &Kept) -> Judgement {
        let (after, before) = (self.last.entry, self.entry);
        let ranges = self.last.asked.iter().map(|asked| asked.range(kept));
        let (least, most) = ranges.fold((0_u64, 0_u64), |(least, most), (low, high)| {
            (least.saturating_add(low), most.saturating_add(high))
        });
        let made = i64::from(self.counter) - i64::from(self.last.counter);
        let Some(made) = u64::try_from(made).ok().filter(|made| *made >= least) else {
            let finding = match self.replacing {
                // The new key has signed nothing that was logged.
                Some(_) if self.counter == 0 => None,
                Some(intended) => Some(Finding::Unlogged {
                    after: intended,
                    before,
                    signatures: self.counter.into(),
                }),
                None => {
                    let from = least.saturating_add(self.last.counter.into());
                    Some(Finding::Fell {
                        after,
                        before,
                        from,
                        to: self.counter,
                    })
                }
            };
            return Judgement {
                finding,
                lost: None,
            };
        };
        let unlogged = made.saturating_sub(most);
        let lost = made.min(most) - least;
        let runs = self
            .last
            .asked
            .iter()
            .filter(|asked| asked.is_open(kept))
            .map(Asked::entry);
        Judgement {
            finding: (unlogged > 0).then_some(Finding::Unlogged {
                after,
                before,
                signatures: unlogged,
            }),
            lost: (lost > 0).then(|| Lost {
                runs: runs.collect(),
                signatures: lost,
            }),
        }
    }
}

impl Asked {
    /// How many signatures the card has made for this, at least and at most.
    fn range(&self, kept: &Kept) -> (u64, u64) {
        match self {
            Self::Between { least, most, .. } => (*least, *most),
            Self::CutOff {
                intent,
                start,
                missing,
            } => {
                let kept = kept.get(&(*intent, *start)).copied().unwrap_or(0);
                // It was kept when its answer came; of one more the answer can have been lost.
                (kept, kept.saturating_add(1).min(*missing).max(kept))
            }
        }
    }

    /// The run that this is, if nobody tells what it has kept, and it could have made more than is
    /// taken for lost.
    fn unfinished(&self, kept: &Kept) -> Option<Undecided> {
        match self {
            Self::CutOff {
                intent,
                start,
                missing,
            } if !kept.contains_key(&(*intent, *start)) && *missing > 1 => Some(Undecided {
                intent: *intent,
                signatures: missing - 1,
            }),
            Self::CutOff { .. } | Self::Between { .. } => None,
        }
    }

    fn is_open(&self, kept: &Kept) -> bool {
        let (least, most) = self.range(kept);
        least < most
    }

    fn entry(&self) -> u64 {
        match self {
            Self::Between { entry, .. } => *entry,
            Self::CutOff { start, .. } => *start,
        }
    }
}

#[cfg(test)]
mod tests;
