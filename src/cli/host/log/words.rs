//! An event in the words of a line of `countersign log list`.

use super::reconcile::described;
use crate::cli::host::token_words;
use crate::domain::event::{CardUse, Event, Finding, Intent, KeyPurpose, RunResult, Verdict};
use crate::domain::signing::ReleaseForm;

/// What happened, in a few words.
pub(super) fn summary(event: &Event) -> String {
    match event {
        Event::LogCreated { key, .. } => format!("log key {key}"),
        Event::KeyIntended { purpose, token, .. } => match purpose {
            KeyPurpose::Generate => format!("a key pair is to be made on {token}"),
            KeyPurpose::Certify => format!("a certificate is to be signed on {token}"),
            KeyPurpose::Withdraw => format!("a withdrawal is to be signed on {token}"),
            KeyPurpose::SelfTest => format!("a self-test is to be signed on {token}"),
        },
        Event::KeyOutcome {
            intent,
            failed: None,
            card,
        } => format!("entry {intent}: done{}", counted(card)),
        Event::KeyOutcome {
            intent,
            failed: Some(reason),
            card,
        } => {
            format!("entry {intent}: failed{}: {reason}", counted(card))
        }
        Event::KeyReady { key, .. } => format!("release key {key}"),
        Event::GrantIssued {
            grant,
            project,
            version,
            expires,
            ..
        } => {
            format!(
                "grant {} for {project} {version} until {expires}",
                grant.short()
            )
        }
        Event::GrantApproved {
            grant,
            approver,
            key,
            ..
        } => {
            format!("grant {} by {approver} with {key}", grant.short())
        }
        Event::GrantRevoked {
            grant,
            reason: None,
        } => format!("grant {}", grant.short()),
        Event::GrantRevoked {
            grant,
            reason: Some(reason),
        } => format!("grant {}: {reason}", grant.short()),
        Event::EvidenceAccepted {
            grant,
            builders,
            scheme,
            replaces,
            ..
        } => {
            let names = builders
                .keys()
                .map(|name| name.as_str())
                .collect::<Vec<_>>()
                .join(" and ");
            let who = if builders.len() == 1 {
                "builder"
            } else {
                "builders"
            };
            let alone = if scheme.convinces_host_alone() {
                ", by MACs that convince this host alone"
            } else {
                ""
            };
            let before = in_place_of(*replaces);
            format!(
                "grant {} closed by {who} {names}{alone}{before}",
                grant.short()
            )
        }
        Event::EvidenceRefused { grant, reason, .. } => {
            format!("grant {}: {reason}", grant.short())
        }
        Event::Artifacts(part) => {
            format!(
                "grant {}: {} of the artifacts of the intent that follows",
                part.grant.short(),
                part.artifacts.len()
            )
        }
        Event::Intent(Intent {
            grant,
            form,
            artifacts_from: Some(first),
            replaces,
            ..
        }) => {
            let what = match form {
                ReleaseForm::Each => "signatures of the list and of the",
                ReleaseForm::ListOnly => "1 signature, of the list of the",
            };
            format!(
                "grant {}: {what} artifacts in the entries from {first} on{}",
                grant.short(),
                in_place_of(*replaces)
            )
        }
        Event::Intent(intent) if intent.form == ReleaseForm::ListOnly => {
            format!(
                "grant {}: 1 signature, of the list of {} artifacts{}",
                intent.grant.short(),
                intent.artifacts.len(),
                in_place_of(intent.replaces)
            )
        }
        Event::Intent(intent) => format!(
            "grant {}: {} signatures{}",
            intent.grant.short(),
            intent.plan().files().len(),
            in_place_of(intent.replaces)
        ),
        Event::Resumed {
            intent,
            kept,
            unsettled,
            card,
        } => {
            let again = unsettled.as_ref().map_or(String::new(), |file| {
                format!(", the token is asked again for `{file}`")
            });
            format!(
                "entry {intent}: goes on with {kept} signatures kept{again}{}",
                counted(card)
            )
        }
        Event::Outcome {
            intent,
            result: RunResult::Signed { token_signatures },
            card,
        } => {
            format!(
                "entry {intent}: signed, {} by the token{}",
                token_words::counted(*token_signatures, "signature", "signatures"),
                counted(card)
            )
        }
        Event::Outcome {
            intent,
            result:
                RunResult::Stopped {
                    token_signatures,
                    reason,
                    ..
                },
            card,
        } => {
            format!(
                "entry {intent}: stopped after {} by the token{}: {reason}",
                token_words::counted(*token_signatures, "signature", "signatures"),
                counted(card)
            )
        }
        Event::Released { intent, .. } => format!("entry {intent}: released"),
        Event::Pushed { intent } => format!("entry {intent}: pushed"),
        Event::Admission {
            intent,
            result: Verdict::Admitted { at },
        } => {
            format!("entry {intent}: the location reports that it admitted the release at {at}")
        }
        Event::Admission {
            intent,
            result: Verdict::Refused { reason },
        } => {
            format!("entry {intent}: the location reports that it refused it: {reason}")
        }
        Event::Admission {
            intent,
            result: Verdict::Withdrawn { at },
        } => {
            format!("entry {intent}: the location reports that it withdrew the release at {at}")
        }
        Event::Withdrawn { intent, reason, .. } => format!("entry {intent}: {reason}"),
        Event::WithdrawalPushed { intent } => format!("entry {intent}: withdrawal pushed"),
        Event::Reconciled {
            card,
            counter,
            findings,
            acknowledged,
        } => {
            let counter = counter
                .map(|counter| format!(" counted {counter}"))
                .unwrap_or_default();
            let acknowledged = acknowledged
                .as_ref()
                .map(|reason| format!("; acknowledged: {reason}"));
            format!(
                "card {card}{counter}: {}{}",
                found(findings),
                acknowledged.unwrap_or_default()
            )
        }
        Event::ClockAcknowledged { newest, reason } => {
            format!("the clock had run ahead, to {newest}: {reason}")
        }
    }
}

/// What was found, or nothing.
fn found(findings: &[Finding]) -> String {
    match findings {
        [] => "nothing is missing".to_owned(),
        findings => findings
            .iter()
            .map(described)
            .collect::<Vec<_>>()
            .join("; "),
    }
}

fn in_place_of(replaced: Option<u64>) -> String {
    replaced.map_or_else(String::new, |entry| format!(", in place of entry {entry}"))
}

/// The card and its counter, as far as they are known.
fn counted(card: &Option<CardUse>) -> String {
    let Some(CardUse {
        card,
        before,
        after,
    }) = card
    else {
        return String::new();
    };
    match (before, after) {
        (Some(before), Some(after)) => format!(", card {card} counted {before} to {after}"),
        (Some(count), None) | (None, Some(count)) => format!(", card {card} counted {count}"),
        (None, None) => format!(", card {card}"),
    }
}
