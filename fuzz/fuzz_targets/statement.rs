//! Reads an in-toto statement, and any JSON.
#![no_main]

use countersign::domain::json::check_keys;
use countersign::domain::statement::Statement;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if Statement::parse(bytes).is_ok() {
        check_keys(bytes).expect("no key is there twice");
    }
});
