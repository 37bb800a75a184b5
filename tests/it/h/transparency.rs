//! The log is a Merkle tree under a key: a change is detected by anyone who has a
//! checkpoint or a proof.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::common::world::{Build, Granted, Nobody, PATIENT, World, write_private};
use crate::common::{Arguments, copy, copy_tree, listing, tool, tool_refuses, tree};
use countersign::domain::key::HashAlgorithm;
use countersign::domain::signing::Statement;
use countersign::home::Home;
use countersign::openpgp::{HashState, make_release_signature};
use countersign::tlog::tree::{Growing, Hash, first_hash};
use countersign::token;
use rusqlite::{Connection, params};
use serde_json::Value;

impl World {
    fn verify_log(&self) -> crate::common::Run<'_> {
        self.host(&[&"log", &"verify"])
    }

    /// A checkpoint, kept where nobody on the signing host can change it.
    fn checkpoint(&self, name: &str) -> PathBuf {
        let path = self.at(name);
        fs::write(&path, self.host(&[&"log", &"checkpoint"]).ok().stdout).expect("a checkpoint");
        path
    }

    fn export_log(&self) -> PathBuf {
        let folder = self.at("exported");
        self.host(&[&"log", &"export", &folder]).ok();
        folder
    }

    pub(crate) fn log_key(&self) -> String {
        self.logged("log-created")[0]["key"]
            .as_str()
            .expect("a key")
            .to_owned()
    }

    /// Changes the ledger's database, with nothing in it that would stop us meanwhile.
    fn tamper<T>(&self, change: impl FnOnce(&Connection) -> T) -> T {
        let database = self.database();
        let mut triggers = database
            .prepare("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
            .expect("SQL");
        let triggers = triggers
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .expect("triggers");
        let triggers: Vec<(String, String)> =
            triggers.collect::<Result<_, _>>().expect("names and texts");
        assert_eq!(triggers.len(), 26);
        for (name, _) in &triggers {
            database
                .execute_batch(&format!("DROP TRIGGER {name}"))
                .expect("it is there");
        }
        let done = change(&database);
        triggers
            .iter()
            .for_each(|(_, sql)| database.execute_batch(sql).expect("it is put back"));
        done
    }

    /// As [`World::tamper`], by somebody who knows how a ledger is made: one text of an entry is
    /// another, and every hash anew.
    fn rewrite(&self, index: u64, from: &str, to: &str) {
        self.tamper(|database| {
            let altered = text(database, index).replace(from, to);
            assert_ne!(altered, text(database, index));
            replace(database, index, &altered);
        });
    }

    /// The ledger as it is now, in a folder of its own.
    fn copy_of_ledger(&self) -> PathBuf {
        let folder = self.new_folder("ledger");
        self.files_of_ledger()
            .for_each(|name| copy(&self.home().join(&name), &folder.join(&name)));
        folder
    }

    /// Puts such a copy in the place of the ledger.
    fn restore_ledger(&self, folder: &Path) {
        self.files_of_ledger()
            .for_each(|name| fs::remove_file(self.home().join(name)).expect("the ledger"));
        listing(folder)
            .iter()
            .for_each(|name| copy(&folder.join(name), &self.home().join(name)));
    }

    fn files_of_ledger(&self) -> impl Iterator<Item = String> {
        listing(&self.home())
            .into_iter()
            .filter(|name| name.starts_with("ledger.sqlite"))
    }

    fn database(&self) -> Connection {
        Connection::open(self.home().join("ledger.sqlite")).expect("the ledger")
    }
}

/// Replaces the text of an entry, the folder in its row, and every hash.
fn replace(database: &Connection, index: u64, text: &str) {
    for change in [
        "UPDATE entries SET entry = ?1 WHERE idx = ?2",
        "UPDATE about SET folder = project || '-' || json_extract(?1, '$.version')
            WHERE idx = ?2 AND folder IS NOT NULL",
    ] {
        let changed = database.execute(change, params![text, index]);
        changed.expect("changed");
    }
    rehash(database);
}

/// What somebody does who can write the ledger and knows how it is made: every hash anew.
fn rehash(database: &Connection) {
    database.execute("DELETE FROM hashes", []).expect("deleted");
    let mut entries = database
        .prepare("SELECT entry FROM entries ORDER BY idx")
        .expect("a query");
    let entries = entries
        .query_map([], |row| row.get::<_, String>(0))
        .expect("entries");
    let mut tree = Growing::default();
    for entry in entries {
        let index = tree.size();
        for (number, Hash(hash)) in
            (first_hash(index)..).zip(tree.push(entry.expect("a text").as_bytes()))
        {
            database
                .execute("INSERT INTO hashes VALUES (?1, ?2)", params![number, hash])
                .expect("inserted");
        }
    }
}

fn text(database: &Connection, index: u64) -> String {
    database
        .query_row("SELECT entry FROM entries WHERE idx = ?1", [index], |row| {
            row.get(0)
        })
        .expect("an entry")
}

#[test]
fn the_log_begins_with_its_key_and_verifies_as_it_grows() {
    let world = World::ready();
    let first = &world.log()[0];
    assert_eq!(
        (&first["kind"], &first["origin"]),
        (&"log-created".into(), &"example.org/countersign-log".into())
    );
    let config = fs::read_to_string(world.home().join("config.toml")).expect("the configuration");
    assert!(
        config.contains(&format!("log_key = \"{}\"", world.log_key())),
        "{config}"
    );
    let key = world.home().join("log.key");
    assert_eq!(
        fs::metadata(&key).expect("the key").permissions().mode() & 0o777,
        0o600
    );
    assert!(
        fs::read_to_string(&key)
            .expect("the key")
            .starts_with("PRIVATE+KEY+example.org/countersign-log+")
    );

    let before = world
        .verify_log()
        .ok()
        .says("only a checkpoint or a release kept elsewhere shows that");
    let kept = world.checkpoint("kept");
    world.signed();
    let said = world
        .host(&[&"log", &"verify", &"--json", &"--checkpoint", &kept])
        .ok()
        .json();
    assert_eq!(said["entries"], world.log().len());
    assert_eq!(
        said["checkpoints"][0]["entries"],
        fs::read_to_string(&kept)
            .expect("a note")
            .lines()
            .nth(1)
            .expect("a size")
            .parse::<u64>()
            .expect("a number")
    );
    assert!(
        !before
            .stdout
            .contains(said["root"].as_str().expect("a root")),
        "the root is another one"
    );
}

#[test]
fn each_change_to_an_entry_is_found_and_named() {
    let world = World::ready();
    world.signed();
    let intent = world.logged("intent")[0]["index"]
        .as_u64()
        .expect("an index");
    let sums = world.logged("intent")[0]["sums"]
        .as_str()
        .expect("a digest")
        .to_owned();
    let last = world.log().len() as u64 - 1;
    let whole = world.new_folder("whole");
    copy_tree(&world.home(), &whole);
    let with = |change: &dyn Fn(&Connection)| {
        fs::remove_dir_all(world.home()).expect("the home");
        copy_tree(&whole, &world.home());
        for folder in ["", "grants", "approvals", "nonces", "runs"] {
            let path = world.home().join(folder);
            if path.is_dir() {
                fs::set_permissions(path, fs::Permissions::from_mode(0o700)).expect("its mode");
            }
        }
        world.tamper(change);
        world.verify_log()
    };
    with(&|_| ()).ok();

    // Altered: one letter of what was signed.
    with(&|database| {
        let altered = text(database, intent).replace("foo.txt", "bar.txt");
        database
            .execute(
                "UPDATE entries SET entry = ?1 WHERE idx = ?2",
                params![altered, intent],
            )
            .expect("changed");
    })
    .stops(1, &format!("entry {intent} was altered"));
    // Altered: a space, which means nothing in JSON.
    with(&|database| {
        let altered = text(database, intent).replacen(',', ", ", 1);
        database
            .execute(
                "UPDATE entries SET entry = ?1 WHERE idx = ?2",
                params![altered, intent],
            )
            .expect("changed");
    })
    .stops(1, &format!("entry {intent} was altered"));
    // Removed from the middle, and from the end.
    with(&|database| {
        database
            .execute("DELETE FROM entries WHERE idx = ?1", [intent])
            .expect("deleted");
    })
    .stops(1, &format!("entry {intent} is missing"));
    with(&|database| {
        database
            .execute("DELETE FROM entries WHERE idx = ?1", [last])
            .expect("deleted");
    })
    .stops(
        1,
        &format!("entry {last} is missing: the tree has a hash of it"),
    );
    // Removed, and the others moved up.
    with(&|database| {
        database
            .execute("DELETE FROM entries WHERE idx = ?1", [intent])
            .expect("deleted");
        for index in intent..last {
            database
                .execute("UPDATE entries SET idx = ?1 WHERE idx = ?1 + 1", [index])
                .expect("moved");
        }
    })
    .stops(1, &format!("entry {intent} was altered"));
    // Reordered.
    with(&|database| {
        for (from, to) in [(intent, 1000), (intent - 1, intent), (1000, intent - 1)] {
            database
                .execute("UPDATE entries SET idx = ?2 WHERE idx = ?1", [from, to])
                .expect("moved");
        }
    })
    .stops(1, &format!("entry {} was altered", intent - 1));
    // Appended by somebody who does not know of the tree.
    let append = |database: &Connection| {
        let forged = text(database, last).replace(
            &format!("\"index\":{last}"),
            &format!("\"index\":{}", last + 1),
        );
        database
            .execute(
                "INSERT INTO entries VALUES (?1, ?2)",
                params![last + 1, forged],
            )
            .expect("appended");
    };
    with(&append).stops(
        1,
        &format!("entry {} was not written by countersign", last + 1),
    );
    with(&|database| {
        database
            .execute("INSERT INTO entries VALUES (-1, '{}')", [])
            .expect("inserted");
    })
    .stops(1, "entry -1 was not written by countersign");
    // A hash.
    with(&|database| {
        database
            .execute(
                "UPDATE hashes SET hash = zeroblob(32) WHERE number = ?1",
                [first_hash(1) + 1],
            )
            .expect("changed");
    })
    .stops(
        1,
        &format!("hash {} of the tree, kept with entry 1,", first_hash(1) + 1),
    );
    // Another key: the log is not the one of this home.
    with(&|database| {
        let other = text(database, 0).replace(
            "example.org/countersign-log+",
            "example.com/countersign-log+",
        );
        database
            .execute("UPDATE entries SET entry = ?1 WHERE idx = 0", [other])
            .expect("changed");
        rehash(database);
    })
    .stops(1, "entry 0 names `example.com/");
    // The tables beside the entries.
    for (change, table) in [
        (
            "UPDATE about SET milestone = NULL WHERE milestone = 'intended'",
            "about",
        ),
        (
            "UPDATE about SET milestone = 'revoked' WHERE milestone = 'signed'",
            "about",
        ),
        (
            "UPDATE about SET project = 'bar' WHERE project = 'foo'",
            "about",
        ),
        (
            "UPDATE about SET folder = 'bar-1' WHERE folder IS NOT NULL",
            "about",
        ),
        ("UPDATE about SET grant_id = 'x'", "about"),
        ("UPDATE about SET next = NULL", "about"),
        (
            "DELETE FROM about WHERE idx = (SELECT max(idx) FROM about)",
            "about",
        ),
        ("DELETE FROM about", "about"),
        (
            "INSERT INTO about (idx, grant_id) SELECT 0, grant_id FROM about LIMIT 1",
            "about",
        ),
        (
            "INSERT INTO about (idx, grant_id) VALUES (1000, 'x')",
            "about",
        ),
        (
            "DELETE FROM signatures WHERE file = 'foo.txt'",
            "signatures",
        ),
        (
            "UPDATE signatures SET file = 'bar.txt' WHERE file = 'foo.txt'",
            "signatures",
        ),
        (
            "UPDATE signatures SET signature = 'x' WHERE file = 'foo.txt'",
            "digests",
        ),
        ("INSERT INTO digests VALUES ('x', 1)", "digests"),
        ("DELETE FROM digests", "digests"),
    ] {
        with(&|database| {
            database
                .execute(change, [])
                .unwrap_or_else(|error| panic!("{change}: {error}"));
        })
        .stops(1, &format!("table `{table}`"));
    }
    with(&|database| {
        let changed =
            database.execute("UPDATE digests SET digest = 'x' WHERE digest = ?1", [&sums]);
        assert_eq!(changed.expect("changed"), 1);
    })
    .stops(1, &format!("entry {intent} and the table `digests`"));
    // Nothing is added to a log that somebody else has added to.
    with(&append).stops(1, "the tree has no hash of it");
    let (granted, _) = world
        .host(&[&"grant", &"foo", &"9.9", &"-o", &world.new_folder("grant")])
        .run();
    assert_eq!(granted.code, 1, "{granted:?}");
    assert!(
        granted
            .stderr
            .contains("has entries that countersign did not write"),
        "{granted:?}"
    );
}

/// The rows that lead to a grant's entries match the entries, or the token is not asked.
#[test]
fn a_grant_whose_row_was_changed_is_not_signed_under() {
    let world = World::ready();
    let (granted, build) = world.attested();
    world.sign(&granted, &build).ok();
    let (revoked, its_build) = (
        world.grant_of("1.2.4", &[]),
        world.build(&[("foo.txt", b"other\n")]),
    );
    world.attest(&revoked, &its_build).ok();
    world.host(&[&"grants", &"revoke", &revoked.grant]).ok();
    fs::remove_dir_all(world.release(&granted)).expect("the release is away");
    let (uses, ledger) = (world.token_count(), world.home().join("ledger.sqlite"));
    let whole = fs::read(&ledger).expect("the ledger");
    for (change, granted, build) in [
        ("DELETE FROM about", &granted, &build),
        (
            "DELETE FROM about WHERE milestone = 'issued'",
            &granted,
            &build,
        ),
        (
            "DELETE FROM about WHERE milestone <> 'issued'",
            &granted,
            &build,
        ),
        (
            "UPDATE about SET milestone = NULL WHERE milestone <> 'issued'",
            &granted,
            &build,
        ),
        (
            "DELETE FROM about WHERE milestone = 'intended'",
            &granted,
            &build,
        ),
        (
            "UPDATE about SET milestone = NULL WHERE milestone = 'intended'",
            &granted,
            &build,
        ),
        (
            "DELETE FROM about WHERE milestone = 'signed'",
            &granted,
            &build,
        ),
        (
            "DELETE FROM about WHERE milestone = 'released'",
            &granted,
            &build,
        ),
        (
            "UPDATE about SET idx = 1000 WHERE milestone = 'released'",
            &granted,
            &build,
        ),
        (
            "UPDATE about SET milestone = 'pushed' WHERE milestone = 'signed'",
            &granted,
            &build,
        ),
        (
            "DELETE FROM about WHERE milestone = 'revoked'",
            &revoked,
            &its_build,
        ),
        (
            "UPDATE about SET milestone = NULL WHERE milestone = 'revoked'",
            &revoked,
            &its_build,
        ),
        (
            "UPDATE about SET grant_id = 'x' WHERE milestone = 'revoked'",
            &revoked,
            &its_build,
        ),
        (
            "UPDATE about SET idx = 1000 WHERE milestone = 'revoked'",
            &revoked,
            &its_build,
        ),
        (
            "DELETE FROM entries WHERE idx IN (SELECT idx FROM about WHERE milestone = 'revoked')",
            &revoked,
            &its_build,
        ),
    ] {
        let changed = world.tamper(|database| database.execute(change, []).expect("changed"));
        assert!(changed > 0, "{change}");
        let (ended, _) = world.sign(granted, build).run();
        assert_eq!(ended.code, 1, "{change}: {ended:?}");
        assert!(
            ended
                .stderr
                .contains("the ledger's table `about` differs from the entries")
                || ended.stderr.contains("of the ledger is missing")
                || change == "DELETE FROM about" && ended.stderr.contains("was not issued"),
            "{change}: {ended:?}"
        );
        assert_eq!(listing(&world.inbox()), [""; 0], "{change}");
        fs::write(&ledger, &whole).expect("as it was");
    }
    assert_eq!(world.token_count(), uses);
    world.verify_log().ok();
}

/// A list is made from the rows of many grants: each must match its entry, or nothing of the
/// list is shown or done.
#[test]
fn a_list_with_a_row_that_was_changed_is_refused() {
    let world = World::ready();
    let config = world.home().join("config.toml");
    let location = "\n[repository]\ninbox = \"../inbox\"\n";
    write_private(
        &config,
        (fs::read_to_string(&config).expect("the configuration") + location).as_bytes(),
    );
    let [open, pushed, waiting, accepted] = ["1.2.1", "1.2.2", "1.2.3", "1.2.4"].map(|version| {
        let (granted, build) = world.attested_of(version, &[], &[("foo.txt", version.as_bytes())]);
        (world.at(version), granted, build)
    });
    let sign = |(release, granted, build): &(PathBuf, Granted, Build)| {
        world.sign_into(release, granted, build).run().0
    };
    assert_eq!(sign(&pushed).code, 0);
    world.without(&world.inbox(), || {
        assert_eq!(sign(&waiting).code, 3, "signed, and not pushed")
    });
    world.without(world.token_file(), || {
        assert_eq!(sign(&accepted).code, 3, "accepted, and not signed")
    });

    let ledger = world.home().join("ledger.sqlite");
    let (whole, uses) = (fs::read(&ledger).expect("the ledger"), world.token_count());
    let status: Arguments<'_> = &[&"status"];
    let push: Arguments<'_> = &[&"push"];
    let list: Arguments<'_> = &[&"grants", &"list"];
    let of_project: Arguments<'_> = &[&"grants", &"list", &"--project", &"foo"];
    let unsigned = "DELETE FROM about WHERE milestone <> 'issued'";
    for (of, change, commands) in [
        (
            &accepted,
            "UPDATE about SET milestone = 'released' WHERE milestone = 'accepted'",
            &[status, push, list, of_project][..],
        ),
        (
            &accepted,
            "UPDATE about SET idx = 1000 WHERE milestone = 'accepted'",
            &[status, list, of_project],
        ),
        (
            &accepted,
            "UPDATE about SET project = 'bar' WHERE milestone = 'issued'",
            &[status, list],
        ),
        (
            &accepted,
            "UPDATE about SET grant_id = 'x' WHERE milestone = 'accepted'",
            &[status, list, of_project],
        ),
        (
            &accepted,
            "UPDATE about SET grant_id = 'x' WHERE milestone = 'issued'",
            &[status, list, of_project],
        ),
        (
            &waiting,
            "DELETE FROM about WHERE milestone = 'released'",
            &[status, list, of_project],
        ),
        (
            &waiting,
            "UPDATE about SET milestone = NULL WHERE milestone = 'released'",
            &[status, list, of_project],
        ),
        (
            &waiting,
            "UPDATE about SET milestone = 'pushed' WHERE milestone = 'released'",
            &[push, list, of_project],
        ),
        (
            &waiting,
            "UPDATE about SET idx = 1000 WHERE milestone = 'released'",
            &[status, push, list, of_project],
        ),
        (&waiting, unsigned, &[list, of_project]),
        (
            &pushed,
            "DELETE FROM about WHERE milestone = 'pushed'",
            &[status, push, list, of_project],
        ),
        (
            &pushed,
            "UPDATE about SET milestone = NULL WHERE milestone = 'pushed'",
            &[status, push, list, of_project],
        ),
        (
            &pushed,
            "UPDATE about SET idx = 1000 WHERE milestone = 'pushed'",
            &[list, of_project],
        ),
    ] {
        let hex = of.1.id.strip_prefix("sha256:").expect("an id");
        world.tamper(|database| {
            let change = format!("{change} AND grant_id = ?1");
            assert!(
                database.execute(&change, [hex]).expect("changed") > 0,
                "{change}"
            );
        });
        let why = |stderr: &str| {
            stderr.contains("the ledger's table `about` differs from the entries")
                || stderr.contains("the ledger's table `about` has a grant `x`")
                || stderr.contains("entry 1000 of the ledger is missing")
        };
        for command in commands {
            let (ended, _) = world.host(command).run();
            assert_eq!(ended.code, 1, "{change}: {ended:?}");
            assert!(why(&ended.stderr), "{change}: {ended:?}");
        }
        // An older version than one that was accepted, whatever the row has.
        if change == unsigned {
            let ended = sign(&open);
            assert!(ended.code == 1 && why(&ended.stderr), "{ended:?}");
        }
        fs::write(&ledger, &whole).expect("as it was");
    }
    assert_eq!(
        (world.token_count(), listing(&world.inbox())),
        (uses, vec!["foo-1.2.2".to_owned()])
    );
    assert!(!open.0.exists());
    world.verify_log().ok();
    world.host(push).ok().says("foo-1.2.3: pushed to");
}

/// What could let a query lie later, or undo what is written.
#[test]
fn a_database_of_another_structure_is_found() {
    let world = World::ready();
    world.signed();
    let ledger = world.home().join("ledger.sqlite");
    let whole = fs::read(&ledger).expect("the ledger");
    for (change, what) in [
        ("DROP TRIGGER entries_stay", "trigger entries_stay"),
        ("DROP TRIGGER entries_last", "trigger entries_last"),
        ("DROP TRIGGER entries_once", "trigger entries_once"),
        ("DROP TRIGGER hashes_stay", "trigger hashes_stay"),
        ("DROP TRIGGER hashes_last", "trigger hashes_last"),
        ("DROP TRIGGER hashes_once", "trigger hashes_once"),
        ("DROP TRIGGER about_stay", "trigger about_stay"),
        ("DROP TRIGGER about_last", "trigger about_last"),
        ("DROP TRIGGER about_once", "trigger about_once"),
        ("DROP TRIGGER digests_stay", "trigger digests_stay"),
        ("DROP TRIGGER digests_last", "trigger digests_last"),
        ("DROP TRIGGER signatures_stay", "trigger signatures_stay"),
        ("DROP TRIGGER signatures_last", "trigger signatures_last"),
        ("DROP TRIGGER signatures_once", "trigger signatures_once"),
        (
            "CREATE TRIGGER undo AFTER INSERT ON about
                BEGIN UPDATE about SET next = NULL WHERE grant_id = NEW.grant_id; END",
            "trigger undo",
        ),
        (
            "ALTER TABLE entries RENAME TO kept; CREATE VIEW entries AS SELECT * FROM kept",
            "table entries",
        ),
        ("CREATE TABLE more (a)", "table more"),
        ("DROP TABLE entries", "table entries"),
        ("DROP TABLE hashes", "table hashes"),
        ("DROP TABLE about", "index about_folder"),
        ("DROP TABLE digests", "table digests"),
        ("DROP TABLE signatures", "index sqlite_autoindex_signatures"),
        (
            "ALTER TABLE about RENAME COLUMN next TO later",
            "table about",
        ),
        ("DROP INDEX about_milestone", "index about_milestone"),
        // An index that is empty: what is asked with it finds nothing.
        (
            "CREATE TABLE more (a); CREATE INDEX empty ON more (a); PRAGMA writable_schema = ON;
                CREATE TEMP TABLE roots AS SELECT rootpage FROM sqlite_master WHERE name = 'empty';
                DELETE FROM sqlite_master WHERE name IN ('more', 'empty');
                UPDATE sqlite_master SET rootpage = (SELECT rootpage FROM roots)
                    WHERE name = 'about_project'",
            "an index of table about",
        ),
    ] {
        world
            .database()
            .execute_batch(change)
            .unwrap_or_else(|error| panic!("{change}: {error}"));
        world
            .verify_log()
            .stops(1, &format!("is not as countersign made it: {what}"));
        let names = listing(&world.home());
        for name in names
            .iter()
            .filter(|name| name.starts_with("ledger.sqlite-"))
        {
            fs::remove_file(world.home().join(name)).expect("it is there");
        }
        fs::write(&ledger, &whole).expect("as it was");
        world.verify_log().ok();
    }
}

/// Whatever reads it: the disk is not at fault.
#[test]
fn a_ledger_without_a_table_was_changed() {
    let world = World::ready();
    let granted = world.grant();
    world
        .database()
        .execute_batch("DROP TABLE about")
        .expect("dropped");
    let commands: [Arguments<'_>; 3] = [
        &[&"status"],
        &[&"grants", &"list"],
        &[&"grants", &"show", &granted.grant],
    ];
    for command in commands {
        world
            .host(command)
            .refused("the ledger is not as countersign made it: no such table: about");
    }
}

/// A list for programs is whole, or there is only the error.
#[test]
fn a_list_with_a_damaged_entry_is_not_broken_off() {
    let world = World::ready();
    world.signed();
    world.tamper(|database| {
        database
            .execute("UPDATE entries SET entry = '{}' WHERE idx = 3", [])
            .expect("changed")
    });
    let list = || world.host(&[&"log", &"list"]);
    let for_people = list().stops(1, "entry 3 of the ledger cannot be read");
    assert!(for_people.stdout.lines().count() <= 3, "{for_people:?}");
    let said = list().with(&[&"--json"]).stops(1, "entry 3 of the ledger");
    assert_eq!(said.stdout, "");
    let error: Value = serde_json::from_str(&said.stderr).expect("JSON");
    assert_eq!(error["code"], 1);
}

/// Nobody signs, publishes or proves what is not there as it was logged, and nobody acts on it.
#[test]
fn nothing_is_done_with_an_entry_that_is_not_as_it_was_logged() {
    let world = World::ready();
    let (granted, build) = world.attested();
    world.sign(&granted, &build).ok();
    let (folder, proof, file) = (
        world.at("folder"),
        world.at("proof"),
        world.release(&granted).join("foo.tar"),
    );
    let ledger = world.home().join("ledger.sqlite");
    let whole = fs::read(&ledger).expect("the ledger");
    let intent = world.logged("intent")[0]["index"]
        .as_u64()
        .expect("an index");
    let index = intent.to_string();
    let refused: [(&str, Arguments<'_>); 4] = [
        ("show", &[&"log", &"show", &index]),
        ("checkpoint", &[&"log", &"checkpoint"]),
        ("export", &[&"log", &"export", &folder]),
        ("prove", &[&"log", &"prove", &file, &"-o", &proof]),
    ];
    let with = |change: &str, commands: &[&str], why: &str| {
        world.tamper(|database| database.execute_batch(change).expect("changed"));
        for (_, arguments) in refused
            .iter()
            .filter(|(command, _)| commands.contains(command))
        {
            world.host(arguments).refused(why);
        }
        assert!(!proof.exists() && !folder.join("checkpoint").exists());
    };
    let restore = || fs::write(&ledger, &whole).expect("as it was");

    with(
        &format!(
            "UPDATE entries SET entry = replace(entry, 'foo.txt', 'fox.txt') WHERE idx = {intent}"
        ),
        &["show", "export", "prove"],
        &format!("entry {intent} of the ledger was altered: its hash does not match the tree"),
    );
    world
        .sign(&granted, &build)
        .refused("was altered: its hash does not match the tree");
    restore();
    // A log that is shorter than its tree: a checkpoint of it would belie the ones before.
    let all = ["checkpoint", "export", "prove"];
    with(
        "DELETE FROM entries WHERE idx = (SELECT max(idx) FROM entries)",
        &all,
        "has entries that countersign did not write",
    );
    restore();
    // The hash of the entry beside the intent, which the proof needs and the root does not.
    let beside = first_hash(intent ^ 1);
    with(
        &format!("UPDATE hashes SET hash = zeroblob(32) WHERE number = {beside}"),
        &["prove"],
        "has entries that countersign did not write",
    );
    restore();
    refused
        .iter()
        .for_each(|(_, arguments)| _ = world.host(arguments).ok());
    world.verify_log().ok();
}

/// A good signature of the same bytes is not yet that of this release; and the token makes none in
/// place of one that is gone.
#[test]
fn a_signature_that_somebody_changed_in_the_ledger_is_not_released() {
    let world = World::ready();
    world.signed();
    let (granted, build) = world.attested_of("1.2.4", &[], &[("foo.tar", &[7; 100_000])]);
    world.sign(&granted, &build).ok();
    fs::remove_dir_all(world.release(&granted)).expect("it is there");
    let made = world.token_count();
    let change =
        |change: &str| world.tamper(|database| database.execute(change, []).expect("changed"));
    let first = "SELECT signature FROM signatures WHERE file = 'foo.tar' ORDER BY intent LIMIT 1";
    let of_second = "file = 'foo.tar' AND intent = (SELECT max(intent) FROM signatures)";
    assert_eq!(
        change(&format!(
            "UPDATE signatures SET signature = ({first}) WHERE {of_second}"
        )),
        1
    );
    world.sign(&granted, &build).stops(
        1,
        "the signature kept for `foo.tar` is not the one that was to be made",
    );
    assert_eq!(
        change(&format!("DELETE FROM signatures WHERE {of_second}")),
        1
    );
    world.sign(&granted, &build).stops(
        1,
        "the log says that `foo.tar` is signed, but its signature is not kept",
    );
    assert_eq!(world.token_count(), made);
    assert!(!world.release(&granted).exists());
}

/// The same bytes, key and time: only a notation distinguishes the two.
#[test]
fn a_kept_signature_of_another_name_is_not_released() {
    let world = World::ready();
    let granted = world.grant();
    let build = world.build(&[("foo-a", b"same\n"), ("foo-b", b"same\n")]);
    world.attest(&granted, &build).ok();
    world.sign(&granted, &build).ok();
    fs::remove_dir_all(world.release(&granted)).expect("it is there");
    let other = "SELECT signature FROM signatures WHERE file = 'foo-b'";
    let change = format!("UPDATE signatures SET signature = ({other}) WHERE file = 'foo-a'");
    world.tamper(|database| assert_eq!(database.execute(&change, []).expect("changed"), 1));
    world
        .sign(&granted, &build)
        .stops(1, "its notation `file@example.org` is `foo-b`");
    assert!(!world.release(&granted).exists());
}

/// Recomputed hashes are detected only with a checkpoint, as `log verify` says.
#[test]
fn a_rewritten_log_and_an_older_copy_are_found_by_a_checkpoint_kept_elsewhere() {
    let world = World::ready();
    let early = world.checkpoint("early");
    let older = world.copy_of_ledger();
    world.signed();
    let late = world.checkpoint("late");
    let kept: [&dyn AsRef<std::ffi::OsStr>; 4] = [&"--checkpoint", &early, &"--checkpoint", &late];
    world.verify_log().with(&kept).ok();
    let size = world.log().len() as u64;

    let grant = world.logged("grant-issued")[0]["index"]
        .as_u64()
        .expect("an index");
    let original = text(&world.database(), grant);
    let altered = original.replace("\"version\":\"1.2.3\"", "\"version\":\"1.2.4\"");
    assert_ne!(altered, original);
    let change = |text: &str| {
        world.tamper(|database| replace(database, grant, text));
    };
    change(&altered);
    world
        .verify_log()
        .ok()
        .says("only a checkpoint or a release kept elsewhere shows that");
    world.verify_log().with(&[&"--checkpoint", &early]).ok();
    world.verify_log().with(&kept).stops(
        1,
        &format!(
            "has a different root: something among entries 0 to {}",
            size - 1
        ),
    );
    change(&original);
    world.verify_log().with(&kept).ok();

    world.restore_ledger(&older);
    world.verify_log().ok();
    let there = world.log().len();
    world.verify_log().with(&kept).stops(
        1,
        &format!("is of {size} entries, but there are {there}: entry {there} and"),
    );
    // Other entries in the place of those that are gone do not make it whole.
    world.sign_another();
    world.grant_of("1.2.5", &[]);
    world.verify_log().with(&[&"--checkpoint", &early]).ok();
    world
        .verify_log()
        .with(&kept)
        .stops(1, "has a different root");
}

/// Entries appended as countersign does are as good as the home's. What others keep shows what was
/// there before, and what should be there now.
#[test]
fn an_entry_appended_with_its_hashes_is_found_by_what_is_beside_it_or_elsewhere() {
    let world = World::ready();
    let (release, before, older) = (
        world.signed(),
        world.checkpoint("before"),
        world.copy_of_ledger(),
    );
    world.sign_another();
    let after = world.checkpoint("after");
    let forge = |kind: &str| {
        world.restore_ledger(&older);
        let index = world.log().len();
        let like = world.logged(kind)[0]["index"].as_u64().expect("an index");
        world.tamper(|database| {
            let (is, was) = (
                format!("{{\"index\":{index},"),
                format!("{{\"index\":{like},"),
            );
            // At the time of the last entry, so that the clock did not go back.
            let at = |index| text(database, index).split('"').nth(5).map(str::to_owned);
            let (then, now) = (
                at(like).expect("a time"),
                at(index as u64 - 1).expect("a time"),
            );
            let forged = text(database, like).replace(&was, &is).replace(&then, &now);
            database
                .execute(
                    "INSERT INTO entries VALUES (?1, ?2)",
                    params![index as u64, forged],
                )
                .expect("appended");
            rehash(database);
        });
        index
    };
    for kind in ["released", "intent", "grant-issued"] {
        let index = forge(kind);
        world
            .verify_log()
            .stops(1, &format!("entry {index} and the table `about` differ"));
    }
    forge("key-ready");
    world
        .verify_log()
        .with(&[&"--checkpoint", &before, &"--release", &release])
        .ok();
    // The log that went on without it is another.
    while world.log().len() < 20 {
        world.host(&[&"key", &"check", &"--sign"]).ok();
    }
    world
        .verify_log()
        .with(&[&"--checkpoint", &after])
        .stops(1, "has a different root");
}

/// An entry is written in one way: the same in another form was not written by
/// countersign.
#[test]
fn an_entry_in_other_words_is_refused_under_any_hashes() {
    let world = World::ready();
    world.signed();
    let ledger = world.home().join("ledger.sqlite");
    let whole = fs::read(&ledger).expect("the ledger");
    for (was, is) in [
        ("{\"index\":", "{ \"index\":"),
        (
            "\"kind\":\"grant-issued\"",
            "\"kind\":\"grant-issued\",\"more\":1",
        ),
        ("\"quorum\":1", "\"quorum\":1,\"allow_older\":false"),
        ("\"builders\":{", "\"builders\":{\"m1\":\"x\","),
    ] {
        let index = world.logged("grant-issued")[0]["index"]
            .as_u64()
            .expect("an index");
        world.tamper(|database| {
            let other = text(database, index).replacen(was, is, 1);
            let changed = database.execute(
                "UPDATE entries SET entry = ?1 WHERE idx = ?2 AND entry <> ?1",
                params![other, index],
            );
            assert_eq!(changed.expect("changed"), 1, "{was}");
            rehash(database);
        });
        world.verify_log().stops(
            1,
            &format!("entry {index} cannot be read: it is not written as countersign writes it"),
        );
        fs::write(&ledger, &whole).expect("as it was");
    }
    world.verify_log().ok();
}

/// Nobody kept a checkpoint, but somebody has a release.
#[test]
fn a_rewritten_log_is_found_by_a_release_alone() {
    let world = World::ready();
    let (first, second) = (world.signed(), world.sign_another());
    let index = |kind: &str| -> Vec<u64> {
        world
            .logged(kind)
            .iter()
            .map(|entry| entry["index"].as_u64().expect("an index"))
            .collect()
    };
    let (granted, intents) = (index("grant-issued"), index("intent"));
    let with = |releases: &[&PathBuf]| {
        releases.iter().fold(world.verify_log(), |run, release| {
            run.with(&[&"--release", release])
        })
    };
    let said = with(&[&first, &second]).ok();
    said.says(&format!(
        "goes on from release {}, announced in entry {}",
        first.display(),
        intents[0]
    ))
    .says(&format!(
        "goes on from release {}, announced in entry {}",
        second.display(),
        intents[1]
    ));
    let said = with(&[&first, &second]).with(&[&"--json"]).ok().json();
    let entries = |number: usize| {
        said["releases"][number]["entries"]
            .as_u64()
            .expect("a size")
    };
    assert_eq!([entries(0), entries(1)], [intents[0] + 1, intents[1] + 1]);

    // Between the two: the later one detects it.
    world.rewrite(granted[1], "\"version\":\"1.2.4\"", "\"version\":\"1.2.5\"");
    world
        .verify_log()
        .ok()
        .says("only a checkpoint or a release kept elsewhere shows that");
    with(&[&first]).ok();
    let found = |release: &Path, intent: u64| {
        format!(
            "checkpoint `{}` has a different root: something among entries 0 to {intent}",
            release.display()
        )
    };
    with(&[&second]).stops(1, &found(&second, intents[1]));
    with(&[&first, &second]).stops(1, &found(&second, intents[1]));
    // Before both: each detects it, in the export of the changed log too.
    world.rewrite(granted[0], "\"version\":\"1.2.3\"", "\"version\":\"1.2.2\"");
    world.verify_log().ok();
    with(&[&first]).stops(1, &found(&first, intents[0]));
    with(&[&second]).stops(1, &found(&second, intents[1]));
    let (folder, key) = (world.export_log(), world.log_key());
    fs::rename(world.home(), world.at("nowhere")).expect("the home is away");
    let read = || world.countersign(&[&"log", &"verify", &"--export", &folder, &"--log-key", &key]);
    read()
        .ok()
        .says("only a checkpoint or a release kept elsewhere shows that");
    let cert = world.certificate();
    for (release, intent) in [(&first, intents[0]), (&second, intents[1])] {
        read()
            .with(&[&"--release", release, &"--cert", &cert])
            .stops(1, &found(release, intent));
    }
}

#[test]
fn an_older_copy_of_the_log_is_found_by_a_release_alone() {
    let world = World::ready();
    let first = world.signed();
    let (older, exported) = (world.copy_of_ledger(), world.export_log());
    let second = world.sign_another();
    let intent = world.logged("intent")[1]["index"]
        .as_u64()
        .expect("an index");
    world.restore_ledger(&older);
    let there = world.log().len();
    world.verify_log().with(&[&"--release", &first]).ok();
    let gone = format!(
        "is of {} entries, but there are {there}: entry {there} and those after it are gone",
        intent + 1
    );
    world
        .verify_log()
        .with(&[&"--release", &first, &"--release", &second])
        .stops(1, &gone);
    // The folder that L has, or that somebody put back there.
    let (cert, key) = (world.certificate(), world.log_key());
    let read = || {
        world.countersign(&[
            &"log",
            &"verify",
            &"--export",
            &exported,
            &"--log-key",
            &key,
            &"--cert",
            &cert,
        ])
    };
    read()
        .with(&[&"--release", &first])
        .ok()
        .says("goes on from release");
    read().with(&[&"--release", &second]).stops(1, &gone);
    // Other entries in the place of those that are gone do not make it whole.
    for version in ["1.2.5", "1.2.6", "1.2.7", "1.2.8"] {
        world.grant_of(version, &[]);
    }
    world.verify_log().with(&[&"--release", &first]).ok();
    world
        .verify_log()
        .with(&[&"--release", &second])
        .stops(1, "has a different root");
}

#[test]
fn a_release_that_says_nothing_of_this_log_is_refused() {
    let (world, other) = (World::ready(), World::ready());
    let (release, stranger) = (world.signed(), other.signed());
    let with = |release: &Path| world.verify_log().with(&[&"--release", &release]);
    with(&release).ok();
    // Of another release key; and with that key's certificate, of another log.
    with(&stranger)
        .refused("the release is invalid: signature `SHA256SUMS.asc`: the signature is by key")
        .says("another release key");
    with(&stranger)
        .with(&[&"--cert", &other.certificate()])
        .stops(1, "has a different root");
    // Without a home nothing shows which key it must be.
    let (folder, key) = (world.export_log(), world.log_key());
    let read = || {
        let run = world.countersign(&[&"log", &"verify", &"--export", &folder, &"--log-key", &key]);
        run.with(&[&"--release", &release])
    };
    read().stops(2, "--release needs the release certificate: `--cert FILE`");
    read().with(&[&"--cert", &world.certificate()]).ok();
    read().with(&[&"--cert", &other.certificate()]).stops(
        1,
        "the release is invalid: signature `SHA256SUMS.asc`: the signature is by key",
    );
    world
        .verify_log()
        .with(&[&"--cert", &world.certificate()])
        .stops(2, "--release <DIR>");
    // No release, or not as it was signed.
    with(&world.at("nothing")).usage("nothing` does not exist");
    with(&world.inbox()).refused("the release is invalid: `SHA256SUMS` is missing");
    let changed = world.at("changed");
    copy_tree(&release, &changed);
    fs::write(changed.join("foo.txt"), "evil\n").expect("changed");
    with(&changed).refused("the release is invalid: `foo.txt` has SHA-256");
}

/// Somebody had the token sign a release behind this host's back, and let the signature name what
/// he liked.
#[test]
fn a_release_that_the_log_does_not_announce_is_refused() {
    let world = World::ready();
    let (granted, build) = world.attested_with(&[&"--form", &"list"]);
    world.sign(&granted, &build).ok();
    let release = world.release(&granted);
    let intent = world.logged("intent")[0]["index"]
        .as_u64()
        .expect("an index");
    let named = |index: u64| format!("{index} {}", world.root_after(index));
    let (folder, key, cert) = (world.export_log(), world.log_key(), world.certificate());
    let cases = [
        (String::new(), "has no index and root hash of the log"),
        (intent.to_string(), "has no index and root hash of the log"),
        (
            format!("{intent} {}", &world.root_after(intent).to_string()[1..]),
            "has no index and root hash of the log",
        ),
        (
            named(intent - 1),
            &*format!("was not announced: entry {}, which", intent - 1),
        ),
        (named(0), "was not announced: entry 0, which"),
        (
            format!("{intent} {}", world.root_after(intent - 1)),
            "has a different root",
        ),
    ];
    for (log, why) in cases {
        world.sign_list_again(&release, &log);
        world.verify(&release).ok();
        world
            .verify_log()
            .with(&[&"--release", &release])
            .stops(1, why);
        world
            .countersign(&[&"log", &"verify", &"--export", &folder, &"--log-key", &key])
            .with(&[&"--release", &release, &"--cert", &cert])
            .stops(1, why);
    }
    // At its own time, and with what it must name, it is the one that was announced.
    world.sign_list_again(&release, &named(intent));
    world.verify_log().with(&[&"--release", &release]).ok();
}

impl World {
    /// The root of the log as it ends with this entry.
    fn root_after(&self, index: u64) -> Hash {
        let (database, mut tree) = (self.database(), Growing::default());
        (0..=index).for_each(|index| _ = tree.push(text(&database, index).as_bytes()));
        tree.root()
    }

    /// Signs the list of a release once more with the release key, for the same time and grant, and
    /// lets it say this of the log.
    fn sign_list_again(&self, release: &Path, log: &str) {
        let home = Home::open(&self.home()).expect("a home");
        let intent = &self.logged("intent")[0];
        let said = |field: &str| intent[field].as_str().expect("a text").to_owned();
        let created = said("created").parse().expect("a time");
        let key = home
            .certificate
            .signing_key(home.config.signing_key, created)
            .expect("a key");
        let notations = [
            ("role", "list".to_owned()),
            ("project", said("project")),
            ("version", said("version")),
            ("grant", said("grant")),
            ("log", log.to_owned()),
            ("form", "list".to_owned()),
        ];
        let notations = notations.map(|(name, value)| (format!("{name}@example.org"), value));
        let notations = notations.into();
        let what = Statement::evidence(created, HashAlgorithm::Sha256, notations);
        let list = HashState::of(
            &fs::read(release.join("SHA256SUMS")).expect("the list"),
            what.hash(),
        );
        let pins = home.refused_pins();
        let token = token::find(&home.config.token, &pins, &mut Nobody).expect("the token");
        let mut token = token.unlock(&mut Nobody).expect("no PIN");
        let made = make_release_signature(&key, &list, &what, &mut |message| token.sign(message));
        fs::write(release.join("SHA256SUMS.asc"), made.expect("a signature")).expect("its file");
    }
}

#[test]
fn a_checkpoint_that_is_not_of_this_log_is_refused() {
    let (world, other) = (World::ready(), World::ready());
    let stranger = other.checkpoint("stranger");
    world
        .verify_log()
        .with(&[&"--checkpoint", &stranger])
        .refused("is not signed by `example.org/countersign-log`");
    let own = world.checkpoint("own");
    let note = fs::read_to_string(&own).expect("a note");
    let bigger = note.replacen(note.lines().nth(1).expect("a size"), "1000", 1);
    fs::write(&own, bigger).expect("changed");
    world
        .verify_log()
        .with(&[&"--checkpoint", &own])
        .refused("is invalid");
    fs::write(&own, "nothing\n").expect("changed");
    world
        .verify_log()
        .with(&[&"--checkpoint", &own])
        .refused("is not a signed note");
    // Without its key, or with another, the log signs nothing.
    copy(&other.home().join("log.key"), &world.home().join("log.key"));
    world
        .host(&[&"log", &"checkpoint"])
        .usage("is not the `log_key` of the configuration");
    fs::remove_file(world.home().join("log.key")).expect("the key");
    world.host(&[&"log", &"checkpoint"]).usage("does not exist");
    world.verify_log().ok();
}

#[test]
fn an_export_grows_and_what_is_changed_in_a_copy_is_named() {
    let world = World::ready();
    let folder = world.export_log();
    let few = world.log().len();
    let names: Vec<_> = tree(&folder).into_keys().collect();
    assert_eq!(
        names,
        [
            "checkpoint".to_owned(),
            format!("tile/0/000.p/{few}"),
            format!("tile/entries/000.p/{few}")
        ]
    );
    assert_eq!(
        fs::metadata(folder.join("tile/entries"))
            .expect("a folder")
            .permissions()
            .mode()
            & 0o777,
        0o755
    );
    // More than a whole tile: the second one begins.
    for version in 0..130 {
        world
            .host(&[
                &"grant",
                &"bar",
                &format!("1.{version}"),
                &"--builder",
                &"m1",
                &"-o",
                &world.new_folder("g"),
            ])
            .ok();
        if version == 5 {
            let said = world
                .host(&[&"log", &"export", &folder, &"--json"])
                .ok()
                .json();
            assert_eq!(
                (&said["entries_before"], &said["files"]),
                (&few.into(), &2.into())
            );
        }
    }
    while world.log().len() < 260 {
        world.host(&[&"key", &"check", &"--sign"]).ok();
    }
    world.export_log();
    world
        .host(&[&"log", &"export", &folder])
        .ok()
        .says("0 files written");
    // One at a time: of two, the older checkpoint could come last.
    let held = countersign::files::Folder::open(&folder)
        .and_then(|folder| countersign::files::hold_folder(&folder, PATIENT));
    let held = held.expect("nobody has it");
    world
        .host(&[&"log", &"export", &folder, &"--wait=1s"])
        .trouble("is in use by another countersign process");
    drop(held);
    // What an export that was killed was writing is not left to the public.
    let left = ["", "tile/entries/001.p"].map(|below| folder.join(below).join(".countersign-left"));
    left.iter()
        .for_each(|path| fs::write(path, "").expect("a file"));
    world.host(&[&"key", &"check", &"--sign"]).ok();
    world.export_log();
    assert!(left.iter().all(|path| !path.exists()));
    let size = world.log().len();
    let files = tree(&folder);
    for name in [
        "tile/0/000",
        "tile/1/000.p/1",
        "tile/entries/000",
        &format!("tile/entries/001.p/{}", size - 256),
    ] {
        assert!(files.contains_key(name), "{name}: {:?}", files.keys());
    }

    // A copy on L: each file that its checkpoint needs, altered, cut short, longer, a link, or
    // gone.
    let copy = world.at("copy");
    copy_tree(&folder, &copy);
    let check = || world.verify_log().with(&[&"--export", &copy]);
    check()
        .ok()
        .says(&format!("has the first {size} entries, unchanged"));
    for name in ["tile/0/000", "tile/1/000.p/1", "tile/entries/000"] {
        let path = copy.join(name);
        let whole = fs::read(&path).expect("a tile");
        let mut altered = whole.clone();
        let middle = altered.len() / 2;
        altered[middle] ^= 1;
        for bytes in [altered, whole[1..].to_vec(), [&whole[..], b"x"].concat()] {
            fs::write(&path, bytes).expect("changed");
            check().refused(&format!("{name}` differs from the log"));
        }
        fs::remove_file(&path).expect("removed");
        check().refused(&format!("{name}` is missing"));
        std::os::unix::fs::symlink(folder.join(name), &path).expect("a link");
        check().usage("is a symbolic link");
        fs::remove_file(&path).expect("removed");
        fs::write(&path, whole).expect("as it was");
    }
    // Of a file of entries, the first that is another.
    let entries = copy.join("tile/entries/000");
    let (whole, seventh) = (
        fs::read(&entries).expect("a file"),
        text(&world.database(), 7),
    );
    let at = whole
        .windows(seventh.len())
        .position(|bytes| bytes == seventh.as_bytes())
        .expect("it is there");
    for end in [whole.len(), at + 9] {
        let mut altered = whole[..end].to_vec();
        altered[at + 8] ^= 1;
        fs::write(&entries, altered).expect("changed");
        check().refused("tile/entries/000` differs from the log from entry 7 on");
    }
    fs::write(&entries, whole).expect("as it was");
    check().ok();
    // Another log's folder is not written to, nor one that is ahead of us.
    let other = World::ready();
    other
        .host(&[&"log", &"export", &copy])
        .refused("is not signed by `example.org/countersign-log`");
    let last = size as u64 - 1;
    world.tamper(|database| {
        database
            .execute("DELETE FROM entries WHERE idx = ?1", [last])
            .expect("deleted");
        rehash(database);
    });
    world.host(&[&"log", &"export", &folder]).refused(&format!(
        "is a checkpoint of {size} entries, but there are {last}"
    ));
    check().refused(&format!(
        "is a checkpoint of {size} entries, but there are {last}"
    ));
    // As long as before, with another last entry.
    let forked = format!(
        "is a checkpoint of {size} entries whose root differs from that of the first {size} \
         entries here"
    );
    world.tamper(|database| {
        let other = text(database, last - 1).replace(
            &format!("\"index\":{}", last - 1),
            &format!("\"index\":{last}"),
        );
        database
            .execute("INSERT INTO entries VALUES (?1, ?2)", params![last, other])
            .expect("appended");
        rehash(database);
    });
    world.host(&[&"log", &"export", &folder]).refused(&forked);
    check().refused(&forked);
}

/// Another machine has the folder, the log's key and what it kept. The signing host's home is
/// nowhere.
#[test]
fn an_exported_log_is_verified_and_read_without_the_home() {
    let world = World::ready();
    world.signed();
    let (folder, key) = (world.export_log(), world.log_key());
    let vkey = world.at("log.vkey");
    fs::write(&vkey, format!("{key}\n")).expect("a file");
    let (all, kept) = (world.log(), world.checkpoint("kept"));
    let first = world.host(&[&"log", &"show", &"0"]).ok().stdout;
    let listed = world.host(&[&"log", &"list"]).ok().stdout;
    let of_foo = world
        .host(&[&"log", &"list", &"--project", &"foo", &"--json"])
        .ok()
        .stdout;
    fs::rename(world.home(), world.at("nowhere")).expect("the home is away");
    let reads = |arguments: crate::common::Arguments<'_>| {
        world
            .countersign(arguments)
            .with(&[&"--export", &folder, &"--log-key", &vkey])
    };

    let said = reads(&[&"log", &"verify"])
        .ok()
        .says(&format!("{} entries, each as it was logged", all.len()));
    said.says("only a checkpoint or a release kept elsewhere shows that");
    let said = reads(&[&"log", &"verify", &"--checkpoint", &kept, &"--json"])
        .ok()
        .json();
    assert_eq!(
        (&said["entries"], &said["log_key"]),
        (&all.len().into(), &key.as_str().into())
    );
    assert_eq!(said["checkpoints"][0]["entries"], all.len());
    // It shows what the home shows, letter by letter.
    assert_eq!(reads(&[&"log", &"list"]).ok().stdout, listed);
    assert_eq!(
        reads(&[&"log", &"list", &"--json"]).ok().json()["entries"],
        Value::Array(all.clone())
    );
    assert_eq!(
        reads(&[&"log", &"list", &"--project", &"foo", &"--json"])
            .ok()
            .stdout,
        of_foo
    );
    assert_eq!(
        reads(&[&"log", &"list", &"--kind", &"reconciled", &"--json"])
            .ok()
            .stdout,
        "{\n  \"entries\": [],\n  \"warnings\": []\n}\n"
    );
    assert_eq!(reads(&[&"log", &"show", &"0"]).ok().stdout, first);
    reads(&[&"log", &"show", &"1000"]).stops(2, "the log has no entry 1000");
    // The key as it is written, too.
    world
        .countersign(&[&"log", &"list", &"--export", &folder, &"--log-key", &key])
        .ok();

    // Neither without the other; and `verify` compares with the home then.
    for command in ["list", "show", "reconcile"] {
        let index: crate::common::Arguments<'_> = if command == "show" { &[&"0"] } else { &[] };
        let run = |more: crate::common::Arguments<'_>| {
            world
                .countersign(&[&"log", &command])
                .with(index)
                .with(more)
        };
        run(&[&"--export", &folder]).stops(2, "--log-key <KEY|FILE>");
        run(&[&"--log-key", &vkey]).stops(2, "--export <DIR>");
    }
    world
        .countersign(&[&"log", &"verify", &"--log-key", &vkey])
        .stops(2, "--export <DIR>");
    world
        .host(&[&"log", &"verify", &"--export", &folder])
        .stops(2, "there is no signing host's home at");
    let named = |folder: &Path, key: &str| {
        world.countersign(&[&"log", &"verify", &"--export", &folder, &"--log-key", &key])
    };
    named(&world.at("nothing"), &key).stops(2, "nothing` does not exist");
    named(&folder, "not a key").stops(2, "the key is not of the form `NAME+ID+BASE64`");
    named(&folder, &World::ready().log_key())
        .stops(1, "is not signed by `example.org/countersign-log`");
}

/// What is wrong is named, and nothing is shown of a log that is not valid.
#[test]
fn each_change_to_an_exported_log_is_found_without_the_home() {
    let world = World::ready();
    world.signed();
    let (folder, key, size) = (world.export_log(), world.log_key(), world.log().len());
    let older = world.at("older");
    copy_tree(&folder, &older);
    let known = world.checkpoint("known");
    world.sign_another();
    let newer = world.checkpoint("newer");
    let entries = folder.join(format!("tile/entries/000.p/{size}"));
    let hashes = folder.join(format!("tile/0/000.p/{size}"));
    let intent = world.logged("intent")[0]["index"]
        .as_u64()
        .expect("an index");
    fs::rename(world.home(), world.at("nowhere")).expect("the home is away");
    let read = |command: &str| {
        let index: crate::common::Arguments<'_> = if command == "show" { &[&"0"] } else { &[] };
        world.countersign(&[&"log", &command]).with(index).with(&[
            &"--export",
            &folder,
            &"--log-key",
            &key,
        ])
    };
    let refused = |why: &str| {
        for command in ["verify", "list", "show"] {
            assert_eq!(
                read(command).stops(1, why).stdout,
                "",
                "`{command}` printed something first"
            );
        }
    };
    let with = |file: &Path, change: &dyn Fn(&mut Vec<u8>), why: &str| {
        let whole = fs::read(file).expect("a file");
        let mut bytes = whole.clone();
        change(&mut bytes);
        assert_ne!(bytes, whole);
        fs::write(file, bytes).expect("changed");
        refused(why);
        fs::write(file, whole).expect("as it was");
    };
    read("verify").ok();

    let altered = |bytes: &mut Vec<u8>| {
        let at = bytes
            .windows(15)
            .position(|window| window == b"\"kind\":\"intent\"")
            .expect("the intent");
        bytes[at + 1] = b'K';
    };
    with(&entries, &altered, &format!("entry {intent} was altered"));
    let taken_off = |bytes: &[u8]| 2 + usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
    with(
        &entries,
        &|bytes| drop(bytes.drain(..taken_off(bytes))),
        "entry 0 was altered",
    );
    let swapped = |bytes: &mut Vec<u8>| {
        let first = taken_off(bytes);
        let second = taken_off(&bytes[first..]);
        bytes[..first + second].rotate_left(first);
    };
    with(&entries, &swapped, "entry 0 was altered");
    let appended = |bytes: &mut Vec<u8>| bytes.extend_from_within(..taken_off(bytes));
    with(
        &entries,
        &appended,
        &format!("000.p/{size}` goes on after entry {}", size - 1),
    );
    with(
        &entries,
        &|bytes| bytes.truncate(bytes.len() - 1),
        &format!("entry {} is missing", size - 1),
    );
    with(&hashes, &|bytes| bytes[32 * 3] ^= 1, "entry 3 was altered");
    with(
        &hashes,
        &|bytes| bytes.truncate(40),
        &format!("tile/0/000.p/{size}` does not have the {size} hashes"),
    );
    let checkpoint = folder.join("checkpoint");
    with(&checkpoint, &|bytes| bytes[20] ^= 1, "checkpoint`: ");
    let larger = fs::read(&newer).expect("a note");
    with(
        &checkpoint,
        &|bytes| bytes.clone_from(&larger),
        &format!("{}` is missing", first_missing(&larger)),
    );
    for file in [&entries, &hashes, &checkpoint] {
        let aside = world.at("aside");
        fs::rename(file, &aside).expect("moved");
        refused(&format!(
            "{}` is missing",
            file.file_name().expect("a name").to_string_lossy()
        ));
        std::os::unix::fs::symlink(&aside, file).expect("a link");
        read("verify").stops(2, "is a symbolic link");
        fs::remove_file(file).expect("the link");
        fs::rename(&aside, file).expect("as it was");
    }
    // An older export: whole by itself, but others know more.
    read("verify").ok();
    read("verify")
        .with(&[&"--checkpoint", &known])
        .ok()
        .says("goes on from checkpoint");
    let gone = format!("but there are {size}: entry {size} and those after it are gone");
    read("verify")
        .with(&[&"--checkpoint", &known, &"--checkpoint", &newer])
        .stops(1, &gone);
}

/// The first file of a longer log that a shorter one does not have.
fn first_missing(note: &[u8]) -> String {
    let size = String::from_utf8_lossy(note)
        .lines()
        .nth(1)
        .expect("a size")
        .to_owned();
    format!("tile/entries/000.p/{size}")
}

#[test]
fn a_proof_shows_that_a_signature_was_announced() {
    let world = World::ready();
    let release = world.signed();
    let intent = world.logged("intent")[0]["index"]
        .as_u64()
        .expect("an index");
    let (file, proof, key) = (
        release.join("foo.tar"),
        world.at("foo.tar.tlog-proof"),
        world.log_key(),
    );
    let said = world
        .host(&[&"log", &"prove", &file, &"-o", &proof, &"--json"])
        .ok()
        .json();
    assert_eq!(
        (&said["entry"], &said["log_key"]),
        (&intent.into(), &key.as_str().into())
    );
    assert!(
        fs::read_to_string(&proof)
            .expect("a proof")
            .starts_with("c2sp.org/tlog-proof@v1\nextra ")
    );
    let verify = |file: &Path, proof: &Path, key: &str| {
        world
            .verify(file)
            .with(&[&"--proof", &proof, &"--log-key", &key])
    };
    let good = format!("announced in entry {intent} of the log");
    verify(&file, &proof, &key).ok().says("good").says(&good);
    let vkey = world.at("log.vkey");
    fs::write(&vkey, format!("{key}\n")).expect("a file");
    verify(&file, &proof, vkey.to_str().expect("a path"))
        .ok()
        .says(&good);
    // One intent covers every file of its release: the list, and the signature, too.
    for name in ["SHA256SUMS", "foo.txt", "foo.tar.asc"] {
        let proof = world.at("other.tlog-proof");
        world
            .host(&[&"log", &"prove", &release.join(name), &"-o", &proof])
            .ok();
        verify(&file, &proof, &key).ok().says(&good);
    }
    // In the current folder, unless it is named: in its release it would be a file too many.
    world
        .host(&[&"log", &"prove", &release.join("foo.txt")])
        .ok();
    assert!(world.at("foo.txt.tlog-proof").is_file());
    world.verify(&release).ok();
    let lone = world.at("foo.txt");
    copy(&release.join("foo.txt"), &lone);
    // Nothing but a proof is written over.
    world
        .host(&[&"log", &"prove", &lone, &"-o", &lone])
        .usage("exists already");
    assert_eq!(fs::read(&lone).expect("it is there"), b"text\n");

    // The log goes on; the proof stays.
    let second = world.sign_another();
    verify(&file, &proof, &key).ok();
    let of_second = world.at("second.tlog-proof");
    world
        .host(&[
            &"log",
            &"prove",
            &second.join("SHA256SUMS"),
            &"-o",
            &of_second,
        ])
        .ok();
    verify(&release.join("foo.txt"), &of_second, &key)
        .refused("does not announce artifact `foo.txt` with SHA-256");
    verify(&file, &of_second, &key).refused("differs in its index in the log");
    // The same bytes in two releases: each signature names its own entry.
    let same = second.join("foo.tar");
    world
        .host(&[&"log", &"prove", &same, &"-o", &of_second])
        .usage("several entries cover");
    world
        .host(&[
            &"log",
            &"prove",
            &same,
            &"-o",
            &of_second,
            &"--entry",
            &intent.to_string(),
        ])
        .ok();
    verify(&same, &of_second, &key).refused("announces a signature of this file that differs");
    verify(&file, &of_second, &key).ok();

    let stranger = World::ready().log_key();
    verify(&file, &proof, &stranger).refused("is not signed by `example.org/countersign-log`");
    verify(&file, &proof, "not a key").usage("the key is not of the form `NAME+ID+BASE64`");
    let whole = fs::read_to_string(&proof).expect("a proof");
    for (good, bad, why) in [
        ("@v1", "@v2", "is not a proof of the form"),
        (
            &*format!("index {intent}"),
            "index 0",
            "does not lead from entry 0",
        ),
        ("extra ", "extra A", "is not a proof of the form"),
        ("countersign-log\n", "countersign-lag\n", "is invalid"),
    ] {
        assert!(whole.contains(good));
        fs::write(&proof, whole.replacen(good, bad, 1)).expect("changed");
        verify(&file, &proof, &key).refused(why);
    }
    fs::write(&proof, &whole).expect("as it was");
    world
        .verify(&release)
        .with(&[&"--proof", &proof, &"--log-key", &key])
        .usage("--proof is about one file");
    // With several, one would pass for proved because another is; a file and its signature are one.
    for other in [
        release.join("foo.txt"),
        release.join("SHA256SUMS"),
        release.clone(),
    ] {
        let said = verify(&file, &proof, &key)
            .with(&[&other])
            .usage("--proof is about one file");
        assert_eq!(said.stdout, "", "something was printed first");
    }
    verify(&file, &proof, &key)
        .with(&[&release.join("foo.tar.asc")])
        .ok()
        .says(&good);
    let unknown = world.at("unknown");
    fs::write(&unknown, "unknown").expect("a file");
    world
        .host(&[&"log", &"prove", &unknown])
        .refused("the log has no intent to sign");
}

impl World {
    /// A release of the same artifacts with another version.
    fn sign_another(&self) -> PathBuf {
        let artifacts: [(&str, &[u8]); 2] = [("foo.txt", b"other\n"), ("foo.tar", &[7; 100_000])];
        let (granted, build) = self.attested_of("1.2.4", &[], &artifacts);
        self.sign(&granted, &build).ok();
        self.release(&granted)
    }
}

/// The token signs the state of the log that ends with the intent.
#[test]
fn each_release_signature_names_the_index_and_the_root_of_its_intent() {
    if !crate::common::have(&["gpgv"]) {
        return;
    }
    let world = World::ready();
    let release = world.signed();
    world.sign_another();
    let intent = world.logged("intent")[0]["index"]
        .as_u64()
        .expect("an index");
    for file in ["foo.txt", "foo.tar", "SHA256SUMS"] {
        let (file, signature) = (release.join(file), release.join(format!("{file}.asc")));
        let gpgv: [&dyn AsRef<std::ffi::OsStr>; 6] = [
            &"--status-fd",
            &"1",
            &"--keyring",
            &world.certificate(),
            &signature,
            &file,
        ];
        let said = tool("gpgv", &gpgv, &world.at(""));
        let (_, notation) = said
            .stdout
            .split_once("NOTATION_NAME log@example.org\n")
            .expect("the notation");
        let lines = notation
            .lines()
            .take_while(|line| !line.starts_with("[GNUPG:] NOTATION_NAME "));
        let lines = lines.filter_map(|line| line.strip_prefix("[GNUPG:] NOTATION_DATA "));
        // In a status line a space is written out.
        let value = lines.collect::<String>().replace("%20", " ");
        assert_eq!(value, format!("{intent} {}", world.root_after(intent)));
    }
}

#[test]
fn the_list_shows_what_fits_every_filter() {
    let world = World::ready();
    world.signed();
    world
        .host(&[
            &"grant",
            &"bar",
            &"1",
            &"--builder",
            &"m1",
            &"-o",
            &world.new_folder("g"),
        ])
        .ok();
    let all = world.log();
    let with = |filters: crate::common::Arguments<'_>| -> Vec<u64> {
        let said = world
            .host(&[&"log", &"list", &"--json"])
            .with(filters)
            .ok()
            .json();
        let entries = said["entries"].as_array().expect("a list").clone();
        entries
            .iter()
            .map(|entry| entry["index"].as_u64().expect("an index"))
            .collect()
    };
    let those = |fits: &dyn Fn(&Value) -> bool| -> Vec<u64> {
        all.iter()
            .filter(|entry| fits(entry))
            .map(|entry| entry["index"].as_u64().expect("an index"))
            .collect()
    };
    assert_eq!(
        with(&[&"--kind", &"intent"]),
        those(&|entry| entry["kind"] == "intent")
    );
    let of_grants = those(&|entry| {
        let kinds = [
            "grant-issued",
            "evidence-accepted",
            "intent",
            "outcome",
            "released",
        ];
        kinds.contains(&entry["kind"].as_str().expect("a kind"))
    });
    let (foo, bar) = of_grants.split_at(of_grants.len() - 1);
    assert_eq!(with(&[&"--project", &"foo"]), foo);
    assert_eq!(with(&[&"--project", &"bar"]), bar);
    assert_eq!(
        with(&[&"--project", &"bar", &"--kind", &"intent"]),
        [0_u64; 0]
    );
    let listed = |key: &str| world.host(&[&"log", &"list", &"--key", &key]);
    for none in ["abc", "", "foo", "SHA256:abc", &"g".repeat(40)] {
        listed(none).usage("a fingerprint is 40 or 64 hexadecimal digits");
    }
    for unknown in [
        "a".repeat(40),
        "b".repeat(64),
        format!("SHA256:{}", "c".repeat(43)),
    ] {
        assert_eq!(listed(&unknown).ok().stdout, "");
    }
    let beyond = u64::MAX.to_string();
    world
        .host(&[&"log", &"show", &beyond])
        .usage(&format!("the log has no entry {beyond}"));
    let intent = &world.logged("intent")[0];
    let key = intent["key"].as_str().expect("a key");
    let has_key = those(&|entry| entry["key"] == key);
    assert!(has_key.len() >= 2, "{has_key:?}");
    assert_eq!(with(&[&"--key", &key]), has_key);
    assert_eq!(with(&[&"--key", &key.to_lowercase()]), has_key);
    let digest = intent["artifacts"]["foo.txt"].as_str().expect("a digest");
    assert_eq!(
        with(&[&"--digest", &digest]),
        those(&|entry| entry["kind"] == "intent")
    );
    let grant = intent["grant"].as_str().expect("a grant");
    assert_eq!(
        with(&[&"--digest", &grant]),
        those(&|entry| entry["grant"] == grant)
    );
    assert_eq!(with(&[&"--since", &"1h-ago"]).len(), all.len());
    assert_eq!(with(&[&"--since", &"2100-01-01T00:00:00Z"]), [0_u64; 0]);
    if crate::common::can_travel() {
        let later = world
            .host(&[&"log", &"list", &"--json", &"--since", &"1h-ago"])
            .at("+2h")
            .ok()
            .json();
        assert_eq!(later["entries"], Value::Array(Vec::new()));
    }
    world
        .host(&[&"log", &"list", &"--since", &"yesterday"])
        .usage("`14d-ago`");
    world
        .host(&[&"log", &"list", &"--digest", &"abc"])
        .usage("is not a SHA-256 digest");
    world
        .host(&[&"log", &"list", &"--kind", &"nothing"])
        .usage("log-created");
}

/// Go's implementation of transparency logs, and nothing of ours, decides.
#[test]
fn go_verifies_the_log_and_refuses_what_was_changed() {
    let Some(program) = go_log() else { return };
    let world = World::ready();
    let key = world.log_key();
    let early = world.checkpoint("early");
    let release = world.signed();
    let late = world.checkpoint("late");
    while world.log().len() < 258 {
        world.host(&[&"key", &"check", &"--sign"]).ok();
    }
    let folder = world.export_log();
    let size = world.log().len();
    let verify = |folder: &Path| {
        tool(
            &program,
            &[&"tiles", &key, &folder, &early, &late],
            &world.at(""),
        )
    };
    let refuses = |folder: &Path| {
        tool_refuses(
            &program,
            &[&"tiles", &key, &folder, &early, &late],
            &world.at(""),
        )
    };
    verify(&folder).says(&format!("{size} entries, 2 older checkpoints"));

    let proof = world.at("proof");
    world
        .host(&[&"log", &"prove", &release.join("foo.tar"), &"-o", &proof])
        .ok();
    let entry = &world.logged("intent")[0];
    let said = tool(&program, &[&"proof", &key, &proof], &world.at(""));
    let proven: Value =
        serde_json::from_str(said.stdout.lines().nth(1).expect("an entry")).expect("JSON");
    assert_eq!(proven, *entry);
    let whole = fs::read_to_string(&proof).expect("a proof");
    fs::write(
        &proof,
        whole.replacen("extra eyJpbmRleCI6", "extra eyJpbmRleCI7", 1),
    )
    .expect("changed");
    tool_refuses(&program, &[&"proof", &key, &proof], &world.at(""));

    // An altered letter, in each kind of file.
    for name in [
        "tile/entries/000",
        "tile/0/000",
        "tile/1/000.p/1",
        "checkpoint",
    ] {
        let path = folder.join(name);
        let bytes = fs::read(&path).expect("a file");
        let mut altered = bytes.clone();
        altered[30] ^= 1;
        fs::write(&path, altered).expect("changed");
        refuses(&folder);
        fs::write(&path, bytes).expect("as it was");
    }
    verify(&folder);

    // A truncated log: this host signs the checkpoint of fewer entries.
    let truncated = world.at("truncated");
    let late_size: u64 = fs::read_to_string(&late)
        .expect("a note")
        .lines()
        .nth(1)
        .expect("a size")
        .parse()
        .expect("a number");
    world.tamper(|database| {
        database
            .execute("DELETE FROM entries WHERE idx >= ?1", [late_size - 1])
            .expect("deleted");
        rehash(database);
    });
    world.host(&[&"log", &"export", &truncated]).ok();
    refuses(&truncated).says(&format!(
        "{late_size} entries were there, {} are left",
        late_size - 1
    ));
    // A forked one: as long as before, and other entries.
    let forked = world.at("forked");
    for _ in 0..3 {
        world.host(&[&"key", &"check", &"--sign"]).ok();
    }
    world.host(&[&"log", &"export", &forked]).ok();
    refuses(&forked).says("the log does not go on from it");
    tool(&program, &[&"tiles", &key, &forked, &early], &world.at(""));
}

/// The Go program in `tests/go-log`, built; see [`missing`](crate::common::tokens::missing).
fn go_log() -> Option<String> {
    match std::env::var("COUNTERSIGN_TEST_GO_LOG") {
        Ok(path) => Some(path),
        Err(_) => crate::common::tokens::missing(
            "COUNTERSIGN_TEST_GO_LOG (tests/equipment.sh go-log builds it)",
        ),
    }
}

/// Of an intent of very many artifacts, several entries may announce files of the same bytes.
#[test]
fn a_file_that_several_entries_of_one_intent_announce_is_proved() {
    let world = World::ready();
    let (config, names) = (
        world.home().join("config.toml"),
        (0..400).map(|n| format!("foo-{n:0>190}")),
    );
    let text = fs::read_to_string(&config).expect("the configuration");
    write_private(
        &config,
        text.replace("#max_count = 100", "max_count = 400")
            .as_bytes(),
    );
    let (names, granted) = (names.collect::<Vec<_>>(), world.grant());
    let build = world.build(
        &names
            .iter()
            .map(|name| (name.as_str(), &b"same\n"[..]))
            .collect::<Vec<_>>(),
    );
    world.attest(&granted, &build).ok();
    world.sign(&granted, &build).ok().says("signatures 401");
    let (parts, intents) = (world.logged("artifacts"), world.logged("intent"));
    assert!(parts.len() > 1, "{parts:?}");
    let intent = intents[0]["index"].to_string();
    let proof = world.at("proof");
    // Each entry has the digest, and one has the name.
    for part in &parts {
        let artifacts = part["artifacts"].as_object().expect("artifacts");
        let name = artifacts.keys().next().expect("a name");
        let file = world.release(&granted).join(name);
        let index = part["index"].to_string();
        for entry in [
            &[] as Arguments<'_>,
            &[&"--entry", &index],
            &[&"--entry", &intent],
        ] {
            let prove = world
                .host(&[&"log", &"prove", &file, &"-o", &proof])
                .with(entry);
            prove.ok().says(&format!("entry {index} covers"));
            world
                .verify(&file)
                .with(&[&"--proof", &proof, &"--log-key", &world.log_key()])
                .ok();
        }
    }
    let file = world.release(&granted).join(&names[7]);
    world
        .host(&[&"log", &"prove", &file, &"-o", &proof, &"--entry", &"0"])
        .refused("the log has no intent to sign");
}
