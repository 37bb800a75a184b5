//! `countersign log clock`

use clap::Args;
use serde_json::json;

use crate::cli::error::{CliError, CommandError};
use crate::cli::global::Global;
use crate::cli::host::options::WaitOption;
use crate::cli::host::reason::reason;
use crate::cli::render::Output;
use crate::domain::event::Event;

/// Compare this host's clock with the newest entry
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  countersign log clock --acknowledge 'it was a year ahead until today'"
)]
pub(super) struct Clock {
    /// Acknowledge that the clock had run ahead, and is right now
    #[arg(long, value_name = "REASON", value_parser = reason)]
    acknowledge: Option<String>,
    #[command(flatten)]
    wait: WaitOption,
}

impl Clock {
    pub(super) fn run(self, global: &Global, output: &mut Output) -> Result<(), CliError> {
        let mut host = global.host(self.wait)?;
        let now = host.clock.now();
        let newest = host.ledger.newest()?.expect("a log begins with its key");
        let compared = host.ledger.check_clock(now);
        let entry = match self.acknowledge {
            None => {
                compared?;
                None
            }
            Some(_) if compared.is_ok() => {
                let text = "the clock is not behind the log: there is nothing to acknowledge";
                return Err(CommandError::Usage(text.to_owned()).into());
            }
            Some(reason) => {
                let event = Event::ClockAcknowledged { newest, reason };
                Some(host.ledger.append(host.clock, event)?)
            }
        };
        output.line(format!("clock   {now}"));
        output.line(format!("newest  {newest}"));
        if let Some(entry) = entry {
            output.line(format!("acknowledged in ledger entry {entry}"));
        }
        output.value(json!({ "clock": now, "newest": newest, "ledger_entry": entry }));
        Ok(())
    }
}
