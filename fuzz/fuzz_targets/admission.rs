//! Reads L's report, which H reads.
#![no_main]

use countersign::domain::admission::AdmissionReport;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(report) = AdmissionReport::parse(bytes) {
        assert_eq!(report.to_text().as_bytes(), bytes);
    }
});
