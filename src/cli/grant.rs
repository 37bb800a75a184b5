//! `countersign grant`

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::render::{CliError, Output};
use crate::domain::grant::{Limits, NamePattern, Source};
use crate::domain::name::{BuilderName, ProjectName, Version};
use crate::domain::time::{Period, Timestamp};
use crate::home::Home;
use crate::steps::grant::{GrantRequest, issue};

/// Approve one build: write the grant, and a build key for each builder
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  countersign grant foo 1.2.3 --artifact 'foo*1.2.3*' --valid-for 2h")]
pub(super) struct Grant {
    /// What is built
    project: ProjectName,
    /// Its version
    version: Version,
    /// A pattern for artifact names (`*`, `?`, `[a-z]`, `{a,b}`); may be repeated [default: *]
    #[arg(long = "artifact", value_name = "GLOB")]
    artifacts: Vec<NamePattern>,
    /// A builder's name; may be repeated, each gets a key of its own [default: builder]
    #[arg(long = "builder", value_name = "NAME")]
    builders: Vec<BuilderName>,
    /// How long the grant counts from now on: 90m, 6h, 14d [default: valid_for in config.toml]
    #[arg(long, value_name = "TIME")]
    valid_for: Option<Period>,
    /// The most artifacts [default: max_count in config.toml]
    #[arg(long, value_name = "N")]
    max_count: Option<u32>,
    /// The most bytes of all artifacts together [default: max_bytes in config.toml]
    #[arg(long, value_name = "N")]
    max_bytes: Option<u64>,
    /// Where the source is, noted in the grant
    #[arg(long, value_name = "URI")]
    source_uri: Option<String>,
    /// Which source it is, noted in the grant: a commit or a digest
    #[arg(long, value_name = "DIGEST", requires = "source_uri")]
    source_digest: Option<String>,
    /// Write the grant and the keys into this folder
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    output: PathBuf,
}

impl Grant {
    pub(super) fn run(self, home: &Path, output: &mut Output) -> Result<(), CliError> {
        let home = Home::open(home)?;
        let lock = home.lock()?;
        let config = &home.config;
        let or = |given: Vec<_>, default: &str| match given.is_empty() {
            true => vec![default.parse().expect("the default is a pattern")],
            false => given,
        };
        let builders = match self.builders.is_empty() {
            true => vec!["builder".parse().expect("the default is a name")],
            false => self.builders,
        };
        let request = GrantRequest {
            project: self.project,
            version: self.version,
            source: self.source_uri.map(|uri| Source { uri, digest: self.source_digest }),
            builders,
            artifacts: Limits {
                names: or(self.artifacts, "*"),
                max_count: self.max_count.unwrap_or(config.max_count),
                max_bytes: self.max_bytes.unwrap_or(config.max_bytes),
            },
            valid_for: self.valid_for.unwrap_or(config.valid_for),
        };
        let issued = issue(request, &home, &lock, &self.output, Timestamp::now())?;

        let terms = issued.grant.terms();
        if !issued.earlier.is_empty() {
            let entries = issued.earlier.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
            let (project, version) = (&terms.project, &terms.version);
            output.warn(&format!("{project} {version} was granted before, in ledger entries {entries}: two builds can now be signed as it"));
        }
        if issued.outlives_key {
            output.warn("the release key's certificate expires before this grant; see `countersign key extend`");
        }
        output.line(format!("granted {} {} until {}", terms.project, terms.version, terms.expires));
        output.line(format!("  id         {}", issued.grant.id()));
        output.line(format!("  grant      {}", issued.grant_path.display()));
        for (builder, path) in &issued.keys {
            output.line(format!("  build key  {} (for builder {builder}, secret)", path.display()));
        }
        output.line("next: hand each build key to its builder as a secret, remove it here, and let the builder run");
        for (_, path) in &issued.keys {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            output.line(format!("  countersign attest --key {name} ARTIFACT..."));
        }
        output.value(json!({
            "grant": issued.grant.id(),
            "grant_file": issued.grant_path,
            "project": terms.project,
            "version": terms.version,
            "not_before": terms.not_before,
            "expires": terms.expires,
            "build_keys": issued.keys.iter().map(|(builder, path)| json!({ "builder": builder, "file": path })).collect::<Vec<_>>(),
            "ledger_entry": issued.entry,
            "earlier_entries": issued.earlier,
        }));
        Ok(())
    }
}
