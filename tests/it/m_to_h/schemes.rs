//! Each scheme of evidence, and each attack on one, by name. These tests make a builder's
//! signatures and MACs with its own key, as `attest` never would.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign::dsse::{PublicKey, SecretKey, seal};
use countersign::mac::MacKey;
use ed25519_dalek::Signer as _;
use ed25519_dalek::pkcs8::DecodePrivateKey as _;
use serde_json::{Value, json};

use crate::common::world::{Build, Granted, World, entry, write_private};
use crate::common::{can_travel, have, listing, openpgp, tool, tree};

const ARTIFACTS: [(&str, &[u8]); 2] = [("foo.txt", b"text\n"), ("foo.tar", &[7; 100_000])];

/// The kinds of evidence, as `grant` is asked for them, with the files that `attest` writes for
/// [`ARTIFACTS`].
const KINDS: [(&str, &str, &[&str]); 5] = [
    (
        "openpgp",
        "manifest",
        &["build.manifest", "build.manifest.sig"],
    ),
    ("openpgp", "per-artifact", &["foo.tar.sig", "foo.txt.sig"]),
    ("dsse", "manifest", &["build.dsse.json"]),
    (
        "hmac",
        "manifest",
        &["build.manifest", "build.manifest.mac"],
    ),
    ("hmac", "per-artifact", &["foo.tar.mac", "foo.txt.mac"]),
];

fn grant(world: &World, scheme: &str, form: &str) -> Granted {
    world.grant_with(&[&"--scheme", &scheme, &"--evidence", &form])
}

/// A grant, and what was built and attested under it, with the key still there.
fn attested(world: &World, scheme: &str, form: &str) -> (Granted, Build) {
    let (granted, build) = (grant(world, scheme, form), world.build(&ARTIFACTS));
    world.attest(&granted, &build).with(&[&"--keep-key"]).ok();
    (granted, build)
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).expect("a text")
}

/// Changes a file and changes it back: between that the build is refused for this reason.
#[track_caller]
fn refused_with(
    world: &World,
    granted: &Granted,
    build: &Build,
    file: &str,
    bytes: &[u8],
    reason: &str,
) {
    let original = fs::read(build.at(file)).expect("a file");
    assert_ne!(original, bytes, "nothing was changed");
    fs::write(build.at(file), bytes).expect("changed");
    world.refuses(granted, build, reason);
    fs::write(build.at(file), original).expect("changed back");
}

// ---- Every scheme ----

#[test]
fn every_kind_of_evidence_carries_a_build_from_grant_to_location() {
    for (scheme, form, files) in KINDS {
        let world = World::ready();
        let (granted, build) = (grant(&world, scheme, form), world.build(&ARTIFACTS));
        let said = world.attest(&granted, &build).ok();
        assert!(!granted.key.exists(), "{scheme} {form}: the key is left");
        let evidence: Vec<_> = listing(&build.folder)
            .into_iter()
            .filter(|name| !name.starts_with("foo.t") || name.len() > 7)
            .collect();
        assert_eq!(evidence, files, "{scheme} {form}");
        for file in files {
            assert!(said.stdout.contains(file), "{scheme} {form}: {said:?}");
        }

        let said = world.sign(&granted, &build).ok();
        assert_eq!(
            said.stdout.contains("convince this signing host alone"),
            scheme == "hmac",
            "{said:?}"
        );
        let release = world.release(&granted);
        let said = world.verify(&release).with(&[&"--verbose"]).ok();
        assert_eq!(
            said.stdout.contains("they convince the signing host alone"),
            scheme == "hmac",
            "{said:?}"
        );
        let accepted = world.logged("evidence-accepted").remove(0);
        assert_eq!(accepted["scheme"], scheme);
        let shown = world
            .host(&[&"log", &"show", &accepted["index"].to_string()])
            .ok();
        assert_eq!(
            shown.stdout.contains("convinces this signing host alone"),
            scheme == "hmac",
            "{shown:?}"
        );
        assert_eq!(
            world
                .host(&[&"log", &"list"])
                .ok()
                .stdout
                .contains("convince this host alone"),
            scheme == "hmac"
        );

        // The evidence goes with the release, and the key where it is public.
        let mut expected: Vec<_> = files.iter().map(|name| (*name).to_owned()).collect();
        expected.extend(match scheme {
            "openpgp" => Some("build-key.pgp".to_owned()),
            "dsse" => Some("build-key.pem".to_owned()),
            _ => None,
        });
        expected.sort();
        assert_eq!(
            listing(&release.join("evidence/m1")),
            expected,
            "{scheme} {form}"
        );
        world.admit().ok();
        assert_eq!(world.public(), ["foo-1.2.3"]);
        // A second run finds the same evidence good, though the nonce is gone.
        let uses = world.token_count();
        world.sign(&granted, &build).ok().says("signed");
        assert_eq!(world.token_count(), uses);
    }
}

#[test]
fn every_change_of_artifact_or_evidence_is_refused() {
    for (scheme, form, files) in KINDS {
        let world = World::ready();
        let (granted, build) = attested(&world, scheme, form);
        let names = ["foo.txt", "foo.tar"].iter().chain(files);
        for file in names {
            let original = fs::read(build.at(file)).expect("a file");
            // In a signature: its creation time. Further on there is an area that is not signed,
            // and says nothing.
            let middle = if file.ends_with(".sig") {
                10
            } else {
                original.len() / 2
            };
            for at in [0, middle, original.len() - 1] {
                let mut changed = original.clone();
                changed[at] ^= 1;
                refused_with(&world, &granted, &build, file, &changed, "");
            }
            // One byte less is JSON without its last newline, which is the same JSON.
            refused_with(
                &world,
                &granted,
                &build,
                file,
                &original[..original.len() - 2],
                "",
            );
            refused_with(&world, &granted, &build, file, &[], "");
            fs::remove_file(build.at(file)).expect("removed");
            world.waits(&granted, &build, "");
            fs::write(build.at(file), original).expect("as it was");
        }
        fs::write(build.at("more.txt"), b"more").expect("written");
        match form {
            // What attests it may be on its way.
            "per-artifact" => world.waits(&granted, &build, "more.txt."),
            _ => world.refuses(
                &granted,
                &build,
                "contains `more.txt`, which builder `m1` did not attest",
            ),
        };
        fs::remove_file(build.at("more.txt")).expect("removed");
        world.sign(&granted, &build).ok();
    }
}

#[test]
fn evidence_of_another_grant_is_refused_in_every_scheme() {
    for ((scheme, form, _), reason) in KINDS.into_iter().zip([
        "is not a build key of this grant",
        "is not a build key of this grant",
        "is not by the builder's key",
        "does not match `build.manifest`",
        "does not match its artifact under that name",
    ]) {
        let world = World::ready();
        let (other, build) = attested(&world, scheme, form);
        let granted = grant(&world, scheme, form);
        world.refuses(&granted, &build, reason);
        world.sign(&other, &build).ok();
    }
}

/// One kind of evidence is not valid under a grant that asks for another.
#[test]
fn evidence_of_another_scheme_is_refused() {
    for (scheme, form, _) in KINDS {
        let world = World::ready();
        let (_, build) = attested(&world, scheme, form);
        for (other_scheme, other_form, _) in KINDS
            .into_iter()
            .filter(|kind| (kind.0, kind.1) != (scheme, form))
        {
            let granted = grant(&world, other_scheme, other_form);
            // What the grant asks for may be on its way.
            match world.sign(&granted, &build).with(&[&"--dry-run"]).run() {
                (late, _) if late.code == 4 => world.waits(&granted, &build, "does not exist"),
                _ => world.refuses(&granted, &build, ""),
            };
        }
    }
}

#[test]
fn key_of_another_scheme_does_not_attest() {
    let world = World::ready();
    let (openpgp, dsse) = (
        grant(&world, "openpgp", "manifest"),
        grant(&world, "dsse", "manifest"),
    );
    let build = world.build(&ARTIFACTS);
    for (key, other) in [(&openpgp.key, &dsse), (&dsse.key, &openpgp)] {
        world
            .attest_with(key, &build)
            .with(&[&"--grant", &other.grant])
            .usage("the key is not in grant");
        assert!(key.exists());
    }
    world
        .attest(&dsse, &build)
        .with(&[&"--scheme", &"openpgp"])
        .usage("the key is of scheme dsse, not openpgp");
    let nonce = grant(&world, "hmac", "manifest");
    world
        .attest_with(&nonce.key, &build)
        .with(&[&"--grant", &openpgp.grant])
        .usage("the key is not in grant");
    // A header that does not match the secret below it.
    let forged = text(&dsse.key).replace("# scheme dsse", "# scheme hmac");
    write_private(&dsse.key, forged.as_bytes());
    world
        .attest(&dsse, &build)
        .usage("the key is of scheme dsse, but was made for a grant of scheme hmac");
    assert_eq!(
        listing(&build.folder),
        ["foo.tar", "foo.txt"],
        "evidence was left"
    );
}

// ---- DSSE ----

/// The secret in a key file of scheme dsse.
fn ed25519(path: &Path) -> SecretKey {
    SecretKey::parse(pem(&text(path))).expect("a key")
}

fn pem(file: &str) -> &str {
    &file[file.find("-----BEGIN PRIVATE KEY-----").expect("PEM")..]
}

/// The payload of the build's envelope.
fn payload(build: &Build) -> String {
    let envelope: Value = serde_json::from_str(&text(&build.at("build.dsse.json"))).expect("JSON");
    let payload = STANDARD
        .decode(envelope["payload"].as_str().expect("a text"))
        .expect("base64");
    String::from_utf8(payload).expect("JSON is text")
}

/// The build under a grant of scheme dsse is refused, when the builder signs what `change` makes of
/// its payload.
#[track_caller]
pub(super) fn statement_refused(change: impl Fn(String) -> String, reason: &str) {
    let world = World::ready();
    let (granted, build) = attested(&world, "dsse", "manifest");
    let (right, key) = (payload(&build), ed25519(&granted.key));
    let changed = change(right.clone());
    assert_ne!(changed, right, "nothing was changed");
    fs::write(build.at("build.dsse.json"), seal(changed.as_bytes(), &key)).expect("an envelope");
    world.refuses(&granted, &build, reason);
    fs::write(build.at("build.dsse.json"), seal(right.as_bytes(), &key)).expect("an envelope");
    world.sign(&granted, &build).ok();
}

#[test]
fn envelope_signed_by_another_key() {
    let world = World::ready();
    let (granted, build) = attested(&world, "dsse", "manifest");
    let forged = seal(payload(&build).as_bytes(), &SecretKey::generate());
    refused_with(
        &world,
        &granted,
        &build,
        "build.dsse.json",
        &forged,
        "is not by the builder's key",
    );
    world.sign(&granted, &build).ok();
}

/// The type is signed too: naming another one, and signing with that, are both refused.
#[test]
fn envelope_with_another_payload_type() {
    let world = World::ready();
    let (granted, build) = attested(&world, "dsse", "manifest");
    let envelope = text(&build.at("build.dsse.json"));
    let relabelled = envelope.replace("application/vnd.in-toto+json", "application/json");
    let reason = "has payload type `application/json`, not `application/vnd.in-toto+json`";
    refused_with(
        &world,
        &granted,
        &build,
        "build.dsse.json",
        relabelled.as_bytes(),
        reason,
    );

    let key = ed25519_dalek::SigningKey::from_pkcs8_pem(pem(&text(&granted.key))).expect("a key");
    let payload = payload(&build);
    let sign = |kind: &str, said: &str| {
        let message = format!("DSSEv1 {} {kind} {} {payload}", kind.len(), payload.len());
        let signature = STANDARD.encode(key.sign(message.as_bytes()).to_bytes());
        let signatures = json!([{ "keyid": "", "sig": signature }]);
        let payload = STANDARD.encode(&payload);
        json!({ "payload": payload, "payloadType": said, "signatures": signatures }).to_string()
    };
    let honest = sign("application/json", "application/json");
    refused_with(
        &world,
        &granted,
        &build,
        "build.dsse.json",
        honest.as_bytes(),
        reason,
    );
    let mixed = sign("application/json", "application/vnd.in-toto+json");
    refused_with(
        &world,
        &granted,
        &build,
        "build.dsse.json",
        mixed.as_bytes(),
        "does not match the payload",
    );
    // As the protocol wants it, another writer's bytes are as good.
    let right = sign(
        "application/vnd.in-toto+json",
        "application/vnd.in-toto+json",
    );
    fs::write(build.at("build.dsse.json"), right).expect("an envelope");
    world.sign(&granted, &build).ok();
}

#[test]
fn envelope_with_a_key_twice_or_a_field_too_many() {
    let world = World::ready();
    let (granted, build) = attested(&world, "dsse", "manifest");
    let envelope = text(&build.at("build.dsse.json"));
    for (from, to, reason) in [
        (
            "{\"payload\":",
            "{\"payload\":\"e30=\",\"payload\":",
            "duplicate field `payload`",
        ),
        (
            "\"sig\":",
            "\"sig\":\"AA==\",\"sig\":",
            "duplicate field `sig`",
        ),
        (
            "{\"payload\":",
            "{\"colour\":\"red\",\"payload\":",
            "unknown field `colour`",
        ),
        (
            "\"signatures\":[",
            "\"signatures\":[{\"sig\":\"AA==\"},",
            "has 2 signatures; expected one",
        ),
        (
            "\"keyid\":\"\"",
            &format!("\"keyid\":\"{}\"", "x".repeat(201)),
            "has a key id of more than 200 bytes",
        ),
        (
            "{\"keyid\":\"\",\"sig\":",
            "[\"\",",
            "is not a DSSE envelope",
        ),
    ] {
        let changed = envelope.replacen(from, to, 1);
        refused_with(
            &world,
            &granted,
            &build,
            "build.dsse.json",
            changed.as_bytes(),
            reason,
        );
    }
    // What nobody signed does not fill the log.
    let name = format!("{{\"{}\":1}}", "x".repeat(1 << 20));
    refused_with(
        &world,
        &granted,
        &build,
        "build.dsse.json",
        name.as_bytes(),
        "unknown field",
    );
    let longest = world
        .logged("evidence-refused")
        .iter()
        .map(|entry| entry["reason"].to_string().len())
        .max();
    assert!(longest.is_some_and(|longest| longest < 1000), "{longest:?}");
    let large = format!("{envelope}{}", " ".repeat(8 << 20));
    refused_with(
        &world,
        &granted,
        &build,
        "build.dsse.json",
        large.as_bytes(),
        "is larger than 8388608 bytes",
    );
    let deep = "[".repeat(100_000);
    refused_with(
        &world,
        &granted,
        &build,
        "build.dsse.json",
        deep.as_bytes(),
        "is not a DSSE envelope",
    );
    world.sign(&granted, &build).ok();
}

#[test]
fn statement_with_a_key_twice() {
    let twice = |text: String| text.replacen("{\"sha256\":", "{\"sha256\":\"00\",\"sha256\":", 1);
    statement_refused(twice, "key `sha256` is twice in one object");
    let hidden = |text: String| {
        text.replacen(
            "\"externalParameters\":{",
            "\"externalParameters\":{\"grant\":\"x\",",
            1,
        )
    };
    statement_refused(hidden, "key `grant` is twice in one object");
}

#[test]
fn statement_for_another_grant_or_none() {
    let other = format!("sha256:{}", "0".repeat(64));
    let id = |text: &str| {
        let at = text.find("sha256:").expect("a grant");
        text[at..at + 71].to_owned()
    };
    // In every place, and in one of them alone.
    statement_refused(
        |text| text.replace(&id(&text), &other),
        &format!("`build.dsse.json` is for grant {other}"),
    );
    statement_refused(
        |text| text.replacen(&id(&text), &other, 1),
        &format!("`build.dsse.json` is for grant {other}"),
    );
    let unnamed = |text: String| text.replace("\"grant\":", "\"grunt\":");
    statement_refused(
        unnamed,
        "`build.dsse.json` is for no grant, not for sha256:",
    );
}

#[test]
fn statement_about_other_bytes_names_or_nothing() {
    let world = World::ready();
    let (granted, build) = attested(&world, "dsse", "manifest");
    let (right, key) = (payload(&build), ed25519(&granted.key));
    for (from, to, reason) in [
        (
            "\"name\":\"foo.txt\"",
            "\"name\":\"bar.txt\"",
            "contains `foo.txt`, which builder `m1` did not attest",
        ),
        (
            "\"name\":\"foo.txt\"",
            "\"name\":\"../foo.txt\"",
            "contains a path separator",
        ),
        (
            "\"name\":\"foo.txt\"",
            "\"name\":\"foo.tar\"",
            "`foo.tar` is listed twice",
        ),
        (
            "\"sha256\":\"",
            "\"sha512\":\"",
            "subject `foo.tar` has no SHA-256",
        ),
        (
            "in-toto.io/Statement/v1",
            "in-toto.io/Statement/v0.1",
            "is of type",
        ),
        (
            "\"_type\"",
            "\"colour\":1,\"_type\"",
            "unknown field `colour`",
        ),
    ] {
        let changed = right.replacen(from, to, 1);
        assert_ne!(changed, right, "{to} changed nothing");
        fs::write(build.at("build.dsse.json"), seal(changed.as_bytes(), &key))
            .expect("an envelope");
        world.refuses(&granted, &build, reason);
    }
    let digest = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(b"text\n"));
    let changed = right.replace(&digest, &"0".repeat(64));
    assert_ne!(changed, right);
    fs::write(build.at("build.dsse.json"), seal(changed.as_bytes(), &key)).expect("an envelope");
    world.refuses(&granted, &build, "artifact `foo.txt` has SHA-256");
    // Nothing of a payload is read before its signature is verified.
    let forged = seal(b"{\"no\": \"statement\"", &SecretKey::generate());
    fs::write(build.at("build.dsse.json"), forged).expect("an envelope");
    world.refuses(&granted, &build, "is not by the builder's key");
}

#[test]
fn statement_made_before_the_grant_or_after_its_end() {
    let time = |text: &str| {
        let at = text.find("\"finishedOn\":\"").expect("a time") + 14;
        text[at..at + 20].to_owned()
    };
    statement_refused(
        |text| text.replace(&time(&text), "2020-01-01T00:00:00Z"),
        "2020-01-01T00:00:00Z is not in the time of the grant",
    );
    statement_refused(
        |text| text.replace(&time(&text), "2090-01-01T00:00:00Z"),
        "2090-01-01T00:00:00Z is not in the time of the grant",
    );
    statement_refused(
        |text| text.replace(&time(&text), "yesterday"),
        "is not as RFC 3339 writes it",
    );
    let started = |text: String| {
        text.replace(
            "\"finishedOn\"",
            "\"startedOn\":\"2020-01-01T00:00:00Z\",\"finishedOn\"",
        )
    };
    statement_refused(
        started,
        "2020-01-01T00:00:00Z is not in the time of the grant",
    );
}

/// A point of small order, for which anyone can make a signature, is not a key: neither of a
/// builder, nor in a grant.
#[test]
fn small_order_key() {
    let world = World::ready();
    for point in [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ] {
        // The one encoding that RFC 8410 gives an Ed25519 key.
        let der = hex::decode(format!("302a300506032b6570032100{point}")).expect("hexadecimal");
        let pem = format!(
            "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
            STANDARD.encode(der)
        );
        assert!(PublicKey::parse(&pem).is_err());
        fs::write(world.at("weak.pub"), pem).expect("written");
        let builder = format!("m1={}", world.at("weak.pub").display());
        world
            .host(&[
                &"grant",
                &"foo",
                &"1.2.3",
                &"--scheme",
                &"dsse",
                &"--builder",
                &builder,
            ])
            .usage("is a point of small order");
    }
    assert!(world.logged("grant-issued").is_empty());
}

// ---- MACs ----

/// The nonce in a key file of scheme hmac.
fn nonce(granted: &Granted) -> MacKey {
    let file = text(&granted.key);
    MacKey::parse(
        file.lines()
            .last()
            .map(|line| format!("{line}\n"))
            .expect("a line")
            .as_bytes(),
    )
    .expect("a nonce")
}

#[test]
fn mac_of_another_artifact_or_under_another_name() {
    let world = World::ready();
    let (granted, build) = attested(&world, "hmac", "per-artifact");
    let other = text(&build.at("foo.tar.mac"));
    let reason = "`foo.txt.mac`: the MAC does not match its artifact under that name";
    refused_with(
        &world,
        &granted,
        &build,
        "foo.txt.mac",
        other.as_bytes(),
        reason,
    );
    // The right bytes under the name of another.
    let renamed = nonce(&granted).tag(entry(b"text\n", "foo.tar").as_bytes());
    refused_with(
        &world,
        &granted,
        &build,
        "foo.txt.mac",
        renamed.as_bytes(),
        reason,
    );
    // Of the bytes themselves, and not of their digest and name.
    let plain = nonce(&granted).tag(b"text\n");
    refused_with(
        &world,
        &granted,
        &build,
        "foo.txt.mac",
        plain.as_bytes(),
        reason,
    );
    let by_hand = nonce(&granted).tag(entry(b"text\n", "foo.txt").as_bytes());
    assert_eq!(by_hand, text(&build.at("foo.txt.mac")));
    world.sign(&granted, &build).ok();
}

#[test]
fn mac_that_is_truncated_or_spelled_otherwise() {
    for (form, file) in [
        ("manifest", "build.manifest.mac"),
        ("per-artifact", "foo.txt.mac"),
    ] {
        let world = World::ready();
        let (granted, build) = attested(&world, "hmac", form);
        let right = text(&build.at(file));
        for wrong in [
            &right[..32],
            &right[..64],
            &right[2..],
            &format!("{}\n", &right[..62]),
            &format!("{}\n", &right[..32]),
            "\n",
            "",
            &right.to_uppercase(),
            &format!("{right}\n"),
            &format!("{right}{right}"),
            &format!("SHA2-256(stdin)= {right}"),
        ] {
            refused_with(
                &world,
                &granted,
                &build,
                file,
                wrong.as_bytes(),
                "the MAC is not 64 lower-case hexadecimal digits",
            );
        }
        world.sign(&granted, &build).ok();
    }
}

#[test]
fn mac_by_somebody_without_the_nonce() {
    let world = World::ready();
    let (granted, build) = attested(&world, "hmac", "manifest");
    let manifest = text(&build.at("build.manifest"));
    for key in [
        MacKey::generate(),
        MacKey::parse(format!("{}\n", "0".repeat(64)).as_bytes()).expect("a nonce"),
    ] {
        let forged = key.tag(manifest.as_bytes());
        let reason = "`build.manifest.mac`: the MAC does not match `build.manifest`";
        refused_with(
            &world,
            &granted,
            &build,
            "build.manifest.mac",
            forged.as_bytes(),
            reason,
        );
    }
    // The grant's commitment to the nonce is not a key either.
    let commitment = granted.terms()["builders"][0]["key"]
        .as_str()
        .expect("a digest")
        .to_owned();
    let public = MacKey::parse(format!("{commitment}\n").as_bytes())
        .expect("32 bytes")
        .tag(manifest.as_bytes());
    refused_with(
        &world,
        &granted,
        &build,
        "build.manifest.mac",
        public.as_bytes(),
        "does not match",
    );
    world.sign(&granted, &build).ok();
}

/// The nonce is in the home for as long as it is needed, for its owner alone, and nowhere else.
#[test]
fn nonce_is_kept_private_and_wiped_when_the_grant_closes() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = World::ready();
    let (granted, build) = attested(&world, "hmac", "manifest");
    let secret = text(&granted.key)
        .lines()
        .last()
        .expect("a nonce")
        .to_owned();
    assert_eq!(secret.len(), 64);
    let nonces = world.home().join("nonces");
    let kept: Vec<_> = listing(&nonces)
        .into_iter()
        .map(|name| nonces.join(name))
        .collect();
    assert_eq!(kept.len(), 1);
    assert_eq!(
        fs::metadata(&kept[0]).expect("there").permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(text(&kept[0]).trim_end(), secret);
    // A second name for the same bytes on the disk: they are overwritten, not only unlinked.
    let other_name = world.at("other-name");
    fs::hard_link(&kept[0], &other_name).expect("linked");
    world.waits(&granted, &world.build(&ARTIFACTS), "does not exist");
    assert!(kept[0].exists(), "a refusal closes nothing");

    world.sign(&granted, &build).ok();
    assert_eq!(listing(&nonces), [""; 0]);
    assert_eq!(fs::read(&other_name).expect("there"), [0; 65]);
    let everywhere = crate::common::tree(&world.home())
        .into_iter()
        .chain(crate::common::tree(&world.release(&granted)));
    for (path, bytes) in everywhere {
        assert!(
            !bytes.windows(64).any(|window| window == secret.as_bytes()),
            "{path} has the nonce"
        );
    }
    // Other evidence can be checked by nobody any more.
    let second = world.build(&[("foo.txt", b"backdoor\n")]);
    world.attest(&granted, &second).ok();
    world
        .sign_into(&world.at("elsewhere"), &granted, &second)
        .refused("was wiped when it closed or expired");
}

#[test]
fn nonce_is_wiped_when_the_grant_is_revoked_or_expires() {
    let world = World::ready();
    let nonces = || listing(&world.home().join("nonces")).len();
    let granted = grant(&world, "hmac", "manifest");
    assert_eq!(nonces(), 1);
    world.host(&[&"grants", &"revoke", &granted.grant]).ok();
    assert_eq!(nonces(), 0);
    if can_travel() {
        grant(&world, "hmac", "manifest");
        let folder = world.new_folder("later");
        world
            .host(&[&"grant", &"bar", &"1", &"-o", &folder])
            .at("+5h")
            .ok();
        assert_eq!(nonces(), 1);
        world
            .host(&[&"grant", &"bar", &"2", &"-o", &folder])
            .at("+7h")
            .ok();
        assert_eq!(nonces(), 0);
    }
}

/// A process that was killed did not get to wipe what nothing needs any more: the next one does.
#[test]
fn nonce_that_a_killed_process_left_is_wiped() {
    let world = World::ready();
    let nonces = world.home().join("nonces");
    let kept = || {
        let name = listing(&nonces).remove(0);
        (
            nonces.join(&name),
            fs::read(nonces.join(name)).expect("the nonce"),
        )
    };
    let folder = world.new_folder("later");
    let next = |version: &str| {
        world
            .host(&[&"grant", &"bar", &version, &"-o", &folder])
            .ok()
    };

    // Killed when the grant was closed, when it was revoked, and when a nonce was being written.
    let (granted, build) = attested(&world, "hmac", "manifest");
    let (path, nonce) = kept();
    world.sign(&granted, &build).ok();
    write_private(&path, &nonce);
    write_private(&nonces.join(".countersign-x1y2z3"), &nonce);
    next("1");
    assert_eq!(listing(&nonces), [""; 0]);

    let granted = world.grant_of("2", &[&"--scheme", &"hmac"]);
    let (path, nonce) = kept();
    let revoke = || world.host(&[&"grants", &"revoke", &granted.grant]);
    revoke().ok();
    write_private(&path, &nonce);
    revoke().usage("was revoked before");
    assert_eq!(listing(&nonces), [""; 0]);
    write_private(&path, &nonce);
    next("2");
    assert_eq!(listing(&nonces), [""; 0]);

    // Killed while it was wiped: what is left is not a nonce, and does no harm.
    let granted = world.grant_of("3", &[&"--scheme", &"hmac"]);
    let build = world.build(&ARTIFACTS);
    world.attest(&granted, &build).ok();
    let (path, _) = kept();
    let away = world.at("away");
    fs::rename(world.token_file(), &away).expect("the token is away");
    world.sign(&granted, &build).trouble("");
    fs::rename(&away, world.token_file()).expect("the token is back");
    write_private(&path, &[0; 65]);
    world.sign(&granted, &build).ok();
    assert_eq!(listing(&nonces), [""; 0]);
}

/// A grant that does not come about leaves no secret: neither with the builder's files nor in the
/// home.
#[test]
fn nonce_of_a_grant_that_failed() {
    let world = World::ready();
    let folder = world.new_folder("grant");
    fs::write(folder.join("foo-1.2.3.m2.key"), b"in the way").expect("written");
    let builders = ["--builder", "m1", "--builder", "m2", "--scheme", "hmac"];
    let arguments: Vec<&dyn AsRef<std::ffi::OsStr>> = builders
        .iter()
        .map(|it| it as &dyn AsRef<std::ffi::OsStr>)
        .collect();
    world
        .host(&[&"grant", &"foo", &"1.2.3", &"-o", &folder])
        .with(&arguments)
        .usage("exists already");
    assert_eq!(listing(&folder), ["foo-1.2.3.m2.key"]);
    assert_eq!(listing(&world.home().join("nonces")), [""; 0]);
}

#[test]
fn nonce_that_was_changed_in_the_home() {
    let world = World::ready();
    let (granted, build) = attested(&world, "hmac", "manifest");
    let nonces = world.home().join("nonces");
    let kept = nonces.join(&listing(&nonces)[0]);
    let right = fs::read(&kept).expect("the nonce");
    let other = MacKey::generate();
    write_private(&kept, &other.to_line());
    let forged = other.tag(text(&build.at("build.manifest")).as_bytes());
    refused_with(
        &world,
        &granted,
        &build,
        "build.manifest.mac",
        forged.as_bytes(),
        "is not the grant's",
    );
    fs::remove_file(&kept).expect("removed");
    world.refuses(&granted, &build, "is missing, although its grant is open");
    write_private(&kept, b"no nonce\n");
    world
        .sign(&granted, &build)
        .usage("the nonce is not 64 lower-case hexadecimal digits");
    write_private(&kept, &right);
    world.sign(&granted, &build).ok();
}

/// A run that was interrupted after its grant closed goes on without the nonce, with the same
/// evidence and bytes alone.
#[test]
fn interrupted_run_goes_on_without_the_nonce() {
    for form in ["manifest", "per-artifact"] {
        let world = World::ready();
        let (granted, build) = attested(&world, "hmac", form);
        let key = fs::read(world.token_file()).expect("the token");
        fs::remove_file(world.token_file()).expect("the token is away");
        world.sign(&granted, &build).trouble("");
        assert_eq!(listing(&world.home().join("nonces")), [""; 0]);
        // As if it had been cut off while it wiped the nonce.
        let hex = granted.id.strip_prefix("sha256:").expect("an id");
        write_private(
            &world.home().join("nonces").join(format!("{hex}.m1")),
            &[0; 40],
        );
        write_private(world.token_file(), &key);
        let original = fs::read(build.at("foo.txt")).expect("an artifact");
        fs::write(build.at("foo.txt"), b"backdoor\n").expect("changed");
        world.sign(&granted, &build).refused(match form {
            "manifest" => "artifact `foo.txt` has SHA-256",
            _ => "was closed by another build",
        });
        fs::write(build.at("foo.txt"), original).expect("changed back");
        world.sign(&granted, &build).ok();
        assert_eq!(listing(&world.home().join("nonces")), [""; 0]);
        world.verify(&world.release(&granted)).ok();
    }
}

#[test]
fn nonce_of_a_grant_that_cannot_be_read_just_now_is_kept() {
    let world = World::ready();
    let (granted, build) = attested(&world, "hmac", "manifest");
    let hex = granted.id.strip_prefix("sha256:").expect("an id");
    let kept = world.home().join("grants").join(format!("{hex}.json"));
    let grant = fs::read(&kept).expect("the grant");
    write_private(&kept, b"spoilt");
    fs::write(build.at("foo.txt"), b"backdoor\n").expect("changed");
    world
        .sign(&granted, &build)
        .refused("artifact `foo.txt` has SHA-256");
    assert_eq!(listing(&world.home().join("nonces")), [format!("{hex}.m1")]);
    write_private(&kept, &grant);
}

#[test]
fn builder_cannot_bring_a_nonce() {
    let world = World::ready();
    fs::write(world.at("nonce.pub"), "0".repeat(64)).expect("written");
    let builder = format!("m1={}", world.at("nonce.pub").display());
    let grant = world.host(&[
        &"grant",
        &"foo",
        &"1.2.3",
        &"--scheme",
        &"hmac",
        &"--builder",
        &builder,
    ]);
    grant.usage("scheme hmac has no public keys");
    let made = world.countersign(&[&"build-key", &"--scheme", &"hmac", &"-o", &world.at("key")]);
    made.usage("[possible values: openpgp, dsse]");
    assert!(!world.at("key").exists());
}

// ---- A signature for each artifact ----

/// Signs one artifact as its builder, with these notations.
fn sign_one(
    granted: &Granted,
    build: &Build,
    name: &str,
    notations: &[(&str, &str)],
    at: SystemTime,
) {
    let bytes = fs::read(build.at(name)).expect("an artifact");
    let signature =
        openpgp::detached_with(&openpgp::secret_key(&granted.key), &bytes, notations, at);
    fs::write(build.at(&format!("{name}.sig")), signature).expect("a signature");
}

#[test]
fn signatures_swapped_between_two_names() {
    let world = World::ready();
    let granted = grant(&world, "openpgp", "per-artifact");
    // The same bytes under two names: either signature is valid for either file.
    let build = world.build(&[("foo-amd64.deb", b"same\n"), ("foo-arm64.deb", b"same\n")]);
    world.attest(&granted, &build).ok();
    let signatures = ["foo-amd64.deb.sig", "foo-arm64.deb.sig"]
        .map(|name| fs::read(build.at(name)).expect("there"));
    fs::write(build.at("foo-amd64.deb.sig"), &signatures[1]).expect("swapped");
    fs::write(build.at("foo-arm64.deb.sig"), &signatures[0]).expect("swapped");
    world.refuses(
        &granted,
        &build,
        "`foo-amd64.deb.sig` is for artifact `foo-arm64.deb`",
    );
    // And artifacts with them, so that each file has the signature that was made over its name.
    fs::write(build.at("foo-amd64.deb.sig"), &signatures[0]).expect("back");
    fs::write(build.at("foo-arm64.deb.sig"), &signatures[1]).expect("back");
    world.sign(&granted, &build).ok();
}

/// Each signature names its file, so the same bytes under another name need another.
#[test]
fn equal_artifacts_are_signed_each_under_its_name() {
    if !have(&["gpgv"]) {
        return;
    }
    let world = World::ready();
    let (granted, build) = world.attested_of(
        "1.2.3",
        &[],
        &[
            ("foo-a", b"same\n"),
            ("foo-b", b"other\n"),
            ("foo-c", b"same\n"),
            ("foo-d", b"same\n"),
        ],
    );
    let made = world.token_count();
    world
        .sign(&granted, &build)
        .with(&[&"--dry-run"])
        .ok()
        .says("5 signatures");
    let said = world.sign(&granted, &build).ok();
    said.says("signatures 5 (all made by the token now)");
    assert_eq!(world.token_count() - made, 5);
    let release = world.release(&granted);
    let signature = |name: &str| fs::read(release.join(name)).expect("a signature");
    for (one, other) in [("foo-a", "foo-c"), ("foo-c", "foo-d"), ("foo-a", "foo-b")] {
        let [one, other] = [one, other].map(|name| signature(&format!("{name}.asc")));
        assert_ne!(one, other);
    }
    for name in ["foo-a", "foo-b", "foo-c", "foo-d", "SHA256SUMS"] {
        let signature = format!("{name}.asc");
        tool(
            "gpgv",
            &[&"--keyring", &world.certificate(), &signature, &name],
            &release,
        );
    }
    world.verify(&release).ok();
    world.host(&[&"log", &"verify"]).ok();
    let kept = tree(&release);
    fs::remove_dir_all(&release).expect("removed");
    world
        .sign(&granted, &build)
        .ok()
        .says("signatures 5 (all kept from an earlier run; the token was not used)");
    assert_eq!((tree(&release), world.token_count() - made), (kept, 5));
    world.admit().ok();
}

#[test]
fn signature_without_the_notations_that_bind_it() {
    let world = World::ready();
    let (granted, build) = attested(&world, "openpgp", "per-artifact");
    let now = SystemTime::now();
    let right = [
        ("artifact@example.org", "foo.txt"),
        ("grant@example.org", granted.id.as_str()),
    ];
    for (notations, reason) in [
        (vec![], "has no notation `artifact@example.org`"),
        (vec![right[1]], "has no notation `artifact@example.org`"),
        (
            vec![right[0], right[0], right[1]],
            "has the notation `artifact@example.org` twice",
        ),
        (
            vec![("artifact@example.com", "foo.txt"), right[1]],
            "has no notation `artifact@example.org`",
        ),
        (
            vec![("artifact@example.org", "foo"), right[1]],
            "is for artifact `foo`",
        ),
        (vec![right[0]], "is for no grant"),
        (
            vec![right[0], ("grant@example.org", "sha256:00")],
            "is for grant sha256:00",
        ),
    ] {
        sign_one(&granted, &build, "foo.txt", &notations, now);
        world.refuses(&granted, &build, reason);
    }
    sign_one(&granted, &build, "foo.txt", &right, now);
    world.sign(&granted, &build).ok();
}

#[test]
fn signature_made_before_the_grant_or_after_its_end() {
    let hour = Duration::from_secs(3600);
    let world = World::ready();
    let (granted, build) = attested(&world, "openpgp", "per-artifact");
    let right = [
        ("artifact@example.org", "foo.txt"),
        ("grant@example.org", granted.id.as_str()),
    ];
    // The key did not live then: with a key of the builder's own, only the time can show it.
    sign_one(
        &granted,
        &build,
        "foo.txt",
        &right,
        SystemTime::now() - hour,
    );
    world.refuses(&granted, &build, "");
    sign_one(
        &granted,
        &build,
        "foo.txt",
        &right,
        SystemTime::now() + hour,
    );
    world.refuses(&granted, &build, "is dated in the future");
    sign_one(&granted, &build, "foo.txt", &right, SystemTime::now());
    world.sign(&granted, &build).ok();
}

/// A builder's own key lives longer than the grant: what it signed before or after is not for this
/// build.
#[test]
fn manifest_made_before_the_grant_or_after_its_end() {
    if !can_travel() {
        return;
    }
    let world = World::ready();
    let build_key = world.countersign(&[
        &"build-key",
        &"--valid-for",
        &"30d",
        &"-o",
        &world.at("m1.key"),
    ]);
    build_key.at("-2d").ok();
    let builder = format!("m1={}", world.at("m1.key.pub").display());
    let folder = world.new_folder("grant");
    world
        .host(&[
            &"grant",
            &"foo",
            &"1.2.3",
            &"--builder",
            &builder,
            &"-o",
            &folder,
        ])
        .ok();
    let grant = folder.join("foo-1.2.3.grant.json");
    let id = format!(
        "sha256:{}",
        hex::encode(<sha2::Sha256 as sha2::Digest>::digest(
            fs::read(&grant).expect("a grant")
        ))
    );
    let (project, version) = ("foo".to_owned(), "1.2.3".to_owned());
    let granted = Granted {
        grant,
        id,
        key: world.at("m1.key"),
        keys: vec![],
        project,
        version,
    };
    let build = world.build(&ARTIFACTS);
    let attest = || {
        world
            .attest(&granted, &build)
            .with(&[&"--grant", &granted.grant, &"--keep-key"])
    };
    attest()
        .at("-1d")
        .refused("is not in the time of the grant, from");
    attest().at("+7h").refused("the grant expired at");
    // As one would make it that does not look at the time.
    let attest_by_hand = |at: SystemTime| {
        let manifest = granted.header() + &build.entries();
        let key = openpgp::secret_key(&granted.key);
        let signature = openpgp::detached_with(&key, manifest.as_bytes(), &[], at);
        fs::write(build.at("build.manifest"), manifest).expect("the manifest");
        fs::write(build.at("build.manifest.sig"), signature).expect("its signature");
    };
    attest_by_hand(SystemTime::now() - Duration::from_secs(24 * 3600));
    world.refuses(&granted, &build, "is not in the time of the grant, from");
    attest_by_hand(SystemTime::now() + Duration::from_secs(7 * 3600));
    world.refuses(&granted, &build, "is dated in the future");
    // Made in time and verified in time, but dated after the end: only by a clock that is
    // wrong.
    world.refuses_at(&granted, &build, "+7h", "expired at");
    world.clock_was_ahead();
    attest().ok();
    world.sign(&granted, &build).ok();
}

#[test]
fn signatures_of_two_artifacts_by_two_builders() {
    let world = World::ready();
    let granted = world.grant_with(&[&"--builder", &"m2", &"--evidence", &"per-artifact"]);
    let inbox = world.new_build("inbox");
    let builds = ["m1", "m2"].map(|builder| {
        let build = inbox.of(builder, &ARTIFACTS);
        world.attest_with(granted.key_of(builder), &build).ok();
        build
    });
    let right = fs::read(builds[0].at("foo.txt.sig")).expect("a signature");
    fs::copy(builds[1].at("foo.txt.sig"), builds[0].at("foo.txt.sig")).expect("copied");
    world.refuses(
        &granted,
        &inbox,
        "`foo.txt.sig` is by builder `m2`, but is in the place of builder `m1`",
    );
    fs::write(builds[0].at("foo.txt.sig"), right).expect("as it was");
    world.sign(&granted, &inbox).ok();
}
