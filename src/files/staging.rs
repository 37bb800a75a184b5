//! Output that appears complete or not at all: written aside, made durable, then renamed into place.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::{FileError, FileFault};

/// A folder that is filled aside and then appears under its name in one step. Dropped before that, it leaves nothing.
#[derive(Debug)]
pub struct StagedFolder {
    aside: tempfile::TempDir,
    target: PathBuf,
}

/// A file in a [`StagedFolder`] while it is written.
#[derive(Debug)]
pub struct StagedFile {
    file: File,
    path: PathBuf,
}

impl StagedFolder {
    /// Begins a folder that will be called `target`; the folder above it must exist.
    pub fn new(target: &Path) -> Result<Self, FileError> {
        let parent = parent(target);
        let aside = tempfile::Builder::new()
            .prefix(".countersign-")
            .permissions(fs::Permissions::from_mode(0o755))
            .tempdir_in(parent)
            .map_err(FileError::io(parent))?;
        Ok(Self { aside, target: target.to_owned() })
    }

    /// What it will be called.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Whether something bears its name already.
    pub fn occupied(&self) -> bool {
        fs::symlink_metadata(&self.target).is_ok()
    }

    /// Begins the file `path` in it, readable for all; folders before it are made.
    pub fn file(&self, path: &str) -> Result<StagedFile, FileError> {
        let path = self.aside.path().join(path);
        let folder = parent(&path);
        fs::create_dir_all(folder).map_err(FileError::io(folder))?;
        let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o644).open(&path);
        Ok(StagedFile { file: file.map_err(FileError::io(&path))?, path })
    }

    /// Writes the file `path` in it.
    pub fn write(&self, path: &str, bytes: &[u8]) -> Result<(), FileError> {
        let mut file = self.file(path)?;
        file.write(bytes)?;
        file.finish()
    }

    /// Makes it appear. A folder that is there already is left alone: the same content is success (`false`),
    /// another content an error.
    pub fn publish(self) -> Result<bool, FileError> {
        let aside = self.aside.path();
        sync_folders(aside)?;
        match renameat_with(CWD, aside, CWD, &self.target, RenameFlags::NOREPLACE) {
            Ok(()) => {
                let _gone = self.aside.keep();
                sync_folder(parent(&self.target))?;
                Ok(true)
            }
            Err(rustix::io::Errno::EXIST | rustix::io::Errno::NOTEMPTY) => {
                if same_tree(aside, &self.target).map_err(FileError::io(&self.target))? {
                    Ok(false)
                } else {
                    Err(FileError::new(&self.target, FileFault::Exists))
                }
            }
            Err(error) => Err(FileError::io(&self.target)(error.into())),
        }
    }
}

impl StagedFile {
    /// Appends to it.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        self.file.write_all(bytes).map_err(FileError::io(&self.path))
    }

    /// Makes it durable.
    pub fn finish(self) -> Result<(), FileError> {
        self.file.sync_all().map_err(FileError::io(&self.path))
    }
}

/// Writes a file that must not be there yet, with these permission bits; complete or not at all.
pub fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    aside(path, bytes, mode)?.persist_noclobber(path).map_err(|error| FileError::io(path)(error.error))?;
    sync_folder(parent(path))
}

/// Writes a file in place of whatever is there, with these permission bits; the old or the new, never a mixture.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    aside(path, bytes, mode)?.persist(path).map_err(|error| FileError::io(path)(error.error))?;
    sync_folder(parent(path))
}

/// Overwrites a file's bytes, on the disk too as far as its file system lets that be known, and removes it.
pub fn wipe(path: &Path) -> Result<(), FileError> {
    let overwrite = || {
        let mut file = fs::OpenOptions::new().write(true).open(path)?;
        let size = file.metadata()?.len();
        io::copy(&mut io::repeat(0).take(size), &mut file)?;
        file.sync_all()?;
        fs::remove_file(path)
    };
    overwrite().map_err(FileError::io(path))?;
    sync_folder(parent(path))
}

fn aside(path: &Path, bytes: &[u8], mode: u32) -> Result<tempfile::NamedTempFile, FileError> {
    let parent = parent(path);
    let mut file = tempfile::Builder::new()
        .prefix(".countersign-")
        .permissions(fs::Permissions::from_mode(mode))
        .tempfile_in(parent)
        .map_err(FileError::io(parent))?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(FileError::io(path))?;
    Ok(file)
}

/// The folder above; `.` for a bare name.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

fn sync_folder(path: &Path) -> Result<(), FileError> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(FileError::io(path))
}

fn sync_folders(path: &Path) -> Result<(), FileError> {
    for entry in fs::read_dir(path).map_err(FileError::io(path))? {
        let entry = entry.map_err(FileError::io(path))?;
        if entry.file_type().map_err(FileError::io(path))?.is_dir() {
            sync_folders(&entry.path())?;
        }
    }
    sync_folder(path)
}

/// Whether two folders hold the same files with the same bytes.
fn same_tree(ours: &Path, other: &Path) -> io::Result<bool> {
    let names = |path: &Path| -> io::Result<Vec<_>> {
        let mut names = fs::read_dir(path)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()?;
        names.sort();
        Ok(names)
    };
    if !fs::symlink_metadata(other)?.is_dir() {
        return Ok(false);
    }
    let ours_in_order = names(ours)?;
    if ours_in_order != names(other)? {
        return Ok(false);
    }
    for name in ours_in_order {
        let (left, right) = (ours.join(&name), other.join(&name));
        let (left_is, right_is) = (fs::symlink_metadata(&left)?, fs::symlink_metadata(&right)?);
        let same = if left_is.is_dir() {
            same_tree(&left, &right)?
        } else {
            right_is.is_file() && left_is.len() == right_is.len() && same_bytes(&left, &right)?
        };
        if !same {
            return Ok(false);
        }
    }
    Ok(true)
}

fn same_bytes(left: &Path, right: &Path) -> io::Result<bool> {
    let mut left = io::BufReader::new(File::open(left)?).bytes();
    let mut right = io::BufReader::new(File::open(right)?).bytes();
    loop {
        match (left.next().transpose()?, right.next().transpose()?) {
            (None, None) => return Ok(true),
            (one, other) if one == other => {}
            _ => return Ok(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn staged(target: &Path, content: &[u8]) -> StagedFolder {
        let staged = StagedFolder::new(target).expect("begun");
        staged.write("file", content).expect("written");
        staged.write("deep/er/file", b"x").expect("written");
        staged
    }

    #[test]
    fn a_folder_appears_whole_or_leaves_nothing() {
        let temp = tempfile::tempdir().expect("a folder");
        let target = temp.path().join("release");
        drop(staged(&target, b"1"));
        assert_eq!(fs::read_dir(temp.path()).expect("read").count(), 0);

        assert!(staged(&target, b"1").publish().expect("new"));
        assert!(!staged(&target, b"1").publish().expect("the same"));
        assert!(matches!(staged(&target, b"2").publish().map_err(|e| e.fault), Err(FileFault::Exists)));
        assert_eq!(fs::read(target.join("file")).expect("read"), b"1");
        assert_eq!(fs::read_dir(temp.path()).expect("read").count(), 1);
    }

    #[test]
    fn a_new_file_replaces_nothing_and_a_replacement_does() {
        let temp = tempfile::tempdir().expect("a folder");
        let path = temp.path().join("file");
        write_new(&path, b"1", 0o600).expect("written");
        assert!(matches!(write_new(&path, b"2", 0o600).map_err(|e| e.fault), Err(FileFault::Exists)));
        replace(&path, b"3", 0o600).expect("replaced");
        assert_eq!(fs::read(&path).expect("read"), b"3");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
    }
}
