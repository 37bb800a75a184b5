//! A signing run that nothing can tear: what fails, dies or comes twice at any moment leaves nothing that the next `sign`
//! does not finish, with the same bytes.
//!
//! `make faults` tries everything there is (`COUNTERSIGN_FAULTS=all`) and tells how much that was; otherwise a selection is
//! tried, always the same one. What must hold stands in `tests/common/faults.rs`.
#![cfg(feature = "host")]

mod common;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

use common::faults::{Fault, How, Prepared, can_disturb, forget_clock};
use common::world::World;
use common::{clean_environment, copy_tree, tree};
use countersign::domain::event::Event;

/// The system calls with which a run changes something, or finds something out, on the disk.
const CALLS: [&str; 20] = [
    "chmod",
    "close",
    "fchmod",
    "fdatasync",
    "flock",
    "fsync",
    "ftruncate",
    "linkat",
    "mkdir",
    "mkdirat",
    "openat",
    "pwrite64",
    "rename",
    "renameat",
    "renameat2",
    "rmdir",
    "unlink",
    "unlinkat",
    "write",
    "writev",
];

/// Of so many faults, one is tried when not all are.
const SELECTION: usize = 20;

fn all() -> bool {
    std::env::var_os("COUNTERSIGN_FAULTS").is_some_and(|value| value == "all")
}

#[expect(clippy::print_stdout, reason = "`make faults` tells what was tried")]
fn tell(text: &str) {
    println!("{text}");
}

/// What came of many trials.
#[derive(Default)]
struct Report {
    tried: BTreeMap<String, usize>,
    violations: Vec<String>,
}

impl Report {
    fn tried(&mut self, what: &str) {
        *self.tried.entry(what.to_owned()).or_default() += 1;
    }

    /// Tells the figures, and fails if something did not hold.
    fn end(self, what: &str) {
        for (kind, tried) in &self.tried {
            tell(&format!("  {kind:40} {tried:6}"));
        }
        let tried: usize = self.tried.values().sum();
        tell(&format!("{what} tried: {tried}, violations: {}", self.violations.len()));
        assert!(tried > 0, "nothing was tried");
        assert!(self.violations.is_empty(), "\n{}", self.violations.join("\n"));
    }
}

/// Lets every core take jobs until there are none.
fn in_parallel<J: Send>(jobs: impl IntoIterator<Item = J>, work: impl Fn(J) + Sync) {
    let jobs = Mutex::new(jobs.into_iter().collect::<VecDeque<J>>());
    let workers = std::thread::available_parallelism().map_or(2, Into::into);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(job) = { jobs.lock().expect("no panic").pop_front() } {
                    work(job);
                }
            });
        }
    });
}

// ---- One system call fails, or the process dies at it ----

#[test]
fn a_run_survives_every_system_call_that_fails_or_kills_it() {
    if !can_disturb() {
        return;
    }
    let begun = Instant::now();
    let scenarios = [
        Prepared::new("begun anew", "openpgp", 3),
        Prepared::new("cut off before", "openpgp", 3).cut_off(),
        Prepared::new("with a nonce to wipe", "hmac", 1),
        Prepared::with_location("on to its location", 1),
    ];
    let report = Mutex::new(Report::default());
    match all() {
        true => {
            let calls = scenarios.iter().flat_map(|scenario| {
                scenario.calls(&CALLS).into_iter().map(move |(call, times)| (scenario, call, times))
            });
            let mut jobs: Vec<_> = calls
                .flat_map(|(scenario, call, times)| How::ALL.map(|how| (times, scenario, call.clone(), how)))
                .collect();
            jobs.sort_by_key(|(times, ..)| std::cmp::Reverse(*times));
            // Until a run has fewer such calls than that, and passes untouched.
            in_parallel(jobs, |(_, scenario, call, how)| {
                (1..)
                    .take_while(|when| disturb(scenario, &Fault { call: call.clone(), how, when: *when }, &report))
                    .count();
            });
        }
        false => {
            let faults = scenarios.iter().flat_map(|scenario| {
                let calls = scenario.calls(&CALLS).into_iter();
                let faults = calls.flat_map(|(call, times)| {
                    let fault = move |when| How::ALL.map(|how| Fault { call: call.clone(), how, when });
                    (1..=times).flat_map(fault)
                });
                faults.map(move |fault| (scenario, fault))
            });
            in_parallel(faults.step_by(SELECTION), |(scenario, fault)| {
                disturb(scenario, &fault, &report);
            });
        }
    }
    tell(&format!("in {} s", begun.elapsed().as_secs()));
    report.into_inner().expect("no panic").end("fault points");
}

/// Lets one run meet a fault, and the next finish it. Returns whether the fault came to pass.
fn disturb(scenario: &Prepared, fault: &Fault, report: &Mutex<Report>) -> bool {
    let trial = scenario.trial();
    let disturbed = trial.disturbed(fault);
    if !disturbed.hit {
        return false;
    }
    let said = String::from_utf8_lossy(&disturbed.output.stderr).into_owned();
    if ["ld.so", "while loading shared libraries", "libfaketime"].iter().any(|not_ours| said.contains(not_ours)) {
        // The program had not begun.
        return true;
    }
    let (mut violations, _) = trial.violations();
    let code = disturbed.output.status.code();
    // Rust's standard library panics when a folder cannot be closed.
    let ends_well = matches!(code, Some(0 | 3)) || said.contains("unexpected error during closedir");
    if fault.how != How::Kill && !ends_well {
        violations.push(format!("it ended with {code:?}: {said}"));
    }
    let mut report = report.lock().expect("no panic");
    report.tried(&format!("{} {:?}", fault.call, fault.how));
    let told = violations.into_iter().map(|what| format!("{}: {fault:?}: {what}", scenario.name));
    report.violations.extend(told);
    true
}

#[test]
fn the_one_signature_that_can_be_lost_is_named_and_made_again() {
    if !can_disturb() {
        return;
    }
    let scenario = Prepared::new("openpgp", "openpgp", 3);
    // Killed when the token has counted its second answer, and nothing of it is in the ledger.
    let trace = scenario.trial().traced(&["-e", "trace=renameat,pwrite64"]);
    let (mut counted, mut written) = (0, 0);
    for line in trace.lines() {
        counted += usize::from(line.contains("token.pem.count\""));
        written += usize::from(line.contains("pwrite64("));
        if counted == 2 && line.contains("pwrite64(") {
            break;
        }
    }
    let trial = scenario.trial();
    assert!(trial.disturbed(&Fault { call: "pwrite64".into(), how: How::Kill, when: written }).hit);
    let seen = trial.look();
    assert_eq!((seen.made, seen.kept.len()), (2, 1));
    assert_eq!(seen.unsettled(), Some("foo-02.tar"));

    let (violations, _) = trial.violations();
    assert_eq!(violations, [""; 0]);
    let seen = trial.look();
    assert_eq!(seen.made, 5, "four files, and one of them twice");
    let resumed: Vec<Event> = seen.of_kind("resumed").into_iter().cloned().collect();
    let named = matches!(&*resumed, [Event::Resumed { kept: 1, unsettled: Some(file), .. }] if file == "foo-02.tar");
    assert!(named, "{resumed:?}");
}

#[test]
fn what_a_killed_run_left_is_removed() {
    if !can_disturb() {
        return;
    }
    let scenario = Prepared::new("openpgp", "openpgp", 1);
    let trial = scenario.trial();
    // Killed before the first file aside in the home gets its name.
    assert!(trial.disturbed(&Fault { call: "renameat".into(), how: How::Kill, when: 1 }).hit);
    assert_eq!(trial.look().left_behind.len(), 2, "a file in the home and a folder in the inbox");
    assert_eq!(trial.violations().0, [""; 0]);
}

/// As on NFS: a rename cannot be asked to replace nothing.
#[test]
fn a_release_appears_where_a_rename_cannot_be_asked_to_replace_nothing() {
    if !can_disturb() {
        return;
    }
    let scenario = Prepared::with_location("on a network disk", 1);
    let trial = scenario.trial();
    let output = trial.always("renameat2", "EINVAL");
    assert!(output.status.success(), "{output:?}");
    let seen = trial.look();
    assert_eq!(seen.invariants(&scenario, scenario.before()), [""; 0]);
    assert_eq!(seen.finished(&scenario, scenario.before()), [""; 0]);

    // What is there is not replaced for that.
    let put: [fn(&Path); 2] = [
        |place| fs::write(place, "a file").expect("a file"),
        |place| {
            fs::create_dir(place).expect("a folder");
            fs::write(place.join("file"), "x").expect("a file");
        },
    ];
    for put in put {
        let trial = scenario.trial();
        let place = trial.folder().join("inbox/foo-1.2.3");
        trial.sign().output().expect("sign");
        fs::remove_dir_all(&place).expect("removed");
        put(&place);
        let before = tree(&trial.folder().join("inbox"));
        let output = trial.always("renameat2", "EINVAL");
        assert!(String::from_utf8_lossy(&output.stderr).contains("is there already"), "{output:?}");
        assert_eq!(tree(&trial.folder().join("inbox")), before);
    }
}

// ---- Killed at any moment ----

/// Numbers that look like chance and are the same for the same seed (SplitMix64).
struct Dice(u64);

impl Dice {
    fn new() -> Self {
        let given =
            std::env::var("COUNTERSIGN_SEED").ok().map(|seed| seed.parse().expect("COUNTERSIGN_SEED is a number"));
        let seed = given.unwrap_or_else(|| match all() {
            true => SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs(),
            false => 1,
        });
        tell(&format!("COUNTERSIGN_SEED={seed}"));
        Self(seed)
    }

    /// Any time up to that one.
    fn within(&mut self, longest: Duration) -> Duration {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        longest.mul_f64((mixed ^ (mixed >> 31)) as f64 / u64::MAX as f64)
    }
}

/// How long an undisturbed run takes on average while every core is busy with one.
fn duration(scenario: &Prepared) -> Duration {
    const RUNS: u32 = 8;
    let total = Mutex::new(Duration::ZERO);
    in_parallel(0..RUNS, |_| {
        let trial = scenario.trial();
        let begun = Instant::now();
        assert!(trial.sign().output().expect("sign").status.success());
        *total.lock().expect("no panic") += begun.elapsed();
    });
    total.into_inner().expect("no panic") / RUNS
}

#[test]
fn a_run_survives_being_killed_at_any_moment() {
    if !can_disturb() {
        return;
    }
    let runs = if all() { 1000 } else { 30 };
    let scenario = Prepared::with_location("twenty artifacts", 20);
    let (usual, mut dice) = (duration(&scenario), Dice::new());
    // Half of the runs take longer than the mean, and their last steps are to be hit too.
    let longest = usual.mul_f64(1.2);
    let moments: Vec<Duration> = (0..runs).map(|_| dice.within(longest)).collect();
    let report = Mutex::new(Report::default());
    let lost = Mutex::new(0);
    in_parallel(moments, |moment| {
        let trial = scenario.trial();
        let mut run = trial.begin();
        let process = run.id();
        std::thread::sleep(moment);
        run.kill().expect("the run is ours");
        let _output = run.wait_with_output().expect("the end of a run");
        forget_clock(process);
        let (violations, seen) = trial.violations();
        *lost.lock().expect("no panic") += u64::from(seen.made > seen.kept.len() as u64);
        let mut report = report.lock().expect("no panic");
        report.tried(&format!("killed: {}", seen.phase()));
        report.violations.extend(violations.into_iter().map(|what| format!("killed after {moment:?}: {what}")));
    });
    tell(&format!("an undisturbed run takes {usual:?}"));
    tell(&format!("lost between the token's answer and the ledger: {}", lost.into_inner().expect("no panic")));
    report.into_inner().expect("no panic").end("kills");
}

// ---- Two at once ----

#[test]
fn two_runs_at_once_never_sign_twice() {
    if !can_disturb() {
        return;
    }
    let races = if all() { 1000 } else { 30 };
    let scenario = Prepared::new("three artifacts", "openpgp", 3);
    let (usual, mut dice) = (duration(&scenario), Dice::new());
    // Most begin in the same moment, within what it takes to start a process.
    let heads: Vec<Duration> =
        (0..races).map(|race| if race % 4 == 0 { dice.within(usual) } else { Duration::ZERO }).collect();
    let report = Mutex::new(Report::default());
    in_parallel(heads, |head| {
        let trial = scenario.trial();
        let first = trial.begin();
        std::thread::sleep(head);
        let second = trial.begin();
        let mut ends = [first, second].map(|run| {
            let output = run.wait_with_output().expect("the end of a run");
            let (said, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            match output.status.code() {
                Some(0) if said.contains("signed already") => "found it signed".to_owned(),
                Some(0) => "signed".to_owned(),
                Some(3) if told.contains("another countersign process works in the home") => "refused".to_owned(),
                code => format!("ended with {code:?}: {told}"),
            }
        });
        ends.sort();
        let seen = trial.look();
        let (held, finished) =
            (seen.invariants(&scenario, scenario.before()), seen.finished(&scenario, scenario.before()));
        let ends = ends.join(", the other ");
        let well = ["found it signed, the other signed", "refused, the other signed"].contains(&&*ends);
        let mut report = report.lock().expect("no panic");
        report.tried(&format!("one {ends}"));
        let odd = (!well).then(|| format!("one {ends}"));
        report.violations.extend(held.into_iter().chain(finished).chain(odd));
    });
    report.into_inner().expect("no panic").end("races");
}

// ---- The log for others ----

/// Whoever fetches it meanwhile finds a checkpoint with everything that it needs.
#[test]
fn an_export_that_is_cut_off_leaves_the_one_before() {
    if !can_disturb() {
        return;
    }
    let world = World::ready();
    let folder = world.at("exported");
    world.host(&[&"log", &"export", &folder]).ok();
    world.grant();
    let mut cut_off = 0;
    loop {
        let kill = format!("inject=renameat:signal=KILL:when={}", cut_off + 1);
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=renameat", "-e", &kill]);
        command.arg(env!("CARGO_BIN_EXE_countersign")).arg("--home").arg(world.home()).args(["log", "export"]);
        clean_environment(&mut command, &world.at(""));
        let done = command.arg(&folder).output().expect("strace").status.success();
        world.host(&[&"log", &"verify", &"--export", &folder]).ok();
        if done {
            break;
        }
        cut_off += 1;
    }
    assert_eq!(cut_off, 3, "the entries, their hashes, the checkpoint");
    assert!(common::tree(&folder).keys().all(|name| !name.contains(".countersign-")), "nothing is left of the others");
}

// ---- The power fails ----

/// What of a run's changes a power failure can undo, step by step, from what strace saw.
#[derive(Default)]
struct Disk {
    folder: PathBuf,
    /// Files whose bytes are not on the disk yet.
    files: BTreeSet<PathBuf>,
    /// Names that their folder does not have on the disk yet, or still has.
    names: BTreeSet<PathBuf>,
    /// Everything that was written to the ledger and is on the disk.
    ledger: String,
    /// The same, not on the disk yet.
    pending: String,
    /// What was out of order.
    faults: Vec<String>,
}

impl Disk {
    /// Follows every call, and looks at the moments that matter.
    fn follow(folder: &Path, trace: &str) -> Self {
        let mut disk = Self { folder: folder.to_owned(), ..Self::default() };
        for line in trace.lines() {
            let Some((before, rest)) = line.split_once('(') else { continue };
            let call = before.rsplit(' ').next().expect("a call");
            let Some((arguments, result)) = rest.rsplit_once(") = ") else { continue };
            if !result.starts_with('-') {
                disk.step(call, arguments, result);
            }
        }
        disk
    }

    fn step(&mut self, call: &str, arguments: &str, result: &str) {
        let opened = |text: &str| {
            text.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map(|(path, _)| PathBuf::from(path))
        };
        // Each path counts from the folder before it, which strace tells in angle brackets.
        let quoted = |which: usize| {
            let mut parts = arguments.split('"').skip(2 * which);
            let (before, path) = (parts.next().expect("a place"), parts.next().expect("a path"));
            opened(before).unwrap_or_else(|| self.folder.clone()).join(path)
        };
        match call {
            "openat" if arguments.contains("O_CREAT") => {
                let path = opened(result).expect("strace tells paths");
                self.before_the_token(&path);
                self.names.insert(path);
            }
            "mkdir" | "mkdirat" => {
                self.names.insert(quoted(0));
            }
            "write" | "pwrite64" | "ftruncate" => {
                let path = opened(arguments).expect("strace tells paths");
                if path.ends_with("home/ledger.sqlite-wal") {
                    self.pending += arguments;
                    self.before_it_is_logged();
                }
                if path.starts_with(&self.folder) {
                    self.files.insert(path);
                }
            }
            "fsync" | "fdatasync" => {
                let path = opened(arguments).expect("strace tells paths");
                if path.ends_with("home/ledger.sqlite-wal") {
                    self.ledger += &std::mem::take(&mut self.pending);
                }
                self.files.remove(&path);
                self.names.retain(|name| name.parent() != Some(&path));
            }
            "rename" | "renameat" | "renameat2" => {
                let (from, to) = (quoted(0), quoted(1));
                let open: Vec<_> = self
                    .files
                    .iter()
                    .chain(&self.names)
                    .filter(|path| path.starts_with(&from) && **path != from)
                    .cloned()
                    .collect();
                let file = self.files.contains(&from);
                if file || !open.is_empty() {
                    self.faults.push(format!("{} appears before {open:?} is on the disk", to.display()));
                }
                if to.ends_with("inbox/foo-1.2.3") {
                    self.is_logged(r#"\"status\":\"signed\""#, "the release appears");
                }
                if to.ends_with("location/foo-1.2.3") {
                    self.is_logged(r#"\"kind\":\"released\""#, "the release is pushed");
                }
                if to.ends_with("log/checkpoint") {
                    self.is_logged(r#"\"kind\":\"pushed\""#, "the log is exported");
                }
                self.names.remove(&from);
                self.names.insert(to);
            }
            "unlink" | "unlinkat" | "rmdir" => {
                let path = quoted(0);
                if self.files.remove(&path) && path.starts_with(self.folder.join("home/nonces")) {
                    self.faults.push("a nonce is removed before it is overwritten on the disk".to_owned());
                }
                self.names.insert(path);
            }
            _ => {}
        }
    }

    /// The first thing that the token does for a signature is to write its count aside.
    fn before_the_token(&mut self, path: &Path) {
        if path.parent() == Some(&self.folder) {
            self.is_logged(r#"\"kind\":\"intent\""#, "the token is used");
            if !self.pending.is_empty() {
                self.faults.push("the token is asked again before its last answer is on the disk".to_owned());
            }
        }
    }

    fn is_logged(&mut self, entry: &str, what: &str) {
        if !self.ledger.contains(entry) {
            self.faults.push(format!("{what} before {entry} is on the disk"));
        }
    }

    fn before_it_is_logged(&mut self) {
        for (kind, place) in [("released", "inbox"), ("pushed", "location")] {
            let (entry, place) = (format!(r#"\"kind\":\"{kind}\""#), self.folder.join(place));
            if self.pending.contains(&entry) && self.names.iter().any(|name| name.starts_with(&place)) {
                self.faults.push(format!("the release is {kind} in the log before its name is on the disk"));
            }
        }
    }

    /// What a power failure after the end of the run would undo.
    fn open(&self) -> Vec<String> {
        let open = self.files.iter().chain(&self.names).filter_map(|path| path.strip_prefix(&self.folder).ok());
        let mut open: Vec<_> = open.map(|path| path.display().to_string()).collect();
        // What SQLite makes anew from the ledger, and the counter of the token for tests.
        open.retain(|path| {
            !path.starts_with("home/ledger.sqlite-") && !path.starts_with(".tmp") && path != "token.pem.count"
        });
        open
    }
}

/// Everything that changes a file or a folder, with paths and whole buffers.
const CHANGES: [&str; 7] = [
    "-y",
    "-s",
    "10000",
    "-e",
    "signal=none",
    "-e",
    "trace=openat,?mkdir,mkdirat,write,pwrite64,ftruncate,fsync,fdatasync,?rename,renameat,renameat2,?unlink,unlinkat,?rmdir",
];

#[test]
fn each_step_is_on_the_disk_before_the_next_relies_on_it() {
    if !can_disturb() {
        return;
    }
    let scenario = Prepared::new("openpgp", "openpgp", 3);
    let nonce = Prepared::new("hmac", "hmac", 1);
    let location = Prepared::with_location("on to its location", 2);
    for scenario in [&scenario, &nonce, &location] {
        let trial = scenario.trial();
        let trace = trial.traced(&CHANGES);
        let folder = trial.folder();
        let disk = Disk::follow(&folder, &trace);
        assert_eq!(disk.faults, [""; 0], "{}", scenario.name);
        assert_eq!(disk.open(), [""; 0], "{}", scenario.name);
        let kept = disk.ledger.matches("BEGIN PGP SIGNATURE").count();
        assert!(kept >= scenario.files.len(), "the trace shows {kept} signatures kept");

        // A release that is there already: the run that wrote it may have been cut off just before this.
        let trace = trial.traced(&CHANGES);
        let inbox = format!("<{}>", folder.join("inbox").display());
        let synced = trace.lines().any(|line| line.contains("fsync(") && line.contains(&inbox));
        assert!(synced, "the name of a release that was there is not made durable");
    }

    // And one that is in the location's inbox already.
    let trial = location.trial();
    assert!(trial.disturbed(&Fault { call: "renameat2".into(), how: How::Kill, when: 2 }).hit);
    let (release, place) = (trial.folder().join("inbox/foo-1.2.3"), trial.folder().join("location"));
    copy_tree(&release, &place.join("foo-1.2.3"));
    let trace = trial.traced(&CHANGES);
    let place = format!("<{}>", place.display());
    let found: Vec<&str> = trace.lines().filter(|line| line.contains(&place) || line.contains("pushed")).collect();
    let synced = found.iter().position(|line| line.contains("fsync(") && line.contains(&place));
    let logged = found.iter().position(|line| line.contains(r#"\"kind\":\"pushed\""#));
    assert!(synced.is_some() && synced < logged, "{found:?}");
}
