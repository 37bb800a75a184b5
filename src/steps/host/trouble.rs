//! What can go wrong in any step of the signing host.

use miette::Diagnostic;

use crate::files::FileError;
use crate::home::HomeError;
use crate::ledger::LedgerError;
use crate::token::TokenError;

/// The reason of an error, which is all that the log has of it: a message can name a path of this
/// host, and the log is public.
pub(super) fn reason(error: &dyn Diagnostic) -> String {
    let code = error.code().expect("every error has a code").to_string();
    let (_, reason) = code.split_once("::").expect("a class and a name");
    reason.to_owned()
}

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
