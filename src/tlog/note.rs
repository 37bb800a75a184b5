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

/// A text that is not a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadNoteKey {
    /// Not of the form.
    #[error("is not a note's key, `NAME+ID+BASE64`")]
    Form,
    /// A name that no key has.
    #[error(
        "has a name that is empty, too long, or has a space, a `+` or a control character in it"
    )]
    Name,
    /// Of another kind.
    #[error("is not of the kind Ed25519")]
    Kind,
    /// Something in it was changed.
    #[error("has an id that does not fit its name and its key")]
    Id,
    /// Not a point that may be a key.
    #[error("is a point of small order, or no point of the curve")]
    Point,
}

/// A note that is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadNote {
    /// More bytes than are read.
    #[error("is larger than {LARGEST_NOTE} bytes")]
    TooLarge,
    /// Not of the form.
    #[error("is not a signed note: {0}")]
    Form(&'static str),
    /// Signed by others alone.
    #[error("is not signed by `{0}`")]
    Unsigned(String),
    /// A signature that names the key, and does not hold.
    #[error("has a signature of `{0}` that does not hold")]
    Signature(String),
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

type KeyBytes = Zeroizing<[u8; 32]>;

/// The name, id and bytes in a key's text.
fn parts(text: &str) -> Result<(&str, [u8; 4], KeyBytes), BadNoteKey> {
    let mut parts = text.splitn(3, '+');
    let (Some(name), Some(hex), Some(base64)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(BadNoteKey::Form);
    };
    if !is_name(name) {
        return Err(BadNoteKey::Name);
    }
    let mut id = [0; 4];
    if hex.bytes().any(|b| b.is_ascii_uppercase()) || hex::decode_to_slice(hex, &mut id).is_err() {
        return Err(BadNoteKey::Form);
    }
    let bytes = Zeroizing::new(from_base64(base64).ok_or(BadNoteKey::Form)?);
    match bytes.split_first() {
        Some((&ED25519, key)) => Ok((
            name,
            id,
            Zeroizing::new(key.try_into().map_err(|_| BadNoteKey::Form)?),
        )),
        Some(_) => Err(BadNoteKey::Kind),
        None => Err(BadNoteKey::Form),
    }
}

impl FromStr for VerifierKey {
    type Err = BadNoteKey;

    fn from_str(text: &str) -> Result<Self, BadNoteKey> {
        let (name, id, bytes) = parts(text)?;
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| BadNoteKey::Point)?;
        let key = Self::new(name, key);
        match key.id == id {
            true if key.key.is_weak() => Err(BadNoteKey::Point),
            true => Ok(key),
            false => Err(BadNoteKey::Id),
        }
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
    pub fn generate(name: &str) -> Result<Self, BadNoteKey> {
        if !is_name(name) {
            return Err(BadNoteKey::Name);
        }
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *seed).expect("the operating system has random bytes");
        Ok(Self {
            name: name.to_owned(),
            key: SigningKey::from_bytes(&seed),
        })
    }

    /// Reads a key.
    pub fn parse(text: &str) -> Result<Self, BadNoteKey> {
        let (name, id, seed) = parts(text.strip_prefix(SECRET).ok_or(BadNoteKey::Form)?)?;
        let key = Self {
            name: name.to_owned(),
            key: SigningKey::from_bytes(&seed),
        };
        if key.public().id == id {
            Ok(key)
        } else {
            Err(BadNoteKey::Id)
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
    /// Reads a note. Nothing in it is to be believed before [`Note::text_by`].
    pub fn parse(bytes: &[u8]) -> Result<Self, BadNote> {
        if bytes.len() > LARGEST_NOTE {
            return Err(BadNote::TooLarge);
        }
        let note = std::str::from_utf8(bytes).map_err(|_| BadNote::Form("not UTF-8"))?;
        if !is_text(note) {
            return Err(BadNote::Form("a control character"));
        }
        let split = note
            .rfind("\n\n")
            .ok_or(BadNote::Form("no empty line before the signatures"))?;
        let (text, lines) = (&note[..=split], &note[split + 2..]);
        let lines = lines
            .strip_suffix('\n')
            .ok_or(BadNote::Form("no end of the last line"))?;
        let mut signatures = Vec::new();
        for line in lines.split('\n') {
            if signatures.len() == MOST_SIGNATURES {
                return Err(BadNote::Form("too many signatures"));
            }
            signatures.push(
                NoteSignature::parse(line).ok_or(BadNote::Form("a line that is no signature"))?,
            );
        }
        Ok(Self {
            text: text.to_owned(),
            signatures,
        })
    }

    /// What it says, if `key` signed that. Signatures of other keys are not looked at.
    pub fn text_by(&self, key: &VerifierKey) -> Result<&str, BadNote> {
        let mut ours = self
            .signatures
            .iter()
            .filter(|it| it.name == key.name && it.id == key.id)
            .peekable();
        if ours.peek().is_none() {
            return Err(BadNote::Unsigned(key.name.clone()));
        }
        // Strict: neither another spelling of a signature nor a point of small order.
        let holds = |it: &NoteSignature| {
            let signature = Signature::from_slice(&it.signature);
            signature.is_ok_and(|signature| {
                key.key
                    .verify_strict(self.text.as_bytes(), &signature)
                    .is_ok()
            })
        };
        if ours.all(holds) {
            Ok(&self.text)
        } else {
            Err(BadNote::Signature(key.name.clone()))
        }
    }
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

    fn text(note: &str) -> Result<String, BadNote> {
        Note::parse(note.as_bytes())?
            .text_by(&public())
            .map(str::to_owned)
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
        assert_eq!(other.parse::<VerifierKey>(), Err(BadNoteKey::Form));
        let other = "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
        assert_eq!(other.parse::<VerifierKey>(), Err(BadNoteKey::Kind));
        for name in ["", "a b", "a+b", "a\u{2003}b", "a\nb", &"a".repeat(501)] {
            assert!(SignerKey::generate(name).is_err(), "{name}");
        }
        // Everybody can sign for a point of small order.
        let weak = VerifyingKey::from_bytes(&[0; 32]).expect("a point");
        assert_eq!(
            VerifierKey::new("weak", weak)
                .to_string()
                .parse::<VerifierKey>(),
            Err(BadNoteKey::Point)
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
        assert_eq!(text(note), Err(BadNote::Unsigned("PeterNeumann".into())));
    }

    #[test]
    fn signatures_of_others_do_not_matter_and_a_bad_one_of_ours_does() {
        let stranger = SignerKey::generate("stranger").expect("a key").sign(TEXT);
        let stranger = stranger.rsplit("\n\n").next().expect("a line");
        assert_eq!(
            text(&format!("{TEXT}\n{stranger}{LINE}")).expect("signed"),
            TEXT
        );
        assert_eq!(
            text(&format!("{TEXT}\n{stranger}")),
            Err(BadNote::Unsigned("PeterNeumann".into()))
        );
        let bad = LINE.replace("AQxV", "AQxW");
        assert_eq!(
            text(&format!("{TEXT}\n{bad}")),
            Err(BadNote::Signature("PeterNeumann".into()))
        );
        assert_eq!(
            text(&format!("{TEXT}\n{LINE}{bad}")),
            Err(BadNote::Signature("PeterNeumann".into()))
        );
        // The same name with another id is another key.
        let other = LINE.replace("x08go", "y08go");
        assert_eq!(
            text(&format!("{TEXT}\n{other}")),
            Err(BadNote::Unsigned("PeterNeumann".into()))
        );
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
            assert!(
                matches!(Note::parse(note.as_bytes()), Err(BadNote::Form(_))),
                "{note:?}"
            );
        }
        assert!(Note::parse(b"\xff\n\n").is_err());
        assert_eq!(
            Note::parse(&vec![b'a'; LARGEST_NOTE + 1]),
            Err(BadNote::TooLarge)
        );
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
