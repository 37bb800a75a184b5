//! L, the location that releases are served from, as far as it can be reached from here.
//!
//! What a release is and what makes it good is not known here. Each kind of location is a file of
//! its own, and is chosen in `open.rs`.

mod fault;
mod folder;
mod open;

use std::io::{Read, Write};
use std::path::PathBuf;

pub use fault::Fault;
pub use open::{anchor, inbox_and_releases, publish_to, source};

use crate::domain::digest::Sha256;
use crate::domain::time::Timestamp;

/// A release to be read, whose files have names such as `evidence/grant.json`.
pub trait Source {
    /// Opens a file: its size, and its bytes, to be read once. What goes wrong while it is read is
    /// a [`Fault`] within the [`std::io::Error`]; more than `limit` bytes are never read, and a
    /// connection that breaks is an error and not the end of the file.
    fn open(&self, name: &str, limit: u64) -> Result<(u64, Box<dyn Read + '_>), Fault>;

    /// The names of everything in it, sorted, with a `/` after that of a folder that was not looked
    /// into; a fault if there are more than `most`, and `None` where there is no way to know them.
    fn names(&self, most: usize) -> Result<Option<Vec<String>>, Fault>;

    /// Reads a file whole.
    fn read(&self, name: &str, limit: u64) -> Result<Vec<u8>, Fault> {
        let mut bytes = Vec::new();
        self.open(name, limit)?.1.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// What people call it.
    fn shown(&self) -> String;
}

/// A release on its way to where it is published: it appears complete or not at all. Dropped before
/// that, it leaves nothing.
pub trait Stage {
    /// Begins a file, which has no more to come once it was flushed. What goes wrong while it is
    /// written is a [`Fault`] within the [`std::io::Error`].
    fn file(&self, name: &str) -> Result<Box<dyn Write + '_>, Fault>;

    /// Makes the release appear, durably. Replaces nothing: [`Fault::Occupied`] if there is another
    /// of its name.
    fn publish(self: Box<Self>) -> Result<Published, Fault>;
}

/// What publishing a release did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// It appeared.
    New,
    /// The same release was there.
    Same,
}

/// The name of each thing that was removed, or why it cannot be.
pub type Swept = Vec<Result<String, Fault>>;

/// A location as H sees it: a place for releases, and reports on them. Anyone with access can have
/// written those.
pub trait Publish {
    /// Where a release of this name is or will be.
    fn place(&self, name: &str) -> Result<PathBuf, Fault>;

    /// Begins to publish a release with this list. `None` if it is there already, durably;
    /// [`Fault::Occupied`] if something else is.
    fn stage(&self, name: &str, list: Sha256) -> Result<Option<Box<dyn Stage + '_>>, Fault>;

    /// What is there under the name of a release.
    fn published(&self, name: &str) -> Result<Option<Box<dyn Source>>, Fault>;

    /// Removes what anyone left on its way to it, and did not change since.
    fn sweep_older(&self, before: Timestamp) -> Result<Swept, Fault>;

    /// What the location reports of a release with this list.
    fn state(&self, name: &str, list: Sha256) -> Result<State, Fault>;
}

/// A place for checkpoints of H's log, where the home is not. Anyone with access can have written
/// what is in it. What does not answer in time is a fault.
pub trait Anchor {
    /// Every checkpoint in it: what it is called there, and its bytes.
    fn notes(&self) -> Result<Vec<(String, Vec<u8>)>, Fault>;

    /// Keeps the checkpoint of a log of this size, durably. It replaces none.
    fn keep(&self, size: u64, note: String) -> Result<(), Fault>;

    /// Removes a checkpoint that this host made, and that a later one covers.
    fn remove(&self, name: &str) -> Result<(), Fault>;

    /// Where it is.
    fn shown(&self) -> String;
}

/// What a location reports of a release. Each report is a file: its name, and its content or why
/// that cannot be read.
#[derive(Debug, Default)]
pub struct State {
    /// That it was admitted.
    pub admitted: Option<(String, Result<Vec<u8>, Fault>)>,
    /// That a submission of its name was refused, and why.
    pub refused: Option<(String, Result<Vec<u8>, Fault>)>,
    /// Whether what was refused is this very release.
    pub still_there: bool,
}

/// Where releases come in, as L sees it. Anyone may have written what is in it.
pub trait Inbox {
    /// Hands over each submission, in no order, one after the other: none of it is kept in memory.
    /// What cannot be a submission is passed over.
    fn each(&self, take: &mut dyn FnMut(&dyn Submission)) -> Result<(), Fault>;

    /// Removes what anyone left on its way to it, and did not change since.
    fn sweep_older(&self, before: Timestamp) -> Result<Swept, Fault>;
}

/// A submission in an inbox, held open: what is put in its place later is left alone.
pub trait Submission {
    /// Its name, as it is: not fit for a terminal.
    fn name(&self) -> &str;

    /// Where it is, as its messages name it.
    fn place(&self) -> String;

    /// The release in it.
    fn source(&self) -> Result<&dyn Source, Fault>;

    /// A text that is another one as soon as anything in it changed; `None` if that cannot be seen.
    fn state(&self) -> Option<String>;

    /// The reason that was left beside it by this user, who alone can have written that.
    fn refusal(&self) -> Option<String>;

    /// Leaves it where it is, and the reason beside it.
    fn refuse(&self, reason: &str) -> Result<(), Fault>;

    /// Leaves a report that it was admitted.
    fn report(&self, report: &str) -> Result<(), Fault>;

    /// Removes it, and the reason why an earlier one was refused.
    fn remove(&self) -> Result<(), Fault>;
}

/// The releases that L serves, and its memory of all that it ever admitted. Nobody else writes to
/// it while it is open.
pub trait Releases {
    /// Begins a release of this name. This record of it is kept for ever, from before it appears.
    /// One that succeeds another takes its place in one step, and its record that of the other.
    fn stage(&self, name: &str, record: &str, succeeds: bool)
    -> Result<Box<dyn Stage + '_>, Fault>;

    /// Opens the release of this name; `None` if it is not there.
    fn release(&self, name: &str) -> Result<Option<Box<dyn Source>>, Fault>;

    /// The record of a release that was admitted under this name, whether it is there or not.
    fn record(&self, name: &str) -> Result<Option<Vec<u8>>, Fault>;

    /// The names of releases that have no record, and of those that are withdrawn.
    fn unsettled(&self) -> Result<Unsettled, Fault>;

    /// Begins the statement, in a folder of its own, that the release of this name is withdrawn.
    /// [`Fault::Occupied`] when it appears if there is another one.
    fn stage_withdrawal(&self, name: &str) -> Result<Box<dyn Stage + '_>, Fault>;

    /// The statement that the release of this name is withdrawn, if there is one.
    fn withdrawal(&self, name: &str) -> Result<Option<Box<dyn Source>>, Fault>;

    /// Moves a release whose withdrawal is there to where nobody is served. `false` if it is not
    /// there.
    fn set_aside(&self, name: &str) -> Result<bool, Fault>;

    /// Records a release that is there.
    fn keep_record(&self, name: &str, record: &str) -> Result<(), Fault>;

    /// Removes what anyone left on its way to them, and did not change since.
    fn sweep_older(&self, before: Timestamp) -> Result<Swept, Fault>;
}

/// What an earlier run, or a person, left to do among the releases.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Unsettled {
    /// The names of releases that have no record.
    pub unrecorded: Vec<String>,
    /// The names of releases that are there beside their withdrawals.
    pub withdrawn: Vec<String>,
}
