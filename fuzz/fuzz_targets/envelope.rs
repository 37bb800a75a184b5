//! Reads a DSSE envelope, as it comes and as it is kept.
#![no_main]

use countersign::dsse::Envelope;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(envelope) = Envelope::parse(bytes) {
        let kept = envelope.to_json();
        assert_eq!(
            Envelope::parse_kept(&kept)
                .expect("as it was written")
                .to_json(),
            kept
        );
    }
    if let Ok(kept) = Envelope::parse_kept(bytes) {
        assert_eq!(kept.to_json(), bytes);
    }
});
