//! One card, as the entries so far have it.

use super::report::{Known, Lost, Reading, Unfinished};
use super::span::{Asked, Judgement, Kept, Last, Span};
use crate::domain::event::Finding;
use crate::domain::key::Fingerprint;

#[derive(Debug, Default)]
pub(super) struct Card {
    pub(super) begins: Option<Reading>,
    pub(super) last: Option<Last>,
    pub(super) key: Option<Fingerprint>,
    /// The intent of a new key, which may have replaced the one that the counter is of.
    pub(super) replacing: Option<u64>,
    pub(super) acknowledged: Vec<(u64, String)>,
    /// Spans with a finding, and those whose judgement may still change.
    spans: Vec<Span>,
}

/// The judgements of all spans of a card.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    pub(super) findings: Vec<Finding>,
    pub(super) known: Vec<Known>,
    pub(super) lost: Vec<Lost>,
    pub(super) unfinished: Vec<Unfinished>,
}

impl Card {
    /// The card is asked for signatures.
    pub(super) fn ask(&mut self, asked: Asked) {
        if let Some(last) = &mut self.last {
            last.asked.push(asked);
        }
    }

    /// Forgets a request: how it ended is recorded instead, or that it was never made.
    pub(super) fn forget(&mut self, begun: impl Fn(&Asked) -> bool) {
        let spans = self.spans.iter_mut().map(|span| &mut span.last);
        for last in spans.chain(&mut self.last) {
            last.asked.retain(|asked| !begun(asked));
        }
    }

    /// An entry has the card's counter.
    pub(super) fn count(&mut self, counter: u32, entry: u64, kept: &Kept) {
        let next = Last::new(entry, counter);
        self.begins = self.begins.or(Some(next.reading));
        let Some(last) = self.last.replace(next) else {
            return;
        };
        let span = Span {
            last,
            entry: Some(entry),
            counter,
            replacing: self.replacing.take(),
        };
        if !span.is_final() || span.judge(kept) != Judgement::default() {
            self.spans.push(span);
        }
    }

    /// A new key begins with this counter.
    pub(super) fn begin_again(&mut self, counter: u32, entry: u64) {
        let last = Last::new(entry, counter);
        self.begins = self.begins.or(Some(last.reading));
        self.last = Some(last);
        self.key = None;
    }

    /// The card's counter now, after the last one of the log.
    pub(super) fn end(&mut self, last: Last, counter: u32) {
        self.spans.push(Span {
            last,
            entry: None,
            counter,
            replacing: self.replacing,
        });
    }

    pub(super) fn judge(&self, kept: &Kept) -> Verdict {
        let mut verdict = Verdict::default();
        for span in &self.spans {
            let Judgement { finding, lost } = span.judge(kept);
            verdict.lost.extend(lost);
            let Some(finding) = finding else { continue };
            match self.acknowledgement(span) {
                Some((entry, reason)) => verdict.known.push(Known {
                    finding,
                    entry: *entry,
                    reason: reason.clone(),
                }),
                None => {
                    if matches!(finding, Finding::Unlogged { .. }) {
                        let asked = span.last.asked.iter();
                        let unfinished = asked.filter_map(|asked| asked.unfinished(kept));
                        verdict.unfinished.extend(unfinished);
                    }
                    verdict.findings.push(finding);
                }
            }
        }
        verdict
    }

    /// The first acknowledgement that came after the span.
    fn acknowledgement(&self, span: &Span) -> Option<&(u64, String)> {
        let end = span.entry?;
        self.acknowledged.iter().find(|(entry, _)| end <= *entry)
    }
}
