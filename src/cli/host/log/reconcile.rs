//! `countersign log reconcile`

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::source::FromExport;
use crate::cli::args::read_certificate;
use crate::cli::error::{CliError, HostError};
use crate::cli::global::Global;
use crate::cli::host::prompt::Terminal;
use crate::cli::host::reason::reason;
use crate::cli::render::Output;
use crate::domain::event::Finding;
use crate::domain::time::Timestamp;
use crate::home::Home;
use crate::ledger::ExportedLog;
use crate::steps::host::reconcile::{compare_exported, look, reconcile};
use crate::steps::host::replay::{CardNow, Known, Lost, OtherCard, Report, Undecided};
use crate::token::TokenUri;

/// Compare a card's own count of signatures with the log, without a PIN
///
/// Names each gap: between which entries, and how many signatures that are not in the log. The
/// result is logged. A gap is an alarm, exit code 1, until it is acknowledged; then it is told
/// every time as a known one.
///
/// With --export this is done on any machine, from a copy of the log, which is verified first.
/// Nothing is logged there. What an unfinished run has signed is not known there either: it
/// explains one signature, and more is an alarm until it is finished and the log exported again.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  countersign log reconcile --token card:0006:12345678
  countersign log reconcile --export /srv/log --log-key log.vkey --token card:")]
pub(super) struct Reconcile {
    /// The card [default: the token that config.toml names; --export needs this]
    #[arg(long, value_name = "URI")]
    token: Option<String>,
    /// Note why what is found is no alarm any more
    #[arg(long, value_name = "REASON", value_parser = reason, conflicts_with = "export")]
    acknowledge: Option<String>,
    #[command(flatten)]
    from: FromExport,
    /// The release certificate, which names the key on the card [default: the home's; with
    /// --export, the card names its key]
    #[arg(long, value_name = "FILE", requires = "export")]
    cert: Option<PathBuf>,
    /// Wait while another program holds the card
    #[arg(long)]
    wait: bool,
}

impl Reconcile {
    pub(super) fn run(self, global: &Global, output: &mut Output) -> Result<(), CliError> {
        match self.from.open()? {
            Some(log) => self.with_export(&log, output),
            None => self.with_ledger(&global.home()?, output),
        }
    }

    fn with_ledger(self, home: &Home, output: &mut Output) -> Result<(), CliError> {
        let uri = self.token.map(|uri| uri.parse::<TokenUri>()).transpose()?;
        let uri = uri.as_ref().unwrap_or(&home.config.token);
        // Nothing may be signed between the card's answer and the log's.
        let lock = home.lock()?;
        let card = look(Some(&home.certificate), uri, &mut Terminal::new(self.wait))?;
        let (report, entry) = reconcile(home, &lock, &card, self.acknowledge, Timestamp::now())?;
        show(&card, &report, &Logged::As(entry), output);
        let Some((findings, other_key)) = alarm(&report) else {
            return Ok(());
        };
        Err(HostError::NotReconciled {
            card: card.card,
            findings,
            other_key,
        }
        .into())
    }

    fn with_export(self, log: &ExportedLog, output: &mut Output) -> Result<(), CliError> {
        let unnamed = || {
            CliError::Usage(
                "--export needs --token URI: no configuration says which card".to_owned(),
            )
        };
        let uri = self.token.ok_or_else(unnamed)?.parse::<TokenUri>()?;
        let certificate = self.cert.as_deref().map(read_certificate).transpose()?;
        // The card first: reading a long log takes a while, in which more may be signed.
        let card = look(certificate.as_ref(), &uri, &mut Terminal::new(self.wait))?;
        let report = compare_exported(log, &card)?;
        show(
            &card,
            &report,
            &Logged::Nothing { folder: log.path() },
            output,
        );
        let Some((findings, other_key)) = alarm(&report) else {
            return Ok(());
        };
        let unfinished = report.unfinished.iter().map(|run| run.intent).collect();
        Err(HostError::ExportNotReconciled {
            card: card.card,
            findings,
            other_key,
            unfinished,
        }
        .into())
    }
}

/// What is wrong, in words, if anything is; and whether that is that the card holds another key.
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
        begins: (begins, first),
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
        "  log        {entries} entries; entry {begins} begins with {}",
        signatures((*first).into())
    ));
    for Lost {
        runs,
        signatures: made,
    } in lost
    {
        let runs = runs
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(" and ");
        output.line(format!(
            "  lost       {} whose answer did not come or was not kept, in the use of entry {runs}",
            signatures(*made)
        ));
    }
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
    for Undecided {
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
        entry,
        counter,
        findings,
    } in others
    {
        output.line(format!(
            "  other card {card}, with {} in entry {entry}, was not looked at",
            signatures((*counter).into())
        ));
        findings
            .iter()
            .for_each(|finding| output.line(format!("             {}", described(finding))));
    }
    output.line(match logged {
        Logged::As(entry) => format!("  ledger     entry {entry}"),
        Logged::Nothing { folder } => {
            format!(
                "  ledger     nothing was logged: the log was read from {}",
                folder.display()
            )
        }
    });
    if findings.is_empty() {
        output.line(match known.is_empty() {
            true => "every signature of this card is in the log",
            false => "every other signature of this card is in the log",
        });
    }
    output.value(json!({
        "card": card.card,
        "counter": card.counter,
        "key": card.key,
        "entries": entries,
        "begins": { "entry": begins, "counter": first },
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

/// What is wrong, in words.
pub(super) fn described(finding: &Finding) -> String {
    let place = |after: &u64, before: &Option<u64>| match before {
        Some(before) if before == after => {
            format!("while that lasted of which entry {after} is the end")
        }
        Some(before) => format!("between entries {after} and {before}"),
        None => format!("after entry {after}"),
    };
    match finding {
        Finding::Unlogged {
            after,
            before,
            signatures: made,
        } => {
            format!(
                "{} not in the log, {}",
                signatures(*made),
                place(after, before)
            )
        }
        Finding::Fell {
            after,
            before,
            from,
            to,
        } => format!(
            "the count fell from {from} to {to}, {}: the key was put there anew, or the card was reset",
            place(after, before)
        ),
        Finding::OtherKey {
            logged,
            found: Some(found),
        } => {
            format!("the card holds key {found} instead of {logged}, which the log tells of")
        }
        Finding::OtherKey {
            logged,
            found: None,
        } => {
            format!("the card does not hold key {logged} any more, which the log tells of")
        }
    }
}

fn signatures(count: u64) -> String {
    format!(
        "{count} {}",
        if count == 1 {
            "signature"
        } else {
            "signatures"
        }
    )
}
