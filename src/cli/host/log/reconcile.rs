//! `countersign log reconcile`

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::source::FromExport;
use crate::cli::args::read_certificate;
use crate::cli::error::{CliError, CommandError};
use crate::cli::global::Global;
use crate::cli::host::error::HostError;
use crate::cli::host::options::WaitOption;
use crate::cli::host::reason::reason;
use crate::cli::host::token_words::counted;
use crate::cli::render::Output;
use crate::domain::event::Finding;
use crate::ledger::ExportedLog;
use crate::steps::host::Host;
use crate::steps::host::reconcile::{Reconciled, compare_exported};
use crate::steps::host::replay::{CardNow, Known, Lost, OtherCard, Reading, Report, Unfinished};
use crate::token::TokenUri;

/// Compare a card's signature counter with the log, without a PIN
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  countersign log reconcile --token card:0006:12345678
  countersign log reconcile --export /srv/log --log-key log.vkey --token card:")]
pub(super) struct Reconcile {
    /// Card [default: the token in config.toml]
    #[arg(long, value_name = "URI")]
    token: Option<String>,
    /// Acknowledge the findings, which until then mean exit code 1
    #[arg(long, value_name = "REASON", value_parser = reason, conflicts_with = "export")]
    acknowledge: Option<String>,
    #[command(flatten)]
    from: FromExport,
    /// Release certificate, to identify the key [default: the card's data]
    #[arg(long, value_name = "FILE", requires = "export")]
    cert: Option<PathBuf>,
    #[command(flatten)]
    wait: WaitOption,
}

impl Reconcile {
    pub(super) fn run(self, global: &Global, output: &mut Output) -> Result<(), CliError> {
        match self.from.open()? {
            Some(log) => self.with_export(&log, output),
            None => {
                let mut host = global.host(self.wait)?;
                self.with_ledger(&mut host, output)
            }
        }
    }

    fn with_ledger(self, host: &mut Host, output: &mut Output) -> Result<(), CliError> {
        let uri = self.token.map(|uri| uri.parse::<TokenUri>()).transpose()?;
        let mut terminal = self.wait.terminal();
        let Reconciled {
            card,
            report,
            entry,
        } = host.reconcile(uri.as_ref(), self.acknowledge, &mut terminal)?;
        show(&card, &report, &Logged::As(entry), output);
        let Some((findings, other_key)) = alarm(&report) else {
            return Ok(());
        };
        Err(HostError::NotReconciled {
            card: card.card,
            log: "log",
            findings,
            help: if other_key {
                "insert the card with the release key; `countersign key list` shows what this one \
                 has"
            } else {
                "find out what else signs with this card; when that is known, `--acknowledge \
                 REASON` notes it in the log"
            }
            .to_owned(),
        }
        .into())
    }

    fn with_export(self, log: &ExportedLog, output: &mut Output) -> Result<(), CliError> {
        let unnamed = || {
            CommandError::Usage(
                "`--export` requires `--token URI`: there is no configuration".to_owned(),
            )
        };
        let uri = self.token.ok_or_else(unnamed)?.parse::<TokenUri>()?;
        let certificate = self.cert.as_deref().map(read_certificate).transpose()?;
        let mut terminal = self.wait.terminal();
        let (card, report) = compare_exported(log, certificate.as_ref(), &uri, &mut terminal)?;
        let logged = Logged::Nothing { folder: log.path() };
        show(&card, &report, &logged, output);
        let Some((findings, other_key)) = alarm(&report) else {
            return Ok(());
        };
        Err(HostError::NotReconciled {
            card: card.card,
            log: "exported log",
            findings,
            help: export_help(other_key, &report.unfinished),
        }
        .into())
    }
}

/// What to do about a card that does not agree with an exported log.
fn export_help(other_key: bool, unfinished: &[Unfinished]) -> String {
    const AGAIN: &str = "export the log again, and compare again";
    if other_key {
        return "insert the card with the release key; if this is it, name its certificate with \
                `--cert`"
            .to_owned();
    }
    match unfinished {
        [] => format!(
            "if something was signed since, {AGAIN}; else find out what else signs with this card"
        ),
        runs => {
            let entries: Vec<_> = runs.iter().map(|run| run.intent.to_string()).collect();
            let what = if runs.len() == 1 {
                "run of entry"
            } else {
                "runs of entries"
            };
            let entries = entries.join(" and ");
            format!(
                "the unfinished {what} {entries} may explain some or all of it: finish with \
                 `sign`, {AGAIN}"
            )
        }
    }
}

/// The findings in words, if there are any, and whether one is that the card has another key.
fn alarm(report: &Report) -> Option<(Vec<String>, bool)> {
    let other_key = report
        .findings
        .iter()
        .any(|finding| matches!(finding, Finding::OtherKey { .. }));
    let findings: Vec<_> = report.findings.iter().map(described).collect();
    (!findings.is_empty()).then_some((findings, other_key))
}

/// Where a report is logged.
enum Logged<'a> {
    /// As this entry.
    As(u64),
    /// Nowhere: the log was read from a folder.
    Nothing { folder: &'a Path },
}

fn show(card: &CardNow, report: &Report, logged: &Logged<'_>, output: &mut Output) {
    let Report {
        entries,
        begins,
        findings,
        known,
        lost,
        unfinished,
        others,
    } = report;
    output.line(format!(
        "card {} has made {}",
        card.card,
        signatures(card.counter.into())
    ));
    output.line(format!(
        "  log        {entries} entries; entry {} begins with {}",
        begins.entry,
        signatures(begins.counter.into())
    ));
    lost.iter().for_each(|it| output.line(show_lost(it)));
    for Known {
        finding,
        entry,
        reason,
    } in known
    {
        output.line(format!(
            "  known      {}; acknowledged in entry {entry}: {reason}",
            described(finding)
        ));
    }
    for finding in findings {
        output.line(format!("  ALARM      {}", described(finding)));
    }
    for Unfinished {
        intent,
        signatures: most,
    } in unfinished
    {
        output.line(format!(
            "  unfinished the run of entry {intent} may explain up to {}",
            signatures(*most)
        ));
    }
    for OtherCard {
        card,
        last: Reading { entry, counter },
        findings,
    } in others
    {
        output.line(format!(
            "  other card {card}, with {} in entry {entry}, was not read",
            signatures((*counter).into())
        ));
        for finding in findings {
            output.line(format!("             {}", described(finding)));
        }
    }
    output.line(match logged {
        Logged::As(entry) => format!("  ledger     entry {entry}"),
        Logged::Nothing { folder } => format!(
            "  ledger     nothing was logged: the log was read from {}",
            folder.display()
        ),
    });
    if findings.is_empty() {
        let which = if known.is_empty() { "" } else { "other " };
        output.line(format!("every {which}signature of this card is in the log"));
    }
    output.value(json!({
        "card": card.card,
        "counter": card.counter,
        "key": card.key,
        "entries": entries,
        "begins": begins,
        "findings": findings,
        "known": known,
        "lost": lost,
        "unfinished": unfinished,
        "other_cards": others,
        "ledger_entry": match logged {
            Logged::As(entry) => Some(entry),
            Logged::Nothing { .. } => None,
        },
    }));
}

fn show_lost(lost: &Lost) -> String {
    let runs: Vec<_> = lost.runs.iter().map(u64::to_string).collect();
    let entries = if runs.len() == 1 { "entry" } else { "entries" };
    format!(
        "  lost       {} whose answer did not arrive or was not kept, in the run of {entries} {}",
        signatures(lost.signatures),
        runs.join(", ")
    )
}

/// A finding in words.
pub(super) fn described(finding: &Finding) -> String {
    match finding {
        Finding::Unlogged {
            after,
            before,
            signatures: made,
        } => format!(
            "{} not in the log, {}",
            signatures(*made),
            place(*after, *before)
        ),
        Finding::Fell {
            after,
            before,
            from,
            to,
        } => format!(
            "the counter fell from {from} to {to}, {}: the key was imported again, or the card was \
             reset",
            place(*after, *before)
        ),
        Finding::OtherKey {
            logged,
            found: Some(found),
        } => format!("the card has key {found} instead of {logged}, which is the log's"),
        Finding::OtherKey {
            logged,
            found: None,
        } => format!("the card does not have key {logged} any more, which is the log's"),
    }
}

fn place(after: u64, before: Option<u64>) -> String {
    match before {
        Some(before) if before == after => format!("during the run that ended in entry {after}"),
        Some(before) => format!("between entries {after} and {before}"),
        None => format!("after entry {after}"),
    }
}

fn signatures(count: u64) -> String {
    counted(count, "signature", "signatures")
}
