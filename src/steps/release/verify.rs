//! The check of a release, with the release certificate alone: L makes it before it publishes,
//! anybody may after.

use std::collections::{BTreeMap, BTreeSet};

use super::error::ReleaseError;
use super::evidence::Evidence;
use super::policy::{Verifier, VerifierPolicy};
use super::reader::{self, Reader, check_digest};
use super::wanted::Wanted;
use crate::domain::artifact::MOST_ARTIFACTS;
use crate::domain::contents::{Contents, LARGEST_CONTENTS, SizedArtifact};
use crate::domain::digest::Sha256;
use crate::domain::grant::Grant;
use crate::domain::key::{Fingerprint, HashAlgorithm};
use crate::domain::malformed::Malformed;
use crate::domain::name::BuilderName;
use crate::domain::release::Sums;
use crate::domain::reserved::{APPROVALS, EVIDENCE, GRANT, RELEASE, SUMS};
use crate::domain::signing::{Claims, ReleaseForm, SignedFile};
use crate::domain::time::Timestamp;
use crate::formats;
use crate::location::{Fault, Source, Stage};
use crate::openpgp::{Certificate, HashState, Signed};
use crate::steps::Progress;

/// What is good, and what is not, in a release whose list and evidence are good.
#[derive(Debug)]
pub struct ReleaseReport {
    /// The grant it was made under.
    pub grant: Grant,
    /// The builders whose evidence it contains, each with the digest of that.
    pub evidence: BTreeMap<BuilderName, Sha256>,
    /// How many approvals it contains. Whose they are, a policy judges.
    pub approvals: usize,
    /// Who signed the list, and when.
    pub list: Signed,
    /// What the signature of the list says.
    pub claims: Claims,
    /// SHA-256 of the list, which says which release it is.
    pub sums: Sha256,
    /// What it is, and what it consists of.
    pub contents: Contents,
    /// Each artifact, and each file that should not be there.
    pub files: Vec<FileReport>,
}

/// Whether one file is good.
#[derive(Debug)]
pub struct FileReport {
    /// Its name, as it is: not fit for a terminal unless it is an artifact's.
    pub name: String,
    /// What its signature says, or that of the list where the list alone is signed; otherwise why
    /// it is refused.
    pub result: Result<Signed, ReleaseError>,
}

/// Checks a release, and refuses it at the first thing in it that is not good. What was verified is
/// copied, each artifact in the read that verifies it. It has no policy: at H that is the grant.
pub fn verify_release(
    source: &dyn Source,
    certificate: &Certificate,
    copy: Option<&dyn Stage>,
    now: Timestamp,
    progress: &mut dyn Progress,
) -> Result<ReleaseReport, ReleaseError> {
    let verifier = Verifier {
        certificate,
        policy: &VerifierPolicy::default(),
        now,
    };
    Checked::read(source, &verifier, &Wanted::Any)?
        .without_extra_files()?
        .verify(copy, progress)
}

/// Checks a release. Returns the result for each file, whatever it is.
pub fn examine_release(
    source: &dyn Source,
    verifier: &Verifier<'_>,
    wanted: &Wanted,
    progress: &mut dyn Progress,
) -> Result<ReleaseReport, ReleaseError> {
    let mut release = Checked::read(source, verifier, wanted)?;
    let mut files = std::mem::take(&mut release.extra);
    let mut artifacts = release.artifacts(None, progress);
    files.extend(
        release
            .contents
            .artifacts()
            .iter()
            .map(|artifact| FileReport {
                name: artifact.name.to_string(),
                result: artifacts.check(artifact),
            }),
    );
    Ok(release.report(files))
}

/// A release of which everything but the artifacts was read and is good: the list, its signature,
/// the grant and the evidence. All of that is in memory, and nothing was written.
pub struct Checked<'a> {
    source: &'a dyn Source,
    certificate: &'a Certificate,
    now: Timestamp,
    reader: Reader<'a>,
    list: Signed,
    claims: Claims,
    contents: Contents,
    sums: Sums,
    digest: Sha256,
    evidence: Evidence,
    /// What the list does not have.
    extra: Vec<FileReport>,
}

impl<'a> Checked<'a> {
    /// Reads and checks it.
    pub fn read(
        source: &'a dyn Source,
        verifier: &Verifier<'a>,
        wanted: &Wanted,
    ) -> Result<Self, ReleaseError> {
        let Verifier {
            certificate,
            policy,
            now,
        } = *verifier;
        let mut reader = Reader::of(source);
        let (bytes, signature, file) = reader.list()?;
        let state = HashState::of(&bytes, signature.hash());
        let list = signature
            .check(certificate, &state, SUMS, now)
            .map_err(ReleaseError::signature(&file))?;
        let claims = list.claims().map_err(ReleaseError::other(&file))?;
        check_role(&claims, SUMS, &file)?;
        let sums = Sums::parse(&bytes)
            .map_err(|error| ReleaseError::Content(format!("SHA256SUMS: {error}")))?;
        let contents = read_contents(&mut reader, &sums)?;
        let expected = Claims {
            project: contents.project.clone(),
            version: contents.version.clone(),
            grant: contents.grant,
            file: SignedFile::List(contents.form),
            ..claims.clone()
        };
        claims
            .check(&expected)
            .map_err(ReleaseError::other(&file))?;
        wanted.check_release(&contents)?;
        policy.judge_name(&contents.project, &contents.version)?;
        let evidence = Evidence::read(&mut reader, &sums, &contents, now)?;
        // A successor is signed with another key than its grant names.
        if contents.successor_of.is_none() {
            check_key(&list, evidence.grant.terms().release_key, &file)?;
        }
        let sizes = contents.artifacts().iter().map(|artifact| artifact.size);
        let total = sizes.fold(0, u64::saturating_add);
        let bounds = evidence.grant.terms().bounds();
        bounds
            .judge_bytes(total)
            .map_err(|error| ReleaseError::Content(error.to_string()))?;
        policy.judge_whole(&evidence, list.created)?;
        Ok(Self {
            extra: extra_files(source, &contents, &sums)?,
            source,
            certificate,
            now,
            reader,
            list,
            claims,
            contents,
            sums,
            digest: Sha256::of(&bytes),
            evidence,
        })
    }

    /// Its list.
    pub fn sums(&self) -> &Sums {
        &self.sums
    }

    /// The SHA-256 of its list, which says which release it is.
    pub fn digest(&self) -> Sha256 {
        self.digest
    }

    /// The grant it was made under.
    pub fn grant(&self) -> &Grant {
        &self.evidence.grant
    }

    /// What the signature of its list says.
    pub fn list(&self) -> &Signed {
        &self.list
    }

    /// The digest of the list that it succeeds, if it is a successor.
    pub fn successor_of(&self) -> Option<Sha256> {
        self.contents.successor_of
    }

    /// Refuses files that the list does not have.
    pub fn without_extra_files(mut self) -> Result<Self, ReleaseError> {
        let first = self.extra.drain(..).next();
        match first {
            Some(extra) => Err(extra.result.expect_err("it is not listed")),
            None => Ok(self),
        }
    }

    /// Checks the artifacts, up to the first that is not good; `copy` receives everything as it was
    /// verified.
    pub fn verify(
        self,
        copy: Option<&dyn Stage>,
        progress: &mut dyn Progress,
    ) -> Result<ReleaseReport, ReleaseError> {
        if let Some(copy) = copy {
            self.reader.copy(copy)?;
        }
        let mut artifacts = self.artifacts(copy, progress);
        let files = self.contents.artifacts().iter().map(|artifact| {
            Ok(FileReport {
                name: artifact.name.to_string(),
                result: Ok(artifacts.check(artifact)?),
            })
        });
        let files = files.collect::<Result<_, ReleaseError>>()?;
        Ok(self.report(files))
    }

    fn artifacts<'b>(
        &'b self,
        copy: Option<&'b dyn Stage>,
        progress: &'b mut dyn Progress,
    ) -> Artifacts<'b> {
        Artifacts {
            release: self,
            copy,
            progress,
        }
    }

    fn report(self, files: Vec<FileReport>) -> ReleaseReport {
        ReleaseReport {
            evidence: self.sums.evidence(),
            approvals: self.sums.approvals().len(),
            contents: self.contents,
            sums: self.digest,
            grant: self.evidence.grant,
            list: self.list,
            claims: self.claims,
            files,
        }
    }
}

/// `evidence/release.json`, which says the same as the list.
fn read_contents(reader: &mut Reader<'_>, sums: &Sums) -> Result<Contents, ReleaseError> {
    let name = format!("{EVIDENCE}/{RELEASE}");
    let bytes = reader.listed(&name, LARGEST_CONTENTS, sums.contents())?;
    let contents = Contents::parse(&bytes)
        .map_err(|error| ReleaseError::Content(format!("`{name}`: {error}")))?;
    sums.check(&contents)
        .map_err(|error| ReleaseError::Content(error.to_string()))?;
    Ok(contents)
}

/// Refuses the signature of one file beside another: an artifact can have the bytes of any list.
pub(super) fn check_role(claims: &Claims, name: &str, file: &str) -> Result<(), ReleaseError> {
    let found = &claims.file;
    let is_list = name == SUMS;
    if found.name() == name && is_list == matches!(found, SignedFile::List(_)) {
        return Ok(());
    }
    let found = match found {
        SignedFile::Artifact(name) => format!("artifact `{name}`"),
        SignedFile::List(_) => "a list".to_owned(),
        SignedFile::Withdrawal => "a withdrawal".to_owned(),
    };
    let made = Malformed::new(format!("it says that `{name}` is {found}"));
    Err(ReleaseError::other(file)(made))
}

/// A release is signed by the key that its grant names, each file of it by the same.
fn check_key(signed: &Signed, expected: Fingerprint, file: &str) -> Result<(), ReleaseError> {
    if signed.key == expected {
        return Ok(());
    }
    let made = Malformed::new(format!(
        "it is by key {}, but this release is signed by {expected}",
        signed.key
    ));
    Err(ReleaseError::other(file)(made))
}

/// What the artifacts of a release are checked with, one after the other.
struct Artifacts<'a> {
    release: &'a Checked<'a>,
    copy: Option<&'a dyn Stage>,
    progress: &'a mut dyn Progress,
}

impl Artifacts<'_> {
    /// Checks one by its own signature, or by that of the list where the list alone is signed.
    fn check(&mut self, artifact: &SizedArtifact) -> Result<Signed, ReleaseError> {
        match self.release.contents.form {
            ReleaseForm::Each => self.check_signed(artifact),
            ReleaseForm::ListOnly => {
                self.read(artifact, HashAlgorithm::Sha256)?;
                Ok(self.release.list.clone())
            }
        }
    }

    fn check_signed(&mut self, artifact: &SizedArtifact) -> Result<Signed, ReleaseError> {
        let release = self.release;
        let name = artifact.name.as_str();
        let (bytes, signature, file) = reader::signature(release.source, name)?;
        let state = self.read(artifact, signature.hash())?;
        let signed = signature
            .check(release.certificate, &state, name, release.now)
            .map_err(ReleaseError::signature(&file))?;
        let expected = Claims {
            file: SignedFile::Artifact(artifact.name.clone()),
            ..release.claims.clone()
        };
        signed
            .claims()
            .and_then(|claims| claims.check(&expected))
            .map_err(ReleaseError::other(&file))?;
        check_key(&signed, release.list.key, &file)?;
        if let Some(copy) = self.copy {
            reader::write(copy, &file, &bytes)?;
        }
        Ok(signed)
    }

    /// Reads an artifact, once, and compares it with the list and with what was attested.
    fn read(
        &mut self,
        artifact: &SizedArtifact,
        hash: HashAlgorithm,
    ) -> Result<HashState, ReleaseError> {
        let Checked {
            source,
            evidence,
            now,
            ..
        } = self.release;
        let name = artifact.name.as_str();
        let mut state = evidence.state(&artifact.name, hash);
        let size = artifact.size;
        reader::hash(*source, self.copy, name, size, &mut state, self.progress)?;
        check_digest(name, state.sha256(), artifact.sha256)?;
        evidence.confirm(&artifact.name, &state, *now)?;
        Ok(state)
    }
}

/// Everything in a release that its list does not have.
fn extra_files(
    source: &dyn Source,
    contents: &Contents,
    sums: &Sums,
) -> Result<Vec<FileReport>, ReleaseError> {
    let mut wanted = BTreeSet::from([RELEASE, GRANT].map(|file| format!("{EVIDENCE}/{file}")));
    wanted.extend(sums.artifacts().iter().map(|it| it.name.to_string()));
    wanted.extend(
        formats::files(contents, sums)
            .into_iter()
            .map(|file| file.name),
    );
    for file in sums.approvals().keys() {
        wanted.insert(format!("{EVIDENCE}/{APPROVALS}/{file}"));
    }
    for (builder, files) in sums.builders() {
        wanted.extend(
            files
                .keys()
                .map(|file| format!("{EVIDENCE}/{builder}/{file}")),
        );
    }
    let most = wanted.len() + 2 * MOST_ARTIFACTS;
    let names = source.names(most).map_err(ReleaseError::source)?;
    let names = names.ok_or_else(|| {
        let text = format!("the files in `{}` cannot be listed", source.shown());
        ReleaseError::Source(Fault::Refused(text))
    })?;

    let mut extra = BTreeSet::new();
    for name in names.iter().filter(|name| !wanted.contains(*name)) {
        extra.insert(first_extra(name, &wanted));
    }
    let report = |name: &str| {
        let name: String = name.chars().take(200).collect();
        let text = format!("`{name}` is in the release, but SHA256SUMS does not list it");
        FileReport {
            name,
            result: Err(ReleaseError::Content(text)),
        }
    };
    Ok(extra.into_iter().map(report).collect())
}

/// The outermost folder that `name` is in and no wanted file is; `name` itself if there is none.
fn first_extra<'a>(name: &'a str, wanted: &BTreeSet<String>) -> &'a str {
    let is_wanted = |folder: &str| {
        let first = wanted.range(folder.to_owned()..).next();
        first.is_some_and(|first| first.starts_with(folder))
    };
    name.match_indices('/')
        .map(|(end, _)| &name[..=end])
        .find(|folder| !is_wanted(folder))
        .map_or(name, |folder| folder.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_folder_without_any_wanted_file_the_folder_is_extra() {
        let wanted = BTreeSet::from(["SHA256SUMS", "evidence/grant.json", "evidence/m1/a"])
            .into_iter()
            .map(str::to_owned)
            .collect();
        let cases = [
            ("more", "more"),
            ("more/deep/file", "more"),
            ("evidence/more", "evidence/more"),
            ("evidence/m2/a", "evidence/m2"),
            ("evidence/m1/b", "evidence/m1/b"),
            ("evidence/m1/deep/", "evidence/m1/deep"),
            ("evidence", "evidence"),
        ];
        for (name, extra) in cases {
            assert_eq!(first_extra(name, &wanted), extra);
        }
    }
}
