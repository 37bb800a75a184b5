//! Appending: an entry, its hashes, and what the tables must say because of it, in one transaction.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{OptionalExtension, Transaction, params};

use super::{Ledger, LedgerFault, Result, tree};
use crate::domain::digest::{GrantId, Sha256};
use crate::domain::event::{Entry, Event, Intent, RunResult};
use crate::domain::evidence::Scheme;
use crate::domain::name::{BuilderName, ProjectName};
use crate::domain::time::Timestamp;
use crate::tlog::tile::LARGEST_ENTRY;

/// How much of an intent's entry its artifacts may take, in bytes, before they get entries of their own. What else is in an
/// entry has room in the rest.
const MOST_OF_AN_ENTRY: usize = LARGEST_ENTRY - (16 << 10);
/// The most of a reason that is logged, in bytes.
const LONGEST_REASON: usize = 8 << 10;

impl Ledger {
    /// Appends an event that belongs to no grant, or changes nothing about one. Durable when it returns.
    pub fn append(&mut self, at: Timestamp, event: Event) -> Result<u64> {
        self.transact(|transaction| append(transaction, at, event))
    }

    /// Appends that a grant was issued, and knows it from now on.
    pub fn issue(&mut self, at: Timestamp, grant: GrantId, project: &ProjectName, event: Event) -> Result<u64> {
        self.transact(|transaction| {
            let index = append(transaction, at, event)?;
            let values = params![grant.hex(), project.as_str(), index];
            transaction.execute("INSERT INTO grants (grant_id, project, issued) VALUES (?1, ?2, ?3)", values)?;
            Ok(index)
        })
    }

    /// Appends that a build was accepted: this closes the grant for every other.
    pub fn accept(
        &mut self,
        at: Timestamp,
        grant: GrantId,
        scheme: Scheme,
        builders: BTreeMap<BuilderName, Sha256>,
        artifacts: Sha256,
    ) -> Result<u64> {
        self.transact(|transaction| {
            let index = append(transaction, at, Event::EvidenceAccepted { grant, scheme, builders, artifacts })?;
            set_once(transaction, grant, "accepted", index)?;
            Ok(index)
        })
    }

    /// Appends that a grant was taken back.
    pub fn revoke(&mut self, at: Timestamp, grant: GrantId, reason: Option<String>) -> Result<u64> {
        self.transact(|transaction| {
            let index = append(transaction, at, Event::GrantRevoked { grant, reason })?;
            set_once(transaction, grant, "revoked", index)?;
            Ok(index)
        })
    }

    /// Appends what the token is about to be asked for. Durable when it returns: only then may the token be used.
    pub fn intend(&mut self, at: Timestamp, mut intent: Intent) -> Result<u64> {
        self.transact(|transaction| {
            let grant = intent.grant;
            set_apart(transaction, at, &mut intent)?;
            let index = append(transaction, at, Event::Intent(intent))?;
            set_once(transaction, grant, "intent", index)?;
            Ok(index)
        })
    }
}

fn append(transaction: &Transaction<'_>, at: Timestamp, event: Event) -> Result<u64, LedgerFault> {
    let index = transaction.query_row("SELECT coalesce(max(idx) + 1, 0) FROM entries", [], |row| row.get(0))?;
    let entry = Entry { index, at, event: fitting(event) };
    let text = entry.to_text();
    transaction.execute("INSERT INTO entries (idx, entry) VALUES (?1, ?2)", params![index, text])?;
    tree::append(transaction, index, text.as_bytes())?;
    for digest in digests_of(&entry.event) {
        find_by(transaction, digest, index)?;
    }
    if let Some(grant) = entry.event.grant() {
        let values = params![grant.hex(), index];
        transaction.execute("INSERT INTO grant_entries (grant_id, idx) VALUES (?1, ?2)", values)?;
    }
    if let Some(intent) = entry.event.follows() {
        let of_intent = "SELECT grant_id, ?2 FROM grants WHERE intent = ?1";
        let insert = format!("INSERT INTO grant_entries (grant_id, idx) {of_intent}");
        transaction.execute(&insert, params![intent, index])?;
    }
    if let Event::Outcome { intent, result: RunResult::Signed { .. }, .. } = &entry.event {
        transaction.execute("UPDATE grants SET signed = ?1 WHERE intent = ?2", params![index, intent])?;
    }
    if let Event::Released { intent, .. } = &entry.event {
        transaction.execute("UPDATE grants SET released = ?1 WHERE intent = ?2", params![index, intent])?;
    }
    if let Event::Pushed { intent, .. } = &entry.event {
        transaction.execute("UPDATE grants SET pushed = ?1 WHERE intent = ?2", params![index, intent])?;
    }
    Ok(index)
}

/// A grant is accepted once and intended once.
fn set_once(
    transaction: &Transaction<'_>,
    grant: GrantId,
    column: &'static str,
    index: u64,
) -> Result<(), LedgerFault> {
    // A grant that was taken back is closed at once, for a process too that looked before.
    let update =
        format!("UPDATE grants SET {column} = ?1 WHERE grant_id = ?2 AND {column} IS NULL AND revoked IS NULL");
    if transaction.execute(&update, params![index, grant.hex()])? == 1 {
        return Ok(());
    }
    let revoked = "SELECT revoked IS NOT NULL FROM grants WHERE grant_id = ?1";
    match transaction.query_row(revoked, [grant.hex()], |row| row.get(0)).optional()? {
        Some(true) => Err(LedgerFault::Revoked(grant)),
        _ => Err(LedgerFault::UnknownGrant(grant)),
    }
}

/// The digests by which an entry is found again: those of what is to be signed.
pub(super) fn digests_of(event: &Event) -> BTreeSet<Sha256> {
    match event {
        Event::Intent(intent) => intent.artifacts.values().copied().chain([intent.sums]).collect(),
        Event::Artifacts { artifacts, .. } => artifacts.values().copied().collect(),
        _ => BTreeSet::new(),
    }
}

/// Two artifacts with the same bytes have one digest, and their signatures too.
pub(super) fn find_by(transaction: &Transaction<'_>, digest: Sha256, index: u64) -> Result<(), LedgerFault> {
    let mut insert = transaction.prepare_cached("INSERT OR IGNORE INTO digests (digest, idx) VALUES (?1, ?2)")?;
    insert.execute(params![digest.to_string(), index])?;
    Ok(())
}

/// What an entry can hold of an event whose size others decide: of a refusal, the beginning of its reason and the first
/// differences.
fn fitting(event: Event) -> Event {
    let Event::EvidenceRefused { grant, mut reason, mut differences } = event else { return event };
    if reason.len() > LONGEST_REASON {
        let end = (0..=LONGEST_REASON).rev().find(|end| reason.is_char_boundary(*end)).unwrap_or(0);
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
    Event::EvidenceRefused { grant, reason, differences }
}

/// Gives the artifacts of an intent entries of their own, if its own cannot hold them.
fn set_apart(transaction: &Transaction<'_>, at: Timestamp, intent: &mut Intent) -> Result<(), LedgerFault> {
    if json_size(&intent.artifacts) <= MOST_OF_AN_ENTRY {
        return Ok(());
    }
    let (mut part, mut size) = (BTreeMap::new(), 0);
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
    for artifacts in parts {
        let index = append(transaction, at, Event::Artifacts { grant: intent.grant, artifacts })?;
        intent.artifacts_from.get_or_insert(index);
    }
    Ok(())
}

fn json_size(value: &impl serde::Serialize) -> usize {
    serde_json::to_string(value).expect("names and digests can be written as JSON").len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tlog::note::SignerKey;

    fn time() -> Timestamp {
        Timestamp::from_unix(0)
    }

    /// Whoever takes a grant back does not wait for a run that looked before.
    #[test]
    fn nothing_is_accepted_or_intended_under_a_grant_that_was_taken_back() {
        let (_folder, mut ledger) = Ledger::example();
        let grant = GrantId::of(b"g");
        ledger.issue(time(), grant, &"foo".parse().expect("a name"), Event::example_grant(grant)).expect("issued");
        ledger.revoke(time(), grant, None).expect("revoked");
        let accepted = ledger.accept(time(), grant, Scheme::OpenPgp, [].into(), Sha256::of(b"m"));
        assert!(matches!(accepted.map_err(|error| error.fault), Err(LedgerFault::Revoked(id)) if id == grant));
        let intended = ledger.intend(time(), Intent::example());
        assert!(matches!(intended.map_err(|error| error.fault), Err(LedgerFault::Revoked(id)) if id == grant));
        assert_eq!(ledger.size().expect("asked"), 2, "nothing of it is logged");
    }

    #[test]
    fn an_intent_of_more_than_an_entry_holds_is_found_whole() {
        let (_folder, mut ledger) = Ledger::example();
        let key = SignerKey::generate("example.org/log").expect("a key").public();
        ledger.begin(time(), &key).expect("begun");
        ledger.begin(time(), &key).expect("begun already");
        let grant = GrantId::of(b"g");
        ledger.issue(time(), grant, &"foo".parse().expect("a name"), Event::example_grant(grant)).expect("issued");
        let name = |n: u32| format!("{n:0>200}").parse().expect("a name");
        let artifacts = (0..10_000).map(|n| (name(n), Sha256::of(&n.to_be_bytes()))).collect();
        let intent = Intent { artifacts, ..Intent::example() };
        let index = ledger.intend(time(), intent.clone()).expect("intended");
        assert!((50..70).contains(&index), "{index}");
        let (found, whole) = ledger.intent(grant).expect("asked").expect("there");
        assert_eq!((found, &whole.artifacts, whole.artifacts_from), (index, &intent.artifacts, Some(2)));
        let [of_one] = ledger.speaking_of(Sha256::of(&7_000_u32.to_be_bytes())).expect("asked")[..] else {
            panic!("one entry speaks of each")
        };
        assert!((2..index).contains(&of_one));
        assert_eq!(ledger.speaking_of(intent.sums).expect("asked"), [index]);
        ledger.verify(&key, &[]).expect("as it was logged");
        for index in 0..=index {
            assert!(ledger.text(index).expect("an entry").len() <= LARGEST_ENTRY);
        }
    }

    #[test]
    fn a_refusal_of_any_length_fits_an_entry() {
        let (_folder, mut ledger) = Ledger::example();
        let name = |n: u32| format!("{n:0>200}").parse().expect("a name");
        let builders: BTreeMap<BuilderName, _> = [("m1".parse().expect("a name"), Some(Sha256::of(b"e")))].into();
        let differences = (0..10_000).map(|n| (name(n), builders.clone())).collect();
        let event = Event::EvidenceRefused { grant: GrantId::of(b"g"), reason: "\u{1}é".repeat(50_000), differences };
        let index = ledger.append(time(), event).expect("appended");
        match ledger.known(index).expect("there").event {
            Event::EvidenceRefused { reason, differences, .. } => {
                assert!(reason.ends_with('…') && differences.contains_key(&name(0)) && differences.len() > 50);
            }
            other => panic!("{other:?}"),
        }
        let event = Event::GrantRevoked { grant: GrantId::of(b"g"), reason: Some("x".repeat(LARGEST_ENTRY)) };
        assert!(matches!(ledger.append(time(), event).map_err(|error| error.fault), Err(LedgerFault::TooLarge { .. })));
        assert_eq!(ledger.size().expect("asked"), 1, "nothing of it is left");
    }
}
