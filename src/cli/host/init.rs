//! `countersign init`

use std::path::PathBuf;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde_json::json;

use super::prompt::Terminal;
use super::token_words::warn_of_file_token;
use crate::cli::args::read_certificate;
use crate::cli::error::CliError;
use crate::cli::global::Global;
use crate::cli::render::Output;
use crate::domain::key::KeyKind;
use crate::domain::time::{Period, Timestamp};
use crate::files::FileError;
use crate::steps::host::release_key::{self, Identity, Origin};
use crate::token::TokenUri;

/// Set up the signing host: its home, and the release key on a token
///
/// With --generate, a key pair is made on the token, private half sensitive and not extractable.
/// With --user-id alone, the key that the URI names gets a certificate. With --cert, the token's
/// key is found in a certificate that there is: as its primary key or as a signing subkey, so that
/// the primary key can stay offline.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  countersign init --generate ed25519 --user-id 'Foo <release@example.org>' --token card:
  countersign init --generate ed25519 --user-id 'Foo <release@example.org>' \\
      --token 'pkcs11:token=release;object=r2026?module-path=/PATH/TO/module.so'
  countersign init --cert release.asc \\
      --token 'pkcs11:token=release?module-path=/PATH/TO/module.so'")]
pub(in crate::cli) struct Init {
    /// The token: `card:`, `card:MANUFACTURER:SERIAL`, or a PKCS#11 URI (RFC 7512); `pin-source=`
    /// in it says where the PIN comes from; without it, the terminal is asked
    #[arg(long, value_name = "URI")]
    token: String,
    /// Make a key pair of this kind on the token
    #[arg(long, value_name = "KIND", requires = "user_id", conflicts_with = "cert", value_parser = kinds())]
    generate: Option<KeyKind>,
    /// Let the new key take the place of the signing key on the card, which is lost for ever
    #[arg(long, requires = "generate")]
    replace_key: bool,
    /// Whom the new certificate names
    #[arg(
        long,
        value_name = "UID",
        required_unless_present = "cert",
        conflicts_with = "cert"
    )]
    user_id: Option<String>,
    /// How long the new certificate is valid: 2y, 18mo, or never
    #[arg(long, value_name = "TIME", default_value = "2y", value_parser = validity, conflicts_with = "cert")]
    expires: Validity,
    /// The certificate of the key that is on the token
    #[arg(long, value_name = "FILE")]
    cert: Option<PathBuf>,
    /// Domain of the notations in release signatures [default: that of the user id's mail address]
    #[arg(long, value_name = "DOMAIN")]
    notation_domain: Option<String>,
    /// Wait while another program holds the token
    #[arg(long)]
    wait: bool,
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

pub(in crate::cli) fn kinds() -> impl TypedValueParser<Value = KeyKind> {
    let named = |name: String| {
        KeyKind::ALL
            .into_iter()
            .find(|kind| kind.name() == name)
            .expect("it is one of those")
    };
    PossibleValuesParser::new(KeyKind::ALL.map(KeyKind::name)).map(named)
}

impl Init {
    pub(super) fn run(self, global: &Global, output: &mut Output) -> Result<(), CliError> {
        let home = global.home_path()?;
        let token = match self.token.parse()? {
            // The configuration must mean the same wherever a command is run.
            TokenUri::File(path) => {
                TokenUri::File(std::path::absolute(&path).map_err(FileError::io(&path))?)
            }
            other @ (TokenUri::Card(_) | TokenUri::Pkcs11(_)) => other,
        };
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
            (None, _, None) => unreachable!("the command line demands one of them"),
        };
        let now = Timestamp::now();
        let ready = release_key::init(
            &home,
            &token,
            origin,
            self.notation_domain,
            &mut Terminal::new(self.wait),
            now,
        )?;

        let (certificate, config) = (&ready.home.certificate, &ready.home.config);
        output.line(format!("release key {} is ready", ready.key.fingerprint()));
        output.line(format!(
            "  certificate {} ({})",
            certificate.fingerprint(),
            certificate.user_ids().join(", ")
        ));
        output.line(format!("  expires     {}", expiry(ready.key.expires())));
        output.line(format!("  token       {}", config.token));
        output.line(format!("  home        {}", ready.home.path().display()));
        if let Some(revocation) = &ready.revocation {
            output.line(format!("  revocation  {}", revocation.display()));
            output.line(
                "move the revocation certificate to a safe place away from this host: who has it can end the key",
            );
        }
        output.line("next: publish the certificate, then approve a build");
        output.line("  countersign key export --binary -o release.pgp");
        output.line("  countersign grant PROJECT VERSION");
        output.value(json!({
            "key": ready.key.fingerprint(),
            "certificate": certificate.fingerprint(),
            "user_ids": certificate.user_ids(),
            "expires": ready.key.expires(),
            "algorithm": ready.key.public().algorithm(),
            "token": config.token,
            "home": ready.home.path().to_string_lossy(),
            "revocation": ready.revocation.as_ref().map(|path| path.to_string_lossy()),
        }));
        Ok(())
    }
}
