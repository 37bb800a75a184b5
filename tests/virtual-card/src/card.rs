//! The applet behind a reader: commands and answers in parts, and a card that is pulled out at a
//! chosen moment.

use std::thread;
use std::time::Duration;

use iso7816::command::FromSliceError;
use iso7816::{Command, Status};

/// The longest command and answer.
const BUF: usize = 7609;

/// What is wrong with the card.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    /// How much longer than it has to it takes for a signature.
    pub(crate) sign_delay: Duration,
    /// It is pulled out before the signature of this number.
    pub(crate) pull_before_sign: Option<u64>,
    /// It is pulled out after the signature of this number was made, and before the
    /// answer arrives.
    pub(crate) pull_after_sign: Option<u64>,
    /// It is pulled out when a PIN arrives.
    pub(crate) pull_at_verify: bool,
}

/// The applet, as a card in a reader.
pub(crate) struct VirtualCard<T: opcard::Client> {
    card: opcard::Card<T>,
    /// A command of which not all parts have come.
    pending: Option<Command<BUF>>,
    reply: heapless::Vec<u8, BUF>,
    /// How much of the reply was fetched.
    offset: usize,
    faults: Faults,
    signatures: u64,
}

impl<T: opcard::Client> VirtualCard<T> {
    pub(crate) fn new(card: opcard::Card<T>, faults: Faults) -> Self {
        Self {
            card,
            pending: None,
            reply: heapless::Vec::new(),
            offset: 0,
            faults,
            signatures: 0,
        }
    }
}

impl<T: opcard::Client> VirtualCard<T> {
    fn handle(&mut self, apdu: &[u8]) -> (Vec<u8>, Status) {
        let command: Command<BUF> = match apdu.try_into() {
            Ok(c) => c,
            Err(FromSliceError::InvalidClass) => return (vec![], Status::ClassNotSupported),
            Err(FromSliceError::InvalidFirstBodyByteForExtended) => {
                return (vec![], Status::UnspecifiedCheckingError);
            }
            Err(_) => return (vec![], Status::WrongLength),
        };
        let last = command.class().chain().last_or_only();
        let command = match self.pending.take() {
            Some(mut p) => {
                if p.extend_from_command(&command).is_err() {
                    return (vec![], Status::WrongLength);
                }
                p
            }
            None => command,
        };
        if !last {
            self.pending = Some(command);
            return (vec![], Status::Success);
        }
        if command.instruction() != iso7816::Instruction::GetResponse {
            self.reply.clear();
            self.offset = 0;
            if let Err(status) = self.card.handle(command.as_view(), &mut self.reply) {
                return (vec![], status);
            }
        }
        let n = command.expected().min(self.reply.len() - self.offset);
        let data = self.reply[self.offset..][..n].to_vec();
        self.offset += n;
        let rest = self.reply.len() - self.offset;
        let status = if rest == 0 {
            Status::Success
        } else {
            Status::MoreAvailable(rest.try_into().unwrap_or(u8::MAX))
        };
        (data, status)
    }
}
impl<T: opcard::Client> vpicc::VSmartCard for VirtualCard<T> {
    fn power_off(&mut self) {
        self.reset();
    }

    fn reset(&mut self) {
        self.pending = None;
        self.card.reset();
    }

    fn execute(&mut self, apdu: &[u8]) -> Vec<u8> {
        let signs = matches!(apdu, [_, 0x2a, 0x9e, 0x9a, _, ..]);
        let verifies = matches!(apdu, [_, 0x20, 0x00, _, _, ..]);
        self.signatures += u64::from(signs);
        let number = Some(self.signatures).filter(|_| signs);
        if verifies && self.faults.pull_at_verify {
            pulled("when the PIN came");
        }
        if number.is_some() && number == self.faults.pull_before_sign {
            pulled("before a signature");
        }
        if signs {
            thread::sleep(self.faults.sign_delay);
        }
        let (mut answer, status) = self.handle(apdu);
        if number.is_some() && number == self.faults.pull_after_sign {
            pulled("after a signature");
        }
        let status: [u8; 2] = status.into();
        answer.extend_from_slice(&status);
        answer
    }
}

/// The end of the process is what a reader sees when a card is pulled out.
fn pulled(when: &str) -> ! {
    eprintln!("virtual-card: pulled out {when}");
    std::process::exit(42)
}
