//! The files of a grant: for its builders, and in the home.

use std::path::{Path, PathBuf};

use super::error::GrantError;
use super::keys::Key;
use crate::domain::build_key::BuildKeyLabel;
use crate::domain::digest::GrantId;
use crate::domain::grant::{Grant, LARGEST_GRANT};
use crate::domain::name::BuilderName;
use crate::domain::release::folder_name;
use crate::files::{FileError, FileFault, InputFile, discard, write_new};
use crate::home::Home;
use crate::ledger::Ledger;
use crate::steps::builder::build_key::NewKey;
use crate::steps::host::trouble::Trouble;

/// The files that are written for a grant. Unless they are kept, the secrets among them are wiped
/// again.
pub(super) struct Written<'a> {
    home: &'a Home,
    grant: GrantId,
    files: Vec<PathBuf>,
    kept: bool,
}

/// Where the files for the builders are.
pub(super) struct Paths {
    pub(super) grant: PathBuf,
    pub(super) keys: Vec<(BuilderName, PathBuf)>,
}

impl<'a> Written<'a> {
    pub(super) fn begin(grant: &Grant, home: &'a Home) -> Self {
        Self {
            home,
            grant: grant.id(),
            files: Vec::new(),
            kept: false,
        }
    }

    /// Writes the grant and the keys that were made for it into `folder`, and what this host needs
    /// of them into the home.
    pub(super) fn write(
        &mut self,
        grant: &Grant,
        keys: &[(BuilderName, Key)],
        folder: &Path,
    ) -> Result<Paths, Trouble> {
        let terms = grant.terms();
        let stem = folder_name(&terms.project, &terms.version);
        let mut paths = Paths {
            grant: folder.join(format!("{stem}.grant.json")),
            keys: Vec::new(),
        };
        // A larger grant could not be read again.
        if grant.bytes().len() as u64 > LARGEST_GRANT {
            let limit = LARGEST_GRANT;
            return Err(FileError::new(paths.grant, FileFault::TooLarge { limit }).into());
        }
        self.add(&paths.grant, grant.bytes(), 0o644)?;
        for (builder, key) in keys {
            let Key::Injected(key) = key else { continue };
            let path = folder.join(format!("{stem}.{builder}.key"));
            let label = BuildKeyLabel::of(grant, builder);
            self.add(&path, &key.to_file(Some(&label)), 0o600)?;
            paths.keys.push((builder.clone(), path));
            if let NewKey::Nonce(nonce) = key {
                self.home.keep_nonce(grant.id(), builder, nonce)?;
            }
        }
        self.home.keep_grant(grant)?;
        Ok(paths)
    }

    fn add(&mut self, path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
        write_new(path, bytes, mode)?;
        self.files.push(path.to_owned());
        Ok(())
    }

    /// The grant is valid from now on.
    pub(super) fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Written<'_> {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        for path in &self.files {
            discard(path);
        }
        let _already_failing = self.home.forget_nonces(self.grant);
    }
}

/// Adds to the error about an existing grant whether it was issued here: a run that was killed
/// leaves one that was not.
pub(super) fn explain(error: Trouble, ledger: &Ledger) -> GrantError {
    let Trouble::File(FileError {
        path,
        fault: FileFault::Exists,
    }) = error
    else {
        return error.into();
    };
    let Some(grant) = existing(&path) else {
        return FileError::new(path, FileFault::Exists).into();
    };
    match ledger.grant(grant.id()) {
        Ok(record) => GrantError::Exists {
            path,
            issued: record.map(|record| record.issued),
        },
        Err(error) => error.into(),
    }
}

fn existing(path: &Path) -> Option<Grant> {
    let file = InputFile::open(path).ok()?;
    Grant::parse(&file.read_whole(LARGEST_GRANT).ok()?).ok()
}
