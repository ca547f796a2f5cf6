//! Moments, as the record writes them.

use std::{fmt, str::FromStr, time::Duration};

/// A moment: whole milliseconds of Unix time. Written as RFC 3339, UTC, with exactly three fractional digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMs(pub i64);

impl UnixMs {
    /// Whole milliseconds of `t`, rounded down.
    pub fn from_system(t: std::time::SystemTime) -> Self {
        match t.duration_since(std::time::UNIX_EPOCH) {
            Ok(d) => Self(i64::try_from(d.as_millis()).unwrap_or(i64::MAX)),
            Err(before) => Self(-i64::try_from(before.duration().as_millis()).unwrap_or(i64::MAX)),
        }
    }

    pub fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// `self - earlier`; zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl std::ops::Add<Duration> for UnixMs {
    type Output = Self;
    fn add(self, d: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(d.as_millis()).unwrap_or(i64::MAX)))
    }
}

impl fmt::Display for UnixMs {
    /// Moments outside the years that RFC 3339 can write are shown as its first or last one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = -62_135_596_800_000; // 0001-01-01
        let last = 253_402_207_200_999; // what `jiff` can hold of the year 9999
        let t = jiff::Timestamp::from_millisecond(self.0.clamp(first, last)).map_err(|_| fmt::Error)?;
        write!(f, "{t:.3}")
    }
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a time like 2026-11-23T10:00:20.732Z")]
pub struct NotATime;

impl FromStr for UnixMs {
    type Err = NotATime;

    /// Only the form that [`fmt::Display`] writes: `YYYY-MM-DDThh:mm:ss.sssZ`.
    fn from_str(s: &str) -> Result<Self, NotATime> {
        let b = s.as_bytes();
        let shape = b"dddd-dd-ddTdd:dd:dd.dddZ";
        let fits = b.len() == shape.len()
            && b.iter().zip(shape).all(|(&c, &want)| if want == b'd' { c.is_ascii_digit() } else { c == want });
        if !fits || &b[17..19] == b"60" {
            return Err(NotATime);
        }
        s.parse::<jiff::Timestamp>().map(|t| Self(t.as_millisecond())).map_err(|_| NotATime)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_exactly_three_fractional_digits() {
        assert_eq!(UnixMs(1_795_428_020_732).to_string(), "2026-11-23T10:00:20.732Z");
        assert_eq!(UnixMs(0).to_string(), "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn reads_only_what_it_writes() {
        assert_eq!("2026-11-23T10:00:20.732Z".parse(), Ok(UnixMs(1_795_428_020_732)));
        for bad in [
            "2026-11-23T10:00:20Z",
            "2026-11-23T10:00:20.73Z",
            "2026-11-23 10:00:20.732Z",
            "2026-11-23T10:00:20.732+00:00",
            "2026-13-23T10:00:20.732Z",
            "2026-02-30T10:00:20.732Z",
            "2026-11-23T10:00:60.732Z",
            "2026-11-23t10:00:20.732z",
            "",
            "2026-11-23T24:00:00.000Z",
        ] {
            assert_eq!(bad.parse::<UnixMs>(), Err(NotATime), "{bad}");
        }
    }
}
