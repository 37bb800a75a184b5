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
    ADMITTED, APPROVALS, ENVELOPE, EVIDENCE, GRANT, MANIFEST, MANIFEST_MAC, MANIFEST_SIGNATURE,
    REFUSED, RELEASE, SUMS, WITHDRAWAL, WITHDRAWN, signed_by,
};
use super::text::cut;

/// The longest name, in bytes: with our suffixes it is still short enough for every file system.
pub(super) const LONGEST: usize = 200;
/// The longest name of a project, a version or a builder, in bytes: two of them make one name.
pub(super) const LONGEST_PART: usize = 80;
/// The longest epoch, in digits.
const LONGEST_EPOCH: usize = 9;

/// Why a name is refused: what follows "artifact name `x`".
type Refused = &'static str;

const CHARACTERS: Refused =
    "may contain only letters, digits, blanks inside and `. _ + ~ - @ , = ( )`";
const RESTRICTED: Refused = "may contain only letters, digits and `. _ + ~ -`";
const RESERVED: Refused = "could pass for a file that countersign itself writes";
const DEVICE: Refused = "is the name of a device on Windows";
const EPOCH: Refused = "has a `:` that does not end an epoch: a number without leading zeros";

/// The rules for the name of any file or folder.
fn harmless(name: &str) -> Result<(), Refused> {
    match name {
        "" => Err("is empty"),
        _ if name.len() > LONGEST => Err("is longer than 200 bytes"),
        _ if name.contains(['/', '\\']) => Err("contains a path separator"),
        _ if name.contains("..") => Err("contains `..`"),
        _ if name.starts_with('-') => Err("begins with a dash"),
        _ if name.starts_with('.') => Err("begins with a dot"),
        // Windows leaves it out.
        _ if name.ends_with('.') => Err("ends with a dot"),
        _ if name.chars().any(char::is_control) => Err("contains a control character"),
        _ if is_device(name) => Err(DEVICE),
        _ => Ok(()),
    }
}

/// Whether Windows opens a device under this name, whatever its case and behind its first dot.
fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or(name);
    let stem = stem.trim_end().to_ascii_uppercase();
    match stem
        .strip_prefix("COM")
        .or_else(|| stem.strip_prefix("LPT"))
    {
        Some(number) => number.len() == 1 && number.bytes().all(|b| b.is_ascii_digit()),
        None => ["CON", "PRN", "AUX", "NUL"].contains(&stem.as_str()),
    }
}

/// Whether it has only letters, digits, `. _ + ~ -` and these.
fn has_only(name: &str, more: &[u8]) -> bool {
    name.bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"._+~-".contains(&b) || more.contains(&b))
}

fn restricted(name: &str) -> Result<(), Refused> {
    harmless(name)?;
    match name {
        _ if name.len() > LONGEST_PART => Err("is longer than 80 bytes"),
        _ if !has_only(name, b"") => Err(RESTRICTED),
        // In the inbox what has such a name is a note or a withdrawal, not a release.
        _ if [REFUSED, ADMITTED, WITHDRAWN]
            .iter()
            .any(|it| name.to_ascii_lowercase().ends_with(it)) =>
        {
            Err(RESERVED)
        }
        _ => Ok(()),
    }
}

/// An epoch may be in front, as in `1:2.0`.
fn version(name: &str) -> Result<(), Refused> {
    let Some((epoch, rest)) = name.split_once(':') else {
        return restricted(name);
    };
    let is_number = epoch.bytes().all(|b| b.is_ascii_digit()) && !epoch.starts_with('0');
    if epoch.is_empty() || epoch.len() > LONGEST_EPOCH || !is_number {
        return Err(EPOCH);
    }
    restricted(rest)
}

/// A builder's evidence is in a folder of its name, beside other evidence.
fn builder(name: &str) -> Result<(), Refused> {
    restricted(name)?;
    if [GRANT, RELEASE, APPROVALS]
        .iter()
        .any(|ours| name.eq_ignore_ascii_case(ours))
    {
        Err(RESERVED)
    } else {
        Ok(())
    }
}

/// An artifact is beside the list of its release and the evidence, and was beside what `attest`
/// wrote, perhaps for an earlier grant. With which names it clashes under one grant,
/// [`Bounds`](super::grant::Bounds) knows.
fn artifact(name: &str) -> Result<(), Refused> {
    harmless(name)?;
    let ours = [
        SUMS,
        EVIDENCE,
        MANIFEST,
        MANIFEST_SIGNATURE,
        MANIFEST_MAC,
        ENVELOPE,
        WITHDRAWAL,
    ];
    let is_ours = |name: &str| ours.iter().any(|ours| name.eq_ignore_ascii_case(ours));
    let signs_list = |name: &str| name.eq_ignore_ascii_case(SUMS);
    match name {
        _ if !has_only(name, b" @,=()") => Err(CHARACTERS),
        _ if name.trim() != name => Err("begins or ends with a blank"),
        _ if is_ours(name) || signed_by(name).any(signs_list) => Err(RESERVED),
        _ => Ok(()),
    }
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
    ArtifactName, "artifact name", artifact;
    /// The name of a builder, `m1`.
    BuilderName, "builder name", builder;
    /// The name of an approver, `alice`.
    ApproverName, "approver name", restricted;
    /// The name of a project, `foo`.
    ProjectName, "project name", restricted;
    /// A version, `1.2.3`, or with an epoch `1:2.0`.
    Version, "version", version;
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

/// Each name that differs from an earlier one in case alone, or not at all, behind that one.
pub fn case_clashes<'a>(
    names: impl IntoIterator<Item = &'a str>,
) -> impl Iterator<Item = (&'a str, &'a str)> {
    let mut seen = HashMap::new();
    names.into_iter().filter_map(move |name| {
        let earlier = seen.insert(name.to_ascii_lowercase(), name)?;
        Some((earlier, name))
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
            "libfoo_1.0.orig.tar.gz.asc",
            "Foo Setup (x64), 1.2.exe",
            "x",
            "a+b@d=e",
            "SUMS",
            "SHA256SUMS.txt",
            "rebuild.sh",
            "build.sh",
            "console.log",
            "com10",
            "foo.sig",
            "foo.mac",
            "foo.refused",
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
            ("a.", "ends with a dot"),
            ("a\nb", "contains a control character"),
            ("a\u{1b}[2Jb", "contains a control character"),
            ("a\0b", "contains a control character"),
            ("a\tb", "contains a control character"),
            ("CON", DEVICE),
            ("nul", DEVICE),
            ("Aux.tar.gz", DEVICE),
            ("prn .txt", DEVICE),
            ("COM0", DEVICE),
            ("lpt9.h", DEVICE),
            ("ä", CHARACTERS),
            ("a\u{202e}b", CHARACTERS),
            ("a:b", CHARACTERS),
            ("a#b", CHARACTERS),
            ("a`b", CHARACTERS),
            ("a*", CHARACTERS),
            ("$a", CHARACTERS),
            (" a", "begins or ends with a blank"),
            ("a ", "begins or ends with a blank"),
            ("SHA256SUMS", RESERVED),
            ("Sha256Sums.Asc", RESERVED),
            ("SHA256SUMS.0123456789abcdef.asc", RESERVED),
            ("sha256sums.0123456789ABCDEF.ASC", RESERVED),
            ("build.manifest", RESERVED),
            ("build.manifest.SIG", RESERVED),
            ("build.manifest.mac", RESERVED),
            ("Build.dsse.json", RESERVED),
            ("Evidence", RESERVED),
            ("Withdrawal.json", RESERVED),
        ] {
            assert_eq!(artifact(name), Err(why), "{name:?}");
            let refused = name.parse::<ArtifactName>().expect_err(why).to_string();
            assert_eq!(
                refused,
                format!("artifact name `{}` {why}", cut(name, LONGEST))
            );
        }
        for version in ["1:2.0", "12:0~rc1", "1.0"] {
            assert!(version.parse::<Version>().is_ok(), "{version}");
        }
        for (version, why) in [
            (":1", EPOCH),
            ("0:1", EPOCH),
            ("01:1", EPOCH),
            ("a:1", EPOCH),
            ("1234567890:1", EPOCH),
            ("1:", "is empty"),
            ("1:-1", "begins with a dash"),
            ("1:2:3", RESTRICTED),
            ("1.", "ends with a dot"),
        ] {
            assert_eq!(super::version(version), Err(why), "{version}");
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
                "1.Admitted".parse::<Version>().map(|_| ()),
                format!("version `1.Admitted` {RESERVED}"),
            ),
            (
                "1.WITHDRAWAL".parse::<Version>().map(|_| ()),
                format!("version `1.WITHDRAWAL` {RESERVED}"),
            ),
            (
                "grant.json".parse::<BuilderName>().map(|_| ()),
                format!("builder name `grant.json` {RESERVED}"),
            ),
            (
                "Release.json".parse::<BuilderName>().map(|_| ()),
                format!("builder name `Release.json` {RESERVED}"),
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
        let clashes =
            |names: &[&'static str]| case_clashes(names.iter().copied()).collect::<Vec<_>>();
        assert_eq!(clashes(&["Tool", "other", "tool"]), [("Tool", "tool")]);
        assert_eq!(clashes(&["tool", "tool"]), [("tool", "tool")]);
        assert_eq!(clashes(&["tool", "tools"]), []);
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
