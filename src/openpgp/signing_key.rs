//! A key of a certificate that may sign at some time.

use std::time::SystemTime;

use sequoia_openpgp as openpgp;

use openpgp::Cert;
use openpgp::cert::amalgamation::key::ValidErasedKeyAmalgamation;
use openpgp::cert::amalgamation::{ValidAmalgamation, ValidateAmalgamation};
use openpgp::packet::key::PublicParts;
use openpgp::policy::StandardPolicy;
use openpgp::types::RevocationStatus;

use super::key::{self, PublicHalf};
use super::reason::first_line;
use crate::domain::key::{Fingerprint, PublicKey};
use crate::domain::malformed::Malformed;
use crate::domain::time::Timestamp;

/// A key of a certificate that may sign at some time.
#[derive(Debug, Clone)]
pub struct SigningKey {
    pub(super) key: PublicHalf,
    fingerprint: Fingerprint,
    public: PublicKey,
    expires: Option<Timestamp>,
}

/// Why a certificate or a key in it cannot make or vouch for a signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
pub enum KeyTrouble {
    /// The key or its certificate expired.
    #[error("{what} expired at {at}")]
    #[diagnostic(
        code(refused::key_expired),
        help("run `countersign key extend`, and publish the certificate again")
    )]
    Expired {
        /// "key" or "certificate", and its fingerprint.
        what: String,
        /// When it expired.
        at: Timestamp,
    },
    /// The key or its certificate is revoked, or not made for this.
    #[error("{0}")]
    #[diagnostic(
        code(refused::key_unusable),
        help("this key cannot sign releases any more: set up another one with `countersign init`")
    )]
    Unusable(Malformed),
    /// The certificate does not have the key.
    #[error("certificate {certificate} has no key {key}")]
    #[diagnostic(
        code(refused::key_not_in_certificate),
        help("this key cannot sign releases any more: set up another one with `countersign init`")
    )]
    NoSuchKey {
        /// Fingerprint of its primary key.
        certificate: Fingerprint,
        /// What was looked for: a fingerprint or a key id.
        key: String,
    },
}

impl SigningKey {
    /// Its fingerprint.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Its numbers, as a token knows them.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// When it, or its certificate, expires.
    pub fn expires(&self) -> Option<Timestamp> {
        self.expires
    }

    /// The key of a v4 certificate with this fingerprint or key id, if it may sign at `at`.
    pub(super) fn find(
        cert: &Cert,
        handle: &openpgp::KeyHandle,
        at: Timestamp,
    ) -> Result<Self, KeyTrouble> {
        let found = cert.keys().find(|ka| handle.aliases(ka.key().key_handle()));
        let found = found.ok_or_else(|| KeyTrouble::NoSuchKey {
            certificate: v4(&cert.fingerprint()),
            key: handle.to_string(),
        })?;
        let fingerprint = v4(&found.key().fingerprint());

        let policy = StandardPolicy::new();
        let valid = found
            .with_policy(&policy, at.system())
            .map_err(|error| refused_by_policy(cert, &error))?;
        check_usable(cert, &valid, at)?;

        let public = match key::numbers(valid.key()) {
            Some(public) if valid.for_signing() => public,
            _ => {
                return Err(unusable(format!(
                    "key {fingerprint} is not a signing key of a supported algorithm"
                )));
            }
        };
        let ends = [
            valid.valid_cert().primary_key().key_expiration_time(),
            valid.key_expiration_time(),
        ];
        Ok(Self {
            key: valid.key().clone(),
            fingerprint,
            public,
            expires: ends.into_iter().flatten().min().map(Timestamp::from),
        })
    }
}

fn check_usable(
    cert: &Cert,
    key: &ValidErasedKeyAmalgamation<PublicParts>,
    at: Timestamp,
) -> Result<(), KeyTrouble> {
    let valid = key.valid_cert();
    let what = format!("certificate {}", v4(&cert.fingerprint()));
    check_not_revoked(&what, valid.revocation_status())?;
    check_not_expired(&what, valid.primary_key().key_expiration_time(), at)?;
    valid
        .alive()
        .map_err(|error| refused_by_policy(cert, &error))?;
    let what = format!("key {}", v4(&key.key().fingerprint()));
    check_not_revoked(&what, key.revocation_status())?;
    check_not_expired(&what, key.key_expiration_time(), at)?;
    key.alive().map_err(|error| refused_by_policy(cert, &error))
}

fn check_not_revoked(what: &str, status: RevocationStatus<'_>) -> Result<(), KeyTrouble> {
    if let RevocationStatus::Revoked(revocations) = status {
        let reason = reason(&revocations);
        return Err(unusable(format!("{what} was revoked: {reason}")));
    }
    Ok(())
}

fn check_not_expired(
    what: &str,
    end: Option<SystemTime>,
    now: Timestamp,
) -> Result<(), KeyTrouble> {
    match end.map(Timestamp::from) {
        Some(at) if at <= now => Err(KeyTrouble::Expired {
            what: what.to_owned(),
            at,
        }),
        _ => Ok(()),
    }
}

fn refused_by_policy(cert: &Cert, error: &openpgp::anyhow::Error) -> KeyTrouble {
    let certificate = v4(&cert.fingerprint());
    let reason = first_line(error);
    unusable(format!(
        "certificate {certificate} cannot be used: {reason}"
    ))
}

fn unusable(message: String) -> KeyTrouble {
    KeyTrouble::Unusable(Malformed::new(message))
}

fn v4(fingerprint: &openpgp::Fingerprint) -> Fingerprint {
    key::fingerprint(fingerprint).expect("certificates have v4 keys only")
}

fn reason(revocations: &[&openpgp::packet::Signature]) -> String {
    let given = revocations
        .iter()
        .find_map(|revocation| revocation.reason_for_revocation());
    given.map_or_else(
        || "no reason given".to_owned(),
        |(code, text)| match &*String::from_utf8_lossy(text) {
            "" => code.to_string(),
            text => format!("{code}, `{text}`"),
        },
    )
}
