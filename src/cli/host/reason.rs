//! The reasons that people give for what they do, which the log keeps in their words.

/// The longest reason, in bytes.
const LONGEST: usize = 1000;

/// Takes a reason as it was typed.
pub(super) fn reason(text: &str) -> Result<String, String> {
    let fits =
        !text.trim().is_empty() && text.len() <= LONGEST && !text.chars().any(char::is_control);
    if fits {
        Ok(text.to_owned())
    } else {
        Err(format!("a reason is one line of at most {LONGEST} bytes"))
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::LONGEST;

    const COMMANDS: [&[&str]; 2] = [
        &["countersign", "grants", "revoke", "b5bb9d80", "--reason"],
        &["countersign", "log", "reconcile", "--acknowledge"],
    ];

    /// What each command has against a reason.
    fn refusals(reason: &str) -> [Option<String>; 2] {
        COMMANDS.map(|command| {
            let parsed =
                crate::cli::command().try_get_matches_from(command.iter().chain([&reason]));
            parsed.err().map(|error| {
                error
                    .source()
                    .expect("something is wrong with the value")
                    .to_string()
            })
        })
    }

    #[test]
    fn every_command_takes_the_same_reasons() {
        for reason in ["m2 was compromised", "\u{e9}", "-", &"x".repeat(LONGEST)] {
            assert_eq!(refusals(reason), [None, None], "{reason:?}");
        }
        let (one_more, of_two_bytes) = ("x".repeat(LONGEST + 1), "\u{e9}".repeat(LONGEST / 2 + 1));
        for reason in [
            "",
            " \t",
            "two\nlines",
            "a\u{1b}[2J",
            "a\u{9b}",
            "a\0",
            &one_more,
            &of_two_bytes,
        ] {
            let refused = Some("a reason is one line of at most 1000 bytes".to_owned());
            assert_eq!(refusals(reason), [refused.clone(), refused], "{reason:?}");
        }
    }
}
