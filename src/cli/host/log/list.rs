//! `countersign log list`

use std::collections::BTreeSet;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde_json::{Value, json};

use super::source::FromExport;
use super::words::summary;
use crate::cli::error::CliError;
use crate::cli::global::Global;
use crate::cli::host::since::{Since, since};
use crate::cli::render::Output;
use crate::domain::digest::{GrantId, Sha256};
use crate::domain::event::{Entry, Event};
use crate::domain::name::ProjectName;
use crate::domain::time::Timestamp;

/// List the entries that match every filter
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  countersign log list --project foo --since 14d-ago
  countersign log list --export /srv/log --log-key log.vkey")]
pub(super) struct List {
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    from: FromExport,
}

/// Which entries are listed.
#[derive(Debug, Args)]
struct Filter {
    /// Since this time: `2026-11-22T16:00:00Z` or `14d-ago`
    #[arg(long, value_name = "TIME|PERIOD-ago", value_parser = since)]
    since: Option<Since>,
    /// About grants of this project
    #[arg(long)]
    project: Option<ProjectName>,
    /// With this digest or grant ID
    #[arg(long, value_name = "SHA256", value_parser = digest)]
    digest: Option<Sha256>,
    /// With this release, build or approver key
    #[arg(long, value_name = "FINGERPRINT", value_parser = key)]
    key: Option<String>,
    /// Of this kind
    #[arg(long, value_parser = kinds())]
    kind: Option<&'static str>,
}

fn digest(text: &str) -> Result<Sha256, String> {
    let digits = text
        .strip_prefix("sha256:")
        .unwrap_or(text)
        .to_ascii_lowercase();
    digits
        .parse()
        .map_err(|error: crate::domain::malformed::Malformed| error.to_string())
}

/// A fingerprint in one of the forms that the log has: of an OpenPGP key, of another build key, or
/// of an SSH key.
fn key(text: &str) -> Result<String, String> {
    let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if text.len() == 40 && is_hex(text) {
        return Ok(text.to_owned());
    }
    if let Ok(digest) = digest(text) {
        return Ok(digest.to_string());
    }
    let of_ssh = text.strip_prefix("SHA256:");
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"+/".contains(&byte);
    if of_ssh.is_some_and(|text| text.len() == 43 && text.bytes().all(is_base64)) {
        return Ok(text.to_owned());
    }
    Err("a fingerprint is 40 or 64 hexadecimal digits, or `SHA256:` and 43 characters".to_owned())
}

fn kinds() -> impl TypedValueParser<Value = &'static str> {
    let named = |name: String| {
        Event::KINDS
            .into_iter()
            .find(|kind| **kind == name)
            .expect("it is one of those")
    };
    PossibleValuesParser::new(Event::KINDS).map(named)
}

impl List {
    pub(super) fn run(self, global: &Global, output: &mut Output) -> Result<(), CliError> {
        let log = self.from.source(global)?;
        // A list for programs is shown once it is whole.
        if !output.json {
            log.check()?;
        }
        let mut fitting = Fitting::new(self.filter);
        let mut list = output.list("entries")?;
        log.each(|entry| {
            if fitting.has(&entry) {
                list.item(line(&entry), &entry)
            } else {
                Ok(())
            }
        })?;
        list.end(output)
    }
}

/// The entries that fit every filter, asked for one by one and in their order.
struct Fitting {
    since: Option<Timestamp>,
    project: Option<OfProject>,
    kind: Option<&'static str>,
    texts: Vec<String>,
}

impl Fitting {
    fn new(filter: Filter) -> Self {
        let since = filter.since.map(|since| since.time(Timestamp::now()));
        let texts = filter
            .digest
            .iter()
            .map(ToString::to_string)
            .chain(filter.key)
            .collect();
        Self {
            since,
            project: filter.project.map(OfProject::new),
            kind: filter.kind,
            texts,
        }
    }

    fn has(&mut self, entry: &Entry) -> bool {
        // This one sees every entry.
        let of_project = self
            .project
            .as_mut()
            .is_none_or(|project| project.has(entry));
        of_project
            && self.since.is_none_or(|since| entry.at >= since)
            && self.kind.is_none_or(|kind| kind == entry.event.kind())
            && self.texts.iter().all(|text| mentions(&json!(entry), text))
    }
}

fn line(entry: &Entry) -> String {
    format!(
        "{:>5}  {}  {:17} {}",
        entry.index,
        entry.at,
        entry.event.kind(),
        summary(&entry.event)
    )
}

/// Whether a text is one of the values in an entry. A grant's id is its digest, and an OpenPGP
/// fingerprint has upper-case digits wherever it comes from.
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

/// The entries of a project: about its grants, and after their intents. Both are known from earlier
/// entries.
struct OfProject {
    project: ProjectName,
    grants: BTreeSet<GrantId>,
    intents: BTreeSet<u64>,
}

impl OfProject {
    fn new(project: ProjectName) -> Self {
        Self {
            project,
            grants: BTreeSet::new(),
            intents: BTreeSet::new(),
        }
    }

    fn has(&mut self, entry: &Entry) -> bool {
        match &entry.event {
            Event::GrantIssued { grant, project, .. } if *project == self.project => {
                self.grants.insert(*grant);
                true
            }
            Event::Intent(intent) if self.grants.contains(&intent.grant) => {
                self.intents.insert(entry.index);
                true
            }
            event => match event.follows() {
                Some(intent) => self.intents.contains(&intent),
                None => event
                    .grant()
                    .is_some_and(|grant| self.grants.contains(&grant)),
            },
        }
    }
}
