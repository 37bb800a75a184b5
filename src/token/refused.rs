//! The record of PINs that a token did not accept, by where they came from: no process gives the
//! token the same PIN again.
//!
//! A try is recorded before it is made and struck out when the token has accepted it, under one
//! lock: of many processes with the same stale PIN one makes a try, and a process that is killed
//! or cannot write costs none. A record whose try has no answer, because the process or the token
//! went away, is compared with what the token reports of its tries; where that shows nothing, one
//! more try is made.
//!
//! Nothing of a PIN is in the record, and none that a person typed is ever recorded.

use std::fmt::Display;
use std::fs::{File, Metadata, OpenOptions};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::retry_on_intr;
use serde::{Deserialize, Serialize};

use super::description::{Pin, PinRequest, PinState};
use super::error::TokenError;
use crate::domain::time::Timestamp;
use crate::files::{FileError, FileFault, InputFile, replace, with_suffix};

/// The maximum size of the file, in bytes.
const LARGEST: u64 = 64 << 10;

/// How many tries are remembered. The first to be forgotten is of a file that was replaced since, a
/// hundred times, each time with a wrong PIN.
const MOST: usize = 100;

/// The file with the record.
#[derive(Debug, Clone)]
pub struct RefusedPins(Option<PathBuf>);

/// What tells one PIN of a source from the next, without its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Origin {
    /// A file, until it changes.
    File {
        device: u64,
        inode: u64,
        /// When it was last changed, in seconds and nanoseconds.
        changed: (i64, i64),
        size: u64,
    },
    /// A systemd credential: each start of a service has new files.
    Credential(String),
    /// Any file descriptor.
    Descriptor,
}

impl Origin {
    pub(super) fn of_file(status: &Metadata) -> Self {
        Self::File {
            device: status.dev(),
            inode: status.ino(),
            changed: (status.ctime(), status.ctime_nsec()),
            size: status.size(),
        }
    }

    /// Whether `other` is from the same place, changed or not.
    fn is_place_of(&self, other: &Self) -> bool {
        let file = |origin: &Self| match origin {
            Self::File { device, inode, .. } => Some((*device, *inode)),
            Self::Credential(_) | Self::Descriptor => None,
        };
        self == other || file(self).is_some_and(|place| file(other) == Some(place))
    }
}

/// What the file has, as JSON.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    format: Format,
    tried: Vec<Tried>,
}

#[derive(Debug, Serialize, Deserialize)]
enum Format {
    #[serde(rename = "countersign refused PINs 1")]
    One,
}

/// A PIN that a token was given and has not accepted.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tried {
    /// Its name and serial number.
    token: String,
    pin: Pin,
    origin: Origin,
    at: Timestamp,
    /// The state of the PIN before.
    before: PinState,
    /// Whether it is not tried again whatever the token reports.
    refused: bool,
}

impl Tried {
    fn new(request: &PinRequest, origin: &Origin, refused: bool) -> Self {
        Self {
            token: request.token.clone(),
            pin: request.pin,
            origin: origin.clone(),
            at: Timestamp::now(),
            before: request.state,
            refused,
        }
    }

    fn is(&self, request: &PinRequest) -> bool {
        (&self.token, self.pin) == (&request.token, request.pin)
    }

    /// Whether it may be tried again, now that the token reports this.
    fn may_be_repeated(&self, now: PinState) -> bool {
        !self.refused && lost_a_try(self.before, now) != Some(true)
    }
}

/// Whether a try was lost between two states; `None` where they do not show it.
fn lost_a_try(before: PinState, now: PinState) -> Option<bool> {
    let rank = |state| match state {
        PinState::Locked => 0,
        PinState::FinalTry => 1,
        PinState::Left(tries) => u16::from(tries),
        PinState::CountLow => 1000,
        PinState::Untouched | PinState::NotNeeded => 1001,
    };
    match (rank(now), rank(before)) {
        (now, before) if now < before => Some(true),
        (now, before) if now > before => Some(false),
        _ => matches!(now, PinState::Left(_)).then_some(false),
    }
}

impl RefusedPins {
    /// The record in the file at `path`, which need not be there; its folder must be.
    pub fn at(path: PathBuf) -> Self {
        Self(Some(path))
    }

    /// No record: for a token that is not unlocked.
    pub fn none() -> Self {
        Self(None)
    }

    /// When the token refused this PIN, if it is not to be tried again.
    pub(super) fn refused(
        &self,
        request: &PinRequest,
        origin: &Origin,
    ) -> Result<Option<Timestamp>, TokenError> {
        let known = take(&mut self.read()?, request, origin);
        let refused = known.filter(|known| !known.may_be_repeated(request.state));
        Ok(refused.map(|known| known.at))
    }

    /// Makes the one try of a PIN, unless the token refused it before: `again` is the error then.
    pub(super) fn try_once<T>(
        &self,
        request: &PinRequest,
        origin: &Origin,
        again: impl FnOnce(Timestamp) -> TokenError,
        attempt: impl FnOnce() -> Result<T, TokenError>,
    ) -> Result<T, TokenError> {
        let _lock = self.lock()?;
        let mut tried = self.read()?;
        let known = take(&mut tried, request, origin);
        if let Some(known) = known
            .as_ref()
            .filter(|known| !known.may_be_repeated(request.state))
        {
            return Err(again(known.at));
        }
        // The second in a row without an answer is the last.
        let refused = known.is_some_and(|known| lost_a_try(known.before, request.state).is_none());
        tried.push(Tried::new(request, origin, refused));
        self.write(&tried)?;
        let result = attempt();
        match &result {
            Ok(_) => {
                tried.pop();
                self.write(&tried)?;
            }
            Err(TokenError::PinWrong { .. }) => {
                tried.pop();
                tried.push(Tried::new(request, origin, true));
                // If this fails, the try is in the record as one without an answer.
                let _recorded = self.write(&tried);
            }
            // The token did not look at the PIN.
            Err(TokenError::Busy { .. } | TokenError::PinNotSet { .. }) => {
                tried.pop();
                let _recorded = self.write(&tried);
            }
            Err(_) => {}
        }
        result
    }

    /// Records a PIN that was right once, and that the token then refused.
    pub(super) fn record(&self, request: &PinRequest, origin: &Origin) -> Result<(), TokenError> {
        let _lock = self.lock()?;
        let mut tried = self.read()?;
        take(&mut tried, request, origin);
        tried.push(Tried::new(request, origin, true));
        self.write(&tried)
    }

    /// Forgets every refusal by this token, to which a person has given its PIN. A record that
    /// cannot be read is made anew.
    pub(super) fn forget(&self, request: &PinRequest) -> Result<(), TokenError> {
        let concerned = |tried: &[Tried]| tried.iter().any(|tried| tried.is(request));
        if self.read().is_ok_and(|tried| !concerned(&tried)) {
            return Ok(());
        }
        let _lock = self.lock()?;
        let mut tried = self.read().unwrap_or_default();
        tried.retain(|tried| !tried.is(request));
        self.write(&tried)
    }

    fn read(&self) -> Result<Vec<Tried>, TokenError> {
        let Some(path) = &self.0 else {
            return Ok(Vec::new());
        };
        let bytes = match InputFile::open(path).and_then(|file| file.read_whole(LARGEST)) {
            Ok(bytes) => bytes,
            Err(FileError {
                fault: FileFault::Missing,
                ..
            }) => return Ok(Vec::new()),
            Err(error) => return Err(unusable(path, &error.fault)),
        };
        let record: Record = serde_json::from_slice(&bytes)
            .map_err(|error| unusable(path, &format!("is damaged ({error})")))?;
        Ok(record.tried)
    }

    fn write(&self, tried: &[Tried]) -> Result<(), TokenError> {
        let Some(path) = &self.0 else {
            return Ok(());
        };
        let mut tried = tried.to_vec();
        let is_file = |tried: &Tried| matches!(tried.origin, Origin::File { .. });
        while tried.len() > MOST
            && let Some(oldest) = tried.iter().position(is_file)
        {
            tried.remove(oldest);
        }
        let record = Record {
            format: Format::One,
            tried,
        };
        let bytes = serde_json::to_vec_pretty(&record).expect("every value has a form in JSON");
        replace(path, &bytes, 0o600).map_err(|error| unusable(path, &error.fault))
    }

    /// Waits for the process that tries a PIN just now.
    fn lock(&self) -> Result<Option<File>, TokenError> {
        let Some(path) = &self.0 else {
            return Ok(None);
        };
        let path = with_suffix(path, ".lock");
        let flags = i32::try_from(OFlags::NOFOLLOW.bits()).expect("open flags are those of an int");
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(flags)
            .open(&path);
        let locked = file.and_then(|file| {
            retry_on_intr(|| flock(&file, FlockOperation::LockExclusive))?;
            Ok(file)
        });
        locked
            .map(Some)
            .map_err(|error| unusable(&path, &FileFault::from(error)))
    }
}

/// Takes out what is known of this PIN, and what the same file had before it changed.
fn take(tried: &mut Vec<Tried>, request: &PinRequest, origin: &Origin) -> Option<Tried> {
    let concerned = |tried: &mut Tried| tried.is(request) && tried.origin.is_place_of(origin);
    let taken: Vec<_> = tried.extract_if(.., concerned).collect();
    taken.into_iter().find(|tried| tried.origin == *origin)
}

fn unusable(path: &Path, reason: &dyn Display) -> TokenError {
    TokenError::RefusedPins {
        path: path.display().to_string(),
        reason: reason.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::PinState::{CountLow, FinalTry, Left, Untouched};
    use super::*;

    fn request(state: PinState) -> PinRequest {
        PinRequest {
            token: "release (serial 1)".into(),
            pin: Pin::User,
            state,
        }
    }

    fn file(changed: i64) -> Origin {
        Origin::File {
            device: 1,
            inode: 2,
            changed: (changed, 0),
            size: 7,
        }
    }

    fn lost() -> TokenError {
        TokenError::SessionLost {
            token: "release".into(),
            reason: "gone".into(),
        }
    }

    fn wrong() -> TokenError {
        TokenError::PinWrong {
            token: "release".into(),
            pin: Pin::User,
            state: PinState::CountLow,
            odd: None,
        }
    }

    fn again(_: Timestamp) -> TokenError {
        TokenError::PinLocked {
            token: "not tried".into(),
            pin: Pin::User,
        }
    }

    /// A record, and the number of tries that were made.
    struct Tries {
        folder: tempfile::TempDir,
        made: AtomicU32,
    }

    impl Tries {
        fn new() -> Self {
            Self {
                folder: tempfile::tempdir().expect("a folder"),
                made: AtomicU32::new(0),
            }
        }

        fn path(&self) -> PathBuf {
            self.folder.path().join("refused-pins")
        }

        fn pins(&self) -> RefusedPins {
            RefusedPins::at(self.path())
        }

        /// Whether this PIN was tried, with this answer.
        fn tried(
            &self,
            state: PinState,
            origin: &Origin,
            answer: impl FnOnce() -> Result<(), TokenError>,
        ) -> bool {
            let before = self.made.load(Ordering::SeqCst);
            let attempt = || {
                self.made.fetch_add(1, Ordering::SeqCst);
                answer()
            };
            let _told = self
                .pins()
                .try_once(&request(state), origin, again, attempt);
            self.made.load(Ordering::SeqCst) > before
        }

        fn refused(&self, origin: &Origin) -> bool {
            let refused = self.pins().refused(&request(PinState::Untouched), origin);
            refused.expect("a record").is_some()
        }
    }

    #[test]
    fn a_refused_pin_is_not_tried_until_its_file_changed() {
        let tries = Tries::new();
        assert!(tries.tried(Untouched, &file(1), || Err(wrong())));
        for state in [Untouched, CountLow, Left(3)] {
            assert!(!tries.tried(state, &file(1), || Ok(())));
            assert!(tries.refused(&file(1)));
        }
        assert!(tries.tried(CountLow, &file(2), || Err(wrong())));
        assert!(!tries.tried(CountLow, &file(2), || Ok(())));
        // Of a file one state is known, and another token knows nothing of it.
        assert_eq!(tries.pins().read().expect("a record").len(), 1);
        let other = PinRequest {
            token: "release (serial 2)".into(),
            ..request(Untouched)
        };
        assert_eq!(tries.pins().refused(&other, &file(2)).ok(), Some(None));
        let admin = PinRequest {
            pin: Pin::Admin,
            ..request(Untouched)
        };
        assert_eq!(tries.pins().refused(&admin, &file(2)).ok(), Some(None));
    }

    #[test]
    fn only_a_person_makes_a_credential_or_descriptor_usable_again() {
        for origin in [Origin::Descriptor, Origin::Credential("hsm-pin".into())] {
            let tries = Tries::new();
            assert!(tries.tried(Untouched, &origin, || Err(wrong())));
            assert!(tries.tried(Untouched, &file(1), || Ok(())));
            assert!(!tries.tried(Untouched, &origin, || Ok(())));
            tries.pins().forget(&request(Untouched)).expect("forgotten");
            assert!(tries.tried(Untouched, &origin, || Ok(())));
        }
    }

    #[test]
    fn a_pin_that_was_accepted_leaves_nothing() {
        let tries = Tries::new();
        for _ in 0..3 {
            assert!(tries.tried(Untouched, &file(1), || Ok(())));
        }
        assert_eq!(tries.pins().read().expect("a record").len(), 0);
    }

    /// The process or the token went away: what the token reports decides, and where that shows
    /// nothing, the next try is the last.
    #[test]
    fn a_try_without_an_answer_is_judged_by_the_state_of_the_token() {
        for (before, now, more) in [
            (Untouched, Untouched, 1),
            (CountLow, CountLow, 1),
            (Untouched, CountLow, 0),
            (CountLow, FinalTry, 0),
            (Left(3), Left(2), 0),
            (Left(3), FinalTry, 0),
            (Left(3), Left(3), 5),
            (Left(2), Left(3), 5),
        ] {
            let tries = Tries::new();
            assert!(tries.tried(before, &file(1), || Err(lost())));
            let again = (0..5).filter(|_| tries.tried(now, &file(1), || Err(lost())));
            assert_eq!(again.count(), more, "{before:?}, then {now:?}");
        }
    }

    #[test]
    fn a_try_is_recorded_before_it_is_made() {
        let tries = Tries::new();
        tries.tried(Left(3), &file(1), || {
            // As another process would see it if this one were killed now.
            let known = tries.pins().read().expect("a record");
            assert_eq!((known.len(), known[0].refused), (1, false));
            Ok(())
        });
        let unwritable = RefusedPins::at(tries.folder.path().join("none/refused-pins"));
        let made = || -> Result<(), TokenError> { panic!("tried without a record") };
        let refused = unwritable.try_once(&request(Untouched), &file(1), again, made);
        assert!(matches!(refused, Err(TokenError::RefusedPins { .. })));
    }

    #[test]
    fn many_at_once_make_one_try() {
        let tries = &Tries::new();
        std::thread::scope(|scope| {
            for _ in 0..12 {
                scope.spawn(|| {
                    tries.tried(Untouched, &file(1), || {
                        std::thread::sleep(std::time::Duration::from_millis(20));
                        Err(wrong())
                    })
                });
            }
        });
        assert_eq!(tries.made.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_damaged_record_stops_every_try_until_a_person_used_the_token() {
        let tries = Tries::new();
        assert!(tries.tried(Untouched, &file(1), || Err(wrong())));
        let whole = std::fs::read(tries.path()).expect("a record");
        let text = String::from_utf8_lossy(&whole).into_owned();
        let half = &whole[..whole.len() / 2];
        let more = text.replace("\"at\"", "\"when\"");
        let newer = text.replace("PINs 1", "PINs 2");
        let long = [&whole[..], &vec![b' '; 70_000]].concat();
        for damaged in [half, b"", b"\0\0", more.as_bytes(), newer.as_bytes(), &long] {
            std::fs::write(tries.path(), damaged).expect("damaged");
            let made = || -> Result<(), TokenError> { panic!("tried") };
            let pins = tries.pins();
            let refused = pins.try_once(&request(Untouched), &file(2), again, made);
            assert!(matches!(refused, Err(TokenError::RefusedPins { .. })));
            pins.forget(&request(Untouched)).expect("made anew");
            assert!(tries.tried(Untouched, &file(2), || Ok(())));
        }
        std::fs::remove_file(tries.path()).expect("removed");
        std::os::unix::fs::symlink("/dev/null", tries.path()).expect("a link");
        assert!(!tries.tried(Untouched, &file(2), || Ok(())));
    }

    #[test]
    fn the_record_does_not_grow_without_end() {
        let tries = Tries::new();
        for inode in 0..150 {
            let origin = Origin::File {
                device: 1,
                inode,
                changed: (1, 1),
                size: 7,
            };
            tries.tried(Untouched, &origin, || Err(wrong()));
        }
        assert_eq!(tries.pins().read().expect("a record").len(), MOST);
        assert!(std::fs::metadata(tries.path()).expect("a record").len() < LARGEST);
    }
}
