//! A key in a file, for tests: PKCS#8 PEM, Ed25519, no PIN.
//!
//! `PATH.count` contains in decimal how often it signed, so that a test can assert that a token was
//! *not* used. It protects nothing: anyone who can read the file has the key.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _};
use ed25519_dalek::{Signer as _, SigningKey};
use rustix::fs::OFlags;
use zeroize::Zeroizing;

use super::{
    FoundKey, Interaction, LockedToken, PinState, Token, TokenDescription, TokenError, TokenUri,
};
use crate::domain::key::{KeyKind, PublicKey, RawSignature};
use crate::domain::signing::Message;

/// The maximum length of the file, in bytes.
const LONGEST: u64 = 4096;

struct FileToken {
    path: PathBuf,
    key: SigningKey,
    public: PublicKey,
    description: TokenDescription,
}

/// The key in the file at `path`.
pub(super) fn find(path: &Path) -> Result<Box<dyn LockedToken>, TokenError> {
    read(path).map(|token| Box::new(token) as Box<dyn LockedToken>)
}

/// The one key in a file.
pub(super) fn list_keys(path: &Path) -> Result<Vec<FoundKey>, TokenError> {
    let FileToken {
        description,
        public,
        ..
    } = read(path)?;
    Ok(vec![FoundKey {
        label: description.label.clone(),
        id: Vec::new(),
        public: Ok(public),
        token: description,
    }])
}

/// Generates a key in a new file.
pub(super) fn generate(path: &Path, kind: KeyKind) -> Result<Box<dyn Token>, TokenError> {
    if kind != KeyKind::Ed25519 {
        return Err(refused(path)(format!(
            "a file can contain an ed25519 key only, not {kind}"
        )));
    }
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *seed).map_err(|error| refused(path)(error.to_string()))?;
    let pem = SigningKey::from_bytes(&seed).to_pkcs8_pem(LineEnding::LF);
    let pem = pem.expect("an Ed25519 key has a PKCS#8 form");
    let aside =
        written_aside(path, pem.as_bytes()).map_err(|error| refused(path)(error.to_string()))?;
    match aside.persist_noclobber(path) {
        Ok(_) => Ok(Box::new(read(path)?)),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
            Err(TokenError::KeyExists {
                token: "file".to_owned(),
                key: format!("`{}`", path.display()),
                alternative: "name another file in the token URI, or with `init` leave \
                              `--generate` out to use that key",
            })
        }
        Err(error) => Err(refused(path)(error.error.to_string())),
    }
}

impl LockedToken for FileToken {
    fn public(&self) -> Option<&PublicKey> {
        Some(&self.public)
    }

    fn description(&self) -> &TokenDescription {
        &self.description
    }

    fn unlock(self: Box<Self>, _: &mut dyn Interaction) -> Result<Box<dyn Token>, TokenError> {
        Ok(self)
    }
}

impl Token for FileToken {
    fn public(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&mut self, message: &Message<'_>) -> Result<RawSignature, TokenError> {
        let digest = message.digest();
        let signature = self.key.sign(&digest.bytes);
        // A signature that cannot be counted is not returned.
        self.count()
            .map_err(|error| refused(&self.counter())(error.to_string()))?;
        Ok(RawSignature::Ed25519(signature.to_bytes()))
    }
}

impl FileToken {
    fn counter(&self) -> PathBuf {
        let mut name = OsString::from(&self.path);
        name.push(".count");
        name.into()
    }

    fn count(&self) -> io::Result<()> {
        let counter = self.counter();
        let count: u64 = match fs::read_to_string(&counter) {
            Ok(text) => text.trim_end().parse().map_err(io::Error::other)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        written_aside(&counter, format!("{}\n", count + 1).as_bytes())?.persist(&counter)?;
        Ok(())
    }
}

fn read(path: &Path) -> Result<FileToken, TokenError> {
    let refused = refused(path);
    let pem = Zeroizing::new(content(path).map_err(|error| refused(error.to_string()))?);
    // The decoder's own message could reveal part of the key.
    let key = SigningKey::from_pkcs8_pem(&pem)
        .map_err(|_| refused("it is not an Ed25519 key in PKCS#8 PEM".to_owned()))?;
    let public = key.verifying_key().to_bytes();
    let description = TokenDescription {
        uri: TokenUri::File(path.to_owned()),
        label: path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
        manufacturer: "countersign".to_owned(),
        model: "file".to_owned(),
        serial: hex::encode(&public[..8]),
        pin: PinState::NotNeeded,
        card: None,
    };
    Ok(FileToken {
        path: path.to_owned(),
        key,
        public: PublicKey::Ed25519(public),
        description,
    })
}

fn content(path: &Path) -> io::Result<String> {
    // Without NONBLOCK, opening a pipe would wait for its writer.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let flags = i32::try_from(flags.bits()).expect("open flags are those of open(2), an int");
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(io::Error::other(format!(
            "it has mode {mode:04o}, which lets others than its owner use it"
        )));
    }
    if metadata.len() > LONGEST {
        return Err(io::Error::other(format!(
            "it is longer than {LONGEST} bytes"
        )));
    }
    let mut text = String::with_capacity(usize::try_from(LONGEST).expect("4096 is a length"));
    file.take(LONGEST).read_to_string(&mut text)?;
    Ok(text)
}

/// `content` in a file of mode 0600 beside `path`, to be renamed.
fn written_aside(path: &Path, content: &[u8]) -> io::Result<tempfile::NamedTempFile> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let mut aside = tempfile::NamedTempFile::new_in(folder)?;
    aside.write_all(content)?;
    aside.as_file().sync_all()?;
    Ok(aside)
}

fn refused(path: &Path) -> impl Fn(String) -> TokenError {
    let path = path.display().to_string();
    move |reason| TokenError::File {
        path: path.clone(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use ed25519_dalek::{Signature, VerifyingKey};

    use super::*;
    use crate::domain::key::{HashAlgorithm, MessageDigest};
    use crate::domain::signing::Statement;
    use crate::domain::time::Timestamp;
    use crate::token::PinRequest;

    struct Nobody;

    impl Interaction for Nobody {
        fn pin(&mut self, _: &PinRequest) -> Option<secrecy::SecretString> {
            panic!("a file needs no PIN")
        }

        fn final_try(&mut self, _: &PinRequest) -> Option<bool> {
            panic!("a file needs no PIN")
        }
    }

    #[test]
    fn a_key_signs_and_its_signatures_are_counted() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key.pem");
        assert!(generate(&path, KeyKind::Ed25519).is_ok());

        let locked = find(&path).expect("the key");
        let Some(&PublicKey::Ed25519(public)) = locked.public() else {
            panic!("no Ed25519 key")
        };
        let mut token = locked.unlock(&mut Nobody).expect("no PIN");
        let counter = folder.path().join("key.pem.count");
        assert!(!counter.exists());

        let statement = Statement::self_test(
            Timestamp::from_unix(0),
            HashAlgorithm::Sha256,
            "example.org",
        );
        let message = statement.composed(MessageDigest {
            algorithm: HashAlgorithm::Sha256,
            bytes: vec![7; 32],
        });
        for count in ["1\n", "2\n"] {
            let Ok(RawSignature::Ed25519(signature)) = token.sign(&message) else {
                panic!("no signature")
            };
            let verifier = VerifyingKey::from_bytes(&public).expect("a point");
            verifier
                .verify_strict(&message.digest().bytes, &Signature::from_bytes(&signature))
                .expect("a good signature");
            assert_eq!(fs::read_to_string(&counter).expect("the counter"), count);
        }

        fs::write(&counter, "many").expect("a spoilt counter");
        assert!(token.sign(&message).is_err());
    }

    #[test]
    fn an_existing_file_is_not_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key.pem");
        fs::write(&path, "precious").expect("a file");
        assert!(matches!(
            generate(&path, KeyKind::Ed25519),
            Err(TokenError::KeyExists { .. })
        ));
        assert_eq!(fs::read_to_string(&path).expect("the file"), "precious");
        assert!(matches!(
            generate(&path, KeyKind::P256),
            Err(TokenError::File { .. })
        ));
        assert_eq!(fs::read_dir(folder.path()).expect("the folder").count(), 1);
    }

    #[test]
    fn a_file_that_is_not_a_private_key_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key.pem");
        let reason = || match find(&path) {
            Err(TokenError::File { reason, .. }) => reason,
            _ => panic!("the file was taken"),
        };
        assert!(reason().contains("No such file"));

        assert!(generate(&path, KeyKind::Ed25519).is_ok());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("its mode");
        assert!(reason().contains("mode 0640"));

        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("its mode");
        fs::write(
            &path,
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        )
        .expect("a spoilt key");
        assert_eq!(reason(), "it is not an Ed25519 key in PKCS#8 PEM");
        fs::write(&path, "A".repeat(5000)).expect("a long file");
        assert!(reason().contains("longer than 4096 bytes"));

        fs::remove_file(&path).expect("the file gone");
        fs::create_dir(&path).expect("a folder in its place");
        assert!(reason().contains("not a regular file"));
    }
}
