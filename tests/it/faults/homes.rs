//! Several signing hosts on one inbox: what the log of one calls pushed is there whole, whatever
//! the others do, also where each of them gets every lock.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use countersign::domain::event::Event;
use countersign::ledger::{Ledger, LedgerError};

use super::{Dice, Report, all, in_parallel};
use crate::common::faults::{can_disturb, copy_whole, strace};
use crate::common::world::World;
use crate::common::{listing, tree};

/// How many hosts push at once. The last has a copy of the first one's home, as after a restore,
/// and the same release.
const HOMES: usize = 4;
const ARTIFACTS: usize = 12;
/// About as long as a push takes under strace.
const LONGEST: Duration = Duration::from_millis(500);

type Tree = BTreeMap<String, Vec<u8>>;

/// A signing host with a release to push.
struct Host {
    world: World,
    name: String,
    release: Tree,
}

fn host(number: usize) -> Host {
    let world = World::ready();
    let artifacts: Vec<_> = (0..ARTIFACTS)
        .map(|artifact| (format!("foo-{artifact:02}"), vec![b'x'; 4000 + number]))
        .collect();
    let artifacts: Vec<(&str, &[u8])> = artifacts
        .iter()
        .map(|(name, bytes)| (&**name, &**bytes))
        .collect();
    let version = format!("{number}.0");
    let (granted, build) = world.attested_of(&version, &[], &artifacts);
    let release = world.at("release");
    world.sign_into(&release, &granted, &build).ok();
    let path = world.home().join("config.toml");
    let config = fs::read_to_string(&path).expect("the configuration");
    let inbox = "[repository]\ninbox = \"../../inbox\"\n";
    fs::write(&path, format!("{config}\n{inbox}")).expect("the configuration");
    Host {
        world,
        name: format!("foo-{version}"),
        release: tree(&release),
    }
}

/// The hosts beside each other, with an inbox.
struct Trial<'a> {
    hosts: Vec<&'a Host>,
    folder: tempfile::TempDir,
}

impl<'a> Trial<'a> {
    fn new(hosts: &'a [Host]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let hosts: Vec<_> = hosts.iter().cycle().take(HOMES).collect();
        fs::create_dir(folder.path().join("inbox")).expect("a folder");
        for (number, host) in hosts.iter().enumerate() {
            let at = folder.path().join(number.to_string());
            fs::create_dir(&at).expect("a folder");
            copy_whole(&host.world.home(), &at.join("home"));
            copy_whole(&host.world.at("release"), &at.join("release"));
        }
        Self { hosts, folder }
    }

    fn at(&self, number: usize) -> PathBuf {
        self.folder.path().join(number.to_string())
    }

    fn push(&self, number: usize, options: &[&str]) -> Output {
        let at = self.at(number);
        let arguments = ["--home", "home", "push", "release"].map(OsStr::new);
        strace(&at.join("trace"), options, &at, &[], &arguments)
    }

    /// All push at once, each after its time. One may be killed.
    fn race(&self, options: &[String], heads: &[Duration], kill: Option<usize>) -> Vec<Output> {
        thread::scope(|scope| {
            let runs: Vec<_> = heads
                .iter()
                .enumerate()
                .map(|(number, head)| {
                    let mut options = options.to_vec();
                    if let Some(when) = kill.filter(|_| number == HOMES / 2) {
                        let kill = format!("inject=openat:signal=KILL:when={when}");
                        options.extend(["-e".to_owned(), kill]);
                    }
                    scope.spawn(move || {
                        thread::sleep(*head);
                        let options: Vec<_> = options.iter().map(String::as_str).collect();
                        self.push(number, &options)
                    })
                })
                .collect();
            let ends = runs.into_iter().map(|run| run.join().expect("no panic"));
            ends.collect()
        })
    }

    /// What a log calls pushed and is not there whole; with `done`, what is not pushed, too.
    fn violations(&self, done: bool) -> Vec<String> {
        let mut found = Vec::new();
        for (number, host) in self.hosts.iter().enumerate() {
            let place = self.folder.path().join("inbox").join(&host.name);
            let pushed = is_pushed(&self.at(number));
            if place.exists() && tree(&place) != host.release {
                found.push(format!("{} is there in part, pushed: {pushed}", host.name));
            } else if pushed && !place.exists() {
                found.push(format!("{} is called pushed and gone", host.name));
            }
            if done && !pushed {
                found.push(format!("{} is not pushed", host.name));
            }
        }
        found
    }
}

fn is_pushed(host: &Path) -> bool {
    let mut pushed = false;
    let ledger = Ledger::open(&host.join("home/ledger.sqlite")).expect("a ledger");
    let read = ledger.each(|entry| {
        pushed |= matches!(entry.event, Event::Pushed { .. });
        Ok::<_, LedgerError>(())
    });
    read.expect("the log can be read");
    pushed
}

/// Hosts push at once, of which every second time one is killed; then each pushes again.
fn race(options: &[&str], what: &str) {
    if !can_disturb() {
        return;
    }
    let races = if all() { 200 } else { 6 };
    let options: Vec<_> = options.iter().map(|option| (*option).to_owned()).collect();
    let hosts: Vec<_> = (1..HOMES).map(host).collect();
    let mut dice = Dice::new();
    let trials: Vec<_> = (0..races)
        .map(|race: usize| {
            let heads = [0; HOMES].map(|_| dice.within(LONGEST));
            // A push opens two hundred files.
            let kill = dice.within(Duration::from_nanos(160)).subsec_nanos() as usize + 40;
            (heads, (race % 2 == 1).then_some(kill))
        })
        .collect();
    let report = Mutex::new(Report::default());
    in_parallel(trials, |(heads, kill)| {
        let trial = Trial::new(&hosts);
        let ends = trial.race(&options, &heads, kill);
        let mut violations = trial.violations(false);
        let mut killed = false;
        for (number, end) in ends.iter().enumerate() {
            match end.status.code() {
                Some(0) => {}
                None if kill.is_some() && number == HOMES / 2 => killed = true,
                code => violations.push(format!("host {number} ended with {code:?}: {end:?}")),
            }
        }
        for number in 0..HOMES {
            let options: Vec<_> = options.iter().map(String::as_str).collect();
            let end = trial.push(number, &options);
            if !end.status.success() {
                violations.push(format!("host {number} ended again with {end:?}"));
            }
        }
        violations.extend(trial.violations(true));
        let left = listing(&trial.folder.path().join("inbox"));
        let left: Vec<_> = left.iter().filter(|name| name.starts_with('.')).collect();
        if !left.is_empty() {
            violations.push(format!("left behind: {left:?}"));
        }
        let mut report = report.lock().expect("no panic");
        report.tried(if killed {
            "one killed"
        } else {
            "all to the end"
        });
        report.violations.extend(violations);
    });
    report.into_inner().expect("no panic").end(what);
}

#[test]
fn homes_that_push_into_one_inbox_lose_nothing() {
    race(&["-e", "trace=openat"], "races of pushes");
}

/// As on a mount that does not share locks.
#[test]
fn homes_that_push_into_one_inbox_lose_nothing_where_every_lock_is_free() {
    race(
        &["-e", "trace=openat,flock", "-e", "inject=flock:retval=0"],
        "races of pushes without locks",
    );
}
