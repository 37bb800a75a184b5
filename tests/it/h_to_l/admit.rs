//! An inbox whose other users mean ill, and what the location remembers.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::common::world::World;
use crate::common::{copy_tree, listing, openpgp, tree};

const NAME: &str = "foo-1.2.3";

/// A release in the inbox, and a copy of it elsewhere.
fn submitted() -> (World, PathBuf, PathBuf) {
    let world = World::ready();
    let release = world.signed();
    let copy = world.at("copy");
    copy_tree(&release, &copy);
    (world, release, copy)
}

fn records(world: &World) -> PathBuf {
    world.releases().join(".countersign.admitted")
}

// ---- What is remembered ----

#[test]
fn a_withdrawn_release_is_not_admitted_again() {
    let (world, release, copy) = submitted();
    world.admit().ok();
    assert_eq!(listing(&records(&world)), [NAME]);
    let report = fs::read(world.inbox().join("foo-1.2.3.admitted")).expect("a report");
    let record = fs::read(records(&world).join(NAME)).expect("a record");
    assert_eq!(report, record, "H is told what is recorded");

    fs::remove_dir_all(world.releases().join(NAME)).expect("withdrawn");
    copy_tree(&copy, &release);
    world.admit().refused("and was moved away since");
    assert_eq!(world.public(), [""; 0]);

    // Nor does another release take its name.
    fs::remove_dir_all(&release).expect("removed");
    let granted = world.grant();
    let build = world.build(&[("foo.txt", b"other\n")]);
    world.attest(&granted, &build).ok();
    world.sign(&granted, &build).ok();
    world
        .admit()
        .refused("another release `foo-1.2.3` was admitted before");
    assert_eq!(world.public(), [""; 0]);

    // A person can have it forgotten.
    fs::remove_file(records(&world).join(NAME)).expect("forgotten");
    world.admit().ok().says("foo-1.2.3: admitted");
}

/// With each ECDSA signature `(r, s)` its twin `(r, n - s)` is valid: another file, and it says the
/// same.
#[test]
fn the_twin_of_a_signature_changes_nothing_that_is_public() {
    let Some(world) = World::on_softhsm() else {
        return;
    };
    world.init_of_kind("p256").ok();
    world.export();
    let release = world.signed();
    let twins = world.at("twins");
    copy_tree(&release, &twins);
    world.admit().ok();
    let before = tree(&world.releases());
    for name in ["SHA256SUMS.asc", "foo.txt.asc"] {
        let signature = fs::read(twins.join(name)).expect("a signature");
        let twin = openpgp::twin(&signature);
        assert_ne!(twin, signature);
        fs::write(twins.join(name), twin).expect("written");
    }
    fs::rename(&twins, &release).expect("submitted");
    world.verify(&release).ok();
    world.admit().run();
    assert_eq!(tree(&world.releases()), before);
}

#[test]
fn releases_without_records_are_recorded_first() {
    let (world, release, copy) = submitted();
    world.admit().ok();
    let record = fs::read(records(&world).join(NAME)).expect("a record");
    fs::remove_dir_all(records(&world)).expect("as after a run that was killed");
    for junk in ["latest-1", "lost+found"] {
        fs::create_dir(world.releases().join(junk)).expect("made");
    }
    world.admit().ok().says("nothing there");
    assert_eq!(listing(&records(&world)), [NAME]);
    let again = fs::read(records(&world).join(NAME)).expect("a record");
    let without_time = |record: Vec<u8>| {
        let mut record: serde_json::Value = serde_json::from_slice(&record).expect("JSON");
        record["at"].take();
        record
    };
    assert_eq!(without_time(again), without_time(record));

    fs::rename(world.releases().join(NAME), world.at("aside")).expect("withdrawn");
    copy_tree(&copy, &release);
    world.admit().refused("and was moved away since");
}

// ---- Who else writes to the inbox ----

#[test]
fn a_good_release_is_reached_behind_anything() {
    let (world, ..) = submitted();
    let at = |name: String| world.inbox().join(name);
    for number in 0..400 {
        fs::create_dir(at(format!("aaa-{number}"))).expect("made");
        fs::create_dir(at(format!(".hidden-{number}"))).expect("made");
        fs::write(at(format!("file-{number}")), b"").expect("written");
    }
    for number in 0..20 {
        let folder = at(format!("sparse-{number}"));
        fs::create_dir(&folder).expect("made");
        let list = fs::File::create(folder.join("SHA256SUMS")).expect("made");
        list.set_len(8 << 20).expect("made sparse");
        fs::write(folder.join("SHA256SUMS.asc"), b"x").expect("written");
    }
    for junk in ["lost+found", "@eaDir"] {
        fs::create_dir(at(junk.into())).expect("made");
    }
    let said = world
        .admit()
        .refused("refused 420 of 421 submissions")
        .says("foo-1.2.3: admitted");
    assert!(!said.stdout.contains("lost+found"), "{said:?}");
    assert_eq!(world.public(), [NAME]);
    for untouched in ["lost+found", "@eaDir", ".hidden-1", "file-1"] {
        assert!(at(untouched.into()).exists());
        assert!(!at(format!("{untouched}.refused")).exists());
    }
    assert_eq!(
        listing(&world.releases()),
        [
            ".countersign.admitted",
            ".countersign.lock",
            ".countersign.owner",
            NAME
        ]
    );

    // The next run writes nothing: none of them changed.
    let written = |name: &str| fs::metadata(at(name.into())).expect("a note").ino();
    let notes = ["aaa-1.refused", "sparse-1.refused"];
    let before = notes.map(written);
    world
        .admit()
        .refused("sparse-1: refused before, and did not change");
    assert_eq!(notes.map(written), before);
}

/// More is refused than anybody reads.
#[test]
fn what_is_refused_is_listed_up_to_a_limit() {
    let world = World::ready();
    for number in 0..10_003 {
        fs::create_dir(world.inbox().join(format!("foo-{number}"))).expect("made");
    }
    let said = world.admit().with(&[&"--json"]).refused("").json();
    assert_eq!(
        said["submissions"].as_array().expect("a list").len(),
        10_000
    );
    assert_eq!(said["unlisted"], 3);
}

/// Another user cannot have a good release passed over, with a note that it was refused as it is.
#[test]
fn a_note_that_another_user_could_have_written_is_not_believed() {
    let (world, release, _) = submitted();
    fs::remove_file(release.join("foo.txt.asc")).expect("removed");
    world.admit().refused("`foo.txt.asc` is missing");
    world.admit().refused("did not change");
    let note = world.inbox().join("foo-1.2.3.refused");
    if chown(&note, Some(65_534), None).is_err() {
        return;
    }
    let said = world.admit().refused("`foo.txt.asc` is missing");
    assert!(!said.stdout.contains("did not change"), "{said:?}");
    assert_ne!(fs::metadata(&note).expect("a note").uid(), 65_534);
}

/// A name in the path of the inbox is a link to the inbox now, to the releases then.
#[test]
fn an_inbox_that_becomes_a_link_to_the_releases() {
    let (world, release, copy) = submitted();
    world.admit().ok();
    let public = tree(&world.releases().join(NAME));
    let link = world.at("link");
    symlink(world.inbox(), &link).expect("linked");
    let end = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !end.load(Ordering::Relaxed) {
                for to in [world.releases(), world.inbox()] {
                    replace_link(&to, &link);
                }
            }
        });
        for _ in 0..30 {
            let _ = fs::remove_dir_all(&release);
            copy_tree(&copy, &release);
            let admit = world.countersign(&[
                &"admit",
                &"--cert",
                &world.certificate(),
                &link,
                &world.releases(),
            ]);
            let (said, _) = admit.run();
            assert!([0, 2].contains(&said.code), "{said:?}");
        }
        end.store(true, Ordering::Relaxed);
    });
    assert_eq!(tree(&world.releases().join(NAME)), public);
    assert_eq!(world.public(), [NAME]);
}

fn replace_link(to: &Path, link: &Path) {
    let aside = link.with_extension("aside");
    symlink(to, &aside).expect("linked");
    fs::rename(&aside, link).expect("replaced");
}
