//! Whether the folder of a release can have the name that it would have.

use rusqlite::{Connection, params};

use super::entries;
use super::error::LedgerError;
use super::store::{Ledger, Result};
use crate::domain::event::Event;
use crate::domain::name::{ProjectName, Version};
use crate::domain::release::{folder_name, rivalry};

/// Refuses a release whose folder would have the name of another's, or whose project is another's
/// in all but case, or that was withdrawn. A grant that was revoked before its release was to be
/// signed has none.
pub(super) fn check_folder(
    database: &Connection,
    project: &ProjectName,
    version: &Version,
) -> Result<()> {
    let mut query = database.prepare_cached(
        "WITH near AS (
            SELECT idx, grant_id FROM about WHERE folder = ?1
            UNION SELECT idx, grant_id FROM about
                WHERE project = ?2 COLLATE NOCASE AND project < ?2
            UNION SELECT idx, grant_id FROM about
                WHERE project = ?2 COLLATE NOCASE AND project > ?2)
        SELECT idx, (SELECT idx FROM about
                WHERE milestone = 'withdrawn' AND grant_id = near.grant_id) FROM near
            WHERE EXISTS (SELECT 1 FROM about
                    WHERE milestone = 'intended' AND grant_id = near.grant_id)
                OR NOT EXISTS (SELECT 1 FROM about
                    WHERE milestone = 'revoked' AND grant_id = near.grant_id)
            ORDER BY idx",
    )?;
    let folder = folder_in_any_case(project, version);
    let mut rows = query.query(params![folder, project.as_str()])?;
    while let Some(row) = rows.next()? {
        let index = row.get(0)?;
        let Event::GrantIssued {
            project: other,
            version: of,
            ..
        } = entries::known(database, index)?.event
        else {
            continue;
        };
        let withdrawn: Option<u64> = row.get(1)?;
        if let Some(entry) = withdrawn.filter(|_| (project, version) == (&other, &of)) {
            return Err(LedgerError::Taken(format!(
                "release {project} {version} was withdrawn in ledger entry {entry}"
            )));
        }
        if let Some(why) = rivalry((project, version), (&other, &of)) {
            return Err(LedgerError::Taken(format!(
                "{why}, which was granted in ledger entry {index}"
            )));
        }
    }
    Ok(())
}

/// What folders have in common of which there can be one.
pub(super) fn folder_in_any_case(project: &ProjectName, version: &Version) -> String {
    folder_name(project, version).to_ascii_lowercase()
}

impl Ledger {
    /// Refuses to issue a grant for a release that would have another's name: see
    /// [`Ledger::append`], which asks this too.
    pub fn check_release(&self, project: &ProjectName, version: &Version) -> Result<()> {
        check_folder(&self.database, project, version)
    }
}
