//! A host with one card, played: its log, its journal and the card's counter.

use std::collections::BTreeMap;

use super::super::{CardNow, Replay, Report};
use crate::domain::digest::Sha256;
use crate::domain::event::{CardUse, Entry, Event, Finding, Intent, KeyPurpose, RunResult};
use crate::domain::key::Fingerprint;
use crate::domain::time::Timestamp;

pub(super) const CARD: &str = "FFFE:00000001";

pub(super) fn key(number: u8) -> Fingerprint {
    Fingerprint::from_bytes([number; 20])
}

pub(super) fn used(card: &str, before: u32, after: Option<u32>) -> Option<CardUse> {
    Some(CardUse {
        card: card.to_owned(),
        before: Some(before),
        after,
    })
}

/// A signing host with one card.
#[derive(Debug, Clone)]
pub(super) struct Host {
    pub(super) entries: Vec<Entry>,
    pub(super) card: &'static str,
    pub(super) counter: u32,
    pub(super) key: u8,
    /// For each intent: how many files there are, and how many signatures are kept.
    pub(super) releases: Vec<(u64, u64, u64)>,
    /// Foreign signatures between an announcement and its PIN.
    pub(super) at_the_pin: u32,
}

/// How a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Done,
    /// After this many answers: whether one more was made, and whether the counter could be read.
    Stopped(u64, bool, bool),
    /// After this many answers, without an outcome: whether one more was made.
    CutOff(u64, bool),
    /// Before anything was asked of the card.
    NoPin,
}

impl Host {
    /// With a new key.
    pub(super) fn new() -> Self {
        let mut host = Self::empty();
        host.generate(Some(Ok(())));
        host.certify(End::Done);
        host
    }

    pub(super) fn empty() -> Self {
        Self {
            entries: Vec::new(),
            card: CARD,
            counter: 0,
            key: 0,
            releases: Vec::new(),
            at_the_pin: 0,
        }
    }

    pub(super) fn log(&mut self, event: Event) -> u64 {
        let index = self.entries.len() as u64;
        self.entries.push(Entry {
            index,
            at: Timestamp::from_unix(0),
            event,
        });
        index
    }

    /// The index of the last entry.
    pub(super) fn last(&self) -> u64 {
        self.entries.len() as u64 - 1
    }

    pub(super) fn signs(&mut self, signatures: u64) {
        self.counter += u32::try_from(signatures).expect("few signatures");
    }

    pub(super) fn unlock(&mut self) -> u32 {
        self.counter += std::mem::take(&mut self.at_the_pin);
        self.counter
    }

    pub(super) fn generate(&mut self, end: Option<Result<(), bool>>) {
        let token = "card:".to_owned();
        let card = used(self.card, self.counter, None);
        let purpose = KeyPurpose::Generate;
        let intent = self.log(Event::KeyIntended {
            token,
            purpose,
            signatures: 0,
            card: card.clone(),
        });
        let made = !matches!(end, Some(Err(false)));
        if made {
            (self.counter, self.key) = (0, self.key + 1);
        }
        if let Some(result) = end {
            let failed = result.err().map(|_| "why".to_owned());
            let card = card.map(|card| CardUse {
                after: Some(self.counter),
                ..card
            });
            self.log(Event::KeyOutcome {
                intent,
                failed,
                card,
            });
        }
    }

    /// The signatures of a certificate; the key is ready if they were made.
    pub(super) fn certify(&mut self, end: End) {
        self.key_use(KeyPurpose::Certify, 4, end);
        if end == End::Done {
            let token = format!("card:{}", self.card);
            let key = key(self.key);
            self.log(Event::KeyReady {
                token,
                key,
                certificate: Sha256::of(b"c"),
            });
        }
    }

    pub(super) fn key_use(&mut self, purpose: KeyPurpose, signatures: u64, end: End) {
        let token = format!("card:{}", self.card);
        let before = self.counter;
        let intent = self.log(Event::KeyIntended {
            token,
            purpose,
            signatures,
            card: used(self.card, before, None),
        });
        let (failed, before, after) = match end {
            End::NoPin => (true, before, Some(before)),
            End::Done => {
                let before = self.unlock();
                self.signs(signatures);
                (false, before, Some(self.counter))
            }
            End::Stopped(made, lost, counted) => {
                let before = self.unlock();
                self.signs((made + u64::from(lost)).min(signatures));
                (true, before, counted.then_some(self.counter))
            }
            End::CutOff(made, lost) => {
                self.unlock();
                return self.signs((made + u64::from(lost)).min(signatures));
            }
        };
        let failed = failed.then(|| "why".to_owned());
        let card = used(self.card, before, after);
        self.log(Event::KeyOutcome {
            intent,
            failed,
            card,
        });
    }

    /// The index of its intent.
    pub(super) fn release(&mut self, artifacts: u8, end: End) -> u64 {
        let index = self.entries.len() as u64;
        let names = (0..artifacts).map(|number| {
            (
                format!("a{number}").parse().expect("a name"),
                Sha256::of(&[number]),
            )
        });
        self.log(Event::Intent(Intent {
            key: key(self.key),
            artifacts: names.collect(),
            card: used(self.card, self.counter, None),
            ..Intent::example()
        }));
        self.releases.push((index, u64::from(artifacts) + 1, 0));
        self.run(self.releases.len() - 1, end);
        index
    }

    pub(super) fn resume(&mut self, which: usize, end: End) {
        let (intent, files, kept) = self.releases[which];
        if files == kept {
            self.log(Event::Outcome {
                intent,
                result: RunResult::Signed {
                    token_signatures: 0,
                },
                card: None,
            });
            self.releases.remove(which);
            return;
        }
        self.log(Event::Resumed {
            intent,
            kept,
            unsettled: None,
            card: used(self.card, self.counter, None),
        });
        self.run(which, end);
    }

    pub(super) fn run(&mut self, which: usize, end: End) {
        let (intent, files, kept) = self.releases[which];
        let missing = files - kept;
        let before = self.counter;
        let stopped = |made| RunResult::Stopped {
            token_signatures: made,
            unsettled: None,
            reason: "why".to_owned(),
        };
        let (result, before, after) = match end {
            End::NoPin => (stopped(0), before, Some(before)),
            End::Done => {
                let before = self.unlock();
                self.signs(missing);
                self.releases.remove(which);
                (
                    RunResult::Signed {
                        token_signatures: missing,
                    },
                    before,
                    Some(self.counter),
                )
            }
            End::Stopped(made, lost, counted) => {
                let before = self.unlock();
                let made = made.min(missing - 1);
                self.signs(made + u64::from(lost));
                self.releases[which].2 += made;
                (stopped(made), before, counted.then_some(self.counter))
            }
            End::CutOff(made, lost) => {
                self.unlock();
                let made = made.min(missing);
                self.signs((made + u64::from(lost)).min(missing));
                self.releases[which].2 += made;
                return;
            }
        };
        self.log(Event::Outcome {
            intent,
            result,
            card: used(self.card, before, after),
        });
    }

    pub(super) fn now(&self) -> CardNow {
        CardNow {
            card: self.card.to_owned(),
            counter: self.counter,
            key: Some(key(self.key)),
        }
    }

    pub(super) fn replay(&self) -> Replay {
        let mut replay = Replay::default();
        self.entries.iter().for_each(|entry| replay.see(entry));
        replay
    }

    pub(super) fn journal(&self) -> BTreeMap<u64, u64> {
        self.releases
            .iter()
            .map(|(intent, _, kept)| (*intent, *kept))
            .collect()
    }

    /// The report from an exported log, without the journal.
    pub(super) fn exported(&self) -> Report {
        self.replay()
            .compare(&self.now(), &BTreeMap::new())
            .expect("the card is in the log")
    }

    pub(super) fn report(&self) -> Report {
        self.replay()
            .compare(&self.now(), &self.journal())
            .expect("the card is in the log")
    }

    /// The findings, with nothing lost.
    pub(super) fn findings(&self) -> Vec<Finding> {
        let report = self.report();
        assert_eq!(report.lost, []);
        report.findings
    }

    pub(super) fn reconcile(&mut self, acknowledged: Option<&str>) -> u64 {
        let findings = self.report().findings;
        let acknowledged = acknowledged.map(str::to_owned);
        self.log(Event::Reconciled {
            card: self.card.to_owned(),
            counter: Some(self.counter),
            findings,
            acknowledged,
        })
    }
}
