//! `countersign log`

use std::path::Path;

use clap::{Args, Subcommand};
use serde_json::json;

use super::render::{CliError, Output};
use crate::domain::event::{CardUse, Entry, Event, KeyPurpose, RunResult};
use crate::home::Home;

/// Read the audit log
#[derive(Debug, Args)]
pub(super) struct Log {
    #[command(subcommand)]
    command: LogCommand,
}

#[derive(Debug, Subcommand)]
enum LogCommand {
    /// List every entry, one line each
    #[command(after_help = "Example:\n  countersign log list")]
    List,
    /// Show one entry in full
    #[command(after_help = "Example:\n  countersign log show 3")]
    Show {
        /// The entry's index
        index: u64,
    },
}

impl Log {
    pub(super) fn run(self, home: &Path, output: &mut Output) -> Result<(), CliError> {
        let ledger = Home::open(home)?.ledger()?;
        match self.command {
            LogCommand::List => {
                let mut entries = Vec::new();
                ledger.each::<CliError>(|entry| {
                    output.line(format!(
                        "{:>5}  {}  {:17} {}",
                        entry.index,
                        entry.at,
                        entry.event.kind(),
                        summary(&entry.event)
                    ));
                    entries.push(entry);
                    Ok(())
                })?;
                output.value(json!({ "entries": entries }));
            }
            LogCommand::Show { index } => {
                let entry: Entry = ledger.entry(index)?.ok_or(CliError::NoEntry(index))?;
                let text = serde_json::to_string_pretty(&entry).expect("an entry can be written as JSON");
                text.lines().for_each(|line| output.line(line));
                if matches!(&entry.event, Event::EvidenceAccepted { scheme, .. } if scheme.convinces_host_alone()) {
                    output.line(
                        "note: this evidence convinces this signing host alone, which could have made the MACs itself",
                    );
                }
                output.value(entry);
            }
        }
        Ok(())
    }
}

fn summary(event: &Event) -> String {
    match event {
        Event::KeyIntended { purpose, token, .. } => match purpose {
            KeyPurpose::Generate => format!("a key pair is to be made on {token}"),
            KeyPurpose::Certify => format!("a certificate is to be signed on {token}"),
            KeyPurpose::SelfTest => format!("a self-test is to be signed on {token}"),
        },
        Event::KeyOutcome { intent, failed: None, card } => format!("entry {intent}: done{}", counted(card)),
        Event::KeyOutcome { intent, failed: Some(reason), card } => {
            format!("entry {intent}: failed{}: {reason}", counted(card))
        }
        Event::KeyReady { key, .. } => format!("release key {key}"),
        Event::GrantIssued { grant, project, version, expires, .. } => {
            format!("grant {} for {project} {version} until {expires}", grant.short())
        }
        Event::GrantApproved { grant, approver, key, .. } => {
            format!("grant {} by {approver} with {key}", grant.short())
        }
        Event::GrantRevoked { grant, reason: None } => format!("grant {}", grant.short()),
        Event::GrantRevoked { grant, reason: Some(reason) } => format!("grant {}: {reason}", grant.short()),
        Event::EvidenceAccepted { grant, builders, scheme, .. } => {
            let names = builders.keys().map(|name| name.as_str()).collect::<Vec<_>>().join(" and ");
            let who = if builders.len() == 1 { "builder" } else { "builders" };
            let alone = if scheme.convinces_host_alone() { ", by MACs that convince this host alone" } else { "" };
            format!("grant {} closed by {who} {names}{alone}", grant.short())
        }
        Event::EvidenceRefused { grant, reason, .. } => format!("grant {}: {reason}", grant.short()),
        Event::Intent(intent) if intent.sums_only => {
            format!("grant {}: 1 signature, of the list of {} artifacts", intent.grant.short(), intent.artifacts.len())
        }
        Event::Intent(intent) => format!("grant {}: {} signatures", intent.grant.short(), intent.artifacts.len() + 1),
        Event::Resumed { intent, kept, unsettled, card } => {
            let again =
                unsettled.as_ref().map_or(String::new(), |file| format!(", the token is asked again for `{file}`"));
            format!("entry {intent}: goes on with {kept} signatures kept{again}{}", counted(card))
        }
        Event::Outcome { intent, result: RunResult::Signed { token_signatures }, card } => {
            format!("entry {intent}: signed, {token_signatures} signatures by the token{}", counted(card))
        }
        Event::Outcome { intent, result: RunResult::Stopped { token_signatures, reason, .. }, card } => {
            format!(
                "entry {intent}: stopped after {token_signatures} signatures by the token{}: {reason}",
                counted(card)
            )
        }
        Event::Released { intent, folder, .. } => format!("entry {intent}: released as {folder}"),
    }
}

/// The card and its counter, as far as they are known.
fn counted(card: &Option<CardUse>) -> String {
    let Some(CardUse { card, before, after }) = card else { return String::new() };
    match (before, after) {
        (Some(before), Some(after)) => format!(", card {card} counted {before} to {after}"),
        (Some(count), None) | (None, Some(count)) => format!(", card {card} counted {count}"),
        (None, None) => format!(", card {card}"),
    }
}
