//! Reads the statement that a release is withdrawn.
#![no_main]

use countersign::domain::text::is_harmful;
use countersign::domain::withdrawal::Withdrawal;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(withdrawal) = Withdrawal::parse(bytes) {
        assert_eq!(withdrawal.to_text().as_bytes(), bytes);
        assert!(!withdrawal.reason().contains(is_harmful));
    }
});
