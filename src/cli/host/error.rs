//! What ends a command of the signing host alone.

use std::path::PathBuf;

use crate::domain::digest::{GrantId, Sha256};
use crate::domain::malformed::Malformed;

/// An error of the signing host's command line itself.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(super) enum HostError {
    #[error("checkpoint `{}`: {fault}", path.display())]
    #[diagnostic(
        code(refused::checkpoint_malformed),
        help("it is not of this log: find out where it comes from")
    )]
    Checkpoint { path: PathBuf, fault: Malformed },
    #[error("the log has no intent to sign `{}`, SHA-256 {digest}", file.display())]
    #[diagnostic(
        code(refused::not_in_log),
        help("if it is not a file of a release of this host, nothing is wrong")
    )]
    NotLogged { file: PathBuf, digest: Sha256 },
    #[error("several entries cover `{}`: {}", file.display(), listed(entries))]
    #[diagnostic(
        code(usage::several_entries),
        help("choose one with `--entry INDEX`: each signature names its own, as `log@`")
    )]
    SeveralEntries { file: PathBuf, entries: Vec<u64> },
    #[error("neither $HOME nor $XDG_DATA_HOME shows where the signing host's home is")]
    #[diagnostic(
        code(usage::home_unnamed),
        help("name it with `--home DIR` or in $COUNTERSIGN_HOME")
    )]
    Nowhere,
    #[error("`{0}` is neither an existing file nor at least eight digits of a grant's id")]
    #[diagnostic(
        code(usage::grant_unnamed),
        help("`countersign grants list` shows which were issued here")
    )]
    NoGrant(String),
    #[error("the log has no entry {0}")]
    #[diagnostic(
        code(usage::entry_missing),
        help("`countersign log list` shows which there are")
    )]
    NoEntry(u64),
    #[error("card `{card}` and the {log} do not agree: {}", findings.join("; "))]
    #[diagnostic(code(refused::card_and_log_disagree), help("{help}"))]
    NotReconciled {
        card: String,
        /// "log" or "exported log".
        log: &'static str,
        findings: Vec<String>,
        help: String,
    },
    #[error("{program} made no signature: {reason}")]
    #[diagnostic(
        code(trouble::signer_failed),
        help("correct what it reports, then run the same command again")
    )]
    Signer { program: String, reason: String },
    #[error("the grant was not approved: what was typed is not its version")]
    #[diagnostic(code(notyet::approval_declined))]
    NotApproved,
    #[error("the log has no build under grant {} whose builders differed", .0.short())]
    #[diagnostic(
        code(usage::nothing_to_compare),
        help("give the builders' folders with `--from DIR` to compare what is in them")
    )]
    NothingToCompare(GrantId),
}

fn listed(entries: &[u64]) -> String {
    let entries: Vec<_> = entries.iter().map(u64::to_string).collect();
    entries.join(", ")
}
