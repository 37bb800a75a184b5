//! Reads a proof, and follows its path in trees of several sizes.
#![no_main]

use countersign::tlog::note::Note;
use countersign::tlog::proof::Proof;
use countersign::tlog::tree::{leaf_hash, proves};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(proof) = Proof::parse(bytes) else {
        return;
    };
    assert_eq!(proof.to_text().as_bytes(), bytes);
    let _ = Note::parse(proof.checkpoint.as_bytes());
    let index = proof.index;
    let leaf = leaf_hash(proof.extra.as_deref().unwrap_or_default());
    for size in [0, index, index + 1, index.saturating_mul(2), 1 << 63] {
        proves(&proof.path, size, leaf, index, leaf);
    }
});
