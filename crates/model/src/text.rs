//! Texts that people read, with nothing in them that must not be seen.

use std::{borrow::Cow, time::Duration};
use url::Url;

/// A message fit for a record: one line, no control characters, at most 500 bytes.
pub fn message(text: &str) -> String {
    const MAX: usize = 500;
    let mut out = String::with_capacity(text.len().min(MAX));
    for c in text.chars() {
        let c = if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') { ' ' } else { c };
        if out.len() + c.len_utf8() > MAX - '…'.len_utf8() {
            out.push('…');
            break;
        }
        out.push(c);
    }
    out
}

/// At most so many bytes of a text, the last of them `…` if something was left out.
pub fn shortened(mut text: String, max: usize) -> String {
    if text.len() > max {
        text.truncate(text.floor_char_boundary(max.saturating_sub('…'.len_utf8())));
        text.push('…');
    }
    text
}

/// The URL without its fragment and user info, every query value as `***`, and a query without `=` as `***`.
///
/// `https://u:p@host/p?token=a&x` becomes `https://host/p?token=***&***`.
pub fn masked_url(url: &Url) -> String {
    let mut out = format!("{}://{}", url.scheme(), url.host_str().unwrap_or_default());
    if let Some(port) = url.port() {
        out.push_str(&format!(":{port}"));
    }
    out.push_str(url.path());
    if let Some(query) = url.query() {
        out.push('?');
        out.push_str(&masked_query(query));
    }
    out
}

/// Any text, with what may be secret of a URL in it hidden: behind a `://` all before an `@` and all behind a `?` or `#`.
///
/// For what should be something else, or should be a URL and can't be read as one.
pub fn masked(text: &str) -> Cow<'_, str> {
    match text.split_once("://") {
        Some((scheme, rest)) if rest.contains(['@', '?', '#']) => format!("{scheme}://{}", masked_rest(rest)).into(),
        Some(_) | None => text.into(),
    }
}

/// As [`masked`], of a text that should be a URL: also without a `://`.
pub fn masked_unread_url(text: &str) -> Cow<'_, str> {
    if text.contains("://") { masked(text) } else { masked_rest(text).into() }
}

fn masked_rest(text: &str) -> String {
    let (hidden, rest) = match text.rsplit_once('@') {
        Some((_, rest)) => ("***@", rest),
        None => ("", text),
    };
    match rest.find(['?', '#']) {
        Some(end) => format!("{hidden}{}***", &rest[..=end]),
        None => format!("{hidden}{rest}"),
    }
}

fn masked_query(query: &str) -> String {
    let mask = |pair: &str| match pair.split_once('=') {
        Some((_, "")) | None if pair.is_empty() || pair.ends_with('=') => pair.to_owned(),
        Some((key, _)) => format!("{key}=***"),
        None => "***".to_owned(),
    };
    query.split('&').map(mask).collect::<Vec<_>>().join("&")
}

/// A number with commas between its thousands: `10,240`.
pub fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// A duration as people read it: `980 µs`, `12.3 ms`, `1.25 s`, `3 h 20 min`, `5 days`.
pub fn duration(d: Duration) -> String {
    let (us, s) = (d.as_micros(), d.as_secs());
    match s {
        0 if us < 1000 => format!("{us} µs"),
        0 => format!("{:.1} ms", d.as_secs_f64() * 1e3),
        1..120 => format!("{:.2} s", d.as_secs_f64()),
        120..7200 => format!("{} min", s / 60),
        7200..172_800 => format!("{} h {} min", s / 3600, s % 3600 / 60),
        _ => format!("{} days", s / 86_400),
    }
}

/// Replaces every secret in a text. Texts of one or two characters are left: hiding them would hide everything.
pub fn redact<'s>(text: &str, secrets: impl IntoIterator<Item = &'s str>) -> String {
    let mut out = text.to_owned();
    for secret in secrets {
        if secret.len() > 2 && out.contains(secret) {
            out = out.replace(secret, "***");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_shows_neither_user_info_nor_query_values() {
        for (url, want) in [
            ("https://u:p@h.example/p?token=abc&x=1#frag", "https://h.example/p?token=***&x=***"),
            ("http://h.example:81/?secret", "http://h.example:81/?***"),
            ("http://h.example/?a=&b", "http://h.example/?a=&***"),
            ("http://h.example/?a=b=c", "http://h.example/?a=***"),
            ("http://h.example/?", "http://h.example/?"),
            ("http://[::1]:8080/x", "http://[::1]:8080/x"),
        ] {
            assert_eq!(masked_url(&Url::parse(url).expect("a URL")), want, "{url}");
        }
    }

    #[test]
    fn what_may_be_the_secrets_of_a_url_is_hidden_generously() {
        for (text, want) in [
            ("http://a b/", "http://a b/"),
            ("http://u:p@a b/?token=x", "http://***@a b/?***"),
            ("http://u:p?x@h/", "http://***@h/"),
            ("http://h/#x", "http://h/#***"),
            ("see http://h/?a", "see http://h/?***"),
            ("^https?://[a-z]+$", "^https?://[a-z]+$"),
        ] {
            assert_eq!((masked(text), masked_unread_url(text)), (want.into(), want.into()));
        }
        for (text, want) in [("u:p@h", "***@h"), ("u@h?x", "***@h?***"), ("h", "h")] {
            assert_eq!((masked(text), masked_unread_url(text)), (text.into(), want.into()));
        }
    }

    #[test]
    fn a_message_is_one_short_line() {
        assert_eq!(message("a\nb\r\tc"), "a b  c");
        let long = message(&"é".repeat(400));
        assert!(long.len() <= 500 && long.ends_with('…'), "{} bytes", long.len());
        assert_eq!(message(&"x".repeat(490)).len(), 490);
    }

    #[test]
    fn a_text_is_shortened_between_two_characters() {
        let short = |text: &str| shortened(text.to_owned(), 10);
        assert_eq!(["1234567890", "12345678901", "éééééé"].map(short), ["1234567890", "1234567…", "ééé…"]);
    }

    #[test]
    fn numbers_and_durations_are_easy_to_read() {
        assert_eq!([0, 999, 1000, 10_240, 1_234_567].map(thousands).join(" "), "0 999 1,000 10,240 1,234,567");
        let read = |us| duration(Duration::from_micros(us));
        assert_eq!(read(980), "980 µs");
        assert_eq!(read(12_340), "12.3 ms");
        assert_eq!(read(1_250_000), "1.25 s");
        assert_eq!(read(3 * 86_400_000_000), "3 days");
    }

    #[test]
    fn secrets_are_taken_out() {
        assert_eq!(redact("got hunter2 at x", ["hunter2", "x", ""]), "got *** at x");
    }
}
