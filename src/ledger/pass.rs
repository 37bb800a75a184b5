//! One pass over the entries of a log, first to last, wherever they come from: what each must be by
//! itself.

use super::error::BadLog;
use crate::domain::event::{Entry, Event};
use crate::domain::malformed::Malformed;
use crate::tlog::checkpoint::Checkpoint;
use crate::tlog::note::VerifierKey;
use crate::tlog::tree::{Growing, Hash};

/// A pass: keeps one hash for each level of the tree, and no entry.
pub(super) struct Pass<'a> {
    tree: Growing,
    key: &'a VerifierKey,
    kept: &'a [(String, Checkpoint)],
}

impl<'a> Pass<'a> {
    /// Begins before the first entry. `key` is the log's; `kept` are checkpoints by it, with their
    /// names.
    pub(super) fn begin(
        key: &'a VerifierKey,
        kept: &'a [(String, Checkpoint)],
    ) -> Result<Self, BadLog> {
        let pass = Self {
            tree: Growing::default(),
            key,
            kept,
        };
        pass.goes_on_from_kept()?;
        Ok(pass)
    }

    /// The index of the next entry.
    pub(super) fn next(&self) -> u64 {
        self.tree.size()
    }

    /// Takes the text of the next entry into the tree; returns the hashes that it adds.
    pub(super) fn push(&mut self, text: &[u8]) -> Vec<Hash> {
        self.tree.push(text)
    }

    /// The entry that was pushed last: of this place, of a log under this key, and with the roots
    /// that were kept.
    pub(super) fn entry(&self, text: &[u8]) -> Result<Entry, BadLog> {
        let index = self.tree.size() - 1;
        let unreadable = |error: Malformed| BadLog::Unreadable {
            index,
            reason: error.to_string(),
        };
        let entry = Entry::parse(index, text).map_err(unreadable)?;
        begun(&entry, self.key)?;
        self.goes_on_from_kept()?;
        Ok(entry)
    }

    /// Ends after the last entry; returns a checkpoint of the log.
    pub(super) fn end(self) -> Result<Checkpoint, BadLog> {
        let here = self.tree.size();
        if here == 0 {
            return Err(BadLog::not_begun());
        }
        match self
            .kept
            .iter()
            .find(|(_, checkpoint)| checkpoint.size > here)
        {
            Some((name, Checkpoint { size, .. })) => Err(BadLog::Changed(format!(
                "checkpoint `{name}` is of {size} entries, but there are {here}: entry {here} \
                 and those after it are gone"
            ))),
            None => Ok(Checkpoint {
                size: here,
                root: self.tree.root(),
            }),
        }
    }

    fn goes_on_from_kept(&self) -> Result<(), BadLog> {
        for (name, Checkpoint { size, root }) in self.kept {
            if *size == self.tree.size() && *root != self.tree.root() {
                return Err(BadLog::Changed(format!(
                    "checkpoint `{name}` has a different root: something among entries 0 to {} \
                     was changed after it was made",
                    size.saturating_sub(1)
                )));
            }
        }
        Ok(())
    }
}

fn begun(entry: &Entry, expected: &VerifierKey) -> Result<(), BadLog> {
    match (&entry.event, entry.index) {
        (Event::LogCreated { key, .. }, 0) if *key == expected.to_string() => Ok(()),
        (Event::LogCreated { key, .. }, 0) => Err(BadLog::Changed(format!(
            "entry 0 names `{key}` as the key of the log, not `{expected}`"
        ))),
        (Event::LogCreated { .. }, index) => Err(BadLog::Unreadable {
            index,
            reason: "it begins a log that was begun before it".to_owned(),
        }),
        (_, 0) => Err(BadLog::not_begun()),
        _ => Ok(()),
    }
}
