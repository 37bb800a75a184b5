//! Builders' certificates as nobody's tool makes them: with those that H accepts, gpgv and sqv
//! verify its builder's signatures an hour later; and H accepts what gpg and sq make.

use std::fs;
use std::path::Path;
use std::process::Command;

use countersign::domain::key::HashAlgorithm;
use countersign::domain::time::Timestamp;
use countersign::openpgp::{Certificate, DetachedSignature, HashState};
use sequoia_openpgp as openpgp;

use openpgp::cert::CipherSuite;
use openpgp::packet::key::{SecretParts, UnspecifiedRole};
use openpgp::serialize::MarshalInto as _;
use openpgp::{Cert, Packet};

use super::differential::{
    Maker, Parts, critical, equipped, key_of, notation, notation_as, now, packet, subpacket, time,
    two,
};
use crate::common::keyring::Keyring;
use crate::common::openpgp as pgp;
use crate::common::world::World;
use crate::common::{Arguments, clean_environment, have, tool};

const MANIFEST: &[u8] = b"# countersign-manifest/1\n";
const USER_ID: &[u8] = b"m1 <m1@example.org>";
/// What a key may do: certify and sign.
const BOTH: u8 = 3;

/// A key, and a subkey of it, each of which signs whatever it is given.
struct Keys {
    primary: Maker,
    subkey: Maker,
    /// Their packets' bodies.
    bodies: [Vec<u8>; 2],
}

/// One certificate, and whether H accepts it.
struct Case {
    name: String,
    bytes: Vec<u8>,
    /// By the key that it is about.
    signature: Vec<u8>,
    is_accepted: bool,
}

impl Keys {
    fn new() -> Self {
        let builder = key_of(CipherSuite::Cv25519, 3600).add_signing_subkey();
        let (cert, _) = builder.generate().expect("a key");
        let keys: Vec<_> = cert.keys().secret().collect();
        let maker = |at: usize| {
            let key: openpgp::packet::Key<SecretParts, UnspecifiedRole> = keys[at].key().clone();
            Maker::with(key, MANIFEST)
        };
        let body = |at: usize| {
            keys[at]
                .key()
                .clone()
                .parts_into_public()
                .to_vec()
                .expect("memory")
        };
        Self {
            primary: maker(0),
            subkey: maker(1),
            bodies: [body(0), body(1)],
        }
    }

    /// Both keys, or the first alone, as a signature over them takes them.
    fn framed(&self, count: usize) -> Vec<u8> {
        let bodies = self.bodies.iter().take(count);
        let framed = bodies.flat_map(|body| [&[0x99][..], &two(body.len()), body].concat());
        framed.collect()
    }

    /// A signature over a part of the certificate, as gpg makes it.
    fn parts(&self, kind: u8, more: &[u8]) -> Parts {
        Parts {
            kind,
            hashed: [&self.primary.parts().hashed, more].concat(),
            ..self.primary.parts()
        }
    }

    /// The body of a signature of the primary key over `part`.
    fn over(&mut self, part: &[u8], parts: &Parts) -> Vec<u8> {
        self.primary.message = [self.framed(1), part.to_vec()].concat();
        let body = self.primary.body(parts);
        self.primary.message = MANIFEST.to_vec();
        body
    }

    /// A user id and signatures over it.
    fn user_id(&mut self, id: &[u8], signatures: &[Parts]) -> Vec<u8> {
        let length = u32::try_from(id.len()).expect("short").to_be_bytes();
        let part = [&[0xb4][..], &length, id].concat();
        let mut bytes = with_tag(13, id);
        for parts in signatures {
            bytes.extend(packet(&self.over(&part, parts)));
        }
        bytes
    }

    fn certificate(&self, parts: &[Vec<u8>]) -> Vec<u8> {
        [vec![with_tag(6, &self.bodies[0])], parts.to_vec()]
            .concat()
            .concat()
    }

    /// The signature of the subkey that it belongs to the primary key.
    fn embedded(&mut self, unhashed: &[u8]) -> Vec<u8> {
        self.subkey.message = self.framed(2);
        let parts = self.subkey.parts();
        let body = self.subkey.body(&Parts {
            kind: 0x19,
            unhashed: [&parts.unhashed, unhashed].concat(),
            ..parts
        });
        self.subkey.message = MANIFEST.to_vec();
        body
    }

    /// The subkey with its binding.
    fn bound(&mut self, parts: &Parts) -> Vec<u8> {
        let framed = self.framed(2)[self.framed(1).len()..].to_vec();
        let binding = self.over(&framed, parts);
        [with_tag(14, &self.bodies[1]), packet(&binding)].concat()
    }
}

fn with_tag(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = packet(body);
    bytes[0] = 0xc0 | tag;
    bytes
}

fn flags(flags: u8) -> Vec<u8> {
    subpacket(27, &[flags])
}

// ---- Cases ----

struct Cases {
    keys: Keys,
    all: Vec<Case>,
}

impl Cases {
    fn push(&mut self, name: impl Into<String>, parts: &[Vec<u8>], is_accepted: bool) {
        self.all.push(Case {
            name: name.into(),
            bytes: self.keys.certificate(parts),
            signature: self.keys.primary.good(),
            is_accepted,
        });
    }

    /// One user id, whose signature has more in its hashed area.
    fn hashed(&mut self, name: impl Into<String>, more: &[u8], is_accepted: bool) {
        let parts = self.keys.parts(0x13, &[&flags(BOTH), more].concat());
        self.signed(name, &[parts], is_accepted);
    }

    /// One user id with these signatures.
    fn signed(&mut self, name: impl Into<String>, signatures: &[Parts], is_accepted: bool) {
        let part = self.keys.user_id(USER_ID, signatures);
        self.push(name, &[part], is_accepted);
    }

    fn good_parts(&self) -> Parts {
        self.keys.parts(0x13, &flags(BOTH))
    }

    /// Both keys, and a signature by the subkey.
    fn subkey(&mut self, name: &str, binding: &Parts, is_accepted: bool) {
        let primary = self.keys.parts(0x13, &flags(1));
        let user_id = self.keys.user_id(USER_ID, &[primary]);
        let bound = self.keys.bound(binding);
        self.push(name, &[user_id, bound], is_accepted);
        let signature = self.keys.subkey.good();
        self.all.last_mut().expect("pushed").signature = signature;
    }

    /// Both keys, of which the first alone signs files, and this in the unhashed area of the
    /// other's binding.
    fn unused_subkey(&mut self, name: &str, unhashed: &[u8], is_accepted: bool) {
        let primary = self.good_parts();
        let user_id = self.keys.user_id(USER_ID, &[primary]);
        let parts = self.keys.parts(0x18, &flags(12));
        let unhashed = [&parts.unhashed, unhashed].concat();
        let bound = self.keys.bound(&Parts { unhashed, ..parts });
        let name = format!("subkey that does not sign, {name}");
        self.push(name, &[user_id, bound], is_accepted);
    }
}

/// Each kind of subpacket, in each area, critical or not.
fn subpackets(cases: &mut Cases) {
    for tag in (0..=40).chain([60, 100, 110, 127]) {
        let value: Vec<u8> = match tag {
            2 => now().to_be_bytes().to_vec(),
            3 | 9 => 86_400_u32.to_be_bytes().to_vec(),
            4 | 7 | 25 => vec![1],
            5 => vec![1, 60],
            6 => b"x\0".to_vec(),
            11 | 21 | 22 | 34 | 39 => vec![9, 8],
            12 => [&[0x80, 22][..], &[1; 20]].concat(),
            16 => cases.keys.primary.fingerprint[12..].to_vec(),
            20 => notation_as([0x80, 0, 0, 0], b"x@example.org", b"text"),
            23 | 30 => vec![0x80],
            24 | 26 => b"https://example.org/".to_vec(),
            27 => vec![BOTH],
            28 => USER_ID.to_vec(),
            29 => b"\0no".to_vec(),
            31 => [&[22, 8][..], &[0; 32]].concat(),
            32 => cases.keys.embedded(&[]),
            33 | 35 => [&[4][..], &cases.keys.primary.fingerprint].concat(),
            _ => b"text".to_vec(),
        };
        let of_tag = |tag: u8| match tag {
            2 => time(now()),
            27 => flags(BOTH),
            _ => cases.keys.primary.fingerprint_subpacket(),
        };
        // What every signature has is there already; twice is a case of its own.
        let others: Vec<_> = [2, 27, 33].into_iter().filter(|it| *it != tag).collect();
        let hashed: Vec<u8> = others.into_iter().flat_map(of_tag).collect();
        let id = match tag {
            16 => Vec::new(),
            _ => cases.keys.primary.key_id_subpacket(),
        };
        let everyones = [
            2, 9, 11, 16, 20, 21, 22, 23, 24, 25, 26, 27, 29, 30, 33, 34, 39,
        ];
        for (mark, subpacket) in [
            ("", subpacket(tag, &value)),
            (", critical", critical(tag, &value)),
        ] {
            let parts = |hashed: Vec<u8>, unhashed: Vec<u8>| Parts {
                hashed,
                unhashed,
                ..cases.good_parts()
            };
            let inside = parts([&hashed[..], &subpacket].concat(), id.clone());
            let outside = parts(hashed.clone(), [&id[..], &subpacket].concat());
            let is_plain = mark.is_empty();
            cases.signed(
                format!("subpacket {tag}, hashed{mark}"),
                &[inside],
                everyones.contains(&tag) && (is_plain || [2, 9, 25, 27].contains(&tag)),
            );
            cases.signed(
                format!("subpacket {tag}, unhashed{mark}"),
                &[outside],
                is_plain && [16, 33].contains(&tag),
            );
        }
    }
}

fn contents(cases: &mut Cases) {
    let other = subpacket(33, &[&[4][..], b"evil.exampleevil.exa"].concat());
    for (name, unhashed) in [
        ("key of nobody", other.clone()),
        ("id of nobody", subpacket(16, b"evil.exa")),
        ("v5 key", subpacket(33, &[&[5][..], &[b'e'; 32]].concat())),
        ("id twice", cases.keys.primary.key_id_subpacket().repeat(2)),
    ] {
        let parts = Parts {
            unhashed,
            ..cases.good_parts()
        };
        cases.signed(format!("unhashed: {name}"), &[parts], false);
    }
    cases.hashed("hashed: key of nobody", &other, false);
    let filled = |size: usize| notation("fill@example.org", &"x".repeat(size));
    cases.hashed("notation of 3 KB", &filled(3_000), true);
    for size in [5_000, 30_000, 60_000] {
        cases.hashed(format!("notation of {size} bytes"), &filled(size), false);
    }
    let several = |number| notation(&format!("n{number}@example.org"), "x");
    let many: Vec<u8> = (0..33).flat_map(several).collect();
    cases.hashed("33 notations", &many, false);
    let day = subpacket(9, &86_400_u32.to_be_bytes());
    cases.hashed("expiry twice", &day.repeat(2), false);
    cases.hashed("time twice", &time(now() - 5), false);

    for hash in [2, 8, 9, 10, 11, 12, 14] {
        let parts = Parts {
            hash,
            ..cases.good_parts()
        };
        cases.signed(format!("hash {hash}"), &[parts], (8..=10).contains(&hash));
    }
    for kind in [0x10, 0x11, 0x12] {
        let parts = Parts {
            kind,
            ..cases.good_parts()
        };
        cases.signed(format!("type {kind:#04x}"), &[parts], true);
    }
    let parts = Parts {
        key_algorithm: 27,
        ..cases.good_parts()
    };
    cases.signed("key algorithm 27", &[parts], false);
    let length = u32::try_from(USER_ID.len()).expect("short").to_be_bytes();
    let over = [&[0xb4][..], &length, USER_ID].concat();
    let parts = cases.good_parts();
    let framed = cases.keys.framed(1);
    let maker = &mut cases.keys.primary;
    maker.message = [framed, over].concat();
    let (mut head, numbers) = maker.halves(&parts);
    maker.message = MANIFEST.to_vec();
    *head.last_mut().expect("not empty") ^= 1;
    let changed = [with_tag(13, USER_ID), packet(&[head, numbers].concat())].concat();
    cases.push("other beginning of the digest", &[changed], false);
    let good = cases.keys.user_id(USER_ID, &[parts]);
    cases.push("good", &[good], true);
}

/// Several parts, and several signatures over one.
fn parts(cases: &mut Cases) {
    for (name, id, is_accepted) in [
        ("2048 bytes", vec![b'u'; 2048], true),
        ("2049 bytes", vec![b'u'; 2049], false),
        ("two lines", b"m1\nm2".to_vec(), false),
        ("an escape", b"a\x1b[2Jb".to_vec(), false),
        ("other text than UTF-8", b"\xff\xfe".to_vec(), false),
    ] {
        let part = cases.keys.user_id(&id, &[cases.good_parts()]);
        cases.push(format!("user id of {name}"), &[part], is_accepted);
    }
    let dated = |cases: &Cases, kind: u8, at: u32, use_of_key: u8| Parts {
        hashed: [
            time(at),
            cases.keys.primary.fingerprint_subpacket(),
            flags(use_of_key),
        ]
        .concat(),
        ..cases.keys.parts(kind, &[])
    };
    let soon = now() + 20 * 60;
    for (name, first, second, is_accepted) in [
        ("for the same", BOTH, dated(cases, 0x13, now(), BOTH), true),
        ("for others, new", BOTH, dated(cases, 0x13, soon, 1), false),
        (
            "for others, old",
            1,
            dated(cases, 0x13, now() - 60, BOTH),
            false,
        ),
        (
            "in twenty minutes",
            BOTH,
            dated(cases, 0x13, soon, BOTH),
            true,
        ),
        (
            "in an hour",
            BOTH,
            dated(cases, 0x13, now() + 3600, BOTH),
            false,
        ),
    ] {
        let first = cases.keys.parts(0x13, &flags(first));
        let one = cases.keys.user_id(USER_ID, std::slice::from_ref(&first));
        let other = cases.keys.user_id(b"m2", std::slice::from_ref(&second));
        cases.push(format!("user ids {name}"), &[one, other], is_accepted);
        cases.signed(format!("twice, {name}"), &[first, second], false);
    }
    let revoked = dated(cases, 0x30, now(), 0);
    let revoked = Parts {
        hashed: revoked.hashed[..revoked.hashed.len() - 3].to_vec(),
        ..revoked
    };
    let one = cases.keys.user_id(USER_ID, &[cases.good_parts()]);
    let other = cases
        .keys
        .user_id(b"m2", &[cases.good_parts(), revoked.clone()]);
    cases.push("a user id that is revoked", &[one, other], true);
    let again = [cases.good_parts(), revoked.clone(), revoked];
    cases.signed("revoked twice", &again, false);

    let direct = cases.keys.parts(0x1f, &flags(BOTH));
    let direct = packet(&cases.keys.over(&[], &direct));
    cases.push("no user id", std::slice::from_ref(&direct), true);
    let one = cases.keys.user_id(USER_ID, &[cases.good_parts()]);
    cases.push("itself and a user id", &[direct.clone(), one], true);
    let one = cases.keys.parts(0x13, &flags(1));
    let one = cases.keys.user_id(USER_ID, &[one]);
    cases.push("itself and a user id for others", &[direct, one], false);
}

fn subkeys(cases: &mut Cases) {
    let embedded = |value: &[u8]| subpacket(32, value);
    let own = cases.keys.embedded(&[]);
    let binding = |cases: &Cases, hashed: &[u8], unhashed: &[u8]| {
        let parts = cases.keys.parts(0x18, &[&flags(2), hashed].concat());
        let unhashed = [&parts.unhashed, unhashed].concat();
        Parts { unhashed, ..parts }
    };
    let unhashed = binding(cases, &[], &embedded(&own));
    cases.subkey("subkey", &unhashed, true);
    let hashed = binding(cases, &embedded(&own), &[]);
    cases.subkey("subkey, hashed", &hashed, true);
    let text = notation("x@example.org", "download from https://evil.example");
    let mut changed = own.clone();
    let last = changed.len() - 1;
    changed[last] ^= 1;
    let with_text = cases.keys.embedded(&text);
    for (name, value) in [
        ("with text of nobody", with_text),
        ("by nobody", changed),
        ("and bytes behind it", [&own[..], b"evil"].concat()),
    ] {
        // As it would be for a key that signs, and for one that does not.
        let signs = binding(cases, &[], &embedded(&value));
        cases.subkey(&format!("subkey, embedded {name}"), &signs, false);
        cases.unused_subkey(&format!("embedded {name}"), &embedded(&value), false);
    }
    cases.unused_subkey("embedded", &embedded(&own), true);
    let none = binding(cases, &[], &[]);
    cases.subkey("subkey, not embedded", &none, false);
    let twice = binding(cases, &[], &embedded(&own).repeat(2));
    cases.subkey("subkey, embedded twice", &twice, false);
}

// ---- Judges ----

/// The keyring of a release, if H accepts the certificate at `grant` and the signature at `sign`.
fn ours(bytes: &[u8], signature: &[u8]) -> Result<Vec<u8>, String> {
    let now = Timestamp::now();
    let certificate = Certificate::parse_own(bytes).map_err(|error| error.to_string())?;
    let kept = certificate.armored();
    assert!(Certificate::parse_own(kept.as_bytes()).is_ok(), "{kept}");
    let times = certificate.check_times(now);
    times.map_err(|error| error.to_string())?;
    let keys = certificate.signing_keys(now);
    keys.map_err(|error| error.to_string())?;
    let signature = DetachedSignature::parse_evidence(signature).expect("a signature");
    let state = HashState::of(MANIFEST, HashAlgorithm::Sha256);
    let signed = signature.check(&certificate, &state, "build.manifest", now);
    signed.map_err(|error| error.to_string())?;
    Ok(certificate.binary())
}

/// Whether gpgv and sqv verify the signature with it an hour from now.
fn theirs(folder: &Path, keyring: &[u8], signature: &[u8]) -> [bool; 2] {
    fs::write(folder.join("keyring.pgp"), keyring).expect("written");
    fs::write(folder.join("manifest"), MANIFEST).expect("written");
    fs::write(folder.join("manifest.sig"), signature).expect("written");
    [("gpgv", "./keyring.pgp"), ("sqv", "keyring.pgp")].map(|(program, keyring)| {
        let mut command = Command::new("faketime");
        let later = ["-f", "+1h", program, "--keyring", keyring];
        command.args(later).args(["manifest.sig", "manifest"]);
        clean_environment(&mut command, folder).current_dir(folder);
        command.output().expect("faketime").status.success()
    })
}

#[test]
fn no_certificate_is_accepted_that_gpgv_or_sqv_refuse() {
    if !equipped() {
        return;
    }
    let world = World::new();
    let folder = world.new_folder("judges");
    let mut cases = Cases {
        keys: Keys::new(),
        all: Vec::new(),
    };
    subpackets(&mut cases);
    contents(&mut cases);
    parts(&mut cases);
    subkeys(&mut cases);
    assert!(cases.all.len() > 200, "only {}", cases.all.len());
    let mut wrong = String::new();
    for case in &cases.all {
        let ours = ours(&case.bytes, &case.signature);
        let theirs = ours
            .as_ref()
            .ok()
            .map(|keyring| theirs(&folder, keyring, &case.signature));
        if ours.is_ok() != case.is_accepted || theirs.is_some_and(|theirs| theirs != [true; 2]) {
            let why = ours.err().unwrap_or_default();
            wrong += &format!("{}: gpgv, sqv {theirs:?} {why}\n", case.name);
        }
    }
    assert!(
        wrong.is_empty(),
        "of {} certificates:\n{wrong}",
        cases.all.len()
    );
}

#[test]
fn the_certificates_that_gpg_and_sq_make_are_accepted() {
    if !equipped() || !have(&["gpg"]) {
        return;
    }
    let world = World::new();
    let folder = world.new_folder("judges");
    let gpg = Keyring::new(&world.at("gnupg"));
    let key = gpg.make_key("m1 <m1@example.org>", "2d");
    gpg.add_subkey(&key, "1d");
    let unprotected: Arguments<'_> = &[&"--pinentry-mode", &"loopback", &"--passphrase", &""];
    let more: [Arguments<'_>; 4] = [
        &[&"--quick-add-uid", &key, &"Émile <m2@example.org>"],
        &[&"--quick-set-expire", &key, &"3d"],
        &[&"--quick-set-primary-uid", &key, &"Émile <m2@example.org>"],
        &[&"--quick-revoke-uid", &key, &"m1 <m1@example.org>"],
    ];
    for arguments in more {
        gpg.run(&[unprotected, arguments].concat());
    }
    let made = world.at("made.asc");
    gpg.run(&[&"--armor", &"--output", &made, &"--export", &key]);
    let signature = world.at("made.sig");
    let manifest = folder.join("manifest");
    fs::write(&manifest, MANIFEST).expect("written");
    gpg.run(&[&"--output", &signature, &"--detach-sign", &manifest]);
    let read = |path: &Path| fs::read(path).expect("what it made");
    let keyring = ours(&read(&made), &read(&signature)).expect("accepted");
    assert_eq!(theirs(&folder, &keyring, &read(&signature)), [true; 2]);

    if have(&["sq"]) {
        let secret = world.at("sq.key");
        let generate: Arguments<'_> = &[
            &"key",
            &"generate",
            &"--userid",
            &"m1 <m1@example.org>",
            &"--export",
            &secret,
        ];
        tool("sq", generate, &world.at("."));
        let cert = pgp::secret_key(&secret);
        let signature = pgp::detached(&cert, MANIFEST);
        let public = written(&cert.strip_secret_key_material());
        let keyring = ours(&public, &signature).expect("accepted");
        assert_eq!(theirs(&folder, &keyring, &signature), [true; 2]);
    }
}

fn written(cert: &Cert) -> Vec<u8> {
    let packets = cert.clone().into_packets();
    let packets = packets.map(|it: Packet| it.to_vec().expect("memory"));
    packets.flatten().collect()
}
