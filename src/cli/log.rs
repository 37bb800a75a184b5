//! `countersign log`

mod list;
mod words;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use super::reconcile::Reconcile;
use super::render::{CliError, Output};
use crate::domain::event::{Entry, Event};
use crate::files::{FileError, FileFault, InputFile, replace};
use crate::home::Home;
use crate::ledger::Ledger;
use crate::steps::logged::digest_of;
use crate::tlog::checkpoint::Checkpoint;
use crate::tlog::note::{LARGEST_NOTE, VerifierKey};
use crate::tlog::proof::{LARGEST_PROOF, PROOF_SUFFIX, Proof};

/// Read the audit log, verify it, publish it, and prove what is in it
#[derive(Debug, Args)]
pub(super) struct Log {
    #[command(subcommand)]
    command: LogCommand,
}

#[derive(Debug, Subcommand)]
enum LogCommand {
    /// List the entries, one line each: all of them, or those that fit every filter
    #[command(after_help = "\
Examples:
  countersign log list
  countersign log list --project foo --since 14d-ago")]
    List(list::Filter),
    /// Show one entry in full
    #[command(after_help = "Example:\n  countersign log show 3")]
    Show {
        /// The entry's index
        index: u64,
    },
    /// Compute everything again from the entries, and compare it with what was kept elsewhere
    ///
    /// Finds each entry that was altered, removed, put elsewhere or added. Whoever can write the ledger can compute its
    /// hashes again too: that, and an older copy in its place, shows only in comparison with checkpoints kept elsewhere.
    #[command(after_help = "\
Examples:
  countersign log verify
  countersign log verify --checkpoint kept.checkpoint --export /srv/log")]
    Verify {
        /// A checkpoint that was kept elsewhere, as `log checkpoint` printed it; may be given several times
        #[arg(long, value_name = "FILE")]
        checkpoint: Vec<PathBuf>,
        /// A folder that `log export` wrote, or a copy of one
        #[arg(long, value_name = "DIR")]
        export: Option<PathBuf>,
    },
    /// Sign what the log is now, for somebody to keep: a C2SP checkpoint
    #[command(after_help = "Example:\n  countersign log checkpoint > kept.checkpoint")]
    Checkpoint,
    /// Write the log as static files for any web server (C2SP tlog-tiles); again, only what is new
    #[command(after_help = "Example:\n  countersign log export /srv/log")]
    Export {
        /// The folder
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
    /// Write a proof that the intent to sign a file is in the log (C2SP tlog-proof)
    ///
    /// `countersign verify --proof` checks it, with the log's public key.
    #[command(after_help = "Example:\n  countersign log prove foo-1.2.3/foo.tar.xz -o foo.tar.xz.tlog-proof")]
    Prove {
        /// An artifact of a release, its SHA256SUMS, or a signature
        file: PathBuf,
        /// Which entry is to be proved, if several speak of the file
        #[arg(long, value_name = "INDEX")]
        entry: Option<u64>,
        /// Where the proof goes [default: FILE.tlog-proof]
        #[arg(short, long, value_name = "PROOF")]
        output: Option<PathBuf>,
    },
    Reconcile(Reconcile),
}

impl Log {
    pub(super) fn run(self, home: &Path, output: &mut Output) -> Result<(), CliError> {
        let home = Home::open(home)?;
        let ledger = home.ledger()?;
        match self.command {
            LogCommand::Reconcile(reconcile) => reconcile.run(&home, output),
            LogCommand::List(filter) => filter.run(&ledger, output),
            LogCommand::Show { index } => show(&ledger, index, output),
            LogCommand::Verify { checkpoint, export } => {
                verify(&ledger, &home.config.log_key, &checkpoint, export.as_deref(), output)
            }
            LogCommand::Checkpoint => {
                let (head, note) = signed_head(&home, &ledger)?;
                note.lines().for_each(|line| output.line(line));
                output.value(json!({
                    "log_key": home.config.log_key, "size": head.size, "root": head.root.to_string(), "note": note,
                }));
                Ok(())
            }
            LogCommand::Export { folder } => {
                let (head, note) = signed_head(&home, &ledger)?;
                let done = ledger.export(&folder, &home.config.log_key, &head, &note)?;
                output.line(format!("{} entries in {}", done.size, folder.display()));
                match done.before {
                    Some(before) => output.line(format!("  {before} were there; {} files written", done.files)),
                    None => output.line(format!("  {} files written", done.files)),
                }
                output.line(format!("  log key {}", home.config.log_key));
                output.value(json!({
                    "folder": folder.to_string_lossy(), "entries": done.size, "entries_before": done.before, "files": done.files,
                    "log_key": home.config.log_key,
                }));
                Ok(())
            }
            LogCommand::Prove { file, entry, output: proof } => prove(&home, &ledger, &file, entry, proof, output),
        }
    }
}

fn show(ledger: &Ledger, index: u64, output: &mut Output) -> Result<(), CliError> {
    let entry: Entry = ledger.entry(index)?.ok_or(CliError::NoEntry(index))?;
    let text = serde_json::to_string_pretty(&entry).expect("an entry can be written as JSON");
    text.lines().for_each(|line| output.line(line));
    if matches!(&entry.event, Event::EvidenceAccepted { scheme, .. } if scheme.convinces_host_alone()) {
        output.line("note: this evidence convinces this signing host alone, which could have made the MACs itself");
    }
    output.value(entry);
    Ok(())
}

fn signed_head(home: &Home, ledger: &Ledger) -> Result<(Checkpoint, String), CliError> {
    let key = home.log_key()?;
    let head = ledger.head()?;
    let note = head.sign(&key);
    Ok((head, note))
}

fn verify(
    ledger: &Ledger,
    key: &VerifierKey,
    checkpoints: &[PathBuf],
    export: Option<&Path>,
    output: &mut Output,
) -> Result<(), CliError> {
    let mut kept = Vec::new();
    for path in checkpoints {
        let note = InputFile::open_named(path)?.read_whole(LARGEST_NOTE as u64)?;
        let checkpoint = Checkpoint::open(&note, key);
        let checkpoint = checkpoint.map_err(|fault| CliError::Checkpoint { path: path.clone(), fault })?;
        kept.push((path.display().to_string(), checkpoint));
    }
    let head = ledger.verify(key, &kept)?;
    let exported = export.map(|folder| ledger.check_export(folder, key)).transpose()?;
    output.line(format!("{} entries, each as it was logged", head.size));
    output.line(format!("  root    {}", head.root));
    output.line(format!("  log key {key}"));
    for (name, checkpoint) in &kept {
        output.line(format!("  goes on from checkpoint {name} of {} entries", checkpoint.size));
    }
    if let (Some(folder), Some(checkpoint)) = (export, &exported) {
        output.line(format!("  {} has the first {} entries, unchanged", folder.display(), checkpoint.size));
    }
    if kept.is_empty() && exported.is_none() {
        output
            .line("whoever can write the ledger could have made it anew: only a checkpoint kept elsewhere shows that");
    }
    output.value(json!({
        "entries": head.size,
        "root": head.root.to_string(),
        "log_key": key,
        "checkpoints": kept.iter().map(|(name, it)| json!({ "file": name, "entries": it.size })).collect::<Vec<_>>(),
        "exported": exported.map(|checkpoint| checkpoint.size),
    }));
    Ok(())
}

fn prove(
    home: &Home,
    ledger: &Ledger,
    file: &Path,
    entry: Option<u64>,
    proof: Option<PathBuf>,
    output: &mut Output,
) -> Result<(), CliError> {
    let digest = digest_of(file)?;
    let mut found = ledger.speaking_of(digest)?;
    found.retain(|index| entry.is_none_or(|wanted| wanted == *index));
    let index = match found[..] {
        [index] => index,
        [] => return Err(CliError::NotLogged { file: file.to_owned(), digest }),
        _ => return Err(CliError::SeveralEntries { file: file.to_owned(), entries: found }),
    };
    let (head, note) = signed_head(home, ledger)?;
    let proof = proof.unwrap_or_else(|| {
        let mut name = file.as_os_str().to_owned();
        name.push(PROOF_SUFFIX);
        name.into()
    });
    // It may be made anew as the log grows; nothing else is written over.
    match InputFile::open(&proof).and_then(|there| there.read_whole(LARGEST_PROOF)) {
        Err(FileError { fault: FileFault::Missing, .. }) => {}
        Ok(there) if Proof::parse(&there).is_ok() => {}
        Ok(_) | Err(_) => return Err(FileError { path: proof, fault: FileFault::Exists }.into()),
    }
    replace(&proof, ledger.prove(index, &head, note)?.to_text().as_bytes(), 0o644)?;
    output.line(format!("entry {index} speaks of {}", file.display()));
    output.line(format!("  proof   {}", proof.display()));
    output.line(format!("  log key {}", home.config.log_key));
    output.value(json!({
        "entry": index, "digest": digest, "size": head.size, "proof": proof.to_string_lossy(),
        "log_key": home.config.log_key,
    }));
    Ok(())
}
