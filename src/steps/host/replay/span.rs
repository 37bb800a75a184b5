//! One counter of a card and the next, and the signatures it was asked for in between.

use std::collections::BTreeMap;

use super::report::{Lost, Reading, Unfinished};
use crate::domain::event::Finding;

/// How many signatures each interrupted run has kept, by the entries of its intent and its start.
pub(super) type Kept = BTreeMap<(u64, u64), u64>;

/// A counter in the log, and what the card was asked for since.
#[derive(Debug)]
pub(super) struct Last {
    pub(super) reading: Reading,
    pub(super) asked: Vec<Asked>,
}

/// Signatures that a card was asked for.
#[derive(Debug, Clone)]
pub(super) enum Asked {
    /// From `least` to `most` were made, according to this entry.
    Between { entry: u64, least: u64, most: u64 },
    /// In a run without an outcome, at most `missing`.
    CutOff {
        intent: u64,
        start: u64,
        missing: u64,
    },
}

/// From one counter of a card to the next.
#[derive(Debug)]
pub(super) struct Span {
    pub(super) last: Last,
    /// The entry of the next counter; nothing if the card was asked just now.
    pub(super) entry: Option<u64>,
    pub(super) counter: u32,
    /// The intent of a new key that may have replaced the one before.
    pub(super) replacing: Option<u64>,
}

/// What is wrong in a span, and what a lost answer explains.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Judgement {
    pub(super) finding: Option<Finding>,
    pub(super) lost: Option<Lost>,
}

impl Last {
    pub(super) fn new(entry: u64, counter: u32) -> Self {
        Self {
            reading: Reading { entry, counter },
            asked: Vec::new(),
        }
    }
}

impl Span {
    /// Whether its judgement cannot change any more.
    pub(super) fn is_final(&self) -> bool {
        let mut asked = self.last.asked.iter();
        asked.all(|asked| matches!(asked, Asked::Between { .. }))
    }

    pub(super) fn judge(&self, kept: &Kept) -> Judgement {
        let mut least = 0_u64;
        let mut most = 0_u64;
        for asked in &self.last.asked {
            let range = asked.range(kept);
            least = least.saturating_add(range.least);
            most = most.saturating_add(range.most);
        }
        let Some(made) = self.made().filter(|made| *made >= least) else {
            return Judgement {
                finding: self.fell(least),
                lost: None,
            };
        };
        let unlogged = made.saturating_sub(most);
        let lost = made.min(most) - least;
        let asked = self.last.asked.iter();
        let runs = asked.filter(|asked| asked.is_open(kept)).map(Asked::entry);
        Judgement {
            finding: (unlogged > 0).then_some(Finding::Unlogged {
                after: self.last.reading.entry,
                before: self.entry,
                signatures: unlogged,
            }),
            lost: (lost > 0).then(|| Lost {
                runs: runs.collect(),
                signatures: lost,
            }),
        }
    }

    /// How many signatures the card made, unless its counter fell.
    fn made(&self) -> Option<u64> {
        let before = self.last.reading.counter;
        self.counter.checked_sub(before).map(u64::from)
    }

    /// The finding when the counter is lower than it must be: none if a new key explains it.
    fn fell(&self, least: u64) -> Option<Finding> {
        match self.replacing {
            // No entry has a signature of the new key.
            Some(_) if self.counter == 0 => None,
            Some(intent) => Some(Finding::Unlogged {
                after: intent,
                before: self.entry,
                signatures: self.counter.into(),
            }),
            None => Some(Finding::Fell {
                after: self.last.reading.entry,
                before: self.entry,
                from: least.saturating_add(self.last.reading.counter.into()),
                to: self.counter,
            }),
        }
    }
}

/// How many signatures a card has made for one request.
struct Range {
    least: u64,
    most: u64,
}

impl Asked {
    fn range(&self, kept: &Kept) -> Range {
        match self {
            Self::Between { least, most, .. } => Range {
                least: *least,
                most: *most,
            },
            Self::CutOff {
                intent,
                start,
                missing,
            } => {
                let least = kept.get(&(*intent, *start)).copied().unwrap_or(0);
                // A signature is kept when its answer comes; one more answer can have been lost.
                let most = least.saturating_add(1).min(*missing).max(least);
                Range { least, most }
            }
        }
    }

    /// The run, if it is not known what it kept and it may have made more than one signature.
    pub(super) fn unfinished(&self, kept: &Kept) -> Option<Unfinished> {
        match self {
            Self::CutOff {
                intent,
                start,
                missing,
            } if !kept.contains_key(&(*intent, *start)) && *missing > 1 => Some(Unfinished {
                intent: *intent,
                signatures: missing - 1,
            }),
            Self::CutOff { .. } | Self::Between { .. } => None,
        }
    }

    fn is_open(&self, kept: &Kept) -> bool {
        let range = self.range(kept);
        range.least < range.most
    }

    fn entry(&self) -> u64 {
        match self {
            Self::Between { entry, .. } => *entry,
            Self::CutOff { start, .. } => *start,
        }
    }
}
