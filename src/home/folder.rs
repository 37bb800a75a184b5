//! The home as a whole: what opening it reads and checks, and its lock.

use std::fs;
use std::path::{Path, PathBuf};

use super::error::HomeError;
use super::{approvers, ballast, places, private};
use crate::approver::Approver;
use crate::config::{CONFIG, Config};
use crate::files::{
    FileError, FileFault, FileLock, Folder, InputFile, hold, make_private, replace, sweep_files,
};
use crate::ledger::Ledger;
use crate::openpgp::{Certificate, LARGEST_CERTIFICATE};

pub(super) const CERTIFICATE: &str = "release.asc";
pub(super) const LEDGER: &str = "ledger.sqlite";
const LOCK: &str = "lock";

/// The home of a signing host that is set up.
#[derive(Debug)]
pub struct Home {
    pub(super) path: PathBuf,
    /// Its configuration.
    pub config: Config,
    /// The release certificate.
    pub certificate: Certificate,
    approvers: Vec<Approver>,
}

/// The right to change a home, which one process has at a time.
#[derive(Debug)]
pub struct HomeLock(#[expect(dead_code, reason = "the lock ends when it is dropped")] FileLock);

impl Home {
    /// Opens the home at `path`; refuses one that others than its owner could read or change.
    pub fn open(path: &Path) -> Result<Self, HomeError> {
        match path.join(CONFIG).try_exists() {
            Ok(true) => {}
            // The home of somebody else cannot be read: what follows reports its owner.
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {}
            Ok(false) | Err(_) => return Err(HomeError::Missing(path.to_owned())),
        }
        let path = &fs::canonicalize(path).map_err(FileError::io(path))?;
        private::check(path)?;
        let config = path.join(CONFIG);
        let text = InputFile::open(&config)?.read_whole(LARGEST_CERTIFICATE)?;
        let config = Config::parse(&config, &String::from_utf8_lossy(&text))?;
        let certificate = path.join(CERTIFICATE);
        let bytes = InputFile::open(&certificate)?.read_whole(LARGEST_CERTIFICATE)?;
        let certificate = Certificate::parse(&bytes).map_err(|source| HomeError::Certificate {
            which: "release certificate".to_owned(),
            path: certificate,
            source,
            help: "put the certificate back from where it is published: any copy that \
                   `countersign key export` wrote serves",
        })?;
        let approvers = approvers::read(path, &config)?;
        places::check(path, &config)?;
        Ok(Self {
            path: path.to_owned(),
            config,
            certificate,
            approvers,
        })
    }

    /// The people who may approve grants.
    pub fn approvers(&self) -> &[Approver] {
        &self.approvers
    }

    /// L's inbox, which releases are pushed to, if it is configured.
    pub fn inbox(&self) -> Option<PathBuf> {
        self.config
            .repository
            .inbox
            .as_ref()
            .map(|place| places::from_home(&self.path, place))
    }

    /// The folder that the log is exported to after each release, if it is configured.
    pub fn log_folder(&self) -> Option<PathBuf> {
        self.config
            .repository
            .log
            .as_ref()
            .map(|place| places::from_home(&self.path, place))
    }

    /// Refuses a folder that is the home or is in it: files for others to read would make the home
    /// one that is refused, and anyone who may write at L can put a link to it there.
    pub fn refuse_within(&self, folder: &Folder) -> Result<(), HomeError> {
        if folder.is_within(&Folder::open(&self.path)?)? {
            Err(HomeError::Within(folder.path().to_owned()))
        } else {
            Ok(())
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Locks the home for changes, and removes the temporary files of runs that were killed.
    pub fn lock(&self) -> Result<HomeLock, HomeError> {
        let lock = lock(&self.path)?;
        sweep_files(&self.path)?;
        Ok(lock)
    }

    /// Its ledger.
    pub fn ledger(&self) -> Result<Ledger, HomeError> {
        Ok(Ledger::open(&self.path.join(LEDGER))?)
    }

    /// Its ledger, to read it: also where the home cannot be written to.
    pub fn ledger_to_read(&self) -> Result<Ledger, HomeError> {
        Ok(Ledger::open_to_read(&self.path.join(LEDGER))?)
    }

    /// Gives the room free that is kept for a revocation. Whether there was any.
    pub fn give_ballast(&self) -> bool {
        ballast::give(&self.path)
    }

    /// Replaces the release certificate by another one of the same key.
    pub fn replace_certificate(
        &mut self,
        _lock: &HomeLock,
        certificate: Certificate,
    ) -> Result<(), HomeError> {
        replace(
            &self.path.join(CERTIFICATE),
            certificate.armored().as_bytes(),
            0o600,
        )?;
        self.certificate = certificate;
        Ok(())
    }

    /// A folder of the home, which is made if there is none.
    pub(super) fn folder(&self, name: &str) -> Result<PathBuf, HomeError> {
        let path = self.path.join(name);
        make_private(&path)?;
        Ok(path)
    }
}

/// Locks the home at `home`, and keeps room for a revocation in it.
pub(super) fn lock(home: &Path) -> Result<HomeLock, HomeError> {
    let lock = hold(&home.join(LOCK)).map_err(|error| match error.fault {
        FileFault::Busy => HomeError::Busy(home.to_owned()),
        _ => error.into(),
    })?;
    ballast::keep(home);
    Ok(HomeLock(lock))
}

/// What a file has; `None` if there is no such file.
pub(super) fn read_if_there<T>(
    path: &Path,
    read: impl FnOnce(InputFile) -> Result<T, FileError>,
) -> Result<Option<T>, HomeError> {
    match InputFile::open(path).and_then(read) {
        Ok(content) => Ok(Some(content)),
        Err(FileError {
            fault: FileFault::Missing,
            ..
        }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
