//! H's order, with the numbers of docs/explanation/design.md: from a build that was fetched to the
//! exported log.

use std::path::PathBuf;

use super::Host;
use super::build::{SignRequest, Summary, VerifiedBuild};
use super::hand_over::HandedOver;
use super::run::{AllSigned, Begun, FindToken, SignError, check_token};
use crate::domain::event::Event;
use crate::domain::text::within;
use crate::domain::time::Timestamp;
use crate::files::{FileError, FileFault, real_path};
use crate::formats::{self, Content};
use crate::steps::Progress;
use crate::token::{Interaction, TokenDescription};

/// A release that is signed and complete.
#[derive(Debug)]
pub struct Signed {
    /// The build that it was made from.
    pub build: Summary,
    /// The index of its intent in the log.
    pub intent: u64,
    /// How many signatures the token made in this run; the others were kept from earlier ones.
    pub token_signatures: u64,
    /// How many signatures it has.
    pub signatures: usize,
    /// Where it is, without links.
    pub folder: PathBuf,
    /// Whether it is new; otherwise the same release was there.
    pub new: bool,
    /// What was done beyond this host.
    pub handed_over: HandedOver,
}

/// What `sign` would do.
#[derive(Debug)]
pub struct DryRun {
    /// The build.
    pub build: Summary,
    /// How many signatures the token would make.
    pub token_signatures: usize,
    /// How many are kept from an earlier run.
    pub kept: usize,
    /// The token.
    pub token: TokenDescription,
}

impl Host {
    /// Verifies a build, has it signed, and publishes its release as the configuration says. Asks
    /// the token only for signatures that no earlier run has kept. Whatever fails, what the token
    /// signed is kept.
    pub fn sign(
        &mut self,
        request: SignRequest<'_>,
        find: &mut FindToken<'_>,
        people: &mut dyn Interaction,
        progress: &mut dyn Progress,
    ) -> Result<Signed, SignError> {
        let now = self.clock.now();
        self.home.forget_unneeded_nonces(&self.lock, now)?;
        // 1 to 7: the build is what its grant allows and its builders attested.
        let build = self.verified(request, now, progress)?;
        // 8: it closes its grant.
        self.accept(&build, now)?;
        // 9 to 11: each statement of its release has a signature that was checked and kept.
        let signed = match Begun::read(&build, &self.ledger)? {
            Begun::Nothing => self.sign_first(&build, find, people, now)?,
            Begun::Part(journal) => self.sign_rest(&build, journal, find, people, now)?,
            Begun::All(journal) => self.check_kept(&build, journal, now)?,
        };
        // 12: the release appears, complete.
        let summary = build.summary();
        let (folder, new) = self.publish(build, &signed, now)?;
        // 13 to 15: the location gets it, and the log.
        let handed_over = self.hand_over(summary.grant.id(), &folder, progress)?;
        let plan = signed.intent.plan();
        Ok(Signed {
            build: summary,
            intent: signed.index,
            token_signatures: signed.token_signatures,
            signatures: plan.files().len(),
            folder,
            new,
            handed_over,
        })
    }

    /// As [`Host::sign`], up to the first use of the token. Nothing is logged.
    pub fn try_sign(
        &mut self,
        request: SignRequest<'_>,
        find: &mut FindToken<'_>,
        people: &mut dyn Interaction,
        progress: &mut dyn Progress,
    ) -> Result<DryRun, SignError> {
        let now = self.clock.now();
        self.home.forget_unneeded_nonces(&self.lock, now)?;
        let build = self.verify_build(request, now, progress)?;
        let (token_signatures, kept) = match Begun::read(&build, &self.ledger)? {
            Begun::Nothing => (build.plan().files().len(), 0),
            Begun::Part(journal) | Begun::All(journal) => (journal.missing.len(), journal.kept()),
        };
        let token = find(people)?;
        check_token(&build, &*token)?;
        Ok(DryRun {
            build: build.summary(),
            token_signatures,
            kept,
            token: token.description().clone(),
        })
    }

    /// A verified build; a refusal is logged, unlike what is not here yet. For a grant that is not
    /// ours nothing is kept: anybody could fill the log with those.
    fn verified(
        &mut self,
        request: SignRequest<'_>,
        now: Timestamp,
        progress: &mut dyn Progress,
    ) -> Result<VerifiedBuild, SignError> {
        let grant = request.grant.id();
        let from = request.from.display().to_string();
        let refused = match self.verify_build(request, now, progress) {
            Ok(build) => return Ok(build),
            Err(error) if !error.is_refusal() => return Err(error.into()),
            Err(refused) => refused,
        };
        let logged = self.ledger.issued(grant).and_then(|ours| {
            let event = Event::EvidenceRefused {
                grant,
                // The log is public.
                reason: within(&from, &refused.to_string()),
                differences: refused.differences().cloned().unwrap_or_default(),
            };
            if ours {
                self.ledger.append(now, event)?;
            }
            Ok(())
        });
        Err(SignError::Build {
            refused,
            unlogged: logged.err().map(Box::new),
        })
    }

    /// Logs that the build was accepted, and wipes the nonces of its grant, which nothing needs
    /// once the log has the digest of the evidence.
    fn accept(&mut self, build: &VerifiedBuild, now: Timestamp) -> Result<(), SignError> {
        if !build.accepted() {
            let accepted = Event::EvidenceAccepted {
                grant: build.grant().id(),
                scheme: build.grant().terms().scheme,
                builders: build.agreement().builders.clone(),
                artifacts: build.artifacts().digest(),
            };
            self.ledger.append(now, accepted)?;
        }
        Ok(self.home.forget_nonces(build.grant().id())?)
    }

    /// Completes the release in its folder and lets it appear. Returns where it is, and whether it
    /// is new.
    fn publish(
        &mut self,
        build: VerifiedBuild,
        signed: &AllSigned,
        now: Timestamp,
    ) -> Result<(PathBuf, bool), SignError> {
        let AllSigned { index, intent, .. } = signed;
        for file in formats::files(build.contents(), build.sums()) {
            let bytes = match file.content {
                Content::Bytes(bytes) => bytes,
                Content::SignatureOf(of) => {
                    let signature = self.ledger.signature(*index, of.name())?;
                    signature.expect("each signature was kept").into_bytes()
                }
            };
            build.staged().write(&file.name, &bytes)?;
        }
        let target = build.staged().target().to_owned();
        let new = build
            .into_staged()
            .publish()
            .map_err(|error| match error.fault {
                FileFault::Exists => SignError::Occupied(error.path),
                _ => error.into(),
            })?;
        let folder = real_path(&target).map_err(FileError::of_ours)?;
        // An interrupted run that got this far finds its release there, and logs it now.
        if !signed.released {
            let released = Event::Released {
                intent: *index,
                sums: intent.sums,
                to_push: self.home.inbox().is_some(),
            };
            self.ledger.append_in(now, released, &folder)?;
        }
        Ok((folder, new))
    }
}
