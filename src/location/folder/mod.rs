//! Locations that are folders, on a disk or mounted.

mod inbox;
mod places;
mod releases;
mod source;
mod stage;
mod submissions;

pub(super) use places::inbox_and_releases;
pub(super) use submissions::Submissions;

use super::Fault;
use crate::domain::reserved::SUMS;
use crate::files::Folder;

/// In the releases and not in the inbox: anyone who may push could keep it locked there.
const LOCK: &str = ".countersign.lock";
/// Maximum size of the reason why a submission was refused, in bytes.
const LARGEST_NOTE: u64 = 64 << 10;

/// What was found, or nothing.
fn if_there<T>(found: Result<T, Fault>) -> Result<Option<T>, Fault> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(Fault::Missing(_)) => Ok(None),
        Err(fault) => Err(fault),
    }
}

/// Refuses releases, or one release, as an inbox.
fn check_inbox(folder: &Folder) -> Result<(), Fault> {
    if has(folder, LOCK) || is_release(folder) {
        return Err(Fault::Unfit(format!(
            "`{}` is not an inbox: it contains verified releases, or is a release itself",
            folder.path().display()
        )));
    }
    Ok(())
}

fn is_release(folder: &Folder) -> bool {
    has(folder, SUMS)
}

fn has(folder: &Folder, name: &str) -> bool {
    folder.file(name).is_ok()
}
