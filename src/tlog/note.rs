//! Signed notes: a text with signature lines below it (<https://c2sp.org/signed-note>), under
//! Ed25519 keys.
//!
//! The crate `signed_note` reads these too, but accepts signatures that `verify_strict` refuses,
//! and keeps the secret key in strings that are not wiped. The rest of it is smaller than this.

mod key;

use super::from_base64;
use crate::domain::malformed::Malformed;
use key::{is_name, is_text};

pub use key::{SignerKey, VerifierKey};

/// The largest note that is read, in bytes: room for 16 signatures of ML-DSA, which the
/// specification asks for.
pub const LARGEST_NOTE: usize = 256 << 10;
/// Maximum number of signatures in a note.
const MOST_SIGNATURES: usize = 64;

/// A note whose signatures are not checked yet.
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
        let name = key.name();
        let mut ours = self
            .signatures
            .iter()
            .filter(|it| it.name == name && it.id == key.id())
            .peekable();
        if ours.peek().is_none() {
            return Err(Malformed::new(format!(
                "the note is not signed by `{name}`"
            )));
        }
        if ours.all(|it| key.verifies(&self.text, &it.signature)) {
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
    const TEXT: &str = "If you think cryptography is the answer to your problem,\n\
        then you don't know what your problem is.\n";
    const LINE: &str = "\u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1\
        FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

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

    /// The example of the specification, whose key it does not give: it can be read, but not
    /// verified.
    #[test]
    fn the_example_of_the_specification_is_a_note_by_an_unknown_key() {
        let note = "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\n\
            ed è subito sera.\n\n\u{2014} quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/\
            5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n";
        let parsed = Note::parse(note.as_bytes()).expect("a note");
        assert!(
            parsed.text.ends_with("sole:\n\ned è subito sera.\n"),
            "the signatures begin after the last empty line"
        );
        assert_eq!(text(note), Err(unsigned()));
    }

    #[test]
    fn only_signatures_by_the_key_are_checked() {
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
        // The same name with a different id is a different key.
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
        fn nothing_but_the_signed_text_is_accepted(at in 0_usize..240, bit in 0_u8..8) {
            let mut note = format!("{TEXT}\n{LINE}").into_bytes();
            let at = at % note.len();
            note[at] ^= 1 << bit;
            let accepted = Note::parse(&note).is_ok_and(|note| note.text_by(&public()).is_ok());
            prop_assert!(!accepted);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _refused = Note::parse(&bytes);
            let _refused = String::from_utf8_lossy(&bytes).parse::<VerifierKey>();
        }
    }
}
