//! Files that others wrote, and files that others will read.
//!
//! [`Folder`] reads what is hostile: no link is followed, nothing but regular files is opened,
//! nothing is read without a bound, and writes beside what is hostile. [`StagedFolder`] and
//! [`write_new`] write what must appear complete or not at all. This module knows no formats.

mod folder;
mod lock;
mod staging;

use std::io;
use std::path::{Path, PathBuf};

pub use folder::{Folder, InputFile, read_secret};
pub use lock::{FileLock, hold, hold_folder};
pub use staging::{
    StagedFile, StagedFolder, discard, make_private, make_public, nearest, parent, replace,
    sweep_files, wipe, write_new,
};

/// What the names of folders and files begin with that are still being written.
const ASIDE: &str = ".countersign-";

/// Where something that is there is, from the root on, without links.
pub fn real_path(path: &Path) -> Result<PathBuf, FileError> {
    path.canonicalize().map_err(FileError::io(path))
}

/// What is wrong with a file or folder, and which.
#[derive(Debug, thiserror::Error)]
#[error("`{}` {fault}", path.display())]
pub struct FileError {
    /// The file or folder.
    pub path: PathBuf,
    /// What is wrong with it.
    pub fault: FileFault,
}

/// What is wrong with a file or folder.
#[derive(Debug, thiserror::Error)]
pub enum FileFault {
    /// Not there.
    #[error("does not exist")]
    Missing,
    /// Something else than the regular file or folder it should be.
    #[error("is {found}, not {wanted}")]
    Kind {
        /// What it is.
        found: &'static str,
        /// What it should be.
        wanted: &'static str,
    },
    /// More bytes than are allowed.
    #[error("is larger than {limit} bytes")]
    TooLarge {
        /// The most that is read.
        limit: u64,
    },
    /// More entries than are allowed.
    #[error("has more than {limit} entries")]
    TooMany {
        /// The most that are taken.
        limit: usize,
    },
    /// It is there already, and must not be replaced.
    #[error("exists already")]
    Exists,
    /// Another process holds it.
    #[error("is held by another countersign process")]
    Busy,
    /// The operating system said no.
    #[error("cannot be used: {0}")]
    Io(io::Error),
}

impl FileError {
    pub(crate) fn new(path: impl Into<PathBuf>, fault: FileFault) -> Self {
        Self {
            path: path.into(),
            fault,
        }
    }

    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        move |error| Self::new(path, FileFault::from(error))
    }
}

impl From<io::Error> for FileFault {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing,
            io::ErrorKind::AlreadyExists => Self::Exists,
            _ => Self::Io(error),
        }
    }
}
