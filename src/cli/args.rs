//! Arguments that several commands take, read in one way.

use std::fmt;
use std::path::Path;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::error::{CliError, CommandError};
use super::render::Output;
use crate::domain::evidence::Scheme;
use crate::domain::grant::{Grant, LARGEST_GRANT};
use crate::domain::malformed::Malformed;
use crate::domain::policy::LARGEST_POLICY;
use crate::domain::time::{Period, Timestamp};
use crate::files::InputFile;
use crate::openpgp::{Certificate, LARGEST_CERTIFICATE};
use crate::steps::release::policy::VerifierPolicy;

/// What to remove of others'.
#[derive(Debug, Args)]
pub(super) struct Sweep {
    /// Remove incomplete copies of anyone that are older than this: 30d
    #[arg(long = "sweep-older", value_name = "TIME")]
    older: Option<Period>,
}

impl Sweep {
    /// What did not change since then is to be removed.
    pub(super) fn before(&self, now: Timestamp) -> Option<Timestamp> {
        self.older.map(|older| now.back(older))
    }
}

/// A line for each copy that was removed, and their names. One that cannot be keeps nothing else
/// waiting.
pub(super) fn shown_swept<E: fmt::Display>(
    swept: Vec<Result<String, E>>,
    output: &mut Output,
) -> Vec<String> {
    let mut names = Vec::new();
    for removed in swept {
        match removed {
            Ok(name) => {
                output.line(format!("{name}: removed, an incomplete copy that was left"));
                names.push(name);
            }
            Err(error) => output.warn(&format!("an incomplete copy was not removed: {error}")),
        }
    }
    names
}

/// A certificate, in a file.
pub(super) fn read_certificate(path: &Path) -> Result<Certificate, CliError> {
    let bytes = InputFile::open_named(path)?.read_whole(LARGEST_CERTIFICATE)?;
    let parsed = Certificate::parse(&bytes).map_err(|fault| CommandError::Malformed {
        what: format!("certificate `{}`", path.display()),
        fault,
        help: "export one certificate with `countersign key export` or `gpg --export FINGERPRINT`",
    })?;
    Ok(parsed)
}

/// The verifier's policy, in a file; without one, the policy that accepts everything.
pub(super) fn read_policy(path: Option<&Path>) -> Result<VerifierPolicy, CliError> {
    let Some(path) = path else {
        return Ok(VerifierPolicy::default());
    };
    let bytes = InputFile::open_named(path)?.read_whole(LARGEST_POLICY)?;
    Ok(VerifierPolicy::parse(&bytes).map_err(|fault| bad_policy(path, fault))?)
}

/// A policy that cannot be used.
pub(super) fn bad_policy(path: &Path, fault: Malformed) -> CommandError {
    CommandError::Malformed {
        what: format!("policy `{}`", path.display()),
        fault,
        help: "correct the file: docs/reference/policy.md describes its fields",
    }
}

/// A grant in a file. Whether it was issued here is not checked.
pub(super) fn read_grant_file(path: &Path) -> Result<Grant, CliError> {
    let bytes = InputFile::open_named(path)?.read_whole(LARGEST_GRANT)?;
    let parsed = Grant::parse(&bytes).map_err(|fault| CommandError::BadGrant {
        path: path.to_owned(),
        fault,
    })?;
    Ok(parsed)
}

/// One of these schemes, by its name.
pub(super) fn scheme<const N: usize>(
    schemes: [Scheme; N],
) -> impl TypedValueParser<Value = Scheme> {
    let named = move |name: String| {
        schemes
            .into_iter()
            .find(|it| it.name() == name)
            .expect("it is one of those")
    };
    PossibleValuesParser::new(schemes.map(Scheme::name)).map(named)
}
