//! A card that gives the answers of a test.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use card_backend::{CardBackend, CardCaps, CardTransaction, PinType, SmartcardError};

/// The application related data of an empty card: its features, three key slots, no keys.
const EMPTY: &str = "4F10D276000124010304FFFE000000010000 5F520A0031F573C00160059000 \
    7F660802021DB902021DB9 7381B7 C00A3F001000100010000001 C106010800002000 \
    C206010800002000 C306010800002000 C407007F7F7F030003 \
    C53C{zeros} C63C{zeros} CD0C000000000000000000000000";

/// The commands that a card received.
pub(super) type Sent = Arc<Mutex<Vec<Vec<u8>>>>;

/// Answers each command with the next of its answers, and then with "done".
pub(super) struct FakeCard {
    answers: VecDeque<Vec<u8>>,
    sent: Sent,
}

impl FakeCard {
    pub(super) fn that_answers(answers: &[&[u8]]) -> (Self, Sent) {
        let sent = Sent::default();
        let answers = answers.iter().map(|answer| answer.to_vec()).collect();
        (
            Self {
                answers,
                sent: Arc::clone(&sent),
            },
            sent,
        )
    }

    /// A card without keys, as long as only its data is read.
    pub(super) fn empty() -> Self {
        let data = EMPTY
            .replace("{zeros}", &"00".repeat(60))
            .replace(char::is_whitespace, "");
        let data = hex::decode(data + "9000").expect("hexadecimal digits");
        let selected = &b"\x90\x00"[..];
        // The library asks once when it opens the card, and again when a transaction begins.
        Self::that_answers(&[selected, &data, &data, &data]).0
    }
}

impl CardBackend for FakeCard {
    fn limit_card_caps(&self, caps: CardCaps) -> CardCaps {
        caps
    }

    fn transaction(
        &mut self,
        _: Option<&[u8]>,
    ) -> Result<Box<dyn CardTransaction + Send + Sync + '_>, SmartcardError> {
        Ok(Box::new(FakeTransaction(self)))
    }
}

struct FakeTransaction<'a>(&'a mut FakeCard);

impl CardTransaction for FakeTransaction<'_> {
    fn transmit(&mut self, command: &[u8], _: usize) -> Result<Vec<u8>, SmartcardError> {
        self.0.sent.lock().expect("no panic").push(command.to_vec());
        Ok(self
            .0
            .answers
            .pop_front()
            .unwrap_or_else(|| vec![0x90, 0x00]))
    }

    fn feature_pinpad_verify(&self) -> bool {
        false
    }

    fn feature_pinpad_modify(&self) -> bool {
        false
    }

    fn pinpad_verify(
        &mut self,
        _: PinType,
        _: &Option<CardCaps>,
    ) -> Result<Vec<u8>, SmartcardError> {
        Err(SmartcardError::Error("no keypad".to_owned()))
    }

    fn pinpad_modify(
        &mut self,
        _: PinType,
        _: &Option<CardCaps>,
    ) -> Result<Vec<u8>, SmartcardError> {
        Err(SmartcardError::Error("no keypad".to_owned()))
    }

    fn was_reset(&self) -> bool {
        false
    }
}
