//! L's act: verify again, with the release certificate alone, and make the release public in one step.

use super::Progress;
use super::verify::{ReleaseError, ReleaseReport, verify_release};
use crate::domain::name::{BadName, ProjectName};
use crate::domain::release::folder_name;
use crate::domain::time::Timestamp;
use crate::files::{FileError, FileFault};
use crate::openpgp::{Certificate, KeyTrouble};
use crate::repository::{Inbox, Releases};

/// What became of one submission.
#[derive(Debug)]
pub struct Submission {
    /// Its folder's name, as it is: not fit for a terminal unless it was admitted.
    pub name: String,
    /// What became of it.
    pub result: Result<Admitted, AdmitError>,
}

/// A submission that was admitted.
#[derive(Debug)]
pub struct Admitted {
    /// What held.
    pub report: ReleaseReport,
    /// Whether it is new; otherwise the same release was there.
    pub new: bool,
}

/// Why a submission stays in the inbox, or nothing could be admitted at all.
#[derive(Debug, thiserror::Error)]
pub enum AdmitError {
    /// A name that no release has.
    #[error("{0}")]
    Name(#[from] BadName),
    /// The folder claims to be another release.
    #[error("the folder is called `{found}`, but holds release `{expected}`")]
    OtherName {
        /// What it is called.
        found: String,
        /// What it holds.
        expected: String,
    },
    /// The release.
    #[error(transparent)]
    Release(#[from] ReleaseError),
    /// Another release of that name was admitted before.
    #[error("another release `{0}` was admitted before")]
    Occupied(String),
    /// No key of the certificate may sign now.
    #[error("no release can be admitted: {0}")]
    Certificate(#[from] KeyTrouble),
    /// A folder of ours.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Takes each submission of the inbox: one that holds moves into the releases, any other stays with the reason beside it.
pub fn admit(
    inbox: &Inbox,
    releases: &Releases,
    certificate: &Certificate,
    now: Timestamp,
    progress: &mut dyn Progress,
) -> Result<Vec<Submission>, AdmitError> {
    certificate.signing_keys(now)?;
    let mut submissions = Vec::new();
    for name in inbox.submissions()? {
        let name = name.to_string_lossy().into_owned();
        let result = admit_one(&name, inbox, releases, certificate, now, progress);
        match &result {
            // A name that no release has is not fit for a note's name either.
            Ok(_) | Err(AdmitError::Name(_)) => {}
            // A disk of ours is no fault of the submission.
            Err(AdmitError::File(_) | AdmitError::Release(ReleaseError::Copy(_)) | AdmitError::Certificate(_)) => {
                return Err(result.expect_err("it is an error"));
            }
            Err(error @ (AdmitError::OtherName { .. } | AdmitError::Release(_) | AdmitError::Occupied(_))) => {
                inbox.refuse(&name, &error.to_string())?;
            }
        }
        submissions.push(Submission { name, result });
    }
    Ok(submissions)
}

fn admit_one(
    name: &str,
    inbox: &Inbox,
    releases: &Releases,
    certificate: &Certificate,
    now: Timestamp,
    progress: &mut dyn Progress,
) -> Result<Admitted, AdmitError> {
    name.parse::<ProjectName>()?;
    let staged = releases.stage(name)?;
    let submission = inbox.submission(name).map_err(ReleaseError::File)?;
    let mut report = verify_release(&submission, certificate, Some(&staged), now, progress)?;
    if let Some(refused) = report.files.iter().position(|file| file.result.is_err()) {
        let refused = report.files.swap_remove(refused);
        return Err(refused.result.expect_err("it was refused").into());
    }
    let terms = report.grant.terms();
    let expected = folder_name(&terms.project, &terms.version);
    if expected != name {
        return Err(AdmitError::OtherName { found: name.to_owned(), expected });
    }
    let new = staged.publish().map_err(|error| match error.fault {
        FileFault::Exists => AdmitError::Occupied(expected),
        _ => AdmitError::File(error),
    })?;
    inbox.remove(name)?;
    Ok(Admitted { report, new })
}
