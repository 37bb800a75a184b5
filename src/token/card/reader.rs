//! Cards in readers, by way of the PC/SC service, and the transport of commands to them.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString};
use std::fs;

use card_backend::{CardBackend, CardCaps, CardTransaction, PinType, SmartcardError};
use card_backend_pcsc::PcscBackend;
use pcsc::{Context, Protocols, Scope, ShareMode};

use crate::domain::text::clean;
use crate::token::TokenError;

/// The maximum length of an answer in parts, in bytes: more than any key or certificate on a card.
const LONGEST_ANSWER: usize = 64 << 10;

/// The maximum length of a part of an answer, with its status (ISO 7816-3, section 12.2.1, and
/// extended length).
const LONGEST_PART: usize = (64 << 10) + 2;

/// The command that checks a PIN (OpenPGP card 3.4, section 7.2.2); its P2 says which.
const VERIFY: u8 = 0x20;

/// The status of a command that succeeded.
const DONE: [u8; 2] = [0x90, 0x00];

/// Why a reader gives no card.
#[derive(Debug)]
pub(super) enum NoCard {
    /// It is empty.
    Empty,
    /// It or its card cannot be used.
    Trouble(TokenError),
}

/// All readers.
pub(super) fn readers() -> Result<Vec<CString>, TokenError> {
    // PC/SC Lite has at most 16 readers, with names of at most 128 bytes.
    let mut names = [0; 16 * 130];
    let context = Context::establish(Scope::System).map_err(no_service)?;
    let names = context.list_readers(&mut names).map_err(no_service)?;
    Ok(names.map(CStr::to_owned).collect())
}

/// The name of a reader in errors.
pub(super) fn named(reader: &CStr) -> String {
    clean(&reader.to_string_lossy())
}

/// The card in `reader`, shared with other programs until a transaction begins.
pub(super) fn connect(reader: &CStr) -> Result<Whole, NoCard> {
    use pcsc::Error::{
        NoSmartcard, ReaderUnavailable, RemovedCard, SharingViolation, UnknownReader,
    };
    let context =
        Context::establish(Scope::System).map_err(|error| NoCard::Trouble(no_service(error)))?;
    let card = context
        .connect(reader, ShareMode::Shared, Protocols::ANY)
        .map_err(|error| match error {
            NoSmartcard | RemovedCard | UnknownReader | ReaderUnavailable => NoCard::Empty,
            SharingViolation => NoCard::Trouble(TokenError::Held {
                reader: named(reader),
                holders: holders(),
            }),
            other => NoCard::Trouble(TokenError::SessionLost {
                token: named(reader),
                reason: other.to_string(),
            }),
        })?;
    let backend = PcscBackend::from_pcsc_card(reader, ShareMode::Shared, card);
    backend
        .map(|backend| Whole(Box::new(backend)))
        .map_err(|error| {
            NoCard::Trouble(TokenError::SessionLost {
                token: named(reader),
                reason: error.to_string(),
            })
        })
}

fn no_service(error: pcsc::Error) -> TokenError {
    TokenError::NoCardService {
        reason: error.to_string(),
    }
}

/// The programs that have loaded the client library of the service, as far as this user can see
/// them: one of them uses the card. The service itself does not report which.
pub(super) fn holders() -> Vec<String> {
    let own = std::process::id();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = processes
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|id| *id != own);
    let mut found: Vec<_> = ids
        .filter_map(|id| {
            let maps = fs::read_to_string(format!("/proc/{id}/maps")).ok()?;
            let name = fs::read_to_string(format!("/proc/{id}/comm")).ok()?;
            maps.contains("libpcsclite")
                .then(|| format!("{} (process {id})", clean(name.trim_end())))
        })
        .collect();
    found.sort();
    found
}

/// A card whose answers arrive complete, and whose PINs are withdrawn in the end.
pub(super) struct Whole(pub(super) Box<dyn CardBackend + Send + Sync>);

struct WholeTransaction<'a> {
    card: Box<dyn CardTransaction + Send + Sync + 'a>,
    /// P2 of each PIN that it accepted.
    unlocked: BTreeSet<u8>,
}

impl CardBackend for Whole {
    fn limit_card_caps(&self, caps: CardCaps) -> CardCaps {
        self.0.limit_card_caps(caps)
    }

    fn transaction(
        &mut self,
        reselect: Option<&[u8]>,
    ) -> Result<Box<dyn CardTransaction + Send + Sync + '_>, SmartcardError> {
        Ok(Box::new(WholeTransaction {
            card: self.0.transaction(reselect)?,
            unlocked: BTreeSet::new(),
        }))
    }
}

impl CardTransaction for WholeTransaction<'_> {
    /// Joins the parts of an answer (status 61xx, ISO 7816-4, section 5.3.4). The library does so
    /// too, but panics when the card supports commands of extended length.
    fn transmit(&mut self, command: &[u8], _: usize) -> Result<Vec<u8>, SmartcardError> {
        let mut whole = Vec::new();
        let mut part = self.card.transmit(command, LONGEST_PART)?;
        loop {
            let Some((&[first, second], data)) = part
                .split_last_chunk::<2>()
                .map(|(data, status)| (status, data))
            else {
                return Err(SmartcardError::Error("no answer".to_owned()));
            };
            whole.extend_from_slice(data);
            if first != 0x61 {
                whole.extend([first, second]);
                if let [_, VERIFY, 0, pin, _, ..] = command {
                    self.note(*pin, &whole);
                }
                return Ok(whole);
            }
            if whole.len() > LONGEST_ANSWER {
                return Err(SmartcardError::Error("an answer without an end".to_owned()));
            }
            part = self.card.transmit(&[0, 0xc0, 0, 0, second], LONGEST_PART)?;
            if part.len() <= 2 && part.first() == Some(&0x61) {
                return Err(SmartcardError::Error("an answer without an end".to_owned()));
            }
        }
    }

    fn max_cmd_len(&self) -> Option<usize> {
        self.card.max_cmd_len()
    }

    fn feature_pinpad_verify(&self) -> bool {
        self.card.feature_pinpad_verify()
    }

    fn feature_pinpad_modify(&self) -> bool {
        self.card.feature_pinpad_modify()
    }

    fn pinpad_verify(
        &mut self,
        pin: PinType,
        caps: &Option<CardCaps>,
    ) -> Result<Vec<u8>, SmartcardError> {
        let answer = self.card.pinpad_verify(pin, caps)?;
        self.note(pin.id(), &answer);
        Ok(answer)
    }

    fn pinpad_modify(
        &mut self,
        pin: PinType,
        caps: &Option<CardCaps>,
    ) -> Result<Vec<u8>, SmartcardError> {
        self.card.pinpad_modify(pin, caps)
    }

    fn was_reset(&self) -> bool {
        self.card.was_reset()
    }
}

impl WholeTransaction<'_> {
    fn note(&mut self, pin: u8, answer: &[u8]) {
        if answer == DONE {
            self.unlocked.insert(pin);
        }
    }
}

impl Drop for WholeTransaction<'_> {
    /// Withdraws each PIN, with a VERIFY whose P1 is FF, before another program can begin a
    /// transaction and sign with it. A card that is too old for this refuses it, and forgets the
    /// PIN in the reset that follows.
    fn drop(&mut self) {
        for pin in std::mem::take(&mut self.unlocked) {
            let _gone_or_unknown = self.card.transmit(&[0, VERIFY, 0xff, pin], LONGEST_PART);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::{FakeCard, Sent};
    use super::*;

    /// The answer to one command to a card that gives these answers, and all that it was sent.
    fn answers(answers: &[&[u8]]) -> (Result<Vec<u8>, SmartcardError>, Sent) {
        let (card, sent) = FakeCard::that_answers(answers);
        let mut whole = Whole(Box::new(card));
        let answer = whole
            .transaction(None)
            .expect("a transaction")
            .transmit(&[0, 0xca, 0, 0x6e, 0], 256);
        (answer, sent)
    }

    #[test]
    fn an_answer_in_parts_is_joined() {
        let (answer, sent) = answers(&[b"one\x61\x03", b"two\x61\x00", b"three\x90\x00"]);
        assert_eq!(answer.expect("an answer"), b"onetwothree\x90\x00");
        let sent = sent.lock().expect("no panic").clone();
        assert_eq!(sent[1..], [vec![0, 0xc0, 0, 0, 3], vec![0, 0xc0, 0, 0, 0]]);
    }

    #[test]
    fn an_answer_without_an_end_is_refused() {
        assert!(answers(&[b"one\x61\x03", b"\x61\x03"]).0.is_err());
        let part = [&[7; 254][..], b"\x61\xff"].concat();
        assert!(answers(&vec![&part[..]; 1000]).0.is_err());
        for none in [&b""[..], b"\x90"] {
            assert!(answers(&[none]).0.is_err());
            assert!(answers(&[b"one\x61\x03", none]).0.is_err());
        }
    }

    #[test]
    fn each_accepted_pin_is_withdrawn() {
        let verify = |pin: u8| [&[0, 0x20, 0, pin, 6][..], b"123456"].concat();
        let sent_for = |answer: &'static [u8]| {
            let (card, sent) = FakeCard::that_answers(&[answer, answer]);
            let mut whole = Whole(Box::new(card));
            let mut transaction = whole.transaction(None).expect("a transaction");
            for pin in [0x81, 0x83] {
                transaction.transmit(&verify(pin), 256).expect("an answer");
            }
            drop(transaction);
            let sent = sent.lock().expect("no panic").clone();
            sent[2..].to_vec()
        };
        assert_eq!(
            sent_for(b"\x90\x00"),
            [[0, 0x20, 0xff, 0x81], [0, 0x20, 0xff, 0x83]]
        );
        // An old card could count it as a wrong PIN.
        assert_eq!(sent_for(b"\x69\x82"), [[0; 4]; 0]);
    }
}
