//! Any use of a card: honest use never alarms, and foreign signatures always do.

use proptest::prelude::*;

use super::super::Report;
use super::played::{End, Host};
use crate::domain::event::{Event, Finding, KeyPurpose, RunResult};

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

/// An end after which the counter is known.
fn known_end() -> impl Strategy<Value = End> + Clone {
    prop_oneof![
        Just(End::Done),
        (0..5u64, any::<bool>()).prop_map(|(made, lost)| End::Stopped(made, lost, true)),
        Just(End::NoPin)
    ]
}

fn any_end() -> impl Strategy<Value = End> + Clone {
    prop_oneof![
        known_end(),
        (0..6u64, any::<bool>(), any::<bool>())
            .prop_map(|(made, lost, counted)| End::Stopped(made, lost, counted)),
        (0..6u64, any::<bool>()).prop_map(|(made, lost)| End::CutOff(made, lost)),
    ]
}

/// Attempts at setting up the key, the last of which succeeds.
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
        // Without the journal, unfinished runs may explain the findings.
        let report = host.exported();
        let explained: u64 = report.unfinished.iter().map(|run| run.signatures).sum();
        prop_assert!(missing(&report) <= explained, "{report:?}");
        // When every run is finished, the log is enough.
        while !host.releases.is_empty() {
            host.resume(0, End::Done);
        }
        prop_assert_eq!(host.exported().findings, []);
    }

    #[test]
    fn where_every_answer_is_known_one_signature_more_is_found_where_it_was_made(
        acts in proptest::collection::vec(act(known_end()), 1..20),
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
        // Foreign signatures that still wait for a PIN.
        host.unlock();
        let report = host.report();
        prop_assert_eq!(missing(&report), 1);
        let Finding::Unlogged { after, before, .. } = &report.findings[0] else {
            unreachable!("it was counted")
        };
        let found = format!("between {after} and {before:?}, but made at {place}");
        prop_assert!(before.is_none_or(|before| before > place), "{found}");
        prop_assert!(at_the_pin || *after <= place, "{found}");
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

    /// An exported log may have any number that its key signed.
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
                    let (RunResult::Signed { token_signatures }
                    | RunResult::Stopped { token_signatures, .. }) = result;
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
