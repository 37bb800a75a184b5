//! The check that a signature was announced in the signing host's log before it was made, with the
//! log's key alone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::domain::digest::Sha256;
use crate::domain::event::{Entry, Event};
use crate::domain::malformed::Malformed;
use crate::domain::name::ArtifactName;
use crate::domain::signing::SignedFile;
use crate::files::{FileError, InputFile};
use crate::openpgp::Signed;
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

/// Whether the entry announces this signature of a file with this digest: of an artifact by its
/// name, of a list or of a withdrawal. `checkpoint` is of a log that has the entry.
pub(in crate::steps) fn check_announced(
    entry: &Entry,
    digest: Sha256,
    signed: &Signed,
    checkpoint: &Checkpoint,
) -> Result<(), Malformed> {
    let index = entry.index;
    let claims = signed.claims()?;
    let other = |what: &str| {
        Err(Malformed::new(format!(
            "entry {index} announces a signature of this file that differs in its {what}"
        )))
    };
    let end = Checkpoint::ending_with(&claims.log)
        .ok_or_else(|| Malformed::new("its notation `log@` is not an index and a root hash"))?;
    let is_among =
        |artifacts: &BTreeMap<ArtifactName, Sha256>, name| artifacts.get(name) == Some(&digest);
    let (intent, key, created, ends_there) = match (&entry.event, &claims.file) {
        (Event::Intent(intent), SignedFile::List(_)) if intent.sums == digest => (
            Some(intent),
            intent.key,
            intent.created,
            end.size == index + 1,
        ),
        (Event::Intent(intent), SignedFile::Artifact(name))
            if is_among(&intent.artifacts, name) =>
        {
            (
                Some(intent),
                intent.key,
                intent.created,
                end.size == index + 1,
            )
        }
        // The intent, which follows, is what the signature names.
        (Event::Artifacts(part), SignedFile::Artifact(name)) if is_among(&part.artifacts, name) => {
            (Some(part), part.key, part.created, end.size > index + 1)
        }
        // What it says is in its bytes.
        (Event::Withdrawn { key, statement, .. }, SignedFile::Withdrawal)
            if *statement == digest =>
        {
            (None, *key, entry.at, end.size == index + 1)
        }
        (_, file) => {
            let what = match file {
                SignedFile::Artifact(name) => format!("artifact `{name}`"),
                SignedFile::List(_) => "a list".to_owned(),
                SignedFile::Withdrawal => "a withdrawal".to_owned(),
            };
            return Err(Malformed::new(format!(
                "entry {index} does not announce {what} with SHA-256 {digest}"
            )));
        }
    };
    if !ends_there {
        return other("index in the log");
    }
    // What the token signed is the state that ends with the intent.
    if checkpoint.size == end.size && checkpoint.root != end.root {
        return other("root of the log");
    }
    if key != signed.key {
        return other("key");
    }
    if created != signed.created {
        return other("time");
    }
    let Some(intent) = intent else { return Ok(()) };
    let announced = intent.plan();
    let file = announced.files().iter().find(|file| **file == claims.file);
    let Some(file) = file else {
        return other("form");
    };
    claims
        .check(&intent.signing(claims.log.clone()).claims(file))
        .map_err(|fault| {
            fault.within(format_args!(
                "entry {index} announces another signature of this file"
            ))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::digest::GrantId;
    use crate::domain::event::Intent;
    use crate::domain::key::HashAlgorithm;
    use crate::domain::signing::ReleaseForm;
    use crate::tlog::tree::leaf_hash;

    fn artifact(name: &str) -> SignedFile {
        SignedFile::Artifact(name.parse().expect("a name"))
    }

    /// The signature that the intent announces of a file, if it names this state of the log.
    fn signed(intent: &Intent, file: &SignedFile, log: &str) -> Signed {
        Signed {
            key: intent.key,
            created: intent.created,
            notations: intent.signing(log.to_owned()).claims(file).notations(),
        }
    }

    fn log() -> String {
        format!("7 {}", leaf_hash(b"root"))
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

    /// An intent, or a part of one with the artifact in an entry of its own.
    #[test]
    fn an_intent_announces_its_own_signatures_alone() {
        let intent = Intent::example();
        let file = artifact("a");
        let list = SignedFile::List(ReleaseForm::Each);
        let of = |changed: Intent, log: &str| {
            let signed = signed(&Intent::example(), &file, log);
            asked(Event::Intent(changed), Sha256::of(b"a"), &signed)
        };
        let of_part = |changed: Intent| {
            let later = format!("9 {}", leaf_hash(b"later"));
            let signed = signed(&Intent::example(), &file, &later);
            asked(Event::Artifacts(changed), Sha256::of(b"a"), &signed)
        };
        assert_eq!(of(intent.clone(), &log()), Ok(()));
        assert_eq!(of_part(intent.clone()), Ok(()));
        let of_list = signed(&intent, &list, &log());
        let announced = Event::Intent(intent.clone());
        assert_eq!(asked(announced, intent.sums, &of_list), Ok(()));

        let key = "B1B2C3D4E5F60718293A4B5C6D7E8F9001122334";
        let created = "2026-11-22T10:00:01Z";
        for (changed, what) in [
            (
                Intent {
                    grant: GrantId::of(b"h"),
                    ..intent.clone()
                },
                "`grant@example.org`",
            ),
            (
                Intent {
                    project: "bar".parse().expect("a name"),
                    ..intent.clone()
                },
                "`project@example.org`",
            ),
            (
                Intent {
                    version: "2".parse().expect("a version"),
                    ..intent.clone()
                },
                "`version@example.org`",
            ),
            (
                Intent {
                    notation_domain: "example.net".to_owned(),
                    ..intent.clone()
                },
                "`role@example.org` is under another domain",
            ),
            (
                Intent {
                    key: key.parse().expect("a fingerprint"),
                    ..intent.clone()
                },
                "in its key",
            ),
            (
                Intent {
                    created: created.parse().expect("a time"),
                    ..intent.clone()
                },
                "in its time",
            ),
            (
                Intent {
                    form: ReleaseForm::ListOnly,
                    ..intent.clone()
                },
                "in its form",
            ),
            (
                Intent {
                    artifacts: [].into(),
                    ..intent.clone()
                },
                "does not announce",
            ),
        ] {
            for refused in [of(changed.clone(), &log()), of_part(changed)] {
                let refused = refused.expect_err(what);
                assert!(refused.contains(what), "{refused}");
            }
        }
        for (log, what) in [
            (
                format!("8 {}", leaf_hash(b"root")),
                "in its index in the log",
            ),
            (String::new(), "`log@`"),
            ("7".to_owned(), "`log@`"),
            (
                format!("7 {}", leaf_hash(b"other")),
                "in its root of the log",
            ),
        ] {
            let refused = of(intent.clone(), &log).expect_err(what);
            assert!(refused.contains(what), "{refused}");
        }
    }

    #[test]
    fn a_withdrawal_is_announced_by_its_own_entry_alone() {
        let intent = Intent::example();
        let statement = Sha256::of(b"w");
        let event = |key, statement| Event::Withdrawn {
            intent: 3,
            key,
            hash: HashAlgorithm::Sha256,
            statement,
            reason: "why".to_owned(),
        };
        let right = signed(&intent, &SignedFile::Withdrawal, &log());
        let announced = event(intent.key, statement);
        assert_eq!(asked(announced.clone(), statement, &right), Ok(()));
        let other = "B1B2C3D4E5F60718293A4B5C6D7E8F9001122334";
        let later = Signed {
            created: "2026-11-22T10:00:01Z".parse().expect("a time"),
            ..right.clone()
        };
        let elsewhere = format!("8 {}", leaf_hash(b"root"));
        let elsewhere = signed(&intent, &SignedFile::Withdrawal, &elsewhere);
        let list = signed(&intent, &SignedFile::List(ReleaseForm::Each), &log());
        for (event, signed, reason) in [
            (
                event(other.parse().expect("a fingerprint"), statement),
                &right,
                "in its key",
            ),
            (announced.clone(), &later, "in its time"),
            (announced.clone(), &elsewhere, "in its index in the log"),
            (
                event(intent.key, Sha256::of(b"x")),
                &right,
                "does not announce a withdrawal",
            ),
            (announced.clone(), &list, "does not announce a list"),
            (
                Event::Intent(intent.clone()),
                &right,
                "does not announce a withdrawal",
            ),
        ] {
            let refused = asked(event, statement, signed).expect_err(reason);
            assert!(refused.contains(reason), "{refused}");
        }
    }

    /// The bytes of one file are those of another: an artifact is announced by its name, and a list
    /// as a list.
    #[test]
    fn the_bytes_alone_announce_nothing() {
        let same = Sha256::of(b"same");
        let artifacts = ["a", "b"].map(|name| (name.parse().expect("a name"), same));
        let one = Intent {
            artifacts: [artifacts[0].clone()].into(),
            ..Intent::example()
        };
        let both = Intent {
            artifacts: artifacts.into(),
            ..Intent::example()
        };
        let list = Intent {
            artifacts: [].into(),
            sums: same,
            ..Intent::example()
        };
        let list_only = Intent {
            form: ReleaseForm::ListOnly,
            ..list.clone()
        };
        let files = [
            artifact("a"),
            artifact("b"),
            SignedFile::List(ReleaseForm::Each),
            SignedFile::List(ReleaseForm::ListOnly),
        ];
        for (intent, announced) in [
            (one, &files[..1]),
            (both, &files[..2]),
            (list, &files[2..3]),
            (list_only, &files[3..]),
        ] {
            for file in &files {
                let signed = signed(&intent, file, &log());
                let asked = asked(Event::Intent(intent.clone()), same, &signed);
                assert_eq!(
                    asked.is_ok(),
                    announced.contains(file),
                    "{file:?}: {asked:?}"
                );
            }
        }
    }

    #[test]
    fn artifacts_of_an_intent_that_has_many_are_announced_before_it() {
        let intent = Intent::example();
        let event = |grant| {
            Event::Artifacts(Intent {
                grant,
                ..Intent::example()
            })
        };
        let later = format!("9 {}", leaf_hash(b"later"));
        let of = |file: &SignedFile, event, bytes: &[u8], log: &str| {
            asked(
                event,
                Sha256::of(bytes),
                &signed(&Intent::example(), file, log),
            )
        };
        let file = artifact("a");
        assert_eq!(of(&file, event(intent.grant), b"a", &later), Ok(()));
        for index in [7, 6] {
            let log = format!("{index} {}", leaf_hash(b"root"));
            let refused = of(&file, event(intent.grant), b"a", &log).expect_err("refused");
            assert!(refused.ends_with("in its index in the log"), "{refused}");
        }
        for (file, event, bytes) in [
            (&file, event(intent.grant), &b"b"[..]),
            (&artifact("b"), event(intent.grant), b"a"),
            (
                &SignedFile::List(ReleaseForm::Each),
                event(intent.grant),
                b"a",
            ),
            (&file, event(GrantId::of(b"h")), b"a"),
            (
                &file,
                Event::GrantRevoked {
                    grant: intent.grant,
                    reason: None,
                },
                b"a",
            ),
        ] {
            assert!(of(file, event, bytes, &later).is_err(), "{file:?}");
        }
    }
}
