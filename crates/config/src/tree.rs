//! A config as a tree of texts, lists and maps, in which every value knows its place.
//!
//! Every scalar is kept as its text, for the grammar says what it must be and not YAML: `min_version: 1.2` is not a
//! float, and `name: no` not a boolean.

mod parse;

pub(crate) use parse::parse;

use crate::place::Place;
use model::text::masked;
use std::sync::Arc;

/// A value and its place. Cheap to clone: everything of size is shared. No `Debug`, for it may hold secrets.
#[derive(Clone)]
pub(crate) struct Node {
    pub place: Place,
    pub value: Value,
    /// How a message speaks of a text that is made of variables, which may be secret.
    pub origin: Option<Arc<str>>,
}

#[derive(Clone)]
pub(crate) enum Value {
    /// Nothing was written, or `null`.
    Null,
    Text(Arc<str>),
    List(Arc<[Node]>),
    Map(Arc<[Entry]>),
    /// A mistake that is reported already, and so is no cause for others.
    Broken,
}

#[derive(Clone)]
pub(crate) struct Entry {
    pub key: Arc<str>,
    pub place: Place,
    pub node: Node,
}

impl Node {
    pub fn new(place: Place, value: Value) -> Self {
        Self { place, value, origin: None }
    }

    pub fn text(place: Place, text: &str) -> Self {
        Self::new(place, Value::Text(text.into()))
    }

    pub fn empty_map(place: Place) -> Self {
        Self::new(place, Value::Map([].into()))
    }

    pub fn broken(&self) -> Self {
        Self::new(self.place, Value::Broken)
    }

    pub fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            Value::Null | Value::List(_) | Value::Map(_) | Value::Broken => None,
        }
    }

    pub fn as_shared_text(&self) -> Option<Arc<str>> {
        match &self.value {
            Value::Text(text) => Some(text.clone()),
            Value::Null | Value::List(_) | Value::Map(_) | Value::Broken => None,
        }
    }

    pub fn items(&self) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            Value::Null | Value::Text(_) | Value::Map(_) | Value::Broken => &[],
        }
    }

    pub fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            Value::Null | Value::Text(_) | Value::List(_) | Value::Broken => &[],
        }
    }

    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries().iter().find(|e| &*e.key == key).map(|e| &e.node)
    }

    /// The text as a message may show it: short, and without the secrets of a URL that stands in a wrong place.
    pub fn shown(&self) -> String {
        const LONG: usize = 80;
        match (&self.origin, &self.value) {
            (Some(origin), _) => origin.to_string(),
            (None, Value::Text(text)) => {
                let text = masked(text);
                let short = text.char_indices().nth(LONG).map(|(end, _)| format!("{}…", &text[..end]));
                format!("{:?}", short.as_deref().unwrap_or(&text))
            }
            (None, Value::Null) => "nothing".to_owned(),
            (None, Value::List(_)) => "a list".to_owned(),
            (None, Value::Map(_)) => "a map".to_owned(),
            (None, Value::Broken) => "the value".to_owned(),
        }
    }
}
