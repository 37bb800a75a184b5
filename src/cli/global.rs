//! The options of every command.

#[cfg(feature = "host")]
use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub(super) struct Global {
    /// Home of the signing host [default: $COUNTERSIGN_HOME, else countersign in the XDG data
    /// folder]
    #[cfg(feature = "host")]
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        help_heading = "Global options"
    )]
    pub(super) home: Option<PathBuf>,
    /// Print the result as JSON on standard output, and an error as JSON on standard error
    #[arg(long, global = true, help_heading = "Global options")]
    pub(super) json: bool,
}
