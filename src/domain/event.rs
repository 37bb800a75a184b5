//! What H's audit log keeps: one event for each thing that happened to a grant, a build or the
//! release key.
//!
//! Events are public: digests and public keys, never a secret, a PIN source or a path of H.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::digest::{GrantId, Sha256};
use super::evidence::{Differences, EvidenceForm, Scheme};
use super::key::{Fingerprint, HashAlgorithm};
use super::malformed::Malformed;
use super::name::{ApproverName, BuilderName, ProjectName, Version};
use super::time::Timestamp;

pub use super::card::{CardUse, Finding};
pub use super::intent::Intent;

/// An event with its place and time in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its place, counted from 0 without gaps.
    pub index: u64,
    /// When it was written, by H's clock: this goes back from one entry to the next only if the
    /// clock did.
    pub at: Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

impl Entry {
    /// Reads the text of entry `index`. Each entry has one text, [`Entry::to_text`]: another
    /// parser could find more in other words for the same.
    pub fn parse(index: u64, text: &[u8]) -> Result<Self, Malformed> {
        let entry: Self =
            serde_json::from_slice(text).map_err(|error| Malformed::new(error.to_string()))?;
        if entry.index != index {
            return Err(Malformed::new(format!("it has index {}", entry.index)));
        }
        if entry.to_text().as_bytes() != text {
            return Err(Malformed::new("it is not written as countersign writes it"));
        }
        Ok(entry)
    }

    /// Its text, which is what the log's tree has the hash of.
    pub fn to_text(&self) -> String {
        serde_json::to_string(self).expect("an entry can be written as JSON")
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Event {
    /// The log begins.
    LogCreated {
        /// What the log is called: the name of its key.
        origin: String,
        /// The public half of the key that signs its checkpoints, as signed notes write it.
        key: String,
    },
    /// The token is about to be asked for a key or for the signatures of a certificate.
    KeyIntended {
        /// The token: what its URI says of token and key.
        token: String,
        /// What for.
        purpose: KeyPurpose,
        /// How many signatures it will be asked for.
        signatures: u64,
        /// The card, where it is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        card: Option<CardUse>,
    },
    /// What the token was asked for beside the signatures of a release ended.
    KeyOutcome {
        /// The index of what was intended.
        intent: u64,
        /// The reason of the error, if it failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failed: Option<String>,
        /// The card, where it is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        card: Option<CardUse>,
    },
    /// The release key works with this certificate, which is taken into use after this entry.
    KeyReady {
        /// The token, likewise.
        token: String,
        /// Fingerprint of the signing key.
        key: Fingerprint,
        /// SHA-256 of the release certificate in binary form.
        certificate: Sha256,
    },
    /// A grant was issued, and with it the public halves of its build keys.
    GrantIssued {
        /// The grant.
        grant: GrantId,
        /// Its project.
        project: ProjectName,
        /// Its version.
        version: Version,
        /// Its end.
        expires: Timestamp,
        /// How its builders authenticate their evidence.
        scheme: Scheme,
        /// The form of their evidence.
        evidence: EvidenceForm,
        /// How many builders must agree.
        quorum: u32,
        /// The builders and their build keys: an OpenPGP fingerprint, or the SHA-256 of the text in
        /// the grant.
        builders: BTreeMap<BuilderName, String>,
        /// Whether it may be an older version than one that was granted or signed before.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        allow_older: bool,
    },
    /// An approver approved a grant.
    GrantApproved {
        /// The grant.
        grant: GrantId,
        /// The approver.
        approver: ApproverName,
        /// Their key: an OpenPGP fingerprint, or that of an SSH key, `SHA256:…`.
        key: String,
        /// The file of the signature among the approvals.
        file: String,
        /// SHA-256 of the signature.
        signature: Sha256,
    },
    /// A grant was revoked: nothing more is signed under it.
    GrantRevoked {
        /// The grant.
        grant: GrantId,
        /// The reason, if one was given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// A build was verified, and closes its grant for every other. Until the token is asked for a
    /// signature, other evidence of the same build can take its place.
    EvidenceAccepted {
        /// The grant.
        grant: GrantId,
        /// How the evidence was authenticated. `hmac` convinces this signing host alone: it could
        /// have made the MACs itself.
        scheme: Scheme,
        /// The builders, each with the SHA-256 of the lines that `sha256sum` writes of its
        /// evidence.
        builders: BTreeMap<BuilderName, Sha256>,
        /// SHA-256 of the lines that `sha256sum` writes of the artifacts: which build it is.
        artifacts: Sha256,
        /// The entry of the evidence that this replaces.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        replaces: Option<u64>,
    },
    /// A build was refused; the token was not used.
    EvidenceRefused {
        /// The grant.
        grant: GrantId,
        /// Why, in the words of the error.
        reason: String,
        /// What builders differ in, if that is why.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        differences: Differences,
    },
    /// Some of the artifacts of the intent that follows, which has more than fit an entry, and all
    /// that their signatures depend on.
    Artifacts(Intent),
    /// The token is about to be asked for the signatures of a release.
    Intent(Intent),
    /// A run goes on under an earlier one's intent: with the signatures that this one kept, and for
    /// the others with the token.
    Resumed {
        /// The index of the intent.
        intent: u64,
        /// How many signatures are kept.
        kept: u64,
        /// The file for which the token may have made a signature that is not kept. It is asked for
        /// that one again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unsettled: Option<String>,
        /// The card, where it is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        card: Option<CardUse>,
    },
    /// The token's part in a run ended.
    Outcome {
        /// The index of its intent.
        intent: u64,
        /// How.
        result: RunResult,
        /// The card, where it is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        card: Option<CardUse>,
    },
    /// The signed release is complete under its name.
    Released {
        /// The index of its intent.
        intent: u64,
        /// SHA-256 of its list.
        sums: Sha256,
        /// Whether it is to be pushed, because the configuration named an inbox.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        to_push: bool,
    },
    /// The release is complete in its location's inbox, too.
    Pushed {
        /// The index of its intent.
        intent: u64,
    },
    /// The inbox had a report of what the location did with a release. Anyone who may write there
    /// can have written it.
    Admission {
        /// The index of its intent.
        intent: u64,
        /// The report.
        result: Verdict,
    },
    /// A release is withdrawn, from this entry on. The token is asked for the signature of the
    /// statement next.
    Withdrawn {
        /// The index of the release's intent.
        intent: u64,
        /// The key that signs the statement.
        key: Fingerprint,
        /// The hash function of its signature, which has the time of this entry.
        hash: HashAlgorithm,
        /// SHA-256 of the statement.
        statement: Sha256,
        /// Why, in the operator's words.
        reason: String,
    },
    /// The statement that a release is withdrawn is in its location's inbox.
    WithdrawalPushed {
        /// The index of the release's intent.
        intent: u64,
    },
    /// A card's signature counter was compared with everything that was logged before.
    Reconciled {
        /// The card.
        card: String,
        /// How many signatures the release key on it had made; nothing if that key is not on it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        counter: Option<u32>,
        /// What is wrong, and was not acknowledged before: the first hundred.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        findings: Vec<Finding>,
        /// Why the findings are acknowledged, in the operator's words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        acknowledged: Option<String>,
    },
    /// The clock had run ahead when earlier entries were written, and is right now.
    ClockAcknowledged {
        /// The newest time of those entries.
        newest: Timestamp,
        /// Why, in the operator's words.
        reason: String,
    },
}

/// What the token is asked for beside the signatures of a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyPurpose {
    /// A new key pair.
    Generate,
    /// The self-signatures of a certificate, and a signature to test it.
    Certify,
    /// A signature over a text for this purpose, to see whether the key works.
    SelfTest,
    /// The signature of the statement that a release is withdrawn.
    Withdraw,
}

/// How a signing run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "kebab-case")]
pub enum RunResult {
    /// Each signature was made, checked and kept.
    Signed {
        /// How many signatures the token made in this run.
        token_signatures: u64,
    },
    /// The run stopped; what the token had signed until then is kept for the next.
    Stopped {
        /// How many signatures the token made in this run.
        token_signatures: u64,
        /// The file that the token was asked to sign, and for which no answer is kept.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unsettled: Option<String>,
        /// The reason of the error.
        reason: String,
    },
}

/// What a location did with a release, by its own report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "kebab-case")]
pub enum Verdict {
    /// It was valid, and is public.
    Admitted {
        /// When, by the location's clock.
        at: Timestamp,
    },
    /// It is no longer public.
    Withdrawn {
        /// Since when, by the location's clock.
        at: Timestamp,
    },
    /// It was not valid.
    Refused {
        /// Why, in the location's words.
        reason: String,
    },
}

impl Event {
    /// Every kind there is.
    pub const KINDS: [&'static str; 20] = [
        "log-created",
        "key-intended",
        "key-outcome",
        "key-ready",
        "grant-issued",
        "grant-approved",
        "grant-revoked",
        "evidence-accepted",
        "evidence-refused",
        "artifacts",
        "intent",
        "resumed",
        "outcome",
        "released",
        "pushed",
        "admission",
        "withdrawn",
        "withdrawal-pushed",
        "reconciled",
        "clock-acknowledged",
    ];

    /// Its kind, as the log writes it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::LogCreated { .. } => "log-created",
            Self::KeyIntended { .. } => "key-intended",
            Self::KeyOutcome { .. } => "key-outcome",
            Self::KeyReady { .. } => "key-ready",
            Self::GrantIssued { .. } => "grant-issued",
            Self::GrantApproved { .. } => "grant-approved",
            Self::GrantRevoked { .. } => "grant-revoked",
            Self::EvidenceAccepted { .. } => "evidence-accepted",
            Self::EvidenceRefused { .. } => "evidence-refused",
            Self::Artifacts(_) => "artifacts",
            Self::Intent(_) => "intent",
            Self::Resumed { .. } => "resumed",
            Self::Outcome { .. } => "outcome",
            Self::Released { .. } => "released",
            Self::Pushed { .. } => "pushed",
            Self::Admission { .. } => "admission",
            Self::Withdrawn { .. } => "withdrawn",
            Self::WithdrawalPushed { .. } => "withdrawal-pushed",
            Self::Reconciled { .. } => "reconciled",
            Self::ClockAcknowledged { .. } => "clock-acknowledged",
        }
    }

    /// Whether it leads to a signature or rests on the time, so that the clock must not be behind
    /// the log.
    pub fn needs_clock(&self) -> bool {
        matches!(
            self,
            Self::EvidenceAccepted { .. }
                | Self::Intent(_)
                | Self::Resumed { .. }
                | Self::KeyIntended { .. }
                | Self::Withdrawn { .. }
        )
    }

    /// The grant that it is about, if it names one. What follows an intent names only the intent.
    pub fn grant(&self) -> Option<GrantId> {
        match self {
            Self::GrantIssued { grant, .. }
            | Self::GrantApproved { grant, .. }
            | Self::GrantRevoked { grant, .. }
            | Self::EvidenceAccepted { grant, .. }
            | Self::EvidenceRefused { grant, .. }
            | Self::Artifacts(Intent { grant, .. })
            | Self::Intent(Intent { grant, .. }) => Some(*grant),
            Self::LogCreated { .. }
            | Self::KeyIntended { .. }
            | Self::KeyOutcome { .. }
            | Self::KeyReady { .. }
            | Self::Resumed { .. }
            | Self::Outcome { .. }
            | Self::Released { .. }
            | Self::Pushed { .. }
            | Self::Admission { .. }
            | Self::Withdrawn { .. }
            | Self::WithdrawalPushed { .. }
            | Self::Reconciled { .. }
            | Self::ClockAcknowledged { .. } => None,
        }
    }

    /// The index of the intent that it follows, and names in place of the grant.
    pub fn follows(&self) -> Option<u64> {
        match self {
            Self::Resumed { intent, .. }
            | Self::Outcome { intent, .. }
            | Self::Released { intent, .. }
            | Self::Pushed { intent, .. }
            | Self::Admission { intent, .. }
            | Self::Withdrawn { intent, .. }
            | Self::WithdrawalPushed { intent } => Some(*intent),
            Self::LogCreated { .. }
            | Self::KeyIntended { .. }
            | Self::KeyOutcome { .. }
            | Self::KeyReady { .. }
            | Self::GrantIssued { .. }
            | Self::GrantApproved { .. }
            | Self::GrantRevoked { .. }
            | Self::EvidenceAccepted { .. }
            | Self::EvidenceRefused { .. }
            | Self::Artifacts(_)
            | Self::Intent(_)
            | Self::Reconciled { .. }
            | Self::ClockAcknowledged { .. } => None,
        }
    }
}

#[cfg(all(test, feature = "host"))]
impl Event {
    /// That a grant of foo 1 was issued, whose builders do not matter.
    pub(crate) fn example_grant(grant: GrantId) -> Self {
        Self::GrantIssued {
            grant,
            project: "foo".parse().expect("a name"),
            version: "1".parse().expect("a version"),
            expires: "2026-11-22T10:00:00Z".parse().expect("a time"),
            scheme: Scheme::OpenPgp,
            evidence: EvidenceForm::Manifest,
            quorum: 1,
            builders: [].into(),
            allow_older: false,
        }
    }

    /// That a build was accepted under a grant, from builders who do not matter either.
    pub(crate) fn example_acceptance(grant: GrantId) -> Self {
        let artifacts = Sha256::of(b"m");
        Self::EvidenceAccepted {
            grant,
            scheme: Scheme::OpenPgp,
            builders: [].into(),
            artifacts,
            replaces: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::signing::ReleaseForm;

    fn entry(event: Event) -> Entry {
        Entry {
            index: 3,
            at: "2026-11-22T10:00:00Z".parse().expect("a time"),
            event,
        }
    }

    #[test]
    fn an_entry_reads_back_as_it_was_written() {
        let card = Some(CardUse {
            card: "0006:12345678".into(),
            before: Some(7),
            after: None,
        });
        let entry = entry(Event::Intent(Intent {
            form: ReleaseForm::ListOnly,
            card,
            ..Intent::example()
        }));
        let text = entry.to_text();
        assert!(
            text.starts_with(
                r#"{"index":3,"at":"2026-11-22T10:00:00Z","kind":"intent","grant":"sha256:"#
            ),
            "{text}"
        );
        assert_eq!(Entry::parse(3, text.as_bytes()).expect("read"), entry);
    }

    #[test]
    fn an_entry_has_one_text_and_one_place() {
        let text = entry(Event::GrantRevoked {
            grant: GrantId::of(b"g"),
            reason: None,
        })
        .to_text();
        let parse = |index, text: &str| {
            Entry::parse(index, text.as_bytes()).map_err(|fault| fault.to_string())
        };
        assert!(parse(3, &text).is_ok());
        assert_eq!(parse(4, &text), Err("it has index 3".to_owned()));
        for (was, is) in [
            ("{", "{ "),
            ("}", ",\"more\":1}"),
            ("}", ",\"reason\":null}"),
            (
                "\"index\":3,",
                "\"index\":3,\"reason\":\"x\",\"reason\":null,",
            ),
            ("2026-11-22T10:00:00Z", "2026-11-22T10:00:00.0Z"),
        ] {
            let other = text.replacen(was, is, 1);
            assert_ne!(other, text, "{was}");
            parse(3, &other).expect_err(is);
        }
        assert!(parse(3, &text[..text.len() - 1]).is_err());
    }

    #[test]
    fn each_kind_is_one_that_the_log_can_be_asked_for() {
        let unknown = br#"{"index":0,"at":"2026-11-22T10:00:00Z","kind":"x"}"#;
        let error = Entry::parse(0, unknown)
            .expect_err("no such kind")
            .to_string();
        let mut listed: Vec<&str> = error.split('`').skip(3).step_by(2).collect();
        let mut known = Event::KINDS.to_vec();
        listed.sort_unstable();
        known.sort_unstable();
        assert_eq!(listed, known, "{error}");
    }
}
