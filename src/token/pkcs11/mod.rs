//! PKCS#11 tokens (OASIS PKCS #11 3.1), by way of the module that the URI names.
//!
//! The module is code of its vendor in this process, but what it *returns* is checked: sizes,
//! shapes, and that exactly one object matches. Modules must not see a `fork` after C_Initialize,
//! and this program has none: child processes must be started by `exec`, as
//! `std::process::Command` does.
//!
//! The PIN of a key that requires it before each signature (CKA_ALWAYS_AUTHENTICATE) is kept in
//! memory from unlocking until the token value is dropped, because nobody can be asked while a
//! release is signed; for any other key it is wiped after the login.
//!
//! Not supported: a second PIN that some tokens have for such a key alone; tokens without
//! CKM_RSA_PKCS, CKM_ECDSA or CKM_EDDSA that hash by themselves.

mod answer;
mod attributes;
mod generate;
mod key;
mod login;
mod module;
mod object;
mod opened;
mod survey;
mod token_info;
mod unlocked;

use cryptoki::object::ObjectClass;

use self::answer::Failure;
pub(super) use self::generate::generate;
use self::login::login;
use self::module::Module;
use self::object::Object;
use self::opened::Opened;
use self::survey::Survey;
use self::unlocked::{ANOTHER_KEY, Unlocked};
use super::{
    FoundKey, Interaction, LockedToken, NoSuchKey, Pkcs11Uri, RefusedPins, Token, TokenDescription,
    TokenError,
};
use crate::domain::key::PublicKey;

/// A token that was found.
struct Locked {
    opened: Opened,
    public: Option<PublicKey>,
    description: TokenDescription,
    pins: RefusedPins,
}

/// The one token and key that `uri` names.
pub(super) fn find(
    uri: &Pkcs11Uri,
    pins: &RefusedPins,
) -> Result<Box<dyn LockedToken>, TokenError> {
    let module = Module::of(uri)?;
    let locked = module.patiently(|| {
        let mut opened = Opened::new(&module, uri, false)?;
        let public = match opened.public_object()? {
            Some(object) => {
                let public = opened.public_key(&object)?;
                opened.demand(&[attributes::signing_mechanism(&public)])?;
                opened.uri = object.named(&opened.uri);
                Some(public)
            }
            // It may become visible after login.
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
            pins: pins.clone(),
        })
    })?;
    Ok(Box::new(locked))
}

/// The public keys on the tokens that `uri` names.
pub(super) fn list_keys(uri: &Pkcs11Uri) -> Result<Vec<FoundKey>, TokenError> {
    let module = Module::of(uri)?;
    module.patiently(|| {
        let survey = Survey::new(&module, uri)?;
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
    Ok(FoundKey {
        token: opened.info.description(&object.named(&opened.uri)),
        label: object.shown_label(),
        id: object.id,
        public,
    })
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
        let (opened, pin) = login(self.opened, &self.pins, interaction)?;
        let key = opened.signing_key()?;
        if self.public.is_some_and(|public| public != key.public) {
            return Err(TokenError::SessionLost {
                token: opened.info.name().to_owned(),
                reason: ANOTHER_KEY.to_owned(),
            });
        }
        Ok(Box::new(Unlocked::new(opened, key, pin, self.pins)))
    }
}
