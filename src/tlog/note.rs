//! Signed notes: a text with signature lines below it (<https://c2sp.org/signed-note>), under
//! Ed25519 keys.
//!
//! The crate `signed_note` reads these too. It takes signatures that `verify_strict` refuses, and
//! keeps the secret key in texts that are not wiped; what is left of it to use is less than this
//! file.

use std::fmt;
use std::str::FromStr;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::{from_base64, to_base64};
use crate::domain::digest::as_text;
use crate::domain::malformed::Malformed;

/// The largest note that is read, in bytes: room for 16 signatures of ML-DSA, which the
/// specification asks for.
pub const LARGEST_NOTE: usize = 256 << 10;
/// The most signatures that a note may carry.
const MOST_SIGNATURES: usize = 64;
/// The longest name of a key, in bytes.
const LONGEST_NAME: usize = 500;
/// What the specification calls Ed25519.
const ED25519: u8 = 1;
const SECRET: &str = "PRIVATE+KEY+";

/// The public half of a key for notes, written `NAME+ID+BASE64`.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: [u8; 4],
    key: VerifyingKey,
}

/// The secret half, written `PRIVATE+KEY+NAME+ID+BASE64`. Never shown; wiped when dropped.
pub struct SignerKey {
    name: String,
    key: SigningKey,
}

/// A note whose signatures have not been looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<NoteSignature>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct NoteSignature {
    name: String,
    id: [u8; 4],
    signature: Vec<u8>,
}

impl VerifierKey {
    /// Its name: for a log, the log's origin.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn new(name: &str, key: VerifyingKey) -> Self {
        Self {
            name: name.to_owned(),
            id: id(name, &key),
            key,
        }
    }
}

fn id(name: &str, key: &VerifyingKey) -> [u8; 4] {
    let hash = Sha256::new_with_prefix(name)
        .chain_update([b'\n', ED25519])
        .chain_update(key.as_bytes())
        .finalize();
    [hash[0], hash[1], hash[2], hash[3]]
}

fn is_name(name: &str) -> bool {
    let bad = |c: char| c.is_whitespace() || c.is_control() || c == '+';
    (1..=LONGEST_NAME).contains(&name.len()) && !name.contains(bad)
}

fn not_a_key() -> Malformed {
    Malformed::new("the key is not of the form `NAME+ID+BASE64`")
}

fn bad_name() -> Malformed {
    Malformed::new(
        "the key's name is empty, too long, or has a space, a `+` or a control character",
    )
}

fn not_ed25519() -> Malformed {
    Malformed::new("the key is not an Ed25519 key")
}

fn other_id() -> Malformed {
    Malformed::new("the key's id does not match its name and its bytes")
}

fn not_a_point() -> Malformed {
    Malformed::new("the key is a point of small order, or not a point of the curve")
}

type KeyBytes = Zeroizing<[u8; 32]>;

/// The name, id and bytes in a key's text.
fn parts(text: &str) -> Result<(&str, [u8; 4], KeyBytes), Malformed> {
    let mut parts = text.splitn(3, '+');
    let (Some(name), Some(hex), Some(base64)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(not_a_key());
    };
    if !is_name(name) {
        return Err(bad_name());
    }
    let mut id = [0; 4];
    if hex.bytes().any(|b| b.is_ascii_uppercase()) || hex::decode_to_slice(hex, &mut id).is_err() {
        return Err(not_a_key());
    }
    let bytes = Zeroizing::new(from_base64(base64).ok_or_else(not_a_key)?);
    match bytes.split_first() {
        Some((&ED25519, key)) => Ok((
            name,
            id,
            Zeroizing::new(key.try_into().map_err(|_| not_a_key())?),
        )),
        Some(_) => Err(not_ed25519()),
        None => Err(not_a_key()),
    }
}

impl FromStr for VerifierKey {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let (name, id, bytes) = parts(text)?;
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| not_a_point())?;
        let key = Self::new(name, key);
        if key.id != id {
            return Err(other_id());
        }
        if key.key.is_weak() {
            return Err(not_a_point());
        }
        Ok(key)
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = to_base64(&[&[ED25519], &self.key.as_bytes()[..]].concat());
        write!(f, "{}+{}+{key}", self.name, hex::encode(self.id))
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

as_text!(VerifierKey);

impl SignerKey {
    /// A new key of this name, from the operating system's random bytes.
    pub fn generate(name: &str) -> Result<Self, Malformed> {
        if !is_name(name) {
            return Err(bad_name());
        }
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *seed).expect("the operating system has random bytes");
        Ok(Self {
            name: name.to_owned(),
            key: SigningKey::from_bytes(&seed),
        })
    }

    /// Reads a key.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let (name, id, seed) = parts(text.strip_prefix(SECRET).ok_or_else(not_a_key)?)?;
        let key = Self {
            name: name.to_owned(),
            key: SigningKey::from_bytes(&seed),
        };
        if key.public().id == id {
            Ok(key)
        } else {
            Err(other_id())
        }
    }

    /// The key as text.
    pub fn to_text(&self) -> Zeroizing<String> {
        let bytes = Zeroizing::new([&[ED25519], &self.key.as_bytes()[..]].concat());
        let base64 = Zeroizing::new(to_base64(&bytes));
        let id = hex::encode(self.public().id);
        Zeroizing::new([SECRET, &self.name, "+", &id, "+", &base64].concat())
    }

    /// Its public half.
    pub fn public(&self) -> VerifierKey {
        VerifierKey::new(&self.name, self.key.verifying_key())
    }

    /// The note that says `text`, with its signature: lines without control characters, each with
    /// its end.
    pub fn sign(&self, text: &str) -> String {
        assert!(
            is_text(text) && text.ends_with('\n'),
            "what is signed is lines of text"
        );
        let signature = self.key.sign(text.as_bytes()).to_bytes();
        let signature = to_base64(&[&self.public().id[..], &signature].concat());
        format!("{text}\n\u{2014} {} {signature}\n", self.name)
    }
}

impl fmt::Debug for SignerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SignerKey")
    }
}

fn is_text(text: &str) -> bool {
    !text.bytes().any(|b| b < 0x20 && b != b'\n')
}

impl Note {
    /// Reads a note. Nothing in it can be trusted before [`Note::text_by`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.len() > LARGEST_NOTE {
            return Err(Malformed::new(format!(
                "the note is larger than {LARGEST_NOTE} bytes"
            )));
        }
        let note = std::str::from_utf8(bytes).map_err(|_| not_a_note("it is not UTF-8"))?;
        if !is_text(note) {
            return Err(not_a_note("it has a control character"));
        }
        let split = note
            .rfind("\n\n")
            .ok_or_else(|| not_a_note("it has no empty line before the signatures"))?;
        let text = &note[..=split];
        let lines = note[split + 2..]
            .strip_suffix('\n')
            .ok_or_else(|| not_a_note("its last line does not end"))?;
        let mut signatures = Vec::new();
        for line in lines.split('\n') {
            if signatures.len() == MOST_SIGNATURES {
                return Err(not_a_note("it has too many signatures"));
            }
            let signature = NoteSignature::parse(line);
            signatures.push(
                signature.ok_or_else(|| not_a_note("it has a line that is not a signature"))?,
            );
        }
        Ok(Self {
            text: text.to_owned(),
            signatures,
        })
    }

    /// The text, if `key` signed it. Signatures of other keys are ignored.
    pub fn text_by(&self, key: &VerifierKey) -> Result<&str, Malformed> {
        let name = &key.name;
        let mut ours = self
            .signatures
            .iter()
            .filter(|it| it.name == *name && it.id == key.id)
            .peekable();
        if ours.peek().is_none() {
            return Err(Malformed::new(format!(
                "the note is not signed by `{name}`"
            )));
        }
        // Strict: neither another spelling of a signature nor a point of small order.
        let is_valid = |it: &NoteSignature| {
            let signature = Signature::from_slice(&it.signature);
            signature.is_ok_and(|signature| {
                key.key
                    .verify_strict(self.text.as_bytes(), &signature)
                    .is_ok()
            })
        };
        if ours.all(is_valid) {
            Ok(&self.text)
        } else {
            Err(Malformed::new(format!(
                "the note's signature by `{name}` is invalid"
            )))
        }
    }
}

fn not_a_note(reason: &str) -> Malformed {
    Malformed::new(format!("the text is not a signed note: {reason}"))
}

impl NoteSignature {
    fn parse(line: &str) -> Option<Self> {
        let (name, base64) = line.strip_prefix("\u{2014} ")?.split_once(' ')?;
        let bytes = from_base64(base64)?;
        let (id, signature) = bytes.split_first_chunk::<4>()?;
        let known = is_name(name) && !signature.is_empty();
        known.then(|| Self {
            name: name.to_owned(),
            id: *id,
            signature: signature.to_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // Keys, note and refused keys of the tests of Go's golang.org/x/mod/sumdb/note, whose format
    // the specification describes.
    const PUBLIC: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const PRIVATE: &str =
        "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
    const TEXT: &str = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
    const LINE: &str = "\u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

    fn public() -> VerifierKey {
        PUBLIC.parse().expect("a key")
    }

    fn text(note: &str) -> Result<String, Malformed> {
        Note::parse(note.as_bytes())?
            .text_by(&public())
            .map(str::to_owned)
    }

    fn unsigned() -> Malformed {
        Malformed::new("the note is not signed by `PeterNeumann`")
    }

    fn invalid() -> Malformed {
        Malformed::new("the note's signature by `PeterNeumann` is invalid")
    }

    #[test]
    fn what_go_signed_is_what_is_signed_here() {
        let key = SignerKey::parse(PRIVATE).expect("a key");
        assert_eq!(key.sign(TEXT), format!("{TEXT}\n{LINE}"));
        assert_eq!((key.public(), key.to_text().as_str()), (public(), PRIVATE));
        assert_eq!(public().to_string(), PUBLIC);
        assert_eq!(text(&format!("{TEXT}\n{LINE}")).expect("signed"), TEXT);
        assert_eq!(format!("{key:?}"), "SignerKey");
    }

    #[test]
    fn a_key_with_anything_changed_is_refused() {
        let changed = |text: &str, at: usize| {
            let mut bytes = text.as_bytes().to_vec();
            bytes[at] += 1;
            String::from_utf8(bytes).expect("ASCII")
        };
        for at in 0..PUBLIC.len() {
            assert!(changed(PUBLIC, at).parse::<VerifierKey>().is_err(), "{at}");
            assert!(
                PUBLIC[..at].parse::<VerifierKey>().is_err()
                    && PUBLIC[at + 1..].parse::<VerifierKey>().is_err()
            );
        }
        for at in 0..PRIVATE.len() {
            assert!(SignerKey::parse(&changed(PRIVATE, at)).is_err(), "{at}");
        }
        // Of another length, and of another kind, with ids that fit.
        let other = "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==";
        assert_eq!(other.parse::<VerifierKey>(), Err(not_a_key()));
        let other = "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
        assert_eq!(other.parse::<VerifierKey>(), Err(not_ed25519()));
        for name in ["", "a b", "a+b", "a\u{2003}b", "a\nb", &"a".repeat(501)] {
            assert!(SignerKey::generate(name).is_err(), "{name}");
        }
        // Everybody can sign for a point of small order.
        let weak = VerifyingKey::from_bytes(&[0; 32]).expect("a point");
        assert_eq!(
            VerifierKey::new("weak", weak)
                .to_string()
                .parse::<VerifierKey>(),
            Err(not_a_point())
        );
    }

    /// The example of the specification, whose key it does not give: it is read, and not believed.
    #[test]
    fn the_example_of_the_specification_is_a_note_of_somebody_else() {
        let note = "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned è subito sera.\n\n\u{2014} quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n";
        let parsed = Note::parse(note.as_bytes()).expect("a note");
        assert!(
            parsed.text.ends_with("sole:\n\ned è subito sera.\n"),
            "the last empty line parts them"
        );
        assert_eq!(text(note), Err(unsigned()));
    }

    #[test]
    fn signatures_of_others_do_not_matter_and_a_bad_one_of_ours_does() {
        let stranger = SignerKey::generate("stranger").expect("a key").sign(TEXT);
        let stranger = stranger.rsplit("\n\n").next().expect("a line");
        assert_eq!(
            text(&format!("{TEXT}\n{stranger}{LINE}")).expect("signed"),
            TEXT
        );
        assert_eq!(text(&format!("{TEXT}\n{stranger}")), Err(unsigned()));
        let bad = LINE.replace("AQxV", "AQxW");
        assert_eq!(text(&format!("{TEXT}\n{bad}")), Err(invalid()));
        assert_eq!(text(&format!("{TEXT}\n{LINE}{bad}")), Err(invalid()));
        // The same name with another id is another key.
        let other = LINE.replace("x08go", "y08go");
        assert_eq!(text(&format!("{TEXT}\n{other}")), Err(unsigned()));
    }

    #[test]
    fn what_is_not_of_the_form_is_refused() {
        for note in [
            String::new(),
            TEXT.to_owned(),
            format!("{TEXT}\n"),
            format!("{TEXT}{LINE}"),
            format!("{TEXT}\n{}", LINE.trim_end()),
            format!("{TEXT}\n{LINE}\n"),
            format!("{TEXT}\n{LINE}more\n"),
            format!("{TEXT}\n{}", LINE.replace('\u{2014}', "-")),
            format!("{TEXT}\n{}", LINE.replace("JnAM=", "JnAM")),
            format!(
                "{TEXT}\n\u{2014} a+b {}",
                LINE.rsplit(' ').next().expect("a signature")
            ),
            format!("{TEXT}\n\u{2014} PeterNeumann x08gow==\n"),
            format!("{TEXT}\r\n{LINE}"),
            format!("a\u{1b}b\n\n{LINE}"),
            format!("{TEXT}\n{}", LINE.repeat(MOST_SIGNATURES + 1)),
        ] {
            let refused = Note::parse(note.as_bytes()).expect_err(&note).to_string();
            assert!(
                refused.starts_with("the text is not a signed note: "),
                "{note:?}: {refused}"
            );
        }
        assert!(Note::parse(b"\xff\n\n").is_err());
        let refused = Note::parse(&vec![b'a'; LARGEST_NOTE + 1]).expect_err("too large");
        assert_eq!(refused.to_string(), "the note is larger than 262144 bytes");
    }

    proptest! {
        #[test]
        fn nothing_but_the_signed_text_is_believed(at in 0_usize..240, bit in 0_u8..8) {
            let mut note = format!("{TEXT}\n{LINE}").into_bytes();
            let at = at % note.len();
            note[at] ^= 1 << bit;
            prop_assert!(Note::parse(&note).and_then(|note| note.text_by(&public()).map(str::to_owned)).is_err());
        }

        #[test]
        fn no_bytes_are_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _refused = Note::parse(&bytes);
            let _refused = String::from_utf8_lossy(&bytes).parse::<VerifierKey>();
        }
    }
}
