//! What is recorded of a grant at most once, and what has to be before. What the token was not
//! asked for yet can be replaced: an acceptance, and an intent.

use crate::domain::event::{Event, RunResult};

/// What is recorded of a grant at most once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Milestone {
    Issued,
    Accepted,
    Intended,
    Signed,
    Released,
    Pushed,
    Revoked,
    Withdrawn,
    WithdrawalPushed,
}

impl Milestone {
    /// As the database has it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Issued => "issued",
            Self::Accepted => "accepted",
            Self::Intended => "intended",
            Self::Signed => "signed",
            Self::Released => "released",
            Self::Pushed => "pushed",
            Self::Revoked => "revoked",
            Self::Withdrawn => "withdrawn",
            Self::WithdrawalPushed => "withdrawal-pushed",
        }
    }

    pub(super) fn of(event: &Event) -> Option<Self> {
        match event {
            Event::GrantIssued { .. } => Some(Self::Issued),
            Event::EvidenceAccepted { .. } => Some(Self::Accepted),
            Event::Intent(_) => Some(Self::Intended),
            Event::Outcome {
                result: RunResult::Signed { .. },
                ..
            } => Some(Self::Signed),
            Event::Released { .. } => Some(Self::Released),
            Event::Pushed { .. } => Some(Self::Pushed),
            Event::GrantRevoked { .. } => Some(Self::Revoked),
            Event::Withdrawn { .. } => Some(Self::Withdrawn),
            Event::WithdrawalPushed { .. } => Some(Self::WithdrawalPushed),
            Event::LogCreated { .. }
            | Event::KeyIntended { .. }
            | Event::KeyOutcome { .. }
            | Event::KeyReady { .. }
            | Event::GrantApproved { .. }
            | Event::EvidenceRefused { .. }
            | Event::Artifacts(_)
            | Event::Resumed { .. }
            | Event::Outcome {
                result: RunResult::Stopped { .. },
                ..
            }
            | Event::Admission { .. }
            | Event::Reconciled { .. }
            | Event::ClockAcknowledged { .. } => None,
        }
    }

    /// What it follows, where a release is withdrawn.
    pub(super) fn needs(self) -> Option<Self> {
        match self {
            Self::Withdrawn => Some(Self::Released),
            Self::WithdrawalPushed => Some(Self::Withdrawn),
            _ => None,
        }
    }

    /// Whether it can no longer follow a revocation. What the token signed before the revocation
    /// is recorded to its end.
    pub(super) fn needs_valid_grant(self) -> bool {
        match self {
            Self::Accepted | Self::Intended | Self::Revoked => true,
            Self::Issued
            | Self::Signed
            | Self::Released
            | Self::Pushed
            | Self::Withdrawn
            | Self::WithdrawalPushed => false,
        }
    }
}
