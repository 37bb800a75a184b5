//! `countersign grants revoke`

use clap::Args;
use serde_json::json;

use crate::cli::error::CliError;
use crate::cli::host::open::{is_grant_id, read_grant};
use crate::cli::host::reason::reason;
use crate::cli::render::Output;
use crate::domain::event::Event;
use crate::domain::time::Timestamp;
use crate::home::Home;
use crate::steps::host::revoke::revoke;

/// Revoke a grant, without effect on signed releases
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  countersign grants revoke b5bb9d80 --reason 'm2 was compromised'"
)]
pub(super) struct Revoke {
    /// Grant file or ID (8+ digits)
    grant: String,
    /// Reason, for the log
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    reason: Option<String>,
}

impl Revoke {
    pub(super) fn run(
        self,
        home: &Home,
        now: Timestamp,
        output: &mut Output,
    ) -> Result<(), CliError> {
        // An id is enough: the copy that the home keeps may be damaged.
        let grant = if is_grant_id(&self.grant) {
            home.grant_id(&self.grant)?
        } else {
            read_grant(&self.grant, home)?.id()
        };
        let entry = revoke(grant, self.reason, home, now)?;
        let ledger = home.ledger_to_read()?;
        let record = ledger.grant(grant)?;
        let issued = record
            .as_ref()
            .map(|record| ledger.entry(record.issued))
            .transpose()?;
        let title = match issued.flatten().map(|entry| entry.event) {
            Some(Event::GrantIssued {
                project, version, ..
            }) => format!(" of {project} {version}"),
            _ => String::new(),
        };
        output.line(format!("revoked grant {grant}{title}"));
        output.line(format!("  ledger     entry {entry}"));
        if record.is_some_and(|record| record.signed.is_some()) {
            output.line("its release was signed before, and stays signed");
        }
        output.value(json!({ "grant": grant, "ledger_entry": entry }));
        Ok(())
    }
}
