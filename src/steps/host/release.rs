//! H's order, with the numbers of docs/explanation/design.md: from a build that was fetched to the
//! exported log.

use std::path::{Path, PathBuf};

use super::Host;
use super::build::{SignRequest, Summary, VerifiedBuild};
use super::hand_over::HandedOver;
use super::policy;
use super::refusal::BuildError;
use super::run::{AllSigned, Begun, FindToken, SignError, check_token};
use crate::domain::digest::GrantId;
use crate::domain::event::Event;
use crate::domain::text::within;
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
        self.home
            .forget_unneeded_nonces(&self.ledger, self.clock.now())?;
        let _held = self.home.hold_grant(request.grant.id(), self.wait)?;
        // 0: no newer copy of this home has gone on.
        self.check_anchors()?;
        // 1 to 7: the build is what its grant allows and its builders attested.
        let allow_older = request.allow_older;
        let grant = request.grant.id();
        let from = request.from.to_owned();
        let build = self.verify_build(request, self.clock.now(), progress);
        let build = build.map_err(|error| self.refused(grant, &from, error))?;
        let begun = Begun::read(&build, &self.ledger)?;
        // 8: it closes its grant.
        self.accept(&build, allow_older)
            .map_err(|error| self.refused(grant, &from, error))?;
        // 9 to 11: each statement of its release has a signature that was checked and kept.
        let signed = match begun {
            Begun::Nothing(replaces) => self.sign_first(&build, replaces, find, people)?,
            Begun::Part(journal) => self.sign_rest(&build, journal, find, people)?,
            Begun::All(journal) => self.check_kept(&build, journal)?,
        };
        // 12: the release appears, complete.
        let summary = build.summary();
        let (folder, new) = self.publish(build, &signed)?;
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
        self.home.forget_unneeded_nonces(&self.ledger, now)?;
        let _held = self.home.hold_grant(request.grant.id(), self.wait)?;
        self.check_anchors()?;
        let build = self.verify_build(request, now, progress)?;
        let (token_signatures, kept) = match Begun::read(&build, &self.ledger)? {
            Begun::Nothing(_) => (build.plan().files().len(), 0),
            Begun::Part(journal) | Begun::All(journal) => (journal.missing.len(), journal.kept()),
        };
        let _queue = self.home.hold_token(self.wait)?;
        let token = find(people)?;
        check_token(&build, &*token)?;
        Ok(DryRun {
            build: build.summary(),
            token_signatures,
            kept,
            token: token.description().clone(),
        })
    }

    /// Why nothing is signed; a refusal is logged, unlike what is not here yet. For a grant that is
    /// not ours nothing is kept: anybody could fill the log with those.
    fn refused(&mut self, grant: GrantId, from: &Path, error: BuildError) -> SignError {
        if !error.is_refusal() {
            return error.into();
        }
        let logged = self.ledger.issued(grant).and_then(|ours| {
            let event = Event::EvidenceRefused {
                grant,
                // The log is public.
                reason: within(&from.display().to_string(), &error.to_string()),
                differences: error.differences().cloned().unwrap_or_default(),
            };
            if ours {
                self.ledger.append(self.clock, event)?;
            }
            Ok(())
        });
        SignError::Build {
            refused: error,
            unlogged: logged.err().map(Box::new),
        }
    }

    /// Logs that the build was accepted, if it still may be at this very time, and wipes the nonces
    /// of its grant, which nothing needs once the log has the digest of the evidence.
    fn accept(&mut self, build: &VerifiedBuild, allow_older: bool) -> Result<(), BuildError> {
        let grant = build.grant();
        let before = build.accepted();
        if before.is_none_or(|before| before.builders != build.agreement().builders) {
            let accepted = Event::EvidenceAccepted {
                grant: grant.id(),
                scheme: grant.terms().scheme,
                builders: build.agreement().builders.clone(),
                artifacts: build.artifacts().digest(),
                replaces: before.map(|before| before.index),
            };
            let home = &self.home;
            self.ledger.append_if(self.clock, accepted, |ledger, at| {
                policy::check(grant, home, ledger, at, allow_older).map(drop)
            })?;
        }
        Ok(self.home.forget_nonces(grant.id())?)
    }

    /// Completes the release in its folder and lets it appear. Returns where it is, and whether it
    /// is new.
    fn publish(
        &mut self,
        build: VerifiedBuild,
        signed: &AllSigned,
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
            self.ledger.append_in(self.clock, released, &folder)?;
        }
        Ok((folder, new))
    }
}
