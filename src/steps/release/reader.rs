//! The files of a release, each read once, and copied in that read where the release is published.

use std::io::{Read, Write};

use super::error::ReleaseError;
use crate::domain::digest::Sha256;
use crate::domain::release::LARGEST_SIGNATURE;
use crate::files::BUFFER;
use crate::formats::signature_name;
use crate::location::{Fault, Source, Stage};
use crate::openpgp::{DetachedSignature, HashState};
use crate::steps::Progress;

#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    pub(super) source: &'a dyn Source,
    pub(super) copy: Option<&'a dyn Stage>,
}

impl Reader<'_> {
    pub(super) fn read(&self, name: &str, limit: u64) -> Result<Vec<u8>, ReleaseError> {
        let bytes = self.source.read(name, limit);
        let bytes = bytes.map_err(ReleaseError::file(name))?;
        self.keep(name, &bytes)?;
        Ok(bytes)
    }

    /// The signature of a file, with the name of its own.
    pub(super) fn signature(
        &self,
        name: &str,
    ) -> Result<(DetachedSignature, String), ReleaseError> {
        let file = signature_name(name);
        let bytes = self.read(&file, LARGEST_SIGNATURE)?;
        let signature = DetachedSignature::parse_release(&bytes);
        Ok((signature.map_err(ReleaseError::signature(&file))?, file))
    }

    /// A file of the evidence, whose digest is in the list.
    pub(super) fn read_listed(
        &self,
        name: &str,
        limit: u64,
        expected: Sha256,
    ) -> Result<Vec<u8>, ReleaseError> {
        let bytes = self.source.read(name, limit);
        let bytes = bytes.map_err(ReleaseError::file(name))?;
        check_digest(name, Sha256::of(&bytes), expected)?;
        self.keep(name, &bytes)?;
        Ok(bytes)
    }

    /// Reads a file into a hash state; returns its size.
    pub(super) fn hash(
        &self,
        name: &str,
        limit: u64,
        state: &mut HashState,
        progress: &mut dyn Progress,
    ) -> Result<u64, ReleaseError> {
        let opened = self.source.open(name, limit);
        let (size, mut file) = opened.map_err(ReleaseError::file(name))?;
        let mut copy = self
            .copy
            .map(|copy| copy.file(name))
            .transpose()
            .map_err(ReleaseError::Stage)?;
        progress.file(name, size);
        let mut buffer = vec![0; BUFFER];
        let mut total = 0;
        loop {
            let count = file.read(&mut buffer);
            let count = count.map_err(|error| ReleaseError::source(Fault::from(error)))?;
            if count == 0 {
                break;
            }
            let piece = &buffer[..count];
            state.update(piece);
            progress.read(count as u64);
            if let Some(copy) = &mut copy {
                copy.write_all(piece).map_err(not_copied)?;
            }
            total += count as u64;
        }
        if let Some(mut copy) = copy {
            copy.flush().map_err(not_copied)?;
        }
        Ok(total)
    }

    fn keep(&self, name: &str, bytes: &[u8]) -> Result<(), ReleaseError> {
        let Some(copy) = self.copy else {
            return Ok(());
        };
        let mut file = copy.file(name).map_err(ReleaseError::Stage)?;
        file.write_all(bytes)
            .and_then(|()| file.flush())
            .map_err(not_copied)
    }
}

fn not_copied(error: std::io::Error) -> ReleaseError {
    ReleaseError::Stage(error.into())
}

pub(super) fn check_digest(
    name: &str,
    found: Sha256,
    expected: Sha256,
) -> Result<(), ReleaseError> {
    if found == expected {
        return Ok(());
    }
    Err(ReleaseError::Content(format!(
        "`{name}` has SHA-256 {found}, but SHA256SUMS lists {expected}"
    )))
}
