//! JSON as the contract means it, which is stricter than most parsers: no key twice at any depth, no lone surrogate, no
//! nesting over 128. And more patient: a number of any size is a number, since unknown fields are not judged.
//!
//! Values borrow from the text. What nobody asks for later (arrays, booleans) is checked and not kept.

use std::{
    borrow::Cow,
    collections::HashSet,
    hash::{BuildHasher, RandomState},
};

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Json<'a> {
    Null,
    /// As written: which numbers fit is for the field to say.
    Number(&'a str),
    Text(Cow<'a, str>),
    Object(Vec<(Cow<'a, str>, Json<'a>)>),
    /// A boolean or an array: nothing that a record holds.
    Other,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotJson {
    pub why: &'static str,
    /// Byte offset.
    pub at: usize,
}

const DEEPEST: u32 = 128;

/// Reads exactly one value, with white space around it.
pub(super) fn parse(bytes: &[u8]) -> Result<Json<'_>, NotJson> {
    let text = std::str::from_utf8(bytes).map_err(|e| NotJson { why: "invalid UTF-8", at: e.valid_up_to() })?;
    let mut reader = Reader { text, at: 0, depth: 0 };
    reader.skip_space();
    let value = reader.value()?;
    reader.skip_space();
    if reader.at == text.len() { Ok(value) } else { reader.fail("more after the value") }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: u32,
}

impl<'a> Reader<'a> {
    fn value(&mut self) -> Result<Json<'a>, NotJson> {
        match self.peek() {
            Some(b'{') => self.nested(Self::object),
            Some(b'[') => self.nested(Self::array),
            Some(b'"') => Ok(Json::Text(self.string()?)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true", Json::Other),
            Some(b'f') => self.word("false", Json::Other),
            Some(b'n') => self.word("null", Json::Null),
            Some(_) => self.fail("not a value"),
            None => self.fail("the value is missing or cut"),
        }
    }

    fn nested(&mut self, read: fn(&mut Self) -> Result<Json<'a>, NotJson>) -> Result<Json<'a>, NotJson> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return self.fail("nested too deeply");
        }
        self.at += 1; // the bracket
        self.skip_space();
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    fn object(&mut self) -> Result<Json<'a>, NotJson> {
        let mut fields = Vec::with_capacity(if self.depth == 1 { 32 } else { 8 });
        let mut seen = Seen::default();
        if self.take(b'}') {
            return Ok(Json::Object(fields));
        }
        loop {
            if self.peek() != Some(b'"') {
                return self.fail("a key is missing");
            }
            let key = self.string()?;
            if seen.again(&fields, &key) {
                return self.fail("a key is given twice");
            }
            self.skip_space();
            if !self.take(b':') {
                return self.fail("a colon is missing");
            }
            self.skip_space();
            let value = self.value()?;
            fields.push((key, value));
            if !self.goes_on(b'}')? {
                return Ok(Json::Object(fields));
            }
        }
    }

    fn array(&mut self) -> Result<Json<'a>, NotJson> {
        if self.take(b']') {
            return Ok(Json::Other);
        }
        loop {
            self.value()?;
            if !self.goes_on(b']')? {
                return Ok(Json::Other);
            }
        }
    }

    /// After an element: whether a comma says that another one follows.
    fn goes_on(&mut self, end: u8) -> Result<bool, NotJson> {
        self.skip_space();
        if self.take(b',') {
            self.skip_space();
            Ok(true)
        } else if self.take(end) {
            Ok(false)
        } else {
            self.fail("a comma or the closing bracket is missing")
        }
    }

    fn string(&mut self) -> Result<Cow<'a, str>, NotJson> {
        self.at += 1; // the quote
        let plain = self.plain();
        if self.take(b'"') {
            return Ok(Cow::Borrowed(plain));
        }
        let mut text = plain.to_owned();
        loop {
            if self.take(b'"') {
                return Ok(Cow::Owned(text));
            }
            if !self.take(b'\\') {
                return self.fail("a control character in a text, or its closing quote is missing");
            }
            text.push(self.escape()?);
            text.push_str(self.plain());
        }
    }

    /// What needs no look: up to the next quote, backslash or control character.
    fn plain(&mut self) -> &'a str {
        let rest = &self.text[self.at..];
        let len = rest.bytes().position(|b| b == b'"' || b == b'\\' || b < 0x20).unwrap_or(rest.len());
        self.at += len;
        &rest[..len]
    }

    fn escape(&mut self) -> Result<char, NotJson> {
        let escaped = self.peek();
        self.at += 1;
        match escaped {
            Some(c @ (b'"' | b'\\' | b'/')) => Ok(char::from(c)),
            Some(b'b') => Ok('\u{8}'),
            Some(b'f') => Ok('\u{c}'),
            Some(b'n') => Ok('\n'),
            Some(b'r') => Ok('\r'),
            Some(b't') => Ok('\t'),
            Some(b'u') => self.unicode_escape(),
            _ => {
                self.at -= 1;
                self.fail("an unknown escape")
            }
        }
    }

    fn unicode_escape(&mut self) -> Result<char, NotJson> {
        let first = self.hex4()?;
        let code = match first {
            0xd800..=0xdbff => {
                let second = if self.take(b'\\') && self.take(b'u') { self.hex4()? } else { 0 };
                if !(0xdc00..=0xdfff).contains(&second) {
                    return self.fail("a lone surrogate");
                }
                0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)
            }
            other => other,
        };
        match char::from_u32(code) {
            Some(c) => Ok(c),
            None => self.fail("a lone surrogate"),
        }
    }

    fn hex4(&mut self) -> Result<u32, NotJson> {
        let digits = self.text.as_bytes().get(self.at..self.at + 4).unwrap_or_default();
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_hexdigit) {
            return self.fail("an escape without four hexadecimal digits");
        }
        let code = digits.iter().fold(0, |n, &d| n << 4 | char::from(d).to_digit(16).unwrap_or(0));
        self.at += 4;
        Ok(code)
    }

    fn number(&mut self) -> Result<Json<'a>, NotJson> {
        let start = self.at;
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            let _sign = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        Ok(Json::Number(&self.text[start..self.at]))
    }

    fn digits(&mut self) -> Result<(), NotJson> {
        let len = self.text[self.at..].bytes().take_while(u8::is_ascii_digit).count();
        self.at += len;
        if len == 0 { self.fail("a digit is missing") } else { Ok(()) }
    }

    fn word(&mut self, word: &str, value: Json<'a>) -> Result<Json<'a>, NotJson> {
        if !self.text[self.at..].starts_with(word) {
            return self.fail("not a value");
        }
        self.at += word.len();
        Ok(value)
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn fail<T>(&self, why: &'static str) -> Result<T, NotJson> {
        Err(NotJson { why, at: self.at })
    }
}

/// The keys of an object so far, to find one that comes again without comparing each with each.
#[derive(Default)]
struct Seen {
    /// A bit per rough likeness of a key: a bit that is clear says that the key is new.
    likenesses: [u64; 4],
    /// Hashes of all keys, once there are many: somebody may have chosen them to look alike.
    many: Option<(RandomState, HashSet<u64>)>,
}

const MANY: usize = 64;

impl Seen {
    fn again(&mut self, fields: &[(Cow<'_, str>, Json<'_>)], key: &str) -> bool {
        let perhaps = if fields.len() < MANY { self.looks_seen(key) } else { self.hash_seen(fields, key) };
        perhaps && fields.iter().any(|(k, _)| k == key)
    }

    fn looks_seen(&mut self, key: &str) -> bool {
        let b = key.as_bytes();
        let at = |n: usize| usize::from(b.get(n).copied().unwrap_or(0));
        let likeness = b.len() + 7 * at(0) + 31 * at(b.len() / 2) + 13 * at(b.len().saturating_sub(1));
        let (word, bit) = (likeness / 64 % 4, 1u64 << (likeness % 64));
        let seen = self.likenesses[word] & bit != 0;
        self.likenesses[word] |= bit;
        seen
    }

    fn hash_seen(&mut self, fields: &[(Cow<'_, str>, Json<'_>)], key: &str) -> bool {
        let (state, hashes) = self.many.get_or_insert_with(|| {
            let state = RandomState::new();
            let hashes = fields.iter().map(|(k, _)| state.hash_one(&**k)).collect();
            (state, hashes)
        });
        !hashes.insert(state.hash_one(key))
    }
}
