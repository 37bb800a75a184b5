//! `countersign grants list`

use std::num::NonZeroUsize;

use clap::Args;
use serde_json::json;

use super::state;
use crate::cli::error::CliError;
use crate::cli::host::since::{Since, since};
use crate::cli::render::Output;
use crate::domain::event::{Entry, Event};
use crate::domain::name::ProjectName;
use crate::domain::time::Timestamp;
use crate::home::Home;
use crate::ledger::{GrantRecord, Ledger};
use crate::steps::host::policy;

/// List the issued grants with their state, oldest first
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  countersign grants list --open
  countersign grants list --project foo --since 30d-ago")]
pub(super) struct List {
    /// Only those that still allow signing
    #[arg(long)]
    open: bool,
    /// Only those issued since: `2026-11-22T16:00:00Z` or `14d-ago`
    #[arg(long, value_name = "TIME|PERIOD-ago", value_parser = since)]
    since: Option<Since>,
    /// Only those of this project
    #[arg(long, value_name = "PROJECT")]
    project: Option<ProjectName>,
    /// Only the newest N
    #[arg(long, value_name = "N")]
    limit: Option<NonZeroUsize>,
}

/// A grant as the log has it.
struct Issued {
    record: GrantRecord,
    at: Timestamp,
    project: ProjectName,
    version: String,
    expires: Timestamp,
}

impl List {
    pub(super) fn run(
        self,
        home: &Home,
        now: Timestamp,
        output: &mut Output,
    ) -> Result<(), CliError> {
        let ledger = home.ledger_to_read()?;
        let since = self.since.map(|since| since.time(now));
        let records = match &self.project {
            Some(project) => ledger.grants_of(project)?,
            None => ledger.grants()?,
        };
        let mut grants = Vec::new();
        for record in records.into_iter().rev() {
            if self.limit.is_some_and(|limit| grants.len() >= limit.get()) {
                break;
            }
            let Some(grant) = Issued::read(record, &ledger)? else {
                continue;
            };
            let is_wanted = since.is_none_or(|since| grant.at >= since)
                && (!self.open || state::is_open(&grant.record, grant.expires, now));
            if is_wanted {
                grants.push(grant);
            }
        }
        grants.reverse();
        if grants.is_empty() {
            let of = self
                .project
                .map(|project| format!(" of {project}"))
                .unwrap_or_default();
            let was = if self.open || since.is_some() {
                "fits"
            } else {
                "was issued"
            };
            output.line(format!("no grant{of} {was}"));
        }
        let widest = grants.iter().map(|grant| grant.title().len()).max();
        let widest = widest.unwrap_or(0).max(24);
        let mut values = Vec::new();
        for grant in &grants {
            let state = grant.state(home, &ledger, now);
            output.line(format!(
                "{}  {}  {:widest$} {state}",
                grant.record.grant.short(),
                grant.at,
                grant.title()
            ));
            values.push(json!({
                "grant": grant.record.grant,
                "project": grant.project,
                "version": grant.version,
                "issued": grant.at,
                "expires": grant.expires,
                "state": state,
                "issued_entry": grant.record.issued,
                "accepted_entry": grant.record.accepted,
                "signed_entry": grant.record.signed,
                "revoked_entry": grant.record.revoked,
                "withdrawn_entry": grant.record.withdrawn,
            }));
        }
        output.value(json!({ "grants": values }));
        Ok(())
    }
}

impl Issued {
    fn read(record: GrantRecord, ledger: &Ledger) -> Result<Option<Self>, CliError> {
        let Some(Entry { at, event, .. }) = ledger.entry(record.issued)? else {
            return Ok(None);
        };
        let Event::GrantIssued {
            project,
            version,
            expires,
            ..
        } = event
        else {
            return Ok(None);
        };
        Ok(Some(Self {
            record,
            at,
            project,
            version: version.to_string(),
            expires,
        }))
    }

    fn title(&self) -> String {
        format!("{} {}", self.project, self.version)
    }

    /// One grant that is damaged does not hide the others.
    fn state(&self, home: &Home, ledger: &Ledger, now: Timestamp) -> String {
        let waiting = || -> Result<String, CliError> {
            let grant = home.grant(self.record.grant)?;
            let approvals = policy::approvals(&grant, home, ledger, now)?;
            Ok(state::waiting(
                &grant,
                &approvals,
                home.config.approvals,
                now,
            ))
        };
        state::logged(&self.record, self.expires, now)
            .unwrap_or_else(|| waiting().unwrap_or_else(|error| format!("unknown: {error}")))
    }
}
