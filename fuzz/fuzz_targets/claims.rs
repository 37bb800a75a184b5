//! Reads the notations of a signature, here one a line, `NAME=VALUE`.
#![no_main]

use countersign::domain::claims::Claims;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let lines = text.lines().filter_map(|line| line.split_once('='));
    let mut found: Vec<_> = lines
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    if let Ok(claims) = Claims::read(&found) {
        let mut written = claims.notations();
        written.sort();
        found.sort();
        assert_eq!(written, found);
    }
});
