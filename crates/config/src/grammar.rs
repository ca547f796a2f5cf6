//! What the grammar of a config is made of. The tables in these words stand in [`keys`] and [`target`]; from them come
//! the checks, the defaults, `config show` and the JSON Schema.

pub(crate) mod keys;
mod kinds;
pub(crate) mod target;

use std::time::Duration;

/// A map with known keys.
pub(crate) struct Shape {
    /// Under this name the JSON Schema defines it.
    pub name: &'static str,
    pub doc: &'static str,
    pub keys: &'static [Key],
    /// Of each group at most one key may be written in one map; in a target it takes the place of a default for the
    /// others.
    pub exclusive: &'static [&'static [&'static str]],
}

#[derive(Clone, Copy)]
pub(crate) struct Key {
    pub name: &'static str,
    pub kind: Kind,
    /// A sentence for the reader of the schema.
    pub doc: &'static str,
    /// As it would be written.
    pub default: Option<&'static str>,
    pub required: bool,
    pub privacy: Privacy,
}

/// What of a value may be shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Privacy {
    Open,
    /// All but user info and the values of the query.
    Url,
    Secret,
}

#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Bool,
    Whole {
        min: u64,
        max: u64,
    },
    Duration {
        min: Duration,
        max: Duration,
    },
    Size {
        min: u64,
        max: u64,
    },
    OneOf(&'static [&'static str]),
    Text(Rule),
    BodyPattern,
    HeaderPattern,
    Cel,
    File(Content),
    /// A single value is a list of one.
    List {
        of: &'static Kind,
        min: usize,
    },
    Map(&'static Shape),
    /// A map, for which a text with the value of one key is short.
    Short {
        key: &'static str,
        shape: &'static Shape,
    },
    Named(&'static Names),
}

/// A text with a grammar of its own.
#[derive(Clone, Copy)]
pub(crate) struct Rule {
    /// `Err` is a predicate.
    pub check: fn(&str) -> Result<(), String>,
    /// What the JSON Schema can say of it.
    pub pattern: Option<&'static str>,
    pub numbers: Numbers,
}

/// Whether an unquoted number may stand for the text.
#[derive(Clone, Copy)]
pub(crate) enum Numbers {
    No,
    Any,
    Within(u64, u64),
}

/// What a file must hold.
#[derive(Clone, Copy)]
pub(crate) enum Content {
    /// A text of one line.
    Value(fn(&str) -> Result<(), String>),
    Body,
    Certificates,
    PrivateKey,
}

/// A map whose keys are the writer's own.
pub(crate) struct Names {
    pub check: fn(&str) -> Result<(), String>,
    /// Names are one whatever their case, and kept in lower case.
    pub any_case: bool,
    pub values: Kind,
    /// Names that are someone else's to set, for the schema; `check` refuses them too.
    pub refused: Option<&'static [&'static str]>,
    pub privacy: fn(&str) -> Privacy,
}

impl Shape {
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|k| k.name == name)
    }
}

const fn key(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key { name, kind, doc, default: None, required: false, privacy: Privacy::Open }
}

impl Key {
    const fn or(self, default: &'static str) -> Self {
        Self { default: Some(default), ..self }
    }
    const fn required(self) -> Self {
        Self { required: true, ..self }
    }
    const fn private(self, privacy: Privacy) -> Self {
        Self { privacy, ..self }
    }
}

impl Kind {
    const fn text(check: fn(&str) -> Result<(), String>) -> Self {
        Self::Text(Rule { check, pattern: None, numbers: Numbers::Any })
    }
    const fn spelled(check: fn(&str) -> Result<(), String>, pattern: &'static str, numbers: Numbers) -> Self {
        Self::Text(Rule { check, pattern: Some(pattern), numbers })
    }
    const fn list(of: &'static Kind) -> Self {
        Self::List { of, min: 0 }
    }
    const fn some(of: &'static Kind) -> Self {
        Self::List { of, min: 1 }
    }
}
