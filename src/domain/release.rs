//! A release: the artifacts with the release key's signatures, one list that covers everything, and
//! the evidence.
//!
//! ```text
//! NAME, NAME.asc               each artifact and its detached signature
//! SHA256SUMS, SHA256SUMS.asc   everything but H's signatures, in one signed list
//! evidence/release.json        what the release is, and what it consists of
//! evidence/grant.json          the grant
//! evidence/BUILDER/            the builder's evidence and public key
//! evidence/approvals/          the approvers' signatures over the grant
//! ```

use std::collections::BTreeMap;

use super::artifact::{Artifact, ArtifactList, parse_sum_line, strict_lines, sum_line};
use super::contents::Contents;
use super::digest::Sha256;
use super::evidence::{digest_of_all, is_evidence_file};
use super::malformed::Malformed;
use super::name::{ApproverName, BuilderName, ProjectName, Version};
use super::reserved::{
    APPROVALS, BUILD_KEY, BUILD_KEY_PEM, EVIDENCE, GRANT, RELEASE, SIGNATURE, SSH_SIGNATURE,
};
use super::text::cut;

/// Maximum number of approvals in a release.
pub const MOST_APPROVALS: usize = 1000;
/// The largest signature file that is read, in bytes.
pub const LARGEST_SIGNATURE: u64 = 64 << 10;
/// The largest list that is read, in bytes.
pub const LARGEST_SUMS: u64 = 8 << 20;

/// Maximum size of the evidence and the signature of the list together, in bytes: a verifier has
/// all of it in memory.
pub const LARGEST_EVIDENCE: u64 = 64 << 20;

/// The name of a release folder: `foo-1.2.3`, without an epoch.
pub fn folder_name(project: &ProjectName, version: &Version) -> String {
    format!("{project}-{}", version.without_epoch())
}

/// Why two releases of one signing host cannot both be: their folders would have one name, if only
/// where case makes no difference, or their projects differ in case alone.
pub fn rivalry(
    (project, version): (&ProjectName, &Version),
    (other, of): (&ProjectName, &Version),
) -> Option<String> {
    let same = |one: &str, other: &str| one.eq_ignore_ascii_case(other);
    if project != other && same(project.as_str(), other.as_str()) {
        return Some(format!(
            "project `{project}` differs in case alone from `{other}`"
        ));
    }
    let folder = folder_name(project, version);
    if (project, version) != (other, of) && same(&folder, &folder_name(other, of)) {
        return Some(format!(
            "the release of {project} {version} would have the folder of {other} {of}, `{folder}`"
        ));
    }
    None
}

/// Whether a release can have a folder of this name.
pub fn is_folder_name(name: &str) -> bool {
    name.match_indices('-').any(|(dash, _)| {
        let project = name[..dash].parse::<ProjectName>();
        let version = name[dash + 1..].parse::<Version>();
        project.is_ok() && version.is_ok_and(|version| version.without_epoch() == version.as_str())
    })
}

/// The content of `SHA256SUMS`: `evidence/release.json`, every artifact and every other file of the
/// evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sums {
    contents: Sha256,
    artifacts: ArtifactList,
    grant: Sha256,
    builders: BTreeMap<BuilderName, FileDigests>,
    approvals: FileDigests,
}

/// Files by name, with the SHA-256 of each.
pub type FileDigests = BTreeMap<String, Sha256>;

impl Sums {
    /// The list of a release with these contents, which has these artifacts, and this evidence; at
    /// least one builder.
    pub fn new(
        contents: &Contents,
        artifacts: ArtifactList,
        builders: BTreeMap<BuilderName, FileDigests>,
        approvals: FileDigests,
    ) -> Self {
        assert!(!builders.is_empty(), "a verified build has a builder");
        Self {
            contents: Sha256::of(contents.to_text().as_bytes()),
            artifacts,
            grant: contents.grant.sha256(),
            builders,
            approvals,
        }
    }

    /// Refuses contents, whose digest is the listed one, that say anything else than the list.
    pub fn check(&self, contents: &Contents) -> Result<(), Malformed> {
        let differ = |what: &str| {
            Err(Malformed::new(format!(
                "SHA256SUMS and `{EVIDENCE}/{RELEASE}` differ in {what}"
            )))
        };
        if !contents.has(&self.artifacts) {
            return differ("the artifacts");
        }
        if contents.grant.sha256() != self.grant {
            return differ("the grant");
        }
        Ok(())
    }

    /// The digest of `evidence/release.json`.
    pub fn contents(&self) -> Sha256 {
        self.contents
    }

    /// The artifacts.
    pub fn artifacts(&self) -> &ArtifactList {
        &self.artifacts
    }

    /// The digest of `evidence/grant.json`.
    pub fn grant(&self) -> Sha256 {
        self.grant
    }

    /// The builders whose evidence is listed, each with its files.
    pub fn builders(&self) -> &BTreeMap<BuilderName, FileDigests> {
        &self.builders
    }

    /// The digest of each builder's evidence, as the log has it: without the key, which the grant
    /// has.
    pub fn evidence(&self) -> BTreeMap<BuilderName, Sha256> {
        let digest = |files: &FileDigests| {
            let files = files.iter().map(|(name, digest)| (name.as_str(), *digest));
            digest_of_all(files.filter(|(name, _)| ![BUILD_KEY, BUILD_KEY_PEM].contains(name)))
        };
        let builders = self.builders.iter();
        builders
            .map(|(name, files)| (name.clone(), digest(files)))
            .collect()
    }

    /// The approvals that are listed.
    pub fn approvals(&self) -> &FileDigests {
        &self.approvals
    }

    /// The bytes of `SHA256SUMS`: what the release consists of, the artifacts sorted by name, then
    /// each builder's evidence, the grant, and its approvals.
    pub fn to_text(&self) -> String {
        let mut text = sum_line(&self.contents, &format!("{EVIDENCE}/{RELEASE}"));
        text.extend(
            self.artifacts
                .iter()
                .map(|a| sum_line(&a.digest, a.name.as_str())),
        );
        for (builder, digests) in &self.builders {
            text.extend(
                digests.iter().map(|(file, digest)| {
                    sum_line(digest, &format!("{EVIDENCE}/{builder}/{file}"))
                }),
            );
        }
        text += &sum_line(&self.grant, &format!("{EVIDENCE}/{GRANT}"));
        text.extend(
            self.approvals
                .iter()
                .map(|(file, digest)| sum_line(digest, &format!("{EVIDENCE}/{APPROVALS}/{file}"))),
        );
        text
    }

    /// Reads a list. Only bytes that [`Sums::to_text`] could have written are accepted.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let lines = (1..).zip(strict_lines(bytes)?);
        let mut listed = Listed::default();
        for (line, text) in lines {
            listed
                .add(text)
                .map_err(|error| error.within(format_args!("line {line}")))?;
        }
        let sums = listed.sums()?;
        // One list has one spelling: this refuses a file of the evidence that is listed twice or
        // out of order.
        if sums.to_text().as_bytes() == bytes {
            Ok(sums)
        } else {
            Err(misplaced())
        }
    }
}

/// What the lines of a list name, before the list as a whole is checked.
#[derive(Default)]
struct Listed {
    contents: Option<Sha256>,
    artifacts: Vec<Artifact>,
    grant: Option<Sha256>,
    builders: BTreeMap<BuilderName, FileDigests>,
    approvals: FileDigests,
}

impl Listed {
    fn add(&mut self, line: &str) -> Result<(), Malformed> {
        let (digest, path) = parse_sum_line(line).ok_or_else(|| {
            Malformed::new("the line is not a SHA-256 digest, two spaces and a path")
        })?;
        match path.split('/').collect::<Vec<_>>()[..] {
            [name] => {
                let name = name.parse()?;
                self.artifacts.push(Artifact { name, digest });
            }
            [EVIDENCE, RELEASE] => self.contents = Some(digest),
            [EVIDENCE, GRANT] => self.grant = Some(digest),
            [EVIDENCE, APPROVALS, file] if is_approval_file(file) => {
                self.approvals.insert(file.to_owned(), digest);
                if self.approvals.len() > MOST_APPROVALS {
                    return Err(Malformed::new(format!(
                        "more than {MOST_APPROVALS} approvals are listed"
                    )));
                }
            }
            [EVIDENCE, builder, file] if is_evidence_file(file) => {
                let files = self.builders.entry(builder.parse()?).or_default();
                files.insert(file.to_owned(), digest);
            }
            _ => {
                let path = cut(path, 80);
                return Err(Malformed::new(format!(
                    "`{path}` is not a path in a release"
                )));
            }
        }
        Ok(())
    }

    fn sums(self) -> Result<Sums, Malformed> {
        let contents = self.contents.ok_or_else(misplaced)?;
        let grant = self.grant.ok_or_else(misplaced)?;
        if self.builders.is_empty() {
            return Err(misplaced());
        }
        Ok(Sums {
            contents,
            artifacts: ArtifactList::sorted(self.artifacts)?,
            grant,
            builders: self.builders,
            approvals: self.approvals,
        })
    }
}

fn misplaced() -> Malformed {
    Malformed::new(
        "the evidence is not listed as it must be: `evidence/release.json` in the first line, and \
         after the artifacts each other file once, sorted",
    )
}

/// How an approver signed a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApprovalForm {
    /// `gpg --detach-sign`
    OpenPgp,
    /// `ssh-keygen -Y sign -n countersign-grant`
    Ssh,
}

/// The file name of an approval among those of a grant.
pub fn approval_name(approver: &ApproverName, form: ApprovalForm) -> String {
    match form {
        ApprovalForm::OpenPgp => format!("{approver}{SIGNATURE}"),
        ApprovalForm::Ssh => format!("{approver}{SSH_SIGNATURE}"),
    }
}

fn is_approval_file(name: &str) -> bool {
    let approver = name
        .strip_suffix(SIGNATURE)
        .or_else(|| name.strip_suffix(SSH_SIGNATURE));
    approver.is_some_and(|approver| approver.parse::<ApproverName>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::claims::ReleaseForm;
    use crate::domain::digest::GrantId;
    use proptest::prelude::*;

    fn contents() -> Contents {
        Contents::example(ReleaseForm::Each, &["a.tar.xz", "b.deb"])
    }

    fn list() -> String {
        let digest = Sha256::of(b"");
        let artifacts = ["a.tar.xz", "b.deb"].map(|name| Artifact {
            name: name.parse().expect("a name"),
            digest,
        });
        let files =
            |names: [&str; 3]| FileDigests::from(names.map(|name| (name.to_owned(), digest)));
        let builders = BTreeMap::from([
            (
                "m1".parse().expect("a name"),
                files(["build-key.pgp", "build.manifest", "build.manifest.sig"]),
            ),
            (
                "m2".parse().expect("a name"),
                files(["build-key.pgp", "a.tar.xz.sig", "b.deb.sig"]),
            ),
        ]);
        let approvals =
            FileDigests::from(["alice.sig", "bob.sshsig"].map(|name| (name.to_owned(), digest)));
        Sums::new(
            &contents(),
            ArtifactList::sorted(artifacts.to_vec()).expect("a list"),
            builders,
            approvals,
        )
        .to_text()
    }

    #[test]
    fn a_list_reads_back_as_it_was_written() {
        let text = list();
        let sums = Sums::parse(text.as_bytes()).expect("a list");
        assert_eq!(sums.to_text(), text);
        let first = text.lines().next().expect("a line");
        let digest = Sha256::of(contents().to_text().as_bytes());
        assert_eq!(first, format!("{digest}  evidence/release.json"));
        assert_eq!(sums.contents(), digest);
    }

    #[test]
    fn a_list_is_that_of_its_contents_alone() {
        let sums = Sums::parse(list().as_bytes()).expect("a list");
        assert_eq!(sums.check(&contents()), Ok(()));
        let fewer = Contents::example(ReleaseForm::Each, &["a.tar.xz"]);
        let other = Contents::example(ReleaseForm::Each, &["a.tar.xz", "c.deb"]);
        let mut grant = contents();
        grant.grant = GrantId::of(b"other");
        for (wrong, what) in [
            (fewer, "the artifacts"),
            (other, "the artifacts"),
            (grant, "the grant"),
        ] {
            let refused = sums.check(&wrong).expect_err(what).to_string();
            assert!(refused.ends_with(what), "{refused}");
        }
    }

    #[test]
    fn every_change_to_the_form_is_refused() {
        let text = list();
        for (what, from, to) in [
            ("escape", "  b.deb", "  ../b.deb"),
            ("folder", "  b.deb", "  dir/b.deb"),
            ("signature", "  b.deb", "  SHA256SUMS.asc"),
            ("list itself", "  b.deb", "  SHA256SUMS"),
            (
                "unknown evidence",
                "evidence/grant.json",
                "evidence/other.json",
            ),
            (
                "file that is not evidence",
                "evidence/m1/build.manifest.sig",
                "evidence/m1/build.manifest.asc",
            ),
            ("evidence without a builder", "evidence/m1/", "evidence/-/"),
            ("file that is not an approval", "alice.sig", "alice.asc"),
            ("approval out of order", "approvals/alice", "approvals/zoe"),
            (
                "no grant",
                &format!("{}  evidence/grant.json\n", Sha256::of(b"")),
                "",
            ),
            ("binary mark", "  b.deb", " *b.deb"),
            ("blank line", "  b.deb\n", "  b.deb\n\n"),
            ("comment", "  b.deb\n", "  b.deb\n# more\n"),
            (
                "no contents",
                &list()
                    .lines()
                    .next()
                    .map(|line| format!("{line}\n"))
                    .expect("a line"),
                "",
            ),
            (
                "contents behind the artifacts",
                &list(),
                &list()
                    .split_once('\n')
                    .map(|(first, rest)| format!("{rest}{first}\n"))
                    .expect("lines"),
            ),
            ("out of order", "  a.tar.xz", "  c.tar.xz"),
            (
                "evidence twice",
                "  evidence/grant.json\n",
                &format!(
                    "  evidence/grant.json\n{}  evidence/grant.json\n",
                    Sha256::of(b"")
                ),
            ),
        ] {
            let changed = text.replacen(from, to, 1);
            assert_ne!(changed, text, "{what} changed nothing");
            assert!(Sums::parse(changed.as_bytes()).is_err(), "{what}");
        }
    }

    #[test]
    fn two_releases_that_would_have_one_folder_are_rivals() {
        for (one, other, expected) in [
            ("foo 3-1", "foo-3 1", "the folder of foo-3 1, `foo-3-1`"),
            ("foo 1:2", "foo 2", "the folder of foo 2, `foo-2`"),
            ("foo 1:2", "foo 2:2", "the folder of foo 2:2, `foo-2`"),
            (
                "foo 1.0RC1",
                "foo 1.0rc1",
                "the folder of foo 1.0rc1, `foo-1.0RC1`",
            ),
            ("Foo 1", "foo 2", "`Foo` differs in case alone from `foo`"),
            ("foo 1", "foo 1", ""),
            ("foo 1.02", "foo 1.2", ""),
            ("foo 1", "foo-1 1", ""),
        ] {
            let found = rivalry_of(one, other);
            let found = found.unwrap_or_default();
            assert!(found.contains(expected), "{one}, {other}: {found}");
            assert_eq!(
                found.is_empty(),
                expected.is_empty(),
                "{one}, {other}: {found}"
            );
        }
    }

    fn rivalry_of(one: &str, other: &str) -> Option<String> {
        let [(a, b), (c, d)] = [one, other].map(|text| {
            let (project, version) = text.split_once(' ').expect("both");
            let project: ProjectName = project.parse().expect("a name");
            let version: Version = version.parse().expect("a version");
            (project, version)
        });
        rivalry((&a, &b), (&c, &d))
    }

    proptest! {
        /// Of releases that are no rivals each has a folder of its own, wherever it is.
        #[test]
        fn releases_without_rivals_have_folders_of_their_own(
            one in "[ab](-[ab1]){0,2} ([12]:)?[1a](-[1A]){0,2}",
            other in "[aB](-[ab1]){0,2} ([12]:)?[1a](-[1A]){0,2}",
        ) {
            let folder = |text: &str| {
                let (project, version) = text.split_once(' ').expect("both");
                let version: Version = version.parse().expect("a version");
                folder_name(&project.parse().expect("a name"), &version).to_ascii_lowercase()
            };
            if one != other && rivalry_of(&one, &other).is_none() {
                prop_assert_ne!(folder(&one), folder(&other));
            }
            prop_assert!(is_folder_name(&folder(&one)));
            prop_assert!(!is_folder_name(&one.replace(' ', ":")), "an epoch is not part of it");
            let both = [rivalry_of(&one, &other), rivalry_of(&other, &one)];
            prop_assert_eq!(both[0].is_none(), both[1].is_none());
        }

        #[test]
        fn what_is_accepted_is_written_back_the_same(at in 0..list().len(), byte: u8) {
            let mut bytes = list().into_bytes();
            bytes[at] = byte;
            if let Ok(sums) = Sums::parse(&bytes) {
                prop_assert_eq!(sums.to_text().into_bytes(), bytes);
            }
        }
    }
}
