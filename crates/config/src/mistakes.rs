//! Every mistake of a config at once, each with its place.

use crate::place::{Path, Place, Sources};
use std::{collections::BTreeMap, fmt, path::PathBuf};

/// How many are shown; a file whose indentation slipped has one in every line.
const SHOWN: usize = 100;
/// How many are kept to choose those from.
const KEPT: usize = 10_000;

/// What is wrong with a config, in the order of reading. Displays one mistake a line: `file:line: path: message`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Mistakes {
    /// The first of them; never empty.
    pub list: Vec<Mistake>,
    /// How many more there are.
    pub more: usize,
    /// Every path that was looked at: a change of one may mend it.
    pub files: Vec<PathBuf>,
}

/// One of them. No text of it holds a secret or a value that came from the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The file, or the flag of the command line.
    pub source: String,
    pub line: Option<u32>,
    /// The keys that lead to the value; empty for the file as a whole, and for a flag.
    pub path: String,
    /// What is wrong and what to do about it.
    pub message: String,
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, mistake) in self.list.iter().enumerate() {
            let line_end = if i == 0 { "" } else { "\n" };
            write!(f, "{line_end}{mistake}")?;
        }
        match self.more {
            0 => Ok(()),
            more => write!(f, "\nand {more} more"),
        }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.path.is_empty() {
            write!(f, ": {}", self.path)?;
        }
        write!(f, ": {}", self.message)
    }
}

/// The mistakes found so far. What is wrong in `defaults` is found again with every target, and kept once.
#[derive(Default)]
pub struct Report {
    found: BTreeMap<(Place, String), String>,
    more: usize,
}

impl Report {
    pub fn add(&mut self, place: Place, path: &Path<'_>, message: impl Into<String>) {
        if self.is_full() {
            self.more += 1;
        } else {
            self.found.entry((place, message.into())).or_insert_with(|| path.to_string());
        }
    }

    /// How many were found.
    pub fn count(&self) -> usize {
        self.found.len() + self.more
    }

    /// Whether further ones are only counted, so that nobody need think about what to say of them.
    pub fn is_full(&self) -> bool {
        self.found.len() >= KEPT
    }

    /// `Err` when there is any.
    pub fn into_result(self, sources: &Sources) -> Result<(), Mistakes> {
        let more = self.count() - self.found.len().min(SHOWN);
        let list: Vec<_> = self
            .found
            .into_iter()
            .take(SHOWN)
            .map(|((place, message), path)| Mistake {
                source: sources.name(place.source),
                line: (place.line > 0).then_some(place.line),
                path: if sources.is_flag(place.source) { String::new() } else { path },
                message,
            })
            .collect();
        if list.is_empty() { Ok(()) } else { Err(Mistakes { list, more, files: Vec::new() }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(line: u32) -> Place {
        Place { source: 0, line, column: 1 }
    }

    #[test]
    fn mistakes_stand_in_the_order_of_the_file_and_the_rest_is_counted() {
        let mut sources = Sources::default();
        sources.file("a.yaml".as_ref());
        let mut report = Report::default();
        for line in (1..=102).rev() {
            report.add(at(line), &Path::ROOT.key("x"), "is wrong");
            report.add(at(line), &Path::ROOT.key("seen from elsewhere"), "is wrong");
        }
        let text = report.into_result(&sources).unwrap_err().to_string();
        assert_eq!(text.lines().next(), Some("a.yaml:1: x: is wrong"));
        assert_eq!(text.lines().count(), 101);
        assert_eq!(text.lines().last(), Some("and 2 more"));
    }
}
