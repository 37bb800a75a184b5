//! OpenPGP as an adversary or another tool would use it: by the library, past the program under
//! test.

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use sequoia_openpgp as openpgp;

use openpgp::cert::{CertBuilder, CipherSuite};
#[cfg(feature = "host")]
use openpgp::crypto::mpi::SecretKeyMaterial as SecretNumbers;
#[cfg(feature = "host")]
use openpgp::packet::key::SecretKeyMaterial;
use openpgp::packet::signature::SignatureBuilder;
use openpgp::packet::signature::subpacket::NotationDataFlags;
use openpgp::parse::Parse as _;
use openpgp::policy::StandardPolicy;
use openpgp::serialize::SerializeInto as _;
#[cfg(feature = "host")]
use openpgp::types::ReasonForRevocation;
use openpgp::types::{HashAlgorithm, SignatureType};
use openpgp::{Cert, Packet, Profile, armor};

/// The secret key in a file.
pub(crate) fn secret_key(path: &Path) -> Cert {
    Cert::from_file(path).expect("an OpenPGP key")
}

/// A key of no grant: OpenPGP v4, Ed25519, made an hour ago.
pub(crate) fn stranger() -> Cert {
    let hour = Duration::from_secs(3600);
    let made = CertBuilder::new()
        .set_profile(Profile::RFC4880)
        .expect("OpenPGP v4 is known")
        .set_cipher_suite(CipherSuite::Cv25519)
        .set_creation_time(SystemTime::now() - hour)
        .add_userid("Stranger <stranger@example.org>")
        .add_signing_subkey()
        .generate();
    made.expect("a key").0
}

/// An armoured certificate of an Ed25519 key at this point, with this number of user ids, that
/// nobody signed.
#[cfg(feature = "host")]
pub(crate) fn bare_certificate(point: &[u8; 32], user_ids: usize) -> Vec<u8> {
    use openpgp::crypto::mpi::{MPI, PublicKey};
    use openpgp::packet::key::{Key4, PrimaryRole, PublicParts};
    use openpgp::packet::{Key, UserID};
    let q = MPI::new(&[&[0x40], point.as_slice()].concat());
    let mpis = PublicKey::EdDSA {
        curve: openpgp::types::Curve::Ed25519,
        q,
    };
    let key = Key4::<PublicParts, PrimaryRole>::new(
        SystemTime::now(),
        openpgp::types::PublicKeyAlgorithm::EdDSA,
        mpis,
    );
    let key: Key<_, _> = key.expect("a key").into();
    let user_ids = (0..user_ids).map(|number| UserID::from(format!("user {number}")).into());
    let cert =
        Cert::from_packets([Packet::from(key)].into_iter().chain(user_ids)).expect("a certificate");
    cert.armored().to_vec().expect("armour in memory")
}

/// A detached signature, in binary form, of the first signing key in `key` over `bytes`.
pub(crate) fn detached(key: &Cert, bytes: &[u8]) -> Vec<u8> {
    detached_as(SignatureType::Binary, key, bytes)
}

/// As [`detached`], of any type: a signature that would be valid if its type were not checked.
pub(crate) fn detached_as(kind: SignatureType, key: &Cert, bytes: &[u8]) -> Vec<u8> {
    made(SignatureBuilder::new(kind), key, bytes)
}

/// As [`detached`], with these notations, and made at another time.
pub(crate) fn detached_with(
    key: &Cert,
    bytes: &[u8],
    notations: &[(&str, &str)],
    at: SystemTime,
) -> Vec<u8> {
    let readable = NotationDataFlags::empty().set_human_readable();
    let mut builder = SignatureBuilder::new(SignatureType::Binary)
        .set_signature_creation_time(at)
        .expect("a time");
    for (name, value) in notations {
        builder = builder
            .add_notation(name, value, readable.clone(), false)
            .expect("a notation");
    }
    made(builder, key, bytes)
}

fn made(builder: SignatureBuilder, key: &Cert, bytes: &[u8]) -> Vec<u8> {
    let policy = StandardPolicy::new();
    let keys = key.keys().with_policy(&policy, None).for_signing().secret();
    let key = keys
        .map(|ka| ka.key().clone())
        .next()
        .expect("a signing key");
    let mut signer = key.into_keypair().expect("an unprotected key");
    let mut hash = HashAlgorithm::SHA256
        .context()
        .expect("SHA-256 is known")
        .for_signature(4);
    hash.update(bytes);
    let builder = builder.set_hash_algo(HashAlgorithm::SHA256);
    let signature = builder.sign_hash(&mut signer, hash).expect("a signature");
    Packet::from(signature)
        .to_vec()
        .expect("a packet in memory")
}

/// The packet of an armoured signature, in its shortest form.
pub(crate) fn dearmored(signature: &[u8]) -> Vec<u8> {
    let packet = Packet::from_bytes(signature).expect("a signature");
    packet.to_vec().expect("a packet in memory")
}

/// The same armoured ECDSA signature over P-256 with the other `s`, which is valid too.
#[cfg(feature = "host")]
pub(crate) fn twin(signature: &[u8]) -> Vec<u8> {
    use openpgp::crypto::mpi;
    use openpgp::packet::signature::Signature4;
    let order = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
    let order = hex::decode(order).expect("hex");
    let Ok(Packet::Signature(like)) = Packet::from_bytes(signature) else {
        panic!("no signature")
    };
    let mpi::Signature::ECDSA { r, s } = like.mpis() else {
        panic!("no ECDSA signature")
    };
    let s = s.value_padded(order.len()).expect("short");
    let mut other = vec![0; order.len()];
    let mut borrowed = 0;
    for at in (0..order.len()).rev() {
        let left = i32::from(order[at]) - i32::from(s[at]) - borrowed;
        borrowed = i32::from(left < 0);
        other[at] = u8::try_from(left + 256 * borrowed).expect("a digit");
    }
    let numbers = mpi::Signature::ECDSA {
        r: r.clone(),
        s: mpi::MPI::new(&other),
    };
    let [hashed, unhashed] = [like.hashed_area(), like.unhashed_area()].map(Clone::clone);
    let signature = Signature4::new(
        like.typ(),
        like.pk_algo(),
        like.hash_algo(),
        hashed,
        unhashed,
        *like.digest_prefix(),
        numbers,
    );
    let packet = Packet::from(signature).to_vec();
    armored(&packet.expect("a packet in memory"))
}

/// An armoured certificate with one more packet.
pub(crate) fn with_packet(certificate: &[u8], packet: &[u8]) -> Vec<u8> {
    let cert = Cert::from_bytes(certificate).expect("a certificate");
    let mut writer =
        armor::Writer::new(Vec::new(), armor::Kind::PublicKey).expect("armour in memory");
    let packets = cert.to_vec().expect("packets in memory");
    writer.write_all(&packets).expect("armour in memory");
    writer.write_all(packet).expect("armour in memory");
    writer.finalize().expect("armour in memory")
}

/// The key id that a signature names.
pub(crate) fn issuer(signature: &[u8]) -> Vec<u8> {
    let Ok(Packet::Signature(signature)) = Packet::from_bytes(signature) else {
        panic!("no signature")
    };
    let issuer = signature.get_issuers()[0].clone();
    openpgp::KeyID::from(issuer).as_bytes().to_vec()
}

/// What is in the packet of a signature, behind its header in the new format.
pub(crate) fn body(packet: &[u8]) -> &[u8] {
    let header = match packet[1] {
        0..=191 => 2,
        192..=223 => 3,
        _ => 6,
    };
    &packet[header..]
}

/// The signature in `like`, armoured, made again over other bytes with the key of a `file:` token.
#[cfg(feature = "host")]
pub(crate) fn signed_again(like: &[u8], token: &Path, bytes: &[u8]) -> Vec<u8> {
    use ed25519_dalek::Signer as _;
    use ed25519_dalek::pkcs8::DecodePrivateKey as _;
    use openpgp::crypto::hash::Hash as _;
    use openpgp::crypto::mpi;
    use openpgp::packet::signature::Signature4;
    let Ok(Packet::Signature(like)) = Packet::from_bytes(like) else {
        panic!("no signature")
    };
    let pem = std::fs::read_to_string(token).expect("the token");
    let secret = ed25519_dalek::SigningKey::from_pkcs8_pem(&pem).expect("an Ed25519 key");
    let hash = like.hash_algo();
    let mut context = hash.context().expect("a hash").for_signature(4);
    context.update(bytes);
    like.hash(&mut context).expect("hashed");
    let digest = context.into_digest().expect("a digest");
    let made = secret.sign(&digest).to_bytes();
    let numbers = mpi::Signature::EdDSA {
        r: mpi::MPI::new(&made[..32]),
        s: mpi::MPI::new(&made[32..]),
    };
    let [hashed, unhashed] = [like.hashed_area(), like.unhashed_area()].map(Clone::clone);
    let prefix = [digest[0], digest[1]];
    let key = like.pk_algo();
    let signature = Signature4::new(like.typ(), key, hash, hashed, unhashed, prefix, numbers);
    armored(
        &Packet::from(signature)
            .to_vec()
            .expect("a packet in memory"),
    )
}

/// A detached signature in the armour that the signing host writes.
pub(crate) fn armored(signature: &[u8]) -> Vec<u8> {
    let mut writer =
        armor::Writer::new(Vec::new(), armor::Kind::Signature).expect("armour in memory");
    writer.write_all(signature).expect("armour in memory");
    writer.finalize().expect("armour in memory")
}

/// The certificate in `certificate` with the revocation in `revocation` (whose armour has a colon
/// before it) applied, armoured.
pub(crate) fn revoked(certificate: &Path, revocation: &str) -> Vec<u8> {
    let armour = &revocation[revocation.find("-----BEGIN").expect("armour")..];
    let revocation = Packet::from_bytes(armour).expect("a revocation");
    let (cert, _) = secret_key(certificate)
        .insert_packets(revocation)
        .expect("a certificate");
    cert.armored().to_vec().expect("armour in memory")
}

/// The bytes of an Ed25519 secret.
#[cfg(feature = "host")]
pub(crate) fn ed25519_secret(secret: &SecretKeyMaterial) -> [u8; 32] {
    let SecretKeyMaterial::Unencrypted(secret) = secret else {
        panic!("an unprotected key")
    };
    secret.map(|numbers| match numbers {
        SecretNumbers::EdDSA { scalar } => scalar
            .value_padded(32)
            .as_ref()
            .try_into()
            .expect("32 bytes"),
        other => panic!("{other:?}"),
    })
}

/// A certificate whose primary key only certifies, with one signing subkey.
#[cfg(feature = "host")]
pub(crate) struct WithSubkey {
    /// Armoured.
    pub(crate) certificate: Vec<u8>,
    /// The same, revoked by its primary key.
    pub(crate) revoked: Vec<u8>,
    /// The subkey's.
    pub(crate) secret: [u8; 32],
    /// The subkey's.
    pub(crate) fingerprint: String,
}

/// Makes one, an hour ago.
#[cfg(feature = "host")]
pub(crate) fn with_signing_subkey(user_id: &str) -> WithSubkey {
    with_subkey(&new_certificate(user_id).generate().expect("a key").0)
}

/// A certificate with two signing subkeys: with the first, and the secret of the second.
#[cfg(feature = "host")]
pub(crate) fn with_two_signing_subkeys(user_id: &str) -> (WithSubkey, [u8; 32]) {
    let made = new_certificate(user_id).add_signing_subkey().generate();
    let cert = made.expect("a key").0;
    let second = cert.keys().subkeys().secret().nth(1);
    let second = ed25519_secret(second.expect("the second").key().secret());
    (with_subkey(&cert), second)
}

#[cfg(feature = "host")]
fn new_certificate(user_id: &str) -> CertBuilder<'static> {
    CertBuilder::new()
        .set_profile(Profile::RFC4880)
        .expect("OpenPGP v4 is known")
        .set_cipher_suite(CipherSuite::Cv25519)
        .set_creation_time(SystemTime::now() - Duration::from_secs(3600))
        .add_userid(user_id)
        .add_signing_subkey()
}

#[cfg(feature = "host")]
fn with_subkey(cert: &Cert) -> WithSubkey {
    let subkey = cert
        .keys()
        .subkeys()
        .secret()
        .next()
        .expect("the subkey")
        .key()
        .clone();
    let secret = ed25519_secret(subkey.secret());

    let primary = cert
        .primary_key()
        .key()
        .clone()
        .parts_into_secret()
        .expect("its secret");
    let mut primary = primary.into_keypair().expect("an unprotected key");
    let revocation = cert
        .revoke(&mut primary, ReasonForRevocation::KeyCompromised, b"lost")
        .expect("a revocation");
    let (revoked, _) = cert
        .clone()
        .insert_packets(revocation)
        .expect("a certificate");
    let armoured = |cert: &Cert| cert.armored().to_vec().expect("armour in memory");
    WithSubkey {
        certificate: armoured(cert),
        revoked: armoured(&revoked),
        secret,
        fingerprint: subkey.fingerprint().to_hex(),
    }
}

/// An Ed25519 secret as tokens take it in.
#[cfg(feature = "host")]
pub(crate) fn pkcs8_pem(secret: &[u8; 32]) -> String {
    use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
    use ed25519_dalek::pkcs8::{EncodePrivateKey as _, KeypairBytes};
    // Without the public half, because OpenSSL, and with it softhsm2-util, reads version 1 of
    // PKCS#8 alone.
    let pem = KeypairBytes {
        secret_key: *secret,
        public_key: None,
    }
    .to_pkcs8_pem(LineEnding::LF);
    pem.expect("an Ed25519 key has a PKCS#8 form").to_string()
}
