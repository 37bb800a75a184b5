//! What is wrong with a home.

use std::path::PathBuf;

use crate::config::ConfigError;
use crate::domain::malformed::Malformed;
use crate::files::{FileError, Holder};
use crate::ledger::LedgerError;

/// What is wrong with a home.
#[expect(missing_docs, reason = "each message says what it means")]
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum HomeError {
    #[error("there is no signing host's home at `{}`", .0.display())]
    #[diagnostic(
        code(usage::home_missing),
        help("set it up with `countersign init`, or name it with `--home`")
    )]
    Missing(PathBuf),
    #[error("the home at `{}` is set up already", .0.display())]
    #[diagnostic(
        code(usage::home_exists),
        help("name another one with `--home`, or use this one as it is")
    )]
    Exists(PathBuf),
    #[error(
        "`{}` has mode {mode:04o}; it must be {wanted:04o}, for its owner alone",
        path.display()
    )]
    #[diagnostic(
        code(usage::home_open_to_others),
        help("run `chmod {wanted:03o} {}`", path.display())
    )]
    Open {
        path: PathBuf,
        mode: u32,
        wanted: u32,
    },
    #[error("`{}` belongs to user {owner}, not to the user who runs this", path.display())]
    #[diagnostic(code(usage::home_owner), help("run this as the home's owner"))]
    Owner { path: PathBuf, owner: u32 },
    #[error("`{}` leads into the home, where everything is for its owner alone", .0.display())]
    #[diagnostic(
        code(usage::folder_in_home),
        help(
            "name a folder outside of the home; if you did, somebody put a link to the home in its \
             place"
        )
    )]
    Within(PathBuf),
    #[error("{what} is in use by {holder}")]
    #[diagnostic(
        code(trouble::in_use),
        help("run the same command again when it is done, or with `--wait`")
    )]
    Busy { what: String, holder: Holder },
    #[error("{0}")]
    #[diagnostic(
        code(usage::grant_unknown),
        help(
            "give a grant file, or at least eight digits of an id from `countersign grants list`"
        )
    )]
    NoSuchGrant(String),
    #[error("{which} `{}`: {source}", path.display())]
    #[diagnostic(code(usage::bad_certificate), help("{help}"))]
    Certificate {
        which: String,
        path: PathBuf,
        source: Malformed,
        help: &'static str,
    },
    /// A nonce, a grant or the log key.
    #[error("{what} `{}`: {reason}", path.display())]
    #[diagnostic(code(usage::kept_file_unusable), help("{help}"))]
    Kept {
        what: &'static str,
        path: PathBuf,
        reason: String,
        help: &'static str,
    },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    File(#[from] FileError),
}
