//! The log from the files that an export wrote, without the ledger: on any machine, with only the
//! log's key.
//!
//! The files may come from L. Nothing in them is trusted until the last entry was read and the tree
//! has the root that the log's key signed. Memory: one bundle of entries, and one file of
//! hashes for each level of the tree.

use std::path::{Path, PathBuf};

use super::error::BadLog;
use super::export::{ExportError, checkpoint_in};
use super::pass::Pass;
use crate::domain::event::Entry;
use crate::files::{FileError, FileFault, Folder};
use crate::tlog::checkpoint::Checkpoint;
use crate::tlog::note::VerifierKey;
use crate::tlog::tile::{CHECKPOINT, Tile, WIDTH, first_entry, hash_at};
use crate::tlog::tree::Hash;

/// The log in a folder that an export wrote, or in a copy of one: as its checkpoint was when
/// it was opened.
#[derive(Debug)]
pub struct ExportedLog {
    folder: Folder,
    key: VerifierKey,
    head: Checkpoint,
}

impl ExportedLog {
    /// Opens the folder, whose checkpoint must be by the log's `key`. Nothing else of it is read
    /// yet.
    pub fn open(folder: &Path, key: VerifierKey) -> Result<Self, ExportError> {
        // The caller named the folder itself: a missing one is not a fault of the log.
        let folder = Folder::open(folder).map_err(ExportError::File)?;
        let head = checkpoint_in(folder.file(CHECKPOINT)?, &key)?;
        Ok(Self { folder, key, head })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The key of the log.
    pub fn key(&self) -> &VerifierKey {
        &self.key
    }

    /// Its checkpoint, which its key signed.
    pub fn head(&self) -> &Checkpoint {
        &self.head
    }

    /// Checks the whole of it: each entry, each hash, the roots of `kept`, checkpoints by its key
    /// with their names, and its own. Returns its checkpoint.
    pub fn verify(&self, kept: &[(String, Checkpoint)]) -> Result<&Checkpoint, ExportError> {
        self.each_going_on_from(kept, |_| Ok::<_, ExportError>(()))?;
        Ok(&self.head)
    }

    /// Shows each entry to `see`, first to last, until it returns an error; checks as
    /// [`ExportedLog::verify`] does. What was seen is not valid unless this ends well.
    pub fn each<E: From<ExportError>>(
        &self,
        see: impl FnMut(Entry) -> Result<(), E>,
    ) -> Result<(), E> {
        self.each_going_on_from(&[], see)
    }

    /// As [`ExportedLog::each`], with `kept` compared as [`ExportedLog::verify`] does. An entry is
    /// shown after the root that ends with it was compared.
    pub fn each_going_on_from<E: From<ExportError>>(
        &self,
        kept: &[(String, Checkpoint)],
        mut see: impl FnMut(Entry) -> Result<(), E>,
    ) -> Result<(), E> {
        let fail = |error: BadLog| E::from(error.into());
        let mut pass = Pass::begin(&self.key, kept).map_err(fail)?;
        let mut tiles = Tiles {
            log: self,
            current: Vec::new(),
        };
        for number in 0..self.head.size.div_ceil(WIDTH) {
            let tile = Tile::of(None, number, self.head.size);
            let bundle = self.bundle(tile)?;
            let mut rest = &bundle[..];
            for index in tile.range() {
                let cut_short = || {
                    ExportError::Damaged(format!(
                        "entry {index} is missing: `{}` ends before the end of it",
                        self.path_of(tile).display()
                    ))
                };
                let text = first_entry(&mut rest).ok_or_else(cut_short)?;
                tiles.agree(index, &pass.push(text))?;
                see(pass.entry(text).map_err(fail)?)?;
            }
            if !rest.is_empty() {
                return Err(self.surplus(tile).into());
            }
        }
        if pass.end().map_err(fail)? == self.head {
            return Ok(());
        }
        Err(E::from(ExportError::Damaged(format!(
            "`{}` has a different root than the {} entries beside it: they, or it, were changed",
            self.path().join(CHECKPOINT).display(),
            self.head.size
        ))))
    }

    fn bundle(&self, tile: Tile) -> Result<Vec<u8>, ExportError> {
        self.folder
            .read_below(&tile.path(), tile.largest())
            .map_err(|error| match error.fault {
                FileFault::TooLarge { .. } => self.surplus(tile),
                _ => error.into(),
            })
    }

    fn surplus(&self, tile: Tile) -> ExportError {
        ExportError::Damaged(format!(
            "`{}` goes on after entry {}, which is the last in it",
            self.path_of(tile).display(),
            tile.range().end - 1
        ))
    }

    fn hashes(&self, tile: Tile) -> Result<Vec<u8>, ExportError> {
        match self.folder.read_below(&tile.path(), tile.largest()) {
            Ok(hashes) if hashes.len() as u64 == tile.largest() => Ok(hashes),
            Ok(_)
            | Err(FileError {
                fault: FileFault::TooLarge { .. },
                ..
            }) => Err(ExportError::Damaged(format!(
                "`{}` does not have the {} hashes that the checkpoint covers",
                self.path_of(tile).display(),
                tile.width
            ))),
            Err(error) => Err(error.into()),
        }
    }

    fn path_of(&self, tile: Tile) -> PathBuf {
        self.path().join(tile.path())
    }
}

/// The files of hashes, one of each level at a time.
struct Tiles<'a> {
    log: &'a ExportedLog,
    /// By level, the one that the next hash is in.
    current: Vec<Vec<u8>>,
}

impl Tiles<'_> {
    /// Whether the files have these hashes, which entry `index` adds to the tree. Every eighth is
    /// in one.
    fn agree(&mut self, index: u64, hashes: &[Hash]) -> Result<(), ExportError> {
        for (level, hash) in (0_u8..).zip(hashes.iter().step_by(8)) {
            let of_level = index >> (8 * level);
            let tile = Tile::of(Some(level), of_level / WIDTH, self.log.head.size);
            let place = (of_level % WIDTH) as usize;
            if place == 0 {
                self.current
                    .resize(self.current.len().max(level as usize + 1), Vec::new());
                self.current[level as usize] = self.log.hashes(tile)?;
            }
            if hash_at(&self.current[level as usize], place) != Some(*hash) {
                return Err(self.fault(index, tile));
            }
        }
        Ok(())
    }

    fn fault(&self, index: u64, tile: Tile) -> ExportError {
        let path = self.log.path_of(tile);
        let path = path.display();
        ExportError::Damaged(match tile.level {
            Some(0) => {
                let entries = Tile {
                    level: None,
                    ..tile
                };
                format!(
                    "entry {index} was altered: its text in `{}` and its hash in `{path}` differ",
                    self.log.path_of(entries).display()
                )
            }
            _ => format!("`{path}` has a hash that does not match the entries up to entry {index}"),
        })
    }
}

#[cfg(test)]
mod tests;
