//! Proofs in a file of their own (<https://c2sp.org/tlog-proof>) that an entry is in a log, under
//! the log's key.

use super::checkpoint::Checkpoint;
use super::note::{LARGEST_NOTE, VerifierKey};
use super::tile::LARGEST_ENTRY;
use super::tree::{self, Hash, leaf_hash, parse_hash};
use super::{from_base64, number, to_base64};
use crate::domain::malformed::Malformed;

/// The first line.
const HEADER: &str = "c2sp.org/tlog-proof@v1";
/// The largest proof that is read, in bytes: an entry in base64, a path, a note.
pub const LARGEST_PROOF: u64 =
    (LARGEST_ENTRY as u64) * 4 / 3 + 64 * 45 + LARGEST_NOTE as u64 + 1024;
/// The suffix of the file's name.
pub const PROOF_SUFFIX: &str = ".tlog-proof";

/// A proof that is not checked yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Proof {
    /// The optional extra data: here the entry's bytes. It is not signed, but its hash must be the
    /// beginning of the path.
    pub extra: Option<Vec<u8>>,
    /// The entry's index.
    pub index: u64,
    /// From the neighbour of the entry's hash to below the root.
    pub path: Vec<Hash>,
    /// A signed checkpoint.
    pub checkpoint: String,
}

impl Proof {
    /// Reads a proof.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let proof = std::str::from_utf8(bytes).ok().and_then(Self::read);
        proof
            // One proof has one text.
            .filter(|proof| proof.to_text().as_bytes() == bytes)
            .ok_or_else(not_a_proof)
    }

    fn read(text: &str) -> Option<Self> {
        let (head, checkpoint) = text.split_once("\n\n")?;
        let mut lines = head.split('\n');
        if lines.next()? != HEADER {
            return None;
        }
        let mut line = lines.next()?;
        let mut extra = None;
        if let Some(base64) = line.strip_prefix("extra ") {
            extra = Some(from_base64(base64)?);
            line = lines.next()?;
        }
        let index = number(line.strip_prefix("index ")?)?;
        let path = lines.map(parse_hash).collect::<Option<Vec<_>>>()?;
        (path.len() <= 64).then(|| Self {
            extra,
            index,
            path,
            checkpoint: checkpoint.to_owned(),
        })
    }

    /// The text of its file.
    pub fn to_text(&self) -> String {
        let extra = self
            .extra
            .as_ref()
            .map(|extra| format!("extra {}\n", to_base64(extra)))
            .unwrap_or_default();
        let path: String = self.path.iter().map(|hash| format!("{hash}\n")).collect();
        format!(
            "{HEADER}\n{extra}index {}\n{path}\n{}",
            self.index, self.checkpoint
        )
    }

    /// The entry in the proof, and the checkpoint: if the checkpoint is by the log's key, and the
    /// entry in that tree.
    pub fn check(&self, key: &VerifierKey) -> Result<(&[u8], Checkpoint), Malformed> {
        let checkpoint = Checkpoint::open(self.checkpoint.as_bytes(), key)
            .map_err(|error| error.within("the checkpoint of the proof is refused"))?;
        let entry = self
            .extra
            .as_deref()
            .ok_or_else(|| Malformed::new("the proof does not contain its entry"))?;
        let Checkpoint { size, root } = checkpoint;
        let index = self.index;
        if tree::proves(&self.path, size, root, index, leaf_hash(entry)) {
            return Ok((entry, checkpoint));
        }
        Err(Malformed::new(format!(
            "the proof does not lead from entry {index} to the root of the tree of {size} entries"
        )))
    }
}

fn not_a_proof() -> Malformed {
    Malformed::new(format!("the file is not a proof of the form `{HEADER}`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tlog::note::SignerKey;
    use crate::tlog::tree::{Growing, prove};
    use proptest::prelude::*;

    fn proven(size: u64, index: u64) -> (Proof, VerifierKey) {
        let key = SignerKey::generate("example.org/log").expect("a key");
        let mut tree = Growing::default();
        let mut kept = Vec::new();
        (0..size).for_each(|n| kept.extend(tree.push(format!("entry {n}").as_bytes())));
        let path = prove(size, index, |number| Ok::<_, ()>(kept[number as usize])).expect("a path");
        let checkpoint = Checkpoint {
            size,
            root: tree.root(),
        }
        .sign(&key);
        (
            Proof {
                extra: Some(format!("entry {index}").into_bytes()),
                index,
                path,
                checkpoint,
            },
            key.public(),
        )
    }

    /// The example of the specification, its three abridged signatures left out, and its `extra`,
    /// which is not base64.
    #[test]
    fn the_example_of_the_specification_is_of_the_form() {
        let example = "c2sp.org/tlog-proof@v1\nindex 73894\n\
            gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=\n\
            B95lDa8R83lS8n0eG+o0buTxRKQTYFi//1U8anccXmA=\n\
            EKNzoDWG8LGC0Yp9o+sv3qllpMP9uHQ9B20KNL+Q1zs=\n\
            RoopEkOdqkYqMB4MJXrbt/hMjOxsVn0IrWjpz1ZMMes=\n\
            AHCioX9nLjsrse6YhjRRmk1WUEirVOLLRoOQ6vfO5vk=\n\nexample.com/fancylog\n109482\n\
            sFodV/vSp5O8n9a8QpW6PRY97tfOSW5bsc2Xl/EQi08=\n\n";
        let proof = Proof::parse(example.as_bytes()).expect("a proof");
        assert_eq!(
            (proof.index, proof.path.len(), &proof.extra),
            (73_894, 5, &None)
        );
        assert!(
            proof
                .checkpoint
                .starts_with("example.com/fancylog\n109482\n")
        );
    }

    #[test]
    fn a_proof_is_valid_for_its_own_entry_index_and_log() {
        for (size, index) in [(1, 0), (2, 1), (5, 2), (300, 299)] {
            let (proof, key) = proven(size, index);
            let read = Proof::parse(proof.to_text().as_bytes()).expect("a proof");
            assert_eq!(read, proof);
            let (entry, checkpoint) = read.check(&key).expect("a valid proof");
            assert_eq!(
                (entry, checkpoint.size),
                (format!("entry {index}").as_bytes(), size)
            );

            let refused = |proof: Proof, key| proof.check(key).expect_err("refused").to_string();
            let path = |index| {
                format!(
                    "the proof does not lead from entry {index} \
                     to the root of the tree of {size} entries"
                )
            };
            let other = Proof {
                extra: Some(b"entry 7777".to_vec()),
                ..proof.clone()
            };
            assert_eq!(refused(other, &key), path(index));
            let other = Proof {
                extra: None,
                ..proof.clone()
            };
            assert_eq!(refused(other, &key), "the proof does not contain its entry");
            let other = Proof {
                index: index + 1,
                ..proof.clone()
            };
            assert_eq!(refused(other, &key), path(index + 1));
            let (_, stranger) = proven(size, index);
            assert_eq!(
                refused(proof, &stranger),
                "the checkpoint of the proof is refused: \
                 the note is not signed by `example.org/log`"
            );
        }
    }

    #[test]
    fn what_is_not_of_the_form_is_refused() {
        let (proof, _) = proven(5, 2);
        let text = proof.to_text();
        for (good, bad) in [
            ("@v1", "@v2"),
            ("index 2", "index 02"),
            ("index 2", "index -2"),
            ("index 2", "index  2"),
            ("index 2\n", ""),
            ("extra ", "extra"),
            ("extra ", "extra  "),
            ("extra ", "more "),
            ("=\n\n", "=\n"),
            ("index 2\n", "index 2\nindex 2\n"),
            ("index 2\n", "index 2\nAAAA\n"),
            ("\nindex", "\r\nindex"),
        ] {
            let other = text.replacen(good, bad, 1);
            assert_ne!(other, text);
            assert_eq!(
                Proof::parse(other.as_bytes()),
                Err(not_a_proof()),
                "{other}"
            );
        }
        let long = text.replacen(
            "index 2\n",
            &format!("index 2\n{}", format!("{}\n", leaf_hash(b"x")).repeat(62)),
            1,
        );
        assert_eq!(Proof::parse(long.as_bytes()), Err(not_a_proof()));
    }

    proptest! {
        #[test]
        fn no_letter_of_a_proof_can_be_changed(at: proptest::sample::Index, bit in 0_u8..8) {
            let (proof, key) = proven(6, 3);
            let mut bytes = proof.to_text().into_bytes();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert!(!Proof::parse(&bytes).is_ok_and(|proof| proof.check(&key).is_ok()));
        }
    }
}
