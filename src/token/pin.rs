//! Where a PIN comes from: a prompt, a file, a file descriptor or a systemd credential.
//!
//! Never the command line and never the environment, which other processes can read. What was read
//! is wiped when it is dropped, and no error and no `Debug` of this module holds a byte of it. This
//! module does not know what a PIN opens.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal as _, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use rustix::fs::OFlags;
use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

use super::contract::Interaction;
use super::description::{PinRequest, PinState};
use super::error::{CREDENTIALS_DIRECTORY, PinError, TokenError};

/// The longest PIN, in bytes.
const LONGEST: usize = 256;

/// Where a PIN comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PinSource {
    /// Whoever sits at the terminal: `prompt`.
    Prompt,
    /// A file that only its owner can read: `file:/PATH`.
    File(PathBuf),
    /// A file descriptor that was open at the start, to be read once: `fd:N`.
    Fd(i32),
    /// A credential that systemd passed to the service: `credential:NAME`.
    Credential(String),
}

/// A PIN that may be tried once.
pub(super) enum Given {
    /// The token takes no PIN.
    Nothing,
    /// It is typed on a keypad of the token's or its reader's own.
    AtKeypad,
    /// This PIN.
    Pin(SecretString),
}

/// The PIN that `request` is about, unless a try would be in vain or could be the last. `token` is
/// its name in errors.
pub(super) fn obtain(
    request: &PinRequest,
    token: &str,
    keypad: bool,
    source: &PinSource,
    interaction: &mut dyn Interaction,
) -> Result<Given, TokenError> {
    let (token, pin) = (token.to_owned(), request.pin);
    match request.state {
        PinState::NotNeeded => return Ok(Given::Nothing),
        PinState::Locked => return Err(TokenError::PinLocked { token, pin }),
        PinState::FinalTry => {
            let attended = keypad || *source == PinSource::Prompt;
            if !attended || !interaction.final_try(request) {
                return Err(TokenError::FinalTry { token, pin });
            }
        }
        PinState::Untouched | PinState::CountLow | PinState::Left(_) => {}
    }
    if keypad {
        interaction.at_keypad(request);
        return Ok(Given::AtKeypad);
    }
    source
        .read(request, interaction)
        .map(Given::Pin)
        .map_err(|source| TokenError::Pin { token, pin, source })
}

impl PinSource {
    /// Reads one PIN. `request` says at the prompt what it is for.
    pub fn read(
        &self,
        request: &PinRequest,
        interaction: &mut dyn Interaction,
    ) -> Result<SecretString, PinError> {
        match self {
            Self::Prompt => {
                let pin = interaction.pin(request).ok_or(PinError::Declined)?;
                checked(pin.expose_secret().as_bytes(), "prompt")
            }
            Self::File(path) => from_file(path, credentials_directory().as_deref()),
            Self::Fd(number) => from_descriptor(*number),
            Self::Credential(name) => {
                let directory = credentials_directory()
                    .ok_or_else(|| PinError::NoCredentials { name: name.clone() })?;
                from_file(&directory.join(name), Some(&directory))
            }
        }
    }

    /// Whether it gives the PIN a second time with nobody at the terminal.
    pub(super) fn is_repeatable(&self) -> bool {
        match self {
            Self::File(_) | Self::Credential(_) => true,
            Self::Prompt | Self::Fd(_) => false,
        }
    }
}

impl FromStr for PinSource {
    type Err = PinError;

    fn from_str(text: &str) -> Result<Self, PinError> {
        if text.contains(char::is_control) {
            return Err(PinError::Source);
        }
        match text.split_once(':') {
            None if text == "prompt" => Ok(Self::Prompt),
            Some(("file", rest)) => {
                let path = if rest.starts_with("///") {
                    &rest[2..]
                } else {
                    rest
                };
                let absolute = path.starts_with('/') && !path.starts_with("//");
                absolute
                    .then(|| Self::File(path.into()))
                    .ok_or(PinError::Source)
            }
            Some(("fd", number)) => {
                // `parse` alone would take a sign.
                let digits = number.bytes().all(|b| b.is_ascii_digit());
                digits
                    .then(|| number.parse().ok())
                    .flatten()
                    .map(Self::Fd)
                    .ok_or(PinError::Source)
            }
            Some(("credential", name)) => {
                let plain = !name.is_empty() && !name.starts_with('.') && !name.contains('/');
                plain
                    .then(|| Self::Credential(name.to_owned()))
                    .ok_or(PinError::Source)
            }
            _ => Err(PinError::Source),
        }
    }
}

impl fmt::Display for PinSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prompt => f.write_str("prompt"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Fd(number) => write!(f, "fd:{number}"),
            Self::Credential(name) => write!(f, "credential:{name}"),
        }
    }
}

fn credentials_directory() -> Option<PathBuf> {
    std::env::var_os(CREDENTIALS_DIRECTORY)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}

/// systemd makes the credentials of a service readable for its group (mode 0440) in a folder that
/// only the service can enter: there the mode says nothing.
fn from_file(path: &Path, credentials: Option<&Path>) -> Result<SecretString, PinError> {
    let from = path.display().to_string();
    let unreadable = |reason: String| PinError::Unreadable {
        from: from.clone(),
        reason,
    };
    // Without NONBLOCK, opening a pipe would wait for its writer before anyone could see that it is
    // not a file.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let flags = i32::try_from(flags.bits()).expect("open flags are those of open(2), an int");
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)
        .map_err(|error| unreadable(error.to_string()))?;
    let metadata = file
        .metadata()
        .map_err(|error| unreadable(error.to_string()))?;
    if !metadata.is_file() {
        return Err(unreadable("it is not a regular file".to_owned()));
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 && !credentials.is_some_and(|directory| is_below(path, directory)) {
        return Err(PinError::TooOpen { path: from, mode });
    }
    bounded(file, false, &from)
}

fn is_below(path: &Path, directory: &Path) -> bool {
    path.starts_with(directory) && !path.components().any(|part| part == Component::ParentDir)
}

/// Through the process's own list of descriptors: to make a file of a bare number would need
/// `unsafe`.
fn from_descriptor(number: i32) -> Result<SecretString, PinError> {
    let from = format!("fd:{number}");
    let file =
        File::open(format!("/proc/self/fd/{number}")).map_err(|error| PinError::Unreadable {
            from: from.clone(),
            reason: error.to_string(),
        })?;
    let terminal = file.is_terminal();
    bounded(file, terminal, &from)
}

/// Reads to the end, at a terminal to the end of the line, and never more than a PIN can be.
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
            Err(error) => {
                return Err(PinError::Unreadable {
                    from: from.to_owned(),
                    reason: error.to_string(),
                });
            }
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
    let malformed = |reason| PinError::Malformed {
        from: from.to_owned(),
        reason,
    };
    if pin.is_empty() {
        return Err(PinError::Empty {
            from: from.to_owned(),
        });
    }
    if pin.len() > LONGEST {
        return Err(malformed("it is longer than 256 bytes"));
    }
    let text = std::str::from_utf8(pin).map_err(|_| malformed("it is not UTF-8"))?;
    if text.contains(char::is_control) {
        return Err(malformed(
            "it has more than one line, or a control character",
        ));
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

        fn final_try(&mut self, _: &PinRequest) -> bool {
            false
        }
    }

    fn read(source: &PinSource, answer: Option<&'static str>) -> Result<String, PinError> {
        let request = PinRequest {
            token: "release".into(),
            pin: Pin::User,
            state: PinState::Untouched,
        };
        source
            .read(&request, &mut Answer(answer))
            .map(|pin| pin.expose_secret().to_owned())
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
    fn a_source_is_written_as_it_is_read() {
        for text in [
            "prompt",
            "file:/run/pin",
            "fd:0",
            "fd:42",
            "credential:hsm-pin",
        ] {
            assert_eq!(
                text.parse::<PinSource>().map(|source| source.to_string()),
                Ok(text.to_owned())
            );
        }
        assert_eq!(
            "file:///run/pin".parse(),
            Ok(PinSource::File("/run/pin".into()))
        );
    }

    #[test]
    fn what_is_no_source_is_refused_and_not_repeated() {
        for text in [
            "",
            "493027",
            "Prompt",
            "file:",
            "file:pin",
            "file://host/pin",
            "file:////pin",
            "file:/a\nb",
            "fd:",
            "fd:-1",
            "fd:+1",
            "fd:99999999999",
            "credential:",
            "credential:a/b",
            "credential:..",
            "env:PIN",
            "pass:493027",
        ] {
            assert_eq!(text.parse::<PinSource>(), Err(PinError::Source), "{text}");
        }
        assert!(!format!("{} {:?}", PinError::Source, PinError::Source).contains("493027"));
    }

    #[test]
    fn exactly_one_newline_is_taken_off() {
        let folder = directory();
        for (content, pin) in [
            ("1234", "1234"),
            ("1234\n", "1234"),
            ("1234\r\n", "1234"),
            (" 12 34 \n", " 12 34 "),
        ] {
            assert_eq!(
                read(
                    &PinSource::File(file(&folder, 0o600, content.as_bytes())),
                    None
                ),
                Ok(pin.to_owned())
            );
        }
        let long = "p".repeat(256);
        let source = PinSource::File(file(&folder, 0o400, format!("{long}\r\n").as_bytes()));
        assert_eq!(read(&source, None), Ok(long));
    }

    #[test]
    fn what_is_no_pin_is_refused_and_not_repeated() {
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
            let error =
                read(&PinSource::File(file(&folder, 0o600, content)), None).expect_err("not a PIN");
            assert!(matches!(error, PinError::Malformed { .. }), "{error:?}");
            let shown =
                format!("{error} {error:?}").replace(&folder.path().display().to_string(), "");
            assert!(!shown.contains("49"), "{shown}");
        }
        for content in [&b""[..], b"\n", b"\r\n"] {
            let error = read(&PinSource::File(file(&folder, 0o600, content)), None);
            assert!(matches!(error, Err(PinError::Empty { .. })), "{error:?}");
        }
    }

    #[test]
    fn a_file_that_others_can_use_is_refused() {
        let folder = directory();
        for mode in [0o640, 0o604, 0o620, 0o660, 0o610] {
            let path = file(&folder, mode, b"1234\n");
            let shown = path.display().to_string();
            assert_eq!(
                read(&PinSource::File(path), None),
                Err(PinError::TooOpen { path: shown, mode })
            );
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
            let error = read(&PinSource::File(path), None);
            assert!(
                matches!(error, Err(PinError::Unreadable { .. })),
                "{error:?}"
            );
        }
    }

    #[test]
    fn a_descriptor_gives_its_pin_once() {
        let (reader, mut writer) = io::pipe().expect("a pipe");
        io::Write::write_all(&mut writer, b"1234\n").expect("room in the pipe");
        drop(writer);
        let source = PinSource::Fd(reader.as_raw_fd());
        assert_eq!(read(&source, None), Ok("1234".to_owned()));
        assert!(matches!(
            read(&PinSource::Fd(99_999), None),
            Err(PinError::Unreadable { .. })
        ));
    }

    #[test]
    fn the_prompt_is_asked_and_may_decline() {
        assert_eq!(
            read(&PinSource::Prompt, Some("1234")),
            Ok("1234".to_owned())
        );
        assert_eq!(read(&PinSource::Prompt, None), Err(PinError::Declined));
        assert!(matches!(
            read(&PinSource::Prompt, Some("")),
            Err(PinError::Empty { .. })
        ));
    }

    #[test]
    fn a_credential_needs_systemd() {
        if credentials_directory().is_none() {
            let error = read(&PinSource::Credential("hsm-pin".into()), None);
            assert_eq!(
                error,
                Err(PinError::NoCredentials {
                    name: "hsm-pin".into()
                })
            );
        }
    }
}
