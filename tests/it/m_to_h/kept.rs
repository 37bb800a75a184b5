//! What is kept of evidence is what its builder signed: not how it was framed, and nothing beside
//! it.

use std::fs;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::common::world::{Build, Granted, World, listed_in_another_form};
use crate::common::{openpgp, tree};

const SIGNATURE: &str = "build.manifest.sig";
const ENVELOPE: &str = "build.dsse.json";
const TEXT: &[u8] = b"download from https://evil.example instead\n";

/// A file of m1's evidence as it is in the release.
fn published(world: &World, granted: &Granted, name: &str) -> Vec<u8> {
    fs::read(world.release(granted).join("evidence/m1").join(name)).expect("in the release")
}

fn attested(world: &World, scheme: &str) -> (Granted, Build) {
    let granted = world.grant_with(&[&"--scheme", &scheme]);
    let build = world.build(&[("foo.txt", b"text\n")]);
    world.attest(&granted, &build).ok();
    (granted, build)
}

/// Writes the same evidence in another form.
type Spelling = fn(&[u8]) -> Vec<u8>;

/// Each spelling of the same evidence leads to the same release and the same log; also when a run
/// is repeated with another one.
fn one_form_is_kept(scheme: &str, name: &str, spellings: &[Spelling]) {
    for spelling in spellings {
        let world = World::ready();
        let (granted, build) = attested(&world, scheme);
        let attested = fs::read(build.at(name)).expect("the evidence");
        let other = spelling(&attested);
        assert_ne!(other, attested);
        fs::write(build.at(name), &other).expect("written");
        world.sign(&granted, &build).ok();
        assert_eq!(published(&world, &granted, name), attested);
        let accepted = &world.logged("evidence-accepted")[0];
        let list = fs::read_to_string(world.release(&granted).join("SHA256SUMS")).expect("a list");
        let files = match scheme {
            "dsse" => vec![name],
            _ => vec!["build.manifest", name],
        };
        let line = |name: &&str| {
            let path = format!("evidence/m1/{name}");
            let line = list
                .lines()
                .find(|line| line.ends_with(&format!("  {path}")));
            line.expect("it is listed").replace(&path, name) + "\n"
        };
        let lines: String = files.iter().map(line).collect();
        let digest = hex::encode(Sha256::digest(lines));
        let logged = accepted["builders"].to_string();
        assert!(logged.contains(&digest), "{logged} has not {digest}");

        let released = tree(&world.release(&granted));
        fs::remove_dir_all(world.release(&granted)).expect("removed");
        for again in [&other, &attested] {
            fs::write(build.at(name), again).expect("written");
            let run = world.sign_into(&world.release(&granted), &granted, &build);
            run.ok().says("the token was not used");
            assert_eq!(tree(&world.release(&granted)), released);
            fs::remove_dir_all(world.release(&granted)).expect("removed");
        }
    }
}

#[test]
fn header_of_a_signature_is_not_kept() {
    one_form_is_kept(
        "openpgp",
        SIGNATURE,
        &[
            |packet| {
                let length = u16::try_from(openpgp::body(packet).len()).expect("short");
                [&[0x89][..], &length.to_be_bytes(), openpgp::body(packet)].concat()
            },
            |packet| {
                let length = u32::try_from(openpgp::body(packet).len()).expect("short");
                [
                    &[0xc2, 255][..],
                    &length.to_be_bytes(),
                    openpgp::body(packet),
                ]
                .concat()
            },
        ],
    );
}

#[test]
fn white_space_and_key_id_of_an_envelope_are_not_kept() {
    one_form_is_kept(
        "dsse",
        ENVELOPE,
        &[
            |envelope| [b"{", &b" \n".repeat(1_000_000)[..], &envelope[1..]].concat(),
            |envelope| {
                let mut fields: Value = serde_json::from_slice(envelope).expect("JSON");
                fields["signatures"][0]["keyid"] = "see https://evil.example".into();
                serde_json::to_vec_pretty(&fields).expect("JSON")
            },
            |envelope| {
                let text = String::from_utf8_lossy(envelope).replace("\"keyid\":\"\",", "");
                text.trim_end().as_bytes().to_vec()
            },
        ],
    );
}

/// Somebody on the way adds to a packet what its builder did not sign.
#[test]
fn text_in_the_packet_of_a_signature() {
    let world = World::ready();
    let (granted, build) = world.attested();
    let genuine = fs::read(build.at(SIGNATURE)).expect("a signature");
    let longer = |text: &[u8]| {
        let body = [openpgp::body(&genuine), text].concat();
        let length = u32::try_from(body.len()).expect("short");
        [&[0xc2, 255][..], &length.to_be_bytes(), &body].concat()
    };
    for (changed, reason) in [
        (
            longer(&TEXT.repeat(1400)),
            "has bytes behind its numbers, which nobody signed",
        ),
        (
            longer(&[0]),
            "has bytes behind its numbers, which nobody signed",
        ),
        (
            [&genuine[..], TEXT].concat(),
            "found one with other bytes behind it",
        ),
        (
            [&genuine[..], b"\xcb\x07b\0\0\0\0\0x"].concat(),
            "found several packets",
        ),
        ([TEXT, &genuine].concat(), "is not in binary form"),
        (openpgp::armored(&genuine), "is not in binary form"),
    ] {
        fs::write(build.at(SIGNATURE), changed).expect("changed");
        world.refuses(&granted, &build, reason);
    }
    fs::write(build.at(SIGNATURE), genuine).expect("as it was");
    world.sign(&granted, &build).ok();
}

/// Someone on the way adds to the certificate of a builder, which the grant and the release have.
#[test]
fn packet_in_the_certificate_of_a_builder() {
    let world = World::ready();
    world
        .countersign(&[&"build-key", &"-o", &world.at("m1.key")])
        .ok();
    let certificate = fs::read(world.at("m1.key.pub")).expect("a certificate");
    let path = world.at("m1.pub");
    let with = |packet: &[u8]| {
        let packets = openpgp::with_packet(&certificate, packet);
        fs::write(&path, packets).expect("written");
    };
    let user_id = [&[0xcd, 4][..], b"evil"].concat();
    let unknown = [&[0xfc, 4][..], b"evil"].concat();
    let builder = format!("m1={}", path.display());
    for (packet, reason) in [
        (user_id, "more than its own key signed"),
        (unknown, "which is not kept"),
    ] {
        with(&packet);
        let folder = world.at("grant");
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
            .usage(reason);
        assert!(!folder.exists());
    }
    with(b"");
    world.grant_enrolled(&path, &[]);
}

#[test]
fn signature_in_another_form_at_the_location() {
    let world = World::ready();
    let release = world.signed();
    let name = format!("evidence/m1/{SIGNATURE}");
    let packet = fs::read(release.join(&name)).expect("a signature");
    let length = u16::try_from(openpgp::body(&packet).len()).expect("short");
    let old = [&[0x89][..], &length.to_be_bytes(), openpgp::body(&packet)].concat();
    listed_in_another_form(&world, &release, &name, &old);
    world.admit().ok();
}

#[test]
fn envelope_in_another_form_at_the_location() {
    let world = World::ready();
    let (granted, build) = attested(&world, "dsse");
    world.sign(&granted, &build).ok();
    let release = world.release(&granted);
    let name = format!("evidence/m1/{ENVELOPE}");
    let envelope = fs::read(release.join(&name)).expect("an envelope");
    let spaced = [b" ", &envelope[..]].concat();
    listed_in_another_form(&world, &release, &name, &spaced);
    world.admit().ok();
}
