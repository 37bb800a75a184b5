//! The files of a release, each read once, and copied from that read where the release is
//! published.

use std::io::{Read, Write};

use super::error::ReleaseError;
use crate::domain::contents::LARGEST_CONTENTS;
use crate::domain::digest::Sha256;
use crate::domain::release::{LARGEST_EVIDENCE, LARGEST_SIGNATURE, LARGEST_SUMS};
use crate::domain::reserved::{EVIDENCE, RELEASE, SUMS};
use crate::files::BUFFER;
use crate::formats::signature_name;
use crate::location::{Fault, Source, Stage};
use crate::openpgp::{DetachedSignature, HashState};
use crate::steps::Progress;

/// Maximum size of all that a verifier has in memory, in bytes.
const LARGEST_IN_MEMORY: u64 = LARGEST_SUMS + LARGEST_CONTENTS + LARGEST_EVIDENCE;

/// Reads what a verifier has in memory: everything but the artifacts and their signatures.
pub(super) struct Reader<'a> {
    source: &'a dyn Source,
    /// What was read, and may be copied once all of it was verified.
    read: Vec<(String, Vec<u8>)>,
    /// How many bytes more there may be.
    left: u64,
}

impl<'a> Reader<'a> {
    pub(super) fn of(source: &'a dyn Source) -> Self {
        Self {
            source,
            read: Vec::new(),
            left: LARGEST_IN_MEMORY,
        }
    }

    /// The list with its signature, which is parsed first: nothing of a list without one is read.
    /// Whose signature it is, the bytes of the list show, of which there are at most
    /// [`LARGEST_SUMS`].
    pub(super) fn list(&mut self) -> Result<(Vec<u8>, DetachedSignature, String), ReleaseError> {
        let source = self.source;
        let list = source.open(SUMS, LARGEST_SUMS);
        let (_, mut list) = list.map_err(ReleaseError::file(SUMS))?;
        let (bytes, signature, file) = signature(source, SUMS)?;
        let mut sums = Vec::new();
        list.read_to_end(&mut sums)
            .map_err(|error| ReleaseError::source(error.into()))?;
        self.keep(SUMS, sums.clone())?;
        self.keep(&file, bytes)?;
        Ok((sums, signature, file))
    }

    /// A file of the evidence, whose digest is in the list.
    pub(super) fn listed(
        &mut self,
        name: &str,
        limit: u64,
        expected: Sha256,
    ) -> Result<Vec<u8>, ReleaseError> {
        let bytes = self.source.read(name, limit);
        let bytes = bytes.map_err(ReleaseError::file(name))?;
        check_digest(name, Sha256::of(&bytes), expected)?;
        self.keep(name, bytes.clone())?;
        Ok(bytes)
    }

    fn keep(&mut self, name: &str, bytes: Vec<u8>) -> Result<(), ReleaseError> {
        let left = self.left.checked_sub(bytes.len() as u64);
        self.left = left.ok_or_else(|| {
            ReleaseError::Content(format!(
                "the evidence has more than {LARGEST_EVIDENCE} bytes together"
            ))
        })?;
        self.read.push((name.to_owned(), bytes));
        Ok(())
    }

    /// Copies what was read.
    pub(super) fn copy(&self, to: &dyn Stage) -> Result<(), ReleaseError> {
        self.read
            .iter()
            .try_for_each(|(name, bytes)| write(to, name, bytes))
    }
}

/// The signature of a file: its bytes, what they mean, and the name of its own.
pub(super) fn signature(
    source: &dyn Source,
    name: &str,
) -> Result<(Vec<u8>, DetachedSignature, String), ReleaseError> {
    let file = signature_name(name);
    let bytes = source.read(&file, LARGEST_SIGNATURE);
    let bytes = bytes.map_err(ReleaseError::file(&file))?;
    let signature = DetachedSignature::parse_release(&bytes);
    let signature = signature.map_err(ReleaseError::signature(&file))?;
    Ok((bytes, signature, file))
}

/// Writes a file whole.
pub(super) fn write(to: &dyn Stage, name: &str, bytes: &[u8]) -> Result<(), ReleaseError> {
    let mut file = to.file(name).map_err(ReleaseError::Stage)?;
    file.write_all(bytes)
        .and_then(|()| file.flush())
        .map_err(not_copied)
}

/// Reads an artifact of this size into a hash state, and into the copy in the same read. If it has
/// another size, nothing of it is copied; if it grows meanwhile, nothing behind its size.
pub(super) fn hash(
    source: &dyn Source,
    copy: Option<&dyn Stage>,
    name: &str,
    size: u64,
    state: &mut HashState,
    progress: &mut dyn Progress,
) -> Result<(), ReleaseError> {
    let opened = source.open(name, size);
    let (found, mut file) = opened.map_err(ReleaseError::file(name))?;
    if found != size {
        return Err(ReleaseError::Content(format!(
            "`{name}` has {found} bytes, but `{EVIDENCE}/{RELEASE}` lists {size}"
        )));
    }
    progress.file(name, size);
    let mut copy_of = None;
    let mut buffer = vec![0; BUFFER];
    loop {
        let count = file.read(&mut buffer);
        let count = count.map_err(|error| ReleaseError::source(Fault::from(error)))?;
        if let (None, Some(copy)) = (&copy_of, copy) {
            copy_of = Some(copy.file(name).map_err(ReleaseError::Stage)?);
        }
        if count == 0 {
            break;
        }
        let piece = &buffer[..count];
        state.update(piece);
        progress.read(count as u64);
        if let Some(copy) = &mut copy_of {
            copy.write_all(piece).map_err(not_copied)?;
        }
    }
    if let Some(mut copy) = copy_of {
        copy.flush().map_err(not_copied)?;
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Every file has a MiB of zeros.
    struct Zeros;

    impl Source for Zeros {
        fn open(&self, _: &str, limit: u64) -> Result<(u64, Box<dyn Read + '_>), Fault> {
            let size = 1 << 20;
            assert!(size <= limit, "{limit}");
            Ok((size, Box::new(std::io::repeat(0).take(size))))
        }

        fn names(&self, _: usize) -> Result<Option<Vec<String>>, Fault> {
            Ok(None)
        }

        fn shown(&self) -> String {
            String::new()
        }
    }

    #[test]
    fn no_more_evidence_is_read_than_fits_into_the_memory_for_it() {
        let mut reader = Reader::of(&Zeros);
        let digest = Sha256::of(&vec![0; 1 << 20]);
        let mut read = |number| reader.listed(&format!("evidence/{number}"), 1 << 20, digest);
        let most = LARGEST_IN_MEMORY >> 20;
        for number in 0..most {
            read(number).expect("read");
        }
        let error = read(most).expect_err("one more").to_string();
        assert!(error.contains("more than 67108864 bytes"), "{error}");
    }
}
