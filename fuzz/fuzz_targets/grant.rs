//! Reads a grant.
#![no_main]

use countersign::domain::grant::Grant;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(grant) = Grant::parse(bytes) {
        assert_eq!(grant.bytes(), bytes);
    }
});
