//! Patterns and expressions, compiled once for the whole config and shared where they are equal.

use crate::units::write_size;
use model::{
    cel::Expression,
    pattern::{HeaderPattern, Patterns},
};
use std::{collections::HashMap, sync::Arc};

const LONGEST: usize = 256 << 10;

#[derive(Default)]
pub(crate) struct PatternCache {
    /// By their texts: of one alone, to be judged at its place, and of the targets that have it alone.
    bodies: HashMap<Vec<Arc<str>>, Result<Arc<Patterns>, String>>,
    headers: HashMap<Arc<str>, Result<HeaderPattern, String>>,
    expressions: HashMap<Arc<str>, Result<Arc<Expression>, String>>,
}

impl PatternCache {
    /// # Errors
    /// A predicate, for the first pattern that is wrong.
    pub fn body(&mut self, texts: &[Arc<str>]) -> Result<Arc<Patterns>, String> {
        if let Some(known) = self.bodies.get(texts) {
            return known.clone();
        }
        if let Some(why) = texts.iter().find_map(|t| too_long(t)) {
            return Err(why);
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
        if let Some(why) = too_long(text) {
            return Err(why);
        }
        let compiled = HeaderPattern::new(text).map_err(|e| predicate(&e.message));
        self.headers.insert(text.clone(), compiled.clone());
        compiled
    }

    pub fn expression(&mut self, text: &Arc<str>) -> Result<Arc<Expression>, String> {
        if let Some(known) = self.expressions.get(text) {
            return known.clone();
        }
        let read = Expression::new(text).map(Arc::new).map_err(|e| e.to_string());
        self.expressions.insert(text.clone(), read.clone());
        read
    }
}

/// Compiled, it would be too large; the parser would need a hundred times its size to find out.
fn too_long(text: &str) -> Option<String> {
    (text.len() > LONGEST).then(|| format!("is too large a pattern: longer than {}", write_size(LONGEST as u64)))
}

fn predicate(why: &str) -> String {
    format!("is not a pattern that can be used: {why}")
}
