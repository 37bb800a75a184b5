//! `countersign verify`

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::args::{read_certificate, read_policy};
use super::error::{CliError, CommandError};
use super::places::{folders, own_name};
use super::progress::Bar;
use super::render::Output;
use crate::domain::digest::GrantId;
use crate::domain::name::{ProjectName, Version};
use crate::domain::release::folder_name;
use crate::domain::reserved::{SUMS, WITHDRAWN};
use crate::domain::signing::{Claims, ReleaseForm, SignedFile};
use crate::domain::time::Timestamp;
use crate::files::{FileError, InputFile, is_there};
use crate::location::source;
use crate::openpgp::{Certificate, Signed};
use crate::steps::release::error::ReleaseError;
use crate::steps::release::logged::{Logged, check_logged};
use crate::steps::release::policy::Verifier;
use crate::steps::release::single::{VerifiedFile, verify_file};
use crate::steps::release::verify::{ReleaseReport, examine_release};
use crate::steps::release::wanted::Wanted;
use crate::steps::release::withdrawal::Withdrawn;
use crate::tlog::note::VerifierKey;

/// Maximum size of a file with a log's public key, in bytes.
const LARGEST_LOG_KEY: u64 = 1000;

/// Verify a release, or single files of one
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  countersign verify --cert release.pgp foo-1.2.3/
  countersign verify --cert release.pgp --project foo --version 1.2.3 dl/
  countersign verify --cert release.pgp \\
      --log-key log.vkey --proof foo.tlog-proof foo")]
pub(super) struct Verify {
    /// Release certificate
    #[arg(long, value_name = "FILE")]
    cert: PathBuf,
    /// Policy: which of the valid releases to accept (JSON)
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Project [default: the folder is called PROJECT-VERSION]
    #[arg(long, value_name = "PROJECT")]
    project: Option<ProjectName>,
    /// Version
    #[arg(long, value_name = "VERSION", requires = "project")]
    version: Option<Version>,
    /// Proof for the one FILE, from `log prove`
    #[arg(long, value_name = "PROOF", requires = "log_key")]
    proof: Option<PathBuf>,
    /// Public key of the log: `NAME+ID+BASE64`, or a file
    #[arg(long, value_name = "KEY|FILE", requires = "proof")]
    log_key: Option<String>,
    /// Folder of a withdrawal [default: PROJECT-VERSION.withdrawal beside the release]
    #[arg(long, value_name = "DIR")]
    withdrawal: Option<PathBuf>,
    /// Show files, grant and builders
    #[arg(long)]
    verbose: bool,
    /// Release folder, or files beside their signatures (FILE.asc)
    #[arg(required = true, value_name = "DIR|FILE")]
    paths: Vec<PathBuf>,
}

impl Verify {
    pub(super) fn run(self, output: &mut Output) -> Result<(), CliError> {
        let certificate = read_certificate(&self.cert)?;
        let verifier = Verifier {
            certificate: &certificate,
            policy: &read_policy(self.policy.as_deref())?,
            now: Timestamp::now(),
        };
        let mut tally = Tally::new(&certificate);
        let paths = named(self.paths)?;
        let proof = self
            .proof
            .zip(self.log_key.map(|key| read_log_key(&key)).transpose()?);
        if proof.is_some() && (paths.len() != 1 || paths[0].is_dir()) {
            return Err(CommandError::Usage("--proof is about one file".to_owned()).into());
        }
        let given = self.withdrawal.as_deref();
        let version = self.version;
        let asked = self
            .project
            .map(|project| Wanted::Asked { project, version });
        for path in &paths {
            if path.is_dir() {
                let wanted = match &asked {
                    Some(asked) => asked.clone(),
                    None => Wanted::Named(own_name(path)?),
                };
                let source = source(path)?;
                let result = examine_release(&*source, &verifier, &wanted, &mut Bar::new());
                let result = result.and_then(|report| {
                    check_not_withdrawn(&report.claims, path, given, &verifier, output)?;
                    Ok(report)
                });
                tally.release(path, result);
                continue;
            }
            let wanted = asked.as_ref().unwrap_or(&Wanted::Any);
            let result = verify_file(path, &verifier, wanted, proof.is_some(), &mut Bar::new());
            let result = result.and_then(|file| {
                check_not_withdrawn(&file.claims, path, given, &verifier, output)?;
                Ok(file)
            });
            let logged = match (&result, &proof) {
                (Ok(file), Some((proof, key))) => {
                    Some(check_logged(proof, key, &file.signed, file.digest)?)
                }
                _ => None,
            };
            tally.file(path, result, logged);
        }
        tally.end(paths.len(), self.verbose, output)
    }
}

/// Refuses a release, or a file of it, if the statement that it is withdrawn is at hand: the one
/// that was given, and those beside its folder, with links in its path and without.
fn check_not_withdrawn(
    claims: &Claims,
    path: &Path,
    given: Option<&Path>,
    verifier: &Verifier<'_>,
    output: &Output,
) -> Result<(), ReleaseError> {
    if claims.file == SignedFile::Withdrawal {
        return Ok(());
    }
    let name = format!(
        "{}{WITHDRAWN}",
        folder_name(&claims.project, &claims.version)
    );
    let folders = folders(path).map_err(|error| ReleaseError::Source(error.into()))?;
    let beside: Vec<_> = folders
        .iter()
        .map(|folder| folder.with_file_name(&name))
        .filter(|beside| is_there(beside))
        .collect();
    for place in given.into_iter().chain(beside.iter().map(PathBuf::as_path)) {
        let source = source(place).map_err(|error| ReleaseError::Source(error.into()))?;
        let withdrawn = Withdrawn::read(&*source, verifier.certificate, verifier.now);
        let withdrawn = withdrawn.map_err(|error| match error {
            ReleaseError::Source(_) => error,
            error => ReleaseError::Content(format!(
                "the withdrawal in `{}` is invalid, so ask where the release comes from whether it \
                 is withdrawn: {error}",
                place.display()
            )),
        })?;
        let it = &withdrawn.withdrawal;
        if (&it.project, &it.version) == (&claims.project, &claims.version) {
            return Err(withdrawn.refusal());
        }
        output.warn(&format!(
            "the withdrawal in `{}` is of {} {}, not of {} {}",
            place.display(),
            it.project,
            it.version,
            claims.project,
            claims.version
        ));
    }
    Ok(())
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

/// What was verified: the verdict on each path, and what is behind it.
struct Tally<'a> {
    certificate: &'a Certificate,
    verdicts: Vec<Verdict>,
    values: Vec<Value>,
    releases: Vec<Value>,
    /// How many files there are, and how many are refused; a folder that cannot be judged is one.
    all: usize,
    refused: usize,
    /// Something that may be good, but is not what was asked for.
    unwanted: Option<ReleaseError>,
}

/// The line on one path, and lines below it.
struct Verdict {
    good: bool,
    text: String,
    /// What is wrong with it.
    faults: Vec<String>,
    /// What is there to know beside that.
    details: Vec<String>,
}

impl<'a> Tally<'a> {
    fn new(certificate: &'a Certificate) -> Self {
        Self {
            certificate,
            verdicts: Vec::new(),
            values: Vec::new(),
            releases: Vec::new(),
            all: 0,
            refused: 0,
            unwanted: None,
        }
    }

    /// A single file, and whether its signature was announced in the log.
    fn file(
        &mut self,
        path: &Path,
        result: Result<VerifiedFile, ReleaseError>,
        logged: Option<Logged>,
    ) {
        let shown = path.to_string_lossy();
        match result {
            Ok(VerifiedFile { signed, claims, .. }) => {
                self.all += 1;
                let is = if claims.file == SignedFile::Withdrawal {
                    "withdraws"
                } else {
                    "of"
                };
                let mut text = format!("{shown} {is} {} {}", claims.project, claims.version);
                let mut value = signed_value(&shown, &signed, claims.grant);
                value["project"] = json!(claims.project);
                value["version"] = json!(claims.version);
                let mut details = vec![
                    format!("signed     by {} at {}", signed.key, signed.created),
                    format!("grant      {}", claims.grant),
                ];
                if let Some(logged) = logged {
                    let index = logged.entry.index;
                    let size = logged.checkpoint.size;
                    text += &format!(", announced in entry {index} of the log,");
                    details.push(format!("log        {size} entries"));
                    value["log_entry"] = json!(index);
                    value["log_size"] = json!(size);
                }
                self.values.push(value);
                self.good(&text, details);
            }
            Err(error) => self.bad(&shown, error),
        }
    }

    /// A release in a folder.
    fn release(&mut self, path: &Path, result: Result<ReleaseReport, ReleaseError>) {
        let shown = path.to_string_lossy();
        let report = match result {
            Ok(report) => report,
            Err(error) => return self.bad(&shown, error),
        };
        let listed = report.contents.form == ReleaseForm::ListOnly;
        let grant = report.grant.id();
        let at = |name: &str| path.join(name).to_string_lossy().into_owned();
        self.values
            .push(signed_value(&at(SUMS), &report.list, grant));
        let mut details = details(&report);
        let mut faults = Vec::new();
        for file in &report.files {
            let name = &file.name;
            match &file.result {
                Ok(signed) => {
                    details.push(format!("good       {name}"));
                    let mut value = signed_value(&at(name), signed, grant);
                    if listed {
                        value["listed"] = json!(true);
                    }
                    self.values.push(value);
                }
                Err(error) => {
                    faults.push(format!("{name}: {error}"));
                    self.values.push(bad_value(&at(name), error));
                }
            }
        }
        self.releases.push(release_value(
            &shown,
            &report,
            self.certificate,
            faults.is_empty(),
        ));
        let files = report.contents.artifacts().len();
        self.all += files;
        if faults.is_empty() {
            let macs = if report.grant.terms().scheme.convinces_host_alone() {
                ", attested by MACs"
            } else {
                ""
            };
            let text = format!(
                "{} {} ({}{macs})",
                report.contents.project,
                report.contents.version,
                counted(files, "file", "files")
            );
            return self.good(&text, details);
        }
        self.refused += faults.len();
        self.verdicts.push(Verdict {
            good: false,
            text: format!("{shown}: {} of {files} files", faults.len()),
            faults,
            details,
        });
    }

    fn good(&mut self, text: &str, details: Vec<String>) {
        let user_ids = self.certificate.user_ids();
        let user_id = user_ids.first().map_or("", String::as_str);
        let fingerprint = self.certificate.fingerprint();
        self.verdicts.push(Verdict {
            good: true,
            text: format!("{text} by {fingerprint} {user_id}"),
            faults: Vec::new(),
            details,
        });
    }

    fn bad(&mut self, path: &str, error: ReleaseError) {
        self.all += 1;
        self.refused += 1;
        self.values.push(bad_value(path, &error));
        self.verdicts.push(Verdict {
            good: false,
            text: path.to_owned(),
            faults: vec![error.to_string()],
            details: Vec::new(),
        });
        if let ReleaseError::Unnamed { .. }
        | ReleaseError::Policy(_)
        | ReleaseError::Withdrawn { .. } = error
        {
            self.unwanted = Some(error);
        }
    }

    /// The verdict comes first: on the one path, or on all of them.
    fn end(self, paths: usize, verbose: bool, output: &mut Output) -> Result<(), CliError> {
        let all = self.all;
        if paths > 1 {
            match self.refused {
                0 => output.line(format!("good  all {paths}")),
                refused => output.line(format!("BAD   {refused} of {all}")),
            }
        }
        for verdict in &self.verdicts {
            let word = if verdict.good { "good" } else { "BAD " };
            output.line(format!("{word}  {}", verdict.text));
            let faults = verdict.faults.iter();
            let details = verdict.details.iter().filter(|_| verbose);
            for line in faults.chain(details) {
                output.line(format!("      {line}"));
            }
        }
        output.value(json!({ "results": self.values, "releases": self.releases }));
        match (self.refused, self.unwanted) {
            (0, _) => Ok(()),
            // That is all that is wrong.
            (1, Some(error)) => Err(error.into()),
            (refused, _) => Err(CommandError::NotVerified { refused, all }.into()),
        }
    }
}

fn details(report: &ReleaseReport) -> Vec<String> {
    let builders: Vec<_> = report.evidence.keys().map(|it| it.as_str()).collect();
    let list = &report.list;
    let mut details = vec![
        format!("signed     by {} at {}", list.key, list.created),
        format!("grant      {}", report.grant.id()),
        format!("attested   by {}", builders.join(", ")),
    ];
    if report.approvals > 0 {
        details.push(format!(
            "approved   by {}: who they are, its signing host knows",
            counted(report.approvals, "person", "people")
        ));
    }
    if report.grant.terms().scheme.convinces_host_alone() {
        details.push(
            "evidence   MACs: they convince the signing host alone, and are not checked here"
                .to_owned(),
        );
    }
    if report.contents.form == ReleaseForm::ListOnly {
        details.push("form       only SHA256SUMS is signed".to_owned());
    }
    details
}

fn signed_value(name: &str, signed: &Signed, grant: GrantId) -> Value {
    json!({
        "name": name, "good": true,
        "key": signed.key, "created": signed.created, "grant": grant,
    })
}

fn bad_value(name: &str, error: &ReleaseError) -> Value {
    json!({ "name": name, "good": false, "reason": error.to_string() })
}

fn release_value(
    folder: &str,
    report: &ReleaseReport,
    certificate: &Certificate,
    good: bool,
) -> Value {
    let terms = report.grant.terms();
    json!({
        "folder": folder,
        "good": good,
        "project": report.contents.project,
        "version": report.contents.version,
        "form": report.contents.form,
        "grant": report.grant.id(),
        "sums": report.sums,
        "builders": report.evidence.keys().collect::<Vec<_>>(),
        "scheme": terms.scheme,
        "convinces_host_alone": terms.scheme.convinces_host_alone(),
        "approvals": report.approvals,
        "certificate": certificate.fingerprint(),
        "user_ids": certificate.user_ids(),
        "key": report.list.key,
        "created": report.list.created,
    })
}

fn counted(number: usize, one: &str, several: &str) -> String {
    match number {
        1 => format!("1 {one}"),
        number => format!("{number} {several}"),
    }
}
