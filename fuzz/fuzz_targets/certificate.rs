//! Reads a certificate, anybody's and a builder's own, and looks for the keys in it that may sign.
#![no_main]

use countersign::domain::time::Timestamp;
use countersign::openpgp::Certificate;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(certificate) = Certificate::parse(bytes) {
        for written in [certificate.binary(), certificate.armored().into_bytes()] {
            let again = Certificate::parse(&written).expect("as it was written");
            assert_eq!(again.binary(), certificate.binary());
        }
        assert!(certificate.shares_key_with(&certificate));
        let _ = certificate.mail_domain();
        let _ = certificate.signing_keys(Timestamp::from_unix(1_795_000_000));
    }
    if let Ok(own) = Certificate::parse_own(bytes) {
        for written in [own.binary(), own.armored().into_bytes()] {
            let again = Certificate::parse_own(&written).expect("as it was written");
            assert_eq!(again, own);
        }
    }
});
