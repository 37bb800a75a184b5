//! The check of one file of a release, by the signature beside it alone.

use std::path::Path;

use super::error::ReleaseError;
use super::policy::Verifier;
use super::verify::check_role;
use super::wanted::Wanted;
use crate::domain::contents::{Contents, LARGEST_CONTENTS};
use crate::domain::digest::Sha256;
use crate::domain::release::LARGEST_SIGNATURE;
use crate::domain::reserved::{EVIDENCE, RELEASE, RELEASE_SIGNATURE};
use crate::domain::signing::{Claims, ReleaseForm};
use crate::files::{FileError, InputFile, with_suffix};
use crate::openpgp::{DetachedSignature, HashState, Signed};
use crate::steps::Progress;

/// A file with a good signature of its own.
#[derive(Debug)]
pub struct VerifiedFile {
    /// Who signed it, and when.
    pub signed: Signed,
    /// What the signature says.
    pub claims: Claims,
    /// The SHA-256 of its bytes.
    pub digest: Sha256,
}

/// Checks one file with the signature beside it, which must say that it is this file of a wanted
/// release. Whether it comes with a `proof` from the log, the policy asks.
pub fn verify_file(
    path: &Path,
    verifier: &Verifier<'_>,
    wanted: &Wanted,
    proof: bool,
    progress: &mut dyn Progress,
) -> Result<VerifiedFile, ReleaseError> {
    let name = path.to_string_lossy().into_owned();
    let beside = with_suffix(path, RELEASE_SIGNATURE);
    let file = beside.to_string_lossy();
    let content = InputFile::open_named(path).map_err(of(&name))?;
    let bytes = InputFile::open_named(&beside).map_err(|error| match of(&file)(error) {
        ReleaseError::Missing(file) if is_of_release_with_signed_list_only(path) => {
            ReleaseError::ListOnly(file)
        }
        other => other,
    })?;
    let bytes = bytes.read_whole(LARGEST_SIGNATURE).map_err(of(&file))?;
    let signature =
        DetachedSignature::parse_release(&bytes).map_err(ReleaseError::signature(&file))?;
    let mut state = HashState::new(signature.hash());
    progress.file(&name, content.size());
    let read = content.read_once::<FileError>(u64::MAX, |piece| {
        state.update(piece);
        progress.read(piece.len() as u64);
        Ok(())
    });
    read.map_err(of(&name))?;
    let signed = signature
        .check(verifier.certificate, &state, &name, verifier.now)
        .map_err(ReleaseError::signature(&file))?;
    let claims = signed.claims().map_err(ReleaseError::other(&file))?;
    let own_name = path.file_name().unwrap_or_default().to_string_lossy();
    check_role(&claims, &own_name, &file)?;
    wanted.check_file(&claims)?;
    verifier.policy.judge_file(&claims, proof)?;
    Ok(VerifiedFile {
        signed,
        claims,
        digest: state.sha256(),
    })
}

fn of(name: &str) -> impl Fn(FileError) -> ReleaseError {
    let wrap = ReleaseError::file(name);
    move |error| wrap(error.into())
}

/// Whether the evidence beside a file says that it is of such a release. Nothing follows from that
/// but what to do next.
fn is_of_release_with_signed_list_only(path: &Path) -> bool {
    let beside = path.with_file_name(EVIDENCE).join(RELEASE);
    let bytes = InputFile::open_named(&beside).and_then(|file| file.read_whole(LARGEST_CONTENTS));
    let contents = bytes.ok().and_then(|bytes| Contents::parse(&bytes).ok());
    contents.is_some_and(|contents| contents.form == ReleaseForm::ListOnly)
}
