//! Output of the signing host alone: long lists, and notes while a command goes on.

use std::fs::File;
use std::io::{BufWriter, IntoInnerError, Seek as _, Write, copy};

use rustix::fs::{MemfdFlags, memfd_create};

use serde::Serialize;
use serde_json::json;

use crate::cli::error::{CliError, CommandError};
use crate::cli::render::{Output, json_text, paint};
use crate::cli::streams;
use crate::domain::text::clean;

impl Output {
    /// The lines so far.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// A list that is all of the result. For people it is printed as it comes.
    pub(super) fn list(&self, name: &'static str) -> Result<List, CliError> {
        // In memory: there may be no room elsewhere.
        let spool = || memfd_create("countersign", MemfdFlags::CLOEXEC).map(File::from);
        let spool = self.json.then(spool).transpose();
        let spool = spool.map_err(|error| CommandError::Unwritten(error.into()))?;
        Ok(List {
            name,
            items: 0,
            spool: spool.map(BufWriter::new),
            out: BufWriter::new(streams::out()),
        })
    }
}

/// A list on its way to standard output.
pub(super) struct List {
    name: &'static str,
    items: u64,
    /// For programs, a file that has no name: they are to get the whole list, or nothing.
    spool: Option<BufWriter<File>>,
    out: BufWriter<Box<dyn Write>>,
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
    pub(super) fn end(mut self, output: &Output) -> Result<(), CliError> {
        let mut end = || {
            if let Some(mut spool) = self.spool.take() {
                let warnings = json_text(&json!(output.all_warnings()));
                let warnings = warnings.trim_end().replace('\n', "\n  ");
                match self.items {
                    0 => write!(spool, "{{\n  \"{}\": []", self.name)?,
                    _ => spool.write_all(b"\n  ]")?,
                }
                writeln!(spool, ",\n  \"warnings\": {warnings}\n}}")?;
                let mut whole = spool.into_inner().map_err(IntoInnerError::into_error)?;
                whole.rewind()?;
                copy(&mut whole, &mut self.out)?;
            }
            self.out.flush()
        };
        end().map_err(|error| CommandError::Unwritten(error).into())
    }
}

/// Something to know or to do while a command goes on, at once: on the terminal alone, if the
/// streams are for programs.
pub(super) fn note(text: &str) {
    let line = format!("{} {}\n", paint("note:", "36"), clean(text));
    let _closed = if streams::are_for_json() {
        let terminal = File::options().write(true).open("/dev/tty");
        terminal.and_then(|mut terminal| terminal.write_all(line.as_bytes()))
    } else {
        std::io::stderr().write_all(line.as_bytes())
    };
}
