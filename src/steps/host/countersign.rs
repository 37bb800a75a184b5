//! H's act: log the intent, let the token sign what was verified, check each answer, and let the
//! release appear.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::build::{BuildError, VerifiedBuild};
use super::card_use;
use super::journal::Journal;
use crate::domain::digest::{GrantId, Sha256};
use crate::domain::event::{CardUse, Event, Intent, RunResult};
use crate::domain::key::{Fingerprint, PublicKey};
use crate::domain::release::{Coverage, signature_name};
use crate::domain::reserved::SUMS;
use crate::domain::time::Timestamp;
use crate::files::{FileError, FileFault, real_path};
use crate::home::{Home, HomeError, HomeLock};
use crate::ledger::{Ledger, LedgerError};
use crate::openpgp::{
    BadSignature, DetachedSignature, HashState, MakeError, SignatureContent, Signed,
    make_release_signature,
};
use crate::token::{self, Batch, Interaction, LockedToken, Token, TokenError};

/// A release that appeared, or was there already.
#[derive(Debug)]
pub struct Countersigned {
    /// How many signatures the token made for it in this run; the others were kept from earlier
    /// ones.
    pub token_signatures: u64,
    /// How many signatures it has. Artifacts of the same bytes share one.
    pub signatures: usize,
    /// How many of its files have a signature beside them.
    pub files: usize,
    /// Whether it is new; otherwise the same release was there.
    pub new: bool,
    /// The index of its intent in the ledger.
    pub intent: u64,
}

/// What a run would do.
#[derive(Debug)]
pub struct Plan {
    /// How many signatures the token would make.
    pub token_signatures: usize,
    /// How many are kept from an earlier run.
    pub kept: usize,
}

/// Why a verified build was not signed, or its release did not appear.
#[derive(Debug, thiserror::Error)]
pub enum CountersignError {
    /// The token's key is not the release key.
    #[error("the token holds another key than the release certificate's {fingerprint}")]
    OtherKey {
        /// The release key.
        fingerprint: Fingerprint,
    },
    /// The release was signed before, with other evidence beside the same manifest.
    #[error(
        "this build was signed before with other evidence: SHA256SUMS would have digest {now}, not {before}"
    )]
    OtherEvidence {
        /// The digest of the list that an earlier run signed or meant to sign.
        before: Sha256,
        /// The digest of the list now.
        now: Sha256,
    },
    /// The release was begun before, with other files signed.
    #[error("{}", match began {
        Coverage::Each => "an earlier run began to sign each artifact of this build, not only its list",
        Coverage::ListOnly => "an earlier run signed only the list of this build, not each artifact",
    })]
    OtherCoverage {
        /// What it began to sign.
        began: Coverage,
    },
    /// A signature of an earlier run does not hold any more.
    #[error("the signature kept for `{file}` cannot be used: {fault}")]
    Kept {
        /// The file.
        file: String,
        /// What is wrong with its signature.
        fault: BadSignature,
    },
    /// A good signature of the file, but of another release of it.
    #[error(
        "the signature kept for `{0}` is not the one that was to be made: it names another grant, time or state of the log"
    )]
    KeptOther(String),
    /// A signature that was kept and is not there any more.
    #[error("the log says that `{0}` is signed, but its signature is not kept")]
    KeptGone(String),
    /// Taken back while the run went on.
    #[error(
        "grant {0} was revoked while it was signed under: `{1}` and what comes after it are not signed"
    )]
    Revoked(String, String),
    /// The token, or its answer.
    #[error("`{file}` is not signed: {fault}")]
    Sign {
        /// The file.
        file: String,
        /// Why not.
        fault: MakeError<TokenError>,
    },
    /// The token, before it was asked for a signature.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// Another release is there.
    #[error("`{}` is there already and is not this release", .0.display())]
    Occupied(PathBuf),
    /// A file of the release.
    #[error(transparent)]
    File(FileError),
    /// H's home.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// H's ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl From<FileError> for CountersignError {
    fn from(error: FileError) -> Self {
        match error.fault {
            FileFault::Exists => Self::Occupied(error.path),
            _ => Self::File(error),
        }
    }
}

/// Refuses a token that shows another key than the release key. Costs no PIN.
pub fn check_token(build: &VerifiedBuild, token: &dyn LockedToken) -> Result<(), CountersignError> {
    token
        .public()
        .map_or(Ok(()), |public| check_key(build, public))
}

fn check_key(build: &VerifiedBuild, public: &PublicKey) -> Result<(), CountersignError> {
    let key = &build.signing_key;
    if key.public() == public {
        Ok(())
    } else {
        Err(CountersignError::OtherKey {
            fingerprint: key.fingerprint(),
        })
    }
}

/// What [`countersign`] would ask of the token.
pub fn plan(build: &VerifiedBuild, ledger: &Ledger) -> Result<Plan, CountersignError> {
    Ok(Plan::of(build, journal(build, ledger)?.as_ref()))
}

impl Plan {
    fn of(build: &VerifiedBuild, journal: Option<&Journal>) -> Self {
        match journal {
            Some(journal) => Self {
                token_signatures: journal.missing.len(),
                kept: journal.kept(),
            },
            None => Self {
                token_signatures: build.signatures(),
                kept: 0,
            },
        }
    }
}

/// What an earlier run began with this build.
fn journal(build: &VerifiedBuild, ledger: &Ledger) -> Result<Option<Journal>, CountersignError> {
    let journal = Journal::read(build.grant.id(), ledger)?;
    if let Some(Journal {
        intent,
        signed,
        missing,
        ..
    }) = &journal
    {
        check_intent(build, intent)?;
        // Somebody took it away: the token is not asked for it a second time.
        if let Some(file) = missing.first().filter(|_| *signed) {
            return Err(CountersignError::KeptGone(file.clone()));
        }
    }
    Ok(journal)
}

/// Refuses to go on with a release whose list has changed since it was begun.
fn check_intent(build: &VerifiedBuild, intent: &Intent) -> Result<(), CountersignError> {
    let digest = |coverage| Sha256::of(build.sums.clone().covering(coverage).to_text().as_bytes());
    let now = digest(build.sums.coverage());
    if intent.sums == now {
        return Ok(());
    }
    match [Coverage::Each, Coverage::ListOnly]
        .into_iter()
        .find(|coverage| intent.sums == digest(*coverage))
    {
        Some(began) => Err(CountersignError::OtherCoverage { began }),
        None => Err(CountersignError::OtherEvidence {
            before: intent.sums,
            now,
        }),
    }
}

/// Finds the token, once it is needed.
pub type FindToken<'a> =
    dyn FnMut(&mut dyn Interaction) -> Result<Box<dyn LockedToken>, TokenError> + 'a;

/// Signs the build with the token that `find` finds, unless every signature is kept from an earlier
/// run, and lets the release appear. Whatever happens, what the token signed is kept and will not
/// be asked for again.
pub fn countersign(
    build: VerifiedBuild,
    home: &Home,
    lock: &HomeLock,
    ledger: &mut Ledger,
    find: &mut FindToken<'_>,
    interaction: &mut dyn Interaction,
    now: Timestamp,
) -> Result<Countersigned, CountersignError> {
    let _held: &HomeLock = lock;
    let sums = build.sums.to_text();
    if !build.accepted {
        let (builders, artifacts) = (build.agreement.builders.clone(), build.artifacts().digest());
        let (grant, scheme) = (build.grant.id(), build.grant.terms().scheme);
        ledger.append(
            now,
            Event::EvidenceAccepted {
                grant,
                scheme,
                builders,
                artifacts,
            },
        )?;
    }
    // The ledger knows now which evidence was checked: nobody needs the nonces any more.
    home.forget_nonces(build.grant.id())?;

    let journal = journal(&build, ledger)?;
    let Plan {
        token_signatures,
        kept,
    } = Plan::of(&build, journal.as_ref());
    let token = match token_signatures {
        0 => None,
        // With signatures missing, whatever is there cannot be this release: better said before the
        // token is used.
        _ if build.staged.occupied() => {
            return Err(CountersignError::Occupied(build.staged.target().to_owned()));
        }
        _ => {
            let token = find(interaction)?;
            check_token(&build, &*token)?;
            Some(token)
        }
    };
    let card = token
        .as_ref()
        .and_then(|token| token.description().counter())
        .map(card_use);
    let signed_before = journal.as_ref().is_some_and(|journal| journal.signed);
    let released_before = journal.as_ref().is_some_and(|journal| journal.released);
    let (index, intent) = match journal {
        Some(journal) => {
            // Also where the token is not needed any more: the run before was cut off after the
            // last signature.
            if token.is_some() || !journal.ended {
                let (intent, unsettled) = (journal.index, journal.unsettled);
                ledger.append(
                    now,
                    Event::Resumed {
                        intent,
                        kept: kept as u64,
                        unsettled,
                        card: card.clone(),
                    },
                )?;
            }
            (journal.index, journal.intent)
        }
        None => {
            let intent = intent(&build, home, &sums, card.clone(), now);
            (ledger.append(now, Event::Intent(intent.clone()))?, intent)
        }
    };
    let log = format!("{index} {}", ledger.root(index + 1)?);
    // Until it is unlocked, nothing is asked of it.
    let card = card.map(CardUse::unchanged);
    let mut run = Run {
        build: &build,
        home,
        ledger,
        index,
        log,
        intent,
        token_signatures: 0,
        unsettled: None,
        card,
    };
    let signed = run.sign_all(&sums, token, token_signatures, interaction);
    let Run {
        token_signatures,
        unsettled,
        card,
        intent,
        ..
    } = run;
    let result = match &signed {
        Ok(()) if signed_before => None,
        Ok(()) => Some(RunResult::Signed { token_signatures }),
        Err(error) => Some(RunResult::Stopped {
            token_signatures,
            unsettled,
            reason: error.to_string(),
        }),
    };
    let logged = result
        .map(|result| {
            ledger.append(
                now,
                Event::Outcome {
                    intent: index,
                    result,
                    card,
                },
            )
        })
        .transpose();
    // Why the run stopped matters more than that this could not be logged either.
    signed?;
    logged?;

    build.staged.write(SUMS, sums.as_bytes())?;
    for (file, asked) in intent.signed_files() {
        let signature = ledger
            .signature(index, asked)?
            .expect("each signature was kept");
        build
            .staged
            .write(&signature_name(file), signature.as_bytes())?;
    }
    let folder = build.staged.target().to_owned();
    let new = build.staged.publish()?;
    if !released_before {
        // A run that was cut off just before this finds its release there, and logs it now.
        let folder = real_path(&folder)?.to_string_lossy().into_owned();
        let inbox = home
            .inbox()
            .map(|inbox| inbox.to_string_lossy().into_owned());
        ledger.append(
            now,
            Event::Released {
                intent: index,
                sums: intent.sums,
                folder,
                inbox,
            },
        )?;
    }
    let (signatures, files) = (intent.asked_files().count(), intent.signed_files().count());
    Ok(Countersigned {
        token_signatures,
        signatures,
        files,
        new,
        intent: index,
    })
}

/// What the token is to be asked for.
fn intent(
    build: &VerifiedBuild,
    home: &Home,
    sums: &str,
    card: Option<CardUse>,
    now: Timestamp,
) -> Intent {
    let artifacts = build.artifacts().iter();
    Intent {
        grant: build.grant.id(),
        key: build.signing_key.fingerprint(),
        hash: build.hash,
        created: now,
        notation_domain: home.config.notation_domain.clone(),
        artifacts: artifacts
            .map(|artifact| (artifact.name.clone(), artifact.digest))
            .collect(),
        artifacts_from: None,
        sums: Sha256::of(sums.as_bytes()),
        sums_only: build.sums.coverage() == Coverage::ListOnly,
        card,
    }
}

struct Run<'a> {
    build: &'a VerifiedBuild,
    home: &'a Home,
    ledger: &'a mut Ledger,
    index: u64,
    /// What the signatures say of the log: the intent's index, and the root of the tree that ends
    /// with it.
    log: String,
    intent: Intent,
    token_signatures: u64,
    /// The file that the token is asked to sign, until its answer is kept.
    unsettled: Option<String>,
    /// The card that signs, where it is one.
    card: Option<CardUse>,
}

impl Run<'_> {
    /// One signature for each artifact, where each is to have one, and for the list last.
    fn sign_all(
        &mut self,
        sums: &str,
        token: Option<Box<dyn LockedToken>>,
        signatures: usize,
        interaction: &mut dyn Interaction,
    ) -> Result<(), CountersignError> {
        if let Some(token) = &token {
            interaction.begins(&Batch {
                signatures,
                token: token.description().clone(),
            });
        }
        let mut token = token.map(|token| token.unlock(interaction)).transpose()?;
        if let Some(token) = &token {
            check_key(self.build, token.public())?;
            // Between what the intent says and the PIN, others can have used it.
            self.card = token.counter().map(|counter| card_use(counter).unchanged());
        }
        let list = HashState::of(sums.as_bytes(), self.intent.hash);
        let artifacts: BTreeMap<_, _> = self
            .build
            .artifacts
            .iter()
            .map(|(name, state)| (name.as_str(), state))
            .collect();
        let files = self
            .intent
            .signed_files()
            .map(|(file, asked)| (file.to_owned(), asked.to_owned()));
        for (file, asked) in files.collect::<Vec<_>>() {
            let state = artifacts.get(file.as_str()).copied().unwrap_or(&list);
            self.sign_one(&file, &asked, state, token.as_deref_mut(), interaction)?;
        }
        Ok(())
    }

    /// Has `file` signed, unless there is a signature: its own, or that of `asked`, which has the
    /// same bytes and came first.
    fn sign_one(
        &mut self,
        file: &str,
        asked: &str,
        state: &HashState,
        token: Option<&mut (dyn Token + 'static)>,
        interaction: &mut dyn Interaction,
    ) -> Result<(), CountersignError> {
        let what = self.content(file);
        if let Some(kept) = self.ledger.signature(self.index, asked)? {
            let fault = |fault| CountersignError::Kept {
                file: file.to_owned(),
                fault,
            };
            let kept = DetachedSignature::parse(kept.as_bytes()).map_err(fault)?;
            let signed = kept
                .check(&self.home.certificate, state, file, self.intent.created)
                .map_err(fault)?;
            let meant = Signed {
                key: self.intent.key,
                created: what.created,
                notations: what.notations,
            };
            return if signed == meant {
                Ok(())
            } else {
                Err(CountersignError::KeptOther(file.to_owned()))
            };
        }
        let token = token.expect("the token was found, because a signature is missing");
        // A revocation takes effect even while a run is in progress.
        if self.ledger.is_revoked(self.intent.grant)? {
            return Err(CountersignError::Revoked(
                self.intent.grant.short(),
                file.to_owned(),
            ));
        }
        self.ledger.reserve()?;
        let (token_signatures, unsettled, card) = (
            &mut self.token_signatures,
            &mut self.unsettled,
            &mut self.card,
        );
        let mut sign = |digest: &_| {
            *unsettled = Some(file.to_owned());
            let answer = token::sign(token, digest, interaction);
            *token_signatures += u64::from(answer.is_ok());
            if let Some(card) = card {
                card.after = token.counter().and_then(|counter| counter.signatures);
            }
            answer
        };
        let signature = make_release_signature(&self.build.signing_key, state, &what, &mut sign)
            .map_err(|fault| CountersignError::Sign {
                file: file.to_owned(),
                fault,
            })?;
        self.ledger.keep_signature(self.index, file, &signature)?;
        self.unsettled = None;
        Ok(())
    }

    /// What the signature of a file says.
    fn content(&self, file: &str) -> SignatureContent {
        let domain = &self.intent.notation_domain;
        let mut notations = vec![
            (format!("grant@{domain}"), self.intent.grant.to_string()),
            (format!("log@{domain}"), self.log.clone()),
        ];
        let form = self
            .build
            .sums
            .coverage()
            .notation()
            .filter(|_| file == SUMS);
        notations.extend(form.map(|form| (format!("form@{domain}"), form.to_owned())));
        SignatureContent {
            created: self.intent.created,
            hash: self.intent.hash,
            notations,
        }
    }
}

/// Appends to the ledger that a build was refused, and why. For a grant that is not ours nothing is
/// kept: anybody could fill the log with those.
pub fn log_refusal(
    grant: GrantId,
    error: &BuildError,
    ledger: &mut Ledger,
    now: Timestamp,
) -> Result<(), LedgerError> {
    if error.is_refusal() && ledger.issued(grant)? {
        let differences = error.differences().cloned().unwrap_or_default();
        ledger.append(
            now,
            Event::EvidenceRefused {
                grant,
                reason: error.to_string(),
                differences,
            },
        )?;
    }
    Ok(())
}
