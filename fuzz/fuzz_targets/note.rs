//! Makes text of L safe: the reason of a refusal, or a message of another program.
#![no_main]

use countersign::domain::text::{clean, cut, is_harmful, within};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let safe = clean(&text);
    assert!(!safe.contains(is_harmful));
    assert_eq!(clean(&safe), safe);
    let _ = cut(&text, 80);
    if let Some((folder, message)) = text.split_once('\n') {
        let _ = within(folder, message);
    }
});
