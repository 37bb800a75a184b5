//! The check of the statement that a release is withdrawn, with the release certificate alone.

use super::error::ReleaseError;
use super::reader;
use crate::domain::digest::Sha256;
use crate::domain::release::folder_name;
use crate::domain::reserved::{WITHDRAWAL, WITHDRAWN};
use crate::domain::signing::{Claims, SignedFile};
use crate::domain::time::Timestamp;
use crate::domain::withdrawal::{LARGEST_WITHDRAWAL, Withdrawal};
use crate::formats::signature_name;
use crate::location::{Source, Stage};
use crate::openpgp::{Certificate, DetachedSignature, HashState, Signed};

/// A statement with a good signature by the release key.
#[derive(Debug)]
pub struct Withdrawn {
    /// What it says.
    pub withdrawal: Withdrawal,
    /// Who signed it, and when.
    pub signed: Signed,
    /// SHA-256 of its bytes.
    pub digest: Sha256,
    text: Vec<u8>,
    signature: Vec<u8>,
}

impl Withdrawn {
    /// Reads the folder of a statement, which has nothing else in it.
    pub fn read(
        source: &dyn Source,
        certificate: &Certificate,
        now: Timestamp,
    ) -> Result<Self, ReleaseError> {
        let text = source.read(WITHDRAWAL, LARGEST_WITHDRAWAL);
        let text = text.map_err(ReleaseError::file(WITHDRAWAL))?;
        let (signature, _, file) = reader::signature(source, WITHDRAWAL)?;
        let withdrawn = Self::check(text, signature, certificate, now)?;
        let wanted = [WITHDRAWAL.to_owned(), file];
        let names = source.names(wanted.len() + 1);
        let names = names.map_err(ReleaseError::source)?;
        if names.is_some_and(|names| names == wanted) {
            Ok(withdrawn)
        } else {
            let text = format!(
                "a withdrawal is `{}` and `{}`, nothing else",
                wanted[0], wanted[1]
            );
            Err(ReleaseError::Content(text))
        }
    }

    /// Checks a statement, whose signature is in the form of a release's.
    pub fn check(
        text: Vec<u8>,
        signature: Vec<u8>,
        certificate: &Certificate,
        now: Timestamp,
    ) -> Result<Self, ReleaseError> {
        let file = signature_name(WITHDRAWAL);
        let parsed = DetachedSignature::parse_release(&signature);
        let parsed = parsed.map_err(ReleaseError::signature(&file))?;
        let state = HashState::of(&text, parsed.hash());
        let signed = parsed
            .check(certificate, &state, WITHDRAWAL, now)
            .map_err(ReleaseError::signature(&file))?;
        let claims = signed.claims().map_err(ReleaseError::other(&file))?;
        let is = |expected: &Claims| claims.check(expected).map_err(ReleaseError::other(&file));
        let expected = Claims {
            file: SignedFile::Withdrawal,
            ..claims.clone()
        };
        is(&expected)?;
        let withdrawal = Withdrawal::parse(&text)
            .map_err(|error| ReleaseError::Content(format!("`{WITHDRAWAL}`: {error}")))?;
        is(&Claims {
            project: withdrawal.project.clone(),
            version: withdrawal.version.clone(),
            grant: withdrawal.grant,
            ..expected
        })?;
        Ok(Self {
            withdrawal,
            signed,
            digest: Sha256::of(&text),
            text,
            signature,
        })
    }

    /// The name of the folder of the release.
    pub fn release(&self) -> String {
        folder_name(&self.withdrawal.project, &self.withdrawal.version)
    }

    /// The name of the folder of the statement.
    pub fn folder(&self) -> String {
        format!("{}{WITHDRAWN}", self.release())
    }

    /// Its files.
    pub fn files(&self) -> [(String, &[u8]); 2] {
        let text = (WITHDRAWAL.to_owned(), &self.text[..]);
        [text, (signature_name(WITHDRAWAL), &self.signature)]
    }

    /// Writes its files.
    pub fn copy(&self, to: &dyn Stage) -> Result<(), ReleaseError> {
        let mut files = self.files().into_iter();
        files.try_for_each(|(name, bytes)| reader::write(to, &name, bytes))
    }

    /// Why the release, or a file of it, is refused.
    pub fn refusal(&self) -> ReleaseError {
        let Withdrawal {
            project, version, ..
        } = &self.withdrawal;
        ReleaseError::Withdrawn {
            release: format!("{project} {version}"),
            at: self.signed.created,
            reason: self.withdrawal.reason().to_owned(),
        }
    }
}
