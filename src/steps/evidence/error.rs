//! What is wrong with evidence, or with builders together, and with the keys that a grant has for
//! them.

use crate::domain::artifact::BadList;
use crate::domain::digest::{GrantId, NotADigest, Sha256};
use crate::domain::evidence::Differences;
use crate::domain::key::Fingerprint;
use crate::domain::manifest::BadManifest;
use crate::domain::name::{ArtifactName, BadName, BuilderName};
use crate::domain::statement::BadStatement;
use crate::domain::time::Timestamp;
use crate::dsse::{BadEd25519Key, BadEnvelope};
use crate::mac::BadMac;
use crate::openpgp::{BadCertificate, BadSignature};

/// A builder's key that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadBuilderKey {
    /// Of the OpenPGP scheme.
    #[error(transparent)]
    OpenPgp(#[from] BadCertificate),
    /// Of the DSSE scheme.
    #[error(transparent)]
    Ed25519(#[from] BadEd25519Key),
    /// Of the MAC scheme.
    #[error("is not the SHA-256 of a nonce: {0}")]
    Nonce(#[from] NotADigest),
}

/// Why evidence is refused.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// The key that a grant holds for a builder cannot be read.
    #[error("the key of builder `{builder}` in the grant {fault}")]
    BuildKey {
        /// The builder.
        builder: BuilderName,
        /// What is wrong with its key.
        fault: BadBuilderKey,
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
    #[error("`{file}` {fault}")]
    Signature {
        /// The signature.
        file: String,
        /// What is wrong with it.
        fault: BadSignature,
    },
    /// A MAC.
    #[error("`{file}` {fault}")]
    Mac {
        /// The MAC.
        file: String,
        /// What is wrong with it.
        fault: BadMac,
    },
    /// An envelope.
    #[error("`build.dsse.json` {0}")]
    Envelope(#[from] BadEnvelope),
    /// What is in an envelope.
    #[error("the payload of `build.dsse.json` {0}")]
    Statement(#[from] BadStatement),
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
    /// The manifest's form.
    #[error("`build.manifest` {0}")]
    Manifest(#[from] BadManifest),
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
        fault: BadName,
    },
    /// Evidence for a number of artifacts that no build has.
    #[error("the evidence {0}")]
    List(#[from] BadList),
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
