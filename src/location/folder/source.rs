//! A release in a folder. No link in it is followed, and nothing but regular files is read.

use std::io::{self, Read};

use crate::files::{FileError, FileFault, Folder, InputFile, Kind};
use crate::location::{Fault, Source};

/// How many folders deep a release is.
pub(super) const DEEPEST: usize = 2;

impl Source for Folder {
    fn open(&self, name: &str, limit: u64) -> Result<(u64, Box<dyn Read + '_>), Fault> {
        let file = self.file_below(name)?;
        let size = file.size();
        Ok((size, Box::new(Bounded { file, limit })))
    }

    fn names(&self, most: usize) -> Result<Option<Vec<String>>, Fault> {
        let mut names = Vec::new();
        let too_many = || FileError::new(self.path(), FileFault::TooMany { limit: most });
        collect(self, "", DEEPEST, most, &mut names).map_err(|error| match error.fault {
            FileFault::TooMany { .. } => too_many(),
            _ => error,
        })?;
        if names.len() > most {
            return Err(too_many().into());
        }
        names.sort();
        Ok(Some(names))
    }

    fn shown(&self) -> String {
        self.path().display().to_string()
    }
}

/// A name that is not UTF-8 appears as one that no file of a release has.
fn collect(
    folder: &Folder,
    prefix: &str,
    depth: usize,
    most: usize,
    names: &mut Vec<String>,
) -> Result<(), FileError> {
    for (name, kind) in folder.entries(most.saturating_sub(names.len()))? {
        let path = format!("{prefix}{}", name.to_string_lossy());
        if kind != Kind::Folder {
            names.push(path);
            continue;
        }
        let below = format!("{path}/");
        let before = names.len();
        match (depth > 0).then(|| folder.subfolder(&name)) {
            Some(Ok(inner)) => collect(&inner, &below, depth - 1, most, names)?,
            // It can work the next time.
            Some(Err(error)) if matches!(error.fault, FileFault::Full(_) | FileFault::Io(_)) => {
                return Err(error);
            }
            // One that cannot be opened is named as it is: whatever needs what is in it fails
            // there.
            Some(Err(_)) | None => {}
        }
        if names.len() == before {
            names.push(below);
        }
    }
    Ok(())
}

/// A file of which at most `limit` bytes are read.
struct Bounded {
    file: InputFile,
    limit: u64,
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file
            .next(buffer, self.limit)
            .map_err(|error| Fault::from(error).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn names_are_those_of_files_and_of_folders_without_any() {
        let temp = tempfile::tempdir().expect("a folder");
        for folder in ["evidence/m1/deep", "empty"] {
            fs::create_dir_all(temp.path().join(folder)).expect("made");
        }
        for file in ["b", "evidence/a", "evidence/m1/c", "evidence/m1/deep/d"] {
            fs::write(temp.path().join(file), b"1").expect("written");
        }
        std::os::unix::fs::symlink("evidence", temp.path().join("link")).expect("linked");
        let folder = Folder::open(temp.path()).expect("opened");
        let expected = [
            "b",
            "empty/",
            "evidence/a",
            "evidence/m1/c",
            "evidence/m1/deep/",
            "link",
        ];
        assert_eq!(
            Source::names(&folder, 6).expect("listed").expect("known"),
            expected.map(str::to_owned)
        );
        let fault = Source::names(&folder, 5).expect_err("too many");
        assert!(
            fault.to_string().ends_with("has more than 5 entries"),
            "{fault}"
        );
    }

    #[test]
    fn no_byte_over_the_limit_is_read_and_no_link_followed() {
        let temp = tempfile::tempdir().expect("a folder");
        fs::create_dir(temp.path().join("evidence")).expect("made");
        fs::write(temp.path().join("evidence/file"), b"content").expect("written");
        std::os::unix::fs::symlink("evidence", temp.path().join("link")).expect("linked");
        let folder = Folder::open(temp.path()).expect("opened");
        let read = |name, limit| Source::read(&folder, name, limit);
        assert_eq!(read("evidence/file", 7).expect("read"), b"content");
        assert!(matches!(read("evidence/file", 6), Err(Fault::TooLarge(_))));
        assert!(matches!(read("evidence/none", 7), Err(Fault::Missing(_))));
        assert!(matches!(read("link/file", 7), Err(Fault::Strange(_))));
    }
}
