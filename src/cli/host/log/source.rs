//! Where the commands of `countersign log` read the log: in the home's ledger, or in a folder that
//! was exported.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::error::CliError;
use crate::cli::global::Global;
use crate::cli::host::error::HostError;
use crate::cli::verify::read_log_key;
use crate::domain::event::Entry;
use crate::files::InputFile;
use crate::ledger::{ExportedLog, Ledger};
use crate::tlog::checkpoint::Checkpoint;
use crate::tlog::note::{LARGEST_NOTE, VerifierKey};

/// A log that was exported, in place of the home's.
#[derive(Debug, Args)]
pub(super) struct FromExport {
    /// Exported log to read instead of the home's
    #[arg(long, value_name = "DIR", requires = "log_key")]
    export: Option<PathBuf>,
    /// Public key of that log: `NAME+ID+BASE64`, or a file
    #[arg(long, value_name = "KEY|FILE", requires = "export")]
    log_key: Option<String>,
}

impl FromExport {
    /// The log that was named, if one was. Only its checkpoint is checked.
    pub(super) fn open(&self) -> Result<Option<ExportedLog>, CliError> {
        let named = self.export.as_deref().zip(self.log_key.as_deref());
        named
            .map(|(folder, key)| open_exported(folder, key))
            .transpose()
    }

    /// The log that was named, or else the home's.
    pub(super) fn source(&self, global: &Global) -> Result<Source, CliError> {
        match self.open()? {
            Some(log) => Ok(Source::Exported(log)),
            None => Ok(Source::Ledger(global.home()?.ledger_to_read()?)),
        }
    }
}

/// A log to read.
pub(super) enum Source {
    Ledger(Ledger),
    Exported(ExportedLog),
}

impl Source {
    /// Verifies the whole of an exported log, before anything of it is shown. The home's ledger is
    /// trusted: `log verify` checks that.
    pub(super) fn check(&self) -> Result<(), CliError> {
        match self {
            Self::Ledger(_) => Ok(()),
            Self::Exported(log) => Ok(log.verify(&[]).map(|_| ())?),
        }
    }

    /// Shows each entry to `see`, first to last. An exported log is verified on the way.
    pub(super) fn each(
        &self,
        see: impl FnMut(Entry) -> Result<(), CliError>,
    ) -> Result<(), CliError> {
        match self {
            Self::Ledger(ledger) => ledger.each(see),
            Self::Exported(log) => log.each(see),
        }
    }

    /// The entry at `index`, if there is one.
    pub(super) fn entry(&self, index: u64) -> Result<Option<Entry>, CliError> {
        match self {
            Self::Ledger(ledger) => Ok(ledger.entry(index)?),
            Self::Exported(log) => {
                let mut found = None;
                log.each::<CliError>(|entry| {
                    if entry.index == index {
                        found = Some(entry);
                    }
                    Ok(())
                })?;
                Ok(found)
            }
        }
    }
}

/// The log in a folder, under the key that is written or in the file that is named.
pub(super) fn open_exported(folder: &Path, key: &str) -> Result<ExportedLog, CliError> {
    Ok(ExportedLog::open(folder, read_log_key(key)?)?)
}

/// Checkpoints that were kept in files, by the log's key.
pub(super) fn read_kept(
    paths: &[PathBuf],
    key: &VerifierKey,
) -> Result<Vec<(String, Checkpoint)>, CliError> {
    let read = |path: &PathBuf| {
        let note = InputFile::open_named(path)?.read_whole(LARGEST_NOTE as u64)?;
        let checkpoint = Checkpoint::open(&note, key);
        let checkpoint = checkpoint.map_err(|fault| HostError::Checkpoint {
            path: path.clone(),
            fault,
        })?;
        Ok((path.display().to_string(), checkpoint))
    };
    paths.iter().map(read).collect()
}
