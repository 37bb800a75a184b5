//! The home as a whole: what opening it reads and checks, and its lock.

use std::fs;
use std::path::{Path, PathBuf};

use super::error::HomeError;
use super::{approvers, ballast, places, private};
use crate::approver::Approver;
use crate::config::{CONFIG, Config};
use crate::files::{FileError, FileFault, Folder, InputFile, Owner, make_private};
use crate::ledger::Ledger;
use crate::openpgp::{Certificate, LARGEST_CERTIFICATE};
use crate::token::RefusedPins;

pub(super) const CERTIFICATE: &str = "release.asc";
pub(super) const LEDGER: &str = "ledger.sqlite";
pub(super) const REFUSED_PINS: &str = "refused-pins";
const RUNS: &str = "runs";

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

impl Home {
    /// Opens the home at `path`; refuses one that others than its owner could read or change.
    pub fn open(path: &Path) -> Result<Self, HomeError> {
        Self::read(&Self::find(path)?)
    }

    /// Where the home at `path` is, without links.
    pub(super) fn find(path: &Path) -> Result<PathBuf, HomeError> {
        match path.join(CONFIG).try_exists() {
            Ok(true) => {}
            // The home of somebody else cannot be read: what follows reports its owner.
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {}
            Ok(false) | Err(_) => return Err(HomeError::Missing(path.to_owned())),
        }
        let path = fs::canonicalize(path).map_err(FileError::io(path))?;
        private::check(&path)?;
        Ok(path)
    }

    /// Reads the home that was found at `path`.
    pub(super) fn read(path: &Path) -> Result<Self, HomeError> {
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

    /// The places for checkpoints of its log.
    pub fn anchors(&self) -> Vec<PathBuf> {
        let named = &self.config.anchor.places;
        match named.is_empty() {
            true => self.log_folder().into_iter().collect(),
            false => named
                .iter()
                .map(|place| places::from_home(&self.path, place))
                .collect(),
        }
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

    /// Its record of the PINs that tokens refused.
    pub fn refused_pins(&self) -> RefusedPins {
        RefusedPins::at(self.path.join(REFUSED_PINS))
    }

    /// Whose everything is that this home makes in folders of others.
    pub fn owner(&self) -> Result<Owner, FileError> {
        let path = self.path.join(RUNS);
        make_private(&path)?;
        Owner::open(Folder::open(&path)?)
    }

    /// Its ledger.
    pub fn ledger(&self) -> Result<Ledger, HomeError> {
        Ok(Ledger::open(&self.path.join(LEDGER))?)
    }

    /// Its ledger, to read it: also where the home cannot be written to.
    pub fn ledger_to_read(&self) -> Result<Ledger, HomeError> {
        Ok(Ledger::open_to_read(&self.path.join(LEDGER))?)
    }

    /// Keeps room for a revocation, unless it is kept.
    pub fn keep_ballast(&self) {
        ballast::keep(&self.path);
    }

    /// Gives the room free that is kept for a revocation. Whether there was any.
    pub fn give_ballast(&self) -> bool {
        ballast::give(&self.path)
    }

    /// A folder of the home, which is made if there is none.
    pub(super) fn folder(&self, name: &str) -> Result<PathBuf, HomeError> {
        let path = self.path.join(name);
        make_private(&path)?;
        Ok(path)
    }
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
