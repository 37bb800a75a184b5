//! The releases that were verified, and L's memory of them.

use std::collections::BTreeSet;
use std::io::Write;

use super::{RECORDS, SET_ASIDE, if_there, sweep_older};
use crate::domain::admission::LARGEST_REPORT;
use crate::domain::release::is_folder_name;
use crate::domain::reserved::WITHDRAWN;
use crate::domain::time::Timestamp;
use crate::files::{FileLock, Folder, Kind, Owner, StagedFolder, hold_in};
use crate::location::{Fault, Published, Releases, Source, Stage, Swept, Unsettled};

/// In the releases and not in the inbox: anyone who may push could keep it locked there.
const LOCK: &str = ".countersign.lock";
/// The folder with the id of these releases, by which one sees what is theirs in an inbox.
const OWNER: &str = ".countersign.owner";

/// A folder of verified releases, one folder each, that no other process has open.
pub(in crate::location) struct ReleasesFolder {
    folder: Folder,
    owner: Owner,
    _lock: FileLock,
}

impl ReleasesFolder {
    /// Takes the lock, and finishes or removes what runs that were killed left among the records.
    pub(super) fn lock(folder: Folder) -> Result<Self, Fault> {
        let lock = hold_in(&folder, LOCK).map_err(Fault::of_named)?;
        let releases = Self {
            owner: Owner::open(folder.private_subfolder(OWNER)?)?,
            folder,
            _lock: lock,
        };
        if let Some(records) = releases.records()? {
            records.settle(&releases.folder)?;
            records.sweep()?;
        }
        Ok(releases)
    }

    /// Whose everything is that `admit` makes.
    pub(super) fn owner(&self) -> &Owner {
        &self.owner
    }

    fn records(&self) -> Result<Option<Folder>, Fault> {
        if_there(self.folder.subfolder(RECORDS).map_err(Fault::from))
    }
}

impl Releases for ReleasesFolder {
    fn stage(
        &self,
        name: &str,
        record: &str,
        succeeds: bool,
    ) -> Result<Box<dyn Stage + '_>, Fault> {
        Ok(Box::new(NewRelease {
            staged: StagedFolder::new_in(&self.folder, name, &self.owner)?,
            records: self.folder.public_subfolder(RECORDS)?,
            name: name.to_owned(),
            record: record.to_owned(),
            succeeds,
        }))
    }

    fn release(&self, name: &str) -> Result<Option<Box<dyn Source>>, Fault> {
        let release = if_there(self.folder.subfolder(name).map_err(Fault::from))?;
        Ok(release.map(|release| Box::new(release) as Box<dyn Source>))
    }

    fn record(&self, name: &str) -> Result<Option<Vec<u8>>, Fault> {
        let Some(records) = self.records()? else {
            return Ok(None);
        };
        if_there(records.read(name, LARGEST_REPORT).map_err(Fault::from))
    }

    fn unsettled(&self) -> Result<Unsettled, Fault> {
        let mut recorded = BTreeSet::new();
        if let Some(records) = self.records()? {
            recorded.extend(records.names(usize::MAX)?);
        }
        let mut unsettled = Unsettled::default();
        self.folder.each::<Fault>(|name, kind| {
            let text = name.to_str().filter(|text| !text.starts_with('.'));
            let Some(text) = text.filter(|_| kind == Kind::Folder) else {
                return Ok(());
            };
            match text.strip_suffix(WITHDRAWN) {
                Some(release) if is_folder_name(release) && self.folder.has(release) => {
                    unsettled.withdrawn.push(release.to_owned());
                }
                Some(_) => {}
                None if recorded.contains(name) => {}
                None => unsettled.unrecorded.push(text.to_owned()),
            }
            Ok(())
        })?;
        Ok(unsettled)
    }

    fn stage_withdrawal(&self, name: &str) -> Result<Box<dyn Stage + '_>, Fault> {
        let name = format!("{name}{WITHDRAWN}");
        let staged = StagedFolder::new_in(&self.folder, name, &self.owner)?;
        Ok(Box::new(staged))
    }

    fn withdrawal(&self, name: &str) -> Result<Option<Box<dyn Source>>, Fault> {
        self.release(&format!("{name}{WITHDRAWN}"))
    }

    fn set_aside(&self, name: &str) -> Result<bool, Fault> {
        if !self.folder.has(name) {
            return Ok(false);
        }
        let aside = self.folder.private_subfolder(SET_ASIDE)?;
        self.folder.move_into(name, &aside)?;
        Ok(true)
    }

    fn keep_record(&self, name: &str, record: &str) -> Result<(), Fault> {
        let records = self.folder.public_subfolder(RECORDS)?;
        Ok(records.prepare(name, record.as_bytes(), 0o644)?.appear()?)
    }

    fn sweep_older(&self, before: Timestamp) -> Result<Swept, Fault> {
        sweep_older(&self.owner, &self.folder, before)
    }
}

/// A release on its way to those that are served.
struct NewRelease {
    staged: StagedFolder,
    records: Folder,
    name: String,
    record: String,
    /// Whether it takes the place of another one.
    succeeds: bool,
}

impl Stage for NewRelease {
    fn file(&self, name: &str) -> Result<Box<dyn Write + '_>, Fault> {
        Stage::file(&self.staged, name)
    }

    /// The record is on the disk before, and needs nothing but its name after: a full disk cannot
    /// come in between, and the next run finishes what one that was killed there began, even if the
    /// release is gone by then.
    fn publish(self: Box<Self>) -> Result<Published, Fault> {
        let Self {
            staged,
            records,
            name,
            record,
            succeeds,
        } = *self;
        if succeeds {
            // If this is killed in between, the next run finds the one with the other's record.
            staged.exchange()?;
            records.replace(&name, record.as_bytes(), 0o644)?;
            return Ok(Published::New);
        }
        if records.has(&name) {
            let text = format!("`{}` was admitted before", staged.target().display());
            return Err(Fault::Occupied(text));
        }
        if staged.publish_with(&records, &name, record.as_bytes(), 0o644)? {
            Ok(Published::New)
        } else {
            Ok(Published::Same)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    fn locked(path: &Path) -> Result<ReleasesFolder, Fault> {
        ReleasesFolder::lock(Folder::open(path).expect("opened"))
    }

    #[test]
    fn a_release_appears_with_its_record_and_both_only_once() {
        let temp = tempfile::tempdir().expect("a folder");
        let releases = locked(temp.path()).expect("locked");
        assert!(matches!(locked(temp.path()), Err(Fault::Unreachable(_))));
        let stage = |record| {
            let stage = releases.stage("foo-1", record, false).expect("begun");
            stage.file("file").expect("begun").flush().expect("written");
            stage
        };
        drop(stage("1"));
        assert_eq!(releases.record("foo-1").expect("read"), None);
        assert!(releases.release("foo-1").expect("read").is_none());

        let (one, other) = (stage("1"), stage("2"));
        assert_eq!(one.publish().expect("new"), Published::New);
        other.publish().expect_err("there is a record");
        assert_eq!(
            releases.record("foo-1").expect("read").expect("there"),
            b"1"
        );
        assert!(releases.release("foo-1").expect("read").is_some());
        assert_eq!(releases.unsettled().expect("listed"), Unsettled::default());

        // Its record outlives it.
        fs::remove_dir_all(temp.path().join("foo-1")).expect("removed");
        stage("2").publish().expect_err("there is a record");
        assert!(releases.release("foo-1").expect("read").is_none());
        assert_eq!(
            releases.record("foo-1").expect("read").expect("there"),
            b"1"
        );
    }

    #[test]
    fn what_has_no_record_is_named() {
        let temp = tempfile::tempdir().expect("a folder");
        let releases = locked(temp.path()).expect("locked");
        for name in ["foo-1", "foo-2", ".hidden"] {
            fs::create_dir(temp.path().join(name)).expect("made");
        }
        fs::write(temp.path().join("file"), b"").expect("written");
        releases.keep_record("foo-1", "1").expect("kept");
        let unsettled = releases.unsettled().expect("listed");
        assert_eq!(unsettled.unrecorded, ["foo-2"]);
    }

    /// What is on the disk when a run is killed around the moment in which a release appears.
    #[test]
    fn a_release_that_appeared_is_recorded_even_if_it_is_gone() {
        let temp = tempfile::tempdir().expect("a folder");
        let at = |name: &str| temp.path().join(name);
        fs::create_dir(at(RECORDS)).expect("made");
        let [before, after] = ["a", "b"].map(|digit| {
            let id = digit.repeat(16);
            format!(".countersign-{id}-{id}-{id}")
        });
        fs::create_dir(at(&before)).expect("made");
        for (aside, name) in [(before, "foo-1"), (after, "foo-2")] {
            let pending = format!("{RECORDS}/{aside}-{name}");
            fs::write(at(&pending), name).expect("written");
        }
        let record = |name| {
            let releases = locked(temp.path()).expect("locked");
            releases.record(name).expect("read")
        };
        assert_eq!(record("foo-1"), None, "it did not appear");
        assert_eq!(record("foo-2").as_deref(), Some(&b"foo-2"[..]), "it did");
        assert_eq!(fs::read_dir(at(RECORDS)).expect("read").count(), 1);
    }

    #[test]
    fn what_is_withdrawn_is_moved_to_where_nobody_is_served() {
        let temp = tempfile::tempdir().expect("a folder");
        let releases = locked(temp.path()).expect("locked");
        for name in ["foo-1", "foo-1.withdrawal", "foo-2.withdrawal"] {
            fs::create_dir(temp.path().join(name)).expect("made");
        }
        let unsettled = releases.unsettled().expect("listed");
        assert_eq!(unsettled.withdrawn, ["foo-1"]);
        assert_eq!(unsettled.unrecorded, ["foo-1"]);
        assert!(releases.set_aside("foo-1").expect("moved"));
        assert!(!releases.set_aside("foo-1").expect("it is gone"));
        assert_eq!(releases.unsettled().expect("listed"), Unsettled::default());
        let aside = temp.path().join(SET_ASIDE);
        assert!(aside.join("foo-1").is_dir());
        let mode = std::os::unix::fs::PermissionsExt::mode(
            &fs::metadata(aside).expect("there").permissions(),
        );
        assert_eq!(mode & 0o777, 0o700);
    }
}
