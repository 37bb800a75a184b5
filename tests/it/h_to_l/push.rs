//! A signed release on its way to the location, the location's reports on it, and the log that goes
//! there too.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::common::world::{Build, Granted, World, write_private};
use crate::common::{Arguments, Run, can_travel, copy_tree, have, listing, tool, tree};
use serde_json::{Value, json};

const NAME: &str = "foo-1.2.3";

/// A signing host that has its location's inbox and a folder for the log on its own disk.
pub(super) fn with_a_location() -> World {
    let world = World::ready();
    for folder in ["signed", "log"] {
        fs::create_dir(world.at(folder)).expect("a folder");
    }
    configure(
        &world,
        "[repository]\ninbox = \"../inbox\"\nlog = \"../log\"\n",
    );
    world
}

/// Sets this for the location in the configuration.
fn configure(world: &World, text: &str) {
    let path = world.home().join("config.toml");
    let config = fs::read_to_string(&path).expect("the configuration");
    let before = config.split("\n[repository]").next().expect("a beginning");
    write_private(&path, format!("{before}\n{text}").as_bytes());
}

/// Where releases are signed into.
pub(super) fn signed(world: &World) -> PathBuf {
    world.at("signed").join(NAME)
}

/// Where they go.
pub(super) fn submission(world: &World) -> PathBuf {
    world.inbox().join(NAME)
}

pub(super) fn sign<'w>(world: &'w World, (granted, build): &(Granted, Build)) -> Run<'w> {
    world.sign_into(&signed(world), granted, build)
}

pub(super) fn push(world: &World) -> Run<'_> {
    world.host(&[&"push"])
}

/// A release that is signed, while the inbox is not there.
fn signed_while_the_inbox_was_away(world: &World) -> (Granted, Build) {
    let attested = world.attested();
    world.without(&world.inbox(), || {
        sign(world, &attested).trouble("but was not pushed")
    });
    attested
}

/// A report that somebody else than the location left, of the release that was signed.
fn forge_report(world: &World) {
    let intent = world.logged("intent").remove(0);
    let report = json!({
        "format": "countersign-admission/1",
        "release": NAME,
        "sums": intent["sums"],
        "artifacts": intent["sums"],
        "key": intent["key"],
        "at": "2026-11-25T10:00:00Z",
    });
    let report = report.to_string();
    fs::write(world.inbox().join("foo-1.2.3.admitted"), report).expect("a report");
}

/// The kinds of the newest entries.
pub(super) fn newest(world: &World, count: usize) -> Vec<String> {
    let log = world.log();
    log[log.len() - count..]
        .iter()
        .map(|entry| entry["kind"].as_str().expect("a kind").to_owned())
        .collect()
}

/// The location's reports in the log.
pub(super) fn verdicts(world: &World) -> Vec<Value> {
    world
        .logged("admission")
        .into_iter()
        .map(|mut entry| entry["result"].take())
        .collect()
}

/// The exported log has every entry that there is.
#[track_caller]
fn log_is_exported_whole(world: &World) {
    let verified = world
        .host(&[&"log", &"verify", &"--export", &world.at("log"), &"--json"])
        .ok()
        .json();
    assert_eq!(verified["exported"], verified["entries"]);
}

/// As a glob may do that also finds a copy.
#[test]
fn a_release_that_is_named_twice_is_pushed_once() {
    let world = with_a_location();
    signed_while_the_inbox_was_away(&world);
    let copy = world.at("copy");
    copy_tree(&signed(&world), &copy);
    push(&world)
        .with(&[&signed(&world), &copy])
        .ok()
        .says("foo-1.2.3: pushed to")
        .says("foo-1.2.3: was there already");
    assert_eq!(world.logged("pushed").len(), 1);
    world.host(&[&"log", &"verify"]).ok();
}

#[test]
fn a_release_goes_to_its_location_and_the_report_comes_back() {
    let world = with_a_location();
    let attested = world.attested();
    let said = sign(&world, &attested).ok();
    let said = said.says(&format!("pushed     {}", submission(&world).display()));
    said.says("entries in").says("next: at the location run");
    assert_eq!(
        newest(&world, 4),
        ["intent", "outcome", "released", "pushed"]
    );
    let (released, pushed) = (
        world.logged("released").remove(0),
        world.logged("pushed").remove(0),
    );
    assert_eq!(released["to_push"], true);
    assert_eq!(pushed["intent"], released["intent"]);
    assert_eq!(
        tree(&submission(&world)),
        tree(&signed(&world)),
        "whole, and nothing else"
    );
    assert_eq!(listing(&world.inbox()), [NAME]);
    log_is_exported_whole(&world);

    world.admit().ok();
    assert_eq!(
        (listing(&world.inbox()), world.public()),
        (vec![format!("{NAME}.admitted")], vec![NAME.to_owned()])
    );
    push(&world)
        .ok()
        .says("foo-1.2.3: admitted at")
        .says("reported by the location");
    let [verdict] = &*verdicts(&world) else {
        panic!("one report")
    };
    assert_eq!(verdict["status"], "admitted");
    log_is_exported_whole(&world);
    let listed = world.host(&[&"log", &"list", &"--project", &"foo"]).ok();
    listed
        .says(": pushed")
        .says("the location reports that it admitted the release at")
        .says(": released");

    // Nothing is left to do.
    let (log, made) = (world.log(), world.token_count());
    push(&world).ok().says("no release waits to be pushed");
    sign(&world, &attested).ok().says("(before, entry");
    assert_eq!((world.log().len(), world.token_count()), (log.len(), made));
    assert_eq!(listing(&world.inbox()), [format!("{NAME}.admitted")]);
    world.host(&[&"log", &"verify"]).ok();
    fs::rename(world.inbox(), world.at("away")).expect("moved away");
    sign(&world, &attested).ok().says("(before, entry");
}

#[test]
fn a_push_is_reported_to_programs() {
    let world = with_a_location();
    let said = sign(&world, &world.attested())
        .with(&[&"--json"])
        .ok()
        .json();
    assert_eq!(said["pushed"], submission(&world).to_str().expect("text"));
    assert_eq!(said["log"]["entries"], world.log().len());
    world.admit().with(&[&"--json"]).ok();
    let said = push(&world).with(&[&"--json"]).ok().json();
    assert_eq!(said["pushed"].as_array().map(Vec::len), Some(0));
    assert_eq!(said["reports"][0]["result"]["status"], "admitted", "{said}");
    assert_eq!(said["log"]["entries"], world.log().len());
}

#[test]
fn a_release_waits_while_the_inbox_is_away() {
    let world = with_a_location();
    let attested = world.attested();
    fs::rename(world.inbox(), world.at("away")).expect("moved away");
    let said = sign(&world, &attested).trouble(&format!(
        "the release is signed and in `{}`",
        signed(&world).display()
    ));
    said.says("`countersign push`")
        .says("the token is not needed")
        .says("signed foo 1.2.3");
    world.verify(&signed(&world)).ok();
    assert_eq!(world.logged("pushed").len(), 0);
    assert!(
        !world.inbox().exists(),
        "nobody makes a folder where a mount should be"
    );
    log_is_exported_whole(&world);

    let status = world
        .host(&[&"status"])
        .ok()
        .says("the release is to be pushed")
        .says("countersign push");
    assert!(
        !status.stdout.contains("every signing run is finished"),
        "{status:?}"
    );
    let status = world.host(&[&"status", &"--json"]).ok().json();
    assert_eq!(
        status["not_pushed"][0]["release"],
        signed(&world).to_str().expect("text")
    );
    let made = world.token_count();
    push(&world)
        .trouble("does not exist")
        .says("foo-1.2.3: not pushed");

    fs::rename(world.at("away"), world.inbox()).expect("back again");
    push(&world).ok().says("foo-1.2.3: pushed to");
    assert_eq!(tree(&submission(&world)), tree(&signed(&world)));
    assert_eq!(
        (world.logged("pushed").len(), world.token_count()),
        (1, made)
    );
    let status = world.host(&[&"status", &"--json"]).ok().json();
    assert_eq!(status["not_pushed"].as_array().map(Vec::len), Some(0));
    world.admit().ok();
}

/// `sign` finishes its own release, too.
#[test]
fn the_same_sign_pushes_what_was_not_pushed() {
    let world = with_a_location();
    let attested = signed_while_the_inbox_was_away(&world);
    let made = world.token_count();
    // And logs at once the report on it.
    forge_report(&world);
    let said = sign(&world, &attested)
        .ok()
        .says("signed already")
        .says("pushed     ");
    said.says("location   admitted at 2026-11-25T10:00:00Z, reported by the location");
    assert_eq!(
        (world.logged("pushed").len(), world.token_count()),
        (1, made)
    );
    assert_eq!(newest(&world, 2), ["pushed", "admission"]);
    world.admit().ok();
}

#[test]
fn the_log_waits_while_its_folder_is_away() {
    let world = with_a_location();
    fs::remove_dir(world.at("log")).expect("away");
    let said = sign(&world, &world.attested()).trouble("the log was not exported");
    said.says("`countersign push`").says("pushed     ");
    assert!(!world.at("log").exists() && submission(&world).exists());
    fs::create_dir(world.at("log")).expect("back again");
    push(&world).ok().says("entries in");
    log_is_exported_whole(&world);
}

#[test]
fn a_log_goes_where_there_is_no_inbox() {
    let world = World::ready();
    configure(&world, "[repository]\nlog = \"../log\"\n");
    fs::create_dir(world.at("log")).expect("a folder");
    world.signed();
    log_is_exported_whole(&world);
    world.admit().ok();
    push(&world).ok().says("log: ");
    push(&world)
        .with(&[&world.releases().join(NAME)])
        .usage("names no inbox");
    assert_eq!(
        (
            world.logged("pushed").len(),
            world.logged("admission").len()
        ),
        (0, 0)
    );
}

#[test]
fn a_release_that_was_changed_is_not_pushed() {
    let world = with_a_location();
    let attested = signed_while_the_inbox_was_away(&world);
    let artifact = signed(&world).join("foo.tar");
    fs::write(&artifact, [8; 100_000]).expect("changed");
    push(&world)
        .refused("but was not pushed: `foo.tar` has SHA-256")
        .says("another `-o`");
    fs::write(signed(&world).join("too-many"), b"").expect("added");
    push(&world).refused("`too-many` is in the release");
    // A good release in its place, by the same key.
    fs::remove_dir_all(signed(&world)).expect("removed");
    let other = world.build(&[("foo.txt", b"other\n")]);
    let granted = world.grant();
    world.attest(&granted, &other).ok();
    world.without(&world.inbox(), || {
        sign(&world, &(granted, other)).trouble("was not pushed")
    });
    push(&world)
        .stops(1, "is not the release that was signed there")
        .says("foo-1.2.3: pushed to");
    assert_eq!(world.logged("pushed").len(), 1, "the other one is itself");
    fs::remove_dir_all(submission(&world)).expect("removed");

    // What was signed is kept: another folder is made of it, and pushed.
    world
        .sign_into(&world.at("again"), &attested.0, &attested.1)
        .ok()
        .says("the token was not used")
        .says("pushed     ");
    assert_eq!(tree(&submission(&world)), tree(&world.at("again")));
}

#[test]
fn what_is_in_the_inbox_is_not_replaced() {
    let world = with_a_location();
    signed_while_the_inbox_was_away(&world);
    let place = submission(&world);
    let other = world.at("other");
    copy_tree(&signed(&world), &other);
    fs::write(other.join("SHA256SUMS"), b"another list").expect("changed");
    for what in ["another release", "an empty folder", "a file", "a link"] {
        match what {
            "another release" => copy_tree(&other, &place),
            "an empty folder" => fs::create_dir(&place).expect("a folder"),
            "a file" => fs::write(&place, b"x").expect("a file"),
            _ => symlink(&other, &place).expect("a link"),
        }
        fs::write(
            world.inbox().join("foo-1.2.3.refused"),
            b"for some reason\n",
        )
        .expect("a note");
        let before = tree(&world.inbox());
        let said = push(&world).usage("exists already, and is not this release");
        said.says("the release is signed and in")
            .says("remove it there if it is not wanted");
        assert_eq!(tree(&world.inbox()), before, "{what}");
        fs::remove_dir_all(&place)
            .or_else(|_| fs::remove_file(&place))
            .expect("removed");
    }
    assert_eq!(world.logged("pushed").len(), 0);
    // A report on what was there before is not one on this release.
    push(&world).ok();
    push(&world).ok();
    assert_eq!(
        (world.logged("pushed").len(), verdicts(&world).len()),
        (1, 0)
    );
    assert_eq!(listing(&world.inbox()), [NAME]);
}

#[test]
fn a_release_that_is_there_is_not_copied_again() {
    let world = with_a_location();
    signed_while_the_inbox_was_away(&world);
    copy_tree(&signed(&world), &submission(&world));
    let there = || {
        let list = submission(&world).join("SHA256SUMS");
        fs::metadata(list).expect("a list").ino()
    };
    let before = there();
    push(&world).ok().says("was there already");
    assert_eq!((there(), world.logged("pushed").len()), (before, 1));
}

/// Others write to an inbox, and it may be on a mount that loses what was written.
#[test]
fn what_is_in_the_inbox_is_read_back_before_it_is_called_pushed() {
    let world = with_a_location();
    signed_while_the_inbox_was_away(&world);
    let at = |name: &str| submission(&world).join(name);
    let changes: [(&str, &dyn Fn()); 4] = [
        ("`foo.tar", &|| {
            fs::remove_file(at("foo.tar")).expect("removed")
        }),
        ("`foo.txt", &|| {
            fs::write(at("foo.txt"), b"other\n").expect("changed");
        }),
        ("foo.txt.asc", &|| {
            fs::remove_file(at("foo.txt.asc")).expect("removed");
        }),
        ("`more`", &|| {
            fs::write(at("more"), b"").expect("written");
        }),
    ];
    for (file, change) in changes {
        copy_tree(&signed(&world), &submission(&world));
        change();
        let said = push(&world).usage("`foo-1.2.3` was read back: ");
        said.says(file).says("and is not this release");
        assert_eq!(world.logged("pushed").len(), 0, "{file}");
        fs::remove_dir_all(submission(&world)).expect("removed");
    }
    push(&world).ok();

    let statement = world.at("signed/foo-1.2.3.withdrawal");
    world.without(&world.inbox(), || {
        let withdraw: Arguments<'_> = &[&"withdraw", &"foo", &"1.2.3", &"--reason", &"why"];
        let run = world.host(withdraw).with(&[&"-o", &statement]);
        run.trouble("was not pushed")
    });
    let there = world.inbox().join("foo-1.2.3.withdrawal");
    copy_tree(&statement, &there);
    fs::write(there.join("more"), b"").expect("written");
    push(&world).usage("`foo-1.2.3.withdrawal` was read back: ");
    assert_eq!(world.logged("withdrawal-pushed").len(), 0);
    fs::remove_dir_all(&there).expect("removed");
    push(&world).ok();
}

/// What the location takes out of its inbox at once was there.
#[test]
fn a_release_that_is_admitted_while_it_is_read_back_is_pushed() {
    let world = with_a_location();
    signed_while_the_inbox_was_away(&world);
    forge_report(&world);
    let taken = || {
        (0..1000).any(|_| {
            std::thread::sleep(Duration::from_millis(5));
            fs::rename(submission(&world), world.at("taken")).is_ok()
        })
    };
    std::thread::scope(|scope| {
        let taken = scope.spawn(taken);
        push(&world).ok().says("admitted at");
        assert!(taken.join().expect("no panic"));
    });
    assert_eq!(world.logged("pushed").len(), 1);
}

#[test]
fn what_others_left_in_an_inbox_goes_by_request_alone() {
    if !can_travel() {
        return;
    }
    let world = with_a_location();
    let left = world.inbox().join(".countersign-left");
    fs::create_dir(&left).expect("made");
    fs::write(left.join("half"), b"half").expect("written");
    let attested = world.attested();
    sign(&world, &attested).ok();
    let sweep = || push(&world).with(&[&"--sweep-older", &"30d", &"--json"]);
    assert_eq!(sweep().ok().json()["swept"], json!([]));
    assert_eq!(
        sweep().at("+31d").ok().json()["swept"],
        json!([".countersign-left"])
    );
    assert_eq!(listing(&world.inbox()), [NAME]);
}

/// The release is signed into the inbox itself, as one without a configuration does.
#[test]
fn a_release_may_be_signed_into_the_inbox() {
    let world = with_a_location();
    let (granted, build) = world.attested();
    world.sign(&granted, &build).ok();
    assert_eq!(newest(&world, 2), ["released", "pushed"]);
    world.admit().ok();
}

#[test]
fn what_was_signed_before_there_was_an_inbox_is_pushed_by_name() {
    let world = World::ready();
    fs::create_dir(world.at("signed")).expect("a folder");
    sign(&world, &world.attested())
        .ok()
        .says("next: push the folder");
    push(&world)
        .usage("the configuration names no inbox")
        .says("`[repository]`");
    configure(&world, "[repository]\ninbox = \"../inbox\"\n");
    let status = world.host(&[&"status", &"--json"]).ok().json();
    assert_eq!(status["not_pushed"].as_array().map(Vec::len), Some(0));
    push(&world).ok().says("no release waits to be pushed");
    assert_eq!(listing(&world.inbox()), [""; 0]);

    push(&world)
        .with(&[&signed(&world)])
        .ok()
        .says("foo-1.2.3: pushed to");
    // Again, because it is named: it is pushed, and not logged twice.
    fs::remove_dir_all(submission(&world)).expect("removed");
    push(&world)
        .with(&[&signed(&world)])
        .ok()
        .says("foo-1.2.3: pushed to");
    assert_eq!(tree(&submission(&world)), tree(&signed(&world)));
    assert_eq!(world.logged("pushed").len(), 1);
    world.host(&[&"log", &"verify"]).ok();
}

#[test]
fn a_release_that_was_moved_is_pushed_by_its_folder() {
    let world = with_a_location();
    signed_while_the_inbox_was_away(&world);
    fs::rename(signed(&world), world.at("moved")).expect("moved");
    push(&world)
        .usage("does not exist")
        .says("name its folder: `countersign push FOLDER`");
    push(&world).with(&[&world.at("moved")]).ok();
    assert_eq!(
        tree(&submission(&world)),
        tree(&world.at("moved")),
        "under its own name"
    );
    assert_eq!(world.logged("pushed").len(), 1);
}

/// Many releases may wait for a location that reports on none.
#[test]
fn of_what_the_location_says_nothing_there_is_one_line() {
    let world = with_a_location();
    for version in ["1", "2", "3"] {
        let (granted, build) = world.attested_of(version, &[], &[("foo.txt", b"text\n")]);
        let release = world.at("signed").join(version);
        world.sign_into(&release, &granted, &build).ok();
    }
    let said = push(&world)
        .ok()
        .says("3 releases, up to foo-3: nothing new from the location");
    assert_eq!(said.stdout.lines().count(), 2, "{said:?}");
    world.admit().ok();
    push(&world)
        .ok()
        .says("foo-1: admitted")
        .says("foo-2: admitted")
        .says("foo-3: admitted");
}

#[test]
fn what_is_no_release_of_this_host_is_not_pushed() {
    let (world, other) = (with_a_location(), World::ready());
    push(&world)
        .with(&[&other.signed()])
        .refused("is not a release that this signing host has finished");
    push(&world)
        .with(&[&world.at("log")])
        .refused("is not a release that this signing host has finished");
    // An artifact's digest is in the log too.
    sign(&world, &world.attested()).ok();
    let folder = world.new_folder("no-release");
    fs::write(folder.join("SHA256SUMS"), b"text\n").expect("the bytes of `foo.txt`");
    push(&world)
        .with(&[&folder])
        .refused("is not a release that this signing host has finished");
    let said = push(&world)
        .with(&[&world.at("nowhere")])
        .usage("does not exist");
    assert!(!said.stderr.contains("if it was moved"), "{said:?}");
    assert_eq!(listing(&world.inbox()), [NAME]);
}

#[test]
fn a_revoked_release_is_not_pushed() {
    let world = with_a_location();
    let (granted, _) = signed_while_the_inbox_was_away(&world);
    world.host(&[&"grants", &"revoke", &granted.id]).ok();
    let status = world.host(&[&"status", &"--json"]).ok().json();
    assert_eq!(status["not_pushed"].as_array().map(Vec::len), Some(0));
    push(&world).ok().says("no release waits to be pushed");
    push(&world)
        .with(&[&signed(&world)])
        .refused("was revoked after its release was signed");
    assert_eq!(listing(&world.inbox()), [""; 0]);
}

#[test]
fn a_configuration_that_cannot_be_meant_is_refused() {
    let world = with_a_location();
    for (text, reason) in [
        (
            "[repository]\ninbox = \"inbox\"\n",
            "`repository.inbox` is in the home itself",
        ),
        (
            "[repository]\nlog = \"../home/../home/log\"\n",
            "`repository.log` is in the home itself",
        ),
        (
            "[repository]\nlog = \".\"\n",
            "`repository.log` is in the home itself",
        ),
        (
            "[repository]\ninbox = \"../l\"\nlog = \"../l\"\n",
            "in one another",
        ),
        (
            "[repository]\ninbox = \"../l\"\nlog = \"../x/../l/log\"\n",
            "in one another",
        ),
        (
            "[repository]\ninbox = \"../l/inbox\"\nlog = \"../l\"\n",
            "in one another",
        ),
        (
            "[repository]\nlogs = \"../log\"\n",
            "unknown key `repository.logs`; did you mean `repository.log`?",
        ),
    ] {
        configure(&world, text);
        push(&world).stops(2, reason);
    }
    // Releases where an inbox should be.
    configure(&world, "[repository]\ninbox = \"../inbox\"\n");
    let attested = world.attested();
    fs::create_dir(world.releases().join(".countersign.admitted")).expect("records");
    fs::rename(world.inbox(), world.at("away")).expect("moved away");
    symlink(world.releases(), world.inbox()).expect("linked");
    sign(&world, &attested).stops(2, "is not an inbox");
}

/// Anyone who can write at the location can put links there, and this host follows them.
#[test]
fn a_link_to_the_home_is_not_written_through() {
    let world = with_a_location();
    signed_while_the_inbox_was_away(&world);
    let home = tree(&world.home());
    let refused = |place: &Path, code: i32, reason: &str| {
        let away = world.at("out-of-the-way");
        let was_there = place.exists();
        if was_there {
            fs::rename(place, &away).expect("moved away");
        }
        fs::create_dir_all(place.parent().expect("a folder above")).expect("a folder");
        symlink(world.home(), place).expect("a link");
        push(&world).stops(code, reason);
        fs::remove_file(place).expect("removed");
        if was_there {
            fs::rename(&away, place).expect("back again");
        }
        let now: Vec<_> = tree(&world.home()).into_keys().collect();
        assert_eq!(
            now,
            home.keys().cloned().collect::<Vec<_>>(),
            "{}",
            place.display()
        );
        world.host(&[&"status"]).ok();
    };
    refused(
        &world.inbox(),
        2,
        "leads into the home, where everything is for its owner alone",
    );
    refused(
        &world.at("log"),
        2,
        "leads into the home, where everything is for its owner alone",
    );
    fs::remove_dir_all(world.at("log")).expect("removed");
    for part in ["tile", "tile/entries", "tile/0"] {
        refused(
            &world.at("log").join(part),
            3,
            "is a file or a link, not a folder",
        );
    }
    // By a slip of its owner's, too.
    world
        .host(&[&"log", &"export", &world.home().join("log")])
        .usage("leads into the home");
    world.host(&[&"status"]).ok();
    fs::remove_dir_all(world.at("log")).expect("removed");
    fs::create_dir(world.at("log")).expect("a folder");
    push(&world).ok();
    log_is_exported_whole(&world);
}

// ---- Reports of the location ----

#[test]
fn a_refusal_is_noted_once_and_what_follows_it_too() {
    let world = with_a_location();
    sign(&world, &world.attested()).ok();
    let signature = fs::read(submission(&world).join("foo.txt.asc")).expect("a signature");
    fs::remove_file(submission(&world).join("foo.txt.asc")).expect("removed");
    world.admit().refused("`foo.txt.asc` is missing");
    for _ in 0..2 {
        push(&world).ok();
        let [refused] = &*verdicts(&world) else {
            panic!("noted once")
        };
        assert_eq!(
            (&refused["status"], &refused["reason"]),
            (&"refused".into(), &"`foo.txt.asc` is missing".into())
        );
    }
    fs::write(submission(&world).join("foo.txt.asc"), signature).expect("mended");
    world.admit().ok();
    push(&world).ok();
    let said: Vec<_> = verdicts(&world)
        .iter()
        .map(|verdict| verdict["status"].clone())
        .collect();
    assert_eq!(said, ["refused", "admitted"]);
    world
        .host(&[&"log", &"list"])
        .ok()
        .says("the location reports that it refused it: `foo.txt.asc` is missing");
}

#[test]
fn a_refusal_cannot_fill_the_log_or_steer_the_terminal() {
    let world = World::ready();
    fs::create_dir(world.at("signed")).expect("a folder");
    configure(&world, "[repository]\ninbox = \"../inbox\"\n");
    sign(&world, &world.attested()).ok();
    let note = world.inbox().join("foo-1.2.3.refused");
    fs::write(
        &note,
        format!("a\u{1b}[2Jb\u{202e}{}\nc", "x".repeat(60_000)),
    )
    .expect("a note");
    let said = push(&world).ok().says("a\\u{1b}[2Jb\\u{202e}xxx");
    assert!(!said.stdout.contains('\u{1b}'));
    let [refused] = &*verdicts(&world) else {
        panic!("noted once")
    };
    let reason = refused["reason"].as_str().expect("a text");
    assert!(
        reason.chars().count() <= 1001 && reason.starts_with("a\\u{1b}[2Jb\\u{202e}"),
        "{reason}"
    );

    fs::write(&note, vec![b'x'; 70_000]).expect("a note");
    push(&world)
        .ok()
        .says("foo-1.2.3.refused` is larger than")
        .says("it was not logged");
    // Another reason each time.
    for number in 0..99 {
        fs::write(&note, format!("reason {number}")).expect("a note");
        push(&world).ok();
    }
    fs::write(&note, "one more").expect("a note");
    push(&world)
        .ok()
        .says("`foo-1.2.3.refused` gives yet another reason, after 100; it was not logged");
    assert_eq!(verdicts(&world).len(), 100);
    // Nor can it hide that the release was admitted in the end.
    world.admit().ok();
    push(&world).ok().says("admitted at");
    assert_eq!(verdicts(&world).len(), 101);
}

/// A note on what somebody else put there under the same name.
#[test]
fn a_refusal_of_another_submission_is_not_noted() {
    let world = with_a_location();
    sign(&world, &world.attested()).ok();
    fs::write(submission(&world).join("SHA256SUMS"), b"another list").expect("changed");
    world.admit().refused("signature `SHA256SUMS.asc`");
    push(&world)
        .ok()
        .says("`foo-1.2.3.refused` is not about the release that was pushed");
    fs::remove_dir_all(submission(&world)).expect("removed");
    push(&world).ok().says("is not about the release");
    assert_eq!(verdicts(&world), [Value::Null; 0]);
}

#[test]
fn an_invalid_report_is_shown_and_not_logged() {
    if !have(&["mkfifo"]) {
        return;
    }
    let world = with_a_location();
    sign(&world, &world.attested()).ok();
    copy_tree(&submission(&world), &world.at("kept"));
    world.admit().ok();
    let report = world.inbox().join("foo-1.2.3.admitted");
    let good = fs::read_to_string(&report).expect("the report");
    fs::write(world.at("good"), &good).expect("a file");
    let as_value: Value = serde_json::from_str(&good).expect("JSON");
    let with = |field: &str, text: &str| {
        let mut value = as_value.clone();
        value[field] = text.into();
        value.to_string()
    };
    let link = |path: &Path| symlink(path.with_file_name("../good"), path).expect("a link");
    let endless = |path: &Path| {
        fs::File::create(path)
            .and_then(|file| file.set_len(1 << 40))
            .expect("a sparse file")
    };
    let folder = |path: &Path| fs::create_dir(path).expect("a folder");
    let fifo = |path: &Path| drop(tool("mkfifo", &[&path], Path::new("/")));
    let texts = [
        ("is not about the release", with("sums", &"0".repeat(64))),
        ("is not about the release", with("release", "foo-1.2.4")),
        ("is not about the release", with("key", &"A".repeat(40))),
        (
            "is of format `\\u{1b}[2J",
            with("format", &format!("\u{1b}[2J{}", "x".repeat(3000))),
        ),
        ("unknown field `\\u{1b}[2J`", with("\u{1b}[2J", "x")),
        ("cannot be read", "admitted".to_owned()),
        ("cannot be read", good.replace(": ", ":\u{0}")),
        (
            "duplicate field `at`",
            good.replace("\"key\"", "\"at\": \"2026-11-25T10:00:00Z\",\n\"key\""),
        ),
    ];
    let before = world.log().len();
    let dubious = |fault: &str, put: &dyn Fn(&Path)| {
        fs::remove_dir_all(&report)
            .or_else(|_| fs::remove_file(&report))
            .expect("removed");
        put(&report);
        let said = push(&world).ok().says(fault).says("it was not logged");
        assert!(
            !format!("{}{}", said.stdout, said.stderr).contains('\u{1b}'),
            "{fault}"
        );
        assert_eq!(world.log().len(), before, "{fault}");
    };
    dubious("is larger than 4096 bytes", &endless);
    dubious("is a symbolic link", &link);
    dubious("is a folder", &folder);
    dubious("is a FIFO", &fifo);
    texts
        .iter()
        .for_each(|(fault, text)| dubious(fault, &|path| fs::write(path, text).expect("a report")));
    fs::remove_file(&report).expect("removed");
    fs::write(&report, &good).expect("a report");
    push(&world).ok().says("admitted at");
    assert_eq!(verdicts(&world).len(), 1);
    // Whatever it reports later, it is not read again.
    fs::write(&report, with("at", "2030-01-01T00:00:00Z")).expect("a report");
    push(&world).ok().says("no release waits to be pushed");
    // The location took a good release while there was something in place of its report.
    fs::remove_file(&report).expect("removed");
    fs::create_dir_all(report.join("in the way")).expect("a folder");
    fs::remove_dir_all(world.releases()).expect("removed, with what it remembers");
    fs::create_dir(world.releases()).expect("a folder");
    copy_tree(&world.at("kept"), &submission(&world));
    world
        .admit()
        .ok()
        .says("admitted, signed by")
        .says("a report of that could not be left in the inbox");
    assert_eq!(world.public(), [NAME]);
}

/// What is pushed and what is said of it in the end are two things: the location says so of a
/// release that nobody admitted.
#[test]
fn a_forged_report_changes_nothing_but_the_log() {
    let world = with_a_location();
    let attested = world.attested();
    sign(&world, &attested).ok();
    forge_report(&world);
    push(&world)
        .ok()
        .says("admitted at 2026-11-25T10:00:00Z, reported by the location");
    sign(&world, &attested).ok();
    assert_eq!(world.public(), [""; 0]);
    world.admit().ok();
    assert_eq!(world.public(), [NAME]);
}
