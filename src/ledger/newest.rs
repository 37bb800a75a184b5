//! The newest time in the log. What is signed or accepted depends on the clock, and a clock that
//! was set back is noticed by this.
//!
//! The time of the last entry is the newest, unless the clock went back: for an entry that is
//! before an earlier one, the table `backwards` has the newest time up to it. Where it is
//! acknowledged that the clock had run ahead, the newest time begins anew.

use rusqlite::{Connection, OptionalExtension, params};

use super::error::LedgerError;
use super::store::{Ledger, Result};
use super::tree;
use crate::domain::event::{Entry, Event};
use crate::domain::time::{Period, Timestamp};

/// How far the clock may be behind the log where it matters.
const TOLERANCE: Period = Period::seconds(600);

impl Ledger {
    /// The newest time in the log; `None` if it has no entries.
    pub fn newest(&self) -> Result<Option<Timestamp>> {
        self.in_one_state(|| before(&self.database, self.size()?))
    }

    /// Refuses a time that is too far behind the log.
    pub fn check_clock(&self, now: Timestamp) -> Result<()> {
        check(&self.database, now)
    }
}

pub(super) fn check(database: &Connection, now: Timestamp) -> Result<()> {
    match before(database, tree::size(database)?)? {
        Some(newest) if now.after(TOLERANCE).is_some_and(|end| end < newest) => {
            Err(LedgerError::ClockBehind { now, newest })
        }
        _ => Ok(()),
    }
}

/// Writes the row of an entry that was just appended, if it needs one.
pub(super) fn append(database: &Connection, entry: &Entry) -> Result<()> {
    if let Some(newest) = row_of(entry, before(database, entry.index)?) {
        let mut insert =
            database.prepare_cached("INSERT INTO backwards (idx, newest) VALUES (?1, ?2)")?;
        insert.execute(params![entry.index, newest.unix()])?;
    }
    Ok(())
}

/// What the table must have for an entry, by the newest time before it.
pub(super) fn row_of(entry: &Entry, newest: Option<Timestamp>) -> Option<Timestamp> {
    match entry.event {
        Event::ClockAcknowledged { .. } => Some(entry.at),
        _ => newest.filter(|newest| entry.at < *newest),
    }
}

/// The newest time with an entry, by the newest time before it.
pub(super) fn after(entry: &Entry, newest: Option<Timestamp>) -> Timestamp {
    row_of(entry, newest).unwrap_or(entry.at)
}

/// The newest time of the entries before `index`.
fn before(database: &Connection, index: u64) -> Result<Option<Timestamp>> {
    let Some(last) = index.checked_sub(1) else {
        return Ok(None);
    };
    let mut query = database
        .prepare_cached("SELECT newest FROM backwards WHERE idx <= ?1 ORDER BY idx DESC LIMIT 1")?;
    let kept = query.query_row([last], |row| row.get(0)).optional()?;
    let mut query =
        database.prepare_cached("SELECT substr(entry, 1, 60) FROM entries WHERE idx = ?1")?;
    let text: String = query.query_row([last], |row| row.get(0))?;
    Ok(time_of(&text).max(kept.map(Timestamp::from_unix)))
}

/// The time in the beginning of an entry's text, which has one form.
fn time_of(text: &str) -> Option<Timestamp> {
    let (_, rest) = text.split_once("\"at\":\"")?;
    rest.split('"').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::digest::GrantId;
    use crate::ledger::LedgerError;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix(1_800_000_000 + seconds)
    }

    fn revoked(grant: &[u8]) -> Event {
        Event::GrantRevoked {
            grant: GrantId::of(grant),
            reason: None,
        }
    }

    /// Whatever came since: a clock that ran ahead is not forgotten, until somebody says so.
    #[test]
    fn a_clock_that_was_set_back_is_noticed() {
        let (_folder, mut ledger) = Ledger::example();
        let newest = |ledger: &Ledger| ledger.newest().expect("asked");
        assert_eq!(newest(&ledger), None);
        ledger.check_clock(at(0)).expect("no entry yet");
        for (number, seconds) in [0, 5, 4, 10_000, 20, 30].into_iter().enumerate() {
            let grant = number.to_be_bytes();
            let issued = Event::example_grant(GrantId::of(&grant));
            ledger.append(at(seconds), issued).expect("appended");
            let expected = [0, 5, 5, 10_000, 10_000, 10_000][number];
            assert_eq!(newest(&ledger), Some(at(expected)), "{number}");
        }
        ledger.check_clock(at(9_400)).expect("within ten minutes");
        let behind = ledger.check_clock(at(9_399));
        assert!(
            matches!(behind, Err(LedgerError::ClockBehind { .. })),
            "{behind:?}"
        );
        let grant = 0_usize.to_be_bytes();
        let acceptance = || Event::example_acceptance(GrantId::of(&grant));
        let accepted = ledger.append(at(40), acceptance());
        assert!(
            matches!(accepted, Err(LedgerError::ClockBehind { .. })),
            "{accepted:?}"
        );
        ledger
            .append(at(40), revoked(&1_usize.to_be_bytes()))
            .expect("whatever the clock");
        let acknowledged = Event::ClockAcknowledged {
            newest: at(10_000),
            reason: "it ran ahead".to_owned(),
        };
        ledger.append(at(41), acknowledged).expect("appended");
        assert_eq!(newest(&ledger), Some(at(41)));
        ledger.append(at(42), acceptance()).expect("appended");
        assert_eq!(newest(&ledger), Some(at(42)));
    }
}
