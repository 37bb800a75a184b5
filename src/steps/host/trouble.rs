//! What can go wrong in any step of the signing host.

use crate::files::FileError;
use crate::home::HomeError;
use crate::ledger::LedgerError;
use crate::token::TokenError;

/// What can go wrong in any step: a file, the home, the ledger or the token.
#[expect(missing_docs, reason = "each message says what it means")]
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum Trouble {
    #[error(transparent)]
    #[diagnostic(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Home(#[from] HomeError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Token(#[from] TokenError),
}
