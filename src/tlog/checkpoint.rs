//! Checkpoints: how many entries a log has, and the root hash of their tree, in a signed note
//! (<https://c2sp.org/tlog-checkpoint>).

use super::note::{Note, SignerKey, VerifierKey};
use super::number;
use super::tree::{Hash, parse_hash};
use crate::domain::malformed::Malformed;
use crate::domain::text::cut;

/// The state of a log, as its key signed it.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// How many entries the log has.
    pub size: u64,
    /// The root hash of the tree of these entries.
    pub root: Hash,
}

impl Checkpoint {
    /// The checkpoint in a note by the log's key, whose name is the log's origin.
    pub fn open(note: &[u8], key: &VerifierKey) -> Result<Self, Malformed> {
        let note = Note::parse(note)?;
        let text = note.text_by(key)?;
        let (origin, checkpoint) = Self::read(text).ok_or_else(not_a_checkpoint)?;
        if origin == key.name() {
            return Ok(checkpoint);
        }
        let origin = cut(origin, 200);
        let expected = key.name();
        Err(Malformed::new(format!(
            "the checkpoint is of the log `{origin}`, not of `{expected}`"
        )))
    }

    /// The origin and the rest of a checkpoint's text.
    fn read(text: &str) -> Option<(&str, Self)> {
        let mut lines = text.strip_suffix('\n').unwrap_or(text).split('\n');
        let origin = lines.next()?;
        let size = number(lines.next()?)?;
        let root = parse_hash(lines.next()?)?;
        // More lines are extensions.
        lines
            .all(|line| !line.is_empty())
            .then_some((origin, Self { size, root }))
    }

    /// The checkpoint of a log that ends with an entry, as a release signature has it: the entry's
    /// index, a space, and the root hash.
    pub fn ending_with(text: &str) -> Option<Self> {
        let (index, root) = text.split_once(' ')?;
        Some(Self {
            size: number(index)?.checked_add(1)?,
            root: parse_hash(root)?,
        })
    }

    /// The signed note of the checkpoint.
    pub fn sign(&self, key: &SignerKey) -> String {
        key.sign(&format!(
            "{}\n{}\n{}\n",
            key.public().name(),
            self.size,
            self.root
        ))
    }
}

fn not_a_checkpoint() -> Malformed {
    Malformed::new("the note does not have origin, size and root hash of a log")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tlog::tree::leaf_hash;
    use proptest::prelude::*;

    // The text of the example in the specification.
    const EXAMPLE: &str =
        "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";

    fn key() -> SignerKey {
        SignerKey::generate("example.com/behind-the-sofa").expect("a key")
    }

    fn open(text: &str) -> Result<Checkpoint, Malformed> {
        let key = key();
        Checkpoint::open(key.sign(text).as_bytes(), &key.public())
    }

    #[test]
    fn the_example_of_the_specification_is_read_and_written_as_it_is() {
        let checkpoint = open(EXAMPLE).expect("a checkpoint");
        assert_eq!(
            (checkpoint.size, checkpoint.root.to_string().as_str()),
            (20_852_163, &EXAMPLE[37..81])
        );
        let key = key();
        assert_eq!(checkpoint.sign(&key), key.sign(EXAMPLE));
        assert_eq!(open(&format!("{EXAMPLE}extension\n")), Ok(checkpoint));
    }

    /// The example with its signature, by a key that the specification does not give.
    #[test]
    fn another_logs_checkpoint_is_refused() {
        let note = format!(
            "{EXAMPLE}\n\u{2014} example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/\
             5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
        );
        let unsigned = Malformed::new("the note is not signed by `example.com/behind-the-sofa`");
        assert_eq!(
            Checkpoint::open(note.as_bytes(), &key().public()),
            Err(unsigned)
        );
        let elsewhere = open(&EXAMPLE.replace("behind", "before")).expect_err("another log");
        assert_eq!(
            elsewhere.to_string(),
            "the checkpoint is of the log `example.com/before-the-sofa`, \
             not of `example.com/behind-the-sofa`"
        );
    }

    #[test]
    fn each_line_has_one_spelling() {
        for (good, bad) in [
            ("20852163", "020852163"),
            ("20852163", "+20852163"),
            ("20852163", ""),
            ("20852163", "9223372036854775808"),
            ("xq2I=", "xq2I"),
            ("xq2I=", "xq2J="),
            ("CsUY", "UY"),
            ("xq2I=\n", "xq2I=\n\nextension\n"),
            ("xq2I=\n", "xq2I= \n"),
            ("\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=", ""),
        ] {
            let text = EXAMPLE.replace(good, bad);
            assert_eq!(open(&text), Err(not_a_checkpoint()), "{text}");
        }
    }

    #[test]
    fn an_entry_and_the_root_after_it_are_a_checkpoint() {
        let root = leaf_hash(b"root");
        for (index, size) in [(0, 1), (7, 8), (i64::MAX as u64, 1 << 63)] {
            let ending = Checkpoint::ending_with(&format!("{index} {root}"));
            assert_eq!(ending, Some(Checkpoint { size, root }));
        }
        let largest = u64::MAX;
        for wrong in [
            String::new(),
            "7".to_owned(),
            "7 ".to_owned(),
            root.to_string(),
            format!(" {root}"),
            format!("07 {root}"),
            format!("-1 {root}"),
            format!("7  {root}"),
            format!("7 {root} "),
            format!("{largest} {root}"),
            "7 AAAA".to_owned(),
        ] {
            assert_eq!(Checkpoint::ending_with(&wrong), None, "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_what_is_read(size in 0..=i64::MAX as u64, leaf: [u8; 8]) {
            let key = key();
            let checkpoint = Checkpoint { size, root: leaf_hash(&leaf) };
            let note = checkpoint.sign(&key);
            prop_assert_eq!(Checkpoint::open(note.as_bytes(), &key.public()), Ok(checkpoint));
        }
    }
}
