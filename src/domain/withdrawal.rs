//! `withdrawal.json`: the statement that a release is withdrawn. The release key signs it; L keeps
//! it in the place of the release.

use serde::{Deserialize, Serialize};

use super::digest::GrantId;
use super::json;
use super::malformed::Malformed;
use super::name::{ProjectName, Version};
use super::text::is_harmful;

const FORMAT: &str = "countersign-withdrawal/1";

/// The largest such file that is read, in bytes.
pub const LARGEST_WITHDRAWAL: u64 = 8 << 10;
/// The longest reason, in characters.
const LONGEST_REASON: usize = 1000;

/// The statement that a release is withdrawn, whoever signed it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Withdrawal {
    format: Format,
    /// The project.
    pub project: ProjectName,
    /// The version.
    pub version: Version,
    /// The grant that the release was built under.
    pub grant: GrantId,
    /// Why, for people.
    reason: String,
}

json::one_format!(FORMAT);

impl Withdrawal {
    /// A new statement. Refuses a reason that does not fit a line of a terminal's.
    pub fn new(
        project: ProjectName,
        version: Version,
        grant: GrantId,
        reason: String,
    ) -> Result<Self, Malformed> {
        let withdrawal = Self {
            format: Format,
            project,
            version,
            grant,
            reason,
        };
        withdrawal.check()
    }

    fn check(self) -> Result<Self, Malformed> {
        let reason = &self.reason;
        let fault = if reason.trim().is_empty() {
            "is empty"
        } else if reason.chars().count() > LONGEST_REASON {
            "is longer than 1,000 characters"
        } else if reason.chars().any(is_harmful) {
            "has line breaks, control characters or invisible ones"
        } else {
            return Ok(self);
        };
        Err(Malformed::new(format!("the reason {fault}")))
    }

    /// Why, for people: one line.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// The bytes of `withdrawal.json`.
    pub fn to_text(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("it can be written as JSON");
        text.push('\n');
        text
    }

    /// Reads one. Only bytes that [`Withdrawal::to_text`] could have written are accepted.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let withdrawal: Self = json::parse(bytes)?;
        let withdrawal = withdrawal.check()?;
        if withdrawal.to_text().as_bytes() == bytes {
            Ok(withdrawal)
        } else {
            Err(Malformed::new("it is not written as countersign writes it"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const VECTOR: &str = include_str!("../../tests/data/withdrawal.json");

    #[test]
    fn a_withdrawal_has_one_spelling() {
        let withdrawal = Withdrawal::new(
            "foo".parse().expect("a name"),
            "1.2.3".parse().expect("a version"),
            GrantId::of(b"grant"),
            "a key of the build was published: see our advisory".to_owned(),
        )
        .expect("a statement");
        assert_eq!(withdrawal.to_text(), VECTOR);
        assert_eq!(Withdrawal::parse(VECTOR.as_bytes()), Ok(withdrawal));
        assert!(include_str!("../../docs/reference/repository.md").contains(VECTOR));
    }

    #[test]
    fn every_other_spelling_is_refused() {
        for (what, from, to, reason) in [
            ("format", "withdrawal/1", "withdrawal/2", "format"),
            ("project", "\"foo\"", "\"../foo\"", "path separator"),
            (
                "grant",
                "grant\": \"sha256:",
                "grant\": \"",
                "is not a SHA-256 digest",
            ),
            (
                "no reason",
                "a key of the build was published: see our advisory",
                " ",
                "is empty",
            ),
            ("line break", "a key", "a\\nkey", "line breaks"),
            (
                "unknown field",
                "\"reason\"",
                "\"x\": 1, \"reason\"",
                "unknown field",
            ),
            (
                "field twice",
                "\"version\"",
                "\"project\"",
                "duplicate field",
            ),
            ("blanks", "\": \"", "\":  \"", "as countersign writes"),
            ("array", VECTOR, "[]", "not a JSON object"),
        ] {
            let changed = VECTOR.replacen(from, to, 1);
            assert_ne!(changed, VECTOR, "{what} changed nothing");
            let refused = Withdrawal::parse(changed.as_bytes())
                .expect_err(what)
                .to_string();
            assert!(refused.contains(reason), "{what}: {refused}");
        }
        let long = VECTOR.replacen("a key", &"é".repeat(1000), 1);
        let refused = Withdrawal::parse(long.as_bytes())
            .expect_err("long")
            .to_string();
        assert!(refused.contains("longer than"), "{refused}");
    }

    proptest! {
        #[test]
        fn what_is_accepted_is_written_back_the_same(at in 0..VECTOR.len(), byte: u8) {
            let mut bytes = VECTOR.as_bytes().to_vec();
            bytes[at] = byte;
            if let Ok(withdrawal) = Withdrawal::parse(&bytes) {
                prop_assert_eq!(withdrawal.to_text().into_bytes(), bytes);
            }
        }
    }
}
