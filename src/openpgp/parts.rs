//! The parts of a builder's certificate, and what its own key signed of each.
//!
//! gpgv and sqv must take them alike for ever. So each signature has the rules of one over a file,
//! and there is one for each part: verifiers choose among several in ways of their own.

use sequoia_openpgp as openpgp;

use openpgp::Cert;
use openpgp::crypto::hash::Context;
use openpgp::packet::{Signature, UserID};

use super::hash;
use super::key::PublicHalf;
use super::signature::is_by;
use super::subpackets::{self, Over};
use crate::domain::malformed::Malformed;

/// The longest user id that gpgv reads, in bytes.
const LONGEST_USER_ID: usize = 2048;

/// Checks each part of a certificate. Returns how many packets they and their signatures are.
pub(super) fn check_parts(cert: &Cert) -> Result<usize, Malformed> {
    let primary = cert.primary_key();
    let key = primary.key();
    let signer = key.role_as_unspecified();
    let mut of_primary = own(primary.self_signatures(), primary.self_revocations())?;
    for signature in &of_primary {
        check(signature, signer, Over::Key, |hash| {
            signature.hash_direct_key(hash, key)
        })?;
    }
    let mut count = 1 + of_primary.len();

    for id in cert.userids() {
        check_user_id(id.userid())?;
        let signatures = own(id.self_signatures(), id.self_revocations())?;
        for signature in signed(&signatures)? {
            check(signature, signer, Over::Key, |hash| {
                signature.hash_userid_binding(hash, key, id.userid())
            })?;
        }
        count += 1 + signatures.len();
        of_primary.extend(signatures);
    }
    let mut uses = of_primary.iter().filter_map(|it| it.key_flags());
    let first = uses.next();
    if uses.any(|other| Some(&other) != first.as_ref()) {
        return Err(Malformed::new(
            "the certificate's own signatures differ in what its primary key is for",
        ));
    }

    for subkey in cert.keys().subkeys() {
        let subkey_signer = subkey.key().role_as_unspecified();
        let signatures = own(subkey.self_signatures(), subkey.self_revocations())?;
        for signature in signed(&signatures)? {
            check(signature, signer, Over::Subkey, |hash| {
                signature.hash_subkey_binding(hash, key, subkey.key())
            })?;
            for embedded in signature.embedded_signatures() {
                check(embedded, subkey_signer, Over::Key, |hash| {
                    embedded.hash_primary_key_binding(hash, key, subkey.key())
                })?;
            }
        }
        count += 1 + signatures.len();
    }
    Ok(count)
}

/// What the certificate's own key signed of a part: that it belongs to it, or that it does not any
/// more, or both.
fn own<'a>(
    bindings: impl Iterator<Item = &'a Signature>,
    revocations: impl Iterator<Item = &'a Signature>,
) -> Result<Vec<&'a Signature>, Malformed> {
    let bindings: Vec<_> = bindings.collect();
    let revocations: Vec<_> = revocations.collect();
    if bindings.len() > 1 || revocations.len() > 1 {
        return Err(Malformed::new(
            "the certificate has several signatures by its own key over one part; \
             `gpg --export-options export-minimal` leaves the newest",
        ));
    }
    Ok([bindings, revocations].concat())
}

fn signed<'a, 'b>(signatures: &'b [&'a Signature]) -> Result<&'b [&'a Signature], Malformed> {
    if signatures.is_empty() {
        return Err(not_own());
    }
    Ok(signatures)
}

/// Of a certificate with what its own key did not sign.
pub(super) fn not_own() -> Malformed {
    Malformed::new(
        "the certificate has more than its own key signed; \
         `gpg --export-options export-minimal` leaves that out",
    )
}

/// Checks one signature, which `signer` should have made over what `hash` takes.
fn check(
    signature: &Signature,
    signer: &PublicHalf,
    over: Over,
    hash: impl FnOnce(&mut Context) -> openpgp::Result<()>,
) -> Result<(), Malformed> {
    let within = |fault: Malformed| fault.within("in the certificate");
    let function = hash::from_openpgp(signature.hash_algo()).filter(|_| signature.version() == 4);
    let function = function.ok_or_else(|| {
        Malformed::new(
            "the certificate has a signature that is not an OpenPGP v4 signature with SHA-256, \
             SHA-384 or SHA-512",
        )
    })?;
    let maker = subpackets::maker(signature, over).map_err(within)?;
    let mut context = hash::context(function);
    let digest = hash(&mut context).and_then(|()| context.into_digest());
    let is_own = maker.issuer.aliases(signer.key_handle())
        && digest.is_ok_and(|digest| is_by(signature, signer, &digest));
    if is_own { Ok(()) } else { Err(not_own()) }
}

fn check_user_id(id: &UserID) -> Result<(), Malformed> {
    let text = str::from_utf8(id.value()).ok();
    let text = text.filter(|text| text.len() <= LONGEST_USER_ID);
    if text.is_some_and(|text| !text.contains(char::is_control)) {
        return Ok(());
    }
    Err(Malformed::new(format!(
        "the certificate has a user id that is not one line of at most {LONGEST_USER_ID} bytes"
    )))
}
