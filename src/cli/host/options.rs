//! Options of commands that also run without the signing host: its home, and a builder's token.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::list::note;
use super::prompt::Terminal;
use crate::cli::error::{CliError, CommandError, Within};
use crate::domain::evidence::Scheme;
use crate::domain::grant::Grant;
use crate::domain::key::KeyKind;
use crate::domain::text::clean;
use crate::domain::time::{Period, Timestamp};
use crate::files::{Wait, make_private};
use crate::home::Home;
use crate::steps::builder::attest::Attestation;
use crate::steps::builder::build_key::BuildKey;
use crate::steps::evidence::builders::BuilderKey;
use crate::steps::host::token_build_key::{generate_on, on_token};
use crate::token::{self, RefusedPins, TokenUri};

/// How long a command waits for another one without `--wait`.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub(in crate::cli) struct HomeOption {
    /// Signing host's home
    // Not repeated in the help of each command: the end of the program's help has it.
    #[arg(long, global = true, value_name = "DIR", hide = true)]
    pub(super) home: Option<PathBuf>,
}

/// How long a command waits for what other processes use.
#[derive(Debug, Clone, Copy, Args)]
pub(in crate::cli) struct WaitOption {
    /// Wait for other commands and programs that use the home or the token [default: 10s]
    #[arg(
        long,
        value_name = "TIME",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "100y"
    )]
    wait: Option<Period>,
}

impl WaitOption {
    /// For the locks of this program's commands.
    pub(super) fn for_commands(self) -> Wait {
        Wait {
            limit: Some(self.wait.map_or(PATIENCE, Period::length)),
            show: |holder| note(&format!("waiting for {}", clean(&holder.to_string()))),
        }
    }

    /// Asks the user, and waits for other programs that use the token.
    pub(super) fn terminal(self) -> Terminal {
        Terminal::new(self.wait.map_or(Duration::ZERO, Period::length))
    }

    /// As [`WaitOption::terminal`], with the pinentry of the configuration.
    pub(super) fn terminal_of(self, home: &Home) -> Terminal {
        self.terminal().with_pinentry(home.config.pinentry.clone())
    }
}

/// Where the build key is.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(in crate::cli) struct KeyOption {
    /// Build key: file, `-` (standard input), or `credential:NAME` (systemd)
    #[arg(long, value_name = "FILE")]
    key: Option<String>,
    /// Token with the build key (scheme openpgp): PKCS#11 URI
    #[arg(long, value_name = "URI", requires = "grant")]
    token: Option<TokenUri>,
}

impl KeyOption {
    /// What `attest` makes of the key, if it is on a token.
    pub(in crate::cli) fn on_token(
        &self,
        grant: Option<&Grant>,
        now: Timestamp,
        attest: &dyn Fn(BuildKey<'_>) -> Result<Attestation, CliError>,
    ) -> Option<Result<Attestation, CliError>> {
        let uri = self.token.as_ref()?;
        let grant = grant.expect("the command line requires it with a token");
        let mut terminal = Terminal::new(Duration::ZERO);
        let mut attested = || {
            let token = token::find(uri, &refused_pins()?, &mut terminal)?;
            let token = token.unlock(&mut terminal)?;
            let key = on_token(grant, token, &mut terminal, now);
            attest(key.map_err(|fault| Within {
                what: format!("build key `{uri}`"),
                error: fault,
            })?)
        };
        Some(attested())
    }

    /// The key, if it is not on a token.
    pub(in crate::cli) fn key(&self) -> &str {
        let key = self.key.as_deref();
        key.expect("the command line requires one of the two")
    }
}

/// The record of refused PINs of a user without a signing host's home.
fn refused_pins() -> Result<RefusedPins, CliError> {
    let set = |variable: &str| {
        let path = std::env::var_os(variable).map(PathBuf::from);
        path.filter(|path| path.is_absolute())
    };
    let state = set("XDG_STATE_HOME").or_else(|| Some(set("HOME")?.join(".local/state")));
    let folder = state.ok_or_else(|| {
        let text = "neither $HOME nor $XDG_STATE_HOME shows where a refused PIN can be recorded";
        CommandError::Usage(text.to_owned())
    })?;
    let folder = folder.join("countersign");
    make_private(&folder)?;
    Ok(RefusedPins::at(folder.join("refused-pins")))
}

/// The kinds of keys that a token can make.
pub(super) fn kinds() -> impl TypedValueParser<Value = KeyKind> {
    let named = |name: String| {
        KeyKind::ALL
            .into_iter()
            .find(|kind| kind.name() == name)
            .expect("it is one of those")
    };
    PossibleValuesParser::new(KeyKind::ALL.map(KeyKind::name)).map(named)
}

#[derive(Debug, Args)]
pub(in crate::cli) struct NewKeyOption {
    /// Token for the key (scheme openpgp): PKCS#11 URI with its name
    #[arg(long, value_name = "URI")]
    token: Option<TokenUri>,
    /// Kind of key on the token
    #[arg(
        long,
        value_name = "KIND",
        default_value = "p256",
        requires = "token",
        value_parser = kinds()
    )]
    kind: KeyKind,
}

impl NewKeyOption {
    /// Makes the key, if it is to be on a token; returns where it is.
    pub(in crate::cli) fn generate(
        &self,
        scheme: Scheme,
        user_id: &str,
        now: Timestamp,
        expires: Timestamp,
    ) -> Result<Option<(String, BuilderKey)>, CliError> {
        let Some(uri) = &self.token else {
            return Ok(None);
        };
        if scheme != Scheme::OpenPgp {
            let text = "a key on a token signs under scheme openpgp";
            return Err(CommandError::Usage(text.to_owned()).into());
        }
        let mut terminal = Terminal::new(Duration::ZERO);
        let pins = refused_pins()?;
        let (uri, key) = generate_on(uri, self.kind, user_id, now, expires, &pins, &mut terminal)?;
        Ok(Some((uri.to_string(), key)))
    }
}
