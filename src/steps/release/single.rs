//! The check of one file of a release, by the signature beside it alone.

use std::path::Path;

use super::error::ReleaseError;
use super::verify::check_form;
use crate::domain::digest::Sha256;
use crate::domain::release::{LARGEST_SIGNATURE, LARGEST_SUMS, Sums};
use crate::domain::reserved::SUMS;
use crate::domain::signing::Coverage;
use crate::domain::time::Timestamp;
use crate::files::{FileError, InputFile};
use crate::formats::signature_name;
use crate::openpgp::{Certificate, DetachedSignature, HashState, Signed};
use crate::steps::Progress;

/// Checks one file with the signature beside it; returns its digest too.
pub fn verify_file(
    path: &Path,
    certificate: &Certificate,
    now: Timestamp,
    progress: &mut dyn Progress,
) -> Result<(Signed, Sha256), ReleaseError> {
    let name = path.to_string_lossy().into_owned();
    let file = signature_name(&name);
    let content = InputFile::open_named(path).map_err(of(&name))?;
    let bytes =
        InputFile::open_named(Path::new(&file)).map_err(|error| match of(&file)(error) {
            ReleaseError::Missing(file) if list_beside_claims_to_cover(path) => {
                ReleaseError::ListOnly(file)
            }
            other => other,
        })?;
    let bytes = bytes.read_whole(LARGEST_SIGNATURE).map_err(of(&file))?;
    let signature =
        DetachedSignature::parse_release(&bytes).map_err(ReleaseError::signature(&file))?;
    let mut state = HashState::new(signature.hash());
    let mut coverage = None;
    if path.file_name() == Some(SUMS.as_ref()) {
        // A list that claims to be signed alone: whether its signature was made for that, as in
        // its release.
        let list = content.read_whole(LARGEST_SUMS).map_err(of(&name))?;
        state.update(&list);
        coverage = Some(if Sums::claims_list_only(&list) {
            Coverage::ListOnly
        } else {
            Coverage::Each
        });
    } else {
        progress.file(&name, content.size());
        let read = content.read_once::<FileError>(u64::MAX, |piece| {
            state.update(piece);
            progress.read(piece.len() as u64);
            Ok(())
        });
        read.map_err(of(&name))?;
    }
    let signed = signature
        .check(certificate, &state, &name, now)
        .map_err(ReleaseError::signature(&file))?;
    if let Some(coverage) = coverage {
        check_form(&signed, coverage, &file)?;
    }
    Ok((signed, state.sha256()))
}

fn of(name: &str) -> impl Fn(FileError) -> ReleaseError {
    let wrap = ReleaseError::file(name);
    move |error| wrap(error.into())
}

/// Whether the list beside a file claims to be signed alone. This decides nothing but what to do
/// next.
fn list_beside_claims_to_cover(path: &Path) -> bool {
    let list = InputFile::open_named(&path.with_file_name(SUMS))
        .and_then(|file| file.read_whole(LARGEST_SUMS));
    list.is_ok_and(|bytes| Sums::claims_list_only(&bytes))
}
