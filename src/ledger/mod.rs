//! H's audit log and the journal of signing runs, in one SQLite file that is durable at each step.
//!
//! Entries are appended and never changed. Each is a leaf of a Merkle tree, whose hashes are kept
//! beside it. What a step looks up (the state of a grant, the entries that announce a file, the
//! signatures that came back) is found by tables that are written in the same transaction, and is
//! read from the entries that they lead to. This module knows what events say, not how they come
//! about.
//!
//! | file | what it has |
//! |---|---|
//! | `store`, `schema` | the database, its tables and triggers |
//! | `read_only` | the same where nothing can be written |
//! | `append`, `tree`, `about` | what an event writes: its entry, the hashes of it, and rows |
//! | `folders` | whether a release can have the folder that it would have |
//! | `entries`, `about`, `signatures` | what is read: entries, grants, kept signatures |
//! | `newest` | the newest time, for a clock that was set back |
//! | `places` | where releases are, which is not public |
//! | `verify`, `pass` | the check of the whole |
//! | `export`, `exported` | the log as files, and the log from files |

mod about;
mod append;
mod entries;
mod error;
mod export;
mod exported;
mod folders;
mod milestone;
mod newest;
mod pass;
mod places;
mod read_only;
mod schema;
mod signatures;
mod store;
mod tree;
mod verify;

pub use about::{Accepted, GrantRecord};
pub use error::{BadLog, LedgerError};
pub use export::{ExportError, Exported};
pub use exported::ExportedLog;
pub use store::Ledger;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    use crate::domain::digest::{GrantId, Sha256};
    use crate::domain::event::Event;
    use crate::domain::time::Timestamp;

    fn time() -> Timestamp {
        Timestamp::from_unix(0)
    }

    #[test]
    fn what_was_written_is_there_after_it_was_closed() {
        let temp = tempfile::tempdir().expect("a folder");
        let path = temp.path().join("ledger.sqlite");
        let grant = GrantId::of(b"g");
        let mut ledger = Ledger::open_or_create(&path).expect("made");
        assert_eq!(
            fs::metadata(&path).expect("there").permissions().mode() & 0o777,
            0o600
        );
        assert!(!ledger.issued(grant).expect("asked"));
        assert_eq!(
            ledger
                .append(time(), Event::example_grant(grant))
                .expect("issued"),
            0
        );
        assert_eq!(ledger.accepted(grant).expect("asked"), None);
        assert_eq!(
            ledger
                .append(time(), Event::example_acceptance(grant))
                .expect("accepted"),
            1
        );
        drop(ledger);

        let mut ledger = Ledger::open(&path).expect("opened");
        assert!(ledger.issued(grant).expect("asked"));
        let accepted = Accepted {
            index: 1,
            at: time(),
            artifacts: Sha256::of(b"m"),
            builders: [].into(),
        };
        assert_eq!(ledger.accepted(grant).expect("asked"), Some(accepted));
        let mut kinds = Vec::new();
        ledger
            .each::<LedgerError>(|entry| {
                kinds.push(entry.event.kind());
                Ok(())
            })
            .expect("listed");
        assert_eq!(kinds, ["grant-issued", "evidence-accepted"]);
        let history = ledger.history(grant).expect("asked");
        assert_eq!(
            history
                .iter()
                .map(|entry| entry.event.kind())
                .collect::<Vec<_>>(),
            kinds
        );
        let revoked = Event::GrantRevoked {
            grant,
            reason: None,
        };
        assert_eq!(ledger.append(time(), revoked).expect("revoked"), 2);
        let project = "foo".parse().expect("a name");
        let record = GrantRecord {
            grant,
            issued: 0,
            accepted: Some(1),
            intent: None,
            signed: None,
            released: None,
            pushed: None,
            revoked: Some(2),
            withdrawn: None,
            withdrawal_pushed: None,
        };
        assert_eq!(
            ledger.grants_of(&project).expect("asked"),
            std::slice::from_ref(&record)
        );
        assert_eq!(
            ledger.grants().expect("asked"),
            std::slice::from_ref(&record)
        );
        assert_eq!(
            ledger
                .grants_of(&"bar".parse().expect("a name"))
                .expect("asked"),
            []
        );
    }
}
