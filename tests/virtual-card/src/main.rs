//! A virtual OpenPGP card, Nitrokey's `opcard` applet, plugged into `pcscd` through its driver
//! `vpcd`.
//!
//! For tests alone: its keys lie in an ordinary file or in memory.

mod card;
mod dispatch;
mod platform;

use std::cell::RefCell;
use std::net::TcpStream;
use std::os::linux::net::TcpStreamExt as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use trussed::ClientImplementation;
use trussed::pipe::{ServiceEndpoint, TrussedChannel};
use trussed::service::Service;
use trussed::types::CoreContext;
use trussed::virt::{StorageConfig, Store, StoreConfig};

use card::{Faults, VirtualCard};
use dispatch::{BACKENDS, Dispatch};
use platform::{Direct, Platform, Syscall, Touch};

const USAGE: &str = "\
usage: virtual-card --addr 127.0.0.1:PORT [--serial HEX8] [--state DIR]
                    [--touch auto|never|file:PATH] [--sign-delay MS]
                    [--pull-before-sign N] [--pull-after-sign N] [--pull-at-verify]";

/// The manufacturer of test cards (OpenPGP card 3.4, section 4.2.1).
const TEST_CARDS: u16 = 0xfffe;

/// How long `vpcd` may take to open its port after `pcscd` was started.
const PATIENCE: Duration = Duration::from_secs(20);

struct Options {
    addr: String,
    serial: u32,
    /// Where its keys are kept; in memory otherwise.
    state: Option<PathBuf>,
    touch: Touch,
    faults: Faults,
}

fn main() -> ExitCode {
    let Some(options) = parse(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let mut config = match &options.state {
        None => StoreConfig::ram(),
        Some(folder) => {
            fs::create_dir_all(folder).expect("a folder for the state");
            StoreConfig {
                internal: StorageConfig::filesystem(folder.join("internal.lfs")),
                external: StorageConfig::filesystem(folder.join("external.lfs")),
                volatile: StorageConfig::ram(),
            }
        }
    };
    config.with_store(|store| match plug_in(store, options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("virtual-card: {error}");
            ExitCode::FAILURE
        }
    })
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Option<Options> {
    let mut options = Options {
        addr: String::new(),
        serial: 1,
        state: None,
        touch: Touch::Auto,
        faults: Faults::default(),
    };
    while let Some(name) = arguments.next() {
        if name == "--pull-at-verify" {
            options.faults.pull_at_verify = true;
            continue;
        }
        let value = arguments.next()?;
        match name.as_str() {
            "--addr" => options.addr = value,
            "--serial" => options.serial = u32::from_str_radix(&value, 16).ok()?,
            "--state" => options.state = Some(value.into()),
            "--touch" => options.touch = touch(&value)?,
            "--sign-delay" => {
                options.faults.sign_delay = Duration::from_millis(value.parse().ok()?)
            }
            "--pull-before-sign" => options.faults.pull_before_sign = Some(value.parse().ok()?),
            "--pull-after-sign" => options.faults.pull_after_sign = Some(value.parse().ok()?),
            _ => return None,
        }
    }
    (!options.addr.is_empty()).then_some(options)
}

fn touch(text: &str) -> Option<Touch> {
    match text.split_once(':') {
        None if text == "auto" => Some(Touch::Auto),
        None if text == "never" => Some(Touch::Never),
        Some(("file", path)) => Some(Touch::File(path.into())),
        _ => None,
    }
}

/// Serves the reader until it goes away.
fn plug_in(store: Store<'_>, options: Options) -> io::Result<()> {
    let channel = TrussedChannel::new();
    let (requester, responder) = channel.split().expect("the channel is new");
    let service = Service::with_dispatch(Platform::new(store, options.touch), Dispatch::new());
    let context = CoreContext::new("opcard".try_into().expect("a short path"));
    let endpoints = vec![ServiceEndpoint::new(responder, context, BACKENDS)];
    let direct = Rc::new(RefCell::new(Direct { service, endpoints }));
    let client = ClientImplementation::<'_, _, Dispatch>::new(requester, Syscall(direct), None);

    let mut applet = opcard::Options::default();
    applet.manufacturer = TEST_CARDS.to_be_bytes();
    applet.serial = options.serial.to_be_bytes();
    let mut card = VirtualCard::new(opcard::Card::new(client, applet), options.faults);

    let stream = connect(&options.addr)?;
    eprintln!("virtual-card: plugged in at {}", options.addr);
    // vpcd sends length and command in two small segments: acknowledged late, each command would
    // take 40 ms.
    stream.set_nodelay(true)?;
    let socket = stream.try_clone()?;
    let mut connection = vpicc::Connection::from(stream);
    loop {
        socket.set_quickack(true)?;
        if connection.poll(&mut card).is_err() {
            // The reader is gone.
            return Ok(());
        }
    }
}

fn connect(addr: &str) -> io::Result<TcpStream> {
    let start = Instant::now();
    loop {
        match TcpStream::connect(addr) {
            Ok(stream) => return Ok(stream),
            Err(error) if start.elapsed() > PATIENCE => {
                return Err(io::Error::other(format!("no reader at {addr}: {error}")));
            }
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    }
}
