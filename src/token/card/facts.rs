//! What a card reports without a PIN.

use openpgp_card::Error;
use openpgp_card::ocard::KeyType;
use openpgp_card::ocard::algorithm::{AlgorithmAttributes, Curve as CardCurve};
use openpgp_card::ocard::crypto::PublicKeyMaterial;
use openpgp_card::ocard::data::TouchPolicy as CardTouch;

use super::worker::OpenCard;
use crate::domain::key::{Curve, Fingerprint, PublicKey};
use crate::domain::text::clean;
use crate::domain::time::Timestamp;
use crate::token::raw;
use crate::token::uri::{CardIdent, CardUri, TokenUri};
use crate::token::{CardState, Pin, PinRequest, PinState, TokenDescription, TouchPolicy};

/// What a card reports of itself and its signing key.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    pub(super) ident: CardIdent,
    manufacturer: String,
    /// Of the specification that it implements.
    version: u16,
    /// Its signing key, if it has one, or the reason why that key cannot sign a release.
    pub(super) key: Option<Result<PublicKey, String>>,
    pub(super) pin: PinState,
    pub(super) state: CardState,
    /// Whether its reader has a keypad for PINs.
    pub(super) keypad: bool,
}

impl Facts {
    /// Reads them from the card.
    pub(super) fn of(card: &mut OpenCard<'_>) -> Result<Self, Error> {
        let keypad = card.feature_pinpad_verify();
        let card = card.card();
        let id = card.application_identifier()?;
        let data = card.application_related_data()?;
        let tries = data.pw_status_bytes()?;
        let fingerprint = data
            .fingerprints()?
            .signature()
            .map(|print| print.as_bytes().try_into());
        let fingerprint = fingerprint
            .and_then(Result::ok)
            .map(Fingerprint::from_bytes);
        let created = data
            .key_generation_times()?
            .signature()
            .map(|time| Timestamp::from_unix(time.get().into()));
        let touch = data
            .uif_pso_cds()?
            .map_or(TouchPolicy::Off, |flag| touch(flag.touch_policy()));
        Ok(Self {
            ident: CardIdent {
                manufacturer: id.manufacturer(),
                serial: id.serial(),
            },
            manufacturer: clean(id.manufacturer_name().trim_end_matches('.')),
            version: id.version(),
            key: signing_key(card, fingerprint.is_some())?,
            pin: tries_left(tries.err_count_pw1()),
            state: CardState {
                touch,
                pin_per_signature: tries.pw1_cds_valid_once(),
                signatures: counter(card)?,
                admin_pin: tries_left(tries.err_count_pw3()),
                fingerprint,
                created,
            },
            keypad,
        })
    }

    /// The name of the card in errors.
    pub(super) fn name(&self) -> String {
        self.ident.to_string()
    }

    /// The name of its key in errors.
    pub(super) fn key_name(&self) -> String {
        let kind = match &self.key {
            Some(Ok(key)) => key.algorithm(),
            Some(Err(reason)) => reason.clone(),
            None => "none".to_owned(),
        };
        self.state.fingerprint.map_or_else(
            || kind.clone(),
            |fingerprint| format!("{fingerprint} ({kind})"),
        )
    }

    pub(super) fn request(&self, pin: Pin) -> PinRequest {
        let state = match pin {
            Pin::User => self.pin,
            Pin::Admin => self.state.admin_pin,
        };
        PinRequest {
            token: format!("card {} ({})", self.ident, self.manufacturer),
            pin,
            state,
        }
    }

    /// The description of the card, which was asked for as `uri`.
    pub(super) fn description(&self, uri: &CardUri) -> TokenDescription {
        let [major, minor] = self.version.to_be_bytes();
        TokenDescription {
            uri: TokenUri::Card(uri.exactly(self.ident)),
            label: self.name(),
            manufacturer: self.manufacturer.clone(),
            model: format!("OpenPGP card {major:x}.{minor:x}"),
            serial: format!("{:08X}", self.ident.serial),
            pin: self.pin,
            card: Some(self.state.clone()),
        }
    }
}

/// How many signatures the key has made; `None` for a card that does not report it.
pub(super) fn counter(
    card: &mut openpgp_card::ocard::Transaction<'_>,
) -> Result<Option<u32>, Error> {
    match card.security_support_template() {
        Ok(template) => Ok(Some(template.signature_count())),
        Err(error @ (Error::Smartcard(_) | Error::ResponseLength(_))) => Err(error),
        Err(_) => Ok(None),
    }
}

fn tries_left(count: u8) -> PinState {
    match count {
        0 => PinState::Locked,
        1 => PinState::FinalTry,
        more => PinState::Left(more),
    }
}

fn touch(policy: CardTouch) -> TouchPolicy {
    match policy {
        CardTouch::Off => TouchPolicy::Off,
        // An unknown policy is treated as one that requires a touch.
        CardTouch::On | CardTouch::Unknown(_) => TouchPolicy::On,
        CardTouch::Fixed => TouchPolicy::Fixed,
        CardTouch::Cached => TouchPolicy::Cached,
        CardTouch::CachedFixed => TouchPolicy::CachedFixed,
    }
}

/// The signing key. Cards without one answer with different errors; `marked` is whether the card
/// has a fingerprint for it.
fn signing_key(
    card: &mut openpgp_card::ocard::Transaction<'_>,
    marked: bool,
) -> Result<Option<Result<PublicKey, String>>, Error> {
    match card.public_key(KeyType::Signing) {
        Ok(material) => Ok(Some(public_key(&material))),
        Err(error @ (Error::Smartcard(_) | Error::ResponseLength(_))) => Err(error),
        Err(Error::CardStatus(_)) if !marked => Ok(None),
        Err(error) => Ok(Some(Err(error.to_string()))),
    }
}

/// The public key in an answer, or why it cannot sign a release.
pub(super) fn public_key(material: &PublicKeyMaterial) -> Result<PublicKey, String> {
    let point = match material {
        PublicKeyMaterial::R(key) => return raw::rsa(key.n(), key.v()),
        PublicKeyMaterial::E(point) => point,
    };
    let AlgorithmAttributes::Ecc(attributes) = point.algo() else {
        return Err("its algorithm is unknown".to_owned());
    };
    let curve = match attributes.curve() {
        CardCurve::Ed25519 => return ed25519(point.data()),
        CardCurve::NistP256r1 => Curve::P256,
        CardCurve::NistP384r1 => Curve::P384,
        CardCurve::NistP521r1 => Curve::P521,
        other => {
            return Err(format!(
                "its curve is {other:?}, not Ed25519, P-256, P-384 or P-521"
            ));
        }
    };
    let wanted = 2 * curve.field_size();
    // Some cards omit the 4 that means "uncompressed".
    let bare = match point.data() {
        [4, bare @ ..] if bare.len() == wanted => bare,
        bare if bare.len() == wanted => bare,
        _ => {
            return Err(format!(
                "its point does not have {wanted} bytes, uncompressed"
            ));
        }
    };
    Ok(PublicKey::Ecdsa {
        curve,
        point: [&[4], bare].concat(),
    })
}

/// Some cards put the 0x40 of OpenPGP before the point.
fn ed25519(point: &[u8]) -> Result<PublicKey, String> {
    let bare = if let [0x40, bare @ ..] = point
        && bare.len() == 32
    {
        bare
    } else {
        point
    };
    bare.try_into()
        .map(PublicKey::Ed25519)
        .map_err(|_| "its point does not have 32 bytes".to_owned())
}

#[cfg(test)]
mod tests {
    use openpgp_card::ocard::algorithm::EccAttributes;
    use openpgp_card::ocard::crypto::{EccPub, EccType, RSAPub};

    use super::*;

    fn on_curve(curve: CardCurve, point: Vec<u8>) -> Result<PublicKey, String> {
        let attributes = AlgorithmAttributes::Ecc(EccAttributes::new(EccType::ECDSA, curve, None));
        public_key(&PublicKeyMaterial::E(EccPub::new(point, attributes)))
    }

    #[test]
    fn a_point_is_read_with_and_without_its_first_byte() {
        for (curve, own, size) in [
            (CardCurve::NistP256r1, Curve::P256, 64),
            (CardCurve::NistP384r1, Curve::P384, 96),
            (CardCurve::NistP521r1, Curve::P521, 132),
        ] {
            let bare = vec![9; size];
            let whole = [vec![4], bare.clone()].concat();
            let expected = Ok(PublicKey::Ecdsa {
                curve: own,
                point: whole.clone(),
            });
            assert_eq!(on_curve(curve.clone(), bare.clone()), expected);
            assert_eq!(on_curve(curve.clone(), whole), expected);
            assert!(on_curve(curve.clone(), [vec![3], bare].concat()).is_err());
            assert!(on_curve(curve, vec![4; size - 1]).is_err());
        }
        let expected = Ok(PublicKey::Ed25519([7; 32]));
        assert_eq!(on_curve(CardCurve::Ed25519, vec![7; 32]), expected);
        assert_eq!(
            on_curve(CardCurve::Ed25519, [vec![0x40], vec![7; 32]].concat()),
            expected
        );
        assert!(on_curve(CardCurve::Ed25519, vec![7; 33]).is_err());
    }

    #[test]
    fn other_keys_are_refused_with_the_reason() {
        for curve in [
            CardCurve::BrainpoolP256r1,
            CardCurve::Secp256k1,
            CardCurve::Unknown(vec![1]),
        ] {
            assert!(on_curve(curve, vec![4; 65]).is_err_and(|reason| reason.contains("P-521")));
        }
        let short = PublicKeyMaterial::R(RSAPub::new(
            [vec![0x81], vec![1; 127]].concat(),
            vec![1, 0, 1],
        ));
        assert!(public_key(&short).is_err_and(|reason| reason.contains("1024 bits")));
    }

    #[test]
    fn tries_are_counted_down_to_the_last() {
        assert_eq!(
            [3, 2, 1, 0].map(tries_left),
            [
                PinState::Left(3),
                PinState::Left(2),
                PinState::FinalTry,
                PinState::Locked
            ]
        );
    }
}
