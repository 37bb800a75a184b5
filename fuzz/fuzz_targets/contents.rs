//! Reads `evidence/release.json`.
#![no_main]

use countersign::domain::contents::Contents;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(contents) = Contents::parse(bytes) {
        assert_eq!(contents.to_text().as_bytes(), bytes);
    }
});
