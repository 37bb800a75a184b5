//! H's view of an inbox: a release is copied into it, and reports are read from it.

use std::path::PathBuf;

use super::{LARGEST_NOTE, check_inbox, if_there, sweep_older};
use crate::domain::admission::LARGEST_REPORT;
use crate::domain::digest::Sha256;
use crate::domain::release::LARGEST_SUMS;
use crate::domain::reserved::{ADMITTED, REFUSED, SUMS, WITHDRAWAL, WITHDRAWN};
use crate::domain::time::Timestamp;
use crate::files::{Folder, Owner, StagedFolder, real_path};
use crate::location::{Fault, Publish, Published, Source, Stage, State, Swept};

/// The folder that releases are pushed to.
pub(in crate::location) struct Submissions {
    folder: Folder,
    owner: Owner,
}

impl Submissions {
    pub(in crate::location) fn new(folder: Folder, owner: Owner) -> Result<Self, Fault> {
        check_inbox(&folder)?;
        Ok(Self { folder, owner })
    }

    /// SHA-256 of the list of the submission `name`, or of the statement that it is; `None` if
    /// there is no such submission.
    fn list(&self, name: &str) -> Result<Option<Sha256>, Fault> {
        let file = if name.ends_with(WITHDRAWN) {
            WITHDRAWAL
        } else {
            SUMS
        };
        let list = self
            .folder
            .subfolder(name)
            .and_then(|submission| submission.read(file, LARGEST_SUMS));
        Ok(if_there(list.map_err(Fault::from))?.map(|list| Sha256::of(&list)))
    }

    fn note(&self, name: &str, limit: u64) -> Result<Option<Result<Vec<u8>, Fault>>, Fault> {
        match if_there(self.folder.read(name, limit).map_err(Fault::from)) {
            Ok(bytes) => Ok(bytes.map(Ok)),
            Err(fault @ (Fault::Strange(_) | Fault::TooLarge(_))) => Ok(Some(Err(fault))),
            Err(fault) => Err(fault),
        }
    }
}

impl Publish for Submissions {
    fn place(&self, name: &str) -> Result<PathBuf, Fault> {
        Ok(real_path(self.folder.path())?.join(name))
    }

    fn stage(&self, name: &str, list: Sha256) -> Result<Option<Box<dyn Stage + '_>>, Fault> {
        let occupied = || {
            let path = self.folder.path().join(name);
            Fault::Occupied(format!("`{}` exists already", path.display()))
        };
        let is_there = || match self.list(name) {
            Ok(Some(there)) if there == list => {
                // The run that pushed it may have been interrupted just before this.
                self.folder.sync()?;
                Ok(true)
            }
            Ok(Some(_)) | Err(Fault::Strange(_) | Fault::TooLarge(_)) => Err(occupied()),
            Ok(None) => Ok(false),
            Err(fault) => Err(fault),
        };
        if is_there()? {
            return Ok(None);
        }
        let staged = StagedFolder::new_in(&self.folder, name, &self.owner)?;
        if staged.occupied() {
            // A copy of this home may have pushed it since.
            return if is_there()? {
                Ok(None)
            } else {
                Err(occupied())
            };
        }
        let note = format!("{name}{REFUSED}");
        let inbox = &self.folder;
        Ok(Some(Box::new(Copy {
            staged,
            inbox,
            note,
        })))
    }

    fn published(&self, name: &str) -> Result<Option<Box<dyn Source>>, Fault> {
        let there = if_there(self.folder.subfolder(name).map_err(Fault::from))?;
        Ok(there.map(|there| Box::new(there) as Box<dyn Source>))
    }

    fn sweep_older(&self, before: Timestamp) -> Result<Swept, Fault> {
        sweep_older(&self.owner, &self.folder, before)
    }

    fn state(&self, name: &str, list: Sha256) -> Result<State, Fault> {
        let mut state = State::default();
        let file = format!("{name}{ADMITTED}");
        state.admitted = self
            .note(&file, LARGEST_REPORT)?
            .map(|content| (file, content));
        let file = format!("{name}{REFUSED}");
        state.refused = self
            .note(&file, LARGEST_NOTE)?
            .map(|content| (file, content));
        if state.refused.is_some() {
            state.still_there = match self.list(name) {
                Ok(there) => there == Some(list),
                Err(Fault::Strange(_) | Fault::TooLarge(_)) => false,
                Err(fault) => return Err(fault),
            };
        }
        Ok(state)
    }
}

/// A release on its way into the inbox.
struct Copy<'a> {
    staged: StagedFolder,
    inbox: &'a Folder,
    note: String,
}

impl Stage for Copy<'_> {
    fn file(&self, name: &str) -> Result<Box<dyn std::io::Write + '_>, Fault> {
        Stage::file(&self.staged, name)
    }

    fn publish(self: Box<Self>) -> Result<Published, Fault> {
        // The refusal of an earlier submission of this name would read as one of this.
        self.inbox.remove_file(&self.note)?;
        Stage::publish(Box::new(self.staged))
    }
}
