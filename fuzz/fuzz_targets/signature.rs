//! Reads a signature: a builder's, as it is kept, and the release key's.
#![no_main]

use countersign::openpgp::DetachedSignature;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(signature) = DetachedSignature::parse_evidence(bytes) {
        let kept = signature.to_packet();
        let again = DetachedSignature::parse_kept(&kept).expect("as it was written");
        assert_eq!(again.to_packet(), kept);
    }
    let _ = DetachedSignature::parse_approval(bytes);
    let _ = DetachedSignature::parse_release(bytes);
});
