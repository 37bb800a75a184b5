//! `countersign admit`

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::args::read_certificate;
use super::error::{CliError, CommandError};
use super::global::Global;
use super::progress::Bar;
use super::render::Output;
use crate::domain::signing::Coverage;
use crate::domain::time::Timestamp;
use crate::location::inbox_and_releases;
use crate::steps::release::admit::{AdmitError, admit};

/// Verify the releases in an inbox, and publish the valid ones (at the location)
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  countersign admit --cert release.pgp /srv/inbox /srv/releases")]
pub(super) struct Admit {
    /// Release certificate
    #[arg(long, value_name = "FILE")]
    cert: PathBuf,
    /// Folder of pushed releases; reports are NAME.admitted and NAME.refused
    inbox: PathBuf,
    /// Folder for published releases
    releases: PathBuf,
}

impl Admit {
    pub(super) fn run(self, global: &Global, output: &mut Output) -> Result<(), CliError> {
        for folder in [&self.inbox, &self.releases] {
            global.outside_home(folder)?;
        }
        let certificate = read_certificate(&self.cert)?;
        let (inbox, releases) =
            inbox_and_releases(&self.inbox, &self.releases).map_err(AdmitError::from)?;
        let now = Timestamp::now();
        let submissions = admit(&*inbox, &*releases, &certificate, now, &mut Bar::new())?;

        let all = submissions.len();
        let mut refused = 0;
        let mut trouble = None;
        let mut values = Vec::new();
        for submission in submissions {
            let name = submission.name;
            match submission.result {
                Ok(admitted) => {
                    let word = if admitted.new {
                        "admitted"
                    } else {
                        "was admitted already"
                    };
                    let sums_only = admitted.report.coverage == Coverage::ListOnly;
                    let signed = &admitted.report.list;
                    let grant = admitted.report.grant.id();
                    output.line(format!(
                        "{name}: {word}, signed by {} at {} under grant {}{}",
                        signed.key,
                        signed.created,
                        grant.short(),
                        if sums_only {
                            ", as a whole: only SHA256SUMS carries a signature"
                        } else {
                            ""
                        }
                    ));
                    if !admitted.reported {
                        output.line(format!(
                            "{name}: a report of that could not be left in the inbox"
                        ));
                    }
                    if !admitted.removed {
                        output.line(format!(
                            "{name}: its submission cannot be removed from the inbox"
                        ));
                    }
                    values.push(json!({
                        "name": name, "admitted": true, "new": admitted.new, "grant": grant,
                        "key": signed.key, "sums_only": sums_only, "reported": admitted.reported,
                    }));
                }
                Err(error) if error.is_trouble() => {
                    values.push(json!({
                        "name": name, "admitted": false,
                        "reason": error.to_string(), "noted": false,
                    }));
                    trouble = Some(error);
                }
                Err(error) => {
                    refused += 1;
                    output.line(format!("{name}: refused, {error}"));
                    if !submission.noted {
                        output.line(format!("{name}: the reason could not be written beside it"));
                    }
                    values.push(json!({
                        "name": name, "admitted": false,
                        "reason": error.to_string(), "noted": submission.noted,
                    }));
                }
            }
        }
        if all == 0 {
            output.line(format!("{}: nothing there", self.inbox.display()));
        }
        output.value(json!({ "submissions": values }));
        match (trouble, refused) {
            (Some(trouble), _) => Err(trouble.into()),
            (None, 0) => Ok(()),
            (None, refused) => Err(CommandError::NotAdmitted { refused, all }.into()),
        }
    }
}
