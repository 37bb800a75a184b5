//! A release that is withdrawn: on the signing host, at the location, and for its users.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;
use sha2::{Digest, Sha256};

use super::meaning::{notations, programs, sign_with};
use super::push::{newest, push, sign, signed, submission, verdicts, with_a_location};
use crate::common::world::{USER_ID, World, entry, write_private};
use crate::common::{Arguments, Run, copy_tree, have, listing, openpgp, tool, tree};

const NAME: &str = "foo-1.2.3";
const STATEMENT: &str = "foo-1.2.3.withdrawal";
const REASON: &str = "m1 was compromised";

fn withdraw(world: &World) -> Run<'_> {
    let statement = world.at("signed").join(STATEMENT);
    world.host(&[
        &"withdraw",
        &"foo",
        &"1.2.3",
        &"--reason",
        &REASON,
        &"-o",
        &statement,
    ])
}

/// A release that is public, and a copy that somebody kept.
fn public() -> (World, PathBuf) {
    let world = with_a_location();
    sign(&world, &world.attested()).ok();
    let copy = world.at("kept").join(NAME);
    fs::create_dir(world.at("kept")).expect("made");
    copy_tree(&submission(&world), &copy);
    world.admit().ok();
    (world, copy)
}

#[test]
fn a_release_is_withdrawn_for_everybody() {
    let (world, copy) = public();
    push(&world).ok().says("admitted at");
    let before = world.log().len();
    withdraw(&world)
        .ok()
        .says("withdrew foo 1.2.3")
        .says(REASON)
        .says("next: at the location run");
    let kinds = [
        "withdrawn",
        "grant-revoked",
        "key-intended",
        "key-outcome",
        "withdrawal-pushed",
    ];
    assert_eq!(newest(&world, world.log().len() - before), kinds);
    let pushed = world.inbox().join(STATEMENT);
    assert_eq!(tree(&pushed), tree(&world.at("signed").join(STATEMENT)));

    world
        .admit()
        .ok()
        .says(&format!("foo-1.2.3: withdrawn: {REASON}"));
    let served = world.releases().join(STATEMENT);
    assert_eq!(world.public(), [STATEMENT]);
    assert_eq!(listing(&served), ["withdrawal.json", "withdrawal.json.asc"]);
    let aside = world.releases().join(".countersign.withdrawn");
    assert_eq!(tree(&aside.join(NAME)), tree(&copy));
    push(&world).ok().says("withdrawn at");
    assert_eq!(verdicts(&world)[1]["status"], "withdrawn");
    push(&world).ok().says("no release waits");

    // Its users: with the statement beside the release, or by its name.
    let said = "release foo 1.2.3 was withdrawn at ";
    world.verify(&copy).ok();
    for what in [copy.clone(), copy.join("foo.txt")] {
        let given = world.verify(&what);
        given.with(&[&"--withdrawal", &served]).refused(said);
    }
    let beside = world.at("kept").join(STATEMENT);
    fs::create_dir(&beside).expect("made");
    let invalid = "so ask where the release comes from whether it is withdrawn";
    world.verify(&copy).refused(invalid);
    copy_tree(&served, &beside);
    for program in programs() {
        for what in [copy.clone(), copy.join("foo.txt")] {
            let verified = world.verify(&what).by(&program);
            verified.refused(said).says(REASON);
        }
        let file = world.verify(Path::new("foo.txt")).from(&copy);
        file.by(&program).refused(said);
    }
    let statement = served.join("withdrawal.json");
    world.verify(&statement).ok().says("withdraws foo 1.2.3");
    for program in ["gpgv", "sqv"] {
        if have(&[program]) {
            let signature = served.join("withdrawal.json.asc");
            let keyring: &Path = &world.certificate();
            let arguments: Arguments<'_> = &[&"--keyring", &keyring, &signature, &statement];
            tool(program, arguments, &world.at(""));
        }
    }

    // Nobody brings it back.
    copy_tree(&copy, &submission(&world));
    for program in programs() {
        world.admit().by(&program).refused(said);
    }
    copy_tree(&copy, &world.releases().join(NAME));
    world.admit().refused(said);
    assert_eq!(
        world.public(),
        [STATEMENT],
        "and what was put there is moved aside"
    );
    assert_eq!(listing(&aside).len(), 2, "neither is lost");
}

#[test]
fn a_withdrawal_is_in_the_log() {
    let (world, _) = public();
    withdraw(&world).ok();
    world.host(&[&"log", &"verify"]).ok();
    world
        .host(&[&"grants", &"list"])
        .ok()
        .says("withdrawn (entry ");
    let statement = world.at("signed").join(STATEMENT).join("withdrawal.json");
    let proof = world.at("proof");
    world
        .host(&[&"log", &"prove", &statement, &"-o", &proof])
        .ok();
    let key = world.logged("log-created")[0]["key"].clone();
    let key = key.as_str().expect("a key").to_owned();
    let proved: &[&dyn AsRef<std::ffi::OsStr>] = &[&"--proof", &proof, &"--log-key", &key];
    let said = world.verify(&statement).with(proved).ok();
    said.says("announced in entry ");

    // What is withdrawn is neither pushed nor signed nor granted again.
    world
        .host(&[&"push", &signed(&world)])
        .refused("was revoked after its release was signed");
    let keys = world.new_folder("more");
    world
        .host(&[
            &"grant",
            &"foo",
            &"1.2.3",
            &"--builder",
            &"m1",
            &"--allow-older",
            &"-o",
            &keys,
        ])
        .refused("release foo 1.2.3 was withdrawn in ledger entry ");
    world
        .host(&[&"withdraw", &"foo", &"9", &"--reason", &REASON])
        .usage("no release foo 9 was finished here");
}

/// Every grant of its name is revoked with it, and what is secret of them is wiped.
#[test]
fn other_grants_of_a_withdrawn_release_are_of_no_use() {
    let world = with_a_location();
    sign(&world, &world.attested()).ok();
    let (granted, build) = world.attested_with(&[&"--scheme", &"hmac"]);
    let nonces = world.home().join("nonces");
    assert_eq!(listing(&nonces).len(), 1);
    withdraw(&world).ok();
    assert_eq!(listing(&nonces), [""; 0]);
    assert_eq!(world.logged("grant-revoked").len(), 2);
    let other = world.at("signed").join("other");
    world
        .sign_into(&other, &granted, &build)
        .refused("was revoked");
}

#[test]
fn a_record_that_cannot_be_read_keeps_nothing_public() {
    let (world, _) = public();
    withdraw(&world).ok();
    let record = world.releases().join(".countersign.admitted").join(NAME);
    fs::write(record, "spoilt").expect("written");
    world.admit().ok().says("foo-1.2.3: withdrawn");
    assert_eq!(world.public(), [STATEMENT]);
}

/// From its entry on, whatever fails behind it.
#[test]
fn a_withdrawal_that_was_interrupted_is_finished_and_signed_once() {
    let (world, _) = public();
    let key = world.token_file();
    world.without(key, || withdraw(&world).trouble("token"));
    assert_eq!(world.logged("withdrawn").len(), 0, "nothing began");

    world.while_the_token_fails(|| withdraw(&world).trouble("does not work"));
    assert_eq!(world.logged("withdrawn").len(), 1);
    let status = world.host(&[&"status"]).ok();
    status
        .says("needs      the token, for its signature")
        .says("next       countersign withdraw foo 1.2.3");
    world
        .host(&[&"push", &signed(&world)])
        .refused("was revoked");
    push(&world).ok();
    assert!(!world.inbox().join(STATEMENT).exists(), "it is not signed");

    world.without(&world.inbox(), || {
        withdraw(&world).trouble("was not pushed")
    });
    let status = world.host(&[&"status"]).ok();
    status.says("needs      no token: the statement is to be pushed");
    push(&world).ok().says("foo-1.2.3.withdrawal: pushed to");
    world
        .host(&[&"status"])
        .ok()
        .says("every signing run is finished");

    let uses = world.token_count();
    withdraw(&world)
        .ok()
        .says("withdrawn before: foo 1.2.3")
        .says("kept from an earlier run");
    assert_eq!(world.token_count(), uses);
    for kind in ["withdrawn", "withdrawal-pushed", "grant-revoked"] {
        assert_eq!(world.logged(kind).len(), 1, "{kind}");
    }
    world.host(&[&"log", &"verify"]).ok();
    world.admit().ok().says("foo-1.2.3: withdrawn");
}

/// It may come before the release that it is about.
#[test]
fn a_release_that_is_withdrawn_first_is_never_public() {
    let world = with_a_location();
    sign(&world, &world.attested()).ok();
    let copy = world.at("copy");
    fs::rename(submission(&world), &copy).expect("held back");
    withdraw(&world).ok();
    world.admit().ok().says("foo-1.2.3: withdrawn");
    copy_tree(&copy, &submission(&world));
    world.admit().refused("release foo 1.2.3 was withdrawn at ");
    assert_eq!(world.public(), [STATEMENT]);
}

#[test]
fn only_the_release_key_withdraws_and_only_by_such_a_statement() {
    let (world, copy) = public();
    withdraw(&world).ok();
    let submitted = world.inbox().join(STATEMENT);
    let genuine = world.at("genuine");
    fs::rename(&submitted, &genuine).expect("taken away");
    let text = fs::read_to_string(genuine.join("withdrawal.json")).expect("a statement");
    let refused = |change: &dyn Fn(), reason: &str| {
        copy_tree(&genuine, &submitted);
        change();
        let said = world.admit().refused(reason);
        assert_eq!(world.public(), [NAME], "{reason}");
        for left in ["foo-1.2.3.withdrawal", "foo-9.withdrawal"] {
            let _ = fs::remove_dir_all(world.inbox().join(left));
        }
        said
    };
    let write = |name: &str, bytes: &[u8]| {
        fs::write(submitted.join(name), bytes).expect("written");
    };
    let changed = text.replace("compromised", "Compromised");
    refused(
        &|| write("withdrawal.json", changed.as_bytes()),
        "does not match `withdrawal.json`",
    );
    refused(&|| write("more", b""), "nothing else");
    refused(
        &|| fs::remove_file(submitted.join("withdrawal.json.asc")).expect("removed"),
        "`withdrawal.json.asc` is missing",
    );
    refused(
        &|| fs::rename(&submitted, world.inbox().join("foo-9.withdrawal")).expect("renamed"),
        "but contains release `foo-1.2.3.withdrawal`",
    );
    // Another signature by the same key, over other bytes or these.
    let of_list = fs::read(copy.join("SHA256SUMS.asc")).expect("a signature");
    refused(
        &|| {
            write("withdrawal.json.asc", &of_list);
            write(
                "withdrawal.json",
                &fs::read(copy.join("SHA256SUMS")).expect("a list"),
            );
        },
        "its notation `role@example.org` is `list`; expected `withdrawal`",
    );

    copy_tree(&genuine, &submitted);
    world.admit().ok();
    assert_eq!(world.public(), [STATEMENT]);
}

/// A build whose artifact has the bytes of a statement.
#[test]
fn an_artifact_is_no_withdrawal() {
    let (world, _) = public();
    withdraw(&world).ok();
    let submitted = world.inbox().join(STATEMENT);
    let text = fs::read(submitted.join("withdrawal.json")).expect("a statement");
    let genuine = world.at("genuine");
    fs::rename(&submitted, &genuine).expect("moved");

    let granted = world.grant_of("2", &[]);
    let build = world.new_build("two");
    fs::write(build.at("withdrawal.json"), &text).expect("written");
    let reserved = "could pass for a file that countersign itself writes";
    world.attest(&granted, &build).refused(reserved);
    fs::rename(build.at("withdrawal.json"), build.at("foo.json")).expect("renamed");
    world.attest(&granted, &build).ok();
    let second = world.at("signed").join("foo-2");
    world.sign_into(&second, &granted, &build).ok();
    fs::create_dir(&submitted).expect("made");
    for (from, to) in [
        ("foo.json", "withdrawal.json"),
        ("foo.json.asc", "withdrawal.json.asc"),
    ] {
        fs::copy(second.join(from), submitted.join(to)).expect("copied");
    }
    // For gpgv the signature is good; the page's check says what it is of.
    if have(&["gpgv"]) {
        fs::copy(world.certificate(), submitted.join("release.pgp")).expect("copied");
        let plain: Arguments<'_> = &[
            &"--keyring",
            &"./release.pgp",
            &"withdrawal.json.asc",
            &"withdrawal.json",
        ];
        tool("gpgv", plain, &submitted);
        assert_eq!(checked(&submitted), "");
        fs::copy(world.certificate(), genuine.join("release.pgp")).expect("copied");
        assert_eq!(checked(&genuine), "[GNUPG:] NOTATION_DATA withdrawal\n");
        fs::write(genuine.join("withdrawal.json"), b"changed").expect("written");
        assert_eq!(checked(&genuine), "");
        fs::remove_file(submitted.join("release.pgp")).expect("removed");
    }
    world
        .admit()
        .refused("its notation `role@example.org` is `artifact`; expected `withdrawal`");
    assert_eq!(world.public(), [NAME, "foo-2"]);
}

/// What the check of docs/reference/repository.md prints in this folder.
fn checked(folder: &Path) -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference/repository.md");
    let page = fs::read_to_string(page).expect("the page");
    let (_, check) = page
        .split_once("\n    gpgv --status-fd")
        .expect("the check");
    let (check, _) = check.split_once("\n\n").expect("its end");
    let check = format!("{{ gpgv --status-fd{check}\n}} 2>/dev/null || true");
    tool("sh", &[&"-c", &check], folder).stdout
}

/// The statement is found beside a link to the release as beside the release, and the release has
/// the name by which it is asked for.
#[test]
fn a_withdrawal_is_found_behind_links_and_in_front_of_them() {
    let (world, copy) = public();
    withdraw(&world).ok();
    let statement = world.at("signed").join(STATEMENT);
    let said = "release foo 1.2.3 was withdrawn at ";
    let served = world.new_folder("served");
    let link = served.join(NAME);
    symlink(&copy, &link).expect("linked");
    let file = served.join("foo.txt");
    for name in ["foo.txt", "foo.txt.asc"] {
        symlink(copy.join(name), served.join(name)).expect("linked");
    }
    let below = link.join("foo.txt");
    let here = |folder: &Path, what: &str| {
        let run = world.verify(Path::new(what)).from(folder);
        run.env("PWD", folder)
    };
    world.verify(&link).ok();
    for (place, also_the_file) in [
        (served.join(STATEMENT), false),
        (world.at("kept").join(STATEMENT), true),
    ] {
        copy_tree(&statement, &place);
        for what in [&link, &below] {
            world.verify(what).refused(said);
        }
        for what in [".", "foo.txt", "./"] {
            here(&link, what).refused(said);
        }
        if also_the_file {
            world.verify(&file).refused(said);
        }
        fs::remove_dir_all(place).expect("removed");
    }

    let other = served.join("foo-2.0");
    symlink(&copy, &other).expect("linked");
    let unnamed = "`foo-2.0` contains release foo 1.2.3";
    for program in programs() {
        here(&other, ".").by(&program).refused(unnamed);
        here(&served, "foo-2.0").by(&program).refused(unnamed);
    }
    // The shell may be wrong about where it is.
    world
        .verify(Path::new("."))
        .from(&copy)
        .env("PWD", &served)
        .ok();
}

/// A statement that is given, and is of another release.
#[test]
fn a_withdrawal_of_another_release_is_reported() {
    let (world, _) = public();
    withdraw(&world).ok();
    let statement = world.at("signed").join(STATEMENT);
    let granted = world.grant_of("2", &[]);
    let build = world.new_build("two");
    fs::write(build.at("foo.txt"), "two").expect("written");
    world.attest(&granted, &build).ok();
    let second = world.at("signed").join("foo-2");
    world.sign_into(&second, &granted, &build).ok();
    let run = world.verify(&second).with(&[&"--withdrawal", &statement]);
    let said = run.ok();
    assert!(
        said.stderr.contains("is of foo 1.2.3, not of foo 2"),
        "{said:?}"
    );
}

// ---- A release that is signed anew ----

/// What a signing host makes of a release, which has the form `list`, when it signs it anew.
fn successor(world: &World, key: &SigningKey, release: &Path, of: &[u8]) {
    let sums = release.join("SHA256SUMS");
    let says = notations(world, &sums);
    let path = release.join("evidence/release.json");
    let contents = fs::read_to_string(&path).expect("its contents");
    let of = hex::encode(Sha256::digest(of));
    let named = format!("  ],\n  \"successor_of\": \"{of}\"\n}}\n");
    let anew = contents.replace("  ]\n}\n", &named);
    let list = fs::read_to_string(&sums).expect("the list");
    let [old, new] = [&contents, &anew].map(|it| entry(it.as_bytes(), "evidence/release.json"));
    let list = list.replace(&old, &new);
    fs::write(&path, anew).expect("written");
    fs::write(&sums, &list).expect("written");
    let signature = sign_with(world, key, list.as_bytes(), says);
    fs::write(release.join("SHA256SUMS.asc"), signature).expect("written");
}

#[test]
fn a_successor_takes_the_place_of_the_release_that_it_names() {
    let world = World::new();
    let (made, second) = openpgp::with_two_signing_subkeys(USER_ID);
    fs::write(world.at("made.asc"), &made.certificate).expect("written");
    write_private(
        world.token_file(),
        openpgp::pkcs8_pem(&made.secret).as_bytes(),
    );
    let (token, certificate) = (world.token_uri(), world.at("made.asc"));
    world
        .host(&[&"init", &"--token", &token, &"--cert", &certificate])
        .ok();
    world.export();
    let first = SigningKey::from_bytes(&made.secret);
    let second = SigningKey::from_bytes(&second);

    let (granted, build) = world.attested_with(&[&"--form", &"list"]);
    world.sign(&granted, &build).ok();
    let (submitted, copy) = (submission(&world), world.at("copy"));
    copy_tree(&submitted, &copy);
    world.admit().ok();
    let served = world.releases().join(NAME);
    let list = || fs::read(served.join("SHA256SUMS")).expect("the list");
    let original = list();
    let admit_anew = |key: &SigningKey, of: &[u8]| {
        let _ = fs::remove_dir_all(&submitted);
        copy_tree(&copy, &submitted);
        successor(&world, key, &submitted, of);
        world.admit()
    };
    let occupied = "another release `foo-1.2.3` was admitted before";
    admit_anew(&second, b"another list").refused(occupied);
    // A build of other artifacts that names it.
    let other = world.build(&[("foo.txt", b"other\n")]);
    let granted = world.grant_with(&[&"--form", &"list"]);
    world.attest(&granted, &other).ok();
    fs::remove_dir_all(&submitted).expect("removed");
    world.sign(&granted, &other).ok();
    successor(&world, &second, &submitted, &original);
    world.admit().refused(occupied);
    // With another key, but no successor.
    let like_it = notations(&world, &copy.join("SHA256SUMS"));
    let by_second = sign_with(&world, &second, &original, like_it);
    fs::remove_dir_all(&submitted).expect("removed");
    copy_tree(&copy, &submitted);
    fs::write(submitted.join("SHA256SUMS.asc"), by_second).expect("written");
    world.admit().refused("but this release is signed by ");
    assert_eq!(list(), original);

    let record = world.releases().join(".countersign.admitted").join(NAME);
    let of_original = fs::read(&record).expect("a record");
    let recorded = || {
        let digest = hex::encode(Sha256::digest(list()));
        fs::read_to_string(&record)
            .expect("a record")
            .contains(&digest)
    };
    admit_anew(&second, &original)
        .ok()
        .says("foo-1.2.3: admitted");
    world.verify(&served).ok();
    let anew = list();
    assert_ne!(anew, original);
    assert!(recorded());
    let aside = |name: &String| name.starts_with(".countersign-");
    assert!(
        !listing(&world.releases()).iter().any(aside),
        "the first one is gone"
    );

    // As after a run that was killed before the record was written.
    fs::write(&record, of_original).expect("written");
    admit_anew(&second, &original).ok();
    assert!(recorded());
    // The one before does not come back, but may be succeeded again.
    copy_tree(&copy, &submitted);
    world.admit().refused(occupied);
    assert_eq!(list(), anew);
    admit_anew(&first, &anew).ok();
    assert!(recorded());

    // A withdrawn one has none, whoever has what.
    let last = list();
    fs::rename(&served, world.at("moved")).expect("moved away");
    admit_anew(&second, &last).refused(occupied);
    assert_eq!(world.public(), [""; 0]);
}
