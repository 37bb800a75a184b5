//! Reads an approval made with `ssh-keygen`.
#![no_main]

use countersign::ssh::Signature;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = Signature::parse(bytes);
});
