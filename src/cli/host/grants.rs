//! `countersign grants`

mod diff;
mod list;
mod revoke;
mod show;
mod state;

use clap::{Args, Subcommand};

use crate::cli::error::CliError;
use crate::cli::global::Global;
use crate::cli::render::Output;
use crate::domain::time::Timestamp;
pub(super) use diff::show_differences;
pub(super) use show::{builder_keys, show_terms};

/// List, show, compare and revoke grants
#[derive(Debug, Args)]
#[command(disable_help_subcommand = true)]
pub(in crate::cli) struct Grants {
    #[command(subcommand)]
    command: GrantsCommand,
}

#[derive(Debug, Subcommand)]
enum GrantsCommand {
    List(list::List),
    Show(show::Show),
    Revoke(revoke::Revoke),
    Diff(diff::Diff),
}

impl Grants {
    pub(super) fn run(self, global: &Global, output: &mut Output) -> Result<(), CliError> {
        let now = Timestamp::now();
        match self.command {
            GrantsCommand::List(list) => list.run(&global.home()?, now, output),
            GrantsCommand::Show(show) => show.run(global, now, output),
            GrantsCommand::Revoke(revoke) => revoke.run(&global.home()?, now, output),
            GrantsCommand::Diff(diff) => diff.run(&global.home()?, now, output),
        }
    }
}
