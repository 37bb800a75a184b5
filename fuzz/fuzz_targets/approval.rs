//! Reads an approval of the grant in the test data, which one of two approvers may have made.
#![no_main]

use std::sync::LazyLock;

use countersign::approver::Approver;
use countersign::domain::grant::Grant;
use countersign::domain::release::{ApprovalForm, approval_name};
use countersign::openpgp::Certificate;
use countersign::ssh::key::PublicKey;
use countersign::steps::evidence::{approval, kept};
use libfuzzer_sys::fuzz_target;

const SSH_KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPB2yYrtKnzivvS612NM30DRrK8id3CNJpcioF+8tzsY";

static GRANT: LazyLock<Grant> = LazyLock::new(|| {
    Grant::parse(include_bytes!("../../tests/data/grant.json")).expect("the vector")
});

static APPROVERS: LazyLock<[Approver; 1]> = LazyLock::new(|| {
    let certificate = include_bytes!("../../tests/data/release/release.pgp");
    [Approver {
        name: "alice".parse().expect("a name"),
        certificates: vec![Certificate::parse(certificate).expect("the vector")],
        ssh_keys: vec![PublicKey::parse(SSH_KEY).expect("a key")],
    }]
});

fuzz_target!(|bytes: &[u8]| {
    let now = GRANT.terms().not_before;
    let approved = approval::check(&GRANT, bytes, &*APPROVERS, now);
    if let Ok(approved) = approved {
        let name = approval_name(&approved.approver, approved.form);
        kept::check_approval(&name, &approved.kept).expect("as it was kept");
    }
    for form in [ApprovalForm::OpenPgp, ApprovalForm::Ssh] {
        let _ = kept::check_approval(&approval_name(&APPROVERS[0].name, form), bytes);
    }
});
