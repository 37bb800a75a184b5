//! Synthetic releases in a ledger, each with two artifacts.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;

use countersign::domain::digest::{GrantId, Sha256};
use countersign::domain::event::{Event, Intent, RunResult};
use countersign::domain::evidence::{EvidenceForm, Scheme};
use countersign::domain::key::HashAlgorithm;
use countersign::domain::name::{ArtifactName, BuilderName};
use countersign::domain::signing::ReleaseForm;
use countersign::domain::time::Timestamp;
use countersign::ledger::Ledger;
use countersign::tlog::checkpoint::Checkpoint;
use countersign::tlog::note::SignerKey;
use countersign::tlog::proof::Proof;

/// As long as an armoured Ed25519 signature with its notations.
const SIGNATURE: usize = 430;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// A ledger with this many releases.
pub(crate) struct Releases<'a> {
    pub(crate) ledger: Ledger,
    log_key: &'a SignerKey,
    count: u64,
    now: Timestamp,
}

impl<'a> Releases<'a> {
    pub(crate) fn begin(mut ledger: Ledger, log_key: &'a SignerKey) -> Result<Self> {
        let now = Timestamp::from_unix(1_800_000_000);
        ledger.begin(now, &log_key.public())?;
        Ok(Self {
            ledger,
            log_key,
            count: 0,
            now,
        })
    }

    /// Adds releases until there are `entries` entries at least.
    pub(crate) fn grow(&mut self, entries: u64) -> Result<()> {
        while self.ledger.size()? < entries {
            self.add()?;
        }
        Ok(())
    }

    /// All that a release's run logs: five entries and its signatures.
    fn add(&mut self) -> Result<()> {
        let (n, now) = (self.count, self.now);
        let grant = grant(n);
        let builder: BuilderName = "m1".parse()?;
        let issued = Event::GrantIssued {
            grant,
            project: format!("project-{}", n % 100).parse()?,
            version: format!("{n}").parse()?,
            expires: now,
            scheme: Scheme::OpenPgp,
            evidence: EvidenceForm::Manifest,
            quorum: 1,
            builders: [(
                builder.clone(),
                "2B48898287DBE08F633E136A89AAA59D58641498".to_owned(),
            )]
            .into(),
            allow_older: false,
        };
        self.ledger.append(now, issued)?;
        let accepted = Event::EvidenceAccepted {
            grant,
            scheme: Scheme::OpenPgp,
            builders: [(builder, Sha256::of(b"evidence"))].into(),
            artifacts: Sha256::of(&n.to_be_bytes()),
            replaces: None,
        };
        self.ledger.append(now, accepted)?;
        let intent = Intent {
            grant,
            project: "project".parse()?,
            version: n.to_string().parse()?,
            key: "A1B2C3D4E5F60718293A4B5C6D7E8F9001122334".parse()?,
            hash: HashAlgorithm::Sha256,
            created: now,
            notation_domain: "example.org".to_owned(),
            artifacts: artifacts(n)?,
            artifacts_from: None,
            sums: digest("sums", n),
            form: ReleaseForm::Each,
            card: None,
            replaces: None,
        };
        let index = self.ledger.append(now, Event::Intent(intent.clone()))?;
        self.ledger.mark_asked(index)?;
        for file in intent.plan().names() {
            self.ledger
                .keep_signature(index, file, &format!("{file} {n:0>SIGNATURE$}"))?;
        }
        let result = RunResult::Signed {
            token_signatures: 3,
        };
        self.ledger.append(
            now,
            Event::Outcome {
                intent: index,
                result,
                card: None,
            },
        )?;
        let released = Event::Released {
            intent: index,
            sums: intent.sums,
            to_push: false,
        };
        let folder = format!("/srv/inbox/project-{n}");
        self.ledger.append_in(now, released, Path::new(&folder))?;
        self.count += 1;
        Ok(())
    }

    /// Appends one entry, about some release.
    pub(crate) fn refuse(&mut self, n: u64) -> Result<()> {
        let reason = "builder `m1` signed another manifest".to_owned();
        let event = Event::EvidenceRefused {
            grant: grant(self.some(n)),
            reason,
            differences: BTreeMap::new(),
        };
        self.ledger.append(self.now, event)?;
        Ok(())
    }

    /// A checkpoint of the log as it is now, and its signed note.
    pub(crate) fn checkpoint(&self) -> Result<(Checkpoint, String)> {
        let head = self.ledger.head()?;
        let note = head.sign(self.log_key);
        Ok((head, note))
    }

    /// Finds the entry that covers some artifact, proves it as `log prove` does, and checks the
    /// proof as `verify --proof` does. How many hashes it has.
    pub(crate) fn prove(&self, n: u64, (head, note): &(Checkpoint, String)) -> Result<usize> {
        let digest = digest("artifact-0", self.some(n));
        let found = self.ledger.covering(digest)?;
        let [index] = found[..] else {
            return Err(format!("{} entries cover {digest}", found.len()).into());
        };
        let text = self.ledger.prove(index, head, note.clone())?.to_text();
        let proof = Proof::parse(text.as_bytes())?;
        proof.check(&self.log_key.public())?;
        Ok(proof.path.len())
    }

    pub(crate) fn verify(&self) -> Result<()> {
        self.ledger.verify(&self.log_key.public(), &[])?;
        Ok(())
    }

    /// A release that was added, anywhere among all.
    fn some(&self, n: u64) -> u64 {
        n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % self.count
    }
}

fn grant(n: u64) -> GrantId {
    GrantId::of(&n.to_be_bytes())
}

fn artifacts(n: u64) -> Result<BTreeMap<ArtifactName, Sha256>> {
    ["artifact-0", "artifact-1"]
        .into_iter()
        .map(|name| Ok((name.parse()?, digest(name, n))))
        .collect()
}

fn digest(what: &str, n: u64) -> Sha256 {
    Sha256::of(format!("{what} {n}").as_bytes())
}
