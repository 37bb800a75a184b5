//! `countersign sign`

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::grants::show_differences;
use super::open::{read_grant, warn_of};
use super::options::WaitOption;
use super::push::{not_pushed, show_handed_over};
use super::token_words::{card_lines, pin_state, warn_of_file_token};
use crate::cli::args::{Sweep, shown_swept};
use crate::cli::error::CliError;
use crate::cli::global::Global;
use crate::cli::memory;
use crate::cli::progress::Bar;
use crate::cli::render::{Output, artifact_values};
use crate::domain::grant::Builder;
use crate::domain::release::folder_name;
use crate::domain::signing::ReleaseForm;
use crate::files::{Folder, parent};
use crate::steps::host::build::{SignRequest, Summary};
use crate::steps::host::release::{DryRun, Signed};
use crate::steps::host::run::SignError;
use crate::token::{self, Interaction};

/// Verify and sign a build under its grant, or finish an interrupted run
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  countersign sign foo-1.2.3.grant.json --from fetched/ \
                  -o inbox/foo-1.2.3"
)]
pub(in crate::cli) struct Sign {
    /// Grant file or ID (8+ digits)
    grant: String,
    /// Folder with artifacts and evidence, or with one such subfolder named after each builder
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// New folder for the release [default: ./PROJECT-VERSION]
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Allow a version older than a signed one
    #[arg(long)]
    allow_older: bool,
    /// Verify and show what would be signed, without the token
    #[arg(long, conflicts_with = "older")]
    dry_run: bool,
    #[command(flatten)]
    sweep: Sweep,
    #[command(flatten)]
    wait: WaitOption,
}

impl Sign {
    pub(super) fn run(self, global: &Global, output: &mut Output) -> Result<(), CliError> {
        // Where this fails, the pages with the PIN are locked alone.
        let _whole = memory::lock_all();
        let mut host = global.host(self.wait)?;
        let grant = read_grant(&self.grant, &host.home)?;
        let terms = grant.terms();
        let release = self
            .output
            .unwrap_or_else(|| PathBuf::from(folder_name(&terms.project, &terms.version)));
        global.outside_home(parent(&release))?;
        let id = grant.id();
        let request = SignRequest {
            grant,
            from: &self.from,
            release: &release,
            allow_older: self.allow_older,
        };
        let mut swept = Vec::new();
        if let Some(before) = self.sweep.before(host.clock.now()) {
            let beside = Folder::open(parent(&release))?;
            let names = host
                .home
                .owner()?
                .sweep_older(&beside, before.unix().into());
            swept = shown_swept(names?, output);
        }
        let uri = host.home.config.token.clone();
        let pins = host.home.refused_pins();
        // A build that is refused does not come this far.
        let mut find = |interaction: &mut dyn Interaction| {
            warn_of_file_token(&uri, output);
            token::find(&uri, &pins, interaction)
        };
        let people = &mut self.wait.terminal_of(&host.home);
        let bar = &mut Bar::new();
        let refused = |error: SignError, output: &mut Output| {
            if let Some(differences) = error.differences() {
                show_differences(differences, output);
                output.value(json!({ "grant": id, "differences": differences }));
            }
            error
        };
        if self.dry_run {
            let plan = host.try_sign(request, &mut find, people, bar);
            warn_of(&mut host, output);
            show_plan(
                &plan.map_err(|error| refused(error, output))?,
                &release,
                output,
            );
            return Ok(());
        }
        let signed = host.sign(request, &mut find, people, bar);
        warn_of(&mut host, output);
        let signed = signed.map_err(|error| refused(error, output))?;
        show_signed(signed, &release, swept, output)
    }
}

fn show_signed(
    signed: Signed,
    release: &Path,
    swept: Vec<String>,
    output: &mut Output,
) -> Result<(), CliError> {
    let build = &signed.build;
    let word = if signed.new {
        "signed"
    } else {
        "signed already:"
    };
    output.line(format!("{word} {}", title(build)));
    show_build(build, output);
    output.line(format!("  by         {}", build.key));
    output.line(format!("  signatures {}", made(&signed)));
    let terms = build.grant.terms();
    if terms.form == ReleaseForm::ListOnly {
        output.line("  signed     as a whole: only SHA256SUMS carries a signature");
    }
    output.line(format!("  ledger     entry {}", signed.intent));
    output.line(format!("  release    {}", release.display()));
    let mut value = json!({
        "grant": build.grant.id(),
        "release": release.to_string_lossy(),
        "new": signed.new,
        "key": build.key,
        "signatures": signed.signatures,
        "form": terms.form,
        "token_signatures": signed.token_signatures,
        "ledger_entry": signed.intent,
        "scheme": terms.scheme,
        "convinces_host_alone": terms.scheme.convinces_host_alone(),
        "attested_by": build.agreement.artifacts,
        "artifacts": artifact_values(&build.artifacts),
        "swept": swept,
    });
    let failed = |fault| not_pushed(&signed.folder, fault);
    let result = show_handed_over(signed.handed_over, failed, &mut value, output);
    output.value(value);
    result
}

fn made(signed: &Signed) -> String {
    let made = match signed.token_signatures {
        0 => "all kept from an earlier run; the token was not used".to_owned(),
        made if made == signed.signatures as u64 => "all made by the token now".to_owned(),
        made => format!("{made} made by the token now, the others kept from an earlier run"),
    };
    format!("{} ({made})", signed.signatures)
}

fn title(build: &Summary) -> String {
    let terms = build.grant.terms();
    let builders = build.agreement.builders.keys();
    let builders = builders
        .map(|name| name.as_str())
        .collect::<Vec<_>>()
        .join(" and ");
    format!(
        "{} {}, built by {builders} under grant {}",
        terms.project,
        terms.version,
        build.grant.id().short()
    )
}

/// What was built, and how far that is certain.
fn show_build(build: &Summary, output: &mut Output) {
    for artifact in &build.artifacts {
        output.line(format!("  {}  {}", artifact.digest, artifact.name));
    }
    show_agreement(build, output);
    if build.grant.terms().scheme.convinces_host_alone() {
        output.line(
            "  evidence   MACs: they convince this signing host alone, which could have made them \
             itself",
        );
    }
}

/// Which builder attested what, where there could be several.
fn show_agreement(build: &Summary, output: &mut Output) {
    let terms = build.grant.terms();
    let agreement = &build.agreement;
    if terms.builders.len() < 2 {
        return;
    }
    let widest = agreement
        .artifacts
        .keys()
        .map(|name| name.as_str().len())
        .max()
        .unwrap_or(0);
    output.line(format!(
        "  agreement  {} of {} builders are needed",
        terms.quorum,
        terms.builders.len()
    ));
    let wide = |builder: &Builder| builder.name.as_str().len().max("yes".len());
    let columns = terms
        .builders
        .iter()
        .map(|builder| format!("{:<1$}", builder.name.as_str(), wide(builder)));
    output.line(format!(
        "    {:widest$}  {}",
        "",
        columns.collect::<Vec<_>>().join("  ").trim_end()
    ));
    for (artifact, builders) in &agreement.artifacts {
        let said = terms.builders.iter().map(|builder| {
            let word = if builders.contains(&builder.name) {
                "yes"
            } else {
                "-"
            };
            format!("{word:<0$}", wide(builder))
        });
        output.line(format!(
            "    {:widest$}  {}",
            artifact.as_str(),
            said.collect::<Vec<_>>().join("  ").trim_end()
        ));
    }
}

fn show_plan(plan: &DryRun, release: &Path, output: &mut Output) {
    let build = &plan.build;
    let token = &plan.token;
    output.line(format!("verified {}", title(build)));
    show_build(build, output);
    output.line(format!("would sign with {}", build.key));
    output.line(format!(
        "  token      {} (serial {})",
        token.label, token.serial
    ));
    output.line(format!(
        "  operations {} signatures by the token ({} kept from an earlier run)",
        plan.token_signatures, plan.kept
    ));
    output.line(format!("  PIN        {}", pin_state(token.pin)));
    for (name, value) in card_lines(token) {
        output.line(format!("  {name:10} {value}"));
    }
    output.line(format!("  release    {}", release.display()));
    output.line("nothing was signed and nothing was logged: this was a dry run");
    output.value(json!({
        "dry_run": true,
        "grant": build.grant.id(),
        "key": build.key,
        "token": token.uri,
        "token_signatures": plan.token_signatures,
        "kept_signatures": plan.kept,
        "pin": token.pin,
        "card": token.card,
        "release": release.to_string_lossy(),
        "artifacts": artifact_values(&build.artifacts),
    }));
}
