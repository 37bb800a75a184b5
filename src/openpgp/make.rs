//! Making what only the release key can make: release signatures, and its own certificate.

use sequoia_openpgp as openpgp;

use openpgp::armor;
use openpgp::crypto::hash::{Context, Hash};
use openpgp::crypto::mpi;
use openpgp::packet::signature::subpacket::NotationDataFlags;
use openpgp::packet::signature::{Signature4, SignatureBuilder};
use openpgp::packet::{Signature, UserID};
use openpgp::serialize::SerializeInto;
use openpgp::types::{
    Features, HashAlgorithm as HashAlgorithmId, KeyFlags, ReasonForRevocation, SignatureType,
    SymmetricAlgorithm,
};
use openpgp::{Cert, Packet};

use super::certificate::Certificate;
use super::hash::{self, HashState};
use super::key::{self, PublicHalf};
use super::reason::first_line;
use super::signature::armored;
use super::signing_key::SigningKey;
use crate::domain::key::{Fingerprint, HashAlgorithm, MessageDigest, PublicKey, RawSignature};
use crate::domain::signing::{Message, Statement};
use crate::domain::time::Timestamp;

/// Why a signature or a certificate could not be made. `E` is the token's error.
#[expect(missing_docs, reason = "each message says what it means")]
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum MakeError<E: miette::Diagnostic + 'static> {
    #[error(transparent)]
    #[diagnostic(transparent)]
    Token(E),
    #[error("the token answered with a signature that is not valid")]
    #[diagnostic(
        code(refused::token_signature_invalid),
        help("nothing was released; do not trust this token before you know why")
    )]
    WrongAnswer,
    /// What was asked for cannot be expressed.
    #[error("the signature cannot be made: {0}")]
    #[diagnostic(code(usage::signature_not_possible))]
    Invalid(String),
}

/// The content of a new release certificate.
#[derive(Debug, Clone)]
pub struct NewCertificate {
    /// User id, `Project Releases <release@example.org>`.
    pub user_id: String,
    /// Creation time of the key: part of its fingerprint.
    pub created: Timestamp,
    /// Creation time of the self-signatures, no earlier than the key's.
    pub signed: Timestamp,
    /// When the certificate expires, if ever.
    pub expires: Option<Timestamp>,
    /// Hash function of its self-signatures.
    pub hash: HashAlgorithm,
    /// Domain of the notation `role@` in its self-signatures; a builder's key has none.
    pub domain: Option<String>,
}

/// Makes a detached, armoured signature of `key` over the bytes that `state` has seen. The digest
/// goes to `sign`; its answer is checked before it is returned (RFC 9580, section 5.2).
pub fn make_release_signature<E: miette::Diagnostic>(
    key: &SigningKey,
    state: &HashState,
    statement: &Statement,
    sign: &mut dyn FnMut(&Message<'_>) -> Result<RawSignature, E>,
) -> Result<String, MakeError<E>> {
    Ok(armored(
        armor::Kind::Signature,
        make_signature(key, state, statement, sign)?,
    ))
}

/// As [`make_release_signature`], in the binary form that evidence has.
pub fn make_evidence_signature<E: miette::Diagnostic>(
    key: &SigningKey,
    state: &HashState,
    statement: &Statement,
    sign: &mut dyn FnMut(&Message<'_>) -> Result<RawSignature, E>,
) -> Result<Vec<u8>, MakeError<E>> {
    Packet::from(make_signature(key, state, statement, sign)?)
        .to_vec()
        .map_err(invalid)
}

fn make_signature<E: miette::Diagnostic>(
    key: &SigningKey,
    state: &HashState,
    statement: &Statement,
    sign: &mut dyn FnMut(&Message<'_>) -> Result<RawSignature, E>,
) -> Result<Signature, MakeError<E>> {
    let builder = builder(SignatureType::Binary, statement.created()).map_err(invalid)?;
    let context = state
        .context(statement.hash())
        .expect("the state was made for this hash function");
    finish(
        builder,
        &key.key,
        context,
        statement,
        sign,
        &|draft, context| draft.hash(context),
    )
}

/// Makes the certificate of a key that has none yet, and the revocation certificate to keep for a
/// bad day. The key signs three times: over itself, over its user id, and over its revocation.
pub fn make_certificate<E: miette::Diagnostic>(
    public: &PublicKey,
    new: &NewCertificate,
    sign: &mut dyn FnMut(&Message<'_>) -> Result<RawSignature, E>,
) -> Result<(Certificate, String), MakeError<E>> {
    let primary = key::primary_key(public, new.created).map_err(invalid)?;
    let user_id = UserID::from(new.user_id.as_str());
    let statement = Statement::key(new.signed, new.hash, new.domain.as_deref());
    let mut make = |builder: openpgp::Result<SignatureBuilder>, over: &OverWhat<'_>| {
        let key = primary.clone().role_into_unspecified();
        finish(
            builder.map_err(invalid)?,
            &key,
            hash::context(new.hash),
            &statement,
            sign,
            over,
        )
    };

    let direct = make(
        self_signature(SignatureType::DirectKey, new),
        &|draft, context| draft.hash_direct_key(context, &primary),
    )?;
    let binding = self_signature(SignatureType::PositiveCertification, new)
        .and_then(|b| b.set_primary_userid(true));
    let binding = make(binding, &|draft, context| {
        draft.hash_userid_binding(context, &primary, &user_id)
    })?;
    let revocation = builder(SignatureType::KeyRevocation, new.signed)
        .and_then(|b| b.set_reason_for_revocation(ReasonForRevocation::Unspecified, b""));
    let revocation = make(revocation, &|draft, context| {
        draft.hash_direct_key(context, &primary)
    })?;

    let packets: [Packet; 4] = [
        primary.clone().into(),
        direct.into(),
        user_id.into(),
        binding.into(),
    ];
    let cert = Cert::from_packets(packets.into_iter()).map_err(invalid)?;
    let certificate =
        Certificate::of(cert).map_err(|error| MakeError::Invalid(error.to_string()))?;
    let revocation = revocation_certificate(&certificate, revocation);
    Ok((certificate, revocation))
}

/// Changes the expiry of a certificate: its primary key signs `statement` once over itself and once
/// over each user id. Everything else stays as in the newest self-signatures.
pub fn extend_certificate<E: miette::Diagnostic>(
    certificate: &Certificate,
    expires: Option<Timestamp>,
    statement: &Statement,
    sign: &mut dyn FnMut(&Message<'_>) -> Result<RawSignature, E>,
) -> Result<Certificate, MakeError<E>> {
    let cert = certificate.cert();
    let primary = cert.primary_key();
    let key = primary.key().clone().role_into_unspecified();
    let validity = expires.map(|end| end.since(Timestamp::from(primary.key().creation_time())));
    let mut again = |newest: &Signature, over: &OverWhat<'_>| {
        let builder = SignatureBuilder::from(newest.clone())
            .set_signature_creation_time(statement.created().system())
            .and_then(|builder| builder.set_key_validity_period(validity));
        finish(
            builder.map_err(invalid)?,
            &key,
            hash::context(statement.hash()),
            statement,
            sign,
            over,
        )
    };

    let mut packets = Vec::<Packet>::new();
    if let Some(newest) = primary.self_signatures().next() {
        packets.push(
            again(newest, &|draft, context| {
                draft.hash_direct_key(context, primary.key())
            })?
            .into(),
        );
    }
    for id in cert.userids() {
        if let Some(newest) = id.self_signatures().next() {
            let over = |draft: &Signature, context: &mut Context| {
                draft.hash_userid_binding(context, primary.key(), id.userid())
            };
            packets.push(again(newest, &over)?.into());
        }
    }
    let (cert, _) = cert.clone().insert_packets(packets).map_err(invalid)?;
    Certificate::of(cert).map_err(|error| MakeError::Invalid(error.to_string()))
}

/// The fingerprint of the OpenPGP v4 key that a certificate from [`make_certificate`] has; `None`
/// for numbers that make no key.
pub fn fingerprint_of(public: &PublicKey, created: Timestamp) -> Option<Fingerprint> {
    key::fingerprint(&key::primary_key(public, created).ok()?.fingerprint())
}

/// Adds what a draft signature is over to a hash.
type OverWhat<'a> = dyn Fn(&Signature, &mut Context) -> openpgp::Result<()> + 'a;

fn builder(of: SignatureType, created: Timestamp) -> openpgp::Result<SignatureBuilder> {
    SignatureBuilder::new(of).set_signature_creation_time(created.system())
}

/// What today's tools expect to read in a self-signature of a certificate that signs and nothing
/// else.
fn self_signature(of: SignatureType, new: &NewCertificate) -> openpgp::Result<SignatureBuilder> {
    let validity = new.expires.map(|end| end.since(new.created));
    builder(of, new.signed)?
        .set_key_flags(KeyFlags::empty().set_certification().set_signing())?
        .set_features(Features::empty().set_seipdv1())?
        .set_key_validity_period(validity)?
        .set_preferred_hash_algorithms(vec![
            HashAlgorithmId::SHA512,
            HashAlgorithmId::SHA384,
            HashAlgorithmId::SHA256,
        ])?
        .set_preferred_symmetric_algorithms(vec![
            SymmetricAlgorithm::AES256,
            SymmetricAlgorithm::AES128,
        ])
}

/// Has the draft that `builder` describes signed as `statement`, and checks the answer.
fn finish<E: miette::Diagnostic>(
    builder: SignatureBuilder,
    key: &PublicHalf,
    mut context: Context,
    statement: &Statement,
    sign: &mut dyn FnMut(&Message<'_>) -> Result<RawSignature, E>,
    over: &OverWhat<'_>,
) -> Result<Signature, MakeError<E>> {
    let builder = builder
        .set_issuer_fingerprint(key.fingerprint())
        .map_err(invalid)?;
    let mut builder = builder.set_issuer(key.keyid()).map_err(invalid)?;
    for (name, value) in statement.notations() {
        let readable = NotationDataFlags::empty().set_human_readable();
        builder = builder
            .set_notation(name, value, readable, false)
            .map_err(invalid)?;
    }
    let signature = |prefix, numbers| -> Signature {
        Signature4::new(
            builder.typ(),
            key.pk_algo(),
            hash::to_openpgp(statement.hash()),
            builder.hashed_area().clone(),
            builder.unhashed_area().clone(),
            prefix,
            numbers,
        )
        .into()
    };

    let draft = signature(
        [0; 2],
        mpi::Signature::Unknown {
            mpis: Box::new([]),
            rest: Box::new([]),
        },
    );
    over(&draft, &mut context).map_err(invalid)?;
    let digest = context.into_digest().map_err(invalid)?;
    let message = statement.composed(MessageDigest {
        algorithm: statement.hash(),
        bytes: digest.clone(),
    });
    let raw = sign(&message).map_err(MakeError::Token)?;

    let numbers = key::signature_numbers(key, &raw).ok_or(MakeError::WrongAnswer)?;
    let prefix = [digest[0], digest[1]];
    let signature = signature(prefix, numbers);
    signature
        .verify_digest(key, &digest)
        .map_err(|_| MakeError::WrongAnswer)?;
    Ok(signature)
}

/// As gpg stores it: a colon keeps it from being imported by accident.
fn revocation_certificate(certificate: &Certificate, revocation: Signature) -> String {
    let armour = armored(armor::Kind::PublicKey, revocation);
    format!(
        "This is a revocation certificate for the OpenPGP key\n\n    {}\n    {}\n\n\
         Anyone who has it can declare that key invalid for ever, so keep it away from the \
         signing\n\
         host. To use it, remove the colon before the dashes below, import the result\n\
         (gpg --import) and publish the certificate again.\n\n:{armour}",
        certificate.fingerprint(),
        certificate.user_ids().join(", "),
    )
}

fn invalid<E: miette::Diagnostic>(error: openpgp::anyhow::Error) -> MakeError<E> {
    MakeError::Invalid(first_line(&error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::malformed::Malformed;
    use crate::openpgp::DetachedSignature;
    use openpgp::crypto::{KeyPair, Signer};
    use openpgp::packet::Key;
    use openpgp::packet::key::{Key4, PrimaryRole, SecretParts};
    use openpgp::types::Curve;
    use std::convert::Infallible;

    fn software(
        key: Key4<SecretParts, PrimaryRole>,
    ) -> (
        PublicKey,
        impl FnMut(&Message<'_>) -> Result<RawSignature, Infallible>,
    ) {
        let mut pair: KeyPair = Key::from(key)
            .role_into_unspecified()
            .into_keypair()
            .expect("a key pair");
        let public = key::numbers(pair.public()).expect("a supported key");
        let wide =
            |number: &mpi::MPI, width| number.value_padded(width).expect("it fits").into_owned();
        let sign = move |message: &Message<'_>| {
            let size = match pair.public().mpis() {
                mpi::PublicKey::ECDSA { curve, .. } => curve.bits().expect("known").div_ceil(8),
                _ => 32,
            };
            Ok(
                match pair
                    .sign(
                        hash::to_openpgp(message.digest().algorithm),
                        &message.digest().bytes,
                    )
                    .expect("signed")
                {
                    mpi::Signature::RSA { s } => RawSignature::Rsa(s.value().to_vec()),
                    mpi::Signature::ECDSA { r, s } => RawSignature::Ecdsa {
                        r: wide(&r, size),
                        s: wide(&s, size),
                    },
                    mpi::Signature::EdDSA { r, s } => RawSignature::Ed25519(
                        [wide(&r, 32), wide(&s, 32)]
                            .concat()
                            .try_into()
                            .expect("64 bytes"),
                    ),
                    other => panic!("{other:?}"),
                },
            )
        };
        (public, sign)
    }

    fn time(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    fn new(hash: HashAlgorithm) -> NewCertificate {
        NewCertificate {
            user_id: "Test <test@example.org>".to_owned(),
            created: time("2026-01-01T00:00:00Z"),
            signed: time("2026-01-01T00:00:00Z"),
            expires: Some(time("2028-01-01T00:00:00Z")),
            hash,
            domain: Some("example.org".to_owned()),
        }
    }

    #[test]
    fn a_certificate_and_its_signatures_hold_for_each_kind_of_key() {
        let keys = [
            Key4::generate_ecc(true, Curve::Ed25519),
            Key4::generate_ecc(true, Curve::NistP256),
            Key4::generate_ecc(true, Curve::NistP384),
            Key4::generate_ecc(true, Curve::NistP521),
            Key4::generate_rsa(2048),
        ];
        for key in keys {
            let (public, mut sign) = software(key.expect("a key"));
            let hash = public.least_hash();
            let (certificate, revocation) =
                make_certificate(&public, &new(hash), &mut sign).expect("a certificate");
            // Policies get stricter: the certificate must still be accepted two years from now.
            let now = time("2027-12-31T00:00:00Z");
            let key = &certificate.signing_keys(now).expect("a signing key")[0];
            assert_eq!(
                (key.public(), key.expires()),
                (&public, Some(time("2028-01-01T00:00:00Z")))
            );
            assert_eq!(
                Certificate::parse(&certificate.binary()).expect("binary"),
                certificate
            );
            assert_eq!(
                Certificate::parse(certificate.armored().as_bytes()).expect("armour"),
                certificate
            );
            assert!(revocation.contains(":-----BEGIN PGP PUBLIC KEY BLOCK-----"));

            let notations = vec![("grant@example.org".into(), "x".into())];
            let what = Statement::evidence(now, hash, notations);
            let state = HashState::of(b"content", hash);
            let armoured =
                make_release_signature(key, &state, &what, &mut sign).expect("a signature");
            let signature =
                DetachedSignature::parse_release(armoured.as_bytes()).expect("one signature");
            for around in [
                format!("x\n{armoured}"),
                format!("{armoured}\n"),
                armoured.replace("\n\n", "\nComment: x\n\n"),
            ] {
                let rewritten = DetachedSignature::parse_release(around.as_bytes());
                let refused = rewritten.expect_err("rewritten").to_string();
                assert!(
                    refused.starts_with("the signature was rewritten"),
                    "{around}"
                );
            }
            let commented = armoured.replace("\n\n", "\nComment: x\n\n");
            let approval = DetachedSignature::parse_approval(commented.as_bytes());
            let kept = approval.expect("armour may have headers").to_packet();
            assert!(DetachedSignature::parse_kept(&kept).is_ok());
            let signed = signature
                .check(&certificate, &state, "content", now)
                .expect("good");
            assert_eq!(
                (signed.key, signed.created, signed.notations),
                (key.fingerprint(), now, what.notations().to_vec())
            );
            let other = HashState::of(b"other", hash);
            let mismatch = Malformed::new("the signature does not match `other`");
            assert_eq!(
                signature.check(&certificate, &other, "other", now),
                Err(mismatch.into())
            );
        }
    }

    #[test]
    fn an_expired_certificate_can_be_extended_and_stays_the_same_key() {
        let (public, mut sign) =
            software(Key4::generate_ecc(true, Curve::NistP384).expect("a key"));
        let (certificate, _) = make_certificate(&public, &new(HashAlgorithm::Sha512), &mut sign)
            .expect("a certificate");
        let now = time("2029-01-01T00:00:00Z");
        assert!(certificate.signing_keys(now).is_err());
        let end = time("2031-01-01T00:00:00Z");
        let extended = extend_certificate(
            &certificate,
            Some(end),
            &Statement::key(now, HashAlgorithm::Sha512, Some("example.org")),
            &mut sign,
        )
        .expect("extended");
        let key = &extended.signing_keys(now).expect("a signing key")[0];
        assert_eq!(
            (key.expires(), extended.fingerprint()),
            (Some(end), certificate.fingerprint())
        );
        let statement = Statement::key(end, HashAlgorithm::Sha512, Some("example.org"));
        let for_ever =
            extend_certificate(&extended, None, &statement, &mut sign).expect("extended");
        for signature in for_ever.cert().primary_key().self_signatures().chain(
            for_ever
                .cert()
                .userids()
                .flat_map(|id| id.self_signatures()),
        ) {
            let role = signature.notation("role@example.org").collect::<Vec<_>>();
            assert_eq!(role, [b"key"], "each self-signature says what it is, once");
        }
        assert_eq!(
            for_ever.signing_keys(end).expect("a signing key")[0].expires(),
            None
        );
    }

    #[test]
    fn a_deterministic_key_makes_the_same_bytes_twice() {
        for key in [
            Key4::generate_ecc(true, Curve::Ed25519),
            Key4::generate_rsa(2048),
        ] {
            let (public, mut sign) = software(key.expect("a key"));
            let (certificate, _) =
                make_certificate(&public, &new(HashAlgorithm::Sha256), &mut sign)
                    .expect("a certificate");
            let created = time("2026-06-01T00:00:00Z");
            let key = &certificate.signing_keys(created).expect("a signing key")[0];
            let notations = vec![
                ("grant@example.org".into(), "x".into()),
                ("log@example.org".into(), "7".into()),
            ];
            let what = Statement::evidence(created, HashAlgorithm::Sha256, notations);
            let mut asked = Vec::new();
            let mut make = || {
                let mut sign = |message: &Message<'_>| {
                    asked.push(message.digest().clone());
                    sign(message)
                };
                make_release_signature(
                    key,
                    &HashState::of(b"x", HashAlgorithm::Sha256),
                    &what,
                    &mut sign,
                )
                .expect("made")
            };
            assert_eq!(make(), make());
            // The digests are the same too, so any kind of key signs the same message.
            assert_eq!(asked[0], asked[1]);
        }
    }

    #[test]
    fn every_notation_of_a_release_signature_is_text() {
        let (public, mut sign) = software(Key4::generate_ecc(true, Curve::Ed25519).expect("a key"));
        let (certificate, _) = make_certificate(&public, &new(HashAlgorithm::Sha256), &mut sign)
            .expect("a certificate");
        let created = time("2026-06-01T00:00:00Z");
        let key = &certificate.signing_keys(created).expect("a signing key")[0];
        let statement = Statement::evidence(created, HashAlgorithm::Sha256, Vec::new());
        let state = HashState::of(b"x", HashAlgorithm::Sha256);
        let mut parsed = |value: &[u8], flags: NotationDataFlags, critical| {
            let draft = builder(SignatureType::Binary, created)
                .and_then(|it| it.add_notation("note@example.org", value, flags, critical))
                .expect("a draft");
            let context = state.context(HashAlgorithm::Sha256).expect("of SHA-256");
            let over = |draft: &Signature, context: &mut Context| draft.hash(context);
            let made = finish(draft, &key.key, context, &statement, &mut sign, &over);
            let armour = armored(armor::Kind::Signature, made.expect("made"));
            let parsed = DetachedSignature::parse_release(armour.as_bytes());
            parsed.map(|_| ()).map_err(|error| error.to_string())
        };
        let text = || NotationDataFlags::empty().set_human_readable();
        assert_eq!(parsed(b"text", text(), false), Ok(()));
        let bytes = parsed(b"text", NotationDataFlags::empty(), false);
        assert!(bytes.expect_err("bytes").contains("`note@example.org`"));
        for (value, flags, critical) in [
            (&b"text"[..], text().set(1).expect("a flag"), false),
            (b"text", text(), true),
            (b"\xff", text(), false),
        ] {
            parsed(value, flags, critical).expect_err("no text");
        }
    }

    #[test]
    fn a_wrong_answer_of_the_token_never_leaves() {
        let (public, mut sign) = software(Key4::generate_ecc(true, Curve::Ed25519).expect("a key"));
        let (certificate, _) = make_certificate(&public, &new(HashAlgorithm::Sha256), &mut sign)
            .expect("a certificate");
        let created = time("2026-06-01T00:00:00Z");
        let key = &certificate.signing_keys(created).expect("a signing key")[0];
        let what = Statement::self_test(created, HashAlgorithm::Sha256, "example.org");
        let state = HashState::of(b"x", HashAlgorithm::Sha256);
        let mut tampered = |message: &Message<'_>| match sign(message) {
            Ok(RawSignature::Ed25519(mut bytes)) => {
                bytes[0] ^= 1;
                Ok(RawSignature::Ed25519(bytes))
            }
            other => other,
        };
        let answer = make_release_signature(key, &state, &what, &mut tampered);
        assert!(matches!(answer, Err(MakeError::WrongAnswer)));
        let mut other_kind = |_: &Message<'_>| Ok::<_, Infallible>(RawSignature::Rsa(vec![1; 256]));
        let answer = make_release_signature(key, &state, &what, &mut other_kind);
        assert!(matches!(answer, Err(MakeError::WrongAnswer)));
    }
}
