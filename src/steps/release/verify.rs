//! The check of a release, with the release certificate alone: L makes it before it publishes,
//! anybody may after.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::domain::artifact::{Artifact, MOST_ARTIFACTS};
use crate::domain::digest::{GrantId, Sha256};
use crate::domain::evidence::EvidenceFiles;
use crate::domain::grant::{Grant, LARGEST_GRANT};
use crate::domain::key::{Fingerprint, HashAlgorithm};
use crate::domain::malformed::Malformed;
use crate::domain::name::{ArtifactName, BuilderName};
use crate::domain::release::{
    Coverage, FileDigests, LARGEST_SIGNATURE, LARGEST_SUMS, Sums, signature_name,
};
use crate::domain::reserved::{APPROVALS, EVIDENCE, GRANT, SUMS};
use crate::domain::time::Timestamp;
use crate::files::{FileError, FileFault, Folder, InputFile, StagedFolder};
use crate::openpgp::{
    BadSignature, Certificate, DetachedSignature, HashState, LARGEST_CERTIFICATE, Signed,
};
use crate::steps::Progress;
use crate::steps::evidence::builders::Builders;
use crate::steps::evidence::error::EvidenceError;
use crate::steps::evidence::quorum;
use crate::steps::evidence::{self, Attested, Files, MacCheck};

/// What holds, and what does not, in a release whose list and evidence hold.
#[derive(Debug)]
pub struct ReleaseReport {
    /// The grant it was made under.
    pub grant: Grant,
    /// The builders whose evidence it carries.
    pub builders: Vec<BuilderName>,
    /// How many approvals it carries. Whose they are, only the signing host knows.
    pub approvals: usize,
    /// What the signature of the list says.
    pub list: Signed,
    /// SHA-256 of the list, which says which release it is.
    pub sums: Sha256,
    /// What of it is signed.
    pub coverage: Coverage,
    /// Each artifact, and each file that is too many.
    pub files: Vec<FileReport>,
}

/// What holds of one file.
#[derive(Debug)]
pub struct FileReport {
    /// Its name, as it is: not fit for a terminal unless it is an artifact's.
    pub name: String,
    /// What its signature says, or that of the list where the list alone is signed; why it does not
    /// hold otherwise.
    pub result: Result<Signed, ReleaseError>,
}

/// Why a release, or one file of it, is refused.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// A file that should be there.
    #[error("`{0}` is missing")]
    Missing(String),
    /// A good signature by the release key, but over something else than a list of this form: an
    /// artifact can have its bytes.
    #[error("signature `{0}` was not made for the list of a release of this form")]
    OtherForm(String),
    /// A signature that a release of which the list alone is signed does not have.
    #[error(
        "`{0}` is missing; the SHA256SUMS beside it says that only the list is signed: verify the folder"
    )]
    ListOnly(String),
    /// A file that nothing speaks for.
    #[error("`{0}` is in the folder, but SHA256SUMS does not list it")]
    Extra(String),
    /// A signature.
    #[error("signature `{file}` {fault}")]
    Signature {
        /// The signature's file.
        file: String,
        /// What is wrong with it.
        fault: BadSignature,
    },
    /// Signed for another release.
    #[error("signature `{file}` was made under {}, not under grant {expected}", found.as_deref().map_or("no grant".to_owned(), |id| format!("grant {id}")))]
    OtherGrant {
        /// The signature's file.
        file: String,
        /// The grant it names, cut short.
        found: Option<String>,
        /// The release's grant.
        expected: GrantId,
    },
    /// Signed by a key of the certificate that the grant does not name.
    #[error("signature `{file}` is by key {found}, but the grant names {expected}")]
    OtherKey {
        /// The signature's file.
        file: String,
        /// Who signed.
        found: Fingerprint,
        /// Who should have.
        expected: Fingerprint,
    },
    /// The list's form.
    #[error("SHA256SUMS: {0}")]
    Sums(Malformed),
    /// Other bytes than the list says.
    #[error("`{file}` has SHA-256 {found}, but SHA256SUMS says {expected}")]
    Digest {
        /// The file.
        file: String,
        /// What it has.
        found: Sha256,
        /// What the list says.
        expected: Sha256,
    },
    /// More bytes than the grant allowed.
    #[error(
        "artifacts have more than {limit} bytes together, which is all that the grant allows (at `{file}`)"
    )]
    TooLarge {
        /// The artifact that went over it.
        file: String,
        /// What the grant allows.
        limit: u64,
    },
    /// The grant in the evidence.
    #[error("evidence/grant.json: {0}")]
    Grant(Malformed),
    /// The evidence of a builder.
    #[error("evidence of builder `{builder}`: {fault}")]
    Evidence {
        /// The builder.
        builder: BuilderName,
        /// What is wrong.
        fault: Box<EvidenceError>,
    },
    /// The evidence has not the files that the grant's scheme has, or another key than the grant's.
    #[error(
        "evidence of builder `{builder}` has not exactly the files of the grant's scheme, or another key than the grant"
    )]
    EvidenceMisplaced {
        /// The builder.
        builder: BuilderName,
    },
    /// The evidence of all builders together.
    #[error("the evidence does not carry the release: {0}")]
    Quorum(EvidenceError),
    /// Somebody has evidence who is no builder of the grant.
    #[error("there is evidence of `{builder}`, who is no builder of the grant")]
    NotABuilder {
        /// Who.
        builder: BuilderName,
    },
    /// What was attested is not what is listed.
    #[error("the builders did not attest exactly the artifacts that SHA256SUMS lists")]
    NotAttested,
    /// A file that is not what it must be, or cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The copy that is made while the release is read.
    #[error("the release cannot be copied: {0}")]
    Copy(FileError),
}

/// Checks the release in `folder` as [`examine_release`] does, and refuses it if anything of it
/// does not hold.
pub fn verify_release(
    folder: &Folder,
    certificate: &Certificate,
    copy: Option<&StagedFolder>,
    now: Timestamp,
    progress: &mut dyn Progress,
) -> Result<ReleaseReport, ReleaseError> {
    let mut report = examine_release(folder, certificate, copy, now, progress)?;
    match report.files.iter().position(|file| file.result.is_err()) {
        Some(bad) => Err(report
            .files
            .swap_remove(bad)
            .result
            .expect_err("it does not hold")),
        None => Ok(report),
    }
}

/// Checks the release in `folder`: the list's signature, what must be there and what must not, the
/// evidence, then each artifact in one read, which `copy` receives too. Returns what holds of each
/// file, also where that is nothing.
pub fn examine_release(
    folder: &Folder,
    certificate: &Certificate,
    copy: Option<&StagedFolder>,
    now: Timestamp,
    progress: &mut dyn Progress,
) -> Result<ReleaseReport, ReleaseError> {
    let reader = Reader { folder, copy };
    let sums_bytes = reader.read(SUMS, LARGEST_SUMS)?;
    let (signature, file) = reader.signature(SUMS)?;
    let list = signature
        .check(
            certificate,
            &HashState::of(&sums_bytes, signature.hash()),
            SUMS,
            now,
        )
        .map_err(|fault| ReleaseError::Signature {
            file: file.clone(),
            fault,
        })?;
    let sums = Sums::parse(&sums_bytes).map_err(ReleaseError::Sums)?;
    check_form(&list, sums.coverage(), &file)?;

    let evidence = check_evidence(&reader, &sums, now)?;
    let grant = &evidence.grant;
    check_names_its_grant(&list, grant, file)?;
    let mut files = extra_files(folder, &sums)?;
    let mut left = grant.terms().artifacts.max_bytes;
    // What is refused already is not worth a copy.
    let worth_reading = files.is_empty() || copy.is_none();
    for artifact in sums.artifacts().iter().filter(|_| worth_reading) {
        let result = match sums.coverage() {
            Coverage::Each => check_artifact(
                &reader,
                artifact,
                &evidence,
                certificate,
                now,
                &mut left,
                progress,
            ),
            Coverage::ListOnly => {
                check_listed(&reader, artifact, &evidence, now, &mut left, progress)
                    .map(|()| list.clone())
            }
        };
        files.push(FileReport {
            name: artifact.name.to_string(),
            result,
        });
    }
    let (builders, approvals) = (
        sums.builders().keys().cloned().collect(),
        sums.approvals().len(),
    );
    let (sums, coverage, grant) = (Sha256::of(&sums_bytes), sums.coverage(), evidence.grant);
    Ok(ReleaseReport {
        grant,
        builders,
        approvals,
        list,
        sums,
        coverage,
        files,
    })
}

/// Checks one file with the signature beside it; returns its digest too.
pub fn verify_file(
    path: &Path,
    certificate: &Certificate,
    now: Timestamp,
    progress: &mut dyn Progress,
) -> Result<(Signed, Sha256), ReleaseError> {
    let name = path.to_string_lossy().into_owned();
    let file = signature_name(&name);
    let content = InputFile::open_named(path).map_err(|error| missing(error, &name))?;
    let bytes = InputFile::open_named(&PathBuf::from(&file)).map_err(|error| {
        match missing(error, &file) {
            ReleaseError::Missing(file) if list_beside_claims_to_stand_for(path) => {
                ReleaseError::ListOnly(file)
            }
            other => other,
        }
    })?;
    let bytes = bytes.read_whole(LARGEST_SIGNATURE)?;
    let fault = |fault| ReleaseError::Signature {
        file: file.clone(),
        fault,
    };
    let signature = DetachedSignature::parse_release(&bytes).map_err(fault)?;
    let mut state = HashState::new(signature.hash());
    if path.file_name() != Some(SUMS.as_ref()) {
        read(content, &name, u64::MAX, &mut state, None, progress)?;
        let signed = signature
            .check(certificate, &state, &name, now)
            .map_err(fault)?;
        return Ok((signed, state.sha256()));
    }
    // A list that says that it alone is signed: whether its signature was made for that, as in its
    // release.
    let list = content.read_whole(LARGEST_SUMS)?;
    state.update(&list);
    let signed = signature
        .check(certificate, &state, &name, now)
        .map_err(fault)?;
    let claimed = if Sums::claims_list_only(&list) {
        Coverage::ListOnly
    } else {
        Coverage::Each
    };
    check_form(&signed, claimed, &file)?;
    Ok((signed, state.sha256()))
}

/// Refuses a good signature that was not made for a list of this form: an artifact can have the
/// bytes of any list.
fn check_form(signed: &Signed, coverage: Coverage, file: &str) -> Result<(), ReleaseError> {
    match signed.noted("form@") == coverage.notation() {
        true => Ok(()),
        false => Err(ReleaseError::OtherForm(file.to_owned())),
    }
}

/// Whether the list beside a file says that it alone is signed. Nothing follows from that but what
/// to do next.
fn list_beside_claims_to_stand_for(path: &Path) -> bool {
    let list = InputFile::open_named(&path.with_file_name(SUMS))
        .and_then(|file| file.read_whole(LARGEST_SUMS));
    list.is_ok_and(|bytes| Sums::claims_list_only(&bytes))
}

fn check_artifact(
    reader: &Reader<'_>,
    artifact: &Artifact,
    evidence: &Evidence,
    certificate: &Certificate,
    now: Timestamp,
    left: &mut u64,
    progress: &mut dyn Progress,
) -> Result<Signed, ReleaseError> {
    let name = artifact.name.as_str();
    let (signature, file) = reader.signature(name)?;
    let mut state = evidence.state(&artifact.name, signature.hash());
    read_listed(
        reader,
        artifact,
        &evidence.grant,
        &mut state,
        left,
        progress,
    )?;
    evidence.confirm(&artifact.name, &state, now)?;
    let signed = signature
        .check(certificate, &state, name, now)
        .map_err(|fault| ReleaseError::Signature {
            file: file.clone(),
            fault,
        })?;
    check_names_its_grant(&signed, &evidence.grant, file)?;
    Ok(signed)
}

/// An artifact of a release of which the list alone is signed: it is what the list says.
fn check_listed(
    reader: &Reader<'_>,
    artifact: &Artifact,
    evidence: &Evidence,
    now: Timestamp,
    left: &mut u64,
    progress: &mut dyn Progress,
) -> Result<(), ReleaseError> {
    let mut state = evidence.state(&artifact.name, HashAlgorithm::Sha256);
    read_listed(
        reader,
        artifact,
        &evidence.grant,
        &mut state,
        left,
        progress,
    )?;
    evidence.confirm(&artifact.name, &state, now)
}

/// Reads an artifact, once, and compares it with the list.
fn read_listed(
    reader: &Reader<'_>,
    artifact: &Artifact,
    grant: &Grant,
    state: &mut HashState,
    left: &mut u64,
    progress: &mut dyn Progress,
) -> Result<(), ReleaseError> {
    let name = artifact.name.as_str();
    let input = reader.open(name)?;
    // What the signing host signed was no larger than the grant allows.
    let too_large = || ReleaseError::TooLarge {
        file: name.to_owned(),
        limit: grant.terms().artifacts.max_bytes,
    };
    *left -=
        read(input, name, *left, state, reader.copy, progress).map_err(|error| match error {
            ReleaseError::File(FileError {
                fault: FileFault::TooLarge { .. },
                ..
            }) => too_large(),
            other => other,
        })?;
    if state.sha256() == artifact.digest {
        return Ok(());
    }
    Err(ReleaseError::Digest {
        file: name.to_owned(),
        found: state.sha256(),
        expected: artifact.digest,
    })
}

/// A signature of another release over the same bytes is a good signature, and not one of this
/// release.
fn check_names_its_grant(signed: &Signed, grant: &Grant, file: String) -> Result<(), ReleaseError> {
    let found = signed.grant();
    if found != Some(grant.id().to_string().as_str()) {
        let found = found.map(|id| id.chars().take(80).collect());
        return Err(ReleaseError::OtherGrant {
            file,
            found,
            expected: grant.id(),
        });
    }
    let expected = grant.terms().release_key;
    if signed.key == expected {
        Ok(())
    } else {
        Err(ReleaseError::OtherKey {
            file,
            found: signed.key,
            expected,
        })
    }
}

/// The grant of a release, and what its builders say. MACs are not judged: who could check them
/// could have made them.
struct Evidence {
    grant: Grant,
    builders: Builders,
    attested: Vec<Attested>,
}

impl Evidence {
    /// A state with which each builder's word on an artifact can be checked, and a signature that
    /// uses `also`.
    fn state(&self, artifact: &ArtifactName, also: HashAlgorithm) -> HashState {
        HashState::for_all(
            self.attested
                .iter()
                .filter_map(|attested| attested.hash(artifact))
                .chain([also]),
        )
    }

    /// Each builder's word on an artifact that was read.
    fn confirm(
        &self,
        artifact: &ArtifactName,
        state: &HashState,
        now: Timestamp,
    ) -> Result<(), ReleaseError> {
        for attested in self
            .attested
            .iter()
            .filter(|attested| attested.speaks_of(artifact))
        {
            attested
                .confirm(
                    &self.grant,
                    &self.builders,
                    artifact,
                    state,
                    MacCheck::Elsewhere,
                    now,
                )
                .map_err(|fault| ReleaseError::Evidence {
                    builder: attested.builder().clone(),
                    fault: fault.into(),
                })?;
        }
        Ok(())
    }
}

/// The whole chain behind the artifacts: the grant, its approvals as they are listed, and what its
/// builders said.
fn check_evidence(
    reader: &Reader<'_>,
    sums: &Sums,
    now: Timestamp,
) -> Result<Evidence, ReleaseError> {
    let grant = reader.read_listed(&[EVIDENCE, GRANT], LARGEST_GRANT, sums.grant())?;
    let grant = Grant::parse(&grant).map_err(ReleaseError::Grant)?;
    for (file, digest) in sums.approvals() {
        reader.read_listed(&[EVIDENCE, APPROVALS, file], LARGEST_SIGNATURE, *digest)?;
    }
    let builders = Builders::of(grant.terms()).map_err(ReleaseError::Quorum)?;
    let mut attested = Vec::new();
    for (builder, digests) in sums.builders() {
        attested.push(check_builder(
            reader, &grant, &builders, builder, digests, now,
        )?);
    }
    let agreed = quorum::settle(grant.terms(), &attested).map_err(ReleaseError::Quorum)?;
    match agreed
        .keys()
        .eq(sums.artifacts().iter().map(|artifact| &artifact.name))
    {
        true => Ok(Evidence {
            grant,
            builders,
            attested,
        }),
        false => Err(ReleaseError::NotAttested),
    }
}

fn check_builder(
    reader: &Reader<'_>,
    grant: &Grant,
    builders: &Builders,
    builder: &BuilderName,
    digests: &FileDigests,
    now: Timestamp,
) -> Result<Attested, ReleaseError> {
    let key = builders
        .key(builder)
        .ok_or_else(|| ReleaseError::NotABuilder {
            builder: builder.clone(),
        })?;
    let misplaced = || ReleaseError::EvidenceMisplaced {
        builder: builder.clone(),
    };
    let (kind, key_file) = (grant.terms().kind(), grant.terms().kind().public_key());
    let all_there = match kind.files() {
        EvidenceFiles::Named(files) => files.iter().all(|(name, _)| digests.contains_key(*name)),
        EvidenceFiles::Each { .. } => true,
    };
    if !all_there || key_file.is_some_and(|name| !digests.contains_key(name)) {
        return Err(misplaced());
    }
    let mut files = Files::new();
    for (name, digest) in digests {
        let is_key = key_file == Some(name.as_str());
        let limit = if is_key {
            Some(LARGEST_CERTIFICATE)
        } else {
            kind.limit(name)
        };
        let bytes = reader.read_listed(
            &[EVIDENCE, builder.as_str(), name],
            limit.ok_or_else(misplaced)?,
            *digest,
        )?;
        match is_key {
            true if key.public_file().as_ref() == Some(&bytes) => {}
            true => return Err(misplaced()),
            false => drop(files.insert(name.clone(), bytes)),
        }
    }
    evidence::check(grant, builders, builder, &files, MacCheck::Elsewhere, now).map_err(|fault| {
        ReleaseError::Evidence {
            builder: builder.clone(),
            fault: fault.into(),
        }
    })
}

/// Everything in the folder that a release with this list does not have.
fn extra_files(folder: &Folder, sums: &Sums) -> Result<Vec<FileReport>, ReleaseError> {
    let mut top: BTreeSet<String> = sums
        .artifacts()
        .iter()
        .map(|artifact| artifact.name.to_string())
        .collect();
    top.extend(sums.signed_files().map(signature_name));
    top.extend([SUMS, EVIDENCE].map(str::to_owned));
    let mut folders: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (builder, files) in sums.builders() {
        folders.insert(builder.to_string(), files.keys().cloned().collect());
    }
    if !sums.approvals().is_empty() {
        folders.insert(
            APPROVALS.to_owned(),
            sums.approvals().keys().cloned().collect(),
        );
    }

    let mut extra = Vec::new();
    let mut check =
        |folder: &Folder, prefix: &str, wanted: &BTreeSet<String>| -> Result<(), ReleaseError> {
            for name in folder.names(2 * MOST_ARTIFACTS + 3)? {
                let known = name.to_str().is_some_and(|name| wanted.contains(name));
                if !known {
                    let name = format!(
                        "{prefix}{}",
                        name.to_string_lossy().chars().take(200).collect::<String>()
                    );
                    extra.push(FileReport {
                        name: name.clone(),
                        result: Err(ReleaseError::Extra(name)),
                    });
                }
            }
            Ok(())
        };
    check(folder, "", &top)?;
    let evidence = folder.subfolder(EVIDENCE)?;
    check(
        &evidence,
        "evidence/",
        &folders.keys().cloned().chain([GRANT.to_owned()]).collect(),
    )?;
    for (name, wanted) in &folders {
        check(
            &evidence.subfolder(name)?,
            &format!("evidence/{name}/"),
            wanted,
        )?;
    }
    Ok(extra)
}

/// The files of a release, each of which may be copied as it is read.
struct Reader<'a> {
    folder: &'a Folder,
    copy: Option<&'a StagedFolder>,
}

impl Reader<'_> {
    fn open(&self, name: &str) -> Result<InputFile, ReleaseError> {
        self.folder.file(name).map_err(|error| missing(error, name))
    }

    fn read(&self, name: &str, limit: u64) -> Result<Vec<u8>, ReleaseError> {
        let bytes = self.open(name)?.read_whole(limit)?;
        self.keep(name, &bytes)?;
        Ok(bytes)
    }

    fn signature(&self, name: &str) -> Result<(DetachedSignature, String), ReleaseError> {
        let file = signature_name(name);
        let bytes = self.read(&file, LARGEST_SIGNATURE)?;
        let signature = DetachedSignature::parse_release(&bytes);
        Ok((
            signature.map_err(|fault| ReleaseError::Signature {
                file: file.clone(),
                fault,
            })?,
            file,
        ))
    }

    /// A file of the evidence, whose digest the list says.
    fn read_listed(
        &self,
        path: &[&str],
        limit: u64,
        expected: Sha256,
    ) -> Result<Vec<u8>, ReleaseError> {
        let shown = path.join("/");
        let (name, folders) = path.split_last().expect("a path has a name");
        let mut deepest = None;
        for folder in folders {
            let next = deepest.as_ref().unwrap_or(self.folder).subfolder(folder);
            deepest = Some(next.map_err(|error| missing(error, &shown))?);
        }
        let folder = deepest.as_ref().unwrap_or(self.folder);
        let bytes = folder
            .read(name, limit)
            .map_err(|error| missing(error, &shown))?;
        let found = Sha256::of(&bytes);
        if found != expected {
            return Err(ReleaseError::Digest {
                file: shown,
                found,
                expected,
            });
        }
        self.keep(&shown, &bytes)?;
        Ok(bytes)
    }

    fn keep(&self, name: &str, bytes: &[u8]) -> Result<(), ReleaseError> {
        self.copy
            .map_or(Ok(()), |copy| copy.write(name, bytes))
            .map_err(ReleaseError::Copy)
    }
}

fn missing(error: FileError, name: &str) -> ReleaseError {
    match error.fault {
        FileFault::Missing => ReleaseError::Missing(name.to_owned()),
        _ => ReleaseError::File(error),
    }
}

fn read(
    file: InputFile,
    name: &str,
    limit: u64,
    state: &mut HashState,
    copy: Option<&StagedFolder>,
    progress: &mut dyn Progress,
) -> Result<u64, ReleaseError> {
    progress.file(name, file.size());
    let mut copy = copy
        .map(|copy| copy.file(name))
        .transpose()
        .map_err(ReleaseError::Copy)?;
    let total = file.read_once::<ReleaseError>(limit, |piece| {
        state.update(piece);
        progress.read(piece.len() as u64);
        copy.as_mut()
            .map_or(Ok(()), |copy| copy.write(piece))
            .map_err(ReleaseError::Copy)
    })?;
    copy.map_or(Ok(()), |copy| copy.finish())
        .map_err(ReleaseError::Copy)?;
    Ok(total)
}
