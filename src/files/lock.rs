//! Locks between processes: who has one, and how long others wait for it.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, OFlags, flock, openat};

use super::{FileError, FileFault, Folder};

/// Maximum length of a command line that is shown, in characters.
const LONGEST_COMMAND: usize = 120;
/// How often it is asked again for a lock.
const PAUSE: Duration = Duration::from_millis(20);
/// How long a wait is too short to be shown.
const UNNOTICED: Duration = Duration::from_secs(1);

/// A lock that ends when it is dropped, or with the process.
#[derive(Debug)]
pub struct FileLock {
    open: File,
    path: PathBuf,
    then: Then,
}

/// What becomes of a lock's file when it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// Nothing: it says nothing.
    Stays,
    /// It no longer says who has it.
    IsEmptied,
    /// It is removed.
    IsRemoved,
}

/// Whether others may have a lock at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// No other process.
    Alone,
    /// Other processes that share it too.
    Together,
}

/// How long to wait for a lock that another process has.
#[derive(Debug, Clone, Copy)]
pub struct Wait {
    /// At most this long; `None` for as long as it takes.
    pub limit: Option<Duration>,
    /// Is called once if it takes longer than a second, with the process that has the lock.
    pub show: fn(&Holder),
}

impl Wait {
    /// Not at all.
    pub const NOT: Self = Self {
        limit: Some(Duration::ZERO),
        show: |_| {},
    };
}

/// The process that has a lock, with its command and for how long, as the lock's file has it. Not
/// fit for a terminal as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder(String);

impl Holder {
    /// What the file of a lock says of this process.
    fn line() -> String {
        let mut words = std::env::args_os();
        let program = words.next().map(PathBuf::from).unwrap_or_default();
        let program = program.file_name().unwrap_or_default().to_owned();
        let words: Vec<_> = std::iter::once(program)
            .chain(words)
            .map(|word| word.to_string_lossy().into_owned())
            .collect();
        let command: String = words.join(" ").chars().take(LONGEST_COMMAND).collect();
        format!("process {} (`{command}`)\n", std::process::id())
    }

    /// As the file of a lock says, which others may be writing just now.
    fn read(path: &Path) -> Self {
        let mut text = String::new();
        let limit = 4 * LONGEST_COMMAND as u64;
        let read = File::open(path).and_then(|file| {
            let since = file.metadata()?.modified()?;
            file.take(limit).read_to_string(&mut text)?;
            Ok(since.elapsed().unwrap_or_default().as_secs())
        });
        // Those who share it may have written both.
        match (read, text.lines().next()) {
            (Ok(seconds), Some(line)) => Self(format!("{line}, for {seconds} s")),
            _ => Self("another countersign process".to_owned()),
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Takes the lock in the file at `path`, which is made if it is not there and which nobody else can
/// open. [`FileFault::Busy`] when another process still has it after the wait.
pub fn hold(path: &Path, sharing: Sharing, wait: Wait) -> Result<FileLock, FileError> {
    let mut lock = wait.until(path, || take(open(path)?, path, sharing))?;
    lock.name_holder(Then::IsEmptied);
    Ok(lock)
}

/// As [`hold`], for a lock that few processes ever ask for: its file is removed with it.
pub fn hold_passing(path: &Path, wait: Wait) -> Result<FileLock, FileError> {
    let mut lock = wait.until(path, || {
        loop {
            let lock = take(open(path)?, path, Sharing::Alone)?;
            // The process that had it may have removed the file between the two steps.
            if lock.is_at(path) {
                return Ok(lock);
            }
        }
    })?;
    lock.name_holder(Then::IsRemoved);
    Ok(lock)
}

/// Takes the lock in a folder that is open; a link is not followed.
pub fn hold_in(folder: &Folder, name: &str) -> Result<FileLock, FileError> {
    open_and_take(folder, name, OFlags::CREATE)
}

/// The same in a file that must be there.
pub(super) fn hold_there(folder: &Folder, name: &str) -> Result<FileLock, FileError> {
    open_and_take(folder, name, OFlags::empty())
}

fn open_and_take(folder: &Folder, name: &str, more: OFlags) -> Result<FileLock, FileError> {
    let path = folder.path().join(name);
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | more;
    let file = openat(&folder.handle, name, flags, Mode::RUSR | Mode::WUSR);
    take(
        file.map_err(|error| FileError::io(&path)(error.into()))?
            .into(),
        &path,
        Sharing::Alone,
    )
}

/// Takes the lock of a folder, which lasts until the folder is closed too. [`FileFault::Busy`] when
/// another process still has it after the wait.
pub fn hold_folder(folder: &Folder, wait: Wait) -> Result<FileLock, FileError> {
    let path = folder.path();
    wait.until(path, || take(folder.lockable()?, path, Sharing::Alone))
}

impl Wait {
    fn until<T>(
        self,
        path: &Path,
        mut take: impl FnMut() -> Result<T, FileError>,
    ) -> Result<T, FileError> {
        let start = Instant::now();
        let mut shown = false;
        loop {
            let busy = match take() {
                Err(error) if matches!(error.fault, FileFault::Busy(_)) => error,
                taken => return taken,
            };
            let waited = start.elapsed();
            if self.limit.is_some_and(|limit| waited >= limit) {
                return Err(busy);
            }
            if waited >= UNNOTICED && !shown {
                (self.show)(&Holder::read(path));
                shown = true;
            }
            std::thread::sleep(PAUSE);
        }
    }
}

impl FileLock {
    /// Changes whether others may have it. For a moment it is free between the two; after an error
    /// it is not held.
    pub fn change(&mut self, sharing: Sharing, wait: Wait) -> Result<(), FileError> {
        wait.until(&self.path, || lock(&self.open, &self.path, sharing))?;
        self.name_holder(self.then);
        Ok(())
    }

    fn is_at(&self, path: &Path) -> bool {
        let id = |status: std::fs::Metadata| (status.dev(), status.ino());
        let ours = self.open.metadata().map(id).ok();
        ours.is_some() && ours == path.metadata().map(id).ok()
    }

    /// Writes into its file who has it, for those who wait. Where the disk is full nothing is lost
    /// but that.
    fn name_holder(&mut self, then: Then) {
        self.then = then;
        let _shown_as_unknown = self
            .open
            .set_len(0)
            .and_then(|()| self.open.write_all(Holder::line().as_bytes()));
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        let _stays_without_harm = match self.then {
            Then::Stays => Ok(()),
            Then::IsEmptied => self.open.set_len(0),
            Then::IsRemoved => std::fs::remove_file(&self.path),
        };
    }
}

fn open(path: &Path) -> Result<File, FileError> {
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path);
    file.map_err(FileError::io(path))
}

pub(super) fn take(open: File, path: &Path, sharing: Sharing) -> Result<FileLock, FileError> {
    lock(&open, path, sharing)?;
    Ok(FileLock {
        open,
        path: path.to_owned(),
        then: Then::Stays,
    })
}

fn lock(open: &File, path: &Path, sharing: Sharing) -> Result<(), FileError> {
    let operation = match sharing {
        Sharing::Alone => FlockOperation::NonBlockingLockExclusive,
        Sharing::Together => FlockOperation::NonBlockingLockShared,
    };
    flock(open, operation).map_err(|error| match error {
        rustix::io::Errno::WOULDBLOCK => FileError::new(path, FileFault::Busy(Holder::read(path))),
        error => FileError::io(path)(error.into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOT: Wait = Wait::NOT;

    fn busy(lock: Result<FileLock, FileError>) -> String {
        let error = lock.expect_err("another has it");
        assert!(matches!(error.fault, FileFault::Busy(_)), "{error}");
        error.to_string()
    }

    /// In a folder that others write into.
    #[test]
    fn a_fifo_in_place_of_a_lock_is_not_waited_for() {
        use rustix::fs::{FileType, mknodat};
        let temp = tempfile::tempdir().expect("a folder");
        let folder = Folder::open(temp.path()).expect("there");
        let mode = Mode::RUSR | Mode::WUSR;
        mknodat(&folder.handle, "lock", FileType::Fifo, mode, 0).expect("made");
        assert!(hold_in(&folder, "lock").is_err());
    }

    #[test]
    fn it_says_which_process_has_it_with_what_and_since_when() {
        let temp = tempfile::tempdir().expect("a folder");
        let path = temp.path().join("lock");
        for sharing in [Sharing::Alone, Sharing::Together] {
            let _held = hold(&path, sharing, NOT).expect("free");
            let error = busy(hold(&path, Sharing::Alone, NOT));
            let process = format!("is in use by process {} (`countersign", std::process::id());
            assert!(error.contains(&process), "{error}");
            assert!(error.ends_with("`), for 0 s"), "{error}");
        }
        std::fs::write(&path, b"").expect("written");
        let _held = hold_in(&Folder::open(temp.path()).expect("there"), "lock").expect("free");
        let error = busy(hold(&path, Sharing::Together, NOT));
        assert!(
            error.ends_with("in use by another countersign process"),
            "{error}"
        );
    }

    #[test]
    fn it_is_shared_only_by_those_that_share_it() {
        let temp = tempfile::tempdir().expect("a folder");
        let path = temp.path().join("lock");
        let mut first = hold(&path, Sharing::Alone, NOT).expect("free");
        busy(hold(&path, Sharing::Together, NOT));
        first.change(Sharing::Together, NOT).expect("nobody else");
        let second = hold(&path, Sharing::Together, NOT).expect("shared");
        busy(hold(&path, Sharing::Alone, NOT));
        drop(second);
        first.change(Sharing::Alone, NOT).expect("nobody else");
        busy(hold(&path, Sharing::Together, NOT));
    }

    /// Many processes, one of which is in at any time, although each removes the file.
    #[test]
    fn a_passing_lock_leaves_no_file_and_lets_in_one_at_a_time() {
        let temp = tempfile::tempdir().expect("a folder");
        let path = &temp.path().join("lock");
        let inside = &std::sync::atomic::AtomicU32::new(0);
        let wait = Wait { limit: None, ..NOT };
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(move || {
                    for _ in 0..50 {
                        let _held = hold_passing(path, wait).expect("after a while");
                        let before = inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                        assert_eq!(before, 0, "two have it");
                        inside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                    }
                });
            }
        });
        assert!(!path.exists());
        let _held = hold_passing(path, NOT).expect("free");
        let limit = Some(Duration::from_millis(60));
        let start = Instant::now();
        busy(hold_passing(path, Wait { limit, ..NOT }));
        assert!(start.elapsed() >= Duration::from_millis(60));
    }
}
