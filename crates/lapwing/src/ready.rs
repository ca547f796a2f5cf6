//! Whether the process can do its work, for `/readyz`: what it lacks, told by the stage that lacks it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

/// Shared by all stages.
#[derive(Clone, Debug, Default)]
pub struct Ready {
    lacks: Arc<Mutex<BTreeMap<&'static str, String>>>,
}

impl Ready {
    /// The stage can't work, and why.
    pub fn lacks(&self, stage: &'static str, why: String) {
        self.lacks.lock().unwrap_or_else(PoisonError::into_inner).insert(stage, why);
    }

    /// The stage works.
    pub fn has(&self, stage: &'static str) {
        self.lacks.lock().unwrap_or_else(PoisonError::into_inner).remove(stage);
    }

    /// Empty: ready.
    pub fn all(&self) -> Vec<String> {
        let lacks = self.lacks.lock().unwrap_or_else(PoisonError::into_inner);
        lacks.iter().map(|(stage, why)| format!("{stage}: {why}")).collect()
    }
}
