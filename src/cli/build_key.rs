//! `countersign build-key`

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::args::scheme;
use super::error::{CliError, CommandError};
use super::global::Global;
use super::host::options::NewKeyOption;
use super::render::Output;
use crate::domain::evidence::Scheme;
use crate::domain::time::{Period, Timestamp};
use crate::files::{FileError, FileFault, is_there, parent, with_suffix, write_new};
use crate::steps::builder::build_key::NewKey;
use crate::steps::evidence::builders::BuilderKey;

/// Make a build key (on the build machine)
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  countersign build-key -o m1.key")]
pub(super) struct BuildKey {
    /// Scheme of the grant
    #[arg(
        long,
        value_name = "SCHEME",
        default_value = "openpgp",
        value_parser = scheme([Scheme::OpenPgp, Scheme::Dsse])
    )]
    scheme: Scheme,
    #[command(flatten)]
    on_token: NewKeyOption,
    /// Validity of the key (scheme openpgp), such as 6h
    #[arg(long, value_name = "TIME", default_value = "2d")]
    valid_for: Period,
    /// Key file, unless on a token; the public half is FILE.pub
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

impl BuildKey {
    pub(super) fn run(self, global: &Global, output: &mut Output) -> Result<(), CliError> {
        let now = Timestamp::now();
        global.outside_home(parent(&self.output))?;
        let too_long =
            || CommandError::Usage(format!("a key cannot be valid for {}", self.valid_for));
        let expires = now.after(self.valid_for).ok_or_else(too_long)?;
        let public_path = with_suffix(&self.output, ".pub");
        let user_id = format!(
            "build key of {}",
            self.output
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
        );

        // Before there is a secret half, which could not be used without the other.
        if is_there(&public_path) {
            return Err(FileError::new(&public_path, FileFault::Exists).into());
        }
        let on_token = self
            .on_token
            .generate(self.scheme, &user_id, now, expires)?;
        if let Some((uri, key)) = on_token {
            write_new(&public_path, key.to_text().as_bytes(), 0o644)?;
            self.report(&key, None, &public_path, Some(uri), output);
            return Ok(());
        }
        let key = NewKey::generate(self.scheme, &user_id, now, expires);
        write_new(&self.output, &key.to_file(None), 0o600)?;
        write_new(&public_path, key.public().to_text().as_bytes(), 0o644)?;
        self.report(
            &key.public(),
            Some(&self.output),
            &public_path,
            None,
            output,
        );
        Ok(())
    }

    fn report(
        &self,
        key: &BuilderKey,
        secret: Option<&PathBuf>,
        public: &Path,
        token: Option<String>,
        output: &mut Output,
    ) {
        output.line(format!("build key {} is ready", key.id()));
        if let Some(path) = secret {
            output.line(format!("  secret     {} (stays here)", path.display()));
        }
        if let Some(uri) = &token {
            output.line(format!("  token      {uri}"));
        }
        output.line(format!("  public     {}", public.display()));
        let name = public.file_name().unwrap_or_default().to_string_lossy();
        output.line("next: on the signing host, with the public half");
        output.line(format!(
            "  countersign grant PROJECT VERSION --scheme {} --builder NAME={name}",
            self.scheme
        ));
        output.line("then here, with the grant");
        match &token {
            Some(uri) => output.line(format!(
                "  countersign attest --token '{uri}' --grant GRANT ARTIFACT..."
            )),
            None => {
                output.line(format!(
                    "  countersign attest --key {} --grant GRANT ARTIFACT...",
                    self.output.display()
                ));
            }
        }
        output.value(json!({
            "scheme": self.scheme,
            "key": key.id(),
            "secret_file": secret.map(|path| path.to_string_lossy()),
            "public_file": public.to_string_lossy(),
            "token": token,
        }));
    }
}
