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

/// A message for others, who need not know where `folder` is: files in it have their names in it.
pub fn within(folder: &str, message: &str) -> String {
    let quoted = format!("`{}", folder.trim_end_matches('/'));
    let mut parts = message.split(&quoted);
    let mut within = parts.next().unwrap_or_default().to_owned();
    for rest in parts {
        let inner = rest.trim_start_matches('/');
        within += &match inner.strip_prefix('`') {
            Some(rest) => format!("the folder{rest}"),
            None if inner.len() < rest.len() => format!("`{inner}"),
            None => format!("{quoted}{rest}"),
        };
    }
    within
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
    fn a_message_does_not_say_where_the_folder_is() {
        let messages = [
            ("`/srv/in/foo-1/a` is a link", "`a` is a link"),
            ("`/srv/in/foo-1//e/a`, `/srv/in/foo-1/b`", "`e/a`, `b`"),
            ("`/srv/in/foo-1` has no list", "the folder has no list"),
            ("`/srv/in/foo-1/` has no list", "the folder has no list"),
            ("`/srv/in/foo-12/a` and `b`", "`/srv/in/foo-12/a` and `b`"),
        ];
        for (message, expected) in messages {
            for folder in ["/srv/in/foo-1", "/srv/in/foo-1/", "/srv/in/foo-1//"] {
                assert_eq!(within(folder, message), expected);
            }
        }
        assert_eq!(within(".", "`./a`, `.b`, `.`"), "`a`, `.b`, the folder");
        assert_eq!(within("/", "`/a` and `b`"), "`a` and `b`");
    }

    #[test]
    fn no_text_can_control_the_terminal() {
        assert_eq!(
            clean("a\u{1b}[2Jb\rc\u{202e}d\ne\u{9b}é"),
            "a\\u{1b}[2Jb\\u{d}c\\u{202e}d\\u{a}e\\u{9b}é"
        );
    }
}
