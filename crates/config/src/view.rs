//! Reading a checked map by its shape: what is written, else what the grammar's tables say.
//!
//! Where a value is broken a reader gets nothing, or zero: the mistake is reported, so what is made of it is never
//! used.

use crate::{
    grammar::{Kind, Shape},
    tree::{Entry, Node, Value},
    units,
};
use std::time::Duration;

#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub node: Option<&'a Node>,
    pub shape: &'static Shape,
}

impl<'a> View<'a> {
    pub fn new(node: &'a Node, shape: &'static Shape) -> Self {
        Self { node: Some(node), shape }
    }

    /// What is written and sound.
    pub fn node(self, key: &str) -> Option<&'a Node> {
        debug_assert!(self.shape.key(key).is_some(), "{key} is no key of {}", self.shape.name);
        self.node?.get(key).filter(|n| !matches!(n.value, Value::Null | Value::Broken))
    }

    /// Whether what is written there is a mistake.
    pub fn is_broken(self, key: &str) -> bool {
        self.node.and_then(|n| n.get(key)).is_some_and(|n| matches!(n.value, Value::Broken))
    }

    pub fn text(self, key: &str) -> Option<&'a str> {
        match self.node(key) {
            Some(node) => node.as_text(),
            None if self.is_broken(key) => None,
            None => self.shape.key(key)?.default,
        }
    }

    /// The text read by one of the rules that it has passed.
    pub fn read<T>(self, key: &str, rule: fn(&str) -> Result<T, String>) -> Option<T> {
        rule(self.text(key)?).ok()
    }

    pub fn duration(self, key: &str) -> Duration {
        self.read(key, units::duration).unwrap_or_default()
    }

    pub fn whole(self, key: &str) -> u64 {
        self.read(key, units::whole).unwrap_or_default()
    }

    pub fn whole_u32(self, key: &str) -> u32 {
        u32::try_from(self.whole(key)).unwrap_or(u32::MAX)
    }

    pub fn size(self, key: &str) -> u64 {
        self.read(key, units::size).unwrap_or_default()
    }

    pub fn flag(self, key: &str) -> bool {
        self.read(key, units::boolean).unwrap_or_default()
    }

    pub fn items(self, key: &str) -> &'a [Node] {
        self.node(key).map_or(&[], Node::items)
    }

    /// Every item read by the rule that it has passed.
    pub fn list<T>(self, key: &str, rule: fn(&str) -> Result<T, String>) -> Vec<T> {
        self.items(key).iter().filter_map(|n| rule(n.as_text()?).ok()).collect()
    }

    /// The entries of a map with names of the writer's own; what is `null` is not there.
    pub fn named(self, key: &str) -> impl Iterator<Item = &'a Entry> {
        self.node(key)
            .map_or(&[][..], Node::entries)
            .iter()
            .filter(|e| !matches!(e.node.value, Value::Null | Value::Broken))
    }

    /// The map below, or one in which nothing is written.
    pub fn map(self, key: &str) -> View<'a> {
        match self.shape.key(key).map(|k| k.kind) {
            Some(Kind::Map(shape) | Kind::Short { shape, .. }) => View { node: self.node(key), shape },
            _ => unreachable!("{key} of {} is no map in the grammar", self.shape.name),
        }
    }
}
