//! The operator's step: approve one build, and make the key that it will be signed with.

use std::path::{Path, PathBuf};

use super::policy::version_of;
use crate::domain::build_key::BuildKeyLabel;
use crate::domain::digest::GrantId;
use crate::domain::event::Event;
use crate::domain::evidence::{EvidenceForm, Scheme};
use crate::domain::grant::{Builder, Grant, LARGEST_GRANT, Limits, NewGrant, Source, Terms};
use crate::domain::malformed::Malformed;
use crate::domain::name::{BuilderName, ProjectName, Version};
use crate::domain::time::{Period, Timestamp};
use crate::files::{FileError, FileFault, InputFile, discard, write_new};
use crate::home::{Home, HomeError, HomeLock};
use crate::ledger::{Ledger, LedgerError};
use crate::openpgp::KeyTrouble;
use crate::steps::builder::build_key::NewKey;
use crate::steps::evidence::builders::{BuilderKey, Builders};
use crate::steps::evidence::check::SLOW_CLOCK;
use crate::steps::evidence::error::EvidenceError;

/// What the operator asks for.
#[derive(Debug)]
pub struct GrantRequest {
    /// What is built.
    pub project: ProjectName,
    /// Its version.
    pub version: Version,
    /// Where its source is.
    pub source: Option<Source>,
    /// How its builders authenticate their evidence.
    pub scheme: Scheme,
    /// The form of their evidence.
    pub evidence: EvidenceForm,
    /// Who may build it, each with the key that they have or without.
    pub builders: Vec<(BuilderName, Option<EnrolledKey>)>,
    /// How many of them must agree.
    pub quorum: u32,
    /// What they may build.
    pub artifacts: Limits,
    /// For how long.
    pub valid_for: Period,
    /// Whether it may be older than what was granted before.
    pub allow_older: bool,
}

/// The public half of a key that a builder made itself.
#[derive(Debug)]
pub struct EnrolledKey {
    /// Where it was read.
    pub path: PathBuf,
    /// What stands there.
    pub text: String,
}

/// A grant with its files written and logged.
#[derive(Debug)]
pub struct Issued {
    /// The grant.
    pub grant: Grant,
    /// Where the grant is.
    pub grant_path: PathBuf,
    /// Where each builder's build key is.
    pub keys: Vec<(BuilderName, PathBuf)>,
    /// The index of its entry in the ledger.
    pub entry: u64,
    /// The entries of earlier grants for the same version, each of which may have become a release.
    pub earlier: Vec<u64>,
    /// Whether the release key's certificate ends before the grant does.
    pub outlives_key: bool,
    /// Builders whose own key ends before the grant does.
    pub outlives_builders: Vec<BuilderName>,
}

/// Why no grant was issued.
#[derive(Debug, thiserror::Error)]
pub enum GrantError {
    /// The release key could not sign what would be built.
    #[error("no grant: {0}")]
    ReleaseKey(#[from] KeyTrouble),
    /// What was asked for cannot be granted.
    #[error("the grant cannot be issued: {0}")]
    Grant(#[from] Malformed),
    /// A nonce that somebody else made would have had to travel.
    #[error("builder `{0}` cannot bring a key: the nonce of scheme hmac is made here")]
    NoEnrolment(BuilderName),
    /// The key that a builder brought.
    #[error("key `{}` of builder `{builder}` cannot be used: {fault}", path.display())]
    EnrolledKey {
        /// The builder.
        builder: BuilderName,
        /// Where the key was read.
        path: PathBuf,
        /// What is wrong with it.
        fault: Malformed,
    },
    /// The key that a builder brought cannot sign.
    #[error("key `{}` of builder `{builder}` cannot sign: {fault}", path.display())]
    EnrolledTrouble {
        /// The builder.
        builder: BuilderName,
        /// Where the key was read.
        path: PathBuf,
        /// What is wrong with it.
        fault: KeyTrouble,
    },
    /// The builders' keys, together.
    #[error("no grant: {0}")]
    Builders(EvidenceError),
    /// Not after what was granted before.
    #[error(
        "version {version} of {project} is older than {newer}, which was granted before in ledger entry {entry}"
    )]
    Older {
        /// What is built.
        project: ProjectName,
        /// Its version.
        version: Version,
        /// The newest version that was granted.
        newer: Version,
        /// Where.
        entry: u64,
    },
    /// A grant is there already: of an earlier run, that came to its end or not.
    #[error("grant `{}` is there already; it was {}", path.display(), match issued {
        Some(entry) => format!("issued in ledger entry {entry}"),
        None => "not issued by this signing host".to_owned(),
    })]
    There {
        /// Its file.
        path: PathBuf,
        /// The entry that says that it was issued here.
        issued: Option<u64>,
    },
    /// It would last past the year 2105, where OpenPGP's time ends.
    #[error("a grant cannot be valid for {0}")]
    TooLong(Period),
    /// H's home.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// H's ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A file of the grant.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Makes the build keys and the grant, writes them into `out`, and records both. A grant counts
/// from the moment the ledger has it; until then a failure leaves none of its files.
pub fn issue(
    request: GrantRequest,
    home: &Home,
    _lock: &HomeLock,
    out: &Path,
    now: Timestamp,
) -> Result<Issued, GrantError> {
    let GrantRequest {
        project,
        version,
        source,
        scheme,
        evidence,
        builders,
        quorum,
        ..
    } = request;
    let GrantRequest {
        artifacts,
        valid_for,
        allow_older,
        ..
    } = request;
    let signing_key = home.certificate.signing_key(home.config.signing_key, now)?;
    let expires = now.after(valid_for).ok_or(GrantError::TooLong(valid_for))?;
    let mut ledger = home.ledger()?;
    if !allow_older {
        check_newer(&ledger, &project, &version)?;
    }

    let build = format!("{project} {version}");
    let keys = keys(builders, scheme, &build, now, expires)?;
    let grant = Grant::issue(NewGrant {
        project,
        version,
        source,
        scheme,
        evidence,
        domain: home.config.notation_domain.clone(),
        builders: keys
            .iter()
            .map(|(name, key)| Builder {
                name: name.clone(),
                key: key.public().to_text(),
            })
            .collect(),
        quorum,
        artifacts,
        not_before: now,
        expires,
        release_key: signing_key.fingerprint(),
    })?;
    let terms = grant.terms();
    let known = Builders::of(terms).map_err(GrantError::Builders)?;

    let mut written = Written::begin(&grant, home);
    let files = write_files(&grant, &keys, out, &mut written);
    let (grant_path, key_files) = files.map_err(|error| explain(error, &ledger))?;
    let event = Event::GrantIssued {
        grant: grant.id(),
        project: terms.project.clone(),
        version: terms.version.clone(),
        expires,
        scheme,
        evidence,
        quorum,
        builders: known
            .iter()
            .map(|(name, key)| (name.clone(), key.id()))
            .collect(),
        allow_older,
    };
    let earlier = earlier(&ledger, terms)?;
    let entry = ledger.append(now, event)?;
    written.keep();

    let ends_early = |end: Option<Timestamp>| end.is_some_and(|end| end < expires);
    let outlives_key = ends_early(signing_key.expires());
    let ending = keys.iter().filter(|(_, key)| ends_early(key.expires()));
    let outlives_builders = ending.map(|(builder, _)| builder.clone()).collect();
    Ok(Issued {
        grant,
        grant_path,
        keys: key_files,
        entry,
        earlier,
        outlives_key,
        outlives_builders,
    })
}

/// A builder's key: made here, or by the builder.
enum Key {
    Injected(NewKey),
    /// With its end, if it has one.
    Enrolled(BuilderKey, Option<Timestamp>),
}

impl Key {
    fn public(&self) -> BuilderKey {
        match self {
            Self::Injected(key) => key.public(),
            Self::Enrolled(key, _) => key.clone(),
        }
    }

    /// When it ends before its grant may; one that is made here ends with it.
    fn expires(&self) -> Option<Timestamp> {
        match self {
            Self::Injected(_) => None,
            Self::Enrolled(_, end) => *end,
        }
    }
}

/// A key for each builder: the one that it brought, or a new one.
fn keys(
    builders: Vec<(BuilderName, Option<EnrolledKey>)>,
    scheme: Scheme,
    build: &str,
    now: Timestamp,
    expires: Timestamp,
) -> Result<Vec<(BuilderName, Key)>, GrantError> {
    let mut keys = Vec::new();
    for (builder, enrolled) in builders {
        let key = match enrolled {
            Some(enrolled) => enrol(&builder, scheme, enrolled, now)?,
            None => {
                let user_id = format!("build key of {builder} for {build}");
                // A builder whose clock is slow can use it at once.
                Key::Injected(NewKey::generate(
                    scheme,
                    &user_id,
                    now.before(SLOW_CLOCK),
                    expires,
                ))
            }
        };
        keys.push((builder, key));
    }
    Ok(keys)
}

/// Takes the key that a builder brought, if it can sign.
fn enrol(
    builder: &BuilderName,
    scheme: Scheme,
    enrolled: EnrolledKey,
    now: Timestamp,
) -> Result<Key, GrantError> {
    let EnrolledKey { path, text } = enrolled;
    if scheme == Scheme::Hmac {
        return Err(GrantError::NoEnrolment(builder.clone()));
    }
    let key = BuilderKey::parse(scheme, &text);
    let key = key.map_err(|fault| GrantError::EnrolledKey {
        builder: builder.clone(),
        path: path.clone(),
        fault,
    })?;
    let end = match &key {
        BuilderKey::OpenPgp(certificate) => {
            let keys = certificate.signing_keys(now);
            let keys = keys.map_err(|fault| GrantError::EnrolledTrouble {
                builder: builder.clone(),
                path,
                fault,
            })?;
            keys.iter()
                .map(|key| key.expires())
                .max_by_key(|end| end.map_or(u32::MAX, Timestamp::unix))
                .flatten()
        }
        BuilderKey::Ed25519(_) | BuilderKey::Nonce(_) => None,
    };
    Ok(Key::Enrolled(key, end))
}

/// Refuses a version that is older than one that was granted and not taken back.
fn check_newer(
    ledger: &Ledger,
    project: &ProjectName,
    version: &Version,
) -> Result<(), GrantError> {
    for record in ledger
        .grants_of(project)?
        .into_iter()
        .filter(|record| record.revoked.is_none())
    {
        let newer = version_of(ledger, record.issued)?.filter(|other| version.order(other).is_lt());
        if let Some(newer) = newer {
            let (project, version, entry) = (project.clone(), version.clone(), record.issued);
            return Err(GrantError::Older {
                project,
                version,
                newer,
                entry,
            });
        }
    }
    Ok(())
}

/// The entries of earlier grants for the same version that can still become a release, or have.
fn earlier(ledger: &Ledger, terms: &Terms) -> Result<Vec<u64>, LedgerError> {
    let mut entries = Vec::new();
    for record in ledger
        .grants_of(&terms.project)?
        .into_iter()
        .filter(|record| record.revoked.is_none())
    {
        if version_of(ledger, record.issued)?
            .is_some_and(|other| terms.version.order(&other).is_eq())
        {
            entries.push(record.issued);
        }
    }
    Ok(entries)
}

/// Writes the grant and the keys that were made for it, for whoever will build, and what this host
/// keeps of them.
fn write_files(
    grant: &Grant,
    keys: &[(BuilderName, Key)],
    out: &Path,
    written: &mut Written<'_>,
) -> Result<(PathBuf, Vec<(BuilderName, PathBuf)>), GrantError> {
    let stem = format!("{}-{}", grant.terms().project, grant.terms().version);
    let grant_path = out.join(format!("{stem}.grant.json"));
    // Nobody would read it again.
    if grant.bytes().len() as u64 > LARGEST_GRANT {
        return Err(FileError::new(
            grant_path,
            FileFault::TooLarge {
                limit: LARGEST_GRANT,
            },
        )
        .into());
    }
    written.add(&grant_path, grant.bytes(), 0o644)?;
    let mut key_files = Vec::new();
    for (builder, key) in keys {
        let Key::Injected(key) = key else { continue };
        let path = out.join(format!("{stem}.{builder}.key"));
        written.add(
            &path,
            &key.to_file(Some(&BuildKeyLabel::of(grant, builder))),
            0o600,
        )?;
        key_files.push((builder.clone(), path));
        if let NewKey::Nonce(nonce) = key {
            written.home.keep_nonce(grant.id(), builder, nonce)?;
        }
    }
    written.home.keep_grant(grant)?;
    Ok((grant_path, key_files))
}

/// Says of a grant that is in the way whether it counts: a run that was killed leaves one that does
/// not.
fn explain(error: GrantError, ledger: &Ledger) -> GrantError {
    let GrantError::File(FileError {
        path,
        fault: FileFault::Exists,
    }) = error
    else {
        return error;
    };
    let there = InputFile::open(&path).and_then(|file| file.read_whole(LARGEST_GRANT));
    let Ok(there) = there
        .map_err(drop)
        .and_then(|bytes| Grant::parse(&bytes).map_err(drop))
    else {
        return FileError::new(path, FileFault::Exists).into();
    };
    match ledger.grant(there.id()) {
        Ok(record) => GrantError::There {
            path,
            issued: record.map(|record| record.issued),
        },
        Err(error) => error.into(),
    }
}

/// What was written for a grant. Unless it counts, the secrets among it are wiped again.
struct Written<'a> {
    home: &'a Home,
    grant: GrantId,
    files: Vec<PathBuf>,
    counts: bool,
}

impl<'a> Written<'a> {
    fn begin(grant: &Grant, home: &'a Home) -> Self {
        Self {
            home,
            grant: grant.id(),
            files: Vec::new(),
            counts: false,
        }
    }

    fn add(&mut self, path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
        write_new(path, bytes, mode)?;
        self.files.push(path.to_owned());
        Ok(())
    }

    fn keep(mut self) {
        self.counts = true;
    }
}

impl Drop for Written<'_> {
    fn drop(&mut self) {
        if self.counts {
            return;
        }
        for path in &self.files {
            discard(path);
        }
        let _already_failing = self.home.forget_nonces(self.grant);
    }
}
