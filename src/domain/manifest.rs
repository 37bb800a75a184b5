//! The manifest: what a builder attests that it built, in one strict text form that `sha256sum -c`
//! can read.

use std::str::FromStr;

use super::artifact::{Artifact, ArtifactList, parse_sum_line, strict_lines, sum_line};
use super::build_key::BuildKeyLabel;
use super::digest::GrantId;
use super::malformed::Malformed;
use super::name::{BuilderName, ProjectName, Version};
use super::text::cut;

const FORMAT: &str = "# countersign-manifest/1";

/// The list of a build's artifacts with their digests, made by one builder under one grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The grant it was made under.
    pub grant: GrantId,
    /// The builder that made it.
    pub builder: BuilderName,
    /// The grant's project.
    pub project: ProjectName,
    /// The grant's version.
    pub version: Version,
    /// What was built.
    pub artifacts: ArtifactList,
}

impl Manifest {
    /// What the builder that `label` names built.
    pub fn of(label: &BuildKeyLabel, artifacts: ArtifactList) -> Self {
        Self {
            grant: label.grant,
            builder: label.builder.clone(),
            project: label.project.clone(),
            version: label.version.clone(),
            artifacts,
        }
    }

    /// The manifest's bytes.
    pub fn to_text(&self) -> String {
        let Self {
            grant,
            builder,
            project,
            version,
            artifacts,
        } = self;
        let mut text = format!(
            "{FORMAT}\n# grant: {grant}\n# builder: {builder}\n\
             # project: {project}\n# version: {version}\n"
        );
        for artifact in artifacts {
            text += &sum_line(&artifact.digest, artifact.name.as_str());
        }
        text
    }

    /// Reads a manifest. Only bytes that [`Manifest::to_text`] could have written are accepted.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut lines = (1..).zip(strict_lines(bytes)?);
        let mut header = |expected| header(lines.next(), expected);

        let (line, rest) = header(FORMAT)?;
        if !rest.is_empty() {
            return Err(unexpected(line, &format!("{FORMAT}{rest}"), FORMAT));
        }
        let grant = parsed(header("# grant: ")?)?;
        let builder = parsed(header("# builder: ")?)?;
        let project = parsed(header("# project: ")?)?;
        let version = parsed(header("# version: ")?)?;

        let artifacts = lines.map(|(line, text)| {
            let (digest, name) = parse_sum_line(text).ok_or_else(|| {
                Malformed::new(format!(
                    "line {line} is not a SHA-256 digest, two spaces and a name"
                ))
            })?;
            let name = parsed((line, name))?;
            Ok(Artifact { name, digest })
        });
        let artifacts = ArtifactList::sorted(artifacts.collect::<Result<_, Malformed>>()?)?;
        Ok(Self {
            grant,
            builder,
            project,
            version,
            artifacts,
        })
    }
}

/// A line's number, counted from 1, and its text.
type Line<'a> = (usize, &'a str);

/// The value in a header line that begins with `expected`.
fn header<'a>(line: Option<Line<'a>>, expected: &str) -> Result<Line<'a>, Malformed> {
    let (number, text) = line
        .ok_or_else(|| Malformed::new(format!("the file ends where `{expected}` is expected")))?;
    let value = text.strip_prefix(expected);
    value
        .map(|value| (number, value))
        .ok_or_else(|| unexpected(number, text, expected))
}

fn unexpected(line: usize, found: &str, expected: &str) -> Malformed {
    let found = cut(found, 80);
    Malformed::new(format!(
        "line {line} is `{found}`, but `{expected}` is expected"
    ))
}

fn parsed<T: FromStr<Err = Malformed>>((line, text): Line<'_>) -> Result<T, Malformed> {
    text.parse()
        .map_err(|error: Malformed| error.within(format_args!("line {line}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const VECTOR: &str = include_str!("../../tests/data/build.manifest");

    #[test]
    fn the_documented_vector_is_read_and_written_back() {
        let manifest = Manifest::parse(VECTOR.as_bytes()).expect("the vector");
        assert_eq!(manifest.to_text(), VECTOR);
        assert_eq!(manifest.builder.as_str(), "m1");
        assert_eq!(manifest.artifacts.count(), 2);
    }

    #[test]
    fn every_change_to_the_form_is_refused() {
        type Change = fn(&str) -> String;
        let changes: [(&str, Change); 16] = [
            ("CRLF", |v| v.replace('\n', "\r\n")),
            ("missing final newline", |v| v.trim_end().to_owned()),
            ("second final newline", |v| format!("{v}\n")),
            ("unknown header", |v| {
                v.replace("# version", "# colour: red\n# version")
            }),
            ("header missing", |v| v.replace("# builder: m1\n", "")),
            ("headers out of order", |v| {
                v.replace(
                    "# builder: m1\n# project: foo\n",
                    "# project: foo\n# builder: m1\n",
                )
            }),
            ("header among the entries", |v| {
                v.replacen(".tar.xz\n", ".tar.xz\n# late: header\n", 1)
            }),
            ("entries out of order", |v| {
                let mut lines: Vec<_> = v.split_inclusive('\n').collect();
                lines[5..].reverse();
                lines.concat()
            }),
            ("other format", |v| v.replace("manifest/1", "manifest/2")),
            ("format with a tail", |v| {
                v.replace("manifest/1", "manifest/10")
            }),
            ("short grant id", |v| v.replacen("sha256:b", "sha256:", 1)),
            ("upper-case digest", |v| {
                v.lines()
                    .map(|l| {
                        if l.starts_with('#') {
                            format!("{l}\n")
                        } else {
                            format!("{}\n", l.to_uppercase())
                        }
                    })
                    .collect()
            }),
            ("binary mark", |v| v.replace("  foo-", " *foo-")),
            ("no entries", |v| {
                v.lines()
                    .filter(|l| l.starts_with('#'))
                    .map(|l| format!("{l}\n"))
                    .collect()
            }),
            ("entry twice", |v| {
                let last = v.lines().last().unwrap_or_default();
                format!("{v}{last}\n")
            }),
            ("byte order mark", |v| format!("\u{feff}{v}")),
        ];
        for (what, change) in changes {
            let changed = change(VECTOR);
            assert_ne!(changed, VECTOR, "{what} changed nothing");
            assert!(Manifest::parse(changed.as_bytes()).is_err(), "{what}");
        }
    }

    proptest! {
        #[test]
        fn what_is_accepted_is_written_back_the_same(at in 0..VECTOR.len(), byte: u8) {
            let mut bytes = VECTOR.as_bytes().to_vec();
            bytes[at] = byte;
            if let Ok(manifest) = Manifest::parse(&bytes) {
                prop_assert_eq!(manifest.to_text().into_bytes(), bytes);
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = Manifest::parse(&bytes);
        }
    }
}
