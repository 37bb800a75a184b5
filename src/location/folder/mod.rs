//! Locations that are folders, on a disk or mounted.

mod anchor;
mod inbox;
mod places;
mod releases;
mod source;
mod stage;
mod submissions;

pub(super) use anchor::AnchorFolder;
pub(super) use places::inbox_and_releases;
pub(super) use submissions::Submissions;

use super::{Fault, Swept};
use crate::domain::reserved::SUMS;
use crate::domain::time::Timestamp;
use crate::files::{Folder, Owner};

/// The folder of the records in the releases: a file for each release that was ever admitted,
/// called as that was.
const RECORDS: &str = ".countersign.admitted";
/// The folder for withdrawn releases among the releases, which its owner alone can open.
const SET_ASIDE: &str = ".countersign.withdrawn";
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

/// Refuses releases, or one release among them, as an inbox. Only the folder of this user's records
/// tells: anyone who may push can make any file there, or rename a note of ours.
fn check_inbox(folder: &Folder) -> Result<(), Fault> {
    let records = |above: &str| {
        let records = folder.subfolder(format!("{above}{RECORDS}"));
        records.and_then(|it| it.is_ours()).unwrap_or(false)
    };
    if records("") || records("../") {
        return Err(Fault::Unfit(format!(
            "`{}` is not an inbox: it contains verified releases, or is one of them",
            folder.path().display()
        )));
    }
    Ok(())
}

fn sweep_older(owner: &Owner, folder: &Folder, before: Timestamp) -> Result<Swept, Fault> {
    let swept = owner.sweep_older(folder, before.unix().into())?;
    let swept = swept.into_iter().map(|it| it.map_err(Fault::from));
    Ok(swept.collect())
}

fn is_release(folder: &Folder) -> bool {
    has(folder, SUMS)
}

fn has(folder: &Folder, name: &str) -> bool {
    folder.file(name).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{chown, symlink};

    #[test]
    fn nothing_that_a_pusher_can_make_closes_an_inbox() {
        let temp = tempfile::tempdir().expect("a folder");
        let at = |name: &str| temp.path().join(name);
        fs::create_dir_all(at("releases/.countersign.admitted")).expect("made");
        fs::create_dir_all(at("releases/foo-1")).expect("made");
        fs::create_dir(at("inbox")).expect("made");
        let check = |name| check_inbox(&Folder::open(&at(name)).expect("opened"));
        for file in ["SHA256SUMS", ".countersign.lock"] {
            fs::write(at("inbox").join(file), b"").expect("written");
        }
        symlink(
            at("releases/.countersign.admitted"),
            at("inbox").join(RECORDS),
        )
        .expect("linked");
        check("inbox").expect("an inbox");
        fs::remove_file(at("inbox").join(RECORDS)).expect("removed");
        fs::create_dir(at("inbox").join(RECORDS)).expect("made");
        // Only root can give a folder away.
        if chown(at("inbox").join(RECORDS), Some(12_345), None).is_ok() {
            check("inbox").expect("an inbox");
        }
        for releases in ["releases", "releases/foo-1"] {
            assert!(
                matches!(check(releases), Err(Fault::Unfit(_))),
                "{releases}"
            );
        }
    }

    #[test]
    fn no_inbox_is_the_releases_or_in_them() {
        let temp = tempfile::tempdir().expect("a folder");
        let at = |name: &str| temp.path().join(name);
        fs::create_dir_all(at("releases/foo-1")).expect("made");
        fs::create_dir(at("inbox")).expect("made");
        symlink("releases/foo-1", at("alias")).expect("linked");
        for inbox in ["releases", "releases/foo-1", "alias"] {
            assert!(
                matches!(
                    inbox_and_releases(&at(inbox), &at("releases")),
                    Err(Fault::Unfit(_))
                ),
                "{inbox}"
            );
        }
        inbox_and_releases(&at("inbox"), &at("releases")).expect("two places");
    }
}
