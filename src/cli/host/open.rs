//! The signing host as its commands find it: its home, the ledger, and the grants that it issued.

use std::path::{Path, PathBuf};

use crate::cli::args::read_grant_file;
use crate::cli::error::CliError;
use crate::cli::global::Global;
use crate::cli::host::error::HostError;
use crate::cli::host::options::WaitOption;
use crate::cli::render::Output;
use crate::domain::grant::Grant;
use crate::domain::time::Clock;
use crate::files::{Folder, nearest};
use crate::home::{Home, HomeError};
use crate::steps::host::Host;

impl Global {
    /// Where the home is, or is to be.
    pub(super) fn home_path(&self) -> Result<PathBuf, CliError> {
        let set = |variable: &str| {
            std::env::var_os(variable)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        let data = || {
            set("XDG_DATA_HOME")
                .filter(|path| path.is_absolute())
                .or_else(|| Some(set("HOME")?.join(".local/share")))
        };
        let default = || data().map(|data| data.join("countersign"));
        let path = self
            .home
            .home
            .clone()
            .or_else(|| set("COUNTERSIGN_HOME"))
            .or_else(default);
        Ok(path.ok_or(HostError::Nowhere)?)
    }

    /// Refuses a folder for files that others read, if it is in the home: that would be one that is
    /// refused from then on.
    pub(in crate::cli) fn outside_home(&self, folder: &Path) -> Result<(), CliError> {
        let Some(home) = self
            .home_path()
            .ok()
            .and_then(|home| Folder::open(&home).ok())
        else {
            return Ok(());
        };
        if nearest(folder)?.is_within(&home)? {
            Err(HomeError::Within(folder.to_owned()).into())
        } else {
            Ok(())
        }
    }

    /// Opens the home.
    pub(super) fn home(&self) -> Result<Home, CliError> {
        Ok(Home::open(&self.home_path()?)?)
    }

    /// Opens the signing host.
    pub(super) fn host(&self, wait: WaitOption) -> Result<Host, CliError> {
        let wait = wait.for_commands();
        Ok(Host::open(&self.home_path()?, Clock::System, wait)?)
    }
}

/// Shows what a person should know beside the result.
pub(super) fn warn_of(host: &mut Host, output: &Output) {
    for warning in host.warnings.drain(..) {
        output.warn(&warning);
    }
}

/// A grant by its file, or by eight digits of its id at least.
pub(super) fn read_grant(text: &str, home: &Home) -> Result<Grant, CliError> {
    match is_grant_id(text) {
        true => Ok(home.grant(home.grant_id(text)?)?),
        false if matches!(Path::new(text).try_exists(), Ok(false)) => {
            Err(HostError::NoGrant(text.to_owned()).into())
        }
        false => read_grant_file(Path::new(text)),
    }
}

pub(super) fn is_grant_id(text: &str) -> bool {
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    digits.len() >= 8 && digits.bytes().all(|b| b.is_ascii_hexdigit())
}
