//! The running hash of a file, which outlives its one read.

use std::collections::BTreeSet;

use sequoia_openpgp::crypto::hash::Context;
use sequoia_openpgp::types;

use crate::domain::digest::Sha256;
use crate::domain::key::HashAlgorithm;

/// The states of several hash functions over the same bytes. SHA-256 is always one of them.
///
/// The same state gives the plain digest, verifies one signature and makes another: an OpenPGP v4
/// signature hashes the data and then its own trailer (RFC 9580, section 5.2.4).
#[derive(Clone)]
pub struct HashState {
    size: u64,
    sha256: Context,
    others: Vec<(HashAlgorithm, Context)>,
}

impl HashState {
    /// The empty state, for SHA-256 and `also`.
    pub fn new(also: HashAlgorithm) -> Self {
        Self::for_all([also])
    }

    /// The empty state, for SHA-256 and all of these.
    pub fn for_all(functions: impl IntoIterator<Item = HashAlgorithm>) -> Self {
        let functions: BTreeSet<_> = functions
            .into_iter()
            .filter(|also| *also != HashAlgorithm::Sha256)
            .collect();
        let others = functions
            .into_iter()
            .map(|function| (function, context(function)))
            .collect();
        Self {
            size: 0,
            sha256: context(HashAlgorithm::Sha256),
            others,
        }
    }

    /// The state after `bytes`, for SHA-256 and `also`.
    pub fn of(bytes: &[u8], also: HashAlgorithm) -> Self {
        let mut state = Self::new(also);
        state.update(bytes);
        state
    }

    /// Adds `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        self.size += bytes.len() as u64;
        self.sha256.update(bytes);
        for (_, context) in &mut self.others {
            context.update(bytes);
        }
    }

    /// How many bytes there were so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The SHA-256 of the bytes so far.
    pub fn sha256(&self) -> Sha256 {
        let mut digest = [0; 32];
        self.sha256
            .clone()
            .digest(&mut digest)
            .expect("SHA-256 has 32 bytes");
        Sha256::from_bytes(digest)
    }

    /// The state of one of its functions; `None` for any other.
    pub(super) fn context(&self, algorithm: HashAlgorithm) -> Option<Context> {
        if algorithm == HashAlgorithm::Sha256 {
            return Some(self.sha256.clone());
        }
        self.others
            .iter()
            .find(|(function, _)| *function == algorithm)
            .map(|(_, context)| context.clone())
    }
}

impl std::fmt::Debug for HashState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("HashState").field(&self.sha256()).finish()
    }
}

pub(super) fn context(algorithm: HashAlgorithm) -> Context {
    to_openpgp(algorithm)
        .context()
        .expect("the backend has SHA-2")
        .for_signature(4)
}

pub(super) fn to_openpgp(algorithm: HashAlgorithm) -> types::HashAlgorithm {
    match algorithm {
        HashAlgorithm::Sha256 => types::HashAlgorithm::SHA256,
        HashAlgorithm::Sha384 => types::HashAlgorithm::SHA384,
        HashAlgorithm::Sha512 => types::HashAlgorithm::SHA512,
    }
}

pub(super) fn from_openpgp(algorithm: types::HashAlgorithm) -> Option<HashAlgorithm> {
    match algorithm {
        types::HashAlgorithm::SHA256 => Some(HashAlgorithm::Sha256),
        types::HashAlgorithm::SHA384 => Some(HashAlgorithm::Sha384),
        types::HashAlgorithm::SHA512 => Some(HashAlgorithm::Sha512),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_gives_the_plain_digest_and_stays_usable() {
        let mut state = HashState::new(HashAlgorithm::Sha512);
        state.update(b"ab");
        assert_eq!(state.sha256(), Sha256::of(b"ab"));
        state.update(b"c");
        assert_eq!((state.size(), state.sha256()), (3, Sha256::of(b"abc")));
        assert!(state.context(HashAlgorithm::Sha512).is_some());
        assert!(state.context(HashAlgorithm::Sha384).is_none());
    }
}
