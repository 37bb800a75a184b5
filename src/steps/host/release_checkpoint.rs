//! A release as a checkpoint of the log: the token signed in it the state of the log when the
//! release was announced.

use std::collections::BTreeMap;

use crate::domain::digest::{GrantId, Sha256};
use crate::domain::event::{Entry, Event};
use crate::domain::name::BuilderName;
use crate::domain::time::Timestamp;
use crate::files::Folder;
use crate::openpgp::{Certificate, Signed};
use crate::steps::Progress;
use crate::steps::release::error::ReleaseError;
use crate::steps::release::logged::check_announced;
use crate::steps::release::verify::verify_release;
use crate::tlog::checkpoint::Checkpoint;

/// A valid release, whose list's signature names a state of the log.
#[derive(Debug)]
pub struct ReleaseCheckpoint {
    /// The log as it ended with the intent to sign this release.
    pub checkpoint: Checkpoint,
    list: Signed,
    sums: Sha256,
    grant: GrantId,
    /// What it has of each builder.
    evidence: BTreeMap<BuilderName, Sha256>,
    /// What the log has accepted of each builder, as far as it was read.
    accepted: BTreeMap<BuilderName, Sha256>,
    announced: bool,
}

/// Why a release is not a checkpoint of the log.
#[expect(missing_docs, reason = "each message says what it means")]
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum NoCheckpoint {
    #[error("the release is invalid: {0}")]
    #[diagnostic(
        code(refused::checkpoint_signature),
        help(
            "a release under another release key is not a checkpoint of this log; name an earlier \
             key's certificate with `--cert`"
        )
    )]
    Signature(ReleaseError),
    #[error("the release is invalid: {0}")]
    #[diagnostic(forward(0))]
    Release(ReleaseError),
    #[error("the signature of the release's list has no index and root hash of the log (`log@`)")]
    #[diagnostic(
        code(refused::checkpoint_absent),
        help("it is not a checkpoint of this log: compare it with another release")
    )]
    NoRoot,
    #[error(
        "the release was not announced: entry {index}, which the signature of its list names, is \
         not the intent to sign it"
    )]
    #[diagnostic(
        code(refused::release_not_announced),
        help(
            "the release key signed what the log does not have: sign nothing more, and find out \
             who could use the token"
        )
    )]
    NotAnnounced { index: u64 },
    #[error(
        "the evidence in the release is not what the log has as accepted before entry {index}, \
         which announces it"
    )]
    #[diagnostic(
        code(refused::release_has_other_evidence),
        help("`countersign log list` shows what was accepted; find out who changed the release")
    )]
    OtherEvidence { index: u64 },
}

impl From<ReleaseError> for NoCheckpoint {
    fn from(error: ReleaseError) -> Self {
        match error {
            ReleaseError::Signature { .. } => Self::Signature(error),
            error => Self::Release(error),
        }
    }
}

impl ReleaseCheckpoint {
    /// Verifies the release in `folder` as any user would, and takes the checkpoint from the
    /// signature of its list.
    pub fn read(
        folder: &Folder,
        certificate: &Certificate,
        now: Timestamp,
        progress: &mut dyn Progress,
    ) -> Result<Self, NoCheckpoint> {
        let report = verify_release(folder, certificate, None, now, progress)?;
        let checkpoint = Checkpoint::ending_with(&report.claims.log).ok_or(NoCheckpoint::NoRoot)?;
        Ok(Self {
            checkpoint,
            list: report.list,
            sums: report.sums,
            grant: report.grant.id(),
            evidence: report.evidence,
            accepted: BTreeMap::new(),
            announced: false,
        })
    }

    /// The index of the entry that announces it.
    pub fn index(&self) -> u64 {
        self.checkpoint.size - 1
    }

    /// The grant of the release.
    pub fn grant(&self) -> GrantId {
        self.grant
    }

    /// Takes the next entry of the log, or the next about its grant. The one at its index must
    /// announce the release: a matching root hash shows which log the token signed, not that this
    /// release is in it. And what it has as evidence must be what was accepted last before that.
    pub fn see(&mut self, entry: &Entry) -> Result<(), NoCheckpoint> {
        let index = self.index();
        match &entry.event {
            Event::EvidenceAccepted {
                grant, builders, ..
            } if *grant == self.grant && entry.index < index => {
                self.accepted.clone_from(builders);
            }
            _ if entry.index == index => {
                check_announced(entry, self.sums, &self.list, &self.checkpoint)
                    .map_err(|_| NoCheckpoint::NotAnnounced { index })?;
                if self.accepted != self.evidence {
                    return Err(NoCheckpoint::OtherEvidence { index });
                }
                self.announced = true;
            }
            _ => {}
        }
        Ok(())
    }

    /// That the entries have announced it.
    pub fn is_announced(&self) -> Result<(), NoCheckpoint> {
        let index = self.index();
        match self.announced {
            true => Ok(()),
            false => Err(NoCheckpoint::NotAnnounced { index }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::digest::GrantId;
    use crate::domain::event::{Event, Intent};
    use crate::domain::signing::{ReleaseForm, SignedFile};
    use crate::tlog::tree::leaf_hash;

    fn release() -> ReleaseCheckpoint {
        let checkpoint = Checkpoint {
            size: 8,
            root: leaf_hash(b"root"),
        };
        let intent = Intent::example();
        let log = format!("7 {}", checkpoint.root);
        let list = SignedFile::List(ReleaseForm::Each);
        ReleaseCheckpoint {
            checkpoint,
            list: Signed {
                key: intent.key,
                created: intent.created,
                notations: intent.signing(log).claims(&list).notations(),
            },
            sums: intent.sums,
            grant: intent.grant,
            evidence: BTreeMap::new(),
            accepted: BTreeMap::new(),
            announced: false,
        }
    }

    /// Each of these has been announced there, and none of them is this release.
    #[test]
    fn the_intent_to_sign_its_list_alone_announces_a_release() {
        let announces = |event| {
            release()
                .see(&Entry {
                    index: 7,
                    at: Intent::example().created,
                    event,
                })
                .is_ok()
        };
        assert_eq!(release().index(), 7);
        assert!(announces(Event::Intent(Intent::example())));
        assert!(announces(Event::Intent(Intent {
            artifacts: [].into(),
            artifacts_from: Some(5),
            ..Intent::example()
        })));
        let (sums, artifact) = (
            Sha256::of(b"t"),
            [("s".parse().expect("a name"), Sha256::of(b"s"))],
        );
        for other in [
            Intent {
                sums,
                ..Intent::example()
            },
            // An artifact that has the bytes of the list.
            Intent {
                sums,
                artifacts: artifact.clone().into(),
                ..Intent::example()
            },
            Intent {
                grant: GrantId::of(b"h"),
                ..Intent::example()
            },
            Intent {
                created: "2026-11-22T10:00:01Z".parse().expect("a time"),
                ..Intent::example()
            },
            Intent {
                key: "B1B2C3D4E5F60718293A4B5C6D7E8F9001122334"
                    .parse()
                    .expect("a fingerprint"),
                ..Intent::example()
            },
        ] {
            assert!(!announces(Event::Intent(other.clone())), "{other:?}");
        }
        let part = Intent::example().part(artifact.into());
        assert!(!announces(Event::Artifacts(part)));
        assert!(!announces(Event::Released {
            intent: 6,
            sums: Intent::example().sums,
            to_push: false
        }));
    }

    /// It is what was accepted last before the release was announced.
    #[test]
    fn a_release_has_the_evidence_that_was_accepted() {
        let [m1, m2] = ["m1", "m2"].map(|name| (name.parse().expect("a name"), Sha256::of(b"e")));
        let both: BTreeMap<BuilderName, _> = [m1.clone(), m2].into();
        let one: BTreeMap<_, _> = [m1].into();
        let seen = |accepted: &[(u64, &BTreeMap<_, _>)], released: &BTreeMap<_, _>| {
            let mut release = ReleaseCheckpoint {
                evidence: released.clone(),
                ..release()
            };
            let entry = |index, event| Entry {
                index,
                at: Intent::example().created,
                event,
            };
            let acceptances = accepted.iter().map(|(index, builders)| {
                let mut event = Event::example_acceptance(GrantId::of(b"g"));
                if let Event::EvidenceAccepted { builders: of, .. } = &mut event {
                    *of = (*builders).clone();
                }
                entry(*index, event)
            });
            let announced = entry(7, Event::Intent(Intent::example()));
            let mut entries: Vec<_> = acceptances.chain([announced]).collect();
            entries.sort_by_key(|entry| entry.index);
            let mut entries = entries.iter();
            entries.try_for_each(|entry| release.see(entry))?;
            release.is_announced()
        };
        assert!(seen(&[(3, &both)], &both).is_ok());
        assert!(seen(&[(3, &both), (5, &one)], &one).is_ok());
        for (accepted, released) in [
            (&[(3, &both)][..], &one),
            (&[(3, &one)], &both),
            (&[(3, &both), (5, &one)], &both),
            (&[(8, &both)], &both),
            (&[], &both),
        ] {
            let fault = seen(accepted, released);
            assert!(
                matches!(fault, Err(NoCheckpoint::OtherEvidence { index: 7 })),
                "{fault:?}"
            );
        }
        assert!(release().is_announced().is_err());
    }
}
