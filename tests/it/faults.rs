//! A signing run that nothing can tear: what fails, dies or comes twice at any moment leaves
//! nothing that the next `sign` does not finish, with the same bytes.
//!
//! `make faults` tries everything there is (`COUNTERSIGN_FAULTS=all`) and reports how much that
//! was; otherwise a selection is tried, always the same one. What must be true is in
//! `tests/it/common/faults.rs`.

mod homes;

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

use crate::common::disk::{CHANGES, Disk};
use crate::common::errands::Errand;
use crate::common::faults::{
    Disturbed, Fault, How, Prepared, Seen, can_disturb, copy_whole, counted, disturbed,
    forget_clock, strace, written,
};
use crate::common::world::World;
use crate::common::{clean_environment, copy_tree, listing, tree};
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

/// One of this number of faults is tried when not all are.
const SELECTION: usize = 20;
/// The same for the commands that come before a signing run.
const SELECTION_OF_ERRANDS: usize = 7;

fn all() -> bool {
    std::env::var_os("COUNTERSIGN_FAULTS").is_some_and(|value| value == "all")
}

#[expect(clippy::print_stdout, reason = "`make faults` reports what was tried")]
fn show(text: &str) {
    println!("{text}");
}

/// The results of many trials.
#[derive(Default)]
struct Report {
    tried: BTreeMap<String, usize>,
    violations: Vec<String>,
}

impl Report {
    fn tried(&mut self, what: &str) {
        *self.tried.entry(what.to_owned()).or_default() += 1;
    }

    /// Reports the figures, and fails if something was broken.
    fn end(self, what: &str) {
        for (kind, tried) in &self.tried {
            show(&format!("  {kind:40} {tried:6}"));
        }
        let tried: usize = self.tried.values().sum();
        show(&format!(
            "{what} tried: {tried}, violations: {}",
            self.violations.len()
        ));
        assert!(tried > 0, "nothing was tried");
        assert!(
            self.violations.is_empty(),
            "\n{}",
            self.violations.join("\n")
        );
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
    sweep(
        &scenarios,
        SELECTION,
        |scenario| scenario.calls(&CALLS),
        |scenario, fault| disturb(scenario, fault, &report),
    );
    show(&format!("in {} s", begun.elapsed().as_secs()));
    report.into_inner().expect("no panic").end("fault points");
}

/// Tries every fault in each scenario, or one in [`SELECTION`] and each `fsync` that fails, because
/// nothing else shows that an error of one is dropped. `calls` is how often an undisturbed run
/// makes each system call, and `disturb` whether the fault came to pass.
fn sweep<S: Sync>(
    scenarios: &[S],
    selection: usize,
    calls: impl Fn(&S) -> Vec<(String, usize)>,
    disturb: impl Fn(&S, &Fault) -> bool + Sync,
) {
    let calls = scenarios.iter().flat_map(|scenario| {
        calls(scenario)
            .into_iter()
            .map(move |(call, times)| (scenario, call, times))
    });
    if all() {
        let mut jobs: Vec<_> = calls
            .flat_map(|(scenario, call, times)| {
                How::ALL.map(|how| (times, scenario, call.clone(), how))
            })
            .collect();
        jobs.sort_by_key(|(times, ..)| std::cmp::Reverse(*times));
        // Until a run has fewer such calls than that, and passes untouched.
        in_parallel(jobs, |(_, scenario, call, how)| {
            (1..)
                .take_while(|when| {
                    disturb(
                        scenario,
                        &Fault {
                            call: call.clone(),
                            how,
                            when: *when,
                        },
                    )
                })
                .count();
        });
    } else {
        let faults = calls.flat_map(|(scenario, call, times)| {
            let fault = move |when| {
                How::ALL.map(|how| {
                    (
                        scenario,
                        Fault {
                            call: call.clone(),
                            how,
                            when,
                        },
                    )
                })
            };
            (1..=times).flat_map(fault)
        });
        let tried = |at: usize, fault: &Fault| {
            at.is_multiple_of(selection) || fault.how == How::Io && fault.is_failing_sync()
        };
        let faults = faults
            .enumerate()
            .filter(|(at, (_, fault))| tried(*at, fault));
        in_parallel(faults, |(_, (scenario, fault))| {
            disturb(scenario, &fault);
        });
    }
}

/// Lets one run meet a fault, and the next finish it. Returns whether the fault came to pass.
fn disturb(scenario: &Prepared, fault: &Fault, report: &Mutex<Report>) -> bool {
    let trial = scenario.trial();
    let disturbed = trial.disturbed(fault);
    if !disturbed.hit {
        return false;
    }
    let Some(end) = end(fault, &disturbed) else {
        return true;
    };
    let (mut violations, _) = trial.violations();
    violations.extend(end);
    if fault.is_failing_sync() && disturbed.output.status.success() {
        let disk = trial.disk(&disturbed.trace);
        violations.extend(undone(&disk).into_iter().chain(disk.faults));
    }
    show_violations(scenario.name, fault, violations, report);
    true
}

/// What is wrong with how a run ended; nothing if the program had not begun.
fn end(fault: &Fault, disturbed: &Disturbed) -> Option<Vec<String>> {
    let said = String::from_utf8_lossy(&disturbed.output.stderr);
    if ["ld.so", "while loading shared libraries", "libfaketime"]
        .iter()
        .any(|not_ours| said.contains(not_ours))
    {
        return None;
    }
    let code = disturbed.output.status.code();
    // Rust's standard library panics when a folder cannot be closed.
    let well = matches!(code, Some(0 | 3)) || said.contains("unexpected error during closedir");
    let ill = fault.how != How::Kill && !well;
    Some(
        ill.then(|| format!("it ended with {code:?}: {said}"))
            .into_iter()
            .collect(),
    )
}

fn show_violations(name: &str, fault: &Fault, violations: Vec<String>, report: &Mutex<Report>) {
    let mut report = report.lock().expect("no panic");
    report.tried(&format!("{} {:?}", fault.call, fault.how));
    report.violations.extend(
        violations
            .into_iter()
            .map(|what| format!("{name}: {fault:?}: {what}")),
    );
}

/// Where an `fsync` may fail and the run go on to its end: what it was to keep is on the disk all
/// the same.
///
/// When SQLite closes the ledger it moves what was logged into the file proper. If that fails,
/// what was logged is not removed, and the next command does the same again. What could not be kept
/// of a signature is written a second time, with the space that was reserved. And SQLite moves the
/// name of its file to the disk, as we have done before it.
const SPARED: [&str; 3] = ["home/ledger.sqlite", "home/ledger.sqlite-wal", "home"];

/// What a run that called itself done, although an `fsync` failed, did not flush to the disk.
fn undone(disk: &Disk) -> Vec<String> {
    let failed = disk
        .failed
        .iter()
        .filter(|path| !SPARED.iter().any(|spared| path.as_os_str() == *spared));
    let failed =
        failed.map(|path| format!("it is done, and {} is not on the disk", path.display()));
    let open = disk
        .open()
        .into_iter()
        .map(|path| format!("it is done, and a power cut undoes {path}"));
    failed.chain(open).collect()
}

/// What comes before a signing run: it is not gone on with, and the same command again finishes or
/// reports what there is.
#[test]
fn a_home_a_grant_and_a_certificate_survive_every_system_call_that_fails_or_kills() {
    if !can_disturb() {
        return;
    }
    let report = Mutex::new(Report::default());
    sweep(
        &Errand::all(),
        SELECTION_OF_ERRANDS,
        |errand| errand.calls(&CALLS),
        |errand, fault| {
            let attempt = errand.attempt();
            let disturbed = attempt.disturbed(fault);
            if let Some(mut violations) = end(fault, &disturbed).filter(|_| disturbed.hit) {
                if fault.is_failing_sync() && disturbed.output.status.success() {
                    violations.extend(undone(&attempt.disk(&disturbed.trace)));
                }
                violations.extend(attempt.violations(&disturbed));
                show_violations(errand.name, fault, violations, &report);
            }
            disturbed.hit
        },
    );
    report.into_inner().expect("no panic").end("fault points");
}

fn admit(folder: &Path, options: &[&str]) -> Output {
    let arguments = ["admit", "--cert", "release.pgp", "inbox", "releases"].map(OsStr::new);
    let log = folder.with_extension("trace");
    strace(&log, options, folder, &[], &arguments)
}

/// `admit` of a release: what is public is whole, and nothing is lost; the next run finishes it,
/// and then there is a record. Where it was public and is moved away, it does not come back.
#[test]
fn an_admission_survives_every_system_call_that_fails_or_kills_it() {
    if !can_disturb() {
        return;
    }
    let world = World::ready();
    let genuine = tree(&world.signed());
    let check = |folder: &Path, done: bool| {
        let names = |name: &str| listing(&folder.join(name));
        let public = folder.join("releases/foo-1.2.3");
        let submission = folder.join("inbox/foo-1.2.3");
        let whole = |path: &Path| path.exists() && tree(path) == genuine;
        let mut wrong = Vec::new();
        if public.exists() && !whole(&public) {
            wrong.push("what is public is not whole".to_owned());
        }
        if !whole(&public) && !whole(&submission) {
            wrong.push("the release is lost".to_owned());
        }
        if public.exists() && !done {
            let temp = tempfile::tempdir().expect("a temporary folder");
            let other = temp.path().join("location");
            copy_whole(folder, &other);
            fs::remove_dir_all(other.join("releases/foo-1.2.3")).expect("moved away");
            copy_whole(
                &world.inbox().join("foo-1.2.3"),
                &other.join("inbox/foo-1.2.3"),
            );
            let again = admit(&other, &["-e", "trace=none"]);
            if again.status.code() != Some(1) || other.join("releases/foo-1.2.3").exists() {
                wrong.push(format!("it came back: {again:?}"));
            }
        }
        let records = [
            ".countersign.admitted",
            ".countersign.lock",
            ".countersign.owner",
            "foo-1.2.3",
        ];
        // A report may be missing: it is hearsay for the signing host, and not worth a second try.
        let left = names("inbox");
        if done
            && (names("releases") != records || left.iter().any(|it| it != "foo-1.2.3.admitted"))
        {
            wrong.push(format!("{:?} {:?}", names("releases"), names("inbox")));
        }
        if done && names("releases/.countersign.admitted") != ["foo-1.2.3"] {
            wrong.push("there is no record".to_owned());
        }
        wrong
    };
    survives_at_the_location("admit", &world, check);
}

/// The same of a withdrawal: the release is public or set aside, and whole; the next run finishes
/// it, and then it is set aside and the statement is public.
#[test]
fn a_withdrawal_survives_every_system_call_that_fails_or_kills_it() {
    if !can_disturb() {
        return;
    }
    let world = World::ready();
    let genuine = tree(&world.signed());
    world.admit().ok();
    fs::remove_file(world.inbox().join("foo-1.2.3.admitted")).expect("removed");
    let statement = world.inbox().join("foo-1.2.3.withdrawal");
    let reason: [&dyn AsRef<OsStr>; 4] = [&"--reason", &"why", &"-o", &statement];
    world
        .host(&[&"withdraw", &"foo", &"1.2.3"])
        .with(&reason)
        .ok();
    let statement = tree(&statement);
    let check = |folder: &Path, done: bool| {
        let at = |name: &str| folder.join("releases").join(name);
        let of = |name: &str| at(name).exists().then(|| tree(&at(name)));
        let (public, aside) = (of("foo-1.2.3"), of(".countersign.withdrawn/foo-1.2.3"));
        let mut wrong = Vec::new();
        if [&public, &aside]
            .iter()
            .filter(|it| it.as_ref() == Some(&genuine))
            .count()
            != 1
            || done && public.is_some()
        {
            wrong.push("the release is not in one place, whole".to_owned());
        }
        match of("foo-1.2.3.withdrawal") {
            None if !done && public.is_some() => {}
            Some(served) if served == statement => {}
            served => wrong.push(format!("the statement is {:?}", served.map(|it| it.len()))),
        }
        wrong
    };
    survives_at_the_location("withdrawal", &world, check);
}

/// `check` says what is wrong at a location, after a run that was disturbed, or when the next is
/// done.
fn survives_at_the_location(
    name: &str,
    world: &World,
    check: impl Fn(&Path, bool) -> Vec<String> + Sync,
) {
    let report = Mutex::new(Report::default());
    let copied = || {
        let temp = tempfile::tempdir().expect("a temporary folder");
        let folder = temp.path().join("location");
        fs::create_dir(&folder).expect("made");
        for name in ["inbox", "releases", "release.pgp"] {
            copy_whole(&world.at(name), &folder.join(name));
        }
        (temp, folder)
    };
    let calls = || {
        let (_temp, folder) = copied();
        counted(&CALLS, |options| {
            assert!(admit(&folder, options).status.success());
            written(&folder.with_extension("trace"))
        })
    };
    sweep(
        &[()],
        SELECTION_OF_ERRANDS,
        |()| calls(),
        |(), fault| {
            let (_temp, folder) = copied();
            let log = folder.with_extension("trace");
            let disturbed = disturbed(&log, fault, |options| admit(&folder, options));
            if let Some(mut violations) = end(fault, &disturbed).filter(|_| disturbed.hit) {
                let done = disturbed.output.status.success();
                violations.extend(check(&folder, false));
                let again = admit(&folder, &["-e", "trace=none"]);
                if !again.status.success() {
                    violations.push(format!("the next run ended with {again:?}"));
                }
                violations.extend(check(&folder, true));
                if fault.is_failing_sync() && done {
                    let disk = Disk::follow(&folder, "", [], &disturbed.trace);
                    // A submission that is there again is found to be admitted.
                    let undone = undone(&disk).into_iter();
                    violations.extend(undone.filter(|it| !it.contains("inbox")));
                }
                show_violations(name, fault, violations, &report);
            }
            disturbed.hit
        },
    );
    report.into_inner().expect("no panic").end("fault points");
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
    assert!(trial.disturbed(&Fault::kill("pwrite64", written)).hit);
    let seen = trial.look();
    assert_eq!((seen.made, seen.kept.len()), (2, 1));
    assert_eq!(seen.unsettled(), Some("foo-02.tar"));

    let (violations, _) = trial.violations();
    assert_eq!(violations, [""; 0]);
    let seen = trial.look();
    assert_eq!(seen.made, 5, "four files, and one of them twice");
    resumed_with_one_kept(&seen);
}

/// The run that went on had one signature, and named the one that may be lost.
fn resumed_with_one_kept(seen: &Seen) {
    let resumed = seen.of_kind("resumed");
    let [
        Event::Resumed {
            kept: 1,
            unsettled: Some(file),
            ..
        },
    ] = &*resumed
    else {
        panic!("{resumed:?}")
    };
    assert_eq!(file, "foo-02.tar");
}

/// With padding that has no random part, an RSA key makes the same signature again, too.
#[test]
fn an_rsa_signature_that_was_lost_is_made_again_with_the_same_bytes() {
    if !can_disturb() {
        return;
    }
    let Some(scenario) = Prepared::with_rsa("with an RSA key", 3) else {
        return;
    };
    // Killed when the second signature is about to be written: it was checked, and nothing of it is
    // in the ledger.
    let trace = scenario.trial().traced(&CHANGES);
    let mut writes = trace.lines().filter(|line| line.contains("pwrite64("));
    let second = writes
        .position(|line| line.matches("BEGIN PGP SIGNATURE").count() == 2)
        .expect("it is written");
    let trial = scenario.trial();
    assert!(trial.disturbed(&Fault::kill("pwrite64", second + 1)).hit);
    let seen = trial.look();
    assert_eq!(seen.kept.keys().collect::<Vec<_>>(), ["foo-01.tar"]);
    assert_eq!(seen.unsettled(), Some("foo-02.tar"));

    // The release, made an hour later, is that of an undisturbed run.
    let (violations, _) = trial.violations();
    assert_eq!(violations, [""; 0]);
    let seen = trial.look();
    resumed_with_one_kept(&seen);
}

#[test]
fn what_a_killed_run_left_is_removed() {
    if !can_disturb() {
        return;
    }
    let scenario = Prepared::new("openpgp", "openpgp", 1);
    let trial = scenario.trial();
    // Killed before the first file aside in the home gets its name.
    assert!(trial.disturbed(&Fault::kill("renameat", 1)).hit);
    assert_eq!(
        trial.look().left_behind.len(),
        2,
        "a file in the home and a folder in the inbox"
    );
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
        assert!(
            String::from_utf8_lossy(&output.stderr).contains("is there already"),
            "{output:?}"
        );
        assert_eq!(tree(&trial.folder().join("inbox")), before);
    }
}

// ---- Killed at any moment ----

/// Numbers that look like chance and are the same for the same seed (SplitMix64).
struct Dice(u64);

impl Dice {
    fn new() -> Self {
        let given = std::env::var("COUNTERSIGN_SEED")
            .ok()
            .map(|seed| seed.parse().expect("COUNTERSIGN_SEED is a number"));
        let seed = given.unwrap_or_else(|| match all() {
            true => SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .expect("after 1970")
                .as_secs(),
            false => 1,
        });
        show(&format!("COUNTERSIGN_SEED={seed}"));
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
        report.violations.extend(
            violations
                .into_iter()
                .map(|what| format!("killed after {moment:?}: {what}")),
        );
    });
    show(&format!("an undisturbed run takes {usual:?}"));
    show(&format!(
        "lost between the token's answer and the ledger: {}",
        lost.into_inner().expect("no panic")
    ));
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
    let heads: Vec<Duration> = (0..races)
        .map(|race| {
            if race % 4 == 0 {
                dice.within(usual)
            } else {
                Duration::ZERO
            }
        })
        .collect();
    let report = Mutex::new(Report::default());
    in_parallel(heads, |head| {
        let trial = scenario.trial();
        let first = trial.begin();
        std::thread::sleep(head);
        let second = trial.begin();
        let mut ends = [first, second].map(|run| {
            let output = run.wait_with_output().expect("the end of a run");
            let (said, messages) = (
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr),
            );
            match output.status.code() {
                Some(0) if said.contains("signed already") => "found it signed".to_owned(),
                Some(0) => "signed".to_owned(),
                Some(3) if messages.contains("is in use by process") => "refused".to_owned(),
                code => format!("ended with {code:?}: {messages}"),
            }
        });
        ends.sort();
        let seen = trial.look();
        let (held, finished) = (
            seen.invariants(&scenario, scenario.before()),
            seen.finished(&scenario, scenario.before()),
        );
        let ends = ends.join(", the other ");
        let well = [
            "found it signed, the other signed",
            "refused, the other signed",
        ]
        .contains(&&*ends);
        let mut report = report.lock().expect("no panic");
        report.tried(&format!("one {ends}"));
        let odd = (!well).then(|| format!("one {ends}"));
        report
            .violations
            .extend(held.into_iter().chain(finished).chain(odd));
    });
    report.into_inner().expect("no panic").end("races");
}

// ---- A disk that goes on failing ----

/// What must be removed is removed, although its bytes cannot be overwritten.
#[test]
fn a_grant_leaves_nothing_on_a_disk_that_goes_on_failing() {
    if !can_disturb() {
        return;
    }
    let world = World::ready();
    let out = world.new_folder("out");
    let mut failed = 0;
    loop {
        let fail = format!("inject=fsync:error=EIO:when={}+", failed + 1);
        let mut command = Command::new("strace");
        command.args([
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            "trace=fsync",
            "-e",
            &fail,
        ]);
        command
            .arg(env!("CARGO_BIN_EXE_countersign"))
            .arg("--home")
            .arg(world.home());
        command
            .args(["grant", "foo", "1", "--builder", "m1", "-o"])
            .arg(&out);
        clean_environment(&mut command, &world.at(""));
        let output = command.output().expect("strace");
        if output.status.success() {
            break;
        }
        failed += 1;
        assert_eq!(listing(&out), [""; 0], "after {failed}: {output:?}");
    }
    assert!(failed > 4, "only {failed} calls were to fail");
    assert_eq!(listing(&out), ["foo-1.grant.json", "foo-1.m1.key"]);
    world.host(&[&"log", &"verify"]).ok();
}

// ---- The log for others ----

/// A reader who fetches it meanwhile finds a checkpoint with everything that it needs.
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
        command.args([
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            "trace=renameat",
            "-e",
            &kill,
        ]);
        command
            .arg(env!("CARGO_BIN_EXE_countersign"))
            .arg("--home")
            .arg(world.home())
            .args(["log", "export"]);
        clean_environment(&mut command, &world.at(""));
        let done = command
            .arg(&folder)
            .output()
            .expect("strace")
            .status
            .success();
        world.host(&[&"log", &"verify", &"--export", &folder]).ok();
        if done {
            break;
        }
        cut_off += 1;
    }
    assert_eq!(cut_off, 3, "the entries, their hashes, the checkpoint");
    assert!(
        crate::common::tree(&folder)
            .keys()
            .all(|name| !name.contains(".countersign-")),
        "nothing is left of the others"
    );
}

// ---- The power fails ----

#[test]
fn each_step_is_on_the_disk_before_the_next_relies_on_it() {
    if !can_disturb() {
        return;
    }
    let scenario = Prepared::new("openpgp", "openpgp", 3);
    let cut_off = Prepared::new("cut off before", "openpgp", 3).cut_off();
    let nonce = Prepared::new("hmac", "hmac", 1);
    let location = Prepared::with_location("on to its location", 2);
    for scenario in [&scenario, &cut_off, &nonce, &location] {
        let trial = scenario.trial();
        let disk = trial.disk(&trial.traced(&CHANGES));
        let folder = trial.folder();
        assert_eq!(disk.faults, [""; 0], "{}", scenario.name);
        assert_eq!(disk.open(), [""; 0], "{}", scenario.name);
        let files = scenario.files.len();
        assert_eq!(
            (disk.uses, disk.kept.len()),
            (files, files),
            "each file is signed once, and kept: {}",
            scenario.name
        );

        // A release that is there already: the run that wrote it may have been cut off just before
        // this.
        let trace = trial.traced(&CHANGES);
        let inbox = format!("<{}>", folder.join("inbox").display());
        let synced = trace
            .lines()
            .any(|line| line.contains("fsync(") && line.contains(&inbox));
        assert!(
            synced,
            "the name of a release that was there is not made durable"
        );
    }

    // And one that is in the location's inbox already.
    let trial = location.trial();
    // After the id of the home, and the release.
    assert!(trial.disturbed(&Fault::kill("renameat2", 3)).hit);
    let (release, place) = (
        trial.folder().join("inbox/foo-1.2.3"),
        trial.folder().join("location"),
    );
    copy_tree(&release, &place.join("foo-1.2.3"));
    let trace = trial.traced(&CHANGES);
    let place = format!("<{}>", place.display());
    let found: Vec<&str> = trace
        .lines()
        .filter(|line| line.contains(&place) || line.contains("pushed"))
        .collect();
    let synced = found
        .iter()
        .position(|line| line.contains("fsync(") && line.contains(&place));
    let logged = found
        .iter()
        .position(|line| line.contains(r#"\"kind\":\"pushed\""#));
    assert!(synced.is_some() && synced < logged, "{found:?}");
}
