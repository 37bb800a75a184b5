//! The log as files for any web server, and the check of such files, which may come back from L.

use std::path::{Path, PathBuf};

use super::{BadLog, Ledger, LedgerError, Result};
use crate::files::{FileError, FileFault, Folder, InputFile, hold_folder};
use crate::tlog::checkpoint::{BadCheckpoint, Checkpoint};
use crate::tlog::note::{LARGEST_NOTE, VerifierKey};
use crate::tlog::tile::{CHECKPOINT, Tile, bundle, first_entry};
use crate::tlog::tree::tile_hash;

/// What an export did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exported {
    /// How many entries the folder had before; nothing if it was new.
    pub before: Option<u64>,
    /// How many it has.
    pub size: u64,
    /// How many files were written, the checkpoint aside.
    pub files: u64,
}

/// Why a log cannot be exported to a folder, or what a folder has is not the log.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// Its checkpoint.
    #[error("`{}` {fault}", path.display())]
    Checkpoint {
        /// Its file.
        path: PathBuf,
        /// What is wrong with it.
        fault: BadCheckpoint,
    },
    /// A checkpoint by our key that is not of our entries.
    #[error("`{}` is a checkpoint of {size} entries whose root is not that of the first {size} entries here", path.display())]
    Forked {
        /// Its file.
        path: PathBuf,
        /// Its size.
        size: u64,
    },
    /// A checkpoint of more entries than there are.
    #[error("`{}` is a checkpoint of {size} entries, but there are {here}: entry {here} and what followed are gone", path.display())]
    Longer {
        /// Its file.
        path: PathBuf,
        /// Its size.
        size: u64,
        /// The size of the log.
        here: u64,
    },
    /// A file that has other bytes.
    #[error("`{}` is not what the log has there", .0.display())]
    Altered(PathBuf),
    /// A file of entries that has others.
    #[error("`{}` is not what the log has there, from entry {index} on", path.display())]
    AlteredFrom {
        /// The file.
        path: PathBuf,
        /// The first that differs.
        index: u64,
    },
    /// A file that should be there.
    #[error("`{}` is missing", .0.display())]
    Missing(PathBuf),
    /// An entry with another hash than the tree has.
    #[error("entry {index} is not what was logged: what `{}` has of it and its hash in `{}` differ", entries.display(), tile.display())]
    Entry {
        /// Its index.
        index: u64,
        /// The file with the entry.
        entries: PathBuf,
        /// The file with the hash.
        tile: PathBuf,
    },
    /// A file that ends too early.
    #[error("entry {index} is missing: `{}` ends before the end of it", path.display())]
    NoEntry {
        /// The entry's index.
        index: u64,
        /// The file.
        path: PathBuf,
    },
    /// A file that goes on.
    #[error("`{}` goes on after entry {last}, which is the last in it", path.display())]
    Surplus {
        /// The file.
        path: PathBuf,
        /// The index of the last entry that it may have.
        last: u64,
    },
    /// A file of hashes that is too short or too long.
    #[error("`{}` does not have the {hashes} hashes that the checkpoint speaks of", path.display())]
    Size {
        /// The file.
        path: PathBuf,
        /// How many it should have.
        hashes: u64,
    },
    /// A hash that does not follow from the entries.
    #[error("`{}` has another hash than follows from the entries up to entry {index}", path.display())]
    Hash {
        /// The file.
        path: PathBuf,
        /// The entry that completes what it is the hash of.
        index: u64,
    },
    /// A checkpoint of other entries.
    #[error("`{}` has another root than the {size} entries beside it: they, or it, were changed", path.display())]
    Root {
        /// The checkpoint's file.
        path: PathBuf,
        /// Its size.
        size: u64,
    },
    /// Something else where a file or a folder of it should be.
    #[error(transparent)]
    Strange(FileError),
    /// Entries that are no log of ours, or not the one that others know.
    #[error(transparent)]
    Log(#[from] BadLog),
    /// A file.
    #[error(transparent)]
    File(FileError),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl From<FileError> for ExportError {
    fn from(error: FileError) -> Self {
        match error.fault {
            FileFault::Missing => Self::Missing(error.path),
            FileFault::Kind { .. } => Self::Strange(error),
            _ => Self::File(error),
        }
    }
}

impl Ledger {
    /// Writes what `folder` does not have yet of the log, up to `head`; `note` is the checkpoint
    /// that says so, and is written when all else is on the disk. A folder with another log, or
    /// with more of it, is refused. Files that an export was writing when it was killed are
    /// removed.
    pub fn export(
        &self,
        folder: &Folder,
        key: &VerifierKey,
        head: &Checkpoint,
        note: &str,
    ) -> Result<Exported, ExportError> {
        let _held = hold_folder(folder)?;
        let before = match folder.file(CHECKPOINT) {
            Ok(file) => Some(self.own_checkpoint(file, key, self.size()?)?.size),
            Err(FileError {
                fault: FileFault::Missing,
                ..
            }) => None,
            Err(error) => return Err(error.into()),
        };
        // Another export went further, after `head` was looked at.
        if let Some(size) = before.filter(|before| *before > head.size) {
            return Ok(Exported {
                before,
                size,
                files: 0,
            });
        }
        folder.sweep()?;
        let (mut files, mut into, mut at) = (0, folder.again()?, String::new());
        for tile in Tile::grown(before.unwrap_or(0), head.size) {
            let path = tile.path();
            let (above, name) = path.rsplit_once('/').expect("every file is below `tile`");
            if above != at {
                into = above.split('/').try_fold(folder.again()?, |folder, name| {
                    folder.public_subfolder(name)
                })?;
                into.sweep()?;
                at = above.to_owned();
            }
            into.replace(name, &self.tile(tile)?, 0o644)?;
            files += 1;
        }
        folder.replace(CHECKPOINT, note.as_bytes(), 0o644)?;
        Ok(Exported {
            before,
            size: head.size,
            files,
        })
    }

    /// Compares what `folder` has with the log: its checkpoint, and each file that this checkpoint
    /// needs.
    pub fn check_export(
        &self,
        folder: &Path,
        key: &VerifierKey,
    ) -> Result<Checkpoint, ExportError> {
        let root = Folder::open(folder)?;
        let checkpoint = self.own_checkpoint(root.file(CHECKPOINT)?, key, self.size()?)?;
        for tile in Tile::grown(0, checkpoint.size) {
            let (expected, path) = (self.tile(tile)?, tile.path());
            match root.read_below(&path, expected.len() as u64) {
                Ok(found) if found == expected => {}
                Ok(found) => return Err(altered(folder.join(path), tile, &expected, &found)),
                Err(FileError {
                    fault: FileFault::TooLarge { .. },
                    ..
                }) => {
                    return Err(ExportError::Altered(folder.join(path)));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(checkpoint)
    }

    /// The checkpoint in a file, if it is one of this log.
    fn own_checkpoint(
        &self,
        file: InputFile,
        key: &VerifierKey,
        here: u64,
    ) -> Result<Checkpoint, ExportError> {
        let path = file.path().to_owned();
        let checkpoint = checkpoint_in(file, key)?;
        let size = checkpoint.size;
        match () {
            () if size > here => Err(ExportError::Longer { path, size, here }),
            () if self.root(size)? != checkpoint.root => Err(ExportError::Forked { path, size }),
            () => Ok(checkpoint),
        }
    }

    fn tile(&self, tile: Tile) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        for index in tile.range() {
            match tile.level {
                None => bundle(&mut bytes, self.text(index)?.as_bytes()),
                Some(level) => bytes.extend(self.hash(tile_hash(level, index))?.0),
            }
        }
        Ok(bytes)
    }
}

/// What is wrong with a file that has `found` in place of `expected`: the entry is named, where it
/// is a file of entries.
fn altered(path: PathBuf, tile: Tile, mut expected: &[u8], mut found: &[u8]) -> ExportError {
    let mut entries = tile.range().filter(|_| tile.level.is_none());
    match entries.find(|_| first_entry(&mut expected) != first_entry(&mut found)) {
        Some(index) => ExportError::AlteredFrom { path, index },
        None => ExportError::Altered(path),
    }
}

/// The checkpoint in a file, if it is by this key.
pub(super) fn checkpoint_in(file: InputFile, key: &VerifierKey) -> Result<Checkpoint, ExportError> {
    let path = file.path().to_owned();
    let note = file.read_whole(LARGEST_NOTE as u64)?;
    Checkpoint::open(&note, key).map_err(|fault| ExportError::Checkpoint { path, fault })
}
