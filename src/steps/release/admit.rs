//! L's act: verify again, with the release certificate alone, and make the release public in one
//! step.

use std::path::{Path, PathBuf};

use super::verify::{ReleaseError, ReleaseReport, verify_release};
use crate::domain::admission::AdmissionReport;
use crate::domain::digest::Sha256;
use crate::domain::malformed::Malformed;
use crate::domain::name::ArtifactName;
use crate::domain::release::{LARGEST_SUMS, folder_name};
use crate::domain::reserved::SUMS;
use crate::domain::text::clean;
use crate::domain::time::Timestamp;
use crate::files::{FileError, FileFault};
use crate::location::folder::{Inbox, Releases};
use crate::openpgp::{Certificate, KeyTrouble};
use crate::steps::Progress;

/// What became of one submission.
#[derive(Debug)]
pub struct Submission {
    /// Its folder's name, as it is: not fit for a terminal unless it was admitted.
    pub name: String,
    /// What became of it.
    pub result: Result<Admitted, AdmitError>,
    /// Whether the reason of a refusal could be written beside it: something of that name may be in
    /// the way.
    pub noted: bool,
}

/// A submission that was admitted.
#[derive(Debug)]
pub struct Admitted {
    /// What held.
    pub report: ReleaseReport,
    /// Whether it is new; otherwise the same release was there.
    pub new: bool,
    /// Whether a report of that could be left in the inbox: something of that name may be in the
    /// way.
    pub reported: bool,
    /// Whether its submission is gone from the inbox; whoever pushed it may have made that
    /// impossible.
    pub removed: bool,
}

/// Why a submission stays in the inbox, or nothing could be admitted at all.
#[derive(Debug, thiserror::Error)]
pub enum AdmitError {
    /// A name that no release has.
    #[error("{0}")]
    Name(#[from] Malformed),
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
    /// Inbox and releases are one folder.
    #[error("`{}` cannot be inbox and releases at once", .0.display())]
    SameFolder(PathBuf),
    /// Releases, or one release, where an inbox should be.
    #[error("`{}` is no inbox: it holds verified releases, or is a release itself", .0.display())]
    NotAnInbox(PathBuf),
    /// One release where there should be room for many.
    #[error("`{}` is a release itself, and no place for releases", .0.display())]
    NotReleases(PathBuf),
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

impl AdmitError {
    /// Whether a disk of ours is at fault, and not the submission.
    pub fn is_trouble(&self) -> bool {
        match self {
            Self::File(_) | Self::Release(ReleaseError::Copy(_)) => true,
            Self::Name(_)
            | Self::OtherName { .. }
            | Self::Release(_)
            | Self::SameFolder(_)
            | Self::NotAnInbox(_)
            | Self::NotReleases(_)
            | Self::Occupied(_)
            | Self::Certificate(_) => false,
        }
    }
}

/// Opens both folders, if they can be what they are called: a mistake here would move public
/// releases away, or leave notes inside one. Nothing is written before that is sure.
pub fn open(inbox: &Path, releases: &Path) -> Result<(Inbox, Releases), AdmitError> {
    let opened = Inbox::open(inbox)?;
    if opened.is_mistaken() {
        return Err(AdmitError::NotAnInbox(inbox.to_owned()));
    }
    if Releases::is_mistaken(releases)? {
        return Err(AdmitError::NotReleases(releases.to_owned()));
    }
    if opened.is_same_as(releases)? {
        return Err(AdmitError::SameFolder(inbox.to_owned()));
    }
    Ok((opened, Releases::open(releases)?))
}

/// Takes each submission of the inbox, until a disk of ours fails: one that holds moves into the
/// releases, any other stays with the reason beside it.
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
        let noted = match &result {
            // A name that no release has is not fit for a note's name either.
            Ok(_) | Err(AdmitError::Name(_)) => false,
            Err(error) if error.is_trouble() => false,
            Err(error) => inbox.refuse(&name, &clean(&error.to_string())).is_ok(),
        };
        let trouble = result.as_ref().is_err_and(AdmitError::is_trouble);
        submissions.push(Submission {
            name,
            result,
            noted,
        });
        if trouble {
            break;
        }
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
    let release = name.parse::<ArtifactName>()?;
    let staged = releases.stage(name)?;
    let submission = inbox.submission(name).map_err(ReleaseError::File)?;
    let report = verify_release(&submission, certificate, Some(&staged), now, progress)?;
    let terms = report.grant.terms();
    let expected = folder_name(&terms.project, &terms.version);
    if expected != name {
        return Err(AdmitError::OtherName {
            found: name.to_owned(),
            expected,
        });
    }
    let new = match staged.publish() {
        Ok(new) => new,
        // Signatures over the same bytes can differ (ECDSA has two for each): the signed list says
        // which release it is.
        Err(FileError {
            fault: FileFault::Exists,
            ..
        }) if Sha256::of(&releases.release(name)?.read(SUMS, LARGEST_SUMS)?) == report.sums => {
            false
        }
        Err(FileError {
            fault: FileFault::Exists,
            ..
        }) => return Err(AdmitError::Occupied(expected)),
        Err(error) => return Err(error.into()),
    };
    let told = AdmissionReport::new(release, report.sums, report.list.key, now);
    // Before the submission goes: a run that is cut off in between finds it, and reports again.
    let reported = inbox.report(name, &told.to_text()).is_ok();
    let removed = inbox.remove(name).is_ok();
    Ok(Admitted {
        report,
        new,
        reported,
        removed,
    })
}
