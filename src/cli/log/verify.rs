//! `countersign log verify`

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::source::{open_exported, read_kept};
use crate::cli::render::{CliError, Output};
use crate::home::Home;
use crate::ledger::ExportedLog;
use crate::tlog::checkpoint::Checkpoint;
use crate::tlog::note::VerifierKey;

/// Compute everything again from the entries, and compare it with what was kept elsewhere
///
/// Finds each entry that was altered, removed, put elsewhere or added. Whoever can write the ledger can compute its
/// hashes again too: that, and an older copy in its place, shows only in comparison with checkpoints kept elsewhere.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  countersign log verify
  countersign log verify --checkpoint kept.checkpoint --export /srv/log
  countersign log verify --checkpoint kept.checkpoint --export /srv/log --log-key log.vkey")]
pub(super) struct Verify {
    /// A checkpoint that was kept elsewhere, as `log checkpoint` printed it; may be given several times
    #[arg(long, value_name = "FILE")]
    checkpoint: Vec<PathBuf>,
    /// A folder that `log export` wrote, or a copy of one: compare it with the home's ledger, or with --log-key
    /// verify it by itself
    #[arg(long, value_name = "DIR")]
    export: Option<PathBuf>,
    /// Verify the log in the folder alone, without a home; its key: `NAME+ID+BASE64`, or a file with it
    #[arg(long, value_name = "KEY|FILE", requires = "export")]
    log_key: Option<String>,
}

impl Verify {
    pub(super) fn run(
        self,
        home: impl FnOnce() -> Result<PathBuf, CliError>,
        output: &mut Output,
    ) -> Result<(), CliError> {
        match (&self.export, &self.log_key) {
            (Some(folder), Some(key)) => self.exported(&open_exported(folder, key)?, output),
            (Some(_) | None, _) => self.ledger(&Home::open(&home()?)?, output),
        }
    }

    /// The home's ledger, and the folder beside it.
    fn ledger(&self, home: &Home, output: &mut Output) -> Result<(), CliError> {
        let (ledger, key) = (home.ledger()?, &home.config.log_key);
        let kept = read_kept(&self.checkpoint, key)?;
        let head = ledger.verify(key, &kept)?;
        let exported = self.export.as_ref().map(|folder| ledger.check_export(folder, key)).transpose()?;
        tell(&head, key, &kept, output);
        if let (Some(folder), Some(checkpoint)) = (&self.export, &exported) {
            output.line(format!("  {} has the first {} entries, unchanged", folder.display(), checkpoint.size));
        }
        if kept.is_empty() && exported.is_none() {
            output.line(
                "whoever can write the ledger could have made it anew: only a checkpoint kept elsewhere shows that",
            );
        }
        value(&head, key, &kept, exported.as_ref(), output);
        Ok(())
    }

    /// The folder alone.
    fn exported(&self, log: &ExportedLog, output: &mut Output) -> Result<(), CliError> {
        let kept = read_kept(&self.checkpoint, log.key())?;
        let head = log.verify(&kept)?;
        tell(head, log.key(), &kept, output);
        output.line(format!("  read from {}", log.path().display()));
        if kept.is_empty() {
            output.line("whoever has the log's key could have made it anew, and what came later may have been left out: only a checkpoint kept elsewhere shows that");
        }
        value(head, log.key(), &kept, Some(head), output);
        Ok(())
    }
}

fn tell(head: &Checkpoint, key: &VerifierKey, kept: &[(String, Checkpoint)], output: &mut Output) {
    output.line(format!("{} entries, each as it was logged", head.size));
    output.line(format!("  root    {}", head.root));
    output.line(format!("  log key {key}"));
    for (name, checkpoint) in kept {
        output.line(format!("  goes on from checkpoint {name} of {} entries", checkpoint.size));
    }
}

fn value(
    head: &Checkpoint,
    key: &VerifierKey,
    kept: &[(String, Checkpoint)],
    exported: Option<&Checkpoint>,
    output: &mut Output,
) {
    output.value(json!({
        "entries": head.size,
        "root": head.root.to_string(),
        "log_key": key,
        "checkpoints": kept.iter().map(|(name, it)| json!({ "file": name, "entries": it.size })).collect::<Vec<_>>(),
        "exported": exported.map(|checkpoint| checkpoint.size),
    }));
}
