//! `countersign key`

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::json;

use super::init::{Validity, expiry, validity};
use super::open::warn_of;
use super::options::WaitOption;
use super::prompt::Terminal;
use super::token_words::{card_lines, pin_state, warn_of_file_token};
use crate::cli::error::{CliError, CommandError};
use crate::cli::global::Global;
use crate::cli::render::Output;
use crate::domain::time::Timestamp;
use crate::files::{FileError, parent, refuse_foreign, replace};
use crate::home::{Home, HomeError};
use crate::openpgp::{Certificate, LARGEST_CERTIFICATE, SigningKey};
use crate::steps::host::Host;
use crate::steps::host::release_key::{self, Checked};
use crate::token::{self, FoundKey, Pin, PinState, TokenError, TokenUri};

/// Inspect, extend and export the release key
#[derive(Debug, Args)]
#[command(disable_help_subcommand = true)]
pub(in crate::cli) struct Key {
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    /// List the keys on cards and configured tokens, without a PIN
    #[command(after_help = "\
Example:
  countersign key list --token 'pkcs11:?module-path=/PATH/TO/module.so'")]
    List {
        /// Only these tokens: `card:` or PKCS#11 URI
        #[arg(long, value_name = "URI")]
        token: Option<String>,
    },
    /// Check token, certificate and configuration, without a PIN
    Check {
        /// Also sign a test text, with the PIN; logged
        #[arg(long)]
        sign: bool,
        /// Ask for the PIN, whatever source the configuration names
        #[arg(long, requires = "sign")]
        prompt: bool,
        #[command(flatten)]
        wait: WaitOption,
    },
    /// Change the expiry of the release certificate, with the PIN
    Extend {
        /// New validity: 2y, 18mo, never
        #[arg(long, value_name = "TIME", default_value = "2y", value_parser = validity)]
        expires: Validity,
        #[command(flatten)]
        wait: WaitOption,
    },
    /// Write the release certificate
    #[command(after_help = "Example:\n  countersign key export --binary -o release.pgp")]
    Export {
        /// Without armour, as a keyring for gpgv and sqv
        #[arg(long)]
        binary: bool,
        /// Output file [default: standard output]
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

impl Key {
    pub(super) fn run(self, global: &Global, output: &mut Output) -> Result<(), CliError> {
        match self.command {
            KeyCommand::List { token } => list(token, &global.home_path()?, output),
            KeyCommand::Check { sign, prompt, wait } => check(sign, prompt, wait, global, output),
            KeyCommand::Extend { expires, wait } => {
                extend(expires, wait, &mut global.host(wait)?, output)
            }
            KeyCommand::Export {
                binary,
                output: file,
            } => export(binary, file, global, output),
        }
    }
}

fn list(token: Option<String>, home: &Path, output: &mut Output) -> Result<(), CliError> {
    let uri = token.map(|uri| uri.parse::<TokenUri>()).transpose()?;
    let home = match Home::open(home) {
        Ok(home) => Some(home),
        // Before `init`, there are only tokens.
        Err(HomeError::Missing(_)) => None,
        Err(error) => return Err(error.into()),
    };
    let release = home.as_ref().and_then(|home| {
        home.certificate
            .signing_key(home.config.signing_key, Timestamp::now())
            .ok()
    });
    let found = match uri {
        Some(uri) => token::list_keys(&uri, &mut Terminal::new(Duration::ZERO))?,
        None => in_reach(home.as_ref().map(|home| &home.config.token), output)?,
    };
    let mut values = Vec::new();
    for found in found {
        let is_ours = release
            .as_ref()
            .is_some_and(|key| found.public.as_ref() == Ok(key.public()));
        let algorithm = found
            .public
            .as_ref()
            .map_or_else(ToString::to_string, |key| key.algorithm());
        let fingerprint = match &found.token.card {
            Some(card) => card.fingerprint,
            None => release
                .as_ref()
                .filter(|_| is_ours)
                .map(SigningKey::fingerprint),
        };
        output.line(found.token.uri.to_string());
        output.line(format!("  key        {} ({algorithm})", found.label));
        if let Some(fingerprint) = fingerprint {
            output.line(format!("  OpenPGP    {fingerprint}"));
        }
        output.line(format!(
            "  token      {} (serial {}, {} {})",
            found.token.label, found.token.serial, found.token.manufacturer, found.token.model
        ));
        output.line(format!("  PIN        {}", pin_state(found.token.pin)));
        for (name, value) in card_lines(&found.token) {
            output.line(format!("  {name:10} {value}"));
        }
        if is_ours {
            output.line("  release key of this signing host");
        }
        values.push(json!({
            "uri": found.token.uri,
            "label": found.label,
            "id": hex::encode(&found.id),
            "algorithm": algorithm,
            "fingerprint": fingerprint,
            "token": found.token.label,
            "serial": found.token.serial,
            "manufacturer": found.token.manufacturer,
            "model": found.token.model,
            "pin": found.token.pin,
            "card": found.token.card,
            "release_key": is_ours,
        }));
    }
    if values.is_empty() {
        output.line("no token in reach shows a key without a PIN");
    }
    output.value(json!({ "keys": values }));
    Ok(())
}

/// The keys on the cards in the readers, and on the tokens beside the one that is configured.
fn in_reach(configured: Option<&TokenUri>, output: &Output) -> Result<Vec<FoundKey>, CliError> {
    let other = configured.filter(|uri| !uri.is_card());
    let mut found = match other {
        Some(uri) => token::list_keys(&uri.all_tokens(), &mut Terminal::new(Duration::ZERO))?,
        None => Vec::new(),
    };
    match token::list_cards(&mut Terminal::new(Duration::ZERO)) {
        Ok((cards, troubles)) => {
            found.extend(cards);
            troubles
                .iter()
                .for_each(|trouble| output.warn(&trouble.to_string()));
        }
        // Other tokens need no service for cards.
        Err(TokenError::NoCardService { .. }) if other.is_some() => {}
        Err(error) => return Err(error.into()),
    }
    Ok(found)
}

fn check(
    sign: bool,
    prompt: bool,
    wait: WaitOption,
    global: &Global,
    output: &mut Output,
) -> Result<(), CliError> {
    if sign {
        let mut host = global.host(wait)?;
        if prompt {
            host.home.config.token = host.home.config.token.prompting();
        }
        let mut terminal = wait.terminal_of(&host.home);
        warn_of_file_token(&host.home.config.token, output);
        let checked = host.try_key(&mut terminal);
        warn_of(&mut host, output);
        let checked = checked?;
        let what = "the token signed a test text, and the signature is valid";
        show(&checked, true, what, &host.home, output)
    } else {
        let home = global.home()?;
        warn_of_file_token(&home.config.token, output);
        let checked = release_key::check(&home, &mut wait.terminal(), Timestamp::now())?;
        let what = if checked.seen {
            "the token shows the public half of this key; `key check --sign` tests the private half"
        } else {
            "the token shows its key only after the PIN: `key check --sign` asks for it"
        };
        show(&checked, false, what, &home, output)
    }
}

/// Shows what was found; refuses a PIN with which nobody can sign unattended.
fn show(
    checked: &Checked,
    signed: bool,
    what: &str,
    home: &Home,
    output: &mut Output,
) -> Result<(), CliError> {
    let Checked { key, token, seen } = checked;
    let certificate = &home.certificate;
    output.line(format!("release key {}", key.fingerprint()));
    output.line(format!(
        "  certificate {} ({})",
        certificate.fingerprint(),
        certificate.user_ids().join(", ")
    ));
    output.line(format!("  expires     {}", expiry(key.expires())));
    output.line(format!("  algorithm   {}", key.public().algorithm()));
    output.line(format!(
        "  token       {} (serial {})",
        token.label, token.serial
    ));
    output.line(format!("  PIN         {}", pin_state(token.pin)));
    for (name, value) in card_lines(token) {
        output.line(format!("  {name:11} {value}"));
    }
    output.line(what);
    output.value(json!({
        "key": key.fingerprint(),
        "certificate": certificate.fingerprint(),
        "user_ids": certificate.user_ids(),
        "expires": key.expires(),
        "algorithm": key.public().algorithm(),
        "token": token.uri,
        "pin": token.pin,
        "card": token.card,
        "on_token": *seen || signed,
        "signed": signed,
    }));
    let pin = Pin::User;
    let token = checked.token.label.clone();
    match checked.token.pin {
        PinState::FinalTry => Err(TokenError::FinalTry { token, pin }.into()),
        PinState::Locked => Err(TokenError::PinLocked { token, pin }.into()),
        PinState::Untouched | PinState::CountLow | PinState::Left(_) | PinState::NotNeeded => {
            Ok(())
        }
    }
}

fn extend(
    expires: Validity,
    wait: WaitOption,
    host: &mut Host,
    output: &mut Output,
) -> Result<(), CliError> {
    warn_of_file_token(&host.home.config.token, output);
    let mut terminal = wait.terminal_of(&host.home);
    let key = host.extend(expires.0, &mut terminal);
    warn_of(host, output);
    let key = key?;
    output.line(format!("release key {}", key.fingerprint()));
    output.line(format!("  expires     {}", expiry(key.expires())));
    output.line("next: publish the certificate again");
    output.line("  countersign key export --binary -o release.pgp");
    output.value(json!({ "key": key.fingerprint(), "expires": key.expires() }));
    Ok(())
}

fn export(
    binary: bool,
    file: Option<PathBuf>,
    global: &Global,
    output: &mut Output,
) -> Result<(), CliError> {
    let home = global.home()?;
    let bytes = if binary {
        home.certificate.binary()
    } else {
        home.certificate.armored().into_bytes()
    };
    match file {
        Some(path) => {
            global.outside_home(parent(&path))?;
            // A certificate that was extended replaces an earlier one; nothing else is overwritten.
            let is_certificate = |there: &[u8]| Certificate::parse(there).is_ok();
            refuse_foreign(&path, LARGEST_CERTIFICATE, is_certificate)?;
            replace(&path, &bytes, 0o644)?;
            output.value(json!({ "file": path.to_string_lossy() }));
            Ok(())
        }
        None if output.json => {
            output.value(json!({ "certificate": home.certificate.armored() }));
            Ok(())
        }
        None if binary && std::io::stdout().is_terminal() => Err(CommandError::Usage(
            "binary data is not written to a terminal: name a file with `-o`".to_owned(),
        )
        .into()),
        None => Ok(std::io::stdout()
            .write_all(&bytes)
            .map_err(FileError::io(Path::new("standard output")))?),
    }
}
