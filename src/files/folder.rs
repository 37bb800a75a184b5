//! A folder whose content somebody else wrote.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, RenameFlags, fchmod, fstat, fsync, mkdirat, openat,
    renameat, renameat_with, unlinkat,
};
use rustix::io::Errno;

use zeroize::Zeroizing;

use super::{ASIDE, FileError, FileFault};

/// 64 KiB: larger buffers made SHA-256 slower, by about 40 % at 256 KiB.
const BUFFER: usize = 64 << 10;

/// A folder, held open: renaming it or putting another in its place changes nothing for us.
#[derive(Debug)]
pub struct Folder {
    handle: OwnedFd,
    path: PathBuf,
}

/// A regular file, open for its one read.
#[derive(Debug)]
pub struct InputFile {
    file: File,
    path: PathBuf,
    size: u64,
}

impl Folder {
    /// Opens the folder at `path`. The path itself is the caller's word: links in it are followed.
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
        let place = |folder: &Self| {
            let status =
                fstat(&folder.handle).map_err(|error| FileError::io(&folder.path)(error.into()))?;
            Ok::<_, FileError>((status.st_dev, status.st_ino))
        };
        Ok(place(self)? == place(other)?)
    }

    /// The names of everything in it, sorted; refuses a folder with more than `limit` entries.
    pub fn names(&self, limit: usize) -> Result<Vec<OsString>, FileError> {
        let fail = |error: rustix::io::Errno| FileError::io(&self.path)(error.into());
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.handle).map_err(fail)? {
            let name = OsStr::from_bytes(entry.map_err(fail)?.file_name().to_bytes()).to_owned();
            if name == "." || name == ".." {
                continue;
            }
            if names.len() == limit {
                return Err(FileError::new(&self.path, FileFault::TooMany { limit }));
            }
            names.push(name);
        }
        names.sort();
        Ok(names)
    }

    /// Whether this folder is `other` or stands in it, by whatever links it was reached.
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
        let name = name.as_ref();
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
        made.publish()?;
        self.sync()?;
        Ok(made)
    }

    /// Begins the file `name`, which must not be there, with these permission bits.
    pub fn create(&self, name: &str, mode: u32) -> Result<File, FileError> {
        let (path, mode) = (self.path.join(name), Mode::from_raw_mode(mode));
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&self.handle, name, flags, mode);
        // Whatever the umask says.
        let file = file.and_then(|file| fchmod(&file, mode).map(|()| file));
        file.map(File::from)
            .map_err(|error| FileError::io(&path)(error.into()))
    }

    /// Gives the folder that is called `from` in this one a name that nothing bears yet. NFS, for
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

    /// Writes the file `name` in place of whatever file or link is there, with these permission
    /// bits; the old or the new, never a mixture.
    pub fn replace(&self, name: &str, bytes: &[u8], mode: u32) -> Result<(), FileError> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).expect("the operating system has random bytes");
        let aside = format!("{ASIDE}{:016x}", u64::from_ne_bytes(random));
        let path = self.path.join(name);
        // Its name is nothing that anybody could look for.
        let mut file = self
            .create(&aside, mode)
            .map_err(|error| FileError::new(&path, error.fault))?;
        let written = file.write_all(bytes).and_then(|()| file.sync_all());
        let renamed =
            written.and_then(|()| Ok(renameat(&self.handle, &aside, &self.handle, name)?));
        renamed.map_err(|error| {
            // What went wrong first matters more.
            let _ = unlinkat(&self.handle, &aside, AtFlags::empty());
            FileError::io(&path)(error)
        })?;
        self.sync()
    }

    /// Removes what runs that were killed left of files that were to appear in it. Nobody may be
    /// writing one now.
    pub fn sweep(&self) -> Result<(), FileError> {
        for name in self.names(usize::MAX)? {
            if name.as_bytes().starts_with(ASIDE.as_bytes()) {
                // Somebody else's, if it stays.
                let _ = unlinkat(&self.handle, &name, AtFlags::empty());
            }
        }
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

    /// Reads the regular file at `path` below this folder whole; refuses one with more than `limit`
    /// bytes. No part of the path may be a link.
    pub fn read_below(&self, path: &str, limit: u64) -> Result<Vec<u8>, FileError> {
        match path.split_once('/') {
            Some((folder, rest)) => self.subfolder(folder)?.read_below(rest, limit),
            None => self.read(path, limit),
        }
    }

    /// Reads the regular file `name` whole; refuses one with more than `limit` bytes.
    pub fn read(&self, name: &str, limit: u64) -> Result<Vec<u8>, FileError> {
        self.file(name)?.read_whole(limit)
    }
}

impl InputFile {
    /// Opens the regular file at `path`. The folders before it are the caller's word; the file
    /// itself must not be a link.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Self::opened(openat(CWD, path, flags, Mode::empty()), path.to_owned())
    }

    /// Opens what the caller at the terminal named: links are followed, as in any command.
    pub fn open_named(path: &Path) -> Result<Self, FileError> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Self::opened(openat(CWD, path, flags, Mode::empty()), path.to_owned())
    }

    fn opened(handle: rustix::io::Result<OwnedFd>, path: PathBuf) -> Result<Self, FileError> {
        let refuse = |found| FileFault::Kind {
            found,
            wanted: "a regular file",
        };
        let handle = match handle {
            Ok(handle) => handle,
            Err(Errno::LOOP) => return Err(FileError::new(path, refuse("a symbolic link"))),
            Err(Errno::NXIO) => return Err(FileError::new(path, refuse("a socket"))),
            Err(error) => return Err(FileError::io(&path)(error.into())),
        };
        let status = fstat(&handle).map_err(|error| FileError::io(&path)(error.into()))?;
        match FileType::from_raw_mode(status.st_mode) {
            FileType::RegularFile => {
                let size = u64::try_from(status.st_size).unwrap_or(0);
                Ok(Self {
                    file: File::from(handle),
                    path,
                    size,
                })
            }
            FileType::Directory => Err(FileError::new(path, refuse("a folder"))),
            FileType::Fifo => Err(FileError::new(path, refuse("a FIFO"))),
            FileType::Socket => Err(FileError::new(path, refuse("a socket"))),
            _ => Err(FileError::new(path, refuse("a device or something else"))),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its size when it was opened, in bytes. Only what is read counts.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Who may do what with it: the permission bits.
    pub fn mode(&self) -> Result<u32, FileError> {
        let status = fstat(&self.file).map_err(|error| FileError::io(&self.path)(error.into()))?;
        Ok(status.st_mode & 0o7777)
    }

    /// Reads it once, from beginning to end, handing each piece to `sink`; returns its bytes'
    /// number. Refuses more than `limit` bytes: at once where its size says so, else at the first
    /// byte over it, before `sink` sees it.
    pub fn read_once<E: From<FileError>>(
        mut self,
        limit: u64,
        mut sink: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<u64, E> {
        if self.size > limit {
            return Err(FileError::new(self.path, FileFault::TooLarge { limit }).into());
        }
        let mut buffer = vec![0; BUFFER];
        let mut total = 0;
        loop {
            let count = match self.file.read(&mut buffer) {
                Ok(0) => return Ok(total),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(FileError::io(&self.path)(error).into()),
            };
            total += count as u64;
            if total > limit {
                return Err(FileError::new(self.path, FileFault::TooLarge { limit }).into());
            }
            sink(&buffer[..count])?;
        }
    }

    /// Whether it has the very bytes of another.
    pub fn has_bytes_of(self, other: Self) -> Result<bool, FileError> {
        let next = |bytes: &mut io::Bytes<BufReader<File>>, path| {
            bytes.next().transpose().map_err(FileError::io(path))
        };
        let (mut ours, mut theirs) = (
            BufReader::new(self.file).bytes(),
            BufReader::new(other.file).bytes(),
        );
        loop {
            match (
                next(&mut ours, &self.path)?,
                next(&mut theirs, &other.path)?,
            ) {
                (None, None) => return Ok(true),
                (one, other) if one == other => {}
                _ => return Ok(false),
            }
        }
    }

    /// Reads a secret whole; refuses one with more than `limit` bytes. No copy of it is left
    /// behind.
    pub fn read_secret(mut self, limit: u64) -> Result<Zeroizing<Vec<u8>>, FileError> {
        read_secret(&mut self.file, limit).map_err(|fault| FileError::new(self.path, fault))
    }

    /// Reads it whole; refuses one with more than `limit` bytes.
    pub fn read_whole(self, limit: u64) -> Result<Vec<u8>, FileError> {
        let mut bytes = Vec::new();
        self.read_once::<FileError>(limit, |piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(bytes)
    }
}

/// Reads a secret whole from `input`; refuses more than `limit` bytes. Memory for all of it is
/// taken at once, since a vector that grows leaves copies behind.
pub fn read_secret(input: &mut File, limit: u64) -> Result<Zeroizing<Vec<u8>>, FileFault> {
    let mut bytes = Zeroizing::new(vec![
        0;
        usize::try_from(limit)
            .unwrap_or(usize::MAX)
            .saturating_add(1)
    ]);
    let mut filled = 0;
    loop {
        match input.read(&mut bytes[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    if filled == bytes.len() {
        return Err(FileFault::TooLarge { limit });
    }
    bytes.truncate(filled);
    Ok(bytes)
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
                    .expect("told"),
                within,
                "{name}"
            );
        }
        assert!(
            !Folder::open(Path::new("/"))
                .and_then(|it| it.is_within(&private))
                .expect("told")
        );
    }

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
}
