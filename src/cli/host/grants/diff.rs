//! `countersign grants diff`

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use crate::cli::error::CliError;
use crate::cli::host::error::HostError;
use crate::cli::host::open::read_grant;
use crate::cli::render::Output;
use crate::domain::event::{Entry, Event};
use crate::domain::evidence::Differences;
use crate::domain::time::Timestamp;
use crate::files::Folder;
use crate::home::Home;
use crate::steps::host::differences::compare;

/// List the artifacts in which builders differ
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  countersign grants diff b5bb9d80 --from inbox/")]
pub(super) struct Diff {
    /// Grant file or ID (8+ digits)
    grant: String,
    /// Compare the builders' folders in DIR [default: show the last refusal]
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
}

impl Diff {
    pub(super) fn run(
        self,
        home: &Home,
        now: Timestamp,
        output: &mut Output,
    ) -> Result<(), CliError> {
        let ledger = home.ledger_to_read()?;
        let grant = read_grant(&self.grant, home)?;
        let differences = match &self.from {
            Some(from) => compare(&grant, &Folder::open(from)?, home, &ledger, now)?,
            None => {
                let history = ledger.history(grant.id())?;
                let last = history
                    .into_iter()
                    .rev()
                    .find_map(|Entry { index, event, .. }| match event {
                        Event::EvidenceRefused { differences, .. } if !differences.is_empty() => {
                            Some((index, differences))
                        }
                        _ => None,
                    });
                let Some((index, differences)) = last else {
                    return Err(HostError::NothingToCompare(grant.id()).into());
                };
                output.line(format!("as found in ledger entry {index}"));
                differences
            }
        };
        show_differences(&differences, output);
        if let (Some(from), Some((artifact, builders))) = (&self.from, differences.iter().next()) {
            let built: Vec<_> = builders
                .iter()
                .filter(|(_, digest)| digest.is_some())
                .map(|(name, _)| name)
                .collect();
            let other = built
                .iter()
                .find(|name| builders[**name] != builders[built[0]]);
            if let Some(other) = other {
                let paths = [built[0], other]
                    .map(|name| quoted(&from.join(name.as_str()).join(artifact.as_str())));
                let installed = std::env::var_os("PATH").is_some_and(|path| {
                    std::env::split_paths(&path).any(|folder| folder.join("diffoscope").is_file())
                });
                if installed {
                    output.line(format!("next: diffoscope {} {}", paths[0], paths[1]));
                } else {
                    output.line("next: install diffoscope, which shows where two files differ");
                }
            }
        }
        output.value(json!({ "grant": grant.id(), "differences": differences }));
        Ok(())
    }
}

/// A line for each builder of each artifact in which they differ.
pub(in crate::cli::host) fn show_differences(differences: &Differences, output: &mut Output) {
    if differences.is_empty() {
        return output.line("the builders agree in everything");
    }
    for (artifact, builders) in differences {
        output.line(format!("{artifact}"));
        for (builder, digest) in builders {
            let digest = digest.map_or_else(
                || "did not build it".to_owned(),
                |digest| digest.to_string(),
            );
            output.line(format!("  {:16} {digest}", builder.as_str()));
        }
    }
}

/// A path as a shell takes it for one word: builders give artifacts their names.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"/._+~-:,@%=".contains(&byte));
    if plain {
        text
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_for_a_shell() {
        for (path, word) in [
            ("inbox/m1/foo-1.2.tar.xz", "inbox/m1/foo-1.2.tar.xz"),
            ("m1/foo;touch x", "'m1/foo;touch x'"),
            ("m1/foo$(touch x)", "'m1/foo$(touch x)'"),
            ("m1/it's", "'m1/it'\\''s'"),
        ] {
            assert_eq!(quoted(Path::new(path)), word);
        }
    }
}
