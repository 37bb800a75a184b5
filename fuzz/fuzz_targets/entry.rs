//! Reads an entry of the log, as a proof has it.
#![no_main]

use countersign::domain::event::Entry;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(entry) = Entry::parse(7, bytes) {
        assert_eq!(entry.to_text().as_bytes(), bytes);
    }
});
