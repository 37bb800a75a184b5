//! The thread on which the card library runs.
//!
//! The library panics on answers that it does not expect (`openpgp-card` 0.7: a chained response, a
//! status that cannot be read again), and a transaction of another program keeps it waiting without
//! a limit. On a thread of its own neither reaches the rest: a panic ends that thread alone,
//! silently, and waiting for it can be given up.

use std::panic;
use std::sync::Once;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use openpgp_card::Card;
use openpgp_card::state::Transaction;

/// The name of the thread, by which its panics are told apart.
const NAME: &str = "card";

/// An opened card, as the library has it.
pub(super) type OpenCard<'a> = Card<Transaction<'a>>;

type Job = Box<dyn FnOnce(&mut OpenCard<'_>) + Send>;

/// Runs what it is given, one after another, on the card that is open on its thread.
pub(super) struct Worker {
    jobs: Sender<Job>,
    /// Says that the thread has let go of everything.
    ended: Receiver<()>,
}

/// The thread is gone: what ran on it has panicked.
#[derive(Debug)]
pub(super) struct Gone;

/// A worker whose card is still being opened.
pub(super) struct Starting<A> {
    jobs: Sender<Job>,
    ended: Receiver<()>,
    answer: Receiver<A>,
}

/// How a start that was waited for stands.
pub(super) enum Started<A> {
    /// It answered.
    Yes(Worker, A),
    /// Not yet.
    NotYet(Starting<A>),
    /// It panicked.
    Gone,
}

/// The other end of a worker, on its thread: answers the start, then runs the jobs.
pub(super) struct Desk<A> {
    jobs: Receiver<Job>,
    answer: Sender<A>,
}

impl<A> Desk<A> {
    /// Whether whoever started this still waits for it.
    pub(super) fn answer(&self, answer: A) -> bool {
        self.answer.send(answer).is_ok()
    }

    /// Runs jobs on `card` until there can be no more.
    pub(super) fn serve(&self, card: &mut OpenCard<'_>) {
        while let Ok(job) = self.jobs.recv() {
            job(card);
        }
    }
}

impl<A: Send + 'static> Starting<A> {
    /// Starts a thread that runs `work`.
    pub(super) fn new(work: impl FnOnce(Desk<A>) + Send + 'static) -> Self {
        keep_panics_silent();
        let ((jobs, to_do), (answered, answer), (at_end, ended)) =
            (mpsc::channel(), mpsc::channel(), mpsc::channel());
        let desk = Desk {
            jobs: to_do,
            answer: answered,
        };
        let run = move || {
            // Dropped last, also by a panic.
            let _at_end: Sender<()> = at_end;
            work(desk);
        };
        thread::Builder::new()
            .name(NAME.to_owned())
            .spawn(run)
            .expect("the system has a thread left");
        Self {
            jobs,
            ended,
            answer,
        }
    }

    /// Waits so long for the answer.
    pub(super) fn wait(self, patience: Duration) -> Started<A> {
        match self.answer.recv_timeout(patience) {
            Ok(answer) => Started::Yes(
                Worker {
                    jobs: self.jobs,
                    ended: self.ended,
                },
                answer,
            ),
            Err(RecvTimeoutError::Timeout) => Started::NotYet(self),
            Err(RecvTimeoutError::Disconnected) => Started::Gone,
        }
    }
}

impl Worker {
    /// Runs `job` on the card, and waits for its answer.
    pub(super) fn run<R: Send + 'static>(
        &self,
        job: impl FnOnce(&mut OpenCard<'_>) -> R + Send + 'static,
    ) -> Result<R, Gone> {
        let (sender, answer) = mpsc::channel();
        let job = Box::new(move |card: &mut OpenCard<'_>| {
            let _nobody_waits = sender.send(job(card));
        });
        self.jobs.send(job).map_err(|_| Gone)?;
        answer.recv().map_err(|_| Gone)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Without a sender the thread ends; until it has let go of the card, another program could
        // not take it.
        let (nowhere, _) = mpsc::channel();
        self.jobs = nowhere;
        let _at_end = self.ended.recv();
    }
}

/// Lets a panic on a thread of ours pass without a word on standard error: it becomes an error in
/// its own words.
fn keep_panics_silent() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if thread::current().name() != Some(NAME) {
                before(info);
            }
        }));
    });
}

#[cfg(test)]
mod tests {
    use card_backend::CardBackend;
    use openpgp_card::state::Open;

    use super::super::fake::FakeCard;
    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn a_panic_is_an_answer() {
        let start = Starting::new(|_: Desk<()>| panic!("the library did not expect this"));
        assert!(matches!(start.wait(LONG), Started::Gone));
    }

    #[test]
    fn a_start_can_be_waited_for_again() {
        let (go, gone) = mpsc::channel::<()>();
        let start = Starting::new(move |desk: Desk<u8>| {
            let _go = gone.recv();
            desk.answer(7);
        });
        let Started::NotYet(start) = start.wait(Duration::from_millis(10)) else {
            panic!("it cannot have answered")
        };
        drop(go);
        assert!(matches!(start.wait(LONG), Started::Yes(_, 7)));
    }

    #[test]
    fn a_panic_in_a_job_is_the_last_word() {
        let start = Starting::new(|desk| {
            let card: Box<dyn CardBackend + Send + Sync> = Box::new(FakeCard::empty());
            let mut card = Card::<Open>::new(card).expect("a card");
            desk.answer(());
            desk.serve(&mut card.transaction().expect("a transaction"));
        });
        let Started::Yes(worker, ()) = start.wait(LONG) else {
            panic!("it did not start")
        };
        assert!(
            worker
                .run(|card| card.card().application_identifier().is_ok())
                .is_ok_and(|told| told)
        );
        assert!(
            worker
                .run(|_| panic!("the library did not expect this"))
                .map(|(): ()| ())
                .is_err()
        );
        assert!(worker.run(|_| ()).is_err());
    }
}
