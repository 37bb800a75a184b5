//! A time in the past, as an argument.

use crate::domain::malformed::Malformed;
use crate::domain::time::{Period, Timestamp};

/// `2026-11-22T16:00:00Z`, or `14d-ago`.
#[derive(Debug, Clone, Copy)]
pub(super) enum Since {
    Time(Timestamp),
    Ago(Period),
}

impl Since {
    /// The time, counted back from `now`.
    pub(super) fn time(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Time(time) => time,
            Self::Ago(period) => now.back(period),
        }
    }
}

/// Parses such an argument.
pub(super) fn since(text: &str) -> Result<Since, String> {
    let parsed = match text.strip_suffix("-ago") {
        Some(period) => period.parse().map(Since::Ago),
        None => text.parse().map(Since::Time),
    };
    parsed.map_err(|error: Malformed| format!("{error} or `14d-ago`"))
}
