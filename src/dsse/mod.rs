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

/// The longest key id, in bytes. It is not signed, and not kept.
const LONGEST_KEY_ID: usize = 200;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Fields {
    payload: String,
    payload_type: String,
    #[serde(deserialize_with = "json::objects")]
    signatures: Vec<Signature>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signature {
    /// Not signed and not used; ours is empty, as other readers want the field.
    #[serde(default)]
    keyid: String,
    sig: String,
}

/// An envelope of a statement: a payload and one signature, not yet checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    payload: Vec<u8>,
    signature: Vec<u8>,
}

impl Envelope {
    /// Reads an envelope, with any white space and key id.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let fields: Fields = json::parse(bytes)
            .map_err(|error: Malformed| error.within("the file is not a DSSE envelope"))?;
        let [signature] = &fields.signatures[..] else {
            let count = fields.signatures.len();
            return Err(Malformed::new(format!(
                "the envelope has {count} signatures; expected one"
            )));
        };
        if signature.keyid.len() > LONGEST_KEY_ID {
            return Err(Malformed::new(format!(
                "the envelope has a key id of more than {LONGEST_KEY_ID} bytes"
            )));
        }
        if fields.payload_type != PAYLOAD_TYPE {
            let found = cut(&fields.payload_type, 80);
            return Err(Malformed::new(format!(
                "the envelope has payload type `{found}`, not `{PAYLOAD_TYPE}`"
            )));
        }
        Ok(Self {
            payload: decode("payload", &fields.payload)?,
            signature: decode("signature", &signature.sig)?,
        })
    }

    /// Reads an envelope in the form of [`Envelope::to_json`].
    pub fn parse_kept(bytes: &[u8]) -> Result<Self, Malformed> {
        let envelope = Self::parse(bytes)?;
        if envelope.to_json() == bytes {
            Ok(envelope)
        } else {
            Err(Malformed::new(
                "the envelope is not in the form in which the signing host keeps it",
            ))
        }
    }

    /// Its one form, which is kept.
    pub fn to_json(&self) -> Vec<u8> {
        let fields = Fields {
            payload: STANDARD.encode(&self.payload),
            payload_type: PAYLOAD_TYPE.to_owned(),
            signatures: vec![Signature {
                keyid: String::new(),
                sig: STANDARD.encode(&self.signature),
            }],
        };
        let mut bytes = serde_json::to_vec(&fields).expect("an envelope can be written as JSON");
        bytes.push(b'\n');
        bytes
    }

    /// The payload, if `key` signed it.
    pub fn open(&self, key: &PublicKey) -> Result<&[u8], Malformed> {
        let signed = pre_authentication_encoding(PAYLOAD_TYPE, &self.payload);
        if key.verifies(&signed, &self.signature) {
            Ok(&self.payload)
        } else {
            Err(Malformed::new(
                "the envelope's signature is not by the builder's key, or does not match the \
                 payload",
            ))
        }
    }
}

/// The envelope of a payload, signed.
pub fn seal(payload: &[u8], key: &SecretKey) -> Vec<u8> {
    let signature = key.sign(&pre_authentication_encoding(PAYLOAD_TYPE, payload));
    let envelope = Envelope {
        payload: payload.to_vec(),
        signature: signature.to_vec(),
    };
    envelope.to_json()
}

fn decode(what: &str, base64: &str) -> Result<Vec<u8>, Malformed> {
    STANDARD
        .decode(base64)
        .map_err(|_| Malformed::new(format!("the envelope's {what} is not canonical base64")))
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

    /// An envelope of 2049 bytes.
    fn sealed() -> (SecretKey, Vec<u8>) {
        let key = SecretKey::generate();
        let payload = format!("{{\"fill\":\"{}\"}}", "x".repeat(1385));
        let sealed = seal(payload.as_bytes(), &key);
        (key, sealed)
    }

    fn open(kept: &[u8], key: &PublicKey) -> Result<Vec<u8>, Malformed> {
        Ok(Envelope::parse_kept(kept)?.open(key)?.to_vec())
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
        assert_eq!(sealed.len(), 2049);
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
    }

    #[test]
    fn the_key_id_and_white_space_of_another_tool_are_not_kept() {
        let (key, sealed) = sealed();
        let text = String::from_utf8(sealed.clone()).expect("JSON is text");
        for framed in [
            text.replacen("\"keyid\":\"\"", " \"keyid\": \"release\"", 1),
            text.replacen("\"keyid\":\"\",", "", 1),
            text.replacen('{', "{ \n\t\r", 1),
            text.trim_end().to_owned(),
            format!("{text}\n"),
            text.replacen("\"sig\"", "\"\\u0073ig\"", 1),
        ] {
            assert_ne!(framed, text);
            let envelope = Envelope::parse(framed.as_bytes()).expect("an envelope");
            assert!(envelope.open(&key.public()).is_ok());
            assert_eq!(envelope.to_json(), sealed);
            let refused = Envelope::parse_kept(framed.as_bytes()).expect_err("another form");
            assert!(refused.to_string().contains("in which the signing host"));
        }
    }
}
