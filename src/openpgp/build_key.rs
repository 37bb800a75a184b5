//! The build key of the OpenPGP scheme: an Ed25519 key for one build, in one armoured file.

use sequoia_openpgp as openpgp;

use openpgp::Cert;
use openpgp::armor;
use openpgp::cert::{CertBuilder, CipherSuite};
use openpgp::crypto::Signer;
use openpgp::packet::signature::SignatureBuilder;
use openpgp::packet::signature::subpacket::NotationDataFlags;
use openpgp::parse::Parse;
use openpgp::policy::StandardPolicy;
use openpgp::serialize::{Serialize, SerializeInto};
use openpgp::types::{KeyFlags, SignatureType};
use openpgp::{Packet, Profile};
use std::fmt;
use zeroize::Zeroizing;

use super::certificate::Certificate;
use super::hash::HashState;
use super::reason::first_line;
use crate::domain::build_key::BuildKeyLabel;
use crate::domain::key::HashAlgorithm;
use crate::domain::malformed::Malformed;
use crate::domain::time::Timestamp;

/// The largest build-key file that is read, in bytes.
pub const LARGEST_BUILD_KEY: u64 = 64 << 10;

/// The secret of one builder.
pub struct BuildKey {
    secret: Cert,
    certificate: Certificate,
    label: Option<BuildKeyLabel>,
}

impl BuildKey {
    /// Makes the key pair of a build: OpenPGP v4, Ed25519 as EdDSALegacy so that gpg 2.2 reads it.
    /// The `user_id` names the builder, not the grant: that does not exist yet, and will name this
    /// key.
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
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let malformed = |reason: String| {
            Malformed::new(format!(
                "the key is not an armoured OpenPGP secret key: {reason}"
            ))
        };
        let mut reader = armor::Reader::from_bytes(
            bytes,
            armor::ReaderMode::Tolerant(Some(armor::Kind::SecretKey)),
        );
        let headers = reader
            .headers()
            .map_err(|error| malformed(error.to_string()))?
            .to_vec();
        let secret = Cert::from_reader(reader).map_err(|error| malformed(first_line(&error)))?;
        let comments = headers
            .iter()
            .filter(|(key, _)| key == "Comment")
            .map(|(_, value)| value.as_str());
        let certificate = Certificate::of(secret.clone().strip_secret_key_material())?;
        let key = Self {
            secret,
            certificate,
            label: BuildKeyLabel::from_lines(comments)?,
        };
        key.signer()?;
        Ok(key)
    }

    /// What it was made for; `None` if it was made before its grant.
    pub fn label(&self) -> Option<&BuildKeyLabel> {
        self.label.as_ref()
    }

    /// The public half.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// When it expires, with its grant.
    pub fn expires(&self) -> Option<Timestamp> {
        let policy = StandardPolicy::new();
        let created = self.secret.primary_key().key().creation_time();
        let valid = self.secret.with_policy(&policy, created).ok()?;
        valid
            .primary_key()
            .key_expiration_time()
            .map(Timestamp::from)
    }

    /// Makes a detached, binary-form signature over the bytes that `state` has seen, with these
    /// notations.
    pub fn sign(
        &self,
        state: &HashState,
        notations: &[(String, String)],
        now: Timestamp,
    ) -> Result<Vec<u8>, Malformed> {
        let context = state
            .context(HashAlgorithm::Sha256)
            .expect("a state always has SHA-256");
        let mut builder = SignatureBuilder::new(SignatureType::Binary)
            .set_signature_creation_time(now.system())
            .map_err(unusable)?;
        for (name, value) in notations {
            let readable = NotationDataFlags::empty().set_human_readable();
            builder = builder
                .add_notation(name, value, readable, false)
                .map_err(unusable)?;
        }
        let signature = builder
            .sign_hash(&mut *self.signer()?, context)
            .map_err(unusable)?;
        Packet::from(signature).to_vec().map_err(unusable)
    }

    fn signer(&self) -> Result<Box<dyn Signer>, Malformed> {
        let key = self
            .secret
            .primary_key()
            .key()
            .clone()
            .parts_into_secret()
            .map_err(unusable)?;
        if key.secret().is_encrypted() {
            return Err(Malformed::new("the key is protected by a passphrase"));
        }
        Ok(Box::new(key.into_keypair().map_err(unusable)?))
    }
}

fn unusable(error: openpgp::anyhow::Error) -> Malformed {
    let reason = first_line(&error);
    Malformed::new(format!("the key cannot make a signature: {reason}"))
}

/// A build key whose grant does not exist yet.
pub struct GeneratedKey(Cert);

impl GeneratedKey {
    /// The public half, for the grant.
    pub fn certificate(&self) -> Certificate {
        Certificate::of(self.0.clone().strip_secret_key_material())
            .expect("it is v4 and without secrets")
    }

    /// The file for M: armoured, with `label` in its headers. `gpg --import` accepts it. The
    /// headers are named `Comment`, because OpenPGP has a `Version` of its own (RFC 9580, section
    /// 6.2.2.1).
    pub fn to_file(&self, label: Option<&BuildKeyLabel>) -> Zeroizing<Vec<u8>> {
        // With space for the whole file: a growing vector leaves copies of the secret behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(LARGEST_BUILD_KEY as usize));
        let headers = label.map(BuildKeyLabel::to_lines).unwrap_or_default();
        let headers = headers.iter().map(|text| ("Comment", text.as_str()));
        let mut writer = armor::Writer::with_headers(&mut *bytes, armor::Kind::SecretKey, headers)
            .expect("memory can be written");
        self.0
            .as_tsk()
            .serialize(&mut writer)
            .expect("memory can be written");
        writer.finalize().expect("memory can be written");
        bytes
    }
}

impl fmt::Debug for BuildKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BuildKey")
            .field("label", &self.label)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::digest::GrantId;
    use crate::domain::grant::Bounds;
    use crate::openpgp::DetachedSignature;

    #[test]
    fn a_build_key_reads_back_from_its_file_and_signs() {
        let time = |text: &str| text.parse::<Timestamp>().expect("a time");
        let created = time("2026-11-22T09:50:00Z");
        let expires = time("2026-11-22T16:00:00Z");
        let generated = BuildKey::generate("m1, foo 1.2.3", created, expires);
        let label = BuildKeyLabel {
            grant: GrantId::of(b"grant"),
            builder: "m1".parse().expect("a name"),
            project: "foo".parse().expect("a name"),
            version: "1.2.3".parse().expect("a version"),
            domain: None,
            bounds: Bounds::example(&["foo*", "* *"]),
        };
        let file = generated.to_file(Some(&label));
        let key = BuildKey::parse(&file).expect("a build key");
        assert_eq!((key.label(), key.expires()), (Some(&label), Some(expires)));

        let state = HashState::of(b"manifest", HashAlgorithm::Sha256);
        let now = time("2026-11-22T10:00:00Z");
        let signature = DetachedSignature::parse_kept(
            &key.sign(&state, &[("a@example.org".into(), "b".into())], now)
                .expect("signed"),
        )
        .expect("one signature");
        let signed = signature
            .check(&generated.certificate(), &state, "manifest", now)
            .expect("a valid signature");
        assert_eq!(
            signed.notations,
            [("a@example.org".to_owned(), "b".to_owned())]
        );
        assert_eq!(key.certificate(), &generated.certificate());
        let bare = BuildKey::parse(&generated.to_file(None)).expect("a build key");
        assert_eq!(bare.label(), None);

        let public = generated.certificate().armored();
        let refused = |file: &[u8]| BuildKey::parse(file).expect_err("refused").to_string();
        assert!(
            refused(public.as_bytes()).starts_with("the key is not an armoured OpenPGP secret key")
        );
        let unlabelled: String =
            String::from_utf8_lossy(&file).replace("Comment: builder", "Comment: bilder");
        assert_eq!(
            refused(unlabelled.as_bytes()),
            "header line `builder …` is missing"
        );
        assert!(!format!("{key:?}").contains("PRIVATE"));
    }

    #[test]
    fn a_key_that_no_certificate_here_can_have_is_refused() {
        let (cert, _) = CertBuilder::new()
            .set_profile(Profile::RFC9580)
            .and_then(|builder| builder.add_userid("m1").generate())
            .expect("a v6 key can be made");
        let file = cert.as_tsk().armored().to_vec().expect("armour");
        let refused = BuildKey::parse(&file).expect_err("refused").to_string();
        assert!(refused.contains("not OpenPGP v4"), "{refused}");
    }
}
