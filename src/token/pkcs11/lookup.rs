//! Which token and which key a URI names: anything but exactly one is refused, with those that
//! there are.
//!
//! Labels are not unique and slots change their numbers, so neither the first hit nor a slot that
//! was right before is taken.

use std::fmt;
use std::sync::Arc;

use cryptoki::context::Function;
use cryptoki::error::{Error, Result, RvError};
use cryptoki::object::{Attribute, AttributeInfo, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::SessionState;
use cryptoki::slot::Slot;

use super::attributes::{self, Named, PUBLIC_ATTRIBUTES};
use super::module::{Failure, Module, Session, described, name};
use crate::domain::key::PublicKey;
use crate::token::{PinState, Pkcs11Uri, TokenDescription, TokenError, TokenUri};

/// The most objects that are looked at, and the longest attribute that is read in bytes. What is
/// beyond is not there.
const MOST_OBJECTS: usize = 4096;
const LONGEST_ATTRIBUTE: usize = 8192;

/// A token as it tells about itself.
#[derive(Debug, Clone)]
pub(super) struct TokenInfo {
    pub(super) slot: Slot,
    pub(super) label: String,
    pub(super) manufacturer: String,
    pub(super) model: String,
    pub(super) serial: String,
    pub(super) login_required: bool,
    /// It has a keypad of its own (CKF_PROTECTED_AUTHENTICATION_PATH).
    pub(super) has_pinpad: bool,
    pub(super) pin_is_set: bool,
    pub(super) pin: PinState,
}

/// A token with a session on it.
pub(super) struct Opened {
    pub(super) module: Arc<Module>,
    pub(super) info: TokenInfo,
    pub(super) session: Session,
    pub(super) read_write: bool,
    /// The URI of exactly this token, and of what the original says about the key.
    pub(super) uri: Pkcs11Uri,
}

/// A key object, and what names it.
#[derive(Debug, Clone)]
pub(super) struct Object {
    pub(super) handle: ObjectHandle,
    pub(super) label: Vec<u8>,
    pub(super) id: Vec<u8>,
}

/// The private half of a key pair, and what is to be known for signing with it.
pub(super) struct SigningKey {
    pub(super) handle: ObjectHandle,
    pub(super) public: PublicKey,
    pub(super) always_authenticate: bool,
}

impl TokenInfo {
    fn read(module: &Module, slot: Slot) -> Result<Option<Self>> {
        let info = module.call(|context| context.get_token_info(slot))?;
        let pin = match () {
            () if !info.login_required() => PinState::NotNeeded,
            () if info.user_pin_locked() => PinState::Locked,
            () if info.user_pin_final_try() => PinState::FinalTry,
            () if info.user_pin_count_low() => PinState::CountLow,
            () => PinState::Untouched,
        };
        let token = Self {
            slot,
            label: sanitised(info.label()),
            manufacturer: sanitised(info.manufacturer_id()),
            model: sanitised(info.model()),
            serial: sanitised(info.serial_number()),
            login_required: info.login_required(),
            has_pinpad: info.protected_authentication_path(),
            pin_is_set: info.user_pin_initialized(),
            pin,
        };
        Ok(info.token_initialized().then_some(token))
    }

    fn fits(&self, uri: &Pkcs11Uri) -> bool {
        let same = |wanted: &Option<String>, is: &String| {
            wanted.as_ref().is_none_or(|wanted| wanted == is)
        };
        same(&uri.token, &self.label)
            && same(&uri.serial, &self.serial)
            && same(&uri.manufacturer, &self.manufacturer)
            && same(&uri.model, &self.model)
            && uri.slot_id.is_none_or(|wanted| wanted == self.slot.id())
    }

    /// SoftHSM2, as the token itself says; its module may hide behind another one.
    pub(super) fn is_softhsm(&self) -> bool {
        self.manufacturer.contains("SoftHSM") || self.model.contains("SoftHSM")
    }

    /// What it is called in an error.
    pub(super) fn name(&self) -> &str {
        if self.label.is_empty() {
            &self.serial
        } else {
            &self.label
        }
    }

    /// What it is called where a person has to know which one.
    pub(super) fn full_name(&self) -> String {
        format!("{} (serial {})", self.label, self.serial)
    }

    pub(super) fn description(&self, uri: &Pkcs11Uri) -> TokenDescription {
        TokenDescription {
            uri: TokenUri::Pkcs11(uri.clone()),
            label: self.label.clone(),
            manufacturer: self.manufacturer.clone(),
            model: self.model.clone(),
            serial: self.serial.clone(),
            pin: self.pin,
            card: None,
        }
    }
}

impl fmt::Display for TokenInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "label `{}` serial `{}`", self.label, self.serial)
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "label `{}` id `{}`",
            self.shown_label(),
            hex::encode(&self.id)
        )
    }
}

impl Object {
    /// The label for people.
    pub(super) fn shown_label(&self) -> String {
        sanitised(&String::from_utf8_lossy(&self.label))
    }

    /// `uri`, naming exactly this key.
    pub(super) fn named(&self, uri: &Pkcs11Uri) -> Pkcs11Uri {
        uri.clone()
            .with_key(std::str::from_utf8(&self.label).ok(), &self.id)
    }
}

/// The tokens of a module.
pub(super) struct Survey {
    /// Those that fit a URI, each with the URI of exactly this token.
    pub(super) fitting: Vec<(TokenInfo, Pkcs11Uri)>,
    present: Vec<TokenInfo>,
}

impl Survey {
    /// That no token fits, with those that there are.
    pub(super) fn token_absent(&self, module: &Module, uri: &Pkcs11Uri) -> Failure {
        let present = self.present.iter().map(ToString::to_string).collect();
        Failure {
            error: TokenError::TokenAbsent {
                uri: uri.into(),
                present,
            },
            passing: module.is_softhsm,
        }
    }
}

/// The tokens of `module`, looked at for `uri`.
pub(super) fn survey(module: &Module, uri: &Pkcs11Uri) -> std::result::Result<Survey, Failure> {
    let refused = |error: &Error| {
        let module = uri
            .module_path()
            .unwrap_or("".as_ref())
            .display()
            .to_string();
        Failure {
            error: TokenError::Module {
                module,
                reason: described(error),
            },
            passing: passes(error),
        }
    };
    let slots = module
        .call(|context| context.get_slots_with_token())
        .map_err(|error| refused(&error))?;
    let mut present = Vec::new();
    let mut fault = None;
    for slot in slots {
        match TokenInfo::read(module, slot) {
            Ok(info) => present.extend(info),
            // Pulled out since the list was made.
            Err(Error::Pkcs11(RvError::TokenNotPresent, _)) => {}
            Err(error) => fault = Some(error),
        }
    }
    let fitting = present.iter().filter(|token| token.fits(uri));
    let fitting: Vec<_> = fitting
        .map(|token| (token.clone(), exact(token, uri, &present)))
        .collect();
    match fault {
        // The one that cannot be read could have been it.
        Some(error) if fitting.is_empty() => Err(refused(&error)),
        _ => Ok(Survey { fitting, present }),
    }
}

/// `uri` with label and serial number; with the slot beside them only where another token has the
/// same.
fn exact(token: &TokenInfo, uri: &Pkcs11Uri, present: &[TokenInfo]) -> Pkcs11Uri {
    let mut exact = uri.clone().with_token(&token.label, &token.serial);
    if present.iter().filter(|other| other.fits(&exact)).count() != 1 {
        exact.slot_id = uri.slot_id;
    }
    exact
}

impl Opened {
    /// The one token that `uri` names, with a session.
    pub(super) fn new(
        module: &Arc<Module>,
        uri: &Pkcs11Uri,
        read_write: bool,
    ) -> std::result::Result<Self, Failure> {
        let mut survey = survey(module, uri)?;
        if survey.fitting.len() > 1 {
            let candidates = survey
                .fitting
                .iter()
                .map(|(token, _)| token.to_string())
                .collect();
            return Err(TokenError::Ambiguous {
                uri: uri.into(),
                what: "tokens".to_owned(),
                candidates,
                by: " by `serial=`",
            }
            .into());
        }
        let (info, exact) = survey
            .fitting
            .pop()
            .ok_or_else(|| survey.token_absent(module, uri))?;
        Self::on(module, info, exact, read_write)
    }

    /// A session on a token that was found.
    pub(super) fn on(
        module: &Arc<Module>,
        info: TokenInfo,
        uri: Pkcs11Uri,
        read_write: bool,
    ) -> std::result::Result<Self, Failure> {
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

    /// Reads again what the token tells; `None` when it went away, or another one took its slot.
    pub(super) fn refreshed(mut self) -> Option<Self> {
        self.session.call(|_| Ok(())).ok()?;
        let info = TokenInfo::read(&self.module, self.info.slot).ok()??;
        self.info = info;
        self.info.fits(&self.uri).then_some(self)
    }

    /// How the PIN stands now.
    pub(super) fn pin_state(&self) -> Option<PinState> {
        TokenInfo::read(&self.module, self.info.slot)
            .ok()?
            .map(|info| info.pin)
    }

    /// Whether this process is logged in to the token, through whichever session.
    pub(super) fn is_logged_in(&self) -> bool {
        let state = self
            .session
            .call(|session| session.get_session_info())
            .map(|info| info.session_state());
        matches!(state, Ok(SessionState::RoUser | SessionState::RwUser))
    }

    /// Refuses a token that lacks one of `mechanisms`.
    pub(super) fn demand(&self, mechanisms: &[Named]) -> std::result::Result<(), Failure> {
        let slot = self.info.slot;
        let present = self
            .module
            .call(|context| context.get_mechanism_list(slot))
            .map_err(|e| self.fault(&e))?;
        let lacking = mechanisms
            .iter()
            .find(|(mechanism, _)| !present.contains(&mechanism.mechanism_type()));
        lacking.map_or(Ok(()), |(_, name)| {
            let token = self.info.name().to_owned();
            Err(TokenError::MechanismUnsupported {
                token,
                mechanism: (*name).to_owned(),
            }
            .into())
        })
    }

    /// The public key object that the URI names; `None` when there is none to be seen.
    pub(super) fn public_object(&self) -> std::result::Result<Option<Object>, Failure> {
        let objects = self.objects(ObjectClass::PUBLIC_KEY, self.uri.object(), self.uri.id())?;
        self.at_most_one(objects)
    }

    /// The public key in `object`.
    pub(super) fn public_key(&self, object: &Object) -> std::result::Result<PublicKey, Failure> {
        let read = self
            .session
            .call(|session| read(session, object.handle, &PUBLIC_ATTRIBUTES));
        match read {
            Ok(read) => attributes::public_key(&read)
                .map_err(|reason| self.unsuitable(object, reason).into()),
            Err(error) => Err(self.fault(&error)),
        }
    }

    /// The key pair that the URI names, by its private half. Private objects are visible only to
    /// whoever logged in.
    ///
    /// The halves of a pair have the same CKA_ID. Their labels may differ: OpenSC names the private
    /// one of a PIV card `SIGN key` and the public one `SIGN pubkey`, so a label in the URI may be
    /// either's.
    pub(super) fn signing_key(&self) -> std::result::Result<SigningKey, Failure> {
        let public = self.public_object()?;
        let id = self
            .uri
            .id()
            .or_else(|| public.as_ref().map(|object| &object.id[..]))
            .filter(|id| !id.is_empty());
        let mut privates = match id {
            Some(id) => self.objects(ObjectClass::PRIVATE_KEY, None, Some(id))?,
            None => self.objects(ObjectClass::PRIVATE_KEY, self.uri.object(), None)?,
        };
        if privates.len() > 1
            && let Some(label) = self.uri.object()
        {
            privates.retain(|object| object.label == label.as_bytes());
        }
        let private = match (self.at_most_one(privates)?, &public) {
            (Some(private), _) => private,
            (None, Some(public)) => {
                let reason = "its private half is not on the token".to_owned();
                return Err(self.unsuitable(public, reason).into());
            }
            (None, None) => return Err(self.key_absent()?.into()),
        };
        self.pair(&private, public)
    }

    fn pair(
        &self,
        private: &Object,
        public: Option<Object>,
    ) -> std::result::Result<SigningKey, Failure> {
        let wanted = [
            &PUBLIC_ATTRIBUTES[..],
            &[AttributeType::Sign, AttributeType::AlwaysAuthenticate],
        ]
        .concat();
        let read = self
            .session
            .call(|session| read(session, private.handle, &wanted));
        let read = read.map_err(|error| self.fault(&error))?;
        if read.contains(&Attribute::Sign(false)) {
            return Err(self
                .unsuitable(
                    private,
                    "the token says that it does not sign (CKA_SIGN)".to_owned(),
                )
                .into());
        }
        let public = match public {
            None if !private.id.is_empty() => {
                self.at_most_one(self.objects(ObjectClass::PUBLIC_KEY, None, Some(&private.id))?)?
            }
            known => known,
        };
        // An RSA private key tells its public numbers, an EC one with some modules.
        let own = attributes::public_key(&read);
        let public = match (public, own) {
            (Some(object), own) => {
                let public = self.public_key(&object)?;
                if own.is_ok_and(|own| own != public) {
                    let reason = "its private and public half do not belong together".to_owned();
                    return Err(self.unsuitable(&object, reason).into());
                }
                public
            }
            (None, Ok(own)) => own,
            (None, Err(_)) => {
                return Err(self
                    .unsuitable(private, "its public half is not on the token".to_owned())
                    .into());
            }
        };
        self.demand(&[attributes::signing_mechanism(&public)])?;
        let always_authenticate = read.contains(&Attribute::AlwaysAuthenticate(true));
        Ok(SigningKey {
            handle: private.handle,
            public,
            always_authenticate,
        })
    }

    /// The objects of a class, or of every class, with this label and id.
    pub(super) fn objects(
        &self,
        class: impl Into<Option<ObjectClass>>,
        label: Option<&str>,
        id: Option<&[u8]>,
    ) -> std::result::Result<Vec<Object>, Failure> {
        let template: Vec<Attribute> = class
            .into()
            .map(Attribute::Class)
            .into_iter()
            .chain([Attribute::Token(true)])
            .chain(label.map(|label| Attribute::Label(label.as_bytes().to_vec())))
            .chain(id.map(|id| Attribute::Id(id.to_vec())))
            .collect();
        let objects = self.session.call(|session| {
            let handles: Result<Vec<_>> = session
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

    fn at_most_one(
        &self,
        mut objects: Vec<Object>,
    ) -> std::result::Result<Option<Object>, Failure> {
        if objects.len() > 1 {
            let candidates = objects.iter().map(Object::to_string).collect();
            return Err(TokenError::Ambiguous {
                uri: (&self.uri).into(),
                what: format!("keys on token `{}`", self.info.name()),
                candidates,
                by: " by `id=`",
            }
            .into());
        }
        Ok(objects.pop())
    }

    /// That no key fits, with those that are to be seen.
    pub(super) fn key_absent(&self) -> std::result::Result<TokenError, Failure> {
        let mut present: Vec<String> = Vec::new();
        for class in [ObjectClass::PUBLIC_KEY, ObjectClass::PRIVATE_KEY] {
            present.extend(
                self.objects(class, None, None)?
                    .iter()
                    .map(Object::to_string),
            );
        }
        present.sort();
        present.dedup();
        Ok(TokenError::KeyAbsent {
            token: self.info.name().to_owned(),
            uri: (&self.uri).into(),
            present,
        })
    }

    pub(super) fn unsuitable(&self, key: &Object, reason: String) -> TokenError {
        TokenError::KeyUnsuitable {
            token: self.info.name().to_owned(),
            key: key.to_string(),
            reason,
        }
    }

    /// What an error of the module means here.
    pub(super) fn fault(&self, error: &Error) -> Failure {
        fault(self.info.name(), error)
    }
}

impl Object {
    fn read(session: &cryptoki::session::Session, handle: ObjectHandle) -> Result<Self> {
        let mut object = Self {
            handle,
            label: Vec::new(),
            id: Vec::new(),
        };
        for attribute in read(session, handle, &[AttributeType::Label, AttributeType::Id])? {
            match attribute {
                Attribute::Label(label) => object.label = label,
                Attribute::Id(id) => object.id = id,
                _ => {}
            }
        }
        Ok(object)
    }
}

/// Those of `wanted` that the object has and shows. Each by itself: one that the module cannot
/// tell, or tells in a way that is none, must not hide the others.
pub(super) fn read(
    session: &cryptoki::session::Session,
    object: ObjectHandle,
    wanted: &[AttributeType],
) -> Result<Vec<Attribute>> {
    let mut attributes = Vec::new();
    for (kind, info) in wanted
        .iter()
        .zip(session.get_attribute_info(object, wanted)?)
    {
        if matches!(info, AttributeInfo::Available(size) if size <= LONGEST_ATTRIBUTE) {
            match session.get_attributes(object, &[*kind]) {
                Ok(read) => attributes.extend(read),
                Err(error @ Error::Pkcs11(..)) => return Err(error),
                Err(_) => {}
            }
        }
    }
    Ok(attributes)
}

/// What an error of a module means, outside of PINs and signatures.
pub(super) fn fault(token: &str, error: &Error) -> Failure {
    let token = token.to_owned();
    let error_of_token = match error {
        Error::Pkcs11(answer, function) => match answer {
            _ if is_busy(answer) => TokenError::Busy {
                token,
                reason: described(error),
            },
            _ if is_lost(answer) => TokenError::SessionLost {
                token,
                reason: described(error),
            },
            _ => TokenError::Unexpected {
                token,
                call: call(*function),
                answer: name(answer),
            },
        },
        _ => TokenError::Unexpected {
            token,
            call: "a call",
            answer: described(error),
        },
    };
    Failure {
        error: error_of_token,
        passing: passes(error),
    }
}

fn passes(error: &Error) -> bool {
    matches!(error, Error::Pkcs11(answer, _) if is_lost(answer))
}

/// The token holds on to something else.
pub(super) fn is_busy(answer: &RvError) -> bool {
    matches!(
        answer,
        RvError::SessionCount
            | RvError::SessionReadWriteSoExists
            | RvError::UserAnotherAlreadyLoggedIn
            | RvError::UserTooManyTypes
            | RvError::DeviceMemory
            | RvError::HostMemory
    )
}

/// The session, the token or the connection to it is gone; or the module does not know itself what
/// is wrong, which at a call that is right means the same.
pub(super) fn is_lost(answer: &RvError) -> bool {
    matches!(
        answer,
        RvError::SessionHandleInvalid
            | RvError::SessionClosed
            | RvError::DeviceError
            | RvError::DeviceRemoved
            | RvError::TokenNotPresent
            | RvError::TokenNotRecognized
            | RvError::SlotIdInvalid
            | RvError::ObjectHandleInvalid
            | RvError::KeyHandleInvalid
            | RvError::UserNotLoggedIn
            | RvError::OperationActive
            | RvError::CryptokiNotInitialized
            | RvError::FunctionFailed
            | RvError::GeneralError
    )
}

/// The PKCS#11 name of a function.
fn call(function: Function) -> &'static str {
    match function {
        Function::GetTokenInfo => "C_GetTokenInfo",
        Function::GetMechanismList => "C_GetMechanismList",
        Function::OpenSession => "C_OpenSession",
        Function::GetSessionInfo => "C_GetSessionInfo",
        Function::Login => "C_Login",
        Function::FindObjectsInit => "C_FindObjectsInit",
        Function::FindObjects => "C_FindObjects",
        Function::GetAttributeValue => "C_GetAttributeValue",
        Function::GenerateKeyPair => "C_GenerateKeyPair",
        Function::DestroyObject => "C_DestroyObject",
        Function::SignInit => "C_SignInit",
        Function::Sign => "C_Sign",
        _ => "a call",
    }
}

/// A text from a module as it may stand on a terminal and in a URI.
fn sanitised(text: &str) -> String {
    let text = text.trim_matches(|c: char| c == '\0' || c == ' ');
    text.chars()
        .map(|c| {
            if c.is_control() {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            }
        })
        .collect()
}
