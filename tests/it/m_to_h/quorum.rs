//! Several builders: how many must agree, what a dissent does, and what a person sees of it.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use countersign::domain::digest::Sha256;
use countersign::domain::key::{HashAlgorithm, PublicKey, RawSignature};
use countersign::domain::signing::{Message, Statement};
use countersign::domain::time::{Period, Timestamp};
use countersign::openpgp::{
    Certificate, DetachedSignature, HashState, NewCertificate, make_certificate,
    make_release_signature,
};
use ed25519_dalek::Signer as _;
use ed25519_dalek::pkcs8::DecodePrivateKey as _;

use crate::common::world::{Build, Granted, World};
use crate::common::{Arguments, Said, copy_tree, listing, openpgp, tool};

const KINDS: [(&str, &str); 5] = [
    ("openpgp", "manifest"),
    ("openpgp", "per-artifact"),
    ("dsse", "manifest"),
    ("hmac", "manifest"),
    ("hmac", "per-artifact"),
];

/// What an honest builder makes.
const HONEST: [(&str, &[u8]); 2] = [("foo.txt", b"text\n"), ("foo.tar", &[7; 100_000])];
/// What a compromised one makes.
const BACKDOORED: [(&str, &[u8]); 2] = [("foo.txt", b"text\n"), ("foo.tar", &[8; 100_000])];

/// A grant to m1, m2 and m3, two of which must agree.
fn two_of_three(world: &World, scheme: &str, form: &str) -> Granted {
    world.grant_with(&[
        &"--builder",
        &"m2",
        &"--builder",
        &"m3",
        &"--quorum",
        &"2",
        &"--scheme",
        &scheme,
        &"--evidence",
        &form,
    ])
}

/// What one builder made, attested under its own key, in its folder of the inbox.
fn deliver(
    world: &World,
    granted: &Granted,
    inbox: &Build,
    builder: &str,
    artifacts: &[(&str, &[u8])],
) -> Build {
    let build = inbox.of(builder, artifacts);
    world
        .attest_with(granted.key_of(builder), &build)
        .with(&[&"--keep-key"])
        .ok();
    build
}

/// The lines of the table of who attested what, without the space between words.
fn table(said: &Said) -> Vec<String> {
    let lines = said
        .stdout
        .lines()
        .skip_while(|line| !line.contains("agreement"))
        .skip(1)
        .take_while(|line| line.starts_with("    "));
    lines
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect()
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::of(bytes).to_string()
}

#[test]
fn two_of_three_that_agree_are_enough() {
    for (scheme, form) in KINDS {
        let world = World::ready();
        let granted = two_of_three(&world, scheme, form);
        let inbox = world.new_build("inbox");
        deliver(&world, &granted, &inbox, "m3", &HONEST);
        deliver(&world, &granted, &inbox, "m1", &HONEST);
        let said = world
            .sign(&granted, &inbox)
            .ok()
            .says("built by m1 and m3")
            .says("2 of 3 builders are needed");
        assert_eq!(
            table(&said),
            ["m1 m2 m3", "foo.tar yes - yes", "foo.txt yes - yes"],
            "{scheme} {form}"
        );
        let release = world.release(&granted);
        assert_eq!(
            listing(&release.join("evidence")),
            ["grant.json", "m1", "m3", "release.json"]
        );
        world
            .verify(&release)
            .with(&[&"--verbose"])
            .ok()
            .says("attested   by m1, m3");
        world.admit().ok();
        let accepted = world.logged("evidence-accepted").remove(0);
        let builders: Vec<_> = accepted["builders"]
            .as_object()
            .expect("builders")
            .keys()
            .cloned()
            .collect();
        assert_eq!(builders, ["m1", "m3"]);
    }
}

#[test]
fn three_of_three_agree() {
    let world = World::ready();
    let granted = two_of_three(&world, "dsse", "manifest");
    let inbox = world.new_build("inbox");
    for builder in ["m1", "m2", "m3"] {
        deliver(&world, &granted, &inbox, builder, &HONEST);
    }
    let said = world
        .sign(&granted, &inbox)
        .ok()
        .says("built by m1 and m2 and m3");
    assert_eq!(
        table(&said),
        ["m1 m2 m3", "foo.tar yes yes yes", "foo.txt yes yes yes"]
    );
    world.verify(&world.release(&granted)).ok();
}

#[test]
fn one_of_two_of_three_is_too_few() {
    for (scheme, form) in KINDS {
        let world = World::ready();
        let granted = two_of_three(&world, scheme, form);
        let inbox = world.new_build("inbox");
        world.waits(
            &granted,
            &inbox,
            "asks for 2 builders that agree, but there is evidence of none",
        );
        deliver(&world, &granted, &inbox, "m2", &HONEST);
        world.waits(
            &granted,
            &inbox,
            "asks for 2 builders that agree, but there is evidence of one (`m2`)",
        );
        // The artifacts of another, without evidence of its own, are not accepted.
        inbox.of("m1", &HONEST);
        world.waits(&granted, &inbox, "does not exist");
        deliver(&world, &granted, &inbox, "m1", &HONEST);
        world.sign(&granted, &inbox).ok();
    }
}

/// Whatever the scheme, and whichever of three: a builder that differs blocks the release. The
/// refusal names builder, artifact and both digests, and the log keeps them.
#[test]
fn dissenter_blocks_the_release() {
    for (scheme, form) in KINDS {
        for compromised in ["m1", "m2", "m3"] {
            let world = World::ready();
            let granted = two_of_three(&world, scheme, form);
            let inbox = world.new_build("inbox");
            for builder in ["m1", "m2", "m3"] {
                let artifacts = if builder == compromised {
                    &BACKDOORED
                } else {
                    &HONEST
                };
                deliver(&world, &granted, &inbox, builder, artifacts);
            }
            let said = world.refuses(&granted, &inbox, "builders differ in artifact `foo.tar`");
            let (honest, backdoored) = (sha256(HONEST[1].1), sha256(BACKDOORED[1].1));
            for part in [compromised, &honest, &backdoored] {
                assert!(
                    said.stderr.contains(part),
                    "{scheme} {form}, {compromised}: {said:?}"
                );
            }
            let refusal = world.logged("evidence-refused").pop().expect("an entry");
            assert_eq!(
                refusal["differences"]["foo.tar"][compromised], backdoored,
                "{refusal}"
            );
            assert_eq!(
                refusal["differences"].as_object().expect("artifacts").len(),
                1,
                "{refusal}"
            );
            // Where its evidence has the digest, the bytes need not be there to differ.
            if form == "manifest" {
                fs::remove_file(inbox.at(compromised).join("foo.tar")).expect("removed");
                world.refuses(&granted, &inbox, "builders differ in artifact `foo.tar`");
            }

            // Without the dissenter's word the other two are enough. To leave it out is a person's
            // decision.
            fs::rename(inbox.at(compromised), world.at("set-aside")).expect("moved");
            world.sign(&granted, &inbox).ok();
            world.verify(&world.release(&granted)).ok();
        }
    }
}

/// The person at the terminal sees why, and that the log does not have it.
#[test]
fn refusal_that_cannot_be_logged() {
    let world = World::ready();
    let granted = two_of_three(&world, "openpgp", "manifest");
    let inbox = world.new_build("inbox");
    for (builder, artifacts) in [("m1", &HONEST), ("m2", &BACKDOORED)] {
        deliver(&world, &granted, &inbox, builder, artifacts);
    }
    rusqlite::Connection::open(world.home().join("ledger.sqlite"))
        .expect("the ledger")
        .execute_batch(
            "CREATE TRIGGER stuck BEFORE INSERT ON entries BEGIN SELECT raise(ABORT, 'stuck'); END",
        )
        .expect("made");
    world
        .sign(&granted, &inbox)
        .refused("builders differ in artifact `foo.tar`")
        .says("this could not be logged: the ledger cannot be used: stuck")
        .says(&sha256(BACKDOORED[1].1));
    assert_eq!(world.logged("evidence-refused").len(), 0);
}

/// Both digests are named, however few bytes the grant has left for what comes after.
#[test]
fn dissenter_under_a_grant_without_a_byte_to_spare() {
    for (scheme, form) in KINDS {
        let world = World::ready();
        let bytes = HONEST
            .iter()
            .map(|(_, bytes)| bytes.len())
            .sum::<usize>()
            .to_string();
        let granted = world.grant_with(&[
            &"--builder",
            &"m2",
            &"--max-bytes",
            &bytes,
            &"--scheme",
            &scheme,
            &"--evidence",
            &form,
        ]);
        let inbox = world.new_build("inbox");
        deliver(&world, &granted, &inbox, "m1", &HONEST);
        deliver(&world, &granted, &inbox, "m2", &BACKDOORED);
        let said = world.refuses(&granted, &inbox, "builders differ in artifact `foo.tar`");
        assert!(
            [HONEST, BACKDOORED]
                .iter()
                .all(|built| said.stderr.contains(&sha256(built[1].1))),
            "{said:?}"
        );
    }
}

/// A grant under which the list of a release could be too long is not issued.
#[test]
fn more_evidence_than_a_list_can_have() {
    let world = World::ready();
    let builders: Vec<String> = (2..=9).map(|number| format!("m{number}")).collect();
    let mut arguments: Vec<&dyn AsRef<OsStr>> = Vec::new();
    for builder in &builders {
        arguments.extend([&"--builder" as &dyn AsRef<OsStr>, builder]);
    }
    let each: Arguments<'_> = &[&"--evidence", &"per-artifact", &"--max-count"];
    let (grant, folder) = (
        ["grant", "foo", "1.2.3", "--builder", "m1", "-o"],
        world.at("grant"),
    );
    let grant = grant.each_ref().map(|it| it as &dyn AsRef<OsStr>);
    let of = |count: &str| {
        let run = world.host(&grant).with(&[&folder]).with(&arguments);
        run.with(each).with(&[&count])
    };
    of("2237").usage("the evidence that 9 builders give for each of 2236 artifacts");
    assert!(!folder.exists());
    fs::create_dir(&folder).expect("made");
    of("2236").ok();
}

#[test]
fn two_compromised_builders_of_three_are_the_limit() {
    let world = World::ready();
    let granted = two_of_three(&world, "openpgp", "manifest");
    let inbox = world.new_build("inbox");
    deliver(&world, &granted, &inbox, "m1", &HONEST);
    deliver(&world, &granted, &inbox, "m2", &BACKDOORED);
    deliver(&world, &granted, &inbox, "m3", &BACKDOORED);
    world.refuses(&granted, &inbox, "builders differ in artifact `foo.tar`");
}

#[test]
fn artifact_that_too_few_built() {
    for (scheme, form) in KINDS {
        let world = World::ready();
        let granted = two_of_three(&world, scheme, form);
        let inbox = world.new_build("inbox");
        deliver(&world, &granted, &inbox, "m1", &HONEST);
        deliver(
            &world,
            &granted,
            &inbox,
            "m2",
            &[HONEST[0], HONEST[1], ("foo.deb", b"more")],
        );
        world.waits(
            &granted,
            &inbox,
            "artifact `foo.deb` was attested by one (`m2`)",
        );
        deliver(
            &world,
            &granted,
            &inbox,
            "m3",
            &[HONEST[0], HONEST[1], ("foo.deb", b"more")],
        );
        let said = world.sign(&granted, &inbox).ok();
        assert_eq!(
            table(&said),
            [
                "m1 m2 m3",
                "foo.deb - yes yes",
                "foo.tar yes yes yes",
                "foo.txt yes yes yes"
            ],
            "{scheme} {form}"
        );
        world.verify(&world.release(&granted)).ok();
    }
}

/// What is in each builder's folder under the name of an artifact is that artifact, or nothing.
#[test]
fn a_builders_copy_that_is_not_what_it_attested() {
    for (scheme, form) in [KINDS[0], KINDS[4]] {
        let world = World::ready();
        let granted = world.grant_with(&[
            &"--builder",
            &"m2",
            &"--scheme",
            &scheme,
            &"--evidence",
            &form,
            &"--max-bytes",
            &"1000000",
        ]);
        let inbox = world.new_build("inbox");
        for builder in ["m1", "m2"] {
            deliver(&world, &granted, &inbox, builder, &HONEST);
        }
        let sign = || world.sign(&granted, &inbox).with(&[&"--dry-run"]);
        for builder in ["m1", "m2"] {
            let copy = inbox.at(builder).join("foo.tar");
            fs::write(&copy, [8; 100_000]).expect("written");
            sign().refused("foo.tar");
            let file = fs::File::create(&copy).expect("opened");
            file.set_len(20 << 30).expect("sparse");
            sign().refused("larger than the 1000000 bytes");
            fs::remove_file(&copy).expect("removed");
            symlink("/etc/passwd", &copy).expect("linked");
            sign().refused("not a regular file");
            fs::remove_file(&copy).expect("removed");
            tool("mkfifo", &[&copy], &inbox.folder);
            sign().refused("not a regular file");
            fs::remove_file(&copy).expect("removed");
            fs::create_dir(&copy).expect("made");
            sign().refused("not a regular file");
            fs::remove_dir(&copy).expect("removed");
            // Another builder's is enough.
            sign().ok();
            fs::write(&copy, HONEST[1].1).expect("as it was");
        }
        sign().ok();
    }
}

/// The reason is shown, however long it is.
#[test]
fn one_builders_folder_in_place_of_the_folder_of_all() {
    let world = World::ready();
    let granted = two_of_three(&world, "openpgp", "manifest");
    let inbox = world.new_build("inbox");
    let many: Vec<String> = (0..9).map(|number| format!("foo.{number}")).collect();
    let many: Vec<(&str, &[u8])> = many
        .iter()
        .map(|name| (name.as_str(), &b"text\n"[..]))
        .collect();
    deliver(&world, &granted, &inbox, "m1", &many);
    let said = world
        .sign(&granted, &inbox.of("m1", &[]))
        .refused("contains `build.manifest`, which is not a builder of the grant");
    said.says("name the folder that has one for each");
}

/// One builder's evidence again in the folder of another is not a second word.
#[test]
fn same_builder_twice() {
    for (scheme, form) in KINDS {
        let world = World::ready();
        let granted = two_of_three(&world, scheme, form);
        let inbox = world.new_build("inbox");
        deliver(&world, &granted, &inbox, "m1", &HONEST);
        copy_tree(&inbox.at("m1"), &inbox.at("m2"));
        world.refuses(&granted, &inbox, "evidence of builder `m2`: ");
        copy_tree(&inbox.at("m1"), &inbox.at("m1-again"));
        fs::remove_dir_all(inbox.at("m2")).expect("removed");
        world.refuses(
            &granted,
            &inbox,
            "contains `m1-again`, which is not a builder of the grant",
        );
    }
}

/// Makes a builder's own key; its public half.
fn build_key(world: &World, name: &str, scheme: &str) -> PathBuf {
    let path = world.at(name);
    world
        .countersign(&[&"build-key", &"--scheme", &scheme, &"-o", &path])
        .ok();
    world.at(&format!("{name}.pub"))
}

/// The certificate that somebody with this secret can make at any time, under any name.
fn certificate(
    secret: &ed25519_dalek::SigningKey,
    user_id: &str,
    created: Timestamp,
) -> Certificate {
    let expires = created.after(Period::seconds(30 * 86400));
    let new = NewCertificate {
        user_id: user_id.to_owned(),
        created,
        signed: created,
        expires,
        hash: HashAlgorithm::Sha256,
        domain: None,
    };
    let mut sign = |message: &Message<'_>| {
        Ok::<_, std::convert::Infallible>(RawSignature::Ed25519(
            secret.sign(&message.digest().bytes).to_bytes(),
        ))
    };
    let public = PublicKey::Ed25519(secret.verifying_key().to_bytes());
    make_certificate(&public, &new, &mut sign)
        .expect("a certificate")
        .0
}

#[track_caller]
fn grant_refused(world: &World, builders: &[String], more: &[&str], reason: &str) {
    let mut run = world.host(&[&"grant", &"foo", &"1.2.3", &"-o", &world.at("grants")]);
    for builder in builders {
        run = run.with(&[&"--builder", builder]);
    }
    let (said, what) = more
        .iter()
        .fold(run, |run, argument| run.with(&[argument]))
        .run();
    assert!(
        matches!(said.code, 1 | 2) && said.stderr.contains(reason),
        "{what}: {said:?}"
    );
    assert!(world.logged("grant-issued").is_empty() && listing(&world.at("grants")).is_empty());
}

#[test]
fn two_builders_with_one_key_are_refused_when_the_grant_is_made() {
    let world = World::ready();
    fs::create_dir(world.at("grants")).expect("a folder");
    for scheme in ["openpgp", "dsse"] {
        let key = build_key(&world, &format!("{scheme}.key"), scheme)
            .display()
            .to_string();
        let builders = [format!("m1={key}"), format!("m2={key}")];
        grant_refused(
            &world,
            &builders,
            &["--quorum", "2", "--scheme", scheme],
            "the same key",
        );
    }
    // One secret in two certificates that have nothing else in common.
    let secret = ed25519_dalek::SigningKey::from_bytes(&[7; 32]);
    let now = Timestamp::now();
    let builders = [("m1", 600), ("m2", 500)].map(|(name, age)| {
        let path = world.at(&format!("{name}.pub"));
        fs::write(&path, certificate(&secret, name, now.before(age)).armored()).expect("written");
        format!("{name}={}", path.display())
    });
    grant_refused(
        &world,
        &builders,
        &["--quorum", "2"],
        "builders `m1` and `m2` of the grant have the same key",
    );
    // Not even one that is everybody's, and makes its signatures without a secret.
    let mut identity = [0; 32];
    identity[0] = 1;
    fs::write(
        world.at("weak.pub"),
        openpgp::bare_certificate(&identity, 0),
    )
    .expect("written");
    let weak = format!("m1={}", world.at("weak.pub").display());
    grant_refused(
        &world,
        &[weak],
        &[],
        "has a key that is a point of small order",
    );
    // One with such a number of user ids that it costs minutes.
    let point = secret.verifying_key().to_bytes();
    fs::write(world.at("long.pub"), openpgp::bare_certificate(&point, 100)).expect("written");
    let long = format!("m1={}", world.at("long.pub").display());
    grant_refused(&world, &[long], &[], "has more than 100 keys and user ids");
    // The same certificate in other armour.
    let certificate = fs::read_to_string(world.at("openpgp.key.pub")).expect("a certificate");
    let respelled = certificate.replacen("BLOCK-----\n", "BLOCK-----\nComment: another\n", 1);
    fs::write(world.at("again.pub"), respelled).expect("written");
    let builders =
        ["openpgp.key.pub", "again.pub"].map(|name| world.at(name).display().to_string());
    let builders = [format!("m1={}", builders[0]), format!("m2={}", builders[1])];
    grant_refused(&world, &builders, &["--quorum", "2"], "the same key");
    grant_refused(
        &world,
        &["m1".into(), "M1".into()],
        &[],
        "builder `M1` is listed twice",
    );
}

#[test]
fn quorum_that_nobody_can_reach_or_nobody_needs() {
    let world = World::ready();
    fs::create_dir(world.at("grants")).expect("a folder");
    let builders = ["m1".to_owned(), "m2".to_owned()];
    grant_refused(
        &world,
        &builders,
        &["--quorum", "3"],
        "`quorum` is 3, but must be from 1 to 2",
    );
    grant_refused(
        &world,
        &builders,
        &["--quorum", "0"],
        "`quorum` is 0, but must be from 1 to 2",
    );
    grant_refused(&world, &builders, &["--quorum", "-1"], "-1 is not in 0..");
    grant_refused(
        &world,
        &["m1=".into()],
        &[],
        "builder `m1` has no file after the `=`",
    );
    grant_refused(
        &world,
        &["grant.json".into()],
        &[],
        "could pass for a file that countersign itself writes",
    );
    grant_refused(
        &world,
        &["approvals".into()],
        &[],
        "could pass for a file that countersign itself writes",
    );
}

/// A second key of the same builder is not valid under a grant that names the first.
#[test]
fn another_key_of_the_same_builder() {
    let world = World::ready();
    let (first, _second) = (
        build_key(&world, "first", "dsse"),
        build_key(&world, "second", "dsse"),
    );
    let folder = world.new_folder("grant");
    let builder = format!("m1={}", first.display());
    world
        .host(&[
            &"grant",
            &"foo",
            &"1.2.3",
            &"--scheme",
            &"dsse",
            &"--builder",
            &builder,
            &"-o",
            &folder,
        ])
        .ok();
    let grant = folder.join("foo-1.2.3.grant.json");
    let build = world.build(&HONEST);
    let attest = |key: &str| {
        world
            .attest_with(&world.at(key), &build)
            .with(&[&"--grant", &grant])
    };
    attest("second").usage("the key is not in grant");
    attest("first").ok();
}

// ---- What builders differ in ----

#[test]
fn differences_are_listed_from_the_log_and_from_the_folders() {
    for (scheme, form) in KINDS {
        let world = World::ready();
        let granted = two_of_three(&world, scheme, form);
        let inbox = world.new_build("inbox");
        let diff = || world.host(&[&"grants", &"diff", &granted.grant, &"--json"]);
        diff().usage("has no build under grant");
        deliver(&world, &granted, &inbox, "m1", &HONEST);
        deliver(&world, &granted, &inbox, "m2", &BACKDOORED);
        deliver(&world, &granted, &inbox, "m3", &[HONEST[0]]);
        let said = diff().with(&[&"--from", &inbox.folder]).ok().json();
        let of_tar = &said["differences"]["foo.tar"];
        assert_eq!(of_tar["m1"], sha256(HONEST[1].1), "{scheme} {form}: {said}");
        assert_eq!(of_tar["m2"], sha256(BACKDOORED[1].1));
        assert_eq!(
            (
                &of_tar["m3"],
                said["differences"].as_object().map(|all| all.len())
            ),
            (&serde_json::Value::Null, Some(1))
        );
        let shown = world
            .host(&[&"grants", &"diff", &granted.grant, &"--from", &inbox.folder])
            .ok();
        assert!(
            shown.stdout.contains("diffoscope") && shown.stdout.contains("did not build it"),
            "{shown:?}"
        );
        // Comparing is not signing: nothing is logged, and nothing is closed.
        assert!(
            world.logged("evidence-refused").is_empty()
                && world.logged("evidence-accepted").is_empty()
        );

        world.refuses(&granted, &inbox, "builders differ in artifact `foo.tar`");
        let logged = diff().ok().json();
        let of_tar = &logged["differences"]["foo.tar"];
        assert_eq!(
            (&of_tar["m1"], &of_tar["m2"]),
            (&sha256(HONEST[1].1).into(), &sha256(BACKDOORED[1].1).into())
        );

        fs::remove_dir_all(inbox.at("m2")).expect("removed");
        deliver(&world, &granted, &inbox, "m2", &HONEST);
        fs::remove_dir_all(inbox.at("m3")).expect("removed");
        diff()
            .with(&[&"--from", &inbox.folder])
            .ok()
            .says("\"differences\": {}");
        // Invalid evidence is not compared.
        fs::write(inbox.at("m2").join("foo.tar"), b"other").expect("changed");
        if let "per-artifact" = form {
            diff().with(&[&"--from", &inbox.folder]).refused("");
        }
    }
}

#[test]
fn refusal_of_a_dissent_is_json_for_who_asked_for_it() {
    let world = World::ready();
    let granted = two_of_three(&world, "openpgp", "manifest");
    let inbox = world.new_build("inbox");
    deliver(&world, &granted, &inbox, "m1", &HONEST);
    deliver(&world, &granted, &inbox, "m2", &BACKDOORED);
    let said = world
        .host(&[&"sign", &granted.grant, &"--from", &inbox.folder, &"--json"])
        .refused("builders differ");
    let (result, error) = (
        said.json(),
        serde_json::from_str::<serde_json::Value>(&said.stderr),
    );
    assert_eq!(
        result["differences"]["foo.tar"]["m2"],
        sha256(BACKDOORED[1].1),
        "{said:?}"
    );
    assert_eq!(error.expect("an error in JSON")["code"], 1, "{said:?}");
}

// ---- At the location ----

/// Signs a release's list anew with the release key, as a signing host would that did not check
/// what ours checks.
fn sign_anew(world: &World, release: &Path, list: &str) {
    let secret = fs::read_to_string(world.token_file()).expect("the token");
    let secret = ed25519_dalek::SigningKey::from_pkcs8_pem(&secret).expect("a key");
    let certificate = Certificate::parse(&fs::read(world.certificate()).expect("the certificate"))
        .expect("a certificate");
    let now = Timestamp::now();
    let key = certificate.signing_keys(now).expect("a key").remove(0);
    let hash = HashAlgorithm::Sha256;
    // It says what the one says that is there.
    let read = |name: &str| fs::read(release.join(name)).expect("a file");
    let there = DetachedSignature::parse_release(&read("SHA256SUMS.asc")).expect("a signature");
    let state = HashState::of(&read("SHA256SUMS"), there.hash());
    let said = there.check(&certificate, &state, "SHA256SUMS", now);
    let what = Statement::evidence(now, hash, said.expect("a good one").notations);
    let mut sign = |message: &Message<'_>| {
        Ok::<_, std::convert::Infallible>(RawSignature::Ed25519(
            secret.sign(&message.digest().bytes).to_bytes(),
        ))
    };
    let signature = make_release_signature(
        &key,
        &HashState::of(list.as_bytes(), hash),
        &what,
        &mut sign,
    )
    .expect("signed");
    fs::write(release.join("SHA256SUMS"), list).expect("written");
    fs::write(release.join("SHA256SUMS.asc"), signature).expect("written");
}

/// The location does not trust the signing host about the quorum: it counts again.
#[test]
fn location_counts_the_builders_again() {
    for (scheme, form) in KINDS {
        let world = World::ready();
        let granted = two_of_three(&world, scheme, form);
        let inbox = world.new_build("inbox");
        deliver(&world, &granted, &inbox, "m1", &HONEST);
        deliver(&world, &granted, &inbox, "m2", &HONEST);
        world.sign(&granted, &inbox).ok();
        let release = world.release(&granted);
        let list = fs::read_to_string(release.join("SHA256SUMS")).expect("the list");
        sign_anew(&world, &release, &list);
        world.verify(&release).ok();

        let without: String = list
            .lines()
            .filter(|line| !line.contains("evidence/m2/"))
            .map(|line| format!("{line}\n"))
            .collect();
        assert_ne!(without, list);
        fs::rename(release.join("evidence/m2"), world.at("m2")).expect("moved");
        sign_anew(&world, &release, &without);
        let reason =
            "the grant asks for 2 builders that agree, but there is evidence of one (`m1`)";
        world.verify(&release).refused(reason);
        world.admit().refused(reason);

        // The same evidence under another builder's name is not that builder's.
        copy_tree(&release.join("evidence/m1"), &release.join("evidence/m3"));
        let copied: String = without
            .lines()
            .filter(|line| line.contains("evidence/m1/"))
            .map(|line| format!("{}\n", line.replace("evidence/m1/", "evidence/m3/")))
            .collect();
        let grant_line = without
            .find(
                without
                    .lines()
                    .find(|line| line.ends_with("grant.json"))
                    .expect("a line"),
            )
            .expect("there");
        let twice = format!(
            "{}{copied}{}",
            &without[..grant_line],
            &without[grant_line..]
        );
        sign_anew(&world, &release, &twice);
        match scheme {
            // Only the signing host can verify MACs: `verify` says so.
            "hmac" if form == "per-artifact" => {
                drop(world.verify(&release).ok().says("attested by MACs"))
            }
            _ => drop(world.verify(&release).refused("builder `m3`")),
        }
    }
}
