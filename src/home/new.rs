//! A home that is being set up.

use std::fs;
use std::path::{Path, PathBuf};

use super::error::HomeError;
use super::folder::{CERTIFICATE, Home, LEDGER, REFUSED_PINS};
use super::grants::GRANTS;
use super::locks::HomeLock;
use super::private;
use crate::config::CONFIG;
use crate::files::{FileError, Sharing, Wait, make_private, replace, write_new};
use crate::ledger::Ledger;
use crate::openpgp::Certificate;
use crate::token::RefusedPins;

const REVOCATION: &str = "revocation.asc";

/// A home that is being set up: its folder and its ledger are there, its configuration is not.
#[derive(Debug)]
pub struct NewHome {
    pub(super) path: PathBuf,
}

impl NewHome {
    /// Makes the folder with an empty ledger, or continues an attempt that was interrupted; refuses
    /// a finished home.
    pub fn begin(path: &Path, wait: Wait) -> Result<(Self, HomeLock, Ledger), HomeError> {
        for folder in [path, &path.join(GRANTS)] {
            make_private(folder)?;
        }
        let path = &fs::canonicalize(path).map_err(FileError::io(path))?;
        private::check(path)?;
        let lock = HomeLock::take(path, Sharing::Alone, wait)?;
        // Another process may have finished meanwhile.
        if path.join(CONFIG).exists() {
            return Err(HomeError::Exists(path.to_owned()));
        }
        let ledger = Ledger::open_or_create(&path.join(LEDGER))?;
        Ok((
            Self {
                path: path.to_owned(),
            },
            lock,
            ledger,
        ))
    }

    /// Its record of the PINs that tokens refused.
    pub fn refused_pins(&self) -> RefusedPins {
        RefusedPins::at(self.path.join(REFUSED_PINS))
    }

    /// Writes the certificate and, if there is one, its revocation; returns the revocation's file.
    pub fn keep_certificate(
        &self,
        certificate: &Certificate,
        revocation: Option<&str>,
    ) -> Result<Option<PathBuf>, HomeError> {
        replace(
            &self.path.join(CERTIFICATE),
            certificate.armored().as_bytes(),
            0o600,
        )?;
        let Some(revocation) = revocation else {
            return Ok(None);
        };
        let path = self.path.join(REVOCATION);
        replace(&path, revocation.as_bytes(), 0o600)?;
        Ok(Some(path))
    }

    /// Writes the configuration: from then on the home is set up.
    pub fn finish(self, config: &str) -> Result<Home, HomeError> {
        write_new(&self.path.join(CONFIG), config.as_bytes(), 0o600)?;
        Home::open(&self.path)
    }
}
