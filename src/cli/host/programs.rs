//! Where other programs are: in the system's folders, which only root can change. Never by PATH,
//! whose first folder may be anybody's.

use std::path::{Path, PathBuf};

use crate::files::changeable;

const FOLDERS: [&str; 4] = [
    "/usr/bin",
    "/bin",
    "/usr/local/bin",
    "/run/current-system/sw/bin",
];

/// The program of this name that the system has.
pub(super) fn of_system(name: &str) -> Option<PathBuf> {
    let paths = FOLDERS.map(|folder| Path::new(folder).join(name));
    paths.into_iter().find(|path| check(path).is_ok())
}

/// Why the program at `path` is not to be run.
pub(super) fn check(path: &Path) -> Result<(), String> {
    let status = path.metadata().map_err(|error| error.to_string())?;
    match changeable(&status) {
        Some(reason) => Err(reason),
        None if status.is_file() => Ok(()),
        None => Err("it is not a regular file".to_owned()),
    }
}
