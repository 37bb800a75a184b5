//! Reads a MAC, and a nonce, which has the same form.
#![no_main]

use countersign::mac::{MacKey, Tag};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    assert_eq!(Tag::parse(bytes).is_ok(), MacKey::parse(bytes).is_ok());
    if let Ok(nonce) = MacKey::parse(bytes) {
        assert_eq!(&nonce.to_line()[..], bytes);
    }
});
