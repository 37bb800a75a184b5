//! The contract of every token, tested with SoftHSM2, Kryoptic, cards and a file; and the pitfalls
//! of PKCS#11 that can be shown without hardware.
//!
//! Each test on a software token runs its scenario in a child process, which is this program
//! started again with the token's configuration in its environment (see `on!`).

use std::collections::BTreeSet;
use std::error::Error;
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{any, env, fs, io, thread};

use crate::common::cards::{Reader, Slot, VirtualCard, pin_sources};
use crate::common::tokens::{Kryoptic, PIN, SoftHsm, SoftwareToken};
use crate::common::world::Nobody;
use countersign::domain::key::{
    Curve, HashAlgorithm, KeyKind, MessageDigest, PublicKey, RawSignature,
};
use countersign::domain::signing::Message;
use countersign::domain::time::Timestamp;
use countersign::openpgp::{MakeError, NewCertificate, fingerprint_of, make_certificate};
use countersign::token::{
    self, FoundKey, Interaction, LockedToken, NewKey, PinRequest, PinState, RefusedPins, Token,
    TokenError, TokenUri,
};
use secrecy::SecretString;
use sequoia_openpgp::crypto::mpi;
use sequoia_openpgp::packet::Key;
use sequoia_openpgp::packet::key::{Key4, PublicParts, UnspecifiedRole};
use sequoia_openpgp::types::{Curve as PgpCurve, HashAlgorithm as PgpHash, PublicKeyAlgorithm};

/// Runs a scenario on a fresh token, in a child process that is the same test again. A macro,
/// because a test learns its name only at its own place.
macro_rules! on {
    ($maker:expr, $scenario:expr) => {{
        fn here() {}
        on_a_token_in_a_child(any::type_name_of_val(&here), $maker, $scenario)
    }};
}

// ---- Every token ----

#[test]
fn a_file_keeps_the_contract() {
    let folder = tempfile::tempdir().expect("a folder");
    let uri = |name: &str| format!("file:{}", folder.path().join(name).display());
    keeps_the_contract(&uri, &[KeyKind::Ed25519]);
}

#[test]
fn softhsm_keeps_the_contract() {
    on!(SOFTHSM, |token| keeps_the_contract(
        &|name| token.key_uri(name),
        &KeyKind::ALL
    ));
}

#[test]
fn kryoptic_keeps_the_contract() {
    on!(KRYOPTIC, |token| keeps_the_contract(
        &|name| token.key_uri(name),
        &KeyKind::ALL
    ));
}

/// Every kind of key is generated, found again by its exact URI, and signs every hash.
fn keeps_the_contract(uri: &dyn Fn(&str) -> String, kinds: &[KeyKind]) {
    for &kind in kinds {
        let wanted = parsed(&uri(kind.name()));
        let (exact, mut made) = said(generate(&wanted, kind, &mut Nobody));
        assert_eq!(made.public().algorithm(), kind.name());
        signs_everything(&mut *made);

        let locked = said(find(&exact));
        assert_eq!(locked.public(), Some(made.public()), "{kind}");
        assert_eq!(locked.description().uri, exact);
        assert!(matches!(
            locked.description().pin,
            PinState::Untouched | PinState::NotNeeded
        ));
        let mut found = said(locked.unlock(&mut Nobody));
        assert_eq!(found.public(), made.public());
        signs_everything(&mut *found);

        let listed = said(list_keys(&wanted));
        let listed: Vec<_> = listed
            .iter()
            .map(|key| (&key.token.uri, key.public.as_ref()))
            .collect();
        assert_eq!(listed, [(&exact, Ok(made.public()))]);

        let again = refused(generate(&wanted, kind, &mut Nobody));
        assert!(matches!(again, TokenError::KeyExists { .. }), "{again}");
        assert_eq!(said(list_keys(&wanted)).len(), 1);
    }
}

#[test]
fn a_card_keeps_the_contract() {
    fn here() {}
    let kinds = [
        KeyKind::Rsa2048,
        KeyKind::P521,
        KeyKind::P384,
        KeyKind::P256,
        KeyKind::Ed25519,
    ];
    on_a_card_in_a_child(
        any::type_name_of_val(&here),
        |reader| reader.insert(Slot::First, &[]),
        &kinds,
    );
}

#[test]
fn a_card_of_another_author_keeps_the_contract() {
    fn here() {}
    let kinds = [
        &[
            KeyKind::Rsa4096,
            KeyKind::Rsa3072,
            KeyKind::Rsa2048,
            KeyKind::P521,
        ][..],
        &[KeyKind::P384, KeyKind::P256, KeyKind::Ed25519],
    ];
    let insert = |reader: &Reader| reader.insert_second(Slot::First, &[]);
    on_a_card_in_a_child(any::type_name_of_val(&here), insert, &kinds.concat());
}

/// What the last key of a contract on a card, Ed25519, has signed: twice three hashes, three
/// statements each.
const SIGNED: u32 = 18;

/// As `keeps_the_contract`, with the one key that a card can have replaced again and again.
fn a_card_keeps_its_contract(uri: &str, kinds: &[KeyKind]) {
    for &kind in kinds {
        let wanted = parsed(uri);
        let made = generate_on_card(&wanted, kind, true);
        // Not every card supports every kind.
        if env::var_os("HW_TOKEN").is_some()
            && matches!(made, Err(TokenError::MechanismUnsupported { .. }))
        {
            continue;
        }
        let (exact, mut made) = said(made);
        assert_eq!(made.public().algorithm(), kind.name());
        assert_eq!(
            made.counter().and_then(|counter| counter.signatures),
            Some(0)
        );
        signs_everything(&mut *made);
        let public = made.public().clone();
        // It keeps the card in its transaction.
        drop(made);

        let locked = said(find(&exact));
        assert_eq!(locked.public(), Some(&public), "{kind}");
        assert_eq!(locked.description().uri, exact);
        assert_eq!(locked.description().pin, PinState::Left(3));
        let mut unlocked = said(locked.unlock(&mut Nobody));
        assert_eq!(unlocked.public(), &public);
        signs_everything(&mut *unlocked);
        drop(unlocked);

        let listed = said(list_keys(&wanted));
        let listed: Vec<_> = listed.iter().map(|key| key.public.as_ref()).collect();
        assert_eq!(listed, [Ok(&public)]);

        let again = refused(generate_on_card(&wanted, kind, false));
        assert!(matches!(again, TokenError::KeyExists { .. }), "{again}");
    }
}

fn generate_on_card(
    uri: &TokenUri,
    kind: KeyKind,
    replace: bool,
) -> Result<(TokenUri, Box<dyn Token>), TokenError> {
    let created = Timestamp::from_unix(1_800_000_000);
    let fingerprint = |public: &PublicKey| fingerprint_of(public, created);
    token::generate(
        uri,
        &NewKey {
            kind,
            created,
            fingerprint: &fingerprint,
            replace,
        },
        &RefusedPins::none(),
        &mut Nobody,
    )
}

fn signs_everything(token: &mut dyn Token) {
    let public = token.public().clone();
    let hashes = [
        HashAlgorithm::Sha256,
        HashAlgorithm::Sha384,
        HashAlgorithm::Sha512,
    ];
    for hash in hashes
        .into_iter()
        .filter(|hash| *hash >= public.least_hash())
    {
        let made = statements(token, hash, &mut |message, signature| {
            let what = format!("{} with {hash:?}", public.algorithm());
            let digest = message.digest();
            assert!(verifies(&public, digest, signature), "{what}");
            let other = MessageDigest {
                algorithm: hash,
                bytes: digest.bytes.iter().map(|byte| byte ^ 1).collect(),
            };
            assert!(!verifies(&public, &other, signature), "{what}");
        });
        said(made);
    }
}

/// Has the token sign the three statements of a certificate, and looks at each answer.
fn statements(
    token: &mut dyn Token,
    hash: HashAlgorithm,
    look: &mut dyn FnMut(&Message<'_>, &RawSignature),
) -> Result<(), TokenError> {
    let (public, now) = (token.public().clone(), Timestamp::now());
    let new = NewCertificate {
        user_id: "Test <test@example.org>".to_owned(),
        created: now,
        signed: now,
        expires: None,
        hash,
        domain: Some("example.org".to_owned()),
    };
    let made = make_certificate(&public, &new, &mut |message| {
        let signature = token.sign(message)?;
        look(message, &signature);
        Ok(signature)
    });
    match made {
        Ok(_) => Ok(()),
        Err(MakeError::Token(error)) => Err(error),
        Err(error) => panic!("{error}"),
    }
}

/// Has the token sign something.
fn sign_something(token: &mut dyn Token) -> Result<(), TokenError> {
    let hash = token.public().least_hash();
    statements(token, hash, &mut |_, _| {})
}

// ---- PINs ----

#[test]
fn a_wrong_pin_costs_one_try_on_softhsm() {
    on!(SOFTHSM, a_wrong_pin_costs_one_try);
}

#[test]
fn a_wrong_pin_costs_one_try_on_kryoptic() {
    on!(KRYOPTIC, a_wrong_pin_costs_one_try);
}

fn a_wrong_pin_costs_one_try(token: &SoftwareToken) {
    make(token, "key", KeyKind::P256);
    let mut wrong = Person::who_says("not the PIN");
    let error = refused(locked(&token.prompting_uri("key")).unlock(&mut wrong));
    assert!(matches!(error, TokenError::PinWrong { .. }), "{error}");
    assert_eq!(wrong.asked.len(), 1);
    assert!(wrong.asked[0].token.contains("release") && wrong.asked[0].token.contains("serial"));

    let mut right = Person::who_says(PIN);
    let mut unlocked = said(locked(&token.prompting_uri("key")).unlock(&mut right));
    signs_everything(&mut *unlocked);
    assert_eq!(right.asked.len(), 1);
}

#[test]
fn softhsm_reports_that_a_try_was_lost() {
    on!(SOFTHSM, |token| {
        make(token, "key", KeyKind::P256);
        let error =
            refused(locked(&token.prompting_uri("key")).unlock(&mut Person::who_says("wrong")));
        assert!(
            matches!(
                error,
                TokenError::PinWrong {
                    state: PinState::CountLow,
                    ..
                }
            ),
            "{error:?}"
        );
        let found = locked(&token.key_uri("key"));
        assert_eq!(found.description().pin, PinState::CountLow);
        said(found.unlock(&mut Nobody));
        assert_eq!(
            locked(&token.key_uri("key")).description().pin,
            PinState::Untouched
        );
    });
}

/// Kryoptic locks a PIN after some wrong ones; SoftHSM2 never does.
#[test]
fn the_last_try_is_for_a_person_who_agrees() {
    on!(KRYOPTIC, |token| {
        make(token, "key", KeyKind::P256);
        let unlock =
            |interaction: &mut dyn Interaction, uri: &str| refused(locked(uri).unlock(interaction));
        let state = || locked(&token.key_uri("key")).description().pin;
        let prompt = token.prompting_uri("key");
        let mut tries = 0;
        while state() != PinState::FinalTry {
            tries += 1;
            assert!(tries < 20, "Kryoptic never locks its PIN");
            let error = unlock(&mut Person::who_says("wrong"), &prompt);
            assert!(matches!(error, TokenError::PinWrong { .. }), "{error}");
        }

        // Not unattended, even with the right PIN, and not without consent.
        let error = unlock(&mut Nobody, &token.key_uri("key"));
        assert!(matches!(error, TokenError::FinalTry { .. }), "{error}");
        let mut careful = Person::who_says("wrong");
        careful.agrees = false;
        assert!(matches!(
            unlock(&mut careful, &prompt),
            TokenError::Declined { .. }
        ));
        assert_eq!((careful.final_tries, careful.asked.len()), (1, 0));
        assert_eq!(state(), PinState::FinalTry);

        let mut bold = Person::who_says("wrong");
        let error = unlock(&mut bold, &prompt);
        assert!(matches!(
            error,
            TokenError::PinWrong {
                state: PinState::Locked,
                ..
            } | TokenError::PinLocked { .. }
        ));
        assert_eq!((bold.final_tries, bold.asked.len()), (1, 1));

        // Locked: nobody is asked any more.
        assert_eq!(state(), PinState::Locked);
        let mut late = Person::who_says(PIN);
        assert!(matches!(
            unlock(&mut late, &prompt),
            TokenError::PinLocked { .. }
        ));
        assert_eq!((late.final_tries, late.asked.len()), (0, 0));
    });
}

#[test]
fn a_token_without_a_pin_is_not_asked() {
    on!(SOFTHSM, |token| {
        token.pkcs11_tool([
            "--slot-index",
            "1",
            "--init-token",
            "--label",
            "bare",
            "--so-pin",
            PIN,
        ]);
        let uri = format!(
            "pkcs11:token=bare;object=key?module-path={}",
            token.module().display()
        );
        let mut person = Person::who_says(PIN);
        let error = refused(generate(&parsed(&uri), KeyKind::P256, &mut person));
        assert!(matches!(error, TokenError::PinNotSet { .. }), "{error}");
        assert_eq!(person.asked.len(), 0);
    });
}

#[test]
fn a_pin_that_cannot_be_had_is_no_try() {
    on!(SOFTHSM, |token| {
        make(token, "key", KeyKind::P256);
        let error = refused(locked(&token.prompting_uri("key")).unlock(&mut Nobody));
        assert!(matches!(error, TokenError::Pin { .. }), "{error}");
        fs::remove_file(token.pin_file()).expect("no PIN file");
        let error = refused(locked(&token.key_uri("key")).unlock(&mut Nobody));
        assert!(matches!(error, TokenError::Pin { .. }), "{error}");
        assert_eq!(
            locked(&token.key_uri("key")).description().pin,
            PinState::Untouched
        );
    });
}

#[test]
fn a_pin_comes_from_a_descriptor() {
    on!(SOFTHSM, |token| {
        make(token, "key", KeyKind::P256);
        let (reader, mut writer) = io::pipe().expect("a pipe");
        writeln!(writer, "{PIN}").expect("room in the pipe");
        drop(writer);
        let uri = format!(
            "{}&pin-source=fd:{}",
            token.prompting_uri("key"),
            reader.as_raw_fd()
        );
        let mut unlocked = unlocked(&uri);
        signs_everything(&mut *unlocked);
    });
}

#[test]
fn a_key_may_want_its_pin_before_each_signature() {
    on!(SOFTHSM, |token| {
        token.keypair("EC:prime256v1", "key", "01", &["--always-auth"]);
        for uri in [token.key_uri("key"), token.prompting_uri("key")] {
            let mut person = Person::who_says(PIN);
            let mut unlocked = said(locked(&uri).unlock(&mut person));
            signs_everything(&mut *unlocked);
            signs_everything(&mut *unlocked);
            assert!(person.asked.len() <= 1);
        }
    });
}

// ---- Which token, which key ----

#[test]
fn one_token_must_fit() {
    on!(SOFTHSM, |token| {
        token.add("release");
        token.add("other");
        let module = format!("module-path={}", token.module().display());
        let keys = |attributes: &str| list_keys(&parsed(&format!("pkcs11:{attributes}?{module}")));
        let make = |attributes: &str| {
            let uri = format!("pkcs11:{attributes};object=key?{module}");
            generate(&parsed(&uri), KeyKind::P256, &mut Person::who_says(PIN))
        };

        let error = refused(make("token=release"));
        let TokenError::Ambiguous { candidates, .. } = &error else {
            panic!("{error:?}")
        };
        assert_eq!(candidates.len(), 2);
        let serials: BTreeSet<_> = candidates
            .iter()
            .filter_map(|named| named.split('`').nth(3))
            .collect();
        assert_eq!(serials.len(), 2, "{candidates:?}");

        // The serial number distinguishes two with one label, and both together name one.
        for serial in serials {
            let (exact, _) = said(make(&format!("serial={serial}")));
            assert!(
                exact
                    .to_string()
                    .contains(&format!("token=release;serial={serial};object=key;id=")),
                "{exact}"
            );
            assert!(matches!(
                refused(make(&format!("token=other;serial={serial}"))),
                TokenError::TokenAbsent { .. }
            ));
        }
        said(make(
            "token=other;manufacturer=SoftHSM%20project;model=SoftHSM%20v2",
        ));
        assert_eq!(said(keys("")).len(), 3);
        assert_eq!(said(keys("token=release;object=key")).len(), 2);
        assert_eq!(said(keys("token=other;object=nothing")).len(), 0);

        let error = refused(make("token=absent"));
        let TokenError::TokenAbsent { present, .. } = &error else {
            panic!("{error:?}")
        };
        assert_eq!(present.len(), 3);
        assert!(
            present
                .iter()
                .any(|named| named.starts_with("label `other` serial `")),
            "{present:?}"
        );
        assert!(matches!(
            refused(make("model=Other")),
            TokenError::TokenAbsent { .. }
        ));
        assert!(matches!(
            refused(make("slot-id=4294967295")),
            TokenError::TokenAbsent { .. }
        ));
    });
}

#[test]
fn one_key_must_fit_on_softhsm() {
    on!(SOFTHSM, one_key_must_fit);
}

#[test]
fn one_key_must_fit_on_kryoptic() {
    on!(KRYOPTIC, one_key_must_fit);
}

fn one_key_must_fit(token: &SoftwareToken) {
    for id in ["01", "02"] {
        token.keypair("EC:prime256v1", "twin", id, &[]);
    }
    let error = refused(find(&parsed(&token.key_uri("twin"))));
    let TokenError::Ambiguous { candidates, .. } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(candidates.iter().collect::<BTreeSet<_>>().len(), 2);
    assert!(
        candidates.contains(&"label `twin` id `02`".to_owned()),
        "{candidates:?}"
    );
    for id in ["%01", "%02"] {
        let mut unlocked = unlocked(&token.key_uri(&format!("twin;id={id}")));
        signs_everything(&mut *unlocked);
    }

    // A key may be visible only after login, so that it is absent is known only then.
    let error = refused(locked(&token.key_uri("absent")).unlock(&mut Nobody));
    let TokenError::KeyAbsent { present, .. } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(present, &["label `twin` id `01`", "label `twin` id `02`"]);

    let taken = refused(generate(
        &parsed(&token.key_uri("new;id=%01")),
        KeyKind::P256,
        &mut Nobody,
    ));
    assert!(matches!(taken, TokenError::KeyExists { .. }), "{taken}");
    let nameless = refused(generate(&parsed(&token.uri()), KeyKind::P256, &mut Nobody));
    assert!(
        nameless
            .to_string()
            .contains("does not name the key to generate"),
        "{nameless}"
    );
}

#[test]
fn other_keys_are_refused_before_the_pin() {
    on!(SOFTHSM, |token| {
        token.keypair("EC:secp256k1", "koblitz", "01", &[]);
        token.keypair("rsa:1024", "short", "02", &[]);
        for (label, reason) in [("koblitz", "P-256"), ("short", "1024 bits")] {
            let error = refused(find(&parsed(&token.prompting_uri(label))));
            let TokenError::KeyUnsuitable { reason: why, .. } = &error else {
                panic!("{error}")
            };
            assert!(why.contains(reason), "{error}");
            let listed = said(list_keys(&parsed(&token.prompting_uri(label))));
            assert!(
                listed[0]
                    .public
                    .as_ref()
                    .is_err_and(|why| why.to_string().contains(reason))
            );
        }
    });
}

#[test]
fn half_a_key_pair_is_recognised() {
    on!(SOFTHSM, |token| {
        let unlock = |label: &str| {
            let locked = locked(&token.key_uri(label));
            (locked.public().is_some(), locked.unlock(&mut Nobody))
        };
        // An RSA private key contains its public half; one on a curve does not here.
        token.keypair("rsa:2048", "private-rsa", "01", &[]);
        token.delete("pubkey", "private-rsa");
        let (visible, unlocked) = unlock("private-rsa");
        assert!(!visible);
        signs_everything(&mut *said(unlocked));

        token.keypair("EC:prime256v1", "private-ec", "02", &[]);
        token.delete("pubkey", "private-ec");
        let (visible, unlocked) = unlock("private-ec");
        assert!(!visible);
        assert!(
            refused(unlocked)
                .to_string()
                .contains("public half is not on the token")
        );

        token.keypair("EC:prime256v1", "public", "03", &[]);
        token.delete("privkey", "public");
        assert!(
            refused(unlock("public").1)
                .to_string()
                .contains("private half is not on the token")
        );
    });
}

#[test]
fn a_key_that_does_not_sign_is_refused() {
    on!(KRYOPTIC, |token| {
        token.keypair("rsa:2048", "decrypts", "04", &["--usage-decrypt"]);
        let error = refused(locked(&token.key_uri("decrypts")).unlock(&mut Nobody));
        assert!(error.to_string().contains("CKA_SIGN"), "{error}");
    });
}

#[test]
fn a_new_key_stays_on_the_token() {
    on!(SOFTHSM, new_keys_stay_on_the_token);
}

#[test]
fn a_new_key_stays_on_kryoptic() {
    on!(KRYOPTIC, new_keys_stay_on_the_token);
}

fn new_keys_stay_on_the_token(token: &SoftwareToken) {
    make(token, "key", KeyKind::Rsa2048);
    let listed = token.as_user(["--list-objects", "--type", "privkey"]);
    let usage = listed
        .lines()
        .find(|line| line.contains("Usage:"))
        .expect("its usage")
        .trim()
        .to_owned();
    assert!(
        usage.contains("sign") && !usage.contains("decrypt") && !usage.contains("unwrap"),
        "{listed}"
    );
    assert!(
        listed.contains("sensitive") && listed.contains("never extractable"),
        "{listed}"
    );
}

#[test]
fn what_cannot_be_used_is_named() {
    on!(SOFTHSM, |token| {
        let error = refused(find(&parsed("pkcs11:token=release")));
        assert!(
            error.to_string().contains("does not name a PKCS#11 module"),
            "{error}"
        );
        let error = refused(find(&parsed(
            "pkcs11:token=release?module-path=/etc/hostname",
        )));
        assert!(matches!(error, TokenError::Module { .. }), "{error}");
        // Before anything is opened: not a PIN from the URI.
        let with_pin = format!(
            "pkcs11:token=release?module-path={}&pin-value={PIN}",
            token.module().display()
        );
        let error = with_pin.parse::<TokenUri>().expect_err("a PIN in the URI");
        assert!(!format!("{error} {error:?}").contains(PIN));
    });
}

// ---- Several at once, and tokens that go away ----

/// SoftHSM2 rewrites a token's file at each login; another process does not see the token at that
/// moment.
#[test]
fn processes_share_a_softhsm_token() {
    const PROCESSES: usize = 8;
    const STARTS: usize = 10;
    on!(SOFTHSM, |token| {
        make(token, "key", KeyKind::Ed25519);
        for _ in 0..STARTS {
            let children: Vec<Child> = (0..PROCESSES)
                .map(|_| again(any::type_name_of_val(&one_more_process_signs), token))
                .collect();
            for child in children {
                succeeds(child);
            }
        }
    });
}

/// Not a test by itself: `processes_share_a_softhsm_token` starts it many times.
#[test]
fn one_more_process_signs() {
    if let Some(token) = of_the_parent(SOFTHSM) {
        let mut unlocked = unlocked(&token.key_uri("key"));
        signs_everything(&mut *unlocked);
        done();
    }
}

#[test]
fn threads_share_a_module_on_softhsm() {
    on!(SOFTHSM, threads_share_a_module);
}

#[test]
fn threads_share_a_module_on_kryoptic() {
    on!(KRYOPTIC, threads_share_a_module);
}

fn threads_share_a_module(token: &SoftwareToken) {
    make(token, "key", KeyKind::P256);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..5 {
                    let mut unlocked = unlocked(&token.key_uri("key"));
                    signs_everything(&mut *unlocked);
                }
            });
        }
    });
}

#[test]
fn a_token_that_comes_back_signs_on() {
    on!(SOFTHSM, |token| {
        make(token, "key", KeyKind::P256);
        let mut first = unlocked(&token.key_uri("key"));
        let mut second = unlocked(&token.key_uri("key"));
        let mut prompted =
            said(locked(&token.prompting_uri("key")).unlock(&mut Person::who_says(PIN)));
        signs_everything(&mut *first);

        let away = token.away();
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(Duration::from_millis(100));
                away.back();
            });
            signs_everything(&mut *first);
        });
        // The module was initialised again, which ended all sessions: each notices and recovers by
        // itself, without a PIN, because the process is logged in already.
        signs_everything(&mut *second);
        signs_everything(&mut *prompted);

        // Once in the life of a token.
        let away = token.away();
        let start = Instant::now();
        let error = refused(sign_something(&mut *first));
        assert!(matches!(error, TokenError::SessionLost { .. }), "{error}");
        assert!(
            start.elapsed() < Duration::from_secs(1),
            "it was waited for"
        );
        away.back();
        let error = refused(sign_something(&mut *first));
        assert!(matches!(error, TokenError::SessionLost { .. }), "{error}");
    });
}

#[test]
fn a_token_that_stays_away_is_lost() {
    on!(SOFTHSM, |token| {
        make(token, "key", KeyKind::P256);
        let mut unlocked = unlocked(&token.key_uri("key"));
        let _away = token.away();
        let start = Instant::now();
        let error = refused(sign_something(&mut *unlocked));
        assert!(matches!(error, TokenError::SessionLost { .. }), "{error}");
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "it was waited for"
        );
        assert!(matches!(
            refused(find(&parsed(&token.key_uri("key")))),
            TokenError::TokenAbsent { .. }
        ));
    });
}

#[test]
fn a_pin_from_a_prompt_is_not_asked_again_for_a_lost_token() {
    on!(SOFTHSM, |token| {
        make(token, "key", KeyKind::P256);
        let mut unlocked =
            said(locked(&token.prompting_uri("key")).unlock(&mut Person::who_says(PIN)));
        let away = token.away();
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(Duration::from_millis(100));
                away.back();
            });
            let error = refused(sign_something(&mut *unlocked));
            assert!(
                error
                    .to_string()
                    .contains("PIN would have to be given again"),
                "{error}"
            );
        });
    });
}

#[test]
fn another_key_under_the_old_name_does_not_sign() {
    on!(SOFTHSM, |token| {
        token.keypair("EC:prime256v1", "key", "01", &[]);
        let mut unlocked = unlocked(&token.key_uri("key"));
        let still_locked = locked(&token.key_uri("key"));
        token.delete("privkey", "key");
        token.delete("pubkey", "key");
        token.keypair("EC:prime256v1", "key", "01", &[]);
        let error = refused(sign_something(&mut *unlocked));
        assert!(
            error.to_string().contains("another key has its name now"),
            "{error}"
        );
        let error = refused(still_locked.unlock(&mut Nobody));
        assert!(
            error.to_string().contains("another key has its name now"),
            "{error}"
        );
    });
}

// ---- The people and the tokens of these tests ----

/// A user at the terminal, who knows one PIN.
struct Person {
    pin: &'static str,
    agrees: bool,
    asked: Vec<PinRequest>,
    final_tries: usize,
}

impl Person {
    fn who_says(pin: &'static str) -> Self {
        Self {
            pin,
            agrees: true,
            asked: Vec::new(),
            final_tries: 0,
        }
    }
}

impl Interaction for Person {
    fn pin(&mut self, request: &PinRequest) -> Option<SecretString> {
        self.asked.push(request.clone());
        Some(SecretString::from(self.pin))
    }

    fn final_try(&mut self, _: &PinRequest) -> Option<bool> {
        self.final_tries += 1;
        Some(self.agrees)
    }
}

/// The folder of a token, moved away.
struct Away {
    from: PathBuf,
    to: PathBuf,
}

impl SoftwareToken {
    fn away(&self) -> Away {
        let (from, to) = (
            self.directory().to_owned(),
            self.directory().with_extension("away"),
        );
        fs::rename(&from, &to).expect("the token moved away");
        fs::create_dir(&from).expect("an empty folder in its place");
        Away { from, to }
    }
}

impl Away {
    fn back(&self) {
        // Atomically over the empty folder: SoftHSM2 may look at any moment.
        fs::rename(&self.to, &self.from).expect("the token moved back");
    }
}

fn parsed(uri: &str) -> TokenUri {
    uri.parse().unwrap_or_else(|error| panic!("{uri}: {error}"))
}

fn locked(uri: &str) -> Box<dyn LockedToken> {
    said(find(&parsed(uri)))
}

/// Unlocked by its PIN source.
fn unlocked(uri: &str) -> Box<dyn Token> {
    said(locked(uri).unlock(&mut Nobody))
}

fn make(token: &SoftwareToken, label: &str, kind: KeyKind) {
    said(generate(&parsed(&token.key_uri(label)), kind, &mut Nobody));
}

fn find(uri: &TokenUri) -> Result<Box<dyn LockedToken>, TokenError> {
    token::find(uri, &RefusedPins::none(), &mut Nobody)
}

fn list_keys(uri: &TokenUri) -> Result<Vec<FoundKey>, TokenError> {
    token::list_keys(uri, &mut Nobody)
}

fn generate(
    uri: &TokenUri,
    kind: KeyKind,
    interaction: &mut dyn Interaction,
) -> Result<(TokenUri, Box<dyn Token>), TokenError> {
    let created = Timestamp::from_unix(1_800_000_000);
    let fingerprint = |public: &PublicKey| fingerprint_of(public, created);
    let new = NewKey {
        kind,
        created,
        fingerprint: &fingerprint,
        replace: false,
    };
    token::generate(uri, &new, &RefusedPins::none(), interaction)
}

fn said<T>(answer: Result<T, TokenError>) -> T {
    answer.unwrap_or_else(|error| panic!("{}", shown(&error)))
}

/// The error, in which there must be no PIN.
fn refused<T>(answer: Result<T, TokenError>) -> TokenError {
    match answer {
        Ok(_) => panic!("nothing was refused"),
        Err(error) => {
            assert!(!shown(&error).contains(PIN), "the PIN is in an error");
            error
        }
    }
}

/// Everything that an error shows.
fn shown(error: &TokenError) -> String {
    let mut text = format!("{error:?}: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

/// Whether the signature is good, in sequoia's judgement.
fn verifies(public: &PublicKey, digest: &MessageDigest, signature: &RawSignature) -> bool {
    let hash = match digest.algorithm {
        HashAlgorithm::Sha256 => PgpHash::SHA256,
        HashAlgorithm::Sha384 => PgpHash::SHA384,
        HashAlgorithm::Sha512 => PgpHash::SHA512,
    };
    let (algorithm, key) = match public {
        PublicKey::Rsa { n, e } => (
            PublicKeyAlgorithm::RSAEncryptSign,
            mpi::PublicKey::RSA {
                e: mpi::MPI::new(e),
                n: mpi::MPI::new(n),
            },
        ),
        PublicKey::Ecdsa { curve, point } => {
            let curve = match curve {
                Curve::P256 => PgpCurve::NistP256,
                Curve::P384 => PgpCurve::NistP384,
                Curve::P521 => PgpCurve::NistP521,
            };
            (
                PublicKeyAlgorithm::ECDSA,
                mpi::PublicKey::ECDSA {
                    curve,
                    q: mpi::MPI::new(point),
                },
            )
        }
        PublicKey::Ed25519(a) => (
            PublicKeyAlgorithm::Ed25519,
            mpi::PublicKey::Ed25519 { a: *a },
        ),
    };
    let signature = match signature {
        RawSignature::Rsa(s) => mpi::Signature::RSA {
            s: mpi::MPI::new(s),
        },
        RawSignature::Ecdsa { r, s } => mpi::Signature::ECDSA {
            r: mpi::MPI::new(r),
            s: mpi::MPI::new(s),
        },
        RawSignature::Ed25519(s) => mpi::Signature::Ed25519 { s: Box::new(*s) },
    };
    let key = Key4::<PublicParts, UnspecifiedRole>::new(std::time::UNIX_EPOCH, algorithm, key)
        .expect("a key");
    Key::from(key)
        .verify(&signature, hash, &digest.bytes)
        .is_ok()
}

// ---- Scenarios in child processes ----

/// Makes a token below a folder, and finds one that was made.
type Maker = (
    fn(&Path) -> Option<SoftwareToken>,
    fn(&Path) -> Option<SoftwareToken>,
);

const SOFTHSM: Maker = (SoftHsm::create, SoftHsm::at);
const KRYOPTIC: Maker = (Kryoptic::create, Kryoptic::at);

/// Where a child process finds the token that its parent made.
const DIRECTORY: &str = "COUNTERSIGN_TEST_DIRECTORY";

/// The last line of a child process whose scenario is complete. Without it no test has run.
const DONE: &str = "the scenario has run to the end";

fn on_a_token_in_a_child(here: &str, (create, at): Maker, scenario: impl FnOnce(&SoftwareToken)) {
    if let Some(token) = of_the_parent((create, at)) {
        scenario(&token);
        return done();
    }
    let folder = tempfile::tempdir().expect("a folder");
    if let Some(token) = create(folder.path()) {
        succeeds(again(here, &token));
    }
}

/// Where a child process finds the card that its parent put in.
const CARD: &str = "COUNTERSIGN_TEST_CARD_URI";

fn on_a_card_in_a_child(
    here: &str,
    insert: impl FnOnce(&Reader) -> Option<VirtualCard>,
    kinds: &[KeyKind],
) {
    if let Ok(uri) = env::var(CARD) {
        a_card_keeps_its_contract(&uri, kinds);
        return done();
    }
    let folder = tempfile::tempdir().expect("a folder");
    let Some(reader) = Reader::start(folder.path()) else {
        return;
    };
    let Some(card) = insert(&reader) else { return };
    let (variable, socket) = reader.env();
    let mut command = this_test_again(here);
    command
        .env(variable, socket)
        .env(CARD, format!("card:?{}", pin_sources(folder.path())));
    succeeds(command.spawn().expect("this program again"));
    assert_eq!((card.signatures(), card.tries()), (SIGNED, (3, 3)));
}

fn of_the_parent((_, at): Maker) -> Option<SoftwareToken> {
    env::var_os(DIRECTORY).and_then(|directory| at(Path::new(&directory)))
}

/// The test called `here`, or around it, again with this token.
fn again(here: &str, token: &SoftwareToken) -> Child {
    let (variable, configuration) = token.env();
    let directory = token.pin_file().parent().expect("the token's folder");
    let mut command = this_test_again(here);
    command
        .env(variable, configuration)
        .env(DIRECTORY, directory)
        .spawn()
        .expect("this program again")
}

/// This program again, running the test called `here`, or around it.
fn this_test_again(here: &str) -> Command {
    let name = here.strip_suffix("::here").unwrap_or(here);
    let (_program, name) = name.split_once("::").expect("a path");
    let mut command = Command::new(env::current_exe().expect("this program"));
    command
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn succeeds(child: Child) {
    let output = child.wait_with_output().expect("the child's end");
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(
        output.status.success() && text.contains(DONE),
        "in the child process, {}:\n{text}",
        output.status
    );
}

#[expect(clippy::print_stderr, reason = "the parent process reads it")]
fn done() {
    eprintln!("{DONE}");
}
