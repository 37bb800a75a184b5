//! Why a grant is not issued.

use std::path::PathBuf;

use crate::domain::malformed::Malformed;
use crate::domain::name::{BuilderName, ProjectName, Version};
use crate::openpgp::KeyTrouble;
use crate::steps::evidence::error::EvidenceError;
use crate::steps::host::trouble::Trouble;

/// Why no grant was issued.
#[expect(missing_docs, reason = "each message says what it means")]
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum GrantError {
    #[error("the release key cannot sign under a new grant: {0}")]
    #[diagnostic(
        code(refused::release_key_unusable),
        help("see `countersign key check`")
    )]
    ReleaseKey(KeyTrouble),

    #[error("the grant cannot be issued: {0}")]
    #[diagnostic(code(usage::grant_terms))]
    Terms(Malformed),

    #[error("key `{}` of builder `{builder}` cannot be used: {fault}", path.display())]
    #[diagnostic(
        code(usage::builder_key),
        help(
            "give the `.pub` file that `countersign build-key` wrote for the same `--scheme`; \
             scheme hmac has none: its nonces are made here"
        )
    )]
    BuilderKey {
        builder: BuilderName,
        path: PathBuf,
        fault: Malformed,
    },

    #[error("key `{}` of builder `{builder}` cannot sign: {fault}", path.display())]
    #[diagnostic(
        code(refused::builder_key_unusable),
        help("let the builder make a new key: `countersign build-key`")
    )]
    BuilderKeyUnusable {
        builder: BuilderName,
        path: PathBuf,
        fault: KeyTrouble,
    },

    #[error("the grant cannot be issued: {0}")]
    #[diagnostic(
        code(refused::builder_keys),
        help("give each builder a key of its own")
    )]
    Builders(EvidenceError),

    #[error(
        "version {version} of {project} is older than {newer}, which was granted in ledger entry \
         {entry}"
    )]
    #[diagnostic(
        code(refused::older_than_granted),
        help("if that is intended, add `--allow-older`")
    )]
    Older {
        project: ProjectName,
        version: Version,
        newer: Version,
        entry: u64,
    },

    #[error("grant `{}` exists already; it was {}", path.display(), origin(*issued))]
    #[diagnostic(code(usage::grant_exists), help("{}", after_existing(*issued)))]
    Exists { path: PathBuf, issued: Option<u64> },

    #[error(transparent)]
    #[diagnostic(transparent)]
    Trouble(Trouble),
}

impl<E: Into<Trouble>> From<E> for GrantError {
    fn from(error: E) -> Self {
        Self::Trouble(error.into())
    }
}

fn origin(issued: Option<u64>) -> String {
    match issued {
        Some(entry) => format!("issued in ledger entry {entry}"),
        None => "not issued by this signing host".to_owned(),
    }
}

fn after_existing(issued: Option<u64>) -> &'static str {
    match issued {
        Some(_) => "use that one while it is valid, or write a new one elsewhere with `-o`",
        None => {
            "if no other signing host issued it, an interrupted run left it: remove it and the \
             keys beside it, then run the same command again"
        }
    }
}
