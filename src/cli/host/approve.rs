//! `countersign approve`

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Args;
use serde_json::json;

use super::grants::show_terms;
use super::open::{is_grant_id, read_grant, warn_of};
use super::options::WaitOption;
use super::programs;
use crate::cli::args::read_grant_file;
use crate::cli::error::{CliError, CommandError};
use crate::cli::global::Global;
use crate::cli::host::error::HostError;
use crate::cli::render::Output;
use crate::domain::grant::Grant;
use crate::files::{FileError, FileFault, is_there, parent, with_suffix};
use crate::steps::evidence::approval::NAMESPACE;
use crate::steps::host::approve::Recorded;

/// Approve a grant with your own key, or record approvals on the signing host
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  countersign approve foo-1.2.3.grant.json --ssh-key ~/.ssh/id_ed25519
  countersign approve foo-1.2.3.grant.json --signature foo-1.2.3.grant.json.sig")]
pub(in crate::cli) struct Approve {
    /// Grant file or, on the signing host, ID (8+ digits)
    grant: String,
    /// Record this approval on the signing host; repeatable
    #[arg(long, value_name = "FILE", conflicts_with_all = ["ssh_key", "gpg_key", "output", "yes"])]
    signature: Vec<PathBuf>,
    /// Sign with this SSH key
    #[arg(long, value_name = "FILE", conflicts_with = "gpg_key")]
    ssh_key: Option<PathBuf>,
    /// Sign with this OpenPGP key [default: gpg's default key]
    #[arg(long, value_name = "USER-ID")]
    gpg_key: Option<String>,
    /// Signature file [default: GRANT.sig]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    wait: WaitOption,
}

impl Approve {
    pub(super) fn run(self, global: &Global, output: &mut Output) -> Result<(), CliError> {
        if self.signature.is_empty() {
            self.sign(global, output)
        } else {
            self.record(global, output)
        }
    }

    fn record(self, global: &Global, output: &mut Output) -> Result<(), CliError> {
        let mut host = global.host(self.wait)?;
        let grant = read_grant(&self.grant, &host.home)?;
        let mut values = Vec::new();
        for path in &self.signature {
            let recorded = host.approve(&grant, path);
            warn_of(&mut host, output);
            let Recorded { approved, entry } = recorded?;
            output.line(format!(
                "{} approved grant {} with {}",
                approved.approver,
                grant.id().short(),
                approved.key
            ));
            output.line(format!("  ledger     entry {entry}"));
            values.push(json!({
                "approver": approved.approver,
                "key": approved.key,
                "ledger_entry": entry,
            }));
        }
        output.value(json!({
            "grant": grant.id(),
            "approvals": values,
            "needed": host.home.config.approvals,
        }));
        Ok(())
    }

    fn sign(self, global: &Global, output: &mut Output) -> Result<(), CliError> {
        if is_grant_id(&self.grant) {
            let text = "an approver signs the grant's file: give its path".to_owned();
            return Err(CommandError::Usage(text).into());
        }
        let grant = read_grant_file(Path::new(&self.grant))?;
        if let Some(key) = &self.ssh_key {
            // The public half alone will do: the other may be in an agent.
            let public = with_suffix(key, ".pub");
            if !key.exists() && !public.exists() {
                return Err(FileError::new(key, FileFault::Missing).into());
            }
        }
        let path = self
            .output
            .clone()
            .unwrap_or_else(|| PathBuf::from(format!("{}.sig", self.grant)));
        global.outside_home(parent(&path))?;
        if is_there(&path) {
            return Err(CommandError::Usage(format!(
                "`{}` exists already: move it away, or name another with `-o`",
                path.display()
            ))
            .into());
        }
        if !self.yes {
            let mut shown = Output::new(false);
            show_terms(&grant, &mut shown);
            consent(&grant, &shown)?;
        }
        let mut command = self.signer()?;
        let signature = signed_by(&mut command, grant.bytes())?;
        crate::files::write_new(&path, &signature, 0o644)?;
        output.line(format!(
            "signed grant {} of {} {}",
            grant.id(),
            grant.terms().project,
            grant.terms().version
        ));
        output.line(format!("  approval   {}", path.display()));
        output.line("next: send it to the signing host, and there run");
        output.line(format!(
            "  countersign approve {} --signature {}",
            grant.id().short(),
            path.display()
        ));
        output.value(json!({ "grant": grant.id(), "approval": path.to_string_lossy() }));
        Ok(())
    }

    /// The program that signs what it reads.
    fn signer(&self) -> Result<Command, HostError> {
        if let Some(key) = &self.ssh_key {
            let mut command = Command::new(program("ssh-keygen")?);
            command.args(["-q", "-Y", "sign", "-n", NAMESPACE, "-f"]);
            command.arg(key);
            return Ok(command);
        }
        let mut command = Command::new(program("gpg")?);
        command.args(["--quiet", "--detach-sign", "--output", "-"]);
        if let Some(key) = &self.gpg_key {
            command.args(["--local-user", key]);
        }
        Ok(command)
    }
}

fn program(name: &str) -> Result<PathBuf, HostError> {
    programs::of_system(name).ok_or_else(|| HostError::Signer {
        program: name.to_owned(),
        reason: "it is in none of the system's folders".to_owned(),
    })
}

/// Lets a program sign the grant's bytes. It gets them through a pipe, so that what was shown is
/// what is signed.
fn signed_by(command: &mut Command, bytes: &[u8]) -> Result<Vec<u8>, CliError> {
    let program = PathBuf::from(command.get_program());
    let failed = |reason: String| HostError::Signer {
        program: program.display().to_string(),
        reason,
    };
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = child.map_err(|error| failed(error.to_string()))?;
    let mut pipe = child.stdin.take().expect("its standard input is a pipe");
    let written = pipe.write_all(bytes);
    drop(pipe);
    let ended = child.wait_with_output().map_err(FileError::io(&program))?;
    if ended.status.success() && written.is_ok() && !ended.stdout.is_empty() {
        Ok(ended.stdout)
    } else {
        Err(failed(format!("it ended with {}", ended.status)).into())
    }
}

/// Asks for the version at the terminal: it is not typed by accident.
fn consent(grant: &Grant, shown: &Output) -> Result<(), CliError> {
    let no_terminal = || {
        CommandError::Usage(
            "there is no terminal to ask at; `--yes` approves without asking".to_owned(),
        )
    };
    let terminal = File::options()
        .read(true)
        .write(true)
        .open("/dev/tty")
        .map_err(|_| no_terminal())?;
    let terms = grant.terms();
    let project = &terms.project;
    let version = &terms.version;
    let mut to = &terminal;
    let asked = write!(
        to,
        "{}To approve {project} {version}, type its version: ",
        shown.text()
    );
    let mut line = String::new();
    asked
        .and_then(|()| BufReader::new(&terminal).read_line(&mut line))
        .map_err(|_| no_terminal())?;
    if line.trim() == version.as_str() {
        Ok(())
    } else {
        Err(HostError::NotApproved.into())
    }
}
