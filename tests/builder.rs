//! The program without the feature `host`: what the build machine and the location have.
#![cfg(not(feature = "host"))]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use common::{Arguments, Run, can_travel, copy_tree, have, listing, public, tool, tool_refuses, tree};
use countersign::domain::build_key::BuildKeyLabel;
use countersign::domain::digest::GrantId;
use countersign::domain::evidence::EvidenceKind;
use countersign::domain::time::{Period, Timestamp};
use countersign::openpgp::BuildKey;
use tempfile::TempDir;

/// See tests/data/README.md.
fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/release")
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn countersign<'a>(folder: &TempDir, arguments: Arguments<'_>) -> Run<'a> {
    Run::new(folder.path(), arguments)
}

#[test]
fn has_what_builder_and_location_need_and_nothing_else() {
    let names: Vec<_> = countersign::cli::command().get_subcommands().map(|it| it.get_name().to_owned()).collect();
    assert_eq!(names, ["build-key", "attest", "admit", "verify"]);
    let folder = folder();
    for name in ["build-key", "attest", "admit", "verify"] {
        countersign(&folder, &[&name, &"--help"]).ok().says("Usage: countersign");
    }
    for name in ["init", "grant", "approve", "grants", "sign", "log", "key", "demo"] {
        countersign(&folder, &[&name]).usage("unrecognized subcommand");
    }
    countersign(&folder, &[&"--home", &"home", &"verify"]).usage("unexpected argument '--home'");
}

#[test]
fn verifies_a_release() {
    let folder = folder();
    let (cert, release) = (data().join("release.pgp"), data().join("foo-1.2.3"));
    let verify = |path: &Path| countersign(&folder, &[&"verify", &"--cert", &cert, &path]);
    verify(&release).ok().says("release foo 1.2.3").says("attested by m1");
    verify(&release.join("foo.c")).ok();

    let changed = folder.path().join("changed");
    copy_tree(&release, &changed);
    fs::write(changed.join("foo.c"), b"bar()\n").expect("changed");
    verify(&changed).refused("`foo.c` has SHA-256");
    verify(&changed.join("foo.c")).refused("does not fit");
}

#[test]
fn verifies_a_release_years_later() {
    if !can_travel() {
        return;
    }
    let folder = folder();
    let (cert, release) = (data().join("release.pgp"), data().join("foo-1.2.3"));
    countersign(&folder, &[&"verify", &"--cert", &cert, &release]).at("+9y").ok();
}

#[test]
fn admits_a_release() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    let (inbox, releases) = (at("inbox"), at("releases"));
    copy_tree(&data().join("foo-1.2.3"), &inbox.join("foo-1.2.3"));
    copy_tree(&data().join("foo-1.2.3"), &inbox.join("foo-1.2.4"));
    fs::create_dir(&releases).expect("a folder");
    let admit: Arguments<'_> = &[&"admit", &"--cert", &data().join("release.pgp"), &inbox, &releases];
    countersign(&folder, admit).refused("foo-1.2.4: refused, the folder is called").says("foo-1.2.3: admitted");
    assert_eq!(listing(&inbox), ["foo-1.2.4", "foo-1.2.4.refused"]);
    assert_eq!(public(&releases), ["foo-1.2.3"]);
    assert_eq!(tree(&releases.join("foo-1.2.3")), tree(&data().join("foo-1.2.3")));
}

#[test]
fn attests_a_build() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    let now = Timestamp::now();
    let end = now.after(Period::seconds(3600)).expect("an hour from now");
    let key = BuildKey::generate("m1, foo 1.2.3", now.before(600), end);
    let label = BuildKeyLabel {
        grant: GrantId::of(b"grant"),
        builder: "m1".parse().expect("a name"),
        project: "foo".parse().expect("a name"),
        version: "1.2.3".parse().expect("a version"),
        kind: EvidenceKind::SignedManifest,
        domain: None,
        names: vec!["*".parse().expect("a pattern")],
    };
    fs::write(at("build.key"), &*key.to_file(Some(&label))).expect("the build key");
    fs::set_permissions(at("build.key"), fs::Permissions::from_mode(0o600)).expect("permissions");
    fs::create_dir(at("dist")).expect("a folder");
    fs::write(at("dist/foo.txt"), b"").expect("an artifact");

    countersign(&folder, &[&"attest", &"--key", &"build.key", &"dist/foo.txt"]).ok().says("overwritten and removed");
    assert!(!at("build.key").exists());
    let manifest = fs::read_to_string(at("dist/build.manifest")).expect("the manifest");
    let expected = format!(
        "# countersign-manifest/1\n# grant: {}\n# builder: m1\n# project: foo\n# version: 1.2.3\n\
         e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  foo.txt\n",
        label.grant
    );
    assert_eq!(manifest, expected);
    if have(&["gpgv"]) {
        fs::write(at("build-key.pgp"), key.certificate().binary()).expect("the public half");
        let check: Arguments<'_> = &[&"--keyring", &at("build-key.pgp"), &"build.manifest.sig", &"build.manifest"];
        tool("gpgv", check, &at("dist"));
        fs::write(at("dist/build.manifest"), manifest + "\n").expect("changed");
        tool_refuses("gpgv", check, &at("dist"));
    }
}

/// A consumer needs no signing host: the certificate, the log's public key and the proof are enough.
#[test]
fn a_proof_is_checked_with_the_logs_public_key_alone() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    copy_tree(&data().with_file_name("logged"), folder.path());
    let verify = |key: &str| {
        let (proof, file) = (at("foo.c.tlog-proof"), at("foo.c"));
        let known: Arguments<'_> = &[&"--cert", &at("release.pgp"), &"--log-key", &key, &"--proof", &proof, &file];
        countersign(&folder, &[&"verify"]).with(known)
    };
    let key = fs::read_to_string(at("log.vkey")).expect("a key");
    let file = at("log.vkey").to_string_lossy().into_owned();
    for key in [key.trim_end(), &file] {
        verify(key).ok().says("good").says("announced in entry 8 of the log");
    }
    let other = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    verify(other).refused("is not signed by `PeterNeumann`");
    let proof = fs::read_to_string(at("foo.c.tlog-proof")).expect("a proof");
    fs::write(at("foo.c.tlog-proof"), proof.replacen("index 8", "index 7", 1)).expect("changed");
    verify(key.trim_end()).refused("does not lead from entry 7");
}
