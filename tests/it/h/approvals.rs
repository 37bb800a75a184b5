//! Approvals by people with gpg and ssh-keygen: which of them are valid, and which people the
//! release convinces.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::common::keyring::Keyring;
use crate::common::world::{Build, Granted, World, listed_in_another_form, write_private};
use crate::common::{
    Arguments, Run, Said, can_travel, have, listing, tool, tool_fed, tool_refuses, tool_refuses_fed,
};

const NAMESPACE: &str = "countersign-grant";

/// What these tests need of other people's tools.
fn equipped() -> bool {
    have(&["gpg", "gpgv", "ssh-keygen"])
}

/// Somebody with gpg, and a certificate.
struct GpgUser {
    keyring: Keyring,
    certificate: PathBuf,
    key: String,
    name: String,
}

impl GpgUser {
    fn new(world: &World, name: &str) -> Self {
        Self::until(world, name, "1y")
    }

    /// Whose key ends then.
    fn until(world: &World, name: &str, expires: &str) -> Self {
        let keyring = Keyring::new(&world.at(&format!("gnupg-{name}")));
        let key = keyring.make_key(&format!("{name} <{name}@example.org>"), expires);
        let user = Self {
            keyring,
            certificate: world.at(&format!("{name}.pgp")),
            key,
            name: name.to_owned(),
        };
        user.publish();
        user
    }

    /// As the configuration names them.
    fn approver(&self) -> String {
        approver(&self.name, &[&self.certificate], &[])
    }

    /// Exports the certificate as it is now.
    fn publish(&self) {
        self.keyring.run(&[
            &"--yes",
            &"--output",
            &self.certificate,
            &"--export",
            &self.key,
        ]);
    }

    fn sign(&self, world: &World, granted: &Granted) -> PathBuf {
        self.sign_with(world, &granted.grant, &[])
    }

    fn sign_with(&self, world: &World, file: &Path, options: &[&str]) -> PathBuf {
        let signature = world.new_folder("signature").join("gpg.sig");
        let mut arguments: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&"--output", &signature];
        arguments.extend(
            options
                .iter()
                .map(|option| option as &dyn AsRef<std::ffi::OsStr>),
        );
        arguments.extend([&"--detach-sign" as &dyn AsRef<std::ffi::OsStr>, &file]);
        self.keyring.run(&arguments);
        signature
    }
}

/// Somebody with a key of OpenSSH.
struct SshUser {
    key: PathBuf,
    name: String,
}

impl SshUser {
    fn new(world: &World, name: &str) -> Self {
        Self::of_kind(world, name, &["ed25519"])
    }

    fn of_kind(world: &World, name: &str, kind: &[&str]) -> Self {
        let key = world.at(&format!("id_{name}"));
        let mut arguments: Vec<&dyn AsRef<std::ffi::OsStr>> =
            vec![&"-q", &"-N", &"", &"-C", &name, &"-f", &key, &"-t"];
        arguments.extend(
            kind.iter()
                .map(|argument| argument as &dyn AsRef<std::ffi::OsStr>),
        );
        tool("ssh-keygen", &arguments, &world.at("."));
        let name = name.to_owned();
        Self { key, name }
    }

    /// As the configuration names them.
    fn approver(&self) -> String {
        approver(&self.name, &[], &[&self.public()])
    }

    fn public(&self) -> String {
        fs::read_to_string(self.key.with_extension("pub"))
            .expect("the public half")
            .trim_end()
            .to_owned()
    }

    fn sign(&self, world: &World, granted: &Granted) -> PathBuf {
        self.sign_as(world, &granted.grant, NAMESPACE)
    }

    fn sign_as(&self, world: &World, file: &Path, namespace: &str) -> PathBuf {
        tool(
            "ssh-keygen",
            &[
                &"-q", &"-Y", &"sign", &"-n", &namespace, &"-f", &self.key, &file,
            ],
            &world.at("."),
        );
        let signature = world.new_folder("signature").join("ssh.sig");
        fs::rename(format!("{}.sig", file.display()), &signature).expect("the signature");
        signature
    }
}

/// One approver, as the configuration names them.
fn approver(name: &str, certificates: &[&Path], keys: &[&str]) -> String {
    let quoted = |texts: Vec<String>| {
        texts
            .iter()
            .map(|text| format!("{text:?}"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let certificates = quoted(
        certificates
            .iter()
            .map(|path| path.display().to_string())
            .collect(),
    );
    let keys = quoted(keys.iter().map(|&key| key.to_owned()).collect());
    format!("[[approver]]\nname = \"{name}\"\nopenpgp = [{certificates}]\nssh = [{keys}]\n")
}

/// Writes this behind what `init` wrote into the configuration, and nothing else.
fn configure(world: &World, more: &str) {
    let (path, original) = (
        world.home().join("config.toml"),
        world.at("config-as-it-was"),
    );
    if !original.exists() {
        fs::copy(&path, &original).expect("copied");
    }
    let text = fs::read_to_string(original).expect("the configuration");
    write_private(&path, format!("{text}\n{more}").as_bytes());
}

/// A host that requires this number of these people.
fn wants(world: &World, approvals: u32, approvers: &[String]) {
    configure(
        world,
        &format!("approvals = {approvals}\n{}", approvers.concat()),
    );
}

/// Records an approval on the signing host.
fn approve<'w>(world: &'w World, granted: &Granted, signature: &Path) -> Run<'w> {
    world.host(&[&"approve", &granted.grant, &"--signature", &signature])
}

/// The signature is not valid: it is neither recorded nor kept, and the reason is shown.
#[track_caller]
fn not_recorded(world: &World, granted: &Granted, signature: &Path, reason: &str) -> Said {
    not_recorded_at(world, granted, signature, "+0", reason)
}

#[track_caller]
fn not_recorded_at(
    world: &World,
    granted: &Granted,
    signature: &Path,
    clock: &str,
    reason: &str,
) -> Said {
    let before = (world.logged("grant-approved").len(), kept(world, granted));
    let run = approve(world, granted, signature);
    let said = if clock == "+0" {
        run.refused(reason)
    } else {
        run.at(clock).refused(reason)
    };
    assert_eq!(
        (world.logged("grant-approved").len(), kept(world, granted)),
        before,
        "something was recorded"
    );
    said
}

/// The approvals of a grant in the home.
fn kept(world: &World, granted: &Granted) -> Vec<String> {
    listing(&approvals_of(world, granted))
}

fn approvals_of(world: &World, granted: &Granted) -> PathBuf {
    world
        .home()
        .join("approvals")
        .join(granted.id.strip_prefix("sha256:").expect("an id"))
}

/// What is signed in most of these tests.
fn attested(world: &World) -> (Granted, Build) {
    let (granted, build) = world.attested_of("1.2.3", &[], &[("foo.txt", b"text\n")]);
    (granted, build)
}

/// Alice with gpg and Bob with ssh-keygen, who must both approve; a grant, and what was built.
/// `None` where their tools are missing.
fn alice_and_bob() -> Option<(World, GpgUser, SshUser, Granted, Build)> {
    if !equipped() {
        return None;
    }
    let world = World::ready();
    let (alice, bob) = (GpgUser::new(&world, "alice"), SshUser::new(&world, "bob"));
    wants(&world, 2, &[alice.approver(), bob.approver()]);
    let (granted, build) = attested(&world);
    Some((world, alice, bob, granted, build))
}

/// ssh-keygen itself shows whether the owner of this key approved these bytes.
#[track_caller]
fn ssh_keygen_says(yes: bool, world: &World, public: &str, signature: &Path, bytes: &[u8]) {
    let signers = world.new_folder("allowed").join("signers");
    fs::write(
        &signers,
        format!("somebody namespaces=\"{NAMESPACE}\" {public}\n"),
    )
    .expect("written");
    let run = if yes { tool_fed } else { tool_refuses_fed };
    let verify: Arguments<'_> = &[&"-Y", &"verify", &"-n", &NAMESPACE, &"-I", &"somebody"];
    run(
        "ssh-keygen",
        &[verify, &[&"-f", &signers, &"-s", &signature]].concat(),
        &world.at("."),
        bytes,
    );
}

// ---- Valid approvals ----

/// Two of three approve, each with their own tool; the third is not asked.
#[test]
fn two_of_three_with_gpg_and_ssh_keygen() {
    if !equipped() {
        return;
    }
    for (options, kind) in [
        (["--no-armor"].as_slice(), ["ed25519"].as_slice()),
        (&["--armor"], &["ecdsa", "-b", "256"]),
        (
            &["--armor", "--digest-algo", "SHA512"],
            &["ecdsa", "-b", "384"],
        ),
        (&["--no-armor"], &["rsa", "-b", "3072"]),
    ] {
        let world = World::ready();
        let (alice, bob) = (
            GpgUser::new(&world, "alice"),
            SshUser::of_kind(&world, "bob", kind),
        );
        let carol = SshUser::new(&world, "carol");
        let approvers = [alice.approver(), bob.approver(), carol.approver()];
        wants(&world, 2, &approvers);
        let (granted, build) = attested(&world);
        world.waits(&granted, &build, "requires 2 approvals, and has none");
        let by_alice = alice.sign_with(&world, &granted.grant, options);
        approve(&world, &granted, &by_alice)
            .ok()
            .says("alice approved grant")
            .says(&alice.key);
        world.waits(&granted, &build, "requires 2 approvals, and has 1 (alice)");
        let by_bob = bob.sign(&world, &granted);
        let fingerprint = tool("ssh-keygen", &[&"-l", &"-f", &bob.key], &world.at(".")).stdout;
        let fingerprint = fingerprint
            .split_whitespace()
            .nth(1)
            .expect("a fingerprint");
        approve(&world, &granted, &by_bob)
            .ok()
            .says("bob approved grant")
            .says(fingerprint);
        world.sign(&granted, &build).ok();

        // The log shows who, and with which key; of the signatures it has the digests.
        let logged = world.logged("grant-approved");
        let logged: Vec<_> = logged
            .iter()
            .map(|entry| (&entry["approver"], &entry["key"]))
            .collect();
        assert_eq!(
            logged,
            [
                (&"alice".into(), &alice.key.clone().into()),
                (&"bob".into(), &fingerprint.into())
            ]
        );

        // The release carries what they signed, and each tool accepts it, and refuses another
        // grant.
        let release = world.release(&granted);
        world.verify(&release).ok();
        world.admit().ok();
        let evidence = world.releases().join("foo-1.2.3/evidence");
        assert_eq!(
            listing(&evidence),
            ["approvals", "grant.json", "m1", "release.json"]
        );
        let approvals = evidence.join("approvals");
        assert_eq!(listing(&approvals), ["alice.sig", "bob.sshsig"]);
        assert_eq!(
            fs::read(approvals.join("alice.sig")).expect("it"),
            crate::common::openpgp::dearmored(&fs::read(&by_alice).expect("it"))
        );
        let bytes = fs::read(evidence.join("grant.json")).expect("the grant");
        let changed = [&bytes[..], b"\n"].concat();
        let other = world.at("other.json");
        fs::write(&other, &changed).expect("written");
        let gpgv: Arguments<'_> = &[&"--keyring", &alice.certificate, &"approvals/alice.sig"];
        tool("gpgv", &[gpgv, &[&"grant.json"]].concat(), &evidence);
        tool_refuses("gpgv", &[gpgv, &[&other]].concat(), &evidence);
        let signature = approvals.join("bob.sshsig");
        ssh_keygen_says(true, &world, &bob.public(), &signature, &bytes);
        ssh_keygen_says(false, &world, &bob.public(), &signature, &changed);
        ssh_keygen_says(false, &world, &carol.public(), &signature, &bytes);
    }
}

#[test]
fn approvals_are_in_the_signed_list_of_a_release() {
    let Some((world, alice, bob, granted, build)) = alice_and_bob() else {
        return;
    };
    approve(&world, &granted, &alice.sign(&world, &granted))
        .with(&[&"--signature", &bob.sign(&world, &granted)])
        .ok();
    world.sign(&granted, &build).ok();
    let release = world.release(&granted);
    let list = tool(
        "sha256sum",
        &[&"--check", &"--strict", &"SHA256SUMS"],
        &release,
    )
    .stdout;
    assert!(
        list.contains("evidence/approvals/alice.sig: OK")
            && list.contains("evidence/approvals/bob.sshsig: OK")
    );
    for name in ["alice.sig", "bob.sshsig"] {
        let path = release.join("evidence/approvals").join(name);
        let right = fs::read(&path).expect("an approval");
        fs::write(&path, [&right[..], b"\n"].concat()).expect("changed");
        world
            .verify(&release)
            .refused(&format!("`evidence/approvals/{name}` has SHA-256"));
        fs::remove_file(&path).expect("removed");
        world
            .verify(&release)
            .refused(&format!("`evidence/approvals/{name}` is missing"));
        fs::write(&path, right).expect("as it was");
    }
    world.verify(&release).ok();
}

/// countersign makes of the grant's bytes what gpg and ssh-keygen make of them.
#[test]
fn countersign_approve_does_what_gpg_and_ssh_keygen_do() {
    let Some((world, alice, bob, granted, build)) = alice_and_bob() else {
        return;
    };
    let home = ("GNUPGHOME", alice.keyring.home());
    let by_alice = world.at("alice.sig");
    let gpg = |key: &str| {
        let run = world.countersign(&[
            &"approve",
            &granted.grant,
            &"--gpg-key",
            &key,
            &"--yes",
            &"-o",
            &by_alice,
        ]);
        run.env(home.0, home.1)
    };
    gpg("nobody@example.org").trouble("gpg");
    assert!(!by_alice.exists());
    gpg(&alice.key)
        .ok()
        .says("countersign approve")
        .says("--signature");
    tool(
        "gpgv",
        &[&"--keyring", &alice.certificate, &by_alice, &granted.grant],
        &world.at("."),
    );

    let ssh = || world.countersign(&[&"approve", &granted.grant, &"--ssh-key", &bob.key, &"--yes"]);
    ssh().ok();
    let by_bob = PathBuf::from(format!("{}.sig", granted.grant.display()));
    let made = fs::read(&by_bob).expect("the signature");
    ssh_keygen_says(
        true,
        &world,
        &bob.public(),
        &by_bob,
        &fs::read(&granted.grant).expect("the grant"),
    );
    ssh().usage("exists already");
    assert_eq!(fs::read(&by_bob).expect("still there"), made);
    fs::remove_file(&by_bob).expect("removed");
    // Ed25519 makes the same signature again.
    assert_eq!(
        fs::read(bob.sign(&world, &granted)).expect("ssh-keygen's"),
        made
    );
    fs::write(&by_bob, made).expect("as it was");

    approve(&world, &granted, &by_alice)
        .with(&[&"--signature", &by_bob])
        .ok();
    world.sign(&granted, &build).ok();
}

/// A grant that nobody can read is nothing to approve.
#[test]
fn countersign_approve_signs_grants_alone() {
    if !equipped() {
        return;
    }
    let world = World::ready();
    let (bob, granted) = (SshUser::new(&world, "bob"), world.grant());
    let text = fs::read_to_string(&granted.grant).expect("the grant");
    let other = world.at("other.json");
    for other_text in [
        text.replacen("\"quorum\": 1,", "\"quorum\": 1, \"quorum\": 1,", 1),
        "transfer all".to_owned(),
    ] {
        fs::write(&other, other_text).expect("written");
        world
            .countersign(&[&"approve", &other, &"--ssh-key", &bob.key, &"--yes"])
            .refused("is not a grant");
    }
    let id = granted.id.strip_prefix("sha256:").expect("an id");
    world
        .countersign(&[&"approve", &id, &"--ssh-key", &bob.key, &"--yes"])
        .usage("give its path");
    assert!(!world.at("other.json.sig").exists());
    let key = world.at("nosuch");
    world
        .countersign(&[&"approve", &granted.grant, &"--ssh-key", &key, &"--yes"])
        .usage("nosuch` does not exist");
}

/// What a person types who is asked, at a terminal of their own.
fn typed(world: &World, granted: &Granted, key: &Path, out: &Path, input: &str) -> Said {
    let program = env!("CARGO_BIN_EXE_countersign");
    let quoted = |path: &Path| format!("'{}'", path.display());
    let command = format!(
        "{} approve {} --ssh-key {} -o {}; echo exit $?",
        quoted(Path::new(program)),
        quoted(&granted.grant),
        quoted(key),
        quoted(out)
    );
    tool_fed(
        "script",
        &[&"-q", &"-c", &command, &"/dev/null"],
        &world.at("."),
        input.as_bytes(),
    )
}

#[test]
fn approver_is_asked_for_the_version_at_the_terminal() {
    if !have(&["script", "setsid"]) {
        return;
    }
    let Some((world, alice, bob, granted, build)) = alice_and_bob() else {
        return;
    };
    let out = world.at("bob.sig");
    for other in ["1.2.4\n", "\n", "yes\n", "1.2.3.\n", ""] {
        let said = typed(&world, &granted, &bob.key, &out, other);
        assert!(
            said.stdout
                .contains("To approve foo 1.2.3, type its version: "),
            "{other:?}: {said:?}"
        );
        assert!(
            said.stdout.contains("exit 4") && !out.exists(),
            "{other:?}: {said:?}"
        );
    }
    let said = typed(&world, &granted, &bob.key, &out, "1.2.3\n");
    // What is approved was shown before.
    let (shown, _) = said.stdout.split_once("To approve").expect("the question");
    for term in [
        granted.id.as_str(),
        "project    foo",
        "version    1.2.3",
        "builders   m1",
        "until",
    ] {
        assert!(shown.contains(term), "not shown: {term}, but\n{shown}");
    }
    assert!(said.stdout.contains("exit 0"), "{said:?}");
    approve(&world, &granted, &out)
        .with(&[&"--signature", &alice.sign(&world, &granted)])
        .ok();
    world.sign(&granted, &build).ok();

    // Nobody is there to ask.
    let program = env!("CARGO_BIN_EXE_countersign");
    let nobody: Arguments<'_> = &[
        &"--wait",
        &program,
        &"approve",
        &granted.grant,
        &"--ssh-key",
        &bob.key,
    ];
    let said = tool_refuses(
        "setsid",
        &[nobody, &[&"-o", &world.at("nobody.sig")]].concat(),
        &world.at("."),
    );
    assert!(
        said.code == 2 && said.stderr.contains("there is no terminal to ask at"),
        "{said:?}"
    );
    assert!(!world.at("nobody.sig").exists());
}

// ---- FIDO keys ----

/// What ssh-keygen and a FIDO key make together (PROTOCOL.u2f, PROTOCOL.sshsig), made without one.
mod fido {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use ed25519_dalek::{Signer as _, SigningKey};
    use sha2::{Digest as _, Sha256, Sha512};

    use super::*;

    pub(super) const TOUCHED: u8 = 1;
    const APPLICATION: &[u8] = b"ssh:";

    pub(super) enum FidoKey {
        Ed25519(SigningKey),
        /// Its secret is in a file, for openssl.
        P256 {
            secret: PathBuf,
            point: Vec<u8>,
        },
    }

    fn string(bytes: &[u8]) -> Vec<u8> {
        let length = u32::try_from(bytes.len()).expect("short");
        [&length.to_be_bytes(), bytes].concat()
    }

    fn sha256(bytes: &[u8]) -> Vec<u8> {
        Sha256::digest(bytes).to_vec()
    }

    impl FidoKey {
        pub(super) fn ed25519() -> Self {
            Self::Ed25519(SigningKey::from_bytes(&[42; 32]))
        }

        pub(super) fn p256(world: &World) -> Self {
            let lines = "openssl ecparam -name prime256v1 -genkey -noout -out p256.pem
                openssl pkey -in p256.pem -pubout -outform DER -out p256.der";
            tool("bash", &[&"-ec", &lines], &world.at("."));
            let der = fs::read(world.at("p256.der")).expect("the public half");
            Self::P256 {
                secret: world.at("p256.pem"),
                point: der[der.len() - 65..].to_vec(),
            }
        }

        pub(super) fn algorithm(&self) -> &'static str {
            match self {
                Self::Ed25519(_) => "sk-ssh-ed25519@openssh.com",
                Self::P256 { .. } => "sk-ecdsa-sha2-nistp256@openssh.com",
            }
        }

        fn blob(&self) -> Vec<u8> {
            let numbers = match self {
                Self::Ed25519(key) => string(key.verifying_key().as_bytes()),
                Self::P256 { point, .. } => [string(b"nistp256"), string(point)].concat(),
            };
            [
                string(self.algorithm().as_bytes()),
                numbers,
                string(APPLICATION),
            ]
            .concat()
        }

        /// The line of its `.pub` file.
        pub(super) fn public(&self) -> String {
            format!("{} {}", self.algorithm(), STANDARD.encode(self.blob()))
        }

        /// A signature over a grant, with these flags, which says that it is of this algorithm.
        pub(super) fn sign(
            &self,
            world: &World,
            granted: &Granted,
            flags: u8,
            algorithm: &str,
        ) -> PathBuf {
            let grant = fs::read(&granted.grant).expect("the grant");
            let head = [string(NAMESPACE.as_bytes()), string(b""), string(b"sha512")].concat();
            let signed = [b"SSHSIG", &head[..], &string(&Sha512::digest(grant))].concat();
            let trailer = [&[flags][..], &7_u32.to_be_bytes()].concat();
            let asserted = [sha256(APPLICATION), trailer.clone(), sha256(&signed)].concat();
            let signature = match self {
                Self::Ed25519(key) => key.sign(&asserted).to_bytes().to_vec(),
                Self::P256 { secret, .. } => {
                    fs::write(world.at("asserted"), asserted).expect("written");
                    let sign: Arguments<'_> = &[
                        &"dgst",
                        &"-sha256",
                        &"-sign",
                        secret,
                        &"-out",
                        &"der",
                        &"asserted",
                    ];
                    tool("openssl", sign, &world.at("."));
                    let der = fs::read(world.at("der")).expect("the signature");
                    // SEQUENCE of two INTEGERs, each written as SSH writes one.
                    let length = usize::from(der[3]);
                    let (r, s) = (&der[4..4 + length], &der[4 + length + 2..]);
                    [string(r), string(s)].concat()
                }
            };
            // What is no algorithm of a FIDO key has no trailer of its own.
            let signature = match algorithm.starts_with("sk-") {
                true => [string(algorithm.as_bytes()), string(&signature), trailer].concat(),
                false => [
                    string(algorithm.as_bytes()),
                    string(&[signature, trailer].concat()),
                ]
                .concat(),
            };
            let blob = [
                b"SSHSIG",
                &1_u32.to_be_bytes()[..],
                &string(&self.blob()),
                &head,
                &string(&signature),
            ]
            .concat();
            let path = world.new_folder("signature").join("fido.sig");
            fs::write(&path, armoured(&blob)).expect("written");
            path
        }
    }

    fn armoured(blob: &[u8]) -> String {
        let text = STANDARD.encode(blob).into_bytes();
        let lines: Vec<_> = text
            .chunks(70)
            .map(|line| String::from_utf8_lossy(line).into_owned())
            .collect();
        format!(
            "-----BEGIN SSH SIGNATURE-----\n{}\n-----END SSH SIGNATURE-----\n",
            lines.join("\n")
        )
    }

    /// The signature with other flags, which are before the counter, at its end.
    pub(super) fn with_flags(signature: &Path, flags: u8) -> String {
        let text = fs::read_to_string(signature).expect("a signature");
        let body: String = text.lines().filter(|line| !line.starts_with('-')).collect();
        let mut blob = STANDARD.decode(&body).expect("base64");
        let at = blob.len() - 5;
        blob[at] = flags;
        armoured(&blob)
    }
}

#[test]
fn fido_keys_approve_when_they_were_touched() {
    if !equipped() || !have(&["openssl", "bash"]) {
        return;
    }
    for key in [
        |_: &World| fido::FidoKey::ed25519(),
        |world: &World| fido::FidoKey::p256(world),
    ] {
        let world = World::ready();
        let key = key(&world);
        wants(&world, 1, &[approver("alice", &[], &[&key.public()])]);
        let (granted, build) = attested(&world);
        let grant = fs::read(&granted.grant).expect("the grant");
        let sign = |flags, algorithm: &str| key.sign(&world, &granted, flags, algorithm);

        // Not touched: the user is verified at most, and a PIN can be replayed by a listener.
        for flags in [0, 4] {
            let untouched = sign(flags, key.algorithm());
            not_recorded(
                &world,
                &granted,
                &untouched,
                "nobody touched the FIDO key that made the signature",
            );
        }
        // What it calls itself nobody signed: as a signature of another algorithm, which has no
        // flags, it is nobody's.
        for flags in [0, fido::TOUCHED] {
            for (other, reason) in [
                ("rsa-sha2-512", "is of kind `rsa-sha2-512`, but its key"),
                ("rsa-sha2-256", "is of kind `rsa-sha2-256`, but its key"),
                (
                    "ssh-ed25519",
                    "is not a signature as `ssh-keygen -Y sign` writes it",
                ),
                (
                    "ecdsa-sha2-nistp256",
                    "is not a signature as `ssh-keygen -Y sign` writes it",
                ),
                ("x@example.org", ""),
            ] {
                let relabelled = sign(flags, other);
                ssh_keygen_says(false, &world, &key.public(), &relabelled, &grant);
                not_recorded(&world, &granted, &relabelled, reason);
            }
        }
        world.waits(&granted, &build, "requires 1 approval, and has none");

        for flags in [fido::TOUCHED, fido::TOUCHED | 4] {
            let touched = sign(flags, key.algorithm());
            ssh_keygen_says(true, &world, &key.public(), &touched, &grant);
            // The flags are signed: they cannot be set afterwards.
            let forged = world.at("forged.sig");
            fs::write(&forged, fido::with_flags(&sign(0, key.algorithm()), flags))
                .expect("written");
            ssh_keygen_says(false, &world, &key.public(), &forged, &grant);
            not_recorded(&world, &granted, &forged, "does not match the signed text");
        }
        approve(&world, &granted, &sign(fido::TOUCHED, key.algorithm())).ok();
        world.sign(&granted, &build).ok();
        let carried = world
            .release(&granted)
            .join("evidence/approvals/alice.sshsig");
        ssh_keygen_says(true, &world, &key.public(), &carried, &grant);
        world.verify(&world.release(&granted)).ok();
    }
}

// ---- Invalid approvals ----

#[test]
fn approval_missing() {
    let Some((world, alice, bob, granted, build)) = alice_and_bob() else {
        return;
    };
    world.waits(&granted, &build, "requires 2 approvals, and has none");
    approve(&world, &granted, &bob.sign(&world, &granted)).ok();
    world.waits(&granted, &build, "requires 2 approvals, and has 1 (bob)");
    approve(&world, &granted, &alice.sign(&world, &granted)).ok();
    world.sign(&granted, &build).ok();
}

/// Nobody can mend that any more.
#[test]
fn grant_that_expired_without_its_approvals() {
    if !can_travel() {
        return;
    }
    let Some((world, _, _, granted, build)) = alice_and_bob() else {
        return;
    };
    world.waits(&granted, &build, "requires ");
    world.refuses_at(&granted, &build, "+7h", "expired at");
}

/// Each person is counted once, however many keys or subkeys they have.
#[test]
fn same_person_twice() {
    if !equipped() {
        return;
    }
    let world = World::ready();
    let (alice, second) = (
        GpgUser::new(&world, "alice"),
        GpgUser::new(&world, "alice-too"),
    );
    let (ssh, bob) = (SshUser::new(&world, "alice"), SshUser::new(&world, "bob"));
    let subkey = alice.keyring.add_subkey(&alice.key, "1y");
    alice.publish();
    let alices = approver(
        "alice",
        &[&alice.certificate, &second.certificate],
        &[&ssh.public()],
    );
    wants(&world, 2, &[alices, bob.approver()]);
    let by = |key: &str, granted: &Granted| {
        let key = format!("{key}!");
        alice.sign_with(&world, &granted.grant, &["--local-user", &key])
    };
    // With whichever of her keys she began.
    let first: [&dyn Fn(&Granted) -> PathBuf; 4] = [
        &|granted| by(&alice.key, granted),
        &|granted| by(&subkey, granted),
        &|granted| second.sign(&world, granted),
        &|granted| ssh.sign(&world, granted),
    ];
    for (number, one) in first.iter().enumerate() {
        let (granted, build) = attested(&world);
        approve(&world, &granted, &one(&granted))
            .ok()
            .says("alice approved");
        for other in first {
            not_recorded(
                &world,
                &granted,
                &other(&granted),
                "has no effect: alice has approved it already",
            );
        }
        world.waits(&granted, &build, "requires 2 approvals, and has 1 (alice)");
        if number == 0 {
            approve(&world, &granted, &bob.sign(&world, &granted)).ok();
            world.sign(&granted, &build).ok();
            fs::remove_dir_all(world.release(&granted)).expect("removed");
        }
    }
}

#[test]
fn approval_for_another_grant() {
    let Some((world, alice, bob, granted, build)) = alice_and_bob() else {
        return;
    };
    let other = world.grant();
    not_recorded(
        &world,
        &granted,
        &alice.sign(&world, &other),
        &format!("does not match `{}`", &granted.id[7..19]),
    );
    not_recorded(
        &world,
        &granted,
        &bob.sign(&world, &other),
        "does not match the signed text",
    );
    // Recorded for the one that it is for, it does nothing for this one.
    approve(&world, &other, &alice.sign(&world, &other))
        .with(&[&"--signature", &bob.sign(&world, &other)])
        .ok();
    world.waits(&granted, &build, "requires 2 approvals, and has none");
    // Nor when it is put in its place by hand.
    approve(&world, &granted, &alice.sign(&world, &granted)).ok();
    approve(&world, &granted, &bob.sign(&world, &granted)).ok();
    let right = fs::read(approvals_of(&world, &granted).join("bob.sshsig")).expect("it");
    let foreign = fs::read(approvals_of(&world, &other).join("bob.sshsig")).expect("it");
    write_private(&approvals_of(&world, &granted).join("bob.sshsig"), &foreign);
    world.refuses(&granted, &build, "approval `bob.sshsig` of grant");
    write_private(&approvals_of(&world, &granted).join("bob.sshsig"), &right);
    world.sign(&granted, &build).ok();
}

#[test]
fn approval_in_another_namespace() {
    let Some((world, alice, bob, granted, build)) = alice_and_bob() else {
        return;
    };
    for namespace in ["git", "file", "countersign-grant2", "Countersign-grant"] {
        let signature = bob.sign_as(&world, &granted.grant, namespace);
        let reason = format!("is in the namespace `{namespace}`, not `countersign-grant`");
        not_recorded(&world, &granted, &signature, &reason);
    }
    approve(&world, &granted, &alice.sign(&world, &granted)).ok();
    world.waits(&granted, &build, "requires 2 approvals, and has 1 (alice)");
    approve(&world, &granted, &bob.sign(&world, &granted)).ok();
    world.sign(&granted, &build).ok();
}

#[test]
fn approval_by_a_stranger() {
    let Some((world, _alice, _bob, granted, build)) = alice_and_bob() else {
        return;
    };
    let (mallory, eve) = (GpgUser::new(&world, "mallory"), SshUser::new(&world, "eve"));
    not_recorded(
        &world,
        &granted,
        &mallory.sign(&world, &granted),
        "is not an approver's",
    )
    .says(&mallory.key);
    not_recorded(
        &world,
        &granted,
        &eve.sign(&world, &granted),
        "is not an approver's",
    )
    .says("SHA256:");
    // Neither the builder's key nor the release key is an approver.
    let by_builder = world.at("builder.sig");
    let another = world.grant();
    let signature = crate::common::openpgp::detached(
        &crate::common::openpgp::secret_key(&another.key),
        &fs::read(&another.grant).expect("the grant"),
    );
    fs::write(&by_builder, signature).expect("written");
    not_recorded(&world, &another, &by_builder, "is not an approver's");
    world.waits(&granted, &build, "requires 2 approvals, and has none");
}

/// A key that expired approves nothing: neither in an approval that comes late, nor in one that
/// was recorded in time.
#[test]
fn approval_by_an_expired_key() {
    if !equipped() || !can_travel() {
        return;
    }
    let world = World::ready();
    // They end in an hour, and the grant in six.
    let (alice, dave) = (
        GpgUser::until(&world, "alice", "seconds=3600"),
        GpgUser::new(&world, "dave"),
    );
    let subkey = dave.keyring.add_subkey(&dave.key, "seconds=3600");
    dave.publish();
    let people = [alice.approver(), dave.approver()];
    wants(&world, 2, &people);
    let (granted, build) = attested(&world);
    let by_alice = alice.sign(&world, &granted);
    let by_subkey = dave.sign_with(
        &world,
        &granted.grant,
        &["--local-user", &format!("{subkey}!")],
    );
    not_recorded_at(
        &world,
        &granted,
        &by_alice,
        "+2h",
        "the approver's key cannot be used: certificate",
    )
    .says("expired at");
    not_recorded_at(
        &world,
        &granted,
        &by_subkey,
        "+2h",
        "the approver's key cannot be used: key",
    )
    .says("expired at");

    approve(&world, &granted, &by_alice)
        .with(&[&"--signature", &by_subkey])
        .ok();
    let said = world.waits_at(
        &granted,
        &build,
        "+2h",
        "requires 2 approvals, and has none; the approval of alice is not valid: ",
    );
    said.says("the approval of dave is not valid: the approver's key cannot be used: key")
        .says("expired at");
    world.sign(&granted, &build).ok();
}

#[test]
fn approval_by_a_revoked_key() {
    let Some((world, alice, bob, granted, build)) = alice_and_bob() else {
        return;
    };
    approve(&world, &granted, &bob.sign(&world, &granted)).ok();
    let (before, signature) = (
        fs::read(&alice.certificate).expect("it"),
        alice.sign(&world, &granted),
    );
    alice.keyring.revoke(&alice.key);
    alice.publish();
    not_recorded(&world, &granted, &signature, "was revoked");

    // Revoked after it was recorded.
    fs::write(&alice.certificate, before).expect("as it was");
    approve(&world, &granted, &signature).ok();
    alice.publish();
    world
        .waits(
            &granted,
            &build,
            "requires 2 approvals, and has 1 (bob); the approval of alice is not valid: ",
        )
        .says("was revoked");
}

/// Somebody leaves, or their key is taken out of the configuration, after they approved.
#[test]
fn approver_removed_after_the_approval() {
    let Some((world, alice, bob, granted, build)) = alice_and_bob() else {
        return;
    };
    approve(&world, &granted, &alice.sign(&world, &granted))
        .with(&[&"--signature", &bob.sign(&world, &granted)])
        .ok();
    let alices = alice.approver();
    let (carol, new) = (
        SshUser::new(&world, "carol"),
        SshUser::new(&world, "bob-new"),
    );
    wants(&world, 2, &[alices.clone(), carol.approver()]);
    world
        .waits(
            &granted,
            &build,
            "has 1 (alice); the approval of bob is not valid: key",
        )
        .says("is not an approver's");
    // His key is another's now.
    wants(
        &world,
        2,
        &[alices.clone(), approver("carol", &[], &[&bob.public()])],
    );
    world.waits(
        &granted,
        &build,
        "has 1 (alice); the approval of bob is not valid: the key is now that of carol",
    );
    // He has another key now.
    wants(
        &world,
        2,
        &[alices.clone(), approver("bob", &[], &[&new.public()])],
    );
    world.waits(
        &granted,
        &build,
        "has 1 (alice); the approval of bob is not valid: key",
    );
    wants(&world, 2, &[alices, bob.approver()]);
    world.sign(&granted, &build).ok();
}

#[test]
fn approval_altered_or_removed_in_the_home() {
    let Some((world, alice, bob, granted, build)) = alice_and_bob() else {
        return;
    };
    let armoured = alice.sign_with(&world, &granted.grant, &["--armor"]);
    approve(&world, &granted, &armoured)
        .with(&[&"--signature", &bob.sign(&world, &granted)])
        .ok();
    assert_eq!(kept(&world, &granted), ["alice.sig", "bob.sshsig"]);
    for name in ["alice.sig", "bob.sshsig"] {
        let path = approvals_of(&world, &granted).join(name);
        let right = fs::read(&path).expect("an approval");
        // One that is valid as well is not the one that was recorded either.
        let again = alice.sign_with(
            &world,
            &granted.grant,
            &["--armor", "--digest-algo", "SHA512"],
        );
        for changed in [
            [&right[..], b"\n"].concat(),
            Vec::new(),
            fs::read(again).expect("a signature"),
        ] {
            write_private(&path, &changed);
            let reason = format!("approval `{name}` of grant");
            world
                .refuses(&granted, &build, &reason)
                .says("is missing, or not as it was recorded");
        }
        fs::remove_file(&path).expect("removed");
        world.refuses(&granted, &build, &format!("approval `{name}` of grant"));
        write_private(&path, &right);
    }
    world.sign(&granted, &build).ok();
}

#[test]
fn approval_after_the_grant_is_over() {
    if !equipped() || !can_travel() {
        return;
    }
    let world = World::ready();
    let (alice, bob) = (GpgUser::new(&world, "alice"), SshUser::new(&world, "bob"));
    wants(&world, 1, &[alice.approver(), bob.approver()]);
    let (granted, build) = attested(&world);
    let late = bob.sign(&world, &granted);
    not_recorded_at(&world, &granted, &late, "+7h", "expired at")
        .says("has no effect: it expired at");
    approve(&world, &granted, &alice.sign(&world, &granted)).ok();
    world.sign(&granted, &build).ok();
    not_recorded(
        &world,
        &granted,
        &late,
        "has no effect: it was closed by a build",
    );

    let revoked = world.grant();
    world.host(&[&"grants", &"revoke", &revoked.grant]).ok();
    not_recorded(
        &world,
        &revoked,
        &bob.sign(&world, &revoked),
        "has no effect: it was revoked",
    );

    let other = World::ready();
    let foreign = other.grant();
    approve(&world, &foreign, &bob.sign(&world, &foreign))
        .refused("was not issued by this signing host");
}

/// The configuration cannot be used, and with it nothing on this host.
#[track_caller]
fn unusable(world: &World, granted: &Granted, build: &Build, reason: &str) {
    let uses = world.token_count();
    world.sign(granted, build).stops(2, reason);
    world
        .sign(granted, build)
        .with(&[&"--dry-run"])
        .stops(2, reason);
    assert!(world.token_count() == uses && !world.release(granted).exists());
}

#[test]
fn two_approvers_with_one_key() {
    if !equipped() {
        return;
    }
    let world = World::ready();
    let (alice, bob) = (GpgUser::new(&world, "alice"), SshUser::new(&world, "bob"));
    let (granted, build) = attested(&world);
    let certificate = world.at("again.asc");
    alice.keyring.run(&[
        &"--armor",
        &"--output",
        &certificate,
        &"--export",
        &alice.key,
    ]);
    let renamed = bob.public().replace(" bob", " carol@laptop");
    assert_ne!(renamed, bob.public());
    let shared = "a key of approver `alice` is also another approver's";
    let with = |people: &[String], why: &str| {
        wants(&world, 2, people);
        approve(&world, &granted, &alice.sign(&world, &granted)).stops(2, why);
        unusable(&world, &granted, &build, why);
    };
    let people = [
        approver("alice", &[], &[&bob.public()]),
        approver("bob", &[], &[&renamed]),
    ];
    with(&people, shared);
    let people = [
        alice.approver(),
        approver("bob", &[&certificate], &[&bob.public()]),
    ];
    with(&people, shared);
    let people = [alice.approver(), approver("ALICE", &[], &[&bob.public()])];
    with(&people, "approver `ALICE` is listed twice");
    wants(&world, 3, &[alice.approver(), bob.approver()]);
    unusable(
        &world,
        &granted,
        &build,
        "requires 3 approvals, but lists only 2 approvers",
    );
    wants(&world, 1, &[approver("alice", &[], &[])]);
    unusable(&world, &granted, &build, "approver `alice` has no key");
}

/// What is no detached signature over the grant, in one form, approves nothing.
#[test]
fn approval_in_another_form() {
    let Some((world, alice, bob, granted, build)) = alice_and_bob() else {
        return;
    };
    let (by_alice, by_bob) = (alice.sign(&world, &granted), bob.sign(&world, &granted));
    let [openpgp, ssh] = [&by_alice, &by_bob].map(|path| fs::read(path).expect("a signature"));
    let text = alice.sign_with(&world, &granted.grant, &["--textmode"]);
    not_recorded(
        &world,
        &granted,
        &text,
        "expected one over a binary document",
    );
    let clear = world.at("clear.asc");
    alice
        .keyring
        .run(&[&"--output", &clear, &"--clearsign", &granted.grant]);
    not_recorded(&world, &granted, &clear, "");
    let whole = world.at("whole.gpg");
    alice
        .keyring
        .run(&[&"--output", &whole, &"--sign", &granted.grant]);
    not_recorded(&world, &granted, &whole, "");
    let file = world.at("other.sig");
    let armour = String::from_utf8(ssh.clone()).expect("armour");
    for bytes in [
        [&openpgp[..], &openpgp[..]].concat(),
        [&ssh[..], &ssh[..]].concat(),
        [b"a text\n", &ssh[..]].concat(),
        [&ssh[..], b"a text\n"].concat(),
        armour.replacen('=', "", 1).into_bytes(),
        armour.replace('\n', "\r\n").into_bytes(),
        format!("{armour}\t\n").into_bytes(),
        armour.replacen("\n", "\nComment: a text\n", 1).into_bytes(),
        ssh[..100].to_vec(),
        b"yes".to_vec(),
        Vec::new(),
    ] {
        assert!(bytes != ssh && bytes != openpgp, "nothing was changed");
        fs::write(&file, bytes).expect("written");
        not_recorded(&world, &granted, &file, "");
    }
    world.waits(&granted, &build, "requires 2 approvals, and has none");
    approve(&world, &granted, &by_alice)
        .with(&[&"--signature", &by_bob])
        .ok();
    world.sign(&granted, &build).ok();
}

/// What is kept of an approval is its signature, not the file that it came in.
#[test]
fn framing_of_an_approval_is_not_kept() {
    let Some((world, alice, bob, granted, build)) = alice_and_bob() else {
        return;
    };
    let comment = ["--armor", "--comment", "get it from https://evil.example"];
    let by_alice = alice.sign_with(&world, &granted.grant, &comment);
    let armour = fs::read_to_string(&by_alice).expect("a signature");
    assert!(armour.contains("evil.example"));
    let around = world.at("around.sig");
    for text in [
        format!("{armour}\nIMPORTANT: get it from https://evil.example\n"),
        format!("from https://evil.example\n{armour}"),
        format!("{armour}{armour}"),
        armour.replace("-----END PGP SIGNATURE-----", ""),
    ] {
        fs::write(&around, text).expect("written");
        not_recorded(
            &world,
            &granted,
            &around,
            "is not an OpenPGP signature: there is text",
        );
    }
    let by_bob = bob.sign(&world, &granted);
    let armour = fs::read_to_string(&by_bob).expect("a signature");
    let (begin, rest) = armour.split_once('\n').expect("lines");
    let (base64, end) = rest.split_once("-----END").expect("an end");
    let lines = base64.replace('\n', "");
    let in_one_line = format!("{begin}\n{lines}\n\n\n-----END{end}");
    fs::write(&by_bob, in_one_line).expect("written");
    approve(&world, &granted, &by_alice)
        .with(&[&"--signature", &by_bob])
        .ok();
    world.sign(&granted, &build).ok();

    let release = world.release(&granted);
    let published = |name: &str| fs::read(release.join("evidence/approvals").join(name));
    let by_alice = fs::read(&by_alice).expect("a signature");
    let packet = crate::common::openpgp::dearmored(&by_alice);
    assert_eq!(published("alice.sig").expect("published"), packet);
    assert_eq!(
        published("bob.sshsig").expect("published"),
        armour.as_bytes()
    );
    let digests = world.logged("grant-approved");
    for (entry, kept) in digests.iter().zip([&packet[..], armour.as_bytes()]) {
        let digest = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(kept));
        assert!(entry["signature"].to_string().contains(&digest), "{entry}");
    }
    world.verify(&release).ok();
}

/// The same signatures in the files that they came in, as another signing host might publish them.
#[test]
fn approval_in_another_form_at_the_location() {
    let Some((world, alice, bob, granted, build)) = alice_and_bob() else {
        return;
    };
    let by_alice = alice.sign(&world, &granted);
    let by_bob = bob.sign(&world, &granted);
    approve(&world, &granted, &by_alice)
        .with(&[&"--signature", &by_bob])
        .ok();
    world.sign(&granted, &build).ok();
    let release = world.release(&granted);
    let by_gpg = fs::read(by_alice).expect("a signature");
    let spaced = [&fs::read(by_bob).expect("a signature")[..], b"\n"].concat();
    for (name, changed) in [("alice.sig", by_gpg), ("bob.sshsig", spaced)] {
        let name = format!("evidence/approvals/{name}");
        listed_in_another_form(&world, &release, &name, &changed);
    }
    world.export();
    world.admit().ok();
}

/// Keys that are too weak, or of a kind that is not taken, are refused when the configuration is
/// read.
#[test]
fn approver_with_a_key_that_is_not_taken() {
    if !equipped() {
        return;
    }
    let world = World::ready();
    let (granted, build) = attested(&world);
    for (kind, reason) in [
        (
            ["rsa", "-b", "1024"].as_slice(),
            "is an SSH key of kind `ssh-rsa`",
        ),
        (&["rsa", "-b", "4608"], "RSA of 2048 to 4096 bits"),
        (
            &["ecdsa", "-b", "521"],
            "is an SSH key of kind `ecdsa-sha2-nistp521`",
        ),
    ] {
        let user = SshUser::of_kind(&world, kind[2], kind);
        wants(&world, 1, &[approver("alice", &[], &[&user.public()])]);
        unusable(&world, &granted, &build, reason);
    }
    wants(&world, 1, &[approver("alice", &[], &["ssh-ed25519 AAAA"])]);
    unusable(&world, &granted, &build, "is not an SSH public key");
    wants(
        &world,
        1,
        &[approver("alice", &[&world.at("nowhere.asc")], &[])],
    );
    unusable(&world, &granted, &build, "nowhere.asc");
}

/// Anyone who may write an approver's certificate may approve in their place.
#[test]
fn approver_whose_certificate_others_may_write() {
    let Some((world, alice, bob, granted, build)) = alice_and_bob() else {
        return;
    };
    let mode = |mode| {
        fs::set_permissions(&alice.certificate, fs::Permissions::from_mode(mode)).expect("its mode")
    };
    for open in [0o664, 0o646] {
        mode(open);
        unusable(&world, &granted, &build, &format!("has mode 0{open:o}"));
        approve(&world, &granted, &alice.sign(&world, &granted))
            .stops(2, &format!("has mode 0{open:o}"));
    }
    mode(0o644);
    approve(&world, &granted, &alice.sign(&world, &granted))
        .with(&[&"--signature", &bob.sign(&world, &granted)])
        .ok();
    world.sign(&granted, &build).ok();
}

/// An approval becomes a file of the release, and the location reads no more of it.
#[test]
fn approval_that_is_larger_than_a_release_carries() {
    let world = World::ready();
    let granted = world.grant();
    fs::write(world.at("large.sig"), vec![b' '; (64 << 10) + 1]).expect("written");
    let large = world.at("large.sig");
    world
        .host(&[&"approve", &granted.grant, &"--signature", &large])
        .usage("is larger than 65536 bytes");
    assert!(world.logged("grant-approved").is_empty());
}

// ---- The embargo ----

#[test]
fn embargo_counts_from_the_grant_where_nobody_must_approve() {
    if !can_travel() {
        return;
    }
    let world = World::ready();
    configure(&world, "embargo = \"1h\"\n");
    let (granted, build) = attested(&world);
    world.waits(&granted, &build, "nothing is signed under it before");
    world.waits_at(
        &granted,
        &build,
        "+59m",
        "nothing is signed under it before",
    );
    world.sign(&granted, &build).at("+2h").ok();
}

#[test]
fn grant_that_would_expire_before_the_embargo_is_over() {
    let world = World::ready();
    configure(&world, "embargo = \"6h\"\n");
    let grant = |valid_for: &str| {
        let folder = world.new_folder("grant");
        let run = world.host(&[&"grant", &"foo", &"1.2.3", &"-o", &folder]);
        run.with(&[&"--valid-for", &valid_for])
    };
    let uses = world.log().len();
    for (valid_for, shown) in [("1h", "1h"), ("360m", "6h")] {
        grant(valid_for)
            .usage(&format!("it would be valid for {shown}"))
            .says("before the `embargo` of 6h is over");
    }
    assert_eq!(world.log().len(), uses);
    grant("7h").ok();
}

/// It counts from the approval that was the last one needed, and not from one that came on top.
#[test]
fn embargo_counts_from_the_last_approval_that_was_needed() {
    if !equipped() || !can_travel() {
        return;
    }
    let world = World::ready();
    let (alice, bob) = (GpgUser::new(&world, "alice"), SshUser::new(&world, "bob"));
    let carol = SshUser::new(&world, "carol");
    let people = [alice.approver(), bob.approver(), carol.approver()];
    configure(
        &world,
        &format!("approvals = 2\nembargo = \"1h\"\n{}", people.concat()),
    );
    let (granted, build) = attested(&world);
    approve(&world, &granted, &alice.sign(&world, &granted)).ok();
    world.waits_at(
        &granted,
        &build,
        "+2h",
        "requires 2 approvals, and has 1 (alice)",
    );
    approve(&world, &granted, &bob.sign(&world, &granted))
        .at("+2h")
        .ok();
    world.waits_at(
        &granted,
        &build,
        "+150m",
        "nothing is signed under it before",
    );
    approve(&world, &granted, &carol.sign(&world, &granted))
        .at("+170m")
        .ok();
    world.sign(&granted, &build).at("+190m").ok();
}
