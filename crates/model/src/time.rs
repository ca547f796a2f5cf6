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
        f.pad(std::str::from_utf8(&written(self.0)).map_err(|_| fmt::Error)?)
    }
}

const DAY_MS: i64 = 86_400_000;

/// 0000-01-01T00:00:00.000Z and 9999-12-31T23:59:59.999Z. The end of the year 9999 is an everyday date: a certificate says
/// with it that it does not expire (RFC 5280), so the whole year counts.
const RANGE: (i64, i64) = (-62_167_219_200_000, 253_402_300_799_999);

/// The 24 bytes of the RFC 3339 form.
fn written(ms: i64) -> [u8; 24] {
    let ms = ms.clamp(RANGE.0, RANGE.1);
    let (year, month, day) = date_of(ms.div_euclid(DAY_MS));
    let of_day = ms.rem_euclid(DAY_MS);
    let mut out = *b"0000-00-00T00:00:00.000Z";
    let parts = [
        (year, 0, 4),
        (month, 5, 2),
        (day, 8, 2),
        (of_day / 3_600_000, 11, 2),
        (of_day / 60_000 % 60, 14, 2),
        (of_day / 1000 % 60, 17, 2),
        (of_day % 1000, 20, 3),
    ];
    for (mut number, at, digits) in parts {
        for digit in out[at..at + digits].iter_mut().rev() {
            *digit += (number % 10) as u8; // one digit
            number /= 10;
        }
    }
    out
}

/// Year, month and day of a day since 1970-01-01, in the proleptic Gregorian calendar.
///
/// Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`: years begin in March, so that the leap
/// day is the last of its year.
fn date_of(day: i64) -> (i64, i64, i64) {
    let day = day + 719_468; // since 0000-03-01
    let (era, of_era) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, of_year - (153 * from_march + 2) / 5 + 1)
}

/// The day since 1970-01-01 of a date: `days_from_civil` of the same source.
fn day_of(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year - 719_468
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
        if !fits {
            return Err(NotATime);
        }
        let number = |at: usize, digits: usize| b[at..at + digits].iter().fold(0, |n, c| n * 10 + i64::from(c - b'0'));
        let (year, month, day) = (number(0, 4), number(5, 2), number(8, 2));
        let (hour, minute, second, ms) = (number(11, 2), number(14, 2), number(17, 2), number(20, 3));
        let since = day_of(year, month, day);
        if !(1..=12).contains(&month) || date_of(since) != (year, month, day) || hour > 23 || minute > 59 || second > 59
        {
            return Err(NotATime);
        }
        Ok(Self(since * DAY_MS + hour * 3_600_000 + minute * 60_000 + second * 1000 + ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
            "2026-00-23T10:00:20.732Z",
            "2026-02-30T10:00:20.732Z",
            "2026-02-29T10:00:20.732Z",
            "2026-02-00T10:00:20.732Z",
            "2026-02-01T10:60:20.732Z",
            "2026-11-23T10:00:60.732Z",
            "2026-11-23t10:00:20.732z",
            "",
            "2026-11-23T24:00:00.000Z",
        ] {
            assert_eq!(bad.parse::<UnixMs>(), Err(NotATime), "{bad}");
        }
    }
    #[test]
    fn the_calendars_corners() {
        for (ms, text) in [
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (RANGE.0, "0000-01-01T00:00:00.000Z"),
            (RANGE.1, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(UnixMs(ms).to_string(), text);
            assert_eq!(text.parse(), Ok(UnixMs(ms)));
        }
        assert_eq!(UnixMs(i64::MAX).to_string(), "9999-12-31T23:59:59.999Z");
    }

    proptest! {
        #[test]
        fn every_moment_is_read_back_as_itself(ms in RANGE.0..=RANGE.1) {
            prop_assert_eq!(UnixMs(ms).to_string().parse(), Ok(UnixMs(ms)));
        }

        #[test]
        fn a_day_follows_the_day_before(day in -719_528i64..2_932_896) {
            let ((y, m, d), next) = (date_of(day), date_of(day + 1));
            prop_assert!(next == (y, m, d + 1) || next == (y, m + 1, 1) || next == (y + 1, 1, 1), "{next:?}");
            prop_assert_eq!(day_of(y, m, d), day);
        }
    }
}
