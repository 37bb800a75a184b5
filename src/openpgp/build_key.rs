//! The build key: an Ed25519 key that lives for one build, in one file that carries all that M needs to know.

use sequoia_openpgp as openpgp;

use openpgp::Cert;
use openpgp::armor;
use openpgp::cert::{CertBuilder, CipherSuite};
use openpgp::crypto::Signer;
use openpgp::packet::signature::SignatureBuilder;
use openpgp::parse::Parse;
use openpgp::policy::StandardPolicy;
use openpgp::serialize::{Serialize, SerializeInto};
use openpgp::types::{KeyFlags, SignatureType};
use openpgp::{Packet, Profile};
use std::fmt;
use zeroize::Zeroizing;

use super::certificate::{Certificate, first_line};
use super::hash::HashState;
use crate::domain::digest::GrantId;
use crate::domain::grant::NamePattern;
use crate::domain::key::HashAlgorithm;
use crate::domain::name::{BuilderName, ProjectName, Version};
use crate::domain::time::Timestamp;

/// The largest build-key file that is read, in bytes.
pub const LARGEST_BUILD_KEY: u64 = 64 << 10;

/// The secret of one builder under one grant.
pub struct BuildKey {
    secret: Cert,
    label: BuildKeyLabel,
}

/// What the armour headers of a build key's file say. M takes it over into the manifest; only H's check of the manifest
/// against the grant gives it weight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildKeyLabel {
    /// The grant the key was made for.
    pub grant: GrantId,
    /// The builder it was made for.
    pub builder: BuilderName,
    /// What is built.
    pub project: ProjectName,
    /// Its version.
    pub version: Version,
    /// Patterns of which the grant wants one to fit each artifact's name.
    pub names: Vec<NamePattern>,
}

/// A file that is not a build key.
#[derive(Debug, thiserror::Error)]
pub enum BadBuildKey {
    /// Not an armoured secret key.
    #[error("is not an armoured OpenPGP secret key: {0}")]
    Malformed(String),
    /// A key, but without what `grant` writes into its armour.
    #[error("has no armour header `Comment: {0} …`; it was not made by `countersign grant`, or was exported anew")]
    Unlabelled(&'static str),
    /// A header that cannot be read.
    #[error("has an armour header that cannot be read: {0}")]
    Label(String),
    /// Without a secret, or protected by a passphrase.
    #[error("has no usable secret: {0}")]
    NoSecret(String),
}

impl BuildKey {
    /// Makes the key pair of a build: OpenPGP v4, Ed25519 as EdDSALegacy so that gpg 2.2 reads it. Who will use it is told
    /// by `user_id`; the grant is not known yet, because it will name this key.
    pub fn generate(user_id: &str, created: Timestamp, expires: Timestamp) -> GeneratedKey {
        let made = CertBuilder::new()
            .set_profile(Profile::RFC4880)
            .and_then(|builder| {
                builder
                    .set_cipher_suite(CipherSuite::Cv25519)
                    .set_creation_time(created.system())
                    .set_validity_period(expires.since(created))
                    .set_primary_key_flags(KeyFlags::empty().set_certification().set_signing())
                    .add_userid(user_id)
                    .generate()
            })
            .expect("a v4 Ed25519 key can be made");
        GeneratedKey(made.0)
    }

    /// Reads the file that [`GeneratedKey::to_file`] made.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadBuildKey> {
        let malformed = |error: String| BadBuildKey::Malformed(error);
        let mut reader = armor::Reader::from_bytes(bytes, armor::ReaderMode::Tolerant(Some(armor::Kind::SecretKey)));
        let headers = reader.headers().map_err(|error| malformed(error.to_string()))?.to_vec();
        let secret = Cert::from_reader(reader).map_err(|error| malformed(first_line(&error)))?;
        let key = Self { secret, label: BuildKeyLabel::from_headers(&headers)? };
        key.signer()?;
        Ok(key)
    }

    /// What it was made for.
    pub fn label(&self) -> &BuildKeyLabel {
        &self.label
    }

    /// When it expires, with its grant.
    pub fn expires(&self) -> Option<Timestamp> {
        let policy = StandardPolicy::new();
        let created = self.secret.primary_key().key().creation_time();
        let valid = self.secret.with_policy(&policy, created).ok()?;
        valid.primary_key().key_expiration_time().map(Timestamp::from)
    }

    /// Makes a detached, binary-form signature over the bytes that `state` has seen.
    pub fn sign(&self, state: &HashState, now: Timestamp) -> Result<Vec<u8>, BadBuildKey> {
        let context = state.context(HashAlgorithm::Sha256).expect("a state always has SHA-256");
        let unusable = |error: openpgp::anyhow::Error| BadBuildKey::NoSecret(first_line(&error));
        let signature = SignatureBuilder::new(SignatureType::Binary)
            .set_signature_creation_time(now.system())
            .and_then(|builder| builder.sign_hash(&mut *self.signer()?, context))
            .map_err(unusable)?;
        Packet::from(signature).to_vec().map_err(unusable)
    }

    fn signer(&self) -> Result<Box<dyn Signer>, BadBuildKey> {
        let unusable = |error: openpgp::anyhow::Error| BadBuildKey::NoSecret(first_line(&error));
        let key = self.secret.primary_key().key().clone().parts_into_secret().map_err(unusable)?;
        if key.secret().is_encrypted() {
            return Err(BadBuildKey::NoSecret("it is protected by a passphrase".to_owned()));
        }
        Ok(Box::new(key.into_keypair().map_err(unusable)?))
    }
}

/// A build key whose grant is still to be written.
pub struct GeneratedKey(Cert);

impl GeneratedKey {
    /// The public half, for the grant.
    pub fn certificate(&self) -> Certificate {
        Certificate::of(self.0.clone().strip_secret_key_material()).expect("it is v4 and without secrets")
    }

    /// The file for M: armoured, with `label` in its headers. `gpg --import` takes it as it is.
    pub fn to_file(&self, label: &BuildKeyLabel) -> Zeroizing<Vec<u8>> {
        // Space for the whole file at once: a vector that grows leaves copies of the secret behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(LARGEST_BUILD_KEY as usize));
        let headers = label.to_headers();
        let headers = headers.iter().map(|text| ("Comment", text.as_str()));
        let mut writer =
            armor::Writer::with_headers(&mut *bytes, armor::Kind::SecretKey, headers).expect("memory can be written");
        self.0.as_tsk().serialize(&mut writer).expect("memory can be written");
        writer.finalize().expect("memory can be written");
        bytes
    }
}

impl BuildKeyLabel {
    /// In `Comment`, because OpenPGP knows a `Version` header of its own (RFC 9580, section 6.2.2.1).
    fn to_headers(&self) -> Vec<String> {
        let Self { grant, builder, project, version, names } = self;
        let build = [
            format!("grant {grant}"),
            format!("builder {builder}"),
            format!("project {project}"),
            format!("version {version}"),
        ];
        build.into_iter().chain(names.iter().map(|pattern| format!("name {pattern}"))).collect()
    }

    fn from_headers(headers: &[(String, String)]) -> Result<Self, BadBuildKey> {
        let values = |name: &'static str| {
            let comments = headers.iter().filter(|(key, _)| key == "Comment");
            comments.filter_map(move |(_, value)| value.strip_prefix(name)?.strip_prefix(' ')).map(str::trim_end)
        };
        let value = |name: &'static str| {
            let mut values = values(name);
            match (values.next(), values.next()) {
                (Some(value), None) => Ok(value),
                _ => Err(BadBuildKey::Unlabelled(name)),
            }
        };
        let names = values("name").map(parsed).collect::<Result<Vec<_>, _>>()?;
        if names.is_empty() {
            return Err(BadBuildKey::Unlabelled("name"));
        }
        Ok(Self {
            grant: parsed(value("grant")?)?,
            builder: parsed(value("builder")?)?,
            project: parsed(value("project")?)?,
            version: parsed(value("version")?)?,
            names,
        })
    }
}

fn parsed<T: std::str::FromStr<Err: fmt::Display>>(text: &str) -> Result<T, BadBuildKey> {
    text.parse().map_err(|error: T::Err| BadBuildKey::Label(error.to_string()))
}

impl fmt::Debug for BuildKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BuildKey").field("label", &self.label).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openpgp::DetachedSignature;

    #[test]
    fn a_build_key_comes_back_from_its_file_and_signs() {
        let time = |text: &str| text.parse::<Timestamp>().expect("a time");
        let (created, expires) = (time("2026-11-22T09:50:00Z"), time("2026-11-22T16:00:00Z"));
        let generated = BuildKey::generate("m1, foo 1.2.3", created, expires);
        let label = BuildKeyLabel {
            grant: GrantId::of(b"grant"),
            builder: "m1".parse().expect("a name"),
            project: "foo".parse().expect("a name"),
            version: "1.2.3".parse().expect("a version"),
            names: vec!["foo*".parse().expect("a pattern"), "* *".parse().expect("a pattern")],
        };
        let file = generated.to_file(&label);
        let key = BuildKey::parse(&file).expect("a build key");
        assert_eq!((key.label(), key.expires()), (&label, Some(expires)));

        let state = HashState::of(b"manifest", HashAlgorithm::Sha256);
        let now = time("2026-11-22T10:00:00Z");
        let signature = DetachedSignature::parse(&key.sign(&state, now).expect("signed")).expect("one signature");
        assert!(signature.check(&generated.certificate(), &state, "manifest", now).is_ok());

        let public = generated.certificate().armored();
        assert!(matches!(BuildKey::parse(public.as_bytes()), Err(BadBuildKey::Malformed(_))));
        let unlabelled: String = String::from_utf8_lossy(&file).replace("Comment: grant", "Comment: grunt");
        assert!(matches!(BuildKey::parse(unlabelled.as_bytes()), Err(BadBuildKey::Unlabelled("grant"))));
        assert!(!format!("{key:?}").contains("PRIVATE"));
    }
}
