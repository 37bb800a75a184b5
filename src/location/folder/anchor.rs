//! A folder with checkpoints of H's log: the one that an exported log has, and others under their
//! sizes. Anyone with access can have written them.

use std::path::PathBuf;
use std::time::Duration;

use super::super::{Anchor, Fault};
use crate::files::{FileError, FileFault, Folder, within, write_new};

/// The checkpoint of an exported log (C2SP tlog-tiles).
const CHECKPOINT: &str = "checkpoint";
/// The folder of those that are kept beside it.
const CHECKPOINTS: &str = "checkpoints";
/// Maximum size of a checkpoint, in bytes.
const LARGEST_CHECKPOINT: u64 = 256 << 10;
/// Maximum number of checkpoints that are read.
const MOST: usize = 1000;

/// A folder for checkpoints.
#[derive(Debug)]
pub(crate) struct AnchorFolder {
    path: PathBuf,
    limit: Duration,
}

impl AnchorFolder {
    /// The folder at `path`, which may take so long to answer.
    pub(crate) fn new(path: PathBuf, limit: Duration) -> Self {
        Self { path, limit }
    }

    /// Does something in the folder, in time.
    fn within<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Folder) -> Result<T, FileError> + Send + 'static,
    ) -> Result<T, Fault> {
        let path = self.path.clone();
        let done = within(&self.path, self.limit, move || work(&Folder::open(&path)?));
        Ok(done?)
    }
}

impl Anchor for AnchorFolder {
    fn notes(&self) -> Result<Vec<(String, Vec<u8>)>, Fault> {
        self.within(|folder| {
            let mut notes = Vec::new();
            read(folder, CHECKPOINT, CHECKPOINT.to_owned(), &mut notes)?;
            if let Some(kept) = if_there(folder.subfolder(CHECKPOINTS))? {
                for name in kept.names(MOST)? {
                    if let Some(name) = name.to_str().filter(|name| !name.starts_with('.')) {
                        read(&kept, name, format!("{CHECKPOINTS}/{name}"), &mut notes)?;
                    }
                }
            }
            Ok(notes)
        })
    }

    /// If there is another file of its name, it gets one of its own.
    fn keep(&self, size: u64, note: String) -> Result<(), Fault> {
        self.within(move |folder| {
            let kept = folder.public_subfolder(CHECKPOINTS)?;
            for number in 0.. {
                let name = match number {
                    0 => format!("{size:020}"),
                    number => format!("{size:020}.{number}"),
                };
                let file = kept.path().join(&name);
                match write_new(&file, note.as_bytes(), 0o644) {
                    Err(error) if matches!(error.fault, FileFault::Exists) => {
                        let there = if_there(kept.read(&name, LARGEST_CHECKPOINT))?;
                        if there.as_deref() == Some(note.as_bytes()) {
                            return Ok(());
                        }
                    }
                    done => return done,
                }
            }
            unreachable!("some number is free")
        })
    }

    fn remove(&self, name: &str) -> Result<(), Fault> {
        let name = name.to_owned();
        self.within(move |folder| {
            let file = folder.path().join(name);
            std::fs::remove_file(&file).map_err(FileError::io(&file))
        })
    }

    fn shown(&self) -> String {
        self.path.display().to_string()
    }
}

/// What another process removes meanwhile, or is no file, is no checkpoint.
fn read(
    folder: &Folder,
    name: &str,
    shown: String,
    notes: &mut Vec<(String, Vec<u8>)>,
) -> Result<(), FileError> {
    match folder.read(name, LARGEST_CHECKPOINT) {
        Ok(note) => notes.push((shown, note)),
        Err(error) if error.is_io() => return Err(error),
        Err(_) => {}
    }
    Ok(())
}

fn if_there<T>(found: Result<T, FileError>) -> Result<Option<T>, FileError> {
    match found {
        Err(FileError {
            fault: FileFault::Missing,
            ..
        }) => Ok(None),
        found => found.map(Some),
    }
}
