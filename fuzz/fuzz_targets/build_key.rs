//! Reads a build key, which M reads.
#![no_main]

use countersign::steps::builder::build_key::BuildKey;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = BuildKey::parse(bytes);
});
