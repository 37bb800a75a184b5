//! `countersign grant`

use std::path::PathBuf;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde_json::json;

use super::grants::builder_keys;
use crate::cli::args::scheme;
use crate::cli::error::CliError;
use crate::cli::global::Global;
use crate::cli::render::Output;
use crate::domain::evidence::{EvidenceForm, Scheme};
use crate::domain::grant::{Limits, NamePattern, Source};
use crate::domain::malformed::Malformed;
use crate::domain::name::{BuilderName, ProjectName, Version};
use crate::domain::time::{Period, Timestamp};
use crate::files::InputFile;
use crate::openpgp::LARGEST_CERTIFICATE;
use crate::steps::host::approval::NAMESPACE;
use crate::steps::host::grant::{EnrolledKey, GrantRequest, issue};

/// Approve one build: write the grant, and a build key for each builder that brings none
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  countersign grant foo 1.2.3 --artifact 'foo*1.2.3*' --valid-for 2h
  countersign grant foo 1.2.3 --builder m1 --builder m2 --builder m3 --quorum 2")]
pub(in crate::cli) struct Grant {
    /// What is built
    project: ProjectName,
    /// Its version
    version: Version,
    /// A pattern for artifact names (`*`, `?`, `[a-z]`, `{a,b}`); may be repeated [default: *]
    #[arg(long = "artifact", value_name = "GLOB")]
    artifacts: Vec<NamePattern>,
    /// A builder. By its name alone it gets a key that is made here; FILE is the public half of a
    /// key that it made itself (`countersign build-key`); may be repeated [default: builder]
    #[arg(long = "builder", value_name = "NAME[=FILE]")]
    builders: Vec<String>,
    /// How many builders must have attested the same digest for every artifact
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1,
        allow_negative_numbers = true
    )]
    quorum: u32,
    /// How builders authenticate their evidence; hmac convinces this signing host alone
    #[arg(long, value_name = "SCHEME", default_value = "openpgp", value_parser = scheme())]
    scheme: Scheme,
    /// The form of the evidence: one list of all artifacts, or a signature or MAC for each (not
    /// with dsse)
    #[arg(long, value_name = "FORM", default_value = "manifest", value_parser = form())]
    evidence: EvidenceForm,
    /// Grant this version although a newer one was granted before
    #[arg(long)]
    allow_older: bool,
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
    pub(super) fn run(self, global: &Global, output: &mut Output) -> Result<(), CliError> {
        let now = Timestamp::now();
        let home = global.home()?;
        let lock = home.lock()?;
        let config = &home.config;
        let or = |given: Vec<_>, default: &str| match given.is_empty() {
            true => vec![default.parse().expect("the default is a pattern")],
            false => given,
        };
        let builders = match self.builders.is_empty() {
            true => vec![("builder".parse().expect("the default is a name"), None)],
            false => self
                .builders
                .iter()
                .map(|text| builder(text))
                .collect::<Result<_, _>>()?,
        };
        let request = GrantRequest {
            project: self.project,
            version: self.version,
            source: self.source_uri.map(|uri| Source {
                uri,
                digest: self.source_digest,
            }),
            scheme: self.scheme,
            evidence: self.evidence,
            builders,
            quorum: self.quorum,
            allow_older: self.allow_older,
            artifacts: Limits {
                names: or(self.artifacts, "*"),
                max_count: self.max_count.unwrap_or(config.max_count),
                max_bytes: self.max_bytes.unwrap_or(config.max_bytes),
            },
            valid_for: self.valid_for.unwrap_or(config.valid_for),
        };
        home.forget_unneeded_nonces(&lock, now)?;
        let issued = issue(request, &home, &lock, &self.output, now)?;

        let terms = issued.grant.terms();
        if !issued.earlier.is_empty() {
            let entries = issued
                .earlier
                .iter()
                .map(u64::to_string)
                .collect::<Vec<_>>()
                .join(", ");
            let (project, version) = (&terms.project, &terms.version);
            output.warn(&format!("{project} {version} was granted before, in ledger entries {entries}: two builds can now be signed as it"));
        }
        if issued.outlives_key {
            output.warn("the release key's certificate expires before this grant; see `countersign key extend`");
        }
        for builder in &issued.outlives_builders {
            output.warn(&format!(
                "the key of builder {builder} expires before this grant"
            ));
        }
        if terms.scheme.convinces_host_alone() {
            output.warn("what scheme hmac proves, it proves to this signing host alone: it could make the MACs itself");
        }
        output.line(format!(
            "granted {} {} until {}",
            terms.project, terms.version, terms.expires
        ));
        output.line(format!("  id         {}", issued.grant.id()));
        output.line(format!("  grant      {}", issued.grant_path.display()));
        for (builder, path) in &issued.keys {
            output.line(format!(
                "  build key  {} (for builder {builder}, secret)",
                path.display()
            ));
        }
        if issued.keys.len() < terms.builders.len() {
            builder_keys(&issued.grant)
                .iter()
                .for_each(|line| output.line(format!("  builder    {line}")));
        }
        if terms.builders.len() > 1 {
            output.line(format!(
                "  quorum     {} of {} builders",
                terms.quorum,
                terms.builders.len()
            ));
        }
        if home.config.approvals > 0 {
            let needed = home.config.approvals;
            let people = if needed == 1 {
                "one person".to_owned()
            } else {
                format!("{needed} people")
            };
            output.line(format!("next: let {people} approve it, each by one of"));
            output.line(format!(
                "  countersign approve {}",
                issued.grant_path.display()
            ));
            output.line(format!(
                "  gpg --detach-sign {}",
                issued.grant_path.display()
            ));
            output.line(format!(
                "  ssh-keygen -Y sign -n {NAMESPACE} -f KEY {}",
                issued.grant_path.display()
            ));
        }
        let enrolled = terms.builders.len() - issued.keys.len();
        if !issued.keys.is_empty() {
            output
                .line("next: hand each build key to its builder as a secret, remove it here, and let the builder run");
        }
        for (_, path) in &issued.keys {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            output.line(format!("  countersign attest --key {name} ARTIFACT..."));
        }
        if enrolled > 0 {
            let name = issued
                .grant_path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy();
            output
                .line("next: hand the grant to each builder that has its own key, and let it run");
            output.line(format!(
                "  countersign attest --key FILE --grant {name} ARTIFACT..."
            ));
        }
        output.value(json!({
            "grant": issued.grant.id(),
            "grant_file": issued.grant_path.to_string_lossy(),
            "project": terms.project,
            "version": terms.version,
            "scheme": terms.scheme,
            "evidence": terms.evidence,
            "quorum": terms.quorum,
            "approvals_needed": home.config.approvals,
            "not_before": terms.not_before,
            "expires": terms.expires,
            "build_keys": issued.keys.iter().map(|(builder, path)| json!({ "builder": builder, "file": path.to_string_lossy() })).collect::<Vec<_>>(),
            "ledger_entry": issued.entry,
            "earlier_entries": issued.earlier,
        }));
        Ok(())
    }
}

/// `m1`, or `m1=m1.pub`.
fn builder(text: &str) -> Result<(BuilderName, Option<EnrolledKey>), CliError> {
    let (name, path) = text.split_once('=').map_or((text, None), |(name, path)| {
        (name, Some(PathBuf::from(path)))
    });
    let name = name
        .parse()
        .map_err(|fault: Malformed| CliError::Usage(fault.to_string()))?;
    let Some(path) = path else {
        return Ok((name, None));
    };
    if path.as_os_str().is_empty() {
        return Err(CliError::Usage(format!(
            "builder `{name}` has no file after the `=`"
        )));
    }
    let bytes = InputFile::open_named(&path)?.read_whole(LARGEST_CERTIFICATE)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Ok((name, Some(EnrolledKey { path, text })))
}

fn form() -> impl TypedValueParser<Value = EvidenceForm> {
    let named = |name: String| {
        EvidenceForm::ALL
            .into_iter()
            .find(|it| it.name() == name)
            .expect("it is one of those")
    };
    PossibleValuesParser::new(EvidenceForm::ALL.map(EvidenceForm::name)).map(named)
}
