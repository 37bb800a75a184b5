//! Names from other machines: artifacts, builders, projects, versions.
//!
//! A name is accepted only if it is harmless as a file name, in a list of digests, on a terminal
//! and on a command line.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use super::digest::as_text;
use super::malformed::Malformed;
use super::reserved::{
    ADMITTED, APPROVALS, BUILD, EVIDENCE, GRANT, MAC, REFUSED, RELEASE_SIGNATURE, SIGNATURE, SUMS,
};
use super::text::cut;

/// The longest name, in bytes: with our suffixes it is still short enough for every file system.
const LONGEST: usize = 200;
/// The longest name of a project, a version or a builder, in bytes: two of them make one name.
const LONGEST_PART: usize = 80;

/// Why a name is refused: what follows "artifact name `x`".
type Refused = &'static str;

const UNPRINTABLE: Refused =
    "contains a character that is not printable ASCII, or begins or ends with a space";
const RESTRICTED: Refused = "may contain only letters, digits and `. _ + ~ -`";
const RESERVED: Refused = "could pass for a file that countersign itself writes";

fn harmless(name: &str) -> Result<(), Refused> {
    match name {
        "" => Err("is empty"),
        _ if name.len() > LONGEST => Err("is longer than 200 bytes"),
        _ if name.contains(['/', '\\']) => Err("contains a path separator"),
        _ if name.contains("..") => Err("contains `..`"),
        _ if name.starts_with('-') => Err("begins with a dash"),
        _ if name.starts_with('.') => Err("begins with a dot"),
        _ if name.chars().any(char::is_control) => Err("contains a control character"),
        _ if !name.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) || name.trim() != name => {
            Err(UNPRINTABLE)
        }
        _ => Ok(()),
    }
}

fn restricted(name: &str) -> Result<(), Refused> {
    harmless(name)?;
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._+~-".contains(&b);
    match name {
        _ if name.len() > LONGEST_PART => Err("is longer than 80 bytes"),
        _ if !name.bytes().all(allowed) => Err(RESTRICTED),
        // In the inbox a file of such a name is a note, not a submission.
        _ if name.ends_with(REFUSED) || name.ends_with(ADMITTED) => Err(RESERVED),
        _ => Ok(()),
    }
}

/// A builder's evidence is in a folder of its name, beside the grant and the approvals.
fn builder(name: &str) -> Result<(), Refused> {
    restricted(name)?;
    if [GRANT, APPROVALS]
        .iter()
        .any(|ours| name.eq_ignore_ascii_case(ours))
    {
        Err(RESERVED)
    } else {
        Ok(())
    }
}

/// Refuses names of files that we write beside artifacts, or that other tools read there.
fn unreserved(name: &str) -> Result<(), Refused> {
    harmless(name)?;
    let folded = name.to_ascii_lowercase();
    let ours = folded.starts_with(&SUMS.to_ascii_lowercase())
        || folded.starts_with(BUILD)
        || folded == EVIDENCE
        || [RELEASE_SIGNATURE, SIGNATURE, MAC, REFUSED, ADMITTED]
            .iter()
            .any(|ending| folded.ends_with(ending));
    if ours { Err(RESERVED) } else { Ok(()) }
}

fn refused(what: &str, name: &str, why: Refused) -> Malformed {
    let name = cut(name, LONGEST);
    Malformed::new(format!("{what} `{name}` {why}"))
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident, $what:literal, $rule:path;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = Malformed;

            fn from_str(name: &str) -> Result<Self, Malformed> {
                $rule(name)
                    .map(|()| Self(name.to_owned()))
                    .map_err(|why| refused($what, name, why))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        as_text!($name);
    )*};
}

names! {
    /// The name of an artifact: a plain file name that cannot pass for a file of ours.
    ArtifactName, "artifact name", unreserved;
    /// The name of a builder, `m1`.
    BuilderName, "builder name", builder;
    /// The name of an approver, `alice`.
    ApproverName, "approver name", restricted;
    /// The name of a project, `foo`.
    ProjectName, "project name", restricted;
    /// A version, `1.2.3`.
    Version, "version", restricted;
}

/// Whether a text is a domain name that notations can have.
pub fn is_domain(text: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    text.len() <= 253 && text.split('.').all(label)
}

/// The first two names that differ in case alone, or not at all.
pub fn case_clash<'a>(names: impl IntoIterator<Item = &'a str>) -> Option<(&'a str, &'a str)> {
    let mut seen = HashMap::new();
    names.into_iter().find_map(|name| {
        seen.insert(name.to_ascii_lowercase(), name)
            .map(|earlier| (earlier, name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_of_real_artifacts_are_accepted() {
        for name in [
            "foo-1.2.3.tar.xz",
            "foo_1.2.3-1~deb12u1_amd64.deb",
            "Foo Setup 1.2.exe",
            "x",
            "a+b:c@d#e",
            "SUMS",
            "rebuild.sh",
        ] {
            assert!(name.parse::<ArtifactName>().is_ok(), "{name}");
        }
    }

    #[test]
    fn each_dangerous_name_is_refused_for_its_own_reason() {
        let long = "x".repeat(201);
        for (name, why) in [
            ("", "is empty"),
            (long.as_str(), "is longer than 200 bytes"),
            ("a/b", "contains a path separator"),
            ("a\\b", "contains a path separator"),
            ("/etc/passwd", "contains a path separator"),
            ("../../etc/passwd", "contains a path separator"),
            ("..", "contains `..`"),
            ("a..b", "contains `..`"),
            ("-rf", "begins with a dash"),
            (".bashrc", "begins with a dot"),
            ("a\nb", "contains a control character"),
            ("a\u{1b}[2Jb", "contains a control character"),
            ("a\0b", "contains a control character"),
            ("a\tb", "contains a control character"),
            ("ä", UNPRINTABLE),
            ("a\u{202e}b", UNPRINTABLE),
            (" a", UNPRINTABLE),
            ("a ", UNPRINTABLE),
            ("SHA256SUMS", RESERVED),
            ("SHA256SUMS.asc", RESERVED),
            ("sha256sums.txt", RESERVED),
            ("tool.tar.xz.asc", RESERVED),
            ("tool.SIG", RESERVED),
            ("tool.mac", RESERVED),
            ("tool.refused", RESERVED),
            ("tool.Admitted", RESERVED),
            ("build.manifest", RESERVED),
            ("Evidence", RESERVED),
        ] {
            assert_eq!(unreserved(name), Err(why), "{name:?}");
            let refused = name.parse::<ArtifactName>().expect_err(why).to_string();
            assert_eq!(
                refused,
                format!("artifact name `{}` {why}", cut(name, LONGEST))
            );
        }
        for (refused, message) in [
            (
                "x".repeat(81).parse::<Version>().map(|_| ()),
                format!("version `{}` is longer than 80 bytes", "x".repeat(81)),
            ),
            (
                "1.refused".parse::<Version>().map(|_| ()),
                format!("version `1.refused` {RESERVED}"),
            ),
            (
                "1.admitted".parse::<Version>().map(|_| ()),
                format!("version `1.admitted` {RESERVED}"),
            ),
            (
                "grant.json".parse::<BuilderName>().map(|_| ()),
                format!("builder name `grant.json` {RESERVED}"),
            ),
            (
                "my project".parse::<ProjectName>().map(|_| ()),
                format!("project name `my project` {RESTRICTED}"),
            ),
        ] {
            assert_eq!(refused, Err(Malformed::new(message)));
        }
    }

    #[test]
    fn names_that_differ_in_case_alone_clash() {
        assert_eq!(
            case_clash(["Tool", "other", "tool"]),
            Some(("Tool", "tool"))
        );
        assert_eq!(case_clash(["tool", "tool"]), Some(("tool", "tool")));
        assert_eq!(case_clash(["tool", "tools"]), None);
    }

    proptest! {
        #[test]
        fn an_accepted_name_is_one_plain_path_component(name in ".{0,20}") {
            if let Ok(taken) = name.parse::<ArtifactName>() {
                let path = std::path::Path::new(taken.as_str());
                prop_assert_eq!(path.components().count(), 1);
                let first = path.components().next();
                prop_assert!(matches!(first, Some(std::path::Component::Normal(_))));
                prop_assert!(taken.as_str().bytes().all(|b| (0x20..0x7f).contains(&b)));
            }
        }
    }
}
