//! Files that others wrote, and files that others will read.
//!
//! [`Folder`] reads what is hostile: no link is followed, nothing but regular files is opened,
//! nothing is read without a bound, and writes beside what is hostile. [`StagedFolder`] and
//! [`write_new`] write what must appear complete or not at all. This module knows no formats.

mod aside;
mod deadline;
mod folder;
mod input;
mod leftovers;
mod lock;
mod owner;
mod remove;
mod staging;
mod state;
mod whole;

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

pub use aside::AsideFile;
pub use deadline::within;
pub use folder::{Folder, Kind};
pub use input::{BUFFER, InputFile, read_secret};
pub use leftovers::Owner;
pub use lock::{FileLock, Holder, Sharing, Wait, hold, hold_folder, hold_in, hold_passing};
pub use owner::changeable;
pub use staging::{StagedFile, StagedFolder};
pub use whole::{
    discard, is_there, make_private, make_public, nearest, parent, refuse_foreign, replace,
    sweep_files, wipe, with_suffix, write_new,
};

/// Prefix of the names of folders and files that are still being written.
const ASIDE: &str = ".countersign-";
/// Prefix of the names of folders that are being removed.
const GONE: &str = ".countersign.gone-";

/// The path of something that exists, from the root on, without links.
pub fn real_path(path: &Path) -> Result<PathBuf, FileError> {
    path.canonicalize().map_err(FileError::io(path))
}

/// What is wrong with a file or folder, and which. Its code and help are those of a file that a
/// person named; where it is somebody else's, the step that reads it wraps it.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("`{}` {fault}", path.display())]
#[diagnostic(forward(fault))]
pub struct FileError {
    /// The file or folder.
    pub path: PathBuf,
    /// What is wrong with it.
    pub fault: FileFault,
}

/// What is wrong with a file or folder.
#[expect(missing_docs, reason = "each message says what it means")]
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum FileFault {
    #[error("does not exist")]
    #[diagnostic(code(usage::no_such_file))]
    Missing,
    #[error("is {found}, not {wanted}")]
    #[diagnostic(code(usage::wrong_kind_of_file))]
    Kind {
        found: &'static str,
        wanted: &'static str,
    },
    #[error("is larger than {limit} bytes")]
    #[diagnostic(code(usage::file_too_large))]
    TooLarge { limit: u64 },
    #[error("has more than {limit} entries")]
    #[diagnostic(code(usage::too_many_files))]
    TooMany { limit: usize },
    /// It must not be replaced.
    #[error("exists already")]
    #[diagnostic(code(usage::file_exists), help("move it away, or name another place"))]
    Exists,
    #[error("is in use by {0}")]
    #[diagnostic(
        code(trouble::file_in_use),
        help("run the same command again when it is done")
    )]
    Busy(Holder),
    #[error("cannot be used: {0}")]
    #[diagnostic(
        code(trouble::disk_full),
        help("make room and run the same command again: nothing is lost")
    )]
    Full(io::Error),
    #[error("cannot be used: {0}")]
    #[diagnostic(code(usage::permission_denied))]
    Denied(io::Error),
    #[error("cannot be used: {0}")]
    #[diagnostic(
        code(trouble::input_output),
        help("run the same command again when this is fixed")
    )]
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

    /// The same of a file or folder that this process made itself: nobody named it, and what became
    /// of it is not for the caller to correct.
    pub(crate) fn of_ours(self) -> Self {
        match self.fault {
            FileFault::Missing
            | FileFault::Kind { .. }
            | FileFault::TooLarge { .. }
            | FileFault::TooMany { .. }
            | FileFault::Exists => {
                let changed = "it was changed or removed while it was in use";
                Self::new(self.path, FileFault::Io(io::Error::other(changed)))
            }
            FileFault::Busy(_) | FileFault::Full(_) | FileFault::Denied(_) | FileFault::Io(_) => {
                self
            }
        }
    }

    /// Whether the operating system failed, rather than the file being something else than
    /// expected.
    pub fn is_io(&self) -> bool {
        matches!(
            self.fault,
            FileFault::Full(_) | FileFault::Denied(_) | FileFault::Io(_)
        )
    }
}

impl From<io::Error> for FileFault {
    fn from(error: io::Error) -> Self {
        let path = |found| Self::Kind {
            found,
            wanted: "a path through folders",
        };
        match Errno::from_io_error(&error) {
            Some(Errno::NOTDIR) => return path("a path through a file"),
            Some(Errno::LOOP) => return path("a loop of links"),
            Some(Errno::NAMETOOLONG) => return path("a path that is too long"),
            _ => {}
        }
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing,
            io::ErrorKind::AlreadyExists => Self::Exists,
            io::ErrorKind::StorageFull => Self::Full(error),
            io::ErrorKind::PermissionDenied => Self::Denied(error),
            _ => Self::Io(error),
        }
    }
}
