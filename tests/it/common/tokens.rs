//! Software tokens, each with a folder of its own: SoftHSM2 and Kryoptic.
//!
//! Their configuration comes from one environment variable, and a process must not change its own
//! environment while threads run. So a token is set up here and *used* in a child process that gets
//! [`SoftwareToken::env`].

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The user PIN of every token made here. No number that a serial or a path could contain by
/// chance: tests look for it where it must not be.
pub(crate) const PIN: &str = "Zugang-4711";
/// The security officer's.
pub(crate) const SO_PIN: &str = "Obhut-4712";

const SOFTHSM_MODULES: [&str; 4] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
];

/// A token in software, initialised, with [`PIN`].
#[derive(Debug)]
pub(crate) struct SoftwareToken {
    module: PathBuf,
    variable: &'static str,
    configuration: PathBuf,
    directory: PathBuf,
    label: String,
    pin_file: PathBuf,
}

/// SoftHSM2: wraps EC points, never locks a PIN, and is fragile when several processes share a
/// token.
#[derive(Debug)]
pub(crate) struct SoftHsm;

impl SoftHsm {
    /// A token labelled `release` below `directory`; `None` when SoftHSM2 is not installed (see
    /// [`missing`]).
    pub(crate) fn create(directory: &Path) -> Option<SoftwareToken> {
        let token = Self::at(directory)?;
        fs::create_dir_all(&token.directory).expect("a folder for SoftHSM2's tokens");
        let tokens = token.directory.display();
        let text = format!(
            "directories.tokendir = {tokens}\nobjectstore.backend = file\nlog.level = ERROR\n"
        );
        fs::write(&token.configuration, text).expect("SoftHSM2's configuration");
        write_secret(&token.pin_file, PIN);
        token.add(&token.label);
        Some(token)
    }

    /// The token that was created below `directory`, perhaps by another process.
    pub(crate) fn at(directory: &Path) -> Option<SoftwareToken> {
        let Some(module) = SOFTHSM_MODULES
            .iter()
            .map(Path::new)
            .find(|path| path.exists() && !without_equipment())
        else {
            return missing("SoftHSM2");
        };
        if !runs("softhsm2-util", "--version") {
            return missing("softhsm2-util");
        }
        Some(SoftwareToken::below(
            directory,
            module,
            "SOFTHSM2_CONF",
            "softhsm",
        ))
    }
}

/// Kryoptic: bare EC points, locks a PIN after a few wrong ones.
#[derive(Debug)]
pub(crate) struct Kryoptic;

impl Kryoptic {
    /// A token labelled `release` below `directory`; `None` when the module is not built (see
    /// [`missing`]).
    pub(crate) fn create(directory: &Path) -> Option<SoftwareToken> {
        let token = Self::at(directory)?;
        fs::create_dir_all(&token.directory).expect("a folder for Kryoptic's database");
        let database = token.directory.join("token.sql");
        let text = format!(
            "[[slots]]\nslot = 0\ndbtype = \"sqlite\"\ndbargs = \"{}\"\n",
            database.display()
        );
        fs::write(&token.configuration, text).expect("Kryoptic's configuration");
        write_secret(&token.pin_file, PIN);
        token.pkcs11_tool(["--init-token", "--label", &token.label, "--so-pin", SO_PIN]);
        token.pkcs11_tool([
            "--login",
            "--login-type",
            "so",
            "--so-pin",
            SO_PIN,
            "--init-pin",
            "--pin",
            PIN,
        ]);
        Some(token)
    }

    /// The token that was created below `directory`, perhaps by another process.
    pub(crate) fn at(directory: &Path) -> Option<SoftwareToken> {
        let Some(module) = std::env::var_os("COUNTERSIGN_TEST_KRYOPTIC").map(PathBuf::from) else {
            return missing(
                "Kryoptic (COUNTERSIGN_TEST_KRYOPTIC; see `tests/equipment.sh kryoptic`)",
            );
        };
        if !runs("pkcs11-tool", "--help") {
            return missing("pkcs11-tool");
        }
        Some(SoftwareToken::below(
            directory,
            &module,
            "KRYOPTIC_CONF",
            "kryoptic",
        ))
    }
}

impl SoftwareToken {
    fn below(directory: &Path, module: &Path, variable: &'static str, name: &str) -> Self {
        Self {
            module: module.to_owned(),
            variable,
            configuration: directory.join(format!("{name}.conf")),
            directory: directory.join(name),
            label: "release".to_owned(),
            pin_file: directory.join("pin"),
        }
    }

    /// The environment variable that a child process needs to see this token, and its value.
    pub(crate) fn env(&self) -> (&'static str, &Path) {
        (self.variable, &self.configuration)
    }

    /// The module's path.
    pub(crate) fn module(&self) -> &Path {
        &self.module
    }

    /// The token's label.
    pub(crate) fn label(&self) -> &str {
        &self.label
    }

    /// Where the token keeps its objects.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// A file of mode 0600 with the user PIN.
    pub(crate) fn pin_file(&self) -> &Path {
        &self.pin_file
    }

    /// `pkcs11:token=release?module-path=…&pin-source=file:…`: the token, unlocked by its PIN file.
    pub(crate) fn uri(&self) -> String {
        self.uri_of("")
    }

    /// As [`SoftwareToken::uri`], naming the key labelled `object`.
    pub(crate) fn key_uri(&self, object: &str) -> String {
        self.uri_of(&format!(";object={object}"))
    }

    /// As [`SoftwareToken::key_uri`] without a PIN source: the PIN is asked for.
    pub(crate) fn prompting_uri(&self, object: &str) -> String {
        format!(
            "pkcs11:token={};object={object}?module-path={}",
            self.label,
            self.module.display()
        )
    }

    fn uri_of(&self, path: &str) -> String {
        let (module, pin) = (self.module.display(), self.pin_file.display());
        format!(
            "pkcs11:token={}{path}?module-path={module}&pin-source=file:{pin}",
            self.label
        )
    }

    /// Initialises another token under the same configuration. SoftHSM2 only.
    pub(crate) fn add(&self, label: &str) {
        let (variable, configuration) = self.env();
        let mut command = Command::new("softhsm2-util");
        command.args([
            "--init-token",
            "--free",
            "--label",
            label,
            "--so-pin",
            SO_PIN,
            "--pin",
            PIN,
        ]);
        succeed(command.env(variable, configuration));
    }

    /// Makes a key pair, of a kind as pkcs11-tool names it.
    pub(crate) fn keypair(&self, kind: &str, label: &str, id: &str, more: &[&str]) {
        let key = ["--keypairgen", "--key-type", kind];
        let names = ["--label", label, "--id", id];
        self.as_user(key.iter().chain(&names).chain(more));
    }

    /// Deletes one half of a key pair: `privkey` or `pubkey`.
    pub(crate) fn delete(&self, half: &str, label: &str) {
        self.as_user(["--delete-object", "--type", half, "--label", label]);
    }

    /// As [`SoftwareToken::pkcs11_tool`], logged in.
    pub(crate) fn as_user<I: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = I>,
    ) -> String {
        let login = ["--login", "--pin", PIN].map(OsString::from);
        let arguments = arguments.into_iter().map(|it| it.as_ref().to_owned());
        self.pkcs11_tool(login.into_iter().chain(arguments))
    }

    /// Runs OpenSC's pkcs11-tool on this module. The answer is its standard output.
    pub(crate) fn pkcs11_tool<I: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = I>,
    ) -> String {
        let (variable, configuration) = self.env();
        let mut command = Command::new("pkcs11-tool");
        succeed(
            command
                .arg("--module")
                .arg(&self.module)
                .args(arguments)
                .env(variable, configuration),
        )
    }
}

/// Writes `text` to a file that only its owner can read.
pub(crate) fn write_secret(path: &Path, text: &str) {
    let mut options = fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .expect("a file for a secret");
    file.write_all(text.as_bytes()).expect("the secret written");
}

/// Test equipment is missing: a failure in CI, elsewhere a note and `None`.
///
/// # Panics
///
/// In CI (the environment variable `CI` is set).
#[expect(clippy::print_stderr, reason = "the output shows what was not tested")]
pub(crate) fn missing<T>(what: &str) -> Option<T> {
    assert!(
        std::env::var_os("CI").is_none(),
        "{what} is missing; in CI every test runs"
    );
    eprintln!("skipped: {what} is missing");
    None
}

/// Whether only those tests are to run that need cargo alone: `make check`.
pub(crate) fn without_equipment() -> bool {
    std::env::var_os("COUNTERSIGN_TEST_WITHOUT_EQUIPMENT").is_some()
}

fn runs(program: &str, argument: &str) -> bool {
    Command::new(program).arg(argument).output().is_ok()
}

fn succeed(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}
