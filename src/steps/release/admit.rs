//! L's act: verify again, with the release certificate alone, and make the release public in one
//! step.

use super::error::ReleaseError;
use super::verify::{ReleaseReport, verify_release};
use crate::domain::admission::AdmissionReport;
use crate::domain::digest::Sha256;
use crate::domain::malformed::Malformed;
use crate::domain::name::ArtifactName;
use crate::domain::release::{LARGEST_SUMS, folder_name};
use crate::domain::reserved::SUMS;
use crate::domain::text::clean;
use crate::domain::time::Timestamp;
use crate::location::{Fault, Inbox, Published, Releases};
use crate::openpgp::{Certificate, KeyTrouble};
use crate::steps::Progress;

/// One submission, and the result of its verification.
#[derive(Debug)]
pub struct Submission {
    /// Its folder's name, as it is: not fit for a terminal unless it was admitted.
    pub name: String,
    /// The result.
    pub result: Result<Admitted, AdmitError>,
    /// Whether the reason of a refusal could be written beside it: something of that name may be in
    /// the way.
    pub noted: bool,
}

/// A submission that was admitted.
#[derive(Debug)]
pub struct Admitted {
    /// What was checked.
    pub report: ReleaseReport,
    /// Whether it is new; otherwise the same release was there.
    pub new: bool,
    /// Whether a report of that could be left in the inbox: something of that name may be in the
    /// way.
    pub reported: bool,
    /// Whether its submission was removed from the inbox; its owner may have made that impossible.
    pub removed: bool,
}

/// Why a submission stays in the inbox, or nothing could be admitted at all.
#[expect(missing_docs, reason = "each message says what it means")]
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum AdmitError {
    /// A name that no release has.
    #[error("{0}")]
    #[diagnostic(code(refused::submission_name))]
    Name(#[from] Malformed),
    #[error("the folder is called `{found}`, but contains release `{expected}`")]
    #[diagnostic(code(refused::submission_misnamed))]
    OtherName { found: String, expected: String },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Release(#[from] ReleaseError),
    #[error("another release `{0}` was admitted before")]
    #[diagnostic(
        code(refused::version_released_before),
        help("a version is released once: give the build a new version")
    )]
    Occupied(String),
    #[error("no release can be admitted: {0}")]
    #[diagnostic(
        code(refused::release_certificate),
        help("get the renewed certificate from its owner")
    )]
    Certificate(#[from] KeyTrouble),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Location(#[from] Fault),
}

impl AdmitError {
    /// Whether a disk of ours is at fault, and not the submission.
    pub fn is_trouble(&self) -> bool {
        match self {
            Self::Location(_) | Self::Release(ReleaseError::Stage(_)) => true,
            Self::Name(_)
            | Self::OtherName { .. }
            | Self::Release(_)
            | Self::Occupied(_)
            | Self::Certificate(_) => false,
        }
    }
}

/// Takes each submission of the inbox, until a disk of ours fails: one that passes is moved into
/// the releases, any other stays with the reason beside it.
pub fn admit(
    inbox: &dyn Inbox,
    releases: &dyn Releases,
    certificate: &Certificate,
    now: Timestamp,
    progress: &mut dyn Progress,
) -> Result<Vec<Submission>, AdmitError> {
    certificate.signing_keys(now)?;
    let mut submissions = Vec::new();
    for name in inbox.submissions()? {
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
    inbox: &dyn Inbox,
    releases: &dyn Releases,
    certificate: &Certificate,
    now: Timestamp,
    progress: &mut dyn Progress,
) -> Result<Admitted, AdmitError> {
    let release = name.parse::<ArtifactName>()?;
    let stage = releases.stage(name)?;
    let submission = inbox.submission(name).map_err(ReleaseError::source)?;
    let report = verify_release(&*submission, certificate, Some(&*stage), now, progress)?;
    let terms = report.grant.terms();
    let expected = folder_name(&terms.project, &terms.version);
    if expected != name {
        return Err(AdmitError::OtherName {
            found: name.to_owned(),
            expected,
        });
    }
    let new = match stage.publish() {
        Ok(published) => published == Published::New,
        Err(Fault::Occupied(_)) => {
            // Signatures over the same bytes can differ (ECDSA has two for each): the signed list
            // says which release it is.
            let there = releases.release(name)?.read(SUMS, LARGEST_SUMS)?;
            if Sha256::of(&there) != report.sums {
                return Err(AdmitError::Occupied(expected));
            }
            false
        }
        Err(fault) => return Err(fault.into()),
    };
    let admission = AdmissionReport::new(release, report.sums, report.list.key, now);
    // Before the submission goes: a run that is interrupted in between finds it, and reports again.
    let reported = inbox.report(name, &admission.to_text()).is_ok();
    let removed = inbox.remove(name).is_ok();
    Ok(Admitted {
        report,
        new,
        reported,
        removed,
    })
}
