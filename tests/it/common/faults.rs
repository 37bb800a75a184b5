//! Signing runs that are disturbed: one prepared build, copies of it to disturb, and what must be
//! true afterwards.
//!
//! A run is disturbed by strace, which lets one system call fail or kills the process at it, or by
//! SIGKILL at any moment. All disturbed runs have the same clock, which is stopped, and the run
//! that goes on has one that is stopped an hour later. What is in the log up to the intent then
//! decides every byte of the release, whatever happened and however late it was finished.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;

use countersign::domain::event::{Entry, Event, RunResult};
use countersign::domain::time::Timestamp;
use countersign::home::Home;
use countersign::ledger::{Ledger, LedgerError};
use countersign::steps::host::push::waiting;
use countersign::steps::host::status::{Left, unfinished};
use countersign::tlog::checkpoint::Checkpoint;
use tempfile::TempDir;

use super::disk::{CHANGES, Disk};
use super::tokens::missing;
use super::world::{Granted, World};
use super::{clean_environment, have, listing, tree};

/// Where `sign` writes in a trial.
const RELEASE: &str = "inbox/foo-1.2.3";
/// The location's inbox and the folder for the log, where the configuration names them.
const LOCATION: &str = "location";
const LOG: &str = "log";
/// Where the release goes then.
const SUBMISSION: &str = "location/foo-1.2.3";
/// Where a `file:` token counts.
const COUNT: &str = "token.pem.count";
/// How much later a disturbed run is gone on with, in seconds. Within the time of the grant.
const LATER: i64 = 3600;

/// The files of a folder with their bytes.
type Tree = BTreeMap<String, Vec<u8>>;

/// Whether `sign` can be disturbed here; see [`missing`].
pub(crate) fn can_disturb() -> bool {
    if !have(&["strace", "faketime", "cp"]) {
        return false;
    }
    forget_dead_clocks();
    let traced = Command::new("strace")
        .args(["-qq", "-o", "/dev/null", "true"])
        .output()
        .expect("strace");
    traced.status.success() || missing::<()>("ptrace, which this container forbids,").is_some()
}

/// A build that is ready to be signed, or whose signing was begun.
pub(crate) struct Prepared {
    pub(crate) name: &'static str,
    world: World,
    grant: PathBuf,
    from: PathBuf,
    preload: String,
    clock: Timestamp,
    before: Seen,
    /// The files that the token signs, in its order.
    pub(crate) files: Vec<String>,
    /// The releases that undisturbed runs make, by the log up to their intent.
    releases: Mutex<BTreeMap<String, Tree>>,
    /// Whether the configuration names a location.
    goes_on: bool,
}

impl Prepared {
    /// A build with this number of artifacts, under a grant of this scheme.
    pub(crate) fn new(name: &'static str, scheme: &str, artifacts: usize) -> Self {
        Self::of(name, World::ready(), scheme, artifacts)
    }

    /// As [`Prepared::new`], with an inbox that the release is pushed to, and a folder that the log
    /// is exported to.
    pub(crate) fn with_location(name: &'static str, artifacts: usize) -> Self {
        let world = World::ready();
        for folder in [LOCATION, LOG] {
            fs::create_dir(world.at(folder)).expect("a folder");
        }
        let path = world.home().join("config.toml");
        let config = fs::read_to_string(&path).expect("the configuration");
        let location = format!("[repository]\ninbox = \"../{LOCATION}\"\nlog = \"../{LOG}\"\n");
        fs::write(&path, format!("{config}\n{location}")).expect("the configuration");
        Self::of(name, world, "openpgp", artifacts)
    }

    /// As [`Prepared::new`], with an RSA key in SoftHSM2, which counts nothing; `None` where there
    /// is none.
    pub(crate) fn with_rsa(name: &'static str, artifacts: usize) -> Option<Self> {
        let world = World::on_softhsm()?;
        world.init_of_kind("rsa2048").ok();
        world.export();
        Some(Self::of(name, world, "openpgp", artifacts))
    }

    fn of(name: &'static str, world: World, scheme: &str, artifacts: usize) -> Self {
        let granted = world.grant_with(&[&"--scheme", &scheme]);
        let names: Vec<String> = (1..=artifacts)
            .map(|number| format!("foo-{number:02}.tar"))
            .collect();
        let contents: Vec<Vec<u8>> = (1..=artifacts)
            .map(|number| vec![b'x'; 1000 * number])
            .collect();
        let build: Vec<(&str, &[u8])> = names
            .iter()
            .zip(&contents)
            .map(|(name, it)| (&**name, &**it))
            .collect();
        let build = world.build(&build);
        world.attest(&granted, &build).ok();
        let files = names.into_iter().chain(["SHA256SUMS".to_owned()]).collect();
        let from = build.folder;
        let prepared = Self::at_rest(name, world, &granted, &from, files);
        let trial = prepared.trial();
        let said = trial.sign().output().expect("sign");
        assert!(said.status.success(), "an undisturbed run failed: {said:?}");
        // Whatever is compared with this release later is as good as it.
        prepared.world.verify(&trial.folder().join(RELEASE)).ok();
        let seen = trial.look();
        let (held, finished) = (
            seen.invariants(&prepared, &prepared.before),
            seen.finished(&prepared, &prepared.before),
        );
        assert_eq!([held, finished].concat(), [""; 0], "an undisturbed run");
        drop(trial);
        prepared
    }

    fn at_rest(
        name: &'static str,
        world: World,
        granted: &Granted,
        from: &Path,
        files: Vec<String>,
    ) -> Self {
        let below = |path: &Path| {
            path.strip_prefix(world.at(""))
                .expect("below the world's folder")
                .to_owned()
        };
        let (grant, from) = (below(&granted.grant), below(from));
        // Shortly after everything was made.
        let clock = Timestamp::from_unix(i64::from(Timestamp::now().unix()) + 60);
        let preload = Command::new("faketime")
            .args(["-f", "+0", "printenv", "LD_PRELOAD"])
            .output()
            .expect("faketime");
        let preload = String::from_utf8(preload.stdout)
            .expect("a path")
            .trim()
            .to_owned();
        let before = Seen::of(&world.at(""), 0);
        let made = before.made;
        let before = Seen { made: 0, ..before };
        assert!(
            made >= 4 || !world.at(COUNT).exists(),
            "the token has made the certificate"
        );
        let goes_on = world.at(LOCATION).exists();
        Self {
            name,
            world,
            grant,
            from,
            preload,
            clock,
            before,
            files,
            releases: Mutex::default(),
            goes_on,
        }
    }

    /// The same build after a run that was killed when the token had answered for the third file:
    /// two signatures are kept.
    pub(crate) fn cut_off(self) -> Self {
        let trial = self.trial();
        let disturbed = trial.disturbed(&Fault {
            call: "renameat".into(),
            how: How::Kill,
            when: 4,
        });
        assert!(disturbed.hit, "the run was not killed");
        let seen = trial.look();
        assert_eq!((seen.kept.len(), seen.made), (2, 2), "{seen:?}");
        let at = self.world.at("");
        for name in ["home", COUNT, "inbox"] {
            let _old =
                fs::remove_dir_all(at.join(name)).or_else(|_| fs::remove_file(at.join(name)));
            copy_whole(&trial.folder().join(name), &at.join(name));
        }
        // It is that of a copy of this home, where it stays.
        for left in listing(&at.join("inbox")) {
            fs::remove_dir_all(at.join("inbox").join(left)).expect("removed");
        }
        set_token(&at);
        drop(trial);
        Self {
            before: seen,
            ..self
        }
    }

    /// A copy to disturb.
    pub(crate) fn trial(&self) -> Trial<'_> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let copy = fs::canonicalize(folder.path())
            .expect("it is there")
            .join("copy");
        copy_whole(&self.world.at(""), &copy);
        set_token(&copy);
        Trial {
            prepared: self,
            folder,
        }
    }

    /// How many signatures the token had made before the build was begun.
    fn base(&self) -> u64 {
        let counted = self.world.at(COUNT).exists();
        if counted {
            self.world.token_count() - self.before.made
        } else {
            0
        }
    }

    /// What was to see before the first run.
    pub(crate) fn before(&self) -> &Seen {
        &self.before
    }

    /// The release that an undisturbed run makes which announces what was announced here, at the
    /// time at which it was; or why no such run can be.
    fn expected(&self, seen: &Seen) -> Result<Tree, String> {
        let intent = seen
            .entries
            .iter()
            .rposition(|entry| matches!(entry.event, Event::Intent(_)));
        let logged = &seen.entries[..=intent.ok_or("nothing was announced")?];
        let mut known = self.releases.lock().expect("no panic");
        let key = serde_json::to_string(logged).expect("entries can be written as JSON");
        match known.get(&key) {
            Some(release) => Ok(release.clone()),
            None => {
                let release = self.undisturbed(logged)?;
                known.insert(key, release.clone());
                Ok(release)
            }
        }
    }

    /// What one run makes if these are the log's entries up to its intent.
    fn undisturbed(&self, logged: &[Entry]) -> Result<Tree, String> {
        let (trial, before) = (self.trial(), self.before.entries.len());
        let (Some(intent), Some(earlier)) = (logged.last(), logged.get(before..logged.len() - 1))
        else {
            return Err("it was announced before".to_owned());
        };
        let mut ledger =
            Ledger::open(&trial.folder().join("home/ledger.sqlite")).expect("the ledger opens");
        for entry in earlier {
            // An earlier run can have come so far, and no further: the token was not asked.
            let before_the_token = match entry.event {
                Event::EvidenceAccepted { .. } | Event::Intent(_) => true,
                Event::Outcome {
                    result:
                        RunResult::Stopped {
                            token_signatures, ..
                        },
                    ..
                } => token_signatures == 0,
                _ => false,
            };
            if !before_the_token {
                return Err(format!(
                    "{} was logged before the intent",
                    entry.event.kind()
                ));
            }
            ledger
                .append(entry.at, entry.event.clone())
                .expect("accepted");
        }
        drop(ledger);
        let output = trial.sign_at(intent.at).output().expect("sign");
        let seen = trial.look();
        match seen.release {
            Some(release) if seen.entries.starts_with(logged) => Ok(release),
            _ => Err(format!("an undisturbed run logs other entries: {output:?}")),
        }
    }

    /// How often an undisturbed run makes each of these system calls.
    pub(crate) fn calls(&self, wanted: &[&str]) -> Vec<(String, usize)> {
        let trial = self.trial();
        counted(wanted, |options| trial.traced(options))
    }
}

/// How often each of the wanted system calls is in what strace writes of a run with these options.
pub(crate) fn counted(
    wanted: &[&str],
    traced: impl FnOnce(&[&str]) -> String,
) -> Vec<(String, usize)> {
    let wanted: Vec<String> = wanted.iter().map(|call| format!("?{call}")).collect();
    let log = traced(&["-e", &format!("trace={}", wanted.join(","))]);
    let mut counted = BTreeMap::<String, usize>::new();
    for line in log.lines() {
        let call = line
            .trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ')
            .split('(')
            .next();
        *counted.entry(call.expect("a call").to_owned()).or_default() += 1;
    }
    counted.into_iter().collect()
}

/// Runs the program under strace, which writes to `log`, with these variables in its environment.
pub(crate) fn strace(
    log: &Path,
    options: &[&str],
    folder: &Path,
    environment: &[(&str, String)],
    arguments: &[&OsStr],
) -> Output {
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o"]).arg(log).args(options);
    for (name, value) in environment {
        command.arg("-E").arg(format!("{name}={value}"));
    }
    command
        .arg(env!("CARGO_BIN_EXE_countersign"))
        .args(arguments)
        .current_dir(folder);
    clean_environment(&mut command, folder);
    command.stdin(Stdio::null()).output().expect("strace")
}

/// What strace wrote to `log`.
pub(crate) fn written(log: &Path) -> String {
    String::from_utf8_lossy(&fs::read(log).expect("a trace")).into_owned()
}

/// A run under strace with one fault; `run` takes strace's options.
pub(crate) fn disturbed(
    log: &Path,
    fault: &Fault,
    run: impl FnOnce(&[&str]) -> Output,
) -> Disturbed {
    let Fault { call, how, when } = fault;
    let inject = format!("inject={call}:{}:when={when}", how.as_strace_says());
    let only = ["-e", &format!("trace={call}")];
    let traced = if fault.is_failing_sync() {
        &CHANGES[..]
    } else {
        &only
    };
    let output = run(&[traced, &["-e", &inject]].concat());
    let trace = written(log);
    let hit = match how {
        How::Kill => output.status.signal() == Some(9),
        How::Io | How::NoSpace => trace.contains("(INJECTED)"),
    };
    if let Some(Ok(process)) = trace
        .split_whitespace()
        .next()
        .map(str::parse)
        .filter(|_| *how == How::Kill)
    {
        forget_clock(process);
    }
    Disturbed { hit, output, trace }
}

pub(crate) fn copy_whole(from: &Path, to: &Path) {
    let copied = Command::new("cp")
        .args(["-a", "--reflink=auto"])
        .args([from, to])
        .status()
        .expect("cp");
    assert!(copied.success(), "{} was not copied", from.display());
}

/// Lets the configuration name the `file:` token beside it.
pub(crate) fn set_token(folder: &Path) {
    let config = folder.join("home/config.toml");
    let text = fs::read_to_string(&config).expect("the configuration");
    // A token elsewhere is the same for every copy.
    let Some((before, rest)) = text.split_once("token = \"file:") else {
        return;
    };
    let (_, after) = rest.split_once('"').expect("the end of its URI");
    let token = folder.join("token.pem");
    fs::write(
        &config,
        format!("{before}token = \"file:{}\"{after}", token.display()),
    )
    .expect("the configuration");
}

/// What is done to one system call of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Its name.
    pub(crate) call: String,
    pub(crate) how: How,
    /// Which of those calls, from 1 on.
    pub(crate) when: usize,
}

impl Fault {
    /// The process is killed at such a call.
    pub(crate) fn kill(call: &str, when: usize) -> Self {
        Self {
            call: call.to_owned(),
            how: How::Kill,
            when,
        }
    }

    /// Whether something is not flushed to the disk, and the process sees the error.
    pub(crate) fn is_failing_sync(&self) -> bool {
        ["fsync", "fdatasync"].contains(&&*self.call) && self.how != How::Kill
    }
}

/// How a system call goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// It fails: with EIO.
    Io,
    /// It fails: no space is left.
    NoSpace,
    /// The process is killed before it.
    Kill,
}

impl How {
    pub(crate) const ALL: [Self; 3] = [Self::Io, Self::NoSpace, Self::Kill];

    fn as_strace_says(self) -> &'static str {
        match self {
            Self::Io => "error=EIO",
            Self::NoSpace => "error=ENOSPC",
            Self::Kill => "signal=KILL",
        }
    }
}

/// A run that was disturbed.
pub(crate) struct Disturbed {
    /// Whether it was, or ended before that many calls.
    pub(crate) hit: bool,
    pub(crate) output: Output,
    /// What strace wrote: of a run whose `fsync` failed everything that it changed, of another the
    /// disturbed calls.
    pub(crate) trace: String,
}

/// One copy of what was prepared.
pub(crate) struct Trial<'p> {
    prepared: &'p Prepared,
    folder: TempDir,
}

impl Trial<'_> {
    pub(crate) fn folder(&self) -> PathBuf {
        fs::canonicalize(self.folder.path())
            .expect("it is there")
            .join("copy")
    }

    /// The plain `sign`.
    pub(crate) fn sign(&self) -> Command {
        self.sign_at(self.prepared.clock)
    }

    /// The same an hour later.
    fn sign_later(&self) -> Command {
        self.sign_at(Timestamp::from_unix(
            i64::from(self.prepared.clock.unix()) + LATER,
        ))
    }

    fn sign_at(&self, clock: Timestamp) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
        command.args(self.arguments()).current_dir(self.folder());
        clean_environment(&mut command, &self.folder()).envs(self.environment(clock));
        command.stdin(Stdio::null());
        command
    }

    /// It begins now.
    pub(crate) fn begin(&self) -> Child {
        self.sign()
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("sign")
    }

    /// `sign` with one fault.
    pub(crate) fn disturbed(&self, fault: &Fault) -> Disturbed {
        let log = self.folder.path().join("trace");
        disturbed(&log, fault, |options| self.strace(&log, options))
    }

    /// `sign` where every system call of this kind ends in this error.
    pub(crate) fn always(&self, call: &str, error: &str) -> Output {
        let log = self.folder.path().join("trace");
        self.strace(
            &log,
            &[
                "-e",
                &format!("trace={call}"),
                "-e",
                &format!("inject={call}:error={error}"),
            ],
        )
    }

    /// What strace writes of an undisturbed run.
    pub(crate) fn traced(&self, options: &[&str]) -> String {
        let log = self.folder.path().join("trace");
        let output = self.strace(&log, options);
        assert!(
            output.status.success(),
            "an undisturbed run failed: {output:?}"
        );
        written(&log)
    }

    /// What a power cut could undo, and when, of a run of which strace wrote this; see [`CHANGES`].
    pub(crate) fn disk(&self, trace: &str) -> Disk {
        let before = &self.prepared.before;
        let entries =
            serde_json::to_string(&before.entries).expect("entries can be written as JSON");
        Disk::follow(&self.folder(), &entries, before.kept.values(), trace)
    }

    fn strace(&self, log: &Path, options: &[&str]) -> Output {
        strace(
            log,
            options,
            &self.folder(),
            &self.environment(self.prepared.clock),
            &self.arguments(),
        )
    }

    fn arguments(&self) -> [&OsStr; 8] {
        let Prepared { grant, from, .. } = self.prepared;
        let [home, sign, into] = [["--home", "home"], ["sign", "--from"], ["-o", RELEASE]];
        [
            home[0].as_ref(),
            home[1].as_ref(),
            sign[0].as_ref(),
            grant.as_ref(),
            sign[1].as_ref(),
            from.as_ref(),
            into[0].as_ref(),
            into[1].as_ref(),
        ]
    }

    /// A stopped clock.
    fn environment(&self, clock: Timestamp) -> Vec<(&'static str, String)> {
        let as_libfaketime_writes_it = clock.to_string().replace('T', " ").replace('Z', "");
        let token = self
            .prepared
            .world
            .token_env()
            .map(|(name, value)| (name, value.display().to_string()));
        let clock = [
            ("LD_PRELOAD", self.prepared.preload.clone()),
            ("FAKETIME", as_libfaketime_writes_it),
            ("DONT_FAKE_MONOTONIC", "1".to_owned()),
        ];
        clock.into_iter().chain(token).collect()
    }

    /// What there is to see now. It is looked at in a copy: looking at a database mends it.
    pub(crate) fn look(&self) -> Seen {
        let copy = self.folder.path().join("looked-at");
        copy_whole(&self.folder(), &copy);
        let seen = Seen::of(&copy, self.prepared.base());
        fs::remove_dir_all(&copy).expect("removed");
        seen
    }

    /// What is broken now, or after a plain `sign` an hour later; and what is to
    /// see now.
    pub(crate) fn violations(&self) -> (Vec<String>, Seen) {
        let (prepared, disturbed) = (self.prepared, self.look());
        let mut found = disturbed.invariants(prepared, &prepared.before);
        let output = self.sign_later().output().expect("sign");
        if !output.status.success() {
            found.push(format!("a plain sign did not finish it: {output:?}"));
        }
        let resumed = self.look();
        found.extend(resumed.invariants(prepared, &disturbed));
        found.extend(resumed.finished(prepared, &disturbed));
        (found, disturbed)
    }
}

/// What libfaketime names after a process, which cannot begin where one of the same number left
/// them.
const CLOCKS: [&str; 2] = ["faketime_shm_", "sem.faketime_sem_"];

/// Removes what libfaketime leaves behind in a process that is killed.
pub(crate) fn forget_clock(process: u32) {
    for name in CLOCKS {
        let _gone = fs::remove_file(format!("/dev/shm/{name}{process}"));
    }
}

/// The same, of processes that nobody forgot: those of a test that was ended itself.
fn forget_dead_clocks() {
    for name in listing(Path::new("/dev/shm")) {
        let process = CLOCKS
            .iter()
            .find_map(|clock| name.strip_prefix(clock)?.parse::<u32>().ok());
        process
            .filter(|process| !Path::new(&format!("/proc/{process}")).exists())
            .into_iter()
            .for_each(forget_clock);
    }
}

/// What a signing host shows after a run.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    entries: Vec<Entry>,
    /// The signatures that are kept, by their files.
    pub(crate) kept: BTreeMap<String, String>,
    /// How many signatures the token has made for this build, by its own count; as many as are kept
    /// where it counts nothing.
    pub(crate) made: u64,
    /// What is under the release's name.
    pub(crate) release: Option<Tree>,
    /// What is under its name in the location's inbox.
    submission: Option<Tree>,
    /// What is aside in the inboxes and visible to others than its owner, by its place.
    in_view: BTreeMap<PathBuf, Tree>,
    /// How many entries the exported log has, or what is wrong with it; nothing as long as it has
    /// no checkpoint.
    exported: Option<Result<u64, String>>,
    /// Other names in the inboxes, the home and the folder of nonces that no run is to leave.
    pub(crate) left_behind: Vec<String>,
    /// What is left to do, as `status` shows.
    left: Vec<Left>,
    /// How many releases wait to be pushed, as `status` shows.
    waiting: usize,
    /// The database's own check.
    integrity: String,
    /// The result of `log verify`: the head of the log, or what is wrong with it.
    verified: Result<Checkpoint, String>,
}

impl Seen {
    fn of(folder: &Path, base: u64) -> Self {
        let path = folder.join("home/ledger.sqlite");
        let mut entries = Vec::new();
        let ledger = Ledger::open(&path).expect("the ledger opens");
        let keep = |entry| {
            entries.push(entry);
            Ok(())
        };
        ledger
            .each::<LedgerError>(keep)
            .expect("every entry is read");
        let home = Home::open(&folder.join("home")).expect("the home opens");
        let verified = ledger
            .verify(&home.config.log_key, &[])
            .map_err(|error| error.to_string());
        let left = unfinished(&ledger)
            .expect("status")
            .into_iter()
            .map(|run| run.left)
            .collect();
        let waiting = waiting(&ledger).expect("status").len();
        let log = folder.join(LOG);
        let exported = log.join("checkpoint").exists().then(|| {
            let checkpoint = ledger.check_export(&log, &home.config.log_key);
            checkpoint
                .map(|checkpoint| checkpoint.size)
                .map_err(|error| error.to_string())
        });
        drop(ledger);
        let database = rusqlite::Connection::open(&path).expect("the database");
        let integrity = database
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))
            .expect("a check");
        let mut query = database
            .prepare("SELECT file, signature FROM signatures")
            .expect("a query");
        let kept = query
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .expect("signatures");
        let kept = kept
            .collect::<rusqlite::Result<BTreeMap<_, _>>>()
            .expect("each can be read");
        let counted = fs::read_to_string(folder.join(COUNT)).ok();
        let counted =
            counted.map(|count| count.trim_end().parse::<u64>().expect("a number") - base);
        let (release, submission) = (folder.join(RELEASE), folder.join(SUBMISSION));
        let in_view = ["inbox", LOCATION]
            .into_iter()
            .flat_map(|inbox| in_view(&folder.join(inbox)))
            .collect();
        let inboxes = [
            listing(&folder.join("inbox")),
            listing(&folder.join(LOCATION)),
        ];
        let inboxes = inboxes
            .into_iter()
            .flatten()
            .filter(|name| !release.ends_with(name));
        let home = listing(&folder.join("home"))
            .into_iter()
            .filter(|name| name.starts_with('.'));
        Self {
            entries,
            made: counted.unwrap_or(kept.len() as u64),
            kept,
            release: release.exists().then(|| tree(&release)),
            submission: submission.exists().then(|| tree(&submission)),
            in_view,
            exported,
            left_behind: inboxes
                .chain(home)
                .chain(listing(&folder.join("home/nonces")))
                .collect(),
            left,
            waiting,
            integrity,
            verified,
        }
    }

    /// The entries of one kind.
    pub(crate) fn of_kind(&self, kind: &str) -> Vec<&Event> {
        self.entries
            .iter()
            .map(|entry| &entry.event)
            .filter(|event| event.kind() == kind)
            .collect()
    }

    /// The file that the token may have signed without its signature being kept, as `status` shows.
    pub(crate) fn unsettled(&self) -> Option<&str> {
        self.left.iter().find_map(|left| match left {
            Left::Signatures(journal) | Left::Release(journal) => journal.unsettled.as_deref(),
            Left::All => None,
        })
    }

    /// How far it had come, for the tables.
    pub(crate) fn phase(&self) -> &'static str {
        let is = |kind| !self.of_kind(kind).is_empty();
        match () {
            () if is("pushed") => "7 pushed",
            () if self.submission.is_some() => "6 pushed, not logged",
            () if is("released") => "5 released, and logged",
            () if self.release.is_some() => "4 released, not logged",
            () if is("outcome") => "3 signed, not released",
            () if is("intent") => "2 between intent and outcome",
            () if is("evidence-accepted") => "1 accepted",
            () => "0 nothing logged",
        }
    }

    /// What must be true at any moment, and is not. `before` is what was to see earlier.
    pub(crate) fn invariants(&self, prepared: &Prepared, before: &Self) -> Vec<String> {
        let mut broken = Broken::default();
        let (files, kept, made) = (prepared.files.len(), self.kept.len(), self.made as usize);
        broken.unless(self.integrity == "ok", || {
            format!("the database is damaged: {}", self.integrity)
        });
        broken.unless(self.entries.starts_with(&before.entries), || {
            "the log does not go on from the one before".into()
        });
        // Each hash of the tree is that of its entries, so that the same entries have the same
        // root.
        if let Err(fault) = &self.verified {
            broken.unless(false, || format!("the log does not verify: {fault}"));
        }
        let grown = self
            .verified
            .as_ref()
            .is_ok_and(|head| head.size == self.entries.len() as u64);
        broken.unless(grown, || "the log's head counts other entries".into());
        let in_order = self
            .entries
            .iter()
            .map(|entry| entry.index)
            .eq(0..self.entries.len() as u64);
        broken.unless(in_order, || "the log has gaps".into());
        let [accepted, intents, released] =
            ["evidence-accepted", "intent", "released"].map(|kind| self.of_kind(kind).len());
        let once = accepted <= 1 && intents.min(1) <= accepted && released <= intents.min(1);
        broken.unless(once, || {
            format!("{accepted} times accepted, {intents} intents, {released} times released")
        });
        // Until the token is asked, an intent can be replaced; that it was not is in the ledger,
        // which was verified.
        let mut announced = None;
        for entry in &self.entries {
            if let Event::Intent(intent) = &entry.event {
                broken.unless(intent.replaces == announced, || {
                    format!("intent {} does not replace {announced:?}", entry.index)
                });
                announced = Some(entry.index);
            }
        }
        broken.unless(made == 0 || intents > 0, || {
            format!("{made} signatures by the token without an intent")
        });
        // What the token made is kept before it is asked for the next.
        broken.unless(made >= kept && made <= kept + 1, || {
            format!("{made} signatures by the token, {kept} kept")
        });
        let first = prepared.files.iter().take(kept).collect::<BTreeSet<_>>();
        let in_order = self.kept.keys().collect::<BTreeSet<_>>() == first;
        broken.unless(in_order, || {
            format!("signed out of order: {:?}", self.kept.keys())
        });
        if let Some(release) = &self.release {
            broken.unless(kept == files, || {
                format!("a release with {kept} of {files} signatures")
            });
            match prepared.expected(self) {
                Ok(expected) => broken.unless(*release == expected, || {
                    format!(
                        "not the release of an undisturbed run: {:?}",
                        differing(release, &expected)
                    )
                }),
                Err(why) => broken.unless(false, || {
                    format!("no undisturbed run makes this release: {why}")
                }),
            }
        }
        for (place, shown) in &self.in_view {
            let whole = prepared
                .expected(self)
                .is_ok_and(|expected| *shown == expected);
            broken.unless(whole, || {
                format!(
                    "{} is incomplete and for all to see: {:?}",
                    place.display(),
                    shown.keys()
                )
            });
        }
        broken.unless(released == 0 || self.release.is_some(), || {
            "a release is logged that is not there".into()
        });
        let pushed = self.of_kind("pushed").len();
        broken.unless(pushed <= released, || {
            format!("{released} times released, {pushed} times pushed")
        });
        broken.unless(pushed == 0 || self.submission.is_some(), || {
            "a push is logged that did not get there".into()
        });
        let to_push = if prepared.goes_on {
            released.saturating_sub(pushed)
        } else {
            0
        };
        broken.unless(self.waiting == to_push, || {
            format!("{} wait to be pushed, says status", self.waiting)
        });
        if self.submission.is_some() {
            broken.unless(released == 1, || {
                "a release was pushed that was not logged".into()
            });
            let same = self.submission == self.release;
            broken.unless(same, || {
                format!("not the release that was signed: {:?}", self.submission)
            });
        }
        if let Some(Err(fault)) = &self.exported {
            broken.unless(false, || format!("the exported log is not valid: {fault}"));
        }
        broken.0
    }

    /// What must be true when a plain `sign` has followed a disturbed run, after which `disturbed`
    /// was to see; and does not.
    pub(crate) fn finished(&self, prepared: &Prepared, disturbed: &Self) -> Vec<String> {
        let mut broken = Broken::default();
        broken.unless(self.release.is_some(), || "there is no release".into());
        broken.unless(self.left_behind.is_empty(), || {
            format!("left behind: {:?}", self.left_behind)
        });
        broken.unless(self.left.is_empty(), || {
            format!("status has something left to do: {:?}", self.left)
        });
        broken.unless(self.waiting == 0, || {
            "status says that a release waits to be pushed".into()
        });
        let signed = |event: &&&Event| {
            matches!(
                event,
                Event::Outcome {
                    result: RunResult::Signed { .. },
                    ..
                }
            )
        };
        let signed = self.of_kind("outcome").iter().filter(signed).count();
        let released = self.of_kind("released").len();
        broken.unless((signed, released) == (1, 1), || {
            format!("{signed} times signed, {released} times released")
        });
        if prepared.goes_on {
            broken.unless(self.of_kind("pushed").len() == 1, || {
                "it is not pushed, or twice".into()
            });
            let whole = self.exported == Some(Ok(self.entries.len() as u64));
            broken.unless(whole, || {
                format!("the log is not exported whole: {:?}", self.exported)
            });
        }
        // The token was asked once for each file without a kept signature, and for no other.
        let (asked, missing) = (
            self.made - disturbed.made,
            &prepared.files[disturbed.kept.len()..],
        );
        broken.unless(asked == missing.len() as u64, || {
            format!("asked {asked} times for {} files", missing.len())
        });
        if disturbed.made > disturbed.kept.len() as u64 {
            // The one case in which the token signs the same file again: the log names it.
            let named = |entry: &Entry| match &entry.event {
                Event::Resumed { unsettled, .. } => unsettled.as_ref() == missing.first(),
                _ => false,
            };
            let logged = self.entries[disturbed.entries.len()..].iter().any(named);
            broken.unless(logged, || {
                format!(
                    "a signature was lost, and the log does not name {:?}",
                    missing.first()
                )
            });
        }
        broken.0
    }
}

/// What is begun in an inbox and not for its owner alone.
fn in_view(inbox: &Path) -> Vec<(PathBuf, Tree)> {
    let begun = listing(inbox)
        .into_iter()
        .filter(|name| name.starts_with(".countersign-"));
    let shown = begun.map(|name| inbox.join(name)).filter(|path| {
        let mode = fs::symlink_metadata(path)
            .expect("it was just listed")
            .permissions()
            .mode();
        mode & 0o077 != 0
    });
    shown.map(|path| (path.clone(), tree(&path))).collect()
}

/// The files that one has and the other does not, or has otherwise.
fn differing<'t>(one: &'t Tree, other: &'t Tree) -> BTreeSet<&'t String> {
    one.keys()
        .chain(other.keys())
        .filter(|name| one.get(*name) != other.get(*name))
        .collect()
}

/// What is broken.
#[derive(Default)]
pub(crate) struct Broken(pub(crate) Vec<String>);

impl Broken {
    pub(crate) fn unless(&mut self, good: bool, what: impl FnOnce() -> String) {
        if !good {
            self.0.push(what());
        }
    }
}
