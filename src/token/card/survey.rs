//! The cards in the readers, and which of them a URI names.

use std::ffi::CString;
use std::thread;
use std::time::Duration;

use super::facts::Facts;
use super::reader;
use super::session::Session;
use crate::token::uri::{CardUri, TokenUri};
use crate::token::{Interaction, TokenError};

/// How long to wait before looking again for a card that another program uses.
const PAUSE: Duration = Duration::from_millis(300);

/// What is in the readers.
pub(super) struct Survey {
    /// Every OpenPGP card, with its reader.
    pub(super) cards: Vec<(CString, Facts)>,
    /// The errors of other readers.
    pub(super) troubles: Vec<TokenError>,
}

pub(super) fn survey(interaction: &mut dyn Interaction) -> Result<Survey, TokenError> {
    let mut survey = Survey {
        cards: Vec::new(),
        troubles: Vec::new(),
    };
    for reader in reader::readers()? {
        match Session::open(&reader, interaction) {
            Ok(Some(session)) => survey.cards.push((reader, session.facts)),
            Ok(None) => {}
            Err(error) => survey.troubles.push(error),
        }
    }
    Ok(survey)
}

/// The one card that `uri` names, and its reader. Which card an unreadable one is, is not guessed.
pub(super) fn the_card(
    uri: &CardUri,
    interaction: &mut dyn Interaction,
) -> Result<(CString, Facts), TokenError> {
    loop {
        let survey = survey(interaction)?;
        let present = survey.names();
        let (mut fitting, trouble) = survey.fitting(uri);
        match trouble {
            Some(held @ TokenError::Held { .. }) if interaction.held(&held) => {
                thread::sleep(PAUSE);
                continue;
            }
            Some(trouble) => return Err(trouble),
            None => {}
        }
        return match (fitting.pop(), fitting.is_empty()) {
            (Some(card), true) => Ok(card),
            (Some(_), false) => Err(TokenError::Ambiguous {
                uri: plain(uri),
                what: "tokens".to_owned(),
                candidates: present,
                by: "",
            }),
            (None, _) => Err(absent(uri, present)),
        };
    }
}

/// The cards that `uri` names: for `card:` all there are, which may be none.
pub(super) fn cards(
    uri: &CardUri,
    interaction: &mut dyn Interaction,
) -> Result<Vec<Facts>, TokenError> {
    let survey = survey(interaction)?;
    let present = survey.names();
    let (fitting, trouble) = survey.fitting(uri);
    match trouble {
        Some(trouble) => Err(trouble),
        None if fitting.is_empty() && uri.ident.is_some() => Err(absent(uri, present)),
        None => Ok(fitting.into_iter().map(|(_, facts)| facts).collect()),
    }
}

impl Survey {
    /// The cards that fit `uri`. And the first trouble, unless the one card asked for was found: an
    /// unreadable card could fit.
    fn fitting(self, uri: &CardUri) -> (Vec<(CString, Facts)>, Option<TokenError>) {
        let fits = |facts: &Facts| uri.ident.is_none_or(|ident| ident == facts.ident);
        let mut fitting = self.cards;
        fitting.retain(|(_, facts)| fits(facts));
        let in_doubt = fitting.is_empty() || uri.ident.is_none();
        let trouble = self.troubles.into_iter().next();
        (fitting, trouble.filter(|_| in_doubt))
    }

    fn names(&self) -> Vec<String> {
        let name = |facts: &Facts| format!("`card:{}`", facts.ident);
        self.cards.iter().map(|(_, facts)| name(facts)).collect()
    }
}

fn absent(uri: &CardUri, present: Vec<String>) -> TokenError {
    TokenError::TokenAbsent {
        uri: plain(uri),
        present,
    }
}

fn plain(uri: &CardUri) -> Box<TokenUri> {
    Box::new(TokenUri::Card(uri.without_pins()))
}
