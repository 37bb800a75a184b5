//! The command line: one file per subcommand with its arguments, one call into the steps, and the
//! wording of the result.

mod admit;
mod args;
mod attest;
mod build_key;
mod error;
mod global;
#[cfg(feature = "host")]
mod host;
#[cfg(not(feature = "host"))]
#[path = "no_host.rs"]
mod host;
mod memory;
mod places;
mod progress;
mod render;
mod streams;
mod verify;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use error::CommandError;
use global::Global;
use render::Output;

#[derive(Debug, Parser)]
#[command(
    name = "countersign",
    about = host::ABOUT,
    version,
    max_term_width = 110,
    after_help = host::AFTER_HELP
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Host(host::Command),
    #[command(display_order = 5)]
    BuildKey(build_key::BuildKey),
    #[command(display_order = 6)]
    Attest(attest::Attest),
    #[command(display_order = 11)]
    Admit(admit::Admit),
    #[command(display_order = 12)]
    Verify(verify::Verify),
}

/// Runs the command that the process was started with.
pub fn run() -> ExitCode {
    let Cli { global, command } = match Cli::try_parse() {
        Ok(cli) => cli,
        // The answer to `--help` is not an error.
        Err(error) if error.use_stderr() && std::env::args_os().any(|it| it == "--json") => {
            let text = error.to_string();
            let text = text.strip_prefix("error: ").unwrap_or(&text).trim_end();
            return Output::new(true).end(Err(CommandError::Usage(text.to_owned()).into()));
        }
        Err(error) => error.exit(),
    };
    let mut output = Output::new(global.json);
    if global.json
        && let Err(error) = streams::keep_for_json()
    {
        return output.end(Err(CommandError::Unwritten(error).into()));
    }
    let result = match command {
        Command::Host(command) => command.run(&global, &mut output),
        Command::BuildKey(build_key) => build_key.run(&global, &mut output),
        Command::Attest(attest) => attest.run(&global, &mut output),
        Command::Admit(admit) => admit.run(&global, &mut output),
        Command::Verify(verify) => verify.run(&mut output),
    };
    output.end(result)
}

/// Ends the process after a panic, whose message is on standard error already.
pub fn bug() -> ExitCode {
    render::bug()
}

/// The command line's definition, for what is generated from it.
pub fn command() -> clap::Command {
    Cli::command()
}
