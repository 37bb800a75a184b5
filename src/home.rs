//! H's home: the folder with its configuration, release certificate, ledger and grants.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use crate::config::{Config, ConfigError};
use crate::domain::digest::GrantId;
use crate::domain::event::Event;
use crate::domain::grant::{Grant, LARGEST_GRANT};
use crate::domain::key::{PublicKey, pairs};
use crate::domain::malformed::Malformed;
use crate::domain::name::{ApproverName, BuilderName};
use crate::domain::release::LARGEST_SIGNATURE;
use crate::domain::time::Timestamp;
use crate::files::{
    FileError, FileFault, FileLock, Folder, InputFile, hold, make_private, replace, sweep_files,
    wipe, write_new,
};
use crate::ledger::{Ledger, LedgerError};
use crate::mac::MacKey;
use crate::openpgp::{Certificate, LARGEST_CERTIFICATE};
use crate::ssh;
use crate::tlog::note::SignerKey;

const CONFIG: &str = "config.toml";
const CERTIFICATE: &str = "release.asc";
const REVOCATION: &str = "revocation.asc";
const LEDGER: &str = "ledger.sqlite";
const LOG_KEY: &str = "log.key";
const GRANTS: &str = "grants";
const APPROVALS: &str = "approvals";
const NONCES: &str = "nonces";
const LOCK: &str = "lock";
const LARGEST_NONCE: u64 = 100;
const LARGEST_LOG_KEY: u64 = 1000;

/// The home of a signing host that is set up.
#[derive(Debug)]
pub struct Home {
    path: PathBuf,
    /// What its configuration says.
    pub config: Config,
    /// The release certificate.
    pub certificate: Certificate,
    approvers: Vec<Approver>,
}

/// Somebody who may approve grants.
#[derive(Debug)]
pub struct Approver {
    /// What to call them.
    pub name: ApproverName,
    /// Their OpenPGP certificates.
    pub certificates: Vec<Certificate>,
    /// Their SSH keys.
    pub ssh_keys: Vec<ssh::PublicKey>,
}

impl Approver {
    /// Whether somebody else has one of this person's keys, as an OpenPGP or an SSH key.
    fn shares_key_with(&self, other: &Self) -> bool {
        let numbers = |approver: &Self| -> Vec<PublicKey> {
            let certificates = approver.certificates.iter().flat_map(Certificate::numbers);
            certificates
                .chain(approver.ssh_keys.iter().filter_map(ssh::PublicKey::numbers))
                .collect()
        };
        let theirs = numbers(other);
        numbers(self)
            .iter()
            .any(|key| theirs.iter().any(|other| key.is_one_with(other)))
            || self.ssh_keys.iter().any(|key| other.ssh_keys.contains(key))
            || self
                .certificates
                .iter()
                .any(|ours| other.certificates.iter().any(|it| ours.shares_key_with(it)))
    }
}

/// A home that is being set up: its folder and its ledger are there, its configuration is not.
#[derive(Debug)]
pub struct NewHome {
    path: PathBuf,
}

/// Held by the one process that may change a home.
#[derive(Debug)]
pub struct HomeLock(#[expect(dead_code, reason = "the lock ends when it is dropped")] FileLock);

/// What is wrong with a home.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum HomeError {
    #[error("there is no signing host's home at `{}`", .0.display())]
    #[diagnostic(
        code(usage::home_missing),
        help("set it up with `countersign init`, or name it with `--home`")
    )]
    Missing(PathBuf),
    #[error("the home at `{}` is set up already", .0.display())]
    #[diagnostic(
        code(usage::home_exists),
        help("name another one with `--home`, or use this one as it is")
    )]
    Exists(PathBuf),
    #[error(
        "`{}` has mode {mode:04o}; it must be {wanted:04o}, for its owner alone",
        path.display()
    )]
    #[diagnostic(
        code(usage::home_open_to_others),
        help("run `chmod {wanted:03o} {}`", path.display())
    )]
    Open {
        path: PathBuf,
        mode: u32,
        wanted: u32,
    },
    #[error("`{}` belongs to user {owner}, not to the user who runs this", path.display())]
    #[diagnostic(code(usage::home_owner), help("run this as the home's owner"))]
    Owner { path: PathBuf, owner: u32 },
    #[error("`{}` leads into the home, where everything is for its owner alone", .0.display())]
    #[diagnostic(
        code(usage::folder_in_home),
        help(
            "name a folder outside of the home; if you did, somebody put a link to the home in its \
             place"
        )
    )]
    Within(PathBuf),
    #[error("another countersign process works in the home at `{}`", .0.display())]
    #[diagnostic(
        code(trouble::home_busy),
        help("run the same command again when it is done")
    )]
    Busy(PathBuf),
    #[error("no grant `{0}` is kept in this home")]
    #[diagnostic(
        code(usage::grant_unknown),
        help(
            "give a grant file, or at least eight digits of an id from `countersign grants list`"
        )
    )]
    NoSuchGrant(String),
    #[error("several grants have an id that begins with `{0}`")]
    #[diagnostic(code(usage::grant_ambiguous), help("give more digits"))]
    AmbiguousGrant(String),
    #[error("{which} `{}`: {source}", path.display())]
    #[diagnostic(
        code(usage::bad_certificate),
        help("export one certificate with `countersign key export` or `gpg --export FINGERPRINT`")
    )]
    Certificate {
        which: String,
        path: PathBuf,
        source: Malformed,
    },
    #[error("nonce `{}`: {reason}", path.display())]
    #[diagnostic(
        code(usage::bad_nonce),
        help("issue a new grant: what is kept for this one cannot be used")
    )]
    Nonce { path: PathBuf, reason: String },
    #[error("log key `{}`: {reason}", path.display())]
    #[diagnostic(
        code(usage::bad_log_key),
        help(
            "restore the file from a backup; a log that goes on under another key cannot be told \
             from a forged one"
        )
    )]
    LogKey { path: PathBuf, reason: String },
    #[error("grant `{}`: {reason}", path.display())]
    #[diagnostic(code(usage::bad_kept_grant))]
    Grant { path: PathBuf, reason: String },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    File(#[from] FileError),
}

impl Home {
    /// Opens the home at `path`; refuses one that others than its owner could read or change.
    pub fn open(path: &Path) -> Result<Self, HomeError> {
        match path.join(CONFIG).try_exists() {
            Ok(true) => {}
            // Somebody else's home shows nothing: whose it is, or where the way to it ends, is told
            // below.
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {}
            Ok(false) | Err(_) => return Err(HomeError::Missing(path.to_owned())),
        }
        let path = &fs::canonicalize(path).map_err(FileError::io(path))?;
        check_private(path)?;
        let config = path.join(CONFIG);
        let text = InputFile::open(&config)?.read_whole(LARGEST_CERTIFICATE)?;
        let config = Config::parse(&config, &String::from_utf8_lossy(&text))?;
        let certificate = path.join(CERTIFICATE);
        let bytes = InputFile::open(&certificate)?.read_whole(LARGEST_CERTIFICATE)?;
        let certificate = Certificate::parse(&bytes).map_err(|source| HomeError::Certificate {
            which: "release certificate".to_owned(),
            path: certificate,
            source,
        })?;
        let approvers = approvers(path, &config)?;
        check_repository(path, &config)?;
        Ok(Self {
            path: path.to_owned(),
            config,
            certificate,
            approvers,
        })
    }

    /// Who may approve grants.
    pub fn approvers(&self) -> &[Approver] {
        &self.approvers
    }

    /// L's inbox, where releases are pushed to it.
    pub fn inbox(&self) -> Option<PathBuf> {
        self.config
            .repository
            .inbox
            .as_ref()
            .map(|place| from_home(&self.path, place))
    }

    /// The folder that the log is exported to after each release, where there is one.
    pub fn log_folder(&self) -> Option<PathBuf> {
        self.config
            .repository
            .log
            .as_ref()
            .map(|place| from_home(&self.path, place))
    }

    /// Refuses a folder that is the home or stands in it. What is written for others to read would
    /// make the home one that is refused; and whoever may write at L can put a link to it there.
    pub fn refuse_within(&self, folder: &Folder) -> Result<(), HomeError> {
        match folder.is_within(&Folder::open(&self.path)?)? {
            true => Err(HomeError::Within(folder.path().to_owned())),
            false => Ok(()),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the lock that whoever changes a home must hold. What runs that were killed left of
    /// files is removed.
    pub fn lock(&self) -> Result<HomeLock, HomeError> {
        let lock = lock(&self.path)?;
        sweep_files(&self.path)?;
        Ok(lock)
    }

    /// Its ledger.
    pub fn ledger(&self) -> Result<Ledger, HomeError> {
        Ok(Ledger::open(&self.path.join(LEDGER))?)
    }

    /// The key that signs its log's checkpoints.
    pub fn log_key(&self) -> Result<SignerKey, HomeError> {
        let path = self.path.join(LOG_KEY);
        let key = read_log_key(&path)?.ok_or_else(|| FileError::new(&path, FileFault::Missing))?;
        if key.public() == self.config.log_key {
            Ok(key)
        } else {
            Err(HomeError::LogKey {
                path,
                reason: "it is not the `log_key` of the configuration".to_owned(),
            })
        }
    }

    /// Takes another certificate of the same key in place of the one it has.
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

    /// Keeps a copy of a grant.
    pub fn keep_grant(&self, grant: &Grant) -> Result<(), HomeError> {
        Ok(write_new(
            &self.grant_path(&grant.id().hex()),
            grant.bytes(),
            0o600,
        )?)
    }

    /// The id of the kept grant that is this, or begins with it (eight hexadecimal digits at
    /// least).
    pub fn grant_id(&self, id: &str) -> Result<GrantId, HomeError> {
        let missing = || HomeError::NoSuchGrant(id.chars().take(80).collect());
        let digits = id.strip_prefix("sha256:").unwrap_or(id);
        if digits.len() < 8
            || !digits
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        {
            return Err(missing());
        }
        let names = Folder::open(&self.path.join(GRANTS))?.names(usize::MAX)?;
        let mut fitting = names
            .iter()
            .filter_map(|name| name.to_str()?.strip_suffix(".json"))
            .filter(|name| name.starts_with(digits))
            .filter_map(|hex| format!("sha256:{hex}").parse().ok());
        match (fitting.next(), fitting.next()) {
            (Some(one), None) => Ok(one),
            (None, _) => Err(missing()),
            (Some(_), Some(_)) => Err(HomeError::AmbiguousGrant(digits.to_owned())),
        }
    }

    /// The kept grant whose id is this, or begins with it (eight hexadecimal digits at least).
    pub fn grant(&self, id: &str) -> Result<Grant, HomeError> {
        let id = self.grant_id(id)?;
        let path = self.grant_path(&id.hex());
        let bytes = InputFile::open(&path)?.read_whole(LARGEST_GRANT)?;
        let grant = Grant::parse(&bytes).map_err(|error| HomeError::Grant {
            path,
            reason: error.to_string(),
        })?;
        if grant.id() == id {
            Ok(grant)
        } else {
            Err(HomeError::NoSuchGrant(id.hex()))
        }
    }

    /// Keeps an approval.
    pub fn keep_approval(
        &self,
        grant: GrantId,
        file: &str,
        signature: &[u8],
    ) -> Result<(), HomeError> {
        let folder = self.folder(APPROVALS)?.join(grant.hex());
        make_private(&folder)?;
        Ok(replace(&folder.join(file), signature, 0o600)?)
    }

    /// A kept approval; nothing if there is none of that name.
    pub fn approval(&self, grant: GrantId, file: &str) -> Result<Option<Vec<u8>>, HomeError> {
        let path = self.path.join(APPROVALS).join(grant.hex()).join(file);
        read_if_there(&path, |file| file.read_whole(LARGEST_SIGNATURE))
    }

    /// Keeps the nonce of a builder's MACs, for as long as its grant is open.
    pub fn keep_nonce(
        &self,
        grant: GrantId,
        builder: &BuilderName,
        nonce: &MacKey,
    ) -> Result<(), HomeError> {
        let path = self.folder(NONCES)?.join(nonce_name(grant, builder));
        Ok(write_new(&path, &nonce.to_line(), 0o600)?)
    }

    /// A kept nonce; nothing if it was wiped.
    pub fn nonce(
        &self,
        grant: GrantId,
        builder: &BuilderName,
    ) -> Result<Option<MacKey>, HomeError> {
        let path = self.path.join(NONCES).join(nonce_name(grant, builder));
        let line = read_if_there(&path, |file| file.read_secret(LARGEST_NONCE))?;
        let nonce = line.map(|line| MacKey::parse(&line)).transpose();
        nonce.map_err(|error| HomeError::Nonce {
            path,
            reason: error.to_string(),
        })
    }

    /// Wipes the nonces of a grant that is open no more.
    pub fn forget_nonces(&self, grant: GrantId) -> Result<(), HomeError> {
        for name in self.nonce_names()? {
            if name.starts_with(&grant.hex()) {
                wipe(&self.path.join(NONCES).join(name))?;
            }
        }
        Ok(())
    }

    /// Wipes the nonces that nothing needs any more: of grants that expired, and what a process
    /// that was killed left of grants that it closed or did not get to issue.
    pub fn forget_unneeded_nonces(
        &self,
        _lock: &HomeLock,
        now: Timestamp,
    ) -> Result<(), HomeError> {
        let ledger = self.ledger()?;
        for name in self.nonce_names()? {
            let grant = name
                .split('.')
                .next()
                .and_then(|hex| format!("sha256:{hex}").parse().ok());
            let needed = match grant {
                Some(grant) => is_open(grant, &ledger, now)?,
                None => false,
            };
            if !needed {
                wipe(&self.path.join(NONCES).join(&name))?;
            }
        }
        Ok(())
    }

    fn nonce_names(&self) -> Result<Vec<String>, HomeError> {
        match Folder::open(&self.path.join(NONCES)) {
            // With what was being written when its process was killed: it may hold a nonce too.
            Ok(folder) => Ok(folder
                .names(usize::MAX)?
                .into_iter()
                .filter_map(|name| name.into_string().ok())
                .collect()),
            Err(FileError {
                fault: FileFault::Missing,
                ..
            }) => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }

    fn folder(&self, name: &str) -> Result<PathBuf, HomeError> {
        let path = self.path.join(name);
        make_private(&path)?;
        Ok(path)
    }

    fn grant_path(&self, hex: &str) -> PathBuf {
        self.path.join(GRANTS).join(format!("{hex}.json"))
    }
}

impl NewHome {
    /// Makes the folder with an empty ledger. What an interrupted attempt left is taken over; a
    /// finished home is refused.
    pub fn begin(path: &Path) -> Result<(Self, HomeLock, Ledger), HomeError> {
        for folder in [path, &path.join(GRANTS)] {
            make_private(folder)?;
        }
        let path = &fs::canonicalize(path).map_err(FileError::io(path))?;
        check_private(path)?;
        let lock = lock(path)?;
        // Another process may have finished meanwhile.
        if path.join(CONFIG).exists() {
            return Err(HomeError::Exists(path.to_owned()));
        }
        let ledger = Ledger::open_or_create(&path.join(LEDGER))?;
        Ok((
            Self {
                path: path.to_owned(),
            },
            lock,
            ledger,
        ))
    }

    /// The key of the new log, called after `origin`; that of an interrupted attempt, if there was
    /// one.
    pub fn log_key(&self, origin: &str) -> Result<SignerKey, HomeError> {
        let path = self.path.join(LOG_KEY);
        if let Some(key) = read_log_key(&path)? {
            return Ok(key);
        }
        let key = SignerKey::generate(origin).map_err(|error| HomeError::LogKey {
            path: path.clone(),
            reason: error.to_string(),
        })?;
        write_new(&path, key.to_text().as_bytes(), 0o600)?;
        Ok(key)
    }

    /// Writes the certificate and, where one was made, its revocation; returns where the revocation
    /// is.
    pub fn keep_certificate(
        &self,
        certificate: &Certificate,
        revocation: Option<&str>,
    ) -> Result<Option<PathBuf>, HomeError> {
        replace(
            &self.path.join(CERTIFICATE),
            certificate.armored().as_bytes(),
            0o600,
        )?;
        let Some(revocation) = revocation else {
            return Ok(None);
        };
        let path = self.path.join(REVOCATION);
        replace(&path, revocation.as_bytes(), 0o600)?;
        Ok(Some(path))
    }

    /// Writes the configuration: from now on the home is set up.
    pub fn finish(self, config: &str) -> Result<Home, HomeError> {
        write_new(&self.path.join(CONFIG), config.as_bytes(), 0o600)?;
        Home::open(&self.path)
    }
}

/// Whether evidence under the grant can still be accepted.
fn is_open(grant: GrantId, ledger: &Ledger, now: Timestamp) -> Result<bool, LedgerError> {
    let Some(record) = ledger.grant(grant)? else {
        return Ok(false);
    };
    let issued = ledger.entry(record.issued)?.map(|entry| entry.event);
    let in_time = matches!(issued, Some(Event::GrantIssued { expires, .. }) if now < expires);
    Ok(in_time && record.accepted.is_none() && record.revoked.is_none())
}

fn nonce_name(grant: GrantId, builder: &BuilderName) -> String {
    format!("{}.{builder}", grant.hex())
}

fn read_log_key(path: &Path) -> Result<Option<SignerKey>, HomeError> {
    let Some(text) = read_if_there(path, |file| file.read_secret(LARGEST_LOG_KEY))? else {
        return Ok(None);
    };
    let fail = |reason: String| HomeError::LogKey {
        path: path.to_owned(),
        reason,
    };
    let text = std::str::from_utf8(&text).map_err(|error| fail(error.to_string()))?;
    let key = SignerKey::parse(text.strip_suffix('\n').unwrap_or(text));
    key.map(Some).map_err(|error| fail(error.to_string()))
}

fn read_if_there<T>(
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

/// The approvers with their keys, no two of whom have one in common.
fn approvers(home: &Path, config: &Config) -> Result<Vec<Approver>, HomeError> {
    let fail = |reason: String| ConfigError {
        path: home.join(CONFIG),
        reason: Malformed::new(reason),
    };
    let mut approvers = Vec::new();
    for keys in &config.approver {
        let mut approver = Approver {
            name: keys.name.clone(),
            certificates: Vec::new(),
            ssh_keys: Vec::new(),
        };
        for path in &keys.openpgp {
            let path = home.join(path);
            check_unwritable(&path)?;
            let bytes = InputFile::open_named(&path)?.read_whole(LARGEST_CERTIFICATE)?;
            let certificate =
                Certificate::parse(&bytes).map_err(|source| HomeError::Certificate {
                    which: format!("certificate of approver `{}`", keys.name),
                    path,
                    source,
                })?;
            approver.certificates.push(certificate);
        }
        for line in &keys.ssh {
            let key = ssh::PublicKey::parse(line);
            let key =
                key.map_err(|error| fail(format!("SSH key of approver `{}`: {error}", keys.name)))?;
            approver.ssh_keys.push(key);
        }
        approvers.push(approver);
    }
    if let Some((one, _)) = pairs(&approvers).find(|(one, other)| one.shares_key_with(other)) {
        let reason = format!(
            "a key of approver `{}` is also another approver's",
            one.name
        );
        return Err(fail(reason).into());
    }
    Ok(approvers)
}

/// What is pushed is for everybody to read: in the home it would make the home one that is refused.
fn check_repository(home: &Path, config: &Config) -> Result<(), ConfigError> {
    let fail = |reason: String| ConfigError {
        path: home.join(CONFIG),
        reason: Malformed::new(reason),
    };
    let place = |place: &Option<PathBuf>| place.as_ref().map(|place| from_home(home, place));
    let (inbox, log) = (
        place(&config.repository.inbox),
        place(&config.repository.log),
    );
    for (key, place) in [("inbox", &inbox), ("log", &log)] {
        if let Some(path) = place.as_ref().filter(|place| place.starts_with(home)) {
            return Err(fail(format!(
                "`repository.{key}` is in the home itself: `{}`",
                path.display()
            )));
        }
    }
    match (inbox, log) {
        (Some(inbox), Some(log)) if inbox.starts_with(&log) || log.starts_with(&inbox) => {
            Err(fail(
                "`repository.inbox` and `repository.log` are in one another: each needs a folder \
                 of its own"
                    .to_owned(),
            ))
        }
        _ => Ok(()),
    }
}

/// Where a place is that the configuration names: its path without `..`, by the text alone, since a
/// mount may take long to answer.
fn from_home(home: &Path, place: &Path) -> PathBuf {
    home.join(place)
        .components()
        .fold(PathBuf::new(), |mut way, part| {
            match part {
                Component::ParentDir => drop(way.pop()),
                part => way.push(part),
            }
            way
        })
}

fn lock(home: &Path) -> Result<HomeLock, HomeError> {
    hold(&home.join(LOCK))
        .map(HomeLock)
        .map_err(|error| match error.fault {
            FileFault::Busy => HomeError::Busy(home.to_owned()),
            _ => error.into(),
        })
}

/// The folder 0700, its folders 0700, its files 0600, all of them ours.
fn check_private(folder: &Path) -> Result<(), HomeError> {
    check_one(folder, 0o700)?;
    for entry in fs::read_dir(folder).map_err(FileError::io(folder))? {
        let path = entry.map_err(FileError::io(folder))?.path();
        let status = match fs::symlink_metadata(&path) {
            Ok(status) => status,
            // Another process may have removed its temporary file.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(FileError::io(&path)(error).into()),
        };
        if status.is_dir() {
            check_private(&path)?
        } else {
            check_one(&path, 0o600)?
        }
    }
    Ok(())
}

/// Nobody else may say who approves: a file that only its owner can write, who is us or root.
fn check_unwritable(path: &Path) -> Result<(), HomeError> {
    let status = fs::metadata(path).map_err(FileError::io(path))?;
    let (mode, owner) = (status.mode() & 0o7777, status.uid());
    if owner != 0 && owner != rustix::process::geteuid().as_raw() {
        return Err(HomeError::Owner {
            path: path.to_owned(),
            owner,
        });
    }
    if mode & 0o022 != 0 {
        return Err(HomeError::Open {
            path: path.to_owned(),
            mode,
            wanted: 0o644,
        });
    }
    Ok(())
}

fn check_one(path: &Path, wanted: u32) -> Result<(), HomeError> {
    let status = match fs::symlink_metadata(path) {
        Ok(status) => status,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && wanted == 0o600 => {
            return Ok(());
        }
        Err(error) => return Err(FileError::io(path)(error).into()),
    };
    let (mode, owner) = (status.mode() & 0o7777, status.uid());
    if owner != rustix::process::geteuid().as_raw() {
        return Err(HomeError::Owner {
            path: path.to_owned(),
            owner,
        });
    }
    if mode & 0o077 != 0 || status.file_type().is_symlink() {
        return Err(HomeError::Open {
            path: path.to_owned(),
            mode,
            wanted,
        });
    }
    Ok(())
}
