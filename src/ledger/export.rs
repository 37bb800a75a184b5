//! The log as files for any web server, and the check of such files, which may come back from L.

use std::path::{Path, PathBuf};

use super::error::{BadLog, LedgerError};
use super::store::{Ledger, Result};
use crate::files::{FileError, FileFault, Folder, InputFile, Wait, hold_folder};
use crate::tlog::checkpoint::Checkpoint;
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

/// Why a log cannot be exported to a folder, or what is in a folder is not the log.
#[expect(missing_docs, reason = "each message says what it means")]
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ExportError {
    #[error("{0}")]
    #[diagnostic(
        code(refused::export_differs),
        help(
            "keep these files as they are, and find out whether they or the ledger were changed; \
             then export to a new folder"
        )
    )]
    Differs(String),
    #[error("{0}")]
    #[diagnostic(
        code(refused::export_damaged),
        help(
            "keep these files as they are, and get the newest export; if that is no better, run \
             `countersign log verify` on the signing host"
        )
    )]
    Damaged(String),
    #[error("{0}")]
    #[diagnostic(
        code(refused::export_unreadable),
        help(
            "use a countersign as new as the signing host's; if this one is, keep these files as \
             they are, and find out who made them"
        )
    )]
    Unreadable(String),
    #[error(transparent)]
    #[diagnostic(
        code(usage::export_obstructed),
        help(
            "find out who put that there; then get another copy, or remove it and export the log \
             again"
        )
    )]
    Obstructed(FileError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    File(FileError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Ledger(#[from] LedgerError),
}

impl From<FileError> for ExportError {
    fn from(error: FileError) -> Self {
        match error.fault {
            FileFault::Missing => Self::Damaged(format!("`{}` is missing", error.path.display())),
            FileFault::Kind { .. } => Self::Obstructed(error),
            _ => Self::File(error),
        }
    }
}

impl From<BadLog> for ExportError {
    fn from(error: BadLog) -> Self {
        match error {
            BadLog::Changed(message) => Self::Damaged(message),
            BadLog::Unreadable { .. } => Self::Unreadable(error.to_string()),
            BadLog::Ledger(error) => Self::Ledger(error),
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
        wait: Wait,
    ) -> Result<Exported, ExportError> {
        let _held = hold_folder(folder, wait)?;
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
        let mut files = 0;
        let mut into = folder.again()?;
        let mut at = String::new();
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
            let expected = self.tile(tile)?;
            let path = tile.path();
            match root.read_below(&path, expected.len() as u64) {
                Ok(found) if found == expected => {}
                Ok(found) => return Err(altered(folder.join(path), tile, &expected, &found)),
                Err(FileError {
                    fault: FileFault::TooLarge { .. },
                    ..
                }) => {
                    return Err(differs(&folder.join(path)));
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
        if size > here {
            return Err(ExportError::Differs(format!(
                "`{}` is a checkpoint of {size} entries, but there are {here}: entry {here} and \
                 those after it are gone",
                path.display()
            )));
        }
        if self.root(size)? != checkpoint.root {
            return Err(ExportError::Differs(format!(
                "`{}` is a checkpoint of {size} entries whose root differs from that of the first \
                 {size} entries here",
                path.display()
            )));
        }
        Ok(checkpoint)
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
    if tile.level.is_some() {
        return differs(&path);
    }
    let mut entries = tile.range();
    match entries.find(|_| first_entry(&mut expected) != first_entry(&mut found)) {
        Some(index) => ExportError::Differs(format!(
            "`{}` differs from the log from entry {index} on",
            path.display()
        )),
        None => differs(&path),
    }
}

fn differs(path: &Path) -> ExportError {
    ExportError::Differs(format!("`{}` differs from the log", path.display()))
}

/// The checkpoint in a file, if it is by this key.
pub(super) fn checkpoint_in(file: InputFile, key: &VerifierKey) -> Result<Checkpoint, ExportError> {
    let path = file.path().to_owned();
    let note = file.read_whole(LARGEST_NOTE as u64)?;
    Checkpoint::open(&note, key)
        .map_err(|error| ExportError::Differs(format!("`{}`: {error}", path.display())))
}
