//! L, seen from here, as two local folders: an inbox that anybody may have written, and the
//! releases that were verified.

use std::fs;
use std::path::{Path, PathBuf};

use crate::domain::admission::LARGEST_REPORT;
use crate::domain::release::LARGEST_SUMS;
use crate::domain::reserved::{ADMITTED, REFUSED, SUMS};
use crate::files::{FileError, FileFault, FileLock, Folder, StagedFolder, hold, replace};

/// The most submissions that one run takes; the others wait for the next.
const MOST_SUBMISSIONS: usize = 10_000;
/// The most entries that an inbox is read with. Hidden ones count here alone.
const MOST_ENTRIES: usize = 1_000_000;
/// The largest note on a refusal that is read, in bytes.
const LARGEST_NOTE: u64 = 64 << 10;
/// In the releases and not in the inbox: who may push must not be able to hold it.
const LOCK: &str = ".countersign.lock";

/// A folder of submissions: one folder each.
#[derive(Debug)]
pub struct Inbox {
    folder: Folder,
}

/// A folder of verified releases: one folder each, which appears complete.
#[derive(Debug)]
pub struct Releases {
    folder: Folder,
    _lock: FileLock,
}

impl Inbox {
    /// Opens the inbox at `path`.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        Ok(Self {
            folder: Folder::open(path)?,
        })
    }

    /// Whether it is the very folder of `releases`, by whatever path.
    pub fn is_same_as(&self, releases: &Path) -> Result<bool, FileError> {
        self.folder.is_same_as(&Folder::open(releases)?)
    }

    /// Its folder.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Whether it is something else than an inbox: releases, or one release.
    pub fn is_mistaken(&self) -> bool {
        has(&self.folder, LOCK) || is_release(&self.folder)
    }

    /// The names of the submissions, sorted. Hidden entries are still being written; notes on what
    /// became of others are ours.
    pub fn submissions(&self) -> Result<Vec<std::ffi::OsString>, FileError> {
        let mut names = self.folder.names(MOST_ENTRIES)?;
        names.retain(|name| {
            let shown = name.to_string_lossy();
            !shown.starts_with('.') && !shown.ends_with(REFUSED) && !shown.ends_with(ADMITTED)
        });
        names.truncate(MOST_SUBMISSIONS);
        Ok(names)
    }

    /// Opens a submission.
    pub fn submission(&self, name: &str) -> Result<Folder, FileError> {
        self.folder.subfolder(name)
    }

    /// Begins a submission called `name`: it appears when it is published.
    pub fn stage(&self, name: &str) -> Result<StagedFolder, FileError> {
        StagedFolder::new_in(&self.folder, name)
    }

    /// The list of the submission `name`, which says which release it is; nothing where there is no
    /// submission.
    pub fn list(&self, name: &str) -> Result<Option<Vec<u8>>, FileError> {
        if_there(
            self.submission(name)
                .and_then(|submission| submission.read(SUMS, LARGEST_SUMS)),
        )
    }

    /// Makes durable what stands in it by now.
    pub fn settle(&self) -> Result<(), FileError> {
        self.folder.sync()
    }

    /// Leaves a submission where it is, with the reason beside it in `NAME.refused`.
    pub fn refuse(&self, name: &str, reason: &str) -> Result<(), FileError> {
        replace(
            &self.note(name, REFUSED),
            format!("{reason}\n").as_bytes(),
            0o644,
        )
    }

    /// Leaves a report on a submission that was admitted, in `NAME.admitted`.
    pub fn report(&self, name: &str, report: &str) -> Result<(), FileError> {
        replace(&self.note(name, ADMITTED), report.as_bytes(), 0o644)
    }

    /// The reason why the submission `name` was refused, if there is one; whoever may write here
    /// can have written it.
    pub fn refusal(&self, name: &str) -> Result<Option<Vec<u8>>, FileError> {
        if_there(self.folder.read(&format!("{name}{REFUSED}"), LARGEST_NOTE))
    }

    /// The report that a submission `name` was admitted, if there is one; whoever may write here
    /// can have written it.
    pub fn admission(&self, name: &str) -> Result<Option<Vec<u8>>, FileError> {
        if_there(
            self.folder
                .read(&format!("{name}{ADMITTED}"), LARGEST_REPORT),
        )
    }

    /// Removes a submission that was admitted, and what was noted of earlier refusals.
    pub fn remove(&self, name: &str) -> Result<(), FileError> {
        let path = self.folder.path().join(name);
        fs::remove_dir_all(&path).map_err(FileError::io(&path))?;
        self.forget_refusal(name)
    }

    /// Removes what was noted of the refusal of an earlier submission.
    pub fn forget_refusal(&self, name: &str) -> Result<(), FileError> {
        let note = self.note(name, REFUSED);
        if_there(fs::remove_file(&note).map_err(FileError::io(&note))).map(|_| ())
    }

    fn note(&self, name: &str, ending: &str) -> PathBuf {
        self.folder.path().join(format!("{name}{ending}"))
    }
}

/// What was found, or nothing.
fn if_there<T>(found: Result<T, FileError>) -> Result<Option<T>, FileError> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(FileError {
            fault: FileFault::Missing,
            ..
        }) => Ok(None),
        Err(error) => Err(error),
    }
}

impl Releases {
    /// Whether the folder at `path` is one release and not the place for many.
    pub fn is_mistaken(path: &Path) -> Result<bool, FileError> {
        Ok(is_release(&Folder::open(path)?))
    }

    /// Opens the releases at `path`; refuses while another process has them open.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let folder = Folder::open(path)?;
        let lock = hold(&path.join(LOCK))?;
        Ok(Self {
            folder,
            _lock: lock,
        })
    }

    /// Begins a release called `name`: it appears when it is published.
    pub fn stage(&self, name: &str) -> Result<StagedFolder, FileError> {
        StagedFolder::new(&self.folder.path().join(name))
    }

    /// Opens the release that is called `name`.
    pub fn release(&self, name: &str) -> Result<Folder, FileError> {
        self.folder.subfolder(name)
    }
}

fn is_release(folder: &Folder) -> bool {
    has(folder, SUMS)
}

fn has(folder: &Folder, name: &str) -> bool {
    folder.file(name).is_ok()
}
