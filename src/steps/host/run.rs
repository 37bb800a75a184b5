//! The token's part in a release: each statement is announced in the log, signed, checked and kept.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use super::anchor::announce;
use super::build::VerifiedBuild;
use super::journal::Journal;
use super::refusal::BuildError;
use super::trouble::{Trouble, logged, not_logged, reason};
use super::{Host, card_use};
use crate::domain::digest::{GrantId, Sha256};
use crate::domain::event::{CardUse, Event, Intent, RunResult};
use crate::domain::evidence::Differences;
use crate::domain::key::{Fingerprint, PublicKey};
use crate::domain::signing::{Message, SignedFile, Signing, Statement};
use crate::domain::time::Clock;
use crate::home::Home;
use crate::ledger::{Ledger, LedgerError};
use crate::openpgp::{
    BadSignature, DetachedSignature, HashState, MakeError, make_release_signature,
};
use crate::token::{self, Batch, Interaction, LockedToken, Token, TokenError};

/// Why a build was not signed, or its release did not appear.
#[expect(missing_docs, reason = "each message says what it means")]
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum SignError {
    /// What could not be logged is shown too: the log is where others look for it.
    #[error("{refused}{}", not_logged(unlogged.as_deref()))]
    #[diagnostic(forward(refused))]
    Build {
        refused: BuildError,
        unlogged: Option<Box<LedgerError>>,
    },
    #[error("the key on the token differs from the release certificate's {0}")]
    #[diagnostic(
        code(refused::other_key_on_token),
        help("insert the token with the release key; see `countersign key list`")
    )]
    OtherKey(Fingerprint),
    #[error(
        "this build was signed before with other evidence: the digest of SHA256SUMS was {before} \
         and would be {now}"
    )]
    #[diagnostic(
        code(refused::evidence_changed),
        help("use the evidence that it was signed with, or issue a new grant")
    )]
    OtherEvidence { before: Sha256, now: Sha256 },
    #[error("the signature kept for `{file}` cannot be used: {fault}")]
    #[diagnostic(
        code(trouble::kept_signature_invalid),
        help("the ledger or the certificate changed; see `countersign log verify`")
    )]
    Kept { file: String, fault: BadSignature },
    #[error("{0}")]
    #[diagnostic(
        code(refused::kept_signature_changed),
        help("somebody changed the ledger: see `countersign log verify`, and sign nothing more")
    )]
    KeptChanged(String),
    #[error(
        "grant {} was revoked while it was signed under: `{file}` and what comes after it are not \
         signed",
        grant.short()
    )]
    #[diagnostic(code(refused::grant_revoked_meanwhile))]
    Revoked { grant: GrantId, file: String },
    #[error("`{file}` is not signed: {fault}")]
    #[diagnostic(forward(fault))]
    Sign {
        file: String,
        fault: MakeError<TokenError>,
    },
    #[error("`{}` is there already and is not this release", .0.display())]
    #[diagnostic(
        code(usage::release_in_the_way),
        help("move it away, or name another place with `-o`")
    )]
    Occupied(PathBuf),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Trouble(Trouble),
}

impl<E: Into<Trouble>> From<E> for SignError {
    fn from(error: E) -> Self {
        Self::Trouble(error.into())
    }
}

impl From<BuildError> for SignError {
    fn from(refused: BuildError) -> Self {
        Self::Build {
            refused,
            unlogged: None,
        }
    }
}

/// Finds the token, once it is needed.
pub type FindToken<'a> =
    dyn FnMut(&mut dyn Interaction) -> Result<Box<dyn LockedToken>, TokenError> + 'a;

impl SignError {
    /// What builders differ in, if that is why.
    pub fn differences(&self) -> Option<&Differences> {
        match self {
            Self::Build { refused, .. } => refused.differences(),
            _ => None,
        }
    }
}

/// A run whose every statement has a signature that was checked and is kept.
pub(super) struct AllSigned {
    /// The index of the intent.
    pub(super) index: u64,
    /// What was to be signed.
    pub(super) intent: Intent,
    /// How many signatures the token made in this run.
    pub(super) token_signatures: u64,
    /// Whether the log has the release already.
    pub(super) released: bool,
}

/// Refuses a token that shows a key other than the release key. Costs no PIN.
pub(super) fn check_token(build: &VerifiedBuild, token: &dyn LockedToken) -> Result<(), SignError> {
    match token.public() {
        Some(public) => check_key(build, public),
        None => Ok(()),
    }
}

fn check_key(build: &VerifiedBuild, public: &PublicKey) -> Result<(), SignError> {
    let key = build.signing_key();
    if key.public() == public {
        Ok(())
    } else {
        Err(SignError::OtherKey(key.fingerprint()))
    }
}

impl Host {
    /// The first run that asks the token: what it will ask for is in the log before it asks. That
    /// replaces what an earlier run announced and did not ask for.
    pub(super) fn sign_first(
        &mut self,
        build: &VerifiedBuild,
        replaces: Option<u64>,
        find: &mut FindToken<'_>,
        people: &mut dyn Interaction,
    ) -> Result<AllSigned, SignError> {
        let _queue = self.home.hold_token(self.wait)?;
        let token = self.ready_token(build, find, people)?;
        let card = token.description().counter().map(card_use);
        let domain = &self.home.config.notation_domain;
        let intent = Intent {
            replaces,
            ..build.intent(domain, card.clone(), self.clock.now())
        };
        let index = self
            .ledger
            .append(self.clock, Event::Intent(intent.clone()))?;
        let missing = intent.plan().files().len();
        let mut run = Run::new(self, build, index, &intent, card)?;
        let signed = run.unlock_and_sign(token, missing, people);
        let token_signatures = run.end(signed)?;
        Ok(AllSigned {
            index,
            intent,
            token_signatures,
            released: false,
        })
    }

    /// A later run: it checks what is kept, and asks the token for the rest.
    pub(super) fn sign_rest(
        &mut self,
        build: &VerifiedBuild,
        journal: Journal,
        find: &mut FindToken<'_>,
        people: &mut dyn Interaction,
    ) -> Result<AllSigned, SignError> {
        let missing = journal.missing.len();
        let (_queue, token) = match missing {
            0 => (None, None),
            _ => {
                let queue = self.home.hold_token(self.wait)?;
                (Some(queue), Some(self.ready_token(build, find, people)?))
            }
        };
        let counter = token
            .as_ref()
            .and_then(|token| token.description().counter());
        let card = counter.map(card_use);
        // Without a token too: the run before was interrupted after the last signature.
        if token.is_some() || !journal.ended {
            let resumed = Event::Resumed {
                intent: journal.index,
                kept: journal.kept() as u64,
                unsettled: journal.unsettled.clone(),
                card: card.clone(),
            };
            self.ledger.append(self.clock, resumed)?;
        }
        let mut run = Run::new(self, build, journal.index, &journal.intent, card)?;
        let signed = match token {
            Some(token) => run.unlock_and_sign(token, missing, people),
            None => run.sign_all(None),
        };
        let token_signatures = run.end(signed)?;
        Ok(AllSigned {
            index: journal.index,
            intent: journal.intent,
            token_signatures,
            released: journal.released,
        })
    }

    /// Finds the token, and refuses it before its PIN is asked for if the run could not end well.
    fn ready_token(
        &self,
        build: &VerifiedBuild,
        find: &mut FindToken<'_>,
        people: &mut dyn Interaction,
    ) -> Result<Box<dyn LockedToken>, SignError> {
        // While signatures are missing, whatever has the release's name cannot be this release.
        if build.staged().occupied() {
            return Err(SignError::Occupied(build.staged().target().to_owned()));
        }
        // The artifacts took their time, and so did the commands before this one.
        self.key_of(build.grant(), self.clock.now())?;
        let token = find(people)?;
        check_token(build, &*token)?;
        Ok(token)
    }

    /// A finished run: what is kept is checked again. Nothing is logged unless it has changed.
    pub(super) fn check_kept(
        &mut self,
        build: &VerifiedBuild,
        journal: Journal,
    ) -> Result<AllSigned, SignError> {
        let mut run = Run::new(self, build, journal.index, &journal.intent, None)?;
        if let Err(error) = run.sign_all(None) {
            run.end(Err(error))?;
        }
        Ok(AllSigned {
            index: journal.index,
            intent: journal.intent,
            token_signatures: 0,
            released: journal.released,
        })
    }
}

/// How far earlier runs came with a build.
pub(super) enum Begun {
    /// The token was not asked for anything, whatever this intent announced.
    Nothing(Option<u64>),
    /// The log does not say that every file is signed.
    Part(Journal),
    /// It does.
    All(Journal),
}

impl Begun {
    /// Refuses to go on with a release whose list has changed, or whose kept signatures are gone.
    pub(super) fn read(build: &VerifiedBuild, ledger: &Ledger) -> Result<Self, SignError> {
        let Some(journal) = Journal::read(build.grant().id(), ledger)? else {
            return Ok(Self::Nothing(None));
        };
        if !journal.asked {
            return Ok(Self::Nothing(Some(journal.index)));
        }
        check_intent(build, &journal.intent)?;
        if !journal.signed {
            return Ok(Self::Part(journal));
        }
        match journal.missing.first() {
            // The token is not asked for it a second time.
            Some(file) => Err(SignError::KeptChanged(format!(
                "the log says that `{file}` is signed, but its signature is not kept"
            ))),
            None => Ok(Self::All(journal)),
        }
    }
}

fn check_intent(build: &VerifiedBuild, intent: &Intent) -> Result<(), SignError> {
    let before = intent.sums;
    let now = Sha256::of(build.list().as_bytes());
    if before != now {
        return Err(SignError::OtherEvidence { before, now });
    }
    let ours = Intent {
        artifacts_from: intent.artifacts_from,
        replaces: intent.replaces,
        ..build.intent(&intent.notation_domain, intent.card.clone(), intent.created)
    };
    if *intent != ours {
        let grant = intent.grant.short();
        return Err(SignError::KeptChanged(format!(
            "the intent in the log under grant {grant} is not that of this build"
        )));
    }
    Ok(())
}

/// The unlocked token, and the person in front of it.
struct Signer<'a> {
    token: &'a mut dyn Token,
    people: &'a mut dyn Interaction,
}

/// The signatures of one build, under an intent that is in the log.
struct Run<'a> {
    build: &'a VerifiedBuild,
    home: &'a Home,
    ledger: &'a mut Ledger,
    clock: Clock,
    index: u64,
    intent: &'a Intent,
    /// What all statements have in common.
    signing: Signing,
    token_signatures: u64,
    /// The file that the token is asked to sign, until its answer is kept.
    unsettled: Option<String>,
    /// The card that signs, if it is one, with its counter.
    card: Option<CardUse>,
}

impl<'a> Run<'a> {
    fn new(
        host: &'a mut Host,
        build: &'a VerifiedBuild,
        index: u64,
        intent: &'a Intent,
        card: Option<CardUse>,
    ) -> Result<Self, LedgerError> {
        let log = format!("{index} {}", host.ledger.root(index + 1)?);
        Ok(Self {
            build,
            home: &host.home,
            ledger: &mut host.ledger,
            clock: host.clock,
            index,
            intent,
            signing: intent.signing(log),
            token_signatures: 0,
            unsettled: None,
            // Nothing is asked of it before it is unlocked.
            card: card.map(CardUse::unchanged),
        })
    }

    /// Unlocks the token, and has it sign what is missing.
    fn unlock_and_sign(
        &mut self,
        token: Box<dyn LockedToken>,
        missing: usize,
        people: &mut dyn Interaction,
    ) -> Result<(), SignError> {
        announce(self.home, self.ledger)?;
        people.begins(&Batch {
            signatures: missing,
            token: token.description().clone(),
        });
        let mut token = token.unlock(people)?;
        check_key(self.build, token.public())?;
        // Between what the intent says and the PIN, others may have used it.
        self.card = token.counter().map(|counter| card_use(counter).unchanged());
        self.sign_all(Some(Signer {
            token: &mut *token,
            people,
        }))
    }

    /// A signature for each statement, the list last.
    fn sign_all(&mut self, mut signer: Option<Signer<'_>>) -> Result<(), SignError> {
        let plan = self.intent.plan();
        let list = HashState::of(self.build.list().as_bytes(), self.intent.hash);
        let states: BTreeMap<_, _> = self.build.states().collect();
        for file in plan.files() {
            let state = match file {
                SignedFile::List(_) => &list,
                SignedFile::Artifact(_) | SignedFile::Withdrawal => states[file.name()],
            };
            if let Some(kept) = self.ledger.signature(self.index, file.name())? {
                self.check(file, state, &kept)?;
                continue;
            }
            let signer = signer
                .as_mut()
                .expect("the token was found, as a signature is missing");
            let statement = self.signing.statement(file);
            self.sign(file, &statement, state, signer)?;
        }
        Ok(())
    }

    /// Checks the signature that an earlier run kept for a file.
    fn check(&self, file: &SignedFile, state: &HashState, kept: &str) -> Result<(), SignError> {
        let name = file.name();
        let fault = |fault| SignError::Kept {
            file: name.to_owned(),
            fault,
        };
        let created = self.intent.created;
        let kept = DetachedSignature::parse_release(kept.as_bytes()).map_err(fault)?;
        let certificate = &self.home.certificate;
        let signed = kept
            .check(certificate, state, name, created)
            .map_err(fault)?;
        let other = |what: &dyn fmt::Display| {
            SignError::KeptChanged(format!(
                "the signature kept for `{name}` is not the one that was to be made: {what}"
            ))
        };
        let claims = signed.claims().map_err(|fault| other(&fault))?;
        claims
            .check(&self.signing.claims(file))
            .map_err(|fault| other(&fault))?;
        if (signed.key, signed.created) == (self.intent.key, created) {
            Ok(())
        } else {
            Err(other(&"it has another key or time"))
        }
    }

    /// Has the token sign a statement, and keeps the signature.
    fn sign(
        &mut self,
        file: &SignedFile,
        statement: &Statement,
        state: &HashState,
        signer: &mut Signer<'_>,
    ) -> Result<(), SignError> {
        let file = file.name();
        // A revocation takes effect even while a run is in progress.
        if self.ledger.is_revoked(self.intent.grant)? {
            return Err(SignError::Revoked {
                grant: self.intent.grant,
                file: file.to_owned(),
            });
        }
        self.ledger.reserve()?;
        self.ledger.mark_asked(self.index)?;
        let mut ask = |message: &Message<'_>| {
            self.unsettled = Some(file.to_owned());
            let answer = token::sign(signer.token, message, signer.people);
            self.token_signatures += u64::from(answer.is_ok());
            if let Some(card) = &mut self.card {
                card.after = signer
                    .token
                    .counter()
                    .and_then(|counter| counter.signatures);
            }
            answer
        };
        let key = self.build.signing_key();
        let signature =
            make_release_signature(key, state, statement, &mut ask).map_err(|fault| {
                SignError::Sign {
                    file: file.to_owned(),
                    fault,
                }
            })?;
        self.ledger.keep_signature(self.index, file, &signature)?;
        self.unsettled = None;
        Ok(())
    }

    /// Logs how the run ended. Returns how many signatures the token made in it.
    fn end(self, signed: Result<(), SignError>) -> Result<u64, SignError> {
        let token_signatures = self.token_signatures;
        let result = match &signed {
            Ok(()) => RunResult::Signed { token_signatures },
            Err(error) => RunResult::Stopped {
                token_signatures,
                unsettled: self.unsettled,
                reason: reason(error),
            },
        };
        let outcome = Event::Outcome {
            intent: self.index,
            result,
            card: self.card,
        };
        logged(signed, self.ledger.append(self.clock, outcome))?;
        Ok(token_signatures)
    }
}
