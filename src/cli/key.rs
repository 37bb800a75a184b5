//! `countersign key`

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use super::init::{Validity, validity};
use super::prompt::Terminal;
use super::render::{CliError, Output};
use super::sign::{pin_state, warn_of_file_token};
use crate::domain::time::Timestamp;
use crate::files::{FileError, replace};
use crate::home::Home;
use crate::steps::release_key;
use crate::token::{self, TokenUri};

/// Look at the release key and its token
#[derive(Debug, Args)]
pub(super) struct Key {
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    /// List the keys on the token, without a PIN
    #[command(after_help = "Example:\n  countersign key list --token 'pkcs11:?module-path=/PATH/TO/module.so'")]
    List {
        /// The token, by its RFC 7512 URI [default: the one in config.toml]
        #[arg(long, value_name = "URI")]
        token: Option<String>,
    },
    /// Check that token, certificate and configuration fit together, without a PIN
    #[command(after_help = "Example:\n  countersign key check")]
    Check {
        /// Let the key sign a test text too: takes the PIN, and is logged
        #[arg(long)]
        sign: bool,
    },
    /// Give the release certificate another expiry: takes the PIN, and is logged
    #[command(after_help = "Example:\n  countersign key extend --expires 2y")]
    Extend {
        /// How long it is valid from now on: 2y, 18mo, or never
        #[arg(long, value_name = "TIME", default_value = "2y", value_parser = validity)]
        expires: Validity,
    },
    /// Write the release certificate: publish it, and verify with it
    #[command(after_help = "Example:\n  countersign key export --binary -o release.pgp")]
    Export {
        /// In binary form, the keyring that gpgv and sqv read, instead of armour
        #[arg(long)]
        binary: bool,
        /// Write it to this file [default: standard output]
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

impl Key {
    pub(super) fn run(self, home: &Path, output: &mut Output) -> Result<(), CliError> {
        match self.command {
            KeyCommand::List { token } => list(token, home, output),
            KeyCommand::Check { sign } => check(sign, &Home::open(home)?, output),
            KeyCommand::Extend { expires } => extend(expires, &mut Home::open(home)?, output),
            KeyCommand::Export { binary, output: file } => export(binary, file, &Home::open(home)?),
        }
    }
}

fn list(token: Option<String>, home: &Path, output: &mut Output) -> Result<(), CliError> {
    let (uri, release) = match token {
        Some(uri) => (uri.parse::<TokenUri>()?, None),
        None => {
            let home = Home::open(home)?;
            let key = home.certificate.signing_key(home.config.signing_key, Timestamp::now());
            (home.config.token.whole_token(), key.ok())
        }
    };
    let mut values = Vec::new();
    for found in token::list_keys(&uri)? {
        let is_ours = release.as_ref().is_some_and(|key| found.public.as_ref() == Ok(key.public()));
        let algorithm =
            found.public.as_ref().map_or_else(|reason| format!("unsuitable: {reason}"), |key| key.algorithm());
        output.line(&found.token.uri);
        output.line(format!("  key        {} ({algorithm})", found.label));
        output.line(format!(
            "  token      {} (serial {}, {} {})",
            found.token.label, found.token.serial, found.token.manufacturer, found.token.model
        ));
        output.line(format!("  PIN        {}", pin_state(found.token.pin)));
        if let Some(key) = release.as_ref().filter(|_| is_ours) {
            output.line(format!("  release key of this signing host, {}", key.fingerprint()));
        }
        values.push(json!({
            "uri": found.token.uri,
            "label": found.label,
            "id": hex::encode(&found.id),
            "algorithm": algorithm,
            "token": found.token.label,
            "serial": found.token.serial,
            "manufacturer": found.token.manufacturer,
            "model": found.token.model,
            "pin": found.token.pin,
            "release_key": is_ours,
        }));
    }
    if values.is_empty() {
        output.line("no key is visible there without a PIN");
    }
    output.value(json!({ "keys": values }));
    Ok(())
}

fn check(sign: bool, home: &Home, output: &mut Output) -> Result<(), CliError> {
    let now = Timestamp::now();
    warn_of_file_token(&home.config.token, output);
    let token = token::find(&home.config.token)?;
    let key = release_key::check(home, &*token, now)?;
    let description = token.description().clone();
    let seen = token.public().is_some();
    if sign {
        release_key::try_out(home, &home.lock()?, token, &mut Terminal, now)?;
    }

    let expires = key.expires().map_or_else(|| "never".to_owned(), |at| at.to_string());
    output.line(format!("release key {}", key.fingerprint()));
    output.line(format!(
        "  certificate {} ({})",
        home.certificate.fingerprint(),
        home.certificate.user_ids().join(", ")
    ));
    output.line(format!("  expires     {expires}"));
    output.line(format!("  algorithm   {}", key.public().algorithm()));
    output.line(format!("  token       {} (serial {})", description.label, description.serial));
    output.line(format!("  PIN         {}", pin_state(description.pin)));
    output.line(match (seen, sign) {
        (_, true) => "the token signed a test text, and the signature holds with the certificate",
        (true, false) => "the token shows the public half of this key; `key check --sign` proves the private half",
        (false, false) => "the token shows its key only after the PIN: `key check --sign` asks for it",
    });
    output.value(json!({
        "key": key.fingerprint(),
        "certificate": home.certificate.fingerprint(),
        "user_ids": home.certificate.user_ids(),
        "expires": key.expires(),
        "algorithm": key.public().algorithm(),
        "token": description.uri,
        "pin": description.pin,
        "on_token": seen || sign,
        "signed": sign,
    }));
    Ok(())
}

fn extend(expires: Validity, home: &mut Home, output: &mut Output) -> Result<(), CliError> {
    warn_of_file_token(&home.config.token, output);
    let lock = home.lock()?;
    let token = token::find(&home.config.token)?;
    let key = release_key::extend(home, &lock, token, expires.0, &mut Terminal, Timestamp::now())?;
    let end = key.expires().map_or_else(|| "never".to_owned(), |at| at.to_string());
    output.line(format!("release key {}", key.fingerprint()));
    output.line(format!("  expires     {end}"));
    output.line("next: publish the certificate anew");
    output.line("  countersign key export --binary -o release.pgp");
    output.value(json!({ "key": key.fingerprint(), "expires": key.expires() }));
    Ok(())
}

fn export(binary: bool, file: Option<PathBuf>, home: &Home) -> Result<(), CliError> {
    let bytes = match binary {
        true => home.certificate.binary(),
        false => home.certificate.armored().into_bytes(),
    };
    match file {
        Some(path) => Ok(replace(&path, &bytes, 0o644)?),
        None if binary && std::io::stdout().is_terminal() => {
            Err(CliError::Usage("binary data is not for a terminal: name a file with `-o`".to_owned()))
        }
        None => Ok(std::io::stdout().write_all(&bytes).map_err(FileError::io(Path::new("standard output")))?),
    }
}
