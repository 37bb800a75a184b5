//! PIN, consent and touch: on the terminal, or without one in the window of pinentry, if it is
//! installed.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use pinentry::{ConfirmationDialog, PassphraseInput};
use rustix::termios::{QueueSelector, tcflush};
use secrecy::SecretString;

use super::list::note;
use super::programs;
use super::token_words::counted;
use crate::domain::text::clean;
use crate::token::{Batch, Interaction, PinRequest, PinState, TokenError, TouchPolicy};

/// Asks the user at the terminal, if there is one.
pub(in crate::cli) struct Terminal {
    /// How long to wait for a token that another program uses.
    wait: Duration,
    /// Since when it waits.
    waiting: Option<Instant>,
    /// The number of announced signatures.
    signatures: usize,
    /// The number of touches asked for.
    touches: usize,
    /// The program that the configuration names for questions without a terminal.
    pinentry: Option<PathBuf>,
}

impl Terminal {
    pub(in crate::cli) fn new(wait: Duration) -> Self {
        Self {
            wait,
            waiting: None,
            signatures: 0,
            touches: 0,
            pinentry: None,
        }
    }

    /// Asks with the pinentry of the configuration where there is no terminal.
    pub(super) fn with_pinentry(self, pinentry: Option<PathBuf>) -> Self {
        Self { pinentry, ..self }
    }

    /// The pinentry to ask with, if there is one.
    fn pinentry(&self) -> Option<PathBuf> {
        let Some(path) = &self.pinentry else {
            return programs::of_system("pinentry");
        };
        match programs::check(path) {
            Ok(()) => Some(path.clone()),
            Err(reason) => {
                note(&format!(
                    "pinentry `{}` is not used: {reason}",
                    path.display()
                ));
                None
            }
        }
    }
}

impl Interaction for Terminal {
    fn pin(&mut self, request: &PinRequest) -> Option<SecretString> {
        let state = match request.state {
            PinState::Untouched | PinState::NotNeeded => String::new(),
            PinState::CountLow => " (a wrong PIN was tried before)".to_owned(),
            PinState::Left(tries) => format!(" ({tries} tries left)"),
            PinState::FinalTry => " (this is the last try)".to_owned(),
            PinState::Locked => " (locked)".to_owned(),
        };
        let prompt = format!(
            "{} for {}{state}: ",
            capital(&request.pin.to_string()),
            clean(&request.token)
        );
        if terminal().is_some() {
            discard_input();
            // Ending the input is an answer too.
            return Some(
                rpassword::prompt_password(prompt)
                    .unwrap_or_default()
                    .into(),
            );
        }
        let mut input = PassphraseInput::with_binary(self.pinentry()?)?;
        match input
            .with_description(&prompt)
            .with_prompt("PIN:")
            .interact()
        {
            Err(pinentry::Error::Cancelled) => Some(String::new().into()),
            // It may have no screen.
            answer => answer.ok(),
        }
    }

    fn final_try(&mut self, request: &PinRequest) -> Option<bool> {
        let question = format!(
            "One {} try is left for {}; a wrong PIN locks it.",
            request.pin,
            clean(&request.token)
        );
        let ask = |mut terminal: File| -> std::io::Result<bool> {
            write!(terminal, "{question} Try? Type yes: ")?;
            let mut answer = String::new();
            discard_input();
            BufReader::new(terminal).read_line(&mut answer)?;
            Ok(answer.trim() == "yes")
        };
        if let Some(terminal) = terminal() {
            return Some(ask(terminal).unwrap_or(false));
        }
        let mut dialog = ConfirmationDialog::with_binary(self.pinentry()?)?;
        dialog.with_ok("Try").confirm(&question).ok()
    }

    fn at_keypad(&mut self, request: &PinRequest) {
        note(&format!(
            "enter the {} of {} on the keypad of its reader",
            request.pin,
            clean(&request.token)
        ));
    }

    fn begins(&mut self, batch: &Batch) {
        self.signatures = batch.signatures;
        self.touches = 0;
        let Some(card) = &batch.token.card else {
            return;
        };
        let signatures = batch.signatures as u64;
        let touches = counted(signatures, "touch", "touches");
        let mut facts = vec![counted(signatures, "signature", "signatures")];
        match card.touch {
            TouchPolicy::Off => {}
            TouchPolicy::On | TouchPolicy::Fixed => facts.push(touches),
            TouchPolicy::Cached | TouchPolicy::CachedFixed => {
                facts.push(format!("at most {touches}"));
            }
        }
        facts.push(match batch.token.pin {
            PinState::Left(tries) => format!("{tries} PIN tries left"),
            PinState::FinalTry => "one PIN try left".to_owned(),
            PinState::Locked => "PIN locked".to_owned(),
            PinState::Untouched | PinState::CountLow | PinState::NotNeeded => return,
        });
        note(&format!(
            "card {}: {}",
            clean(&batch.token.label),
            facts.join(", ")
        ));
    }

    fn touch(&mut self) {
        self.touches += 1;
        match self.signatures {
            0 => note("touch the card now"),
            all => note(&format!("touch the card now ({} of {all})", self.touches)),
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
        let is_first = self.waiting.is_none();
        let since = self.waiting.get_or_insert_with(Instant::now);
        let waits = since.elapsed() < self.wait;
        if waits && is_first {
            note(&format!("waiting: {}", clean(&error.to_string())));
        }
        waits
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

/// Discards what was typed before the question: it is not an answer, and would cost a PIN try.
fn discard_input() {
    if let Some(terminal) = terminal() {
        let _no_terminal = tcflush(&terminal, QueueSelector::IFlush);
    }
}
