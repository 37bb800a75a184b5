//! Reads a certificate.
#![no_main]

use countersign::openpgp::Certificate;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(certificate) = Certificate::parse(bytes) {
        let again = Certificate::parse(&certificate.binary()).expect("as it was written");
        assert_eq!(again, certificate);
    }
});
