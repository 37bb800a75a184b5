//! What is not here yet is not tampered with: exit code 4, a reason each, no entry in the log. What
//! is here is judged all the same, and a refusal takes precedence.

use std::fs;
use std::path::Path;

use crate::common::can_travel;
use crate::common::world::{Build, Granted, World, write_private};

const ARTIFACTS: [(&str, &[u8]); 2] = [("foo.txt", b"text\n"), ("foo.tar", &[7; 1000])];

/// More of the configuration.
fn configure(world: &World, more: &str) {
    let path = world.home().join("config.toml");
    let config = fs::read_to_string(&path).expect("the configuration");
    write_private(&path, format!("{config}\n{more}").as_bytes());
}

/// A key of alice, whose approval each grant needs then.
const NEEDS_ALICE: &str = "approvals = 1\n[[approver]]\nname = \"alice\"\nssh = [\"ssh-ed25519 \
    AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ\"]\n";

/// A grant to m1, m2 and m3, of which this many must agree.
fn of_three(world: &World, quorum: &str, form: &str) -> Granted {
    world.grant_with(&[
        &"--builder",
        &"m2",
        &"--builder",
        &"m3",
        &"--quorum",
        &quorum,
        &"--evidence",
        &form,
    ])
}

fn deliver(world: &World, granted: &Granted, inbox: &Build, builder: &str, text: &[u8]) -> Build {
    let build = inbox.of(builder, &[ARTIFACTS[0], ("foo.tar", text)]);
    let key = granted.key_of(builder);
    world.attest_with(key, &build).with(&[&"--keep-key"]).ok();
    build
}

/// The reason of the error in JSON, and whether it was logged.
#[track_caller]
fn reason(world: &World, granted: &Granted, from: &Path, code: i32) -> String {
    let logged = world.log().len();
    let build = Build {
        folder: from.to_owned(),
    };
    let said = world.sign(granted, &build).with(&[&"--json"]);
    let said = said.stops(code, "");
    let error: serde_json::Value = serde_json::from_str(&said.stderr).expect("JSON");
    assert_eq!(error["code"], code);
    let more = world.log().len() - logged;
    assert_eq!(more, usize::from(code == 1), "{error}");
    error["reason"].as_str().expect("a reason").to_owned()
}

fn append(path: &Path) {
    let mut bytes = fs::read(path).expect("a file");
    bytes.push(b'x');
    fs::write(path, bytes).expect("changed");
}

#[test]
fn each_thing_that_is_late_has_its_reason_and_gives_way_to_a_refusal() {
    let late = |prepare: &dyn Fn(&World), spoil: &dyn Fn(&World, &Build), expected: &str| {
        let world = World::ready();
        let (granted, build) = world.attested();
        prepare(&world);
        spoil(&world, &build);
        let from = &build.folder;
        assert_eq!(reason(&world, &granted, from, 4), expected);
        // Nothing is left of it but a file that somebody else wrote.
        append(&build.at("foo.tar"));
        let refused = reason(&world, &granted, from, 1);
        assert_eq!(refused, "artifact_changed", "and {expected}");
    };
    let nothing = |_: &World, _: &Build| {};
    let as_it_was = |_: &World| {};
    late(
        &|world| configure(world, NEEDS_ALICE),
        &nothing,
        "approvals_missing",
    );
    late(
        &|world| configure(world, "embargo = \"1h\"\n"),
        &nothing,
        "embargo",
    );
    let gone = |name: &'static str| {
        move |_: &World, build: &Build| fs::remove_file(build.at(name)).expect("removed")
    };
    late(&as_it_was, &gone("foo.txt"), "artifact_missing");
}

/// Of what nobody signed yet nothing can be judged.
#[test]
fn evidence_that_is_late() {
    for name in ["build.manifest", "build.manifest.sig"] {
        let world = World::ready();
        let (granted, build) = world.attested();
        let away = world.at("away");
        fs::rename(build.at(name), &away).expect("moved");
        assert_eq!(
            reason(&world, &granted, &build.folder, 4),
            "build_incomplete"
        );
        fs::rename(&away, build.at(name)).expect("back");
        world.sign(&granted, &build).ok();
    }
    let world = World::ready();
    let (granted, build) = world.attested();
    let nowhere = world.at("nowhere");
    assert_eq!(reason(&world, &granted, &nowhere, 4), "build_incomplete");
    // What will never be signed is refused, whether it comes or not.
    world.host(&[&"grants", &"revoke", &granted.grant]).ok();
    for from in [&nowhere, &build.folder] {
        let late = Build {
            folder: from.clone(),
        };
        world.sign(&granted, &late).refused("was revoked");
    }
    assert_eq!(world.logged("evidence-refused").len(), 1);
}

#[test]
fn a_signature_of_one_artifact_that_is_late() {
    let world = World::ready();
    let granted = world.grant_with(&[&"--evidence", &"per-artifact"]);
    let build = world.build(&ARTIFACTS);
    assert_eq!(
        reason(&world, &granted, &build.folder, 4),
        "build_incomplete"
    );
    world.attest(&granted, &build).ok();
    let away = world.at("away");
    fs::rename(build.at("foo.txt.sig"), &away).expect("moved");
    let said = world.waits(&granted, &build, "foo.txt.sig` does not exist");
    drop(said.says("run the same command again when it is there"));
    // No artifact can have this name, and no evidence can come for a folder.
    for extra in ["build.manifest", "folder"] {
        match extra {
            "folder" => fs::create_dir(build.at(extra)).expect("a folder"),
            extra => fs::write(build.at(extra), b"").expect("written"),
        }
        assert_eq!(reason(&world, &granted, &build.folder, 1), "extra_file");
        match extra {
            "folder" => fs::remove_dir(build.at(extra)).expect("removed"),
            extra => fs::remove_file(build.at(extra)).expect("removed"),
        }
    }
    fs::rename(&away, build.at("foo.txt.sig")).expect("back");
    world.sign(&granted, &build).ok();
}

/// All of the builders are judged before it is said that one is missing.
#[test]
fn a_builder_that_is_late_does_not_hide_another() {
    for form in ["manifest", "per-artifact"] {
        let world = World::ready();
        let granted = of_three(&world, "3", form);
        let inbox = world.new_build("inbox");
        assert_eq!(
            reason(&world, &granted, &inbox.folder, 4),
            "builders_missing"
        );
        let m1 = deliver(&world, &granted, &inbox, "m1", b"more");
        assert_eq!(
            reason(&world, &granted, &inbox.folder, 4),
            "builders_missing"
        );
        inbox.of("m2", &[]);
        assert_eq!(
            reason(&world, &granted, &inbox.folder, 4),
            "build_incomplete"
        );

        let tar = fs::read(m1.at("foo.tar")).expect("an artifact");
        append(&m1.at("foo.tar"));
        let refused = reason(&world, &granted, &inbox.folder, 1);
        assert!(
            ["artifact_changed", "evidence_invalid"].contains(&refused.as_str()),
            "{refused}"
        );
        fs::write(m1.at("foo.tar"), tar).expect("as it was");

        // m3 is late, and m1 and m2 do not agree.
        deliver(&world, &granted, &inbox, "m2", b"other");
        assert_eq!(
            reason(&world, &granted, &inbox.folder, 1),
            "builders_differ"
        );
    }
}

/// As long as enough of those that are late can attest an artifact, it is awaited.
#[test]
fn an_artifact_that_too_few_built_is_refused_once_nobody_is_late() {
    let world = World::ready();
    let granted = of_three(&world, "2", "manifest");
    let inbox = world.new_build("inbox");
    deliver(&world, &granted, &inbox, "m1", b"more");
    let m2 = inbox.of(
        "m2",
        &[ARTIFACTS[0], ("foo.tar", b"more"), ("foo.deb", b"deb")],
    );
    let key = granted.key_of("m2");
    world.attest_with(key, &m2).with(&[&"--keep-key"]).ok();
    assert_eq!(
        reason(&world, &granted, &inbox.folder, 4),
        "builders_missing"
    );
    let m3 = deliver(&world, &granted, &inbox, "m3", b"more");
    assert_eq!(
        reason(&world, &granted, &inbox.folder, 1),
        "too_few_builders"
    );
    fs::write(m3.at("foo.deb"), b"deb").expect("written");
    for name in ["build.manifest", "build.manifest.sig"] {
        fs::remove_file(m3.at(name)).expect("removed");
    }
    world.attest_with(granted.key_of("m3"), &m3).ok();
    world.sign(&granted, &inbox).ok();
}

/// By a clock that is behind the grant, which was issued by it, the evidence is of the future: that
/// is not for the log.
#[test]
fn nothing_is_judged_by_a_clock_that_is_behind() {
    if !can_travel() {
        return;
    }
    let world = World::ready();
    let (granted, build) = world.attested();
    append(&build.at("foo.txt"));
    world.waits_at(&granted, &build, "-1h", "is not valid before");
    world.host(&[&"grants", &"revoke", &granted.grant]).ok();
    let sign = world.sign(&granted, &build).at("-1h");
    sign.refused("was revoked");
}

/// A loop tries every minute, whatever came.
#[test]
fn the_same_refusal_is_logged_once() {
    let world = World::ready();
    let (granted, build) = world.attested();
    let (other, later) = world.attested();
    let try_in_a_loop = |granted: &Granted, build: &Build| {
        for _ in 0..3 {
            world.sign(granted, build).refused("");
        }
        world.logged("evidence-refused").len()
    };
    append(&build.at("foo.tar"));
    append(&later.at("foo.tar"));
    assert_eq!(try_in_a_loop(&granted, &build), 1);
    assert_eq!(try_in_a_loop(&other, &later), 2);
    assert_eq!(
        try_in_a_loop(&granted, &build),
        2,
        "nothing came in between"
    );
    append(&build.at("foo.tar"));
    assert_eq!(try_in_a_loop(&granted, &build), 3, "it has another digest");
    fs::write(build.at("more"), b"").expect("written");
    assert_eq!(try_in_a_loop(&granted, &build), 4, "another reason");
    fs::remove_file(build.at("more")).expect("removed");
    assert_eq!(try_in_a_loop(&granted, &build), 5, "the one before, again");
}

/// The same with what builders differ in.
#[test]
fn a_difference_is_logged_once() {
    let world = World::ready();
    let granted = of_three(&world, "2", "manifest");
    let inbox = world.new_build("inbox");
    deliver(&world, &granted, &inbox, "m1", b"more");
    deliver(&world, &granted, &inbox, "m2", b"other");
    for _ in 0..3 {
        world.sign(&granted, &inbox).refused("builders differ");
    }
    assert_eq!(world.logged("evidence-refused").len(), 1);
    deliver(&world, &granted, &inbox, "m3", b"more");
    world.sign(&granted, &inbox).refused("builders differ");
    assert_eq!(world.logged("evidence-refused").len(), 2, "m3 is new in it");
}
