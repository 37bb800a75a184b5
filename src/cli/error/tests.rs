//! Every error there is.

use std::path::PathBuf;

use super::{CliError, HostError};
use crate::config::{ConfigError, ConfigFault};
use crate::domain::artifact::{BadList, BadText};
use crate::domain::build_key::BadLabel;
use crate::domain::digest::{GrantId, Sha256};
use crate::domain::evidence::{Differences, EvidenceForm, Scheme};
use crate::domain::grant::{BadGrant, Grant};
use crate::domain::key::Fingerprint;
use crate::domain::manifest::{BadManifest, Manifest};
use crate::domain::name::ArtifactName;
use crate::domain::release::{BadSums, Coverage, Sums};
use crate::domain::statement::BadStatement;
use crate::domain::time::{Period, Timestamp};
use crate::dsse::{BadEd25519Key, BadEnvelope};
use crate::files::{FileError, FileFault};
use crate::home::HomeError;
use crate::ledger::{BadLog, ExportError, LedgerError, LedgerFault};
use crate::mac::BadMac;
use crate::openpgp::{BadBuildKey, BadCertificate, BadSignature, KeyTrouble, MakeError};
use crate::ssh::{BadSshKey, BadSshSignature};
use crate::steps::builder::attest::AttestError;
use crate::steps::builder::build_key::KeyFault;
use crate::steps::evidence::error::{BadBuilderKey, Dissent, EvidenceError};
use crate::steps::host::approval::BadApproval;
use crate::steps::host::approve::ApproveError;
use crate::steps::host::build::BuildError;
use crate::steps::host::countersign::CountersignError;
use crate::steps::host::grant::GrantError;
use crate::steps::host::policy::PolicyError;
use crate::steps::host::push::PushError;
use crate::steps::host::reconcile::ReconcileError;
use crate::steps::host::release_checkpoint::NoCheckpoint;
use crate::steps::host::release_key::KeyError;
use crate::steps::host::revoke::RevokeError;
use crate::steps::release::admit::AdmitError;
use crate::steps::release::logged::NotLogged;
use crate::steps::release::verify::ReleaseError;
use crate::tlog::checkpoint::BadCheckpoint;
use crate::tlog::note::{BadNote, BadNoteKey};
use crate::tlog::proof::BadProof;
use crate::token::{Pin, PinError, PinState, TokenError};

fn path() -> PathBuf {
    "path".into()
}

fn exported_not_reconciled(other_key: bool, unfinished: &[u64]) -> CliError {
    HostError::ExportNotReconciled {
        card: text(),
        findings: vec![text()],
        other_key,
        unfinished: unfinished.to_vec(),
    }
    .into()
}

fn kept_release(fault: NoCheckpoint) -> CliError {
    HostError::KeptRelease {
        path: path(),
        fault: fault.into(),
    }
    .into()
}

fn text() -> String {
    "text".to_owned()
}

fn at() -> Timestamp {
    "2026-11-22T16:00:00Z".parse().expect("a time")
}

fn digest(of: &str) -> Sha256 {
    Sha256::of(of.as_bytes())
}

fn id() -> GrantId {
    GrantId::of(b"grant")
}

fn key() -> Fingerprint {
    "A1B2C3D4E5F60718293A4B5C6D7E8F9001122334"
        .parse()
        .expect("a fingerprint")
}

fn artifact() -> ArtifactName {
    "foo.tar.xz".parse().expect("a name")
}

fn builder() -> crate::domain::name::BuilderName {
    "m1".parse().expect("a name")
}

fn other_builder() -> crate::domain::name::BuilderName {
    "m2".parse().expect("a name")
}

fn approver() -> crate::domain::name::ApproverName {
    "alice".parse().expect("a name")
}

fn file_faults() -> Vec<FileError> {
    let io = |kind| FileFault::Io(std::io::Error::from(kind));
    let faults = [
        FileFault::Missing,
        FileFault::Kind {
            found: "a FIFO",
            wanted: "a regular file",
        },
        FileFault::TooLarge { limit: 10 },
        FileFault::TooMany { limit: 10 },
        FileFault::Exists,
        FileFault::Busy,
        io(std::io::ErrorKind::StorageFull),
        io(std::io::ErrorKind::PermissionDenied),
        io(std::io::ErrorKind::TimedOut),
    ];
    faults
        .into_iter()
        .map(|fault| FileError::new(path(), fault))
        .collect()
}

fn file() -> FileError {
    file_faults().swap_remove(0)
}

fn ledger_error() -> LedgerError {
    LedgerError {
        path: path(),
        fault: LedgerFault::Entry {
            index: 3,
            reason: text(),
        },
    }
}

fn token_errors() -> Vec<TokenError> {
    use TokenError::*;
    let (token, uri, reason) = (text, || "pkcs11:token=release".to_owned(), text);
    let two = || vec!["label `a`".to_owned(), "label `b`".to_owned()];
    vec![
        Module {
            module: "module.so".into(),
            reason: reason(),
        },
        NoModule { uri: uri() },
        TokenAbsent {
            uri: uri(),
            present: vec![],
        },
        TokenAbsent {
            uri: "card:".into(),
            present: two(),
        },
        TokenAmbiguous {
            uri: uri(),
            candidates: two(),
        },
        TokenAmbiguous {
            uri: "card:".into(),
            candidates: two(),
        },
        KeyAbsent {
            token: token(),
            uri: uri(),
            present: two(),
        },
        KeyAmbiguous {
            token: token(),
            uri: uri(),
            candidates: two(),
        },
        KeyExists {
            token: token(),
            key: "label `r2026`".into(),
        },
        KeyUnsuitable {
            token: token(),
            key: "label `r2026`".into(),
            reason: reason(),
        },
        KeyUnnamed { uri: uri() },
        MechanismUnsupported {
            token: token(),
            mechanism: "CKM_EDDSA".into(),
        },
        PinWrong {
            token: token(),
            pin: self::Pin::User,
            state: PinState::Untouched,
        },
        PinWrong {
            token: token(),
            pin: self::Pin::User,
            state: PinState::FinalTry,
        },
        PinWrong {
            token: token(),
            pin: self::Pin::Admin,
            state: PinState::Locked,
        },
        PinWrong {
            token: token(),
            pin: self::Pin::User,
            state: PinState::Left(2),
        },
        PinLocked {
            token: token(),
            pin: self::Pin::User,
        },
        PinLocked {
            token: token(),
            pin: self::Pin::Admin,
        },
        FinalTry {
            token: token(),
            pin: self::Pin::User,
        },
        PinNotSet { token: token() },
        Pin {
            token: token(),
            pin: self::Pin::User,
            source: PinError::Declined,
        },
        SessionLost {
            token: token(),
            reason: reason(),
        },
        Busy {
            token: token(),
            reason: reason(),
        },
        Held {
            reader: "Yubico YubiKey 00 00".into(),
            holders: vec![],
        },
        Held {
            reader: "Yubico YubiKey 00 00".into(),
            holders: vec!["scdaemon (process 4711)".into()],
        },
        NoCardService { reason: reason() },
        SlotEmpty { token: token() },
        SlotTaken {
            token: token(),
            key: "A1B2C3D4E5F60718293A4B5C6D7E8F9001122334 (ed25519)".into(),
        },
        TouchMissing { token: token() },
        Counter {
            token: token(),
            before: 7,
            after: 9,
        },
        Unexpected {
            token: token(),
            call: "C_Sign",
            answer: text(),
        },
        File {
            path: text(),
            reason: reason(),
        },
    ]
}

fn home_errors() -> Vec<HomeError> {
    let ssh_key = |fault| ConfigFault::SshKey {
        approver: approver(),
        fault,
    };
    let in_home = ConfigFault::InHome {
        key: "inbox",
        path: path(),
    };
    let config = ConfigFault::UnknownKey {
        key: "tokn".into(),
        nearest: "token".into(),
    };
    let nested = ConfigFault::Nested;
    let misplaced = ConfigFault::Misplaced {
        key: "approvals".into(),
        title: "[repository]",
    };
    vec![
        HomeError::Missing(path()),
        HomeError::Exists(path()),
        HomeError::Open {
            path: path(),
            mode: 0o755,
            wanted: 0o700,
        },
        HomeError::Owner {
            path: path(),
            owner: 1000,
        },
        HomeError::Within(path()),
        HomeError::Busy(path()),
        HomeError::NoSuchGrant(text()),
        HomeError::AmbiguousGrant(text()),
        HomeError::Config(ConfigError {
            path: path(),
            fault: config,
        }),
        HomeError::Config(ConfigError {
            path: path(),
            fault: misplaced,
        }),
        HomeError::Config(ConfigError {
            path: path(),
            fault: in_home,
        }),
        HomeError::Config(ConfigError {
            path: path(),
            fault: nested,
        }),
        HomeError::Config(ConfigError {
            path: path(),
            fault: ConfigFault::Domain("a b".into()),
        }),
        HomeError::Config(ConfigError {
            path: path(),
            fault: ConfigFault::Malformed {
                line: 3,
                reason: text(),
            },
        }),
        HomeError::Config(ConfigError {
            path: path(),
            fault: ConfigFault::TooFewApprovers {
                needed: 2,
                approvers: 1,
            },
        }),
        HomeError::Config(ConfigError {
            path: path(),
            fault: ConfigFault::ApproverTwice(approver()),
        }),
        HomeError::Config(ConfigError {
            path: path(),
            fault: ConfigFault::NoKey(approver()),
        }),
        HomeError::Config(ConfigError {
            path: path(),
            fault: ssh_key(BadSshKey::Malformed(text())),
        }),
        HomeError::Config(ConfigError {
            path: path(),
            fault: ssh_key(BadSshKey::Kind("ssh-dss".into())),
        }),
        HomeError::ApproverCertificate {
            approver: approver(),
            path: path(),
            fault: BadCertificate::Secret,
        },
        HomeError::Nonce {
            path: path(),
            fault: BadMac::Nonce,
        },
        HomeError::Certificate {
            path: path(),
            fault: BadCertificate::NotOne(2),
        },
        HomeError::Grant {
            path: path(),
            fault: BadGrant::NoBuilder,
        },
        HomeError::LogKey {
            path: path(),
            fault: BadNoteKey::Form,
        },
        HomeError::OtherLogKey(path()),
        HomeError::Ledger(ledger_error()),
        HomeError::Ledger(LedgerError {
            path: path(),
            fault: LedgerFault::TooLarge { bytes: 70_000 },
        }),
        HomeError::Ledger(LedgerError {
            path: path(),
            fault: LedgerFault::NotOurs,
        }),
        HomeError::Ledger(LedgerError {
            path: path(),
            fault: LedgerFault::NoHash(7),
        }),
        HomeError::Ledger(LedgerError {
            path: path(),
            fault: LedgerFault::Row(id()),
        }),
        HomeError::Ledger(LedgerError {
            path: path(),
            fault: LedgerFault::Schema(3),
        }),
        HomeError::Ledger(LedgerError {
            path: path(),
            fault: LedgerFault::Revoked(id()),
        }),
        HomeError::Ledger(LedgerError {
            path: path(),
            fault: LedgerFault::Twice("released"),
        }),
        HomeError::Ledger(LedgerError {
            path: path(),
            fault: LedgerFault::NoIntent("released"),
        }),
        HomeError::Ledger(LedgerError {
            path: path(),
            fault: LedgerFault::Mode("delete".into()),
        }),
        HomeError::Ledger(LedgerError {
            path: path(),
            fault: LedgerFault::Unsettled(file()),
        }),
        HomeError::File(file()),
    ]
}

fn key_troubles() -> Vec<KeyTrouble> {
    let (certificate, reason) = (key(), text);
    vec![
        KeyTrouble::Certificate {
            certificate,
            reason: reason(),
        },
        KeyTrouble::CertificateExpired {
            certificate,
            at: at(),
        },
        KeyTrouble::CertificateRevoked {
            certificate,
            reason: reason(),
        },
        KeyTrouble::KeyExpired {
            key: key(),
            at: at(),
        },
        KeyTrouble::KeyRevoked {
            key: key(),
            reason: reason(),
        },
        KeyTrouble::NotForSigning { key: key() },
        KeyTrouble::NoSuchKey {
            certificate,
            key: text(),
        },
    ]
}

fn bad_signatures() -> Vec<BadSignature> {
    vec![
        BadSignature::Malformed(text()),
        BadSignature::NotOne("several packets".into()),
        BadSignature::Armoured,
        BadSignature::Unhashed,
        BadSignature::Rewritten,
        BadSignature::Version(6),
        BadSignature::WrongType("Text".into()),
        BadSignature::Hash("SHA1".into()),
        BadSignature::Policy(text()),
        BadSignature::OtherKey {
            issuer: text(),
            certificate: key(),
        },
        BadSignature::Key(KeyTrouble::KeyExpired {
            key: key(),
            at: at(),
        }),
        BadSignature::Future { created: at() },
        BadSignature::Ends,
        BadSignature::Mismatch("foo.tar.xz".into()),
    ]
}

fn evidence_errors() -> Vec<EvidenceError> {
    let bad_name = "../x".parse::<ArtifactName>().expect_err("refused");
    let bad_id = "x".parse::<GrantId>().expect_err("refused");
    let manifests = [
        BadManifest::Text(BadText::CarriageReturn),
        BadManifest::Text(BadText::NoFinalNewline),
        BadManifest::Text(BadText::NotUtf8),
        BadManifest::Header {
            line: 3,
            expected: "# builder: ",
            found: text(),
        },
        BadManifest::Grant(bad_id),
        BadManifest::Entry { line: 7 },
        BadManifest::Name {
            line: 7,
            source: bad_name,
        },
        BadManifest::List(BadList::Empty),
        BadManifest::List(BadList::TooMany),
        BadManifest::List(BadList::Unsorted { name: artifact() }),
        BadManifest::List(BadList::Clash {
            first: "Tool".into(),
            second: "tool".into(),
        }),
    ];
    let file = || "build.manifest".to_owned();
    let bad_pem = || BadEd25519Key::Public;
    let statements = [
        BadStatement::Json(text()),
        BadStatement::Type(text()),
        BadStatement::NoDigest(artifact()),
        BadStatement::Time(text()),
        BadStatement::List(BadList::Empty),
    ];
    let envelopes = [
        BadEnvelope::Json(text()),
        BadEnvelope::PayloadType("text/plain".into()),
        BadEnvelope::NotOne(2),
        BadEnvelope::Base64("payload"),
        BadEnvelope::Signature,
    ];
    let macs = [BadMac::Malformed, BadMac::Mismatch("build.manifest")];
    let mut errors = vec![
        EvidenceError::BuildKey {
            builder: builder(),
            fault: BadBuilderKey::OpenPgp(BadCertificate::Secret),
        },
        EvidenceError::BuildKey {
            builder: builder(),
            fault: BadBuilderKey::Ed25519(bad_pem()),
        },
        EvidenceError::BuildKey {
            builder: builder(),
            fault: BadBuilderKey::Ed25519(BadEd25519Key::SmallOrder),
        },
        EvidenceError::SharedKey {
            first: builder(),
            second: other_builder(),
        },
        EvidenceError::Missing(file()),
        EvidenceError::Signature {
            file: file(),
            fault: BadSignature::Mismatch(file()),
        },
        EvidenceError::NotABuilder {
            file: file(),
            issuer: text(),
            builders: vec![(builder(), key())],
        },
        EvidenceError::ByOther {
            file: file(),
            builder: builder(),
            signer: other_builder(),
        },
        EvidenceError::OtherGrant {
            file: file(),
            found: Some(id().to_string()),
            expected: GrantId::of(b"other"),
        },
        EvidenceError::OtherGrant {
            file: file(),
            found: None,
            expected: GrantId::of(b"other"),
        },
        EvidenceError::OtherBuilder {
            found: builder(),
            signer: other_builder(),
        },
        EvidenceError::OtherBuild {
            found: "foo 1".into(),
            expected: "foo 2".into(),
        },
        EvidenceError::OtherArtifact {
            file: "foo.sig".into(),
            found: None,
            domain: "example.org".into(),
        },
        EvidenceError::OtherArtifact {
            file: "foo.sig".into(),
            found: Some("bar".into()),
            domain: "example.org".into(),
        },
        EvidenceError::Name {
            file: "../x.sig".into(),
            fault: "../x".parse::<ArtifactName>().expect_err("refused"),
        },
        EvidenceError::List(BadList::TooMany),
        EvidenceError::NameNotAllowed {
            name: artifact(),
            patterns: vec!["`bar*`".into()],
        },
        EvidenceError::TooMany { count: 3, limit: 2 },
        EvidenceError::OutOfTime {
            file: file(),
            at: at(),
            not_before: at(),
            expires: at(),
        },
        EvidenceError::Digest {
            name: artifact(),
            builder: builder(),
            found: digest("a"),
            expected: digest("b"),
        },
        EvidenceError::Quorum {
            quorum: 2,
            builders: vec![],
        },
        EvidenceError::Quorum {
            quorum: 2,
            builders: vec![builder()],
        },
        EvidenceError::TooFew {
            name: artifact(),
            quorum: 3,
            builders: vec![builder(), other_builder()],
        },
        dissent(),
    ];
    errors.extend(statements.map(EvidenceError::from));
    errors.extend(envelopes.map(EvidenceError::from));
    errors.extend(macs.map(|fault| EvidenceError::Mac {
        file: "build.manifest.mac".into(),
        fault,
    }));
    errors.extend(manifests.map(EvidenceError::from));
    errors
}

fn dissent() -> EvidenceError {
    let (one, other) = ((builder(), digest("a")), (other_builder(), digest("b")));
    Box::new(Dissent {
        name: artifact(),
        one,
        other,
        differences: Differences::new(),
    })
    .into()
}

fn policy_errors() -> Vec<PolicyError> {
    let grant = || id().short();
    let not_counted = vec![(approver(), BadApproval::Stranger(text()))];
    vec![
        PolicyError::Revoked {
            grant: grant(),
            at: at(),
        },
        PolicyError::Approvals {
            grant: grant(),
            needed: 2,
            have: vec![],
            not_counted: vec![],
        },
        PolicyError::Approvals {
            grant: grant(),
            needed: 2,
            have: vec![approver()],
            not_counted,
        },
        PolicyError::Changed {
            grant: grant(),
            file: "alice.sig".into(),
        },
        PolicyError::Embargo {
            grant: grant(),
            approved: at(),
            until: at(),
        },
        PolicyError::Older {
            version: "1.2.3".parse().expect("a version"),
            newer: "1.2.4".parse().expect("a version"),
            grant: grant(),
        },
        PolicyError::Home(HomeError::Busy(path())),
    ]
}

fn approve_errors() -> Vec<ApproveError> {
    let grant = || id().short();
    let faults = vec![
        BadApproval::Stranger(text()),
        BadApproval::Other(approver()),
        BadApproval::OpenPgp(BadSignature::Mismatch("the grant".into())),
        BadApproval::Key(KeyTrouble::KeyRevoked {
            key: key(),
            reason: text(),
        }),
        BadApproval::Ssh(BadSshSignature::Malformed(text())),
        BadApproval::Ssh(BadSshSignature::Namespace {
            found: "git".into(),
            expected: "countersign-grant",
        }),
        BadApproval::Ssh(BadSshSignature::Algorithm {
            key: "sk-ssh-ed25519@openssh.com".into(),
            found: "rsa-sha2-512".into(),
        }),
        BadApproval::Ssh(BadSshSignature::Mismatch),
        BadApproval::Ssh(BadSshSignature::Untouched),
    ];
    let mut errors = vec![
        ApproveError::NotIssued(grant()),
        ApproveError::Over {
            grant: grant(),
            reason: "was revoked".into(),
        },
        ApproveError::Again {
            approver: approver(),
            grant: grant(),
        },
        ApproveError::Home(HomeError::Busy(path())),
    ];
    errors.extend(faults.into_iter().map(|fault| ApproveError::Approval {
        file: "grant.sig".into(),
        fault,
    }));
    errors
}

fn key_faults() -> Vec<KeyFault> {
    let bad_label = || BadLabel::Missing("grant");
    vec![
        KeyFault::OpenPgp(BadBuildKey::Malformed(text())),
        KeyFault::OpenPgp(BadBuildKey::Label(bad_label())),
        KeyFault::OpenPgp(BadBuildKey::NoSecret(text())),
        KeyFault::Ed25519(BadEd25519Key::Secret),
        KeyFault::Nonce(BadMac::Nonce),
        KeyFault::Empty,
        KeyFault::Public,
        KeyFault::Label(bad_label()),
        KeyFault::Label(BadLabel::Unreadable(text())),
        KeyFault::NotText,
        KeyFault::OtherScheme {
            found: Scheme::Hmac,
            expected: Scheme::Dsse,
        },
        KeyFault::NoGrant,
        KeyFault::OtherGrant(id().short()),
        KeyFault::NotInGrant(id().short()),
        KeyFault::from(EvidenceError::SharedKey {
            first: builder(),
            second: other_builder(),
        }),
        KeyFault::Token(MakeError::WrongAnswer),
    ]
}

fn build_errors() -> Vec<BuildError> {
    let grant = || id().short();
    let mut errors = vec![
        BuildError::NotIssued(id()),
        BuildError::NotYetValid {
            grant: grant(),
            not_before: at(),
        },
        BuildError::Expired {
            grant: grant(),
            expires: at(),
        },
        BuildError::OtherReleaseKey {
            granted: key(),
            ours: key(),
        },
        BuildError::NonceGone { grant: grant() },
        BuildError::NonceChanged { builder: builder() },
        BuildError::Closed {
            grant: grant(),
            builders: vec![builder(), other_builder()],
            at: at(),
        },
        BuildError::Extra {
            folder: path(),
            name: "extra\u{1b}[2J".into(),
            builder: Some(builder()),
        },
        BuildError::Extra {
            folder: path(),
            name: "extra".into(),
            builder: None,
        },
        BuildError::MissingArtifact {
            name: artifact(),
            folder: path(),
        },
        BuildError::TooLarge {
            name: artifact(),
            limit: 10,
        },
        BuildError::File(file()),
        BuildError::Output(file()),
        BuildError::IntoItself(path()),
        BuildError::Home(ledger_error().into()),
        BuildError::Evidence {
            builder: Some(builder()),
            fault: Box::new(EvidenceError::Missing("build.manifest".into())),
        },
    ];
    errors.extend(key_troubles().into_iter().map(BuildError::ReleaseKey));
    errors.extend(policy_errors().into_iter().map(BuildError::Policy));
    errors.extend(
        evidence_errors()
            .into_iter()
            .map(|fault| BuildError::Evidence {
                builder: None,
                fault: fault.into(),
            }),
    );
    errors
}

fn release_errors() -> Vec<ReleaseError> {
    let sums = Sums::parse(b"x").expect_err("refused");
    let mut errors = vec![
        ReleaseError::ListOnly("foo.tar.xz.asc".into()),
        ReleaseError::OtherForm("SHA256SUMS.asc".into()),
        ReleaseError::Missing(text()),
        ReleaseError::Extra(text()),
        ReleaseError::TooLarge {
            file: text(),
            limit: 10,
        },
        ReleaseError::OtherGrant {
            file: text(),
            found: None,
            expected: id(),
        },
        ReleaseError::OtherGrant {
            file: text(),
            found: Some(text()),
            expected: id(),
        },
        ReleaseError::OtherKey {
            file: text(),
            found: key(),
            expected: key(),
        },
        ReleaseError::Sums(sums),
        ReleaseError::Sums(BadSums::Entry { line: 2 }),
        ReleaseError::Sums(BadSums::Path {
            line: 2,
            path: "x/y".into(),
        }),
        ReleaseError::Sums(BadSums::Evidence),
        ReleaseError::Digest {
            file: text(),
            found: digest("a"),
            expected: digest("b"),
        },
        ReleaseError::Grant(Grant::parse(b"{}").expect_err("refused")),
        ReleaseError::Evidence {
            builder: builder(),
            fault: EvidenceError::Missing(text()).into(),
        },
        ReleaseError::EvidenceMisplaced { builder: builder() },
        ReleaseError::Quorum(EvidenceError::Quorum {
            quorum: 2,
            builders: vec![builder()],
        }),
        ReleaseError::NotABuilder { builder: builder() },
        ReleaseError::NotAttested,
        ReleaseError::File(file()),
        ReleaseError::Copy(file()),
    ];
    errors.extend(
        bad_signatures()
            .into_iter()
            .map(|fault| ReleaseError::Signature {
                file: "foo.asc".into(),
                fault,
            }),
    );
    errors
}

fn not_pushed(fault: impl Into<PushError>) -> CliError {
    HostError::NotPushed {
        folder: path(),
        fault: Box::new(fault.into()),
    }
    .into()
}

pub(in crate::cli) fn every_error() -> Vec<CliError> {
    let period: Period = "200y".parse().expect("a period");
    let bad_name = || "a/b".parse::<ArtifactName>().expect_err("refused");
    let uri = "pkcs11:pin-value=1"
        .parse::<crate::token::TokenUri>()
        .expect_err("refused");
    let uri_text = || "pkcs11:token=release".to_owned();
    let manifest =
        Manifest::parse(include_bytes!("../../../tests/data/build.manifest")).expect("the vector");
    assert_eq!(manifest.builder, builder());

    let mut errors: Vec<CliError> = vec![
        CliError::Usage(text()),
        CliError::NoBuildKey(path()),
        CliError::BuildKeyOpen {
            path: path(),
            mode: 0o644,
        },
        CliError::Credential {
            name: text(),
            reason: "$CREDENTIALS_DIRECTORY is not set",
        },
        CliError::NotAdmitted { refused: 1, all: 3 },
        CliError::DidNotHold { refused: 1, all: 3 },
        CliError::BadGrant {
            path: path(),
            fault: BadGrant::NoPattern,
        },
        HostError::Nowhere.into(),
        HostError::NoGrant(text()).into(),
        HostError::NoEntry(9).into(),
        CliError::Proof {
            path: path(),
            fault: BadProof::Form.into(),
        },
        CliError::Proof {
            path: path(),
            fault: BadProof::NoEntry.into(),
        },
        CliError::Proof {
            path: path(),
            fault: BadProof::Path { index: 3, size: 9 }.into(),
        },
        CliError::Proof {
            path: path(),
            fault: BadProof::Checkpoint(BadNote::Unsigned(text()).into()).into(),
        },
        CliError::Proof {
            path: path(),
            fault: NotLogged::Entry {
                index: 3,
                reason: text(),
            },
        },
        CliError::Proof {
            path: path(),
            fault: NotLogged::OtherFile {
                index: 3,
                digest: digest("a"),
            },
        },
        CliError::Proof {
            path: path(),
            fault: NotLogged::OtherSignature {
                index: 3,
                what: "key",
            },
        },
        CliError::Proof {
            path: path(),
            fault: NotLogged::File(file()),
        },
        CliError::LogKey {
            key: text(),
            fault: BadNoteKey::Id,
        },
        HostError::Checkpoint {
            path: path(),
            fault: BadCheckpoint::Form,
        }
        .into(),
        HostError::Checkpoint {
            path: path(),
            fault: BadNote::TooLarge.into(),
        }
        .into(),
        HostError::Checkpoint {
            path: path(),
            fault: BadNote::Form("not UTF-8").into(),
        }
        .into(),
        HostError::Checkpoint {
            path: path(),
            fault: BadNote::Signature(text()).into(),
        }
        .into(),
        HostError::Checkpoint {
            path: path(),
            fault: BadCheckpoint::Origin {
                found: text(),
                expected: "example.org/log".into(),
            },
        }
        .into(),
        kept_release(NoCheckpoint::Release(ReleaseError::Missing(text()))),
        kept_release(NoCheckpoint::Release(ReleaseError::Signature {
            file: text(),
            fault: BadSignature::Mismatch(text()),
        })),
        kept_release(NoCheckpoint::NoRoot),
        kept_release(NoCheckpoint::NotAnnounced { index: 7 }),
        HostError::NotLogged {
            file: path(),
            digest: digest("a"),
        }
        .into(),
        HostError::SeveralEntries {
            file: path(),
            entries: vec![3, 9],
        }
        .into(),
        BadLog::Missing(3).into(),
        BadLog::Misplaced(-1).into(),
        BadLog::Altered(3).into(),
        BadLog::Appended(3).into(),
        BadLog::Hash {
            number: 7,
            index: 3,
        }
        .into(),
        BadLog::CutOff(3).into(),
        BadLog::Unreadable {
            index: 3,
            reason: text(),
        }
        .into(),
        BadLog::NotBegun.into(),
        BadLog::OtherKey {
            found: text(),
            expected: text(),
        }
        .into(),
        BadLog::Table {
            index: 3,
            table: "grants",
        }
        .into(),
        BadLog::Surplus {
            table: "grants",
            rows: 1,
        }
        .into(),
        BadLog::Structure(text()).into(),
        BadLog::Shorter {
            name: text(),
            size: 9,
            here: 3,
        }
        .into(),
        BadLog::Forked {
            name: text(),
            size: 9,
        }
        .into(),
        BadLog::Ledger(ledger_error()).into(),
        ExportError::Checkpoint {
            path: path(),
            fault: BadCheckpoint::Form,
        }
        .into(),
        ExportError::Forked {
            path: path(),
            size: 9,
        }
        .into(),
        ExportError::Longer {
            path: path(),
            size: 9,
            here: 3,
        }
        .into(),
        ExportError::Altered(path()).into(),
        ExportError::AlteredFrom {
            path: path(),
            index: 3,
        }
        .into(),
        ExportError::Missing(path()).into(),
        ExportError::Entry {
            index: 3,
            entries: path(),
            tile: path(),
        }
        .into(),
        ExportError::NoEntry {
            index: 3,
            path: path(),
        }
        .into(),
        ExportError::Surplus {
            path: path(),
            last: 3,
        }
        .into(),
        ExportError::Size {
            path: path(),
            hashes: 7,
        }
        .into(),
        ExportError::Hash {
            path: path(),
            index: 3,
        }
        .into(),
        ExportError::Root {
            path: path(),
            size: 9,
        }
        .into(),
        ExportError::Log(BadLog::Unreadable {
            index: 3,
            reason: text(),
        })
        .into(),
        ExportError::Log(BadLog::Shorter {
            name: text(),
            size: 9,
            here: 3,
        })
        .into(),
        ExportError::Strange(file()).into(),
        ExportError::File(file()).into(),
        ExportError::Ledger(ledger_error()).into(),
        HostError::Signer {
            program: "ssh-keygen".into(),
            reason: text(),
        }
        .into(),
        HostError::NotApproved.into(),
        HostError::NothingToCompare(id().short()).into(),
        RevokeError::NotIssued(id().short()).into(),
        RevokeError::Again {
            grant: id().short(),
            entry: 9,
        }
        .into(),
        AttestError::Expired { at: at() }.into(),
        AttestError::GrantExpired { at: at() }.into(),
        AttestError::Key(KeyFault::NotText).into(),
        AttestError::NoPredicate.into(),
        AttestError::Name {
            path: path(),
            fault: bad_name(),
        }
        .into(),
        AttestError::NotAllowed {
            path: path(),
            patterns: vec!["`foo*`".into()],
        }
        .into(),
        AttestError::SecretKey { path: path() }.into(),
        AttestError::OwnFile { path: path() }.into(),
        AttestError::SeveralFolders {
            first: "a".into(),
            second: "b".into(),
        }
        .into(),
        AttestError::List(BadList::Empty).into(),
        AttestError::File(file()).into(),
        AdmitError::Name(bad_name()).into(),
        AdmitError::OtherName {
            found: text(),
            expected: "foo-1".into(),
        }
        .into(),
        AdmitError::Release(ReleaseError::Missing(text())).into(),
        AdmitError::NotAnInbox(path()).into(),
        AdmitError::NotReleases(path()).into(),
        AdmitError::SameFolder(path()).into(),
        AdmitError::Occupied(text()).into(),
        AdmitError::Certificate(KeyTrouble::CertificateExpired {
            certificate: key(),
            at: at(),
        })
        .into(),
        AdmitError::File(file()).into(),
        GrantError::ReleaseKey(KeyTrouble::CertificateExpired {
            certificate: key(),
            at: at(),
        })
        .into(),
        GrantError::Grant(BadGrant::BuilderTwice("m1".into())).into(),
        GrantError::Grant(BadGrant::Source).into(),
        GrantError::Grant(BadGrant::Quorum {
            quorum: 2,
            builders: 1,
        })
        .into(),
        GrantError::Grant(BadGrant::NoSuchEvidence {
            scheme: Scheme::Dsse,
            form: EvidenceForm::PerArtifact,
        })
        .into(),
        GrantError::NoEnrolment(builder()).into(),
        GrantError::EnrolledKey {
            builder: builder(),
            path: path(),
            fault: BadEd25519Key::Public.into(),
        }
        .into(),
        GrantError::EnrolledTrouble {
            builder: builder(),
            path: path(),
            fault: KeyTrouble::NotForSigning { key: key() },
        }
        .into(),
        GrantError::Builders(EvidenceError::SharedKey {
            first: builder(),
            second: other_builder(),
        })
        .into(),
        GrantError::Older {
            project: "foo".parse().expect("a name"),
            version: "1.2.3".parse().expect("a version"),
            newer: "1.2.4".parse().expect("a version"),
            entry: 9,
        }
        .into(),
        GrantError::There {
            path: path(),
            issued: Some(7),
        }
        .into(),
        GrantError::There {
            path: path(),
            issued: None,
        }
        .into(),
        GrantError::TooLong(period).into(),
        GrantError::Home(HomeError::Busy(path())).into(),
        GrantError::Ledger(ledger_error()).into(),
        GrantError::File(FileError::new(path(), FileFault::Exists)).into(),
        CountersignError::OtherKey { fingerprint: key() }.into(),
        CountersignError::OtherEvidence {
            before: digest("a"),
            now: digest("b"),
        }
        .into(),
        CountersignError::KeptOther(text()).into(),
        CountersignError::KeptGone(text()).into(),
        CountersignError::Kept {
            file: text(),
            fault: BadSignature::Ends,
        }
        .into(),
        CountersignError::Revoked(id().short(), text()).into(),
        CountersignError::OtherCoverage {
            began: Coverage::Each,
        }
        .into(),
        CountersignError::OtherCoverage {
            began: Coverage::ListOnly,
        }
        .into(),
        CountersignError::Sign {
            file: text(),
            fault: MakeError::WrongAnswer,
        }
        .into(),
        CountersignError::Sign {
            file: text(),
            fault: MakeError::Invalid(text()),
        }
        .into(),
        CountersignError::Sign {
            file: text(),
            fault: MakeError::Token(TokenError::PinLocked {
                token: text(),
                pin: Pin::User,
            }),
        }
        .into(),
        CountersignError::Token(TokenError::PinLocked {
            token: text(),
            pin: Pin::User,
        })
        .into(),
        CountersignError::Occupied(path()).into(),
        CountersignError::File(file()).into(),
        CountersignError::Ledger(ledger_error()).into(),
        not_pushed(file()),
        not_pushed(PushError::Occupied(path())),
        not_pushed(PushError::NotAnInbox(path())),
        not_pushed(PushError::Exchanged(path())),
        not_pushed(ReleaseError::File(file())),
        not_pushed(ReleaseError::Missing(text())),
        not_pushed(ReleaseError::Signature {
            file: text(),
            fault: BadSignature::Future { created: at() },
        }),
        not_pushed(ReleaseError::Signature {
            file: text(),
            fault: BadSignature::Key(KeyTrouble::KeyExpired {
                key: key(),
                at: at(),
            }),
        }),
        HostError::NotExported(ExportError::Strange(file()).into()).into(),
        not_pushed(ReleaseError::Copy(file())),
        not_pushed(ledger_error()),
        HostError::NotExported(file().into()).into(),
        HostError::NotExported(
            ExportError::Forked {
                path: path(),
                size: 9,
            }
            .into(),
        )
        .into(),
        HostError::NotExported(ExportError::File(file()).into()).into(),
        PushError::NoInbox.into(),
        PushError::NotOurs(path()).into(),
        PushError::Revoked(id().short()).into(),
        PushError::Home(HomeError::Busy(path())).into(),
        KeyError::UserId(text()).into(),
        KeyError::NoDomain.into(),
        KeyError::Domain(text()).into(),
        KeyError::TooLong(period).into(),
        KeyError::Trouble(KeyTrouble::NotForSigning { key: key() }).into(),
        KeyError::Trouble(KeyTrouble::CertificateExpired {
            certificate: key(),
            at: at(),
        })
        .into(),
        KeyError::PrimaryElsewhere(key()).into(),
        KeyError::NotOnToken {
            uri: uri_text(),
            certificate: key(),
            keys: vec![text()],
        }
        .into(),
        KeyError::Several {
            uri: uri_text(),
            certificate: key(),
            keys: vec![text(), text()],
        }
        .into(),
        KeyError::OtherKey(key()).into(),
        KeyError::Make(MakeError::WrongAnswer).into(),
        KeyError::Token(TokenError::PinLocked {
            token: text(),
            pin: Pin::User,
        })
        .into(),
        KeyError::Home(HomeError::Exists(path())).into(),
        KeyError::Ledger(ledger_error()).into(),
        HostError::Uri(uri).into(),
        HostError::NotReconciled {
            card: text(),
            findings: vec![text(), text()],
            other_key: false,
        }
        .into(),
        HostError::NotReconciled {
            card: text(),
            findings: vec![text()],
            other_key: true,
        }
        .into(),
        exported_not_reconciled(false, &[]),
        exported_not_reconciled(false, &[7]),
        exported_not_reconciled(false, &[7, 11]),
        exported_not_reconciled(true, &[7]),
        ReconcileError::Uncounted(text()).into(),
        ReconcileError::UnknownCard {
            card: text(),
            known: vec![text(), text()],
        }
        .into(),
        ReconcileError::UnknownCard {
            card: text(),
            known: vec![],
        }
        .into(),
        ReconcileError::NothingToAcknowledge(text()).into(),
        ReconcileError::Token(TokenError::SlotEmpty { token: text() }).into(),
        ReconcileError::Home(HomeError::Busy(path())).into(),
        ReconcileError::Export(ExportError::Missing(path())).into(),
        CliError::Unwritten(std::io::Error::other("disk full")),
    ];
    let certificates = [
        BadCertificate::Malformed(text()),
        BadCertificate::NotOne(0),
        BadCertificate::Secret,
        BadCertificate::Version,
        BadCertificate::TooManyParts,
        BadCertificate::SmallOrder,
    ];
    errors.extend(certificates.map(|fault| CliError::Certificate {
        path: path(),
        fault,
    }));
    errors.extend(key_faults().into_iter().map(|fault| CliError::BuildKey {
        path: path(),
        fault,
    }));
    errors.extend(approve_errors().into_iter().map(CliError::from));
    errors.extend(release_errors().into_iter().map(CliError::from));
    errors.extend(build_errors().into_iter().map(CliError::from));
    errors.extend(token_errors().into_iter().map(CliError::from));
    let pins = [
        PinError::Source,
        PinError::Unreadable {
            from: text(),
            reason: text(),
        },
        PinError::TooOpen {
            path: text(),
            mode: 0o644,
        },
        PinError::Empty { from: text() },
        PinError::Malformed {
            from: text(),
            reason: "it has a control character",
        },
        PinError::NoCredentials { name: text() },
    ];
    errors.extend(pins.map(|source| {
        TokenError::Pin {
            token: text(),
            pin: Pin::User,
            source,
        }
        .into()
    }));
    errors.extend(home_errors().into_iter().map(CliError::from));
    errors.extend(file_faults().into_iter().map(CliError::from));
    errors
}

#[test]
fn errors_are_lower_case_without_a_full_stop_and_name_nothing_twice() {
    for error in every_error() {
        let text = error.to_string();
        assert!(!text.ends_with('.'), "{text}");
        let first = text.chars().next().expect("not empty");
        assert!(
            !first.is_uppercase()
                || ["SHA256SUMS", "PKCS#11"]
                    .iter()
                    .any(|name| text.starts_with(name)),
            "{text}"
        );
    }
}
