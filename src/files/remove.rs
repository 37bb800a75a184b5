//! Removing by handle: what is put in the place of a folder since it was opened is not touched.

use std::ffi::OsStr;

use rustix::fs::{AtFlags, unlinkat};
use rustix::io::Errno;

use super::{FileError, FileFault, Folder, Kind, Owner};

/// How many folders deep is removed. Deeper ones were not made by us, and each costs a handle.
const DEEPEST: usize = 8;

impl Folder {
    /// Removes the file or link `name`, if there is one.
    pub fn remove_file(&self, name: impl AsRef<OsStr>) -> Result<(), FileError> {
        self.unlink(name.as_ref(), AtFlags::empty())
    }

    /// Removes the folder `name`, with everything in it, if that is still `opened`. It is moved
    /// aside first, where anyone who looks for its name finds nothing; another one that was put in
    /// its place gets its name back. If this is killed, `owner` removes the rest.
    pub fn remove_opened(
        &self,
        name: &OsStr,
        opened: &Self,
        owner: &Owner,
    ) -> Result<(), FileError> {
        let fail = |error: Errno| FileError::io(opened.path())(error.into());
        let aside = owner.gone();
        self.rename_new(name, &aside).map_err(fail)?;
        let same = self.subfolder(&aside).and_then(|it| it.is_same_as(opened));
        if !same.as_ref().is_ok_and(|same| *same) {
            // Whatever it is, it is not ours to keep.
            let _ = self.rename_new(&aside, name);
            return Err(same.err().unwrap_or_else(|| {
                FileError::new(
                    opened.path(),
                    FileFault::Kind {
                        found: "another folder by now",
                        wanted: "the one that was read",
                    },
                )
            }));
        }
        self.remove_own(&aside, opened)?;
        self.sync()
    }

    /// Removes the folder `name`, which is `opened` and gets no other name, with everything in it.
    pub(super) fn remove_own(&self, name: &OsStr, opened: &Self) -> Result<(), FileError> {
        opened.clear(DEEPEST)?;
        self.unlink(name, AtFlags::REMOVEDIR)
    }

    /// Removes everything in it; of a link, the link.
    fn clear(&self, depth: usize) -> Result<(), FileError> {
        self.each(|name, kind| {
            if kind != Kind::Folder || depth == 0 {
                return self.unlink(name, AtFlags::empty());
            }
            self.subfolder(name)?.clear(depth - 1)?;
            self.unlink(name, AtFlags::REMOVEDIR)
        })
    }

    fn unlink(&self, name: &OsStr, flags: AtFlags) -> Result<(), FileError> {
        match unlinkat(&self.handle, name, flags) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(FileError::io(&self.path().join(name))(error.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn remove_one(above: &Folder, one: &Folder) -> Result<(), FileError> {
        let folder = tempfile::tempdir().expect("a folder");
        let owner = Owner::open(Folder::open(folder.path())?)?;
        above.remove_opened("one".as_ref(), one, &owner)
    }

    #[test]
    fn the_folder_that_was_opened_is_removed_and_nothing_outside_of_it() {
        let temp = tempfile::tempdir().expect("a folder");
        let at = |name: &str| temp.path().join(name);
        fs::create_dir_all(at("inbox/one/deep")).expect("made");
        fs::create_dir(at("public")).expect("made");
        for file in ["inbox/one/file", "inbox/one/deep/file", "public/file"] {
            fs::write(at(file), b"1").expect("written");
        }
        symlink(at("public"), at("inbox/one/link")).expect("linked");
        let inbox = Folder::open(&at("inbox")).expect("opened");
        let one = inbox.subfolder("one").expect("opened");
        remove_one(&inbox, &one).expect("removed");
        assert_eq!(inbox.names(9).expect("listed"), [""; 0]);
        assert!(at("public/file").exists());
    }

    #[test]
    fn what_was_put_in_the_place_of_a_folder_is_not_removed() {
        let temp = tempfile::tempdir().expect("a folder");
        let at = |name: &str| temp.path().join(name);
        let put: [&dyn Fn(); 4] = [
            &|| fs::rename(at("public"), at("inbox/one")).expect("moved"),
            &|| symlink(at("public"), at("inbox/one")).expect("linked"),
            &|| fs::write(at("inbox/one"), b"1").expect("written"),
            &|| {},
        ];
        for put in put {
            fs::create_dir_all(at("inbox/one")).expect("made");
            fs::create_dir(at("public")).expect("made");
            fs::write(at("public/file"), b"1").expect("written");
            let inbox = Folder::open(&at("inbox")).expect("opened");
            let one = inbox.subfolder("one").expect("opened");
            fs::rename(at("inbox/one"), at("away")).expect("moved");
            put();
            let before = fs::symlink_metadata(at("inbox/one")).ok();
            remove_one(&inbox, &one).expect_err("other");
            let kind = |it: fs::Metadata| (it.file_type(), it.len());
            let after = fs::symlink_metadata(at("inbox/one")).ok();
            assert_eq!(after.map(kind), before.map(kind));
            assert!(at("public/file").exists() || at("inbox/one/file").exists());
            assert!(at("away").exists());
            for name in ["inbox", "public", "away"] {
                let _ = fs::remove_dir_all(at(name));
            }
        }
    }

    #[test]
    fn what_is_deeper_than_any_release_stays() {
        let temp = tempfile::tempdir().expect("a folder");
        let deep = "one/".repeat(DEEPEST + 3);
        fs::create_dir_all(temp.path().join(&deep)).expect("made");
        let folder = Folder::open(temp.path()).expect("opened");
        let one = folder.subfolder("one").expect("opened");
        remove_one(&folder, &one).expect_err("too deep");
    }
}
