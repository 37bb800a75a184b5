//! The keys of a grant's builders: made here, or by the builder.

use std::path::{Path, PathBuf};

use super::error::GrantError;
use crate::domain::evidence::Scheme;
use crate::domain::grant::SLOW_CLOCK;
use crate::domain::malformed::Malformed;
use crate::domain::name::BuilderName;
use crate::domain::time::Timestamp;
use crate::files::InputFile;
use crate::openpgp::LARGEST_CERTIFICATE;
use crate::steps::builder::build_key::NewKey;
use crate::steps::evidence::builders::BuilderKey;

/// The key of one builder.
pub(super) enum Key {
    /// Made here, and handed to the builder. It expires with the grant.
    Injected(NewKey),
    /// Made by the builder.
    Enrolled {
        key: BuilderKey,
        expires: Option<Timestamp>,
    },
}

impl Key {
    pub(super) fn public(&self) -> BuilderKey {
        match self {
            Self::Injected(key) => key.public(),
            Self::Enrolled { key, .. } => key.clone(),
        }
    }

    /// Whether the builder cannot sign with it until the grant expires.
    pub(super) fn expires_before(&self, end: Timestamp) -> bool {
        match self {
            Self::Injected(_) => false,
            Self::Enrolled { expires, .. } => expires.is_some_and(|expires| expires < end),
        }
    }
}

/// A key for each builder: from its file, or a new one.
pub(super) fn collect(
    builders: &[(BuilderName, Option<PathBuf>)],
    scheme: Scheme,
    build: &str,
    now: Timestamp,
    expires: Timestamp,
) -> Result<Vec<(BuilderName, Key)>, GrantError> {
    let key = |(builder, file): &(BuilderName, Option<PathBuf>)| {
        let key = match file {
            Some(path) => enrol(builder, scheme, path, now)?,
            None => {
                let user_id = format!("build key of {builder} for {build}");
                // A builder whose clock is slow can use it at once.
                let created = now.before(SLOW_CLOCK);
                Key::Injected(NewKey::generate(scheme, &user_id, created, expires))
            }
        };
        Ok((builder.clone(), key))
    };
    builders.iter().map(key).collect()
}

/// Reads the public key that a builder made, and checks that it can sign.
fn enrol(
    builder: &BuilderName,
    scheme: Scheme,
    path: &Path,
    now: Timestamp,
) -> Result<Key, GrantError> {
    let unusable = |fault| GrantError::BuilderKey {
        builder: builder.clone(),
        path: path.to_owned(),
        fault,
    };
    if scheme == Scheme::Hmac {
        return Err(unusable(Malformed::new("scheme hmac has no public keys")));
    }
    let bytes = InputFile::open_named(path)?.read_whole(LARGEST_CERTIFICATE)?;
    let text = String::from_utf8(bytes).map_err(|_| {
        unusable(Malformed::new(
            "it is not text: an OpenPGP certificate must be armoured, as `gpg --armor --export` \
             writes it",
        ))
    })?;
    let key = BuilderKey::read(scheme, &text).map_err(unusable)?;
    let expires = match &key {
        BuilderKey::OpenPgp(certificate) => {
            certificate.check_times(now).map_err(unusable)?;
            let keys = certificate.signing_keys(now);
            let keys = keys.map_err(|fault| GrantError::BuilderKeyUnusable {
                builder: builder.clone(),
                path: path.to_owned(),
                fault,
            })?;
            keys.iter()
                .map(|key| key.expires())
                .max_by_key(|end| end.map_or(u32::MAX, Timestamp::unix))
                .flatten()
        }
        BuilderKey::Ed25519(_) | BuilderKey::Nonce(_) => None,
    };
    Ok(Key::Enrolled { key, expires })
}
