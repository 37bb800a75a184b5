//! By what one sees whether a folder changed, without reading what is in it.

use std::ffi::OsStr;
use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, Stat, fstat, statat};

use super::{FileError, FileFault, Folder, Kind};

impl Folder {
    /// A text that is another one as soon as this folder, or anything in it as far as `depth`
    /// folders below, was written, added, removed or renamed: nobody can set back the time at which
    /// a file was changed. Refuses more than `limit` entries.
    pub fn state(&self, depth: usize, limit: usize) -> Result<String, FileError> {
        let status =
            fstat(&self.handle).map_err(|error| FileError::io(self.path())(error.into()))?;
        let mut text = String::new();
        let mut left = limit;
        add(&mut text, OsStr::new("."), &status);
        self.add_entries(&mut text, depth, &mut left)
            .map_err(|error| match error.fault {
                FileFault::TooMany { .. } => {
                    FileError::new(self.path(), FileFault::TooMany { limit })
                }
                _ => error,
            })?;
        Ok(text)
    }

    fn add_entries(
        &self,
        text: &mut String,
        depth: usize,
        left: &mut usize,
    ) -> Result<(), FileError> {
        let entries = self.entries(*left)?;
        *left -= entries.len();
        for (name, kind) in entries {
            let status = statat(&self.handle, &name, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|error| FileError::io(&self.path().join(&name))(error.into()))?;
            add(text, &name, &status);
            if kind == Kind::Folder && depth > 0 {
                self.subfolder(&name)?.add_entries(text, depth - 1, left)?;
                text.push('\n');
            }
        }
        Ok(())
    }
}

fn add(text: &mut String, name: &OsStr, status: &Stat) {
    let name = hex::encode(name.as_bytes());
    let written = writeln!(
        text,
        "{name} {:o} {} {} {}.{}",
        status.st_mode, status.st_ino, status.st_size, status.st_ctime, status.st_ctime_nsec
    );
    written.expect("text can be appended to");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::time::Duration;

    #[test]
    fn every_change_is_seen_and_reading_is_none() {
        let temp = tempfile::tempdir().expect("a folder");
        let at = |name: &str| temp.path().join(name);
        fs::create_dir(at("deep")).expect("made");
        for file in ["file", "deep/file"] {
            fs::write(at(file), b"1").expect("written");
        }
        let folder = Folder::open(temp.path()).expect("opened");
        let state = || folder.state(2, 9).expect("seen");
        let before = state();
        fs::read(at("deep/file")).expect("read");
        assert_eq!(state(), before);
        let changes: [&dyn Fn(); 8] = [
            &|| fs::write(at("file"), b"2").expect("written"),
            &|| fs::write(at("deep/file"), b"2").expect("written"),
            &|| fs::write(at("deep/more"), b"").expect("written"),
            &|| fs::rename(at("deep/more"), at("deep/other")).expect("renamed"),
            &|| fs::remove_file(at("deep/other")).expect("removed"),
            &|| symlink("file", at("link")).expect("linked"),
            &|| {
                let modes = fs::Permissions::from_mode(0o600);
                fs::set_permissions(at("file"), modes).expect("set");
            },
            &|| {
                let file = fs::File::options()
                    .write(true)
                    .open(at("file"))
                    .expect("opened");
                let time = fs::metadata(at("deep/file")).and_then(|it| it.modified());
                file.set_modified(time.expect("a time")).expect("set back");
            },
        ];
        for change in changes {
            let before = state();
            // The clock of a file system may be this coarse.
            std::thread::sleep(Duration::from_millis(20));
            change();
            assert_ne!(state(), before);
        }
        assert!(folder.state(2, 3).is_err(), "four entries");
    }
}
