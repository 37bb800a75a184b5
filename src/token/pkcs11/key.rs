//! Which key on a token a URI names: anything but exactly one is refused, with those present.
//!
//! Labels are not unique and slots are renumbered, so neither the first match nor a slot that was
//! right before is used.

use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};

use super::answer::Failure;
use super::attributes::{self, PUBLIC_ATTRIBUTES};
use super::object::Object;
use super::opened::Opened;
use crate::domain::key::PublicKey;
use crate::token::TokenError;

/// The private half of a key pair, and what signing with it requires.
pub(super) struct SigningKey {
    pub(super) handle: ObjectHandle,
    pub(super) public: PublicKey,
    pub(super) always_authenticate: bool,
}

impl Opened {
    /// The public key object that the URI names; `None` when none is visible.
    pub(super) fn public_object(&self) -> Result<Option<Object>, Failure> {
        let objects = self.objects(ObjectClass::PUBLIC_KEY, self.uri.object(), self.uri.id())?;
        self.at_most_one(objects)
    }

    /// The public key in `object`.
    pub(super) fn public_key(&self, object: &Object) -> Result<PublicKey, Failure> {
        let read = self.attributes(object.handle, &PUBLIC_ATTRIBUTES)?;
        attributes::public_key(&read).map_err(|reason| self.unsuitable(object, reason).into())
    }

    /// The key pair that the URI names, by its private half. Private objects are visible only after
    /// login.
    ///
    /// The halves of a pair have the same CKA_ID. Their labels may differ: OpenSC names the private
    /// one of a PIV card `SIGN key` and the public one `SIGN pubkey`, so a label in the URI may be
    /// that of either.
    pub(super) fn signing_key(&self) -> Result<SigningKey, Failure> {
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
                let error = self.unsuitable(public, "its private half is not on the token");
                return Err(error.into());
            }
            (None, None) => return Err(self.key_absent()?.into()),
        };
        self.pair(&private, public)
    }

    fn pair(&self, private: &Object, public: Option<Object>) -> Result<SigningKey, Failure> {
        let wanted = [
            &PUBLIC_ATTRIBUTES[..],
            &[AttributeType::Sign, AttributeType::AlwaysAuthenticate],
        ]
        .concat();
        let read = self.attributes(private.handle, &wanted)?;
        if read.contains(&Attribute::Sign(false)) {
            let reason = "the token does not let it sign (CKA_SIGN)";
            return Err(self.unsuitable(private, reason).into());
        }
        let public = match public {
            None if !private.id.is_empty() => {
                self.at_most_one(self.objects(ObjectClass::PUBLIC_KEY, None, Some(&private.id))?)?
            }
            known => known,
        };
        // An RSA private key contains its public numbers, an EC one with some modules.
        let own = attributes::public_key(&read);
        let public = match (public, own) {
            (Some(object), own) => {
                let public = self.public_key(&object)?;
                if own.is_ok_and(|own| own != public) {
                    let reason = "its private and public half do not belong together";
                    return Err(self.unsuitable(&object, reason).into());
                }
                public
            }
            (None, Ok(own)) => own,
            (None, Err(_)) => {
                let reason = "its public half is not on the token";
                return Err(self.unsuitable(private, reason).into());
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

    fn at_most_one(&self, mut objects: Vec<Object>) -> Result<Option<Object>, Failure> {
        if objects.len() > 1 {
            return Err(TokenError::Ambiguous {
                uri: (&self.uri).into(),
                what: format!("keys on token `{}`", self.info.name()),
                candidates: objects.iter().map(Object::to_string).collect(),
                by: " by `id=`",
            }
            .into());
        }
        Ok(objects.pop())
    }

    /// The error that no key fits, with those that are visible.
    pub(super) fn key_absent(&self) -> Result<TokenError, Failure> {
        let mut present: Vec<String> = Vec::new();
        for class in [ObjectClass::PUBLIC_KEY, ObjectClass::PRIVATE_KEY] {
            let objects = self.objects(class, None, None)?;
            present.extend(objects.iter().map(Object::to_string));
        }
        present.sort();
        present.dedup();
        Ok(TokenError::KeyAbsent {
            token: self.info.name().to_owned(),
            uri: (&self.uri).into(),
            present,
        })
    }
}
