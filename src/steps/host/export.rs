//! The log for others: H signs a checkpoint of it, and writes it as static files.

use std::path::{Path, PathBuf};

use crate::files::{FileError, Folder, Wait, make_public, nearest};
use crate::home::{Home, HomeError};
use crate::ledger::{ExportError, Exported, Ledger};
use crate::tlog::checkpoint::Checkpoint;

/// Why the log was not exported. Its codes are those of an export that follows a release, which
/// `push` makes up for; `log export` shows the error inside.
#[expect(missing_docs, reason = "each message says what it means")]
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum NotExported {
    #[error(transparent)]
    #[diagnostic(
        code(trouble::log_folder_unusable),
        help("when this is mended, run `countersign push`: the token is not needed")
    )]
    Folder(ExportError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Home(#[from] HomeError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Export(ExportError),
}

impl From<FileError> for NotExported {
    fn from(error: FileError) -> Self {
        Self::Folder(ExportError::File(error))
    }
}

impl From<ExportError> for NotExported {
    fn from(error: ExportError) -> Self {
        match error {
            ExportError::File(_) | ExportError::Obstructed(_) => Self::Folder(error),
            error => Self::Export(error),
        }
    }
}

/// A checkpoint of the log as it is now, and the signed note of it.
pub fn signed_head(home: &Home, ledger: &Ledger) -> Result<(Checkpoint, String), HomeError> {
    let head = ledger.head()?;
    let note = head.sign(&home.log_key()?);
    Ok((head, note))
}

/// Exports the log to a folder, which is made if there is none.
pub fn export(
    folder: &Path,
    home: &Home,
    ledger: &Ledger,
    wait: Wait,
) -> Result<Exported, NotExported> {
    home.refuse_within(&nearest(folder)?)?;
    write(&make_public(folder)?, home, ledger, wait)
}

/// Exports the log to the folder in the configuration; returns `None` if there is none. The folder
/// must exist: its mount may be away.
pub fn export_as_configured(
    home: &Home,
    ledger: &Ledger,
    wait: Wait,
) -> Result<Option<(PathBuf, Exported)>, NotExported> {
    let Some(path) = home.log_folder() else {
        return Ok(None);
    };
    let folder = Folder::open(&path)?;
    home.refuse_within(&folder)?;
    Ok(Some((path, write(&folder, home, ledger, wait)?)))
}

fn write(
    folder: &Folder,
    home: &Home,
    ledger: &Ledger,
    wait: Wait,
) -> Result<Exported, NotExported> {
    let (head, note) = signed_head(home, ledger)?;
    Ok(ledger.export(folder, &home.config.log_key, &head, &note, wait)?)
}
