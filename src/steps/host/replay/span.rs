//! From one count of a card to the next: what was asked of the card, and what it made.

use std::collections::BTreeMap;

use super::report::{Lost, Undecided};
use crate::domain::event::Finding;

/// How many signatures a run that was cut off has kept, by the entries of its intent and of its
/// beginning.
pub(super) type Kept = BTreeMap<(u64, u64), u64>;

/// The last entry that tells a card's count, and what was asked of the card since.
#[derive(Debug)]
pub(super) struct Last {
    pub(super) entry: u64,
    pub(super) counter: u32,
    pub(super) asked: Vec<Asked>,
}

/// Signatures that a card was asked for.
#[derive(Debug, Clone)]
pub(super) enum Asked {
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
pub(super) struct Span {
    pub(super) last: Last,
    pub(super) entry: Option<u64>,
    pub(super) counter: u32,
    pub(super) replacing: Option<u64>,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Judgement {
    pub(super) finding: Option<Finding>,
    pub(super) lost: Option<Lost>,
}

impl Span {
    pub(super) fn judge(&self, kept: &Kept) -> Judgement {
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
    pub(super) fn range(&self, kept: &Kept) -> (u64, u64) {
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
    pub(super) fn unfinished(&self, kept: &Kept) -> Option<Undecided> {
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

    pub(super) fn is_open(&self, kept: &Kept) -> bool {
        let (least, most) = self.range(kept);
        least < most
    }

    pub(super) fn entry(&self) -> u64 {
        match self {
            Self::Between { entry, .. } => *entry,
            Self::CutOff { start, .. } => *start,
        }
    }
}
