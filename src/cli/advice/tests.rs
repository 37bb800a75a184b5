//! What a person reads of every error there is.

use super::advice;
use crate::cli::error::tests::every_error;
use crate::cli::render::error_text;

#[test]
fn every_error_says_what_happened_and_what_to_do_next() {
    let rendered: String = every_error()
        .iter()
        .map(|error| format!("[{}]\n{}\n", advice(error).0 as u8, error_text(error)))
        .collect();
    insta::assert_snapshot!(rendered);
}
