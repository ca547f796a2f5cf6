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
use std::borrow::Cow;

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
    /// Too few bytes behind the end to tell whether the coding begins again.
    behind: Vec<u8>,
    /// Something else came behind the end.
    over: bool,
    out: Vec<u8>,
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

    /// # Errors
    /// `bad_encoding`, `body_too_large`.
    pub fn take(&mut self, piece: &[u8]) -> Result<(), Finding> {
        self.begun |= !piece.is_empty();
        pass(&mut self.stages, piece, &mut self.sink)
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
        Self { coding, ended: false, behind: Vec::new(), over: false, out: Vec::new() }
    }
}

/// Pushes bytes through the first stage, and what it makes of them through the others.
fn pass(stages: &mut [Stage], input: &[u8], sink: &mut Sink) -> Result<(), Finding> {
    let Some((stage, rest)) = stages.split_first_mut() else { return sink.take(input) };
    if stage.out.is_empty() {
        stage.out.resize(PIECE, 0); // taken with the first byte of a body
    }
    let behind = std::mem::take(&mut stage.behind);
    let joined = if behind.is_empty() { Cow::Borrowed(input) } else { Cow::Owned([&behind, input].concat()) };
    let mut input = &joined[..];
    loop {
        if stage.ended {
            match stage.coding.begins_again(input) {
                Some(true) if !stage.over => {}
                None if !stage.over => {
                    stage.behind = input.to_vec();
                    return Ok(());
                }
                // What follows the end of the data is nobody's, as browsers take it.
                Some(_) | None => {
                    stage.over = true;
                    return Ok(());
                }
            }
        }
        let Push { used, made, ended } =
            stage.coding.push(input, &mut stage.out).map_err(|e| corrupt(&stage.coding, &e))?;
        stage.ended = ended;
        pass(rest, &stage.out[..made], sink)?;
        input = &input[used..];
        if made < stage.out.len() && (input.is_empty() || (used == 0 && made == 0)) {
            return Ok(());
        }
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
