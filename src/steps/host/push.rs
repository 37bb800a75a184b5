//! H's last steps for a release: it is pushed to L's inbox, and L's reports on it are recorded.
//!
//! None of this needs the token, and none of it changes what is signed. What is copied is verified
//! in the read that copies it. What L reports is only a claim: it is logged as one, once, and
//! nothing follows from it here.

use std::path::{Path, PathBuf};

use super::Host;
use super::pushable::verdicts;
pub use super::pushable::{
    Release, Statement, Subject, release_under, unanswered, waiting, waiting_withdrawals,
    withdrawals,
};
use super::trouble::Trouble;
use crate::domain::admission::AdmissionReport;
use crate::domain::digest::{GrantId, Sha256};
use crate::domain::event::{Entry, Event, Verdict};
use crate::domain::release::LARGEST_SUMS;
use crate::domain::reserved::SUMS;
use crate::domain::text::clean;
use crate::files::{FileError, FileFault};
use crate::home::HomeError;
use crate::ledger::{Ledger, LedgerError};
use crate::location::{self, Fault, Publish, Published, Source};
use crate::openpgp::BadSignature;
use crate::steps::Progress;
use crate::steps::release::error::ReleaseError;
use crate::steps::release::verify::verify_release;

/// Maximum length of a reason that is logged, in characters.
const LONGEST_REASON: usize = 1000;
/// Maximum number of L's reports on one release that are logged: it cannot fill the log.
const MOST_VERDICTS: usize = 100;

/// A release that is in the inbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// Its folder there.
    pub folder: PathBuf,
    /// Whether it is new; otherwise the same release was there.
    pub new: bool,
}

/// A report of L's on a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// It was logged, as this entry.
    Logged(u64, Verdict),
    /// It was not accepted.
    Dubious {
        /// The file.
        file: String,
        /// What is wrong with it, as a sentence.
        fault: String,
    },
}

/// Why a release is not pushed. What was signed stays as it is.
#[expect(missing_docs, reason = "each message says what it means")]
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum PushError {
    #[error("{0}")]
    #[diagnostic(
        code(usage::no_inbox),
        help(
            "name in config.toml, as `inbox` below `[repository]`, the folder that is pushed to; \
             then run `countersign push`"
        )
    )]
    NoInbox(String),
    #[error("`{}` is not a release that this signing host has finished", .0.display())]
    #[diagnostic(
        code(refused::release_not_finished),
        help(
            "finish it, or make it again, with `sign`: what was signed is kept; a withdrawal is \
             pushed by `withdraw`"
        )
    )]
    NotOurs(PathBuf),
    #[error("grant {} was revoked after its release was signed", .0.short())]
    #[diagnostic(
        code(refused::release_revoked),
        help("what was revoked or withdrawn is not pushed")
    )]
    Revoked(GrantId),
    #[error("{0}, and is not this release")]
    #[diagnostic(
        code(usage::inbox_occupied),
        help(
            "remove it there if it is not wanted, then run `countersign push`: the token is not \
             needed"
        )
    )]
    Occupied(String),
    #[error("{0}")]
    #[diagnostic(
        code(usage::release_moved),
        help(
            "if it was moved, name its folder: `countersign push FOLDER`; else make it again with \
             `sign`"
        )
    )]
    Moved(FileError),
    #[error("{0}")]
    #[diagnostic(
        code(trouble::clock_behind_release),
        help("set the clock of this host, then run `countersign push`: the token is not needed")
    )]
    Clock(ReleaseError),
    #[error("{0}")]
    #[diagnostic(
        code(refused::release_key_invalid),
        help(
            "the location would not admit it either; `countersign key extend` helps if the key has \
             expired and was not revoked"
        )
    )]
    Key(ReleaseError),
    #[error("{0}")]
    #[diagnostic(
        code(refused::release_changed),
        help(
            "it was changed after it was signed: make it again with the same `sign` and another \
             `-o`, without the token"
        )
    )]
    Changed(String),
    #[error("{0}")]
    #[diagnostic(
        code(trouble::not_pushed),
        help("when this is fixed, run `countersign push`: the token is not needed")
    )]
    Location(Fault),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Trouble(Trouble),
}

impl PushError {
    /// The configuration names nowhere to push to.
    pub fn unnamed() -> Self {
        Self::NoInbox("the configuration names no inbox to push to".to_owned())
    }
}

impl From<HomeError> for PushError {
    fn from(error: HomeError) -> Self {
        Self::Trouble(error.into())
    }
}

impl From<LedgerError> for PushError {
    fn from(error: LedgerError) -> Self {
        Self::Trouble(error.into())
    }
}

impl From<Fault> for PushError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Unfit(text) => Self::NoInbox(text),
            Fault::Occupied(text) => Self::Occupied(text),
            fault => Self::Location(fault),
        }
    }
}

impl From<ReleaseError> for PushError {
    fn from(error: ReleaseError) -> Self {
        match error {
            ReleaseError::Stage(fault) | ReleaseError::Source(fault) => Self::Location(fault),
            ReleaseError::Signature {
                source: BadSignature::Future { .. },
                ..
            } => Self::Clock(error),
            ReleaseError::Signature {
                source: BadSignature::Key(_),
                ..
            } => Self::Key(error),
            error => Self::Changed(error.to_string()),
        }
    }
}

/// The release in a folder, which need not be the one that it was written to.
pub fn release_in(folder: &Path, ledger: &Ledger) -> Result<Release, PushError> {
    let named = location::source(folder).map_err(|error| PushError::Trouble(error.into()))?;
    let list = named.read(SUMS, LARGEST_SUMS);
    let list = match list {
        Ok(list) => Sha256::of(&list),
        Err(Fault::Missing(_)) => return Err(PushError::NotOurs(folder.to_owned())),
        Err(fault) => return Err(fault.into()),
    };
    for index in ledger.covering(list)? {
        let Some(Entry {
            event: Event::Intent(intent),
            ..
        }) = ledger.entry(index)?
        else {
            continue;
        };
        match release_under(intent.grant, ledger)? {
            Some(release) if release.sums == list => {
                return Ok(release.standing_in(folder).map_err(Fault::from)?);
            }
            _ => {}
        }
    }
    Err(PushError::NotOurs(folder.to_owned()))
}

/// Opens a finished release on H.
fn open(folder: &Path) -> Result<Box<dyn Source>, PushError> {
    location::source(folder).map_err(|error| match error.fault {
        FileFault::Missing => PushError::Moved(error),
        _ => ReleaseError::source(error.into()).into(),
    })
}

impl Host {
    /// The location that the configuration names.
    pub fn location(&self) -> Result<Box<dyn Publish>, PushError> {
        let inbox = self.home.inbox().ok_or_else(PushError::unnamed)?;
        let owner = self.home.owner().map_err(HomeError::from)?;
        location::publish_to(&inbox, owner, |folder| {
            Ok(self.home.refuse_within(folder)?)
        })
    }

    /// Pushes a release to the location, where it appears complete or not at all. That it did is
    /// logged once for each release; if it is there already, it is not copied again.
    pub fn push(
        &mut self,
        release: &Release,
        to: &dyn Publish,
        progress: &mut dyn Progress,
    ) -> Result<Pushed, PushError> {
        let _held = self.home.hold_grant(release.grant, self.wait)?;
        self.push_held(release, to, progress)
    }

    pub(super) fn push_held(
        &mut self,
        release: &Release,
        to: &dyn Publish,
        progress: &mut dyn Progress,
    ) -> Result<Pushed, PushError> {
        self.check_not_revoked(release)?;
        let folder = to.place(&release.name())?;
        let new = self.copy(release, to, progress)?;
        self.check_arrived(&release.into(), to, |there| {
            let certificate = &self.home.certificate;
            verify_release(there, certificate, None, self.clock.now(), progress).map(|it| it.sums)
        })?;
        // It may have been named twice, and pushed since it was read.
        let record = self.ledger.grant(release.grant)?;
        if record.is_some_and(|record| record.pushed.is_none()) {
            let intent = release.intent;
            let event = Event::Pushed { intent };
            self.ledger.append_in(self.clock, event, &folder)?;
        }
        Ok(Pushed { folder, new })
    }

    fn check_not_revoked(&self, release: &Release) -> Result<(), PushError> {
        if self.ledger.is_revoked(release.grant)? {
            return Err(PushError::Revoked(release.grant));
        }
        Ok(())
    }

    /// Copies a release, each file in the read that verifies it. Returns whether it is new.
    fn copy(
        &self,
        release: &Release,
        to: &dyn Publish,
        progress: &mut dyn Progress,
    ) -> Result<bool, PushError> {
        let Some(stage) = to.stage(&release.name(), release.sums)? else {
            return Ok(false);
        };
        let from = open(&release.folder)?;
        let now = self.clock.now();
        let certificate = &self.home.certificate;
        let report = verify_release(&*from, certificate, Some(&*stage), now, progress)?;
        if report.sums != release.sums {
            return Err(PushError::Changed(format!(
                "`{}` is not the release that was signed there",
                release.folder.display()
            )));
        }
        // The copy takes its time.
        self.check_not_revoked(release)?;
        Ok(stage.publish()? == Published::New)
    }

    /// Reads back what was pushed: others write to an inbox too. What the location has taken out
    /// of it since, and reported, was there. `read` returns the digest of what it verified.
    pub(super) fn check_arrived(
        &self,
        subject: &Subject,
        to: &dyn Publish,
        read: impl FnOnce(&dyn Source) -> Result<Sha256, ReleaseError>,
    ) -> Result<(), PushError> {
        let Subject { name, digest, .. } = subject;
        let differs = |what: &str| PushError::Occupied(format!("`{name}` was read back: {what}"));
        let missing = || {
            let text = format!("`{name}` was pushed and is not in the inbox any more");
            PushError::Location(Fault::Missing(text))
        };
        let there = to.published(name)?;
        let read = there.as_deref().map(read);
        let fault = match read.transpose().map_err(PushError::from) {
            Ok(Some(found)) if found == *digest => return Ok(()),
            Ok(Some(_)) => differs("it has another list"),
            Ok(None) => missing(),
            Err(
                PushError::Changed(text)
                | PushError::Location(
                    Fault::Missing(text) | Fault::Strange(text) | Fault::TooLarge(text),
                ),
            ) => differs(&text),
            Err(other) => other,
        };
        let is_taken = || {
            let (file, report) = to.state(name, *digest).ok()?.admitted?;
            admission(subject, &file, &report.ok()?).ok()
        };
        match to.published(name)? {
            None if is_taken().is_some() => Ok(()),
            None => Err(missing()),
            Some(_) => Err(fault),
        }
    }

    /// Logs what the location reports, unless that was logged before.
    pub fn record_reports(
        &mut self,
        subject: &Subject,
        at: &dyn Publish,
    ) -> Result<Vec<Report>, PushError> {
        let _held = self.home.hold_grant(subject.grant, self.wait)?;
        self.record_reports_held(subject, at)
    }

    pub(super) fn record_reports_held(
        &mut self,
        subject: &Subject,
        at: &dyn Publish,
    ) -> Result<Vec<Report>, PushError> {
        let mut known = verdicts(subject.grant, &self.ledger)?;
        let state = at.state(&subject.name, subject.digest)?;
        let mut reports = Vec::new();
        if let Some((file, content)) = state.admitted {
            let verdict = content
                .map_err(|fault| fault.to_string())
                .and_then(|content| admission(subject, &file, &content));
            reports.push((file, verdict));
        }
        if let Some((file, content)) = state.refused {
            let verdict = content
                .map_err(|fault| fault.to_string())
                .and_then(|content| refusal(&file, &content, state.still_there));
            reports.push((file, verdict));
        }
        let mut recorded = Vec::new();
        for (file, verdict) in reports {
            let verdict = match verdict {
                Ok(verdict) if known.iter().any(|known| is_same(known, &verdict)) => continue,
                // That it was admitted is logged once at most.
                Ok(Verdict::Refused { .. }) if known.len() >= MOST_VERDICTS => Err(format!(
                    "`{file}` gives yet another reason, after {MOST_VERDICTS}"
                )),
                verdict => verdict,
            };
            match verdict {
                Ok(verdict) => {
                    known.push(verdict.clone());
                    let event = Event::Admission {
                        intent: subject.intent,
                        result: verdict.clone(),
                    };
                    let index = self.ledger.append(self.clock, event)?;
                    recorded.push(Report::Logged(index, verdict));
                }
                Err(fault) => recorded.push(Report::Dubious { file, fault }),
            }
        }
        Ok(recorded)
    }
}

/// A release is admitted once, whenever L found it so; and it may be refused for more than one
/// reason.
fn is_same(known: &Verdict, verdict: &Verdict) -> bool {
    match (known, verdict) {
        (Verdict::Admitted { .. }, Verdict::Admitted { .. })
        | (Verdict::Withdrawn { .. }, Verdict::Withdrawn { .. }) => true,
        (known, verdict) => known == verdict,
    }
}

fn admission(subject: &Subject, file: &str, content: &[u8]) -> Result<Verdict, String> {
    let report = AdmissionReport::parse(content).map_err(|fault| format!("`{file}`: {fault}"))?;
    let is_this = report.release.as_str() == subject.name
        && report.sums == subject.digest
        && report.key == subject.key;
    if !is_this {
        return Err(format!("`{file}` is not about the release that was pushed"));
    }
    let at = report.at;
    Ok(if subject.is_withdrawal {
        Verdict::Withdrawn { at }
    } else {
        Verdict::Admitted { at }
    })
}

fn refusal(file: &str, content: &[u8], is_this: bool) -> Result<Verdict, String> {
    if !is_this {
        return Err(format!("`{file}` is not about the release that was pushed"));
    }
    Ok(Verdict::Refused {
        reason: reason(content),
    })
}

/// A reason that L gives, fit for a log. It is the first line of the note; what follows is for L.
fn reason(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text = clean(text.lines().next().unwrap_or_default().trim());
    match text.char_indices().nth(LONGEST_REASON) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
