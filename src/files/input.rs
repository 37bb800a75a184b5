//! Files that somebody else wrote, each read once.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;
use rustix::process::geteuid;
use zeroize::Zeroizing;

use super::{FileError, FileFault};

/// Size of the pieces in which files are read, in bytes. Larger ones made SHA-256 slower, by about
/// 40 % at 256 KiB.
pub const BUFFER: usize = 64 << 10;

/// A regular file, open for its one read.
#[derive(Debug)]
pub struct InputFile {
    file: File,
    path: PathBuf,
    size: u64,
    taken: u64,
}

impl InputFile {
    /// Opens the regular file at `path`. The folders before it are trusted; the file itself
    /// must not be a link.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Self::opened(openat(CWD, path, flags, Mode::empty()), path.to_owned())
    }

    /// Opens what the caller at the terminal named: links are followed, as in any command.
    pub fn open_named(path: &Path) -> Result<Self, FileError> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Self::opened(openat(CWD, path, flags, Mode::empty()), path.to_owned())
    }

    pub(super) fn opened(
        handle: rustix::io::Result<OwnedFd>,
        path: PathBuf,
    ) -> Result<Self, FileError> {
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
                    taken: 0,
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

    /// Its size when it was opened, in bytes: it can have changed since.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Whether this user wrote it, and nobody gave it a second name.
    pub fn is_ours(&self) -> Result<bool, FileError> {
        let status = fstat(&self.file).map_err(|error| FileError::io(&self.path)(error.into()))?;
        Ok(status.st_uid == geteuid().as_raw() && status.st_nlink == 1)
    }

    /// Its permission bits.
    pub fn mode(&self) -> Result<u32, FileError> {
        let status = fstat(&self.file).map_err(|error| FileError::io(&self.path)(error.into()))?;
        Ok(status.st_mode & 0o7777)
    }

    /// Reads on into `buffer`; returns how many bytes, and 0 at the end. Refuses a file with more
    /// than `limit` bytes: at once if its size says so, else at the first byte over it.
    pub fn next(&mut self, buffer: &mut [u8], limit: u64) -> Result<usize, FileError> {
        let too_large = |path: &Path| FileError::new(path, FileFault::TooLarge { limit });
        if self.size > limit {
            return Err(too_large(&self.path));
        }
        let count = loop {
            match self.file.read(buffer) {
                Ok(count) => break count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(FileError::io(&self.path)(error)),
            }
        };
        self.taken += count as u64;
        if self.taken > limit {
            return Err(too_large(&self.path));
        }
        Ok(count)
    }

    /// Reads it once, from beginning to end, handing each piece to `sink`; returns how many bytes
    /// it has. Refuses more than `limit` bytes, before `sink` sees one of them.
    pub fn read_once<E: From<FileError>>(
        mut self,
        limit: u64,
        mut sink: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<u64, E> {
        let mut buffer = vec![0; BUFFER];
        loop {
            match self.next(&mut buffer, limit)? {
                0 => return Ok(self.taken),
                count => sink(&buffer[..count])?,
            }
        }
    }

    /// Whether it has the same bytes as another.
    pub fn has_bytes_of(self, other: Self) -> Result<bool, FileError> {
        let next = |bytes: &mut io::Bytes<BufReader<File>>, path| {
            bytes.next().transpose().map_err(FileError::io(path))
        };
        let mut ours = BufReader::new(self.file).bytes();
        let mut theirs = BufReader::new(other.file).bytes();
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
