//! The one place where an outcome or an error becomes text.

use std::fmt::Write as _;
#[cfg(feature = "host")]
use std::io::BufWriter;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use serde::Serialize;
use serde_json::{Value, json};

use super::advice::advice;
use super::error::CliError;
use crate::domain::artifact::ArtifactList;
use crate::domain::text::{clean, is_harmful};

/// Where results, talk and errors go: data to standard output, talk to standard error.
pub(super) struct Output {
    json: bool,
    text: String,
    value: Option<Value>,
}

impl Output {
    pub(super) fn new(json: bool) -> Self {
        Self {
            json,
            text: String::new(),
            value: None,
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

    /// The lines so far.
    #[cfg(feature = "host")]
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// A warning, at once.
    pub(super) fn warn(&self, text: &str) {
        let _closed = writeln!(
            std::io::stderr(),
            "{} {}",
            paint("warning:", "33"),
            clean(text)
        );
    }

    /// A list that is all of the result, and is printed as it comes.
    #[cfg(feature = "host")]
    pub(super) fn list(&self, name: &'static str) -> List {
        List {
            json: self.json,
            name,
            items: 0,
            out: BufWriter::new(std::io::stdout()),
        }
    }

    /// Prints what there is to print and ends the command.
    pub(super) fn end(self, result: Result<(), CliError>) -> ExitCode {
        let text = match &self.value {
            Some(value) if self.json => json_text(value),
            _ => self.text,
        };
        let written = std::io::stdout()
            .write_all(text.as_bytes())
            .map_err(CliError::Unwritten);
        match result.and(written) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                let (code, _) = advice(&error);
                let text = match &error {
                    // Whoever closed it has seen enough.
                    CliError::Unwritten(error)
                        if error.kind() == std::io::ErrorKind::BrokenPipe =>
                    {
                        String::new()
                    }
                    error if self.json => error_json(error),
                    error => error_text(error),
                };
                let _closed = std::io::stderr().write_all(text.as_bytes());
                ExitCode::from(code as u8)
            }
        }
    }
}

/// A list on its way to standard output. One that breaks off is no JSON, so that nobody takes it
/// for the whole.
#[cfg(feature = "host")]
pub(super) struct List {
    json: bool,
    name: &'static str,
    items: u64,
    out: BufWriter<std::io::Stdout>,
}

#[cfg(feature = "host")]
impl List {
    /// The next item: a line for people, or the value for programs.
    pub(super) fn item(
        &mut self,
        line: impl AsRef<str>,
        value: &impl Serialize,
    ) -> Result<(), CliError> {
        let text = if self.json {
            let value = serde_json::to_value(value).expect("a result can be written as JSON");
            let before = if self.items == 0 {
                format!("{{\n  \"{}\": [", self.name)
            } else {
                ",".to_owned()
            };
            format!(
                "{before}\n    {}",
                json_text(&value).trim_end().replace('\n', "\n    ")
            )
        } else {
            clean(line.as_ref()) + "\n"
        };
        self.items += 1;
        self.out
            .write_all(text.as_bytes())
            .map_err(CliError::Unwritten)
    }

    /// Ends it.
    pub(super) fn end(mut self) -> Result<(), CliError> {
        let end = match self.items {
            _ if !self.json => String::new(),
            0 => format!("{{\n  \"{}\": []\n}}\n", self.name),
            _ => "\n  ]\n}\n".to_owned(),
        };
        let written = self
            .out
            .write_all(end.as_bytes())
            .and_then(|()| self.out.flush());
        written.map_err(CliError::Unwritten)
    }
}

/// Something to know or to do while a command goes on, at once.
#[cfg(feature = "host")]
pub(super) fn note(text: &str) {
    let _closed = writeln!(
        std::io::stderr(),
        "{} {}",
        paint("note:", "36"),
        clean(text)
    );
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
    let text = "this is a bug; please report it with the lines above, and run the same command again: what the token signed is kept";
    let _closed = writeln!(std::io::stderr(), "{} {text}", paint("error:", "31"));
    ExitCode::from(BUG)
}

/// An error and its advice, as a person reads them.
pub(super) fn error_text(error: &CliError) -> String {
    let mut text = format!("{} {}\n", paint("error:", "31"), clean(&error.to_string()));
    if let (_, Some(hint)) = advice(error) {
        let _infallible = writeln!(text, "{} {}", paint(" hint:", "36"), clean(&hint));
    }
    text
}

fn error_json(error: &CliError) -> String {
    let (code, hint) = advice(error);
    json_text(&json!({ "error": error.to_string(), "hint": hint, "code": code as u8 }))
}

/// JSON that is as harmless on a terminal as [`clean`] text: it need not escape more than the
/// control characters below 0x20.
fn json_text(value: &Value) -> String {
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

fn paint(text: &str, colour: &str) -> String {
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
