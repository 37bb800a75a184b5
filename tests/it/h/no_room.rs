//! A home on a file system that is read-only, or full to the last byte: what only reads works, and
//! so does a revocation.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use countersign::domain::digest::GrantId;
use countersign::domain::event::Event;
use countersign::domain::time::Timestamp;
use countersign::ledger::Ledger;

use crate::common::world::World;
use crate::common::{Arguments, clean_environment, copy_tree, have, listing, tool, tree};

const PROGRAM: &str = env!("CARGO_BIN_EXE_countersign");

#[expect(clippy::print_stdout, reason = "a test that is skipped says so")]
fn can_mount() -> bool {
    let can = rustix::process::geteuid().is_root() && have(&["unshare", "mount", "bash"]);
    if !can {
        println!("skipped: only root can mount a file system");
    }
    can
}

/// Every command that only reads, with JSON as its result. `$1` is the home, `$2` a folder for what
/// is written, `$grant`, `$release` and `$build` are what is read.
const READING: &str = r#"
    read_all() {
        home=$1 to=$2
        mkdir "$to"
        while read -r name command; do
            eval "set -- $command"
            "$program" --home "$home" "$@" --json >"$to/$name" 2>"$to/$name.error" ||
                { echo "$name ended with $?"; cat "$to/$name.error"; exit 1; }
        done <<'END'
            status status
            list log list
            show log show 1
            verify log verify --release "$release"
            checkpoint log checkpoint
            export log export "$to/exported"
            prove log prove "$release/SHA256SUMS" -o "$to/proof"
            grants grants list
            grant grants show "$grant"
            diff grants diff "$grant" --from "$build"
            key key export
            keys key list --token "$token"
            check key check
END
        # Where it was written is in what is printed.
        find "$to" -maxdepth 1 -type f -exec sed -i "s|$to|TO|; s|$home|HOME|" {} +
    }
"#;

fn bash(folder: &Path, script: &str, variables: &[(&str, &str)]) -> String {
    let mut command = Command::new("unshare");
    command.args(["--mount", "bash", "-euc", &format!("{READING}{script}")]);
    command.current_dir(folder);
    clean_environment(&mut command, folder).env("program", PROGRAM);
    command.envs(variables.iter().copied());
    let output = command.output().expect("started");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{error}");
    text
}

/// As a process leaves it that is killed: with an entry in the write-ahead log alone.
fn killed(world: &World, with_index: bool) -> std::path::PathBuf {
    let copy = world.at(&format!("killed-{with_index}"));
    let path = world.home().join("ledger.sqlite");
    let mut ledger = Ledger::open(&path).expect("opened");
    let event = Event::EvidenceRefused {
        grant: GrantId::of(b"g"),
        reason: format!("logged last, {with_index}"),
        differences: [].into(),
    };
    ledger.append(Timestamp::now(), event).expect("appended");
    copy_tree(&world.home(), &copy);
    if !with_index {
        fs::remove_file(copy.join("ledger.sqlite-shm")).expect("removed");
    }
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o700)).expect("changed");
    for name in listing(&copy) {
        let path = copy.join(name);
        if path.is_dir() {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("changed");
        }
    }
    copy
}

#[test]
fn what_only_reads_works_on_a_read_only_home() {
    if !can_mount() {
        return;
    }
    let world = World::ready();
    let (granted, build) = world.attested();
    world.sign(&granted, &build).ok();
    let homes = [
        (world.home(), "it was closed"),
        (killed(&world, true), "killed"),
        (killed(&world, false), "killed, and without the index"),
    ];
    for (number, (home, what)) in homes.iter().enumerate() {
        let before = tree(home);
        let text = |path: &Path| path.to_str().expect("text").to_owned();
        let folder = world.new_folder("read");
        let script = r#"
            mount --bind "$home" "$home"
            mount -o remount,ro,bind "$home"
            ! touch "$home/lock" 2>/dev/null
            read_all "$home" "$folder/read-only"
            umount "$home"
        "#;
        let variables = [
            ("home", text(home)),
            ("folder", text(&folder)),
            ("grant", text(&granted.grant)),
            ("release", text(&world.release(&granted))),
            ("build", text(&build.folder)),
            ("token", world.token_uri()),
        ];
        let variables: Vec<_> = variables
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        bash(&folder, script, &variables);
        assert_eq!(tree(home), before, "{what}");
        // The same as where it can be written to.
        bash(
            &folder,
            r#"read_all "$home" "$folder/writable""#,
            &variables,
        );
        let read = |name: &str| tree(&folder.join(name));
        assert_eq!(read("read-only"), read("writable"), "{what}");
        assert!(read("writable").len() > 26, "not every command ran");
        let list = read("read-only").remove("list").expect("the log");
        let list = String::from_utf8(list).expect("text");
        assert!(list.contains("logged last"), "{what}: {list}");
        // What writes says so, and to whom it may apply.
        if number == 0 {
            let revoke = "mount --bind \"$home\" \"$home\"; mount -o remount,ro,bind \"$home\"
                \"$program\" --home \"$home\" grants revoke \"$grant\" 2>&1 || echo \"code $?\"";
            let said = bash(&folder, revoke, &variables);
            assert!(said.contains("code 3"), "{said}");
        }
    }
}

#[test]
fn a_full_disk_neither_stops_reading_nor_a_revocation() {
    if !can_mount() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let script = r#"
        mkdir small build
        mount -t tmpfs -o size=4m tmpfs small
        home=$PWD/small/home
        run() { "$program" --home "$home" "$@"; }
        token=file:$PWD/key.pem
        run init --token "$token" --generate ed25519 --user-id 'A <a@example.org>' >said 2>&1
        run grant foo 1 --builder m1 --scheme hmac >said 2>&1
        run grant foo 2 --builder m1 --scheme hmac >said 2>&1
        run grant foo 3 --builder m1 --scheme hmac >said 2>&1
        echo text >build/f
        "$program" attest --key foo-1.m1.key build/f >said
        grant=foo-1.grant.json release=$PWD/release build=$PWD/build
        run sign "$grant" --from build -o release >said 2>&1
        read_all "$home" "$PWD/before"
        size=$(stat -c %s "$home/ballast")

        cat /dev/zero >small/fill 2>/dev/null || true
        test "$(df --output=avail -k small | tail -1)" -eq 0
        ! echo more >small/more 2>/dev/null
        rm -f small/more
        read_all "$home" "$PWD/full"
        diff -r before full
        ! run grant foo 4 --builder m1 >said 2>&1

        reason=$(printf '%1000s' | tr ' ' x)
        run grants revoke foo-2.grant.json --reason "$reason" --json >revoked 2>error
        ! test -s error
        ! test -e "$home/ballast"
        # Somebody else fills what was given free.
        cat /dev/zero >>small/fill 2>/dev/null || true
        run log verify >verified
        run grants list | grep -q 'foo 2.*revoked'
        if run grants revoke foo-3.grant.json >said 2>&1; then exit 1; else test $? = 3; fi

        rm small/fill
        run grants revoke foo-3.grant.json >said
        test "$(stat -c %s "$home/ballast")" = "$size"
        ls "$home/nonces"
    "#;
    let nonces = bash(folder.path(), script, &[]);
    assert_eq!(nonces, "", "the nonces of what was revoked are wiped");
}

/// What other programs print is in the object too.
#[test]
fn what_other_programs_print_is_in_the_json() {
    let world = World::ready();
    let granted = world.grant();
    let key = world.at("id_ed25519");
    let new: Arguments<'_> = &[&"-q", &"-t", &"ed25519", &"-N", &"", &"-f", &key];
    tool("ssh-keygen", new, &world.at(""));
    fs::write(&key, b"none").expect("written");
    let approve: Arguments<'_> = &[&"approve", &granted.grant, &"--yes", &"--json"];
    let run = world.countersign(approve).with(&[&"--ssh-key", &key]);
    let said = run.trouble("made no signature");
    assert_eq!(said.stdout, "");
    let error: serde_json::Value = serde_json::from_str(&said.stderr).expect("JSON");
    let warning = error["warnings"][0].to_string();
    assert!(warning.contains("private key"), "{warning}");
}

/// Arguments that cannot be parsed are an error as any other.
#[test]
fn wrong_arguments_are_json_too() {
    let world = World::new();
    for wrong in [
        &[&"sign" as &dyn AsRef<std::ffi::OsStr>][..],
        &[&"nosuch"],
        &[&"key", &"list", &"--nosuch"],
    ] {
        let said = world.countersign(wrong).with(&[&"--json"]).usage("");
        assert_eq!(said.stdout, "");
        let error: serde_json::Value = serde_json::from_str(&said.stderr).expect("JSON");
        assert_eq!(error["reason"], "arguments");
        assert_eq!(error["code"], 2);
    }
    let help = Command::new(PROGRAM)
        .args(["sign", "--json", "--help"])
        .output();
    assert!(
        help.expect("started")
            .stdout
            .starts_with(b"Verify and sign")
    );
}
