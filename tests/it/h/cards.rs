//! The journey with the release key on an OpenPGP card, and everything that can happen to a card on
//! the way. In each test the card's own counter has to rise by exactly as many signatures as were
//! due.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use crate::common::cards::{Slot, USER_PIN, VirtualCard, card_or_skip};
use crate::common::gpg::{Gpg, Sharing};
use crate::common::started::Started;
use crate::common::tokens::write_secret;
use crate::common::world::{Build, Granted, USER_ID, World};
use crate::common::{Arguments, Run, listing, tool, tree};

/// What `init --generate` takes: three for the certificate, and the self-test.
const FOR_INIT: u32 = 4;

/// What the release of [`World::attested`] takes: two artifacts and the list.
const FOR_RELEASE: u32 = 3;

// ---- The journey ----

#[test]
fn a_release_is_signed_by_each_kind_of_key_on_a_card() {
    for kind in ["ed25519", "p256", "p384", "p521", "rsa2048"] {
        let (world, card) = card_or_skip!(&[]);
        the_journey(&world, &card, kind);
    }
}

#[test]
fn a_release_is_signed_by_each_kind_of_key_on_a_card_of_another_author() {
    for kind in [
        "ed25519", "p256", "p384", "p521", "rsa2048", "rsa3072", "rsa4096",
    ] {
        let (world, card) = card_or_skip!(insert_second, &[]);
        the_journey(&world, &card, kind);
    }
}

/// From an empty card to a release that gpgv and sqv take.
fn the_journey(world: &World, card: &VirtualCard, kind: &str) {
    world.init_of_kind(kind).ok();
    world.export();
    assert_eq!(card.signatures(), FOR_INIT, "{kind}");
    world.host(&[&"key", &"check"]).ok();
    assert_eq!(card.signatures(), FOR_INIT, "{kind}");

    releases_and_verifies(world);
    assert_eq!(card.signatures(), FOR_INIT + FOR_RELEASE, "{kind}");
    assert_eq!(card.tries(), (3, 3), "{kind}");
}

/// A release of the world's key, which goes the whole way.
fn releases_and_verifies(world: &World) {
    let (granted, build) = world.attested();
    world.sign(&granted, &build).ok();
    // Again, with everything kept: the card is not asked.
    world.sign(&granted, &build).ok().says("signed already");
    world.admit().ok();
    let release = world.releases().join("foo-1.2.3");
    world.verify(&release).ok();
    for file in ["foo.txt", "foo.tar", "SHA256SUMS"] {
        let signature = format!("{file}.asc");
        tool(
            "gpgv",
            &[&"--keyring", &world.certificate(), &signature, &file],
            &release,
        );
        tool(
            "sqv",
            &[&"--keyring", &world.certificate(), &signature, &file],
            &release,
        );
    }
}

/// The library that reads the card would panic on these answers.
#[test]
fn a_card_that_answers_in_parts_signs() {
    let (world, card) = card_or_skip!(insert_second, &["--chain-responses"]);
    world.init_of_kind("rsa2048").ok();
    world.export();
    releases_and_verifies(&world);
    assert_eq!(card.signatures(), FOR_INIT + FOR_RELEASE);
}

// ---- Cards that others prepared, and others that use ours ----

#[test]
fn a_key_that_gpg_moved_to_the_card_signs_with_its_certificate() {
    for algorithm in ["ed25519", "rsa4096"] {
        let (world, card) = card_or_skip!(&[]);
        let gpg = Gpg::new(world.at("gnupg"), world.reader(), Sharing::Shared);
        let key = gpg.make_key(algorithm, "sign,cert");
        gpg.key_to_card(&key, 0);
        adopt(&world, &gpg, &key, &key);
        assert_eq!(card.signatures(), 1, "the self-test");
        releases_and_verifies(&world);
        assert_eq!(card.signatures(), 1 + FOR_RELEASE);
    }
}

#[test]
fn a_signing_subkey_on_the_card_signs_while_its_primary_key_is_elsewhere() {
    let (world, card) = card_or_skip!(&[]);
    let gpg = Gpg::new(world.at("gnupg"), world.reader(), Sharing::Shared);
    let primary = gpg.make_key("ed25519", "cert");
    gpg.run(
        "",
        &["--quick-add-key", &primary, "ed25519", "sign", "1y"],
        "",
    );
    let subkey = gpg.fingerprints().remove(1);
    gpg.key_to_card(&primary, 1);
    adopt(&world, &gpg, &primary, &subkey);
    releases_and_verifies(&world);
    assert_eq!(card.signatures(), 1 + FOR_RELEASE);
    world
        .host(&[&"key", &"extend"])
        .usage("is not the key on this token");
}

fn adopt(world: &World, gpg: &Gpg, certificate: &str, key: &str) {
    let file = world.at("from-gpg.pgp");
    gpg.export(certificate, &file);
    let init = world.init_with(&[&"--cert", &file, &"--json"]);
    let said = init.ok().json();
    assert_eq!(
        (&said["certificate"], &said["key"]),
        (&certificate.into(), &key.into())
    );
    world.export();
}

/// The card keeps when its key was made: part of the fingerprint, by which gpg knows the card's
/// key.
#[test]
fn a_key_without_a_certificate_keeps_its_fingerprint() {
    let (world, card) = card_or_skip!(&[]);
    let gpg = Gpg::new(world.at("gnupg"), world.reader(), Sharing::Shared);
    let key = gpg.make_key("ed25519", "sign,cert");
    thread::sleep(Duration::from_millis(1100));
    gpg.key_to_card(&key, 0);
    let init = world.init_with(&[&"--user-id", &USER_ID, &"--json"]);
    let said = init.ok().json();
    assert_eq!(said["key"], key);
    world.export();
    releases_and_verifies(&world);
    assert_eq!(card.signatures(), FOR_INIT + FOR_RELEASE);
}

#[test]
fn a_key_that_was_made_here_signs_with_gpg() {
    let (world, card) = card_or_skip!(&[]);
    world.set_up();
    let gpg = Gpg::new(world.at("gnupg"), world.reader(), Sharing::Shared);
    gpg.import(&world.certificate());
    let file = world.at("text");
    fs::write(&file, "text\n").expect("a file");
    gpg.sign(&gpg.fingerprints()[0], &file);
    assert_eq!(card.signatures(), FOR_INIT + 1);
    tool(
        "gpgv",
        &[&"--keyring", &world.certificate(), &"text.sig", &"text"],
        file.parent().expect("a folder"),
    );
}

// ---- PINs ----

#[test]
fn a_wrong_pin_costs_one_try_and_the_last_is_for_a_person() {
    let (world, card) = card_or_skip!(&[]);
    wrong_pins(&world, &card);
}

#[test]
fn a_wrong_pin_costs_one_try_on_a_card_of_another_author() {
    let (world, card) = card_or_skip!(insert_second, &[]);
    wrong_pins(&world, &card);
}

fn wrong_pins(world: &World, card: &VirtualCard) {
    world.set_up();
    let (granted, build) = world.attested();
    let pin = pin_file(world);
    write_secret(&pin, "12345");
    world
        .sign(&granted, &build)
        .stops(2, "shorter than any PIN of an OpenPGP card");
    assert_eq!(card.tries(), (3, 3), "what cannot be a PIN was tried");

    write_secret(&pin, "654321");
    world
        .sign(&granted, &build)
        .trouble("wrong PIN")
        .says("3 PIN tries left")
        .says("2 tries are left");
    assert_eq!(card.tries(), (2, 3));
    world
        .sign(&granted, &build)
        .trouble("did not accept the PIN");
    assert_eq!(card.tries(), (2, 3), "the same PIN was tried again");
    write_secret(&pin, "765432");
    world
        .sign(&granted, &build)
        .trouble("wrong PIN")
        .says("one try is left");
    assert_eq!(card.tries(), (1, 3));
    // With the right PIN, but with nobody there.
    write_secret(&pin, USER_PIN);
    world
        .sign(&granted, &build)
        .trouble("one try left for the PIN; not trying unattended");
    assert_eq!(card.tries(), (1, 3));
    assert_eq!(card.signatures(), FOR_INIT);
    assert_eq!(listing(&world.inbox()), [""; 0]);

    // By other means the last is lost.
    card.send(&[&format!("0020008106{}", hex::encode("654321"))]);
    assert_eq!(card.tries(), (0, 3));
    world
        .sign(&granted, &build)
        .trouble("the PIN of token")
        .says("is locked")
        .says("gpg --card-edit");
    world
        .host(&[&"key", &"list"])
        .ok()
        .says("PIN        locked");
    assert_eq!(card.signatures(), FOR_INIT);
}

#[test]
fn a_wrong_admin_pin_leaves_the_key_that_is_there() {
    let (world, card) = card_or_skip!(&[]);
    world.set_up();
    let before = card.order(&["00CA00C500"]);
    for (file, wrong, tries) in [
        ("user-pin", "654321", (2, 3)),
        ("admin-pin", "87654321", (2, 2)),
    ] {
        let file = pin_file(&world).with_file_name(file);
        let right = fs::read_to_string(&file).expect("the PIN");
        write_secret(&file, wrong);
        world.replace_key_for("other").stops(3, "PIN for token");
        write_secret(&file, &right);
        // The right PIN of the user sets its own counter back, before the admin's is tried.
        let now = card.tries();
        assert_eq!(
            now,
            if file.ends_with("admin-pin") {
                (3, 2)
            } else {
                tries
            }
        );
        assert_eq!(
            card.order(&["00CA00C500"]),
            before,
            "the key is another one"
        );
    }
    assert_eq!(card.signatures(), FOR_INIT);
}

#[test]
fn a_key_is_replaced_only_when_that_is_asked_for() {
    let (world, card) = card_or_skip!(&[]);
    world.set_up();
    let generate: Arguments<'_> = &[&"--generate", &"p256", &"--user-id", &USER_ID];
    world
        .init_at(&world.at("other"), generate)
        .stops(2, "already has a key")
        .says("--replace-key");
    assert_eq!(card.signatures(), FOR_INIT);
    world
        .replace_key_for("another")
        .ok()
        .says("will be lost for ever");
    // A new key counts from the beginning.
    assert_eq!(card.signatures(), FOR_INIT);
    let (granted, build) = world.attested();
    world
        .sign(&granted, &build)
        .refused("the key on the token differs from the release certificate's");
    assert_eq!(card.signatures(), FOR_INIT);
}

#[test]
fn one_pin_serves_for_all_signatures_where_the_card_allows_it() {
    let (world, card) = card_or_skip!(&[]);
    world.set_up();
    for (each_time, signatures) in [(true, FOR_RELEASE), (false, 2 * FOR_RELEASE)] {
        card.want_pin_each_time(each_time);
        let keys = world.host(&[&"key", &"list", &"--json"]).ok().json();
        assert_eq!(keys["keys"][0]["card"]["pin_per_signature"], each_time);
        let (granted, build) = world.attested_of(
            if each_time { "1.2.3" } else { "1.2.4" },
            &[],
            &[("foo.txt", b"text\n"), ("foo.tar", b"tar\n")],
        );
        world.sign(&granted, &build).ok();
        assert_eq!(card.signatures(), FOR_INIT + signatures);
    }
}

#[test]
fn nobody_signs_with_our_pin_afterwards() {
    let (world, card) = card_or_skip!(&[]);
    card.want_pin_each_time(false);
    world.set_up();
    world.signed();
    signs_nothing(&card);
    assert_eq!(card.signatures(), FOR_INIT + FOR_RELEASE);
}

/// The next program that uses the card, just as we left it or from the beginning.
fn signs_nothing(card: &VirtualCard) {
    let sign = format!("002A9E9A20{}00", "11".repeat(32));
    assert_eq!(card.send_as_it_is(&sign), "6982");
    assert_eq!(card.send(&[&sign]), ["6982"]);
}

#[test]
fn nobody_signs_with_our_pin_after_a_run_that_was_killed() {
    let (world, card) = card_or_skip!(&["--touch", "never"]);
    card.want_pin_each_time(false);
    let (_, _, run) = waiting_for_touch(&world, &card);
    run.kill();
    signs_nothing(&card);
    assert_eq!(card.signatures(), FOR_INIT);
    world.host(&[&"key", &"check"]).ok();
}

/// What other processes can read of one that waits for a touch.
#[test]
fn the_pin_is_not_among_what_a_process_shows() {
    let (world, card) = card_or_skip!(&["--touch", "never"]);
    let (_, _, run) = waiting_for_touch(&world, &card);
    for file in ["cmdline", "environ"] {
        let shown =
            fs::read(format!("/proc/{}/{file}", run.process.id())).expect("what a process shows");
        assert!(!shown.is_empty());
        assert!(
            !shown
                .windows(USER_PIN.len())
                .any(|window| window == USER_PIN.as_bytes()),
            "in {file}"
        );
    }
    let limits =
        fs::read_to_string(format!("/proc/{}/limits", run.process.id())).expect("its limits");
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"))
        .expect("a limit");
    assert_eq!(
        core.split_whitespace().nth(4),
        Some("0"),
        "it would leave a core dump: {core}"
    );
    run.kill();
    assert_eq!(card.signatures(), FOR_INIT);
}

/// A `sign` that waits for the touch that its first signature takes.
fn waiting_for_touch(world: &World, card: &VirtualCard) -> (Granted, Build, Started) {
    world.set_up();
    card.want_touch(true);
    let (granted, build) = world.attested();
    let mut run = Started::sign(world, &granted, &build);
    run.until_it_says("touch the card now");
    (granted, build, run)
}

#[test]
fn a_card_that_hashes_its_pins_takes_them() {
    let (world, card) = card_or_skip!(&[]);
    world.set_up();
    card.hash_pins();
    // The PIN as it is typed is no longer the one.
    let plain = format!("0020008106{}", hex::encode(USER_PIN));
    assert_ne!(card.send(&[&plain]), ["9000"]);
    assert_eq!(card.tries(), (2, 3));
    world.signed();
    assert_eq!(
        (card.signatures(), card.tries()),
        (FOR_INIT + FOR_RELEASE, (3, 3))
    );
}

#[test]
fn the_pin_is_written_nowhere() {
    const SECRET: &str = "Zugang-4711";
    let (world, card) = card_or_skip!(&[]);
    world.set_up();
    card.change_pin(USER_PIN, SECRET);
    let pin = pin_file(&world);
    write_secret(&pin, SECRET);
    let (granted, build) = world.attested();
    let loud = |run: Run<'_>| {
        let said = run.env("RUST_LOG", "trace").env("PCSCLITE_DEBUG", "0").ok();
        let printed = said.stdout + &said.stderr;
        assert!(
            !printed.contains(SECRET) && !printed.contains(&hex::encode(SECRET)),
            "{printed}"
        );
    };
    loud(world.host(&[&"key", &"check", &"--sign"]));
    loud(world.sign(&granted, &build));
    assert_eq!(card.signatures(), FOR_INIT + 1 + FOR_RELEASE);
    for (name, bytes) in tree(&world.home()).into_iter().chain(tree(&world.inbox())) {
        for secret in [SECRET.to_owned(), hex::encode(SECRET)] {
            let found = bytes
                .windows(secret.len())
                .any(|window| window == secret.as_bytes());
            assert!(!found, "the PIN is in {name}");
        }
    }
}

fn pin_file(world: &World) -> PathBuf {
    world.at("token").join("user-pin")
}

// ---- Touch ----

#[test]
fn a_touch_that_never_comes_ends_the_run_and_the_next_one_finishes_it() {
    let (world, card) = card_or_skip!(&["--touch", "never"]);
    world.set_up();
    let (granted, build) = world.attested();
    card.want_touch(true);
    let plan = world.sign(&granted, &build).with(&[&"--dry-run"]).ok();
    plan.says("touch      for each signature");
    let said = world
        .sign(&granted, &build)
        .trouble("was not touched in time");
    said.says("3 signatures, 3 touches, 3 PIN tries left")
        .says("touch the card now (1 of 3)");
    assert_eq!(card.signatures(), FOR_INIT);
    assert_eq!(listing(&world.inbox()), [""; 0]);
    card.pull();

    let Some(card) = world.reader().insert(Slot::First, &["--touch", "auto"]) else {
        return;
    };
    world
        .sign(&granted, &build)
        .ok()
        .says("touch the card now (3 of 3)");
    assert_eq!(
        (card.signatures(), card.tries()),
        (FOR_INIT + FOR_RELEASE, (3, 3))
    );
}

#[test]
fn one_touch_signs_a_whole_release() {
    let (world, card) = card_or_skip!(&[]);
    world.set_up();
    card.want_touch(true);
    let (granted, build) = world.attested_with(&[&"--form", &"list"]);
    let said = world.sign(&granted, &build).ok();
    said.says("1 signature, 1 touch, 3 PIN tries left")
        .says("touch the card now (1 of 1)");
    assert_eq!(card.signatures(), FOR_INIT + 1);
    world.admit().ok();
}

/// What the card signed before it went wrong is in the log, of the release key's own signatures
/// too.
#[test]
fn the_log_counts_what_failed() {
    let (world, card) = card_or_skip!(&["--touch", "never"]);
    world.set_up();
    card.want_touch(true);
    world
        .host(&[&"key", &"check", &"--sign"])
        .trouble("was not touched in time");
    let outcome = world.logged("key-outcome").pop().expect("an outcome");
    assert_eq!(outcome["failed"], "not_touched");
    assert_eq!(
        (&outcome["card"]["before"], &outcome["card"]["after"]),
        (&FOR_INIT.into(), &FOR_INIT.into())
    );
    assert_eq!(card.signatures(), FOR_INIT);
}

// ---- Which card ----

#[test]
fn one_card_must_fit() {
    let Some(world) = World::with_readers() else {
        return;
    };
    world
        .host(&[&"key", &"list"])
        .ok()
        .says("no token in reach shows a key");
    world
        .init()
        .stops(3, "no token matches `card:`; present: none")
        .says("insert the card");

    let Some(first) = world
        .reader()
        .insert(Slot::First, &["--serial", "00000001"])
    else {
        return;
    };
    let init = |token: &str| {
        let uri = world.token_uri().replace("card:", token);
        let run = world.countersign(&[&"--home", &world.at("other"), &"init", &"--token", &uri]);
        run.with(&[&"--user-id", &USER_ID])
    };
    init("card:")
        .stops(2, "card `FFFE:00000001` has no signing key")
        .says("init --generate");
    world.set_up();

    let Some(second) = world
        .reader()
        .insert(Slot::Second, &["--serial", "0000000B"])
    else {
        return;
    };
    let said = init("card:").stops(
        2,
        "2 tokens match `card:`: `card:FFFE:00000001`, `card:FFFE:0000000B`",
    );
    said.says("name one of them");
    init("card:FFFE:0000000b").stops(2, "card `FFFE:0000000B` has no signing key");
    init("card:FFFE:00000003").stops(
        3,
        "no token matches `card:FFFE:00000003`; present: `card:FFFE:00000001`",
    );
    let keys = world.host(&[&"key", &"list", &"--json"]).ok().json();
    let seen: Vec<_> = ["uri", "algorithm", "release_key"]
        .map(|field| {
            [
                keys["keys"][0][field].clone(),
                keys["keys"][1][field].clone(),
            ]
        })
        .into();
    assert_eq!(seen[0], ["card:FFFE:00000001", "card:FFFE:0000000B"]);
    assert_eq!(seen[1], ["ed25519", "none yet"]);
    assert_eq!(seen[2], [true, false]);

    // Ours is found among them, and missed when it is out.
    world.signed();
    assert_eq!(
        (first.signatures(), second.signatures()),
        (FOR_INIT + FOR_RELEASE, 0)
    );
    first.pull();
    world
        .host(&[&"key", &"check"])
        .trouble("no token matches `card:FFFE:00000001`; present: `card:FFFE:0000000B`");
}

#[test]
fn another_key_on_the_card_is_not_used() {
    let (world, card) = card_or_skip!(&[]);
    world.set_up();
    let (granted, build) = world.attested();
    card.pull();
    // The same number, and nothing else the same.
    let other = world
        .reader()
        .insert_second(Slot::First, &["--serial", "00000001"]);
    let Some(other) = other else { return };
    world.replace_key_for("other").ok();
    world
        .sign(&granted, &build)
        .refused("the key on the token differs from the release certificate's");
    assert_eq!(other.signatures(), FOR_INIT);
}

#[test]
fn a_kind_of_key_that_the_card_does_not_know_costs_nothing() {
    let (world, card) = card_or_skip!(insert_second, &["--without-rsa"]);
    world
        .init_of_kind("rsa3072")
        .stops(2, "does not support rsa3072");
    assert_eq!((card.tries(), card.signatures()), ((3, 3), 0));
}

#[test]
fn a_list_shows_everything_about_a_card() {
    let (world, card) = card_or_skip!(&[]);
    world.set_up();
    card.want_touch(true);
    let said = world.host(&[&"key", &"list", &"--json"]).ok().json();
    let key = &said["keys"][0];
    assert_eq!(key["model"], "OpenPGP card 3.4");
    assert_eq!(
        (&key["serial"], &key["algorithm"]),
        (&"00000001".into(), &"ed25519".into())
    );
    assert_eq!(key["pin"], serde_json::json!({ "left": 3 }));
    let state = &key["card"];
    assert_eq!(
        (&state["touch"], &state["signatures"]),
        (&"on".into(), &FOR_INIT.into())
    );
    assert_eq!(state["admin_pin"], serde_json::json!({ "left": 3 }));
    assert_eq!(state["fingerprint"], key["fingerprint"]);
    let text = world.host(&[&"key", &"list"]).ok();
    for line in [
        "touch      for each signature",
        "PIN asked  for each signature",
        "counter    4 signatures so far",
    ] {
        assert!(text.stdout.contains(line), "{}", text.stdout);
    }
}

// ---- Faults ----

#[test]
fn a_card_that_is_pulled_out_loses_nothing() {
    for (options, signatures, counted) in [
        (["--pull-before-sign", "1"], 0, 0),
        (["--pull-before-sign", "2"], 1, 1),
        (["--pull-before-sign", "3"], 2, 2),
        // Of the last one only the card knows.
        (["--pull-after-sign", "1"], 0, 1),
        (["--pull-after-sign", "3"], 2, 3),
    ] {
        let (world, card) = card_or_skip!(&[]);
        world.set_up();
        let (granted, build) = world.attested();
        card.pull();
        let Some(card) = world.reader().insert(Slot::First, &options) else {
            return;
        };
        world
            .sign(&granted, &build)
            .trouble("went away: it was pulled out")
            .says("what was signed is kept");
        card.gone();
        assert_eq!(listing(&world.inbox()), [""; 0], "{options:?}");
        let outcome = &world.logged("outcome")[0];
        assert_eq!(
            outcome["result"]["token_signatures"], signatures,
            "{options:?}"
        );

        world.sign(&granted, &build).trouble("no token matches");
        let Some(card) = world.reader().insert(Slot::First, &[]) else {
            return;
        };
        assert_eq!(card.signatures(), FOR_INIT + counted, "{options:?}");
        world.sign(&granted, &build).ok().says(&format!(
            "{} made by the token now",
            if signatures == 0 {
                "all".to_owned()
            } else {
                (FOR_RELEASE - signatures).to_string()
            }
        ));
        assert_eq!(
            card.signatures(),
            FOR_INIT + counted + FOR_RELEASE - signatures,
            "{options:?}"
        );
        world.admit().ok();
        assert_eq!(world.public(), ["foo-1.2.3"]);
    }
}

#[test]
fn a_card_that_is_pulled_out_at_the_pin_loses_no_try() {
    let (world, card) = card_or_skip!(&[]);
    world.set_up();
    let (granted, build) = world.attested();
    card.pull();
    let Some(card) = world.reader().insert(Slot::First, &["--pull-at-verify"]) else {
        return;
    };
    world
        .sign(&granted, &build)
        .trouble("went away: it was pulled out");
    card.gone();
    let Some(card) = world.reader().insert(Slot::First, &[]) else {
        return;
    };
    assert_eq!(card.tries(), (3, 3));
    world.sign(&granted, &build).ok();
    assert_eq!(card.signatures(), FOR_INIT + FOR_RELEASE);
}

#[test]
fn a_service_that_crashes_is_as_a_card_that_is_pulled_out() {
    let (world, card) = card_or_skip!(&["--touch", "never"]);
    let (granted, build, mut run) = waiting_for_touch(&world, &card);
    world.reader().crash();
    run.until_it_says("went away: it was pulled out, or its reader does not answer");
    assert_eq!(run.end(), Some(3));
    assert_eq!(listing(&world.inbox()), [""; 0]);
    world.sign(&granted, &build).trouble("smart card service");
    assert_eq!(world.logged("outcome")[0]["result"]["token_signatures"], 0);
}

/// Longer than another program's transaction is waited for.
#[test]
fn a_slow_card_is_waited_for() {
    let (world, card) = card_or_skip!(&[]);
    world.set_up();
    let (granted, build) = world.attested_with(&[&"--form", &"list"]);
    card.pull();
    let Some(card) = world
        .reader()
        .insert(Slot::First, &["--sign-delay", "4000"])
    else {
        return;
    };
    world.sign(&granted, &build).ok();
    assert_eq!(card.signatures(), FOR_INIT + 1);
}

#[test]
fn no_service_is_distinguished_from_no_card() {
    let Some(world) = World::with_readers() else {
        return;
    };
    let nowhere = |run: Run<'_>| {
        run.env("PCSCLITE_CSOCK_NAME", "/nowhere/pcscd.comm")
            .stops(3, "smart card service")
    };
    nowhere(world.init()).says("pcscd");
    nowhere(world.host(&[&"key", &"list"]));
}

#[test]
fn a_card_that_scdaemon_uses_is_reported_and_can_be_waited_for() {
    let (world, card) = card_or_skip!(&[]);
    world.set_up();
    let gpg = Gpg::new(world.at("gnupg"), world.reader(), Sharing::Exclusive);
    gpg.run("", &["--card-status"], "");
    let check = || world.host(&[&"key", &"check"]);
    let said = check().trouble("is in use by another program: ");
    let said = said
        .says("scdaemon (process ")
        .says("gpgconf --kill scdaemon");
    assert!(said.stderr.contains("--wait"));
    world
        .host(&[&"key", &"list"])
        .ok()
        .says("is in use by another program");

    let mut run = Started::with(&world, &[&"key", &"check", &"--wait", &"--sign"]);
    run.until_it_says("waiting: the card in reader");
    gpg.kill_scdaemon();
    assert_eq!(run.end(), Some(0));
    assert_eq!(card.signatures(), FOR_INIT + 1);
}

#[test]
fn a_counter_that_does_not_rise_stops_everything() {
    let (world, card) = card_or_skip!(insert_second, &[]);
    world.set_up();
    let (granted, build) = world.attested();
    card.pull();
    let Some(card) = world
        .reader()
        .insert_second(Slot::First, &["--stuck-counter"])
    else {
        return;
    };
    let run = world.sign(&granted, &build);
    run.stops(
        1,
        "the signature counter of token `FFFE:00000002` went from 4 to 4 with one signature",
    );
    assert_eq!(
        (card.signatures(), listing(&world.inbox()).len()),
        (FOR_INIT, 0)
    );
}

// ---- The log ----

#[test]
fn the_log_counts_with_the_card() {
    let (world, card) = card_or_skip!(&[]);
    world.set_up();
    world.signed();
    assert_eq!(card.signatures(), FOR_INIT + FOR_RELEASE);
    let card = |before: u32, after: Option<u32>| match after {
        Some(after) => {
            serde_json::json!({ "card": "FFFE:00000001", "before": before, "after": after })
        }
        None => serde_json::json!({ "card": "FFFE:00000001", "before": before }),
    };
    assert_eq!(
        world.logged("key-outcome")[1]["card"],
        card(0, Some(FOR_INIT))
    );
    assert_eq!(world.logged("intent")[0]["card"], card(FOR_INIT, None));
    assert_eq!(
        world.logged("outcome")[0]["card"],
        card(FOR_INIT, Some(FOR_INIT + FOR_RELEASE))
    );
    world
        .host(&[&"log", &"list"])
        .ok()
        .says("card FFFE:00000001 counted 4 to 7");
}
