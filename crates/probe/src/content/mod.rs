//! What a body's pieces go through as they arrive: content codings undone, bytes counted against the limit, patterns searched.
//! Memory does not grow with the body, whatever it unpacks to; only for an expression its first MiB is kept.

mod coding;
mod gzip;

use coding::{Coding, Corrupt, Push};
use model::{
    Reason, Target,
    answer::{Head, KeptBody},
    cel::MAX_BODY,
    pattern::{Matched, Search},
    result::Finding,
    text::thousands,
};
use std::{borrow::Cow, mem::take, ops::Range};

/// What a coding makes of its input at a time.
const PIECE: usize = 16 << 10;

#[derive(Debug)]
pub struct Content {
    /// In the order in which they are undone.
    stages: Vec<Stage>,
    sink: Sink,
    /// Whether any byte came at all: an empty body is empty, whatever its coding.
    begun: bool,
}

#[derive(Debug)]
struct Stage {
    coding: Coding,
    ended: bool,
    /// What goes in before all else: the few bytes behind an end that did not tell yet whether the coding begins again.
    behind: Vec<u8>,
    /// Something else came behind the end.
    over: bool,
    out: Vec<u8>,
    /// What it has made and nobody has taken yet.
    ready: Range<usize>,
    /// It had no more room, so it may make more of what it has taken.
    is_full: bool,
}

#[derive(Debug)]
struct Sink {
    read: u64,
    limit: u64,
    search: Option<Search>,
    kept: Option<KeptBody>,
}

/// What a body that was read to its end is judged by.
#[derive(Debug, Default)]
pub struct Told {
    pub matched: Option<Matched>,
    pub kept: Option<KeptBody>,
}

impl Content {
    pub fn of(head: &Head, target: &Target) -> Self {
        let search = target.patterns.clone().map(Search::new);
        let kept = target.expressions().any(|e| e.uses().any()).then(|| KeptBody::Whole(Vec::new()));
        Self {
            stages: codings(head).into_iter().map(Stage::of).collect(),
            sink: Sink { read: 0, limit: target.request.max_body, search, kept },
            begun: false,
        }
    }

    /// Bytes that were read so far, unpacked.
    pub fn read(&self) -> u64 {
        self.sink.read
    }

    /// Whether a piece costs work of ours.
    pub fn is_work(&self) -> bool {
        !self.stages.is_empty() || self.sink.search.is_some() || self.sink.kept.is_some()
    }

    /// Does a bounded part of the work on a piece, takes off it what is done with, and says whether there is more to do: one piece can
    /// unpack to all that `max_body` allows.
    ///
    /// # Errors
    /// `bad_encoding`, `body_too_large`.
    pub fn work(&mut self, piece: &mut &[u8]) -> Result<bool, Finding> {
        self.begun |= !piece.is_empty();
        let Some(last) = self.stages.len().checked_sub(1) else {
            self.sink.take(take(piece))?;
            return Ok(false);
        };
        // Whoever stands last goes first, so that nothing piles up between them.
        for stage in (0..=last).rev() {
            let (until, behind) = self.stages.split_at_mut(stage + 1);
            let Stage { out, ready, is_full, .. } = &mut until[stage];
            if ready.start < ready.end {
                let mut made = &out[ready.clone()];
                match behind.first_mut() {
                    Some(next) => next.push(&mut made)?,
                    None => self.sink.take(take(&mut made))?,
                }
                ready.start = ready.end - made.len();
                return Ok(true);
            }
            if *is_full {
                until[stage].push(&mut &[][..])?;
                return Ok(true);
            }
        }
        if piece.is_empty() {
            return Ok(false);
        }
        self.stages[0].push(piece)?;
        Ok(true)
    }

    /// The body was read to its end.
    ///
    /// # Errors
    /// `bad_encoding`, when compressed data ends early.
    pub fn end(self) -> Result<Told, Finding> {
        match self.stages.iter().find(|s| !s.ended) {
            Some(stage) if self.begun => {
                let message = format!("the {} data ends early", stage.coding.name());
                Err(Finding::new(Reason::BadEncoding, message))
            }
            _ => Ok(Told { matched: self.sink.search.map(Search::finish), kept: self.sink.kept }),
        }
    }
}

impl Stage {
    fn of(coding: Coding) -> Self {
        Self { coding, ended: false, behind: Vec::new(), over: false, out: Vec::new(), ready: 0..0, is_full: false }
    }

    /// Makes as much of the input as there is room for, and takes off it what is used. All that it made before has been taken.
    fn push(&mut self, input: &mut &[u8]) -> Result<(), Finding> {
        self.out.resize(PIECE, 0); // taken with the first byte of a body
        (self.ready, self.is_full) = (0..0, false);
        let first = take(&mut self.behind);
        let joined = if first.is_empty() { Cow::Borrowed(*input) } else { Cow::Owned([&first, *input].concat()) };
        if self.ended {
            let again = self.coding.begins_again(&joined);
            // What follows the end of the data is nobody's, as browsers take it.
            self.over |= again == Some(false);
            if self.over || again.is_none() {
                self.behind = if self.over { Vec::new() } else { joined.into_owned() };
                *input = &[];
                return Ok(());
            }
        }
        let pushed = self.coding.push(&joined, &mut self.out).map_err(|e| corrupt(&self.coding, &e))?;
        let Push { used, made, ended } = pushed;
        (self.ended, self.ready, self.is_full) = (ended, 0..made, made == self.out.len());
        if used == 0 && made == 0 {
            *input = &[];
        } else {
            self.behind = first.get(used..).unwrap_or_default().to_vec();
            *input = &input[used.saturating_sub(first.len())..];
        }
        Ok(())
    }
}

fn corrupt(coding: &Coding, e: &Corrupt) -> Finding {
    Finding::new(Reason::BadEncoding, format!("the {} data is corrupt: {}", coding.name(), e.0))
}

impl Sink {
    fn take(&mut self, piece: &[u8]) -> Result<(), Finding> {
        let read = self.read + piece.len() as u64;
        self.read = read.min(self.limit);
        if read > self.limit {
            let message = format!("the body has more than max_body, {} bytes", thousands(self.limit));
            return Err(Finding::new(Reason::BodyTooLarge, message));
        }
        if let Some(search) = &mut self.search {
            search.feed(piece);
        }
        self.keep(piece);
        Ok(())
    }

    fn keep(&mut self, piece: &[u8]) {
        if let Some(KeptBody::Whole(bytes)) = &mut self.kept {
            if bytes.len() + piece.len() > MAX_BODY {
                self.kept = Some(KeptBody::TooLarge);
            } else {
                bytes.extend_from_slice(piece);
            }
        }
    }
}

/// The codings to undo, the last one that was applied first. What is behind one that is not known can't be reached, so it and
/// all before it stay as they are. (RFC 9110, section 8.4.)
fn codings(head: &Head) -> Vec<Coding> {
    let written: Vec<String> = head
        .headers
        .all("content-encoding")
        .flat_map(|v| v.split(|&c| c == b','))
        .map(|c| String::from_utf8_lossy(c).trim().to_ascii_lowercase())
        .filter(|c| !c.is_empty() && c != "identity")
        .collect();
    written.iter().rev().map_while(|name| Coding::of(name)).collect()
}

#[cfg(test)]
mod tests;
