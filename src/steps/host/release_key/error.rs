//! Why a release key could not be set up or does not work.

use crate::domain::key::Fingerprint;
use crate::openpgp::{KeyTrouble, MakeError};
use crate::steps::host::trouble::Trouble;
use crate::token::TokenError;

/// Why a release key could not be set up or does not work.
#[expect(missing_docs, reason = "each message says what it means")]
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum KeyError {
    #[error("{0}")]
    #[diagnostic(code(usage::key_parameters))]
    Parameters(String),

    #[error("the user ID has no email address to take the domain of notations from")]
    #[diagnostic(
        code(usage::no_notation_domain),
        help("give one with `--notation-domain`")
    )]
    NoDomain,

    #[error(transparent)]
    #[diagnostic(transparent)]
    Unusable(#[from] KeyTrouble),

    #[error("{0}")]
    #[diagnostic(
        code(usage::no_unique_release_key),
        help(
            "`countersign key list --token URI` shows the keys of the token; name one with \
             `object=` or `id=` in the URI"
        )
    )]
    NotUnique(String),

    #[error("the primary key {0} of the release certificate is not the key on this token")]
    #[diagnostic(
        code(usage::primary_key_elsewhere),
        help(
            "extend the certificate where its primary key is, and replace release.asc in the home \
             with it"
        )
    )]
    PrimaryElsewhere(Fingerprint),

    #[error("the key on the token differs from the release certificate's {0}")]
    #[diagnostic(
        code(refused::other_key_on_token),
        help("insert the token with the release key; see `countersign key list`")
    )]
    OtherKey(Fingerprint),

    #[error("the release key does not work: {0}")]
    #[diagnostic(forward(0))]
    Make(#[from] MakeError<TokenError>),

    #[error(transparent)]
    #[diagnostic(transparent)]
    Trouble(Trouble),
}

impl<E: Into<Trouble>> From<E> for KeyError {
    fn from(error: E) -> Self {
        Self::Trouble(error.into())
    }
}
