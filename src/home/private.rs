//! Who may read and write the files of a home.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::error::HomeError;
use crate::files::FileError;

/// Refuses a home unless its folders are 0700 and its files 0600, all of them the user's.
pub(super) fn check(folder: &Path) -> Result<(), HomeError> {
    check_one(folder, 0o700)?;
    for entry in fs::read_dir(folder).map_err(FileError::io(folder))? {
        let path = entry.map_err(FileError::io(folder))?.path();
        let status = match fs::symlink_metadata(&path) {
            Ok(status) => status,
            // Another process may have removed its temporary file.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(FileError::io(&path)(error).into()),
        };
        if status.is_dir() {
            check(&path)?
        } else {
            check_one(&path, 0o600)?
        }
    }
    Ok(())
}

/// Refuses an approver's certificate unless only the user or root can write it.
pub(super) fn check_unwritable(path: &Path) -> Result<(), HomeError> {
    let status = fs::metadata(path).map_err(FileError::io(path))?;
    let mode = status.mode() & 0o7777;
    let owner = status.uid();
    if owner != 0 && owner != rustix::process::geteuid().as_raw() {
        return Err(HomeError::Owner {
            path: path.to_owned(),
            owner,
        });
    }
    if mode & 0o022 != 0 {
        return Err(HomeError::Open {
            path: path.to_owned(),
            mode,
            wanted: 0o644,
        });
    }
    Ok(())
}

fn check_one(path: &Path, wanted: u32) -> Result<(), HomeError> {
    let status = match fs::symlink_metadata(path) {
        Ok(status) => status,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && wanted == 0o600 => {
            return Ok(());
        }
        Err(error) => return Err(FileError::io(path)(error).into()),
    };
    let mode = status.mode() & 0o7777;
    let owner = status.uid();
    if owner != rustix::process::geteuid().as_raw() {
        return Err(HomeError::Owner {
            path: path.to_owned(),
            owner,
        });
    }
    if mode & 0o077 != 0 || status.file_type().is_symlink() {
        return Err(HomeError::Open {
            path: path.to_owned(),
            mode,
            wanted,
        });
    }
    Ok(())
}
