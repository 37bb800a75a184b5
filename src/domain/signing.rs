//! What the release key signs, defined once.
//!
//! A [`Statement`] is the content of one signature; the token gets nothing else. A [`Plan`] is the
//! list of statements of one release. Everything that H signs, H composed: a statement has no
//! constructor from bytes, because a signature by an RSA or ECDSA key over bytes that somebody else
//! chose can be a certification of a key of theirs.

use super::digest::GrantId;
use super::key::{HashAlgorithm, MessageDigest};
use super::name::{ArtifactName, ProjectName, Version};
use super::time::Timestamp;

pub use super::claims::{Claims, ReleaseForm, Role, SignedFile};

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
    pub fn self_test(created: Timestamp, hash: HashAlgorithm, domain: &str) -> Self {
        Self::alone(Role::SelfTest, created, hash, Some(domain))
    }

    /// A part of the certificate of the key; that of a builder's key has no domain.
    pub fn key(created: Timestamp, hash: HashAlgorithm, domain: Option<&str>) -> Self {
        Self::alone(Role::Key, created, hash, domain)
    }

    /// A builder's statement, with the notations that name the grant.
    pub fn evidence(
        created: Timestamp,
        hash: HashAlgorithm,
        notations: Vec<(String, String)>,
    ) -> Self {
        Self {
            role: Role::Evidence,
            created,
            hash,
            notations,
        }
    }

    /// What says its role and nothing else.
    fn alone(role: Role, created: Timestamp, hash: HashAlgorithm, domain: Option<&str>) -> Self {
        let role_notation = domain
            .zip(role.word())
            .map(|(domain, word)| (format!("role@{domain}"), word.to_owned()));
        Self {
            role,
            created,
            hash,
            notations: role_notation.into_iter().collect(),
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

/// The files of one release that have a signature, in the order of the token: artifacts by name,
/// the list last. Two names of the same bytes are two statements.
#[derive(Debug, Clone)]
pub struct Plan {
    files: Vec<SignedFile>,
}

impl Plan {
    /// The plan for these artifacts, which come sorted by name.
    pub fn new<'a>(
        coverage: ReleaseForm,
        artifacts: impl IntoIterator<Item = &'a ArtifactName>,
    ) -> Self {
        let list = SignedFile::List(coverage);
        let files = match coverage {
            ReleaseForm::Each => artifacts
                .into_iter()
                .map(|name| SignedFile::Artifact(name.clone()))
                .chain([list])
                .collect(),
            ReleaseForm::ListOnly => vec![list],
        };
        Self { files }
    }

    /// Every file with a signature.
    pub fn files(&self) -> &[SignedFile] {
        &self.files
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(SignedFile::name)
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
    /// The project of the release.
    pub project: ProjectName,
    /// The version of the release.
    pub version: Version,
    /// The grant of the build.
    pub grant: GrantId,
    /// The index of the intent in the log, and the root of the tree that ends with it.
    pub log: String,
}

impl Signing {
    /// What the signature of one file says.
    pub fn claims(&self, file: &SignedFile) -> Claims {
        Claims {
            domain: self.domain.clone(),
            project: self.project.clone(),
            version: self.version.clone(),
            grant: self.grant,
            log: self.log.clone(),
            file: file.clone(),
        }
    }

    /// The statement for one file.
    pub fn statement(&self, file: &SignedFile) -> Statement {
        Statement {
            role: file.role(),
            created: self.created,
            hash: self.hash,
            notations: self.claims(file).notations(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::reserved::SUMS;

    #[test]
    fn each_name_is_a_statement_and_the_list_is_the_last() {
        let names = ["a", "b", "c"].map(|name| name.parse().expect("a name"));
        for (coverage, files) in [
            (ReleaseForm::Each, &["a", "b", "c", SUMS][..]),
            (ReleaseForm::ListOnly, &[SUMS]),
        ] {
            let plan = Plan::new(coverage, &names);
            assert_eq!(plan.names().collect::<Vec<_>>(), files);
            assert_eq!(plan.files().last(), Some(&SignedFile::List(coverage)));
        }
    }

    #[test]
    fn every_statement_says_its_role() {
        let created = Timestamp::from_unix(0);
        let signing = Signing {
            created,
            hash: HashAlgorithm::Sha512,
            domain: "example.org".to_owned(),
            project: "foo".parse().expect("a name"),
            version: "1".parse().expect("a version"),
            grant: GrantId::of(b"grant"),
            log: "3 root".to_owned(),
        };
        let artifact = SignedFile::Artifact("a".parse().expect("a name"));
        let of_file = |file: &SignedFile| signing.statement(file);
        for (statement, role) in [
            (of_file(&artifact), "artifact"),
            (of_file(&SignedFile::List(ReleaseForm::Each)), "list"),
            (of_file(&SignedFile::Withdrawal), "withdrawal"),
            (
                Statement::key(created, HashAlgorithm::Sha256, Some("example.org")),
                "key",
            ),
            (
                Statement::self_test(created, HashAlgorithm::Sha256, "example.org"),
                "self-test",
            ),
        ] {
            let expected = ("role@example.org".to_owned(), role.to_owned());
            assert_eq!(statement.notations().first(), Some(&expected));
        }
    }
}
