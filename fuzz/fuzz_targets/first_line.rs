//! Reads the beginning of an artifact: the verdict is the same however its bytes are cut.
#![no_main]

use countersign::domain::first_line::FirstLine;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let verdict = |pieces: std::slice::Chunks<'_, u8>| {
        let mut line = FirstLine::default();
        pieces.for_each(|piece| line.update(piece));
        line.check(&"a".parse().expect("a name")).is_ok()
    };
    assert_eq!(verdict(bytes.chunks(1)), verdict(bytes.chunks(usize::MAX)));
});
