//! Patterns over a body that arrives in chunks: one pass for all of a target's patterns, memory that does not grow.
//!
//! The answers are those of the `regex` crate's byte API over the whole body, whatever the chunks. What a lazy DFA can do it
//! does ([`lazy`]); a Unicode word boundary, which it can't do beyond ASCII, is stepped through the NFA ([`stepped`]): exact
//! too, and slower.

mod lazy;
mod stepped;

use regex_automata::{
    PatternID,
    meta::{self, Regex},
    nfa::thompson::{self, NFA, WhichCaptures},
    util::{look::Look, syntax},
};
use std::{fmt, sync::Arc};

/// What one compiled set of patterns may take: the limit that the `regex` crate has by default.
const SIZE_LIMIT: usize = 10 << 20;
const TOO_LARGE: &str = "too large: compiled, it would take more than the size limit of 10 MiB";

/// A pattern that can't be used, and which one of those given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct BadPattern {
    pub index: usize,
    pub message: String,
}

/// The body patterns of a target, compiled together. Equal lists should share one value: it holds caches.
pub struct Patterns {
    texts: Vec<String>,
    engine: Engine,
}

enum Engine {
    Lazy(Box<lazy::Lazy>),
    Stepped(stepped::Stepped),
}

impl Patterns {
    /// Compiles patterns of the `regex` crate's syntax, unanchored, on bytes.
    ///
    /// # Errors
    /// The first pattern that is wrong or too large, with the parser's own words.
    pub fn new(texts: &[String]) -> Result<Self, BadPattern> {
        if texts.len() > 1 {
            for (index, text) in texts.iter().enumerate() {
                compile(&[text]).map_err(|message| BadPattern { index, message })?;
            }
        }
        let together = |message| BadPattern { index: 0, message };
        let nfa = compile(texts).map_err(together)?;
        let looks = nfa.look_set_any();
        let unicode_words = [
            Look::WordUnicode,
            Look::WordUnicodeNegate,
            Look::WordStartUnicode,
            Look::WordEndUnicode,
            Look::WordStartHalfUnicode,
            Look::WordEndHalfUnicode,
        ];
        let engine = if unicode_words.iter().any(|&l| looks.contains(l)) {
            Engine::Stepped(stepped::Stepped::new(nfa))
        } else {
            Engine::Lazy(Box::new(lazy::Lazy::new(nfa, texts).map_err(together)?))
        };
        Ok(Self { texts: texts.to_vec(), engine })
    }

    pub fn text(&self, index: usize) -> &str {
        &self.texts[index]
    }

    pub fn texts(&self) -> &[String] {
        &self.texts
    }
}

impl fmt::Debug for Patterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Patterns").field(&self.texts).finish()
    }
}

impl PartialEq for Patterns {
    fn eq(&self, other: &Self) -> bool {
        self.texts == other.texts
    }
}

fn syntax() -> syntax::Config {
    syntax::Config::new().utf8(false)
}

fn compile<T: AsRef<str>>(texts: &[T]) -> Result<NFA, String> {
    let config =
        thompson::Config::new().utf8(false).which_captures(WhichCaptures::None).nfa_size_limit(Some(SIZE_LIMIT));
    thompson::Compiler::new()
        .configure(config)
        .syntax(syntax())
        .build_many(texts)
        .map_err(|e| e.size_limit().map_or_else(|| why(&e), |_| TOO_LARGE.to_owned()))
}

/// The whole chain of an error in one line; the parser draws the place of a mistake over several, of which the last says what.
fn why(e: &dyn std::error::Error) -> String {
    let mut text = e.to_string();
    let mut source = e.source();
    while let Some(cause) = source {
        text = cause.to_string();
        source = cause.source();
    }
    let last = text.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or(&text).trim();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

/// Which patterns have matched so far: a bit for each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matched {
    bits: Vec<u64>,
    left: usize,
}

impl Matched {
    fn none_of(n: usize) -> Self {
        Self { bits: vec![0; n.div_ceil(64)], left: n }
    }

    pub fn contains(&self, pattern: usize) -> bool {
        self.bits.get(pattern / 64).is_some_and(|b| b & (1 << (pattern % 64)) != 0)
    }

    fn set(&mut self, pattern: PatternID) {
        let (word, bit) = (pattern.as_usize() / 64, 1 << (pattern.as_usize() % 64));
        if self.bits[word] & bit == 0 {
            self.bits[word] |= bit;
            self.left -= 1;
        }
    }

    /// Nothing that may still come can change the answer.
    fn all(&self) -> bool {
        self.left == 0
    }
}

/// One body being searched. Feed it the chunks in order, then finish.
pub struct Search {
    patterns: Arc<Patterns>,
    matched: Matched,
    state: State,
}

enum State {
    /// Nothing has come yet, so nothing is held: a body that never starts costs no memory.
    Idle,
    Lazy(Box<lazy::Run>),
    Stepped(stepped::Run),
}

impl Search {
    pub fn new(patterns: Arc<Patterns>) -> Self {
        let matched = Matched::none_of(patterns.texts.len());
        Self { patterns, matched, state: State::Idle }
    }

    pub fn feed(&mut self, chunk: &[u8]) {
        if !chunk.is_empty() && !self.matched.all() {
            self.step(|engine, run, matched| match (engine, run) {
                (Engine::Lazy(e), State::Lazy(r)) => e.feed(r, chunk, matched),
                (Engine::Stepped(e), State::Stepped(r)) => e.feed(r, chunk, matched),
                _ => {}
            });
        }
    }

    /// The body is complete: what holds at its end holds now.
    pub fn finish(mut self) -> Matched {
        if !self.matched.all() {
            self.step(|engine, run, matched| match (engine, run) {
                (Engine::Lazy(e), State::Lazy(r)) => e.finish(r, matched),
                (Engine::Stepped(e), State::Stepped(r)) => e.finish(r, matched),
                _ => {}
            });
        }
        std::mem::take(&mut self.matched)
    }

    fn step(&mut self, f: impl FnOnce(&Engine, &mut State, &mut Matched)) {
        if matches!(self.state, State::Idle) {
            self.state = match &self.patterns.engine {
                Engine::Lazy(e) => State::Lazy(Box::new(e.start())),
                Engine::Stepped(e) => State::Stepped(e.start()),
            };
        }
        f(&self.patterns.engine, &mut self.state, &mut self.matched);
    }
}

impl Drop for Search {
    fn drop(&mut self) {
        if let (Engine::Lazy(e), State::Lazy(run)) =
            (&self.patterns.engine, std::mem::replace(&mut self.state, State::Idle))
        {
            e.give_back(*run);
        }
    }
}

impl fmt::Debug for Search {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Search")
            .field("patterns", &self.patterns)
            .field("matched", &self.matched)
            .finish_non_exhaustive()
    }
}

/// One pattern over the values of a header.
#[derive(Clone)]
pub struct HeaderPattern {
    text: String,
    regex: Regex,
}

impl HeaderPattern {
    /// # Errors
    /// What is wrong with the pattern, in the parser's words.
    pub fn new(text: &str) -> Result<Self, BadPattern> {
        let config = meta::Config::new().utf8_empty(false).nfa_size_limit(Some(SIZE_LIMIT));
        Regex::builder()
            .configure(config)
            .syntax(syntax())
            .build(text)
            .map(|regex| Self { text: text.to_owned(), regex })
            .map_err(|e| BadPattern {
                index: 0,
                message: e.size_limit().map_or_else(|| why(&e), |_| TOO_LARGE.to_owned()),
            })
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn is_match(&self, value: &[u8]) -> bool {
        self.regex.is_match(value)
    }
}

impl fmt::Debug for HeaderPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HeaderPattern").field(&self.text).finish()
    }
}

impl PartialEq for HeaderPattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

#[cfg(test)]
mod tests;
