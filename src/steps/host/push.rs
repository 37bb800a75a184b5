//! H's last steps for a release: it is brought to L's inbox, and what L says of it is noted.
//!
//! None of this needs the token, and none of it changes what is signed. What is copied is verified
//! in the read that copies it. What L says is hearsay: it is logged as such, once, and nothing
//! follows from it here.

use std::path::{Path, PathBuf};

use crate::domain::admission::AdmissionReport;
use crate::domain::digest::{GrantId, Sha256};
use crate::domain::event::{Entry, Event, Intent, Verdict};
use crate::domain::key::Fingerprint;
use crate::domain::name::{ProjectName, Version};
use crate::domain::release::{LARGEST_SUMS, folder_name};
use crate::domain::reserved::{ADMITTED, REFUSED, SUMS};
use crate::domain::text::clean;
use crate::domain::time::Timestamp;
use crate::files::{FileError, FileFault, Folder, real_path};
use crate::home::{Home, HomeError, HomeLock};
use crate::ledger::{GrantRecord, Ledger, LedgerError};
use crate::location::folder::Inbox;
use crate::steps::Progress;
use crate::steps::release::verify::{ReleaseError, verify_release};

/// The most of a reason that is logged, in characters.
const LONGEST_REASON: usize = 1000;
/// The most that is logged of what L says of one release: it cannot fill the log.
const MOST_VERDICTS: usize = 100;

/// A release that stands complete on H.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// Its grant.
    pub grant: GrantId,
    /// Its project.
    pub project: ProjectName,
    /// Its version.
    pub version: Version,
    /// Where it stands.
    pub folder: PathBuf,
    pushed: Option<u64>,
    intent: u64,
    sums: Sha256,
    key: Fingerprint,
    /// Whether there was an inbox to push it to when it was signed.
    wanted: bool,
    revoked: bool,
}

/// A release that is in the inbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// Its folder there.
    pub folder: PathBuf,
    /// Whether it is new; otherwise the same release was there.
    pub new: bool,
}

/// What was found in the inbox of what L did with a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// It was logged, as this entry.
    Logged(u64, Verdict),
    /// It does not count, and why.
    Dubious {
        /// The file.
        file: String,
        /// What is wrong with it.
        fault: String,
    },
}

/// Why a release is not pushed, or L did not get the log. What was signed stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// Nowhere to push to.
    #[error("the configuration names no inbox to push to")]
    NoInbox,
    /// Releases, or one release, where an inbox should be.
    #[error("`{}` is no inbox: it holds verified releases, or is a release itself", .0.display())]
    NotAnInbox(PathBuf),
    /// A folder that is no release of this host, or not any more.
    #[error("`{}` is no release that this signing host has finished", .0.display())]
    NotOurs(PathBuf),
    /// A good release, and not the one that was signed into that folder.
    #[error("`{}` is another release now than the one that was signed", .0.display())]
    Exchanged(PathBuf),
    /// Taken back after it was signed.
    #[error("grant {0} was revoked after its release was signed")]
    Revoked(String),
    /// Another release of that name is there.
    #[error("`{}` is there already and is not this release", .0.display())]
    Occupied(PathBuf),
    /// It is not what it was when it was signed.
    #[error(transparent)]
    Release(#[from] ReleaseError),
    /// A folder of L's.
    #[error(transparent)]
    File(#[from] FileError),
    /// H's home.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// H's ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl Release {
    /// What its folder is called at L, whatever it is called here.
    pub fn name(&self) -> String {
        folder_name(&self.project, &self.version)
    }

    /// The entry that says that it was pushed, and where to; nothing if it was not.
    pub fn pushed(&self, ledger: &Ledger) -> Result<Option<(u64, PathBuf)>, LedgerError> {
        let Some(index) = self.pushed else {
            return Ok(None);
        };
        Ok(ledger.entry(index)?.and_then(|entry| match entry.event {
            Event::Pushed { folder, .. } => Some((index, folder.into())),
            _ => None,
        }))
    }

    /// The same release in another folder on H.
    pub fn standing_in(self, folder: &Path) -> Result<Self, FileError> {
        Ok(Self {
            folder: real_path(folder)?,
            ..self
        })
    }

    fn read(record: &GrantRecord, ledger: &Ledger) -> Result<Option<Self>, LedgerError> {
        let event = |index: Option<u64>| -> Result<Option<Event>, LedgerError> {
            let entry = index
                .map(|index| ledger.entry(index))
                .transpose()?
                .flatten();
            Ok(entry.map(|Entry { event, .. }| event))
        };
        let entries = (
            event(Some(record.issued))?,
            event(record.intent)?,
            event(record.released)?,
        );
        let (
            Some(Event::GrantIssued {
                project, version, ..
            }),
            Some(Event::Intent(Intent { key, .. })),
            Some(Event::Released {
                intent,
                sums,
                folder,
                inbox,
            }),
        ) = entries
        else {
            return Ok(None);
        };
        let (folder, wanted) = (folder.into(), inbox.is_some());
        let (grant, pushed, revoked) = (record.grant, record.pushed, record.revoked.is_some());
        Ok(Some(Self {
            grant,
            project,
            version,
            folder,
            pushed,
            intent,
            sums,
            key,
            wanted,
            revoked,
        }))
    }
}

/// The release under a grant, if it is finished.
pub fn release_under(grant: GrantId, ledger: &Ledger) -> Result<Option<Release>, LedgerError> {
    ledger
        .grant(grant)?
        .map_or(Ok(None), |record| Release::read(&record, ledger))
}

/// The release in a folder, which need not be the one that it was written to.
pub fn release_in(folder: &Path, ledger: &Ledger) -> Result<Release, PushError> {
    let open = Folder::open(folder).map_err(ReleaseError::File)?;
    let list = match open.read(SUMS, LARGEST_SUMS) {
        Err(FileError {
            fault: FileFault::Missing,
            ..
        }) => return Err(PushError::NotOurs(folder.to_owned())),
        list => Sha256::of(&list?),
    };
    for index in ledger.speaking_of(list)? {
        let Some(Entry {
            event: Event::Intent(intent),
            ..
        }) = ledger.entry(index)?
        else {
            continue;
        };
        match release_under(intent.grant, ledger)? {
            Some(release) if release.sums == list => return Ok(release.standing_in(folder)?),
            _ => {}
        }
    }
    Err(PushError::NotOurs(folder.to_owned()))
}

/// The releases that are to be pushed, first granted to last: those that were signed when there was
/// an inbox to push to, but for what was taken back since.
pub fn waiting(ledger: &Ledger) -> Result<Vec<Release>, LedgerError> {
    let mut releases = finished(&ledger.not_pushed()?, ledger)?;
    releases.retain(|release| release.wanted && !release.revoked);
    Ok(releases)
}

/// The releases that were pushed and that L does not say that it admitted.
pub fn unanswered(ledger: &Ledger) -> Result<Vec<Release>, LedgerError> {
    let mut found = Vec::new();
    for release in finished(&ledger.pushed()?, ledger)? {
        if !verdicts(&release, ledger)?
            .iter()
            .any(|verdict| matches!(verdict, Verdict::Admitted { .. }))
        {
            found.push(release);
        }
    }
    Ok(found)
}

fn finished(records: &[GrantRecord], ledger: &Ledger) -> Result<Vec<Release>, LedgerError> {
    records
        .iter()
        .filter_map(|record| Release::read(record, ledger).transpose())
        .collect()
}

/// Brings a release to the inbox, where it appears complete or not at all. That it did is logged
/// once for each release; if it is there already, it is not copied again.
pub fn push(
    release: &Release,
    home: &Home,
    lock: &HomeLock,
    ledger: &mut Ledger,
    now: Timestamp,
    progress: &mut dyn Progress,
) -> Result<Pushed, PushError> {
    let _held: &HomeLock = lock;
    if release.revoked {
        return Err(PushError::Revoked(release.grant.short()));
    }
    let inbox = open_inbox(home)?;
    let name = release.name();
    let folder = real_path(inbox.folder().path())?.join(&name);
    let new = match inbox.list(&name) {
        Ok(Some(list)) if Sha256::of(&list) == release.sums => false,
        Ok(None) => copy(release, &inbox, home, now, progress)?,
        Ok(Some(_))
        | Err(FileError {
            fault: FileFault::Kind { .. } | FileFault::TooLarge { .. },
            ..
        }) => {
            return Err(PushError::Occupied(folder));
        }
        Err(error) => return Err(error.into()),
    };
    // Also of one that was there: the run that brought it may have been cut off just before this.
    inbox.settle()?;
    // It may have been named twice, and pushed since it was read.
    if ledger
        .grant(release.grant)?
        .is_some_and(|record| record.pushed.is_none())
    {
        let folder = folder.to_string_lossy().into_owned();
        ledger.append(
            now,
            Event::Pushed {
                intent: release.intent,
                folder,
            },
        )?;
    }
    Ok(Pushed { folder, new })
}

/// Opens the inbox that the configuration names.
pub fn open_inbox(home: &Home) -> Result<Inbox, PushError> {
    let path = home.inbox().ok_or(PushError::NoInbox)?;
    let inbox = Inbox::open(&path)?;
    home.refuse_within(inbox.folder())?;
    if inbox.is_mistaken() {
        Err(PushError::NotAnInbox(path))
    } else {
        Ok(inbox)
    }
}

/// Copies a release, each file in the read that verifies it. Returns whether it is new: another run
/// may have been faster.
fn copy(
    release: &Release,
    inbox: &Inbox,
    home: &Home,
    now: Timestamp,
    progress: &mut dyn Progress,
) -> Result<bool, PushError> {
    let name = release.name();
    let staged = inbox.stage(&name)?;
    if staged.occupied() {
        return Err(PushError::Occupied(staged.target().to_owned()));
    }
    let from = Folder::open(&release.folder).map_err(ReleaseError::File)?;
    let report = verify_release(&from, &home.certificate, Some(&staged), now, progress)?;
    if report.sums != release.sums {
        return Err(PushError::Exchanged(release.folder.clone()));
    }
    // The refusal of an earlier submission of this name would read as one of this.
    inbox.forget_refusal(&name)?;
    staged.publish().map_err(|error| match error.fault {
        FileFault::Exists => PushError::Occupied(error.path),
        _ => error.into(),
    })
}

/// Logs what L says of a release, unless that was logged before.
pub fn hear(
    release: &Release,
    inbox: &Inbox,
    lock: &HomeLock,
    ledger: &mut Ledger,
    now: Timestamp,
) -> Result<Vec<Heard>, PushError> {
    let _held: &HomeLock = lock;
    let mut known = verdicts(release, ledger)?;
    let mut heard = Vec::new();
    for said in [admission(release, inbox)?, refusal(release, inbox)?]
        .into_iter()
        .flatten()
    {
        let verdict = match said {
            Ok(verdict) => verdict,
            Err(dubious) => {
                heard.push(dubious);
                continue;
            }
        };
        if known.iter().any(|known| is_same(known, &verdict)) {
            continue;
        }
        // That it was admitted is logged once at the most.
        if known.len() >= MOST_VERDICTS && matches!(verdict, Verdict::Refused { .. }) {
            let fault = format!("gives yet another reason, after {MOST_VERDICTS}");
            heard.push(Heard::Dubious {
                file: format!("{}{REFUSED}", release.name()),
                fault,
            });
            continue;
        }
        known.push(verdict.clone());
        let index = ledger.append(
            now,
            Event::Admission {
                intent: release.intent,
                result: verdict.clone(),
            },
        )?;
        heard.push(Heard::Logged(index, verdict));
    }
    Ok(heard)
}

/// What was logged of what L says of a release.
fn verdicts(release: &Release, ledger: &Ledger) -> Result<Vec<Verdict>, LedgerError> {
    let said = ledger
        .history(release.grant)?
        .into_iter()
        .filter_map(|entry| match entry.event {
            Event::Admission { result, .. } => Some(result),
            _ => None,
        });
    Ok(said.collect())
}

/// A release is admitted once, whenever L found it so; and it may be refused for more than one
/// reason.
fn is_same(known: &Verdict, verdict: &Verdict) -> bool {
    match (known, verdict) {
        (Verdict::Admitted { .. }, Verdict::Admitted { .. }) => true,
        (known, verdict) => known == verdict,
    }
}

/// What a report says, or why it does not count.
type Said = Option<Result<Verdict, Heard>>;

fn admission(release: &Release, inbox: &Inbox) -> Result<Said, PushError> {
    let name = release.name();
    let dubious = |fault: String| Heard::Dubious {
        file: format!("{name}{ADMITTED}"),
        fault,
    };
    let Some(bytes) = readable(inbox.admission(&name))? else {
        return Ok(None);
    };
    let said = bytes
        .map_err(|fault| dubious(fault.to_string()))
        .and_then(|bytes| {
            let report =
                AdmissionReport::parse(&bytes).map_err(|fault| dubious(fault.to_string()))?;
            let fits = report.release.as_str() == name
                && report.sums == release.sums
                && report.key == release.key;
            match fits {
                true => Ok(Verdict::Admitted { at: report.at }),
                false => Err(dubious(
                    "is about another release than the one that was pushed".to_owned(),
                )),
            }
        });
    Ok(Some(said))
}

fn refusal(release: &Release, inbox: &Inbox) -> Result<Said, PushError> {
    let name = release.name();
    let dubious = |fault: String| Heard::Dubious {
        file: format!("{name}{REFUSED}"),
        fault,
    };
    let Some(bytes) = readable(inbox.refusal(&name))? else {
        return Ok(None);
    };
    let bytes = match bytes {
        Ok(bytes) => bytes,
        Err(fault) => return Ok(Some(Err(dubious(fault.to_string())))),
    };
    // What was refused is still there.
    let ours = readable(inbox.list(&name))?
        .and_then(Result::ok)
        .is_some_and(|list| Sha256::of(&list) == release.sums);
    Ok(Some(match ours {
        true => Ok(Verdict::Refused {
            reason: reason(&bytes),
        }),
        false => Err(dubious(
            "is about another submission than the one that was pushed".to_owned(),
        )),
    }))
}

/// What a file has, or what is wrong with it; only a disk that fails is an error.
fn readable(
    read: Result<Option<Vec<u8>>, FileError>,
) -> Result<Option<Result<Vec<u8>, FileFault>>, PushError> {
    match read {
        Ok(bytes) => Ok(bytes.map(Ok)),
        Err(FileError {
            fault: fault @ (FileFault::Kind { .. } | FileFault::TooLarge { .. }),
            ..
        }) => Ok(Some(Err(fault))),
        Err(error) => Err(error.into()),
    }
}

/// A reason in the words of L, fit for a log.
fn reason(bytes: &[u8]) -> String {
    let text = clean(String::from_utf8_lossy(bytes).trim());
    match text.char_indices().nth(LONGEST_REASON) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
