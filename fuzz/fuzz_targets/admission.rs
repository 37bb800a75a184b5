//! Reads L's report, which H reads.
#![no_main]

use countersign::domain::admission::AdmissionReport;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(report) = AdmissionReport::parse(bytes) {
        let text = report.to_text();
        let again = AdmissionReport::parse(text.as_bytes()).expect("as it was written");
        assert_eq!(again, report);
    }
});
