//! Output of the signing host alone: long lists, and notes while a command goes on.

use std::fs::File;
use std::io::{BufWriter, IntoInnerError, Seek as _, Write, copy};

use serde::Serialize;

use crate::cli::error::{CliError, CommandError};
use crate::cli::render::{Output, json_text, paint};
use crate::domain::text::clean;

impl Output {
    /// The lines so far.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// A list that is all of the result. For people it is printed as it comes.
    pub(super) fn list(&self, name: &'static str) -> Result<List, CliError> {
        let spool = self.json.then(tempfile::tempfile).transpose();
        let spool = spool.map_err(CommandError::Unwritten)?;
        Ok(List {
            name,
            items: 0,
            spool: spool.map(BufWriter::new),
            out: BufWriter::new(std::io::stdout()),
        })
    }
}

/// A list on its way to standard output.
pub(super) struct List {
    name: &'static str,
    items: u64,
    /// For programs, a file that has no name: they are to get the whole list, or nothing.
    spool: Option<BufWriter<File>>,
    out: BufWriter<std::io::Stdout>,
}

impl List {
    /// The next item: a line for people, or the value for programs.
    pub(super) fn item(
        &mut self,
        line: impl AsRef<str>,
        value: &impl Serialize,
    ) -> Result<(), CliError> {
        let text = if self.spool.is_some() {
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
        let written = match &mut self.spool {
            Some(spool) => spool.write_all(text.as_bytes()),
            None => self.out.write_all(text.as_bytes()),
        };
        written.map_err(|error| CommandError::Unwritten(error).into())
    }

    /// Ends it.
    pub(super) fn end(mut self) -> Result<(), CliError> {
        let mut end = || {
            if let Some(mut spool) = self.spool.take() {
                match self.items {
                    0 => writeln!(spool, "{{\n  \"{}\": []\n}}", self.name)?,
                    _ => spool.write_all(b"\n  ]\n}\n")?,
                }
                let mut whole = spool.into_inner().map_err(IntoInnerError::into_error)?;
                whole.rewind()?;
                copy(&mut whole, &mut self.out)?;
            }
            self.out.flush()
        };
        end().map_err(|error| CommandError::Unwritten(error).into())
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
