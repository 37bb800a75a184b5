//! A world of its own for each test: a signing host, builders, and a location, all below one
//! temporary folder.
//!
//! The program under test is the built binary, run as a child process in a clean environment. What
//! a method returns is a [`Run`] that has not begun yet: `.ok()`, `.refused("why")`,
//! `.usage("why")` and `.trouble("why")` run it and check how it ends.
#![cfg_attr(
    not(feature = "host"),
    expect(dead_code, reason = "most of it is for the signing host")
)]

#[cfg(feature = "host")]
pub(crate) mod cards;
#[cfg(feature = "host")]
pub(crate) mod disk;
#[cfg(feature = "host")]
pub(crate) mod errands;
#[cfg(feature = "host")]
pub(crate) mod faults;
#[cfg(feature = "host")]
pub(crate) mod gpg;
pub(crate) mod keyring;
pub(crate) mod openpgp;
#[cfg(feature = "host")]
pub(crate) mod started;
pub(crate) mod tokens;
#[cfg(feature = "host")]
pub(crate) mod world;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// Arguments: paths and texts, mixed.
pub(crate) type Arguments<'a> = &'a [&'a dyn AsRef<OsStr>];

/// One run of the program that is still to begin.
#[must_use = "nothing runs before it is said how it has to end"]
pub(crate) struct Run<'a> {
    arguments: Vec<OsString>,
    folder: PathBuf,
    environment: Vec<(OsString, OsString)>,
    input: Vec<u8>,
    clock: Option<String>,
    watch: Option<&'a dyn Watch>,
    release: Option<PathBuf>,
    program: PathBuf,
}

/// Sees what must not happen in a run that is refused.
pub(crate) trait Watch {
    /// How often the token was used, or was about to be, since the beginning. Grows with each use.
    fn token_uses(&self) -> u64;
}

/// What a run printed.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl<'a> Run<'a> {
    /// The program with these arguments, in `folder`, whose home it is for everything that has one.
    pub(crate) fn new(folder: &Path, arguments: Arguments<'_>) -> Self {
        Self {
            arguments: arguments
                .iter()
                .map(|argument| argument.as_ref().to_owned())
                .collect(),
            folder: folder.to_owned(),
            environment: Vec::new(),
            input: Vec::new(),
            clock: None,
            watch: None,
            release: None,
            program: env!("CARGO_BIN_EXE_countersign").into(),
        }
    }

    /// Another build of the program.
    pub(crate) fn by(mut self, program: &Path) -> Self {
        program.clone_into(&mut self.program);
        self
    }

    /// With more arguments.
    pub(crate) fn with(mut self, more: Arguments<'_>) -> Self {
        self.arguments
            .extend(more.iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// In the folder `folder`.
    pub(crate) fn from(mut self, folder: &Path) -> Self {
        folder.clone_into(&mut self.folder);
        self
    }

    /// With a variable in its environment.
    pub(crate) fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment
            .push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// With this on standard input.
    pub(crate) fn input(mut self, bytes: &[u8]) -> Self {
        bytes.clone_into(&mut self.input);
        self
    }

    /// At another time, as libfaketime writes it: `+7h`, `-1d`. See [`can_travel`].
    pub(crate) fn at(mut self, clock: &str) -> Self {
        self.clock = Some(clock.to_owned());
        self
    }

    pub(crate) fn watched(mut self, watch: &'a dyn Watch) -> Self {
        self.watch = Some(watch);
        self
    }

    /// It writes a release there, or nothing at all.
    pub(crate) fn release(mut self, path: &Path) -> Self {
        self.release = Some(path.to_owned());
        self
    }

    /// It succeeds.
    #[track_caller]
    pub(crate) fn ok(self) -> Said {
        let (said, what) = self.run();
        said.ended(0, "", &what)
    }

    /// A check fails: exit code 1, the reason is shown, the token was not used and nothing
    /// appeared.
    #[track_caller]
    pub(crate) fn refused(self, reason: &str) -> Said {
        self.without_the_token(1, reason)
    }

    /// Something is not here yet: exit code 4, the reason is shown, the token was not used and
    /// nothing appeared.
    #[track_caller]
    pub(crate) fn not_yet(self, reason: &str) -> Said {
        self.without_the_token(4, reason)
    }

    /// The command or the configuration is wrong: exit code 2, the reason is shown; the token was
    /// not used and nothing appeared.
    #[track_caller]
    pub(crate) fn usage(self, reason: &str) -> Said {
        self.without_the_token(2, reason)
    }

    /// The token, the disk or the location is in trouble: exit code 3, the reason is shown.
    #[track_caller]
    pub(crate) fn trouble(self, reason: &str) -> Said {
        self.stops(3, reason)
    }

    /// It ends with this code and shows the reason; the uses of the token are checked by other
    /// means.
    #[track_caller]
    pub(crate) fn stops(self, code: i32, reason: &str) -> Said {
        let (said, what) = self.run();
        said.ended(code, reason, &what)
    }

    #[track_caller]
    fn without_the_token(self, code: i32, reason: &str) -> Said {
        let watch = self.watch;
        let uses = || watch.map(Watch::token_uses);
        let release = self.release.clone();
        let there = || {
            release
                .as_deref()
                .map(|path| (listing(path), listing(parent(path))))
        };
        let before = (uses(), there());
        let (said, what) = self.run();
        let said = said.ended(code, reason, &what);
        let after = (uses(), there());
        assert_eq!(
            before.0, after.0,
            "{what} used the token, or meant to: {said:?}"
        );
        assert_eq!(before.1, after.1, "{what} left something behind: {said:?}");
        said
    }

    /// Runs to the end, however it ends; returns what was run for messages too.
    #[track_caller]
    pub(crate) fn run(self) -> (Said, String) {
        let mut command = match &self.clock {
            None => Command::new(&self.program),
            Some(clock) => {
                let mut command = Command::new("faketime");
                command.args(["-f", clock]).arg(&self.program);
                command
            }
        };
        command.args(&self.arguments).current_dir(&self.folder);
        clean_environment(&mut command, &self.folder).envs(self.environment);
        let what = format!(
            "countersign {}",
            self.arguments.join(OsStr::new(" ")).to_string_lossy()
        );
        let said = fed(&mut command, &self.input);
        if self.arguments.iter().any(|argument| argument == "--json") {
            said.assert_json(&what);
        }
        (said, what)
    }
}

impl Said {
    /// Whatever it did: on each of its outputs is one JSON object, with the warnings, or nothing.
    #[track_caller]
    fn assert_json(&self, what: &str) {
        for printed in [&self.stdout, &self.stderr] {
            if printed.is_empty() {
                continue;
            }
            let value: Value = serde_json::from_str(printed)
                .unwrap_or_else(|error| panic!("{what} printed no JSON ({error}): {printed}"));
            let lists_warnings = value["warnings"].is_array();
            assert!(lists_warnings, "{what} printed no warnings: {printed}");
        }
    }

    #[track_caller]
    fn ended(self, code: i32, reason: &str, what: &str) -> Self {
        let printed = format!("{}{}", self.stdout, self.stderr);
        assert_eq!(
            self.code, code,
            "exit code of {what}; it printed:\n{printed}"
        );
        assert!(
            printed.contains(reason),
            "{what} did not print `{reason}`, but:\n{printed}"
        );
        self
    }

    /// It printed this, on either of its outputs.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        let printed = format!("{}{}", self.stdout, self.stderr);
        assert!(
            printed.contains(text),
            "not printed: `{text}`, but:\n{printed}"
        );
        self
    }

    /// Its standard output as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("no JSON ({error}): {}", self.stdout))
    }
}

/// Nothing of the environment the tests run in, but for where programs are found.
pub(crate) fn clean_environment<'c>(command: &'c mut Command, home: &Path) -> &'c mut Command {
    command.env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
        .env("HOME", home)
        .env("LC_ALL", "C")
        .env("TZ", "UTC")
        .env("NO_COLOR", "1")
        .env("COLUMNS", "100")
}

/// Another program, which has to succeed.
#[track_caller]
pub(crate) fn tool(program: &str, arguments: Arguments<'_>, folder: &Path) -> Said {
    tool_fed(program, arguments, folder, b"")
}

/// As [`tool`], with this on standard input.
#[track_caller]
pub(crate) fn tool_fed(
    program: &str,
    arguments: Arguments<'_>,
    folder: &Path,
    input: &[u8],
) -> Said {
    let (said, what) = try_tool(program, arguments, folder, input);
    said.ended(0, "", &what)
}

/// Another program, which has to fail.
#[track_caller]
pub(crate) fn tool_refuses(program: &str, arguments: Arguments<'_>, folder: &Path) -> Said {
    tool_refuses_fed(program, arguments, folder, b"")
}

/// As [`tool_refuses`], with this on standard input.
#[track_caller]
pub(crate) fn tool_refuses_fed(
    program: &str,
    arguments: Arguments<'_>,
    folder: &Path,
    input: &[u8],
) -> Said {
    let (said, what) = try_tool(program, arguments, folder, input);
    assert_ne!(
        said.code, 0,
        "{what} has taken what it must refuse: {said:?}"
    );
    said
}

fn try_tool(
    program: &str,
    arguments: Arguments<'_>,
    folder: &Path,
    input: &[u8],
) -> (Said, String) {
    let mut command = Command::new(program);
    command
        .args(arguments.iter().map(|argument| argument.as_ref()))
        .current_dir(folder);
    clean_environment(&mut command, folder);
    let what = format!("{command:?}");
    (fed(&mut command, input), what)
}

fn fed(command: &mut Command, input: &[u8]) -> Said {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?} cannot be run: {error}"));
    let mut pipe = child.stdin.take().expect("standard input is piped");
    // A program that ends without reading its input closes the pipe.
    let _closed = pipe.write_all(input);
    drop(pipe);
    let output = child.wait_with_output().expect("the end of a child");
    let text = |bytes: Vec<u8>| {
        String::from_utf8(bytes).unwrap_or_else(|bad| hex::encode(bad.into_bytes()))
    };
    let code = output
        .status
        .code()
        .unwrap_or_else(|| panic!("{command:?} was ended: {}", output.status));
    Said {
        code,
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

/// Whether all of these programs are there; see [`tokens::missing`].
pub(crate) fn have(programs: &[&str]) -> bool {
    let folders = || std::env::var_os("PATH").unwrap_or_default();
    let there = |program: &&&str| {
        !tokens::without_equipment()
            && std::env::split_paths(&folders()).any(|folder| folder.join(program).is_file())
    };
    match programs.iter().find(|program| !there(program)) {
        None => true,
        Some(program) => tokens::missing::<()>(program).is_some(),
    }
}

/// Whether [`Run::at`] works here.
pub(crate) fn can_travel() -> bool {
    have(&["faketime"])
}

/// Every file below `folder` with its bytes, by its path from there; a link by its target.
pub(crate) fn tree(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for name in listing(folder) {
        let path = folder.join(&name);
        let kind = fs::symlink_metadata(&path)
            .expect("a file that was just listed")
            .file_type();
        if kind.is_dir() {
            found.extend(
                tree(&path)
                    .into_iter()
                    .map(|(inner, bytes)| (format!("{name}/{inner}"), bytes)),
            );
        } else if kind.is_symlink() {
            let target = fs::read_link(&path).expect("a link");
            found.insert(name, format!("-> {}", target.display()).into_bytes());
        } else if kind.is_file() {
            found.insert(name, fs::read(&path).expect("a file that was just listed"));
        } else {
            found.insert(name, b"something special".to_vec());
        }
    }
    found
}

/// The names in `folder`, sorted; none if it is not there.
pub(crate) fn listing(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let names = entries.map(|entry| {
        entry
            .expect("an entry")
            .file_name()
            .to_string_lossy()
            .into_owned()
    });
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

/// The names of what is public: everything in the releases' folder but the lock that keeps two runs
/// apart, and the records.
pub(crate) fn public(releases: &Path) -> Vec<String> {
    let mut names = listing(releases);
    names.retain(|name| !name.starts_with(".countersign."));
    names
}

/// Copies a folder with everything in it.
pub(crate) fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for name in listing(from) {
        let (from, to) = (from.join(&name), to.join(&name));
        match from.is_dir() {
            true => copy_tree(&from, &to),
            false => copy(&from, &to),
        }
    }
}

/// Copies a file, over whatever is there.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::copy(from, to)
        .unwrap_or_else(|error| panic!("{} to {}: {error}", from.display(), to.display()));
}

fn parent(path: &Path) -> &Path {
    path.parent().expect("a path below the world's folder")
}
