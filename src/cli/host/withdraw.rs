//! `countersign withdraw`

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::open::warn_of;
use super::options::WaitOption;
use super::push::{show_handed_over, withdrawal_not_pushed};
use super::reason::reason;
use super::token_words::warn_of_file_token;
use crate::cli::error::CliError;
use crate::cli::global::Global;
use crate::cli::render::Output;
use crate::domain::name::{ProjectName, Version};
use crate::domain::release::folder_name;
use crate::domain::reserved::WITHDRAWN;
use crate::files::parent;
use crate::steps::host::withdraw::Done;

/// Withdraw a release: sign and push a statement that says so
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  countersign withdraw foo 1.2.3 --reason 'the build machine was compromised'")]
pub(in crate::cli) struct Withdraw {
    /// Project
    project: ProjectName,
    /// Version
    version: Version,
    /// Reason, for everybody
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    reason: String,
    /// New folder for the statement [default: ./PROJECT-VERSION.withdrawal]
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    #[command(flatten)]
    wait: WaitOption,
}

impl Withdraw {
    pub(super) fn run(self, global: &Global, output: &mut Output) -> Result<(), CliError> {
        let mut host = global.host(self.wait)?;
        let (project, version) = (&self.project, &self.version);
        let default = || PathBuf::from(format!("{}{WITHDRAWN}", folder_name(project, version)));
        let folder = self.output.unwrap_or_else(default);
        global.outside_home(parent(&folder))?;
        warn_of_file_token(&host.home.config.token, output);
        let people = &mut self.wait.terminal_of(&host.home);
        let Done {
            statement,
            new,
            signed,
            handed_over,
        } = {
            let done = host.withdraw(project, version, self.reason, &folder, people);
            warn_of(&mut host, output);
            done?
        };
        let word = if new { "withdrew" } else { "withdrawn before:" };
        let by_token = if signed {
            "by the token now"
        } else {
            "kept from an earlier run"
        };
        output.line(format!("{word} {project} {version}"));
        output.line(format!("  reason     {}", statement.withdrawal.reason()));
        output.line(format!("  signature  {by_token}"));
        output.line(format!("  ledger     entry {}", statement.entry));
        output.line(format!("  statement  {}", folder.display()));
        let mut value = json!({
            "grant": statement.grant,
            "project": project,
            "version": version,
            "reason": statement.withdrawal.reason(),
            "new": new,
            "ledger_entry": statement.entry,
            "statement": folder.to_string_lossy(),
        });
        let name = statement.name();
        let failed = |error| withdrawal_not_pushed(&name, error);
        let result = show_handed_over(handed_over, failed, &mut value, output);
        output.value(value);
        result
    }
}
