//! Logs made by hand, and by a host, a card and a journal that are played.

use proptest::prelude::*;

use super::*;
use crate::domain::time::Timestamp;

const CARD: &str = "FFFE:00000001";

fn key(number: u8) -> Fingerprint {
    Fingerprint::from_bytes([number; 20])
}

fn used(card: &str, before: u32, after: Option<u32>) -> Option<CardUse> {
    Some(CardUse {
        card: card.to_owned(),
        before: Some(before),
        after,
    })
}

/// A signing host with one card, as its log, its journal and the card have it.
#[derive(Debug, Clone)]
struct Host {
    entries: Vec<Entry>,
    card: &'static str,
    counter: u32,
    key: u8,
    /// By intent: how many files, and how many of them are kept.
    releases: Vec<(u64, u64, u64)>,
    /// Signatures that somebody else makes between an announcement and its PIN.
    at_the_pin: u32,
}

/// How a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Done,
    /// After so many answers: whether one more was made, and whether the card tells its count.
    Stopped(u64, bool, bool),
    /// After so many answers, without an outcome: whether one more was made.
    CutOff(u64, bool),
    /// Before anything was asked of the card.
    NoPin,
}

impl Host {
    /// With a key that was made here.
    fn new() -> Self {
        let mut host = Self::empty();
        host.generate(Some(Ok(())));
        host.certify(End::Done);
        host
    }

    fn empty() -> Self {
        Self {
            entries: Vec::new(),
            card: CARD,
            counter: 0,
            key: 0,
            releases: Vec::new(),
            at_the_pin: 0,
        }
    }

    fn log(&mut self, event: Event) -> u64 {
        let index = self.entries.len() as u64;
        self.entries.push(Entry {
            index,
            at: Timestamp::from_unix(0),
            event,
        });
        index
    }

    /// The index of the last entry.
    fn last(&self) -> u64 {
        self.entries.len() as u64 - 1
    }

    fn signs(&mut self, signatures: u64) {
        self.counter += u32::try_from(signatures).expect("few signatures");
    }

    fn unlock(&mut self) -> u32 {
        self.counter += std::mem::take(&mut self.at_the_pin);
        self.counter
    }

    fn generate(&mut self, end: Option<Result<(), bool>>) {
        let (token, card) = ("card:".to_owned(), used(self.card, self.counter, None));
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
    fn certify(&mut self, end: End) {
        self.key_use(KeyPurpose::Certify, 4, end);
        if end == End::Done {
            let (token, key) = (format!("card:{}", self.card), key(self.key));
            self.log(Event::KeyReady {
                token,
                key,
                certificate: Sha256::of(b"c"),
            });
        }
    }

    fn key_use(&mut self, purpose: KeyPurpose, signatures: u64, end: End) {
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
            End::Stopped(made, lost, told) => {
                let before = self.unlock();
                self.signs((made + u64::from(lost)).min(signatures));
                (true, before, told.then_some(self.counter))
            }
            End::CutOff(made, lost) => {
                self.unlock();
                return self.signs((made + u64::from(lost)).min(signatures));
            }
        };
        let (failed, card) = (
            failed.then(|| "why".to_owned()),
            used(self.card, before, after),
        );
        self.log(Event::KeyOutcome {
            intent,
            failed,
            card,
        });
    }

    /// The index of its intent.
    fn release(&mut self, artifacts: u8, end: End) -> u64 {
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

    fn resume(&mut self, which: usize, end: End) {
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

    fn run(&mut self, which: usize, end: End) {
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
            End::Stopped(made, lost, told) => {
                let before = self.unlock();
                let made = made.min(missing - 1);
                self.signs(made + u64::from(lost));
                self.releases[which].2 += made;
                (stopped(made), before, told.then_some(self.counter))
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

    fn now(&self) -> CardNow {
        CardNow {
            card: self.card.to_owned(),
            counter: self.counter,
            key: Some(key(self.key)),
        }
    }

    fn replay(&self) -> Replay {
        let mut replay = Replay::default();
        self.entries.iter().for_each(|entry| replay.see(entry));
        replay
    }

    fn journal(&self) -> BTreeMap<u64, u64> {
        self.releases
            .iter()
            .map(|(intent, _, kept)| (*intent, *kept))
            .collect()
    }

    /// What somebody finds who has no more than the log.
    fn exported(&self) -> Report {
        self.replay()
            .compare(&self.now(), &BTreeMap::new())
            .expect("the card is in the log")
    }

    fn report(&self) -> Report {
        self.replay()
            .compare(&self.now(), &self.journal())
            .expect("the card is in the log")
    }

    /// What is found, with nothing lost.
    fn findings(&self) -> Vec<Finding> {
        let report = self.report();
        assert_eq!(report.lost, []);
        report.findings
    }

    fn reconcile(&mut self, acknowledged: Option<&str>) -> u64 {
        let (card, counter, findings) = (
            self.card.to_owned(),
            Some(self.counter),
            self.report().findings,
        );
        let acknowledged = acknowledged.map(str::to_owned);
        self.log(Event::Reconciled {
            card,
            counter,
            findings,
            acknowledged,
        })
    }
}

fn unlogged(after: u64, before: impl Into<Option<u64>>, signatures: u64) -> Finding {
    Finding::Unlogged {
        after,
        before: before.into(),
        signatures,
    }
}

fn fell(after: u64, before: impl Into<Option<u64>>, from: u64, to: u32) -> Finding {
    Finding::Fell {
        after,
        before: before.into(),
        from,
        to,
    }
}

#[test]
fn honest_use_leaves_nothing_to_say() {
    let mut host = Host::new();
    host.release(2, End::Done);
    host.key_use(KeyPurpose::SelfTest, 1, End::Done);
    host.key_use(KeyPurpose::Certify, 2, End::Done);
    host.release(0, End::Done);
    let report = host.report();
    assert_eq!((host.counter, report.begins), (11, (0, 0)));
    assert_eq!(
        (report.entries, report.findings, report.lost, report.others),
        (13, vec![], vec![], vec![])
    );
}

#[test]
fn what_nobody_logged_is_named_where_it_is() {
    let mut host = Host::new();
    host.release(2, End::Done);
    let first = host.last();
    host.signs(1);
    assert_eq!(host.findings(), [unlogged(first, None, 1)]);
    let intent = host.release(1, End::Done);
    assert_eq!(host.findings(), [unlogged(first, intent, 1)]);
    let second = host.last();
    host.signs(2);
    host.key_use(KeyPurpose::SelfTest, 1, End::Done);
    assert_eq!(
        host.findings(),
        [unlogged(first, intent, 1), unlogged(second, second + 1, 2)]
    );
}

#[test]
fn between_an_announcement_and_its_pin_nobody_may_sign() {
    let mut host = Host::new();
    host.at_the_pin = 1;
    let intent = host.release(2, End::Done);
    assert_eq!(host.findings(), [unlogged(intent, intent + 1, 1)]);
    host.at_the_pin = 3;
    host.key_use(KeyPurpose::SelfTest, 1, End::Done);
    assert_eq!(host.findings()[1], unlogged(intent + 2, intent + 3, 3));
}

/// A card whose counter jumps is stopped at once, and the log tells of it.
#[test]
fn a_run_that_counted_more_than_it_was_answered_is_told() {
    let mut host = Host::new();
    let intent = host.release(2, End::Stopped(1, false, true));
    let Event::Outcome {
        card: Some(card), ..
    } = &mut host.entries[intent as usize + 1].event
    else {
        panic!("an outcome")
    };
    card.after = card.after.map(|after| after + 2);
    host.counter += 2;
    assert_eq!(
        host.report().findings,
        [unlogged(intent + 1, intent + 1, 1)]
    );
}

#[test]
fn a_run_that_was_cut_off_explains_one_answer_that_was_lost() {
    for (resumed, lost, foreign) in [
        (true, false, 0),
        (true, true, 0),
        (true, true, 2),
        (true, false, 2),
        (false, true, 0),
        (false, true, 3),
    ] {
        let mut host = Host::new();
        let intent = host.release(4, End::CutOff(2, lost));
        host.signs(foreign);
        if resumed {
            host.resume(0, End::Done);
        }
        let report = host.report();
        let more = u64::from(lost) + foreign;
        let expected =
            (more > 1).then(|| unlogged(intent, resumed.then_some(intent + 1), more - 1));
        assert_eq!(
            report.findings,
            expected.into_iter().collect::<Vec<_>>(),
            "{resumed} {lost} {foreign}"
        );
        let lost = (more > 0).then(|| Lost {
            runs: vec![intent],
            signatures: 1,
        });
        assert_eq!(
            report.lost,
            lost.into_iter().collect::<Vec<_>>(),
            "{resumed} {foreign}"
        );
    }
}

#[test]
fn what_was_kept_of_two_runs_that_were_cut_off_is_told_apart() {
    let mut host = Host::new();
    let first = host.release(5, End::CutOff(2, false));
    host.key_use(KeyPurpose::SelfTest, 1, End::Done);
    host.signs(1);
    let resumed = host.last() + 1;
    host.resume(0, End::CutOff(1, true));
    host.resume(0, End::CutOff(3, false));
    assert_eq!(host.releases[0].2, 6);
    let report = host.report();
    assert_eq!(report.findings, [unlogged(first + 2, resumed, 1)]);
    assert_eq!(
        report.lost,
        [Lost {
            runs: vec![resumed],
            signatures: 1
        }]
    );
}

/// With every file kept there is nothing that could have been lost: neither by the journal nor by
/// the outcome.
#[test]
fn a_run_that_was_cut_off_after_its_last_signature_explains_no_more() {
    for told in [false, true] {
        let mut host = Host::new();
        let intent = host.release(2, End::CutOff(3, false));
        host.signs(1);
        if told {
            host.resume(0, End::Done);
            assert_eq!(host.releases, []);
        }
        assert_eq!(host.findings(), [unlogged(intent, None, 1)]);
    }
}

/// An export has no journal: what a run has kept that nobody took up again is not known, and it
/// explains one signature.
#[test]
fn without_the_journal_a_run_that_was_cut_off_explains_one_signature() {
    let mut host = Host::new();
    host.release(4, End::Stopped(1, false, true));
    host.resume(0, End::CutOff(0, true));
    let (intent, start) = (host.releases[0].0, host.last());
    let lost = || {
        vec![Lost {
            runs: vec![start],
            signatures: 1,
        }]
    };
    let report = host.exported();
    assert_eq!(
        (report.findings, report.lost, report.unfinished),
        (vec![], lost(), vec![])
    );
    // It has kept two that the log does not tell of yet; four files were missing.
    host.signs(2);
    host.releases[0].2 += 2;
    let report = host.exported();
    let unfinished = vec![Undecided {
        intent,
        signatures: 3,
    }];
    assert_eq!(
        (report.findings, report.lost, report.unfinished),
        (vec![unlogged(start, None, 2)], lost(), unfinished)
    );
    assert_eq!(host.report().findings, []);
    // Finished, it tells.
    host.resume(0, End::Done);
    let report = host.exported();
    assert_eq!(
        (report.findings, report.lost, report.unfinished),
        (vec![], lost(), vec![])
    );
    // What comes then has nothing to do with it.
    host.signs(1);
    assert_eq!(host.exported().unfinished, []);
    // A run that had one file to sign cannot explain more than that.
    let mut host = Host::new();
    host.release(0, End::CutOff(1, false));
    host.signs(1);
    let report = host.exported();
    assert_eq!(
        (report.findings, report.unfinished),
        (vec![unlogged(host.last(), None, 1)], vec![])
    );
}

/// What such an entry says the card has made, it has made; no more can have been lost.
#[test]
fn a_run_that_says_it_kept_more_than_there_was_explains_no_more_than_that() {
    let mut host = Host::new();
    let intent = host.release(1, End::CutOff(0, false));
    host.signs(5);
    host.resume(0, End::Done);
    let Event::Resumed { kept, .. } = &mut host.entries[intent as usize + 1].event else {
        panic!("resumed")
    };
    *kept = 4;
    assert_eq!(host.report().findings[0], unlogged(intent, intent + 1, 1));
}

/// The token signs the same bytes once.
#[test]
fn equal_artifacts_explain_one_signature() {
    let mut host = Host::new();
    host.release(4, End::CutOff(0, false));
    let (intent, last) = (host.last(), host.entries.last_mut().expect("an entry"));
    let Event::Intent(equal) = &mut last.event else {
        panic!("an intent")
    };
    equal
        .artifacts
        .values_mut()
        .for_each(|digest| *digest = Sha256::of(b"same"));
    host.signs(4);
    let report = host.exported();
    let (run, made) = (
        Undecided {
            intent,
            signatures: 1,
        },
        unlogged(intent, None, 3),
    );
    assert_eq!(
        (report.findings, report.unfinished),
        (vec![made], vec![run])
    );
}

/// An intent of very many artifacts has them in entries before it.
#[test]
fn artifacts_that_stand_in_entries_of_their_own_are_counted() {
    let mut host = Host::new();
    host.release(4, End::CutOff(0, false));
    let intent = host.last();
    let Some(Entry {
        event: Event::Intent(mut whole),
        ..
    }) = host.entries.pop()
    else {
        panic!("an intent")
    };
    let artifacts = std::mem::take(&mut whole.artifacts);
    host.log(Event::Artifacts {
        grant: whole.grant,
        artifacts,
    });
    whole.artifacts_from = Some(intent);
    host.log(Event::Intent(whole));
    host.signs(6);
    let report = host.exported();
    let (run, made) = (
        Undecided {
            intent: intent + 1,
            signatures: 4,
        },
        unlogged(intent + 1, None, 5),
    );
    assert_eq!(
        (report.findings, report.unfinished),
        (vec![made], vec![run.clone()])
    );
    // The next intent has its own alone.
    host.release(2, End::CutOff(0, false));
    host.signs(4);
    let report = host.exported();
    let second = Undecided {
        intent: intent + 2,
        signatures: 2,
    };
    assert_eq!(
        (&report.findings[1], report.unfinished),
        (&unlogged(intent + 2, None, 3), vec![run, second])
    );
}

#[test]
fn a_run_that_stopped_explains_one_more_only_where_the_card_did_not_tell() {
    for (lost, told, explained) in [
        (false, true, 0),
        (true, true, 1),
        (true, false, 1),
        (false, false, 1),
    ] {
        let mut host = Host::new();
        let intent = host.release(4, End::Stopped(2, lost, told));
        let spare = u64::from(!told && !lost);
        host.signs(1 + spare);
        let report = host.report();
        assert_eq!(
            report.findings,
            [unlogged(intent + 1, None, 1)],
            "{lost} {told}"
        );
        let lost = (explained > 0).then(|| Lost {
            runs: vec![intent + 1],
            signatures: explained,
        });
        assert_eq!(report.lost, lost.into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn a_wrong_pin_explains_nothing() {
    let mut host = Host::new();
    let intent = host.release(2, End::NoPin);
    host.signs(1);
    assert_eq!(host.findings(), [unlogged(intent + 1, None, 1)]);
    host.key_use(KeyPurpose::SelfTest, 1, End::NoPin);
    assert_eq!(host.findings(), [unlogged(intent + 1, intent + 2, 1)]);
}

#[test]
fn the_signatures_of_a_certificate_explain_what_they_announced() {
    let mut host = Host::new();
    host.key_use(KeyPurpose::Certify, 2, End::CutOff(1, false));
    let start = host.last();
    let report = host.report();
    assert_eq!(
        (report.findings, report.lost),
        (
            vec![],
            vec![Lost {
                runs: vec![start],
                signatures: 1
            }]
        )
    );
    host.signs(2);
    assert_eq!(host.report().findings, [unlogged(start, None, 1)]);
}

#[test]
fn a_count_that_falls_is_an_alarm() {
    let mut host = Host::new();
    host.release(2, End::Done);
    let last = host.last();
    for counter in [0, 6] {
        host.counter = counter;
        assert_eq!(host.findings(), [fell(last, None, 7, counter)]);
    }
    // Less than what is kept is as bad.
    let mut host = Host::new();
    let intent = host.release(4, End::CutOff(3, false));
    host.counter -= 1;
    assert_eq!(host.findings(), [fell(intent, None, 7, 6)]);
    host.resume(0, End::Done);
    assert_eq!(host.findings(), [fell(intent, intent + 1, 7, 6)]);
}

#[test]
fn a_key_that_the_log_says_was_made_begins_anew() {
    // The one before was counted, to the last.
    let mut host = Host::empty();
    host.generate(Some(Ok(())));
    host.certify(End::Stopped(2, true, false));
    let last = host.last();
    host.signs(5);
    host.generate(Some(Ok(())));
    host.certify(End::Done);
    assert_eq!(host.report().findings, [unlogged(last, last + 1, 4)]);
    assert_eq!(host.counter, 4);
}

#[test]
fn a_key_that_was_not_made_explains_no_fall() {
    let mut host = Host::new();
    host.generate(Some(Err(false)));
    let last = host.last();
    assert_eq!(host.findings(), []);
    host.counter = 0;
    assert_eq!(host.findings(), [fell(last, None, 4, 0)]);
    // No card was found then.
    let mut host = Host::new();
    host.generate(Some(Err(false)));
    let last = host.last() as usize;
    for entry in &mut host.entries[last - 1..] {
        if let Event::KeyIntended { card, .. } | Event::KeyOutcome { card, .. } = &mut entry.event {
            *card = None;
        }
    }
    host.counter = 0;
    assert_eq!(host.findings(), [fell(last as u64 - 3, None, 4, 0)]);
}

#[test]
fn a_key_that_may_have_been_made_explains_a_fall_to_nothing() {
    for outcome in [None, Some(Err(true))] {
        let mut host = Host::new();
        host.generate(outcome);
        let made = host.last();
        // Until it has a certificate, it is another key.
        let other = Finding::OtherKey {
            logged: key(1),
            found: Some(key(2)),
        };
        assert_eq!(host.findings(), [other]);
        host.signs(1);
        host.generate(Some(Ok(())));
        host.certify(End::Done);
        assert_eq!(host.findings(), [unlogged(made, made + 1, 1)]);
    }
}

#[test]
fn a_card_with_another_key_is_told_and_its_count_is_not_compared() {
    let mut host = Host::new();
    host.release(2, End::Done);
    (host.key, host.counter) = (7, 900);
    assert_eq!(
        host.findings(),
        [Finding::OtherKey {
            logged: key(1),
            found: Some(key(7))
        }]
    );
    let now = CardNow {
        key: None,
        counter: 0,
        ..host.now()
    };
    let report = host
        .replay()
        .compare(&now, &host.journal())
        .expect("in the log");
    assert_eq!(
        report.findings,
        [Finding::OtherKey {
            logged: key(1),
            found: None
        }]
    );
}

#[test]
fn each_card_of_a_log_has_its_own_count() {
    let mut host = Host::new();
    let (first, counter) = (host.last() - 1, host.counter);
    host.signs(2);
    host.key_use(KeyPurpose::SelfTest, 1, End::Done);
    let unlogged_before = unlogged(first, first + 2, 2);
    let last_of_first = host.last();
    (host.card, host.counter, host.key) = ("FFFE:0000000B", 0, 4);
    host.generate(Some(Ok(())));
    host.certify(End::Done);
    let report = host.report();
    assert_eq!((counter, report.findings), (4, vec![]));
    let other = OtherCard {
        card: CARD.into(),
        entry: last_of_first,
        counter: 7,
        findings: vec![unlogged_before.clone()],
    };
    assert_eq!(report.others, [other]);
    (host.card, host.counter, host.key) = (CARD, 7, 1);
    assert_eq!(host.findings(), [unlogged_before]);

    let now = CardNow {
        card: "FFFE:0000000C".to_owned(),
        ..host.now()
    };
    let error = host
        .replay()
        .compare(&now, &BTreeMap::new())
        .expect_err("not in the log");
    let said = "card `FFFE:0000000C` is in no entry of the log, which tells of FFFE:00000001, FFFE:0000000B";
    assert_eq!(error.to_string(), said);
}

#[test]
fn a_card_that_never_told_its_count_cannot_be_compared() {
    let mut host = Host::new();
    for entry in &mut host.entries {
        if let Event::KeyIntended {
            card: Some(card), ..
        }
        | Event::KeyOutcome {
            card: Some(card), ..
        } = &mut entry.event
        {
            (card.before, card.after) = (None, None);
        }
    }
    host.entries.drain(..2);
    assert!(matches!(
        host.replay().compare(&host.now(), &host.journal()),
        Err(Incomparable::Uncounted(_))
    ));
}

/// A use before which the card did not tell is still counted.
#[test]
fn a_count_that_is_missing_in_one_entry_hides_nothing() {
    let mut host = Host::new();
    host.release(2, End::Done);
    let mut told = host.clone();
    let last = host.last() as usize;
    if let Event::Intent(Intent {
        card: Some(card), ..
    }) = &mut told.entries[last - 1].event
    {
        card.before = None;
    }
    if let Event::Outcome {
        card: Some(card), ..
    } = &mut told.entries[last].event
    {
        (card.before, card.after) = (None, None);
    }
    assert_eq!(told.findings(), []);
    told.signs(1);
    assert_eq!(told.findings(), [unlogged(last as u64 - 3, None, 1)]);
}

#[test]
fn a_gap_stays_an_alarm_until_it_is_acknowledged_and_is_known_from_then_on() {
    let mut host = Host::new();
    host.signs(1);
    let last = host.last() - 1;
    let first = host.reconcile(None);
    assert_eq!(host.findings(), [unlogged(last, first, 1)]);
    let second = host.reconcile(Some("a test with gpg"));
    let known = || Known {
        finding: unlogged(last, first, 1),
        entry: second,
        reason: "a test with gpg".into(),
    };
    let report = host.report();
    assert_eq!((report.findings, report.known), (vec![], vec![known()]));
    // What comes later is not.
    host.signs(1);
    let report = host.report();
    assert_eq!(
        (report.findings, report.known),
        (vec![unlogged(second, None, 1)], vec![known()])
    );
    let noted = host.reconcile(None);
    assert_eq!(host.findings(), [unlogged(second, noted, 1)]);
    // Of a count that fell, the same.
    host.counter = 2;
    assert_eq!(
        host.findings(),
        [unlogged(second, noted, 1), fell(noted, None, 6, 2)]
    );
    let third = host.reconcile(Some("restored"));
    assert_eq!(host.findings(), []);
    host.signs(1);
    assert_eq!(host.findings(), [unlogged(third, None, 1)]);
}

// ---- Any use of a card ----

#[derive(Debug, Clone, Copy)]
enum Act {
    Release(u8, End),
    Resume(usize, End),
    KeyUse(KeyPurpose, u64, End),
    Reconcile,
}

fn act(end: impl Strategy<Value = End> + Clone) -> impl Strategy<Value = Act> {
    prop_oneof![
        (0..5u8, end.clone()).prop_map(|(artifacts, end)| Act::Release(artifacts, end)),
        (any::<usize>(), end.clone()).prop_map(|(which, end)| Act::Resume(which, end)),
        (any::<usize>(), end.clone()).prop_map(|(which, end)| Act::Resume(which, end)),
        end.clone()
            .prop_map(|end| Act::KeyUse(KeyPurpose::SelfTest, 1, end)),
        (1..5u64, end).prop_map(|(signatures, end)| Act::KeyUse(
            KeyPurpose::Certify,
            signatures,
            end
        )),
        Just(Act::Reconcile),
    ]
}

/// Where each answer is known.
fn told() -> impl Strategy<Value = End> + Clone {
    prop_oneof![
        Just(End::Done),
        (0..5u64, any::<bool>()).prop_map(|(made, lost)| End::Stopped(made, lost, true)),
        Just(End::NoPin)
    ]
}

fn any_end() -> impl Strategy<Value = End> + Clone {
    prop_oneof![
        told(),
        (0..6u64, any::<bool>(), any::<bool>())
            .prop_map(|(made, lost, told)| End::Stopped(made, lost, told)),
        (0..6u64, any::<bool>()).prop_map(|(made, lost)| End::CutOff(made, lost)),
    ]
}

/// A first attempt at setting up the key, which may end anyhow; the next one succeeds.
fn beginning() -> impl Strategy<Value = Host> {
    let generated = prop_oneof![
        Just(None),
        any::<bool>().prop_map(|made| Some(Err(made))),
        Just(Some(Ok(())))
    ];
    proptest::collection::vec((generated, any_end()), 0..3).prop_map(|attempts| {
        let mut host = Host::empty();
        for (generated, end) in attempts {
            host.generate(generated);
            if generated == Some(Ok(())) && end != End::Done {
                host.certify(end);
            }
        }
        host.generate(Some(Ok(())));
        host.certify(End::Done);
        host
    })
}

impl Host {
    fn does(&mut self, act: Act) {
        match act {
            Act::Release(artifacts, end) => _ = self.release(artifacts, end),
            Act::Resume(_, end) if self.releases.is_empty() => _ = self.release(1, end),
            Act::Resume(which, end) => self.resume(which % self.releases.len(), end),
            Act::KeyUse(purpose, signatures, end) => self.key_use(purpose, signatures, end),
            Act::Reconcile => _ = self.reconcile(None),
        }
    }
}

/// The signatures that are not in the log.
fn missing(report: &Report) -> u64 {
    let count = |finding: &Finding| match finding {
        Finding::Unlogged { signatures, .. } => *signatures,
        Finding::Fell { .. } | Finding::OtherKey { .. } => panic!("{finding:?}"),
    };
    report.findings.iter().map(count).sum()
}

proptest! {
    #[test]
    fn honest_use_never_alarms(
        mut host in beginning(),
        acts in proptest::collection::vec(act(any_end()), 0..20),
    ) {
        for act in acts {
            host.does(act);
            prop_assert_eq!(host.report().findings, []);
        }
        // Without the journal less is known: what may be wrong can be explained by a run that is
        // unfinished.
        let report = host.exported();
        let explained: u64 = report.unfinished.iter().map(|run| run.signatures).sum();
        prop_assert!(missing(&report) <= explained, "{report:?}");
        // When every run is finished, the log alone tells as much as the journal.
        while !host.releases.is_empty() {
            host.resume(0, End::Done);
        }
        prop_assert_eq!(host.exported().findings, []);
    }

    #[test]
    fn where_every_answer_is_known_one_signature_more_is_found_where_it_was_made(
        acts in proptest::collection::vec(act(told()), 1..20),
        at in any::<prop::sample::Index>(),
        at_the_pin in any::<bool>(),
    ) {
        let mut host = Host::new();
        let at = at.index(acts.len());
        let mut place = 0;
        for (number, act) in acts.into_iter().enumerate() {
            if number == at {
                place = host.last();
                if at_the_pin { host.at_the_pin = 1 } else { host.signs(1) }
            }
            host.does(act);
        }
        // If nobody gave a PIN any more, nobody else has come between.
        host.unlock();
        let report = host.report();
        prop_assert_eq!(missing(&report), 1);
        let Finding::Unlogged { after, before, .. } = &report.findings[0] else { unreachable!("it was counted") };
        prop_assert!(before.is_none_or(|before| before > place), "{after}, {before:?}, and not at {place}");
        prop_assert!(at_the_pin || *after <= place, "{after}, {before:?}, and not at {place}");
    }

    #[test]
    fn more_signatures_than_lost_answers_explain_always_alarm(
        mut host in beginning(),
        acts in proptest::collection::vec(act(any_end()), 1..20),
        at in any::<prop::sample::Index>(),
        at_the_pin in any::<bool>(),
    ) {
        // No announcement of these explains more than four signatures that are not kept.
        const MANY: u32 = 5;
        let at = at.index(acts.len());
        for (number, act) in acts.into_iter().enumerate() {
            if number == at {
                if at_the_pin { host.at_the_pin = MANY } else { host.signs(u64::from(MANY)) }
            }
            host.does(act);
        }
        host.unlock();
        prop_assert!(missing(&host.report()) >= 1);
    }
    /// A log that was exported may say anything that its key signed.
    #[test]
    fn no_number_in_a_log_is_too_strange(
        mut host in beginning(),
        acts in proptest::collection::vec(act(any_end()), 0..10),
        numbers in proptest::collection::vec(prop_oneof![0..4u64, Just(u64::MAX), any::<u64>()], 8),
        counter: u32,
    ) {
        acts.into_iter().for_each(|act| host.does(act));
        let mut numbers = numbers.into_iter().cycle();
        let mut number = || numbers.next().expect("there is always one more");
        for entry in &mut host.entries {
            let used = match &mut entry.event {
                Event::KeyIntended { signatures, card, .. } => {
                    *signatures = number();
                    card
                }
                Event::KeyOutcome { card, .. } => card,
                Event::Intent(intent) => &mut intent.card,
                Event::Resumed { kept, card, .. } => {
                    *kept = number();
                    card
                }
                Event::Outcome { result, card, .. } => {
                    let (RunResult::Signed { token_signatures } | RunResult::Stopped { token_signatures, .. }) = result;
                    *token_signatures = number();
                    card
                }
                _ => continue,
            };
            if let Some(used) = used {
                used.after = used.after.map(|after| after.wrapping_add(number() as u32));
            }
        }
        host.counter = counter;
        _ = host.exported();
        _ = host.report();
    }
}
