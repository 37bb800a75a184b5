//! PINs of builds that nobody watches: a wrong one costs one try, however many builds wait.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit};

use crate::common::cards::{USER_PIN, VirtualCard, card_or_skip};
use crate::common::tokens::{PIN, write_secret};
use crate::common::world::World;
use crate::common::{Arguments, clean_environment};

const STALE: &str = "654321";

fn pin_file(world: &World) -> PathBuf {
    world.at("token").join("user-pin")
}

/// Changes where the configuration takes the PIN from.
fn take_pin_from(world: &World, file: &Path, source: &str) {
    let path = world.home().join("config.toml");
    let config = fs::read_to_string(&path).expect("the configuration");
    let before = format!("pin-source=file:{}", file.display());
    assert!(config.contains(&before), "{config}");
    fs::write(
        &path,
        config.replace(&before, &format!("pin-source={source}")),
    )
    .expect("written");
}

/// A program in place of the person at pinentry, who gives this PIN.
fn person(world: &World, name: &str, pin: &str) -> PathBuf {
    let path = world.new_folder("person").join(name);
    let script = format!(
        "#!/bin/sh\necho OK\nwhile read -r line; do\n\
         case $line in GETPIN) echo 'D {pin}' ;; esac\necho OK\n\
         [ \"$line\" = BYE ] && exit\ndone\n"
    );
    fs::write(&path, script).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("its mode");
    path
}

/// Names the program that asks for PINs in the configuration.
fn ask_with(world: &World, pinentry: &Path) {
    let path = world.home().join("config.toml");
    let config = fs::read_to_string(&path).expect("the configuration");
    let rest: String = config
        .lines()
        .filter(|line| !line.starts_with("pinentry = "))
        .map(|line| format!("{line}\n"))
        .collect();
    let text = format!("pinentry = \"{}\"\n{rest}", pinentry.display());
    fs::write(&path, text).expect("written");
}

/// Runs the program without a terminal. Returns its exit code and what it printed.
fn alone(world: &World, path: &str, arguments: Arguments<'_>) -> (i32, String) {
    let mut command = Command::new("setsid");
    command
        .arg("--wait")
        .arg(env!("CARGO_BIN_EXE_countersign"))
        .arg("--home")
        .arg(world.home());
    command.args(arguments.iter().map(|argument| argument.as_ref()));
    clean_environment(&mut command, &world.at("."));
    command.envs(world.token_env()).env("PATH", path);
    let Output {
        status,
        stdout,
        stderr,
    } = command.stdin(Stdio::null()).output().expect("setsid");
    let text = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
    (status.code().unwrap_or(-1), text)
}

const SYSTEM: &str = "/usr/bin:/bin";
const AS_A_PERSON: Arguments<'_> = &[&"key", &"check", &"--sign", &"--prompt"];

#[test]
fn twelve_builds_with_a_stale_pin_file_cost_a_card_one_try() {
    let (world, card) = card_or_skip!(&[]);
    world.set_up();
    let builds: Vec<_> = (1..=12)
        .map(|minor| world.attested_of(&format!("1.{minor}"), &[], &[("foo.txt", b"text\n")]))
        .collect();
    write_secret(&pin_file(&world), STALE);
    let (first, others) = builds.split_first().expect("twelve");
    world
        .sign(&first.0, &first.1)
        .trouble("wrong PIN")
        .says("2 tries are left");
    for (granted, build) in others {
        let said = world
            .sign(granted, build)
            .with(&[&"--json"])
            .trouble("did not accept the PIN from `file:")
            .says("touch");
        assert!(said.stderr.contains("\"pin_refused_before\""), "{said:?}");
    }
    assert_eq!(card.tries(), (2, 3));

    // The same bytes, written again, are another PIN for all that is known of them.
    write_secret(&pin_file(&world), STALE);
    let said = thread::scope(|scope| {
        let run = |(granted, build)| {
            let sign = world.sign(granted, build).with(&[&"--allow-older"]);
            sign.run().0
        };
        let runs = builds.iter();
        let runs = runs.map(|(granted, build)| scope.spawn(move || run((granted, build))));
        let runs: Vec<_> = runs.collect();
        let ended = runs.into_iter().map(|run| run.join().expect("its end"));
        ended.collect::<Vec<_>>()
    });
    assert_eq!(card.tries(), (1, 3), "many at once: {said:?}");
    nothing_of_the_pin_is_kept(&world);
}

#[test]
fn twelve_builds_with_a_stale_pin_file_lock_no_token() {
    for make in [World::on_softhsm, World::on_kryoptic] {
        let Some(world) = make() else { return };
        world.set_up();
        let pin = world.software_token().pin_file().to_owned();
        let (granted, build) = world.attested();
        write_secret(&pin, STALE);
        world.sign(&granted, &build).trouble("wrong PIN");
        for _ in 2..=12 {
            let said = world
                .sign(&granted, &build)
                .trouble("did not accept the PIN");
            assert!(!said.stderr.contains("wrong PIN"), "{said:?}");
        }
        nothing_of_the_pin_is_kept(&world);
        world.host(&[&"key", &"check"]).ok();
        write_secret(&pin, PIN);
        world.sign(&granted, &build).ok();
        world.host(&[&"key", &"check"]).ok().says("no failed try");
    }
}

#[track_caller]
fn nothing_of_the_pin_is_kept(world: &World) {
    let record = fs::read_to_string(world.home().join("refused-pins")).expect("a record");
    let record = record.replace(|c: char| !c.is_ascii_graphic(), "");
    for part in [STALE, &STALE[1..5], &hex::encode(STALE)] {
        assert!(!record.contains(part), "{record}");
    }
}

#[test]
fn a_credential_that_was_refused_waits_for_a_person() {
    let Some(world) = World::on_softhsm() else {
        return;
    };
    world.set_up();
    let file = world.software_token().pin_file().to_owned();
    let (granted, build) = world.attested();
    // Each start of a service has its credentials in new files.
    let with_credential = |pin: &str| {
        let folder = world.new_folder("credentials");
        write_secret(&folder.join("hsm-pin"), pin);
        world
            .sign(&granted, &build)
            .env("CREDENTIALS_DIRECTORY", &folder)
    };
    take_pin_from(&world, &file, "credential:hsm-pin");
    with_credential(STALE).trouble("wrong PIN");
    with_credential(STALE)
        .trouble("did not accept the PIN from `credential:hsm-pin`")
        .says("key check --sign --prompt");
    with_credential(PIN).trouble("did not accept the PIN");

    // A person with the wrong PIN changes nothing, and is asked again.
    for _ in 0..2 {
        ask_with(&world, &person(&world, "pinentry", STALE));
        let (code, said) = alone(&world, SYSTEM, AS_A_PERSON);
        assert!(code == 3 && said.contains("wrong PIN"), "{said}");
    }
    with_credential(PIN).trouble("did not accept the PIN");
    ask_with(&world, &person(&world, "pinentry", PIN));
    let (code, said) = alone(&world, SYSTEM, AS_A_PERSON);
    assert_eq!(code, 0, "{said}");
    with_credential(PIN).ok();
}

#[test]
fn a_damaged_record_of_refused_pins_stops_before_the_try() {
    let (world, card) = card_or_skip!(&[]);
    world.set_up();
    let (granted, build) = world.attested();
    let record = world.home().join("refused-pins");
    fs::write(&record, b"{\"format\":").expect("damaged");
    write_secret(&pin_file(&world), STALE);
    world
        .sign(&granted, &build)
        .trouble("the record of refused PINs cannot be used")
        .says("no PIN was tried");
    assert_eq!(card.tries(), (3, 3));
    ask_with(&world, &person(&world, "pinentry", USER_PIN));
    let (code, said) = alone(&world, SYSTEM, AS_A_PERSON);
    assert_eq!(code, 0, "{said}");
    world.sign(&granted, &build).trouble("wrong PIN");
    assert_eq!(card.tries(), (2, 3));
}

#[test]
fn a_pin_file_with_what_cannot_be_seen_is_not_tried() {
    let (world, card) = card_or_skip!(&[]);
    world.set_up();
    let (granted, build) = world.attested();
    for (content, reason) in [
        ("\u{feff}123456\n", "it begins with a byte order mark"),
        ("123456\u{200b}\n", "it has an invisible character"),
        ("123456\u{a0}\n", "it has an invisible character"),
    ] {
        write_secret(&pin_file(&world), content);
        world.sign(&granted, &build).stops(2, reason);
        assert_eq!(card.tries(), (3, 3));
    }
    for (content, odd) in [
        ("\"123456\"\n", "is in quotes; it was tried once"),
        ("123456 \n", "ends in a blank; one try is left"),
    ] {
        write_secret(&pin_file(&world), content);
        let said = world.sign(&granted, &build).trouble("wrong PIN").says(odd);
        assert!(!said.stderr.contains(USER_PIN), "{said:?}");
    }
    assert_eq!(card.tries(), (1, 3));
}

#[test]
fn a_pin_file_of_others_is_not_read() {
    let Some(world) = World::on_softhsm() else {
        return;
    };
    world.set_up();
    let (granted, build) = world.attested();
    let file = world.software_token().pin_file().to_owned();
    if std::os::unix::fs::chown(&file, Some(12_345), None).is_ok() {
        let said = world.sign(&granted, &build);
        said.stops(2, "belongs to user 12345, who is neither root");
    }
}

#[test]
fn the_check_of_a_key_fails_at_the_last_try_and_when_it_is_locked() {
    let (world, card) = card_or_skip!(&[]);
    world.set_up();
    let check = || world.host(&[&"key", &"check", &"--json"]);
    let lose_a_try = |card: &VirtualCard| {
        card.send(&[&format!("0020008106{}", hex::encode(STALE))]);
    };
    lose_a_try(&card);
    check().ok();
    lose_a_try(&card);
    let said = check().trouble("one try left");
    assert!(said.stderr.contains("\"final_pin_try\""), "{said:?}");
    lose_a_try(&card);
    check().trouble("is locked");
    let said = world.host(&[&"key", &"check"]).trouble("is locked");
    said.says("PIN         locked");
}

#[test]
fn the_check_of_a_key_fails_at_the_last_try_of_a_pkcs11_token() {
    let Some(world) = World::on_kryoptic() else {
        return;
    };
    world.set_up();
    let pin = world.software_token().pin_file().to_owned();
    let mut tries = 0;
    while world.host(&[&"key", &"check"]).run().0.code == 0 {
        tries += 1;
        assert!(tries < 20, "Kryoptic never locks its PIN");
        write_secret(&pin, STALE);
        let check: Arguments<'_> = &[&"key", &"check", &"--sign"];
        world.host(check).trouble("wrong PIN");
    }
    world.host(&[&"key", &"check"]).trouble("one try left");
}

/// The first `pinentry` in PATH may be anybody's.
#[test]
fn the_pin_is_asked_for_by_the_program_of_the_configuration() {
    let Some(world) = World::on_softhsm() else {
        return;
    };
    world.set_up();
    let in_path = person(&world, "pinentry", PIN);
    let folder = in_path.parent().expect("a folder").display();
    let (code, said) = alone(&world, &format!("{folder}:{SYSTEM}"), AS_A_PERSON);
    assert!(
        code == 2 && said.contains("there is nobody to ask"),
        "{said}"
    );

    ask_with(&world, &in_path);
    let (code, said) = alone(&world, SYSTEM, AS_A_PERSON);
    assert_eq!(code, 0, "{said}");
    fs::set_permissions(&in_path, fs::Permissions::from_mode(0o777)).expect("its mode");
    let (code, said) = alone(&world, SYSTEM, AS_A_PERSON);
    assert!(
        code == 2 && said.contains("others than its owner can write it"),
        "{said}"
    );
    ask_with(&world, Path::new("pinentry"));
    let (code, said) = alone(&world, SYSTEM, AS_A_PERSON);
    assert!(
        code == 2 && said.contains("`pinentry` is not an absolute path"),
        "{said}"
    );
}

/// Before the PIN is read, all memory is locked where it may be; where it may not, that of the PIN.
#[test]
fn memory_is_locked_before_the_pin_is_read() {
    let Some(world) = World::on_softhsm() else {
        return;
    };
    world.set_up();
    let file = world.software_token().pin_file().to_owned();
    take_pin_from(&world, &file, "fd:0");
    let is_root = rustix::process::geteuid().is_root();
    let status = fs::read_to_string("/proc/self/status").expect("our own");
    let capabilities = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let capabilities = u64::from_str_radix(capabilities.expect("a line").trim(), 16);
    let may_lock = capabilities.expect("hexadecimal") & (1 << 14) != 0;
    let all = is_root && may_lock || getrlimit(Resource::Memlock).maximum.is_none();
    let (locked, size) = locked_while_it_reads_the_pin(&world, "1.0", &[]);
    if all {
        assert!(locked > size / 2, "{locked} of {size}");
    } else {
        assert!(locked >= 4, "{locked}");
    }
    // Without the right to lock more than that; only root can give that right away.
    if is_root {
        let limits = [
            "prlimit",
            "--memlock=65536:65536",
            "setpriv",
            "--bounding-set=-ipc_lock",
        ];
        let (locked, _) = locked_while_it_reads_the_pin(&world, "1.1", &limits);
        assert!((4..=64).contains(&locked), "{locked}");
    }
}

/// How much memory `sign` has locked, and how much it has, in KiB.
fn locked_while_it_reads_the_pin(world: &World, version: &str, limits: &[&str]) -> (u64, u64) {
    let (granted, build) = world.attested_of(version, &[], &[("foo.txt", b"text\n")]);
    let mut command = Command::new(limits.first().unwrap_or(&env!("CARGO_BIN_EXE_countersign")));
    if let [_, limits @ ..] = limits {
        command.args(limits).arg(env!("CARGO_BIN_EXE_countersign"));
    }
    let to = world.release(&granted);
    let sign: Arguments<'_> = &[
        &"--home",
        &world.home(),
        &"sign",
        &granted.grant,
        &"--from",
        &build.folder,
        &"-o",
        &to,
    ];
    command.args(sign.iter().map(|argument| argument.as_ref()));
    let mut sign = clean_environment(&mut command, &world.at("."))
        .envs(world.token_env())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("it starts");
    let mut input = sign.stdin.take().expect("a pipe");
    input.write_all(&PIN.as_bytes()[..4]).expect("it reads");
    let end = Instant::now() + Duration::from_secs(20);
    while rustix::io::ioctl_fionread(&input).expect("a pipe") > 0 {
        let ended = sign.try_wait().expect("its state");
        assert!(ended.is_none() && Instant::now() < end, "it reads no PIN");
        thread::sleep(Duration::from_millis(5));
    }
    let status = fs::read_to_string(format!("/proc/{}/status", sign.id())).expect("it runs");
    input.write_all(&PIN.as_bytes()[4..]).expect("it reads");
    drop(input);
    assert!(sign.wait().expect("its end").success());
    let size = |name: &str| -> u64 {
        let line = status.lines().find(|line| line.starts_with(name));
        let number = line.expect("a line").split_whitespace().nth(1);
        number.expect("a number").parse().expect("a number")
    };
    (size("VmLck:"), size("VmSize:"))
}
