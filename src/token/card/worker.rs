//! The thread on which the card library runs.
//!
//! The library panics on answers that it does not expect (`openpgp-card` 0.7: a chained response, a
//! status that cannot be read again), and waits without a limit while another program has a
//! transaction. On a thread of its own neither affects the rest: a panic ends only that thread,
//! silently, and waiting for it can stop.

use std::panic;
use std::sync::Once;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use openpgp_card::Card;
use openpgp_card::state::Transaction;

/// The name of the thread, by which its panics are recognised.
const NAME: &str = "card";

/// An open card, as the library has it.
pub(super) type OpenCard<'a> = Card<Transaction<'a>>;

type Job = Box<dyn FnOnce(&mut OpenCard<'_>) + Send>;

/// Runs jobs, one after another, on the card that is open on its thread.
pub(super) struct Worker {
    jobs: Sender<Job>,
    /// Signals that the thread has released everything.
    ended: Receiver<()>,
}

/// The thread is gone: its job panicked.
#[derive(Debug)]
pub(super) struct Gone;

/// A worker whose card is still being opened.
pub(super) struct Starting<A> {
    jobs: Sender<Job>,
    ended: Receiver<()>,
    answer: Receiver<A>,
}

/// The state of a start that was waited for.
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
    /// Answers. Whether the one who started this still waits for it.
    pub(super) fn answer(&self, answer: A) -> bool {
        self.answer.send(answer).is_ok()
    }

    /// Runs jobs on `card` until the worker is dropped.
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
        let (jobs, to_do) = mpsc::channel();
        let (answered, answer) = mpsc::channel();
        let (at_end, ended) = mpsc::channel();
        let desk = Desk {
            jobs: to_do,
            answer: answered,
        };
        let run = move || {
            // Dropped last, also after a panic.
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

    /// Waits for the answer.
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
        // Without a sender the thread ends. Another program can use the card only when it has.
        let (nowhere, _) = mpsc::channel();
        self.jobs = nowhere;
        let _at_end = self.ended.recv();
    }
}

/// Keeps panics on our threads off standard error: they are reported as errors.
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
    fn a_panic_in_a_job_ends_the_worker() {
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
                .is_ok_and(|known| known)
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
