//! Withdrawing a release: a statement that the release key signs, and that is pushed as a release
//! is.
//!
//! The release is withdrawn from the entry on that says so, before the token is used; what fails
//! behind it, the same command finishes.

use std::path::Path;

use super::Host;
use super::export::export_as_configured;
use super::hand_over::{Arrived, HandedOver};
use super::push::{PushError, Pushed, Release, Statement};
use super::release_key::{Checked, KeyError, KeyLog, Use, find};
use crate::domain::digest::{GrantId, Sha256};
use crate::domain::event::Event;
use crate::domain::malformed::Malformed;
use crate::domain::name::{ProjectName, Version};
use crate::domain::reserved::WITHDRAWAL;
use crate::domain::signing::{Message, SignedFile, Signing};
use crate::domain::withdrawal::Withdrawal;
use crate::files::{FileError, FileFault, StagedFolder};
use crate::ledger::{GrantRecord, LedgerError};
use crate::location::{Publish, Published};
use crate::openpgp::{HashState, SigningKey, make_release_signature};
use crate::steps::release::error::ReleaseError;
use crate::steps::release::withdrawal::Withdrawn;
use crate::token::{self, Interaction, LockedToken, Token};

/// Why a release was not withdrawn.
#[expect(missing_docs, reason = "each message says what it means")]
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum WithdrawError {
    #[error("no release {project} {version} was finished here")]
    #[diagnostic(
        code(usage::release_to_withdraw_unknown),
        help(
            "nothing is signed under a grant that is revoked: `countersign grants revoke`; \
             `countersign grants list --project {project}` shows what was granted"
        )
    )]
    Unknown {
        project: ProjectName,
        version: Version,
    },
    #[error("{0}")]
    #[diagnostic(code(usage::withdrawal_reason))]
    Reason(#[from] Malformed),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Key(KeyError),
    #[error("the signature kept for the withdrawal cannot be used: {0}")]
    #[diagnostic(
        code(trouble::kept_withdrawal_invalid),
        help("the ledger or the certificate changed; see `countersign log verify`")
    )]
    Kept(ReleaseError),
}

impl<E: Into<KeyError>> From<E> for WithdrawError {
    fn from(error: E) -> Self {
        Self::Key(error.into())
    }
}

/// A release that is withdrawn.
#[derive(Debug)]
pub struct Done {
    /// The statement.
    pub statement: Statement,
    /// Whether this run withdrew it; otherwise an earlier one did, for its own reason.
    pub new: bool,
    /// Whether the token made the signature in this run.
    pub signed: bool,
    /// What was done beyond this host.
    pub handed_over: HandedOver,
}

impl Host {
    /// Withdraws a release that was finished here, and publishes the statement of that in `folder`
    /// and as the configuration says. Asks the token only for a signature that no earlier run has
    /// kept. Nothing of the release is signed or pushed any more.
    pub fn withdraw(
        &mut self,
        project: &ProjectName,
        version: &Version,
        reason: String,
        folder: &Path,
        people: &mut dyn Interaction,
    ) -> Result<Done, WithdrawError> {
        let now = self.clock.now();
        self.check_anchors()?;
        let record = self.released(project, version)?;
        let _held = self.home.hold_grant(record.grant, self.wait)?;
        // Another process may have pushed or withdrawn it since.
        let record = self.released(project, version)?;
        let before = Statement::read(&record, &self.ledger)?;
        let new = before.is_none();
        let staged = StagedFolder::new(folder, &self.home.owner()?)?;
        if staged.occupied() && before.as_ref().is_none_or(|it| it.signature.is_none()) {
            return Err(FileError::new(folder, FileFault::Exists).into());
        }
        let signed = before.as_ref().is_none_or(|it| it.signature.is_none());
        if signed {
            let _queue = self.home.hold_token(self.wait)?;
            let (Checked { key, .. }, token) = find(&self.home, people, now)?;
            if new {
                self.log_withdrawal(&record, reason, &key)?;
            }
            let statement = self.withdrawal_of(record.grant)?;
            self.sign_withdrawal(&statement, &key, token, people)?;
        }
        // Grants were revoked with it.
        self.home.forget_unneeded_nonces(&self.ledger, now)?;
        let statement = self.withdrawal_of(record.grant)?;
        let checked = self.signed_withdrawal(&statement)?;
        for (name, bytes) in checked.files() {
            staged.write(&name, bytes)?;
        }
        staged.publish()?;
        let pushed = self
            .home
            .inbox()
            .map(|_| self.deliver_withdrawal(&statement));
        Ok(Done {
            statement,
            new,
            signed,
            handed_over: HandedOver {
                pushed,
                exported: export_as_configured(&self.home, &self.ledger, self.wait),
            },
        })
    }

    /// The grant whose release is meant: the newest, unless another one was pushed.
    fn released(
        &self,
        project: &ProjectName,
        version: &Version,
    ) -> Result<GrantRecord, WithdrawError> {
        let mut found: Option<GrantRecord> = None;
        for record in self.ledger.grants_of(project)? {
            let is_this = Release::read(&record, &self.ledger)?
                .is_some_and(|release| release.version == *version);
            let is_better = record.pushed.is_some()
                || found.as_ref().is_none_or(|found| found.pushed.is_none());
            if is_this && is_better {
                found = Some(record);
            }
        }
        found.ok_or_else(|| WithdrawError::Unknown {
            project: project.clone(),
            version: version.clone(),
        })
    }

    fn withdrawal_of(&self, grant: GrantId) -> Result<Statement, WithdrawError> {
        let record = self.ledger.grant(grant)?.expect("it was read before");
        let statement = Statement::read(&record, &self.ledger)?;
        Ok(statement.expect("it was logged"))
    }

    fn log_withdrawal(
        &mut self,
        record: &GrantRecord,
        reason: String,
        key: &SigningKey,
    ) -> Result<(), WithdrawError> {
        let release = Release::read(record, &self.ledger)?.expect("it is finished");
        let Release {
            project, version, ..
        } = release;
        let withdrawal = Withdrawal::new(project, version, record.grant, reason)?;
        let event = Event::Withdrawn {
            intent: release.intent,
            key: key.fingerprint(),
            hash: key.public().least_hash(),
            statement: Sha256::of(withdrawal.to_text().as_bytes()),
            reason: withdrawal.reason().to_owned(),
        };
        self.ledger.append(self.clock, event)?;
        Ok(())
    }

    /// Unlocks the token, and keeps its signature.
    fn sign_withdrawal(
        &mut self,
        statement: &Statement,
        key: &SigningKey,
        locked: Box<dyn LockedToken>,
        people: &mut dyn Interaction,
    ) -> Result<(), KeyError> {
        let uri = &self.home.config.token;
        let mut log = KeyLog::new(&mut self.ledger, self.clock).announced_by(&self.home);
        let (used, mut token) = log.unlock(Use::WITHDRAW, uri, locked, people)?;
        let made = self.make_signature(statement, key, &mut *token, people);
        let kept = made.and_then(|signature| {
            let ledger = &mut self.ledger;
            Ok(ledger.keep_signature(statement.entry, WITHDRAWAL, &signature)?)
        });
        KeyLog::new(&mut self.ledger, self.clock).end(used, kept, token.counter())
    }

    fn make_signature(
        &self,
        statement: &Statement,
        key: &SigningKey,
        token: &mut dyn Token,
        people: &mut dyn Interaction,
    ) -> Result<String, KeyError> {
        if key.fingerprint() != statement.key || key.public() != token.public() {
            return Err(KeyError::OtherKey(statement.key));
        }
        self.ledger.reserve()?;
        let text = statement.withdrawal.to_text();
        let state = HashState::of(text.as_bytes(), statement.hash);
        let statement = self.signing(statement)?.statement(&SignedFile::Withdrawal);
        let mut sign = |message: &Message<'_>| token::sign(token, message, people);
        Ok(make_release_signature(key, &state, &statement, &mut sign)?)
    }

    /// What the signature says: the domain is that of the release's.
    fn signing(&self, statement: &Statement) -> Result<Signing, LedgerError> {
        let intent = self.ledger.intent(statement.grant)?;
        let (_, intent) = intent.expect("it was released");
        let root = self.ledger.root(statement.entry + 1)?;
        Ok(Signing {
            created: statement.at,
            hash: statement.hash,
            ..intent.signing(format!("{} {root}", statement.entry))
        })
    }

    /// The statement with the signature that is kept, which is checked.
    fn signed_withdrawal(&self, statement: &Statement) -> Result<Withdrawn, WithdrawError> {
        let signature = statement.signature.clone().unwrap_or_default();
        let text = statement.withdrawal.to_text();
        let certificate = &self.home.certificate;
        Withdrawn::check(
            text.into_bytes(),
            signature.into_bytes(),
            certificate,
            self.clock.now().max(statement.at),
        )
        .map_err(WithdrawError::Kept)
    }

    /// Pushes the statement of a withdrawal to the location. That it did is logged once.
    pub fn push_withdrawal(
        &mut self,
        statement: &Statement,
        to: &dyn Publish,
    ) -> Result<Pushed, PushError> {
        let _held = self.home.hold_grant(statement.grant, self.wait)?;
        // Another process may have pushed it since.
        let record = self.ledger.grant(statement.grant)?;
        let read = record.map(|record| Statement::read(&record, &self.ledger));
        let statement = read.transpose()?.flatten().expect("it is in the log");
        self.push_withdrawal_held(&statement, to)
    }

    fn push_withdrawal_held(
        &mut self,
        statement: &Statement,
        to: &dyn Publish,
    ) -> Result<Pushed, PushError> {
        let checked = self.signed_withdrawal(statement);
        let checked = checked.map_err(|error| PushError::Changed(error.to_string()))?;
        let name = statement.name();
        let folder = to.place(&name)?;
        let new = match to.stage(&name, statement.digest())? {
            None => false,
            Some(stage) => {
                checked.copy(&*stage)?;
                stage.publish()? == Published::New
            }
        };
        self.check_arrived(&statement.into(), to, |there| {
            let now = self.clock.now().max(statement.at);
            Ok(Withdrawn::read(there, &self.home.certificate, now)?.digest)
        })?;
        if statement.pushed.is_none() {
            let intent = statement.intent;
            let event = Event::WithdrawalPushed { intent };
            self.ledger.append_in(self.clock, event, &folder)?;
        }
        Ok(Pushed { folder, new })
    }

    fn deliver_withdrawal(&mut self, statement: &Statement) -> Result<Arrived, PushError> {
        let location = self.location()?;
        let pushed = self.push_withdrawal_held(statement, &*location)?;
        Ok(Arrived {
            folder: pushed.folder,
            before: statement.pushed,
            reports: self.record_reports_held(&statement.into(), &*location),
        })
    }
}
