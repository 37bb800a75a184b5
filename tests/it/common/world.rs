//! The signing host, its builders and its location.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use countersign::files::Wait;
use countersign::home::{Home, HomeLock};
use countersign::ledger::{Ledger, LedgerError};
use countersign::token::{Interaction, PinRequest};
use rusqlite::{Connection, OpenFlags};
use secrecy::SecretString;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use super::cards::{self, Reader};
use super::tokens::{Kryoptic, SoftHsm, SoftwareToken};
use super::{Arguments, Run, Said, Watch, listing, openpgp, tree};

pub(crate) const PROJECT: &str = "foo";
pub(crate) const VERSION: &str = "1.2.3";
pub(crate) const BUILDER: &str = "m1";
pub(crate) const USER_ID: &str = "Foo Releases <release@example.org>";

/// A lock that this process has let go is held for a moment by each child that another test was
/// just starting.
pub(crate) const PATIENT: Wait = Wait {
    limit: Some(Duration::from_secs(10)),
    show: |_| {},
};

/// A signing host with its token, a builder, and a location.
pub(crate) struct World {
    folder: TempDir,
    token: ReleaseToken,
    numbered: AtomicU32,
}

enum ReleaseToken {
    File(PathBuf),
    Software(SoftwareToken),
    Card { reader: Reader, sources: String },
}

/// Nobody at the terminal.
pub(crate) struct Nobody;

impl Interaction for Nobody {
    fn pin(&mut self, _: &PinRequest) -> Option<SecretString> {
        None
    }

    fn final_try(&mut self, _: &PinRequest) -> Option<bool> {
        panic!("somebody was asked where nobody is")
    }
}

/// A grant with its files.
#[derive(Debug, Clone)]
pub(crate) struct Granted {
    pub(crate) grant: PathBuf,
    /// `sha256:…`
    pub(crate) id: String,
    /// The build key of the first builder that has one, as [`BUILDER`] has.
    pub(crate) key: PathBuf,
    /// Of every builder.
    pub(crate) keys: Vec<PathBuf>,
    pub(crate) project: String,
    pub(crate) version: String,
}

/// What a builder made, in a folder of its own.
#[derive(Debug, Clone)]
pub(crate) struct Build {
    pub(crate) folder: PathBuf,
}

/// What is public names no path of the host and no PIN source, whatever a test did.
impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let folder = self.folder.path().to_str().expect("text");
        let private = [folder, "pin-source", "module-path"];
        let assert_public = |what: &str, text: &str| {
            for private in private {
                assert!(!text.contains(private), "`{private}` is in {what}: {text}");
            }
        };
        for entry in entries(&self.home().join("ledger.sqlite")) {
            assert_public("the log", &entry);
        }
        for place in [self.inbox(), self.releases()] {
            for release in listing(&place) {
                for (name, bytes) in tree(&place.join(release).join("evidence")) {
                    assert_public(&name, &String::from_utf8_lossy(&bytes));
                }
            }
        }
    }
}

/// The text of each entry in a ledger; none if a test made it unreadable.
fn entries(ledger: &Path) -> Vec<String> {
    let read = || -> rusqlite::Result<Vec<String>> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
        let database = Connection::open_with_flags(ledger, flags)?;
        let mut query = database.prepare("SELECT entry FROM entries")?;
        query.query_map([], |row| row.get(0))?.collect()
    };
    read().unwrap_or_default()
}

impl World {
    /// With a `file:` token, and nothing set up yet.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let token = ReleaseToken::File(folder.path().join("token.pem"));
        Self::of(folder, token)
    }

    /// With a token in SoftHSM2; `None` where there is none.
    pub(crate) fn on_softhsm() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let token = SoftHsm::create(&Self::token_folder(&folder))?;
        Some(Self::of(folder, ReleaseToken::Software(token)))
    }

    /// With a token in Kryoptic; `None` where there is none.
    pub(crate) fn on_kryoptic() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let token = Kryoptic::create(&Self::token_folder(&folder))?;
        Some(Self::of(folder, ReleaseToken::Software(token)))
    }

    /// With readers for OpenPGP cards, and none in them yet; `None` where there can be none.
    pub(crate) fn with_readers() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = Self::token_folder(&folder);
        let reader = Reader::start(&path)?;
        let sources = cards::pin_sources(&path);
        Some(Self::of(folder, ReleaseToken::Card { reader, sources }))
    }

    /// The readers of a world that has some.
    pub(crate) fn reader(&self) -> &Reader {
        match &self.token {
            ReleaseToken::Card { reader, .. } => reader,
            ReleaseToken::File(_) | ReleaseToken::Software(_) => {
                panic!("this world's token is not a card")
            }
        }
    }

    fn token_folder(folder: &TempDir) -> PathBuf {
        let path = folder.path().join("token");
        fs::create_dir(&path).expect("a folder");
        path
    }

    fn of(folder: TempDir, token: ReleaseToken) -> Self {
        for name in ["inbox", "releases"] {
            fs::create_dir(folder.path().join(name)).expect("a folder of the location");
        }
        Self {
            folder,
            token,
            numbered: AtomicU32::new(0),
        }
    }

    /// With a `file:` token and the release key on it.
    pub(crate) fn ready() -> Self {
        let world = Self::new();
        world.set_up();
        world
    }

    /// Runs `init` and exports the certificate.
    pub(crate) fn set_up(&self) {
        self.init().ok();
        self.export();
    }

    /// A place below the world's folder.
    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A new folder.
    pub(crate) fn new_folder(&self, name: &str) -> PathBuf {
        let number = self.numbered.fetch_add(1, Ordering::Relaxed) + 1;
        let path = self.at(&format!("{name}-{number}"));
        fs::create_dir(&path).expect("a folder");
        path
    }

    /// The signing host's home.
    pub(crate) fn home(&self) -> PathBuf {
        self.at("home")
    }

    /// The home with its lock, together with other processes.
    pub(crate) fn opened(&self) -> (Home, HomeLock) {
        Home::open_to_change(&self.home(), PATIENT).expect("a home")
    }

    /// The published certificate, in binary form.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.at("release.pgp")
    }

    pub(crate) fn inbox(&self) -> PathBuf {
        self.at("inbox")
    }

    pub(crate) fn releases(&self) -> PathBuf {
        self.at("releases")
    }

    /// The names of what is public.
    pub(crate) fn public(&self) -> Vec<String> {
        super::public(&self.releases())
    }

    /// The file of a `file:` token.
    pub(crate) fn token_file(&self) -> &Path {
        match &self.token {
            ReleaseToken::File(path) => path,
            ReleaseToken::Software(_) | ReleaseToken::Card { .. } => {
                panic!("this world's token is not a file")
            }
        }
    }

    pub(crate) fn software_token(&self) -> &SoftwareToken {
        match &self.token {
            ReleaseToken::Software(token) => token,
            ReleaseToken::File(_) | ReleaseToken::Card { .. } => {
                panic!("this world's token is no software token")
            }
        }
    }

    /// The URI of the release key.
    pub(crate) fn token_uri(&self) -> String {
        match &self.token {
            ReleaseToken::File(path) => format!("file:{}", path.display()),
            ReleaseToken::Software(token) => token.key_uri("release-key"),
            ReleaseToken::Card { sources, .. } => format!("card:?{sources}"),
        }
    }

    /// How many signatures a `file:` token has made.
    pub(crate) fn token_count(&self) -> u64 {
        let count = fs::read_to_string(format!("{}.count", self.token_file().display()));
        count.map_or(0, |text| text.trim_end().parse().expect("a number"))
    }

    /// What is done while this file or folder is away.
    pub(crate) fn without<T>(&self, path: &Path, work: impl FnOnce() -> T) -> T {
        fs::rename(path, self.at("away")).expect("moved away");
        let done = work();
        fs::rename(self.at("away"), path).expect("back again");
        done
    }

    /// What is done while a `file:` token cannot sign.
    pub(crate) fn while_the_token_fails<T>(&self, work: impl FnOnce() -> T) -> T {
        let counter = format!("{}.count", self.token_file().display());
        let count = fs::read(&counter).expect("the count");
        fs::write(&counter, b"spoilt").expect("a token that cannot sign");
        let done = work();
        fs::write(&counter, count).expect("the token is well again");
        done
    }

    /// The program with these arguments, without the home.
    pub(crate) fn countersign(&self, arguments: Arguments<'_>) -> Run<'_> {
        let run = Run::new(self.folder.path(), arguments).watched(self);
        match self.token_env() {
            None => run,
            Some((name, value)) => run.env(name, value),
        }
    }

    /// The environment variable that shows the token to a process, and its value.
    pub(crate) fn token_env(&self) -> Option<(&'static str, PathBuf)> {
        match &self.token {
            ReleaseToken::File(_) => None,
            ReleaseToken::Software(token) => Some((token.env().0, token.env().1.to_owned())),
            ReleaseToken::Card { reader, .. } => Some(reader.env()),
        }
    }

    /// The program with these arguments, with the signing host's home.
    pub(crate) fn host(&self, arguments: Arguments<'_>) -> Run<'_> {
        self.countersign(&[&"--home", &self.home()]).with(arguments)
    }

    /// Makes an Ed25519 release key.
    pub(crate) fn init(&self) -> Run<'_> {
        self.init_of_kind("ed25519")
    }

    pub(crate) fn init_of_kind(&self, kind: &str) -> Run<'_> {
        self.init_with(&[&"--generate", &kind, &"--user-id", &USER_ID])
    }

    /// Sets the home up for the token, with these arguments.
    pub(crate) fn init_with(&self, more: Arguments<'_>) -> Run<'_> {
        self.init_at(&self.home(), more)
    }

    /// As [`World::init_with`], of another home.
    pub(crate) fn init_at(&self, home: &Path, more: Arguments<'_>) -> Run<'_> {
        let init: Arguments<'_> = &[&"--home", &home, &"init", &"--token", &self.token_uri()];
        self.countersign(init).with(more)
    }

    /// Another home takes the token, with a new key in place of the one there.
    pub(crate) fn replace_key_for(&self, home: &str) -> Run<'_> {
        let generate: Arguments<'_> = &[&"--generate", &"p256", &"--user-id", &USER_ID];
        self.init_at(&self.at(home), generate)
            .with(&[&"--replace-key"])
    }

    /// Publishes the certificate.
    pub(crate) fn export(&self) {
        self.host(&[&"key", &"export", &"--binary", &"-o", &self.certificate()])
            .ok();
    }

    /// Approves a build of foo 1.2.3 by m1.
    pub(crate) fn grant(&self) -> Granted {
        self.grant_with(&[])
    }

    /// As [`World::grant`], with these arguments too.
    pub(crate) fn grant_with(&self, more: Arguments<'_>) -> Granted {
        self.grant_of(VERSION, more)
    }

    /// As [`World::grant_with`], of another version.
    pub(crate) fn grant_of(&self, version: &str, more: Arguments<'_>) -> Granted {
        let folder = self.new_folder("grant");
        let run = self.host(&[
            &"grant",
            &PROJECT,
            &version,
            &"--builder",
            &BUILDER,
            &"-o",
            &folder,
            &"--json",
        ]);
        Granted::from_json(&run.with(more).ok().json())
    }

    /// As [`World::grant_with`]; m1 made its key itself, and this is its public half.
    pub(crate) fn grant_enrolled(&self, public: &Path, more: Arguments<'_>) -> Granted {
        let (folder, builder) = (
            self.new_folder("grant"),
            format!("{BUILDER}={}", public.display()),
        );
        let run = self.host(&[
            &"grant",
            &PROJECT,
            &VERSION,
            &"--builder",
            &builder,
            &"-o",
            &folder,
            &"--json",
        ]);
        Granted::from_json(&run.with(more).ok().json())
    }

    /// What a builder built.
    pub(crate) fn build(&self, artifacts: &[(&str, &[u8])]) -> Build {
        let folder = self.new_folder("build");
        for (name, bytes) in artifacts {
            fs::write(folder.join(name), bytes).expect("an artifact");
        }
        Build { folder }
    }

    /// A folder for what was built.
    pub(crate) fn new_build(&self, name: &str) -> Build {
        Build {
            folder: self.new_folder(name),
        }
    }

    /// Attests everything in the build's folder with the grant's build key.
    pub(crate) fn attest(&self, granted: &Granted, build: &Build) -> Run<'_> {
        self.attest_with(&granted.key, build)
    }

    /// As [`World::attest`], with this key.
    pub(crate) fn attest_with(&self, key: &Path, build: &Build) -> Run<'_> {
        let artifacts = build.artifacts();
        let artifacts: Vec<&dyn AsRef<OsStr>> = artifacts
            .iter()
            .map(|path| path as &dyn AsRef<OsStr>)
            .collect();
        self.countersign(&[&"attest", &"--key", &key])
            .with(&artifacts)
    }

    /// Signs the build into the inbox.
    pub(crate) fn sign(&self, granted: &Granted, build: &Build) -> Run<'_> {
        self.sign_into(&self.release(granted), granted, build)
    }

    /// As [`World::sign`], at another time.
    fn sign_at(&self, granted: &Granted, build: &Build, clock: &str) -> Run<'_> {
        match clock {
            "+0" => self.sign(granted, build),
            clock => self.sign(granted, build).at(clock),
        }
    }

    /// Signs the build into `release`.
    pub(crate) fn sign_into(&self, release: &Path, granted: &Granted, build: &Build) -> Run<'_> {
        let run = self.host(&[
            &"sign",
            &granted.grant,
            &"--from",
            &build.folder,
            &"-o",
            &release,
        ]);
        run.release(release)
    }

    /// The signing host refuses the build for this reason, and logs that once; a dry run says the
    /// same and logs nothing.
    #[track_caller]
    pub(crate) fn refuses(&self, granted: &Granted, build: &Build, reason: &str) -> Said {
        self.refuses_at(granted, build, "+0", reason)
    }

    /// As [`World::refuses`], at another time.
    #[track_caller]
    pub(crate) fn refuses_at(
        &self,
        granted: &Granted,
        build: &Build,
        clock: &str,
        reason: &str,
    ) -> Said {
        let sign = || self.sign_at(granted, build, clock);
        sign().with(&[&"--dry-run"]).refused(reason);
        let before = self.log();
        let said = sign().refused(reason);
        assert!(!self.release(granted).exists(), "a release appeared");
        let log = self.log();
        let of_grant = |entry: &&Value| entry["grant"] == granted.id.as_str();
        let last = log.iter().rfind(of_grant).expect("an entry");
        assert_eq!(last["kind"], "evidence-refused");
        // The same one again is the entry that there is.
        let is_new = before.iter().rfind(of_grant) != Some(last);
        assert_eq!(
            log.len(),
            before.len() + usize::from(is_new),
            "the refusal is logged once, the dry run not at all"
        );
        let recorded = last["reason"].as_str().expect("a text");
        // What would steer a terminal is in the log as it is, and is escaped only where it
        // is shown.
        let harmless = reason.split("\\u{").next().expect("a beginning");
        assert!(recorded.contains(harmless), "the log has `{recorded}`");
        said
    }

    /// Something of the build, or for it, is not here yet: this is shown, and nothing is logged.
    #[track_caller]
    pub(crate) fn waits(&self, granted: &Granted, build: &Build, reason: &str) -> Said {
        self.waits_at(granted, build, "+0", reason)
    }

    /// As [`World::waits`], at another time.
    #[track_caller]
    pub(crate) fn waits_at(
        &self,
        granted: &Granted,
        build: &Build,
        clock: &str,
        reason: &str,
    ) -> Said {
        let sign = || self.sign_at(granted, build, clock);
        let logged = self.log();
        sign().with(&[&"--dry-run"]).not_yet(reason);
        let said = sign().not_yet(reason);
        assert_eq!(self.log(), logged, "nothing is logged");
        assert!(!self.release(granted).exists(), "a release appeared");
        said
    }

    /// The clock that ran ahead in this test is right again.
    pub(crate) fn clock_was_ahead(&self) {
        let acknowledge: Arguments<'_> = &[&"log", &"clock", &"--acknowledge", &"for a test"];
        self.host(acknowledge).ok();
    }

    /// Where [`World::sign`] writes.
    pub(crate) fn release(&self, granted: &Granted) -> PathBuf {
        self.inbox()
            .join(format!("{}-{}", granted.project, granted.version))
    }

    /// At the location, with the published certificate alone.
    pub(crate) fn admit(&self) -> Run<'_> {
        self.countersign(&[
            &"admit",
            &"--cert",
            &self.certificate(),
            &self.inbox(),
            &self.releases(),
        ])
    }

    /// With the published certificate alone.
    pub(crate) fn verify(&self, path: &Path) -> Run<'_> {
        self.countersign(&[&"verify", &"--cert", &self.certificate(), &path])
    }

    /// The audit log, as `log list --json` shows it. It is read without the program, because that
    /// happens around every command that is to be refused.
    pub(crate) fn log(&self) -> Vec<Value> {
        let ledger = Ledger::open(&self.home().join("ledger.sqlite")).expect("a ledger");
        let mut entries = Vec::new();
        let read = ledger.each(|entry| {
            entries.push(json!(entry));
            Ok::<_, LedgerError>(())
        });
        read.expect("the log can be read");
        entries
    }

    /// The log's entries of one kind.
    pub(crate) fn logged(&self, kind: &str) -> Vec<Value> {
        self.log()
            .into_iter()
            .filter(|entry| entry["kind"] == kind)
            .collect()
    }

    /// A build of `foo.txt` and `foo.tar`, attested under a grant of its own.
    pub(crate) fn attested(&self) -> (Granted, Build) {
        self.attested_with(&[])
    }

    /// As [`World::attested`], granted with these arguments too.
    pub(crate) fn attested_with(&self, more: Arguments<'_>) -> (Granted, Build) {
        let artifacts: [(&str, &[u8]); 2] = [("foo.txt", b"text\n"), ("foo.tar", &[7; 100_000])];
        self.attested_of(VERSION, more, &artifacts)
    }

    /// As [`World::attested_with`], of another version and other artifacts.
    pub(crate) fn attested_of(
        &self,
        version: &str,
        more: Arguments<'_>,
        artifacts: &[(&str, &[u8])],
    ) -> (Granted, Build) {
        let granted = self.grant_of(version, more);
        let build = self.build(artifacts);
        self.attest(&granted, &build).ok();
        (granted, build)
    }

    /// A release in the inbox, of what [`World::attested`] makes.
    pub(crate) fn signed(&self) -> PathBuf {
        let (granted, build) = self.attested();
        self.sign(&granted, &build).ok();
        self.release(&granted)
    }
}

impl Watch for World {
    /// Signatures that a `file:` token counted, and entries in the log that announce or record a
    /// use of the token.
    fn token_uses(&self) -> u64 {
        let counted = match &self.token {
            ReleaseToken::File(_) => self.token_count(),
            ReleaseToken::Software(_) | ReleaseToken::Card { .. } => 0,
        };
        if !self.home().join("config.toml").exists() {
            return counted;
        }
        let log = self.log();
        let uses = log.iter().filter(|entry| {
            let kind = entry["kind"].as_str().expect("a kind");
            [
                "intent",
                "resumed",
                "outcome",
                "key-intended",
                "key-outcome",
            ]
            .contains(&kind)
        });
        counted + uses.count() as u64
    }
}

impl Granted {
    /// What `grant --json` printed.
    pub(crate) fn from_json(said: &Value) -> Self {
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let keys = said["build_keys"].as_array().expect("a list");
        let keys: Vec<PathBuf> = keys.iter().map(|key| text(&key["file"]).into()).collect();
        Self {
            grant: text(&said["grant_file"]).into(),
            id: text(&said["grant"]),
            key: keys.first().cloned().unwrap_or_default(),
            keys,
            project: text(&said["project"]),
            version: text(&said["version"]),
        }
    }

    /// The build key that was made for this builder.
    pub(crate) fn key_of(&self, builder: &str) -> &Path {
        let ending = format!(".{builder}.key");
        let mut keys = self
            .keys
            .iter()
            .filter(|path| path.to_string_lossy().ends_with(&ending));
        keys.next()
            .unwrap_or_else(|| panic!("no key of {builder}: {:?}", self.keys))
    }

    /// The grant as JSON.
    pub(crate) fn terms(&self) -> Value {
        serde_json::from_slice(&fs::read(&self.grant).expect("the grant")).expect("JSON")
    }

    /// The header of a manifest under this grant.
    pub(crate) fn header(&self) -> String {
        let Self {
            id,
            project,
            version,
            ..
        } = self;
        format!(
            "# countersign-manifest/1\n# grant: {id}\n# builder: {BUILDER}\n\
             # project: {project}\n# version: {version}\n"
        )
    }
}

impl Build {
    /// A file in it.
    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// One builder's folder in it, with what that one built.
    pub(crate) fn of(&self, builder: &str, artifacts: &[(&str, &[u8])]) -> Self {
        let folder = self.at(builder);
        fs::create_dir_all(&folder).expect("a folder");
        for (name, bytes) in artifacts {
            fs::write(folder.join(name), bytes).expect("an artifact");
        }
        Self { folder }
    }

    /// The files that are not the builder's evidence.
    pub(crate) fn artifacts(&self) -> Vec<PathBuf> {
        let is_evidence = |name: &String| {
            name.starts_with("build.")
                || [".sig", ".mac"].iter().any(|ending| name.ends_with(ending))
        };
        let names = super::listing(&self.folder)
            .into_iter()
            .filter(|name| !is_evidence(name));
        names.map(|name| self.at(&name)).collect()
    }

    /// The entries of a manifest that lists what is there, sorted.
    pub(crate) fn entries(&self) -> String {
        let line = |path: PathBuf| {
            let name = path
                .file_name()
                .expect("a name")
                .to_string_lossy()
                .into_owned();
            entry(&fs::read(&path).expect("an artifact"), &name)
        };
        self.artifacts().into_iter().map(line).collect()
    }

    pub(crate) fn manifest(&self) -> String {
        fs::read_to_string(self.at("build.manifest")).expect("the manifest")
    }

    /// Evidence that `attest` would not make: any text, signed with the grant's build key.
    pub(crate) fn attest_by_hand(&self, granted: &Granted, manifest: impl AsRef<[u8]>) {
        let signature = openpgp::detached(&openpgp::secret_key(&granted.key), manifest.as_ref());
        fs::write(self.at("build.manifest"), manifest).expect("the manifest");
        fs::write(self.at("build.manifest.sig"), signature).expect("its signature");
    }

    /// Appends to a file.
    pub(crate) fn append(&self, name: &str, bytes: &[u8]) {
        let mut content = fs::read(self.at(name)).expect("a file");
        content.extend_from_slice(bytes);
        fs::write(self.at(name), content).expect("the file");
    }
}

/// As a signing host would publish it that does not keep the one form: its own list is signed, and
/// is refused all the same.
#[track_caller]
pub(crate) fn listed_in_another_form(world: &World, release: &Path, name: &str, changed: &[u8]) {
    let backup = world.at("backup");
    super::copy_tree(release, &backup);
    let original = fs::read(release.join(name)).expect("a file");
    assert_ne!(original, changed);
    let [before, after] = [&original[..], changed].map(|it| hex::encode(Sha256::digest(it)));
    let list = fs::read_to_string(release.join("SHA256SUMS")).expect("the list");
    let list = list.replace(&before, &after);
    let like = fs::read(release.join("SHA256SUMS.asc")).expect("its signature");
    let signature = openpgp::signed_again(&like, world.token_file(), list.as_bytes());
    fs::write(release.join(name), changed).expect("changed");
    fs::write(release.join("SHA256SUMS"), list).expect("changed");
    fs::write(release.join("SHA256SUMS.asc"), signature).expect("changed");
    let reason = "is not in the form in which the signing host keeps it";
    let (_, file) = name.rsplit_once('/').expect("a path");
    world.verify(release).refused(reason).says(file);
    world.admit().refused(reason);
    assert_eq!(world.public(), [""; 0]);
    fs::remove_dir_all(release).expect("removed");
    fs::rename(backup, release).expect("as it was");
}

/// A line of a manifest.
pub(crate) fn entry(bytes: &[u8], name: &str) -> String {
    format!("{}  {name}\n", hex::encode(Sha256::digest(bytes)))
}

/// Writes a file that only its owner can read.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) {
    let mut options = fs::OpenOptions::new();
    let file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .expect("a file");
    std::io::Write::write_all(&mut &file, bytes).expect("written");
}
