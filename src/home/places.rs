//! The folders of L that the configuration names, on a mount or a shared disk.

use std::path::{Component, Path, PathBuf};

use crate::config::{CONFIG, Config, ConfigError};
use crate::domain::malformed::Malformed;

/// Refuses folders in the home, where files for others to read would make the home one that is
/// refused, and folders in one another.
pub(super) fn check(home: &Path, config: &Config) -> Result<(), ConfigError> {
    let fail = |reason: String| ConfigError {
        path: home.join(CONFIG),
        reason: Malformed::new(reason),
    };
    let place = |place: &Option<PathBuf>| place.as_ref().map(|place| from_home(home, place));
    let inbox = place(&config.repository.inbox);
    let log = place(&config.repository.log);
    for (key, place) in [("inbox", &inbox), ("log", &log)] {
        if let Some(path) = place.as_ref().filter(|place| place.starts_with(home)) {
            return Err(fail(format!(
                "`repository.{key}` is in the home itself: `{}`",
                path.display()
            )));
        }
    }
    for place in &config.anchor.places {
        let path = from_home(home, place);
        if path.starts_with(home) {
            return Err(fail(format!(
                "an anchor is in the home itself: `{}`",
                path.display()
            )));
        }
    }
    match (inbox, log) {
        (Some(inbox), Some(log)) if inbox.starts_with(&log) || log.starts_with(&inbox) => {
            Err(fail(
                "`repository.inbox` and `repository.log` are in one another: each needs a folder \
                 of its own"
                    .to_owned(),
            ))
        }
        _ => Ok(()),
    }
}

/// The path of a folder that the configuration names, without `..`, by the text alone: a mount may
/// take long to answer.
pub(super) fn from_home(home: &Path, place: &Path) -> PathBuf {
    home.join(place)
        .components()
        .fold(PathBuf::new(), |mut way, part| {
            match part {
                Component::ParentDir => drop(way.pop()),
                part => way.push(part),
            }
            way
        })
}
