//! `countersign push`

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use crate::cli::error::{CliError, HostError};
use crate::cli::global::Global;
use crate::cli::progress::Bar;
use crate::cli::render::Output;
use crate::domain::digest::GrantId;
use crate::domain::event::Verdict;
use crate::ledger::Ledger;
use crate::steps::host::Host;
use crate::steps::host::export::export_as_configured;
use crate::steps::host::push::{self, Heard, PushError, Pushed, Release};

/// Bring signed releases to the location's inbox, and hear what became of those before
///
/// Each release that `sign` was to push and that did not get there, as `countersign status` shows,
/// is verified and copied. What the location says of releases that were pushed is noted in the log,
/// and the log is exported, each if the configuration says so. Needs no token. Again, it does only
/// what is left to do.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  countersign push
  countersign push /srv/signed/foo-1.2.3")]
pub(in crate::cli) struct Push {
    /// The folder of a release to push in their place: one that was moved, was signed before there
    /// was an inbox, or is to be pushed again
    #[arg(value_name = "RELEASE")]
    releases: Vec<PathBuf>,
}

/// What there is to tell of a run.
#[derive(Default)]
struct Told {
    pushed: Vec<Value>,
    not_pushed: Vec<Value>,
    reports: Vec<Value>,
    /// What failed first.
    failed: Option<CliError>,
}

impl Push {
    pub(super) fn run(self, global: &Global, output: &mut Output) -> Result<(), CliError> {
        let mut host = global.host()?;
        let has_inbox = host.home.inbox().is_some();
        if !has_inbox && (host.home.log_folder().is_none() || !self.releases.is_empty()) {
            return Err(PushError::NoInbox.into());
        }
        let mut told = Told::default();
        if has_inbox {
            for release in self.releases(&host.ledger)? {
                told.push(&release, &mut host, output);
            }
            if let Err(error) = told.hear(&mut host, output) {
                told.failed.get_or_insert(error.into());
            }
        }
        let log = export(&host, output, "log: ").unwrap_or_else(|error| {
            told.failed.get_or_insert(error);
            Value::Null
        });
        let Told {
            pushed,
            not_pushed,
            reports,
            failed,
        } = told;
        output.value(
            json!({ "pushed": pushed, "not_pushed": not_pushed, "reports": reports, "log": log }),
        );
        failed.map_or(Ok(()), Err)
    }

    fn releases(&self, ledger: &Ledger) -> Result<Vec<Release>, PushError> {
        match self.releases.is_empty() {
            true => Ok(push::waiting(ledger)?),
            false => self
                .releases
                .iter()
                .map(|folder| push::release_in(folder, ledger))
                .collect(),
        }
    }
}

impl Told {
    fn push(&mut self, release: &Release, host: &mut Host, output: &mut Output) {
        let (name, folder) = (release.name(), &release.folder);
        match bring(release, host) {
            Ok(pushed) => {
                let word = if pushed.new {
                    "pushed to"
                } else {
                    "was there already:"
                };
                output.line(format!("{name}: {word} {}", pushed.folder.display()));
                self.pushed.push(json!({
                    "grant": release.grant,
                    "release": folder.to_string_lossy(),
                    "folder": pushed.folder.to_string_lossy(),
                    "new": pushed.new,
                }));
            }
            Err(fault) => {
                output.line(format!("{name}: not pushed, {fault}"));
                self.not_pushed.push(json!({
                    "grant": release.grant, "release": folder.to_string_lossy(), "reason": fault.to_string(),
                }));
                self.failed.get_or_insert(not_pushed(release, fault));
            }
        }
    }

    fn hear(&mut self, host: &mut Host, output: &mut Output) -> Result<(), PushError> {
        let Host {
            home,
            lock,
            ledger,
            clock,
        } = host;
        let waiting = push::unanswered(ledger)?;
        if waiting.is_empty() && self.pushed.is_empty() && self.not_pushed.is_empty() {
            output.line("nothing waits to be pushed, and the location has told of each release");
        }
        let inbox = push::open_inbox(home)?;
        let mut silent = Vec::new();
        for release in &waiting {
            let said = match push::hear(release, &inbox, lock, ledger, clock.now()) {
                Ok(said) => said,
                // What is wrong with one keeps none of the others waiting.
                Err(error) => {
                    output.line(format!(
                        "{}: what the location says is not known, {error}",
                        release.name()
                    ));
                    self.failed.get_or_insert(error.into());
                    continue;
                }
            };
            if said.is_empty() {
                silent.push(release.name());
            }
            for heard in said {
                output.line(format!("{}: {}", release.name(), told(&heard)));
                self.reports.push(value(release, &heard));
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

/// What became of a release at its location, as far as the configuration names one.
pub(super) struct HandOver {
    pub(super) pushed: Option<PathBuf>,
    pub(super) log: Value,
    pub(super) result: Result<(), CliError>,
}

/// Pushes the release and exports the log, each where the configuration says. Whatever fails here,
/// the release is signed.
pub(super) fn hand_over(
    grant: GrantId,
    folder: &Path,
    host: &mut Host,
    output: &mut Output,
) -> Result<HandOver, CliError> {
    let mut result = Ok(());
    let mut pushed = None;
    if host.home.inbox().is_some() {
        let release = push::release_under(grant, &host.ledger)?
            .expect("it was released just now")
            .standing_in(folder)?;
        match deliver(&release, host, output) {
            Ok(folder) => pushed = Some(folder),
            Err(fault) => result = Err(not_pushed(&release, fault)),
        }
    }
    let log = export(host, output, "  log        ").unwrap_or_else(|error| {
        // What failed first matters more.
        if result.is_ok() {
            result = Err(error);
        }
        Value::Null
    });
    match (&pushed, &result) {
        (Some(_), _) => output.line("next: at the location run"),
        (None, Ok(())) => {
            output.line("next: push the folder to the location's inbox, and there run")
        }
        (None, Err(_)) => {
            return Ok(HandOver {
                pushed,
                log,
                result,
            });
        }
    }
    output.line("  countersign admit --cert CERT INBOX RELEASES");
    Ok(HandOver {
        pushed,
        log,
        result,
    })
}

/// Brings the release to the inbox, and notes what the location says of it by now; unless that was
/// done before.
fn deliver(release: &Release, host: &mut Host, output: &mut Output) -> Result<PathBuf, PushError> {
    if let Some((index, folder)) = release.pushed(&host.ledger)? {
        output.line(format!(
            "  pushed     {} (before, entry {index})",
            folder.display()
        ));
        return Ok(folder);
    }
    let pushed = bring(release, host)?;
    output.line(format!("  pushed     {}", pushed.folder.display()));
    let Host {
        home,
        lock,
        ledger,
        clock,
    } = host;
    match push::open_inbox(home)
        .and_then(|inbox| push::hear(release, &inbox, lock, ledger, clock.now()))
    {
        Ok(said) => said
            .iter()
            .for_each(|heard| output.line(format!("  location   {}", told(heard)))),
        // The next `push` asks again.
        Err(fault) => output.warn(&format!(
            "what the location says of it was not noted: {fault}"
        )),
    }
    Ok(pushed.folder)
}

fn bring(release: &Release, host: &mut Host) -> Result<Pushed, PushError> {
    push::push(
        release,
        &host.home,
        &host.lock,
        &mut host.ledger,
        host.clock.now(),
        &mut Bar::new(),
    )
}

fn not_pushed(release: &Release, fault: PushError) -> CliError {
    HostError::NotPushed {
        folder: release.folder.clone(),
        fault: Box::new(fault),
    }
    .into()
}

/// What a location says of a release. It is no more than that.
fn told(heard: &Heard) -> String {
    match heard {
        Heard::Logged(index, Verdict::Admitted { at }) => {
            format!("admitted at {at}, says the location (entry {index})")
        }
        Heard::Logged(index, Verdict::Refused { reason }) => {
            format!("refused, says the location (entry {index}): {reason}")
        }
        Heard::Dubious { file, fault } => format!("`{file}` {fault}; it was not logged"),
    }
}

fn value(release: &Release, heard: &Heard) -> Value {
    match heard {
        Heard::Logged(index, verdict) => {
            json!({ "grant": release.grant, "ledger_entry": index, "result": verdict })
        }
        Heard::Dubious { file, fault } => {
            json!({ "grant": release.grant, "file": file, "fault": fault })
        }
    }
}

/// Exports the log where the configuration says, and tells of it behind `title`.
fn export(host: &Host, output: &mut Output, title: &str) -> Result<Value, CliError> {
    let Host {
        home, lock, ledger, ..
    } = host;
    let done = export_as_configured(home, lock, ledger).map_err(HostError::NotExported)?;
    let Some((folder, done)) = done else {
        return Ok(Value::Null);
    };
    output.line(format!(
        "{title}{} entries in {}",
        done.size,
        folder.display()
    ));
    Ok(json!({ "folder": folder.to_string_lossy(), "entries": done.size }))
}
