//! H's configuration, `config.toml` in its home.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::domain::key::{Fingerprint, HashAlgorithm};
use crate::domain::malformed::Malformed;
use crate::domain::name::{ApproverName, case_clashes, is_domain};
use crate::domain::time::Period;
use crate::tlog::note::VerifierKey;
use crate::token::TokenUri;

/// The values of `config.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the release key is.
    pub token: TokenUri,
    /// Which key of the release certificate it is.
    pub signing_key: Fingerprint,
    /// The domain of the notations in release signatures.
    pub notation_domain: String,
    /// The public half of the key that signs the log's checkpoints.
    pub log_key: VerifierKey,
    /// The hash function of release signatures; a key may need a longer one.
    #[serde(default = "default_digest")]
    pub digest: HashAlgorithm,
    /// How long a grant is valid, unless given at its command.
    #[serde(default = "default_valid_for")]
    pub valid_for: Period,
    /// Maximum number of artifacts under a grant, unless given at its command.
    #[serde(default = "default_max_count")]
    pub max_count: u32,
    /// Maximum total size of artifacts under a grant in bytes, unless given at its command.
    #[serde(default = "default_max_bytes")]
    pub max_bytes: u64,
    /// How many people must approve a grant.
    #[serde(default)]
    pub approvals: u32,
    /// Minimum time between the approval of a grant and signing under it.
    #[serde(default)]
    pub embargo: Option<Period>,
    /// The program that asks for PINs without a terminal.
    #[serde(default)]
    pub pinentry: Option<PathBuf>,
    /// L, as far as it can be reached from here.
    #[serde(default)]
    pub repository: Repository,
    /// Where H's own checkpoints are kept.
    #[serde(default)]
    pub anchor: Anchor,
    /// Who may approve.
    #[serde(default)]
    pub approver: Vec<ApproverKeys>,
}

/// Folders of L as H sees them, on a mount or a shared disk. Relative paths start at the home.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Repository {
    /// Where each release is pushed to.
    #[serde(default)]
    pub inbox: Option<PathBuf>,
    /// Where the log is exported to after each release.
    #[serde(default)]
    pub log: Option<PathBuf>,
}

/// Where checkpoints of H's own log are kept: a home that is older than one of them is not used.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Anchor {
    /// Folders, on a mount or a shared disk; without any, the folder of the exported log. Relative
    /// paths start at the home.
    #[serde(default)]
    pub places: Vec<PathBuf>,
    /// Whether nothing is signed that was not announced at each of them before.
    #[serde(default)]
    pub required: bool,
    /// How long one may take to answer.
    #[serde(default = "default_timeout")]
    pub timeout: Period,
}

impl Default for Anchor {
    fn default() -> Self {
        Self {
            places: Vec::new(),
            required: false,
            timeout: default_timeout(),
        }
    }
}

/// An approver and their keys.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApproverKeys {
    /// Their name.
    pub name: ApproverName,
    /// Files with an OpenPGP certificate each; relative paths start at the home.
    #[serde(default)]
    pub openpgp: Vec<PathBuf>,
    /// SSH public keys, each a line as in `id_ed25519.pub`.
    #[serde(default)]
    pub ssh: Vec<String>,
}

/// The name of its file, in the home.
pub const CONFIG: &str = "config.toml";

/// The keys of the top level.
const KEYS: [&str; 14] = [
    "token",
    "signing_key",
    "notation_domain",
    "log_key",
    "digest",
    "valid_for",
    "max_count",
    "max_bytes",
    "approvals",
    "embargo",
    "pinentry",
    "repository",
    "anchor",
    "approver",
];

/// The keys below `repository`.
const REPOSITORY_KEYS: [&str; 2] = ["inbox", "log"];

/// The keys below `anchor`.
const ANCHOR_KEYS: [&str; 3] = ["places", "required", "timeout"];

/// The tables that are there once, with their keys.
const TABLES: [(&str, &[&str]); 2] = [("repository", &REPOSITORY_KEYS), ("anchor", &ANCHOR_KEYS)];

fn default_digest() -> HashAlgorithm {
    HashAlgorithm::Sha256
}

fn default_valid_for() -> Period {
    Period::seconds(6 * 3600)
}

fn default_max_count() -> u32 {
    100
}

fn default_timeout() -> Period {
    Period::seconds(10)
}

fn default_max_bytes() -> u64 {
    10 << 30
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("configuration `{}`: {reason}", path.display())]
#[diagnostic(code(usage::bad_config))]
pub struct ConfigError {
    /// Its file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: Malformed,
}

impl Config {
    /// Reads the text of the file at `path`.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        Self::parse_text(text).map_err(|reason| ConfigError {
            path: path.to_owned(),
            reason,
        })
    }

    fn parse_text(text: &str) -> Result<Self, Malformed> {
        let malformed = |error: toml::de::Error| {
            let line = error
                .span()
                .map_or(1, |span| text[..span.start].matches('\n').count() + 1);
            Malformed::new(format!("line {line}: {}", error.message()))
        };
        let table: toml::Table = text.parse().map_err(malformed)?;
        check_keys(&table, "", &KEYS)?;
        check_places(&table)?;
        for (name, keys) in TABLES {
            if let Some(inner) = table.get(name).and_then(toml::Value::as_table) {
                check_keys(inner, &format!("{name}."), keys)?;
            }
        }
        let config: Self = toml::from_str(text).map_err(malformed)?;
        if !is_domain(&config.notation_domain) {
            return Err(Malformed::new(format!(
                "`notation_domain` is not a domain name: `{}`",
                config.notation_domain
            )));
        }
        if config
            .pinentry
            .as_ref()
            .is_some_and(|path| path.is_relative())
        {
            return Err(Malformed::new("`pinentry` is not an absolute path"));
        }
        if usize::try_from(config.approvals).is_ok_and(|needed| needed > config.approver.len()) {
            return Err(Malformed::new(too_few(
                config.approvals,
                config.approver.len(),
            )));
        }
        if let Some(nobody) = config
            .approver
            .iter()
            .find(|one| one.openpgp.is_empty() && one.ssh.is_empty())
        {
            return Err(Malformed::new(format!(
                "approver `{}` has no key",
                nobody.name
            )));
        }
        let names = config.approver.iter();
        let names = names.map(|approver| approver.name.as_str());
        if let Some((_, twice)) = case_clashes(names).next() {
            return Err(Malformed::new(format!(
                "approver `{twice}` is listed twice"
            )));
        }
        Ok(config)
    }

    /// The text of a new `config.toml`: every key with its meaning; those with a default are in
    /// comments.
    pub fn template(
        token: &TokenUri,
        signing_key: Fingerprint,
        notation_domain: &str,
        log_key: &VerifierKey,
    ) -> String {
        let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
        // The token last: its URI may contain what looks like another mark.
        include_str!("config.toml")
            .replace("@KEY@", &quoted(&signing_key.to_string()))
            .replace("@DOMAIN@", &quoted(notation_domain))
            .replace("@LOG@", &quoted(&log_key.to_string()))
            .replace("@TOKEN@", &quoted(&token.to_string()))
    }
}

fn too_few(needed: u32, approvers: usize) -> String {
    let needed = match needed {
        1 => "1 approval".to_owned(),
        needed => format!("{needed} approvals"),
    };
    let listed = match approvers {
        0 => "no approver".to_owned(),
        1 => "only 1 approver".to_owned(),
        approvers => format!("only {approvers} approvers"),
    };
    format!("it requires {needed}, but lists {listed}")
}

/// Refuses an unknown key; the known ones are below `above`.
fn check_keys(table: &toml::Table, above: &str, known: &[&str]) -> Result<(), Malformed> {
    let Some(key) = table.keys().find(|key| !known.contains(&key.as_str())) else {
        return Ok(());
    };
    let likeness = |known: &&&str| (strsim::jaro_winkler(known, key) * 1000.0) as u32;
    let nearest = known.iter().max_by_key(likeness).expect("there are keys");
    Err(Malformed::new(format!(
        "unknown key `{above}{key}`; did you mean `{above}{nearest}`?"
    )))
}

/// Refuses a key of the top level in one of the tables, which are at the end of the file: one that
/// was appended.
fn check_places(table: &toml::Table) -> Result<(), Malformed> {
    let once = TABLES.into_iter().filter_map(|(name, _)| {
        let inner = table.get(name)?.as_table()?;
        Some((format!("[{name}]"), inner))
    });
    let approvers = table
        .get("approver")
        .and_then(toml::Value::as_array)
        .into_iter()
        .flatten();
    let approvers = approvers
        .filter_map(toml::Value::as_table)
        .map(|table| ("[[approver]]".to_owned(), table));
    for (title, table) in once.chain(approvers) {
        if let Some(key) = table.keys().find(|key| KEYS.contains(&key.as_str())) {
            return Err(Malformed::new(format!(
                "`{key}` is below `{title}`, where it does not belong: move it up, before the \
                 first table"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const KEY: &str = "A1B2C3D4E5F60718293A4B5C6D7E8F9001122334";

    fn template() -> String {
        let token = "pkcs11:token=release;object=r2026?module-path=/lib/p11.so"
            .parse()
            .expect("a token");
        Config::template(
            &token,
            KEY.parse().expect("a fingerprint"),
            "example.org",
            &LOG.parse().expect("a key"),
        )
    }

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(Path::new("config.toml"), text).map_err(|error| error.to_string())
    }

    #[test]
    fn the_template_is_a_configuration_and_documents_every_key_with_its_default() {
        let config = parse(&template()).expect("a configuration");
        assert_eq!(
            (
                config.notation_domain.as_str(),
                config.signing_key.to_string().as_str()
            ),
            ("example.org", KEY)
        );
        // Uncommenting the defaults changes nothing.
        let is_setting =
            |rest: &&str| !rest.starts_with(' ') && (rest.contains(" = ") || rest.starts_with('['));
        let uncommented: String = template()
            .lines()
            .map(|line| {
                format!(
                    "{}\n",
                    line.strip_prefix("#").filter(is_setting).unwrap_or(line)
                )
            })
            .collect();
        let spelled_out = parse(&uncommented).expect("a configuration");
        assert_eq!(
            (spelled_out.approvals, spelled_out.approver.len()),
            (config.approvals, 1)
        );
        // These have no default, and show an example.
        assert_eq!((config.embargo, config.approver.len()), (None, 0));
        assert_eq!(
            (&config.repository.inbox, &config.repository.log),
            (&None, &None)
        );
        let repository = spelled_out.repository;
        assert!(
            repository.inbox.is_some_and(|path| path.is_absolute()) && repository.log.is_some()
        );
        assert_eq!(
            (
                spelled_out.digest,
                spelled_out.valid_for,
                spelled_out.max_count,
                spelled_out.max_bytes
            ),
            (
                config.digest,
                config.valid_for,
                config.max_count,
                config.max_bytes
            ),
        );
        assert_eq!(config.pinentry, None);
        assert_eq!(spelled_out.pinentry, Some("/usr/bin/pinentry".into()));
        for key in KEYS.into_iter().chain(REPOSITORY_KEYS).chain(ANCHOR_KEYS) {
            let titles = [format!("[{key}]"), format!("[[{key}]]")];
            let named = |line: &str| {
                line.starts_with(&format!("{key} = ")) || titles.iter().any(|title| title == line)
            };
            assert!(uncommented.lines().any(named), "{key}");
        }
    }

    #[test]
    fn a_token_may_be_called_like_a_mark_of_the_template() {
        let uri = "pkcs11:token=@KEY@;object=@DOMAIN@?module-path=/@LOG@@TOKEN@.so";
        let token = uri.parse().expect("a token");
        let text = Config::template(
            &token,
            KEY.parse().expect("a fingerprint"),
            "example.org",
            &LOG.parse().expect("a key"),
        );
        assert_eq!(parse(&text).expect("a configuration").token, token);
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest_known_one() {
        let error = parse(&format!("{}\nvalid_fro = \"1h\"\n", template())).expect_err("refused");
        assert_eq!(
            error,
            "configuration `config.toml`: unknown key `valid_fro`; did you mean `valid_for`?"
        );
        let error =
            parse(&format!("{}\n[repository]\ninbx = \"in\"\n", template())).expect_err("refused");
        assert!(
            error.ends_with("unknown key `repository.inbx`; did you mean `repository.inbox`?"),
            "{error}"
        );
    }

    #[test]
    fn a_key_of_the_top_level_that_was_appended_to_a_table_is_refused_with_its_place() {
        let alice = "[[approver]]\nname = \"alice\"\nopenpgp = [\"alice.asc\"]\n";
        for (table, title) in [
            ("[repository]\ninbox = \"/in\"\n", "[repository]"),
            (alice, "[[approver]]"),
        ] {
            let error =
                parse(&format!("{}\n{table}approvals = 1\n", template())).expect_err("refused");
            assert!(
                error.contains(&format!("`approvals` is below `{title}`")),
                "{error}"
            );
        }
    }

    #[test]
    fn approvers_who_could_not_do_what_is_asked_are_refused() {
        let alice = "[[approver]]\nname = \"alice\"\nopenpgp = [\"alice.asc\"]\n";
        let with = |more: &str| parse(&format!("{}\n{more}", template()));
        assert_eq!(
            with(&format!("approvals = 1\n{alice}"))
                .expect("a configuration")
                .approver
                .len(),
            1
        );
        for (more, reason) in [
            (
                "approvals = 1\n".to_owned(),
                "requires 1 approval, but lists no approver",
            ),
            (
                format!("approvals = 2\n{alice}"),
                "requires 2 approvals, but lists only 1 approver",
            ),
            (
                format!("{alice}{}", alice.replace("\"alice\"", "\"Alice\"")),
                "approver `Alice` is listed twice",
            ),
            (
                "[[approver]]\nname = \"bob\"\n".to_owned(),
                "approver `bob` has no key",
            ),
            (format!("{alice}gpg = []\n"), "unknown field `gpg`"),
            (
                "[[approver]]\nname = \"../bob\"\nssh = [\"x\"]\n".to_owned(),
                "path separator",
            ),
            ("embargo = \"soon\"\n".to_owned(), "is not a length of time"),
        ] {
            let error = with(&more).expect_err("refused");
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn a_value_that_is_not_allowed_is_refused_by_name() {
        let error = parse(&template().replace("signing_key = \"A", "signing_key = \"a"))
            .expect_err("refused");
        assert!(error.contains("config.toml`: line 9: `a1B2"), "{error}");
        assert!(
            error.contains("is not the fingerprint of an OpenPGP v4 key"),
            "{error}"
        );
        let error = parse(&template().replace("example.org", "exa mple")).expect_err("refused");
        assert!(
            error.contains("`notation_domain` is not a domain name: `exa mple`"),
            "{error}"
        );
    }
}
