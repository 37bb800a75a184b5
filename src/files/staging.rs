//! Folders that appear complete or not at all: filled aside, made durable, then renamed into place.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::leftovers::Run;
use super::{FileError, FileFault, Folder, Owner, parent};

/// A folder that is filled aside and then appears under its name in one step. Dropped before that,
/// it leaves nothing.
///
/// Anyone who may write beside it can put something else in its place: it is held open, and nothing
/// is written or removed by its path.
#[derive(Debug)]
pub struct StagedFolder {
    /// Its name, until it appears.
    aside: Option<OsString>,
    above: Folder,
    folder: Folder,
    /// Ends when the folder has its name or is gone.
    _run: Run,
    name: OsString,
    target: PathBuf,
}

/// A file in a [`StagedFolder`] while it is written.
#[derive(Debug)]
pub struct StagedFile {
    file: File,
    path: PathBuf,
}

impl StagedFolder {
    /// Begins a folder that will be called `target`; the folder above it must exist. Until it
    /// appears, nobody else sees into it. What runs of its owner that were killed left there is
    /// removed.
    pub fn new(target: &Path, owner: &Owner) -> Result<Self, FileError> {
        let name = target
            .file_name()
            .ok_or_else(|| FileError::new(target, FileFault::Exists))?;
        let above = Folder::open(parent(target))?;
        Self::begin(&above, target.to_owned(), name, owner)
    }

    /// The same in a folder that is open.
    pub fn new_in(
        above: &Folder,
        name: impl AsRef<OsStr>,
        owner: &Owner,
    ) -> Result<Self, FileError> {
        let name = name.as_ref();
        Self::begin(above, above.path().join(name), name, owner)
    }

    fn begin(
        above: &Folder,
        target: PathBuf,
        name: &OsStr,
        owner: &Owner,
    ) -> Result<Self, FileError> {
        owner.sweep(above)?;
        let above = above.again()?;
        // Its lock is there before the folder is.
        let run = owner.begin()?;
        let (aside, folder) = above.aside(&run).map_err(FileError::of_ours)?;
        Ok(Self {
            aside: Some(aside),
            above,
            folder,
            _run: run,
            name: name.to_owned(),
            target,
        })
    }

    /// What it will be called.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Whether there is something of its name already.
    pub fn occupied(&self) -> bool {
        self.above.has(&self.name)
    }

    /// Begins the file `path` in it, readable for all; folders before it are made.
    pub fn file(&self, path: &str) -> Result<StagedFile, FileError> {
        self.begin_file(path).map_err(FileError::of_ours)
    }

    fn begin_file(&self, path: &str) -> Result<StagedFile, FileError> {
        let (folders, name) = path.rsplit_once('/').unwrap_or(("", path));
        let mut into = self.folder.again()?;
        for folder in folders.split('/').filter(|folder| !folder.is_empty()) {
            into = into.public_subfolder(folder)?;
        }
        Ok(StagedFile {
            file: into.create(name, 0o644)?,
            path: into.path().join(name),
        })
    }

    /// Writes the file `path` in it.
    pub fn write(&self, path: &str, bytes: &[u8]) -> Result<(), FileError> {
        let mut file = self.file(path)?;
        file.write(bytes)?;
        file.finish()
    }

    /// Makes it appear. A folder that is there already is left alone: the same content is success
    /// (`false`), other content an error.
    pub fn publish(mut self) -> Result<bool, FileError> {
        self.appear()
    }

    /// Makes it appear, together with a file in another folder that has to be there exactly if it
    /// is: whatever ends this in between, [`Folder::settle`] finishes it.
    pub fn publish_with(
        mut self,
        into: &Folder,
        name: &str,
        bytes: &[u8],
        mode: u32,
    ) -> Result<bool, FileError> {
        let aside = self.aside.as_deref().expect("it has not appeared");
        // While the folder has this name, it has not appeared.
        self.above.sync()?;
        let file = match into.prepare_with(aside, name, bytes, mode) {
            Ok(file) => file,
            Err(error) => {
                if into.forget(aside, name).is_err() {
                    // The folder tells that it did not appear: it stays, locked, for the next run.
                    std::mem::forget(self);
                }
                return Err(error);
            }
        };
        match self.appear() {
            Ok(new) => {
                file.appear_or_stay()?;
                Ok(new)
            }
            // It appeared, and its name may not be on the disk.
            Err(error) if self.aside.is_none() => {
                file.appear_or_stay()?;
                Err(error)
            }
            Err(error) => {
                if file.discard().is_err() {
                    // As above.
                    std::mem::forget(self);
                }
                Err(error)
            }
        }
    }

    /// Makes it appear in place of the folder of its name, which is removed: the one or the other,
    /// never none. Not every file system can do that.
    pub fn exchange(mut self) -> Result<(), FileError> {
        self.make_ready()?;
        let replaced = self.above.subfolder(&self.name)?;
        let from = self.aside.take().expect("it has not appeared");
        self.above
            .exchange(&from, &self.name)
            .map_err(|error| match error {
                Errno::INVAL | Errno::NOSYS => std::io::Error::other(
                    "a successor needs a file system that can exchange two folders in one step",
                ),
                error => error.into(),
            })
            .map_err(|error| FileError::io(&self.target)(error).of_ours())
            .inspect_err(|_| self.aside = Some(from.clone()))?;
        self.above.sync()?;
        // The older one has that name now; if it stays, the next run sweeps it.
        let _ = self.above.remove_own(&from, &replaced);
        Ok(())
    }

    fn make_ready(&self) -> Result<(), FileError> {
        let ready = self.folder.publish();
        let ready = ready.and_then(|()| sync_folders(&self.folder));
        ready.map_err(FileError::of_ours)
    }

    fn appear(&mut self) -> Result<bool, FileError> {
        self.make_ready()?;
        let from = self.aside.as_deref().expect("it has not appeared");
        match self.above.rename_new(from, &self.name) {
            Ok(()) => {
                self.aside = None;
                self.above.sync()?;
                Ok(true)
            }
            Err(Errno::EXIST | Errno::NOTEMPTY) => {
                let there = self.above.below(&self.name)?;
                if there.map_or(Ok(false), |there| same_tree(&self.folder, &there))? {
                    // It appeared in a run that may have been interrupted before this.
                    self.above.sync()?;
                    Ok(false)
                } else {
                    Err(FileError::new(&self.target, FileFault::Exists))
                }
            }
            Err(error) => Err(FileError::io(&self.target)(error.into()).of_ours()),
        }
    }
}

impl Drop for StagedFolder {
    fn drop(&mut self) {
        if let Some(aside) = &self.aside {
            // What went wrong first matters more.
            let _ = self.above.remove_own(aside, &self.folder);
        }
    }
}

impl StagedFile {
    /// Appends to it.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        self.file
            .write_all(bytes)
            .map_err(FileError::io(&self.path))
    }

    /// Makes it durable.
    pub fn finish(self) -> Result<(), FileError> {
        self.sync()
    }

    /// Makes durable what was written by now.
    pub fn sync(&self) -> Result<(), FileError> {
        self.file.sync_all().map_err(FileError::io(&self.path))
    }
}

fn sync_folders(folder: &Folder) -> Result<(), FileError> {
    for name in folder.names(usize::MAX)? {
        if let Some(below) = folder.below(&name)? {
            sync_folders(&below)?;
        }
    }
    folder.sync()
}

/// Whether two folders have the same files with the same bytes.
fn same_tree(ours: &Folder, other: &Folder) -> Result<bool, FileError> {
    let names = ours.names(usize::MAX)?;
    match other.names(names.len()) {
        Ok(others) if others == names => {}
        Ok(_)
        | Err(FileError {
            fault: FileFault::TooMany { .. },
            ..
        }) => return Ok(false),
        Err(error) => return Err(error),
    }
    for name in names {
        let same = match (ours.below(&name)?, other.below(&name)?) {
            (Some(ours), Some(other)) => same_tree(&ours, &other)?,
            (None, None) => same_bytes(ours, other, &name)?,
            _ => false,
        };
        if !same {
            return Ok(false);
        }
    }
    Ok(true)
}

fn same_bytes(ours: &Folder, other: &Folder, name: &OsStr) -> Result<bool, FileError> {
    let ours = ours.file(name)?;
    let other = match other.file(name) {
        Ok(other) if other.size() == ours.size() => other,
        Ok(_)
        | Err(FileError {
            fault: FileFault::Kind { .. },
            ..
        }) => return Ok(false),
        Err(error) => return Err(error),
    };
    ours.has_bytes_of(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    /// Of this test, however often it is asked for.
    fn owner() -> Owner {
        thread_local! {
            static OWNER: (tempfile::TempDir, Owner) = {
                let temp = tempfile::tempdir().expect("a folder");
                let folder = Folder::open(temp.path()).expect("opened");
                let owner = Owner::open(folder).expect("an owner");
                (temp, owner)
            };
        }
        OWNER.with(|(_, owner)| owner.clone())
    }

    fn aside(temp: &tempfile::TempDir, folder: &StagedFolder) -> PathBuf {
        temp.path()
            .join(folder.aside.as_ref().expect("not there yet"))
    }

    fn staged(target: &Path, content: &[u8]) -> StagedFolder {
        let staged = StagedFolder::new(target, &owner()).expect("begun");
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
        assert!(matches!(
            staged(&target, b"2").publish().map_err(|e| e.fault),
            Err(FileFault::Exists)
        ));
        assert_eq!(fs::read(target.join("file")).expect("read"), b"1");
        assert_eq!(fs::read_dir(temp.path()).expect("read").count(), 1);
    }

    #[test]
    fn what_a_killed_run_left_is_removed_and_what_another_uses_is_not() {
        let temp = tempfile::tempdir().expect("a folder");
        let held = staged(&temp.path().join("one"), b"1");
        let above = Folder::open(temp.path()).expect("opened");
        let run = owner().begin().expect("begun");
        let (left, _) = above.aside(&run).expect("made");
        drop(run);
        assert!(
            staged(&temp.path().join("two"), b"2")
                .publish()
                .expect("new")
        );
        assert!(!above.has(left));
        assert!(held.publish().expect("new"));
        let modes = ["one", "one/file", "one/deep", "one/deep/er"].map(|path| {
            fs::metadata(temp.path().join(path))
                .expect("there")
                .permissions()
                .mode()
                & 0o777
        });
        assert_eq!(modes, [0o755, 0o644, 0o755, 0o755]);
    }

    #[test]
    fn what_is_put_in_the_place_of_a_folder_is_not_written_to() {
        let temp = tempfile::tempdir().expect("a folder");
        let at = |name: &str| temp.path().join(name);
        let private = at("private");
        let stolen = at("stolen");
        let target = at("one");
        crate::files::make_private(&private).expect("made");
        let folder = staged(&target, b"1");
        let aside = aside(&temp, &folder);
        fs::rename(&aside, &stolen).expect("taken away");
        std::os::unix::fs::symlink(&private, &aside).expect("linked");
        folder.write("after", b"2").expect("written");
        folder.write("deep/after", b"2").expect("written");
        // Anyone who can do that can give its name to anything.
        folder.publish().expect("renamed");
        assert_eq!(fs::read_link(&target).expect("the link"), private);
        assert_eq!(fs::read_dir(&private).expect("read").count(), 0);
        assert_eq!(
            fs::metadata(&private).expect("there").permissions().mode() & 0o777,
            0o700
        );
        assert!(stolen.join("after").exists() && stolen.join("deep/after").exists());
    }

    /// Nobody named it, so nobody can correct it.
    #[test]
    fn what_happens_to_our_own_folder_is_trouble() {
        let temp = tempfile::tempdir().expect("a folder");
        let removed = || {
            let folder = staged(&temp.path().join("one"), b"1");
            fs::remove_dir_all(aside(&temp, &folder)).expect("removed");
            folder
        };
        let in_the_way = || {
            let folder = staged(&temp.path().join("one"), b"1");
            fs::write(aside(&temp, &folder).join("after"), b"").expect("written");
            folder
        };
        for error in [
            removed().file("after").expect_err("no folder"),
            removed().write("deep/after", b"2").expect_err("no folder"),
            removed().publish().expect_err("no folder"),
            in_the_way().file("after").expect_err("occupied"),
        ] {
            let code = miette::Diagnostic::code(&error)
                .expect("a code")
                .to_string();
            assert!(code.starts_with("trouble::"), "{error}: {code}");
        }
    }

    #[test]
    fn only_the_same_files_are_the_same_folder() {
        let temp = tempfile::tempdir().expect("a folder");
        let target = temp.path().join("release");
        let there = |change: &dyn Fn(&Path)| {
            staged(&target, b"1").publish().expect("new");
            change(&target);
            let again = staged(&target, b"1").publish();
            fs::remove_dir_all(&target)
                .or_else(|_| fs::remove_file(&target))
                .expect("removed");
            again.map_err(|error| error.fault)
        };
        assert!(matches!(there(&|_| {}), Ok(false)));
        let changes: [&dyn Fn(&Path); 5] = [
            &|path| fs::write(path.join("file"), b"2").expect("written"),
            &|path| fs::write(path.join("more"), b"").expect("written"),
            &|path| fs::remove_dir_all(path.join("deep/er")).expect("removed"),
            &|path| {
                fs::rename(path.join("file"), temp.path().join("moved")).expect("moved");
                std::os::unix::fs::symlink("../moved", path.join("file")).expect("linked");
            },
            &|path| {
                fs::rename(path, temp.path().join("elsewhere")).expect("moved");
                std::os::unix::fs::symlink("elsewhere", path).expect("linked");
            },
        ];
        for change in changes {
            assert!(matches!(there(change), Err(FileFault::Exists)));
        }
    }
}
