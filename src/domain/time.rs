//! Points in time, in whole seconds UTC, which OpenPGP and grants can both express.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use jiff::{SignedDuration, Span, SpanRelativeTo};

use super::digest::as_text;
use super::malformed::Malformed;
use super::text::cut;

/// A point in time in whole seconds, written in RFC 3339 as `2026-11-22T16:00:00Z`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(jiff::Timestamp);

/// What the time is taken from, wherever a step depends on it.
#[derive(Debug, Clone, Copy)]
pub enum Clock {
    /// The operating system.
    System,
    /// A time that does not pass.
    Stopped(Timestamp),
}

impl Clock {
    /// The time now.
    pub fn now(self) -> Timestamp {
        match self {
            Self::System => Timestamp::now(),
            Self::Stopped(at) => at,
        }
    }
}

impl From<Timestamp> for Clock {
    fn from(at: Timestamp) -> Self {
        Self::Stopped(at)
    }
}

impl Timestamp {
    /// The time now.
    pub fn now() -> Self {
        Self::from_unix(jiff::Timestamp::now().as_second())
    }

    /// The time `seconds` after the beginning of 1970, clamped to the range of OpenPGP.
    pub fn from_unix(seconds: i64) -> Self {
        // A clock outside the range of OpenPGP is wrong.
        let seconds = seconds.clamp(0, i64::from(u32::MAX));
        Self(jiff::Timestamp::from_second(seconds).expect("seconds of a time that exists"))
    }

    /// Any RFC 3339 time, rounded to seconds: for the output of other tools.
    pub fn from_rfc3339(text: &str) -> Option<Self> {
        let time: jiff::Timestamp = text.parse().ok()?;
        Some(Self::from_unix(time.as_second()))
    }

    /// Seconds since the beginning of 1970.
    pub fn unix(self) -> u32 {
        u32::try_from(self.0.as_second()).expect("no other time is ever made")
    }

    /// As the operating system has it.
    pub fn system(self) -> SystemTime {
        SystemTime::from(self.0)
    }

    /// `period` after this time; `None` after 2105, where OpenPGP's time ends.
    pub fn after(self, period: Period) -> Option<Self> {
        let later = self.0.checked_add(period.0).ok().map(Self)?;
        (later.0.as_second() <= i64::from(u32::MAX)).then_some(later)
    }

    /// `seconds` before this time.
    pub fn before(self, seconds: u32) -> Self {
        Self::from_unix(self.0.as_second() - i64::from(seconds))
    }

    /// `period` before this time.
    pub fn back(self, period: Period) -> Self {
        Self::from_unix(self.0.as_second().saturating_sub(period.0.as_secs()))
    }

    /// The time since `earlier`; zero if that is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_secs(u64::try_from(self.0.as_second() - earlier.0.as_second()).unwrap_or(0))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let seconds = jiff::Timestamp::try_from(time).map_or(0, |t| t.as_second());
        Self::from_unix(seconds)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Timestamp {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let refuse = || {
            let text = cut(text, 60);
            Malformed::new(format!(
                "`{text}` is not a time of the form `2026-11-22T16:00:00Z`"
            ))
        };
        let time: jiff::Timestamp = text.parse().map_err(|_| refuse())?;
        // One instant has one spelling.
        if time.to_string() != text
            || time.subsec_nanosecond() != 0
            || !(0..=i64::from(u32::MAX)).contains(&time.as_second())
        {
            return Err(refuse());
        }
        Ok(Self(time))
    }
}

as_text!(Timestamp);

/// A length of time, written `6h`, `90m`, `2y`. A year is 365 days, a month 30.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(SignedDuration);

impl Period {
    /// The period of this many seconds.
    pub const fn seconds(seconds: i64) -> Self {
        Self(SignedDuration::from_secs(seconds))
    }

    /// How long it is.
    pub fn length(self) -> Duration {
        self.0.unsigned_abs()
    }
}

impl FromStr for Period {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let refuse = || {
            let text = cut(text, 60);
            Malformed::new(format!(
                "`{text}` is not a length of time such as `90m`, `6h`, `14d` or `2y`"
            ))
        };
        let span: Span = text.parse().map_err(|_| refuse())?;
        let days = i64::from(span.get_years()) * 365 + i64::from(span.get_months()) * 30;
        let rest = span
            .years(0)
            .months(0)
            .to_duration(SpanRelativeTo::days_are_24_hours())
            .map_err(|_| refuse())?;
        let whole = SignedDuration::from_hours(days * 24)
            .checked_add(rest)
            .ok_or_else(refuse)?;
        if whole.as_secs() < 1 || whole.subsec_nanos() != 0 {
            return Err(refuse());
        }
        Ok(Self(whole))
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut seconds = self.0.as_secs();
        let mut parts = Vec::new();
        for (unit, size) in [
            ("y", 365 * 86400),
            ("d", 86400),
            ("h", 3600),
            ("m", 60),
            ("s", 1),
        ] {
            if seconds >= size {
                parts.push(format!("{}{unit}", seconds / size));
                seconds %= size;
            }
        }
        f.write_str(&parts.join(" "))
    }
}

impl fmt::Debug for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

as_text!(Period);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_one_spelling() {
        assert_eq!(
            "2026-11-22T16:00:00Z"
                .parse::<Timestamp>()
                .expect("a time")
                .to_string(),
            "2026-11-22T16:00:00Z"
        );
        for wrong in [
            "2026-11-22T16:00:00.5Z",
            "2026-11-22T16:00:00+00:00",
            "2026-11-22 16:00:00Z",
            "2026-11-22T16:00:00z",
            "1969-12-31T23:59:59Z",
            "2107-01-01T00:00:00Z",
            "",
        ] {
            assert!(wrong.parse::<Timestamp>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn periods_read_as_people_write_them() {
        for (text, seconds) in [
            ("6h", 21600),
            ("90m", 5400),
            ("14d", 1_209_600),
            ("2y", 63_072_000),
            ("1h 30m", 5400),
            ("1w", 604_800),
        ] {
            assert_eq!(
                text.parse::<Period>(),
                Ok(Period::seconds(seconds)),
                "{text}"
            );
        }
        for wrong in ["", "0s", "-6h", "6", "1.5", "100ms", "soon"] {
            assert!(wrong.parse::<Period>().is_err(), "{wrong}");
        }
        assert_eq!(Period::seconds(90_061).to_string(), "1d 1h 1m 1s");
    }
}
