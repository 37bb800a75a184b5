//! L's act: verify again, with the release certificate alone, and make the release public in one
//! step.
//!
//! A release that H withdraws is moved aside, and its withdrawal is published in its place.
//!
//! Everything but the artifacts is in memory and checked before anything is written, and each
//! artifact is copied in the read that verifies it. What was admitted is recorded for ever, beside
//! the releases; a submission that was refused is not tried again until it changed.

use super::error::ReleaseError;
use super::policy::Verifier;
use super::verify::{Checked, ReleaseReport};
use super::wanted::Wanted;
use super::withdrawal::Withdrawn;
use crate::domain::admission::AdmissionReport;
use crate::domain::digest::Sha256;
use crate::domain::grant::{Grant, LARGEST_GRANT};
use crate::domain::malformed::Malformed;
use crate::domain::name::ArtifactName;
use crate::domain::release::{LARGEST_SUMS, Sums, folder_name, is_folder_name};
use crate::domain::reserved::{EVIDENCE, GRANT, SUMS, WITHDRAWN};
use crate::domain::text::{clean, within};
use crate::domain::time::Timestamp;
use crate::location::{Fault, Inbox, Published, Releases, Source, Stage, Submission};
use crate::openpgp::KeyTrouble;
use crate::steps::Progress;

/// The line of a note that says what was refused, after the reason.
const STATE: &str = "state: ";
/// For how long a refusal is remembered, in seconds: a clock that was behind may have been the
/// reason.
const REMEMBERED: u32 = 60 * 60;

/// One submission, and the result of its verification.
#[derive(Debug)]
pub struct Judged {
    /// Its folder's name, as it is: not fit for a terminal unless it was admitted.
    pub name: String,
    /// The result.
    pub result: Result<Outcome, AdmitError>,
    /// Whether the reason of a refusal could be written beside it: something of that name may be in
    /// the way.
    pub noted: bool,
}

/// What became of a good submission.
#[derive(Debug)]
pub struct Outcome {
    /// What it was.
    pub what: What,
    /// Whether it is new; otherwise the same was there.
    pub new: bool,
    /// Whether a report of that could be left in the inbox: something of that name may be in the
    /// way.
    pub reported: bool,
    /// Whether its submission was removed from the inbox; its owner may have made that impossible.
    pub removed: bool,
}

/// What a good submission was.
#[derive(Debug)]
pub enum What {
    /// A release that is public now.
    Release(Box<ReleaseReport>),
    /// The statement that one is withdrawn, which is public in its place now.
    Withdrawal(Box<Withdrawn>),
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
    /// It did not change since.
    #[error("{0}")]
    #[diagnostic(code(refused::refused_before))]
    Before(String),
    #[error("another release `{0}` was admitted before")]
    #[diagnostic(
        code(refused::version_released_before),
        help("a version is released once: give the build a new version")
    )]
    Occupied(String),
    #[error("release `{name}` was admitted at {at}, and was moved away since")]
    #[diagnostic(
        code(refused::release_gone),
        help(
            "a release that was moved away is not admitted again: give the build a new version; if \
             it was lost, remove its record from `.countersign.admitted` in the releases"
        )
    )]
    Gone { name: String, at: Timestamp },
    #[error("what is recorded of release `{name}` cannot be read: {reason}")]
    #[diagnostic(
        code(trouble::admission_record),
        help("restore `.countersign.admitted` in the releases from a backup")
    )]
    Record { name: String, reason: Malformed },
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
    /// Whether a disk is at fault, and not the submission.
    pub fn is_trouble(&self) -> bool {
        match self {
            Self::Location(_) | Self::Record { .. } => true,
            Self::Release(ReleaseError::Stage(_)) => true,
            Self::Release(ReleaseError::Source(fault)) => matches!(fault, Fault::Unreachable(_)),
            Self::Name(_)
            | Self::OtherName { .. }
            | Self::Release(_)
            | Self::Before(_)
            | Self::Occupied(_)
            | Self::Gone { .. }
            | Self::Certificate(_) => false,
        }
    }
}

/// Takes each submission of the inbox, and hands over what became of it: one that passes is moved
/// into the releases, any other stays with the reason beside it. None of them keeps another one
/// waiting for the next run.
pub fn admit(
    inbox: &dyn Inbox,
    releases: &dyn Releases,
    verifier: &Verifier<'_>,
    progress: &mut dyn Progress,
    judged: &mut dyn FnMut(Judged),
) -> Result<(), AdmitError> {
    verifier.certificate.signing_keys(verifier.now)?;
    let unsettled = releases.unsettled()?;
    for name in unsettled.unrecorded {
        record_found(&name, releases, verifier.now)?;
    }
    // A run was killed in between, or somebody brought it back.
    let mut failed = None;
    for name in unsettled.withdrawn {
        if let Err(fault) = releases.set_aside(&name) {
            failed.get_or_insert(fault);
        }
    }
    let mut location = Location {
        releases,
        verifier,
        progress,
    };
    // What is withdrawn is not to be public until the next run.
    for withdrawals in [true, false] {
        inbox.each(&mut |submission| {
            if submission.name().ends_with(WITHDRAWN) == withdrawals {
                judged(location.judge(submission));
            }
        })?;
    }
    failed.map_or(Ok(()), |fault| Err(fault.into()))
}

/// Records a release that is there without a record: it was admitted before there were any, or by a
/// run that was killed since. Other folders are none of ours.
fn record_found(name: &str, releases: &dyn Releases, now: Timestamp) -> Result<(), Fault> {
    if !is_folder_name(name) {
        return Ok(());
    }
    let Some(release) = releases.release(name)? else {
        return Ok(());
    };
    if let Some(record) = record_of(name, &*release, now)? {
        releases.keep_record(name, &record.to_text())?;
    }
    Ok(())
}

/// `None` for what is no release. What cannot be read may be one.
fn record_of(
    name: &str,
    release: &dyn Source,
    now: Timestamp,
) -> Result<Option<AdmissionReport>, Fault> {
    let sums = read_if_there(release, SUMS, LARGEST_SUMS)?;
    let grant = read_if_there(release, &format!("{EVIDENCE}/{GRANT}"), LARGEST_GRANT)?;
    Ok(record_in(name, &sums, &grant, now))
}

/// A file of something that may be no release: nothing, if it has no such file.
fn read_if_there(from: &dyn Source, file: &str, limit: u64) -> Result<Vec<u8>, Fault> {
    match from.read(file, limit) {
        Err(fault @ (Fault::Unreachable(_) | Fault::Refused(_))) => Err(fault),
        read => Ok(read.unwrap_or_default()),
    }
}

fn record_in(name: &str, bytes: &[u8], grant: &[u8], now: Timestamp) -> Option<AdmissionReport> {
    let sums = Sums::parse(bytes).ok()?;
    let grant = Grant::parse(grant).ok()?;
    let terms = grant.terms();
    let is_this = Sha256::of(grant.bytes()) == sums.grant()
        && folder_name(&terms.project, &terms.version) == name;
    let key = terms.release_key;
    let artifacts = sums.artifacts().digest();
    let record = |name| AdmissionReport::new(name, Sha256::of(bytes), artifacts, key, now);
    name.parse().ok().filter(|_| is_this).map(record)
}

/// What submissions are judged with.
struct Location<'a> {
    releases: &'a dyn Releases,
    verifier: &'a Verifier<'a>,
    progress: &'a mut dyn Progress,
}

impl Location<'_> {
    fn judge(&mut self, submission: &dyn Submission) -> Judged {
        // Before it is read: what is changed meanwhile is tried again.
        let state = self.state(submission);
        let before = state.and_then(|state| refusal(submission, state));
        let mut noted = before.is_some();
        let result = match before {
            Some(reason) => Err(AdmitError::Before(reason)),
            None if submission.name().ends_with(WITHDRAWN) => self.withdraw(submission),
            None => self.admit(submission),
        };
        match &result {
            // A name that no release has is not fit for a note's name either.
            Ok(_) | Err(AdmitError::Before(_) | AdmitError::Name(_)) => {}
            Err(error) if error.is_trouble() => {}
            Err(error) => {
                let reason = within(&submission.place(), &error.to_string());
                let mut note = format!("{}\n", clean(&reason));
                // Its state says nothing of the releases.
                let by_releases = matches!(
                    error,
                    AdmitError::Occupied(_)
                        | AdmitError::Gone { .. }
                        | AdmitError::Release(ReleaseError::Withdrawn { .. })
                );
                if let Some(state) = state.filter(|_| !by_releases) {
                    note += &format!("{STATE}{state}\n");
                }
                noted = submission.refusal().as_ref() == Some(&note)
                    || submission.refuse(&note).is_ok();
            }
        }
        Judged {
            name: submission.name().to_owned(),
            result,
            noted,
        }
    }

    /// All that the judgement of a submission depends on.
    fn state(&self, submission: &dyn Submission) -> Option<Sha256> {
        let state = submission.state()?;
        let record = self.releases.record(submission.name()).ok()?;
        let judged_by = format!(
            "{}\n{}\n{:?}\n{}\n{:?}\n{state}",
            env!("CARGO_PKG_VERSION"),
            Sha256::of(&self.verifier.certificate.binary()),
            self.verifier.policy.digest(),
            self.verifier.now.unix() / REMEMBERED,
            record.as_deref().map(Sha256::of),
        );
        Some(Sha256::of(judged_by.as_bytes()))
    }

    /// The release that is withdrawn is not served any more once this returns.
    fn withdraw(&mut self, submission: &dyn Submission) -> Result<Outcome, AdmitError> {
        let name = submission.name();
        let statement = name.parse::<ArtifactName>()?;
        let source = submission.source().map_err(ReleaseError::source)?;
        let Verifier {
            certificate, now, ..
        } = *self.verifier;
        let withdrawn = Withdrawn::read(source, certificate, now)?;
        if withdrawn.folder() != name {
            return Err(AdmitError::OtherName {
                found: name.to_owned(),
                expected: withdrawn.folder(),
            });
        }
        let release = withdrawn.release();
        let stage = self.releases.stage_withdrawal(&release)?;
        withdrawn.copy(&*stage)?;
        let published = stage.publish().map_err(|fault| match fault {
            Fault::Occupied(_) => AdmitError::Occupied(name.to_owned()),
            fault => fault.into(),
        })?;
        self.releases.set_aside(&release)?;
        // A record that cannot be read keeps nothing public.
        let record = self.recorded(&release).ok().flatten();
        let record = AdmissionReport::new(
            statement,
            withdrawn.digest,
            record.map_or_else(|| Sha256::of(b""), |record| record.artifacts),
            withdrawn.signed.key,
            now,
        );
        let what = What::Withdrawal(Box::new(withdrawn));
        Ok(end(submission, &record, what, published == Published::New))
    }

    fn admit(&mut self, submission: &dyn Submission) -> Result<Outcome, AdmitError> {
        let name = submission.name();
        let release = name.parse::<ArtifactName>()?;
        let source = submission.source().map_err(ReleaseError::source)?;
        let checked = Checked::read(source, self.verifier, &Wanted::Any)?.without_extra_files()?;
        let terms = checked.grant().terms();
        let expected = folder_name(&terms.project, &terms.version);
        if expected != name {
            return Err(AdmitError::OtherName {
                found: name.to_owned(),
                expected,
            });
        }
        let found = self.known(name, &checked)?;
        let new = !matches!(found, Known::Same(_));
        let record = match &found {
            Known::Same(record) => record.clone(),
            Known::Nothing | Known::Predecessor => {
                let artifacts = checked.sums().artifacts().digest();
                let (key, now) = (checked.list().key, self.verifier.now);
                AdmissionReport::new(release, checked.digest(), artifacts, key, now)
            }
        };
        let text = record.to_text();
        let report = match found {
            Known::Same(_) => checked.verify(None, self.progress)?,
            Known::Nothing | Known::Predecessor => {
                let succeeds = matches!(found, Known::Predecessor);
                self.publish(self.releases.stage(name, &text, succeeds)?, checked)?
            }
        };
        Ok(end(
            submission,
            &record,
            What::Release(Box::new(report)),
            new,
        ))
    }

    /// What is there under the name of this release. Refuses another one that was admitted, unless
    /// this is its successor, and one that is there no longer.
    fn known(&self, name: &str, checked: &Checked<'_>) -> Result<Known, AdmitError> {
        if let Some(statement) = self.releases.withdrawal(name)? {
            let Verifier {
                certificate, now, ..
            } = *self.verifier;
            // Whatever became of its key, it stands.
            return Err(Withdrawn::read(&*statement, certificate, now).map_or_else(
                |_| AdmitError::Occupied(name.to_owned()),
                |withdrawn| withdrawn.refusal().into(),
            ));
        }
        let there = self.releases.release(name)?;
        let there = there.map(|there| read_if_there(&*there, SUMS, LARGEST_SUMS));
        let there = there.transpose()?.map(|list| Sha256::of(&list));
        let (sums, artifacts) = (checked.digest(), checked.sums().artifacts().digest());
        let older = checked.successor_of();
        match (self.recorded(name)?, there) {
            (None, None) => Ok(Known::Nothing),
            (Some(record), None) if record.sums == sums => Err(AdmitError::Gone {
                name: name.to_owned(),
                at: record.at,
            }),
            (Some(record), Some(there)) if record.sums == sums && there == sums => {
                Ok(Known::Same(record))
            }
            // It may have taken that one's place in a run that was killed before its record did.
            (Some(record), Some(there))
                if record.artifacts == artifacts
                    && (older == Some(there) || (there == sums && older == Some(record.sums))) =>
            {
                Ok(Known::Predecessor)
            }
            // What has no record is no release: see `record_found`.
            (None | Some(_), _) => Err(AdmitError::Occupied(name.to_owned())),
        }
    }

    fn recorded(&self, name: &str) -> Result<Option<AdmissionReport>, AdmitError> {
        let record = self.releases.record(name)?;
        let record = record.map(|bytes| AdmissionReport::parse(&bytes));
        record.transpose().map_err(|reason| AdmitError::Record {
            name: name.to_owned(),
            reason,
        })
    }

    fn publish(
        &mut self,
        stage: Box<dyn Stage + '_>,
        checked: Checked<'_>,
    ) -> Result<ReleaseReport, AdmitError> {
        let report = checked.verify(Some(&*stage), self.progress)?;
        stage.publish()?;
        Ok(report)
    }
}

/// What is there under the name of a submission.
enum Known {
    /// Nothing, nor was there ever.
    Nothing,
    /// This very release, with this record.
    Same(AdmissionReport),
    /// The one that this one succeeds.
    Predecessor,
}

/// Reports before the submission goes: a run that is interrupted in between finds it, and reports
/// again.
fn end(submission: &dyn Submission, record: &AdmissionReport, what: What, new: bool) -> Outcome {
    Outcome {
        what,
        new,
        reported: submission.report(&record.to_text()).is_ok(),
        removed: submission.remove().is_ok(),
    }
}

/// The reason why a submission was refused in this state.
fn refusal(submission: &dyn Submission, state: Sha256) -> Option<String> {
    let note = submission.refusal()?;
    let (reason, rest) = note.split_once('\n')?;
    let is_this = rest == format!("{STATE}{state}\n");
    is_this.then(|| reason.to_owned())
}

#[cfg(test)]
mod tests;
