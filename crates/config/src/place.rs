//! Where a value was written: a file and a line, or a flag of the command line, and the path of keys that leads to it.

use model::text::masked;
use std::{
    borrow::Cow,
    fmt,
    path::{Path as FilePath, PathBuf},
};

/// The place of a value. The order is the order of reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Index into [`Sources`].
    pub source: u32,
    /// From 1; 0 is the source as a whole.
    pub line: u32,
    /// From 1.
    pub column: u32,
}

/// What values come from, in the order of reading.
#[derive(Clone, Default)]
pub struct Sources(Vec<Source>);

#[derive(Clone)]
enum Source {
    File(PathBuf),
    Flag(&'static str),
}

impl Sources {
    pub fn file(&mut self, path: &FilePath) -> u32 {
        self.add(Source::File(path.to_owned()))
    }

    /// A flag or an argument of the command line, by the name that a message gives it.
    pub fn flag(&mut self, name: &'static str) -> Place {
        Place { source: self.add(Source::Flag(name)), line: 0, column: 0 }
    }

    fn add(&mut self, source: Source) -> u32 {
        self.0.push(source);
        u32::try_from(self.0.len() - 1).expect("fewer files than can be opened")
    }

    /// Relative paths written there are relative to this; empty for the working directory.
    pub fn folder(&self, source: u32) -> &FilePath {
        match self.0.get(source as usize) {
            Some(Source::File(path)) => path.parent().unwrap_or(FilePath::new("")),
            Some(Source::Flag(_)) | None => FilePath::new(""),
        }
    }

    /// How a message names it.
    pub fn name(&self, source: u32) -> String {
        match self.0.get(source as usize) {
            Some(Source::File(path)) => path.display().to_string(),
            Some(Source::Flag(name)) => (*name).to_owned(),
            None => String::new(),
        }
    }

    pub fn is_flag(&self, source: u32) -> bool {
        matches!(self.0.get(source as usize), Some(Source::Flag(_)))
    }
}

/// The keys that lead to a value: `targets[3].expect.body.matches[0]`. It lives on the stack, so that a sound file with
/// 100,000 targets never spells one.
#[derive(Clone, Copy)]
pub struct Path<'a> {
    before: Option<&'a Path<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Root,
    Key(&'a str),
    Index(usize),
}

impl<'a> Path<'a> {
    pub const ROOT: Path<'static> = Path { before: None, step: Step::Root };

    pub fn key(&'a self, key: &'a str) -> Path<'a> {
        Path { before: Some(self), step: Step::Key(key) }
    }

    pub fn index(&'a self, index: usize) -> Path<'a> {
        Path { before: Some(self), step: Step::Index(index) }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(before) = self.before {
            before.fmt(f)?;
        }
        let first = self.before.is_none_or(|b| matches!(b.step, Step::Root));
        match self.step {
            Step::Root => Ok(()),
            Step::Index(i) => write!(f, "[{i}]"),
            Step::Key(key) if !is_plain(key) => write!(f, "[{:?}]", masked(key)),
            Step::Key(key) if first => f.write_str(key),
            Step::Key(key) => write!(f, ".{key}"),
        }
    }
}

/// What a message may say of a key that is not known: whoever has left out a colon has written a secret behind its name.
pub(crate) fn known_part(key: &str) -> Cow<'_, str> {
    let is_of_a_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    match key.find(|c| !is_of_a_name(c)) {
        None => key.into(),
        Some(end) => format!("{}…", &key[..end]).into(),
    }
}

fn is_plain(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_reads_like_the_code_that_would_get_there() {
        let targets = Path::ROOT.key("targets");
        let third = targets.index(3);
        let expect = third.key("expect");
        assert_eq!(expect.key("matches").index(0).to_string(), "targets[3].expect.matches[0]");
        assert_eq!(Path::ROOT.key("a b").key("c.d").to_string(), r#"["a b"]["c.d"]"#);
        assert_eq!(Path::ROOT.to_string(), "");
        assert_eq!(Path::ROOT.key("http://u:p@h/?q").to_string(), r#"["http://***@h/?***"]"#);
    }

    #[test]
    fn of_a_key_that_is_not_known_only_the_name_is_told() {
        for (key, want) in [
            ("max-body", "max-body"),
            ("http://u:p@h/", "http…"),
            ("Authorization Bearer x", "Authorization…"),
            (" x", "…"),
        ] {
            assert_eq!(known_part(key), want);
        }
    }
}
