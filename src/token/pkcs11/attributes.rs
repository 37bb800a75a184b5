//! The public key in the attributes of a key object, and the mechanisms for each kind of key.
//!
//! Modules encode keys in different ways, which are handled here alone. This file calls no module.

use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::object::{Attribute, AttributeType, KeyType};

use crate::domain::key::{Curve, KeyKind, PublicKey};
use crate::token::raw;

/// The attributes that contain the public half of a key.
pub(super) const PUBLIC_ATTRIBUTES: [AttributeType; 5] = [
    AttributeType::KeyType,
    AttributeType::Modulus,
    AttributeType::PublicExponent,
    AttributeType::EcParams,
    AttributeType::EcPoint,
];

// CKA_EC_PARAMS: an object identifier in DER.
const P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];
const P521: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23];
/// Ed25519 as RFC 8410 has it, 1.3.101.112.
const ED25519: &[u8] = &[0x06, 0x03, 0x2b, 0x65, 0x70];
/// Ed25519 as PKCS#11 3.0 has it, a `PrintableString`.
const ED25519_NAME: &[u8] = b"\x13\x0cedwards25519";
/// Ed25519 as GnuPG has it, 1.3.6.1.4.1.11591.15.1.
const ED25519_GNU: &[u8] = &[
    0x06, 0x09, 0x2b, 0x06, 0x01, 0x04, 0x01, 0xda, 0x47, 0x0f, 0x01,
];

/// The public key in `attributes`, or why it cannot sign a release.
pub(super) fn public_key(attributes: &[Attribute]) -> Result<PublicKey, String> {
    let kind = attributes.iter().find_map(|attribute| match attribute {
        Attribute::KeyType(kind) => Some(*kind),
        _ => None,
    });
    match kind {
        Some(KeyType::RSA) => rsa(attributes),
        Some(KeyType::EC) => ecdsa(attributes),
        Some(KeyType::EC_EDWARDS) => ed25519(attributes),
        Some(other) => Err(format!(
            "its type is {other}; CKK_RSA, CKK_EC and CKK_EC_EDWARDS are supported"
        )),
        None => Err("it does not reveal its type (CKA_KEY_TYPE)".to_owned()),
    }
}

fn rsa(attributes: &[Attribute]) -> Result<PublicKey, String> {
    let n = attributes.iter().find_map(|attribute| match attribute {
        Attribute::Modulus(bytes) => Some(&bytes[..]),
        _ => None,
    });
    let e = attributes.iter().find_map(|attribute| match attribute {
        Attribute::PublicExponent(bytes) => Some(&bytes[..]),
        _ => None,
    });
    let (Some(n), Some(e)) = (n, e) else {
        return Err(
            "it does not reveal its modulus and exponent (CKA_MODULUS, CKA_PUBLIC_EXPONENT)"
                .to_owned(),
        );
    };
    raw::rsa(n, e)
}

fn ecdsa(attributes: &[Attribute]) -> Result<PublicKey, String> {
    let (params, point) = params_and_point(attributes)?;
    let curve = match params {
        P256 => Curve::P256,
        P384 => Curve::P384,
        P521 => Curve::P521,
        other => {
            return Err(format!(
                "its curve is not P-256, P-384 or P-521 (CKA_EC_PARAMS {})",
                hex_start(other)
            ));
        }
    };
    let point = unwrapped(point, 1 + 2 * curve.field_size())?;
    if point[0] != 4 {
        return Err("its point is not in uncompressed form (CKA_EC_POINT)".to_owned());
    }
    Ok(PublicKey::Ecdsa {
        curve,
        point: point.to_vec(),
    })
}

fn ed25519(attributes: &[Attribute]) -> Result<PublicKey, String> {
    let (params, point) = params_and_point(attributes)?;
    if ![ED25519, ED25519_NAME, ED25519_GNU].contains(&params) {
        return Err(format!(
            "its curve is not Ed25519 (CKA_EC_PARAMS {})",
            hex_start(params)
        ));
    }
    let point = unwrapped(point, 32)?;
    Ok(PublicKey::Ed25519(
        point.try_into().expect("32 bytes were asked for"),
    ))
}

fn params_and_point(attributes: &[Attribute]) -> Result<(&[u8], &[u8]), String> {
    let params = attributes.iter().find_map(|attribute| match attribute {
        Attribute::EcParams(bytes) => Some(&bytes[..]),
        _ => None,
    });
    let point = attributes.iter().find_map(|attribute| match attribute {
        Attribute::EcPoint(bytes) => Some(&bytes[..]),
        _ => None,
    });
    params.zip(point).ok_or_else(|| {
        "it does not reveal its curve and point (CKA_EC_PARAMS, CKA_EC_POINT)".to_owned()
    })
}

/// CKA_EC_POINT is an OCTET STRING in DER by the standard, and the bare point in some modules. The
/// length decides: the first byte cannot, since both an OCTET STRING and an uncompressed point
/// begin with 4.
fn unwrapped(raw: &[u8], size: usize) -> Result<&[u8], String> {
    if raw.len() == size {
        return Ok(raw);
    }
    let point = match raw {
        [0x04, length, point @ ..] if *length < 0x80 && usize::from(*length) == point.len() => {
            point
        }
        [0x04, 0x81, length, point @ ..]
            if *length >= 0x80 && usize::from(*length) == point.len() =>
        {
            point
        }
        _ => &[],
    };
    (point.len() == size)
        .then_some(point)
        .ok_or_else(|| format!("its point does not have {size} bytes (CKA_EC_POINT)"))
}

fn hex_start(bytes: &[u8]) -> String {
    hex::encode(&bytes[..bytes.len().min(16)])
}

/// A mechanism, and its name in the standard.
pub(super) type Named = (Mechanism<'static>, &'static str);

/// The mechanism that signs with `key`.
pub(super) fn signing_mechanism(key: &PublicKey) -> Named {
    match key {
        PublicKey::Rsa { .. } => rsa_pkcs(),
        PublicKey::Ecdsa { .. } => ec_dsa(),
        PublicKey::Ed25519(_) => ed_dsa(),
    }
}

fn rsa_pkcs() -> Named {
    (Mechanism::RsaPkcs, "CKM_RSA_PKCS")
}

fn ec_dsa() -> Named {
    (Mechanism::Ecdsa, "CKM_ECDSA")
}

fn ed_dsa() -> Named {
    (
        Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Pure)),
        "CKM_EDDSA",
    )
}

/// How a key pair is generated.
pub(super) struct Generation {
    /// The mechanism that generates it.
    pub(super) mechanism: Named,
    /// The mechanism that will sign with it.
    pub(super) signing: Named,
    /// The attributes that select the key, in the spellings that are tried in turn.
    pub(super) spellings: Vec<Vec<Attribute>>,
}

/// How a key pair of this kind is generated.
pub(super) fn generation(kind: KeyKind) -> Generation {
    let curve = |params: &[u8]| vec![Attribute::EcParams(params.to_vec())];
    let ec = |params| Generation {
        mechanism: (Mechanism::EccKeyPairGen, "CKM_EC_KEY_PAIR_GEN"),
        signing: ec_dsa(),
        spellings: vec![curve(params)],
    };
    let rsa = |bits: u32| Generation {
        mechanism: (Mechanism::RsaPkcsKeyPairGen, "CKM_RSA_PKCS_KEY_PAIR_GEN"),
        signing: rsa_pkcs(),
        spellings: vec![vec![
            Attribute::ModulusBits(u64::from(bits).into()),
            Attribute::PublicExponent(vec![1, 0, 1]),
        ]],
    };
    match kind {
        KeyKind::Ed25519 => Generation {
            mechanism: (
                Mechanism::EccEdwardsKeyPairGen,
                "CKM_EC_EDWARDS_KEY_PAIR_GEN",
            ),
            signing: ed_dsa(),
            spellings: vec![curve(ED25519), curve(ED25519_NAME)],
        },
        KeyKind::P256 => ec(P256),
        KeyKind::P384 => ec(P384),
        KeyKind::P521 => ec(P521),
        KeyKind::Rsa2048 => rsa(2048),
        KeyKind::Rsa3072 => rsa(3072),
        KeyKind::Rsa4096 => rsa(4096),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ec(kind: KeyType, params: &[u8], point: &[u8]) -> Result<PublicKey, String> {
        let point = Attribute::EcPoint(point.to_vec());
        public_key(&[
            Attribute::KeyType(kind),
            Attribute::EcParams(params.to_vec()),
            point,
        ])
    }

    fn rsa_of(n: &[u8], e: &[u8]) -> Result<PublicKey, String> {
        let n = Attribute::Modulus(n.to_vec());
        let e = Attribute::PublicExponent(e.to_vec());
        public_key(&[Attribute::KeyType(KeyType::RSA), n, e])
    }

    #[test]
    fn a_point_is_found_bare_and_wrapped() {
        let uncompressed = |size: usize| [vec![4], vec![4; size - 1]].concat();
        for (curve, params, size) in [
            (Curve::P256, P256, 65),
            (Curve::P384, P384, 97),
            (Curve::P521, P521, 133),
        ] {
            let point = uncompressed(size);
            let wrapped = match size {
                133 => [&[0x04, 0x81, 133], &point[..]].concat(),
                _ => [&[0x04, u8::try_from(size).expect("small")], &point[..]].concat(),
            };
            let expected = Ok(PublicKey::Ecdsa {
                curve,
                point: point.clone(),
            });
            assert_eq!(ec(KeyType::EC, params, &point), expected);
            assert_eq!(ec(KeyType::EC, params, &wrapped), expected);
        }
        // A bare Ed25519 point that begins like an OCTET STRING of 30 bytes is still a point.
        let point = [vec![0x04, 30], vec![9; 30]].concat();
        let expected = Ok(PublicKey::Ed25519(point[..].try_into().expect("32 bytes")));
        for params in [ED25519, ED25519_NAME, ED25519_GNU] {
            assert_eq!(ec(KeyType::EC_EDWARDS, params, &point), expected);
            assert_eq!(
                ec(
                    KeyType::EC_EDWARDS,
                    params,
                    &[&[0x04, 32], &point[..]].concat()
                ),
                expected
            );
        }
    }

    #[test]
    fn a_point_of_another_shape_is_refused() {
        let wrong = [
            vec![],
            vec![4],
            vec![4; 64],
            [vec![4, 0x81], vec![4; 65]].concat(),
            [vec![4, 0x81, 65], vec![4; 65]].concat(),
            [vec![4, 64], vec![4; 65]].concat(),
            [vec![3, 66, 0], vec![4; 65]].concat(),
            vec![2; 65],
            vec![2; 33],
        ];
        for point in wrong {
            let refused = ec(KeyType::EC, P256, &point).expect_err("no point");
            assert!(refused.contains("CKA_EC_POINT"), "{refused}");
        }
        assert!(ec(KeyType::EC_EDWARDS, ED25519, &[1; 31]).is_err());
    }

    #[test]
    fn other_keys_are_refused_with_the_reason() {
        let secp256k1 = [0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a];
        assert!(
            ec(KeyType::EC, &secp256k1, &[4; 65])
                .expect_err("a curve")
                .contains("06052b8104000a")
        );
        assert!(ec(KeyType::EC, ED25519, &[4; 32]).is_err());
        assert!(ec(KeyType::EC_EDWARDS, b"\x13\x0aedwards448", &[4; 57]).is_err());
        assert!(
            public_key(&[Attribute::KeyType(KeyType::AES)])
                .expect_err("a type")
                .contains("AES")
        );
        assert!(
            public_key(&[])
                .expect_err("no type")
                .contains("CKA_KEY_TYPE")
        );
        assert!(
            public_key(&[Attribute::KeyType(KeyType::RSA)])
                .expect_err("no modulus")
                .contains("CKA_MODULUS")
        );
        assert!(
            public_key(&[Attribute::KeyType(KeyType::EC)])
                .expect_err("no point")
                .contains("CKA_EC_POINT")
        );
    }

    #[test]
    fn rsa_numbers_lose_their_zeros_and_are_measured() {
        let modulus = |first: u8, size: usize| [vec![first], vec![1; size - 1]].concat();
        let expected = Ok(PublicKey::Rsa {
            n: modulus(0x80, 256),
            e: vec![1, 0, 1],
        });
        assert_eq!(rsa_of(&modulus(0x80, 256), &[1, 0, 1]), expected);
        assert_eq!(
            rsa_of(&[&[0, 0], &modulus(0x80, 256)[..]].concat(), &[0, 1, 0, 1]),
            expected
        );
        assert!(
            rsa_of(&modulus(0x7f, 256), &[1, 0, 1])
                .expect_err("short")
                .contains("2047 bits")
        );
        assert!(
            rsa_of(&modulus(0x80, 1025), &[1, 0, 1])
                .expect_err("long")
                .contains("8200 bits")
        );
        for (n, e) in [
            (vec![0x80; 256], vec![3]),
            (modulus(0x80, 256), vec![1]),
            (modulus(0x80, 256), vec![]),
        ] {
            assert!(
                rsa_of(&n, &e)
                    .expect_err("no key")
                    .contains("not a valid key")
            );
        }
        assert!(rsa_of(&[], &[3]).expect_err("nothing").contains("0 bits"));
    }
}
