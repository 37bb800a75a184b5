//! Reads public keys as text: a builder's of each scheme, an approver's SSH key, a log's.
#![no_main]

use countersign::domain::evidence::Scheme;
use countersign::ssh::key::PublicKey;
use countersign::steps::evidence::builders::BuilderKey;
use countersign::tlog::note::VerifierKey;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    for scheme in Scheme::ALL {
        if let Ok(key) = BuilderKey::read(scheme, text) {
            let again = BuilderKey::parse(scheme, &key.to_text()).expect("as it was written");
            assert_eq!(again.to_text(), key.to_text());
            let _ = (key.id(), key.public_file());
        }
    }
    if let Ok(key) = PublicKey::parse(text) {
        let _ = (key.numbers(), key.to_string());
    }
    if let Ok(key) = text.parse::<VerifierKey>() {
        assert_eq!(key.to_string(), text);
    }
});
