//! `countersign attest`

use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use zeroize::Zeroizing;

use super::progress::Bar;
use super::render::{CliError, Output};
use crate::domain::time::Timestamp;
use crate::files::{FileError, InputFile, read_secret, wipe};
use crate::openpgp::{BuildKey, LARGEST_BUILD_KEY};
use crate::steps;

/// List what was built and sign the list with the build key (on the build machine)
///
/// Writes build.manifest and build.manifest.sig beside the artifacts, then overwrites and removes the key file.
/// Needs no home, no token and no configuration.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  countersign attest --key foo-1.2.3.m1.key dist/*")]
pub(super) struct Attest {
    /// The build key: a file, `-` for standard input, or `credential:NAME` for a systemd credential
    #[arg(long, value_name = "FILE")]
    key: String,
    /// Leave the key file where it is
    #[arg(long)]
    keep_key: bool,
    /// Write the manifest and its signature into this folder [default: the artifacts' folder]
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// What was built
    #[arg(required = true, value_name = "ARTIFACT")]
    artifacts: Vec<PathBuf>,
}

impl Attest {
    pub(super) fn run(self, output: &mut Output) -> Result<(), CliError> {
        let now = Timestamp::now();
        let (path, bytes) = read_key(&self.key)?;
        let key = BuildKey::parse(&bytes).map_err(|fault| CliError::BuildKey { path: path.clone(), fault })?;
        let done = steps::attest::attest(&key, &self.artifacts, self.output.as_deref(), now, &mut Bar::new())?;
        let removed = !self.keep_key && is_file(&self.key);
        if removed {
            wipe(&path)?;
        }

        let manifest = &done.manifest;
        let count = manifest.artifacts.count();
        output.line(format!(
            "attested {count} {} of {} {} as builder {}",
            if count == 1 { "artifact" } else { "artifacts" },
            manifest.project,
            manifest.version,
            manifest.builder
        ));
        output.line(format!("  manifest   {}", done.manifest_path.display()));
        output.line(format!("  signature  {}", done.signature_path.display()));
        if removed {
            output.line(format!("  key file   {} (overwritten and removed)", path.display()));
        }
        output.line("next: send the artifacts with both files to the signing host");
        output.value(json!({
            "grant": manifest.grant,
            "builder": manifest.builder,
            "project": manifest.project,
            "version": manifest.version,
            "manifest": done.manifest_path,
            "signature": done.signature_path,
            "artifacts": manifest.artifacts.iter().map(|a| json!({ "name": a.name, "sha256": a.digest })).collect::<Vec<_>>(),
            "key_removed": removed,
        }));
        Ok(())
    }
}

fn is_file(key: &str) -> bool {
    key != "-" && !key.starts_with("credential:")
}

fn read_key(key: &str) -> Result<(PathBuf, Zeroizing<Vec<u8>>), CliError> {
    if key == "-" {
        let path = PathBuf::from("standard input");
        // Not through `Stdin`, whose buffer would keep the secret.
        let input = std::io::stdin().as_fd().try_clone_to_owned().map_err(FileError::io(&path))?;
        let bytes =
            read_secret(&mut File::from(input), LARGEST_BUILD_KEY).map_err(|fault| FileError::new(&path, fault))?;
        return Ok((path, bytes));
    }
    if let Some(name) = key.strip_prefix("credential:") {
        let fail = |reason| CliError::Credential { name: name.to_owned(), reason };
        let folder =
            std::env::var_os("CREDENTIALS_DIRECTORY").ok_or_else(|| fail("$CREDENTIALS_DIRECTORY is not set"))?;
        if name.is_empty() || name.contains('/') || name.starts_with('.') {
            return Err(fail("its name is not that of a file"));
        }
        let path = Path::new(&folder).join(name);
        let bytes = InputFile::open(&path)?.read_secret(LARGEST_BUILD_KEY)?;
        return Ok((path, bytes));
    }
    let path = PathBuf::from(key);
    let file = InputFile::open(&path)?;
    match file.mode()? {
        mode if mode & 0o077 != 0 => Err(CliError::BuildKeyOpen { path, mode }),
        _ => {
            let bytes = file.read_secret(LARGEST_BUILD_KEY)?;
            Ok((path, bytes))
        }
    }
}
