//! Output that appears complete or not at all: written aside, made durable, then renamed into place.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FlockOperation, OFlags, RenameFlags, flock, renameat, renameat_with};
use rustix::io::Errno;

use super::{FileError, FileFault};

/// What the names of folders and files begin with that are still being written.
const ASIDE: &str = ".countersign-";
const TRY: FlockOperation = FlockOperation::NonBlockingLockExclusive;

/// A folder that is filled aside and then appears under its name in one step. Dropped before that, it leaves nothing.
#[derive(Debug)]
pub struct StagedFolder {
    aside: tempfile::TempDir,
    /// Locked while the folder is in use: what can be locked was left behind.
    _held: File,
    target: PathBuf,
}

/// A file in a [`StagedFolder`] while it is written.
#[derive(Debug)]
pub struct StagedFile {
    file: File,
    path: PathBuf,
}

impl StagedFolder {
    /// Begins a folder that will be called `target`; the folder above it must exist. Until it appears, nobody else sees
    /// into it. What runs that were killed left there is removed.
    pub fn new(target: &Path) -> Result<Self, FileError> {
        let parent = parent(target);
        sweep(parent)?;
        let aside = tempfile::Builder::new()
            .prefix(ASIDE)
            .permissions(fs::Permissions::from_mode(0o700))
            .tempdir_in(parent)
            .map_err(FileError::io(parent))?;
        let held = File::open(aside.path()).and_then(|folder| Ok(flock(&folder, TRY).map(|()| folder)?));
        let held = held.map_err(FileError::io(aside.path()))?;
        Ok(Self { aside, _held: held, target: target.to_owned() })
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
        let (root, mut folder) = (self.aside.path(), self.aside.path().to_owned());
        let mut parts = Path::new(path).components().peekable();
        while let Some(part) = parts.next() {
            folder.push(part);
            if parts.peek().is_some() && !folder.is_dir() {
                fs::create_dir(&folder).map_err(FileError::io(&folder))?;
                publicly(&folder, 0o755)?;
            }
        }
        let path = folder;
        debug_assert!(path.starts_with(root), "names of files have been checked");
        let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o644).open(&path);
        let file = file.map_err(FileError::io(&path))?;
        publicly(&path, 0o644)?;
        Ok(StagedFile { file, path })
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
        publicly(aside, 0o755)?;
        sync_folders(aside)?;
        match rename_new(aside, &self.target) {
            Ok(()) => {
                let _gone = self.aside.keep();
                sync_folder(parent(&self.target))?;
                Ok(true)
            }
            Err(Errno::EXIST | Errno::NOTEMPTY) => {
                if same_tree(aside, &self.target).map_err(FileError::io(&self.target))? {
                    // It appeared in a run that may have been cut off before this.
                    sync_folder(parent(&self.target))?;
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

/// Gives a folder a name that nothing bears yet. NFS, for one, cannot be asked to replace nothing; there a folder replaces what
/// it can: an empty folder.
fn rename_new(from: &Path, to: &Path) -> rustix::io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS) => match renameat(CWD, from, CWD, to) {
            Err(Errno::NOTDIR) => Err(Errno::EXIST),
            done => done,
        },
        done => done,
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
        // Not through a link that was put there since the file was read: what it leads to is not ours to wipe.
        let no_link = i32::try_from(OFlags::NOFOLLOW.bits()).expect("a flag fits");
        let mut file = fs::OpenOptions::new().write(true).custom_flags(no_link).open(path)?;
        let size = file.metadata()?.len();
        io::copy(&mut io::repeat(0).take(size), &mut file)?;
        file.sync_all()?;
        fs::remove_file(path)
    };
    overwrite().map_err(FileError::io(path))?;
    sync_folder(parent(path))
}

/// Makes a folder that nobody but its owner can open, and those above it that are missing; leaves alone one that is there.
pub fn make_private(folder: &Path) -> Result<(), FileError> {
    if folder.is_dir() {
        return Ok(());
    }
    let above = parent(folder);
    make_private(above)?;
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(FileError::io(folder)(error)),
        _ => {}
    }
    sync_folder(above)
}

/// Removes what runs that were killed left in `folder` of files that were to appear there. Nobody may be writing one now.
pub fn sweep_files(folder: &Path) -> Result<(), FileError> {
    for entry in fs::read_dir(folder).map_err(FileError::io(folder))? {
        let entry = entry.map_err(FileError::io(folder))?;
        if is_aside(&entry) && entry.file_type().is_ok_and(|kind| kind.is_file()) {
            fs::remove_file(entry.path()).map_err(FileError::io(&entry.path()))?;
        }
    }
    Ok(())
}

fn is_aside(entry: &fs::DirEntry) -> bool {
    entry.file_name().as_encoded_bytes().starts_with(ASIDE.as_bytes())
}

fn aside(path: &Path, bytes: &[u8], mode: u32) -> Result<tempfile::NamedTempFile, FileError> {
    let parent = parent(path);
    let mut file = tempfile::Builder::new()
        .prefix(ASIDE)
        .permissions(fs::Permissions::from_mode(mode))
        .tempfile_in(parent)
        .map_err(FileError::io(parent))?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(FileError::io(path))?;
    Ok(file)
}

/// The folder above; `.` for a bare name.
pub fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// A release is public, whatever the umask of whoever made it.
fn publicly(path: &Path, mode: u32) -> Result<(), FileError> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(FileError::io(path))
}

/// Removes the folders aside that no process holds.
fn sweep(parent: &Path) -> Result<(), FileError> {
    for entry in fs::read_dir(parent).map_err(FileError::io(parent))? {
        let entry = entry.map_err(FileError::io(parent))?;
        if is_aside(&entry) && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let left_behind = File::open(entry.path()).is_ok_and(|folder| flock(&folder, TRY).is_ok());
            if left_behind {
                // Somebody else's, if it stays.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
    Ok(())
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
    fn what_a_killed_run_left_is_removed_and_what_another_holds_is_not() {
        let temp = tempfile::tempdir().expect("a folder");
        let held = staged(&temp.path().join("one"), b"1");
        fs::create_dir(temp.path().join(".countersign-left")).expect("made");
        assert!(staged(&temp.path().join("two"), b"2").publish().expect("new"));
        assert!(!temp.path().join(".countersign-left").exists());
        assert!(held.publish().expect("new"));
        let modes = ["one", "one/file", "one/deep", "one/deep/er"]
            .map(|path| fs::metadata(temp.path().join(path)).expect("there").permissions().mode() & 0o777);
        assert_eq!(modes, [0o755, 0o644, 0o755, 0o755]);
    }

    #[test]
    fn what_a_link_leads_to_is_not_wiped() {
        let temp = tempfile::tempdir().expect("a folder");
        let (link, file) = (temp.path().join("link"), temp.path().join("file"));
        fs::write(&file, b"1").expect("written");
        std::os::unix::fs::symlink(&file, &link).expect("linked");
        assert!(wipe(&link).is_err());
        assert_eq!(fs::read(&file).expect("read"), b"1");
        wipe(&file).expect("wiped");
        assert!(!file.exists());
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
