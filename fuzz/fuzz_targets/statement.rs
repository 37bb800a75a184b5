//! Reads an in-toto statement.
#![no_main]

use countersign::domain::statement::Statement;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = Statement::parse(bytes);
});
