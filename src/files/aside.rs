//! What is written under a name that nobody could look for, until it gets its own.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use rustix::fs::{AtFlags, Mode, mkdirat, renameat, unlinkat};

use super::leftovers::{LENGTH, Run, is_aside, random_id};
use super::{ASIDE, FileError, Folder, Owner};

/// A file that is complete and durable, and has no name of its own yet. Dropped before that, it is
/// removed.
#[derive(Debug)]
pub struct AsideFile<'a> {
    folder: &'a Folder,
    aside: Option<String>,
    path: PathBuf,
}

impl AsideFile<'_> {
    /// Gives it its name, durably. Replaces nothing: [`Exists`](super::FileFault::Exists).
    pub fn appear(mut self) -> Result<(), FileError> {
        self.rename(Folder::rename_new_file)?;
        self.folder.sync()
    }

    /// The same; if it cannot have its name now, it stays as it is.
    pub(super) fn appear_or_stay(mut self) -> Result<(), FileError> {
        let done = self.rename(Folder::rename_new_file);
        self.aside = None;
        done?;
        self.folder.sync()
    }

    /// Removes it, durably.
    pub(super) fn discard(mut self) -> Result<(), FileError> {
        let aside = self.aside.take().expect("it has its name only at the end");
        self.folder.remove_file(aside)?;
        self.folder.sync()
    }

    fn replace(mut self) -> Result<(), FileError> {
        self.rename(|folder, from, to| renameat(&folder.handle, from, &folder.handle, to))
    }

    fn rename(
        &mut self,
        rename: impl FnOnce(&Folder, &OsStr, &OsStr) -> rustix::io::Result<()>,
    ) -> Result<(), FileError> {
        let aside = self.aside.as_deref().expect("it has its name only here");
        let name = self.path.file_name().expect("it was given a name");
        rename(self.folder, aside.as_ref(), name)
            .map_err(|error| FileError::io(&self.path)(error.into()))?;
        self.aside = None;
        Ok(())
    }
}

impl Drop for AsideFile<'_> {
    fn drop(&mut self) {
        if let Some(aside) = &self.aside {
            // What went wrong first matters more.
            let _ = unlinkat(&self.folder.handle, aside.as_str(), AtFlags::empty());
        }
    }
}

impl Folder {
    /// Writes the file `name` in place of whatever file or link is there, with these permission
    /// bits; the old or the new, never a mixture.
    pub fn replace(&self, name: &str, bytes: &[u8], mode: u32) -> Result<(), FileError> {
        self.prepare(name, bytes, mode)?.replace()?;
        self.sync()
    }

    /// The same in a folder that others write to, where it does not matter that a power cut can
    /// lose it: waiting for the disk ten thousand times is what takes the time.
    pub fn replace_soon(
        &self,
        name: &str,
        bytes: &[u8],
        mode: u32,
        owner: &Owner,
    ) -> Result<(), FileError> {
        let (aside, _) = self.write_as(owner.name(), name, bytes, mode)?;
        aside.replace()
    }

    /// As [`Folder::replace`], in a folder that others write to.
    pub fn replace_among(
        &self,
        name: &str,
        bytes: &[u8],
        mode: u32,
        owner: &Owner,
    ) -> Result<(), FileError> {
        let (aside, file) = self.write_as(owner.name(), name, bytes, mode)?;
        file.sync_all().map_err(FileError::io(&aside.path))?;
        aside.replace()?;
        self.sync()
    }

    /// Writes the file `name`, with these permission bits, except that it does not have its name
    /// yet.
    pub fn prepare(&self, name: &str, bytes: &[u8], mode: u32) -> Result<AsideFile<'_>, FileError> {
        let aside = format!("{ASIDE}{}", random_id());
        let (aside, file) = self.write_as(aside, name, bytes, mode)?;
        file.sync_all().map_err(FileError::io(&aside.path))?;
        Ok(aside)
    }

    /// As [`Folder::prepare`], for a file that appears after the folder `before` in another place;
    /// durable in each of its states.
    pub(super) fn prepare_with(
        &self,
        before: &OsStr,
        name: &str,
        bytes: &[u8],
        mode: u32,
    ) -> Result<AsideFile<'_>, FileError> {
        let aside = format!("{}-{name}", before.to_string_lossy());
        let (file, open) = self.write_as(aside, name, bytes, mode)?;
        open.sync_all().map_err(FileError::io(&file.path))?;
        self.sync()?;
        Ok(file)
    }

    /// Removes such a file, durably, as far as it was made.
    pub(super) fn forget(&self, before: &OsStr, name: &str) -> Result<(), FileError> {
        self.remove_file(format!("{}-{name}", before.to_string_lossy()))?;
        self.sync()
    }

    /// Finishes what [`StagedFolder::publish_with`](super::StagedFolder::publish_with) began in a
    /// run that was killed: files in this folder, whose folders appear in `above`. Nobody may be
    /// writing one now.
    pub fn settle(&self, above: &Self) -> Result<(), FileError> {
        for aside in self.names(usize::MAX)? {
            let Some((before, name)) = aside.to_str().and_then(of_both) else {
                continue;
            };
            // Of what is being filled, nothing has appeared; else it did, and may be gone since.
            if above.has_or_fails(before)? || self.has(name) {
                self.remove_file(&aside)?;
            } else {
                self.rename_new_file(&aside, name.as_ref())
                    .map_err(|error| FileError::io(&self.path().join(name))(error.into()))?;
            }
            self.sync()?;
        }
        Ok(())
    }

    fn write_as(
        &self,
        aside: String,
        name: &str,
        bytes: &[u8],
        mode: u32,
    ) -> Result<(AsideFile<'_>, File), FileError> {
        let path = self.path().join(name);
        let mut file = self
            .create(&aside, mode)
            .map_err(|error| FileError::new(&path, error.fault))?;
        let aside = AsideFile {
            folder: self,
            aside: Some(aside),
            path,
        };
        file.write_all(bytes).map_err(FileError::io(&aside.path))?;
        Ok((aside, file))
    }

    /// Moves the folder `name` into another one, durably; with more to its name where there is one
    /// like it.
    pub fn move_into(&self, name: &str, other: &Self) -> Result<(), FileError> {
        let to = if other.has(name) {
            format!("{name}.{}", random_id())
        } else {
            name.to_owned()
        };
        renameat(&self.handle, name, &other.handle, &to)
            .map_err(|error| FileError::io(&other.path().join(to))(error.into()))?;
        other.sync()?;
        self.sync()
    }

    /// Makes the folder of a run, which its owner alone can open; returns its name too.
    pub(super) fn aside(&self, run: &Run) -> Result<(OsString, Self), FileError> {
        let name = run.name();
        mkdirat(&self.handle, &name, Mode::RWXU)
            .map_err(|error| FileError::io(self.path())(error.into()))?;
        let folder = self.subfolder(&name).inspect_err(|_| {
            // What went wrong first matters more.
            let _ = unlinkat(&self.handle, &name, AtFlags::REMOVEDIR);
        })?;
        Ok((name, folder))
    }

    /// Removes what runs that were killed left of files that were to appear in it. Nobody may be
    /// writing one now.
    pub fn sweep(&self) -> Result<(), FileError> {
        for name in self.names(usize::MAX)? {
            if is_aside(&name) {
                // Somebody else's, if it stays.
                let _ = unlinkat(&self.handle, &name, AtFlags::empty());
            }
        }
        Ok(())
    }
}

/// The names of a folder and of a file behind it, from that of the file while it is written.
fn of_both(aside: &str) -> Option<(&str, &str)> {
    let (before, name) = aside.split_at_checked(LENGTH)?;
    let name = name.strip_prefix('-')?;
    before.starts_with(ASIDE).then_some((before, name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_was_left_of_files_is_removed_and_what_cannot_be_is_left() {
        let temp = tempfile::tempdir().expect("a folder");
        fs::create_dir(temp.path().join(".countersign-folder")).expect("made");
        fs::write(temp.path().join(".countersign-file"), b"").expect("written");
        let folder = Folder::open(temp.path()).expect("opened");
        folder.replace("file", b"1", 0o644).expect("written");
        folder.sweep().expect("swept");
        assert_eq!(
            folder.names(9).expect("listed"),
            [".countersign-folder", "file"]
        );
    }

    #[test]
    fn what_is_prepared_appears_once_or_leaves_nothing() {
        let temp = tempfile::tempdir().expect("a folder");
        let folder = Folder::open(temp.path()).expect("opened");
        drop(folder.prepare("file", b"1", 0o644).expect("prepared"));
        assert_eq!(folder.names(9).expect("listed"), [""; 0]);
        let prepare = |bytes| folder.prepare("file", bytes, 0o644).expect("prepared");
        let (one, other) = (prepare(b"1"), prepare(b"2"));
        one.appear().expect("new");
        let error = other.appear().expect_err("there already");
        assert!(matches!(error.fault, super::super::FileFault::Exists));
        assert_eq!(folder.names(9).expect("listed"), ["file"]);
        assert_eq!(folder.read("file", 9).expect("read"), b"1");
    }
}
