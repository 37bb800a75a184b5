//! Generates a key pair.

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectHandle};

use super::attributes::{self, Generation};
use super::login::login;
use super::module::Module;
use super::object::Object;
use super::opened::Opened;
use super::unlocked::Unlocked;
use crate::domain::key::KeyKind;
use crate::token::{Interaction, Pkcs11Uri, RefusedPins, Token, TokenError};

/// Generates a key pair. The private half is sensitive, not extractable, and only signs.
pub(in crate::token) fn generate(
    uri: &Pkcs11Uri,
    kind: KeyKind,
    pins: &RefusedPins,
    interaction: &mut dyn Interaction,
) -> Result<(Pkcs11Uri, Box<dyn Token>), TokenError> {
    let module = Module::of(uri)?;
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
    // Once without a PIN, and again when private objects are visible too.
    refuse_if_taken(&opened, label)?;
    let (mut opened, pin) = login(opened, pins, interaction)?;
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
            Box::new(Unlocked::new(opened, key, pin, pins.clone())),
        )),
        Err(error) => {
            // Including what a module that failed half-way left behind.
            remove(&opened, label, &id);
            Err(error)
        }
    }
}

/// Generates the key pair that the URI names, and checks it.
fn make(
    opened: &Opened,
    mechanism: &Mechanism<'_>,
    spellings: Vec<Vec<Attribute>>,
    kind: KeyKind,
) -> Result<(), TokenError> {
    let label = opened.uri.object().unwrap_or_default();
    let id = opened.uri.id().unwrap_or_default();
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
        let reason = format!("the token generated {made} instead of {kind}");
        return Err(opened.unsuitable(public, reason));
    }
    let flags = [AttributeType::Sensitive, AttributeType::Extractable];
    let flags = opened.attributes(private, &flags)?;
    if !flags.contains(&Attribute::Sensitive(true))
        || !flags.contains(&Attribute::Extractable(false))
    {
        return Err(opened.unsuitable(public, "the token would reveal its private half"));
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

/// Removes what has this label *and* this id. Both were free before, so this run made it.
fn remove(opened: &Opened, label: &str, id: &[u8]) {
    for object in opened
        .objects(None, Some(label), Some(id))
        .unwrap_or_default()
    {
        // The failure that led here is the one to report.
        let _ = opened
            .session
            .call(|session| session.destroy_object(object.handle));
    }
}
