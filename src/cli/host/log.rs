//! `countersign log`

mod clock;
mod list;
mod reconcile;
mod source;
mod verify;
mod words;

use source::{FromExport, Source};

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use crate::cli::error::CliError;
use crate::cli::global::Global;
use crate::cli::host::error::HostError;
use crate::cli::host::options::WaitOption;
use crate::cli::render::Output;
use crate::domain::digest::Sha256;
use crate::domain::event::Event;
use crate::domain::key::HashAlgorithm;
use crate::files::{FileError, InputFile, parent, refuse_foreign, replace};
use crate::home::Home;
use crate::ledger::Ledger;
use crate::openpgp::HashState;
use crate::steps::host::export::{self, NotExported, signed_head};
use crate::tlog::proof::{LARGEST_PROOF, PROOF_SUFFIX, Proof};

/// Read, verify and publish the audit log
#[derive(Debug, Args)]
#[command(disable_help_subcommand = true)]
pub(in crate::cli) struct Log {
    #[command(subcommand)]
    command: LogCommand,
}

#[derive(Debug, Subcommand)]
enum LogCommand {
    List(list::List),
    /// Show one entry in full
    Show {
        /// Entry index
        index: u64,
        #[command(flatten)]
        from: FromExport,
    },
    Verify(verify::Verify),
    /// Sign a checkpoint of the log (C2SP), to keep elsewhere
    #[command(after_help = "Example:\n  countersign log checkpoint > kept.checkpoint")]
    Checkpoint,
    /// Write or update the log as static files (C2SP tlog-tiles)
    Export {
        /// Folder to write
        #[arg(value_name = "DIR")]
        folder: PathBuf,
        #[command(flatten)]
        wait: WaitOption,
    },
    /// Write a proof that the log announced a file's signature (C2SP tlog-proof)
    #[command(after_help = "Example:\n  countersign log prove foo-1.2.3/foo.tar.xz")]
    Prove {
        /// Artifact, SHA256SUMS, or signature
        file: PathBuf,
        /// Index of the entry, if several cover the file
        #[arg(long, value_name = "INDEX")]
        entry: Option<u64>,
        /// Proof file [default: FILE.tlog-proof in the current folder]
        #[arg(short, long, value_name = "PROOF")]
        output: Option<PathBuf>,
    },
    Reconcile(reconcile::Reconcile),
    Clock(clock::Clock),
}

impl Log {
    pub(super) fn run(self, global: &Global, output: &mut Output) -> Result<(), CliError> {
        match self.command {
            LogCommand::List(list) => list.run(global, output),
            LogCommand::Show { index, from } => show(&from.source(global)?, index, output),
            LogCommand::Verify(verify) => verify.run(global, output),
            LogCommand::Checkpoint => checkpoint(&global.home()?, output),
            LogCommand::Export { folder, wait } => export(&global.home()?, folder, wait, output),
            LogCommand::Prove {
                file,
                entry,
                output: proof,
            } => prove(global, &file, entry, proof, output),
            LogCommand::Reconcile(reconcile) => reconcile.run(global, output),
            LogCommand::Clock(clock) => clock.run(global, output),
        }
    }
}

fn show(log: &Source, index: u64, output: &mut Output) -> Result<(), CliError> {
    let entry = log.entry(index)?.ok_or(HostError::NoEntry(index))?;
    let text = serde_json::to_string_pretty(&entry).expect("an entry can be written as JSON");
    text.lines().for_each(|line| output.line(line));
    let by_macs = match &entry.event {
        Event::EvidenceAccepted { scheme, .. } => scheme.convinces_host_alone(),
        _ => false,
    };
    if by_macs {
        output.line(
            "note: this evidence convinces this signing host alone, which could have made the MACs \
             itself",
        );
    }
    output.value(entry);
    Ok(())
}

fn checkpoint(home: &Home, output: &mut Output) -> Result<(), CliError> {
    let (head, note) = signed_head(home, &home.ledger_to_read()?)?;
    note.lines().for_each(|line| output.line(line));
    output.value(json!({
        "log_key": home.config.log_key,
        "entries": head.size,
        "root": head.root.to_string(),
        "note": note,
    }));
    Ok(())
}

fn export(
    home: &Home,
    folder: PathBuf,
    wait: WaitOption,
    output: &mut Output,
) -> Result<(), CliError> {
    let done = export::export(&folder, home, &home.ledger_to_read()?, wait.for_commands());
    let done = done.map_err(|error| match error {
        NotExported::Home(error) => CliError::from(error),
        NotExported::Folder(error) | NotExported::Export(error) => error.into(),
    })?;
    output.line(format!("{} entries in {}", done.size, folder.display()));
    match done.before {
        Some(before) => output.line(format!(
            "  {before} were there; {} files written",
            done.files
        )),
        None => output.line(format!("  {} files written", done.files)),
    }
    output.line(format!("  log key {}", home.config.log_key));
    output.value(json!({
        "folder": folder.to_string_lossy(),
        "entries": done.size,
        "entries_before": done.before,
        "files": done.files,
        "log_key": home.config.log_key,
    }));
    Ok(())
}

/// The entries that announce a file with this digest, one for each intent: of the entries of an
/// intent of very many artifacts, the one that has the file's name. With `wanted`, only that entry,
/// or those of that intent: each signature names its intent.
fn announced(
    ledger: &Ledger,
    name: &str,
    digest: Sha256,
    wanted: Option<u64>,
) -> Result<Vec<u64>, CliError> {
    let event = |index| Ok::<_, CliError>(ledger.entry(index)?.map(|entry| entry.event));
    let intended = match wanted.map(event).transpose()?.flatten() {
        Some(Event::Intent(intent)) => Some(intent.grant),
        _ => None,
    };
    let mut found = BTreeMap::new();
    for index in ledger.covering(digest)? {
        let event = event(index)?;
        let grant = event.as_ref().and_then(Event::grant);
        let is_of_others = match &event {
            Some(Event::Artifacts(part)) => !part
                .artifacts
                .keys()
                .any(|artifact| artifact.as_str() == name),
            _ => false,
        };
        if wanted.is_none_or(|wanted| wanted == index || intended.is_some() && intended == grant) {
            let best = found.entry(grant).or_insert((is_of_others, index));
            *best = (*best).min((is_of_others, index));
        }
    }
    let mut found: Vec<_> = found.into_values().map(|(_, index)| index).collect();
    found.sort_unstable();
    Ok(found)
}

/// The SHA-256 of a file, whatever its size.
fn digest_of(path: &Path) -> Result<Sha256, FileError> {
    let mut state = HashState::new(HashAlgorithm::Sha256);
    InputFile::open_named(path)?.read_once::<FileError>(u64::MAX, |piece| {
        state.update(piece);
        Ok(())
    })?;
    Ok(state.sha256())
}

fn prove(
    global: &Global,
    file: &Path,
    entry: Option<u64>,
    proof: Option<PathBuf>,
    output: &mut Output,
) -> Result<(), CliError> {
    let home = &global.home()?;
    let ledger = home.ledger_to_read()?;
    let digest = digest_of(file)?;
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let found = announced(&ledger, &name, digest, entry)?;
    let index = match found[..] {
        [index] => index,
        [] => {
            return Err(HostError::NotLogged {
                file: file.to_owned(),
                digest,
            }
            .into());
        }
        _ => {
            return Err(HostError::SeveralEntries {
                file: file.to_owned(),
                entries: found,
            }
            .into());
        }
    };
    let (head, note) = signed_head(home, &ledger)?;
    // Not beside the file: in a release it would be a file too many.
    let proof = proof.unwrap_or_else(|| {
        let mut name = file.file_name().unwrap_or_default().to_owned();
        name.push(PROOF_SUFFIX);
        name.into()
    });
    global.outside_home(parent(&proof))?;
    // It may be made anew as the log grows; nothing else is written over.
    refuse_foreign(&proof, LARGEST_PROOF, |there| Proof::parse(there).is_ok())?;
    replace(
        &proof,
        ledger.prove(index, &head, note)?.to_text().as_bytes(),
        0o644,
    )?;
    output.line(format!("entry {index} covers {}", file.display()));
    output.line(format!("  proof   {}", proof.display()));
    output.line(format!("  log key {}", home.config.log_key));
    output.value(json!({
        "entry": index,
        "digest": digest,
        "entries": head.size,
        "proof": proof.to_string_lossy(),
        "log_key": home.config.log_key,
    }));
    Ok(())
}
