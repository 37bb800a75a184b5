//! The Merkle tree of a log (RFC 6962, section 2.1): which hashes are kept, roots, and proofs.
//!
//! The arithmetic is that of `tlog_tiles`, a port of Go's `golang.org/x/mod/sumdb/tlog`. Hashes are
//! numbered as there: each entry adds its own and those of the subtrees that it completes, so the
//! stored hashes are only ever appended to.

use std::cell::RefCell;

use tlog_tiles::{
    HashReader, check_record, prove_record, record_hash, stored_hash_index, stored_hashes,
    tree_hash,
};

pub use tlog_tiles::Hash;

/// The hash of an entry's bytes in the tree.
pub fn leaf_hash(entry: &[u8]) -> Hash {
    record_hash(entry)
}

/// Decodes a hash in base64.
pub fn parse_hash(text: &str) -> Option<Hash> {
    super::from_base64(text)?.try_into().ok().map(Hash)
}

/// The number of the first hash that entry `index` adds.
pub fn first_hash(index: u64) -> u64 {
    stored_hash_index(0, index)
}

/// The number of the hash of the `index`th subtree of 256^`level` entries, which must be full.
pub fn tile_hash(level: u8, index: u64) -> u64 {
    stored_hash_index(8 * level, index)
}

/// The hashes that entry `index` adds, its own first; `read` returns stored ones by their numbers.
pub fn new_hashes<E>(
    index: u64,
    entry: &[u8],
    read: impl FnMut(u64) -> Result<Hash, E>,
) -> Result<Vec<Hash>, E> {
    reading(read, |reader| stored_hashes(index, entry, reader))
}

/// The root hash of the first `size` entries.
pub fn root<E>(size: u64, read: impl FnMut(u64) -> Result<Hash, E>) -> Result<Hash, E> {
    reading(read, |reader| tree_hash(size, reader))
}

/// The proof that entry `index` is among the first `size`, from its neighbour's hash up: `index`
/// must be less than `size`.
pub fn prove<E>(
    size: u64,
    index: u64,
    read: impl FnMut(u64) -> Result<Hash, E>,
) -> Result<Vec<Hash>, E> {
    assert!(index < size, "an entry is in the tree");
    reading(read, |reader| prove_record(size, index, reader))
}

/// Whether `proof` shows that the entry with hash `leaf` is entry `index` of the first `size`,
/// whose tree has this root.
pub fn proves(proof: &[Hash], size: u64, root: Hash, index: u64, leaf: Hash) -> bool {
    // A path is at most as long as the size has bits.
    proof.len() <= 64 && check_record(&proof.to_vec(), size, root, index, leaf).is_ok()
}

struct Reader<F, E> {
    read: RefCell<F>,
    failed: RefCell<Option<E>>,
}

impl<E, F: FnMut(u64) -> Result<Hash, E>> HashReader for Reader<F, E> {
    fn read_hashes(&self, numbers: &[u64]) -> Result<Vec<Hash>, tlog_tiles::Error> {
        let read = &mut *self.read.borrow_mut();
        let hashes = numbers
            .iter()
            .map(|number| read(*number))
            .collect::<Result<_, E>>();
        hashes.map_err(|error| {
            *self.failed.borrow_mut() = Some(error);
            tlog_tiles::Error::BadMath
        })
    }
}

/// Runs the arithmetic with a reader of hashes, and returns the reader's own error.
fn reading<T, E, F: FnMut(u64) -> Result<Hash, E>>(
    read: F,
    compute: impl FnOnce(&Reader<F, E>) -> Result<T, tlog_tiles::Error>,
) -> Result<T, E> {
    let reader = Reader {
        read: read.into(),
        failed: None.into(),
    };
    match compute(&reader) {
        Ok(value) => Ok(value),
        Err(error) => Err(reader
            .failed
            .into_inner()
            .unwrap_or_else(|| panic!("the tree's arithmetic: {error}"))),
    }
}

/// The tree of entries that are read once, in order: stores one hash for each size of a full
/// subtree.
#[derive(Debug, Default)]
pub struct Growing {
    size: u64,
    /// The hashes that are still needed, with their numbers.
    kept: Vec<(u64, Hash)>,
}

impl Growing {
    /// Number of entries.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds the next entry; returns the hashes that it adds.
    pub fn push(&mut self, entry: &[u8]) -> Vec<Hash> {
        let Ok(hashes) = new_hashes(self.size, entry, |number| self.read(number));
        let completed = hashes.len() - 1;
        self.kept.truncate(self.kept.len() - completed);
        let last = *hashes.last().expect("an entry adds its own hash");
        self.kept
            .push((first_hash(self.size) + completed as u64, last));
        self.size += 1;
        hashes
    }

    /// The root hash.
    pub fn root(&self) -> Hash {
        let Ok(hash) = root(self.size, |number| self.read(number));
        hash
    }

    fn read(&self, number: u64) -> Result<Hash, std::convert::Infallible> {
        Ok(self
            .kept
            .iter()
            .find(|(kept, _)| *kept == number)
            .expect("it is the root of a full subtree")
            .1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn kept(entries: &[Vec<u8>]) -> Vec<Hash> {
        let mut kept: Vec<Hash> = Vec::new();
        for (index, entry) in entries.iter().enumerate() {
            assert_eq!(first_hash(index as u64), kept.len() as u64);
            let Ok(new) = new_hashes(index as u64, entry, |number| {
                Ok::<_, std::convert::Infallible>(kept[number as usize])
            });
            kept.extend(new);
        }
        kept
    }

    /// RFC 6962, section 2.1, literally.
    fn defined(entries: &[Vec<u8>]) -> [u8; 32] {
        use sha2::{Digest as _, Sha256};
        match entries {
            [] => Sha256::digest(b"").into(),
            [one] => Sha256::new_with_prefix([0])
                .chain_update(one)
                .finalize()
                .into(),
            more => {
                let k = (more.len() as u64).div_ceil(2).next_power_of_two() as usize;
                let (left, right) = more.split_at(k);
                Sha256::new_with_prefix([1])
                    .chain_update(defined(left))
                    .chain_update(defined(right))
                    .finalize()
                    .into()
            }
        }
    }

    /// The leaves and roots of the reference tree of Certificate Transparency
    /// (github.com/google/certificate-transparency, merkletree tests).
    #[test]
    fn the_roots_of_the_reference_tree_are_ours() {
        let leaves = [
            "",
            "00",
            "10",
            "2021",
            "3031",
            "40414243",
            "5051525354555657",
            "606162636465666768696a6b6c6d6e6f",
        ];
        let leaves: Vec<Vec<u8>> = leaves
            .iter()
            .map(|leaf| hex::decode(leaf).expect("hexadecimal"))
            .collect();
        let roots = [
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        let kept = kept(&leaves);
        for (size, expected) in roots.iter().enumerate() {
            let root =
                root(size as u64, |number| Ok::<_, ()>(kept[number as usize])).expect("a root");
            assert_eq!(hex::encode(root.0), *expected, "{size}");
        }
    }

    #[test]
    fn the_readers_own_error_is_returned() {
        assert_eq!(root(3, |_| Err("no disk")), Err("no disk"));
    }

    proptest! {
        #[test]
        fn each_way_to_a_root_is_the_definition(entries in vec(vec(any::<u8>(), 0..4), 0..70)) {
            let kept = kept(&entries);
            let mut growing = Growing::default();
            let mut streamed = Vec::new();
            for (size, entry) in entries.iter().enumerate() {
                let read = |number| Ok::<_, ()>(kept[number as usize]);
                let root = root(size as u64, read).expect("a root");
                prop_assert_eq!(root.0, defined(&entries[..size]));
                prop_assert_eq!(growing.root(), root);
                streamed.extend(growing.push(entry));
            }
            prop_assert_eq!(&streamed, &kept);
            prop_assert!(growing.kept.len() <= 7, "{}", growing.kept.len());
        }

        #[test]
        fn a_proof_is_valid_for_its_entry_alone(
            size in 1_usize..200,
            at: proptest::sample::Index,
            bit in 0_usize..256,
        ) {
            let entries: Vec<Vec<u8>> = (0..size).map(|n| n.to_string().into_bytes()).collect();
            let kept = kept(&entries);
            let index = at.index(size) as u64;
            let size = size as u64;
            let read = |number: u64| Ok::<_, ()>(kept[number as usize]);
            let top = root(size, read).expect("a root");
            let leaf = leaf_hash(&entries[index as usize]);
            let proof = prove(size, index, read).expect("a proof");
            prop_assert!(proves(&proof, size, top, index, leaf));
            prop_assert!(!proves(&proof, size, top, index, leaf_hash(b"another")));
            prop_assert!(!proves(&proof, size, top, size, leaf));
            let elsewhere = |other| other == index || !proves(&proof, size, top, other, leaf);
            prop_assert!((0..size).all(elsewhere));
            prop_assert!(!proves(&[&proof[..], &[top]].concat(), size, top, index, leaf));
            for part in 0..proof.len() {
                let mut other = proof.clone();
                other[part].0[bit / 8] ^= 1 << (bit % 8);
                prop_assert!(!proves(&other, size, top, index, leaf));
                other.remove(part);
                prop_assert!(!proves(&other, size, top, index, leaf));
            }
        }

        #[test]
        fn no_proof_makes_it_panic(
            size: u64,
            index: u64,
            hashes: [[u8; 32]; 3],
            count in 0_usize..70,
        ) {
            let hashes = hashes.iter().cycle().take(count);
            let proof: Vec<Hash> = hashes.map(|hash| Hash(*hash)).collect();
            prop_assert!(!proves(&proof, size, Hash([7; 32]), index, leaf_hash(b"x")));
        }
    }
}
