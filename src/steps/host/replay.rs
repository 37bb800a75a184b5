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

mod report;
mod span;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

pub use report::{CardNow, Known, Lost, OtherCard, Report, Undecided};
use span::{Asked, Judgement, Kept, Last, Span};

use crate::domain::digest::Sha256;
use crate::domain::event::{CardUse, Entry, Event, Finding, Intent, KeyPurpose, RunResult};
use crate::domain::key::Fingerprint;

/// Why a card cannot be compared with a log.
#[derive(Debug, thiserror::Error)]
pub enum Incomparable {
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
}

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
                    let named = |name: &String| card.as_ref().is_none_or(|card| card.card == *name);
                    let cards = self
                        .cards
                        .iter_mut()
                        .filter(|(name, _)| token.starts_with("card:") && named(name));
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
    ) -> Result<Report, Incomparable> {
        for (intent, run) in &self.runs {
            if let Some(kept) = kept.get(intent) {
                self.kept
                    .insert((*intent, run.start), kept.saturating_sub(run.kept));
            }
        }
        let known: Vec<String> = self.cards.keys().cloned().collect();
        let unknown = || Incomparable::UnknownCard {
            card: now.card.clone(),
            known,
        };
        let mut card = self.cards.remove(&now.card).ok_or_else(unknown)?;
        let uncounted = || Incomparable::Uncounted(now.card.clone());
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
