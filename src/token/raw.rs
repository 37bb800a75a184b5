//! What a token gets for a digest, and the numbers in its answer: the same for cards and PKCS#11
//! modules.

use crate::domain::key::{HashAlgorithm, LONGEST_RSA, MessageDigest, PublicKey, RawSignature};

/// The accepted sizes of an RSA modulus, in bits: less is no longer safe.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=LONGEST_RSA;

// What precedes the digest in a DigestInfo (RFC 8017, section 9.2, note 1).
const SHA256_PREFIX: &[u8] = &[
    0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05,
    0x00, 0x04, 0x20,
];
const SHA384_PREFIX: &[u8] = &[
    0x30, 0x41, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02, 0x05,
    0x00, 0x04, 0x30,
];
const SHA512_PREFIX: &[u8] = &[
    0x30, 0x51, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03, 0x05,
    0x00, 0x04, 0x40,
];

/// An RSA key of these numbers, or why it cannot sign a release.
pub(super) fn rsa(n: &[u8], e: &[u8]) -> Result<PublicKey, String> {
    let (n, e) = (number(n), number(e));
    let bits = n
        .first()
        .map_or(0, |first| n.len() * 8 - first.leading_zeros() as usize);
    if !RSA_BITS.contains(&bits) {
        return Err(format!(
            "its RSA modulus has {bits} bits; {} to {} are accepted",
            RSA_BITS.start(),
            RSA_BITS.end()
        ));
    }
    let odd = |number: &[u8]| number.last().is_some_and(|last| last & 1 == 1);
    if !odd(&n) || !odd(&e) || e == [1] {
        return Err("its RSA modulus and exponent are not a valid key".to_owned());
    }
    Ok(PublicKey::Rsa { n, e })
}

/// Big-endian, without leading zeros.
fn number(bytes: &[u8]) -> Vec<u8> {
    bytes
        .iter()
        .copied()
        .skip_while(|byte| *byte == 0)
        .collect()
}

/// What the token gets for `digest`: a DigestInfo for RSA; for ECDSA at most the size of the field,
/// because many modules refuse longer input instead of cutting it; for Ed25519 the digest as the
/// message.
pub(super) fn to_be_signed(key: &PublicKey, digest: &MessageDigest) -> Vec<u8> {
    assert_eq!(
        digest.bytes.len(),
        digest.algorithm.size(),
        "a digest has the size of its algorithm"
    );
    match key {
        PublicKey::Rsa { .. } => [digest_info_prefix(digest.algorithm), &digest.bytes].concat(),
        PublicKey::Ecdsa { curve, .. } => {
            digest.bytes[..digest.bytes.len().min(curve.field_size())].to_vec()
        }
        PublicKey::Ed25519(_) => digest.bytes.clone(),
    }
}

fn digest_info_prefix(algorithm: HashAlgorithm) -> &'static [u8] {
    match algorithm {
        HashAlgorithm::Sha256 => SHA256_PREFIX,
        HashAlgorithm::Sha384 => SHA384_PREFIX,
        HashAlgorithm::Sha512 => SHA512_PREFIX,
    }
}

/// The numbers of a signature, or what is wrong with the answer.
pub(super) fn signature(key: &PublicKey, answer: &[u8]) -> Result<RawSignature, String> {
    let size = match key {
        PublicKey::Rsa { n, .. } => n.len(),
        PublicKey::Ecdsa { curve, .. } => 2 * curve.field_size(),
        PublicKey::Ed25519(_) => 64,
    };
    let wrong = || format!("a signature of {} bytes instead of {size}", answer.len());
    match key {
        // Some modules omit the leading zeros of the number.
        PublicKey::Rsa { .. } if !answer.is_empty() && answer.len() <= size => Ok(
            RawSignature::Rsa([vec![0; size - answer.len()], answer.to_vec()].concat()),
        ),
        PublicKey::Ecdsa { curve, .. } if answer.len() == size => {
            let (r, s) = answer.split_at(curve.field_size());
            Ok(RawSignature::Ecdsa {
                r: r.to_vec(),
                s: s.to_vec(),
            })
        }
        PublicKey::Ed25519(_) => answer
            .try_into()
            .map(RawSignature::Ed25519)
            .map_err(|_| wrong()),
        PublicKey::Rsa { .. } | PublicKey::Ecdsa { .. } => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::key::Curve;

    #[test]
    fn the_digest_is_prepared_as_each_kind_of_key_wants_it() {
        let digest = |algorithm: HashAlgorithm| MessageDigest {
            algorithm,
            bytes: (0..64).collect::<Vec<u8>>()[..algorithm.size()].to_vec(),
        };
        let sha512 = digest(HashAlgorithm::Sha512);
        for (curve, size) in [(Curve::P256, 32), (Curve::P384, 48), (Curve::P521, 64)] {
            let key = PublicKey::Ecdsa {
                curve,
                point: vec![],
            };
            assert_eq!(to_be_signed(&key, &sha512), sha512.bytes[..size]);
        }
        assert_eq!(
            to_be_signed(&PublicKey::Ed25519([0; 32]), &sha512),
            sha512.bytes
        );
        let rsa = PublicKey::Rsa {
            n: vec![],
            e: vec![],
        };
        for algorithm in [
            HashAlgorithm::Sha256,
            HashAlgorithm::Sha384,
            HashAlgorithm::Sha512,
        ] {
            let info = to_be_signed(&rsa, &digest(algorithm));
            assert_eq!(usize::from(info[1]) + 2, info.len());
            assert!(info.ends_with(&digest(algorithm).bytes));
        }
    }

    #[test]
    fn an_rsa_key_is_neither_too_short_nor_longer_than_can_be_verified() {
        let of = |bytes| rsa(&vec![0x81; bytes], &[1, 0, 1]);
        assert!(of(256).is_ok() && of(512).is_ok());
        for bytes in [255, 513, 640] {
            let refused = of(bytes).expect_err("refused");
            assert!(refused.ends_with("2048 to 4096 are accepted"), "{refused}");
        }
    }

    #[test]
    fn a_signature_has_the_size_of_its_key() {
        let rsa = PublicKey::Rsa {
            n: vec![1; 256],
            e: vec![3],
        };
        assert_eq!(
            signature(&rsa, &[7; 256]),
            Ok(RawSignature::Rsa(vec![7; 256]))
        );
        let padded = [vec![0], vec![7; 255]].concat();
        assert_eq!(signature(&rsa, &[7; 255]), Ok(RawSignature::Rsa(padded)));
        assert!(signature(&rsa, &[7; 257]).is_err());
        assert!(signature(&rsa, &[]).is_err());

        let ecdsa = PublicKey::Ecdsa {
            curve: Curve::P521,
            point: vec![],
        };
        let answer = [vec![1; 66], vec![2; 66]].concat();
        assert_eq!(
            signature(&ecdsa, &answer),
            Ok(RawSignature::Ecdsa {
                r: vec![1; 66],
                s: vec![2; 66]
            })
        );
        assert!(signature(&ecdsa, &answer[1..]).is_err());

        let ed25519 = PublicKey::Ed25519([0; 32]);
        assert_eq!(
            signature(&ed25519, &[5; 64]),
            Ok(RawSignature::Ed25519([5; 64]))
        );
        assert_eq!(
            signature(&ed25519, &[5; 63]),
            Err("a signature of 63 bytes instead of 64".to_owned())
        );
    }
}
