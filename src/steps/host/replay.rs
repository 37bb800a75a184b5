//! Whether every signature that a card has counted is in the log. Pure: entries in, findings out.
//!
//! An OpenPGP card counts the signatures of its key, and only a new key resets the counter. Each
//! entry that announces a use of the card, and each that records its end, has the counter.
//! [`Replay`] takes the entries of a log, first to last, and computes what each card must have
//! counted; [`Replay::compare`] compares that with the counter now.
//!
//! Which signatures a lost answer explains:
//!
//! - The outcome of a run has the number of answers. If the run stopped, the card may have made one
//!   more, whose answer never came.
//! - A run that was cut off has no outcome. The number of signatures that it kept is in a later
//!   entry of the same intent (`resumed` or `outcome`), or in the journal; the card may have made
//!   one more. An exported log has no journal: there, an unfinished run explains one signature, and
//!   others are an alarm until the run is finished and the log exported again.
//! - An intent that a later one replaces explains none: the token was not asked for it.
//! - The signatures of a certificate and of a self-test are not kept. If cut off, they explain at
//!   most the number that was announced.
//! - Only a new key that the log announced on that card explains a lower counter.

mod card;
mod report;
mod span;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use card::{Card, Verdict};
pub use report::{CardNow, Known, Lost, OtherCard, Reading, Report, Unfinished};
use span::{Asked, Kept, Last};

use crate::domain::event::{CardUse, Entry, Event, Finding, Intent, KeyPurpose, RunResult};
use crate::domain::signing::ReleaseForm;
use crate::token::TokenUri;

/// Why a card cannot be compared with a log.
#[expect(missing_docs, reason = "each message says what it means")]
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum Incomparable {
    // Not success, which could be mistaken for an answer.
    #[error("token `{0}` has no signature counter and cannot be reconciled")]
    #[diagnostic(
        code(usage::no_signature_counter),
        help("only OpenPGP cards have one; see the audit log of an HSM for what it signed")
    )]
    Uncounted(String),

    #[error("card `{card}` is in no entry of the log, which has {}", listed(known))]
    #[diagnostic(
        code(refused::unknown_card),
        help(
            "insert a card that is in the log; everything that this one has signed is outside the \
             log"
        )
    )]
    UnknownCard { card: String, known: Vec<String> },
}

fn listed(cards: &[String]) -> String {
    if cards.is_empty() {
        "no card".to_owned()
    } else {
        cards.join(", ")
    }
}

/// What the entries so far have of cards.
#[derive(Debug, Default)]
pub struct Replay {
    entries: u64,
    cards: BTreeMap<String, Card>,
    /// How many artifacts of the next intent are in entries of their own.
    listed: u64,
    /// Intents whose release is not signed yet.
    runs: BTreeMap<u64, Run>,
    /// Uses for other than releases that have not ended, by their intents.
    key_uses: BTreeMap<u64, KeyUse>,
    kept: Kept,
    /// The card of the use that has just ended.
    ended: Option<String>,
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
                let key_use = KeyUse {
                    purpose: *purpose,
                    signatures: *signatures,
                };
                let asked = Asked::Between {
                    entry: index,
                    least: 0,
                    most: *signatures,
                };
                self.key_uses.insert(index, key_use);
                self.begin(card.as_ref(), index, asked);
                let on_card = token.parse().is_ok_and(|uri: TokenUri| uri.is_card());
                if *purpose == KeyPurpose::Generate && on_card {
                    self.replace(card.as_ref(), index);
                }
            }
            Event::KeyOutcome {
                intent,
                failed,
                card,
            } => {
                self.ended = card.as_ref().map(|card| card.card.clone());
                self.end_key_use(*intent, failed.is_some(), card.as_ref(), index);
            }
            Event::KeyReady { key, .. } => {
                if let Some(card) = self.ended.take().and_then(|name| self.cards.get_mut(&name)) {
                    card.key = Some(*key);
                }
            }
            Event::Artifacts(part) => {
                self.listed += part.artifacts.len() as u64;
            }
            Event::Intent(intent) => self.intend(intent, index),
            Event::Resumed {
                intent, kept, card, ..
            } => self.resume(*intent, *kept, card.as_ref(), index),
            Event::Outcome {
                intent,
                result,
                card,
            } => self.end_run(*intent, result, card.as_ref(), index),
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
            | Event::Withdrawn { .. }
            | Event::WithdrawalPushed { .. }
            | Event::GrantIssued { .. }
            | Event::GrantApproved { .. }
            | Event::GrantRevoked { .. }
            | Event::EvidenceAccepted { .. }
            | Event::EvidenceRefused { .. }
            | Event::ClockAcknowledged { .. } => {}
        }
    }

    /// A new key may replace that of the card; of every card, where none was found.
    fn replace(&mut self, card: Option<&CardUse>, index: u64) {
        for (name, known) in &mut self.cards {
            if card.is_none_or(|card| card.card == *name) {
                known.replacing = Some(index);
            }
        }
    }

    fn intend(&mut self, intent: &Intent, index: u64) {
        let listed = std::mem::take(&mut self.listed);
        let files = match intent.form {
            ReleaseForm::Each => listed + intent.artifacts.len() as u64 + 1,
            ReleaseForm::ListOnly => 1,
        };
        let run = Run {
            files,
            start: index,
            kept: 0,
        };
        let asked = Asked::CutOff {
            intent: index,
            start: index,
            missing: files,
        };
        self.runs.insert(index, run);
        if let Some(replaced) = intent.replaces {
            self.never_asked(replaced);
        }
        let Some(card) = &intent.card else { return };
        self.begin(Some(card), index, asked);
        self.card(&card.card).key = Some(intent.key);
    }

    /// The token was not asked for an intent, which another one replaced or may replace.
    pub fn never_asked(&mut self, intent: u64) {
        self.runs.remove(&intent);
        for card in self.cards.values_mut() {
            card.forget(|asked| matches!(asked, Asked::CutOff { intent: of, .. } if *of == intent));
        }
    }

    fn resume(&mut self, intent: u64, kept: u64, card: Option<&CardUse>, index: u64) {
        let Some(run) = self.runs.get_mut(&intent) else {
            return;
        };
        let before = kept.saturating_sub(run.kept);
        self.kept.insert((intent, run.start), before);
        run.start = index;
        run.kept = kept;
        let asked = Asked::CutOff {
            intent,
            start: index,
            missing: run.files.saturating_sub(kept),
        };
        self.begin(card, index, asked);
    }

    fn end_run(&mut self, intent: u64, result: &RunResult, card: Option<&CardUse>, index: u64) {
        let Some(run) = self.runs.get(&intent) else {
            return;
        };
        let start = run.start;
        let missing = run.files.saturating_sub(run.kept);
        let signed = matches!(result, RunResult::Signed { .. });
        let (RunResult::Signed { token_signatures }
        | RunResult::Stopped {
            token_signatures, ..
        }) = result;
        if signed {
            self.runs.remove(&intent);
        }
        let Some(card) = card else {
            // The release is complete without the token: the run before was cut off after its last
            // signature.
            if signed && *token_signatures == 0 {
                self.kept.insert((intent, start), missing);
            }
            return;
        };
        let asked = Asked::Between {
            entry: index,
            least: *token_signatures,
            most: token_signatures.saturating_add(u64::from(!signed)),
        };
        self.end(
            card,
            index,
            asked,
            |asked| matches!(asked, Asked::CutOff { start: of, .. } if *of == start),
        );
    }

    fn end_key_use(&mut self, intent: u64, failed: bool, card: Option<&CardUse>, index: u64) {
        let Some(key_use) = self.key_uses.remove(&intent) else {
            return;
        };
        if key_use.purpose == KeyPurpose::Generate {
            return self.end_generation(intent, failed, card, index);
        }
        let Some(card) = card else { return };
        let asked = Asked::Between {
            entry: index,
            least: if failed { 0 } else { key_use.signatures },
            most: key_use.signatures,
        };
        self.end(
            card,
            index,
            asked,
            |asked| matches!(asked, Asked::Between { entry, .. } if *entry == intent),
        );
    }

    fn end_generation(&mut self, intent: u64, failed: bool, card: Option<&CardUse>, index: u64) {
        // Without a card, no key was made; with its counter, nothing else needs to be known.
        if card.is_none() || !failed {
            for known in self.cards.values_mut() {
                if known.replacing == Some(intent) {
                    known.replacing = None;
                }
            }
        }
        let Some(card) = card else { return };
        if !failed {
            let counter = card.after.unwrap_or(0);
            self.card(&card.card).begin_again(counter, index);
        } else if let Some(after) = card.after {
            self.count(&card.card, after, index);
        }
    }

    /// A card is about to be asked for signatures.
    fn begin(&mut self, card: Option<&CardUse>, index: u64, asked: Asked) {
        let Some(CardUse { card, before, .. }) = card else {
            return;
        };
        if let Some(before) = before {
            self.count(card, *before, index);
        }
        self.card(card).ask(asked);
    }

    /// A use of the card has ended; `begun` recognises the request that `asked` takes the place of.
    fn end(&mut self, card: &CardUse, index: u64, asked: Asked, begun: impl Fn(&Asked) -> bool) {
        let CardUse {
            card,
            before,
            after,
        } = card;
        self.card(card).forget(begun);
        if let Some(before) = before {
            self.count(card, *before, index);
        }
        self.card(card).ask(asked);
        if let Some(after) = after {
            self.count(card, *after, index);
        }
    }

    fn card(&mut self, name: &str) -> &mut Card {
        self.cards.entry(name.to_owned()).or_default()
    }

    /// An entry has a card's counter.
    fn count(&mut self, card: &str, counter: u32, entry: u64) {
        let card = self.cards.entry(card.to_owned()).or_default();
        card.count(counter, entry, &self.kept);
    }

    /// The intents of runs whose number of kept signatures is not in the log yet.
    pub fn open_runs(&self) -> Vec<u64> {
        self.runs.keys().copied().collect()
    }

    /// Compares the card as it is now, given how many signatures are kept of
    /// [`Replay::open_runs`], as far as that is known.
    pub fn compare(
        mut self,
        now: &CardNow,
        kept: &BTreeMap<u64, u64>,
    ) -> Result<Report, Incomparable> {
        for (intent, run) in &self.runs {
            if let Some(kept) = kept.get(intent) {
                let kept = kept.saturating_sub(run.kept);
                self.kept.insert((*intent, run.start), kept);
            }
        }
        let Some(mut card) = self.cards.remove(&now.card) else {
            return Err(Incomparable::UnknownCard {
                card: now.card.clone(),
                known: self.cards.into_keys().collect(),
            });
        };
        let uncounted = || Incomparable::Uncounted(now.card.clone());
        let (begins, last) = card.begins.zip(card.last.take()).ok_or_else(uncounted)?;
        let other_key = match card.key {
            Some(logged) if now.key != Some(logged) => Some(Finding::OtherKey {
                logged,
                found: now.key,
            }),
            Some(_) | None => None,
        };
        // The counter of another key cannot be compared.
        if other_key.is_none() {
            card.end(last, now.counter);
        }
        let Verdict {
            mut findings,
            known,
            lost,
            unfinished,
        } = card.judge(&self.kept);
        findings.extend(other_key);
        let others = self.cards.into_iter().filter_map(|(name, card)| {
            let findings = card.judge(&self.kept).findings;
            let Last { reading, .. } = card.last?;
            Some(OtherCard {
                card: name,
                last: reading,
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
