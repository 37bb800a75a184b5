//! `countersign push`

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use crate::cli::args::{Sweep, shown_swept};
use crate::cli::error::{CliError, Within};
use crate::cli::global::Global;
use crate::cli::host::options::WaitOption;
use crate::cli::progress::Bar;
use crate::cli::render::Output;
use crate::domain::event::Verdict;
use crate::ledger::{Exported, Ledger};
use crate::steps::host::Host;
use crate::steps::host::export::{NotExported, export_as_configured};
use crate::steps::host::hand_over::{Arrived, HandedOver};
use crate::steps::host::push::{self, PushError, Pushed, Release, Report, Statement, Subject};

/// Push signed releases to the inbox, record its reports, and export the log
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  countersign push /srv/signed/foo-1.2.3")]
pub(in crate::cli) struct Push {
    /// Release to push, even if moved or pushed before [default: all unpushed]
    #[arg(value_name = "RELEASE")]
    releases: Vec<PathBuf>,
    #[command(flatten)]
    sweep: Sweep,
    #[command(flatten)]
    wait: WaitOption,
}

/// What a run did.
#[derive(Default)]
struct Run {
    pushed: Vec<Value>,
    not_pushed: Vec<Value>,
    reports: Vec<Value>,
    /// What failed first.
    failed: Option<CliError>,
}

impl Push {
    pub(super) fn run(self, global: &Global, output: &mut Output) -> Result<(), CliError> {
        let mut host = global.host(self.wait)?;
        let has_inbox = host.home.inbox().is_some();
        if !has_inbox && (host.home.log_folder().is_none() || !self.releases.is_empty()) {
            return Err(PushError::unnamed().into());
        }
        let mut run = Run::default();
        let mut swept = Vec::new();
        if has_inbox {
            if let Some(before) = self.sweep.before(host.clock.now()) {
                let inbox = host.location().and_then(|it| Ok(it.sweep_older(before)?));
                match inbox {
                    Ok(inbox) => swept = shown_swept(inbox, output),
                    Err(error) => run.failed = Some(error.into()),
                }
            }
            let (releases, withdrawals) = self.waiting(&host.ledger)?;
            for release in &releases {
                run.push(release, &mut host, output);
            }
            for statement in &withdrawals {
                run.push_withdrawal(statement, &mut host, output);
            }
            if let Err(error) = run.record(&mut host, output) {
                run.failed.get_or_insert(error.into());
            }
        }
        let log = export(&host, output, "log: ").unwrap_or_else(|error| {
            run.failed.get_or_insert(error);
            Value::Null
        });
        let Run {
            pushed,
            not_pushed,
            reports,
            failed,
        } = run;
        output.value(json!({
            "pushed": pushed, "not_pushed": not_pushed, "reports": reports, "log": log,
            "swept": swept,
        }));
        failed.map_or(Ok(()), Err)
    }

    fn waiting(&self, ledger: &Ledger) -> Result<(Vec<Release>, Vec<Statement>), PushError> {
        if self.releases.is_empty() {
            return Ok((push::waiting(ledger)?, push::waiting_withdrawals(ledger)?));
        }
        let named = self.releases.iter();
        let named = named.map(|folder| push::release_in(folder, ledger));
        Ok((named.collect::<Result<_, _>>()?, Vec::new()))
    }
}

impl Run {
    fn push(&mut self, release: &Release, host: &mut Host, output: &mut Output) {
        let result = push_one(release, host);
        let about = json!({
            "grant": release.grant, "release": release.folder.to_string_lossy(),
        });
        self.show(&release.name(), about, result, output, |fault| {
            not_pushed(&release.folder, fault)
        });
    }

    fn push_withdrawal(&mut self, it: &Statement, host: &mut Host, output: &mut Output) {
        let location = host.location();
        let result = location.and_then(|location| host.push_withdrawal(it, &*location));
        let about = json!({ "grant": it.grant, "withdrawal": true });
        let name = it.name();
        let failed = |fault| withdrawal_not_pushed(&name, fault);
        self.show(&name, about, result, output, failed);
    }

    fn show(
        &mut self,
        name: &str,
        mut about: Value,
        result: Result<Pushed, PushError>,
        output: &mut Output,
        failed: impl FnOnce(PushError) -> CliError,
    ) {
        match result {
            Ok(pushed) => {
                let word = if pushed.new {
                    "pushed to"
                } else {
                    "was there already:"
                };
                output.line(format!("{name}: {word} {}", pushed.folder.display()));
                about["folder"] = json!(pushed.folder.to_string_lossy());
                about["new"] = json!(pushed.new);
                self.pushed.push(about);
            }
            Err(fault) => {
                output.line(format!("{name}: not pushed, {fault}"));
                about["reason"] = json!(fault.to_string());
                self.not_pushed.push(about);
                self.failed.get_or_insert(failed(fault));
            }
        }
    }

    fn record(&mut self, host: &mut Host, output: &mut Output) -> Result<(), PushError> {
        let waiting = push::unanswered(&host.ledger)?;
        if waiting.is_empty() && self.pushed.is_empty() && self.not_pushed.is_empty() {
            output.line("no release waits to be pushed, and the location has reported on each");
        }
        let location = host.location()?;
        let mut silent = Vec::new();
        for subject in &waiting {
            let said = host.record_reports(subject, &*location);
            shown(&said)
                .iter()
                .for_each(|line| output.line(format!("{}: {line}", subject.name)));
            match said {
                Ok(said) if said.is_empty() => silent.push(subject.name.clone()),
                Ok(said) => {
                    let values = said.iter().map(|report| value(subject, report));
                    self.reports.extend(values);
                }
                // What is wrong with one keeps none of the others waiting.
                Err(error) => {
                    self.failed.get_or_insert(error.into());
                }
            }
        }
        match silent.as_slice() {
            [] => {}
            [one] => output.line(format!("{one}: nothing new from the location")),
            [.., last] => output.line(format!(
                "{} releases, up to {last}: nothing new from the location",
                silent.len()
            )),
        }
        Ok(())
    }
}

/// Words and values for what was done beyond this host with a signed release or withdrawal. The
/// error says what failed first; it is signed all the same.
pub(super) fn show_handed_over(
    done: HandedOver,
    failed: impl FnOnce(PushError) -> CliError,
    value: &mut Value,
    output: &mut Output,
) -> Result<(), CliError> {
    let mut result = Ok(());
    value["pushed"] = Value::Null;
    match done.pushed {
        None => {}
        Some(Ok(arrived)) => {
            show_arrived(&arrived, output);
            value["pushed"] = json!(arrived.folder);
        }
        Some(Err(fault)) => result = Err(failed(fault)),
    }
    let exported = done.exported.map_err(not_exported);
    value["log"] = match exported {
        Ok(exported) => show_exported(exported, output, "  log        "),
        Err(error) => {
            // What failed first matters more.
            result = result.and(Err(error));
            Value::Null
        }
    };
    match (value["pushed"].is_null(), &result) {
        (false, _) => output.line("next: at the location run"),
        (true, Ok(())) => {
            output.line("next: push the folder to the location's inbox, and there run");
        }
        (true, Err(_)) => return result,
    }
    output.line("  countersign admit --cert CERT INBOX RELEASES");
    result
}

fn show_arrived(arrived: &Arrived, output: &mut Output) {
    let folder = arrived.folder.display();
    output.line(match arrived.before {
        Some(index) => format!("  pushed     {folder} (before, entry {index})"),
        None => format!("  pushed     {folder}"),
    });
    let lines = shown(&arrived.reports);
    match arrived.reports {
        Ok(_) => lines
            .iter()
            .for_each(|line| output.line(format!("  location   {line}"))),
        // The next `push` looks again.
        Err(_) => lines.iter().for_each(|line| output.warn(line)),
    }
}

fn push_one(release: &Release, host: &mut Host) -> Result<Pushed, PushError> {
    let location = host.location()?;
    host.push(release, &*location, &mut Bar::new())
}

pub(super) fn not_pushed(release: &Path, fault: PushError) -> CliError {
    Within {
        what: format!(
            "the release is signed and in `{}`, but was not pushed",
            release.display()
        ),
        error: fault,
    }
    .into()
}

pub(super) fn withdrawal_not_pushed(name: &str, error: PushError) -> CliError {
    Within {
        what: format!("the release is withdrawn, but `{name}` was not pushed"),
        error,
    }
    .into()
}

fn not_exported(error: NotExported) -> CliError {
    Within {
        what: "the log was not exported".to_owned(),
        error,
    }
    .into()
}

/// A location's reports on a release, which are no more than that, or why they cannot be read: a
/// line for each.
fn shown(reports: &Result<Vec<Report>, PushError>) -> Vec<String> {
    let report = |report: &Report| match report {
        Report::Logged(index, Verdict::Admitted { at }) => {
            format!("admitted at {at}, reported by the location (entry {index})")
        }
        Report::Logged(index, Verdict::Refused { reason }) => {
            format!("refused, reported by the location (entry {index}): {reason}")
        }
        Report::Logged(index, Verdict::Withdrawn { at }) => {
            format!("withdrawn at {at}, reported by the location (entry {index})")
        }
        Report::Dubious { fault, .. } => format!("{fault}; it was not logged"),
    };
    match reports {
        Ok(reports) => reports.iter().map(report).collect(),
        Err(fault) => vec![format!("the location's reports cannot be read: {fault}")],
    }
}

fn value(subject: &Subject, report: &Report) -> Value {
    match report {
        Report::Logged(index, verdict) => {
            json!({ "grant": subject.grant, "ledger_entry": index, "result": verdict })
        }
        Report::Dubious { file, fault } => {
            json!({ "grant": subject.grant, "file": file, "fault": fault })
        }
    }
}

/// Exports the log where the configuration says.
fn export(host: &Host, output: &mut Output, title: &str) -> Result<Value, CliError> {
    let done = export_as_configured(&host.home, &host.ledger, host.wait);
    Ok(show_exported(done.map_err(not_exported)?, output, title))
}

fn show_exported(done: Option<(PathBuf, Exported)>, output: &mut Output, title: &str) -> Value {
    let Some((folder, done)) = done else {
        return Value::Null;
    };
    output.line(format!(
        "{title}{} entries in {}",
        done.size,
        folder.display()
    ));
    json!({ "folder": folder.to_string_lossy(), "entries": done.size })
}
