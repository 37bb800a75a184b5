//! Whether this signing host may sign under a grant: its approvals, its embargo, and the versions
//! that were signed before.

use std::collections::BTreeMap;

use super::trouble::Trouble;
use crate::domain::digest::{GrantId, Sha256};
use crate::domain::event::{Entry, Event};
use crate::domain::grant::Grant;
use crate::domain::name::{ApproverName, Version};
use crate::domain::time::Timestamp;
use crate::home::Home;
use crate::ledger::{Ledger, LedgerError};
use crate::steps::evidence::approval::{self, BadApproval};

/// An approval as this host keeps it.
#[derive(Debug, Clone)]
pub struct Approval {
    /// Who approved.
    pub approver: ApproverName,
    /// When it was recorded here.
    pub at: Timestamp,
    /// Its file among the approvals of the grant.
    pub file: String,
    /// The signature.
    pub bytes: Vec<u8>,
    /// Why it is not valid, if it is not.
    pub fault: Option<BadApproval>,
}

/// Why nothing is signed under a grant.
#[expect(missing_docs, reason = "each message says what it means")]
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum PolicyError {
    #[error("grant {} was not issued by this signing host", .0.short())]
    #[diagnostic(
        code(refused::grant_not_issued),
        help("use the file as `countersign grant` wrote it, on the host that issued it")
    )]
    NotIssued(GrantId),

    #[error("grant {} was revoked at {at}", grant.short())]
    #[diagnostic(
        code(refused::grant_revoked),
        help(
            "if the build is right after all, issue a new grant; a version that was withdrawn \
             never gets one"
        )
    )]
    Revoked { grant: GrantId, at: Timestamp },

    #[error("grant {} expired at {expires}", grant.short())]
    #[diagnostic(
        code(refused::grant_expired),
        help("issue a new grant and build again; `--valid-for` gives the build more time")
    )]
    Expired { grant: GrantId, expires: Timestamp },

    #[error("grant {} is not valid before {not_before}", grant.short())]
    #[diagnostic(
        code(notyet::grant_not_yet_valid),
        help("compare this host's clock with the grant's")
    )]
    NotYetValid {
        grant: GrantId,
        not_before: Timestamp,
    },

    #[error(
        "grant {} requires {}, and has {}{}",
        grant.short(), count(*required), listed(valid), without(invalid)
    )]
    #[diagnostic(
        code(notyet::approvals_missing),
        help(
            "let approvers sign the grant's file, and record that with \
             `countersign approve GRANT --signature FILE`"
        )
    )]
    Approvals {
        grant: GrantId,
        required: u32,
        valid: Vec<ApproverName>,
        invalid: Vec<(ApproverName, BadApproval)>,
    },

    /// Nobody can approve any more, as a build closed the grant.
    #[error(
        "the approvals of grant {} were enough when its build was accepted, and no longer are{}",
        grant.short(), without(invalid)
    )]
    #[diagnostic(
        code(refused::approvals_no_longer_enough),
        help("correct `approvals` and the approvers in config.toml, or issue a new grant")
    )]
    NoLonger {
        grant: GrantId,
        invalid: Vec<(ApproverName, BadApproval)>,
    },

    #[error("approval `{file}` of grant {} is missing, or not as it was recorded", grant.short())]
    #[diagnostic(
        code(refused::approval_changed),
        help("restore the file from a backup of the home, or issue a new grant")
    )]
    Changed { grant: GrantId, file: String },

    #[error(
        "grant {} was approved at {approved}, and nothing is signed under it before {until}",
        grant.short()
    )]
    #[diagnostic(
        code(notyet::embargo),
        help("run the same command again after that time")
    )]
    Embargo {
        grant: GrantId,
        approved: Timestamp,
        until: Timestamp,
    },

    #[error(
        "version {version} is older than {newer}, which was signed before, under grant {}",
        grant.short()
    )]
    #[diagnostic(
        code(refused::older_than_signed),
        help("if that is intended, add `--allow-older`")
    )]
    Older {
        version: Version,
        newer: Version,
        grant: GrantId,
    },

    #[error(transparent)]
    #[diagnostic(transparent)]
    Trouble(Trouble),
}

impl<E: Into<Trouble>> From<E> for PolicyError {
    fn from(error: E) -> Self {
        Self::Trouble(error.into())
    }
}

fn count(approvals: u32) -> String {
    match approvals {
        1 => "1 approval".to_owned(),
        count => format!("{count} approvals"),
    }
}

fn listed(valid: &[ApproverName]) -> String {
    if valid.is_empty() {
        return "none".to_owned();
    }
    let names: Vec<_> = valid.iter().map(ApproverName::as_str).collect();
    format!("{} ({})", valid.len(), names.join(", "))
}

fn without(invalid: &[(ApproverName, BadApproval)]) -> String {
    invalid
        .iter()
        .map(|(approver, fault)| format!("; the approval of {approver} is not valid: {fault}"))
        .collect()
}

/// Checks the time of a grant, and what the configuration and the ledger require of it, as of `at`.
/// What nobody can mend comes first. Returns the valid approvals, which become part of the release.
pub fn check(
    grant: &Grant,
    home: &Home,
    ledger: &Ledger,
    at: Timestamp,
    allow_older: bool,
) -> Result<Vec<Approval>, PolicyError> {
    let id = grant.id();
    let record = ledger.grant(id)?;
    if let Some(index) = record.as_ref().and_then(|record| record.revoked) {
        let at = ledger.entry(index)?.map_or(at, |entry| entry.at);
        return Err(PolicyError::Revoked { grant: id, at });
    }
    let terms = grant.terms();
    if at >= terms.expires {
        return Err(PolicyError::Expired {
            grant: id,
            expires: terms.expires,
        });
    }
    let approvals = approvals(grant, home, ledger, at)?;
    // A release that is signed already is only written again.
    let is_signed = record
        .as_ref()
        .is_some_and(|record| record.signed.is_some());
    if !is_signed && !allow_older && !was_allowed_older(ledger, id)? {
        check_version(grant, ledger)?;
    }

    // From here on, what can come yet, unless a build closed the grant.
    let was_accepted = record
        .as_ref()
        .is_some_and(|record| record.accepted.is_some());
    let required = home.config.approvals;
    let since = in_favour(&approvals);
    let enough = usize::try_from(required).expect("no more than there are approvers");
    if since.len() < enough {
        let valid = since.into_keys().cloned().collect();
        let invalid = approvals
            .iter()
            .filter_map(|it| Some((it.approver.clone(), it.fault.clone()?)));
        let grant = id;
        let invalid = invalid.collect();
        return Err(if was_accepted {
            PolicyError::NoLonger { grant, invalid }
        } else {
            PolicyError::Approvals {
                grant,
                required,
                valid,
                invalid,
            }
        });
    }
    // It had ended when the build was accepted, even if the configuration changed since.
    if let Some(embargo) = home.config.embargo
        && !was_accepted
    {
        let mut times: Vec<_> = since.into_values().collect();
        times.sort();
        let approved = match enough {
            0 => issued(ledger, id)?.unwrap_or(at),
            enough => times[enough - 1],
        };
        let until = approved
            .after(embargo)
            .unwrap_or(Timestamp::from_unix(i64::MAX));
        if at < until {
            return Err(PolicyError::Embargo {
                grant: id,
                approved,
                until,
            });
        }
    }
    Ok(approvals
        .into_iter()
        .filter(|approval| approval.fault.is_none())
        .collect())
}

/// Whether the grant is valid by now. It was issued by the clock of this host: where that is
/// behind, nothing can be judged.
pub(super) fn check_begun(grant: &Grant, now: Timestamp) -> Result<(), PolicyError> {
    let not_before = grant.terms().not_before;
    if now >= not_before {
        return Ok(());
    }
    let grant = grant.id();
    Err(PolicyError::NotYetValid { grant, not_before })
}

/// The approvers whose approval is valid, and when it was recorded.
pub fn in_favour(approvals: &[Approval]) -> BTreeMap<&ApproverName, Timestamp> {
    let mut since = BTreeMap::new();
    for approval in approvals.iter().filter(|approval| approval.fault.is_none()) {
        since.entry(&approval.approver).or_insert(approval.at);
    }
    since
}

/// The last recorded approval of each person, checked again with the approvers of the
/// configuration.
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
            grant: grant.id(),
            file: file.clone(),
        })?;
        let fault = match approval::check(grant, &bytes, home.approvers(), at) {
            Ok(found) if found.approver == approver => None,
            Ok(found) => Some(BadApproval::signature(format!(
                "the key is now that of {}",
                found.approver
            ))),
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
        let known = newest.as_ref().map_or(version, |(newest, _)| newest);
        if known.order(&other).is_lt() {
            newest = Some((other, record.grant));
        }
    }
    match newest {
        Some((newer, grant)) => Err(PolicyError::Older {
            version: version.clone(),
            newer,
            grant,
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
