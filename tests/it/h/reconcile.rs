//! A card's own count of signatures against the log, on two virtual cards: whatever happens to an
//! honest run explains itself, and what somebody else lets the card sign is named.

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;

use crate::common::cards::{Slot, USER_PIN, VirtualCard, card_or_skip};
use crate::common::gpg::{Gpg, Sharing};
use crate::common::started::Started;
use crate::common::tokens::write_secret;
use crate::common::world::World;
use crate::common::{Arguments, Run, tree};
use serde_json::{Value, json};

const CARD: &str = "FFFE:00000001";

fn reconcile(world: &World) -> Run<'_> {
    world.host(&[&"log", &"reconcile", &"--token", &"card:"])
}

/// Everything that the card has signed is in the log, and nothing had to be explained.
#[track_caller]
fn reconciles(world: &World, card: &VirtualCard) {
    let report = reconcile(world).with(&[&"--json"]).ok().json();
    assert_eq!(
        (&report["findings"], &report["lost"]),
        (&json!([]), &json!([]))
    );
    assert_eq!(report["counter"], card.signatures());
}

/// An alarm, with these findings and no others.
#[track_caller]
fn alarms(world: &World, findings: &Value) -> Value {
    let said = reconcile(world)
        .with(&[&"--json"])
        .stops(1, "and the log do not agree");
    let report = said.json();
    assert_eq!(&report["findings"], findings);
    let logged = world.logged("reconciled").pop().expect("an entry");
    assert_eq!(
        (&logged["findings"], &logged["index"]),
        (findings, &report["ledger_entry"])
    );
    report
}

/// The index of the last entry.
fn last(world: &World) -> u64 {
    world.log().len() as u64 - 1
}

/// A release of a version of its own.
fn release(world: &World, version: &str, form: &str) {
    let artifacts: [(&str, &[u8]); 2] = [("foo.txt", b"text\n"), ("foo.tar", b"tar\n")];
    let (granted, build) = world.attested_of(version, &[&"--form", &form], &artifacts);
    world.sign(&granted, &build).ok();
}

/// gpg lets the card sign so often, and nobody logs it. It has a new home each time: a daemon that
/// had the card before countersign does not find it any more.
fn gpg_signs(world: &World, times: usize) {
    let gpg = Gpg::new(
        world.new_folder("gpg").join("home"),
        world.reader(),
        Sharing::Shared,
    );
    gpg.import(&world.certificate());
    let file = world.at("behind-our-back");
    fs::write(&file, "text\n").expect("a file");
    for _ in 0..times {
        gpg.sign(&gpg.fingerprints()[0], &file);
    }
}

// ---- Honest use ----

#[test]
fn everything_that_countersign_lets_a_card_sign_is_in_the_log() {
    let (world, card) = card_or_skip!(&[]);
    honest_use(&world, &card);
}

#[test]
fn everything_that_countersign_lets_a_card_of_another_author_sign_is_in_the_log() {
    let (world, card) = card_or_skip!(insert_second, &["--serial", "00000001"]);
    honest_use(&world, &card);
}

fn honest_use(world: &World, card: &VirtualCard) {
    world.set_up();
    reconciles(world, card);
    release(world, "1", "each");
    release(world, "2", "list");
    world.host(&[&"key", &"check", &"--sign"]).ok();
    world.host(&[&"key", &"extend"]).ok();
    release(world, "3", "each");
    let said = reconcile(world)
        .ok()
        .says("card FFFE:00000001 has made 14 signatures");
    said.says("entry 1 begins with 0 signatures")
        .says("every signature of this card is in the log");
    reconciles(world, card);
    assert_eq!((card.signatures(), card.tries()), (14, (3, 3)));
    // The configuration's token is the one that is meant, unless another is named.
    world.host(&[&"log", &"reconcile"]).ok();
    world.host(&[&"log", &"verify"]).ok();
}

#[test]
fn a_card_that_was_pulled_out_explains_at_most_the_answer_that_was_lost() {
    for (options, lost) in [
        (["--pull-before-sign", "1"], 0),
        (["--pull-before-sign", "3"], 0),
        (["--pull-after-sign", "1"], 1),
        (["--pull-after-sign", "3"], 1),
    ] {
        let (world, card) = card_or_skip!(&[]);
        world.set_up();
        let (granted, build) = world.attested();
        card.pull();
        let Some(card) = world.reader().insert(Slot::First, &options) else {
            return;
        };
        world.sign(&granted, &build).trouble("went away");
        card.gone();
        let outcome = last(&world);
        let Some(card) = world.reader().insert(Slot::First, &[]) else {
            return;
        };
        let explained = if lost == 0 {
            json!([])
        } else {
            json!([{ "runs": [outcome], "signatures": lost }])
        };
        let check = || {
            let report = reconcile(&world).with(&[&"--json"]).ok().json();
            assert_eq!(
                (&report["findings"], &report["lost"]),
                (&json!([]), &explained),
                "{options:?}"
            );
        };
        check();
        world.sign(&granted, &build).ok();
        release(&world, "2", "each");
        check();

        // Of one more nobody knows.
        let before = last(&world);
        gpg_signs(&world, 1);
        alarms(
            &world,
            &json!([{ "what": "unlogged", "after": before, "signatures": 1 }]),
        );
        drop(card);
    }
}

/// As after a crash: neither the outcome nor what else was not on the disk is there.
#[test]
fn a_run_that_was_killed_explains_nothing_that_it_did_not_begin() {
    let (world, card) = card_or_skip!(&["--touch", "never"]);
    world.set_up();
    card.want_touch(true);
    let (granted, build) = world.attested();
    // The touch that never comes keeps it waiting until it is killed.
    let mut run = Started::sign(&world, &granted, &build);
    run.until_it_says("touch the card now");
    run.kill();
    assert_eq!(card.signatures(), 4);
    let intent = last(&world);
    assert_eq!(world.log()[intent as usize]["kind"], "intent");
    reconciles(&world, &card);
    card.pull();

    let Some(card) = world.reader().insert(Slot::First, &["--touch", "auto"]) else {
        return;
    };
    let reconciled = last(&world);
    gpg_signs(&world, 1);
    alarms(
        &world,
        &json!([{ "what": "unlogged", "after": reconciled, "signatures": 1 }]),
    );
    drop(card);
}

// ---- Behind our back ----

#[test]
fn one_signature_of_gpg_is_named() {
    let (world, card) = card_or_skip!(&[]);
    behind_our_back(&world, &card);
}

#[test]
fn one_signature_of_gpg_is_named_on_a_card_of_another_author() {
    let (world, card) = card_or_skip!(insert_second, &["--serial", "00000001"]);
    behind_our_back(&world, &card);
}

/// The index of the last entry that records a use of the card.
fn last_outcome(world: &World) -> u64 {
    let outcomes = world.logged("outcome");
    outcomes.last().expect("a run ended")["index"]
        .as_u64()
        .expect("an index")
}

fn behind_our_back(world: &World, card: &VirtualCard) {
    world.set_up();
    world.signed();
    let outcome = last_outcome(world);
    gpg_signs(world, 1);
    let said = reconcile(world).stops(1, "card `FFFE:00000001` and the log do not agree");
    let gap = format!("1 signature not in the log, after entry {outcome}");
    said.says(&gap)
        .says(&format!("ALARM      {gap}"))
        .says("--acknowledge REASON");

    let reconciled = last(world);

    // Two more, further on.
    release(world, "2", "each");
    let after = last_outcome(world);
    gpg_signs(world, 2);
    let first =
        json!({ "what": "unlogged", "after": outcome, "before": reconciled, "signatures": 1 });
    let second = json!({ "what": "unlogged", "after": after, "signatures": 2 });
    let report = alarms(world, &json!([first, second]));
    let entry = report["ledger_entry"].as_u64().expect("an index");
    assert_eq!(card.signatures(), 4 + 3 + 1 + 3 + 2);

    // It stays an alarm until somebody acknowledges it, with the reason.
    let second = json!({ "what": "unlogged", "after": after, "before": entry, "signatures": 2 });
    alarms(world, &json!([first, second]));
    world
        .host(&[
            &"log",
            &"reconcile",
            &"--acknowledge",
            &"tried the card with gpg",
        ])
        .ok();
    let acknowledged = last(world);
    let report = reconcile(world).with(&[&"--json"]).ok().json();
    let known = |finding: &Value| {
        let mut known = finding.clone();
        (known["acknowledged"], known["reason"]) =
            (acknowledged.into(), "tried the card with gpg".into());
        known
    };
    assert_eq!(
        (&report["findings"], &report["known"]),
        (&json!([]), &json!([known(&first), known(&second)]))
    );
    let said = reconcile(world)
        .ok()
        .says("every other signature of this card is in the log");
    said.says(&format!(
        "acknowledged in entry {acknowledged}: tried the card with gpg"
    ));
    world
        .host(&[&"log", &"list"])
        .ok()
        .says("acknowledged: tried the card with gpg");

    // There is nothing more to acknowledge, and what comes later is an alarm again.
    let more = world.host(&[&"log", &"reconcile", &"--acknowledge", &"again"]);
    more.stops(2, "card `FFFE:00000001` has no finding to acknowledge");
    let before = last(world);
    gpg_signs(world, 1);
    alarms(
        world,
        &json!([{ "what": "unlogged", "after": before, "signatures": 1 }]),
    );
}

/// Nothing was asked of the card, so that nothing can have been lost.
#[test]
fn a_wrong_pin_hides_no_signature() {
    let (world, card) = card_or_skip!(&[]);
    world.set_up();
    let (granted, build) = world.attested();
    let pin = world.at("token").join("user-pin");
    write_secret(&pin, "654321");
    let mut refused = Vec::new();
    for run in [
        world.sign(&granted, &build),
        world.host(&[&"key", &"check", &"--sign"]),
    ] {
        write_secret(&pin, "654321");
        run.trouble("wrong PIN");
        refused.push(last(&world));
        // Before gpg has the card with the right one, nobody tries again.
        gpg_signs(&world, 1);
    }
    write_secret(&pin, USER_PIN);
    world.sign(&granted, &build).ok();
    let gap = |after: u64| {
        let before = after + 1;
        json!({ "what": "unlogged", "after": after, "before": before, "signatures": 1 })
    };
    alarms(&world, &json!([gap(refused[0]), gap(refused[1])]));
    drop(card);
}

// ---- From another machine ----

/// The log, exported, its key, and the card: that is all another machine has.
struct Elsewhere<'a> {
    world: &'a World,
    folder: PathBuf,
    key: String,
}

impl<'a> Elsewhere<'a> {
    fn of(world: &'a World) -> Self {
        let key = world.logged("log-created")[0]["key"]
            .as_str()
            .expect("a key")
            .to_owned();
        let elsewhere = Self {
            world,
            folder: world.new_folder("exported"),
            key,
        };
        elsewhere.update();
        elsewhere
    }

    /// Exports what is new.
    fn update(&self) {
        self.world.host(&[&"log", &"export", &self.folder]).ok();
    }

    fn reconcile(&self) -> Run<'a> {
        let run = self.world.countersign(&[
            &"log",
            &"reconcile",
            &"--export",
            &self.folder,
            &"--log-key",
            &self.key,
        ]);
        run.with(&[&"--token", &"card:"])
    }
}

#[test]
fn a_card_is_compared_with_an_exported_log() {
    let (world, card) = card_or_skip!(&[]);
    from_another_machine(&world, &card);
}

#[test]
fn a_card_of_another_author_is_compared_with_an_exported_log() {
    let (world, card) = card_or_skip!(insert_second, &["--serial", "00000001"]);
    from_another_machine(&world, &card);
}

fn from_another_machine(world: &World, card: &VirtualCard) {
    world.set_up();
    world.signed();
    let elsewhere = Elsewhere::of(world);
    let (size, outcome) = (world.log().len(), last_outcome(world));
    // The home is away, and nothing is written anywhere.
    let away = world.at("nowhere");
    fs::rename(world.home(), &away).expect("the home");
    let files = tree(&elsewhere.folder);
    let said = elsewhere
        .reconcile()
        .ok()
        .says("card FFFE:00000001 has made 7 signatures");
    said.says(&format!("{size} entries; entry 1 begins with 0 signatures"))
        .says("nothing was logged: the log was read from ")
        .says("every signature of this card is in the log");
    for more in [
        &[][..],
        &[&"--cert" as &dyn AsRef<OsStr>, &world.certificate()],
    ] {
        let report = elsewhere
            .reconcile()
            .with(more)
            .with(&[&"--json"])
            .ok()
            .json();
        let empty = json!([]);
        for list in ["findings", "lost", "unfinished"] {
            assert_eq!(report[list], empty, "{list}");
        }
        assert_eq!(
            (&report["ledger_entry"], &report["counter"]),
            (&Value::Null, &json!(7))
        );
    }

    // One that nobody logged, and no other.
    gpg_signs(world, 1);
    let gap = format!("1 signature not in the log, after entry {outcome}");
    let said = elsewhere
        .reconcile()
        .stops(1, &format!("and the exported log do not agree: {gap}"));
    said.says(&format!("ALARM      {gap}"))
        .says("if something was signed since, export the log again");
    let report = elsewhere
        .reconcile()
        .with(&[&"--json"])
        .stops(1, "do not agree")
        .json();
    assert_eq!(
        report["findings"],
        json!([{ "what": "unlogged", "after": outcome, "signatures": 1 }])
    );
    assert_eq!((card.signatures(), tree(&elsewhere.folder)), (8, files));

    // Of an invalid log, nothing is shown.
    let entries = elsewhere.folder.join(format!("tile/entries/000.p/{size}"));
    let whole = fs::read(&entries).expect("the entries");
    fs::write(&entries, &whole[..whole.len() - 1]).expect("cut short");
    let said = elsewhere
        .reconcile()
        .stops(1, &format!("entry {} is missing", size - 1));
    assert_eq!(said.stdout, "");
    fs::write(&entries, whole).expect("as it was");
    fs::rename(away, world.home()).expect("the home");

    // What was acknowledged on the signing host is known here when the log is exported again.
    world
        .host(&[
            &"log",
            &"reconcile",
            &"--acknowledge",
            &"tried the card with gpg",
        ])
        .ok();
    elsewhere.reconcile().stops(1, &gap);
    elsewhere.update();
    elsewhere.reconcile().ok().says("tried the card with gpg");
}

#[test]
fn what_a_comparison_from_elsewhere_needs_is_said() {
    let Some(world) = World::with_readers() else {
        return;
    };
    let (folder, key) = (world.at("exported"), "example.org/log+00000000+AA==");
    let run = |more: Arguments<'_>| world.countersign(&[&"log", &"reconcile"]).with(more);
    let with_export: Arguments<'_> = &[&"--export", &folder, &"--log-key", &key];
    run(with_export)
        .with(&[&"--token", &"card:", &"--acknowledge", &"why"])
        .stops(2, "cannot be used with");
    run(&[&"--cert", &world.certificate()]).stops(2, "--export <DIR>");
    run(with_export).stops(2, "is not an Ed25519 key");
    let Some(_card) = world.reader().insert(Slot::First, &[]) else {
        return;
    };
    world.set_up();
    let elsewhere = Elsewhere::of(&world);
    run(&[&"--export", &elsewhere.folder, &"--log-key", &elsewhere.key])
        .stops(2, "`--export` requires `--token URI`");
}

/// An export shows less than the journal: such a run explains one signature, until it logs what
/// it has kept.
#[test]
fn an_unfinished_run_explains_one_signature_in_an_exported_log() {
    let Some(world) = World::with_readers() else {
        return;
    };
    let touch = world.at("touch");
    let on_touch = format!("file:{}", touch.display());
    let Some(card) = world.reader().insert(Slot::First, &["--touch", &on_touch]) else {
        return;
    };
    world.set_up();
    card.want_touch(true);
    let (granted, build) = world.attested();
    let mut run = Started::sign(&world, &granted, &build);
    for number in ["1", "2"] {
        run.until_it_says(&format!("touch the card now ({number} of 3)"));
        fs::write(&touch, "").expect("a touch");
    }
    run.until_it_says("touch the card now (3 of 3)");
    run.kill();
    assert_eq!(card.signatures(), 4 + 2);
    let intent = last(&world);
    assert_eq!(world.log()[intent as usize]["kind"], "intent");

    let elsewhere = Elsewhere::of(&world);
    let gap = format!("1 signature not in the log, after entry {intent}");
    let said = elsewhere.reconcile().stops(1, &gap);
    said.says(&format!(
        "unfinished the run of entry {intent} may explain up to 2 signatures"
    ))
    .says(&format!(
        "the unfinished run of entry {intent} may explain some or all of it: finish with `sign`"
    ));
    let report = elsewhere
        .reconcile()
        .with(&[&"--json"])
        .stops(1, &gap)
        .json();
    assert_eq!(
        report["findings"],
        json!([{ "what": "unlogged", "after": intent, "signatures": 1 }])
    );
    assert_eq!(
        report["lost"],
        json!([{ "runs": [intent], "signatures": 1 }])
    );
    assert_eq!(
        report["unfinished"],
        json!([{ "intent": intent, "signatures": 2 }])
    );

    // Finished, and exported again.
    card.pull();
    let Some(card) = world.reader().insert(Slot::First, &["--touch", "auto"]) else {
        return;
    };
    world.sign(&granted, &build).ok();
    elsewhere.update();
    let report = elsewhere.reconcile().with(&[&"--json"]).ok().json();
    let shown =
        |report: &Value| ["findings", "lost", "unfinished"].map(|list| report[list].clone());
    assert_eq!(
        (shown(&report), card.signatures()),
        ([json!([]), json!([]), json!([])], 4 + 3)
    );
    // What comes now it does not explain.
    let outcome = last_outcome(&world);
    gpg_signs(&world, 1);
    let report = elsewhere
        .reconcile()
        .with(&[&"--json"])
        .stops(1, "if something was signed since")
        .json();
    let gap = json!([{ "what": "unlogged", "after": outcome, "signatures": 1 }]);
    assert_eq!(shown(&report), [gap, json!([]), json!([])]);
}

// ---- Keys that go and come ----

#[test]
fn a_key_that_init_replaced_begins_anew() {
    let (world, card) = card_or_skip!(&[]);
    card.pull();
    let Some(card) = world
        .reader()
        .insert(Slot::First, &["--pull-before-sign", "3"])
    else {
        return;
    };
    world.init().trouble("went away");
    card.gone();
    let Some(card) = world.reader().insert(Slot::First, &[]) else {
        return;
    };
    assert_eq!(card.signatures(), 2);
    world.init().stops(2, "already has a key");
    world.init().with(&[&"--replace-key"]).ok();
    world.export();
    release(&world, "1", "each");
    let report = reconcile(&world).with(&[&"--json"]).ok().json();
    // The two of the first key, whose certificate never was.
    assert_eq!(
        (&report["findings"], &report["lost"]),
        (&json!([]), &json!([{ "runs": [4], "signatures": 2 }]))
    );
    assert_eq!((&report["counter"], card.signatures()), (&json!(7), 7));
}

#[test]
fn a_key_that_was_replaced_behind_our_back_is_an_alarm() {
    let (world, card) = card_or_skip!(&[]);
    world.set_up();
    world.signed();
    let other = world.replace_key_for("other").ok();
    let found = other
        .stdout
        .split_whitespace()
        .nth(2)
        .expect("a fingerprint")
        .to_owned();
    let logged = world.logged("key-ready")[0]["key"].clone();
    let findings = json!([{ "what": "other-key", "logged": logged, "found": found }]);
    alarms(&world, &findings);
    // Nothing of that can be acknowledged.
    world
        .host(&[&"log", &"reconcile", &"--acknowledge", &"why"])
        .stops(2, "has no finding to acknowledge");
    alarms(&world, &findings);
    drop(card);
}

#[test]
fn a_card_that_was_reset_is_an_alarm() {
    let (world, card) = card_or_skip!(&[]);
    reset(&world, &card);
}

#[test]
fn a_card_of_another_author_that_was_reset_is_an_alarm() {
    let (world, card) = card_or_skip!(insert_second, &["--serial", "00000001"]);
    reset(&world, &card);
}

fn reset(world: &World, card: &VirtualCard) {
    world.set_up();
    world.signed();
    factory_reset(card);
    let logged = world.logged("key-ready")[0]["key"].clone();
    alarms(world, &json!([{ "what": "other-key", "logged": logged }]));
    let said = reconcile(world).stops(
        1,
        &format!(
            "the card does not have key {} any more",
            logged.as_str().expect("a text")
        ),
    );
    said.says("insert the card with the release key");
}

fn factory_reset(card: &VirtualCard) {
    // Three wrong PINs of each kind, then TERMINATE DF and ACTIVATE FILE (OpenPGP card 3.4, section
    // 7.2.18).
    let wrong =
        |which: &str, pin: &str| format!("002000{which}{:02x}{}", pin.len(), hex::encode(pin));
    for _ in 0..3 {
        card.send(&[&wrong("81", "654321"), &wrong("83", "87654321")]);
    }
    card.order(&["00E60000", "00440000"]);
}

/// The same key again, from a copy: only the count shows that it was away.
#[test]
fn a_key_that_was_put_there_again_is_an_alarm() {
    let (world, card) = card_or_skip!(&[]);
    let gpg = Gpg::new(world.at("gnupg"), world.reader(), Sharing::Shared);
    let key = gpg.make_key("ed25519", "sign,cert");
    let (copy, file) = (world.at("copy"), world.at("from-gpg.pgp"));
    gpg.run(
        "",
        &[
            "--export-secret-keys",
            "-o",
            &copy.display().to_string(),
            &key,
        ],
        "",
    );
    gpg.key_to_card(&key, 0);
    gpg.export(&key, &file);
    world
        .host(&[&"init", &"--token", &world.token_uri(), &"--cert", &file])
        .ok();
    world.export();
    release(&world, "1", "each");
    reconciles(&world, &card);
    assert_eq!(card.signatures(), 4);

    drop(gpg);
    factory_reset(&card);
    let gpg = Gpg::new(world.at("gnupg-again"), world.reader(), Sharing::Shared);
    gpg.import(&copy);
    gpg.key_to_card(&key, 0);
    assert_eq!(card.signatures(), 0);
    let before = last(&world);
    alarms(
        &world,
        &json!([{ "what": "fell", "after": before, "from": 4, "to": 0 }]),
    );
    world
        .host(&[
            &"log",
            &"reconcile",
            &"--acknowledge",
            &"restored from the copy",
        ])
        .ok();
    release(&world, "2", "each");
    assert_eq!(
        reconcile(&world).with(&[&"--json"]).ok().json()["findings"],
        json!([])
    );
    world
        .host(&[&"log", &"reconcile"])
        .ok()
        .says("the counter fell from 4 to 0");
}

// ---- Which card ----

#[test]
fn another_card_is_not_taken_for_the_one_in_the_log() {
    let (world, card) = card_or_skip!(&[]);
    world.set_up();
    world.signed();
    let Some(_other) = world
        .reader()
        .insert_second(Slot::Second, &["--serial", "0000000B"])
    else {
        return;
    };
    let said = world.host(&[&"log", &"reconcile", &"--token", &"card:FFFE:0000000B"]);
    said.stops(
        1,
        &format!("card `FFFE:0000000B` is in no entry of the log, which has {CARD}"),
    );
    assert_eq!(world.logged("reconciled"), [] as [Value; 0]);
    reconcile(&world).stops(2, "2 tokens match `card:`");
    // The configuration names ours.
    world.host(&[&"log", &"reconcile"]).ok();
    card.pull();
    world
        .host(&[&"log", &"reconcile"])
        .trouble("no token matches");
}

/// The caller must not take it for an answer.
#[test]
fn a_token_that_counts_nothing_gives_no_all_clear() {
    let world = World::ready();
    world.signed();
    world
        .host(&[&"log", &"reconcile"])
        .usage("has no signature counter and cannot be reconciled");
    assert_eq!(world.logged("reconciled"), [] as [Value; 0]);
    let Some(world) = World::on_softhsm() else {
        return;
    };
    world.set_up();
    world
        .host(&[&"log", &"reconcile"])
        .usage("has no signature counter and cannot be reconciled");
}
