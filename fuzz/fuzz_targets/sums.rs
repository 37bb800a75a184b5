//! Reads `SHA256SUMS`.
#![no_main]

use countersign::domain::release::Sums;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(sums) = Sums::parse(bytes) {
        assert_eq!(sums.to_text().as_bytes(), bytes);
    }
});
