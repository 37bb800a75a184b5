//! The arrows between modules run one way. This reads the sources and fails when one runs another way, or when a library
//! is named outside the one module that may know it.

use std::collections::BTreeSet;
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
    ("repository", &["domain", "files"]),
    ("config", &["domain", "ssh", "tlog", "token"]),
    ("home", &["config", "domain", "files", "ledger", "mac", "openpgp", "ssh", "tlog"]),
    (
        "steps",
        &[
            "config",
            "domain",
            "dsse",
            "files",
            "home",
            "ledger",
            "mac",
            "openpgp",
            "repository",
            "ssh",
            "tlog",
            "token",
        ],
    ),
    (
        "cli",
        &[
            "config",
            "domain",
            "dsse",
            "files",
            "home",
            "ledger",
            "mac",
            "openpgp",
            "repository",
            "ssh",
            "steps",
            "tlog",
            "token",
        ],
    ),
    // These declare the others, and call one.
    ("lib", &[]),
    ("main", &[]),
];

/// The places, files or folders below `src`, where alone each of these libraries may be named.
const LIBRARIES: [(&str, &[&str]); 21] = [
    ("card_backend", &["token/card"]),
    ("card_backend_pcsc", &["token/card/reader.rs"]),
    ("clap", &["cli"]),
    ("cryptoki", &["token/pkcs11"]),
    ("cryptoki_sys", &["token/pkcs11"]),
    ("ed25519_dalek", &["dsse/key.rs", "tlog/note.rs", "token/file.rs"]),
    ("globset", &["domain/grant.rs"]),
    ("hmac", &["mac.rs"]),
    ("indicatif", &["cli"]),
    ("jiff", &["domain/time.rs"]),
    ("openpgp_card", &["token/card"]),
    ("pcsc", &["token/card/reader.rs"]),
    ("pinentry", &["cli/prompt.rs"]),
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
    assert!(sources.len() > 30, "only {} sources were found", sources.len());
    let wrong: Vec<_> = sources.iter().flat_map(|(path, text)| violations(path, text)).collect();
    assert_eq!(wrong, [""; 0], "\n{}\n", wrong.join("\n"));
}

#[test]
fn every_rule_is_about_something_that_is_there() {
    let sources = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "");
    let modules: BTreeSet<_> = sources.iter().map(|(path, _)| module(path)).collect();
    assert_eq!(modules, ARROWS.map(|(module, _)| module).into());
    for (library, place) in
        LIBRARIES.iter().flat_map(|(library, places)| places.iter().map(move |place| (library, place)))
    {
        let used = sources.iter().any(|(path, text)| is_in(path, place) && names(&tokens(text), library));
        assert!(used, "{library} is not used in {place} any more");
    }
    assert!(sources.iter().any(|(path, text)| path == UNSAFE && tokens(text).contains(&"unsafe".to_owned())));
}

/// The checker sees what it is there for, and nothing where there is nothing.
#[test]
fn what_runs_the_wrong_way_is_seen() {
    for (path, source, seen) in [
        ("domain/grant.rs", "use crate::files::Folder;", "domain may not name files"),
        ("domain/grant.rs", "fn f() { crate::openpgp::g() }", "domain may not name openpgp"),
        ("domain/grant.rs", "use super::super::ledger::Ledger;", "domain may not name ledger"),
        ("files/mod.rs", "use crate::{domain::name::Name, files::x};", "files may not name domain"),
        ("ledger/mod.rs", "pub(crate) use crate::{domain::{a, b}, openpgp::c};", "ledger may not name openpgp"),
        ("home.rs", "use super::steps::grant;", "home may not name steps"),
        ("token/mod.rs", "use super::repository;", "token may not name repository"),
        ("steps/sign.rs", "use crate :: cli :: render;", "steps may not name cli"),
        ("steps/sign.rs", "use crate::*;", "steps may not name *"),
        ("steps/sign.rs", "use countersign::cli::run;", "steps may not name cli"),
        ("openpgp/make.rs", "use crate::token as t;", "openpgp may not name token"),
        ("elsewhere.rs", "", "no rule says what elsewhere may name"),
        ("steps/sign.rs", "use clap::Args;", "clap may be named in cli alone"),
        ("steps/sign.rs", "fn f(_: ::sequoia_openpgp::Cert) {}", "sequoia_openpgp may be named in openpgp alone"),
        ("cli/sign.rs", "use sequoia_openpgp as pgp;", "sequoia_openpgp may be named in openpgp alone"),
        ("token/file.rs", "use cryptoki::{a, b};", "cryptoki may be named in token/pkcs11 alone"),
        ("home.rs", "type A = rusqlite::Error;", "rusqlite may be named in ledger alone"),
        ("steps/sign.rs", "fn f() { indicatif::g() }", "indicatif may be named in cli alone"),
        ("token/file.rs", "use rpassword;", "rpassword may be named in cli alone"),
        ("token/pkcs11/mod.rs", "use openpgp_card::Card;", "openpgp_card may be named in token/card alone"),
        ("token/card/mod.rs", "use pcsc::Context;", "pcsc may be named in token/card/reader.rs alone"),
        ("token/pkcs11/login.rs", "fn f() { unsafe { g() } }", "unsafe"),
        ("cli/sign.rs", "fn f() { println!(\"x\") }", "println! goes past cli::render"),
        ("steps/sign.rs", "fn f() { std::eprintln ! (\"x\") }", "eprintln! goes past cli::render"),
    ] {
        let found = violations(path, source);
        assert!(found.iter().any(|violation| violation.contains(seen)), "{path}: {source}\nfound {found:?}");
    }
    for (path, source) in [
        ("domain/grant.rs", "//! As crate::files says.\n/* use crate::cli; /* unsafe */ use clap; */ fn f() {}"),
        (
            "domain/grant.rs",
            "const A: &str = \"use crate::cli; \\\" println!\"; const B: &str = r#\"use \"clap\"::x\"#;",
        ),
        ("domain/grant.rs", "use super::name::Name; use crate::domain::time::T; fn f<'a>(c: char) { c == '\"'; }"),
        ("steps/sign.rs", "use super::{evidence, grant}; use crate::{home::Home, openpgp::{A, B}};"),
        ("domain/grant.rs", "fn f(clap: u8) { let token = clap; }"),
        ("token/pkcs11/module.rs", "#[expect(unsafe_code)] fn f() { unsafe { g() } }"),
        ("home.rs", "#[cfg(test)] mod tests { use super::*; fn f() { tempfile::tempdir() } }"),
        ("main.rs", "fn main() { countersign::cli::run() }"),
    ] {
        assert_eq!(violations(path, source), [""; 0], "{path}: {source}");
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
            wrong.push(format!("{path}: {library} may be named in {} alone", places.join(" and ")));
        }
    }
    for (at, token) in tokens.iter().enumerate() {
        let next = tokens.get(at + 1).map(String::as_str);
        match token.as_str() {
            "unsafe" if path != UNSAFE => wrong.push(format!("{path}: unsafe may stand in {UNSAFE} alone")),
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
    path == place || path.strip_prefix(place).is_some_and(|rest| rest.starts_with('/'))
}

/// Whether a library is named as the beginning of a path.
fn names(tokens: &[String], library: &str) -> bool {
    (0..tokens.len()).any(|at| {
        let before = |back: usize| at.checked_sub(back).map(|before| tokens[before].as_str());
        let after = tokens.get(at + 1).map(String::as_str);
        // `::clap::Args` begins with it, `a::clap::Args` does not.
        let begins = before(1) != Some("::") || before(2).is_none_or(|token| !is_name(token));
        tokens[at] == library && begins && (after == Some("::") || matches!(before(1), Some("use" | "crate")))
    })
}

/// The top-level modules of this crate that a source names, by `crate::` or by as many `super::` as lead there.
fn named_modules(path: &str, tokens: &[String]) -> BTreeSet<String> {
    let depth = path.trim_end_matches(".rs").trim_end_matches("/mod").split('/').count();
    let mut named = BTreeSet::new();
    for at in 0..tokens.len() {
        let rest = &tokens[at..];
        let of_a_path = at > 0 && tokens[at - 1] == "::";
        match rest[0].as_str() {
            "crate" | "countersign" if !of_a_path => first_names(&rest[1..], &mut named),
            "super" if !of_a_path => {
                let supers = rest.chunks(2).take_while(|pair| *pair == ["super", "::"]).count();
                // In a module inside a file `super` leads less far, so `super::*` there is the file itself.
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
            let name = rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
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
            rest.starts_with('"') || (prefix.ends_with('r') && rest.trim_start_matches('#').starts_with('"'))
        })
    });
    if let Some(prefix) = prefix {
        let body = &text[prefix.len()..];
        let length = if prefix.ends_with('r') {
            let hashes = body.len() - body.trim_start_matches('#').len();
            let end = format!("\"{}", "#".repeat(hashes));
            let inside = &body[hashes + 1..];
            hashes + 1 + inside.find(&end).map_or(inside.len(), |found| found + end.len())
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
