//! Output of the signing host alone: long lists, and notes while a command goes on.

use std::io::{BufWriter, Write};

use serde::Serialize;

use crate::cli::error::{CliError, CommandError};
use crate::cli::render::{Output, json_text, paint};
use crate::domain::text::clean;

impl Output {
    /// The lines so far.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// A list that is all of the result, and is printed as it comes.
    pub(super) fn list(&self, name: &'static str) -> List {
        List {
            json: self.json,
            name,
            items: 0,
            out: BufWriter::new(std::io::stdout()),
        }
    }
}

/// A list on its way to standard output. If that cannot be written, what is there is not JSON, so
/// that nobody takes it for the whole.
pub(super) struct List {
    json: bool,
    name: &'static str,
    items: u64,
    out: BufWriter<std::io::Stdout>,
}

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
            .map_err(|error| CommandError::Unwritten(error).into())
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
        written.map_err(|error| CommandError::Unwritten(error).into())
    }
}

/// Something to know or to do while a command goes on, at once.
pub(super) fn note(text: &str) {
    let _closed = writeln!(
        std::io::stderr(),
        "{} {}",
        paint("note:", "36"),
        clean(text)
    );
}
