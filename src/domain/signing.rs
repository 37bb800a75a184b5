//! What the release key signs, defined once.
//!
//! A [`Statement`] is the content of one signature; the token gets nothing else. A [`Plan`] is the
//! list of statements of one release. Everything that H signs, H composed: a statement has no
//! constructor from bytes, because a signature by an RSA or ECDSA key over bytes that somebody else
//! chose can be a certification of a key of theirs.

use std::collections::HashMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::digest::{GrantId, Sha256};
use super::key::{HashAlgorithm, MessageDigest};
use super::name::ArtifactName;
use super::reserved::SUMS;
use super::time::Timestamp;

/// What a statement is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The release contains this file.
    Artifact,
    /// The release consists of the files in this list.
    List,
    /// What the certificate of the key consists of: its own binding, a User ID, its revocation.
    Key,
    /// A text without meaning, for a test of the token.
    SelfTest,
    /// The evidence of a builder whose build key is on a token.
    Evidence,
}

/// What one signature states beside the bytes that it is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    role: Role,
    created: Timestamp,
    hash: HashAlgorithm,
    notations: Vec<(String, String)>,
}

impl Statement {
    /// The text of the self-test.
    pub fn self_test(created: Timestamp, hash: HashAlgorithm) -> Self {
        Self::plain(Role::SelfTest, created, hash)
    }

    /// A part of the certificate of the key.
    pub fn key(created: Timestamp, hash: HashAlgorithm) -> Self {
        Self::plain(Role::Key, created, hash)
    }

    /// A builder's statement, with the notations that name the grant.
    pub fn evidence(
        created: Timestamp,
        hash: HashAlgorithm,
        notations: Vec<(String, String)>,
    ) -> Self {
        Self {
            notations,
            ..Self::plain(Role::Evidence, created, hash)
        }
    }

    fn plain(role: Role, created: Timestamp, hash: HashAlgorithm) -> Self {
        Self {
            role,
            created,
            hash,
            notations: Vec::new(),
        }
    }

    /// What it is.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The creation time of its signature.
    pub fn created(&self) -> Timestamp {
        self.created
    }

    /// The hash function of its signature.
    pub fn hash(&self) -> HashAlgorithm {
        self.hash
    }

    /// Name and text of each notation in the hashed area.
    pub fn notations(&self) -> &[(String, String)] {
        &self.notations
    }

    /// The statement as the token gets it, with the digest of the OpenPGP message that it makes
    /// (RFC 9580, section 5.2.4). Only `openpgp`, which composes that message, calls this.
    pub(crate) fn composed(&self, digest: MessageDigest) -> Message<'_> {
        Message {
            statement: self,
            digest,
        }
    }
}

/// A statement with the digest of the message that it makes: what a token signs.
#[derive(Debug)]
pub struct Message<'a> {
    statement: &'a Statement,
    digest: MessageDigest,
}

impl Message<'_> {
    /// What is signed.
    pub fn statement(&self) -> &Statement {
        self.statement
    }

    /// Its digest.
    pub fn digest(&self) -> &MessageDigest {
        &self.digest
    }
}

/// The form of a release: which of its files have a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Coverage {
    /// Each artifact, and the list.
    #[serde(rename = "each")]
    Each,
    /// The list alone, as its first line states: a release of the other form does not become
    /// one of this form by losing signatures.
    #[serde(rename = "list")]
    ListOnly,
}

impl Coverage {
    /// Each form, in the order of the help.
    pub const ALL: [Self; 2] = [Self::Each, Self::ListOnly];

    /// Its name, in a grant and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Each => "each",
            Self::ListOnly => "list",
        }
    }

    /// The value of the notation `form@DOMAIN` in the list's signature. An artifact can have the
    /// bytes of any list, and is signed too; this distinguishes the two.
    pub fn notation(self) -> Option<&'static str> {
        match self {
            Self::Each => None,
            Self::ListOnly => Some("sums-only"),
        }
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A file of a release that has a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedFile<'a> {
    role: Role,
    name: &'a str,
    /// The file whose signature it has: itself, or the first with the same bytes.
    shares: &'a str,
}

impl<'a> SignedFile<'a> {
    /// Its name.
    pub fn name(self) -> &'a str {
        self.name
    }

    /// The name of the first file with the same bytes, whose signature it has: nothing in the two
    /// signatures could differ.
    pub fn shares(self) -> &'a str {
        self.shares
    }

    /// Whether the token is asked for its signature.
    pub fn is_asked(self) -> bool {
        self.name == self.shares
    }
}

/// The statements of one release, in the order of the token: artifacts by name, the list last.
#[derive(Debug, Clone)]
pub struct Plan<'a> {
    coverage: Coverage,
    files: Vec<SignedFile<'a>>,
}

impl<'a> Plan<'a> {
    /// The plan for these artifacts, which come sorted by name.
    pub fn new(
        coverage: Coverage,
        artifacts: impl IntoIterator<Item = (&'a ArtifactName, &'a Sha256)>,
    ) -> Self {
        let mut files = Vec::new();
        if coverage == Coverage::Each {
            let mut first = HashMap::new();
            files.extend(artifacts.into_iter().map(|(name, digest)| SignedFile {
                role: Role::Artifact,
                name: name.as_str(),
                shares: first.entry(digest).or_insert(name.as_str()),
            }));
        }
        files.push(SignedFile {
            role: Role::List,
            name: SUMS,
            shares: SUMS,
        });
        Self { coverage, files }
    }

    /// Every file with a signature.
    pub fn files(&self) -> impl Iterator<Item = SignedFile<'a>> {
        self.files.iter().copied()
    }

    /// The names of the files for which the token is asked.
    pub fn asked(&self) -> impl Iterator<Item = &'a str> {
        self.files()
            .filter(|file| file.is_asked())
            .map(SignedFile::name)
    }

    /// The statement for one of its files.
    pub fn statement(&self, file: SignedFile<'_>, of: &Signing) -> Statement {
        let notation = |name: &str, value: String| (format!("{name}@{}", of.domain), value);
        let mut notations = vec![
            notation("grant", of.grant.to_string()),
            notation("log", of.log.clone()),
        ];
        if let (Role::List, Some(form)) = (file.role, self.coverage.notation()) {
            notations.push(notation("form", form.to_owned()));
        }
        Statement {
            role: file.role,
            created: of.created,
            hash: of.hash,
            notations,
        }
    }
}

/// What all statements of one release have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signing {
    /// The creation time of the signatures.
    pub created: Timestamp,
    /// Their hash function.
    pub hash: HashAlgorithm,
    /// The domain of their notations.
    pub domain: String,
    /// The grant of the build.
    pub grant: GrantId,
    /// The index of the intent in the log, and the root of the tree that ends with it.
    pub log: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn artifacts() -> Vec<(ArtifactName, Sha256)> {
        [("a", "1"), ("b", "2"), ("c", "1"), ("d", "2"), ("e", "3")]
            .map(|(name, bytes)| (name.parse().expect("a name"), Sha256::of(bytes.as_bytes())))
            .into()
    }

    fn plan(coverage: Coverage, artifacts: &[(ArtifactName, Sha256)]) -> Plan<'_> {
        Plan::new(
            coverage,
            artifacts.iter().map(|(name, digest)| (name, digest)),
        )
    }

    fn signing() -> Signing {
        Signing {
            created: Timestamp::from_unix(0),
            hash: HashAlgorithm::Sha512,
            domain: "example.org".to_owned(),
            grant: GrantId::of(b"grant"),
            log: "3 root".to_owned(),
        }
    }

    #[test]
    fn files_with_the_same_bytes_share_a_signature() {
        let artifacts = artifacts();
        let plan = plan(Coverage::Each, &artifacts);
        let shares: Vec<_> = plan.files().map(|it| (it.name(), it.shares())).collect();
        let expected = [("a", "a"), ("b", "b"), ("c", "a"), ("d", "b"), ("e", "e")];
        assert_eq!(shares, [&expected[..], &[(SUMS, SUMS)]].concat());
        assert_eq!(plan.asked().collect::<Vec<_>>(), ["a", "b", "e", SUMS]);
    }

    #[test]
    fn the_list_alone_says_that_it_is_alone() {
        let artifacts = artifacts();
        let forms = [Coverage::Each, Coverage::ListOnly].map(|coverage| {
            let plan = plan(coverage, &artifacts);
            let list = plan.files().last().expect("the list");
            let statement = plan.statement(list, &signing());
            assert_eq!((statement.role(), list.name()), (Role::List, SUMS));
            let names: Vec<_> = statement
                .notations()
                .iter()
                .map(|(name, _)| name.clone())
                .collect();
            (plan.asked().count(), names)
        });
        let names = |all: &[&str]| {
            all.iter()
                .map(|name| format!("{name}@example.org"))
                .collect()
        };
        let each: Vec<String> = names(&["grant", "log"]);
        assert_eq!(forms, [(4, each), (1, names(&["grant", "log", "form"]))]);
    }
}
