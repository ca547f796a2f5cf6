//! Durations, sizes and shares, as a config writes them. An error is a predicate: what was written stands before it.

use model::target::CertificateLimit;
use std::time::Duration;

const DAY: u64 = 86_400_000;
/// In milliseconds; the longest first, which is also the order in which they may be joined.
const DURATION_UNITS: [(&str, u64); 6] =
    [("y", 365 * DAY), ("d", DAY), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
const SIZE_UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// What a JSON Schema says of them.
pub(crate) const DURATION_PATTERN: &str = r"^(?=[0-9])([0-9]+y)?([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$";
pub(crate) const SIZE_PATTERN: &str = "^[0-9]+(B|KiB|MiB|GiB)$";

/// `250ms 30s 5m 12h 14d 10y 1h30m`: whole numbers with a unit, longer units first; a year has 365 days.
pub fn duration(text: &str) -> Result<Duration, String> {
    const NOT_ONE: &str = "is not a duration; durations are written like 250ms, 30s, 5m, 12h, 14d, 10y or 1h30m";
    let mut rest = text;
    let mut units = DURATION_UNITS.iter();
    let mut sum = 0u64;
    while !rest.is_empty() {
        let (number, after) = leading_number(rest).ok_or(NOT_ONE)?;
        let unit = &after[..after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len())];
        let (_, ms) = units.find(|(name, _)| *name == unit).ok_or(NOT_ONE)?;
        sum = number.checked_mul(*ms).and_then(|ms| sum.checked_add(ms)).ok_or("is too long a duration")?;
        rest = &after[unit.len()..];
    }
    if text.is_empty() { Err(NOT_ONE.to_owned()) } else { Ok(Duration::from_millis(sum)) }
}

/// `512B 64KiB 10MiB 1GiB`, in bytes.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    const NOT_ONE: &str = "is not a size; sizes are written like 512B, 64KiB, 10MiB or 1GiB";
    let (number, unit) = leading_number(text).ok_or(NOT_ONE)?;
    let (_, bytes) = SIZE_UNITS.iter().find(|(name, _)| *name == unit).ok_or(NOT_ONE)?;
    number.checked_mul(*bytes).ok_or_else(|| "is too large a size".to_owned())
}

/// A duration, or a share of the certificate's lifetime like `20%`.
pub(crate) fn certificate(text: &str) -> Result<CertificateLimit, String> {
    let not_one = || "is neither a duration like 7d nor a share of the lifetime like 20%".to_owned();
    let Some(number) = text.strip_suffix('%') else {
        let left = duration(text).map_err(|_| not_one())?;
        return if left.is_zero() {
            Err("must be more than nothing".into())
        } else {
            Ok(CertificateLimit::Remaining(left))
        };
    };
    if !number.bytes().all(|c| c.is_ascii_digit() || c == b'.') {
        return Err(not_one());
    }
    let share: f64 = number.parse().map_err(|_| not_one())?;
    if share > 0.0 && share <= 100.0 {
        Ok(CertificateLimit::Share(share))
    } else {
        Err("must be more than 0% and at most 100%".into())
    }
}

/// A whole number in decimal digits.
pub(crate) fn whole(text: &str) -> Result<u64, String> {
    match leading_number(text) {
        Some((number, "")) => Ok(number),
        Some(_) | None => Err("is not a whole number".to_owned()),
    }
}

pub(crate) fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "true" | "True" | "TRUE" => Ok(true),
        "false" | "False" | "FALSE" => Ok(false),
        _ => Err("must be true or false".to_owned()),
    }
}

fn leading_number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, &text[end..]))
}

/// The shortest way to write a duration: `1h30m`.
pub(crate) fn write_duration(d: Duration) -> String {
    let mut left = u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
    if left == 0 {
        return "0s".to_owned();
    }
    let mut out = String::new();
    for (name, ms) in DURATION_UNITS {
        if left >= ms {
            out.push_str(&format!("{}{name}", left / ms));
            left %= ms;
        }
    }
    out
}

/// A size in the largest unit that it is a whole number of.
pub(crate) fn write_size(bytes: u64) -> String {
    let (name, unit) =
        SIZE_UNITS.iter().find(|(_, unit)| bytes > 0 && bytes.is_multiple_of(*unit)).unwrap_or(&("B", 1));
    format!("{}{name}", bytes / unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_whole_numbers_with_units() {
        for (text, ms) in [
            ("250ms", 250),
            ("30s", 30_000),
            ("5m", 300_000),
            ("12h", 12 * 3_600_000),
            ("14d", 14 * DAY),
            ("10y", 3650 * DAY),
            ("1h30m", 5_400_000),
            ("1m500ms", 60_500),
            ("90m", 5_400_000),
            ("0s", 0),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for bad in [
            "",
            "5",
            "s",
            "1.5s",
            "-5s",
            "+5s",
            "5 s",
            "5S",
            "5sec",
            "30m1h",
            "1s1s",
            "1h 30m",
            "5w",
            "99999999999999999999y",
            "99999999999999y",
            "5s ",
            "٣s",
        ] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_are_whole_numbers_with_a_unit() {
        for (text, bytes) in [("512B", 512), ("64KiB", 65_536), ("10MiB", 10 << 20), ("1GiB", 1 << 30), ("0B", 0)] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for bad in ["", "5", "10 bananas", "10MB", "10mib", "1.5MiB", "10 MiB", "-1B", "1GiB512MiB", "99999999999GiB"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_certificate_limit_is_a_duration_or_a_share() {
        assert_eq!(certificate("7d"), Ok(CertificateLimit::Remaining(Duration::from_millis(7 * DAY))));
        assert_eq!(certificate("20%"), Ok(CertificateLimit::Share(20.0)));
        assert_eq!(certificate("33.3%"), Ok(CertificateLimit::Share(33.3)));
        for bad in ["0%", "101%", "-1%", "%", "1e1%", "inf%", "NaN%", "20 %", "0d", "20", ".%"] {
            assert!(certificate(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for text in ["250ms", "1h30m", "10y", "30d", "1m500ms", "1y35d"] {
            assert_eq!(write_duration(duration(text).expect(text)), text);
        }
        for text in ["512B", "10MiB", "1GiB", "2047MiB", "0B", "1025B"] {
            assert_eq!(write_size(size(text).expect(text)), text);
        }
    }
}
