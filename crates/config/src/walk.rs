//! The tree against the grammar: every mistake that stands in one place, and every value in its long form.
//!
//! What comes out has only known keys, lists where the grammar has lists, maps where a text was short for one, and
//! header names in lower case. What was wrong is broken, and no cause for further mistakes.

use crate::{
    files::Files,
    grammar::{Key, Kind, Names, Privacy, Shape},
    mistakes::Report,
    patterns::PatternCache,
    place::{Path, Sources, known_part},
    rules,
    tree::{Entry, Node, Value},
    units,
};
use model::text::{masked, masked_unread_url};
use std::{collections::HashMap, sync::Arc};

pub(crate) struct Walk<'a> {
    pub sources: &'a Sources,
    pub files: &'a mut Files,
    pub patterns: &'a mut PatternCache,
    pub report: &'a mut Report,
}

impl Walk<'_> {
    /// Checks a map and everything in it.
    pub fn map(&mut self, node: &Node, shape: &Shape, path: &Path<'_>) -> Node {
        let Value::Map(entries) = &node.value else {
            return self.wrong_kind(node, path, &format!("must be a map with keys like {}", some_keys(shape)));
        };
        let mut checked = Vec::with_capacity(entries.len());
        for entry in entries.iter() {
            match shape.key(&entry.key) {
                Some(key) => {
                    let node = self.keyed(&entry.node, key, &path.key(&entry.key));
                    checked.push(Entry { node, ..entry.clone() });
                }
                None if self.report.is_full() => self.report.add(entry.place, path, ""),
                None => {
                    let key = known_part(&entry.key);
                    self.report.add(entry.place, &path.key(&key), unknown(&key, shape));
                }
            }
        }
        self.missing(node, &checked, shape, path);
        self.exclusive(&checked, shape, path);
        Node { value: Value::Map(checked.into()), ..node.clone() }
    }

    fn keyed(&mut self, node: &Node, key: &Key, path: &Path<'_>) -> Node {
        match &node.value {
            Value::Null if key.required => {
                let message = if key.name == "url" { "is missing" } else { "is empty" };
                self.wrong(node, path, message)
            }
            // `targets:` with nothing behind it is a list that got lost, and would end every check.
            Value::Null if key.name == "targets" => {
                self.wrong(node, path, "is empty; `targets: []` is how one says none")
            }
            Value::Null | Value::Broken => node.clone(),
            Value::Text(_) | Value::List(_) | Value::Map(_) => self.value(node, &key.kind, key.privacy, path),
        }
    }

    fn value(&mut self, node: &Node, kind: &Kind, privacy: Privacy, path: &Path<'_>) -> Node {
        match (kind, &node.value) {
            (_, Value::Broken) => node.clone(),
            (_, Value::Null) => self.wrong(node, path, "is empty"),
            (Kind::Map(shape), _) => self.map(node, shape, path),
            (Kind::Short { key, shape }, Value::Text(_)) => {
                let entry = Entry { key: (*key).into(), place: node.place, node: node.clone() };
                self.map(&Node::new(node.place, Value::Map([entry].into())), shape, path)
            }
            (Kind::Short { shape, .. }, _) => self.map(node, shape, path),
            (Kind::Named(names), _) => self.named(node, names, path),
            (Kind::List { of, min }, _) => self.list(node, (of, *min), privacy, path),
            (_, Value::Map(_)) => {
                self.wrong_kind(node, path, "must be a text; one that begins with `{` must be quoted")
            }
            (_, Value::List(_)) => {
                self.wrong_kind(node, path, "must be a single value; a text that begins with `[` must be quoted")
            }
            (_, Value::Text(text)) => match self.leaf(node, text, kind) {
                Ok(()) => node.clone(),
                Err(message) => {
                    let message = format!("{} {message}", shown(node, privacy));
                    self.wrong(node, path, &message)
                }
            },
        }
    }

    /// `Err` is a predicate.
    fn leaf(&mut self, node: &Node, text: &Arc<str>, kind: &Kind) -> Result<(), String> {
        match kind {
            Kind::Bool => units::boolean(text).map(drop),
            Kind::Whole { min, max } => within(units::whole(text)?, (*min, *max), |n| n.to_string()),
            Kind::Duration { min, max } => within(units::duration(text)?, (*min, *max), units::write_duration),
            Kind::Size { min, max } => within(units::size(text)?, (*min, *max), units::write_size),
            Kind::OneOf(words) if words.contains(&&**text) => Ok(()),
            Kind::OneOf(words) => Err(format!("is none of {}", words.join(", "))),
            Kind::Text(rule) => (rule.check)(text),
            Kind::BodyPattern => self.patterns.body(std::slice::from_ref(text)).map(drop),
            Kind::HeaderPattern => self.patterns.header(text).map(drop),
            Kind::Cel => self.expression(node, text),
            Kind::File(content) => self.files.check(&self.sources.folder(node.place.source).join(&**text), *content),
            Kind::List { .. } | Kind::Map(_) | Kind::Short { .. } | Kind::Named(_) => Ok(()),
        }
    }

    fn expression(&mut self, node: &Node, text: &Arc<str>) -> Result<(), String> {
        rules::not_empty(text)?;
        // What is wrong with it is told in its own words, and those of a variable are not told.
        self.patterns.expression(text).map(drop).map_err(|why| match node.origin {
            Some(_) => "is no expression of CEL that can be used".into(),
            None => why,
        })
    }

    fn list(&mut self, node: &Node, (of, min): (&Kind, usize), privacy: Privacy, path: &Path<'_>) -> Node {
        let single = std::slice::from_ref(node);
        let (items, is_list) = match &node.value {
            Value::List(items) => (&items[..], true),
            _ => (single, false),
        };
        if items.len() < min {
            return self.wrong(node, path, "must not be an empty list; leave the key out instead");
        }
        let checked: Arc<[Node]> = items
            .iter()
            .enumerate()
            .map(|(i, item)| {
                if is_list {
                    self.value(item, of, privacy, &path.index(i))
                } else {
                    self.value(item, of, privacy, path)
                }
            })
            .collect();
        Node { value: Value::List(checked), place: node.place, origin: None }
    }

    fn named(&mut self, node: &Node, names: &Names, path: &Path<'_>) -> Node {
        let Value::Map(entries) = &node.value else {
            return self.wrong_kind(node, path, "must be a map of names and values");
        };
        let mut checked: Vec<Entry> = Vec::with_capacity(entries.len());
        let mut lines: HashMap<Arc<str>, u32> = HashMap::new();
        for entry in entries.iter() {
            let path = path.key(&entry.key);
            let key: Arc<str> = if names.any_case { entry.key.to_ascii_lowercase().into() } else { entry.key.clone() };
            if let Err(message) = (names.check)(&key) {
                self.report.add(entry.place, &path, format!("{:?} {message}", masked(&entry.key)));
            } else if let Some(line) = lines.get(&key) {
                self.report.add(entry.place, &path, format!("is the same name as in line {line}, whatever the case"));
            } else {
                lines.insert(key.clone(), entry.place.line);
                let node = match entry.node.value {
                    Value::Null => entry.node.clone(),
                    _ => self.value(&entry.node, &names.values, (names.privacy)(&key), &path),
                };
                checked.push(Entry { key, node, ..entry.clone() });
            }
        }
        Node { value: Value::Map(checked.into()), ..node.clone() }
    }

    fn missing(&mut self, node: &Node, written: &[Entry], shape: &Shape, path: &Path<'_>) {
        for key in shape.keys.iter().filter(|k| k.required && !written.iter().any(|e| &*e.key == k.name)) {
            self.report.add(node.place, path, format!("`{}` is missing", key.name));
        }
    }

    fn exclusive(&mut self, written: &[Entry], shape: &Shape, path: &Path<'_>) {
        for group in shape.exclusive {
            let mut both = written.iter().filter(|e| group.contains(&&*e.key) && !matches!(e.node.value, Value::Null));
            if let Some(first) = both.next() {
                for other in both {
                    let message = format!("`{}` and `{}` exclude one another; keep one of them", other.key, first.key);
                    self.report.add(other.place, &path.key(&other.key), message);
                }
            }
        }
    }

    fn wrong_kind(&mut self, node: &Node, path: &Path<'_>, must: &str) -> Node {
        let got = match &node.value {
            Value::Null => "nothing",
            Value::Text(_) => "a text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
            Value::Broken => return node.clone(),
        };
        self.wrong(node, path, &format!("{must}, and is {got}"))
    }

    fn wrong(&mut self, node: &Node, path: &Path<'_>, message: &str) -> Node {
        self.report.add(node.place, path, message);
        node.broken()
    }
}

/// What a message may say of the value.
pub(crate) fn shown(node: &Node, privacy: Privacy) -> String {
    match (privacy, node.as_text()) {
        _ if node.origin.is_some() => node.shown(),
        (Privacy::Open, _) | (_, None) => node.shown(),
        (Privacy::Secret, _) => "the value".to_owned(),
        (Privacy::Url, Some(text)) => format!("{:?}", masked_unread_url(text)),
    }
}

fn within<T: PartialOrd + Copy>(value: T, (min, max): (T, T), write: fn(T) -> String) -> Result<(), String> {
    if value < min {
        Err(format!("is less than {}", write(min)))
    } else if value > max {
        Err(format!("is more than {}", write(max)))
    } else {
        Ok(())
    }
}

fn unknown(key: &str, shape: &Shape) -> String {
    if shape.name == "defaults" && matches!(key, "id" | "name" | "url") {
        return format!("`{key}` can't have a default: every target has its own");
    }
    let distance = |k: &Key| strsim::damerau_levenshtein(&key.to_ascii_lowercase(), k.name);
    let nearest = shape.keys.iter().min_by_key(|k| distance(k)).map_or("", |k| k.name);
    let others: Vec<_> = shape.keys.iter().map(|k| k.name).filter(|n| *n != nearest).collect();
    match others.as_slice() {
        [] => format!("`{key}` is not known here; only `{nearest}` is"),
        others => {
            format!("`{key}` is not known; the nearest known key is `{nearest}` (the others: {})", others.join(", "))
        }
    }
}

fn some_keys(shape: &Shape) -> String {
    shape.keys.iter().take(4).map(|k| format!("`{}`", k.name)).collect::<Vec<_>>().join(", ")
}
