//! The URI of a key on a PKCS#11 token (RFC 7512).

use std::fmt;
use std::path::{Path, PathBuf};

use super::text;
use crate::domain::malformed::Malformed;
use crate::token::pin_source::PinSource;

/// Path attributes of RFC 7512 that are not matched here.
const UNMATCHED: [&str; 5] = [
    "library-manufacturer",
    "library-description",
    "library-version",
    "slot-description",
    "slot-manufacturer",
];

/// A PKCS#11 URI (RFC 7512). An attribute that is not given fits every token or key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pkcs11Uri {
    pub(in crate::token) token: Option<String>,
    pub(in crate::token) manufacturer: Option<String>,
    pub(in crate::token) serial: Option<String>,
    pub(in crate::token) model: Option<String>,
    pub(in crate::token) slot_id: Option<u64>,
    object: Option<String>,
    id: Option<Vec<u8>>,
    kind: Option<ObjectKind>,
    module_path: Option<PathBuf>,
    pin_source: Option<PinSource>,
}

/// `type`: either half names the key pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ObjectKind {
    Private,
    Public,
}

impl Pkcs11Uri {
    /// Parses what follows `pkcs11:`.
    pub(super) fn parse(rest: &str) -> Result<Self, Malformed> {
        // Anywhere, also in a value after the wrong separator: RFC 7512 allows `&` and `=` in a
        // label.
        if rest.contains("pin-value=") {
            return Err(text::pin_value());
        }
        let mut uri = Self::default();
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        if !path.is_empty() {
            path.split(';')
                .try_for_each(|attribute| uri.take_path_attribute(attribute))?;
        }
        if !query.is_empty() {
            query
                .split('&')
                .try_for_each(|attribute| uri.take_query_attribute(attribute))?;
        }
        Ok(uri)
    }

    fn take_path_attribute(&mut self, attribute: &str) -> Result<(), Malformed> {
        let (name, value) = text::name_and_value(attribute)?;
        let text = |name| move || text::path_text(name, value);
        match name {
            "token" => text::once("token", &mut self.token, text("token")),
            "manufacturer" => {
                text::once("manufacturer", &mut self.manufacturer, text("manufacturer"))
            }
            "serial" => text::once("serial", &mut self.serial, text("serial")),
            "model" => text::once("model", &mut self.model, text("model")),
            "object" => text::once("object", &mut self.object, text("object")),
            "id" => text::once("id", &mut self.id, || text::path_bytes("id", value)),
            "slot-id" => text::once("slot-id", &mut self.slot_id, || {
                text::number("slot-id", value)
            }),
            "type" => text::once("type", &mut self.kind, || ObjectKind::parse(value)),
            "pin-value" => Err(text::pin_value()),
            name if UNMATCHED.contains(&name) => Err(text::unsupported(
                name,
                "name the token by `token`, `serial`, `manufacturer`, `model` or `slot-id`",
            )),
            _ => Err(text::unknown("path", name)),
        }
    }

    fn take_query_attribute(&mut self, attribute: &str) -> Result<(), Malformed> {
        let (name, value) = text::name_and_value(attribute)?;
        match name {
            "module-path" => text::once("module-path", &mut self.module_path, || {
                let path = PathBuf::from(text::query_text("module-path", value)?);
                // The code that is loaded must not depend on the working directory.
                if !path.is_absolute() {
                    return Err(text::bad_value("module-path", "is not an absolute path"));
                }
                Ok(path)
            }),
            "pin-source" => text::once("pin-source", &mut self.pin_source, || {
                text::pin_source("pin-source", value)
            }),
            "pin-value" => Err(text::pin_value()),
            "module-name" => Err(text::unsupported(
                "module-name",
                "where a module of that name is installed differs between systems; \
                 give its `module-path`",
            )),
            _ => Err(text::unknown("query", name)),
        }
    }

    /// The path of the PKCS#11 module, where one is named.
    pub fn module_path(&self) -> Option<&Path> {
        self.module_path.as_deref()
    }

    /// Where the PIN comes from; [`PinSource::Prompt`] unless the URI says otherwise.
    pub fn pin_source(&self) -> PinSource {
        self.pin_source.clone().unwrap_or(PinSource::Prompt)
    }

    /// The label of the key (`object`), where one is named.
    pub fn object(&self) -> Option<&str> {
        self.object.as_deref()
    }

    /// The id of the key (`CKA_ID`), where one is named.
    pub fn id(&self) -> Option<&[u8]> {
        self.id.as_deref()
    }

    /// The URI of every token that the module of this one has.
    #[must_use]
    pub(super) fn all_tokens(&self) -> Self {
        Self {
            module_path: self.module_path.clone(),
            ..Self::default()
        }
    }

    /// This URI, naming the key by `label` and `id` only. What a URI cannot express is left out:
    /// an empty label or id, a label with a NUL.
    #[must_use]
    pub fn with_key(self, label: Option<&str>, id: &[u8]) -> Self {
        Self {
            object: label.and_then(expressible),
            id: (!id.is_empty()).then(|| id.to_vec()),
            kind: None,
            ..self
        }
    }

    /// This URI without a PIN source.
    #[must_use]
    pub(in crate::token) fn without_pin(&self) -> Self {
        Self {
            pin_source: None,
            ..self.clone()
        }
    }

    /// This URI without what only this host needs: module and PIN source.
    #[must_use]
    pub(in crate::token) fn without_query(&self) -> Self {
        Self {
            module_path: None,
            pin_source: None,
            ..self.clone()
        }
    }

    /// This URI, naming the token also by `label` and `serial`. A slot number is not kept: SoftHSM2
    /// is one of those that renumber their slots.
    #[must_use]
    pub(in crate::token) fn with_token(self, label: &str, serial: &str) -> Self {
        Self {
            token: expressible(label).or(self.token),
            serial: expressible(serial).or(self.serial),
            slot_id: None,
            ..self
        }
    }
}

/// `text`, unless a URI cannot express it.
fn expressible(text: &str) -> Option<String> {
    (!text.is_empty() && !text.contains('\0')).then(|| text.to_owned())
}

impl fmt::Display for Pkcs11Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            token,
            manufacturer,
            serial,
            model,
            slot_id,
            object,
            id,
            kind,
            module_path,
            pin_source,
        } = self;
        let path = |text: &Option<String>| text.as_deref().map(text::in_path);
        let in_path = [
            ("token", path(token)),
            ("manufacturer", path(manufacturer)),
            ("serial", path(serial)),
            ("model", path(model)),
            ("slot-id", slot_id.map(|number| number.to_string())),
            ("object", path(object)),
            ("id", id.as_deref().map(text::all_encoded)),
            ("type", kind.map(|kind| kind.name().to_owned())),
        ];
        let module = module_path.as_ref().map(|path| path.display().to_string());
        let pin_source = pin_source.as_ref().map(ToString::to_string);
        let in_query = [
            ("module-path", module.as_deref().map(text::in_query)),
            ("pin-source", pin_source.as_deref().map(text::in_query)),
        ];
        f.write_str("pkcs11:")?;
        f.write_str(&text::joined(in_path, ";"))?;
        let in_query = text::joined(in_query, "&");
        if in_query.is_empty() {
            return Ok(());
        }
        write!(f, "?{in_query}")
    }
}

impl ObjectKind {
    fn parse(value: &str) -> Result<Self, Malformed> {
        match value {
            "private" => Ok(Self::Private),
            "public" => Ok(Self::Public),
            _ => Err(text::bad_value("type", "is neither `private` nor `public`")),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::Public => "public",
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> Pkcs11Uri {
        let (_scheme, rest) = text.split_once(':').expect("a scheme");
        Pkcs11Uri::parse(rest).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn refused(text: &str) -> String {
        let (_scheme, rest) = text.split_once(':').expect("a scheme");
        match Pkcs11Uri::parse(rest) {
            Ok(uri) => panic!("{text} was parsed as {uri:?}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn every_attribute_is_understood() {
        let text = "PKCS11:token=My%20token;manufacturer=Acme;serial=0%31;model=v2;slot-id=7;\
            object=r%C3%A9lease;id=%00%ff;type=private?\
            module-path=/usr/lib/m.so&pin-source=file:/run/pin";
        let uri = parsed(text);
        assert_eq!(uri.token.as_deref(), Some("My token"));
        assert_eq!(uri.manufacturer.as_deref(), Some("Acme"));
        assert_eq!(uri.serial.as_deref(), Some("01"));
        assert_eq!(uri.model.as_deref(), Some("v2"));
        assert_eq!(uri.slot_id, Some(7));
        assert_eq!(uri.object(), Some("rélease"));
        assert_eq!(uri.id(), Some(&[0, 0xff][..]));
        assert_eq!(uri.module_path(), Some(Path::new("/usr/lib/m.so")));
        assert_eq!(uri.pin_source(), PinSource::File("/run/pin".into()));
        assert_eq!(
            uri.to_string(),
            "pkcs11:token=My%20token;manufacturer=Acme;serial=01;model=v2;slot-id=7;\
            object=r%C3%A9lease;id=%00%FF;type=private?\
            module-path=/usr/lib/m.so&pin-source=file:/run/pin"
        );
    }

    #[test]
    fn nothing_given_fits_everything() {
        assert_eq!(parsed("pkcs11:"), Pkcs11Uri::default());
        assert_eq!(parsed("pkcs11:?"), Pkcs11Uri::default());
        assert_eq!(parsed("pkcs11:?").pin_source(), PinSource::Prompt);
        assert_eq!(Pkcs11Uri::default().to_string(), "pkcs11:");
    }

    #[test]
    fn an_unknown_attribute_is_refused_by_name() {
        assert_eq!(refused("pkcs11:tokn=x"), "unknown path attribute `tokn`");
        assert_eq!(refused("pkcs11:TOKEN=x"), "unknown path attribute `TOKEN`");
        assert_eq!(
            refused("pkcs11:pin-source=x"),
            "unknown path attribute `pin-source`"
        );
        assert_eq!(
            refused("pkcs11:?token=x"),
            "unknown query attribute `token`"
        );
        assert_eq!(
            refused("pkcs11:token=a;token=a"),
            "attribute `token` is given twice"
        );
        assert_eq!(
            refused("pkcs11:token"),
            "`token` is not of the form `name=value`"
        );
        assert_eq!(
            refused("pkcs11:token=x;"),
            "`` is not of the form `name=value`"
        );
        assert_eq!(
            refused("pkcs11:token=x?&"),
            "`` is not of the form `name=value`"
        );
        assert!(
            refused("pkcs11:library-version=1.2").contains("`library-version` is not supported")
        );
        assert!(
            refused("pkcs11:slot-description=x").contains("`slot-description` is not supported")
        );
        assert!(refused("pkcs11:?module-name=softhsm2").contains("give its `module-path`"));
    }

    #[test]
    fn a_wrong_encoding_is_refused() {
        for value in ["%", "%0", "%zz", "a%2", "%+1"] {
            assert_eq!(
                refused(&format!("pkcs11:id={value}")),
                "value of `id` has a `%` without two hexadecimal digits"
            );
        }
        for value in ["a b", "a/b", "a#b", "a\"b", "a|b", "é", "a\u{7}"] {
            assert_eq!(
                refused(&format!("pkcs11:token={value}")),
                "value of `token` has a character that must be percent-encoded"
            );
        }
        assert_eq!(refused("pkcs11:token=%ff"), "value of `token` is not UTF-8");
        assert_eq!(
            refused("pkcs11:token=a%00"),
            "value of `token` contains a NUL"
        );
        assert_eq!(refused("pkcs11:token="), "value of `token` is empty");
        assert_eq!(refused("pkcs11:id="), "value of `id` is empty");
        for number in ["", "+1", "-1", "0x1", "99999999999999999999999"] {
            assert!(
                refused(&format!("pkcs11:slot-id={number}")).contains("decimal"),
                "{number}"
            );
        }
        assert!(refused("pkcs11:type=cert").contains("neither `private` nor `public`"));
    }

    #[test]
    fn the_exact_uri_names_label_and_id_only() {
        let uri = parsed("pkcs11:token=t;object=old;id=%01;type=public?module-path=/m.so");
        assert_eq!(
            uri.clone()
                .with_key(Some("release"), &[0xca, 0xfe])
                .to_string(),
            "pkcs11:token=t;object=release;id=%CA%FE?module-path=/m.so"
        );
        assert_eq!(
            uri.with_key(Some("a\0b"), b"").to_string(),
            "pkcs11:token=t?module-path=/m.so"
        );
    }

    fn value() -> impl Strategy<Value = Option<String>> {
        proptest::option::of("[^\0]{1,20}")
    }

    fn any_uri() -> impl Strategy<Value = Pkcs11Uri> {
        let token = (
            value(),
            value(),
            value(),
            value(),
            proptest::option::of(any::<u64>()),
        );
        let kind = proptest::option::of(prop_oneof![
            Just(ObjectKind::Private),
            Just(ObjectKind::Public)
        ]);
        let key = (
            value(),
            proptest::option::of(proptest::collection::vec(any::<u8>(), 1..20)),
            kind,
        );
        let pin = proptest::option::of(prop_oneof![
            Just(PinSource::Prompt),
            (0..100).prop_map(PinSource::Fd),
            "/[^\0-\u{1f}\u{7f}-\u{9f}/][^\0-\u{1f}\u{7f}-\u{9f}]{0,20}"
                .prop_map(|path| PinSource::File(path.into())),
            "[a-z][a-z.]{0,8}".prop_map(PinSource::Credential),
        ]);
        (token, key, value(), pin).prop_map(|(token, key, module, pin_source)| {
            let (token, manufacturer, serial, model, slot_id) = token;
            let (object, id, kind) = key;
            let module_path = module.map(|path| PathBuf::from(format!("/{path}")));
            Pkcs11Uri {
                token,
                manufacturer,
                serial,
                model,
                slot_id,
                object,
                id,
                kind,
                module_path,
                pin_source,
            }
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(uri in any_uri()) {
            let text = uri.to_string();
            prop_assert!(text.is_ascii());
            prop_assert_eq!(parsed(&text), uri);
        }
    }
}
