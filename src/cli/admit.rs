//! `countersign admit`

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::args::{Sweep, bad_policy, read_certificate, read_policy, shown_swept};
use super::error::{CliError, CommandError};
use super::global::Global;
use super::progress::Bar;
use super::render::Output;
use crate::domain::malformed::Malformed;
use crate::domain::signing::ReleaseForm;
use crate::domain::time::Timestamp;
use crate::location::inbox_and_releases;
use crate::steps::release::admit::{AdmitError, Judged, Outcome, What, admit};
use crate::steps::release::policy::{Verifier, VerifierPolicy};

/// Maximum number of refused submissions that are listed; the others are counted.
const MOST_LISTED: usize = 10_000;

/// Verify the releases in an inbox, and publish the valid ones (at the location)
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  countersign admit --cert release.pgp /srv/inbox /srv/releases")]
pub(super) struct Admit {
    /// Release certificate
    #[arg(long, value_name = "FILE")]
    cert: PathBuf,
    /// Policy: which of the valid releases to accept (JSON)
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Folder of pushed releases; reports are NAME.admitted and NAME.refused
    inbox: PathBuf,
    /// Folder for published releases
    releases: PathBuf,
    #[command(flatten)]
    sweep: Sweep,
}

impl Admit {
    pub(super) fn run(self, global: &Global, output: &mut Output) -> Result<(), CliError> {
        for folder in [&self.inbox, &self.releases] {
            global.outside_home(folder)?;
        }
        let certificate = read_certificate(&self.cert)?;
        let policy = self.policy()?;
        let (inbox, releases) =
            inbox_and_releases(&self.inbox, &self.releases).map_err(AdmitError::from)?;
        let mut swept = Vec::new();
        if let Some(before) = self.sweep.before(Timestamp::now()) {
            for names in [inbox.sweep_older(before), releases.sweep_older(before)] {
                swept.extend(shown_swept(names.map_err(AdmitError::from)?, output));
            }
        }
        let mut told = Told::default();
        let result = admit(
            &*inbox,
            &*releases,
            &Verifier {
                certificate: &certificate,
                policy: &policy,
                now: Timestamp::now(),
            },
            &mut Bar::new(),
            &mut |judged| told.judged(judged, output),
        );
        if told.all == 0 && result.is_ok() {
            output.line(format!("{}: nothing there", self.inbox.display()));
        }
        let unlisted = told.refused.saturating_sub(MOST_LISTED);
        if unlisted > 0 {
            output.line(format!("{unlisted} more submissions: refused"));
        }
        output.value(json!({
            "submissions": told.values, "unlisted": unlisted, "swept": swept,
        }));
        result?;
        match (told.trouble, told.refused) {
            (Some(trouble), _) => Err(trouble.into()),
            (None, 0) => Ok(()),
            (None, refused) => Err(CommandError::NotAdmitted {
                refused,
                all: told.all,
            }
            .into()),
        }
    }
}

impl Admit {
    fn policy(&self) -> Result<VerifierPolicy, CliError> {
        let policy = read_policy(self.policy.as_deref())?;
        match &self.policy {
            Some(path) if policy.requires_proof() => {
                let fault = "`log_proof` is for `verify --proof`: `admit` has no proofs";
                Err(bad_policy(path, Malformed::new(fault)).into())
            }
            Some(_) | None => Ok(policy),
        }
    }
}

/// What was told of the submissions.
#[derive(Default)]
struct Told {
    all: usize,
    refused: usize,
    /// The first trouble.
    trouble: Option<AdmitError>,
    values: Vec<Value>,
}

impl Told {
    fn judged(&mut self, judged: Judged, output: &mut Output) {
        self.all += 1;
        let name = judged.name;
        match judged.result {
            Ok(outcome) => self.good(&name, &outcome, output),
            Err(error) if error.is_trouble() => {
                output.line(format!("{name}: not judged, {error}"));
                self.values.push(json!({
                    "name": name, "admitted": false,
                    "reason": error.to_string(), "noted": false,
                }));
                self.trouble.get_or_insert(error);
            }
            Err(error) => {
                self.refused += 1;
                if self.refused > MOST_LISTED {
                    return;
                }
                output.line(match &error {
                    AdmitError::Before(reason) => {
                        format!("{name}: refused before, and did not change: {reason}")
                    }
                    error => format!("{name}: refused, {error}"),
                });
                if !judged.noted {
                    output.line(format!("{name}: the reason could not be written beside it"));
                }
                self.values.push(json!({
                    "name": name, "admitted": false,
                    "reason": error.to_string(), "noted": judged.noted,
                }));
            }
        }
    }

    fn good(&mut self, name: &str, outcome: &Outcome, output: &mut Output) {
        let mut value = match &outcome.what {
            What::Release(report) => {
                let word = if outcome.new {
                    "admitted"
                } else {
                    "was admitted already"
                };
                let form = report.contents.form;
                let signed = &report.list;
                let grant = report.grant.id();
                output.line(format!(
                    "{name}: {word}, signed by {} at {} under grant {}{}",
                    signed.key,
                    signed.created,
                    grant.short(),
                    match form {
                        ReleaseForm::Each => "",
                        ReleaseForm::ListOnly =>
                            ", as a whole: only SHA256SUMS carries a signature",
                    }
                ));
                json!({ "admitted": true, "grant": grant, "key": signed.key, "form": form })
            }
            What::Withdrawal(it) => {
                let word = if outcome.new {
                    "withdrawn"
                } else {
                    "was withdrawn already"
                };
                let reason = it.withdrawal.reason();
                output.line(format!("{}: {word}: {reason}", it.release()));
                json!({ "withdrawn": true, "key": it.signed.key, "reason": reason })
            }
        };
        if !outcome.reported {
            output.line(format!(
                "{name}: a report of that could not be left in the inbox"
            ));
        }
        if !outcome.removed {
            output.line(format!(
                "{name}: its submission cannot be removed from the inbox"
            ));
        }
        value["name"] = json!(name);
        value["new"] = json!(outcome.new);
        value["reported"] = json!(outcome.reported);
        self.values.push(value);
    }
}
