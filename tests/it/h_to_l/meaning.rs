//! A good signature that is passed off as another: of another file, of another release, of a list.
//! Whoever verifies refuses it, with `verify` and with `admit`.

use std::fs;
use std::path::{Path, PathBuf};

use countersign::domain::key::{HashAlgorithm, PublicKey, RawSignature};
use countersign::domain::signing::{Message, Statement};
use countersign::domain::time::Timestamp;
use countersign::openpgp::{Certificate, DetachedSignature, HashState, make_release_signature};
use ed25519_dalek::Signer as _;
use ed25519_dalek::pkcs8::DecodePrivateKey as _;
use sequoia_openpgp::serialize::MarshalInto as _;

use crate::common::world::{Build, Granted, World, entry};
use crate::common::{Arguments, Run, Said, copy, copy_tree, have, openpgp, tool};

const NAME: &str = "foo-1.2.3";
const RELEASE: &str = "evidence/release.json";

/// Neither program takes the release in the inbox, and both say why.
#[track_caller]
fn both_refuse(world: &World, release: &Path, reason: &str) {
    world.verify(release).refused(reason);
    world.admit().refused(reason);
    assert_eq!(world.public(), [""; 0]);
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

// ---- One signature for another ----

/// A release of two files with the same bytes.
fn of_equal_files(world: &World, version: &str) -> PathBuf {
    let granted = world.grant_of(version, &[]);
    let build = world.build(&[("foo-a", b"same\n"), ("foo-b", b"same\n")]);
    world.attest(&granted, &build).ok();
    world.sign(&granted, &build).ok();
    world.release(&granted)
}

#[test]
fn a_signature_is_good_for_its_own_file_of_its_own_release() {
    let world = World::ready();
    let release = of_equal_files(&world, "1.2.3");
    let other = of_equal_files(&world, "1.2.4");
    let kept = world.at("kept");
    fs::rename(&other, &kept).expect("out of the inbox");
    let genuine = world.at("genuine");
    copy_tree(&release, &genuine);
    let files = ["foo-a", "foo-b"];
    for (from, own) in [(&genuine, true), (&kept, false)] {
        for signed in files {
            for claimed in files {
                if own && signed == claimed {
                    continue;
                }
                let place = release.join(format!("{claimed}.asc"));
                copy(&from.join(format!("{signed}.asc")), &place);
                both_refuse(&world, &release, "was made for something else");
                if signed != claimed {
                    let file = release.join(claimed);
                    world.verify(&file).refused("was made for something else");
                }
                copy(&genuine.join(format!("{claimed}.asc")), &place);
            }
        }
    }
    world.admit().ok();
    world.verify(&world.releases().join(NAME)).ok();
}

// ---- What a signature must say ----

pub(super) type Notations = Vec<(String, String)>;

/// Signs these bytes with the release key, as a signing host would that says something else.
pub(super) fn sign_saying(world: &World, bytes: &[u8], notations: Notations) -> String {
    let secret = fs::read_to_string(world.token_file()).expect("the token");
    let secret = ed25519_dalek::SigningKey::from_pkcs8_pem(&secret).expect("a key");
    sign_with(world, &secret, bytes, notations)
}

/// The same, with another key of the certificate.
pub(super) fn sign_with(
    world: &World,
    secret: &ed25519_dalek::SigningKey,
    bytes: &[u8],
    notations: Notations,
) -> String {
    let now = Timestamp::now();
    let public = PublicKey::Ed25519(secret.verifying_key().to_bytes());
    let keys = certificate(world).signing_keys(now).expect("keys");
    let mut keys = keys.into_iter().filter(|key| *key.public() == public);
    let key = keys.next().expect("a key of the certificate");
    let hash = HashAlgorithm::Sha256;
    let mut sign = |message: &Message<'_>| {
        Ok::<_, std::convert::Infallible>(RawSignature::Ed25519(
            secret.sign(&message.digest().bytes).to_bytes(),
        ))
    };
    let what = Statement::evidence(now, hash, notations);
    make_release_signature(&key, &HashState::of(bytes, hash), &what, &mut sign).expect("signed")
}

fn certificate(world: &World) -> Certificate {
    Certificate::parse(&read(&world.certificate())).expect("a certificate")
}

/// What a signature says.
pub(super) fn notations(world: &World, file: &Path) -> Notations {
    let signature = read(&file.with_file_name(format!("{}.asc", name(file))));
    let signature = DetachedSignature::parse_release(&signature).expect("a signature");
    let state = HashState::of(&read(file), signature.hash());
    let signed = signature.check(&certificate(world), &state, "it", Timestamp::now());
    signed.expect("a good one").notations
}

fn name(path: &Path) -> String {
    path.file_name()
        .expect("a name")
        .to_string_lossy()
        .into_owned()
}

#[test]
fn each_notation_is_there_once_and_as_it_must_be() {
    let world = World::ready();
    let release = world.signed();
    for file in ["SHA256SUMS", "foo.txt"] {
        let path = release.join(file);
        let signature = release.join(format!("{file}.asc"));
        let genuine = read(&signature);
        let right = notations(&world, &path);
        let own = if file == "foo.txt" { "file" } else { "form" };
        let names: Vec<_> = right.iter().map(|(name, _)| name.as_str()).collect();
        let expected = ["role", "project", "version", "grant", "log", own];
        assert_eq!(names, expected.map(|name| format!("{name}@example.org")));

        let says = |notations: Notations| {
            fs::write(&signature, sign_saying(&world, &read(&path), notations)).expect("signed");
        };
        // Made anew, it is good: what is refused below is refused for what it says.
        says(right.clone());
        world.verify(&release).ok();
        for (at, (name, value)) in right.iter().enumerate() {
            let what = name.split('@').next().expect("a name");
            let with = |change: &dyn Fn(&mut Notations)| {
                let mut changed = right.clone();
                change(&mut changed);
                says(changed);
            };
            with(&|all| drop(all.remove(at)));
            both_refuse(&world, &release, &format!("no notation `{what}@"));
            with(&|all| all[at].0 = format!("{what}@example.net"));
            both_refuse(&world, &release, "is not under the domain `example.");
            let other = match what {
                "role" => "self-test".to_owned(),
                "grant" => value.replace("sha256:", "sha256:0")[..value.len()].to_owned(),
                "form" => "list".to_owned(),
                _ => format!("{value}x"),
            };
            with(&|all| all[at].1 = other.clone());
            both_refuse(&world, &release, &format!("`{name}`"));
        }
        for other in ["salt@example.org", "critical@example.org", "note"] {
            says([right.clone(), vec![(other.to_owned(), "x".to_owned())]].concat());
            both_refuse(&world, &release, &format!("its notation `{other}`"));
        }
        // All of them under one domain that is not the other signatures'.
        let elsewhere = right.iter().map(|(name, value)| {
            let name = name.replace("example.org", "example.net");
            (name, value.clone())
        });
        says(elsewhere.collect());
        both_refuse(&world, &release, "is under another domain");
        fs::write(&signature, genuine).expect("as it was");
    }
    world.admit().ok();
}

/// What the first line names is what the release is, or it is refused.
#[test]
fn the_list_and_what_it_names_first_say_the_same() {
    let world = World::ready();
    let release = world.signed();
    let sums = release.join("SHA256SUMS");
    let path = release.join("evidence/release.json");
    let text = |path: &Path| fs::read_to_string(path).expect("a text");
    let right = notations(&world, &sums);
    let list = text(&sums);
    let contents = text(&path);
    for (from, to, why) in [
        ("", "", ""),
        ("\"size\": 5,", "\"size\": 6,", "`foo.txt` has 5 bytes, but"),
        ("foo.txt", "foo.txu", "differ in the artifacts"),
        ("\"grant\": \"sha256:", "\"grant\": \"sha256:0", "is not"),
        ("1.2.3", "1.2.4", "`version@example.org` is `1.2.3`"),
        ("\"foo\"", "\"bar\"", "`project@example.org` is `foo`"),
        ("\"each\"", "\"list\"", "`form@example.org` is `each`"),
        ("{", "{ ", "is not written as countersign writes it"),
    ] {
        let changed = contents.replacen(from, to, 1);
        let [old, new] = [&contents, &changed].map(|it| entry(it.as_bytes(), RELEASE));
        let list = list.replacen(&old, &new, 1);
        fs::write(&path, &changed).expect("changed");
        fs::write(&sums, &list).expect("changed");
        let signature = sign_saying(&world, list.as_bytes(), right.clone());
        fs::write(release.join("SHA256SUMS.asc"), signature).expect("signed");
        if why.is_empty() {
            world.verify(&release).ok();
        } else {
            both_refuse(&world, &release, why);
        }
    }
}

/// A signing host signs the list alone, where the approved grant asks for a signature of each file.
#[test]
fn a_release_has_the_form_of_its_grant() {
    let world = World::ready();
    let release = world.signed();
    let sums = release.join("SHA256SUMS");
    let path = release.join(RELEASE);
    let saying = |form: &str| {
        let mut notations = notations(&world, &sums);
        let last = notations.last_mut().expect("a form");
        assert_eq!(last.0, "form@example.org");
        form.clone_into(&mut last.1);
        notations
    };
    let (right, wrong) = (saying("each"), saying("list"));
    let contents = String::from_utf8(read(&path)).expect("a text");
    let list = String::from_utf8(read(&sums)).expect("a text");
    for (form, says, why) in [
        ("\"each\"", right, ""),
        (
            "\"list\"",
            wrong,
            "asks for a release of form `each`, but this has form `list`",
        ),
    ] {
        let changed = contents.replacen("\"each\"", form, 1);
        let [old, new] = [&contents, &changed].map(|it| entry(it.as_bytes(), RELEASE));
        let list = list.replacen(&old, &new, 1);
        fs::write(&path, &changed).expect("changed");
        fs::write(&sums, &list).expect("changed");
        let signature = sign_saying(&world, list.as_bytes(), says);
        fs::write(release.join("SHA256SUMS.asc"), signature).expect("signed");
        if why.is_empty() {
            world.verify(&release).ok();
            for file in ["foo.txt.asc", "foo.tar.asc"] {
                fs::remove_file(release.join(file)).expect("removed");
            }
        } else {
            both_refuse(&world, &release, why);
        }
    }
}

// ---- A second release under one grant ----

/// What a builder keeps to itself: a build of its own under the grant, and the evidence for it.
struct Hidden {
    build: Build,
    evidence: Vec<(&'static str, Vec<u8>)>,
}

impl Hidden {
    fn new(world: &World, granted: &Granted) -> Self {
        let build = world.build(&[("foo.txt", b"backdoor\n")]);
        world.attest(granted, &build).with(&[&"--keep-key"]).ok();
        let key = openpgp::secret_key(&granted.key).strip_secret_key_material();
        let evidence = vec![
            (
                "evidence/m1/build-key.pgp",
                key.to_vec().expect("its public half"),
            ),
            (
                "evidence/m1/build.manifest",
                read(&build.at("build.manifest")),
            ),
            (
                "evidence/m1/build.manifest.sig",
                read(&build.at("build.manifest.sig")),
            ),
            ("evidence/grant.json", read(&granted.grant)),
        ];
        Self { build, evidence }
    }

    /// `evidence/release.json` as the signing host would write it.
    fn contents(&self, granted: &Granted) -> String {
        let bytes = read(&self.build.at("foo.txt"));
        let line = entry(&bytes, "");
        format!(
            "{{\n  \"format\": \"countersign-release/1\",\n  \"project\": \"foo\",\n  \
             \"version\": \"1.2.3\",\n  \"form\": \"each\",\n  \"grant\": \"{}\",\n  \
             \"artifacts\": [\n    {{\n      \"name\": \"foo.txt\",\n      \"size\": {},\n      \
             \"sha256\": \"{}\"\n    }}\n  ]\n}}\n",
            granted.id,
            bytes.len(),
            line.trim()
        )
    }

    /// The list of it, with these lines first.
    fn list(&self, first: &str) -> String {
        let evidence = self.evidence.iter();
        let evidence: String = evidence.map(|(path, bytes)| entry(bytes, path)).collect();
        format!("{first}{}{evidence}", self.build.entries())
    }
}

/// The programs: the host's, and the builder's where it was made.
pub(super) fn programs() -> Vec<PathBuf> {
    let own = PathBuf::from(env!("CARGO_BIN_EXE_countersign"));
    let builder = std::env::var_os("COUNTERSIGN_TEST_BUILDER").map(PathBuf::from);
    [own].into_iter().chain(builder).collect()
}

/// How one of them ends.
pub(super) fn end_of(program: &Path, run: Run<'_>) -> Said {
    run.by(program).run().0
}

/// A builder has an artifact signed whose bytes are the list of another release under the same
/// grant, of files that the signing host never saw, and passes its signature off as the list's.
#[test]
fn a_second_release_by_an_artifact_that_is_its_list() {
    let world = World::ready();
    let granted = world.grant();
    let hidden = Hidden::new(&world, &granted);
    let list = hidden.list("");
    let shown = world.build(&[
        ("foo.txt", b"innocent\n"),
        ("foo.data", &read(&hidden.build.at("foo.txt"))),
        ("foo.index", list.as_bytes()),
    ]);
    world.attest(&granted, &shown).ok();
    let signed = world.new_folder("signed").join(NAME);
    world.sign_into(&signed, &granted, &shown).ok();
    world.verify(&signed).ok();

    let second = world.release(&granted);
    fs::create_dir_all(second.join("evidence/m1")).expect("folders");
    for (from, to) in [("foo.index", "SHA256SUMS"), ("foo.data", "foo.txt")] {
        copy(&signed.join(from), &second.join(to));
        let asc = |name: &str| format!("{name}.asc");
        copy(&signed.join(asc(from)), &second.join(asc(to)));
    }
    for (path, bytes) in &hidden.evidence {
        fs::write(second.join(path), bytes).expect("written");
    }
    // Nothing else is wrong with it.
    assert_eq!(
        read(&second.join("evidence/m1/build-key.pgp")),
        read(&signed.join("evidence/m1/build-key.pgp"))
    );

    let reason = "it says that `SHA256SUMS` is artifact `foo.index`";
    both_refuse(&world, &second, reason);
    let sums = second.join("SHA256SUMS");
    let proof = world.at("proof");
    world.host(&[&"log", &"prove", &sums, &"-o", &proof]).ok();
    let key = world.log_key();
    for program in programs() {
        for run in [
            world.verify(&second),
            world.verify(&sums),
            world
                .verify(&sums)
                .with(&[&"--proof", &proof, &"--log-key", &key]),
        ] {
            let said = end_of(&program, run);
            assert_eq!(said.code, 1, "{}: {said:?}", program.display());
            assert!(said.stdout.contains(reason), "{said:?}");
        }
        let said = end_of(&program, world.admit());
        assert_eq!(said.code, 1, "{}: {said:?}", program.display());
    }
    world
        .host(&[&"log", &"verify", &"--release", &second])
        .refused(reason);
    assert_eq!(world.public(), [""; 0]);

    if !have(&["gpgv", "sha256sum"]) {
        return;
    }
    // With these two alone both are good, and the page's check says which of them is a release.
    for (release, is_one) in [(&signed, true), (&second, false)] {
        copy(&world.certificate(), &release.with_file_name("release.pgp"));
        let gpgv: Arguments<'_> = &[
            &"--keyring",
            &"../release.pgp",
            &"SHA256SUMS.asc",
            &"SHA256SUMS",
        ];
        tool("gpgv", gpgv, release);
        tool("sha256sum", &[&"--strict", &"-c", &"SHA256SUMS"], release);
        let check = format!("{} || true", the_check());
        let named = tool("sh", &[&"-c", &check], release).stdout;
        let expected = "  \"project\": \"foo\",\n  \"version\": \"1.2.3\",\n";
        assert_eq!(named.ends_with(expected), is_one, "{named}");
        assert_eq!(named.is_empty(), !is_one, "{named}");
        fs::remove_file(release.with_file_name("release.pgp")).expect("there");
    }
    // The signing host signs a file that begins like this, so the check must not take it.
    let almost = world.new_folder("almost");
    let line = format!("{}  evidence/releaseXjson\n", "0".repeat(64));
    fs::write(almost.join("SHA256SUMS"), line).expect("written");
    copy_tree(&signed.join("evidence"), &almost.join("evidence"));
    let check = format!("{} || true", the_check());
    assert_eq!(tool("sh", &[&"-c", &check], &almost).stdout, "");
}

/// The check that docs/reference/release.md gives to people with gpgv and sha256sum alone.
fn the_check() -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference/release.md");
    let page = fs::read_to_string(page).expect("the page");
    let line = page.lines().find_map(|line| {
        line.strip_prefix("$ ")
            .filter(|it| it.starts_with("sed -n 1p"))
    });
    line.expect("the check").to_owned()
}

/// The same with the first line that a list has: nobody attests such an artifact, and the signing
/// host does not sign it.
#[test]
fn an_artifact_that_begins_like_a_list_is_not_signed() {
    let world = World::ready();
    let granted = world.grant();
    let hidden = Hidden::new(&world, &granted);
    let contents = hidden.contents(&granted);
    let first = entry(contents.as_bytes(), "evidence/release.json");
    let digest = &first[..64];
    for first in [
        first.clone(),
        format!("# a comment\n\n{first}"),
        first.replace("  ", " *./"),
        format!("SHA256 (evidence/release.json) = {digest}\r\n"),
        format!("SHA256: (evidence/release.json) = {digest}\n"),
        first.replace("evidence/", "../foo-1.2.3/evidence/"),
    ] {
        let build = world.build(&[("foo.index", hidden.list(&first).as_bytes())]);
        let reason = "artifact `foo.index` begins like the list of a release";
        world.attest(&granted, &build).refused(reason);
        build.attest_by_hand(&granted, granted.header() + &build.entries());
        world.refuses(&granted, &build, reason);
    }
}

/// What only resembles a list is signed as any other file.
#[test]
fn lists_signatures_and_descriptions_are_artifacts() {
    let world = World::ready();
    let granted = world.grant();
    let digest = entry(b"", "");
    let sums = format!("{}  foo.tar.xz\n", digest.trim());
    let later = format!("{sums}{}  evidence/release.json\n", digest.trim());
    let build = world.build(&[
        ("foo.tar.xz.sha256", sums.as_bytes()),
        ("foo.tar.xz.sha256.txt", later.as_bytes()),
        (
            "foo.tar.xz.upstream",
            b"-----BEGIN PGP SIGNATURE-----\n\niQIz\n-----END PGP SIGNATURE-----\n",
        ),
        ("foo.cdx.json", b"{\"bomFormat\": \"CycloneDX\"}\n"),
        ("foo.empty", b""),
    ]);
    world.attest(&granted, &build).ok();
    world.sign(&granted, &build).ok();
    world.verify(&world.release(&granted)).ok();
    world.admit().ok();
}

// ---- Which release it is ----

#[test]
fn a_release_is_taken_under_its_own_name() {
    let world = World::ready();
    let release = world.signed();
    let other = release.with_file_name("foo-2.0");
    fs::rename(&release, &other).expect("renamed");
    let said = world.verify(&other).with(&[&"--json"]).refused("");
    assert!(
        said.stderr.contains("\"reason\": \"unnamed\"")
            && said.stderr.contains("`foo-2.0` contains release foo 1.2.3")
            && said.stderr.contains("--project foo --version 1.2.3"),
        "{said:?}"
    );
    world.admit().refused("foo-2.0");
    assert_eq!(world.public(), [""; 0]);

    // As what is asked for, whatever its folder is called.
    let asked = |arguments: Arguments<'_>| world.verify(&other).with(arguments);
    asked(&[&"--project", &"foo"]).ok();
    asked(&[&"--project", &"foo", &"--version", &"1.2.3"])
        .ok()
        .says("good  foo 1.2.3 (2 files) by ");
    for wrong in [
        &[
            &"--project" as &dyn AsRef<std::ffi::OsStr>,
            &"foo",
            &"--version",
            &"2.0",
        ][..],
        &[&"--project", &"bar"],
        &[&"--project", &"Foo"],
    ] {
        asked(wrong).refused("this is of release foo 1.2.3, but");
        world
            .verify(&other.join("foo.txt"))
            .with(wrong)
            .refused("this is of release foo 1.2.3, but");
    }
    asked(&[&"--version", &"1.2.3"]).usage("--project");

    // Its own name, however it is given.
    fs::rename(&other, &release).expect("renamed");
    let certificate = world.certificate();
    for (folder, path) in [
        (&release, "."),
        (&release, "evidence/.."),
        (&world.inbox(), "foo-1.2.3/"),
        (&world.inbox(), "./foo-1.2.3"),
    ] {
        world
            .countersign(&[&"verify", &"--cert", &certificate, &path])
            .from(folder)
            .ok();
    }
    let link = world.at("foo-2.0");
    std::os::unix::fs::symlink(&release, &link).expect("a link");
    world
        .verify(&link)
        .refused("`foo-2.0` contains release foo 1.2.3");
    world.verify(&link).with(&[&"--project", &"foo"]).ok();
}

/// A file under any name is that file no longer.
#[test]
fn a_file_is_taken_under_its_own_name() {
    let world = World::ready();
    let release = world.signed();
    world.verify(&release.join("foo.txt")).ok();
    world.verify(&release.join("SHA256SUMS")).ok();
    let elsewhere = world.new_folder("elsewhere");
    for (from, to) in [
        ("foo.txt", "foo.tar"),
        ("foo.txt", "SHA256SUMS"),
        ("SHA256SUMS", "foo.txt"),
        ("SHA256SUMS", "sums"),
    ] {
        copy(&release.join(from), &elsewhere.join(to));
        let signature = elsewhere.join(format!("{to}.asc"));
        copy(&release.join(format!("{from}.asc")), &signature);
        world
            .verify(&elsewhere.join(to))
            .refused(&format!("it says that `{to}` is "));
    }
}

/// One line, however many files there are: what, by whom, and the key.
#[test]
fn the_verdict_is_the_first_line() {
    let world = World::ready();
    let granted = world.grant();
    let names: Vec<_> = (0..100).map(|number| format!("foo-{number}")).collect();
    let files: Vec<_> = names
        .iter()
        .map(|name| (name.as_str(), &b"x"[..]))
        .collect();
    let build = world.build(&files);
    world.attest(&granted, &build).ok();
    world.sign(&granted, &build).ok();
    let release = world.release(&granted);
    let fingerprint = certificate(&world).fingerprint();
    let verdict = format!(
        "good  foo 1.2.3 (100 files) by {fingerprint} {}\n",
        crate::common::world::USER_ID
    );
    assert_eq!(world.verify(&release).ok().stdout, verdict);
    let said = world.verify(&release).with(&[&"--verbose"]).ok().stdout;
    assert!(
        said.starts_with(&verdict) && said.lines().count() > 100,
        "{said}"
    );
    let said = world.verify(&release).with(&[&"--json"]).ok().json();
    assert_eq!(said["results"].as_array().map(Vec::len), Some(101));

    fs::write(release.join("foo-7"), "y").expect("changed");
    let said = world.verify(&release).refused("foo-7: `foo-7` has SHA-256");
    let first = format!("BAD   {}: 1 of 100 files", release.display());
    assert_eq!(said.stdout.lines().next(), Some(&*first));
    assert_eq!(said.stdout.lines().count(), 2, "{said:?}");
    // On several paths, that on all of them.
    let [good, bad] = ["foo-1", "foo-7"].map(|name| release.join(name));
    let said = world.verify(&good).with(&[&bad]).refused("");
    assert!(said.stdout.starts_with("BAD   1 of 2\n"), "{said:?}");
    let said = world.verify(&good).with(&[&release.join("foo-2")]).ok();
    assert!(said.stdout.starts_with("good  all 2\n"), "{said:?}");
}
