//! Grants after they were issued: what a person sees of them, those that are revoked, and versions
//! that go backwards.

use std::ffi::OsStr;
use std::fs;

use crate::common::world::{PATIENT, World};
use crate::common::{can_travel, listing};

/// What is built.
const ARTIFACTS: [(&str, &[u8]); 1] = [("foo.txt", b"text\n")];

// ---- Grants that are revoked ----

/// What the home keeps of it is not needed to revoke it.
#[test]
fn grant_whose_kept_copy_is_damaged_is_revoked() {
    let world = World::ready();
    let (granted, build) = world.attested();
    let hex = granted.id.trim_start_matches("sha256:");
    fs::write(world.home().join(format!("grants/{hex}.json")), "{}").expect("damaged");
    world
        .host(&[&"grants", &"show", &hex])
        .usage("is not a grant");
    world
        .host(&[&"grants", &"revoke", &hex])
        .ok()
        .says(&format!("revoked grant {} of foo 1.2.3", granted.id));
    world.refuses(&granted, &build, "was revoked at");
}

#[test]
fn revoked_after_its_release_was_signed() {
    let world = World::ready();
    let (granted, build) = world.attested();
    world.sign(&granted, &build).ok();
    world
        .host(&[&"grants", &"revoke", &granted.id])
        .ok()
        .says("its release was signed before, and stays signed");
    let listed = world
        .host(&[&"grants", &"list"])
        .ok()
        .says("revoked (entry")
        .says(", signed before (entry");
    assert_eq!(listed.stdout.lines().count(), 1, "{listed:?}");
}

#[test]
fn revoked_grant() {
    let world = World::ready();
    let (granted, build) = world.attested();
    let revoke = || {
        world.host(&[
            &"grants",
            &"revoke",
            &granted.id,
            &"--reason",
            &"m1 was compromised",
        ])
    };
    revoke().ok().says("revoked grant").says("ledger     entry");
    world.refuses(&granted, &build, "was revoked at");
    revoke().usage("was revoked before, in ledger entry");
    let logged = world.logged("grant-revoked").remove(0);
    assert_eq!(
        (&logged["grant"], &logged["reason"]),
        (&granted.id.clone().into(), &"m1 was compromised".into())
    );
    world
        .host(&[&"grants", &"list"])
        .ok()
        .says("revoked (entry");
    // A new one for the same version is another grant.
    let (granted, build) = world.attested();
    world.sign(&granted, &build).ok();
}

/// A grant is closed at once: not even a run that was begun goes on.
#[test]
fn grant_revoked_in_the_middle_of_a_run() {
    let world = World::ready();
    let (granted, build) = world.attested();
    world.without(world.token_file(), || {
        world.sign(&granted, &build).trouble("")
    });
    world.host(&[&"grants", &"revoke", &granted.grant]).ok();
    let uses = world.token_count();
    world.sign(&granted, &build).refused("was revoked at");
    assert_eq!(world.token_count(), uses);
}

/// A revocation does not wait for a run in progress; the next command wipes.
#[test]
fn grant_is_revoked_while_another_process_has_it() {
    let world = World::ready();
    let granted = world.grant_with(&[&"--scheme", &"hmac"]);
    let (home, _lock) = world.opened();
    let id = granted.id.parse().expect("an id");
    let held = home.hold_grant(id, PATIENT).expect("free");
    world.host(&[&"grants", &"revoke", &granted.grant]).ok();
    let nonces = || listing(&world.home().join("nonces")).len();
    assert_eq!(nonces(), 1);
    drop(held);
    world.grant_of("2", &[]);
    assert_eq!(nonces(), 0);
}

#[test]
fn grant_of_another_host_is_not_revoked() {
    let (world, other) = (World::ready(), World::ready());
    let granted = other.grant();
    world
        .host(&[&"grants", &"revoke", &granted.grant])
        .usage("was not issued by this signing host");
    world
        .host(&[&"grants", &"revoke", &"00000000"])
        .usage("no grant `00000000` is kept in this home");
}

// ---- Versions ----

#[test]
fn versions_only_grow() {
    let world = World::ready();
    let sign = |version: &str, more: &[&'static str]| {
        let arguments: Vec<&dyn AsRef<OsStr>> =
            more.iter().map(|it| it as &dyn AsRef<OsStr>).collect();
        let (granted, build) = (world.grant_of(version, &arguments), world.build(&ARTIFACTS));
        world.attest(&granted, &build).ok();
        world.sign(&granted, &build).ok();
    };
    sign("1.9", &[]);
    sign("1.10", &[]);
    world
        .host(&[&"grant", &"foo", &"1.9.1"])
        .refused("version 1.9.1 of foo is older than 1.10");
    world
        .host(&[&"grant", &"foo", &"1.10-rc1"])
        .refused("is older than 1.10");
    world
        .host(&[&"grant", &"bar", &"0.1", &"-o", &world.new_folder("other")])
        .ok();
    // The person decides: granted with the flag, it is signed without it
    // again.
    sign("1.9.1", &["--allow-older"]);
    assert_eq!(
        world.logged("grant-issued").pop().expect("an entry")["allow_older"],
        true
    );
}

/// Granted in order, signed out of order: the older one was overtaken.
#[test]
fn version_that_was_overtaken() {
    let world = World::ready();
    let builds = ["1.0", "1.1", "1.2"].map(|version| {
        let (granted, build) = world.attested_of(version, &[], &ARTIFACTS);
        (granted, build)
    });
    world.sign(&builds[1].0, &builds[1].1).ok();
    world.sign(&builds[2].0, &builds[2].1).ok();
    world.refuses(
        &builds[0].0,
        &builds[0].1,
        "version 1.0 is older than 1.2, which was signed before",
    );
    world
        .sign(&builds[0].0, &builds[0].1)
        .with(&[&"--allow-older"])
        .ok();
    // What is signed can be published again, the older one too, without the flag.
    let uses = world.token_count();
    for (granted, build) in &builds {
        world.sign(granted, build).ok().says("signed already");
    }
    assert_eq!(world.token_count(), uses);
}

// ---- What people see ----

#[test]
fn grants_are_shown_for_a_person_to_approve() {
    let world = World::ready();
    let first = world.grant_of(
        "1.2.2",
        &[
            &"--source-uri",
            &"https://example.org/foo",
            &"--source-digest",
            &"sha1:aa",
        ],
    );
    let granted = world.grant_with(&[&"--builder", &"m2", &"--builder", &"m3", &"--quorum", &"2"]);
    let show = |grant: &dyn AsRef<OsStr>| world.host(&[&"grants", &"show", &grant]).ok();
    for said in [show(&granted.grant), show(&granted.id)] {
        for part in [
            granted.id.as_str(),
            "project    foo",
            "version    1.2.3",
            "source     not given",
            "builders   m1, m2, m3",
            "quorum     2 of 3 must agree",
            "evidence   openpgp manifest",
            "artifacts  `*`; at most 100, 10737418240 bytes",
            "state      open until",
            "approvals  none needed: issuing it was the approval",
            "version 1.2.2",
            "builders   m1 -> m1, m2, m3",
            "source     https://example.org/foo sha1:aa -> not given",
        ] {
            assert!(
                said.stdout.contains(part),
                "`{part}` is not in\n{}",
                said.stdout
            );
        }
    }
    show(&first.id).says("it is the first grant of this project");
    // Without a home, the file can be read.
    let said = world
        .countersign(&[
            &"--home",
            &world.at("nothing"),
            &"grants",
            &"show",
            &granted.grant,
        ])
        .ok();
    assert!(
        said.stdout.contains("quorum     2 of 3 must agree") && !said.stdout.contains("state"),
        "{said:?}"
    );
    let strange = World::ready()
        .host(&[&"grants", &"show", &granted.grant])
        .ok();
    assert!(
        strange.stdout.contains("not issued by this signing host"),
        "{strange:?}"
    );

    let listed = world.host(&[&"grants", &"list", &"--project", &"foo"]).ok();
    assert_eq!(listed.stdout.lines().count(), 2, "{listed:?}");
    world
        .host(&[&"grants", &"list", &"--project", &"bar"])
        .ok()
        .says("no grant of bar was issued");
}

#[test]
fn grants_are_listed_by_state_time_and_number() {
    let world = World::ready();
    let (signed, build) = world.attested();
    world.sign(&signed, &build).ok();
    let [revoked, open] = ["1.2.4", "1.2.5"].map(|version| world.grant_of(version, &[]));
    world.host(&[&"grants", &"revoke", &revoked.id]).ok();
    let listed = |options: &[&dyn AsRef<OsStr>]| -> Vec<(String, String)> {
        let run = world
            .host(&[&"grants", &"list", &"--json"])
            .with(options)
            .ok();
        let grants = run.json()["grants"].as_array().expect("a list").clone();
        let text =
            |grant: &serde_json::Value, key: &str| grant[key].as_str().expect("a text").to_owned();
        grants
            .iter()
            .map(|grant| (text(grant, "grant"), text(grant, "issued")))
            .collect()
    };
    let ids = |options: &[&dyn AsRef<OsStr>]| -> Vec<String> {
        listed(options).into_iter().map(|(id, _)| id).collect()
    };
    assert_eq!(ids(&[]), [&*signed.id, &*revoked.id, &*open.id]);
    assert_eq!(ids(&[&"--open"]), [&*open.id]);
    assert_eq!(ids(&[&"--limit", &"2"]), [&*revoked.id, &*open.id]);
    assert_eq!(ids(&[&"--since", &"1h-ago"]).len(), 3);
    let issued = &listed(&[])[0].1;
    assert_eq!(ids(&[&"--since", issued, &"--project", &"foo"]).len(), 3);
    assert!(ids(&[&"--since", &"2100-01-01T00:00:00Z"]).is_empty());
    world
        .host(&[&"grants", &"list", &"--since", &"2100-01-01T00:00:00Z"])
        .ok()
        .says("no grant fits");
    world.host(&[&"grants", &"list"]).ok().says(issued);
    world
        .host(&[&"grants", &"list", &"--since", &"soon"])
        .usage("`14d-ago`");
}

/// A list reads the kept copies of open grants alone, and each by its name.
#[test]
fn a_list_of_no_grants_is_not_asked_for() {
    let world = World::ready();
    world.grant();
    world
        .host(&[&"grants", &"list", &"--limit", &"0"])
        .usage("--limit");
}

#[test]
fn a_list_needs_the_copies_of_open_grants_alone() {
    let world = World::ready();
    let (signed, build) = world.attested();
    world.sign(&signed, &build).ok();
    let open = world.grant_of("1.2.4", &[]);
    let damage = |id: &str| {
        let hex = id.trim_start_matches("sha256:");
        fs::write(world.home().join(format!("grants/{hex}.json")), "{}").expect("damaged");
    };
    damage(&signed.id);
    let list = || world.host(&[&"grants", &"list"]).ok();
    list().says("signed (entry").says("open until");
    damage(&open.id);
    list().says("signed (entry").says("unknown: grant `");
}

#[test]
fn state_of_a_grant() {
    let world = World::ready();
    let (granted, build) = world.attested();
    let state = |clock: Option<&str>| {
        let run = world.host(&[&"grants", &"list", &"--json"]);
        let run = match clock {
            Some(clock) => run.at(clock),
            None => run,
        };
        run.ok().json()["grants"][0]["state"]
            .as_str()
            .expect("a text")
            .to_owned()
    };
    assert!(state(None).starts_with("open until"));
    if can_travel() {
        assert!(state(Some("+7h")).starts_with("expired at"));
    }
    world.without(world.token_file(), || {
        world.sign(&granted, &build).trouble("");
        assert!(state(None).starts_with("accepted, not signed yet"));
    });
    world.sign(&granted, &build).ok();
    assert!(state(None).starts_with("signed"));
}

// ---- Releases that would have one name ----

#[test]
fn two_releases_never_get_one_folder() {
    let world = World::ready();
    let grant = |project: &str, version: &str| {
        let folder = world.new_folder("grant");
        let run = world.host(&[&"grant", &project, &version, &"-o", &folder]);
        (run, folder)
    };
    grant("foo", "3-1").0.ok();
    for (project, version, reason) in [
        ("foo-3", "1", "would have the folder of foo 3-1, `foo-3-1`"),
        (
            "foo",
            "1:3-1",
            "would have the folder of foo 3-1, `foo-3-1`",
        ),
        ("Foo", "4", "project `Foo` differs in case alone from `foo`"),
    ] {
        let (run, folder) = grant(project, version);
        run.refused(reason).says("granted in ledger entry");
        assert_eq!(listing(&folder), [""; 0], "a file of no grant");
    }
    assert_eq!(world.logged("grant-issued").len(), 1);
    let id = world.logged("grant-issued")[0]["grant"].clone();
    let id = id.as_str().expect("an id");
    world.host(&[&"grants", &"revoke", &id]).ok();
    grant("Foo", "4").0.ok();
    grant("foo", "3-1").0.refused("differs in case alone");
}
