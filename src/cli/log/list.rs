//! `countersign log list`

use std::collections::BTreeSet;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde_json::{Value, json};

use super::words::summary;
use crate::cli::render::{CliError, Output};
use crate::domain::digest::{GrantId, Sha256};
use crate::domain::event::{Entry, Event};
use crate::domain::name::ProjectName;
use crate::domain::time::{Period, Timestamp};
use crate::ledger::Ledger;

/// Which entries are listed.
#[derive(Debug, Args)]
pub(super) struct Filter {
    /// Of this time or later: `2026-11-22T16:00:00Z`, or so long ago: `14d-ago`
    #[arg(long, value_name = "TIME|PERIOD-ago", value_parser = since)]
    since: Option<Since>,
    /// About the grants of a project
    #[arg(long)]
    project: Option<ProjectName>,
    /// With this digest in it, of an artifact, a list, evidence or a certificate, or this grant's id
    #[arg(long, value_name = "SHA256", value_parser = digest)]
    digest: Option<Sha256>,
    /// With this key in it, by its fingerprint: of a release, a builder or an approver
    #[arg(long, value_name = "FINGERPRINT")]
    key: Option<String>,
    /// Of this kind
    #[arg(long, value_parser = kinds())]
    kind: Option<&'static str>,
}

#[derive(Debug, Clone, Copy)]
enum Since {
    Time(Timestamp),
    Ago(Period),
}

fn since(text: &str) -> Result<Since, String> {
    match text.strip_suffix("-ago") {
        Some(period) => {
            period.parse().map(Since::Ago).map_err(|error: crate::domain::time::NotAPeriod| error.to_string())
        }
        None => text
            .parse()
            .map(Since::Time)
            .map_err(|error: crate::domain::time::NotATime| format!("{error} or `14d-ago`")),
    }
}

fn digest(text: &str) -> Result<Sha256, String> {
    let digits = text.strip_prefix("sha256:").unwrap_or(text).to_ascii_lowercase();
    digits.parse().map_err(|error: crate::domain::digest::NotADigest| error.to_string())
}

fn kinds() -> impl TypedValueParser<Value = &'static str> {
    let named = |name: String| Event::KINDS.into_iter().find(|kind| **kind == name).expect("it is one of those");
    PossibleValuesParser::new(Event::KINDS).map(named)
}

impl Filter {
    pub(super) fn run(self, ledger: &Ledger, output: &mut Output) -> Result<(), CliError> {
        let since = self.since.map(|since| match since {
            Since::Time(time) => time,
            Since::Ago(period) => Timestamp::now().back(period),
        });
        let project = self.project.map(|project| OfProject::new(ledger, project)).transpose()?;
        let texts: Vec<String> = self.digest.iter().map(ToString::to_string).chain(self.key).collect();
        let mut entries = Vec::new();
        ledger.each::<CliError>(|entry| {
            let fits = since.is_none_or(|since| entry.at >= since)
                && project.as_ref().is_none_or(|project| project.has(&entry.event))
                && self.kind.is_none_or(|kind| kind == entry.event.kind())
                && texts.iter().all(|text| mentions(&json!(entry), text));
            if fits {
                output.line(line(&entry));
                entries.push(entry);
            }
            Ok(())
        })?;
        output.value(json!({ "entries": entries }));
        Ok(())
    }
}

fn line(entry: &Entry) -> String {
    format!("{:>5}  {}  {:17} {}", entry.index, entry.at, entry.event.kind(), summary(&entry.event))
}

/// Whether a text is one of the values in an entry. A grant's id is its digest, and an OpenPGP fingerprint has upper-case
/// digits wherever it comes from.
fn mentions(value: &Value, text: &str) -> bool {
    match value {
        Value::String(found) => {
            let found = found.strip_prefix("sha256:").unwrap_or(found);
            found == text || (found.len() == 40 && found.eq_ignore_ascii_case(text))
        }
        Value::Array(values) => values.iter().any(|value| mentions(value, text)),
        Value::Object(values) => values.values().any(|value| mentions(value, text)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// What belongs to a project: its grants, and what follows their intents.
struct OfProject {
    grants: BTreeSet<GrantId>,
    intents: BTreeSet<u64>,
}

impl OfProject {
    fn new(ledger: &Ledger, project: ProjectName) -> Result<Self, CliError> {
        let records = ledger.grants_of(&project)?;
        let intents = records.iter().filter_map(|record| record.intent).collect();
        Ok(Self { grants: records.iter().map(|record| record.grant).collect(), intents })
    }

    fn has(&self, event: &Event) -> bool {
        match event {
            Event::Resumed { intent, .. } | Event::Outcome { intent, .. } | Event::Released { intent, .. } => {
                self.intents.contains(intent)
            }
            event => event.grant().is_some_and(|grant| self.grants.contains(&grant)),
        }
    }
}
