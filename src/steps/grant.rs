//! The operator's step: approve one build, and make the key that it will be signed with.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::domain::digest::GrantId;
use crate::domain::event::Event;
use crate::domain::grant::{BadGrant, Builder, Grant, Limits, NewGrant, Source, Terms};
use crate::domain::name::{BuilderName, ProjectName, Version};
use crate::domain::time::{Period, Timestamp};
use crate::files::{FileError, write_new};
use crate::home::{Home, HomeError, HomeLock};
use crate::ledger::{Ledger, LedgerError};
use crate::openpgp::{BuildKey, BuildKeyLabel, GeneratedKey, KeyTrouble};

/// How far back a build key's creation lies, so that a builder whose clock is slow can use it at once. In seconds.
const BACKDATED: u32 = 600;

/// What the operator asks for.
#[derive(Debug)]
pub struct GrantRequest {
    /// What is built.
    pub project: ProjectName,
    /// Its version.
    pub version: Version,
    /// Where its source is.
    pub source: Option<Source>,
    /// Who may build it.
    pub builders: Vec<BuilderName>,
    /// What they may build.
    pub artifacts: Limits,
    /// For how long.
    pub valid_for: Period,
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
}

/// Why no grant was issued.
#[derive(Debug, thiserror::Error)]
pub enum GrantError {
    /// The release key could not sign what would be built.
    #[error("no grant: {0}")]
    ReleaseKey(#[from] KeyTrouble),
    /// What was asked for cannot be granted.
    #[error("the grant {0}")]
    Grant(#[from] BadGrant),
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

/// Makes the build keys and the grant, writes them into `out`, and records both. A grant counts from the moment the
/// ledger has it; until then a failure leaves none of its files.
pub fn issue(
    request: GrantRequest,
    home: &Home,
    _lock: &HomeLock,
    out: &Path,
    now: Timestamp,
) -> Result<Issued, GrantError> {
    let GrantRequest { project, version, source, builders, artifacts, valid_for } = request;
    let signing_key = home.certificate.signing_key(home.config.signing_key, now)?;
    let release_key = signing_key.fingerprint();
    let expires = now.after(valid_for).ok_or(GrantError::TooLong(valid_for))?;
    let outlives_key = signing_key.expires().is_some_and(|end| end < expires);

    let generated: Vec<(BuilderName, GeneratedKey)> = builders
        .into_iter()
        .map(|builder| {
            let user_id = format!("build key of {builder} for {project} {version}");
            let key = BuildKey::generate(&user_id, now.before(BACKDATED), expires);
            (builder, key)
        })
        .collect();
    let grant = Grant::issue(NewGrant {
        project,
        version,
        source,
        builders: generated
            .iter()
            .map(|(name, key)| Builder { name: name.clone(), key: key.certificate().armored() })
            .collect(),
        artifacts,
        not_before: now,
        expires,
        release_key,
    })?;

    let mut written = Written::default();
    let stem = format!("{}-{}", grant.terms().project, grant.terms().version);
    let grant_path = out.join(format!("{stem}.grant.json"));
    written.add(&grant_path, grant.bytes(), 0o644)?;
    let mut keys = Vec::new();
    for (builder, key) in &generated {
        let path = out.join(format!("{stem}.{builder}.key"));
        written.add(&path, &key_file(grant.id(), builder, &grant, key), 0o600)?;
        keys.push((builder.clone(), path));
    }
    home.keep_grant(&grant)?;

    let event = Event::GrantIssued {
        grant: grant.id(),
        project: grant.terms().project.clone(),
        version: grant.terms().version.clone(),
        expires,
        builders: generated
            .iter()
            .map(|(name, key)| (name.clone(), key.certificate().fingerprint()))
            .collect::<BTreeMap<_, _>>(),
    };
    let mut ledger = home.ledger()?;
    let earlier = earlier(&ledger, grant.terms())?;
    let entry = ledger.issue(now, grant.id(), event)?;
    written.0.clear();
    Ok(Issued { grant, grant_path, keys, entry, earlier, outlives_key })
}

fn earlier(ledger: &Ledger, terms: &Terms) -> Result<Vec<u64>, LedgerError> {
    let mut entries = Vec::new();
    ledger.each::<LedgerError>(|entry| {
        if let Event::GrantIssued { project, version, .. } = &entry.event
            && (project, version) == (&terms.project, &terms.version)
        {
            entries.push(entry.index);
        }
        Ok(())
    })?;
    Ok(entries)
}

fn key_file(grant: GrantId, builder: &BuilderName, of: &Grant, key: &GeneratedKey) -> Zeroizing<Vec<u8>> {
    let terms = of.terms();
    key.to_file(&BuildKeyLabel {
        grant,
        builder: builder.clone(),
        project: terms.project.clone(),
        version: terms.version.clone(),
        names: terms.artifacts.names.clone(),
    })
}

/// Files that are removed again unless all is well.
#[derive(Debug, Default)]
struct Written(Vec<PathBuf>);

impl Written {
    fn add(&mut self, path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
        write_new(path, bytes, mode)?;
        self.0.push(path.to_owned());
        Ok(())
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        for path in &self.0 {
            let _already_failing = std::fs::remove_file(path);
        }
    }
}
