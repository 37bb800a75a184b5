//! Reads the name of an artifact.
#![no_main]

use countersign::domain::name::ArtifactName;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(name) = text.parse::<ArtifactName>() {
        assert_eq!(std::path::Path::new(name.as_str()).components().count(), 1);
    }
});
