//! The command line: one file per subcommand with its arguments, one call into the steps, and the wording of the result.

mod admit;
mod advice;
#[cfg(feature = "host")]
mod approve;
mod attest;
mod build_key;
#[cfg(feature = "host")]
mod demo;
mod error;
#[cfg(feature = "host")]
mod grant;
#[cfg(feature = "host")]
mod grants;
#[cfg(feature = "host")]
mod host;
#[cfg(feature = "host")]
mod init;
#[cfg(feature = "host")]
mod key;
#[cfg(feature = "host")]
mod log;
mod progress;
#[cfg(feature = "host")]
mod prompt;
#[cfg(feature = "host")]
mod push;
#[cfg(feature = "host")]
mod reason;
mod render;
#[cfg(feature = "host")]
mod sign;
#[cfg(feature = "host")]
mod status;
#[cfg(feature = "host")]
mod token_words;
mod verify;

use std::path::Path;
#[cfg(feature = "host")]
use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, CommandFactory, Parser, Subcommand};
use serde_json::{Value, json};

use crate::domain::artifact::ArtifactList;
use crate::domain::evidence::Scheme;
use crate::domain::grant::{Grant, LARGEST_GRANT};
use crate::files::InputFile;
use crate::openpgp::{Certificate, LARGEST_CERTIFICATE};
use error::CliError;
use render::Output;

/// Verify what a build machine made, then sign it with the release key on a token.
#[derive(Debug, Parser)]
#[cfg_attr(not(feature = "host"), command(about = "Say what was built, and verify what the signing host signed."))]
#[command(name = "countersign", version, max_term_width = 110, after_help = EXIT_CODES)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[cfg(feature = "host")]
const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 refused (a check failed), 2 usage or configuration,
            3 token, repository or I/O trouble (try again), 70 a bug";

#[cfg(not(feature = "host"))]
const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 refused (a check failed), 2 usage or configuration,
            3 I/O trouble (try again), 70 a bug";

#[derive(Debug, Args)]
struct Global {
    /// Home of the signing host [default: $COUNTERSIGN_HOME, else countersign in the XDG data folder]
    #[cfg(feature = "host")]
    #[arg(long, global = true, value_name = "DIR", help_heading = "Global options")]
    home: Option<PathBuf>,
    /// Print the result as JSON on standard output, and an error as JSON on standard error
    #[arg(long, global = true, help_heading = "Global options")]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[cfg(feature = "host")]
    Init(init::Init),
    #[cfg(feature = "host")]
    Grant(grant::Grant),
    #[cfg(feature = "host")]
    Approve(approve::Approve),
    #[cfg(feature = "host")]
    Grants(grants::Grants),
    BuildKey(build_key::BuildKey),
    Attest(attest::Attest),
    #[cfg(feature = "host")]
    Sign(sign::Sign),
    #[cfg(feature = "host")]
    Push(push::Push),
    #[cfg(feature = "host")]
    Status(status::Status),
    Admit(admit::Admit),
    Verify(verify::Verify),
    #[cfg(feature = "host")]
    Log(log::Log),
    #[cfg(feature = "host")]
    Key(key::Key),
    #[cfg(feature = "host")]
    Demo(demo::Demo),
}

/// Runs the command that the process was started with.
pub fn run() -> ExitCode {
    let Cli { global, command } = Cli::parse();
    let mut output = Output::new(global.json);
    let result = dispatch(&global, command, &mut output);
    output.end(result)
}

#[cfg_attr(not(feature = "host"), expect(unused_variables, reason = "no command of this binary has a home"))]
fn dispatch(global: &Global, command: Command, output: &mut Output) -> Result<(), CliError> {
    match command {
        #[cfg(feature = "host")]
        Command::Init(init) => init.run(global, output),
        #[cfg(feature = "host")]
        Command::Grant(grant) => grant.run(global, output),
        #[cfg(feature = "host")]
        Command::Approve(approve) => approve.run(global, output),
        #[cfg(feature = "host")]
        Command::Grants(grants) => grants.run(global, output),
        Command::BuildKey(build_key) => build_key.run(output),
        Command::Attest(attest) => attest.run(output),
        #[cfg(feature = "host")]
        Command::Sign(sign) => sign.run(global, output),
        #[cfg(feature = "host")]
        Command::Push(push) => push.run(global, output),
        #[cfg(feature = "host")]
        Command::Status(status) => status.run(global, output),
        Command::Admit(admit) => admit.run(output),
        Command::Verify(verify) => verify.run(output),
        #[cfg(feature = "host")]
        Command::Log(log) => log.run(global, output),
        #[cfg(feature = "host")]
        Command::Key(key) => key.run(global, output),
        #[cfg(feature = "host")]
        Command::Demo(demo) => demo.run(),
    }
}

/// Ends the process after a panic, whose message stands on standard error already.
pub fn bug() -> ExitCode {
    render::bug()
}

/// The command line's definition, for what is generated from it.
pub fn command() -> clap::Command {
    Cli::command()
}

fn read_certificate(path: &Path) -> Result<Certificate, CliError> {
    let bytes = InputFile::open_named(path)?.read_whole(LARGEST_CERTIFICATE)?;
    Certificate::parse(&bytes).map_err(|fault| CliError::Certificate { path: path.to_owned(), fault })
}

/// A grant that somebody handed over as a file. It is what its bytes say; whether it was issued here is asked elsewhere.
fn read_grant_file(path: &Path) -> Result<Grant, CliError> {
    let bytes = InputFile::open_named(path)?.read_whole(LARGEST_GRANT)?;
    Grant::parse(&bytes).map_err(|fault| CliError::BadGrant { path: path.to_owned(), fault })
}

/// Artifacts, for programs.
fn artifact_values(artifacts: &ArtifactList) -> Vec<Value> {
    artifacts.iter().map(|artifact| json!({ "name": artifact.name, "sha256": artifact.digest })).collect()
}

fn scheme() -> impl TypedValueParser<Value = Scheme> {
    let named = |name: String| Scheme::ALL.into_iter().find(|it| it.name() == name).expect("it is one of those");
    PossibleValuesParser::new(Scheme::ALL.map(Scheme::name)).map(named)
}
