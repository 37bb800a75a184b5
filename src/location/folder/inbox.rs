//! L's own view: an inbox that anyone may have written, and the releases that were verified.

use std::fs;
use std::path::{Path, PathBuf};

use super::{LOCK, check_inbox, if_there, is_release};
use crate::domain::reserved::{ADMITTED, REFUSED};
use crate::files::{FileError, FileLock, Folder, StagedFolder, hold, replace};
use crate::location::{Fault, Inbox, Releases, Source, Stage};

/// Maximum number of submissions that one run takes; the others wait for the next.
const MOST_SUBMISSIONS: usize = 10_000;
/// Maximum number of entries of an inbox, hidden ones among them.
const MOST_ENTRIES: usize = 1_000_000;

/// A folder of submissions: one folder each.
pub(in crate::location) struct InboxFolder {
    folder: Folder,
}

/// A folder of verified releases, one folder each, that no other process has open.
pub(in crate::location) struct ReleasesFolder {
    folder: Folder,
    _lock: FileLock,
}

/// Opens both, if they can be what they are called.
pub(in crate::location) fn inbox_and_releases(
    inbox: &Path,
    releases: &Path,
) -> Result<(InboxFolder, ReleasesFolder), Fault> {
    let from = Folder::open(inbox).map_err(Fault::of_named)?;
    check_inbox(&from)?;
    let to = Folder::open(releases).map_err(Fault::of_named)?;
    if is_release(&to) {
        return Err(Fault::Unfit(format!(
            "`{}` is a release itself, and not a place for releases",
            releases.display()
        )));
    }
    if from.is_same_as(&to)? {
        return Err(Fault::Unfit(format!(
            "`{}` cannot be inbox and releases at once",
            inbox.display()
        )));
    }
    let lock = hold(&releases.join(LOCK)).map_err(Fault::of_named)?;
    Ok((
        InboxFolder { folder: from },
        ReleasesFolder {
            folder: to,
            _lock: lock,
        },
    ))
}

impl Inbox for InboxFolder {
    /// Hidden entries are still being written; reports on others are ours.
    fn submissions(&self) -> Result<Vec<String>, Fault> {
        let mut names = Vec::new();
        for name in self.folder.names(MOST_ENTRIES)? {
            let name = name.to_string_lossy().into_owned();
            if !name.starts_with('.') && !name.ends_with(REFUSED) && !name.ends_with(ADMITTED) {
                names.push(name);
            }
        }
        names.truncate(MOST_SUBMISSIONS);
        Ok(names)
    }

    fn submission(&self, name: &str) -> Result<Box<dyn Source>, Fault> {
        Ok(Box::new(self.folder.subfolder(name)?))
    }

    /// In `NAME.refused`.
    fn refuse(&self, name: &str, reason: &str) -> Result<(), Fault> {
        let text = format!("{reason}\n");
        Ok(replace(&self.note(name, REFUSED), text.as_bytes(), 0o644)?)
    }

    /// In `NAME.admitted`.
    fn report(&self, name: &str, report: &str) -> Result<(), Fault> {
        Ok(replace(
            &self.note(name, ADMITTED),
            report.as_bytes(),
            0o644,
        )?)
    }

    fn remove(&self, name: &str) -> Result<(), Fault> {
        let path = self.folder.path().join(name);
        fs::remove_dir_all(&path).map_err(FileError::io(&path))?;
        remove_note(&self.note(name, REFUSED))
    }
}

impl InboxFolder {
    fn note(&self, name: &str, ending: &str) -> PathBuf {
        self.folder.path().join(format!("{name}{ending}"))
    }
}

impl Releases for ReleasesFolder {
    fn stage(&self, name: &str) -> Result<Box<dyn Stage + '_>, Fault> {
        Ok(Box::new(StagedFolder::new(&self.folder.path().join(name))?))
    }

    fn release(&self, name: &str) -> Result<Box<dyn Source>, Fault> {
        Ok(Box::new(self.folder.subfolder(name)?))
    }
}

/// Removes the reason why an earlier submission was refused, if there is one.
pub(super) fn remove_note(note: &Path) -> Result<(), Fault> {
    let removed = fs::remove_file(note).map_err(|error| FileError::io(note)(error).into());
    if_there(removed).map(|_| ())
}
