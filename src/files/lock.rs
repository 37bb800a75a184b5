//! One process at a time.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FlockOperation, Mode, OFlags, flock, openat};

use super::{FileError, FileFault, Folder};

/// A lock that ends when it is dropped, or with the process.
#[derive(Debug)]
pub struct FileLock {
    _open: File,
}

/// Takes the lock in the file at `path`, which is made if it is not there and which nobody else can
/// open. [`FileFault::Busy`] when another process has it.
pub fn hold(path: &Path) -> Result<FileLock, FileError> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path);
    take(file.map_err(FileError::io(path))?, path)
}

/// The same in a folder that is open; a link is not followed.
pub fn hold_in(folder: &Folder, name: &str) -> Result<FileLock, FileError> {
    let path = folder.path().join(name);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(&folder.handle, name, flags, Mode::RUSR | Mode::WUSR);
    take(
        file.map_err(|error| FileError::io(&path)(error.into()))?
            .into(),
        &path,
    )
}

/// Takes the lock of a folder, which lasts until the folder is closed too. [`FileFault::Busy`] when
/// another process has it.
pub fn hold_folder(folder: &Folder) -> Result<FileLock, FileError> {
    take(folder.lockable()?, folder.path())
}

fn take(file: File, path: &Path) -> Result<FileLock, FileError> {
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(FileLock { _open: file }),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(FileError::new(path, FileFault::Busy)),
        Err(error) => Err(FileError::io(path)(error.into())),
    }
}
