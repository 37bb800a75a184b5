//! Reads a build key, which M reads, alone and beside a grant, and signs with it.
#![no_main]

use std::sync::LazyLock;

use countersign::domain::build_key::BuildKeyLabel;
use countersign::domain::grant::Grant;
use countersign::domain::key::HashAlgorithm;
use countersign::openpgp::{self, HashState};
use countersign::steps::builder::build_key::BuildKey;
use libfuzzer_sys::fuzz_target;

static GRANT: LazyLock<Grant> = LazyLock::new(|| {
    Grant::parse(include_bytes!("../../tests/data/grant.json")).expect("the vector")
});

fuzz_target!(|bytes: &[u8]| {
    if let Ok(key) = openpgp::BuildKey::parse(bytes) {
        let state = HashState::of(b"manifest", HashAlgorithm::Sha256);
        let _ = key.sign(&state, &[], GRANT.terms().not_before);
    }
    let Ok(key) = BuildKey::parse(bytes) else {
        return;
    };
    if let Ok(label) = key.label() {
        let lines = label.to_lines();
        let again = BuildKeyLabel::from_lines(lines.iter().map(String::as_str));
        assert_eq!(again.expect("as it was written").as_ref(), Some(label));
    }
    let _ = key.expires();
    let _ = key.under(&GRANT);
});
