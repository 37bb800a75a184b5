//! Why the OpenPGP library refuses something.

use sequoia_openpgp::anyhow::Error;

use crate::domain::text::cut;

/// The innermost error of the chain, which is the most specific, on one line.
pub(super) fn first_line(error: &Error) -> String {
    let innermost = error.root_cause().to_string();
    cut(innermost.lines().next().unwrap_or_default(), 200)
}
