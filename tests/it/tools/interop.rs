//! Other people's tools decide: gpgv, sqv, gpg and sha256sum, on releases signed by every kind of
//! key on both software tokens.

use std::fs;
use std::path::Path;

use crate::common::keyring::Keyring;
use crate::common::world::World;
use crate::common::{Arguments, copy_tree, have, tool, tool_refuses};

macro_rules! every_kind {
    ($($name:ident: $kind:literal;)*) => {
        mod softhsm {
            use super::*;
            $(#[test] fn $name() { agree_on_a_release(World::on_softhsm, $kind); })*
        }

        mod kryoptic {
            use super::*;
            $(#[test] fn $name() { agree_on_a_release(World::on_kryoptic, $kind); })*
        }

        #[test]
        fn no_kind_of_key_is_left_out() {
            let named = countersign::domain::key::KeyKind::ALL.map(|kind| kind.name());
            assert_eq!(named.as_slice(), [$($kind),*]);
        }
    };
}

every_kind! {
    ed25519: "ed25519";
    p256: "p256";
    p384: "p384";
    p521: "p521";
    rsa2048: "rsa2048";
    rsa3072: "rsa3072";
    rsa4096: "rsa4096";
}

/// From `init` to `admit`, then every tool on every file of what became public.
fn agree_on_a_release(make: fn() -> Option<World>, kind: &str) {
    if !have(&["gpgv", "sqv", "gpg", "sha256sum"]) {
        return;
    }
    let Some(world) = make() else { return };
    world.init_of_kind(kind).ok();
    world.export();
    world.signed();
    world.admit().ok();
    let release = world.releases().join("foo-1.2.3");
    let certificate = world.certificate();
    world.verify(&release).ok();

    for name in ["foo.txt", "foo.tar", "SHA256SUMS"] {
        let signature = format!("{name}.asc");
        tool(
            "gpgv",
            &[&"--keyring", &certificate, &signature, &name],
            &release,
        );
        tool(
            "sqv",
            &[&"--keyring", &certificate, &signature, &name],
            &release,
        );
    }
    let sums = tool("sha256sum", &[&"--strict", &"-c", &"SHA256SUMS"], &release).stdout;
    let checked: Vec<_> = sums
        .lines()
        .filter_map(|line| line.strip_suffix(": OK"))
        .collect();
    let evidence = ["build-key.pgp", "build.manifest", "build.manifest.sig"]
        .map(|name| format!("evidence/m1/{name}"));
    let mut wanted = vec!["evidence/release.json", "foo.tar", "foo.txt"];
    wanted.extend(evidence.iter().map(String::as_str));
    wanted.push("evidence/grant.json");
    assert_eq!(
        checked, wanted,
        "the list covers everything but the signatures"
    );

    // The chain behind it: M's manifest with the key in the grant, and the artifacts with
    // M's manifest.
    let builder = release.join("evidence/m1");
    let of_the_builder: Arguments<'_> = &[
        &"--keyring",
        &builder.join("build-key.pgp"),
        &"build.manifest.sig",
        &"build.manifest",
    ];
    tool("gpgv", of_the_builder, &builder);
    tool("sqv", of_the_builder, &builder);
    tool(
        "sha256sum",
        &[
            &"--strict",
            &"--quiet",
            &"-c",
            &"evidence/m1/build.manifest",
        ],
        &release,
    );

    // They can refuse.
    let changed = world.at("changed");
    copy_tree(&release, &changed);
    fs::write(changed.join("foo.txt"), b"text!").expect("changed");
    fs::write(changed.join("evidence/m1/build.manifest"), b"# nothing\n").expect("changed");
    let arguments: Arguments<'_> = &[&"--keyring", &certificate, &"foo.txt.asc", &"foo.txt"];
    tool_refuses("gpgv", arguments, &changed);
    tool_refuses("sqv", arguments, &changed);
    tool_refuses("gpgv", of_the_builder, &changed.join("evidence/m1"));
    tool_refuses("sha256sum", &[&"-c", &"SHA256SUMS"], &changed);

    gpg_takes_the_certificate_and_its_revocation(&world, &release);
}

fn gpg_takes_the_certificate_and_its_revocation(world: &World, release: &Path) {
    let gpg = Keyring::new(&world.at("gnupg"));
    gpg.run(&[&"--import", &world.certificate()]);
    let said = gpg.run(&[
        &"--status-fd",
        &"1",
        &"--verify",
        &release.join("foo.txt.asc"),
        &release.join("foo.txt"),
    ]);
    assert!(
        said.stdout.contains("GOODSIG") && said.stdout.contains("grant@example.org"),
        "{said:?}"
    );
    let listed = gpg.listed("pub");
    // Valid as far as anybody knows, signing and certifying, and with an end.
    assert!(
        listed[1] == "-" && listed[11].starts_with("sc") && !listed[6].is_empty(),
        "{listed:?}"
    );
    assert_eq!(gpg.listed("uid")[9], crate::common::world::USER_ID);

    let revocation = fs::read_to_string(world.home().join("revocation.asc"))
        .expect("the revocation certificate");
    let guarded = world.at("guarded.asc");
    fs::write(&guarded, &revocation).expect("written");
    gpg.try_run(&[&"--import", &guarded]);
    assert_eq!(
        gpg.listed("pub")[1],
        "-",
        "as it is, the revocation certificate does nothing"
    );
    let armed = world.at("armed.asc");
    fs::write(&armed, revocation.replace("\n:-----BEGIN", "\n-----BEGIN")).expect("written");
    gpg.run(&[&"--import", &armed]);
    assert_eq!(gpg.listed("pub")[1], "r", "without the colon, it revokes");
}

/// Those of Debian, of Alpine and OpenWrt, and of Perl, which macOS has too.
#[test]
fn every_sha256sum_reads_the_list_of_either_form() {
    if !have(&["sha256sum", "busybox", "shasum"]) {
        return;
    }
    for form in ["each", "list"] {
        let world = World::ready();
        let (granted, build) = world.attested_with(&[&"--form", &form]);
        world.sign(&granted, &build).ok();
        let release = world.release(&granted);
        let check = |program: &str, arguments: Arguments<'_>, good: bool| {
            if good {
                let said = tool(program, arguments, &release);
                let first = said.stdout.lines().next();
                assert_eq!(first, Some("evidence/release.json: OK"), "{said:?}");
                assert_eq!(said.stdout.lines().count(), 7, "{said:?}");
            } else {
                tool_refuses(program, arguments, &release);
            }
        };
        for good in [true, false] {
            check("sha256sum", &[&"--strict", &"-c", &"SHA256SUMS"], good);
            check("busybox", &[&"sha256sum", &"-c", &"SHA256SUMS"], good);
            let strict: Arguments<'_> = &[&"-a", &"256", &"--strict", &"-c", &"SHA256SUMS"];
            check("shasum", strict, good);
            fs::write(release.join("evidence/release.json"), b"{}\n").expect("changed");
        }
    }
}

/// Who has the certificate in gpg's keyring alone verifies with what gpg exports.
#[test]
fn certificate_as_gpg_exports_it() {
    if !have(&["gpg"]) {
        return;
    }
    let world = World::ready();
    let release = world.signed();
    let gpg = Keyring::new(&world.at("gnupg"));
    gpg.run(&[&"--import", &world.certificate()]);
    let exported = world.at("exported.asc");
    gpg.run(&[
        &"--armor",
        &"--output",
        &exported,
        &"--export",
        &crate::common::world::USER_ID,
    ]);
    world
        .countersign(&[&"verify", &"--cert", &exported, &release])
        .ok();
}
