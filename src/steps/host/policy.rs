//! Whether this signing host may sign under a grant at all: its approvals, an embargo, and what was
//! signed before.

use std::collections::BTreeMap;

use super::approval::{self, BadApproval};
use crate::domain::digest::{GrantId, Sha256};
use crate::domain::event::{Entry, Event};
use crate::domain::grant::Grant;
use crate::domain::name::{ApproverName, Version};
use crate::domain::time::Timestamp;
use crate::home::{Home, HomeError};
use crate::ledger::{Ledger, LedgerError};

/// An approval as this host keeps it.
#[derive(Debug, Clone)]
pub struct Approval {
    /// Whose it is.
    pub approver: ApproverName,
    /// When it was recorded here.
    pub at: Timestamp,
    /// Its file among the approvals of the grant.
    pub file: String,
    /// The signature.
    pub bytes: Vec<u8>,
    /// Why it does not count, if it does not.
    pub fault: Option<BadApproval>,
}

/// Why nothing is signed under a grant.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// Taken back.
    #[error("grant {grant} was revoked at {at}")]
    Revoked {
        /// The grant.
        grant: String,
        /// When.
        at: Timestamp,
    },
    /// Not enough people said yes.
    #[error("grant {grant} needs {}, and has {}{}", approvals_of(*needed), counted(have), without(not_counted))]
    Approvals {
        /// The grant.
        grant: String,
        /// How many people must.
        needed: u32,
        /// Who did.
        have: Vec<ApproverName>,
        /// Whose signature does not count, and why.
        not_counted: Vec<(ApproverName, BadApproval)>,
    },
    /// An approval that was kept here is not what it was.
    #[error("approval `{file}` of grant {grant} is missing, or not as it was recorded")]
    Changed {
        /// The grant.
        grant: String,
        /// The approval.
        file: String,
    },
    /// Too soon.
    #[error(
        "grant {grant} was approved at {approved}, and nothing is signed under it before {until}"
    )]
    Embargo {
        /// The grant.
        grant: String,
        /// Since when it is approved.
        approved: Timestamp,
        /// When it may be signed.
        until: Timestamp,
    },
    /// Not after what was signed before.
    #[error(
        "version {version} is older than {newer}, which was signed before, under grant {grant}"
    )]
    Older {
        /// What is granted.
        version: Version,
        /// The newest that was signed.
        newer: Version,
        /// Under which grant.
        grant: String,
    },
    /// H's home.
    #[error(transparent)]
    Home(#[from] HomeError),
}

impl From<LedgerError> for PolicyError {
    fn from(error: LedgerError) -> Self {
        Self::Home(error.into())
    }
}

fn approvals_of(needed: u32) -> String {
    if needed == 1 {
        "one approval".to_owned()
    } else {
        format!("{needed} approvals")
    }
}

fn counted(have: &[ApproverName]) -> String {
    match have {
        [] => "none".to_owned(),
        have => format!(
            "{} ({})",
            have.len(),
            have.iter()
                .map(|it| it.as_str())
                .collect::<Vec<_>>()
                .join(", ")
        ),
    }
}

fn without(not_counted: &[(ApproverName, BadApproval)]) -> String {
    not_counted
        .iter()
        .map(|(approver, fault)| format!("; that of {approver} {fault}"))
        .collect()
}

/// Checks everything that must hold of a grant beside its own terms, as it was at `at`. Returns the
/// approvals that count, which the release will carry.
pub fn check(
    grant: &Grant,
    home: &Home,
    ledger: &Ledger,
    at: Timestamp,
    allow_older: bool,
) -> Result<Vec<Approval>, PolicyError> {
    let short = || grant.id().short();
    let record = ledger.grant(grant.id())?;
    if let Some(index) = record.as_ref().and_then(|record| record.revoked) {
        let at = ledger.entry(index)?.map_or(at, |entry| entry.at);
        return Err(PolicyError::Revoked { grant: short(), at });
    }

    let approvals = approvals(grant, home, ledger, at)?;
    let needed = home.config.approvals;
    let since = in_favour(&approvals);
    let enough = usize::try_from(needed).expect("no more than there are approvers");
    if since.len() < enough {
        let not_counted = approvals
            .iter()
            .filter_map(|it| Some((it.approver.clone(), it.fault.clone()?)))
            .collect();
        let have = since.into_keys().cloned().collect();
        return Err(PolicyError::Approvals {
            grant: short(),
            needed,
            have,
            not_counted,
        });
    }
    // It was over when the build was accepted, whatever the configuration says since.
    let was_accepted = record
        .as_ref()
        .is_some_and(|record| record.accepted.is_some());
    if let Some(embargo) = home.config.embargo.filter(|_| !was_accepted) {
        let mut times: Vec<_> = since.into_values().collect();
        times.sort();
        let approved = match enough {
            0 => issued(ledger, grant.id())?.unwrap_or(at),
            enough => times[enough - 1],
        };
        let until = approved
            .after(embargo)
            .unwrap_or(Timestamp::from_unix(i64::MAX));
        if at < until {
            return Err(PolicyError::Embargo {
                grant: short(),
                approved,
                until,
            });
        }
    }
    // A release that is signed already only comes out again.
    let is_signed = record.is_some_and(|record| record.signed.is_some());
    if !is_signed && !allow_older && !was_allowed_older(ledger, grant.id())? {
        check_version(grant, ledger)?;
    }
    Ok(approvals
        .into_iter()
        .filter(|approval| approval.fault.is_none())
        .collect())
}

/// Everybody whose approval counts, once each, and since when it does.
pub fn in_favour(approvals: &[Approval]) -> BTreeMap<&ApproverName, Timestamp> {
    let mut since = BTreeMap::new();
    for approval in approvals.iter().filter(|approval| approval.fault.is_none()) {
        since.entry(&approval.approver).or_insert(approval.at);
    }
    since
}

/// The approvals that were recorded here, each judged anew by who may approve now. Of a person
/// whose approval was replaced the last one.
pub fn approvals(
    grant: &Grant,
    home: &Home,
    ledger: &Ledger,
    at: Timestamp,
) -> Result<Vec<Approval>, PolicyError> {
    let mut recorded = BTreeMap::new();
    for Entry { at, event, .. } in ledger.history(grant.id())? {
        if let Event::GrantApproved {
            approver,
            file,
            signature,
            ..
        } = event
        {
            recorded.insert(approver, (at, file, signature));
        }
    }
    let mut approvals = Vec::new();
    for (approver, (recorded, file, signature)) in recorded {
        let bytes = home
            .approval(grant.id(), &file)?
            .filter(|bytes| Sha256::of(bytes) == signature);
        let bytes = bytes.ok_or_else(|| PolicyError::Changed {
            grant: grant.id().short(),
            file: file.clone(),
        })?;
        let fault = match approval::check(grant, &bytes, home.approvers(), at) {
            Ok(found) if found.approver == approver => None,
            Ok(found) => Some(BadApproval::Other(found.approver)),
            Err(fault) => Some(fault),
        };
        approvals.push(Approval {
            approver,
            at: recorded,
            file,
            bytes,
            fault,
        });
    }
    Ok(approvals)
}

fn issued(ledger: &Ledger, grant: GrantId) -> Result<Option<Timestamp>, LedgerError> {
    let Some(record) = ledger.grant(grant)? else {
        return Ok(None);
    };
    Ok(ledger.entry(record.issued)?.map(|entry| entry.at))
}

fn was_allowed_older(ledger: &Ledger, grant: GrantId) -> Result<bool, LedgerError> {
    let Some(record) = ledger.grant(grant)? else {
        return Ok(false);
    };
    let entry = ledger.entry(record.issued)?;
    Ok(entry.is_some_and(|entry| {
        matches!(
            entry.event,
            Event::GrantIssued {
                allow_older: true,
                ..
            }
        )
    }))
}

/// Refuses a version that is older than one that was accepted for signing.
fn check_version(grant: &Grant, ledger: &Ledger) -> Result<(), PolicyError> {
    let version = &grant.terms().version;
    let mut newest: Option<(Version, GrantId)> = None;
    for record in ledger.grants_of(&grant.terms().project)? {
        if record.grant == grant.id() || record.accepted.is_none() {
            continue;
        }
        let Some(other) = version_of(ledger, record.issued)? else {
            continue;
        };
        if newest
            .as_ref()
            .map_or(version, |(newest, _)| newest)
            .order(&other)
            .is_lt()
        {
            newest = Some((other, record.grant));
        }
    }
    match newest {
        Some((newer, of)) => Err(PolicyError::Older {
            version: version.clone(),
            newer,
            grant: of.short(),
        }),
        None => Ok(()),
    }
}

/// The version that was granted in an entry.
pub(super) fn version_of(ledger: &Ledger, issued: u64) -> Result<Option<Version>, LedgerError> {
    Ok(ledger.entry(issued)?.and_then(|entry| match entry.event {
        Event::GrantIssued { version, .. } => Some(version),
        _ => None,
    }))
}
