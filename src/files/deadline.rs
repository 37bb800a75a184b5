//! Work in a file system that may never answer, such as a mount whose other end is away.

use std::io;
use std::path::Path;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

use super::FileError;

/// Does something with what is at `path`, for so long at most. What has not ended by then goes on
/// in a thread of its own until the process ends.
pub fn within<T: Send + 'static>(
    path: &Path,
    limit: Duration,
    work: impl FnOnce() -> Result<T, FileError> + Send + 'static,
) -> Result<T, FileError> {
    let (done, end) = sync_channel(1);
    let thread = thread::Builder::new().spawn(move || {
        // Nobody may be waiting any more.
        let _late = done.send(work());
    });
    thread.map_err(FileError::io(path))?;
    end.recv_timeout(limit).unwrap_or_else(|_| {
        let why = format!("it did not answer within {} s", limit.as_secs());
        Err(FileError::io(path)(io::Error::new(
            io::ErrorKind::TimedOut,
            why,
        )))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_has_its_time_and_no_more() {
        let path = Path::new("/mnt/away");
        let soon = within(path, Duration::from_secs(10), || Ok(7));
        assert_eq!(soon.expect("in time"), 7);
        let never = within(path, Duration::from_millis(20), || {
            thread::sleep(Duration::from_secs(10));
            Ok(7)
        });
        let error = never.expect_err("too late").to_string();
        assert!(
            error.starts_with("`/mnt/away` cannot be used: it did not answer"),
            "{error}"
        );
    }
}
