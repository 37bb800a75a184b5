//! A folder whose content somebody else wrote.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, RenameFlags, Stat, fchmod, fstat, fsync, linkat,
    mkdirat, openat, renameat, renameat_with, statat, unlinkat,
};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::{FileError, FileFault, InputFile};

/// A folder, held open: renaming it or putting another in its place makes no difference.
#[derive(Debug)]
pub struct Folder {
    pub(super) handle: OwnedFd,
    path: PathBuf,
}

/// What an entry of a folder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// A file, or something else.
    Other,
}

impl Folder {
    /// Opens the folder at `path`. The path itself is trusted: links in it are followed.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let handle = openat(
            CWD,
            path,
            OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        );
        Self::opened(handle, path.to_owned())
    }

    /// Opens the folder `name` in this one, which must not be a link.
    pub fn subfolder(&self, name: impl AsRef<OsStr>) -> Result<Self, FileError> {
        let name = name.as_ref();
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Self::opened(
            openat(&self.handle, name, flags, Mode::empty()),
            self.path.join(name),
        )
    }

    /// The same folder, open once more.
    pub fn again(&self) -> Result<Self, FileError> {
        let handle = self.handle.try_clone().map_err(FileError::io(&self.path))?;
        Ok(Self {
            handle,
            path: self.path.clone(),
        })
    }

    fn opened(handle: rustix::io::Result<OwnedFd>, path: PathBuf) -> Result<Self, FileError> {
        match handle {
            Ok(handle) => Ok(Self { handle, path }),
            Err(Errno::NOTDIR | Errno::LOOP) => Err(FileError::new(
                path,
                FileFault::Kind {
                    found: "a file or a link",
                    wanted: "a folder",
                },
            )),
            Err(error) => Err(FileError::io(&path)(error.into())),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The lock on it, not taken yet.
    pub(super) fn lockable(&self) -> Result<File, FileError> {
        self.handle
            .try_clone()
            .map(File::from)
            .map_err(FileError::io(&self.path))
    }

    /// Whether this and `other` are the same folder, by whatever path.
    pub fn is_same_as(&self, other: &Self) -> Result<bool, FileError> {
        Ok(self.place()? == other.place()?)
    }

    /// Its device, and its number there.
    pub(super) fn place(&self) -> Result<(u64, u64), FileError> {
        let status = self.status()?;
        Ok((status.st_dev, status.st_ino))
    }

    /// Whether this user made it.
    pub fn is_ours(&self) -> Result<bool, FileError> {
        Ok(self.status()?.st_uid == geteuid().as_raw())
    }

    /// Whether this user made `name` in it.
    pub(super) fn made_by_us(&self, name: &OsStr) -> bool {
        self.status_of(name)
            .is_ok_and(|it| it.st_uid == geteuid().as_raw())
    }

    /// When it was changed, in seconds since 1970 by the clock of its file system.
    pub(super) fn changed(&self) -> Result<i64, FileError> {
        Ok(self.status()?.st_ctime)
    }

    /// When `name` in it was changed; nobody can set that back.
    pub(super) fn changed_at(&self, name: &OsStr) -> Result<i64, FileError> {
        Ok(self.status_of(name)?.st_ctime)
    }

    fn status(&self) -> Result<Stat, FileError> {
        fstat(&self.handle).map_err(|error| FileError::io(&self.path)(error.into()))
    }

    fn status_of(&self, name: &OsStr) -> Result<Stat, FileError> {
        statat(&self.handle, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|error| FileError::io(&self.path.join(name))(error.into()))
    }

    /// The names of everything in it, sorted; refuses a folder with more than `limit` entries.
    pub fn names(&self, limit: usize) -> Result<Vec<OsString>, FileError> {
        let entries = self.entries(limit)?;
        Ok(entries.into_iter().map(|(name, _)| name).collect())
    }

    /// The same, each with its kind.
    pub fn entries(&self, limit: usize) -> Result<Vec<(OsString, Kind)>, FileError> {
        let mut entries = Vec::new();
        self.each(|name, kind| {
            if entries.len() == limit {
                return Err(FileError::new(&self.path, FileFault::TooMany { limit }));
            }
            entries.push((name.to_owned(), kind));
            Ok(())
        })?;
        entries.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(entries)
    }

    /// Hands over everything in it, in the order of the file system, until `take` fails. Opens none
    /// of it, and keeps none of it in memory.
    pub fn each<E: From<FileError>>(
        &self,
        mut take: impl FnMut(&OsStr, Kind) -> Result<(), E>,
    ) -> Result<(), E> {
        let fail = |error: Errno| FileError::io(&self.path)(error.into());
        for entry in Dir::read_from(&self.handle).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            let kind = match entry.file_type() {
                // Not every file system says so in its listing.
                FileType::Unknown => statat(&self.handle, name, AtFlags::SYMLINK_NOFOLLOW)
                    .map_or(FileType::Unknown, |status| {
                        FileType::from_raw_mode(status.st_mode)
                    }),
                kind => kind,
            };
            let kind = match kind {
                FileType::Directory => Kind::Folder,
                FileType::Symlink => Kind::Link,
                _ => Kind::Other,
            };
            take(name, kind)?;
        }
        Ok(())
    }

    /// The folder `name` in this one; `None` if that is something else.
    pub(super) fn below(&self, name: &OsStr) -> Result<Option<Self>, FileError> {
        match self.subfolder(name) {
            Ok(below) => Ok(Some(below)),
            Err(FileError {
                fault: FileFault::Kind { .. },
                ..
            }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether there is something called `name` in it.
    pub fn has(&self, name: impl AsRef<OsStr>) -> bool {
        statat(&self.handle, name.as_ref(), AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// The same, where it matters that there surely is none.
    pub fn has_or_fails(&self, name: &str) -> Result<bool, FileError> {
        match statat(&self.handle, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(FileError::io(&self.path.join(name))(error.into())),
        }
    }

    /// Whether this folder is `other` or is in it, by whatever links it was reached.
    pub fn is_within(&self, other: &Self) -> Result<bool, FileError> {
        let mut here = self.again()?;
        loop {
            if here.is_same_as(other)? {
                return Ok(true);
            }
            // Only to look at: what is above need not be readable for us.
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let above = Self::opened(
                openat(&here.handle, "..", flags, Mode::empty()),
                here.path.join(".."),
            )?;
            if above.is_same_as(&here)? {
                return Ok(false);
            }
            here = above;
        }
    }

    /// Makes durable which names it has by now.
    pub fn sync(&self) -> Result<(), FileError> {
        fsync(&self.handle).map_err(|error| FileError::io(&self.path)(error.into()))
    }

    /// Lets everybody read it.
    pub fn publish(&self) -> Result<(), FileError> {
        fchmod(&self.handle, Mode::from_raw_mode(0o755))
            .map_err(|error| FileError::io(&self.path)(error.into()))
    }

    /// Opens the folder `name` in this one, which must not be a link; makes it where it is missing,
    /// durably and for everybody to read.
    pub fn public_subfolder(&self, name: impl AsRef<OsStr>) -> Result<Self, FileError> {
        self.subfolder_or_new(name.as_ref(), true)
    }

    /// The same, for its owner alone.
    pub fn private_subfolder(&self, name: impl AsRef<OsStr>) -> Result<Self, FileError> {
        self.subfolder_or_new(name.as_ref(), false)
    }

    fn subfolder_or_new(&self, name: &OsStr, public: bool) -> Result<Self, FileError> {
        match self.subfolder(name) {
            Err(FileError {
                fault: FileFault::Missing,
                ..
            }) => {}
            there => return there,
        }
        let path = self.path.join(name);
        mkdirat(&self.handle, name, Mode::RWXU)
            .map_err(|error| FileError::io(&path)(error.into()))?;
        let made = self.subfolder(name)?;
        if public {
            made.publish()?;
        }
        self.sync()?;
        Ok(made)
    }

    /// Begins the file `name`, which must not be there, with these permission bits.
    pub fn create(&self, name: &str, mode: u32) -> Result<File, FileError> {
        let path = self.path.join(name);
        let mode = Mode::from_raw_mode(mode);
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&self.handle, name, flags, mode);
        // Whatever the umask says.
        let file = file.and_then(|file| fchmod(&file, mode).map(|()| file));
        file.map(File::from)
            .map_err(|error| FileError::io(&path)(error.into()))
    }

    /// Gives each of two folders in this one the name of the other, in one step.
    pub(super) fn exchange(&self, one: &OsStr, other: &OsStr) -> rustix::io::Result<()> {
        renameat_with(
            &self.handle,
            one,
            &self.handle,
            other,
            RenameFlags::EXCHANGE,
        )
    }

    /// Gives the folder that is called `from` in this one a name that nothing has yet. NFS, for
    /// one, cannot be asked to replace nothing; there a folder replaces what it can: an empty
    /// folder.
    pub(super) fn rename_new(&self, from: &OsStr, to: &OsStr) -> rustix::io::Result<()> {
        match renameat_with(&self.handle, from, &self.handle, to, RenameFlags::NOREPLACE) {
            Err(Errno::INVAL | Errno::NOSYS) => {
                match renameat(&self.handle, from, &self.handle, to) {
                    Err(Errno::NOTDIR) => Err(Errno::EXIST),
                    done => done,
                }
            }
            done => done,
        }
    }

    /// The same for a file, which never replaces anything.
    pub(super) fn rename_new_file(&self, from: &OsStr, to: &OsStr) -> rustix::io::Result<()> {
        match renameat_with(&self.handle, from, &self.handle, to, RenameFlags::NOREPLACE) {
            Err(Errno::INVAL | Errno::NOSYS) => self.link_new_file(from, to),
            done => done,
        }
    }

    fn link_new_file(&self, from: &OsStr, to: &OsStr) -> rustix::io::Result<()> {
        linkat(&self.handle, from, &self.handle, to, AtFlags::empty())?;
        // It has its name; the other one can be swept.
        let _ = unlinkat(&self.handle, from, AtFlags::empty());
        Ok(())
    }

    /// Opens the regular file `name` in this folder. Anything else, a link to a regular file too,
    /// is refused.
    pub fn file(&self, name: impl AsRef<OsStr>) -> Result<InputFile, FileError> {
        let name = name.as_ref();
        // Without NONBLOCK, opening a FIFO would wait for a writer.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        InputFile::opened(
            openat(&self.handle, name, flags, Mode::empty()),
            self.path.join(name),
        )
    }

    /// Opens the regular file at `path` below this folder. No part of the path may be a link.
    pub fn file_below(&self, path: &str) -> Result<InputFile, FileError> {
        match path.split_once('/') {
            Some((folder, rest)) => self.subfolder(folder)?.file_below(rest),
            None => self.file(path),
        }
    }

    /// Reads the regular file at `path` below this folder whole; refuses one with more than `limit`
    /// bytes.
    pub fn read_below(&self, path: &str, limit: u64) -> Result<Vec<u8>, FileError> {
        self.file_below(path)?.read_whole(limit)
    }

    /// Reads the regular file `name` whole; refuses one with more than `limit` bytes.
    pub fn read(&self, name: &str, limit: u64) -> Result<Vec<u8>, FileError> {
        self.file(name)?.read_whole(limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_regular_files_of_this_folder_are_opened() {
        let temp = tempfile::tempdir().expect("a folder");
        let at = |name: &str| temp.path().join(name);
        fs::write(at("file"), b"content").expect("written");
        fs::create_dir(at("folder")).expect("made");
        symlink("file", at("link")).expect("linked");
        symlink("folder", at("folder-link")).expect("linked");
        rustix::fs::mkfifoat(CWD, at("fifo"), Mode::RUSR).expect("made");
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).expect("bound");

        let folder = Folder::open(temp.path()).expect("opened");
        assert_eq!(folder.read("file", 7).expect("read"), b"content");
        assert!(matches!(
            folder.read("file", 6).map_err(|e| e.fault),
            Err(FileFault::TooLarge { limit: 6 })
        ));
        for name in ["link", "fifo", "folder", "socket"] {
            assert!(
                matches!(
                    folder.file(name).map_err(|e| e.fault),
                    Err(FileFault::Kind { .. })
                ),
                "{name}"
            );
        }
        assert!(matches!(
            folder.file("none").map_err(|e| e.fault),
            Err(FileFault::Missing)
        ));
        assert!(folder.subfolder("folder").is_ok());
        fs::write(at("folder/below"), b"below").expect("written");
        assert_eq!(
            folder.read_below("folder/below", 5).expect("read"),
            b"below"
        );
        assert_eq!(folder.read_below("file", 7).expect("read"), b"content");
        let through_a_link = folder
            .read_below("folder-link/below", 5)
            .map_err(|error| error.fault);
        assert!(matches!(through_a_link, Err(FileFault::Kind { .. })));
        assert!(matches!(
            folder.subfolder("folder-link").map_err(|e| e.fault),
            Err(FileFault::Kind { .. })
        ));
        assert_eq!(folder.names(10).expect("listed").len(), 6);
        assert!(matches!(
            folder.names(5).map_err(|e| e.fault),
            Err(FileFault::TooMany { limit: 5 })
        ));
    }

    #[test]
    fn a_file_without_a_rename_that_replaces_nothing_replaces_nothing() {
        let temp = tempfile::tempdir().expect("a folder");
        let at = |name: &str| temp.path().join(name);
        for name in ["one", "other"] {
            fs::write(at(name), name).expect("written");
        }
        fs::create_dir(at("folder")).expect("made");
        let folder = Folder::open(temp.path()).expect("opened");
        let link = |from: &str, to: &str| folder.link_new_file(from.as_ref(), to.as_ref());
        for there in ["one", "folder"] {
            assert_eq!(link("other", there), Err(Errno::EXIST));
        }
        assert_eq!(folder.read("one", 9).expect("read"), b"one");
        link("other", "new").expect("new");
        assert_eq!(folder.names(9).expect("listed"), ["folder", "new", "one"]);
    }

    #[test]
    fn nothing_is_written_through_a_link() {
        let temp = tempfile::tempdir().expect("a folder");
        let at = |name: &str| temp.path().join(name);
        fs::create_dir_all(at("private/below")).expect("made");
        fs::write(at("private/file"), b"1").expect("written");
        fs::create_dir(at("public")).expect("made");
        for name in ["private", "private/file", "private/none"] {
            symlink(at(name), at("public").join(name.replace('/', "-"))).expect("linked");
        }
        let public = Folder::open(&at("public")).expect("opened");
        assert!(matches!(
            public.public_subfolder("private").map_err(|e| e.fault),
            Err(FileFault::Kind { .. })
        ));
        assert!(matches!(
            public.create("private-none", 0o644).map_err(|e| e.fault),
            Err(FileFault::Exists)
        ));
        public
            .replace("private-file", b"2", 0o644)
            .expect("replaced");
        let read = |name| fs::read(at(name)).expect("read");
        assert_eq!(
            (read("private/file"), read("public/private-file")),
            (b"1".to_vec(), b"2".to_vec())
        );

        let private = Folder::open(&at("private")).expect("opened");
        for (name, within) in [
            ("private", true),
            ("private/below", true),
            ("public/private", true),
            ("public", false),
        ] {
            assert_eq!(
                Folder::open(&at(name))
                    .and_then(|it| it.is_within(&private))
                    .expect("a path"),
                within,
                "{name}"
            );
        }
        assert!(
            !Folder::open(Path::new("/"))
                .and_then(|it| it.is_within(&private))
                .expect("a path")
        );
    }
}
