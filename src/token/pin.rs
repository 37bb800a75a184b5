//! Gets one PIN from its source: a prompt, a file, a file descriptor or a systemd credential.
//!
//! What was read is wiped when it is dropped, and no error and no `Debug` of this module contains a
//! byte of it. This module does not know what a PIN opens.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal as _, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Component, Path, PathBuf};

use rustix::fs::OFlags;
use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

use super::contract::Interaction;
use super::description::{PinRequest, PinState};
use super::error::{CREDENTIALS_DIRECTORY, PinError, TokenError};
use super::pin_source::PinSource;

/// The longest PIN, in bytes.
const LONGEST: usize = 256;

/// A PIN that may be tried once.
pub(super) enum Given {
    /// The token needs no PIN.
    Nothing,
    /// The user types it on a keypad of the token or of its reader.
    AtKeypad,
    /// This PIN.
    Pin(SecretString),
}

/// Gets the PIN that `request` asks for, unless a try would be in vain or could be the last.
/// `token` is its name in errors.
pub(super) fn obtain(
    request: &PinRequest,
    token: &str,
    keypad: bool,
    source: &PinSource,
    interaction: &mut dyn Interaction,
) -> Result<Given, TokenError> {
    let pin = request.pin;
    let token = token.to_owned();
    match request.state {
        PinState::NotNeeded => return Ok(Given::Nothing),
        PinState::Locked => return Err(TokenError::PinLocked { token, pin }),
        PinState::FinalTry => {
            let attended = keypad || *source == PinSource::Prompt;
            match attended.then(|| interaction.final_try(request)).flatten() {
                Some(true) => {}
                Some(false) => return Err(TokenError::Declined { token, pin }),
                None => return Err(TokenError::FinalTry { token, pin }),
            }
        }
        PinState::Untouched | PinState::CountLow | PinState::Left(_) => {}
    }
    if keypad {
        interaction.at_keypad(request);
        return Ok(Given::AtKeypad);
    }
    match read(source, request, interaction) {
        Ok(given) if given.expose_secret().is_empty() => Err(TokenError::Declined { token, pin }),
        Ok(given) => Ok(Given::Pin(given)),
        Err(source) => Err(TokenError::Pin { token, pin, source }),
    }
}

/// Reads one PIN. A prompt shows what `request` says, and gives an empty one if it was declined.
fn read(
    source: &PinSource,
    request: &PinRequest,
    interaction: &mut dyn Interaction,
) -> Result<SecretString, PinError> {
    match source {
        PinSource::Prompt => {
            let pin = interaction.pin(request).ok_or_else(PinError::nobody)?;
            match pin.expose_secret() {
                "" => Ok(pin),
                text => checked(text.as_bytes(), "prompt"),
            }
        }
        PinSource::File(path) => from_file(path, credentials_directory().as_deref()),
        PinSource::Fd(number) => from_descriptor(*number),
        PinSource::Credential(name) => {
            let directory =
                credentials_directory().ok_or_else(|| PinError::no_credentials(name))?;
            from_file(&directory.join(name), Some(&directory))
        }
    }
}

fn credentials_directory() -> Option<PathBuf> {
    std::env::var_os(CREDENTIALS_DIRECTORY)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}

/// systemd makes the credentials of a service readable for its group (mode 0440) in a folder that
/// only the service can enter: the mode means nothing there.
fn from_file(path: &Path, credentials: Option<&Path>) -> Result<SecretString, PinError> {
    let from = path.display().to_string();
    let unreadable = |error: io::Error| PinError::unreadable(&from, error);
    // Without NONBLOCK, opening a pipe would wait for its writer before it is seen not to be a
    // file.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let flags = i32::try_from(flags.bits()).expect("open flags are those of open(2), an int");
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)
        .map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(PinError::unreadable(&from, "it is not a regular file"));
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 && !credentials.is_some_and(|directory| is_below(path, directory)) {
        return Err(PinError::too_open(&from, mode));
    }
    bounded(file, false, &from)
}

fn is_below(path: &Path, directory: &Path) -> bool {
    path.starts_with(directory) && !path.components().any(|part| part == Component::ParentDir)
}

/// Through the process's own list of descriptors: a bare number becomes a file only by `unsafe`.
fn from_descriptor(number: i32) -> Result<SecretString, PinError> {
    let from = format!("fd:{number}");
    let file = File::open(format!("/proc/self/fd/{number}"))
        .map_err(|error| PinError::unreadable(&from, error))?;
    let terminal = file.is_terminal();
    bounded(file, terminal, &from)
}

/// Reads to the end, on a terminal to the end of the line, and never more than the longest PIN.
fn bounded(mut file: File, line: bool, from: &str) -> Result<SecretString, PinError> {
    // An array, because a vector that grows leaves copies behind. Room for CRLF, and for one byte
    // too many.
    let mut buffer = Zeroizing::new([0; LONGEST + 3]);
    let mut length = 0;
    while length < buffer.len() {
        match file.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(PinError::unreadable(from, error)),
        }
        if line && buffer[..length].ends_with(b"\n") {
            break;
        }
    }
    let bytes = &buffer[..length];
    let pin = bytes
        .strip_suffix(b"\r\n")
        .or_else(|| bytes.strip_suffix(b"\n"))
        .unwrap_or(bytes);
    checked(pin, from)
}

fn checked(pin: &[u8], from: &str) -> Result<SecretString, PinError> {
    let malformed = |reason| PinError::malformed(from, reason);
    if pin.is_empty() {
        return Err(malformed("it is empty"));
    }
    if pin.len() > LONGEST {
        return Err(malformed("it is longer than 256 bytes"));
    }
    let text = std::str::from_utf8(pin).map_err(|_| malformed("it is not UTF-8"))?;
    if text.contains(char::is_control) {
        return Err(malformed("it has several lines, or a control character"));
    }
    Ok(SecretString::new(text.into()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::fd::AsRawFd as _;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::token::Pin;

    struct Answer(Option<&'static str>);

    impl Interaction for Answer {
        fn pin(&mut self, _: &PinRequest) -> Option<SecretString> {
            self.0.map(SecretString::from)
        }

        fn final_try(&mut self, _: &PinRequest) -> Option<bool> {
            self.0.map(|_| false)
        }
    }

    fn given(source: &PinSource, answer: Option<&'static str>) -> Result<String, PinError> {
        let request = PinRequest {
            token: "release".into(),
            pin: Pin::User,
            state: PinState::Untouched,
        };
        super::read(source, &request, &mut Answer(answer)).map(|pin| pin.expose_secret().to_owned())
    }

    fn says(error: &PinError, words: &str) -> bool {
        error.to_string().contains(words)
    }

    fn file(directory: &tempfile::TempDir, mode: u32, content: &[u8]) -> PathBuf {
        let path = directory.path().join("pin");
        let _ = fs::remove_file(&path);
        fs::write(&path, content).expect("a PIN file");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("its mode");
        path
    }

    fn directory() -> tempfile::TempDir {
        tempfile::tempdir().expect("a folder")
    }

    #[test]
    fn exactly_one_newline_is_removed() {
        let folder = directory();
        for (content, pin) in [
            ("1234", "1234"),
            ("1234\n", "1234"),
            ("1234\r\n", "1234"),
            (" 12 34 \n", " 12 34 "),
        ] {
            assert_eq!(
                given(
                    &PinSource::File(file(&folder, 0o600, content.as_bytes())),
                    None
                ),
                Ok(pin.to_owned())
            );
        }
        let long = "p".repeat(256);
        let source = PinSource::File(file(&folder, 0o400, format!("{long}\r\n").as_bytes()));
        assert_eq!(given(&source, None), Ok(long));
    }

    #[test]
    fn what_cannot_be_a_pin_is_refused_and_not_repeated() {
        let folder = directory();
        let longer = "4930".repeat(64) + "2";
        let much = "4930".repeat(100_000);
        for content in [
            &b"4930\n\n"[..],
            b"4930\n4930\n",
            b"49\x0030",
            b"4930\t",
            b"\xff4930",
            longer.as_bytes(),
            much.as_bytes(),
        ] {
            let error = given(&PinSource::File(file(&folder, 0o600, content)), None)
                .expect_err("not a PIN");
            assert!(says(&error, "gave no PIN: it "), "{error}");
            let shown =
                format!("{error} {error:?}").replace(&folder.path().display().to_string(), "");
            assert!(!shown.contains("49"), "{shown}");
        }
        for content in [&b""[..], b"\n", b"\r\n"] {
            let error = given(&PinSource::File(file(&folder, 0o600, content)), None);
            let error = error.expect_err("not a PIN");
            assert!(says(&error, "gave no PIN: it is empty"), "{error}");
        }
    }

    #[test]
    fn a_file_that_others_can_use_is_refused() {
        let folder = directory();
        for mode in [0o640, 0o604, 0o620, 0o660, 0o610] {
            let path = file(&folder, mode, b"1234\n");
            let error = given(&PinSource::File(path), None).expect_err("others can use it");
            assert!(says(&error, &format!("has mode {mode:04o}")), "{error}");
        }
        let path = file(&folder, 0o440, b"1234\n");
        assert!(from_file(&path, Some(folder.path())).is_ok());
        assert!(from_file(&path, Some(&folder.path().join("other"))).is_err());
        let around = folder.path().join("sub/../pin");
        assert!(!is_below(&around, &folder.path().join("sub")));
    }

    #[test]
    fn only_a_regular_file_is_read() {
        let folder = directory();
        let pipe = folder.path().join("pipe");
        assert!(
            std::process::Command::new("mkfifo")
                .arg(&pipe)
                .status()
                .is_ok_and(|status| status.success())
        );
        for path in [
            folder.path().to_owned(),
            pipe,
            folder.path().join("absent"),
            "/dev/null".into(),
        ] {
            let error = given(&PinSource::File(path), None).expect_err("not a regular file");
            assert!(says(&error, "cannot read"), "{error}");
        }
    }

    #[test]
    fn a_descriptor_gives_its_pin_once() {
        let (reader, mut writer) = io::pipe().expect("a pipe");
        io::Write::write_all(&mut writer, b"1234\n").expect("room in the pipe");
        drop(writer);
        let source = PinSource::Fd(reader.as_raw_fd());
        assert_eq!(given(&source, None), Ok("1234".to_owned()));
        let error = given(&PinSource::Fd(99_999), None).expect_err("not open");
        assert!(says(&error, "cannot read"), "{error}");
    }

    #[test]
    fn the_prompt_is_asked_and_may_decline() {
        assert_eq!(
            given(&PinSource::Prompt, Some("1234")),
            Ok("1234".to_owned())
        );
        assert_eq!(given(&PinSource::Prompt, None), Err(PinError::nobody()));
        let obtained = |state, answer| {
            let request = PinRequest {
                token: "release".into(),
                pin: Pin::User,
                state,
            };
            let person = &mut Answer(answer);
            let given = obtain(&request, "release", false, &PinSource::Prompt, person);
            given.err().expect("no PIN")
        };
        let declined = obtained(PinState::Untouched, Some(""));
        assert!(
            matches!(declined, TokenError::Declined { .. }),
            "{declined}"
        );
        let declined = obtained(PinState::FinalTry, Some("1234"));
        assert!(
            matches!(declined, TokenError::Declined { .. }),
            "{declined}"
        );
        let nobody = obtained(PinState::FinalTry, None);
        assert!(matches!(nobody, TokenError::FinalTry { .. }), "{nobody}");
    }

    #[test]
    fn a_credential_needs_systemd() {
        if credentials_directory().is_none() {
            let error = given(&PinSource::Credential("hsm-pin".into()), None);
            assert_eq!(error, Err(PinError::no_credentials("hsm-pin")));
        }
    }
}
