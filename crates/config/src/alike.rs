//! Targets that differ in nothing but name and address are made like the first of them: 100,000 targets are usual,
//! 100,000 ways to check are not.

use crate::{
    grammar::target::is_own,
    tree::{Entry, Node, Value},
};
use model::Target;
use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
};

/// Where there are more kinds than these, looking for one is not worth the memory.
const KINDS: usize = 1_000;

/// The first target of each kind, and what was written of it.
#[derive(Default)]
pub(crate) struct Alike {
    kinds: HashMap<u64, Vec<(Node, Target)>>,
}

impl Alike {
    /// A target of which the same was written in the same file.
    pub fn find(&self, written: &Node) -> Option<&Target> {
        let kinds = self.kinds.get(&fingerprint(written))?;
        kinds.iter().find(|(known, _)| is_alike(known, written)).map(|(_, target)| target)
    }

    /// Only of one whose making found no mistake: each is told where it stands.
    pub fn remember(&mut self, written: &Node, target: &Target) {
        if self.kinds.len() < KINDS {
            self.kinds.entry(fingerprint(written)).or_default().push((written.clone(), target.clone()));
        }
    }
}

/// What is written beside name and address.
fn rest(written: &Node) -> impl Iterator<Item = &Entry> {
    written.entries().iter().filter(|e| !is_own(&e.key))
}

fn fingerprint(written: &Node) -> u64 {
    let mut hasher = DefaultHasher::new();
    rest(written).for_each(|e| hash(e, &mut hasher));
    hasher.finish()
}

fn hash(entry: &Entry, into: &mut DefaultHasher) {
    entry.key.hash(into);
    hash_value(&entry.node.value, into);
}

fn hash_value(value: &Value, into: &mut DefaultHasher) {
    match value {
        Value::Text(text) => text.hash(into),
        Value::List(items) => items.iter().for_each(|node| hash_value(&node.value, into)),
        Value::Map(entries) => entries.iter().for_each(|e| hash(e, into)),
        Value::Null | Value::Broken => {}
    }
}

/// Names of files mean what they mean from the folder of the config that says them.
fn is_alike(a: &Node, b: &Node) -> bool {
    let count = |node| rest(node).count();
    a.place.source == b.place.source && count(a) == count(b) && rest(a).zip(rest(b)).all(same)
}

fn same((a, b): (&Entry, &Entry)) -> bool {
    a.key == b.key && same_value(&a.node.value, &b.node.value)
}

fn same_value(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Null, Value::Null) => true,
        (Value::Text(a), Value::Text(b)) => a == b,
        (Value::List(a), Value::List(b)) => {
            a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| same_value(&a.value, &b.value))
        }
        (Value::Map(a), Value::Map(b)) => a.len() == b.len() && a.iter().zip(b.iter()).all(same),
        // What is broken was told of the one, and is to be looked at in the other.
        _ => false,
    }
}
