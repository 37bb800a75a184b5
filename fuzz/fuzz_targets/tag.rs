//! Reads a MAC.
#![no_main]

use countersign::mac::Tag;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = Tag::parse(bytes);
});
