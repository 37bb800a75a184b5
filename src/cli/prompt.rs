//! PIN and consent on the terminal.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};

use rustix::termios::{QueueSelector, tcflush};
use secrecy::SecretString;

use crate::domain::text::clean;
use crate::token::{Interaction, PinRequest, PinState};

/// Asks whoever sits at the terminal, if there is one.
pub(super) struct Terminal;

impl Interaction for Terminal {
    fn pin(&mut self, request: &PinRequest) -> Option<SecretString> {
        let state = match request.state {
            PinState::Untouched | PinState::NotNeeded => "",
            PinState::CountLow => " (a wrong PIN was given before)",
            PinState::FinalTry => " (this is the last try)",
            PinState::Locked => " (locked)",
        };
        forget_what_was_typed();
        let prompt = format!("PIN for token {}{state}: ", clean(&request.token));
        rpassword::prompt_password(prompt).ok().filter(|pin| !pin.is_empty()).map(SecretString::from)
    }

    fn final_try(&mut self, request: &PinRequest) -> bool {
        let ask = || -> std::io::Result<bool> {
            let mut terminal = OpenOptions::new().read(true).write(true).open("/dev/tty")?;
            let token = clean(&request.token);
            write!(terminal, "Token {token} has one PIN try left; a wrong PIN locks it. Try? Type yes: ")?;
            let mut answer = String::new();
            forget_what_was_typed();
            BufReader::new(terminal).read_line(&mut answer)?;
            Ok(answer.trim() == "yes")
        };
        ask().unwrap_or(false)
    }
}

/// Keys that were pressed before the question are no answer to it, and would cost a PIN try.
fn forget_what_was_typed() {
    if let Ok(terminal) = OpenOptions::new().read(true).open("/dev/tty") {
        let _no_terminal = tcflush(&terminal, QueueSelector::IFlush);
    }
}
