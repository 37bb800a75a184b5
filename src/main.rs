//! See the library's documentation for how this is put together.

use std::process::ExitCode;

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

fn main() -> ExitCode {
    no_core_dumps();
    std::panic::catch_unwind(countersign::cli::run).unwrap_or_else(|_| countersign::cli::bug())
}

/// A core dump would contain every secret in memory.
fn no_core_dumps() {
    let nothing = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    let done = setrlimit(Resource::Core, nothing)
        .and_then(|()| set_dumpable_behavior(DumpableBehavior::NotDumpable));
    done.expect("a process may always give up core dumps");
}
