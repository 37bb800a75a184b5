//! `countersign demo`

use std::path::PathBuf;
use std::process::Command;

use clap::{Args, ValueEnum};

use crate::cli::error::{CliError, HostError};
use crate::files::FileError;
use crate::token::TokenUri;

/// Show the whole journey on a software token, from grant to gpgv, in a folder of its own
///
/// Needs SoftHSM2, gpgv and sqv, and says which of them are missing. With --token, another token
/// stands in for SoftHSM2: the release key is made on it, and no key that is there is replaced.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  countersign demo demo/
  countersign demo --scenario quorum demo/")]
pub(in crate::cli) struct Demo {
    /// What to show
    #[arg(long, value_enum, default_value_t = Scenario::Journey)]
    scenario: Scenario,
    /// Make the release key on this token: `card:`, or a PKCS#11 URI with the name of the new key
    #[arg(long, value_name = "URI")]
    token: Option<TokenUri>,
    /// The folder to work in: made anew, and left for a look
    #[arg(default_value = "countersign-demo")]
    folder: PathBuf,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Scenario {
    /// One builder and its release
    Journey,
    /// Three builders of one source, one of them compromised
    Quorum,
}

impl Scenario {
    fn script(self) -> &'static str {
        match self {
            Self::Journey => concat!(
                include_str!("demo/common.sh"),
                include_str!("demo/journey.sh")
            ),
            Self::Quorum => concat!(
                include_str!("demo/common.sh"),
                include_str!("demo/quorum.sh")
            ),
        }
    }
}

impl Demo {
    pub(super) fn run(self) -> Result<(), CliError> {
        let program = std::env::current_exe().map_err(FileError::io("countersign".as_ref()))?;
        let mut shell = Command::new("bash");
        shell
            .args(["-c", self.scenario.script(), "countersign demo"])
            .arg(program)
            .arg(self.folder);
        shell.args(self.token.map(|token| token.to_string()));
        match shell.status().map_err(FileError::io("bash".as_ref()))? {
            status if status.success() => Ok(()),
            status => Err(HostError::Demo(status).into()),
        }
    }
}
