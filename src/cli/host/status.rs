//! `countersign status`

use clap::Args;
use serde_json::{Value, json};

use crate::cli::error::CliError;
use crate::cli::global::Global;
use crate::cli::render::Output;
use crate::domain::withdrawal::Withdrawal;
use crate::steps::host::push::{Release, Statement, waiting, withdrawals};
use crate::steps::host::status::{Left, Unfinished, unfinished};

/// Show unfinished signing runs, and what is not pushed
#[derive(Debug, Args)]
pub(in crate::cli) struct Status {}

impl Status {
    pub(super) fn run(self, global: &Global, output: &mut Output) -> Result<(), CliError> {
        let home = global.home()?;
        let ledger = home.ledger_to_read()?;
        let runs = unfinished(&ledger)?;
        let has_inbox = home.inbox().is_some();
        let releases = if has_inbox {
            waiting(&ledger)?
        } else {
            Vec::new()
        };
        let mut statements = withdrawals(&ledger)?;
        statements.retain(|it| it.signature.is_none() || (has_inbox && !it.is_pushed()));
        if runs.is_empty() && releases.is_empty() && statements.is_empty() {
            output.line("every signing run is finished");
        }
        runs.iter().for_each(|run| show(run, output));
        releases
            .iter()
            .for_each(|release| show_waiting(release, output));
        for statement in &statements {
            output.line(format!(
                "{} {}",
                statement.withdrawal.project, statement.withdrawal.version
            ));
            output.line(format!("  withdrawn  entry {}", statement.entry));
            output.line(format!("  needs      {}", left(statement).0));
            output.line(format!("  next       {}", left(statement).1));
        }
        output.value(json!({
            "withdrawals": statements.iter().map(|it| json!({
                "grant": it.grant,
                "project": it.withdrawal.project,
                "version": it.withdrawal.version,
                "signed": it.signature.is_some(),
                "next": left(it).1,
            })).collect::<Vec<_>>(),
            "unfinished": runs.iter().map(value).collect::<Vec<_>>(),
            "not_pushed": releases.iter().map(|it| json!({
                "grant": it.grant,
                "project": it.project,
                "version": it.version,
                "release": it.folder.to_string_lossy(),
                "next": PUSH,
            })).collect::<Vec<_>>(),
        }));
        Ok(())
    }
}

/// The command that pushes every release that is waiting.
const PUSH: &str = "countersign push";

/// What a withdrawal needs, and the command for it.
fn left(it: &Statement) -> (&'static str, String) {
    if it.signature.is_some() {
        return ("no token: the statement is to be pushed", PUSH.to_owned());
    }
    let Withdrawal {
        project, version, ..
    } = &it.withdrawal;
    let command = format!("countersign withdraw {project} {version} --reason TEXT");
    ("the token, for its signature", command)
}

fn show_waiting(release: &Release, output: &mut Output) {
    output.line(format!(
        "{} {}, grant {}",
        release.project,
        release.version,
        release.grant.short()
    ));
    output.line(format!(
        "  signed     every file, in {}",
        release.folder.display()
    ));
    output.line("  needs      no token: the release is to be pushed");
    output.line(format!("  next       {PUSH}"));
}

fn show(run: &Unfinished, output: &mut Output) {
    output.line(format!(
        "{} {}, grant {}",
        run.project,
        run.version,
        run.grant.short()
    ));
    match &run.left {
        Left::All => output.line("  signed     nothing yet"),
        Left::Signatures(journal) => {
            let kept = journal.kept();
            let all = journal.intent.plan().files().len();
            output.line(format!(
                "  signed     {kept} of {all} signatures, under entry {}",
                journal.index
            ));
        }
        Left::Release(journal) => {
            output.line(format!(
                "  signed     every file, under entry {}",
                journal.index
            ));
        }
    }
    if let Some(file) = unsettled(run) {
        output.line(format!(
            "  unsettled  `{file}`: the token may have signed it, and is asked again"
        ));
    }
    output.line(format!("  needs      {}", needs(run)));
    output.line(format!("  last       {}", run.last));
    output.line(format!("  next       {}", next(run)));
}

fn unsettled(run: &Unfinished) -> Option<&str> {
    match &run.left {
        Left::All => None,
        Left::Signatures(journal) | Left::Release(journal) => journal.unsettled.as_deref(),
    }
}

fn needs(run: &Unfinished) -> String {
    match &run.left {
        Left::All => "the token, for every file".to_owned(),
        Left::Signatures(journal) if journal.missing.len() == 1 => {
            "the token, for 1 more signature".to_owned()
        }
        Left::Signatures(journal) => {
            format!("the token, for {} more signatures", journal.missing.len())
        }
        Left::Release(_) => "no token: the release is to be written".to_owned(),
    }
}

/// The command that finishes it. The log does not have the folder of the build.
fn next(run: &Unfinished) -> String {
    format!("countersign sign {} --from DIR", run.grant.short())
}

fn value(run: &Unfinished) -> Value {
    let (left, journal) = match &run.left {
        Left::All => ("all", None),
        Left::Signatures(journal) => ("signatures", Some(journal)),
        Left::Release(journal) => ("release", Some(journal)),
    };
    json!({
        "grant": run.grant,
        "project": run.project,
        "version": run.version,
        "left": left,
        "intent": journal.map(|journal| journal.index),
        "kept_signatures": journal.map_or(0, |journal| journal.kept()),
        "missing_signatures": journal.map(|journal| &journal.missing),
        "unsettled": unsettled(run),
        "last": run.last,
        "next": next(run),
    })
}
