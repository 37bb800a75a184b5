//! Text with names from other machines, made safe for a terminal, a note or a log.

/// The text with everything that could control a terminal, forge a line or mislead a reader escaped
/// as `\u{1b}`.
pub fn clean(text: &str) -> String {
    text.chars()
        .fold(String::with_capacity(text.len()), |mut clean, c| {
            if is_harmful(c) {
                clean.extend(c.escape_unicode());
            } else {
                clean.push(c);
            }
            clean
        })
}

/// At most the first `limit` characters of a text, for a message that quotes it.
pub fn cut(text: &str, limit: usize) -> String {
    text.chars().take(limit).collect()
}

/// Control characters, including line breaks, and marks that change the direction or the place of
/// text.
pub fn is_harmful(c: char) -> bool {
    let invisible = matches!(
        c,
        '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    );
    c.is_control() || invisible
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_can_control_the_terminal() {
        assert_eq!(
            clean("a\u{1b}[2Jb\rc\u{202e}d\ne\u{9b}é"),
            "a\\u{1b}[2Jb\\u{d}c\\u{202e}d\\u{a}e\\u{9b}é"
        );
    }
}
