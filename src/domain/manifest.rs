//! The manifest: what a builder says it built, in one strict text form that `sha256sum -c` reads
//! too.

use super::artifact::{
    Artifact, ArtifactList, BadList, BadText, parse_sum_line, strict_lines, sum_line,
};
use super::digest::{GrantId, NotADigest};
use super::name::{ArtifactName, BadName, BuilderName, ProjectName, Version};

const FORMAT: &str = "# countersign-manifest/1";

/// The list of a build's artifacts with their digests, made by one builder under one grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The grant it was made under.
    pub grant: GrantId,
    /// Who made it.
    pub builder: BuilderName,
    /// The grant's project.
    pub project: ProjectName,
    /// The grant's version.
    pub version: Version,
    /// What was built.
    pub artifacts: ArtifactList,
}

/// A manifest that is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadManifest {
    /// Not text in the one form.
    #[error(transparent)]
    Text(#[from] BadText),
    /// A header line is missing, unknown or out of order.
    #[error("line {line} is `{found}` where `{expected}` must stand")]
    Header {
        /// Counted from 1.
        line: usize,
        /// What must stand there.
        expected: &'static str,
        /// What stands there, cut short.
        found: String,
    },
    /// The grant id cannot be read.
    #[error("line 2: {0}")]
    Grant(#[from] NotADigest),
    /// A line that is not an entry.
    #[error("line {line} is not a SHA-256 digest, two spaces and a name")]
    Entry {
        /// Counted from 1.
        line: usize,
    },
    /// A name that is refused.
    #[error("line {line}: {source}")]
    Name {
        /// Counted from 1.
        line: usize,
        /// Why.
        source: BadName,
    },
    /// The list as a whole.
    #[error(transparent)]
    List(#[from] BadList),
}

impl Manifest {
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
            "{FORMAT}\n# grant: {grant}\n# builder: {builder}\n# project: {project}\n# version: {version}\n"
        );
        for artifact in artifacts {
            text += &sum_line(&artifact.digest, artifact.name.as_str());
        }
        text
    }

    /// Reads a manifest. Only bytes that [`Manifest::to_text`] could have written are taken.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadManifest> {
        let mut lines = (1..).zip(strict_lines(bytes)?);
        let mut header = |expected: &'static str| {
            let (line, found) = lines.next().unwrap_or((0, "the end of the file"));
            found
                .strip_prefix(expected)
                .map(|value| (line, value))
                .ok_or_else(|| BadManifest::Header {
                    line,
                    expected,
                    found: found.chars().take(80).collect(),
                })
        };

        let (line, rest) = header(FORMAT)?;
        if !rest.is_empty() {
            return Err(BadManifest::Header {
                line,
                expected: FORMAT,
                found: format!("{FORMAT}{}", rest.chars().take(40).collect::<String>()),
            });
        }
        let grant = header("# grant: ")?.1.parse()?;
        let builder = named(header("# builder: ")?)?;
        let project = named(header("# project: ")?)?;
        let version = named(header("# version: ")?)?;

        let artifacts = lines.map(|(line, text)| {
            let (digest, name) = parse_sum_line(text).ok_or(BadManifest::Entry { line })?;
            Ok(Artifact {
                name: named::<ArtifactName>((line, name))?,
                digest,
            })
        });
        let artifacts = ArtifactList::sorted(artifacts.collect::<Result<_, BadManifest>>()?)?;
        Ok(Self {
            grant,
            builder,
            project,
            version,
            artifacts,
        })
    }
}

fn named<T: std::str::FromStr<Err = BadName>>(
    (line, text): (usize, &str),
) -> Result<T, BadManifest> {
    text.parse()
        .map_err(|source| BadManifest::Name { line, source })
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
        let changes: [(&str, Change); 14] = [
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
        fn whatever_is_taken_is_written_back_the_same(at in 0..VECTOR.len(), byte: u8) {
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
