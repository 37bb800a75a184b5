//! Why evidence, or that of several builders together, is refused.

use crate::domain::digest::Sha256;
use crate::domain::evidence::Differences;
use crate::domain::grant::Grant;
use crate::domain::malformed::Malformed;
use crate::domain::name::{ArtifactName, BuilderName};
use crate::openpgp::BadSignature;

/// Why evidence is refused.
#[expect(missing_docs, reason = "each message says what it means")]
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum EvidenceError {
    /// It is not authentic, or not what the grant approved.
    #[error(transparent)]
    #[diagnostic(
        code(refused::evidence_invalid),
        help(
            "fetch the build again; if it is still invalid, it is not what this grant approved: \
             issue a new one and build again"
        )
    )]
    Invalid(#[from] Malformed),
    #[error("`{file}` is by builder `{signer}`, but is in the place of builder `{builder}`")]
    #[diagnostic(
        code(refused::evidence_in_other_place),
        help("put what each builder made into the folder of its own name")
    )]
    ByOther {
        file: String,
        builder: BuilderName,
        signer: BuilderName,
    },
    #[error("{0}")]
    #[diagnostic(
        code(refused::evidence_without_artifacts),
        help(
            "name the folder with the artifacts, and with the evidence that the grant asks for: \
             see `countersign grants show GRANT`"
        )
    )]
    NoArtifact(String),
    #[error("artifact `{name}` has SHA-256 {found}, but builder `{builder}` attested {expected}")]
    #[diagnostic(
        code(refused::artifact_changed),
        help(
            "fetch the build again; if it still differs, it was changed after the builder attested \
             it"
        )
    )]
    Digest {
        name: ArtifactName,
        builder: BuilderName,
        found: Sha256,
        expected: Sha256,
    },
    #[error("the grant asks for {quorum} builders that agree, but {found}")]
    #[diagnostic(
        code(refused::too_few_builders),
        help(
            "compare what each built with `countersign grants diff GRANT --from DIR`, then issue a \
             new grant"
        )
    )]
    TooFew { quorum: u32, found: String },
    /// Those that have not delivered can still agree.
    #[error("the grant asks for {quorum} builders that agree, but {found}")]
    #[diagnostic(
        code(notyet::builders_missing),
        help("fetch what more builders made, and run the same command again")
    )]
    Awaited { quorum: u32, found: String },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Dissent(#[from] Box<Dissent>),
}

/// Two builders that do not agree, and whatever else differs.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error(
    "builders differ in artifact `{name}`: `{}` has {}, `{}` has {}",
    one.0, one.1, other.0, other.1
)]
#[diagnostic(
    code(refused::builders_differ),
    help(
        "find out which builder is right, with `countersign grants diff GRANT --from DIR`; only \
         then set aside what the other made"
    )
)]
pub struct Dissent {
    /// The first artifact in which they do.
    pub name: ArtifactName,
    /// A builder and the digest that it attested.
    pub one: (BuilderName, Sha256),
    /// Another builder and the digest that it attested.
    pub other: (BuilderName, Sha256),
    /// Everything in which any two differ.
    pub differences: Differences,
}

impl EvidenceError {
    pub(super) fn invalid(message: String) -> Self {
        Self::Invalid(Malformed::new(message))
    }

    /// What is wrong with a file.
    pub(super) fn file(file: &str) -> impl Fn(Malformed) -> Self + '_ {
        move |fault| fault.within(format!("`{file}`")).into()
    }

    /// What is wrong with a signature.
    pub(super) fn signature(file: &str) -> impl Fn(BadSignature) -> Self + '_ {
        move |fault| Self::invalid(format!("`{file}`: {fault}"))
    }

    /// A file that names another grant, or none.
    pub(super) fn other_grant(file: &str, found: Option<String>, grant: &Grant) -> Self {
        let found = found.map_or_else(|| "no grant".to_owned(), |found| format!("grant {found}"));
        Self::invalid(format!("`{file}` is for {found}, not for {}", grant.id()))
    }
}
