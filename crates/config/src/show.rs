//! The effective config as YAML: defaults merged and filled in, secrets as `***`. A config again, once the secrets are
//! put back.

use crate::{
    grammar::{Key, Kind, Privacy, Shape, keys::CONFIG, target::TARGET},
    load::Parsed,
    merge::merge,
    place::{Place, Sources},
    tree::{Entry, Node, Value as Written},
    units,
    view::View,
    yaml,
};
use model::{Target, target::StatusSet};
use serde_json::{Map, Value, json};
use std::path::Path;

const HIDDEN: &str = "***";

/// Everything that is in force, also what was never written. The `defaults` are shown in each target, and the targets
/// of included files with the others.
pub fn show(parsed: &Parsed) -> String {
    let reader = Reader { sources: &parsed.sources };
    let mut whole = reader.map(View::new(&settings(parsed), &CONFIG));
    whole.shift_remove("defaults");
    let targets = parsed.written.iter().zip(&parsed.config.targets).map(|(written, target)| {
        let merged = without_nulls(&written.merged(&parsed.config.defaults.node));
        Value::Object(reader.map(View::new(&merge(&computed(target, merged.place), &merged, &TARGET), &TARGET)))
    });
    whole.insert("targets".to_owned(), targets.collect());
    yaml::write(&whole)
}

fn settings(parsed: &Parsed) -> Node {
    let place = parsed.root.place;
    let mut entries = parsed.root.entries().to_vec();
    entries.retain(|e| !matches!(&*e.key, "defaults" | "include" | "targets" | "data_dir"));
    entries.push(entry("data_dir", Node::text(place, &absolute(&parsed.config.data_dir))));
    Node::new(place, Written::Map(entries.into()))
}

/// What the rules made of a target where it says nothing.
fn computed(target: &Target, place: Place) -> Node {
    let text = |text: &str| Node::text(place, text);
    let map = |entries: Vec<Entry>| Node::new(place, Written::Map(entries.into()));
    let ranges = target.expect.status.iter().flat_map(|s| &s.0).map(|r| StatusSet(vec![r.clone()]).to_string());
    let status = Node::new(place, Written::List(ranges.map(|r| text(&r)).collect()));
    map(vec![
        entry("id", text(target.id.as_str())),
        entry("name", text(&target.name)),
        entry("timeout", text(&units::write_duration(target.timeout))),
        entry("expect", map(vec![entry("status", status)])),
    ])
}

/// What was removed has had its effect, and the rules fill the place.
fn without_nulls(node: &Node) -> Node {
    let Written::Map(entries) = &node.value else { return node.clone() };
    let there = entries.iter().filter(|e| !matches!(e.node.value, Written::Null));
    let there = there.map(|e| Entry { node: without_nulls(&e.node), ..e.clone() });
    Node { value: Written::Map(there.collect()), ..node.clone() }
}

fn entry(key: &str, node: Node) -> Entry {
    Entry { key: key.into(), place: node.place, node }
}

fn absolute(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string()
}

/// Reads a checked tree as plain values that may be seen by anybody.
struct Reader<'a> {
    sources: &'a Sources,
}

impl Reader<'_> {
    fn map(&self, view: View<'_>) -> Map<String, Value> {
        let value = |key: &Key| Some((key.name.to_owned(), self.key(view, key)?));
        view.shape.keys.iter().filter_map(value).collect()
    }

    /// `None`: nothing is written, and nothing holds instead.
    fn key(&self, view: View<'_>, key: &Key) -> Option<Value> {
        match (view.node(key.name), key.default) {
            (Some(node), _) => Some(self.value(node, &key.kind, key.privacy)),
            (None, Some(default)) => Some(leaf(default, &key.kind)),
            (None, None) => match key.kind {
                Kind::Map(shape) if !is_optional(shape) => {
                    let map = self.map(View { node: None, shape });
                    (!map.is_empty()).then_some(Value::Object(map))
                }
                _ => None,
            },
        }
    }

    fn value(&self, node: &Node, kind: &Kind, privacy: Privacy) -> Value {
        match kind {
            Kind::List { of, .. } => node.items().iter().map(|item| self.value(item, of, privacy)).collect(),
            Kind::Map(shape) | Kind::Short { shape, .. } => Value::Object(self.map(View::new(node, shape))),
            Kind::Named(names) => {
                let there = node.entries().iter().filter(|e| !matches!(e.node.value, Written::Null));
                let shown =
                    |e: &Entry| (e.key.to_string(), self.value(&e.node, &names.values, (names.privacy)(&e.key)));
                Value::Object(there.map(shown).collect())
            }
            Kind::File(_) => {
                let path = self.sources.folder(node.place.source).join(node.as_text().unwrap_or_default());
                leaf(&absolute(&path), kind)
            }
            _ => leaf(&visible(node.as_text().unwrap_or_default(), privacy), kind),
        }
    }
}

/// A section whose defaults hold only when it is there.
fn is_optional(shape: &Shape) -> bool {
    shape.keys.iter().any(|k| k.required)
}

fn visible(text: &str, privacy: Privacy) -> String {
    match privacy {
        Privacy::Open => text.to_owned(),
        Privacy::Secret => HIDDEN.to_owned(),
        Privacy::Url => visible_url(text),
    }
}

/// That there is user info is shown, what it is not.
fn visible_url(text: &str) -> String {
    let Ok(url) = url::Url::parse(text) else { return HIDDEN.to_owned() };
    if url.scheme() == "sqlite" {
        return text.to_owned();
    }
    let masked = model::text::masked_url(&url);
    if url.username().is_empty() && url.password().is_none() {
        return masked;
    }
    masked.replacen("://", &format!("://{HIDDEN}@"), 1)
}

/// A text is written so that reading it back replaces nothing in it.
fn leaf(text: &str, kind: &Kind) -> Value {
    let number = || text.parse::<u64>().map(Value::from);
    match kind {
        Kind::Bool => units::boolean(text).map_or_else(|_| json!(text), Value::from),
        Kind::Whole { .. } => number().unwrap_or_else(|_| json!(text)),
        _ if text.contains("$$") || text.contains("${") => json!(text.replace('$', "$$")),
        _ => json!(text),
    }
}
