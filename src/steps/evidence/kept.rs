//! The one form in which evidence and approvals are kept: in the home, in a release, and under a
//! digest in the log. What came may be framed otherwise; nobody signed that.

use crate::domain::malformed::Malformed;
use crate::domain::reserved::{ENVELOPE, SIGNATURE, SSH_SIGNATURE};
use crate::dsse::Envelope;
use crate::openpgp::DetachedSignature;
use crate::ssh;

/// A file of a builder's evidence in the form in which it is kept. A manifest and a MAC have one
/// form, and what cannot be read stays as it is: [`check`](fn@super::check) refuses it and says
/// why.
pub fn kept(file: &str, bytes: Vec<u8>) -> Vec<u8> {
    let kept = if file == ENVELOPE {
        Envelope::parse(&bytes).ok().map(|it| it.to_json())
    } else if file.ends_with(SIGNATURE) {
        let signature = DetachedSignature::parse_evidence(&bytes);
        signature.ok().map(|it| it.to_packet())
    } else {
        None
    };
    kept.unwrap_or(bytes)
}

/// Checks that an approval in a release has the form in which it is kept. Whose it is,
/// [`approval::check`](super::approval::check) knows, with the approvers' keys.
pub fn check_approval(file: &str, bytes: &[u8]) -> Result<(), Malformed> {
    if file.ends_with(SSH_SIGNATURE) {
        return ssh::Blob::parse_kept(bytes).map(drop);
    }
    let signature = DetachedSignature::parse_kept(bytes);
    signature
        .map(drop)
        .map_err(|fault| Malformed::new(fault.to_string()))
}
