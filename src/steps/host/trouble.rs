//! What can go wrong in any step of the signing host.

use miette::Diagnostic;

use super::anchor::AnchorError;
use crate::files::FileError;
use crate::home::HomeError;
use crate::ledger::LedgerError;
use crate::token::TokenError;

/// The reason of an error, which is all that the log has of it: a message can name a path of this
/// host, and the log is public.
pub(super) fn reason(error: &dyn Diagnostic) -> String {
    class_and_reason(error).1
}

/// The two parts of an error's code.
pub(super) fn class_and_reason(error: &dyn Diagnostic) -> (String, String) {
    let code = error.code().expect("every error has a code").to_string();
    let (class, reason) = code.split_once("::").expect("a class and a name");
    (class.to_owned(), reason.to_owned())
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
    #[error(transparent)]
    #[diagnostic(transparent)]
    Anchor(#[from] AnchorError),
    /// The log is where others look for it, so that it is not there is shown too.
    #[error("{error}; this could not be logged: {unlogged}")]
    #[diagnostic(forward(error))]
    Unlogged {
        error: Box<dyn Diagnostic + Send + Sync>,
        unlogged: Box<LedgerError>,
    },
}

/// What follows an error that could not be logged.
pub(super) fn not_logged(unlogged: Option<&LedgerError>) -> String {
    unlogged.map_or_else(String::new, |error| {
        format!("; this could not be logged: {error}")
    })
}

/// The result of something whose end was to be logged: of two errors, neither hides the other.
pub(super) fn logged<T, E>(result: Result<T, E>, logged: Result<u64, LedgerError>) -> Result<T, E>
where
    E: Diagnostic + Send + Sync + From<Trouble> + 'static,
{
    match (result, logged) {
        (result, Ok(_)) => result,
        (Ok(_), Err(unlogged)) => Err(Trouble::from(unlogged).into()),
        (Err(error), Err(unlogged)) => Err(E::from(Trouble::Unlogged {
            error: Box::new(error),
            unlogged: Box::new(unlogged),
        })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::host::run::SignError;

    #[test]
    fn of_two_errors_neither_hides_the_other() {
        let token = || "t".to_owned();
        let failed = || Err(SignError::from(TokenError::PinNotSet { token: token() }));
        let full = || Err(LedgerError::Unusable("it is full".to_owned()));
        assert!(logged::<_, SignError>(Ok(()), Ok(1)).is_ok());
        let error = |result: Result<(), SignError>| result.expect_err("an error");
        let code = |error: &SignError| error.code().expect("a code").to_string();
        let alone = error(logged(failed(), Ok(1)));
        assert_eq!(alone.to_string(), error(failed()).to_string());
        assert!(
            error(logged(Ok(()), full()))
                .to_string()
                .contains("it is full")
        );
        let both = error(logged(failed(), full()));
        let text = both.to_string();
        assert!(text.starts_with(&alone.to_string()), "{text}");
        assert!(
            text.contains("could not be logged") && text.contains("it is full"),
            "{text}"
        );
        assert_eq!(code(&both), code(&alone));
    }
}
