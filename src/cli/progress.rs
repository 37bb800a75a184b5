//! Progress of long reads, on standard error when that is a terminal.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::domain::text::clean;
use crate::steps::Progress;

/// Shorter reads are over before a bar could be read.
const WORTH_SHOWING: u64 = 32 << 20;

/// A bar for each file that takes a while.
pub(super) struct Bar(Option<ProgressBar>);

impl Bar {
    pub(super) fn new() -> Self {
        Self(None)
    }

    fn end(&mut self) {
        if let Some(bar) = self.0.take() {
            bar.finish_and_clear();
        }
    }
}

impl Progress for Bar {
    fn file(&mut self, name: &str, bytes: u64) {
        self.end();
        if bytes >= WORTH_SHOWING && std::io::stderr().is_terminal() {
            let style = "{msg} {wide_bar} {bytes}/{total_bytes} {eta}";
            let style = ProgressStyle::with_template(style).expect("a well-formed template");
            let bar = ProgressBar::new(bytes).with_style(style);
            bar.set_message(clean(name));
            bar.enable_steady_tick(Duration::from_millis(100));
            self.0 = Some(bar);
        }
    }

    fn read(&mut self, bytes: u64) {
        if let Some(bar) = &self.0 {
            bar.inc(bytes);
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.end();
    }
}
