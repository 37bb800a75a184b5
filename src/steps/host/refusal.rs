//! Why a build is refused.

use std::path::PathBuf;

use super::policy::PolicyError;
use super::trouble::{Trouble, class_and_reason};
use crate::domain::evidence::Differences;
use crate::domain::grant::Grant;
use crate::domain::key::Fingerprint;
use crate::domain::malformed::Malformed;
use crate::domain::name::{ArtifactName, BuilderName};
use crate::files::{FileError, FileFault};
use crate::home::HomeError;
use crate::ledger::LedgerError;
use crate::openpgp::KeyTrouble;
use crate::steps::evidence::error::EvidenceError;

/// Why a build is refused. The token was not used.
#[expect(missing_docs, reason = "each message says what it means")]
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum BuildError {
    #[error("the release key cannot sign: {0}")]
    #[diagnostic(
        code(refused::release_key_unusable),
        help("see `countersign key check`")
    )]
    ReleaseKey(#[from] KeyTrouble),
    #[error("the grant is for release key {granted}, but this signing host's is {ours}")]
    #[diagnostic(
        code(refused::grant_for_other_key),
        help("issue a new grant under the key that this host has now")
    )]
    OtherReleaseKey {
        granted: Fingerprint,
        ours: Fingerprint,
    },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Policy(#[from] PolicyError),
    /// The builder is named where the grant has several.
    #[error("{}{fault}", of(builder.as_ref()))]
    #[diagnostic(forward(fault))]
    Evidence {
        builder: Option<BuilderName>,
        fault: Box<EvidenceError>,
    },
    #[error("the nonce kept for builder `{builder}` {what}")]
    #[diagnostic(
        code(refused::nonce_changed),
        help("find out who changed the home; issue a new grant and build again")
    )]
    NonceChanged {
        builder: BuilderName,
        what: &'static str,
    },
    #[error("{0}")]
    #[diagnostic(
        code(refused::grant_closed),
        help("a grant is for one build; issue a new one if this build is right")
    )]
    Closed(String),
    #[error("`{}` contains `{name}`, which builder `{builder}` did not attest", folder.display())]
    #[diagnostic(
        code(refused::extra_file),
        help("a builder's folder contains its artifacts and its evidence, and nothing else")
    )]
    Extra {
        folder: PathBuf,
        name: String,
        builder: BuilderName,
    },
    #[error("`{}` contains `{name}`, which is not a builder of the grant", folder.display())]
    #[diagnostic(
        code(refused::not_a_builder_folder),
        help(
            "the grant names several builders: name the folder that has one for each, by its name"
        )
    )]
    NotABuilder { folder: PathBuf, name: String },
    #[error("artifact `{name}` is attested, but not in `{}`", folder.display())]
    #[diagnostic(
        code(notyet::artifact_missing),
        help("fetch the build again, complete, and run the same command again")
    )]
    MissingArtifact { name: ArtifactName, folder: PathBuf },
    #[error(
        "the artifacts are larger than the {limit} bytes that the grant allows together (at \
         `{name}`)"
    )]
    #[diagnostic(
        code(refused::artifacts_too_large),
        help("issue a new grant with a larger `--max-bytes` if this is right")
    )]
    TooLarge { name: ArtifactName, limit: u64 },
    #[error("{0}")]
    #[diagnostic(
        code(refused::artifact_like_list),
        help(
            "signed, it could be taken for the list of another release: leave it out, or put it \
             into an archive"
        )
    )]
    LikeList(Malformed),
    #[error(transparent)]
    #[diagnostic(
        code(notyet::build_incomplete),
        help(
            "run the same command again when it is there; `--from` names the folder with the \
             artifacts, and with the evidence that `attest` wrote beside them"
        )
    )]
    Missing(FileError),
    #[error(transparent)]
    #[diagnostic(code(refused::build_file_unfit))]
    Unfit(FileError),
    #[error("the release cannot be written into `{}`, which it is made from", .0.display())]
    #[diagnostic(code(usage::release_into_itself), help("name another place with `-o`"))]
    IntoItself(PathBuf),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Trouble(Trouble),
}

impl From<FileError> for BuildError {
    fn from(error: FileError) -> Self {
        match error.fault {
            FileFault::Missing => Self::Missing(error),
            FileFault::Kind { .. } | FileFault::TooLarge { .. } | FileFault::TooMany { .. } => {
                Self::Unfit(error)
            }
            FileFault::Exists
            | FileFault::Busy(_)
            | FileFault::Full(_)
            | FileFault::Denied(_)
            | FileFault::Io(_) => Self::Trouble(error.into()),
        }
    }
}

impl From<HomeError> for BuildError {
    fn from(error: HomeError) -> Self {
        Self::Trouble(error.into())
    }
}

impl From<LedgerError> for BuildError {
    fn from(error: LedgerError) -> Self {
        Self::Trouble(error.into())
    }
}

fn of(builder: Option<&BuilderName>) -> String {
    builder.map_or_else(String::new, |builder| {
        format!("evidence of builder `{builder}`: ")
    })
}

impl BuildError {
    /// What is wrong with the evidence of one builder.
    pub(super) fn of_one(grant: &Grant, builder: &BuilderName, fault: EvidenceError) -> Self {
        let several = grant.terms().builders.len() > 1;
        Self::Evidence {
            builder: several.then(|| builder.clone()),
            fault: Box::new(fault),
        }
    }

    /// What is wrong with the evidence of all builders together.
    pub(super) fn of_all(fault: EvidenceError) -> Self {
        Self::Evidence {
            builder: None,
            fault: Box::new(fault),
        }
    }

    /// A file of the release, and not of the build.
    pub(super) fn output(error: FileError) -> Self {
        Self::Trouble(error.into())
    }

    /// What is wrong with the artifacts as a whole.
    pub(super) fn list(fault: Malformed) -> Self {
        Self::of_all(fault.within("the evidence is refused").into())
    }

    /// What builders differ in, if that is why.
    pub fn differences(&self) -> Option<&Differences> {
        match self {
            Self::Evidence { fault, .. } => match &**fault {
                EvidenceError::Dissent(dissent) => Some(&dissent.differences),
                _ => None,
            },
            _ => None,
        }
    }

    /// Whether the build is at fault, and not this host, and cannot become right by waiting.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::IntoItself(_) | Self::Trouble(_) => false,
            Self::Policy(PolicyError::Trouble(_)) => false,
            error => !error.is_not_yet(),
        }
    }

    /// Whether all that is wrong is that something is not here yet.
    pub(super) fn is_not_yet(&self) -> bool {
        class_and_reason(self).0 == "notyet"
    }
}

/// What is not here yet: the first of it. It is reported when everything that is here was judged
/// and nothing of that is refused.
#[derive(Debug, Default)]
pub(super) struct Awaited(Option<BuildError>);

impl Awaited {
    pub(super) fn add(&mut self, error: BuildError) {
        self.0.get_or_insert(error);
    }

    /// What a check gives; `None` if it has to wait.
    pub(super) fn unless_refused<T, E: Into<BuildError>>(
        &mut self,
        result: Result<T, E>,
    ) -> Result<Option<T>, BuildError> {
        match result.map_err(E::into) {
            Err(error) if error.is_not_yet() => {
                self.add(error);
                Ok(None)
            }
            result => result.map(Some),
        }
    }

    pub(super) fn is_nothing(&self) -> bool {
        self.0.is_none()
    }

    /// An error if there is anything.
    pub(super) fn end(self) -> Result<(), BuildError> {
        self.0.map_or(Ok(()), Err)
    }
}
