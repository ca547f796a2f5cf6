//! Whether the process can do its work, for `/readyz`: what it lacks, told by the stage that lacks it or asked of who knows.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Shared by all stages.
#[derive(Clone, Debug, Default)]
pub struct Ready(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    lacks: BTreeMap<Cow<'static, str>, String>,
    asked: Vec<(&'static str, Ask)>,
}

type Ask = Box<dyn Fn() -> Option<Arc<str>> + Send + Sync>;

impl Ready {
    /// The part can't work, and why.
    pub fn lacks(&self, part: impl Into<Cow<'static, str>>, why: impl Into<String>) {
        self.state().lacks.insert(part.into(), why.into());
    }

    /// The part works.
    pub fn has(&self, part: &str) {
        self.state().lacks.remove(part);
    }

    /// From now on this is asked what the part lacks. It must answer at once.
    pub fn ask(&self, part: &'static str, ask: impl Fn() -> Option<Arc<str>> + Send + Sync + 'static) {
        self.state().asked.push((part, Box::new(ask)));
    }

    /// Empty: ready.
    pub fn all(&self) -> Vec<String> {
        let state = self.state();
        let told = state.lacks.iter().map(|(part, why)| format!("{part}: {why}"));
        let asked = state.asked.iter().filter_map(|(part, ask)| Some(format!("{part}: {}", ask()?)));
        told.chain(asked).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that holds it panics half-way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("lacks", &self.lacks).finish_non_exhaustive()
    }
}
