//! DSSE envelopes (Dead Simple Signing Envelope, v1) with Ed25519 signatures (RFC 8032).
//!
//! The signature is over the pre-authentication encoding of type and payload, and is checked before
//! anything of the payload is parsed. What the payload says is not known here.

mod key;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::domain::json;

pub use key::{BadEd25519Key, PublicKey, SecretKey};

/// The type of an in-toto statement.
pub const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

/// The longest hint at a key, in bytes. Nobody signed it, and it goes with the release.
const LONGEST_KEY_ID: usize = 200;

/// An envelope that is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadEnvelope {
    /// Not JSON of the envelope's form.
    #[error("is not a DSSE envelope: {0}")]
    Json(String),
    /// Something else than an in-toto statement.
    #[error("has payload type `{0}`, not `{PAYLOAD_TYPE}`")]
    PayloadType(String),
    /// None, or several.
    #[error("has {0} signatures where exactly one must be")]
    NotOne(usize),
    /// A key id that is none.
    #[error("has a key id of more than {LONGEST_KEY_ID} bytes")]
    KeyId,
    /// Payload or signature in another encoding.
    #[error("has a {0} that is not canonical base64")]
    Base64(&'static str),
    /// Not a signature of this key over this payload.
    #[error("has a signature that is not by the builder's key, or does not fit its payload")]
    Signature,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Envelope {
    payload: String,
    payload_type: String,
    #[serde(deserialize_with = "json::objects")]
    signatures: Vec<Signature>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signature {
    /// A hint that nobody signed; it decides nothing, and ours is empty.
    #[serde(default)]
    keyid: String,
    sig: String,
}

/// The payload of the envelope in `bytes`, if `key` signed it.
pub fn open(bytes: &[u8], key: &PublicKey) -> Result<Vec<u8>, BadEnvelope> {
    let envelope: Envelope = json::parse(bytes).map_err(BadEnvelope::Json)?;
    let [signature] = &envelope.signatures[..] else {
        return Err(BadEnvelope::NotOne(envelope.signatures.len()));
    };
    if signature.keyid.len() > LONGEST_KEY_ID {
        return Err(BadEnvelope::KeyId);
    }
    if envelope.payload_type != PAYLOAD_TYPE {
        return Err(BadEnvelope::PayloadType(
            envelope.payload_type.chars().take(80).collect(),
        ));
    }
    let payload = STANDARD
        .decode(&envelope.payload)
        .map_err(|_| BadEnvelope::Base64("payload"))?;
    let signature = STANDARD
        .decode(&signature.sig)
        .map_err(|_| BadEnvelope::Base64("signature"))?;
    match key.verifies(
        &pre_authentication_encoding(PAYLOAD_TYPE, &payload),
        &signature,
    ) {
        true => Ok(payload),
        false => Err(BadEnvelope::Signature),
    }
}

/// The envelope of a payload, signed.
pub fn seal(payload: &[u8], key: &SecretKey) -> Vec<u8> {
    let signature = key.sign(&pre_authentication_encoding(PAYLOAD_TYPE, payload));
    let envelope = Envelope {
        payload: STANDARD.encode(payload),
        payload_type: PAYLOAD_TYPE.to_owned(),
        signatures: vec![Signature {
            keyid: String::new(),
            sig: STANDARD.encode(signature),
        }],
    };
    let mut bytes = serde_json::to_vec(&envelope).expect("an envelope can be written as JSON");
    bytes.push(b'\n');
    bytes
}

/// What is signed (DSSE protocol v1): `DSSEv1`, then type and payload, each behind its length.
fn pre_authentication_encoding(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!(
        "DSSEv1 {} {payload_type} {} ",
        payload_type.len(),
        payload.len()
    );
    [head.as_bytes(), payload].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An envelope of 2048 bytes.
    fn sealed() -> (SecretKey, Vec<u8>) {
        let key = SecretKey::generate();
        let payload = format!("{{\"fill\":\"{}\"}}", "x".repeat(1385));
        let mut sealed = seal(payload.as_bytes(), &key);
        // Without its last newline, which JSON does not need.
        sealed.pop();
        (key, sealed)
    }

    #[test]
    fn what_is_signed_is_what_the_protocol_says() {
        // The example in the protocol's own text.
        let encoded = pre_authentication_encoding("http://example.com/HelloWorld", b"hello world");
        assert_eq!(
            encoded,
            b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
        );
    }

    #[test]
    fn every_bit_counts() {
        let (key, sealed) = sealed();
        assert_eq!(sealed.len(), 2048);
        let public = key.public();
        assert!(open(&sealed, &public).is_ok());
        let mut accepted = Vec::new();
        for bit in 0..sealed.len() * 8 {
            let mut flipped = sealed.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            if open(&flipped, &public).is_ok() {
                accepted.push(bit);
            }
        }
        assert_eq!(accepted, [0; 0], "bits that count for nothing");
    }

    #[test]
    fn an_envelope_holds_for_its_key_and_form_alone() {
        let (key, sealed) = sealed();
        let text = String::from_utf8(sealed.clone()).expect("JSON is text");
        let public = key.public();
        assert_eq!(
            open(&sealed, &SecretKey::generate().public()),
            Err(BadEnvelope::Signature)
        );
        let signature = text
            [text.find("[{").expect("a list") + 1..text.find("}]").expect("its end") + 1]
            .to_owned();
        for (from, to) in [
            ("\"payloadType\":", "\"payloadType\":\"x\",\"payloadType\":"),
            ("{\"payload\":", "{\"payload\":\"\",\"payload\":"),
            ("{\"payload\":", "{\"colour\":\"red\",\"payload\":"),
            ("\"sig\":", "\"sig\":\"\",\"sig\":"),
            (PAYLOAD_TYPE, "application/json"),
            (signature.as_str(), ""),
            (signature.as_str(), &format!("{signature},{signature}")),
            ("==\"}", "\"}"),
            ("]}", "]} {}"),
        ] {
            let changed = text.replacen(from, to, 1);
            assert_ne!(changed, text, "{to} changed nothing");
            assert!(open(changed.as_bytes(), &public).is_err(), "{to}");
        }
        // Another tool's key id and white space change nothing that counts.
        let other = text.replacen("\"keyid\":\"\"", " \"keyid\": \"release\"", 1);
        assert!(open(other.as_bytes(), &public).is_ok());
        assert!(open(text.replacen("\"keyid\":\"\",", "", 1).as_bytes(), &public).is_ok());
    }
}
