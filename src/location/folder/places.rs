//! The two places of L together.

use std::path::Path;

use super::inbox::InboxFolder;
use super::releases::ReleasesFolder;
use super::{check_inbox, is_release};
use crate::files::Folder;
use crate::location::Fault;

/// Opens an inbox and the releases, if they can be what they are called.
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
    if from.is_within(&to)? {
        return Err(Fault::Unfit(format!(
            "`{}` cannot be inbox and releases at once, nor among the releases",
            inbox.display()
        )));
    }
    let releases = ReleasesFolder::lock(to)?;
    Ok((InboxFolder::new(from, releases.owner().clone()), releases))
}
