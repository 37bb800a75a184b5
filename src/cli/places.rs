//! Where a release is: as the caller named it, and behind links.

use std::path::{Path, PathBuf};

use crate::files::{FileError, parent, real_path};

/// The name of a folder: by the path that was given, where that may be a link, or its real one
/// where that path ends in `..`.
pub(super) fn own_name(folder: &Path) -> Result<String, FileError> {
    let named = as_named(folder)?;
    let path = match named.file_name() {
        Some(_) => named,
        None => real_path(folder)?,
    };
    let name = path.file_name().unwrap_or_default();
    Ok(name.to_string_lossy().into_owned())
}

/// The places of a folder, or of the folder that a file is in: with the links in its path, and
/// without them.
pub(super) fn folders(path: &Path) -> Result<Vec<PathBuf>, FileError> {
    let named = as_named(path)?;
    let real = real_path(path)?;
    let mut folders = if path.is_dir() {
        vec![named, real]
    } else {
        let folder = parent(&named).to_owned();
        let behind = real_path(&folder)?;
        vec![folder, behind, parent(&real).to_owned()]
    };
    folders.retain(|folder| folder.file_name().is_some());
    folders.dedup();
    Ok(folders)
}

/// A path from the root on, with its links. The shell knows those of the working folder.
fn as_named(path: &Path) -> Result<PathBuf, FileError> {
    let here = real_path(Path::new("."))?;
    let shell = std::env::var_os("PWD").map(PathBuf::from);
    let shell = shell.filter(|it| it.is_absolute() && real_path(it).is_ok_and(|it| it == here));
    let path = shell.unwrap_or(here).join(path);
    // Without dots.
    Ok(path.components().collect())
}
