//! A builder's word under a grant: the check that H makes before it signs and that others can make again, whatever the
//! scheme; and whether several builders say the same.

use std::collections::BTreeMap;

use crate::domain::artifact::{BadList, MOST_ARTIFACTS, sum_line};
use crate::domain::digest::{GrantId, NotADigest, Sha256};
use crate::domain::evidence::{Differences, EvidenceFiles, EvidenceKind, Scheme};
use crate::domain::grant::{Grant, Terms};
use crate::domain::key::{Fingerprint, HashAlgorithm, pairs};
use crate::domain::manifest::{BadManifest, Manifest};
use crate::domain::name::{ArtifactName, BadName, BuilderName, ProjectName, Version};
use crate::domain::reserved::{ENVELOPE, MAC, MANIFEST, MANIFEST_MAC, MANIFEST_SIGNATURE, SIGNATURE};
use crate::domain::statement::{BadStatement, Statement, names_only};
use crate::domain::time::Timestamp;
use crate::dsse::{self, BadEd25519Key, BadEnvelope};
use crate::mac::{BadMac, MacKey, Tag};
use crate::openpgp::{BadCertificate, BadSignature, Certificate, DetachedSignature, HashState, Signed};

/// How far a builder's clock may be behind, in seconds: its evidence may say that it is so much older than the grant.
pub(super) const SLOW_CLOCK: u32 = 600;

/// The files of one builder's evidence, by name.
pub type Files = BTreeMap<String, Vec<u8>>;

/// The public half of a builder's key.
#[derive(Debug, Clone, PartialEq)]
pub enum BuilderKey {
    /// Of the OpenPGP scheme.
    OpenPgp(Box<Certificate>),
    /// Of the DSSE scheme.
    Ed25519(dsse::PublicKey),
    /// Of the MAC scheme: the SHA-256 of the nonce, which says nothing to anybody else.
    Nonce(Sha256),
}

/// The builders of a grant and their keys, no two of which are one.
#[derive(Debug, Clone)]
pub struct Builders(Vec<(BuilderName, BuilderKey)>);

/// What MACs are checked with.
#[derive(Debug, Clone, Copy)]
pub enum MacCheck<'a> {
    /// The builder's nonce.
    With(&'a MacKey),
    /// Nothing: whoever asks does not have it, and must not conclude anything from a MAC, or has checked this very evidence
    /// before.
    Elsewhere,
}

/// What one builder says it built, under its own key and for this grant. Made by [`check`] alone.
#[derive(Debug, Clone)]
pub struct Attested {
    builder: BuilderName,
    key: BuilderKey,
    claims: BTreeMap<ArtifactName, Claim>,
}

/// What a builder says of one artifact.
#[derive(Debug, Clone)]
enum Claim {
    /// This is its digest: what authenticates it was checked.
    Digest(Sha256),
    /// This signature holds over its bytes.
    Signature(Box<DetachedSignature>),
    /// This MAC fits its digest and name.
    Mac(Tag),
}

/// A builder's key that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadBuilderKey {
    /// Of the OpenPGP scheme.
    #[error(transparent)]
    OpenPgp(#[from] BadCertificate),
    /// Of the DSSE scheme.
    #[error(transparent)]
    Ed25519(#[from] BadEd25519Key),
    /// Of the MAC scheme.
    #[error("is not the SHA-256 of a nonce: {0}")]
    Nonce(#[from] NotADigest),
}

/// Why evidence is refused.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// The key that a grant holds for a builder cannot be read.
    #[error("the key of builder `{builder}` in the grant {fault}")]
    BuildKey {
        /// The builder.
        builder: BuilderName,
        /// What is wrong with its key.
        fault: BadBuilderKey,
    },
    /// Two builders with one key would count twice and be one.
    #[error("builders `{first}` and `{second}` of the grant have the same key")]
    SharedKey {
        /// One.
        first: BuilderName,
        /// The other.
        second: BuilderName,
    },
    /// A file of the evidence.
    #[error("`{0}` is missing")]
    Missing(String),
    /// A signature file, or what it says.
    #[error("`{file}` {fault}")]
    Signature {
        /// The signature.
        file: String,
        /// What is wrong with it.
        fault: BadSignature,
    },
    /// A MAC.
    #[error("`{file}` {fault}")]
    Mac {
        /// The MAC.
        file: String,
        /// What is wrong with it.
        fault: BadMac,
    },
    /// An envelope.
    #[error("`build.dsse.json` {0}")]
    Envelope(#[from] BadEnvelope),
    /// What is in an envelope.
    #[error("the payload of `build.dsse.json` {0}")]
    Statement(#[from] BadStatement),
    /// None of the grant's builders signed.
    #[error("`{file}` is by key {issuer}, which is no build key of this grant ({})", join(builders))]
    NotABuilder {
        /// The signature.
        file: String,
        /// Who signed, by their own word.
        issuer: String,
        /// The builders and their keys.
        builders: Vec<(BuilderName, Fingerprint)>,
    },
    /// Another builder of the grant signed.
    #[error("`{file}` is by builder `{signer}`, but stands for builder `{builder}`")]
    ByOther {
        /// What was signed.
        file: String,
        /// Whose evidence it should be.
        builder: BuilderName,
        /// Whose key signed.
        signer: BuilderName,
    },
    /// The manifest's form.
    #[error("`build.manifest` {0}")]
    Manifest(#[from] BadManifest),
    /// Made for another grant, or for none.
    #[error("`{file}` is for {}, not for {expected}", found.as_ref().map_or_else(|| "no grant".to_owned(), |found| format!("grant {found}")))]
    OtherGrant {
        /// What was signed.
        file: String,
        /// What it says.
        found: Option<String>,
        /// What it is checked against.
        expected: GrantId,
    },
    /// Made with one builder's key in the name of another.
    #[error("`build.manifest` says builder `{found}`, but builder `{signer}` signed it")]
    OtherBuilder {
        /// What it says.
        found: BuilderName,
        /// Whose key made it.
        signer: BuilderName,
    },
    /// Another project or version.
    #[error("`build.manifest` is for {found}, but the grant is for {expected}")]
    OtherBuild {
        /// What it says.
        found: String,
        /// What the grant says.
        expected: String,
    },
    /// A signature of one artifact that does not say of which.
    #[error("`{file}` {}", match found {
        None => format!("has no notation `artifact@{domain}`, which must be the artifact's name"),
        Some(found) => format!("is for artifact `{found}`, as its notation `artifact@{domain}` says"),
    })]
    OtherArtifact {
        /// The signature.
        file: String,
        /// What it says.
        found: Option<String>,
        /// The domain that the grant gives notations.
        domain: String,
    },
    /// Evidence for something that cannot be an artifact.
    #[error("`{file}`: {fault}")]
    Name {
        /// The file of the evidence.
        file: String,
        /// What is wrong.
        fault: BadName,
    },
    /// Evidence for a number of artifacts that no build has.
    #[error("the evidence {0}")]
    List(#[from] BadList),
    /// A name that the grant does not allow.
    #[error("artifact `{name}` is not among the names that the grant allows: {}", patterns.join(", "))]
    NameNotAllowed {
        /// The name.
        name: ArtifactName,
        /// The grant's patterns.
        patterns: Vec<String>,
    },
    /// More artifacts than allowed.
    #[error("the build has {count} artifacts, but the grant allows {limit}")]
    TooMany {
        /// How many there are.
        count: usize,
        /// How many the grant allows.
        limit: u32,
    },
    /// Made outside the grant's time.
    #[error("`{file}` was made at {at}, but the grant counts from {not_before} until {expires}")]
    OutOfTime {
        /// What was made.
        file: String,
        /// When, by its own word.
        at: Timestamp,
        /// From when on the grant counts.
        not_before: Timestamp,
        /// From when on it counts no more.
        expires: Timestamp,
    },
    /// Other bytes than the builder attested.
    #[error("artifact `{name}` has SHA-256 {found}, but builder `{builder}` attested {expected}")]
    Digest {
        /// The artifact.
        name: ArtifactName,
        /// The builder.
        builder: BuilderName,
        /// What it has.
        found: Sha256,
        /// What the builder says.
        expected: Sha256,
    },
    /// Too few builders.
    #[error("the grant asks for {quorum} builders that agree, but there is evidence of {}", listed(builders))]
    Quorum {
        /// What the grant asks for.
        quorum: u32,
        /// Who left evidence.
        builders: Vec<BuilderName>,
    },
    /// Too few builders for one artifact.
    #[error(
        "the grant asks for {quorum} builders that agree, but artifact `{name}` was attested by {}",
        listed(builders)
    )]
    TooFew {
        /// The artifact.
        name: ArtifactName,
        /// What the grant asks for.
        quorum: u32,
        /// Who attested it.
        builders: Vec<BuilderName>,
    },
    /// Two builders that do not agree.
    #[error(transparent)]
    Dissent(#[from] Box<Dissent>),
}

/// Two builders that do not agree, and whatever else differs.
#[derive(Debug, thiserror::Error)]
#[error("builders differ in artifact `{name}`: `{}` has {}, `{}` has {}", one.0, one.1, other.0, other.1)]
pub struct Dissent {
    /// The first artifact in which they do.
    pub name: ArtifactName,
    /// A builder and what it says.
    pub one: (BuilderName, Sha256),
    /// Another builder and what it says.
    pub other: (BuilderName, Sha256),
    /// Everything in which any two differ.
    pub differences: Differences,
}

fn join(builders: &[(BuilderName, Fingerprint)]) -> String {
    builders.iter().map(|(name, key)| format!("`{name}` has {key}")).collect::<Vec<_>>().join(", ")
}

fn listed(builders: &[BuilderName]) -> String {
    match builders {
        [] => "none".to_owned(),
        [one] => format!("one (`{one}`)"),
        all => {
            format!("{} ({})", all.len(), all.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "))
        }
    }
}

impl BuilderKey {
    /// Reads a key of this scheme, as a grant holds it.
    pub fn parse(scheme: Scheme, text: &str) -> Result<Self, BadBuilderKey> {
        Ok(match scheme {
            Scheme::OpenPgp => Self::OpenPgp(Certificate::parse(text.as_bytes())?.into()),
            Scheme::Dsse => Self::Ed25519(dsse::PublicKey::parse(text)?),
            Scheme::Hmac => Self::Nonce(text.parse()?),
        })
    }

    /// As a grant holds it.
    pub fn to_text(&self) -> String {
        match self {
            Self::OpenPgp(certificate) => certificate.armored(),
            Self::Ed25519(key) => key.to_pem(),
            Self::Nonce(commitment) => commitment.to_string(),
        }
    }

    /// As a release holds it; nothing where nobody could do anything with it.
    pub fn public_file(&self) -> Option<Vec<u8>> {
        match self {
            Self::OpenPgp(certificate) => Some(certificate.binary()),
            Self::Ed25519(key) => Some(key.to_pem().into_bytes()),
            Self::Nonce(_) => None,
        }
    }

    /// What to call it in a log: the fingerprint of an OpenPGP key, otherwise the SHA-256 of what a grant holds.
    pub fn id(&self) -> String {
        match self {
            Self::OpenPgp(certificate) => certificate.fingerprint().to_string(),
            Self::Ed25519(key) => format!("sha256:{}", Sha256::of(key.to_pem().as_bytes())),
            Self::Nonce(commitment) => format!("sha256:{commitment}"),
        }
    }

    /// Whether both are one key, under whatever fingerprints.
    pub(super) fn is_one_with(&self, other: &Self) -> bool {
        match (self, other) {
            // The same numbers have another fingerprint with another creation time.
            (Self::OpenPgp(one), Self::OpenPgp(other)) => one.shares_key_with(other),
            (one, other) => one == other,
        }
    }
}

impl Builders {
    /// The builders of a grant.
    pub fn of(terms: &Terms) -> Result<Self, EvidenceError> {
        let mut builders = Vec::new();
        for builder in &terms.builders {
            let key = BuilderKey::parse(terms.scheme, &builder.key)
                .map_err(|fault| EvidenceError::BuildKey { builder: builder.name.clone(), fault })?;
            builders.push((builder.name.clone(), key));
        }
        if let Some(((first, _), (second, _))) = pairs(&builders).find(|((_, one), (_, other))| one.is_one_with(other))
        {
            return Err(EvidenceError::SharedKey { first: first.clone(), second: second.clone() });
        }
        Ok(Self(builders))
    }

    /// Each builder with its key, in the grant's order.
    pub fn iter(&self) -> std::slice::Iter<'_, (BuilderName, BuilderKey)> {
        self.0.iter()
    }

    /// The key of one; `None` for somebody else.
    pub fn key(&self, builder: &BuilderName) -> Option<&BuilderKey> {
        self.0.iter().find(|(name, _)| name == builder).map(|(_, key)| key)
    }
}

/// Checks the evidence in `files` as that of `builder`, who must be one of the grant's: first what authenticates it, then
/// what it says. What authenticates single artifacts is checked by [`Attested::confirm`], when they have been read.
pub fn check(
    grant: &Grant,
    builders: &Builders,
    builder: &BuilderName,
    files: &Files,
    macs: MacCheck<'_>,
    now: Timestamp,
) -> Result<Attested, EvidenceError> {
    let key = builders.key(builder).expect("the evidence is looked for under the names of the grant's builders");
    let claims = match (grant.terms().kind(), key) {
        (EvidenceKind::SignedManifest, BuilderKey::OpenPgp(certificate)) => {
            let (manifest, signature) = (file(files, MANIFEST)?, file(files, MANIFEST_SIGNATURE)?);
            check_signature(grant, builders, builder, certificate, manifest, signature, now)?;
            listed_in(grant, builder, manifest)?
        }
        (EvidenceKind::ManifestMac, BuilderKey::Nonce(_)) => {
            let manifest = file(files, MANIFEST)?;
            check_mac(manifest, file(files, MANIFEST_MAC)?, macs)?;
            listed_in(grant, builder, manifest)?
        }
        (EvidenceKind::Envelope, BuilderKey::Ed25519(key)) => stated_in(grant, file(files, ENVELOPE)?, key)?,
        (EvidenceKind::Signatures, BuilderKey::OpenPgp(_)) => each(grant, files, |bytes, file| {
            let fault = |fault| EvidenceError::Signature { file: file.to_owned(), fault };
            Ok(Claim::Signature(DetachedSignature::parse_evidence(bytes).map_err(fault)?.into()))
        })?,
        (EvidenceKind::Macs, BuilderKey::Nonce(_)) => each(grant, files, |bytes, file| {
            Ok(Claim::Mac(Tag::parse(bytes).map_err(|fault| EvidenceError::Mac { file: file.to_owned(), fault })?))
        })?,
        (_, _) => unreachable!("keys were read as the grant's scheme says"),
    };

    let terms = grant.terms();
    if let Some(name) = claims.keys().find(|name| !terms.artifacts.allow(name)) {
        let patterns = terms.artifacts.names.iter().map(|pattern| format!("`{pattern}`")).collect();
        return Err(EvidenceError::NameNotAllowed { name: name.clone(), patterns });
    }
    check_count(terms, claims.len())?;
    Ok(Attested { builder: builder.clone(), key: key.clone(), claims })
}

/// Whether the grant, or any build at all, can have so many artifacts.
pub(super) fn check_count(terms: &Terms, count: usize) -> Result<(), EvidenceError> {
    let limit = terms.artifacts.max_count;
    match count {
        0 => Err(BadList::Empty.into()),
        _ if count > MOST_ARTIFACTS => Err(BadList::TooMany.into()),
        _ if count > usize::try_from(limit).unwrap_or(usize::MAX) => Err(EvidenceError::TooMany { count, limit }),
        _ => Ok(()),
    }
}

fn file<'a>(files: &'a Files, name: &str) -> Result<&'a [u8], EvidenceError> {
    files.get(name).map(Vec::as_slice).ok_or_else(|| EvidenceError::Missing(name.to_owned()))
}

fn digests<'a>(artifacts: impl Iterator<Item = (&'a ArtifactName, Sha256)>) -> BTreeMap<ArtifactName, Claim> {
    artifacts.map(|(name, digest)| (name.clone(), Claim::Digest(digest))).collect()
}

/// The claims that stand in a file each.
fn each(
    grant: &Grant,
    files: &Files,
    parse: impl Fn(&[u8], &str) -> Result<Claim, EvidenceError>,
) -> Result<BTreeMap<ArtifactName, Claim>, EvidenceError> {
    let EvidenceFiles::Each { suffix, .. } = grant.terms().kind().files() else {
        unreachable!("the caller knows that each artifact has a file")
    };
    let mut claims = BTreeMap::new();
    for (file, bytes) in files {
        let name = file.strip_suffix(suffix).unwrap_or(file);
        let name = name.parse().map_err(|fault| EvidenceError::Name { file: file.clone(), fault })?;
        claims.insert(name, parse(bytes, file)?);
    }
    Ok(claims)
}

/// What the statement in an envelope says, if the builder's key signed it for this grant.
fn stated_in(
    grant: &Grant,
    envelope: &[u8],
    key: &dsse::PublicKey,
) -> Result<BTreeMap<ArtifactName, Claim>, EvidenceError> {
    let statement = Statement::parse(&dsse::open(envelope, key)?)?;
    if !names_only(&statement.grants, grant.id()) {
        let expected = grant.id().to_string();
        let found = statement.grants.into_iter().find(|named| *named != expected);
        return Err(EvidenceError::OtherGrant { file: ENVELOPE.to_owned(), found, expected: grant.id() });
    }
    statement.times.into_iter().try_for_each(|at| check_time(grant, ENVELOPE, at))?;
    Ok(digests(statement.artifacts.iter().map(|artifact| (&artifact.name, artifact.digest))))
}

/// Checks the MAC of a manifest, if there is something to check it with. Nothing of the manifest is parsed for it.
fn check_mac(manifest: &[u8], mac: &[u8], macs: MacCheck<'_>) -> Result<(), EvidenceError> {
    let fault = |fault| EvidenceError::Mac { file: MANIFEST_MAC.to_owned(), fault };
    let tag = Tag::parse(mac).map_err(fault)?;
    match macs {
        MacCheck::With(nonce) => nonce.check(&tag, manifest, MANIFEST).map_err(fault),
        MacCheck::Elsewhere => Ok(()),
    }
}

/// What a manifest lists, if it is of this grant and builder.
fn listed_in(
    grant: &Grant,
    builder: &BuilderName,
    manifest: &[u8],
) -> Result<BTreeMap<ArtifactName, Claim>, EvidenceError> {
    let terms = grant.terms();
    let manifest = Manifest::parse(manifest)?;
    if manifest.grant != grant.id() {
        let found = Some(manifest.grant.to_string());
        return Err(EvidenceError::OtherGrant { file: MANIFEST.to_owned(), found, expected: grant.id() });
    }
    if manifest.builder != *builder {
        return Err(EvidenceError::OtherBuilder { found: manifest.builder, signer: builder.clone() });
    }
    if manifest.project != terms.project || manifest.version != terms.version {
        return Err(EvidenceError::OtherBuild {
            found: build_name(&manifest.project, &manifest.version),
            expected: build_name(&terms.project, &terms.version),
        });
    }
    Ok(digests(manifest.artifacts.iter().map(|artifact| (&artifact.name, artifact.digest))))
}

fn build_name(project: &ProjectName, version: &Version) -> String {
    format!("{project} {version}")
}

/// Checks that the builder's key signed the manifest in the grant's time. Nothing of the manifest is parsed for it.
fn check_signature(
    grant: &Grant,
    builders: &Builders,
    builder: &BuilderName,
    certificate: &Certificate,
    manifest: &[u8],
    signature: &[u8],
    now: Timestamp,
) -> Result<(), EvidenceError> {
    let fault = |fault| EvidenceError::Signature { file: MANIFEST_SIGNATURE.to_owned(), fault };
    let signature = DetachedSignature::parse_evidence(signature).map_err(fault)?;
    let state = HashState::of(manifest, signature.hash());
    let held = |certificate: &Certificate| signature.check(certificate, &state, MANIFEST, now);
    match held(certificate) {
        Ok(signed) => check_time(grant, MANIFEST_SIGNATURE, signed.created),
        Err(BadSignature::OtherKey { issuer, .. }) => {
            Err(not_by(builders, builder, MANIFEST_SIGNATURE, issuer, |certificate| held(certificate).is_ok()))
        }
        Err(error) => Err(fault(error)),
    }
}

/// Whose signature it is, if it is not by the builder that it should be by.
fn not_by(
    builders: &Builders,
    builder: &BuilderName,
    file: &str,
    issuer: String,
    holds: impl Fn(&Certificate) -> bool,
) -> EvidenceError {
    let certificates = builders.iter().filter_map(|(name, key)| match key {
        BuilderKey::OpenPgp(certificate) => Some((name, certificate)),
        BuilderKey::Ed25519(_) | BuilderKey::Nonce(_) => None,
    });
    match certificates.clone().find(|(_, certificate)| holds(certificate)) {
        Some((signer, _)) => {
            EvidenceError::ByOther { file: file.to_owned(), builder: builder.clone(), signer: signer.clone() }
        }
        None => EvidenceError::NotABuilder {
            file: file.to_owned(),
            issuer,
            builders: certificates.map(|(name, certificate)| (name.clone(), certificate.fingerprint())).collect(),
        },
    }
}

/// Refuses what was made before the grant, as far as a slow clock does not explain it, or after its end.
fn check_time(grant: &Grant, file: &str, at: Timestamp) -> Result<(), EvidenceError> {
    let (not_before, expires) = (grant.terms().not_before, grant.terms().expires);
    match at < not_before.before(SLOW_CLOCK) || at >= expires {
        true => Err(EvidenceError::OutOfTime { file: file.to_owned(), at, not_before, expires }),
        false => Ok(()),
    }
}

impl Attested {
    /// Who says so.
    pub fn builder(&self) -> &BuilderName {
        &self.builder
    }

    /// Its key.
    pub fn key(&self) -> &BuilderKey {
        &self.key
    }

    /// The artifacts that it speaks of.
    pub fn names(&self) -> impl Iterator<Item = &ArtifactName> {
        self.claims.keys()
    }

    /// Whether it speaks of this artifact.
    pub fn speaks_of(&self, name: &ArtifactName) -> bool {
        self.claims.contains_key(name)
    }

    /// The digest that it gives an artifact; `None` where that shows when the artifact is read.
    fn digest(&self, name: &ArtifactName) -> Option<Sha256> {
        match self.claims.get(name)? {
            Claim::Digest(digest) => Some(*digest),
            Claim::Signature(_) | Claim::Mac(_) => None,
        }
    }

    /// The hash function with which it speaks of an artifact: the state that [`Attested::confirm`] sees must have it.
    pub fn hash(&self, name: &ArtifactName) -> Option<HashAlgorithm> {
        match self.claims.get(name)? {
            Claim::Signature(signature) => Some(signature.hash()),
            Claim::Digest(_) | Claim::Mac(_) => Some(HashAlgorithm::Sha256),
        }
    }

    /// Checks that an artifact that it speaks of, of whose bytes this is the hash state, is what it attested.
    pub fn confirm(
        &self,
        grant: &Grant,
        builders: &Builders,
        name: &ArtifactName,
        state: &HashState,
        macs: MacCheck<'_>,
        now: Timestamp,
    ) -> Result<(), EvidenceError> {
        let found = state.sha256();
        match (&self.claims[name], &self.key) {
            (Claim::Digest(expected), _) if *expected == found => Ok(()),
            (Claim::Digest(expected), _) => Err(EvidenceError::Digest {
                name: name.clone(),
                builder: self.builder.clone(),
                found,
                expected: *expected,
            }),
            (Claim::Signature(signature), BuilderKey::OpenPgp(certificate)) => {
                let file = format!("{name}{SIGNATURE}");
                match signature.check(certificate, state, name.as_str(), now) {
                    Ok(signed) => {
                        check_time(grant, &file, signed.created)?;
                        check_notations(grant, &file, name, &signed)
                    }
                    Err(BadSignature::OtherKey { issuer, .. }) => {
                        Err(not_by(builders, &self.builder, &file, issuer, |it| {
                            signature.check(it, state, name.as_str(), now).is_ok()
                        }))
                    }
                    Err(fault) => Err(EvidenceError::Signature { file, fault }),
                }
            }
            (Claim::Mac(tag), _) => match macs {
                MacCheck::With(nonce) => nonce
                    .check(tag, sum_line(&found, name.as_str()).as_bytes(), "its artifact under that name")
                    .map_err(|fault| EvidenceError::Mac { file: format!("{name}{MAC}"), fault }),
                MacCheck::Elsewhere => Ok(()),
            },
            (Claim::Signature(_), BuilderKey::Ed25519(_) | BuilderKey::Nonce(_)) => {
                unreachable!("only an OpenPGP key makes OpenPGP signatures")
            }
        }
    }
}

/// A signature of one artifact binds its name and the grant, each by a notation that stands in it once.
fn check_notations(grant: &Grant, file: &str, name: &ArtifactName, signed: &Signed) -> Result<(), EvidenceError> {
    let domain = grant.terms().domain.clone().expect("a grant for such signatures has a domain");
    let only = |what: &str| {
        let wanted = format!("{what}@{domain}");
        let mut values = signed.notations.iter().filter(|(found, _)| *found == wanted).map(|(_, value)| value);
        match (values.next(), values.next()) {
            (Some(value), None) => Some(value.chars().take(200).collect::<String>()),
            (_, _) => None,
        }
    };
    let (artifact, id) = (only("artifact"), only("grant"));
    if artifact.as_deref() != Some(name.as_str()) {
        return Err(EvidenceError::OtherArtifact { file: file.to_owned(), found: artifact, domain });
    }
    if id != Some(grant.id().to_string()) {
        return Err(EvidenceError::OtherGrant { file: file.to_owned(), found: id, expected: grant.id() });
    }
    Ok(())
}

/// Which builders speak of each artifact, if there are enough of them for every one and no two are known to differ.
pub fn settle(terms: &Terms, attested: &[Attested]) -> Result<BTreeMap<ArtifactName, Vec<BuilderName>>, EvidenceError> {
    let quorum = usize::try_from(terms.quorum).expect("no more than there are builders");
    if attested.len() < quorum {
        let builders = attested.iter().map(|attested| attested.builder.clone()).collect();
        return Err(EvidenceError::Quorum { quorum: terms.quorum, builders });
    }
    let mut artifacts = BTreeMap::<ArtifactName, Vec<BuilderName>>::new();
    for attested in attested {
        for name in attested.names() {
            artifacts.entry(name.clone()).or_default().push(attested.builder.clone());
        }
    }
    check_count(terms, artifacts.len())?;
    for name in artifacts.keys() {
        let mut digests = attested.iter().filter_map(|it| Some((it.builder.clone(), it.digest(name)?)));
        let Some(one) = digests.next() else { continue };
        if let Some(other) = digests.find(|(_, digest)| *digest != one.1) {
            let differences = differences(attested);
            return Err(Box::new(Dissent { name: name.clone(), one, other, differences }).into());
        }
    }
    match artifacts.iter().find(|(_, builders)| builders.len() < quorum) {
        Some((name, builders)) => {
            Err(EvidenceError::TooFew { name: name.clone(), quorum: terms.quorum, builders: builders.clone() })
        }
        None => Ok(artifacts),
    }
}

/// The artifacts of which builders give different digests, or that some of them did not build. Of those that are attested
/// one by one, nothing is known before they are read.
pub fn differences(attested: &[Attested]) -> Differences {
    let mut all = Differences::new();
    for name in attested.iter().flat_map(Attested::names) {
        all.entry(name.clone()).or_insert_with(|| {
            attested.iter().map(|attested| (attested.builder.clone(), attested.digest(name))).collect()
        });
    }
    differing(all)
}

/// Those of the artifacts of which not every builder says the same.
pub(super) fn differing(mut all: Differences) -> Differences {
    all.retain(|_, said| said.values().any(|digest| Some(digest) != said.values().next()));
    all
}
