//! The commands of the signing host.

mod approve;
mod error;
mod grant;
mod grants;
pub(super) mod init;
mod key;
mod list;
mod log;
mod open;
pub(super) mod options;
mod programs;
pub(super) mod prompt;
mod push;
mod reason;
mod sign;
mod since;
mod status;
mod token_words;
mod withdraw;

use clap::Subcommand;

use crate::cli::error::CliError;
use crate::cli::global::Global;
use crate::cli::render::Output;

/// What the program is for.
pub(super) const ABOUT: &str = "Verify builds, then sign them with the release key on a token";

/// The end of its help.
pub(super) const AFTER_HELP: &str = "\
Signing host's home: --home <DIR>, else $COUNTERSIGN_HOME,
                     else $XDG_DATA_HOME/countersign

Exit codes: 0 done, 1 refused (a check failed), 2 usage or configuration,
            3 token, repository or I/O trouble (try again),
            4 not yet (something is still to come: try again), 70 a bug";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    #[command(display_order = 1)]
    Init(init::Init),
    #[command(display_order = 2)]
    Grant(grant::Grant),
    #[command(display_order = 3)]
    Approve(approve::Approve),
    #[command(display_order = 4)]
    Grants(grants::Grants),
    #[command(display_order = 7)]
    Sign(sign::Sign),
    #[command(display_order = 8)]
    Push(push::Push),
    #[command(display_order = 9)]
    Withdraw(withdraw::Withdraw),
    #[command(display_order = 10)]
    Status(status::Status),
    #[command(display_order = 13)]
    Log(log::Log),
    #[command(display_order = 14)]
    Key(key::Key),
}

impl Command {
    pub(super) fn run(self, global: &Global, output: &mut Output) -> Result<(), CliError> {
        match self {
            Self::Init(init) => init.run(global, output),
            Self::Grant(grant) => grant.run(global, output),
            Self::Approve(approve) => approve.run(global, output),
            Self::Grants(grants) => grants.run(global, output),
            Self::Sign(sign) => sign.run(global, output),
            Self::Push(push) => push.run(global, output),
            Self::Withdraw(withdraw) => withdraw.run(global, output),
            Self::Status(status) => status.run(global, output),
            Self::Log(log) => log.run(global, output),
            Self::Key(key) => key.run(global, output),
        }
    }
}
