//! The program without the feature `host`: what the build machine and the location have.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::tokens::missing;
use crate::common::{
    Arguments, Run, Said, can_travel, copy, copy_tree, have, listing, public, tool, tool_refuses,
    tree,
};
use countersign::domain::build_key::BuildKeyLabel;
use countersign::domain::digest::GrantId;
use countersign::domain::evidence::EvidenceKind;
use countersign::domain::grant::{Bounds, Limits};
use countersign::domain::signing::ReleaseForm;
use countersign::domain::time::{Period, Timestamp};
use countersign::openpgp::{BuildKey, GeneratedKey};
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
    let names: Vec<_> = countersign::cli::command()
        .get_subcommands()
        .map(|it| it.get_name().to_owned())
        .collect();
    assert_eq!(names, ["build-key", "attest", "admit", "verify"]);
    let folder = folder();
    for name in ["build-key", "attest", "admit", "verify"] {
        countersign(&folder, &[&name, &"--help"])
            .ok()
            .says("Usage: countersign");
    }
    for name in [
        "init", "grant", "approve", "grants", "sign", "status", "log", "key",
    ] {
        countersign(&folder, &[&name]).usage("unrecognized subcommand");
    }
    countersign(&folder, &[&"--home", &"home", &"verify"]).usage("unexpected argument '--home'");
}

#[test]
fn verifies_a_release() {
    let folder = folder();
    let (cert, release) = (data().join("release.pgp"), data().join("foo-1.2.3"));
    let verify = |path: &Path| countersign(&folder, &[&"verify", &"--cert", &cert, &path]);
    verify(&release)
        .ok()
        .says("good  foo 1.2.3 (2 files) by ")
        .says("Foo Releases <release@example.org>");
    verify(&release)
        .with(&[&"--verbose"])
        .ok()
        .says("attested   by m1");
    verify(&release.join("foo.c")).ok();

    let changed = folder.path().join("changed/foo-1.2.3");
    copy_tree(&release, &changed);
    fs::write(changed.join("foo.c"), b"bar()\n").expect("changed");
    verify(&changed).refused("`foo.c` has SHA-256");
    verify(&changed.join("foo.c")).refused("does not match");
}

#[test]
fn verifies_a_release_years_later() {
    if !can_travel() {
        return;
    }
    let folder = folder();
    let (cert, release) = (data().join("release.pgp"), data().join("foo-1.2.3"));
    countersign(&folder, &[&"verify", &"--cert", &cert, &release])
        .at("+9y")
        .ok();
}

#[test]
fn admits_a_release() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    let (inbox, releases) = (at("inbox"), at("releases"));
    copy_tree(&data().join("foo-1.2.3"), &inbox.join("foo-1.2.3"));
    copy_tree(&data().join("foo-1.2.3"), &inbox.join("foo-1.2.4"));
    fs::create_dir(&releases).expect("a folder");
    let admit: Arguments<'_> = &[
        &"admit",
        &"--cert",
        &data().join("release.pgp"),
        &inbox,
        &releases,
    ];
    countersign(&folder, admit)
        .refused("foo-1.2.4: refused, the folder is called")
        .says("foo-1.2.3: admitted");
    assert_eq!(
        listing(&inbox),
        ["foo-1.2.3.admitted", "foo-1.2.4", "foo-1.2.4.refused"]
    );
    assert_eq!(public(&releases), ["foo-1.2.3"]);
    assert_eq!(
        tree(&releases.join("foo-1.2.3")),
        tree(&data().join("foo-1.2.3"))
    );
}

#[test]
fn attests_a_build() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    let (key, label) = granted();
    write_private(&at("build.key"), &key.to_file(Some(&label)));
    fs::create_dir(at("dist")).expect("a folder");
    fs::write(at("dist/foo.txt"), b"").expect("an artifact");

    countersign(
        &folder,
        &[&"attest", &"--key", &"build.key", &"dist/foo.txt"],
    )
    .ok()
    .says("overwritten and removed");
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
        let check: Arguments<'_> = &[
            &"--keyring",
            &at("build-key.pgp"),
            &"build.manifest.sig",
            &"build.manifest",
        ];
        tool("gpgv", check, &at("dist"));
        fs::write(at("dist/build.manifest"), manifest + "\n").expect("changed");
        tool_refuses("gpgv", check, &at("dist"));
    }
}

/// A consumer needs no signing host: the certificate, the log's public key and the proof are
/// enough.
#[test]
fn a_proof_is_checked_with_the_logs_public_key_alone() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    copy_tree(&data().with_file_name("logged"), folder.path());
    let verify = |key: &str| {
        let (proof, file) = (at("foo.c.tlog-proof"), at("foo.c"));
        let known: Arguments<'_> = &[
            &"--cert",
            &at("release.pgp"),
            &"--log-key",
            &key,
            &"--proof",
            &proof,
            &file,
        ];
        countersign(&folder, &[&"verify"]).with(known)
    };
    let key = fs::read_to_string(at("log.vkey")).expect("a key");
    let file = at("log.vkey").to_string_lossy().into_owned();
    for key in [key.trim_end(), &file] {
        verify(key)
            .ok()
            .says("good")
            .says("announced in entry 8 of the log");
    }
    let other = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    verify(other).refused("is not signed by `PeterNeumann`");
    let proof = fs::read_to_string(at("foo.c.tlog-proof")).expect("a proof");
    fs::write(
        at("foo.c.tlog-proof"),
        proof.replacen("index 8", "index 7", 1),
    )
    .expect("changed");
    verify(key.trim_end()).refused("does not lead from entry 7");
}

/// The static program in a folder that holds it and what it is to read, and nothing else: no
/// library, no `/proc`, no time zones.
#[test]
fn the_static_program_needs_nothing_of_its_machine() {
    let Some(program) = static_program() else {
        return;
    };
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    let (key, label) = granted();
    copy(&program, &at("countersign"));
    copy_tree(&data(), &at("inbox"));
    fs::rename(at("inbox/release.pgp"), at("release.pgp")).expect("the certificate");
    for name in ["dist", "releases"] {
        fs::create_dir(at(name)).expect("a folder");
    }
    fs::write(at("dist/foo.txt"), b"text\n").expect("an artifact");
    write_private(&at("build.key"), &key.to_file(Some(&label)));

    alone(
        &folder,
        &[&"attest", &"--key", &"/build.key", &"/dist/foo.txt"],
    )
    .says("attested 1 artifact of foo 1.2.3");
    assert_eq!(
        listing(&at("dist")),
        ["build.manifest", "build.manifest.sig", "foo.txt"]
    );
    assert!(!at("build.key").exists());
    alone(&folder, &[&"build-key", &"-o", &"/m1"]).says("is ready");
    alone(
        &folder,
        &[
            &"admit",
            &"--cert",
            &"/release.pgp",
            &"/inbox",
            &"/releases",
        ],
    )
    .says("foo-1.2.3: admitted");
    alone(
        &folder,
        &[
            &"verify",
            &"--cert",
            &"/release.pgp",
            &"/releases/foo-1.2.3",
        ],
    )
    .says("good  foo 1.2.3");
}

/// The program in `folder`, for which that is the root of the file system.
fn alone(folder: &TempDir, arguments: Arguments<'_>) -> Said {
    let root = folder.path();
    let (program, before): (_, Arguments<'_>) = match rustix::process::geteuid().is_root() {
        true => ("chroot", &[&root, &"/countersign"]),
        false => (
            "unshare",
            &[&"--map-root-user", &"chroot", &root, &"/countersign"],
        ),
    };
    tool(program, &[before, arguments].concat(), root)
}

/// What `make builder` makes; `None` where it could not be made, or not as a static program.
fn static_program() -> Option<PathBuf> {
    let Some(program) = std::env::var_os("COUNTERSIGN_TEST_BUILDER").map(PathBuf::from) else {
        return missing("the builder's binary (COUNTERSIGN_TEST_BUILDER; see `make builder`)");
    };
    let bytes = fs::read(&program).expect("the builder's binary");
    match bytes.windows(LOADER.len()).any(|window| window == LOADER) {
        true => missing("a static build of the builder's binary"),
        false => Some(program),
    }
}

/// Every program that is linked when it starts contains this.
const LOADER: &[u8] = b"/ld-linux";

/// What the builder's binary must not depend on: tokens, SQLite, and whatever builds or links C.
const HOST_ONLY: [&str; 9] = [
    "bindgen",
    "cc",
    "cmake",
    "cryptoki",
    "openpgp-card",
    "pcsc",
    "pkg-config",
    "rusqlite",
    "vcpkg",
];

#[test]
fn depends_on_no_token_no_database_and_no_c() {
    if !have(&["cargo"]) {
        return;
    }
    let builder = unwanted(&["--no-default-features"]);
    assert_eq!(builder, [""; 0], "the builder's binary depends on them");
    // The same question about the signing host's program has an answer.
    let host = unwanted(&[]);
    for name in [
        "cc",
        "cryptoki",
        "libsqlite3-sys",
        "pcsc",
        "pcsc-sys",
        "rusqlite",
    ] {
        assert!(
            host.iter().any(|found| found == name),
            "not among the dependencies: {name}; there are {host:?}"
        );
    }
}

/// The packages that a program with these features should not need on M.
fn unwanted(features: &[&str]) -> Vec<String> {
    let tree = Command::new("cargo")
        .args([
            "tree",
            "--locked",
            "--edges",
            "normal,build",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ])
        .args(features)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo");
    assert!(
        tree.status.success(),
        "{}",
        String::from_utf8_lossy(&tree.stderr)
    );
    let tree = String::from_utf8(tree.stdout).expect("text");
    let names = tree.lines().filter_map(|line| line.split(' ').next());
    // The one package of that kind that links nothing: numbers of the kernel.
    let is_c = |name: &str| name.ends_with("-sys") && name != "linux-raw-sys";
    let names: BTreeSet<&str> = names
        .filter(|name| HOST_ONLY.contains(name) || is_c(name))
        .collect();
    names.into_iter().map(str::to_owned).collect()
}

/// A build key of builder m1 of foo 1.2.3, and what its file says of that.
fn granted() -> (GeneratedKey, BuildKeyLabel) {
    let now = Timestamp::now();
    let end = now.after(Period::seconds(3600)).expect("an hour from now");
    let key = BuildKey::generate("m1, foo 1.2.3", now.before(600), end);
    let label = BuildKeyLabel {
        grant: GrantId::of(b"grant"),
        builder: "m1".parse().expect("a name"),
        project: "foo".parse().expect("a name"),
        version: "1.2.3".parse().expect("a version"),
        domain: None,
        bounds: Bounds {
            artifacts: Limits {
                names: vec!["*".parse().expect("a pattern")],
                max_count: 100,
                max_bytes: 1 << 30,
            },
            kind: EvidenceKind::SignedManifest,
            form: ReleaseForm::Each,
            not_before: now,
            expires: end,
        },
    };
    (key, label)
}

fn write_private(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).expect("a file");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("its mode");
}
