//! What is done with a signed release beyond this host, as far as the configuration names a
//! location: it is pushed, the location's reports are logged, and the log is exported.

use std::path::{Path, PathBuf};

use super::Host;
use super::export::{NotExported, export_as_configured};
use super::push::{self, PushError, Release, Report};
use super::run::SignError;
use crate::domain::digest::GrantId;
use crate::files::FileError;
use crate::ledger::Exported;
use crate::steps::Progress;

/// The result of the push and of the export. Whatever failed, the release is signed.
#[derive(Debug)]
pub struct HandedOver {
    /// The push; nothing where there is no inbox.
    pub pushed: Option<Result<Arrived, PushError>>,
    /// The export of the log; nothing where there is no folder for it.
    pub exported: Result<Option<(PathBuf, Exported)>, NotExported>,
}

/// A release that is in the inbox.
#[derive(Debug)]
pub struct Arrived {
    /// Its folder there.
    pub folder: PathBuf,
    /// The entry of an earlier push.
    pub before: Option<u64>,
    /// What the location reports by now. If that cannot be read, the next `push` tries again.
    pub reports: Result<Vec<Report>, PushError>,
}

impl Host {
    /// Pushes the release under `grant`, which is in `folder`, and exports the log.
    pub(super) fn hand_over(
        &mut self,
        grant: GrantId,
        folder: &Path,
        progress: &mut dyn Progress,
    ) -> Result<HandedOver, SignError> {
        let pushed = match self.home.inbox() {
            None => None,
            Some(_) => {
                let release = push::release_under(grant, &self.ledger)?;
                let release = release
                    .expect("it was released just now")
                    .standing_in(folder)
                    .map_err(FileError::of_ours)?;
                Some(self.deliver(&release, progress))
            }
        };
        Ok(HandedOver {
            pushed,
            exported: export_as_configured(&self.home, &self.ledger, self.wait),
        })
    }

    fn deliver(
        &mut self,
        release: &Release,
        progress: &mut dyn Progress,
    ) -> Result<Arrived, PushError> {
        if let Some((index, folder)) = release.pushed(&self.ledger)? {
            return Ok(Arrived {
                folder,
                before: Some(index),
                reports: Ok(Vec::new()),
            });
        }
        let location = self.location()?;
        let pushed = self.push_held(release, &*location, progress)?;
        Ok(Arrived {
            folder: pushed.folder,
            before: None,
            reports: self.record_reports_held(&release.into(), &*location),
        })
    }
}
