//! PKCS#11 tokens (OASIS PKCS #11 3.1), by way of the module that the URI names.
//!
//! The module is code of its vendor in this process, but what it *says* is checked: sizes, shapes,
//! and that there is exactly one of what was asked for. Modules must not see a `fork` after
//! C_Initialize, and this program has none: whoever adds child processes starts them by `exec`
//! (`std::process::Command` does).
//!
//! A key that wants its PIN before each signature (CKA_ALWAYS_AUTHENTICATE) has that PIN kept in
//! memory from unlocking until the token value is dropped, because nobody can be asked while a
//! release is signed; for every other key it is wiped when the login is done.
//!
//! Not handled: a second PIN that some tokens have for such a key alone; tokens that take no
//! CKM_RSA_PKCS, CKM_ECDSA or CKM_EDDSA but hash by themselves.

mod attributes;
mod login;
mod lookup;
mod module;

use std::sync::Arc;

use cryptoki::error::Error;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::UserType;
use secrecy::SecretString;

use self::attributes::Generation;
use self::login::login;
use self::lookup::{Object, Opened, SigningKey, is_busy, is_lost};
use self::module::{Failure, Module, described};
use super::pin::Given;
use super::{
    FoundKey, Interaction, LockedToken, NoSuchKey, PinRequest, Pkcs11Uri, Token, TokenDescription,
    TokenError, raw,
};
use crate::domain::key::{KeyKind, PublicKey, RawSignature};
use crate::domain::signing::Message;

/// A token that was found.
struct Locked {
    opened: Opened,
    public: Option<PublicKey>,
    description: TokenDescription,
}

/// A token that was logged in to.
struct Unlocked {
    /// The token and the handle of the key; `None` after an error, when neither is trusted any
    /// more.
    live: Option<(Opened, ObjectHandle)>,
    public: PublicKey,
    /// Names exactly this token and key.
    uri: Pkcs11Uri,
    name: String,
    module: Arc<Module>,
    /// Of the module, when the session was opened.
    generation: u64,
    /// For a key that wants the PIN before each signature.
    each_signature: Option<Given>,
    /// The one time that a lost session is opened again has been.
    reopened: bool,
}

/// Why there is no signature.
enum NotSigned {
    /// The session is no longer good. Another one might be.
    Lost(String),
    /// It would go wrong again.
    Refused(TokenError),
}

/// The one token and key that `uri` names.
pub(super) fn find(uri: &Pkcs11Uri) -> Result<Box<dyn LockedToken>, TokenError> {
    let module = module(uri)?;
    let locked = module.patiently(|| {
        let mut opened = Opened::new(&module, uri, false)?;
        let public = match opened.public_object()? {
            Some(object) => {
                let public = opened.public_key(&object)?;
                opened.demand(&[attributes::signing_mechanism(&public)])?;
                opened.uri = object.named(&opened.uri);
                Some(public)
            }
            // Perhaps visible after login.
            None if opened.info.login_required => None,
            None => {
                let private = opened.objects(
                    ObjectClass::PRIVATE_KEY,
                    opened.uri.object(),
                    opened.uri.id(),
                )?;
                if private.is_empty() {
                    return Err(opened.key_absent()?.into());
                }
                None
            }
        };
        let description = opened.info.description(&opened.uri);
        Ok(Locked {
            opened,
            public,
            description,
        })
    })?;
    Ok(Box::new(locked))
}

/// The public keys on the tokens that `uri` names.
pub(super) fn list_keys(uri: &Pkcs11Uri) -> Result<Vec<FoundKey>, TokenError> {
    let module = module(uri)?;
    module.patiently(|| {
        let survey = lookup::survey(&module, uri)?;
        if survey.fitting.is_empty() {
            return Err(survey.token_absent(&module, uri));
        }
        let mut keys = Vec::new();
        for (info, exact) in survey.fitting {
            let opened = Opened::on(&module, info, exact, false)?;
            for object in opened.objects(ObjectClass::PUBLIC_KEY, uri.object(), uri.id())? {
                keys.push(found(&opened, object)?);
            }
        }
        Ok(keys)
    })
}

fn found(opened: &Opened, object: Object) -> Result<FoundKey, Failure> {
    let public = match opened.public_key(&object) {
        Ok(public) => Ok(public),
        Err(Failure {
            error: TokenError::KeyUnsuitable { reason, .. },
            ..
        }) => Err(NoSuchKey::Unsuitable(reason)),
        Err(failure) => return Err(failure),
    };
    let token = opened.info.description(&object.named(&opened.uri));
    Ok(FoundKey {
        token,
        label: object.shown_label(),
        id: object.id,
        public,
    })
}

/// Makes a key pair. The private half is sensitive, not extractable, and only signs.
pub(super) fn generate(
    uri: &Pkcs11Uri,
    kind: KeyKind,
    interaction: &mut dyn Interaction,
) -> Result<(Pkcs11Uri, Box<dyn Token>), TokenError> {
    let module = module(uri)?;
    let label = uri.object().ok_or_else(|| TokenError::Incomplete {
        uri: uri.into(),
        missing: "the key to generate",
        attribute: ";object=NAME",
    })?;
    let Generation {
        mechanism,
        signing,
        spellings,
    } = attributes::generation(kind);
    let needed = [mechanism, signing];
    let opened = module.patiently(|| {
        let opened = Opened::new(&module, uri, true)?;
        opened.demand(&needed)?;
        Ok(opened)
    })?;
    // Once without a PIN, and again when private objects can be seen too.
    refuse_if_taken(&opened, label)?;
    let (mut opened, given) = login(opened, interaction)?;
    refuse_if_taken(&opened, label)?;

    let id = match uri.id() {
        Some(id) => id.to_vec(),
        None => random_id(&opened)?,
    };
    opened.uri = opened.uri.with_key(Some(label), &id);
    let [(mechanism, _), _] = &needed;
    let made = make(&opened, mechanism, spellings, kind).and_then(|()| Ok(opened.signing_key()?));
    match made {
        Ok(key) => Ok((
            opened.uri.clone(),
            Box::new(Unlocked::new(opened, key, given)),
        )),
        Err(error) => {
            // Also what a module that stopped half-way left behind.
            remove(&opened, label, &id);
            Err(error)
        }
    }
}

/// Makes the key pair that the URI names, and checks that it is what was asked for.
fn make(
    opened: &Opened,
    mechanism: &Mechanism<'_>,
    spellings: Vec<Vec<Attribute>>,
    kind: KeyKind,
) -> Result<(), TokenError> {
    let (label, id) = (
        opened.uri.object().unwrap_or_default(),
        opened.uri.id().unwrap_or_default(),
    );
    let mut refusal = None;
    for spelling in spellings {
        let (public, private) = templates(label, id, spelling);
        match opened
            .session
            .call(|session| session.generate_key_pair(mechanism, &public, &private))
        {
            Ok((public, private)) => {
                let object = Object {
                    handle: public,
                    label: label.into(),
                    id: id.to_vec(),
                };
                return check_new_key(opened, &object, private, kind);
            }
            Err(error) => {
                remove(opened, label, id);
                refusal = Some(error);
            }
        }
    }
    let refusal = refusal.expect("every kind of key has at least one spelling");
    Err(opened.fault(&refusal).error)
}

fn check_new_key(
    opened: &Opened,
    public: &Object,
    private: ObjectHandle,
    kind: KeyKind,
) -> Result<(), TokenError> {
    let made = opened.public_key(public)?.algorithm();
    if made != kind.name() {
        return Err(opened.unsuitable(public, format!("the token made {made} instead of {kind}")));
    }
    let flags = [AttributeType::Sensitive, AttributeType::Extractable];
    let flags = opened
        .session
        .call(|session| lookup::read(session, private, &flags));
    let flags = flags.map_err(|error| opened.fault(&error).error)?;
    if !flags.contains(&Attribute::Sensitive(true))
        || !flags.contains(&Attribute::Extractable(false))
    {
        return Err(opened.unsuitable(
            public,
            "the token would give its private half away".to_owned(),
        ));
    }
    Ok(())
}

fn refuse_if_taken(opened: &Opened, label: &str) -> Result<(), TokenError> {
    let mut taken = opened.objects(None, Some(label), None)?;
    if let Some(id) = opened.uri.id() {
        taken.extend(opened.objects(None, None, Some(id))?);
    }
    taken.first().map_or(Ok(()), |object| {
        Err(TokenError::KeyExists {
            token: opened.info.name().to_owned(),
            key: object.to_string(),
            alternative: "choose another `object`, or with `init` leave `--generate` out to use \
                          that key",
        })
    })
}

fn random_id(opened: &Opened) -> Result<Vec<u8>, TokenError> {
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(|error| TokenError::Unexpected {
        token: opened.info.name().to_owned(),
        call: "the operating system's random numbers",
        answer: error.to_string(),
    })?;
    Ok(id.to_vec())
}

fn templates(label: &str, id: &[u8], spelling: Vec<Attribute>) -> (Vec<Attribute>, Vec<Attribute>) {
    let names = [
        Attribute::Token(true),
        Attribute::Label(label.into()),
        Attribute::Id(id.to_vec()),
    ];
    let public = [
        &names[..],
        &[Attribute::Private(false), Attribute::Verify(true)],
        &spelling,
    ]
    .concat();
    let secret = [
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Sign(true),
        Attribute::Decrypt(false),
        Attribute::Unwrap(false),
    ];
    (public, [&names[..], &secret].concat())
}

/// Removes what has this label *and* this id. Both were free before, so it is of our making.
fn remove(opened: &Opened, label: &str, id: &[u8]) {
    for object in opened
        .objects(None, Some(label), Some(id))
        .unwrap_or_default()
    {
        // The failure that led here is the one to tell.
        let _ = opened
            .session
            .call(|session| session.destroy_object(object.handle));
    }
}

fn module(uri: &Pkcs11Uri) -> Result<Arc<Module>, TokenError> {
    let path = uri.module_path().ok_or_else(|| TokenError::Incomplete {
        uri: uri.into(),
        missing: "a PKCS#11 module",
        attribute: "?module-path=/path/to/module.so",
    })?;
    Module::load(path)
}

impl LockedToken for Locked {
    fn public(&self) -> Option<&PublicKey> {
        self.public.as_ref()
    }

    fn description(&self) -> &TokenDescription {
        &self.description
    }

    fn unlock(
        self: Box<Self>,
        interaction: &mut dyn Interaction,
    ) -> Result<Box<dyn Token>, TokenError> {
        let (opened, given) = login(self.opened, interaction)?;
        let key = opened.signing_key()?;
        if self.public.is_some_and(|public| public != key.public) {
            let token = opened.info.name().to_owned();
            return Err(TokenError::SessionLost {
                token,
                reason: ANOTHER_KEY.to_owned(),
            });
        }
        Ok(Box::new(Unlocked::new(opened, key, given)))
    }
}

const ANOTHER_KEY: &str = "another key has its name now";

impl Token for Unlocked {
    fn public(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&mut self, message: &Message<'_>) -> Result<RawSignature, TokenError> {
        let digest = message.digest();
        let input = raw::to_be_signed(&self.public, digest);
        let answer = match self.sign_once(&input) {
            Err(NotSigned::Lost(reason)) => {
                self.reopen(reason)?;
                self.sign_once(&input)
            }
            other => other,
        };
        let answer = answer.map_err(|error| match error {
            NotSigned::Lost(reason) => TokenError::SessionLost {
                token: self.name.clone(),
                reason,
            },
            NotSigned::Refused(error) => error,
        })?;
        raw::signature(&self.public, &answer).map_err(|answer| TokenError::Unexpected {
            token: self.name.clone(),
            call: "C_Sign",
            answer,
        })
    }
}

impl Unlocked {
    fn new(opened: Opened, key: SigningKey, given: Given) -> Self {
        Self {
            public: key.public,
            uri: opened.uri.clone(),
            name: opened.info.name().to_owned(),
            module: Arc::clone(&opened.module),
            generation: opened.session.generation(),
            live: Some((opened, key.handle)),
            each_signature: key.always_authenticate.then_some(given),
            reopened: false,
        }
    }

    /// One signature in the session there is. After an error there is none: what the module thinks
    /// of it (an operation that never ended, a handle that means nothing) differs from module to
    /// module.
    fn sign_once(&mut self, input: &[u8]) -> Result<Vec<u8>, NotSigned> {
        let Some((opened, key)) = self.live.take() else {
            return Err(NotSigned::Lost(
                "its session was closed after an error".to_owned(),
            ));
        };
        let (mechanism, _) = attributes::signing_mechanism(&self.public);
        let answer = opened.session.sign(&mechanism, key, input, |session| {
            match &self.each_signature {
                Some(given) => session
                    .login(UserType::ContextSpecific, given.pin())
                    .map_err(SignError::Login),
                None => Ok(()),
            }
        });
        match answer {
            Ok(answer) => {
                self.live = Some((opened, key));
                Ok(answer)
            }
            Err(SignError::Login(error)) => {
                // Never given again, for the token would count each time.
                self.reopened = true;
                Err(NotSigned::Refused(login::refused(&opened, &error)))
            }
            Err(SignError::Sign(error)) => Err(match &error {
                Error::Pkcs11(answer, _) if is_lost(answer) => NotSigned::Lost(described(&error)),
                Error::Pkcs11(answer, _) if is_busy(answer) => {
                    NotSigned::Refused(TokenError::Busy {
                        token: self.name.clone(),
                        reason: described(&error),
                    })
                }
                _ => NotSigned::Refused(opened.fault(&error).error),
            }),
        }
    }

    /// Opens the session again, once in the life of this value: whatever is lost twice would be
    /// lost for ever. The module is initialised anew, since otherwise most do not see that their
    /// token came back.
    fn reopen(&mut self, reason: String) -> Result<(), TokenError> {
        let lost = |why: &str| TokenError::SessionLost {
            token: self.name.clone(),
            reason: format!("{reason}{why}"),
        };
        if self.reopened {
            return Err(lost(""));
        }
        self.reopened = true;
        self.module
            .renew(self.generation)
            .map_err(|error| lost(&format!("; {}", described(&error))))?;
        let opened = self
            .module
            .patiently(|| Opened::new(&self.module, &self.uri, false));
        let opened = opened.map_err(|error| lost(&format!("; {error}")))?;

        let source = self.uri.pin_source();
        let needs_pin = opened.info.login_required && !opened.is_logged_in();
        if needs_pin && (opened.info.has_pinpad || !source.is_repeatable()) {
            return Err(lost("; its PIN would have to be given again"));
        }
        let (opened, given) = if needs_pin {
            login(opened, &mut Nobody)?
        } else {
            (opened, Given::Nothing)
        };

        let key = opened
            .signing_key()
            .map_err(|failure| lost(&format!("; {}", failure.error)))?;
        if key.public != self.public {
            return Err(lost(&format!("; {ANOTHER_KEY}")));
        }
        if needs_pin && key.always_authenticate {
            self.each_signature = Some(given);
        }
        self.generation = opened.session.generation();
        self.live = Some((opened, key.handle));
        Ok(())
    }
}

/// Where a signature failed: C_Login has answers of its own.
enum SignError {
    Login(Error),
    Sign(Error),
}

impl From<Error> for SignError {
    fn from(error: Error) -> Self {
        Self::Sign(error)
    }
}

/// Nobody can be asked while a release is signed.
struct Nobody;

impl Interaction for Nobody {
    fn pin(&mut self, _: &PinRequest) -> Option<SecretString> {
        None
    }

    fn final_try(&mut self, _: &PinRequest) -> bool {
        false
    }
}
