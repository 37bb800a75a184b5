//! Each attack, and each mistake, by name. At the signing host: exit code 1, the reason shown, the
//! token not used, nothing written, the refusal logged. At the location: refused by `verify` and by
//! `admit`, and still in the inbox.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::common::world::{Build, Granted, World, entry, write_private};
use crate::common::{can_travel, copy, copy_tree, listing, openpgp, tool, tree};
use sequoia_openpgp::types::SignatureType;

/// Without any change the build would have been signed: what is refused is refused for the change.
#[track_caller]
fn signed(world: &World, granted: &Granted, build: &Build) {
    world.sign(granted, build).ok();
}

// ---- Artifacts ----

#[test]
fn artifact_changed_after_attest_by_one_byte() {
    let world = World::ready();
    let (granted, build) = world.attested();
    let original = fs::read(build.at("foo.tar")).expect("an artifact");
    let mut changed = original.clone();
    changed[50_000] ^= 1;
    fs::write(build.at("foo.tar"), &changed).expect("changed");
    world.refuses(&granted, &build, "artifact `foo.tar` has SHA-256");
    fs::write(build.at("foo.tar"), original).expect("changed back");
    signed(&world, &granted, &build);
}

#[test]
fn artifact_with_bytes_appended_after_attest() {
    let world = World::ready();
    let (granted, build) = world.attested();
    build.append("foo.txt", b"\n");
    world.refuses(&granted, &build, "artifact `foo.txt` has SHA-256");
}

#[test]
fn artifact_truncated_after_attest() {
    let world = World::ready();
    let (granted, build) = world.attested();
    fs::write(build.at("foo.tar"), [7; 99_999]).expect("truncated");
    world.refuses(&granted, &build, "artifact `foo.tar` has SHA-256");
    fs::write(build.at("foo.tar"), b"").expect("emptied");
    world.refuses(&granted, &build, "artifact `foo.tar` has SHA-256");
}

#[test]
fn artifacts_that_changed_places() {
    let world = World::ready();
    let (granted, build) = world.attested();
    fs::rename(build.at("foo.txt"), build.at("aside")).expect("moved");
    fs::rename(build.at("foo.tar"), build.at("foo.txt")).expect("moved");
    fs::rename(build.at("aside"), build.at("foo.tar")).expect("moved");
    world.refuses(&granted, &build, "has SHA-256");
}

#[test]
fn artifact_missing() {
    let world = World::ready();
    let (granted, build) = world.attested();
    fs::remove_file(build.at("foo.txt")).expect("removed");
    world.waits(
        &granted,
        &build,
        "artifact `foo.txt` is attested, but not in",
    );
}

#[test]
fn file_that_is_not_in_the_manifest() {
    let world = World::ready();
    let (granted, build) = world.attested();
    fs::write(build.at("more.txt"), b"more").expect("written");
    world.refuses(
        &granted,
        &build,
        "contains `more.txt`, which builder `m1` did not attest",
    );
    fs::remove_file(build.at("more.txt")).expect("removed");
    fs::create_dir(build.at("folder")).expect("made");
    world.refuses(
        &granted,
        &build,
        "contains `folder`, which builder `m1` did not attest",
    );
}

#[test]
fn file_whose_name_would_steer_the_terminal() {
    let world = World::ready();
    let (granted, build) = world.attested();
    fs::write(build.at("\u{1b}[2Jmore\u{202e}"), b"more").expect("written");
    let said = world.refuses(
        &granted,
        &build,
        "contains `\\u{1b}[2Jmore\\u{202e}`, which builder `m1` did not attest",
    );
    assert!(!said.stderr.contains(['\u{1b}', '\u{202e}']));
}

#[test]
fn symbolic_link_in_place_of_an_artifact() {
    let world = World::ready();
    let (granted, build) = world.attested();
    let elsewhere = world.at("elsewhere");
    fs::rename(build.at("foo.txt"), &elsewhere).expect("moved");
    symlink(&elsewhere, build.at("foo.txt")).expect("linked");
    world.refuses(&granted, &build, "is a symbolic link, not a regular file");
}

/// However the folder is named: the log, which is public, does not say where it is.
#[test]
fn link_in_a_folder_named_with_a_slash_behind() {
    let world = World::ready();
    let (granted, build) = world.attested();
    fs::remove_file(build.at("foo.txt")).expect("removed");
    symlink("foo.tar", build.at("foo.txt")).expect("linked");
    let folder = build.folder.join("");
    world.refuses(&granted, &Build { folder }, "foo.txt` is a symbolic link");
}

#[test]
fn fifo_in_place_of_an_artifact() {
    let world = World::ready();
    let (granted, build) = world.attested();
    fs::remove_file(build.at("foo.txt")).expect("removed");
    tool("mkfifo", &[&build.at("foo.txt")], &build.folder);
    world.refuses(&granted, &build, "is a FIFO, not a regular file");
}

#[test]
fn folder_in_place_of_an_artifact() {
    let world = World::ready();
    let (granted, build) = world.attested();
    fs::remove_file(build.at("foo.txt")).expect("removed");
    fs::create_dir(build.at("foo.txt")).expect("made");
    world.refuses(&granted, &build, "is a folder, not a regular file");
}

#[test]
fn symbolic_link_in_place_of_the_evidence() {
    for name in ["build.manifest", "build.manifest.sig"] {
        let world = World::ready();
        let (granted, build) = world.attested();
        let elsewhere = world.at("elsewhere");
        fs::rename(build.at(name), &elsewhere).expect("moved");
        symlink(&elsewhere, build.at(name)).expect("linked");
        world.refuses(&granted, &build, "is a symbolic link, not a regular file");
    }
}

// ---- The manifest and its signature ----

#[test]
fn manifest_line_changed() {
    let world = World::ready();
    let (granted, build) = world.attested();
    fs::write(build.at("foo.txt"), b"backdoor\n").expect("changed");
    fs::write(
        build.at("build.manifest"),
        granted.header() + &build.entries(),
    )
    .expect("the manifest that fits it");
    world.refuses(&granted, &build, "does not match");
}

#[test]
fn manifest_or_signature_missing() {
    for name in ["build.manifest", "build.manifest.sig"] {
        let world = World::ready();
        let (granted, build) = world.attested();
        fs::remove_file(build.at(name)).expect("removed");
        world.waits(&granted, &build, "does not exist");
    }
}

#[test]
fn manifest_signed_by_another_key() {
    let world = World::ready();
    let (granted, build) = world.attested();
    let signature = openpgp::detached(&openpgp::stranger(), build.manifest().as_bytes());
    fs::write(build.at("build.manifest.sig"), signature).expect("the signature");
    world.refuses(&granted, &build, "which is not a build key of this grant");
}

#[test]
fn manifest_signed_by_the_build_key_of_another_grant() {
    let world = World::ready();
    let (granted, other) = (world.grant(), world.grant());
    let build = world.build(&[("foo.txt", b"text\n")]);
    let manifest = granted.header() + &build.entries();
    build.attest_by_hand(&other, &manifest);
    world.refuses(&granted, &build, "which is not a build key of this grant");
    build.attest_by_hand(&granted, &manifest);
    signed(&world, &granted, &build);
}

#[test]
fn manifest_signed_by_the_same_key_but_for_another_grant_id() {
    let world = World::ready();
    let (granted, other) = (world.grant(), world.grant());
    let build = world.build(&[("foo.txt", b"text\n")]);
    build.attest_by_hand(&granted, other.header() + &build.entries());
    world.refuses(
        &granted,
        &build,
        &format!("is for grant {}, not for {}", other.id, granted.id),
    );
}

#[test]
fn manifest_attested_under_another_grant() {
    let world = World::ready();
    let (other, build) = world.attested();
    let granted = world.grant();
    world.refuses(&granted, &build, "which is not a build key of this grant");
    signed(&world, &other, &build);
}

#[test]
fn manifest_of_another_builder_version_or_project() {
    let world = World::ready();
    let granted = world.grant();
    let build = world.build(&[("foo.txt", b"text\n")]);
    for (from, to, reason) in [
        (
            "builder: m1",
            "builder: m2",
            "names builder `m2`, but builder `m1` signed it",
        ),
        (
            "version: 1.2.3",
            "version: 1.2.4",
            "is for foo 1.2.4, but the grant is for foo 1.2.3",
        ),
        (
            "project: foo",
            "project: bar",
            "is for bar 1.2.3, but the grant is for foo 1.2.3",
        ),
    ] {
        build.attest_by_hand(
            &granted,
            granted.header().replace(from, to) + &build.entries(),
        );
        world.refuses(&granted, &build, reason);
    }
}

#[test]
fn signature_of_the_wrong_type() {
    let world = World::ready();
    let (granted, build) = (world.grant(), world.build(&[("foo.txt", b"text\n")]));
    let manifest = granted.header() + &build.entries();
    build.attest_by_hand(&granted, &manifest);
    let key = openpgp::secret_key(&granted.key);
    for kind in [
        SignatureType::Text,
        SignatureType::GenericCertification,
        SignatureType::DirectKey,
    ] {
        let signature = openpgp::detached_as(kind, &key, manifest.as_bytes());
        fs::write(build.at("build.manifest.sig"), signature).expect("the signature");
        world.refuses(&granted, &build, "is a signature of type");
    }
    build.attest_by_hand(&granted, &manifest);
    signed(&world, &granted, &build);
}

#[test]
fn signature_that_is_none_or_several() {
    let world = World::ready();
    let (granted, build) = world.attested();
    let signature = fs::read(build.at("build.manifest.sig")).expect("the signature");
    for (bytes, reason) in [
        (Vec::new(), "`build.manifest.sig`: the signature"),
        (b"no signature".to_vec(), "is not in binary form"),
        (vec![0xff; 100], "is not an OpenPGP signature"),
        ([&signature[..], &signature[..]].concat(), "several packets"),
        (vec![0; 70_000], "is larger than 65536 bytes"),
    ] {
        fs::write(build.at("build.manifest.sig"), bytes).expect("the signature");
        world.refuses(&granted, &build, reason);
    }
}

/// A change of the manifest's form, signed by the right key.
#[track_caller]
fn form_refused(change: impl Fn(String) -> String, reason: &str) {
    let world = World::ready();
    let granted = world.grant();
    let build = world.build(&[("bar.txt", b"bar\n"), ("foo.txt", b"text\n")]);
    let right = granted.header() + &build.entries();
    let changed = change(right.clone());
    assert_ne!(changed, right, "nothing was changed");
    build.attest_by_hand(&granted, changed);
    world.refuses(&granted, &build, reason);
    build.attest_by_hand(&granted, right);
    signed(&world, &granted, &build);
}

#[test]
fn manifest_with_an_unknown_header() {
    form_refused(
        |text| text.replace("# version", "# colour: red\n# version"),
        "but `# version: ` is expected",
    );
    form_refused(
        |text| text.replacen("  bar.txt\n", "  bar.txt\n# late: header\n", 1),
        "line 7 is not a SHA-256 digest",
    );
}

// ---- Names ----

/// A manifest that the right key signed, with a name that no artifact may have.
#[track_caller]
fn name_refused(name: &str, reason: &str) {
    let world = World::ready();
    let granted = world.grant();
    let build = world.build(&[("foo.txt", b"text\n")]);
    let mut entries = [entry(b"text\n", "foo.txt"), entry(b"x", name)];
    entries.sort_by(|a, b| a[66..].cmp(&b[66..]));
    // The file is there where there can be one: what is refused is the name.
    if !name.contains(['/', '\0']) && name != ".." {
        fs::write(build.at(name), b"x").expect("a file of that name");
    }
    build.attest_by_hand(&granted, granted.header() + &entries.concat());
    world.refuses(&granted, &build, reason);
}

#[test]
fn name_with_a_parent_folder() {
    name_refused("..", "artifact name `..` contains `..`");
    name_refused("a..b", "contains `..`");
    name_refused("../../etc/passwd", "contains a path separator");
}

#[test]
fn bad_names_are_refused_on_the_build_machine_already() {
    let world = World::ready();
    let granted = world.grant();
    for (name, reason) in [
        (
            "foo.txt.asc",
            "has the name of the release's signature of artifact `foo.txt`",
        ),
        (
            "SHA256SUMS",
            "could pass for a file that countersign itself writes",
        ),
        ("nul.txt", "is the name of a device on Windows"),
        (".hidden", "begins with a dot"),
        ("-rf", "begins with a dash"),
        ("a\u{1b}b", "contains a control character"),
    ] {
        let build = world.build(&[("foo.txt", b"text\n"), (name, b"x")]);
        world.attest(&granted, &build).refused(reason);
        assert_eq!(listing(&build.folder).len(), 2, "evidence was left");
        assert!(
            granted.key.exists(),
            "the key is gone, but nothing was attested"
        );
    }
}

// ---- The grant ----

#[test]
fn grant_expired() {
    if !can_travel() {
        return;
    }
    let world = World::ready();
    let (granted, build) = world.attested();
    world.refuses_at(&granted, &build, "+7h", "expired at");
    world.clock_was_ahead();
    signed(&world, &granted, &build);
}

#[test]
fn grant_not_yet_valid() {
    if !can_travel() {
        return;
    }
    let world = World::ready();
    let (granted, build) = world.attested();
    world.waits_at(&granted, &build, "-1h", "is not valid before");
}

#[test]
fn build_key_expired_with_its_grant() {
    if !can_travel() {
        return;
    }
    let world = World::ready();
    let (granted, build) = (world.grant(), world.build(&[("foo.txt", b"text\n")]));
    world
        .attest(&granted, &build)
        .at("+7h")
        .refused("the grant expired at");
    assert!(
        granted.key.exists(),
        "the key is gone, but nothing was attested"
    );
}

/// A key of the builder's own, or of a scheme without a time, does not know when the grant ends.
#[test]
fn build_key_used_under_an_expired_grant() {
    if !can_travel() {
        return;
    }
    let world = World::ready();
    let enrolled = world.at("own.key");
    world.countersign(&[&"build-key", &"-o", &enrolled]).ok();
    let with_own = world.grant_enrolled(&world.at("own.key.pub"), &[]);
    let with_nonce = world.grant_with(&[&"--scheme", &"hmac"]);
    for (granted, key) in [(&with_own, &enrolled), (&with_nonce, &with_nonce.key)] {
        let build = world.build(&[("foo.txt", b"text\n")]);
        let attest = || {
            world
                .attest_with(key, &build)
                .with(&[&"--grant", &granted.grant])
        };
        attest().at("+7h").refused("the grant expired at");
        assert!(key.exists(), "the key is gone, but nothing was attested");
        attest().at("+5h").ok();
    }
}

#[test]
fn grant_altered() {
    let world = World::ready();
    let (granted, build) = (world.grant(), world.build(&[("foo.txt", b"text\n")]));
    world.attest(&granted, &build).with(&[&"--keep-key"]).ok();
    let original = fs::read_to_string(&granted.grant).expect("the grant");
    for altered in [
        original.replace("\"max_count\": 100", "\"max_count\": 101"),
        original.replace("  \"", "\t\""),
        format!("{original}\n"),
    ] {
        assert_ne!(altered, original);
        fs::write(&granted.grant, altered).expect("altered");
        world
            .sign(&granted, &build)
            .refused("was not issued by this signing host");
    }
    // Not even with evidence that fits it.
    let altered = original.replace("\"*\"", "\"foo*\"");
    fs::write(&granted.grant, &altered).expect("altered");
    let id = format!(
        "sha256:{}",
        hex::encode(<sha2::Sha256 as sha2::Digest>::digest(&altered))
    );
    let forged = Granted {
        id,
        ..granted.clone()
    };
    build.attest_by_hand(&forged, forged.header() + &build.entries());
    world
        .sign(&granted, &build)
        .refused("was not issued by this signing host");
    assert!(
        world.logged("evidence-refused").is_empty(),
        "anybody could fill the log"
    );
}

#[test]
fn grant_that_is_none() {
    let world = World::ready();
    let (granted, build) = world.attested();
    let original = fs::read_to_string(&granted.grant).expect("the grant");
    for (broken, reason) in [
        (
            original.replacen('{', "{ \"colour\": \"red\",", 1),
            "unknown field",
        ),
        (
            original.replacen("\"quorum\": 1,", "\"quorum\": 1, \"quorum\": 1,", 1),
            "duplicate field",
        ),
        (
            original.replace("grant/1", "grant/2"),
            "is not `countersign-grant/1`",
        ),
        (original[..original.len() / 2].to_owned(), "is not a grant"),
        (String::new(), "is not a grant"),
    ] {
        assert_ne!(broken, original);
        fs::write(&granted.grant, broken).expect("broken");
        world.sign(&granted, &build).refused(reason);
    }
}

#[test]
fn grant_of_another_signing_host() {
    let (world, other) = (World::ready(), World::ready());
    let (granted, build) = other.attested();
    world
        .sign(&granted, &build)
        .refused("was not issued by this signing host");
}

#[test]
fn name_outside_the_grants_globs() {
    let world = World::ready();
    let granted = world.grant_with(&[&"--artifact", &"foo*.tar", &"--artifact", &"*.deb"]);
    let build = world.build(&[("foo-1.tar", b"tar"), ("bar.txt", b"text\n")]);
    // `attest` would refuse at once; M need not be that honest.
    build.attest_by_hand(&granted, granted.header() + &build.entries());
    world.refuses(
        &granted,
        &build,
        "artifact `bar.txt` is not among the names that the grant allows",
    );
}

#[test]
fn too_many_artifacts() {
    let world = World::ready();
    let granted = world.grant_with(&[&"--max-count", &"2"]);
    let build = world.build(&[("a", b"a"), ("b", b"b"), ("c", b"c")]);
    let reason = "has 3 artifacts, but the grant allows 2";
    world.attest(&granted, &build).refused(reason);
    build.attest_by_hand(&granted, granted.header() + &build.entries());
    world.refuses(&granted, &build, reason);
    fs::remove_file(build.at("c")).expect("removed");
    world.attest(&granted, &build).ok();
    signed(&world, &granted, &build);
}

#[test]
fn too_many_bytes() {
    let world = World::ready();
    let granted = world.grant_with(&[&"--max-bytes", &"1000"]);
    let build = world.build(&[("a", &[1; 500]), ("b", &[2; 501])]);
    world
        .attest(&granted, &build)
        .refused("the artifacts have 1001 bytes together, but the grant allows 1000");
    build.attest_by_hand(&granted, granted.header() + &build.entries());
    world.refuses(
        &granted,
        &build,
        "larger than the 1000 bytes that the grant allows together",
    );
    fs::write(build.at("b"), [2; 500]).expect("made smaller");
    world.attest(&granted, &build).ok();
    signed(&world, &granted, &build);
}

#[test]
fn second_different_manifest_under_a_grant_already_used() {
    let world = World::ready();
    let granted = world.grant();
    let build = world.build(&[("foo.txt", b"text\n")]);
    world.attest(&granted, &build).with(&[&"--keep-key"]).ok();
    signed(&world, &granted, &build);

    let second = world.build(&[("foo.txt", b"backdoor\n")]);
    world.attest(&granted, &second).ok();
    let elsewhere = world.at("elsewhere");
    let (closed, uses) = (
        "was closed by another build, of builder `m1`",
        world.token_count(),
    );
    world
        .sign_into(&elsewhere, &granted, &second)
        .refused(closed);
    assert!(!elsewhere.exists());
    assert_eq!(world.token_count(), uses);
    // The first is what it always was.
    world.sign(&granted, &build).ok().says("signed already");
}

/// A first run that failed after its build was verified closes the grant as well.
#[test]
fn second_different_manifest_after_a_first_run_that_failed() {
    let world = World::ready();
    let granted = world.grant();
    let build = world.build(&[("foo.txt", b"text\n")]);
    world.attest(&granted, &build).with(&[&"--keep-key"]).ok();
    fs::rename(world.token_file(), world.at("token away")).expect("moved");
    world.sign(&granted, &build).trouble("cannot be used");
    fs::rename(world.at("token away"), world.token_file()).expect("moved back");

    let second = world.build(&[("foo.txt", b"backdoor\n")]);
    world.attest(&granted, &second).ok();
    world.refuses(
        &granted,
        &second,
        "was closed by another build, of builder `m1`",
    );
    signed(&world, &granted, &build);
}

// ---- The release key ----

#[test]
fn release_certificate_expired() {
    if !can_travel() {
        return;
    }
    let world = World::new();
    world.init().with(&[&"--expires", &"1d"]).ok();
    world.export();
    let granted = world.grant_with(&[&"--valid-for", &"14d"]);
    let build = world.build(&[("foo.txt", b"text\n")]);
    world.attest(&granted, &build).ok();
    world.refuses_at(
        &granted,
        &build,
        "+2d",
        "the release key cannot sign: certificate",
    );
    let folder = world.at("late");
    fs::create_dir(&folder).expect("a folder");
    let late = world
        .host(&[&"grant", &"foo", &"2", &"-o", &folder])
        .at("+2d")
        .refused("expired at");
    assert!(
        late.stderr.contains("cannot sign under a new grant"),
        "{late:?}"
    );
    world.clock_was_ahead();
    assert!(listing(&folder).is_empty());
    signed(&world, &granted, &build);
}

#[test]
fn release_certificate_revoked() {
    let world = World::ready();
    let (granted, build) = world.attested();
    let certificate = world.home().join("release.asc");
    let revocation = fs::read_to_string(world.home().join("revocation.asc"))
        .expect("the revocation certificate");
    write_private(&certificate, &openpgp::revoked(&certificate, &revocation));
    world.refuses(&granted, &build, "was revoked");
}

/// The subkey on the token is not revoked itself; its certificate is, by the primary key that is
/// kept elsewhere.
#[test]
fn release_certificate_revoked_by_its_offline_primary_key() {
    let world = World::new();
    let made = openpgp::with_signing_subkey(crate::common::world::USER_ID);
    write_private(
        world.token_file(),
        openpgp::pkcs8_pem(&made.secret).as_bytes(),
    );
    let published = world.at("published.asc");
    fs::write(&published, made.certificate).expect("written");
    world.init_with(&[&"--cert", &published]).ok();
    let (granted, build) = world.attested();
    let certificate = world.home().join("release.asc");
    let before = fs::read(&certificate).expect("the certificate");
    write_private(&certificate, &made.revoked);
    world.refuses(&granted, &build, "was revoked");
    write_private(&certificate, &before);
    signed(&world, &granted, &build);
}

#[test]
fn release_certificate_of_another_key_than_the_tokens() {
    let (world, other) = (World::ready(), World::ready());
    let (granted, build) = world.attested();
    copy(other.token_file(), world.token_file());
    world
        .sign(&granted, &build)
        .with(&[&"--dry-run"])
        .refused("the key on the token differs from the release certificate's");
    world
        .sign(&granted, &build)
        .refused("the key on the token differs from the release certificate's");
    world
        .host(&[&"key", &"check"])
        .refused("the key on the token differs from the release certificate's");
    world
        .host(&[&"key", &"check", &"--sign"])
        .refused("the key on the token differs from the release certificate's");
}

#[test]
fn grant_for_another_release_key() {
    let (world, other) = (World::ready(), World::ready());
    let (granted, build) = world.attested();
    // As after a change of the release key under the same home.
    let config = fs::read_to_string(world.home().join("config.toml")).expect("the configuration");
    let key_of = |world: &World| {
        world.host(&[&"key", &"check", &"--json"]).ok().json()["key"]
            .as_str()
            .expect("a fingerprint")
            .to_owned()
    };
    let (ours, theirs) = (key_of(&world), key_of(&other));
    write_private(
        &world.home().join("config.toml"),
        config.replace(&ours, &theirs).as_bytes(),
    );
    copy(
        &other.home().join("release.asc"),
        &world.home().join("release.asc"),
    );
    copy(other.token_file(), world.token_file());
    world.refuses(&granted, &build, "the grant is for release key");
}

mod wrong_answers {
    //! A token that does not sign what it was asked to sign. No real one does it on demand, so this
    //! one is a double.

    use countersign::domain::grant::Grant;
    use countersign::domain::key::{HashAlgorithm, PublicKey, RawSignature};
    use countersign::domain::signing::Message;
    use countersign::domain::time::{Clock, Timestamp};
    use countersign::home::Home;
    use countersign::openpgp::{MakeError, NewCertificate, make_certificate};
    use countersign::steps::Unwatched;
    use countersign::steps::host::Host;
    use countersign::steps::host::build::SignRequest;
    use countersign::steps::host::release::Signed;
    use countersign::steps::host::run::SignError;
    use countersign::token::{
        self, Interaction, LockedToken, RefusedPins, Token, TokenDescription, TokenError,
    };

    use super::*;
    use crate::common::world::{Nobody, PATIENT};

    /// What a lying token makes of the right answer.
    type Lie = fn(&mut dyn Token, RawSignature) -> RawSignature;

    struct Liar {
        locked: Option<Box<dyn LockedToken>>,
        token: Option<Box<dyn Token>>,
        lie: Lie,
        /// How many answers are right before the first lie.
        honest: u32,
    }

    impl LockedToken for Liar {
        fn public(&self) -> Option<&PublicKey> {
            self.locked.as_ref().and_then(|locked| locked.public())
        }

        fn description(&self) -> &TokenDescription {
            self.locked.as_ref().expect("locked").description()
        }

        fn unlock(
            mut self: Box<Self>,
            interaction: &mut dyn Interaction,
        ) -> Result<Box<dyn Token>, TokenError> {
            self.token = Some(self.locked.take().expect("locked").unlock(interaction)?);
            Ok(self)
        }
    }

    impl Token for Liar {
        fn public(&self) -> &PublicKey {
            self.token.as_ref().expect("unlocked").public()
        }

        fn sign(&mut self, message: &Message<'_>) -> Result<RawSignature, TokenError> {
            let token = self.token.as_deref_mut().expect("unlocked");
            let right = token.sign(message)?;
            match self.honest.checked_sub(1) {
                Some(left) => {
                    self.honest = left;
                    Ok(right)
                }
                None => Ok((self.lie)(token, right)),
            }
        }
    }

    /// A token that shows these keys before and after the PIN, whatever it signs with.
    struct Impostor {
        locked: Option<Box<dyn LockedToken>>,
        token: Option<Box<dyn Token>>,
        before: Option<PublicKey>,
        after: PublicKey,
    }

    impl LockedToken for Impostor {
        fn public(&self) -> Option<&PublicKey> {
            self.before.as_ref()
        }

        fn description(&self) -> &TokenDescription {
            self.locked.as_ref().expect("locked").description()
        }

        fn unlock(
            mut self: Box<Self>,
            interaction: &mut dyn Interaction,
        ) -> Result<Box<dyn Token>, TokenError> {
            self.token = Some(self.locked.take().expect("locked").unlock(interaction)?);
            Ok(self)
        }
    }

    impl Token for Impostor {
        fn public(&self) -> &PublicKey {
            &self.after
        }

        fn sign(&mut self, message: &Message<'_>) -> Result<RawSignature, TokenError> {
            self.token.as_deref_mut().expect("unlocked").sign(message)
        }
    }

    /// The public half of a world's release key.
    fn release_key(world: &World) -> PublicKey {
        let home = Home::open(&world.home()).expect("a home");
        let key = home
            .certificate
            .signing_key(home.config.signing_key, Timestamp::now())
            .expect("a key");
        key.public().clone()
    }

    fn sign_with_a_liar(
        world: &World,
        granted: &Granted,
        build: &Build,
        lie: Lie,
        honest: u32,
    ) -> Result<Signed, SignError> {
        let disguised = &mut |locked| {
            Box::new(Liar {
                locked: Some(locked),
                token: None,
                lie,
                honest,
            }) as Box<_>
        };
        sign_with(world, granted, build, disguised)
    }

    /// Signs with what `disguised` makes of the token.
    fn sign_with(
        world: &World,
        granted: &Granted,
        build: &Build,
        disguised: &mut dyn FnMut(Box<dyn LockedToken>) -> Box<dyn LockedToken>,
    ) -> Result<Signed, SignError> {
        let mut host = Host::open(&world.home(), Clock::System, PATIENT).expect("a home");
        let grant = Grant::parse(&fs::read(&granted.grant).expect("the grant")).expect("a grant");
        let request = SignRequest {
            grant,
            from: &build.folder,
            release: &world.release(granted),
            allow_older: false,
        };
        let uri = host.home.config.token.clone();
        let mut find = |_: &mut dyn Interaction| {
            token::find(&uri, &RefusedPins::none(), &mut Nobody).map(&mut *disguised)
        };
        host.sign(request, &mut find, &mut Nobody, &mut Unwatched)
    }

    /// Nothing is released, and of the wrong answer nothing is kept; what was right before it is.
    #[track_caller]
    fn never_leaves(lie: Lie) {
        for honest in [0, 2] {
            let world = World::ready();
            let (granted, build) = world.attested();
            let error = sign_with_a_liar(&world, &granted, &build, lie, honest)
                .expect_err("the token lied");
            assert!(
                matches!(
                    error,
                    SignError::Sign {
                        fault: MakeError::WrongAnswer,
                        ..
                    }
                ),
                "{error}"
            );
            assert_eq!(listing(&world.inbox()), [""; 0], "something was released");

            let home = Home::open(&world.home()).expect("a home");
            let ledger = home.ledger().expect("a ledger");
            let grant =
                Grant::parse(&fs::read(&granted.grant).expect("the grant")).expect("a grant");
            let (index, _) = ledger
                .intent(grant.id())
                .expect("asked")
                .expect("an intent before the token was used");
            let kept = ["foo.tar", "foo.txt", "SHA256SUMS"]
                .map(|file| ledger.signature(index, file).expect("asked"));
            assert_eq!(kept.iter().flatten().count() as u32, honest, "{kept:?}");
            let outcome = &world.logged("outcome")[0]["result"];
            assert_eq!(
                (&outcome["status"], &outcome["token_signatures"]),
                (&"stopped".into(), &(honest + 1).into())
            );
            assert_eq!(outcome["reason"], "token_signature_invalid");
            drop((home, ledger));

            // An honest token finishes it, and is not asked again for what was kept.
            let before = world.token_count();
            let made = format!("{} made by the token now", 3 - honest);
            world.sign(&granted, &build).ok().says(if honest == 0 {
                "all made by the token now"
            } else {
                &made
            });
            assert_eq!(world.token_count() - before, u64::from(3 - honest));
            world.verify(&world.release(&granted)).ok();
        }
    }

    #[test]
    fn token_answers_with_a_signature_that_was_tampered_with() {
        never_leaves(|_, right| match right {
            RawSignature::Ed25519(mut bytes) => {
                bytes[40] ^= 1;
                RawSignature::Ed25519(bytes)
            }
            other => panic!("{other:?}"),
        });
    }

    #[test]
    fn token_answers_with_a_signature_over_something_else() {
        never_leaves(|token, _| {
            let (public, now) = (token.public().clone(), Timestamp::now());
            let new = NewCertificate {
                user_id: "Other <other@example.org>".to_owned(),
                created: now,
                signed: now,
                expires: None,
                hash: HashAlgorithm::Sha256,
                domain: Some("example.org".to_owned()),
            };
            let mut other = None;
            let made = make_certificate(&public, &new, &mut |message| {
                let answer = token.sign(message);
                other.get_or_insert_with(|| answer.as_ref().expect("a signature").clone());
                answer
            });
            made.expect("a certificate");
            other.expect("the token was asked")
        });
    }

    /// Before the PIN it shows the release key, or none; what it shows after the PIN is another.
    #[test]
    fn token_shows_another_key_after_the_pin() {
        let (world, other) = (World::ready(), World::ready());
        let (right, wrong) = (release_key(&world), release_key(&other));
        let (granted, build) = world.attested();
        let made = world.token_count();
        let with = |before: Option<&PublicKey>, after: &PublicKey| {
            sign_with(&world, &granted, &build, &mut |locked| {
                let (before, after) = (before.cloned(), after.clone());
                Box::new(Impostor {
                    locked: Some(locked),
                    token: None,
                    before,
                    after,
                })
            })
        };
        let refused = |before: Option<&PublicKey>, after: &PublicKey| {
            let error = with(before, after).expect_err("another key");
            assert!(matches!(error, SignError::OtherKey(_)), "{error}");
            assert_eq!(
                (world.token_count(), listing(&world.inbox()).len()),
                (made, 0)
            );
        };
        // Shown at once, it costs neither a PIN nor an intent.
        refused(Some(&wrong), &right);
        assert_eq!(world.logged("intent").len(), 0);
        for (number, before) in [Some(&right), None].into_iter().enumerate() {
            refused(before, &wrong);
            let outcomes = world.logged("outcome");
            assert_eq!(outcomes.len(), number + 1);
            let result = &outcomes[number]["result"];
            assert_eq!(
                (&result["status"], &result["token_signatures"]),
                (&"stopped".into(), &0.into())
            );
            assert_eq!(
                result["unsettled"],
                serde_json::Value::Null,
                "nothing was asked of it"
            );
        }
        // One that shows its key after the PIN alone is as good as any, if it is the right one.
        assert_eq!(
            with(None, &right)
                .expect("the release key")
                .token_signatures,
            3
        );
        world.verify(&world.release(&granted)).ok();
    }

    /// What is in the place of the release is seen before the token is looked for.
    #[test]
    fn token_is_not_looked_for_when_the_place_is_taken() {
        let world = World::ready();
        let (granted, build) = world.attested();
        let release = world.release(&granted);
        let taken = || {
            sign_with(&world, &granted, &build, &mut |_| {
                panic!("the token was looked for")
            })
        };
        for make in [
            |path: &Path| fs::create_dir(path),
            |path: &Path| fs::write(path, "precious"),
        ] {
            make(&release).expect("something in its place");
            let error = taken().expect_err("the place is taken");
            assert!(
                matches!(&error, SignError::Occupied(path) if *path == release),
                "{error}"
            );
            assert_eq!(
                (world.logged("intent").len(), world.logged("resumed").len()),
                (0, 0)
            );
            fs::remove_dir(&release)
                .or_else(|_| fs::remove_file(&release))
                .expect("removed");
        }
        world.sign(&granted, &build).ok();
    }

    /// The folder is ours, so nobody can correct the command.
    #[test]
    fn what_is_written_aside_is_removed_between_two_signatures() {
        thread_local!(static INBOX: std::cell::RefCell<std::path::PathBuf> = const {
            std::cell::RefCell::new(std::path::PathBuf::new())
        });
        let world = World::ready();
        let (granted, build) = world.attested();
        INBOX.set(world.inbox());
        let remove: Lie = |_, right| {
            let inbox = INBOX.take();
            for name in listing(&inbox) {
                fs::remove_dir_all(inbox.join(name)).expect("removed");
            }
            right
        };
        let error = sign_with_a_liar(&world, &granted, &build, remove, 1).expect_err("no folder");
        let code = miette::Diagnostic::code(&error)
            .expect("a code")
            .to_string();
        assert_eq!(code, "trouble::input_output", "{error}");
        world.sign(&granted, &build).ok();
    }

    /// Nothing of a run that is going on is signed after its grant was revoked.
    #[test]
    fn grant_is_revoked_between_two_signatures() {
        type Granted = std::cell::RefCell<Option<(std::path::PathBuf, Grant)>>;
        thread_local!(static GRANT: Granted = const { Granted::new(None) });
        let world = World::ready();
        let (granted, build) = world.attested();
        let grant = Grant::parse(&fs::read(&granted.grant).expect("the grant")).expect("a grant");
        GRANT.set(Some((world.home(), grant)));
        let revoke: Lie = |_, right| {
            let (home, grant) = GRANT.take().expect("the second signature is not asked for");
            let home = Home::open(&home).expect("a home");
            countersign::steps::host::revoke::revoke(grant.id(), None, &home, Timestamp::now())
                .expect("revoked");
            right
        };
        let error = sign_with_a_liar(&world, &granted, &build, revoke, 0).expect_err("revoked");
        assert!(matches!(error, SignError::Revoked { .. }), "{error}");
        assert_eq!(world.logged("outcome")[0]["result"]["token_signatures"], 1);
        assert_eq!(listing(&world.inbox()), [""; 0], "something was released");
        world.sign(&granted, &build).refused("was revoked at");
    }

    #[test]
    fn token_answers_with_a_signature_of_another_kind() {
        never_leaves(|_, _| RawSignature::Rsa(vec![1; 256]));
    }
}

// ---- At the location ----

/// `verify` and `admit` refuse what is in the inbox; it stays there with the reason beside it, and
/// nothing is public.
#[track_caller]
fn refused_at_the_location(world: &World, reason: &str) {
    let (name, release) = submission(world);
    let before = tree(&release);
    world
        .verify(&release)
        .refused(reason)
        .says("could not be verified");
    world.admit().refused(reason).says("NAME.refused");
    assert_eq!(
        listing(&world.inbox()),
        [name.clone(), format!("{name}.refused")]
    );
    let note =
        fs::read_to_string(world.inbox().join(format!("{name}.refused"))).expect("the reason");
    assert!(note.contains(reason), "the note says `{note}`");
    assert_eq!(tree(&release), before, "the submission was changed");
    assert_eq!(world.public(), [""; 0], "something became public");
}

fn submission(world: &World) -> (String, std::path::PathBuf) {
    let names = listing(&world.inbox());
    assert_eq!(names.len(), 1, "one submission: {names:?}");
    (names[0].clone(), world.inbox().join(&names[0]))
}

/// The change is refused, and without it the release is admitted: it is refused for the change.
#[track_caller]
fn change_refused_at_the_location(change: impl Fn(&World, &Path), reason: &str) {
    changes_refused_at_the_location([(change, reason)]);
}

/// The same of each of these.
#[track_caller]
fn changes_refused_at_the_location<R: AsRef<str>>(
    changes: impl IntoIterator<Item = (impl Fn(&World, &Path), R)>,
) {
    let world = World::ready();
    let release = world.signed();
    let backup = world.at("backup");
    copy_tree(&release, &backup);
    let note = release.with_added_extension("refused");
    for (change, reason) in changes {
        if note.exists() {
            fs::remove_file(&note).expect("the note of the change before");
        }
        change(&world, &release);
        refused_at_the_location(&world, reason.as_ref());
        fs::remove_dir_all(&release).expect("removed");
        copy_tree(&backup, &release);
    }
    world.verify(&release).ok();
    world.admit().ok();
    assert_eq!(world.public(), ["foo-1.2.3"]);
    assert_eq!(
        listing(&world.inbox()),
        ["foo-1.2.3.admitted"],
        "the note of the refusal is gone too"
    );
}

#[test]
fn signature_by_another_key_at_the_location() {
    // Another release key, for the same bytes and the same version.
    let other = World::ready();
    let theirs = other.signed();
    change_refused_at_the_location(
        |_, release| copy(&theirs.join("foo.txt.asc"), &release.join("foo.txt.asc")),
        "`foo.txt.asc`: the signature is by key",
    );
    change_refused_at_the_location(
        |_, release| {
            copy(
                &theirs.join("SHA256SUMS.asc"),
                &release.join("SHA256SUMS.asc"),
            )
        },
        "`SHA256SUMS.asc`: the signature is by key",
    );
}

#[test]
fn whole_release_by_another_key_at_the_location() {
    let (world, other) = (World::ready(), World::ready());
    copy_tree(&other.signed(), &world.inbox().join("foo-1.2.3"));
    refused_at_the_location(&world, "`SHA256SUMS.asc`: the signature is by key");
}

#[test]
fn signature_by_the_build_key_at_the_location() {
    let world = World::ready();
    let granted = world.grant();
    let build = world.build(&[("foo.txt", b"text\n")]);
    world.attest(&granted, &build).with(&[&"--keep-key"]).ok();
    signed(&world, &granted, &build);
    let signature = openpgp::detached(&openpgp::secret_key(&granted.key), b"text\n");
    fs::write(
        world.release(&granted).join("foo.txt.asc"),
        openpgp::armored(&signature),
    )
    .expect("written");
    refused_at_the_location(&world, "`foo.txt.asc`: the signature's notation `salt@");
}

#[test]
fn artifact_changed_at_the_location() {
    change_refused_at_the_location(
        |_, release| fs::write(release.join("foo.txt"), b"evil\n").expect("changed"),
        "`foo.txt` has SHA-256",
    );
}

#[test]
fn extra_file_at_the_location() {
    let paths = [
        ("more.txt", ", but SHA256SUMS does not list it"),
        (".hidden", ", but SHA256SUMS does not list it"),
        ("more.asc", ", but SHA256SUMS does not list it"),
        ("evidence/more", ""),
        ("evidence/m1/more", ""),
    ];
    changes_refused_at_the_location(paths.map(|(path, more)| {
        let change = move |_: &World, release: &Path| {
            fs::write(release.join(path), b"more").expect("written");
        };
        (change, format!("`{path}` is in the release{more}"))
    }));
    change_refused_at_the_location(
        |_, release| fs::create_dir(release.join("folder")).expect("made"),
        "`folder` is in the release",
    );
}

#[test]
fn missing_file_at_the_location() {
    let names = [
        "foo.txt",
        "foo.txt.asc",
        "SHA256SUMS",
        "SHA256SUMS.asc",
        "evidence/release.json",
        "evidence/grant.json",
        "evidence/m1/build.manifest",
        "evidence/m1/build.manifest.sig",
        "evidence/m1/build-key.pgp",
    ];
    changes_refused_at_the_location(names.map(|name| {
        let change = move |_: &World, release: &Path| {
            fs::remove_file(release.join(name)).expect("removed");
        };
        (change, format!("`{name}` is missing"))
    }));
    change_refused_at_the_location(
        |_, release| fs::remove_dir_all(release.join("evidence")).expect("removed"),
        "`evidence/release.json` is missing",
    );
}

#[test]
fn swapped_signatures_at_the_location() {
    change_refused_at_the_location(
        |_, release| {
            let at = |name: &str| release.join(name);
            fs::rename(at("foo.txt.asc"), at("aside")).expect("moved");
            fs::rename(at("foo.tar.asc"), at("foo.txt.asc")).expect("moved");
            fs::rename(at("aside"), at("foo.tar.asc")).expect("moved");
        },
        "`foo.tar.asc`: the signature does not match",
    );
}

#[test]
fn swapped_artifacts_with_their_signatures_at_the_location() {
    change_refused_at_the_location(
        |_, release| {
            for ending in ["", ".asc"] {
                let at = |name: &str| release.join(format!("{name}{ending}"));
                fs::rename(at("foo.txt"), at("aside")).expect("moved");
                fs::rename(at("foo.tar"), at("foo.txt")).expect("moved");
                fs::rename(at("aside"), at("foo.tar")).expect("moved");
            }
        },
        "`foo.tar` has 5 bytes, but `evidence/release.json` lists 100000",
    );
}

#[test]
fn list_changed_at_the_location() {
    change_refused_at_the_location(
        |_, release| {
            let list = fs::read_to_string(release.join("SHA256SUMS")).expect("the list");
            let without = list
                .split_inclusive('\n')
                .filter(|line| !line.ends_with("  foo.txt\n"))
                .collect::<String>();
            assert_ne!(list, without);
            fs::write(release.join("SHA256SUMS"), without).expect("changed");
            fs::remove_file(release.join("foo.txt")).expect("removed");
            fs::remove_file(release.join("foo.txt.asc")).expect("removed");
        },
        "`SHA256SUMS.asc`: the signature does not match",
    );
}

#[test]
fn evidence_changed_at_the_location() {
    let names = [
        "grant.json",
        "m1/build.manifest",
        "m1/build.manifest.sig",
        "m1/build-key.pgp",
    ];
    changes_refused_at_the_location(names.map(|name| {
        let change = move |_: &World, release: &Path| {
            let path = release.join("evidence").join(name);
            let mut bytes = fs::read(&path).expect("the evidence");
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
            fs::write(path, bytes).expect("changed");
        };
        (change, format!("`evidence/{name}` has SHA-256"))
    }));
}

#[test]
fn folder_renamed_to_another_version_at_the_location() {
    let world = World::ready();
    let release = world.signed();
    fs::rename(&release, world.inbox().join("foo-1.2.4")).expect("renamed");
    world
        .admit()
        .refused("the folder is called `foo-1.2.4`, but contains release `foo-1.2.3`");
    assert_eq!(listing(&world.inbox()), ["foo-1.2.4", "foo-1.2.4.refused"]);
    assert_eq!(world.public(), [""; 0]);
}

#[test]
fn folder_with_a_name_that_no_release_has_at_the_location() {
    let world = World::ready();
    let release = world.signed();
    let name = "foo \u{1b}[2J";
    fs::rename(&release, world.inbox().join(name)).expect("renamed");
    let said = world.admit().refused("contains a control character");
    assert!(!said.stdout.contains('\u{1b}') && !said.stderr.contains('\u{1b}'));
    assert_eq!(listing(&world.inbox()), [name]);
    assert_eq!(world.public(), [""; 0]);
}

/// Of the same bytes, 1.2.2 and 1.2.3.
fn two_releases(world: &World) -> [PathBuf; 2] {
    ["1.2.2", "1.2.3"].map(|version| {
        let (granted, build) = world.attested_of(version, &[], &[("foo.txt", b"text\n")]);
        signed(world, &granted, &build);
        world.release(&granted)
    })
}

#[test]
fn good_signature_of_the_same_bytes_from_another_release_at_the_location() {
    let world = World::ready();
    let releases = two_releases(&world);
    copy(
        &releases[0].join("foo.txt.asc"),
        &releases[1].join("foo.txt.asc"),
    );
    fs::remove_dir_all(&releases[0]).expect("removed");
    refused_at_the_location(&world, "`version@example.org` is `1.2.2`; expected `1.2.3`");
}

#[test]
fn good_list_of_another_release_at_the_location() {
    let world = World::ready();
    let releases = two_releases(&world);
    for name in ["SHA256SUMS", "SHA256SUMS.asc"] {
        copy(&releases[0].join(name), &releases[1].join(name));
    }
    fs::remove_dir_all(&releases[0]).expect("removed");
    refused_at_the_location(&world, "has SHA-256");
}

#[test]
fn symbolic_link_at_the_location() {
    let names = [
        "foo.txt",
        "foo.txt.asc",
        "SHA256SUMS",
        "evidence/grant.json",
        "evidence/m1/build.manifest",
    ];
    changes_refused_at_the_location(names.map(|name| {
        let change = move |world: &World, release: &Path| {
            copy(&release.join(name), &world.at("elsewhere"));
            fs::remove_file(release.join(name)).expect("removed");
            symlink(world.at("elsewhere"), release.join(name)).expect("linked");
        };
        (change, "is a symbolic link, not a regular file")
    }));
    change_refused_at_the_location(
        |world, release| {
            fs::rename(release.join("evidence"), world.at("elsewhere")).expect("moved");
            symlink(world.at("elsewhere"), release.join("evidence")).expect("linked");
        },
        "is a file or a link, not a folder",
    );
}

#[test]
fn symbolic_link_in_place_of_a_submission() {
    let world = World::ready();
    let release = world.signed();
    fs::rename(&release, world.at("elsewhere")).expect("moved");
    symlink(world.at("elsewhere"), &release).expect("linked");
    world.admit().refused("is a file or a link, not a folder");
    assert_eq!(world.public(), [""; 0]);
    assert!(
        fs::symlink_metadata(&release)
            .expect("still there")
            .is_symlink()
    );
}

#[test]
fn fifo_at_the_location() {
    change_refused_at_the_location(
        |_, release| {
            fs::remove_file(release.join("foo.txt")).expect("removed");
            tool("mkfifo", &[&"foo.txt"], release);
        },
        "is a FIFO, not a regular file",
    );
}

#[test]
fn signature_of_the_wrong_type_at_the_location() {
    // Not by our key; but its type is refused first, by any key.
    change_refused_at_the_location(
        |_, release| {
            let signature =
                openpgp::detached_as(SignatureType::Text, &openpgp::stranger(), b"text\n");
            fs::write(release.join("foo.txt.asc"), openpgp::armored(&signature)).expect("written");
        },
        "`foo.txt.asc`: the signature is a signature of type",
    );
}

/// A valid signature, but not in the bytes that the signing host made: something could hide in
/// them.
#[test]
fn signature_rewritten_at_the_location() {
    change_refused_at_the_location(
        |_, release| {
            let armour = fs::read_to_string(release.join("foo.txt.asc")).expect("a signature");
            let more = armour.replacen("-----\n", "-----\nComment: hello\n", 1);
            assert_ne!(more, armour);
            fs::write(release.join("foo.txt.asc"), more).expect("written");
        },
        "was rewritten since the signing host made it",
    );
}

#[test]
fn other_release_under_a_name_that_was_admitted_before() {
    let world = World::ready();
    world.signed();
    world.admit().ok();
    let public = tree(&world.releases());

    let (granted, build) = world.attested_of("1.2.3", &[], &[("foo.txt", b"other\n")]);
    signed(&world, &granted, &build);
    world
        .admit()
        .refused("another release `foo-1.2.3` was admitted before");
    assert_eq!(
        listing(&world.inbox()),
        ["foo-1.2.3", "foo-1.2.3.admitted", "foo-1.2.3.refused"]
    );
    assert_eq!(
        tree(&world.releases()),
        public,
        "what is public stays as it is"
    );
}

#[test]
fn one_bad_submission_does_not_hold_up_the_good_one() {
    let world = World::ready();
    world.signed();
    fs::create_dir(world.inbox().join("bad-1")).expect("made");
    world
        .admit()
        .refused("bad-1: refused, `SHA256SUMS` is missing")
        .says("foo-1.2.3: admitted");
    assert_eq!(world.public(), ["foo-1.2.3"]);
    assert_eq!(
        listing(&world.inbox()),
        ["bad-1", "bad-1.refused", "foo-1.2.3.admitted"]
    );
}

#[test]
fn release_certificate_expired_at_the_location() {
    if !can_travel() {
        return;
    }
    let world = World::new();
    world.init().with(&[&"--expires", &"1d"]).ok();
    world.export();
    let release = world.signed();
    world
        .admit()
        .at("+2d")
        .refused("no release can be admitted");
    assert_eq!(world.public(), [""; 0]);
    // What was signed in its time stays good.
    world.verify(&release).at("+2d").ok();
}

#[test]
fn release_certificate_revoked_at_the_location() {
    let world = World::ready();
    let release = world.signed();
    let revocation = fs::read_to_string(world.home().join("revocation.asc"))
        .expect("the revocation certificate");
    fs::write(
        world.certificate(),
        openpgp::revoked(&world.certificate(), &revocation),
    )
    .expect("published");
    world.verify(&release).refused("was revoked");
    world.admit().refused("was revoked");
    assert_eq!(world.public(), [""; 0]);
}

#[test]
fn single_file_with_a_bad_signature() {
    let world = World::ready();
    let release = world.signed();
    world.verify(&release.join("foo.txt")).ok();
    fs::write(release.join("foo.txt"), b"backdoor\n").expect("changed");
    world
        .verify(&release.join("foo.txt"))
        .refused("does not match");
    fs::remove_file(release.join("foo.tar.asc")).expect("removed");
    world
        .verify(&release.join("foo.tar"))
        .refused("foo.tar.asc` is missing");
}

/// What a path shows is not what is opened: it need not be text.
#[test]
fn files_in_a_folder_whose_name_is_not_text() {
    let world = World::ready();
    let release = world.signed();
    let folder = world.at("").join(OsStr::from_bytes(b"d\xff"));
    fs::rename(&release, &folder).expect("renamed");
    let decoy = world.new_folder("x").with_file_name("d\u{fffd}");
    copy_tree(&folder, &decoy);
    fs::write(decoy.join("foo.txt.asc"), b"").expect("changed");
    world.verify(&folder.join("foo.txt")).ok();
    fs::remove_file(folder.join("foo.txt.asc")).expect("removed");
    world
        .verify(&folder.join("foo.txt"))
        .refused("foo.txt.asc` is missing");
    world
        .countersign(&[&"build-key", &"-o", &folder.join("m1")])
        .ok();
    assert!(folder.join("m1.pub").exists() && !decoy.join("m1.pub").exists());
}

// ---- What is signed of a release ----

/// Removing signatures does not make a release of which only the list is signed, and adding some
/// does not make more of such a release than it is.
#[test]
fn signatures_taken_away_or_added() {
    let world = World::ready();
    let full = world.signed();
    let whole = full.with_file_name("foo-1.2.4");
    let artifacts: [(&str, &[u8]); 2] = [("foo.txt", b"text\n"), ("foo.tar", &[7; 100_000])];
    let (granted, build) = world.attested_of("1.2.4", &[&"--form", &"list"], &artifacts);
    world.sign(&granted, &build).ok();
    world.verify(&whole).ok();
    for folder in [&full, &whole] {
        world.verify(&folder.join("SHA256SUMS")).ok();
    }

    let list = fs::read_to_string(full.join("SHA256SUMS")).expect("the list");
    let path = "evidence/release.json";
    let contents = fs::read_to_string(full.join(path)).expect("the contents");
    let of_list = contents.replacen("\"form\": \"each\"", "\"form\": \"list\"", 1);
    assert_ne!(of_list, contents);
    let [each, only] = [&contents, &of_list].map(|text| entry(text.as_bytes(), path));
    let says_so = list.replacen(&each, &only, 1);
    assert_ne!(says_so, list);
    for name in ["foo.txt.asc", "foo.tar.asc"] {
        copy(&full.join(name), &whole.join(name));
        world
            .verify(&whole)
            .refused("but SHA256SUMS does not list it");
        fs::remove_file(whole.join(name)).expect("the signature");
        fs::remove_file(full.join(name)).expect("the signature");
    }
    world.verify(&full).refused("`foo.tar.asc` is missing");
    world
        .verify(&full.join("foo.txt"))
        .refused("`")
        .says("is missing");
    fs::write(full.join(path), of_list).expect("the contents");
    world
        .verify(&full)
        .refused("`evidence/release.json` has SHA-256");
    fs::write(full.join("SHA256SUMS"), says_so).expect("the list");
    world.verify(&full).refused("signature `SHA256SUMS.asc`");
    world
        .verify(&full.join("foo.txt"))
        .refused("only the SHA256SUMS of this release is signed")
        .says("verify the folder");
    world.admit().refused("1 of 2").says("foo-1.2.4: admitted");
    assert_eq!(world.public(), ["foo-1.2.4"]);

    // The list of the other, as it is without its first line.
    let public = world.releases().join("foo-1.2.4");
    let list = fs::read_to_string(public.join("SHA256SUMS")).expect("the list");
    fs::write(
        public.join("SHA256SUMS"),
        list.split_once('\n').expect("lines").1,
    )
    .expect("the list");
    world.verify(&public).refused("signature `SHA256SUMS.asc`");
    fs::write(public.join("SHA256SUMS"), list).expect("the list");
    fs::write(public.join("foo.txt"), "evil\n").expect("an artifact");
    world.verify(&public).refused("`foo.txt` has SHA-256");
}
