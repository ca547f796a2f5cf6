//! Ids of targets and names of locations: one grammar, `[a-z0-9][a-z0-9._-]{0,127}`.

use std::{fmt, sync::Arc};

pub const MAX_LEN: usize = 128;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("must be 1 to 128 of a-z 0-9 . _ - and begin with a letter or a digit")]
pub struct NotAnId;

/// Whether the text is of the grammar of an id.
pub fn is_id(s: &str) -> bool {
    let b = s.as_bytes();
    matches!(b.first(), Some(b'a'..=b'z' | b'0'..=b'9')) && b.len() <= MAX_LEN && b.iter().all(|&c| is_id_byte(c))
}

fn is_id_byte(c: u8) -> bool {
    matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-')
}

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            pub fn new(s: &str) -> Result<Self, NotAnId> {
                if is_id(s) { Ok(Self(s.into())) } else { Err(NotAnId) }
            }
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

id_type!(
    /// The id of a target: the key of its results, for ever.
    TargetId
);
id_type!(
    /// The name of the place that looks.
    Location
);

/// The default id made of a name, or of a URL's host, port and path.
///
/// Lower-case; runs of anything outside `[a-z0-9._-]` become one `-`; trimmed to begin and end with `[a-z0-9]`; at most
/// 128 characters. `None` when nothing is left.
pub fn slug(text: &str) -> Option<String> {
    let mut out = String::new();
    for c in text.chars().flat_map(char::to_lowercase) {
        if c.is_ascii() && is_id_byte(c as u8) {
            out.push(c);
        } else if !out.ends_with('\u{0}') {
            out.push('\u{0}'); // a run of others, told apart from a written `-` until it is complete
        }
    }
    let out = out.replace('\u{0}', "-");
    let keep = |c: char| !c.is_ascii_alphanumeric();
    let out = out.trim_matches(keep);
    let out = out[..out.len().min(MAX_LEN)].trim_end_matches(keep);
    (!out.is_empty()).then(|| out.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slug_keeps_what_an_id_may_hold() {
        for (text, want) in [
            ("shop.example.org/cart", "shop.example.org-cart"),
            ("Shop cart", "shop-cart"),
            (" Café du  Port! ", "caf-du-port"),
            ("API v1.2_beta", "api-v1.2_beta"),
            ("127.0.0.1:8080/a", "127.0.0.1-8080-a"),
            ("a - b", "a---b"),
        ] {
            assert_eq!(slug(text).as_deref(), Some(want), "{text}");
        }
        assert_eq!(slug("!!!"), None);
        assert_eq!(slug("._-"), None);
    }

    #[test]
    fn a_slug_is_always_an_id() {
        let long = "x".repeat(127) + "!y";
        assert_eq!(slug(&long).as_deref(), Some("x".repeat(127).as_str()));
        assert!(is_id(&slug(&"é1".repeat(200)).expect("has digits")));
    }

    #[test]
    fn the_grammar_of_an_id() {
        assert!(["a", "0", "a.b_c-d", &"a".repeat(128)].iter().all(|s| is_id(s)));
        assert!(["", "-a", ".a", "A", "a b", "é", &"a".repeat(129)].iter().all(|s| !is_id(s)));
    }
}
