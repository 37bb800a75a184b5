//! `countersign attest`

use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use clap::Args;
use rustix::system::uname;
use serde_json::json;
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::args::{read_grant_file, scheme};
use super::error::{CliError, CommandError, Within};
use super::global::Global;
use super::host::options::KeyOption;
use super::memory;
use super::progress::Bar;
use super::render::{Output, artifact_values};
use crate::domain::evidence::Scheme;
use crate::domain::json::check_keys;
use crate::domain::statement::SLSA_PROVENANCE;
use crate::domain::time::Timestamp;
use crate::files::{FileError, FileFault, InputFile, parent, read_secret, wipe};
use crate::openpgp::LARGEST_BUILD_KEY;
use crate::steps::builder::attest::{self, AttestRequest, Attestation, Predicate};
use crate::steps::builder::build_key::BuildKey;

/// The largest predicate that is read, in bytes.
const LARGEST_PREDICATE: u64 = 1 << 20;

/// Attest artifacts, then remove the build key (on the build machine)
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  countersign attest --key foo-1.2.3.m1.key dist/*
  countersign attest --key m1.key --grant foo-1.2.3.grant.json dist/*")]
pub(super) struct Attest {
    #[command(flatten)]
    key: KeyOption,
    /// Grant, for a key from `build-key`
    #[arg(long, value_name = "FILE")]
    grant: Option<PathBuf>,
    /// Required scheme of the key [default: the grant's]
    #[arg(long, value_name = "SCHEME", value_parser = scheme(Scheme::ALL))]
    scheme: Option<Scheme>,
    /// Predicate for scheme dsse, a JSON object [default: SLSA provenance]
    #[arg(long, value_name = "FILE")]
    predicate: Option<PathBuf>,
    /// Type of the predicate
    #[arg(long, value_name = "URI", requires = "predicate", default_value = SLSA_PROVENANCE)]
    predicate_type: String,
    /// Keep the key file [default: overwrite and remove it]
    #[arg(long)]
    keep_key: bool,
    /// Folder for evidence [default: beside the artifacts]
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Files to attest
    #[arg(required = true, value_name = "ARTIFACT")]
    artifacts: Vec<PathBuf>,
}

impl Attest {
    pub(super) fn run(self, global: &Global, output: &mut Output) -> Result<(), CliError> {
        let now = Timestamp::now();
        match &self.output {
            Some(folder) => global.outside_home(folder)?,
            None => self
                .artifacts
                .iter()
                .try_for_each(|path| global.outside_home(parent(path)))?,
        }
        let locked = memory::lock_all();
        let grant = self.grant.as_deref().map(read_grant_file).transpose()?;
        let predicate = match &self.predicate {
            Some(path) => Some(read_predicate(path, self.predicate_type.clone())?),
            None => None,
        };
        let steps = |key: BuildKey<'_>, leaving: Option<&Path>| {
            if let Some(expected) = self.scheme.filter(|scheme| *scheme != key.scheme()) {
                let text = format!("the key is of scheme {}, not {expected}", key.scheme());
                return Err(CommandError::Usage(text).into());
            }
            let is_envelope = key.scheme() == Scheme::Dsse;
            let predicate = predicate
                .clone()
                .or_else(|| is_envelope.then(|| Predicate::Provenance { system: system() }));
            let request = AttestRequest {
                artifacts: &self.artifacts,
                predicate,
                output: self.output.as_deref(),
                leaving,
            };
            Ok(attest::attest(key, request, now, &mut Bar::new())?)
        };

        if let Some(done) = self
            .key
            .on_token(grant.as_ref(), now, &|key| steps(key, None))
        {
            report(&done?, None, output);
            return Ok(());
        }
        let source = self.key.key();
        let (path, bytes) = read_key(source)?;
        let fault = |fault| Within {
            what: format!("build key `{}`", path.display()),
            error: fault,
        };
        let mut key = BuildKey::parse(&bytes).map_err(fault)?;
        if let Some(grant) = &grant {
            key = key.under(grant).map_err(fault)?;
        }
        key.label().map_err(fault)?;
        if !locked {
            output.warn(
                "memory cannot be locked here: the build key could be written to the swap space",
            );
        }
        let removed = !self.keep_key && is_file(source);
        let done = steps(key, removed.then_some(&*path))?;
        if removed {
            wipe(&path)?;
        }
        report(&done, removed.then_some(&path), output);
        Ok(())
    }
}

fn report(done: &Attestation, removed: Option<&PathBuf>, output: &mut Output) {
    let label = &done.label;
    let count = done.artifacts.count();
    let artifacts = if count == 1 { "artifact" } else { "artifacts" };
    output.line(format!(
        "attested {count} {artifacts} of {} {} as builder {}",
        label.project, label.version, label.builder
    ));
    match &done.files[..] {
        files if files.len() <= 3 => {
            files
                .iter()
                .for_each(|file| output.line(format!("  evidence   {}", file.display())));
        }
        files => output.line(format!(
            "  evidence   {} and {} more",
            files[0].display(),
            files.len() - 1
        )),
    }
    if let Some(path) = removed {
        output.line(format!(
            "  key file   {} (overwritten and removed)",
            path.display()
        ));
    }
    output.line("next: send the artifacts with the evidence to the signing host");
    let (scheme, form) = label.bounds.kind.scheme_and_form();
    output.value(json!({
        "grant": label.grant,
        "builder": label.builder,
        "project": label.project,
        "version": label.version,
        "scheme": scheme,
        "evidence": form,
        "files": done.files.iter().map(|path| path.to_string_lossy()).collect::<Vec<_>>(),
        "artifacts": artifact_values(&done.artifacts),
        "key_removed": removed.is_some(),
    }));
}

/// What this machine runs.
fn system() -> String {
    let name = uname();
    [name.sysname(), name.release(), name.machine()]
        .map(|part| part.to_string_lossy().into_owned())
        .join(" ")
}

fn read_predicate(path: &Path, predicate_type: String) -> Result<Predicate, CliError> {
    let bytes = InputFile::open_named(path)?.read_whole(LARGEST_PREDICATE)?;
    let fail =
        |reason: String| CommandError::Usage(format!("predicate `{}` {reason}", path.display()));
    check_keys(&bytes).map_err(|error| fail(format!("is not JSON: {error}")))?;
    match serde_json::from_slice::<Box<RawValue>>(&bytes) {
        Ok(predicate) if predicate.get().starts_with('{') => Ok(Predicate::Given {
            predicate_type,
            predicate,
        }),
        _ => Err(fail("is not a JSON object".to_owned()).into()),
    }
}

fn is_file(key: &str) -> bool {
    key != "-" && !key.starts_with("credential:")
}

fn read_key(key: &str) -> Result<(PathBuf, Zeroizing<Vec<u8>>), CliError> {
    if key == "-" {
        let path = PathBuf::from("/dev/stdin");
        // Not through `Stdin`, whose buffer would keep the secret.
        let input = std::io::stdin()
            .as_fd()
            .try_clone_to_owned()
            .map_err(FileError::io(&path))?;
        let bytes = read_secret(&mut File::from(input), LARGEST_BUILD_KEY)
            .map_err(|fault| FileError::new(&path, fault))?;
        return Ok((path, bytes));
    }
    if let Some(name) = key.strip_prefix("credential:") {
        let fail = |reason| CommandError::NoBuildKey {
            message: format!("there is no systemd credential `{name}`: {reason}"),
            help: "pass it with `LoadCredential=` or `systemd-creds`, or name a file instead"
                .to_owned(),
        };
        let folder = std::env::var_os("CREDENTIALS_DIRECTORY")
            .ok_or_else(|| fail("$CREDENTIALS_DIRECTORY is not set"))?;
        if name.is_empty() || name.contains('/') || name.starts_with('.') {
            return Err(fail("its name is not that of a file").into());
        }
        let path = Path::new(&folder).join(name);
        let bytes = InputFile::open(&path)?.read_secret(LARGEST_BUILD_KEY)?;
        return Ok((path, bytes));
    }
    let path = PathBuf::from(key);
    let file = InputFile::open(&path).map_err(|error| match error.fault {
        FileFault::Missing => CliError::from(CommandError::NoBuildKey {
            message: format!("build key `{}` does not exist", path.display()),
            help: "`attest` removes a build key when it has used it: another build needs another \
                   grant and key"
                .to_owned(),
        }),
        _ => error.into(),
    })?;
    let mode = file.mode()?;
    let bytes = file.read_secret(LARGEST_BUILD_KEY)?;
    if mode & 0o077 != 0 {
        // Of a file without a secret, its mode is not what is wrong.
        BuildKey::parse(&bytes).map_err(|fault| Within {
            what: format!("build key `{}`", path.display()),
            error: fault,
        })?;
        return Err(CommandError::NoBuildKey {
            message: format!(
                "build key `{}` has mode {mode:04o}: others can read it",
                path.display()
            ),
            help: format!("run `chmod 600 {}`", path.display()),
        }
        .into());
    }
    Ok((path, bytes))
}
