//! The check of one builder's evidence under a grant, whatever the scheme: H makes it before it
//! signs, and others can make it again.

use std::collections::BTreeMap;

use super::builders::{BuilderKey, Builders};
use super::error::EvidenceError;
use crate::domain::artifact::sum_line;
use crate::domain::digest::Sha256;
use crate::domain::evidence::{EvidenceFiles, EvidenceKind};
use crate::domain::grant::{Bounds, Grant, judge_time};
use crate::domain::key::HashAlgorithm;
use crate::domain::malformed::Malformed;
use crate::domain::manifest::Manifest;
use crate::domain::name::{ArtifactName, BuilderName};
use crate::domain::reserved::{
    ENVELOPE, MAC, MANIFEST, MANIFEST_MAC, MANIFEST_SIGNATURE, SIGNATURE,
};
use crate::domain::statement::{Statement, names_only};
use crate::domain::time::Timestamp;
use crate::dsse::{self, Envelope};
use crate::mac::{MacKey, Tag};
use crate::openpgp::{BadSignature, Certificate, DetachedSignature, HashState, Signed};

/// The files of one builder's evidence, by name.
pub type Files = BTreeMap<String, Vec<u8>>;

/// What MACs are checked with.
#[derive(Debug, Clone, Copy)]
pub enum MacCheck<'a> {
    /// The builder's nonce.
    With(&'a MacKey),
    /// Nothing: the caller does not have it, and must not conclude anything from a MAC, or has
    /// checked this very evidence before.
    Elsewhere,
}

/// What one builder attested, with its own key and for this grant. Made by [`check`] alone.
#[derive(Debug, Clone)]
pub struct Attested {
    builder: BuilderName,
    key: BuilderKey,
    claims: BTreeMap<ArtifactName, Claim>,
}

/// What a builder attested of one artifact.
#[derive(Debug, Clone)]
enum Claim {
    /// This is its digest: what authenticates it was checked.
    Digest(Sha256),
    /// This signature is over its bytes.
    Signature(Box<DetachedSignature>),
    /// This MAC fits its digest and name.
    Mac(Tag),
}

/// Checks the evidence in `files`, in the form in which it is [kept](super::kept), as that of
/// `builder`, who must be one of the grant's: first what authenticates it, then what it says. What
/// authenticates single artifacts is checked by [`Attested::confirm`], when they have been read.
pub fn check(
    grant: &Grant,
    builders: &Builders,
    builder: &BuilderName,
    files: &Files,
    macs: MacCheck<'_>,
    now: Timestamp,
) -> Result<Attested, EvidenceError> {
    let key = builders
        .key(builder)
        .expect("the evidence is looked for under the names of the grant's builders");
    let claims = match (grant.terms().kind(), key) {
        (EvidenceKind::SignedManifest, BuilderKey::OpenPgp(certificate)) => {
            let manifest = file(files, MANIFEST)?;
            let signature = file(files, MANIFEST_SIGNATURE)?;
            check_signature(
                grant,
                builders,
                builder,
                certificate,
                manifest,
                signature,
                now,
            )?;
            listed_in(grant, builder, manifest)?
        }
        (EvidenceKind::ManifestMac, BuilderKey::Nonce(_)) => {
            let manifest = file(files, MANIFEST)?;
            check_mac(manifest, file(files, MANIFEST_MAC)?, macs)?;
            listed_in(grant, builder, manifest)?
        }
        (EvidenceKind::Envelope, BuilderKey::Ed25519(key)) => {
            stated_in(grant, file(files, ENVELOPE)?, key)?
        }
        (EvidenceKind::Signatures, BuilderKey::OpenPgp(_)) => each(grant, files, |bytes, file| {
            let signature = DetachedSignature::parse_kept(bytes);
            let signature = signature.map_err(EvidenceError::signature(file))?;
            Ok(Claim::Signature(signature.into()))
        })?,
        (EvidenceKind::Macs, BuilderKey::Nonce(_)) => each(grant, files, |bytes, file| {
            Ok(Claim::Mac(
                Tag::parse(bytes).map_err(EvidenceError::file(file))?,
            ))
        })?,
        (_, _) => unreachable!("keys were read by the grant's scheme"),
    };

    check_names(&grant.terms().bounds(), claims.keys())?;
    Ok(Attested {
        builder: builder.clone(),
        key: key.clone(),
        claims,
    })
}

/// Whether the build may have these artifacts, as far as that can be known before they are read.
pub(super) fn check_names<'a>(
    bounds: &Bounds,
    names: impl ExactSizeIterator<Item = &'a ArtifactName>,
) -> Result<(), EvidenceError> {
    check_count(bounds, names.len())?;
    Ok(bounds.judge_names(names.map(ArtifactName::as_str))?)
}

/// Whether the grant, or any build at all, can have this many artifacts.
pub(in crate::steps) fn check_count(bounds: &Bounds, count: usize) -> Result<(), EvidenceError> {
    if count == 0 {
        let text = "the evidence lists no artifact";
        return Err(EvidenceError::NoArtifact(text.to_owned()));
    }
    Ok(bounds.judge_count(count)?)
}

fn file<'a>(files: &'a Files, name: &str) -> Result<&'a [u8], EvidenceError> {
    files
        .get(name)
        .map(Vec::as_slice)
        .ok_or_else(|| EvidenceError::invalid(format!("`{name}` is missing")))
}

fn digests<'a>(
    artifacts: impl Iterator<Item = (&'a ArtifactName, Sha256)>,
) -> BTreeMap<ArtifactName, Claim> {
    artifacts
        .map(|(name, digest)| (name.clone(), Claim::Digest(digest)))
        .collect()
}

/// The claims that are in a file each.
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
        let name = name
            .parse()
            .map_err(|fault: Malformed| EvidenceError::NoArtifact(format!("`{file}`: {fault}")))?;
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
    let statement = Envelope::parse_kept(envelope)
        .and_then(|envelope| Statement::parse(envelope.open(key)?))
        .map_err(EvidenceError::file(ENVELOPE))?;
    if !names_only(&statement.grants, grant.id()) {
        let expected = grant.id().to_string();
        let found = statement
            .grants
            .into_iter()
            .find(|named| *named != expected);
        return Err(EvidenceError::other_grant(ENVELOPE, found, grant));
    }
    statement
        .times
        .into_iter()
        .try_for_each(|at| check_time(grant, ENVELOPE, at))?;
    Ok(digests(
        statement
            .artifacts
            .iter()
            .map(|artifact| (&artifact.name, artifact.digest)),
    ))
}

/// Checks the MAC of a manifest, if there is something to check it with. Nothing of the manifest is
/// parsed for it.
fn check_mac(manifest: &[u8], mac: &[u8], macs: MacCheck<'_>) -> Result<(), EvidenceError> {
    let tag = Tag::parse(mac).map_err(EvidenceError::file(MANIFEST_MAC))?;
    match macs {
        MacCheck::With(nonce) => nonce
            .check(&tag, manifest, "`build.manifest`")
            .map_err(EvidenceError::file(MANIFEST_MAC)),
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
    let manifest = Manifest::parse(manifest).map_err(EvidenceError::file(MANIFEST))?;
    if manifest.grant != grant.id() {
        let found = Some(manifest.grant.to_string());
        return Err(EvidenceError::other_grant(MANIFEST, found, grant));
    }
    if manifest.builder != *builder {
        return Err(EvidenceError::invalid(format!(
            "`{MANIFEST}` names builder `{}`, but builder `{builder}` signed it",
            manifest.builder
        )));
    }
    if manifest.project != terms.project || manifest.version != terms.version {
        return Err(EvidenceError::invalid(format!(
            "`{MANIFEST}` is for {} {}, but the grant is for {} {}",
            manifest.project, manifest.version, terms.project, terms.version
        )));
    }
    Ok(digests(
        manifest
            .artifacts
            .iter()
            .map(|artifact| (&artifact.name, artifact.digest)),
    ))
}

/// Checks that the builder's key signed the manifest in the grant's time. Nothing of the manifest
/// is parsed for it.
fn check_signature(
    grant: &Grant,
    builders: &Builders,
    builder: &BuilderName,
    certificate: &Certificate,
    manifest: &[u8],
    signature: &[u8],
    now: Timestamp,
) -> Result<(), EvidenceError> {
    let fault = EvidenceError::signature(MANIFEST_SIGNATURE);
    let signature = DetachedSignature::parse_kept(signature).map_err(&fault)?;
    let state = HashState::of(manifest, signature.hash());
    let check = |certificate: &Certificate| signature.check(certificate, &state, MANIFEST, now);
    match check(certificate) {
        Ok(signed) => check_time(grant, MANIFEST_SIGNATURE, signed.created),
        Err(BadSignature::OtherKey { issuer, .. }) => Err(not_by(
            builders,
            builder,
            MANIFEST_SIGNATURE,
            issuer,
            |certificate| check(certificate).is_ok(),
        )),
        Err(error) => Err(fault(error)),
    }
}

/// Whose signature it is, if it is not by the builder that it should be by.
fn not_by(
    builders: &Builders,
    builder: &BuilderName,
    file: &str,
    issuer: String,
    signed: impl Fn(&Certificate) -> bool,
) -> EvidenceError {
    let certificates = builders.iter().filter_map(|(name, key)| match key {
        BuilderKey::OpenPgp(certificate) => Some((name, certificate)),
        BuilderKey::Ed25519(_) | BuilderKey::Nonce(_) => None,
    });
    match certificates
        .clone()
        .find(|(_, certificate)| signed(certificate))
    {
        Some((signer, _)) => EvidenceError::ByOther {
            file: file.to_owned(),
            builder: builder.clone(),
            signer: signer.clone(),
        },
        None => {
            let keys: Vec<_> = certificates
                .map(|(name, certificate)| format!("`{name}` has {}", certificate.fingerprint()))
                .collect();
            EvidenceError::invalid(format!(
                "`{file}` is by key {issuer}, which is not a build key of this grant ({})",
                keys.join(", ")
            ))
        }
    }
}

fn check_time(grant: &Grant, file: &str, at: Timestamp) -> Result<(), EvidenceError> {
    let terms = grant.terms();
    judge_time(at, terms.not_before, terms.expires).map_err(EvidenceError::file(file))
}

impl Attested {
    /// Who attested it.
    pub fn builder(&self) -> &BuilderName {
        &self.builder
    }

    /// Its key.
    pub fn key(&self) -> &BuilderKey {
        &self.key
    }

    /// The artifacts that it covers.
    pub fn names(&self) -> impl Iterator<Item = &ArtifactName> {
        self.claims.keys()
    }

    /// Whether it covers this artifact.
    pub fn covers(&self, name: &ArtifactName) -> bool {
        self.claims.contains_key(name)
    }

    /// The digest that it gives an artifact; `None` where that shows when the artifact is read.
    pub(super) fn digest(&self, name: &ArtifactName) -> Option<Sha256> {
        match self.claims.get(name)? {
            Claim::Digest(digest) => Some(*digest),
            Claim::Signature(_) | Claim::Mac(_) => None,
        }
    }

    /// The hash function with which it covers an artifact: the state that [`Attested::confirm`]
    /// sees must have it.
    pub fn hash(&self, name: &ArtifactName) -> Option<HashAlgorithm> {
        match self.claims.get(name)? {
            Claim::Signature(signature) => Some(signature.hash()),
            Claim::Digest(_) | Claim::Mac(_) => Some(HashAlgorithm::Sha256),
        }
    }

    /// Checks that an artifact that it covers, of whose bytes this is the hash state, is what it
    /// attested.
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
                    Err(fault) => Err(EvidenceError::signature(&file)(fault)),
                }
            }
            (Claim::Mac(tag), _) => match macs {
                MacCheck::With(nonce) => nonce
                    .check(
                        tag,
                        sum_line(&found, name.as_str()).as_bytes(),
                        "its artifact under that name",
                    )
                    .map_err(EvidenceError::file(&format!("{name}{MAC}"))),
                MacCheck::Elsewhere => Ok(()),
            },
            (Claim::Signature(_), BuilderKey::Ed25519(_) | BuilderKey::Nonce(_)) => {
                unreachable!("only an OpenPGP key makes OpenPGP signatures")
            }
        }
    }
}

/// A signature of one artifact binds its name and the grant, each by a notation that it has once.
fn check_notations(
    grant: &Grant,
    file: &str,
    name: &ArtifactName,
    signed: &Signed,
) -> Result<(), EvidenceError> {
    let domain = grant
        .terms()
        .domain
        .clone()
        .expect("a grant for such signatures has a domain");
    let only = |what: &str| {
        let wanted = format!("{what}@{domain}");
        let mut values = signed
            .notations
            .iter()
            .filter(|(found, _)| *found == wanted)
            .map(|(_, value)| value);
        match (values.next(), values.next()) {
            (Some(value), None) => Some(value.chars().take(200).collect::<String>()),
            (_, _) => None,
        }
    };
    let artifact = only("artifact");
    if artifact.as_deref() != Some(name.as_str()) {
        return Err(EvidenceError::invalid(match artifact {
            None => format!(
                "`{file}` has no notation `artifact@{domain}`, which must be the artifact's name"
            ),
            Some(found) => format!(
                "`{file}` is for artifact `{found}`, as its notation `artifact@{domain}` says"
            ),
        }));
    }
    let id = only("grant");
    if id != Some(grant.id().to_string()) {
        return Err(EvidenceError::other_grant(file, id, grant));
    }
    Ok(())
}
