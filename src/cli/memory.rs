//! What a process with secrets asks of the system.

use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{Resource, Rlimit, geteuid, getrlimit, setrlimit};

/// Keeps the memory of this process out of the swap space. Not where it may lock only so much: a
/// process that reaches its limit later would fail in the middle.
pub(super) fn lock_all() -> bool {
    let limit = getrlimit(Resource::Memlock);
    if limit.maximum.is_none() {
        let raised = Rlimit {
            current: None,
            maximum: None,
        };
        let _shown_below = setrlimit(Resource::Memlock, raised);
    }
    let may_lock_all = getrlimit(Resource::Memlock).current.is_none() || geteuid().is_root();
    may_lock_all
        && mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT).is_ok()
}
