//! What the firmware runs on: randomness, storage, and a button that somebody may or may not touch.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rand_chacha::ChaCha20Rng;
use rand_core::{OsRng, SeedableRng};
use trussed::pipe::ServiceEndpoint;
use trussed::platform::{self, Platform as PlatformTrait};
use trussed::service::Service;
use trussed::virt::Store;
use trussed_core::types::consent;

use crate::dispatch::{Backend, Dispatch, DispatchContext};

/// When the button is touched.
#[derive(Clone, Debug)]
pub(crate) enum Touch {
    /// At once.
    Auto,
    /// Nobody is there.
    Never,
    /// As soon as this file is there, which is then removed.
    File(PathBuf),
}

/// The button and the light.
pub(crate) struct Ui {
    start: Instant,
    touch: Touch,
}
impl platform::UserInterface for Ui {
    fn check_user_presence(&mut self) -> consent::Level {
        let touched = match &self.touch {
            Touch::Auto => true,
            Touch::Never => false,
            Touch::File(p) => std::fs::remove_file(p).is_ok(),
        };
        if touched {
            consent::Level::Normal
        } else {
            std::thread::sleep(Duration::from_millis(5));
            consent::Level::None
        }
    }
    fn set_status(&mut self, s: trussed::types::ui::Status) {
        if matches!(s, trussed::types::ui::Status::WaitingForUserPresence) {
            eprintln!("virtual-card: waiting for touch ({:?})", self.touch);
        }
    }
    fn uptime(&mut self) -> Duration {
        self.start.elapsed()
    }
}

/// What the firmware runs on.
pub(crate) struct Platform<'a> {
    rng: ChaCha20Rng,
    store: Store<'a>,
    ui: Ui,
}

impl<'a> Platform<'a> {
    /// With random numbers of the operating system's: those of `trussed::virt` are always the same,
    /// and so would be the keys.
    pub(crate) fn new(store: Store<'a>, touch: Touch) -> Self {
        Self {
            rng: ChaCha20Rng::from_rng(OsRng).expect("the system has random numbers"),
            store,
            ui: Ui {
                start: Instant::now(),
                touch,
            },
        }
    }
}

impl<'a> PlatformTrait for Platform<'a> {
    type R = ChaCha20Rng;
    type S = Store<'a>;
    type UI = Ui;
    fn rng(&mut self) -> &mut Self::R {
        &mut self.rng
    }
    fn store(&self) -> Self::S {
        self.store
    }
    fn user_interface(&mut self) -> &mut Ui {
        &mut self.ui
    }
}

/// Runs the trussed service on the caller's thread: no 1 ms polling loop as in `trussed::virt`.
pub(crate) struct Direct<'a> {
    pub(crate) service: Service<Platform<'a>, Dispatch>,
    pub(crate) endpoints: Vec<ServiceEndpoint<'a, Backend, DispatchContext>>,
}
pub(crate) struct Syscall<'a>(pub(crate) Rc<RefCell<Direct<'a>>>);
impl platform::Syscall for Syscall<'_> {
    fn syscall(&mut self) {
        let mut d = self.0.borrow_mut();
        let Direct { service, endpoints } = &mut *d;
        service.process(endpoints);
    }
}
