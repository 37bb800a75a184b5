//! Room on the disk for a revocation, which must be possible when the disk is full: a file of
//! nothing, which is removed for it.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

const BALLAST: &str = "ballast";

/// Its size in bytes. What a revocation needs was measured in a ledger of 1,000 entries, with the
/// longest reason: 32 KiB for the index of the write-ahead log and at most 90 KiB for the log
/// itself; what of it does not fit into the database stays there.
const SIZE: usize = 512 << 10;

/// Gives the room free. Whether there was any.
pub(super) fn give(home: &Path) -> bool {
    fs::remove_file(home.join(BALLAST)).is_ok()
}

/// Keeps the room, unless it is kept: without it everything else works too, so a disk without room
/// is for others to report. Nothing of the file has to outlive a power cut.
pub(super) fn keep(home: &Path) {
    let path = home.join(BALLAST);
    let is_whole = |file: fs::Metadata| file.len() == SIZE as u64;
    if path.metadata().is_ok_and(is_whole) {
        return;
    }
    let mut bytes = vec![0; SIZE];
    // Some file systems give no room to what they can compress.
    let filled = getrandom::fill(&mut bytes).map_err(std::io::Error::other);
    let kept = filled.and_then(|()| {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)?;
        file.write_all(&bytes)
    });
    if kept.is_err() {
        // Part of it would be of no use.
        let _full = fs::remove_file(&path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::digest::GrantId;
    use crate::domain::event::Event;
    use crate::domain::time::Timestamp;
    use crate::ledger::Ledger;

    /// What the ledger's files take more while it is open, since a full disk has what it takes
    /// closed.
    #[test]
    fn a_revocation_needs_less_than_half_of_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ledger.sqlite");
        let at = Timestamp::from_unix(0);
        let grant = |number: u32| GrantId::of(&number.to_be_bytes());
        let mut ledger = Ledger::open_or_create(&path).expect("made");
        for number in 0..1000 {
            let issued = Event::example_grant(grant(number));
            ledger.append(at, issued).expect("issued");
        }
        drop(ledger);
        let taken = || -> u64 {
            let files = fs::read_dir(folder.path()).expect("a folder");
            let size = |file: std::io::Result<fs::DirEntry>| {
                let file = file.expect("a file");
                file.metadata().expect("its size").len()
            };
            files.map(size).sum()
        };
        let before = taken();
        let mut most = 0;
        for number in [0, 500, 999] {
            let mut ledger = Ledger::open(&path).expect("opened");
            let reason = Some("x".repeat(1000));
            let grant = grant(number);
            let revoked = Event::GrantRevoked { grant, reason };
            ledger.append(at, revoked).expect("revoked");
            most = most.max(taken() - before);
        }
        assert!(most < SIZE as u64 / 2, "{most} bytes");
    }
}
