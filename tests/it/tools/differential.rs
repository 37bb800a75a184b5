//! Signatures as nobody's tool makes them: H accepts nothing that gpgv or sqv refuse an hour later,
//! and everything that gpg, sq and `attest` make.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use countersign::domain::evidence::EvidenceKind;
use countersign::domain::grant::Grant;
use countersign::domain::time::Timestamp;
use countersign::openpgp::{Certificate, DetachedSignature};
use countersign::steps::evidence::builders::Builders;
use countersign::steps::evidence::kept::kept;
use countersign::steps::evidence::{Files, MacCheck, check};
use sequoia_openpgp as openpgp;

use openpgp::cert::{CertBuilder, CipherSuite};
use openpgp::crypto::{KeyPair, Signer as _};
use openpgp::packet::key::{SecretParts, UnspecifiedRole};
use openpgp::serialize::MarshalInto as _;
use openpgp::types::HashAlgorithm;
use openpgp::{Cert, Profile};

use crate::common::keyring::Keyring;
use crate::common::world::{BUILDER, Granted, World};
use crate::common::{Arguments, can_travel, clean_environment, have, openpgp as pgp};

/// One signature, and whether H accepts it.
struct Case {
    name: String,
    bytes: Vec<u8>,
    is_accepted: bool,
}
/// What a tool that is not ours says of a signature, an hour from now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Verdicts {
    gpgv: bool,
    sqv: bool,
}

/// A grant, its manifest, and a key of its builder.
struct Bench {
    grant: Grant,
    manifest: Vec<u8>,
    folder: PathBuf,
    maker: Maker,
}

/// A key that signs whatever it is given.
pub(super) struct Maker {
    pair: KeyPair,
    pub(super) fingerprint: [u8; 20],
    pub(super) born: u32,
    pub(super) message: Vec<u8>,
}

/// The parts of a v4 signature, each of them as somebody may want it.
#[derive(Clone)]
pub(super) struct Parts {
    pub(super) kind: u8,
    pub(super) key_algorithm: u8,
    pub(super) hash: u8,
    pub(super) hashed: Vec<u8>,
    pub(super) unhashed: Vec<u8>,
}

const SHA256: u8 = 8;
const EDDSA: u8 = 22;

pub(super) fn now() -> u32 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    u32::try_from(now.expect("after 1970").as_secs()).expect("before 2106")
}

// ---- Bytes ----

pub(super) fn packet(body: &[u8]) -> Vec<u8> {
    [&[0xc2][..], &new_length(body.len()), body].concat()
}

/// A length as a packet of the new format and a subpacket have it.
fn new_length(length: usize) -> Vec<u8> {
    match length {
        0..=191 => vec![byte(length)],
        192..=8383 => {
            let [high, low] = two(length - 192);
            vec![high + 192, low]
        }
        _ => [&[255][..], &four(length)].concat(),
    }
}

fn byte(number: usize) -> u8 {
    u8::try_from(number).expect("one byte")
}

pub(super) fn two(number: usize) -> [u8; 2] {
    u16::try_from(number).expect("two bytes").to_be_bytes()
}

pub(super) fn four(number: usize) -> [u8; 4] {
    u32::try_from(number).expect("four bytes").to_be_bytes()
}

pub(super) fn subpacket(tag: u8, value: &[u8]) -> Vec<u8> {
    [&new_length(value.len() + 1)[..], &[tag], value].concat()
}

pub(super) fn critical(tag: u8, value: &[u8]) -> Vec<u8> {
    subpacket(tag | 0x80, value)
}

pub(super) fn time(at: u32) -> Vec<u8> {
    subpacket(2, &at.to_be_bytes())
}

pub(super) fn notation_as(flags: [u8; 4], name: &[u8], value: &[u8]) -> Vec<u8> {
    let lengths = [two(name.len()), two(value.len())].concat();
    [&flags, &lengths[..], name, value].concat()
}

pub(super) fn notation(name: &str, value: &str) -> Vec<u8> {
    subpacket(
        20,
        &notation_as([0x80, 0, 0, 0], name.as_bytes(), value.as_bytes()),
    )
}

fn number(bytes: &[u8]) -> Vec<u8> {
    let first = bytes
        .iter()
        .position(|byte| *byte != 0)
        .unwrap_or(bytes.len());
    let bytes = &bytes[first..];
    let bits = bytes
        .first()
        .map_or(0, |first| bytes.len() * 8 - first.leading_zeros() as usize);
    [&two(bits)[..], bytes].concat()
}

impl Maker {
    fn of(cert: &Cert, message: &[u8]) -> Self {
        Self::with(signing_key(cert), message)
    }

    pub(super) fn with(
        key: openpgp::packet::Key<SecretParts, UnspecifiedRole>,
        message: &[u8],
    ) -> Self {
        let born = key.creation_time().duration_since(UNIX_EPOCH);
        Self {
            fingerprint: key.fingerprint().as_bytes().try_into().expect("a v4 key"),
            born: u32::try_from(born.expect("after 1970").as_secs()).expect("before 2106"),
            pair: key.into_keypair().expect("an unprotected key"),
            message: message.to_vec(),
        }
    }

    pub(super) fn fingerprint_subpacket(&self) -> Vec<u8> {
        subpacket(33, &[&[4][..], &self.fingerprint].concat())
    }

    fn key_id(&self) -> [u8; 8] {
        self.fingerprint[12..].try_into().expect("8 bytes")
    }

    pub(super) fn key_id_subpacket(&self) -> Vec<u8> {
        subpacket(16, &self.key_id())
    }

    /// As gpg makes it.
    pub(super) fn parts(&self) -> Parts {
        Parts {
            kind: 0,
            key_algorithm: self.pair.public().pk_algo().into(),
            hash: SHA256,
            hashed: [self.fingerprint_subpacket(), time(now())].concat(),
            unhashed: self.key_id_subpacket(),
        }
    }

    fn digest(&mut self, hash: u8, trailer: &[u8], message: &[u8]) -> Vec<u8> {
        let algorithm = HashAlgorithm::from(hash);
        let context = algorithm
            .context()
            .or_else(|_| HashAlgorithm::SHA256.context());
        let mut context = context.expect("SHA-256 is known").for_digest();
        context.update(message);
        context.update(trailer);
        context.into_digest().expect("a digest")
    }

    fn numbers(&mut self, digest: &[u8]) -> Vec<u8> {
        // The name of the function matters to RSA alone.
        let made = self.pair.sign(HashAlgorithm::SHA256, digest);
        made.expect("a signature").to_vec().expect("memory")
    }

    /// The body of a signature up to its numbers, and those.
    pub(super) fn halves(&mut self, parts: &Parts) -> (Vec<u8>, Vec<u8>) {
        let mut head = vec![4, parts.kind, parts.key_algorithm, parts.hash];
        head.extend(two(parts.hashed.len()));
        head.extend(&parts.hashed);
        let trailer = [&head, &[4, 255][..], &four(head.len())].concat();
        let message = match parts.kind {
            1 => String::from_utf8_lossy(&self.message)
                .replace('\n', "\r\n")
                .into_bytes(),
            2 => Vec::new(),
            _ => self.message.clone(),
        };
        let digest = self.digest(parts.hash, &trailer, &message);
        head.extend(two(parts.unhashed.len()));
        head.extend(&parts.unhashed);
        head.extend(&digest[..2]);
        (head, self.numbers(&digest))
    }

    pub(super) fn body(&mut self, parts: &Parts) -> Vec<u8> {
        let (head, numbers) = self.halves(parts);
        [head, numbers].concat()
    }

    pub(super) fn signature(&mut self, parts: &Parts) -> Vec<u8> {
        packet(&self.body(parts))
    }

    pub(super) fn good(&mut self) -> Vec<u8> {
        let parts = self.parts();
        self.signature(&parts)
    }

    /// With this hashed area beside the creation time and the fingerprint.
    fn hashed(&mut self, more: &[u8]) -> Vec<u8> {
        let mut parts = self.parts();
        parts.hashed.extend(more);
        self.signature(&parts)
    }

    /// With this unhashed area beside the key id.
    fn unhashed(&mut self, more: &[u8]) -> Vec<u8> {
        let mut parts = self.parts();
        parts.unhashed.extend(more);
        self.signature(&parts)
    }

    /// With these areas and no others.
    fn areas(&mut self, hashed: &[Vec<u8>], unhashed: &[Vec<u8>]) -> Vec<u8> {
        let parts = Parts {
            hashed: hashed.concat(),
            unhashed: unhashed.concat(),
            ..self.parts()
        };
        self.signature(&parts)
    }

    /// Of version 3, 5 or 6.
    fn version(&mut self, version: u8) -> Vec<u8> {
        let parts = self.parts();
        let message = self.message.clone();
        let at = now().to_be_bytes();
        if version == 3 {
            let trailer = [&[0][..], &at].concat();
            let digest = self.digest(SHA256, &trailer, &message);
            let head = [
                &[3, 5][..],
                &trailer,
                &self.key_id(),
                &[EDDSA, SHA256],
                &digest[..2],
            ];
            let head = head.concat();
            return packet(&[head, self.numbers(&digest)].concat());
        }
        let salt = [5; 16];
        let mut head = vec![version, 0, EDDSA, SHA256];
        head.extend(four(parts.hashed.len()));
        head.extend(&parts.hashed);
        let trailer = [&head, &[version, 255][..], &four(head.len())].concat();
        let digest = self.digest(SHA256, &trailer, &[&salt[..], &message].concat());
        head.extend(four(parts.unhashed.len()));
        head.extend(&parts.unhashed);
        head.extend(&digest[..2]);
        head.extend([&[16][..], &salt].concat());
        packet(&[head, self.numbers(&digest)].concat())
    }
}

/// The first key of a certificate that signs.
fn signing_key(cert: &Cert) -> openpgp::packet::Key<SecretParts, UnspecifiedRole> {
    let policy = openpgp::policy::StandardPolicy::new();
    let mut keys = cert
        .keys()
        .with_policy(&policy, None)
        .for_signing()
        .secret();
    keys.next().expect("a signing key").key().clone()
}

// ---- Cases ----

#[derive(Default)]
struct Cases(Vec<Case>);

impl Cases {
    /// What is refused.
    fn bad(&mut self, name: impl Into<String>, bytes: Vec<u8>) {
        self.push(name.into(), bytes, false);
    }

    /// What is accepted.
    fn good(&mut self, name: impl Into<String>, bytes: Vec<u8>) {
        self.push(name.into(), bytes, true);
    }

    fn push(&mut self, name: String, bytes: Vec<u8>, is_accepted: bool) {
        self.0.push(Case {
            name,
            bytes,
            is_accepted,
        });
    }
}

fn framings(cases: &mut Cases, maker: &mut Maker) {
    let good = maker.good();
    let parts = maker.parts();
    let body = maker.body(&parts);
    let length = body.len();
    let with = |header: &[u8]| [header, &body].concat();
    cases.good("good", good.clone());
    if length < 192 {
        cases.good("header old, 1 byte", with(&[0x88, byte(length)]));
    }

    cases.good(
        "header old, 2 bytes",
        with(&[&[0x89][..], &two(length)].concat()),
    );
    cases.good(
        "header old, 4 bytes",
        with(&[&[0x8a][..], &four(length)].concat()),
    );
    cases.good(
        "header new, 5 bytes",
        with(&[&[0xc2, 255][..], &four(length)].concat()),
    );
    cases.bad("header without length", with(&[0x8b]));
    let partial = [
        &[0xc2, 224 + 6][..],
        &body[..64],
        &new_length(length - 64),
        &body[64..],
    ];
    cases.bad("header in parts", partial.concat());
    let header = |tag: u8, length: usize| [vec![tag], new_length(length)].concat();
    cases.bad("header one too long", with(&header(0xc2, length + 1)));
    cases.bad("header one too short", with(&header(0xc2, length - 1)));
    cases.bad("header of another packet", with(&header(0xc1, length)));
    cases.bad("header reserved", with(&header(0xc0, length)));

    cases.bad("empty", Vec::new());
    cases.bad("armour", pgp::armored(&good));
    let others = [
        ("signature", good.clone()),
        ("marker", b"\xca\x03PGP".to_vec()),
        ("padding", b"\xd5\x08........".to_vec()),
        ("trust", b"\xcc\x01\x01".to_vec()),
        ("literal", b"\xcb\x07b\0\0\0\0\0x".to_vec()),
        ("unknown packet", b"\xfc\x01x".to_vec()),
        ("reserved packet", b"\xc0\x01x".to_vec()),
        ("user id", b"\xcd\x05x@y.z".to_vec()),
        ("zero", vec![0]),
        ("newline", b"\n".to_vec()),
        (
            "text",
            b"download from https://evil.example instead\n".to_vec(),
        ),
        ("header alone", vec![0xc2]),
    ];
    for (name, other) in others {
        cases.bad(format!("{name} before"), [&other[..], &good].concat());
        cases.bad(format!("{name} behind"), [&good[..], &other].concat());
    }
    let mut nested = good.clone();
    for _ in 0..3 {
        let stored = [&[0][..], &nested].concat();
        nested = [vec![0xc8], new_length(stored.len()), stored].concat();
    }
    cases.bad("compressed", nested);
    for cut in [1, 2, 3, 5, 7, 20, 40, length / 2, length, length + 1] {
        cases.bad(format!("first {cut} bytes"), good[..cut].to_vec());
    }
}

/// Each kind of subpacket, in each area, critical or not.
fn subpackets(cases: &mut Cases, maker: &mut Maker) {
    let parts = maker.parts();
    let embedded = maker.body(&parts);
    let key = [&[4][..], &maker.fingerprint].concat();
    let id = maker.key_id();
    for tag in (0..=40).chain([60, 64, 99, 100, 101, 110, 127]) {
        let value: Vec<u8> = match tag {
            2 => now().to_be_bytes().to_vec(),
            3 | 9 => 86_400_u32.to_be_bytes().to_vec(),
            4 | 7 | 25 => vec![1],
            5 => vec![1, 1],
            6 => b"x\0".to_vec(),
            11 | 21 | 22 | 34 | 39 => vec![9, 8],
            12 => [&[0x80, EDDSA][..], &[1; 20]].concat(),
            16 => id.to_vec(),
            20 => notation_as([0x80, 0, 0, 0], b"x@example.org", b"text"),
            23 | 30 => vec![1],
            24 | 26 => b"https://example.org/".to_vec(),
            27 => vec![3],
            28 => b"m1 <m1@example.org>".to_vec(),
            29 => b"\0no".to_vec(),
            31 => [&[EDDSA, SHA256][..], &[0; 32]].concat(),
            32 => embedded.clone(),
            33 | 35 => key.clone(),
            37 => vec![0; 32],
            38 => [&[0][..], &[7; 60]].concat(),
            _ => b"text".to_vec(),
        };
        // What every signature has is there already; twice is a case of its own.
        let bare = |maker: &mut Maker, area: &str, one: Vec<u8>| {
            let hashed = match tag {
                2 => vec![maker.fingerprint_subpacket()],
                33 => vec![time(now())],
                _ => vec![maker.fingerprint_subpacket(), time(now())],
            };
            let unhashed = if tag == 16 {
                Vec::new()
            } else {
                vec![maker.key_id_subpacket()]
            };
            match area {
                "hashed" => maker.areas(&[hashed, vec![one]].concat(), &unhashed),
                _ => maker.areas(&hashed, &[unhashed, vec![one]].concat()),
            }
        };
        for area in ["hashed", "unhashed"] {
            let plain = bare(maker, area, subpacket(tag, &value));
            let is_ours = match tag {
                2 | 20 | 28 => area == "hashed",
                16 | 33 => true,
                _ => false,
            };
            cases.push(format!("subpacket {tag}, {area}"), plain, is_ours);
            let marked = bare(maker, area, critical(tag, &value));
            cases.push(
                format!("subpacket {tag}, {area}, critical"),
                marked,
                tag == 2 && is_ours,
            );
        }
    }
}

fn issuers(cases: &mut Cases, maker: &mut Maker) {
    let at = || time(now());
    let [key, id] = [maker.fingerprint_subpacket(), maker.key_id_subpacket()];
    let other_key = subpacket(33, &[&[4][..], &[1; 20]].concat());
    let other_id = subpacket(16, &[1; 8]);
    let no_id = subpacket(16, &[0; 8]);
    let v6 = subpacket(33, &[&[6][..], &[1; 32]].concat());
    let v5 = subpacket(33, &[&[5][..], &maker.fingerprint, &[0; 12]].concat());
    let like = [&[4][..], &[1; 12], &maker.key_id()].concat();
    let same_id = subpacket(33, &like);
    let make = |maker: &mut Maker, hashed: &[&Vec<u8>], unhashed: &[&Vec<u8>]| {
        let hashed: Vec<_> = hashed
            .iter()
            .map(|it| (*it).clone())
            .chain([at()])
            .collect();
        let unhashed: Vec<_> = unhashed.iter().map(|it| (*it).clone()).collect();
        maker.areas(&hashed, &unhashed)
    };
    cases.good("issuer: fingerprint alone", make(maker, &[&key], &[]));
    cases.good("issuer: key id alone", make(maker, &[], &[&id]));
    cases.good("issuer: both hashed", make(maker, &[&key, &id], &[]));
    cases.good("issuer: all four", make(maker, &[&key, &id], &[&key, &id]));
    cases.good("issuer: both unhashed", make(maker, &[], &[&id, &key]));
    cases.bad("issuer: none", make(maker, &[], &[]));
    cases.bad("issuer: key twice", make(maker, &[&key, &key], &[&id]));
    cases.bad("issuer: id twice", make(maker, &[&id, &key, &id], &[]));
    cases.bad(
        "issuer: key twice, unhashed",
        make(maker, &[], &[&key, &key]),
    );
    cases.bad(
        "issuer: id twice, unhashed",
        make(maker, &[&key], &[&id, &id]),
    );

    for (name, odd) in [
        ("other key", &other_key),
        ("other id", &other_id),
        ("id of zeros", &no_id),
        ("v6", &v6),
        ("v5", &v5),
        ("other key of the same id", &same_id),
    ] {
        cases.bad(
            format!("issuer: {name} first"),
            make(maker, &[odd, &key], &[&id]),
        );
        cases.bad(
            format!("issuer: {name} last"),
            make(maker, &[&key, odd], &[&id]),
        );
        cases.bad(
            format!("issuer: {name} unhashed"),
            make(maker, &[&key], &[&id, odd]),
        );
        cases.bad(
            format!("issuer: {name} unhashed first"),
            make(maker, &[&key], &[odd, &id]),
        );
        cases.bad(format!("issuer: {name} alone"), make(maker, &[odd], &[]));
        cases.bad(
            format!("issuer: {name} alone, unhashed"),
            make(maker, &[], &[odd]),
        );
    }
}

fn times(cases: &mut Cases, maker: &mut Maker) {
    let [key, id] = [maker.fingerprint_subpacket(), maker.key_id_subpacket()];
    let now = now();
    let born = maker.born;
    let mut with = |name: &str, times: &[Vec<u8>], is_accepted| {
        let made = maker.areas(
            &[std::slice::from_ref(&key), times].concat(),
            std::slice::from_ref(&id),
        );
        cases.push(format!("time: {name}"), made, is_accepted);
    };
    with("none", &[], false);

    for (name, at) in [
        ("zero", 0),
        ("the last one", u32::MAX),
        ("an hour ago", now - 3600),
        ("five minutes ago", now - 300),
        ("in five minutes", now + 300),
        ("in 29 minutes", now + 29 * 60),
        ("in 31 minutes", now + 31 * 60),
        ("in two hours", now + 7200),
        ("of the key", born),
        ("before the key", born - 1),
        ("long before the key", born - 100_000),
    ] {
        // In the grant's time, which began ten minutes ago for a slow clock, and in the key's.
        let fits = at >= born && at > now - 660 && at < now + 30 * 60;
        with(name, &[time(at)], fits);
        with(&format!("{name}, then now"), &[time(at), time(now)], false);
        with(&format!("now, then {name}"), &[time(now), time(at)], false);
    }
    with("of three bytes", &[subpacket(2, &[1, 2, 3])], false);
    with("of five bytes", &[subpacket(2, &[0, 0, 0, 0, 1])], false);
    for (name, seconds) in [("zero", 0_u32), ("a second", 1), ("a day", 86_400)] {
        let expiry = subpacket(3, &seconds.to_be_bytes());
        with(&format!("expiry of {name}"), &[time(now), expiry], false);
    }
    let both = [
        time(now),
        subpacket(3, &[0; 4]),
        subpacket(3, &[0, 0, 0, 1]),
    ];
    with("expiry twice", &both, false);
    let unhashed = [id.clone(), time(now)];
    let made = maker.areas(std::slice::from_ref(&key), &unhashed);
    cases.bad("time: unhashed alone", made);
    let unhashed = [id, subpacket(3, &[0, 0, 0, 1])];
    cases.bad(
        "time: expiry unhashed",
        maker.areas(&[key, time(now)], &unhashed),
    );
}

fn sizes(cases: &mut Cases, maker: &mut Maker) {
    let filled = |size: usize| {
        let name = "fill@example.org";
        // Header of the subpacket and of the notation.
        notation(name, &"x".repeat(size - 3 - 8 - name.len()))
    };
    let base = maker.parts().hashed.len();
    cases.good(
        "hashed area of 4096 bytes",
        maker.hashed(&filled(4096 - base)),
    );
    cases.bad(
        "hashed area of 4097 bytes",
        maker.hashed(&filled(4097 - base)),
    );
    for size in [8_000, 30_000, 60_000] {
        let private = subpacket(100, &vec![b'x'; size]);
        cases.bad(
            format!("hashed area of {size} bytes"),
            maker.hashed(&private),
        );
        let noted = [
            filled(8_000),
            notation("more@example.org", &"x".repeat(size - 8_000)),
        ];
        cases.bad(
            format!("notations of {size} bytes"),
            maker.hashed(&noted.concat()),
        );
    }
    for size in [10, 990, 1_100, 5_000, 9_990, 20_000, 60_000] {
        let private = subpacket(100, &vec![b'x'; size]);
        cases.bad(
            format!("unhashed area of {size} bytes"),
            maker.unhashed(&private),
        );
    }
    let several = |count: usize| -> Vec<u8> {
        let one = |number| notation(&format!("n{number}@example.org"), "text");
        (0..count).flat_map(one).collect()
    };
    cases.good("32 notations", maker.hashed(&several(32)));
    for count in [33, 100, 500] {
        cases.bad(format!("{count} notations"), maker.hashed(&several(count)));
    }
    let many = subpacket(100, b"x").repeat(2000);
    cases.bad("2000 subpackets", maker.hashed(&many));
    cases.bad("2000 subpackets, unhashed", maker.unhashed(&many));
}

fn notations(cases: &mut Cases, maker: &mut Maker) {
    let plain = [0x80, 0, 0, 0];
    let mut with = |name: &str, value: Vec<u8>, is_accepted| {
        let made = maker.hashed(&subpacket(20, &value));
        cases.push(format!("notation: {name}"), made, is_accepted);
    };
    with(
        "of bytes",
        notation_as([0; 4], b"x@example.org", &[0, 1, 255]),
        true,
    );
    with("empty", notation_as(plain, b"x@example.org", b""), true);
    with(
        "unicode",
        notation_as(plain, b"x@example.org", "ü".as_bytes()),
        true,
    );
    with(
        "not unicode",
        notation_as(plain, b"x@example.org", &[0xff]),
        false,
    );
    with("no name", notation_as(plain, b"", b"text"), false);
    with("without a domain", notation_as(plain, b"x", b"text"), true);
    with(
        "name with a blank",
        notation_as(plain, b"x y@example.org", b"text"),
        false,
    );
    with(
        "name with a newline",
        notation_as(plain, b"x\ny@example.org", b"text"),
        false,
    );
    with(
        "name with a zero",
        notation_as(plain, b"x\0y@example.org", b"text"),
        false,
    );
    with(
        "name not unicode",
        notation_as(plain, b"\xff@example.org", b"text"),
        false,
    );
    with(
        "name unicode",
        notation_as(plain, "ü@example.org".as_bytes(), b"text"),
        false,
    );
    with(
        "value with a zero",
        notation_as(plain, b"x@example.org", b"a\0b"),
        true,
    );
    with(
        "value with newlines",
        notation_as(plain, b"x@example.org", b"a\nb"),
        true,
    );
    for flags in [[0x40, 0, 0, 0], [0xc0, 0, 0, 0], [0, 0, 0, 1], [255; 4]] {
        let name = format!("flags {flags:02x?}");
        with(&name, notation_as(flags, b"x@example.org", b"text"), false);
    }
    let mut short = notation_as(plain, b"x@example.org", b"text");
    short.pop();
    with("one too short", short.clone(), false);
    with("one too long", [short, b"tt".to_vec()].concat(), false);
    with("header alone", vec![0x80, 0, 0, 0, 0, 1], false);
    let one = notation("x@example.org", "text");
    let twice = [one.clone(), notation("x@example.org", "other")].concat();
    cases.bad("notation: twice", maker.hashed(&twice));
    cases.bad(
        "notation: the same twice",
        maker.hashed(&[one.clone(), one].concat()),
    );
}

fn odd_areas(cases: &mut Cases, maker: &mut Maker) {
    let at = now().to_be_bytes();
    let key = maker.fingerprint_subpacket();
    let id = [maker.key_id_subpacket()];
    let long = [&[255, 0, 0, 0, 5, 2][..], &at].concat();
    cases.bad("length of 5 bytes", maker.areas(&[key.clone(), long], &id));
    let long = [&[255, 0, 0, 0, 9, 16][..], &maker.key_id()].concat();
    cases.bad(
        "length of 5 bytes, unhashed",
        maker.areas(&[key.clone(), time(now())], &[long]),
    );
    for (name, odd) in [
        ("no length", vec![0]),
        ("longer than its area", vec![5, 100]),
        ("half a length", vec![200]),
        ("a quarter of a length", vec![255, 0]),
        ("endless", vec![255; 5]),
        ("type alone", vec![1, 100]),
    ] {
        cases.bad(format!("subpacket of {name}"), maker.hashed(&odd));
        cases.bad(
            format!("subpacket of {name}, unhashed"),
            maker.unhashed(&odd),
        );
    }
    let parts = maker.parts();
    let good = maker.good();
    // The length of the hashed area, one more and one less than it is.
    for by in [1, 255] {
        let mut changed = good.clone();
        changed[7] = changed[7].wrapping_add(by);
        cases.bad(format!("hashed length and {by}"), changed);
        let mut changed = good.clone();
        let at = 2 + 6 + parts.hashed.len() + 1;
        changed[at] = changed[at].wrapping_add(by);
        cases.bad(format!("unhashed length and {by}"), changed);
    }
}

fn algorithms(cases: &mut Cases, maker: &mut Maker) {
    for version in [3, 5, 6] {
        cases.bad(format!("version {version}"), maker.version(version));
    }
    for kind in [
        1, 2, 0x10, 0x13, 0x18, 0x19, 0x1f, 0x20, 0x28, 0x30, 0x40, 0x50, 0x60, 255,
    ] {
        let parts = Parts {
            kind,
            ..maker.parts()
        };
        cases.bad(format!("type {kind:#04x}"), maker.signature(&parts));
    }
    for hash in [0, 1, 2, 3, 4, 9, 10, 11, 12, 14, 99, 255] {
        let parts = Parts {
            hash,
            ..maker.parts()
        };
        let is_ours = hash == 9 || hash == 10;
        cases.push(format!("hash {hash}"), maker.signature(&parts), is_ours);
    }
    for key_algorithm in [1, 2, 3, 16, 17, 19, 20, 25, 27, 28, 99] {
        let parts = Parts {
            key_algorithm,
            ..maker.parts()
        };
        cases.bad(
            format!("key algorithm {key_algorithm}"),
            maker.signature(&parts),
        );
    }
}

fn numbers(cases: &mut Cases, maker: &mut Maker) {
    let parts = maker.parts();
    let (head, made) = maker.halves(&parts);
    let size = |at: usize| usize::from(u16::from_be_bytes([made[at], made[at + 1]])).div_ceil(8);
    let (r, s) = made.split_at(2 + size(0));
    let (r, s) = (&r[2..], &s[2..]);
    let plain = |number: &[u8]| number.to_vec();
    let counted = |number: &[u8], bits: usize| [&two(bits)[..], number].concat();
    let real = |number: &[u8]| number.len() * 8 - number[0].leading_zeros() as usize;
    let group = {
        // The order of the group of Ed25519, little-endian, added once to S.
        let order = [
            0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9,
            0xde, 0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
        ];
        let padded = [&vec![0; 32 - s.len()][..], s].concat();
        let mut carry = 0_u16;
        let sum: Vec<u8> = padded
            .iter()
            .zip(order)
            .map(|(one, other)| {
                carry += u16::from(*one) + other;
                let low = carry.to_be_bytes()[1];
                carry >>= 8;
                low
            })
            .collect();
        sum
    };
    let mut with = |name: &str, numbers: Vec<u8>| {
        cases.bad(
            format!("numbers: {name}"),
            packet(&[head.clone(), numbers].concat()),
        );
    };
    let zero_before = |number: &[u8]| counted(&[&[0], number].concat(), number.len() * 8 + 8);
    with(
        "zero before the first",
        [zero_before(r), number(s)].concat(),
    );
    with(
        "zero before the second",
        [number(r), zero_before(s)].concat(),
    );
    with(
        "zero before both",
        [zero_before(r), zero_before(s)].concat(),
    );
    for (name, bits) in [("one bit less", real(r) - 1), ("whole bytes", r.len() * 8)] {
        if bits != real(r) {
            with(
                &format!("{name} in the first"),
                [counted(r, bits), number(s)].concat(),
            );
        }
    }
    for (name, bits) in [("one bit less", real(s) - 1), ("whole bytes", s.len() * 8)] {
        if bits != real(s) {
            with(
                &format!("{name} in the second"),
                [number(r), counted(s, bits)].concat(),
            );
        }
    }
    with(
        "the group's order more",
        [number(r), number(&group)].concat(),
    );
    with("none", Vec::new());
    with("one", number(r));
    with("zeros", [number(&[]), number(&[])].concat());
    with("exchanged", [number(s), number(r)].concat());
    with("huge", [counted(&[255; 8192], 65_535), number(s)].concat());
    with("without lengths", [plain(r), plain(s)].concat());
    with("three", [number(r), number(s), number(&[5])].concat());
    for size in [1, 2, 100, 60_000] {
        let text = b"download from https://evil.example "
            .iter()
            .cycle()
            .take(size);
        let text: Vec<u8> = text.copied().collect();
        with(
            &format!("{size} bytes behind"),
            [number(r), number(s), text].concat(),
        );
    }
    let mut prefix = head.clone();
    *prefix.last_mut().expect("not empty") ^= 1;
    cases.bad(
        "other beginning of the digest",
        packet(&[prefix, made.clone()].concat()),
    );
    let mut prefix = head.clone();
    let at = prefix.len() - 2;
    prefix[at] ^= 0x80;
    cases.bad(
        "other first bit of the digest",
        packet(&[prefix, made].concat()),
    );
}

/// One bit changed in each byte.
fn flips(cases: &mut Cases, maker: &mut Maker) {
    let good = maker.good();
    for at in 0..good.len() {
        let mut changed = good.clone();
        changed[at] ^= 1 << (at % 8);
        cases.bad(format!("byte {at} changed"), changed);
    }
}

// ---- Judges ----

impl Bench {
    /// A grant for a key that signs as `cert`'s does, whose folder has its keyring.
    fn new(world: &World, granted: &Granted, cert: &Cert) -> Self {
        let build = world.build(&[("foo.txt", b"text\n")]);
        let manifest = (granted.header() + &build.entries()).into_bytes();
        let grant = Grant::parse(&fs::read(&granted.grant).expect("the grant")).expect("a grant");
        assert_eq!(grant.terms().kind(), EvidenceKind::SignedManifest);
        let folder = world.new_folder("bench");
        let certificate = Certificate::parse(grant.terms().builders[0].key.as_bytes());
        let keyring = certificate.expect("a certificate").binary();
        fs::write(folder.join("keyring.pgp"), keyring).expect("written");
        fs::write(folder.join("manifest"), &manifest).expect("written");
        let maker = Maker::of(cert, &manifest);
        Self {
            grant,
            manifest,
            folder,
            maker,
        }
    }

    /// What H keeps of a signature, if it accepts it.
    fn ours(&self, signature: &[u8]) -> Result<Vec<u8>, String> {
        let builders = Builders::of(self.grant.terms()).expect("its builders");
        let kept = kept("build.manifest.sig", signature.to_vec());
        let files = Files::from([
            ("build.manifest".to_owned(), self.manifest.clone()),
            ("build.manifest.sig".to_owned(), kept.clone()),
        ]);
        let builder = BUILDER.parse().expect("a name");
        let (macs, now) = (MacCheck::Elsewhere, Timestamp::now());
        let checked = check(&self.grant, &builders, &builder, &files, macs, now);
        checked.map(|_| kept).map_err(|error| error.to_string())
    }

    fn theirs(&self, number: usize, signature: &[u8]) -> Verdicts {
        let file = format!("{number}.sig");
        fs::write(self.folder.join(&file), signature).expect("written");
        let says = |program: &str, keyring: &str| {
            let mut command = Command::new("faketime");
            command.args([
                "-f",
                "+1h",
                program,
                "--keyring",
                keyring,
                &file,
                "manifest",
            ]);
            clean_environment(&mut command, &self.folder).current_dir(&self.folder);
            command.output().expect("faketime").status.success()
        };
        Verdicts {
            gpgv: says("gpgv", "./keyring.pgp"),
            sqv: says("sqv", "keyring.pgp"),
        }
    }

    /// Judges all of them, and prints a table if a judgement is wrong.
    fn judge(&self, cases: &Cases) -> BTreeMap<String, (bool, Verdicts)> {
        let halves = cases.0.len().div_ceil(2);
        let judged: Vec<_> = std::thread::scope(|scope| {
            let parts = cases.0.chunks(halves).enumerate();
            let parts = parts.map(|(part, cases)| {
                scope.spawn(move || {
                    let cases = cases.iter().enumerate();
                    let judged = cases.map(|(at, case)| self.verdict(part * halves + at, case));
                    judged.collect::<Vec<_>>()
                })
            });
            let parts: Vec<_> = parts.collect();
            let ended = parts.into_iter().map(|part| part.join().expect("no panic"));
            ended.flatten().collect()
        });
        let wrong = judged
            .iter()
            .filter(|(_, _, line)| line.starts_with("WRONG"))
            .count();
        let table: String = judged
            .iter()
            .map(|(_, _, line)| line.clone() + "\n")
            .collect();
        assert_eq!(wrong, 0, "of {} signatures:\n{table}", judged.len());
        let named = judged.into_iter().zip(&cases.0);
        named
            .map(|((ours, theirs, _), case)| (case.name.clone(), (ours, theirs)))
            .collect()
    }

    fn verdict(&self, number: usize, case: &Case) -> (bool, Verdicts, String) {
        let ours = self.ours(&case.bytes);
        let theirs = self.theirs(number, &case.bytes);
        let all = Verdicts {
            gpgv: true,
            sqv: true,
        };
        let is_right = match &ours {
            Ok(kept) => case.is_accepted && theirs == all && self.theirs(number, kept) == all,
            Err(_) => !case.is_accepted,
        };

        // An approval has the same rules, in binary form and in armour.
        let packet = |parsed: Result<DetachedSignature, _>| parsed.ok().map(|it| it.to_packet());
        let evidence = packet(DetachedSignature::parse_evidence(&case.bytes));
        let armoured = pgp::armored(&case.bytes);
        let as_approval = packet(DetachedSignature::parse_approval(&armoured));
        let mark = if is_right && evidence == as_approval {
            "     "
        } else {
            "WRONG"
        };
        let word = |yes| if yes { "yes" } else { "no " };
        let line = format!(
            "{mark} {:40} H {} gpgv {} sqv {}  {}",
            case.name,
            word(ours.is_ok()),
            word(theirs.gpgv),
            word(theirs.sqv),
            ours.as_ref().err().map_or("", String::as_str),
        );
        (ours.is_ok(), theirs, line)
    }
}

pub(super) fn equipped() -> bool {
    can_travel() && have(&["gpgv", "sqv"])
}

/// A key that its builder made, and the bench for it.
fn enrolled(world: &World, cert: &Cert, name: &str) -> Bench {
    let public = world.at(name);
    fs::write(&public, cert.armored().to_vec().expect("armour")).expect("written");
    Bench::new(world, &world.grant_enrolled(&public, &[]), cert)
}

pub(super) fn key_of(suite: CipherSuite, age: u64) -> CertBuilder<'static> {
    CertBuilder::new()
        .set_profile(Profile::RFC4880)
        .expect("OpenPGP v4 is known")
        .set_cipher_suite(suite)
        .set_creation_time(SystemTime::now() - Duration::from_secs(age))
        .add_userid("m1 <m1@example.org>")
}

#[test]
fn nothing_is_accepted_that_gpgv_or_sqv_refuse() {
    if !equipped() {
        return;
    }
    let world = World::ready();
    let granted = world.grant();
    let mut bench = Bench::new(&world, &granted, &pgp::secret_key(&granted.key));
    let maker = &mut bench.maker;
    let mut cases = Cases::default();
    framings(&mut cases, maker);
    subpackets(&mut cases, maker);
    issuers(&mut cases, maker);
    times(&mut cases, maker);
    sizes(&mut cases, maker);
    notations(&mut cases, maker);
    odd_areas(&mut cases, maker);
    algorithms(&mut cases, maker);
    numbers(&mut cases, maker);
    flips(&mut cases, maker);
    assert!(cases.0.len() > 500, "only {} signatures", cases.0.len());
    let verdicts = bench.judge(&cases);
    // Each of the judges refuses something that another accepts, or there would be no need of this.
    let differs = |by: fn(&Verdicts) -> bool| verdicts.values().any(|(_, theirs)| by(theirs));
    assert!(differs(|theirs| theirs.gpgv && !theirs.sqv));
    assert!(differs(|theirs| !theirs.gpgv && theirs.sqv));
}

/// The same for keys that a builder made: other algorithms, and subkeys, of which one is younger
/// than the signature.
#[test]
fn nothing_by_other_keys_is_accepted_that_gpgv_or_sqv_refuse() {
    if !equipped() {
        return;
    }
    let world = World::ready();
    let hour = 3600;
    for (name, builder) in [
        ("p256", key_of(CipherSuite::P256, hour).add_signing_subkey()),
        (
            "rsa2048",
            key_of(CipherSuite::RSA2k, hour).add_signing_subkey(),
        ),
        (
            "young",
            key_of(CipherSuite::Cv25519, 10).add_signing_subkey(),
        ),
    ] {
        let (cert, _) = builder.generate().expect("a key");
        let mut bench = enrolled(&world, &cert, name);
        let maker = &mut bench.maker;
        let mut cases = Cases::default();
        framings(&mut cases, maker);
        times(&mut cases, maker);
        issuers(&mut cases, maker);
        for size in [1, 2, 60_000] {
            let parts = maker.parts();
            let body = [maker.body(&parts), vec![b'x'; size]].concat();
            cases.bad(format!("{size} bytes behind the numbers"), packet(&body));
        }
        let parts = maker.parts();
        for by in [-1_i16, 1, 8] {
            let (head, numbers) = maker.halves(&parts);
            let bits = i16::from_be_bytes([numbers[0], numbers[1]]) + by;
            let changed = [&head, &bits.to_be_bytes()[..], &numbers[2..]].concat();
            cases.bad(format!("{by} bits more"), packet(&changed));
        }
        bench.judge(&cases);
    }
}

/// What people's tools make is accepted, and so is what `attest` makes.
#[test]
fn what_gpg_sq_and_attest_make_is_accepted() {
    if !equipped() || !have(&["gpg"]) {
        return;
    }
    let world = World::ready();
    let granted = world.grant();
    let key = pgp::secret_key(&granted.key);
    let bench = Bench::new(&world, &granted, &key);
    let manifest = bench.folder.join("manifest");
    let mut cases = Cases::default();
    let gpg = Keyring::new(&world.at("gnupg"));
    gpg.run(&[&"--import", &granted.key]);
    for (number, options) in [
        &[] as Arguments<'_>,
        &[&"--digest-algo", &"SHA384"],
        &[&"--digest-algo", &"SHA512"],
        &[
            &"--set-notation",
            &"a@example.org=b",
            &"--set-notation",
            &"c@example.org=d",
        ],
        &[&"--local-user", &"build key of m1 for foo 1.2.3"],
        &[&"--compliance", &"openpgp"],
        &[&"--rfc2440"],
        &[&"--disable-signer-uid"],
        &[&"--sender", &"m1@example.org"],
    ]
    .into_iter()
    .enumerate()
    {
        let made = world.at(&format!("gpg-{number}.sig"));
        let sign: Arguments<'_> = &[&"--output", &made, &"--detach-sign", &manifest];
        gpg.run(&[options, sign].concat());
        cases.good(
            format!("gpg {number}"),
            fs::read(made).expect("a signature"),
        );
    }
    cases.good(
        "the library",
        pgp::detached(&pgp::secret_key(&granted.key), &bench.manifest),
    );
    if have(&["sq"]) {
        let made = world.at("sq.sig");
        let sign: Arguments<'_> = &[
            &"sign",
            &"--binary",
            &"--detached",
            &"--signer-key",
            &granted.key,
            &"--notation",
            &"a@example.org",
            &"b",
            &"--output",
            &made,
            &manifest,
        ];
        crate::common::tool("sq", sign, &world.at("."));
        cases.good("sq", fs::read(made).expect("a signature"));
    }
    bench.judge(&cases);

    let (granted, build) = world.attested();
    let bytes = |name: &str| fs::read(build.at(name)).expect("what attest made");
    let attested = bytes("build.manifest.sig");
    assert_eq!(kept("build.manifest.sig", attested.clone()), attested);
    let mut bench = Bench::new(&world, &granted, &key);
    bench.manifest = bytes("build.manifest");
    fs::write(bench.folder.join("manifest"), &bench.manifest).expect("written");
    let mut cases = Cases::default();
    cases.good("attest", attested);
    bench.judge(&cases);
}
