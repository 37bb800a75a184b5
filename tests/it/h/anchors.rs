//! A home that is not the newest of its copies, and checkpoints of its log that are kept elsewhere.

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::faults::copy_whole;
use crate::common::listing;
use crate::common::world::{World, write_private};

/// A signing host whose log is exported to a folder, and what the configuration says of anchors.
fn with_anchors(more: &str) -> World {
    let world = World::ready();
    for folder in ["log", "anchor"] {
        fs::create_dir(world.at(folder)).expect("a folder");
    }
    let path = world.home().join("config.toml");
    let config = fs::read_to_string(&path).expect("the configuration");
    let text = format!("{config}\n[repository]\nlog = \"../log\"\n{more}");
    write_private(&path, text.as_bytes());
    world
}

const REQUIRED: &str = "[anchor]\nplaces = [\"../anchor\"]\nrequired = true\n";

/// What is done while the home is an older copy.
fn in_older_copy<T>(world: &World, older: &Path, work: impl FnOnce() -> T) -> T {
    let newer = world.at("newer");
    fs::rename(world.home(), &newer).expect("moved away");
    copy_whole(older, &world.home());
    let done = work();
    fs::remove_dir_all(world.home()).expect("removed");
    fs::rename(newer, world.home()).expect("back again");
    done
}

fn copied(world: &World, name: &str) -> PathBuf {
    let copy = world.at(name);
    copy_whole(&world.home(), &copy);
    copy
}

fn kept(world: &World) -> Vec<String> {
    listing(&world.at("anchor/checkpoints"))
}

/// By nothing that it does, for what it would sign was perhaps signed already.
#[test]
fn an_older_copy_of_a_home_does_nothing() {
    let world = with_anchors("");
    let (first, build) = world.attested_of("1", &[&"--valid-for", &"1d"], &[("a", b"1")]);
    let (second, other) = world.attested_of("2", &[], &[("a", b"2")]);
    let older = copied(&world, "older");
    world.sign(&first, &build).ok();
    let count = world.token_count();
    let is_older = "this home is an older copy";
    in_older_copy(&world, &older, || {
        let logged = world.log().len();
        world.sign(&second, &other).refused(is_older);
        world
            .sign(&second, &other)
            .with(&[&"--dry-run"])
            .refused(is_older);
        world.sign(&first, &build).refused(is_older);
        world
            .host(&[&"grant", &"foo", &"3", &"-o", &world.new_folder("grant")])
            .refused(is_older);
        let signature = world.at("a.sig");
        fs::write(&signature, b"x").expect("a file");
        world
            .host(&[&"approve", &second.grant, &"--signature", &signature])
            .refused(is_older);
        world.host(&[&"key", &"extend"]).refused(is_older);
        world.host(&[&"key", &"check", &"--sign"]).refused(is_older);
        world
            .host(&[
                &"withdraw",
                &"foo",
                &"1",
                &"--reason",
                &"why",
                &"-o",
                &world.at("w"),
            ])
            .refused(is_older);
        // What takes away is possible, and so is what only reads.
        world.host(&[&"grants", &"revoke", &second.grant]).ok();
        world.host(&[&"status"]).ok();
        assert_eq!(world.log().len(), logged + 1);
    });
    assert_eq!(world.token_count(), count);
    world.sign(&second, &other).ok();
}

/// A copy that went on by itself has another log of the same length or more.
#[test]
fn a_copy_of_a_home_that_went_on_otherwise_does_nothing() {
    let world = with_anchors("");
    let older = copied(&world, "older");
    world.grant_of("1", &[]);
    world.host(&[&"push"]).ok();
    in_older_copy(&world, &older, || {
        // Nobody can compare while the anchor is away, and that is said.
        world.without(&world.at("log"), || {
            for version in ["1", "2", "3"] {
                let folder = world.new_folder("grant");
                world
                    .host(&[&"grant", &"foo", &version, &"-o", &folder])
                    .ok()
                    .says("warning: anchor `");
            }
        });
        world
            .host(&[&"grant", &"foo", &"4", &"-o", &world.new_folder("grant")])
            .refused("another copy of this home has gone on");
    });
    world.grant_of("2", &[]);
}

/// Anyone who may write at an anchor could have made it.
#[test]
fn a_checkpoint_by_another_key_stops_nobody() {
    let (world, other) = (with_anchors(REQUIRED), World::ready());
    fs::create_dir(world.at("anchor/checkpoints")).expect("a folder");
    for version in 1..20 {
        other.grant_of(&version.to_string(), &[]);
    }
    let note = other.host(&[&"log", &"checkpoint"]).ok().stdout;
    for number in 0..60 {
        let path = world.at(&format!("anchor/checkpoints/{number:020}"));
        fs::write(path, &note).expect("a file");
    }
    fs::write(world.at("anchor/checkpoint"), &note).expect("a file");
    let (granted, build) = world.attested();
    world
        .sign(&granted, &build)
        .ok()
        .says("61 files at anchor `");
    assert_eq!(kept(&world).len(), 61);
}

#[test]
fn nothing_is_signed_without_an_anchor_that_is_required() {
    let world = with_anchors(REQUIRED);
    let (granted, build) = world.attested();
    let count = world.token_count();
    world.without(&world.at("anchor"), || {
        world.sign(&granted, &build).trouble("anchor `");
        world
            .host(&[&"grant", &"foo", &"2", &"-o", &world.new_folder("grant")])
            .trouble("anchor `");
    });
    assert_eq!(
        (world.token_count(), world.logged("intent").len()),
        (count, 0)
    );
    world.sign(&granted, &build).ok();
    // The log as it was with the intent, before the token was asked.
    let intent = world.logged("intent")[0]["index"]
        .as_u64()
        .expect("an index");
    assert_eq!(kept(&world), [format!("{:020}", intent + 1)]);

    fs::remove_dir_all(world.at("anchor/checkpoints")).expect("removed");
    world
        .host(&[&"grant", &"foo", &"2", &"-o", &world.new_folder("grant")])
        .refused("although this host kept one there");
}

/// Of two that announce at once, one at least sees the other.
#[test]
fn of_two_live_copies_of_a_home_one_signs() {
    let world = with_anchors(REQUIRED);
    let (granted, build) = world.attested();
    let copy = copied(&world, "copy");
    world.sign(&granted, &build).ok();
    let count = world.token_count();
    // It has not looked since: its checkpoint is refused before the token is asked.
    in_older_copy(&world, &copy, || {
        let own = world.at("anchor/checkpoints");
        world.without(&own, || {
            fs::create_dir(&own).expect("a folder");
            let granted = world.grant_of("9", &[]);
            let build = world.build(&[("a", b"a")]);
            world.attest(&granted, &build).ok();
            fs::remove_dir(&own).expect("removed");
            (granted, build)
        });
        world.sign(&granted, &build).refused("this home");
    });
    assert_eq!(world.token_count(), count);
}

/// As many as a reader needs.
#[test]
fn only_the_newest_checkpoints_stay() {
    let world = with_anchors(REQUIRED);
    for version in 1..=12 {
        let version = version.to_string();
        let (granted, build) = world.attested_of(&version, &[], &[("a", b"a")]);
        world.sign(&granted, &build).ok();
    }
    let kept = kept(&world);
    assert_eq!(kept.len(), 8);
    let newest = world.logged("intent")[11]["index"]
        .as_u64()
        .expect("an index");
    assert_eq!(kept[7], format!("{:020}", newest + 1));
}
