//! What a release signature says of itself, in its notations.
//!
//! A signature over the same bytes can be good and mean something else: that they are an artifact,
//! or a list, under this name or that, of this release or another. So each names its role, its
//! project and version, its grant, the state of the log, and its file; [`Claims::read`] accepts
//! exactly these, and [`Claims::check`] compares them with what a file is taken for.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::digest::{GrantId, as_text};
use super::malformed::Malformed;
use super::name::{ArtifactName, ProjectName, Version, is_domain};
use super::reserved::{SUMS, WITHDRAWAL};
use super::text::cut;

/// What the release key signs, as the notation `role@` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The release contains this file.
    Artifact,
    /// The release consists of the files in this list.
    List,
    /// The release that is named is withdrawn.
    Withdrawal,
    /// What the certificate of the key consists of: its own binding, a User ID, its revocation.
    Key,
    /// A text without meaning, for a test of the token.
    SelfTest,
    /// The evidence of a builder whose build key is on a token, with notations of its own.
    Evidence,
}

impl Role {
    /// The value of the notation `role@DOMAIN`; a builder's evidence has none.
    pub(super) fn word(self) -> Option<&'static str> {
        match self {
            Self::Artifact => Some("artifact"),
            Self::List => Some("list"),
            Self::Withdrawal => Some("withdrawal"),
            Self::Key => Some("key"),
            Self::SelfTest => Some("self-test"),
            Self::Evidence => None,
        }
    }
}

/// The form of a release: which of its files have a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReleaseForm {
    /// Each artifact, and the list.
    Each,
    /// The list alone.
    ListOnly,
}

impl ReleaseForm {
    /// Each form, in the order of the help.
    pub const ALL: [Self; 2] = [Self::Each, Self::ListOnly];

    /// Its name, in a grant and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Each => "each",
            Self::ListOnly => "list",
        }
    }
}

impl fmt::Display for ReleaseForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for ReleaseForm {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let known = Self::ALL.into_iter().find(|form| form.name() == text);
        known.ok_or_else(|| {
            let text = cut(text, 80);
            Malformed::new(format!("form `{text}` is neither `each` nor `list`"))
        })
    }
}

as_text!(ReleaseForm);

/// A file that has a signature by the release key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignedFile {
    /// An artifact.
    Artifact(ArtifactName),
    /// The list of a release of this form.
    List(ReleaseForm),
    /// The statement that a release is withdrawn.
    Withdrawal,
}

impl SignedFile {
    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Artifact(name) => name.as_str(),
            Self::List(_) => SUMS,
            Self::Withdrawal => WITHDRAWAL,
        }
    }

    /// Its role.
    pub fn role(&self) -> Role {
        match self {
            Self::Artifact(_) => Role::Artifact,
            Self::List(_) => Role::List,
            Self::Withdrawal => Role::Withdrawal,
        }
    }
}

/// What a release signature says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// The domain of its notations.
    pub domain: String,
    /// The project of the release.
    pub project: ProjectName,
    /// The version of the release.
    pub version: Version,
    /// The grant of the build.
    pub grant: GrantId,
    /// The index of the intent in the log, a space, and the root of the tree that ends with it.
    pub log: String,
    /// What the signature is over.
    pub file: SignedFile,
}

impl Claims {
    /// The notations that make these claims, in the order in which they are written.
    pub fn notations(&self) -> Vec<(String, String)> {
        let role = self.file.role().word().expect("files have such roles");
        let of_file = match &self.file {
            SignedFile::Artifact(name) => Some(("file", name.to_string())),
            SignedFile::List(form) => Some(("form", form.to_string())),
            SignedFile::Withdrawal => None,
        };
        let values = [
            ("role", role.to_owned()),
            ("project", self.project.to_string()),
            ("version", self.version.to_string()),
            ("grant", self.grant.to_string()),
            ("log", self.log.clone()),
        ];
        values
            .into_iter()
            .chain(of_file)
            .map(|(name, value)| (format!("{name}@{}", self.domain), value))
            .collect()
    }

    /// Reads the notations of a signature: exactly those of a release signature, each once, all
    /// under one domain.
    pub fn read(notations: &[(String, String)]) -> Result<Self, Malformed> {
        let role = notations.iter().find(|(name, _)| name.starts_with("role@"));
        let (role, _) = role.ok_or_else(|| Malformed::new("it has no notation `role@`"))?;
        let (_, domain) = role.split_once('@').expect("it was looked for");
        if !is_domain(domain) {
            let role = cut(role, 80);
            return Err(Malformed::new(format!(
                "notation `{role}` is not under a domain"
            )));
        }
        let mut values = Values {
            domain,
            values: BTreeMap::new(),
        };
        for (name, value) in notations {
            values.add(name, value)?;
        }
        let file = match values.take("role")? {
            "artifact" => SignedFile::Artifact(values.parse("file")?),
            "list" => SignedFile::List(values.parse("form")?),
            "withdrawal" => SignedFile::Withdrawal,
            other => {
                let other = cut(other, 80);
                return Err(Malformed::new(format!(
                    "its notation `role@{domain}` is `{other}`, which no file of a release has"
                )));
            }
        };
        let claims = Self {
            domain: domain.to_owned(),
            project: values.parse("project")?,
            version: values.parse("version")?,
            grant: values.parse("grant")?,
            log: values.take("log")?.to_owned(),
            file,
        };
        match values.values.into_keys().next() {
            Some(other) => Err(Malformed::new(format!(
                "its notation `{}@{domain}` is not one that it can have",
                cut(other, 80)
            ))),
            None => Ok(claims),
        }
    }

    /// Refuses claims other than these, and names the notation that differs.
    pub fn check(&self, expected: &Self) -> Result<(), Malformed> {
        let found = self.notations();
        let expected = expected.notations();
        let mut differing = found
            .iter()
            .zip(&expected)
            .filter(|(one, other)| one != other);
        match differing.next() {
            // The roles say whether there is one more.
            None => Ok(()),
            Some(((name, found), (wanted_name, wanted))) if name == wanted_name => {
                let found = cut(found, 200);
                Err(Malformed::new(format!(
                    "its notation `{name}` is `{found}`; expected `{wanted}`"
                )))
            }
            Some(((name, _), (wanted, _))) => Err(Malformed::new(format!(
                "its notation `{name}` is under another domain; expected `{wanted}`"
            ))),
        }
    }
}

/// The notations that a signature still has to account for, without their one domain.
struct Values<'a> {
    domain: &'a str,
    values: BTreeMap<&'a str, &'a str>,
}

impl<'a> Values<'a> {
    fn add(&mut self, name: &'a str, value: &'a str) -> Result<(), Malformed> {
        let (what, domain) = name.split_once('@').unwrap_or((name, ""));
        if domain != self.domain {
            let name = cut(name, 80);
            return Err(Malformed::new(format!(
                "its notation `{name}` is not under the domain `{}` of its role",
                self.domain
            )));
        }
        match self.values.insert(what, value) {
            Some(_) => Err(Malformed::new(format!(
                "its notation `{}` is there twice",
                cut(name, 80)
            ))),
            None => Ok(()),
        }
    }

    fn take(&mut self, what: &str) -> Result<&'a str, Malformed> {
        let absent = || Malformed::new(format!("it has no notation `{what}@{}`", self.domain));
        self.values.remove(what).ok_or_else(absent)
    }

    fn parse<T: FromStr<Err = Malformed>>(&mut self, what: &str) -> Result<T, Malformed> {
        let value = self.take(what)?;
        value.parse().map_err(|error: Malformed| {
            error.within(format_args!("its notation `{what}@{}`", self.domain))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn artifact(name: &str) -> SignedFile {
        SignedFile::Artifact(name.parse().expect("a name"))
    }

    fn claims(file: SignedFile) -> Claims {
        Claims {
            domain: "example.org".to_owned(),
            project: "foo".parse().expect("a name"),
            version: "1.2.3".parse().expect("a version"),
            grant: GrantId::of(b"g"),
            log: "7 root".to_owned(),
            file,
        }
    }

    /// What one signature was made for, and another is taken for: each pair differs in one thing.
    fn variants() -> Vec<Claims> {
        let base = claims(artifact("a"));
        let mut all = vec![
            base.clone(),
            claims(artifact("b")),
            // The name that a list has in no release, and a file that is called like a form.
            claims(artifact("each")),
            claims(artifact("list")),
            claims(SignedFile::List(ReleaseForm::Each)),
            claims(SignedFile::List(ReleaseForm::ListOnly)),
            claims(SignedFile::Withdrawal),
        ];
        for of in [
            base,
            claims(SignedFile::List(ReleaseForm::Each)),
            claims(SignedFile::Withdrawal),
        ] {
            all.extend([
                Claims {
                    project: "bar".parse().expect("a name"),
                    ..of.clone()
                },
                Claims {
                    version: "1.2.4".parse().expect("a version"),
                    ..of.clone()
                },
                Claims {
                    grant: GrantId::of(b"h"),
                    ..of.clone()
                },
                Claims {
                    log: "8 root".to_owned(),
                    ..of.clone()
                },
                Claims {
                    domain: "example.net".to_owned(),
                    ..of
                },
            ]);
        }
        all
    }

    #[test]
    fn a_signature_is_accepted_for_what_it_was_made_for_alone() {
        let variants = variants();
        for (signed, made) in variants.iter().enumerate() {
            let read = Claims::read(&made.notations()).expect("as it was made");
            assert_eq!(&read, made);
            for (claimed, taken_for) in variants.iter().enumerate() {
                let accepted = read.check(taken_for);
                assert_eq!(
                    accepted.is_ok(),
                    signed == claimed,
                    "{made:?} as {taken_for:?}"
                );
            }
        }
    }

    #[test]
    fn each_fault_names_its_notation() {
        let signed = claims(artifact("a"));
        for (name, value) in signed.notations() {
            let kept = |notations: &[(String, String)]| {
                Claims::read(notations).expect_err(&name).to_string()
            };
            let others: Vec<_> = signed
                .notations()
                .into_iter()
                .filter(|(other, _)| *other != name)
                .collect();
            let absent = kept(&others);
            let what = name.split('@').next().expect("a name");
            assert!(
                absent.contains(&format!("no notation `{what}@")),
                "{absent}"
            );
            for twice in [value.clone(), "other".to_owned()] {
                let doubled = [signed.notations(), vec![(name.clone(), twice)]].concat();
                let expected = format!("its notation `{name}` is there twice");
                assert_eq!(kept(&doubled), expected);
            }
            let strange = format!("{what}@example.net");
            let added = [signed.notations(), vec![(strange.clone(), value.clone())]].concat();
            let expected = format!(
                "its notation `{strange}` is not under the domain `example.org` of its role"
            );
            assert_eq!(kept(&added), expected);
        }
        for other in ["form@example.org", "salt@example.org", "x@example.org"] {
            let added = [
                signed.notations(),
                vec![(other.to_owned(), "each".to_owned())],
            ]
            .concat();
            let expected = format!("its notation `{other}` is not one that it can have");
            assert_eq!(Claims::read(&added), Err(Malformed::new(expected)));
        }
        for role in ["key", "self-test", "evidence", ""] {
            let mut notations = signed.notations();
            notations[0].1 = role.to_owned();
            let refused = Claims::read(&notations).expect_err(role).to_string();
            assert!(refused.contains("`role@example.org`"), "{refused}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_is_written(
            notations in prop::collection::vec(
                (
                    "(role|project|version|grant|log|file|form)@(a|b)",
                    "(artifact|list|withdrawal|each|x|sha256:[0-9a-f]{64})",
                ),
                0..8,
            ),
        ) {
            if let Ok(read) = Claims::read(&notations) {
                let mut found = notations;
                let mut written = read.notations();
                found.sort();
                written.sort();
                prop_assert_eq!(found, written);
            }
        }
    }
}
