//! Reads an approval made with `ssh-keygen`.
#![no_main]

use countersign::ssh::Blob;
use countersign::ssh::key::Signature;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(blob) = Blob::parse(bytes) {
        let kept = blob.to_armour();
        assert_eq!(Blob::parse_kept(kept.as_bytes()).as_ref(), Ok(&blob));
        if let Ok(signature) = Signature::parse(&blob) {
            let _ = signature.issuer();
        }
    }
});
