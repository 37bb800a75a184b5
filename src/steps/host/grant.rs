//! The operator's step: approve one build, and make the keys that it will be attested with.

mod error;
mod files;
mod keys;

use std::path::PathBuf;

pub use error::GrantError;
use files::{Paths, Written, explain};

use super::Host;
use super::policy::version_of;
use crate::domain::event::Event;
use crate::domain::evidence::{EvidenceForm, Scheme};
use crate::domain::grant::{Builder, Grant, Limits, NamePattern, NewGrant, Source};
use crate::domain::malformed::Malformed;
use crate::domain::name::{BuilderName, ProjectName, Version};
use crate::domain::signing::ReleaseForm;
use crate::domain::time::Period;
use crate::ledger::{Ledger, LedgerError};
use crate::steps::evidence::builders::Builders;

/// The build that the operator approves.
#[derive(Debug)]
pub struct GrantRequest {
    /// The project.
    pub project: ProjectName,
    /// Its version.
    pub version: Version,
    /// Where its source is.
    pub source: Option<Source>,
    /// How its builders authenticate their evidence.
    pub scheme: Scheme,
    /// The form of their evidence.
    pub evidence: EvidenceForm,
    /// Who may build it, each with the file of its public key, if it made one itself.
    pub builders: Vec<(BuilderName, Option<PathBuf>)>,
    /// How many of them must agree.
    pub quorum: u32,
    /// The names that artifacts may have.
    pub names: Vec<NamePattern>,
    /// Which files of the release are signed.
    pub form: ReleaseForm,
    /// Maximum number of artifacts; the configuration's without it.
    pub max_count: Option<u32>,
    /// Maximum size of all artifacts together, in bytes; the configuration's without it.
    pub max_bytes: Option<u64>,
    /// How long the grant is valid; as in the configuration without it.
    pub valid_for: Option<Period>,
    /// Whether the version may be older than one that was granted before.
    pub allow_older: bool,
    /// The folder for the grant and its keys.
    pub output: PathBuf,
}

/// A grant whose files are written and logged.
#[derive(Debug)]
pub struct Issued {
    /// The grant.
    pub grant: Grant,
    /// Its file.
    pub grant_path: PathBuf,
    /// The files of the build keys that were made for it.
    pub keys: Vec<(BuilderName, PathBuf)>,
    /// Its entry in the ledger.
    pub entry: u64,
    /// The entries of earlier grants for the same version, each of which may become a release.
    pub earlier: Vec<u64>,
    /// Whether the release key expires before the grant.
    pub outlives_key: bool,
    /// Builders whose own key expires before the grant.
    pub outlives_builders: Vec<BuilderName>,
}

impl Host {
    /// Makes the build keys and the grant, writes them, and logs the grant, which is valid from the
    /// moment the ledger has it. A failure before leaves none of its files.
    pub fn grant(&mut self, request: GrantRequest) -> Result<Issued, GrantError> {
        let now = self.clock.now();
        self.check_anchors()?;
        self.home.forget_unneeded_nonces(&self.ledger, now)?;
        let config = &self.home.config;
        let certificate = &self.home.certificate;
        let release_key = certificate
            .signing_key(config.signing_key, now)
            .map_err(GrantError::ReleaseKey)?;
        let valid_for = request.valid_for.unwrap_or(config.valid_for);
        let too_long = || Malformed::new(format!("it cannot be valid for {valid_for}"));
        let expires = now.after(valid_for).ok_or_else(too_long);
        let expires = expires.map_err(GrantError::Terms)?;
        self.ledger
            .check_release(&request.project, &request.version)?;
        // It begins with the last approval, or now if there is none.
        if let Some(embargo) = config.embargo
            && now.after(embargo).is_none_or(|until| until >= expires)
        {
            let reason = format!(
                "it would be valid for {valid_for}, but nothing is signed under it before the \
                 `embargo` of {embargo} is over"
            );
            return Err(GrantError::Terms(Malformed::new(reason)));
        }
        let (project, version) = (request.project.clone(), request.version.clone());
        let check_newer = |ledger: &Ledger| -> Result<Vec<u64>, GrantError> {
            let granted = granted(ledger, &project)?;
            if !request.allow_older {
                check_newer(&project, &version, &granted)?;
            }
            let same = granted.iter().filter(|(it, _)| version.order(it).is_eq());
            Ok(same.map(|(_, entry)| *entry).collect())
        };
        check_newer(&self.ledger)?;

        let build = format!("{} {}", request.project, request.version);
        let keys = keys::collect(&request.builders, request.scheme, &build, now, expires)?;
        let builder = |(name, key): &(BuilderName, keys::Key)| Builder {
            name: name.clone(),
            key: key.public().to_text(),
        };
        let grant = Grant::issue(NewGrant {
            project: request.project,
            version: request.version,
            source: request.source,
            scheme: request.scheme,
            evidence: request.evidence,
            domain: config.notation_domain.clone(),
            builders: keys.iter().map(builder).collect(),
            quorum: request.quorum,
            artifacts: Limits {
                names: request.names,
                max_count: request.max_count.unwrap_or(config.max_count),
                max_bytes: request.max_bytes.unwrap_or(config.max_bytes),
            },
            form: request.form,
            not_before: now,
            expires,
            release_key: release_key.fingerprint(),
        })
        .map_err(GrantError::Terms)?;
        let terms = grant.terms();
        let builders = Builders::of(terms).map_err(GrantError::Builders)?;

        let mut written = Written::begin(&grant, &self.home);
        let paths = written.write(&grant, &keys, &request.output);
        let Paths {
            grant: grant_path,
            keys: key_paths,
        } = paths.map_err(|error| explain(error, &self.ledger))?;
        let event = Event::GrantIssued {
            grant: grant.id(),
            project: terms.project.clone(),
            version: terms.version.clone(),
            expires,
            scheme: terms.scheme,
            evidence: terms.evidence,
            quorum: terms.quorum,
            builders: builders
                .iter()
                .map(|(name, key)| (name.clone(), key.id()))
                .collect(),
            allow_older: request.allow_older,
        };
        let mut earlier = Vec::new();
        let entry = self.ledger.append_if(self.clock, event, |ledger, _| {
            earlier = check_newer(ledger)?;
            Ok::<_, GrantError>(())
        })?;
        written.keep();

        let early = keys.iter().filter(|(_, key)| key.expires_before(expires));
        let outlives_builders = early.map(|(builder, _)| builder.clone()).collect();
        Ok(Issued {
            grant_path,
            keys: key_paths,
            entry,
            earlier,
            outlives_key: release_key.expires().is_some_and(|end| end < expires),
            outlives_builders,
            grant,
        })
    }
}

/// The versions of a project that were granted and not revoked, with their entries.
fn granted(ledger: &Ledger, project: &ProjectName) -> Result<Vec<(Version, u64)>, LedgerError> {
    let mut versions = Vec::new();
    for record in ledger.grants_of(project)? {
        if record.revoked.is_some() {
            continue;
        }
        if let Some(version) = version_of(ledger, record.issued)? {
            versions.push((version, record.issued));
        }
    }
    Ok(versions)
}

/// Refuses a version that is older than one that was granted.
fn check_newer(
    project: &ProjectName,
    version: &Version,
    granted: &[(Version, u64)],
) -> Result<(), GrantError> {
    let newer = |other: &Version| version.order(other).is_lt();
    match granted.iter().find(|(other, _)| newer(other)) {
        Some((newer, entry)) => Err(GrantError::Older {
            project: project.clone(),
            version: version.clone(),
            newer: newer.clone(),
            entry: *entry,
        }),
        None => Ok(()),
    }
}
