//! The arrows between modules run one way, and those between the files of one module make no
//! circle. This reads the sources and fails when it is otherwise, or when a library is named
//! outside the one module that may know it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Which modules each module may name, beside itself.
const ARROWS: [(&str, &[&str]); 16] = [
    ("domain", &[]),
    ("files", &[]),
    ("dsse", &["domain"]),
    ("mac", &["domain"]),
    ("openpgp", &["domain", "files"]),
    ("ssh", &["domain"]),
    ("tlog", &["domain"]),
    ("token", &["domain", "files"]),
    ("ledger", &["domain", "files", "tlog"]),
    ("location", &["domain", "files"]),
    ("config", &["domain", "ssh", "tlog", "token"]),
    (
        "home",
        &[
            "config", "domain", "files", "ledger", "mac", "openpgp", "ssh", "tlog",
        ],
    ),
    (
        "steps",
        &[
            "config", "domain", "dsse", "files", "home", "ledger", "mac", "openpgp", "location",
            "ssh", "tlog", "token",
        ],
    ),
    (
        "cli",
        &[
            "config", "domain", "dsse", "files", "home", "ledger", "mac", "openpgp", "location",
            "ssh", "steps", "tlog", "token",
        ],
    ),
    // These declare the others, and call one.
    ("lib", &[]),
    ("main", &[]),
];

/// The modules in whose files no arrows make a circle: all but `ledger`, where one type has its
/// methods in several files, which ask each other.
const WITHOUT_CIRCLES: [&str; 8] = [
    "cli", "domain", "dsse", "files", "openpgp", "steps", "tlog", "token",
];

/// The places, files or folders below `src`, where alone each of these libraries may be named.
const LIBRARIES: [(&str, &[&str]); 21] = [
    ("card_backend", &["token/card"]),
    ("card_backend_pcsc", &["token/card/reader.rs"]),
    ("clap", &["cli"]),
    ("cryptoki", &["token/pkcs11"]),
    ("cryptoki_sys", &["token/pkcs11"]),
    (
        "ed25519_dalek",
        &["dsse/key.rs", "tlog/note.rs", "token/file.rs"],
    ),
    ("globset", &["domain/grant.rs"]),
    ("hmac", &["mac.rs"]),
    ("indicatif", &["cli"]),
    ("jiff", &["domain/time.rs"]),
    ("openpgp_card", &["token/card"]),
    ("pcsc", &["token/card/reader.rs"]),
    ("pinentry", &["cli/host/prompt.rs"]),
    ("rpassword", &["cli"]),
    ("rusqlite", &["ledger"]),
    ("sequoia_openpgp", &["openpgp"]),
    ("sha2", &["domain/digest.rs", "mac.rs", "tlog"]),
    ("ssh_key", &["ssh.rs"]),
    ("strsim", &["config.rs"]),
    ("tlog_tiles", &["tlog/tree.rs"]),
    ("toml", &["config.rs"]),
];

/// The only file where `unsafe` may stand.
const UNSAFE: &str = "token/pkcs11/module.rs";

/// Output goes through `cli::render`; these macros go past it.
const PRINTING: [&str; 5] = ["dbg", "eprint", "eprintln", "print", "println"];

#[test]
fn every_arrow_runs_the_right_way() {
    let sources = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "");
    assert!(
        sources.len() > 30,
        "only {} sources were found",
        sources.len()
    );
    let wrong: Vec<_> = sources
        .iter()
        .flat_map(|(path, text)| violations(path, text))
        .collect();
    assert_eq!(wrong, [""; 0], "\n{}\n", wrong.join("\n"));
}

#[test]
fn every_rule_is_about_something_that_is_there() {
    let sources = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "");
    let modules: BTreeSet<_> = sources.iter().map(|(path, _)| module(path)).collect();
    assert_eq!(modules, ARROWS.map(|(module, _)| module).into());
    for (library, place) in LIBRARIES
        .iter()
        .flat_map(|(library, places)| places.iter().map(move |place| (library, place)))
    {
        let used = sources
            .iter()
            .any(|(path, text)| is_in(path, place) && names(&tokens(text), library));
        assert!(used, "{library} is not used in {place} any more");
    }
    for module in WITHOUT_CIRCLES {
        assert!(modules.contains(module), "there is no module {module}");
    }
    assert!(
        sources
            .iter()
            .any(|(path, text)| path == UNSAFE && tokens(text).contains(&"unsafe".to_owned()))
    );
}

#[test]
fn no_arrows_between_the_files_of_a_module_make_a_circle() {
    let sources = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "");
    let found: Vec<_> = WITHOUT_CIRCLES
        .iter()
        .flat_map(|module| circles(module, &sources))
        .collect();
    assert_eq!(found, [""; 0], "\n{}\n", found.join("\n"));
}

/// The checker sees what it is there for, and nothing where there is nothing.
#[test]
fn what_runs_the_wrong_way_is_seen() {
    for (path, source, seen) in [
        (
            "domain/grant.rs",
            "use crate::files::Folder;",
            "domain may not name files",
        ),
        (
            "domain/grant.rs",
            "fn f() { crate::openpgp::g() }",
            "domain may not name openpgp",
        ),
        (
            "domain/grant.rs",
            "use super::super::ledger::Ledger;",
            "domain may not name ledger",
        ),
        (
            "files/mod.rs",
            "use crate::{domain::name::Name, files::x};",
            "files may not name domain",
        ),
        (
            "ledger/mod.rs",
            "pub(crate) use crate::{domain::{a, b}, openpgp::c};",
            "ledger may not name openpgp",
        ),
        (
            "home.rs",
            "use super::steps::grant;",
            "home may not name steps",
        ),
        (
            "token/mod.rs",
            "use super::location;",
            "token may not name location",
        ),
        (
            "steps/sign.rs",
            "use crate :: cli :: render;",
            "steps may not name cli",
        ),
        ("steps/sign.rs", "use crate::*;", "steps may not name *"),
        (
            "steps/sign.rs",
            "use countersign::cli::run;",
            "steps may not name cli",
        ),
        (
            "openpgp/make.rs",
            "use crate::token as t;",
            "openpgp may not name token",
        ),
        ("elsewhere.rs", "", "no rule says what elsewhere may name"),
        (
            "steps/sign.rs",
            "use clap::Args;",
            "clap may be named in cli alone",
        ),
        (
            "steps/sign.rs",
            "fn f(_: ::sequoia_openpgp::Cert) {}",
            "sequoia_openpgp may be named in openpgp alone",
        ),
        (
            "cli/sign.rs",
            "use sequoia_openpgp as pgp;",
            "sequoia_openpgp may be named in openpgp alone",
        ),
        (
            "token/file.rs",
            "use cryptoki::{a, b};",
            "cryptoki may be named in token/pkcs11 alone",
        ),
        (
            "home.rs",
            "type A = rusqlite::Error;",
            "rusqlite may be named in ledger alone",
        ),
        (
            "steps/sign.rs",
            "fn f() { indicatif::g() }",
            "indicatif may be named in cli alone",
        ),
        (
            "token/file.rs",
            "use rpassword;",
            "rpassword may be named in cli alone",
        ),
        (
            "token/pkcs11/mod.rs",
            "use openpgp_card::Card;",
            "openpgp_card may be named in token/card alone",
        ),
        (
            "token/card/mod.rs",
            "use pcsc::Context;",
            "pcsc may be named in token/card/reader.rs alone",
        ),
        (
            "token/pkcs11/login.rs",
            "fn f() { unsafe { g() } }",
            "unsafe",
        ),
        (
            "cli/sign.rs",
            "fn f() { println!(\"x\") }",
            "println! goes past cli::render",
        ),
        (
            "steps/sign.rs",
            "fn f() { std::eprintln ! (\"x\") }",
            "eprintln! goes past cli::render",
        ),
    ] {
        let found = violations(path, source);
        assert!(
            found.iter().any(|violation| violation.contains(seen)),
            "{path}: {source}\nfound {found:?}"
        );
    }
    for (path, source) in [
        (
            "domain/grant.rs",
            "//! As crate::files says.\n/* use crate::cli; /* unsafe */ use clap; */ fn f() {}",
        ),
        (
            "domain/grant.rs",
            "const A: &str = \"use crate::cli; \\\" println!\"; const B: &str = r#\"use \"clap\"::x\"#;",
        ),
        (
            "domain/grant.rs",
            "use super::name::Name; use crate::domain::time::T; fn f<'a>(c: char) { c == '\"'; }",
        ),
        (
            "steps/sign.rs",
            "use super::{evidence, grant}; use crate::{home::Home, openpgp::{A, B}};",
        ),
        ("domain/grant.rs", "fn f(clap: u8) { let token = clap; }"),
        (
            "token/pkcs11/module.rs",
            "#[expect(unsafe_code)] fn f() { unsafe { g() } }",
        ),
        (
            "home.rs",
            "#[cfg(test)] mod tests { use super::*; fn f() { tempfile::tempdir() } }",
        ),
        ("main.rs", "fn main() { countersign::cli::run() }"),
    ] {
        assert_eq!(violations(path, source), [""; 0], "{path}: {source}");
    }
}

#[test]
fn circles_of_files_are_seen() {
    let owned = |sources: &[(&str, &str)]| -> Vec<(String, String)> {
        sources
            .iter()
            .map(|(path, source)| ((*path).to_owned(), (*source).to_owned()))
            .collect()
    };
    for (sources, seen) in [
        (
            &[
                ("m/a.rs", "use super::b::B;"),
                ("m/b.rs", "use super::a::A;"),
            ][..],
            "m::a -> m::b -> m::a",
        ),
        (
            &[
                ("m/a.rs", "fn f() { crate::m::b::g() }"),
                ("m/b.rs", "fn f(_: super::a::A) {}"),
            ],
            "m::a -> m::b -> m::a",
        ),
        (
            &[
                ("m/a.rs", "use crate::m::{b::B, d};"),
                ("m/b.rs", "use super::{d::D, c};"),
                ("m/c.rs", "use super::a;"),
            ],
            "m::a -> m::b -> m::c -> m::a",
        ),
        // A name that another file only has there is that other file's.
        (
            &[
                ("m/mod.rs", "pub use a::A;"),
                ("m/a.rs", "use super::b;"),
                ("m/b.rs", "use super::A;"),
            ],
            "m::a -> m::b -> m::a",
        ),
        (
            &[
                ("m/mod.rs", "mod a; fn f() { a::g() }"),
                ("m/a.rs", "use super::{c, f};"),
            ],
            "m -> m::a -> m",
        ),
        (
            &[("m.rs", "use a::A;"), ("m/a.rs", "type B = super::C;")],
            "m -> m::a -> m",
        ),
        (
            &[
                ("m/a.rs", "mod i { use super::super::b; }"),
                ("m/b.rs", "use super::a;"),
            ],
            "m::a -> m::b -> m::a",
        ),
        (
            &[
                ("m/a.rs", "pub(super) use super::b::B;"),
                ("m/b.rs", "use super::a::f;"),
            ],
            "m::a -> m::b -> m::a",
        ),
        (
            &[
                ("m/a/mod.rs", "use crate::m::b;"),
                ("m/b.rs", "use super::a::c;"),
                ("m/a/c.rs", "use super::X;"),
            ],
            "-> m::b ->",
        ),
    ] {
        let found = circles("m", &owned(sources));
        assert!(
            found.len() == 1 && found[0].contains(seen),
            "{sources:?}\nfound {found:?}"
        );
    }
    let two = owned(&[
        ("m/a.rs", "use super::{b, c};"),
        ("m/b.rs", "use super::a;"),
        ("m/c.rs", "use super::a;"),
    ]);
    assert_eq!(
        circles("m", &two),
        ["m::a -> m::b -> m::a", "m::a -> m::c -> m::a"]
    );
    for sources in [
        &[
            ("m/a.rs", "use super::b::B;"),
            ("m/b.rs", "use super::c;"),
            ("m/c.rs", "fn f() {}"),
        ][..],
        &[
            ("m/a.rs", "use super::b;"),
            (
                "m/b.rs",
                "//! As super::a says.\nconst A: &str = \"super::a\";",
            ),
        ],
        &[
            ("m/a.rs", "use super::b;"),
            ("m/b.rs", "#[cfg(test)] mod tests { use crate::m::a; }"),
        ],
        &[
            ("m.rs", "#[cfg(test)] mod t; #[cfg(test)] mod u;"),
            ("m/t.rs", "use super::u;"),
            ("m/u.rs", "use super::t;"),
        ],
        &[
            ("m/a.rs", "use super::b;"),
            ("m/b.rs", "#[cfg(test)] use super::a::{A, B}; fn f() {}"),
        ],
        &[
            ("m/mod.rs", "mod a; pub use a::{A, B}; fn f() {}"),
            ("m/a.rs", "use super::f;"),
        ],
        &[
            ("m/a.rs", "use super::b;"),
            (
                "m/b.rs",
                "use crate::n::a; use super::super::o::a; fn f(a: u8) { a; }",
            ),
        ],
        &[("m/a.rs", "mod i { use super::*; } fn f() { i::g() }")],
        &[
            ("m/mod.rs", "fn f() { a::g() }"),
            ("m/a.rs", "pub(in crate::m) fn g() {} pub(super) fn h() {}"),
        ],
        &[("n/a.rs", "use super::b;"), ("n/b.rs", "use super::a;")],
    ] {
        assert_eq!(circles("m", &owned(sources)), [""; 0], "{sources:?}");
    }
}

/// What is wrong in a source; its path is that below `src`.
fn violations(path: &str, source: &str) -> Vec<String> {
    let (own, tokens) = (module(path), tokens(source));
    let mut wrong = Vec::new();
    match ARROWS.iter().find(|(module, _)| *module == own) {
        None => wrong.push(format!("no rule says what {own} may name")),
        Some((_, allowed)) => {
            let entry = matches!(own, "lib" | "main");
            let named = named_modules(path, &tokens).into_iter();
            let strange = named.filter(|name| name != own && !allowed.contains(&name.as_str()));
            let strange = strange.filter(|name| !(entry && name == "cli"));
            wrong.extend(strange.map(|name| format!("{path}: {own} may not name {name}")));
        }
    }
    for (library, places) in LIBRARIES {
        if names(&tokens, library) && !places.iter().any(|place| is_in(path, place)) {
            wrong.push(format!(
                "{path}: {library} may be named in {} alone",
                places.join(" and ")
            ));
        }
    }
    for (at, token) in tokens.iter().enumerate() {
        let next = tokens.get(at + 1).map(String::as_str);
        match token.as_str() {
            "unsafe" if path != UNSAFE => {
                wrong.push(format!("{path}: unsafe may stand in {UNSAFE} alone"))
            }
            name if next == Some("!") && PRINTING.contains(&name) => {
                wrong.push(format!("{path}: {name}! goes past cli::render"));
            }
            _ => {}
        }
    }
    wrong
}

/// The top-level module that a source belongs to.
fn module(path: &str) -> &str {
    let first = path.split('/').next().expect("a path has a first part");
    first.strip_suffix(".rs").unwrap_or(first)
}

fn is_in(path: &str, place: &str) -> bool {
    path == place
        || path
            .strip_prefix(place)
            .is_some_and(|rest| rest.starts_with('/'))
}

/// Whether a library is named as the beginning of a path.
fn names(tokens: &[String], library: &str) -> bool {
    (0..tokens.len()).any(|at| {
        let before = |back: usize| at.checked_sub(back).map(|before| tokens[before].as_str());
        let after = tokens.get(at + 1).map(String::as_str);
        // `::clap::Args` begins with it, `a::clap::Args` does not.
        let begins = before(1) != Some("::") || before(2).is_none_or(|token| !is_name(token));
        tokens[at] == library
            && begins
            && (after == Some("::") || matches!(before(1), Some("use" | "crate")))
    })
}

/// The top-level modules of this crate that a source names, by `crate::` or by as many `super::` as
/// lead there.
fn named_modules(path: &str, tokens: &[String]) -> BTreeSet<String> {
    let depth = path
        .trim_end_matches(".rs")
        .trim_end_matches("/mod")
        .split('/')
        .count();
    let mut named = BTreeSet::new();
    for at in 0..tokens.len() {
        let rest = &tokens[at..];
        let of_a_path = at > 0 && tokens[at - 1] == "::";
        match rest[0].as_str() {
            "crate" | "countersign" if !of_a_path => first_names(&rest[1..], &mut named),
            "super" if !of_a_path => {
                let supers = rest
                    .chunks(2)
                    .take_while(|pair| *pair == ["super", "::"])
                    .count();
                // In a module inside a file `super` leads less far, so `super::*` there is the file
                // itself.
                if supers >= depth && rest.get(2 * supers).is_some_and(|token| token != "*") {
                    first_names(&rest[2 * supers - 1..], &mut named);
                }
            }
            _ => {}
        }
    }
    named
}

/// What follows `crate`: `::a`, or each first name of `::{a::b, c}`.
fn first_names(tokens: &[String], named: &mut BTreeSet<String>) {
    match tokens {
        [colons, brace, rest @ ..] if colons == "::" && brace == "{" => {
            let (mut depth, mut first) = (1, true);
            for token in rest {
                match token.as_str() {
                    "{" => depth += 1,
                    "}" => depth -= 1,
                    "," if depth == 1 => first = true,
                    name if first => {
                        named.insert(name.to_owned());
                        first = false;
                    }
                    _ => {}
                }
                if depth == 0 {
                    break;
                }
            }
        }
        [colons, name, ..] if colons == "::" => {
            named.insert(name.clone());
        }
        _ => {}
    }
}

/// The circles that the files of a top-level module make by naming each other, as module paths.
fn circles(top: &str, sources: &[(String, String)]) -> Vec<String> {
    let files = Files::of(sources.iter().filter(|(path, _)| module(path) == top));
    let mut arrows: BTreeMap<_, _> = files
        .0
        .keys()
        .map(|file| (file.clone(), files.arrows(file)))
        .collect();
    let mut found = Vec::new();
    loop {
        // What names none that is left is in no circle.
        while let Some(end) = arrows
            .iter()
            .find(|(_, named)| named.is_empty())
            .map(|(file, _)| file.clone())
        {
            arrows.remove(&end);
            arrows.values_mut().for_each(|named| _ = named.remove(&end));
        }
        // Every file that is left names another that is left, so this way comes back to where it
        // was.
        let Some((mut at, _)) = arrows.first_key_value() else {
            return found;
        };
        let mut way = Vec::new();
        while !way.contains(at) {
            way.push(at.clone());
            at = arrows[at]
                .first()
                .expect("a file that names none was removed");
        }
        let circle = &way[way
            .iter()
            .position(|file| file == at)
            .expect("the way was here")..];
        let (last, first) = (&circle[circle.len() - 1], at.clone());
        found.push(
            circle
                .iter()
                .chain([&first])
                .map(|file| file.join("::"))
                .collect::<Vec<_>>()
                .join(" -> "),
        );
        arrows
            .get_mut(last)
            .expect("it is on the way")
            .remove(&first);
    }
}

/// A module's path: `["domain", "grant"]`.
type ModulePath = Vec<String>;

/// A path in a source.
struct Named {
    path: Vec<String>,
    /// The module where it stands.
    from: ModulePath,
    way: Way,
}

/// How a path stands in a source.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// In a `pub use`, for others as well.
    Shown,
    /// In a `use`.
    Used,
    /// Anywhere else.
    Written,
}

/// The files of a top-level module, and the tokens of each, without tests.
struct Files(BTreeMap<ModulePath, Vec<String>>);

impl Files {
    fn of<'a>(sources: impl Iterator<Item = &'a (String, String)>) -> Self {
        let (mut files, mut tests) = (BTreeMap::new(), Vec::new());
        for (path, source) in sources {
            let path = path
                .trim_end_matches(".rs")
                .trim_end_matches("/mod")
                .split('/')
                .map(str::to_owned);
            let path: ModulePath = path.collect();
            let (tokens, names) = without_tests(&tokens(source));
            tests.extend(names.into_iter().map(|name| [&path[..], &[name]].concat()));
            files.insert(path, tokens);
        }
        files.retain(|path, _| !tests.iter().any(|test| path.starts_with(test)));
        Self(files)
    }

    /// The other files that a file names.
    fn arrows(&self, file: &ModulePath) -> BTreeSet<ModulePath> {
        // What a module shows of a child, it does not need itself.
        let of_a_child = |named: &Named| self.has(&[&named.from[..], &named.path[..1]].concat());
        let named = self
            .named(file)
            .into_iter()
            .filter(|named| !(named.way == Way::Shown && of_a_child(named)));
        named
            .filter_map(|named| self.file_of(&named.from, &named.path))
            .filter(|named| named != file)
            .collect()
    }

    /// Every path in a file.
    fn named(&self, file: &ModulePath) -> Vec<Named> {
        let tokens = &self.0[file];
        let (mut found, mut from, mut depths) = (Vec::new(), file.clone(), Vec::new());
        let (mut at, mut depth) = (0, 0);
        while at < tokens.len() {
            let of_a_path = at > 0 && tokens[at - 1] == "::";
            let before = at.checked_sub(2).map(|before| tokens[before].as_str());
            match tokens[at].as_str() {
                "{" => depth += 1,
                "}" => {
                    depth -= 1;
                    if depths.last() == Some(&depth) {
                        depths.pop();
                        from.pop();
                    }
                }
                "mod" if tokens.get(at + 2).is_some_and(|token| token == "{") => {
                    from.push(tokens[at + 1].clone());
                    depths.push(depth);
                }
                // `pub(in crate::cli)` says who may name something, and names nothing.
                "crate" if at > 1 && tokens[at - 1] == "in" && tokens[at - 2] == "(" => {}
                name if is_name(name) && !of_a_path => {
                    let way = match (at > 0 && tokens[at - 1] == "use", before) {
                        (true, Some("pub" | ")")) => Way::Shown,
                        (true, _) => Way::Used,
                        (false, _) => Way::Written,
                    };
                    let (all, length) = paths(&tokens[at..], &[]);
                    let all = all
                        .into_iter()
                        .filter(|path| way != Way::Written || path.len() > 1);
                    found.extend(all.map(|path| Named {
                        path,
                        from: from.clone(),
                        way,
                    }));
                    at += length - 1;
                }
                _ => {}
            }
            at += 1;
        }
        found
    }

    /// The file where the thing stands that a path, read in the module `from`, leads to; nothing
    /// outside of these files.
    fn file_of(&self, from: &[String], path: &[String]) -> Option<ModulePath> {
        let mut at = match path[0].as_str() {
            "crate" | "countersign" => Vec::new(),
            "self" | "super" => from.to_vec(),
            child => self
                .has(&[from, &[child.to_owned()]].concat())
                .then(|| from.to_vec())?,
        };
        for name in path {
            let next = [&at[..], std::slice::from_ref(name)].concat();
            match name.as_str() {
                "crate" | "countersign" | "self" => {}
                "super" => _ = at.pop(),
                _ if self.has(&next) => at = next,
                _ => {
                    // It may be there only because it is used there.
                    let file = self.file_at(&at)?;
                    let fits = |named: &Named| named.from == at && named.path.last() == Some(name);
                    let used = self
                        .named(&file)
                        .into_iter()
                        .find(|named| named.way != Way::Written && fits(named));
                    return Some(
                        used.and_then(|used| self.file_of(&used.from, &used.path))
                            .unwrap_or(file),
                    );
                }
            }
        }
        self.file_at(&at)
    }

    /// Whether there is a module of this path that is a file, or has files.
    fn has(&self, path: &[String]) -> bool {
        self.0.keys().any(|file| file.starts_with(path))
    }

    /// The file in which a module stands.
    fn file_at(&self, module: &[String]) -> Option<ModulePath> {
        (1..=module.len())
            .rev()
            .map(|length| module[..length].to_vec())
            .find(|path| self.0.contains_key(path))
    }
}

/// The paths that a text begins with, each behind the names `before`, and over how many tokens they
/// go. There is one, but for a `use` with braces.
fn paths(tokens: &[String], before: &[String]) -> (Vec<Vec<String>>, usize) {
    let (mut path, mut at) = (before.to_vec(), 0);
    loop {
        match tokens.get(at).map(String::as_str) {
            Some("{") => {
                let mut found = Vec::new();
                at += 1;
                while tokens.get(at).is_some_and(|token| token != "}") {
                    let (inside, length) = paths(&tokens[at..], &path);
                    found.extend(
                        inside
                            .into_iter()
                            .filter(|inside| inside.len() > path.len()),
                    );
                    at += length.max(1);
                }
                return (found, at + 1);
            }
            Some(name) if is_name(name) => path.push(name.to_owned()),
            _ => break,
        }
        at += 1;
        if tokens.get(at).is_none_or(|token| token != "::") {
            break;
        }
        at += 1;
    }
    if tokens.get(at).is_some_and(|token| token == "as") {
        at += 2;
    }
    (vec![path], at)
}

/// The tokens without what is for tests alone, and the names of the modules in files of their own
/// that are.
fn without_tests(tokens: &[String]) -> (Vec<String>, Vec<String>) {
    const TEST: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let (mut kept, mut files, mut rest) = (Vec::new(), Vec::new(), tokens);
    while let [first, others @ ..] = rest {
        if !rest.starts_with(&TEST.map(str::to_owned)) {
            kept.push(first.clone());
            rest = others;
            continue;
        }
        let item = &rest[TEST.len()..];
        let mut depth = 0;
        let end = item.iter().position(|token| {
            depth += i32::from(token == "{") - i32::from(token == "}");
            depth == 0 && matches!(token.as_str(), ";" | "}")
        });
        let length = end.map_or(item.len(), |end| end + 1);
        if let [.., name, semicolon] = &item[..length]
            && semicolon == ";"
        {
            files.push(name.clone());
        }
        rest = &item[length..];
    }
    (kept, files)
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// The names and marks of a source, without comments and literals.
fn tokens(source: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = source;
    while let Some(c) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if let Some(length) = literal(rest) {
            length
        } else if is_name(rest) {
            let name = rest
                .split(|c: char| !c.is_alphanumeric() && c != '_')
                .next()
                .unwrap_or_default();
            tokens.push(name.to_owned());
            name.len()
        } else if rest.starts_with("::") {
            tokens.push("::".to_owned());
            2
        } else {
            if !c.is_whitespace() {
                tokens.push(c.to_string());
            }
            c.len_utf8()
        };
        rest = &rest[length..];
    }
    tokens
}

fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        let rest = &text[at..];
        let step = if rest.starts_with("/*") {
            depth += 1;
            2
        } else if rest.starts_with("*/") {
            depth -= 1;
            2
        } else {
            rest.chars().next().map_or(1, char::len_utf8)
        };
        at += step;
        if depth == 0 {
            break;
        }
    }
    at
}

/// The length of the string or character that `text` begins with.
fn literal(text: &str) -> Option<usize> {
    let prefix = ["br", "cr", "b", "c", "r", ""].into_iter().find(|prefix| {
        text.strip_prefix(prefix).is_some_and(|rest| {
            rest.starts_with('"')
                || (prefix.ends_with('r') && rest.trim_start_matches('#').starts_with('"'))
        })
    });
    if let Some(prefix) = prefix {
        let body = &text[prefix.len()..];
        let length = if prefix.ends_with('r') {
            let hashes = body.len() - body.trim_start_matches('#').len();
            let end = format!("\"{}", "#".repeat(hashes));
            let inside = &body[hashes + 1..];
            hashes
                + 1
                + inside
                    .find(&end)
                    .map_or(inside.len(), |found| found + end.len())
        } else {
            quoted(body, '"')
        };
        return Some(prefix.len() + length);
    }
    // A character, and not the lifetime `'a`.
    let inside = text.strip_prefix('\'')?;
    let one = inside.chars().next()?;
    (one == '\\' || inside[one.len_utf8()..].starts_with('\'')).then(|| quoted(text, '\''))
}

/// The length of what stands between two of these marks, with them.
fn quoted(text: &str, mark: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == mark => return at + c.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

/// Every source below a folder, with its path from there.
fn sources(folder: &Path, prefix: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("the sources") {
        let entry = entry.expect("an entry");
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            found.extend(sources(&entry.path(), &format!("{name}/")));
        } else if name.ends_with(".rs") {
            found.push((name, fs::read_to_string(entry.path()).expect("a source")));
        }
    }
    found
}
