//! How far the signing of a build got, by what is in the ledger.

use crate::domain::digest::GrantId;
use crate::domain::event::{Event, Intent, RunResult};
use crate::ledger::{Ledger, LedgerError};

/// What was begun under an intent, and what is left of it to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Journal {
    /// The index of the intent.
    pub index: u64,
    /// The intent.
    pub intent: Intent,
    /// Whether the token was asked for a signature, or was about to be: until then, another intent
    /// can replace this one.
    pub asked: bool,
    /// The files that have no kept signature yet, in the order in which the token is asked.
    pub missing: Vec<String>,
    /// The file for which the token may have been asked, and may have made a signature that is not
    /// kept. Files are signed one after the other and each answer is kept before the next is asked
    /// for, so there is never more than one.
    pub unsettled: Option<String>,
    /// Whether the log says how the last run under the intent ended: not if it was killed.
    pub ended: bool,
    /// Whether the log says that every file is signed.
    pub signed: bool,
    /// Whether the log says that the release appeared.
    pub released: bool,
}

impl Journal {
    /// The journal of a grant's build; `None` while the token was not to be used for it.
    pub fn read(grant: GrantId, ledger: &Ledger) -> Result<Option<Self>, LedgerError> {
        let (Some(record), Some((index, intent))) = (ledger.grant(grant)?, ledger.intent(grant)?)
        else {
            return Ok(None);
        };
        let mut missing = Vec::new();
        for file in intent.plan().names() {
            if ledger.signature(index, file)?.is_none() {
                missing.push(file.to_owned());
            }
        }
        let mut ended = false;
        let mut unsettled = None;
        for entry in ledger.history(grant)? {
            match entry.event {
                Event::Intent(_) | Event::Resumed { .. } => {
                    ended = false;
                    unsettled = None;
                }
                Event::Outcome { result, .. } => {
                    ended = true;
                    unsettled = match result {
                        RunResult::Stopped { unsettled, .. } => unsettled,
                        RunResult::Signed { .. } => None,
                    };
                }
                _ => {}
            }
        }
        let asked = ledger.is_asked(index)?;
        if !ended {
            unsettled = missing.first().filter(|_| asked).cloned();
        }
        Ok(Some(Self {
            index,
            intent,
            asked,
            missing,
            unsettled,
            ended,
            signed: record.signed.is_some(),
            released: record.released.is_some(),
        }))
    }

    /// How many signatures are kept.
    pub fn kept(&self) -> usize {
        self.intent.plan().files().len() - self.missing.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::digest::Sha256;
    use crate::domain::time::Timestamp;

    /// What is signed, in the order of the token.
    const FILES: [&str; 3] = ["a", "b", "SHA256SUMS"];

    /// How a run ended that did not sign everything.
    #[derive(Debug, Clone, Copy)]
    enum End {
        /// While an answer of the token was waited for, or not.
        Stopped { asked: bool },
        /// Without a word.
        Killed,
    }

    /// How many files a run signed, and how it ended.
    type RunOf = (usize, End);

    fn time() -> Timestamp {
        Timestamp::from_unix(0)
    }

    /// A build on its way, as a signing host logs it.
    struct Build<'a> {
        ledger: &'a mut Ledger,
        grant: GrantId,
        index: u64,
        kept: usize,
    }

    impl<'a> Build<'a> {
        /// Granted, accepted and announced.
        fn begin(ledger: &'a mut Ledger, grant: GrantId) -> Self {
            ledger
                .append(time(), Event::example_grant(grant))
                .expect("issued");
            ledger
                .append(time(), Event::example_acceptance(grant))
                .expect("accepted");
            assert_eq!(
                Journal::read(grant, ledger).expect("read"),
                None,
                "the token was not to be used yet"
            );
            let artifact =
                |name: &str| (name.parse().expect("a name"), Sha256::of(name.as_bytes()));
            let artifacts = [artifact("a"), artifact("b")].into();
            let intent = Intent {
                grant,
                artifacts,
                ..Intent::example()
            };
            let index = ledger
                .append(time(), Event::Intent(intent))
                .expect("intended");
            let before = Journal::read(grant, ledger).expect("read");
            assert_eq!(
                before.map(|journal| (journal.asked, journal.unsettled)),
                Some((false, None)),
                "nothing is lost that was not asked for"
            );
            ledger.mark_asked(index).expect("marked");
            Self {
                ledger,
                grant,
                index,
                kept: 0,
            }
        }

        fn journal(&self) -> Journal {
            Journal::read(self.grant, self.ledger)
                .expect("read")
                .expect("there is an intent")
        }

        fn log(&mut self, event: Event) {
            self.ledger.append(time(), event).expect("appended");
        }

        fn resume(&mut self) {
            let (intent, kept, unsettled) =
                (self.index, self.kept as u64, self.journal().unsettled);
            self.log(Event::Resumed {
                intent,
                kept,
                unsettled,
                card: None,
            });
        }

        fn sign(&mut self, files: usize) {
            for file in FILES.iter().skip(self.kept).take(files) {
                self.ledger
                    .keep_signature(self.index, file, &format!("{} {file}", self.grant))
                    .expect("kept");
                self.kept += 1;
            }
        }

        fn end(&mut self, result: RunResult) {
            self.log(Event::Outcome {
                intent: self.index,
                result,
                card: None,
            });
        }

        fn missing(&self) -> Option<String> {
            FILES.get(self.kept).map(|file| (*file).to_owned())
        }

        /// One run to its end; whether the log says how it ended, and
        /// which file it may have lost.
        fn run(&mut self, (files, end): RunOf) -> (bool, Option<String>) {
            self.sign(files);
            let lost = self
                .missing()
                .filter(|_| !matches!(end, End::Stopped { asked: false }));
            match end {
                End::Killed => (false, lost),
                End::Stopped { .. } => {
                    let (token_signatures, reason) = (files as u64, "no PIN".to_owned());
                    self.end(RunResult::Stopped {
                        token_signatures,
                        unsettled: lost.clone(),
                        reason,
                    });
                    (true, lost)
                }
            }
        }
    }

    /// Whatever runs came before, the last one alone shows whether a signature may be lost, and
    /// which: the next run logs it, and a card's count is compared with it.
    #[test]
    fn the_last_run_shows_which_signature_may_be_lost() {
        let temp = tempfile::tempdir().expect("a folder");
        let mut ledger = Ledger::open_or_create(&temp.path().join("ledger.sqlite")).expect("made");
        let ends = [
            End::Stopped { asked: true },
            End::Stopped { asked: false },
            End::Killed,
        ];
        let each_run = || {
            [0, 1, 2]
                .into_iter()
                .flat_map(|files| ends.map(|end| (files, end)))
        };
        let two = each_run().flat_map(|a| each_run().map(move |b| [a, b]));
        let mut tried = 0;
        for runs in two {
            tried += 1;
            let mut build = Build::begin(&mut ledger, GrantId::of(format!("{runs:?}").as_bytes()));
            for (number, run) in runs.into_iter().enumerate() {
                if number > 0 {
                    build.resume();
                }
                let (ended, unsettled) = build.run(run);
                let journal = build.journal();
                assert_eq!(
                    (journal.ended, journal.unsettled),
                    (ended, unsettled),
                    "after {:?}",
                    &runs[..=number]
                );
                assert_eq!(
                    (&journal.missing[..], journal.signed),
                    (&FILES.map(str::to_owned)[build.kept..], false)
                );
            }
            build.resume();
            build.sign(FILES.len());
            build.end(RunResult::Signed {
                token_signatures: 0,
            });
            let journal = build.journal();
            assert_eq!(
                (journal.ended, &journal.unsettled, journal.signed),
                (true, &None, true),
                "after {runs:?}"
            );
            assert_eq!(
                (&journal.missing[..], journal.kept(), journal.released),
                (&[][..], 3, false)
            );
            build.log(Event::Released {
                intent: build.index,
                sums: Sha256::of(b"s"),
                to_push: false,
            });
            assert!(build.journal().released);
        }
        assert_eq!(tried, 81);
    }
}
