//! Reads entries of the log: one as a proof has it, and a file of them as an export has it.
#![no_main]

use countersign::domain::event::Entry;
use countersign::tlog::tile::{bundle, first_entry};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    check(7, bytes);
    let mut rest = bytes;
    let entries: Vec<_> = std::iter::from_fn(|| first_entry(&mut rest)).collect();
    let mut again = Vec::new();
    for (index, entry) in (0..).zip(entries) {
        check(index, entry);
        bundle(&mut again, entry);
    }
    assert_eq!([&again[..], rest].concat(), bytes);
});

fn check(index: u64, text: &[u8]) {
    if let Ok(entry) = Entry::parse(index, text) {
        assert_eq!(entry.to_text().as_bytes(), text);
    }
}
