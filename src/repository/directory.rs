//! An inbox and releases as two local folders.

use std::fs;
use std::path::{Path, PathBuf};

use crate::domain::release::SUMS;
use crate::files::{FileError, FileLock, Folder, StagedFolder, hold, replace};

/// The most submissions that one run takes; the others wait for the next.
const MOST_SUBMISSIONS: usize = 10_000;
/// The most entries that an inbox is read with. Hidden ones count here alone.
const MOST_ENTRIES: usize = 1_000_000;
const REFUSED: &str = ".refused";
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
        Ok(Self { folder: Folder::open(path)? })
    }

    /// Whether it is the very folder of `releases`, by whatever path.
    pub fn is_same_as(&self, releases: &Path) -> Result<bool, FileError> {
        self.folder.is_same_as(&Folder::open(releases)?)
    }

    /// Whether it is something else than an inbox: releases, or one release.
    pub fn is_mistaken(&self) -> bool {
        has(&self.folder, LOCK) || is_release(&self.folder)
    }

    /// The names of the submissions, sorted. Hidden entries are still being written; notes on refusals are ours.
    pub fn submissions(&self) -> Result<Vec<std::ffi::OsString>, FileError> {
        let mut names = self.folder.names(MOST_ENTRIES)?;
        names.retain(|name| {
            let shown = name.to_string_lossy();
            !shown.starts_with('.') && !shown.ends_with(REFUSED)
        });
        names.truncate(MOST_SUBMISSIONS);
        Ok(names)
    }

    /// Opens a submission.
    pub fn submission(&self, name: &str) -> Result<Folder, FileError> {
        self.folder.subfolder(name)
    }

    /// Leaves a submission where it is, with the reason beside it in `NAME.refused`.
    pub fn refuse(&self, name: &str, reason: &str) -> Result<(), FileError> {
        replace(&self.note(name), format!("{reason}\n").as_bytes(), 0o644)
    }

    /// Removes a submission that was admitted, and what was noted of earlier refusals.
    pub fn remove(&self, name: &str) -> Result<(), FileError> {
        let path = self.folder.path().join(name);
        fs::remove_dir_all(&path).map_err(FileError::io(&path))?;
        let note = self.note(name);
        match fs::remove_file(&note) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(FileError::io(&note)(error)),
            _ => Ok(()),
        }
    }

    fn note(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}{REFUSED}"))
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
        Ok(Self { folder, _lock: lock })
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
