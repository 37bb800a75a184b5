//! Attacks that once worked: each is what somebody tried for real, and what stops it now.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::common::world::{World, entry};
use crate::common::{can_travel, clean_environment, copy_tree, have, listing, openpgp, tool};
use sequoia_openpgp::packet::signature::SignatureBuilder;
use sequoia_openpgp::packet::signature::subpacket::{Subpacket, SubpacketValue};
use sequoia_openpgp::serialize::SerializeInto;
use sequoia_openpgp::types::SignatureType;
use sequoia_openpgp::{Cert, Packet};

// ---- At the location ----

/// Each release would be found there already, and its submission removed.
#[test]
fn inbox_and_releases_are_one_folder() {
    let world = World::ready();
    let release = world.signed();
    let admit = |inbox: &Path, releases: &Path| {
        world
            .countersign(&[&"admit", &"--cert", &world.certificate(), &inbox, &releases])
            .usage("at once");
        assert!(release.join("SHA256SUMS").exists());
    };
    let alias = world.at("alias");
    symlink(world.inbox(), &alias).expect("linked");
    admit(&world.inbox(), &world.inbox());
    admit(&alias, &world.inbox());
    admit(&world.inbox(), &alias);
}

/// The arguments the wrong way round, or one level too deep: public releases would move away, or
/// notes appear in them.
#[test]
fn folders_of_admit_mistaken() {
    let world = World::ready();
    world.signed();
    world.admit().ok();
    let public = world.releases().join("foo-1.2.3");
    let admit = |inbox: &Path, releases: &Path, reason: &str| {
        let before = crate::common::tree(&world.releases());
        world
            .countersign(&[&"admit", &"--cert", &world.certificate(), &inbox, &releases])
            .usage(reason);
        assert_eq!(crate::common::tree(&world.releases()), before);
    };
    admit(&world.releases(), &world.inbox(), "is not an inbox");
    admit(&public, &world.inbox(), "is not an inbox");
    admit(&world.inbox(), &public, "is a release itself");
    assert_eq!(listing(&world.inbox()), ["foo-1.2.3.admitted"]);
}

/// Two builds under one version: gpgv would accept either, so the approver of the second is shown
/// the first.
#[test]
fn version_granted_twice() {
    let world = World::ready();
    let first = world.grant();
    let folder = world.new_folder("second");
    let said = world
        .host(&[&"grant", &"foo", &"1.2.3", &"-o", &folder])
        .ok();
    assert!(
        said.stderr
            .contains("foo 1.2.3 was granted before, in entry 6"),
        "{said:?}"
    );
    assert_ne!(first.terms()["nonce"], "");
    let said = world
        .host(&[
            &"grant",
            &"foo",
            &"1.2.4",
            &"--valid-for",
            &"3y",
            &"-o",
            &folder,
        ])
        .ok();
    assert!(!said.stderr.contains("granted before"), "{said:?}");
    assert!(
        said.stderr
            .contains("the release key expires before this grant"),
        "{said:?}"
    );
}

/// Files more than the grant allows must not cost the build its key. All of them are shown at once.
#[test]
fn name_outside_the_grant_on_the_build_machine() {
    let world = World::ready();
    let granted = world.grant_with(&[&"--artifact", &"foo*"]);
    let build = world.build(&[("foo.txt", b"text\n"), ("bar.txt", b""), ("baz.txt", b"")]);
    world.attest(&granted, &build).refused(
        "artifacts `bar.txt`, `baz.txt` are not among the names that the grant allows: `foo*`",
    );
    fs::remove_file(build.at("bar.txt")).expect("removed");
    // It is fetched too, if nobody attests it.
    let attest = || {
        world
            .countersign(&[&"attest", &"--key", &granted.key])
            .with(&[&build.at("foo.txt")])
    };
    attest().refused("would refuse what is beside the artifacts in");
    attest().refused("`baz.txt`");
    assert!(granted.key.exists());
    assert_eq!(listing(&build.folder), ["baz.txt", "foo.txt"]);
    fs::remove_file(build.at("baz.txt")).expect("removed");
    // A key beside the artifacts is gone after this, and the rest of an earlier try is replaced.
    let key = build.at("foo.key");
    fs::copy(&granted.key, &key).expect("copied");
    let manifest = granted.header() + &entry(b"other\n", "foo.txt");
    fs::write(build.at("build.manifest"), manifest).expect("written");
    world
        .countersign(&[&"attest", &"--keep-key", &"--key", &key])
        .with(&[&build.at("foo.txt")])
        .refused("`foo.key`");
    world
        .countersign(&[&"attest", &"--key", &key])
        .with(&[&build.at("foo.txt")])
        .ok();
    world.sign(&granted, &build).ok();
}

/// Text around the armour is not signed, and would be published.
#[test]
fn text_around_a_signature() {
    let world = World::ready();
    let release = world.signed();
    let path = release.join("foo.txt.asc");
    let genuine = fs::read_to_string(&path).expect("a signature");
    for rewritten in [
        format!("download from https://evil.example\n\n{genuine}"),
        format!("{genuine}trailing\n"),
        genuine.replacen("\n\n", "\nComment: evil\n\n", 1),
        format!("-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nhello\n{genuine}"),
    ] {
        fs::write(&path, rewritten).expect("rewritten");
        world
            .verify(&release)
            .refused("`foo.txt.asc`: the signature was rewritten");
        world
            .admit()
            .refused("`foo.txt.asc`: the signature was rewritten");
        assert_eq!(world.public(), [""; 0]);
    }
    fs::write(&path, genuine).expect("as it was");
    world.admit().ok();
}

/// The unhashed area is signed by nobody either, and with much in it gpgv refuses the signature.
#[test]
fn unhashed_area_of_a_release_signature() {
    let world = World::ready();
    let release = world.signed();
    let path = release.join("foo.txt.asc");
    let genuine = openpgp::dearmored(&fs::read(&path).expect("a signature"));
    let signature = with_unhashed(&genuine, 20_000);
    fs::write(&path, openpgp::armored(&signature)).expect("rewritten");
    world
        .verify(&release)
        .refused("`foo.txt.asc`: the signature has a subpacket `Private(100)`");
    world
        .admit()
        .refused("`foo.txt.asc`: the signature has a subpacket `Private(100)`");
    // Not even what gpg would put there.
    let body = openpgp::body(&genuine);
    let hashed = usize::from(u16::from_be_bytes([body[4], body[5]]));
    let (signed, rest) = body.split_at(6 + hashed);
    let issuer = openpgp::issuer(&genuine);
    let body = [signed, &[0, 10, 9, 16], &issuer, &rest[2..]].concat();
    let packet = [
        &[0xc2, 255, 0, 0][..],
        &(body.len() as u16).to_be_bytes(),
        &body,
    ]
    .concat();
    fs::write(&path, openpgp::armored(&packet)).expect("rewritten");
    world
        .admit()
        .refused("`foo.txt.asc`: the signature was rewritten");
}

/// Somebody who may write to the inbox makes the note of a refusal impossible.
#[test]
fn folder_in_place_of_a_refusals_note() {
    let world = World::ready();
    world.signed();
    fs::create_dir(world.inbox().join("aaa-1")).expect("made");
    fs::create_dir(world.inbox().join("aaa-1.refused")).expect("made");
    world
        .admit()
        .refused("aaa-1: the reason could not be written beside it");
    assert_eq!(world.public(), ["foo-1.2.3"], "the good one is not held up");
}

/// Names that would forge lines of the output or steer the terminal, on it and in the note.
#[test]
fn names_that_forge_lines_at_the_location() {
    let world = World::ready();
    let release = world.signed();
    let forged = world
        .inbox()
        .join("zzz\nfoo-9.9: admitted, signed by nobody");
    fs::create_dir(&forged).expect("made");
    fs::write(forged.join("SHA256SUMS"), b"").expect("written");
    fs::write(release.join("x\u{1b}[2J"), b"").expect("written");
    let said = world.admit().refused("zzz\\u{a}foo-9.9");
    let printed = format!("{}{}", said.stdout, said.stderr);
    assert!(
        !printed.lines().any(|line| line.starts_with("foo-9.9")),
        "{printed}"
    );
    let note = fs::read_to_string(world.inbox().join("foo-1.2.3.refused")).expect("a note");
    assert!(
        note.contains("x\\u{1b}[2J") && !note.contains('\u{1b}'),
        "{note:?}"
    );
}

/// A sparse file takes no space in the inbox, and all of it among the releases.
#[test]
fn artifact_larger_than_the_grant_allows_at_the_location() {
    let world = World::ready();
    let release = world.signed();
    let file = fs::OpenOptions::new()
        .write(true)
        .open(release.join("foo.txt"))
        .expect("opened");
    file.set_len(1 << 40).expect("made sparse");
    world
        .admit()
        .refused("`foo.txt` has 1099511627776 bytes, but `evidence/release.json` lists 5");
    world
        .verify(&release)
        .refused("`foo.txt` has 1099511627776 bytes, but `evidence/release.json` lists 5");
}

/// Anyone who may read the inbox can lock it as well.
#[test]
fn inbox_locked_by_another_program() {
    let world = World::ready();
    world.signed();
    let _held = locked(&world.inbox());
    world.admit().ok();
    assert_eq!(world.public(), ["foo-1.2.3"]);
}

/// One process at a time, and the other reports that at once.
#[test]
fn two_processes_admit_at_once() {
    let world = World::ready();
    world.signed();
    let lock = world.releases().join(".countersign.lock");
    world.admit().ok();
    assert_eq!(
        fs::metadata(&lock).expect("a lock").mode() & 0o777,
        0o600,
        "nobody else can lock it"
    );
    let held = locked(&lock);
    world
        .admit()
        .trouble("is in use by another countersign process");
    drop(held);
    world.admit().ok();
}

fn locked(path: &Path) -> fs::File {
    let file = fs::File::open(path).expect("opened");
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).expect("locked");
    file
}

/// What a killed run copied is public to nobody. The next run of its owner removes it; of another
/// owner it goes by request alone.
#[test]
fn leftovers_of_a_killed_run() {
    let world = World::ready();
    world.signed();
    let left = [world.inbox(), world.releases()].map(|it| it.join(".countersign-killed"));
    for left in &left {
        fs::create_dir(left).expect("made");
        fs::write(left.join("half"), b"half").expect("written");
    }
    let all = |there: bool| left.iter().all(|it| it.exists() == there);
    world.admit().ok();
    assert!(all(true));
    if can_travel() {
        let sweep = || world.admit().with(&[&"--sweep-older", &"30d"]);
        sweep().ok();
        assert!(all(true));
        sweep().at("+31d").ok().says(".countersign-killed: removed");
        assert!(all(false));
    }
}

// ---- At the signing host ----

/// M makes a signature that is valid today and not tomorrow: the release would be refused once it
/// is public.
#[test]
fn manifest_signature_that_expires() {
    let world = World::ready();
    let (granted, build) = (world.grant(), world.build(&[("foo.txt", b"text\n")]));
    let manifest = granted.header() + &build.entries();
    build.attest_by_hand(&granted, &manifest);
    let builder = SignatureBuilder::new(SignatureType::Binary);
    let builder = builder
        .set_signature_validity_period(Duration::from_secs(3600))
        .expect("an expiry");
    let signature = by_hand(
        &openpgp::secret_key(&granted.key),
        builder,
        manifest.as_bytes(),
    );
    fs::write(build.at("build.manifest.sig"), signature).expect("written");
    world
        .sign(&granted, &build)
        .refused("`build.manifest.sig`: the signature has an expiry time of its own");
}

/// M makes a signature that we would take and gpgv would not.
#[test]
fn manifest_signature_with_a_large_unhashed_area() {
    let world = World::ready();
    let (granted, build) = world.attested();
    let path = build.at("build.manifest.sig");
    let genuine = fs::read(&path).expect("a signature");
    fs::write(&path, with_unhashed(&genuine, 20_000)).expect("rewritten");
    world.sign(&granted, &build).refused(
        "`build.manifest.sig`: the signature has a subpacket `Private(100)` in its unhashed area",
    );
    fs::write(&path, genuine).expect("as it was");
    world.sign(&granted, &build).ok();
}

/// M names a file so that the audit log shows a line that was never written.
#[test]
fn name_that_forges_a_line_of_the_log() {
    let world = World::ready();
    let (granted, build) = world.attested();
    fs::write(
        build.at("y\n   99  2026-11-23T01:40:00Z  outcome  signed"),
        b"",
    )
    .expect("written");
    world.sign(&granted, &build).refused("y\\u{a}   99");
    let listed = world.host(&[&"log", &"list"]).ok().stdout;
    assert!(
        !listed
            .lines()
            .any(|line| line.trim_start().starts_with("99 ")),
        "{listed}"
    );
}

/// A release among its own artifacts could not be resumed: what an interrupted run left there would
/// be in the way.
#[test]
fn release_into_the_folder_it_is_made_from() {
    let world = World::ready();
    let (granted, build) = world.attested();
    world
        .sign_into(&build.at("release"), &granted, &build)
        .usage("which it is made from");
    assert!(!build.at("release").exists());
    world.sign(&granted, &build).ok();
}

/// `dist/*` catches the key too.
#[test]
fn build_key_among_the_artifacts() {
    let world = World::ready();
    let granted = world.grant();
    let build = world.build(&[("foo.txt", b"text\n")]);
    let key = fs::read(&granted.key).expect("the key");
    for before in ["", "\n \n", "\u{feff}", "From: me\n\n"] {
        fs::write(build.at("foo.key"), [before.as_bytes(), &key].concat()).expect("written");
        world
            .attest(&granted, &build)
            .usage("is a secret key, and would become public");
    }
    assert!(
        granted.key.exists(),
        "the key is still there for the next try"
    );
    fs::remove_file(build.at("foo.key")).expect("removed");
    world.attest(&granted, &build).ok();
}

/// A relative path would load whatever lies in the folder that a command is run in.
#[test]
fn module_from_the_folder_one_is_in() {
    let world = World::new();
    fs::write(world.at("evil.so"), b"").expect("written");
    world
        .host(&[
            &"key",
            &"list",
            &"--token",
            &"pkcs11:token=release?module-path=evil.so",
        ])
        .usage("value of `module-path` is not an absolute path");
}

/// With no home to be found, the folder one is in is not taken for it.
#[test]
fn no_home_at_all() {
    let world = World::new();
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
    clean_environment(&mut command, &world.at(""))
        .env_remove("HOME")
        .args(["log", "list"]);
    let output = command.current_dir(world.at("")).output().expect("started");
    assert_eq!(output.status.code(), Some(2));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("neither $HOME nor $XDG_DATA_HOME"),
        "{output:?}"
    );
}

/// The answer to a refusal is its exit code, also where nobody reads its output.
#[test]
fn output_that_nobody_takes() {
    let world = World::ready();
    let release = world.signed();
    fs::write(release.join("foo.txt"), b"backdoor\n").expect("changed");
    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .expect("opened");
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
    clean_environment(&mut command, &world.at(""))
        .args(["verify", "--cert"])
        .arg(world.certificate())
        .arg(&release);
    let output = command.stdout(full).output().expect("started");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("could not be verified"),
        "{output:?}"
    );
}

/// On a disk that is full the token is not asked for what could not be kept.
#[test]
#[expect(clippy::print_stdout, reason = "a test that is skipped says so")]
fn full_disk_under_the_ledger() {
    if !rustix::process::geteuid().is_root() || !have(&["unshare", "mount", "bash"]) {
        println!("skipped: only root can make a small disk");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let script = r#"
        set -eu
        mkdir small build
        mount -t tmpfs -o size=2m tmpfs small
        run() { "$program" --home small/home "$@" 2>/dev/null; }
        run init --token "file:$PWD/key.pem" --generate ed25519 --user-id 'A <a@example.org>' >init
        run grant full 1.0 --builder m1 >granted
        for i in $(seq 20); do echo $i >build/f$i; done
        "$program" attest --key full-1.0.m1.key build/* >attested
        before=$(cat key.pem.count)
        for room in 8 32 64 96 128 192 256 320 400; do
            rm -f small/fill
            free=$(df --output=avail -k small | tail -1)
            head -c $(((free - room) * 1024)) /dev/zero >small/fill || true
            run sign full-1.0.grant.json --from build -o release >tried || true
        done
        rm small/fill
        run sign full-1.0.grant.json --from build -o release >signed
        echo $(($(cat key.pem.count) - before))
    "#;
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "bash", "-c", script])
        .current_dir(folder.path());
    clean_environment(&mut command, folder.path())
        .env("program", env!("CARGO_BIN_EXE_countersign"));
    let output = command.output().expect("started");
    assert!(output.status.success(), "{output:?}");
    // Twenty artifacts and the list: each signed once, whatever the disk said in between.
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "21");
}

/// The same certificate, for longer: an expired one that nobody could extend would end the key.
#[test]
fn expired_certificate_extended() {
    if !crate::common::can_travel() {
        return;
    }
    let world = World::new();
    world.init().with(&[&"--expires", &"1d"]).ok();
    world
        .host(&[&"grant", &"foo", &"1.2.3"])
        .at("+3d")
        .refused("expired at");
    let before = world.token_count();
    world
        .host(&[&"key", &"extend", &"--expires", &"1y"])
        .at("+3d")
        .ok();
    assert_eq!(
        world.token_count(),
        before + 2,
        "one signature over the key, one over its user id"
    );
    world.export();
    let checked = world
        .host(&[&"key", &"check", &"--json"])
        .at("+3d")
        .ok()
        .json();
    assert_eq!(checked["key"], checked["certificate"]);
    let kinds: Vec<_> = world
        .log()
        .iter()
        .map(|entry| entry["kind"].to_string())
        .collect();
    assert_eq!(
        kinds[kinds.len() - 3..],
        ["\"key-intended\"", "\"key-outcome\"", "\"key-ready\""]
    );
    world
        .host(&[&"grant", &"foo", &"1.2.3", &"-o", &world.at("")])
        .at("+3d")
        .ok();
    if have(&["gpg"]) {
        let home = world.new_folder("gnupg");
        tool(
            "gpg",
            &[
                &"--homedir",
                &home,
                &"--batch",
                &"--import",
                &world.certificate(),
            ],
            &world.at(""),
        );
    }
}

/// Two submissions of one release, one of which somebody changed, do not lock each other out.
#[test]
fn same_release_twice() {
    let world = World::ready();
    let release = world.signed();
    let again = world.at("again");
    copy_tree(&release, &again);
    world.admit().ok();
    copy_tree(&again, &release);
    world.admit().ok().says("was admitted already");
    assert_eq!(listing(&world.inbox()), ["foo-1.2.3.admitted"]);
}

fn by_hand(key: &Cert, builder: SignatureBuilder, bytes: &[u8]) -> Vec<u8> {
    let secret = key
        .primary_key()
        .key()
        .clone()
        .parts_into_secret()
        .expect("a secret");
    let mut pair = secret.into_keypair().expect("a key pair");
    Packet::from(builder.sign_message(&mut pair, bytes).expect("signed"))
        .to_vec()
        .expect("written")
}

/// The same signature with this number of bytes more in its unhashed area.
fn with_unhashed(bytes: &[u8], size: usize) -> Vec<u8> {
    use sequoia_openpgp::parse::Parse;
    let Ok(Packet::Signature(mut signature)) = Packet::from_bytes(bytes) else {
        panic!("no signature")
    };
    let value = SubpacketValue::Unknown {
        tag: sequoia_openpgp::packet::signature::subpacket::SubpacketTag::Private(100),
        body: vec![0; size],
    };
    let subpacket = Subpacket::new(value, false).expect("a subpacket");
    signature
        .unhashed_area_mut()
        .add(subpacket)
        .expect("room for it");
    Packet::from(signature).to_vec().expect("written")
}
