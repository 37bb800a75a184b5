//! GnuPG as another program that uses the same card, in a home of its own.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::cards::{ADMIN_PIN, Reader, USER_PIN};

/// A home of gpg, with its daemons.
#[derive(Debug)]
pub(crate) struct Gpg {
    home: PathBuf,
    service: (&'static str, PathBuf),
}

/// Whether gpg lets other programs at the card while it has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sharing {
    Shared,
    Exclusive,
}

impl Gpg {
    pub(crate) fn new(home: PathBuf, reader: &Reader, sharing: Sharing) -> Self {
        fs::create_dir(&home).expect("a home for gpg");
        fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).expect("its mode");
        let shared = if sharing == Sharing::Shared {
            "pcsc-shared\n"
        } else {
            ""
        };
        fs::write(
            home.join("scdaemon.conf"),
            format!("disable-ccid\n{shared}"),
        )
        .expect("scdaemon's configuration");
        fs::write(home.join("gpg-agent.conf"), "allow-loopback-pinentry\n")
            .expect("the agent's configuration");
        Self {
            home,
            service: reader.env(),
        }
    }

    /// Runs gpg, which has to succeed. It is asked nothing but what `input` answers; `pin` is every
    /// PIN it wants.
    pub(crate) fn run(&self, pin: &str, arguments: &[&str], input: &str) -> String {
        let output = self.output(pin, arguments, input);
        let messages = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "gpg {arguments:?}: {messages}");
        String::from_utf8_lossy(&output.stdout).into_owned() + &messages
    }

    fn output(&self, pin: &str, arguments: &[&str], input: &str) -> Output {
        let mut command = self.command("gpg");
        command.args([
            "--batch",
            "--yes",
            "--no-tty",
            "--pinentry-mode",
            "loopback",
            "--passphrase",
            pin,
        ]);
        command.args(["--command-fd", "0"]).args(arguments);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("gpg");
        child
            .stdin
            .take()
            .expect("standard input is piped")
            .write_all(input.as_bytes())
            .expect("gpg reads");
        child.wait_with_output().expect("gpg's end")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("GNUPGHOME", &self.home)
            .env("LC_ALL", "C")
            .env(self.service.0, &self.service.1);
        command
    }

    /// Makes a key in software. Its fingerprint.
    pub(crate) fn make_key(&self, algorithm: &str, usage: &str) -> String {
        self.run(
            "",
            &[
                "--quick-generate-key",
                "Foo Releases <release@example.org>",
                algorithm,
                usage,
                "2y",
            ],
            "",
        );
        self.fingerprints().remove(0)
    }

    /// The fingerprints of the primary key and of each subkey.
    pub(crate) fn fingerprints(&self) -> Vec<String> {
        let listed = self.run("", &["--with-colons", "--list-keys"], "");
        let lines = listed.lines().filter(|line| line.starts_with("fpr:"));
        lines
            .map(|line| line.split(':').nth(9).expect("a fingerprint").to_owned())
            .collect()
    }

    /// Moves the primary key (0) or a subkey (1 and on) to the card's place for signing.
    pub(crate) fn key_to_card(&self, key: &str, subkey: u32) {
        let which = if subkey == 0 {
            "keytocard\ny\n".to_owned()
        } else {
            format!("key {subkey}\nkeytocard\n")
        };
        self.run(
            ADMIN_PIN,
            &["--edit-key", key],
            &format!("{which}1\nsave\n"),
        );
    }

    /// Takes the keys in a file into its keyring.
    pub(crate) fn import(&self, file: &Path) {
        self.run("", &["--import", &file.display().to_string()], "");
    }

    /// Writes the certificate of a key to a file.
    pub(crate) fn export(&self, key: &str, file: &Path) {
        self.run(
            "",
            &["--export", "-o", &file.display().to_string(), key],
            "",
        );
    }

    /// Signs a file with the key on the card.
    pub(crate) fn sign(&self, key: &str, file: &Path) {
        self.run("", &["--card-status"], "");
        self.run(
            USER_PIN,
            &["-u", key, "--detach-sign", &file.display().to_string()],
            "",
        );
    }

    pub(crate) fn kill_scdaemon(&self) {
        let status = self
            .command("gpgconf")
            .args(["--kill", "scdaemon"])
            .status();
        assert!(status.expect("gpgconf").success());
    }
}

impl Drop for Gpg {
    fn drop(&mut self) {
        let _ended = self.command("gpgconf").args(["--kill", "all"]).status();
    }
}
