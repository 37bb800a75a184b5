//! Single files that appear complete or not at all, and the folders for them.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::leftovers::is_aside;
use super::{ASIDE, FileError, FileFault, Folder, InputFile};

/// Writes a file that must not be there yet, with these permission bits; complete or not at all.
/// After an error it is not there.
pub fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    aside(path, bytes, mode)?
        .persist_noclobber(path)
        .map_err(|error| FileError::io(path)(error.error))?;
    sync_folder(parent(path)).inspect_err(|_| discard(path))
}

/// Writes a file in place of whatever is there, with these permission bits; the old or the new,
/// never a mixture.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    aside(path, bytes, mode)?
        .persist(path)
        .map_err(|error| FileError::io(path)(error.error))?;
    sync_folder(parent(path))
}

/// Whether there is anything at a path, a link that leads nowhere too.
pub fn is_there(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// Refuses to write over anything but what `is_ours` knows, such as the file of an earlier run.
pub fn refuse_foreign(
    path: &Path,
    limit: u64,
    is_ours: impl FnOnce(&[u8]) -> bool,
) -> Result<(), FileError> {
    match InputFile::open(path).and_then(|there| there.read_whole(limit)) {
        Ok(there) if is_ours(&there) => Ok(()),
        Err(_) if !is_there(path) => Ok(()),
        Ok(_) | Err(_) => Err(FileError::new(path, FileFault::Exists)),
    }
}

/// Overwrites a file's bytes, on the disk too as far as its file system lets that be known, and
/// removes it.
pub fn wipe(path: &Path) -> Result<(), FileError> {
    let overwrite = || {
        // Not through a link that was put there since the file was read: its target is not ours to
        // wipe.
        let no_link = i32::try_from(OFlags::NOFOLLOW.bits()).expect("a flag fits");
        let mut file = fs::OpenOptions::new()
            .write(true)
            .custom_flags(no_link)
            .open(path)?;
        let size = file.metadata()?.len();
        io::copy(&mut io::repeat(0).take(size), &mut file)?;
        file.sync_all()?;
        fs::remove_file(path)
    };
    overwrite().map_err(FileError::io(path))?;
    sync_folder(parent(path))
}

/// Removes a file that is not valid after all, and may be a secret: overwritten as far as its disk,
/// which may be failing, allows, and removed in any case. What went wrong first matters more than
/// what goes wrong here.
pub fn discard(path: &Path) {
    if wipe(path).is_err() {
        let _already_failing = fs::remove_file(path);
    }
}

/// Makes a folder that nobody but its owner can open, and those above it that are missing; leaves
/// alone one that is there.
pub fn make_private(folder: &Path) -> Result<(), FileError> {
    if folder.is_dir() {
        return Ok(());
    }
    let above = parent(folder);
    make_private(above)?;
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(FileError::io(folder)(error));
        }
        _ => {}
    }
    sync_folder(above)
}

/// Removes what runs that were killed left in `folder` of files that were to appear there. Nobody
/// may be writing one now.
pub fn sweep_files(folder: &Path) -> Result<(), FileError> {
    for entry in fs::read_dir(folder).map_err(FileError::io(folder))? {
        let entry = entry.map_err(FileError::io(folder))?;
        if is_aside(&entry.file_name()) && entry.file_type().is_ok_and(|kind| kind.is_file()) {
            fs::remove_file(entry.path()).map_err(FileError::io(&entry.path()))?;
        }
    }
    Ok(())
}

/// The folder at a path, or the nearest above it that is there.
pub fn nearest(path: &Path) -> Result<Folder, FileError> {
    match Folder::open(path) {
        Err(FileError {
            fault: FileFault::Missing,
            ..
        }) => nearest(parent(path)),
        there => there,
    }
}

/// Makes a folder that everybody may read, and those above it that are missing; leaves alone one
/// that is there.
pub fn make_public(folder: &Path) -> Result<Folder, FileError> {
    match Folder::open(folder) {
        Err(FileError {
            fault: FileFault::Missing,
            ..
        }) => {}
        there => return there,
    }
    let above = make_public(parent(folder))?;
    match folder.file_name() {
        Some(name) => above.public_subfolder(name),
        // It ends with `..`, and is there by now.
        None => Folder::open(folder),
    }
}

fn aside(path: &Path, bytes: &[u8], mode: u32) -> Result<tempfile::NamedTempFile, FileError> {
    let parent = parent(path);
    let mut file = tempfile::Builder::new()
        .prefix(ASIDE)
        .permissions(fs::Permissions::from_mode(mode))
        .tempfile_in(parent)
        .map_err(FileError::io(parent))?;
    file.write_all(bytes)
        .and_then(|()| file.as_file().sync_all())
        .map_err(FileError::io(path))?;
    Ok(file)
}

/// The path of the file beside it that has the same name and this suffix.
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

/// The folder above; `.` for a bare name.
pub fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

fn sync_folder(path: &Path) -> Result<(), FileError> {
    File::open(path)
        .and_then(|folder| folder.sync_all())
        .map_err(FileError::io(path))
}

#[cfg(test)]
mod tests {
    use miette::Diagnostic as _;

    use super::*;

    #[test]
    fn what_a_link_leads_to_is_not_wiped() {
        let temp = tempfile::tempdir().expect("a folder");
        let link = temp.path().join("link");
        let file = temp.path().join("file");
        fs::write(&file, b"1").expect("written");
        std::os::unix::fs::symlink(&file, &link).expect("linked");
        assert!(wipe(&link).is_err());
        assert_eq!(fs::read(&file).expect("read"), b"1");
        wipe(&file).expect("wiped");
        assert!(!file.exists());
    }

    #[test]
    fn a_path_that_is_too_long_is_for_the_caller_to_correct() {
        let temp = tempfile::tempdir().expect("a folder");
        let path = &temp.path().join("n".repeat(300));
        for fault in [
            write_new(path, b"1", 0o600).err(),
            replace(path, b"1", 0o600).err(),
            make_private(path).err(),
            make_public(path).err(),
            nearest(path).err(),
            InputFile::open(path).err(),
        ] {
            let code = fault.expect("an error").code().map(|code| code.to_string());
            assert_eq!(code.as_deref(), Some("usage::wrong_kind_of_file"));
        }
    }

    #[test]
    fn a_new_file_replaces_nothing_and_a_replacement_does() {
        let temp = tempfile::tempdir().expect("a folder");
        let path = temp.path().join("file");
        write_new(&path, b"1", 0o600).expect("written");
        assert!(matches!(
            write_new(&path, b"2", 0o600).map_err(|e| e.fault),
            Err(FileFault::Exists)
        ));
        replace(&path, b"3", 0o600).expect("replaced");
        assert_eq!(fs::read(&path).expect("read"), b"3");
        assert_eq!(
            fs::metadata(&path).expect("there").permissions().mode() & 0o777,
            0o600
        );
    }
}
