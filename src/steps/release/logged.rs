//! The check that a signature was announced in the signing host's log before it was made, with the
//! log's key alone.

use std::path::{Path, PathBuf};

use crate::domain::digest::Sha256;
use crate::domain::event::{Entry, Event};
use crate::domain::key::HashAlgorithm;
use crate::domain::malformed::Malformed;
use crate::files::{FileError, InputFile};
use crate::openpgp::{HashState, Signed};
use crate::tlog::checkpoint::Checkpoint;
use crate::tlog::note::VerifierKey;
use crate::tlog::proof::{LARGEST_PROOF, Proof};

/// What a proof showed.
#[derive(Debug)]
pub struct Logged {
    /// The entry that announces the file.
    pub entry: Entry,
    /// The state of the log that it was proved in.
    pub checkpoint: Checkpoint,
}

/// Why a proof shows nothing about a file.
#[expect(missing_docs, reason = "each message says what it means")]
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum NotLogged {
    #[error("proof `{}`: {fault}", path.display())]
    #[diagnostic(
        code(refused::signature_not_logged),
        help(
            "ask for a proof of this very file, and compare the log's key with the published one"
        )
    )]
    Proof { path: PathBuf, fault: Malformed },
    #[error(transparent)]
    #[diagnostic(transparent)]
    File(#[from] FileError),
}

/// The SHA-256 of a file, whatever its size.
pub fn digest_of(path: &Path) -> Result<Sha256, FileError> {
    let mut state = HashState::new(HashAlgorithm::Sha256);
    InputFile::open_named(path)?.read_once::<FileError>(u64::MAX, |piece| {
        state.update(piece);
        Ok(())
    })?;
    Ok(state.sha256())
}

/// Whether the proof at `path` shows, with the log's `key`, that the signature `signed` of the file
/// with this digest was announced in the log.
pub fn check_logged(
    path: &Path,
    key: &VerifierKey,
    signed: &Signed,
    digest: Sha256,
) -> Result<Logged, NotLogged> {
    let bytes = InputFile::open_named(path)?.read_whole(LARGEST_PROOF)?;
    check_proof(&bytes, key, signed, digest).map_err(|fault| NotLogged::Proof {
        path: path.to_owned(),
        fault,
    })
}

fn check_proof(
    bytes: &[u8],
    key: &VerifierKey,
    signed: &Signed,
    digest: Sha256,
) -> Result<Logged, Malformed> {
    let proof = Proof::parse(bytes)?;
    let (entry, checkpoint) = proof.check(key)?;
    let index = proof.index;
    let entry = Entry::parse(index, entry)
        .map_err(|fault| fault.within(format!("entry {index} cannot be read")))?;
    check_announced(&entry, digest, signed, &checkpoint)?;
    Ok(Logged { entry, checkpoint })
}

/// Whether the entry announces this signature of a file with this digest; `checkpoint` is of a log
/// that has the entry.
pub(in crate::steps) fn check_announced(
    entry: &Entry,
    digest: Sha256,
    signed: &Signed,
    checkpoint: &Checkpoint,
) -> Result<(), Malformed> {
    let index = entry.index;
    let other = |what: &str| {
        Err(Malformed::new(format!(
            "entry {index} announces a signature of this file that differs in its {what}"
        )))
    };
    let named = signed.noted("log@").unwrap_or_default();
    let (named_index, named_root) = named.split_once(' ').unwrap_or((named, ""));
    let grant = match &entry.event {
        Event::Intent(intent)
            if intent.sums == digest || intent.artifacts.values().any(|it| *it == digest) =>
        {
            if named_index != index.to_string() {
                return other("index in the log");
            }
            if intent.key != signed.key {
                return other("key");
            }
            if intent.created != signed.created {
                return other("time");
            }
            // What the token signed is the state that ends with the intent.
            if checkpoint.size == index + 1
                && !named_root.is_empty()
                && named_root != checkpoint.root.to_string()
            {
                return other("root of the log");
            }
            intent.grant
        }
        // The intent, which follows, is what the signature names.
        Event::Artifacts { grant, artifacts } if artifacts.values().any(|it| *it == digest) => {
            if named_index.parse::<u64>().is_ok_and(|named| named > index) {
                *grant
            } else {
                return other("index in the log");
            }
        }
        _ => {
            return Err(Malformed::new(format!(
                "entry {index} does not announce a file with SHA-256 {digest}"
            )));
        }
    };
    if signed.grant() == Some(&grant.to_string()) {
        Ok(())
    } else {
        other("grant")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::digest::GrantId;
    use crate::domain::event::Intent;
    use crate::tlog::tree::leaf_hash;

    fn signed(log: &str) -> Signed {
        let intent = Intent::example();
        let notations = [
            ("grant@example.org", intent.grant.to_string()),
            ("log@example.org", log.to_owned()),
        ];
        let notations = notations
            .map(|(name, value)| (name.to_owned(), value))
            .into();
        Signed {
            key: intent.key,
            created: intent.created,
            notations,
        }
    }

    fn asked(event: Event, digest: Sha256, signed: &Signed) -> Result<(), String> {
        let entry = Entry {
            index: 7,
            at: Intent::example().created,
            event,
        };
        let checkpoint = Checkpoint {
            size: 8,
            root: leaf_hash(b"root"),
        };
        check_announced(&entry, digest, signed, &checkpoint).map_err(|error| error.to_string())
    }

    #[test]
    fn an_intent_announces_its_own_signatures_alone() {
        let root = leaf_hash(b"root");
        let file = Sha256::of(b"a");
        let list = Sha256::of(b"s");
        for log in ["7".to_owned(), format!("7 {root}")] {
            assert_eq!(
                asked(Event::Intent(Intent::example()), file, &signed(&log)),
                Ok(())
            );
            assert_eq!(
                asked(Event::Intent(Intent::example()), list, &signed(&log)),
                Ok(())
            );
        }
        let of = |changed: Intent, log: &str| {
            asked(Event::Intent(changed), file, &signed(log)).expect_err("refused")
        };
        let stranger = Intent {
            grant: GrantId::of(b"h"),
            ..Intent::example()
        };
        assert!(of(stranger, "7").ends_with("in its grant"));
        let key = "B1B2C3D4E5F60718293A4B5C6D7E8F9001122334"
            .parse()
            .expect("a fingerprint");
        assert!(
            of(
                Intent {
                    key,
                    ..Intent::example()
                },
                "7"
            )
            .ends_with("in its key")
        );
        let created = "2026-11-22T10:00:01Z".parse().expect("a time");
        assert!(
            of(
                Intent {
                    created,
                    ..Intent::example()
                },
                "7"
            )
            .ends_with("in its time")
        );
        assert!(
            of(
                Intent {
                    artifacts: [].into(),
                    ..Intent::example()
                },
                "7"
            )
            .contains("does not announce")
        );
        assert!(of(Intent::example(), "8").ends_with("in its index in the log"));
        assert!(of(Intent::example(), "").ends_with("in its index in the log"));
        assert!(
            of(Intent::example(), &format!("7 {}", leaf_hash(b"other")))
                .ends_with("in its root of the log")
        );
    }

    #[test]
    fn artifacts_of_an_intent_that_has_many_are_announced_before_it() {
        let artifacts = Intent::example().artifacts;
        let event = |grant| Event::Artifacts {
            grant,
            artifacts: artifacts.clone(),
        };
        assert_eq!(
            asked(
                event(Intent::example().grant),
                Sha256::of(b"a"),
                &signed("9")
            ),
            Ok(())
        );
        for log in ["7", "6", "", "x"] {
            let error = asked(
                event(Intent::example().grant),
                Sha256::of(b"a"),
                &signed(log),
            )
            .expect_err("refused");
            assert!(error.ends_with("in its index in the log"), "{log}: {error}");
        }
        assert!(
            asked(
                event(Intent::example().grant),
                Sha256::of(b"b"),
                &signed("9")
            )
            .is_err()
        );
        assert!(asked(event(GrantId::of(b"h")), Sha256::of(b"a"), &signed("9")).is_err());
        let revoked = Event::GrantRevoked {
            grant: Intent::example().grant,
            reason: None,
        };
        assert!(asked(revoked, Sha256::of(b"a"), &signed("7")).is_err());
    }
}
