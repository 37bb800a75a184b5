//! `countersign log reconcile`

use clap::Args;
use serde_json::json;

use super::prompt::Terminal;
use super::render::{CliError, Output};
use crate::domain::event::Finding;
use crate::domain::time::Timestamp;
use crate::home::Home;
use crate::steps::reconcile::{CardNow, Known, Lost, OtherCard, Report, look, reconcile};
use crate::token::TokenUri;

/// Compare a card's own count of signatures with the log, without a PIN
///
/// Names each gap: between which entries, and how many signatures that are not in the log. The result is logged. A gap is
/// an alarm, exit code 1, until it is acknowledged; then it is told every time as a known one.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  countersign log reconcile --token card:0006:12345678")]
pub(super) struct Reconcile {
    /// The card [default: the token that config.toml names]
    #[arg(long, value_name = "URI")]
    token: Option<String>,
    /// Note why what is found is no alarm any more
    #[arg(long, value_name = "REASON", value_parser = reason)]
    acknowledge: Option<String>,
    /// Wait while another program holds the card
    #[arg(long)]
    wait: bool,
}

impl Reconcile {
    pub(super) fn run(self, home: &Home, output: &mut Output) -> Result<(), CliError> {
        let uri = self.token.map(|uri| uri.parse::<TokenUri>()).transpose()?;
        let uri = uri.as_ref().unwrap_or(&home.config.token);
        // Nothing may be signed between the card's answer and the log's.
        let lock = home.lock()?;
        let card = look(home, uri, &mut Terminal::new(self.wait))?;
        let (report, entry) = reconcile(home, &lock, &card, self.acknowledge, Timestamp::now())?;
        show(&card, &report, entry, output);
        match report.findings.as_slice() {
            [] => Ok(()),
            findings => Err(CliError::NotReconciled {
                card: card.card,
                findings: findings.iter().map(described).collect(),
                other_key: findings.iter().any(|finding| matches!(finding, Finding::OtherKey { .. })),
            }),
        }
    }
}

fn reason(text: &str) -> Result<String, &'static str> {
    let fits = !text.trim().is_empty() && text.len() <= 1000 && !text.chars().any(char::is_control);
    if fits { Ok(text.to_owned()) } else { Err("a reason is one line of at most 1000 bytes") }
}

fn show(card: &CardNow, report: &Report, entry: u64, output: &mut Output) {
    let Report { entries, begins: (begins, first), findings, known, lost, others } = report;
    output.line(format!("card {} has made {}", card.card, signatures(card.counter.into())));
    output.line(format!("  log        {entries} entries; entry {begins} begins with {}", signatures((*first).into())));
    for Lost { runs, signatures: made } in lost {
        let runs = runs.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ");
        output.line(format!(
            "  lost       {} whose answer did not come or was not kept, in the use of entry {runs}",
            signatures(*made)
        ));
    }
    for Known { finding, entry, reason } in known {
        output.line(format!("  known      {}; acknowledged in entry {entry}: {reason}", described(finding)));
    }
    for finding in findings {
        output.line(format!("  ALARM      {}", described(finding)));
    }
    for OtherCard { card, entry, counter, findings } in others {
        output.line(format!(
            "  other card {card}, with {} in entry {entry}, was not looked at",
            signatures((*counter).into())
        ));
        findings.iter().for_each(|finding| output.line(format!("             {}", described(finding))));
    }
    output.line(format!("  ledger     entry {entry}"));
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
        "other_cards": others,
        "ledger_entry": entry,
    }));
}

/// What is wrong, in words.
pub(super) fn described(finding: &Finding) -> String {
    let place = |after: &u64, before: &Option<u64>| match before {
        Some(before) if before == after => format!("while that lasted of which entry {after} is the end"),
        Some(before) => format!("between entries {after} and {before}"),
        None => format!("after entry {after}"),
    };
    match finding {
        Finding::Unlogged { after, before, signatures: made } => {
            format!("{} not in the log, {}", signatures(*made), place(after, before))
        }
        Finding::Fell { after, before, from, to } => format!(
            "the count fell from {from} to {to}, {}: the key was put there anew, or the card was reset",
            place(after, before)
        ),
        Finding::OtherKey { logged, found: Some(found) } => {
            format!("the card holds key {found} instead of {logged}, which the log tells of")
        }
        Finding::OtherKey { logged, found: None } => {
            format!("the card does not hold key {logged} any more, which the log tells of")
        }
    }
}

fn signatures(count: u64) -> String {
    format!("{count} {}", if count == 1 { "signature" } else { "signatures" })
}
