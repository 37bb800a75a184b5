//! Reads a proof.
#![no_main]

use countersign::tlog::proof::Proof;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = Proof::parse(bytes);
});
