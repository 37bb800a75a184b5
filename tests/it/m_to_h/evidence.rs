//! Evidence that other people's tools make, and that they check: gpg, gpgv, sqv, openssl, coreutils
//! and securesystemslib, in the lines that docs/reference/evidence.md shows. And where a builder's
//! secret is left.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::pkcs8::DecodePrivateKey as _;
use serde_json::Value;

use super::schemes::statement_refused;
use crate::common::keyring::Keyring;
use crate::common::tokens::{Kryoptic, PIN, SoftHsm, SoftwareToken, missing, write_secret};
use crate::common::world::{Build, Granted, World};
use crate::common::{
    Said, clean_environment, copy, copy_tree, have, listing, openpgp, tool, tool_refuses, tree,
};

const PAGE: &str = include_str!("../../../docs/reference/evidence.md");

/// In byte order. The second has what shells, gpg and JSON take for something else.
const ARTIFACTS: [(&str, &[u8]); 3] = [
    ("foo-2.tar", &[7; 100_000]),
    ("foo.(5 0=@,~+).bin", b""),
    ("foo.txt", b"text\n"),
];

/// Lines of the page, by the name before them.
#[track_caller]
fn recipe(name: &str) -> &'static str {
    let mark = format!("<!-- tests/it/m_to_h/evidence.rs: {name} -->\n```sh\n");
    let (_, rest) = PAGE
        .split_once(&mark)
        .unwrap_or_else(|| panic!("the page has no lines called `{name}`"));
    rest.split_once("\n```\n").expect("a block ends").0
}

#[track_caller]
fn script(recipes: &[&str]) -> String {
    let lines: Vec<_> = recipes.iter().map(|name| recipe(name)).collect();
    format!("set -euo pipefail\n{}", lines.join("\n"))
}

#[test]
fn all_lines_of_the_page_are_run() {
    let (own, mut blocks) = (include_str!("evidence.rs"), 0);
    for (before, _) in PAGE
        .match_indices("```sh\n")
        .map(|(at, _)| PAGE.split_at(at))
    {
        let mark = before.trim_end().lines().next_back().expect("a line");
        let name = mark
            .strip_prefix("<!-- tests/it/m_to_h/evidence.rs: ")
            .and_then(|rest| rest.strip_suffix(" -->"));
        let name = name.unwrap_or_else(|| panic!("lines that no test runs, after `{mark}`"));
        assert!(
            own.contains(&format!("\"{name}\"")),
            "no test runs `{name}`"
        );
        blocks += 1;
    }
    assert!(blocks >= 15, "{blocks} blocks");
}

fn grant(world: &World, scheme: &str, form: &str) -> Granted {
    world.grant_with(&[&"--scheme", &scheme, &"--evidence", &form])
}

/// Changes one byte of a file.
fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).expect("a file");
    bytes[at] ^= 1;
    fs::write(path, bytes).expect("the file");
}

/// Where a change of one byte must be seen.
fn places(name: &str, bytes: &[u8]) -> Vec<usize> {
    let of = |text: &str| {
        String::from_utf8_lossy(bytes)
            .find(text)
            .expect("it has one")
            + text.len()
            + 20
    };
    match name {
        // Its creation time. Behind what is signed there is an area without meaning.
        name if name.ends_with(".sig") => vec![10],
        name if name.ends_with(".json") => vec![3, of("\"payload\""), of("\"sig\"")],
        _ if bytes.is_empty() => vec![],
        _ => vec![3],
    }
}

/// The build as it is goes all the way to the location, and not with one byte changed, in any of
/// its files.
#[track_caller]
fn taken(world: &World, granted: &Granted, build: &Build) {
    for name in listing(&build.folder) {
        let path = build.at(&name);
        for at in places(&name, &fs::read(&path).expect("a file")) {
            flip(&path, at);
            world.refuses(granted, build, "");
            flip(&path, at);
        }
    }
    world.sign(granted, build).ok();
    world.verify(&world.release(granted)).ok();
    world.admit().ok();
    assert_eq!(world.public(), ["foo-1.2.3"]);
}

// ---- M without countersign ----

/// A build machine that has a key file, artifacts, and everything but countersign.
struct Machine {
    folder: PathBuf,
    dist: Build,
    gpg: Keyring,
}

impl Machine {
    fn new(world: &World, key: &Path) -> Self {
        let folder = world.new_folder("machine");
        let dist = Build {
            folder: folder.join("dist"),
        };
        fs::create_dir(&dist.folder).expect("a folder");
        for (name, bytes) in ARTIFACTS {
            fs::write(dist.at(name), bytes).expect("an artifact");
        }
        fs::rename(key, folder.join("foo-1.2.3.m1.key")).expect("the key is handed over");
        let gpg = Keyring::new(&folder.join("gnupg"));
        Self { folder, dist, gpg }
    }

    /// Runs these lines of the page, and nothing else.
    #[track_caller]
    fn run(&self, recipes: &[&str]) -> Said {
        self.gpg
            .tool("bash", &[&"-c", &script(recipes)], &self.folder)
    }

    /// What it made is in `dist`, beside the artifacts.
    #[track_caller]
    fn made(&self, files: &[&str]) {
        let artifacts: BTreeSet<String> = ARTIFACTS
            .iter()
            .map(|(name, _)| (*name).to_owned())
            .collect();
        let made: Vec<_> = listing(&self.dist.folder)
            .into_iter()
            .filter(|name| !artifacts.contains(name))
            .collect();
        assert_eq!(made, files);
    }

    /// What `attest` makes of the same artifacts under the same key.
    fn as_attest_makes_it(&self, world: &World) -> PathBuf {
        let folder = world.new_folder("attested");
        let key = self.folder.join("foo-1.2.3.m1.key");
        let artifacts = ARTIFACTS.map(|(name, _)| self.dist.at(name));
        let [one, two, three] = &artifacts;
        world
            .countersign(&[
                &"attest",
                &"--keep-key",
                &"--key",
                &key,
                &"-o",
                &folder,
                one,
                two,
                three,
            ])
            .ok();
        folder
    }
}

/// The build as the release would have it, with the key in the grant: what H can check
/// without countersign.
fn laid_out(world: &World, granted: &Granted, build: &Build, machine: &Machine) -> PathBuf {
    let folder = world.new_folder("laid-out").join("foo-1.2.3");
    fs::create_dir_all(folder.join("evidence/m1")).expect("folders");
    for name in listing(&build.folder) {
        let artifact = ARTIFACTS.iter().any(|(artifact, _)| *artifact == name);
        copy(
            &build.at(&name),
            &if artifact {
                folder.join(&name)
            } else {
                folder.join("evidence/m1").join(&name)
            },
        );
    }
    let extract = format!(
        "jq -r .builders[0].key '{}' | gpg --dearmor >build-key.pgp",
        granted.grant.display()
    );
    machine.gpg.tool(
        "bash",
        &[&"-euo", &"pipefail", &"-c", &extract],
        &folder.join("evidence/m1"),
    );
    folder
}

#[test]
fn gpg_makes_a_signed_manifest() {
    if !have(&["gpg", "gpgv", "jq", "bash", "sed", "sha256sum"]) {
        return;
    }
    let world = World::ready();
    let granted = grant(&world, "openpgp", "manifest");
    let machine = Machine::new(&world, &granted.key);
    machine.run(&["the builder", "openpgp manifest"]);
    machine.made(&["build.manifest", "build.manifest.sig"]);
    assert_eq!(
        machine.dist.manifest(),
        granted.header() + &machine.dist.entries()
    );
    let folder = laid_out(&world, &granted, &machine.dist, &machine);
    tool(
        "bash",
        &[&"-c", &script(&["gpgv manifest", "sha256sum manifest"])],
        &folder,
    );
    taken(&world, &granted, &machine.dist);
}

/// By hand, gpg makes other signatures when it is asked to: those are refused, with the
/// reason.
#[test]
fn gpg_that_signs_in_armour_or_as_text() {
    if !have(&["gpg", "bash", "sed", "sha256sum"]) {
        return;
    }
    for (option, reason) in [
        (
            "--armor",
            "`build.manifest.sig`: the signature is not in binary form",
        ),
        ("--textmode", "expected one over a binary document"),
    ] {
        let world = World::ready();
        let granted = grant(&world, "openpgp", "manifest");
        let machine = Machine::new(&world, &granted.key);
        fs::write(
            machine.folder.join("gnupg/gpg.conf"),
            option.trim_start_matches('-'),
        )
        .expect("gpg's configuration");
        machine.run(&["the builder", "openpgp manifest"]);
        world.refuses(&granted, &machine.dist, reason);
    }
}

#[test]
fn gpg_makes_a_signature_for_each_artifact() {
    if !have(&["gpg", "gpgv", "jq", "bash", "sed", "awk"]) {
        return;
    }
    let world = World::ready();
    let granted = grant(&world, "openpgp", "per-artifact");
    let machine = Machine::new(&world, &granted.key);
    machine.run(&["the builder", "openpgp per-artifact"]);
    machine.made(&["foo-2.tar.sig", "foo.(5 0=@,~+).bin.sig", "foo.txt.sig"]);
    let folder = laid_out(&world, &granted, &machine.dist, &machine);
    gpgv_shows_names_and_grant(&folder, &granted);
    taken(&world, &granted, &machine.dist);
}

/// gpgv alone shows which artifact each signature is for, and under which grant.
#[track_caller]
fn gpgv_shows_names_and_grant(folder: &Path, granted: &Granted) {
    let shown = tool("bash", &[&"-c", &script(&["gpgv per-artifact"])], folder).stdout;
    let notations: Vec<(String, String)> = shown.lines().fold(Vec::new(), |mut notations, line| {
        match notations.last_mut() {
            Some((_, value)) if !line.ends_with("@example.org") => {
                *value += &line.replace("%20", " ");
            }
            _ => notations.push((line.to_owned(), String::new())),
        }
        notations
    });
    for (name, _) in ARTIFACTS {
        assert!(
            notations.contains(&("artifact@example.org".into(), name.into())),
            "{name}: {notations:?}"
        );
    }
    let grants: Vec<_> = notations
        .iter()
        .filter(|(name, _)| name == "grant@example.org")
        .collect();
    assert!(
        grants.len() == 3 && grants.iter().all(|(_, id)| *id == granted.id),
        "{notations:?}"
    );
    assert_eq!(notations.len(), 6);
}

/// The MACs that were made by hand are those that `attest` makes, and H takes them.
#[track_caller]
fn macs_by_hand(form: &str, recipes: &[&str], files: &[&str]) {
    if !have(&["openssl", "bash", "sed", "sha256sum"]) {
        return;
    }
    let world = World::ready();
    let granted = grant(&world, "hmac", form);
    let machine = Machine::new(&world, &granted.key);
    machine.run(recipes);
    machine.made(files);
    let attested = tree(&machine.as_attest_makes_it(&world));
    assert_eq!(
        attested.keys().map(String::as_str).collect::<Vec<_>>(),
        files
    );
    for (name, bytes) in attested {
        assert_eq!(
            fs::read(machine.dist.at(&name)).expect("made by hand"),
            bytes,
            "{name}"
        );
    }
    taken(&world, &granted, &machine.dist);
}

const MACS: [&str; 3] = ["foo-2.tar.mac", "foo.(5 0=@,~+).bin.mac", "foo.txt.mac"];

#[test]
fn coreutils_make_the_mac_of_a_manifest() {
    macs_by_hand(
        "manifest",
        &["the builder", "hmac", "hmac manifest"],
        &["build.manifest", "build.manifest.mac"],
    );
}

#[test]
fn openssl_makes_the_mac_of_a_manifest() {
    let recipes = ["the builder", "hmac in short", "hmac manifest"];
    macs_by_hand(
        "manifest",
        &recipes,
        &["build.manifest", "build.manifest.mac"],
    );
}

#[test]
fn coreutils_make_a_mac_for_each_artifact() {
    macs_by_hand(
        "per-artifact",
        &["the builder", "hmac", "hmac per-artifact"],
        &MACS,
    );
}

#[test]
fn openssl_makes_a_mac_for_each_artifact() {
    macs_by_hand(
        "per-artifact",
        &["the builder", "hmac in short", "hmac per-artifact"],
        &MACS,
    );
}

/// No process that the lines start gets the nonce in its arguments or its environment; of the short
/// way that the page shows.
#[test]
fn nonce_by_hand_is_in_no_argument_and_no_environment() {
    if !have(&["openssl", "bash", "sed", "sha256sum"]) {
        return;
    }
    for (way, shown) in [("hmac", false), ("hmac in short", true)] {
        let world = World::ready();
        let granted = grant(&world, "hmac", "manifest");
        let file = fs::read_to_string(&granted.key).expect("the key file");
        let nonce = file.lines().last().expect("a nonce").to_owned();
        assert_eq!(nonce.len(), 64);
        let machine = Machine::new(&world, &granted.key);

        // Every program of these lines is started by a script that writes down what it sees of it.
        let (spies, seen) = (world.new_folder("spies"), world.at("seen"));
        let mut count = 0;
        for program in [
            "openssl",
            "sha256sum",
            "cut",
            "cat",
            "tail",
            "sed",
            "mv",
            "printf",
            "basenc",
            "tr",
        ] {
            let Some(real) = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
                .map(|folder| folder.join(program))
                .find(|path| path.is_file())
            else {
                continue;
            };
            let spy = format!(
                "#!/bin/bash\n{{ printf '%s\\n' \"$0\" \"$@\"; export -p; }} >>'{}'\n\
                 exec '{}' \"$@\"\n",
                seen.display(),
                real.display()
            );
            fs::write(spies.join(program), spy).expect("a script");
            fs::set_permissions(spies.join(program), fs::Permissions::from_mode(0o755))
                .expect("its mode");
            count += 1;
        }
        assert!(count >= 8);
        let spied = format!(
            "PATH={}:$PATH\n{}",
            spies.display(),
            script(&["the builder", way, "hmac manifest"])
        );
        machine.gpg.tool("bash", &[&"-c", &spied], &machine.folder);
        let seen = fs::read_to_string(seen).expect("what was seen");
        assert!(
            seen.contains("/openssl\ndgst\n") && seen.contains("/sha256sum\n"),
            "{seen}"
        );
        assert_eq!(seen.contains(&nonce), shown, "{way}");
        world.sign(&granted, &machine.dist).ok();
    }
}

#[test]
fn openssl_makes_an_envelope() {
    if !have(&["openssl", "bash", "sed", "sha256sum", "base64"]) {
        return;
    }
    let world = World::ready();
    let granted = grant(&world, "dsse", "manifest");
    let machine = Machine::new(&world, &granted.key);
    machine.run(&["the builder", "dsse manifest"]);
    machine.made(&["build.dsse.json"]);
    taken(&world, &granted, &machine.dist);
}

/// The Python that has securesystemslib, and what drives it.
fn securesystemslib() -> Option<(PathBuf, PathBuf)> {
    let Some(python) = std::env::var_os("COUNTERSIGN_TEST_SECURESYSTEMSLIB") else {
        return missing(
            "securesystemslib (COUNTERSIGN_TEST_SECURESYSTEMSLIB; see \
             `tests/equipment.sh securesystemslib`)",
        );
    };
    Some((
        python.into(),
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/securesystemslib/envelope.py"),
    ))
}

/// A statement as another tool writes it: other white space, other order, more digests, a start and
/// an end.
fn statement(granted: &Granted, build: &Build) -> String {
    let entries = build.entries();
    let subject = |line: &str| {
        let (digest, name) = line.split_once("  ").expect("a digest and a name");
        let bytes = fs::read(build.at(name)).expect("an artifact");
        let sha512 = hex::encode(<sha2::Sha512 as sha2::Digest>::digest(bytes));
        let digest = serde_json::json!({ "sha512": sha512, "sha256": digest });
        serde_json::json!({ "digest": digest, "name": name, "mediaType": "text/plain" })
    };
    let subjects: Vec<_> = entries.lines().rev().map(subject).collect();
    let now = countersign::domain::time::Timestamp::now().to_string();
    let statement = serde_json::json!({
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": "https://example.org/build/1",
                "externalParameters": { "grant": granted.id, "workflow": "release.yml" },
                "resolvedDependencies": [
                    { "uri": "git+https://example.org/foo", "digest": { "gitCommit": "00" } },
                ],
            },
            "runDetails": {
                "builder": { "id": "https://example.org/builders/m1" },
                "metadata": { "invocationId": "1", "startedOn": now, "finishedOn": now },
            },
        },
        "subject": subjects,
        "_type": "https://in-toto.io/Statement/v1",
    });
    serde_json::to_string_pretty(&statement).expect("JSON")
}

#[test]
fn securesystemslib_makes_an_envelope() {
    let Some((python, driver)) = securesystemslib() else {
        return;
    };
    let world = World::ready();
    let (key, public) = (world.at("m1.pem"), world.at("m1.pub"));
    tool(
        "env",
        &[&python, &"-B", &driver, &"generate", &key, &public],
        &world.at("."),
    );
    let granted = world.grant_enrolled(&public, &[&"--scheme", &"dsse"]);
    let build = world.build(&ARTIFACTS);
    fs::write(world.at("statement"), statement(&granted, &build)).expect("written");
    let envelope = build.at("build.dsse.json");
    tool(
        "env",
        &[
            &python,
            &"-B",
            &driver,
            &"sign",
            &key,
            &world.at("statement"),
            &envelope,
        ],
        &world.at("."),
    );
    taken(&world, &granted, &build);
    // Payload and signature are in the release as they were made.
    let released = world
        .releases()
        .join("foo-1.2.3/evidence/m1/build.dsse.json");
    let [released, made] = [released, envelope].map(|path| {
        let bytes = fs::read(path).expect("an envelope");
        let envelope: serde_json::Value = serde_json::from_slice(&bytes).expect("JSON");
        let signature = envelope["signatures"][0]["sig"].clone();
        (envelope["payload"].clone(), signature)
    });
    assert_eq!(released, made);
}

// ---- Checks without countersign ----

/// A release of what `attest` made, and what M would have kept of its key.
fn released(world: &World, scheme: &str, form: &str) -> (Granted, PathBuf) {
    let (granted, build) = (grant(world, scheme, form), world.build(&ARTIFACTS));
    world.attest(&granted, &build).with(&[&"--keep-key"]).ok();
    world.sign(&granted, &build).ok();
    world.admit().ok();
    let folder = world.new_folder("checked").join("foo-1.2.3");
    copy_tree(&world.releases().join("foo-1.2.3"), &folder);
    (granted, folder)
}

/// `check` accepts the release as it is, and refuses it when one byte of any of these files
/// differs.
#[track_caller]
fn says_yes_and_no(folder: &Path, files: &[(&str, usize)], check: impl Fn(bool)) {
    check(true);
    for (file, at) in files {
        flip(&folder.join(file), *at);
        check(false);
        flip(&folder.join(file), *at);
    }
    check(true);
}

/// These lines of the page, run in the release, show it.
#[track_caller]
fn lines_say_yes_and_no(folder: &Path, lines: &str, files: &[(&str, usize)]) {
    says_yes_and_no(folder, files, |yes| {
        let run = if yes { tool } else { tool_refuses };
        run("bash", &[&"-c", &lines], folder);
    });
}

#[track_caller]
fn tool_checks(programs: &[&str], scheme: &str, form: &str, recipe: &str, files: &[(&str, usize)]) {
    if !have(programs) {
        return;
    }
    let world = World::ready();
    let (_, folder) = released(&world, scheme, form);
    lines_say_yes_and_no(&folder, &script(&[recipe]), files);
}

const SIGNED_MANIFEST: [(&str, usize); 3] = [
    ("evidence/m1/build.manifest", 100),
    // Its creation time.
    ("evidence/m1/build.manifest.sig", 10),
    // A byte of its point.
    ("evidence/m1/build-key.pgp", 40),
];

#[test]
fn gpgv_checks_a_signed_manifest() {
    tool_checks(
        &["gpgv", "bash"],
        "openpgp",
        "manifest",
        "gpgv manifest",
        &SIGNED_MANIFEST,
    );
}

#[test]
fn sqv_checks_a_signed_manifest() {
    tool_checks(
        &["sqv", "bash"],
        "openpgp",
        "manifest",
        "sqv manifest",
        &SIGNED_MANIFEST,
    );
}

#[test]
fn sha256sum_checks_a_manifest() {
    for scheme in ["openpgp", "hmac"] {
        let files = [
            ("foo-2.tar", 50_000),
            ("foo.txt", 4),
            ("evidence/m1/build.manifest", 250),
        ];
        tool_checks(
            &["sha256sum", "bash"],
            scheme,
            "manifest",
            "sha256sum manifest",
            &files,
        );
    }
}

const SIGNATURES: [(&str, usize); 5] = [
    ("foo-2.tar", 50_000),
    ("foo.txt", 4),
    ("evidence/m1/foo.(5 0=@,~+).bin.sig", 10),
    ("evidence/m1/foo.txt.sig", 10),
    ("evidence/m1/build-key.pgp", 40),
];

#[test]
fn gpgv_checks_a_signature_for_each_artifact() {
    if !have(&["gpgv", "bash", "awk"]) {
        return;
    }
    let world = World::ready();
    let (granted, folder) = released(&world, "openpgp", "per-artifact");
    lines_say_yes_and_no(&folder, &script(&["gpgv per-artifact"]), &SIGNATURES);
    gpgv_shows_names_and_grant(&folder, &granted);
}

#[test]
fn sqv_checks_a_signature_for_each_artifact() {
    tool_checks(
        &["sqv", "bash"],
        "openpgp",
        "per-artifact",
        "sqv per-artifact",
        &SIGNATURES,
    );
}

/// In the payload, in the signature, and in the key, each of them base64.
const ENVELOPE: [(&str, usize); 2] = [
    ("evidence/m1/build.dsse.json", 100),
    ("evidence/m1/build-key.pem", 60),
];

#[test]
fn openssl_checks_an_envelope() {
    if !have(&["openssl", "jq", "base64", "bash"]) {
        return;
    }
    let world = World::ready();
    let (_, folder) = released(&world, "dsse", "manifest");
    let lines = script(&["openssl envelope"]);
    let signature = signature_at(&folder);
    lines_say_yes_and_no(&folder, &lines, &[&ENVELOPE[..], &[signature]].concat());
    // Another type under the same signature.
    let envelope = folder.join("evidence/m1/build.dsse.json");
    let said = tool("jq", &[&"-j", &".payloadType", &envelope], &folder).stdout;
    assert!(lines.contains(&format!("DSSEv1 28 {said} ")) && said.len() == 28);
}

/// A byte of the signature in an envelope.
fn signature_at(folder: &Path) -> (&'static str, usize) {
    let text =
        fs::read_to_string(folder.join("evidence/m1/build.dsse.json")).expect("the envelope");
    (
        "evidence/m1/build.dsse.json",
        text.find("\"sig\":\"").expect("a signature") + 20,
    )
}

#[test]
fn sha256sum_checks_the_subjects_of_an_envelope() {
    let files = [("foo-2.tar", 50_000), ("foo.txt", 4)];
    tool_checks(
        &["sha256sum", "jq", "base64", "bash"],
        "dsse",
        "manifest",
        "sha256sum envelope",
        &files,
    );
}

#[test]
fn securesystemslib_checks_an_envelope() {
    let Some((python, driver)) = securesystemslib() else {
        return;
    };
    let world = World::ready();
    let (granted, folder) = released(&world, "dsse", "manifest");
    let builder = folder.join("evidence/m1");
    let signature = signature_at(&folder);
    says_yes_and_no(&folder, &[&ENVELOPE[..], &[signature]].concat(), |yes| {
        let run = if yes { tool } else { tool_refuses };
        let said = run(
            "env",
            &[
                &python,
                &"-B",
                &driver,
                &"verify",
                &"build-key.pem",
                &"build.dsse.json",
            ],
            &builder,
        );
        if yes {
            assert_eq!(
                said.json()["subject"][0]["annotations"]["grant"],
                granted.id
            );
        }
    });
    // A key that is one, and another's.
    let other = grant(&world, "dsse", "manifest");
    fs::write(
        builder.join("build-key.pem"),
        other.terms()["builders"][0]["key"].as_str().expect("a key"),
    )
    .expect("written");
    let verify = ["verify", "build-key.pem", "build.dsse.json"];
    let refused = tool_refuses(
        "env",
        &[&python, &"-B", &driver, &verify[0], &verify[1], &verify[2]],
        &builder,
    );
    assert!(
        refused
            .stderr
            .contains("refused: Accepted signatures do not match threshold"),
        "{refused:?}"
    );
}

#[track_caller]
fn openssl_checks_macs(form: &str, recipe: &str, files: &[(&str, usize)]) {
    if !have(&["openssl", "bash", "sed", "cmp", "sha256sum"]) {
        return;
    }
    let world = World::ready();
    let (granted, folder) = released(&world, "hmac", form);
    let key = format!("key='{}'\nfield() {{ :; }}\n", granted.key.display());
    for way in ["hmac", "hmac in short"] {
        lines_say_yes_and_no(&folder, &(key.clone() + &script(&[way, recipe])), files);
    }
    // Another nonce.
    let other = grant(&world, "hmac", form);
    let key = key.replace(
        &*granted.key.to_string_lossy(),
        &other.key.to_string_lossy(),
    );
    tool_refuses(
        "bash",
        &[&"-c", &(key + &script(&["hmac", recipe]))],
        &folder,
    );
}

#[test]
fn openssl_checks_the_mac_of_a_manifest() {
    let files = [
        ("evidence/m1/build.manifest", 100),
        ("evidence/m1/build.manifest.mac", 3),
    ];
    openssl_checks_macs("manifest", "openssl macs of a manifest", &files);
}

#[test]
fn openssl_checks_a_mac_for_each_artifact() {
    let files = [
        ("foo-2.tar", 50_000),
        ("foo.txt", 4),
        ("evidence/m1/foo.(5 0=@,~+).bin.mac", 3),
    ];
    openssl_checks_macs("per-artifact", "openssl macs of artifacts", &files);
}

// ---- Keys that the builder made ----

/// The ways in which 32 bytes could be in a file: as they are, in hexadecimal, and in base64 at
/// each place.
fn spellings(secret: &[u8; 32]) -> Vec<Vec<u8>> {
    let mut all = vec![
        secret.to_vec(),
        hex::encode(secret).into(),
        hex::encode_upper(secret).into(),
    ];
    for before in 0..3 {
        let text = STANDARD.encode([&vec![0; before][..], secret].concat());
        // The first and last letters depend on what is beside.
        all.push(text.as_bytes()[4..40].to_vec());
    }
    all
}

/// The files below `folder` which contain the secret.
fn containing(folder: &Path, secret: &[u8; 32]) -> Vec<String> {
    let spellings = spellings(secret);
    let contains = |bytes: &[u8]| {
        spellings
            .iter()
            .any(|it| bytes.windows(it.len()).any(|window| window == it))
    };
    let files = tree(folder).into_iter().filter(|(_, bytes)| {
        // Base64 is broken into lines.
        let unbroken: Vec<u8> = bytes
            .iter()
            .copied()
            .filter(|byte| *byte != b'\n')
            .collect();
        contains(bytes) || contains(&unbroken)
    });
    files.map(|(name, _)| name).collect()
}

/// The secret half of an Ed25519 key in a file of either scheme.
fn secret_in(path: &Path, scheme: &str) -> [u8; 32] {
    match scheme {
        "openpgp" => {
            let key = openpgp::secret_key(path)
                .primary_key()
                .key()
                .clone()
                .parts_into_secret()
                .expect("its secret");
            openpgp::ed25519_secret(key.secret())
        }
        _ => {
            let file = fs::read_to_string(path).expect("a key file");
            let pem = &file[file.find("-----BEGIN").expect("PEM")..];
            ed25519_dalek::SigningKey::from_pkcs8_pem(pem)
                .expect("a key")
                .to_bytes()
        }
    }
}

#[test]
fn enrolled_key_never_leaves_the_builder() {
    for (scheme, form) in [
        ("openpgp", "manifest"),
        ("openpgp", "per-artifact"),
        ("dsse", "manifest"),
    ] {
        let world = World::ready();
        let machine = world.new_folder("machine");
        let key = machine.join("m1.key");
        let said = world
            .countersign(&[&"build-key", &"--scheme", &scheme, &"-o", &key])
            .ok();
        assert_eq!(
            fs::metadata(&key).expect("the key").permissions().mode() & 0o777,
            0o600
        );
        assert!(
            said.stdout
                .contains(&format!("countersign attest --key {}", key.display())),
            "{said:?}"
        );
        let secret = secret_in(&key, scheme);
        let public = world.at("carried.pub");
        copy(&machine.join("m1.key.pub"), &public);
        let granted = world.grant_enrolled(&public, &[&"--scheme", &scheme, &"--evidence", &form]);
        assert!(
            granted.keys.is_empty(),
            "the signing host made a key: {granted:?}"
        );

        let build = world.build(&ARTIFACTS);
        let attest = || world.attest_with(&key, &build);
        attest().usage("does not name its grant").says("--grant");
        attest().with(&[&"--grant", &granted.grant]).ok();
        world.sign(&granted, &build).ok();
        world.verify(&world.release(&granted)).ok();
        assert_eq!(
            containing(&world.at("."), &secret),
            [""; 0],
            "{scheme}: the secret was written"
        );

        // It would have been found.
        let other = world.at("other.key");
        world
            .countersign(&[&"build-key", &"--scheme", &scheme, &"-o", &other])
            .ok();
        assert_eq!(
            containing(&world.at("."), &secret_in(&other, scheme)),
            ["other.key"]
        );
    }
}

#[test]
fn key_that_openssl_made_is_enrolled() {
    if !have(&["openssl"]) {
        return;
    }
    let world = World::ready();
    let (key, public) = (world.at("m1.pem"), world.at("m1.pub"));
    let lines = "umask 077; openssl genpkey -algorithm ed25519 -out m1.pem &&
        openssl pkey -in m1.pem -pubout -out m1.pub";
    tool("bash", &[&"-c", &lines], &world.at("."));
    // A key of another kind is not accepted.
    let lines = "openssl genpkey -algorithm ed448 | openssl pkey -pubout -out ed448.pub";
    tool("bash", &[&"-c", &lines], &world.at("."));
    let other = format!("m1={}", world.at("ed448.pub").display());
    let refused = world.host(&[
        &"grant",
        &"foo",
        &"1.2.3",
        &"--scheme",
        &"dsse",
        &"--builder",
        &other,
    ]);
    refused.usage("is not an Ed25519 public key in PEM");

    let granted = world.grant_enrolled(&public, &[&"--scheme", &"dsse"]);
    let build = world.build(&ARTIFACTS);
    world
        .attest_with(&key, &build)
        .with(&[&"--grant", &granted.grant])
        .ok();
    assert!(!key.exists());
    taken(&world, &granted, &build);
}

#[test]
fn key_that_gpg_made_is_enrolled() {
    if !have(&["gpg", "gpgv", "bash", "sed", "sha256sum"]) {
        return;
    }
    let world = World::ready();
    let gpg = Keyring::new(&world.at("gnupg"));
    gpg.make_key("Builder m1 <m1@example.org>", "1d");
    let public = world.at("m1.asc");
    gpg.run(&[&"--armor", &"--output", &public, &"--export"]);
    let secret = world.at("secret.asc");
    gpg.run(&[&"--armor", &"--output", &secret, &"--export-secret-keys"]);
    let enrol = |path: &Path| format!("m1={}", path.display());
    world
        .host(&[
            &"grant",
            &"foo",
            &"1.2.3",
            &"--builder",
            &enrol(&secret),
            &"-o",
            &world.at("."),
        ])
        .usage("the file has a secret key");
    fs::remove_file(secret).expect("removed");

    let granted = world.grant_enrolled(&public, &[]);
    let build = world.build(&ARTIFACTS);
    fs::write(
        build.at("build.manifest"),
        granted.header() + &build.entries(),
    )
    .expect("the manifest");
    let (manifest, signature) = (build.at("build.manifest"), build.at("build.manifest.sig"));
    gpg.run(&[&"--output", &signature, &"--detach-sign", &manifest]);
    taken(&world, &granted, &build);
    tool(
        "bash",
        &[&"-c", &script(&["gpgv manifest"])],
        &world.releases().join("foo-1.2.3"),
    );
}

/// From the key on M's token to a release, for each kind of key: the secret half is in no file.
fn build_key_on_a_token(create: fn(&Path) -> Option<SoftwareToken>, kinds: &[&str]) {
    if !have(&["gpgv", "bash", "awk"]) {
        return;
    }
    let world = World::ready();
    let Some(token) = create(&world.new_folder("builder")) else {
        return;
    };
    let (variable, value) = token.env();
    for (number, kind) in kinds.iter().enumerate() {
        let form = ["manifest", "per-artifact"][number % 2];
        let (uri, file) = (token.key_uri(kind), world.at(&format!("{kind}.key")));
        let make: crate::common::Arguments<'_> = &[
            &"build-key",
            &"--token",
            &uri,
            &"--kind",
            &kind,
            &"-o",
            &file,
            &"--json",
        ];
        let said = world.countersign(make).env(variable, value).ok().json();
        assert!(!file.exists(), "a key on a token has no key file");
        assert_eq!(said["secret_file"], Value::Null);
        let uri = said["token"].as_str().expect("a URI").to_owned();
        let public = world.at(&format!("{kind}.key.pub"));

        let version = format!("1.{number}");
        let folder = world.new_folder("grant");
        let run = world.host(&[
            &"grant",
            &"foo",
            &version,
            &"--evidence",
            &form,
            &"-o",
            &folder,
            &"--builder",
        ]);
        run.with(&[&format!("m1={}", public.display())]).ok();
        let grant = folder.join(format!("foo-{version}.grant.json"));
        assert_eq!(listing(&folder).len(), 1, "nothing but the grant");

        let build = world.build(&ARTIFACTS);
        let [one, two, three] = ARTIFACTS.map(|(name, _)| build.at(name));
        let attest = |grant: &Path, artifacts: crate::common::Arguments<'_>| {
            let run = world.countersign(&[&"attest", &"--token", &uri, &"--grant", &grant]);
            run.with(artifacts).env(variable, value)
        };
        attest(&grant, &[&one, &two, &three]).ok();
        let release = world.inbox().join(format!("foo-{version}"));
        let sign = || {
            world
                .host(&[&"sign", &grant, &"--from", &build.folder, &"-o", &release])
                .release(&release)
        };
        flip(&build.at("foo.txt"), 0);
        sign().refused("");
        flip(&build.at("foo.txt"), 0);
        sign().ok();
        world.verify(&release).ok();
        tool(
            "bash",
            &[&"-c", &script(&[&format!("gpgv {form}")])],
            &release,
        );

        // A grant for another key is not one for this key.
        let other = world.grant_of(&version, &[]);
        attest(&other.grant, &[&one]).usage("the key is not in grant");

        // A stale PIN costs one try here too.
        write_secret(token.pin_file(), "Falsch-0815");
        attest(&other.grant, &[&one]).trouble("wrong PIN");
        attest(&other.grant, &[&one]).trouble("did not accept the PIN from");
        write_secret(token.pin_file(), PIN);
    }
    // Each secret half was made there, and the token gives none away.
    let pin = PIN;
    let objects = token.pkcs11_tool([
        "--login",
        "--pin",
        pin,
        "--list-objects",
        "--type",
        "privkey",
    ]);
    assert_eq!(
        objects.matches("Private Key Object").count(),
        kinds.len(),
        "{objects}"
    );
    assert_eq!(
        objects.matches("never extractable").count(),
        kinds.len(),
        "{objects}"
    );
    let secret: Vec<_> = tree(&world.at("."))
        .into_iter()
        .filter(|(name, bytes)| {
            !name.starts_with("token.pem")
                && !name.contains(".m1.key")
                && contains(bytes, b"PRIVATE KEY")
        })
        .map(|(name, _)| name)
        .collect();
    assert_eq!(secret, [""; 0]);
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[test]
fn build_key_on_softhsm() {
    build_key_on_a_token(SoftHsm::create, &["p256", "p384", "ed25519", "rsa2048"]);
}

#[test]
fn build_key_on_kryoptic() {
    build_key_on_a_token(Kryoptic::create, &["p256", "p384", "p521", "ed25519"]);
}

// ---- The secret on M ----

const SCHEMES: [(&str, &str); 3] = [
    ("openpgp", "manifest"),
    ("dsse", "manifest"),
    ("hmac", "per-artifact"),
];

#[test]
fn key_file_that_others_can_read_is_refused_in_every_scheme() {
    for (scheme, form) in SCHEMES {
        let world = World::ready();
        let (granted, build) = (grant(&world, scheme, form), world.build(&ARTIFACTS));
        for mode in [0o644, 0o640, 0o604, 0o620] {
            fs::set_permissions(&granted.key, fs::Permissions::from_mode(mode)).expect("its mode");
            world
                .attest(&granted, &build)
                .usage(&format!("has mode 0{mode:o}: others can"))
                .says("chmod 600");
            assert!(granted.key.exists() && listing(&build.folder).len() == ARTIFACTS.len());
        }
        fs::set_permissions(&granted.key, fs::Permissions::from_mode(0o400)).expect("its mode");
        world.attest(&granted, &build).ok();
    }
}

#[test]
fn key_file_is_overwritten_and_removed_in_every_scheme() {
    for (scheme, form) in SCHEMES {
        let world = World::ready();
        let (granted, build) = (grant(&world, scheme, form), world.build(&ARTIFACTS));
        // A second name for the same bytes on the disk.
        let other_name = world.at("other-name");
        fs::hard_link(&granted.key, &other_name).expect("linked");
        let size = fs::metadata(&granted.key).expect("the key").len();
        world.attest(&granted, &build).ok();
        assert!(!granted.key.exists());
        let left = fs::read(&other_name).expect("what is left on the disk");
        assert_eq!(
            left,
            vec![0; usize::try_from(size).expect("small")],
            "{scheme}"
        );
    }
}

/// What the kernel shows of a process, in the line of this name.
fn status(process: u32, name: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("a running process");
    status.lines().find_map(|line| {
        Some(
            line.strip_prefix(name)?
                .strip_prefix(':')?
                .trim()
                .to_owned(),
        )
    })
}

/// Before the secret is there, everything that the process has and will have in memory is locked,
/// where it may be; otherwise it warns that it is not.
#[test]
fn memory_is_locked_before_the_secret_is_read() {
    use rustix::process::{Resource, geteuid, getrlimit};
    let capabilities = status(std::process::id(), "CapEff").expect("capabilities");
    let may_lock = u64::from_str_radix(&capabilities, 16).expect("hexadecimal") & (1 << 14) != 0;
    let may = getrlimit(Resource::Memlock).maximum.is_none() || geteuid().is_root() && may_lock;

    let world = World::ready();
    let (granted, build) = (grant(&world, "hmac", "manifest"), world.build(&ARTIFACTS));
    let key = fs::read(&granted.key).expect("the key");
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
    command
        .args(["attest", "--key", "-"])
        .args(build.artifacts());
    clean_environment(&mut command, &world.at("."))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut attest = command.spawn().expect("it starts");
    let mut input = attest.stdin.take().expect("a pipe");
    // Whether it has come to its input: what was written is out of the pipe again.
    input.write_all(&key[..10]).expect("it reads");
    let end = Instant::now() + Duration::from_secs(20);
    while rustix::io::ioctl_fionread(&input).expect("a pipe") > 0 {
        assert!(Instant::now() < end, "it does not read its key");
        std::thread::sleep(Duration::from_millis(5));
    }
    let locked = status(attest.id(), "VmLck").expect("a size");
    let all = status(attest.id(), "VmSize").expect("a size");
    input.write_all(&key[10..]).expect("it reads");
    drop(input);
    let said = attest.wait_with_output().expect("its end");
    let messages = String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success(), "{messages}");
    let kib = |text: &str| {
        text.trim_end_matches(" kB")
            .trim()
            .parse::<u64>()
            .expect("a number")
    };
    match may {
        true => assert!(
            kib(&locked) > kib(&all) / 2 && !messages.contains("memory"),
            "{locked} of {all} locked: {messages}"
        ),
        false => assert!(
            kib(&locked) == 0 && messages.contains("memory cannot be locked here"),
            "{locked}: {messages}"
        ),
    }
}

// ---- Predicates ----

/// The statement in the build's envelope, as it was signed.
fn payload(build: &Build) -> String {
    let envelope: Value =
        serde_json::from_slice(&fs::read(build.at("build.dsse.json")).expect("there"))
            .expect("JSON");
    let payload = STANDARD
        .decode(envelope["payload"].as_str().expect("a text"))
        .expect("base64");
    String::from_utf8(payload).expect("JSON is text")
}

/// What SLSA provenance v1 requires, and the grant as an external parameter.
#[test]
fn default_predicate_is_slsa_provenance() {
    let world = World::ready();
    let (granted, build) = (grant(&world, "dsse", "manifest"), world.build(&ARTIFACTS));
    world.attest(&granted, &build).ok();
    let statement: Value = serde_json::from_str(&payload(&build)).expect("JSON");
    assert_eq!(statement["_type"], "https://in-toto.io/Statement/v1");
    assert_eq!(statement["predicateType"], "https://slsa.dev/provenance/v1");
    let (definition, run) = (
        &statement["predicate"]["buildDefinition"],
        &statement["predicate"]["runDetails"],
    );
    let is_uri = |value: &Value| {
        value
            .as_str()
            .is_some_and(|uri| uri.split_once(':').is_some_and(|(s, _)| !s.is_empty()))
    };
    assert!(
        is_uri(&definition["buildType"]) && is_uri(&run["builder"]["id"]),
        "{statement}"
    );
    let parameters = definition["externalParameters"]
        .as_object()
        .expect("an object");
    assert_eq!(parameters["grant"], granted.id);
    assert_eq!(
        (&parameters["project"], &parameters["version"]),
        (&"foo".into(), &"1.2.3".into())
    );
    assert!(
        definition["internalParameters"]["system"]
            .as_str()
            .expect("a text")
            .starts_with("Linux "),
        "{definition}"
    );
    let finished = run["metadata"]["finishedOn"].as_str().expect("a time");
    assert!(
        finished.ends_with('Z')
            && finished
                .parse::<countersign::domain::time::Timestamp>()
                .is_ok(),
        "{finished}"
    );
    let subjects = statement["subject"].as_array().expect("a list").iter();
    let lines: String = subjects
        .map(|it| {
            format!(
                "{}  {}\n",
                it["digest"]["sha256"].as_str().expect("hex"),
                it["name"].as_str().expect("a name")
            )
        })
        .collect();
    assert_eq!(lines, build.entries());
    world.sign(&granted, &build).ok();
}

#[test]
fn predicate_is_carried_as_it_is() {
    let world = World::ready();
    let granted = grant(&world, "dsse", "manifest");
    // Numbers that do not fit in 64 bits, an order, escapes and white space that a parser would
    // lose.
    let predicate = "{\n  \"zeta\": 1.10,\t\"alpha\": 123456789012345678901234567890, \
                     \"e\": 1E2,\n \"t\\u0065xt\": \"\\/ \u{fc}\"}";
    fs::write(world.at("predicate.json"), format!(" {predicate}\n")).expect("written");
    let kind = "https://example.org/predicate/1";
    let build = world.build(&ARTIFACTS);
    let attest = world.attest(&granted, &build);
    attest
        .with(&[
            &"--predicate",
            &world.at("predicate.json"),
            &"--predicate-type",
            &kind,
        ])
        .ok();
    let payload = payload(&build);
    assert!(
        payload.contains(&format!("\"predicate\":{predicate}")),
        "{payload}"
    );
    let statement: Value = serde_json::from_str(&payload).expect("JSON");
    assert_eq!(statement["predicateType"], kind);
    assert_eq!(statement["subject"][0]["annotations"]["grant"], granted.id);
    taken(&world, &granted, &build);
}

#[test]
fn predicate_that_cannot_be_carried() {
    let world = World::ready();
    let (granted, build) = (grant(&world, "dsse", "manifest"), world.build(&ARTIFACTS));
    let path = world.at("predicate.json");
    for (predicate, reason) in [
        ("{\"a\": 1, \"a\": 1}", "key `a` is twice in one object"),
        (
            "{\"a\": [{\"b\": 1, \"c\": 2, \"b\": 1}]}",
            "key `b` is twice in one object",
        ),
        (
            "{\"a\": 1, \"\\u0061\": 1}",
            "key `a` is twice in one object",
        ),
        ("[]", "is not a JSON object"),
        ("\"text\"", "is not a JSON object"),
        ("{} {}", "is not JSON: trailing characters"),
        ("{", "is not JSON"),
        ("", "is not JSON"),
    ] {
        fs::write(&path, predicate).expect("written");
        world
            .attest(&granted, &build)
            .with(&[&"--predicate", &path])
            .usage(reason);
        assert!(
            granted.key.exists() && listing(&build.folder).len() == ARTIFACTS.len(),
            "{predicate}"
        );
    }
    // Where the evidence has no place for one.
    fs::write(&path, "{}").expect("written");
    let openpgp = grant(&world, "openpgp", "manifest");
    world
        .attest(&openpgp, &build)
        .with(&[&"--predicate", &path])
        .usage("a predicate needs a DSSE envelope");
    world
        .attest(&granted, &build)
        .with(&[&"--predicate-type", &"https://example.org/x"])
        .usage("--predicate");
}

/// A predicate that is provenance of another build, or of another time, does not cost the builder
/// its key; the signing host refuses it too.
#[test]
fn predicate_about_another_grant() {
    let world = World::ready();
    let granted = grant(&world, "dsse", "manifest");
    let path = world.at("predicate.json");
    let other = format!("sha256:{}", "0".repeat(64));
    for (predicate, reason) in [
        (
            format!(
                "{{\"buildDefinition\": {{\"externalParameters\": {{\"grant\": \"{other}\"}}}}}}"
            ),
            "the predicate names another grant",
        ),
        (
            "{\"runDetails\": {\"metadata\": {\"finishedOn\": \"2020-01-01T00:00:00Z\"}}}"
                .to_owned(),
            "the predicate: 2020-01-01T00:00:00Z is not in the time of the grant",
        ),
    ] {
        fs::write(&path, predicate).expect("written");
        let build = world.build(&ARTIFACTS);
        world
            .attest(&granted, &build)
            .with(&[&"--predicate", &path])
            .refused(reason);
        assert!(granted.key.exists());
    }
    let place = "\"externalParameters\":{\"grant\":\"";
    let in_predicate = |text: String| {
        let at = text.find(place).expect("a grant") + place.len();
        format!("{}{other}{}", &text[..at], &text[at + other.len()..])
    };
    statement_refused(in_predicate, "is for grant sha256:0");
}
