//! The texts of a target that no message, record or log may show.

use base64::{Engine, prelude::BASE64_STANDARD};
use std::{collections::BTreeSet, sync::Arc};
use url::Url;

/// Longer contents of files are not looked for: no message of ours is that long.
const LONGEST: usize = 64 << 10;

#[derive(Default)]
pub(crate) struct Secrets(BTreeSet<String>);

impl Secrets {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn add(&mut self, text: &str) {
        if !text.is_empty() && text.len() <= LONGEST {
            self.0.insert(text.to_owned());
        }
    }

    /// User info and the values of the query, as written and decoded.
    pub fn url(&mut self, url: &Url) {
        for part in [Some(url.username()), url.password()].into_iter().flatten() {
            self.add(part);
            self.add(&decoded(part));
        }
        self.add(&encoded_user_info(url).unwrap_or_default());
        for pair in url.query().unwrap_or_default().split('&') {
            let value = pair.split_once('=').map_or(pair, |(_, value)| value);
            self.add(value);
            self.add(&decoded(value));
            self.add(&decoded(&value.replace('+', " ")));
        }
    }

    /// The value of a header, and what of it is the secret proper.
    pub fn header(&mut self, name: &str, value: &str) {
        self.add(value);
        if let Some((scheme, credentials)) = value.split_once(' ').filter(|_| name.ends_with("authorization")) {
            self.add(credentials.trim());
            if scheme.eq_ignore_ascii_case("basic") {
                self.basic(credentials.trim());
            }
        }
        if name == "cookie" {
            for (_, value) in value.split(';').filter_map(|pair| pair.split_once('=')) {
                self.add(value.trim());
            }
        }
    }

    fn basic(&mut self, credentials: &str) {
        let text = BASE64_STANDARD.decode(credentials).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        if let Some(text) = text {
            self.add(&text);
            self.add(text.split_once(':').map_or("", |(_, password)| password));
        }
    }

    /// What a `body_file` holds.
    pub fn body(&mut self, bytes: &[u8]) {
        if let Ok(text) = std::str::from_utf8(bytes) {
            self.add(text);
            self.add(text.trim());
        }
    }

    /// The longest first, so that one which holds another is taken out whole.
    pub fn into_list(self) -> Arc<[Box<str>]> {
        let mut list: Vec<Box<str>> = self.0.into_iter().map(Into::into).collect();
        list.sort_by_key(|s| std::cmp::Reverse(s.len()));
        list.into()
    }
}

/// The user info of a URL as basic authentication (RFC 7617), if it has any.
pub(crate) fn basic_of(url: &Url) -> Option<String> {
    encoded_user_info(url).map(|encoded| format!("Basic {encoded}"))
}

fn encoded_user_info(url: &Url) -> Option<String> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let mut pair: Vec<u8> = percent_encoding::percent_decode_str(url.username()).collect();
    pair.push(b':');
    pair.extend(percent_encoding::percent_decode_str(url.password().unwrap_or_default()));
    Some(BASE64_STANDARD.encode(pair))
}

fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(fill: impl FnOnce(&mut Secrets)) -> Vec<String> {
        let mut secrets = Secrets::default();
        fill(&mut secrets);
        secrets.into_list().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn of_a_url_user_info_and_query_values_are_secret_in_every_spelling() {
        let url = Url::parse("https://us%20er:p%40ss@h/path?token=a%2Bb+c&flag").expect("a URL");
        let found = list(|s| s.url(&url));
        for secret in ["us%20er", "us er", "p%40ss", "p@ss", "a%2Bb+c", "a+b+c", "a+b c", "flag", "dXMgZXI6cEBzcw=="] {
            assert!(found.iter().any(|f| f == secret), "{secret} is not in {found:?}");
        }
        assert!(!found.iter().any(|f| f == "token" || f == "h" || f.is_empty()));
    }

    #[test]
    fn of_a_header_the_credentials_and_the_cookies_are_secret_too() {
        assert_eq!(list(|s| s.header("authorization", "Bearer abc")), ["Bearer abc", "abc"]);
        let basic = list(|s| s.header("authorization", "Basic dTpodW50ZXIy"));
        assert!(basic.contains(&"hunter2".to_owned()), "{basic:?}");
        assert_eq!(list(|s| s.header("cookie", "a=1234; b=xyz")), ["a=1234; b=xyz", "1234", "xyz"]);
        assert_eq!(list(|s| s.header("x-api-key", "two words")), ["two words"]);
    }

    #[test]
    fn the_longest_stands_first() {
        assert_eq!(list(|s| ["ab", "abcd", "abc"].iter().for_each(|t| s.add(t))), ["abcd", "abc", "ab"]);
    }
}
