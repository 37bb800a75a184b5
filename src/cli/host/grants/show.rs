//! `countersign grants show`

use std::path::Path;

use clap::Args;
use serde_json::json;

use super::state;
use crate::cli::args::read_grant_file;
use crate::cli::error::CliError;
use crate::cli::global::Global;
use crate::cli::host::open::{is_grant_id, read_grant};
use crate::cli::render::Output;
use crate::domain::grant::Grant;
use crate::domain::signing::ReleaseForm;
use crate::domain::time::Timestamp;
use crate::home::Home;
use crate::ledger::{GrantRecord, Ledger};
use crate::steps::evidence::builders::Builders;
use crate::steps::host::policy::{self, Approval};

/// Show the terms of a grant, and on its signing host its state
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  countersign grants show foo-1.2.3.grant.json")]
pub(super) struct Show {
    /// Grant file or ID (8+ digits)
    grant: String,
}

impl Show {
    pub(super) fn run(
        self,
        global: &Global,
        now: Timestamp,
        output: &mut Output,
    ) -> Result<(), CliError> {
        let is_id = is_grant_id(&self.grant);
        // A file can be read by an approver, who has no home.
        let (grant, home) = match global.home() {
            Ok(home) => (read_grant(&self.grant, &home)?, Some(home)),
            Err(error) if is_id => return Err(error),
            Err(_) => (read_grant_file(Path::new(&self.grant))?, None),
        };
        show_terms(&grant, output);
        let mut value = json!({ "grant": grant.id(), "terms": grant.terms() });
        if let Some(home) = &home {
            let ledger = home.ledger_to_read()?;
            match ledger.grant(grant.id())? {
                Some(record) => {
                    show_state(&grant, &record, home, &ledger, now, &mut value, output)?;
                }
                None => output.line(
                    "  state      not issued by this signing host: nothing will be signed under it",
                ),
            }
        }
        output.value(value);
        Ok(())
    }
}

fn show_state(
    grant: &Grant,
    record: &GrantRecord,
    home: &Home,
    ledger: &Ledger,
    now: Timestamp,
    value: &mut serde_json::Value,
    output: &mut Output,
) -> Result<(), CliError> {
    let needed = home.config.approvals;
    let approvals = policy::approvals(grant, home, ledger, now)?;
    let state = state::logged(record, grant.terms().expires, now)
        .unwrap_or_else(|| state::waiting(grant, &approvals, needed, now));
    output.line(format!("  state      {state}"));
    show_approvals(&approvals, needed, output);
    value["state"] = json!(state);
    value["changes"] = json!(changes(grant, record, home, ledger, output)?);
    value["approvals"] = approvals
        .iter()
        .map(|it| json!({ "approver": it.approver, "at": it.at, "valid": it.fault.is_none() }))
        .collect();
    Ok(())
}

/// Shows a grant's terms, for an approver.
pub(in crate::cli::host) fn show_terms(grant: &Grant, output: &mut Output) {
    let terms = grant.terms();
    output.line(format!("grant {}", grant.id()));
    for (name, value) in described(grant) {
        output.line(format!("  {name:10} {value}"));
        if name == "builders" {
            builder_keys(grant)
                .iter()
                .for_each(|line| output.line(format!("    {line}")));
        }
    }
    output.line(format!(
        "  valid      from {} until {}",
        terms.not_before, terms.expires
    ));
}

/// Each builder's key, as `build-key` and `attest` show it to the builder.
pub(in crate::cli::host) fn builder_keys(grant: &Grant) -> Vec<String> {
    match Builders::of(grant.terms()) {
        Ok(builders) => builders
            .iter()
            .map(|(name, key)| format!("{name} has key {}", key.id()))
            .collect(),
        Err(fault) => vec![format!("nothing can be signed under this grant: {fault}")],
    }
}

/// What can differ from one grant of a project to the next.
fn described(grant: &Grant) -> Vec<(&'static str, String)> {
    let terms = grant.terms();
    let source = terms.source.as_ref().map_or_else(
        || "not given".to_owned(),
        |source| {
            format!("{} {}", source.uri, source.digest.as_deref().unwrap_or(""))
                .trim_end()
                .to_owned()
        },
    );
    let builders = terms
        .builders
        .iter()
        .map(|builder| builder.name.as_str())
        .collect::<Vec<_>>()
        .join(", ");
    let patterns = terms
        .artifacts
        .names
        .iter()
        .map(|pattern| format!("`{pattern}`"))
        .collect::<Vec<_>>()
        .join(", ");
    let alone = if terms.scheme.convinces_host_alone() {
        ", which convinces the signing host alone"
    } else {
        ""
    };
    vec![
        ("project", terms.project.to_string()),
        ("version", terms.version.to_string()),
        ("source", source),
        ("builders", builders),
        (
            "quorum",
            format!("{} of {} must agree", terms.quorum, terms.builders.len()),
        ),
        (
            "evidence",
            format!("{} {}{alone}", terms.scheme, terms.evidence),
        ),
        (
            "artifacts",
            format!(
                "{patterns}; at most {}, {} bytes",
                terms.artifacts.max_count, terms.artifacts.max_bytes
            ),
        ),
        (
            "signed",
            match terms.form {
                ReleaseForm::Each => "each artifact, and the list of all".to_owned(),
                ReleaseForm::ListOnly => "the list of all artifacts alone".to_owned(),
            },
        ),
        ("signed by", terms.release_key.to_string()),
    ]
}

fn show_approvals(approvals: &[Approval], needed: u32, output: &mut Output) {
    if needed == 0 && approvals.is_empty() {
        return output.line("  approvals  none needed: issuing it was the approval");
    }
    output.line(format!(
        "  approvals  {} of {needed}",
        policy::in_favour(approvals).len()
    ));
    for approval in approvals {
        let fault = approval
            .fault
            .as_ref()
            .map(|fault| format!(", but it is not valid: {fault}"));
        output.line(format!(
            "    {} at {}{}",
            approval.approver,
            approval.at,
            fault.unwrap_or_default()
        ));
    }
}

/// What differs from the project's last grant before this one.
fn changes(
    grant: &Grant,
    record: &GrantRecord,
    home: &Home,
    ledger: &Ledger,
    output: &mut Output,
) -> Result<Vec<serde_json::Value>, CliError> {
    let earlier = ledger.grants_of(&grant.terms().project)?;
    let Some(last) = earlier.iter().rfind(|it| it.issued < record.issued) else {
        output.line("  changed    nothing to compare: it is the first grant of this project");
        return Ok(Vec::new());
    };
    let before = home.grant(last.grant)?;
    output.line(format!(
        "  changed    against grant {} of version {}",
        before.id().short(),
        before.terms().version
    ));
    let mut changes = Vec::new();
    for ((name, was), (_, is)) in described(&before).into_iter().zip(described(grant)) {
        if was != is {
            output.line(format!("    {name:10} {was} -> {is}"));
            changes.push(json!({ "what": name, "was": was, "is": is }));
        }
    }
    if changes.is_empty() {
        output.line("    nothing");
    }
    Ok(changes)
}
