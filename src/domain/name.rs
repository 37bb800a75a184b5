//! Names that come from elsewhere: artifacts, builders, projects, versions.
//!
//! A name is taken only if it is harmless as a file name, in a list of digests, on a terminal and
//! on a command line.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use super::digest::as_text;
use super::reserved::{
    ADMITTED, APPROVALS, BUILD, EVIDENCE, GRANT, MAC, REFUSED, RELEASE_SIGNATURE, SIGNATURE, SUMS,
};

/// The longest name, in bytes: with our endings it still fits every file system.
const LONGEST: usize = 200;
/// The longest name of a project, a version or a builder: two of them together still make a name.
const LONGEST_PART: usize = 80;

/// A name that is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} `{name}` {fault}")]
pub struct BadName {
    what: &'static str,
    name: String,
    fault: NameFault,
}

/// What is wrong with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameFault {
    /// Nothing there.
    #[error("is empty")]
    Empty,
    /// Longer than a name may be.
    #[error("is longer than {0} bytes")]
    TooLong(usize),
    /// `/` or `\`.
    #[error("contains a path separator")]
    Separator,
    /// `..`
    #[error("contains `..`")]
    Parent,
    /// Looks like an option.
    #[error("begins with a dash")]
    LeadingDash,
    /// Hidden.
    #[error("begins with a dot")]
    LeadingDot,
    /// A control character.
    #[error("contains a control character")]
    Control,
    /// Anything outside printable ASCII, or a space at either end.
    #[error("contains a character that is not printable ASCII, or begins or ends with a space")]
    Unprintable,
    /// A character outside the set for this kind of name.
    #[error("may contain only letters, digits and `. _ + ~ -`")]
    Restricted,
    /// Could pass for a file of ours.
    #[error("could pass for a file that countersign itself writes")]
    Reserved,
}

fn harmless(name: &str) -> Result<(), NameFault> {
    match name {
        "" => Err(NameFault::Empty),
        _ if name.len() > LONGEST => Err(NameFault::TooLong(LONGEST)),
        _ if name.contains(['/', '\\']) => Err(NameFault::Separator),
        _ if name.contains("..") => Err(NameFault::Parent),
        _ if name.starts_with('-') => Err(NameFault::LeadingDash),
        _ if name.starts_with('.') => Err(NameFault::LeadingDot),
        _ if name.chars().any(char::is_control) => Err(NameFault::Control),
        _ if !name.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) || name.trim() != name => {
            Err(NameFault::Unprintable)
        }
        _ => Ok(()),
    }
}

fn restricted(name: &str) -> Result<(), NameFault> {
    harmless(name)?;
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._+~-".contains(&b);
    match name {
        _ if name.len() > LONGEST_PART => Err(NameFault::TooLong(LONGEST_PART)),
        _ if !name.bytes().all(allowed) => Err(NameFault::Restricted),
        // What stands in the inbox of such a name is no submission.
        _ if name.ends_with(REFUSED) || name.ends_with(ADMITTED) => Err(NameFault::Reserved),
        _ => Ok(()),
    }
}

/// A builder's evidence is in a folder of its name, beside the grant and the approvals.
fn builder(name: &str) -> Result<(), NameFault> {
    restricted(name)?;
    if [GRANT, APPROVALS]
        .iter()
        .any(|ours| name.eq_ignore_ascii_case(ours))
    {
        Err(NameFault::Reserved)
    } else {
        Ok(())
    }
}

/// Names that we write ourselves beside artifacts, or that other tools read beside them.
fn unreserved(name: &str) -> Result<(), NameFault> {
    harmless(name)?;
    let folded = name.to_ascii_lowercase();
    let ours = folded.starts_with(&SUMS.to_ascii_lowercase())
        || folded.starts_with(BUILD)
        || folded == EVIDENCE
        || [RELEASE_SIGNATURE, SIGNATURE, MAC, REFUSED, ADMITTED]
            .iter()
            .any(|ending| folded.ends_with(ending));
    if ours {
        Err(NameFault::Reserved)
    } else {
        Ok(())
    }
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
            type Err = BadName;

            fn from_str(name: &str) -> Result<Self, BadName> {
                match $rule(name) {
                    Ok(()) => Ok(Self(name.to_owned())),
                    Err(fault) => Err(BadName { what: $what, name: name.chars().take(LONGEST).collect(), fault }),
                }
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
    /// The name of somebody who may approve grants, `alice`.
    ApproverName, "approver name", restricted;
    /// The name of a project, `foo`.
    ProjectName, "project name", restricted;
    /// A version, `1.2.3`.
    Version, "version", restricted;
}

/// Whether a text is a domain name, as a notation can be under.
pub fn is_domain(text: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    text.len() <= 253 && text.split('.').all(label)
}

/// The first two names that a file system without upper and lower case could not tell apart.
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
    fn names_of_real_artifacts_are_taken() {
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
        for (name, fault) in [
            ("", NameFault::Empty),
            (long.as_str(), NameFault::TooLong(200)),
            ("a/b", NameFault::Separator),
            ("a\\b", NameFault::Separator),
            ("..", NameFault::Parent),
            ("a..b", NameFault::Parent),
            ("-rf", NameFault::LeadingDash),
            (".bashrc", NameFault::LeadingDot),
            ("a\nb", NameFault::Control),
            ("a\u{1b}[2Jb", NameFault::Control),
            ("a\0b", NameFault::Control),
            ("ä", NameFault::Unprintable),
            ("a\u{202e}b", NameFault::Unprintable),
            (" a", NameFault::Unprintable),
            ("a ", NameFault::Unprintable),
            ("SHA256SUMS", NameFault::Reserved),
            ("sha256sums.txt", NameFault::Reserved),
            ("tool.tar.xz.asc", NameFault::Reserved),
            ("tool.SIG", NameFault::Reserved),
            ("tool.mac", NameFault::Reserved),
            ("tool.refused", NameFault::Reserved),
            ("tool.Admitted", NameFault::Reserved),
            ("build.manifest", NameFault::Reserved),
            ("Evidence", NameFault::Reserved),
        ] {
            assert_eq!(
                name.parse::<ArtifactName>().map_err(|bad| bad.fault),
                Err(fault),
                "{name:?}"
            );
        }
        assert_eq!(
            "x".repeat(81).parse::<Version>().map_err(|bad| bad.fault),
            Err(NameFault::TooLong(80))
        );
        assert_eq!(
            "1.refused".parse::<Version>().map_err(|bad| bad.fault),
            Err(NameFault::Reserved)
        );
        assert_eq!(
            "1.admitted".parse::<Version>().map_err(|bad| bad.fault),
            Err(NameFault::Reserved)
        );
        assert_eq!(
            "grant.json".parse::<BuilderName>().map_err(|bad| bad.fault),
            Err(NameFault::Reserved)
        );
        assert_eq!(
            "my project".parse::<ProjectName>().map_err(|bad| bad.fault),
            Err(NameFault::Restricted)
        );
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
        fn a_name_that_is_taken_is_one_plain_path_component(name in ".{0,20}") {
            if let Ok(taken) = name.parse::<ArtifactName>() {
                let path = std::path::Path::new(taken.as_str());
                prop_assert_eq!(path.components().count(), 1);
                prop_assert!(matches!(path.components().next(), Some(std::path::Component::Normal(_))));
                prop_assert!(taken.as_str().bytes().all(|b| (0x20..0x7f).contains(&b)));
            }
        }
    }
}
