//! What the answers of a module mean (PKCS #11 3.1, section 5.1), outside of PINs.

use cryptoki::context::Function;
use cryptoki::error::{Error, RvError};

use crate::token::TokenError;

/// A failure, and whether it may be transient.
pub(super) struct Failure {
    pub(super) error: TokenError,
    pub(super) transient: bool,
}

impl From<TokenError> for Failure {
    fn from(error: TokenError) -> Self {
        Self {
            error,
            transient: false,
        }
    }
}

impl From<Failure> for TokenError {
    fn from(failure: Failure) -> Self {
        failure.error
    }
}

/// The error of `token` that an answer of its module is.
pub(super) fn fault(token: &str, error: &Error) -> Failure {
    let token = token.to_owned();
    let error_of_token = match error {
        Error::Pkcs11(answer, function) => match answer {
            _ if is_busy(answer) => TokenError::Busy {
                token,
                reason: described(error),
            },
            _ if is_lost(answer) => TokenError::SessionLost {
                token,
                reason: described(error),
            },
            _ => TokenError::Unexpected {
                token,
                call: call(*function),
                answer: name(answer),
            },
        },
        _ => TokenError::Unexpected {
            token,
            call: "a call",
            answer: described(error),
        },
    };
    Failure {
        error: error_of_token,
        transient: is_transient(error),
    }
}

pub(super) fn is_transient(error: &Error) -> bool {
    matches!(error, Error::Pkcs11(answer, _) if is_lost(answer))
}

/// The token has too much to do, or another program uses it.
pub(super) fn is_busy(answer: &RvError) -> bool {
    matches!(
        answer,
        RvError::SessionCount
            | RvError::SessionReadWriteSoExists
            | RvError::UserAnotherAlreadyLoggedIn
            | RvError::UserTooManyTypes
            | RvError::DeviceMemory
            | RvError::HostMemory
    )
}

/// The session, the token or the connection to it is gone; or the module does not know what is
/// wrong, which after a correct call means the same.
pub(super) fn is_lost(answer: &RvError) -> bool {
    matches!(
        answer,
        RvError::SessionHandleInvalid
            | RvError::SessionClosed
            | RvError::DeviceError
            | RvError::DeviceRemoved
            | RvError::TokenNotPresent
            | RvError::TokenNotRecognized
            | RvError::SlotIdInvalid
            | RvError::ObjectHandleInvalid
            | RvError::KeyHandleInvalid
            | RvError::UserNotLoggedIn
            | RvError::OperationActive
            | RvError::CryptokiNotInitialized
            | RvError::FunctionFailed
            | RvError::GeneralError
    )
}

/// The PKCS#11 name of a function.
fn call(function: Function) -> &'static str {
    match function {
        Function::GetTokenInfo => "C_GetTokenInfo",
        Function::GetMechanismList => "C_GetMechanismList",
        Function::OpenSession => "C_OpenSession",
        Function::GetSessionInfo => "C_GetSessionInfo",
        Function::Login => "C_Login",
        Function::FindObjectsInit => "C_FindObjectsInit",
        Function::FindObjects => "C_FindObjects",
        Function::GetAttributeValue => "C_GetAttributeValue",
        Function::GenerateKeyPair => "C_GenerateKeyPair",
        Function::DestroyObject => "C_DestroyObject",
        Function::SignInit => "C_SignInit",
        Function::Sign => "C_Sign",
        _ => "a call",
    }
}

/// The function and its answer: `C_Login: CKR_PIN_LOCKED`.
pub(super) fn described(error: &Error) -> String {
    match error {
        Error::Pkcs11(answer, function) => format!("C_{function:?}: {}", name(answer)),
        other => other.to_string(),
    }
}

/// The name of an answer in the standard, derived from its name in cryptoki.
fn name(answer: &RvError) -> String {
    match answer {
        RvError::VendorDefined(number) => format!("CKR_VENDOR_DEFINED {number:#x}"),
        RvError::UnknownErrorCode(number) => format!("{number:#x}"),
        known => {
            let known = format!("{known:?}");
            let capital = |c: char| {
                if c.is_ascii_uppercase() {
                    format!("_{c}")
                } else {
                    c.to_uppercase().to_string()
                }
            };
            format!("CKR{}", known.chars().map(capital).collect::<String>())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_have_their_names_in_the_standard() {
        assert_eq!(name(&RvError::PinIncorrect), "CKR_PIN_INCORRECT");
        assert_eq!(
            name(&RvError::CryptokiAlreadyInitialized),
            "CKR_CRYPTOKI_ALREADY_INITIALIZED"
        );
        assert_eq!(
            name(&RvError::VendorDefined(0x8000_0001)),
            "CKR_VENDOR_DEFINED 0x80000001"
        );
        let error = Error::Pkcs11(RvError::GeneralError, Function::Login);
        assert_eq!(described(&error), "C_Login: CKR_GENERAL_ERROR");
    }
}
