//! An answer as far as it came: what expectations are held against.

use crate::{
    UnixMs,
    cel::{Expression, Outcome},
    pattern::Matched,
    result::{Finding, HttpVersion},
};
use std::{ops::Range, sync::Arc, time::Duration};

/// The head of a final response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    pub status: u16,
    pub http: HttpVersion,
    pub headers: Headers,
}

/// Header lines in the order in which they came, kept in one piece of memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    text: Vec<u8>,
    lines: Vec<(Range<u32>, Range<u32>)>,
}

impl Headers {
    pub fn push(&mut self, name: &str, value: &[u8]) {
        let name = self.add(name.as_bytes());
        let value = self.add(value);
        self.lines.push((name, value));
    }

    fn add(&mut self, bytes: &[u8]) -> Range<u32> {
        let from = self.text.len() as u32; // heads are limited far below 4 GiB
        self.text.extend_from_slice(bytes);
        from..self.text.len() as u32
    }

    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let piece = |r: &Range<u32>| &self.text[r.start as usize..r.end as usize];
        self.lines.iter().map(move |(n, v)| (piece(n), piece(v)))
    }

    /// Every value of a header, whatever the case of its name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name.as_bytes())).map(|(_, v)| v)
    }

    pub fn first<'a>(&'a self, name: &'a str) -> Option<&'a [u8]> {
        self.all(name).next()
    }
}

/// From when to when a certificate holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validity {
    pub subject: String,
    pub not_before: UnixMs,
    pub not_after: UnixMs,
}

/// A body, decompressed, as far as expressions may read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeptBody {
    Whole(Vec<u8>),
    /// It has more than [`crate::cel::MAX_BODY`].
    TooLarge,
}

/// What one attempt brought.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The head of the final response, if it came.
    pub head: Option<Head>,
    /// What broke the exchange, if anything.
    pub failure: Option<Finding>,
    /// Which patterns matched; there when the body was read to its end.
    pub matched: Option<Matched>,
    pub body_bytes: u64,
    /// There when the body was read to its end and an expression reads it, until the expressions have been evaluated.
    pub kept: Option<KeptBody>,
    /// What the target's expressions say; there when they have been evaluated.
    pub outcomes: Vec<(Arc<Expression>, Outcome)>,
    pub total: Duration,
    /// The certificates that `certificate` limits are held against: the verified path without its root, or all presented.
    pub certificates: Vec<Validity>,
    pub now: UnixMs,
}
