//! What to do next about the home.

use super::log::ledger;
use crate::cli::advice::code::Code::{Trouble, Usage};
use crate::cli::advice::code::{Advice, hint};
use crate::cli::advice::read::{certificate_hint, file};
use crate::home::HomeError;

pub(super) fn home(error: &HomeError) -> Advice {
    match error {
        HomeError::Missing(_) => hint(
            Usage,
            "set it up with `countersign init`, or name it with `--home`",
        ),
        HomeError::Exists(_) => hint(
            Usage,
            "name another one with `--home`, or use this one as it is",
        ),
        HomeError::Within(_) => hint(
            Usage,
            "name a folder outside of the home; if you did, somebody put a link to the home in its place",
        ),
        HomeError::Open { path, wanted, .. } => hint(
            Usage,
            format!("run `chmod {wanted:03o} {}`", path.display()),
        ),
        HomeError::Owner { .. } => hint(Usage, "run this as the home's owner"),
        HomeError::Busy(_) => hint(Trouble, "run the same command again when it is done"),
        HomeError::NoSuchGrant(_) => hint(
            Usage,
            "give a grant file, or at least eight digits of an id from `countersign grants list`",
        ),
        HomeError::AmbiguousGrant(_) => hint(Usage, "give more digits"),
        HomeError::Config(_) => (Usage, None),
        HomeError::Certificate { fault, .. } => (Usage, certificate_hint(fault)),
        HomeError::ApproverCertificate { fault, .. } => (Usage, certificate_hint(fault)),
        HomeError::Nonce { .. } => hint(
            Usage,
            "issue a new grant: what is kept for this one cannot be used",
        ),
        HomeError::LogKey { .. } | HomeError::OtherLogKey(_) => hint(
            Usage,
            "restore the file from a backup; a log that goes on under another key cannot be told from a forged one",
        ),
        HomeError::Grant { .. } => (Usage, None),
        HomeError::Ledger(error) => ledger(error),
        HomeError::File(error) => file(error, Usage),
    }
}
