//! `countersign demo`

use std::path::PathBuf;
use std::process::Command;

use clap::Args;

use super::render::CliError;
use crate::files::FileError;
use crate::token::TokenUri;

const SCRIPT: &str = concat!(include_str!("demo/common.sh"), include_str!("demo/journey.sh"));

/// Show the whole journey on a software token, from grant to gpgv, in a folder of its own
///
/// Needs SoftHSM2, gpgv and sqv, and says which of them are missing. With --token, another token stands in for SoftHSM2:
/// the release key is made on it, and no key that is there is replaced.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  countersign demo demo/")]
pub(super) struct Demo {
    /// Make the release key on this token: `card:`, or a PKCS#11 URI with the name of the new key
    #[arg(long, value_name = "URI")]
    token: Option<TokenUri>,
    /// The folder to work in: made anew, and left for a look
    #[arg(default_value = "countersign-demo")]
    folder: PathBuf,
}

impl Demo {
    pub(super) fn run(self) -> Result<(), CliError> {
        let program = std::env::current_exe().map_err(FileError::io("countersign".as_ref()))?;
        let mut shell = Command::new("bash");
        shell.args(["-c", SCRIPT, "countersign demo"]).arg(program).arg(self.folder);
        shell.args(self.token.map(|token| token.to_string()));
        match shell.status().map_err(FileError::io("bash".as_ref()))? {
            status if status.success() => Ok(()),
            status => Err(CliError::Demo(status)),
        }
    }
}
