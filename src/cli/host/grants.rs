//! `countersign grants`

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use super::open::{is_grant_id, read_grant};
use super::reason::reason;
use crate::cli::args::read_grant_file;
use crate::cli::error::{CliError, HostError};
use crate::cli::global::Global;
use crate::cli::render::Output;
use crate::domain::event::{Entry, Event};
use crate::domain::evidence::Differences;
use crate::domain::grant::Grant;
use crate::domain::name::ProjectName;
use crate::domain::time::Timestamp;
use crate::files::Folder;
use crate::home::Home;
use crate::ledger::{GrantRecord, Ledger};
use crate::steps::evidence::builders::Builders;
use crate::steps::host::build::compare;
use crate::steps::host::policy::{self, Approval};
use crate::steps::host::revoke::revoke;

/// Look at grants, compare what builders made under one, and take one back
#[derive(Debug, Args)]
pub(in crate::cli) struct Grants {
    #[command(subcommand)]
    command: GrantsCommand,
}

#[derive(Debug, Subcommand)]
enum GrantsCommand {
    /// List the grants that were issued here, and where each stands
    #[command(after_help = "Example:\n  countersign grants list --project foo")]
    List {
        /// Only those of this project
        #[arg(long, value_name = "PROJECT")]
        project: Option<ProjectName>,
    },
    /// Show what a grant approves: what may be signed, built by whom, until when
    ///
    /// On the signing host that issued it, also what changed against the project's last grant, and
    /// where it stands. Of a file it shows what the file says, on any machine.
    #[command(after_help = "Example:\n  countersign grants show foo-1.2.3.grant.json")]
    Show {
        /// The grant: its file, or at least eight digits of its id
        grant: String,
    },
    /// Take a grant back: nothing is signed under it any more
    ///
    /// What was signed before stays signed.
    #[command(
        after_help = "Example:\n  countersign grants revoke b5bb9d80 --reason 'm2 was compromised'"
    )]
    Revoke {
        /// The grant: at least eight digits of its id, or its file
        grant: String,
        /// Why, for the log
        #[arg(long, value_name = "TEXT", value_parser = reason)]
        reason: Option<String>,
    },
    /// List the artifacts in which builders differ
    ///
    /// A start for finding out why a build does not reproduce. Shows what was found when the build
    /// was refused last, or with --from compares anew what is in the builders' folders.
    #[command(after_help = "Example:\n  countersign grants diff b5bb9d80 --from inbox/")]
    Diff {
        /// The grant: its file, or at least eight digits of its id
        grant: String,
        /// The folder with a folder for each builder, as for `sign`
        #[arg(long, value_name = "DIR")]
        from: Option<PathBuf>,
    },
}

impl Grants {
    pub(super) fn run(self, global: &Global, output: &mut Output) -> Result<(), CliError> {
        let now = Timestamp::now();
        match self.command {
            GrantsCommand::List { project } => list(&global.home()?, project, now, output),
            GrantsCommand::Show { grant } => show(&grant, global, now, output),
            GrantsCommand::Revoke { grant, reason } => {
                take_back(&grant, reason, &global.home()?, now, output)
            }
            GrantsCommand::Diff { grant, from } => {
                diff(&grant, from.as_deref(), &global.home()?, now, output)
            }
        }
    }
}

fn take_back(
    text: &str,
    reason: Option<String>,
    home: &Home,
    now: Timestamp,
    output: &mut Output,
) -> Result<(), CliError> {
    // By its id it is taken back even if what the home keeps of it is damaged.
    let grant = if is_grant_id(text) {
        home.grant_id(text)?
    } else {
        read_grant(text, home)?.id()
    };
    let entry = revoke(grant, reason, home, now)?;
    let ledger = home.ledger()?;
    let record = ledger.grant(grant)?;
    let issued = record
        .as_ref()
        .map(|record| ledger.entry(record.issued))
        .transpose()?
        .flatten();
    let title = match issued.map(|entry| entry.event) {
        Some(Event::GrantIssued {
            project, version, ..
        }) => format!(" of {project} {version}"),
        _ => String::new(),
    };
    output.line(format!("revoked grant {grant}{title}"));
    output.line(format!("  ledger     entry {entry}"));
    if record.is_some_and(|record| record.signed.is_some()) {
        output.line("its release was signed before, and stays signed");
    }
    output.value(json!({ "grant": grant, "ledger_entry": entry }));
    Ok(())
}

/// Where a grant stands, in words.
fn state(
    grant: &Grant,
    record: &GrantRecord,
    approvals: &[Approval],
    needed: u32,
    now: Timestamp,
) -> String {
    let (not_before, expires) = (grant.terms().not_before, grant.terms().expires);
    match record {
        GrantRecord {
            revoked: Some(entry),
            signed: Some(signed),
            ..
        } => {
            format!("revoked (entry {entry}), signed before (entry {signed})")
        }
        GrantRecord {
            revoked: Some(entry),
            signed: None,
            ..
        } => format!("revoked (entry {entry})"),
        GrantRecord {
            signed: Some(entry),
            ..
        } => format!("signed (entry {entry})"),
        GrantRecord {
            accepted: Some(entry),
            ..
        } => format!("accepted, not signed yet (entry {entry})"),
        _ if now >= expires => format!("expired at {expires}"),
        _ if now < not_before => format!("not valid before {not_before}"),
        _ => match policy::in_favour(approvals).len() {
            count if count < needed as usize => format!("waits for approvals, {count} of {needed}"),
            _ => format!("open until {expires}"),
        },
    }
}

fn list(
    home: &Home,
    project: Option<ProjectName>,
    now: Timestamp,
    output: &mut Output,
) -> Result<(), CliError> {
    let ledger = home.ledger()?;
    let records = match &project {
        Some(project) => ledger.grants_of(project)?,
        None => ledger.grants()?,
    };
    let (mut values, mut lines) = (Vec::new(), Vec::new());
    for record in &records {
        let Some(Entry {
            event:
                Event::GrantIssued {
                    project,
                    version,
                    expires,
                    ..
                },
            ..
        }) = ledger.entry(record.issued)?
        else {
            continue;
        };
        // One grant that is damaged does not hide the others.
        let standing = || -> Result<String, CliError> {
            let grant = home.grant(&record.grant.hex())?;
            let approvals = policy::approvals(&grant, home, &ledger, now)?;
            Ok(state(
                &grant,
                record,
                &approvals,
                home.config.approvals,
                now,
            ))
        };
        let state = standing().unwrap_or_else(|error| format!("cannot be told: {error}"));
        lines.push((
            record.grant.short(),
            format!("{project} {version}"),
            state.clone(),
        ));
        values.push(json!({
            "grant": record.grant,
            "project": project,
            "version": version,
            "expires": expires,
            "state": state,
            "issued_entry": record.issued,
            "accepted_entry": record.accepted,
            "signed_entry": record.signed,
            "revoked_entry": record.revoked,
        }));
    }
    let widest = lines
        .iter()
        .map(|(_, title, _)| title.len())
        .max()
        .unwrap_or(0)
        .max(24);
    for (id, title, state) in lines {
        output.line(format!("{id}  {title:widest$} {state}"));
    }
    if records.is_empty() {
        let of = project
            .map(|project| format!(" of {project}"))
            .unwrap_or_default();
        output.line(format!("no grant{of} was issued"));
    }
    output.value(json!({ "grants": values }));
    Ok(())
}

fn show(text: &str, global: &Global, now: Timestamp, output: &mut Output) -> Result<(), CliError> {
    let is_id = is_grant_id(text);
    // A file can be read by an approver, who has no home.
    let (grant, home) = match global.home() {
        Ok(home) => (read_grant(text, &home)?, Some(home)),
        Err(error) if is_id => return Err(error),
        Err(_) => (read_grant_file(Path::new(text))?, None),
    };
    show_terms(&grant, output);
    let mut value = json!({ "grant": grant.id(), "terms": grant.terms() });
    if let Some(home) = &home {
        let ledger = home.ledger()?;
        match ledger.grant(grant.id())? {
            None => output.line(
                "  state      not issued by this signing host: nothing will be signed under it",
            ),
            Some(record) => {
                let approvals = policy::approvals(&grant, home, &ledger, now)?;
                let state = state(&grant, &record, &approvals, home.config.approvals, now);
                output.line(format!("  state      {state}"));
                show_approvals(&approvals, home.config.approvals, output);
                let changes = changes(&grant, &record, home, &ledger, output)?;
                value["state"] = json!(state);
                value["changes"] = json!(changes);
                value["approvals"] = approvals
                    .iter()
                    .map(|it| json!({ "approver": it.approver, "at": it.at, "counts": it.fault.is_none() }))
                    .collect();
            }
        }
    }
    output.value(value);
    Ok(())
}

/// What a grant says, for somebody who has to approve it.
pub(super) fn show_terms(grant: &Grant, output: &mut Output) {
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
        "  counts     from {} until {}",
        terms.not_before, terms.expires
    ));
}

/// Each builder's key, by what its builder can compare it with: the name that `build-key` and
/// `attest` give it.
pub(super) fn builder_keys(grant: &Grant) -> Vec<String> {
    match Builders::of(grant.terms()) {
        Ok(builders) => builders
            .iter()
            .map(|(name, key)| format!("{name} has key {}", key.id()))
            .collect(),
        Err(fault) => vec![format!("nothing can be signed under this grant: {fault}")],
    }
}

/// What one grant of a project has in common with the next, or has not.
fn described(grant: &Grant) -> Vec<(&'static str, String)> {
    let terms = grant.terms();
    let source = terms.source.as_ref().map_or_else(
        || "not said".to_owned(),
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

/// What is different from the project's last grant before this one.
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
    let before = home.grant(&last.grant.hex())?;
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

fn diff(
    text: &str,
    from: Option<&Path>,
    home: &Home,
    now: Timestamp,
    output: &mut Output,
) -> Result<(), CliError> {
    let ledger = home.ledger()?;
    let grant = read_grant(text, home)?;
    let differences = match from {
        Some(from) => compare(&grant, &Folder::open(from)?, home, &ledger, now)?,
        None => {
            let history = ledger.history(grant.id())?;
            let last =
                history
                    .into_iter()
                    .rev()
                    .find_map(|Entry { index, event, .. }| match event {
                        Event::EvidenceRefused { differences, .. } if !differences.is_empty() => {
                            Some((index, differences))
                        }
                        _ => None,
                    });
            let Some((index, differences)) = last else {
                return Err(HostError::NothingToCompare(grant.id().short()).into());
            };
            output.line(format!("as found in ledger entry {index}"));
            differences
        }
    };
    show_differences(&differences, output);
    if let (Some(from), Some((artifact, builders))) = (from, differences.iter().next()) {
        let built: Vec<_> = builders
            .iter()
            .filter(|(_, digest)| digest.is_some())
            .map(|(name, _)| name)
            .collect();
        let other = built
            .iter()
            .find(|name| builders[**name] != builders[built[0]]);
        if let Some(other) = other {
            let paths = [built[0], other]
                .map(|name| quoted(&from.join(name.as_str()).join(artifact.as_str())));
            let installed = std::env::var_os("PATH").is_some_and(|path| {
                std::env::split_paths(&path).any(|folder| folder.join("diffoscope").is_file())
            });
            output.line(match installed {
                true => format!("next: diffoscope {} {}", paths[0], paths[1]),
                false => "next: install diffoscope, which shows where two files differ".to_owned(),
            });
        }
    }
    output.value(json!({ "grant": grant.id(), "differences": differences }));
    Ok(())
}

/// A line for each builder of each artifact in which they differ.
pub(super) fn show_differences(differences: &Differences, output: &mut Output) {
    if differences.is_empty() {
        return output.line("the builders agree in everything");
    }
    for (artifact, builders) in differences {
        output.line(format!("{artifact}"));
        for (builder, digest) in builders {
            let digest = digest.map_or_else(
                || "did not build it".to_owned(),
                |digest| digest.to_string(),
            );
            output.line(format!("  {:16} {digest}", builder.as_str()));
        }
    }
}

/// A path as a shell takes it for one word: builders give artifacts their names.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"/._+~-:,@%=".contains(&byte));
    if plain {
        text
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_for_a_shell() {
        for (path, word) in [
            ("inbox/m1/foo-1.2.tar.xz", "inbox/m1/foo-1.2.tar.xz"),
            ("m1/foo;touch x", "'m1/foo;touch x'"),
            ("m1/foo$(touch x)", "'m1/foo$(touch x)'"),
            ("m1/it's", "'m1/it'\\''s'"),
        ] {
            assert_eq!(quoted(Path::new(path)), word);
        }
    }
}
