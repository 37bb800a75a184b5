//! Logs of a host that is played, and logs changed by hand.

mod any_use;
mod played;

use played::{CARD, End, Host, key};

use super::*;
use crate::domain::digest::Sha256;

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
fn honest_use_has_no_findings() {
    let mut host = Host::new();
    host.release(2, End::Done);
    host.key_use(KeyPurpose::SelfTest, 1, End::Done);
    host.key_use(KeyPurpose::Certify, 2, End::Done);
    host.release(0, End::Done);
    let report = host.report();
    let begins = Reading {
        entry: 0,
        counter: 0,
    };
    assert_eq!((host.counter, report.begins), (11, begins));
    assert_eq!(
        (report.entries, report.findings, report.lost, report.others),
        (13, vec![], vec![], vec![])
    );
}

#[test]
fn an_unlogged_signature_is_found_between_its_entries() {
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
fn a_signature_between_an_announcement_and_its_pin_is_found() {
    let mut host = Host::new();
    host.at_the_pin = 1;
    let intent = host.release(2, End::Done);
    assert_eq!(host.findings(), [unlogged(intent, intent + 1, 1)]);
    host.at_the_pin = 3;
    host.key_use(KeyPurpose::SelfTest, 1, End::Done);
    assert_eq!(host.findings()[1], unlogged(intent + 2, intent + 3, 3));
}

/// A card whose counter jumps is stopped at once, and its outcome has the counter.
#[test]
fn a_counter_above_the_number_of_answers_is_found() {
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
fn a_run_that_was_cut_off_explains_one_lost_answer() {
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

/// Where the token was asked, one more than was kept may have been made.
#[test]
fn an_intent_for_which_the_token_was_not_asked_explains_nothing() {
    for between in [false, true] {
        let mut host = Host::new();
        let intent = host.release(2, End::CutOff(0, false));
        host.signs(1);
        let used = between.then(|| {
            host.key_use(KeyPurpose::SelfTest, 1, End::Done);
            host.last() - 1
        });
        assert_eq!(host.report().findings, []);
        assert_eq!(host.report().lost.len(), 1);
        let again = host.release(2, End::Done);
        let Event::Intent(Intent { replaces, .. }) = &mut host.entries[again as usize].event else {
            panic!("an intent")
        };
        *replaces = Some(intent);
        let seen = used.unwrap_or(again);
        assert_eq!(host.findings(), [unlogged(intent, seen, 1)], "{between}");
    }
}

#[test]
fn each_run_that_was_cut_off_has_its_own_number_of_kept_signatures() {
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

/// With every signature kept, by the journal or by the outcome, none can have been lost.
#[test]
fn a_run_that_was_cut_off_after_its_last_signature_explains_no_more() {
    for resumed in [false, true] {
        let mut host = Host::new();
        let intent = host.release(2, End::CutOff(3, false));
        host.signs(1);
        if resumed {
            host.resume(0, End::Done);
            assert_eq!(host.releases, []);
        }
        assert_eq!(host.findings(), [unlogged(intent, None, 1)]);
    }
}

/// An export has no journal: what an unfinished run has kept is not known, and it explains one
/// signature.
#[test]
fn without_the_journal_a_run_that_was_cut_off_explains_one_signature() {
    let mut host = Host::new();
    host.release(4, End::Stopped(1, false, true));
    host.resume(0, End::CutOff(0, true));
    let intent = host.releases[0].0;
    let start = host.last();
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
    // It has kept two that are not in the log yet; four files were missing.
    host.signs(2);
    host.releases[0].2 += 2;
    let report = host.exported();
    let unfinished = vec![Unfinished {
        intent,
        signatures: 3,
    }];
    assert_eq!(
        (report.findings, report.lost, report.unfinished),
        (vec![unlogged(start, None, 2)], lost(), unfinished)
    );
    assert_eq!(host.report().findings, []);
    // Finished, its number is in the log.
    host.resume(0, End::Done);
    let report = host.exported();
    assert_eq!(
        (report.findings, report.lost, report.unfinished),
        (vec![], lost(), vec![])
    );
    // What comes later has nothing to do with it.
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

/// The card made what such an entry has; no more can have been lost.
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

/// Two names of the same bytes are two signatures.
#[test]
fn equal_artifacts_explain_a_signature_each() {
    let mut host = Host::new();
    host.release(4, End::CutOff(0, false));
    let intent = host.last();
    let last = host.entries.last_mut().expect("an entry");
    let Event::Intent(equal) = &mut last.event else {
        panic!("an intent")
    };
    equal
        .artifacts
        .values_mut()
        .for_each(|digest| *digest = Sha256::of(b"same"));
    host.signs(4);
    let report = host.exported();
    let run = Unfinished {
        intent,
        signatures: 4,
    };
    let made = unlogged(intent, None, 3);
    assert_eq!(
        (report.findings, report.unfinished),
        (vec![made], vec![run])
    );
}

/// An intent of very many artifacts has them in entries before it.
#[test]
fn artifacts_in_entries_of_their_own_are_counted() {
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
    host.log(Event::Artifacts(whole.part(artifacts)));
    whole.artifacts_from = Some(intent);
    host.log(Event::Intent(whole));
    host.signs(6);
    let report = host.exported();
    let run = Unfinished {
        intent: intent + 1,
        signatures: 4,
    };
    let made = unlogged(intent + 1, None, 5);
    assert_eq!(
        (report.findings, report.unfinished),
        (vec![made], vec![run.clone()])
    );
    // The next intent has its own alone.
    host.release(2, End::CutOff(0, false));
    host.signs(4);
    let report = host.exported();
    let second = Unfinished {
        intent: intent + 2,
        signatures: 2,
    };
    assert_eq!(
        (&report.findings[1], report.unfinished),
        (&unlogged(intent + 2, None, 3), vec![run, second])
    );
}

#[test]
fn a_run_that_stopped_explains_one_more_only_without_a_counter() {
    for (lost, counted, explained) in [
        (false, true, 0),
        (true, true, 1),
        (true, false, 1),
        (false, false, 1),
    ] {
        let mut host = Host::new();
        let intent = host.release(4, End::Stopped(2, lost, counted));
        let spare = u64::from(!counted && !lost);
        host.signs(1 + spare);
        let report = host.report();
        assert_eq!(
            report.findings,
            [unlogged(intent + 1, None, 1)],
            "{lost} {counted}"
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
fn a_counter_that_falls_is_an_alarm() {
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
fn a_new_key_begins_again() {
    // The counter of the key before it is still compared.
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
fn a_key_that_may_have_been_made_explains_a_fall_to_zero() {
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
fn a_card_with_another_key_is_found_and_its_counter_not_compared() {
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
fn each_card_of_a_log_has_its_own_counter() {
    let mut host = Host::new();
    let first = host.last() - 1;
    let counter = host.counter;
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
        last: Reading {
            entry: last_of_first,
            counter: 7,
        },
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
    let said =
        "card `FFFE:0000000C` is in no entry of the log, which has FFFE:00000001, FFFE:0000000B";
    assert_eq!(error.to_string(), said);
}

#[test]
fn a_card_without_a_counter_in_the_log_cannot_be_compared() {
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

/// A use without a counter before it is still compared.
#[test]
fn a_counter_that_is_missing_in_one_entry_hides_nothing() {
    let mut host = Host::new();
    host.release(2, End::Done);
    let last = host.last() as usize;
    if let Event::Intent(Intent {
        card: Some(card), ..
    }) = &mut host.entries[last - 1].event
    {
        card.before = None;
    }
    if let Event::Outcome {
        card: Some(card), ..
    } = &mut host.entries[last].event
    {
        (card.before, card.after) = (None, None);
    }
    assert_eq!(host.findings(), []);
    host.signs(1);
    assert_eq!(host.findings(), [unlogged(last as u64 - 3, None, 1)]);
}

#[test]
fn a_gap_is_an_alarm_until_it_is_acknowledged_and_known_from_then_on() {
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
    // The same with a counter that fell.
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
