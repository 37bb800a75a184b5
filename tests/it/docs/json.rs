//! `docs/reference/json.md` shows the fields that the program prints.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::page;
use crate::common::world::{BUILDER, Build, Granted, PROJECT, World, write_private};
use crate::common::{Said, have, tool};

/// What needs a card is shown by h::reconcile.
const NOT_RUN: [&str; 1] = ["log reconcile"];

#[test]
fn json_has_the_fields_that_its_page_shows() {
    if !have(&["ssh-keygen"]) {
        return;
    }
    let mut printed = printed();
    for (heading, shown) in shown(&page("docs/reference/json.md")) {
        if NOT_RUN.contains(&heading.as_str()) {
            continue;
        }
        let of_heading = printed.get_mut(heading.as_str());
        let real = of_heading.and_then(|values| (!values.is_empty()).then(|| values.remove(0)));
        let real = real.unwrap_or_else(|| panic!("json.md: nothing prints a block of {heading}"));
        let (page, program) = (Fields::of(&shown), Fields::of(&real));
        assert_eq!(
            page.beyond(&program),
            [""; 0],
            "{heading}: only json.md has these; {real:#}"
        );
        assert_eq!(
            program.beyond(&page),
            [""; 0],
            "{heading}: json.md lacks these; {real:#}"
        );
    }
    printed.retain(|_, values| !values.is_empty());
    assert!(printed.is_empty(), "json.md does not show {printed:#?}");
}

/// That each prints nothing but JSON is checked wherever a test runs it with `--json`.
#[test]
fn every_command_is_on_the_page() {
    fn leaves(command: &clap::Command, name: &str) -> Vec<String> {
        if !command.has_subcommands() {
            return vec![name.to_owned()];
        }
        let inner = command
            .get_subcommands()
            .filter(|it| it.get_name() != "help");
        inner
            .flat_map(|it| leaves(it, format!("{name} {}", it.get_name()).trim_start()))
            .collect()
    }
    let page = page("docs/reference/json.md");
    let all = leaves(&countersign::cli::command(), "");
    assert!(all.len() > 20, "{all:?}");
    let has = |name: &String| {
        page.contains(&format!("\n## {name}\n")) || page.contains(&format!("`{name} "))
    };
    let missing: Vec<_> = all.iter().filter(|name| !has(name)).collect();
    assert!(missing.is_empty(), "json.md does not show {missing:?}");
}

/// The JSON blocks of the page, each with its heading.
fn shown(page: &str) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    for section in page.split("\n## ").skip(1) {
        let heading = section.lines().next().expect("a heading");
        for block in section.split("```json\n").skip(1) {
            let text = block.split("```").next().expect("a block");
            let value = serde_json::from_str(text);
            found.push((
                heading.to_owned(),
                value.unwrap_or_else(|bad| panic!("{bad}: {text}")),
            ));
        }
    }
    assert!(found.len() > 20, "{} blocks", found.len());
    found
}

/// The names of a value's fields, with those around them: `keys[].card.touch`.
#[derive(Default)]
struct Fields {
    names: BTreeSet<String>,
    /// Where a value has no fields: it is null, empty or a scalar, and may be otherwise elsewhere.
    bare: BTreeSet<String>,
}

impl Fields {
    fn of(value: &Value) -> Self {
        let mut fields = Self::default();
        fields.collect("", value);
        fields
    }

    fn collect(&mut self, path: &str, value: &Value) {
        let name = path.rsplit('.').next().unwrap_or_default();
        match value {
            // A grant has a page of its own, and may be cut.
            Value::Object(_) if name == "terms" => {}
            Value::Object(inner) if !inner.is_empty() => {
                // These are named by builders and artifacts.
                let data = ["attested_by", "builders", "differences", "*"].contains(&name);
                for (field, value) in inner {
                    let field = if data { "*" } else { field };
                    let path = format!("{path}.{field}");
                    self.collect(&path, value);
                    self.names.insert(path);
                }
            }
            Value::Array(elements) if !elements.is_empty() => {
                for element in elements {
                    self.collect(&format!("{path}[]"), element);
                }
            }
            _ => _ = self.bare.insert(path.to_owned()),
        }
    }

    /// The names that the other lacks, where that has any fields.
    fn beyond(&self, other: &Self) -> Vec<String> {
        let bare = |name: &String| {
            let mut around = other.bare.iter();
            around.any(|path| {
                name.strip_prefix(path.as_str())
                    .is_some_and(|rest| rest.starts_with(['.', '[']))
            })
        };
        let missing = self
            .names
            .difference(&other.names)
            .filter(|name| !bare(name));
        missing.cloned().collect()
    }
}

/// What each command printed, in the order of the page's blocks.
fn printed() -> BTreeMap<&'static str, Vec<Value>> {
    let world = World::new();
    let json = |said: Said| said.json();
    let mut printed = BTreeMap::new();
    let init = json(world.init().with(&[&"--json"]).ok());
    world.export();
    let approver = Approver::of(&world);
    approver.configure(&world);

    // Two builders that differ, and a grant that is revoked.
    let differing = grant(&world, "1.2.1", &["m2"]);
    let inbox = world.new_build("inbox");
    for (builder, bytes) in [(BUILDER, b"one"), ("m2", b"two")] {
        let build = inbox.of(builder, &[("foo.txt", bytes)]);
        world.attest_with(differing.key_of(builder), &build).ok();
    }
    let from: [&dyn AsRef<std::ffi::OsStr>; 2] = [&"--from", &inbox.folder];
    let diff = world
        .host(&[&"grants", &"diff", &differing.grant, &"--json"])
        .with(&from);
    printed.insert("grants diff", vec![json(diff.ok())]);
    let revoke = world.host(&[&"grants", &"revoke", &differing.grant, &"--json"]);
    printed.insert("grants revoke", vec![json(revoke.ok())]);

    // A release that is pushed.
    let said = grant_json(&world, "1.2.3", &[]);
    let granted = Granted::from_json(&said);
    printed.insert("grant", vec![said]);
    printed.insert("approve", approver.approve(&world, &granted));
    let show = world.host(&[&"grants", &"show", &granted.grant, &"--json"]);
    printed.insert("grants show", vec![json(show.ok())]);
    let build = world.build(&[("foo.txt", b"text\n"), ("foo.tar", b"more\n")]);
    let attest = world.attest(&granted, &build).with(&[&"--json"]);
    printed.insert("attest", vec![json(attest.ok())]);
    let dry_run = sign(&world, &granted, &build).with(&[&"--dry-run"]);
    printed.insert("sign --dry-run", vec![json(dry_run.ok())]);
    fs::write(build.at("core"), b"dump").expect("a file too many");
    let refused = sign(&world, &granted, &build).refused("core");
    printed.insert("Errors", vec![error(&refused)]);
    fs::remove_file(build.at("core")).expect("removed");
    printed.insert("sign", vec![json(sign(&world, &granted, &build).ok())]);
    let release = world.at("signed").join("foo-1.2.3");
    logged(&world, &release, &mut printed);

    fs::create_dir(world.inbox().join("bad-1")).expect("a submission");
    let admit = world.admit().with(&[&"--json"]).refused("");
    printed.insert("admit", vec![admit.json(), error(&admit)]);
    let public = world.releases().join("foo-1.2.3");
    fs::write(public.join("foo.txt"), b"changed\n").expect("changed");
    let verify = world.verify(&public).with(&[&"--json"]).refused("");
    printed.insert("verify", vec![verify.json(), error(&verify)]);

    let withdraw = |version: &str| {
        let folder = world.at("signed").join(format!("foo-{version}.withdrawal"));
        world
            .host(&[&"withdraw", &PROJECT, &version, &"--reason", &"why", &"-o"])
            .with(&[&folder, &"--json"])
    };
    // A release that is not pushed, and one that is not finished.
    fs::rename(world.inbox(), world.at("away")).expect("moved away");
    let (later, build) = attested(&world, "1.2.4", &approver);
    sign(&world, &later, &build).trouble("");
    let (unfinished, build) = attested(&world, "1.2.5", &approver);
    world.while_the_token_fails(|| sign(&world, &unfinished, &build).trouble(""));
    let (withdrawn, build) = attested(&world, "1.2.6", &approver);
    sign(&world, &withdrawn, &build).trouble("");
    world.while_the_token_fails(|| withdraw("1.2.6").trouble(""));
    let status = world.host(&[&"status", &"--json"]);
    printed.insert("status", vec![json(status.ok())]);
    fs::rename(world.at("away"), world.inbox()).expect("back again");
    printed.insert("push", vec![json(world.host(&[&"push", &"--json"]).ok())]);

    printed.insert("withdraw", vec![json(withdraw("1.2.3").ok())]);
    let list = world.host(&[&"grants", &"list", &"--json"]);
    printed.insert("grants list", vec![json(list.ok())]);
    let build_key = world.countersign(&[&"build-key", &"-o", &world.at("m3"), &"--json"]);
    printed.insert("build-key", vec![json(build_key.ok())]);
    for (heading, command) in [
        (
            "key list",
            &[&"key" as &dyn AsRef<std::ffi::OsStr>, &"list", &"--json"][..],
        ),
        ("key check", &[&"key", &"check", &"--sign", &"--json"]),
        ("key export", &[&"key", &"export", &"--json"]),
        ("key extend", &[&"key", &"extend", &"--json"]),
    ] {
        printed.insert(heading, vec![json(world.host(command).ok())]);
    }
    printed.insert("init", vec![init]);
    printed
}

/// The commands of the log, after one release.
fn logged(world: &World, release: &Path, printed: &mut BTreeMap<&'static str, Vec<Value>>) {
    let run = |arguments: &[&dyn AsRef<std::ffi::OsStr>]| {
        world.host(arguments).with(&[&"--json"]).ok().json()
    };
    // Two kinds of entries are on the page.
    let mut list = run(&[&"log", &"list"]);
    let entries = list["entries"].as_array_mut().expect("a list");
    entries.retain(|entry| entry["kind"] == "grant-issued" || entry["kind"] == "evidence-accepted");
    printed.insert("log list", vec![list]);
    let checkpoint = run(&[&"log", &"checkpoint"]);
    let kept = world.at("kept");
    fs::write(&kept, checkpoint["note"].as_str().expect("a note")).expect("written");
    printed.insert("log checkpoint", vec![checkpoint]);
    printed.insert("log clock", vec![run(&[&"log", &"clock"])]);
    let verify = run(&[
        &"log",
        &"verify",
        &"--checkpoint",
        &kept,
        &"--release",
        &release,
    ]);
    printed.insert("log verify", vec![verify]);
    printed.insert(
        "log export",
        vec![run(&[&"log", &"export", &world.at("elsewhere")])],
    );
    let (file, proof) = (release.join("foo.tar"), world.at("proof"));
    printed.insert(
        "log prove",
        vec![run(&[&"log", &"prove", &file, &"-o", &proof])],
    );
}

/// Alice, whose approval each grant needs.
struct Approver {
    key: std::path::PathBuf,
}

impl Approver {
    fn of(world: &World) -> Self {
        let key = world.at("id_alice");
        let options = ["-q", "-N", "", "-C", "alice", "-t", "ed25519", "-f"];
        let mut arguments: Vec<&dyn AsRef<std::ffi::OsStr>> = Vec::new();
        arguments.extend(
            options
                .iter()
                .map(|option| option as &dyn AsRef<std::ffi::OsStr>),
        );
        arguments.push(&key);
        tool("ssh-keygen", &arguments, &world.at("."));
        Self { key }
    }

    /// Asks for this approval, and pushes to folders beside the home.
    fn configure(&self, world: &World) {
        let path = world.home().join("config.toml");
        let config = fs::read_to_string(&path).expect("the configuration");
        let public = fs::read_to_string(self.key.with_extension("pub")).expect("a key");
        for folder in ["log", "signed"] {
            fs::create_dir(world.at(folder)).expect("a folder");
        }
        let more = "approvals = 1\n[repository]\ninbox = \"../inbox\"\nlog = \"../log\"\n";
        let alice = format!(
            "[[approver]]\nname = \"alice\"\nssh = [{:?}]\n",
            public.trim_end()
        );
        write_private(&path, format!("{config}\n{more}{alice}").as_bytes());
    }

    /// What an approver and the signing host print.
    fn approve(&self, world: &World, granted: &Granted) -> Vec<Value> {
        let file = &granted.grant;
        let signed = world.countersign(&[&"approve", file, &"--ssh-key", &self.key, &"--yes"]);
        let signed = signed.with(&[&"--json"]).ok().json();
        let signature = format!("{}.sig", file.display());
        let recorded = world.host(&[&"approve", file, &"--signature", &signature, &"--json"]);
        vec![signed, recorded.ok().json()]
    }
}

fn grant(world: &World, version: &str, builders: &[&str]) -> Granted {
    Granted::from_json(&grant_json(world, version, builders))
}

/// What `grant` prints of a build by m1 and these builders, which must all agree.
fn grant_json(world: &World, version: &str, builders: &[&str]) -> Value {
    let folder = world.new_folder("grant");
    let mut run = world.host(&[&"grant", &PROJECT, &version, &"--builder", &BUILDER]);
    for builder in builders {
        run = run.with(&[&"--builder", builder]);
    }
    run.with(&[&"-o", &folder, &"--json"]).ok().json()
}

/// A build that can be signed.
fn attested(world: &World, version: &str, approver: &Approver) -> (Granted, Build) {
    let granted = grant(world, version, &[]);
    approver.approve(world, &granted);
    let build = world.build(&[("foo.txt", b"text\n")]);
    world.attest(&granted, &build).ok();
    (granted, build)
}

fn sign<'w>(world: &'w World, granted: &Granted, build: &Build) -> crate::common::Run<'w> {
    let release = world.at("signed").join(format!("foo-{}", granted.version));
    let run = world.sign_into(&release, granted, build);
    run.with(&[&"--json"])
}

/// The error of a run.
fn error(said: &Said) -> Value {
    serde_json::from_str(&said.stderr).expect("JSON")
}
