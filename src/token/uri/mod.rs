//! Token URIs: `card:`, `pkcs11:` after RFC 7512, and `file:` for the token of tests.
//!
//! The parser is our own because it must be strict: an attribute that is misspelled, given twice or
//! not understood widens what a URI fits, and the wrong key is then found without a word. So
//! everything unknown is refused by name. This module opens nothing.

mod card;
mod pkcs11;
mod text;

use std::path::PathBuf;
use std::str::FromStr;
use std::{fmt, io};

pub(super) use card::CardIdent;
pub use card::CardUri;
pub use pkcs11::Pkcs11Uri;

use crate::domain::digest::as_text;
use crate::domain::malformed::Malformed;

/// The longest URI that is read, in bytes.
const LONGEST: usize = 4096;

/// What names a token and a key on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenUri {
    /// An OpenPGP card.
    Card(CardUri),
    /// A PKCS#11 token.
    Pkcs11(Pkcs11Uri),
    /// A key in a file, for tests.
    File(PathBuf),
}

/// Why a text is not a token URI.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
#[error("token URI: {0}")]
#[diagnostic(
    code(usage::token_uri),
    help(
        "for example `card:` or \
         `pkcs11:token=release;object=r2026?module-path=/usr/lib/softhsm/libsofthsm2.so`"
    )
)]
pub struct UriError(Malformed);

impl TokenUri {
    fn parse(text: &str) -> Result<Self, Malformed> {
        let length = text.len();
        if length > LONGEST {
            return Err(Malformed::new(format!(
                "it has {length} bytes; the limit is {LONGEST}"
            )));
        }
        match text.split_once(':') {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("card") => {
                CardUri::parse(rest).map(Self::Card)
            }
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("pkcs11") => {
                Pkcs11Uri::parse(rest).map(Self::Pkcs11)
            }
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("file") => {
                file(rest).map(Self::File)
            }
            // Only what precedes the colon: what follows it could contain a PIN.
            Some((scheme, _)) => Err(unknown_scheme(scheme)),
            None => Err(unknown_scheme(
                text.split(['=', ';', '?', '&']).next().unwrap_or_default(),
            )),
        }
    }

    /// Whether it names an OpenPGP card.
    pub fn is_card(&self) -> bool {
        matches!(self, Self::Card(_))
    }

    /// Whether it names a key in a file.
    pub fn is_file(&self) -> bool {
        matches!(self, Self::File(_))
    }

    /// The URI that means the same in every working directory.
    pub fn absolute(self) -> io::Result<Self> {
        match self {
            Self::File(path) => Ok(Self::File(std::path::absolute(path)?)),
            Self::Card(_) | Self::Pkcs11(_) => Ok(self),
        }
    }

    /// What the public log has of it: token and key, without paths and PIN sources.
    pub fn public(&self) -> String {
        match self {
            Self::Card(uri) => uri.without_pins().to_string(),
            Self::Pkcs11(uri) => uri.without_query().to_string(),
            Self::File(_) => "file:".to_owned(),
        }
    }

    /// The same token and key, with the PIN from a prompt.
    #[must_use]
    pub fn prompting(&self) -> Self {
        match self {
            Self::Card(uri) => Self::Card(uri.without_pins()),
            Self::Pkcs11(uri) => Self::Pkcs11(uri.without_pin()),
            Self::File(path) => Self::File(path.clone()),
        }
    }

    /// The URI of every token that the module of this one has.
    #[must_use]
    pub fn all_tokens(&self) -> Self {
        match self {
            Self::Card(_) => Self::Card(CardUri::default()),
            Self::Pkcs11(uri) => Self::Pkcs11(uri.all_tokens()),
            Self::File(path) => Self::File(path.clone()),
        }
    }
}

fn unknown_scheme(scheme: &str) -> Malformed {
    Malformed::new(format!(
        "`{}` does not begin with `card:`, `pkcs11:` or `file:`",
        text::shown(scheme)
    ))
}

/// What follows `file:`: a path as it is, because a shell completes it so. `file:///tmp/key` is
/// `/tmp/key`.
fn file(rest: &str) -> Result<PathBuf, Malformed> {
    let path = if rest.starts_with("///") {
        &rest[2..]
    } else {
        rest
    };
    if path.is_empty() || path.starts_with("//") || path.contains(char::is_control) {
        return Err(Malformed::new("`file:` is not followed by a path"));
    }
    Ok(PathBuf::from(path))
}

impl FromStr for TokenUri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        Self::parse(text).map_err(UriError)
    }
}

impl fmt::Display for TokenUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Card(uri) => uri.fmt(f),
            Self::Pkcs11(uri) => uri.fmt(f),
            Self::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

as_text!(TokenUri);

/// As errors contain it: boxed, because they stay small.
impl From<&Pkcs11Uri> for Box<TokenUri> {
    fn from(uri: &Pkcs11Uri) -> Self {
        Self::new(TokenUri::Pkcs11(uri.clone()))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    fn refused(text: &str) -> String {
        match text.parse::<TokenUri>() {
            Ok(uri) => panic!("{text} was parsed as {uri:?}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn the_scheme_is_read_in_either_case() {
        for (text, written) in [
            ("CARD:0006:1234abcd", "card:0006:1234ABCD"),
            ("Pkcs11:token=t", "pkcs11:token=t"),
            ("FILE:/tmp/key", "file:/tmp/key"),
        ] {
            let uri: TokenUri = text.parse().expect("a token URI");
            assert_eq!(uri.to_string(), written);
            assert_eq!(written.parse(), Ok(uri));
        }
    }

    #[test]
    fn a_pin_in_a_uri_is_refused_and_not_repeated() {
        for text in [
            "pkcs11:token=t?pin-value=493027",
            "pkcs11:token=t&pin-value=493027",
            "pkcs11:pin-value=493027",
            "pkcs11:?pin-value=493027&pin-value=493027",
            "pkcs11:?pin-value:493027",
            "pkcs11?pin-value=493027",
            "pkcs11:?pin-source=493027",
            "hsm:?pin-value=493027",
        ] {
            let error = text.parse::<TokenUri>().expect_err("a PIN in a URI");
            assert!(!format!("{error} {error:?}").contains("493027"), "{error}");
        }
        assert!(refused("pkcs11:?pin-value=1").contains("shell's history"));
    }

    #[test]
    fn a_file_is_named_by_the_rest() {
        let path = |text: &str| match text.parse() {
            Ok(TokenUri::File(path)) => path,
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(path("file:/tmp/key"), Path::new("/tmp/key"));
        assert_eq!(path("FILE:keys/a b.pem"), Path::new("keys/a b.pem"));
        assert_eq!(path("file:///tmp/key"), Path::new("/tmp/key"));
        for wrong in ["file:", "file://host/key", "file:a\nb", "file:a\0b"] {
            assert_eq!(
                refused(wrong),
                "token URI: `file:` is not followed by a path"
            );
        }
    }

    #[test]
    fn no_other_scheme_is_taken() {
        assert_eq!(
            refused("/usr/lib/softhsm2.so"),
            "token URI: `/usr/lib/softhsm2.so` does not begin with `card:`, `pkcs11:` or `file:`"
        );
        assert_eq!(
            refused("http://x"),
            "token URI: `http` does not begin with `card:`, `pkcs11:` or `file:`"
        );
        assert_eq!(
            refused(&format!("pkcs11:token={}", "a".repeat(5000))),
            "token URI: it has 5013 bytes; the limit is 4096"
        );
    }

    const LIKELY: &str = "((token|id|object|pin-value|module-path|pin-source)=\
        [%0-9a-f;&?é]{0,6}[;?&]){0,5}";

    proptest! {
        #[test]
        fn files_are_read_again(
            path in "(/|[^\0-\u{1f}\u{7f}-\u{9f}/])[^\0-\u{1f}\u{7f}-\u{9f}/]{0,30}"
        ) {
            let uri = TokenUri::File(path.into());
            prop_assert_eq!(uri.to_string().parse(), Ok(uri));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,60}", scheme in "(card:|pkcs11:|file:|)") {
            let _ = format!("{scheme}{text}").parse::<TokenUri>();
        }

        #[test]
        fn no_likely_text_panics_or_keeps_a_pin(
            text in LIKELY
        ) {
            if let Ok(uri) = format!("pkcs11:{text}").parse::<TokenUri>() {
                prop_assert!(!uri.to_string().contains("pin-value"));
                prop_assert!(!text.contains("pin-value="));
            }
        }
    }
}
