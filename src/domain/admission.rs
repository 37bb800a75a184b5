//! L's record of a release that it admitted. It keeps one beside the releases, for ever, and leaves
//! a copy in its inbox as a report for H: `NAME.admitted`. Of a submission that it refused there is
//! a note, `NAME.refused`.
//!
//! Anyone with write access to the inbox can write a report, so it proves nothing: whether a
//! release is public can be seen where it is published.

use serde::{Deserialize, Serialize};

use super::digest::Sha256;
use super::json;
use super::key::Fingerprint;
use super::malformed::Malformed;
use super::name::ArtifactName;
use super::text::cut;
use super::time::Timestamp;

/// The largest report that is read, in bytes.
pub const LARGEST_REPORT: u64 = 4 << 10;

const FORMAT: &str = "countersign-admission/1";

/// L's report of a release that it admitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdmissionReport {
    format: String,
    /// The name of its folder.
    pub release: ArtifactName,
    /// SHA-256 of its list, which identifies it.
    pub sums: Sha256,
    /// SHA-256 of the list's lines about artifacts.
    pub artifacts: Sha256,
    /// The key that signed it.
    pub key: Fingerprint,
    /// When it was published, by L's clock.
    pub at: Timestamp,
}

impl AdmissionReport {
    /// A report of a release with this list, and these artifacts in it.
    pub fn new(
        release: ArtifactName,
        sums: Sha256,
        artifacts: Sha256,
        key: Fingerprint,
        at: Timestamp,
    ) -> Self {
        Self {
            format: FORMAT.to_owned(),
            release,
            sums,
            artifacts,
            key,
            at,
        }
    }

    /// Reads a report.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let report: Self = json::parse(bytes)
            .map_err(|error: Malformed| error.within("the report cannot be read"))?;
        if report.format == FORMAT {
            return Ok(report);
        }
        let format = cut(&report.format, 80);
        Err(Malformed::new(format!(
            "the report is of format `{format}`, not `{FORMAT}`"
        )))
    }

    /// The text of its file.
    pub fn to_text(&self) -> String {
        let text =
            serde_json::to_string_pretty(self).expect("names and digests can be written as JSON");
        format!("{text}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VECTOR: &str = include_str!("../../tests/data/foo-1.2.3.admitted");

    #[test]
    fn a_report_has_one_spelling() {
        let report = AdmissionReport::new(
            "foo-1.2.3".parse().expect("a name"),
            Sha256::of(b"list"),
            Sha256::of(b"artifacts"),
            "A1B2C3D4E5F60718293A4B5C6D7E8F9001122334"
                .parse()
                .expect("a fingerprint"),
            "2026-11-25T10:00:00Z".parse().expect("a time"),
        );
        assert_eq!(report.to_text(), VECTOR);
        assert_eq!(
            AdmissionReport::parse(VECTOR.as_bytes()).expect("a report"),
            report
        );
        assert!(include_str!("../../docs/reference/repository.md").contains(VECTOR));
    }

    #[test]
    fn malformed_reports_are_refused() {
        for (was, is, reason) in [
            (
                "countersign-admission/1",
                "countersign-admission/2",
                "is of format `countersign-admission/2`",
            ),
            ("\"at\"", "\"when\"", "unknown field `when`"),
            ("\"at\"", "\"sums\"", "duplicate field `sums`"),
            ("foo-1.2.3", "../foo", "path separator"),
            ("10:00:00Z", "10:00:00+01:00", "is not a time"),
            ("}", "} {}", "trailing characters"),
            ("\"A1B2", "\"a1b2", "is not the fingerprint"),
        ] {
            assert!(VECTOR.contains(was), "{was}");
            let error = AdmissionReport::parse(VECTOR.replace(was, is).as_bytes())
                .expect_err(is)
                .to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
