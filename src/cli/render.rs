//! The one place where an outcome or an error becomes text.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use serde::Serialize;
use serde_json::{Value, json};

use super::error::{CliError, CommandError};
use super::streams;
use crate::domain::artifact::ArtifactList;
use crate::domain::text::{clean, is_harmful};

/// Where results, talk and errors go: data to standard output, talk to standard error.
pub(super) struct Output {
    pub(super) json: bool,
    pub(super) text: String,
    value: Option<Value>,
    /// What was warned of, where it is for programs.
    warnings: RefCell<Vec<String>>,
}

impl Output {
    pub(super) fn new(json: bool) -> Self {
        Self {
            json,
            text: String::new(),
            value: None,
            warnings: RefCell::default(),
        }
    }

    /// A line of the result, for people. Nothing in it can steer a terminal.
    pub(super) fn line(&mut self, line: impl AsRef<str>) {
        self.text += &clean(line.as_ref());
        self.text.push('\n');
    }

    /// The result for programs, instead of the lines when `--json` was given.
    pub(super) fn value(&mut self, value: impl Serialize) {
        self.value = Some(serde_json::to_value(value).expect("a result can be written as JSON"));
    }

    /// A warning: at once for people, for programs in what is printed at the end.
    pub(super) fn warn(&self, text: &str) {
        if self.json {
            self.warnings.borrow_mut().push(text.to_owned());
        } else {
            print_warning(text);
        }
    }

    /// Prints what there is to print and ends the command.
    pub(super) fn end(self, result: Result<(), CliError>) -> ExitCode {
        let warnings = self.all_warnings();
        let text = match (self.value, self.json) {
            (_, false) => self.text,
            (Some(mut value), true) => {
                value["warnings"] = json!(warnings);
                json_text(&value)
            }
            // The lines of a result that did not come about are not JSON.
            (None, true) => String::new(),
        };
        let written = streams::out().write_all(text.as_bytes());
        let written = written.map_err(|error| CommandError::Unwritten(error).into());
        let Err(error) = result.and(written) else {
            return ExitCode::SUCCESS;
        };
        let text = match &error {
            // The reader has seen enough.
            error if error.is_broken_pipe() => String::new(),
            error if self.json => error_json(error, &warnings),
            error => error_text(error),
        };
        let _closed = streams::err().write_all(text.as_bytes());
        ExitCode::from(error.exit_and_reason().0)
    }

    /// What was warned of so far, and what others printed, where it is for programs.
    pub(super) fn all_warnings(&self) -> Vec<String> {
        let mut warnings = self.warnings.borrow().clone();
        warnings.extend(streams::of_others());
        warnings
    }
}

fn print_warning(text: &str) {
    let title = paint("warning:", "33");
    let _closed = writeln!(std::io::stderr(), "{title} {}", clean(text));
}

/// Artifacts, for programs.
pub(super) fn artifact_values(artifacts: &ArtifactList) -> Vec<Value> {
    artifacts
        .iter()
        .map(|artifact| json!({ "name": artifact.name, "sha256": artifact.digest }))
        .collect()
}

/// The end of a process that panicked.
pub(super) fn bug() -> ExitCode {
    const BUG: u8 = 70;
    let text = "this is a bug; please report it";
    let hint = "run the same command again: what the token signed is kept";
    let text = if streams::are_for_json() {
        json_text(&json!({
            "error": text,
            "reason": "bug",
            "hint": hint,
            "code": BUG,
            "warnings": streams::of_others(),
        }))
    } else {
        format!(
            "{} {text} with the lines above, and {hint}\n",
            paint("error:", "31")
        )
    };
    let _closed = streams::err().write_all(text.as_bytes());
    ExitCode::from(BUG)
}

/// An error and its help, as a person reads them.
pub(super) fn error_text(error: &CliError) -> String {
    let mut text = format!("{} {}\n", paint("error:", "31"), clean(&error.to_string()));
    if let Some(help) = error.help() {
        let help = clean(&help);
        let _infallible = writeln!(text, "{} {help}", paint(" hint:", "36"));
    }
    text
}

fn error_json(error: &CliError, warnings: &[String]) -> String {
    let (exit, reason) = error.exit_and_reason();
    json_text(&json!({
        "error": error.to_string(),
        "reason": reason,
        "hint": error.help(),
        "code": exit,
        "warnings": warnings,
    }))
}

/// JSON that is as harmless on a terminal as [`clean`] text: it need not escape more than the
/// control characters below 0x20.
pub(super) fn json_text(value: &Value) -> String {
    let text = format!("{value:#}\n");
    let escape = |c: char| {
        if is_harmful(c) && c != '\n' {
            format!("\\u{:04x}", u32::from(c))
        } else {
            c.to_string()
        }
    };
    text.chars().map(escape).collect()
}

pub(super) fn paint(text: &str, colour: &str) -> String {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
        || !std::io::stderr().is_terminal();
    if plain {
        text.to_owned()
    } else {
        format!("\u{1b}[1;{colour}m{text}\u{1b}[0m")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_as_harmless_as_prose() {
        let value = json!({ "name": "a\u{1b}\u{7f}\u{9b}\u{202e}" });
        let text = json_text(&value);
        assert!(
            !text
                .trim_end()
                .lines()
                .any(|line| line.chars().any(is_harmful)),
            "{text}"
        );
        assert_eq!(serde_json::from_str::<Value>(&text).expect("JSON"), value);
    }
}
