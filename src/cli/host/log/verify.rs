//! `countersign log verify`

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::source::{open_exported, read_kept};
use crate::cli::args::read_certificate;
use crate::cli::error::{CliError, CommandError, Within};
use crate::cli::global::Global;
use crate::cli::progress::Bar;
use crate::cli::render::Output;
use crate::domain::event::Entry;
use crate::domain::time::Timestamp;
use crate::files::Folder;
use crate::home::Home;
use crate::ledger::ExportedLog;
use crate::openpgp::Certificate;
use crate::steps::host::release_checkpoint::{NoCheckpoint, ReleaseCheckpoint};
use crate::tlog::checkpoint::Checkpoint;
use crate::tlog::note::VerifierKey;

/// Verify the log, alone or against copies kept elsewhere
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  countersign log verify --release /srv/releases/foo-1.2.3
  countersign log verify --checkpoint kept.checkpoint --export /srv/log
  countersign log verify --checkpoint kept.checkpoint \\
      --export /srv/log --log-key log.vkey")]
pub(super) struct Verify {
    /// Checkpoint kept elsewhere, to detect an old or recomputed log; repeatable
    #[arg(long, value_name = "FILE")]
    checkpoint: Vec<PathBuf>,
    /// Release kept elsewhere, which the log must announce; repeatable
    #[arg(long, value_name = "DIR")]
    release: Vec<PathBuf>,
    /// Release certificate for --release [default: the home's; required with --log-key]
    #[arg(long, value_name = "FILE", requires = "release")]
    cert: Option<PathBuf>,
    /// Exported log to compare with the home's, or with --log-key to verify alone
    #[arg(long, value_name = "DIR")]
    export: Option<PathBuf>,
    /// Public key of the exported log: `NAME+ID+BASE64`, or a file
    #[arg(long, value_name = "KEY|FILE", requires = "export")]
    log_key: Option<String>,
}

impl Verify {
    pub(super) fn run(self, global: &Global, output: &mut Output) -> Result<(), CliError> {
        let certificate = self.cert.as_deref().map(read_certificate).transpose()?;
        match (&self.export, &self.log_key) {
            (Some(folder), Some(key)) => {
                self.exported(&open_exported(folder, key)?, certificate, output)
            }
            (Some(_) | None, _) => self.ledger(&global.home()?, certificate, output),
        }
    }

    /// The home's ledger, and the folder beside it.
    fn ledger(
        &self,
        home: &Home,
        certificate: Option<Certificate>,
        output: &mut Output,
    ) -> Result<(), CliError> {
        let ledger = home.ledger_to_read()?;
        let key = &home.config.log_key;
        let certificate = certificate.as_ref().unwrap_or(&home.certificate);
        let mut kept = self.kept(key, Some(certificate))?;
        let head = ledger.verify(key, &kept.checkpoints())?;
        for release in &mut kept.releases {
            for entry in ledger.history(release.checkpoint.grant())? {
                release.see(&entry)?;
            }
            release.is_announced()?;
        }
        let exported = self
            .export
            .as_ref()
            .map(|folder| ledger.check_export(folder, key))
            .transpose()?;
        show(&head, key, &kept, output);
        if let (Some(folder), Some(checkpoint)) = (&self.export, &exported) {
            output.line(format!(
                "  {} has the first {} entries, unchanged",
                folder.display(),
                checkpoint.size
            ));
        }
        if kept.is_empty() && exported.is_none() {
            output.line(
                "a user who can write the ledger could have replaced it: only a checkpoint or a \
                 release kept elsewhere shows that",
            );
        }
        value(&head, key, &kept, exported.as_ref(), output);
        Ok(())
    }

    /// The folder, without a home.
    fn exported(
        &self,
        log: &ExportedLog,
        certificate: Option<Certificate>,
        output: &mut Output,
    ) -> Result<(), CliError> {
        let mut kept = self.kept(log.key(), certificate.as_ref())?;
        let checkpoints = kept.checkpoints();
        log.each_going_on_from(&checkpoints, |entry| {
            let mut releases = kept.releases.iter_mut();
            releases.try_for_each(|release| release.see(&entry))
        })?;
        let mut releases = kept.releases.iter();
        releases.try_for_each(Release::is_announced)?;
        let head = log.head();
        show(head, log.key(), &kept, output);
        output.line(format!("  read from {}", log.path().display()));
        if kept.is_empty() {
            output.line(
                "anyone with the log's key could have replaced it, and later entries may be \
                 missing: only a checkpoint or a release kept elsewhere shows that",
            );
        }
        value(head, log.key(), &kept, Some(head), output);
        Ok(())
    }

    fn kept(&self, key: &VerifierKey, certificate: Option<&Certificate>) -> Result<Kept, CliError> {
        let without = || {
            CommandError::Usage("--release needs the release certificate: `--cert FILE`".to_owned())
        };
        let now = Timestamp::now();
        let read = |path: &PathBuf| Release::read(path, certificate.ok_or_else(without)?, now);
        let releases = self.release.iter().map(read).collect::<Result<_, _>>()?;
        Ok(Kept {
            notes: read_kept(&self.checkpoint, key)?,
            releases,
        })
    }
}

/// What was kept elsewhere.
struct Kept {
    notes: Vec<(String, Checkpoint)>,
    releases: Vec<Release>,
}

impl Kept {
    fn is_empty(&self) -> bool {
        self.notes.is_empty() && self.releases.is_empty()
    }

    /// Each state of the log that is known from it, and where from.
    fn checkpoints(&self) -> Vec<(String, Checkpoint)> {
        let of_releases = self.releases.iter().map(|it| {
            (
                it.path.display().to_string(),
                it.checkpoint.checkpoint.clone(),
            )
        });
        self.notes.iter().cloned().chain(of_releases).collect()
    }
}

/// A release that was kept, as a checkpoint of the log.
struct Release {
    path: PathBuf,
    checkpoint: ReleaseCheckpoint,
}

impl Release {
    fn read(path: &Path, certificate: &Certificate, now: Timestamp) -> Result<Self, CliError> {
        let checkpoint =
            ReleaseCheckpoint::read(&Folder::open(path)?, certificate, now, &mut Bar::new());
        Ok(Self {
            path: path.to_owned(),
            checkpoint: checkpoint.map_err(|fault| refused(path, fault))?,
        })
    }

    fn see(&mut self, entry: &Entry) -> Result<(), CliError> {
        let seen = self.checkpoint.see(entry);
        seen.map_err(|fault| refused(&self.path, fault))
    }

    fn is_announced(&self) -> Result<(), CliError> {
        let announced = self.checkpoint.is_announced();
        announced.map_err(|fault| refused(&self.path, fault))
    }
}

fn refused(path: &Path, fault: NoCheckpoint) -> CliError {
    Within {
        what: format!("release `{}`", path.display()),
        error: fault,
    }
    .into()
}

fn show(head: &Checkpoint, key: &VerifierKey, kept: &Kept, output: &mut Output) {
    output.line(format!("{} entries, each as it was logged", head.size));
    output.line(format!("  root    {}", head.root));
    output.line(format!("  log key {key}"));
    for (name, checkpoint) in &kept.notes {
        output.line(format!(
            "  goes on from checkpoint {name} of {} entries",
            checkpoint.size
        ));
    }
    for release in &kept.releases {
        output.line(format!(
            "  goes on from release {}, announced in entry {}",
            release.path.display(),
            release.checkpoint.index()
        ));
    }
}

fn value(
    head: &Checkpoint,
    key: &VerifierKey,
    kept: &Kept,
    exported: Option<&Checkpoint>,
    output: &mut Output,
) {
    let checkpoint =
        |(name, it): &(String, Checkpoint)| json!({ "file": name, "entries": it.size });
    let release = |it: &Release| {
        json!({
            "folder": it.path.to_string_lossy(),
            "entries": it.checkpoint.checkpoint.size,
        })
    };
    output.value(json!({
        "entries": head.size,
        "root": head.root.to_string(),
        "log_key": key,
        "checkpoints": kept.notes.iter().map(checkpoint).collect::<Vec<_>>(),
        "releases": kept.releases.iter().map(release).collect::<Vec<_>>(),
        "exported": exported.map(|checkpoint| checkpoint.size),
    }));
}
