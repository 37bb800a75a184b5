//! What a builder leaves beside its artifacts, and in which files.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::artifact::{MOST_ARTIFACTS, sum_line};
use super::digest::Sha256;
use super::name::{ArtifactName, BuilderName};
use super::reserved::{
    BUILD_KEY, BUILD_KEY_PEM, ENVELOPE, MAC, MANIFEST, MANIFEST_MAC, MANIFEST_SIGNATURE, SIGNATURE,
};

/// The largest manifest that is read, in bytes.
const LARGEST_MANIFEST: u64 = 4 << 20;
/// The largest envelope that is read, in bytes.
const LARGEST_ENVELOPE: u64 = 8 << 20;
/// The largest signature or MAC that evidence may have, in bytes.
const LARGEST_PROOF: u64 = 64 << 10;
/// The same where each artifact has its own.
const LARGEST_PROOF_EACH: u64 = 8 << 10;

/// Maximum number of files in a builder's folder: of artifacts, with a file of evidence each.
pub const MOST_DELIVERED: usize = 2 * MOST_ARTIFACTS + 2;

/// How a builder's evidence is authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// Detached OpenPGP signatures of the build key.
    OpenPgp,
    /// An in-toto statement in a DSSE envelope, signed with Ed25519.
    Dsse,
    /// HMAC-SHA256 with a nonce that the signing host also knows.
    Hmac,
}

/// The form a builder's evidence has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EvidenceForm {
    /// One list of all artifacts, authenticated once.
    Manifest,
    /// One signature or MAC for each artifact.
    PerArtifact,
}

/// A scheme in one of the forms that it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EvidenceKind {
    /// `build.manifest` and its OpenPGP signature.
    SignedManifest,
    /// An OpenPGP signature for each artifact.
    Signatures,
    /// An in-toto statement in a DSSE envelope.
    Envelope,
    /// `build.manifest` and its MAC.
    ManifestMac,
    /// A MAC for each artifact.
    Macs,
}

/// The files that authenticate a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EvidenceFiles {
    /// These, each with its size limit in bytes.
    Named(&'static [(&'static str, u64)]),
    /// One beside each artifact.
    Each {
        /// What is added to the artifact's name.
        suffix: &'static str,
        /// Its size limit in bytes.
        limit: u64,
    },
}

impl Scheme {
    /// Each scheme, in the order of the help.
    pub const ALL: [Self; 3] = [Self::OpenPgp, Self::Dsse, Self::Hmac];

    /// Its name, in a grant and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OpenPgp => "openpgp",
            Self::Dsse => "dsse",
            Self::Hmac => "hmac",
        }
    }

    /// Whether the evidence convinces the signing host alone, which knows the secret and could have
    /// made the evidence itself.
    pub fn convinces_host_alone(self) -> bool {
        match self {
            Self::Hmac => true,
            Self::OpenPgp | Self::Dsse => false,
        }
    }
}

impl EvidenceForm {
    /// Each form, in the order of the help.
    pub const ALL: [Self; 2] = [Self::Manifest, Self::PerArtifact];

    /// Its name, in a grant and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Manifest => "manifest",
            Self::PerArtifact => "per-artifact",
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for EvidenceForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl EvidenceKind {
    /// A scheme in this form; `None` if the scheme does not have it.
    pub fn of(scheme: Scheme, form: EvidenceForm) -> Option<Self> {
        match (scheme, form) {
            (Scheme::OpenPgp, EvidenceForm::Manifest) => Some(Self::SignedManifest),
            (Scheme::OpenPgp, EvidenceForm::PerArtifact) => Some(Self::Signatures),
            (Scheme::Dsse, EvidenceForm::Manifest) => Some(Self::Envelope),
            (Scheme::Dsse, EvidenceForm::PerArtifact) => None,
            (Scheme::Hmac, EvidenceForm::Manifest) => Some(Self::ManifestMac),
            (Scheme::Hmac, EvidenceForm::PerArtifact) => Some(Self::Macs),
        }
    }

    /// Its scheme and its form.
    pub fn scheme_and_form(self) -> (Scheme, EvidenceForm) {
        match self {
            Self::SignedManifest => (Scheme::OpenPgp, EvidenceForm::Manifest),
            Self::Signatures => (Scheme::OpenPgp, EvidenceForm::PerArtifact),
            Self::Envelope => (Scheme::Dsse, EvidenceForm::Manifest),
            Self::ManifestMac => (Scheme::Hmac, EvidenceForm::Manifest),
            Self::Macs => (Scheme::Hmac, EvidenceForm::PerArtifact),
        }
    }

    /// The files that it consists of.
    pub fn files(self) -> EvidenceFiles {
        match self {
            Self::SignedManifest => EvidenceFiles::Named(&[
                (MANIFEST, LARGEST_MANIFEST),
                (MANIFEST_SIGNATURE, LARGEST_PROOF),
            ]),
            Self::Signatures => EvidenceFiles::Each {
                suffix: SIGNATURE,
                limit: LARGEST_PROOF_EACH,
            },
            Self::Envelope => EvidenceFiles::Named(&[(ENVELOPE, LARGEST_ENVELOPE)]),
            Self::ManifestMac => {
                EvidenceFiles::Named(&[(MANIFEST, LARGEST_MANIFEST), (MANIFEST_MAC, LARGEST_PROOF)])
            }
            Self::Macs => EvidenceFiles::Each {
                suffix: MAC,
                limit: LARGEST_PROOF_EACH,
            },
        }
    }

    /// The file name of the builder's public key in a release, if it has one.
    pub fn public_key(self) -> Option<&'static str> {
        match self {
            Self::SignedManifest | Self::Signatures => Some(BUILD_KEY),
            Self::Envelope => Some(BUILD_KEY_PEM),
            Self::ManifestMac | Self::Macs => None,
        }
    }

    /// The size limit of the file `name` in bytes; `None` for a file that is not such evidence.
    pub fn limit(self, name: &str) -> Option<u64> {
        match self.files() {
            EvidenceFiles::Named(files) => files
                .iter()
                .find(|(file, _)| *file == name)
                .map(|(_, limit)| *limit),
            EvidenceFiles::Each { suffix, limit } => name.strip_suffix(suffix).map(|_| limit),
        }
    }
}

/// The artifacts in which builders differ: each builder's digest, or `None` if it did not build it.
pub type Differences = BTreeMap<ArtifactName, BTreeMap<BuilderName, Option<Sha256>>>;

/// Whether a file of a release's evidence can have this name, under any scheme.
pub fn is_evidence_file(name: &str) -> bool {
    let each = |suffix| {
        name.strip_suffix(suffix)
            .is_some_and(|artifact| artifact.parse::<ArtifactName>().is_ok())
    };
    [
        BUILD_KEY,
        BUILD_KEY_PEM,
        MANIFEST,
        MANIFEST_SIGNATURE,
        MANIFEST_MAC,
        ENVELOPE,
    ]
    .contains(&name)
        || each(SIGNATURE)
        || each(MAC)
}

/// The digest of several files together: of the lines that `sha256sum` writes of them, sorted by
/// name.
pub fn digest_of_all<'a>(files: impl IntoIterator<Item = (&'a str, Sha256)>) -> Sha256 {
    let files: BTreeMap<_, _> = files.into_iter().collect();
    let lines: String = files
        .iter()
        .map(|(name, digest)| sum_line(digest, name))
        .collect();
    Sha256::of(lines.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::grant::Bounds;

    #[test]
    fn no_evidence_can_be_an_artifact_of_its_build() {
        let kinds = Scheme::ALL
            .into_iter()
            .flat_map(|scheme| EvidenceForm::ALL.map(|form| (scheme, form)));
        let kinds: Vec<_> = kinds
            .filter_map(|(scheme, form)| EvidenceKind::of(scheme, form))
            .collect();
        assert_eq!(kinds.len(), 5);
        for kind in kinds {
            let names: Vec<String> = match kind.files() {
                EvidenceFiles::Named(files) => {
                    files.iter().map(|(name, _)| (*name).to_owned()).collect()
                }
                EvidenceFiles::Each { suffix, .. } => vec![format!("foo.tar.xz{suffix}")],
            };
            for name in names {
                let bounds = Bounds {
                    kind,
                    ..Bounds::example(&["*"])
                };
                assert!(bounds.judge_names([name.as_str()]).is_err(), "{name}");
                assert!(
                    is_evidence_file(&name) && kind.limit(&name).is_some(),
                    "{name}"
                );
            }
        }
        for name in [
            "foo",
            "grant.json",
            ".sig",
            "../x.sig",
            "foo.asc",
            "build.manifest.asc",
        ] {
            assert!(!is_evidence_file(name), "{name}");
        }
    }

    #[test]
    fn the_digest_of_files_is_that_of_their_sums() {
        let digest = Sha256::of(b"");
        let sums = format!("{digest}  a\n{digest}  b\n");
        assert_eq!(
            digest_of_all([("b", digest), ("a", digest)]),
            Sha256::of(sums.as_bytes())
        );
    }
}
