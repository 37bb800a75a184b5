//! Where releases are: paths of this host and of its inbox, which the log does not have because it
//! is public.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rusqlite::{OptionalExtension, params};

use super::append::append;
use super::error::LedgerError;
use super::store::{Ledger, Result};
use crate::domain::event::Event;
use crate::domain::time::Clock;

impl Ledger {
    /// As [`Ledger::append`], for a release that is in `folder` now.
    pub fn append_in(
        &mut self,
        clock: impl Into<Clock>,
        event: Event,
        folder: &Path,
    ) -> Result<u64> {
        let clock = clock.into();
        self.transact(|Self { database, .. }| {
            let index = append(database, clock.now(), event)?;
            let mut insert =
                database.prepare_cached("INSERT INTO places (idx, folder) VALUES (?1, ?2)")?;
            insert.execute(params![index, folder.as_os_str().as_bytes()])?;
            Ok(index)
        })
    }

    /// Marks that a checkpoint was kept at an anchor.
    pub fn mark_anchored(&mut self, place: &str) -> Result<()> {
        if self.is_anchored(place)? {
            return Ok(());
        }
        self.transact(|Self { database, .. }| {
            let mut insert = database.prepare_cached("INSERT INTO anchored (place) VALUES (?1)")?;
            insert.execute([place])?;
            Ok(())
        })
    }

    /// Whether [`Ledger::mark_anchored`] was called for an anchor.
    pub fn is_anchored(&self, place: &str) -> Result<bool> {
        let mut query = self
            .database
            .prepare_cached("SELECT 1 FROM anchored WHERE place = ?1")?;
        Ok(query.exists([place])?)
    }

    /// The folder that the release of entry `index` was in then.
    pub fn place(&self, index: u64) -> Result<PathBuf> {
        let mut query = self
            .database
            .prepare_cached("SELECT folder FROM places WHERE idx = ?1")?;
        let folder: Option<Vec<u8>> = query.query_row([index], |row| row.get(0)).optional()?;
        folder
            .map(|folder| OsString::from_vec(folder).into())
            .ok_or_else(|| {
                LedgerError::Changed(format!(
                    "the ledger does not have the folder of the release in entry {index}"
                ))
            })
    }
}
