//! The key that signs the log's checkpoints.

use std::path::{Path, PathBuf};

use super::error::HomeError;
use super::folder::{Home, read_if_there};
use super::new::NewHome;
use crate::files::{FileError, FileFault, write_new};
use crate::tlog::note::SignerKey;

const LOG_KEY: &str = "log.key";
const LARGEST_LOG_KEY: u64 = 1000;

impl Home {
    /// The key that signs its log's checkpoints.
    pub fn log_key(&self) -> Result<SignerKey, HomeError> {
        let path = self.path.join(LOG_KEY);
        let key = read_log_key(&path)?.ok_or_else(|| FileError::new(&path, FileFault::Missing))?;
        if key.public() == self.config.log_key {
            Ok(key)
        } else {
            let reason = "it is not the `log_key` of the configuration".to_owned();
            Err(unusable(path, reason))
        }
    }
}

impl NewHome {
    /// The key of the new log, with `origin` as its name; that of an interrupted attempt, if there
    /// was one.
    pub fn log_key(&self, origin: &str) -> Result<SignerKey, HomeError> {
        let path = self.path.join(LOG_KEY);
        if let Some(key) = read_log_key(&path)? {
            let public = key.public();
            if public.name() == origin {
                return Ok(key);
            }
            // What the token was asked for by then is in that log.
            let reason = format!(
                "an earlier attempt to set up this home began its log as `{}`, and this one would \
                 name it `{origin}`",
                public.name()
            );
            return Err(HomeError::Kept {
                what: "log key",
                path,
                reason,
                help: "give the user ID or the `--notation-domain` of that attempt, or another \
                       `--home`",
            });
        }
        let key = SignerKey::generate(origin);
        let key = key.map_err(|error| unusable(path.clone(), error.to_string()))?;
        write_new(&path, key.to_text().as_bytes(), 0o600)?;
        Ok(key)
    }
}

fn read_log_key(path: &Path) -> Result<Option<SignerKey>, HomeError> {
    let Some(text) = read_if_there(path, |file| file.read_secret(LARGEST_LOG_KEY))? else {
        return Ok(None);
    };
    let fail = |reason: String| unusable(path.to_owned(), reason);
    let text = std::str::from_utf8(&text).map_err(|error| fail(error.to_string()))?;
    let key = SignerKey::parse(text.strip_suffix('\n').unwrap_or(text));
    key.map(Some).map_err(|error| fail(error.to_string()))
}

fn unusable(path: PathBuf, reason: String) -> HomeError {
    HomeError::Kept {
        what: "log key",
        path,
        reason,
        help: "restore the file from a backup; a log that goes on under another key cannot be \
               distinguished from a forged one",
    }
}
