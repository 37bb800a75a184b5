//! The command line: one file per subcommand with its arguments, one call into the steps, and the
//! wording of the result.

mod admit;
mod advice;
#[cfg(feature = "host")]
mod approve;
mod args;
mod attest;
mod build_key;
#[cfg(feature = "host")]
mod demo;
mod error;
mod global;
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

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use error::CliError;
use global::Global;
use render::Output;

/// Verify what a build machine made, then sign it with the release key on a token.
#[derive(Debug, Parser)]
#[cfg_attr(
    not(feature = "host"),
    command(about = "Say what was built, and verify what the signing host signed.")
)]
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

#[cfg_attr(
    not(feature = "host"),
    expect(unused_variables, reason = "no command of this binary has a home")
)]
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
