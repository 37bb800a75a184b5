//! Where a PIN comes from, as a token URI says it.
//!
//! Never the command line and never the environment, which other processes can read.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::domain::malformed::Malformed;

/// Where a PIN comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PinSource {
    /// The user at the terminal: `prompt`.
    Prompt,
    /// A file that only its owner can read: `file:/PATH`.
    File(PathBuf),
    /// A file descriptor that was open at the start, to be read once: `fd:NUMBER`.
    Fd(i32),
    /// A credential that systemd passed to the service: `credential:NAME`.
    Credential(String),
}

impl PinSource {
    /// Whether it gives the PIN a second time without a user at the terminal.
    pub(super) fn is_repeatable(&self) -> bool {
        match self {
            Self::File(_) | Self::Credential(_) => true,
            Self::Prompt | Self::Fd(_) => false,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        if text.contains(char::is_control) {
            return None;
        }
        match text.split_once(':') {
            None if text == "prompt" => Some(Self::Prompt),
            Some(("file", rest)) => {
                let path = if rest.starts_with("///") {
                    &rest[2..]
                } else {
                    rest
                };
                let absolute = path.starts_with('/') && !path.starts_with("//");
                absolute.then(|| Self::File(path.into()))
            }
            Some(("fd", number)) => {
                // `parse` alone would accept a sign.
                let digits = number.bytes().all(|b| b.is_ascii_digit());
                digits.then(|| number.parse().ok()).flatten().map(Self::Fd)
            }
            Some(("credential", name)) => {
                let plain = !name.is_empty() && !name.starts_with('.') && !name.contains('/');
                plain.then(|| Self::Credential(name.to_owned()))
            }
            _ => None,
        }
    }
}

impl FromStr for PinSource {
    type Err = Malformed;

    /// An error does not repeat the text: it could be a PIN in the wrong place.
    fn from_str(text: &str) -> Result<Self, Malformed> {
        Self::parse(text).ok_or_else(|| {
            Malformed::new(
                "a PIN source is `prompt`, `file:/PATH`, `fd:NUMBER` or `credential:NAME`",
            )
        })
    }
}

impl fmt::Display for PinSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prompt => f.write_str("prompt"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Fd(number) => write!(f, "fd:{number}"),
            Self::Credential(name) => write!(f, "credential:{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_written_as_it_is_read() {
        for text in [
            "prompt",
            "file:/run/pin",
            "fd:0",
            "fd:42",
            "credential:hsm-pin",
        ] {
            assert_eq!(
                text.parse::<PinSource>().map(|source| source.to_string()),
                Ok(text.to_owned())
            );
        }
        assert_eq!(
            "file:///run/pin".parse(),
            Ok(PinSource::File("/run/pin".into()))
        );
    }

    #[test]
    fn another_text_is_refused_and_not_repeated() {
        for text in [
            "",
            "493027",
            "Prompt",
            "file:",
            "file:pin",
            "file://host/pin",
            "file:////pin",
            "file:/a\nb",
            "fd:",
            "fd:-1",
            "fd:+1",
            "fd:99999999999",
            "credential:",
            "credential:a/b",
            "credential:..",
            "env:PIN",
            "pass:493027",
        ] {
            let error = text.parse::<PinSource>().expect_err(text);
            assert!(!format!("{error} {error:?}").contains("493027"), "{error}");
        }
    }
}
