//! `countersign build-key`

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::args::scheme;
use super::error::CliError;
use super::render::Output;
use crate::domain::evidence::Scheme;
use crate::domain::time::{Period, Timestamp};
use crate::files::{FileError, FileFault, write_new};
use crate::steps::builder::build_key::NewKey;
use crate::steps::evidence::builders::BuilderKey;
#[cfg(feature = "host")]
use host::*;

#[cfg(feature = "host")]
mod host {
    pub(super) use crate::cli::host::init::kinds;
    pub(super) use crate::cli::host::prompt::Terminal;
    pub(super) use crate::domain::key::KeyKind;
    pub(super) use crate::steps::builder::build_key::generate_on;
    pub(super) use crate::token::TokenUri;
}

/// Make a build key that never leaves this machine (on the build machine)
///
/// The public half, FILE.pub, goes to the signing host: `countersign grant --builder
/// NAME=FILE.pub`. The grant comes back, for `countersign attest --key FILE --grant GRANT`. With
/// --token the key is made on a token of this machine, and only FILE.pub is written.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  countersign build-key -o m1.key")]
pub(super) struct BuildKey {
    /// The scheme of the grant: openpgp or dsse. For hmac there is nothing to make here: `grant`
    /// makes the nonce
    #[arg(long, value_name = "SCHEME", default_value = "openpgp", value_parser = scheme())]
    scheme: Scheme,
    /// Make the key on this token (scheme openpgp): a PKCS#11 URI (RFC 7512) with the new key's
    /// name
    #[cfg(feature = "host")]
    #[arg(long, value_name = "URI")]
    token: Option<TokenUri>,
    /// With --token: the kind of key
    #[cfg(feature = "host")]
    #[arg(long, value_name = "KIND", default_value = "p256", requires = "token", value_parser = kinds())]
    kind: KeyKind,
    /// Scheme openpgp: how long the key can sign: 6h, 2d
    #[arg(long, value_name = "TIME", default_value = "2d")]
    valid_for: Period,
    /// The key file; its public half gets `.pub` at the end
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

impl BuildKey {
    pub(super) fn run(self, output: &mut Output) -> Result<(), CliError> {
        let now = Timestamp::now();
        if self.scheme == Scheme::Hmac {
            let text = "a nonce of scheme hmac is made by `countersign grant`: the signing host must know it too";
            return Err(CliError::Usage(text.to_owned()));
        }
        let too_long = || CliError::Usage(format!("a key cannot be valid for {}", self.valid_for));
        let expires = now.after(self.valid_for).ok_or_else(too_long)?;
        let public_path = PathBuf::from(format!("{}.pub", self.output.display()));
        let user_id = format!(
            "build key of {}",
            self.output
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
        );

        // Before there is a secret half, which could not be used without the other.
        if public_path.exists() {
            return Err(FileError::new(&public_path, FileFault::Exists).into());
        }
        #[cfg(feature = "host")]
        if let Some(uri) = &self.token {
            if self.scheme != Scheme::OpenPgp {
                return Err(CliError::Usage(
                    "a key on a token signs under scheme openpgp".to_owned(),
                ));
            }
            let (uri, key) = generate_on(
                uri,
                self.kind,
                &user_id,
                now,
                expires,
                &mut Terminal::new(false),
            )?;
            write_new(&public_path, key.to_text().as_bytes(), 0o644)?;
            self.report(&key, None, &public_path, Some(uri.to_string()), output);
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
