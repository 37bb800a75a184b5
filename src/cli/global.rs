//! The options of every command.

use clap::Args;

use super::host::options::HomeOption;

#[derive(Debug, Args)]
pub(super) struct Global {
    #[command(flatten)]
    pub(super) home: HomeOption,
    /// Print the result as JSON on standard output, and an error as JSON on standard error
    #[arg(long, global = true, help_heading = "Global options")]
    pub(super) json: bool,
}
