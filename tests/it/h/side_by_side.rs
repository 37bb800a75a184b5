//! Commands that work in one home at the same time.

use std::fs;
use std::process::Command;
use std::time::Duration;

use countersign::home::Home;

use crate::common::faults::can_disturb;
use crate::common::world::{Build, Granted, PATIENT, World};
use crate::common::{clean_environment, listing};

fn sign(world: &World, granted: &Granted, build: &Build) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
    clean_environment(&mut command, &world.at(""));
    command.arg("--home").arg(world.home()).arg("sign");
    command.arg(&granted.grant).arg("--from").arg(&build.folder);
    command.arg("-o").arg(world.release(granted));
    command
}

/// Ten builds that end at the same time are ten releases, without anybody's help.
#[test]
fn builds_are_signed_at_once_each_of_them_once() {
    let world = World::ready();
    let builds: Vec<_> = (1..=10)
        .map(|version| {
            let artifact = format!("foo-{version}");
            world.attested_of(
                &version.to_string(),
                &[&"--allow-older"],
                &[(&*artifact, b"text")],
            )
        })
        .collect();
    let before = world.token_count();
    // Each of them twice: the second finds it signed.
    let runs: Vec<_> = std::thread::scope(|scope| {
        let started: Vec<_> = builds
            .iter()
            .flat_map(|build| [build; 2])
            .map(|(granted, build)| {
                let mut command = sign(&world, granted, build);
                scope.spawn(move || command.output().expect("a run"))
            })
            .collect();
        started
            .into_iter()
            .map(|run| run.join().expect("it ends"))
            .collect()
    });
    for run in runs {
        assert!(run.status.success(), "{run:?}");
    }
    assert_eq!(world.token_count() - before, 20);
    for kind in ["evidence-accepted", "intent", "outcome", "released"] {
        assert_eq!(world.logged(kind).len(), 10, "{kind}");
    }
    let uses = world.log();
    let uses = uses.iter().map(|entry| &entry["kind"]);
    let uses: Vec<_> = uses
        .filter(|kind| *kind == "intent" || *kind == "outcome")
        .collect();
    assert!(
        uses.chunks(2)
            .all(|pair| pair[0] == "intent" && pair[1] == "outcome"),
        "one run after the other has the token: {uses:?}"
    );
    let locks = listing(&world.home()).into_iter();
    let locks: Vec<_> = locks.filter(|name| name.starts_with("lock")).collect();
    assert_eq!(locks, ["lock"]);
    world.host(&[&"log", &"verify"]).ok();
}

/// Neither the token, which may wait for a touch, nor another grant keeps a command waiting: one
/// that waited would end with an error.
#[test]
fn what_does_not_use_the_token_does_not_wait_for_it() {
    let world = World::ready();
    let (granted, build) = world.attested();
    let (home, _together) = world.opened();
    let _token = home.hold_token(PATIENT).expect("free");
    world.grant_of("2", &[]);
    world.host(&[&"status"]).ok();
    world.host(&[&"log", &"verify"]).ok();
    world.host(&[&"push"]).usage("names no inbox");
    world
        .host(&[&"grants", &"revoke", &world.grant_of("3", &[]).grant])
        .ok();
    let has_it = format!("the token is in use by process {} (`", std::process::id());
    world
        .sign(&granted, &build)
        .with(&[&"--wait=1s"])
        .trouble(&has_it);
    world
        .host(&[&"key", &"check", &"--sign", &"--wait=1s"])
        .trouble(&has_it);
    world
        .host(&[&"key", &"extend", &"--wait=1s"])
        .trouble("the home at `");
}

/// Until it is free, or as long as was asked for; and it says for whom.
#[test]
fn a_command_waits_for_a_lock() {
    let world = World::ready();
    let (granted, build) = world.attested();
    let (home, together) = world.opened();
    let token = home.hold_token(PATIENT).expect("free");
    let mut command = sign(&world, &granted, &build);
    command.arg("--wait");
    let run = std::thread::scope(|scope| {
        let run = scope.spawn(|| command.output().expect("a run"));
        std::thread::sleep(Duration::from_secs(6));
        assert!(!run.is_finished());
        drop(token);
        run.join().expect("it ends")
    });
    assert!(run.status.success(), "{run:?}");
    let said = String::from_utf8_lossy(&run.stderr);
    let has_it = format!("waiting for process {} (`", std::process::id());
    assert!(said.contains(&has_it), "{said}");
    let id = granted.id.parse().expect("an id");
    let held = home.hold_grant(id, PATIENT).expect("free");
    let busy = format!("grant {} is in use by process", &granted.id[7..19]);
    world
        .sign(&granted, &build)
        .with(&[&"--wait=1s"])
        .trouble(&busy);
    drop((held, together));
    let (mut home, mut lock) = world.opened();
    let _alone = home.alone(&mut lock, PATIENT).expect("nobody else");
    world
        .host(&[&"grant", &"foo", &"2", &"--wait=1s"])
        .trouble("is in use by process");
}

/// What killed processes left is removed by one that is alone, for it may be another's.
#[test]
fn nothing_that_another_process_may_be_making_is_removed() {
    let world = World::ready();
    let (_, together) = world.opened();
    let home = world.home();
    let unissued = format!("nonces/{}.m1", "0".repeat(64));
    let strays = [
        ".countersign-aside",
        "lock.token",
        "nonces/.countersign-aside",
        &unissued,
    ];
    world.grant_with(&[&"--scheme", &"hmac"]);
    for stray in strays {
        fs::write(home.join(stray), b"x").expect("a file");
        let only_ours = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(home.join(stray), only_ours).expect("set");
    }
    let there = || strays.map(|stray| home.join(stray).exists());
    world.grant_of("2", &[]);
    assert_eq!(there(), [true; 4]);
    drop(together);
    world.grant_of("3", &[]);
    assert_eq!(there(), [false; 4]);
}

/// A run looked when no other version was accepted, and is overtaken before its own is.
#[test]
fn versions_are_compared_when_a_build_is_accepted() {
    if !can_disturb() {
        return;
    }
    let world = World::ready();
    let (old, old_build) = world.attested_of("1.0", &[], &[("foo", b"0")]);
    let (new, new_build) = world.attested_of("1.1", &[], &[("foo", b"1")]);
    let before = world.token_count();
    let plain = sign(&world, &old, &old_build);
    let mut slow = Command::new("strace");
    clean_environment(&mut slow, &world.at(""));
    slow.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=mkdirat"]);
    // The folder for the release is made after the first look and before the acceptance.
    slow.args(["-e", "inject=mkdirat:delay_enter=9000000:when=1"]);
    slow.arg(plain.get_program()).args(plain.get_args());
    let overtaken = std::thread::scope(|scope| {
        let overtaken = scope.spawn(|| slow.output().expect("a run"));
        std::thread::sleep(Duration::from_millis(1000));
        world.sign(&new, &new_build).ok();
        assert!(!overtaken.is_finished(), "it was not slow enough");
        overtaken.join().expect("it ends")
    });
    let said = String::from_utf8_lossy(&overtaken.stderr);
    assert_eq!(overtaken.status.code(), Some(1), "{said}");
    assert!(said.contains("version 1.0 is older than 1.1"), "{said}");
    assert_eq!(world.token_count() - before, 2);
    assert_eq!(world.logged("evidence-refused").len(), 1);
    assert!(Home::open(&world.home()).is_ok());
}
