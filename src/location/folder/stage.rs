//! A release that is published into a folder.

use std::io::{self, Write};

use crate::files::{FileError, StagedFile, StagedFolder};
use crate::location::{Fault, Published, Stage};

impl Stage for StagedFolder {
    fn file(&self, name: &str) -> Result<Box<dyn Write + '_>, Fault> {
        Ok(Box::new(Staged(StagedFolder::file(self, name)?)))
    }

    fn publish(self: Box<Self>) -> Result<Published, Fault> {
        if StagedFolder::publish(*self)? {
            Ok(Published::New)
        } else {
            Ok(Published::Same)
        }
    }
}

struct Staged(StagedFile);

impl Write for Staged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(fault)?;
        Ok(bytes.len())
    }

    /// Makes it durable.
    fn flush(&mut self) -> io::Result<()> {
        self.0.sync().map_err(fault)
    }
}

fn fault(error: FileError) -> io::Error {
    Fault::from(error).into()
}
