//! The check of a whole ledger: every hash and every row is computed again from the entries, in one
//! pass that keeps no more than one hash for each level of the tree.

use std::collections::BTreeSet;

use rusqlite::types::ValueRef;
use rusqlite::{OptionalExtension, ToSql};

use super::about;
use super::append::digests_of;
use super::error::BadLog;
use super::newest;
use super::pass::Pass;
use super::schema;
use super::store::{Ledger, Result};
use crate::domain::digest::{GrantId, Sha256};
use crate::domain::event::{Entry, Event, RunResult};
use crate::domain::reserved::WITHDRAWAL;
use crate::domain::time::Timestamp;
use crate::tlog::checkpoint::Checkpoint;
use crate::tlog::note::VerifierKey;
use crate::tlog::tree::{Hash, first_hash};

impl Ledger {
    /// Computes everything again from the entries: the tree's hashes, the tables beside them, and
    /// the root hashes of `kept`, checkpoints by the log's `key` with their names. Returns a
    /// checkpoint of the log as it is now.
    pub fn verify(
        &self,
        key: &VerifierKey,
        kept: &[(String, Checkpoint)],
    ) -> Result<Checkpoint, BadLog> {
        self.in_one_state(|| {
            let check = Check {
                ledger: self,
                digests: 0,
                newest: None,
                backwards: 0,
                intent: None,
            };
            match check.run(key, kept) {
                // Of a table that is not there nothing can be read.
                Err(unread @ BadLog::Ledger(_)) => self.check_structure().and(Err(unread)),
                // An entry that was changed is the better report.
                Err(changed) => Err(changed),
                Ok(head) => self.check_structure().map(|()| head),
            }
        })
    }

    fn check_structure(&self) -> Result<(), BadLog> {
        match schema::difference(&self.database)? {
            None => Ok(()),
            Some(what) => Err(BadLog::Changed(format!(
                "the structure of the database is not as countersign made it: {what}"
            ))),
        }
    }
}

struct Check<'a> {
    ledger: &'a Ledger,
    /// How many rows of the table `digests` the entries account for.
    digests: i64,
    /// The newest time so far.
    newest: Option<Timestamp>,
    /// How many rows of the table `backwards` the entries account for.
    backwards: i64,
    /// The intent that was looked up last.
    intent: Option<Announced>,
}

/// What an intent asks the token for.
struct Announced {
    index: u64,
    grant: GrantId,
    files: BTreeSet<String>,
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
        let rows = format!("SELECT {} FROM about ORDER BY idx", about::Row::COLUMNS);
        let mut rows = database.prepare(&rows)?;
        let mut rows = rows.query_map([], about::Row::read)?.peekable();
        let mut pass = Pass::begin(key, kept)?;
        while let Some(row) = entries.next()? {
            let index = pass.next();
            let text = text_at(row, index)?;
            for (number, hash) in (first_hash(index)..).zip(pass.push(&text)) {
                match hashes.next()?.map(hash_of).transpose()? {
                    Some(found) if found == (number, Some(hash)) => {}
                    None => {
                        return Err(BadLog::Changed(format!(
                            "entry {index} was not written by countersign: the tree has no hash \
                             of it"
                        )));
                    }
                    Some(_) if number == first_hash(index) => return Err(BadLog::altered(index)),
                    Some(_) => {
                        return Err(BadLog::Changed(format!(
                            "hash {number} of the tree, kept with entry {index}, does not match \
                             the entries"
                        )));
                    }
                }
            }
            let entry = pass.entry(&text)?;
            let row = rows.next_if(|row| row.as_ref().is_ok_and(|row| row.index == index));
            self.row(&entry, row.transpose()?)?;
            self.entry(&entry)?;
        }
        if hashes.next()?.is_some() {
            let index = pass.next();
            return Err(BadLog::Changed(format!(
                "entry {index} is missing: the tree has a hash of it"
            )));
        }
        if let Some(row) = rows.next().transpose()? {
            return Err(BadLog::table(row.index, "about"));
        }
        let head = pass.end()?;
        self.chains()?;
        if self.count("SELECT count(*) FROM backwards", &[])? != self.backwards {
            return Err(BadLog::Changed(
                "the table `backwards` has a row that no entry accounts for".to_owned(),
            ));
        }
        self.asked()?;
        self.signatures()?;
        self.digests()?;
        Ok(head)
    }

    /// The row that leads to the entry; none, if it is about no grant.
    fn row(&mut self, entry: &Entry, found: Option<about::Row>) -> Result<(), BadLog> {
        let wrong = || BadLog::table(entry.index, "about");
        let grant = match entry.event.follows() {
            Some(intent) => Some(self.intent(intent)?.ok_or_else(wrong)?.grant),
            None => entry.event.grant(),
        };
        let next = found.as_ref().and_then(about::Row::next);
        if found == grant.map(|grant| about::Row::of(entry, grant, next)) {
            Ok(())
        } else {
            Err(wrong())
        }
    }

    /// Each row names the next of its grant.
    fn chains(&self) -> Result<(), BadLog> {
        let query = "SELECT idx FROM about AS it WHERE next IS NOT
            (SELECT min(idx) FROM about WHERE grant_id = it.grant_id AND idx > it.idx) LIMIT 1";
        let wrong = self
            .ledger
            .database
            .query_row(query, [], |row| row.get(0))
            .optional()?;
        wrong.map_or(Ok(()), |index| Err(BadLog::table(index, "about")))
    }

    /// What the other tables must have because of one entry.
    fn entry(&mut self, entry: &Entry) -> Result<(), BadLog> {
        let index = entry.index;
        if let Event::Outcome {
            intent,
            result: RunResult::Signed { .. },
            ..
        } = entry.event
        {
            self.all_signed(index, intent)?;
        }
        if let Some(at) = newest::row_of(entry, self.newest) {
            let query = "SELECT count(*) FROM backwards WHERE idx = ?1 AND newest = ?2";
            if self.count(query, &[&index, &at.unix()])? != 1 {
                return Err(BadLog::table(index, "backwards"));
            }
            self.backwards += 1;
        }
        self.newest = newest::after(entry, self.newest).into();
        for digest in digests_of(&entry.event) {
            self.has_digest(digest, index)?;
            self.digests += 1;
        }
        Ok(())
    }

    /// A run that ended well has every signature.
    fn all_signed(&mut self, index: u64, intent: u64) -> Result<(), BadLog> {
        let wanted = self.intent(intent)?.map_or(0, |intent| intent.files.len());
        let query = "SELECT count(*) FROM signatures WHERE intent = ?1";
        if self.count(query, &[&intent])? == i64::try_from(wanted).expect("few files") {
            Ok(())
        } else {
            Err(BadLog::table(index, "signatures"))
        }
    }

    /// Whether the entry at `index` asks for the signature of a statement.
    fn withdraws(&self, index: u64) -> Result<bool, BadLog> {
        let entry = self.ledger.entry(index)?;
        Ok(entry.is_some_and(|entry| matches!(entry.event, Event::Withdrawn { .. })))
    }

    /// The token was asked for intents alone, and for none that was replaced; and it was asked
    /// whenever it signed.
    fn asked(&self) -> Result<(), BadLog> {
        let query = "SELECT intent FROM asked AS it WHERE NOT EXISTS
                (SELECT 1 FROM about WHERE idx = it.intent AND milestone = 'intended'
                    AND NOT EXISTS (SELECT 1 FROM about AS later WHERE later.idx > it.intent
                        AND later.milestone = 'intended' AND later.grant_id = about.grant_id))
            UNION SELECT intent FROM signatures JOIN about ON idx = intent
                WHERE milestone = 'intended' AND intent NOT IN (SELECT intent FROM asked)
            LIMIT 1";
        let database = &self.ledger.database;
        let wrong = database.query_row(query, [], |row| row.get(0)).optional()?;
        wrong.map_or(Ok(()), |index| Err(BadLog::table(index, "asked")))
    }

    /// Each signature is of an intent or a withdrawal that requested it.
    fn signatures(&mut self) -> Result<(), BadLog> {
        let query = "SELECT intent, file, signature FROM signatures ORDER BY intent";
        let mut statement = self.ledger.database.prepare(query)?;
        let mut rows = statement.query([])?;
        let mut current = None;
        let mut digests = BTreeSet::new();
        while let Some(row) = rows.next()? {
            let index: u64 = row.get(0)?;
            let file: String = row.get(1)?;
            let signature: String = row.get(2)?;
            if current.replace(index) != Some(index) {
                self.digests += std::mem::take(&mut digests).len() as i64;
            }
            let is_wanted = match self.intent(index)? {
                Some(intent) => intent.files.contains(&file),
                None => file == WITHDRAWAL && self.withdraws(index)?,
            };
            if !is_wanted {
                return Err(BadLog::table(index, "signatures"));
            }
            let digest = Sha256::of(signature.as_bytes());
            self.has_digest(digest, index)?;
            digests.insert(digest);
        }
        self.digests += digests.len() as i64;
        Ok(())
    }

    /// There are no more digests than those of entries and signatures.
    fn digests(&self) -> Result<(), BadLog> {
        match self.count("SELECT count(idx) FROM digests", &[])? - self.digests {
            0 => Ok(()),
            1 => Err(BadLog::Changed(
                "the table `digests` has a row that no entry accounts for".to_owned(),
            )),
            rows => Err(BadLog::Changed(format!(
                "the table `digests` has {rows} rows that no entry accounts for"
            ))),
        }
    }

    /// The intent at `index`, if there is one.
    fn intent(&mut self, index: u64) -> Result<Option<&Announced>, BadLog> {
        if self
            .intent
            .as_ref()
            .is_none_or(|intent| intent.index != index)
        {
            self.intent = match self.ledger.entry(index)?.map(|entry| entry.event) {
                Some(Event::Intent(_)) => {
                    let intent = self.ledger.whole_intent(index)?;
                    Some(Announced {
                        index,
                        grant: intent.grant,
                        files: intent.plan().names().map(str::to_owned).collect(),
                    })
                }
                _ => None,
            };
        }
        Ok(self.intent.as_ref())
    }

    fn has_digest(&self, digest: Sha256, index: u64) -> Result<(), BadLog> {
        let query = "SELECT 1 FROM digests WHERE digest = ?1 AND idx = ?2";
        let mut statement = self.ledger.database.prepare_cached(query)?;
        let values: [&dyn ToSql; 2] = [&digest.to_string(), &index];
        if statement.exists(values)? {
            Ok(())
        } else {
            Err(BadLog::table(index, "digests"))
        }
    }

    fn count(&self, query: &str, values: &[&dyn ToSql]) -> Result<i64, BadLog> {
        let mut statement = self.ledger.database.prepare_cached(query)?;
        Ok(statement.query_row(values, |row| row.get(0))?)
    }
}

/// The text of the next entry, whatever type the value has.
fn text_at(row: &rusqlite::Row<'_>, index: u64) -> Result<Vec<u8>, BadLog> {
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

fn hash_of(row: &rusqlite::Row<'_>) -> rusqlite::Result<(u64, Option<Hash>)> {
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
    use crate::domain::event::Intent;
    use crate::domain::time::Period;
    use crate::ledger::tree;
    use crate::tlog::note::SignerKey;
    use rusqlite::Connection;
    use std::path::Path;

    fn a_key() -> VerifierKey {
        let key = SignerKey::generate("example.org/log").expect("a key");
        key.public()
    }

    /// A ledger with a release under a grant that was revoked afterwards: entries 1 to 7.
    fn released(at: Timestamp, key: &VerifierKey) -> (tempfile::TempDir, Ledger) {
        let (folder, mut ledger) = Ledger::example();
        // The clock goes back once.
        let later = at.after(Period::seconds(1)).expect("a time");
        ledger.begin(later, key).expect("begun");
        let grant = GrantId::of(b"g");
        let intent = 3;
        let sums = Sha256::of(b"s");
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
            Event::Released {
                intent,
                sums,
                to_push: true,
            },
            Event::Pushed { intent },
            Event::GrantRevoked {
                grant,
                reason: None,
            },
        ] {
            match event {
                Event::Released { .. } | Event::Pushed { .. } => {
                    ledger.append_in(at, event, Path::new("folder"))
                }
                event => ledger.append(at, event),
            }
            .expect("appended");
        }
        ledger.mark_asked(intent).expect("marked");
        ledger.mark_anchored("anchor").expect("marked");
        for file in Intent::example().plan().names() {
            ledger
                .keep_signature(intent, file, &format!("that of {file}"))
                .expect("kept");
        }
        (folder, ledger)
    }

    /// Not by accident, and not unnoticed where somebody drops the triggers. The tables are read
    /// from the database, so a new one needs triggers too.
    #[test]
    fn no_row_is_changed_removed_or_replaced() {
        let key = a_key();
        let (folder, ledger) = released(Timestamp::from_unix(0), &key);
        // As any other program that opens the file.
        let other = Connection::open(folder.path().join("ledger.sqlite")).expect("opened");
        let names = |query: &str| -> Vec<String> {
            let mut statement = other.prepare(query).expect("SQL");
            let names = statement.query_map([], |row| row.get(0)).expect("names");
            names.collect::<Result<_, _>>().expect("names")
        };
        let tables = names("SELECT name FROM sqlite_master WHERE type = 'table'");
        let mut changes = Vec::new();
        for table in &tables {
            let columns = |of: &str| {
                let query = format!("SELECT name FROM pragma_table_info('{table}') WHERE {of}");
                names(&query)
            };
            let changed = |column: &str| {
                format!(
                    "CASE typeof({column}) WHEN 'integer' THEN {column} + 1000
                        WHEN 'blob' THEN zeroblob(32) ELSE {column} || 'x' END"
                )
            };
            changes.push((table, "removed", format!("DELETE FROM {table}")));
            for column in columns("true") {
                let value = changed(&column);
                let change =
                    format!("UPDATE {table} SET {column} = {value} WHERE {column} IS NOT NULL");
                changes.push((table, "changed", change));
            }
            for column in columns("pk = 0") {
                let mut values = columns("true");
                let at = values.iter().position(|it| *it == column);
                values[at.expect("one of them")] = changed(&column);
                let change = format!(
                    "INSERT OR REPLACE INTO {table} SELECT {} FROM {table}
                        WHERE {column} IS NOT NULL",
                    values.join(", ")
                );
                changes.push((table, "replaced", change));
            }
        }
        for (table, what, change) in &changes {
            let said = other.execute(change, []).expect_err(change).to_string();
            let noun = match table.as_str() {
                "about" => "rows of entries",
                table => table,
            };
            assert_eq!(said, format!("{noun} are never {what}"), "{change}");
        }
        ledger.verify(&key, &[]).expect("as it was logged");

        for trigger in names("SELECT name FROM sqlite_master WHERE type = 'trigger'") {
            let drop = format!("DROP TRIGGER {trigger}");
            ledger.database.execute_batch(&drop).expect("dropped");
        }
        let structure = "the structure of the database is not as countersign made it: trigger";
        let said = ledger.verify(&key, &[]).expect_err("dropped").to_string();
        assert!(said.starts_with(structure), "{said}");
        // Where a release is follows from nothing: what is read there is verified. And which
        // anchors have a checkpoint, the log does not say.
        let follows = |it: &str| !["places", "anchored"].contains(&it);
        for (table, _, change) in changes.into_iter().filter(|(it, ..)| follows(it)) {
            let keep = format!("CREATE TEMP TABLE kept AS SELECT * FROM {table}");
            ledger.database.execute_batch(&keep).expect("kept");
            assert_ne!(ledger.database.execute(&change, []).expect(&change), 0);
            let said = ledger.verify(&key, &[]).expect_err(&change).to_string();
            assert!(!said.starts_with(structure), "{change}: {said}");
            let undo = format!(
                "DELETE FROM {table}; INSERT INTO {table} SELECT * FROM kept; DROP TABLE kept"
            );
            ledger.database.execute_batch(&undo).expect("undone");
        }
    }

    #[test]
    fn each_row_about_a_grant_is_compared_with_its_entry() {
        let key = a_key();
        let (_folder, ledger) = released(Timestamp::from_unix(0), &key);
        ledger.verify(&key, &[]).expect("as it was logged");
        let prepare = "DROP TRIGGER about_stay; DROP TRIGGER about_last; DROP TRIGGER about_once;
            CREATE TEMP TABLE kept AS SELECT * FROM about";
        ledger.database.execute_batch(prepare).expect("prepared");
        for change in [
            "UPDATE about SET milestone = NULL WHERE idx = ?1",
            "UPDATE about SET milestone = 'other' WHERE idx = ?1",
            "UPDATE about SET grant_id = 'x' WHERE idx = ?1",
            "UPDATE about SET project = 'bar' WHERE idx = ?1",
            "UPDATE about SET folder = 'bar' WHERE idx = ?1",
            "UPDATE about SET next = 1 WHERE idx = ?1",
            "UPDATE about SET idx = 100 WHERE idx = ?1",
            "DELETE FROM about WHERE idx = ?1",
        ] {
            for index in 1..=7 {
                assert_eq!(ledger.database.execute(change, [index]).expect(change), 1);
                let error = ledger.verify(&key, &[]).expect_err(change).to_string();
                assert_eq!(error, format!("entry {index} and the table `about` differ"));
                ledger.grant(GrantId::of(b"g")).expect_err(change);
                let undo = "DELETE FROM about; INSERT INTO about SELECT * FROM kept";
                ledger.database.execute_batch(undo).expect("undone");
            }
        }
    }

    /// Its hashes are right, but there is no intent that it could follow.
    #[test]
    fn an_entry_that_follows_no_intent_is_found() {
        let at = Timestamp::from_unix(0);
        let key = a_key();
        let (_folder, ledger) = released(at, &key);
        let event = Event::Pushed { intent: 0 };
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
        assert_eq!(error, "entry 8 and the table `about` differ");
    }
}
