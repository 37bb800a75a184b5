//! The grants that a home keeps, and their approvals.

use std::path::PathBuf;

use super::error::HomeError;
use super::folder::{Home, read_if_there};
use crate::domain::digest::GrantId;
use crate::domain::grant::{Grant, LARGEST_GRANT};
use crate::domain::release::LARGEST_SIGNATURE;
use crate::files::{Folder, InputFile, make_private, replace, write_new};

pub(super) const GRANTS: &str = "grants";
const APPROVALS: &str = "approvals";

impl Home {
    /// Keeps a copy of a grant.
    pub fn keep_grant(&self, grant: &Grant) -> Result<(), HomeError> {
        Ok(write_new(
            &self.grant_path(grant.id()),
            grant.bytes(),
            0o600,
        )?)
    }

    /// The id of the kept grant whose id is this, or begins with it (at least eight hexadecimal
    /// digits).
    pub fn grant_id(&self, id: &str) -> Result<GrantId, HomeError> {
        let missing = || missing(&id.chars().take(80).collect::<String>());
        let digits = id.strip_prefix("sha256:").unwrap_or(id);
        if digits.len() < 8
            || !digits
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        {
            return Err(missing());
        }
        if let Ok(whole) = format!("sha256:{digits}").parse() {
            return if self.grant_path(whole).exists() {
                Ok(whole)
            } else {
                Err(missing())
            };
        }
        let names = Folder::open(&self.path.join(GRANTS))?.names(usize::MAX)?;
        let mut fitting = names
            .iter()
            .filter_map(|name| name.to_str()?.strip_suffix(".json"))
            .filter(|name| name.starts_with(digits))
            .filter_map(|hex| format!("sha256:{hex}").parse().ok());
        match (fitting.next(), fitting.next()) {
            (Some(one), None) => Ok(one),
            (None, _) => Err(missing()),
            (Some(_), Some(_)) => Err(HomeError::NoSuchGrant(format!(
                "several grants have an id that begins with `{digits}`"
            ))),
        }
    }

    /// The kept grant with this id.
    pub fn grant(&self, id: GrantId) -> Result<Grant, HomeError> {
        let path = self.grant_path(id);
        let bytes = InputFile::open(&path)?.read_whole(LARGEST_GRANT)?;
        let grant = Grant::parse(&bytes).map_err(|error| HomeError::Kept {
            what: "grant",
            path,
            reason: error.to_string(),
            help: "restore the file from a backup, or issue a new grant",
        })?;
        if grant.id() == id {
            Ok(grant)
        } else {
            Err(missing(&id.hex()))
        }
    }

    /// Keeps an approval.
    pub fn keep_approval(
        &self,
        grant: GrantId,
        file: &str,
        signature: &[u8],
    ) -> Result<(), HomeError> {
        let folder = self.folder(APPROVALS)?.join(grant.hex());
        make_private(&folder)?;
        Ok(replace(&folder.join(file), signature, 0o600)?)
    }

    /// A kept approval; `None` if there is none of that name.
    pub fn approval(&self, grant: GrantId, file: &str) -> Result<Option<Vec<u8>>, HomeError> {
        let path = self.path.join(APPROVALS).join(grant.hex()).join(file);
        read_if_there(&path, |file| file.read_whole(LARGEST_SIGNATURE))
    }

    fn grant_path(&self, id: GrantId) -> PathBuf {
        self.path.join(GRANTS).join(format!("{}.json", id.hex()))
    }
}

fn missing(id: &str) -> HomeError {
    HomeError::NoSuchGrant(format!("no grant `{id}` is kept in this home"))
}
