//! Text or bytes that are not what they must be.

use std::borrow::Cow;

/// Why a text or a file cannot be parsed, as a sentence that can be logged alone: "line 3 is not
/// sorted". The step that read it adds which file it was, a code and a help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(Cow<'static, str>);

impl Malformed {
    /// The error with this message.
    pub fn new(message: impl Into<Cow<'static, str>>) -> Self {
        Self(message.into())
    }

    /// The same within a larger whole: `context: message`.
    #[must_use]
    pub fn within(self, context: impl std::fmt::Display) -> Self {
        Self::new(format!("{context}: {self}"))
    }
}
