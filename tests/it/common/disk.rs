//! What a power cut can undo of a run, step by step, from what strace saw of its system calls.
//!
//! What POSIX promises is all that is relied on. Bytes, size and permission bits of a file are on
//! the disk when an `fsync` of it has succeeded, a name when one of its folder has. An `fsync` that
//! failed keeps nothing: what was written before it can be lost although the next one succeeds,
//! until it is written again (Rebello et al., "Can Applications Recover from fsync Failures?",
//! USENIX ATC 2020).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Every call by which a file or a folder is changed, and `openat`, with paths and whole buffers.
/// What maps a file into memory is not there: SQLite does that with an index alone that it makes
/// anew.
pub(crate) const CHANGES: [&str; 7] = [
    "-y",
    "-s",
    "10000",
    "-e",
    "signal=none",
    "-e",
    "trace=?open,openat,?openat2,?creat,?mkdir,mkdirat,?mknod,mknodat,write,writev,pwrite64,\
     pwritev,pwritev2,ftruncate,?truncate,fallocate,copy_file_range,?sendfile,?chmod,fchmod,\
     fchmodat,?rename,renameat,renameat2,?link,linkat,?symlink,symlinkat,?unlink,unlinkat,?rmdir,\
     fsync,fdatasync",
];

/// The token's own count, as a name in the folder of the run: its change is the use of the token.
const COUNT: &str = "token.pem.count";
const TOKEN: &str = "token.pem";
const LEDGER: &str = "home/ledger.sqlite";
const AHEAD: &str = "home/ledger.sqlite-wal";
/// Space and nothing else, given up by a name that is removed.
const RESERVE: &str = "home/ledger.reserve";
/// The same, made anew by each run.
const BALLAST: &str = "home/ballast";
/// Each file there but the id is locked by a run, and has nothing in it: after a power cut nobody
/// asks for it.
const OWNERS: [&str; 2] = ["home/runs", "releases/.countersign.owner"];
/// What SQLite makes anew after a crash.
const INDEX: &str = "home/ledger.sqlite-shm";

/// What of a run's changes a power cut could undo.
#[derive(Default)]
pub(crate) struct Disk {
    folder: PathBuf,
    /// What of each file is not on the disk yet.
    files: BTreeMap<PathBuf, Vec<Change>>,
    /// What an `fsync` that failed may have lost, and was not written again.
    lost: BTreeMap<PathBuf, Vec<Change>>,
    /// Names that their folder does not have on the disk yet.
    names: BTreeSet<PathBuf>,
    /// Names that their folder still has on the disk.
    gone: BTreeSet<PathBuf>,
    /// Everything that was written to the ledger and is on the disk.
    ledger: String,
    /// The same, not on the disk yet.
    pending: String,
    /// How often the token was used, with what it was used for before.
    pub(crate) uses: usize,
    /// The signatures that are kept on the disk.
    pub(crate) kept: BTreeSet<String>,
    /// What was out of order.
    pub(crate) faults: Vec<String>,
    /// Where an `fsync` failed.
    pub(crate) failed: Vec<PathBuf>,
}

/// One change of a file.
#[derive(Debug, PartialEq, Eq)]
enum Change {
    /// These bytes of it, from the first to before the last.
    Bytes(u64, u64),
    /// Bytes at its end, its size or its permission bits.
    Other,
}

impl Disk {
    /// Follows every call in `trace` of a run in `folder`, and looks at the moments that matter.
    /// These entries, as JSON, and these signatures were in the ledger before.
    pub(crate) fn follow<'s>(
        folder: &Path,
        entries: &str,
        kept: impl IntoIterator<Item = &'s String>,
        trace: &str,
    ) -> Self {
        let kept: BTreeSet<_> = kept
            .into_iter()
            .flat_map(|signature| signatures(&as_strace_writes(signature)))
            .collect();
        let ledger = as_strace_writes(entries);
        let mut disk = Self {
            folder: folder.to_owned(),
            ledger,
            uses: kept.len(),
            kept,
            ..Self::default()
        };
        for line in trace.lines() {
            if line.contains("<unfinished ...>") {
                disk.faults
                    .push(format!("two calls at once are not understood here: {line}"));
            }
            let Some((before, rest)) = line.split_once('(') else {
                continue;
            };
            let call = before.rsplit(' ').next().expect("a call");
            let Some((arguments, result)) = rest.rsplit_once(") = ") else {
                continue;
            };
            match (call, result.starts_with('-')) {
                (_, false) => disk.step(call, arguments, result),
                ("fsync" | "fdatasync", true) => {
                    disk.lose(&opened(arguments).expect("strace shows paths"))
                }
                (_, true) => {}
            }
        }
        disk
    }

    fn step(&mut self, call: &str, arguments: &str, result: &str) {
        // Each path is relative to the folder before it, which strace shows in angle brackets.
        let quoted = |which: usize| {
            let mut parts = arguments.split('"').skip(2 * which);
            let (before, path) = (
                parts.next().expect("a place"),
                parts.next().expect("a path"),
            );
            opened(before)
                .unwrap_or_else(|| self.folder.clone())
                .join(path)
        };
        match call {
            "openat" => {
                let path = opened(result).expect("strace shows paths");
                self.before_the_token(&path);
                if arguments.contains("O_CREAT") {
                    self.name(path);
                } else if arguments.contains("O_TRUNC") {
                    self.change(path, Change::Other);
                }
            }
            "mkdir" | "mkdirat" | "symlink" | "symlinkat" => {
                self.name(quoted(usize::from(call.starts_with("symlink"))))
            }
            "write" | "writev" | "pwrite64" | "ftruncate" | "fallocate" | "fchmod" => {
                let path = opened(arguments).expect("strace shows paths");
                if self.is(&path, AHEAD) {
                    self.pending += arguments;
                    self.before_it_is_logged();
                }
                let change = match call {
                    "pwrite64" => bytes(arguments),
                    _ => Change::Other,
                };
                self.change(path, change);
            }
            "chmod" | "fchmodat" | "truncate" => self.change(quoted(0), Change::Other),
            "fsync" | "fdatasync" => {
                let path = opened(arguments).expect("strace shows paths");
                if self.is(&path, AHEAD) {
                    let written = std::mem::take(&mut self.pending);
                    self.kept.extend(signatures(&written));
                    self.ledger += &written;
                }
                self.files.remove(&path);
                self.names.retain(|name| name.parent() != Some(&path));
                self.gone.retain(|name| name.parent() != Some(&path));
            }
            "rename" | "renameat" | "renameat2" => {
                let (from, to) = (quoted(0), quoted(1));
                self.before_it_appears(&from, &to);
                self.names.remove(&from);
                self.gone.insert(from);
                self.uses += usize::from(self.is(&to, COUNT));
                self.name(to);
            }
            "link" | "linkat" => {
                let (from, to) = (quoted(0), quoted(1));
                self.before_it_appears(&from, &to);
                self.name(to);
            }
            "unlink" | "unlinkat" | "rmdir" => {
                let path = quoted(0);
                if self.is_open(&path) && path.starts_with(self.folder.join("home/nonces")) {
                    self.faults
                        .push("a nonce is removed before it is overwritten on the disk".to_owned());
                }
                if self.is(&path, AHEAD) && self.is_open(&self.folder.join(LEDGER)) {
                    self.faults.push(
                        "what was logged is removed before it is in the ledger on the disk"
                            .to_owned(),
                    );
                }
                // With a folder goes what was done in it.
                self.files.retain(|it, _| !it.starts_with(&path));
                self.lost.retain(|it, _| !it.starts_with(&path));
                self.names.retain(|it| !it.starts_with(&path));
                self.gone.retain(|it| !it.starts_with(&path));
                self.gone.insert(path);
            }
            _ => self.faults.push(format!(
                "what `{call}` changes is not understood here: {arguments}"
            )),
        }
    }

    fn is(&self, path: &Path, name: &str) -> bool {
        path.strip_prefix(&self.folder)
            .is_ok_and(|path| path == Path::new(name))
    }

    /// Whether something of a file is not on the disk, or may be lost.
    fn is_open(&self, path: &Path) -> bool {
        self.files.contains_key(path) || self.lost.contains_key(path)
    }

    fn name(&mut self, path: PathBuf) {
        self.gone.remove(&path);
        self.names.insert(path);
    }

    fn change(&mut self, path: PathBuf, change: Change) {
        if !path.starts_with(&self.folder) {
            return;
        }
        if let (Change::Bytes(from, to), Some(lost)) = (&change, self.lost.get_mut(&path)) {
            lost.retain(
                |it| !matches!(it, Change::Bytes(first, end) if from <= first && end <= to),
            );
            if lost.is_empty() {
                self.lost.remove(&path);
            }
        }
        self.files.entry(path).or_default().push(change);
    }

    /// An `fsync` fails.
    fn lose(&mut self, path: &Path) {
        self.failed
            .push(path.strip_prefix(&self.folder).unwrap_or(path).to_owned());
        if self.is(path, AHEAD) {
            // SQLite takes the transaction back.
            self.pending.clear();
        }
        if let Some(changes) = self.files.remove(path) {
            self.lost
                .entry(path.to_owned())
                .or_default()
                .extend(changes);
        }
    }

    /// The first thing that the token does for a signature is to read its count, the next to write
    /// another aside.
    fn before_the_token(&mut self, path: &Path) {
        let name = path
            .strip_prefix(&self.folder)
            .unwrap_or(path)
            .to_string_lossy();
        if name != COUNT && !name.starts_with(".tmp") {
            return;
        }
        self.is_logged("intent", "the token is used");
        if self.uses != self.kept.len() {
            let (uses, kept) = (self.uses, self.kept.len());
            self.faults.push(format!(
                "the token is used again when {kept} of {uses} answers are on the disk"
            ));
        }
    }

    fn before_it_appears(&mut self, from: &Path, to: &Path) {
        let paths = self
            .files
            .keys()
            .chain(self.lost.keys())
            .filter(|path| path.starts_with(from));
        let names = self
            .names
            .iter()
            .filter(|name| name.starts_with(from) && *name != from);
        let open: Vec<_> = paths.chain(names).collect();
        if !open.is_empty() {
            self.faults.push(format!(
                "{} appears before {open:?} is on the disk",
                to.display()
            ));
        }
        if to.ends_with("inbox/foo-1.2.3") {
            self.is_written(r#"\"status\":\"signed\""#, "the release appears");
        }
        if to.ends_with("location/foo-1.2.3") {
            self.is_logged("released", "the release is pushed");
        }
        if to.ends_with("log/checkpoint") {
            self.is_logged("pushed", "the log is exported");
        }
    }

    fn is_logged(&mut self, kind: &str, what: &str) {
        self.is_written(&format!(r#"\"kind\":\"{kind}\""#), what);
    }

    fn is_written(&mut self, text: &str, what: &str) {
        if !self.ledger.contains(text) {
            self.faults
                .push(format!("{what} before {text} is on the disk"));
        }
        if self.names.contains(&self.folder.join(AHEAD)) {
            self.faults.push(format!(
                "{what} before the file with {text} has its name on the disk"
            ));
        }
    }

    fn before_it_is_logged(&mut self) {
        for (kind, place) in [("released", "inbox"), ("pushed", "location")] {
            let (entry, place) = (format!(r#"\"kind\":\"{kind}\""#), self.folder.join(place));
            if self.pending.contains(&entry)
                && self.names.iter().any(|name| name.starts_with(&place))
            {
                self.faults.push(format!(
                    "the release is {kind} in the log before its name is on the disk"
                ));
            }
        }
        let made = self.kept.union(&signatures(&self.pending)).count();
        if made > self.uses {
            self.faults.push(format!(
                "{made} signatures are kept, and the token was used {} times",
                self.uses
            ));
        }
    }

    /// What a power cut after the end of the run would undo.
    pub(crate) fn open(&self) -> Vec<String> {
        // As long as the file with what was logged is there, SQLite puts it into the ledger anew.
        let whole = self.gone.contains(&self.folder.join(AHEAD));
        let anew = |path: &Path| {
            let is_space = self.is(path, INDEX) || self.is(path, BALLAST);
            is_space || self.is(path, LEDGER) && !whole
        };
        let files = self
            .files
            .keys()
            .chain(self.lost.keys())
            .chain(&self.names)
            .filter(|path| !anew(path));
        let gone = self.gone.iter().filter(|path| {
            ![INDEX, AHEAD, RESERVE, BALLAST]
                .iter()
                .any(|name| self.is(path, name))
                && !OWNERS
                    .iter()
                    .any(|it| path.starts_with(self.folder.join(it)))
        });
        let open = files
            .chain(gone)
            .filter_map(|path| path.strip_prefix(&self.folder).ok());
        let open = open.map(|path| path.display().to_string());
        // A lock is for processes, which no power cut survives. The token for tests is not ours,
        // and neither is its counter.
        open.filter(|path| {
            let passing = [".tmp", "home/lock"];
            !passing.iter().any(|start| path.starts_with(start))
                && ![TOKEN, COUNT].contains(&path.as_str())
        })
        .collect()
    }
}

/// The path that strace shows after a descriptor.
fn opened(text: &str) -> Option<PathBuf> {
    text.split_once('<')
        .and_then(|(_, rest)| rest.split_once('>'))
        .map(|(path, _)| PathBuf::from(path))
}

/// The bytes that `pwrite64` writes: its last two arguments are their number and the place of the
/// first.
fn bytes(arguments: &str) -> Change {
    let mut numbers = arguments
        .rsplit(", ")
        .map(|number| number.parse::<u64>().expect("a number"));
    let (from, length) = (
        numbers.next().expect("a place"),
        numbers.next().expect("a length"),
    );
    Change::Bytes(from, from + length)
}

fn as_strace_writes(text: &str) -> String {
    text.replace('\\', r"\\")
        .replace('"', r#"\""#)
        .replace('\n', r"\n")
}

/// The signatures in what was written, each once: a page that is written again has those of before
/// too.
fn signatures(written: &str) -> BTreeSet<String> {
    let begun = written.split("-----BEGIN PGP SIGNATURE-----").skip(1);
    begun
        .filter_map(|text| text.split_once("-----END PGP SIGNATURE-----"))
        .map(|(text, _)| text.to_owned())
        .collect()
}
