//! A key object, its name, and its attributes.

use std::fmt;

use cryptoki::error::{Error, Result};
use cryptoki::object::{Attribute, AttributeInfo, AttributeType, ObjectHandle};
use cryptoki::session::Session;

use super::token_info::sanitised;
use crate::token::Pkcs11Uri;

/// The maximum length of an attribute, in bytes. A longer one is treated as absent.
const LONGEST_ATTRIBUTE: usize = 8192;

/// A key object, with what names it.
#[derive(Debug, Clone)]
pub(super) struct Object {
    pub(super) handle: ObjectHandle,
    pub(super) label: Vec<u8>,
    pub(super) id: Vec<u8>,
}

impl Object {
    pub(super) fn read(session: &Session, handle: ObjectHandle) -> Result<Self> {
        let mut object = Self {
            handle,
            label: Vec::new(),
            id: Vec::new(),
        };
        for attribute in attributes(session, handle, &[AttributeType::Label, AttributeType::Id])? {
            match attribute {
                Attribute::Label(label) => object.label = label,
                Attribute::Id(id) => object.id = id,
                _ => {}
            }
        }
        Ok(object)
    }

    /// The label for people.
    pub(super) fn shown_label(&self) -> String {
        sanitised(&String::from_utf8_lossy(&self.label))
    }

    /// `uri`, naming exactly this key.
    pub(super) fn named(&self, uri: &Pkcs11Uri) -> Pkcs11Uri {
        let label = std::str::from_utf8(&self.label).ok();
        uri.clone().with_key(label, &self.id)
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let label = self.shown_label();
        write!(f, "label `{label}` id `{}`", hex::encode(&self.id))
    }
}

/// Those of `wanted` that the object has and reveals. Each is read alone: one that the module
/// cannot return, or returns malformed, must not hide the others.
pub(super) fn attributes(
    session: &Session,
    object: ObjectHandle,
    wanted: &[AttributeType],
) -> Result<Vec<Attribute>> {
    let mut attributes = Vec::new();
    let infos = session.get_attribute_info(object, wanted)?;
    for (kind, info) in wanted.iter().zip(infos) {
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
