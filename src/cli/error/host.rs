//! What ends a command of the signing host alone.

use std::path::PathBuf;

use crate::domain::digest::Sha256;
use crate::domain::malformed::Malformed;
use crate::home::HomeError;
use crate::ledger::{BadLog, ExportError, LedgerError};
use crate::openpgp::MakeError;
use crate::steps::host::approve::ApproveError;
use crate::steps::host::export::NotExported;
use crate::steps::host::grant::GrantError;
use crate::steps::host::policy::PolicyError;
use crate::steps::host::push::PushError;
use crate::steps::host::reconcile::ReconcileError;
use crate::steps::host::refusal::BuildError;
use crate::steps::host::release_checkpoint::NoCheckpoint;
use crate::steps::host::release_key::KeyError;
use crate::steps::host::revoke::RevokeError;
use crate::steps::host::run::SignError;
use crate::token::{TokenError, UriError};

/// Everything that ends a command of the signing host early, and no command of the builder's or the
/// location's.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum HostError {
    #[error("checkpoint `{}`: {fault}", path.display())]
    Checkpoint { path: PathBuf, fault: Malformed },
    #[error("release `{}`: {fault}", path.display())]
    KeptRelease {
        path: PathBuf,
        fault: Box<NoCheckpoint>,
    },
    #[error("the log has no intent to sign `{}`, SHA-256 {digest}", file.display())]
    NotLogged { file: PathBuf, digest: Sha256 },
    #[error("several entries cover `{}`: {}", file.display(), entries.iter().map(u64::to_string).collect::<Vec<_>>().join(", "))]
    SeveralEntries { file: PathBuf, entries: Vec<u64> },
    #[error(transparent)]
    BadLog(#[from] BadLog),
    #[error(transparent)]
    Export(#[from] ExportError),
    #[error("neither $HOME nor $XDG_DATA_HOME says where the signing host's home is")]
    Nowhere,
    #[error("`{0}` is neither a file that is there nor at least eight digits of a grant's id")]
    NoGrant(String),
    #[error("the log has no entry {0}")]
    NoEntry(u64),
    #[error("card `{card}` and the log do not agree: {}", findings.join("; "))]
    NotReconciled {
        card: String,
        findings: Vec<String>,
        other_key: bool,
    },
    #[error("card `{card}` and the exported log do not agree: {}", findings.join("; "))]
    ExportNotReconciled {
        card: String,
        findings: Vec<String>,
        other_key: bool,
        unfinished: Vec<u64>,
    },
    #[error(transparent)]
    Reconcile(#[from] ReconcileError),
    #[error("{program} made no signature: {reason}")]
    Signer { program: String, reason: String },
    #[error("the grant was not approved: another text than its version was typed")]
    NotApproved,
    #[error("the log knows of no build under grant {0} whose builders differed")]
    NothingToCompare(String),
    #[error(transparent)]
    Approve(#[from] ApproveError),
    #[error(transparent)]
    Revoke(#[from] RevokeError),
    #[error(transparent)]
    Policy(#[from] PolicyError),
    #[error(transparent)]
    Make(#[from] MakeError<TokenError>),
    #[error(transparent)]
    Grant(#[from] GrantError),
    #[error(transparent)]
    Build(#[from] BuildError),
    #[error(transparent)]
    Sign(#[from] SignError),
    #[error("the release is signed and in `{}`, but was not pushed: {fault}", folder.display())]
    NotPushed {
        folder: PathBuf,
        fault: Box<PushError>,
    },
    #[error("the log was not exported: {0}")]
    NotExported(NotExported),
    #[error(transparent)]
    Push(#[from] PushError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error(transparent)]
    Uri(#[from] UriError),
    #[error(transparent)]
    Home(#[from] HomeError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}
