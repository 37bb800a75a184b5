//! An inbox and releases as two local folders.

use std::fs;
use std::path::{Path, PathBuf};

use crate::files::{FileError, Folder, StagedFolder, replace};

/// The most submissions that one run looks at.
const MOST_SUBMISSIONS: usize = 10_000;
const REFUSED: &str = ".refused";

/// A folder of submissions: one folder each.
#[derive(Debug)]
pub struct Inbox {
    folder: Folder,
}

/// A folder of verified releases: one folder each, which appears complete.
#[derive(Debug)]
pub struct Releases {
    path: PathBuf,
}

impl Inbox {
    /// Opens the inbox at `path`, when no other process has it open: two would take each other's submissions away.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let folder = Folder::open(path)?;
        folder.hold()?;
        Ok(Self { folder })
    }

    /// The names of the submissions, sorted. Hidden entries are still being written; notes on refusals are ours.
    pub fn submissions(&self) -> Result<Vec<std::ffi::OsString>, FileError> {
        let mut names = self.folder.names(MOST_SUBMISSIONS)?;
        names.retain(|name| {
            let shown = name.to_string_lossy();
            !shown.starts_with('.') && !shown.ends_with(REFUSED)
        });
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
    /// The releases at `path`.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        Folder::open(path)?;
        Ok(Self { path: path.to_owned() })
    }

    /// Begins a release called `name`: it appears when it is published.
    pub fn stage(&self, name: &str) -> Result<StagedFolder, FileError> {
        StagedFolder::new(&self.path.join(name))
    }
}
