//! The journal of a signing run: the signatures that the token made, until their release is
//! complete.

use std::fs;
use std::path::PathBuf;

use rusqlite::{OptionalExtension, params};

use super::append::find_by;
use super::error::LedgerError;
use super::store::{Ledger, Result};
use crate::domain::digest::Sha256;
use crate::files;

/// Space on the disk for one signature and what is logged after it, in bytes.
const RESERVE: usize = 256 << 10;

impl Ledger {
    /// Reserves space for a signature, before the token is asked for one: if the disk is full, this
    /// fails rather than keeping the signature.
    pub fn reserve(&self) -> Result<()> {
        let path = self.reserve_path();
        if path
            .metadata()
            .is_ok_and(|status| status.len() == RESERVE as u64)
        {
            return Ok(());
        }
        files::replace(&path, &vec![0x55; RESERVE], 0o600).map_err(|error| {
            LedgerError::Unusable(format!("there is no room for a signature: {error}"))
        })
    }

    /// Keeps a signature that the token made and that was verified; in the reserved space, if there
    /// is no other.
    pub fn keep_signature(&mut self, intent: u64, file: &str, signature: &str) -> Result<()> {
        let reserve = self.reserve_path();
        let mut keep = || {
            self.transact(|Self { database, .. }| {
                let mut insert = database.prepare_cached(
                    "INSERT INTO signatures (intent, file, signature) VALUES (?1, ?2, ?3)",
                )?;
                insert.execute(params![intent, file, signature])?;
                find_by(database, Sha256::of(signature.as_bytes()), intent)
            })
        };
        keep().or_else(|error| {
            fs::remove_file(&reserve).map_err(|_| error)?;
            keep()
        })
    }

    fn reserve_path(&self) -> PathBuf {
        self.path.with_extension("reserve")
    }

    /// The signature kept for a file of the run that `intent` began.
    pub fn signature(&self, intent: u64, file: &str) -> Result<Option<String>> {
        let query = "SELECT signature FROM signatures WHERE intent = ?1 AND file = ?2";
        let mut query = self.database.prepare_cached(query)?;
        Ok(query
            .query_row(params![intent, file], |row| row.get(0))
            .optional()?)
    }

    /// How many signatures are kept of the run that `intent` began.
    pub fn signatures(&self, intent: u64) -> Result<u64> {
        let query = "SELECT count(*) FROM signatures WHERE intent = ?1";
        Ok(self.database.query_row(query, [intent], |row| row.get(0))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_kept_once_and_found_by_its_run_and_file() {
        let (_folder, mut ledger) = Ledger::example();
        ledger.keep_signature(1, "file", "signature").expect("kept");
        assert!(
            ledger.keep_signature(1, "file", "another").is_err(),
            "a signature is kept once"
        );
        assert_eq!(
            ledger.signature(1, "file").expect("asked").as_deref(),
            Some("signature")
        );
        assert_eq!(ledger.signature(1, "other").expect("asked"), None);
        assert_eq!(
            (
                ledger.signatures(1).expect("asked"),
                ledger.signatures(0).expect("asked")
            ),
            (1, 0)
        );
        assert_eq!(
            ledger.covering(Sha256::of(b"signature")).expect("asked"),
            [1]
        );
        assert_eq!(
            ledger.covering(Sha256::of(b"another")).expect("asked"),
            [0; 0]
        );
    }
}
