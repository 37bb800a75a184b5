//! Gets one PIN from its source, a prompt, a file, a file descriptor or a systemd credential, and
//! has it tried once.
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
use super::refused::{Origin, RefusedPins};
use crate::domain::text::is_harmful;
use crate::domain::time::Timestamp;
use crate::files::changeable;

/// The longest PIN, in bytes.
const LONGEST: usize = 256;

/// In UTF-8 and in the two orders of UTF-16.
const ORDER_MARKS: [&[u8]; 3] = [b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"];

/// How the token gets its PIN.
pub(super) enum Given {
    /// The token needs no PIN.
    Nothing,
    /// The user types it on a keypad of the token or of its reader.
    AtKeypad,
    /// This PIN.
    Pin(SecretString),
}

/// A PIN that may be tried once.
pub(super) struct OnePin {
    given: Given,
    request: PinRequest,
    /// The token's name in errors.
    token: String,
    source: PinSource,
    /// `None` if it is from a person.
    origin: Option<Origin>,
    pins: RefusedPins,
}

/// Gets the PIN that `request` asks for, unless a try would be in vain or could be the last.
/// `token` is its name in errors.
pub(super) fn obtain(
    request: PinRequest,
    token: &str,
    keypad: bool,
    source: &PinSource,
    pins: &RefusedPins,
    interaction: &mut dyn Interaction,
) -> Result<OnePin, TokenError> {
    let pin = request.pin;
    let token = token.to_owned();
    let mut one = OnePin {
        given: Given::Nothing,
        request,
        token: token.clone(),
        source: source.clone(),
        origin: None,
        pins: pins.clone(),
    };
    match one.request.state {
        PinState::NotNeeded => return Ok(one),
        PinState::Locked => return Err(TokenError::PinLocked { token, pin }),
        PinState::FinalTry => {
            let attended = keypad || *source == PinSource::Prompt;
            match attended
                .then(|| interaction.final_try(&one.request))
                .flatten()
            {
                Some(true) => {}
                Some(false) => return Err(TokenError::Declined { token, pin }),
                None => return Err(TokenError::FinalTry { token, pin }),
            }
        }
        PinState::Untouched | PinState::CountLow | PinState::Left(_) => {}
    }
    if keypad {
        interaction.at_keypad(&one.request);
        one.given = Given::AtKeypad;
        return Ok(one);
    }
    let (given, origin) = match read(source, &one.request, interaction) {
        Ok((given, _)) if given.expose_secret().is_empty() => {
            return Err(TokenError::Declined { token, pin });
        }
        Ok(read) => read,
        Err(source) => return Err(TokenError::Pin { token, pin, source }),
    };
    one.given = Given::Pin(given);
    one.origin = origin;
    // Before anything else is asked of the token or the user; once more when it is tried.
    if let Some(origin) = &one.origin
        && let Some(at) = pins.refused(&one.request, origin)?
    {
        return Err(one.refused_before(at));
    }
    Ok(one)
}

impl OnePin {
    pub(super) fn given(&self) -> &Given {
        &self.given
    }

    /// Gives the token the PIN, once. That it is refused is recorded, unless it is from a person.
    pub(super) fn try_once<T>(
        &self,
        attempt: impl FnOnce(&Given) -> Result<T, TokenError>,
    ) -> Result<T, TokenError> {
        let attempt = || attempt(&self.given).map_err(|error| self.with_oddity(error));
        match (&self.origin, &self.given) {
            (Some(origin), _) => {
                let again = |at| self.refused_before(at);
                self.pins.try_once(&self.request, origin, again, attempt)
            }
            (None, Given::Nothing) => attempt(),
            (None, Given::AtKeypad | Given::Pin(_)) => {
                let done = attempt()?;
                self.pins.forget(&self.request)?;
                Ok(done)
            }
        }
    }

    /// The answer to a PIN that was right, and was given once more. That it is refused now is
    /// recorded.
    pub(super) fn repeated<T>(&self, answer: Result<T, TokenError>) -> Result<T, TokenError> {
        if let (Some(origin), Err(TokenError::PinWrong { .. })) = (&self.origin, &answer) {
            self.pins.record(&self.request, origin)?;
        }
        answer
    }

    fn refused_before(&self, at: Timestamp) -> TokenError {
        TokenError::PinRefusedBefore {
            token: self.token.clone(),
            pin: self.request.pin,
            source_of_pin: self.source.to_string(),
            at,
            renewal: match self.origin {
                Some(Origin::File { .. }) => {
                    "write the right PIN to the file (or `touch` it, if it is right by now), or "
                }
                Some(Origin::Credential(_) | Origin::Descriptor) | None => "",
            },
        }
    }

    fn with_oddity(&self, error: TokenError) -> TokenError {
        match (error, &self.given) {
            (
                TokenError::PinWrong {
                    token, pin, state, ..
                },
                Given::Pin(text),
            ) => {
                let odd = oddity(text.expose_secret());
                let odd = odd.map(|odd| format!("the one from `{}` {odd}", self.source));
                TokenError::PinWrong {
                    token,
                    pin,
                    state,
                    odd,
                }
            }
            (error, _) => error,
        }
    }
}

/// What is odd about a PIN, without a character of it.
fn oddity(pin: &str) -> Option<&'static str> {
    const QUOTES: [(char, char); 6] = [
        ('"', '"'),
        ('\'', '\''),
        ('`', '`'),
        ('“', '”'),
        ('‘', '’'),
        ('«', '»'),
    ];
    let is_in = |(open, close): (char, char)| {
        let inner = pin.strip_prefix(open);
        inner.is_some_and(|inner| inner.ends_with(close))
    };
    match pin {
        _ if pin.ends_with(' ') => Some("ends in a blank"),
        _ if pin.starts_with(' ') => Some("begins with a blank"),
        _ if QUOTES.into_iter().any(is_in) => Some("is in quotes"),
        _ => None,
    }
}

/// Reads one PIN, and where it is from. A prompt shows what `request` says, and gives an empty one
/// if it was declined.
fn read(
    source: &PinSource,
    request: &PinRequest,
    interaction: &mut dyn Interaction,
) -> Result<(SecretString, Option<Origin>), PinError> {
    let (pin, origin) = match source {
        PinSource::Prompt => {
            let pin = interaction.pin(request).ok_or_else(PinError::nobody)?;
            let pin = match pin.expose_secret() {
                "" => pin,
                text => checked(text.as_bytes(), "prompt")?,
            };
            return Ok((pin, None));
        }
        PinSource::File(path) => from_file(path, credentials_directory().as_deref())?,
        PinSource::Fd(number) => (from_descriptor(*number)?, Origin::Descriptor),
        PinSource::Credential(name) => {
            let directory =
                credentials_directory().ok_or_else(|| PinError::no_credentials(name))?;
            from_file(&directory.join(name), Some(&directory))?
        }
    };
    Ok((pin, Some(origin)))
}

fn credentials_directory() -> Option<PathBuf> {
    std::env::var_os(CREDENTIALS_DIRECTORY)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}

/// systemd makes the credentials of a service readable for its group (mode 0440) in a folder that
/// only the service can enter: that others may read them means nothing there.
fn from_file(path: &Path, credentials: Option<&Path>) -> Result<(SecretString, Origin), PinError> {
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
    let credential = credentials.and_then(|directory| name_below(path, directory));
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 && credential.is_none() {
        return Err(PinError::too_open(&from, mode));
    }
    if let Some(reason) = changeable(&metadata) {
        return Err(PinError::changeable(&from, &reason));
    }
    let origin = credential.map_or_else(|| Origin::of_file(&metadata), Origin::Credential);
    Ok((bounded(file, false, &from)?, origin))
}

/// The name of a credential; `None` for a file elsewhere.
fn name_below(path: &Path, directory: &Path) -> Option<String> {
    let name = path.strip_prefix(directory).ok()?;
    let plain = !name.components().any(|part| part == Component::ParentDir);
    plain.then(|| name.display().to_string())
}

/// Through the process's own list of descriptors: a bare number becomes a file only by `unsafe`.
fn from_descriptor(number: i32) -> Result<SecretString, PinError> {
    let from = format!("fd:{number}");
    let file = File::open(format!("/proc/self/fd/{number}"))
        .map_err(|error| PinError::unreadable(&from, error))?;
    let status = file
        .metadata()
        .map_err(|error| PinError::unreadable(&from, error))?;
    if let Some(reason) = changeable(&status).filter(|_| status.is_file()) {
        return Err(PinError::changeable(&from, &reason));
    }
    let terminal = file.is_terminal();
    bounded(file, terminal, &from)
}

/// Reads to the end, on a terminal to the end of the line, and never more than the longest PIN.
fn bounded(mut file: File, line: bool, from: &str) -> Result<SecretString, PinError> {
    // An array, because a vector that grows leaves copies behind. Room for CRLF, and for one byte
    // too many.
    let mut buffer = Zeroizing::new([0; LONGEST + 3]);
    keep_from_swap(&*buffer);
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
    if ORDER_MARKS.iter().any(|mark| pin.starts_with(mark)) {
        return Err(malformed("it begins with a byte order mark"));
    }
    let text = std::str::from_utf8(pin).map_err(|_| malformed("it is not UTF-8"))?;
    if text.contains(char::is_control) {
        return Err(malformed("it has several lines, or a control character"));
    }
    if text.contains(is_invisible) {
        return Err(malformed("it has an invisible character"));
    }
    Ok(secret(text))
}

/// Whether a character leaves no mark on the screen, or not that of the blank that is typed.
fn is_invisible(c: char) -> bool {
    let unmarked = matches!(
        c,
        '\u{34f}'
            | '\u{115f}'
            | '\u{1160}'
            | '\u{17b4}'
            | '\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{2800}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{ffa0}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    );
    unmarked || is_harmful(c) || (c.is_whitespace() && c != ' ')
}

/// A secret in memory that is not written to the swap space, as far as the system lets it be
/// locked.
pub(super) fn secret(text: &str) -> SecretString {
    let secret = SecretString::new(text.into());
    keep_from_swap(secret.expose_secret().as_bytes());
    secret
}

fn keep_from_swap(secret: &[u8]) {
    // Never unlocked: the page may have another secret, and locks of a page are not counted.
    if let Ok(lock) = region::lock(secret.as_ptr(), secret.len()) {
        std::mem::forget(lock);
    }
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
        super::read(source, &request, &mut Answer(answer))
            .map(|(pin, _)| pin.expose_secret().to_owned())
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
    fn what_cannot_be_seen_is_refused_before_the_try() {
        let folder = directory();
        for (content, reason) in [
            ("\u{feff}4930", "it begins with a byte order mark"),
            ("\u{feff}4930\r\n", "it begins with a byte order mark"),
            ("49\u{200b}30", "it has an invisible character"),
            ("4930\u{a0}", "it has an invisible character"),
            ("4930\u{2028}", "it has an invisible character"),
            ("4930\u{fe0f}", "it has an invisible character"),
            ("\u{2066}4930", "it has an invisible character"),
        ] {
            let source = PinSource::File(file(&folder, 0o600, content.as_bytes()));
            let error = given(&source, None).expect_err("not a PIN");
            assert!(says(&error, reason), "{error}");
            let error = given(&PinSource::Prompt, Some(content)).expect_err("not a PIN");
            assert!(says(&error, ""), "{error}");
        }
        for content in [&b"\xff\xfe4\x009\x003\x000\x00"[..], b"\xfe\xff\x004\x009"] {
            let error = given(&PinSource::File(file(&folder, 0o600, content)), None);
            let error = error.expect_err("not a PIN");
            assert!(says(&error, "it begins with a byte order mark"), "{error}");
        }
        let fine = "pässwörd ½ 密码";
        let source = PinSource::File(file(&folder, 0o600, fine.as_bytes()));
        assert_eq!(given(&source, None), Ok(fine.to_owned()));
    }

    #[test]
    fn what_is_odd_about_a_pin_is_known_without_it() {
        for (pin, odd) in [
            ("123456", None),
            ("12 34", None),
            ("'1234", None),
            ("\"", None),
            ("123456 ", Some("ends in a blank")),
            (" 123456", Some("begins with a blank")),
            ("\"123456\"", Some("is in quotes")),
            ("'123456'", Some("is in quotes")),
            ("“123456”", Some("is in quotes")),
        ] {
            assert_eq!(oddity(pin), odd, "{pin}");
        }
    }

    #[test]
    fn a_credential_is_known_by_its_name_and_a_file_by_its_state() {
        let folder = directory();
        let path = file(&folder, 0o600, b"1234\n");
        let origin = |credentials| from_file(&path, credentials).map(|(_, origin)| origin);
        assert_eq!(
            origin(Some(folder.path())),
            Ok(Origin::Credential("pin".into()))
        );
        let before = origin(None);
        assert!(matches!(before, Ok(Origin::File { size: 5, .. })));
        assert_eq!(origin(None), before);
        fs::write(&path, b"1234\n").expect("the same again");
        assert_ne!(origin(None), before);
        let mut group = fs::metadata(&path).expect("there").permissions();
        group.set_mode(0o460);
        fs::set_permissions(&path, group).expect("its mode");
        assert!(origin(Some(folder.path())).is_err(), "others can write it");
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
        assert_eq!(name_below(&around, &folder.path().join("sub")), None);
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
        let folder = directory();
        let shared = File::open(file(&folder, 0o646, b"1234\n")).expect("open");
        let error = given(&PinSource::Fd(shared.as_raw_fd()), None).expect_err("writable");
        assert!(
            says(&error, "others than its owner can write it"),
            "{error}"
        );
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
            let pins = &RefusedPins::none();
            let given = obtain(request, "release", false, &PinSource::Prompt, pins, person);
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
