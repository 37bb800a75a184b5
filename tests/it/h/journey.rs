//! The road from a grant to a public release, as a story, and what happens to those who stumble on
//! it.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::Path;

use crate::common::tokens::{PIN, write_secret};
use crate::common::world::{USER_ID, World, write_private};
use crate::common::{
    Arguments, can_travel, copy, copy_tree, have, listing, openpgp, tool, tool_refuses, tree,
};

fn mode(path: &Path) -> u32 {
    fs::metadata(path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        .permissions()
        .mode()
        & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("permissions");
}

// ---- The road ----

#[test]
fn a_release_on_a_file() {
    let world = World::new();
    from_grant_to_release(&world);
    // Three for the certificate, one to test it, and one for each file of the release.
    assert_eq!(world.token_count(), 4 + 4);
}

#[test]
fn a_release_on_softhsm() {
    if let Some(world) = World::on_softhsm() {
        from_grant_to_release(&world);
        no_pin_is_left_anywhere(&world);
    }
}

#[test]
fn a_release_on_kryoptic() {
    if let Some(world) = World::on_kryoptic() {
        from_grant_to_release(&world);
        no_pin_is_left_anywhere(&world);
    }
}

fn from_grant_to_release(world: &World) {
    // H: a release key, and its certificate for everybody.
    world.init().ok().says("release key").says("is ready");
    world.export();

    // H: approves a build.
    let folder = world.at("approved");
    fs::create_dir(&folder).expect("a folder");
    let said = world
        .host(&[
            &"grant",
            &"foo",
            &"1.2.3",
            &"--artifact",
            &"foo*",
            &"--builder",
            &"m1",
        ])
        .from(&folder)
        .ok();
    said.says("granted foo 1.2.3 until")
        .says("countersign attest --key foo-1.2.3.m1.key");
    assert_eq!(
        listing(&folder),
        ["foo-1.2.3.grant.json", "foo-1.2.3.m1.key"]
    );

    // M: builds, attests, and its key is gone.
    let build = world.build(&[
        ("foo-1.2.3.tar", &[7; 200_000]),
        ("foo.txt", b"text\n"),
        ("foo.empty", b""),
    ]);
    let key = folder.join("foo-1.2.3.m1.key");
    let attest = world.countersign(&[
        &"attest",
        &"--key",
        &key,
        &"foo-1.2.3.tar",
        &"foo.empty",
        &"foo.txt",
    ]);
    attest
        .from(&build.folder)
        .ok()
        .says("attested 3 artifacts of foo 1.2.3 as builder m1")
        .says("overwritten and removed");
    assert!(!key.exists());
    let there = [
        "build.manifest",
        "build.manifest.sig",
        "foo-1.2.3.tar",
        "foo.empty",
        "foo.txt",
    ];
    assert_eq!(listing(&build.folder), there);

    // H: verifies, and only then signs.
    let release = world.inbox().join("foo-1.2.3");
    let grant = folder.join("foo-1.2.3.grant.json");
    let sign = world.host(&[&"sign", &grant, &"--from", &build.folder, &"-o", &release]);
    sign.ok()
        .says("signed foo 1.2.3, built by m1 under grant")
        .says("signatures 4 (all made by the token now)");
    let files = [
        "SHA256SUMS",
        "SHA256SUMS.asc",
        "evidence/grant.json",
        "evidence/m1/build-key.pgp",
        "evidence/m1/build.manifest",
        "evidence/m1/build.manifest.sig",
        "evidence/release.json",
        "foo-1.2.3.tar",
        "foo-1.2.3.tar.asc",
        "foo.empty",
        "foo.empty.asc",
        "foo.txt",
        "foo.txt.asc",
    ];
    let signed = tree(&release);
    assert_eq!(signed.keys().collect::<Vec<_>>(), files);
    assert_eq!(
        signed["evidence/grant.json"],
        fs::read(&grant).expect("the grant")
    );
    assert_eq!(signed["foo-1.2.3.tar"], [7; 200_000]);
    let modes: Vec<_> = files.iter().map(|file| mode(&release.join(file))).collect();
    assert_eq!(modes, [0o644; 13], "everybody may read a release");

    // The log has it in order: what the token was asked for is before the result.
    let kinds = world
        .log()
        .iter()
        .map(|entry| entry["kind"].as_str().expect("a kind").to_owned())
        .collect::<Vec<_>>();
    let key = [
        "log-created",
        "key-intended",
        "key-outcome",
        "key-intended",
        "key-outcome",
        "key-ready",
    ];
    assert_eq!(
        kinds,
        [
            &key[..],
            &[
                "grant-issued",
                "evidence-accepted",
                "intent",
                "outcome",
                "released"
            ]
        ]
        .concat()
    );
    let (intent, outcome) = (&world.logged("intent")[0], &world.logged("outcome")[0]);
    assert_eq!(outcome["intent"], intent["index"]);
    assert_eq!(
        (
            &outcome["result"]["status"],
            &outcome["result"]["token_signatures"]
        ),
        (&"signed".into(), &4.into())
    );
    let mut shown = world
        .host(&[&"log", &"show", &intent["index"].to_string(), &"--json"])
        .ok()
        .json();
    let warnings = shown.as_object_mut().expect("an object").remove("warnings");
    assert_eq!(warnings, Some(serde_json::json!([])));
    assert_eq!(&shown, intent);

    // L: verifies again with the certificate alone, and makes it public.
    world.admit().ok().says("foo-1.2.3: admitted, signed by");
    assert_eq!(listing(&world.inbox()), ["foo-1.2.3.admitted"]);
    let public = world.releases().join("foo-1.2.3");
    assert_eq!(tree(&public), signed);

    // Anybody.
    let grant_id = intent["grant"].as_str().expect("an id");
    let said = world.verify(&public).ok();
    assert_eq!(said.stdout.lines().count(), 1, "{said:?}");
    said.says("good  foo 1.2.3 (3 files) by ").says(USER_ID);
    let said = world.verify(&public).with(&[&"--verbose"]).ok();
    said.says("attested   by m1").says(grant_id);
    let results = world.verify(&public).with(&[&"--json"]).ok().json();
    let names: Vec<_> = results["results"]
        .as_array()
        .expect("a list")
        .iter()
        .collect();
    assert_eq!(names.len(), 4);
    assert!(
        names
            .iter()
            .all(|result| result["good"] == true && result["grant"] == grant_id),
        "{names:?}"
    );
    world
        .verify(&public.join("foo.txt"))
        .with(&[&public.join("foo.empty")])
        .ok();
}

fn no_pin_is_left_anywhere(world: &World) {
    for folder in [
        world.home(),
        world.inbox(),
        world.releases(),
        world.at("approved"),
    ] {
        for (name, bytes) in tree(&folder) {
            let found = bytes
                .windows(PIN.len())
                .any(|window| window == PIN.as_bytes());
            assert!(!found, "the PIN is in {}", folder.join(name).display());
        }
    }
}

// ---- Grants ----

#[test]
fn a_grant_is_public_and_its_build_keys_are_secret() {
    let world = World::ready();
    let granted = world.grant_with(&[&"--builder", &"m2"]);
    assert_eq!(mode(&granted.grant), 0o644);
    assert_eq!(granted.keys.len(), 2);
    for key in &granted.keys {
        assert_eq!(mode(key), 0o600);
        let text = fs::read_to_string(key).expect("a build key");
        assert!(text.contains("BEGIN PGP PRIVATE KEY BLOCK"));
        assert!(
            text.contains(&format!("Comment: grant {}", granted.id)),
            "{text}"
        );
    }
    let terms = granted.terms();
    assert_eq!(
        (&terms["project"], &terms["version"]),
        (&"foo".into(), &"1.2.3".into())
    );
    assert!(terms["builders"].to_string().contains("PUBLIC KEY BLOCK"));
    // But for the key of its own log.
    let kept_by_the_host = tree(&world.home())
        .into_iter()
        .filter(|(name, _)| name != "log.key");
    let public = tree(granted.grant.parent().expect("a folder"))
        .into_iter()
        .filter(|(name, _)| name.ends_with("json"));
    for (name, bytes) in kept_by_the_host.chain(public) {
        assert!(
            !String::from_utf8_lossy(&bytes).contains("PRIVATE"),
            "{name} has a secret"
        );
    }
}

#[test]
fn two_grants_never_have_the_same_nonce_or_key() {
    let world = World::ready();
    let (first, second) = (world.grant(), world.grant());
    let (one, other) = (first.terms(), second.terms());
    assert_ne!(one["nonce"], other["nonce"]);
    assert_ne!(one["builders"], other["builders"]);
    assert_ne!(first.id, second.id);
    assert_eq!(one["nonce"].as_str().expect("a text").len(), 64);
}

#[test]
fn a_grant_does_not_replace_files() {
    let world = World::ready();
    for name in ["foo-1.2.3.grant.json", "foo-1.2.3.m1.key"] {
        let folder = world.new_folder("occupied");
        fs::write(folder.join(name), b"precious").expect("written");
        let grants = (
            world.logged("grant-issued").len(),
            listing(&world.home().join("grants")).len(),
        );
        let grant = world.host(&[
            &"grant",
            &"foo",
            &"1.2.3",
            &"--builder",
            &"m1",
            &"-o",
            &folder,
        ]);
        grant.usage("exists already");
        assert_eq!(listing(&folder), [name], "nothing of the grant is left");
        assert_eq!(fs::read(folder.join(name)).expect("there"), b"precious");
        assert_eq!(world.logged("grant-issued").len(), grants.0);
    }
}

#[test]
fn a_grant_in_a_folder_that_is_not_there() {
    let world = World::ready();
    let kept = listing(&world.home().join("grants"));
    world
        .host(&[&"grant", &"foo", &"1.2.3", &"-o", &world.at("none")])
        .usage("does not exist");
    assert_eq!(listing(&world.home().join("grants")), kept);
}

#[test]
fn a_grant_lasts_as_long_as_was_said() {
    let world = World::ready();
    let hours = |granted: &crate::common::world::Granted| {
        let terms = granted.terms();
        let time = |name: &str| {
            let text = terms[name].as_str().expect("a time").to_owned();
            text.parse::<countersign::domain::time::Timestamp>()
                .expect("a time")
        };
        time("expires").since(time("not_before")).as_secs() / 3600
    };
    assert_eq!(hours(&world.grant()), 6, "what config.toml says");
    assert_eq!(hours(&world.grant_with(&[&"--valid-for", &"14d"])), 14 * 24);
}

#[test]
fn one_builder_of_two_is_enough_without_a_quorum_and_closes_the_grant() {
    let world = World::ready();
    let granted = world.grant_with(&[&"--builder", &"m2"]);
    let builds = ["m1", "m2"].map(|builder| {
        let builds = world.new_build("inbox");
        let build = builds.of(builder, &[("foo.txt", builder.as_bytes())]);
        world.attest_with(granted.key_of(builder), &build).ok();
        builds
    });
    world.sign(&granted, &builds[1]).ok().says("built by m2");
    assert_eq!(
        listing(&world.release(&granted).join("evidence")),
        ["grant.json", "m2", "release.json"]
    );
    world.verify(&world.release(&granted)).ok();
    world
        .sign_into(&world.at("elsewhere"), &granted, &builds[0])
        .refused("was closed by another build, of builder `m2`");
}

#[test]
fn a_grant_is_named_by_its_file_or_its_id() {
    let world = World::ready();
    let (granted, build) = world.attested();
    fs::remove_file(&granted.grant).expect("removed");
    let digits = granted.id.strip_prefix("sha256:").expect("an id");
    let by = |id: &str| {
        world.host(&[
            &"sign",
            &id,
            &"--from",
            &build.folder,
            &"-o",
            &world.release(&granted),
        ])
    };
    by(&digits[..7]).usage("is neither an existing file nor at least eight digits of a grant's id");
    by("00000000").usage("no grant `00000000` is kept in this home");
    // Write access here does not decide which grant an id means.
    fs::write(world.at(&digits[..8]), b"another").expect("written");
    by(&digits[..8]).ok();
    by(&granted.id).ok().says("signed already");
}

// ---- The build key ----

#[test]
fn the_build_key_is_gone_after_attest() {
    let world = World::ready();
    let (granted, build) = (world.grant(), world.build(&[("foo.txt", b"text\n")]));
    // A second name for the same bytes on the disk: they are overwritten, not only unlinked.
    let other_name = world.at("other-name");
    fs::hard_link(&granted.key, &other_name).expect("linked");
    let size = fs::metadata(&granted.key).expect("the key").len();
    world
        .attest(&granted, &build)
        .ok()
        .says("overwritten and removed");
    assert!(!granted.key.exists());
    let left = fs::read(&other_name).expect("what is left on the disk");
    assert!(
        left.len() as u64 == size && left.iter().all(|byte| *byte == 0),
        "the secret is still on the disk"
    );
}

#[test]
fn the_build_key_stays_with_keep_key() {
    let world = World::ready();
    let (granted, build) = (world.grant(), world.build(&[("foo.txt", b"text\n")]));
    let before = fs::read(&granted.key).expect("the key");
    world.attest(&granted, &build).with(&[&"--keep-key"]).ok();
    assert_eq!(fs::read(&granted.key).expect("the key"), before);
}

#[test]
fn the_build_key_comes_from_standard_input() {
    let world = World::ready();
    let (granted, build) = (world.grant(), world.build(&[("foo.txt", b"text\n")]));
    let secret = fs::read(&granted.key).expect("the key");
    fs::remove_file(&granted.key).expect("it is a CI secret from now on");
    let artifact = build.at("foo.txt");
    world
        .countersign(&[&"attest", &"--key", &"-", &artifact])
        .usage("build key `/dev/stdin`");
    world
        .countersign(&[&"attest", &"--key", &"-", &artifact])
        .input(&secret)
        .ok();
    world.sign(&granted, &build).ok();
}

#[test]
fn what_is_no_build_key_is_called_what_it_is() {
    let world = World::ready();
    let (granted, build) = (world.grant(), world.build(&[("foo.txt", b"text\n")]));
    let machine = world.new_folder("machine");
    for scheme in ["openpgp", "dsse"] {
        let (key, public) = (machine.join(scheme), machine.join(format!("{scheme}.pub")));
        let make = || world.countersign(&[&"build-key", &"--scheme", &scheme, &"-o", &key]);
        make().ok();
        // Others can read it, and that is right.
        world
            .attest_with(&public, &build)
            .usage("is the public half of a key")
            .says("without `.pub`");
        fs::remove_file(&key).expect("removed");
        make().usage("exists already");
        assert!(!key.exists(), "half a pair was made");
    }
    world
        .attest_with(&granted.grant, &build)
        .usage("is not a secret key in OpenPGP or PEM");
    world
        .countersign(&[&"attest", &"--key", &"-", &build.at("foo.txt")])
        .usage("`/dev/stdin`: the key is empty");
    world.attest(&granted, &build).ok();
    world
        .attest(&granted, &build)
        .usage("does not exist")
        .says("another build needs another grant");
}

#[test]
fn the_build_key_comes_from_a_systemd_credential() {
    let world = World::ready();
    let (granted, build) = (world.grant(), world.build(&[("foo.txt", b"text\n")]));
    let credentials = world.new_folder("credentials");
    copy(&granted.key, &credentials.join("build-key"));
    let attest = |name: &str| {
        world.countersign(&[
            &"attest",
            &"--key",
            &format!("credential:{name}"),
            &build.at("foo.txt"),
        ])
    };
    attest("build-key").usage("$CREDENTIALS_DIRECTORY is not set");
    let attest = |name: &str| attest(name).env("CREDENTIALS_DIRECTORY", &credentials);
    attest("../grant-2/foo-1.2.3.m1.key").usage("its name is not that of a file");
    attest("other").usage("does not exist");
    attest("build-key").ok();
    assert!(
        credentials.join("build-key").exists(),
        "systemd removes its credentials itself"
    );
    world.sign(&granted, &build).ok();
}

#[test]
fn a_build_key_that_others_can_read_is_not_used() {
    let world = World::ready();
    let (granted, build) = (world.grant(), world.build(&[("foo.txt", b"text\n")]));
    set_mode(&granted.key, 0o644);
    world
        .attest(&granted, &build)
        .usage("has mode 0644: others can read it")
        .says("chmod 600");
    assert_eq!(listing(&build.folder), ["foo.txt"]);
}

#[test]
fn a_folder_is_no_artifact() {
    let world = World::ready();
    let (granted, build) = (world.grant(), world.build(&[("foo.txt", b"text\n")]));
    for folder in [
        &build.folder,
        &build.at("."),
        &build.at(".."),
        Path::new("/"),
    ] {
        let attest = world.countersign(&[&"attest", &"--key", &granted.key, &folder]);
        attest.usage(&format!(
            "`{}` is a folder, not a regular file",
            folder.display()
        ));
    }
    world.attest(&granted, &build).ok();
}

/// What an earlier run left is replaced, also one that was killed in between; anything else is left
/// alone, and the key with it.
#[test]
fn evidence_replaces_its_own_alone() {
    for (scheme, form) in [
        ("openpgp", "manifest"),
        ("openpgp", "per-artifact"),
        ("dsse", "manifest"),
        ("hmac", "manifest"),
        ("hmac", "per-artifact"),
    ] {
        let world = World::ready();
        let kind: crate::common::Arguments<'_> = &[&"--scheme", &scheme, &"--evidence", &form];
        let granted = world.grant_with(kind);
        let build = world.build(&[("foo.txt", b"text\n"), ("foo.tar", b"archive\n")]);
        let attest = || world.attest(&granted, &build).with(&[&"--keep-key"]);
        attest().ok();
        let mut evidence = listing(&build.folder);
        evidence.retain(|name| name != "foo.txt" && name != "foo.tar");
        assert!(!evidence.is_empty(), "{scheme} {form}");
        let refused = |names: &[String]| {
            let before = tree(&build.folder);
            let said =
                attest().usage("not made with this key under this grant for these artifacts");
            let all = names
                .iter()
                .all(|name| said.stderr.contains(&format!("`{name}`")));
            assert!(all, "{scheme} {form} {names:?}: {said:?}");
            assert_eq!(tree(&build.folder), before, "{scheme} {form} {names:?}");
            assert!(granted.key.exists());
        };

        // Of another grant, whose key is gone by now.
        let other = world.grant_of("1.2.4", kind);
        let of_other = world.build(&[("foo.txt", b"text\n"), ("foo.tar", b"archive\n")]);
        world.attest(&other, &of_other).ok();
        for name in &evidence {
            let made = fs::read(build.at(name)).expect("evidence");
            fs::remove_file(build.at(name)).expect("removed");
            attest().ok();
            for foreign in [
                fs::read(of_other.at(name)).expect("evidence"),
                b"precious\n".to_vec(),
                Vec::new(),
            ] {
                fs::write(build.at(name), &foreign).expect("written");
                refused(std::slice::from_ref(name));
            }
            fs::write(build.at(name), made).expect("as it was");
        }
        for name in &evidence {
            copy(&of_other.at(name), &build.at(name));
        }
        refused(&evidence);
        for name in &evidence {
            fs::remove_file(build.at(name)).expect("removed");
        }
        attest().ok();

        build.append("foo.txt", b"more\n");
        if (scheme, form) == ("hmac", "per-artifact") {
            // Whose MAC of other bytes it was cannot be known.
            refused(&["foo.txt.mac".to_owned()]);
            fs::remove_file(build.at("foo.txt.mac")).expect("removed");
        }
        attest().ok();
        world.attest(&granted, &build).ok();
        assert!(!granted.key.exists());
        world.sign(&granted, &build).ok();
    }
}

#[test]
fn the_evidence_goes_where_it_is_asked_to() {
    let world = World::ready();
    let (granted, one, other) = (
        world.grant(),
        world.build(&[("foo.a", b"a")]),
        world.build(&[("foo.b", b"b")]),
    );
    let folder = world.new_folder("evidence");
    let attest = || {
        world.countersign(&[
            &"attest",
            &"--key",
            &granted.key,
            &one.at("foo.a"),
            &other.at("foo.b"),
        ])
    };
    attest()
        .usage("artifacts are in several folders")
        .says("-o DIR");
    // By whatever paths its artifacts are named, a folder has them and their evidence alone.
    fs::write(one.at("stray"), b"").expect("a file");
    let by_two_paths = || {
        let again = one
            .folder
            .join("../")
            .join(one.folder.file_name().expect("a name"));
        let paths: crate::common::Arguments<'_> = &[&one.at("foo.a"), &again.join("foo.a2")];
        world
            .countersign(&[&"attest", &"--key", &granted.key])
            .with(paths)
    };
    fs::write(one.at("foo.a2"), b"").expect("an artifact");
    let beside = "would refuse what is beside the artifacts";
    by_two_paths().refused(beside);
    by_two_paths().with(&[&"-o", &one.folder]).refused(beside);
    attest().with(&[&"-o", &one.at(".")]).refused(beside);
    for name in ["stray", "foo.a2"] {
        fs::remove_file(one.at(name)).expect("removed");
    }
    attest().with(&[&"-o", &folder]).ok();
    assert_eq!(listing(&folder), ["build.manifest", "build.manifest.sig"]);
    assert_eq!(
        (listing(&one.folder), listing(&other.folder)),
        (vec!["foo.a".into()], vec!["foo.b".into()])
    );
    copy(&one.at("foo.a"), &folder.join("foo.a"));
    copy(&other.at("foo.b"), &folder.join("foo.b"));
    world
        .sign(&granted, &crate::common::world::Build { folder })
        .ok();
}

// ---- Signing again, and signing on ----

#[test]
fn the_same_build_again_does_not_use_the_token() {
    let world = World::ready();
    let (granted, build) = world.attested();
    world.sign(&granted, &build).ok();
    let (release, log, count) = (
        tree(&world.release(&granted)),
        world.log(),
        world.token_count(),
    );

    world
        .sign(&granted, &build)
        .ok()
        .says("signed already")
        .says("the token was not used");
    assert_eq!(tree(&world.release(&granted)), release);

    // Nor where the release is gone or goes elsewhere; nor without any token.
    fs::remove_file(world.token_file()).expect("the token pulled out");
    fs::remove_dir_all(world.release(&granted)).expect("removed");
    let elsewhere = world.at("elsewhere");
    for path in [world.release(&granted), elsewhere] {
        world.sign_into(&path, &granted, &build).ok();
        assert_eq!(tree(&path), release, "the same bytes");
    }
    assert_eq!((world.log(), world.token_count()), (log, count));
}

#[test]
fn the_same_build_again_after_its_grant_expired() {
    if !can_travel() {
        return;
    }
    let world = World::ready();
    let (granted, build) = world.attested();
    world.sign(&granted, &build).ok();
    let (release, count) = (tree(&world.release(&granted)), world.token_count());
    fs::remove_dir_all(world.release(&granted)).expect("removed");
    world.sign(&granted, &build).at("+7h").ok();
    assert_eq!(
        (tree(&world.release(&granted)), world.token_count()),
        (release, count)
    );
}

#[test]
fn a_run_goes_on_after_the_token_failed() {
    let world = World::ready();
    let (granted, build) = world.attested();
    world.while_the_token_fails(|| world.sign(&granted, &build).trouble("is not signed"));
    assert_eq!(listing(&world.inbox()), [""; 0]);
    let outcome = world.logged("outcome")[0]["result"].clone();
    assert_eq!(
        (&outcome["status"], &outcome["token_signatures"]),
        (&"stopped".into(), &0.into()),
        "{outcome}"
    );

    world.sign(&granted, &build).ok();
    world.verify(&world.release(&granted)).ok();
    assert_eq!(
        world.logged("intent").len(),
        1,
        "one intent serves both runs"
    );
    assert_eq!(world.logged("evidence-accepted").len(), 1);
}

#[test]
fn a_run_goes_on_with_what_it_meant_when_the_configuration_changed() {
    if !have(&["gpg"]) {
        return;
    }
    let world = World::ready();
    let (granted, build) = world.attested();
    world.while_the_token_fails(|| world.sign(&granted, &build).trouble("is not signed"));

    let config = world.home().join("config.toml");
    let text = fs::read_to_string(&config).expect("the configuration");
    let changed = text
        .replace("\"example.org\"", "\"example.net\"")
        .replace("#digest = \"sha256\"", "digest = \"sha512\"");
    assert!(
        changed.contains("example.net") && changed.contains("\ndigest = \"sha512\""),
        "{changed}"
    );
    write_private(&config, changed.as_bytes());
    world.sign(&granted, &build).ok();
    let said = tool(
        "gpg",
        &[
            &"--list-packets",
            &world.release(&granted).join("foo.txt.asc"),
        ],
        world.at("").as_path(),
    );
    said.says("grant@example.org=sha256:")
        .says("log@example.org=")
        .says("digest algo 8");
}

/// The list that was announced covers the evidence: it is not signed with another one in its place.
#[test]
fn a_run_does_not_go_on_with_other_evidence() {
    let world = World::ready();
    let (granted, build) = (world.grant(), world.build(&[("foo.txt", b"text\n")]));
    world.attest(&granted, &build).with(&[&"--keep-key"]).ok();
    world.while_the_token_fails(|| world.sign(&granted, &build).trouble("is not signed"));
    // The same artifacts, attested again with the same key.
    let first = fs::read(build.at("build.manifest.sig")).expect("the signature");
    build.attest_by_hand(&granted, build.manifest());
    let other = fs::read(build.at("build.manifest.sig")).expect("the signature");
    let refused = || {
        world
            .sign(&granted, &build)
            .refused("was signed before with other evidence")
    };
    refused();
    fs::write(build.at("build.manifest.sig"), first).expect("as it was");
    world.sign(&granted, &build).ok();
    fs::write(build.at("build.manifest.sig"), other).expect("the other again");
    refused();
}

/// A run that ended at its PIN fixes nothing but the grant.
#[test]
fn until_the_token_is_asked_a_run_begins_anew() {
    let Some(world) = World::on_softhsm() else {
        return;
    };
    world.set_up();
    let (granted, build) = (world.grant(), world.build(&[("foo.txt", b"text\n")]));
    world.attest(&granted, &build).with(&[&"--keep-key"]).ok();
    let pin_file = world.software_token().pin_file();
    let pin = fs::read(pin_file).expect("the PIN");
    fs::write(pin_file, b"not the PIN").expect("written");
    world.sign(&granted, &build).trouble("wrong PIN");

    fs::write(pin_file, pin).expect("written");
    build.attest_by_hand(&granted, build.manifest());
    let config = world.home().join("config.toml");
    let text = fs::read_to_string(&config).expect("the configuration");
    let changed = text.replace("#digest = \"sha256\"", "digest = \"sha512\"");
    write_private(&config, changed.as_bytes());
    world.sign(&granted, &build).ok();
    for kind in ["evidence-accepted", "intent"] {
        let entries = world.logged(kind);
        assert_eq!(entries.len(), 2, "{kind}");
        assert_eq!(entries[1]["replaces"], entries[0]["index"], "{kind}");
    }
    assert_eq!(world.logged("intent")[1]["hash"], "sha512");
    assert_eq!(world.logged("resumed"), [""; 0]);
    world
        .host(&[&"log", &"list"])
        .ok()
        .says(", in place of entry ");
    world
        .host(&[&"log", &"verify", &"--release", &world.release(&granted)])
        .ok();

    build.attest_by_hand(&granted, build.manifest());
    world
        .sign(&granted, &build)
        .refused("was signed before with other evidence");
}

/// By ten minutes it may be behind: clocks differ. A revocation is possible at any time.
#[test]
fn a_clock_behind_the_log_signs_nothing() {
    if !can_travel() {
        return;
    }
    let world = World::ready();
    let (granted, build) = world.attested_with(&[&"--valid-for", &"90d"]);
    let ahead = world.host(&[&"grant", &"bar", &"1", &"-o", &world.new_folder("grant")]);
    ahead.at("+30d").ok();
    let uses = world.token_count();
    world
        .sign(&granted, &build)
        .trouble("and the newest entry of the log has 20");
    world
        .host(&[&"key", &"check", &"--sign"])
        .trouble("newest entry");
    let clock = || world.host(&[&"log", &"clock"]);
    clock().trouble("newest entry");
    assert_eq!(world.token_count(), uses);
    assert_eq!(world.logged("evidence-accepted"), [""; 0]);
    world
        .host(&[&"grants", &"revoke", &world.grant_of("2", &[]).grant])
        .ok();
    world.sign(&granted, &build).trouble("newest entry");

    clock().with(&[&"--acknowledge", &"a month ahead"]).ok();
    assert_eq!(world.logged("clock-acknowledged").len(), 1);
    world.sign(&granted, &build).ok();
    clock()
        .with(&[&"--acknowledge", &"again"])
        .usage("there is nothing to acknowledge");
    world.host(&[&"log", &"verify"]).ok();
}

#[test]
fn a_run_goes_on_after_the_grant_expired() {
    if !can_travel() {
        return;
    }
    let world = World::ready();
    let (granted, build) = world.attested();
    world.without(world.token_file(), || {
        world.sign(&granted, &build).trouble("cannot be used")
    });
    // It was accepted in time; only the token was late.
    world.sign(&granted, &build).at("+7h").ok();
    world.verify(&world.release(&granted)).at("+7h").ok();
}

#[test]
fn a_run_goes_on_when_softhsm_is_back() {
    let Some(world) = World::on_softhsm() else {
        return;
    };
    world.set_up();
    let (granted, build) = world.attested();
    let (there, away) = (
        world.software_token().directory().to_owned(),
        world.at("away"),
    );
    fs::rename(&there, &away).expect("moved");
    fs::create_dir(&there).expect("an empty place");
    world
        .sign(&granted, &build)
        .trouble("no token matches")
        .says("insert the token");
    assert!(world.logged("intent").is_empty(), "it was not even found");
    fs::remove_dir(&there).expect("removed");
    fs::rename(&away, &there).expect("moved back");
    world.sign(&granted, &build).ok();
    world.verify(&world.release(&granted)).ok();
}

#[test]
fn a_run_goes_on_after_a_wrong_pin() {
    for make in [World::on_softhsm, World::on_kryoptic] {
        let Some(world) = make() else { return };
        world.set_up();
        let (granted, build) = world.attested();
        let pin = world.software_token().pin_file().to_owned();
        write_secret(&pin, "Falsch-0815");
        let said = world.sign(&granted, &build).trouble("wrong PIN for token");
        assert!(!format!("{said:?}").contains("Falsch"), "{said:?}");
        assert_eq!(listing(&world.inbox()), [""; 0]);
        write_secret(&pin, PIN);
        world.sign(&granted, &build).ok();
        world.verify(&world.release(&granted)).ok();
    }
}

#[test]
fn unfinished_runs_are_shown_with_what_finishes_them() {
    let world = World::ready();
    let status = || world.host(&[&"status"]).ok();
    let (granted, build) = world.attested_with(&[&"--form", &"list"]);
    status().says("every signing run is finished");

    // Accepted, and the token was not there.
    world.without(world.token_file(), || {
        world.sign(&granted, &build).trouble("cannot be used")
    });
    let short = &granted.id["sha256:".len()..][..12];
    let said = status()
        .says(&format!("foo 1.2.3, grant {short}"))
        .says("signed     nothing yet");
    said.says("needs      the token, for every file")
        .says(&format!("countersign sign {short} --from DIR\n"));

    // Intended for the list alone, and the token failed.
    world.while_the_token_fails(|| world.sign(&granted, &build).trouble("is not signed"));
    let said = status()
        .says("signed     0 of 1 signatures, under entry")
        .says("needs      the token, for 1 more signature");
    said.says("unsettled  `SHA256SUMS`: the token may have signed it")
        .says("--from DIR\n");
    let shown = world.host(&[&"status", &"--json"]).ok().json();
    let [run] = shown["unfinished"].as_array().expect("a list").as_slice() else {
        panic!("{shown}")
    };
    assert_eq!(
        (&run["grant"], &run["left"]),
        (&granted.id.clone().into(), &"signatures".into()),
        "{run}"
    );
    assert_eq!(
        (&run["unsettled"], &run["missing_signatures"][0]),
        (&"SHA256SUMS".into(), &"SHA256SUMS".into()),
        "{run}"
    );

    // What it says is what finishes it.
    let next = run["next"]
        .as_str()
        .expect("a command")
        .replace("DIR", &build.folder.to_string_lossy());
    let words: Vec<&str> = next.split(' ').skip(1).collect();
    let words: Vec<&dyn AsRef<std::ffi::OsStr>> = words.iter().map(|word| word as _).collect();
    world
        .host(&words)
        .from(&world.inbox())
        .ok()
        .says("signed foo 1.2.3");
    status().says("every signing run is finished");
    let resumed = &world.logged("resumed")[0];
    assert_eq!(
        (&resumed["kept"], &resumed["unsettled"]),
        (&0.into(), &"SHA256SUMS".into()),
        "{resumed}"
    );

    // Nothing is left to do under a grant that was revoked.
    let (granted, build) = world.attested_of("1.2.4", &[], &[("foo.txt", b"text")]);
    fs::rename(world.token_file(), world.at("away")).expect("moved");
    world.sign(&granted, &build).trouble("cannot be used");
    status().says("foo 1.2.4");
    world.host(&[&"grants", &"revoke", &granted.id]).ok();
    status().says("every signing run is finished");
}

#[test]
fn an_occupied_place_is_not_overwritten() {
    let world = World::ready();
    let (granted, build) = world.attested();
    let release = world.release(&granted);
    fs::create_dir(&release).expect("a folder");
    fs::write(release.join("precious"), b"precious").expect("written");
    world
        .sign(&granted, &build)
        .usage("is there already and is not this release")
        .says("-o");
    assert_eq!(listing(&release), ["precious"]);

    let elsewhere = world.at("elsewhere");
    world.sign_into(&elsewhere, &granted, &build).ok();
    // Signed by now, but the place is taken as before.
    world
        .sign(&granted, &build)
        .usage("is there already and is not this release");
    assert_eq!(listing(&release), ["precious"]);
    fs::remove_dir_all(&release).expect("removed");
    let count = world.token_count();
    world.sign(&granted, &build).ok();
    assert_eq!(
        (tree(&release), world.token_count()),
        (tree(&elsewhere), count)
    );
}

#[test]
fn a_dry_run_changes_nothing() {
    let world = World::ready();
    let (granted, build) = world.attested();
    let dry_run = || world.sign(&granted, &build).with(&[&"--dry-run"]);
    let (log, count, inbox) = (world.log(), world.token_count(), listing(&world.inbox()));
    // What is aside has an owner, who gets a name before the first.
    dry_run().ok();
    let home = tree(&world.home());
    dry_run()
        .ok()
        .says("3 signatures by the token (0 kept from an earlier run)")
        .says("PIN        none needed");
    assert_eq!(
        (world.log(), world.token_count(), listing(&world.inbox())),
        (log, count, inbox)
    );
    let after = tree(&world.home());
    assert_eq!(
        after.keys().collect::<Vec<_>>(),
        home.keys().collect::<Vec<_>>()
    );
    let plan = dry_run().with(&[&"--json"]).ok().json();
    assert_eq!(
        (&plan["dry_run"], &plan["token_signatures"]),
        (&true.into(), &3.into())
    );

    // It did not close the grant either.
    assert!(world.logged("evidence-accepted").is_empty());
    world.sign(&granted, &build).ok();
    dry_run()
        .ok()
        .says("0 signatures by the token (3 kept from an earlier run)");
}

// ---- The home ----

#[test]
fn a_home_that_others_can_read_is_not_used() {
    let world = World::ready();
    assert_eq!(mode(&world.home()), 0o700);
    assert_eq!(mode(&world.home().join("grants")), 0o700);
    for (name, bits) in [
        ("", 0o755),
        ("grants", 0o755),
        ("config.toml", 0o644),
        ("ledger.sqlite", 0o660),
    ] {
        let path = world.home().join(name);
        let path = if name.is_empty() { world.home() } else { path };
        let before = mode(&path);
        set_mode(&path, bits);
        let said = world.host(&[&"log", &"list"]).run().0;
        assert_eq!(said.code, 2, "{said:?}");
        let said = said.says(&format!(
            "has mode {bits:04o}; it must be {before:04o}, for its owner alone"
        ));
        said.says(&format!("run `chmod {before:03o} {}`", path.display()));
        set_mode(&path, before);
    }
    world.host(&[&"log", &"list"]).ok();
    for (name, _) in tree(&world.home()) {
        assert_eq!(mode(&world.home().join(&name)), 0o600, "{name}");
    }
}

#[test]
fn an_unknown_key_of_the_configuration_is_refused_with_the_nearest_known_one() {
    let world = World::ready();
    let config = world.home().join("config.toml");
    let text = fs::read_to_string(&config).expect("the configuration");
    write_private(&config, format!("{text}\nvalid_fro = \"1h\"\n").as_bytes());
    let said = world.host(&[&"log", &"list"]).run().0;
    assert_eq!(said.code, 2, "{said:?}");
    said.says("unknown key `valid_fro`; did you mean `valid_for`?");
}

#[test]
fn the_configuration_sets_the_defaults() {
    let world = World::ready();
    let config = world.home().join("config.toml");
    let text = fs::read_to_string(&config).expect("the configuration");
    let changed = text
        .replace("#digest = \"sha256\"", "digest = \"sha512\"")
        .replace("#max_count = 100", "max_count = 2")
        .replace("#max_bytes = 10737418240", "max_bytes = 200000");
    assert_ne!(changed, text);
    write_private(&config, changed.as_bytes());
    let (granted, build) = world.attested();
    let limits = granted.terms()["artifacts"].clone();
    assert_eq!(
        (&limits["max_count"], &limits["max_bytes"]),
        (&2.into(), &200_000.into())
    );
    world.sign(&granted, &build).ok();
    world.verify(&world.release(&granted)).ok();
    assert_eq!(world.logged("intent")[0]["hash"], "sha512");
}

#[test]
fn without_a_home_there_is_advice() {
    let world = World::new();
    world
        .host(&[&"sign", &"grant.json", &"--from", &"."])
        .usage("there is no signing host's home at")
        .says("countersign init");
}

#[test]
fn the_home_comes_from_the_command_line_or_the_environment() {
    let world = World::new();
    let (variable, xdg) = (world.at("by-variable"), world.at("data"));
    let init = |name: &str| {
        let token = format!("file:{}", world.at(name).display());
        world.countersign(&[
            &"init",
            &"--token",
            &token,
            &"--generate",
            &"ed25519",
            &"--user-id",
            &USER_ID,
        ])
    };
    init("a")
        .env("COUNTERSIGN_HOME", &variable)
        .env("XDG_DATA_HOME", &xdg)
        .ok();
    assert!(variable.join("config.toml").exists() && !xdg.exists());
    init("b").env("XDG_DATA_HOME", &xdg).ok();
    assert!(xdg.join("countersign/config.toml").exists());
    init("c").ok();
    assert!(world.at(".local/share/countersign/config.toml").exists());
    init("d")
        .env("COUNTERSIGN_HOME", &variable)
        .with(&[&"--home", &world.home()])
        .ok();
    assert!(world.home().join("config.toml").exists());
}

// ---- init ----

#[test]
fn a_key_that_is_there_gets_a_certificate() {
    let world = World::ready();
    let other = world.at("other-home");
    world.init_at(&other, &[&"--user-id", &USER_ID]).ok();
    // A key is not replaced.
    let third = world.at("third-home");
    let generate = world.init_at(&third, &[&"--generate", &"ed25519", &"--user-id", &USER_ID]);
    let before = fs::read(world.token_file()).expect("the key");
    let (said, _) = generate.run();
    assert_eq!(said.code, 2, "{said:?}");
    said.says("already has a key")
        .says("leave `--generate` out to use that key");
    assert_eq!(fs::read(world.token_file()).expect("the key"), before);
}

#[test]
fn a_key_that_is_there_gets_a_certificate_on_pkcs11() {
    for make in [World::on_softhsm, World::on_kryoptic] {
        let Some(world) = make() else { return };
        let token = world.software_token();
        token.keypair("EC:prime256v1", "release-key", "07", &[]);
        world.init_with(&[&"--user-id", &USER_ID]).ok();
        world.export();
        let release = world.signed();
        world.verify(&release).ok();
        let config =
            fs::read_to_string(world.home().join("config.toml")).expect("the configuration");
        assert!(
            config.contains("serial=") && config.contains("id=%07"),
            "the key is named exactly: {config}"
        );
    }
}

#[test]
fn a_home_is_set_up_once() {
    let world = World::ready();
    let before = tree(&world.home());
    let count = world.token_count();
    world.init().usage("is set up already");
    assert_eq!(
        (tree(&world.home()).len(), world.token_count()),
        (before.len(), count)
    );
}

#[test]
fn init_can_be_repeated_after_a_wrong_pin() {
    for make in [World::on_softhsm, World::on_kryoptic] {
        let Some(world) = make() else { return };
        let pin = world.software_token().pin_file().to_owned();
        write_secret(&pin, "Falsch-0815");
        world
            .init()
            .trouble("wrong PIN for token")
            .says("is not tried again");
        assert!(!world.home().join("config.toml").exists());
        write_secret(&pin, PIN);
        world.set_up();
        let release = world.signed();
        world.verify(&release).ok();
    }
}

/// The name of a log is in its first entry, which is never changed.
#[test]
fn init_is_not_repeated_under_another_name_of_the_log() {
    let world = World::new();
    let init = |user_id: &str| {
        let token = world.token_uri();
        world.host(&[&"init", &"--token", &token, &"--user-id", &user_id])
    };
    // There is no key.
    let (said, _) = init("Foo <release@exmaple.org>").run();
    assert_ne!(said.code, 0, "{said:?}");
    init("Foo <release@example.org>")
        .usage("began its log as `exmaple.org/countersign-log`")
        .says("would name it `example.org/countersign-log`");
    assert!(!world.home().join("config.toml").exists());
    let generate: Arguments<'_> = &[&"--generate", &"ed25519"];
    let again = init("Foo <other@exmaple.org>").with(generate);
    again.ok();
}

#[test]
fn init_can_be_repeated_after_it_was_interrupted_with_the_key_made() {
    let world = World::new();
    let counter = format!("{}.count", world.token_file().display());
    fs::write(&counter, b"spoilt").expect("a token that makes a key and cannot sign");
    world.init().trouble("token file");
    assert!(!world.home().join("config.toml").exists() && world.token_file().exists());
    fs::remove_file(counter).expect("the token is well again");
    let (said, _) = world.init().run();
    assert_eq!(said.code, 2);
    said.says("already has a key")
        .says("leave `--generate` out to use that key");
    world.init_with(&[&"--user-id", &USER_ID]).ok();
    world.export();
    let release = world.signed();
    world.verify(&release).ok();
}

#[test]
fn a_user_id_or_domain_that_cannot_be_is_refused_before_the_token_is_used() {
    let world = World::new();
    let init = |user_id: &str, more: crate::common::Arguments<'_>| {
        let run = world.init_with(&[&"--generate", &"ed25519", &"--user-id", &user_id]);
        run.with(more)
    };
    init("Foo \u{1b}[2J <release@example.org>", &[]).usage("has control characters");
    init("Foo Releases", &[])
        .usage("no email address")
        .says("--notation-domain");
    init(USER_ID, &[&"--notation-domain", &"no domain"]).usage("is not a domain name");
    init(USER_ID, &[&"--expires", &"100y"]).usage("cannot be valid for");
    assert!(!world.token_file().exists() && !world.home().exists());
    init("Foo Releases", &[&"--notation-domain", &"example.net"]).ok();
    world.export();
    world.signed();
    let notation = |name: &str| {
        fs::read_to_string(world.home().join(name))
            .expect("there")
            .contains("example.net")
    };
    assert!(notation("config.toml"));
}

/// The primary key is offline; the token has the signing subkey alone.
#[test]
fn the_signing_subkey_is_found_while_the_primary_key_is_offline() {
    let world = World::new();
    let (certificate, subkey) = a_certificate_with_its_subkey_on(&world);
    fs::write(world.token_file(), &subkey.pem).expect("written");
    set_mode(world.token_file(), 0o600);
    signs_with_the_subkey(
        &world,
        &world.token_uri(),
        &certificate,
        &subkey.fingerprint,
    );
}

#[test]
fn the_signing_subkey_is_found_on_softhsm() {
    let Some(world) = World::on_softhsm() else {
        return;
    };
    let (certificate, subkey) = a_certificate_with_its_subkey_on(&world);
    let pem = world.at("subkey.pem");
    write_secret(&pem, &subkey.pem);
    let token = world.software_token();
    // Another key beside it, which comes first.
    token.as_user([
        "--keypairgen",
        "--key-type",
        "EC:prime256v1",
        "--label",
        "other",
    ]);
    let (variable, configuration) = token.env();
    let setting = format!("{variable}={}", configuration.display());
    let import: crate::common::Arguments<'_> = &[
        &setting,
        &"softhsm2-util",
        &"--import",
        &pem,
        &"--token",
        &token.label(),
    ];
    let named: crate::common::Arguments<'_> =
        &[&"--label", &"subkey", &"--id", &"0a", &"--pin", &PIN];
    crate::common::tool("env", &[import, named].concat(), &world.at("."));
    signs_with_the_subkey(&world, &token.uri(), &certificate, &subkey.fingerprint);
}

struct Subkey {
    pem: String,
    fingerprint: String,
}

fn a_certificate_with_its_subkey_on(world: &World) -> (std::path::PathBuf, Subkey) {
    let made = openpgp::with_signing_subkey(USER_ID);
    let path = world.at("published.asc");
    fs::write(&path, made.certificate).expect("written");
    (
        path,
        Subkey {
            pem: openpgp::pkcs8_pem(&made.secret),
            fingerprint: made.fingerprint,
        },
    )
}

fn signs_with_the_subkey(world: &World, token: &str, certificate: &Path, subkey: &str) {
    let ready = world
        .host(&[
            &"init",
            &"--token",
            &token,
            &"--cert",
            &certificate,
            &"--json",
        ])
        .ok()
        .json();
    assert_eq!(ready["key"], subkey);
    assert_ne!(ready["certificate"], subkey);
    world.export();
    let release = world.signed();
    world
        .verify(&release)
        .with(&[&"--verbose"])
        .ok()
        .says(&format!("signed     by {subkey}"));
    if have(&["gpgv"]) {
        let (asc, file) = (release.join("foo.txt.asc"), release.join("foo.txt"));
        crate::common::tool(
            "gpgv",
            &[&"--keyring", &world.certificate(), &asc, &file],
            &release,
        );
    }
}

#[test]
fn a_certificate_of_another_key_is_refused_with_what_was_looked_for() {
    let (world, other) = (World::ready(), World::ready());
    let home = world.at("other-home");
    let init = world.countersign(&[&"--home", &home, &"init", &"--token", &world.token_uri()]);
    let (said, _) = init.with(&[&"--cert", &other.certificate()]).run();
    assert_eq!(said.code, 2, "{said:?}");
    said.says("has a signing key of certificate")
        .says("countersign key list");
    assert!(!home.join("config.toml").exists());
}

#[test]
fn a_lost_home_is_restored_from_the_published_certificate() {
    let world = World::ready();
    lose_the_home_and_restore_it(&world);
}

#[test]
fn a_lost_home_is_restored_from_the_published_certificate_on_pkcs11() {
    for make in [World::on_softhsm, World::on_kryoptic] {
        let Some(world) = make() else { return };
        world.set_up();
        lose_the_home_and_restore_it(&world);
    }
}

fn lose_the_home_and_restore_it(world: &World) {
    let check = || world.host(&[&"key", &"check", &"--json"]).ok().json();
    let before = check();
    let first = world.signed();
    let published = fs::read(world.certificate()).expect("the certificate");
    let kept = world.new_folder("kept").join("foo-1.2.3");
    fs::rename(&first, &kept).expect("moved");
    fs::remove_dir_all(world.home()).expect("lost");

    world.init_with(&[&"--cert", &world.certificate()]).ok();
    let after = check();
    for field in ["key", "certificate", "user_ids", "expires"] {
        assert_eq!(before[field], after[field], "{field}");
    }
    world.export();
    assert_eq!(
        fs::read(world.certificate()).expect("the certificate"),
        published
    );
    // What was signed before is good, and it signs on.
    world.verify(&kept).ok();
    let second = world.signed();
    world.verify(&second).ok();
}

// ---- The release key ----

#[test]
fn the_release_key_is_looked_at() {
    for world in [
        Some(World::new()),
        World::on_softhsm(),
        World::on_kryoptic(),
    ]
    .into_iter()
    .flatten()
    {
        world.set_up();
        let uses = |world: &World| world.log().len();
        let before = uses(&world);
        world
            .host(&[&"key", &"check"])
            .ok()
            .says("the token shows the public half of this key");
        let listed = world.host(&[&"key", &"list", &"--json"]).ok().json();
        assert_eq!(listed["keys"][0]["release_key"], true, "{listed}");
        assert_eq!(uses(&world), before, "neither takes the PIN");
        world
            .host(&[&"key", &"check", &"--sign"])
            .ok()
            .says("the token signed a test text");
        assert_eq!(
            world
                .logged("key-intended")
                .last()
                .expect("logged before it was done")["purpose"],
            "self-test"
        );
        let armoured = world.host(&[&"key", &"export"]).ok().stdout;
        assert!(
            armoured.starts_with("-----BEGIN PGP PUBLIC KEY BLOCK-----"),
            "{armoured}"
        );
    }
}

#[test]
fn a_certificate_is_written_over_by_its_next_export_and_nothing_else_is() {
    let world = World::ready();
    let export = |name| world.host(&[&"key", &"export", &"--binary", &"-o", &world.at(name)]);
    export("release.pgp").ok();
    export("release.pgp").ok();
    write_private(&world.at("pin"), b"13572468\n");
    export("pin").usage("exists already");
    // What is behind a link is not looked at, and the link is not written over.
    for (link, target) in [
        ("loop", "loop"),
        ("link", "release.pgp"),
        ("none", "nowhere"),
    ] {
        symlink(target, world.at(link)).expect("linked");
        export(link).usage("exists already");
        assert!(world.at(link).is_symlink(), "{link}");
    }
    assert_eq!(
        fs::read(world.at("pin")).expect("still there"),
        b"13572468\n"
    );
}

/// Files for others to read would make it a home that is refused.
#[test]
fn nothing_is_written_into_the_home() {
    let world = World::ready();
    let (granted, build) = world.attested();
    world.sign(&granted, &build).ok();
    let release = world.release(&granted);
    let (fresh, home) = (world.grant_of("1.2.4", &[]), world.home());
    symlink(home.join("grants"), world.at("link")).expect("linked");
    let artifact = build.at("foo.txt");
    let before = tree(&home);
    for folder in [home.clone(), home.join("grants"), world.at("link")] {
        let file = folder.join("new");
        let sign: Arguments<'_> = &[&"sign", &granted.grant, &"--from", &build.folder];
        let commands: [Arguments<'_>; 10] = [
            &[&"grant", &"bar", &"1", &"-o", &folder],
            &[
                &"sign",
                &granted.grant,
                &"--from",
                &build.folder,
                &"-o",
                &file,
            ],
            &[&"key", &"export", &"-o", &file],
            &[&"build-key", &"-o", &file],
            &[&"approve", &granted.grant, &"--yes", &"-o", &file],
            &[&"attest", &"--key", &fresh.key, &"-o", &folder, &artifact],
            &[
                &"admit",
                &"--cert",
                &world.certificate(),
                &world.inbox(),
                &folder,
            ],
            &[&"log", &"prove", &release.join("foo.txt"), &"-o", &file],
            &[&"log", &"export", &file],
            &[sign, &[&"--dry-run", &"-o", &file]].concat(),
        ];
        for command in commands {
            world.host(command).usage("leads into the home");
        }
        // Where nothing is named, it is the current folder.
        let here: [Arguments<'_>; 3] = [
            &[&"grant", &"bar", &"1"],
            sign,
            &[&"log", &"prove", &release.join("foo.txt")],
        ];
        for command in here {
            world
                .host(command)
                .from(&folder)
                .usage("leads into the home");
        }
    }
    assert_eq!(tree(&home), before);
    world.host(&[&"status"]).ok();
}

/// It is the command that has to change.
#[test]
fn a_path_through_a_file_is_a_mistake_of_the_command() {
    let world = World::ready();
    let file = world.certificate();
    let commands: [Arguments<'_>; 5] = [
        &[&"grant", &"bar", &"1", &"-o", &"/dev/null"],
        &[&"grant", &"bar", &"1", &"-o", &file],
        &[&"key", &"export", &"-o", &file.join("new")],
        &[&"build-key", &"-o", &file.join("new")],
        &[&"key", &"export", &"-o", &"/dev/null"],
    ];
    for command in commands {
        world.host(command).usage("");
    }
}

#[test]
fn a_damaged_certificate_is_put_back_from_where_it_is_published() {
    let world = World::ready();
    write_private(&world.home().join("release.asc"), b"garbage\n");
    world
        .host(&[&"status"])
        .stops(2, "release certificate")
        .says("put the certificate back from where it is published");
}

/// The wrong user is not advised to set up what is there.
#[test]
fn a_home_that_may_not_be_looked_into_is_not_missing() {
    let world = World::ready();
    let is_root = rustix::process::geteuid().is_root();
    if is_root && !have(&["setpriv"]) {
        return;
    }
    let program = env!("CARGO_BIN_EXE_countersign");
    // Root may look into every folder, unless that is taken from it.
    let (starter, before): (_, Arguments<'_>) = match is_root {
        true => (
            "setpriv",
            &[&"--bounding-set=-all", &"--inh-caps=-all", &program],
        ),
        false => (program, &[]),
    };
    let outer = world.at("outer");
    let home = outer.join("home");
    fs::create_dir(&outer).expect("made");
    copy_tree(&world.home(), &home);
    let status = || {
        tool_refuses(
            starter,
            &[before, &[&"--home", &home, &"status"]].concat(),
            &world.at(""),
        )
    };
    if is_root {
        chown(&home, Some(65534), None).expect("given away");
        fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).expect("closed");
        let said = status();
        assert!(
            said.code == 2 && said.stderr.contains("belongs to user 65534"),
            "{said:?}"
        );
    }
    fs::set_permissions(&outer, fs::Permissions::from_mode(0o000)).expect("closed");
    let said = status();
    fs::set_permissions(&outer, fs::Permissions::from_mode(0o700)).expect("opened");
    assert!(
        said.code == 2 && said.stderr.contains("Permission denied"),
        "{said:?}"
    );
}

// ---- The location ----

#[test]
fn a_refused_submission_stays_until_it_is_mended() {
    let world = World::ready();
    let release = world.signed();
    let signature = fs::read(release.join("foo.txt.asc")).expect("a signature");
    fs::remove_file(release.join("foo.txt.asc")).expect("removed");
    world
        .admit()
        .refused("foo-1.2.3: refused, `foo.txt.asc` is missing")
        .says("in `NAME.refused`");
    assert_eq!(listing(&world.inbox()), ["foo-1.2.3", "foo-1.2.3.refused"]);
    let note = fs::read_to_string(world.inbox().join("foo-1.2.3.refused")).expect("the note");
    let (reason, state) = note.split_once('\n').expect("two lines");
    assert_eq!(reason, "`foo.txt.asc` is missing");
    assert!(state.starts_with("state: ") && state.len() == 72, "{state}");
    // Refused again, for the same reason and under the same note.
    world
        .admit()
        .refused("did not change: `foo.txt.asc` is missing");
    assert_eq!(listing(&world.inbox()).len(), 2);

    fs::write(release.join("foo.txt.asc"), signature).expect("mended");
    world.admit().ok();
    assert_eq!(
        (listing(&world.inbox()), world.public()),
        (
            vec!["foo-1.2.3.admitted".to_owned()],
            vec!["foo-1.2.3".to_owned()]
        )
    );
}

#[test]
fn a_release_that_comes_twice_is_admitted_once() {
    let world = World::ready();
    let release = world.signed();
    let again = world.at("again");
    copy_tree(&release, &again);
    world.admit().ok();
    let public = tree(&world.releases());
    fs::rename(again, &release).expect("pushed again");
    world.admit().ok().says("was admitted already");
    assert_eq!(
        (listing(&world.inbox()), tree(&world.releases())),
        (vec!["foo-1.2.3.admitted".to_owned()], public)
    );
}

#[test]
fn an_empty_inbox_and_what_is_still_being_written() {
    let world = World::ready();
    world.admit().ok().says("nothing there");
    let release = world.signed();
    fs::rename(&release, world.inbox().join(".foo-1.2.3")).expect("on its way");
    world.admit().ok().says("nothing there");
    assert_eq!(listing(&world.inbox()), [".foo-1.2.3"]);
}

#[test]
fn the_location_needs_nothing_of_the_signing_host() {
    let world = World::ready();
    world.signed();
    fs::remove_dir_all(world.home()).expect("not here");
    fs::remove_file(world.token_file()).expect("not here");
    world.admit().ok();
    world.verify(&world.releases().join("foo-1.2.3")).ok();
}

// ---- One signature for the whole release ----

#[test]
fn a_release_is_signed_as_a_whole() {
    let world = World::ready();
    let (granted, build) = world.attested_with(&[&"--form", &"list"]);
    let sign = || world.sign(&granted, &build);
    let before = world.token_count();
    sign()
        .with(&[&"--dry-run"])
        .ok()
        .says("1 signatures by the token");
    sign().ok().says("only SHA256SUMS carries a signature");
    assert_eq!(world.token_count(), before + 1);
    sign().ok().says("signed already");
    assert_eq!(world.token_count(), before + 1);
    assert_eq!(world.logged("intent")[0]["form"], "list");
    world
        .host(&[&"log", &"list"])
        .ok()
        .says("1 signature, of the list of 2 artifacts");

    let release = world.release(&granted);
    assert_eq!(
        listing(&release),
        [
            "SHA256SUMS",
            "SHA256SUMS.asc",
            "evidence",
            "foo.tar",
            "foo.txt"
        ]
    );
    world
        .verify(&release)
        .ok()
        .says("good  foo 1.2.3 (2 files) by ");
    let said = world.verify(&release).with(&[&"--json"]).ok().json();
    let listed: Vec<_> = said["results"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|file| file["listed"] == true)
        .collect();
    assert_eq!(listed, [false, true, true]);
    if have(&["gpgv", "sqv"]) {
        for tool_name in ["gpgv", "sqv"] {
            let arguments: Arguments<'_> = &[
                &"--keyring",
                &world.certificate(),
                &"SHA256SUMS.asc",
                &"SHA256SUMS",
            ];
            tool(tool_name, arguments, &release);
        }
    }
    world.admit().ok().says("as a whole");
    assert_eq!(world.public(), ["foo-1.2.3"]);
    world.verify(&world.releases().join("foo-1.2.3")).ok();
}

/// Upstream's signature is an artifact like others where each artifact has none of ours, and a
/// version with an epoch has a folder without it.
#[test]
fn a_debian_source_package_is_released() {
    let world = World::ready();
    let granted = world.grant_of(
        "1:1.0-1",
        &[&"--form", &"list", &"--artifact", &"libfoo_1.0*"],
    );
    assert!(
        granted.grant.ends_with("foo-1.0-1.grant.json"),
        "{granted:?}"
    );
    let build = world.build(&[
        ("libfoo_1.0-1.debian.tar.xz", b"debian"),
        ("libfoo_1.0-1.dsc", b"description"),
        ("libfoo_1.0.orig.tar.gz", b"upstream"),
        ("libfoo_1.0.orig.tar.gz.asc", b"its signature"),
    ]);
    world.attest(&granted, &build).ok();
    let release = world.inbox().join("foo-1.0-1");
    world
        .sign_into(&release, &granted, &build)
        .ok()
        .says("signed foo 1:1.0-1");
    world.verify(&release).ok();
    world.admit().ok();
    assert_eq!(world.public(), ["foo-1.0-1"]);
    world
        .host(&[&"grant", &"foo", &"9"])
        .refused("version 9 of foo is older than 1:1.0-1");

    let each = world.grant_of("1:1.0-2", &[]);
    let said = world
        .attest(&each, &build)
        .refused("has the name of the release's signature");
    said.says("a grant of form `list`");
    assert!(each.key.exists());
}
