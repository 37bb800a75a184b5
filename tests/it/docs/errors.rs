//! `docs/reference/errors.md` lists the errors that the sources define, each with its reason.

use std::collections::BTreeMap;
use std::fs;

use syn::punctuated::Punctuated;
use syn::{Attribute, Fields, Item, LitStr, Meta, Path, Token};

use super::{page, root};
use crate::common::tree;

const PAGE: &str = "docs/reference/errors.md";

/// The exit code of each class.
const CLASSES: [(&str, u8); 4] = [("refused", 1), ("usage", 2), ("trouble", 3), ("notyet", 4)];

const HEAD: &str = "\
# Errors

Each error has a stable name, its reason: `\"reason\"` in an error as [JSON](json.md). Braces are
placeholders for values. What follows from the exit codes is in [exit codes](exit-codes.md).

Generated from the sources: `INSTA_UPDATE=always cargo test --test it docs::errors`.

| reason | exit code | message | help |
|---|---|---|---|
";

#[test]
fn every_error_is_in_the_catalogue() {
    let mut catalogue = Catalogue::default();
    for (path, text) in tree(&root().join("src")) {
        if path.ends_with(".rs") {
            let text = String::from_utf8(text).expect("UTF-8");
            let file = syn::parse_file(&text).unwrap_or_else(|bad| panic!("{path}: {bad}"));
            file.items
                .iter()
                .for_each(|item| catalogue.item(&path, item));
        }
    }
    if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
        fs::write(root().join(PAGE), catalogue.page()).expect("written");
    }
    assert_eq!(catalogue.faults, [""; 0]);
    let same = page(PAGE) == catalogue.page();
    assert!(
        same,
        "{PAGE} is not what the sources say; it says itself how it is written anew"
    );
}

#[derive(Default)]
struct Catalogue {
    /// The rows, and the class and the place of each reason.
    rows: Vec<[String; 4]>,
    classes: BTreeMap<String, (String, String)>,
    faults: Vec<String>,
}

impl Catalogue {
    fn item(&mut self, path: &str, item: &Item) {
        match item {
            Item::Enum(item) if derives_diagnostic(&item.attrs) => {
                for variant in &item.variants {
                    let place = format!("{path}: {}::{}", item.ident, variant.ident);
                    self.error(&place, &variant.attrs, &variant.fields);
                }
            }
            Item::Struct(item) if derives_diagnostic(&item.attrs) => {
                self.error(
                    &format!("{path}: {}", item.ident),
                    &item.attrs,
                    &item.fields,
                );
            }
            _ => {}
        }
    }

    fn error(&mut self, place: &str, attributes: &[Attribute], fields: &Fields) {
        let mut code = None;
        let mut help = None;
        for meta in attributes
            .iter()
            .filter(|one| one.path().is_ident("diagnostic"))
            .flat_map(|one| {
                one.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated)
                    .unwrap_or_else(|bad| panic!("{place}: {bad}"))
            })
        {
            match meta {
                Meta::List(list) if list.path.is_ident("code") => {
                    let path: Path = list
                        .parse_args()
                        .unwrap_or_else(|bad| panic!("{place}: {bad}"));
                    code = Some(
                        path.segments
                            .iter()
                            .map(|name| name.ident.to_string())
                            .collect(),
                    );
                }
                Meta::List(list) if list.path.is_ident("help") => help = template(&list),
                // The error within has its own.
                Meta::List(list) if list.path.is_ident("forward") => return,
                Meta::Path(path) if path.is_ident("transparent") => return,
                _ => {}
            }
        }
        let code: Vec<String> = code.unwrap_or_default();
        let [class, reason] = code.as_slice() else {
            return self
                .faults
                .push(format!("{place} has no code(CLASS::NAME)"));
        };
        let Some((_, exit)) = CLASSES.iter().find(|(name, _)| name == class) else {
            return self
                .faults
                .push(format!("{place} has an unknown class `{class}`"));
        };
        let now = (class.clone(), place.to_owned());
        let first = self.classes.entry(reason.clone()).or_insert(now);
        if first.0 != *class {
            self.faults.push(format!(
                "`{reason}` is `{class}` in {place}, but not in {}",
                first.1
            ));
        }
        let message = attributes.iter().find(|one| one.path().is_ident("error"));
        let message = message.and_then(|one| template(one.meta.require_list().ok()?));
        // A text that is made where the error is.
        let made = fields
            .iter()
            .any(|field| field.attrs.iter().any(|one| one.path().is_ident("help")));
        let help = help.or(made.then(|| "…".to_owned()));
        let message = message.unwrap_or_else(|| "…".to_owned());
        self.rows.push([
            reason.clone(),
            exit.to_string(),
            message,
            help.unwrap_or_default(),
        ]);
    }

    fn page(&self) -> String {
        let mut rows = self.rows.clone();
        rows.sort();
        rows.dedup();
        let rows = rows.iter().map(|[reason, exit, message, help]| {
            format!(
                "| `{reason}` | {exit} | {} | {} |\n",
                cell(message),
                cell(help)
            )
        });
        HEAD.to_owned() + &rows.collect::<String>()
    }
}

fn derives_diagnostic(attributes: &[Attribute]) -> bool {
    attributes
        .iter()
        .filter(|one| one.path().is_ident("derive"))
        .any(|one| {
            let derived = one.parse_args_with(Punctuated::<Path, Token![,]>::parse_terminated);
            let mut derived = derived.into_iter().flatten();
            derived.any(|path| {
                path.segments
                    .last()
                    .is_some_and(|name| name.ident == "Diagnostic")
            })
        })
}

/// The literal that an attribute begins with; its arguments fill it in.
fn template(list: &syn::MetaList) -> Option<String> {
    let first = list.tokens.clone().into_iter().next()?;
    let literal: LitStr = syn::parse2(first.into()).ok()?;
    Some(literal.value())
}

/// In a table of Markdown.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}
