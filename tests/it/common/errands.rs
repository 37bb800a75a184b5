//! `init`, `grant`, `key extend` and `withdraw` while a system call fails or kills them, and what
//! must be true afterwards.
//!
//! None of them is resumed as `sign` is. The same command again finishes, or reports what there is.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use countersign::domain::digest::{GrantId, Sha256};
use countersign::domain::event::{Entry, Event};
use countersign::domain::grant::Grant;
use countersign::home::Home;
use countersign::ledger::LedgerError;
use countersign::steps::builder::build_key::BuildKey;
use tempfile::TempDir;

use super::disk::Disk;
use super::faults::{
    Broken, Disturbed, Fault, copy_whole, counted, disturbed, set_token, strace, written,
};
use super::listing;
use super::world::{USER_ID, World};

const OUT: &str = "out";
const GRANT: &str = "out/foo-1.2.3.grant.json";
const KEY: &str = "out/foo-1.2.3.m1.key";
const WITHDRAWAL: &str = "out/foo-1.2.3.withdrawal";

/// A command, and where it is run.
pub(crate) struct Errand {
    pub(crate) name: &'static str,
    what: What,
    world: World,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Init,
    /// With a nonce, of which the home keeps a copy.
    Grant,
    Extend,
    /// Of a release that is signed.
    Withdraw,
}

/// One copy of where it is run, to disturb.
pub(crate) struct Attempt<'e> {
    errand: &'e Errand,
    folder: TempDir,
}

/// What there is to see.
struct State {
    /// The home, once it is set up.
    home: Option<Home>,
    entries: Vec<Entry>,
    grant: Option<Grant>,
}

impl Errand {
    pub(crate) fn all() -> [Self; 4] {
        let (ready, released) = (World::ready(), World::ready());
        for world in [&ready, &released] {
            fs::create_dir(world.at(OUT)).expect("a folder");
        }
        released.signed();
        [
            Self {
                name: "init",
                what: What::Init,
                world: World::new(),
            },
            Self {
                name: "grant",
                what: What::Grant,
                world: ready,
            },
            Self {
                name: "key extend",
                what: What::Extend,
                world: World::ready(),
            },
            Self {
                name: "withdraw",
                what: What::Withdraw,
                world: released,
            },
        ]
    }

    fn arguments(&self) -> Vec<&'static str> {
        match self.what {
            What::Init => ["init", "--generate", "ed25519"]
                .into_iter()
                .chain(WITH_KEY)
                .collect(),
            What::Grant => vec![
                "grant",
                "foo",
                "1.2.3",
                "--builder",
                "m1",
                "--scheme",
                "hmac",
                "-o",
                OUT,
            ],
            What::Extend => vec!["key", "extend", "--expires", "3y"],
            What::Withdraw => vec![
                "withdraw", "foo", "1.2.3", "--reason", "why", "-o", WITHDRAWAL,
            ],
        }
    }

    pub(crate) fn attempt(&self) -> Attempt<'_> {
        let attempt = Attempt {
            errand: self,
            folder: tempfile::tempdir().expect("a temporary folder"),
        };
        copy_whole(&self.world.at(""), &attempt.folder());
        if self.what != What::Init {
            set_token(&attempt.folder());
        }
        attempt
    }

    /// How often it makes each of these system calls when nothing disturbs it.
    pub(crate) fn calls(&self, wanted: &[&str]) -> Vec<(String, usize)> {
        let attempt = self.attempt();
        counted(wanted, |options| {
            let output = attempt.traced(options, &self.arguments());
            assert!(output.status.success(), "{}: {output:?}", self.name);
            written(&attempt.trace())
        })
    }
}

/// The key that is on the token.
const WITH_KEY: [&str; 4] = ["--token", "file:token.pem", "--user-id", USER_ID];

impl Attempt<'_> {
    fn folder(&self) -> PathBuf {
        fs::canonicalize(self.folder.path())
            .expect("it is there")
            .join("copy")
    }

    fn trace(&self) -> PathBuf {
        self.folder.path().join("trace")
    }

    pub(crate) fn disturbed(&self, fault: &Fault) -> Disturbed {
        disturbed(&self.trace(), fault, |options| {
            self.traced(options, &self.errand.arguments())
        })
    }

    fn traced(&self, options: &[&str], arguments: &[&str]) -> Output {
        let arguments: Vec<&OsStr> = ["--home", "home"]
            .iter()
            .chain(arguments)
            .map(OsStr::new)
            .collect();
        strace(&self.trace(), options, &self.folder(), &[], &arguments)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.traced(&["-e", "trace=none"], arguments)
    }

    /// What a power cut could undo of a run of which strace wrote this.
    pub(crate) fn disk(&self, trace: &str) -> Disk {
        Disk::follow(&self.folder(), "", [], trace)
    }

    /// What is broken after this run, or after the same command once more.
    pub(crate) fn violations(&self, disturbed: &Disturbed) -> Vec<String> {
        let mut broken = Broken::default();
        let seen = self.look(&mut broken);
        if disturbed.output.status.success() {
            self.is_done(&seen, &mut broken);
        }
        let again = self.run(&self.errand.arguments());
        let said = String::from_utf8_lossy(&again.stderr).into_owned();
        let issued = seen
            .grant
            .as_ref()
            .is_some_and(|grant| seen.issued().contains(&grant.id()));
        match (self.errand.what, again.status.code()) {
            (_, Some(0)) => {}
            (What::Init, Some(2)) if said.contains("is set up already") => {
                broken.unless(seen.home.is_some(), || format!("it is not set up: {said}"));
            }
            (What::Init, Some(2)) if said.contains("leave `--generate` out to use that key") => {
                let with_key = [&["init"], &WITH_KEY[..]].concat();
                let with_key = self.run(&with_key);
                broken.unless(with_key.status.success(), || {
                    format!("nor without `--generate`: {with_key:?}")
                });
            }
            (What::Grant, Some(2)) if said.contains("was issued in ledger entry") => {
                broken.unless(issued, || format!("it was not issued: {said}"));
            }
            (What::Grant, Some(2)) if said.contains("was not issued by this signing host") => {
                broken.unless(!issued && seen.grant.is_some(), || {
                    format!("it was issued: {said}")
                });
                for file in [GRANT, KEY] {
                    let _may_be_missing = fs::remove_file(self.folder().join(file));
                }
                let third = self.run(&self.errand.arguments());
                broken.unless(third.status.success(), || {
                    format!("nor without what was left: {third:?}")
                });
            }
            _ => broken.unless(false, || format!("the same command again: {again:?}")),
        }
        let finished = self.look(&mut broken);
        broken.unless(finished.entries.starts_with(&seen.entries), || {
            "the log does not go on from before".into()
        });
        self.is_done(&finished, &mut broken);
        broken.0
    }

    /// What is to see now, in a copy: looking at a database mends it.
    fn look(&self, broken: &mut Broken) -> State {
        let copy = self.folder.path().join("looked-at");
        copy_whole(&self.folder(), &copy);
        let state = State::of(&copy, broken);
        fs::remove_dir_all(&copy).expect("removed");
        state
    }

    fn is_done(&self, state: &State, broken: &mut Broken) {
        let last = state.entries.last().map(|entry| &entry.event);
        let Some(home) = &state.home else {
            return broken.unless(false, || "it is not set up".into());
        };
        match self.errand.what {
            What::Init => {
                broken.unless(matches!(last, Some(Event::KeyReady { .. })), || {
                    format!("the log ends with {last:?}")
                });
            }
            What::Extend => {
                let other = fs::read(self.errand.world.home().join("release.asc"))
                    .expect("a certificate")
                    != home.certificate.armored().as_bytes();
                broken.unless(other, || "the certificate is the same as before".into());
            }
            What::Withdraw => {
                let count = |kind: &str| {
                    let entries = state.entries.iter();
                    entries.filter(|entry| entry.event.kind() == kind).count()
                };
                let counts = ["withdrawn", "grant-revoked"].map(count);
                broken.unless(counts == [1, 1], || {
                    format!("withdrawn, revoked: {counts:?}")
                });
                let there = listing(&self.folder().join(WITHDRAWAL));
                let whole = ["withdrawal.json", "withdrawal.json.asc"];
                broken.unless(there == whole, || format!("the statement is {there:?}"));
                let check = [
                    "verify",
                    "--cert",
                    "release.pgp",
                    "out/foo-1.2.3.withdrawal/withdrawal.json",
                ];
                let valid = self.run(&check);
                broken.unless(valid.status.success(), || {
                    format!("it is not valid: {valid:?}")
                });
            }
            What::Grant => {
                let issued = state.issued();
                let there = state
                    .grant
                    .as_ref()
                    .is_some_and(|grant| issued.contains(&grant.id()));
                broken.unless(there, || "there is no grant that was issued".into());
                let nonces = listing(&self.folder().join("home/nonces"));
                let needed: Vec<_> = issued
                    .iter()
                    .map(|grant| format!("{}.m1", grant.hex()))
                    .collect();
                let whole = nonces
                    .iter()
                    .all(|nonce| needed.iter().any(|it| nonce.starts_with(it.as_str())));
                broken.unless(whole && !nonces.is_empty(), || {
                    format!("the nonces of {needed:?} are {nonces:?}")
                });
            }
        }
    }
}

impl State {
    /// Everything under a final name is whole, and in the log.
    fn of(folder: &Path, broken: &mut Broken) -> Self {
        let count =
            fs::read_to_string(folder.join("token.pem.count")).unwrap_or_else(|_| "0".to_owned());
        let made: u64 = count.trim_end().parse().expect("a number");
        let mut state = Self {
            home: None,
            entries: Vec::new(),
            grant: None,
        };
        let home = folder.join("home");
        if home.join("config.toml").exists() {
            match Home::open(&home) {
                Ok(home) => state.home = Some(home),
                Err(fault) => broken.unless(false, || format!("the home is not whole: {fault}")),
            }
        }
        for name in ["release.asc", "revocation.asc"] {
            let text = fs::read_to_string(home.join(name)).unwrap_or_else(|_| "\n".to_owned());
            broken.unless(text.ends_with('\n'), || {
                format!("{name} is not whole: {text}")
            });
        }
        if let Some(home) = &state.home {
            broken.unless(home.log_key().is_ok(), || {
                "the log's key is not whole".into()
            });
            let ledger = home.ledger().expect("the ledger opens");
            let keep = |entry| {
                state.entries.push(entry);
                Ok(())
            };
            ledger
                .each::<LedgerError>(keep)
                .expect("every entry is read");
            if let Err(fault) = ledger.verify(&home.config.log_key, &[]) {
                broken.unless(false, || format!("the log does not verify: {fault}"));
            }
            let digest = Sha256::of(&home.certificate.binary());
            let logged = state.entries.iter().any(|entry| match &entry.event {
                Event::KeyReady { certificate, .. } => *certificate == digest,
                _ => false,
            });
            broken.unless(logged, || {
                "a certificate is in use that is not in the log".into()
            });
            let announced = state.entries.iter().map(|entry| match &entry.event {
                Event::KeyIntended { signatures, .. } => *signatures,
                Event::Intent(intent) => intent.plan().files().len() as u64,
                _ => 0,
            });
            let announced = announced.sum::<u64>();
            broken.unless(made <= announced, || {
                format!("{made} signatures by the token, {announced} announced")
            });
        }
        if let Ok(bytes) = fs::read(folder.join(GRANT)) {
            match Grant::parse(&bytes) {
                Ok(grant) => state.grant = Some(grant),
                Err(fault) => broken.unless(false, || format!("the grant is not whole: {fault}")),
            }
        }
        if let Ok(bytes) = fs::read(folder.join(KEY)) {
            broken.unless(BuildKey::parse(&bytes).is_ok(), || {
                "the build key is not whole".into()
            });
            broken.unless(state.grant.is_some(), || {
                "a build key without its grant".into()
            });
        }
        // What is in use is there with everything that belongs to it.
        if let Some(grant) = state
            .grant
            .as_ref()
            .filter(|grant| state.issued().contains(&grant.id()))
        {
            let kept = fs::read(home.join(format!("grants/{}.json", grant.id().hex())));
            broken.unless(kept.is_ok_and(|kept| kept == grant.bytes()), || {
                "the home does not have the grant".into()
            });
            broken.unless(folder.join(KEY).exists(), || {
                "a grant was issued without its build key".into()
            });
        }
        state
    }

    fn issued(&self) -> Vec<GrantId> {
        let issued = self.entries.iter().filter_map(|entry| match &entry.event {
            Event::GrantIssued { grant, .. } => Some(*grant),
            _ => None,
        });
        issued.collect()
    }
}
