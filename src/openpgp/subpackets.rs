//! What a signature may say in its subpackets (RFC 9580, section 5.2.3.7).
//!
//! Verifiers differ in what they know, overlook and refuse, and a release must be valid with gpgv
//! and sqv for ever. So a signature has what gpg, sq and this program write, and nothing else.

use std::collections::BTreeSet;

use sequoia_openpgp as openpgp;

use openpgp::KeyHandle;
use openpgp::packet::Signature;
use openpgp::packet::signature::subpacket::{
    NotationData, NotationDataFlags, Subpacket, SubpacketArea, SubpacketValue,
};
use openpgp::serialize::MarshalInto;

use crate::domain::malformed::Malformed;
use crate::domain::text::cut;
use crate::domain::time::Timestamp;

/// The largest hashed area, in bytes. gpgv refuses one of 30,000.
const LARGEST_HASHED: usize = 4 << 10;
/// Maximum number of notations.
const MOST_NOTATIONS: usize = 32;
const PREFERRED_AEAD: u8 = 34;

/// Who made a signature, and when, as it says itself.
#[derive(Debug, Clone)]
pub(super) struct Maker {
    /// A fingerprint if it has one, otherwise a key id.
    pub(super) issuer: KeyHandle,
    pub(super) created: Timestamp,
}

/// What a signature is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    File,
    /// A part of a certificate.
    Key,
    /// A subkey, which signs in turn that it belongs to the primary key.
    Subkey,
}

/// Reads who made a v4 signature and when, if each subpacket is one that every verifier takes in
/// the same way.
pub(super) fn maker(signature: &Signature, over: Over) -> Result<Maker, Malformed> {
    let hashed = signature.hashed_area();
    if hashed.serialized_len() > LARGEST_HASHED {
        return Err(Malformed::new(format!(
            "the signature has more than {LARGEST_HASHED} bytes in its hashed area"
        )));
    }
    check_area(hashed, true, over)?;
    check_area(signature.unhashed_area(), false, over)?;
    check_notations(signature.notation_data())?;

    let created = signature.signature_creation_time().map(Timestamp::from);
    let created = created.ok_or_else(|| Malformed::new("the signature has no creation time"))?;
    let issuers = signature.get_issuers();
    let issuer = issuers
        .first()
        .ok_or_else(|| Malformed::new("the signature does not name its key"))?;
    if issuers.iter().any(|other| !other.aliases(issuer)) {
        return Err(Malformed::new("the signature names two keys as its own"));
    }
    Ok(Maker {
        issuer: issuer.clone(),
        created,
    })
}

fn check_area(area: &SubpacketArea, is_hashed: bool, over: Over) -> Result<(), Malformed> {
    let name = if is_hashed { "hashed" } else { "unhashed" };
    let mut seen = BTreeSet::new();
    for subpacket in area.iter() {
        let tag = subpacket.tag();
        if !is_allowed(subpacket, is_hashed, over) {
            let critical = if subpacket.critical() {
                "critical "
            } else {
                ""
            };
            return Err(Malformed::new(format!(
                "the signature has a {critical}subpacket `{tag}` in its {name} area, which not \
                 every verifier takes there"
            )));
        }
        let is_notation = matches!(subpacket.value(), SubpacketValue::NotationData(_));
        if !seen.insert(u8::from(tag)) && !is_notation {
            return Err(Malformed::new(format!(
                "the signature has two subpackets `{tag}` in its {name} area"
            )));
        }
        let again = Subpacket::new(subpacket.value().clone(), subpacket.critical());
        if !again.is_ok_and(|again| written(&again) == written(subpacket)) {
            return Err(Malformed::new(format!(
                "the signature has a subpacket `{tag}` that is not in its shortest form"
            )));
        }
    }
    Ok(())
}

/// Whether gpg, sq or this program write it there. Nothing critical is, that gpgv may not know.
fn is_allowed(subpacket: &Subpacket, is_hashed: bool, over: Over) -> bool {
    let is_critical = subpacket.critical();
    let is_of_key = is_hashed && over != Over::File;
    match subpacket.value() {
        SubpacketValue::SignatureCreationTime(_) => is_hashed,
        SubpacketValue::Issuer(_) => !is_critical,
        SubpacketValue::IssuerFingerprint(key) => {
            !is_critical && matches!(key, openpgp::Fingerprint::V4(_))
        }
        SubpacketValue::NotationData(_) => is_hashed && !is_critical,
        SubpacketValue::SignersUserID(_) => is_hashed && over == Over::File && !is_critical,
        // sq marks it as critical where it is hashed.
        SubpacketValue::EmbeddedSignature(_) => over == Over::Subkey && (is_hashed || !is_critical),
        SubpacketValue::KeyExpirationTime(_)
        | SubpacketValue::PrimaryUserID(_)
        | SubpacketValue::KeyFlags(_) => is_of_key,
        SubpacketValue::PreferredSymmetricAlgorithms(_)
        | SubpacketValue::PreferredHashAlgorithms(_)
        | SubpacketValue::PreferredCompressionAlgorithms(_)
        | SubpacketValue::PreferredAEADCiphersuites(_)
        | SubpacketValue::KeyServerPreferences(_)
        | SubpacketValue::PreferredKeyServer(_)
        | SubpacketValue::PolicyURI(_)
        | SubpacketValue::ReasonForRevocation { .. }
        | SubpacketValue::Features(_) => is_of_key && !is_critical,
        // As gpg 2.4 writes it.
        SubpacketValue::Unknown { tag, .. } => {
            is_of_key && !is_critical && u8::from(*tag) == PREFERRED_AEAD
        }
        _ => false,
    }
}

/// Each name once, as text that one line can show; a value is text, or bytes.
fn check_notations<'a>(notations: impl Iterator<Item = &'a NotationData>) -> Result<(), Malformed> {
    let mut names = BTreeSet::new();
    for notation in notations {
        let name = notation.name();
        if !names.insert(name) {
            let name = cut(name, 60);
            return Err(Malformed::new(format!(
                "the signature has the notation `{name}` twice"
            )));
        }
        let text = NotationDataFlags::empty().set_human_readable();
        let is_text = *notation.flags() == text && str::from_utf8(notation.value()).is_ok();
        let is_bytes = *notation.flags() == NotationDataFlags::empty();
        let is_plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_plain || !(is_text || is_bytes) {
            return Err(Malformed::new(
                "the signature has a notation that is neither text nor bytes under a plain name",
            ));
        }
    }
    if names.len() > MOST_NOTATIONS {
        return Err(Malformed::new(format!(
            "the signature has more than {MOST_NOTATIONS} notations"
        )));
    }
    Ok(())
}

fn written(subpacket: &Subpacket) -> Vec<u8> {
    subpacket.to_vec().expect("memory can be written")
}
