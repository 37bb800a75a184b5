//! Reads a verifier's policy, and the keys in it.
#![no_main]

use countersign::steps::release::policy::VerifierPolicy;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = VerifierPolicy::parse(bytes);
});
