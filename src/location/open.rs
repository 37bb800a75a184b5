//! Which kind of location a name means. This is the one place that asks.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::folder::{self, AnchorFolder, Submissions};
use super::{Anchor, Fault, Inbox, Publish, Releases, Source};
use crate::files::{FileError, Folder, Owner};

/// The release that a person named.
pub fn source(place: &Path) -> Result<Box<dyn Source>, FileError> {
    Ok(Box::new(Folder::open(place)?))
}

/// The location that releases are pushed to by `owner`. If it is a folder, `check` sees it first.
pub fn publish_to<E: From<Fault>>(
    place: &Path,
    owner: Owner,
    check: impl FnOnce(&Folder) -> Result<(), E>,
) -> Result<Box<dyn Publish>, E> {
    let folder = Folder::open(place).map_err(Fault::from)?;
    check(&folder)?;
    Ok(Box::new(Submissions::new(folder, owner)?))
}

/// The place for checkpoints at `path`, which may take so long to answer.
pub fn anchor(path: PathBuf, limit: Duration) -> Box<dyn Anchor> {
    Box::new(AnchorFolder::new(path, limit))
}

/// Where releases come in, and where they are served from.
pub(super) type Places = (Box<dyn Inbox>, Box<dyn Releases>);

/// An inbox and the releases that L serves. Refuses what cannot be what it is called, before
/// anything is written: a mistake would move public releases away, or leave notes inside one.
pub fn inbox_and_releases(inbox: &Path, releases: &Path) -> Result<Places, Fault> {
    let (inbox, releases) = folder::inbox_and_releases(inbox, releases)?;
    Ok((Box::new(inbox), Box::new(releases)))
}
