//! `countersign init`

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::options::WaitOption;
use super::options::kinds;
use super::token_words::warn_of_file_token;
use crate::cli::args::read_certificate;
use crate::cli::error::CliError;
use crate::cli::global::Global;
use crate::cli::render::Output;
use crate::domain::key::KeyKind;
use crate::domain::time::{Clock, Period, Timestamp};
use crate::files::FileError;
use crate::steps::host::release_key::{self, Identity, Origin, Ready, Setup};
use crate::token::TokenUri;

/// Set up the signing host and its release key
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  countersign init --token card: --generate ed25519 \\
      --user-id 'Foo <release@example.org>'
  countersign init --cert release.asc \\
      --token 'pkcs11:token=release;object=r2026?module-path=/PATH/TO/module.so'")]
pub(in crate::cli) struct Init {
    /// Token: `card:`, `card:MANUFACTURER:SERIAL`, or PKCS#11 URI (RFC 7512)
    #[arg(long, value_name = "URI")]
    token: String,
    /// Generate a key of this kind on the token [default: use the key there]
    #[arg(
        long,
        value_name = "KIND",
        requires = "user_id",
        conflicts_with = "cert",
        value_parser = kinds()
    )]
    generate: Option<KeyKind>,
    /// Destroy and replace the card's signing key
    #[arg(long, requires = "generate")]
    replace_key: bool,
    /// User ID of a new certificate for the key
    #[arg(
        long,
        value_name = "UID",
        required_unless_present = "cert",
        conflicts_with = "cert"
    )]
    user_id: Option<String>,
    /// Validity of the new certificate: 2y, 18mo, never
    #[arg(
        long,
        value_name = "TIME",
        default_value = "2y",
        value_parser = validity,
        conflicts_with = "cert"
    )]
    expires: Validity,
    /// Existing certificate of the key
    #[arg(long, value_name = "FILE")]
    cert: Option<PathBuf>,
    /// Domain of signature notations [default: the user ID's email domain]
    #[arg(long, value_name = "DOMAIN")]
    notation_domain: Option<String>,
    #[command(flatten)]
    wait: WaitOption,
}

/// How long a certificate is valid; `None` for ever.
#[derive(Debug, Clone, Copy)]
pub(super) struct Validity(pub(super) Option<Period>);

pub(super) fn validity(text: &str) -> Result<Validity, crate::domain::malformed::Malformed> {
    match text {
        "never" => Ok(Validity(None)),
        text => text.parse().map(|period| Validity(Some(period))),
    }
}

/// When a certificate or key expires, in words.
pub(super) fn expiry(at: Option<Timestamp>) -> String {
    at.map_or_else(|| "never".to_owned(), |at| at.to_string())
}

impl Init {
    pub(super) fn run(self, global: &Global, output: &mut Output) -> Result<(), CliError> {
        let home = global.home_path()?;
        let token = self.token.parse::<TokenUri>()?;
        let token = token.absolute().map_err(FileError::io(Path::new(".")))?;
        warn_of_file_token(&token, output);
        let identity = self.user_id.map(|user_id| Identity {
            user_id,
            valid_for: self.expires.0,
        });
        let origin = match (self.cert, self.generate, identity) {
            (Some(cert), _, _) => Origin::Certified(Box::new(read_certificate(&cert)?)),
            (None, Some(kind), Some(identity)) => Origin::Generate {
                kind,
                replace: self.replace_key,
                identity,
            },
            (None, None, Some(identity)) => Origin::Existing(identity),
            (None, _, None) => unreachable!("the command line requires one of them"),
        };
        let setup = Setup {
            token,
            origin,
            notation_domain: self.notation_domain,
        };
        let (mut terminal, wait) = (self.wait.terminal(), self.wait.for_commands());
        let ready = release_key::init(&home, setup, &mut terminal, Clock::System, wait)?;
        show(&ready, output);
        Ok(())
    }
}

fn show(ready: &Ready, output: &mut Output) {
    let Ready {
        home,
        key,
        revocation,
    } = ready;
    let certificate = &home.certificate;
    let token = &home.config.token;
    output.line(format!("release key {} is ready", key.fingerprint()));
    output.line(format!(
        "  certificate {} ({})",
        certificate.fingerprint(),
        certificate.user_ids().join(", ")
    ));
    output.line(format!("  expires     {}", expiry(key.expires())));
    output.line(format!("  token       {token}"));
    output.line(format!("  home        {}", home.path().display()));
    if let Some(revocation) = revocation {
        output.line(format!("  revocation  {}", revocation.display()));
        output.line(
            "move the revocation certificate to a safe place away from this host: anyone with it \
             can revoke the key",
        );
    }
    output.line("next: publish the certificate, then approve a build");
    output.line("  countersign key export --binary -o release.pgp");
    output.line("  countersign grant PROJECT VERSION");
    output.value(json!({
        "key": key.fingerprint(),
        "certificate": certificate.fingerprint(),
        "user_ids": certificate.user_ids(),
        "expires": key.expires(),
        "algorithm": key.public().algorithm(),
        "token": token,
        "home": home.path().to_string_lossy(),
        "revocation": revocation.as_ref().map(|path| path.to_string_lossy()),
    }));
}
