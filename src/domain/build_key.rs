//! The label of a build key's file: everything but the secret that M must know, so that M needs no
//! other file.

use std::fmt;
use std::str::FromStr;

use super::digest::GrantId;
use super::evidence::{EvidenceForm, EvidenceKind, Scheme};
use super::grant::{Bounds, Grant, Limits};
use super::malformed::Malformed;
use super::name::{ArtifactName, BuilderName, ProjectName, Version, is_domain};
use super::signing::ReleaseForm;
use super::text::cut;

/// What a build key was made for. M copies it into its evidence; it means nothing before H checks
/// that against the grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildKeyLabel {
    /// The grant.
    pub grant: GrantId,
    /// The builder.
    pub builder: BuilderName,
    /// What is built.
    pub project: ProjectName,
    /// Its version.
    pub version: Version,
    /// The domain of notations, where the evidence has them.
    pub domain: Option<String>,
    /// What the grant demands of the artifacts.
    pub bounds: Bounds,
}

impl BuildKeyLabel {
    /// The label for one builder of a grant.
    pub fn of(grant: &Grant, builder: &BuilderName) -> Self {
        let terms = grant.terms();
        Self {
            grant: grant.id(),
            builder: builder.clone(),
            project: terms.project.clone(),
            version: terms.version.clone(),
            domain: terms.domain.clone(),
            bounds: terms.bounds(),
        }
    }

    /// The notations of its signature of one artifact.
    pub fn notations(&self, name: &ArtifactName) -> [(String, String); 2] {
        let domain = self.domain.as_ref();
        let domain = domain.expect("a key for such signatures has their domain");
        [
            (format!("artifact@{domain}"), name.to_string()),
            (format!("grant@{domain}"), self.grant.to_string()),
        ]
    }

    /// The header lines, without their prefix.
    pub fn to_lines(&self) -> Vec<String> {
        let Self {
            grant,
            builder,
            project,
            version,
            domain,
            bounds:
                Bounds {
                    artifacts,
                    kind,
                    form,
                    not_before,
                    expires,
                },
        } = self;
        let (scheme, evidence) = kind.scheme_and_form();
        let mut lines = vec![
            format!("grant {grant}"),
            format!("builder {builder}"),
            format!("project {project}"),
            format!("version {version}"),
            format!("scheme {scheme}"),
            format!("evidence {evidence}"),
        ];
        lines.extend(domain.iter().map(|domain| format!("domain {domain}")));
        lines.extend([
            format!("form {form}"),
            format!("not-before {not_before}"),
            format!("expires {expires}"),
            format!("max-count {}", artifacts.max_count),
            format!("max-bytes {}", artifacts.max_bytes),
        ]);
        lines.extend(artifacts.names.iter().map(|name| format!("name {name}")));
        lines
    }

    /// Parses what [`BuildKeyLabel::to_lines`] wrote; `None` if there is no label.
    pub fn from_lines<'a>(
        lines: impl IntoIterator<Item = &'a str>,
    ) -> Result<Option<Self>, Malformed> {
        let lines: Vec<&str> = lines.into_iter().map(str::trim_end).collect();
        let values = |name: &'static str| {
            lines
                .iter()
                .filter_map(move |line| line.strip_prefix(name)?.strip_prefix(' '))
        };
        let optional = |name: &'static str| {
            let mut values = values(name);
            match (values.next(), values.next()) {
                (Some(_), Some(_)) => Err(Malformed::new(format!(
                    "header line `{name} …` is there twice"
                ))),
                (first, _) => Ok(first),
            }
        };
        let value = |name: &'static str| optional(name)?.ok_or_else(|| missing(name));
        if optional("grant")?.is_none() {
            return Ok(None);
        }
        let names = values("name")
            .map(|pattern| parsed("name", pattern))
            .collect::<Result<Vec<_>, _>>()?;
        if names.is_empty() {
            return Err(missing("name"));
        }
        let scheme = one_of("scheme", value("scheme")?, &Scheme::ALL)?;
        let evidence = one_of("evidence", value("evidence")?, &EvidenceForm::ALL)?;
        let kind = EvidenceKind::of(scheme, evidence).ok_or_else(|| {
            Malformed::new(format!(
                "scheme {scheme} has no evidence of form {evidence}"
            ))
        })?;
        let domain = optional("domain")?.map(str::to_owned);
        if domain.as_ref().is_some_and(|domain| !is_domain(domain)) {
            return Err(Malformed::new(
                "header line `domain …` is not a domain name",
            ));
        }
        if kind == EvidenceKind::Signatures && domain.is_none() {
            return Err(missing("domain"));
        }
        Ok(Some(Self {
            grant: parsed("grant", value("grant")?)?,
            builder: parsed("builder", value("builder")?)?,
            project: parsed("project", value("project")?)?,
            version: parsed("version", value("version")?)?,
            domain,
            bounds: Bounds {
                artifacts: Limits {
                    names,
                    max_count: number("max-count", value("max-count")?)?,
                    max_bytes: number("max-bytes", value("max-bytes")?)?,
                },
                kind,
                form: one_of("form", value("form")?, &ReleaseForm::ALL)?,
                not_before: parsed("not-before", value("not-before")?)?,
                expires: parsed("expires", value("expires")?)?,
            },
        }))
    }
}

fn parsed<T: FromStr<Err = Malformed>>(header: &str, text: &str) -> Result<T, Malformed> {
    text.parse()
        .map_err(|error: Malformed| error.within(format_args!("header line `{header} …`")))
}

fn number<T: FromStr>(header: &str, text: &str) -> Result<T, Malformed> {
    let number = text.parse();
    number.map_err(|_| Malformed::new(format!("header line `{header} …` is not a number")))
}

fn missing(header: &str) -> Malformed {
    Malformed::new(format!("header line `{header} …` is missing"))
}

fn one_of<T: fmt::Display + Copy>(header: &str, text: &str, all: &[T]) -> Result<T, Malformed> {
    let found = all.iter().find(|value| value.to_string() == text).copied();
    found.ok_or_else(|| {
        let text = cut(text, 40);
        Malformed::new(format!(
            "header line `{header} {text}` has an unknown value"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label() -> BuildKeyLabel {
        BuildKeyLabel {
            grant: GrantId::of(b"grant"),
            builder: "m1".parse().expect("a name"),
            project: "foo".parse().expect("a name"),
            version: "1.2.3".parse().expect("a version"),
            domain: Some("example.org".to_owned()),
            bounds: Bounds {
                kind: EvidenceKind::Signatures,
                form: ReleaseForm::ListOnly,
                ..Bounds::example(&["foo*", "* *"])
            },
        }
    }

    #[test]
    fn a_label_reads_back_as_it_was_written() {
        let label = label();
        let lines = label.to_lines();
        let read = |lines: &[String]| BuildKeyLabel::from_lines(lines.iter().map(String::as_str));
        let refused = |lines: &[String]| read(lines).expect_err("refused").to_string();
        assert_eq!(read(&lines), Ok(Some(label)));
        assert_eq!(read(&[]), Ok(None));
        for without in [
            "builder",
            "project",
            "version",
            "scheme",
            "evidence",
            "domain",
            "form",
            "not-before",
            "expires",
            "max-count",
            "max-bytes",
            "name",
        ] {
            let fewer: Vec<_> = lines
                .iter()
                .filter(|line| !line.starts_with(without))
                .cloned()
                .collect();
            let missing = format!("header line `{without} …` is missing");
            assert_eq!(refused(&fewer), missing);
        }
        let twice = [&lines[..], &lines[..1]].concat();
        assert_eq!(refused(&twice), "header line `grant …` is there twice");
        for (from, to, message) in [
            (
                "openpgp",
                "dsse",
                "scheme dsse has no evidence of form per-artifact",
            ),
            (
                "example.org",
                "..",
                "header line `domain …` is not a domain name",
            ),
            (
                "scheme openpgp",
                "scheme x",
                "header line `scheme x` has an unknown value",
            ),
            (
                "max-count 100",
                "max-count many",
                "header line `max-count …` is not a number",
            ),
            (
                "builder m1",
                "builder -",
                "header line `builder …`: builder name `-` begins with a dash",
            ),
        ] {
            let changed: Vec<_> = lines.iter().map(|line| line.replace(from, to)).collect();
            assert_eq!(refused(&changed), message);
        }
    }
}
