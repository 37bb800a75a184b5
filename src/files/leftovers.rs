//! Whose the things aside are, and which of them nobody needs any more.
//!
//! A mount need not share its locks, and two hosts that write to one folder know nothing of each
//! other. So the name of what is aside says who made it, `.countersign-OWNER-PLACE-RUN`, and nobody
//! removes what another owner made unless a person asks for that.
//!
//! No run takes over what another one left aside: one that finishes an interrupted run makes its
//! copies anew. So what can be resumed is what its own run may still complete, because that has not
//! ended. Whether it has is known of a run of the same place, whose lock is free then. A place is
//! the owner's folder itself, in one start of the operating system. Of a run of a copy of the
//! owner, on another host or on this one, or from before a restart, it is not known: what it left
//! stays for seven days.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use super::lock::{Sharing, hold_there, take};
use super::{ASIDE, FileError, FileFault, FileLock, Folder, GONE, Kind};

/// The file with the id, in an owner's folder.
const ID: &str = "id";
/// How many digits an id has.
const DIGITS: usize = 16;
/// How many bytes a name has: three ids.
pub(super) const LENGTH: usize = ASIDE.len() + 3 * DIGITS + 2;
/// How long something stays whose run may still be going on, in seconds.
const KEPT: i64 = 7 * 24 * 60 * 60;
/// Another one for each start of the operating system.
const BOOT: &str = "/proc/sys/kernel/random/boot_id";

/// Who makes things aside: the home of a signing host, or the releases of a location.
#[derive(Debug, Clone)]
pub struct Owner {
    id: String,
    place: String,
    /// Its folder: the file with its id, and a locked file for each run.
    runs: Arc<Folder>,
}

/// The making of one thing aside, whose lock is held from before that is there until it is gone.
#[derive(Debug)]
pub(super) struct Run {
    owner: Owner,
    id: String,
    _lock: FileLock,
}

impl Owner {
    /// The one whose folder this is, which nobody else can write to. It gets its id here, once.
    pub fn open(folder: Folder) -> Result<Self, FileError> {
        let id = match read_id(&folder) {
            Err(FileError {
                fault: FileFault::Missing,
                ..
            }) => {
                let new = folder.prepare(ID, random_id().as_bytes(), 0o600)?;
                match new.appear() {
                    // Another process may have been first.
                    Ok(()) => {}
                    Err(error) if matches!(error.fault, FileFault::Exists) => {}
                    Err(error) => return Err(error),
                }
                read_id(&folder)?
            }
            id => id?,
        };
        let mut place = DefaultHasher::new();
        match fs::read(BOOT) {
            Ok(boot) => (boot, folder.place()?).hash(&mut place),
            // No run of another process is known to have ended.
            Err(_) => random_id().hash(&mut place),
        }
        Ok(Self {
            id,
            place: format!("{:016x}", place.finish()),
            runs: Arc::new(folder),
        })
    }

    /// Begins to make something aside.
    pub(super) fn begin(&self) -> Result<Run, FileError> {
        loop {
            let id = random_id();
            let path = self.runs.path().join(&id);
            match take(self.runs.create(&id, 0o600)?, &path, Sharing::Alone) {
                Ok(lock) if self.runs.has(&id) => {
                    return Ok(Run {
                        owner: self.clone(),
                        id,
                        _lock: lock,
                    });
                }
                // A sweep took it for that of a run that has ended.
                Ok(_) => {}
                Err(error) if matches!(error.fault, FileFault::Busy(_)) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// A name for a file that is aside only while this owner's other runs are locked out.
    pub(super) fn name(&self) -> String {
        self.name_of(&random_id())
    }

    fn name_of(&self, run: &str) -> String {
        format!("{ASIDE}{}-{}-{run}", self.id, self.place)
    }

    /// A name for what is being removed.
    pub fn gone(&self) -> OsString {
        format!("{GONE}{}-{}", self.id, random_id()).into()
    }

    /// Removes what this owner's runs left in `above`, except for what may still be needed.
    pub fn sweep(&self, above: &Folder) -> Result<(), FileError> {
        above.each::<FileError>(|name, kind| {
            self.remove_left(above, name, kind);
            Ok(())
        })?;
        self.tidy();
        Ok(())
    }

    /// Removes `name` in `above` if a run of this owner left it, as far as possible.
    pub fn remove_left(&self, above: &Folder, name: &OsStr, kind: Kind) {
        let is_left = self.is_left(above, name, KEPT).unwrap_or(false);
        if is_left && above.made_by_us(name) {
            // It stays for the next run.
            let _ = self.remove(above, name, kind);
        }
    }

    fn is_left(&self, above: &Folder, name: &OsStr, kept: i64) -> Result<bool, FileError> {
        match Name::parse(name) {
            None => Ok(self.is_gone(name)),
            Some(name) if name.owner != self.id => Ok(false),
            Some(name) if name.place == self.place => Ok(!self.is_running(name.run)),
            // By the clock of the file system. It is older still if nothing has happened in that
            // folder since.
            Some(_) => Ok(above.changed_at(name)? < above.changed()? - kept),
        }
    }

    /// Whether this owner was removing it, which any process of it can finish.
    fn is_gone(&self, name: &OsStr) -> bool {
        let ours = format!("{GONE}{}-", self.id);
        name.as_bytes().starts_with(ours.as_bytes())
    }

    /// The lock was taken before the thing was there, and it is there by now.
    fn is_running(&self, run: &str) -> bool {
        match hold_there(&self.runs, run) {
            Ok(_)
            | Err(FileError {
                fault: FileFault::Missing,
                ..
            }) => false,
            Err(_) => true,
        }
    }

    /// Removes what anyone left in `above` and did not change since `before`, in seconds since
    /// 1970, except for what a run of this owner is making now. Returns the name of each, or why it
    /// cannot be removed.
    pub fn sweep_older(
        &self,
        above: &Folder,
        before: i64,
    ) -> Result<Vec<Result<String, FileError>>, FileError> {
        let mut swept = Vec::new();
        above.each::<FileError>(|name, kind| {
            let is_old = || above.changed_at(name).is_ok_and(|at| at < before);
            let is_used = || {
                Name::parse(name).is_some_and(|it| {
                    it.owner == self.id && it.place == self.place && self.is_running(it.run)
                })
            };
            if (is_aside(name) || is_going(name)) && is_old() && !is_used() {
                let removed = self.remove(above, name, kind);
                swept.push(removed.map(|()| name.to_string_lossy().into_owned()));
            }
            Ok(())
        })?;
        Ok(swept)
    }

    fn remove(&self, above: &Folder, name: &OsStr, kind: Kind) -> Result<(), FileError> {
        if kind != Kind::Folder {
            return above.remove_file(name);
        }
        let folder = above.subfolder(name)?;
        if is_going(name) {
            return above.remove_own(name, &folder);
        }
        // Nobody can give it its own name any more.
        above.remove_opened(name, &folder, self)
    }

    /// Removes the files of runs that have ended, as far as possible.
    fn tidy(&self) {
        let _ = self.runs.each::<FileError>(|name, _| {
            if let Some(run) = name.to_str().filter(|run| is_id(run))
                && let Ok(_lock) = hold_there(&self.runs, run)
            {
                let _ = self.runs.remove_file(run);
            }
            Ok(())
        });
    }
}

impl Run {
    /// The name of what it makes.
    pub(super) fn name(&self) -> OsString {
        self.owner.name_of(&self.id).into()
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // Without its file it has ended.
        let _ = self.owner.runs.remove_file(&self.id);
    }
}

/// What the name of something aside says.
struct Name<'a> {
    owner: &'a str,
    place: &'a str,
    run: &'a str,
}

impl<'a> Name<'a> {
    fn parse(name: &'a OsStr) -> Option<Self> {
        let ids: Vec<_> = name.to_str()?.strip_prefix(ASIDE)?.split('-').collect();
        match ids[..] {
            [owner, place, run] if [owner, place, run].into_iter().all(is_id) => {
                Some(Self { owner, place, run })
            }
            _ => None,
        }
    }
}

fn is_id(text: &str) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    text.len() == DIGITS && text.bytes().all(is_digit)
}

/// Whether something of this name is, or was, on its way to appear.
pub(super) fn is_aside(name: &OsStr) -> bool {
    name.as_bytes().starts_with(ASIDE.as_bytes())
}

/// Whether something of this name was being removed.
fn is_going(name: &OsStr) -> bool {
    name.as_bytes().starts_with(GONE.as_bytes())
}

/// Sixteen digits that nobody could guess.
pub(super) fn random_id() -> String {
    let mut random = [0; 8];
    getrandom::fill(&mut random).expect("the operating system has random bytes");
    format!("{:016x}", u64::from_ne_bytes(random))
}

fn read_id(folder: &Folder) -> Result<String, FileError> {
    let id = folder.read(ID, DIGITS as u64)?;
    let id = String::from_utf8(id).ok().filter(|id| is_id(id));
    id.ok_or_else(|| {
        FileError::new(
            folder.path().join(ID),
            FileFault::Kind {
                found: "something else",
                wanted: "an id of sixteen digits: remove it, and there will be a new one",
            },
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    fn folder() -> (TempDir, Folder) {
        let temp = tempfile::tempdir().expect("a folder");
        let folder = Folder::open(temp.path()).expect("opened");
        (temp, folder)
    }

    fn owner_in(temp: &TempDir) -> Owner {
        Owner::open(Folder::open(temp.path()).expect("opened")).expect("an owner")
    }

    /// The folder of a run, which goes on until it is dropped.
    fn begun(owner: &Owner, above: &Folder) -> (Run, OsString) {
        let run = owner.begin().expect("begun");
        let (name, folder) = above.aside(&run).expect("made");
        folder.create("file", 0o644).expect("made");
        (run, name)
    }

    #[test]
    fn an_owner_removes_what_its_own_runs_left_and_nothing_else() {
        let [ours, others] = [folder().0, folder().0];
        let (_temp, above) = folder();
        let (owner, other) = (owner_in(&ours), owner_in(&others));
        let (running, kept) = begun(&owner, &above);
        let (_, left) = begun(&owner, &above);
        let (_, of_other) = begun(&other, &above);
        let gone = [owner.gone(), other.gone()];
        for gone in &gone {
            above.private_subfolder(gone).expect("made");
        }
        above
            .create(&owner.name(), 0o644)
            .expect("a file that did not appear");
        for name in [".countersign-old", ".hidden", "file"] {
            above.private_subfolder(name).expect("made");
        }
        owner_in(&ours).sweep(&above).expect("swept");
        let mut expected: Vec<OsString> = [".countersign-old", ".hidden", "file"]
            .map(OsString::from)
            .into();
        expected.extend([kept.clone(), of_other.clone(), gone[1].clone()]);
        expected.sort();
        assert_eq!(above.names(9).expect("listed"), expected);
        assert_eq!(left.len(), LENGTH);

        drop(running);
        owner.sweep(&above).expect("swept");
        assert!(!above.has(&kept), "its run has ended");
        assert!(above.has(&of_other));
        assert_eq!(owner.runs.names(9).expect("listed"), [ID]);
    }

    /// On another host, or on this one.
    #[test]
    fn what_a_copy_of_an_owner_makes_stays_for_seven_days() {
        let [ours, copied] = [folder().0, folder().0];
        let (_temp, above) = folder();
        let owner = owner_in(&ours);
        fs::copy(ours.path().join(ID), copied.path().join(ID)).expect("copied");
        let copy = owner_in(&copied);
        assert_eq!(owner.id, copy.id);
        let (_, left) = begun(&copy, &above);
        owner.sweep(&above).expect("swept");
        assert!(above.has(&left));
        let is_left = |kept| owner.is_left(&above, &left, kept).expect("known");
        assert!(!is_left(KEPT), "it was made just now");
        assert!(is_left(-1), "that long ago");
        copy.sweep(&above).expect("swept");
        assert!(!above.has(&left), "its own run has ended");
    }

    #[test]
    fn what_is_old_goes_whose_it_may_be_and_what_is_in_use_stays() {
        let [ours, others] = [folder().0, folder().0];
        let (_temp, above) = folder();
        let (owner, other) = (owner_in(&ours), owner_in(&others));
        let (_running, kept) = begun(&owner, &above);
        let (_, of_other) = begun(&other, &above);
        for name in [
            ".countersign-old",
            ".countersign.gone-1",
            ".countersign.lock",
        ] {
            above.private_subfolder(name).expect("made");
        }
        let swept = |before| {
            let swept = owner.sweep_older(&above, before).expect("listed");
            let swept = swept.into_iter().collect::<Result<Vec<_>, _>>();
            swept.expect("removed")
        };
        assert_eq!(swept(0), [""; 0]);
        let mut removed = swept(i64::MAX);
        removed.sort();
        let of_other = of_other.into_string().expect("text");
        let mut expected = [
            ".countersign-old".to_owned(),
            ".countersign.gone-1".to_owned(),
            of_other,
        ];
        expected.sort();
        assert_eq!(removed, expected);
        assert_eq!(
            above.names(9).expect("listed"),
            [kept, ".countersign.lock".into()]
        );
    }

    #[test]
    fn an_owner_has_one_id_whoever_is_first() {
        let temp = folder().0;
        let ids: Vec<_> = std::thread::scope(|scope| {
            let opened: Vec<_> = (0..8).map(|_| scope.spawn(|| owner_in(&temp).id)).collect();
            let ids = opened.into_iter().map(|it| it.join().expect("an id"));
            ids.collect()
        });
        assert!(ids.iter().all(|id| *id == ids[0] && is_id(id)), "{ids:?}");
        fs::write(temp.path().join(ID), "x").expect("written");
        Owner::open(Folder::open(temp.path()).expect("opened")).expect_err("no id");
    }
}
