//! YAML text becomes a tree; variables are replaced on the way. What is hostile (depth, aliases that multiply, sheer
//! numbers) is refused here, before anything is built on it.

use super::{Entry, Node, Value};
use crate::{
    environment::Environment,
    mistakes::Report,
    place::{Path, Place, known_part},
    substitute::substitute,
};
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Tag};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

/// Maps and lists within one another.
const MAX_DEPTH: usize = 64;
/// Values of a file; 100,000 targets that say everything have fewer.
const MAX_VALUES: usize = 6_000_000;
/// Keys of one map, and anchors of a file.
const MAX_KEYS: usize = 10_000;
/// Bytes of a key. YAML itself has a limit of this size for most.
const MAX_KEY: usize = 1024;
/// Values that aliases may add, counted as if they were written out.
const MAX_ALIASED: usize = 3_000_000;

/// Reads one document. `None`: what is wrong with it is in the report.
pub(crate) fn parse(text: &str, source: u32, variables: &Environment, report: &mut Report) -> Option<Node> {
    let mut builder = Builder {
        source,
        variables,
        report,
        stack: Vec::new(),
        root: None,
        anchors: HashMap::new(),
        keys: HashSet::new(),
        made: 0,
        aliased: 0,
    };
    for event in Parser::new_from_str(text) {
        let taken = match event {
            Ok((event, span)) => builder.take(event, builder.place(span.start)),
            Err(e) => Err((builder.place(*e.marker()), not_yaml(text, &e))),
        };
        if let Err((place, message)) = taken {
            builder.report.add(place, &Path::ROOT, message);
            return None;
        }
    }
    match builder.root {
        Some(root) if !matches!(root.value, Value::Null) => Some(root),
        Some(_) | None => {
            let place = Place { source, line: 0, column: 0 };
            builder.report.add(
                place,
                &Path::ROOT,
                "the file is empty; `targets: []` is how one says that nothing is watched",
            );
            None
        }
    }
}

fn not_yaml(text: &str, e: &ScanError) -> String {
    if e.info().contains("recursion limit") {
        return too_deep();
    }
    let mut before = text.chars().skip(e.marker().index().saturating_sub(1));
    match (before.next(), before.next()) {
        (Some(c), Some('{')) if !c.is_whitespace() && !matches!(c, ',' | '{' | '[') => {
            "this is not YAML: inside `{ }` or `[ ]` a value with `{` must be quoted, like \"${NAME}\"".to_owned()
        }
        _ => format!("this is not YAML: {}", e.info()),
    }
}

fn too_deep() -> String {
    format!("more than {MAX_DEPTH} lists and maps stand within one another")
}

type Stop = (Place, String);

struct Builder<'a> {
    source: u32,
    variables: &'a Environment,
    report: &'a mut Report,
    stack: Vec<Open>,
    root: Option<Node>,
    anchors: HashMap<usize, Anchored>,
    /// The same keys come with every target.
    keys: HashSet<Arc<str>>,
    made: usize,
    aliased: usize,
}

struct Anchored {
    node: Node,
    nodes: usize,
    height: usize,
}

/// A list or a map whose end has not come yet.
struct Open {
    place: Place,
    anchor: usize,
    made_before: usize,
    /// How many levels are in what was closed inside.
    height: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map { entries: Vec<Entry>, key: Option<(Arc<str>, Place)> },
}

impl Builder<'_> {
    fn place(&self, mark: Marker) -> Place {
        let small = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Place { source: self.source, line: small(mark.line()), column: small(mark.col() + 1) }
    }

    fn take(&mut self, event: Event<'_>, place: Place) -> Result<(), Stop> {
        if self.made > MAX_VALUES {
            return Err((place, format!("the file holds more than {MAX_VALUES} values")));
        }
        if self.anchors.len() > MAX_KEYS {
            return Err((place, format!("the file holds more than {MAX_KEYS} anchors")));
        }
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) if self.root.is_some() => {
                Err((place, "the file holds several documents; only one is read".to_owned()))
            }
            Event::DocumentStart(_) => Ok(()),
            Event::Alias(id) => self.alias(id, place),
            Event::Scalar(text, style, anchor, tag) => {
                let value = scalar(&text, style, tag.as_deref()).map_err(|message| (place, message))?;
                self.scalar(value, anchor, place)
            }
            Event::SequenceStart(anchor, tag) => self.open(Content::List(Vec::new()), anchor, tag.as_deref(), place),
            Event::MappingStart(anchor, tag) => {
                self.open(Content::Map { entries: Vec::new(), key: None }, anchor, tag.as_deref(), place)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
        }
    }

    fn open(&mut self, content: Content, anchor: usize, tag: Option<&Tag>, place: Place) -> Result<(), Stop> {
        if tag.is_some_and(|t| !t.is_yaml_core_schema()) {
            return Err((place, UNKNOWN_TAG.to_owned()));
        }
        self.not_a_key(place)?;
        self.not_too_deep(self.stack.len() + 1, place)?;
        self.stack.push(Open { place, anchor, made_before: self.made, height: 0, content });
        Ok(())
    }

    fn close(&mut self) -> Result<(), Stop> {
        let Some(open) = self.stack.pop() else { return Ok(()) };
        let height = open.height + 1;
        let value = match open.content {
            Content::List(items) => Value::List(items.into()),
            Content::Map { entries, .. } => Value::Map(self.without_repeats(entries).into()),
        };
        let node = Node::new(open.place, value);
        if open.anchor > 0 {
            let nodes = self.made - open.made_before + 1;
            self.anchors.insert(open.anchor, Anchored { node: node.clone(), nodes, height });
        }
        self.put(node, height);
        Ok(())
    }

    fn scalar(&mut self, value: Value, anchor: usize, place: Place) -> Result<(), Stop> {
        let is_key = self.wants_key();
        let node = Node::new(place, value);
        let node = if is_key { node } else { self.substituted(node) };
        if anchor > 0 {
            self.anchors.insert(anchor, Anchored { node: node.clone(), nodes: 1, height: 0 });
        }
        if is_key {
            return self.key(&node).map_err(|message| (place, message));
        }
        self.put(node, 0);
        Ok(())
    }

    /// Whether what comes now is a key.
    fn wants_key(&self) -> bool {
        matches!(self.stack.last(), Some(Open { content: Content::Map { key: None, .. }, .. }))
    }

    fn key(&mut self, node: &Node) -> Result<(), String> {
        let Some(Open { content: Content::Map { key, entries }, .. }) = self.stack.last_mut() else { return Ok(()) };
        let text = match &node.value {
            Value::Text(text) => text,
            Value::Null | Value::List(_) | Value::Map(_) | Value::Broken => {
                return Err("a key is missing before the `:`".to_owned());
            }
        };
        if &**text == "<<" {
            return Err(MERGE_KEY.to_owned());
        }
        if entries.len() >= MAX_KEYS {
            return Err(format!("a map holds more than {MAX_KEYS} keys"));
        }
        if text.len() > MAX_KEY {
            return Err(format!("a key is longer than {MAX_KEY} bytes"));
        }
        let shared = match self.keys.get(text) {
            Some(known) => known.clone(),
            None => {
                self.keys.insert(text.clone());
                text.clone()
            }
        };
        *key = Some((shared, node.place));
        Ok(())
    }

    fn substituted(&mut self, node: Node) -> Node {
        let Some(text) = node.as_text().filter(|t| t.contains('$')) else { return node };
        match substitute(text, self.variables) {
            Ok(s) => Node { value: Value::Text(s.text.into()), origin: s.origin.map(Into::into), ..node },
            Err(message) => {
                with_path(&self.stack, Path::ROOT, &mut |path| self.report.add(node.place, path, message.as_str()));
                node.broken()
            }
        }
    }

    fn alias(&mut self, id: usize, place: Place) -> Result<(), Stop> {
        let Some(Anchored { node, nodes, height }) = self.anchors.get(&id) else {
            return Err((place, "an alias stands inside the value that it names".to_owned()));
        };
        let (node, nodes, height) = (node.clone(), *nodes, *height);
        if self.wants_key() {
            return self.key(&Node { place, ..node }).map_err(|message| (place, message));
        }
        self.aliased += nodes;
        self.made += nodes;
        if self.aliased > MAX_ALIASED {
            let message =
                format!("the aliases up to here stand for more than {MAX_ALIASED} values; write less with them");
            return Err((place, message));
        }
        self.not_too_deep(self.stack.len() + height, place)?;
        self.put(node, height);
        Ok(())
    }

    fn not_too_deep(&self, depth: usize, place: Place) -> Result<(), Stop> {
        if depth > MAX_DEPTH { Err((place, too_deep())) } else { Ok(()) }
    }

    fn not_a_key(&self, place: Place) -> Result<(), Stop> {
        if self.wants_key() {
            return Err((place, "a key must be a text; one that begins with `{` or `[` must be quoted".to_owned()));
        }
        Ok(())
    }

    fn put(&mut self, node: Node, height: usize) {
        self.made += 1;
        let Some(open) = self.stack.last_mut() else {
            self.root = Some(node);
            return;
        };
        open.height = open.height.max(height);
        match &mut open.content {
            Content::List(items) => items.push(node),
            Content::Map { entries, key } => {
                if let Some((key, place)) = key.take() {
                    entries.push(Entry { key, place, node });
                }
            }
        }
    }

    /// Keeps the first of several equal keys, and reports the others.
    fn without_repeats(&mut self, mut entries: Vec<Entry>) -> Vec<Entry> {
        let mut first: HashMap<Arc<str>, u32> = HashMap::new();
        // Most maps are small, and comparing is cheaper than hashing there.
        let is_new = |(i, entry): (usize, &Entry)| entries[..i].iter().all(|before| before.key != entry.key);
        if entries.len() <= 16 && entries.iter().enumerate().all(is_new) {
            return entries;
        }
        entries.retain(|entry| {
            let Some(line) = first.get(&entry.key) else {
                first.insert(entry.key.clone(), entry.place.line);
                return true;
            };
            let message = format!("the key stands here for the second time; the first is in line {line}");
            with_path(&self.stack, Path::ROOT, &mut |path| {
                self.report.add(entry.place, &path.key(&known_part(&entry.key)), message.as_str());
            });
            false
        });
        entries
    }
}

const UNKNOWN_TAG: &str = "tags like `!name` have no meaning here";
const MERGE_KEY: &str = "merge keys (`<<`) are not supported; \
                         what many targets share goes into `defaults`, or is repeated whole by an alias";

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, String> {
    let plain = match tag {
        None => style == ScalarStyle::Plain,
        Some(t) if t.is_yaml_core_schema() => t.suffix != "str" && style == ScalarStyle::Plain,
        Some(t) if t.handle.is_empty() && t.suffix == "!" => false,
        Some(_) => return Err(UNKNOWN_TAG.to_owned()),
    };
    let null = plain && matches!(text, "" | "~" | "null" | "Null" | "NULL");
    Ok(if null { Value::Null } else { Value::Text(text.into()) })
}

/// Calls with the path to where the next value of what is open would go.
fn with_path(stack: &[Open], path: Path<'_>, then: &mut dyn FnMut(&Path<'_>)) {
    let Some((open, rest)) = stack.split_first() else { return then(&path) };
    match &open.content {
        Content::List(items) => with_path(rest, path.index(items.len()), then),
        Content::Map { key: Some((key, _)), .. } => with_path(rest, path.key(key), then),
        Content::Map { key: None, .. } => then(&path),
    }
}
