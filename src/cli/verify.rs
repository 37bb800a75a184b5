//! `countersign verify`

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::args::read_certificate;
use super::error::{CliError, CommandError};
use super::progress::Bar;
use super::render::Output;
use crate::domain::reserved::SUMS;
use crate::domain::signing::Coverage;
use crate::domain::time::Timestamp;
use crate::files::{FileError, InputFile};
use crate::location::source;
use crate::openpgp::{Certificate, Signed};
use crate::steps::release::error::ReleaseError;
use crate::steps::release::logged::{Logged, check_logged};
use crate::steps::release::single::verify_file;
use crate::steps::release::verify::examine_release;
use crate::tlog::note::VerifierKey;

/// Maximum size of a file with a log's public key, in bytes.
const LARGEST_LOG_KEY: u64 = 1000;

/// Verify a release, or single files of one
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  countersign verify --cert release.pgp foo-1.2.3/
  countersign verify --cert release.pgp \\
      --log-key log.vkey --proof foo.tlog-proof foo")]
pub(super) struct Verify {
    /// Release certificate
    #[arg(long, value_name = "FILE")]
    cert: PathBuf,
    /// Proof for the one FILE, from `log prove`
    #[arg(long, value_name = "PROOF", requires = "log_key")]
    proof: Option<PathBuf>,
    /// Public key of the log: `NAME+ID+BASE64`, or a file
    #[arg(long, value_name = "KEY|FILE", requires = "proof")]
    log_key: Option<String>,
    /// Release folder, or files beside their signatures (FILE.asc)
    #[arg(required = true, value_name = "DIR|FILE")]
    paths: Vec<PathBuf>,
}

impl Verify {
    pub(super) fn run(self, output: &mut Output) -> Result<(), CliError> {
        let certificate = read_certificate(&self.cert)?;
        let now = Timestamp::now();
        let mut tally = Tally::default();
        let paths = named(self.paths)?;
        let proof = self
            .proof
            .zip(self.log_key.map(|key| read_log_key(&key)).transpose()?);
        if proof.is_some() && (paths.len() != 1 || paths[0].is_dir()) {
            return Err(CommandError::Usage("--proof is about one file".to_owned()).into());
        }
        for path in paths {
            if path.is_dir() {
                folder(&path, &certificate, now, &mut tally, output)?;
                continue;
            }
            let result = verify_file(&path, &certificate, now, &mut Bar::new());
            let logged = match (&result, &proof) {
                (Ok((signed, digest)), Some((proof, key))) => {
                    Some(check_logged(proof, key, signed, *digest)?)
                }
                _ => None,
            };
            let result = result.map(|(signed, _)| signed);
            tally.file(&path.to_string_lossy(), &result, Coverage::Each, output);
            if let Some(logged) = logged {
                tally.logged(&logged, output);
            }
        }
        output.value(json!({ "results": tally.values }));
        match tally.refused {
            0 => Ok(()),
            refused => Err(CommandError::NotVerified {
                refused,
                all: tally.values.len(),
            }
            .into()),
        }
    }
}

/// The log's public key: the text itself, or the content of the file of that name.
pub(super) fn read_log_key(text: &str) -> Result<VerifierKey, CliError> {
    let fail = |fault| CommandError::Malformed {
        what: format!("log key `{text}`"),
        fault,
        help: "give the key as `countersign log export` prints it",
    };
    match text.parse() {
        Ok(key) => Ok(key),
        Err(fault) if !Path::new(text).exists() => Err(fail(fault).into()),
        Err(_) => {
            let line = InputFile::open_named(Path::new(text))?.read_whole(LARGEST_LOG_KEY)?;
            Ok(String::from_utf8_lossy(&line)
                .trim_end_matches('\n')
                .parse()
                .map_err(fail)?)
        }
    }
}

/// The files that were named, each once; for a signature the file that it is beside, so that `*`
/// means the files of a folder.
fn named(paths: Vec<PathBuf>) -> Result<Vec<PathBuf>, CliError> {
    let mut files = Vec::new();
    for path in paths {
        let signed = (path.extension() == Some("asc".as_ref()))
            .then(|| path.with_extension(""))
            .filter(|path| path.exists());
        let path = signed.unwrap_or(path);
        path.metadata().map_err(FileError::io(&path))?;
        if !files.contains(&path) {
            files.push(path);
        }
    }
    Ok(files)
}

#[derive(Default)]
struct Tally {
    refused: usize,
    values: Vec<serde_json::Value>,
}

impl Tally {
    /// That the signature of the file before was announced in the log.
    fn logged(&mut self, logged: &Logged, output: &mut Output) {
        let index = logged.entry.index;
        let size = logged.checkpoint.size;
        output.line(format!(
            "      announced in entry {index} of the log, one of {size}"
        ));
        if let Some(value) = self.values.last_mut() {
            value["log_entry"] = json!(index);
            value["log_size"] = json!(size);
        }
    }

    /// `coverage` says whether the signature is the file's own, or that of the list.
    fn file(
        &mut self,
        name: &str,
        result: &Result<Signed, ReleaseError>,
        coverage: Coverage,
        output: &mut Output,
    ) {
        match result {
            Ok(signed) if coverage == Coverage::ListOnly => {
                output.line(format!("good  {name}"));
                output.line("      as listed in SHA256SUMS");
                let grant = signed.grant();
                self.values.push(json!({
                    "name": name, "good": true, "listed": true,
                    "key": signed.key, "created": signed.created, "grant": grant,
                }));
            }
            Ok(signed) => {
                let grant = signed.grant();
                let under = grant.map_or_else(|| "no grant".to_owned(), |id| format!("grant {id}"));
                output.line(format!("good  {name}"));
                output.line(format!(
                    "      signed by {} at {} under {under}",
                    signed.key, signed.created
                ));
                self.values.push(json!({
                    "name": name, "good": true,
                    "key": signed.key, "created": signed.created, "grant": grant,
                }));
            }
            Err(error) => {
                self.refused += 1;
                output.line(format!("BAD   {name}"));
                output.line(format!("      {error}"));
                self.values
                    .push(json!({ "name": name, "good": false, "reason": error.to_string() }));
            }
        }
    }
}

fn folder(
    path: &Path,
    certificate: &Certificate,
    now: Timestamp,
    tally: &mut Tally,
    output: &mut Output,
) -> Result<(), CliError> {
    let report = match examine_release(&*source(path)?, certificate, now, &mut Bar::new()) {
        Ok(report) => report,
        Err(error) => {
            tally.file(&path.to_string_lossy(), &Err(error), Coverage::Each, output);
            return Ok(());
        }
    };
    let at = |name: &str| path.join(name).to_string_lossy().into_owned();
    let terms = report.grant.terms();
    output.line(format!("release {} {}", terms.project, terms.version));
    let builders = report
        .builders
        .iter()
        .map(|name| name.as_str())
        .collect::<Vec<_>>()
        .join(", ");
    output.line(format!(
        "  under grant {}, attested by {builders}",
        report.grant.id()
    ));
    if report.approvals > 0 {
        output.line(format!(
            "  with {} of the grant: who made them, its signing host knows",
            match report.approvals {
                1 => "1 approval".to_owned(),
                count => format!("{count} approvals"),
            }
        ));
    }
    if terms.scheme.convinces_host_alone() {
        output.line(
            "  its evidence is MACs: they convince the signing host alone, and are not checked \
             here",
        );
    }
    if report.coverage == Coverage::ListOnly {
        output.line("  signed as a whole: only SHA256SUMS carries a signature");
    }
    tally.file(&at(SUMS), &Ok(report.list), Coverage::Each, output);
    for file in &report.files {
        tally.file(&at(&file.name), &file.result, report.coverage, output);
    }
    Ok(())
}
