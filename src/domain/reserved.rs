//! The names that countersign gives files beside artifacts, and their prefixes and suffixes.

/// The signed list of a release.
pub const SUMS: &str = "SHA256SUMS";
/// The suffix of a release key's signature, after the name of its file.
pub const RELEASE_SIGNATURE: &str = ".asc";

/// The folder of a release's evidence.
pub const EVIDENCE: &str = "evidence";
/// The grant, in the evidence.
pub const GRANT: &str = "grant.json";
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

/// The suffix of L's report, after the name of the release.
pub const ADMITTED: &str = ".admitted";
/// The suffix of a note on why a submission was refused.
pub const REFUSED: &str = ".refused";
