//! The names that countersign gives files beside artifacts, and what such names begin or end in.

/// The signed list of a release.
pub const SUMS: &str = "SHA256SUMS";
/// What the name of a release key's signature ends in, behind that of the file.
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

/// What the names of evidence begin with that is about a build and not about one artifact.
pub const BUILD: &str = "build.";
/// A manifest.
pub const MANIFEST: &str = "build.manifest";
/// Its signature.
pub const MANIFEST_SIGNATURE: &str = "build.manifest.sig";
/// Its MAC.
pub const MANIFEST_MAC: &str = "build.manifest.mac";
/// The envelope with a statement.
pub const ENVELOPE: &str = "build.dsse.json";

/// What the name of a builder's or an approver's OpenPGP signature ends in.
pub const SIGNATURE: &str = ".sig";
/// What the name of a builder's MAC ends in.
pub const MAC: &str = ".mac";
/// What the name of an approver's SSH signature ends in.
pub const SSH_SIGNATURE: &str = ".sshsig";

/// What the name of L's report ends in, behind that of the release.
pub const ADMITTED: &str = ".admitted";
/// What the name of a note ends in that says why a submission was refused.
pub const REFUSED: &str = ".refused";
