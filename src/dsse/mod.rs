//! DSSE envelopes (Dead Simple Signing Envelope, v1) with Ed25519 signatures (RFC 8032).
//!
//! The signature is over the pre-authentication encoding of type and payload, and is checked before
//! the payload is parsed. This module does not know what a payload contains.

mod key;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::domain::json;
use crate::domain::malformed::Malformed;
use crate::domain::text::cut;

pub use key::{PublicKey, SecretKey};

/// The type of an in-toto statement.
pub const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

/// The longest key id, in bytes. It is not signed, but becomes part of the release.
const LONGEST_KEY_ID: usize = 200;

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
    /// Not signed and not used; ours is empty.
    #[serde(default)]
    keyid: String,
    sig: String,
}

/// The payload of the envelope in `bytes`, if `key` signed it.
pub fn open(bytes: &[u8], key: &PublicKey) -> Result<Vec<u8>, Malformed> {
    let (payload, signature) = parse(bytes)?;
    let signed = pre_authentication_encoding(PAYLOAD_TYPE, &payload);
    if key.verifies(&signed, &signature) {
        Ok(payload)
    } else {
        Err(Malformed::new(
            "the envelope's signature is not by the builder's key, or does not match the payload",
        ))
    }
}

/// The payload of the envelope in `bytes`, not verified.
pub fn unverified(bytes: &[u8]) -> Result<Vec<u8>, Malformed> {
    parse(bytes).map(|(payload, _)| payload)
}

/// Payload and signature of an envelope.
fn parse(bytes: &[u8]) -> Result<(Vec<u8>, Vec<u8>), Malformed> {
    let envelope: Envelope = json::parse(bytes)
        .map_err(|error: Malformed| error.within("the file is not a DSSE envelope"))?;
    let [signature] = &envelope.signatures[..] else {
        let count = envelope.signatures.len();
        return Err(Malformed::new(format!(
            "the envelope has {count} signatures; expected one"
        )));
    };
    if signature.keyid.len() > LONGEST_KEY_ID {
        return Err(Malformed::new(format!(
            "the envelope has a key id of more than {LONGEST_KEY_ID} bytes"
        )));
    }
    if envelope.payload_type != PAYLOAD_TYPE {
        let found = cut(&envelope.payload_type, 80);
        return Err(Malformed::new(format!(
            "the envelope has payload type `{found}`, not `{PAYLOAD_TYPE}`"
        )));
    }
    let payload = decode("payload", &envelope.payload)?;
    let signature = decode("signature", &signature.sig)?;
    Ok((payload, signature))
}

fn decode(what: &str, base64: &str) -> Result<Vec<u8>, Malformed> {
    STANDARD
        .decode(base64)
        .map_err(|_| Malformed::new(format!("the envelope's {what} is not canonical base64")))
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

/// The signed bytes (DSSE protocol v1): `DSSEv1`, then type and payload, each after its length.
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
    fn the_signed_bytes_are_those_of_the_protocol() {
        // The example in the protocol's own text.
        let encoded = pre_authentication_encoding("http://example.com/HelloWorld", b"hello world");
        assert_eq!(
            encoded,
            b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
        );
    }

    #[test]
    fn every_bit_is_checked() {
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
        assert_eq!(accepted, [0; 0], "bits that are not checked");
    }

    #[test]
    fn an_envelope_is_valid_for_its_key_and_form_alone() {
        let (key, sealed) = sealed();
        let text = String::from_utf8(sealed.clone()).expect("JSON is text");
        let public = key.public();
        let by_other = open(&sealed, &SecretKey::generate().public()).expect_err("refused");
        assert!(by_other.to_string().contains("not by the builder's key"));
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
        // The key id and white space of another tool make no difference.
        let other = text.replacen("\"keyid\":\"\"", " \"keyid\": \"release\"", 1);
        assert!(open(other.as_bytes(), &public).is_ok());
        assert!(open(text.replacen("\"keyid\":\"\",", "", 1).as_bytes(), &public).is_ok());
    }
}
