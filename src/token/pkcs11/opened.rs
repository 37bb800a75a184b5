//! A token with a session on it.

use std::sync::Arc;

use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::SessionState;

use super::answer::{Failure, fault};
use super::attributes::Named;
use super::module::{Module, Session};
use super::object::{self, Object};
use super::survey::Survey;
use super::token_info::TokenInfo;
use crate::token::{PinState, Pkcs11Uri, TokenError};

/// The maximum number of objects that are read. The others are treated as absent.
const MOST_OBJECTS: usize = 4096;

/// A token with a session on it.
pub(super) struct Opened {
    pub(super) module: Arc<Module>,
    pub(super) info: TokenInfo,
    pub(super) session: Session,
    pub(super) read_write: bool,
    /// The URI of exactly this token, and of the key that the original URI names.
    pub(super) uri: Pkcs11Uri,
}

impl Opened {
    /// The one token that `uri` names, with a session.
    pub(super) fn new(
        module: &Arc<Module>,
        uri: &Pkcs11Uri,
        read_write: bool,
    ) -> Result<Self, Failure> {
        let (info, exact) = Survey::new(module, uri)?.the_token(module, uri)?;
        Self::on(module, info, exact, read_write)
    }

    /// A session on a token that was found.
    pub(super) fn on(
        module: &Arc<Module>,
        info: TokenInfo,
        uri: Pkcs11Uri,
        read_write: bool,
    ) -> Result<Self, Failure> {
        let session = module
            .session(info.slot, read_write)
            .map_err(|error| fault(info.name(), &error))?;
        Ok(Self {
            module: Arc::clone(module),
            info,
            session,
            read_write,
            uri,
        })
    }

    /// Reads the token's information again; `None` when it is gone, or another one is in its slot.
    pub(super) fn refreshed(mut self) -> Option<Self> {
        self.session.call(|_| Ok(())).ok()?;
        let info = TokenInfo::read(&self.module, self.info.slot).ok()??;
        self.info = info;
        self.info.fits(&self.uri).then_some(self)
    }

    /// The state of the PIN now.
    pub(super) fn pin_state(&self) -> Option<PinState> {
        let info = TokenInfo::read(&self.module, self.info.slot).ok()?;
        info.map(|info| info.pin)
    }

    /// Whether this process is logged in to the token, through any session.
    pub(super) fn is_logged_in(&self) -> bool {
        let state = self
            .session
            .call(|session| session.get_session_info())
            .map(|info| info.session_state());
        matches!(state, Ok(SessionState::RoUser | SessionState::RwUser))
    }

    /// Refuses a token that lacks one of `mechanisms`.
    pub(super) fn demand(&self, mechanisms: &[Named]) -> Result<(), Failure> {
        let slot = self.info.slot;
        let present = self
            .module
            .call(|context| context.get_mechanism_list(slot))
            .map_err(|error| self.fault(&error))?;
        let lacking = mechanisms
            .iter()
            .find(|(mechanism, _)| !present.contains(&mechanism.mechanism_type()));
        match lacking {
            None => Ok(()),
            Some((_, name)) => Err(TokenError::MechanismUnsupported {
                token: self.info.name().to_owned(),
                mechanism: (*name).to_owned(),
            }
            .into()),
        }
    }

    /// The objects of a class, or of every class, with this label and id.
    pub(super) fn objects(
        &self,
        class: impl Into<Option<ObjectClass>>,
        label: Option<&str>,
        id: Option<&[u8]>,
    ) -> Result<Vec<Object>, Failure> {
        let template: Vec<Attribute> = class
            .into()
            .map(Attribute::Class)
            .into_iter()
            .chain([Attribute::Token(true)])
            .chain(label.map(|label| Attribute::Label(label.as_bytes().to_vec())))
            .chain(id.map(|id| Attribute::Id(id.to_vec())))
            .collect();
        let objects = self.session.call(|session| {
            let handles: cryptoki::error::Result<Vec<_>> = session
                .iter_objects(&template)?
                .take(MOST_OBJECTS)
                .collect();
            handles?
                .into_iter()
                .map(|handle| Object::read(session, handle))
                .collect()
        });
        objects.map_err(|error| self.fault(&error))
    }

    /// Those of `wanted` that the object has and reveals.
    pub(super) fn attributes(
        &self,
        object: ObjectHandle,
        wanted: &[AttributeType],
    ) -> Result<Vec<Attribute>, Failure> {
        let read = self
            .session
            .call(|session| object::attributes(session, object, wanted));
        read.map_err(|error| self.fault(&error))
    }

    pub(super) fn unsuitable(&self, key: &Object, reason: impl Into<String>) -> TokenError {
        TokenError::KeyUnsuitable {
            token: self.info.name().to_owned(),
            key: key.to_string(),
            reason: reason.into(),
        }
    }

    /// The error of this token that an answer of its module is.
    pub(super) fn fault(&self, error: &cryptoki::error::Error) -> Failure {
        fault(self.info.name(), error)
    }
}
