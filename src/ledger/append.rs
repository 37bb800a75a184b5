//! Appending: an entry, its hashes, and the rows that lead to it, in one transaction.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, params};

use super::entries::known;
use super::error::LedgerError;
use super::store::{Ledger, Result};
use super::{about, newest, tree};
use crate::domain::digest::Sha256;
use crate::domain::event::{Entry, Event, Intent};
use crate::domain::time::{Clock, Timestamp};
use crate::tlog::note::VerifierKey;
use crate::tlog::tile::LARGEST_ENTRY;

/// Maximum size of the artifacts in an intent's entry, in bytes; more get entries of their own. The
/// rest of the entry has room in what is left.
const MOST_OF_AN_ENTRY: usize = LARGEST_ENTRY - (16 << 10);
/// Maximum length of a reason that is logged, in bytes.
const LONGEST_REASON: usize = 8 << 10;

impl Ledger {
    /// Begins the log under `key`, unless that was done.
    pub fn begin(&mut self, clock: impl Into<Clock>, key: &VerifierKey) -> Result<()> {
        if self.size()? > 0 {
            return Ok(());
        }
        let event = Event::LogCreated {
            origin: key.name().to_owned(),
            key: key.to_string(),
        };
        self.append(clock, event).map(|_| ())
    }

    /// Appends an event with the time at which it is appended; returns its index. Durable when it
    /// returns: only then may the token be used for what an intent says.
    ///
    /// With a release that is withdrawn, every grant of its name is revoked.
    ///
    /// What is recorded of a grant once, and what a revoked grant does not allow, is an error, and
    /// nothing of it is appended.
    ///
    /// A refusal that repeats the last entry about its grant is that entry: a loop that tries a
    /// build every minute must not fill the log.
    pub fn append(&mut self, clock: impl Into<Clock>, event: Event) -> Result<u64> {
        self.append_if(clock, event, |_, _| Ok(()))
    }

    /// As [`Ledger::append`], if `check` passes at that time. No other process appends between the
    /// two.
    pub fn append_if<E: From<LedgerError>>(
        &mut self,
        clock: impl Into<Clock>,
        event: Event,
        check: impl FnOnce(&Self, Timestamp) -> Result<(), E>,
    ) -> Result<u64, E> {
        let clock = clock.into();
        self.transact(|ledger| {
            let at = clock.now();
            check(ledger, at)?;
            Ok(append_all(&ledger.database, at, event)?)
        })
    }
}

/// Appends an event with what belongs to it: the artifacts of a large intent before it, the
/// revocations of a withdrawal after it.
fn append_all(database: &Connection, at: Timestamp, event: Event) -> Result<u64> {
    let mut event = fitting(event);
    if let Some(index) = repeated(database, &event)? {
        return Ok(index);
    }
    if event.needs_clock() {
        newest::check(database, at)?;
    }
    if let Event::Intent(intent) = &mut event {
        set_apart(database, at, intent)?;
    }
    let of = match &event {
        Event::Withdrawn { intent, .. } => Some(*intent),
        _ => None,
    };
    let index = append(database, at, event)?;
    for grant in about::to_revoke(database, of)? {
        let reason = Some("the release is withdrawn".to_owned());
        append(database, at, Event::GrantRevoked { grant, reason })?;
    }
    Ok(index)
}

pub(super) fn append(database: &Connection, at: Timestamp, event: Event) -> Result<u64> {
    let index = tree::size(database)?;
    let entry = Entry { index, at, event };
    let text = entry.to_text();
    let mut insert = database.prepare_cached("INSERT INTO entries (idx, entry) VALUES (?1, ?2)")?;
    insert.execute(params![index, text])?;
    tree::append(database, index, text.as_bytes())?;
    for digest in digests_of(&entry.event) {
        find_by(database, digest, index)?;
    }
    newest::append(database, &entry)?;
    about::append(database, &entry)?;
    Ok(index)
}

/// The digests by which an entry is found again: those of what is to be signed.
pub(super) fn digests_of(event: &Event) -> BTreeSet<Sha256> {
    match event {
        Event::Intent(intent) => intent
            .artifacts
            .values()
            .copied()
            .chain([intent.sums])
            .collect(),
        Event::Artifacts(part) => part.artifacts.values().copied().collect(),
        Event::Withdrawn { statement, .. } => [*statement].into(),
        Event::LogCreated { .. }
        | Event::KeyIntended { .. }
        | Event::KeyOutcome { .. }
        | Event::KeyReady { .. }
        | Event::GrantIssued { .. }
        | Event::GrantApproved { .. }
        | Event::GrantRevoked { .. }
        | Event::EvidenceAccepted { .. }
        | Event::EvidenceRefused { .. }
        | Event::Resumed { .. }
        | Event::Outcome { .. }
        | Event::Released { .. }
        | Event::Pushed { .. }
        | Event::Admission { .. }
        | Event::WithdrawalPushed { .. }
        | Event::Reconciled { .. }
        | Event::ClockAcknowledged { .. } => BTreeSet::new(),
    }
}

/// Two artifacts with the same bytes have one digest.
pub(super) fn find_by(database: &Connection, digest: Sha256, index: u64) -> Result<()> {
    let mut insert =
        database.prepare_cached("INSERT OR IGNORE INTO digests (digest, idx) VALUES (?1, ?2)")?;
    insert.execute(params![digest.to_string(), index])?;
    Ok(())
}

/// Shortens an event whose size others decide to what fits an entry: of a refusal, the beginning of
/// its reason and the first differences.
fn fitting(event: Event) -> Event {
    let Event::EvidenceRefused {
        grant,
        mut reason,
        mut differences,
    } = event
    else {
        return event;
    };
    if reason.len() > LONGEST_REASON {
        let end = (0..=LONGEST_REASON)
            .rev()
            .find(|end| reason.is_char_boundary(*end))
            .unwrap_or(0);
        reason.truncate(end);
        reason.push('…');
    }
    let mut room = MOST_OF_AN_ENTRY / 2;
    differences.retain(|name, builders| {
        let size = json_size(&(name, builders));
        let fits = size <= room;
        room = if fits { room - size } else { 0 };
        fits
    });
    Event::EvidenceRefused {
        grant,
        reason,
        differences,
    }
}

/// The last entry about the grant of a refusal, if it is the same.
fn repeated(database: &Connection, event: &Event) -> Result<Option<u64>> {
    let Event::EvidenceRefused { grant, .. } = event else {
        return Ok(None);
    };
    let Some(last) = about::last(database, *grant)? else {
        return Ok(None);
    };
    let is_same = known(database, last)?.event == *event;
    Ok(is_same.then_some(last))
}

/// Gives the artifacts of an intent entries of their own, if they do not fit its own.
fn set_apart(database: &Connection, at: Timestamp, intent: &mut Intent) -> Result<()> {
    if json_size(&intent.artifacts) <= MOST_OF_AN_ENTRY {
        return Ok(());
    }
    let mut part = BTreeMap::new();
    let mut size = 0;
    let mut parts = Vec::new();
    for (name, digest) in std::mem::take(&mut intent.artifacts) {
        let more = json_size(&(&name, digest));
        if size + more > MOST_OF_AN_ENTRY {
            parts.push(std::mem::take(&mut part));
            size = 0;
        }
        size += more;
        part.insert(name, digest);
    }
    parts.push(part);
    let whole = intent.clone();
    for artifacts in parts {
        let index = append(database, at, Event::Artifacts(whole.part(artifacts)))?;
        intent.artifacts_from.get_or_insert(index);
    }
    Ok(())
}

fn json_size(value: &impl serde::Serialize) -> usize {
    serde_json::to_string(value)
        .expect("names and digests can be written as JSON")
        .len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::digest::GrantId;
    use crate::domain::event::RunResult;
    use crate::domain::name::BuilderName;
    use crate::tlog::note::SignerKey;

    fn time() -> Timestamp {
        Timestamp::from_unix(0)
    }

    /// A revocation takes effect even for a run that looked before it.
    #[test]
    fn nothing_is_accepted_or_intended_under_a_revoked_grant() {
        let (_folder, mut ledger) = Ledger::example();
        let grant = GrantId::of(b"g");
        ledger
            .append(time(), Event::example_grant(grant))
            .expect("issued");
        ledger
            .append(
                time(),
                Event::GrantRevoked {
                    grant,
                    reason: None,
                },
            )
            .expect("revoked");
        let accepted = ledger.append(time(), Event::example_acceptance(grant));
        assert!(matches!(accepted, Err(LedgerError::Revoked(id)) if id == grant));
        let intended = ledger.append(time(), Event::Intent(Intent::example()));
        assert!(matches!(intended, Err(LedgerError::Revoked(id)) if id == grant));
        assert_eq!(ledger.size().expect("asked"), 2, "nothing of it is logged");
    }

    /// Another process may have granted the other one since this one looked.
    #[test]
    fn no_two_grants_are_for_one_folder() {
        let (_folder, mut ledger) = Ledger::example();
        let mut issue = |grant: &[u8], project: &str, version: &str| {
            let mut event = Event::example_grant(GrantId::of(grant));
            if let Event::GrantIssued {
                project: of,
                version: which,
                ..
            } = &mut event
            {
                *of = project.parse().expect("a name");
                *which = version.parse().expect("a version");
            }
            ledger.append(time(), event)
        };
        issue(b"1", "foo", "3-1").expect("issued");
        issue(b"2", "foo", "3-1").expect("the same release once more");
        for (project, version) in [("foo-3", "1"), ("foo", "1:3-1"), ("Foo", "4")] {
            let taken = issue(b"3", project, version);
            assert!(matches!(taken, Err(LedgerError::Taken(_))), "{taken:?}");
        }
        let taken = issue(b"3", "foo-3", "1").expect_err("taken").to_string();
        assert_eq!(
            taken,
            "the release of foo-3 1 would have the folder of foo 3-1, `foo-3-1`, which was \
             granted in ledger entry 0"
        );
        assert_eq!(ledger.size().expect("asked"), 2, "nothing of it is logged");
    }

    /// What may have been signed under a grant keeps its name, whatever became of the grant.
    #[test]
    fn only_a_grant_revoked_in_time_gives_its_folder_free() {
        for signs in [false, true] {
            let (_folder, mut ledger) = Ledger::example();
            let grant = GrantId::of(b"g");
            let mut steps = vec![Event::example_grant(grant)];
            if signs {
                steps.push(Event::example_acceptance(grant));
                steps.push(Event::Intent(Intent::example()));
            }
            steps.push(Event::GrantRevoked {
                grant,
                reason: None,
            });
            for step in steps {
                ledger.append(time(), step).expect("appended");
            }
            let other = "FOO".parse().expect("a name");
            let checked = ledger.check_release(&other, &"9".parse().expect("a version"));
            assert_eq!(checked.is_err(), signs, "{checked:?}");
        }
    }

    /// And what was begun is recorded to its end, even if the grant was revoked meanwhile.
    #[test]
    fn each_milestone_of_a_grant_is_recorded_once() {
        let (_folder, mut ledger) = Ledger::example();
        let key = SignerKey::generate("example.org/log")
            .expect("a key")
            .public();
        ledger.begin(time(), &key).expect("begun");
        let grant = GrantId::of(b"g");
        let fault = |ledger: &mut Ledger, event| {
            ledger
                .append(time(), event)
                .expect_err("refused")
                .to_string()
        };
        let unknown = fault(&mut ledger, Event::example_acceptance(grant));
        assert_eq!(unknown, format!("the ledger has no grant {grant}"));
        let sums = Sha256::of(b"s");
        let intent = 3;
        let signed = RunResult::Signed {
            token_signatures: 2,
        };
        let steps = [
            Event::example_grant(grant),
            Event::example_acceptance(grant),
            Event::Intent(Intent::example()),
            Event::Outcome {
                intent,
                result: signed,
                card: None,
            },
            Event::Released {
                intent,
                sums,
                to_push: true,
            },
            Event::Pushed { intent },
        ];
        for event in &steps[3..] {
            let no_intent = fault(&mut ledger, event.clone());
            assert_eq!(
                no_intent,
                format!(
                    "the ledger has no intent that an entry `{}` could follow there",
                    event.kind()
                )
            );
        }
        for (index, event) in [1, 2, 3, 5, 6, 7].into_iter().zip(&steps) {
            assert_eq!(
                ledger.append(time(), event.clone()).expect("appended"),
                index
            );
            let again = fault(&mut ledger, event.clone());
            assert!(again.contains(event.kind()), "{again}");
            if index == intent {
                ledger
                    .append(
                        time(),
                        Event::GrantRevoked {
                            grant,
                            reason: None,
                        },
                    )
                    .expect("revoked");
            }
        }
    }

    /// Until the token is asked, evidence and intent are replaced by name; then they stay.
    #[test]
    fn what_the_token_was_not_asked_for_can_be_replaced() {
        let (_folder, mut ledger) = Ledger::example();
        let grant = GrantId::of(b"g");
        let accepted = |replaces| match Event::example_acceptance(grant) {
            Event::EvidenceAccepted {
                scheme,
                builders,
                artifacts,
                ..
            } => Event::EvidenceAccepted {
                grant,
                scheme,
                builders,
                artifacts,
                replaces,
            },
            other => panic!("{other:?}"),
        };
        let intent = |replaces| {
            Event::Intent(Intent {
                replaces,
                ..Intent::example()
            })
        };
        let stopped = |intent| Event::Outcome {
            intent,
            result: RunResult::Stopped {
                token_signatures: 0,
                unsettled: None,
                reason: "no PIN".to_owned(),
            },
            card: None,
        };
        for (event, index) in [
            (Event::example_grant(grant), Some(0)),
            (accepted(Some(0)), None),
            (accepted(None), Some(1)),
            (accepted(None), None),
            (intent(Some(1)), None),
            (intent(None), Some(2)),
            (stopped(2), Some(3)),
            (accepted(Some(1)), Some(4)),
            (accepted(Some(1)), None),
            (intent(None), None),
            (intent(Some(2)), Some(5)),
            (intent(Some(2)), None),
            (stopped(2), None),
            (stopped(5), Some(6)),
        ] {
            let appended = ledger.append(time(), event.clone());
            assert_eq!(
                appended.as_ref().ok().copied(),
                index,
                "{event:?}: {appended:?}"
            );
        }
        let record = ledger.grant(grant).expect("asked").expect("there");
        assert_eq!((record.accepted, record.intent), (Some(4), Some(5)));
        assert_eq!(ledger.unfinished().expect("asked"), [record]);
        assert!(!ledger.is_asked(5).expect("asked"));
        ledger.mark_asked(5).expect("marked");
        ledger.mark_asked(5).expect("marked already");
        assert!(ledger.is_asked(5).expect("asked"));
        for event in [accepted(Some(4)), intent(Some(5))] {
            let fault = ledger
                .append(time(), event)
                .expect_err("refused")
                .to_string();
            assert!(fault.starts_with("the token was asked"), "{fault}");
        }
    }

    #[test]
    fn an_intent_of_more_than_an_entry_holds_is_found_whole() {
        let (_folder, mut ledger) = Ledger::example();
        let key = SignerKey::generate("example.org/log")
            .expect("a key")
            .public();
        ledger.begin(time(), &key).expect("begun");
        ledger.begin(time(), &key).expect("begun already");
        let grant = GrantId::of(b"g");
        ledger
            .append(time(), Event::example_grant(grant))
            .expect("issued");
        let name = |n: u32| format!("{n:0>200}").parse().expect("a name");
        let artifacts = (0..1_000)
            .map(|n| (name(n), Sha256::of(&n.to_be_bytes())))
            .collect();
        let intent = Intent {
            artifacts,
            ..Intent::example()
        };
        let index = ledger
            .append(time(), Event::Intent(intent.clone()))
            .expect("intended");
        assert!((6..10).contains(&index), "{index}");
        let (found, whole) = ledger.intent(grant).expect("asked").expect("there");
        assert_eq!(
            (found, &whole.artifacts, whole.artifacts_from),
            (index, &intent.artifacts, Some(2))
        );
        let [of_one] = ledger
            .covering(Sha256::of(&700_u32.to_be_bytes()))
            .expect("asked")[..]
        else {
            panic!("one entry for each")
        };
        assert!((2..index).contains(&of_one));
        assert_eq!(ledger.covering(intent.sums).expect("asked"), [index]);
        ledger.verify(&key, &[]).expect("as it was logged");
        for index in 0..=index {
            assert!(ledger.text(index).expect("an entry").len() <= LARGEST_ENTRY);
        }
    }

    #[test]
    fn a_refusal_is_logged_again_only_after_something_else() {
        let (_folder, mut ledger) = Ledger::example();
        let grant = GrantId::of(b"g");
        let other = GrantId::of(b"h");
        let refused = |grant, reason: &str| Event::EvidenceRefused {
            grant,
            reason: reason.to_owned(),
            differences: BTreeMap::new(),
        };
        let steps = [
            (Event::example_grant(grant), 0),
            (refused(grant, "one"), 1),
            (refused(grant, "one"), 1),
            (refused(other, "one"), 2),
            (refused(grant, "one"), 1),
            (refused(grant, "two"), 3),
            (refused(grant, "one"), 4),
            (refused(grant, &"é".repeat(50_000)), 5),
            (refused(grant, &"é".repeat(50_000)), 5),
            (Event::example_acceptance(grant), 6),
            (refused(grant, &"é".repeat(50_000)), 7),
        ];
        for (number, (event, index)) in steps.into_iter().enumerate() {
            let appended = ledger.append(time(), event).expect("appended");
            assert_eq!(appended, index, "step {number}");
        }
    }

    #[test]
    fn a_refusal_of_any_length_fits_an_entry() {
        let (_folder, mut ledger) = Ledger::example();
        let name = |n: u32| format!("{n:0>200}").parse().expect("a name");
        let builders: BTreeMap<BuilderName, _> =
            [("m1".parse().expect("a name"), Some(Sha256::of(b"e")))].into();
        let differences = (0..10_000).map(|n| (name(n), builders.clone())).collect();
        let event = Event::EvidenceRefused {
            grant: GrantId::of(b"g"),
            reason: "\u{1}é".repeat(50_000),
            differences,
        };
        let index = ledger.append(time(), event).expect("appended");
        match ledger.known(index).expect("there").event {
            Event::EvidenceRefused {
                reason,
                differences,
                ..
            } => {
                assert!(
                    reason.ends_with('…')
                        && differences.contains_key(&name(0))
                        && differences.len() > 50
                );
            }
            other => panic!("{other:?}"),
        }
        let grant = GrantId::of(b"g");
        let event = Event::GrantRevoked {
            grant,
            reason: Some("x".repeat(LARGEST_ENTRY)),
        };
        let error = ledger
            .append(time(), event)
            .expect_err("too large")
            .to_string();
        assert!(error.contains("bytes"), "{error}");
        assert_eq!(ledger.size().expect("asked"), 1, "nothing of it is left");
    }
}
