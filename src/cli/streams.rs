//! The streams of a command that prints JSON: on them is nothing else.
//!
//! Libraries, modules of tokens and other programs print what they like, where they like. So
//! standard output and standard error are led into a file in memory for as long as the command
//! runs, and what is found there at the end is in the object that is printed.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write};
use std::os::fd::AsFd;
use std::sync::OnceLock;

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::stdio::{dup2_stderr, dup2_stdout};

/// Maximum number of bytes that are shown of what others printed.
const MOST_OF_OTHERS: u64 = 16 << 10;

struct Kept {
    out: File,
    err: File,
    others: File,
}

static KEPT: OnceLock<Kept> = OnceLock::new();

/// Keeps both streams for JSON.
pub(super) fn keep_for_json() -> io::Result<()> {
    let copy = |stream: &dyn AsFd| stream.as_fd().try_clone_to_owned().map(File::from);
    let others = File::from(memfd_create("countersign", MemfdFlags::CLOEXEC)?);
    let kept = Kept {
        out: copy(&io::stdout())?,
        err: copy(&io::stderr())?,
        others,
    };
    dup2_stdout(&kept.others)?;
    dup2_stderr(&kept.others)?;
    let _kept_before = KEPT.set(kept);
    Ok(())
}

/// Whether the streams are for JSON alone.
pub(super) fn are_for_json() -> bool {
    KEPT.get().is_some()
}

/// Standard output.
pub(super) fn out() -> Box<dyn Write> {
    match KEPT.get() {
        Some(kept) => Box::new(&kept.out),
        None => Box::new(io::stdout()),
    }
}

/// Standard error.
pub(super) fn err() -> Box<dyn Write> {
    match KEPT.get() {
        Some(kept) => Box::new(&kept.err),
        None => Box::new(io::stderr()),
    }
}

/// The lines that others printed, as far as the streams were kept from them.
pub(super) fn of_others() -> Vec<String> {
    let Some(Kept { others, .. }) = KEPT.get() else {
        return Vec::new();
    };
    let mut bytes = Vec::new();
    let mut others: &File = others;
    let _part = others
        .rewind()
        .and_then(|()| others.take(MOST_OF_OTHERS).read_to_end(&mut bytes));
    let text = String::from_utf8_lossy(&bytes);
    let lines = text.lines().map(str::trim_end);
    lines
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect()
}
