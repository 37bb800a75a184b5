//! The check of a whole ledger: every hash and every table is computed again from the entries, in
//! one pass that keeps no more than one hash for each level of the tree.

use std::collections::BTreeSet;

use rusqlite::types::ValueRef;
use rusqlite::{OptionalExtension, Row, ToSql};

use super::append::digests_of;
use super::grants::Column;
use super::pass::Pass;
use super::{BadLog, Ledger, Result, schema};
use crate::domain::digest::Sha256;
use crate::domain::event::{Entry, Event, Intent, RunResult};
use crate::tlog::checkpoint::Checkpoint;
use crate::tlog::note::VerifierKey;
use crate::tlog::tree::{Hash, first_hash};

impl Ledger {
    /// Computes everything again from the entries: the tree's hashes, the tables beside them, and
    /// the root hashes of `kept`, checkpoints by the log's `key` with their names. Returns what a
    /// checkpoint says of it now.
    pub fn verify(
        &self,
        key: &VerifierKey,
        kept: &[(String, Checkpoint)],
    ) -> Result<Checkpoint, BadLog> {
        self.in_one_state(|| {
            let head = Check {
                ledger: self,
                counts: Counts::default(),
            }
            .run(key, kept)?;
            // Last: which entry was changed says more.
            schema::check(self)?;
            Ok(head)
        })
    }
}

/// How many rows the entries account for.
#[derive(Default)]
struct Counts {
    columns: [i64; Column::ALL.len()],
    grant_entries: i64,
    digests: i64,
}

struct Check<'a> {
    ledger: &'a Ledger,
    counts: Counts,
}

impl Check<'_> {
    fn run(
        mut self,
        key: &VerifierKey,
        kept: &[(String, Checkpoint)],
    ) -> Result<Checkpoint, BadLog> {
        let database = &self.ledger.database;
        let mut entries = database.prepare("SELECT idx, entry FROM entries ORDER BY idx")?;
        let mut entries = entries.query([])?;
        let mut hashes = database.prepare("SELECT number, hash FROM hashes ORDER BY number")?;
        let mut hashes = hashes.query([])?;
        let mut pass = Pass::begin(key, kept)?;
        while let Some(row) = entries.next()? {
            let index = pass.next();
            let text = text_at(row, index)?;
            for (number, hash) in (first_hash(index)..).zip(pass.push(&text)) {
                let found = hashes.next()?.map(hash_of).transpose()?;
                match found {
                    Some(found) if found == (number, Some(hash)) => {}
                    None => {
                        return Err(BadLog::Changed(format!(
                            "entry {index} was not written by countersign: the tree has no hash of it"
                        )));
                    }
                    Some(_) if number == first_hash(index) => return Err(BadLog::altered(index)),
                    Some(_) => {
                        return Err(BadLog::Changed(format!(
                            "hash {number} of the tree, kept with entry {index}, does not match the entries"
                        )));
                    }
                }
            }
            self.entry(&pass.entry(&text)?)?;
        }
        if hashes.next()?.is_some() {
            return Err(BadLog::Changed(format!(
                "entry {} is missing: the tree has a hash of it",
                pass.next()
            )));
        }
        let head = pass.end()?;
        self.signatures()?;
        self.surplus()?;
        Ok(head)
    }

    /// What the tables must say because of one entry.
    fn entry(&mut self, entry: &Entry) -> Result<(), BadLog> {
        let index = entry.index;
        let event = &entry.event;
        let grant = match event.follows() {
            Some(intent) => self.intent(intent)?.map(|it| it.grant),
            None => event.grant(),
        };
        if let Some(grant) = grant {
            self.must(
                index,
                "grant_entries",
                "grant_id = ?1 AND idx = ?2",
                &[&grant.hex(), &index],
            )?;
            self.counts.grant_entries += 1;
        }
        if let Some(column) = Column::told_by(event) {
            let grant = grant.ok_or(BadLog::table(index, "grants"))?;
            let row = format!("grant_id = ?1 AND {} = ?2", column.name());
            self.must(index, "grants", &row, &[&grant.hex(), &index])?;
            self.counts.columns[column as usize] += 1;
        }
        if let Event::GrantIssued { grant, project, .. } = event {
            self.must(
                index,
                "grants",
                "grant_id = ?1 AND project = ?2",
                &[&grant.hex(), &project.as_str()],
            )?;
        }
        if let Event::Outcome {
            intent,
            result: RunResult::Signed { .. },
            ..
        } = event
        {
            self.all_signed(index, *intent)?;
        }
        for digest in digests_of(&entry.event) {
            self.must(
                index,
                "digests",
                "digest = ?1 AND idx = ?2",
                &[&digest.to_string(), &index],
            )?;
            self.counts.digests += 1;
        }
        Ok(())
    }

    /// A run that ended well has every signature.
    fn all_signed(&self, index: u64, intent: u64) -> Result<(), BadLog> {
        let wanted = self
            .intent(intent)?
            .map_or(0, |intent| intent.asked_files().count());
        let query = "SELECT count(*) FROM signatures WHERE intent = ?1";
        match self.count(query, &[&intent])? == i64::try_from(wanted).expect("few files") {
            true => Ok(()),
            false => Err(BadLog::table(index, "signatures")),
        }
    }

    /// Each signature belongs to an intent that asked for it.
    fn signatures(&mut self) -> Result<(), BadLog> {
        let query = "SELECT intent, file, signature FROM signatures ORDER BY intent";
        let mut statement = self.ledger.database.prepare(query)?;
        let mut rows = statement.query([])?;
        let mut current: Option<(u64, BTreeSet<String>)> = None;
        let mut digests = BTreeSet::new();
        while let Some(row) = rows.next()? {
            let index: u64 = row.get(0)?;
            let file: String = row.get(1)?;
            let signature: String = row.get(2)?;
            if current.as_ref().is_none_or(|(of, _)| *of != index) {
                let files = self
                    .intent(index)?
                    .map(|intent| intent.asked_files().map(str::to_owned).collect())
                    .unwrap_or_default();
                current = Some((index, files));
                self.counts.digests += std::mem::take(&mut digests).len() as i64;
            }
            if !current
                .as_ref()
                .is_some_and(|(_, files)| files.contains(&file))
            {
                return Err(BadLog::table(index, "signatures"));
            }
            let digest = Sha256::of(signature.as_bytes()).to_string();
            self.must(
                index,
                "digests",
                "digest = ?1 AND idx = ?2",
                &[&digest, &index],
            )?;
            digests.insert(digest);
        }
        self.counts.digests += digests.len() as i64;
        Ok(())
    }

    /// No table says more than the entries.
    fn surplus(&self) -> Result<(), BadLog> {
        for column in Column::ALL {
            self.no_more(
                "grants",
                column.name(),
                self.counts.columns[column as usize],
            )?;
        }
        self.no_more("grant_entries", "idx", self.counts.grant_entries)?;
        self.no_more("digests", "idx", self.counts.digests)
    }

    /// A table has something in a column so many times, and no more.
    fn no_more(&self, table: &'static str, column: &str, known: i64) -> Result<(), BadLog> {
        match self.count(&format!("SELECT count({column}) FROM {table}"), &[])? - known {
            0 => Ok(()),
            rows => Err(BadLog::Changed(format!(
                "table `{table}` has {rows} rows that no entry accounts for"
            ))),
        }
    }

    /// The intent that others speak of, if there is one.
    fn intent(&self, index: u64) -> Result<Option<Intent>, BadLog> {
        match self.ledger.entry(index)? {
            Some(Entry {
                event: Event::Intent(_),
                ..
            }) => Ok(Some(self.ledger.whole_intent(index)?)),
            _ => Ok(None),
        }
    }

    fn must(
        &self,
        index: u64,
        table: &'static str,
        row: &str,
        values: &[&dyn ToSql],
    ) -> Result<(), BadLog> {
        let query = format!("SELECT 1 FROM {table} WHERE {row}");
        let mut statement = self.ledger.database.prepare_cached(&query)?;
        match statement.query_row(values, |_| Ok(())).optional()? {
            Some(()) => Ok(()),
            None => Err(BadLog::table(index, table)),
        }
    }

    fn count(&self, query: &str, values: &[&dyn ToSql]) -> Result<i64, BadLog> {
        Ok(self
            .ledger
            .database
            .prepare_cached(query)?
            .query_row(values, |row| row.get(0))?)
    }
}

/// The text of the entry that must be the next, whatever type somebody gave it.
fn text_at(row: &Row<'_>, index: u64) -> Result<Vec<u8>, BadLog> {
    match row.get_ref_unwrap(0) {
        ValueRef::Integer(found) if u64::try_from(found) == Ok(index) => {}
        ValueRef::Integer(found) if u64::try_from(found).is_ok_and(|found| found > index) => {
            return Err(BadLog::missing(index));
        }
        ValueRef::Integer(found) => {
            return Err(BadLog::Changed(format!(
                "entry {found} was not written by countersign: it has no place in the log"
            )));
        }
        _ => return Err(BadLog::missing(index)),
    }
    match row.get_ref_unwrap(1) {
        ValueRef::Text(text) => Ok(text.to_vec()),
        _ => Err(BadLog::altered(index)),
    }
}

fn hash_of(row: &Row<'_>) -> rusqlite::Result<(u64, Option<Hash>)> {
    let bytes = match row.get_ref(1)? {
        ValueRef::Blob(bytes) => bytes.try_into().ok(),
        _ => None,
    };
    // A number below 0 is never the next one.
    Ok((
        row.get::<_, i64>(0)?.try_into().unwrap_or(u64::MAX),
        bytes.map(Hash),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::digest::GrantId;
    use crate::domain::time::Timestamp;
    use crate::ledger::tree;
    use crate::tlog::note::SignerKey;

    #[test]
    fn each_column_of_a_row_is_compared_with_the_entry_that_tells_it() {
        let (_folder, mut ledger) = Ledger::example();
        let (key, at, grant) = (
            SignerKey::generate("example.org/log")
                .expect("a key")
                .public(),
            Timestamp::from_unix(0),
            GrantId::of(b"g"),
        );
        ledger.begin(at, &key).expect("begun");
        let (intent, sums, folder) = (3, Sha256::of(b"s"), "f".to_owned());
        let released = Event::Released {
            intent,
            sums,
            folder: folder.clone(),
            inbox: None,
        };
        let files: Vec<String> = Intent::example().asked_files().map(str::to_owned).collect();
        for event in [
            Event::example_grant(grant),
            Event::example_acceptance(grant),
            Event::Intent(Intent::example()),
            Event::Outcome {
                intent,
                result: RunResult::Signed {
                    token_signatures: 2,
                },
                card: None,
            },
            released,
            Event::Pushed {
                intent,
                folder: folder.clone(),
            },
            Event::GrantRevoked {
                grant,
                reason: None,
            },
        ] {
            ledger.append(at, event).expect("appended");
        }
        files.iter().for_each(|file| {
            ledger
                .keep_signature(intent, file, &format!("that of {file}"))
                .expect("kept")
        });
        ledger.verify(&key, &[]).expect("as it was logged");
        let change = |ledger: &Ledger, change: &str| {
            assert_eq!(ledger.database.execute(change, []).expect("changed"), 1)
        };
        for (index, column) in (1..).zip(Column::ALL) {
            let name = column.name();
            for other in [0, index + 1] {
                change(&ledger, &format!("UPDATE grants SET {name} = {other}"));
                let error = ledger.verify(&key, &[]).expect_err(name).to_string();
                assert_eq!(
                    error,
                    format!("entry {index} and the table `grants` differ")
                );
            }
            change(&ledger, &format!("UPDATE grants SET {name} = {index}"));
        }
        ledger.verify(&key, &[]).expect("as it was");

        // Appended by somebody who computes the hashes: there is no intent that it could follow.
        let event = Event::Released {
            intent: 0,
            sums,
            folder,
            inbox: None,
        };
        let text = Entry {
            index: 8,
            at,
            event,
        }
        .to_text();
        ledger
            .database
            .execute("INSERT INTO entries VALUES (8, ?1)", [&text])
            .expect("inserted");
        tree::append(&ledger.database, 8, text.as_bytes()).expect("appended");
        let error = ledger.verify(&key, &[]).expect_err("no intent").to_string();
        assert_eq!(error, "entry 8 and the table `grants` differ");
    }
}
