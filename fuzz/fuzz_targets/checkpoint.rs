//! Reads a signed note, and the state of a log in it.
#![no_main]

use std::sync::LazyLock;

use countersign::tlog::checkpoint::Checkpoint;
use countersign::tlog::note::{Note, SignerKey};
use libfuzzer_sys::fuzz_target;

// Of the tests of Go's golang.org/x/mod/sumdb/note.
static KEY: LazyLock<SignerKey> = LazyLock::new(|| {
    SignerKey::parse(
        "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz",
    )
    .expect("a key")
});

fuzz_target!(|bytes: &[u8]| {
    if let Ok(note) = Note::parse(bytes) {
        let _ = note.text_by(&KEY.public());
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let _ = Checkpoint::ending_with(text);
    if text.ends_with('\n') && !text.bytes().any(|byte| byte < 0x20 && byte != b'\n') {
        let opened = Checkpoint::open(KEY.sign(text).as_bytes(), &KEY.public());
        if let Ok(checkpoint) = opened {
            let written = checkpoint.sign(&KEY);
            assert!(KEY.sign(text) == written || text.lines().count() > 3);
            let again = Checkpoint::open(written.as_bytes(), &KEY.public());
            assert_eq!(again.expect("as it was written"), checkpoint);
        }
    }
});
