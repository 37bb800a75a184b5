//! The releases that were verified, and L's memory of them.

use std::collections::BTreeSet;
use std::io::Write;

use super::{RECORDS, if_there};
use crate::domain::admission::LARGEST_REPORT;
use crate::files::{FileLock, Folder, Kind, StagedFolder, hold_in};
use crate::location::{Fault, Published, Releases, Source, Stage};

/// In the releases and not in the inbox: anyone who may push could keep it locked there.
const LOCK: &str = ".countersign.lock";

/// A folder of verified releases, one folder each, that no other process has open.
pub(in crate::location) struct ReleasesFolder {
    folder: Folder,
    _lock: FileLock,
}

impl ReleasesFolder {
    /// Takes the lock, and removes what runs that were killed left among the records.
    pub(super) fn lock(folder: Folder) -> Result<Self, Fault> {
        let lock = hold_in(&folder, LOCK).map_err(Fault::of_named)?;
        let releases = Self {
            folder,
            _lock: lock,
        };
        if let Some(records) = releases.records()? {
            records.sweep()?;
        }
        Ok(releases)
    }

    fn records(&self) -> Result<Option<Folder>, Fault> {
        if_there(self.folder.subfolder(RECORDS).map_err(Fault::from))
    }
}

impl Releases for ReleasesFolder {
    fn stage(&self, name: &str, record: &str) -> Result<Box<dyn Stage + '_>, Fault> {
        Ok(Box::new(NewRelease {
            staged: StagedFolder::new_in(&self.folder, name)?,
            records: self.folder.public_subfolder(RECORDS)?,
            name: name.to_owned(),
            record: record.to_owned(),
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

    fn unrecorded(&self) -> Result<Vec<String>, Fault> {
        let mut recorded = BTreeSet::new();
        if let Some(records) = self.records()? {
            recorded.extend(records.names(usize::MAX)?);
        }
        let mut names = Vec::new();
        self.folder.each::<Fault>(|name, kind| {
            if kind == Kind::Folder && !recorded.contains(name) {
                names.extend(
                    name.to_str()
                        .filter(|it| !it.starts_with('.'))
                        .map(str::to_owned),
                );
            }
            Ok(())
        })?;
        Ok(names)
    }

    fn keep_record(&self, name: &str, record: &str) -> Result<(), Fault> {
        let records = self.folder.public_subfolder(RECORDS)?;
        Ok(records.prepare(name, record.as_bytes(), 0o644)?.appear()?)
    }
}

/// A release on its way to those that are served.
struct NewRelease {
    staged: StagedFolder,
    records: Folder,
    name: String,
    record: String,
}

impl Stage for NewRelease {
    fn file(&self, name: &str) -> Result<Box<dyn Write + '_>, Fault> {
        Stage::file(&self.staged, name)
    }

    /// The record is on the disk before, and needs nothing but its name after: a full disk cannot
    /// come in between. A run that is killed there leaves a release without a record, which the
    /// next one records before it does anything else.
    fn publish(self: Box<Self>) -> Result<Published, Fault> {
        let Self {
            staged, records, ..
        } = *self;
        if records.has(&self.name) {
            let text = format!("`{}` was admitted before", staged.target().display());
            return Err(Fault::Occupied(text));
        }
        let record = records.prepare(&self.name, self.record.as_bytes(), 0o644)?;
        let published = Stage::publish(Box::new(staged))?;
        record.appear()?;
        Ok(published)
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
            let stage = releases.stage("foo-1", record).expect("begun");
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
        assert_eq!(releases.unrecorded().expect("listed"), [""; 0]);

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
        assert_eq!(releases.unrecorded().expect("listed"), ["foo-2"]);
    }
}
