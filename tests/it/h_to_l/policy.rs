//! The verifier's own policy: each rule in it binds `verify` and `admit`, in both programs.

use std::fs;
use std::path::{Path, PathBuf};

use countersign::domain::time::{Period, Timestamp};
use countersign::openpgp::BuildKey;
use sequoia_openpgp::Cert;
use sequoia_openpgp::serialize::MarshalInto as _;
use serde_json::{Value, json};
use ssh_key::private::{Ed25519Keypair, PrivateKey};
use ssh_key::{HashAlg, LineEnding};

use super::meaning::{end_of, programs};
use crate::common::world::{Build, Granted, World, write_private};
use crate::common::{Run, can_travel, copy_tree, listing, openpgp, tree};

const NAME: &str = "foo-1.2.3";

/// A file with a policy that has these fields.
fn policy(world: &World, fields: &Value) -> PathBuf {
    let mut policy = json!({ "format": "countersign-policy/1" });
    let fields = fields.as_object().expect("an object").clone();
    policy.as_object_mut().expect("an object").extend(fields);
    let path = world.new_folder("policy").join("policy.json");
    fs::write(&path, policy.to_string()).expect("written");
    path
}

fn under<'a>(run: Run<'a>, policy: &Path) -> Run<'a> {
    run.with(&[&"--policy", &policy])
}

// ---- Approvers ----

/// Alice, who signs with OpenPGP, and Bob, who signs with an SSH key.
struct People {
    alice: Cert,
    bob: PrivateKey,
}

impl People {
    fn new(alice: Cert) -> Self {
        let pair = Ed25519Keypair::from_seed(&[7; 32]);
        Self {
            alice,
            bob: PrivateKey::from(pair),
        }
    }

    fn certificate(&self) -> String {
        let armored = self.alice.armored().to_vec().expect("armour in memory");
        String::from_utf8(armored).expect("text")
    }

    /// As a verifier lists them.
    fn approvers(&self) -> Value {
        json!([
            { "name": "alice", "openpgp": [self.certificate()] },
            { "name": "bob", "ssh": [line(&self.bob)] },
        ])
    }

    /// The signing host asks both of them.
    fn configure(&self, world: &World) {
        let certificate = world.at("alice.pgp");
        fs::write(&certificate, self.certificate()).expect("written");
        let config = world.home().join("config.toml");
        let text = fs::read_to_string(&config).expect("the configuration");
        let text = format!(
            "{text}\napprovals = 2\n[[approver]]\nname = \"alice\"\nopenpgp = [{:?}]\n\
             [[approver]]\nname = \"bob\"\nssh = [{:?}]\n",
            certificate.display().to_string(),
            line(&self.bob)
        );
        write_private(&config, text.as_bytes());
    }

    fn approve(&self, world: &World, granted: &Granted) {
        let grant = fs::read(&granted.grant).expect("the grant");
        let by_bob = self
            .bob
            .sign("countersign-grant", HashAlg::Sha512, &grant)
            .and_then(|signature| signature.to_pem(LineEnding::LF))
            .expect("a signature");
        for signature in [openpgp::detached(&self.alice, &grant), by_bob.into_bytes()] {
            let path = world.new_folder("approval").join("signature");
            fs::write(&path, signature).expect("written");
            world
                .host(&[&"approve", &granted.grant, &"--signature", &path])
                .ok();
        }
    }
}

fn line(key: &PrivateKey) -> String {
    key.public_key().to_openssh().expect("a line")
}

/// A release in the inbox that two builders attested and both people approved.
fn approved(world: &World, people: &People) -> PathBuf {
    people.configure(world);
    let granted = two_builders(world);
    let inbox = world.new_build("inbox");
    for builder in ["m1", "m2"] {
        deliver(world, &granted, &inbox, builder, &["foo.txt", "foo.tar"]);
    }
    people.approve(world, &granted);
    world.sign(&granted, &inbox).ok();
    world.release(&granted)
}

fn two_builders(world: &World) -> Granted {
    world.grant_with(&[&"--builder", &"m2", &"--quorum", &"1"])
}

fn deliver(world: &World, granted: &Granted, inbox: &Build, builder: &str, names: &[&str]) {
    let artifacts: Vec<_> = names.iter().map(|name| (*name, &b"bytes\n"[..])).collect();
    let build = inbox.of(builder, &artifacts);
    world.attest_with(granted.key_of(builder), &build).ok();
}

// ---- Rules ----

/// A rule that the release satisfies, one of the same kind that it does not, and what is said then.
/// Whether a single file shows enough for it.
type Case = (Value, Value, &'static str, bool);

fn cases(people: &People) -> Vec<Case> {
    let all = |name: &str, value: Value| json!({ "all": { name: value } });
    let series = |least: &str| {
        let series = json!({ "1": "1.9", "1.2": least });
        json!({ "all": { "least_version": "2", "series": series } })
    };
    let both = json!({ "all": { "approvals": 2 }, "approvers": people.approvers() });
    // A signing host that lists a key of its own under Bob's name changes nothing here.
    let mut other = both.clone();
    let stranger = PrivateKey::from(Ed25519Keypair::from_seed(&[8; 32]));
    other["approvers"][1]["ssh"][0] = line(&stranger).into();
    vec![
        (
            json!({ "projects": { "foo": {} } }),
            json!({ "projects": { "bar": {} } }),
            "release foo 1.2.3 is of project `foo`; the policy accepts bar",
            true,
        ),
        (
            all("least_version", json!("1.2.3")),
            all("least_version", json!("1.2.10")),
            "release foo 1.2.3 is too old; the policy requires version 1.2.10, or a later one",
            true,
        ),
        (
            series("1.2.3"),
            series("1.2.4"),
            "requires version 1.2.4 of series 1.2, or a later one",
            true,
        ),
        (
            all("quorum", json!(2)),
            all("quorum", json!(3)),
            "release foo 1.2.3 has evidence of 2 builders; the policy requires 3",
            false,
        ),
        (
            all("schemes", json!(["openpgp"])),
            all("schemes", json!(["dsse"])),
            "release foo 1.2.3 has evidence of scheme openpgp; the policy accepts dsse",
            false,
        ),
        (
            both,
            other,
            "is approved by 1 (alice) of the policy's approvers; the policy requires 2",
            false,
        ),
    ]
}

#[test]
fn each_rule_binds_verify_and_admit() {
    let world = World::ready();
    let people = People::new(openpgp::stranger());
    let release = approved(&world, &people);
    let kept = world.at("kept");
    copy_tree(&release, &kept);
    let file = release.join("foo.txt");
    for program in programs() {
        let end = |run| end_of(&program, run);
        for (good, bad, reason, shows) in cases(&people) {
            let (good, bad) = (policy(&world, &good), policy(&world, &bad));
            let said = end(under(world.verify(&release), &good));
            assert_eq!(said.code, 0, "{said:?}");
            let said = end(under(world.verify(&release), &bad).with(&[&"--json"]));
            assert_eq!(said.code, 1, "{said:?}");
            let said = said.says(reason).says("\"reason\": \"policy\"");
            assert_eq!(said.json()["results"][0]["good"], false);

            let said = end(under(world.verify(&file), &bad));
            assert_eq!(said.code, 1, "{said:?}");
            let needs_all = "verify its folder";
            said.says(if shows { reason } else { needs_all });
            let said = end(under(world.verify(&file), &good));
            assert_eq!(said.code, i32::from(!shows), "{said:?}");

            // That the one before was refused says nothing about this policy.
            let said = end(under(world.admit(), &bad));
            assert_eq!(said.code, 1, "{said:?}");
            let line = format!("{NAME}: refused, release foo 1.2.3 ");
            end(under(world.admit(), &bad))
                .says(reason)
                .says("did not change");
            said.says(reason).says(&line);
            assert_eq!(world.public(), [""; 0]);
            assert!(listing(&world.releases().join(".countersign.admitted")).is_empty());
        }
        let mut every = json!({ "projects": {}, "approvers": people.approvers() });
        every["all"] = json!({ "quorum": 2, "approvals": 2, "schemes": ["openpgp"] });
        every["projects"]["foo"] = json!({ "least_version": "1.2.3" });
        let said = end(under(world.admit(), &policy(&world, &every)));
        assert_eq!(said.code, 0, "{said:?}");
        assert_eq!(tree(&world.releases().join(NAME)), tree(&kept));

        for folder in [world.inbox(), world.releases()] {
            fs::remove_dir_all(&folder).expect("removed");
            fs::create_dir(&folder).expect("a folder");
        }
        copy_tree(&kept, &release);
    }
}

/// As H counts a quorum: for each artifact.
#[test]
fn builders_of_parts_are_no_quorum() {
    let world = World::ready();
    let granted = two_builders(&world);
    let inbox = world.new_build("inbox");
    deliver(&world, &granted, &inbox, "m1", &["foo.txt", "foo.tar"]);
    deliver(&world, &granted, &inbox, "m2", &["foo.txt"]);
    world.sign(&granted, &inbox).ok();
    let release = world.release(&granted);
    let two = policy(&world, &json!({ "all": { "quorum": 2 } }));
    let reason = "has evidence of 1 builder; the policy requires 2";
    for program in programs() {
        for run in [world.verify(&release), world.admit()] {
            let said = end_of(&program, under(run, &two));
            assert_eq!(said.code, 1, "{said:?}");
            said.says(reason);
        }
    }
    assert_eq!(world.public(), [""; 0]);
}

/// An approver's key must have been valid when the release was signed, and not for ever.
#[test]
fn approvals_are_good_after_their_keys_expired() {
    if !can_travel() {
        return;
    }
    let world = World::ready();
    let now = Timestamp::now();
    let end = now.after(Period::seconds(3600)).expect("an hour from now");
    let key = BuildKey::generate("alice", now.before(600), end);
    let file = world.at("alice.key");
    write_private(&file, &key.to_file(None));
    let people = People::new(openpgp::secret_key(&file));
    let release = approved(&world, &people);
    let both = json!({ "all": { "approvals": 2 }, "approvers": people.approvers() });
    let both = policy(&world, &both);
    under(world.verify(&release), &both).at("+3d").ok();
}

#[test]
fn a_required_proof_is_asked_for() {
    let world = World::ready();
    let release = world.signed();
    let file = release.join("foo.txt");
    let proof = world.at("proof");
    world.host(&[&"log", &"prove", &file, &"-o", &proof]).ok();
    let key = world.log_key();
    let required = policy(&world, &json!({ "all": { "log_proof": true } }));
    for program in programs() {
        let end = |run| end_of(&program, under(run, &required));
        let said = end(world.verify(&file));
        assert_eq!(said.code, 1, "{said:?}");
        said.says("foo 1.2.3 comes without a proof from the log");
        let with_proof = world
            .verify(&file)
            .with(&[&"--proof", &proof, &"--log-key", &key]);
        assert_eq!(end(with_proof).code, 0);
        let said = end(world.verify(&release));
        assert_eq!(said.code, 1, "{said:?}");
        said.says("foo 1.2.3 has no proof from the log as a whole");
        let said = end(world.admit());
        assert_eq!(said.code, 2, "{said:?}");
        said.says("`admit` has no proofs");
    }
}

#[test]
fn a_policy_that_cannot_be_used_is_no_policy() {
    let world = World::ready();
    let release = world.signed();
    let people = People::new(openpgp::stranger());
    let mut unreadable = people.approvers();
    unreadable[0]["openpgp"][0] = "not a certificate".into();
    let mut no_key = people.approvers();
    no_key[1]["ssh"][0] = "ssh-ed25519 AAAA".into();
    let mut one_key = people.approvers();
    one_key[1]["openpgp"] = json!([people.certificate()]);
    let approvals = |approvers| json!({ "all": { "approvals": 1 }, "approvers": approvers });
    for (fields, reason) in [
        (json!({ "quorum": 2 }), "unknown field `quorum`"),
        (
            approvals(unreadable),
            "approver `alice`: it is not an OpenPGP",
        ),
        (approvals(no_key), "approver `bob`: the key is not an SSH"),
        (approvals(one_key), "is also another approver's"),
    ] {
        let path = policy(&world, &fields);
        let name = format!("policy `{}`: ", path.display());
        for program in programs() {
            for run in [world.verify(&release), world.admit()] {
                let said = end_of(&program, under(run, &path));
                assert_eq!(said.code, 2, "{said:?}");
                said.says(reason).says(&name);
            }
        }
    }
    under(world.admit(), &world.at("none")).usage("does not exist");
    assert_eq!(world.public(), [""; 0]);
}
