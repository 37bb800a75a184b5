//! Why a release, or one file of it, is refused.

use crate::domain::malformed::Malformed;
use crate::domain::name::{ProjectName, Version};
use crate::domain::time::Timestamp;
use crate::location::Fault;
use crate::openpgp::BadSignature;

/// Why a release, or one file of it, is refused.
#[expect(missing_docs, reason = "each message says what it means")]
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ReleaseError {
    #[error("`{0}` is missing")]
    #[diagnostic(
        code(refused::release_incomplete),
        help("fetch the release again, complete")
    )]
    Missing(String),
    /// A signature that a release of which the list alone is signed does not have.
    #[error(
        "`{0}` is missing: only the SHA256SUMS of this release is signed, so verify the folder"
    )]
    #[diagnostic(code(refused::only_list_signed))]
    ListOnly(String),
    #[error("signature `{file}`: {source}")]
    #[diagnostic(code(refused::release_signature))]
    Signature { file: String, source: BadSignature },
    /// A good signature, but not of this file of this release.
    #[error("signature `{file}` was made for something else: {fault}")]
    #[diagnostic(code(refused::signature_for_other_release))]
    OtherRelease { file: String, fault: Malformed },
    /// A good release whose folder has another name.
    #[error("`{folder}` contains release {project} {version}, which is not what its name says")]
    #[diagnostic(
        code(refused::unnamed),
        help("if you want this release, say so: `--project {project} --version {version}`")
    )]
    Unnamed {
        folder: String,
        project: ProjectName,
        version: Version,
    },
    /// A release that was good.
    #[error("release {release} was withdrawn at {at}: {reason}")]
    #[diagnostic(
        code(refused::release_withdrawn),
        help("do not use it; ask for a newer version")
    )]
    Withdrawn {
        release: String,
        at: Timestamp,
        reason: String,
    },
    /// A good release that this verifier does not accept.
    #[error("{0}")]
    #[diagnostic(
        code(refused::policy),
        help("this is your own rule: ask for a release that it accepts, or change the policy")
    )]
    Policy(Malformed),
    /// The list, and what it lists.
    #[error("{0}")]
    #[diagnostic(code(refused::release_content))]
    Content(String),
    /// The grant, and what the builders attested.
    #[error("{0}")]
    #[diagnostic(code(refused::release_evidence))]
    Evidence(String),
    /// A file of it is not one that a release has.
    #[error("{0}")]
    #[diagnostic(code(refused::release_file))]
    Unfit(Fault),
    /// Where it is read from.
    #[error("{0}")]
    #[diagnostic(forward(0))]
    Source(Fault),
    /// Where it is published.
    #[error("the release cannot be copied: {0}")]
    #[diagnostic(forward(0))]
    Stage(Fault),
}

impl ReleaseError {
    /// A good signature that was not made for what it is found with.
    pub(super) fn other(file: &str) -> impl Fn(Malformed) -> Self + '_ {
        move |fault| Self::OtherRelease {
            file: file.to_owned(),
            fault,
        }
    }

    /// What is wrong with a signature's file.
    pub(super) fn signature(file: &str) -> impl Fn(BadSignature) -> Self + '_ {
        move |source| Self::Signature {
            file: file.to_owned(),
            source,
        }
    }

    /// What is wrong with a file of a release that should be there.
    pub(super) fn file(name: &str) -> impl Fn(Fault) -> Self + '_ {
        move |fault| match fault {
            Fault::Missing(_) => Self::Missing(name.to_owned()),
            _ => Self::source(fault),
        }
    }

    /// What a fault of the place that a release is read from means for the release.
    pub(in crate::steps) fn source(fault: Fault) -> Self {
        match fault {
            Fault::Refused(_) | Fault::Unreachable(_) => Self::Source(fault),
            Fault::Missing(_)
            | Fault::Occupied(_)
            | Fault::TooLarge(_)
            | Fault::Strange(_)
            | Fault::Unfit(_) => Self::Unfit(fault),
        }
    }
}
