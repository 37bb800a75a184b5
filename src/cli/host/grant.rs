//! `countersign grant`

use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde_json::json;

use super::grants::builder_keys;
use super::open::warn_of;
use super::options::WaitOption;
use crate::cli::args::scheme;
use crate::cli::error::{CliError, CommandError};
use crate::cli::global::Global;
use crate::cli::render::Output;
use crate::domain::evidence::{EvidenceForm, Scheme};
use crate::domain::grant::{NamePattern, Source};
use crate::domain::malformed::Malformed;
use crate::domain::name::{BuilderName, ProjectName, Version};
use crate::domain::signing::ReleaseForm;
use crate::domain::time::Period;
use crate::steps::evidence::approval::NAMESPACE;
use crate::steps::host::grant::{GrantRequest, Issued};

/// Issue a grant for one build, with its build keys
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  countersign grant foo 1.2.3 --artifact 'foo*1.2.3*' --valid-for 2h
  countersign grant foo 1.2.3 --builder m1 --builder m2 --builder m3 --quorum 2")]
pub(in crate::cli) struct Grant {
    /// Project name
    project: ProjectName,
    /// Version
    version: Version,
    /// Pattern for artifact names; repeatable [default: *]
    #[arg(long = "artifact", value_name = "GLOB")]
    artifacts: Vec<NamePattern>,
    /// Builder, with its public key in FILE; repeatable [default: builder]
    #[arg(long = "builder", value_name = "NAME[=FILE]")]
    builders: Vec<String>,
    /// Number of builders that must agree
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1,
        allow_negative_numbers = true
    )]
    quorum: u32,
    /// Scheme of the evidence; only this host can verify hmac
    #[arg(
        long,
        value_name = "SCHEME",
        default_value = "openpgp",
        value_parser = scheme(Scheme::ALL)
    )]
    scheme: Scheme,
    /// Evidence for all artifacts together, or for each
    #[arg(long, value_name = "FORM", default_value = "manifest", value_parser = evidence())]
    evidence: EvidenceForm,
    /// Sign each artifact and SHA256SUMS, or only this list: one signature, one touch
    #[arg(long, value_name = "FORM", default_value = "each", value_parser = form())]
    form: ReleaseForm,
    /// Allow a version older than a granted one
    #[arg(long)]
    allow_older: bool,
    /// Validity: 90m, 6h, 14d [default: config.toml]
    #[arg(long, value_name = "TIME")]
    valid_for: Option<Period>,
    /// Maximum number of artifacts [default: config.toml]
    #[arg(long, value_name = "N")]
    max_count: Option<u32>,
    /// Maximum total size in bytes [default: config.toml]
    #[arg(long, value_name = "N")]
    max_bytes: Option<u64>,
    /// Source URI
    #[arg(long, value_name = "URI")]
    source_uri: Option<String>,
    /// Source commit or digest
    #[arg(long, value_name = "DIGEST", requires = "source_uri")]
    source_digest: Option<String>,
    /// Folder for grant and keys
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    output: PathBuf,
    #[command(flatten)]
    wait: WaitOption,
}

impl Grant {
    pub(super) fn run(self, global: &Global, output: &mut Output) -> Result<(), CliError> {
        global.outside_home(&self.output)?;
        let wait = self.wait;
        let request = self.request()?;
        let mut host = global.host(wait)?;
        let issued = host.grant(request);
        warn_of(&mut host, output);
        let issued = issued?;
        let approvals = host.home.config.approvals;
        warn(&issued, output);
        show(&issued, output);
        if approvals > 0 {
            ask_for_approvals(approvals, &issued.grant_path, output);
        }
        show_builders_next(&issued, output);
        let mut keys = Vec::new();
        for (builder, path) in &issued.keys {
            keys.push(json!({ "builder": builder, "file": path.to_string_lossy() }));
        }
        let terms = issued.grant.terms();
        output.value(json!({
            "grant": issued.grant.id(),
            "grant_file": issued.grant_path.to_string_lossy(),
            "project": terms.project,
            "version": terms.version,
            "scheme": terms.scheme,
            "evidence": terms.evidence,
            "form": terms.form,
            "quorum": terms.quorum,
            "approvals_needed": approvals,
            "not_before": terms.not_before,
            "expires": terms.expires,
            "build_keys": keys,
            "ledger_entry": issued.entry,
            "earlier_entries": issued.earlier,
        }));
        Ok(())
    }

    fn request(self) -> Result<GrantRequest, CliError> {
        let mut names = self.artifacts;
        if names.is_empty() {
            names.push("*".parse().expect("the default is a pattern"));
        }
        let mut builders = self
            .builders
            .iter()
            .map(|text| builder(text))
            .collect::<Result<Vec<_>, _>>()?;
        if builders.is_empty() {
            builders.push(("builder".parse().expect("the default is a name"), None));
        }
        Ok(GrantRequest {
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
            names,
            form: self.form,
            max_count: self.max_count,
            max_bytes: self.max_bytes,
            valid_for: self.valid_for,
            allow_older: self.allow_older,
            output: self.output,
        })
    }
}

fn warn(issued: &Issued, output: &mut Output) {
    let terms = issued.grant.terms();
    if !issued.earlier.is_empty() {
        let entries: Vec<_> = issued.earlier.iter().map(u64::to_string).collect();
        output.warn(&format!(
            "{} {} was granted before, in {} {}: builds of each grant can be signed",
            terms.project,
            terms.version,
            if entries.len() == 1 {
                "entry"
            } else {
                "entries"
            },
            entries.join(", ")
        ));
    }
    if issued.outlives_key {
        output.warn("the release key expires before this grant; see `countersign key extend`");
    }
    for builder in &issued.outlives_builders {
        output.warn(&format!(
            "the key of builder {builder} expires before this grant"
        ));
    }
    if terms.scheme.convinces_host_alone() {
        output.warn(
            "evidence of scheme hmac proves nothing to others: this signing host could make the \
             MACs itself",
        );
    }
}

fn show(issued: &Issued, output: &mut Output) {
    let terms = issued.grant.terms();
    output.line(format!(
        "granted {} {} until {}",
        terms.project, terms.version, terms.expires
    ));
    output.line(format!("  id         {}", issued.grant.id()));
    output.line(format!("  grant      {}", issued.grant_path.display()));
    for (builder, path) in &issued.keys {
        let path = path.display();
        output.line(format!(
            "  build key  {path} (for builder {builder}, secret)"
        ));
    }
    if issued.keys.len() < terms.builders.len() {
        for line in builder_keys(&issued.grant) {
            output.line(format!("  builder    {line}"));
        }
    }
    if terms.builders.len() > 1 {
        let builders = terms.builders.len();
        output.line(format!(
            "  quorum     {} of {builders} builders",
            terms.quorum
        ));
    }
}

fn ask_for_approvals(approvals: u32, grant: &Path, output: &mut Output) {
    let people = match approvals {
        1 => "1 person".to_owned(),
        count => format!("{count} people"),
    };
    let grant = grant.display();
    output.line(format!("next: let {people} approve it, each by one of"));
    output.line(format!("  countersign approve {grant}"));
    output.line(format!("  gpg --detach-sign {grant}"));
    output.line(format!(
        "  ssh-keygen -Y sign -n {NAMESPACE} -f KEY {grant}"
    ));
}

fn show_builders_next(issued: &Issued, output: &mut Output) {
    let file_name = |path: &Path| {
        let name = path.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    };
    if !issued.keys.is_empty() {
        output.line(
            "next: hand each build key to its builder as a secret, remove it here, and let the \
             builder run",
        );
    }
    for (_, path) in &issued.keys {
        output.line(format!(
            "  countersign attest --key {} ARTIFACT...",
            file_name(path)
        ));
    }
    if issued.keys.len() < issued.grant.terms().builders.len() {
        output.line("next: hand the grant to each builder that has its own key, and let it run");
        output.line(format!(
            "  countersign attest --key FILE --grant {} ARTIFACT...",
            file_name(&issued.grant_path)
        ));
    }
}

/// `m1`, or `m1=m1.pub`.
fn builder(text: &str) -> Result<(BuilderName, Option<PathBuf>), CliError> {
    let (name, file) = match text.split_once('=') {
        Some((name, file)) => (name, Some(PathBuf::from(file))),
        None => (text, None),
    };
    let name: BuilderName = name
        .parse()
        .map_err(|fault: Malformed| CommandError::Usage(fault.to_string()))?;
    if file
        .as_ref()
        .is_some_and(|file| file.as_os_str().is_empty())
    {
        return Err(
            CommandError::Usage(format!("builder `{name}` has no file after the `=`")).into(),
        );
    }
    Ok((name, file))
}

fn evidence() -> impl TypedValueParser<Value = EvidenceForm> {
    let named = |name: String| {
        EvidenceForm::ALL
            .into_iter()
            .find(|it| it.name() == name)
            .expect("it is one of those")
    };
    PossibleValuesParser::new(EvidenceForm::ALL.map(EvidenceForm::name)).map(named)
}

fn form() -> impl TypedValueParser<Value = ReleaseForm> {
    let named = |name: String| {
        ReleaseForm::ALL
            .into_iter()
            .find(|it| it.name() == name)
            .expect("it is one of those")
    };
    PossibleValuesParser::new(ReleaseForm::ALL.map(ReleaseForm::name)).map(named)
}
