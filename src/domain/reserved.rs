//! The names that countersign gives files beside artifacts, and their prefixes and suffixes.

/// The signed list of a release.
pub const SUMS: &str = "SHA256SUMS";
/// The suffix of a release key's signature, after the name of its file.
pub const RELEASE_SIGNATURE: &str = ".asc";

/// The files of which a file of this name would be a signature in a release: `NAME` for
/// `NAME.asc`, and for `NAME.0123456789abcdef.asc`, the signature by one of several keys, too.
pub fn signed_by(name: &str) -> impl Iterator<Item = &str> {
    let at = name.len().checked_sub(RELEASE_SIGNATURE.len());
    let signed = at
        .and_then(|at| name.split_at_checked(at))
        .filter(|(_, ending)| ending.eq_ignore_ascii_case(RELEASE_SIGNATURE))
        .map(|(signed, _)| signed);
    let by_one = signed
        .and_then(|signed| signed.rsplit_once('.'))
        .filter(|(_, key)| key.len() == 16 && key.bytes().all(|b| b.is_ascii_hexdigit()))
        .map(|(signed, _)| signed);
    signed.into_iter().chain(by_one)
}

/// The folder of a release's evidence.
pub const EVIDENCE: &str = "evidence";
/// The grant, in the evidence.
pub const GRANT: &str = "grant.json";
/// What the release consists of, in the evidence; the first line of the list names it.
pub const RELEASE: &str = "release.json";
/// The folder of the approvals in the evidence.
pub const APPROVALS: &str = "approvals";
/// A builder's OpenPGP key in its evidence, as a binary keyring that gpgv reads.
pub const BUILD_KEY: &str = "build-key.pgp";
/// A builder's Ed25519 key in its evidence, as `openssl pkey -pubin` reads it.
pub const BUILD_KEY_PEM: &str = "build-key.pem";

/// The prefix of evidence about a build rather than about one artifact.
pub const BUILD: &str = "build.";
/// A manifest.
pub const MANIFEST: &str = "build.manifest";
/// Its signature.
pub const MANIFEST_SIGNATURE: &str = "build.manifest.sig";
/// Its MAC.
pub const MANIFEST_MAC: &str = "build.manifest.mac";
/// The envelope with a statement.
pub const ENVELOPE: &str = "build.dsse.json";

/// The suffix of a builder's or an approver's OpenPGP signature.
pub const SIGNATURE: &str = ".sig";
/// The suffix of a builder's MAC.
pub const MAC: &str = ".mac";
/// The suffix of an approver's SSH signature.
pub const SSH_SIGNATURE: &str = ".sshsig";

/// A signed statement that a release is withdrawn.
pub const WITHDRAWAL: &str = "withdrawal.json";
/// The suffix of the folder with that statement, after the name of the release.
pub const WITHDRAWN: &str = ".withdrawal";

/// The suffix of L's report, after the name of the release.
pub const ADMITTED: &str = ".admitted";
/// The suffix of a note on why a submission was refused.
pub const REFUSED: &str = ".refused";
