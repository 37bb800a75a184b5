//! Keys and signatures, between a token's numbers and OpenPGP's packets.

use sequoia_openpgp as openpgp;

use openpgp::crypto::mpi::{self, MPI};
use openpgp::packet::Key;
use openpgp::packet::key::{Key4, PrimaryRole, PublicParts, UnspecifiedRole};
use openpgp::types::{Curve as PgpCurve, PublicKeyAlgorithm};

use crate::domain::key::{Curve, Fingerprint, PublicKey, RawSignature};
use crate::domain::time::Timestamp;

pub(super) type PublicHalf = Key<PublicParts, UnspecifiedRole>;

/// The OpenPGP v4 key of a token's key pair. The creation time is part of its fingerprint.
/// Ed25519 is written as EdDSALegacy (algorithm 22), which gpg 2.2 reads.
pub(super) fn primary_key(
    public: &PublicKey,
    created: Timestamp,
) -> openpgp::Result<Key<PublicParts, PrimaryRole>> {
    let (algorithm, mpis) = match public {
        PublicKey::Rsa { n, e } => (
            PublicKeyAlgorithm::RSAEncryptSign,
            mpi::PublicKey::RSA {
                e: MPI::new(e),
                n: MPI::new(n),
            },
        ),
        PublicKey::Ecdsa { curve, point } => (
            PublicKeyAlgorithm::ECDSA,
            mpi::PublicKey::ECDSA {
                curve: to_openpgp(*curve),
                q: MPI::new(point),
            },
        ),
        PublicKey::Ed25519(point) => {
            let prefixed = [&[0x40][..], point].concat();
            let mpis = mpi::PublicKey::EdDSA {
                curve: PgpCurve::Ed25519,
                q: MPI::new(&prefixed),
            };
            (PublicKeyAlgorithm::EdDSA, mpis)
        }
    };
    Ok(Key4::new(created.system(), algorithm, mpis)?.into())
}

/// The numbers of an OpenPGP key; `None` for an algorithm that no token here has.
pub(super) fn numbers(key: &PublicHalf) -> Option<PublicKey> {
    match key.mpis() {
        mpi::PublicKey::RSA { e, n } => Some(PublicKey::Rsa {
            n: n.value().to_vec(),
            e: e.value().to_vec(),
        }),
        mpi::PublicKey::ECDSA { curve, q } => {
            let curve = from_openpgp(curve)?;
            Some(PublicKey::Ecdsa {
                curve,
                point: q.value().to_vec(),
            })
        }
        mpi::PublicKey::EdDSA {
            curve: PgpCurve::Ed25519,
            q,
        } => {
            let point = q.value().strip_prefix(&[0x40])?;
            Some(PublicKey::Ed25519(point.try_into().ok()?))
        }
        mpi::PublicKey::Ed25519 { a } => Some(PublicKey::Ed25519(*a)),
        _ => None,
    }
}

/// Whether two keys have the same secret, whatever their creation times and encodings.
pub(super) fn is_one(ours: &PublicHalf, theirs: &PublicHalf) -> bool {
    match (numbers(ours), numbers(theirs)) {
        (Some(ours), Some(theirs)) => ours.is_one_with(&theirs),
        (_, _) => ours.mpis() == theirs.mpis(),
    }
}

/// A token's signature as a packet by `key` has it; `None` if its kind differs from the key's.
pub(super) fn signature_numbers(key: &PublicHalf, raw: &RawSignature) -> Option<mpi::Signature> {
    match (key.mpis(), raw) {
        (mpi::PublicKey::RSA { .. }, RawSignature::Rsa(s)) => {
            Some(mpi::Signature::RSA { s: MPI::new(s) })
        }
        (mpi::PublicKey::ECDSA { .. }, RawSignature::Ecdsa { r, s }) => {
            Some(mpi::Signature::ECDSA {
                r: MPI::new(r),
                s: MPI::new(s),
            })
        }
        (mpi::PublicKey::EdDSA { .. }, RawSignature::Ed25519(bytes)) => {
            Some(mpi::Signature::EdDSA {
                r: MPI::new(&bytes[..32]),
                s: MPI::new(&bytes[32..]),
            })
        }
        (mpi::PublicKey::Ed25519 { .. }, RawSignature::Ed25519(bytes)) => {
            Some(mpi::Signature::Ed25519 {
                s: Box::new(*bytes),
            })
        }
        _ => None,
    }
}

/// The fingerprint of a v4 key; `None` for other versions.
pub(super) fn fingerprint(key: &openpgp::Fingerprint) -> Option<Fingerprint> {
    match key {
        openpgp::Fingerprint::V4(bytes) => Some(Fingerprint::from_bytes(*bytes)),
        _ => None,
    }
}

fn to_openpgp(curve: Curve) -> PgpCurve {
    match curve {
        Curve::P256 => PgpCurve::NistP256,
        Curve::P384 => PgpCurve::NistP384,
        Curve::P521 => PgpCurve::NistP521,
    }
}

fn from_openpgp(curve: &PgpCurve) -> Option<Curve> {
    match curve {
        PgpCurve::NistP256 => Some(Curve::P256),
        PgpCurve::NistP384 => Some(Curve::P384),
        PgpCurve::NistP521 => Some(Curve::P521),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_secret_is_recognised_in_each_encoding() {
        let time = |text: &str| text.parse::<Timestamp>().expect("a time");
        let early = time("2026-11-22T10:00:00Z");
        let late = time("2026-11-22T10:00:01Z");
        let legacy = |byte| {
            primary_key(&PublicKey::Ed25519([byte; 32]), early)
                .expect("a key")
                .role_into_unspecified()
        };
        let mpis = mpi::PublicKey::Ed25519 { a: [9; 32] };
        let native = Key4::new(late.system(), PublicKeyAlgorithm::Ed25519, mpis)
            .expect("a key")
            .into();
        let rsa = |e| {
            let public = PublicKey::Rsa {
                n: vec![0x81; 256],
                e,
            };
            primary_key(&public, late)
                .expect("a key")
                .role_into_unspecified()
        };
        assert_ne!(legacy(9).fingerprint(), PublicHalf::fingerprint(&native));
        assert!(is_one(&legacy(9), &native) && !is_one(&legacy(8), &native));
        assert!(is_one(&rsa(vec![3]), &rsa(vec![1, 0, 1])) && !is_one(&rsa(vec![3]), &native));
    }
}
