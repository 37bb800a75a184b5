//! gpg with a keyring of its own: as builders, approvers and users may have.

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Arguments, Said, tool};

/// A home of gpg.
pub(crate) struct Keyring {
    home: PathBuf,
}

impl Keyring {
    /// A new one.
    pub(crate) fn new(home: &Path) -> Self {
        fs::DirBuilder::new()
            .mode(0o700)
            .create(home)
            .expect("a folder");
        Self {
            home: home.to_owned(),
        }
    }

    /// Makes an Ed25519 key that signs, without a passphrase, and ends after this time. Its
    /// fingerprint.
    #[track_caller]
    pub(crate) fn make_key(&self, user_id: &str, expires: &str) -> String {
        let unprotected: Arguments<'_> = &[&"--pinentry-mode", &"loopback", &"--passphrase", &""];
        let generate: Arguments<'_> = &[
            &"--quick-generate-key",
            &user_id,
            &"ed25519",
            &"sign",
            &expires,
        ];
        self.run(&[unprotected, generate].concat());
        self.listed("fpr")[9].clone()
    }

    /// Adds a subkey that signs. Its fingerprint.
    #[track_caller]
    pub(crate) fn add_subkey(&self, key: &str, expires: &str) -> String {
        let unprotected: Arguments<'_> = &[&"--pinentry-mode", &"loopback", &"--passphrase", &""];
        self.run(
            &[
                unprotected,
                &[&"--quick-add-key", &key, &"ed25519", &"sign", &expires],
            ]
            .concat(),
        );
        let said = self.run(&[&"--with-colons", &"--list-keys", &key]).stdout;
        let last = said
            .lines()
            .rfind(|line| line.starts_with("fpr:"))
            .expect("a fingerprint");
        last.split(':').nth(9).expect("a fingerprint").to_owned()
    }

    /// Revokes a key with the certificate that gpg made beside it.
    #[track_caller]
    pub(crate) fn revoke(&self, key: &str) {
        let guarded = fs::read_to_string(self.home.join(format!("openpgp-revocs.d/{key}.rev")))
            .expect("its revocation");
        let armed = self.home.join("armed.rev");
        fs::write(&armed, guarded.replace("\n:-----BEGIN", "\n-----BEGIN")).expect("written");
        self.run(&[&"--import", &armed]);
    }

    /// Where it is.
    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    /// gpg with these arguments, and nobody to ask.
    #[track_caller]
    pub(crate) fn run(&self, arguments: Arguments<'_>) -> Said {
        let always: Arguments<'_> = &[&"--batch", &"--no-tty", &"--quiet"];
        self.tool("gpg", &[always, arguments].concat(), &self.home)
    }

    /// As [`Keyring::run`], however it ends.
    pub(crate) fn try_run(&self, arguments: Arguments<'_>) {
        let mut command = Command::new("gpg");
        command
            .arg("--homedir")
            .arg(&self.home)
            .args(["--batch", "--no-tty", "--quiet"]);
        command.args(arguments.iter().map(|argument| argument.as_ref()));
        command.output().expect("gpg");
    }

    /// A program that finds this keyring.
    #[track_caller]
    pub(crate) fn tool(&self, program: &str, arguments: Arguments<'_>, folder: &Path) -> Said {
        let home = format!("GNUPGHOME={}", self.home.display());
        let before: Arguments<'_> = &[&home, &program];
        tool("env", &[before, arguments].concat(), folder)
    }

    /// The fields of the one line of this type that `--list-keys` prints.
    #[track_caller]
    pub(crate) fn listed(&self, line: &str) -> Vec<String> {
        let said = self.run(&[&"--with-colons", &"--list-keys"]).stdout;
        let mut fields = said
            .lines()
            .map(|line| line.split(':').map(str::to_owned).collect::<Vec<_>>());
        fields
            .find(|fields| fields[0] == line)
            .unwrap_or_else(|| panic!("no `{line}` in:\n{said}"))
    }
}

impl Drop for Keyring {
    /// Ends the agent that gpg may have started, and no other.
    fn drop(&mut self) {
        let _none_was_started = Command::new("gpgconf")
            .arg("--homedir")
            .arg(&self.home)
            .args(["--kill", "all"])
            .output();
    }
}
