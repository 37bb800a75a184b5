//! In place of the commands of the signing host, where the program is built without them.

use std::path::Path;

use clap::Subcommand;

use super::error::CliError;
use super::global::Global;
use super::render::Output;

/// What the program is for.
pub(super) const ABOUT: &str = "Attest what was built, and verify what the signing host signed";

/// The end of its help.
pub(super) const AFTER_HELP: &str = "\
Exit codes: 0 done, 1 refused (a check failed), 2 usage or configuration,
            3 I/O trouble (try again), 70 a bug";

impl Global {
    /// There is no home that anything could be written into.
    pub(super) fn outside_home(&self, _: &Path) -> Result<(), CliError> {
        Ok(())
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {}

impl Command {
    pub(super) fn run(self, _: &Global, _: &mut Output) -> Result<(), CliError> {
        match self {}
    }
}

pub(super) mod options {
    use clap::Args;

    use crate::cli::error::CliError;
    use crate::domain::evidence::Scheme;
    use crate::domain::grant::Grant;
    use crate::domain::time::Timestamp;
    use crate::steps::builder::attest::Attestation;
    use crate::steps::builder::build_key::BuildKey;
    use crate::steps::evidence::builders::BuilderKey;

    #[derive(Debug, Args)]
    pub(in crate::cli) struct HomeOption {}

    /// Where the build key is.
    #[derive(Debug, Args)]
    pub(in crate::cli) struct KeyOption {
        /// Build key: file, `-` (standard input), or `credential:NAME` (systemd)
        #[arg(long, value_name = "FILE")]
        key: String,
    }

    impl KeyOption {
        pub(in crate::cli) fn on_token(
            &self,
            _: Option<&Grant>,
            _: Timestamp,
            _: &dyn Fn(BuildKey<'_>) -> Result<Attestation, CliError>,
        ) -> Option<Result<Attestation, CliError>> {
            None
        }

        pub(in crate::cli) fn key(&self) -> &str {
            &self.key
        }
    }

    #[derive(Debug, Args)]
    pub(in crate::cli) struct NewKeyOption {}

    impl NewKeyOption {
        pub(in crate::cli) fn generate(
            &self,
            _: Scheme,
            _: &str,
            _: Timestamp,
            _: Timestamp,
        ) -> Result<Option<(String, BuilderKey)>, CliError> {
            Ok(None)
        }
    }
}
