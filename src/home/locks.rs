//! What several processes that work in one home lock, in this order: the home, a grant, the token.
//! The folder of an exported log has a lock of its own. A transaction of the ledger is the last of
//! all, and waits for none of them.
//!
//! | lock | held |
//! |---|---|
//! | the home, together | by each command that changes something |
//! | the home, alone | while the release certificate is made or changed |
//! | a grant | while its build is signed, or its release pushed or withdrawn |
//! | the token | from before its count is read until the log has what it signed |

use std::fs;
use std::marker::PhantomData;
use std::path::Path;

use super::ballast;
use super::error::HomeError;
use super::folder::{CERTIFICATE, Home};
use crate::domain::digest::GrantId;
use crate::files::{
    FileError, FileFault, FileLock, Folder, Sharing, Wait, hold, hold_passing, replace,
};
use crate::openpgp::Certificate;

const LOCK: &str = "lock";

/// The right to change a home, together with other processes or alone.
#[derive(Debug)]
pub struct HomeLock {
    lock: FileLock,
    /// What it locks, for people.
    home: String,
}

/// A home that no other process changes meanwhile.
#[derive(Debug)]
pub struct Alone<'a>(PhantomData<&'a HomeLock>);

/// A lock that ends when it is dropped.
#[derive(Debug)]
pub struct Held(#[expect(dead_code, reason = "the lock ends when it is dropped")] FileLock);

impl Home {
    /// Opens the home at `path` to change it together with other processes. If there are none just
    /// now, what killed ones left in it is removed first.
    pub fn open_to_change(path: &Path, wait: Wait) -> Result<(Self, HomeLock), HomeError> {
        let path = Self::find(path)?;
        let lock = match HomeLock::take(&path, Sharing::Alone, Wait::NOT) {
            Ok(mut lock) => {
                Self::read(&path)?.sweep(&lock.alone())?;
                lock.change(Sharing::Together, wait)?;
                lock
            }
            Err(HomeError::Busy { .. }) => HomeLock::take(&path, Sharing::Together, wait)?,
            Err(error) => return Err(error),
        };
        // Not before: another process may have changed the certificate.
        Ok((Self::read(&path)?, lock))
    }

    /// Locks the home alone, and reads it again: another process may have changed it before.
    pub fn alone<'a>(
        &mut self,
        lock: &'a mut HomeLock,
        wait: Wait,
    ) -> Result<Alone<'a>, HomeError> {
        lock.change(Sharing::Alone, wait)?;
        *self = Self::read(&self.path)?;
        Ok(lock.alone())
    }

    /// Replaces the release certificate by another one of the same key.
    pub fn replace_certificate(
        &mut self,
        _alone: &Alone<'_>,
        certificate: Certificate,
    ) -> Result<(), HomeError> {
        replace(
            &self.path.join(CERTIFICATE),
            certificate.armored().as_bytes(),
            0o600,
        )?;
        self.certificate = certificate;
        Ok(())
    }

    /// Locks what is under a grant.
    pub fn hold_grant(&self, grant: GrantId, wait: Wait) -> Result<Held, HomeError> {
        let what = format!("grant {}", grant.short());
        self.hold(&grant.hex(), &what, wait)
    }

    /// Locks the token, or waits in the queue for it.
    pub fn hold_token(&self, wait: Wait) -> Result<Held, HomeError> {
        self.hold("token", "the token", wait)
    }

    fn hold(&self, name: &str, what: &str, wait: Wait) -> Result<Held, HomeError> {
        let lock = hold_passing(&self.path.join(format!("{LOCK}.{name}")), wait);
        lock.map(Held).map_err(busy(what))
    }

    /// Removes the locks of killed processes.
    pub(super) fn sweep_locks(&self, _alone: &Alone<'_>) -> Result<(), FileError> {
        for name in Folder::open(&self.path)?.names(usize::MAX)? {
            if name.to_string_lossy().starts_with(&format!("{LOCK}.")) {
                let path = self.path.join(name);
                fs::remove_file(&path).map_err(FileError::io(&path))?;
            }
        }
        Ok(())
    }
}

impl HomeLock {
    /// Locks the home at `home`, and keeps room for a revocation in it.
    pub(super) fn take(home: &Path, sharing: Sharing, wait: Wait) -> Result<Self, HomeError> {
        let shown = format!("the home at `{}`", home.display());
        let lock = hold(&home.join(LOCK), sharing, wait).map_err(busy(&shown))?;
        ballast::keep(home);
        Ok(Self { lock, home: shown })
    }

    /// That it is held alone.
    pub(super) fn alone(&self) -> Alone<'_> {
        Alone(PhantomData)
    }

    fn change(&mut self, sharing: Sharing, wait: Wait) -> Result<(), HomeError> {
        self.lock.change(sharing, wait).map_err(busy(&self.home))
    }
}

fn busy(what: &str) -> impl FnOnce(FileError) -> HomeError + '_ {
    |error| match error.fault {
        FileFault::Busy(holder) => HomeError::Busy {
            what: what.to_owned(),
            holder,
        },
        _ => error.into(),
    }
}
