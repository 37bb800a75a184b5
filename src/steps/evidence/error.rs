//! What is wrong with evidence, or with builders together, and with the keys that a grant has for
//! them.

use crate::domain::digest::{GrantId, Sha256};
use crate::domain::evidence::Differences;
use crate::domain::key::Fingerprint;
use crate::domain::malformed::Malformed;
use crate::domain::name::{ArtifactName, BuilderName};
use crate::domain::time::Timestamp;
use crate::openpgp::BadSignature;

/// Why evidence is refused.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// The key that a grant holds for a builder cannot be read.
    #[error("the key of builder `{builder}` in the grant cannot be used: {fault}")]
    BuildKey {
        /// The builder.
        builder: BuilderName,
        /// What is wrong with its key.
        fault: Malformed,
    },
    /// Two builders with one key would count twice and be one.
    #[error("builders `{first}` and `{second}` of the grant have the same key")]
    SharedKey {
        /// One.
        first: BuilderName,
        /// The other.
        second: BuilderName,
    },
    /// A file of the evidence.
    #[error("`{0}` is missing")]
    Missing(String),
    /// A signature file, or what it says.
    #[error("`{file}`: {fault}")]
    Signature {
        /// The signature.
        file: String,
        /// What is wrong with it.
        fault: BadSignature,
    },
    /// A file that does not have its form, or what authenticates it does not.
    #[error("`{file}`: {fault}")]
    Malformed {
        /// The file of the evidence.
        file: String,
        /// What is wrong with it.
        fault: Malformed,
    },
    /// None of the grant's builders signed.
    #[error(
        "`{file}` is by key {issuer}, which is no build key of this grant ({})",
        join(builders)
    )]
    NotABuilder {
        /// The signature.
        file: String,
        /// Who signed, by their own word.
        issuer: String,
        /// The builders and their keys.
        builders: Vec<(BuilderName, Fingerprint)>,
    },
    /// Another builder of the grant signed.
    #[error("`{file}` is by builder `{signer}`, but stands for builder `{builder}`")]
    ByOther {
        /// What was signed.
        file: String,
        /// Whose evidence it should be.
        builder: BuilderName,
        /// Whose key signed.
        signer: BuilderName,
    },
    /// Made for another grant, or for none.
    #[error("`{file}` is for {}, not for {expected}", found.as_ref().map_or_else(|| "no grant".to_owned(), |found| format!("grant {found}")))]
    OtherGrant {
        /// What was signed.
        file: String,
        /// What it says.
        found: Option<String>,
        /// What it is checked against.
        expected: GrantId,
    },
    /// Made with one builder's key in the name of another.
    #[error("`build.manifest` says builder `{found}`, but builder `{signer}` signed it")]
    OtherBuilder {
        /// What it says.
        found: BuilderName,
        /// Whose key made it.
        signer: BuilderName,
    },
    /// Another project or version.
    #[error("`build.manifest` is for {found}, but the grant is for {expected}")]
    OtherBuild {
        /// What it says.
        found: String,
        /// What the grant says.
        expected: String,
    },
    /// A signature of one artifact that does not say of which.
    #[error("`{file}` {}", match found {
        None => format!("has no notation `artifact@{domain}`, which must be the artifact's name"),
        Some(found) => format!("is for artifact `{found}`, as its notation `artifact@{domain}` says"),
    })]
    OtherArtifact {
        /// The signature.
        file: String,
        /// What it says.
        found: Option<String>,
        /// The domain that the grant gives notations.
        domain: String,
    },
    /// Evidence for something that cannot be an artifact.
    #[error("`{file}`: {fault}")]
    Name {
        /// The file of the evidence.
        file: String,
        /// What is wrong.
        fault: Malformed,
    },
    /// Evidence for a number of artifacts that no build has.
    #[error("the evidence is refused: {0}")]
    List(Malformed),
    /// The evidence of an empty build.
    #[error("the evidence lists no artifact")]
    NoArtifact,
    /// A name that the grant does not allow.
    #[error("artifact `{name}` is not among the names that the grant allows: {}", patterns.join(", "))]
    NameNotAllowed {
        /// The name.
        name: ArtifactName,
        /// The grant's patterns.
        patterns: Vec<String>,
    },
    /// More artifacts than allowed.
    #[error("the build has {count} artifacts, but the grant allows {limit}")]
    TooMany {
        /// How many there are.
        count: usize,
        /// How many the grant allows.
        limit: u32,
    },
    /// Made outside the grant's time.
    #[error("`{file}` was made at {at}, but the grant counts from {not_before} until {expires}")]
    OutOfTime {
        /// What was made.
        file: String,
        /// When, by its own word.
        at: Timestamp,
        /// From when on the grant counts.
        not_before: Timestamp,
        /// From when on it counts no more.
        expires: Timestamp,
    },
    /// Other bytes than the builder attested.
    #[error("artifact `{name}` has SHA-256 {found}, but builder `{builder}` attested {expected}")]
    Digest {
        /// The artifact.
        name: ArtifactName,
        /// The builder.
        builder: BuilderName,
        /// What it has.
        found: Sha256,
        /// What the builder says.
        expected: Sha256,
    },
    /// Too few builders.
    #[error(
        "the grant asks for {quorum} builders that agree, but there is evidence of {}",
        listed(builders)
    )]
    Quorum {
        /// What the grant asks for.
        quorum: u32,
        /// Who left evidence.
        builders: Vec<BuilderName>,
    },
    /// Too few builders for one artifact.
    #[error(
        "the grant asks for {quorum} builders that agree, but artifact `{name}` was attested by {}",
        listed(builders)
    )]
    TooFew {
        /// The artifact.
        name: ArtifactName,
        /// What the grant asks for.
        quorum: u32,
        /// Who attested it.
        builders: Vec<BuilderName>,
    },
    /// Two builders that do not agree.
    #[error(transparent)]
    Dissent(#[from] Box<Dissent>),
}

/// Two builders that do not agree, and whatever else differs.
#[derive(Debug, thiserror::Error)]
#[error("builders differ in artifact `{name}`: `{}` has {}, `{}` has {}", one.0, one.1, other.0, other.1)]
pub struct Dissent {
    /// The first artifact in which they do.
    pub name: ArtifactName,
    /// A builder and what it says.
    pub one: (BuilderName, Sha256),
    /// Another builder and what it says.
    pub other: (BuilderName, Sha256),
    /// Everything in which any two differ.
    pub differences: Differences,
}

fn join(builders: &[(BuilderName, Fingerprint)]) -> String {
    builders
        .iter()
        .map(|(name, key)| format!("`{name}` has {key}"))
        .collect::<Vec<_>>()
        .join(", ")
}

fn listed(builders: &[BuilderName]) -> String {
    match builders {
        [] => "none".to_owned(),
        [one] => format!("one (`{one}`)"),
        all => {
            format!(
                "{} ({})",
                all.len(),
                all.iter()
                    .map(|name| format!("`{name}`"))
                    .collect::<Vec<_>>()
                    .join(", ")
            )
        }
    }
}
