//! Which release a caller wants: a good one of another name or version is not it.

use super::error::ReleaseError;
use crate::domain::contents::Contents;
use crate::domain::name::{ProjectName, Version};
use crate::domain::release::folder_name;
use crate::domain::signing::Claims;

/// Which release is wanted.
#[derive(Debug, Clone)]
pub enum Wanted {
    /// Whichever it is; the caller looks.
    Any,
    /// The one that a folder of this name has: PROJECT-VERSION.
    Named(String),
    /// One of this project, of this version if there is one.
    Asked {
        /// The project.
        project: ProjectName,
        /// The version.
        version: Option<Version>,
    },
}

impl Wanted {
    /// Refuses a release that is not wanted.
    pub(super) fn check_release(&self, found: &Contents) -> Result<(), ReleaseError> {
        match self {
            Self::Named(folder) if *folder != folder_name(&found.project, &found.version) => {
                Err(ReleaseError::Unnamed {
                    folder: folder.clone(),
                    project: found.project.clone(),
                    version: found.version.clone(),
                })
            }
            Self::Any | Self::Named(_) => Ok(()),
            Self::Asked { .. } => self.check(&found.project, &found.version),
        }
    }

    /// Refuses the signature of a file of a release that is not wanted.
    pub(super) fn check_file(&self, found: &Claims) -> Result<(), ReleaseError> {
        self.check(&found.project, &found.version)
    }

    fn check(&self, found: &ProjectName, of: &Version) -> Result<(), ReleaseError> {
        let Self::Asked { project, version } = self else {
            return Ok(());
        };
        if found == project && version.as_ref().is_none_or(|version| version == of) {
            return Ok(());
        }
        let version = version.as_ref();
        let wanted = version.map_or_else(|| project.to_string(), |it| format!("{project} {it}"));
        Err(ReleaseError::Content(format!(
            "this is of release {found} {of}, but {wanted} is wanted"
        )))
    }
}
