//! The options of every command.

use clap::Args;

use super::host::options::HomeOption;

#[derive(Debug, Args)]
pub(super) struct Global {
    #[command(flatten)]
    pub(super) home: HomeOption,
    /// Print JSON
    #[arg(long, global = true, display_order = 998)]
    pub(super) json: bool,
}
