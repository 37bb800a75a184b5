//! `countersign sign`

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::grants::show_differences;
use super::open::read_grant;
use super::prompt::Terminal;
use super::push::hand_over;
use super::token_words::{card_lines, pin_state, warn_of_file_token};
use crate::cli::error::CliError;
use crate::cli::global::Global;
use crate::cli::progress::Bar;
use crate::cli::render::{Output, artifact_values};
use crate::domain::artifact::ArtifactList;
use crate::domain::grant::{Builder, Terms};
use crate::domain::release::{Coverage, folder_name};
use crate::files::Folder;
use crate::steps::host::Host;
use crate::steps::host::build::{self, Agreement, BuildRequest, VerifiedBuild};
use crate::steps::host::countersign::{
    Countersigned, Plan, check_token, countersign, log_refusal, plan,
};
use crate::token::{self, Interaction, TokenUri};

/// Verify a build under its grant, then sign it with the release key
///
/// Every artifact is verified before the token makes its first signature. The release appears
/// complete or not at all; the same command again finishes what was interrupted, and asks the token
/// only for what is not kept yet. If the configuration names an inbox, the release is pushed there;
/// if it names a folder for the log, the log is exported.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  countersign sign foo-1.2.3.grant.json --from fetched/ -o inbox/foo-1.2.3"
)]
pub(in crate::cli) struct Sign {
    /// The grant: its file, or at least eight digits of its id
    grant: String,
    /// The folder that was fetched from the builder: artifacts and evidence. If the grant names
    /// several builders: a folder in which each that delivered has one, called by its name
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// The release: a folder that does not exist yet [default: PROJECT-VERSION here]
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Sign SHA256SUMS alone, which speaks for every artifact: one signature, and one touch, for
    /// the whole release
    #[arg(long)]
    sums_only: bool,
    /// Sign this version although a newer one was signed before
    #[arg(long)]
    allow_older: bool,
    /// Verify, say what would be signed, and stop before the token is used
    #[arg(long)]
    dry_run: bool,
    /// Wait while another program holds the token
    #[arg(long)]
    wait: bool,
}

impl Sign {
    pub(super) fn run(self, global: &Global, output: &mut Output) -> Result<(), CliError> {
        let mut host = global.host()?;
        let Host {
            home,
            lock,
            ledger,
            clock,
        } = &mut host;
        let now = clock.now();
        let grant = read_grant(&self.grant, home)?;
        let id = grant.id();
        let terms = grant.terms();
        let release = self
            .output
            .unwrap_or_else(|| PathBuf::from(folder_name(&terms.project, &terms.version)));

        let from = Folder::open(&self.from)?;
        home.forget_unneeded_nonces(lock, now)?;
        let request = BuildRequest {
            grant,
            from: &from,
            release: &release,
            allow_older: self.allow_older,
        };
        let build = build::verify(request, home, ledger, now, &mut Bar::new());
        let coverage = if self.sums_only {
            Coverage::ListOnly
        } else {
            Coverage::Each
        };
        let build = match build {
            Ok(build) => build.covering(coverage),
            Err(error) => {
                if let Some(differences) = error.differences() {
                    show_differences(differences, output);
                    output.value(json!({ "grant": id, "differences": differences }));
                }
                if !self.dry_run {
                    log_refusal(id, &error, ledger, now)?;
                }
                return Err(error.into());
            }
        };
        let token_uri = &home.config.token;
        warn_of_file_token(token_uri, output);
        let title = describe(&build);
        if self.dry_run {
            let plan = plan(&build, ledger)?;
            return show_plan(
                &build, &title, &plan, token_uri, &release, self.wait, output,
            );
        }

        let (artifacts, agreement) = (build.artifacts().clone(), build.agreement().clone());
        let terms = build.grant().terms().clone();
        let key = build.signing_key().fingerprint();
        let mut find = |interaction: &mut dyn Interaction| token::find(token_uri, interaction);
        let done = countersign(
            build,
            home,
            lock,
            ledger,
            &mut find,
            &mut Terminal::new(self.wait),
            now,
        )?;
        output.line(format!(
            "{} {title}",
            if done.new {
                "signed"
            } else {
                "signed already:"
            }
        ));
        show_build(&artifacts, &agreement, &terms, output);
        output.line(format!("  by         {key}"));
        output.line(format!("  signatures {}", made(&done)));
        if self.sums_only {
            output.line("  signed     as a whole: only SHA256SUMS carries a signature");
        }
        output.line(format!("  ledger     entry {}", done.intent));
        output.line(format!("  release    {}", release.display()));
        let hand_over = hand_over(id, &release, &mut host, output)?;
        output.value(json!({
            "grant": id,
            "release": release.to_string_lossy(),
            "new": done.new,
            "key": key,
            "signatures": done.signatures,
            "sums_only": self.sums_only,
            "token_signatures": done.token_signatures,
            "ledger_entry": done.intent,
            "scheme": terms.scheme,
            "convinces_host_alone": terms.scheme.convinces_host_alone(),
            "attested_by": agreement.artifacts,
            "artifacts": artifact_values(&artifacts),
            "pushed": hand_over.pushed,
            "log": hand_over.log,
        }));
        hand_over.result
    }
}

fn made(done: &Countersigned) -> String {
    let Countersigned {
        token_signatures,
        signatures,
        files,
        ..
    } = *done;
    let equal = if signatures < files {
        format!(" for {files} files, equal ones share one")
    } else {
        String::new()
    };
    let made = match token_signatures {
        0 => "all kept from an earlier run; the token was not used".to_owned(),
        made if made == signatures as u64 => "all made by the token now".to_owned(),
        made => format!("{made} made by the token now, the others kept from an earlier run"),
    };
    format!("{signatures}{equal} ({made})")
}

fn describe(build: &VerifiedBuild) -> String {
    let (terms, builders) = (build.grant().terms(), &build.agreement().builders);
    let builders = builders
        .keys()
        .map(|name| name.as_str())
        .collect::<Vec<_>>()
        .join(" and ");
    format!(
        "{} {}, built by {builders} under grant {}",
        terms.project,
        terms.version,
        build.grant().id().short()
    )
}

/// What was built, and how far that is certain.
fn show_build(artifacts: &ArtifactList, agreement: &Agreement, terms: &Terms, output: &mut Output) {
    for artifact in artifacts {
        output.line(format!("  {}  {}", artifact.digest, artifact.name));
    }
    show_agreement(agreement, terms, output);
    if terms.scheme.convinces_host_alone() {
        output.line("  evidence   MACs: they convince this signing host alone, which could have made them itself");
    }
}

/// Which builder attested what, where there could be several.
fn show_agreement(agreement: &Agreement, terms: &Terms, output: &mut Output) {
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

fn show_plan(
    build: &VerifiedBuild,
    title: &str,
    plan: &Plan,
    uri: &TokenUri,
    release: &Path,
    wait: bool,
    output: &mut Output,
) -> Result<(), CliError> {
    let token = token::find(uri, &mut Terminal::new(wait))?;
    check_token(build, &*token)?;
    let Plan {
        token_signatures,
        kept,
    } = plan;
    let description = token.description();
    let pin = pin_state(description.pin);
    output.line(format!("verified {title}"));
    show_build(
        build.artifacts(),
        build.agreement(),
        build.grant().terms(),
        output,
    );
    output.line(format!(
        "would sign with {}",
        build.signing_key().fingerprint()
    ));
    output.line(format!(
        "  token      {} (serial {})",
        description.label, description.serial
    ));
    output.line(format!(
        "  operations {token_signatures} signatures by the token ({kept} kept from an earlier run)"
    ));
    output.line(format!("  PIN        {pin}"));
    for (name, value) in card_lines(description) {
        output.line(format!("  {name:10} {value}"));
    }
    output.line(format!("  release    {}", release.display()));
    output.line("nothing was signed and nothing was logged: this was a dry run");
    output.value(json!({
        "dry_run": true,
        "grant": build.grant().id(),
        "key": build.signing_key().fingerprint(),
        "token": description.uri,
        "token_signatures": token_signatures,
        "kept_signatures": kept,
        "pin": description.pin,
        "card": description.card,
        "release": release.to_string_lossy(),
        "artifacts": artifact_values(build.artifacts()),
    }));
    Ok(())
}
