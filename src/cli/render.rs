//! The one place where an outcome or an error becomes text, hint and exit code.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;
use serde_json::json;

use crate::domain::text::{clean, is_harmful};
use crate::files::{FileError, FileFault};
use crate::openpgp::{BadBuildKey, BadCertificate};
use crate::steps::admit::AdmitError;
use crate::steps::attest::AttestError;
use crate::steps::verify::ReleaseError;
#[cfg(feature = "host")]
use host::*;

#[cfg(feature = "host")]
mod host {
    pub(super) use crate::domain::grant::BadGrant;
    pub(super) use crate::home::HomeError;
    pub(super) use crate::ledger::LedgerError;
    pub(super) use crate::openpgp::{KeyTrouble, MakeError};
    pub(super) use crate::steps::build::BuildError;
    pub(super) use crate::steps::countersign::CountersignError;
    pub(super) use crate::steps::grant::GrantError;
    pub(super) use crate::steps::release_key::KeyError;
    pub(super) use crate::token::{PinError, PinState, TokenError, UriError};
}

/// Everything that ends a command early.
#[derive(Debug, thiserror::Error)]
pub(super) enum CliError {
    #[cfg(feature = "host")]
    #[error("{0}")]
    Usage(String),
    #[error("certificate `{}` {fault}", path.display())]
    Certificate { path: PathBuf, fault: BadCertificate },
    #[error("build key `{}` {fault}", path.display())]
    BuildKey { path: PathBuf, fault: BadBuildKey },
    #[error("build key `{}` has mode {mode:04o}: others can read it", path.display())]
    BuildKeyOpen { path: PathBuf, mode: u32 },
    #[error("no systemd credential `{name}`: {reason}")]
    Credential { name: String, reason: &'static str },
    #[error("{refused} of {all} submissions were refused")]
    NotAdmitted { refused: usize, all: usize },
    #[error("{refused} of {all} did not hold")]
    DidNotHold { refused: usize, all: usize },
    #[error(transparent)]
    Attest(#[from] AttestError),
    #[error(transparent)]
    Admit(#[from] AdmitError),
    #[error(transparent)]
    Release(#[from] ReleaseError),
    #[error(transparent)]
    File(#[from] FileError),
    #[cfg(feature = "host")]
    #[error("grant `{}` {fault}", path.display())]
    BadGrant { path: PathBuf, fault: BadGrant },
    #[cfg(feature = "host")]
    #[error("neither $HOME nor $XDG_DATA_HOME says where the signing host's home is")]
    Nowhere,
    #[cfg(feature = "host")]
    #[error("the ledger has no entry {0}")]
    NoEntry(u64),
    #[cfg(feature = "host")]
    #[error("the demonstration ended with {0}")]
    Demo(std::process::ExitStatus),
    #[cfg(feature = "host")]
    #[error(transparent)]
    Grant(#[from] GrantError),
    #[cfg(feature = "host")]
    #[error(transparent)]
    Build(#[from] BuildError),
    #[cfg(feature = "host")]
    #[error(transparent)]
    Countersign(#[from] CountersignError),
    #[cfg(feature = "host")]
    #[error(transparent)]
    Key(#[from] KeyError),
    #[cfg(feature = "host")]
    #[error(transparent)]
    Token(#[from] TokenError),
    #[cfg(feature = "host")]
    #[error(transparent)]
    Uri(#[from] UriError),
    #[cfg(feature = "host")]
    #[error(transparent)]
    Home(#[from] HomeError),
    #[cfg(feature = "host")]
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// The exit code of a command: what whoever started it should think of next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Code {
    /// A check failed: what was given is not to be trusted.
    Refused = 1,
    /// The command or the configuration must change.
    Usage = 2,
    /// The token, the disk or the repository: try again.
    Trouble = 3,
}
use Code::{Refused, Trouble, Usage};

/// What to do next.
type Advice = (Code, Option<String>);

fn advice(error: &CliError) -> Advice {
    match error {
        CliError::Certificate { fault, .. } => (Usage, certificate_hint(fault)),
        CliError::BuildKey { fault, .. } => (Usage, build_key_hint(fault)),
        CliError::BuildKeyOpen { path, .. } => hint(Usage, format!("run `chmod 600 {}`", path.display())),
        CliError::Credential { .. } => {
            hint(Usage, "pass it with `LoadCredential=` or `systemd-creds`, or name a file instead")
        }
        CliError::NotAdmitted { .. } => hint(Refused, "the reason stands beside each submission, in `NAME.refused`"),
        CliError::DidNotHold { .. } => {
            hint(Refused, "do not use these files; fetch the release again, or ask its maintainers")
        }
        CliError::Attest(error) => attest(error),
        CliError::Admit(error) => admit(error),
        CliError::Release(error) => release(error),
        CliError::File(error) => file(error, Usage),
        #[cfg(feature = "host")]
        CliError::Usage(_) => (Usage, None),
        #[cfg(feature = "host")]
        CliError::BadGrant { .. } => {
            hint(Refused, "give the grant file that `countersign grant` wrote, or the grant's id")
        }
        #[cfg(feature = "host")]
        CliError::Nowhere => hint(Usage, "name it with `--home DIR` or in $COUNTERSIGN_HOME"),
        #[cfg(feature = "host")]
        CliError::NoEntry(_) => hint(Usage, "`countersign log list` shows which there are"),
        #[cfg(feature = "host")]
        CliError::Demo(_) => (Trouble, None),
        #[cfg(feature = "host")]
        CliError::Grant(error) => grant(error),
        #[cfg(feature = "host")]
        CliError::Build(error) => build(error),
        #[cfg(feature = "host")]
        CliError::Countersign(error) => countersign(error),
        #[cfg(feature = "host")]
        CliError::Key(error) => key(error),
        #[cfg(feature = "host")]
        CliError::Token(error) => token(error),
        #[cfg(feature = "host")]
        CliError::Uri(error) => uri(error),
        #[cfg(feature = "host")]
        CliError::Home(error) => home(error),
        #[cfg(feature = "host")]
        CliError::Ledger(_) => ledger(),
    }
}

fn hint(code: Code, text: impl Into<String>) -> Advice {
    (code, Some(text.into()))
}

/// `missing`: what a file that is not there, or is of the wrong kind, means where it was looked for.
fn file(error: &FileError, missing: Code) -> Advice {
    match &error.fault {
        FileFault::Missing | FileFault::Kind { .. } | FileFault::TooLarge { .. } | FileFault::TooMany { .. } => {
            (missing, None)
        }
        FileFault::Exists => hint(Usage, "move it away, or name another place with `-o`"),
        FileFault::Busy => hint(Trouble, "run the same command again when it is done"),
        FileFault::Io(error) if error.kind() == std::io::ErrorKind::StorageFull => {
            hint(Trouble, "make room and run the same command again: nothing is lost")
        }
        FileFault::Io(error) if error.kind() == std::io::ErrorKind::PermissionDenied => (Usage, None),
        FileFault::Io(_) => hint(Trouble, "run the same command again when this is mended"),
    }
}

fn certificate_hint(fault: &BadCertificate) -> Option<String> {
    let text = match fault {
        BadCertificate::Malformed(_) => "export it with `countersign key export` or `gpg --export KEY`",
        BadCertificate::NotOne(_) => "export one certificate: `gpg --export FINGERPRINT`",
        BadCertificate::Secret => "export the public half: `gpg --export FINGERPRINT`",
        BadCertificate::Version => "gpgv and apt of today read OpenPGP v4: make a v4 key",
    };
    Some(text.to_owned())
}

fn build_key_hint(fault: &BadBuildKey) -> Option<String> {
    match fault {
        BadBuildKey::Malformed(_) => Some("give the `.key` file that `countersign grant` wrote, unchanged".to_owned()),
        BadBuildKey::Unlabelled(_) | BadBuildKey::Label(_) | BadBuildKey::NoSecret(_) => Some(
            "give the `.key` file that `countersign grant` wrote: importing and exporting it loses its headers"
                .to_owned(),
        ),
    }
}

fn attest(error: &AttestError) -> Advice {
    match error {
        AttestError::Expired { .. } => hint(Refused, "ask the signing host's operator for a new grant"),
        AttestError::Key(fault) => (Usage, build_key_hint(fault)),
        AttestError::Name { .. } => hint(Usage, "rename it; the signing host would refuse it"),
        AttestError::NotAllowed { .. } => {
            hint(Refused, "leave it out, or ask for a grant that allows it; the build key is kept for the next try")
        }
        AttestError::SecretKey { .. } => hint(Usage, "keep keys out of the folder of artifacts"),
        AttestError::OwnFile { .. } => hint(Usage, "remove it, or leave it out of the artifacts"),
        AttestError::SeveralFolders { .. } => hint(Usage, "say with `-o DIR` where the manifest goes"),
        AttestError::List(_) => (Usage, None),
        AttestError::File(error) => file(error, Usage),
    }
}

fn admit(error: &AdmitError) -> Advice {
    match error {
        AdmitError::Name(_) | AdmitError::OtherName { .. } => (Refused, None),
        AdmitError::Release(error) => release(error),
        AdmitError::NotAnInbox(_) | AdmitError::NotReleases(_) => hint(
            Usage,
            "first the folder that is pushed to, then the folder that is served: each holds releases, one folder each",
        ),
        AdmitError::SameFolder(_) => hint(Usage, "what is pushed and what is served must be two folders"),
        AdmitError::Occupied(_) => hint(Refused, "a version is released once: give the build a new version"),
        AdmitError::Certificate(_) => hint(Refused, "get the renewed certificate from its owner"),
        AdmitError::File(error) => file(error, Usage),
    }
}

fn release(error: &ReleaseError) -> Advice {
    match error {
        ReleaseError::File(error) => file(error, Refused),
        ReleaseError::Copy(error) => file(error, Trouble),
        ReleaseError::Missing(_) => hint(Refused, "fetch the release again, complete"),
        ReleaseError::TooLarge { .. }
        | ReleaseError::Extra(_)
        | ReleaseError::Signature { .. }
        | ReleaseError::OtherGrant { .. }
        | ReleaseError::OtherKey { .. }
        | ReleaseError::Sums(_)
        | ReleaseError::Digest { .. }
        | ReleaseError::Grant(_)
        | ReleaseError::Evidence { .. }
        | ReleaseError::EvidenceMisplaced { .. }
        | ReleaseError::Quorum { .. }
        | ReleaseError::NotAttested { .. } => (Refused, None),
    }
}

#[cfg(feature = "host")]
fn ledger() -> Advice {
    hint(Trouble, "check the disk, then run the same command again; never delete the ledger")
}

#[cfg(feature = "host")]
fn home(error: &HomeError) -> Advice {
    match error {
        HomeError::Missing(_) => hint(Usage, "set it up with `countersign init`, or name it with `--home`"),
        HomeError::Exists(_) => hint(Usage, "name another one with `--home`, or use this one as it is"),
        HomeError::Open { path, wanted, .. } => hint(Usage, format!("run `chmod {wanted:03o} {}`", path.display())),
        HomeError::Owner { .. } => hint(Usage, "run this as the home's owner"),
        HomeError::Busy(_) => hint(Trouble, "run the same command again when it is done"),
        HomeError::NoSuchGrant(_) => {
            hint(Usage, "give a grant file, or at least eight digits of an id from `countersign log list`")
        }
        HomeError::AmbiguousGrant(_) => hint(Usage, "give more digits"),
        HomeError::Config(_) => (Usage, None),
        HomeError::Certificate { fault, .. } => (Usage, certificate_hint(fault)),
        HomeError::Grant { .. } => (Usage, None),
        HomeError::Ledger(_) => ledger(),
        HomeError::File(error) => file(error, Usage),
    }
}

#[cfg(feature = "host")]
fn grant(error: &GrantError) -> Advice {
    match error {
        GrantError::ReleaseKey(_) => hint(Refused, "see `countersign key check`"),
        GrantError::Grant(_) | GrantError::TooLong(_) => (Usage, None),
        GrantError::Home(error) => home(error),
        GrantError::Ledger(_) => ledger(),
        GrantError::File(error) => file(error, Usage),
    }
}

#[cfg(feature = "host")]
fn build(error: &BuildError) -> Advice {
    match error {
        BuildError::NotIssued(_) => {
            hint(Refused, "use the file as `countersign grant` wrote it, on the host that issued it")
        }
        BuildError::NotYetValid { .. } => hint(Refused, "compare this host's clock with the grant's"),
        BuildError::Expired { .. } => {
            hint(Refused, "issue a new grant and build again; `--valid-for` gives the build more time")
        }
        BuildError::ReleaseKey(_) => hint(Refused, "see `countersign key check`"),
        BuildError::OtherReleaseKey { .. } => hint(Refused, "issue a new grant under the key that this host has now"),
        BuildError::Evidence(_) => hint(
            Refused,
            "fetch the build again; if it stays so, it is not what this grant approved: issue a new one and build again",
        ),
        BuildError::Closed { .. } => hint(Refused, "a grant is for one build; issue a new one if this build is right"),
        BuildError::Extra { .. } => {
            hint(Refused, "a build's folder holds its artifacts, build.manifest and build.manifest.sig")
        }
        BuildError::MissingArtifact { .. } => hint(Refused, "fetch the build again, complete"),
        BuildError::Digest { .. } => {
            hint(Refused, "fetch the build again; if it stays so, it was changed after M signed it")
        }
        BuildError::TooLarge { .. } => hint(Refused, "issue a new grant with a larger `--max-bytes` if this is right"),
        BuildError::File(FileError { fault: FileFault::Missing, .. }) => hint(
            Refused,
            "name the folder with the artifacts, and with build.manifest and build.manifest.sig that `attest` wrote there",
        ),
        BuildError::File(error) => file(error, Refused),
        BuildError::Output(error) => file(error, Usage),
        BuildError::IntoItself(_) => hint(Usage, "name another place with `-o`"),
        BuildError::Ledger(_) => ledger(),
    }
}

#[cfg(feature = "host")]
fn countersign(error: &CountersignError) -> Advice {
    match error {
        CountersignError::OtherKey { .. } => {
            hint(Refused, "insert the token with the release key; see `countersign key list`")
        }
        CountersignError::OtherEvidence { .. } => {
            hint(Refused, "bring back the manifest signature that was signed with, or issue a new grant")
        }
        CountersignError::Kept { .. } => {
            hint(Trouble, "the ledger or the certificate changed; see `countersign log list`")
        }
        CountersignError::Sign { fault, .. } => make(fault),
        CountersignError::Token(error) => token(error),
        CountersignError::Occupied(_) => hint(Usage, "move it away, or name another place with `-o`"),
        CountersignError::File(error) => file(error, Trouble),
        CountersignError::Ledger(_) => ledger(),
    }
}

#[cfg(feature = "host")]
fn make(error: &MakeError<TokenError>) -> Advice {
    match error {
        MakeError::Token(error) => token(error),
        MakeError::WrongAnswer => hint(Refused, "nothing was released; do not trust this token before you know why"),
        MakeError::Invalid(_) => (Usage, None),
    }
}

#[cfg(feature = "host")]
fn key(error: &KeyError) -> Advice {
    match error {
        KeyError::UserId(_) | KeyError::Domain(_) | KeyError::TooLong(_) => (Usage, None),
        KeyError::NoDomain => hint(Usage, "give one with `--notation-domain`"),
        KeyError::Trouble(KeyTrouble::CertificateExpired { .. } | KeyTrouble::KeyExpired { .. }) => {
            hint(Refused, "run `countersign key extend`, and publish the certificate anew")
        }
        KeyError::Trouble(_) => {
            hint(Refused, "this key signs no more releases: set up another one with `countersign init`")
        }
        KeyError::PrimaryElsewhere(_) => hint(
            Usage,
            "extend the certificate where its primary key is, and put it in place of release.asc in the home",
        ),
        KeyError::NotOnToken { .. } => hint(Usage, "`countersign key list --token URI` shows what the token holds"),
        KeyError::Several { .. } => hint(Usage, "name one of them with `object=` or `id=` in the token URI"),
        KeyError::OtherKey(_) => hint(Refused, "insert the token with the release key; see `countersign key list`"),
        KeyError::Make(error) => make(error),
        KeyError::Token(error) => token(error),
        KeyError::Home(error) => home(error),
        KeyError::Ledger(_) => ledger(),
    }
}

#[cfg(feature = "host")]
fn uri(_: &UriError) -> Advice {
    hint(Usage, "for example `pkcs11:token=release;object=r2026?module-path=/usr/lib/softhsm/libsofthsm2.so`")
}

#[cfg(feature = "host")]
fn token(error: &TokenError) -> Advice {
    match error {
        TokenError::Module { .. } => hint(
            Usage,
            "check `module-path` in the token URI, and the module's own configuration (SoftHSM2: $SOFTHSM2_CONF)",
        ),
        TokenError::NoModule { .. } => hint(Usage, "add `?module-path=/path/to/module.so`"),
        TokenError::TokenAbsent { .. } => hint(
            Trouble,
            "insert the token, or correct `token` and `serial` in its URI; SoftHSM2 finds its tokens by $SOFTHSM2_CONF",
        ),
        TokenError::TokenAmbiguous { .. } => hint(Usage, "name one by `serial=` in the token URI"),
        TokenError::KeyAbsent { .. } => {
            hint(Usage, "correct `object` and `id` in the token URI; `countersign key list` shows what there is")
        }
        TokenError::KeyAmbiguous { .. } => hint(Usage, "name one by `id=` in the token URI"),
        TokenError::KeyExists { .. } => {
            hint(Usage, "choose another `object`, or leave `--generate` out to use that key")
        }
        TokenError::KeyUnnamed { .. } => hint(Usage, "add its name to the URI: `;object=NAME`"),
        TokenError::KeyUnsuitable { .. } => hint(
            Usage,
            "ed25519, p256, p384, p521 and rsa from 2048 bits can sign releases; see `countersign key list`",
        ),
        TokenError::MechanismUnsupported { .. } => hint(Usage, "use a kind of key that this token supports"),
        TokenError::PinWrong { state: PinState::Locked, .. } => {
            hint(Trouble, "that was the last try: unlock it with the token's own tools and the security officer's PIN")
        }
        TokenError::PinWrong { state: PinState::FinalTry, .. } => {
            hint(Trouble, "one try is left, and it will not be used unattended: make sure of the PIN first")
        }
        TokenError::PinWrong { state: PinState::Untouched | PinState::CountLow | PinState::NotNeeded, .. } => {
            hint(Trouble, "it was tried once and will not be tried again; run the command anew with the right PIN")
        }
        TokenError::PinLocked { .. } => {
            hint(Trouble, "unlock it with the token's own tools and the security officer's PIN")
        }
        TokenError::FinalTry { .. } => {
            hint(Trouble, "use the PIN once at a terminal, with the token's own tools or a prompt here")
        }
        TokenError::PinNotSet { .. } => {
            hint(Usage, "initialise it with the token's own tools (`softhsm2-util`, `pkcs11-tool --init-pin`)")
        }
        TokenError::Pin { source, .. } => pin(source),
        TokenError::SessionLost { .. } => hint(Trouble, "run the same command again: what was signed is kept"),
        TokenError::Busy { .. } => hint(Trouble, "end the program that holds it, then run the same command again"),
        TokenError::Unexpected { .. } => {
            hint(Trouble, "run the same command again; if it stays so, the module is at fault")
        }
        TokenError::File { .. } => (Trouble, None),
    }
}

#[cfg(feature = "host")]
fn pin(error: &PinError) -> Advice {
    match error {
        PinError::Declined => hint(
            Usage,
            "run this at a terminal, or add `pin-source=file:/PATH`, `fd:NUMBER` or `credential:NAME` to the token URI",
        ),
        PinError::TooOpen { path, .. } => hint(Usage, format!("run `chmod 600 {path}`")),
        PinError::NoCredentials { name } => {
            hint(Usage, format!("add `LoadCredential={name}:/PATH` to the systemd unit"))
        }
        PinError::Source | PinError::Unreadable { .. } => hint(Usage, "correct `pin-source` in the token URI"),
        PinError::Empty { .. } | PinError::Malformed { .. } => hint(Usage, "it must hold the PIN and nothing else"),
    }
}

/// Where results, talk and errors go: data to standard output, talk to standard error.
pub(super) struct Output {
    json: bool,
    text: String,
    value: Option<serde_json::Value>,
}

impl Output {
    pub(super) fn new(json: bool) -> Self {
        Self { json, text: String::new(), value: None }
    }

    /// A line of the result, for people. Nothing in it can steer a terminal.
    pub(super) fn line(&mut self, line: impl AsRef<str>) {
        self.text += &clean(line.as_ref());
        self.text.push('\n');
    }

    /// The result for programs, instead of the lines when `--json` was given.
    pub(super) fn value(&mut self, value: impl Serialize) {
        self.value = Some(serde_json::to_value(value).expect("a result can be written as JSON"));
    }

    /// A warning, at once.
    #[cfg(feature = "host")]
    pub(super) fn warn(&self, text: &str) {
        let _closed = writeln!(std::io::stderr(), "{} {}", paint("warning:", "33"), clean(text));
    }

    /// Prints what there is to print and ends the command.
    pub(super) fn end(self, result: Result<(), CliError>) -> ExitCode {
        let text = match &self.value {
            Some(value) if self.json => json_text(value),
            _ => self.text,
        };
        let written = std::io::stdout().write_all(text.as_bytes());
        match result {
            Ok(()) if written.is_ok() => ExitCode::SUCCESS,
            Ok(()) => ExitCode::from(Trouble as u8),
            Err(error) => {
                let (code, _) = advice(&error);
                let text = if self.json { error_json(&error) } else { error_text(&error) };
                let _closed = std::io::stderr().write_all(text.as_bytes());
                ExitCode::from(code as u8)
            }
        }
    }
}

/// The end of a process that panicked.
pub(super) fn bug() -> ExitCode {
    const BUG: u8 = 70;
    let text = "this is a bug; please report it with the lines above, and run the same command again: what the token signed is kept";
    let _closed = writeln!(std::io::stderr(), "{} {text}", paint("error:", "31"));
    ExitCode::from(BUG)
}

fn error_text(error: &CliError) -> String {
    let mut text = format!("{} {}\n", paint("error:", "31"), clean(&error.to_string()));
    if let (_, Some(hint)) = advice(error) {
        let _infallible = writeln!(text, "{} {}", paint(" hint:", "36"), clean(&hint));
    }
    text
}

fn error_json(error: &CliError) -> String {
    let (code, hint) = advice(error);
    json_text(&json!({ "error": error.to_string(), "hint": hint, "code": code as u8 }))
}

/// JSON that is as harmless on a terminal as [`clean`] text: it need not escape more than the control characters below 0x20.
fn json_text(value: &serde_json::Value) -> String {
    let text = format!("{value:#}\n");
    let escape = |c: char| if is_harmful(c) && c != '\n' { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() };
    text.chars().map(escape).collect()
}

fn paint(text: &str, colour: &str) -> String {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) || !std::io::stderr().is_terminal();
    if plain { text.to_owned() } else { format!("\u{1b}[1;{colour}m{text}\u{1b}[0m") }
}

#[cfg(all(test, feature = "host"))]
mod tests {
    use super::*;
    use crate::config::{ConfigError, ConfigFault};
    use crate::domain::artifact::{BadList, BadText};
    use crate::domain::digest::{GrantId, Sha256};
    use crate::domain::grant::Grant;
    use crate::domain::key::Fingerprint;
    use crate::domain::manifest::{BadManifest, Manifest};
    use crate::domain::name::ArtifactName;
    use crate::domain::release::{BadSums, Sums};
    use crate::domain::time::{Period, Timestamp};
    use crate::ledger::LedgerFault;
    use crate::openpgp::BadSignature;
    use crate::steps::evidence::EvidenceError;

    fn path() -> PathBuf {
        "path".into()
    }

    fn text() -> String {
        "text".to_owned()
    }

    fn at() -> Timestamp {
        "2026-11-22T16:00:00Z".parse().expect("a time")
    }

    fn digest(of: &str) -> Sha256 {
        Sha256::of(of.as_bytes())
    }

    fn id() -> GrantId {
        GrantId::of(b"grant")
    }

    fn key() -> Fingerprint {
        "A1B2C3D4E5F60718293A4B5C6D7E8F9001122334".parse().expect("a fingerprint")
    }

    fn artifact() -> ArtifactName {
        "foo.tar.xz".parse().expect("a name")
    }

    fn builder() -> crate::domain::name::BuilderName {
        "m1".parse().expect("a name")
    }

    fn file_faults() -> Vec<FileError> {
        let io = |kind| FileFault::Io(std::io::Error::from(kind));
        let faults = [
            FileFault::Missing,
            FileFault::Kind { found: "a FIFO", wanted: "a regular file" },
            FileFault::TooLarge { limit: 10 },
            FileFault::TooMany { limit: 10 },
            FileFault::Exists,
            FileFault::Busy,
            io(std::io::ErrorKind::StorageFull),
            io(std::io::ErrorKind::PermissionDenied),
            io(std::io::ErrorKind::TimedOut),
        ];
        faults.into_iter().map(|fault| FileError::new(path(), fault)).collect()
    }

    fn file() -> FileError {
        file_faults().swap_remove(0)
    }

    fn ledger_error() -> LedgerError {
        LedgerError { path: path(), fault: LedgerFault::Entry { index: 3, reason: text() } }
    }

    fn token_errors() -> Vec<TokenError> {
        use TokenError::*;
        let (token, uri, reason) = (text, || "pkcs11:token=release".to_owned(), text);
        let two = || vec!["label `a`".to_owned(), "label `b`".to_owned()];
        vec![
            Module { module: "module.so".into(), reason: reason() },
            NoModule { uri: uri() },
            TokenAbsent { uri: uri(), present: vec![] },
            TokenAmbiguous { uri: uri(), candidates: two() },
            KeyAbsent { token: token(), uri: uri(), present: two() },
            KeyAmbiguous { token: token(), uri: uri(), candidates: two() },
            KeyExists { token: token(), key: "label `r2026`".into() },
            KeyUnsuitable { token: token(), key: "label `r2026`".into(), reason: reason() },
            KeyUnnamed { uri: uri() },
            MechanismUnsupported { token: token(), mechanism: "CKM_EDDSA".into() },
            PinWrong { token: token(), state: PinState::Untouched },
            PinWrong { token: token(), state: PinState::FinalTry },
            PinWrong { token: token(), state: PinState::Locked },
            PinLocked { token: token() },
            FinalTry { token: token() },
            PinNotSet { token: token() },
            Pin { token: token(), source: PinError::Declined },
            SessionLost { token: token(), reason: reason() },
            Busy { token: token(), reason: reason() },
            Unexpected { token: token(), call: "C_Sign", answer: text() },
            File { path: text(), reason: reason() },
        ]
    }

    fn home_errors() -> Vec<HomeError> {
        let config = ConfigFault::UnknownKey { key: "tokn".into(), nearest: "token" };
        vec![
            HomeError::Missing(path()),
            HomeError::Exists(path()),
            HomeError::Open { path: path(), mode: 0o755, wanted: 0o700 },
            HomeError::Owner { path: path(), owner: 1000 },
            HomeError::Busy(path()),
            HomeError::NoSuchGrant(text()),
            HomeError::AmbiguousGrant(text()),
            HomeError::Config(ConfigError { path: path(), fault: config }),
            HomeError::Config(ConfigError { path: path(), fault: ConfigFault::Domain("a b".into()) }),
            HomeError::Config(ConfigError { path: path(), fault: ConfigFault::Malformed { line: 3, reason: text() } }),
            HomeError::Certificate { path: path(), fault: BadCertificate::NotOne(2) },
            HomeError::Grant { path: path(), fault: BadGrant::NoBuilder },
            HomeError::Ledger(ledger_error()),
            HomeError::File(file()),
        ]
    }

    fn key_troubles() -> Vec<KeyTrouble> {
        let (certificate, reason) = (key(), text);
        vec![
            KeyTrouble::Certificate { certificate, reason: reason() },
            KeyTrouble::CertificateExpired { certificate, at: at() },
            KeyTrouble::CertificateRevoked { certificate, reason: reason() },
            KeyTrouble::KeyExpired { key: key(), at: at() },
            KeyTrouble::KeyRevoked { key: key(), reason: reason() },
            KeyTrouble::NotForSigning { key: key() },
            KeyTrouble::NoSuchKey { certificate, key: text() },
        ]
    }

    fn bad_signatures() -> Vec<BadSignature> {
        vec![
            BadSignature::Malformed(text()),
            BadSignature::NotOne("several packets".into()),
            BadSignature::Armoured,
            BadSignature::Unhashed,
            BadSignature::Rewritten,
            BadSignature::Version(6),
            BadSignature::WrongType("Text".into()),
            BadSignature::Hash("SHA1".into()),
            BadSignature::Policy(text()),
            BadSignature::OtherKey { issuer: text(), certificate: key() },
            BadSignature::Key(KeyTrouble::KeyExpired { key: key(), at: at() }),
            BadSignature::Future { created: at() },
            BadSignature::Ends,
            BadSignature::Mismatch("foo.tar.xz".into()),
        ]
    }

    fn evidence_errors() -> Vec<EvidenceError> {
        let bad_name = "../x".parse::<ArtifactName>().expect_err("refused");
        let bad_id = "x".parse::<GrantId>().expect_err("refused");
        let manifests = [
            BadManifest::Text(BadText::CarriageReturn),
            BadManifest::Text(BadText::NoFinalNewline),
            BadManifest::Text(BadText::NotUtf8),
            BadManifest::Header { line: 3, expected: "# builder: ", found: text() },
            BadManifest::Grant(bad_id),
            BadManifest::Entry { line: 7 },
            BadManifest::Name { line: 7, source: bad_name },
            BadManifest::List(BadList::Empty),
            BadManifest::List(BadList::TooMany),
            BadManifest::List(BadList::Unsorted { name: artifact() }),
            BadManifest::List(BadList::Clash { first: "Tool".into(), second: "tool".into() }),
        ];
        let mut errors = vec![
            EvidenceError::BuildKey { builder: builder(), fault: BadCertificate::Secret },
            EvidenceError::Signature(BadSignature::Mismatch("build.manifest".into())),
            EvidenceError::NotABuilder { issuer: text(), builders: vec![(builder(), key())] },
            EvidenceError::OtherGrant { found: id(), expected: GrantId::of(b"other") },
            EvidenceError::OtherBuilder { found: builder(), signer: builder() },
            EvidenceError::OtherBuild { found: "foo 1".into(), expected: "foo 2".into() },
            EvidenceError::NameNotAllowed { name: artifact(), patterns: vec!["`bar*`".into()] },
            EvidenceError::TooMany { count: 3, limit: 2 },
            EvidenceError::Quorum { quorum: 2 },
        ];
        errors.extend(manifests.map(EvidenceError::from));
        errors
    }

    fn build_errors() -> Vec<BuildError> {
        let grant = || id().short();
        let mut errors = vec![
            BuildError::NotIssued(id()),
            BuildError::NotYetValid { grant: grant(), not_before: at() },
            BuildError::Expired { grant: grant(), expires: at() },
            BuildError::OtherReleaseKey { granted: key(), ours: key() },
            BuildError::Closed { grant: grant(), accepted: digest("m"), builder: builder(), at: at() },
            BuildError::Extra { folder: path(), name: "extra\u{1b}[2J".into() },
            BuildError::MissingArtifact { name: artifact(), folder: path() },
            BuildError::Digest { name: artifact(), found: digest("a"), expected: digest("b") },
            BuildError::TooLarge { name: artifact(), limit: 10 },
            BuildError::File(file()),
            BuildError::Output(file()),
            BuildError::IntoItself(path()),
            BuildError::Ledger(ledger_error()),
        ];
        errors.extend(key_troubles().into_iter().map(BuildError::ReleaseKey));
        errors.extend(evidence_errors().into_iter().map(BuildError::Evidence));
        errors
    }

    fn release_errors() -> Vec<ReleaseError> {
        let sums = Sums::parse(b"x").expect_err("refused");
        let mut errors = vec![
            ReleaseError::Missing(text()),
            ReleaseError::Extra(text()),
            ReleaseError::TooLarge { file: text(), limit: 10 },
            ReleaseError::OtherGrant { file: text(), found: None, expected: id() },
            ReleaseError::OtherGrant { file: text(), found: Some(text()), expected: id() },
            ReleaseError::OtherKey { file: text(), found: key(), expected: key() },
            ReleaseError::Sums(sums),
            ReleaseError::Sums(BadSums::Entry { line: 2 }),
            ReleaseError::Sums(BadSums::Path { line: 2, path: "x/y".into() }),
            ReleaseError::Sums(BadSums::Evidence),
            ReleaseError::Digest { file: text(), found: digest("a"), expected: digest("b") },
            ReleaseError::Grant(Grant::parse(b"{}").expect_err("refused")),
            ReleaseError::Evidence { builder: builder(), fault: EvidenceError::Quorum { quorum: 2 } },
            ReleaseError::EvidenceMisplaced { builder: builder() },
            ReleaseError::Quorum { quorum: 2, builders: 1 },
            ReleaseError::NotAttested { builder: builder() },
            ReleaseError::File(file()),
            ReleaseError::Copy(file()),
        ];
        errors.extend(
            bad_signatures().into_iter().map(|fault| ReleaseError::Signature { file: "foo.asc".into(), fault }),
        );
        errors
    }

    fn every_error() -> Vec<CliError> {
        let period: Period = "200y".parse().expect("a period");
        let bad_name = || "a/b".parse::<ArtifactName>().expect_err("refused");
        let uri = "pkcs11:pin-value=1".parse::<crate::token::TokenUri>().expect_err("refused");
        let uri_text = || "pkcs11:token=release".to_owned();
        let manifest = Manifest::parse(include_bytes!("../../tests/data/build.manifest")).expect("the vector");
        assert_eq!(manifest.builder, builder());

        let mut errors: Vec<CliError> = vec![
            CliError::Usage(text()),
            CliError::BuildKeyOpen { path: path(), mode: 0o644 },
            CliError::Credential { name: text(), reason: "$CREDENTIALS_DIRECTORY is not set" },
            CliError::NotAdmitted { refused: 1, all: 3 },
            CliError::DidNotHold { refused: 1, all: 3 },
            CliError::BadGrant { path: path(), fault: BadGrant::NoPattern },
            CliError::Nowhere,
            CliError::NoEntry(9),
            AttestError::Expired { at: at() }.into(),
            AttestError::Key(BadBuildKey::NoSecret(text())).into(),
            AttestError::Name { path: path(), fault: bad_name() }.into(),
            AttestError::NotAllowed { path: path(), patterns: vec!["`foo*`".into()] }.into(),
            AttestError::SecretKey { path: path() }.into(),
            AttestError::OwnFile { path: path() }.into(),
            AttestError::SeveralFolders { first: "a".into(), second: "b".into() }.into(),
            AttestError::List(BadList::Empty).into(),
            AttestError::File(file()).into(),
            AdmitError::Name(bad_name()).into(),
            AdmitError::OtherName { found: text(), expected: "foo-1".into() }.into(),
            AdmitError::Release(ReleaseError::Missing(text())).into(),
            AdmitError::NotAnInbox(path()).into(),
            AdmitError::NotReleases(path()).into(),
            AdmitError::SameFolder(path()).into(),
            AdmitError::Occupied(text()).into(),
            AdmitError::Certificate(KeyTrouble::CertificateExpired { certificate: key(), at: at() }).into(),
            AdmitError::File(file()).into(),
            GrantError::ReleaseKey(KeyTrouble::CertificateExpired { certificate: key(), at: at() }).into(),
            GrantError::Grant(BadGrant::BuilderTwice("m1".into())).into(),
            GrantError::TooLong(period).into(),
            GrantError::Home(HomeError::Busy(path())).into(),
            GrantError::Ledger(ledger_error()).into(),
            GrantError::File(FileError::new(path(), FileFault::Exists)).into(),
            CountersignError::OtherKey { fingerprint: key() }.into(),
            CountersignError::OtherEvidence { before: digest("a"), now: digest("b") }.into(),
            CountersignError::Kept { file: text(), fault: BadSignature::Ends }.into(),
            CountersignError::Sign { file: text(), fault: MakeError::WrongAnswer }.into(),
            CountersignError::Sign { file: text(), fault: MakeError::Invalid(text()) }.into(),
            CountersignError::Sign { file: text(), fault: MakeError::Token(TokenError::PinLocked { token: text() }) }
                .into(),
            CountersignError::Token(TokenError::PinLocked { token: text() }).into(),
            CountersignError::Occupied(path()).into(),
            CountersignError::File(file()).into(),
            CountersignError::Ledger(ledger_error()).into(),
            KeyError::UserId(text()).into(),
            KeyError::NoDomain.into(),
            KeyError::Domain(text()).into(),
            KeyError::TooLong(period).into(),
            KeyError::Trouble(KeyTrouble::NotForSigning { key: key() }).into(),
            KeyError::Trouble(KeyTrouble::CertificateExpired { certificate: key(), at: at() }).into(),
            KeyError::PrimaryElsewhere(key()).into(),
            KeyError::NotOnToken { uri: uri_text(), certificate: key(), keys: vec![text()] }.into(),
            KeyError::Several { uri: uri_text(), certificate: key(), keys: vec![text(), text()] }.into(),
            KeyError::OtherKey(key()).into(),
            KeyError::Make(MakeError::WrongAnswer).into(),
            KeyError::Token(TokenError::PinLocked { token: text() }).into(),
            KeyError::Home(HomeError::Exists(path())).into(),
            KeyError::Ledger(ledger_error()).into(),
            CliError::Uri(uri),
        ];
        let certificates = [
            BadCertificate::Malformed(text()),
            BadCertificate::NotOne(0),
            BadCertificate::Secret,
            BadCertificate::Version,
        ];
        errors.extend(certificates.map(|fault| CliError::Certificate { path: path(), fault }));
        let build_keys = [
            BadBuildKey::Malformed(text()),
            BadBuildKey::Unlabelled("grant"),
            BadBuildKey::Label(text()),
            BadBuildKey::NoSecret(text()),
        ];
        errors.extend(build_keys.map(|fault| CliError::BuildKey { path: path(), fault }));
        errors.extend(release_errors().into_iter().map(CliError::from));
        errors.extend(build_errors().into_iter().map(CliError::from));
        errors.extend(token_errors().into_iter().map(CliError::from));
        let pins = [
            PinError::Source,
            PinError::Unreadable { from: text(), reason: text() },
            PinError::TooOpen { path: text(), mode: 0o644 },
            PinError::Empty { from: text() },
            PinError::Malformed { from: text(), reason: "it has a control character" },
            PinError::NoCredentials { name: text() },
        ];
        errors.extend(pins.map(|source| TokenError::Pin { token: text(), source }.into()));
        errors.extend(home_errors().into_iter().map(CliError::from));
        errors.extend(file_faults().into_iter().map(CliError::from));
        errors
    }

    #[test]
    fn every_error_says_what_happened_and_what_to_do_next() {
        let rendered: String =
            every_error().iter().map(|error| format!("[{}]\n{}\n", advice(error).0 as u8, error_text(error))).collect();
        insta::assert_snapshot!(rendered);
    }

    #[test]
    fn errors_are_lower_case_without_a_full_stop_and_name_nothing_twice() {
        for error in every_error() {
            let text = error.to_string();
            assert!(!text.ends_with('.'), "{text}");
            let first = text.chars().next().expect("not empty");
            assert!(
                !first.is_uppercase() || ["SHA256SUMS", "PKCS#11"].iter().any(|name| text.starts_with(name)),
                "{text}"
            );
        }
    }

    #[test]
    fn json_is_as_harmless_as_prose() {
        let value = json!({ "name": "a\u{1b}\u{7f}\u{9b}\u{202e}" });
        let text = json_text(&value);
        assert!(!text.trim_end().lines().any(|line| line.chars().any(is_harmful)), "{text}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).expect("JSON"), value);
    }
}
