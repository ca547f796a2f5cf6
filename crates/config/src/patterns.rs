//! Patterns, compiled once for the whole config and shared where they are equal.

use model::pattern::{HeaderPattern, Patterns};
use std::{collections::HashMap, sync::Arc};

#[derive(Default)]
pub(crate) struct PatternCache {
    /// By their texts: of one alone, to be judged at its place, and of the targets that have it alone.
    bodies: HashMap<Vec<Arc<str>>, Result<Arc<Patterns>, String>>,
    headers: HashMap<Arc<str>, Result<HeaderPattern, String>>,
}

impl PatternCache {
    /// # Errors
    /// A predicate, for the first pattern that is wrong.
    pub fn body(&mut self, texts: &[Arc<str>]) -> Result<Arc<Patterns>, String> {
        if let Some(known) = self.bodies.get(texts) {
            return known.clone();
        }
        let owned: Vec<String> = texts.iter().map(ToString::to_string).collect();
        let compiled = Patterns::new(&owned).map(Arc::new).map_err(|e| predicate(&e.message));
        self.bodies.insert(texts.to_vec(), compiled.clone());
        compiled
    }

    pub fn header(&mut self, text: &Arc<str>) -> Result<HeaderPattern, String> {
        if let Some(known) = self.headers.get(text) {
            return known.clone();
        }
        let compiled = HeaderPattern::new(text).map_err(|e| predicate(&e.message));
        self.headers.insert(text.clone(), compiled.clone());
        compiled
    }
}

fn predicate(why: &str) -> String {
    format!("is not a pattern that can be used: {why}")
}
