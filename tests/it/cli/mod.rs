//! The command line as people see it: help, usage errors, and errors as they are printed, in
//! `tests/it/cli/snapshots`.
//!
//! A change on purpose is taken over with `INSTA_UPDATE=always cargo test --test it cli::`.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::Command;

use crate::common::world::{PROJECT, VERSION, World, write_private};
use crate::common::{Arguments, Said, have, listing};
use countersign::domain::time::Timestamp;
use insta::assert_snapshot;

// ---- Help ----

/// Every subcommand there is, as the words that call it, in the order of the help; the program
/// itself has none.
pub(crate) fn commands() -> Vec<Vec<String>> {
    fn below(command: &clap::Command, words: &[String], found: &mut Vec<Vec<String>>) {
        found.push(words.to_vec());
        let mut inside: Vec<_> = command.get_subcommands().collect();
        inside.sort_by_key(|inner| inner.get_display_order());
        for inner in inside {
            below(
                inner,
                &[words, &[inner.get_name().to_owned()]].concat(),
                found,
            );
        }
    }
    let mut found = Vec::new();
    below(&countersign::cli::command(), &[], &mut found);
    found
}

#[test]
fn help_of_every_command() {
    let world = World::new();
    let commands = commands();
    assert!(commands.len() > 12, "{commands:?}");
    let mut shown = String::new();
    for words in commands {
        let mut arguments: Vec<&dyn AsRef<std::ffi::OsStr>> = Vec::new();
        arguments.extend(words.iter().map(|word| word as &dyn AsRef<std::ffi::OsStr>));
        arguments.push(&"--help");
        let said = world.countersign(&arguments).ok();
        assert_eq!(said.stderr, "");
        assert!(
            said.stdout.lines().all(|line| line.chars().count() <= 110),
            "{}",
            said.stdout
        );
        shown += &format!(
            "$ countersign {}\n{}\n",
            [words.as_slice(), &["--help".to_owned()]]
                .concat()
                .join(" "),
            said.stdout
        );
    }
    assert_snapshot!("help", shown);
}

/// What the help shows can be typed as it is.
#[test]
fn examples_in_the_help_can_be_read() {
    if !have(&["bash"]) {
        return;
    }
    let world = World::new();
    let mut examples = 0;
    for words in commands() {
        let mut command = countersign::cli::command();
        let mut inner = &mut command;
        for word in &words {
            inner = inner.find_subcommand_mut(word).expect("a command");
        }
        let help = inner.render_long_help().to_string();
        let Some((_, text)) = help.split_once("Example") else {
            continue;
        };
        let (_, script) = text
            .split_once('\n')
            .expect("examples are below their heading");
        let too_long = script.lines().find(|line| line.chars().count() > 80);
        assert_eq!(too_long, None, "{words:?}");
        let script = format!("countersign() {{ printf '%s\\n' countersign \"$@\" ''; }}\n{script}");
        let output = Command::new("bash")
            .args(["-euc", &script])
            .current_dir(world.at("."))
            .output()
            .expect("bash");
        assert!(output.status.success(), "{words:?}: {output:?}");
        let called = String::from_utf8(output.stdout).expect("text");
        for call in called.split("\n\n").filter(|call| !call.trim().is_empty()) {
            let called = countersign::cli::command().try_get_matches_from(call.lines());
            assert!(called.is_ok(), "{call}: {called:?}");
            examples += 1;
        }
    }
    assert!(examples >= 12, "{examples} examples");
}

#[test]
fn the_version_is_the_packages() {
    let said = World::new().countersign(&[&"--version"]).ok();
    assert_eq!(
        said.stdout,
        format!("countersign {}\n", env!("CARGO_PKG_VERSION"))
    );
}

// ---- Usage ----

#[test]
fn usage_errors() {
    let world = World::new();
    let uri = "pkcs11:token=release?module-path=/lib/p11.so";
    let cases: [Arguments<'_>; 14] = [
        &[],
        &[&"singe"],
        &[&"sign", &"grant.json", &"--form", &"dist"],
        &[&"sign", &"grant.json"],
        &[&"attest", &"--key", &"key"],
        &[
            &"init",
            &"--token",
            &format!("{uri}&pin-value=4711"),
            &"--user-id",
            &"A <a@example.org>",
        ],
        &[
            &"init",
            &"--token",
            &"http://example.org",
            &"--user-id",
            &"A <a@example.org>",
        ],
        &[
            &"init",
            &"--token",
            &uri,
            &"--generate",
            &"dsa",
            &"--user-id",
            &"A <a@example.org>",
        ],
        &[&"init", &"--token", &uri, &"--generate", &"p256"],
        &[
            &"init",
            &"--token",
            &uri,
            &"--cert",
            &"a.asc",
            &"--user-id",
            &"A <a@example.org>",
        ],
        &[&"grant", &"../foo", &"1.2.3"],
        &[&"grant", &"foo", &"1.2.3", &"--artifact", &"dist/*"],
        &[&"grant", &"foo", &"1.2.3", &"--valid-for", &"soon"],
        &[&"log", &"show", &"first"],
    ];
    let mut shown = String::new();
    for arguments in cases {
        let said = world.countersign(arguments).usage("");
        assert_eq!(said.stdout, "");
        assert!(
            !said.stderr.contains("4711"),
            "a PIN is in the answer: {}",
            said.stderr
        );
        let typed = arguments
            .iter()
            .map(|argument| argument.as_ref().to_string_lossy())
            .collect::<Vec<_>>();
        shown += &format!("$ countersign {}\n{}\n", typed.join(" "), said.stderr);
    }
    assert_snapshot!("usage", shown);
}

#[test]
fn certificate_and_new_key_at_once() {
    let world = World::ready();
    let home = world.at("other-home");
    let token = format!("file:{}", world.at("other.pem").display());
    let init: Arguments<'_> = &[&"--home", &home, &"init", &"--token", &token];
    let both: Arguments<'_> = &[&"--cert", &world.certificate(), &"--generate", &"ed25519"];
    let (said, _) = world.countersign(&[init, both].concat()).run();
    assert_eq!(said.code, 2, "one of them would be ignored: {said:?}");
    assert!(!world.at("other.pem").exists());
}

// ---- Errors ----

/// What was said, without what differs from run to run.
fn masked(world: &World, said: &Said) -> String {
    let text = said
        .stderr
        .replace(&*world.at("").to_string_lossy(), "[WORLD]/");
    let mut masked = String::new();
    let part = |c: char| c.is_ascii_alphanumeric() || "-:".contains(c);
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let length = rest.find(|c| !part(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(length);
        match word.parse::<Timestamp>() {
            Ok(_) => masked.push_str("[TIME]"),
            Err(_) => masked.push_str(
                &word
                    .split(':')
                    .map(digits_masked)
                    .collect::<Vec<_>>()
                    .join(":"),
            ),
        }
        let mark = after.chars().next();
        masked.extend(mark);
        rest = &after[mark.map_or(0, char::len_utf8)..];
    }
    masked
}

fn digits_masked(word: &str) -> &str {
    match word.len() {
        length if length < 12 || !word.bytes().all(|b| b.is_ascii_hexdigit()) => word,
        12 => "[GRANT]",
        40 => "[FINGERPRINT]",
        64 => "[SHA-256]",
        _ => "[HEX]",
    }
}

#[test]
fn refusal_of_a_changed_artifact() {
    let world = World::ready();
    let (granted, build) = world.attested();
    build.append("foo.txt", b"!");
    let said = world.sign(&granted, &build).refused("has SHA-256");
    assert_snapshot!("error-changed-artifact", masked(&world, &said));
}

#[test]
fn refusal_of_a_build_with_a_file_too_many() {
    let world = World::ready();
    let (granted, build) = world.attested();
    fs::write(build.at("core"), b"dump").expect("written");
    let said = world.sign(&granted, &build).refused("contains `core`");
    assert_snapshot!("error-file-too-many", masked(&world, &said));
}

#[test]
fn refusal_of_a_release() {
    let world = World::ready();
    let release = world.signed();
    fs::write(release.join("foo.txt"), b"evil\n").expect("changed");
    let said = world.verify(&release).refused("");
    let both = Said {
        stderr: said.stdout.clone() + &said.stderr,
        ..said
    };
    assert_snapshot!("error-release", masked(&world, &both));
    let said = world.admit().refused("");
    let both = Said {
        stderr: said.stdout.clone() + &said.stderr,
        ..said
    };
    assert_snapshot!("error-admit", masked(&world, &both));
}

#[test]
fn refusal_as_json() {
    let world = World::ready();
    let (granted, build) = world.attested();
    fs::remove_file(build.at("foo.txt")).expect("removed");
    let said = world.sign(&granted, &build).with(&[&"--json"]).not_yet("");
    assert_eq!(said.stdout, "");
    let error: serde_json::Value = serde_json::from_str(&said.stderr).expect("JSON");
    assert_eq!(error["code"], 4);
    assert!(
        error["error"]
            .as_str()
            .is_some_and(|text| text.contains("artifact `foo.txt` is attested, but not in"))
    );
    assert!(
        error["hint"]
            .as_str()
            .is_some_and(|text| text.contains("fetch the build again"))
    );
}

#[test]
fn trouble_with_a_place_that_is_taken_or_a_home_that_is_none() {
    let world = World::ready();
    let (granted, build) = world.attested();
    fs::create_dir(world.release(&granted)).expect("a folder");
    let said = world.sign(&granted, &build).usage("is there already");
    assert_snapshot!("error-occupied", masked(&world, &said));
    let none = world.at("none");
    let said = world
        .countersign(&[&"--home", &none, &"log", &"list"])
        .usage("");
    assert_snapshot!("error-no-home", masked(&world, &said));
}

/// JSON is text, and a path need not be: what was done is reported all the same.
#[test]
fn paths_need_not_be_text() {
    let world = World::ready();
    let odd = |name: &str| {
        world
            .at("")
            .join(OsStr::from_bytes(&[name.as_bytes(), b"\xff"].concat()))
    };
    let grants = odd("grants");
    fs::create_dir(&grants).expect("a folder");
    let said = world
        .host(&[
            &"grant",
            &PROJECT,
            &VERSION,
            &"--builder",
            &"m1",
            &"-o",
            &grants,
            &"--json",
        ])
        .ok()
        .json();
    assert!(
        said["grant_file"]
            .as_str()
            .expect("a text")
            .contains("grants\u{fffd}/"),
        "{said}"
    );
    let (granted, build) = world.attested();
    let release = odd("release");
    let sign = || world.sign_into(&release, &granted, &build);
    sign().with(&[&"--dry-run"]).ok();
    sign().ok();
    world.host(&[&"log", &"export", &odd("exported")]).ok();
    world
        .host(&[
            &"log",
            &"prove",
            &release.join("foo.txt"),
            &"-o",
            &odd("proof"),
        ])
        .ok();
    world
        .countersign(&[&"build-key", &"-o", &odd("enrolled")])
        .ok();
    // The location's inbox is a link to such a place.
    fs::create_dir(odd("inbox")).expect("a folder");
    symlink(odd("inbox"), world.at("link")).expect("linked");
    let config = world.home().join("config.toml");
    let text = fs::read_to_string(&config).expect("the configuration");
    write_private(
        &config,
        format!("{text}\n[repository]\ninbox = \"../link\"\n").as_bytes(),
    );
    let said = world.host(&[&"push", &release, &"--json"]).ok().json();
    assert!(
        said["pushed"][0]["folder"]
            .as_str()
            .expect("a text")
            .contains("inbox\u{fffd}/"),
        "{said}"
    );
    fs::remove_file(world.at("link")).expect("removed");
    world
        .host(&[&"push", &release, &"--json"])
        .trouble("does not exist")
        .says("release\u{fffd}");
}

#[test]
fn nothing_is_coloured_where_there_is_no_terminal() {
    let world = World::ready();
    let (granted, build) = world.attested();
    build.append("foo.txt", b"!");
    let said = world
        .sign(&granted, &build)
        .env("NO_COLOR", "")
        .env("TERM", "xterm-256color")
        .refused("");
    assert!(
        !said.stderr.contains('\u{1b}') && !said.stdout.contains('\u{1b}'),
        "{said:?}"
    );
}

/// No line of a result that did not come about, no warning in front, no words of another program.
#[test]
fn an_error_is_all_that_programs_get() {
    let world = World::ready();
    let granted = world.grant();
    let bin = world.new_folder("bin");
    let gpg = "#!/bin/sh\necho 'gpg: no secret key' >&2\nexit 2\n";
    fs::write(bin.join("gpg"), gpg).expect("written");
    fs::set_permissions(bin.join("gpg"), fs::Permissions::from_mode(0o755)).expect("set");
    let other = world.at("other");
    let init: Arguments<'_> = &[
        &"--home",
        &other,
        &"init",
        &"--token",
        &format!("file:{}", world.at("none/token.pem").display()),
        &"--user-id",
        &"A <a@example.org>",
    ];
    let sign: Arguments<'_> = &[
        &"approve",
        &granted.grant,
        &"--yes",
        &"--gpg-key",
        &"nobody",
    ];
    let error = |said: &Said| -> serde_json::Value {
        assert_eq!(said.stdout, "");
        serde_json::from_str(&said.stderr).unwrap_or_else(|error| panic!("{error}: {said:?}"))
    };

    let (said, _) = world.countersign(init).with(&[&"--json"]).run();
    let warned = error(&said)["warnings"][0].clone();
    assert!(
        warned
            .as_str()
            .is_some_and(|text| text.contains("is a plain file")),
        "{warned}"
    );
    let run = world.host(sign).with(&[&"--json"]).env("PATH", &bin);
    // Not by the first gpg in PATH; the system's, if there is one, has no key for this user.
    let said = run.trouble("gpg made no signature: ");
    assert!(!said.stderr.contains("gpg: no secret key"), "{said:?}");
    let printed = error(&said)["warnings"].to_string();
    let has_gpg = std::path::Path::new("/usr/bin/gpg").exists();
    assert_eq!(printed.contains("gpg: "), has_gpg, "{printed}");
    fs::write(world.home().join("ledger.sqlite"), b"garbage").expect("written");
    let show = world.host(&[&"grants", &"show", &granted.grant, &"--json"]);
    assert_eq!(error(&show.trouble("the ledger cannot be used"))["code"], 3);
}

/// Results are data on standard output; a warning does not mix with them.
#[test]
fn talk_goes_to_standard_error() {
    let world = World::ready();
    let folder = world.new_folder("grant");
    let granted = world
        .host(&[&"grant", &PROJECT, &VERSION, &"-o", &folder, &"--json"])
        .ok();
    assert!(granted.json()["grant"].is_string());
    assert_eq!(granted.stderr, "");
    assert_eq!(listing(&folder).len(), 2);
    let check = world.host(&[&"key", &"check", &"--json"]).ok();
    assert!(check.json()["on_token"].as_bool().expect("a truth"));
    let warning = "the release key is a plain file";
    let warned = check.json()["warnings"][0].to_string();
    assert!(warned.contains(warning), "{warned}");
    assert_eq!(check.stderr, "");
    let check = world.host(&[&"key", &"check"]).ok();
    let shown = format!("warning: {warning}");
    assert!(check.stderr.starts_with(&shown), "{}", check.stderr);
}
