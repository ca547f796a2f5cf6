//! YAML text becomes a tree in which every value knows its place; variables are replaced on the way.
//!
//! Every scalar is kept as its text, for the grammar says what it must be and not YAML: `min_version: 1.2` is not a float, and
//! `name: no` not a boolean. What is hostile (depth, aliases that multiply) is refused here.

use crate::{
    environment::Environment,
    mistakes::Report,
    place::{Path, Place},
    substitute::substitute,
};
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Tag};
use std::{collections::HashMap, sync::Arc};

/// Maps and lists within one another.
const MAX_DEPTH: usize = 64;
/// Values that aliases may add, counted as if they were written out.
const MAX_ALIASED: usize = 3_000_000;

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

    /// The text as a message may show it.
    pub fn shown(&self) -> String {
        const LONG: usize = 80;
        match (&self.origin, &self.value) {
            (Some(origin), _) => origin.to_string(),
            (None, Value::Text(text)) if text.chars().count() > LONG => {
                format!("{:?}", text.chars().take(LONG).chain(['…']).collect::<String>())
            }
            (None, Value::Text(text)) => format!("{text:?}"),
            (None, Value::Null) => "nothing".to_owned(),
            (None, Value::List(_)) => "a list".to_owned(),
            (None, Value::Map(_)) => "a map".to_owned(),
            (None, Value::Broken) => "the value".to_owned(),
        }
    }
}

/// Reads one document. `None`: what is wrong with it is in the report.
pub(crate) fn parse(text: &str, source: u32, variables: &Environment, report: &mut Report) -> Option<Node> {
    let mut builder = Builder {
        source,
        variables,
        report,
        stack: Vec::new(),
        root: None,
        anchors: HashMap::new(),
        keys: HashMap::new(),
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
    keys: HashMap<String, Arc<str>>,
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
        if let Some(Open { content: Content::Map { key: key @ None, .. }, .. }) = self.stack.last_mut() {
            let Value::Text(text) = &value else {
                return Err((place, "a key is missing before the `:`".to_owned()));
            };
            if &**text == "<<" {
                return Err((place, MERGE_KEY.to_owned()));
            }
            let shared = self.keys.entry(text.to_string()).or_insert_with(|| text.clone()).clone();
            *key = Some((shared, place));
            if anchor > 0 {
                self.anchors.insert(anchor, Anchored { node: Node::new(place, value), nodes: 1, height: 0 });
            }
            return Ok(());
        }
        let node = self.substituted(Node::new(place, value));
        if anchor > 0 {
            self.anchors.insert(anchor, Anchored { node: node.clone(), nodes: 1, height: 0 });
        }
        self.put(node, 0);
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
        if let Some(Open { content: Content::Map { key: None, .. }, .. }) = self.stack.last() {
            return self.scalar(node.value, 0, place);
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
        match self.stack.last() {
            Some(Open { content: Content::Map { key: None, .. }, .. }) => {
                Err((place, "a key must be a text; a value that begins with `{` or `[` must be quoted".to_owned()))
            }
            Some(_) | None => Ok(()),
        }
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
    fn without_repeats(&mut self, entries: Vec<Entry>) -> Vec<Entry> {
        let mut first: HashMap<Arc<str>, u32> = HashMap::with_capacity(entries.len());
        let mut kept = Vec::with_capacity(entries.len());
        for entry in entries {
            if let Some(line) = first.get(&entry.key) {
                let message = format!("the key stands here for the second time; the first is in line {line}");
                with_path(&self.stack, Path::ROOT, &mut |path| {
                    self.report.add(entry.place, &path.key(&entry.key), message.as_str());
                });
                continue;
            }
            first.insert(entry.key.clone(), entry.place.line);
            kept.push(entry);
        }
        kept
    }
}

const UNKNOWN_TAG: &str = "tags like `!name` have no meaning here";
const MERGE_KEY: &str = "merge keys (`<<`) are not supported; what many targets share goes into `defaults`, or is repeated whole by an alias";

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
