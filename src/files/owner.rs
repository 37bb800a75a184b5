//! Who could have changed a file that is trusted.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;

use rustix::process::geteuid;

/// Why a file is not to be trusted: others can write it, or it is neither root's nor this user's.
pub fn changeable(status: &Metadata) -> Option<String> {
    let mode = status.mode() & 0o7777;
    let owner = status.uid();
    if owner != 0 && owner != geteuid().as_raw() {
        return Some(format!(
            "it belongs to user {owner}, who is neither root nor the user who runs this"
        ));
    }
    (mode & 0o022 != 0).then(|| format!("others than its owner can write it (mode {mode:04o})"))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, chown};

    use super::*;

    #[test]
    fn only_root_and_this_user_may_own_and_write_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        fs::write(&path, b"").expect("written");
        let judged = |mode| {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("its mode");
            changeable(&path.metadata().expect("there"))
        };
        for mode in [0o600, 0o644, 0o755, 0o444] {
            assert_eq!(judged(mode), None);
        }
        for mode in [0o620, 0o602, 0o666, 0o1777] {
            let reason = judged(mode).expect("writable");
            assert!(reason.contains(&format!("(mode {mode:04o})")), "{reason}");
        }
        // Only root can give a file away.
        if chown(&path, Some(12_345), None).is_ok() {
            let reason = judged(0o600).expect("somebody else's");
            assert!(reason.contains("belongs to user 12345"), "{reason}");
        }
    }
}
