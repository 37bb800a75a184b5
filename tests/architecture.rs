//! The arrows between the parts of the program, no circles among its files, and where a library or
//! a function may be named. This parses the sources; what is for tests alone is left out. And the
//! patches in `tests/mutants` are about the sources as they are.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, ImplItem, Item, Meta, UseTree, Visibility};

/// What each part of the program may name beside itself. A file belongs to the longest of these
/// names that its own begins with.
const ARROWS: &str = "
    domain:
    formats: domain
    files:
    dsse: domain
    mac: domain
    ssh: domain
    tlog: domain
    openpgp: domain
    approver: domain openpgp ssh
    token: domain files
    location: domain files
    ledger: domain files tlog
    config: domain tlog token
    home: approver config domain files ledger mac openpgp ssh tlog token
    steps:
    steps::evidence: approver domain dsse mac openpgp ssh
    steps::builder: steps steps::evidence domain files dsse mac openpgp
    steps::release: steps steps::evidence approver formats domain files openpgp location ssh tlog
    steps::host: steps steps::evidence steps::builder steps::release formats domain files mac \
        openpgp location tlog token ledger config home
    cli: steps steps::evidence steps::builder steps::release steps::host domain files openpgp \
        location tlog token ledger home
    lib:
    main: cli";

/// Where alone each of these libraries may be named.
const LIBRARIES: &str = "
    base64: dsse ssh tlog
    card_backend: token::card
    card_backend_pcsc: token::card::reader
    clap: cli
    cryptoki: token::pkcs11
    cryptoki_sys: token::pkcs11
    ed25519_dalek: dsse::key tlog::note token::file
    hmac: mac
    indicatif: cli
    jiff: domain::time
    openpgp_card: token::card
    pcsc: token::card::reader
    pinentry: cli::host::prompt
    region: token::pin
    rpassword: cli
    rusqlite: ledger
    sequoia_openpgp: openpgp
    sha2: domain::digest mac tlog
    ssh_key: ssh::key
    strsim: config
    tlog_tiles: tlog::tree
    toml: config";

/// The libraries that may be named anywhere.
const EVERYWHERE: &str = "getrandom hex log miette rustix secrecy serde serde_json tempfile \
    thiserror zeroize";

/// Where alone each of these may be written, however it is reached: only `openpgp::make` composes
/// what a token signs, and `unsafe` is forbidden but for two calls of C_Sign.
const NAMES: &str = "
    composed: domain::signing openpgp::make
    unsafe_code: token::pkcs11::module";

/// The parts without I/O, and what of the standard library they may not name.
const PURE: [&str; 3] = ["domain", "formats", "tlog"];
const IO: [&str; 7] = ["env", "fs", "io", "net", "os", "process", "thread"];

/// Each line of a table: a name, and the names behind it.
fn rules(table: &'static str) -> impl Iterator<Item = (&'static str, Vec<&'static str>)> {
    table.lines().skip(1).map(|line| {
        let mut names = line.split_whitespace();
        let first = names.next().expect("a name");
        (first.trim_end_matches(':'), names.collect())
    })
}

#[test]
fn arrows_run_one_way() {
    let program = Program::of(&sources());
    assert!(program.0.len() > 100, "only {} sources", program.0.len());
    assert_eq!(program.violations(), [""; 0]);
    assert_eq!(program.circle(), None);
}

#[test]
fn every_rule_is_about_something_that_exists() {
    let program = Program::of(&sources());
    let parts: BTreeSet<_> = program.0.keys().filter_map(|file| part(file)).collect();
    assert_eq!(parts, rules(ARROWS).map(|(part, _)| part).collect());
    for (own, others) in rules(ARROWS) {
        let own_files = || program.0.keys().filter(|file| part(file) == Some(own));
        let named: BTreeSet<_> = own_files().flat_map(|file| program.arrows(file)).collect();
        for other in others {
            let used = named.iter().any(|file| part(file) == Some(other));
            assert!(used, "{own} does not use {other}");
        }
    }
    for (name, places) in rules(LIBRARIES).chain(rules(NAMES)) {
        for place in places {
            let mut files = program.0.iter().filter(|(path, _)| is_in(path, place));
            assert!(
                files.any(|(_, file)| file.names(name)),
                "{name} is not used in {place}"
            );
        }
    }
}

#[test]
fn every_library_has_its_place() {
    let manifest = include_str!("../Cargo.toml");
    let (_, rest) = manifest.split_once("\n[dependencies]\n").expect("them");
    let (dependencies, _) = rest.split_once("\n[").expect("the next section");
    let lines = dependencies.lines().filter(|line| !line.starts_with('#'));
    let found = lines.filter_map(|line| Some(line.split_once(" = ")?.0.replace('-', "_")));
    let placed = rules(LIBRARIES).map(|(library, _)| library);
    let placed = placed.chain(EVERYWHERE.split_whitespace());
    assert_eq!(
        found.collect::<BTreeSet<_>>(),
        placed.map(str::to_owned).collect()
    );
}

/// The checker sees what it is for, and nothing else.
#[test]
fn a_wrong_arrow_is_seen() {
    for case in "
        domain/grant.rs | use crate::files::Folder; | domain may not name files
        domain/grant.rs | fn f() { crate::openpgp::g() } | domain may not name openpgp
        domain/grant.rs | use super::super::ledger::L; | domain may not name ledger
        domain/grant.rs | fn f() { g!(a, crate::cli::b(1)) } | domain may not name cli
        files/mod.rs | use crate::{domain::name::Name, files::x}; | files may not name domain
        steps/builder/a.rs | use super::super::host::b; | steps::builder may not name steps::host
        steps/host/a.rs | use crate::*; | steps::host may not name lib
        openpgp/make.rs | use crate::token as t; | openpgp may not name token
        elsewhere.rs | | no rule for elsewhere
        steps/host/a.rs | use clap::Args; | clap is named
        steps/host/a.rs | #[derive(clap::Args)] struct A; | clap is named
        steps/host/a.rs | fn f(_: Vec<::sequoia_openpgp::C>) {} | sequoia_openpgp is named
        token/file.rs | use {cryptoki::{a, b}, x as y}; | cryptoki is named
        cli/sign.rs | use sequoia_openpgp as pgp; | sequoia_openpgp is named
        cli/sign.rs | extern crate sequoia_openpgp as pgp; | sequoia_openpgp is named
        domain/a.rs | macro_rules! m { () => { $crate::cli::b() } } | domain may not name cli
        domain/a.rs | #[derive(D)] struct A { #[serde(with = \"crate::cli::b\")] a: u8 } | cli
        domain/a.rs | use std::{fmt, fs::File}; | std::fs::File is named
        formats/a.rs | fn f() { g!(std::env::var(\"A\")) } | std::env::var is named
        steps/host/a.rs | fn f(s: S) { s.composed(d) } | composed is named
        steps/host/a.rs | use crate::domain::signing::Statement as S; fn f() { S::composed(s, d) } \
            | composed is named
        steps/host/a.rs | fn f(s: S) { [s].map(<S>::composed) } | composed is named
        steps/host/a.rs | fn f(s: S) { g!(s.composed(d)) } | composed is named
        openpgp/sign.rs | use super::make::composed as c; | composed is named
        token/a.rs | #[expect(unsafe_code, reason = \"a\")] fn f() {} | unsafe_code is named
        token/a.rs | #![allow(unsafe_code)] | unsafe_code is named
        domain/grant.rs | //! As crate::files says. |
        domain/grant.rs | const A: &str = \"use crate::cli\"; |
        domain/grant.rs | use super::name::Name; fn f(clap: u8) -> u8 { clap } |
        domain/grant.rs | #[cfg(test)] mod tests { use crate::cli; } |
        domain/grant.rs | impl A { #[cfg(test)] fn f() { crate::cli::f() } } |
        cli/host/a.rs | pub(in crate::main) struct A; use crate::{domain::a, steps::host}; |
        openpgp/make.rs | fn f(s: S) { s.composed(d) } |
        token/file.rs | #[cfg(test)] mod tests { fn f(s: S) { s.composed(d) } } |
        steps/host/a.rs | fn f() { std::fs::a() } const A: &str = \"composed\"; |
        main.rs | fn main() { countersign::cli::run() } |"
        .lines()
        .skip(1)
    {
        let [path, source, seen] = fields(case);
        let around = "lib.rs cli/mod.rs domain/mod.rs domain/name.rs files/mod.rs ledger/mod.rs \
                      openpgp/mod.rs token/mod.rs steps/mod.rs steps/host/mod.rs main.rs";
        let around = around
            .split(' ')
            .map(|path| (path, ""))
            .chain([(path, source)]);
        let found = Program::of(&around.collect::<Vec<_>>())
            .violations()
            .join("\n");
        assert_eq!(found.is_empty(), seen.is_empty(), "{case}\n{found}");
        assert!(found.contains(seen), "{case}\n{found}");
    }
}

#[test]
fn a_circle_is_seen() {
    for case in "
        use super::b::B; | use super::a::A; |
        fn f() { crate::m::b::g() } | fn f(_: super::a::A) {} |
        use crate::m::{b::B, d}; | use super::{d::D, c}; | use super::a;
        use super::{c, f}; | | | mod a; fn f() { a::g() }
        type B = super::C; | | | use a::A;
        use super::b; | use super::A; | | pub use a::A;
        mod i { use super::super::b; } | use super::a; |
        pub(super) use super::b::B; | use super::a::f; |"
        .lines()
        .skip(1)
    {
        assert_ne!(circle_in(case), None, "{case}");
    }
    for case in "
        use super::b::B; | use super::c; |
        use super::b; | #[cfg(test)] mod tests { use crate::m::a; } |
        use super::b; | #[cfg(test)] use super::a::A; |
        use super::b; | use super::a; | | #[cfg(test)] mod a; #[cfg(test)] mod b;
        use super::f; | | | mod a; pub use a::{A, B}; fn f() {}
        use super::b; | use crate::n::a; fn f(a: u8) -> u8 { a } |
        mod i { use super::*; } fn f() { i::g() } | |"
        .lines()
        .skip(1)
    {
        assert_eq!(circle_in(case), None, "{case}");
    }
}

/// The files `a`, `b`, `c` and `mod` of a module.
fn circle_in(case: &'static str) -> Option<String> {
    let [a, b, c, top] = fields(case);
    Program::of(&[
        ("m/a.rs", a),
        ("m/b.rs", b),
        ("m/c.rs", c),
        ("m/mod.rs", top),
    ])
    .circle()
}

fn fields<const N: usize>(case: &'static str) -> [&'static str; N] {
    let mut fields = case.split('|').map(str::trim);
    [(); N].map(|()| fields.next().unwrap_or_default())
}

/// A patch that does not apply, or that names a test that is gone, removes no check any more.
#[test]
fn every_mutant_is_of_these_sources_and_names_a_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources = [below("src"), below("tests")].concat();
    let patches = fs::read_dir(root.join("tests/mutants")).expect("the patches");
    let patches = patches.map(|entry| entry.expect("an entry").path());
    let (mut count, mut stale) = (0, Vec::new());
    for path in patches.filter(|path| path.extension().is_some_and(|it| it == "patch")) {
        count += 1;
        stale.extend(
            staleness(root, &sources, &path).map(|why| format!("{}: {why}", path.display())),
        );
    }
    assert!(count > 50, "only {count} patches");
    assert_eq!(stale, [""; 0]);
}

fn staleness(root: &Path, sources: &[(&str, &str)], path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).expect("a patch");
    let named = text
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("# test: "));
    let Some(test) = named else {
        return Some("its first line names no test".to_owned());
    };
    let name = test.rsplit("::").next().unwrap_or(test);
    let function = format!("fn {name}(");
    if !sources.iter().any(|(_, text)| text.contains(&function)) {
        return Some(format!("there is no test `{test}`"));
    }
    let mut patch = Command::new("patch");
    patch.args(["--dry-run", "--force", "--fuzz=0", "--strip=1", "--input"]);
    let ran = patch.arg(path).current_dir(root).output();
    let ran = ran.expect("`patch` is installed");
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    (!ran.status.success()).then_some(said)
}

/// Every source below `src`, by its path from there.
fn sources() -> Vec<(&'static str, &'static str)> {
    below("src")
}

fn below(folder: &str) -> Vec<(&'static str, &'static str)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let (mut found, mut folders) = (Vec::new(), vec![root.clone()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("the sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&root).expect("below the root").display();
                let text = fs::read_to_string(&path).expect("a source");
                found.push((name.to_string().leak() as &str, text.leak() as &str));
            }
        }
    }
    found
}

/// A module's path: `["domain", "grant"]`; that of the crate is empty.
type Module = Vec<String>;

/// The part of the program that a file belongs to.
fn part(file: &[String]) -> Option<&'static str> {
    if file.is_empty() {
        return Some("lib");
    }
    let parts = rules(ARROWS).map(|(part, _)| part);
    parts
        .filter(|part| is_in(file, part))
        .max_by_key(|part| part.len())
}

fn is_in(file: &[String], place: &str) -> bool {
    file.starts_with(&place.split("::").map(str::to_owned).collect::<Vec<_>>())
}

/// The files of the program by the module that each is.
struct Program(BTreeMap<Module, File>);

impl Program {
    fn of(sources: &[(&str, &str)]) -> Self {
        let mut files = BTreeMap::new();
        let mut tests = Vec::new();
        for (path, text) in sources {
            let path = path.trim_end_matches(".rs").trim_end_matches("/mod");
            let module: Module = match path {
                "lib" => Vec::new(),
                path => path.split('/').map(str::to_owned).collect(),
            };
            let mut file = File {
                module: module.clone(),
                ..File::default()
            };
            file.visit_file(&syn::parse_file(text).expect("Rust"));
            tests.append(&mut file.tests);
            files.insert(module, file);
        }
        files.retain(|module, _| !tests.iter().any(|test| module.starts_with(test)));
        Self(files)
    }

    fn violations(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (module, file) in &self.0 {
            let name = module.join("::");
            let rule = rules(ARROWS).find(|(own, _)| part(module) == Some(own));
            let Some((own, allowed)) = rule else {
                found.push(format!("no rule for {name}"));
                continue;
            };
            let others: BTreeSet<_> = self
                .arrows(module)
                .iter()
                .filter_map(|to| part(to))
                .collect();
            let others = others
                .iter()
                .filter(|other| **other != own && !allowed.contains(other));
            found.extend(others.map(|other| format!("{name}: {own} may not name {other}")));
            for (what, places) in rules(LIBRARIES).chain(rules(NAMES)) {
                let allowed = places.iter().any(|place| is_in(module, place));
                if !allowed && file.names(what) {
                    let places = places.join(", ");
                    found.push(format!("{name}: {what} is named outside {places}"));
                }
            }
            if PURE.contains(&own) {
                let io = file.named.iter().filter(|named| named.is_io());
                found.extend(io.map(|it| format!("{name}: {} is named", it.path.join("::"))));
            }
        }
        found
    }

    /// A circle of files that name each other, if there is one.
    fn circle(&self) -> Option<String> {
        let mut arrows = BTreeMap::new();
        for file in self.0.keys() {
            arrows.insert(file, self.arrows(file));
        }
        // A file that names none of those left is in no circle.
        while let Some(end) = arrows
            .iter()
            .find_map(|(file, to)| to.is_empty().then_some(*file))
        {
            arrows.remove(end);
            arrows.values_mut().for_each(|to| _ = to.remove(end));
        }
        let mut at = *arrows.first_key_value()?.0;
        let mut way = Vec::new();
        while !way.contains(&at) {
            way.push(at);
            at = arrows[at].first().expect("one that names none was removed");
        }
        let circle = way.iter().skip_while(|file| **file != at).chain([&at]);
        Some(
            circle
                .map(|file| file.join("::"))
                .collect::<Vec<_>>()
                .join(" -> "),
        )
    }

    /// The other files that a file names.
    fn arrows(&self, module: &Module) -> BTreeSet<Module> {
        let named = self.0[module].named.iter();
        // A module does not need what it shows of a child.
        let named = named.filter(|named| !(named.shown && self.is_child(&named.from, &named.path)));
        let files = named.filter_map(|named| self.file_of(&named.from, &named.path));
        files.filter(|file| file != module).collect()
    }

    fn is_child(&self, module: &[String], path: &[String]) -> bool {
        self.0.contains_key(&[module, &path[..1]].concat())
    }

    /// The file of the thing that a path in the module `from` leads to, if it is one of these.
    fn file_of(&self, from: &[String], path: &[String]) -> Option<Module> {
        let mut at = match path[0].as_str() {
            "crate" | "countersign" => Vec::new(),
            "self" | "super" => from.to_vec(),
            _ if self.is_child(from, path) => from.to_vec(),
            _ => return None,
        };
        for name in path {
            match name.as_str() {
                "crate" | "countersign" | "self" => continue,
                "super" => _ = at.pop(),
                _ => at.push(name.clone()),
            }
            if name != "super" && !self.0.keys().any(|file| file.starts_with(&at)) {
                at.pop();
                // It may be there only because it is used there.
                let uses = |named: &&Named| {
                    named.used && named.from == at && named.known_as == *name && named.path != path
                };
                let used = self
                    .0
                    .get(&at)
                    .and_then(|file| file.named.iter().find(uses));
                let origin = used.and_then(|used| self.file_of(&used.from, &used.path));
                return origin.or_else(|| self.nearest(at));
            }
        }
        self.nearest(at)
    }

    fn nearest(&self, mut module: Module) -> Option<Module> {
        while !self.0.contains_key(&module) {
            module.pop()?;
        }
        Some(module)
    }
}

/// A path in a source.
struct Named {
    from: Module,
    path: Vec<String>,
    /// What it is called where it is named.
    known_as: String,
    /// In a `use`.
    used: bool,
    /// In a `use` for others as well.
    shown: bool,
}

impl Named {
    fn is_of(&self, library: &str) -> bool {
        self.path[0] == library
    }

    fn is_io(&self) -> bool {
        self.is_of("std") && self.path.get(1).is_none_or(|name| IO.contains(&&**name))
    }
}

/// What a file names, and its modules for tests.
#[derive(Default)]
struct File {
    module: Module,
    named: Vec<Named>,
    /// Every single name, of whatever kind.
    names: BTreeSet<String>,
    tests: Vec<Module>,
}

impl File {
    /// Whether it names a library, or one of [`NAMES`].
    fn names(&self, what: &str) -> bool {
        let is_name = rules(NAMES).any(|(name, _)| name == what);
        (is_name && self.names.contains(what)) || self.named.iter().any(|named| named.is_of(what))
    }

    /// A single name is a variable, or what a `use` named.
    fn name(&mut self, path: Vec<String>) {
        let from = self.module.clone();
        if path.len() > 1 {
            self.named.push(Named {
                from,
                known_as: path.last().expect("a path has a name").clone(),
                path,
                used: false,
                shown: false,
            });
        }
    }

    fn use_tree(&mut self, before: &[String], tree: &UseTree, shown: bool) {
        let path = match tree {
            UseTree::Path(path) => {
                let before = [before, &[path.ident.to_string()]].concat();
                return self.use_tree(&before, &path.tree, shown);
            }
            UseTree::Group(group) => {
                return group
                    .items
                    .iter()
                    .for_each(|tree| self.use_tree(before, tree, shown));
            }
            UseTree::Name(name) => [before, &[name.ident.to_string()]].concat(),
            UseTree::Rename(rename) => [before, &[rename.ident.to_string()]].concat(),
            UseTree::Glob(_) => before.to_vec(),
        };
        self.names.extend(path.iter().cloned());
        let from = self.module.clone();
        let known_as = match tree {
            UseTree::Rename(rename) => rename.rename.to_string(),
            _ => path.last().expect("a path has a name").clone(),
        };
        self.named.push(Named {
            from,
            path,
            known_as,
            used: true,
            shown,
        });
    }

    /// The paths in what a macro or an attribute was given.
    fn tokens(&mut self, tokens: TokenStream, attribute: bool) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Punct(punct) if punct.as_char() == ':' => {
                    colons += 1;
                    continue;
                }
                TokenTree::Ident(ident) => {
                    if colons != 2 && !path.is_empty() {
                        self.name(std::mem::take(&mut path));
                    }
                    self.names.insert(ident.to_string());
                    path.push(ident.to_string());
                    colons = 0;
                    continue;
                }
                TokenTree::Group(group) => self.tokens(group.stream(), attribute),
                TokenTree::Literal(text) if attribute => self.path_in(&text.to_string()),
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
            if !path.is_empty() {
                self.name(std::mem::take(&mut path));
            }
            colons = 0;
        }
        if !path.is_empty() {
            self.name(path);
        }
    }

    /// The path in a text, as serde takes it.
    fn path_in(&mut self, text: &str) {
        let text = syn::parse_str::<syn::LitStr>(text);
        if let Ok(path) = text.and_then(|text| text.parse::<syn::Path>()) {
            self.visit_path(&path);
        }
    }
}

impl<'ast> Visit<'ast> for File {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes: &[Attribute] = match item {
            Item::Const(item) => &item.attrs,
            Item::Enum(item) => &item.attrs,
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            Item::Mod(item) => &item.attrs,
            Item::Static(item) => &item.attrs,
            Item::Struct(item) => &item.attrs,
            Item::Trait(item) => &item.attrs,
            Item::Type(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            _ => &[],
        };
        match item {
            Item::Mod(item) if for_tests(attributes) => {
                self.tests
                    .push([&self.module[..], &[item.ident.to_string()]].concat());
            }
            _ if for_tests(attributes) => {}
            Item::Mod(item) if item.content.is_some() => {
                self.module.push(item.ident.to_string());
                visit::visit_item_mod(self, item);
                self.module.pop();
            }
            Item::Use(item) => {
                let shown = !matches!(item.vis, Visibility::Inherited);
                self.use_tree(&[], &item.tree, shown);
            }
            item => visit::visit_item(self, item),
        }
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        if !matches!(item, ImplItem::Fn(function) if for_tests(&function.attrs)) {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_item_extern_crate(&mut self, item: &'ast syn::ItemExternCrate) {
        self.name(vec![item.ident.to_string(), "self".to_owned()]);
    }

    fn visit_ident(&mut self, ident: &'ast syn::Ident) {
        self.names.insert(ident.to_string());
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.name(
            path.segments
                .iter()
                .map(|segment| segment.ident.to_string())
                .collect(),
        );
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, used: &'ast syn::Macro) {
        self.tokens(used.tokens.clone(), false);
        visit::visit_macro(self, used);
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if let Meta::List(list) = &attribute.meta {
            self.tokens(list.tokens.clone(), true);
        }
    }

    /// `pub(in crate::cli)` shows who may use something, and uses nothing.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}
}

fn for_tests(attributes: &[Attribute]) -> bool {
    let test = |attribute: &Attribute| {
        let list = attribute.meta.require_list();
        list.is_ok_and(|list| list.path.is_ident("cfg") && list.tokens.to_string() == "test")
    };
    attributes.iter().any(test)
}
