//! PIN, consent and touch: on the terminal, or where there is none and pinentry is installed, in
//! its window.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};

use pinentry::{ConfirmationDialog, PassphraseInput};
use rustix::termios::{QueueSelector, tcflush};
use secrecy::{ExposeSecret as _, SecretString};

use crate::cli::host::list::note;
use crate::domain::text::clean;
use crate::token::{Batch, Interaction, PinRequest, PinState, TokenError, TouchPolicy};

/// Asks whoever sits at the terminal, if there is one.
pub(in crate::cli) struct Terminal {
    /// Whether to wait for a token that another program holds.
    wait: bool,
    /// That it waits was said.
    said: bool,
    /// Signatures that were announced, and how many of them were waited for.
    batch: (usize, usize),
}

impl Terminal {
    pub(in crate::cli) fn new(wait: bool) -> Self {
        Self {
            wait,
            said: false,
            batch: (0, 0),
        }
    }
}

impl Interaction for Terminal {
    fn pin(&mut self, request: &PinRequest) -> Option<SecretString> {
        let state = match request.state {
            PinState::Untouched | PinState::NotNeeded => String::new(),
            PinState::CountLow => " (a wrong PIN was given before)".to_owned(),
            PinState::Left(tries) => format!(" ({tries} tries left)"),
            PinState::FinalTry => " (this is the last try)".to_owned(),
            PinState::Locked => " (locked)".to_owned(),
        };
        let prompt = format!(
            "{} for {}{state}: ",
            capital(&request.pin.to_string()),
            clean(&request.token)
        );
        let pin = match terminal() {
            Some(_) => {
                forget_what_was_typed();
                SecretString::from(rpassword::prompt_password(prompt).ok()?)
            }
            None => {
                let mut input = PassphraseInput::with_default_binary()?;
                input
                    .with_description(&prompt)
                    .with_prompt("PIN:")
                    .interact()
                    .ok()?
            }
        };
        Some(pin).filter(|pin| !pin.expose_secret().is_empty())
    }

    fn final_try(&mut self, request: &PinRequest) -> bool {
        let question = format!(
            "{} has one try left for the {}; a wrong one locks it.",
            capital(&clean(&request.token)),
            request.pin
        );
        let ask = |mut terminal: File| -> std::io::Result<bool> {
            write!(terminal, "{question} Try? Type yes: ")?;
            let mut answer = String::new();
            forget_what_was_typed();
            BufReader::new(terminal).read_line(&mut answer)?;
            Ok(answer.trim() == "yes")
        };
        match (terminal(), ConfirmationDialog::with_default_binary()) {
            (Some(terminal), _) => ask(terminal).unwrap_or(false),
            (None, Some(mut dialog)) => dialog.with_ok("Try").confirm(&question).unwrap_or(false),
            (None, None) => false,
        }
    }

    fn at_keypad(&mut self, request: &PinRequest) {
        note(&format!(
            "type the {} of {} on the keypad of its reader",
            request.pin,
            clean(&request.token)
        ));
    }

    fn begins(&mut self, batch: &Batch) {
        self.batch = (batch.signatures, 0);
        let Some(card) = &batch.token.card else {
            return;
        };
        let count = |number: usize, one: &str, many: &str| {
            format!("{number} {}", if number == 1 { one } else { many })
        };
        let mut told = vec![count(batch.signatures, "signature", "signatures")];
        match card.touch {
            TouchPolicy::Off => {}
            TouchPolicy::On | TouchPolicy::Fixed => {
                told.push(count(batch.signatures, "touch", "touches"))
            }
            TouchPolicy::Cached | TouchPolicy::CachedFixed => {
                told.push(format!(
                    "at most {}",
                    count(batch.signatures, "touch", "touches")
                ));
            }
        }
        told.push(match batch.token.pin {
            PinState::Left(tries) => format!("{tries} PIN tries left"),
            PinState::FinalTry => "one PIN try left".to_owned(),
            PinState::Locked => "PIN locked".to_owned(),
            PinState::Untouched | PinState::CountLow | PinState::NotNeeded => return,
        });
        note(&format!(
            "card {}: {}",
            clean(&batch.token.label),
            told.join(", ")
        ));
    }

    fn touch(&mut self) {
        let (all, touched) = &mut self.batch;
        *touched += 1;
        match all {
            0 => note("touch the card now"),
            all => note(&format!("touch the card now ({touched} of {all})")),
        }
    }

    fn replaces(&mut self, token: &str, key: &str) {
        note(&format!(
            "the signing key of card {} will be lost for ever: {}",
            clean(token),
            clean(key)
        ));
    }

    fn held(&mut self, error: &TokenError) -> bool {
        if self.wait && !self.said {
            note(&format!("waiting: {}", clean(&error.to_string())));
            self.said = true;
        }
        self.wait
    }
}

fn terminal() -> Option<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/tty")
        .ok()
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

/// Keys that were pressed before the question are no answer to it, and would cost a PIN try.
fn forget_what_was_typed() {
    if let Some(terminal) = terminal() {
        let _no_terminal = tcflush(&terminal, QueueSelector::IFlush);
    }
}
