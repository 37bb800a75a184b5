//! Checkpoints of H's own log, kept where its home is not. H is never behind one of them: a home
//! that was restored from an older copy signs nothing, and of two live copies one stops.
//!
//! Anyone with access to an anchor can write there. So a checkpoint that the log's key did not sign
//! is as if it were not there.

use super::Host;
use crate::home::{Home, HomeError};
use crate::ledger::{Ledger, LedgerError};
use crate::location::{self, Anchor, Fault};
use crate::tlog::checkpoint::Checkpoint;

/// How many of the checkpoints that this host kept at an anchor stay there.
const KEPT: usize = 8;

/// Why a home is not used.
#[expect(missing_docs, reason = "each message says what it means")]
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum AnchorError {
    #[error(
        "the log of this home has {ours} entries, and checkpoint `{checkpoint}` has {size}: this \
         home is an older copy"
    )]
    #[diagnostic(
        code(refused::home_is_older),
        help(
            "use the newer home; if it is lost, set up another one with the same key: `countersign \
             init --cert CERT`"
        )
    )]
    Behind {
        checkpoint: String,
        ours: u64,
        size: u64,
    },
    #[error(
        "the log of this home differs from checkpoint `{checkpoint}` of {size} entries: another \
         copy of this home has gone on"
    )]
    #[diagnostic(
        code(refused::home_has_a_rival),
        help(
            "find out which copy signed what, and use one home alone; if neither can be used, set \
             up another one with the same key: `countersign init --cert CERT`"
        )
    )]
    Forked { checkpoint: String, size: u64 },
    #[error("anchor `{0}` has no checkpoint of this log, although this host kept one there")]
    #[diagnostic(
        code(refused::anchor_is_empty),
        help("find out who removed it; then name another place below `[anchor]`")
    )]
    Emptied(String),
    #[error("anchor `{place}` cannot be used: {fault}")]
    #[diagnostic(
        code(trouble::anchor_away),
        help("mount it, or see below `[anchor]` in config.toml whether it must be `required`")
    )]
    Away { place: String, fault: Fault },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Home(#[from] Box<HomeError>),
}

impl From<LedgerError> for AnchorError {
    fn from(error: LedgerError) -> Self {
        Self::Home(Box::new(error.into()))
    }
}

impl From<HomeError> for AnchorError {
    fn from(error: HomeError) -> Self {
        Self::Home(Box::new(error))
    }
}

impl Host {
    /// Refuses a home whose log is behind one of its anchors, or differs from it. Where none is
    /// required, what cannot be compared is a warning.
    pub(super) fn check_anchors(&mut self) -> Result<(), AnchorError> {
        let required = self.home.config.anchor.required;
        for anchor in anchors(&self.home) {
            match compare(&*anchor, &self.home, &self.ledger) {
                Ok((ours, strangers)) => {
                    if strangers > 0 {
                        self.warnings.push(format!(
                            "{strangers} files at anchor `{}` are not checkpoints of this log",
                            anchor.shown()
                        ));
                    }
                    let place = anchor.shown();
                    if required && ours.is_empty() && self.ledger.is_anchored(&place)? {
                        return Err(AnchorError::Emptied(place));
                    }
                }
                Err(away @ AnchorError::Away { .. }) if !required => {
                    self.warnings.push(away.to_string());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Keeps a checkpoint of the log as it is now at each anchor, where that is required. Then another
/// copy of this home has left none there that differs.
pub(super) fn announce(home: &Home, ledger: &mut Ledger) -> Result<(), AnchorError> {
    if !home.config.anchor.required {
        return Ok(());
    }
    let head = ledger.head()?;
    let note = head.sign(&home.log_key()?);
    for anchor in anchors(home) {
        let place = anchor.shown();
        let away = |fault| AnchorError::Away {
            place: place.clone(),
            fault,
        };
        anchor.keep(head.size, note.clone()).map_err(away)?;
        ledger.mark_anchored(&place)?;
        let (mut ours, _) = compare(&*anchor, home, ledger)?;
        ours.sort_by_key(|(_, checkpoint)| checkpoint.size);
        let older = ours.len().saturating_sub(KEPT);
        for (name, _) in ours
            .iter()
            .take(older)
            .filter(|(name, _)| name.contains('/'))
        {
            anchor.remove(name).map_err(away)?;
        }
    }
    Ok(())
}

fn anchors(home: &Home) -> Vec<Box<dyn Anchor>> {
    let limit = home.config.anchor.timeout.length();
    let places = home.anchors().into_iter();
    places.map(|place| location::anchor(place, limit)).collect()
}

/// Compares the log with each checkpoint of it at an anchor. Returns those, and how many files are
/// none.
fn compare(
    anchor: &dyn Anchor,
    home: &Home,
    ledger: &Ledger,
) -> Result<(Vec<(String, Checkpoint)>, usize), AnchorError> {
    let place = anchor.shown();
    let notes = anchor.notes().map_err(|fault| AnchorError::Away {
        place: place.clone(),
        fault,
    })?;
    let all = notes.len();
    let mut ours = Vec::new();
    for (name, note) in notes {
        let Ok(checkpoint) = Checkpoint::open(&note, &home.config.log_key) else {
            continue;
        };
        let size = checkpoint.size;
        let here = ledger.size()?;
        let shown = format!("{place}/{name}");
        if size > here {
            return Err(AnchorError::Behind {
                checkpoint: shown,
                ours: here,
                size,
            });
        }
        if ledger.root(size)? != checkpoint.root {
            return Err(AnchorError::Forked {
                checkpoint: shown,
                size,
            });
        }
        ours.push((name, checkpoint));
    }
    let strangers = all - ours.len();
    Ok((ours, strangers))
}
