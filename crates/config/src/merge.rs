//! `defaults` under what a target says itself: key by key, lists replaced, `null` removing.

use crate::{
    grammar::{Kind, Shape},
    tree::{Entry, Node, Value},
};

/// Both have passed the checks, so that shapes are alike: a short form is a map, a single value a list.
pub(crate) fn merge(defaults: &Node, own: &Node, shape: &Shape) -> Node {
    merge_as(defaults, own, Some(shape))
}

/// Without a shape the keys are the writer's own.
fn merge_as(defaults: &Node, own: &Node, shape: Option<&Shape>) -> Node {
    let (Value::Map(theirs), Value::Map(ours)) = (&defaults.value, &own.value) else { return own.clone() };
    if ours.is_empty() {
        return Node { value: defaults.value.clone(), ..own.clone() };
    }
    let mut entries = Vec::with_capacity(theirs.len() + ours.len());
    for entry in theirs.iter() {
        match own.get(&entry.key) {
            Some(node) => {
                entries.push(Entry { node: merge_key(&entry.node, node, &entry.key, shape), ..entry.clone() });
            }
            None if is_replaced(&entry.key, own, shape) => {}
            None => entries.push(entry.clone()),
        }
    }
    entries.extend(ours.iter().filter(|e| defaults.get(&e.key).is_none()).cloned());
    Node { value: Value::Map(entries.into()), ..own.clone() }
}

fn merge_key(defaults: &Node, own: &Node, key: &str, shape: Option<&Shape>) -> Node {
    match shape.and_then(|s| s.key(key)).map(|k| k.kind) {
        Some(Kind::Map(inner) | Kind::Short { shape: inner, .. }) => merge_as(defaults, own, Some(inner)),
        Some(Kind::Named(_)) => merge_as(defaults, own, None),
        _ => own.clone(),
    }
}

/// Whether the target says something that excludes the default: a token of its own takes the place of a default
/// password.
fn is_replaced(key: &str, own: &Node, shape: Option<&Shape>) -> bool {
    let written = |k: &str| own.get(k).is_some_and(|n| !matches!(n.value, Value::Null));
    let groups = shape.map_or(&[][..], |s| s.exclusive);
    groups.iter().filter(|g| g.contains(&key)).any(|g| g.iter().any(|k| *k != key && written(k)))
}
